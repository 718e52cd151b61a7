//! The lines of a backup's catalog in order: those of its base, with what its patch says instead.

use std::cmp::Ordering;
use std::collections::VecDeque;

use tokio::runtime::Handle;

use crate::archive::catalog::{Line, read_segment};
use crate::archive::keys::Opening;
use crate::archive::record::{Record, SegmentRecord};
use crate::codec::frames;
use crate::crypto::Digest;
use crate::fs::entry::TreePath;
use crate::id::SourceName;
use crate::limits::SEGMENT_MAX;
use crate::target::Target;

use super::UnpackError;

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

/// Gives the lines one after the other, holding a segment of the base and one of the patch. Blocks: for a blocking thread.
pub struct Lines {
    target: Target,
    opening: Opening,
    handle: Handle,
    sources: Vec<SourceName>,
    base: Stream,
    patch: Stream,
}

/// Segments that follow one another.
#[derive(Default)]
struct Stream {
    segments: VecDeque<SegmentRecord>,
    lines: VecDeque<Line>,
}

impl Lines {
    /// Begins at the first line.
    pub fn new(target: &Target, record: &Record, opening: &Opening, handle: Handle) -> Self {
        let stream = |segments: &[SegmentRecord]| Stream {
            segments: segments.to_vec().into(),
            lines: VecDeque::new(),
        };
        Self {
            target: target.clone(),
            opening: opening.clone(),
            handle,
            sources: record.sources.iter().map(|source| source.name.clone()).collect(),
            base: stream(&record.segments),
            patch: stream(&record.patch),
        }
    }

    /// The next line that counts; never one that says that an entry is gone.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator's item would hide the error that ends it"
    )]
    pub fn next(&mut self) -> Result<Option<Line>, UnpackError> {
        loop {
            let Self {
                target,
                opening,
                handle,
                ..
            } = self;
            self.base.fill(target, opening, handle)?;
            self.patch.fill(target, opening, handle)?;
            let order = match (self.base.lines.front(), self.patch.lines.front()) {
                (None, None) => return Ok(None),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(base), Some(patch)) => self.key(base).cmp(&self.key(patch)),
            };
            let line = match order {
                Ordering::Less => self.base.lines.pop_front(),
                Ordering::Greater => self.patch.lines.pop_front(),
                Ordering::Equal => {
                    self.base.lines.pop_front();
                    self.patch.lines.pop_front()
                }
            };
            match line {
                Some(Line::Gone { .. }) | None => {}
                Some(line) => return Ok(Some(line)),
            }
        }
    }

    /// What lines are ordered by: the place of their source in the record, and their path.
    fn key<'l>(&self, line: &'l Line) -> (usize, Option<&'l TreePath>) {
        let place = |source: &SourceName| self.sources.iter().position(|other| other == source);
        match line {
            Line::Entry(listed) => (place(&listed.source).unwrap_or(usize::MAX), Some(&listed.entry.path)),
            Line::Gone { source, path } => (place(source).unwrap_or(usize::MAX), Some(path)),
            Line::Superseded { .. } => (0, None),
        }
    }
}

impl Stream {
    /// Reads the next segment where the one before is used up.
    fn fill(&mut self, target: &Target, opening: &Opening, handle: &Handle) -> Result<(), UnpackError> {
        while self.lines.is_empty() {
            let Some(record) = self.segments.pop_front() else {
                return Ok(());
            };
            let text = handle.block_on(segment(target, &record, opening))?;
            for line in read_segment(&text) {
                let line = line.map_err(|source| UnpackError::Catalog {
                    name: record.name.clone(),
                    source,
                })?;
                self.lines.push_back(line);
            }
            if self.lines.len() as u64 != record.lines {
                let what = "it does not have the lines that the record says".into();
                return Err(UnpackError::Segment {
                    name: record.name.clone(),
                    what,
                });
            }
        }
        Ok(())
    }
}
