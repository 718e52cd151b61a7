//! The backups in one or more targets: listed, chosen, completed, checked object by object.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use crate::crypto::Digest;
use crate::crypto::note::Signer;
use crate::diagnostic::{Code, Diagnose, Diagnostic, Severity};
use crate::event::{Event, Events};
use crate::id::{BackupId, EnvName, Instance, PipelineName, TargetName};
use crate::limits::{CHECKS_AT_ONCE, DISTRUSTED_SEQUENCE_MAX, RECORD_MAX, REUSED_HEADS};
use crate::target::{Created, Target, TargetError};
use crate::units::counted;

use super::epoch::KEY_OBJECT_MAX;
use super::keys::ChunkKey;
use super::layout::{self, FORMAT, REPOSITORY};
use super::pack::{Packed, object};
use super::proofs::Expected;
use super::record::{ObjectRecord, Record, RecordError};
use super::recovery;
use super::refs::{self, Refs, RefsError};
use super::signature::statement;
use super::sums;

/// What a target says it is. Compared, never obeyed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Repository {
    /// Format version.
    pub format: u32,
    /// A random id, the same in all targets that one upload created together.
    pub repository: String,
}

/// Why the backups of a target cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// The target failed.
    #[error("target `{target}` cannot be used")]
    Target {
        /// Target.
        target: TargetName,
        /// Why.
        #[source]
        source: TargetError,
    },
    /// The target holds something else.
    #[error("target `{0}` holds other files and no repository")]
    NotARepository(TargetName),
    /// `repository.json` cannot be read.
    #[error("target `{target}`: `repository.json` is not readable")]
    Unreadable {
        /// Target.
        target: TargetName,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// Made by a newer program.
    #[error("target `{target}` has format {format}, this program writes {FORMAT}")]
    Newer {
        /// Target.
        target: TargetName,
        /// Its format.
        format: u32,
    },
    /// An object is not what the record says.
    #[error("target `{target}`: `{object}` {what}")]
    Damaged {
        /// Target.
        target: TargetName,
        /// Object.
        object: String,
        /// In what way.
        what: &'static str,
    },
    /// A record with this id is there already.
    #[error("target `{target}` already has a backup `{id}`")]
    Taken {
        /// Target.
        target: TargetName,
        /// Id.
        id: BackupId,
    },
    /// What the backup relied on was swept before its record was there.
    #[error("target `{target}`: `{object}`, which the backup relies on, was deleted meanwhile")]
    Swept {
        /// Target.
        target: TargetName,
        /// Object.
        object: String,
    },
    /// A small object of the backup cannot be made.
    #[error("the record or the list of objects cannot be written")]
    Write(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl RepositoryError {
    /// A list of objects that cannot be used.
    pub(super) fn of_refs(target: &Target, error: RefsError) -> Self {
        let target = target.name().clone();
        match error {
            RefsError::Missing(object) => Self::Damaged {
                target,
                object,
                what: "is missing",
            },
            RefsError::Damaged { object, what } => Self::Damaged { target, object, what },
            RefsError::Target { source, .. } => Self::Target { target, source },
        }
    }
}

impl Diagnose for RepositoryError {
    fn code(&self) -> Code {
        match self {
            Self::Target { source, .. } => source.code(),
            Self::NotARepository(_) => Code::DestinationInvalid,
            Self::Unreadable { .. } | Self::Damaged { .. } => Code::Damaged,
            Self::Newer { .. } => Code::FormatNewer,
            Self::Taken { .. } => Code::TargetFailed,
            Self::Swept { .. } => Code::BackupWithdrawn,
            Self::Write(_) => Code::Internal,
        }
    }

    fn help(&self) -> Option<String> {
        Some(match self {
            Self::Target { source, .. } => return source.help(),
            Self::NotARepository(_) => "give the target an empty folder of its own".into(),
            Self::Unreadable { .. } => {
                "restore `repository.json` from a copy of the target, or look at who changed it".into()
            }
            Self::Newer { .. } => "use a newer version of strongroom".into(),
            Self::Damaged { .. } => {
                "use another target or another backup; copy the damaged one away before anything else".into()
            }
            Self::Taken { .. } => "run it again: the id is drawn anew".into(),
            Self::Swept { .. } => "run it again; it stores anew what was deleted".into(),
            Self::Write(_) => "run it again with -v and report what it prints".into(),
        })
    }
}

fn failed(target: &Target) -> impl FnOnce(TargetError) -> RepositoryError {
    let target = target.name().clone();
    move |source| RepositoryError::Target { target, source }
}

/// Reads what a target says it is; `None` where it is empty.
pub async fn open(target: &Target) -> Result<Option<Repository>, RepositoryError> {
    if target.head(REPOSITORY).await.map_err(failed(target))?.is_none() {
        let found = target.list("").await.map_err(failed(target))?;
        // A probe is left where a run was killed in the middle of it.
        let other = found.iter().any(|(object, _)| !layout::is_probe(object));
        return if other {
            Err(RepositoryError::NotARepository(target.name().clone()))
        } else {
            Ok(None)
        };
    }
    let bytes = target.read(REPOSITORY, RECORD_MAX).await.map_err(failed(target))?;
    let unreadable = |source| RepositoryError::Unreadable {
        target: target.name().clone(),
        source,
    };
    let repository: Repository = serde_json::from_slice(&bytes).map_err(unreadable)?;
    if repository.format > FORMAT {
        return Err(RepositoryError::Newer {
            target: target.name().clone(),
            format: repository.format,
        });
    }
    Ok(Some(repository))
}

/// Makes an empty target a repository.
pub async fn create(target: &Target, repository: &Repository) -> Result<(), RepositoryError> {
    let mut bytes = serde_json::to_vec_pretty(repository).map_err(|e| RepositoryError::Write(e.into()))?;
    bytes.push(b'\n');
    // Another run that created it meanwhile is as good.
    target
        .create(REPOSITORY, bytes.into())
        .await
        .map(drop)
        .map_err(failed(target))
}

/// A backup and the targets that hold it.
#[derive(Clone, Debug)]
pub struct Backup {
    /// Its record.
    pub record: Record,
    /// The record's exact bytes.
    pub bytes: Bytes,
    /// Targets that hold this very record, in the order asked for.
    pub targets: Vec<Target>,
}

/// The backups found, and what was wrong on the way.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Backups by id, oldest first.
    pub backups: Vec<Backup>,
    /// Records and, behind them, targets that could not be read.
    pub warnings: Vec<Diagnostic>,
    /// Targets that did not say all that they have, each with the reason. What they said is among the backups.
    pub unlisted: Vec<(TargetName, Diagnostic)>,
    /// What each target that could be read says it is; nothing where it is empty.
    pub repositories: BTreeMap<TargetName, Option<Repository>>,
    /// Backups that are the newest of no line: nobody who is trusted signed them.
    pub distrusted: BTreeSet<BackupId>,
}

/// Lists the backups of an environment in `targets`. What cannot be read is told and passed over; where no target can be
/// read, that is an error and no warning.
pub async fn list(targets: &[Target], environment: &EnvName) -> Listing {
    let mut found: BTreeMap<BackupId, Backup> = BTreeMap::new();
    let (mut warnings, mut unlisted, mut repositories) = (Vec::new(), Vec::new(), BTreeMap::new());
    for target in targets {
        match list_target(target, environment, &mut found, &mut warnings).await {
            Ok(repository) => drop(repositories.insert(target.name().clone(), repository)),
            Err(error) => unlisted.push((target.name().clone(), Diagnostic::of(&error))),
        }
    }
    warnings.extend(unlisted.iter().map(|(_, problem)| {
        let mut problem = problem.clone();
        if unlisted.len() < targets.len() {
            problem.severity = Severity::Warning;
        }
        problem
    }));
    Listing {
        backups: found.into_values().collect(),
        warnings,
        unlisted,
        repositories,
        distrusted: BTreeSet::new(),
    }
}

async fn list_target(
    target: &Target,
    environment: &EnvName,
    found: &mut BTreeMap<BackupId, Backup>,
    warnings: &mut Vec<Diagnostic>,
) -> Result<Option<Repository>, RepositoryError> {
    let Some(repository) = open(target).await? else {
        return Ok(None);
    };
    for (object, _) in target
        .list(&layout::records(environment))
        .await
        .map_err(failed(target))?
    {
        let Some((_, id)) = layout::parse_record(&object) else {
            continue;
        };
        let bytes = match target.read(&object, RECORD_MAX).await {
            Ok(bytes) => bytes,
            // It was removed since it was listed: there is no such backup.
            Err(TargetError::NotFound { .. }) => continue,
            // Nobody wrote it as a record, so it hides none.
            Err(error @ TargetError::TooLarge { .. }) => {
                warnings.push(passed_over(target, &object, Code::Damaged, &error));
                continue;
            }
            Err(error) => return Err(failed(target)(error)),
        };
        let record = match Record::parse(&bytes, environment, &id) {
            Ok(record) => record,
            Err(error) => {
                let newer = matches!(error, RecordError::Newer(_));
                let code = if newer { Code::FormatNewer } else { Code::Damaged };
                warnings.push(passed_over(target, &object, code, &error));
                continue;
            }
        };
        match found.get_mut(&id) {
            Some(backup) if backup.bytes == bytes => backup.targets.push(target.clone()),
            Some(_) => {
                let what = format!(
                    "target `{}` has another record of `{id}` than the others",
                    target.name()
                );
                warnings.push(
                    Diagnostic::warning(Code::Damaged, what).help("compare the targets; the first one named is used"),
                );
            }
            None => drop(found.insert(
                id,
                Backup {
                    record,
                    bytes,
                    targets: vec![target.clone()],
                },
            )),
        }
    }
    Ok(Some(repository))
}

fn passed_over(target: &Target, object: &str, code: Code, error: &dyn std::error::Error) -> Diagnostic {
    let cause = error.source().map(ToString::to_string);
    let what = format!("target `{}`: `{object}` is passed over: {error}", target.name());
    let diagnostic = Diagnostic::warning(code, what).help("look at the object; the other backups are not affected");
    match cause {
        Some(cause) => diagnostic.why(cause),
        None => diagnostic,
    }
}

/// The line of backups that follow one another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lineage {
    /// Pipeline.
    pub pipeline: PipelineName,
    /// Instance.
    pub instance: Instance,
}

