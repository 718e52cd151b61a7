//! One rename, and its way back from wherever it came to.
//!
//! The way back looks at what lies where and never at what was done: so it may be taken once or twenty times, after a crash
//! at any moment, its own included. A rename that was not done has nothing to take back; whether everything is where it
//! was is looked at when all of them have been taken back.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::RenameFlags;
use rustix::io::Errno;

use super::disk::{Disk, Seen, lacks_support, rename_new};
use super::record::{Looks, Mark, Move};

/// Why an entry is not put back.
#[derive(Debug)]
pub(super) enum NotBack {
    /// The operating system refused.
    Io(io::Error),
    /// Something lies at a path that this swap has not put there, or what it moved is nowhere.
    Unknown(PathBuf),
}

impl From<io::Error> for NotBack {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Errno> for NotBack {
    fn from(error: Errno) -> Self {
        Self::Io(error.into())
    }
}

impl Move {
    /// Does it.
    pub(super) fn go(&self, disk: &mut dyn Disk) -> Result<(), Errno> {
        match self {
            Self::Rename { from, to, .. } => rename_new(disk, from, to),
            Self::Exchange {
                present, other, parked, ..
            } => exchange(disk, present, other, parked),
        }
    }

    /// Goes back, where it was done.
    pub(super) fn back(&self, disk: &mut dyn Disk) -> Result<(), NotBack> {
        match self {
            Self::Rename { from, to, mark } => rename_back(disk, from, to, mark),
            Self::Exchange { .. } => self.exchange_back(disk),
        }
    }

    /// What it moves, and from where.
    pub(super) fn takes(&self) -> Vec<(&Path, &Mark)> {
        match self {
            Self::Rename { from, mark, .. } => vec![(from, mark)],
            Self::Exchange {
                present,
                other,
                present_mark,
                other_mark,
                ..
            } => vec![(present, present_mark), (other, other_mark)],
        }
    }

    /// Whether it was done. A half of it counts as done.
    pub(super) fn is_done(&self, disk: &mut dyn Disk) -> io::Result<bool> {
        let (at, mark) = match self {
            Self::Rename { from, mark, .. } => (from, mark),
            Self::Exchange {
                present, present_mark, ..
            } => (present, present_mark),
        };
        Ok(!disk.look(at)?.is_some_and(|seen| seen.mark.is(mark)))
    }

    fn exchange_back(&self, disk: &mut dyn Disk) -> Result<(), NotBack> {
        let Self::Exchange {
            present,
            other,
            parked,
            present_mark,
            other_mark,
        } = self
        else {
            return Ok(());
        };
        let what = |found: Option<Seen>| match found {
            None => Lies::Nothing,
            Some(seen) if seen.mark.is(present_mark) => Lies::Present,
            Some(seen) if seen.mark.is(other_mark) => Lies::Other,
            Some(_) => Lies::Stranger,
        };
        let at = [
            what(disk.look(present)?),
            what(disk.look(other)?),
            what(disk.look(parked)?),
        ];
        let steps: &[(&Path, &Path)] = match at {
            // The present one is where it belongs. What became of the other matters only as far as it can be put back.
            [Lies::Present, Lies::Nothing, Lies::Other] => &[(parked, other)],
            [Lies::Present, _, _] => &[],
            [Lies::Other, Lies::Present, Lies::Nothing] => return Ok(exchange(disk, present, other, parked)?),
            [Lies::Nothing, Lies::Present, Lies::Other] => &[(other, present), (parked, other)],
            [Lies::Nothing, Lies::Present, _] => &[(other, present)],
            [Lies::Nothing, _, Lies::Present] => &[(parked, present)],
            [Lies::Other, Lies::Nothing, Lies::Present] => &[(present, other), (parked, present)],
            [Lies::Stranger, Lies::Present, _] | [Lies::Stranger, _, Lies::Present] => {
                return Err(NotBack::Unknown(present.0.clone()));
            }
            _ => &[],
        };
        for (from, to) in steps {
            rename_new(disk, from, to)?;
        }
        Ok(())
    }
}

/// What lies at one of the three paths of an exchange.
#[derive(Clone, Copy)]
enum Lies {
    Nothing,
    Present,
    Other,
    Stranger,
}

/// Exchanges two entries in one call. A file system that cannot is served in three, with one of them parked meanwhile.
fn exchange(disk: &mut dyn Disk, present: &Path, other: &Path, parked: &Path) -> Result<(), Errno> {
    match disk.rename(other, present, RenameFlags::EXCHANGE) {
        Err(error) if lacks_support(error) => {}
        done => return done,
    }
    rename_new(disk, present, parked)?;
    rename_new(disk, other, present)?;
    rename_new(disk, parked, other)
}

fn rename_back(disk: &mut dyn Disk, from: &Path, to: &Path, mark: &Mark) -> Result<(), NotBack> {
    if !disk.look(to)?.is_some_and(|seen| seen.mark.is(mark)) {
        return Ok(());
    }
    match disk.look(from)? {
        None => Ok(rename_new(disk, to, from)?),
        // Another name of one inode is no other entry.
        Some(seen) if seen.mark.is(mark) => Ok(()),
        Some(_) => Err(NotBack::Unknown(from.to_owned())),
    }
}

/// A disk on which the way back is tried: what would be renamed is remembered, and nothing is.
pub(super) struct Imagined<'a> {
    disk: &'a mut dyn Disk,
    changed: BTreeMap<PathBuf, Option<Seen>>,
}

impl<'a> Imagined<'a> {
    pub(super) fn new(disk: &'a mut dyn Disk) -> Self {
        let changed = BTreeMap::new();
        Self { disk, changed }
    }
}

impl Disk for Imagined<'_> {
    fn look(&mut self, path: &Path) -> io::Result<Option<Seen>> {
        match self.changed.get(path) {
            Some(seen) => Ok(*seen),
            None => self.disk.look(path),
        }
    }

    fn rename(&mut self, from: &Path, to: &Path, how: RenameFlags) -> Result<(), Errno> {
        let cannot = |error: io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
        let (one, other) = (self.look(from).map_err(cannot)?, self.look(to).map_err(cannot)?);
        let left = if how == RenameFlags::EXCHANGE { other } else { None };
        self.changed.insert(from.to_owned(), left);
        self.changed.insert(to.to_owned(), one);
        Ok(())
    }

    fn sync(&mut self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn write(&mut self, _: &Path, _: &Path, _: &[u8]) -> io::Result<File> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn remove(&mut self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn remove_tree(&mut self, _: &Path, _: Mark) -> io::Result<()> {
        Ok(())
    }

    fn make_folder(&mut self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn dress(&mut self, _: &Path, _: &Looks) -> io::Result<()> {
        Ok(())
    }
}
