//! All that decides what may go in a target: its objects, the records of every environment, what each of them needs.
//!
//! Where one record or one list of objects cannot be read nobody knows what is needed, so nothing may be deleted: only a
//! survey without [`Doubt`] gives [`Needed`].

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;

use crate::diagnostic::{Code, Diagnose};
use crate::id::TargetName;
use crate::limits::{RECORD_MAX, SURVEY_READS};
use crate::target::{ObjectInfo, Target, TargetError};

use super::layout::{self, Kind};
use super::record::{Record, RecordError};
use super::refs::{self, Refs, RefsError};
use super::repository::{self, Backup, RepositoryError};
use super::sweep::Listed;

/// Why it is not known what a target's backups need.
#[derive(Debug, thiserror::Error)]
pub enum Doubt {
    /// The target itself cannot be used.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// A record cannot be read.
    #[error("target `{target}`: the record `{object}` cannot be read")]
    Record {
        /// Target.
        target: TargetName,
        /// Object name.
        object: String,
        /// Why.
        #[source]
        source: RecordError,
    },
    /// A record's list of objects cannot be read.
    #[error("target `{target}`: what the backup `{backup}` needs is not known")]
    Refs {
        /// Target.
        target: TargetName,
        /// Object name of the record.
        backup: String,
        /// Why.
        #[source]
        source: RefsError,
    },
    /// Something lies among the records that may be one.
    #[error("target `{target}`: `{object}` lies among the records and is none that this program knows")]
    Stray {
        /// Target.
        target: TargetName,
        /// Object name.
        object: String,
    },
}

impl Diagnose for Doubt {
    fn code(&self) -> Code {
        match self {
            Self::Repository(error) => error.code(),
            Self::Record {
                source: RecordError::Newer(_),
                ..
            } => Code::FormatNewer,
            Self::Refs {
                source: RefsError::Target { source, .. },
                ..
            } => source.code(),
            Self::Record { .. } | Self::Refs { .. } | Self::Stray { .. } => Code::Damaged,
        }
    }

    fn why(&self) -> Option<String> {
        match self {
            Self::Stray { .. } => Some("a record of a newer program would lie there too".into()),
            Self::Repository(_) | Self::Record { .. } | Self::Refs { .. } => None,
        }
    }

    fn help(&self) -> Option<String> {
        Some(match self {
            Self::Repository(error) => return error.help(),
            Self::Record {
                source: RecordError::Newer(_),
                ..
            } => "sweep with the newer version of strongroom that made it".into(),
            Self::Record { object, .. } => format!(
                "copy `{object}` from another target; where there is none, let it go: `strongroom forget` with its whole id"
            ),
            Self::Refs {
                source: RefsError::Target { source, .. },
                ..
            } => return source.help(),
            Self::Refs { .. } => {
                "copy the list of objects from another target; where there is none, let the backup go: `strongroom forget`"
                    .into()
            }
            Self::Stray { .. } => "move it out of `backups/` if you know what it is".into(),
        })
    }
}

/// A record of a target and what it needs.
#[derive(Clone, Debug)]
pub struct Held {
    /// The backup; its only target is the surveyed one.
    pub backup: Backup,
    /// What the record says it needs; `None` where the list cannot be read.
    pub refs: Option<Refs>,
    /// The record's object as it was when it was read.
    stamp: ObjectInfo,
}

impl Held {
    fn is_read(&self, stamp: &ObjectInfo) -> bool {
        self.stamp == *stamp && self.refs.is_some()
    }

    /// Names of everything that goes when this backup goes and no other needs it.
    pub fn needs(&self) -> impl Iterator<Item = String> {
        let record = &self.backup.record;
        let own = [
            layout::sums(&record.environment, &record.id),
            layout::signature(&record.environment, &record.id),
            record.refs.name.clone(),
        ];
        let named = repository::objects(record).into_iter().map(|(name, ..)| name);
        let listed = self
            .refs
            .iter()
            .flat_map(|refs| refs.iter().map(|one| one.name.clone()));
        own.into_iter().chain(named).chain(listed)
    }
}