impl Backup {
    /// The line this backup belongs to.
    pub fn lineage(&self) -> Lineage {
        Lineage {
            pipeline: self.record.pipeline.clone(),
            instance: self.record.instance.clone(),
        }
    }

    /// What orders the backups of a line: the sequence, ties by id, whatever the clocks say.
    pub fn rank(&self) -> (u64, &BackupId) {
        (self.record.sequence, &self.record.id)
    }
}

impl Listing {
    /// Unlocks what is locked in records, as far as `key` has the chunk keys of their epochs.
    pub fn unlock(&mut self, key: impl Fn(&str) -> Option<ChunkKey>) {
        for backup in &mut self.backups {
            if let Some(key) = backup.record.epoch.as_deref().and_then(&key) {
                backup.record.unlock(&key);
            }
        }
    }

    /// The backups of a line that count.
    pub fn line(&self, lineage: &Lineage) -> impl Iterator<Item = &Backup> {
        let counts = |backup: &&Backup| !self.distrusted.contains(&backup.record.id);
        self.backups
            .iter()
            .filter(move |backup| backup.lineage() == *lineage)
            .filter(counts)
    }

    /// The newest backup of a line: the highest sequence, ties by id.
    pub fn newest(&self, lineage: &Lineage) -> Option<&Backup> {
        self.line(lineage).max_by(|a, b| a.rank().cmp(&b.rank()))
    }

