//! A stage: an empty folder of ours, 0700, that a source is unpacked into; beside its destination, so that a rename puts
//! it in place, or inside a folder that the operator named. For a destination that is a mount point, or holds some, it
//! lies inside of each: only there is it on the same file system.
//!
//! A stage that is dropped is removed, unless it was kept. Removal looks at the folder's identity, not its name, so it
//! can never take away what has come to lie there instead. As long as its run lives a lock is held on it: by that the
//! next command tells a stage in use from one that a dead run has left.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};

use super::clear::remove_tree;
use super::error::{RestoreError, Unfit};
use super::place::{Place, make_missing};
use super::swap::record::{Way, short};
use crate::fs::create::{self, Identity};
use crate::fs::entry::TreePath;
use crate::fs::own;
use crate::id::{RunId, SourceName};

/// What a folder of links to stages is called.
pub(super) const VIEW: &str = "view";

/// A folder that a source is unpacked into.
#[derive(Debug)]
pub struct Stage {
    folder: OwnedFd,
    folder_path: PathBuf,
    name: OsString,
    identity: Identity,
    made: Vec<PathBuf>,
    kept: bool,
    /// Held open: its lock says that the run lives.
    _lock: OwnedFd,
    /// The stages of the mount points in the destination, each with the path of its mount point below the destination.
    branches: Vec<(TreePath, Stage)>,
}

impl Stage {
    /// Makes a stage beside `destination`, on its file system; inside of it where it is a mount point or holds one.
    ///
    /// # Errors
    /// Where the destination could not be replaced later: see [`Place::of`]. Nothing was made then.
    pub fn beside(destination: &Path, run: &RunId) -> Result<Self, RestoreError> {
        Self::at(Place::of(destination)?, run)
    }

    pub(super) fn at(place: Place, run: &RunId) -> Result<Self, RestoreError> {
        let what = format!("stage-{}", short(run));
        if place.way() == Way::Whole {
            let name = own::beside(place.name(), &what);
            let (folder, folder_path, made) = place.into_parts();
            return Self::make(folder, folder_path, name, made);
        }
        let name = own::beside(OsStr::new(""), &what);
        let path = place.path();
        let mut stage = Self::within(&path, &name)?;
        for mount in place.mounts() {
            let below = mount.strip_prefix(&path).unwrap_or(mount);
            let below = TreePath::parse(below.as_os_str().as_bytes()).unwrap_or_default();
            stage.branches.push((below, Self::within(mount, &name)?));
        }
        Ok(stage)
    }

