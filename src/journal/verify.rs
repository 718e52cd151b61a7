//! Recomputes all of a journal: every link, every sequence number, the segments' digests, the head, the Merkle root. It
//! goes on behind a fault, so that one look shows how much is wrong.

use jiff::{SignedDuration, Timestamp};
use rustix::fs::{FlockOperation, OFlags};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::chain::{Leaf, Line, Tip};
use super::entry::{Event, Field};
use super::head::{self, Head};
use super::merkle::Tree;
use super::recovery::Recovered;
use super::segment::{self, Files, Raw};
use super::{JournalError, writer};
use crate::limits;
use crate::state::StateFolder;

/// What kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// A line that is no record.
    NotARecord,
    /// The last line is not finished: a crash, or a cut.
    Unfinished,
    /// A record that does not follow the one before it.
    Link,
    /// A sequence number that is left out or comes twice.
    Sequence,
    /// A record that is much older than one before it.
    Time,
    /// A segment that is missing, or does not fit those around it.
    Segment,
    /// The journal's head is missing, or says something else than the records.
    Head,
    /// What was moved aside is not as its record says.
    MovedAside,
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// What kind.
    pub kind: ProblemKind,
    /// File in the state folder.
    pub file: String,
    /// Line, counted from 1, where it is about one.
    pub line: Option<u64>,
    /// Sequence number, where the record says one.
    pub seq: Option<u64>,
    /// One lowercase sentence.
    pub what: String,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Verification {
    /// Records found.
    pub records: u64,
    /// Segments found.
    pub segments: u64,
    /// The log's origin; `None` where there is no log.
    pub origin: Option<String>,
    /// Hex hash of the last record.
    pub head: Option<String>,
    /// Hex Merkle root of all records.
    pub root: String,
    /// Records behind the head: written but not yet known to be synced. Their last one has nothing that holds its hash.
    pub beyond_head: u64,
    /// When the last record was written.
    pub last: Option<String>,
    /// The first [`limits::JOURNAL_PROBLEMS_LISTED`] faults, in the order of the journal.
    pub problems: Vec<Problem>,
    /// How many faults there are.
    pub problem_count: u64,
    /// The first fault that neither a crash nor a clock that was set right explains.
    pub broken: Option<Problem>,
}

impl Verification {
    /// Whether nothing is wrong.
    pub fn is_good(&self) -> bool {
        self.problem_count == 0
    }

    fn problem(&mut self, kind: ProblemKind, file: &str, line: Option<u64>, seq: Option<u64>, what: impl Into<String>) {
        self.problem_count += 1;
        let problem = Problem {
            kind,
            file: file.to_owned(),
            line,
            seq,
            what: what.into(),
        };
        if !matches!(kind, ProblemKind::Time | ProblemKind::Unfinished) {
            self.broken.get_or_insert_with(|| problem.clone());
        }
        if self.problems.len() < limits::JOURNAL_PROBLEMS_LISTED {
            self.problems.push(problem);
        }
    }
}

/// Checks all of the journal of `folder` and changes nothing.
///
/// # Errors
/// When it cannot be read. What is wrong with it is no error but in the result.
pub fn verify(folder: &StateFolder) -> Result<Verification, JournalError> {
    let seen = look(folder)?;
    let mut check = Check::new(folder, &seen);
    for (number, length) in seen.files.segments.iter().copied().zip(seen.lengths.iter().copied()) {
        check.segment(number, length)?;
    }
    Ok(check.finish())
}

/// How far each segment goes and what the head says, both at one moment.
struct Seen {
    files: Files,
    lengths: Vec<u64>,
    head: SeenHead,
}

enum SeenHead {
    Missing,
    Unreadable,
    Says(Head),
}

