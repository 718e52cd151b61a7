//! Where each source of a backup goes, as the environment has it now.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::archive::record::{Record, SourceRecord};
use crate::diagnostic::{Code, Diagnostic};
use crate::id::SourceName;
use crate::pipeline::{self, Plan, Purpose, Request, RunValues};
use crate::restore::swap::check_apart;
use crate::source::{Form, Source, SourceKind};
use crate::steps::Step;
use crate::steps::restore::Restore;

use super::{Context, Failure, UNTOUCHED, failed};

/// A destination, and the source that captures it here.
pub(super) struct Destination {
    pub(super) path: PathBuf,
    pub(super) source: Option<(Source, Form)>,
}

impl Destination {
    /// Whether the source is one of databases.
    pub(super) fn is_databases(&self) -> bool {
        let kind = self.source.as_ref().map(|(source, _)| &source.kind);
        matches!(kind, Some(SourceKind::Sqlite(_)))
    }
}

/// Where each source goes.
///
/// # Errors
/// Where nothing says so, or two of them are or hold one another.
pub(super) fn destinations(
    plan: &Plan,
    context: &Context,
    record: &Record,
    settings: &Restore,
) -> Result<BTreeMap<SourceName, Destination>, Failure> {
    let mut destinations = BTreeMap::new();
    let described = sources_here(plan, context, record);
    let mut failure: Failure = Vec::new();
    for source in &record.sources {
        let written = settings.destination.iter().find(|d| d.name == source.name);
        let here = described
            .as_ref()
            .ok()
            .and_then(|sources| sources.iter().find(|s| s.name == source.name));
        let path = match (written, here) {
            (Some(written), _) => plan.project().join(&written.path),
            (None, Some(here)) => here.root_as(plan.project(), source.form),
            (None, None) => {
                failure.push(unknown_destination(source, record, described.as_ref().err()));
                continue;
            }
        };
        let source_here = here.map(|here| (here.clone(), source.form));
        destinations.insert(
            source.name.clone(),
            Destination {
                path,
                source: source_here,
            },
        );
    }
    if !failure.is_empty() {
        return Err(failure);
    }
    let paths: Vec<PathBuf> = destinations.values().map(|d| d.path.clone()).collect();
    check_apart(&paths).map_err(|error| failed(&error))?;
    Ok(destinations)
}

/// The sources of the pipeline that made the backup, as this environment has it now.
pub(super) fn sources_here(plan: &Plan, context: &Context, record: &Record) -> Result<Vec<Source>, Failure> {
    let request = Request {
        project: plan.project().to_owned(),
        pipeline: record.pipeline.to_string(),
        environment: plan.environment_name().clone(),
        sets: Vec::new(),
        args: BTreeMap::new(),
        purpose: Purpose::Validate,
        run: values(context),
    };
    let plan = pipeline::compile(&request)?;
    let snapshot = plan.steps().iter().find_map(|planned| match &planned.step {
        Step::Snapshot(snapshot) => Some(snapshot.source.clone()),
        _ => None,
    });
    Ok(snapshot.unwrap_or_default())
}

/// The template values of a run.
pub(super) fn values(context: &Context) -> RunValues {
    let started = context.started.timestamp();
    RunValues {
        id: context.run.to_string(),
        timestamp: started.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        host: context.host.clone(),
    }
}

fn unknown_destination(source: &SourceRecord, record: &Record, why: Option<&Failure>) -> Diagnostic {
    let what = format!("nothing says where the source `{}` goes", source.name);
    let why = match why.and_then(|failure| failure.first()) {
        Some(first) => format!(
            "the pipeline `{}` that made the backup cannot be read here: {}",
            record.pipeline, first.what
        ),
        None => format!(
            "the pipeline `{}` has no source of that name in this environment",
            record.pipeline
        ),
    };
    Diagnostic::error(Code::DestinationUnknown, what)
        .why(why)
        .state(UNTOUCHED)
        .help("add a `[[step.destination]]` with its name and path to the `restore` step, or restore with `--to DIR`")
}
