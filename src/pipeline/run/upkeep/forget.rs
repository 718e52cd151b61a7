//! `forget`: lets single backups go, whatever the rules say. Their records go at once; what only they needed goes by a sweep, or
//! at once where the operator purges.

mod chosen;

use std::collections::BTreeSet;

use crate::archive::layout;
use crate::archive::survey::{Held, Survey};
use crate::archive::sweep::{Amount, SweepError, Sweeper};
use crate::diagnostic::Diagnostic;
use crate::id::PipelineName;
use crate::outcome::{Outcome, Table};
use crate::target::Target;
use crate::units::{ByteCount, Span, counted};

use super::super::evidence::Told;
use super::super::fence::Act;
use super::super::known;
use super::super::stores::state_of;
use super::super::sweeping::{self, held_back};
use super::{Failure, Keeper, Upkeep, stopped};
use chosen::{Victim, choose};

/// What is to be let go.
pub(crate) struct Forget {
    /// Ids, unique prefixes, `latest`, `latest~1`.
    pub(crate) backups: Vec<String>,
    /// Only backups of this pipeline.
    pub(crate) pipeline: Option<PipelineName>,
    /// Whether the newest of a line may be among them.
    pub(crate) newest: Newest,
    /// What becomes of the objects.
    pub(crate) objects: Objects,
}

/// Whether the newest backup of a line may be let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Newest {
    /// It stays.
    Stays,
    /// The operator said a further word.
    MayGo,
}

/// What becomes of objects that only the forgotten backups needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Objects {
    /// They are listed, and a later sweep deletes them.
    Listed,
    /// They are deleted at once.
    Purged,
    /// Nothing is done; it is only said what would be.
    Told,
}

const FORGET: Act<'static> = Act {
    does: "removes backups of",
    doing: "removing its backups",
    untouched: "no backup was removed",
    before: "",
};

/// A target as it was found.
struct Place {
    target: Target,
    survey: Survey,
}

/// Lets backups go.
pub(crate) async fn forget(upkeep: &Upkeep<'_>, request: &Forget) -> Outcome {
    if request.objects == Objects::Told {
        return match look(upkeep, request).await {
            Ok((places, victims, warnings)) => told(upkeep, &places, &victims, warnings),
            Err(failure) => Outcome::failed("forget", "", failure),
        };
    }
    match Keeper::begin("forget", upkeep) {
        Ok(mut keeper) => {
            let result = keeper.forget_all(request).await;
            keeper.end(result)
        }
        Err(failure) => Outcome::failed("forget", "", failure),
    }
}

/// Surveys the targets and finds what is meant. Nothing is changed.
async fn look(upkeep: &Upkeep<'_>, request: &Forget) -> Result<(Vec<Place>, Vec<Victim>, Vec<Diagnostic>), Failure> {
    let mut places = Vec::new();
    let (targets, mut warnings) = upkeep.targets().await?;
    for target in targets {
        let survey = Survey::take(&target).await.map_err(|error| {
            let help = format!("leave `{}` out with `--target`, or see that it answers", target.name());
            vec![Diagnostic::of(&error).state("no backup was removed").help(help)]
        })?;
        if let Some(survey) = survey {
            places.push(Place { target, survey });
        }
    }
    match choose(upkeep.name, &places, request, &mut warnings) {
        Ok(victims) => Ok((places, victims, warnings)),
        // What is not found may lie in a target that is not what it was.
        Err(mut failure) => {
            failure.append(&mut warnings);
            Err(failure)
        }
    }
}

