//! What is noted beside logs that a swap puts in place, so that the next backup knows what they go on from.
//!
//! It is written ahead of the swap: a run that is killed once everything is in place has noted it already. Where the swap is
//! undone it is taken back, by the run itself or by whoever settles what it left.

use std::path::PathBuf;

use crate::diagnostic::{Code, Diagnostic};
use crate::id::SourceName;
use crate::restore::error::RestoreError;
use crate::source::lineage::{self, LineageEntry, LineageError};

/// What is noted beside each log, and the log.
#[derive(Default)]
pub(super) struct Notes(Vec<(PathBuf, LineageEntry)>);

impl Notes {
    pub(super) fn of(notes: impl Iterator<Item = (PathBuf, LineageEntry)>) -> Self {
        Self(notes.collect())
    }

    /// Writes them before anything is replaced.
    pub(super) fn write_ahead(&self) {
        for (destination, entry) in &self.0 {
            // It is tried again when the log is in place, and told then.
            let _ = lineage::write_ahead(destination, entry.clone());
        }
    }

    /// What becomes of them when the swap has failed.
    pub(super) fn after_failure(&self, error: &RestoreError) {
        let undone = match error {
            RestoreError::Swap { stuck, .. } => stuck.is_none(),
            RestoreError::Unsynced { .. } => false,
            _ => true,
        };
        for (destination, entry) in self.0.iter().filter(|_| undone) {
            // One that stays counts for no log but that of the backup it names.
            let _ = lineage::withdraw(destination, &entry.run);
        }
    }

    /// Lets them alone count, now that the logs are in place. Where that cannot be done the swap stands, and the next backup
    /// asks what became of the log.
    pub(super) fn keep(self) -> Vec<Diagnostic> {
        let kept = self.0.into_iter().filter_map(|(destination, entry)| {
            let name = entry.source.clone();
            let error = lineage::write(&destination, entry).err()?;
            Some(not_noted(&name, &error))
        });
        kept.collect()
    }
}

/// That the next backup will not know what became of a log.
fn not_noted(name: &SourceName, error: &LineageError) -> Diagnostic {
    Diagnostic::warning(
        Code::RestoreIncomplete,
        format!("that the log `{name}` was restored could not be noted beside it"),
    )
    .why(error.to_string())
    .state("the log is in place")
    .help(format!(
        "where the next backup says that it shrank or was rewritten, run it with `--accept-log-rewrite {name}`"
    ))
}