    /// The sequence of the next backup of a line: one more than any other has. That of a backup that nobody trusted signed is
    /// believed only where it leaves room. `None` where there is none above it.
    pub fn next_sequence(&self, lineage: &Lineage) -> Option<u64> {
        let line = self.backups.iter().filter(|backup| backup.lineage() == *lineage);
        let believed = line.filter(|backup| {
            !self.distrusted.contains(&backup.record.id) || backup.record.sequence <= DISTRUSTED_SEQUENCE_MAX
        });
        let highest = believed.map(|backup| backup.record.sequence).max();
        highest.unwrap_or_default().checked_add(1)
    }

    /// Forgets the targets that did not say all that they have, with all that they said, and gives them: what is the newest
    /// there is not known.
    pub fn leave_out_unlisted(&mut self) -> Vec<(TargetName, Diagnostic)> {
        let unlisted = std::mem::take(&mut self.unlisted);
        self.warnings.truncate(self.warnings.len() - unlisted.len());
        let is_out = |target: &Target| unlisted.iter().any(|(name, _)| name == target.name());
        for backup in &mut self.backups {
            backup.targets.retain(|target| !is_out(target));
        }
        self.backups.retain(|backup| !backup.targets.is_empty());
        unlisted
    }

    /// Whether no target could be read.
    pub fn is_unread(&self) -> bool {
        self.warnings.iter().any(|warning| warning.severity == Severity::Error)
    }

