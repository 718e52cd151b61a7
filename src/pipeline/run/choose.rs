//! `Chosen → Verified`: finds the backup that is asked for and checks it. Nothing present is touched.

use std::path::Path;
use std::sync::Arc;

use crate::archive::check;
use crate::archive::keys::Opening;
use crate::archive::record::Record;
use crate::archive::repository::{self, Backup, Listing};
use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::event::Events;
use crate::id::{EnvName, Instance, PipelineName, SourceName};
use crate::pipeline::environment::Environment;
use crate::steps::select::Select;
use crate::steps::verify::Level;
use crate::target::Target;
use crate::units::counted;

use super::context::Damaged;
use super::crossing::Origin;
use super::known::Memory;
use super::redaction::Redaction;
use super::signing::check_signed;
use super::stores::{Keys, open_targets};
use super::wanted::Wanted;
use super::{Failure, Opener, Runner, UNTOUCHED, part, with_state};

/// What else can be done where a restore goes into a folder.
const PAST_DAMAGE: &str = "use another target or another backup; copy the damaged one away before anything else. `--past-damage` \
                           restores what can be had of it";

/// A backup to work on.
pub(super) struct Chosen {
    backup: Backup,
}

/// A chosen backup that was checked in one of its targets.
pub(super) struct Verified {
    pub(super) record: Record,
    pub(super) target: Target,
    pub(super) opening: Opening,
    /// What is taken out of it on its way.
    pub(super) redaction: Redaction,
    /// What can be had of it.
    pub(super) standing: Standing,
    level: Level,
}

/// What can be had of a backup.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// All of it.
    Whole,
    /// No target has all of it, and the operator asked for the rest.
    Damaged,
}

/// Why a backup is not taken from a target.
enum Unsound {
    /// Nothing of it may be taken from there.
    Refused(Diagnostic),
    /// What is stored is damaged, and nothing is wrong with who made it, or that was accepted.
    Damaged {
        problem: Diagnostic,
        accepted: Option<Diagnostic>,
    },
}

impl Chosen {
    pub(super) fn summary(&self) -> String {
        let record = &self.backup.record;
        let names: Vec<&str> = self.backup.targets.iter().map(|t| t.name().as_str()).collect();
        format!("{} of {}, in {}", record.id, record.started, names.join(", "))
    }
}

impl Verified {
    pub(super) fn summary(&self) -> String {
        let what = match self.level {
            Level::Objects => "every object has its digest",
            Level::Content => "every object and every content has its digest",
        };
        let what = match self.standing {
            Standing::Whole => what,
            Standing::Damaged => "damaged, to be restored as far as it can be had",
        };
        format!("{what}, in {}", self.target.name())
    }
}

