//! Puts back what a swap has replaced, lists what could be put back, and removes it.
//!
//! A rollback is a swap like any other, under the same journal: what it replaces becomes a rollback point in its turn, so it
//! can itself be undone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::diagnostic::{Code, Diagnostic};
use crate::event::Event;
use crate::id::{EnvName, PipelineName};
use crate::outcome::{Outcome, Table};
use crate::pipeline::environment::Environment;
use crate::pipeline::{self, RunValues};
use crate::restore::points;
use crate::restore::swap::recovery;
use crate::restore::swap::scan::{Point, Scan, scan};
use crate::restore::swap::{SwapItem, With};
use crate::units::ByteCount;

use super::evidence::{Evidence, Needed, Swap};
use super::fence::{self, Act, Asked, REPLACE};
use super::recovery::{known_destinations, remember, settle};
use super::scope::Scope;
use super::swap::{about, describe, drop_point, kept_in, look_for_use, refuse_in_use, run_swap};
use super::{Context, Failure, UNTOUCHED, destination, put_back, with_state};

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollback {
    /// What to do.
    pub action: Action,
    /// The environment that the operator confirmed.
    pub confirm: Option<EnvName>,
    /// Whether files are replaced that other processes use.
    pub while_running: bool,
    /// How long to wait for another rollback; `None` not at all.
    pub wait: Option<Duration>,
}

/// What to do. A point is named by its id or a unique prefix of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Put a point back, the newest where none is named.
    Back(Option<String>),
    /// List the points.
    List,
    /// Remove a point, the only one where none is named.
    Drop(Option<String>),
}

/// A rollback under way.
struct Run<'a> {
    scope: Scope<'a>,
    request: &'a Rollback,
    context: &'a Context,
    evidence: Evidence,
    known: Vec<PathBuf>,
    outcome: Outcome,
}

/// Does what is asked for in an environment of a project.
pub async fn rollback(project: &Path, name: &EnvName, request: &Rollback, context: &Context) -> Outcome {
    let mut outcome = match begin(project, name, request, context).await {
        Ok(outcome) => outcome,
        Err(failure) => Outcome::failed("rollback", "", failure),
    };
    for diagnostic in &mut outcome.diagnostics {
        diagnostic.environment.get_or_insert_with(|| name.to_string());
    }
    outcome
}

async fn begin(project: &Path, name: &EnvName, request: &Rollback, context: &Context) -> Result<Outcome, Failure> {
    let values: RunValues = destination::values(context);
    let environment: Environment = pipeline::environment(project, name, &values)?;
    let verb: PipelineName = "rollback"
        .parse()
        .map_err(|error: crate::id::IdError| vec![Diagnostic::error(Code::Internal, error.to_string())])?;
    let scope = Scope {
        environment: &environment,
        name,
        project,
        pipeline: &verb,
    };
    fence::before(scope, context)?;
    let mut warnings = Vec::new();
    let needed = match request.action {
        Action::List => Needed::WhereItCanBeHad,
        Action::Back(_) | Action::Drop(_) => Needed::Locked,
    };
    let mut evidence = Evidence::open(scope, request.wait, context, needed, &mut warnings)?;
    if matches!(request.action, Action::Back(_)) {
        evidence.exclude_others(scope.pipeline, request.wait, context)?;
    }
    let known = known_destinations(project, name, &values, None, &scope.state());
    let run = Run {
        scope,
        request,
        context,
        evidence,
        known,
        outcome: Outcome {
            diagnostics: warnings,
            ..Outcome::new("rollback", "")
        },
    };
    Ok(run.finish().await)
}

