//! A swap under way: journal, renames, commit.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use super::disk::Disk;
use super::planning::{Names, plan};
use super::record::{FORMAT, HostPath, Item, Kept, Move, Phase, Staged, SwapRecord, Taken, new_name};
use super::settle::{self, touched};
use super::{About, Journalling, SwapItem, Swapped, With, apart, scan};
use crate::fs::create::Identity;
use crate::restore::error::{RestoreError, Stuck, Unfit};
use crate::restore::place::Place;
use crate::restore::stage::Stage;

/// What a swap came to.
#[derive(Debug)]
pub struct Done {
    /// All destinations, in the order they were given in.
    pub swapped: Vec<Swapped>,
    /// The index entry of the rollback point that was made.
    pub record: SwapRecord,
}

/// A swap that is prepared.
struct Swap<'a> {
    record: SwapRecord,
    stages: Vec<Stage>,
    disk: &'a mut dyn Disk,
    /// Held as long as the swap runs: who finds a journal that nobody holds takes its run for dead.
    locks: Vec<File>,
}

pub(super) fn swap_by(
    items: Vec<SwapItem>,
    about: &About,
    journalling: Journalling,
    disk: &mut dyn Disk,
) -> Result<Done, RestoreError> {
    let mut swap = Swap::prepare(items, about, disk)?;
    if let Err(error) = swap.write_journals(journalling) {
        return Err(swap.withdraw(error));
    }
    if let Err((destination, source)) = swap.renames() {
        return Err(swap.undo(destination, source));
    }
    swap.commit(journalling)
}

impl<'a> Swap<'a> {
    /// Looks at every destination and every stage, and lists what will be done.
    fn prepare(items: Vec<SwapItem>, about: &About, disk: &'a mut dyn Disk) -> Result<Self, RestoreError> {
        let destinations: Vec<PathBuf> = items.iter().map(|item| item.destination.clone()).collect();
        apart::check_apart(&destinations)?;
        let names = Names::of(&about.run, about.now);
        let (mut listed, mut stages): (Vec<Item>, Vec<Stage>) = (Vec::new(), Vec::new());
        let mut present: Vec<Identity> = Vec::new();
        for item in items {
            let place = disk.place(&item.destination)?;
            // Two paths may lead to one folder through a bind mount.
            if let Some(identity) = place.present() {
                if present.contains(&identity) {
                    return Err(RestoreError::unfit(&item.destination, Unfit::Shared));
                }
                present.push(identity);
            }
            let (staged, unpacked) = look_at_staged(&item, &place, disk)?;
            let planned = plan(&place, &staged, &names, disk)?;
            listed.push(Item {
                source: item.source,
                destination: place.path().into(),
                way: place.way(),
                kept: planned.kept,
                stages: unpacked,
                parts: planned.parts,
            });
            if let With::Stage(stage) = item.with {
                stages.push(stage);
            }
        }
        let mut folders: Vec<HostPath> = Vec::new();
        for anchor in listed.iter().map(|item| HostPath::from(item.anchor())) {
            if !folders.contains(&anchor) {
                folders.push(anchor);
            }
        }
        let home = folders.first().cloned().ok_or(RestoreError::Unfinished)?;
        let record = SwapRecord {
            format: FORMAT,
            run: about.run,
            environment: about.environment.clone(),
            host: about.host.clone(),
            instance: about.instance.clone(),
            actor: about.actor.clone(),
            made: about.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            backup: about.backup.clone(),
            takes: about.takes.as_ref().map(|point| Taken {
                run: point.run,
                home: point.home.clone(),
                folders: point.folders.clone(),
            }),
            home,
            folders,
            items: listed,
        };
        Ok(Self {
            record,
            stages,
            disk,
            locks: Vec::new(),
        })
    }

    /// Writes the journal into every folder, home first: while another is there, home is.
    fn write_journals(&mut self, journalling: Journalling) -> Result<(), RestoreError> {
        if !journalling.is_on() {
            return Ok(());
        }
        let bytes = self.record.to_bytes().map_err(|_| RestoreError::Unfinished)?;
        for folder in &self.record.folders {
            let path = folder.join(Phase::Swap.file_name(&self.record.run));
            let lock = self
                .disk
                .write(&folder.join(new_name(&self.record.run)), &path, &bytes)
                .map_err(|e| RestoreError::path("write", &path, e))?;
            self.locks.push(lock);
        }
        match scan::other_at_work(&self.record) {
            // Two that begin at one moment see each other and both step back.
            Some(journal) => Err(RestoreError::Busy { journal }),
            None => Ok(()),
        }
    }

    /// Takes the journals away again: nothing was renamed.
    fn withdraw(mut self, error: RestoreError) -> RestoreError {
        // What cannot be removed is found by the next command, which undoes nothing and removes it.
        let withdrawn = settle::forget(&self.record, Phase::Swap, self.disk);
        if withdrawn.is_err() {
            self.leave_stages();
        }
        error
    }