/// What lies in a target.
#[derive(Debug)]
pub struct Survey {
    target: Target,
    /// Objects of the format by name.
    objects: BTreeMap<String, ObjectInfo>,
    /// Records by object name.
    held: BTreeMap<String, Held>,
    doubts: Vec<Doubt>,
}

impl Survey {
    /// Lists a target whole and reads every record with its list of objects; `None` where there is no repository yet.
    ///
    /// # Errors
    /// When the target cannot be listed, is no repository, or is one of a newer format.
    pub async fn take(target: &Target) -> Result<Option<Self>, RepositoryError> {
        if repository::open(target).await?.is_none() {
            return Ok(None);
        }
        let listed = target.list("").await.map_err(|error| unusable(target, error))?;
        let mut survey = Self {
            target: target.clone(),
            objects: BTreeMap::new(),
            held: BTreeMap::new(),
            doubts: Vec::new(),
        };
        survey.read_records(&listed).await;
        let known = listed.into_iter().filter(|(name, _)| Kind::of(name).is_some());
        survey.objects = known.collect();
        Ok(Some(survey))
    }

    /// The target.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Everything that makes it unknown what is needed.
    pub fn doubts(&self) -> &[Doubt] {
        &self.doubts
    }

    /// The records by object name.
    pub fn held(&self) -> impl Iterator<Item = &Held> {
        self.held.values()
    }

    /// The objects of the format, by name.
    pub const fn objects(&self) -> &BTreeMap<String, ObjectInfo> {
        &self.objects
    }

    /// The latest time at which the store wrote anything that lies in the target. The store's present is not earlier.
    pub fn newest(&self) -> Option<jiff::Timestamp> {
        self.objects.values().map(|info| info.modified).max()
    }

    /// Takes note that an object is new.
    pub(super) fn put(&mut self, object: String, info: ObjectInfo) {
        self.objects.insert(object, info);
    }

    /// Takes note that an object, or the record of a backup, is gone.
    pub fn gone(&mut self, object: &str) {
        self.objects.remove(object);
        self.held.remove(object);
    }

    /// Reads what became of the records since. Those that went meanwhile still count: what they needed is not this
    /// sweep's to delete.
    ///
    /// # Errors
    /// When the records cannot be listed.
    pub async fn read_records_again(&mut self) -> Result<(), RepositoryError> {
        let listed = self.target.list(layout::RECORDS).await;
        let listed = listed.map_err(|error| unusable(&self.target, error))?;
        self.read_records(&listed).await;
        Ok(())
    }

    async fn read_records(&mut self, listed: &[(String, ObjectInfo)]) {
        self.doubts.clear();
        let among_records = listed.iter().filter(|(name, _)| name.starts_with(layout::RECORDS));
        let mut unread: Vec<(String, ObjectInfo)> = Vec::new();
        for (object, info) in among_records {
            match Kind::of(object) {
                Some(Kind::Record) if self.held.get(object).is_some_and(|held| held.is_read(info)) => {}
                Some(Kind::Record) => unread.push((object.clone(), *info)),
                None if object.strip_suffix(".json").is_some() => self.doubts.push(Doubt::Stray {
                    target: self.target.name().clone(),
                    object: object.clone(),
                }),
                _ => {}
            }
        }
        let target = &self.target;
        let read = unread
            .into_iter()
            .map(|(object, stamp)| read_one(target, object, stamp));
        let read: Vec<Read> = futures::stream::iter(read).buffered(SURVEY_READS).collect().await;
        for Read { object, held, doubt } in read {
            self.doubts.extend(doubt);
            if let Some(held) = held {
                self.held.insert(object, held);
            }
        }
    }

    /// What is needed in this target; `None` where there is any doubt.
    pub fn needed(&self) -> Option<Needed> {
        let certain = self.doubts.is_empty();
        certain.then(|| Needed(self.held.values().flat_map(Held::needs).collect()))
    }

