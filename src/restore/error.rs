//! Why a restore could not go on, and what is true of the data then.

use std::io;
use std::path::{Path, PathBuf};

use super::swap::Swapped;
use crate::diagnostic::{Code, Diagnose};
use crate::fs::entry::{TreePath, display_bytes};

/// What an archive tried that an archive must not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trick {
    /// The first entry is not the root, or the root is not a folder.
    #[error("comes before the root folder of its source")]
    NoRoot,
    /// The root comes twice or is not a folder.
    #[error("is the root of its source and not one folder")]
    Root,
    /// The folder that should hold the entry was not made by this archive, or was left before.
    #[error("lies in no folder that stands before it in the archive")]
    NoFolder,
    /// The same name twice in one folder.
    #[error("stands in the archive twice")]
    Twice,
    /// Nested deeper than any real tree.
    #[error("is nested deeper than a tree can be")]
    TooDeep,
    /// A name that no file system has.
    #[error("has a name longer than 255 bytes")]
    LongName,
    /// A hard link to something that is not there before it.
    #[error("is a hard link to something that does not stand before it in its source")]
    LinkToNothing,
    /// A hard link to a folder.
    #[error("is a hard link to a folder")]
    LinkToFolder,
    /// A symbolic link that holds nothing, a NUL or more than the kernel takes.
    #[error("is a symbolic link that cannot exist")]
    LinkTarget,
    /// Data extents that overlap, are out of order, empty, or beyond the size.
    #[error("has data extents that overlap, are out of order or lie beyond its size")]
    Extents,
    /// A size beyond what a file can have.
    #[error("is larger than a file can be")]
    Size,
    /// More bytes of content than the entry says.
    #[error("has more content than it says")]
    TooMuch,
    /// Fewer bytes of content than the entry says.
    #[error("has less content than it says")]
    TooLittle,
    /// Content without an entry, or an entry within an entry.
    #[error("is out of step with its content")]
    OutOfStep,
    /// Mode bits beyond 0o7777, an owner that cannot be, nanoseconds beyond a second.
    #[error("has a mode, an owner or a time that cannot be")]
    Numbers,
    /// An attribute name without namespace, or with a NUL, or too much of it.
    #[error("has an extended attribute that cannot exist")]
    Attribute,
    /// A device number beyond the kernel's.
    #[error("is a device with a number that cannot be")]
    Device,
}

/// Why a place cannot be restored into.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// The path has no last name: `/`, or it ends with `..`.
    #[error("has no name of its own")]
    NoName,
    /// A symbolic link.
    #[error("is a symbolic link")]
    Link,
    /// Something that is not a folder.
    #[error("is not a folder")]
    NotFolder,
    /// Something is mounted in it that is not a folder, or that the new tree has something else in the place of.
    #[error("holds the mount point `{0}`, which is or would be no folder")]
    HoldsMount(String),
    /// A mount point with more names directly in it than are exchanged one by one.
    #[error("is a mount point with too many names in it")]
    TooManyNames,
    /// A folder that has something in it.
    #[error("is not empty")]
    NotEmpty,
    /// Another source has the same destination.
    #[error("is the destination of more than one source")]
    Shared,
    /// Another source's destination lies beneath it.
    #[error("holds the destination of another source, `{0}`")]
    Holds(String),
    /// What is to be put in its place is not where it must be: a stage was moved, or what is mounted has changed.
    #[error("has nothing beside it that could be put in its place")]
    NoStage,
}

/// A swap that could not be undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// The journal, from which the next command goes on.
    pub journal: PathBuf,
    /// Why it could not be undone.
    pub why: String,
}

/// Why a restore could not go on.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The archive tried what an archive must not.
    #[error("the entry `{}` {trick}", .path.display())]
    Hostile {
        /// Path below the source's root.
        path: TreePath,
        /// What it tried.
        trick: Trick,
    },
    /// The destination cannot be restored into.
    #[error("the destination `{}` {unfit}", .path.display())]
    Destination {
        /// The destination.
        path: PathBuf,
        /// Why.
        unfit: Unfit,
    },
    /// The tree did not come to its end.
    #[error("the tree was not written to its end")]
    Unfinished,
    /// A call of the operating system failed.
    #[error("cannot {action} `{path}`")]
    Io {
        /// What was tried: "create".
        action: &'static str,
        /// On what.
        path: String,
        /// Why it failed.
        source: io::Error,
    },
    /// A destination could not be replaced; the ones before it were put back.
    #[error("cannot put the restored data in the place of `{}`", .destination.display())]
    Swap {
        /// The destination.
        destination: PathBuf,
        /// Why it failed.
        source: io::Error,
        /// What could not be undone; nothing where all destinations are as before.
        stuck: Option<Stuck>,
    },
    /// Another run is at work on the same destinations.
    #[error("another swap of these destinations is under way")]
    Busy {
        /// Its journal.
        journal: PathBuf,
    },
    /// All destinations were replaced, and the disk did not confirm it.
    #[error("the restored data is in place, but the disk did not confirm it for `{}`", .destination.display())]
    Unsynced {
        /// The destination.
        destination: PathBuf,
        /// Why it failed.
        source: io::Error,
        /// All destinations, each with the place where the old data is kept.
        swapped: Vec<Swapped>,
    },
}

impl RestoreError {
    /// A failed call on an entry of a tree.
    pub(super) fn entry(action: &'static str, path: &TreePath, source: io::Error) -> Self {
        let path = if path.is_root() { ".".to_owned() } else { path.display() };
        Self::Io { action, path, source }
    }

