//! The way down in the stage while something is carried into it: folders that are there keep their own mode and time,
//! those that are missing are made as they are in the present tree.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, Mode, OFlags, Statx};

use super::Carrier;
use super::file;
use crate::fs::create::{self, Made};
use crate::fs::entry::{Entry, Kind, Moment, TreePath};
use crate::fs::folder;
use crate::fs::metadata::{self, Held};
use crate::fs::owners::Owners;
use crate::restore::error::RestoreError;
use crate::restore::shortfalls::Shortfalls;
use crate::restore::stack::Held as Stays;

/// A folder of the stage on the way down, and what it must have again when it is left.
pub(super) struct Level {
    /// Its own mode, where that had to be widened to work in it.
    mode: Option<Mode>,
    /// Its own time.
    mtime: Moment,
    /// Everything it is to have, where it was made here.
    made: Option<Box<Entry>>,
    /// Whether anything was made in it.
    pub(super) changed: bool,
}

pub(super) fn level_of(stat: &Statx) -> Level {
    Level {
        mode: None,
        mtime: metadata::stat_of(stat).mtime,
        made: None,
        changed: false,
    }
}

impl Carrier<'_> {
    /// Goes to the folder `path` of the stage, making it and those on the way as they are in the present tree. `false`
    /// where something that is no folder stands in the way.
    pub(super) fn go_to(&mut self, path: &TreePath) -> Result<bool, RestoreError> {
        while self.stack.shared(path.components()) < self.stack.depth() {
            self.leave()?;
        }
        let mut at = self.stack.path();
        for name in path.components().skip(self.stack.depth()) {
            let Some(next) = at.child(name) else { return Ok(false) };
            at = next;
            match self.look(&at)? {
                Some(FileType::Directory) => self.enter(&at)?,
                Some(_) => return Ok(false),
                None => {
                    if !self.make_folder(&at)? {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }

    /// Goes into a folder of the stage.
    pub(super) fn enter(&mut self, path: &TreePath) -> Result<(), RestoreError> {
        let fail = |error| RestoreError::entry("open", path, error);
        let parent = self.stack.top().map_err(fail)?;
        let stat = create::look(parent, path.name()).map_err(fail)?;
        let mut level = level_of(&stat);
        let mode = Mode::from_raw_mode(stat.stx_mode.into());
        if !mode.contains(Mode::RWXU) && !rustix::process::geteuid().is_root() {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let node = rustix::fs::openat(parent, path.name(), flags, Mode::empty()).map_err(|e| fail(e.into()))?;
            create::chmod_by_descriptor(&node, mode | Mode::RWXU).map_err(|e| fail(e.into()))?;
            level.mode = Some(mode);
        }
        if let Some(branch) = self.branches.at(path) {
            let folder = branch.try_clone().map_err(fail)?;
            let level = level_of(&folder::stat(&folder).map_err(fail)?);
            return self.stack.push(path.name(), folder, Stays::Always, level).map_err(fail);
        }
        let folder = create::open_folder(parent, path.name()).map_err(fail)?;
        self.stack
            .push(path.name(), folder, Stays::WhileNear, level)
            .map_err(fail)
    }

    /// Makes a folder in the top one and goes into it; its properties follow when it is left. `false` where the present one
    /// cannot be read.
    pub(super) fn make_folder(&mut self, path: &TreePath) -> Result<bool, RestoreError> {
        let fail = |error| RestoreError::entry("create", path, error);
        let entry = match self.folder_entry(path) {
            Ok(entry) => entry,
            Err(error) => {
                self.not_carried(path, &error.to_string());
                return Ok(false);
            }
        };
        let parent = self.stack.top().map_err(fail)?;
        let made = create::make_folder(parent, path.name()).map_err(fail)?;
        let (folder, stays) = match self.branches.at(path) {
            Some(branch) => (branch.try_clone().map_err(fail)?, Stays::Always),
            None => (made, Stays::WhileNear),
        };
        self.touch();
        let level = Level {
            mode: None,
            mtime: entry.metadata.mtime,
            made: Some(Box::new(entry)),
            changed: false,
        };
        self.stack.push(path.name(), folder, stays, level).map_err(fail)?;
        self.count(path);
        Ok(true)
    }

    /// The present folder at `path` with everything that is kept of it.
    fn folder_entry(&mut self, path: &TreePath) -> io::Result<Entry> {
        let folder = self.present.beneath(path)?;
        let stat = folder::stat(&folder)?;
        let mut entry = Entry {
            path: path.clone(),
            kind: Kind::Folder,
            metadata: metadata::metadata_of(&stat, &Owners::default()),
            stat: None,
        };
        let problems = self.xattrs.read(&folder, Held::Open, &mut entry.metadata.xattrs);
        self.attribute_problems(path, problems.len());
        Ok(entry)
    }

    /// Gives the top folder back what it must have, and goes up.
    pub(super) fn leave(&mut self) -> Result<(), RestoreError> {
        let path = self.stack.path();
        let fail = |error| RestoreError::entry("set the properties of", &path, error);
        let Some(level) = self.stack.data().map(|level| std::mem::replace(level, empty_level())) else {
            return Ok(());
        };
        let folder = self.stack.top().map_err(fail)?;
        settle(folder, &path, &level, &mut self.shortfalls).map_err(fail)?;
        self.stack.pop();
        Ok(())
    }

    /// Notes that something was made in the top folder.
    pub(super) fn touch(&mut self) {
        self.stack.data().unwrap_or(&mut self.root).changed = true;
    }
}

fn empty_level() -> Level {
    Level {
        mode: None,
        mtime: Moment::default(),
        made: None,
        changed: false,
    }
}

/// Gives a folder of the stage what it must have when nothing more is made in it.
pub(super) fn settle(
    folder: BorrowedFd<'_>,
    path: &TreePath,
    level: &Level,
    shortfalls: &mut Shortfalls,
) -> io::Result<()> {
    if let Some(entry) = &level.made {
        let short = create::apply(Made::Open(folder), &file::as_it_is(&entry.metadata))?;
        shortfalls.note(path, short);
        return Ok(());
    }
    if level.changed {
        rustix::fs::futimens(folder, &create::times(level.mtime))?;
    }
    if let Some(mode) = level.mode {
        rustix::fs::fchmod(folder, mode)?;
    }
    Ok(())
}
