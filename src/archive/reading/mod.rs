//! Parts of a backup: what is in it, one file of it, some of it as an archive. Only those parts of the catalog and of the content are
//! read that are asked for.

pub mod damage;
pub mod difference;
pub mod export;
pub mod extract;
pub mod find;
mod frames;
pub mod list;
pub mod path;
pub mod picks;
pub mod salvage;
pub mod sample;

use std::sync::Arc;

use tokio::runtime::Handle;

use crate::diagnostic::{Code, Diagnose};
use crate::event::Events;
use crate::fs::entry::TreePath;
use crate::id::SourceName;
use crate::target::Target;

use super::catalog::{Line, Listed};
use super::keys::Opening;
use super::record::Record;
use super::unpack::segments::{Before, Segments};
use super::unpack::{Lines, UnpackError};

use path::{BackupPath, Order};

/// Why a part of a backup cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadingError {
    /// The backup does not have it.
    #[error("backup `{backup}` has no `{path}`")]
    Unknown {
        /// The backup.
        backup: String,
        /// What was asked for.
        path: String,
    },
    /// What was asked for has no content.
    #[error("`{path}` is {what} and has no content of its own")]
    NoContent {
        /// What was asked for.
        path: String,
        /// What it is.
        what: &'static str,
        /// What a link holds.
        target: Option<String>,
    },
    /// A file's content cannot be had.
    #[error("`{path}` cannot be read")]
    File {
        /// Path with its source.
        path: String,
        /// Why.
        #[source]
        source: Box<UnpackError>,
    },
    /// What is left of a damaged backup is asked for, and it is one stream.
    #[error("the archive `{0}` is one gzip stream: behind what is damaged nothing can be told from it")]
    Stream(String),
    /// More is lost than can be told apart from the rest.
    #[error("the content of {0} files cannot be had, more than can be told apart from the rest")]
    TooMuchLost(u64),
    /// The backup cannot be read.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
}

impl Diagnose for ReadingError {
    fn code(&self) -> Code {
        match self {
            Self::Unknown { .. } => Code::PathUnknown,
            Self::NoContent { .. } => Code::NotAFile,
            Self::File { source, .. } => source.code(),
            Self::Stream(_) | Self::TooMuchLost(_) => Code::Damaged,
            Self::Unpack(error) => error.code(),
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::Unknown { path, .. } => {
                let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
                let look = ["strongroom ls BACKUP", parent].join(" ");
                Some(format!(
                    "`{}` shows what is there; a path is `<source>/<path>`, or what it was on the host",
                    look.trim_end()
                ))
            }
            Self::NoContent { path, target, .. } => Some(match target {
                Some(target) => format!("it points to `{target}`: name that, where the backup has it"),
                None => format!("`strongroom ls BACKUP {path}` shows what is in it, `strongroom export` takes it out"),
            }),
            Self::File { source, .. } => source.help(),
            Self::Stream(_) | Self::TooMuchLost(_) => {
                Some("use another backup or another target; the script beside the backups gets out what it can".into())
            }
            Self::Unpack(error) => error.help(),
        }
    }
}

/// A backup in one target, to be read in parts. What it does blocks: for blocking threads.
#[derive(Clone)]
pub struct Reading {
    target: Target,
    record: Arc<Record>,
    opening: Opening,
    events: Events,
    handle: Handle,
    segments: Arc<Segments>,
}

impl Reading {
    /// Begins. Nothing is read yet.
    ///
    /// # Errors
    /// When the backup is sealed and nothing opens it.
    pub fn new(
        target: &Target,
        record: &Record,
        opening: &Opening,
        events: &Events,
        handle: Handle,
    ) -> Result<Self, ReadingError> {
        if let (Some(epoch), Opening::Plain) = (&record.epoch, opening) {
            return Err(UnpackError::Sealed(epoch.clone()).into());
        }
        Ok(Self {
            segments: Arc::new(Segments::new(target, opening, handle.clone())),
            target: target.clone(),
            record: Arc::new(record.clone()),
            opening: opening.clone(),
            events: events.clone(),
            handle,
        })
    }

    /// Lets another backup in the same target and of the same key read no segment of its catalog that this one has just read.
    #[must_use]
    pub fn sharing(&self, other: Self) -> Self {
        let same = self.target.name() == other.target.name() && self.target.url() == other.target.url();
        if !same || self.record.epoch != other.record.epoch {
            return other;
        }
        let segments = Arc::clone(&self.segments);
        Self { segments, ..other }
    }

    /// The backup's record.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The order of everything in it.
    pub fn order(&self) -> Order {
        Order::of(&self.record)
    }

    /// Its entries from the first one on.
    pub fn entries(&self) -> Entries {
        Entries {
            lines: Lines::over(Arc::clone(&self.segments), &self.record),
            waiting: None,
        }
    }

    /// One entry; `None` where the backup does not have it.
    pub fn entry(&self, path: &BackupPath) -> Result<Option<Listed>, ReadingError> {
        let order = self.order();
        let mut entries = self.entries();
        entries.advance(&|source, at| order.is_before((source, at), path))?;
        Ok(entries.next()?.filter(|listed| path.is(listed)))
    }

    /// The entry that holds the content of `listed`: of a further name of a file its first one.
    ///
    /// # Errors
    /// When the first name is not there, which no writer makes.
    pub fn holder(&self, listed: Listed) -> Result<Listed, ReadingError> {
        let crate::fs::entry::Kind::HardLink { first } = &listed.entry.kind else {
            return Ok(listed);
        };
        let path = BackupPath::new(&listed.source, first);
        match self.entry(&path)? {
            Some(first) if !matches!(first.entry.kind, crate::fs::entry::Kind::HardLink { .. }) => Ok(first),
            Some(_) | None => Err(UnpackError::Disagree {
                path: BackupPath::of(&listed).display(),
                what: "the name that it is another one of",
            }
            .into()),
        }
    }

    fn unknown(&self, path: &BackupPath) -> ReadingError {
        ReadingError::Unknown {
            backup: self.record.id.to_string(),
            path: path.display(),
        }
    }
}

/// The entries of a backup, one after the other.
pub struct Entries {
    lines: Lines,
    waiting: Option<Listed>,
}

impl Entries {
    /// The next entry, which stays the next one.
    pub fn peek(&mut self) -> Result<Option<&Listed>, UnpackError> {
        while self.waiting.is_none() {
            match self.lines.next()? {
                Some(Line::Entry(listed)) => self.waiting = Some(*listed),
                Some(Line::Superseded { .. } | Line::Gone { .. }) => {}
                None => return Ok(None),
            }
        }
        Ok(self.waiting.as_ref())
    }

    /// The next entry.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator's item would hide the error that ends it"
    )]
    pub fn next(&mut self) -> Result<Option<Listed>, UnpackError> {
        self.peek()?;
        Ok(self.waiting.take())
    }

    /// Passes over every entry before what is sought, mostly without reading its segment.
    pub fn advance(&mut self, before: &Before<'_>) -> Result<(), UnpackError> {
        let is_before = |listed: &Listed| before(&listed.source, &listed.entry.path);
        if self.waiting.as_ref().is_some_and(|listed| !is_before(listed)) {
            return Ok(());
        }
        self.waiting = None;
        self.lines.advance(before)
    }
}

/// What an entry stands at.
pub type At<'a> = (&'a SourceName, &'a TreePath);
