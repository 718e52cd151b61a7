//! Which renames put a staged folder in the place of its destination.
//!
//! A folder is replaced as one, by exchanging it with the staged one. A mount point cannot be renamed and neither can a
//! folder on the way to one, so of these the names within are exchanged, and the folder takes the looks of the other.
//!
//! Name by name the order matters for SQLite: `-wal`, `-shm` and `-journal` belong to the database beside them, and a
//! database that meets the log of another is silently changed by it. So the present ones go out before anything else,
//! and staged ones come in after everything else, parked meanwhile where a present one takes their name: at no moment
//! does a log lie beside a database that is not its own.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::disk::{Disk, Seen, looks_of, open_folder};
use super::record::{Dress, HostPath, Kept, Looks, Mark, Move, Part, Way, compact_time, short};
use crate::fs::folder::Folder;
use crate::fs::own::{self, Own};
use crate::fs::side_files::database_of;
use crate::id::RunId;
use crate::limits;
use crate::restore::error::{RestoreError, Unfit};
use crate::restore::place::Place;

/// The names that a swap gives.
pub(super) struct Names {
    replaced: String,
    parked: String,
}

impl Names {
    pub(super) fn of(run: &RunId, now: jiff::Timestamp) -> Self {
        let short = short(run);
        Self {
            replaced: format!("replaced-{}-{short}", compact_time(now)),
            parked: format!("parked-{short}"),
        }
    }
}

/// What is done with a destination, and what is kept of it.
pub(super) struct Planned {
    pub(super) parts: Vec<Part>,
    pub(super) kept: Vec<Kept>,
}

/// Plans the swap of one destination. `staged` says what takes the place of the destination and of each mount point in it.
pub(super) fn plan(
    place: &Place,
    staged: &[Kept],
    names: &Names,
    disk: &mut dyn Disk,
) -> Result<Planned, RestoreError> {
    match place.way() {
        Way::Whole => whole(place, staged, names, disk),
        Way::Names => by_names(place, staged, names, disk),
    }
}

fn whole(place: &Place, staged: &[Kept], names: &Names, disk: &mut dyn Disk) -> Result<Planned, RestoreError> {
    let destination = place.path();
    let kept = place.folder_path().join(own::beside(place.name(), &names.replaced));
    let parked = place.folder_path().join(own::beside(place.name(), &names.parked));
    let present = look(disk, &destination)?;
    let staged = match staged {
        [] => None,
        [one] if one.at.parent() == destination.parent() => Some(&one.at),
        // What was replaced name by name lies inside of what was a mount point then.
        _ => return Err(RestoreError::unfit(&destination, Unfit::NoStage)),
    };
    let other = match staged {
        Some(staged) => Some((staged, look(disk, staged)?)),
        None => None,
    };
    let mut part = Part::default();
    let rename = |from: &Path, to: &Path, mark| Move::Rename {
        from: from.into(),
        to: to.into(),
        mark,
    };
    match (present, other) {
        (_, Some((_, None))) => return Err(RestoreError::unfit(&destination, Unfit::NoStage)),
        (Some(present), Some((staged, Some(other)))) => {
            part.ready = Some(rename(staged, &kept, other.mark));
            part.moves.push(Move::Exchange {
                present: destination.clone().into(),
                other: kept.clone().into(),
                parked: parked.into(),
                present_mark: present.mark,
                other_mark: other.mark,
            });
        }
        (None, Some((staged, Some(other)))) => part.moves.push(rename(staged, &destination, other.mark)),
        (Some(present), None) => part.moves.push(rename(&destination, &kept, present.mark)),
        (None, None) => {}
    }
    let keeps = present.map(|_| Kept {
        of: destination.into(),
        at: kept.into(),
    });
    Ok(Planned {
        parts: vec![part],
        kept: keeps.into_iter().collect(),
    })
}

