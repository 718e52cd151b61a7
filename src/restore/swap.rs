//! Puts staged folders in the place of their destinations, all or none, and keeps what they replace.
//!
//! A stage first takes the name under which the old folder will be kept, then the two exchange names in one call: at every
//! moment the destination is one whole tree, and what was there never bears a name that says it may be removed.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::RenameFlags;
use rustix::io::Errno;

use super::error::{RestoreError, Stuck, Unfit};
use super::place::Place;
use super::stage::{Stage, short};
use crate::fs::create::{self, Identity};
use crate::id::RunId;

/// A staged source and where it goes.
#[derive(Debug)]
pub struct SwapItem {
    /// The stage, made by [`Stage::beside`] for this destination, and written.
    pub stage: Stage,
    /// Where it goes.
    pub destination: PathBuf,
}

/// A destination that holds restored data now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swapped {
    /// The destination, its real path.
    pub destination: PathBuf,
    /// Where the folder lies that was there before; `None` where there was none.
    pub replaced: Option<PathBuf>,
}

/// Finds that no destination is, holds or lies in another. Worth a call before anything is unpacked; [`swap`] looks again.
pub fn check_apart(destinations: &[PathBuf]) -> Result<(), RestoreError> {
    let real: Vec<PathBuf> = destinations.iter().map(|d| real_path(d)).collect();
    for (index, (path, destination)) in real.iter().zip(destinations).enumerate() {
        for (other_index, other) in real.iter().enumerate() {
            if index == other_index || !other.starts_with(path) {
                continue;
            }
            let unfit = if other == path {
                Unfit::Shared
            } else {
                Unfit::Holds(other.display().to_string())
            };
            return Err(RestoreError::unfit(destination, unfit));
        }
    }
    Ok(())
}

/// The path without links, as far as it exists.
fn real_path(path: &Path) -> PathBuf {
    let mut rest: Vec<&OsStr> = Vec::new();
    let mut at = path;
    loop {
        if let Ok(real) = std::fs::canonicalize(at) {
            return rest.iter().rev().fold(real, |path, name| path.join(name));
        }
        match (at.file_name(), at.parent()) {
            (Some(name), Some(parent)) => {
                rest.push(name);
                at = if parent.as_os_str().is_empty() {
                    Path::new(".")
                } else {
                    parent
                };
            }
            _ => return path.to_owned(),
        }
    }
}

/// Puts every stage in the place of its destination. What was there is kept beside it as
/// `.<name>.strongroom-replaced-<time>-<run>`.
///
/// # Errors
/// Where a destination cannot be replaced. Those replaced before are put back; the error says where that failed.
pub fn swap(items: Vec<SwapItem>, run: &RunId, now: jiff::Timestamp) -> Result<Vec<Swapped>, RestoreError> {
    swap_by(items, run, now, &mut Kernel)
}

/// Renames within one folder.
trait Rename {
    fn rename(&mut self, folder: BorrowedFd<'_>, from: &OsStr, to: &OsStr, how: RenameFlags) -> Result<(), Errno>;
}

struct Kernel;

impl Rename for Kernel {
    fn rename(&mut self, folder: BorrowedFd<'_>, from: &OsStr, to: &OsStr, how: RenameFlags) -> Result<(), Errno> {
        rustix::fs::renameat_with(folder, from, folder, to, how)
    }
}

/// How a destination was replaced, which says how to undo it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Done {
    /// Stage and destination exchanged their names.
    Exchanged,
    /// The destination was moved aside and the stage moved in, in two calls.
    MovedAside,
    /// There was nothing to replace.
    MovedIn,
}

struct Task {
    stage: Stage,
    place: Place,
    aside: OsString,
    destination: PathBuf,
}

fn swap_by(
    items: Vec<SwapItem>,
    run: &RunId,
    now: jiff::Timestamp,
    kernel: &mut dyn Rename,
) -> Result<Vec<Swapped>, RestoreError> {
    let mut tasks = look_at_all(items, run, now)?;
    let mut done: Vec<Done> = Vec::new();
    for index in 0..tasks.len() {
        let Some(task) = tasks.get_mut(index) else { break };
        match replace(task, kernel) {
            Ok(how) => done.push(how),
            Err(NotReplaced { source, stuck }) => {
                let destination = task.destination.clone();
                let mut all_stuck: Vec<Stuck> = stuck.into_iter().collect();
                for (task, how) in tasks.iter_mut().zip(&done).rev() {
                    all_stuck.extend(undo(task, *how, kernel));
                }
                return Err(RestoreError::Swap {
                    destination,
                    source,
                    stuck: all_stuck,
                });
            }
        }
    }
    let swapped = tasks
        .iter()
        .zip(&done)
        .map(|(task, how)| Swapped {
            destination: task.place.path(),
            replaced: (*how != Done::MovedIn).then(|| task.place.folder_path().join(&task.aside)),
        })
        .collect();
    for task in &tasks {
        if let Err(source) = sync(task.place.folder()) {
            return Err(RestoreError::Unsynced {
                destination: task.destination.clone(),
                source,
                swapped,
            });
        }
    }
    Ok(swapped)
}