    /// Makes a stage called `name` in `folder`.
    fn within(folder: &Path, name: &OsStr) -> Result<Self, RestoreError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open =
            rustix::fs::open(folder, flags, Mode::empty()).map_err(|e| RestoreError::path("open", folder, e.into()))?;
        Self::make(open, folder.to_owned(), name.to_owned(), Vec::new())
    }

    /// Makes an empty folder for links to the stages of `run`, beside `destination`.
    pub fn view(destination: &Path, run: &RunId) -> Result<Self, RestoreError> {
        let place = Place::of(destination)?;
        let name = own::beside(OsStr::new(VIEW), &format!("stage-{}", short(run)));
        let (folder, folder_path, made) = place.into_parts();
        Self::make(folder, folder_path, name, made)
    }

    /// Makes the folder of `source` in `dir`, which [`prepare_to`] has looked at.
    pub fn inside(dir: &Path, source: &SourceName) -> Result<Self, RestoreError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder =
            rustix::fs::open(dir, flags, Mode::empty()).map_err(|e| RestoreError::path("open", dir, e.into()))?;
        Self::make(folder, dir.to_owned(), source.as_str().into(), Vec::new())
    }

    fn make(folder: OwnedFd, folder_path: PathBuf, name: OsString, made: Vec<PathBuf>) -> Result<Self, RestoreError> {
        let path = folder_path.join(&name);
        let fail = |error| RestoreError::path("create", &path, error);
        let root = create::make_folder(&folder, name.as_bytes()).map_err(fail)?;
        let identity = Identity::of_open(&root).map_err(fail)?;
        // Where the file system has no locks nobody takes the stage for a dead run's either.
        let _ = rustix::fs::flock(&root, FlockOperation::NonBlockingLockExclusive);
        Ok(Self {
            folder,
            folder_path,
            name,
            identity,
            made,
            kept: false,
            _lock: root,
            branches: Vec::new(),
        })
    }

    /// Where the stage lies.
    pub fn path(&self) -> PathBuf {
        self.folder_path.join(&self.name)
    }

    /// The folders that had to be made on the way, outermost first; they are worth a line to the operator.
    pub fn made(&self) -> &[PathBuf] {
        &self.made
    }

    /// The stage's own folder, open.
    ///
    /// # Errors
    /// Where it is not there any more.
    pub fn root(&self) -> Result<OwnedFd, RestoreError> {
        let fail = |error| RestoreError::path("open", &self.path(), error);
        let root = create::open_folder(&self.folder, self.name.as_bytes()).map_err(fail)?;
        match Identity::of_open(&root) {
            Ok(identity) if identity == self.identity => Ok(root),
            Ok(_) => Err(fail(io::Error::other("another folder has taken its name"))),
            Err(error) => Err(fail(error)),
        }
    }

    /// The folders of the mount points in the destination, open, each with its path below the destination.
    ///
    /// # Errors
    /// Where one is not there any more.
    pub fn branches(&self) -> Result<Vec<(TreePath, OwnedFd)>, RestoreError> {
        let open = |(below, stage): &(TreePath, Self)| Ok((below.clone(), stage.root()?));
        self.branches.iter().map(open).collect()
    }

    /// Every folder of the stage: the path below the destination that it stands for, and where it lies.
    pub fn folders(&self) -> Vec<(TreePath, PathBuf)> {
        let own = (TreePath::root(), self.path());
        let branches = self.branches.iter().map(|(below, stage)| (below.clone(), stage.path()));
        std::iter::once(own).chain(branches).collect()
    }

    /// Where an entry of the tree lies.
    pub fn find(&self, path: &TreePath) -> PathBuf {
        let below = |at: &TreePath| {
            let rest = path.as_bytes().strip_prefix(at.as_bytes())?;
            rest.strip_prefix(b"/").or(rest.is_empty().then_some(rest))
        };
        let branches = self.branches.iter().filter_map(|(at, stage)| Some((stage, below(at)?)));
        let (stage, rest) = branches
            .min_by_key(|(_, rest)| rest.len())
            .unwrap_or((self, path.as_bytes()));
        stage.path().join(OsStr::from_bytes(rest))
    }

    /// Whether every folder of the stage is there.
    pub(super) fn is_there(&self) -> bool {
        let there = |stage: &Self| {
            create::look(&stage.folder, stage.name.as_bytes()).is_ok_and(|s| Identity::of(&s) == stage.identity)
        };
        there(self) && self.branches.iter().all(|(_, stage)| there(stage))
    }

    /// Keeps the stage where it is, and says where that is.
    pub fn keep(mut self) -> PathBuf {
        for (_, branch) in self.branches.drain(..) {
            branch.keep();
        }
        self.kept = true;
        self.path()
    }

    /// Removes the stage with everything in it, and the folders that had to be made for it.
    pub fn discard(mut self) -> Result<(), RestoreError> {
        for (_, branch) in self.branches.drain(..) {
            branch.discard()?;
        }
        self.kept = true;
        self.remove()
            .map_err(|error| RestoreError::path("remove", &self.path(), error))
    }

    fn remove(&self) -> io::Result<()> {
        remove_tree(self.folder.as_fd(), self.name.as_bytes(), self.identity)?;
        for made in self.made.iter().rev() {
            // Someone else may have begun to use it, and then it is theirs.
            match std::fs::remove_dir(made) {
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => break,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !self.kept {
            // The error that led here is told; a stage that stays behind harms nothing and says by its name what it is.
            drop(self.remove());
        }
    }
}

/// Makes `dir` for `--to DIR`, or finds that it is an empty folder. Gives the folders that were made, outermost first.
///
/// # Errors
/// Where it is something else. Nothing was made then.
pub fn prepare_to(dir: &Path) -> Result<Vec<PathBuf>, RestoreError> {
    let made = make_missing(dir)?;
    check_to(dir)?;
    Ok(made)
}

/// Finds that `dir` is an empty folder or not there. Nothing is made.
///
/// # Errors
/// Where it is something else.
pub fn check_to(dir: &Path) -> Result<(), RestoreError> {
    let metadata = match std::fs::metadata(dir) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(RestoreError::path("look at", dir, error)),
    };
    if !metadata.is_dir() {
        return Err(RestoreError::unfit(dir, Unfit::NotFolder));
    }
    let mut entries = std::fs::read_dir(dir).map_err(|e| RestoreError::path("list", dir, e))?;
    if entries.next().is_some() {
        return Err(RestoreError::unfit(dir, Unfit::NotEmpty));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn run() -> RunId {
        RunId::new(1, [7; 10])
    }

    #[test]
    fn a_dropped_stage_is_removed_with_the_folders_made_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let stage = Stage::beside(&folder.path().join("a/b/data"), &run()).unwrap();
        fs::create_dir_all(stage.path().join("x/y/z")).unwrap();
        fs::write(stage.path().join("x/f"), "1").unwrap();
        drop(stage);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_took_the_name_of_a_stage_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let stage = Stage::beside(&folder.path().join("data"), &run()).unwrap();
        let path = stage.path();
        fs::rename(&path, folder.path().join("moved")).unwrap();
        fs::create_dir(&path).unwrap();
        fs::write(path.join("precious"), "1").unwrap();
        assert!(stage.discard().is_err());
        assert!(path.join("precious").exists());
    }

    #[test]
    fn a_removed_stage_leaves_what_its_links_point_to() {
        let folder = tempfile::tempdir().unwrap();
        let outside = folder.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("precious"), "1").unwrap();
        let stage = Stage::beside(&folder.path().join("data"), &run()).unwrap();
        std::os::unix::fs::symlink(&outside, stage.path().join("link")).unwrap();
        stage.discard().unwrap();
        assert!(outside.join("precious").exists());
    }

    #[test]
    fn a_folder_with_something_in_it_is_no_place_for_a_restore() {
        let folder = tempfile::tempdir().unwrap();
        assert!(prepare_to(&folder.path().join("new/dir")).is_ok());
        fs::write(folder.path().join("file"), "1").unwrap();
        for wrong in [folder.path().to_owned(), folder.path().join("file")] {
            assert!(matches!(prepare_to(&wrong), Err(RestoreError::Destination { .. })));
        }
    }
}
