//! `sweep`: deletes what no backup needs and was listed long enough, lists the rest.

use crate::archive::survey::Survey;
use crate::archive::sweep::{Amount, Settings, SweepError, Sweeper};
use crate::diagnostic::{Code, Diagnostic};
use crate::outcome::{Outcome, Table};
use crate::target::Target;
use crate::units::{ByteCount, Span};

use super::super::evidence::Told;
use super::super::retain::unreadable_list;
use super::super::sweeping;
use super::{Failure, Keeper, Upkeep, stopped};

/// Whether anything is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sweep {
    /// It is.
    Do,
    /// It is only said.
    Say,
}

/// What came of one target.
struct Row {
    target: String,
    deleted: Amount,
    listed: Amount,
    waiting: Amount,
}

/// Sweeps the targets of an environment.
pub(crate) async fn sweep(upkeep: &Upkeep<'_>, mode: Sweep) -> Outcome {
    if mode == Sweep::Say {
        return say(upkeep).await;
    }
    match Keeper::begin("sweep", upkeep) {
        Ok(mut keeper) => {
            let result = keeper.sweep_all().await;
            keeper.end(result)
        }
        Err(failure) => Outcome::failed("sweep", "", failure),
    }
}

impl Keeper<'_> {
    async fn sweep_all(&mut self) -> Result<(), Failure> {
        let settings = sweeping::settings(self.upkeep.environment, self.upkeep.context);
        let (mut rows, mut problems) = (Vec::new(), Vec::new());
        let (targets, warnings) = self.upkeep.targets().await?;
        for warning in warnings {
            self.warn(warning);
        }
        for target in targets {
            // One target that cannot be swept does not keep the others from it.
            match self.sweep_one(&target, &settings).await {
                Ok(row) => rows.extend(row),
                Err(failure) => problems.extend(failure),
            }
            self.check_stop("what was deleted no backup needed")?;
        }
        describe(&mut self.outcome, &rows, &settings, "deleted");
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    async fn sweep_one(&mut self, target: &Target, settings: &Settings) -> Result<Option<Row>, Failure> {
        let unusable = |error| vec![Diagnostic::of(&error).state("nothing was deleted there")];
        let Some(mut sweeper) = Sweeper::begin(target, settings).await.map_err(unusable)? else {
            return Ok(None);
        };
        if !sweeper.survey().doubts().is_empty() {
            return Err(doubts(sweeper.survey()));
        }
        let mut told = Told::new(&mut self.evidence, target.name());
        let swept = sweeper.sweep(&mut told).await;
        for list in &sweeper.swept().unreadable {
            self.warn(unreadable_list(target.name(), list));
        }
        match swept {
            Ok(()) => {}
            Err(SweepError::Doubt) => return Err(doubts(sweeper.survey())),
            Err(SweepError::Stopped) => {
                return Err(vec![stopped(self.upkeep.context, "what was deleted no backup needed")]);
            }
            Err(error) => {
                return Err(sweeping::failure(
                    error,
                    target.name(),
                    sweeper.survey().doubts(),
                    settings,
                ));
            }
        }
        let listed = sweeper.swept().listed;
        let standing = sweeper.standing(jiff::Timestamp::MIN);
        let waiting = standing.map_or(listed, |standing| Amount::of(&standing.waiting));
        Ok(Some(Row {
            target: target.name().to_string(),
            deleted: sweeper.swept().deleted,
            listed,
            waiting: Amount {
                objects: waiting.objects.saturating_sub(listed.objects),
                bytes: waiting.bytes.saturating_sub(listed.bytes),
            },
        }))
    }
}

/// Each doubt as a problem of its own.
fn doubts(survey: &Survey) -> Failure {
    let doubts = survey.doubts().iter();
    doubts
        .map(|doubt| {
            let mut problem = Diagnostic::of(doubt).state("nothing was deleted in this target");
            problem
                .why
                .get_or_insert_with(|| "what a backup needs must be known before anything is deleted".into());
            problem
        })
        .collect()
}

/// Says what a sweep would do now. The host's clock stands in for the store's.
async fn say(upkeep: &Upkeep<'_>) -> Outcome {
    let mut outcome = Outcome::new("sweep", "");
    let settings = sweeping::settings(upkeep.environment, upkeep.context);
    let targets = match upkeep.targets().await {
        Ok((targets, warnings)) => {
            outcome.diagnostics.extend(warnings);
            targets
        }
        Err(failure) => return Outcome::failed("sweep", "", failure),
    };
    let now = upkeep.context.clock.now().timestamp();
    let mut rows = Vec::new();
    for target in &targets {
        match would(target, &settings, now).await {
            Ok(row) => rows.extend(row),
            Err(failure) => outcome.diagnostics.extend(failure),
        }
    }
    describe(&mut outcome, &rows, &settings, "would be deleted");
    outcome
}

async fn would(target: &Target, settings: &Settings, now: jiff::Timestamp) -> Result<Option<Row>, Failure> {
    let unusable = |error| vec![Diagnostic::of(&error).state("nothing was changed")];
    let Some(sweeper) = Sweeper::begin(target, settings).await.map_err(unusable)? else {
        return Ok(None);
    };
    if !sweeper.survey().doubts().is_empty() {
        return Err(doubts(sweeper.survey()));
    }
    let standing = sweeper.standing(now).ok_or_else(|| {
        vec![Diagnostic::error(
            Code::Internal,
            "the survey has doubts that it did not tell",
        )]
    })?;
    Ok(Some(Row {
        target: target.name().to_string(),
        deleted: Amount::of(&standing.due),
        listed: Amount::of(&standing.unlisted),
        waiting: Amount::of(&standing.waiting),
    }))
}

fn describe(outcome: &mut Outcome, rows: &[Row], settings: &Settings, verb: &str) {
    let (mut deleted, mut listed) = (Amount::default(), Amount::default());
    let mut table = Table {
        title: String::new(),
        columns: ["target", "deleted", "newly listed", "waiting"]
            .map(String::from)
            .to_vec(),
        rows: Vec::new(),
    };
    let cell = |amount: Amount| match amount.objects {
        0 => "none".to_owned(),
        count => format!("{count} objects, {}", ByteCount(amount.bytes)),
    };
    let mut list = Vec::new();
    for row in rows {
        deleted.join(row.deleted);
        listed.join(row.listed);
        table.rows.push(vec![
            row.target.clone(),
            cell(row.deleted),
            cell(row.listed),
            cell(row.waiting),
        ]);
        list.push(serde_json::json!({
            "target": row.target, "deleted": row.deleted, "listed": row.listed, "waiting": row.waiting,
        }));
    }
    outcome.headline = match deleted.objects {
        0 => format!("nothing {verb}"),
        count => format!("{count} objects {verb}, {} freed", ByteCount(deleted.bytes)),
    };
    if listed.objects > 0 {
        let grace = Span(settings.grace);
        outcome.headline += &format!("; {} more may go in {grace}", ByteCount(listed.bytes));
    }
    outcome.field("grace", "grace", Span(settings.grace).to_string(), Span(settings.grace));
    if !table.rows.is_empty() {
        outcome.tables.push(table);
    }
    outcome.json.insert("targets".into(), list.into());
}
