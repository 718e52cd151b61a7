//! What a backup must know of sweeps: which objects it must not rely on, and whether those it relied on are still there.

use std::collections::BTreeSet;

use futures::StreamExt;

use crate::archive::layout::{self, Kind};
use crate::archive::repository::RepositoryError;
use crate::archive::survey::unusable;
use crate::codec::frames;
use crate::limits::{REUSED_HEADS, SURVEY_READS};
use crate::target::{ObjectInfo, Target};

use super::list::{ListError, SweepList, Urgency};

/// Objects that stand on a list of a sweep. They lie in the target and may be gone any moment.
#[derive(Clone, Debug, Default)]
pub struct Doomed {
    names: BTreeSet<String>,
    /// A list could not be read, so any object may stand on it.
    unknown: bool,
}

impl Doomed {
    /// Reads all lists of `targets`. Call it before anything of the backup is stored.
    ///
    /// A list that cannot be read dooms everything: the backup then relies on nothing that was there before.
    pub async fn read(targets: &[Target]) -> Self {
        let mut doomed = Self::default();
        for target in targets {
            let Ok(listed) = target.list(layout::SWEEP).await else {
                doomed.unknown = true;
                continue;
            };
            for list in read_lists(target, &listed).await {
                match list {
                    Ok(list) => doomed.names.extend(list.objects.into_iter().map(|one| one.name)),
                    Err(ListError::Gone) => {}
                    Err(_) => doomed.unknown = true,
                }
            }
        }
        doomed
    }

    /// Whether a backup must not rely on the object of this name, if there is one.
    pub fn contains(&self, object: &str) -> bool {
        self.unknown || self.names.contains(object)
    }

    /// An object named by its digest, which `name` gives, such that it is none of the doomed: where it would be, a frame
    /// that readers skip is added to it. `salt` must be the backup's own.
    pub fn avoid(&self, mut stored: Vec<u8>, salt: &str, name: impl Fn(&[u8]) -> String) -> (String, Vec<u8>) {
        let first = name(&stored);
        if !self.contains(&first) {
            return (first, stored);
        }
        stored.extend(frames::skippable(salt.as_bytes()));
        (name(&stored), stored)
    }
}

/// Makes sure that a backup's objects are still there: `needed` are all that it needs and could share with others, `reused`
/// those of them that it found there. Call it after its record was written; where it fails the record must go again.
///
/// Whoever deletes lists what goes at once, then reads all records. So either it knew of this record, or its list is seen here.
///
/// # Errors
/// [`RepositoryError::Swept`] with an object that is missing, or that is being deleted at this moment.
pub async fn check(target: &Target, needed: &[String], reused: &[String]) -> Result<(), RepositoryError> {
    let going = going(target).await?;
    let there = if reused.len() <= REUSED_HEADS {
        heads(target, reused).await?
    } else {
        let listed = target.list("").await.map_err(|error| unusable(target, error))?;
        listed.into_iter().map(|(name, _)| name).collect()
    };
    let gone = reused.iter().find(|name| !there.contains(*name));
    match gone.or_else(|| needed.iter().find(|name| going.contains(*name))) {
        None => Ok(()),
        Some(object) => Err(RepositoryError::Swept {
            target: target.name().clone(),
            object: object.clone(),
        }),
    }
}

async fn heads(target: &Target, names: &[String]) -> Result<BTreeSet<String>, RepositoryError> {
    let looked = names.iter().map(|name| async move { (name, target.head(name).await) });
    let looked: Vec<_> = futures::stream::iter(looked).buffered(SURVEY_READS).collect().await;
    let mut there = BTreeSet::new();
    for (name, found) in looked {
        if found.map_err(|error| unusable(target, error))?.is_some() {
            there.insert(name.clone());
        }
    }
    Ok(there)
}

async fn read_lists(target: &Target, listed: &[(String, ObjectInfo)]) -> Vec<Result<SweepList, ListError>> {
    let lists = listed
        .iter()
        .filter(|(name, _)| Kind::of(name) == Some(Kind::SweepList));
    let read = lists.map(|(name, _)| SweepList::read(target, name));
    futures::stream::iter(read).buffered(SURVEY_READS).collect().await
}

/// Objects that are being deleted at this moment. A list that cannot be read is none of these: whoever deletes wrote his a
/// moment ago, and reads it too.
async fn going(target: &Target) -> Result<BTreeSet<String>, RepositoryError> {
    let mut going = BTreeSet::new();
    let listed = target
        .list(layout::SWEEP)
        .await
        .map_err(|error| unusable(target, error))?;
    for list in read_lists(target, &listed).await {
        match list {
            Ok(list) if list.when == Urgency::AtOnce => going.extend(list.objects.into_iter().map(|one| one.name)),
            Ok(_)
            | Err(
                ListError::Gone
                | ListError::Json(_)
                | ListError::Newer(_)
                | ListError::Object(_)
                | ListError::OtherName(_),
            ) => {}
            Err(ListError::Target(error)) => return Err(unusable(target, error)),
        }
    }
    Ok(going)
}
