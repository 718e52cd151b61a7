//! What a run would do. Nothing is written anywhere: no state folder, no lock, no journal, no target.

use serde_json::json;

use crate::archive::repository::{self, Backup, Lineage};
use crate::diagnostic::{Code, Diagnostic};
use crate::fs::owners::Owners;
use crate::id::{Instance, TargetName};
use crate::outcome::{Outcome, Table};
use crate::pipeline::{Environment, Plan, Provenance, Roots, overlapping_roots};
use crate::restore::stage::check_to;
use crate::steps::select::Select;
use crate::steps::snapshot::Snapshot;
use crate::steps::upload::Upload;
use crate::steps::{Signature, Step};
use crate::target::Target;
use crate::units::ByteCount;

use super::crossing::Origin;
use super::difference::Sealed;
use super::redaction::Redaction;
use super::scope::Scope;
use super::stores::{Keys, open_targets};
use super::{
    Context, Failure, Options, SKIPPED_WITH_TO, choose, command, destination, difference, failed, lagging, ready,
    recovery,
};

/// How far a preview looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Sources are surveyed and targets listed.
    Everything,
    /// Only the manifest: no process, no socket, no secret, no source.
    ManifestAlone,
}

/// Says what a run would do.
pub async fn preview(command: &str, plan: &Plan, options: &Options, context: &Context, reach: Reach) -> Outcome {
    let headline = format!(
        "pipeline `{}` would run in `{}`; nothing was done",
        plan.pipeline(),
        plan.environment_name()
    );
    let mut outcome = Outcome::new(command, headline);
    let from = match plan.provenance() {
        Provenance::File(path) => path.display().to_string(),
        Provenance::BuiltIn => "built in: the project has no file of that name".into(),
    };
    outcome.field("from", "manifest", from, plan.provenance());
    outcome.field(
        "state",
        "state folder",
        Scope::of(plan).state().display().to_string(),
        Scope::of(plan).state(),
    );
    let protected = if plan.environment().protected { "yes" } else { "no" };
    outcome.field("protected", "protected", protected, plan.environment().protected);
    steps(plan, options, &mut outcome);
    let roots = match reach {
        Reach::Everything => Roots::Present,
        Reach::ManifestAlone => Roots::Written,
    };
    let values = destination::values(context);
    outcome.diagnostics.extend(overlapping_roots(plan, &values, roots));
    if reach == Reach::Everything {
        let (project, name) = (plan.project(), plan.environment_name());
        let state = Scope::of(plan).state();
        outcome
            .diagnostics
            .extend(recovery::report(project, name, &values, &state));
        let unfit = options.to.as_ref().and_then(|to| check_to(to).err());
        outcome
            .diagnostics
            .extend(unfit.into_iter().flat_map(|error| failed(&error)));
        let mut chosen = None;
        for planned in plan.steps().iter().filter(|planned| planned.enabled) {
            match &planned.step {
                Step::Snapshot(snapshot) => sources(plan, context, snapshot, &mut outcome),
                Step::Upload(upload) => targets(plan, options, context, upload, &mut outcome).await,
                Step::Select(select) => chosen = backup(plan, options, context, select, &mut outcome).await,
                Step::Restore(restore) => {
                    if let Some((backup, origin)) = &chosen {
                        let environment = origin.as_ref().map_or(plan.environment(), |origin| &origin.environment);
                        let sealed = Sealed { backup, environment };
                        difference::tell(plan, options, context, (&sealed, restore), &mut outcome).await;
                    }
                }
                _ => {}
            }
        }
    }
    outcome
}

