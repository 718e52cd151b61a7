//! The writer's place in the journal: how far it was read, and what the next line must say. Everything others append is
//! checked before the place moves on.

use std::collections::BTreeSet;
use std::fs::File;
use std::ops::ControlFlow;

use rustix::fs::OFlags;
use sha2::{Digest, Sha256};

use super::JournalError;
use super::chain::{Line, Tip};
use super::entry::{Entry, Event, Field};
use super::head::{self, Head};
use super::segment::{self, Raw};
use crate::limits;
use crate::state::StateFolder;

const WRITING: OFlags = OFlags::RDWR.union(OFlags::APPEND);

/// A place at the end of what was read of one segment.
#[derive(Debug)]
pub(super) struct Cursor {
    pub(super) number: u32,
    pub(super) file: File,
    /// Bytes read and found good.
    pub(super) offset: u64,
    lines: u64,
    /// Unknown only before the first line of the whole log.
    tip: Option<Tip>,
    /// Over the bytes read.
    hasher: Sha256,
    /// The segment before, where its end was read.
    previous: Option<Previous>,
    /// Whether the segment's end was read.
    pub(super) closed: bool,
    /// Files moved aside that a record of this segment names.
    pub(super) mentioned: BTreeSet<String>,
}

/// What `segment_start` says of the segment before.
#[derive(Clone, Debug)]
struct Previous {
    name: String,
    size: u64,
    sha256: String,
}

impl Cursor {
    /// The place at the begin of the newest segment whose begin can be told; `None` where there is no journal.
    pub(super) fn open(folder: &StateFolder) -> Result<Option<Self>, JournalError> {
        let segments = segment::files(folder)?.segments;
        let Some(newest) = segments.last().copied() else {
            return Ok(None);
        };
        let whole = match (newest, segment::open(folder, &segment::file_name(newest), WRITING)?) {
            (2.., Some(file)) => {
                let bytes = segment::bytes_from(folder, &segment::file_name(newest), &file, 0)?;
                bytes.contains(&b'\n')
            }
            _ => true,
        };
        // A segment without a line tells nothing of the one before it, so that one is read again.
        let number = if whole { newest } else { newest - 1 };
        let name = segment::file_name(number);
        let Some(file) = segment::open(folder, &name, WRITING)? else {
            return Err(JournalError::broken(name, None, "the segment is missing"));
        };
        let mut cursor = Self::at_begin(number, file, None);
        if number > 1 {
            cursor.tip = Some(tip_of_closed(folder, number - 1)?);
        }
        Ok(Some(cursor))
    }

    /// The place at the begin of a log that has no line yet.
    pub(super) fn create(folder: &StateFolder) -> Result<Self, JournalError> {
        Ok(Self::at_begin(1, create(folder, 1)?, None))
    }

    fn at_begin(number: u32, file: File, previous: Option<Previous>) -> Self {
        Self {
            number,
            file,
            offset: 0,
            lines: 0,
            tip: None,
            hasher: Sha256::new(),
            previous,
            closed: false,
            mentioned: BTreeSet::new(),
        }
    }

    /// The segment's file name.
    pub(super) fn name(&self) -> String {
        segment::file_name(self.number)
    }

    /// What the next line must say; `None` where the log has no line and so no origin.
    pub(super) fn tip(&self) -> Option<Tip> {
        self.tip
    }

    /// Whether the segment has no line yet.
    pub(super) fn is_empty(&self) -> bool {
        self.offset == 0
    }

    /// Sets the origin of a log that has no line yet.
    pub(super) fn begin_log(&mut self, origin: &str) {
        self.tip = Some(Tip::of_origin(origin));
    }

    /// The first record of a segment that follows another.
    pub(super) fn start_entry(&self) -> Option<Entry> {
        let previous = self.previous.as_ref()?;
        let entry = Entry::new(Event::SegmentStart)
            .with(Field::File, previous.name.as_str())
            .with(Field::Size, previous.size)
            .with(Field::Sha256, previous.sha256.as_str());
        Some(entry)
    }

    /// Goes from a closed segment to the next, which is made where it is missing.
    pub(super) fn next_segment(&mut self, folder: &StateFolder) -> Result<(), JournalError> {
        let number = self.number + 1;
        let file = match segment::open(folder, &segment::file_name(number), WRITING)? {
            Some(file) => file,
            None => create(folder, number)?,
        };
        let previous = Previous {
            name: self.name(),
            size: self.offset,
            sha256: hex::encode(self.hasher.clone().finalize()),
        };
        let tip = self.tip;
        *self = Self::at_begin(number, file, Some(previous));
        self.tip = tip;
        Ok(())
    }

    /// Reads what was appended since, and gives what stands unfinished at the very end. Where `head` is given, what it
    /// says must be so.
    pub(super) fn read_on(&mut self, folder: &StateFolder, head: Option<Head>) -> Result<Vec<u8>, JournalError> {
        let name = self.name();
        let bytes = segment::bytes_from(folder, &name, &self.file, self.offset)?;
        let size = self
            .file
            .metadata()
            .map_err(JournalError::io(&folder.path().join(&name)))?
            .len();
        if size < self.offset {
            return Err(JournalError::broken(name, None, "records that were there are gone"));
        }
        if let Some(tip) = self.tip {
            check_head(head, tip, &name, self.lines)?;
        }
        let read = segment::each_line(&bytes, |raw| self.read_line(folder, raw, head));
        match read {
            ControlFlow::Continue(()) => Ok(Vec::new()),
            ControlFlow::Break(Err(error)) => Err(error),
            ControlFlow::Break(Ok(torn)) => Ok(bytes.get(torn..).unwrap_or_default().to_vec()),
        }
    }

