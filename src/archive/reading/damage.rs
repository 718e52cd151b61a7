//! Which files of a damaged backup cannot be had. All others can.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::archive::catalog::Listed;
use crate::archive::unpack::{Filter, UnpackError};
use crate::diagnostic::{Code, Diagnostic};
use crate::fs::entry::Kind;
use crate::limits::{LOST_MAX, WARNINGS_LISTED};
use crate::source::SinkError;

use super::extract::{Taker, extract};
use super::path::BackupPath;
use super::{Reading, ReadingError};

/// Which files are looked at.
#[derive(Clone, Default)]
pub struct Look {
    /// Only these; nothing for all.
    pub filter: Option<Filter>,
    /// Ends the look once it is set.
    pub stop: Arc<AtomicBool>,
}

/// Files whose content cannot be had, under each of their names.
#[derive(Debug, Default)]
pub struct Lost {
    /// How many names.
    pub count: u64,
    /// The first of them, each with why.
    pub first: Vec<(BackupPath, Diagnostic)>,
    /// Their names, up to `limits::LOST_MAX` of them.
    pub names: HashSet<BackupPath>,
    stop: Arc<AtomicBool>,
}

impl Lost {
    /// Whether each of them has its name here.
    pub fn is_complete(&self) -> bool {
        self.count == self.names.len() as u64
    }

    fn add(&mut self, path: BackupPath, why: impl FnOnce() -> Diagnostic) {
        self.count += 1;
        if self.first.len() < WARNINGS_LISTED {
            self.first.push((path.clone(), why()));
        }
        if self.names.len() < LOST_MAX {
            self.names.insert(path);
        }
    }
}

impl Taker for Lost {
    fn begin(&mut self, listed: &Listed) -> Result<(), SinkError> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(SinkError::Stopped);
        }
        if let Kind::HardLink { first } = &listed.entry.kind {
            let first = BackupPath::new(&listed.source, first);
            if self.names.contains(&first) {
                let what = format!("it is another name of `{}`, which cannot be had", first.display());
                self.add(BackupPath::of(listed), || Diagnostic::error(Code::Damaged, what));
            }
        }
        Ok(())
    }

    fn damaged(&mut self, listed: &Listed, error: ReadingError) -> Result<(), ReadingError> {
        // Who stopped is no damage.
        if let ReadingError::Unpack(UnpackError::Sink(_) | UnpackError::Died) = error {
            return Err(error);
        }
        self.add(BackupPath::of(listed), || Diagnostic::of(&error));
        Ok(())
    }
}

/// Reads the content of every file that is looked at.
///
/// # Errors
/// When the catalog cannot be read, so that nobody can say what is lost.
pub fn lost(reading: &Reading, look: Look) -> Result<Lost, ReadingError> {
    let mut entries = reading.entries();
    let mut lost = Lost {
        stop: Arc::clone(&look.stop),
        ..Lost::default()
    };
    let next = move || {
        while let Some(listed) = entries.next()? {
            let has_content = listed.place.is_some() || matches!(listed.entry.kind, Kind::HardLink { .. });
            if has_content && look.filter.as_ref().is_none_or(|filter| filter(&listed)) {
                return Ok(Some(listed));
            }
        }
        Ok(None)
    };
    extract(reading, next, &mut lost)?;
    Ok(lost)
}