impl Run<'_> {
    async fn finish(mut self) -> Outcome {
        let result = match self.evidence.run_started(None, self.context) {
            Ok(()) => self.act().await,
            Err(failure) => Err(failure),
        };
        if let Err(failure) = result {
            self.outcome.headline.clear();
            self.outcome.diagnostics.extend(failure);
        }
        for warning in &self.outcome.diagnostics {
            if warning.severity == crate::diagnostic::Severity::Warning
                && let Err(failure) = self.evidence.warned(warning)
            {
                self.outcome.diagnostics.extend(failure);
                break;
            }
        }
        let exit = self.outcome.exit_code();
        if let Err(failure) = self.evidence.run_finished(exit, &self.outcome) {
            self.outcome.diagnostics.extend(failure);
        }
        self.outcome
            .field("run", "run", self.context.run.to_string(), self.context.run);
        self.outcome
    }

    async fn act(&mut self) -> Result<(), Failure> {
        let settled = settle(
            &self.known,
            self.scope,
            &mut self.evidence,
            self.context,
            self.request.wait,
        )?;
        for warning in settled {
            let (code, what) = (warning.code.as_str().to_owned(), warning.what.clone());
            self.context.events.tell(&Event::Warned { code, what });
            self.outcome.diagnostics.push(warning);
        }
        let Scan {
            points, strange_points, ..
        } = scan(&self.known, self.scope.name);
        for strange in strange_points {
            let what = format!("the rollback point of `{}` cannot be read", strange.journal.display());
            let warning = Diagnostic::warning(Code::PointUnknown, what).why(strange.why);
            self.outcome.diagnostics.push(
                warning
                    .state("what it keeps lies beside its destinations; it is neither put back nor removed")
                    .help("look at the file, and at the `.strongroom-replaced-` folders of the same run"),
            );
        }
        match &self.request.action {
            Action::List => {
                self.list(&points);
                Ok(())
            }
            Action::Back(wanted) => {
                let point = choose(&points, wanted.as_deref(), points.last())?;
                self.back(point).await
            }
            Action::Drop(wanted) => {
                let only = if points.len() == 1 { points.first() } else { None };
                let point = choose(&points, wanted.as_deref(), only)?;
                self.drop(point).await
            }
        }
    }

    fn list(&mut self, points: &[Point]) {
        let mut table = Table {
            title: String::new(),
            columns: ["point", "made", "replaced by", "sources", "takes", "is"]
                .map(String::from)
                .to_vec(),
            rows: Vec::new(),
        };
        let (mut list, mut total) = (Vec::new(), 0_u64);
        for point in points {
            let record = &point.record;
            let bytes = points::taken(point);
            total = total.saturating_add(bytes);
            let by = match &record.backup {
                Some(backup) => format!("backup {backup}"),
                None => "a rollback".to_owned(),
            };
            let destinations = shown(point);
            let sources: Vec<&str> = record.items.iter().map(|item| item.source.as_str()).collect();
            let is = if point.is_whole() { "whole" } else { "not whole" };
            table.rows.push(vec![
                point.id(),
                record.made.clone(),
                by,
                sources.join(", "),
                ByteCount(bytes).to_string(),
                is.into(),
            ]);
            let kept: Vec<String> = kept(point).iter().map(|path| path.display().to_string()).collect();
            list.push(serde_json::json!({
                "id": point.id(), "made": record.made, "run": record.run, "backup": record.backup, "host": record.host, "instance": record.instance,
                "actor": record.actor, "destinations": destinations, "kept": kept, "bytes": bytes,
                "whole": point.is_whole(),
            }));
        }
        self.outcome.headline = match points.len() {
            0 => format!("no rollback point of `{}`", self.scope.name),
            1 => format!("1 rollback point of `{}`, {}", self.scope.name, ByteCount(total)),
            count => format!("{count} rollback points of `{}`, {}", self.scope.name, ByteCount(total)),
        };
        if !table.rows.is_empty() {
            self.outcome.tables.push(table);
        }
        self.outcome.json.insert("points".into(), list.into());
    }

    async fn back(&mut self, point: &Point) -> Result<(), Failure> {
        let id = point.id();
        if !point.is_whole() {
            let gone = kept(point).into_iter().find(|path| !path.is_dir()).unwrap_or_default();
            let what = format!("rollback point `{id}` is not whole: `{}` is not there", gone.display());
            let problem = Diagnostic::error(Code::PointUnknown, what).state(UNTOUCHED);
            return Err(vec![
                problem.help("move it back, or take another point: `rollback --list`"),
            ]);
        }
        self.outcome.field("put-back", "put back", id.clone(), &id);
        self.outcome
            .field("made", "made", point.record.made.clone(), &point.record.made);
        self.confirm(&REPLACE).await?;
        let destinations: Vec<PathBuf> = point
            .record
            .items
            .iter()
            .map(|item| item.destination.0.clone())
            .collect();
        let in_use = look_for_use(destinations.clone()).await?;
        refuse_in_use(&in_use, self.request.while_running, &mut self.outcome)?;
        let held =
            recovery::hold(&point.journal).map_err(|error| with_state(vec![Diagnostic::of(&error)], UNTOUCHED))?;
        if held.is_none() {
            return Err(vec![unknown(&id, "another process has used or removed it")]);
        }
        remember(&self.scope.state(), &destinations);
        let items = point.record.items.iter().map(|item| SwapItem {
            source: item.source.clone(),
            destination: item.destination.0.clone(),
            with: With::Kept(item.kept.clone()),
        });
        let shown = shown(point);
        let told = Swap {
            backup: None,
            point: Some(id.clone()),
            destinations: &shown,
        };
        let notes = put_back::notes(self.scope, self.context, point).await;
        self.evidence.swap_intended(&told)?;
        let about = about(self.context, self.scope, None, Some(point));
        let (done, warnings) = run_swap(items.collect(), about, notes).await?;
        self.outcome.diagnostics.extend(warnings);
        self.evidence.swapped(&told, &kept_in(&done.swapped))?;
        let name = self.scope.name;
        self.outcome.headline = format!("`{name}` is as it was before {}", point.record.made);
        self.outcome.field(
            "point",
            "rollback point",
            done.record.point_id(),
            done.record.point_id(),
        );
        describe(&mut self.outcome, &done.swapped, &BTreeMap::new());
        Ok(())
    }

    async fn drop(&mut self, point: &Point) -> Result<(), Failure> {
        let (id, bytes) = (point.id(), points::taken(point));
        self.outcome.field("dropped", "removed", id.clone(), &id);
        let does = format!("removes the rollback point {id} ({}) of", ByteCount(bytes));
        let act = Act {
            does: &does,
            doing: "removing what it could go back to",
            untouched: UNTOUCHED,
            before: "",
        };
        self.confirm(&act).await?;
        match drop_point(point, &mut self.evidence)? {
            Ok(bytes) => {
                self.outcome.headline = format!("rollback point {id} removed, {} freed", ByteCount(bytes));
                self.outcome
                    .field("freed-bytes", "freed", ByteCount(bytes).to_string(), bytes);
                Ok(())
            }
            Err(mut problem) => {
                problem.severity = crate::diagnostic::Severity::Error;
                Err(vec![*problem])
            }
        }
    }

    async fn confirm(&mut self, act: &Act<'_>) -> Result<(), Failure> {
        match fence::confirm(self.scope, self.request.confirm.as_ref(), act, self.context).await? {
            Asked::NotProtected => Ok(()),
            Asked::Confirmed => self.evidence.confirmed(),
        }
    }
}