fn look(folder: &StateFolder) -> Result<Seen, JournalError> {
    // Someone who may read but not lock still may look.
    let lock = segment::open(folder, writer::LOCK, OFlags::RDONLY).ok().flatten();
    if let Some(lock) = &lock {
        writer::hold(lock, folder, FlockOperation::NonBlockingLockShared)?;
    }
    let files = segment::files(folder)?;
    let mut lengths = Vec::with_capacity(files.segments.len());
    for number in &files.segments {
        let name = segment::file_name(*number);
        let file = segment::open(folder, &name, OFlags::RDONLY)?;
        let length = file.map_or(Ok(0), |file| file.metadata().map(|metadata| metadata.len()));
        lengths.push(length.map_err(JournalError::io(&folder.path().join(&name)))?);
    }
    let head = match head::read(folder) {
        Ok(Some(head)) => SeenHead::Says(head),
        Ok(None) => SeenHead::Missing,
        Err(JournalError::Broken { .. }) => SeenHead::Unreadable,
        Err(error) => return Err(error),
    };
    Ok(Seen { files, lengths, head })
}

struct Check<'a> {
    folder: &'a StateFolder,
    files: &'a Files,
    head: Option<Head>,
    found: Verification,
    tip: Option<Tip>,
    tree: Tree,
    latest: Option<Timestamp>,
    /// The segment before: its number, size and SHA-256.
    previous: Option<(u32, u64, String)>,
    closed: bool,
    mentioned: Vec<Recovered>,
}

impl<'a> Check<'a> {
    fn new(folder: &'a StateFolder, seen: &'a Seen) -> Self {
        let files = &seen.files;
        let mut found = Verification {
            segments: files.segments.len() as u64,
            ..Verification::default()
        };
        let head = match &seen.head {
            SeenHead::Says(head) => Some(*head),
            SeenHead::Missing if files.segments.is_empty() => None,
            SeenHead::Missing => {
                found.problem(ProblemKind::Head, head::FILE, None, None, "the file is missing");
                None
            }
            SeenHead::Unreadable => {
                let what = "it does not say how long the journal is";
                found.problem(ProblemKind::Head, head::FILE, None, None, what);
                None
            }
        };
        Self {
            folder,
            files,
            head,
            found,
            tip: None,
            tree: Tree::default(),
            latest: None,
            previous: None,
            closed: false,
            mentioned: Vec::new(),
        }
    }

    fn segment(&mut self, number: u32, length: u64) -> Result<(), JournalError> {
        let name = segment::file_name(number);
        let expected = self.previous.as_ref().map_or(1, |(before, ..)| before + 1);
        if number != expected {
            let missing = segment::file_name(expected);
            self.found
                .problem(ProblemKind::Segment, &missing, None, None, "the segment is missing");
        } else if self.previous.is_some() && !self.closed {
            let what = "the segment before it was never closed";
            self.found.problem(ProblemKind::Segment, &name, None, None, what);
        }
        let Some(file) = segment::open(self.folder, &name, OFlags::RDONLY)? else {
            self.found
                .problem(ProblemKind::Segment, &name, None, None, "the segment is missing");
            return Ok(());
        };
        let mut bytes = segment::bytes_from(self.folder, &name, &file, 0)?;
        bytes.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        self.closed = false;
        let newest = self.files.segments.last() == Some(&number);
        let _ = segment::each_line(&bytes, |raw| {
            self.line(number, &name, raw, newest);
            std::ops::ControlFlow::<()>::Continue(())
        });
        self.previous = Some((number, bytes.len() as u64, hex::encode(Sha256::digest(&bytes))));
        Ok(())
    }

    fn line(&mut self, number: u32, name: &str, raw: Raw<'_>, newest: bool) {
        let at = Some(raw.number);
        let line = match Line::parse(raw.bytes) {
            Ok(line) => line,
            Err(what) => {
                let unfinished = raw.last && newest;
                let kind = if unfinished {
                    ProblemKind::Unfinished
                } else {
                    ProblemKind::NotARecord
                };
                self.found.problem(kind, name, at, None, what);
                return;
            }
        };
        let seq = Some(line.seq);
        if !raw.ended {
            self.found
                .problem(ProblemKind::Unfinished, name, at, seq, "a record has no line end");
        }
        if self.closed {
            self.found.problem(
                ProblemKind::Segment,
                name,
                at,
                seq,
                "a record follows the end of the segment",
            );
        }
        self.link(name, at, &line);
        if raw.number == 1 {
            self.first_of_segment(number, name, &line);
        }
        let back = SignedDuration::from_secs(limits::JOURNAL_CLOCK_BACK_SECONDS);
        if self.latest.is_some_and(|latest| latest.duration_since(line.ts) > back) {
            let what = "the record is more than five minutes older than one before it";
            self.found.problem(ProblemKind::Time, name, at, seq, what);
        }
        self.latest = self.latest.max(Some(line.ts));
        self.tree.push(line.leaf.0);
        self.found.last = Some(line.ts.to_string());
        self.closed = line.event() == Event::SegmentEnd.as_str();
        self.note_recovered(&line);
        let tip = Tip::after(&line);
        self.tip = Some(tip);
        if let Some(Head { size, leaf }) = self.head
            && size == self.tree.size()
            && leaf != tip.prev
        {
            let what = format!("the record is not the one that `{}` holds the hash of", head::FILE);
            self.found.problem(ProblemKind::Head, name, at, seq, what);
        }
    }

