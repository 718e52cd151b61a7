//! From a plan to an outcome: the executor. It takes a [`Plan`] and a [`Context`], nothing else.
//!
//! The steps up to `upload` become one streaming dataflow, which runs when `upload` is reached; what lies between two steps
//! at run time is a type of its own, so that no step can be run without what it needs.

mod backup;
mod capture;
mod catching_up;
mod chain;
mod choose;
mod chunked;
mod command;
pub mod context;
mod crossing;
mod destination;
mod difference;
mod drill;
mod epochs;
mod evidence;
mod fence;
mod filtered;
mod guard;
mod judge;
mod known;
mod lagging;
mod log_broken;
mod logs;
mod notes;
mod opening;
mod output;
mod part;
mod preview;
mod put_back;
mod ready;
mod recovery;
mod redaction;
mod retain;
mod rewind;
mod rewound;
pub mod rollback;
mod salvage;
mod scope;
mod seen;
mod sequence;
mod signing;
mod stage;
mod stores;
mod swap;
mod sweeping;
pub(crate) mod upkeep;
mod wanted;
mod withdraw;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use context::{Context, Damaged, Options, Prompt, Stop, StopSignal};
pub use known::Memory;
pub use opening::Opener;
pub use preview::{Reach, preview};
pub use recovery::report as report_unfinished;
pub use signing::{check_signed, host_signer};
pub use stage::part_in_place;
pub use stores::{Keys, open_targets, state_of};

use crate::archive::repository::{Confirmed, Stored};
use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::event::Event;
use crate::limits::WARNINGS_LISTED;
use crate::outcome::{ExitCode, Outcome};
use crate::pipeline::{Plan, PlannedStep, Roots, overlapping_roots};
use crate::restore::error::RestoreError;
use crate::restore::stage::check_to;
use crate::steps::Step;
use crate::steps::confirm::By;
use crate::units::counted;

use backup::Pending;
use chain::Achieved;
use choose::{Chosen, Verified};
use crossing::Origin;
use drill::Drill;
use evidence::{Evidence, Needed};
use guard::Guarded;
use part::Part;
use scope::Scope;
use stage::Staged;
use swap::Ready;

/// What ended a run: problems, worst first.
pub(crate) type Failure = Vec<Diagnostic>;

/// Steps that a restore into a folder leaves out, and names.
const SKIPPED_WITH_TO: [&str; 3] = ["rollback-point", "swap", "command"];

/// What is true of the data before a swap.
const UNTOUCHED: &str = "nothing present was touched";

/// What lies between two steps.
enum State<'p> {
    Nothing,
    Pending(Pending<'p>),
    Stored(Box<Stored>),
    Confirmed(Box<Confirmed>),
    Chosen(Box<Chosen>),
    Verified(Box<Verified>),
    Guarded(Box<Guarded>),
    Staged(Box<Staged>),
    Ready(Box<Ready>),
    Done,
}

/// A run under way.
struct Runner<'p> {
    plan: &'p Plan,
    options: &'p Options,
    context: &'p Context,
    evidence: Evidence,
    warnings: Vec<Diagnostic>,
    unlisted_warnings: u64,
    outcome: Outcome,
    confirmed: Confirmation,
    skipped: Vec<String>,
    opener: Opener,
    /// The programs that were run.
    ran: Vec<command::Ran>,
    /// The id of the targets' repository, once it was looked up.
    repository: Option<String>,
    achieved: Achieved,
    /// The part of the backup that is wanted; nothing where everything is.
    part: Option<Arc<Part>>,
    /// The environment that the backup is from, where it is another one.
    from: Option<Origin>,
    /// How far a drill has come, where the run is one.
    drill: Option<Drill>,
    /// When it began, by the host's clock that runs on while it sleeps.
    began: Duration,
}

/// Whether the operator has confirmed the environment in this run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Confirmation {
    NotYet,
    Given,
}