impl Runner<'_> {
    /// Chooses a backup.
    pub(super) async fn select(&mut self, select: &Select) -> Result<Chosen, Failure> {
        let origin = Origin::of(self.plan, select, self.options, self.context)?;
        let meant = (select.targets.as_slice(), self.options.targets.as_slice());
        let project = self.plan.project();
        let opened = if let Some(Origin { environment, .. }) = &origin {
            let mut keys = Keys::unread(environment, project, self.context);
            open_targets(environment, project, meant, &mut keys, None).await
        } else {
            let mut keys = Keys::Known(self.evidence.secrets());
            open_targets(self.plan.environment(), project, meant, &mut keys, None).await
        };
        let opened = opened.map_err(|failure| with_state(failure, UNTOUCHED))?;
        let (targets, warnings) = opened.with_warnings();
        for warning in warnings {
            self.warn(warning);
        }
        let whose = origin.as_ref().map_or_else(
            || (self.plan.environment_name(), self.plan.environment()),
            |origin| (&origin.name, &origin.environment),
        );
        let backup = choose(&targets, whose, project, select).await;
        let (backup, warnings) = backup.map_err(|failure| with_state(failure, UNTOUCHED))?;
        for warning in warnings {
            self.warn(warning);
        }
        let record = &backup.record;
        self.outcome
            .field("backup", "backup", record.id.to_string(), &record.id);
        self.outcome
            .field("made", "made", record.started.clone(), &record.started);
        if let Some(drill) = &mut self.drill {
            drill.backup = Some(record.id.clone());
        }
        self.evidence.chosen(&backup.record, self.plan.environment_name())?;
        let misfits = Redaction::of(self.plan).misfits(&backup.record);
        if !misfits.is_empty() {
            return Err(misfits);
        }
        if let Some(origin) = origin {
            self.cross(&origin, &backup.record)?;
            self.opener = Opener::new(&origin.environment, self.options.identity.as_deref());
            self.from = Some(origin);
        }
        self.choose_part(&backup).await?;
        Ok(Chosen { backup })
    }

    /// Looks for the part that is wanted before hours go into a check of the whole.
    async fn choose_part(&mut self, backup: &Backup) -> Result<(), Failure> {
        let wanted = Wanted::new(self.options)?;
        if wanted.is_everything() {
            return Ok(());
        }
        let opening = self.opening(&backup.targets, &backup.record).await?;
        let surveyed = tokio::select! {
            surveyed = part::survey((backup, &opening), wanted) => surveyed,
            () = self.context.stop.token().cancelled() => return Err(vec![self.stopped(UNTOUCHED)]),
        };
        let (part, warnings) = surveyed?;
        for warning in warnings {
            self.warn(warning);
        }
        self.part = Some(Arc::new(part));
        Ok(())
    }

    /// How the objects of a backup are opened: by what the environment that it is from says, where that is another one.
    pub(super) async fn opening(&mut self, targets: &[Target], record: &Record) -> Result<Opening, Failure> {
        let mut keys = match &self.from {
            Some(origin) => Keys::unread(&origin.environment, self.plan.project(), self.context),
            None => Keys::Known(self.evidence.secrets()),
        };
        let opened = self.opener.open_record(targets, record, &mut keys).await;
        opened.map_err(|problem| vec![problem.state(UNTOUCHED)])
    }

    /// Checks the backup in its targets, one after the other until one is whole.
    pub(super) async fn verify(&mut self, chosen: Chosen, level: Level) -> Result<Verified, Failure> {
        let Backup {
            mut record,
            targets,
            bytes,
        } = chosen.backup;
        // Whether there is a key is to be known before an hour went into the check.
        let opening = self.opening(&targets, &record).await?;
        if let Opening::Epoch(keys) = &opening {
            record.unlock(&keys.chunk_key);
        }
        let locked = record.sources.iter().find(|source| source.locked_head.is_some());
        if let Some(source) = locked {
            return Err(vec![still_locked(&record, &source.name)]);
        }
        let (mut problems, mut damaged): (Vec<Diagnostic>, _) = (Vec::new(), None);
        let mut sound = None;
        for target in targets {
            let checked = tokio::select! {
                checked = check(&target, (&record, &bytes), (level, &opening), self) => checked,
                () = self.context.stop.token().cancelled() => return Err(vec![self.stopped(UNTOUCHED)]),
            };
            match checked {
                Ok(accepted) => {
                    sound = Some((target, accepted));
                    break;
                }
                Err(unsound) => {
                    let is_wanted = self.options.damaged == Damaged::Salvaged;
                    let mut problem = match unsound {
                        Unsound::Refused(problem) => problem,
                        Unsound::Damaged { problem, .. } if !is_wanted && self.options.to.is_some() => {
                            problem.help(PAST_DAMAGE)
                        }
                        Unsound::Damaged { problem, accepted } => {
                            if is_wanted && damaged.is_none() {
                                damaged = Some((target.clone(), accepted));
                            }
                            problem
                        }
                    };
                    problem = record.of_copy(target.name(), problem).state(UNTOUCHED);
                    problems.push(problem);
                }
            }
        }
        let (target, accepted, standing) = match (sound, damaged) {
            (Some((target, accepted)), _) => (target, accepted, Standing::Whole),
            (None, Some((target, accepted))) => (target, accepted, Standing::Damaged),
            (None, None) => return Err(problems),
        };
        for mut problem in problems {
            problem.severity = Severity::Warning;
            self.warn(problem);
        }
        if let Some(unsigned) = accepted {
            self.evidence.warned(&unsigned)?;
            self.warn(unsigned);
        }
        if standing == Standing::Whole {
            self.evidence.verified(&record, target.name())?;
        }
        Ok(Verified {
            record,
            target,
            opening,
            redaction: Redaction::default(),
            standing,
            level,
        })
    }
}

