//! A folder for files that do not outlive the run. Each process has its own, so that two pipelines of one environment can
//! run side by side; a lock tells a folder in use from one that a dead run left.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, Mode, OFlags};

const PREFIX: &str = "run-";

/// A process's own spool. Removed with everything in it when dropped.
#[derive(Debug)]
pub(super) struct Spool {
    path: PathBuf,
    /// Held open: its lock says that the folder is in use.
    _folder: OwnedFd,
}

impl Spool {
    /// Makes a spool in `above` (made too where missing) and removes those of dead runs.
    pub(super) fn create(above: &Path) -> io::Result<Self> {
        match std::fs::DirBuilder::new().mode(0o700).create(above) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        // Held while spools come and go, so that nobody takes a folder made a moment ago for a dead run's.
        let all = open_folder(above)?;
        rustix::io::retry_on_intr(|| rustix::fs::flock(&all, FlockOperation::LockExclusive))?;
        remove_dead(above)?;
        let mut random = [0_u8; 8];
        getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
        let path = above.join(format!("{PREFIX}{}", hex::encode(random)));
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        let folder = open_folder(&path)?;
        rustix::fs::flock(&folder, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { path, _folder: folder })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        // Nobody is left to be told; what stays behind goes at the next run's start.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

fn open_folder(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, path, flags, Mode::empty())?)
}

fn remove_dead(above: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(above)? {
        let entry = entry?;
        let path = entry.path();
        if !entry.file_type()?.is_dir() {
            std::fs::remove_file(&path)?;
            continue;
        }
        let folder = open_folder(&path)?;
        if rustix::fs::flock(&folder, FlockOperation::NonBlockingLockExclusive).is_ok() {
            match std::fs::remove_dir_all(&path) {
                // Its own process removed it at the same moment.
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}
