//! Which backups an operator means, and whether they may go.

use std::collections::BTreeMap;

use crate::archive::layout;
use crate::archive::record::Record;
use crate::archive::repository::{Backup, Lineage, Listing};
use crate::diagnostic::{Code, Diagnose, Diagnostic};
use crate::id::{BackupId, EnvName, TargetName};

use super::super::Failure;
use super::{Forget, Newest, Place};

/// A backup that is to go.
pub(super) struct Victim {
    pub(super) id: BackupId,
    pub(super) environment: EnvName,
    /// Its record; `None` where it cannot be read.
    pub(super) record: Option<Record>,
    /// Targets that hold it.
    pub(super) targets: Vec<TargetName>,
}

/// Finds every backup that is named, and refuses all of them where one may not go.
///
/// # Errors
/// With all that is wrong at once. Nothing was changed.
pub(super) fn choose(
    environment: &EnvName,
    places: &[Place],
    request: &Forget,
    warnings: &mut Vec<Diagnostic>,
) -> Result<Vec<Victim>, Failure> {
    let listing = listing(environment, places, warnings);
    let (mut victims, mut problems): (BTreeMap<BackupId, Victim>, Failure) = (BTreeMap::new(), Vec::new());
    for wanted in &request.backups {
        let fits = |record: &Record| {
            request
                .pipeline
                .as_ref()
                .is_none_or(|pipeline| *pipeline == record.pipeline)
        };
        let found = match listing.choose(wanted, fits) {
            Ok(backup) => Ok(of_backup(backup)),
            Err(error) => unreadable(environment, places, wanted).ok_or(error),
        };
        match found {
            Ok(victim) => drop(victims.insert(victim.id.clone(), victim)),
            Err(error) => {
                let mut problem = Diagnostic::of(&error).state("no backup was removed");
                problem.help = error.help();
                problems.push(problem);
            }
        }
    }
    if request.newest == Newest::Stays {
        problems.extend(victims.values().filter_map(|victim| refused(victim, &listing, places)));
    }
    if problems.is_empty() {
        Ok(victims.into_values().collect())
    } else {
        Err(problems)
    }
}

fn of_backup(backup: &Backup) -> Victim {
    Victim {
        id: backup.record.id.clone(),
        environment: backup.record.environment.clone(),
        record: Some(backup.record.clone()),
        targets: backup.targets.iter().map(|target| target.name().clone()).collect(),
    }
}

/// The backups of the environment in all places.
fn listing(environment: &EnvName, places: &[Place], warnings: &mut Vec<Diagnostic>) -> Listing {
    let mut found: BTreeMap<BackupId, Backup> = BTreeMap::new();
    for place in places {
        let of_environment = place.survey.held().map(|held| &held.backup);
        for backup in of_environment.filter(|backup| backup.record.environment == *environment) {
            let id = &backup.record.id;
            match found.get_mut(id) {
                None => drop(found.insert(id.clone(), backup.clone())),
                Some(known) => {
                    if known.bytes != backup.bytes {
                        let what = format!(
                            "target `{}` has another record of `{id}` than the others",
                            place.target.name()
                        );
                        warnings.push(Diagnostic::warning(Code::Damaged, what).help("compare the targets"));
                    }
                    known.targets.push(place.target.clone());
                }
            }
        }
    }
    Listing {
        backups: found.into_values().collect(),
        ..Listing::default()
    }
}

/// A backup whose record is there and cannot be read. Only its whole id names it.
fn unreadable(environment: &EnvName, places: &[Place], wanted: &str) -> Option<Victim> {
    let id: BackupId = wanted.parse().ok()?;
    let object = layout::record(environment, &id);
    let holding = places
        .iter()
        .filter(|place| place.survey.objects().contains_key(&object));
    let targets: Vec<TargetName> = holding.map(|place| place.target.name().clone()).collect();
    (!targets.is_empty()).then(|| Victim {
        id,
        environment: environment.clone(),
        record: None,
        targets,
    })
}

/// Why a backup may not go without a further word.
fn refused(victim: &Victim, listing: &Listing, places: &[Place]) -> Option<Diagnostic> {
    let help = "say `--even-newest` where it is meant to go all the same";
    let Some(record) = &victim.record else {
        let what = format!(
            "the record of `{}` cannot be read, so it may be the newest of its line",
            victim.id
        );
        return Some(
            Diagnostic::error(Code::NewestBackup, what)
                .state("no backup was removed")
                .help(help),
        );
    };
    let lineage = Lineage {
        pipeline: record.pipeline.clone(),
        instance: record.instance.clone(),
    };
    let newest_of_all = listing
        .newest(&lineage)
        .is_some_and(|newest| newest.record.id == victim.id);
    let newest_in_one = places
        .iter()
        .filter(|place| victim.targets.contains(place.target.name()))
        .any(|place| {
            let line = place.survey.held().map(|held| &held.backup);
            let line =
                line.filter(|backup| backup.record.environment == victim.environment && backup.lineage() == lineage);
            line.max_by_key(|backup| backup.rank())
                .is_some_and(|newest| newest.record.id == victim.id)
        });
    (newest_of_all || newest_in_one).then(|| {
        let what = format!(
            "`{}` is the newest backup of pipeline `{}` and instance `{}`",
            victim.id, lineage.pipeline, lineage.instance
        );
        Diagnostic::error(Code::NewestBackup, what)
            .why("without it the next run has nothing to go back to, and a log nothing to be compared with")
            .state("no backup was removed")
            .help(help)
    })
}
