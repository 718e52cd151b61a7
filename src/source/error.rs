//! Why a source cannot be captured as a whole.

use std::io;

use crate::diagnostic::{Code, Diagnose, Diagnostic};
use crate::fs::glob::GlobError;
use crate::id::{BackupId, SourceName};
use crate::source::{Breach, BreachKind, SinkError};
use crate::units::{ByteCount, Share};

/// Why a source cannot be captured. Paths are written for people.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The path leads to nothing.
    #[error("the source `{name}` is not there: `{path}` does not exist")]
    Missing {
        /// The source.
        name: SourceName,
        /// Its path as looked for.
        path: String,
    },
    /// The root is there, but nothing in it is what the source is made of.
    #[error("the source `{name}` is empty: {what} in `{root}`")]
    Empty {
        /// The source.
        name: SourceName,
        /// What there is none of.
        what: &'static str,
        /// Where.
        root: String,
    },
    /// The file that tells the right disk from a wrong one is not there.
    #[error("the source `{name}` lacks its sentinel `{sentinel}` in `{root}`")]
    SentinelMissing {
        /// The source.
        name: SourceName,
        /// Its sentinel.
        sentinel: String,
        /// Where it should be.
        root: String,
    },
    /// Too little was captured.
    #[error("the source `{name}` holds {bytes}, less than the {min} that it must")]
    TooSmall {
        /// The source.
        name: SourceName,
        /// How much there is.
        bytes: ByteCount,
        /// How much there must be.
        min: ByteCount,
    },
    /// Much less was captured than the last time.
    #[error("the source `{name}` shrank since backup `{backup}`: it has {what} left")]
    Shrank {
        /// The source.
        name: SourceName,
        /// How much of how much.
        what: String,
        /// How much it may lose.
        most: Share,
        /// The last backup.
        backup: BackupId,
    },
    /// A glob cannot be used.
    #[error("the source `{name}` has a glob that cannot be used")]
    Glob {
        /// The source.
        name: SourceName,
        /// Which, and why.
        #[source]
        cause: GlobError,
    },
    /// The root, or a file that a log cannot do without, cannot be read.
    #[error("`{path}` cannot be read")]
    Unreadable {
        /// What cannot be read.
        path: String,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A log became shorter than what had been announced of it.
    #[error("the log file `{path}` became shorter while it was read")]
    LogShrank {
        /// The file.
        path: String,
    },
    /// A log does not continue what its last backup has.
    #[error("the log `{name}` is not what its last backup has and something more: {}", .breach.kind)]
    LogBroken {
        /// The source.
        name: SourceName,
        /// In what.
        breach: Box<Breach>,
    },
    /// A file that a `sqlite` source matches is no database.
    #[error("`{path}` is not an SQLite database")]
    NotSqlite {
        /// The file.
        path: String,
    },
    /// SQLite cannot copy a database.
    #[error("the database `{path}` cannot be copied")]
    Sqlite {
        /// The database.
        path: String,
        /// What SQLite says.
        #[source]
        cause: rusqlite::Error,
    },
    /// SQLite's copy is not what it says it is.
    #[error("the copy of the database `{path}` is not whole")]
    SqliteCopy {
        /// The database.
        path: String,
    },
    /// A database is opened, written and closed so often that it can be copied neither at rest nor in use.
    #[error("the database `{path}` was another each time it was looked at")]
    SqliteUnsettled {
        /// The database.
        path: String,
    },
    /// SQLite finds a copy damaged.
    #[error("the database `{path}` is damaged: {what}")]
    SqliteCorrupt {
        /// The database.
        path: String,
        /// What SQLite says.
        what: String,
    },
    /// The copy of a database cannot be kept in the spool folder.
    #[error("the copy of a database cannot be kept in `{spool}`")]
    Spool {
        /// The spool folder.
        spool: String,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The run was stopped.
    #[error("the capture was stopped")]
    Stopped,
    /// What was read cannot be handed on.
    #[error("{}", .0.what)]
    Sink(Box<Diagnostic>),
}

impl From<SinkError> for SourceError {
    fn from(error: SinkError) -> Self {
        match error {
            SinkError::Stopped => Self::Stopped,
            SinkError::Failed(diagnostic) => Self::Sink(diagnostic),
        }
    }
}

impl SourceError {
    /// Whether SQLite gave up waiting for whoever writes.
    fn is_busy(&self) -> bool {
        let Self::Sqlite { cause, .. } = self else { return false };
        matches!(
            cause.sqlite_error_code(),
            Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked)
        )
    }
}

