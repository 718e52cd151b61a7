//! What a run leaves behind and stands on: the state folder with its lock, the journal, the secrets it resolves.
//!
//! A backup needs all of it. A restore needs none of it: what cannot be had is a warning, so that a lost or full state never
//! stands between an operator and the data.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::archive::record::Record;
use crate::archive::repository::{Confirmed, Stored};
use crate::crypto::age::Recipient;
use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::id::{BackupId, EnvName, PipelineName, SourceName, StepId, TargetName};
use crate::journal::{Entry, Event, Field, Journal, JournalError, Setup, Status, Sync};
use crate::outcome::{ExitCode, Outcome};
use crate::pipeline::Plan;
use crate::secret::{Secret, SecretRef};
use crate::secrets::Store;
use crate::source::log_head::{Fork, ForkReason};
use crate::source::{Compared, LogHead};
use crate::state::{Before, Lock, StateError, StateFolder};
use crate::target::Target;

use super::scope::Scope;
use super::stores::origins;
use super::{Context, Failure, StopSignal};

mod commands;
mod fences;
mod keeping;
mod swaps;

pub(super) use commands::Ended;
pub(super) use keeping::{Told, removed_from, verified_in};
pub(super) use swaps::Swap;

/// How long a wait for another run goes on without looking whether this one should end.
const DEAF: Duration = Duration::from_millis(200);

/// The state of a run, as far as it can be had.
pub(super) struct Evidence {
    state: Option<StateFolder>,
    journal: Option<Journal>,
    secrets: Store,
    needed: Needed,
    lock_held: Option<Lock>,
    /// Locks of other pipelines, which must not run meanwhile.
    others: Vec<Lock>,
    /// Records that a full disk did not take.
    unrecorded: u64,
}

/// Whether a run may go on without a journal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Needed {
    /// A backup: without state it does not begin, without a record nothing is done.
    Always,
    /// A restore over protected data: a state that is full does not stop it, one that cannot be had or a journal in which
    /// something was changed does.
    Unbroken,
    /// Whatever else replaces data: only a state that cannot be had stops it. Without the lock two runs could be at work on the
    /// same data, and without the journal nobody would know what became of it.
    Locked,
    /// What touches nothing present: nothing that is wrong with the state stops it.
    WhereItCanBeHad,
}

impl Needed {
    /// What to do instead where this problem with the state stops a run; nothing where it does not.
    const fn stopped_by(self, code: Code) -> Option<&'static str> {
        match (self, code) {
            (Self::Unbroken, Code::JournalBroken) => Some(
                "restore into an empty folder with `--to`, or look at the journal and begin a new one: `strongroom journal \
                 verify`, then `strongroom journal restart`",
            ),
            (Self::Unbroken | Self::Locked, Code::StateFailed) => {
                Some("a restore into an empty folder, `--to DIR`, goes on without it")
            }
            _ => None,
        }
    }
}

impl Evidence {
    /// Opens state, lock, journal and secrets.
    pub(super) fn open(
        scope: Scope<'_>,
        wait: Option<Duration>,
        context: &Context,
        needed: Needed,
        warnings: &mut Vec<Diagnostic>,
    ) -> Result<Self, Failure> {
        let origins = origins(scope.environment, scope.project, context);
        let secrets =
            Store::open(origins).map_err(|error| vec![Diagnostic::of(&error).state("nothing was started")])?;
        let mut evidence = Self {
            state: None,
            journal: None,
            secrets,
            needed,
            lock_held: None,
            others: Vec::new(),
            unrecorded: 0,
        };
        match evidence.open_state(scope, wait, context, warnings) {
            Ok(()) => Ok(evidence),
            Err(problem) if problem.code == Code::Held || needed == Needed::Always || context.stop.is_requested() => {
                Err(vec![problem.state("nothing was started")])
            }
            Err(mut problem) => {
                if let Some(instead) = needed.stopped_by(problem.code) {
                    let help = match (problem.code, &problem.help) {
                        (Code::StateFailed, Some(help)) => format!("{help}; {instead}"),
                        _ => instead.to_owned(),
                    };
                    return Err(vec![problem.state("nothing was started").help(help)]);
                }
                problem.severity = Severity::Warning;
                warnings.push(problem.state("the restore goes on; it leaves no record in the journal"));
                evidence.journal = None;
                Ok(evidence)
            }
        }
    }

