//! Whose the epochs of a repository are. Environments may share one; who may read each of them is decided apart.

use std::collections::{BTreeMap, BTreeSet};

use crate::archive::layout;
use crate::archive::repository::{self, Listing};
use crate::diagnostic::{Code, Diagnostic};
use crate::id::EnvName;
use crate::target::Target;

use super::super::Failure;
use super::{UNTOUCHED, failed};

/// What the records that are listed say of the chunk key of each epoch.
pub(super) fn checks_of(listing: &Listing) -> BTreeMap<String, BTreeSet<String>> {
    let mut checks: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for record in listing.backups.iter().map(|backup| &backup.record) {
        if let Some(epoch) = &record.epoch {
            checks
                .entry(epoch.clone())
                .or_default()
                .extend(record.epoch_check.clone());
        }
    }
    checks
}

/// Which environments have backups that are sealed in each epoch.
pub(super) struct Whose {
    environment: EnvName,
    epochs: BTreeMap<String, BTreeSet<EnvName>>,
    /// What the records of this environment say of the chunk key of each epoch.
    checks: BTreeMap<String, BTreeSet<String>>,
}

impl Whose {
    /// Reads every record there is: one read for each.
    ///
    /// # Errors
    /// When a target does not give all of them: then nobody knows.
    pub(super) async fn look(targets: &[Target], environment: &EnvName) -> Result<Self, Failure> {
        let mut environments: BTreeSet<EnvName> = BTreeSet::new();
        for target in targets {
            let listed = target.list(layout::RECORDS).await;
            let listed = listed.map_err(|error| failed(target, &error))?;
            let named = listed.iter().filter_map(|(object, _)| layout::parse_record(object));
            environments.extend(named.map(|(environment, _)| environment));
        }
        let mut epochs: BTreeMap<String, BTreeSet<EnvName>> = BTreeMap::new();
        let mut checks = BTreeMap::new();
        for other in environments {
            let listing = repository::list(targets, &other).await;
            if !listing.unlisted.is_empty() {
                let unlisted = listing.unlisted.into_iter();
                return Err(unlisted.map(|(_, problem)| problem.state(UNTOUCHED)).collect());
            }
            if other == *environment {
                checks = checks_of(&listing);
            }
            for epoch in listing.backups.into_iter().filter_map(|backup| backup.record.epoch) {
                epochs.entry(epoch).or_default().insert(other.clone());
            }
        }
        Ok(Self {
            environment: environment.clone(),
            epochs,
            checks,
        })
    }

    /// What the records of this environment say of the chunk key of each epoch.
    pub(super) const fn checks(&self) -> &BTreeMap<String, BTreeSet<String>> {
        &self.checks
    }

    /// Whether records of this environment name the epoch.
    pub(super) fn is_named_here(&self, epoch: &str) -> bool {
        let named = self.epochs.get(epoch);
        named.is_some_and(|environments| environments.contains(&self.environment))
    }

    /// Why an epoch that seems to be this environment's is left alone; `None` where no record of another one names it.
    pub(super) fn refusal(&self, epoch: &str) -> Option<Diagnostic> {
        let others = self.epochs.get(epoch)?.iter().filter(|name| **name != self.environment);
        let others: Vec<String> = others.map(|name| format!("`{name}`")).collect();
        if others.is_empty() {
            return None;
        }
        let what = format!(
            "the keys of epoch {epoch} were not sealed anew: backups of {} are sealed in it too",
            others.join(", ")
        );
        Some(
            Diagnostic::warning(Code::Fenced, what)
                .why("whoever reads this environment would read those as well")
                .state("the epoch opens for those whom its keys were sealed to")
                .help(
                    "where the environments are meant to share it, give each a state folder of its own and `strongroom keys rotate`; \
                     else look who put a record there that names the epoch",
                ),
        )
    }
}
