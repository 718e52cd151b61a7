//! What the journal hears of removals and sweeps, each before it is done, and what it knows of earlier runs.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use crate::archive::repository::Backup;
use crate::archive::sweep::{Amount, Witness};
use crate::diagnostic::{Code, Diagnostic};
use crate::id::{BackupId, PipelineName, TargetName};
use crate::journal::{self, Entry, Event, Field, Filter, Record, Status, Sync};
use crate::limits::{JOURNAL_LIST_MAX, SWEEP_BATCH};
use crate::state::StateFolder;
use crate::units::counted;

use super::{Context, Evidence, Failure, take_lock};

// Every object that a sweep deletes stands in the journal by its name.
const _: () = assert!(SWEEP_BATCH <= JOURNAL_LIST_MAX);

/// Makes sure that nothing in the whole journal was changed, older segments included.
pub(super) fn whole_journal(state: &StateFolder) -> Result<(), Diagnostic> {
    let found = journal::verify(state).map_err(|error| Diagnostic::of(&error))?;
    match found.broken {
        None => Ok(()),
        Some(problem) => {
            let error = journal::JournalError::Broken {
                file: problem.file,
                line: problem.line,
                what: problem.what,
            };
            Err(Diagnostic::of(&error))
        }
    }
}

/// The backups that runs recorded in this journal as read back from `target` or verified there.
pub(in crate::pipeline::run) fn verified_in(
    state: &StateFolder,
    target: &TargetName,
) -> Result<BTreeSet<BackupId>, Diagnostic> {
    let mut verified = BTreeSet::new();
    for event in [Event::BackupConfirmed, Event::BackupVerified] {
        let filter = Filter {
            event: Some(event.as_str().into()),
            status: Some(Status::Ok.as_str().into()),
            ..Filter::default()
        };
        let records = journal::read(state, filter).map_err(|error| Diagnostic::of(&error))?;
        for record in records {
            let record = record.map_err(|error| Diagnostic::of(&error))?;
            let backup = record.text(Field::Backup.as_str()).and_then(|id| id.parse().ok());
            if let Some(backup) = backup.filter(|_| speaks_of(&record, target)) {
                verified.insert(backup);
            }
        }
    }
    Ok(verified)
}

/// The backups whose removal from `target` stands in this journal, whether it came to its end or not.
pub(in crate::pipeline::run) fn removed_from(
    state: &StateFolder,
    target: &TargetName,
) -> Result<BTreeSet<BackupId>, Diagnostic> {
    let filter = Filter {
        event: Some(Event::DeleteIntended.as_str().into()),
        ..Filter::default()
    };
    let mut removed = BTreeSet::new();
    for record in journal::read(state, filter).map_err(|error| Diagnostic::of(&error))? {
        let record = record.map_err(|error| Diagnostic::of(&error))?;
        let backup = record.text(Field::Backup.as_str()).and_then(|id| id.parse().ok());
        removed.extend(backup.filter(|_| speaks_of(&record, target)));
    }
    Ok(removed)
}

fn speaks_of(record: &Record, target: &TargetName) -> bool {
    let targets = record.fields.get(Field::Targets.as_str());
    let listed = targets.and_then(|targets| targets.as_array());
    let listed = listed.is_some_and(|targets| targets.iter().any(|one| one.as_str() == Some(target.as_str())));
    listed || record.text(Field::Target.as_str()) == Some(target.as_str())
}

impl Evidence {
    /// How many records a full disk did not take.
    pub(in crate::pipeline::run) const fn unrecorded(&self) -> u64 {
        self.unrecorded
    }

    /// The warning of a run that the journal lacks records of.
    pub(in crate::pipeline::run) fn gap(&self) -> Diagnostic {
        let what = format!("{} of this run not in the journal", counted(self.unrecorded, "record"));
        Diagnostic::warning(Code::DiskFull, what)
            .why("the disk of the state folder is full, and a restore does not wait for it")
            .help("free space where the state folder lies; keep the output of this run beside the journal")
    }

    /// As [`verified_in`]; none where there is no state.
    pub(in crate::pipeline::run) fn verified_in(&self, target: &TargetName) -> Result<BTreeSet<BackupId>, Failure> {
        match &self.state {
            Some(state) => verified_in(state, target).map_err(|problem| vec![problem]),
            None => Ok(BTreeSet::new()),
        }
    }

