//! Deletes objects that no backup needs, in two phases, so that no backup under way loses what it relies on.
//!
//! A sweep lists unneeded objects under `sweep/`. A later one deletes those that were listed at least `grace` ago and are
//! still unneeded by the records of all environments, which are read again just before each batch. Why that is enough: a
//! backup reuses nothing that stands on a list when it begins ([`doomed`]), so whatever it reuses is listed later than that;
//! it writes its record at most `max-run` after it began; no sweep deletes later than `max-run` after it began; and `grace` is
//! more than the two together. So its record is read before what it needs could go.
//!
//! Two sweeps at once must not delete an object twice, with a backup between them that stored it anew: whoever deletes lists
//! what goes at once first, and that list stays for `max-run`. What stands on it is nobody else's to delete, and no backup
//! stores it under that name.
//!
//! Ages are differences of the store's own time stamps. Where it is not known what is needed nothing is deleted.

mod act;
pub mod doomed;
mod list;
mod standing;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

pub use self::act::Sweeper;
pub use self::list::{ListError, Listed, SweepList, Urgency};
pub use self::standing::{Found, Standing, find_lists, standing};
use super::repository::RepositoryError;
use crate::clock::Clock;
use crate::id::RunId;

/// What bounds a sweep.
#[derive(Clone)]
pub struct Settings {
    /// The run that sweeps.
    pub run: RunId,
    /// How long an object must have been listed before it is deleted.
    pub grace: Duration,
    /// How long any run may take, this one included.
    pub max_run: Duration,
    /// Where the time of the host comes from.
    pub clock: Arc<dyn Clock>,
    /// Ends the sweep between two batches once it is set.
    pub stop: Arc<AtomicBool>,
}

/// Hears of each act before it is done. An error ends the sweep, and the act is not done: no record, no effect.
pub trait Witness {
    /// Why an act may not be done.
    type Error;

    /// A list of unneeded objects is about to be written.
    fn listing(&mut self, list: &str, amount: Amount) -> Result<(), Self::Error>;

    /// These objects are about to be deleted.
    fn deleting(&mut self, objects: &[String]) -> Result<(), Self::Error>;

    /// So much was deleted.
    fn deleted(&mut self, amount: Amount) -> Result<(), Self::Error>;
}

/// A number of objects and their stored bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Amount {
    /// Objects.
    pub objects: u64,
    /// Stored bytes.
    pub bytes: u64,
}

impl Amount {
    /// How much `listed` comes to.
    pub fn of(listed: &[Listed]) -> Self {
        let mut amount = Self::default();
        for one in listed {
            amount.add(one.bytes);
        }
        amount
    }

    /// Adds one object.
    pub fn add(&mut self, bytes: u64) {
        self.objects = self.objects.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Adds another amount.
    pub fn join(&mut self, other: Self) {
        self.objects = self.objects.saturating_add(other.objects);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// Why a sweep ended early. What it deleted until then no backup needed.
#[derive(Debug)]
pub enum SweepError<E> {
    /// It is not known what is needed: the survey has the doubts.
    Doubt,
    /// The target failed.
    Target(RepositoryError),
    /// The witness would not have it.
    Witness(E),
    /// It took longer than a run may take.
    Slow,
    /// It was told to stop.
    Stopped,
}

impl<E> From<RepositoryError> for SweepError<E> {
    fn from(error: RepositoryError) -> Self {
        Self::Target(error)
    }
}

/// What a sweep did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Objects that it listed.
    pub listed: Amount,
    /// Objects that it deleted, lists not counted.
    pub deleted: Amount,
    /// Lists that could not be read and were taken for nothing; what they named is listed again.
    pub unreadable: Vec<String>,
}

#[cfg(test)]
mod tests;
