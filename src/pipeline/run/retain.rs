//! Retention: removes what no rule keeps, in the targets where the new backup was read back, each removal journalled first;
//! then sweeps.

use crate::archive::layout;
use crate::archive::repository::{Backup, Confirmed, Lineage};
use crate::archive::retention::{self, Chosen, HeldBack, Known, Rules};
use crate::archive::survey::Survey;
use crate::archive::sweep::{Amount, SweepError, Sweeper, Swept};
use crate::diagnostic::{Code, Diagnostic};
use crate::id::{BackupId, EnvName, TargetName};
use crate::outcome::Table;
use crate::steps::retain::Retain;
use crate::target::Target;
use crate::units::{ByteCount, Share};

use super::evidence::Told;
use super::signing::unsigned;
use super::sweeping::{self, held_back};
use super::{Failure, Runner};

/// What is said of a backup that goes.
pub(super) const NO_RULE: &str = "no rule keeps it";

/// What retention did in all targets.
#[derive(Default)]
struct Done {
    kept: usize,
    removed: Vec<serde_json::Value>,
    listed: Amount,
    deleted: Amount,
    rows: Vec<Vec<String>>,
}

impl Runner<'_> {
    /// Applies the policy in each target that holds the confirmed backup; `settings.targets` may name some of them.
    pub(super) async fn retain(&mut self, confirmed: &Confirmed, settings: &Retain) -> Result<String, Failure> {
        let mut done = Done::default();
        let meant = |target: &&Target| settings.targets.is_empty() || settings.targets.contains(target.name());
        let targets: Vec<Target> = confirmed.targets().iter().filter(meant).cloned().collect();
        for target in &targets {
            self.retain_in(target, confirmed, settings, &mut done).await?;
        }
        let summary = format!(
            "{} kept, {} removed, {} freed, {} to be freed",
            done.kept,
            done.removed.len(),
            ByteCount(done.deleted.bytes),
            ByteCount(done.listed.bytes)
        );
        let json = serde_json::json!({ "kept": done.kept, "deleted": done.deleted, "listed": done.listed });
        self.outcome.field("retention", "retention", summary.clone(), json);
        self.outcome.json.insert("removed".into(), done.removed.into());
        self.outcome.tables.push(Table {
            title: "retention".into(),
            columns: ["target", "backup", "is", "because"].map(String::from).to_vec(),
            rows: done.rows,
        });
        Ok(summary)
    }

    async fn retain_in(
        &mut self,
        target: &Target,
        confirmed: &Confirmed,
        settings: &Retain,
        done: &mut Done,
    ) -> Result<(), Failure> {
        let unusable = |error| {
            let state = "nothing was removed, and the new backup stands";
            vec![Diagnostic::of(&error).state(state)]
        };
        let bounds = sweeping::settings(self.plan.environment(), self.context);
        let Some(mut sweeper) = Sweeper::begin(target, &bounds).await.map_err(unusable)? else {
            return Ok(());
        };
        if !sweeper.survey().doubts().is_empty() {
            self.warn(held_back(target.name(), sweeper.survey().doubts()));
            return Ok(());
        }
        let record = confirmed.record();
        let object = layout::record(&record.environment, &record.id);
        let written = sweeper.survey().objects().get(&object).map(|info| info.modified);
        // What is due goes before anything new becomes unneeded, so that nothing of a backup removed now goes now. The store
        // wrote the new record a moment ago, by its own clock.
        let mut swept = match written {
            Some(now) => {
                let mut told = Told::new(&mut self.evidence, target.name());
                sweeper.delete_due(now, &mut told).await
            }
            None => Ok(()),
        };
        if swept.is_ok() {
            self.remove_in(&mut sweeper, confirmed, settings, done).await?;
            let mut told = Told::new(&mut self.evidence, target.name());
            swept = sweeper.list_unneeded(&mut told).await;
        }
        self.unreadable_lists(target.name(), sweeper.swept());
        done.listed.join(sweeper.swept().listed);
        done.deleted.join(sweeper.swept().deleted);
        match swept {
            Ok(()) => Ok(()),
            Err(SweepError::Doubt) => {
                self.warn(held_back(target.name(), sweeper.survey().doubts()));
                Ok(())
            }
            Err(SweepError::Stopped) => self.check_stop(),
            Err(error) => Err(sweeping::failure(
                error,
                target.name(),
                sweeper.survey().doubts(),
                &bounds,
            )),
        }
    }

    /// Removes the backups of the confirmed one's line that no rule keeps.
    async fn remove_in(
        &mut self,
        sweeper: &mut Sweeper<'_>,
        confirmed: &Confirmed,
        settings: &Retain,
        done: &mut Done,
    ) -> Result<(), Failure> {
        let target = sweeper.survey().target().clone();
        let record = confirmed.record();
        let backups = backups_of(sweeper.survey(), &record.environment);
        let lineage = Lineage {
            pipeline: record.pipeline.clone(),
            instance: record.instance.clone(),
        };
        let mut known = known_of(sweeper.survey(), &record.environment);
        known.confirmed = Some(record.id.clone());
        let line = backups.iter().filter(|backup| backup.lineage() == lineage);
        known.unsigned = unsigned(self.plan.environment(), line).await;
        if settings.min_verified() > 0 {
            known.verified = self.evidence.verified_in(target.name())?;
        }
        for warning in uncounted(&known, &backups, &lineage, target.name()) {
            self.warn(warning);
        }
        let rules = Rules {
            policy: &settings.policy(),
            max_remove: settings.max_remove(),
            min_verified: settings.min_verified(),
            now: self.context.clock.now().timestamp(),
        };
        let chosen = match retention::choose(&backups, &lineage, &rules, &known) {
            Ok(chosen) => chosen,
            Err(held) => {
                self.warn(retention_held_back(target.name(), &held, rules.max_remove));
                return Ok(());
            }
        };
        done.kept += chosen.keep.len();
        done.rows.extend(rows(target.name(), &chosen));
        for backup in chosen.remove {
            self.check_stop()?;
            let record = &backup.record;
            self.evidence.delete_intended(target.name(), &record.id, NO_RULE)?;
            retention::remove(&target, record).await.map_err(|error| {
                let state = "the new backup stands; a removal that was begun is finished by the next run";
                vec![Diagnostic::of(&error).state(state)]
            })?;
            self.evidence.deleted(target.name(), &record.id)?;
            sweeper.record_removed(&layout::record(&record.environment, &record.id));
            done.removed
                .push(serde_json::json!({ "target": target.name(), "backup": record.id }));
        }
        Ok(())
    }

    fn unreadable_lists(&mut self, target: &TargetName, swept: &Swept) {
        for list in &swept.unreadable {
            self.warn(unreadable_list(target, list));
        }
    }
}

