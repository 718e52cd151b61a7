//! A folder held by its descriptor: what lies in it is reached by name from there, and no symbolic link is followed.
//!
//! A path that is looked up again and again can be swapped for a link by someone who may write there. A descriptor cannot:
//! each step down is one name without `/`, opened with `O_NOFOLLOW`, and what was opened is judged by `statx` on the
//! descriptor. Files are opened with `O_NONBLOCK`, so a FIFO put in a file's place never blocks.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, ResolveFlags, SeekFrom, Statx, StatxFlags};
use rustix::io::Errno;

use super::entry::TreePath;

/// Bytes read of a folder's listing at once.
const LISTING: usize = 32 << 10;

/// What is asked of `statx`: everything that an entry keeps, and the birth time, which tells a reused inode.
const ASKED: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME);

/// How a folder is opened; `O_DIRECTORY` makes anything else fail before it is touched.
const AS_FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// How a file is opened for reading.
const AS_FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// An open folder.
#[derive(Debug)]
pub struct Folder(OwnedFd);

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<Folder> for OwnedFd {
    fn from(folder: Folder) -> Self {
        folder.0
    }
}

impl Folder {
    /// Opens the folder at `path`. Links in `path` are followed: the operator wrote it.
    pub fn open(path: &Path) -> io::Result<Self> {
        open_quietly(CWD, path, AS_FOLDER).map(Self)
    }

    /// Opens the folder `name` in this one. A link of that name is `ENOTDIR` or `ELOOP`.
    pub fn folder(&self, name: &[u8]) -> io::Result<Self> {
        one_name(name)?;
        open_quietly(self, name, AS_FOLDER | OFlags::NOFOLLOW).map(Self)
    }

    /// Opens the folder at `path` below this one; `path` may be longer than the kernel takes in one call.
    pub fn beneath(&self, path: &TreePath) -> io::Result<Self> {
        if path.as_bytes().len() < 4000 {
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
            let name = if path.is_root() { b"." } else { path.as_bytes() };
            match rustix::fs::openat2(self, name, AS_FOLDER | OFlags::NOFOLLOW, Mode::empty(), resolve) {
                Ok(fd) => return Ok(Self(fd)),
                // Kernels before 5.6 and some sandboxes have no such call: one name after the other does the same.
                Err(Errno::NOSYS | Errno::PERM) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        let mut folder = Self(open_quietly(self, ".", AS_FOLDER)?);
        for name in path.components() {
            folder = folder.folder(name)?;
        }
        Ok(folder)
    }

    /// Opens the folder that holds this one. It can be another than the one this was opened from, where this folder was
    /// moved since.
    pub fn parent(&self) -> io::Result<Self> {
        open_quietly(self, "..", AS_FOLDER | OFlags::NOFOLLOW).map(Self)
    }

    /// Opens `name` for reading without following a link and without waiting. What was opened need not be a file: its
    /// kind is to be judged by [`stat`] on the descriptor.
    pub fn file(&self, name: &[u8]) -> io::Result<OwnedFd> {
        one_name(name)?;
        open_quietly(self, name, AS_FILE)
    }

    /// Holds whatever `name` is, links included, without opening it.
    pub fn node(&self, name: &[u8]) -> io::Result<OwnedFd> {
        one_name(name)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(self, name, flags, Mode::empty())?)
    }

    /// What `name` is, without following a link.
    pub fn stat_of(&self, name: &[u8]) -> io::Result<Statx> {
        one_name(name)?;
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        Ok(rustix::fs::statx(self, name, flags, ASKED)?)
    }

    /// The names in this folder, ordered by their bytes. All of them are held in memory.
    pub fn names(&self) -> io::Result<Names> {
        let mut buffer = Vec::<u8>::with_capacity(LISTING);
        // An earlier listing ended at the end.
        rustix::fs::seek(self, SeekFrom::Start(0))?;
        let mut raw = RawDir::new(self, buffer.spare_capacity_mut());
        let mut names = Names::default();
        while let Some(entry) = raw.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(name, entry.file_type());
            }
        }
        names.sort();
        Ok(names)
    }

    /// Where this folder is now, by the kernel's account.
    pub fn path(&self) -> io::Result<PathBuf> {
        let link = rustix::fs::readlink(proc_path(self.as_fd()), Vec::new())?;
        Ok(PathBuf::from(OsString::from_vec(link.into_bytes())))
    }
}

/// What an open thing is.
pub fn stat(fd: impl AsFd) -> io::Result<Statx> {
    Ok(rustix::fs::statx(fd, "", AtFlags::EMPTY_PATH, ASKED)?)
}

