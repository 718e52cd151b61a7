//! A database that nobody has open, or that a crash left: its files are copied as they are, and SQLite finishes in the
//! spool what it would have to finish beside the database. Nothing is made, changed or removed there, so nothing of
//! another owner is left that would lock the service out.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant, SystemTime};

use rusqlite::{Connection, OpenFlags};
use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::scratch::Scratch;
use super::{BUSY, JOURNAL, WAL};
use crate::fs::entry::{Moment, Stat};
use crate::fs::folder::Folder;
use crate::fs::metadata;
use crate::source::{CaptureContext, SourceError};

/// How long a file must have rested for its times to tell that nothing was written to it since: file systems stamp in steps
/// of some milliseconds.
const SETTLED: Duration = Duration::from_millis(50);
/// Bytes copied between two looks at the stop flag.
const PIECE: u64 = 16 << 20;
/// Between two tries to get a lock that someone holds.
const AGAIN: Duration = Duration::from_millis(20);

/// What tells whether a database has changed. `-shm` holds nothing of it and is changed by those who only read; and SQLite
/// gives the side files that root opens to the database's owner each time, so of those the time of that does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatabaseStat {
    /// The database.
    pub database: Stat,
    /// Its write-ahead log, where there is one.
    pub wal: Option<Stat>,
    /// Its rollback journal, where there is one.
    pub journal: Option<Stat>,
}

impl DatabaseStat {
    /// Looks at the database `name` and at what lies beside it.
    pub fn of(folder: &Folder, name: &[u8]) -> io::Result<Self> {
        let side = |end: &[u8]| match folder.stat_of(&[name, end].concat()) {
            Ok(stat) => Ok(Some(Stat {
                ctime: Moment::default(),
                ..metadata::stat_of(&stat)
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        Ok(Self {
            database: metadata::stat_of(&folder.stat_of(name)?),
            wal: side(WAL)?,
            journal: side(JOURNAL)?,
        })
    }

    /// All of it as if it were one file: any change of any part shows, and the times are the latest.
    pub fn as_one(&self) -> Stat {
        let Self { database, wal, journal } = self;
        let mut hasher = blake3::Hasher::new();
        for part in [Some(database), wal.as_ref(), journal.as_ref()] {
            let Some(stat) = part else {
                hasher.update(&[0]);
                continue;
            };
            hasher.update(&[1]);
            for number in [stat.inode, stat.size] {
                hasher.update(&number.to_le_bytes());
            }
            for time in [stat.mtime, stat.ctime] {
                hasher.update(&time.seconds.to_le_bytes());
                hasher.update(&time.nanoseconds.to_le_bytes());
            }
        }
        let mut inode = [0; 8];
        hasher.finalize_xof().fill(&mut inode);
        let last = self.last_change();
        Stat {
            inode: u64::from_le_bytes(inode),
            mtime: last,
            ctime: last,
            ..*database
        }
    }

    /// When any of it was changed last.
    fn last_change(&self) -> Moment {
        let all = [Some(self.database), self.wal, self.journal];
        let times = all.into_iter().flatten().flat_map(|stat| [stat.mtime, stat.ctime]);
        times.max().unwrap_or_default()
    }

    /// Whether its times are old enough to tell.
    fn is_settled(&self) -> bool {
        let Moment { seconds, nanoseconds } = self.last_change();
        // A time before 1970 is long ago, and one ahead of the clock says nothing of how long.
        let Ok(seconds) = u64::try_from(seconds) else {
            return true;
        };
        let changed = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds);
        SystemTime::now()
            .duration_since(changed)
            .map_or(true, |age| age >= SETTLED)
    }
}

/// A lock on a database file as SQLite's readers take it. Whoever closes the database last meanwhile cannot remove what
/// lies beside it, and whoever would have to be alone with it waits.
///
/// A process loses its locks on a file as soon as it closes any descriptor of it: this one must be dropped after SQLite
/// has closed the database.
#[derive(Debug)]
pub(super) struct ReaderLock {
    pub(super) file: OwnedFd,
}

impl ReaderLock {
    /// Takes the lock; waits for whoever writes.
    pub(super) fn take(
        context: &CaptureContext<'_>,
        folder: &Folder,
        name: &[u8],
        path: &str,
    ) -> Result<Self, SourceError> {
        let unreadable = |cause| SourceError::Unreadable {
            path: path.to_owned(),
            cause,
        };
        let file = folder.file(name).map_err(unreadable)?;
        let began = Instant::now();
        loop {
            context.check_stop()?;
            match rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockShared) {
                Ok(()) => return Ok(Self { file }),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN | Errno::ACCESS) if began.elapsed() < BUSY => std::thread::sleep(AGAIN),
                Err(Errno::AGAIN | Errno::ACCESS) => {
                    let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
                    return Err(SourceError::Sqlite {
                        path: path.to_owned(),
                        cause: rusqlite::Error::SqliteFailure(busy, None),
                    });
                }
                // A file system without locks has none that anyone could hold.
                Err(Errno::NOLCK | Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP) => return Ok(Self { file }),
                Err(errno) => return Err(unreadable(errno.into())),
            }
        }
    }
}

/// What came of a copy.
pub(super) enum Rested {
    /// The database as it was left.
    Copied(Scratch),
    /// Someone began to write to it.
    Disturbed,
}

/// Copies the database `name` and what lies beside it. `lock` is held meanwhile.
pub(super) fn copy(
    context: &CaptureContext<'_>,
    folder: &Folder,
    name: &[u8],
    lock: &ReaderLock,
    path: &str,
) -> Result<Rested, SourceError> {
    let unreadable = |cause| SourceError::Unreadable {
        path: path.to_owned(),
        cause,
    };
    let mut before = DatabaseStat::of(folder, name).map_err(unreadable)?;
    if !before.is_settled() {
        std::thread::sleep(SETTLED);
        before = DatabaseStat::of(folder, name).map_err(unreadable)?;
        if !before.is_settled() {
            return Ok(Rested::Disturbed);
        }
    }
    let scratch = Scratch::create(&context.spool).map_err(|cause| super::spool_failed(context, cause))?;
    let database = lock.file.try_clone().map_err(unreadable)?;
    pour(context, File::from(database), scratch.file(), path)?;
    for (end, there) in [(WAL, before.wal), (JOURNAL, before.journal)] {
        if there.is_none() {
            continue;
        }
        let from = match folder.file(&[name, end].concat()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Rested::Disturbed),
            opened => opened.map_err(unreadable)?,
        };
        let side = scratch
            .create_side(end)
            .map_err(|cause| super::spool_failed(context, cause))?;
        pour(context, File::from(from), &side, path)?;
    }
    if DatabaseStat::of(folder, name).map_err(unreadable)? != before {
        return Ok(Rested::Disturbed);
    }
    if before.wal.is_some() || before.journal.is_some() {
        settle(context, &scratch, path)?;
    }
    Ok(Rested::Copied(scratch))
}

