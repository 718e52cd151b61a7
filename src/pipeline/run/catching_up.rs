//! Before the capture: targets that lack backups which the others of this run have are caught up, within a bound. One that
//! cannot be is left out and named.
//! What each is to have is in [`super::lagging`].

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::archive::catch_up::{Bounds, Ended, Lagging, NotCopied};
use crate::archive::epoch::HostEpochs;
use crate::archive::layout;
use crate::archive::repository::{Backup, Lineage, Listing, RepositoryError};
use crate::archive::retention;
use crate::diagnostic::{Code, Diagnose as _, Diagnostic};
use crate::id::{BackupId, TargetName};
use crate::target::Target;
use crate::units::{ByteCount, Span, counted};

use super::backup::NO_BACKUP;
use super::lagging::{self, Behind};
use super::{Failure, Runner};

/// How the catching up of one target ended.
enum Caught {
    /// It has all that could be copied.
    Up,
    /// It is still behind.
    Not(Diagnostic),
}

impl Runner<'_> {
    /// Catches up the targets that lag behind and gives those that take part in the backup. The listing tells of what was copied.
    ///
    /// # Errors
    /// When the run was told to stop, or the journal or a withdrawal failed.
    pub(super) async fn catch_up(
        &mut self,
        mut targets: Vec<Target>,
        listing: &mut Listing,
        (lineage, epochs): (&Lineage, &HostEpochs),
        required: usize,
    ) -> Result<Vec<Target>, Failure> {
        let time = self.plan.environment().maintenance.catch_up();
        if time.is_zero() {
            return Ok(targets);
        }
        let lacking = lagging::lacking(&targets, listing, lineage, |target| self.evidence.removed_from(target))?;
        let behind = lagging::behind(self.plan, self.context, lacking).await;
        let keys: Vec<(String, Bytes)> = epochs.0.iter().flat_map(|epoch| epoch.objects.clone()).collect();
        let bounds = self.bounds(time);
        let mut told = Vec::new();
        for behind in behind {
            let name = behind.target.name().clone();
            let problem = match self.catch_up_one(behind, listing, (&keys, &bounds), &mut told).await? {
                Caught::Up => continue,
                Caught::Not(problem) => problem,
            };
            if targets.len() > required.max(1) {
                targets.retain(|target| *target.name() != name);
                self.left_out(&name, &problem);
            } else {
                self.warn(takes_part(&name, problem));
            }
        }
        self.tell_caught_up(told);
        Ok(targets)
    }

    fn bounds(&self, time: Duration) -> Bounds {
        let half = self.plan.environment().maintenance.max_run() / 2;
        Bounds {
            clock: Arc::clone(&self.context.clock),
            until: self.context.clock.uptime().saturating_add(time),
            last: self.began.saturating_add(half),
            stop: Arc::clone(self.context.stop.flag()),
        }
    }

    async fn catch_up_one(
        &mut self,
        behind: Behind,
        listing: &mut Listing,
        (keys, bounds): (&[(String, Bytes)], &Bounds),
        told: &mut Vec<(TargetName, BackupId)>,
    ) -> Result<Caught, Failure> {
        let Behind { target, lacks, .. } = behind;
        let look = Lagging::look(&target, bounds.clone(), &self.context.events).await;
        let mut lagging = match look {
            Ok(lagging) => lagging,
            Err(error) => return Ok(Caught::Not(Diagnostic::of(&error))),
        };
        for (place, backup) in lacks.iter().enumerate() {
            let id = &backup.record.id;
            match lagging.take(backup, keys).await {
                Ok(()) => {
                    self.evidence.backup_caught_up(target.name(), backup)?;
                    let listed = listing.backups.iter_mut().find(|other| other.record.id == *id);
                    if let Some(listed) = listed {
                        listed.targets.push(target.clone());
                    }
                    told.push((target.name().clone(), id.clone()));
                }
                Err(Ended::PassedOver(why)) => self.warn(passed_over(&target, id, &why)),
                Err(Ended::Swept(error)) => {
                    self.withdraw_copy(&target, backup, &error).await?;
                    self.warn(swept_meanwhile(&target, id, &error));
                }
                Err(Ended::Target(error)) => return Ok(Caught::Not(Diagnostic::of(&error))),
                Err(Ended::Stopped) => return Err(vec![self.stopped(NO_BACKUP)]),
                Err(Ended::Late) => {
                    let copied = lagging.copied().bytes;
                    return Ok(Caught::Not(self.late(lacks.len() - place, copied)));
                }
            }
        }
        Ok(Caught::Up)
    }

    async fn withdraw_copy(
        &mut self,
        target: &Target,
        backup: &Backup,
        error: &RepositoryError,
    ) -> Result<(), Failure> {
        let record = &backup.record;
        self.evidence
            .delete_intended(target.name(), &record.id, &error.to_string())?;
        retention::remove(target, record).await.map_err(|failed| {
            let object = layout::record(&record.environment, &record.id);
            let state = format!(
                "`{object}` lies in target `{}` and is not whole there: do not rely on it",
                target.name()
            );
            vec![Diagnostic::of(&failed).state(state)]
        })?;
        self.evidence.deleted(target.name(), &record.id)
    }

    fn late(&self, left: usize, copied: u64) -> Diagnostic {
        let time = Span(self.plan.environment().maintenance.catch_up());
        let what = format!(
            "it lacks {} that the others have, and the time to catch up is over",
            counted(left as u64, "backup")
        );
        Diagnostic::warning(Code::TargetLeftOut, what)
            .why(format!(
                "`catch-up` is {time}; {} were copied in this run, and the next one goes on from there",
                ByteCount(copied)
            ))
            .help(
                "nothing is to be done where this ends after some runs; else raise `catch-up` under `[maintenance]` of the \
                 environment",
            )
    }

    fn tell_caught_up(&mut self, told: Vec<(TargetName, BackupId)>) {
        if told.is_empty() {
            return;
        }
        let names: BTreeSet<&str> = told.iter().map(|(target, _)| target.as_str()).collect();
        let names: Vec<&str> = names.into_iter().collect();
        let text = format!(
            "{} copied into {}",
            counted(told.len() as u64, "backup"),
            names.join(", ")
        );
        let copied = told.iter();
        let copied = copied.map(|(target, backup)| serde_json::json!({ "target": target, "backup": backup }));
        let copied: Vec<serde_json::Value> = copied.collect();
        self.outcome.field("caught-up", "caught up", text, copied);
    }
}