/// Runs a plan to its end.
pub async fn run(command: &str, plan: &Plan, options: &Options, context: &Context) -> Outcome {
    let began = Instant::now();
    context.events.tell(&Event::RunStarted {
        run: context.run.to_string(),
        pipeline: plan.pipeline().to_string(),
        environment: plan.environment_name().to_string(),
    });
    let mut outcome = match Runner::begin(command, plan, options, context) {
        // Boxed: what is under way in a run does not fit on the stack of whoever waits for it.
        Ok(runner) => Box::pin(runner.finish()).await,
        Err(failure) => Outcome::failed(command, "", failure),
    };
    for diagnostic in &mut outcome.diagnostics {
        diagnostic.pipeline.get_or_insert_with(|| plan.pipeline().to_string());
        diagnostic
            .environment
            .get_or_insert_with(|| plan.environment_name().to_string());
    }
    let failed = outcome.diagnostics.iter().any(|d| d.severity == Severity::Error);
    if outcome.headline.is_empty() {
        outcome.headline = if failed {
            format!("{command} failed")
        } else {
            format!("{command} done")
        };
    }
    outcome.field("run", "run", context.run.to_string(), context.run);
    let seconds = began.elapsed().as_secs_f64();
    outcome.field(
        "seconds",
        "time",
        format!("{seconds:.1} s"),
        (seconds * 1000.0).round() / 1000.0,
    );
    context.events.tell(&Event::RunFinished {
        exit: outcome.exit_code().number(),
        headline: outcome.headline.clone(),
    });
    outcome
}

impl<'p> Runner<'p> {
    /// Everything that must be in order before the first step.
    fn begin(command: &str, plan: &'p Plan, options: &'p Options, context: &'p Context) -> Result<Self, Failure> {
        let scope = Scope::of(plan);
        fence::before(scope, context)?;
        fence::unconfirmable(plan, options, context)?;
        if let Some(to) = &options.to {
            check_to(to).map_err(|error| failed(&error))?;
        }
        let began = context.clock.uptime();
        let writes = plan
            .steps()
            .iter()
            .any(|s| s.enabled && matches!(s.step, Step::Snapshot(_)));
        let mut warnings = Vec::new();
        let replaces = options.to.is_none()
            && plan
                .steps()
                .iter()
                .any(|s| s.enabled && matches!(s.step, Step::Swap(_)));
        let needed = if writes {
            Needed::Always
        } else if replaces && plan.environment().protected {
            Needed::Unbroken
        } else if replaces {
            Needed::Locked
        } else {
            Needed::WhereItCanBeHad
        };
        let mut evidence = Evidence::open(scope, options.wait, context, needed, &mut warnings)?;
        if replaces {
            evidence.exclude_others(plan.pipeline(), options.wait, context)?;
        }
        Ok(Self {
            plan,
            options,
            context,
            evidence,
            warnings,
            unlisted_warnings: 0,
            outcome: Outcome::new(command, ""),
            confirmed: Confirmation::NotYet,
            skipped: Vec::new(),
            opener: Opener::new(plan.environment(), options.identity.as_deref()),
            ran: Vec::new(),
            repository: None,
            achieved: Achieved::Nothing,
            part: None,
            from: None,
            drill: Drill::begin(plan, options),
            began,
        })
    }