impl Diagnose for SourceError {
    fn code(&self) -> Code {
        match self {
            Self::Missing { .. } => Code::SourceMissing,
            Self::Empty { .. } => Code::SourceEmpty,
            Self::SentinelMissing { .. } => Code::SentinelMissing,
            Self::TooSmall { .. } => Code::SourceTooSmall,
            Self::Shrank { .. } => Code::SourceShrank,
            Self::Glob { .. } => Code::InvalidValue,
            Self::Spool { cause, .. } => Code::SourceFailed.unless_full(cause),
            Self::Unreadable { .. } => Code::SourceFailed,
            Self::LogShrank { .. } => Code::LogShrank,
            Self::LogBroken { breach, .. } => match breach.kind {
                BreachKind::Shorter | BreachKind::Gone(_) => Code::LogShrank,
                BreachKind::Differs => Code::LogRewritten,
            },
            Self::NotSqlite { .. } => Code::NotSqlite,
            Self::Sqlite { .. } | Self::SqliteCopy { .. } | Self::SqliteUnsettled { .. } => Code::SqliteFailed,
            Self::SqliteCorrupt { .. } => Code::SqliteCorrupt,
            Self::Stopped => Code::Interrupted,
            Self::Sink(diagnostic) => diagnostic.code,
        }
    }

    fn why(&self) -> Option<String> {
        match self {
            Self::LogShrank { .. } | Self::LogBroken { .. } => {
                Some("an append-log only ever grows, so what was there before may be lost".to_owned())
            }
            Self::Empty { .. } => Some("an empty folder is most often a disk that is not mounted".to_owned()),
            Self::SentinelMissing { .. } => {
                Some("without it this is most often another disk than the right one, or none".to_owned())
            }
            Self::TooSmall { .. } => Some("`min-size` says that less than that cannot be all of it".to_owned()),
            Self::Shrank { most, .. } => Some(format!("`max-shrink` lets it lose {most} from one backup to the next")),
            Self::NotSqlite { .. } => {
                Some("its first bytes are not those of a database; those of an encrypted one are not either".to_owned())
            }
            Self::SqliteCorrupt { .. } => Some("a backup of it would look like a good one".to_owned()),
            Self::Sink(diagnostic) => diagnostic.why.clone(),
            _ => None,
        }
    }

    fn state(&self) -> Option<String> {
        match self {
            Self::Sink(diagnostic) => diagnostic.state.clone(),
            _ => Some("nothing of this run is a backup; the source is as it was".to_owned()),
        }
    }

    fn help(&self) -> Option<String> {
        let text = match self {
            Self::Missing { name, .. } | Self::Empty { name, .. } => format!(
                "check `path` of the source `{name}`: values in `{{{{…}}}}` come from the environment file or `--set`, and \
                 `strongroom explain` shows from where; relative paths start at the folder above `pipelines/`. Where it may \
                 be so, write `allow-empty = true`"
            ),
            Self::SentinelMissing { .. } => {
                "mount the disk; where this is the right one, make the file on it".to_owned()
            }
            Self::TooSmall { name, .. } => format!(
                "look at what is there; where it is right, lower `min-size` of the source `{name}`, for one run with `--set`"
            ),
            Self::Shrank { name, .. } => format!(
                "look at what is gone; where it is right, let this run pass with \
                 `--set step.<id>.source.{name}.max-shrink=\"100%\"`, the id being that of the `snapshot` step"
            ),
            Self::Glob { .. } => "a character that stands for itself is written as a class, `[*]`".to_owned(),
            Self::Unreadable { .. } => "let the user who runs the backup read it, or leave it out with `exclude`".to_owned(),
            Self::LogShrank { .. } => {
                "find out what cut the log; a file that may shrink belongs to a `files` source".to_owned()
            }
            Self::LogBroken { name, .. } => format!(
                "find out what changed it; where the change is meant, `--accept-log-rewrite {name}` lets this one run \
                 begin a new generation of the log"
            ),
            Self::NotSqlite { .. } => "where it is no database, leave it out with `exclude` or narrow the glob. An encrypted \
                                       one (SQLCipher) cannot be read without its key: let the program that has the key \
                                       write a copy of it (`VACUUM INTO`, `sqlcipher_export`) beside it, before each \
                                       backup or by a `command` source where there is one, and capture the copy with a \
                                       `files` source"
                .to_owned(),
            Self::SqliteUnsettled { .. } => {
                "let the service keep its database open, or stop it for the backup".to_owned()
            }
            Self::SqliteCorrupt { .. } => "restore it from a backup (`strongroom list`), or save what can be read with \
                                           `sqlite3 DATABASE .recover`; to back it up as it is, write `check = \"none\"` for \
                                           its source"
                .to_owned(),
            Self::Sqlite { .. } if self.is_busy() => {
                "another process held the database for more than ten seconds; try again, or let it use WAL mode".to_owned()
            }
            Self::Sqlite { .. } | Self::SqliteCopy { .. } => {
                "open it once with the service or with `sqlite3`, which recovers a database after a crash, and check it \
                 with `PRAGMA integrity_check`"
                    .to_owned()
            }
            Self::Spool { .. } => "make room there, or name another `state` folder in the environment".to_owned(),
            Self::Stopped => return None,
            Self::Sink(diagnostic) => return diagnostic.help.clone(),
        };
        Some(text)
    }
}
