//! What this host remembers of the backups it stored last, held against what the targets say now. A disk that is not mounted, or
//! another one in its place, looks like a target without backups, and the newest of those that are left is not the newest.
//!
//! Kept in the state folder, a file a pipeline. Losing it costs these warnings and nothing else.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::archive::record::Record;
use crate::archive::repository::{self, Lineage, Listing, Repository, Stored};
use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::fs::atomic;
use crate::id::{BackupId, EnvName, Instance, PipelineName, TargetName};
use crate::limits::KNOWN_MAX;
use crate::pipeline::environment::Environment;
use crate::target::Target;

use super::Runner;
use super::seen::{Seen, make_folder};
use super::stores::{state_of, state_path};

/// The folder, in the state folder.
const FOLDER: &str = "newest";

/// The backup that this host stored last in a target, of one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Known {
    environment: EnvName,
    target: TargetName,
    /// Where the target was.
    url: String,
    pipeline: PipelineName,
    instance: Instance,
    backup: BackupId,
    sequence: u64,
    /// When it was made.
    made: String,
}

impl Known {
    fn is_of(&self, record: &Record, target: &TargetName) -> bool {
        self.target == *target && self.environment == record.environment && self.instance == record.instance
    }

    fn lineage(&self) -> Lineage {
        Lineage {
            pipeline: self.pipeline.clone(),
            instance: self.instance.clone(),
        }
    }
}

/// What this host remembers of an environment's backups.
pub struct Memory {
    state: PathBuf,
    known: Vec<Known>,
}

impl Memory {
    /// Reads it. What cannot be read is not remembered.
    pub fn open(environment: &Environment, project: &Path, name: &EnvName) -> Self {
        let state = state_of(environment, project, name);
        let of_environment =
            |known: &Known| known.environment == *name && environment.target.contains_key(&known.target);
        let known = files(&state)
            .iter()
            .flat_map(|file| read(file))
            .filter(of_environment)
            .collect();
        Self { state, known }
    }

    /// Adds to a listing that a target does not hold what it held. Where nothing was listed and no target is left that could have
    /// had it, that is an error and no warning.
    pub fn compare(&self, listing: &mut Listing, targets: &[Target]) {
        let mut missed: Vec<Diagnostic> = targets
            .iter()
            .filter_map(|target| {
                let found = listing.repositories.get(target.name())?;
                self.missed(found.as_ref(), target)
            })
            .collect();
        if listing.backups.is_empty() && missed.len() + listing.unlisted.len() == targets.len() {
            for problem in &mut missed {
                problem.severity = Severity::Error;
            }
        }
        listing.warnings.splice(0..0, missed);
    }

    /// The targets that do not hold what they held, each with the warning of it. One that does not answer is left to who uses it.
    pub(super) async fn gone(&self, targets: &[Target]) -> Vec<(TargetName, Diagnostic)> {
        let mut gone = Vec::new();
        for target in targets {
            if Seen::read(&self.state, target).is_none() {
                continue;
            }
            if let Ok(found) = repository::open(target).await {
                let missed = self.missed(found.as_ref(), target);
                gone.extend(missed.map(|missed| (target.name().clone(), missed)));
            }
        }
        gone
    }

    fn missed(&self, found: Option<&Repository>, target: &Target) -> Option<Diagnostic> {
        let seen = Seen::read(&self.state, target)?;
        let here = |known: &&Known| known.target == *target.name() && known.url == target.url();
        // Ids begin with the time.
        let newest = self.known.iter().filter(here).max_by(|a, b| a.backup.cmp(&b.backup));
        let newest =
            newest.map(|known| format!("the last backup stored there is `{}` of {}", known.backup, known.made));
        seen.missed(found, target, &self.state, newest.as_deref())
    }

