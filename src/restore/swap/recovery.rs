//! After a crash: finishes a swap that was committed, undoes one that was not, goes on with the removal of a point.
//!
//! The rule is the name of one file, so it is the same whoever applies it and however often.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, RenameFlags};
use rustix::io::Errno;

use super::disk::{Disk, Kernel};
use super::record::{Phase, SwapRecord};
use super::scan::{Point, Unfinished, open};
use super::settle::{self, SettleError};
use crate::diagnostic::{Code, Diagnose};

/// What became of a swap that was cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It was not committed: all destinations are as they were before.
    Undone,
    /// It was committed: all destinations are new.
    Finished,
    /// The removal of a rollback point came to its end.
    Dropped,
}

/// Why a swap that was cut short stays so.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// Its run is alive.
    #[error("another run replaces the data of this environment at this moment")]
    Live {
        /// Its journal.
        journal: PathBuf,
    },
    /// It cannot be finished nor undone as things are.
    #[error("a swap that was cut short can be neither finished nor undone")]
    Stays {
        /// Its journal.
        journal: PathBuf,
        /// Why.
        source: SettleError,
    },
    /// The journal cannot be opened or locked.
    #[error("the swap journal `{}` cannot be used", .journal.display())]
    Io {
        /// The journal.
        journal: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Diagnose for RecoveryError {
    fn code(&self) -> Code {
        match self {
            Self::Live { .. } => Code::Held,
            Self::Stays { .. } | Self::Io { .. } => Code::SwapUnfinished,
        }
    }

    fn why(&self) -> Option<String> {
        match self {
            Self::Live { journal } => Some(format!("its journal `{}` is held", journal.display())),
            Self::Stays { .. } | Self::Io { .. } => None,
        }
    }

    fn state(&self) -> Option<String> {
        Some(match self {
            Self::Live { .. } => "nothing was started".to_owned(),
            Self::Stays { journal, .. } | Self::Io { journal, .. } => format!(
                "some destinations may be old and some new; `{}` lists every rename",
                journal.display()
            ),
        })
    }

    fn help(&self) -> Option<String> {
        Some(match self {
            Self::Live { .. } => "wait until it has ended, or let this one wait: `--wait 1min`".to_owned(),
            Self::Stays {
                source: SettleError::Unknown(path),
                ..
            } => format!(
                "stop the service, move what lies at `{}` away, and run the command again; by hand: \
                 docs/DATA_MANAGEMENT.md, \"A swap that was cut short\"",
                path.display()
            ),
            Self::Stays { .. } | Self::Io { .. } => {
                "see that every file system of the destinations is mounted and can be written, and run the command again \
                 as the user who restored"
                    .to_owned()
            }
        })
    }
}

/// Settles a swap that was cut short. `None` where another process did so meanwhile.
///
/// # Errors
/// Where its run is alive, or it can be neither finished nor undone.
pub fn settle(unfinished: &Unfinished) -> Result<Option<How>, RecoveryError> {
    settle_by(unfinished, &mut Kernel)
}

pub(super) fn settle_by(unfinished: &Unfinished, disk: &mut dyn Disk) -> Result<Option<How>, RecoveryError> {
    let Unfinished { record, phase, journal } = unfinished;
    let Some(_lock) = hold(journal)? else { return Ok(None) };
    let (settled, how) = match phase {
        Phase::Swap => (settle::undo(record, disk), How::Undone),
        Phase::Swapped | Phase::Point => (settle::finish(record, disk), How::Finished),
        Phase::Drop => (settle::drop_point(record, disk), How::Dropped),
    };
    settled.map_err(|source| RecoveryError::Stays {
        journal: journal.clone(),
        source,
    })?;
    Ok(Some(how))
}

/// Takes the lock of a journal. `None` where it is not there any more.
///
/// # Errors
/// Where a process holds it.
pub fn hold(journal: &Path) -> Result<Option<File>, RecoveryError> {
    let failed = |source| RecoveryError::Io {
        journal: journal.to_owned(),
        source,
    };
    let file = match open(journal) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(failed)?,
    };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) | Err(Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS) => {}
        Err(Errno::WOULDBLOCK) => {
            return Err(RecoveryError::Live {
                journal: journal.to_owned(),
            });
        }
        Err(error) => return Err(failed(error.into())),
    }
    // Whoever held it a moment ago may have settled it.
    let held = file.metadata().map_err(failed)?;
    let same = std::fs::symlink_metadata(journal).is_ok_and(|now| (now.dev(), now.ino()) == (held.dev(), held.ino()));
    Ok(same.then_some(file))
}

/// Removes a rollback point with everything it keeps. `false` where another process did so meanwhile.
///
/// # Errors
/// Where a process uses it, or it cannot be removed as a whole: the next command goes on with it then.
pub fn drop_point(point: &Point) -> Result<bool, RecoveryError> {
    drop_point_by(&point.record, &point.journal, &mut Kernel)
}

pub(super) fn drop_point_by(record: &SwapRecord, journal: &Path, disk: &mut dyn Disk) -> Result<bool, RecoveryError> {
    let Some(_lock) = hold(journal)? else { return Ok(false) };
    let to = record.home.join(Phase::Drop.file_name(&record.run));
    disk.rename(journal, &to, RenameFlags::empty())
        .map_err(io::Error::from)
        .and_then(|()| disk.sync(&record.home))
        .map_err(|source| RecoveryError::Io {
            journal: journal.to_owned(),
            source,
        })?;
    settle::drop_point(record, disk).map_err(|source| RecoveryError::Stays { journal: to, source })?;
    Ok(true)
}
