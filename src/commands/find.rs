//! `find`: in which backups something is, and which versions of it there are. Only catalogs are read, and what several backups share of
//! them once.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use serde_json::json;

use crate::archive::keys::Opening;
use crate::archive::reading::find::{Pattern, Search, Version};
use crate::archive::reading::path::BackupPath;
use crate::archive::reading::{Reading, ReadingError};
use crate::archive::repository::Backup;
use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::fs::entry::{Kind, TreePath};
use crate::limits::FIND_MAX;
use crate::outcome::{Item, Outcome};

use super::backups::{self, Found};
use super::reading::Ended;
use super::request::{FindRequest, ReadBy};
use super::{Session, entries, reading};

/// Looks through the backups, oldest first.
pub async fn run(request: FindRequest, session: &Session) -> Outcome {
    let pattern = match Pattern::new(&request.name) {
        Ok(pattern) => pattern,
        Err(error) => {
            let problem = Diagnostic::error(Code::Usage, format!("`{}` cannot be sought", request.name));
            let problem = problem.why(error.to_string()).state("nothing was read");
            return Outcome::failed("find", "", vec![problem]);
        }
    };
    let found = match backups::open(session, &request.environment, &request.how.targets).await {
        Ok(found) => found,
        Err(failure) => return Outcome::failed("find", "", failure),
    };
    let listing = found.list().await;
    let mut told = listing.warnings;
    let mut backups = listing.backups;
    let pipeline = request.how.pipeline.as_ref();
    backups.retain(|backup| pipeline.is_none_or(|pipeline| *pipeline == backup.record.pipeline));
    backups.sort_by(|one, other| moment_of(one).cmp(&moment_of(other)));
    let readings = open_all(&found, &backups, &request.how, &mut told).await;
    let results = Arc::clone(&session.results);
    reading::read("find", told, None, move |outcome| {
        let found = look(pattern, &readings, &mut outcome.diagnostics)?;
        let failed = outcome.diagnostics.iter().any(|one| one.severity == Severity::Error);
        if found.is_empty() && !failed {
            let what = format!("no backup has `{}`; {} looked through", request.name, readings.len());
            return Err(Ended::Problem(Box::new(
                Diagnostic::error(Code::PathUnknown, what)
                    .state(reading::STATE)
                    .help("a name is a glob: `*.toml`, `config/**/app*`; without a `/` it is sought in every folder"),
            )));
        }
        results.begin_list("find", "found")?;
        for (path, versions) in found.values() {
            for (version, backups) in versions {
                let ids = backups.iter().filter_map(|number| readings.get(*number));
                let ids: Vec<&str> = ids.map(|reading| reading.record().id.as_str()).collect();
                results.item(item(path, version, &ids))?;
            }
        }
        outcome.json.insert("backups".into(), readings.len().into());
        Ok(())
    })
    .await
}

/// What backups are looked through in the order of: the second of their start, and in that the place in their line.
fn moment_of(backup: &Backup) -> (&str, u64) {
    let id = backup.record.id.as_str();
    (id.split_once('-').map_or(id, |(time, _)| time), backup.record.sequence)
}

/// Opens every backup; what cannot be opened is told and left out.
async fn open_all(found: &Found, backups: &[Backup], how: &ReadBy, told: &mut Vec<Diagnostic>) -> Vec<Reading> {
    let mut openings: BTreeMap<Option<&str>, Result<Opening, ()>> = BTreeMap::new();
    let mut readings: Vec<Reading> = Vec::new();
    for backup in backups {
        let target = match reading::accepted(found, backup, how).await {
            Ok((target, warnings)) => {
                told.extend(warnings);
                target
            }
            Err(problems) => {
                told.extend(problems);
                continue;
            }
        };
        let epoch = backup.record.epoch.as_deref();
        let opening = match openings.entry(epoch) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                // All backups of an epoch are opened by one key: where it is missing that is told once.
                let opening = found.opening(backup, how.identity.as_deref()).await;
                new.insert(opening.map_err(|problem| told.push(problem.state(reading::STATE))))
            }
        };
        let Ok(opening) = opening else { continue };
        let handle = tokio::runtime::Handle::current();
        match Reading::new(&target, &backup.record, opening, &found.context.events, handle) {
            Ok(reading) => readings.push(match readings.last() {
                Some(last) => last.sharing(reading),
                None => reading,
            }),
            Err(error) => told.push(Diagnostic::of(&error).state(reading::STATE)),
        }
    }
    readings
}

/// A path with its versions, each with the numbers of the backups that have it.
type Versions = (BackupPath, Vec<(Version, Vec<usize>)>);

/// Looks through all backups. One that cannot be read is told and passed over.
fn look(
    pattern: Pattern,
    readings: &[Reading],
    told: &mut Vec<Diagnostic>,
) -> Result<BTreeMap<(String, TreePath), Versions>, Ended> {
    let mut search = Search::new(pattern);
    let mut found: BTreeMap<(String, TreePath), Versions> = BTreeMap::new();
    let mut count = 0_usize;
    for (number, reading) in readings.iter().enumerate() {
        let matches = match search.look(reading) {
            Ok(matches) => matches,
            Err(error) => {
                told.push(unread(reading, &error));
                continue;
            }
        };
        for one in matches {
            let key = (one.path.source().to_string(), one.path.path().clone());
            let (_, versions) = found.entry(key).or_insert_with(|| (one.path.clone(), Vec::new()));
            if let Some((_, backups)) = versions.iter_mut().find(|(version, _)| *version == one.version) {
                backups.push(number);
            } else {
                versions.push((one.version, vec![number]));
                count += 1;
            }
        }
        if count > FIND_MAX {
            return Err(Ended::Problem(Box::new(
                Diagnostic::error(Code::Usage, format!("there are more than {FIND_MAX} matches"))
                    .state(reading::STATE)
                    .help("ask for less: a longer name, or with folders: `data/config/*.toml`"),
            )));
        }
    }
    Ok(found)
}

fn unread(reading: &Reading, error: &ReadingError) -> Diagnostic {
    let mut problem = Diagnostic::of(error).state("the other backups were looked through");
    problem.what = format!("backup `{}`: {}", reading.record().id, problem.what);
    problem
}

fn item(path: &BackupPath, version: &Version, backups: &[&str]) -> Item {
    let mut object = entries::path(path);
    entries::kind(&mut object, path.source(), &version.kind);
    object.insert("mtime".into(), entries::moment(version.mtime));
    if let Some(digest) = &version.blake3 {
        object.insert("blake3".into(), json!(digest));
    }
    object.insert("backups".into(), json!(backups));
    let within = match backups {
        [] => String::new(),
        [one] => format!("in {one}"),
        [first, .., last] => format!("in {} backups, {first} to {last}", backups.len()),
    };
    let sign = if version.kind == Kind::Folder { "/" } else { "" };
    Item {
        text: format!(
            "{}{sign}  {}  {}  {within}",
            path.display(),
            entries::size(&version.kind),
            entries::time(version.mtime),
        ),
        json: object.into(),
    }
}