/// Looks at every destination and every stage before the first is moved.
fn look_at_all(items: Vec<SwapItem>, run: &RunId, now: jiff::Timestamp) -> Result<Vec<Task>, RestoreError> {
    let destinations: Vec<PathBuf> = items.iter().map(|item| item.destination.clone()).collect();
    check_apart(&destinations)?;
    let mut tasks: Vec<Task> = Vec::new();
    for SwapItem { stage, destination } in items {
        let place = Place::of(&destination)?;
        let staged =
            create::look(stage.folder(), stage.name().as_bytes()).is_ok_and(|s| Identity::of(&s) == stage.identity());
        let same_folder = match (Identity::of_open(stage.folder()), Identity::of_open(place.folder())) {
            (Ok(one), Ok(other)) => one == other,
            _ => false,
        };
        if !staged || !same_folder {
            return Err(RestoreError::unfit(&destination, Unfit::NoStage));
        }
        // Two paths may lead to one folder through a bind mount.
        if place.present().is_some() && tasks.iter().any(|task| task.place.present() == place.present()) {
            return Err(RestoreError::unfit(&destination, Unfit::Shared));
        }
        let time = now.strftime("%Y%m%dT%H%M%SZ");
        let aside = place.beside(&format!("replaced-{time}-{}", short(run)));
        tasks.push(Task {
            stage,
            place,
            aside,
            destination,
        });
    }
    Ok(tasks)
}

/// Why a destination was not replaced, and whether it is left in another state than before.
struct NotReplaced {
    source: io::Error,
    stuck: Option<Stuck>,
}

impl From<Errno> for NotReplaced {
    fn from(error: Errno) -> Self {
        Self {
            source: error.into(),
            stuck: None,
        }
    }
}

fn replace(task: &mut Task, kernel: &mut dyn Rename) -> Result<Done, NotReplaced> {
    let folder = task.place.folder();
    let name = task.place.name();
    let staged = task.stage.name().to_owned();
    if task.place.present().is_none() {
        rename_new(kernel, folder, &staged, name)?;
        task.stage.now_at(name, Keep::Yes);
        return Ok(Done::MovedIn);
    }
    rename_new(kernel, folder, &staged, &task.aside)?;
    task.stage.now_at(&task.aside, Keep::No);
    match kernel.rename(folder, &task.aside, name, RenameFlags::EXCHANGE) {
        Ok(()) => {
            task.stage.now_at(name, Keep::Yes);
            return Ok(Done::Exchanged);
        }
        Err(error) if lacks_support(error) => {}
        Err(error) => return Err(error.into()),
    }
    // A file system that cannot exchange: the destination is absent for the moment between two renames.
    rename_new(kernel, folder, &task.aside, &staged)?;
    task.stage.now_at(&staged, Keep::No);
    rename_new(kernel, folder, name, &task.aside)?;
    if let Err(error) = rename_new(kernel, folder, &staged, name) {
        let back = rename_new(kernel, folder, &task.aside, name);
        return Err(NotReplaced {
            source: error.into(),
            stuck: back.err().map(|_| stuck(task, "nothing", Before::Aside)),
        });
    }
    task.stage.now_at(name, Keep::Yes);
    Ok(Done::MovedAside)
}

