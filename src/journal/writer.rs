//! Appends records: lock, read what others wrote, one write, one sync. Where a record could not be written for certain
//! none follows it.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags};
use rustix::io::Errno;

use super::chain::Tip;
use super::cursor::Cursor;
use super::entry::{Entry, Event};
use super::head::{self, Head, HeadFile};
use super::recovery::Recovered;
use super::tail::Tail;
use super::{JournalError, Leaf, restart, segment};
use crate::clock::{Clock, SystemClock};
use crate::id::{EnvName, PipelineName, RunId};
use crate::limits;
use crate::state::StateFolder;

/// The lock's file.
pub(super) const LOCK: &str = "journal.lock";
const RESERVE: &str = "journal.reserve";

/// Takes the secrets out of a text. Everything a caller says passes it.
pub type Scrub = Arc<dyn Fn(&str) -> String + Send + std::marker::Sync>;

/// What a journal takes from its surroundings.
#[derive(Clone)]
pub struct Setup {
    /// Where times and the log's random id come from.
    pub clock: Arc<dyn Clock>,
    /// What every text passes.
    pub scrub: Scrub,
    /// Bytes after which a segment is closed.
    pub segment_bytes: u64,
}

impl Setup {
    /// The system's clock and segments of [`limits::JOURNAL_SEGMENT`] bytes.
    pub fn new(scrub: Scrub) -> Self {
        Self {
            clock: Arc::new(SystemClock),
            scrub,
            segment_bytes: limits::JOURNAL_SEGMENT,
        }
    }
}

/// When a record must be on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Before `append` returns: something follows that must not happen unrecorded.
    Now,
    /// With those around it: at the next record that is synced, or at the first one a second later.
    Grouped,
}

/// Whose records these are.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    pub(super) run: RunId,
    pub(super) actor: String,
    pub(super) env: EnvName,
    pub(super) pipeline: PipelineName,
}

/// Whether another record may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Good,
    /// The disk is full: only the last record of a run, into the reserve.
    Full,
    /// The disk failed: none.
    Stopped,
}

/// The journal, open for appending. Calls block on the disk for about as long as one sync takes.
pub struct Journal {
    tail: Tail,
    lock: File,
    head: HeadFile,
    health: Health,
    /// Since when records wait to be synced.
    unsynced: Option<Instant>,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (records, _) = self.head();
        write!(f, "Journal({}, {records} records)", self.tail.folder.path().display())
    }
}

impl Journal {
    /// Opens the journal of a state folder, or begins it. The newest segment is checked whole; an unfinished last line is
    /// moved aside and recorded.
    ///
    /// # Errors
    /// [`JournalError::Broken`] when anything else is wrong; then nothing was written. [`JournalError::Full`] when there
    /// is no space for the reserve.
    pub fn open(folder: &StateFolder, setup: Setup) -> Result<(Self, Option<Recovered>), JournalError> {
        let path = folder.path().join(LOCK);
        let failed = JournalError::io(&path);
        let folder = folder.try_clone().map_err(|error| failed(io::Error::other(error)))?;
        let lock = segment::open(&folder, LOCK, OFlags::RDWR | OFlags::CREATE)?;
        let lock = lock.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        // Given up with the descriptor when anything below fails.
        hold(&lock, &folder, FlockOperation::NonBlockingLockExclusive)?;
        if let Some(name) = restart::begun(&folder)? {
            let what = "a restart of the journal was begun and not finished";
            return Err(JournalError::broken(name, None, what));
        }
        let said = head::read(&folder)?;
        let cursor = match (Cursor::open(&folder)?, said) {
            (Some(cursor), _) => cursor,
            (None, None) => Cursor::create(&folder)?,
            (None, Some(_)) => {
                return Err(JournalError::broken(
                    head::FILE,
                    None,
                    "the journal's segments are gone",
                ));
            }
        };
        let mut tail = Tail::new(folder, setup, cursor);
        let recovered = tail.read_to_the_end(Some(said.unwrap_or(Head::NONE)))?;
        reserve(&tail.folder)?;
        tail.sync()?;
        let tip = tail.tip().unwrap_or_else(|| Tip::of_origin(""));
        let head = HeadFile::open(&tail.folder, Head::at(tip))?;
        head.write(&tail.folder, Head::at(tip))?;
        release(&lock, &tail.folder)?;
        let journal = Self {
            tail,
            lock,
            head,
            health: Health::Good,
            unsynced: None,
        };
        Ok((journal, recovered))
    }

