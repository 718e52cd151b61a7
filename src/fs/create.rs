//! Creates entries beneath a folder that is held open. Every call takes one name in one folder, so no path is resolved
//! along the way; nothing is ever overwritten and no symbolic link is followed.
//!
//! Properties go on in the order the kernel demands: owner (it clears set-id bits and capabilities), attributes and
//! ACLs, mode (it must not undo an ACL's mask, and does not: both say the same), time.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Statx, StatxFlags, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;

use crate::fs::entry::{Moment, TreePath};

/// Bytes of a path that one `openat2` takes, with room to spare below the kernel's 4096.
const PATH_STRETCH: usize = 3800;
const SET_USER_ID: u32 = 0o4000;
const SET_GROUP_ID: u32 = 0o2000;
const NO_ID: u32 = u32::MAX;

/// What tells one file from every other on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
}

impl Identity {
    /// Takes the identity out of what `statx` says.
    pub fn of(stat: &Statx) -> Self {
        Self {
            device: rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor),
            inode: stat.stx_ino,
        }
    }

    /// The identity of an open file.
    pub fn of_open(file: impl AsFd) -> io::Result<Self> {
        let flags = AtFlags::EMPTY_PATH;
        Ok(Self::of(&rustix::fs::statx(file, c"", flags, StatxFlags::BASIC_STATS)?))
    }
}

/// What the entry `name` in `folder` is; a link is not followed, nothing is mounted.
///
/// # Errors
/// `NotFound` where there is none.
pub fn look(folder: impl AsFd, name: &[u8]) -> io::Result<Statx> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    Ok(rustix::fs::statx(
        folder,
        component(name)?,
        flags,
        StatxFlags::BASIC_STATS,
    )?)
}

/// The type that a mode of `statx` holds.
pub fn type_of(stat: &Statx) -> FileType {
    FileType::from_raw_mode(stat.stx_mode.into())
}

/// Takes `name` only where it is one component of a path.
fn component(name: &[u8]) -> io::Result<&[u8]> {
    if name.is_empty() || name == b"." || name == b".." || name.contains(&b'/') || name.contains(&0) {
        return Err(Errno::INVAL.into());
    }
    Ok(name)
}

/// Opens the folder `name` of `folder` for listing and changing; never through a link, never across a mount.
pub fn open_folder(folder: impl AsFd, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    open_one(folder.as_fd(), component(name)?, flags)
}

/// Opens one entry beneath `folder`. A kernel without `openat2` has `openat`, which resolves nothing in one component.
fn open_one(folder: BorrowedFd<'_>, name: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
    match rustix::fs::openat2(folder, name, flags, Mode::empty(), beneath()) {
        Err(Errno::NOSYS | Errno::PERM) => Ok(rustix::fs::openat(folder, name, flags, Mode::empty())?),
        other => Ok(other?),
    }
}

fn beneath() -> ResolveFlags {
    ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV
}

/// Opens the folder at `path` beneath `root` as a place to name entries in; paths longer than the kernel takes at once are
/// walked in stretches.
pub fn open_beneath(root: impl AsFd, path: &TreePath) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at = rustix::io::fcntl_dupfd_cloexec(root, 0)?;
    let mut stretch: Vec<u8> = Vec::new();
    let mut parts = path.components().peekable();
    while let Some(part) = parts.next() {
        if !stretch.is_empty() {
            stretch.push(b'/');
        }
        stretch.extend_from_slice(part);
        let full = parts
            .peek()
            .is_none_or(|next| stretch.len() + next.len() >= PATH_STRETCH);
        if full {
            at = match rustix::fs::openat2(&at, stretch.as_slice(), flags, Mode::empty(), beneath()) {
                Err(Errno::NOSYS | Errno::PERM) => open_each(at, &stretch, flags)?,
                other => other?,
            };
            stretch.clear();
        }
    }
    Ok(at)
}

/// Walks a stretch component by component, where the kernel has no `openat2`.
fn open_each(mut at: OwnedFd, stretch: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
    for part in stretch.split(|b| *b == b'/') {
        at = rustix::fs::openat(&at, component(part)?, flags, Mode::empty())?;
    }
    Ok(at)
}

/// Whether an error says that there is nothing beneath a folder under this path; a link or a mount on the way is nothing.
pub fn is_nothing(error: &io::Error) -> bool {
    let nothing = [Errno::NOENT, Errno::NOTDIR, Errno::LOOP, Errno::XDEV];
    Errno::from_io_error(error).is_some_and(|errno| nothing.contains(&errno))
}

