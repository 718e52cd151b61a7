//! A database that is in use, copied by SQLite's online backup.
//!
//! In WAL mode one read transaction around the whole copy holds one moment, and nobody waits for it. With a rollback journal
//! a reader keeps writers out, so the copy is made in short steps with the lock given up between them; a writer who comes in
//! between makes SQLite begin again.

use std::path::Path;
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::scratch::Scratch;
use super::{BUSY, spool_failed};
use crate::limits;
use crate::source::{CaptureContext, SourceError};

/// Bytes copied between two looks at the stop flag, where nobody waits.
const STEP: i32 = 16 << 20;
/// Bytes copied while writers wait.
const SHORT_STEP: i32 = 1 << 20;
/// Between two looks whether a writer is done.
const LOOK: Duration = Duration::from_millis(2);
/// What writers have for themselves between two steps.
const PAUSE: Duration = Duration::from_millis(1);

/// How a copy was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Made {
    /// Without keeping writers out for long.
    Beside,
    /// Under one read lock, because writers came in between each time.
    KeepingOut,
}

/// Why a copy could not be made.
pub(super) enum LiveError {
    /// A crash left a journal that must be undone first, which a reader may not.
    HotJournal,
    /// Anything else.
    Source(SourceError),
}

impl From<SourceError> for LiveError {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

/// Copies a database in WAL mode, `-wal` and `-shm` of which are there.
pub(super) fn in_wal_mode(context: &CaptureContext<'_>, at: &Path, path: &str) -> Result<Scratch, LiveError> {
    let copying = Copying { context, path };
    let source = copying.open(at)?;
    copying.under_one_lock(&source, STEP)
}

/// Copies a database with a rollback journal. `between` is called while no lock is held.
pub(super) fn with_journal(
    context: &CaptureContext<'_>,
    at: &Path,
    path: &str,
    between: &mut dyn FnMut(),
) -> Result<(Scratch, Made), LiveError> {
    let copying = Copying { context, path };
    let source = copying.open(at)?;
    if let Some(scratch) = copying.in_steps(&source, between)? {
        return Ok((scratch, Made::Beside));
    }
    let scratch = copying.under_one_lock(&source, SHORT_STEP)?;
    Ok((scratch, Made::KeepingOut))
}

/// Waits for whoever writes; gives up after [`BUSY`]. SQLite's own wait looks ten times a second at the most, and would
/// seldom hit the moment between two writes of a service that writes without a pause.
pub(super) fn is_patient(tries: i32) -> bool {
    std::thread::sleep(LOOK);
    LOOK * tries.unsigned_abs() < BUSY
}

/// Leaves writers their turn.
pub(super) fn pause() {
    std::thread::sleep(PAUSE);
}

struct Copying<'a> {
    context: &'a CaptureContext<'a>,
    path: &'a str,
}

