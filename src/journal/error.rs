//! Why the journal cannot be read or written.

use std::io;
use std::path::{Path, PathBuf};

use crate::diagnostic::{Code, Diagnose};

/// Why the journal cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Something other than an unfinished last line is wrong with it.
    #[error("the journal is broken: {what} ({file}{})", .line.map(|line| format!(", line {line}")).unwrap_or_default())]
    Broken {
        /// File in the state folder.
        file: String,
        /// Line, counted from 1, where it is about one.
        line: Option<u64>,
        /// What is wrong.
        what: String,
    },
    /// Another process has held it for longer than writing a record takes.
    #[error("another process holds the journal `{}` and does not let go", .path.display())]
    Busy {
        /// The lock file.
        path: PathBuf,
    },
    /// No space is left for a record.
    #[error("no space left for the journal `{}`", .path.display())]
    Full {
        /// The file that was being written.
        path: PathBuf,
        /// What the operating system said; `None` where an earlier record met it.
        source: Option<io::Error>,
    },
    /// A record that no line can hold.
    #[error("a record of {bytes} bytes is too long for the journal")]
    TooLong {
        /// Bytes of the line.
        bytes: usize,
    },
    /// An earlier record could not be written for certain, so none may follow it.
    #[error("the journal `{}` takes no more records after one could not be written", .path.display())]
    Stopped {
        /// The state folder.
        path: PathBuf,
    },
    /// The operating system refused something.
    #[error("the journal file `{}` cannot be used", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl JournalError {
    /// Takes what the operating system said about `path`; no space is told apart.
    pub(super) fn io(path: &Path) -> impl Fn(io::Error) -> Self + '_ {
        move |source| {
            let path = path.to_owned();
            match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full {
                    path,
                    source: Some(source),
                },
                _ => Self::Io { path, source },
            }
        }
    }

    pub(super) fn broken(file: impl Into<String>, line: Option<u64>, what: impl Into<String>) -> Self {
        Self::Broken {
            file: file.into(),
            line,
            what: what.into(),
        }
    }
}

impl Diagnose for JournalError {
    fn code(&self) -> Code {
        match self {
            Self::Broken { .. } => Code::JournalBroken,
            Self::Busy { .. } => Code::Held,
            Self::Full { .. } => Code::DiskFull,
            Self::TooLong { .. } => Code::Internal,
            Self::Stopped { .. } | Self::Io { .. } => Code::StateFailed,
        }
    }

    fn why(&self) -> Option<String> {
        Some(match self {
            Self::Broken { .. } => "a record was changed, removed or moved after it was written".into(),
            Self::Busy { .. } => "a record takes milliseconds; whoever holds it so long is stopped or stuck".into(),
            _ => "what cannot be recorded is not done".into(),
        })
    }

    fn state(&self) -> Option<String> {
        match self {
            Self::Broken { .. } => Some("nothing was written to the journal".into()),
            _ => None,
        }
    }

    fn help(&self) -> Option<String> {
        Some(match self {
            Self::Broken { .. } => {
                "look at all of it with `strongroom journal verify`, keep a copy of the state folder as evidence, and \
                 find out who wrote there; then `strongroom journal restart` begins a new journal"
                    .into()
            }
            Self::Busy { .. } => "see which process has `journal.lock` open (`fuser`), then run again".into(),
            Self::Full { .. } => "free space where the state folder lies, then run again".into(),
            Self::TooLong { .. } => "this is a fault of the program: report it with the run id".into(),
            Self::Stopped { .. } | Self::Io { .. } => {
                "see that the disk of the state folder is mounted, writable and answers, then run again".into()
            }
        })
    }
}