    /// Tells of each line that fits what was stored after everything that is listed of it. `asked` are the targets that the listing is
    /// of; with `None` all that the environment has.
    pub fn newer(
        &self,
        listing: &Listing,
        targets: &[Target],
        asked: Option<&[TargetName]>,
        fits: impl Fn(&PipelineName, &Instance) -> bool,
    ) -> Vec<Diagnostic> {
        // A target that was moved to another place is taken as it is.
        let moved = |known: &Known| {
            let mut same = targets.iter().filter(|target| *target.name() == known.target);
            same.any(|target| target.url() != known.url)
        };
        let mut lines: BTreeMap<Lineage, Vec<&Known>> = BTreeMap::new();
        for known in &self.known {
            let is_asked = asked.is_none_or(|asked| asked.contains(&known.target));
            if is_asked && fits(&known.pipeline, &known.instance) && !moved(known) {
                lines.entry(known.lineage()).or_default().push(known);
            }
        }
        let told = lines.into_iter().filter_map(|(lineage, known)| {
            let newest = known.iter().max_by_key(|known| (known.sequence, &known.backup))?;
            let listed = listing.newest(&lineage);
            let is_listed = listed.is_some_and(|listed| listed.rank() >= (newest.sequence, &newest.backup));
            let same: Vec<&Known> = known
                .iter()
                .copied()
                .filter(|known| known.backup == newest.backup)
                .collect();
            (!is_listed).then(|| newer(newest, &same, listing))
        });
        told.collect()
    }
}

fn newer(newest: &Known, same: &[&Known], listing: &Listing) -> Diagnostic {
    let quoted = |names: Vec<&TargetName>| {
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        names.join(", ")
    };
    let (read, unread): (Vec<&TargetName>, Vec<&TargetName>) = same
        .iter()
        .map(|known| &known.target)
        .partition(|target| listing.repositories.contains_key(*target));
    let mut why = Vec::new();
    if !read.is_empty() {
        why.push(format!("{} does not have it now", quoted(read)));
    }
    if !unread.is_empty() {
        why.push(format!("{} was not read", quoted(unread)));
    }
    let all = quoted(same.iter().map(|known| &known.target).collect());
    let what = format!(
        "a newer backup is known than any that can be read: `{}` of {}, stored in {all}",
        newest.backup, newest.made
    );
    Diagnostic::warning(Code::NewerKnown, what)
        .why(why.join("; "))
        .state("`latest` is the newest of those that could be read")
        .help(format!(
            "see that {all} can be read before you rely on an older one; where it was let go on purpose, the next backup ends \
             this warning"
        ))
}

/// Remembers what a run stored. Where that cannot be kept, the next look does not miss it.
fn note(state: &Path, stored: &Stored) -> io::Result<()> {
    let record = stored.record();
    let file = file(state, &record.pipeline);
    let mut known = read(&file);
    for target in stored.targets() {
        known.retain(|known| !known.is_of(record, target.name()));
        known.push(Known {
            environment: record.environment.clone(),
            target: target.name().clone(),
            url: target.url(),
            pipeline: record.pipeline.clone(),
            instance: record.instance.clone(),
            backup: record.id.clone(),
            sequence: record.sequence,
            made: record.started.clone(),
        });
    }
    write(&file, &known)
}

/// Forgets a backup that was let go in a target. It is no loss where that fails: it is missed until the next backup.
pub(super) fn let_go(state: &Path, target: &TargetName, backup: &BackupId) {
    for file in files(state) {
        let mut known = read(&file);
        let before = known.len();
        known.retain(|known| known.target != *target || known.backup != *backup);
        if known.len() < before {
            let _ = write(&file, &known);
        }
    }
}

impl Runner<'_> {
    /// Remembers what was stored, so that it is missed where a target does not have it any more.
    pub(super) fn note_newest(&mut self, stored: &Stored) {
        if let Err(error) = note(&state_path(self.plan), stored) {
            let what = "which backup is the newest cannot be noted in the state folder";
            self.warn(
                Diagnostic::warning(Code::MemoryLost.unless_full(&error), what)
                    .why(error.to_string())
                    .state("the backup is stored; were its target gone one day, nothing would say so")
                    .help("free space where the state folder lies, or give this user the right to write there"),
            );
        }
    }
}

fn file(state: &Path, pipeline: &PipelineName) -> PathBuf {
    state.join(FOLDER).join(format!("{pipeline}.json"))
}

/// The files there are, sorted.
fn files(state: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(state.join(FOLDER)).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort();
    files
}

fn read(file: &Path) -> Vec<Known> {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(file).and_then(|file| file.take(KNOWN_MAX).read_to_end(&mut bytes));
    read.ok()
        .and_then(|_| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default()
}

fn write(file: &Path, known: &[Known]) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(known).map_err(io::Error::other)?;
    bytes.push(b'\n');
    if let Some(folder) = file.parent() {
        make_folder(folder)?;
    }
    atomic::write(file, 0o600, &bytes)
}
