//! `retention` on real backups: what rules would keep and remove, why, and what that would free. Changes nothing and needs no
//! state.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::archive::layout;
use crate::archive::policy::Policy;
use crate::archive::repository::{Backup, Lineage};
use crate::archive::retention::{self, Chosen, Known, Rules};
use crate::archive::survey::Survey;
use crate::archive::sweep::Amount;
use crate::diagnostic::Diagnostic;
use crate::id::{BackupId, PipelineName, TargetName};
use crate::outcome::{Outcome, Table};
use crate::state::StateFolder;
use crate::steps::retain::Retain;
use crate::target::Target;
use crate::units::{ByteCount, Share};

use super::super::evidence::verified_in;
use super::super::retain::{NO_RULE, backups_of, known_of, retention_held_back, uncounted};
use super::super::signing::unsigned;
use super::super::stores::state_of;
use super::super::sweeping::held_back;
use super::{Failure, Upkeep};

/// Rules to try.
pub(crate) struct Rule {
    pub(crate) policy: Policy,
    pub(crate) max_remove: Share,
    pub(crate) min_verified: u32,
    /// In these targets; empty for all.
    pub(crate) targets: Vec<TargetName>,
    /// On the backups of this pipeline; `None` for all.
    pub(crate) pipeline: Option<PipelineName>,
}

impl Rule {
    /// The rules of a step, for the backups of its pipeline.
    pub(crate) fn of_step(retain: &Retain, pipeline: &PipelineName) -> Self {
        Self {
            policy: retain.policy(),
            max_remove: retain.max_remove(),
            min_verified: retain.min_verified(),
            targets: retain.targets.clone(),
            pipeline: Some(pipeline.clone()),
        }
    }
}

/// What is tried.
pub(crate) struct Trial {
    pub(crate) rules: Vec<Rule>,
    pub(crate) now: Timestamp,
}

/// What came of it, in all targets.
#[derive(Default)]
struct Answer {
    keep: BTreeSet<BackupId>,
    remove: BTreeSet<BackupId>,
    reasons: BTreeMap<BackupId, Vec<String>>,
    rows: Vec<Vec<String>>,
    lines: Vec<Value>,
    freed: Amount,
}

/// Tries rules on the backups of an environment.
pub(crate) async fn trial(upkeep: &Upkeep<'_>, trial: &Trial) -> Outcome {
    let mut outcome = Outcome::new("retention", "");
    let mut answer = Answer::default();
    if let Err(failure) = answer.take_all(upkeep, trial, &mut outcome.diagnostics).await {
        return Outcome::failed("retention", "", failure);
    }
    answer.describe(&mut outcome);
    let name = upkeep.name;
    for diagnostic in &mut outcome.diagnostics {
        diagnostic.environment.get_or_insert_with(|| name.to_string());
    }
    outcome
}

impl Answer {
    async fn take_all(
        &mut self,
        upkeep: &Upkeep<'_>,
        trial: &Trial,
        warnings: &mut Vec<Diagnostic>,
    ) -> Result<(), Failure> {
        let path = state_of(upkeep.environment, upkeep.project, upkeep.name);
        let state = StateFolder::existing(&path).map_err(|error| vec![Diagnostic::of(&error)])?;
        let (targets, left_out) = upkeep.targets().await?;
        warnings.extend(left_out);
        for target in targets {
            let rules = trial.rules.iter();
            let rules: Vec<&Rule> = rules
                .filter(|rule| rule.targets.is_empty() || rule.targets.contains(target.name()))
                .collect();
            if rules.is_empty() {
                continue;
            }
            let survey = Survey::take(&target)
                .await
                .map_err(|error| vec![Diagnostic::of(&error)])?;
            let Some(survey) = survey else { continue };
            let backups = backups_of(&survey, upkeep.name);
            let known = Known {
                unsigned: unsigned(upkeep.environment, backups.iter()).await,
                ..known_of(&survey, upkeep.name)
            };
            let place = Surveyed {
                target: &target,
                backups,
                known,
                survey,
            };
            let mut gone = BTreeSet::new();
            for rule in rules {
                gone.extend(self.take(&place, rule, trial.now, state.as_ref(), warnings)?);
            }
            match place.survey.needed_by_these_alone(&gone) {
                Some(listed) => self.freed.join(Amount::of(&listed)),
                None => warnings.push(held_back(target.name(), place.survey.doubts())),
            }
        }
        // What goes from one target and stays in another is still there.
        self.remove.retain(|id| !self.keep.contains(id));
        Ok(())
    }

