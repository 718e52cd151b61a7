//! Copies one present entry that is not a folder into a folder of the stage, with everything that is kept of it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::fs::create::{self, Made, Properties, Shortfall};
use crate::fs::entry::{Entry, Extent, Kind, Metadata, TreePath};
use crate::fs::folder::{self, Folder};
use crate::fs::metadata::{self, Held, XattrReader};
use crate::fs::owners::Owners;
use crate::fs::side_files::MAGIC;
use crate::limits;
use crate::restore::current_file::{CurrentFile, WriteError};

/// A present entry, held so that it can be copied.
pub(super) enum Opened {
    /// A file, open for reading.
    File(OwnedFd),
    /// Anything else, not opened, with its kind.
    Node(OwnedFd, Kind),
}

impl Opened {
    /// Whether it begins as a database does.
    pub(super) fn is_database(&self) -> bool {
        match self {
            // What cannot be read fails when it is copied, and is told then.
            Self::File(file) => begins_as_database(file.as_fd()).unwrap_or(false),
            Self::Node(..) => false,
        }
    }
}

/// Whether the file `name` of a folder of the stage begins as a database does.
pub(super) fn is_database(folder: &OwnedFd, name: &[u8]) -> io::Result<bool> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match rustix::fs::openat(folder, name, flags, Mode::empty()) {
        Ok(file) => begins_as_database(file.as_fd()),
        // A link, or a device without a driver.
        Err(Errno::LOOP | Errno::NXIO | Errno::NODEV) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn begins_as_database(file: BorrowedFd<'_>) -> io::Result<bool> {
    let mut head = [0; MAGIC.len()];
    match read_at(file, &mut head, 0) {
        Ok(read) => Ok(head.get(..read) == Some(MAGIC)),
        // A folder.
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => Ok(false),
        Err(error) => Err(error),
    }
}

/// What came of a copy.
pub(super) enum Copied {
    /// It is there.
    Whole {
        /// What it lacks.
        short: Shortfall,
        /// Attributes that could not be read.
        problems: usize,
        /// Whether the present one stayed as it was meanwhile.
        steady: bool,
    },
    /// A device, which takes more privilege to make.
    NoPrivilege,
}

/// The properties as they are, for the host they are from.
pub(super) fn as_it_is(metadata: &Metadata) -> Properties<'_> {
    Properties {
        uid: Some(metadata.uid),
        gid: Some(metadata.gid),
        mode: metadata.mode,
        xattrs: &metadata.xattrs,
        mtime: metadata.mtime,
    }
}

/// Holds the present entry.
///
/// # Errors
/// Where it is gone, cannot be read, or is another kind of thing than it was.
pub(super) fn open(from: &Folder, entry: &Entry) -> io::Result<Opened> {
    let name = entry.path.name();
    let another = || io::Error::other("it is another kind of thing than a moment ago");
    if let Kind::File { .. } = entry.kind {
        let file = from.file(name)?;
        let stat = folder::stat(&file)?;
        if metadata::file_type(&stat) != FileType::RegularFile {
            return Err(another());
        }
        return Ok(Opened::File(file));
    }
    let node = from.node(name)?;
    let stat = folder::stat(&node)?;
    let (major, minor) = (stat.stx_rdev_major, stat.stx_rdev_minor);
    let kind = match metadata::file_type(&stat) {
        FileType::Symlink => Kind::Link {
            target: rustix::fs::readlinkat(&node, "", Vec::new())?.into_bytes(),
        },
        FileType::Fifo => Kind::Fifo,
        FileType::CharacterDevice => Kind::CharDevice { major, minor },
        FileType::BlockDevice => Kind::BlockDevice { major, minor },
        _ => return Err(another()),
    };
    Ok(Opened::Node(node, kind))
}

