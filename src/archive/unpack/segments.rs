//! Segments of catalogs as they are read: those read last are kept, and a stream of them passes over what is not asked for without
//! reading it.
//!
//! Lines are sorted, so whoever wants a part of a catalog looks at the last line of a few segments and then reads only those that may
//! hold it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use tokio::runtime::Handle;

use crate::archive::catalog::{Line, read_segment};
use crate::archive::keys::Opening;
use crate::archive::record::SegmentRecord;
use crate::codec::frames;
use crate::crypto::Digest;
use crate::fs::entry::TreePath;
use crate::id::SourceName;
use crate::limits::{SEGMENT_MAX, SEGMENTS_KEPT_BYTES};
use crate::poison;
use crate::target::Target;

use super::UnpackError;

/// Says whether what stands at a place of a catalog comes before what is sought. Once it does not hold, it must hold of nothing
/// that follows.
pub type Before<'b> = dyn Fn(&SourceName, &TreePath) -> bool + 'b;

/// Reads one segment of the catalog whole and checks it: its plain text.
pub async fn segment(target: &Target, segment: &SegmentRecord, opening: &Opening) -> Result<Vec<u8>, UnpackError> {
    let damaged = |what: &str| UnpackError::Segment {
        name: segment.name.clone(),
        what: what.into(),
    };
    let expected = usize::try_from(segment.plain_bytes).unwrap_or(usize::MAX);
    if expected > SEGMENT_MAX {
        return Err(damaged("it claims to be larger than any that this program writes"));
    }
    let stored = target
        .read(&segment.name, SEGMENT_MAX)
        .await
        .map_err(UnpackError::Target)?;
    if Some(Digest::of(&stored)) != segment.stored_digest() {
        return Err(damaged("the stored object is not that of its name"));
    }
    let stored = opening.open(stored.into()).map_err(|source| UnpackError::Open {
        name: segment.name.clone(),
        source,
    })?;
    let plain = frames::decompress_whole(&stored, expected).map_err(|error| damaged(&error.to_string()))?;
    if opening.segment_digest(&plain) == segment.blake3 {
        Ok(plain)
    } else {
        Err(damaged("its text is not that of the record"))
    }
}

/// Reads segments of one target. Blocks: for blocking threads.
#[derive(Debug)]
pub struct Segments {
    target: Target,
    opening: Opening,
    handle: Handle,
    kept: Mutex<Kept>,
}

/// Where a line stands: the source it belongs to, and the path below that one's root.
pub type Place = (SourceName, TreePath);

/// What was read last, by the names of the objects.
#[derive(Debug, Default)]
struct Kept {
    texts: VecDeque<(String, Arc<Vec<u8>>)>,
    /// Where the last line of each segment stands that was looked at for it.
    ends: HashMap<String, Option<Place>>,
}

impl Segments {
    /// Reads from `target`.
    pub fn new(target: &Target, opening: &Opening, handle: Handle) -> Self {
        Self {
            target: target.clone(),
            opening: opening.clone(),
            handle,
            kept: Mutex::default(),
        }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        poison::lock(&self.kept)
    }

    fn text(&self, record: &SegmentRecord) -> Result<Arc<Vec<u8>>, UnpackError> {
        let found = self.kept().texts.iter().find(|(name, _)| *name == record.name).cloned();
        if let Some((_, text)) = found {
            return Ok(text);
        }
        let text = self.handle.block_on(segment(&self.target, record, &self.opening))?;
        let text = Arc::new(text);
        let mut kept = self.kept();
        kept.texts.push_back((record.name.clone(), Arc::clone(&text)));
        let mut bytes: usize = kept.texts.iter().map(|(_, text)| text.len()).sum();
        while bytes > SEGMENTS_KEPT_BYTES {
            let Some((_, oldest)) = kept.texts.pop_front() else {
                break;
            };
            bytes -= oldest.len();
        }
        Ok(text)
    }

    /// Every line of a segment.
    pub fn lines(&self, record: &SegmentRecord) -> Result<Vec<Line>, UnpackError> {
        let text = self.text(record)?;
        let mut lines = Vec::new();
        for line in read_segment(&text) {
            lines.push(line.map_err(|source| UnpackError::Catalog {
                name: record.name.clone(),
                source,
            })?);
        }
        if lines.len() as u64 == record.lines {
            return Ok(lines);
        }
        Err(UnpackError::Segment {
            name: record.name.clone(),
            what: "it does not have the lines that the record says".into(),
        })
    }