/// The problem of a record whose account of a log does not open with the keys of its epoch: what it replaces could not be
/// compared with it.
fn still_locked(record: &Record, source: &SourceName) -> Diagnostic {
    let what = format!(
        "the record of backup `{}` is damaged: where the log `{source}` ended cannot be read",
        record.id
    );
    Diagnostic::error(Code::Damaged, what)
        .why("it is locked, and the keys of the backup's epoch do not open it")
        .state(UNTOUCHED)
        .help("use the record of another target, or another backup; look who changed this one")
}

/// Finds the backup that `select` names.
pub(super) async fn choose(
    targets: &[Target],
    (environment, settings): (&EnvName, &Environment),
    project: &Path,
    select: &Select,
) -> Result<(Backup, Vec<Diagnostic>), Failure> {
    let mut wanted = select.backup.as_str();
    if let Some((prefix, rest)) = wanted.split_once('/') {
        if prefix != environment.as_str() {
            let what = format!("`{wanted}` is a backup of another environment than `{environment}`");
            return Err(vec![Diagnostic::error(Code::Fenced, what).help(format!(
                "run it with `--env {prefix}`, or take the backup from there: `--from {prefix}`"
            ))]);
        }
        wanted = rest;
    }
    let mut listing = repository::list(targets, environment).await;
    let fits = |pipeline: &PipelineName, instance: &Instance| {
        select.pipeline.as_ref().is_none_or(|p| p == pipeline) && select.instance.as_ref().is_none_or(|i| i == instance)
    };
    let memory = Memory::open(settings, project, environment);
    memory.compare(&mut listing, targets);
    if repository::is_latest(wanted) {
        let newer = memory.newer(&listing, targets, None, fits);
        listing.warnings.extend(newer);
    }
    match listing.choose(wanted, |record| fits(&record.pipeline, &record.instance)) {
        Ok(backup) => {
            let backup = backup.clone();
            let incomplete = incomplete(&backup, &listing);
            listing.warnings.extend(incomplete);
            Ok((backup, listing.warnings))
        }
        Err(error) => Err(listing.why_none(&error)),
    }
}

/// The warning of a backup that was made with warnings.
fn incomplete(backup: &Backup, listing: &Listing) -> Option<Diagnostic> {
    let record = &backup.record;
    if record.warnings == 0 {
        return None;
    }
    let (id, count) = (&record.id, counted(record.warnings, "warning"));
    let of = record.sources.iter().filter(|source| source.warnings > 0);
    let of: Vec<String> = of
        .map(|source| format!("{} of `{}`", source.warnings, source.name))
        .collect();
    let lineage = backup.lineage();
    let clean = listing.line(&lineage).filter(|other| other.record.warnings == 0);
    let clean = clean.max_by(|a, b| a.rank().cmp(&b.rank())).map_or_else(
        || "no backup here was made without".to_owned(),
        |clean| {
            format!(
                "the newest without is `{}` of {}",
                clean.record.id, clean.record.started
            )
        },
    );
    let why = format!(
        "entries were left out because they could not be read, or are in doubt because they changed: {}",
        of.join(", ")
    );
    let problem = Diagnostic::warning(Code::BackupIncomplete, format!("backup `{id}` was made with {count}"));
    Some(problem.why(why).state("what it lacks does not come back from it").help(format!(
        "the journal of the host that made it names each entry (`strongroom journal show`), `strongroom find NAME` the backups that \
         have it; {clean}"
    )))
}

async fn check(
    target: &Target,
    (record, bytes): (&Record, &[u8]),
    (level, opening): (Level, &Opening),
    runner: &Runner<'_>,
) -> Result<Option<Diagnostic>, Unsound> {
    let trusting = runner.options.trust_unsigned;
    // Who may have made it stands where it was made.
    let environment = runner
        .from
        .as_ref()
        .map_or(runner.plan.environment(), |origin| &origin.environment);
    let accepted = check_signed(environment, target, (record, bytes), trusting).await;
    let accepted = accepted.map_err(Unsound::Refused)?;
    match check_stored(target, record, (level, opening), &runner.context.events).await {
        Ok(()) => Ok(accepted),
        Err(problem) if problem.code == Code::Damaged => Err(Unsound::Damaged { problem, accepted }),
        Err(problem) => Err(Unsound::Refused(problem)),
    }
}

async fn check_stored(
    target: &Target,
    record: &Record,
    (level, opening): (Level, &Opening),
    events: &Events,
) -> Result<(), Diagnostic> {
    check::stored(target, record, (level == Level::Content).then_some(opening), events)
        .await
        .map_err(|error| Diagnostic::of(&error))
}
