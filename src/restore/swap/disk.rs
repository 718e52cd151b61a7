//! What a swap does to a disk, call by call, so that a test can let any of them be the last.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, RenameFlags, ResolveFlags, Statx, StatxFlags};
use rustix::io::Errno;

use super::record::{Looks, Mark};
use crate::fs::atomic::AtomicFile;
use crate::fs::create::{self, Identity, Made, Properties};
use crate::fs::entry::Moment;
use crate::fs::metadata::{self, Held, XattrReader};
use crate::restore::clear::remove_tree;
use crate::restore::error::RestoreError;
use crate::restore::place::Place;

/// Mode of a swap journal: it names every place of the data.
const JOURNAL_MODE: u32 = 0o600;

/// An entry as a swap sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) mark: Mark,
    pub(super) is_folder: bool,
}

/// The calls. Paths are absolute and without links.
pub(super) trait Disk {
    /// Looks at a destination.
    fn place(&mut self, destination: &Path) -> Result<Place, RestoreError> {
        Place::of(destination)
    }

    /// What lies at `path`; `None` where nothing does, or where its folder is not there.
    fn look(&mut self, path: &Path) -> io::Result<Option<Seen>>;

    /// Renames as the kernel does, on the disk after the next [`Self::sync`] of both folders.
    fn rename(&mut self, from: &Path, to: &Path, how: RenameFlags) -> Result<(), Errno>;

    /// Waits until the disk holds the names in `folder`.
    fn sync(&mut self, folder: &Path) -> io::Result<()>;

    /// Writes a journal whole, by way of the name `temporary`, and waits for the disk. The file comes back open and locked.
    fn write(&mut self, temporary: &Path, path: &Path, bytes: &[u8]) -> io::Result<File>;

    /// Removes a journal; one that is not there is removed.
    fn remove(&mut self, path: &Path) -> io::Result<()>;

    /// Removes the folder at `path` with everything in it, where it is the one of `mark`.
    fn remove_tree(&mut self, path: &Path, mark: Mark) -> io::Result<()>;

    /// Makes an empty folder for its owner alone, where there is none.
    fn make_folder(&mut self, path: &Path) -> io::Result<()>;

    /// Gives a folder its looks.
    fn dress(&mut self, folder: &Path, looks: &Looks) -> io::Result<()>;
}

/// The disk itself.
pub(super) struct Kernel;

