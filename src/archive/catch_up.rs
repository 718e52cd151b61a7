//! Copies whole backups into a target that lags behind, from those that have them.
//!
//! Objects come first and the record last, as where a backup is made: killed anywhere, a copy leaves no backup or a whole one,
//! and the next one goes on where it stopped. Everything is copied byte for byte, and compared with the digest that its record
//! or its name has before it becomes an object of the target. Nothing is overwritten.
//!
//! What stands on a list of a sweep there is neither relied on nor stored once more under its name: what holds for a backup
//! ([`super::sweep`]) holds for a copy. A copy cannot choose other names, so such a backup is passed over.

mod copy;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;

use crate::clock::Clock;
use crate::crypto::{Digest, age};
use crate::diagnostic::{Code, Diagnose};
use crate::event::Events;
use crate::id::TargetName;
use crate::limits::{LARGE_FILE, RECORD_MAX, REFS_MAX};
use crate::target::{Created, Target, TargetError};

use self::copy::{Needed, NotCopied as NotRead, read_whole};
use super::epoch::KEY_OBJECT_MAX;
use super::layout;
use super::recovery;
use super::refs::Refs;
use super::repository::{self, Backup, RepositoryError};
use super::signature;
use super::sums;
use super::survey::unusable;
use super::sweep::Amount;
use super::sweep::doomed::{self, Doomed};

/// What bounds the copying. Moments are those of the host's clock that runs on while it sleeps.
#[derive(Clone)]
pub struct Bounds {
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// From when on no further backup is begun, and no further object but small ones. The first object is copied all the same, so
    /// that each run gets on, however large an object is.
    pub until: Duration,
    /// From when on nothing is copied and no record is written. Less than `max-run` after the begin of the run.
    pub last: Duration,
    /// Ends the copying once it is set.
    pub stop: Arc<AtomicBool>,
}

/// Why a backup was passed over. The target can be used, and so can the next backup.
#[derive(Debug, thiserror::Error)]
pub enum NotCopied {
    /// No target has all of it as it should be.
    #[error("no copy of it is whole")]
    Damaged(#[source] RepositoryError),
    /// It needs something that a sweep of the target may delete any moment.
    #[error("a sweep of target `{target}` may delete `{object}` any moment")]
    Doomed {
        /// The target that lags behind.
        target: TargetName,
        /// Object.
        object: String,
    },
    /// Something else lies under the name of one of its objects.
    #[error("target `{target}` has another `{object}`")]
    InTheWay {
        /// The target that lags behind.
        target: TargetName,
        /// Object.
        object: String,
    },
    /// Nobody could open it there.
    #[error("the keys of epoch {0}, which open it, lie in no target")]
    Keys(String),
}

impl Diagnose for NotCopied {
    fn code(&self) -> Code {
        Code::NotCaughtUp
    }

    fn help(&self) -> Option<String> {
        Some(match self {
            Self::Damaged(error) => return error.help(),
            Self::Doomed { .. } => "nothing is to be done: the backups made from now on go into all targets".into(),
            Self::InTheWay { .. } => "look at the object; `strongroom verify` tells which copy is sound".into(),
            Self::Keys(_) => "bring `keys/` back from a copy of a target".into(),
        })
    }
}

/// Why a backup is not in the target.
#[derive(Debug)]
pub enum Ended {
    /// It was passed over.
    PassedOver(NotCopied),
    /// The time is up. What was copied stays, and the next run goes on.
    Late,
    /// The run was told to stop.
    Stopped,
    /// The target failed.
    Target(RepositoryError),
    /// Its record is written, and something it relies on was deleted meanwhile: the caller must remove the record.
    Swept(RepositoryError),
}

/// A target that lags behind, as it was when its lists were read.
pub struct Lagging {
    target: Target,
    doomed: Doomed,
    /// Objects and their bytes.
    there: BTreeMap<String, u64>,
    bounds: Bounds,
    events: Events,
    copied: Amount,
}

impl Lagging {
    /// Looks at what is there: the lists of sweeps first, as whoever relies on an object must.
    ///
    /// # Errors
    /// When the target cannot be listed.
    pub async fn look(target: &Target, bounds: Bounds, events: &Events) -> Result<Self, RepositoryError> {
        let doomed = Doomed::read(std::slice::from_ref(target)).await;
        let listed = target.list("").await.map_err(|error| unusable(target, error))?;
        Ok(Self {
            target: target.clone(),
            doomed,
            there: listed.into_iter().map(|(name, info)| (name, info.size)).collect(),
            bounds,
            events: events.clone(),
            copied: Amount::default(),
        })
    }

    /// What was copied until now.
    pub const fn copied(&self) -> Amount {
        self.copied
    }