/// Copies a held entry into the folder `to` of the stage, under its own name.
pub(super) fn copy(
    opened: Opened,
    to: BorrowedFd<'_>,
    path: &TreePath,
    xattrs: &mut XattrReader,
) -> io::Result<Copied> {
    match opened {
        Opened::File(file) => copy_file(&file, to, path.name(), xattrs),
        Opened::Node(node, kind) => copy_node(&node, &kind, to, path.name(), xattrs),
    }
}

fn copy_file(file: &OwnedFd, to: BorrowedFd<'_>, name: &[u8], xattrs: &mut XattrReader) -> io::Result<Copied> {
    let mut tries = 1;
    loop {
        let before = folder::stat(file)?;
        let extents = metadata::extents(file, &before)?;
        let size = before.stx_size;
        let mut kept = metadata::metadata_of(&before, &Owners::default());
        let problems = xattrs.read(file, Held::Open, &mut kept.xattrs).len();
        let mut current = CurrentFile::new(create::make_file(to, name)?, size, extents.as_deref())?;
        let whole = [Extent {
            offset: 0,
            length: size,
        }];
        let complete = copy_extents(file, &mut current, extents.as_deref().unwrap_or(&whole))?;
        let after = metadata::stat_of(&folder::stat(file)?);
        let steady = complete && after == metadata::stat_of(&before);
        if steady || tries >= limits::READ_TRIES {
            let short = create::apply(Made::Open(current.file()), &as_it_is(&kept))?;
            return Ok(Copied::Whole {
                short,
                problems,
                steady,
            });
        }
        tries += 1;
        create::remove(to, name)?;
    }
}

/// Copies the data; what is missing of a file that shrank meanwhile is zeros. `false` where it did.
fn copy_extents(file: &OwnedFd, current: &mut CurrentFile, extents: &[Extent]) -> io::Result<bool> {
    let mut buffer = vec![0; limits::READ_BLOCK];
    let mut complete = true;
    for extent in extents {
        let mut done = 0;
        while done < extent.length {
            let left = usize::try_from(extent.length - done).unwrap_or(usize::MAX);
            let block_len = left.min(buffer.len());
            let Some(block) = buffer.get_mut(..block_len) else {
                break;
            };
            let read = read_at(file.as_fd(), block, extent.offset + done)?;
            if let Some(missing) = block.get_mut(read..).filter(|rest| !rest.is_empty()) {
                missing.fill(0);
                complete = false;
            }
            current.write(block).map_err(|error| match error {
                WriteError::Io(error) => error,
                WriteError::Trick(trick) => io::Error::other(trick),
            })?;
            done += block_len as u64;
        }
    }
    Ok(complete)
}

/// Reads until the block is full or the file ends.
fn read_at(file: BorrowedFd<'_>, block: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match rustix::io::pread(file, rest, offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(filled)
}

fn copy_node(
    node: &OwnedFd,
    kind: &Kind,
    to: BorrowedFd<'_>,
    name: &[u8],
    xattrs: &mut XattrReader,
) -> io::Result<Copied> {
    let mut kept = metadata::metadata_of(&folder::stat(node)?, &Owners::default());
    let problems = xattrs.read(node, Held::ByPath, &mut kept.xattrs).len();
    let made = match kind {
        Kind::Link { target } => create::make_link(to, name, target).map(|()| Made::Link(to, name)),
        Kind::CharDevice { major, minor } => {
            create::make_device(to, name, FileType::CharacterDevice, *major, *minor).map(|()| Made::Node(to, name))
        }
        Kind::BlockDevice { major, minor } => {
            create::make_device(to, name, FileType::BlockDevice, *major, *minor).map(|()| Made::Node(to, name))
        }
        _ => create::make_fifo(to, name).map(|()| Made::Node(to, name)),
    };
    let made = match made {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(Copied::NoPrivilege),
        other => other?,
    };
    let short = create::apply(made, &as_it_is(&kept))?;
    Ok(Copied::Whole {
        short,
        problems,
        steady: true,
    })
}
