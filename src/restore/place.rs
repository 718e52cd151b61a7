//! A destination: the folder that holds it, its name there, and whether it can be replaced whole.
//!
//! The way to the destination is the operator's own and may lead through links; the destination itself may not be one.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, StatxAttributes};

use super::error::{RestoreError, Unfit};
use super::swap::record::Way;
use crate::fs::create::{self, Identity};

/// The kernel's table of mounts.
const MOUNTS: &str = "/proc/self/mountinfo";

/// A destination that was looked at and can be replaced, or be made where it is absent.
#[derive(Debug)]
pub struct Place {
    folder: OwnedFd,
    folder_path: PathBuf,
    name: OsString,
    present: Option<Identity>,
    made: Vec<PathBuf>,
    is_mount: bool,
    mounts: Vec<PathBuf>,
}

impl Place {
    /// Looks at a destination. Folders missing on the way to it are made, 0700.
    ///
    /// # Errors
    /// Where the destination is a link or not a folder, or something other than a folder is mounted in it; nothing was
    /// moved.
    pub fn of(destination: &Path) -> Result<Self, RestoreError> {
        let unfit = |why| RestoreError::unfit(destination, why);
        let name = destination.file_name().ok_or_else(|| unfit(Unfit::NoName))?.to_owned();
        let above = match destination.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let made = make_missing(above)?;
        let folder_path = std::fs::canonicalize(above).map_err(|e| RestoreError::path("reach", above, e))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(&folder_path, flags, Mode::empty())
            .map_err(|e| RestoreError::path("open", &folder_path, e.into()))?;
        let found = look_at(folder.as_fd(), &name, destination)?;
        let path = folder_path.join(&name);
        let mut mounts = match found {
            Some(_) => mounts_at(&path)?,
            None => Vec::new(),
        };
        let is_mount = found.is_some_and(|found| found.is_mount) || mounts.contains(&path);
        mounts.retain(|mount| *mount != path);
        if let Some(file) = mounts.iter().find(|mount| !mount.is_dir()) {
            return Err(unfit(Unfit::HoldsMount(file.display().to_string())));
        }
        Ok(Self {
            folder,
            folder_path,
            name,
            present: found.map(|found| found.identity),
            made,
            is_mount,
            mounts,
        })
    }

    /// Whether it is replaced as one, or name by name because it cannot be renamed.
    pub fn way(&self) -> Way {
        if self.is_mount || !self.mounts.is_empty() {
            Way::Names
        } else {
            Way::Whole
        }
    }

    /// The mount points in it, real paths in order; not the destination itself.
    pub fn mounts(&self) -> &[PathBuf] {
        &self.mounts
    }

    /// The folder that holds the destination.
    pub fn folder(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }

    /// The real path of that folder.
    pub fn folder_path(&self) -> &Path {
        &self.folder_path
    }

    /// The destination's name there.
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    /// The real path of the destination.
    pub fn path(&self) -> PathBuf {
        self.folder_path.join(&self.name)
    }

    /// What lies there now; `None` where nothing does.
    pub fn present(&self) -> Option<Identity> {
        self.present
    }

    /// The folders that had to be made on the way, outermost first.
    pub fn made(&self) -> &[PathBuf] {
        &self.made
    }

    /// The same, taken for a mount point that has these mount points in it.
    #[cfg(test)]
    pub(super) fn taken_for_mount(mut self, mounts: &[&str]) -> Self {
        self.is_mount = true;
        self.mounts = mounts.iter().map(|mount| self.path().join(mount)).collect();
        self
    }

    pub(super) fn into_parts(self) -> (OwnedFd, PathBuf, Vec<PathBuf>) {
        (self.folder, self.folder_path, self.made)
    }
}

/// Makes the folders that are missing on the way to `path` and `path` itself, 0700; gives those made, outermost first.
pub(super) fn make_missing(path: &Path) -> Result<Vec<PathBuf>, RestoreError> {
    let missing: Vec<&Path> = path
        .ancestors()
        .take_while(|p| !p.as_os_str().is_empty() && std::fs::symlink_metadata(p).is_err_and(|e| is_absent(&e)))
        .collect();
    let mut made = Vec::new();
    for folder in missing.into_iter().rev() {
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(folder)
            .map_err(|e| RestoreError::path("create", folder, e))?;
        made.push(folder.to_owned());
    }
    Ok(made)
}

