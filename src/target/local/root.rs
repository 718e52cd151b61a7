//! The folder of a local target and the folders below it, reached by descriptors that never leave it.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::poison;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const FOLDER_MODE: u32 = 0o700;
/// Tries of one look-up: the kernel gives up each time something is renamed above it meanwhile.
const TRIES: u32 = 32;

/// A target's folder. Opened once and then held, so that a disk unmounted under a run is noticed and not written around.
#[derive(Debug)]
pub struct Root {
    path: PathBuf,
    opened: OnceLock<OwnedFd>,
    /// Folders whose every entry up to the root was synced by this process.
    durable: Mutex<BTreeSet<String>>,
    syncs: AtomicU64,
}

impl Root {
    /// Names the folder; nothing is opened or made yet.
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            opened: OnceLock::new(),
            durable: Mutex::default(),
            syncs: AtomicU64::new(0),
        }
    }

    /// The folder's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many times this process asked the disk to make something durable here. A test counts them.
    pub fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    /// Whether the folder is there.
    pub(in crate::target) fn is_there(&self) -> io::Result<bool> {
        match self.existing() {
            Ok(root) => Ok(rustix::fs::fstat(root)?.st_nlink > 0),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The folder, which must exist.
    fn existing(&self) -> io::Result<&OwnedFd> {
        if let Some(root) = self.opened.get() {
            return Ok(root);
        }
        let root = rustix::fs::openat(CWD, &self.path, FOLDER, Mode::empty())?;
        Ok(self.opened.get_or_init(|| root))
    }

    /// The folder, made with its parents where it is missing.
    fn made(&self) -> io::Result<&OwnedFd> {
        match self.existing() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Another writer of this process may have made it since.
                if let Some(root) = self.opened.get() {
                    return Ok(root);
                }
                self.make_with_parents(&self.path)?;
                self.existing()
            }
            found => found,
        }
    }

    fn make_with_parents(&self, path: &Path) -> io::Result<()> {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        if let Some(parent) = parent
            && !parent.try_exists()?
        {
            self.make_with_parents(parent)?;
        }
        match std::fs::DirBuilder::new().mode(FOLDER_MODE).create(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        let parent = parent.unwrap_or_else(|| Path::new("."));
        match rustix::fs::openat(CWD, parent, FOLDER, Mode::empty()) {
            Ok(parent) => self.sync_folder(parent),
            // A folder that may be entered but not read: the whole file system is synced instead.
            Err(Errno::ACCESS) => {
                self.syncs.fetch_add(1, Ordering::Relaxed);
                Ok(rustix::fs::syncfs(rustix::fs::openat(
                    CWD,
                    path,
                    FOLDER,
                    Mode::empty(),
                )?)?)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Opens what stands at `path` below the root (empty for the root itself); it and every folder before it must exist.
    pub(super) fn open(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        beneath(self.existing()?, path, flags | OFlags::CLOEXEC)
    }

    /// Opens the folder at `path` below the root, which must exist.
    pub(super) fn folder(&self, path: &str) -> io::Result<OwnedFd> {
        self.open(path, FOLDER)
    }

    /// Opens the folder at `path` below the root and makes what is missing of it. Gives with it whether this process is
    /// here for the first time.
    ///
    /// On the first time the entries of all folders on the way are synced, whoever made them: another run may have made
    /// them a moment ago and died.
    pub(super) fn make_folder(&self, path: &str) -> io::Result<(OwnedFd, Visit)> {
        let root = self.made()?;
        let durable = poison::lock(&self.durable).contains(path);
        if durable && let Ok(folder) = beneath(root, path, FOLDER) {
            return Ok((folder, Visit::Again));
        }
        let mut folder = beneath(root, "", FOLDER)?;
        for part in path.split('/').filter(|part| !part.is_empty()) {
            match rustix::fs::mkdirat(&folder, part, Mode::from_raw_mode(FOLDER_MODE)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            let child = beneath(&folder, part, FOLDER)?;
            self.sync_folder(&folder)?;
            folder = child;
        }
        poison::lock(&self.durable).insert(path.to_owned());
        Ok((folder, Visit::First))
    }

    /// Makes a file's content and size durable.
    pub(super) fn sync_file(&self, file: impl AsFd) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        Ok(rustix::io::retry_on_intr(|| rustix::fs::fsync(&file))?)
    }

    /// Makes a folder's entries durable.
    pub(super) fn sync_folder(&self, folder: impl AsFd) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        match rustix::io::retry_on_intr(|| rustix::fs::fsync(&folder)) {
            // Some network and user-space file systems have no such thing for folders; they order by themselves.
            Ok(()) | Err(Errno::INVAL | Errno::NOTSUP) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether this process has written into a folder before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Visit {
    /// It has not.
    First,
    /// It has.
    Again,
}

/// Opens `path` below `folder` without following any symbolic link.
fn beneath(folder: &OwnedFd, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
    let path = if path.is_empty() { "." } else { path };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..TRIES {
        match rustix::fs::openat2(folder, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(Errno::NOSYS) => return step_by_step(folder, path, flags),
            Err(Errno::LOOP) => return Err(linked()),
            opened => return Ok(opened?),
        }
    }
    Err(Errno::AGAIN.into())
}

/// The same on a kernel without `openat2`: a name has no `..`, so it is enough that no part is a link.
fn step_by_step(folder: &OwnedFd, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
    let open = |from: &OwnedFd, part: &str, flags: OFlags| {
        rustix::fs::openat(from, part, flags | OFlags::NOFOLLOW, Mode::empty()).map_err(|error| match error {
            Errno::LOOP => linked(),
            error => error.into(),
        })
    };
    let (before, last) = path.rsplit_once('/').unwrap_or(("", path));
    let mut from = open(folder, ".", FOLDER)?;
    for part in before.split('/').filter(|part| !part.is_empty()) {
        from = open(&from, part, FOLDER)?;
    }
    open(&from, last, flags)
}

fn linked() -> io::Error {
    io::Error::other("a symbolic link stands below the target's folder; links there are not followed")
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn every_one_of_many_first_writers_finds_the_folder_that_one_of_them_made() {
        for _ in 0..100 {
            let folder = tempfile::tempdir().unwrap();
            let root = Root::new(folder.path().join("target"));
            let together = Barrier::new(8);
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| {
                        together.wait();
                        root.make_folder("").unwrap();
                    });
                }
            });
        }
    }
}