    /// Why none was chosen: that none fits, and what could not be read; only the latter where no target could be.
    pub fn why_none(self, error: &ChooseError) -> Vec<Diagnostic> {
        if self.is_unread() {
            return self.warnings;
        }
        let mut failure = vec![Diagnostic::of(error)];
        failure.extend(self.warnings);
        failure
    }

    /// Finds the backup that `wanted` names: an id, a unique prefix, `latest`, `latest~2`.
    pub fn choose(&self, wanted: &str, filter: impl Fn(&Record) -> bool) -> Result<&Backup, ChooseError> {
        let fitting: Vec<&Backup> = self.backups.iter().filter(|b| filter(&b.record)).collect();
        let unknown = || ChooseError::Unknown {
            wanted: wanted.to_owned(),
            backups: fitting.len(),
        };
        let Some(back) = parse_latest(wanted) else {
            let mut matching = fitting
                .iter()
                .filter(|b| !wanted.is_empty() && b.record.id.as_str().starts_with(wanted));
            let first = matching.next().ok_or_else(unknown)?;
            let others: Vec<String> = matching.map(|b| b.record.id.to_string()).collect();
            return if others.is_empty() {
                Ok(first)
            } else {
                let choices = std::iter::once(first.record.id.to_string()).chain(others).collect();
                Err(ChooseError::Ambiguous {
                    wanted: wanted.to_owned(),
                    choices,
                })
            };
        };
        let mut lines: Vec<Lineage> = fitting.iter().map(|b| b.lineage()).collect();
        lines.sort();
        lines.dedup();
        if lines.len() > 1 {
            let choices = lines
                .iter()
                .map(|l| format!("pipeline {} of instance {}", l.pipeline, l.instance))
                .collect();
            return Err(ChooseError::Ambiguous {
                wanted: wanted.to_owned(),
                choices,
            });
        }
        let mut ordered = fitting.clone();
        ordered.sort_by(|a, b| b.rank().cmp(&a.rank()));
        ordered.get(back).copied().ok_or_else(unknown)
    }
}

/// Whether a backup is named by its place in its line, counted from the newest.
pub fn is_latest(wanted: &str) -> bool {
    parse_latest(wanted).is_some()
}

/// `latest` is 0, `latest~2` is 2; anything else is none.
fn parse_latest(wanted: &str) -> Option<usize> {
    match wanted.strip_prefix("latest")? {
        "" => Some(0),
        rest => rest.strip_prefix('~')?.parse().ok(),
    }
}

