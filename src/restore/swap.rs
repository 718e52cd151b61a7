//! Puts staged folders in the place of their destinations, all or none, and keeps what they replace.
//!
//! Every rename is listed in a journal that is on the disk before the first of them; a rename of the journal itself is the
//! commit. A process that dies before it has changed nothing, as soon as the next command has looked; one that dies after
//! it has changed everything. What was there is the rollback point, and the journal its index entry.
//!
//! A stage first takes the name under which the old folder will be kept, then the two exchange names in one call: at every
//! moment the destination is one whole tree, and what was there never bears a name that says it may be removed.

mod apart;
mod disk;
mod entry;
mod moves;
mod planning;
pub mod record;
pub mod recovery;
mod run;
pub mod scan;
mod settle;

use std::path::PathBuf;

pub use apart::{check_apart, real_path};
pub use run::Done;
pub use settle::SettleError;

use super::error::RestoreError;
use super::stage::Stage;
use crate::id::{BackupId, EnvName, Instance, RunId, SourceName};
use record::{Kept, SwapRecord};

/// A destination and what takes its place.
#[derive(Debug)]
pub struct SwapItem {
    /// The source it belongs to, for people.
    pub source: SourceName,
    /// Where it goes.
    pub destination: PathBuf,
    /// What goes there.
    pub with: With,
}

/// What takes the place of a destination.
#[derive(Debug)]
pub enum With {
    /// A stage, made by [`Stage::beside`] for this destination, and written.
    Stage(Stage),
    /// What an earlier swap replaced; nothing where there was nothing.
    Kept(Vec<Kept>),
}

/// What the journal says about a swap beside its renames.
#[derive(Clone, Debug)]
pub struct About {
    /// The run.
    pub run: RunId,
    /// The environment.
    pub environment: EnvName,
    /// The host.
    pub host: String,
    /// The host or role whose data it is.
    pub instance: Instance,
    /// Who runs it.
    pub actor: String,
    /// The present moment.
    pub now: jiff::Timestamp,
    /// The backup that is restored.
    pub backup: Option<BackupId>,
    /// The point that is put back.
    pub takes: Option<SwapRecord>,
}

/// A destination that holds other data now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swapped {
    /// The source it belongs to.
    pub source: SourceName,
    /// The destination, its real path.
    pub destination: PathBuf,
    /// Where that lies which was there before: for the destination itself, then for each mount point in it. Nothing where
    /// nothing was there.
    pub replaced: Vec<PathBuf>,
}

/// Whether a swap keeps a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Journalling {
    /// It does.
    On,
    /// The planted bug, by which the tests of the crash show that they would find one.
    #[cfg(test)]
    Off,
}

impl Journalling {
    const fn is_on(self) -> bool {
        match self {
            Self::On => true,
            #[cfg(test)]
            Self::Off => false,
        }
    }
}

/// Puts every item in its place. What was there is kept beside it as `.<name>.strongroom-replaced-<time>-<run>`, inside of
/// it where it is a mount point.
///
/// # Errors
/// Where a destination cannot be replaced: all are as before then, or the error says that the journal stays.
pub fn swap(items: Vec<SwapItem>, about: &About) -> Result<Done, RestoreError> {
    run::swap_by(items, about, Journalling::On, &mut disk::Kernel)
}

#[cfg(test)]
mod tests;