fn steps(plan: &Plan, options: &Options, outcome: &mut Outcome) {
    let mut table = Table {
        title: "steps".into(),
        columns: ["step", "type", "takes", "gives", ""].map(String::from).to_vec(),
        rows: Vec::new(),
    };
    let mut list = Vec::new();
    for planned in plan.steps() {
        let passes = matches!(planned.step.signature(), Signature::Any);
        let note = match (&planned.step, planned.enabled, &options.to) {
            (_, false, _) => "switched off".to_owned(),
            (step, _, Some(_)) if SKIPPED_WITH_TO.contains(&step.name()) => "skipped: --to".to_owned(),
            (Step::Command(settings), ..) => {
                let when = if planned.always { ", after a failure too" } else { "" };
                format!("not run now: {}{when}", command::line(&settings.argv))
            }
            _ if passes => "passes on what it is given".to_owned(),
            _ => String::new(),
        };
        table.rows.push(vec![
            planned.id.to_string(),
            planned.step.name().into(),
            planned.takes.describe().into(),
            planned.gives.describe().into(),
            note,
        ]);
        let mut step = json!({
            "id": planned.id, "type": planned.step.name(), "enabled": planned.enabled, "always": planned.always,
        });
        if let (Step::Command(settings), Some(step)) = (&planned.step, step.as_object_mut()) {
            step.insert("argv".into(), json!(settings.argv));
        }
        list.push(step);
    }
    outcome.tables.push(table);
    outcome.json.insert("steps".into(), list.into());
}

fn sources(plan: &Plan, context: &Context, snapshot: &Snapshot, outcome: &mut Outcome) {
    let owners = match Owners::of_host() {
        Ok(owners) => owners,
        Err(error) => {
            let what = "the host's users and groups cannot be read";
            outcome
                .diagnostics
                .push(Diagnostic::error(Code::SourceFailed, what).why(error.to_string()));
            return;
        }
    };
    let mut table = Table {
        title: "sources, in the order of capture".into(),
        columns: ["source", "type", "from", "entries", "bytes"]
            .map(String::from)
            .to_vec(),
        rows: Vec::new(),
    };
    let mut list = Vec::new();
    for source in &snapshot.source {
        let root = source.root(plan.project()).display().to_string();
        let survey = source
            .guard(plan.project())
            .and_then(|()| source.survey(plan.project(), &owners));
        match survey {
            Ok(survey) => {
                let faults = source.foresee(plan.project(), &owners, context.stop.flag());
                outcome.diagnostics.extend(
                    faults
                        .iter()
                        .map(|error| Diagnostic::of(error).state("nothing was started")),
                );
                list.push(json!({ "name": source.name, "type": source.kind.name(), "root": root,
                    "entries": survey.entries, "bytes": survey.bytes, "left-out": survey.left_out }));
                table.rows.push(vec![
                    source.name.to_string(),
                    source.kind.name().into(),
                    root,
                    survey.entries.to_string(),
                    ByteCount(survey.bytes).to_string(),
                ]);
            }
            Err(error) => outcome
                .diagnostics
                .push(Diagnostic::of(&error).state("nothing was started")),
        }
    }
    outcome.tables.push(table);
    outcome.json.insert("sources".into(), list.into());
}