fn by_names(place: &Place, staged: &[Kept], names: &Names, disk: &mut dyn Disk) -> Result<Planned, RestoreError> {
    let destination = place.path();
    let no_stage = || RestoreError::unfit(&destination, Unfit::NoStage);
    let mut planned = Planned {
        parts: Vec::new(),
        kept: Vec::new(),
    };
    for of in std::iter::once(&destination).chain(place.mounts()) {
        let is_in_tree = *of == destination || stands_in_tree(of, staged, disk)?;
        let staged = staged.iter().find(|staged| staged.of.0 == *of).ok_or_else(no_stage)?;
        if staged.at.parent() != Some(of) {
            return Err(no_stage());
        }
        if !is_in_tree {
            keep_looks(of, &staged.at, disk)?;
        }
        let mark = look(disk, &staged.at)?.ok_or_else(no_stage)?.mark;
        let kept = of.join(own::beside(OsStr::new(""), &names.replaced));
        let mut part = Part {
            ready: Some(Move::Rename {
                from: staged.at.clone(),
                to: kept.clone().into(),
                mark,
            }),
            ..Part::default()
        };
        let mut pair = Pair {
            mounts: place.mounts(),
            names,
            part: &mut part,
            disk,
        };
        pair.folder(of, &staged.at, &kept)?;
        planned.parts.push(part);
        planned.kept.push(Kept {
            of: of.clone().into(),
            at: kept.into(),
        });
    }
    let names: usize = planned.parts.iter().map(|part| part.moves.len()).sum();
    if names > limits::SWAP_NAMES_MAX {
        return Err(RestoreError::unfit(&destination, Unfit::TooManyNames));
    }
    Ok(planned)
}

/// Whether the staged tree has a folder where `mount` is: without it there is nothing that says what that should look like.
fn stands_in_tree(mount: &Path, staged: &[Kept], disk: &mut dyn Disk) -> Result<bool, RestoreError> {
    let around = staged.iter().filter(|other| other.of.0 != mount);
    let within = around.filter_map(|other| Some((other, mount.strip_prefix(&other.of.0).ok()?)));
    let nearest = within.min_by_key(|(_, below)| below.as_os_str().len());
    match nearest {
        Some((other, below)) => Ok(look(disk, &other.at.join(below))?.is_some()),
        None => Ok(false),
    }
}

/// Lets a staged folder that no tree describes look like the present one.
fn keep_looks(present: &Path, staged: &Path, disk: &mut dyn Disk) -> Result<(), RestoreError> {
    let looks = looks(present)?;
    disk.dress(staged, &looks)
        .map_err(|e| RestoreError::path("set the properties of", staged, e))
}

fn looks(path: &Path) -> Result<Looks, RestoreError> {
    open_folder(path)
        .and_then(|folder| looks_of(&folder))
        .map_err(|e| RestoreError::path("look at", path, e))
}

/// Two folders whose names are exchanged.
struct Pair<'a> {
    mounts: &'a [PathBuf],
    names: &'a Names,
    part: &'a mut Part,
    disk: &'a mut dyn Disk,
}

/// The same name in both folders.
#[derive(Default)]
struct Both {
    present: Option<Seen>,
    staged: Option<Seen>,
}