    /// Applies a rule to each line of a target. Gives the records that would go.
    fn take(
        &mut self,
        place: &Surveyed<'_>,
        rule: &Rule,
        now: Timestamp,
        state: Option<&StateFolder>,
        warnings: &mut Vec<Diagnostic>,
    ) -> Result<BTreeSet<String>, Failure> {
        let target = place.target.name();
        let mut known = place.known.clone();
        if let Some(state) = state.filter(|_| rule.min_verified > 0) {
            known.verified = verified_in(state, target).map_err(|problem| vec![problem])?;
        }
        let rules = Rules {
            policy: &rule.policy,
            max_remove: rule.max_remove,
            min_verified: rule.min_verified,
            now,
        };
        let mut lines: Vec<Lineage> = place.backups.iter().map(Backup::lineage).collect();
        lines.retain(|line| rule.pipeline.as_ref().is_none_or(|pipeline| *pipeline == line.pipeline));
        lines.sort();
        lines.dedup();
        let mut gone = BTreeSet::new();
        for line in lines {
            warnings.extend(uncounted(&known, &place.backups, &line, target));
            match retention::choose(&place.backups, &line, &rules, &known) {
                Ok(chosen) => {
                    let removed = chosen.remove.iter().map(|backup| &backup.record);
                    gone.extend(removed.map(|record| layout::record(&record.environment, &record.id)));
                    self.line(target, &line, &chosen, None);
                }
                Err(held) => {
                    let warning = retention_held_back(target, &held, rule.max_remove);
                    warnings.push(warning.state("nothing would be removed there"));
                    self.line(target, &line, &held.chosen, Some(held.because.to_string()));
                }
            }
        }
        Ok(gone)
    }

    fn line(&mut self, target: &TargetName, line: &Lineage, chosen: &Chosen<'_>, held: Option<String>) {
        let is = if held.is_none() { "removed" } else { "held back" };
        let removed = chosen
            .remove
            .iter()
            .map(|backup| (*backup, is, vec![NO_RULE.to_owned()]));
        let kept = chosen
            .keep
            .iter()
            .map(|(backup, reasons)| (*backup, "kept", reasons.clone()));
        let mut backups: Vec<(&Backup, &str, Vec<String>)> = kept.chain(removed).collect();
        backups.sort_by(|a, b| a.0.rank().cmp(&b.0.rank()));
        let mut list = Vec::new();
        for (backup, is, because) in backups {
            let record = &backup.record;
            if is == "removed" {
                self.remove.insert(record.id.clone());
            } else {
                self.keep.insert(record.id.clone());
            }
            let said = self.reasons.entry(record.id.clone()).or_default();
            for reason in &because {
                if !said.contains(reason) {
                    said.push(reason.clone());
                }
            }
            self.rows.push(vec![
                target.to_string(),
                line.pipeline.to_string(),
                line.instance.to_string(),
                record.id.to_string(),
                record.started.clone(),
                is.to_owned(),
                because.join(", "),
            ]);
            list.push(
                json!({ "id": record.id, "started": record.started, "sequence": record.sequence, "is": is,
                "because": because }),
            );
        }
        self.lines.push(
            json!({ "target": target, "pipeline": line.pipeline, "instance": line.instance,
            "held-back": held, "backups": list }),
        );
    }

    fn describe(self, outcome: &mut Outcome) {
        outcome.headline = format!(
            "{} kept, {} removed, {} freed; nothing was changed",
            self.keep.len(),
            self.remove.len(),
            ByteCount(self.freed.bytes)
        );
        outcome.field(
            "freed",
            "would be freed",
            ByteCount(self.freed.bytes).to_string(),
            self.freed,
        );
        let mut table = Table {
            title: String::new(),
            columns: ["target", "pipeline", "instance", "backup", "made", "is", "because"]
                .map(String::from)
                .to_vec(),
            rows: Vec::new(),
        };
        table.rows = self.rows;
        if !table.rows.is_empty() {
            outcome.tables.push(table);
        }
        outcome.json.insert("keep".into(), json!(self.keep));
        outcome.json.insert("remove".into(), json!(self.remove));
        outcome.json.insert("reasons".into(), json!(self.reasons));
        outcome.json.insert("lines".into(), self.lines.into());
    }
}

/// A target, surveyed, with the backups of the environment.
struct Surveyed<'a> {
    target: &'a Target,
    survey: Survey,
    backups: Vec<Backup>,
    known: Known,
}
