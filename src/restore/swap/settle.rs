//! What is left to do with a swap that has begun: put everything back, finish it, or remove a point. Each may be taken any
//! number of times, and is right after a crash at any moment, its own included.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use super::disk::Disk;
use super::moves::{Imagined, NotBack};
use super::record::{HostPath, Item, Mark, Move, Part, Phase, SwapRecord};
use crate::id::RunId;

/// Why a swap stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// A call of the operating system failed.
    #[error("cannot {action} `{}`", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Something lies where this swap has put nothing, or what it moved is nowhere.
    #[error("`{}` is not what this program left there", .0.display())]
    Unknown(PathBuf),
}

impl SettleError {
    fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + use<'a> {
        move |source| Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }
}

/// Puts everything back as it was before the swap, and removes what was unpacked for it, then the journals.
///
/// # Errors
/// Where something lies somewhere that this swap has not put there: nothing is touched then. Or where a call fails: the
/// journals stay, and the next one goes on.
pub(super) fn undo(record: &SwapRecord, disk: &mut dyn Disk) -> Result<(), SettleError> {
    put_back(record, disk)?;
    remove_stages(record, disk)?;
    forget(record, Phase::Swap, disk)
}

/// Puts everything back; the journals stay.
pub(super) fn put_back(record: &SwapRecord, disk: &mut dyn Disk) -> Result<(), SettleError> {
    all_back(record, &mut Imagined::new(disk))?;
    all_back(record, disk)?;
    for folder in touched(&record.items) {
        disk.sync(&folder).map_err(SettleError::io("sync", &folder))?;
    }
    Ok(())
}

fn all_back(record: &SwapRecord, disk: &mut dyn Disk) -> Result<(), SettleError> {
    for item in record.items.iter().rev() {
        for part in item.parts.iter().rev() {
            part_back(part, item, disk)?;
        }
    }
    Ok(())
}

fn part_back(part: &Part, item: &Item, disk: &mut dyn Disk) -> Result<(), SettleError> {
    if let Some(ready) = &part.ready {
        let done = ready.is_done(disk).map_err(SettleError::io("look at", at(ready)))?;
        if !done {
            // It is on the disk before anything follows, so nothing did.
            return Ok(());
        }
    }
    for step in part.moves.iter().rev() {
        back(step, disk)?;
    }
    is_back(part, item, disk)?;
    for dress in &part.dress {
        let folder = &dress.folder;
        disk.dress(folder, &dress.was)
            .map_err(SettleError::io("set the properties of", folder))?;
    }
    part.ready.as_ref().map_or(Ok(()), |ready| back(ready, disk))
}

fn back(step: &Move, disk: &mut dyn Disk) -> Result<(), SettleError> {
    match step.back(disk) {
        Ok(()) => Ok(()),
        Err(NotBack::Unknown(path)) => Err(SettleError::Unknown(path)),
        Err(NotBack::Io(source)) => Err(SettleError::io("put back", at(step))(source)),
    }
}

/// The path that a message names.
fn at(step: &Move) -> &Path {
    step.takes().first().map_or(Path::new(""), |(path, _)| *path)
}

/// Finds that everything lies where the first of the renames took it from. What was unpacked for the swap may be missing:
/// it is removed next.
fn is_back(part: &Part, item: &Item, disk: &mut dyn Disk) -> Result<(), SettleError> {
    let ready = part.ready.as_ref().and_then(|ready| ready.paths().last().copied());
    let unpacked = |path: &Path| {
        !item.stages.is_empty()
            && (ready.is_some_and(|ready| path.starts_with(ready))
                || item.stages.iter().any(|stage| path.starts_with(&stage.at)))
    };
    let mut known: Vec<&Mark> = Vec::new();
    for (path, mark) in part.moves.iter().flat_map(Move::takes) {
        if known.contains(&mark) || unpacked(path) {
            continue;
        }
        known.push(mark);
        let seen = disk.look(path).map_err(SettleError::io("look at", path))?;
        if !seen.is_some_and(|seen| seen.mark.is(mark)) {
            return Err(SettleError::Unknown(path.to_owned()));
        }
    }
    Ok(())
}

