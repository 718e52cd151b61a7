//! Writes a file whole or not at all: temporary name, `fsync`, rename, `fsync` of the folder.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

/// Distinguishes the temporary names of one process.
static COUNTER: AtomicU64 = AtomicU64::new(0);

/// Tries to find a temporary name that nobody has, left-overs of killed processes included.
const TRIES: u32 = 1000;

/// A file under way to `path`. Dropped without a commit, it leaves nothing.
#[derive(Debug)]
pub struct AtomicFile {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
    mode: u32,
    committed: bool,
}

/// Writes `content` to `path` with exactly the permission bits `mode`, replacing what is there.
///
/// # Errors
/// Whatever was at `path` before is there as it was.
pub fn write(path: &Path, mode: u32, content: &[u8]) -> io::Result<()> {
    let mut file = AtomicFile::create(path, mode)?;
    file.write_all(content)?;
    file.commit()
}

/// A file in `folder` that has no name, for reading and writing: when it is closed, by a crash too, nothing is left.
pub fn unnamed(folder: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    match rustix::fs::open(folder, flags, Mode::from_raw_mode(0o600)) {
        Ok(file) => return Ok(file.into()),
        // Some file systems know no such files: one is made and its name removed.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {}
        Err(errno) => return Err(errno.into()),
    }
    for _ in 0..TRIES {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = folder.join(format!(".tmp-{}-{number}", std::process::id()));
        match OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&name)
        {
            Ok(file) => return std::fs::remove_file(&name).map(|()| file),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Makes renames in `folder` durable.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

impl AtomicFile {
    /// Begins a file that will stand at `path` with exactly the permission bits `mode`. Until then only its owner can
    /// read it.
    pub fn create(path: &Path, mode: u32) -> io::Result<Self> {
        if path.file_name().is_none() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let folder = folder_of(path);
        for _ in 0..TRIES {
            let number = COUNTER.fetch_add(1, Ordering::Relaxed);
            let temporary = folder.join(format!(".tmp-{}-{number}", std::process::id()));
            match OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&temporary)
            {
                Ok(file) => {
                    return Ok(Self {
                        file,
                        temporary,
                        path: path.to_owned(),
                        mode,
                        committed: false,
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Begins a new file that stands under `temporary`, a name in the folder of `path`, until it is put in place.
    ///
    /// # Errors
    /// `AlreadyExists` where something has that name.
    pub fn create_as(temporary: &Path, path: &Path, mode: u32) -> io::Result<Self> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(temporary)?;
        Ok(Self {
            file,
            temporary: temporary.to_owned(),
            path: path.to_owned(),
            mode,
            committed: false,
        })
    }

    /// The file, for a lock that is to be held before anyone sees it.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Puts the file in place, replacing what is there, and waits for the disk.
    pub fn commit(mut self) -> io::Result<()> {
        self.settle()?;
        std::fs::rename(&self.temporary, &self.path)?;
        self.committed = true;
        sync_folder(folder_of(&self.path))
    }

    /// Puts the file in place where nothing is, and waits for the disk.
    ///
    /// # Errors
    /// `AlreadyExists` where something is there; it stays as it is.
    pub fn commit_new(self) -> io::Result<()> {
        self.commit_new_open().map(drop)
    }

    /// As [`Self::commit_new`], and gives the file, still open: a lock on it goes on.
    pub fn commit_new_open(mut self) -> io::Result<File> {
        let open = self.file.try_clone()?;
        self.settle()?;
        match rustix::fs::renameat_with(CWD, &self.temporary, CWD, &self.path, RenameFlags::NOREPLACE) {
            Ok(()) => self.committed = true,
            // Some file systems know no such rename: a link never replaces, and the temporary name goes on drop.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                rustix::fs::linkat(CWD, &self.temporary, CWD, &self.path, AtFlags::empty())?;
            }
            Err(errno) => return Err(errno.into()),
        }
        sync_folder(folder_of(&self.path))?;
        Ok(open)
    }

    fn settle(&mut self) -> io::Result<()> {
        self.file.set_permissions(std::fs::Permissions::from_mode(self.mode))?;
        self.file.sync_all()
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.committed {
            // Nothing can be told from here, and a left-over temporary file harms nobody.
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(folder: &Path) -> Vec<String> {
        let names = std::fs::read_dir(folder).unwrap();
        names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn a_written_file_has_its_mode_and_leaves_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write(&path, 0o640, b"one").unwrap();
        write(&path, 0o604, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o604);
        assert_eq!(listing(dir.path()), ["a"]);
    }

    #[test]
    fn a_dropped_file_leaves_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write(&path, 0o600, b"one").unwrap();
        let mut file = AtomicFile::create(&path, 0o600).unwrap();
        file.write_all(b"half").unwrap();
        drop(file);
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        assert_eq!(listing(dir.path()), ["a"]);
    }

    #[test]
    fn a_new_file_never_replaces() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        AtomicFile::create(&path, 0o600).unwrap().commit_new().unwrap();
        let error = AtomicFile::create(&path, 0o600).unwrap().commit_new().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(listing(dir.path()), ["a"]);
    }
}
