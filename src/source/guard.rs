//! What must be true of a source for its capture to count: it is there, it holds something, enough, and not much less than
//! the last time. A backup that silently holds nothing looks like a good one.

use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use super::place::{self, Place};
use super::{Source, SourceError};
use crate::fs::entry::TreePath;
use crate::fs::folder::Folder;
use crate::id::BackupId;
use crate::units::{ByteCount, Share};

/// The keys of every source, whatever its type.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Guards {
    /// The source may be missing or hold nothing. Otherwise the run stops: an empty folder is most often a disk that is not
    /// mounted.
    #[serde(default)]
    pub allow_empty: bool,
    /// The run stops where less than this is captured, `10 MiB` for one: apparent bytes of all files.
    #[serde(default)]
    pub min_size: Option<ByteCount>,
    /// The run stops where the source has lost more than this share, `20%` for one, of its bytes or of its entries since the
    /// last backup of this pipeline and instance.
    #[serde(default)]
    pub max_shrink: Option<Share>,
    /// The run stops where this file is not below the root, `.mounted` for one: it tells the right disk from an empty mount
    /// point or a wrong one.
    #[serde(default)]
    pub sentinel: Option<String>,
}

/// How much of a source there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Entries.
    pub entries: u64,
    /// Apparent bytes of all files.
    pub bytes: u64,
}

/// How much of a source the last backup has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Before {
    /// The backup.
    pub backup: BackupId,
    /// How much.
    pub amount: Amount,
}

impl Guards {
    /// The names of the keys.
    pub const KEYS: [&str; 4] = ["allow-empty", "min-size", "max-shrink", "sentinel"];

    /// Whether the sentinel, where there is one, is a path below a root.
    pub fn sentinel_is_below(&self) -> bool {
        self.sentinel
            .as_deref()
            .is_none_or(|path| sentinel_path(path).is_some())
    }
}

fn sentinel_path(path: &str) -> Option<TreePath> {
    TreePath::parse(path.as_bytes()).filter(|path| !path.is_root())
}

impl Source {
    /// Looks, before anything is captured, whether the source is there and has its sentinel.
    ///
    /// # Errors
    /// Where it is not or has not.
    pub fn guard(&self, base: &Path) -> Result<(), SourceError> {
        match place::find(self, base) {
            Ok(place) => self.check_sentinel(Some(&place)),
            Err(error) if self.may_be_absent(&error) => self.check_sentinel(None),
            Err(error) => Err(error),
        }
    }

    /// Whether a source that cannot be found for this reason may be one that is not there.
    pub(super) fn may_be_absent(&self, error: &SourceError) -> bool {
        self.guards.allow_empty && matches!(error, SourceError::Missing { .. })
    }

    fn check_sentinel(&self, place: Option<&Place>) -> Result<(), SourceError> {
        let Some(sentinel) = &self.guards.sentinel else {
            return Ok(());
        };
        let missing = |root: String| SourceError::SentinelMissing {
            name: self.name.clone(),
            sentinel: sentinel.clone(),
            root,
        };
        let Some(place) = place else {
            return Err(missing(self.kind.path().to_owned()));
        };
        let is_there = |path: &TreePath| {
            let root = Folder::open(&place.root)?;
            root.beneath(&path.parent().unwrap_or_default())?.stat_of(path.name())
        };
        match sentinel_path(sentinel).map(|path| is_there(&path)) {
            Some(Ok(_)) => Ok(()),
            Some(Err(cause)) if !is_absence(&cause) => Err(place.unreadable(cause)),
            Some(Err(_)) | None => Err(missing(place.shown(&TreePath::root()))),
        }
    }

    /// Looks, after the capture, whether what was captured may stand.
    ///
    /// # Errors
    /// Where it is nothing, too little, much less than before, or where the sentinel has gone meanwhile.
    pub fn check_amount(&self, base: &Path, now: Amount, before: Option<&Before>) -> Result<(), SourceError> {
        self.guard(base)?;
        let name = || self.name.clone();
        let guards = &self.guards;
        // The root is an entry, and where it is all there is the source is empty.
        if now.entries <= 1 && !guards.allow_empty {
            return Err(SourceError::Empty {
                name: name(),
                what: "there is nothing",
                root: place::shown(&self.root(base)),
            });
        }
        if let Some(min) = guards.min_size.filter(|min| now.bytes < min.0) {
            let bytes = ByteCount(now.bytes);
            return Err(SourceError::TooSmall {
                name: name(),
                bytes,
                min,
            });
        }
        let (Some(most), Some(before)) = (guards.max_shrink, before) else {
            return Ok(());
        };
        let lost = |was: u64, is: u64| most.is_exceeded(was.saturating_sub(is), was);
        let shrank = |what: String| SourceError::Shrank {
            name: name(),
            what,
            most,
            backup: before.backup.clone(),
        };
        let was = before.amount;
        if lost(was.bytes, now.bytes) {
            return Err(shrank(format!("{} of {}", ByteCount(now.bytes), ByteCount(was.bytes))));
        }
        if lost(was.entries, now.entries) {
            return Err(shrank(format!("{} of {} entries", now.entries, was.entries)));
        }
        Ok(())
    }
}

fn is_absence(error: &std::io::Error) -> bool {
    use rustix::io::Errno;
    let absent = [Errno::NOENT, Errno::NOTDIR, Errno::LOOP];
    Errno::from_io_error(error).is_some_and(|errno| absent.contains(&errno))
}