/// The path by which the kernel reaches an open descriptor, for calls that take paths only.
pub fn proc_path(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// Opens without touching the access time where that is allowed: for one's own files, or for all as root.
fn open_quietly(at: impl AsFd, path: impl rustix::path::Arg + Copy, flags: OFlags) -> io::Result<OwnedFd> {
    match rustix::fs::openat(at.as_fd(), path, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => Ok(rustix::fs::openat(at, path, flags, Mode::empty())?),
        other => Ok(other?),
    }
}

/// Refuses what is not one name, so that no call here can leave its folder.
fn one_name(name: &[u8]) -> io::Result<()> {
    if name.is_empty() || name.contains(&b'/') || name == b"." || name == b".." {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(())
}

/// The names of a folder in one piece of memory, with what the listing says they are.
#[derive(Debug, Default)]
pub struct Names {
    bytes: Vec<u8>,
    items: Vec<Item>,
}

#[derive(Clone, Copy, Debug)]
struct Item {
    start: usize,
    length: u16,
    kind: FileType,
}

impl Names {
    fn push(&mut self, name: &[u8], kind: FileType) {
        // The kernel's record of one name has a 16-bit length.
        let length = u16::try_from(name.len()).unwrap_or(u16::MAX);
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name);
        self.items.push(Item { start, length, kind });
    }

    fn sort(&mut self) {
        let Self { bytes, items } = self;
        items.sort_unstable_by(|a, b| slice(bytes, *a).cmp(slice(bytes, *b)));
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The name at `index` and its kind, `FileType::Unknown` where the file system does not tell.
    pub fn get(&self, index: usize) -> Option<(&[u8], FileType)> {
        let item = self.items.get(index)?;
        Some((slice(&self.bytes, *item), item.kind))
    }

    /// All names in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], FileType)> {
        self.items.iter().map(|item| (slice(&self.bytes, *item), item.kind))
    }
}

fn slice(bytes: &[u8], item: Item) -> &[u8] {
    bytes
        .get(item.start..item.start + usize::from(item.length))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_in_the_order_of_their_bytes() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b", "a.b", "a", "B", "\u{e4}"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let folder = Folder::open(dir.path()).unwrap();
        for _ in 0..2 {
            let names = folder.names().unwrap();
            let names: Vec<_> = names.iter().map(|(name, _)| name.to_vec()).collect();
            assert_eq!(names, [&b"B"[..], b"a", b"a.b", b"b", b"\xc3\xa4"]);
        }
    }

    #[test]
    fn a_link_is_never_followed_below_the_root() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("real/inner")).unwrap();
        std::os::unix::fs::symlink("real", dir.path().join("link")).unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        assert!(folder.folder(b"real").is_ok());
        assert!(folder.folder(b"link").is_err());
        assert!(folder.file(b"link").is_err());
        let beneath = |path: &str| folder.beneath(&TreePath::parse(path.as_bytes()).unwrap());
        assert!(beneath("real/inner").is_ok());
        assert!(beneath("link/inner").is_err());
        assert!(folder.folder(b"..").is_err());
        assert!(Folder::open(&dir.path().join("link")).is_ok());
    }

    #[test]
    fn a_path_longer_than_the_kernel_takes_is_reached() {
        let dir = tempfile::tempdir().unwrap();
        let mut folder = Folder::open(dir.path()).unwrap();
        let (root, name) = (Folder::open(dir.path()).unwrap(), "n".repeat(250));
        for _ in 0..20 {
            rustix::fs::mkdirat(&folder, name.as_str(), Mode::RWXU).unwrap();
            folder = folder.folder(name.as_bytes()).unwrap();
        }
        let path = TreePath::parse(vec![name.as_str(); 20].join("/").as_bytes()).unwrap();
        assert!(path.as_bytes().len() > 4096);
        let inode = |folder: &Folder| stat(folder).unwrap().stx_ino;
        assert_eq!(inode(&root.beneath(&path).unwrap()), inode(&folder));
    }

    #[test]
    fn a_fifo_in_a_files_place_does_not_block() {
        let dir = tempfile::tempdir().unwrap();
        rustix::fs::mkfifoat(CWD, dir.path().join("f"), Mode::RUSR).unwrap();
        let file = Folder::open(dir.path()).unwrap().file(b"f").unwrap();
        let kind = FileType::from_raw_mode(stat(&file).unwrap().stx_mode.into());
        assert_eq!(kind, FileType::Fifo);
    }
}
