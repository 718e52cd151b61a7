//! The event log: JSON lines in segments `000001.jsonl`, `000002.jsonl` and so on, numbered without gap from 1.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::text::{Numbers, PEOPLE};
use crate::{At as _, Error};

/// Bytes after which the next event goes into a new segment.
const SEGMENT_BYTES: u64 = 256 << 10;

/// What happened to a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// `text` is its title.
    Created,
    /// `text` is its new status.
    Moved,
    /// `text` is the comment.
    Commented,
}

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Event {
    /// Counted from 1, without gap.
    pub(crate) seq: u64,
    pub(crate) at: String,
    pub(crate) actor: String,
    #[serde(rename = "type")]
    pub(crate) kind: Kind,
    pub(crate) task: u64,
    pub(crate) text: String,
}

impl Event {
    /// Invents the event with this number. Every fifth creates a task; the others befall one that exists.
    pub(crate) fn invent(seq: u64, at: jiff::Timestamp) -> Self {
        let mut numbers = Numbers::seeded(seq);
        let created = seq.saturating_sub(1) / 5 + 1;
        let (kind, task, text) = match seq % 5 {
            1 => (Kind::Created, created, numbers.sentence(6)),
            2 | 4 => {
                let status = numbers.one_of(&["todo", "doing", "review", "done"]).to_owned();
                (Kind::Moved, numbers.below(created) + 1, status)
            }
            _ => {
                let words = 20 + numbers.below(60);
                (Kind::Commented, numbers.below(created) + 1, numbers.sentence(words))
            }
        };
        let actor = numbers.one_of(PEOPLE).to_owned();
        Self {
            seq,
            at: at.to_string(),
            actor,
            kind,
            task,
            text,
        }
    }

    fn line(&self) -> Vec<u8> {
        // A struct of numbers and strings always serializes.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

/// How a line reaches the disk.
#[derive(Clone, Copy)]
pub(crate) enum Stroke {
    /// By one `write`.
    Whole,
    /// By two, with a pause between them, so that a reader sees an unfinished record.
    Torn,
}

/// The segments of a log in order.
pub(crate) fn segments(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).at(folder)? {
        let path = entry.at(folder)?.path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Hands on each event of a segment; gives whether its last record is whole.
pub(crate) fn read(segment: &Path, mut each: impl FnMut(Event) -> Result<(), Error>) -> Result<bool, Error> {
    let mut reader = BufReader::new(File::open(segment).at(segment)?);
    let mut buffer = Vec::new();
    let mut line = 0;
    loop {
        buffer.clear();
        if reader.read_until(b'\n', &mut buffer).at(segment)? == 0 {
            return Ok(true);
        }
        if buffer.last() != Some(&b'\n') {
            return Ok(false);
        }
        line += 1;
        let event = serde_json::from_slice(&buffer).map_err(|source| Error::Event {
            path: segment.to_owned(),
            line,
            source,
        })?;
        each(event)?;
    }
}

/// The end of a log, open for appending.
pub(crate) struct Log {
    folder: PathBuf,
    file: File,
    path: PathBuf,
    segment: u32,
    length: u64,
    last: u64,
}

impl Log {
    /// Opens the log at its end. An unfinished last record, left by a writer that was killed, is cut off: nobody has
    /// seen that event, since projections are written after the log.
    pub(crate) fn open(folder: &Path) -> Result<Self, Error> {
        let segments = segments(folder)?;
        let mut last = 0;
        // A segment that was begun and not written yet has no event, so the one before it is looked at as well.
        for segment in segments.iter().rev() {
            cut(segment)?;
            read(segment, |event| {
                last = event.seq;
                Ok(())
            })?;
            if last > 0 {
                break;
            }
        }
        let number = u32::try_from(segments.len()).unwrap_or(u32::MAX).max(1);
        let path = name(folder, number);
        let file = append(&path)?;
        let length = file.metadata().at(&path)?.len();
        Ok(Self {
            folder: folder.to_owned(),
            file,
            path,
            segment: number,
            length,
            last,
        })
    }

    /// The number of the last event.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// Appends events that follow the last one.
    pub(crate) fn append(&mut self, events: &[Event], stroke: Stroke) -> Result<(), Error> {
        if self.length >= SEGMENT_BYTES {
            self.segment += 1;
            self.path = name(&self.folder, self.segment);
            self.file = append(&self.path)?;
            self.length = 0;
        }
        let lines: Vec<u8> = events.iter().flat_map(Event::line).collect();
        let (head, tail) = match stroke {
            Stroke::Whole => (lines.as_slice(), &[][..]),
            Stroke::Torn => lines.split_at(lines.len() / 3),
        };
        self.file.write_all(head).at(&self.path)?;
        if !tail.is_empty() {
            std::thread::sleep(Duration::from_millis(2));
            self.file.write_all(tail).at(&self.path)?;
        }
        self.length += lines.len() as u64;
        self.last = events.last().map_or(self.last, |event| event.seq);
        Ok(())
    }
}

fn name(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{number:06}.jsonl"))
}

fn append(path: &Path) -> Result<File, Error> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o640).open(path).at(path)
}

fn cut(segment: &Path) -> Result<(), Error> {
    let bytes = std::fs::read(segment).at(segment)?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    if whole == bytes.len() {
        return Ok(());
    }
    let file = OpenOptions::new().write(true).open(segment).at(segment)?;
    file.set_len(whole as u64).at(segment)
}