fn shown(point: &Point) -> Vec<String> {
    let items = point.record.items.iter();
    items.map(|item| item.destination.display().to_string()).collect()
}

fn kept(point: &Point) -> Vec<PathBuf> {
    let kept = point.record.items.iter().flat_map(|item| &item.kept);
    kept.map(|kept| kept.at.0.clone()).collect()
}

fn unknown(wanted: &str, why: &str) -> Diagnostic {
    Diagnostic::error(Code::PointUnknown, format!("there is no rollback point `{wanted}`"))
        .why(why)
        .state(UNTOUCHED)
        .help("`strongroom rollback --list` shows those there are")
}

/// The point that `wanted` names; `default` where nothing is named.
fn choose<'a>(points: &'a [Point], wanted: Option<&str>, default: Option<&'a Point>) -> Result<&'a Point, Failure> {
    let names = |points: &[&Point]| points.iter().map(|point| point.id()).collect::<Vec<_>>().join(", ");
    let Some(wanted) = wanted else {
        return match (default, points) {
            (Some(point), _) => Ok(point),
            (None, []) => Err(vec![
                Diagnostic::error(Code::PointUnknown, "there is no rollback point")
                    .why("nothing was replaced yet, or what was replaced has been removed")
                    .state(UNTOUCHED)
                    .help("restore a backup: `strongroom list` shows those there are"),
            ]),
            (None, several) => Err(vec![
                Diagnostic::error(Code::Usage, format!("there are {} rollback points", several.len()))
                    .state(UNTOUCHED)
                    .help(format!("name one of {}", names(&several.iter().collect::<Vec<_>>()))),
            ]),
        };
    };
    let fitting: Vec<&Point> = points.iter().filter(|point| point.id().starts_with(wanted)).collect();
    match fitting.as_slice() {
        [one] if !wanted.is_empty() => Ok(one),
        [] => Err(vec![unknown(wanted, "no id of a point begins so")]),
        several => Err(vec![
            Diagnostic::error(
                Code::Usage,
                format!("`{wanted}` fits {} rollback points", several.len()),
            )
            .state(UNTOUCHED)
            .help(format!("name one of {}", names(several))),
        ]),
    }
}