/// Why no backup was chosen.
#[derive(Debug, thiserror::Error)]
pub enum ChooseError {
    /// None fits.
    #[error("there is no backup `{wanted}`")]
    Unknown {
        /// What was asked for.
        wanted: String,
        /// How many backups there are.
        backups: usize,
    },
    /// More than one fits.
    #[error("`{wanted}` fits more than one backup")]
    Ambiguous {
        /// What was asked for.
        wanted: String,
        /// What it could be.
        choices: Vec<String>,
    },
}

impl Diagnose for ChooseError {
    fn code(&self) -> Code {
        match self {
            Self::Unknown { .. } => Code::BackupUnknown,
            Self::Ambiguous { .. } => Code::BackupAmbiguous,
        }
    }

    fn why(&self) -> Option<String> {
        match self {
            Self::Unknown { backups: 0, .. } => Some("the targets hold no backup of this environment".into()),
            Self::Unknown { backups, .. } => Some(format!(
                "{} here, and none of that name",
                counted(*backups as u64, "backup")
            )),
            Self::Ambiguous { choices, .. } => Some(format!("it could be: {}", choices.join(", "))),
        }
    }

    fn help(&self) -> Option<String> {
        Some(match self {
            Self::Unknown { .. } => "`strongroom list` shows the backups".into(),
            Self::Ambiguous { .. } => "write more of the id; `strongroom list` shows the backups".into(),
        })
    }
}

/// A backup that lies whole in these targets. Only [`complete`] makes one.
#[derive(Clone, Debug)]
pub struct Stored {
    record: Record,
    bytes: Bytes,
    sums: ObjectRecord,
    signature: ObjectRecord,
    refs: Refs,
    /// Objects that an earlier backup stored.
    built_on: BTreeSet<String>,
    targets: Vec<Target>,
}

impl Stored {
    /// The record.
    pub const fn record(&self) -> &Record {
        &self.record
    }

    /// The record's exact bytes.
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Targets that hold it.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// The backup without a target from which its record was taken back; `None` where none is left.
    #[must_use]
    pub fn without(mut self, withdrawn: &TargetName) -> Option<Self> {
        self.targets.retain(|target| target.name() != withdrawn);
        (!self.targets.is_empty()).then_some(self)
    }
}

/// Every object that a record itself names: name, stored bytes, digest. Packs stand in the list of objects alone.
pub(super) fn objects(record: &Record) -> Vec<Expected> {
    let refs = (record.refs.name.clone(), record.refs.bytes, Some(record.refs.blake3));
    let mut objects = vec![refs];
    let archive = record.archive.iter();
    objects.extend(archive.map(|archive| (archive.name.clone(), archive.bytes, Some(archive.blake3))));
    let segments = record.segments.iter().chain(&record.patch);
    objects.extend(segments.map(|s| (s.name.clone(), s.bytes, s.stored_digest())));
    objects.sort();
    objects.dedup();
    objects
}

/// The same with the packs that its list of objects names.
pub(super) fn all_objects(record: &Record, refs: &Refs) -> Vec<Expected> {
    let mut objects = objects(record);
    objects.extend(packs_of(refs));
    objects.sort();
    objects.dedup();
    objects
}

/// What becomes of a backup in one target after the other.
pub struct Completed {
    /// The backup, where enough targets took it.
    pub stored: Option<Stored>,
    /// Names of every object that it needs but its record and sums.
    pub needed: Vec<String>,
    /// By target: objects that it had before and that the backup relies on. They must be looked for again once the record is
    /// written: `sweep::doomed::check`.
    pub reused: BTreeMap<TargetName, Vec<String>>,
    /// Targets that failed, each with its error.
    pub left_out: Vec<(Target, RepositoryError)>,
    /// Key objects that are not in a target as this host knows them, though its own is.
    pub other_keys: Vec<(TargetName, String)>,
}

