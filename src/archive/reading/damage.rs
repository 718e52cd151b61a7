//! Which files of a damaged backup cannot be had. All others can.

use crate::archive::catalog::Listed;
use crate::diagnostic::Diagnostic;
use crate::limits::WARNINGS_LISTED;

use super::extract::{Taker, extract};
use super::path::BackupPath;
use super::{Reading, ReadingError};

/// Files whose content cannot be had.
#[derive(Debug, Default)]
pub struct Lost {
    /// How many.
    pub count: u64,
    /// The first of them, each with why.
    pub first: Vec<(BackupPath, Diagnostic)>,
}

impl Taker for Lost {
    fn damaged(&mut self, listed: &Listed, error: ReadingError) -> Result<(), ReadingError> {
        self.count += 1;
        if self.first.len() < WARNINGS_LISTED {
            self.first.push((BackupPath::of(listed), Diagnostic::of(&error)));
        }
        Ok(())
    }
}

/// Reads the content of every file.
///
/// # Errors
/// When the catalog cannot be read, so that nobody can say what is lost.
pub fn lost(reading: &Reading) -> Result<Lost, ReadingError> {
    let mut entries = reading.entries();
    let next = move || {
        while let Some(listed) = entries.next()? {
            if listed.place.is_some() {
                return Ok(Some(listed));
            }
        }
        Ok(None)
    };
    let mut lost = Lost::default();
    extract(reading, next, &mut lost)?;
    Ok(lost)
}
