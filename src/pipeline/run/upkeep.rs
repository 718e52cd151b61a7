//! Verbs that keep an environment's targets in order without a pipeline: they have state, a lock and a journal like a run.

mod forget;
mod keys;
mod restart;
mod sweep;
mod trial;

use crate::diagnostic::{Diagnostic, Severity};
use crate::event::Event;
use crate::id::{EnvName, PipelineName, TargetName};
use crate::outcome::Outcome;
use crate::pipeline::Environment;
use crate::target::Target;

use super::evidence::{Evidence, Needed};
use super::fence::{self, Act, Asked};
use super::known::Memory;
use super::scope::Scope;
use super::stores::{Keys, open_targets};
use super::{Context, Failure, Options, stopped};

pub(crate) use forget::{Forget, Newest, Objects, forget};
pub(crate) use keys::{KeysChange, change_keys, show_keys};
pub(crate) use restart::restart;
pub(crate) use sweep::{Sweep, sweep};
pub(crate) use trial::{Rule, Trial, trial};

/// The environment that a verb works in, and what it was asked for.
pub(crate) struct Upkeep<'a> {
    pub(crate) environment: &'a Environment,
    pub(crate) name: &'a EnvName,
    pub(crate) project: &'a std::path::Path,
    pub(crate) context: &'a Context,
    pub(crate) options: &'a Options,
}

impl Upkeep<'_> {
    /// Opens the environment's targets: all, or those that the operator named. One that does not hold what it held is told.
    async fn targets(&self) -> Result<(Vec<Target>, Vec<Diagnostic>), Failure> {
        let (targets, mut warnings) = self.open_targets().await?;
        let gone = self.gone(&targets).await;
        warnings.extend(gone.into_iter().map(|(_, warning)| warning));
        Ok((targets, warnings))
    }

    /// The same without those that do not hold what they held: for who writes, and would write beside lost backups.
    ///
    /// # Errors
    /// When none is left.
    async fn present_targets(&self) -> Result<(Vec<Target>, Vec<Diagnostic>), Failure> {
        let (mut targets, mut warnings) = self.open_targets().await?;
        let gone = self.gone(&targets).await;
        targets.retain(|target| gone.iter().all(|(name, _)| name != target.name()));
        if targets.is_empty() && !gone.is_empty() {
            let errors = gone.into_iter().map(|(_, mut problem)| {
                problem.severity = Severity::Error;
                problem
            });
            return Err(errors.chain(warnings).collect());
        }
        warnings.extend(gone.into_iter().map(|(_, warning)| warning));
        Ok((targets, warnings))
    }

    async fn open_targets(&self) -> Result<(Vec<Target>, Vec<Diagnostic>), Failure> {
        let mut keys = Keys::unread(self.environment, self.project, self.context);
        let meant = (&[][..], self.options.targets.as_slice());
        let opened = open_targets(self.environment, self.project, meant, &mut keys, None).await?;
        Ok(opened.with_warnings())
    }

    async fn gone(&self, targets: &[Target]) -> Vec<(TargetName, Diagnostic)> {
        let memory = Memory::open(self.environment, self.project, self.name);
        memory.gone(targets).await
    }
}

/// A verb at work.
struct Keeper<'a> {
    upkeep: &'a Upkeep<'a>,
    /// Its lock and its records in the journal go by this name.
    verb: PipelineName,
    evidence: Evidence,
    outcome: Outcome,
    warnings: Vec<Diagnostic>,
}

impl<'a> Keeper<'a> {
    /// Everything that must be in order before anything is done: state, lock, journal.
    fn begin(verb: &'static str, upkeep: &'a Upkeep<'a>) -> Result<Self, Failure> {
        let pipeline: PipelineName = verb.parse().map_err(|error: crate::id::IdError| {
            vec![Diagnostic::error(crate::diagnostic::Code::Internal, error.to_string()).state("nothing was started")]
        })?;
        let scope = Scope {
            environment: upkeep.environment,
            name: upkeep.name,
            project: upkeep.project,
            pipeline: &pipeline,
        };
        fence::before(scope, upkeep.context)?;
        let mut warnings = Vec::new();
        let mut evidence = Evidence::open(
            scope,
            upkeep.options.wait,
            upkeep.context,
            Needed::Always,
            &mut warnings,
        )?;
        evidence.run_started(None, upkeep.context)?;
        Ok(Self {
            upkeep,
            verb: pipeline,
            evidence,
            outcome: Outcome::new(verb, ""),
            warnings,
        })
    }

    /// Has the operator name the environment where it is protected.
    async fn confirm(&mut self, act: &Act<'_>) -> Result<(), Failure> {
        let scope = Scope {
            environment: self.upkeep.environment,
            name: self.upkeep.name,
            project: self.upkeep.project,
            pipeline: &self.verb,
        };
        let given = self.upkeep.options.confirm.as_ref();
        match fence::confirm(scope, given, act, self.upkeep.context).await? {
            Asked::NotProtected => Ok(()),
            Asked::Confirmed => self.evidence.confirmed(),
        }
    }

    fn check_stop(&self, state: &str) -> Result<(), Failure> {
        if self.upkeep.context.stop.is_requested() {
            Err(vec![stopped(self.upkeep.context, state)])
        } else {
            Ok(())
        }
    }

    /// Keeps a warning for the end and tells it at once.
    fn warn(&mut self, warning: Diagnostic) {
        let (code, what) = (warning.code.as_str().to_owned(), warning.what.clone());
        self.upkeep.context.events.tell(&Event::Warned { code, what });
        self.warnings.push(warning);
    }

    /// The outcome; the journal hears of the end whatever it is.
    fn end(mut self, result: Result<(), Failure>) -> Outcome {
        let mut outcome = self.outcome;
        if let Err(failure) = result {
            outcome.headline.clear();
            outcome.diagnostics.extend(failure);
        }
        for warning in &self.warnings {
            if let Err(failure) = self.evidence.warned(warning) {
                outcome.diagnostics.extend(failure);
                break;
            }
        }
        outcome.diagnostics.append(&mut self.warnings);
        let exit = outcome.exit_code();
        if let Err(failure) = self.evidence.run_finished(exit, &outcome) {
            outcome.diagnostics.extend(failure);
        }
        let name = self.upkeep.name;
        for diagnostic in &mut outcome.diagnostics {
            diagnostic.environment.get_or_insert_with(|| name.to_string());
        }
        outcome.field(
            "run",
            "run",
            self.upkeep.context.run.to_string(),
            self.upkeep.context.run,
        );
        outcome
    }
}
