//! Where data comes from. A source walks what it captures and hands it on entry by entry; it never holds a file whole
//! unless the file is small.

pub mod append_log;
mod error;
mod feed;
pub mod files;
pub mod guard;
pub mod lineage;
pub mod log_head;
mod place;
pub mod sqlite;

use std::path::{Path, PathBuf};

pub use append_log::blocks::{Blocks, Sample};
pub use append_log::difference::{Compared, Comparison, Difference};
pub use append_log::memory::LogMemory;
pub use append_log::proof::{Breach, BreachKind, History, Past, Rewrite};
pub use append_log::reader::LogReader;
pub use error::SourceError;
pub use guard::{Amount, Before, Guards};
pub use log_head::LogHead;
pub use place::{Form, Selects};

use crate::crypto::Digest;
use crate::diagnostic::Diagnostic;
use crate::event::{Event, Events};
use crate::fs::entry::Entry;
use crate::fs::owners::Owners;
use crate::fs::walk::FileSystems;
use crate::id::SourceName;
use crate::kinds;

kinds! {
    /// A kind of source with its settings.
    pub enum SourceKind {
        /// Files and folders as they are.
        "files" => Files(files::Files),
        /// A log that only ever grows.
        "append-log" => AppendLog(append_log::AppendLog),
        /// SQLite databases, each copied as of one moment.
        "sqlite" => Sqlite(sqlite::Sqlite),
    }
}

/// A source of a pipeline: its name and what it captures.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// The name, first part of every path of this source in a backup.
    pub name: SourceName,
    /// What it captures.
    pub kind: SourceKind,
    /// What must be true of it.
    pub guards: Guards,
}

/// What a capture would read, as far as it can be known without reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Entries, without folders that are only on the way to what a glob matches.
    pub entries: u64,
    /// Apparent bytes of all files; of databases without what waits in their write-ahead log.
    pub bytes: u64,
    /// Entries that a capture would leave out with a warning.
    pub left_out: u64,
}

impl Source {
    /// The folder that this source captures from, as it is on this machine now: the longest leading folder of its path
    /// without a glob, or the folder of the one file it names. Relative paths start at `base`, the project folder.
    pub fn root(&self, base: &Path) -> PathBuf {
        place::root(self.kind.path(), base)
    }

    /// The root of a source whose path stood for `form` when it was captured; the path need not be there.
    pub fn root_as(&self, base: &Path, form: Form) -> PathBuf {
        place::root_as(self.kind.path(), base, form)
    }

    /// Which entries below `root`, a folder with the content of this source's root, would be captured.
    ///
    /// # Errors
    /// When a glob cannot be used.
    pub fn selects(&self, base: &Path, root: &Path, form: Form) -> Result<Selects, SourceError> {
        let selection = place::selection(self, base, form)?;
        Ok(match self.kind {
            SourceKind::Files(_) | SourceKind::AppendLog(_) => Selects::by_name(selection),
            SourceKind::Sqlite(_) => Selects::databases(selection, root),
        })
    }

    /// The bytes of this log as it is now; as far as they reach, a record that is being written included.
    ///
    /// # Errors
    /// When the source is not there or its folder cannot be read.
    pub fn log(&self, base: &Path) -> Result<LogReader, SourceError> {
        let place = place::find(self, base)?;
        LogReader::open(place.open()?, &place.selection).map_err(|cause| place.unreadable(cause))
    }

    /// The bytes of a log of this source that lies below `root`, whatever is at the source's own path.
    ///
    /// # Errors
    /// When a glob cannot be used or the folder cannot be read.
    pub fn log_below(&self, base: &Path, root: &Path, form: Form) -> Result<LogReader, SourceError> {
        let selection = place::selection(self, base, form)?;
        let unreadable = |cause| SourceError::Unreadable {
            path: place::shown(root),
            cause,
        };
        let folder = crate::fs::folder::Folder::open(root).map_err(unreadable)?;
        LogReader::open(folder, &selection).map_err(unreadable)
    }

    /// Looks at what a capture would read. Reads no content, but for the first bytes of what may be a database.
    pub fn survey(&self, base: &Path, owners: &Owners) -> Result<Survey, SourceError> {
        let place = match place::find(self, base) {
            Err(error) if self.may_be_absent(&error) => return Ok(Survey::default()),
            found => found?,
        };
        match &self.kind {
            SourceKind::Files(files) => feed::survey(&place, owners, files.file_systems(), |_, _| Ok(true)),
            SourceKind::AppendLog(_) => feed::survey(&place, owners, FileSystems::All, |_, _| Ok(true)),
            SourceKind::Sqlite(_) => feed::survey(&place, owners, FileSystems::All, sqlite::is_meant),
        }
    }