    /// Says whose records follow: the run (its id is the correlation id too), who started it, where, and what.
    #[must_use]
    pub fn with_run(mut self, run: RunId, actor: &str, env: &EnvName, pipeline: &PipelineName) -> Self {
        self.tail.subject = Some(Subject {
            run,
            actor: actor.to_owned(),
            env: env.clone(),
            pipeline: pipeline.clone(),
        });
        self
    }

    /// How many records this process knows of, and the hash of the last.
    pub fn head(&self) -> (u64, Leaf) {
        let tip = self.tail.tip().unwrap_or_else(|| Tip::of_origin(""));
        (tip.next, tip.prev)
    }

    /// Appends a record.
    ///
    /// # Errors
    /// When it is not there for certain. After a full disk only [`Event::RunFinished`] is taken, after any other failure
    /// nothing.
    pub fn append(&mut self, entry: &Entry, sync: Sync) -> Result<(), JournalError> {
        let last = entry.event == Event::RunFinished;
        match self.health {
            Health::Good => {}
            Health::Full if last => {}
            Health::Full => {
                return Err(JournalError::Full {
                    path: self.tail.folder.path().join(self.tail.cursor.name()),
                    source: None,
                });
            }
            Health::Stopped => {
                let path = self.tail.folder.path().to_owned();
                return Err(JournalError::Stopped { path });
            }
        }
        hold(&self.lock, &self.tail.folder, FlockOperation::NonBlockingLockExclusive)?;
        let mut written = self.write(entry, sync);
        if last && matches!(written, Err(JournalError::Full { .. })) {
            written = give_up_reserve(&self.tail.folder).and_then(|()| self.write(entry, Sync::Now));
        }
        let released = release(&self.lock, &self.tail.folder);
        self.health = match &written {
            Ok(()) | Err(JournalError::TooLong { .. }) => self.health,
            Err(JournalError::Full { .. }) => Health::Full,
            Err(_) => Health::Stopped,
        };
        written.and(released)
    }

    /// Makes everything appended so far durable.
    pub fn sync(&mut self) -> Result<(), JournalError> {
        if self.unsynced.is_none() {
            return Ok(());
        }
        hold(&self.lock, &self.tail.folder, FlockOperation::NonBlockingLockExclusive)?;
        let synced = self.tail.read_to_the_end(None).and_then(|_| self.sync_held());
        let released = release(&self.lock, &self.tail.folder);
        if synced.is_err() {
            self.health = Health::Stopped;
        }
        synced.and(released)
    }

    fn write(&mut self, entry: &Entry, sync: Sync) -> Result<(), JournalError> {
        self.tail.read_to_the_end(None)?;
        self.tail.rotate()?;
        self.tail.put(entry)?;
        let since = *self.unsynced.get_or_insert_with(Instant::now);
        let waited = since.elapsed() >= Duration::from_millis(limits::JOURNAL_GROUP_MILLISECONDS);
        if sync == Sync::Now || waited {
            self.sync_held()?;
        }
        Ok(())
    }

    fn sync_held(&mut self) -> Result<(), JournalError> {
        self.tail.sync()?;
        self.unsynced = None;
        match self.tail.tip() {
            Some(tip) => self.head.write(&self.tail.folder, Head::at(tip)),
            None => Ok(()),
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if self.health != Health::Stopped {
            // Whoever must know calls `sync`; this only narrows what a power cut could take.
            let _ = self.sync();
        }
    }
}

/// Takes the journal's lock, which others hold for one record at a time.
pub(super) fn hold(lock: &File, folder: &StateFolder, how: FlockOperation) -> Result<(), JournalError> {
    let begin = Instant::now();
    let patience = Duration::from_millis(limits::JOURNAL_WAIT_MILLISECONDS);
    loop {
        match rustix::fs::flock(lock, how) {
            Ok(()) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) if begin.elapsed() >= patience => {
                let path = folder.path().join(LOCK);
                return Err(JournalError::Busy { path });
            }
            Err(Errno::WOULDBLOCK) => std::thread::sleep(Duration::from_millis(2)),
            Err(error) => return Err(JournalError::io(&folder.path().join(LOCK))(error.into())),
        }
    }
}

/// Gives the journal's lock up.
pub(super) fn release(lock: &File, folder: &StateFolder) -> Result<(), JournalError> {
    rustix::fs::flock(lock, FlockOperation::Unlock)
        .map_err(|error| JournalError::io(&folder.path().join(LOCK))(error.into()))
}