    fn link(&mut self, name: &str, at: Option<u64>, line: &Line) {
        let seq = Some(line.seq);
        let origin = line.text(Field::Origin.as_str());
        let tip = match (self.tip, origin) {
            (Some(tip), _) => tip,
            (None, Some(origin)) if line.event() == Event::LogStarted.as_str() => {
                self.found.origin = Some(origin.to_owned());
                Tip::of_origin(origin)
            }
            (None, _) => {
                let what = "the first record does not say where the log begins";
                self.found.problem(ProblemKind::Link, name, at, seq, what);
                return;
            }
        };
        if line.prev != tip.prev {
            let what = "the record does not follow the one before it";
            self.found.problem(ProblemKind::Link, name, at, seq, what);
        }
        if line.seq != tip.next {
            let what = format!("the record's number is {} where {} comes next", line.seq, tip.next);
            self.found.problem(ProblemKind::Sequence, name, at, seq, what);
        }
    }

    fn first_of_segment(&mut self, number: u32, name: &str, line: &Line) {
        let Some((before, size, sha256)) = &self.previous else {
            return;
        };
        let fits = line.event() == Event::SegmentStart.as_str()
            && number == before + 1
            && line.text(Field::File.as_str()) == Some(segment::file_name(*before).as_str())
            && line.record.get(Field::Size.as_str()).and_then(Value::as_u64) == Some(*size)
            && line.text(Field::Sha256.as_str()) == Some(sha256.as_str());
        if !fits {
            let what = "what the segment says of the one before it is not so";
            self.found
                .problem(ProblemKind::Segment, name, Some(1), Some(line.seq), what);
        }
    }

    fn note_recovered(&mut self, line: &Line) {
        if line.event() != Event::Recovered.as_str() {
            return;
        }
        let text = |field: Field| line.text(field.as_str()).unwrap_or_default().to_owned();
        self.mentioned.push(Recovered {
            file: text(Field::File),
            length: line
                .record
                .get(Field::Length.as_str())
                .and_then(Value::as_u64)
                .unwrap_or_default(),
            sha256: text(Field::Sha256),
        });
    }

    fn finish(mut self) -> Verification {
        let records = self.tree.size();
        if let Some(Head { size, .. }) = self.head {
            if size > records {
                let what = format!("{size} records were synced and {records} are there");
                self.found.problem(ProblemKind::Head, head::FILE, None, None, what);
            }
            self.found.beyond_head = records.saturating_sub(size);
        }
        let newest = self.files.segments.last().copied().unwrap_or_default();
        if self.closed {
            let what = "the segment was closed and none follows";
            self.found
                .problem(ProblemKind::Segment, &segment::file_name(newest), None, None, what);
        }
        self.moved_aside();
        self.found.records = records;
        self.found.root = hex::encode(self.tree.root());
        self.found.head = self.tip.map(|tip: Tip| Leaf::to_string(&tip.prev));
        self.found
    }

    /// What was moved aside must be there as its record says.
    fn moved_aside(&mut self) {
        for recovered in std::mem::take(&mut self.mentioned) {
            let bytes = segment::small(self.folder, &recovered.file, limits::JOURNAL_SEGMENT_MAX)
                .ok()
                .flatten();
            if bytes.map(|bytes| Recovered::of(&recovered.file, &bytes)).as_ref() != Some(&recovered) {
                let what = "what was moved aside is not as its record says";
                self.found
                    .problem(ProblemKind::MovedAside, &recovered.file, None, None, what);
            }
        }
    }
}