/// Makes the folder `name`, mode 0700 until its properties are applied, and opens it.
pub fn make_folder(folder: impl AsFd, name: &[u8]) -> io::Result<OwnedFd> {
    rustix::fs::mkdirat(&folder, component(name)?, Mode::RWXU)?;
    open_folder(folder, name)
}

/// Makes the file `name`, mode 0600 until its properties are applied, open for writing.
pub fn make_file(folder: impl AsFd, name: &[u8]) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    Ok(File::from(rustix::fs::openat(folder, component(name)?, flags, mode)?))
}

/// Makes the symbolic link `name`, which holds `target` as it is.
pub fn make_link(folder: impl AsFd, name: &[u8], target: &[u8]) -> io::Result<()> {
    Ok(rustix::fs::symlinkat(target, folder, component(name)?)?)
}

/// Makes the named pipe `name`, mode 0600 until its properties are applied.
pub fn make_fifo(folder: impl AsFd, name: &[u8]) -> io::Result<()> {
    let mode = Mode::RUSR | Mode::WUSR;
    Ok(rustix::fs::mknodat(folder, component(name)?, FileType::Fifo, mode, 0)?)
}

/// Makes the device node `name`, mode 0600 until its properties are applied.
pub fn make_device(folder: impl AsFd, name: &[u8], kind: FileType, major: u32, minor: u32) -> io::Result<()> {
    let device = rustix::fs::makedev(major, minor);
    let mode = Mode::RUSR | Mode::WUSR;
    Ok(rustix::fs::mknodat(folder, component(name)?, kind, mode, device)?)
}

/// Makes `name` in `folder` another name of `first_name` in `first_folder`; a link is not followed but linked itself.
pub fn hard_link(first_folder: impl AsFd, first_name: &[u8], folder: impl AsFd, name: &[u8]) -> io::Result<()> {
    let (first_name, name) = (component(first_name)?, component(name)?);
    Ok(rustix::fs::linkat(
        first_folder,
        first_name,
        folder,
        name,
        AtFlags::empty(),
    )?)
}

/// Removes the entry `name`, which is not a folder.
pub fn remove(folder: impl AsFd, name: &[u8]) -> io::Result<()> {
    Ok(rustix::fs::unlinkat(folder, component(name)?, AtFlags::empty())?)
}

/// Removes the empty folder `name`.
pub fn remove_folder(folder: impl AsFd, name: &[u8]) -> io::Result<()> {
    Ok(rustix::fs::unlinkat(folder, component(name)?, AtFlags::REMOVEDIR)?)
}

/// A created entry that waits for its properties.
#[derive(Clone, Copy, Debug)]
pub enum Made<'a> {
    /// A file or a folder, open.
    Open(BorrowedFd<'a>),
    /// A named pipe or a device: opening it would do something.
    Node(BorrowedFd<'a>, &'a [u8]),
    /// A symbolic link: it has no mode of its own.
    Link(BorrowedFd<'a>, &'a [u8]),
}

/// The properties an entry is to have.
#[derive(Clone, Copy, Debug)]
pub struct Properties<'a> {
    /// Owner's number; `None` leaves it as it is.
    pub uid: Option<u32>,
    /// Group's number; `None` leaves it as it is.
    pub gid: Option<u32>,
    /// All twelve mode bits.
    pub mode: u32,
    /// Attributes by full name.
    pub xattrs: &'a BTreeMap<Vec<u8>, Vec<u8>>,
    /// Last change of content.
    pub mtime: Moment,
}

/// A property that could not be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// Owner or group.
    Owner,
    /// A set-id bit that would have served another owner than it was meant for, and was left out.
    SetId,
    /// Mode bits that the file system does not have.
    Mode,
    /// A time outside the range of the file system.
    Time,
}

/// What of the properties could not be set, for lack of privilege or of support in the file system.
#[derive(Debug, Default)]
pub struct Shortfall {
    /// Each once.
    pub lacks: Vec<Lack>,
    /// Attributes, each with the reason.
    pub attributes: Vec<(Vec<u8>, Errno)>,
}

impl Shortfall {
    /// Whether everything was set.
    pub fn is_none(&self) -> bool {
        self.lacks.is_empty() && self.attributes.is_empty()
    }
}