impl Disk for Kernel {
    fn look(&mut self, path: &Path) -> io::Result<Option<Seen>> {
        let (folder, name) = match open_parent(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        match rustix::fs::statx(&folder, name, flags, StatxFlags::BASIC_STATS | StatxFlags::BTIME) {
            Ok(stat) => Ok(Some(seen(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn rename(&mut self, from: &Path, to: &Path, how: RenameFlags) -> Result<(), Errno> {
        let open = |path| open_parent(path).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO));
        let ((from_folder, from_name), (to_folder, to_name)) = (open(from)?, open(to)?);
        rustix::fs::renameat_with(&from_folder, from_name, &to_folder, to_name, how)
    }

    fn sync(&mut self, folder: &Path) -> io::Result<()> {
        let open = open_folder(folder)?;
        match rustix::fs::fsync(&open) {
            Err(error) if lacks_support(error) => Ok(rustix::fs::syncfs(&open)?),
            other => Ok(other?),
        }
    }

    fn write(&mut self, temporary: &Path, path: &Path, bytes: &[u8]) -> io::Result<File> {
        let mut file = AtomicFile::create_as(temporary, path, JOURNAL_MODE)?;
        // Before anyone can see it: who finds a journal that nobody holds takes its run for dead.
        lock(file.file())?;
        file.write_all(bytes)?;
        file.commit_new_open()
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        match open_parent(path).and_then(|(folder, name)| create::remove(folder, name.as_bytes())) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn remove_tree(&mut self, path: &Path, mark: Mark) -> io::Result<()> {
        match self.look(path)? {
            Some(seen) if seen.mark.is(&mark) && seen.is_folder => {}
            Some(_) => return Err(io::Error::other("something else has taken its name")),
            None => return Ok(()),
        }
        let (folder, name) = open_parent(path)?;
        let identity = Identity::of(&create::look(&folder, name.as_bytes())?);
        remove_tree(std::os::fd::AsFd::as_fd(&folder), name.as_bytes(), identity)
    }

    fn make_folder(&mut self, path: &Path) -> io::Result<()> {
        let (folder, name) = open_parent(path)?;
        match create::make_folder(&folder, name.as_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other.map(drop),
        }
    }

    fn dress(&mut self, folder: &Path, looks: &Looks) -> io::Result<()> {
        let open = open_folder(folder)?;
        let decode = |text: &String| BASE64.decode(text).map_err(io::Error::other);
        let mut xattrs = std::collections::BTreeMap::new();
        for (name, value) in &looks.xattrs_b64 {
            xattrs.insert(decode(name)?, decode(value)?);
        }
        for name in looks_of(&open)?.names() {
            if !xattrs.contains_key(&name) {
                // One that cannot be taken off is no reason to leave a service without its data.
                let _ = rustix::fs::fremovexattr(&open, name.as_slice());
            }
        }
        let wanted = Properties {
            uid: Some(looks.uid),
            gid: Some(looks.gid),
            mode: looks.mode,
            xattrs: &xattrs,
            mtime: Moment {
                seconds: looks.mtime.0,
                nanoseconds: looks.mtime.1,
            },
        };
        // What the file system or the user cannot set was not set on the staged folder either, and told there.
        create::apply(Made::Open(std::os::fd::AsFd::as_fd(&open)), &wanted).map(drop)
    }
}

fn seen(stat: &Statx) -> Seen {
    Seen {
        mark: Mark {
            inode: stat.stx_ino,
            born: metadata::birth(stat).map(|moment| (moment.seconds, moment.nanoseconds)),
        },
        is_folder: metadata::file_type(stat) == FileType::Directory,
    }
}

/// Takes the lock of a journal, where the file system has locks.
pub(super) fn lock(file: &File) -> io::Result<()> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) | Err(Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Opens a folder by its path; a path that leads through a link is refused: the one that was meant has none.
pub(super) fn open_folder(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(CWD, path, flags, Mode::empty(), resolve) {
        Err(Errno::NOSYS | Errno::PERM) => Ok(rustix::fs::open(path, flags, Mode::empty())?),
        other => Ok(other?),
    }
}

/// The folder that holds `path`, open, and its name there.
pub(super) fn open_parent(path: &Path) -> io::Result<(OwnedFd, &std::ffi::OsStr)> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    Ok((open_folder(parent)?, name))
}

/// What an open folder looks like.
pub(super) fn looks_of(folder: &OwnedFd) -> io::Result<Looks> {
    let stat = crate::fs::folder::stat(folder)?;
    let kept = metadata::metadata_of(&stat, &crate::fs::owners::Owners::default());
    let mut xattrs = std::collections::BTreeMap::new();
    XattrReader::default().read(folder, Held::Open, &mut xattrs);
    Ok(Looks {
        mode: kept.mode,
        uid: kept.uid,
        gid: kept.gid,
        mtime: (kept.mtime.seconds, kept.mtime.nanoseconds),
        xattrs_b64: xattrs
            .into_iter()
            .map(|(name, value)| (BASE64.encode(name), BASE64.encode(value)))
            .collect(),
    })
}

impl Looks {
    fn names(&self) -> Vec<Vec<u8>> {
        self.xattrs_b64
            .iter()
            .filter_map(|(name, _)| BASE64.decode(name).ok())
            .collect()
    }
}

/// Renames to a name that is free.
pub(super) fn rename_new(disk: &mut dyn Disk, from: &Path, to: &Path) -> Result<(), Errno> {
    match disk.rename(from, to, RenameFlags::NOREPLACE) {
        Err(error) if lacks_support(error) => {}
        other => return other,
    }
    match disk.look(to) {
        Ok(None) => disk.rename(from, to, RenameFlags::empty()),
        Ok(Some(_)) => Err(Errno::EXIST),
        Err(error) => Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
    }
}

/// Whether the file system knows no such call.
pub(super) fn lacks_support(error: Errno) -> bool {
    matches!(error, Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP)
}
