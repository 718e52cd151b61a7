//! A file on its way: written under a temporary name in the folder where it will stand, then made durable and moved in.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use object_store::path::Path;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::root::{Root, Visit};
use crate::fs::direct::Direct;
use crate::limits;

/// How the names of files on their way begin. No object's name has a part that begins so.
pub const TEMPORARY_PREFIX: &str = ".tmp-";

/// Pieces handed to the kernel at once: its own limit is 1024.
const PIECES: usize = 512;

/// What becomes of an object that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Publish {
    /// It stays, and publishing fails with `AlreadyExists`.
    CreateOnly,
    /// It is replaced at once.
    Replace,
}

impl Written {
    /// The file as it is open for the page cache.
    pub(super) fn file(&self) -> &File {
        &self.file
    }
}

/// A file that has no name of its own yet. Dropped before it is published, it is removed.
#[derive(Debug)]
pub(super) struct Temporary {
    root: Arc<Root>,
    folder: OwnedFd,
    name: String,
    object: String,
    file: Written,
    published: bool,
}

/// A file that is written, and the same one past the page cache, where that can be.
#[derive(Clone, Debug)]
pub(super) struct Written {
    file: Arc<File>,
    direct: Option<Arc<Direct>>,
}

impl Temporary {
    /// Makes the file, 0600, beside where `object` will stand.
    pub(super) fn create(root: &Arc<Root>, object: &Path) -> io::Result<Self> {
        let parent = object.parent().unwrap_or_default();
        let (folder, visit) = root.make_folder(parent.as_ref())?;
        if visit == Visit::First {
            remove_stale(&folder)?;
        }
        let mut random = [0_u8; 8];
        getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
        let name = format!("{TEMPORARY_PREFIX}{}", hex::encode(random));
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&folder, &name, flags, Mode::from_raw_mode(0o600))?;
        let mut temporary = Self {
            root: Arc::clone(root),
            folder,
            name,
            object: object.filename().unwrap_or_default().to_owned(),
            file: Written {
                file: Arc::new(File::from(file)),
                direct: None,
            },
            published: false,
        };
        // Held as long as the file is open, so that nobody takes it for a leftover. Where a file system has no locks,
        // nothing is taken for one.
        match rustix::fs::flock(&*temporary.file.file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) | Err(Errno::NOSYS | Errno::NOTSUP | Errno::NOLCK | Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
        temporary.file.direct = Direct::open(&temporary.folder, &temporary.name).map(Arc::new);
        Ok(temporary)
    }

    /// The open file.
    pub(super) fn file(&self) -> Written {
        self.file.clone()
    }

    /// Makes the file, which must have `size` bytes, durable and gives it its name.
    pub(super) fn publish(mut self, size: u64, how: Publish) -> io::Result<()> {
        let found = self.file.file.metadata()?.len();
        if found != size {
            let text = format!("{found} bytes arrived in the file where {size} were written");
            return Err(io::Error::other(text));
        }
        self.root.sync_file(&self.file.file)?;
        match how {
            Publish::CreateOnly => self.link_in()?,
            Publish::Replace => rustix::fs::renameat(&self.folder, &self.name, &self.folder, &self.object)?,
        }
        self.published = true;
        let durable = self.root.sync_folder(&self.folder);
        if durable.is_err() && how == Publish::CreateOnly {
            // The caller hears that it failed, so it must not stand there. The first error is the one to tell.
            let _ = rustix::fs::unlinkat(&self.folder, &self.object, AtFlags::empty());
        }
        durable
    }

    /// Moves the file to its name unless there is one.
    fn link_in(&self) -> io::Result<()> {
        let folder = &self.folder;
        match rustix::fs::renameat_with(folder, &self.name, folder, &self.object, RenameFlags::NOREPLACE) {
            // Network file systems know no such flag; a hard link is as exclusive.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                rustix::fs::linkat(folder, &self.name, folder, &self.object, AtFlags::empty())?;
                // The object stands; a second name that cannot be taken away now goes as a leftover.
                let _ = rustix::fs::unlinkat(folder, &self.name, AtFlags::empty());
                Ok(())
            }
            renamed => Ok(renamed?),
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.published {
            // Nobody is left to be told; what stays behind goes at a later writer's start.
            let _ = rustix::fs::unlinkat(&self.folder, &self.name, AtFlags::empty());
        }
    }
}

/// Writes `pieces` at `offset`, all of them; gives how many bytes of them wait in memory for the disk.
pub(super) fn write_at(written: &Written, pieces: &[Bytes], offset: u64) -> io::Result<u64> {
    let length: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
    let direct = written.direct.as_ref();
    let past = direct.map_or(Ok(0), |direct| direct.write(pieces, offset))?;
    write_cached(&written.file, pieces, past, offset + past)?;
    Ok(length - past)
}

/// Writes what is left of `pieces` behind their first `skip` bytes.
fn write_cached(file: &File, pieces: &[Bytes], skip: u64, mut offset: u64) -> io::Result<()> {
    let mut skip = usize::try_from(skip).unwrap_or(usize::MAX);
    for group in pieces.chunks(PIECES) {
        let mut slices: Vec<IoSlice<'_>> = Vec::with_capacity(group.len());
        for piece in group {
            let passed = skip.min(piece.len());
            skip -= passed;
            slices.push(IoSlice::new(piece.get(passed..).unwrap_or_default()));
        }
        let mut rest = slices.as_mut_slice();
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            let written = rustix::io::retry_on_intr(|| rustix::io::pwritev(file, rest, offset))?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            offset += written as u64;
            IoSlice::advance_slices(&mut rest, written);
        }
    }
    Ok(())
}

/// Removes what runs that died left in `folder`: temporary files that are old and that nobody holds open.
fn remove_stale(folder: &OwnedFd) -> io::Result<()> {
    let age = Duration::from_secs(limits::STALE_TEMPORARY_HOURS * 3600);
    let now = SystemTime::now();
    for entry in rustix::fs::Dir::read_from(folder)? {
        let entry = entry?;
        if !entry.file_name().to_bytes().starts_with(TEMPORARY_PREFIX.as_bytes()) {
            continue;
        }
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        // Gone meanwhile, another user's or no plain file: not ours to remove.
        let Ok(file) = rustix::fs::openat(folder, entry.file_name(), flags, Mode::empty()) else {
            continue;
        };
        let file = File::from(file);
        let modified = file.metadata()?.modified()?;
        let old = now.duration_since(modified).is_ok_and(|since| since >= age);
        if old && rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            match rustix::fs::unlinkat(folder, entry.file_name(), AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}