async fn targets(plan: &Plan, options: &Options, context: &Context, upload: &Upload, outcome: &mut Outcome) {
    let opened = match open(plan, plan.environment(), options, context, &upload.targets, outcome).await {
        Ok(opened) => opened,
        Err(failure) => return outcome.diagnostics.extend(failure),
    };
    let mut table = Table {
        title: "targets".into(),
        columns: ["target", "url", "is"].map(String::from).to_vec(),
        rows: Vec::new(),
    };
    let mut usable = Vec::new();
    for target in &opened {
        let found = repository::open(target).await;
        if let Ok(found) = &found
            && let Some(refusal) = ready::refusal(plan, target, found.as_ref())
        {
            let refusal = refusal.state("nothing was started");
            table
                .rows
                .push(vec![target.name().to_string(), target.url(), "gone".into()]);
            outcome.diagnostics.push(refusal);
            continue;
        }
        if found.is_ok() {
            usable.push(target.clone());
        }
        let is = match found {
            Ok(Some(_)) => "a repository".to_owned(),
            Ok(None) => "empty: a repository would be made here".to_owned(),
            Err(error) => {
                outcome
                    .diagnostics
                    .push(Diagnostic::of(&error).state("nothing was started"));
                error.to_string()
            }
        };
        table.rows.push(vec![target.name().to_string(), target.url(), is]);
    }
    outcome.tables.push(table);
    let mut listing = repository::list(&opened, plan.environment_name()).await;
    let instance = plan
        .environment()
        .instance
        .clone()
        .unwrap_or_else(|| Instance::new(&context.host));
    let lineage = Lineage {
        pipeline: plan.pipeline().clone(),
        instance,
    };
    let parent = listing.newest(&lineage).map(|backup| backup.record.id.to_string());
    outcome.field(
        "parent",
        "newest backup",
        parent.clone().unwrap_or_else(|| "none".into()),
        parent,
    );
    let unlisted = listing.leave_out_unlisted();
    usable.retain(|target| unlisted.iter().all(|(name, _)| name != target.name()));
    lagging::foresee(plan, context, (&usable, &listing, &lineage), outcome).await;
}

/// Opens targets; those that cannot be are told.
async fn open(
    plan: &Plan,
    environment: &Environment,
    options: &Options,
    context: &Context,
    named: &[TargetName],
    outcome: &mut Outcome,
) -> Result<Vec<Target>, Failure> {
    let mut keys = Keys::unread(environment, plan.project(), context);
    let meant = (named, options.targets.as_slice());
    let opened = open_targets(environment, plan.project(), meant, &mut keys, None).await?;
    let (targets, warnings) = opened.with_warnings();
    outcome.diagnostics.extend(warnings);
    Ok(targets)
}

async fn backup(
    plan: &Plan,
    options: &Options,
    context: &Context,
    select: &Select,
    outcome: &mut Outcome,
) -> Option<(Backup, Option<Origin>)> {
    let origin = Origin::of(plan, select, options, context);
    let origin = origin.map_err(|failure| outcome.diagnostics.extend(failure)).ok()?;
    let environment = origin.as_ref().map_or(plan.environment(), |origin| &origin.environment);
    let opened = open(plan, environment, options, context, &select.targets, outcome).await;
    let opened = opened.map_err(|failure| outcome.diagnostics.extend(failure)).ok()?;
    let name = origin.as_ref().map_or(plan.environment_name(), |origin| &origin.name);
    match choose::choose(&opened, (name, environment), plan.project(), select).await {
        Ok((backup, warnings)) => {
            let record = &backup.record;
            outcome.diagnostics.extend(warnings);
            outcome.diagnostics.extend(Redaction::of(plan).misfits(record));
            if let Some(origin) = &origin {
                let uncovered = origin.uncovered(plan, record);
                let refusal = || origin.refusal(plan, record, &uncovered);
                let holds = !uncovered.is_empty() && !options.allow_unredacted;
                outcome.diagnostics.extend(holds.then(refusal));
            }
            outcome.field("backup", "backup", record.id.to_string(), &record.id);
            outcome.field("made", "made", record.started.clone(), &record.started);
            outcome.field(
                "made-in",
                "made in",
                record.environment.to_string(),
                &record.environment,
            );
            let mut table = Table {
                title: "sources in the backup".into(),
                columns: ["source", "type", "entries", "bytes"].map(String::from).to_vec(),
                rows: Vec::new(),
            };
            for source in &record.sources {
                table.rows.push(vec![
                    source.name.to_string(),
                    source.kind.clone(),
                    source.entries.to_string(),
                    ByteCount(source.bytes).to_string(),
                ]);
            }
            outcome.tables.push(table);
            Some((backup, origin))
        }
        Err(failure) => {
            outcome.diagnostics.extend(failure);
            None
        }
    }
}
