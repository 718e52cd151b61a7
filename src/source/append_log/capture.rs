//! The capture of a log: files in name order, the last one cut after its last whole record, held against what the last
//! backup has of it.

use std::os::fd::OwnedFd;
use std::time::SystemTime;

use super::blocks::Gathering;
use super::memory::{self, LogMemory, Remembered};
use super::proof::{Breach, BreachKind, History, Origin, Proof, Rewrite, Rotation};
use super::reader::LogReader;
use super::whole::Whole;
use super::{AppendLog, END, PrefixCheck, ends};
use crate::crypto::Digest;
use crate::diagnostic::{Code, Diagnostic};
use crate::fs::entry::{Entry, Kind, Metadata, Stat, TreePath};
use crate::fs::folder;
use crate::fs::metadata;
use crate::fs::selection::Choice;
use crate::fs::walk::{FileSystems, Found, Look, NoteKind, SecondNames, Step, Walk};
use crate::limits;
use crate::source::feed::{self, Feed};
use crate::source::log_head::{LogFile, LogHead, Rows};
use crate::source::place::Place;
use crate::source::{SourceError, Verdict};

/// Captures the log at `place`.
pub(in crate::source) fn capture(
    settings: &AppendLog,
    place: &Place,
    history: &History,
    feed: &mut Feed<'_>,
) -> Result<(), SourceError> {
    let mut log = Log::new(place, Proof::new(history, settings.rotate));
    log.blocks = (settings.prefix_check == PrefixCheck::Tail).then(Gathering::default);
    if let Some(memory) = usable(history, feed) {
        log.lead(memory, history)?;
    }
    let look = if log.leading.is_empty() {
        Look::Whole
    } else {
        feed.look()
    };
    let mut walk = feed::walk(place, feed.context, look, FileSystems::All, SecondNames::Linked)?;
    while let Some(step) = walk.next() {
        feed.check_stop()?;
        match step {
            Step::Found(found) => log.meet(feed, &mut walk, *found)?,
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

/// The memory of the very log that this one must go on from; nothing where it may have become something else, or where the sink takes
/// every file anew.
fn usable<'h>(history: &'h History, feed: &Feed<'_>) -> Option<&'h LogMemory> {
    let (memory, head) = (history.memory.as_ref()?, &history.head.as_ref()?.head);
    let alone = history.restored.is_none() && history.rewrite == Rewrite::Refused;
    let same = memory.blake3 == Some(head.blake3) && memory.length() == head.length;
    (alone && same && feed.look() == Look::Glimpse).then_some(memory)
}

/// A log under way. Only the last file may end in the middle of a record, and which one is the last is known when no
/// other follows: so one file waits, with what stands behind it that is no part of the log.
struct Log<'a> {
    place: &'a Place,
    proof: Proof<'a>,
    waiting: Option<Segment>,
    behind: Vec<Found>,
    files: u64,
    length: u64,
    records: u64,
    /// Files at the beginning that are as they were.
    leading: &'a [Remembered],
    /// Of all bytes so far.
    whole: Whole<'a>,
    /// Of the file under way, where neither the sink hashes it nor `whole` has nothing else.
    own: Option<blake3::Hasher>,
    rows: Rows,
    remembered: Vec<Remembered>,
    /// In seconds since 1970.
    began: i64,
    blocks: Option<Gathering>,
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
    fn new(place: &'a Place, proof: Proof<'a>) -> Self {
        Self {
            place,
            proof,
            waiting: None,
            behind: Vec::new(),
            files: 0,
            length: 0,
            records: 0,
            leading: &[],
            whole: Whole::Hashing(Box::default()),
            own: None,
            rows: Rows::default(),
            remembered: Vec::new(),
            began: SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(i64::MAX, |time| i64::try_from(time.as_secs()).unwrap_or(i64::MAX)),
            blocks: None,
            buffer: vec![0; limits::READ_BLOCK],
        }
    }

    /// Finds out which files need not be read.
    fn lead(&mut self, memory: &'a LogMemory, history: &History) -> Result<(), SourceError> {
        let unreadable = |cause| self.place.unreadable(cause);
        let files = LogReader::open(self.place.open()?, &self.place.selection).map_err(unreadable)?;
        let root = self.place.open()?;
        let Some(leading) = memory.leading(&root, files.files()) else {
            return Ok(());
        };
        let leading = memory.files.get(..leading).unwrap_or_default();
        let length = leading.iter().map(|file| file.row.length).sum();
        if self.blocks.is_some() {
            // Their blocks are not seen again: without those of the last backup they must be read after all.
            let Some(sample) = &history.sample else { return Ok(()) };
            let read = |from| memory.bytes(&root, from, length);
            self.blocks = Gathering::resume(&sample.blocks, length, read).map_err(unreadable)?;
            if self.blocks.is_none() {
                self.blocks = Some(Gathering::default());
                return Ok(());
            }
        }
        self.leading = leading;
        self.whole = Whole::known(memory);
        Ok(())
    }

    /// Takes what the walk has found; a glimpse is completed unless the sink knows the entry.
    fn meet(&mut self, feed: &mut Feed<'_>, walk: &mut Walk<'_>, found: Found) -> Result<(), SourceError> {
        if matches!(found.entry.kind, Kind::File { .. })
            && let Some(file) = usize::try_from(self.files)
                .ok()
                .and_then(|number| self.leading.get(number))
        {
            return self.leading_file(feed, walk, found, file);
        }
        let on_the_way = found.choice == Choice::OnTheWay && !found.entry.path.is_root();
        let is_file = matches!(found.entry.kind, Kind::File { .. });
        let may_be_known = found.glimpsed && !is_file && !on_the_way && self.waiting.is_none();
        if may_be_known && feed.known(&found.entry, None)?.is_some() {
            return Ok(());
        }
        match walk.complete(found) {
            Some(found) => {
                if walk.is_doubtful() {
                    feed.doubt();
                }
                self.found(feed, found)
            }
            None => Ok(()),
        }
    }

    /// Takes a file that is as it was. Where the sink wants it all the same it is read, and must prove to be that.
    fn leading_file(
        &mut self,
        feed: &mut Feed<'_>,
        walk: &mut Walk<'_>,
        found: Found,
        file: &Remembered,
    ) -> Result<(), SourceError> {
        let row = &file.row;
        let path = found.entry.path.clone();
        let (place, sound_records) = (self.place, self.records);
        let differs = || {
            let breach = Breach {
                kind: BreachKind::Differs,
                file: Some(path.clone()),
                sound_records,
            };
            broken(place, breach)
        };
        if row.path != path {
            return Err(differs());
        }
        if feed.known(&found.entry, Some(row.length))?.is_none() {
            let unreadable = |cause| self.place.unreadable(cause);
            let whole = walk.complete(found);
            let Some((whole, Some(content))) = whole.map(|mut found| (found.entry.clone(), found.content.take()))
            else {
                return Err(unreadable(std::io::ErrorKind::NotFound.into()));
            };
            let mut entry = whole;
            entry.kind = Kind::File {
                size: row.length,
                extents: None,
            };
            let shown = self.place.shown(&path);
            if self.reread(feed, &content, &entry, &shown)? != row.blake3 {
                return Err(differs());
            }
        }
        self.proof.begin(&path);
        self.whole.pass(row.length);
        self.proof.read(row.length, || self.whole.digest(), || row.blake3);
        self.proof.end(row.blake3);
        self.check_proof()?;
        self.take(row.clone(), file.stat, file.racy);
        Ok(())
    }

    /// Hands on a file that was proven before; gives its digest.
    fn reread(
        &mut self,
        feed: &mut Feed<'_>,
        file: &OwnedFd,
        entry: &Entry,
        path: &str,
    ) -> Result<Digest, SourceError> {
        feed.begin(entry)?;
        let (mut at, mut hasher) = (0, blake3::Hasher::new());
        let length = entry.kind.data_bytes();
        while at < length {
            let read = self.fill(file, at, length - at, path)?;
            let block = self.buffer.get(..read).unwrap_or_default();
            hasher.update(block);
            feed.write(block)?;
            at += read as u64;
        }
        feed.end(Verdict::Kept)?;
        Ok(hasher.finalize().into())
    }

    /// Counts a file in.
    fn take(&mut self, row: LogFile, stat: Stat, racy: bool) {
        self.files += 1;
        self.length += row.length;
        self.records += row.records;
        self.rows.push(row.clone());
        self.remembered.push(Remembered { row, stat, racy });
    }

    fn found(&mut self, feed: &mut Feed<'_>, found: Found) -> Result<(), SourceError> {
        if let Some(file) = found.content {
            self.flush(feed, Standing::Earlier)?;
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
        feed.captured.log_blocks = self.blocks.take().map(Gathering::finish);
        let (earlier, files) = self.rows.finish();
        let Origin {
            generation,
            fork,
            rotated,
            rotation,
        } = self.proof.conclude().map_err(|breach| broken(self.place, breach))?;
        if rotation == Rotation::Gap {
            feed.warn(gap(&self.place.shown(&TreePath::root())));
        }
        feed.captured.log_memory = Some(LogMemory {
            files: self.remembered,
            aside: self.whole.aside(),
            blake3: Some(self.whole.digest()),
        });
        feed.captured.log_head = Some(LogHead {
            length: self.length,
            records: self.records,
            blake3: self.whole.digest(),
            generation,
            fork,
            rotated,
            earlier,
            files,
        });
        Ok(())
    }

    /// Ends the capture as soon as it is known that the log is not what the last backup has.
    fn check_proof(&self) -> Result<(), SourceError> {
        match self.proof.lost() {
            Some(breach) => Err(broken(self.place, breach)),
            None => Ok(()),
        }
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
        self.proof.begin(&entry.path);
        feed.begin(&entry)?;
        self.own = (self.length > 0 && feed.digest().is_none()).then(blake3::Hasher::new);
        let records = self.stream(feed, &file, cut, &path)?;
        let now = folder::stat(&file).map_err(cannot)?;
        if now.stx_size < cut {
            return Err(SourceError::LogShrank { path });
        }
        let blake3 = file_digest(self.own.as_ref(), feed, &self.whole);
        feed.end(Verdict::Kept)?;
        self.proof.end(blake3);
        self.check_proof()?;
        let stat = entry.stat.unwrap_or_default();
        let racy = memory::is_racy(&stat, self.began);
        let row = LogFile {
            path: entry.path,
            length: cut,
            records,
            blake3,
        };
        self.take(row, stat, racy);
        Ok(())
    }

    /// Hands on the first `cut` bytes of a file; gives how many records end in them.
    fn stream(&mut self, feed: &mut Feed<'_>, file: &OwnedFd, cut: u64, path: &str) -> Result<u64, SourceError> {
        let (mut at, mut records) = (0, 0);
        while at < cut {
            let read = self.fill(file, at, cut - at, path)?;
            records += ends(self.buffer.get(..read).unwrap_or_default());
            self.block(feed, read)?;
            at += read as u64;
        }
        Ok(records)
    }

    /// Reads the next bytes of a file into the buffer, as many as it holds and at most `left`.
    fn fill(&mut self, file: &OwnedFd, at: u64, left: u64, path: &str) -> Result<usize, SourceError> {
        let wanted = usize::try_from(left).map_or(self.buffer.len(), |left| left.min(self.buffer.len()));
        let block = self.buffer.get_mut(..wanted).unwrap_or_default();
        let read = feed::read_at(file, block, at).map_err(|cause| SourceError::Unreadable {
            path: path.to_owned(),
            cause,
        })?;
        if read < wanted {
            return Err(SourceError::LogShrank { path: path.to_owned() });
        }
        Ok(read)
    }

    /// Hands on what is in the buffer, and looks at the digests wherever a past head ended.
    fn block(&mut self, feed: &mut Feed<'_>, length: usize) -> Result<(), SourceError> {
        let Self {
            proof,
            whole,
            own,
            blocks,
            buffer,
            place,
            ..
        } = self;
        if let Some(blocks) = blocks {
            blocks.update(buffer.get(..length).unwrap_or_default());
        }
        let mut rest = buffer.get(..length).unwrap_or_default();
        while !rest.is_empty() {
            let stop = proof.until_stop().and_then(|left| usize::try_from(left).ok());
            let (now, later) = rest.split_at(stop.map_or(rest.len(), |stop| stop.min(rest.len())));
            let root = || place.open().map_err(std::io::Error::other);
            whole.update(now, root).map_err(|cause| place.unreadable(cause))?;
            if let Some(own) = own.as_mut() {
                own.update(now);
            }
            feed.write(now)?;
            let own = own.as_ref();
            proof.read(
                now.len() as u64,
                || whole.at_past_end(file_digest(own, feed, whole)),
                || file_digest(own, feed, whole),
            );
            rest = later;
        }
        self.check_proof()
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

/// The digest of the file under way: its own, the sink's, or that of the log where nothing came before the file.
fn file_digest(own: Option<&blake3::Hasher>, feed: &Feed<'_>, whole: &Whole<'_>) -> Digest {
    let digest = own.map(blake3::Hasher::finalize).or_else(|| feed.digest());
    digest.map_or_else(|| whole.digest(), Digest::from)
}

/// Bytes looked at in one step backwards.
const LOOK_BACK: u64 = 64 << 10;

/// The error of a log that does not go on from its last backup.
pub(super) fn broken(place: &Place, breach: Breach) -> SourceError {
    SourceError::LogBroken {
        name: place.name.clone(),
        breach: Box::new(breach),
    }
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

fn gap(root: &str) -> Diagnostic {
    Diagnostic::warning(
        Code::LogGap,
        format!("every log file that the last backup has is gone from `{root}`"),
    )
    .why("rotation removed them all since, so a record that was written and removed between two backups is in none")
    .state("the files that are there now are in the backup")
    .help("back up more often than the log rotates, or let rotation keep its files for longer")
}
