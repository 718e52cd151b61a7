//! Before anything else: what a run that was killed in the middle of a swap has left is finished or undone.
//!
//! The journals lie beside the destinations, so that whoever knows an environment's destinations finds them. Its pipelines
//! say where these are; the state folder remembers those of swaps whose paths came from the command line.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::diagnostic::{Code, Diagnostic};
use crate::fs::atomic;
use crate::id::EnvName;
use crate::journal::Status;
use crate::limits;
use crate::pipeline::{Plan, Purpose, Request, RunValues, compile, list_pipelines};
use crate::restore::swap::record::{HostPath, Phase, SwapRecord};
use crate::restore::swap::recovery::{self, How, RecoveryError};
use crate::restore::swap::scan::{Point, Scan, Unfinished, remove_stale, scan};
use crate::source::{Form, lineage};
use crate::steps::Step;

use super::evidence::Evidence;
use super::scope::Scope;
use super::{Context, Failure, Runner, destination};

/// Time between two looks at a swap under way.
const POLL: Duration = Duration::from_millis(100);
/// The file in the state folder that remembers destinations.
const REMEMBERED: &str = "destinations.json";

/// Every folder that a swap of this environment may have replaced.
pub(super) fn known_destinations(
    project: &Path,
    environment: &EnvName,
    values: &RunValues,
    own: Option<&Plan>,
    state: &Path,
) -> Vec<PathBuf> {
    let mut known: BTreeSet<PathBuf> = remembered(state).into_iter().collect();
    if let Some(plan) = own {
        known.extend(destinations_of(plan));
    }
    // A pipeline that does not compile cannot have swapped as it is; `validate` tells of it.
    for listed in list_pipelines(project).unwrap_or_default() {
        let request = Request {
            project: project.to_owned(),
            pipeline: listed.name.to_string(),
            environment: environment.clone(),
            sets: Vec::new(),
            args: BTreeMap::new(),
            purpose: Purpose::Validate,
            run: values.clone(),
        };
        if let Ok(plan) = compile(&request) {
            known.extend(destinations_of(&plan));
        }
    }
    known.into_iter().collect()
}

/// The folders that a plan captures from or restores to.
fn destinations_of(plan: &Plan) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for planned in plan.steps() {
        match &planned.step {
            Step::Snapshot(snapshot) => {
                let both = |source: &crate::source::Source| {
                    [Form::Folder, Form::File].map(|form| source.root_as(plan.project(), form))
                };
                found.extend(snapshot.source.iter().flat_map(both));
            }
            Step::Restore(restore) => found.extend(restore.destination.iter().map(|d| plan.project().join(&d.path))),
            _ => {}
        }
    }
    found
}

fn remembered(state: &Path) -> Vec<PathBuf> {
    // It only saves a search: the journals are found without it wherever a manifest names the destination.
    let text = std::fs::read(state.join(REMEMBERED)).unwrap_or_default();
    let paths: Vec<HostPath> = serde_json::from_slice(&text).unwrap_or_default();
    paths.into_iter().map(|path| path.0).collect()
}

impl Runner<'_> {
    fn known_destinations(&self) -> Vec<PathBuf> {
        let values = destination::values(self.context);
        let (project, name) = (self.plan.project(), self.plan.environment_name());
        let state = Scope::of(self.plan).state();
        known_destinations(project, name, &values, Some(self.plan), &state)
    }

    /// The rollback points of this environment, oldest first.
    pub(super) fn known_points(&self) -> Vec<Point> {
        scan(&self.known_destinations(), self.plan.environment_name()).points
    }

    /// Notes in the state folder where a swap takes place.
    pub(super) fn remember_destinations(&self, destinations: &[PathBuf]) {
        remember(&super::scope::Scope::of(self.plan).state(), destinations);
    }

    /// Settles what runs that were killed have left.
    pub(super) fn recover(&mut self) -> Result<(), Failure> {
        let known = self.known_destinations();
        let warnings = settle(
            &known,
            Scope::of(self.plan),
            &mut self.evidence,
            self.context,
            self.options.wait,
        )?;
        for warning in warnings {
            self.warn(warning);
        }
        Ok(())
    }
}

/// Notes in the state folder where a swap takes place. That it cannot is no reason not to restore.
pub(super) fn remember(state: &Path, destinations: &[PathBuf]) {
    let mut known: BTreeSet<PathBuf> = remembered(state).into_iter().collect();
    let before = known.len();
    known.extend(destinations.iter().cloned());
    if known.len() == before || known.len() > limits::DESTINATIONS_REMEMBERED {
        return;
    }
    let known: Vec<HostPath> = known.into_iter().map(HostPath).collect();
    if let Ok(text) = serde_json::to_vec_pretty(&known) {
        let _ = atomic::write(&state.join(REMEMBERED), 0o600, &text);
    }
}