    /// Looks whether each database can be read, as far as that can be known without a copy of it; writes nothing, not even beside
    /// the database. What is wrong is what a capture would end with, for each database; nothing for other kinds of source.
    pub fn foresee(&self, base: &Path, owners: &Owners, stop: &std::sync::atomic::AtomicBool) -> Vec<SourceError> {
        let SourceKind::Sqlite(settings) = &self.kind else {
            return Vec::new();
        };
        match place::find(self, base) {
            Err(error) if self.may_be_absent(&error) => Vec::new(),
            Err(error) => vec![error],
            Ok(place) => sqlite::foresee(settings, &place, owners, stop),
        }
    }

    /// Looks, before any source is captured, at those blocks of a log that `history` names.
    ///
    /// # Errors
    /// Where the log is shorter than it was or a block has other bytes.
    pub fn look_ahead(&self, base: &Path, history: &History) -> Result<(), SourceError> {
        match &history.sample {
            Some(sample) => append_log::look(&place::find(self, base)?, sample),
            None => Ok(()),
        }
    }

    /// Captures the source into `sink`.
    ///
    /// # Errors
    /// When the source is not there or cannot be captured as a whole, when the sink takes no more, or when the run is
    /// stopped. What was handed on until then counts for nothing. A single entry that cannot be read is a warning.
    pub fn capture(
        &self,
        base: &Path,
        sink: &mut dyn TreeSink,
        context: &CaptureContext<'_>,
    ) -> Result<Captured, SourceError> {
        self.capture_after(base, sink, context, &History::default())
    }

    /// Captures the source as [`Source::capture`] does; a log must continue what `history` has of it.
    ///
    /// # Errors
    /// As there, and where a log is shorter than it was or has other bytes.
    pub fn capture_after(
        &self,
        base: &Path,
        sink: &mut dyn TreeSink,
        context: &CaptureContext<'_>,
        history: &History,
    ) -> Result<Captured, SourceError> {
        context.events.tell(&Event::SourceStarted {
            source: self.name.to_string(),
        });
        let place = match place::find(self, base) {
            // What is not there has no root either, so nothing of it is handed on.
            Err(error) if self.may_be_absent(&error) => return Ok(Captured::default()),
            found => found?,
        };
        let mut feed = feed::Feed::new(sink, context, place.form);
        match &self.kind {
            SourceKind::Files(files) => files::capture(files, &place, &mut feed)?,
            SourceKind::AppendLog(log) => append_log::capture(log, &place, history, &mut feed)?,
            SourceKind::Sqlite(settings) => sqlite::capture(settings, &place, &mut feed)?,
        }
        Ok(feed.finish())
    }
}

impl SourceKind {
    /// The path as the operator wrote it, templates filled.
    pub fn path(&self) -> &str {
        match self {
            Self::Files(files) => &files.path,
            Self::AppendLog(log) => &log.path,
            Self::Sqlite(databases) => &databases.path,
        }
    }

    /// The globs of what is left out.
    pub fn exclude(&self) -> &[String] {
        match self {
            Self::Files(files) => &files.exclude,
            Self::AppendLog(log) => &log.exclude,
            Self::Sqlite(databases) => &databases.exclude,
        }
    }
}

/// Whether what was handed on stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The content is what the entry says.
    Kept,
    /// The file changed while it was read. The same entry follows again at once; what came before does not count.
    Superseded,
    /// The file changed while it was read and there is no further try: the content is what was read, the entry is kept
    /// and reported.
    KeptChanging,
}

/// Takes a captured tree. For each entry `begin`, then for a file as many `write` as it takes to hand on exactly
/// `kind.data_bytes()` bytes (the data of its extents, in order), then `end`.
///
/// The root of a source comes first (path empty), then its entries in the order of [`crate::fs::entry::TreePath`]. Where
/// one source captures a single file the root is a folder all the same.
pub trait TreeSink {
    /// Whether it is worth asking what is known: without it every entry is looked at wholly.
    fn knows(&self) -> bool {
        false
    }