    fn open_state(
        &mut self,
        scope: Scope<'_>,
        wait: Option<Duration>,
        context: &Context,
        warnings: &mut Vec<Diagnostic>,
    ) -> Result<(), Diagnostic> {
        let state = StateFolder::open(&scope.state()).map_err(|error| Diagnostic::of(&error))?;
        let mut lock = take_lock(&state, scope.pipeline, wait, context)?;
        let held = lock.hold_as(context.run);
        // On a full disk it does not say who holds it, and holds all the same.
        self.lock_held = Some(lock);
        held.map_err(|error| Diagnostic::of(&error))?;
        let scrubber = context.scrubber.clone();
        let setup = Setup {
            clock: Arc::clone(&context.clock),
            ..Setup::new(Arc::new(move |text: &str| scrubber.scrub(text).into_owned()))
        };
        let (journal, recovered) = Journal::open(&state, setup).map_err(|error| Diagnostic::of(&error))?;
        if let Some(recovered) = recovered {
            let what = format!("the journal ended in an unfinished line of {} bytes", recovered.length);
            warnings.push(
                Diagnostic::warning(Code::JournalBroken, what)
                    .why("an earlier run ended while it wrote")
                    .state(format!(
                        "the line was moved to `{}` in the state folder",
                        recovered.file
                    )),
            );
        }
        if scope.environment.protected {
            keeping::whole_journal(&state)?;
        }
        self.journal = Some(journal.with_run(context.run, &context.actor, scope.name, scope.pipeline));
        self.state = Some(state);
        Ok(())
    }

    /// How the run of this pipeline before this one ended.
    pub(super) fn before(&self) -> Before {
        self.lock_held.as_ref().map_or(Before::Ended, Lock::before)
    }

    /// A folder for files that do not outlive the run.
    pub(super) fn spool(&self) -> Result<PathBuf, Failure> {
        let state = self.state.as_ref().ok_or_else(|| {
            vec![Diagnostic::error(Code::StateFailed, "there is no state folder").state("nothing was started")]
        })?;
        state
            .spool()
            .map_err(|error| vec![Diagnostic::of(&error).state("nothing was started")])
    }