/// Gives a created entry its properties, in the one right order.
///
/// # Errors
/// Where setting one fails for another reason than privilege or support; those are told in the [`Shortfall`].
pub fn apply(made: Made<'_>, wanted: &Properties<'_>) -> io::Result<Shortfall> {
    let mut short = Shortfall::default();
    let (uid_set, gid_set) = set_owner(made, wanted.uid, wanted.gid)?;
    if !(uid_set && gid_set) {
        short.lacks.push(Lack::Owner);
    }
    for (name, value) in wanted.xattrs {
        match set_attribute(made, name, value) {
            Ok(()) => {}
            Err(error) if cannot_hold(error) => short.attributes.push((name.clone(), error)),
            Err(error) => return Err(error.into()),
        }
    }
    let mut bits = wanted.mode & 0o7777;
    if !uid_set {
        bits &= !SET_USER_ID;
    }
    if !gid_set {
        bits &= !SET_GROUP_ID;
    }
    if bits != wanted.mode & 0o7777 {
        short.lacks.push(Lack::SetId);
    }
    if !set_mode(made, Mode::from_raw_mode(bits))? {
        short.lacks.push(Lack::Mode);
    }
    if !set_time(made, wanted.mtime)? {
        short.lacks.push(Lack::Time);
    }
    Ok(short)
}

/// Reasons for which an attribute cannot be set while everything else goes on.
fn cannot_hold(error: Errno) -> bool {
    matches!(
        error,
        Errno::PERM
            | Errno::ACCESS
            | Errno::OPNOTSUPP
            | Errno::INVAL
            | Errno::NOSPC
            | Errno::DQUOT
            | Errno::TOOBIG
            | Errno::RANGE
    )
}

/// Sets owner and group; says for each whether it is as wanted.
fn set_owner(made: Made<'_>, uid: Option<u32>, gid: Option<u32>) -> io::Result<(bool, bool)> {
    let lacking = |error: Errno| matches!(error, Errno::PERM | Errno::INVAL | Errno::OPNOTSUPP);
    // The number -1 means "leave as it is" to the kernel, so it is not one that can be set.
    let user = uid.filter(|n| *n != NO_ID).map(Uid::from_raw);
    let group = gid.filter(|n| *n != NO_ID).map(Gid::from_raw);
    let wanted_ids = (uid.is_none() || user.is_some(), gid.is_none() || group.is_some());
    if user.is_none() && group.is_none() {
        return Ok(wanted_ids);
    }
    match change_owner(made, user, group) {
        Ok(()) => return Ok(wanted_ids),
        Err(error) if lacking(error) => {}
        Err(error) => return Err(error.into()),
    }
    // Each alone: a user may give a file to one of their own groups, and a file system may know only some numbers.
    let alone = |user: Option<Uid>, group: Option<Gid>| match change_owner(made, user, group) {
        Ok(()) => Ok(true),
        Err(error) if lacking(error) => Ok(false),
        Err(error) => Err(io::Error::from(error)),
    };
    let gid_set = match group {
        Some(group) => alone(None, Some(group))?,
        None => wanted_ids.1,
    };
    let uid_set = match user {
        Some(user) => alone(Some(user), None)?,
        None => wanted_ids.0,
    };
    Ok((uid_set, gid_set))
}

fn change_owner(made: Made<'_>, user: Option<Uid>, group: Option<Gid>) -> Result<(), Errno> {
    match made {
        Made::Open(file) => rustix::fs::fchown(file, user, group),
        Made::Node(folder, name) | Made::Link(folder, name) => {
            rustix::fs::chownat(folder, name, user, group, AtFlags::SYMLINK_NOFOLLOW)
        }
    }
}

/// Sets one attribute. Entries that cannot be opened are reached by their name below the descriptor's own path in
/// `/proc`, with the call that does not follow a link.
fn set_attribute(made: Made<'_>, name: &[u8], value: &[u8]) -> Result<(), Errno> {
    match made {
        Made::Open(file) => rustix::fs::fsetxattr(file, name, value, XattrFlags::empty()),
        Made::Node(folder, entry) | Made::Link(folder, entry) => {
            let path = path_by_descriptor(folder, entry);
            rustix::fs::lsetxattr(path.as_slice(), name, value, XattrFlags::empty())
        }
    }
}