impl Copying<'_> {
    fn open(&self, at: &Path) -> Result<Connection, LiveError> {
        let flags =
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let opened = Connection::open_with_flags(at, flags).and_then(|mut source| {
            source.busy_handler(Some(is_patient))?;
            source.pragma_update(None, "query_only", true)?;
            Ok(source)
        });
        opened.map_err(|cause| self.failed(cause))
    }

    /// Copies everything as of one moment.
    fn under_one_lock(&self, source: &Connection, step: i32) -> Result<Scratch, LiveError> {
        source.execute_batch("BEGIN").map_err(|cause| self.failed(cause))?;
        source
            .query_row("PRAGMA schema_version", [], |row| row.get::<_, i64>(0))
            .map_err(|cause| self.failed(cause))?;
        let (scratch, mut target) = self.target()?;
        let (step, page) = self.pages(source, step)?;
        let backup = Backup::new(source, &mut target).map_err(|cause| self.failed(cause))?;
        while self.step(&backup, step)? == Step::More {}
        let pages = backup.progress().pagecount;
        drop(backup);
        self.finish(scratch, target, page, pages)
    }

    /// Copies in short steps; nothing where writers came in between too often.
    fn in_steps(&self, source: &Connection, between: &mut dyn FnMut()) -> Result<Option<Scratch>, LiveError> {
        let (scratch, mut target) = self.target()?;
        let (step, page) = self.pages(source, SHORT_STEP)?;
        let backup = Backup::new(source, &mut target).map_err(|cause| self.failed(cause))?;
        let mut left: Option<i32> = None;
        let mut again = 0;
        while self.step(&backup, step)? == Step::More {
            let now = backup.progress().remaining;
            // Where a step leaves more than it should, it was the first one of another beginning.
            if left.is_some_and(|left| now > left.saturating_sub(step)) {
                again += 1;
                if again > limits::SQLITE_RESTARTS {
                    return Ok(None);
                }
            }
            left = Some(now);
            between();
        }
        let pages = backup.progress().pagecount;
        drop(backup);
        self.finish(scratch, target, page, pages).map(Some)
    }

    /// A copy to be filled, and SQLite's hold of it.
    fn target(&self) -> Result<(Scratch, Connection), LiveError> {
        let full = |cause| spool_failed(self.context, cause);
        let scratch = Scratch::create(&self.context.spool).map_err(full)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened = Connection::open_with_flags(scratch.path(), flags).and_then(|target| {
            // A copy that a crash makes worthless needs neither a journal nor the disk.
            target.execute_batch(
                "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE;",
            )?;
            Ok(target)
        });
        let target = opened.map_err(|cause| full(std::io::Error::other(cause)))?;
        Ok((scratch, target))
    }

    /// How many pages are about `bytes`, and the bytes of one.
    fn pages(&self, source: &Connection, bytes: i32) -> Result<(i32, u32), LiveError> {
        let page: u32 = source
            .query_row("PRAGMA page_size", [], |row| row.get(0))
            .map_err(|cause| self.failed(cause))?;
        let pages = i32::try_from(page).map_or(1, |page| (bytes / page.max(512)).max(1));
        Ok((pages, page))
    }

    fn step(&self, backup: &Backup<'_, '_>, pages: i32) -> Result<Step, LiveError> {
        self.context.check_stop()?;
        match backup.step(pages).map_err(|cause| self.failed(cause))? {
            StepResult::More => Ok(Step::More),
            StepResult::Done => Ok(Step::Done),
            // The busy timeout has gone by.
            _ => {
                let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
                Err(self.failed(rusqlite::Error::SqliteFailure(busy, None)))
            }
        }
    }

    fn finish(&self, scratch: Scratch, target: Connection, page: u32, pages: i32) -> Result<Scratch, LiveError> {
        target.close().map_err(|(_, cause)| self.failed(cause))?;
        let metadata = scratch.file().metadata();
        let length = metadata.map_err(|cause| spool_failed(self.context, cause))?.len();
        if length != u64::from(page) * u64::from(pages.unsigned_abs()) {
            let path = self.path.to_owned();
            return Err(SourceError::SqliteCopy { path }.into());
        }
        Ok(scratch)
    }

    fn failed(&self, cause: rusqlite::Error) -> LiveError {
        if let rusqlite::Error::SqliteFailure(error, _) = &cause {
            if error.extended_code == rusqlite::ffi::SQLITE_READONLY_ROLLBACK {
                return LiveError::HotJournal;
            }
            // The source is only read, so it is the spool that is full.
            if error.code == rusqlite::ErrorCode::DiskFull {
                return spool_failed(self.context, std::io::ErrorKind::StorageFull.into()).into();
            }
        }
        let path = self.path.to_owned();
        SourceError::Sqlite { path, cause }.into()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    More,
    Done,
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::event::Events;
    use crate::fs::owners::Owners;

    /// A database of some megabytes with a rollback journal, and one who writes to it.
    fn database(path: &Path) -> Connection {
        let made = Connection::open(path).unwrap();
        made.execute_batch(
            "PRAGMA journal_mode = DELETE; PRAGMA synchronous = OFF; CREATE TABLE t (n INTEGER PRIMARY KEY, pad BLOB);
             WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 5000)
             INSERT INTO t SELECT x, randomblob(1000) FROM n;",
        )
        .unwrap();
        made
    }

    fn rows(path: &Path) -> u32 {
        let copy = Connection::open(path).unwrap();
        let sound: String = copy.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(sound, "ok");
        copy.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
    }

    /// Copies while someone writes between the steps, as often as `times`; how, what rows there are, and how many steps.
    fn copied(times: u32) -> (Made, u32, u32) {
        let dir = tempfile::tempdir().unwrap();
        let spool = tempfile::tempdir().unwrap();
        let (owners, events, stop) = (Owners::default(), Events::none(), AtomicBool::new(false));
        let context = CaptureContext {
            events: &events,
            spool: spool.path().to_owned(),
            owners: &owners,
            stop: &stop,
        };
        let path = dir.path().join("a.db");
        let writer = database(&path);
        let (mut steps, mut written) = (0, 0);
        let mut between = || {
            steps += 1;
            if written < times {
                written += 1;
                writer
                    .execute("INSERT INTO t VALUES (NULL, randomblob(1000))", [])
                    .unwrap();
            }
        };
        let Ok((scratch, made)) = with_journal(&context, &path, "a.db", &mut between) else {
            panic!("it was not copied")
        };
        (made, rows(scratch.path()), steps)
    }

    #[test]
    fn a_copy_begins_again_for_a_writer_who_comes_in_between_and_has_what_was_written() {
        let (made, rows, undisturbed) = copied(0);
        assert_eq!((made, rows), (Made::Beside, 5000));
        assert!(undisturbed > 3, "{undisturbed} steps");
        for times in 1..=limits::SQLITE_RESTARTS {
            let (made, rows, steps) = copied(times);
            assert_eq!((made, rows), (Made::Beside, 5000 + times));
            assert_eq!(steps, undisturbed + times);
        }
    }

    #[test]
    fn writers_are_kept_out_when_they_come_in_between_each_time() {
        let (made, rows, steps) = copied(u32::MAX);
        assert_eq!(made, Made::KeepingOut);
        // Everything that was written before the lock was taken.
        assert_eq!(rows, 5000 + steps);
        assert_eq!(steps, limits::SQLITE_RESTARTS + 1);
    }
}