    /// What no backup but those with these records needs, and they do; `None` where there is any doubt.
    pub fn needed_by_these_alone(&self, records: &BTreeSet<String>) -> Option<Vec<Listed>> {
        if !self.doubts.is_empty() {
            return None;
        }
        let needed_by = |these: bool| {
            let held = self
                .held
                .iter()
                .filter(move |(object, _)| records.contains(*object) == these);
            held.flat_map(|(_, held)| held.needs()).collect::<BTreeSet<String>>()
        };
        let (theirs, others) = (needed_by(true), needed_by(false));
        let alone = self
            .objects
            .iter()
            .filter(|(name, _)| theirs.contains(*name) && !others.contains(*name));
        Some(
            alone
                .map(|(name, info)| Listed {
                    name: name.clone(),
                    bytes: info.size,
                })
                .collect(),
        )
    }

    /// Why a backup is not whole here, by what is listed; `None` where everything it needs lies there with its size.
    pub fn lacks(&self, held: &Held) -> Option<String> {
        let record = &held.backup.record;
        let Some(refs) = &held.refs else {
            return Some(format!("`{}` cannot be read", record.refs.name));
        };
        let sized = repository::objects(record)
            .into_iter()
            .map(|(name, bytes, _)| (name, bytes))
            .chain(refs.iter().map(|one| (one.name.clone(), one.bytes)));
        for (name, bytes) in sized {
            match self.objects.get(&name) {
                None => return Some(format!("`{name}` is missing")),
                Some(info) if info.size != bytes => return Some(format!("`{name}` has another size")),
                Some(_) => {}
            }
        }
        let sums = layout::sums(&record.environment, &record.id);
        (!self.objects.contains_key(&sums)).then(|| format!("`{sums}` is missing"))
    }
}

/// Names of every object that a backup of the target needs.
#[derive(Debug)]
pub struct Needed(BTreeSet<String>);

impl Needed {
    /// Whether a backup needs this object.
    pub fn contains(&self, object: &str) -> bool {
        self.0.contains(object)
    }
}

/// What came of reading one record.
struct Read {
    object: String,
    held: Option<Held>,
    doubt: Option<Doubt>,
}

async fn read_one(target: &Target, object: String, stamp: ObjectInfo) -> Read {
    let (held, doubt) = match read_held(target, &object, stamp).await {
        Ok((held, doubt)) => (held, doubt),
        Err(doubt) => (None, Some(doubt)),
    };
    Read { object, held, doubt }
}

async fn read_held(target: &Target, object: &str, stamp: ObjectInfo) -> Result<(Option<Held>, Option<Doubt>), Doubt> {
    let Some((environment, id)) = layout::parse_record(object) else {
        return Ok((None, None));
    };
    let bytes = match target.read(object, RECORD_MAX).await {
        Ok(bytes) => bytes,
        // It was removed since it was listed: there is no such backup.
        Err(TargetError::NotFound { .. }) => return Ok((None, None)),
        Err(error) => return Err(unusable(target, error).into()),
    };
    let record = Record::parse(&bytes, &environment, &id).map_err(|source| Doubt::Record {
        target: target.name().clone(),
        object: object.to_owned(),
        source,
    })?;
    let (refs, doubt) = match refs::read(target, &record.refs).await {
        Ok(refs) => (Some(refs), None),
        // Both went since they were listed: there is no such backup.
        Err(RefsError::Missing(_)) if is_gone(target, object).await? => return Ok((None, None)),
        Err(source) => {
            let doubt = Doubt::Refs {
                target: target.name().clone(),
                backup: object.to_owned(),
                source,
            };
            (None, Some(doubt))
        }
    };
    let backup = Backup {
        record,
        bytes,
        targets: vec![target.clone()],
    };
    Ok((Some(Held { backup, refs, stamp }), doubt))
}

async fn is_gone(target: &Target, object: &str) -> Result<bool, Doubt> {
    let found = target.head(object).await;
    let found = found.map_err(|error| Doubt::from(unusable(target, error)))?;
    Ok(found.is_none())
}

pub(super) fn unusable(target: &Target, source: TargetError) -> RepositoryError {
    RepositoryError::Target {
        target: target.name().clone(),
        source,
    }
}
