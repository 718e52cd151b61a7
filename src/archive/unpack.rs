//! Reads a backup: its catalog in order and the content beside it, each content checked against its digest as it passes.

mod archived;
mod lines;
mod packed;
pub mod segments;
mod tally;

use std::sync::Arc;

use crate::crypto::age::AgeError;
use crate::diagnostic::{Code, Diagnose, Diagnostic};
use crate::event::Events;
use crate::id::SourceName;
use crate::source::{SinkError, TreeSink, Verdict};
use crate::target::{Target, TargetError};

pub use lines::Lines;
pub use segments::segment;
pub(super) use tally::Tally;

use super::catalog::{CatalogError, Listed};
use super::chunks::fetch::FetchError;
use super::keys::Opening;
use super::plain::PlainError;
use super::proofs::Proofs;
use super::record::Record;
use super::repository::RepositoryError;

/// Why a backup cannot be unpacked. What was handed on before the error must not be used.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The target failed.
    #[error("the backup cannot be read from its target")]
    Target(#[source] TargetError),
    /// A segment of the catalog is not what the record says.
    #[error("the catalog segment `{name}` is damaged: {what}")]
    Segment {
        /// Object name.
        name: String,
        /// What is wrong.
        what: String,
    },
    /// A segment of the catalog cannot be read.
    #[error("the catalog segment `{name}` is not a catalog")]
    Catalog {
        /// Object name.
        name: String,
        /// Why.
        #[source]
        source: CatalogError,
    },
    /// The archive cannot be read.
    #[error("the archive `{name}` is damaged")]
    Archive {
        /// Object name.
        name: String,
        /// Why.
        #[source]
        source: PlainError,
    },
    /// The list of objects cannot be read.
    #[error("the backup's list of objects cannot be used")]
    Refs(#[source] Box<RepositoryError>),
    /// A pack cannot be read.
    #[error("the pack `{name}` is damaged")]
    Pack {
        /// Object name.
        name: String,
        /// Why.
        #[source]
        source: FetchError,
    },
    /// The backup is sealed, and no key that opens it was given.
    #[error("the backup is sealed to the key `{0}`")]
    Sealed(String),
    /// A sealed object cannot be opened.
    #[error("`{name}` cannot be opened")]
    Open {
        /// Object name.
        name: String,
        /// Why.
        #[source]
        source: AgeError,
    },
    /// A file does not have the content that the catalog says.
    #[error("the content of `{path}` is not what the catalog says")]
    Content {
        /// Path with its source.
        path: String,
    },
    /// The archive and the catalog do not say the same.
    #[error("archive and catalog disagree at `{path}`: {what}")]
    Disagree {
        /// Path with its source.
        path: String,
        /// In what.
        what: &'static str,
    },
    /// The one who takes the entries ended.
    #[error("the entries could not be taken")]
    Sink(SinkError),
    /// A thread of the program ended early.
    #[error("a part of the program ended early")]
    Died,
}

impl Diagnose for UnpackError {
    fn code(&self) -> Code {
        match self {
            Self::Target(error) => error.code(),
            Self::Segment { .. } | Self::Catalog { .. } | Self::Content { .. } => Code::Damaged,
            Self::Archive {
                source: PlainError::Target(error),
                ..
            } => error.code(),
            Self::Archive {
                source: PlainError::Resources(_),
                ..
            }
            | Self::Died => Code::Internal,
            Self::Pack {
                source: FetchError::Target(error),
                ..
            } => error.code(),
            Self::Refs(error) => error.code(),
            Self::Sealed(_)
            | Self::Open {
                source: AgeError::NoMatch,
                ..
            } => Code::KeyMissing,
            Self::Archive { .. } | Self::Pack { .. } | Self::Open { .. } => Code::Damaged,
            Self::Disagree { .. } => Code::ArchiveHostile,
            Self::Sink(SinkError::Failed(diagnostic)) => diagnostic.code,
            Self::Sink(SinkError::Stopped) => Code::Interrupted,
        }
    }

    fn help(&self) -> Option<String> {
        let text = match self {
            Self::Target(error) => return error.help(),
            Self::Sink(SinkError::Failed(diagnostic)) => return diagnostic.help.clone(),
            Self::Sink(SinkError::Stopped) => return None,
            Self::Died => "run it again with -v and report what it prints",
            Self::Sealed(_)
            | Self::Open {
                source: AgeError::NoMatch,
                ..
            } => "give an identity that opens it: `identity` under `[encryption]` in the environment file",
            Self::Disagree { .. } => {
                "this backup was not made by this program as it is: do not restore it, look at who can write to the target"
            }
            _ => {
                "use another backup (`strongroom list`) or another target; copy the damaged one away before anything else"
            }
        };
        Some(text.into())
    }
}

/// What passed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Entries.
    pub entries: u64,
    /// Apparent bytes of files.
    pub bytes: u64,
}