/// Puts back what was there. Gives what is where, when that fails.
fn undo(task: &mut Task, how: Done, kernel: &mut dyn Rename) -> Option<Stuck> {
    const RESTORED: &str = "the restored data";
    let folder = task.place.folder();
    let name = task.place.name();
    // The stage's own name is taken by nobody: it names the run.
    let staged = task.stage.first_name().to_owned();
    match how {
        Done::Exchanged => {
            if kernel.rename(folder, &task.aside, name, RenameFlags::EXCHANGE).is_err() {
                return Some(stuck(task, RESTORED, Before::Aside));
            }
            task.stage.now_at(&task.aside, Keep::No);
        }
        Done::MovedAside => {
            if rename_new(kernel, folder, name, &staged).is_err() {
                return Some(stuck(task, RESTORED, Before::Aside));
            }
            task.stage.now_at(&staged, Keep::No);
            if rename_new(kernel, folder, &task.aside, name).is_err() {
                return Some(stuck(task, "nothing", Before::Aside));
            }
        }
        Done::MovedIn => {
            if rename_new(kernel, folder, name, &staged).is_err() {
                return Some(stuck(task, RESTORED, Before::Nothing));
            }
            task.stage.now_at(&staged, Keep::No);
        }
    }
    None
}

/// Where a stage's folder is removed with the stage.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    Yes,
    No,
}

#[derive(Clone, Copy)]
enum Before {
    Aside,
    Nothing,
}

fn stuck(task: &Task, holds: &'static str, before: Before) -> Stuck {
    Stuck {
        destination: task.place.path(),
        holds,
        before: match before {
            Before::Aside => Some(task.place.folder_path().join(&task.aside)),
            Before::Nothing => None,
        },
    }
}

/// Renames to a name that is free.
fn rename_new(kernel: &mut dyn Rename, folder: BorrowedFd<'_>, from: &OsStr, to: &OsStr) -> Result<(), Errno> {
    match kernel.rename(folder, from, to, RenameFlags::NOREPLACE) {
        Err(error) if lacks_support(error) => {}
        other => return other,
    }
    match create::look(folder, to.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => kernel.rename(folder, from, to, RenameFlags::empty()),
        Ok(_) => Err(Errno::EXIST),
        Err(error) => Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
    }
}

/// Whether the file system knows no such rename.
fn lacks_support(error: Errno) -> bool {
    matches!(error, Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP)
}

