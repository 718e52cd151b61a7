//! Verbs that keep an environment's targets in order without a pipeline: they have state, a lock and a journal like a run.

mod forget;
mod restart;
mod sweep;
mod trial;

use crate::diagnostic::Diagnostic;
use crate::event::Event;
use crate::id::{EnvName, PipelineName, TargetName};
use crate::outcome::Outcome;
use crate::pipeline::Environment;
use crate::target::Target;

use super::evidence::{Evidence, Needed};
use super::fence::{self, Act};
use super::stores::open_targets;
use super::whose::Whose;
use super::{Context, Failure, Options, stopped};

pub(crate) use forget::{Forget, Newest, Objects, forget};
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
    /// Opens the environment's targets: all, or those that the operator named.
    fn targets(&self, named: &[TargetName]) -> Result<Vec<Target>, Failure> {
        open_targets(self.environment, self.project, named, &self.options.targets)
    }
}

/// A verb at work.
struct Keeper<'a> {
    upkeep: &'a Upkeep<'a>,
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
        let whose = Whose {
            environment: upkeep.environment,
            name: upkeep.name,
            project: upkeep.project,
            pipeline: &pipeline,
        };
        fence::debug(&whose, upkeep.context)?;
        let mut warnings = Vec::new();
        let mut evidence = Evidence::open(&whose, upkeep.options, upkeep.context, Needed::Always, &mut warnings)?;
        evidence.verb_started(upkeep.context)?;
        Ok(Self {
            upkeep,
            evidence,
            outcome: Outcome::new(verb, ""),
            warnings,
        })
    }

    /// Has the operator name the environment where it is protected.
    async fn confirm(&mut self, act: &Act) -> Result<(), Failure> {
        let Upkeep {
            environment,
            name,
            context,
            options,
            ..
        } = self.upkeep;
        if !environment.protected {
            return Ok(());
        }
        fence::confirm(name, options.confirm.as_ref(), act, context).await?;
        self.evidence.confirmed()
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