    /// Runs the steps and gives the outcome; the journal hears of the end whatever it is.
    async fn finish(mut self) -> Outcome {
        let begun = self.evidence.run_started(Some(self.plan), self.context);
        // What a run that was killed has left comes before anything else.
        let result = match begun.and_then(|()| self.recover()) {
            Ok(()) => {
                for warning in overlapping_roots(self.plan, &destination::values(self.context), Roots::Present) {
                    self.warn(warning);
                }
                self.steps().await
            }
            Err(failure) => Err(failure),
        };
        let result = match self.drill.take() {
            Some(drill) => {
                let told = self.evidence.drilled(&drill, result.as_ref().err().map(Vec::as_slice));
                result.and(told)
            }
            None => result,
        };
        let mut outcome = std::mem::take(&mut self.outcome);
        command::tell(&self.ran, &mut outcome);
        if let Err(failure) = result {
            match self.achieved {
                Achieved::Nothing => outcome.headline.clear(),
                Achieved::Result => outcome.headline.push_str("; a program behind it failed"),
            }
            outcome.diagnostics.extend(failure);
        }
        if self.unlisted_warnings > 0 {
            let what = format!("{} more warnings are not listed", self.unlisted_warnings);
            self.warnings
                .push(Diagnostic::warning(Code::SourceUnreadable, what).help("the journal has their number"));
        }
        for warning in &self.warnings {
            if let Err(failure) = self.evidence.warned(warning) {
                outcome.diagnostics.extend(failure);
                break;
            }
        }
        outcome.diagnostics.append(&mut self.warnings);
        if !self.skipped.is_empty() {
            outcome.field("skipped", "skipped", self.skipped.join(", "), &self.skipped);
        }
        if self.evidence.unrecorded() > 0 {
            outcome.diagnostics.push(self.evidence.gap());
        }
        let exit = outcome.exit_code();
        if let Err(failure) = self.evidence.run_finished(exit, &outcome) {
            outcome.diagnostics.extend(failure);
        }
        outcome
    }

    async fn step(&mut self, planned: &'p PlannedStep, state: State<'p>) -> Result<(State<'p>, String), Failure> {
        match (&planned.step, state) {
            (Step::Snapshot(snapshot), State::Nothing) => {
                let summary = format!(
                    "{}, read when the backup is stored",
                    some(snapshot.source.len(), "source")
                );
                Ok((State::Pending(Pending::new(&planned.id, snapshot)), summary))
            }
            (Step::Redact(redact), State::Pending(mut pending)) => {
                pending.redact.push(redact);
                Ok((State::Pending(pending), some(redact.sources.len(), "source")))
            }
            (Step::Deduplicate(deduplicate), State::Pending(mut pending)) => {
                pending.deduplicate = Some(deduplicate);
                Ok((
                    State::Pending(pending),
                    "only what the last backup does not hold".into(),
                ))
            }
            (Step::Encrypt(_), State::Pending(mut pending)) => {
                pending.sealed = true;
                let recipients = self.plan.environment().encryption.recipients.len();
                Ok((
                    State::Pending(pending),
                    format!("age, {}", some(recipients, "recipient")),
                ))
            }
            (Step::Compress(compress), State::Pending(mut pending)) => {
                pending.compress = Some(compress);
                Ok((State::Pending(pending), backup::codec_summary(compress)))
            }
            (Step::Checksum(_), State::Pending(pending)) => Ok((State::Pending(pending), "blake3".into())),
            (Step::Upload(upload), State::Pending(pending)) => {
                let stored = self.backup(pending, upload).await?;
                let summary = backup::stored_summary(&stored);
                Ok((State::Stored(Box::new(stored)), summary))
            }
            (Step::Confirm(confirm), State::Stored(stored)) if confirm.by == By::ReadBack => {
                let confirmed = self.read_back(*stored).await?;
                let summary = format!("{} read back whole", some(confirmed.targets().len(), "target"));
                Ok((State::Confirmed(Box::new(confirmed)), summary))
            }
            (Step::Retain(settings), State::Confirmed(confirmed)) => {
                let summary = self.retain(&confirmed, settings).await?;
                Ok((State::Confirmed(confirmed), summary))
            }
            (Step::Confirm(confirm), state) if confirm.by == By::Operator => {
                let summary = self.confirm_operator().await?;
                Ok((state, summary))
            }
            (Step::Command(settings), state) => {
                let summary = self.command_step(planned, settings, &state).await?;
                Ok((state, summary))
            }
            (step, state) => self.restore_step(step, state).await,
        }
    }