    fn renames(&mut self) -> Result<(), (PathBuf, io::Error)> {
        let Self { record, disk, .. } = self;
        let at = |item: &Item| item.destination.0.clone();
        for item in &record.items {
            let ready = || item.parts.iter().filter_map(|part| part.ready.as_ref());
            for step in ready() {
                step.go(*disk).map_err(|error| (at(item), error.into()))?;
            }
            for folder in ready().flat_map(Move::paths).filter_map(|path| path.parent()) {
                disk.sync(folder).map_err(|error| (at(item), error))?;
            }
        }
        for item in &record.items {
            for part in &item.parts {
                for step in &part.moves {
                    step.go(*disk).map_err(|error| (at(item), error.into()))?;
                }
                for dress in &part.dress {
                    disk.dress(&dress.folder, &dress.becomes)
                        .and_then(|()| disk.dress(&dress.other, &dress.was))
                        .map_err(|error| (at(item), error))?;
                }
            }
        }
        for folder in touched(&record.items) {
            disk.sync(&folder).map_err(|error| (folder.clone(), error))?;
        }
        Ok(())
    }

    /// Puts everything back after a rename that failed.
    fn undo(mut self, destination: PathBuf, source: io::Error) -> RestoreError {
        let put_back = settle::put_back(&self.record, self.disk);
        let stuck = match put_back {
            Ok(()) => {
                let forgotten = settle::forget(&self.record, Phase::Swap, self.disk);
                if forgotten.is_err() {
                    self.leave_stages();
                }
                None
            }
            // The journals stay, and the next command goes on from them.
            Err(error) => {
                self.leave_stages();
                Some(Stuck {
                    journal: self.record.home.join(Phase::Swap.file_name(&self.record.run)),
                    why: error.to_string(),
                })
            }
        };
        RestoreError::Swap {
            destination,
            source,
            stuck,
        }
    }

    /// The rename after which everything is new, and the work after it.
    fn commit(mut self, journalling: Journalling) -> Result<Done, RestoreError> {
        let (home, run) = (self.record.home.clone(), self.record.run);
        if journalling.is_on() {
            let (from, to) = (
                home.join(Phase::Swap.file_name(&run)),
                home.join(Phase::Swapped.file_name(&run)),
            );
            if let Err(error) = self.disk.rename(&from, &to, rustix::fs::RenameFlags::empty()) {
                return Err(self.undo(home.0, error.into()));
            }
        }
        self.leave_stages();
        let swapped = self.swapped();
        let confirmed = self.disk.sync(&home);
        let finished = match &confirmed {
            Ok(()) if journalling.is_on() => settle::finish(&self.record, self.disk),
            _ => Ok(()),
        };
        let source = match (confirmed, finished) {
            (Ok(()), Ok(())) => {
                return Ok(Done {
                    swapped,
                    record: self.record,
                });
            }
            (Err(source), _) => source,
            (_, Err(error)) => io::Error::other(error),
        };
        Err(RestoreError::Unsynced {
            destination: home.0,
            source,
            swapped,
        })
    }

    fn swapped(&self) -> Vec<Swapped> {
        let items = self.record.items.iter();
        items
            .map(|item| Swapped {
                source: item.source.clone(),
                destination: item.destination.0.clone(),
                replaced: item.kept.iter().map(|kept| kept.at.0.clone()).collect(),
            })
            .collect()
    }

    /// Leaves what was unpacked where it is: it is in place, or the journal says what becomes of it.
    fn leave_stages(&mut self) {
        for stage in self.stages.drain(..) {
            stage.keep();
        }
    }
}

/// What takes the place of a destination, and what of it was unpacked for this swap.
fn look_at_staged(
    item: &SwapItem,
    place: &Place,
    disk: &mut dyn Disk,
) -> Result<(Vec<Kept>, Vec<Staged>), RestoreError> {
    let stage = match &item.with {
        With::Kept(kept) => return Ok((kept.clone(), Vec::new())),
        With::Stage(stage) => stage,
    };
    let no_stage = || RestoreError::unfit(&item.destination, Unfit::NoStage);
    if !stage.is_there() {
        return Err(no_stage());
    }
    let (mut staged, mut unpacked) = (Vec::new(), Vec::new());
    for (below, at) in stage.folders() {
        let of = below.components().fold(place.path(), |path, name| {
            use std::os::unix::ffi::OsStrExt;
            path.join(std::ffi::OsStr::from_bytes(name))
        });
        let seen = disk.look(&at).map_err(|e| RestoreError::path("look at", &at, e))?;
        unpacked.push(Staged {
            at: at.clone().into(),
            mark: seen.ok_or_else(no_stage)?.mark,
        });
        staged.push(Kept {
            of: of.into(),
            at: at.into(),
        });
    }
    Ok((staged, unpacked))
}

impl Kept {
    /// Whether the data is there.
    pub fn is_there(&self) -> bool {
        std::fs::symlink_metadata(&self.at.0).is_ok_and(|found| found.is_dir())
    }
}
