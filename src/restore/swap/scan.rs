//! Finds what swaps have left in and beside destinations: journals of swaps that were cut short, rollback points, folders
//! of runs that are dead.
//!
//! Any of the folders leads to the whole of a swap: each has the journal, and the journal names the folder that decides.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, FlockOperation, Mode, OFlags};

use super::apart::real_path;
use super::record::{Phase, SwapRecord, SwapRecordError, is_new_name};
use crate::fs::create::{self, Identity};
use crate::fs::folder::Folder;
use crate::fs::own::{Own, beside};
use crate::id::{EnvName, RunId};
use crate::limits;
use crate::restore::clear::remove_tree;
use crate::restore::place::all_mounts;
use crate::restore::stage::VIEW;

/// A swap that was cut short.
#[derive(Clone, Debug)]
pub struct Unfinished {
    /// The journal.
    pub record: SwapRecord,
    /// How far it has come.
    pub phase: Phase,
    /// The file that decides.
    pub journal: PathBuf,
}

/// A rollback point: what a swap replaced.
#[derive(Clone, Debug)]
pub struct Point {
    /// Its index entry.
    pub record: SwapRecord,
    /// The file of the entry that decides.
    pub journal: PathBuf,
}

impl Point {
    /// Its name: time and run.
    pub fn id(&self) -> String {
        self.record.point_id()
    }

    /// Whether everything is there that it keeps.
    pub fn is_whole(&self) -> bool {
        let mut kept = self.record.items.iter().flat_map(|item| &item.kept);
        kept.all(super::record::Kept::is_there)
    }
}

/// A journal that cannot be followed.
#[derive(Clone, Debug)]
pub struct Strange {
    /// The file.
    pub journal: PathBuf,
    /// Why.
    pub why: String,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    /// Swaps that were cut short, oldest first.
    pub unfinished: Vec<Unfinished>,
    /// Rollback points, oldest first.
    pub points: Vec<Point>,
    /// Journals of swaps that cannot be followed.
    pub strange: Vec<Strange>,
    /// Index entries of points that cannot be read. No swap depends on them.
    pub strange_points: Vec<Strange>,
    /// Folders that a dead run unpacked into, and journals that one never came to use.
    pub stale: Vec<PathBuf>,
}

/// Looks above each of `destinations`, and in those that are mount points or hold some, for what belongs to
/// `environment`. Changes nothing.
pub fn scan(destinations: &[PathBuf], environment: &EnvName) -> Scan {
    // Without the table of mounts no destination could have been swapped either.
    let mounts = all_mounts().unwrap_or_default();
    scan_with(destinations, environment, &mounts)
}

pub(super) fn scan_with(destinations: &[PathBuf], environment: &EnvName, mounts: &BTreeSet<PathBuf>) -> Scan {
    let mut scan = Scan::default();
    let mut seen: BTreeSet<RunId> = BTreeSet::new();
    let real: BTreeSet<PathBuf> = destinations.iter().map(|d| real_path(d)).collect();
    let within = |destination: &PathBuf| -> Vec<PathBuf> {
        let mounted = mounts
            .range(destination.clone()..)
            .take_while(|mount| mount.starts_with(destination));
        let mounted: Vec<PathBuf> = mounted.cloned().collect();
        if mounted.is_empty() {
            mounted
        } else {
            std::iter::once(destination.clone()).chain(mounted).collect()
        }
    };
    let inside: BTreeSet<PathBuf> = real.iter().flat_map(within).collect();
    let above = real.iter().filter_map(|destination| destination.parent());
    let folders: BTreeSet<&Path> = above.chain(inside.iter().map(PathBuf::as_path)).collect();
    for folder in folders {
        for name in names(folder) {
            let Some((phase, run)) = Phase::of(name.as_bytes()) else {
                let path = folder.join(&name);
                if is_new_name(name.as_bytes()) && is_dead(&path) {
                    scan.stale.push(path);
                }
                continue;
            };
            if seen.insert(run) {
                scan.meet(&folder.join(&name), (phase, &run), environment);
            }
        }
    }
    let held: BTreeSet<PathBuf> = scan
        .unfinished
        .iter()
        .flat_map(|unfinished| &unfinished.record.items)
        .flat_map(|item| item.stages.iter().map(|stage| stage.at.0.clone()))
        .collect();
    let beside = real
        .iter()
        .filter_map(|destination| Some((destination.parent()?, destination.file_name()?)));
    let views = real
        .iter()
        .filter_map(|destination| Some((destination.parent()?, VIEW.as_ref())));
    let own = inside.iter().map(|folder| (folder.as_path(), OsStr::new("")));
    for (folder, name) in beside.chain(views).chain(own) {
        scan.stale.extend(stale_stages(folder, name));
    }
    scan.stale.retain(|stage| !held.contains(stage));
    scan.stale.sort();
    scan.stale.dedup();
    scan.unfinished
        .sort_by_key(|found| (found.record.moment(), found.record.run));
    scan.points
        .sort_by_key(|found| (found.record.moment(), found.record.run));
    scan
}