    /// The secrets, for the keys of targets.
    pub(super) fn secrets(&mut self) -> &mut Store {
        &mut self.secrets
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

    /// Writes a record. What follows `Sync::Now` happens only when the record is on the disk.
    pub(super) fn write(&mut self, entry: &Entry, sync: Sync) -> Result<(), Failure> {
        let Some(journal) = &mut self.journal else {
            return Ok(());
        };
        match journal.append(entry, sync) {
            Ok(()) => Ok(()),
            // A restore goes on: the disk that is full may be the very reason for it. The run's end tells of it.
            Err(JournalError::Full { .. }) if self.needed != Needed::Always => {
                self.unrecorded += 1;
                Ok(())
            }
            Err(error) => Err(vec![
                Diagnostic::of(&error).state("nothing more was done: what is not in the journal is not done"),
            ]),
        }
    }

    pub(super) fn run_started(&mut self, plan: Option<&Plan>, context: &Context) -> Result<(), Failure> {
        let mut entry = Entry::new(Event::RunStarted).status(Status::Started);
        if let Some(plan) = plan {
            entry = entry.with(Field::Plan, plan.digest());
        }
        self.write(&entry.with(Field::Version, context.tool.as_str()), Sync::Now)
    }

    pub(super) fn run_finished(&mut self, exit: ExitCode, outcome: &Outcome) -> Result<(), Failure> {
        let status = match exit {
            ExitCode::Done => Status::Ok,
            ExitCode::Warnings => Status::Warned,
            ExitCode::Refused => Status::Refused,
            ExitCode::Interrupted | ExitCode::Terminated => Status::Interrupted,
            _ => Status::Failed,
        };
        let mut entry = Entry::new(Event::RunFinished)
            .status(status)
            .with(Field::Exit, exit.number());
        if let Some(first) = outcome.diagnostics.first() {
            entry = entry
                .with(Field::Code, first.code.as_str())
                .with(Field::Count, outcome.diagnostics.len());
        }
        self.write(&entry, Sync::Now)
    }

    pub(super) fn step_finished(&mut self, step: &StepId, kind: &str) -> Result<(), Failure> {
        let entry = Entry::new(Event::StepFinished)
            .step(step)
            .status(Status::Ok)
            .with(Field::Kind, kind);
        self.write(&entry, Sync::Grouped)
    }

    pub(super) fn step_failed(&mut self, step: &StepId, failure: &[Diagnostic]) -> Result<(), Failure> {
        let mut entry = Entry::new(Event::StepFinished)
            .step(step)
            .status(Status::Failed)
            .with(Field::Exit, super::exit_of(failure).number());
        if let Some(first) = failure.first() {
            entry = entry
                .with(Field::Code, first.code.as_str())
                .with(Field::Message, first.what.as_str());
        }
        self.write(&entry, Sync::Now)
    }

    pub(super) fn warned(&mut self, warning: &Diagnostic) -> Result<(), Failure> {
        let entry = Entry::new(Event::Warned)
            .status(Status::Warned)
            .with(Field::Code, warning.code.as_str())
            .with(Field::Message, warning.what.as_str());
        self.write(&entry, Sync::Grouped)
    }

    pub(super) fn confirmed(&mut self) -> Result<(), Failure> {
        self.write(&Entry::new(Event::Confirmed).status(Status::Ok), Sync::Now)
    }

    pub(super) fn backup_started(&mut self, id: &BackupId, targets: &[Target]) -> Result<(), Failure> {
        let targets: Vec<&TargetName> = targets.iter().map(Target::name).collect();
        let entry = Entry::new(Event::BackupStored)
            .status(Status::Started)
            .with(Field::Backup, id.as_str())
            .with(Field::Targets, json!(targets));
        self.write(&entry, Sync::Now)
    }

    pub(super) fn backup_stored(&mut self, stored: &Stored) -> Result<(), Failure> {
        let record = stored.record();
        for source in &record.sources {
            let entry = Entry::new(Event::SourceCaptured)
                .status(if source.warnings == 0 {
                    Status::Ok
                } else {
                    Status::Warned
                })
                .with(Field::Source, source.name.as_str())
                .with(Field::Entries, source.entries)
                .with(Field::Bytes, source.bytes)
                .with(Field::Warnings, source.warnings);
            self.write(&entry, Sync::Grouped)?;
        }
        let targets: Vec<&TargetName> = stored.targets().iter().map(Target::name).collect();
        let entry = Entry::new(Event::BackupStored)
            .status(Status::Ok)
            .with(Field::Backup, record.id.as_str())
            .with(Field::Parent, json!(record.parent))
            .with(Field::Targets, json!(targets))
            .with(Field::Entries, record.entries())
            .with(Field::Bytes, record.source_bytes())
            .with(Field::StoredBytes, record.stored_bytes())
            .with(Field::Blake3, record.refs.blake3.to_string());
        self.write(&entry, Sync::Now)
    }

    pub(super) fn signer_made(&mut self, key: &str) -> Result<(), Failure> {
        let entry = Entry::new(Event::SignerMade)
            .status(Status::Ok)
            .with(Field::Signer, key);
        self.write(&entry, Sync::Now)
    }

    /// Comes before the keys are put in use. `why`: `first`, `lost` or `rotated`.
    pub(super) fn epoch_begun(&mut self, epoch: &str, why: &str) -> Result<(), Failure> {
        let entry = Entry::new(Event::EpochBegun)
            .status(Status::Ok)
            .with(Field::Epoch, epoch)
            .with(Field::Reason, why);
        self.write(&entry, Sync::Now)
    }

    /// Comes before the keys are put into the targets. `to` are the recipients.
    pub(super) fn keys_sealed(&mut self, epoch: &str, to: &[Recipient], targets: &[&Target]) -> Result<(), Failure> {
        let to: Vec<String> = to.iter().map(ToString::to_string).collect();
        let targets: Vec<&TargetName> = targets.iter().map(|target| target.name()).collect();
        let entry = Entry::new(Event::KeysSealed)
            .status(Status::Ok)
            .with(Field::Epoch, epoch)
            .with(Field::Message, format!("sealed to {}", to.join(", ")))
            .with(Field::Targets, json!(targets));
        self.write(&entry, Sync::Now)
    }

    pub(super) fn log_forked(
        &mut self,
        source: &SourceName,
        backup: &BackupId,
        head: &LogHead,
        fork: &Fork,
    ) -> Result<(), Failure> {
        let why = match fork.why {
            ForkReason::Restored => "restored",
            ForkReason::Accepted => "accepted",
        };
        let entry = Entry::new(Event::LogForked)
            .status(Status::Ok)
            .with(Field::Source, source.as_str())
            .with(Field::Backup, backup.as_str())
            .with(Field::Generation, head.generation)
            .with(Field::Reason, why)
            .with(Field::Restored, json!(fork.backup))
            .with(Field::Replaces, json!(fork.replaces));
        self.write(&entry, Sync::Now)
    }

    /// Comes before the first rename: no record, no effect. Nothing is known of a log that cannot be read.
    pub(super) fn log_rewound(
        &mut self,
        source: &SourceName,
        record: &Record,
        compared: Option<&Compared>,
    ) -> Result<(), Failure> {
        let entry = Entry::new(Event::LogRewound)
            .status(Status::Started)
            .with(Field::Source, source.as_str())
            .with(Field::Backup, record.id.as_str())
            .with(Field::Records, json!(compared.map(|compared| compared.other_records)))
            .with(Field::Bytes, json!(compared.map(|compared| compared.other_bytes)));
        self.write(&entry, Sync::Now)
    }

    pub(super) fn backup_confirmed(&mut self, confirmed: &Confirmed) -> Result<(), Failure> {
        let targets: Vec<&TargetName> = confirmed.targets().iter().map(Target::name).collect();
        let entry = Entry::new(Event::BackupConfirmed)
            .status(Status::Ok)
            .with(Field::Backup, confirmed.record().id.as_str())
            .with(Field::Targets, json!(targets));
        self.write(&entry, Sync::Now)
    }

    pub(super) fn chosen(&mut self, record: &Record, environment: &EnvName) -> Result<(), Failure> {
        let mut entry = Entry::new(Event::BackupChosen)
            .status(Status::Ok)
            .with(Field::Backup, record.id.as_str());
        if record.environment != *environment {
            entry = entry.with(Field::MadeIn, record.environment.as_str());
        }
        self.write(&entry, Sync::Grouped)
    }

    pub(super) fn verified(&mut self, record: &Record, target: &TargetName) -> Result<(), Failure> {
        let entry = Entry::new(Event::BackupVerified)
            .status(Status::Ok)
            .with(Field::Backup, record.id.as_str())
            .with(Field::Target, target.as_str());
        self.write(&entry, Sync::Grouped)
    }

    /// Comes before anything of the backup is written anywhere.
    pub(super) fn restore_started(&mut self, record: &Record) -> Result<(), Failure> {
        let sources: Vec<&str> = record.sources.iter().map(|source| source.name.as_str()).collect();
        let entry = Entry::new(Event::SourceStaged)
            .status(Status::Started)
            .with(Field::Backup, record.id.as_str())
            .with(Field::Sources, json!(sources));
        self.write(&entry, Sync::Now)
    }
}

/// Takes the pipeline's lock. The wait for it is cut into short ones, so that a signal ends it.
fn take_lock(
    state: &StateFolder,
    pipeline: &PipelineName,
    wait: Option<Duration>,
    context: &Context,
) -> Result<Lock, Diagnostic> {
    let begin = Instant::now();
    loop {
        let left = wait.map(|wait| wait.saturating_sub(begin.elapsed()));
        match state.lock(pipeline, left.map(|left| left.min(DEAF))) {
            Err(StateError::Held { .. }) if context.stop.is_requested() => {
                let code = context.stop.signal().map_or(Code::Interrupted, StopSignal::code);
                return Err(Diagnostic::error(
                    code,
                    "the run was stopped while it waited for another to end",
                ));
            }
            Err(StateError::Held { .. }) if left.is_some_and(|left| left > DEAF) => {}
            taken => return taken.map_err(|error| Diagnostic::of(&error)),
        }
    }
}