    /// Takes one line, or stops with where an unfinished last one begins.
    fn read_line(
        &mut self,
        folder: &StateFolder,
        raw: Raw<'_>,
        head: Option<Head>,
    ) -> ControlFlow<Result<usize, JournalError>> {
        let number = self.lines + 1;
        let broken = |what: &str| ControlFlow::Break(Err(JournalError::broken(self.name(), Some(number), what)));
        let line = match Line::parse(raw.bytes) {
            Ok(line) => line,
            Err(_) if raw.last && !self.closed => return ControlFlow::Break(Ok(raw.offset)),
            Err(what) => return broken(what),
        };
        let tip = match self.tip {
            Some(tip) => tip,
            None => match (line.event(), line.text(Field::Origin.as_str())) {
                ("log_started", Some(origin)) => Tip::of_origin(origin),
                _ => return broken("the first record does not say where the log begins"),
            },
        };
        if self.closed {
            return broken("records follow the end of a segment");
        }
        if let Err(what) = tip.check(&line) {
            return broken(what);
        }
        if self.number > 1 && self.is_empty() && !follows(folder, self.number, &line) {
            return broken("the first record of a segment does not fit the segment before");
        }
        if !raw.ended {
            // All of it is there but its line end: nothing that parses and links is ever cut.
            if let Err(error) = std::io::Write::write_all(&mut self.file, b"\n") {
                return ControlFlow::Break(Err(JournalError::io(&folder.path().join(self.name()))(error)));
            }
        }
        self.take(raw.bytes, &line);
        match check_head(head, Tip::after(&line), &self.name(), self.lines) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(Err(error)),
        }
    }

    /// Moves on behind `bytes`, which stand in the file with a line end.
    pub(super) fn take(&mut self, bytes: &[u8], line: &Line) {
        self.hasher.update(bytes);
        self.hasher.update(b"\n");
        self.offset += bytes.len() as u64 + 1;
        self.lines += 1;
        self.tip = Some(Tip::after(line));
        if line.event() == Event::SegmentEnd.as_str() {
            self.closed = true;
        }
        if line.event() == Event::Recovered.as_str()
            && let Some(file) = line.text(Field::File.as_str())
        {
            self.mentioned.insert(file.to_owned());
        }
    }
}

/// Checks the head where the chain has just reached it.
fn check_head(head: Option<Head>, tip: Tip, name: &str, line: u64) -> Result<(), JournalError> {
    match head {
        Some(Head { size: size @ 1.., leaf }) if size == tip.next && leaf != tip.prev => Err(JournalError::broken(
            name,
            Some(line),
            format!("the record is not the one that `{}` holds the hash of", head::FILE),
        )),
        _ => Ok(()),
    }
}

/// Makes a segment's file, durably.
fn create(folder: &StateFolder, number: u32) -> Result<File, JournalError> {
    let name = segment::file_name(number);
    let failed = JournalError::io(folder.path());
    let file = segment::open(folder, &name, WRITING | OFlags::CREATE)?;
    rustix::fs::fsync(folder.descriptor()).map_err(|error| failed(error.into()))?;
    file.ok_or_else(|| failed(std::io::ErrorKind::NotFound.into()))
}

/// Where the chain stands behind a closed segment, from its last line alone.
fn tip_of_closed(folder: &StateFolder, number: u32) -> Result<Tip, JournalError> {
    let name = segment::file_name(number);
    let broken = |what: &str| JournalError::broken(name.as_str(), None, what);
    let file = segment::open(folder, &name, OFlags::RDONLY)?.ok_or_else(|| broken("the segment is missing"))?;
    let size = file
        .metadata()
        .map_err(JournalError::io(&folder.path().join(&name)))?
        .len();
    let from = size.saturating_sub(limits::JOURNAL_LINE_MAX as u64 + 1);
    let bytes = segment::bytes_from(folder, &name, &file, from)?;
    let last = bytes
        .strip_suffix(b"\n")
        .map(|rest| rest.rsplit(|byte| *byte == b'\n').next().unwrap_or_default());
    let last = last.ok_or_else(|| broken("the segment has no end"))?;
    let line = Line::parse(last).map_err(broken)?;
    if line.event() == Event::SegmentEnd.as_str() {
        Ok(Tip::after(&line))
    } else {
        Err(broken("the segment has no end"))
    }
}

/// Whether the first line of segment `number` names the segment before and its size. Its digest is for `verify`.
fn follows(folder: &StateFolder, number: u32, line: &Line) -> bool {
    let name = segment::file_name(number - 1);
    let size = rustix::fs::statat(folder.descriptor(), &name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW);
    let size = size.ok().and_then(|stat| u64::try_from(stat.st_size).ok());
    line.event() == Event::SegmentStart.as_str()
        && line.text(Field::File.as_str()) == Some(name.as_str())
        && line
            .record
            .get(Field::Size.as_str())
            .and_then(serde_json::Value::as_u64)
            == size
}