impl Scan {
    /// Follows one journal to the file that decides.
    fn meet(&mut self, journal: &Path, (named, run): (Phase, &RunId), environment: &EnvName) {
        let strange = |why: String| Strange {
            journal: journal.to_owned(),
            why,
        };
        let record = match read(journal) {
            Ok(record) if record.run == *run => record,
            Ok(_) => return self.cannot_follow(named, strange("its name is another run's".to_owned())),
            // Its own run removed it a moment ago.
            Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::NotFound => return,
            // Another user's point is that user's to put back.
            Err(error) if named == Phase::Point && error.is_anothers() => return,
            Err(error) => return self.cannot_follow(named, strange(error.to_string())),
        };
        if record.environment != *environment {
            return;
        }
        let found = Phase::ALL.into_iter().find_map(|phase| {
            let path = record.home.join(phase.file_name(run));
            path.symlink_metadata().is_ok().then_some((phase, path))
        });
        match found {
            Some((Phase::Point, journal)) => self.points.push(Point { record, journal }),
            Some((phase, journal)) => self.unfinished.push(Unfinished { record, phase, journal }),
            None if journal.symlink_metadata().is_err() => {}
            None => {
                let home = record.home.display();
                let why = format!("the journal in `{home}`, which decides, is not there");
                self.cannot_follow(named, strange(why));
            }
        }
    }

    fn cannot_follow(&mut self, named: Phase, strange: Strange) {
        match named {
            Phase::Point => self.strange_points.push(strange),
            Phase::Swap | Phase::Swapped | Phase::Drop => self.strange.push(strange),
        }
    }
}

/// Why a journal cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// The operating system's reason.
    #[error("it cannot be read: {0}")]
    Io(io::Error),
    /// Whoever may write in the folder could have put it there.
    #[error("it belongs to user {0}, and this is user {1}")]
    NotOurs(u32, u32),
    /// Longer than any.
    #[error("it is longer than a swap journal can be")]
    TooLong,
    /// Not what it says it is.
    #[error("{0}")]
    Record(SwapRecordError),
}

impl ReadError {
    /// Whether it is a journal of another user.
    fn is_anothers(&self) -> bool {
        match self {
            Self::Io(error) => error.kind() == io::ErrorKind::PermissionDenied,
            Self::NotOurs(..) => true,
            Self::TooLong | Self::Record(_) => false,
        }
    }
}