impl Pair<'_> {
    /// Plans for `live` what lies in `staged` now and in `kept` when the part is ready.
    fn folder(&mut self, live: &Path, staged: &Path, kept: &Path) -> Result<(), RestoreError> {
        let mut both: BTreeMap<OsString, Both> = BTreeMap::new();
        for name in list(live)? {
            let found = look(self.disk, &live.join(&name))?;
            both.entry(name).or_default().present = found;
        }
        for name in list(staged)? {
            let found = look(self.disk, &staged.join(&name))?;
            both.entry(name).or_default().staged = found;
        }
        let rigid: Vec<OsString> = both.keys().filter(|name| self.is_rigid(live, name)).cloned().collect();
        for name in rigid {
            let found = both.remove(&name).unwrap_or_default();
            self.rigid(&live.join(&name), &staged.join(&name), &kept.join(&name), &found)?;
        }
        let side = |name: &OsString| {
            let database = database_of(name.as_bytes()).map(|stem| OsString::from_vec(stem.to_vec()));
            database.is_some_and(|database| both.contains_key(&database))
        };
        let (sides, others): (Vec<_>, Vec<_>) = both.keys().partition(|name| side(name));
        let names = self.names;
        let parked = |name: &OsStr| kept.join(own::beside(name, &names.parked));
        let found = |name: &OsString| both.get(name).map(|both| (both.present, both.staged));
        for name in &sides {
            if let Some((Some(present), staged)) = found(name) {
                if let Some(staged) = staged {
                    self.rename(kept.join(name), parked(name), staged.mark);
                }
                self.rename(live.join(name), kept.join(name), present.mark);
            }
        }
        for name in others {
            match found(name) {
                Some((Some(present), Some(staged))) => self.part.moves.push(Move::Exchange {
                    present: live.join(name).into(),
                    other: kept.join(name).into(),
                    parked: parked(OsStr::new("")).into(),
                    present_mark: present.mark,
                    other_mark: staged.mark,
                }),
                Some((Some(present), None)) => self.rename(live.join(name), kept.join(name), present.mark),
                Some((None, Some(staged))) => self.rename(kept.join(name), live.join(name), staged.mark),
                Some((None, None)) | None => {}
            }
        }
        for name in &sides {
            match found(name) {
                Some((Some(_), Some(staged))) => self.rename(parked(name), live.join(name), staged.mark),
                Some((None, Some(staged))) => self.rename(kept.join(name), live.join(name), staged.mark),
                Some((_, None)) | None => {}
            }
        }
        self.dress(live, staged, kept)
    }

    /// A folder that stays: a mount point has a part of its own, one on the way to a mount point is gone into.
    fn rigid(&mut self, live: &Path, staged: &Path, kept: &Path, found: &Both) -> Result<(), RestoreError> {
        let is_folder = |seen: &Option<Seen>| seen.is_some_and(|seen| seen.is_folder);
        if !is_folder(&found.present) || (found.staged.is_some() && !is_folder(&found.staged)) {
            let unfit = Unfit::HoldsMount(live.display().to_string());
            return Err(RestoreError::unfit(live, unfit));
        }
        if self.mounts.iter().any(|mount| mount == live) {
            return Ok(());
        }
        if found.staged.is_none() {
            self.disk
                .make_folder(staged)
                .map_err(|e| RestoreError::path("create", staged, e))?;
            keep_looks(live, staged, self.disk)?;
        }
        self.folder(live, staged, kept)
    }

    fn is_rigid(&self, live: &Path, name: &OsStr) -> bool {
        let path = live.join(name);
        self.mounts.iter().any(|mount| mount.starts_with(&path))
    }

    fn rename(&mut self, from: PathBuf, to: PathBuf, mark: Mark) {
        self.part.moves.push(Move::Rename {
            from: from.into(),
            to: to.into(),
            mark,
        });
    }

    fn dress(&mut self, live: &Path, staged: &Path, kept: &Path) -> Result<(), RestoreError> {
        self.part.dress.push(Dress {
            folder: live.into(),
            other: HostPath::from(kept),
            was: looks(live)?,
            becomes: looks(staged)?,
        });
        Ok(())
    }
}

/// The names in a folder but for our own.
fn list(folder: &Path) -> Result<Vec<OsString>, RestoreError> {
    let names = Folder::open(folder)
        .and_then(|folder| folder.names())
        .map_err(|e| RestoreError::path("list", folder, e))?;
    let names = names.iter().map(|(name, _)| name);
    Ok(names
        .filter(|name| Own::within(name).is_none())
        .map(|name| OsString::from_vec(name.to_vec()))
        .collect())
}

fn look(disk: &mut dyn Disk, path: &Path) -> Result<Option<Seen>, RestoreError> {
    disk.look(path).map_err(|e| RestoreError::path("look at", path, e))
}