const STANDS: &str = "it is as it was where it lies, and this backup goes into all targets";

/// The warning of a backup that was not copied.
fn not_copied(target: &Target, id: &BackupId, why: String, help: Option<String>) -> Diagnostic {
    let what = format!(
        "backup `{id}` was not copied into target `{}`, which lacks it",
        target.name()
    );
    let mut warning = Diagnostic::warning(Code::NotCaughtUp, what).why(why).state(STANDS);
    warning.help = help;
    warning
}

fn passed_over(target: &Target, id: &BackupId, why: &NotCopied) -> Diagnostic {
    let reason = match why {
        NotCopied::Damaged(RepositoryError::Target { target, source }) => format!("{why}: target `{target}`: {source}"),
        NotCopied::Damaged(error) => format!("{why}: {error}"),
        NotCopied::Doomed { .. } | NotCopied::InTheWay { .. } | NotCopied::Keys(_) => why.to_string(),
    };
    not_copied(target, id, reason, why.help())
}

fn swept_meanwhile(target: &Target, id: &BackupId, error: &RepositoryError) -> Diagnostic {
    let help = "nothing is to be done: the backups made from now on go into all targets";
    not_copied(target, id, error.to_string(), Some(help.into()))
}

/// The warning of a target that lags behind and takes part all the same: without it too few would be left.
fn takes_part(target: &TargetName, problem: Diagnostic) -> Diagnostic {
    let what = format!("target `{target}` still lacks backups that the others have");
    let mut warning = Diagnostic::warning(Code::NotCaughtUp, what)
        .why(match &problem.why {
            Some(why) => format!("{}: {why}", problem.what),
            None => problem.what.clone(),
        })
        .state("it takes part, since too few would be left without it; what it lacks now is not copied later");
    warning.help = problem.help;
    warning
}
