//! The acts of a sweep: lists what is unneeded, deletes what is due, purges at once. Each is told before it is done.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;

use crate::archive::layout::{self, FORMAT, Kind};
use crate::archive::repository::RepositoryError;
use crate::archive::survey::{Survey, unusable};
use crate::limits::{SWEEP_BATCH, SWEEP_LISTED, SWEEP_LISTS};
use crate::target::{Created, ObjectInfo, Target};

use super::list::{Listed, SweepList, Urgency};
use super::standing::{Found, Standing, find_lists, standing};
use super::{Amount, Settings, SweepError, Swept, Witness};

/// A sweep of one target.
pub struct Sweeper<'a> {
    survey: Survey,
    settings: &'a Settings,
    /// Lists that say something, this sweep's own among them.
    lists: Vec<Found>,
    /// When the lists were read or earlier, by the host's clock that runs on while it sleeps.
    began: Duration,
    swept: Swept,
}

impl<'a> Sweeper<'a> {
    /// Surveys a target and reads the lists that there are; `None` where there is no repository yet.
    ///
    /// # Errors
    /// When the target fails, is no repository, or is one of a newer format.
    pub async fn begin(target: &Target, settings: &'a Settings) -> Result<Option<Self>, RepositoryError> {
        let began = settings.clock.uptime();
        let Some(survey) = Survey::take(target).await? else {
            return Ok(None);
        };
        let lists = find_lists(&survey).await?;
        Ok(Some(Self {
            survey,
            settings,
            lists,
            began,
            swept: Swept::default(),
        }))
    }

    /// The survey as it stands now.
    pub const fn survey(&self) -> &Survey {
        &self.survey
    }

    /// Takes note that a record was removed by this run.
    pub fn record_removed(&mut self, object: &str) {
        self.survey.gone(object);
    }

