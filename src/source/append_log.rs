//! Settings of an `append-log` source, and its capture: files in name order, the last one cut after its last whole record.

use std::os::fd::OwnedFd;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::feed::{self, Feed};
use super::place::Place;
use super::{LogHead, SourceError, Verdict};
use crate::diagnostic::{Code, Diagnostic};
use crate::fs::entry::{Entry, Kind, Metadata, TreePath};
use crate::fs::folder;
use crate::fs::metadata;
use crate::fs::selection::Choice;
use crate::fs::walk::{FileSystems, Found, NoteKind, SecondNames, Step};
use crate::limits;

/// A log that only ever grows: a file, or a folder of files in name order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AppendLog {
    /// The log file, its folder, or a glob of its files. Relative paths start at the folder above `pipelines/`.
    #[schemars(length(min = 1), extend("x-glob" = true))]
    pub path: String,
    /// Globs, relative to the root, of what is not part of the log.
    #[serde(default)]
    #[schemars(extend("x-glob" = true))]
    pub exclude: Vec<String>,
    /// What ends a record. The last file is captured up to its last whole record.
    #[serde(default)]
    pub record: Record,
}

/// What ends a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Record {
    /// A record is a line: it ends with a newline.
    #[default]
    Line,
}

/// What ends a record.
const END: u8 = b'\n';

pub(super) fn capture(place: &Place, feed: &mut Feed<'_>) -> Result<(), SourceError> {
    let mut walk = feed::walk(place, feed.context, FileSystems::All, SecondNames::Linked)?;
    let mut log = Log::new(place);
    for step in &mut walk {
        feed.check_stop()?;
        match step {
            Step::Found(found) => log.found(feed, *found)?,
            // A log with a gap is not a log.
            Step::Note(note) => match note.what {
                NoteKind::Unreadable(cause) => {
                    let path = place.shown(&note.path);
                    return Err(SourceError::Unreadable { path, cause });
                }
                NoteKind::Attribute(_)
                | NoteKind::Socket
                | NoteKind::Refused
                | NoteKind::TooDeep
                | NoteKind::Unsettled => feed.note(place, note),
            },
        }
    }
    log.finish(feed)
}

/// A log under way. Only the last file may end in the middle of a record, and which one is the last is known when no
/// other follows: so one file waits, with what stands behind it that is no part of the log.
struct Log<'a> {
    place: &'a Place,
    waiting: Option<Segment>,
    behind: Vec<Found>,
    files: u64,
    length: u64,
    records: u64,
    hasher: blake3::Hasher,
    buffer: Vec<u8>,
}

/// A file of the log.
struct Segment {
    file: OwnedFd,
    entry: Entry,
}

/// Where a file stands in the log.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Earlier,
    Last,
}

impl<'a> Log<'a> {
    fn new(place: &'a Place) -> Self {
        Self {
            place,
            waiting: None,
            behind: Vec::new(),
            files: 0,
            length: 0,
            records: 0,
            hasher: blake3::Hasher::new(),
            buffer: vec![0; limits::READ_BLOCK],
        }
    }

    fn found(&mut self, feed: &mut Feed<'_>, found: Found) -> Result<(), SourceError> {
        if let Some(file) = found.content {
            self.flush(feed, Standing::Earlier)?;
            self.files += 1;
            self.waiting = Some(Segment {
                file,
                entry: found.entry,
            });
            return Ok(());
        }
        if self.waiting.is_some() {
            self.behind.push(found);
            return Ok(());
        }
        hand_on(feed, found)
    }

    fn finish(mut self, feed: &mut Feed<'_>) -> Result<(), SourceError> {
        self.flush(feed, Standing::Last)?;
        if self.files == 0 && self.place.is_chosen() {
            return Err(SourceError::Empty {
                name: self.place.name.clone(),
                what: "no file matches",
                root: self.place.shown(&TreePath::root()),
            });
        }
        feed.captured.log_head = Some(LogHead {
            length: self.length,
            records: self.records,
            blake3: self.hasher.finalize().to_hex().to_string(),
        });
        Ok(())
    }

    /// Hands on the file that waits and what stands behind it.
    fn flush(&mut self, feed: &mut Feed<'_>, standing: Standing) -> Result<(), SourceError> {
        if let Some(segment) = self.waiting.take() {
            self.segment(feed, segment, standing)?;
        }
        for found in std::mem::take(&mut self.behind) {
            hand_on(feed, found)?;
        }
        Ok(())
    }