    /// The backups that this host removed from a target; none where there is no state.
    pub(in crate::pipeline::run) fn removed_from(&self, target: &TargetName) -> Result<BTreeSet<BackupId>, Failure> {
        match &self.state {
            Some(state) => removed_from(state, target).map_err(|problem| vec![problem]),
            None => Ok(BTreeSet::new()),
        }
    }

    /// Tells that a backup which others had is whole in a target.
    pub(in crate::pipeline::run) fn backup_caught_up(
        &mut self,
        target: &TargetName,
        backup: &Backup,
    ) -> Result<(), Failure> {
        let record = &backup.record;
        let entry = Entry::new(Event::BackupCaughtUp)
            .status(Status::Ok)
            .with(Field::Backup, record.id.as_str())
            .with(Field::Target, target.as_str())
            .with(Field::Blake3, record.refs.blake3.to_string());
        self.write(&entry, Sync::Now)
    }

    /// Keeps every other pipeline of this environment that ever ran on this host from running until this run ends: while data is
    /// replaced, so that no backup holds some of the old and some of the new, and while objects go at once that others may rely on.
    pub(in crate::pipeline::run) fn exclude_others(
        &mut self,
        own: &PipelineName,
        wait: Option<Duration>,
        context: &Context,
    ) -> Result<(), Failure> {
        let Some(state) = &self.state else { return Ok(()) };
        let nothing = |problem: Diagnostic| vec![problem.state("nothing was started")];
        let locked = state.locked_once().map_err(|error| nothing(Diagnostic::of(&error)))?;
        for pipeline in locked.iter().filter(|pipeline| *pipeline != own) {
            let mut lock = take_lock(state, pipeline, wait, context).map_err(nothing)?;
            let held = lock.hold_as(context.run);
            held.map_err(|error| nothing(Diagnostic::of(&error)))?;
            self.others.push(lock);
        }
        Ok(())
    }

    /// Comes before the removal of a backup's record: no record, no effect.
    pub(in crate::pipeline::run) fn delete_intended(
        &mut self,
        target: &TargetName,
        id: &BackupId,
        reason: &str,
    ) -> Result<(), Failure> {
        let entry = Entry::new(Event::DeleteIntended)
            .status(Status::Started)
            .with(Field::Target, target.as_str())
            .with(Field::Backup, id.as_str())
            .with(Field::Reason, reason);
        self.write(&entry, Sync::Now)
    }

    pub(in crate::pipeline::run) fn deleted(&mut self, target: &TargetName, id: &BackupId) -> Result<(), Failure> {
        let entry = Entry::new(Event::Deleted)
            .status(Status::Ok)
            .with(Field::Target, target.as_str())
            .with(Field::Backup, id.as_str());
        self.write(&entry, Sync::Grouped)
    }
}

/// The journal as a sweep of one target tells it.
pub(in crate::pipeline::run) struct Told<'a> {
    evidence: &'a mut Evidence,
    target: TargetName,
}

impl<'a> Told<'a> {
    pub(in crate::pipeline::run) fn new(evidence: &'a mut Evidence, target: &TargetName) -> Self {
        let target = target.clone();
        Self { evidence, target }
    }
}

impl Witness for Told<'_> {
    type Error = Failure;

    fn listing(&mut self, list: &str, amount: Amount) -> Result<(), Failure> {
        let entry = Entry::new(Event::SweepListed)
            .status(Status::Started)
            .with(Field::Target, self.target.as_str())
            .with(Field::File, list)
            .with(Field::Count, amount.objects)
            .with(Field::Bytes, amount.bytes);
        self.evidence.write(&entry, Sync::Now)
    }

    fn deleting(&mut self, objects: &[String]) -> Result<(), Failure> {
        let entry = Entry::new(Event::DeleteIntended)
            .status(Status::Started)
            .with(Field::Target, self.target.as_str())
            .with(Field::Count, objects.len())
            .with(Field::Objects, json!(objects));
        self.evidence.write(&entry, Sync::Now)
    }

    fn deleted(&mut self, amount: Amount) -> Result<(), Failure> {
        let entry = Entry::new(Event::Deleted)
            .status(Status::Ok)
            .with(Field::Target, self.target.as_str())
            .with(Field::Count, amount.objects)
            .with(Field::Bytes, amount.bytes);
        self.evidence.write(&entry, Sync::Grouped)
    }
}