    /// Reads the records once more, after one of them was removed. Says whether it is still unknown what is needed.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn survey_again(&mut self) -> Result<bool, RepositoryError> {
        self.survey.read_records_again().await?;
        Ok(!self.survey.doubts().is_empty())
    }

    /// What was done so far.
    pub const fn swept(&self) -> &Swept {
        &self.swept
    }

    /// Where everything stands at `now`; `None` where it is not known what is needed.
    pub fn standing(&self, now: Timestamp) -> Option<Standing> {
        standing(&self.survey, &self.lists, now, self.settings)
    }

    /// Lists what is unneeded, then deletes what is due: one whole sweep.
    ///
    /// # Errors
    /// Where it is not known what is needed, the target fails or the witness refuses; what was done until then stands.
    pub async fn sweep<W: Witness>(&mut self, witness: &mut W) -> Result<(), SweepError<W::Error>> {
        let unlisted = self.unlisted()?;
        if unlisted.is_empty() && self.lists.is_empty() {
            return Ok(());
        }
        // The store's present is the time stamp of what was just written, so a list is written even if it names nothing.
        let own = self.list(&unlisted, Urgency::Later, witness).await?;
        self.delete_due(own.1.modified, witness).await?;
        if unlisted.is_empty() {
            self.delete_lists(vec![own.0], witness).await?;
        }
        // What a list named that says nothing any more waits anew.
        self.list_unneeded(witness).await
    }

    /// Lists what no backup needs and no list names.
    ///
    /// # Errors
    /// As [`Sweeper::sweep`].
    pub async fn list_unneeded<W: Witness>(&mut self, witness: &mut W) -> Result<(), SweepError<W::Error>> {
        let unlisted = self.unlisted()?;
        if !unlisted.is_empty() {
            self.list(&unlisted, Urgency::Later, witness).await?;
        }
        Ok(())
    }

    /// Removes the lists that say nothing any more. Call it before a backup is removed: what it needs and an old list names
    /// would else have no grace. (Deleting what is due does it too.)
    ///
    /// # Errors
    /// As [`Sweeper::sweep`].
    pub async fn void_lists<W: Witness>(&mut self, witness: &mut W) -> Result<(), SweepError<W::Error>> {
        // At the begin of time nothing is due.
        self.delete_due(Timestamp::MIN, witness).await
    }

    /// Deletes what is due at `now`, which must not be later than the store's present.
    ///
    /// # Errors
    /// As [`Sweeper::sweep`].
    pub async fn delete_due<W: Witness>(
        &mut self,
        now: Timestamp,
        witness: &mut W,
    ) -> Result<(), SweepError<W::Error>> {
        let standing = self.standing(now).ok_or(SweepError::Doubt)?;
        self.delete(&standing.due, witness).await?;
        self.swept.unreadable.extend(standing.unreadable);
        let gone = [standing.spent, standing.void].concat();
        self.delete_lists(gone, witness).await
    }

    /// Deletes at once those of `objects` that no backup needs. A backup under way that relies on one of them withdraws.
    ///
    /// # Errors
    /// As [`Sweeper::sweep`].
    pub async fn purge<W: Witness>(
        &mut self,
        objects: &BTreeSet<String>,
        witness: &mut W,
    ) -> Result<(), SweepError<W::Error>> {
        let needed = self.survey.needed().ok_or(SweepError::Doubt)?;
        let there = self.survey.objects().iter();
        let unneeded = there.filter(|(name, _)| {
            objects.contains(*name) && Kind::of(name).is_some_and(Kind::is_swept) && !needed.contains(name)
        });
        let unneeded: Vec<Listed> = unneeded.map(|(name, info)| listed(name, info)).collect();
        self.delete(&unneeded, witness).await
    }

    fn unlisted<E>(&self) -> Result<Vec<Listed>, SweepError<E>> {
        // At the begin of time nothing is due, and what is listed is listed.
        let standing = self.standing(Timestamp::MIN).ok_or(SweepError::Doubt)?;
        let mut unlisted = standing.unlisted;
        unlisted.truncate(SWEEP_LISTED);
        Ok(unlisted)
    }

    /// Writes a list under the first name of this run that is free.
    async fn list<W: Witness>(
        &mut self,
        objects: &[Listed],
        when: Urgency,
        witness: &mut W,
    ) -> Result<(String, ObjectInfo), SweepError<W::Error>> {
        let list = SweepList {
            format: FORMAT,
            run: self.settings.run,
            when,
            objects: objects.to_vec(),
        };
        let bytes = list.to_bytes().map_err(|error| RepositoryError::Write(error.into()))?;
        let target = self.survey.target().clone();
        for number in 1..=SWEEP_LISTS {
            let name = layout::sweep_list(self.settings.run, number);
            if self.survey.objects().contains_key(&name) {
                continue;
            }
            witness
                .listing(&name, Amount::of(objects))
                .map_err(SweepError::Witness)?;
            let created = target.create(&name, bytes.clone().into()).await;
            if created.map_err(|error| unusable(&target, error))? == Created::Existed {
                continue;
            }
            let found = target.head(&name).await.map_err(|error| unusable(&target, error))?;
            // Another sweep may have found that nothing of it is left.
            let Some(info) = found else { continue };
            self.survey.put(name.clone(), info);
            self.lists.push(Found {
                name: name.clone(),
                modified: info.modified,
                list: Some(list),
            });
            if when == Urgency::Later {
                self.swept.listed.join(Amount::of(objects));
            }
            return Ok((name, info));
        }
        Err(SweepError::Target(RepositoryError::Damaged {
            target: target.name().clone(),
            object: layout::SWEEP.to_owned(),
            what: "keeps no list that is written there",
        }))
    }

    /// Deletes objects batch by batch. The records are read again before each, and what one of them needs stays.
    ///
    /// A list of what goes at this moment is written first and left there for as long as a run may take: a backup must not
    /// store an object anew that another sweep, which knows of it from an older list, is about to delete once more.
    async fn delete<W: Witness>(&mut self, objects: &[Listed], witness: &mut W) -> Result<(), SweepError<W::Error>> {
        for part in objects.chunks(SWEEP_LISTED) {
            self.list(part, Urgency::AtOnce, witness).await?;
            for batch in part.chunks(SWEEP_BATCH) {
                self.check_stop()?;
                self.delete_batch(batch, witness).await?;
            }
        }
        Ok(())
    }

    async fn delete_batch<W: Witness>(
        &mut self,
        batch: &[Listed],
        witness: &mut W,
    ) -> Result<(), SweepError<W::Error>> {
        self.survey.read_records_again().await?;
        let needed = self.survey.needed().ok_or(SweepError::Doubt)?;
        let batch: Vec<&Listed> = batch.iter().filter(|one| !needed.contains(&one.name)).collect();
        let names: Vec<String> = batch.iter().map(|one| one.name.clone()).collect();
        if names.is_empty() {
            return Ok(());
        }
        witness.deleting(&names).map_err(SweepError::Witness)?;
        let mut amount = Amount::default();
        let mut result = Ok(());
        for one in batch {
            result = self.delete_one(&one.name).await;
            if result.is_err() {
                break;
            }
            amount.add(one.bytes);
        }
        self.swept.deleted.join(amount);
        witness.deleted(amount).map_err(SweepError::Witness)?;
        result
    }

    async fn delete_one<E>(&mut self, object: &str) -> Result<(), SweepError<E>> {
        // A host that slept since it read lists and records knows neither any more.
        if self.settings.clock.uptime().saturating_sub(self.began) >= self.settings.max_run {
            return Err(SweepError::Slow);
        }
        let target = self.survey.target().clone();
        target.delete(object).await.map_err(|error| unusable(&target, error))?;
        self.survey.gone(object);
        Ok(())
    }

    /// Deletes lists. Losing one costs time and nothing else: what it named is listed again.
    async fn delete_lists<W: Witness>(
        &mut self,
        names: Vec<String>,
        witness: &mut W,
    ) -> Result<(), SweepError<W::Error>> {
        let target = self.survey.target().clone();
        for batch in names.chunks(SWEEP_BATCH) {
            self.check_stop()?;
            witness.deleting(batch).map_err(SweepError::Witness)?;
            let mut amount = Amount::default();
            for name in batch {
                target.delete(name).await.map_err(|error| unusable(&target, error))?;
                amount.add(self.survey.objects().get(name).map_or(0, |info| info.size));
                self.survey.gone(name);
            }
            witness.deleted(amount).map_err(SweepError::Witness)?;
        }
        self.lists.retain(|found| !names.contains(&found.name));
        Ok(())
    }

    fn check_stop<E>(&self) -> Result<(), SweepError<E>> {
        if self.settings.stop.load(Ordering::Relaxed) {
            Err(SweepError::Stopped)
        } else {
            Ok(())
        }
    }
}

fn listed(name: &str, info: &ObjectInfo) -> Listed {
    Listed {
        name: name.to_owned(),
        bytes: info.size,
    }
}