fn pour(context: &CaptureContext<'_>, mut from: File, mut to: &File, path: &str) -> Result<(), SourceError> {
    loop {
        context.check_stop()?;
        match io::copy(&mut Read::by_ref(&mut from).take(PIECE), &mut to) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(cause) if is_full(&cause) => return Err(super::spool_failed(context, cause)),
            Err(cause) => {
                return Err(SourceError::Unreadable {
                    path: path.to_owned(),
                    cause,
                });
            }
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Lets SQLite bring into the copy what its write-ahead log holds, or take out what its journal undoes.
fn settle(context: &CaptureContext<'_>, scratch: &Scratch, path: &str) -> Result<(), SourceError> {
    let failed = |cause: rusqlite::Error| {
        if cause.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull) {
            return super::spool_failed(context, io::ErrorKind::StorageFull.into());
        }
        SourceError::Sqlite {
            path: path.to_owned(),
            cause,
        }
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let copy = Connection::open_with_flags(scratch.path(), flags).map_err(failed)?;
    // A copy that a crash makes worthless does not need the disk.
    copy.execute_batch("PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE;")
        .map_err(failed)?;
    copy.query_row("PRAGMA schema_version", [], |row| row.get::<_, i64>(0))
        .map_err(failed)?;
    copy.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0))
        .map_err(failed)?;
    copy.close().map_err(|(_, cause)| failed(cause))
}