/// Writes the list of objects, the sums and last the record of what was packed.
///
/// `describe` makes the record from what was packed and its list of objects. `salt` is the backup's own.
///
/// # Errors
/// When the small objects cannot be made. A target that fails is left out and named.
pub async fn complete<T>(
    packed: Packed<T>,
    required: usize,
    salt: &str,
    signer: &Signer,
    describe: impl FnOnce(&Packed<T>, ObjectRecord) -> Record,
) -> Result<Completed, RepositoryError> {
    let refs = packed.refs();
    let refs_named = |stored: &[u8]| object(layout::refs, stored).name;
    let stored = refs.to_object().map_err(|e| RepositoryError::Write(e.into()))?;
    let (_, refs_bytes) = packed.doomed.avoid(stored, salt, refs_named);
    let refs_object = object(layout::refs, &refs_bytes);
    let needed = refs.iter().map(|one| one.name.clone());
    let needed = needed.chain([refs_object.name.clone()]).collect();
    let record = describe(&packed, refs_object);
    let written = match &packed.epoch {
        Some(epoch) => record
            .locked(&epoch.chunk_key)
            .map_err(|error| RepositoryError::Write(error.into()))?,
        None => record.clone(),
    };
    let bytes: Bytes = written.to_bytes().map_err(|e| RepositoryError::Write(e.into()))?.into();
    let sums = sums::text(&record, &bytes, &refs);
    let sums_object = object(|_| layout::sums(&record.environment, &record.id), sums.as_bytes());
    let signature = layout::signature(&record.environment, &record.id);
    let signed: Bytes = signer.sign(&statement(&written, &bytes)).into();
    let signature_object = object(|_| signature.clone(), &signed);
    let small: [(&str, Bytes); 3] = [
        (&record.refs.name, refs_bytes.into()),
        (&sums_object.name, Bytes::from(sums)),
        (&signature, signed),
    ];
    let (mut targets, mut left_out, mut other_keys) = (Vec::new(), Vec::new(), Vec::new());
    let mut reused = packed.reused;
    for target in &packed.targets {
        let keys = packed.epoch.as_ref().map_or(&[][..], |epoch| &epoch.objects);
        let completed = match put_keys(target, keys).await {
            Ok(others) => {
                other_keys.extend(others.into_iter().map(|object| (target.name().clone(), object)));
                complete_target(target, &small).await
            }
            Err(error) => Err(error),
        };
        match completed {
            Ok(had) => {
                reused.entry(target.name().clone()).or_default().extend(had);
                targets.push(target.clone());
            }
            Err(error) => left_out.push((target.clone(), error)),
        }
    }
    // With too few targets left no record is written anywhere: there is no backup.
    if targets.len() < required.max(1) {
        targets.clear();
    }
    let with_record = write_record(targets, &record, &bytes, &mut left_out).await;
    let stored = (!with_record.is_empty()).then(|| Stored {
        record,
        bytes,
        sums: sums_object,
        signature: signature_object,
        refs,
        built_on: packed.built_on,
        targets: with_record,
    });
    Ok(Completed {
        stored,
        needed,
        reused,
        left_out,
        other_keys,
    })
}

/// Writes the record to each target. Gives those that took it.
async fn write_record(
    targets: Vec<Target>,
    record: &Record,
    bytes: &Bytes,
    left_out: &mut Vec<(Target, RepositoryError)>,
) -> Vec<Target> {
    let object = layout::record(&record.environment, &record.id);
    let mut with_record = Vec::new();
    for target in targets {
        match target.create(&object, bytes.clone()).await {
            Ok(Created::New) => with_record.push(target),
            Ok(Created::Existed) => {
                let taken = RepositoryError::Taken {
                    target: target.name().clone(),
                    id: record.id.clone(),
                };
                left_out.push((target, taken));
            }
            Err(error) => left_out.push((target.clone(), failed(&target)(error))),
        }
    }
    with_record
}

