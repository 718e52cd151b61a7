//! A backup of one environment that is used in another: whose targets are read, and the fence between the two.
//!
//! Data of a protected environment goes into another one without what `redact` takes out of it, or with the operator's
//! word, which is journalled first.

use std::path::Path;

use crate::archive::record::Record;
use crate::diagnostic::{Code, Diagnostic};
use crate::id::{EnvName, SourceName};
use crate::pipeline::environment::Environment;
use crate::pipeline::{self, Plan};
use crate::secrets::Store;
use crate::steps::Step;
use crate::steps::select::Select;

use super::redaction::Redaction;
use super::stores::origins;
use super::{Context, Failure, Options, Runner, UNTOUCHED, destination};

/// The environment that a backup is taken from, where it is another one.
pub(super) struct Origin {
    pub(super) name: EnvName,
    pub(super) environment: Environment,
}

impl Origin {
    /// The environment that is asked for; nothing where it is the plan's own.
    ///
    /// # Errors
    /// Where its file is not there or wrong.
    pub(super) fn of(
        plan: &Plan,
        select: &Select,
        options: &Options,
        context: &Context,
    ) -> Result<Option<Self>, Failure> {
        let named = options.from.as_ref().or(select.from.as_ref());
        let Some(name) = named.filter(|name| *name != plan.environment_name()) else {
            return Ok(None);
        };
        let environment = pipeline::environment(plan.project(), name, &destination::values(context));
        let mut environment = environment;
        if let Err(failure) = &mut environment {
            for problem in failure {
                problem.environment = Some(name.to_string());
                problem.state = Some(UNTOUCHED.to_owned());
            }
        }
        Ok(Some(Self {
            name: name.clone(),
            environment: environment?,
        }))
    }

    /// The sources that would come into the plan's environment as they are, and must not.
    pub(super) fn uncovered(&self, plan: &Plan, record: &Record) -> Vec<String> {
        let restores = |step: &Step| matches!(step, Step::Restore(_));
        let enabled = plan.steps().iter().filter(|planned| planned.enabled);
        if !self.environment.protected || !enabled.clone().any(|planned| restores(&planned.step)) {
            return Vec::new();
        }
        let redaction = Redaction::of(plan);
        let was_redacted = |name: &SourceName| {
            record
                .redaction
                .as_ref()
                .is_some_and(|done| done.files.contains_key(name))
        };
        let there = record.sources.iter().filter(|source| source.entries > 0);
        let sources = there.map(|source| &source.name);
        sources
            .filter(|name| !redaction.covers(name) && !was_redacted(name))
            .map(ToString::to_string)
            .collect()
    }

    /// The refusal of a fence that nobody has lifted.
    pub(super) fn refusal(&self, plan: &Plan, record: &Record, uncovered: &[String]) -> Diagnostic {
        let what = format!(
            "backup `{}/{}` would come into `{}` with everything that is secret in: {}",
            self.name,
            record.id,
            plan.environment_name(),
            uncovered.join(", ")
        );
        Diagnostic::error(Code::Fenced, what)
            .why(format!("`{}` is protected, and its data is meant for it alone", self.name))
            .state(UNTOUCHED)
            .help(
                "add a `redact` step behind `verify` to the pipeline, with these under `sources`, or under `omit` where \
                 they are databases; where all of it is meant to come, `--allow-unredacted` says so, in the journal too",
            )
    }

    /// Teaches the run the secrets of the environment, where this host has them: they are taken out wherever they stand.
    fn learn_secrets(&self, project: &Path, context: &Context) -> Result<(), Failure> {
        let opened = Store::open(origins(&self.environment, project, context));
        opened
            .map(drop)
            .map_err(|error| vec![Diagnostic::of(&error).state(UNTOUCHED)])
    }
}

impl Runner<'_> {
    /// Sees that nothing comes from another environment as it is that must not.
    pub(super) fn cross(&mut self, origin: &Origin, record: &Record) -> Result<(), Failure> {
        self.outcome.field(
            "made-in",
            "made in",
            record.environment.to_string(),
            &record.environment,
        );
        origin.learn_secrets(self.plan.project(), self.context)?;
        let uncovered = origin.uncovered(self.plan, record);
        if uncovered.is_empty() {
            return Ok(());
        }
        let refusal = origin.refusal(self.plan, record, &uncovered);
        if !self.options.allow_unredacted {
            self.evidence.refused(record, &refusal)?;
            return Err(vec![refusal]);
        }
        self.evidence.fence_lifted(record, &uncovered)?;
        let text = uncovered.join(", ");
        self.outcome.field("unredacted", "not redacted", text, &uncovered);
        Ok(())
    }
}
