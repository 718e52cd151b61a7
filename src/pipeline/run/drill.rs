//! A drill: a run that unpacks into a folder that is removed again. How it ended stands in the journal by its own name, so
//! that whoever asks when the last one was finds it.

use crate::diagnostic::{Code, Diagnostic};
use crate::id::BackupId;
use crate::journal::{Entry, Event, Field, Status, Sync};
use crate::pipeline::Plan;
use crate::steps::Step;
use crate::steps::restore::{Restore, To};

use super::evidence::Evidence;
use super::{Failure, Options};

/// How far a drill has come.
#[derive(Debug, Default)]
pub(super) struct Drill {
    pub(super) backup: Option<BackupId>,
    pub(super) entries: u64,
    pub(super) bytes: u64,
    /// What held, for people.
    pub(super) judged: String,
}

impl Drill {
    /// Begins one where the plan is of that kind. With `--to` what is unpacked stays, and it is none.
    pub(super) fn begin(plan: &Plan, options: &Options) -> Option<Self> {
        let unpacks = |step: &Step| {
            matches!(
                step,
                Step::Restore(Restore {
                    to: Some(To::Scratch),
                    ..
                })
            )
        };
        let mut steps = plan.steps().iter().filter(|planned| planned.enabled);
        (options.to.is_none() && steps.any(|planned| unpacks(&planned.step))).then(Self::default)
    }
}

impl Evidence {
    /// What came of a drill; comes when what it unpacked is gone.
    pub(super) fn drilled(&mut self, drill: &Drill, failure: Option<&[Diagnostic]>) -> Result<(), Failure> {
        let first = failure.and_then(|failure| failure.first());
        let status = match (failure, first.map(|first| first.code)) {
            (None, _) => Status::Ok,
            (_, Some(Code::Interrupted | Code::Terminated)) => Status::Interrupted,
            _ => Status::Failed,
        };
        let mut entry = Entry::new(Event::Drilled).status(status);
        if let Some(backup) = &drill.backup {
            entry = entry.with(Field::Backup, backup.as_str());
        }
        entry = match first {
            Some(first) => entry
                .with(Field::Code, first.code.as_str())
                .with(Field::Message, first.what.as_str()),
            None => entry
                .with(Field::Entries, drill.entries)
                .with(Field::Bytes, drill.bytes)
                .with(Field::Message, drill.judged.as_str()),
        };
        self.write(&entry, Sync::Now)
    }
}