    /// A failed call on a path of the host.
    pub(super) fn path(action: &'static str, path: &Path, source: io::Error) -> Self {
        use std::os::unix::ffi::OsStrExt;
        Self::Io {
            action,
            path: display_bytes(path.as_os_str().as_bytes()),
            source,
        }
    }

    pub(super) fn hostile(path: &TreePath, trick: Trick) -> Self {
        Self::Hostile {
            path: path.clone(),
            trick,
        }
    }

    pub(super) fn unfit(path: &Path, unfit: Unfit) -> Self {
        Self::Destination {
            path: path.to_owned(),
            unfit,
        }
    }
}

/// Whether the call failed because there is no room.
fn no_room(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

impl Diagnose for RestoreError {
    fn code(&self) -> Code {
        match self {
            Self::Hostile { .. } => Code::ArchiveHostile,
            Self::Destination { .. } => Code::DestinationInvalid,
            Self::Io { source, .. } if no_room(source) => Code::DiskFull,
            Self::Busy { .. } => Code::Held,
            Self::Swap { stuck: Some(_), .. } => Code::SwapUnfinished,
            Self::Unfinished | Self::Io { .. } | Self::Swap { .. } | Self::Unsynced { .. } => Code::RestoreFailed,
        }
    }

    fn why(&self) -> Option<String> {
        match self {
            Self::Hostile { .. } => Some("no backup that this program made has such an entry".to_owned()),
            Self::Destination { unfit, .. } => Some(why_unfit(unfit).to_owned()),
            Self::Busy { journal } => Some(format!("its journal is `{}`", journal.display())),
            Self::Unfinished | Self::Io { .. } | Self::Swap { .. } | Self::Unsynced { .. } => None,
        }
    }

    fn state(&self) -> Option<String> {
        Some(match self {
            Self::Hostile { .. } | Self::Unfinished | Self::Io { .. } => {
                "nothing present was changed; what was unpacked until then is not in place".to_owned()
            }
            Self::Destination { .. } | Self::Busy { .. } => "nothing was moved".to_owned(),
            Self::Swap { stuck: None, .. } => "all destinations are as before".to_owned(),
            Self::Swap { stuck: Some(stuck), .. } => format!(
                "not every destination could be put back ({}); `{}` lists every rename, and the next command goes on from it",
                stuck.why,
                stuck.journal.display()
            ),
            Self::Unsynced { .. } => {
                "the restored data is in place and what it replaced is kept; a power cut now may undo it".to_owned()
            }
        })
    }

    fn help(&self) -> Option<String> {
        Some(match self {
            Self::Hostile { .. } => {
                "do not trust this backup; `verify` it, and restore another one or the copy in another target"
                    .to_owned()
            }
            Self::Destination { unfit, .. } => help_unfit(unfit).to_owned(),
            Self::Io { source, .. } if no_room(source) => {
                "free space on the file system of the destination: a restore needs room for both trees".to_owned()
            }
            Self::Unfinished | Self::Io { .. } => return None,
            Self::Busy { .. } => "wait until it has ended, and run the command again".to_owned(),
            Self::Swap { source, stuck: None, .. } => {
                if source.kind() != io::ErrorKind::CrossesDevices {
                    return None;
                }
                // An overlay says so of a folder that came with the image: it cannot rename that.
                "keep the data on a volume, not in the container's image, or use `--to DIR`".to_owned()
            }
            Self::Swap { .. } => {
                "leave the service stopped, see to the reason, and run any command of this environment again".to_owned()
            }
            Self::Unsynced { .. } => {
                "look at the kernel's log for errors of the disk; the next command of this environment finishes what is left"
                    .to_owned()
            }
        })
    }
}

fn why_unfit(unfit: &Unfit) -> &'static str {
    match unfit {
        Unfit::NoName => "the folder is replaced whole by renaming, and this one cannot be renamed",
        Unfit::Link => "replacing the link would leave the data it points to where it is",
        Unfit::NotFolder => "a source is restored as a folder",
        Unfit::HoldsMount(_) => "what is mounted cannot be renamed, and only folders are replaced by what lies in them",
        Unfit::TooManyNames => "each of them would be renamed on its own, and be listed in the journal",
        Unfit::NotEmpty => "a restore never mixes with files that are there already",
        Unfit::Shared | Unfit::Holds(_) => "each folder is replaced whole, so one source would undo the other",
        Unfit::NoStage => {
            "the data was moved or removed by someone else, or something was mounted or unmounted meanwhile"
        }
    }
}

fn help_unfit(unfit: &Unfit) -> &'static str {
    match unfit {
        Unfit::NoName => {
            "restore into a folder below it with a `[[step.destination]]`, or into an empty folder with `--to DIR`"
        }
        Unfit::Link => "write the real path of the folder in the manifest or in a `[[step.destination]]`",
        Unfit::NotFolder => "move it away, or name another folder in a `[[step.destination]]`",
        Unfit::HoldsMount(_) => "unmount it first, or restore into an empty folder with `--to DIR`",
        Unfit::TooManyNames => {
            "mount the volume one level higher, or restore with `--to DIR` and move the data by hand"
        }
        Unfit::NotEmpty => "name a folder that does not exist or is empty",
        Unfit::Shared | Unfit::Holds(_) => {
            "give one of the sources another folder in a `[[step.destination]]`, or use `--to DIR`"
        }
        Unfit::NoStage => "look at what is mounted, and run the command again",
    }
}
