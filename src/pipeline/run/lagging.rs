//! Which targets of a run lack backups that the others have, and which of them each is to have.
//!
//! What comes back must be nothing that was let go on purpose. So only what is newer than the newest that the target has of
//! this line is copied (retention never takes the newest), nothing that this host's journal knows as removed there, and nothing
//! that the `retain` steps of this pipeline would remove there at once.

use std::collections::BTreeSet;

use serde_json::json;

use crate::archive::repository::{Backup, Lineage, Listing};
use crate::archive::retention::{self, Known, Rules};
use crate::diagnostic::Diagnostic;
use crate::id::{BackupId, TargetName};
use crate::outcome::Outcome;
use crate::pipeline::Plan;
use crate::state::StateFolder;
use crate::steps::Step;
use crate::target::Target;
use crate::units::{Share, Span, counted};

use super::evidence::removed_from;
use super::signing::{trusted, unsigned_by};
use super::stores::state_path;
use super::{Context, Failure};

/// What a target lacks, oldest first.
pub(super) struct Behind {
    pub(super) target: Target,
    pub(super) lacks: Vec<Backup>,
    /// What it has of the same line.
    held: Vec<Backup>,
}

/// The targets that lack something, each with what is newer than all that it has and was not removed there.
///
/// # Errors
/// Those of `removed`.
pub(super) fn lacking(
    targets: &[Target],
    listing: &Listing,
    lineage: &Lineage,
    removed: impl Fn(&TargetName) -> Result<BTreeSet<BackupId>, Failure>,
) -> Result<Vec<Behind>, Failure> {
    let mut all = Vec::new();
    for target in targets {
        let has = |backup: &&Backup| backup.targets.iter().any(|other| other.name() == target.name());
        let held: Vec<Backup> = listing.line(lineage).filter(has).cloned().collect();
        let newest = held.iter().map(Backup::rank).max();
        // Only those count that lie in a target of this run.
        let is_newer = |backup: &&Backup| {
            !backup.targets.is_empty() && newest.as_ref().is_none_or(|newest| backup.rank() > *newest)
        };
        let mut lacks: Vec<Backup> = listing.line(lineage).filter(is_newer).cloned().collect();
        if lacks.is_empty() {
            continue;
        }
        lacks.sort_by(|a, b| a.rank().cmp(&b.rank()));
        let removed = removed(target.name())?;
        lacks.retain(|backup| !removed.contains(&backup.record.id));
        all.push(Behind {
            target: target.clone(),
            lacks,
            held,
        });
    }
    Ok(all)
}

/// The same without what nobody trusted signed, and without what the `retain` steps would remove at once.
pub(super) async fn behind(plan: &Plan, context: &Context, mut all: Vec<Behind>) -> Vec<Behind> {
    let trusted = trusted(plan);
    for behind in &mut all {
        let unsigned = unsigned_by(&trusted, behind.lacks.iter()).await;
        behind.lacks.retain(|backup| !unsigned.contains(&backup.record.id));
        let then = behind.held.iter().chain(&behind.lacks).cloned().collect();
        let unwanted = unwanted(plan, context, behind.target.name(), then);
        behind.lacks.retain(|backup| !unwanted.contains(&backup.record.id));
    }
    all.retain(|behind| !behind.lacks.is_empty());
    all
}

/// What the `retain` steps of this pipeline would remove of `backups` in a target.
fn unwanted(plan: &Plan, context: &Context, target: &TargetName, backups: Vec<Backup>) -> BTreeSet<BackupId> {
    let Some(lineage) = backups.first().map(Backup::lineage) else {
        return BTreeSet::new();
    };
    let mut unwanted = BTreeSet::new();
    for planned in plan.steps().iter().filter(|planned| planned.enabled) {
        let Step::Retain(settings) = &planned.step else {
            continue;
        };
        if !settings.targets.is_empty() && !settings.targets.contains(target) {
            continue;
        }
        let rules = Rules {
            policy: &settings.policy(),
            max_remove: Share::percent(100),
            min_verified: 0,
            now: context.clock.now().timestamp(),
        };
        let chosen = retention::choose(&backups, &lineage, &rules, &Known::default());
        let chosen = chosen.unwrap_or_else(|held| held.chosen);
        unwanted.extend(chosen.remove.iter().map(|backup| backup.record.id.clone()));
    }
    unwanted
}

/// Tells what a backup would copy before its capture. Reads the journal and the targets, and writes nothing.
pub(super) async fn foresee(
    plan: &Plan,
    context: &Context,
    (targets, listing, lineage): (&[Target], &Listing, &Lineage),
    outcome: &mut Outcome,
) {
    let time = plan.environment().maintenance.catch_up();
    if time.is_zero() {
        return;
    }
    let lacking = StateFolder::existing(&state_path(plan))
        .map_err(|error| vec![Diagnostic::of(&error)])
        .and_then(|state| {
            lacking(targets, listing, lineage, |target| match &state {
                Some(state) => removed_from(state, target).map_err(|problem| vec![problem]),
                None => Ok(BTreeSet::new()),
            })
        });
    let lacking = match lacking {
        Ok(lacking) => lacking,
        Err(failure) => return outcome.diagnostics.extend(failure),
    };
    let behind = behind(plan, context, lacking).await;
    if behind.is_empty() {
        return;
    }
    let each = behind.iter().map(|behind| {
        let count = counted(behind.lacks.len() as u64, "backup");
        format!("{count} into {}", behind.target.name())
    });
    let each: Vec<String> = each.collect();
    let text = format!("{}, before the capture, for at most {}", each.join(", "), Span(time));
    let list = behind.iter().map(|behind| {
        let ids: Vec<&BackupId> = behind.lacks.iter().map(|backup| &backup.record.id).collect();
        json!({ "target": behind.target.name(), "backups": ids.len(), "ids": ids })
    });
    let list: Vec<serde_json::Value> = list.collect();
    outcome.field("would-catch-up", "would copy", text, list);
}