fn remove_stages(record: &SwapRecord, disk: &mut dyn Disk) -> Result<(), SettleError> {
    for stage in record.items.iter().flat_map(|item| &item.stages) {
        disk.remove_tree(&stage.at, stage.mark)
            .map_err(SettleError::io("remove", &stage.at))?;
    }
    Ok(())
}

/// Does what comes after the commit: the journals become the index entry of the point, and one that was put back goes.
pub(super) fn finish(record: &SwapRecord, disk: &mut dyn Disk) -> Result<(), SettleError> {
    for folder in record.folders.iter().filter(|folder| **folder != record.home) {
        rename_journal(folder, &record.run, (Phase::Swap, Phase::Point), disk)?;
    }
    if let Some(taken) = &record.takes {
        let folders = taken.folders.iter().filter(|folder| **folder != taken.home);
        for folder in folders.chain([&taken.home]) {
            remove_journal(folder, &taken.run, Phase::Point, disk)?;
        }
    }
    rename_journal(&record.home, &record.run, (Phase::Swapped, Phase::Point), disk)
}

/// Removes what a point keeps, then its index entries. Its home says [`Phase::Drop`] already.
pub(super) fn drop_point(record: &SwapRecord, disk: &mut dyn Disk) -> Result<(), SettleError> {
    for kept in record.items.iter().flat_map(|item| &item.kept) {
        let seen = disk.look(&kept.at).map_err(SettleError::io("look at", &kept.at))?;
        if let Some(seen) = seen {
            disk.remove_tree(&kept.at, seen.mark)
                .map_err(SettleError::io("remove", &kept.at))?;
        }
    }
    for folder in record.folders.iter().filter(|folder| **folder != record.home) {
        remove_journal(folder, &record.run, Phase::Point, disk)?;
    }
    remove_journal(&record.home, &record.run, Phase::Drop, disk)
}

/// Removes the journals, home last: while another is there, home is.
pub(super) fn forget(record: &SwapRecord, phase: Phase, disk: &mut dyn Disk) -> Result<(), SettleError> {
    for folder in record.folders.iter().filter(|folder| **folder != record.home) {
        remove_journal(folder, &record.run, phase, disk)?;
    }
    remove_journal(&record.home, &record.run, phase, disk)
}

fn remove_journal(folder: &HostPath, run: &RunId, phase: Phase, disk: &mut dyn Disk) -> Result<(), SettleError> {
    let path = folder.join(phase.file_name(run));
    disk.remove(&path).map_err(SettleError::io("remove", &path))?;
    match disk.sync(folder) {
        // A folder that is gone with everything in it holds no journal.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(SettleError::io("sync", folder)),
    }
}

fn rename_journal(
    folder: &HostPath,
    run: &RunId,
    (from, to): (Phase, Phase),
    disk: &mut dyn Disk,
) -> Result<(), SettleError> {
    let (from, to) = (folder.join(from.file_name(run)), folder.join(to.file_name(run)));
    let there = disk.look(&from).map_err(SettleError::io("look at", &from))?;
    if there.is_some() {
        disk.rename(&from, &to, rustix::fs::RenameFlags::empty())
            .map_err(|error| SettleError::io("rename", &from)(error.into()))?;
        disk.sync(folder).map_err(SettleError::io("sync", folder))?;
    }
    Ok(())
}

/// The folders in which a swap renames something.
pub(super) fn touched(items: &[Item]) -> BTreeSet<PathBuf> {
    let parts = items.iter().flat_map(|item| &item.parts);
    let steps = parts.flat_map(|part| part.ready.iter().chain(&part.moves));
    let paths: Vec<&HostPath> = steps.flat_map(Move::paths).collect();
    let parents = paths.iter().filter_map(|path| path.parent());
    // The names in a folder that is itself renamed are on the disk with it; by which name it is reached now is not known.
    parents.filter(|folder| folder.is_dir()).map(Path::to_owned).collect()
}