    /// The steps that begin with a stored backup.
    async fn restore_step(&mut self, step: &Step, state: State<'p>) -> Result<(State<'p>, String), Failure> {
        match (step, state) {
            (Step::Select(select), State::Nothing) => {
                let chosen = self.select(select).await?;
                let summary = chosen.summary();
                Ok((State::Chosen(Box::new(chosen)), summary))
            }
            (Step::Verify(verify), State::Chosen(chosen)) => {
                let verified = self.verify(*chosen, verify.level).await?;
                let summary = verified.summary();
                Ok((State::Verified(Box::new(verified)), summary))
            }
            (Step::Redact(settings), State::Verified(mut verified)) => {
                verified.redaction.push(settings);
                let (sources, omitted) = (settings.sources.len(), settings.omit.len());
                let summary = format!(
                    "{} on the way to the stage, {omitted} left out",
                    some(sources, "source")
                );
                Ok((State::Verified(verified), summary))
            }
            (Step::RollbackPoint(settings), State::Verified(verified)) => {
                let (guarded, summary) = self.guard(*verified, settings)?;
                Ok((State::Guarded(Box::new(guarded)), summary))
            }
            (Step::Restore(settings), State::Verified(verified)) => {
                let staged = self.restore(*verified, settings).await?;
                let summary = staged.summary();
                Ok((State::Staged(Box::new(staged)), summary))
            }
            (Step::Restore(settings), State::Guarded(guarded)) => {
                let Guarded { verified, rules } = *guarded;
                let staged = self.restore(verified, settings).await?;
                let summary = staged.summary();
                Ok((State::Ready(Box::new(Ready { staged, rules })), summary))
            }
            (Step::Assert(settings), State::Staged(staged)) => {
                let summary = self.judged(&staged, settings).await?;
                Ok((State::Staged(staged), summary))
            }
            (Step::Assert(settings), State::Ready(ready)) => {
                let summary = self.judged(&ready.staged, settings).await?;
                Ok((State::Ready(ready), summary))
            }
            (Step::Swap(_), State::Ready(ready)) => {
                let summary = self.swap(*ready).await?;
                Ok((State::Done, summary))
            }
            // A plan holds only chains that fit, so a fault of this program led here.
            (step, _) => Err(vec![
                Diagnostic::error(
                    Code::Internal,
                    format!("a step of type `{}` was given what it cannot take", step.name()),
                )
                .state("nothing more was done"),
            ]),
        }
    }

    /// Ends the run where a signal asked for it.
    fn check_stop(&self) -> Result<(), Failure> {
        if self.context.stop.is_requested() {
            Err(vec![self.stopped("nothing more was done")])
        } else {
            Ok(())
        }
    }

    /// The problem with which a run ends that was asked to.
    fn stopped(&self, state: &str) -> Diagnostic {
        stopped(self.context, state)
    }

    /// Keeps a warning for the end and tells it at once.
    fn warn(&mut self, warning: Diagnostic) {
        let (code, what) = (warning.code.as_str().to_owned(), warning.what.clone());
        self.context.events.tell(&Event::Warned { code, what });
        if self.warnings.len() < WARNINGS_LISTED {
            self.warnings.push(warning);
        } else {
            self.unlisted_warnings += 1;
        }
    }
}

/// So many of something.
fn some(count: usize, one: &str) -> String {
    counted(count as u64, one)
}

/// The problem with which a run ends that was asked to.
fn stopped(context: &Context, state: &str) -> Diagnostic {
    let (code, what) = match context.stop.signal() {
        Some(StopSignal::Terminate) => (Code::Terminated, "the run was terminated"),
        Some(StopSignal::Interrupt) | None => (Code::Interrupted, "the run was interrupted"),
    };
    Diagnostic::error(code, what).state(state)
}

fn with_state(mut failure: Failure, state: &str) -> Failure {
    for diagnostic in &mut failure {
        diagnostic.state.get_or_insert_with(|| state.to_owned());
    }
    failure
}

/// A problem of a restore before its swap.
fn failed(error: &RestoreError) -> Failure {
    with_state(vec![Diagnostic::of(error)], UNTOUCHED)
}

/// The exit code of a failed run, for the journal.
pub(crate) fn exit_of(failure: &[Diagnostic]) -> ExitCode {
    Outcome::failed("", "", failure.to_vec()).exit_code()
}