    /// Where the first entry of a segment stands.
    pub fn first(&self, record: &SegmentRecord) -> Result<Option<Place>, UnpackError> {
        let text = self.text(record)?;
        for line in read_segment(&text) {
            let place = place_of(record, Some(line))?;
            if place.is_some() {
                return Ok(place);
            }
        }
        Ok(None)
    }

    /// Where the last line of a segment stands.
    fn last(&self, record: &SegmentRecord) -> Result<Option<Place>, UnpackError> {
        if let Some(place) = self.kept().ends.get(&record.name) {
            return Ok(place.clone());
        }
        let text = self.text(record)?;
        let mut lines = text.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        // The table of packs, which the last line may refer to, stands on the first.
        let first = lines.next().unwrap_or_default();
        let ends = [first, lines.next_back().unwrap_or_default()].join(&b'\n');
        let place = place_of(record, read_segment(&ends).last())?;
        self.kept().ends.insert(record.name.clone(), place.clone());
        Ok(place)
    }

    /// How many of the first segments lie wholly before what is sought: found by looks at few of them, close ones first.
    pub fn wholly_before<'r>(
        &self,
        count: usize,
        get: impl Fn(usize) -> Option<&'r SegmentRecord>,
        before: &Before<'_>,
    ) -> Result<usize, UnpackError> {
        let ends_before = |number: usize| {
            let last = get(number).map(|record| self.last(record)).transpose()?.flatten();
            Ok::<bool, UnpackError>(last.is_some_and(|(source, path)| before(&source, &path)))
        };
        let (mut low, mut high, mut stride) = (0, count, 1);
        while low < high {
            let probe = (low + stride - 1).min(count - 1);
            if !ends_before(probe)? {
                high = probe;
                break;
            }
            low = probe + 1;
            stride *= 2;
        }
        while low < high {
            let middle = usize::midpoint(low, high);
            if ends_before(middle)? {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }
}

fn place_of(
    record: &SegmentRecord,
    line: Option<Result<Line, crate::archive::catalog::CatalogError>>,
) -> Result<Option<Place>, UnpackError> {
    let line = line.transpose().map_err(|source| UnpackError::Catalog {
        name: record.name.clone(),
        source,
    })?;
    Ok(line
        .as_ref()
        .and_then(at)
        .map(|(source, path)| (source.clone(), path.clone())))
}

/// Where a line stands; `None` for a stretch of an archive, which stands nowhere.
pub fn at(line: &Line) -> Option<(&SourceName, &TreePath)> {
    match line {
        Line::Entry(listed) => Some((&listed.source, &listed.entry.path)),
        Line::Gone { source, path } => Some((source, path)),
        Line::Superseded { .. } => None,
    }
}

/// Segments that follow one another, those of a base or of a patch.
#[derive(Debug, Default)]
pub struct Stream {
    segments: VecDeque<SegmentRecord>,
    lines: VecDeque<Line>,
}

impl Stream {
    /// Begins at the first line of the first segment.
    pub fn new(segments: &[SegmentRecord]) -> Self {
        Self {
            segments: segments.to_vec().into(),
            lines: VecDeque::new(),
        }
    }

    /// The next line, after [`Stream::fill`]; `None` at the end.
    pub fn front(&self) -> Option<&Line> {
        self.lines.front()
    }

    /// Takes the next line.
    pub fn pop(&mut self) -> Option<Line> {
        self.lines.pop_front()
    }

    /// Reads the next segment where the one before is used up.
    pub fn fill(&mut self, segments: &Segments) -> Result<(), UnpackError> {
        while self.lines.is_empty() {
            let Some(record) = self.segments.pop_front() else {
                return Ok(());
            };
            self.lines = segments.lines(&record)?.into();
        }
        Ok(())
    }

    /// Passes over everything before what is sought, mostly without reading it.
    pub fn advance(&mut self, segments: &Segments, before: &Before<'_>) -> Result<(), UnpackError> {
        loop {
            let passed = |line: &Line| at(line).is_none_or(|(source, path)| before(source, path));
            while self.lines.front().is_some_and(passed) {
                self.lines.pop_front();
            }
            if !self.lines.is_empty() || self.segments.is_empty() {
                return Ok(());
            }
            let get = |number: usize| self.segments.get(number);
            let passed = segments.wholly_before(self.segments.len(), get, before)?;
            self.segments.drain(..passed);
            self.fill(segments)?;
        }
    }
}
