//! A stage: an empty folder of ours, 0700, that a source is unpacked into; beside its destination, so that a rename puts
//! it in place, or inside a folder that the operator named.
//!
//! A stage that is dropped is removed, unless it was kept. Removal looks at the folder's identity, not its name, so it
//! can never take away what has come to lie there instead.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::clear::remove_tree;
use super::error::{RestoreError, Unfit};
use super::place::{Place, make_missing};
use super::swap::Keep;
use crate::fs::create::{self, Identity};
use crate::id::{RunId, SourceName};

/// A folder that a source is unpacked into.
#[derive(Debug)]
pub struct Stage {
    folder: OwnedFd,
    folder_path: PathBuf,
    name: OsString,
    first_name: OsString,
    identity: Identity,
    made: Vec<PathBuf>,
    kept: bool,
}

impl Stage {
    /// Makes a stage beside `destination`, on its file system.
    ///
    /// # Errors
    /// Where the destination could not be replaced later: see [`Place::of`]. Nothing was made then.
    pub fn beside(destination: &Path, run: &RunId) -> Result<Self, RestoreError> {
        let place = Place::of(destination)?;
        let name = place.beside(&format!("stage-{}", short(run)));
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
        Ok(Self {
            folder,
            folder_path,
            first_name: name.clone(),
            name,
            identity,
            made,
            kept: false,
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

    /// Keeps the stage where it is, and says where that is.
    pub fn keep(mut self) -> PathBuf {
        self.kept = true;
        self.path()
    }

    /// Removes the stage with everything in it, and the folders that had to be made for it.
    pub fn discard(mut self) -> Result<(), RestoreError> {
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

    pub(super) fn identity(&self) -> Identity {
        self.identity
    }

    pub(super) fn folder(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }

    pub(super) fn name(&self) -> &OsStr {
        &self.name
    }

    /// The name the stage was made with.
    pub(super) fn first_name(&self) -> &OsStr {
        &self.first_name
    }

    /// Notes that the stage's folder bears another name now.
    pub(super) fn now_at(&mut self, name: &OsStr, keep: Keep) {
        name.clone_into(&mut self.name);
        self.kept = keep == Keep::Yes;
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
    let metadata = std::fs::metadata(dir).map_err(|e| RestoreError::path("look at", dir, e))?;
    if !metadata.is_dir() {
        return Err(RestoreError::unfit(dir, Unfit::NotFolder));
    }
    let mut entries = std::fs::read_dir(dir).map_err(|e| RestoreError::path("list", dir, e))?;
    if entries.next().is_some() {
        return Err(RestoreError::unfit(dir, Unfit::NotEmpty));
    }
    Ok(made)
}

/// The last twelve digits of a run's id: the random ones.
pub(super) fn short(run: &RunId) -> String {
    let text = run.to_string();
    text.rsplit('-').next().unwrap_or_default().to_owned()
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