    /// Copies a backup from the targets that have it. `keys` are key objects that this host made itself.
    ///
    /// # Errors
    /// When it is not in the target then; what was copied of it stays there for the next try, or for a sweep.
    pub async fn take(&mut self, backup: &Backup, keys: &[(String, Bytes)]) -> Result<(), Ended> {
        let wanted = self.wanted(backup).await?;
        let mut reused = Vec::new();
        for needed in &wanted.content {
            if self.copy(&backup.targets, needed).await? == Created::Existed {
                reused.push(needed.name.clone());
            }
        }
        let record = &backup.record;
        if let Some(epoch) = &record.epoch {
            self.take_keys(&backup.targets, epoch, keys).await?;
        }
        let put = recovery::copy(&self.target, &backup.targets, &record.recovery).await;
        put.map_err(Ended::Target)?;
        for (name, bytes) in wanted.small {
            if self.put(&name, bytes).await? == Created::Existed {
                reused.push(name);
            }
        }
        self.check_last()?;
        let object = layout::record(&record.environment, &record.id);
        self.put(&object, backup.bytes.clone()).await?;
        match doomed::check(&self.target, &wanted.names, &reused).await {
            Ok(()) => Ok(()),
            Err(error) => Err(Ended::Swept(error)),
        }
    }

    /// Everything that a backup needs, read where it is small, and found fit to be copied.
    async fn wanted(&self, backup: &Backup) -> Result<Wanted, Ended> {
        self.check()?;
        let (record, sources) = (&backup.record, backup.targets.as_slice());
        let listed = &record.refs;
        let is_listed = |bytes: &[u8]| bytes.len() as u64 == listed.bytes && Digest::of(bytes) == listed.blake3;
        let list = self.small(sources, &listed.name, REFS_MAX, is_listed).await?;
        let refs = Refs::from_object(&list).map_err(|what| self.damaged(sources, &listed.name, what))?;
        let mut content = Vec::new();
        for (name, bytes, digest) in repository::all_objects(record, &refs) {
            if name == listed.name {
                continue;
            }
            match digest {
                // What only one of record and list names a sweep would not know, or nobody could check.
                Some(digest) if refs.get(&name).is_some_and(|one| one.bytes == bytes) => {
                    content.push(Needed { name, bytes, digest });
                }
                _ => return Err(self.damaged(sources, &name, "is not the same in the record and its list")),
            }
        }
        if content.len() != refs.iter().len() {
            return Err(self.damaged(sources, &listed.name, "names other objects than the record"));
        }
        let sums = sums::text(record, &backup.bytes, &refs);
        let sums_name = layout::sums(&record.environment, &record.id);
        let is_same = |bytes: &[u8]| bytes == sums.as_bytes();
        let sums = self.small(sources, &sums_name, RECORD_MAX, is_same).await?;
        let signature_name = layout::signature(&record.environment, &record.id);
        let is_own = |bytes: &[u8]| signature::is_of(bytes, record, &backup.bytes);
        let signature = self.small(sources, &signature_name, RECORD_MAX, is_own).await?;
        let small = vec![
            (listed.name.clone(), list),
            (sums_name, sums),
            (signature_name, signature),
        ];
        let names = content.iter().map(|needed| &needed.name);
        let names: Vec<String> = names.chain(small.iter().map(|(name, _)| name)).cloned().collect();
        match names.iter().find(|name| self.doomed.contains(name)) {
            None => Ok(Wanted { content, small, names }),
            Some(object) => Err(Ended::PassedOver(NotCopied::Doomed {
                target: self.target.name().clone(),
                object: object.clone(),
            })),
        }
    }

    /// Reads a small object of a backup from the first target where it is as it should be.
    async fn small(
        &self,
        sources: &[Target],
        name: &str,
        limit: usize,
        fits: impl Fn(&[u8]) -> bool,
    ) -> Result<Bytes, Ended> {
        let mut first = None;
        for source in sources {
            let found = match read_whole(source, name, limit).await {
                Ok(bytes) if fits(&bytes) => return Ok(bytes),
                Ok(_) => wrong(source, name, "is not that of the record"),
                Err(error) => error,
            };
            first.get_or_insert(found);
        }
        Err(self.no_copy(name, first))
    }

    /// Copies one object, where it is not there, from the first target that has it as it should be.
    async fn copy(&mut self, sources: &[Target], needed: &Needed) -> Result<Created, Ended> {
        match self.there.get(&needed.name) {
            Some(bytes) if *bytes == needed.bytes => return Ok(Created::Existed),
            Some(_) => return Err(self.in_the_way(&needed.name)),
            None => {}
        }
        let mut first = None;
        for source in sources {
            if needed.bytes > LARGE_FILE {
                self.check()?;
            }
            match copy::copy(source, &self.target, needed, &self.events, || self.check()).await {
                Ok(created) => {
                    self.note(&needed.name, needed.bytes, created);
                    return Ok(created);
                }
                Err(NotRead::Source(error)) => drop(first.get_or_insert(error)),
                Err(NotRead::Target(error)) => return Err(Ended::Target(error)),
                Err(NotRead::InTheWay) => return Err(self.in_the_way(&needed.name)),
                Err(NotRead::Ended(ended)) => return Err(ended),
            }
        }
        Err(self.no_copy(&needed.name, first))
    }