/// Takes the entries of a backup, source by source in the order of the record.
pub trait BackupSink: Send {
    /// Where the entries of `source` go; `None` passes over it (its content is checked all the same).
    fn source(&mut self, source: &SourceName) -> Result<Option<&mut dyn TreeSink>, SinkError>;

    /// Which files are wanted; `None` for all of them. The content of others is neither read nor checked.
    fn filter(&self) -> Option<Filter> {
        None
    }

    /// Hears of each entry before it is handed on.
    fn listed(&mut self, _: &Listed) -> Result<(), SinkError> {
        Ok(())
    }
}

/// Hands the beginning of an entry on: its content and its end follow.
pub(super) fn begin<S: BackupSink>(sink: &mut S, listed: &Listed) -> Result<(), SinkError> {
    sink.listed(listed)?;
    if let Some(sink) = sink.source(&listed.source)? {
        sink.begin(&listed.entry)?;
        if listed.redacted {
            sink.redacted(0);
        }
    }
    Ok(())
}

/// Hands a piece of an entry's content on.
pub(super) fn content<S: BackupSink>(sink: &mut S, source: &SourceName, data: &[u8]) -> Result<(), SinkError> {
    sink.source(source)?.map_or(Ok(()), |sink| sink.write(data))
}

/// Hands the end of an entry on.
pub(super) fn end<S: BackupSink>(sink: &mut S, source: &SourceName) -> Result<(), SinkError> {
    sink.source(source)?.map_or(Ok(()), |sink| sink.end(Verdict::Kept))
}

/// Says whether an entry is wanted.
pub type Filter = Arc<dyn Fn(&Listed) -> bool + Send + Sync>;

/// Takes nothing: for a check of all content.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSink;

impl BackupSink for NoSink {
    fn source(&mut self, _: &SourceName) -> Result<Option<&mut dyn TreeSink>, SinkError> {
        Ok(None)
    }
}

/// Hands everything in the backup to `sink`, which comes back at the end.
///
/// # Errors
/// At the first thing that is wrong; the sink is dropped then.
pub async fn unpack<S: BackupSink + 'static>(
    target: &Target,
    record: &Record,
    opening: &Opening,
    events: &Events,
    sink: S,
) -> Result<(Unpacked, S), UnpackError> {
    unpack_seen(target, record, opening, (events, None), sink).await
}

/// Reads everything in the backup and compares it; `proofs` hear of all that is read of its archive or its packs.
///
/// # Errors
/// At the first thing that is wrong.
pub(super) async fn check(
    target: &Target,
    record: &Record,
    opening: &Opening,
    (events, proofs): (&Events, &Arc<Proofs>),
) -> Result<(), UnpackError> {
    let proofs = Some(Arc::clone(proofs));
    unpack_seen(target, record, opening, (events, proofs), NoSink).await?;
    Ok(())
}

async fn unpack_seen<S: BackupSink + 'static>(
    target: &Target,
    record: &Record,
    opening: &Opening,
    told: (&Events, Option<Arc<Proofs>>),
    sink: S,
) -> Result<(Unpacked, S), UnpackError> {
    if let (Some(epoch), Opening::Plain) = (&record.epoch, opening) {
        return Err(UnpackError::Sealed(epoch.clone()));
    }
    match &record.archive {
        Some(archive) => archived::unpack(target, record, archive, opening, told, sink).await,
        None => packed::unpack(target, record, opening, told, sink).await,
    }
}

impl From<UnpackError> for Box<Diagnostic> {
    fn from(error: UnpackError) -> Self {
        Self::new(Diagnostic::of(&error))
    }
}