    /// Hands on a file as far as it reaches now. What is appended meanwhile belongs to the next backup.
    fn segment(&mut self, feed: &mut Feed<'_>, segment: Segment, standing: Standing) -> Result<(), SourceError> {
        let Segment { file, mut entry } = segment;
        let path = self.place.shown(&entry.path);
        let cannot = |cause| SourceError::Unreadable {
            path: path.clone(),
            cause,
        };
        // Only now, after the file before it was done: a writer that went on to this file left that one whole.
        let stat = folder::stat(&file).map_err(cannot)?;
        let size = stat.stx_size;
        let whole = self.last_end(&file, size).map_err(cannot)?;
        let cut = match standing {
            Standing::Last => whole,
            Standing::Earlier => size,
        };
        if cut > whole {
            feed.warn(unfinished(&path, cut - whole));
        }
        entry.kind = Kind::File {
            size: cut,
            extents: None,
        };
        entry.metadata = Metadata {
            xattrs: entry.metadata.xattrs,
            ..metadata::metadata_of(&stat, feed.context.owners)
        };
        entry.stat = Some(metadata::stat_of(&stat));
        feed.begin(&entry)?;
        self.stream(feed, &file, cut, &path)?;
        let now = folder::stat(&file).map_err(cannot)?;
        if now.stx_size < cut {
            return Err(SourceError::LogShrank { path });
        }
        feed.end(Verdict::Kept)
    }

    fn stream(&mut self, feed: &mut Feed<'_>, file: &OwnedFd, cut: u64, path: &str) -> Result<(), SourceError> {
        let mut at = 0;
        while at < cut {
            let wanted = usize::try_from(cut - at).map_or(self.buffer.len(), |left| left.min(self.buffer.len()));
            let block = self.buffer.get_mut(..wanted).unwrap_or_default();
            let read = feed::read_at(file, block, at).map_err(|cause| SourceError::Unreadable {
                path: path.to_owned(),
                cause,
            })?;
            if read < wanted {
                return Err(SourceError::LogShrank { path: path.to_owned() });
            }
            self.hasher.update(block);
            self.records += ends(block);
            feed.write(block)?;
            at += wanted as u64;
        }
        self.length += cut;
        Ok(())
    }

    /// The offset behind the last record's end among the first `size` bytes.
    fn last_end(&mut self, file: &OwnedFd, size: u64) -> std::io::Result<u64> {
        let mut end = size;
        // A record is mostly short: the last block alone would do, but a whole one costs no more than a small one.
        while end > 0 {
            let length = (self.buffer.len() as u64).min(LOOK_BACK).min(end);
            let start = end - length;
            let block = self
                .buffer
                .get_mut(..usize::try_from(length).unwrap_or(0))
                .unwrap_or_default();
            let read = feed::read_at(file, block, start)?;
            let seen = block.get(..read).unwrap_or_default();
            if let Some(at) = seen.iter().rposition(|byte| *byte == END) {
                return Ok(start + at as u64 + 1);
            }
            end = start;
        }
        Ok(0)
    }
}

/// Bytes looked at in one step backwards.
const LOOK_BACK: u64 = 64 << 10;

fn ends(block: &[u8]) -> u64 {
    // Counted in stretches whose count fits a byte, which the compiler turns into vector code.
    block
        .chunks(255)
        .map(|stretch| u64::from(stretch.iter().map(|byte| u8::from(*byte == END)).sum::<u8>()))
        .sum()
}

/// Hands on what stands beside the log: folders on the way, links, further names.
fn hand_on(feed: &mut Feed<'_>, found: Found) -> Result<(), SourceError> {
    if found.choice == Choice::OnTheWay && !found.entry.path.is_root() {
        feed.hold(found.entry);
        return Ok(());
    }
    feed.plain(&found.entry)
}

fn unfinished(path: &str, bytes: u64) -> Diagnostic {
    Diagnostic::warning(
        Code::LogUnfinished,
        format!("the log file `{path}` ends in the middle of a record"),
    )
    .why(format!(
        "its last {bytes} bytes have no line end, and the log goes on in another file"
    ))
    .state("it is in the backup as it is")
    .help("whoever wrote it was interrupted there; the service must pass over such a record")
}
