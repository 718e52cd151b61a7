//! Retention: removes what no rule keeps, in the targets where the new backup was read back, each removal journalled first.

use crate::archive::repository::{self, Confirmed, Lineage};
use crate::archive::retention::{self, Removal};
use crate::diagnostic::{Code, Diagnostic};
use crate::outcome::Table;
use crate::steps::retain::Retain;
use crate::target::Target;
use crate::units::ByteCount;

use super::{Failure, Runner};

/// What retention did in all targets.
#[derive(Default)]
struct Done {
    kept: usize,
    removed: Vec<serde_json::Value>,
    freed: u64,
}

impl Runner<'_> {
    /// Applies the policy in each target that holds the confirmed backup; `settings.targets` may name some of them.
    pub(super) async fn retain(&mut self, confirmed: &Confirmed, settings: &Retain) -> Result<String, Failure> {
        let mut done = Done::default();
        let mut table = Table {
            title: "retention".into(),
            columns: ["target", "backup", "is", "because"].map(String::from).to_vec(),
            rows: Vec::new(),
        };
        let meant = |target: &&Target| settings.targets.is_empty() || settings.targets.contains(target.name());
        let targets: Vec<Target> = confirmed.targets().iter().filter(meant).cloned().collect();
        for target in &targets {
            self.retain_in(target, confirmed, settings, &mut done, &mut table)
                .await?;
        }
        let summary = format!(
            "{} kept, {} removed, {} freed",
            done.kept,
            done.removed.len(),
            ByteCount(done.freed)
        );
        self.outcome.field("retention", "retention", summary.clone(), &summary);
        self.outcome.json.insert("removed".into(), done.removed.into());
        self.outcome.tables.push(table);
        Ok(summary)
    }

    async fn retain_in(
        &mut self,
        target: &Target,
        confirmed: &Confirmed,
        settings: &Retain,
        done: &mut Done,
        table: &mut Table,
    ) -> Result<(), Failure> {
        let record = confirmed.record();
        let listing = repository::list(std::slice::from_ref(target), &record.environment).await;
        for warning in listing.warnings {
            self.warn(warning);
        }
        let lineage = Lineage {
            pipeline: record.pipeline.clone(),
            instance: record.instance.clone(),
        };
        let now = self.context.clock.now().timestamp();
        let (policy, share) = (settings.policy(), settings.max_remove());
        let chosen = match retention::choose(&listing.backups, &lineage, &record.id, &policy, share, now) {
            Ok(chosen) => chosen,
            Err(held) => {
                self.warn(
                    Diagnostic::warning(Code::RetentionHeldBack, format!("target `{}`: {held}", target.name()))
                        .why(format!("`max-remove` is {share}"))
                        .state("nothing was removed, and the new backup stands")
                        .help("look at the policy; where so many are meant to go, raise `max-remove` for one run with `--set`"),
                );
                return Ok(());
            }
        };
        done.kept += chosen.keep.len();
        for (id, reasons) in &chosen.keep {
            table.rows.push(vec![
                target.name().to_string(),
                id.to_string(),
                "kept".into(),
                reasons.join(", "),
            ]);
        }
        for backup in chosen.remove {
            self.check_stop()?;
            let removal = Removal::of(&backup.record);
            self.evidence.delete_intended(target.name(), &removal.id)?;
            let freed = retention::remove(target, &backup.record).await.map_err(|error| {
                let state = "the new backup stands; a removal that was begun is finished by the next run";
                vec![Diagnostic::of(&error).state(state)]
            })?;
            self.evidence.deleted(target.name(), &removal.id, freed)?;
            done.freed += freed;
            table.rows.push(vec![
                target.name().to_string(),
                removal.id.to_string(),
                "removed".into(),
                "no rule keeps it".into(),
            ]);
            done.removed
                .push(serde_json::json!({ "target": target.name(), "backup": removal.id, "freed-bytes": freed }));
        }
        Ok(())
    }
}