/// `/proc/self/fd/<folder>/<name>`: a path of one component below an open folder, however deep that lies.
pub fn path_by_descriptor(folder: BorrowedFd<'_>, name: &[u8]) -> Vec<u8> {
    let mut path = format!("/proc/self/fd/{}/", folder.as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    path
}

/// Sets the mode; `false` where the file system does not have these bits.
fn set_mode(made: Made<'_>, bits: Mode) -> io::Result<bool> {
    let result = match made {
        Made::Link(..) => return Ok(true),
        Made::Open(file) => rustix::fs::fchmod(file, bits),
        Made::Node(folder, name) => {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let node = open_one(folder, component(name)?, flags)?;
            chmod_by_descriptor(&node, bits)
        }
    };
    match result {
        Ok(()) => Ok(true),
        Err(Errno::PERM | Errno::OPNOTSUPP) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Sets the mode of what `node` (opened with `O_PATH`) stands for, and of nothing else.
pub fn chmod_by_descriptor(node: impl AsFd, mode: Mode) -> Result<(), Errno> {
    let path = format!("/proc/self/fd/{}", node.as_fd().as_raw_fd());
    rustix::fs::chmodat(CWD, path, mode, AtFlags::empty())
}

/// Sets the time of the last change; `false` where the file system cannot hold it.
fn set_time(made: Made<'_>, mtime: Moment) -> io::Result<bool> {
    let times = times(mtime);
    match made {
        Made::Open(file) => rustix::fs::futimens(file, &times)?,
        Made::Node(folder, name) | Made::Link(folder, name) => {
            rustix::fs::utimensat(folder, name, &times, AtFlags::SYMLINK_NOFOLLOW)?;
        }
    }
    // The kernel clamps a time it cannot hold and says nothing. Every file system holds the 32-bit range.
    if i32::try_from(mtime.seconds).is_ok() {
        return Ok(true);
    }
    let stat = match made {
        Made::Open(file) => rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::MTIME)?,
        Made::Node(folder, name) | Made::Link(folder, name) => look(folder, name)?,
    };
    Ok(stat.stx_mtime.tv_sec == mtime.seconds)
}

/// The time of the last change as a pair for the kernel, which leaves the time of the last access as it is.
pub fn times(mtime: Moment) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: rustix::fs::UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: mtime.seconds,
            tv_nsec: mtime.nanoseconds.into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, OwnedFd) {
        let folder = tempfile::tempdir().unwrap();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(folder.path(), flags, Mode::empty()).unwrap();
        (folder, fd)
    }

    #[test]
    fn a_name_with_a_slash_or_dots_is_refused_everywhere() {
        let (_folder, fd) = folder();
        for wrong in [&b"a/b"[..], b"..", b".", b"", b"a\0b"] {
            assert!(make_file(&fd, wrong).is_err());
            assert!(make_folder(&fd, wrong).is_err());
            assert!(make_link(&fd, wrong, b"x").is_err());
            assert!(hard_link(&fd, wrong, &fd, b"n").is_err());
            assert!(remove(&fd, wrong).is_err());
        }
    }

    #[test]
    fn nothing_is_made_over_a_link() {
        let (folder, fd) = folder();
        let outside = folder.path().join("outside");
        make_link(&fd, b"l", b"outside").unwrap();
        assert!(make_file(&fd, b"l").is_err());
        assert!(make_folder(&fd, b"l").is_err());
        assert!(open_folder(&fd, b"l").is_err());
        assert!(!outside.exists());
    }

    #[test]
    fn a_folder_behind_a_link_is_not_reached() {
        let (folder, fd) = folder();
        std::fs::create_dir_all(folder.path().join("a/b")).unwrap();
        std::os::unix::fs::symlink("a", folder.path().join("l")).unwrap();
        assert!(open_beneath(&fd, &TreePath::parse(b"a/b").unwrap()).is_ok());
        assert!(open_beneath(&fd, &TreePath::parse(b"l/b").unwrap()).is_err());
    }

    #[test]
    fn a_path_longer_than_the_kernel_takes_is_reached_in_stretches() {
        let (_folder, fd) = folder();
        let name = vec![b'n'; 250];
        let mut path = TreePath::root();
        let mut at = rustix::io::fcntl_dupfd_cloexec(&fd, 0).unwrap();
        for _ in 0..40 {
            at = make_folder(&at, &name).unwrap();
            path = path.child(&name).unwrap();
        }
        let reached = open_beneath(&fd, &path).unwrap();
        assert_eq!(Identity::of_open(&reached).unwrap(), Identity::of_open(&at).unwrap());
    }

    #[test]
    fn set_id_bits_survive_the_order_of_the_calls() {
        let (folder, fd) = folder();
        let file = make_file(&fd, b"f").unwrap();
        let wanted = Properties {
            uid: Some(rustix::process::geteuid().as_raw()),
            gid: Some(rustix::process::getegid().as_raw()),
            mode: 0o6755,
            xattrs: &BTreeMap::new(),
            mtime: Moment {
                seconds: -5,
                nanoseconds: 7,
            },
        };
        let short = apply(Made::Open(file.as_fd()), &wanted).unwrap();
        assert!(short.is_none());
        let stat = rustix::fs::lstat(folder.path().join("f")).unwrap();
        assert_eq!(stat.st_mode & 0o7777, 0o6755);
        assert_eq!((stat.st_mtime, stat.st_mtime_nsec), (-5, 7));
    }
}