fn is_absent(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

/// A folder that is there.
#[derive(Clone, Copy)]
struct Found {
    identity: Identity,
    is_mount: bool,
}

fn look_at(folder: BorrowedFd<'_>, name: &OsStr, destination: &Path) -> Result<Option<Found>, RestoreError> {
    let unfit = |why| Err(RestoreError::unfit(destination, why));
    let stat = match create::look(folder, name.as_bytes()) {
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(RestoreError::path("look at", destination, error)),
        Ok(stat) => stat,
    };
    match create::type_of(&stat) {
        FileType::Directory => Ok(Some(Found {
            identity: Identity::of(&stat),
            is_mount: stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT),
        })),
        FileType::Symlink => unfit(Unfit::Link),
        _ => unfit(Unfit::NotFolder),
    }
}

/// The mount points at and beneath `path`, which is a real path, in order and each once.
fn mounts_at(path: &Path) -> Result<Vec<PathBuf>, RestoreError> {
    let mounts = all_mounts().map_err(|e| RestoreError::path("read", Path::new(MOUNTS), e))?;
    Ok(mounts.into_iter().filter(|mount| mount.starts_with(path)).collect())
}

/// Every mount point that this process sees.
pub(super) fn all_mounts() -> io::Result<BTreeSet<PathBuf>> {
    Ok(mount_points(&std::fs::read(MOUNTS)?).collect())
}

/// The fifth field of each line; space, tab, newline and backslash stand there as three octal digits.
fn mount_points(text: &[u8]) -> impl Iterator<Item = PathBuf> {
    let lines = text.split(|b| *b == b'\n');
    let fields = lines.filter_map(|line| line.split(|b| *b == b' ').nth(4));
    fields.map(|field| PathBuf::from(OsString::from_vec(unescape(field))))
}

fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).and_then(|d| std::str::from_utf8(d).ok());
        match digits.and_then(|d| u8::from_str_radix(d, 8).ok()) {
            Some(byte) if *first == b'\\' => {
                bytes.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_with_spaces_are_read() {
        let text = b"36 35 98:0 /mnt1 /mnt/a\\040b rw - ext3 /dev/root rw\n37 35 0:1 / /srv rw - tmpfs none rw\n";
        let found: Vec<PathBuf> = mount_points(text).collect();
        assert_eq!(found, [PathBuf::from("/mnt/a b"), PathBuf::from("/srv")]);
    }

    #[test]
    fn what_is_mounted_in_a_folder_is_found_and_what_beside_it_is_not() {
        // Every Linux has mounts below these, whatever the container.
        let mounts = mounts_at(Path::new("/proc")).unwrap();
        assert!(mounts.contains(&PathBuf::from("/proc")));
        assert!(mounts.is_sorted());
        assert!(mounts_at(Path::new("/pro")).unwrap().is_empty());
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Place::of(folder.path()).unwrap().way(), Way::Whole);
    }

    #[test]
    fn a_link_a_file_and_the_root_are_no_destination() {
        let folder = tempfile::tempdir().unwrap();
        let (link, file) = (folder.path().join("link"), folder.path().join("file"));
        std::os::unix::fs::symlink(folder.path(), &link).unwrap();
        std::fs::write(&file, "x").unwrap();
        for (path, expected) in [
            (link.as_path(), Unfit::Link),
            (file.as_path(), Unfit::NotFolder),
            (Path::new("/"), Unfit::NoName),
            (Path::new("/tmp/.."), Unfit::NoName),
        ] {
            match Place::of(path) {
                Err(RestoreError::Destination { unfit, .. }) => assert_eq!(unfit, expected),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn folders_on_the_way_are_made_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let place = Place::of(&folder.path().join("a/b/c")).unwrap();
        assert_eq!(place.made(), [folder.path().join("a"), folder.path().join("a/b")]);
        let mode = std::fs::metadata(folder.path().join("a/b"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o700);
    }
}