/// The warning of a list that was taken for nothing.
pub(super) fn unreadable_list(target: &TargetName, list: &str) -> Diagnostic {
    let what = format!("target `{target}`: `{list}` is no list that this program reads, and was removed");
    Diagnostic::warning(Code::Damaged, what)
        .state("nothing that it named was deleted; it is listed again and goes later")
        .help("look at the disk of the target")
}

/// The surveyed backups of an environment, oldest id first.
pub(super) fn backups_of(survey: &Survey, environment: &EnvName) -> Vec<Backup> {
    let held = survey
        .held()
        .filter(|held| held.backup.record.environment == *environment);
    held.map(|held| held.backup.clone()).collect()
}

/// Which of the surveyed backups are not whole.
pub(super) fn known_of(survey: &Survey, environment: &EnvName) -> Known {
    let held = survey
        .held()
        .filter(|held| held.backup.record.environment == *environment);
    let incomplete = held.filter_map(|held| Some((held.backup.record.id.clone(), survey.lacks(held)?)));
    Known {
        incomplete: incomplete.collect(),
        ..Known::default()
    }
}

/// A warning for each backup of the line that is not whole, and one for those that nobody trusted signed.
pub(super) fn uncounted(known: &Known, backups: &[Backup], lineage: &Lineage, target: &TargetName) -> Vec<Diagnostic> {
    let line = || backups.iter().filter(|backup| backup.lineage() == *lineage);
    let unsigned: Vec<&BackupId> = line()
        .map(|backup| &backup.record.id)
        .filter(|id| known.unsigned.contains(*id))
        .collect();
    let unsigned = unsigned.last().map(|newest| {
        let what = match unsigned.len() {
            1 => format!("target `{target}`: backup `{newest}` is not signed by anyone who is trusted"),
            count => format!(
                "target `{target}`: {count} backups up to `{newest}` are not signed by anyone who is trusted"
            ),
        };
        Diagnostic::warning(Code::Unsigned, what)
            .state("no rule counts them, and they were not removed")
            .help(
                "name who made them under `[signers]`; what was made before signing began, or by somebody else, goes with \
                 `strongroom forget`",
            )
    });
    let lacking = line().filter_map(|backup| Some((&backup.record.id, known.incomplete.get(&backup.record.id)?)));
    lacking
        .map(|(id, lacks)| {
            Diagnostic::warning(
                Code::Damaged,
                format!("target `{target}`: backup `{id}` is not whole: {lacks}"),
            )
            .state("no rule counts it, and it was not removed")
            .help("copy what is missing from another target, or let the backup go: `strongroom forget`")
        })
        .chain(unsigned)
        .collect()
}

/// The warning of a policy that was not applied.
pub(super) fn retention_held_back(target: &TargetName, held: &HeldBack<'_>, share: Share) -> Diagnostic {
    let what = format!("target `{target}`: {}", held.because);
    let warning =
        Diagnostic::warning(Code::RetentionHeldBack, what).state("nothing was removed, and the new backup stands");
    match held.because {
        retention::Because::TooMany { .. } => warning
            .why(format!("`max-remove` is {share}"))
            .help("look at the policy; where so many are meant to go, raise `max-remove` for one run with `--set`"),
        retention::Because::TooFewVerified { wanted, .. } => warning
            .why(format!(
                "`min-verified` is {wanted}, and this host's journal knows of fewer backups that were read back or verified"
            ))
            .help("run a pipeline with `select` and `verify` over older backups, or lower `min-verified`"),
    }
}

/// A row for each backup.
pub(super) fn rows(target: &TargetName, chosen: &Chosen<'_>) -> Vec<Vec<String>> {
    let row = |backup: &Backup, is: &str, because: String| {
        let id = backup.record.id.to_string();
        vec![target.to_string(), id, is.to_owned(), because]
    };
    let kept = chosen
        .keep
        .iter()
        .map(|(backup, reasons)| row(backup, "kept", reasons.join(", ")));
    let removed = chosen
        .remove
        .iter()
        .map(|backup| row(backup, "removed", NO_RULE.to_owned()));
    kept.chain(removed).collect()
}