impl Keeper<'_> {
    async fn forget_all(&mut self, request: &Forget) -> Result<(), Failure> {
        // No run of this host may be reading what goes at once, or be about to rely on it.
        if request.objects == Objects::Purged {
            self.evidence.exclude_others(&self.verb, None, self.upkeep.context)?;
        }
        let (places, victims, warnings) = look(self.upkeep, request).await?;
        for warning in warnings {
            self.warn(warning);
        }
        self.confirm(&FORGET).await?;
        let (mut freed, mut listed) = (Amount::default(), Amount::default());
        for Place { target, .. } in places {
            let (deleted, later) = self.forget_in(&target, &victims, request.objects).await?;
            freed.join(deleted);
            listed.join(later);
        }
        let what = counted(victims.len() as u64, "backup");
        let space = match request.objects {
            Objects::Purged => format!("{} freed", ByteCount(freed.bytes)),
            Objects::Listed | Objects::Told => {
                let grace = Span(self.upkeep.environment.maintenance.grace());
                format!("{} may be swept in {grace}", ByteCount(listed.bytes))
            }
        };
        self.outcome.headline = format!("{what} removed; {space}");
        self.outcome
            .field("freed", "freed", ByteCount(freed.bytes).to_string(), freed);
        self.outcome
            .field("listed", "to be freed", ByteCount(listed.bytes).to_string(), listed);
        describe(&mut self.outcome, &victims, "removed");
        Ok(())
    }

    /// Removes the victims that a target holds. Gives what was deleted and what was listed for later.
    async fn forget_in(
        &mut self,
        target: &Target,
        victims: &[Victim],
        objects: Objects,
    ) -> Result<(Amount, Amount), Failure> {
        let here: Vec<&Victim> = victims
            .iter()
            .filter(|victim| victim.targets.contains(target.name()))
            .collect();
        if here.is_empty() {
            return Ok((Amount::default(), Amount::default()));
        }
        let settings = sweeping::settings(self.upkeep.environment, self.upkeep.context);
        let unusable = |error| vec![Diagnostic::of(&error).state("the backups removed so far are gone")];
        // Surveyed anew: the operator may have taken a while to confirm.
        let Some(mut sweeper) = Sweeper::begin(target, &settings).await.map_err(unusable)? else {
            return Ok((Amount::default(), Amount::default()));
        };
        let survey = sweeper.survey();
        let doubtful = !survey.doubts().is_empty();
        let held = survey.held().filter(|held| is_among(held, &here));
        let needed: BTreeSet<String> = held.flat_map(Held::needs).collect();
        let mut swept = Ok(());
        if !doubtful {
            let mut told = Told::new(&mut self.evidence, target.name());
            swept = sweeper.void_lists(&mut told).await;
        }
        if swept.is_ok() {
            self.remove(&here, &mut sweeper).await?;
            if doubtful && sweeper.survey_again().await.map_err(unusable)? {
                self.warn(held_back(target.name(), sweeper.survey().doubts()));
                return Ok((Amount::default(), Amount::default()));
            }
            let mut told = Told::new(&mut self.evidence, target.name());
            swept = match objects {
                Objects::Purged => sweeper.purge(&needed, &mut told).await,
                Objects::Listed | Objects::Told => sweeper.list_unneeded(&mut told).await,
            };
        }
        let done = (sweeper.swept().deleted, sweeper.swept().listed);
        match swept {
            Ok(()) => Ok(done),
            Err(SweepError::Doubt) => {
                self.warn(held_back(target.name(), sweeper.survey().doubts()));
                Ok(done)
            }
            Err(SweepError::Stopped) => Err(vec![stopped(
                self.upkeep.context,
                "the backups are gone; a sweep takes what they left",
            )]),
            Err(error) => Err(sweeping::failure(
                error,
                target.name(),
                sweeper.survey().doubts(),
                &settings,
            )),
        }
    }

    async fn remove(&mut self, victims: &[&Victim], sweeper: &mut Sweeper<'_>) -> Result<(), Failure> {
        let target = sweeper.survey().target().clone();
        for victim in victims {
            self.check_stop("the backups removed so far are gone, the others are as they were")?;
            let object = layout::record(self.upkeep.name, &victim.id);
            self.evidence
                .delete_intended(target.name(), &victim.id, "the operator lets it go")?;
            target.delete(&object).await.map_err(|error| {
                let state = format!("`{}` is whole or gone in target `{}`", victim.id, target.name());
                vec![Diagnostic::of(&error).state(state)]
            })?;
            self.evidence.deleted(target.name(), &victim.id)?;
            let upkeep = self.upkeep;
            let state = state_of(upkeep.environment, upkeep.project, upkeep.name);
            known::let_go(&state, target.name(), &victim.id);
            sweeper.record_removed(&object);
        }
        Ok(())
    }
}

fn is_among(held: &Held, victims: &[&Victim]) -> bool {
    let record = &held.backup.record;
    victims
        .iter()
        .any(|victim| victim.id == record.id && victim.environment == record.environment)
}

/// Says what would go.
fn told(upkeep: &Upkeep<'_>, places: &[Place], victims: &[Victim], warnings: Vec<Diagnostic>) -> Outcome {
    let mut outcome = Outcome::failed("forget", "", warnings);
    let mut freed = Amount::default();
    for place in places {
        let here: Vec<&Victim> = victims
            .iter()
            .filter(|victim| victim.targets.contains(place.target.name()))
            .collect();
        let records: BTreeSet<String> = here
            .iter()
            .map(|victim| layout::record(upkeep.name, &victim.id))
            .collect();
        match place.survey.needed_by_these_alone(&records) {
            Some(listed) => freed.join(Amount::of(&listed)),
            None => outcome
                .diagnostics
                .push(held_back(place.target.name(), place.survey.doubts())),
        }
    }
    outcome.headline = format!(
        "{} would be removed, {} freed; nothing was done",
        counted(victims.len() as u64, "backup"),
        ByteCount(freed.bytes)
    );
    outcome.field("freed", "would be freed", ByteCount(freed.bytes).to_string(), freed);
    describe(&mut outcome, victims, "would be removed");
    outcome
}

fn describe(outcome: &mut Outcome, victims: &[Victim], is: &str) {
    let mut table = Table {
        title: String::new(),
        columns: ["backup", "made", "pipeline", "instance", "targets", "is"]
            .map(String::from)
            .to_vec(),
        rows: Vec::new(),
    };
    let mut list = Vec::new();
    for victim in victims {
        let targets: Vec<&str> = victim.targets.iter().map(crate::id::TargetName::as_str).collect();
        let (made, pipeline, instance) = match &victim.record {
            Some(record) => (
                record.started.clone(),
                record.pipeline.to_string(),
                record.instance.to_string(),
            ),
            None => ("?".into(), "?".into(), "?".into()),
        };
        table.rows.push(vec![
            victim.id.to_string(),
            made,
            pipeline,
            instance,
            targets.join(", "),
            is.to_owned(),
        ]);
        list.push(serde_json::json!({ "backup": victim.id, "targets": targets }));
    }
    outcome.tables.push(table);
    outcome.json.insert("removed".into(), list.into());
}
