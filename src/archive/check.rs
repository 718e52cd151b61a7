//! Checks a backup in one target: every stored object against its digest and, where it can be opened, every content against what the
//! catalog says. Each stored byte of archive and packs is read once for both.

use std::sync::Arc;

use crate::diagnostic::{Code, Diagnose};
use crate::event::Events;
use crate::target::Target;

use super::keys::Opening;
use super::proofs::Proofs;
use super::record::Record;
use super::repository::{self, RepositoryError};
use super::unpack::{self, UnpackError};

/// Why a backup is not sound, or cannot be checked.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// An object is not what the record says.
    #[error(transparent)]
    Object(#[from] RepositoryError),
    /// The content is not what the catalog says.
    #[error(transparent)]
    Content(#[from] UnpackError),
}

impl CheckError {
    fn inner(&self) -> &dyn Diagnose {
        match self {
            Self::Object(error) => error,
            Self::Content(error) => error,
        }
    }
}

impl Diagnose for CheckError {
    fn code(&self) -> Code {
        self.inner().code()
    }

    fn why(&self) -> Option<String> {
        self.inner().why()
    }

    fn state(&self) -> Option<String> {
        self.inner().state()
    }

    fn help(&self) -> Option<String> {
        self.inner().help()
    }
}

/// Compares every object of the backup with the record and, with a way to open it, every content with the catalog.
///
/// # Errors
/// At the first thing that is wrong: of an object that is not what it should be rather than of the content in it.
pub async fn stored(
    target: &Target,
    record: &Record,
    opening: Option<&Opening>,
    events: &Events,
) -> Result<(), CheckError> {
    let Some(opening) = opening else {
        return Ok(repository::check_objects(target, record, events).await?);
    };
    let archive = record.archive.as_ref().map(|archive| archive.name.as_str());
    let (mut later, first): (Vec<_>, Vec<_>) = repository::objects(record)
        .into_iter()
        .partition(|(name, ..)| Some(name.as_str()) == archive);
    repository::check_each(target, first, events).await?;
    later.extend(repository::packs(target, record).await?);
    // What stands behind an object's last byte is read by nobody who knows how many it has.
    repository::check_sizes(target, &later).await?;
    let proofs = Arc::new(Proofs::default());
    let read = unpack::check(target, record, opening, (events, &proofs)).await;
    repository::check_each(target, proofs.rest(later), events).await?;
    Ok(read?)
}
