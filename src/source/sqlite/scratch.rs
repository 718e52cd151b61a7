//! A copy of a database in the spool, with the names that SQLite may give beside it. All of them go with it.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::SIDE_FILES;

/// Distinguishes the spool files of one process.
static COUNTER: AtomicU64 = AtomicU64::new(0);

/// A copy under way. Dropped, it leaves nothing; a crash leaves it in a folder that the next run empties.
#[derive(Debug)]
pub(super) struct Scratch {
    path: PathBuf,
    file: File,
}

impl Scratch {
    /// A new, empty file in the spool that only its owner can read.
    pub(super) fn create(spool: &Path) -> io::Result<Self> {
        loop {
            let number = COUNTER.fetch_add(1, Ordering::Relaxed);
            let path = spool.join(format!("sqlite-{}-{number}", std::process::id()));
            match new_file(&path) {
                // A name left over from a killed process is passed by.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                opened => return Ok(Self { file: opened?, path }),
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// A new, empty file beside it, `-wal` for one.
    pub(super) fn create_side(&self, end: &[u8]) -> io::Result<File> {
        new_file(&side(&self.path, end))
    }

    /// The copy, of which no name is left.
    pub(super) fn into_file(self) -> io::Result<File> {
        self.file.try_clone()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is in a folder that goes with the run.
        let _ = std::fs::remove_file(&self.path);
        for end in SIDE_FILES {
            let _ = std::fs::remove_file(side(&self.path, end));
        }
    }
}

fn new_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

fn side(path: &Path, end: &[u8]) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(std::ffi::OsStr::from_bytes(end));
    name.into()
}