/// Holds space back for the last record of a run that fills the disk.
fn reserve(folder: &StateFolder) -> Result<(), JournalError> {
    let path = folder.path().join(RESERVE);
    let failed = JournalError::io(&path);
    let file = segment::open(folder, RESERVE, OFlags::RDWR | OFlags::CREATE)?;
    let mut file = file.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
    if file.metadata().map_err(&failed)?.len() >= limits::JOURNAL_RESERVE as u64 {
        return Ok(());
    }
    // Written and not only promised, and not with NULs: some file systems keep no space for these.
    file.write_all(&vec![b'-'; limits::JOURNAL_RESERVE])
        .and_then(|()| file.sync_all())
        .map_err(&failed)
}

/// Gives the space back.
fn give_up_reserve(folder: &StateFolder) -> Result<(), JournalError> {
    let failed = JournalError::io(folder.path());
    match segment::open(folder, RESERVE, OFlags::RDWR)? {
        Some(file) => file.set_len(0).and_then(|()| file.sync_all()).map_err(failed),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Filter, Status, read, verify};

    fn open(folder: &StateFolder) -> Journal {
        Journal::open(folder, Setup::new(Arc::new(str::to_owned))).unwrap().0
    }

    fn state() -> (tempfile::TempDir, StateFolder) {
        let above = tempfile::tempdir().unwrap();
        let folder = StateFolder::open(&above.path().join("dev")).unwrap();
        (above, folder)
    }

    fn events(folder: &StateFolder) -> Vec<String> {
        let records = read(folder, Filter::default()).unwrap().map(Result::unwrap);
        records
            .map(|record| record.text("event").unwrap_or_default().to_owned())
            .collect()
    }

    #[test]
    fn a_full_disk_leaves_no_half_line_and_takes_the_last_record_alone() {
        let (_above, folder) = state();
        let mut journal = open(&folder);
        journal.tail.full_for = 2;
        let started = journal.append(&Entry::new(Event::StepStarted), Sync::Now);
        assert!(
            matches!(started, Err(JournalError::Full { source: Some(_), .. })),
            "{started:?}"
        );
        let swap = journal.append(&Entry::new(Event::SwapIntended), Sync::Now);
        assert!(matches!(swap, Err(JournalError::Full { source: None, .. })), "{swap:?}");
        let reserve = folder.path().join(RESERVE);
        assert_eq!(
            std::fs::metadata(&reserve).unwrap().len(),
            limits::JOURNAL_RESERVE as u64
        );
        journal
            .append(&Entry::new(Event::RunFinished).status(Status::Failed), Sync::Grouped)
            .unwrap();
        assert_eq!(std::fs::metadata(&reserve).unwrap().len(), 0);
        drop(journal);
        assert_eq!(events(&folder), ["log_started", "run_finished"]);
        assert!(verify(&folder).unwrap().is_good());
        open(&folder);
        assert_eq!(
            std::fs::metadata(&reserve).unwrap().len(),
            limits::JOURNAL_RESERVE as u64
        );
    }

    #[test]
    fn nothing_follows_a_record_that_could_not_be_written() {
        let (_above, folder) = state();
        let mut journal = open(&folder);
        let segment = folder.path().join("journal-000001.jsonl");
        let whole = std::fs::read(&segment).unwrap();
        std::fs::write(&segment, b"").unwrap();
        let cut = journal.append(&Entry::new(Event::StepStarted), Sync::Now);
        assert!(matches!(cut, Err(JournalError::Broken { .. })), "{cut:?}");
        std::fs::write(&segment, whole).unwrap();
        let next = journal.append(&Entry::new(Event::StepStarted), Sync::Now);
        assert!(matches!(next, Err(JournalError::Stopped { .. })), "{next:?}");
    }

    #[test]
    fn grouped_records_lie_behind_the_head_until_they_are_synced() {
        let (_above, folder) = state();
        let mut journal = open(&folder);
        journal.append(&Entry::new(Event::StepStarted), Sync::Grouped).unwrap();
        assert_eq!(verify(&folder).unwrap().beyond_head, 1);
        journal.sync().unwrap();
        assert_eq!(verify(&folder).unwrap().beyond_head, 0);
        journal.append(&Entry::new(Event::StepFinished), Sync::Grouped).unwrap();
        journal.append(&Entry::new(Event::RunFinished), Sync::Now).unwrap();
        assert_eq!(verify(&folder).unwrap().beyond_head, 0);
    }

    #[test]
    fn a_held_lock_does_not_outlive_a_failed_open() {
        let (_above, folder) = state();
        drop(open(&folder));
        std::fs::write(folder.path().join(head::FILE), b"nonsense\n").unwrap();
        let opened = Journal::open(&folder, Setup::new(Arc::new(str::to_owned)));
        assert!(matches!(opened, Err(JournalError::Broken { .. })), "{opened:?}");
        assert!(!verify(&folder).unwrap().is_good());
    }
}