/// Makes sure that a target has the keys of the epoch. The first object is what this host sealed itself: without it nobody opens
/// the backup. The others came from a target, where another one may have put them at the same moment; gives those that differ.
async fn put_keys(target: &Target, keys: &[(String, Bytes)]) -> Result<Vec<String>, RepositoryError> {
    let mut others = Vec::new();
    for (place, (name, bytes)) in keys.iter().enumerate() {
        if target.create(name, bytes.clone()).await.map_err(failed(target))? == Created::New {
            continue;
        }
        match target.read(name, KEY_OBJECT_MAX).await {
            Ok(there) if there == *bytes => {}
            Ok(_) | Err(TargetError::TooLarge { .. }) if place > 0 => others.push(name.clone()),
            Ok(_) => {
                return Err(RepositoryError::Damaged {
                    target: target.name().clone(),
                    object: name.clone(),
                    what: "is not what this host put there: nobody might open the backup",
                });
            }
            Err(error) => return Err(failed(target)(error)),
        }
    }
    Ok(others)
}

/// Stores the small objects, and says which of them were there before.
async fn complete_target(target: &Target, small: &[(&str, Bytes)]) -> Result<Vec<String>, RepositoryError> {
    recovery::put(target).await?;
    let mut had = Vec::new();
    for (name, bytes) in small {
        let created = target.create(name, bytes.clone()).await.map_err(failed(target))?;
        if created == Created::Existed {
            had.push((*name).to_owned());
        }
    }
    Ok(had)
}

/// Reads one object whole and compares it.
async fn check(
    target: &Target,
    name: &str,
    bytes: u64,
    digest: Option<Digest>,
    events: &Events,
) -> Result<(), RepositoryError> {
    let damaged = |what| RepositoryError::Damaged {
        target: target.name().clone(),
        object: name.to_owned(),
        what,
    };
    let mut stream = match target.stream(name, None).await {
        Ok(stream) => stream,
        Err(TargetError::NotFound { .. }) => return Err(damaged("is missing")),
        Err(error) => return Err(failed(target)(error)),
    };
    let (mut hasher, mut length) = (blake3::Hasher::new(), 0);
    while let Some(piece) = stream.try_next().await.map_err(failed(target))? {
        length += piece.len() as u64;
        if length > bytes {
            return Err(damaged("is longer than the record says"));
        }
        events.tell(&Event::TargetRead {
            target: target.name().to_string(),
            bytes: piece.len() as u64,
        });
        hasher = tokio::task::spawn_blocking(move || {
            hasher.update(&piece);
            hasher
        })
        .await
        .map_err(|e| RepositoryError::Write(e.into()))?;
    }
    if length < bytes {
        return Err(damaged("is shorter than the record says"));
    }
    if digest == Some(hasher.finalize().into()) {
        Ok(())
    } else {
        Err(damaged("has other bytes than the record says"))
    }
}

/// A backup whose record and objects were read back from its targets and match.
///
/// Only [`read_back`] makes one, so nothing that takes it can run before it.
#[derive(Clone, Debug)]
pub struct Confirmed {
    stored: Stored,
}

impl Confirmed {
    /// The record.
    pub const fn record(&self) -> &Record {
        &self.stored.record
    }

    /// Targets whose objects match.
    pub fn targets(&self) -> &[Target] {
        &self.stored.targets
    }
}

/// What reading back found.
pub struct ReadBack {
    /// Where at least one target has everything.
    pub confirmed: Option<Confirmed>,
    /// Targets that do not.
    pub failed: Vec<(Target, RepositoryError)>,
}

/// Reads every object of the backup back whole from every target.
pub async fn read_back(stored: Stored, events: &Events) -> ReadBack {
    let (mut targets, mut wrong) = (Vec::new(), Vec::new());
    for target in &stored.targets {
        match read_back_target(&stored, target, events).await {
            Ok(()) => targets.push(target.clone()),
            Err(error) => wrong.push((target.clone(), error)),
        }
    }
    let confirmed = (!targets.is_empty()).then(|| Confirmed {
        stored: Stored { targets, ..stored },
    });
    ReadBack {
        confirmed,
        failed: wrong,
    }
}