    /// Stores a small object whose bytes are known to be right.
    async fn put(&mut self, name: &str, bytes: Bytes) -> Result<Created, Ended> {
        let (target, length) = (&self.target, bytes.len() as u64);
        let failed = |error| Ended::Target(unusable(target, error));
        let created = target.create(name, bytes.clone()).await.map_err(failed)?;
        if created == Created::Existed {
            match target.read(name, bytes.len()).await {
                Ok(there) if there == bytes => {}
                Ok(_) | Err(TargetError::TooLarge { .. }) => return Err(self.in_the_way(name)),
                Err(error) => return Err(failed(error)),
            }
        }
        self.note(name, length, created);
        Ok(created)
    }

    /// Makes sure that whoever can open the backup elsewhere can open it here. What lies here under a name stays.
    async fn take_keys(&mut self, sources: &[Target], epoch: &str, own: &[(String, Bytes)]) -> Result<(), Ended> {
        let is_of_epoch = |name: &str| layout::parse_key(name).is_some_and(|(of, _)| of == epoch);
        let mut keys: BTreeMap<String, Bytes> = BTreeMap::new();
        for source in sources {
            // A target that does not list them leaves them to the others.
            for (name, _) in source.list(layout::KEYS).await.unwrap_or_default() {
                if !is_of_epoch(&name) || keys.contains_key(&name) {
                    continue;
                }
                // Nothing tells its bytes from others without a key; what is no age file at all opens for nobody.
                let bytes = read_whole(source, &name, KEY_OBJECT_MAX).await;
                if let Some(bytes) = bytes.ok().filter(|bytes| age::count_recipients(bytes).is_ok()) {
                    keys.insert(name, bytes);
                }
            }
        }
        keys.extend(own.iter().filter(|(name, _)| is_of_epoch(name)).cloned());
        for (name, bytes) in &keys {
            if !self.there.contains_key(name) {
                let created = self.target.create(name, bytes.clone()).await;
                let created = created.map_err(|error| Ended::Target(unusable(&self.target, error)))?;
                self.note(name, bytes.len() as u64, created);
            }
        }
        if self.there.keys().any(|name| is_of_epoch(name)) {
            Ok(())
        } else {
            Err(Ended::PassedOver(NotCopied::Keys(epoch.to_owned())))
        }
    }

    fn note(&mut self, name: &str, bytes: u64, created: Created) {
        self.there.insert(name.to_owned(), bytes);
        if created == Created::New {
            self.copied.add(bytes);
        }
    }

    /// What is said where no target has an object as it should be; `first` is what was wrong in the first one.
    fn no_copy(&self, object: &str, first: Option<RepositoryError>) -> Ended {
        let nowhere = || wrong(&self.target, object, "is in no other target");
        Ended::PassedOver(NotCopied::Damaged(first.unwrap_or_else(nowhere)))
    }

    fn damaged(&self, sources: &[Target], object: &str, what: &'static str) -> Ended {
        let found = sources.first().map(|source| wrong(source, object, what));
        self.no_copy(object, found)
    }

    fn in_the_way(&self, object: &str) -> Ended {
        Ended::PassedOver(NotCopied::InTheWay {
            target: self.target.name().clone(),
            object: object.to_owned(),
        })
    }

    /// Whether there is time for more.
    fn check(&self) -> Result<(), Ended> {
        let late = self.bounds.clock.uptime() >= self.bounds.until;
        if late && self.copied.objects > 0 {
            return Err(Ended::Late);
        }
        self.check_last()
    }

    fn check_last(&self) -> Result<(), Ended> {
        if self.bounds.stop.load(Ordering::Relaxed) {
            Err(Ended::Stopped)
        } else if self.bounds.clock.uptime() >= self.bounds.last {
            Err(Ended::Late)
        } else {
            Ok(())
        }
    }
}

/// What is copied of a backup.
struct Wanted {
    /// Archive or packs, and segments.
    content: Vec<Needed>,
    /// What is put behind them, in order.
    small: Vec<(String, Bytes)>,
    /// The names of all of it.
    names: Vec<String>,
}

fn wrong(target: &Target, object: &str, what: &'static str) -> RepositoryError {
    RepositoryError::Damaged {
        target: target.name().clone(),
        object: object.to_owned(),
        what,
    }
}

#[cfg(test)]
mod tests;
