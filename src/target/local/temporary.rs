//! A file on its way: written under a temporary name in the folder where it will stand, then made durable and moved in.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use object_store::path::Path;
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::root::{Root, Visit};
use crate::fs::direct::Direct;
use crate::limits;

/// How the names of files on their way begin. No object's name has a part that begins so.
pub const TEMPORARY_PREFIX: &str = ".tmp-";

/// Digits by which a host knows its own.
const HOST_DIGITS: usize = 8;
/// Tries to make a file before another run takes it for a leftover.
const TRIES: usize = 8;

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
        let (name, file) = held(&folder)?;
        let mut temporary = Self {
            root: Arc::clone(root),
            folder,
            name,
            object: object.filename().unwrap_or_default().to_owned(),
            file: Written {
                file: Arc::new(file),
                direct: None,
            },
            published: false,
        };
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

/// Makes a file in `folder` and holds it: as long as it is open nobody takes it for a leftover. Where a file system has no locks,
/// nothing is taken for one.
fn held(folder: &OwnedFd) -> io::Result<(String, File)> {
    for _ in 0..TRIES {
        let mut random = [0_u8; 8];
        getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
        let name = format!("{TEMPORARY_PREFIX}{}-{}", this_host(), hex::encode(random));
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::openat(folder, &name, flags, Mode::from_raw_mode(0o600))?);
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => match rustix::fs::statat(folder, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(_) => return Ok((name, file)),
                // Another run took it for a leftover before it was held.
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            },
            Err(Errno::WOULDBLOCK) => {}
            Err(Errno::NOSYS | Errno::NOTSUP | Errno::NOLCK | Errno::INVAL) => return Ok((name, file)),
            Err(error) => return Err(error.into()),
        }
    }
    Err(io::Error::other("another run removes each file as soon as it is made"))
}

/// What the names of files on their way have that this host makes. The kernel of a host knows all who hold its locks, so a file of
/// its own that nobody holds was left by a run that died.
fn this_host() -> &'static str {
    static HOST: OnceLock<String> = OnceLock::new();
    HOST.get_or_init(|| {
        let machine = std::fs::read("/etc/machine-id").or_else(|_| std::fs::read("/proc/sys/kernel/random/boot_id"));
        let mut hasher = blake3::Hasher::new();
        hasher.update(&machine.unwrap_or_default());
        // Hosts that were copied from one another differ in this, as a rule.
        hasher.update(rustix::system::uname().nodename().to_bytes());
        hasher.finalize().to_hex().chars().take(HOST_DIGITS).collect()
    })
}

/// Removes what runs of this host that died left anywhere below the root; gives how many files there were.
pub(in crate::target) fn remove_all_stale(root: &Root) -> io::Result<usize> {
    let (mut removed, mut waiting) = (0, vec![(String::new(), 0)]);
    while let Some((path, depth)) = waiting.pop() {
        let folder = match root.folder(&path) {
            Ok(folder) => folder,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => continue,
            Err(error) => return Err(error),
        };
        removed += remove_stale(&folder)?;
        for entry in rustix::fs::Dir::read_from(&folder)? {
            let entry = entry?;
            let Some(name) = entry.file_name().to_str().ok().filter(|name| !name.starts_with('.')) else {
                continue;
            };
            if entry.file_type() == FileType::Directory && depth < limits::TARGET_DEPTH {
                let below = if path.is_empty() {
                    name.to_owned()
                } else {
                    format!("{path}/{name}")
                };
                waiting.push((below, depth + 1));
            }
        }
    }
    Ok(removed)
}

/// Removes what runs that died left in `folder`: temporary files that nobody holds open and that this host made, or that are old.
/// Gives how many there were.
fn remove_stale(folder: &OwnedFd) -> io::Result<usize> {
    let own = format!("{TEMPORARY_PREFIX}{}-", this_host());
    let mut removed = 0;
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
        let own = entry.file_name().to_bytes().starts_with(own.as_bytes());
        if (own || old) && rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            match rustix::fs::unlinkat(folder, entry.file_name(), AtFlags::empty()) {
                Ok(()) => removed += 1,
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(removed)
}