    /// Asks, in place of `begin`, whether an entry that looks like `glimpse` was had before, unchanged since, with `size` bytes
    /// of data where that is given. Where it was, it counts as handed on, and nothing more is to be said of it. `glimpse`
    /// has no attributes, no extents and no target of a link, and its size is not looked at.
    fn known(&mut self, glimpse: &Entry, size: Option<u64>) -> Result<Option<Known>, SinkError> {
        let _ = (glimpse, size);
        Ok(None)
    }

    /// Begins an entry.
    fn begin(&mut self, entry: &Entry) -> Result<(), SinkError>;

    /// Takes the next bytes of the entry's data.
    fn write(&mut self, data: &[u8]) -> Result<(), SinkError>;

    /// Ends the entry.
    fn end(&mut self, verdict: Verdict) -> Result<(), SinkError>;

    /// Hears, between two entries, that others come first for a while: a sink lets go of what it only holds to be quick.
    fn rest(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    /// Tells, between `begin` and `end`, that redaction changed the content of the entry under way; `values` secrets were taken
    /// out, 0 where they were not counted.
    fn redacted(&mut self, values: u32) {
        let _ = values;
    }

    /// The BLAKE3 of what was written of the entry under way, where the sink computes it anyway; always or never.
    fn digest(&self) -> Option<blake3::Hash> {
        None
    }
}

impl<T: TreeSink + ?Sized> TreeSink for &mut T {
    fn knows(&self) -> bool {
        (**self).knows()
    }

    fn known(&mut self, glimpse: &Entry, size: Option<u64>) -> Result<Option<Known>, SinkError> {
        (**self).known(glimpse, size)
    }

    fn begin(&mut self, entry: &Entry) -> Result<(), SinkError> {
        (**self).begin(entry)
    }

    fn write(&mut self, data: &[u8]) -> Result<(), SinkError> {
        (**self).write(data)
    }

    fn end(&mut self, verdict: Verdict) -> Result<(), SinkError> {
        (**self).end(verdict)
    }

    fn rest(&mut self) -> Result<(), SinkError> {
        (**self).rest()
    }

    fn redacted(&mut self, values: u32) {
        (**self).redacted(values);
    }

    fn digest(&self) -> Option<blake3::Hash> {
        (**self).digest()
    }
}

/// What a sink knows of an entry that is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Digest of a file's data, as it went to the sink.
    pub blake3: Option<Digest>,
    /// Apparent bytes of a file, as it went to the sink.
    pub size: u64,
    /// The content was changed by redaction; so many secrets were taken out.
    pub redacted: Option<u32>,
}

/// Why a sink takes no more. The one who feeds it stops at once and passes it on.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The run was cancelled or a later stage ended; its own error is told by that stage.
    #[error("the run was stopped")]
    Stopped,
    /// The sink itself cannot go on.
    #[error("{}", .0.what)]
    Failed(Box<Diagnostic>),
}

/// What a source needs beside its settings.
pub struct CaptureContext<'a> {
    /// Listeners; sources tell `SourceRead` every few MiB.
    pub events: &'a Events,
    /// Where a spool file may be made (0700). It is unlinked as soon as it is open.
    pub spool: PathBuf,
    /// The host's names of owners and groups.
    pub owners: &'a Owners,
    /// Set when the run should end; looked at between blocks.
    pub stop: &'a std::sync::atomic::AtomicBool,
}

impl CaptureContext<'_> {
    /// Fails where the run is to stop.
    fn check_stop(&self) -> Result<(), SourceError> {
        if self.stop.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(SourceError::Stopped);
        }
        Ok(())
    }
}

/// What came of a capture.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Captured {
    /// Entries handed on, hard links included, superseded ones not.
    pub entries: u64,
    /// Apparent bytes of all files handed on, superseded ones not.
    pub bytes: u64,
    /// Entries left out or kept with a doubt, each with its path, in order; at most `limits::WARNINGS_LISTED`.
    pub warnings: Vec<Diagnostic>,
    /// How many warnings there were, those listed included.
    pub warning_count: u64,
    /// What the source's path stood for. Whoever restores needs it where the path is not there any more.
    pub form: Form,
    /// For a log: how far it reaches, and how it goes on from what it was held against.
    pub log_head: Option<LogHead>,
    /// For a log of which only a part is to be compared: what the next capture needs for it.
    pub log_blocks: Option<Blocks>,
    /// For a log: what the next capture needs in order not to read again what is as it was.
    pub log_memory: Option<LogMemory>,
}