/// Settles what runs that were killed have left in and beside `known`; says what was done.
///
/// # Errors
/// Where a run is alive, or something can be neither finished nor undone.
pub(super) fn settle(
    known: &[PathBuf],
    scope: Scope<'_>,
    evidence: &mut Evidence,
    context: &Context,
    wait: Option<Duration>,
) -> Result<Vec<Diagnostic>, Failure> {
    let begin = Instant::now();
    // A swap under way is over in moments; what is then there is looked at anew.
    while is_live(&scan(known, scope.name)) && wait.is_some_and(|wait| begin.elapsed() < wait) {
        if context.stop.is_requested() {
            return Err(vec![super::stopped(context, "nothing was started")]);
        }
        std::thread::sleep(POLL);
    }
    let Scan {
        unfinished,
        strange,
        stale,
        ..
    } = scan(known, scope.name);
    let mut warnings = Vec::new();
    for found in &unfinished {
        evidence.recovering(&found.record, intent(found), Status::Started)?;
        take_back_notes(found);
        match recovery::settle(found) {
            Ok(None) => {}
            Ok(Some(how)) => {
                evidence.recovering(&found.record, intent(found), Status::Ok)?;
                warnings.push(settled(&found.record, how));
            }
            Err(error) => return Err(vec![Diagnostic::of(&error)]),
        }
    }
    for stage in stale {
        // What a dead run unpacked takes room and serves nobody; one that cannot be removed harms nobody either.
        let _ = remove_stale(&stage);
    }
    if strange.is_empty() {
        return Ok(warnings);
    }
    Err(strange.iter().map(cannot_follow).collect())
}

/// Takes back what was noted beside logs ahead of a swap that will be undone.
fn take_back_notes(found: &Unfinished) {
    let undone =
        found.phase == Phase::Swap && !matches!(recovery::hold(&found.journal), Err(RecoveryError::Live { .. }));
    for item in found.record.items.iter().filter(|_| undone) {
        // One that stays counts for no log but that of the backup it names.
        let _ = lineage::withdraw(&item.destination, &found.record.run);
    }
}

/// Whether a swap that was found is one under way.
fn is_live(found: &Scan) -> bool {
    let live = |found: &Unfinished| matches!(recovery::hold(&found.journal), Err(RecoveryError::Live { .. }));
    found.unfinished.iter().any(live)
}

const fn intent(unfinished: &Unfinished) -> &'static str {
    match unfinished.phase {
        Phase::Swap => "it was not committed: undone",
        Phase::Swapped | Phase::Point => "it was committed: finished",
        Phase::Drop => "the removal of a rollback point: gone on with",
    }
}

fn settled(record: &SwapRecord, how: How) -> Diagnostic {
    let what = match &record.backup {
        Some(backup) => format!("the restore of backup `{backup}`"),
        None => "a rollback".to_owned(),
    };
    let at = &record.made;
    let (what, state) = match how {
        How::Undone => (
            format!("{what} of {at} was cut short and has been undone"),
            "all its destinations are as they were before it",
        ),
        How::Finished => (
            format!("{what} of {at} was cut short at its end and has been finished"),
            "all its destinations have the restored data, and what was replaced is kept",
        ),
        How::Dropped => (
            format!(
                "the removal of rollback point `{}` was cut short and has been finished",
                record.point_id()
            ),
            "the data in place was not touched",
        ),
    };
    Diagnostic::warning(Code::SwapRecovered, what)
        .why("its run ended before it was done")
        .state(state)
        .help("find out why it ended; run it again where it was undone and is still wanted")
}

fn cannot_follow(strange: &crate::restore::swap::scan::Strange) -> Diagnostic {
    let what = format!("the swap journal `{}` cannot be followed", strange.journal.display());
    Diagnostic::error(Code::SwapUnfinished, what)
        .why(strange.why.clone())
        .state("the destinations that it names may be old or new; nothing was touched")
        .help("mount what is missing, or run the command as the user who restored; by hand: docs/DATA_MANAGEMENT.md")
}

/// What a verb that only reads says of swaps that were cut short.
pub fn report(project: &Path, environment: &EnvName, values: &RunValues, state: &Path) -> Vec<Diagnostic> {
    let known = known_destinations(project, environment, values, None, state);
    let found = scan(&known, environment);
    let dead = |found: &&Unfinished| !matches!(recovery::hold(&found.journal), Err(RecoveryError::Live { .. }));
    let unfinished = found.unfinished.iter().filter(dead).map(|found| {
        let what = format!(
            "a swap of {} was cut short and is neither finished nor undone",
            found.record.made
        );
        let warning = Diagnostic::warning(Code::SwapUnfinished, what)
            .why(format!("`{}` says so", found.journal.display()))
            .state("some destinations may be old and some new");
        warning.help("a backup, a restore, a rollback or `rollback --list` finishes it or undoes it")
    });
    let strange = found.strange.iter().map(|strange| Diagnostic {
        severity: crate::diagnostic::Severity::Warning,
        ..cannot_follow(strange)
    });
    unfinished.chain(strange).collect()
}
