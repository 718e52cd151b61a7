//! `Verified → Verified`: what is taken out of a backup on its way to the stage, and what is not restored at all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::archive::record::Record;
use crate::diagnostic::{Code, Diagnostic};
use crate::id::SourceName;
use crate::pipeline::Plan;
use crate::redact::Redactor;
use crate::steps::Step;
use crate::steps::redact::{Binary, Redact};
use crate::units::counted;

use super::{Failure, Runner, UNTOUCHED};

/// The `redact` steps that a backup has passed.
#[derive(Clone, Debug, Default)]
pub(super) struct Redaction(Vec<Redact>);

/// By what each source is redacted.
pub(super) type Redactors = BTreeMap<SourceName, (Arc<Redactor>, Binary)>;

impl Redaction {
    /// Those of a plan that restores.
    pub(super) fn of(plan: &Plan) -> Self {
        let enabled = plan.steps().iter().filter(|planned| planned.enabled);
        let redacts = enabled.filter_map(|planned| match &planned.step {
            Step::Redact(redact) => Some(redact.clone()),
            _ => None,
        });
        Self(redacts.collect())
    }

    pub(super) fn push(&mut self, settings: &Redact) {
        self.0.push(settings.clone());
    }

    /// Whether a source is not restored.
    pub(super) fn omits(&self, source: &SourceName) -> bool {
        self.0.iter().any(|redact| redact.omit.contains(source))
    }

    /// Whether a source does not pass as it is.
    pub(super) fn covers(&self, source: &SourceName) -> bool {
        self.omits(source) || self.0.iter().any(|redact| redact.sources.contains(source))
    }

    /// The record without the sources that are not restored.
    pub(super) fn restored(&self, record: &Record) -> Record {
        let mut record = record.clone();
        record.sources.retain(|source| !self.omits(&source.name));
        record
    }

    /// What the backup does not have, or has of a kind that cannot be redacted: a secret would pass unseen.
    pub(super) fn misfits(&self, record: &Record) -> Failure {
        let kind = |name: &SourceName| {
            let source = record.sources.iter().find(|source| source.name == *name);
            source.map(|source| source.kind.as_str())
        };
        let mut failure = Vec::new();
        for redact in &self.0 {
            for name in redact.sources.iter().chain(&redact.omit) {
                let (what, help) = match kind(name) {
                    None => (
                        format!("backup `{}` has no source `{name}`", record.id),
                        "correct the name in the `redact` step, or restore a backup that has the source".to_owned(),
                    ),
                    Some("files" | "append-log") => continue,
                    Some(_) if redact.omit.contains(name) => continue,
                    Some(kind) => (
                        format!("source `{name}` is of type `{kind}` and cannot be redacted"),
                        format!("name it in `omit`: `omit = [\"{name}\"]`; it is not restored then"),
                    ),
                };
                let problem = Diagnostic::error(Code::ReferenceUnknown, what).state(UNTOUCHED);
                failure.push(problem.help(help));
            }
        }
        failure
    }
}

impl Runner<'_> {
    /// Makes the redactors of a restore.
    pub(super) async fn redactors(&mut self, redaction: &Redaction) -> Result<Redactors, Failure> {
        let mut redactors = BTreeMap::new();
        for settings in &redaction.0 {
            let known = self.evidence.known_values(&settings.values).await?;
            let redactor = settings.redactor(&known);
            let redactor = redactor.map_err(|error| vec![Diagnostic::of(&error).state(UNTOUCHED)])?;
            let redactor = Arc::new(redactor);
            for source in &settings.sources {
                if redactors
                    .insert(source.clone(), (Arc::clone(&redactor), settings.binary))
                    .is_some()
                {
                    let what = format!("source `{source}` is redacted by two steps");
                    let problem = Diagnostic::error(Code::InvalidValue, what).state(UNTOUCHED);
                    return Err(vec![problem.help("name it in one `redact` step")]);
                }
            }
        }
        Ok(redactors)
    }

    /// Says what was taken out on the way.
    pub(super) fn tell_redaction(&mut self, values: u64, files: u64, redaction: &Redaction) {
        if !redaction.0.is_empty() {
            let text = format!("{} in {}", counted(values, "value"), counted(files, "file"));
            self.outcome.field("redacted-values", "redacted", text, values);
        }
        let omitted: BTreeSet<&str> = redaction
            .0
            .iter()
            .flat_map(|redact| &redact.omit)
            .map(SourceName::as_str)
            .collect();
        if !omitted.is_empty() {
            let text = omitted.iter().copied().collect::<Vec<_>>().join(", ");
            self.outcome.field("omitted", "not restored", text, &omitted);
        }
    }
}