/// Waits until the disk holds the names in `folder`.
fn sync(folder: BorrowedFd<'_>) -> io::Result<()> {
    match rustix::fs::fsync(folder) {
        Err(error) if lacks_support(error) => Ok(rustix::fs::syncfs(folder.as_fd())?),
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Fails the calls whose turn it is, counted from 0.
    struct Failing(Vec<usize>, Errno, usize);

    impl Rename for Failing {
        fn rename(&mut self, folder: BorrowedFd<'_>, from: &OsStr, to: &OsStr, how: RenameFlags) -> Result<(), Errno> {
            let turn = self.2;
            self.2 += 1;
            if self.0.contains(&turn) {
                return Err(self.1);
            }
            Kernel.rename(folder, from, to, how)
        }
    }

    /// Knows no exchange and no "only where the name is free".
    struct Old;

    impl Rename for Old {
        fn rename(&mut self, folder: BorrowedFd<'_>, from: &OsStr, to: &OsStr, how: RenameFlags) -> Result<(), Errno> {
            if how.is_empty() {
                Kernel.rename(folder, from, to, how)
            } else {
                Err(Errno::INVAL)
            }
        }
    }

    fn run() -> RunId {
        RunId::new(1, [9; 10])
    }

    fn now() -> jiff::Timestamp {
        "2026-11-21T21:51:00Z".parse().unwrap()
    }

    /// Destinations `a` and `b` with old data and `c` absent, each with a stage that holds new data.
    fn three(root: &Path) -> Vec<SwapItem> {
        ["a", "b", "c"]
            .iter()
            .map(|name| {
                let destination = root.join(name);
                if *name != "c" {
                    fs::create_dir(&destination).unwrap();
                    fs::write(destination.join("file"), "old").unwrap();
                }
                let stage = Stage::beside(&destination, &run()).unwrap();
                fs::write(stage.path().join("file"), "new").unwrap();
                SwapItem { stage, destination }
            })
            .collect()
    }

    fn read(root: &Path, name: &str) -> Option<String> {
        fs::read_to_string(root.join(name).join("file")).ok()
    }

    fn names(root: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(root)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn is_as_before(root: &Path) {
        assert_eq!(names(root), ["a", "b"]);
        assert_eq!(read(root, "a").as_deref(), Some("old"));
        assert_eq!(read(root, "b").as_deref(), Some("old"));
    }

    #[test]
    fn the_new_comes_in_and_the_old_is_kept_beside_it() {
        for kernel in [&mut Kernel as &mut dyn Rename, &mut Old] {
            let root = tempfile::tempdir().unwrap();
            let swapped = swap_by(three(root.path()), &run(), now(), kernel).unwrap();
            for (name, swapped) in ["a", "b", "c"].iter().zip(&swapped) {
                assert_eq!(read(root.path(), name).as_deref(), Some("new"));
                assert_eq!(swapped.replaced.is_some(), *name != "c");
                if let Some(replaced) = &swapped.replaced {
                    assert_eq!(fs::read_to_string(replaced.join("file")).unwrap(), "old");
                }
            }
            let short = short(&run());
            assert_eq!(
                names(root.path())[..2],
                [
                    format!(".a.strongroom-replaced-20261121T215100Z-{short}"),
                    format!(".b.strongroom-replaced-20261121T215100Z-{short}")
                ]
            );
            assert_eq!(names(root.path()).len(), 5);
        }
    }

    #[test]
    fn whichever_rename_fails_all_destinations_are_as_before() {
        // Two renames for each of `a` and `b`, one for `c`.
        for turn in 0..5 {
            let root = tempfile::tempdir().unwrap();
            let mut kernel = Failing(vec![turn], Errno::IO, 0);
            let error = swap_by(three(root.path()), &run(), now(), &mut kernel).unwrap_err();
            assert!(
                matches!(&error, RestoreError::Swap { stuck, .. } if stuck.is_empty()),
                "{error:?}"
            );
            is_as_before(root.path());
        }
    }

    #[test]
    fn where_undoing_fails_the_error_says_which_path_holds_what_and_nothing_is_removed() {
        let root = tempfile::tempdir().unwrap();
        // The fifth call moves `c` in; the sixth exchanges `b` back.
        let mut kernel = Failing(vec![4, 5], Errno::IO, 0);
        let error = swap_by(three(root.path()), &run(), now(), &mut kernel).unwrap_err();
        let RestoreError::Swap { stuck, .. } = &error else {
            panic!("{error:?}")
        };
        assert_eq!(stuck.len(), 1);
        assert_eq!(stuck[0].destination, fs::canonicalize(root.path()).unwrap().join("b"));
        assert_eq!(
            fs::read_to_string(stuck[0].before.as_ref().unwrap().join("file")).unwrap(),
            "old"
        );
        assert_eq!(read(root.path(), "b").as_deref(), Some("new"));
        assert_eq!(read(root.path(), "a").as_deref(), Some("old"));
    }

    #[test]
    fn a_file_system_without_exchange_is_undone_too() {
        struct OldFailing(usize);
        impl Rename for OldFailing {
            fn rename(
                &mut self,
                folder: BorrowedFd<'_>,
                from: &OsStr,
                to: &OsStr,
                how: RenameFlags,
            ) -> Result<(), Errno> {
                if how.is_empty() {
                    self.0 = self.0.wrapping_sub(1);
                    if self.0 == 0 {
                        return Err(Errno::IO);
                    }
                }
                Old.rename(folder, from, to, how)
            }
        }
        for turn in 1..=9 {
            let root = tempfile::tempdir().unwrap();
            let error = swap_by(three(root.path()), &run(), now(), &mut OldFailing(turn)).unwrap_err();
            assert!(
                matches!(&error, RestoreError::Swap { stuck, .. } if stuck.is_empty()),
                "{error:?}"
            );
            is_as_before(root.path());
        }
    }

    #[test]
    fn destinations_that_are_one_or_nested_are_refused() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("data/sub")).unwrap();
        std::os::unix::fs::symlink("data", root.path().join("link")).unwrap();
        let at = |path: &str| root.path().join(path);
        assert!(check_apart(&[at("data"), at("data.old"), at("other")]).is_ok());
        for pair in [
            ["data", "data"],
            ["data", "data/sub"],
            ["link/sub", "data"],
            ["data", "link/new/x"],
        ] {
            assert!(check_apart(&[at(pair[0]), at(pair[1])]).is_err(), "{pair:?}");
        }
    }

    #[test]
    fn a_stage_that_is_gone_stops_all_before_the_first_is_moved() {
        let root = tempfile::tempdir().unwrap();
        let items = three(root.path());
        fs::remove_dir_all(items[1].stage.path()).unwrap();
        let error = swap(items, &run(), now()).unwrap_err();
        assert!(matches!(
            error,
            RestoreError::Destination {
                unfit: Unfit::NoStage,
                ..
            }
        ));
        is_as_before(root.path());
    }
}
