//! Chooses how a database is copied, by what lies beside it.
//!
//! A reader of a database in WAL mode makes `-wal` and `-shm` where they are missing, owned by whoever runs the backup, and
//! the service could be locked out of its own database. So SQLite opens the database in its place only where both are
//! there, and the lock taken before that look keeps them there: nobody can be the last to close it. Anything else is copied
//! as files and opened in the spool.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::live::{self, LiveError, Made};
use super::rest::{self, ReaderLock, Rested};
use super::scratch::Scratch;
use super::{SHARED_MEMORY, WAL};
use crate::fs::folder::Folder;
use crate::limits;
use crate::source::{CaptureContext, SourceError, feed};

/// How a database keeps what was written last.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// In a write-ahead log.
    Wal,
    /// In itself; a journal holds what it was before.
    Journal,
}

/// Copies the database `name`.
pub(super) fn copy(
    context: &CaptureContext<'_>,
    folder: &Folder,
    name: &[u8],
    path: &str,
) -> Result<(Scratch, Made), SourceError> {
    let unreadable = |cause| SourceError::Unreadable {
        path: path.to_owned(),
        cause,
    };
    let at: PathBuf = folder
        .path()
        .map_err(unreadable)?
        .join(std::ffi::OsStr::from_bytes(name));
    for _ in 0..limits::SQLITE_TRIES {
        let mut hot = false;
        if mode(folder, name).map_err(unreadable)? == Mode::Journal {
            match live::with_journal(context, &at, path, &mut live::pause) {
                Ok(copied) => return Ok(copied),
                Err(LiveError::HotJournal) => hot = true,
                Err(LiveError::Source(error)) => return Err(error),
            }
        }
        let lock = ReaderLock::take(context, folder, name, path)?;
        let is_there = |end: &[u8]| exists(folder, name, end).map_err(unreadable);
        let rests = hot || !(is_there(WAL)? && is_there(SHARED_MEMORY)?);
        if rests {
            match rest::copy(context, folder, name, &lock, path)? {
                Rested::Copied(scratch) => return Ok((scratch, Made::Beside)),
                Rested::Disturbed => continue,
            }
        }
        match live::in_wal_mode(context, &at, path) {
            Ok(scratch) => return Ok((scratch, Made::Beside)),
            Err(LiveError::HotJournal) => {}
            Err(LiveError::Source(error)) => return Err(error),
        }
    }
    Err(SourceError::SqliteUnsettled { path: path.to_owned() })
}

pub(super) fn mode(folder: &Folder, name: &[u8]) -> io::Result<Mode> {
    // SQLite uses a log that is there whatever the database's own header says.
    if exists(folder, name, WAL)? {
        return Ok(Mode::Wal);
    }
    let mut head = [0; 20];
    feed::read_at(&folder.file(name)?, &mut head, 0)?;
    Ok(if head.get(18..) == Some(&[2, 2]) {
        Mode::Wal
    } else {
        Mode::Journal
    })
}

pub(super) fn exists(folder: &Folder, name: &[u8], end: &[u8]) -> io::Result<bool> {
    match folder.stat_of(&[name, end].concat()) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
