//! A destination: the folder that holds it, its name there, and whether it can be replaced whole.
//!
//! The way to the destination is the operator's own and may lead through links; the destination itself may not be one.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, StatxAttributes};

use super::error::{RestoreError, Unfit};
use crate::fs::create::{self, Identity};

/// Bytes of a file's name that the kernel takes.
const NAME_MAX: usize = 255;

/// A destination that was looked at and can be replaced, or be made where it is absent.
#[derive(Debug)]
pub struct Place {
    folder: OwnedFd,
    folder_path: PathBuf,
    name: OsString,
    present: Option<Identity>,
    made: Vec<PathBuf>,
}

impl Place {
    /// Looks at a destination. Folders missing on the way to it are made, 0700.
    ///
    /// # Errors
    /// Where the destination is a link, a mount point, holds one, or is not a folder; nothing was moved.
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
        let present = look_at(folder.as_fd(), &name, destination)?;
        let place = Self {
            folder,
            folder_path,
            name,
            present,
            made,
        };
        if place.present.is_some()
            && let Some(mount) = mount_beneath(&place.path())?
        {
            return Err(unfit(Unfit::HoldsMount(mount.display().to_string())));
        }
        Ok(place)
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

    /// `.<name>.strongroom-<what>`, the name cut where it would be too long for a file system.
    pub(super) fn beside(&self, what: &str) -> OsString {
        let suffix = format!(".strongroom-{what}");
        let room = NAME_MAX.saturating_sub(suffix.len() + 1);
        let bytes = self.name.as_bytes();
        // Cut between characters, so that a readable name stays readable.
        let mut cut = room.min(bytes.len());
        while cut > 0 && bytes.get(cut).is_some_and(|b| b & 0xc0 == 0x80) {
            cut -= 1;
        }
        let mut name = vec![b'.'];
        name.extend_from_slice(bytes.get(..cut).unwrap_or_default());
        name.extend_from_slice(suffix.as_bytes());
        OsString::from_vec(name)
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

fn look_at(folder: BorrowedFd<'_>, name: &OsStr, destination: &Path) -> Result<Option<Identity>, RestoreError> {
    let unfit = |why| Err(RestoreError::unfit(destination, why));
    let stat = match create::look(folder, name.as_bytes()) {
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(RestoreError::path("look at", destination, error)),
        Ok(stat) => stat,
    };
    match create::type_of(&stat) {
        FileType::Directory if stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) => unfit(Unfit::MountPoint),
        FileType::Directory => Ok(Some(Identity::of(&stat))),
        FileType::Symlink => unfit(Unfit::Link),
        _ => unfit(Unfit::NotFolder),
    }
}

/// A mount point at or beneath `path`, which is a real path.
fn mount_beneath(path: &Path) -> Result<Option<PathBuf>, RestoreError> {
    let table = Path::new("/proc/self/mountinfo");
    let text = std::fs::read(table).map_err(|e| RestoreError::path("read", table, e))?;
    Ok(mount_points(&text).find(|mount| mount.starts_with(path)))
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
    fn a_folder_that_holds_a_mount_point_is_no_destination() {
        // Every Linux has mounts below these, whatever the container.
        let mount = mount_beneath(Path::new("/")).unwrap();
        assert!(mount.is_some());
        assert_eq!(mount_beneath(Path::new("/no-such-folder")).unwrap(), None);
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
    fn the_name_of_a_stage_is_never_too_long() {
        let folder = tempfile::tempdir().unwrap();
        let name = "\u{e4}".repeat(127);
        let place = Place::of(&folder.path().join(&name)).unwrap();
        let beside = place.beside("replaced-20261121T215100Z-0123456789ab");
        assert!(beside.len() <= 255);
        assert!(beside.to_str().unwrap().starts_with(".\u{e4}\u{e4}"));
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