async fn read_back_target(stored: &Stored, target: &Target, events: &Events) -> Result<(), RepositoryError> {
    let record = &stored.record;
    let name = layout::record(&record.environment, &record.id);
    check(
        target,
        &name,
        stored.bytes.len() as u64,
        Some(Digest::of(&stored.bytes)),
        events,
    )
    .await?;
    for small in [&stored.sums, &stored.signature] {
        check(target, &small.name, small.bytes, Some(small.blake3), events).await?;
    }
    recovery::check(target, &record.recovery).await?;
    // What this run made and found there under its name is read as well: the name is that of the right bytes, and says nothing of
    // those that lie there.
    let (reused, new): (Vec<_>, Vec<_>) = all_objects(record, &stored.refs)
        .into_iter()
        .partition(|(name, ..)| stored.built_on.contains(name));
    check_each(target, new, events).await?;
    check_sizes(target, &reused).await
}

/// Reads every object of a backup whole and compares it with the record. Needs no key.
///
/// # Errors
/// At the first object that is missing, cut or changed.
pub async fn check_objects(target: &Target, record: &Record, events: &Events) -> Result<(), RepositoryError> {
    check_each(target, objects(record), events).await?;
    check_each(target, packs(target, record).await?, events).await
}

/// The packs that a backup's list of objects names.
pub(super) async fn packs(target: &Target, record: &Record) -> Result<Vec<Expected>, RepositoryError> {
    if record.packs.is_none() {
        return Ok(Vec::new());
    }
    let refs = refs::read(target, &record.refs).await;
    let refs = refs.map_err(|error| RepositoryError::of_refs(target, error))?;
    Ok(packs_of(&refs).collect())
}

fn packs_of(refs: &Refs) -> impl Iterator<Item = Expected> + '_ {
    let packs = refs
        .iter()
        .filter_map(|one| Some((one, layout::pack_digest(&one.name)?)));
    packs.map(|(one, digest)| (one.name.clone(), one.bytes, Some(digest)))
}

pub(super) async fn check_each(
    target: &Target,
    objects: Vec<Expected>,
    events: &Events,
) -> Result<(), RepositoryError> {
    let checks = objects
        .into_iter()
        .map(|(name, bytes, digest)| async move { check(target, &name, bytes, digest, events).await });
    let mut checks = futures::stream::iter(checks).buffered(CHECKS_AT_ONCE);
    while let Some(checked) = checks.next().await {
        checked?;
    }
    Ok(())
}

/// Looks whether objects are there with their size.
pub(super) async fn check_sizes(target: &Target, objects: &[Expected]) -> Result<(), RepositoryError> {
    let damaged = |object: &str, what| RepositoryError::Damaged {
        target: target.name().clone(),
        object: object.to_owned(),
        what,
    };
    let names: Vec<String> = objects.iter().map(|(name, ..)| name.clone()).collect();
    let there = sizes(target, &names).await?;
    for (name, bytes, _) in objects {
        match there.get(name) {
            None => return Err(damaged(name, "is missing")),
            Some(size) if size != bytes => return Err(damaged(name, "has another size than the record says")),
            Some(_) => {}
        }
    }
    Ok(())
}

/// The bytes of those of these objects that are there.
///
/// # Errors
/// When the target fails.
pub async fn sizes(target: &Target, names: &[String]) -> Result<BTreeMap<String, u64>, RepositoryError> {
    let mut listed = BTreeMap::new();
    if names.len() > REUSED_HEADS {
        listed.extend(target.list("").await.map_err(failed(target))?);
    }
    let mut there = BTreeMap::new();
    for name in names {
        let found = match listed.get(name) {
            Some(info) => Some(*info),
            None => target.head(name).await.map_err(failed(target))?,
        };
        if let Some(info) = found {
            there.insert(name.clone(), info.size);
        }
    }
    Ok(there)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latest_counts_back() {
        assert_eq!(parse_latest("latest"), Some(0));
        assert_eq!(parse_latest("latest~3"), Some(3));
        for other in ["latest~", "latest~x", "latest-1", "2026"] {
            assert_eq!(parse_latest(other), None, "{other}");
        }
    }
}