/// Reads a journal that this user wrote.
pub(super) fn read(path: &Path) -> Result<SwapRecord, ReadError> {
    let file = open(path).map_err(ReadError::Io)?;
    let metadata = file.metadata().map_err(ReadError::Io)?;
    let user = rustix::process::geteuid().as_raw();
    if metadata.uid() != user {
        return Err(ReadError::NotOurs(metadata.uid(), user));
    }
    let mut bytes = Vec::new();
    file.take(limits::SWAP_JOURNAL_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(ReadError::Io)?;
    if bytes.len() as u64 > limits::SWAP_JOURNAL_MAX {
        return Err(ReadError::TooLong);
    }
    SwapRecord::parse(&bytes).map_err(ReadError::Record)
}

/// Opens a journal, never through a link.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(CWD, path, flags, Mode::empty())?);
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("it is no file"))
    }
}

/// The journal of another run than `run` that is at work on one of the destinations of `record`.
pub(super) fn other_at_work(record: &SwapRecord) -> Option<PathBuf> {
    let overlap = |other: &SwapRecord| {
        let theirs = other.items.iter().map(|item| &item.destination.0);
        let mine: Vec<&PathBuf> = record.items.iter().map(|item| &item.destination.0).collect();
        theirs
            .into_iter()
            .any(|their| mine.iter().any(|my| my.starts_with(their) || their.starts_with(my)))
    };
    for folder in &record.folders {
        for name in names(folder) {
            let path = folder.join(&name);
            match Phase::of(name.as_bytes()) {
                None | Some((Phase::Point, _)) => continue,
                Some((_, run)) if run == record.run => continue,
                Some(_) => {}
            }
            match read(&path) {
                Ok(other) if !overlap(&other) => {}
                Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
                Ok(_) | Err(_) => return Some(path),
            }
        }
    }
    None
}

/// The names of our own in a folder; none where it cannot be listed: who may not list it has not swapped in it.
fn names(folder: &Path) -> Vec<OsString> {
    let Ok(names) = Folder::open(folder).and_then(|folder| folder.names()) else {
        return Vec::new();
    };
    let own = names.iter().filter(|(name, _)| Own::of(name).is_some());
    own.map(|(name, _)| OsString::from_vec(name.to_vec())).collect()
}

/// Stages in `folder` for the destination `name` in it, that nobody holds any more. Another destination's are another one's
/// business.
fn stale_stages(folder: &Path, name: &OsStr) -> Vec<PathBuf> {
    // `.data.strongroom-stage-` for `data`.
    let prefix = beside(name, "stage-");
    let stages = names(folder).into_iter().filter(|found| {
        Own::of(found.as_bytes()) == Some(Own::Stage) && found.as_bytes().starts_with(prefix.as_bytes())
    });
    stages
        .map(|found| folder.join(found))
        .filter(|path| is_dead(path))
        .collect()
}

/// Whether this is a folder or file of this user's that no process holds the lock of.
fn is_dead(path: &Path) -> bool {
    let Ok(open) = open_unlinked(CWD, path.as_os_str()) else {
        return false;
    };
    let ours = rustix::fs::fstat(&open).is_ok_and(|stat| stat.st_uid == rustix::process::geteuid().as_raw());
    // A lock that the file system does not have says nothing about its holder.
    ours && rustix::fs::flock(&open, FlockOperation::NonBlockingLockExclusive).is_ok()
}

/// Opens what `name` is, never through a link and never waiting.
fn open_unlinked(folder: impl AsFd, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::openat(folder, name, flags, Mode::empty())
}

/// Removes what a dead run has left. `false` where it is none any more.
pub fn remove_stale(left: &Path) -> io::Result<bool> {
    let (folder, name) = super::disk::open_parent(left)?;
    let open = match open_unlinked(&folder, name) {
        Err(rustix::io::Errno::NOENT) => return Ok(false),
        other => other?,
    };
    if rustix::fs::flock(&open, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(false);
    }
    if FileType::from_raw_mode(rustix::fs::fstat(&open)?.st_mode) == FileType::Directory {
        remove_tree(folder.as_fd(), name.as_bytes(), Identity::of_open(&open)?)?;
    } else {
        create::remove(&folder, name.as_bytes())?;
    }
    Ok(true)
}
