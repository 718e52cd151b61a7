//! The swap with its disk taken away after each call, and the recovery with its disk taken away too: all destinations are
//! old or all are new, whatever was lost on the way.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::RenameFlags;
use rustix::io::Errno;

use super::disk::{Disk, Kernel, Seen, lock};
use super::record::{Looks, Mark};
use super::recovery::{RecoveryError, drop_point_by, hold, settle_by};
use super::run::swap_by;
use super::scan::{Point, Scan, scan_with};
use super::{About, Journalling, SwapItem, With, swap};
use crate::fs::own::Own;
use crate::id::{Instance, RunId};
use crate::restore::error::{RestoreError, Unfit};
use crate::restore::place::Place;
use crate::restore::stage::Stage;

const OLD: &str = "old";
const NEW: &str = "new";

/// Four destinations on four file systems, as far as the test tells the disk: `one/a` and `one/b` side by side, `two/c`
/// absent, `mount` a mount point with the mount point `sub` in it.
struct World {
    root: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        // In memory where that can be had: nothing here waits for a real disk.
        let memory = Path::new("/dev/shm");
        let root = if memory.is_dir() {
            tempfile::tempdir_in(memory)
        } else {
            tempfile::tempdir()
        };
        let world = Self { root: root.unwrap() };
        for folder in ["one", "two", "mount/sub"] {
            fs::create_dir_all(world.at(folder)).unwrap();
        }
        for destination in ["one/a", "one/b"] {
            world.write(destination, "file", OLD);
        }
        for (name, content) in [
            ("t.db", OLD),
            ("t.db-wal", OLD),
            ("t.db-shm", OLD),
            ("u.db", OLD),
            ("u.db-wal", OLD),
            ("gone", OLD),
            ("folder/x", OLD),
            ("sub/x", OLD),
        ] {
            world.write("mount", name, content);
        }
        world
    }

    fn at(&self, path: &str) -> PathBuf {
        fs::canonicalize(self.root.path()).unwrap().join(path)
    }

    fn write(&self, destination: &str, name: &str, content: &str) {
        write(&self.at(destination).join(name), content);
    }

    fn destinations(&self) -> Vec<PathBuf> {
        ["one/a", "one/b", "two/c", "mount"].map(|path| self.at(path)).into()
    }

    /// The destinations with stages that hold new data.
    fn staged(&self, run: &RunId) -> Vec<SwapItem> {
        let items = self.destinations().into_iter().map(|destination| {
            let stage = Stage::at(place(&destination).unwrap(), run).unwrap();
            for (below, folder) in stage.folders() {
                if !destination.ends_with("mount") {
                    write(&folder.join("file"), NEW);
                } else if below.is_root() {
                    for name in ["t.db", "u.db", "u.db-wal", "came", "folder/y"] {
                        write(&folder.join(name), NEW);
                    }
                    // As the writer leaves it where something is mounted.
                    fs::create_dir(folder.join("sub")).unwrap();
                } else {
                    write(&folder.join("y"), NEW);
                }
            }
            SwapItem {
                source: "data".parse().unwrap(),
                destination,
                with: With::Stage(stage),
            }
        });
        items.collect()
    }

    /// Every file of every destination, without what is our own.
    fn data(&self) -> BTreeMap<PathBuf, String> {
        let mut found = BTreeMap::new();
        for destination in self.destinations() {
            files(&destination, &mut found);
        }
        found
    }

    /// Everything of our own, in and beside the destinations.
    fn own(&self) -> Vec<PathBuf> {
        let folders = ["one", "two", "mount", "mount/sub"].map(|path| self.at(path));
        let names = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
        let mut own: Vec<PathBuf> = names
            .map(|entry| entry.unwrap().path())
            .filter(|path| is_own(path))
            .collect();
        own.sort();
        own
    }
}

/// What is kept of the old data, as far as the rollback points say.
fn kept(point: &Point) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    for item in &point.record.items {
        for kept in &item.kept {
            let mut files_of = BTreeMap::new();
            files(&kept.at, &mut files_of);
            for (path, content) in files_of {
                let below = path.strip_prefix(&*kept.at).unwrap().to_owned();
                found.insert(kept.of.join(below), content);
            }
        }
    }
    found
}

fn write(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn is_own(path: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt;
    Own::of(path.file_name().unwrap().as_bytes()).is_some()
}

fn files(folder: &Path, found: &mut BTreeMap<PathBuf, String>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if is_own(&path) {
            continue;
        }
        if path.is_dir() {
            files(&path, found);
        } else {
            found.insert(path.clone(), fs::read_to_string(&path).unwrap());
        }
    }
}

fn place(destination: &Path) -> Result<Place, RestoreError> {
    let place = Place::of(destination)?;
    Ok(if destination.ends_with("mount") {
        place.taken_for_mount(&["sub"])
    } else {
        place
    })
}

fn run(number: u64) -> RunId {
    RunId::new(number, [u8::try_from(number).unwrap(); 10])
}

fn about(number: u64) -> About {
    About {
        run: run(number),
        environment: "dev".parse().unwrap(),
        host: "host".into(),
        instance: Instance::new("host"),
        actor: "nobody".into(),
        now: format!("2026-11-21T21:5{number}:00Z").parse().unwrap(),
        backup: None,
        takes: None,
    }
}

/// What a crash takes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lost {
    /// The process alone.
    Nothing,
    /// The last so many renames on one file system that were not synced.
    Last(usize, usize),
    /// Every rename that was not synced.
    Unsynced,
}

/// A change that a power cut may undo.
struct Change {
    file_system: usize,
    waits_for: Vec<PathBuf>,
    undo: Undo,
}

enum Undo {
    Rename(PathBuf, PathBuf),
    Exchange(PathBuf, PathBuf),
    Remove(PathBuf, Vec<u8>),
}

/// A disk that takes so many calls and is gone.
struct Failing {
    left: usize,
    calls: usize,
    dead: bool,
    lost: Lost,
    changes: Vec<Change>,
    knows_exchange: bool,
    forgets_syncs: bool,
    /// Databases that lay beside a log that is not their own.
    mixed: Vec<String>,
}

impl Failing {
    fn after(left: usize) -> Self {
        Self {
            left,
            calls: 0,
            dead: false,
            lost: Lost::Nothing,
            changes: Vec::new(),
            knows_exchange: true,
            forgets_syncs: false,
            mixed: Vec::new(),
        }
    }

    fn never() -> Self {
        Self::after(usize::MAX)
    }

    /// Counts a call; the one whose turn it is and all after it fail.
    fn count(&mut self) -> Result<(), Errno> {
        if !self.dead && self.calls == self.left {
            self.die();
        }
        if self.dead {
            return Err(Errno::IO);
        }
        self.calls += 1;
        Ok(())
    }

    fn die(&mut self) {
        self.dead = true;
        let mut lost = 0;
        for change in std::mem::take(&mut self.changes).into_iter().rev() {
            let goes = match self.lost {
                Lost::Nothing => false,
                Lost::Unsynced => true,
                Lost::Last(count, file_system) => change.file_system == file_system && lost < count,
            };
            if !goes || change.waits_for.is_empty() {
                continue;
            }
            lost += 1;
            match change.undo {
                Undo::Rename(from, to) => fs::rename(to, from).unwrap(),
                Undo::Exchange(one, other) => Kernel.rename(&one, &other, RenameFlags::EXCHANGE).unwrap(),
                Undo::Remove(path, bytes) => fs::write(path, bytes).unwrap(),
            }
        }
    }

    fn note(&mut self, paths: &[&Path], undo: Undo) {
        let file_system = match paths[0] {
            path if path.components().any(|c| c.as_os_str() == "sub") => 3,
            path if path.components().any(|c| c.as_os_str() == "mount") => 2,
            path if path.components().any(|c| c.as_os_str() == "two") => 1,
            _ => 0,
        };
        let mut waits_for: Vec<PathBuf> = paths.iter().map(|path| path.parent().unwrap().to_owned()).collect();
        waits_for.dedup();
        self.changes.push(Change {
            file_system,
            waits_for,
            undo,
        });
    }

    /// No database lies beside a log of another moment.
    fn look_for_mixtures(&mut self, path: &Path) {
        let Some(folder) = path.ancestors().find(|above| above.ends_with("mount")) else {
            return;
        };
        for database in ["t.db", "u.db"] {
            let content = |name: &str| fs::read_to_string(folder.join(name)).ok();
            let (data, log) = (content(database), content(&format!("{database}-wal")));
            if let (Some(data), Some(log)) = (data, log)
                && data != log
            {
                self.mixed
                    .push(format!("{database} is {data} beside a log that is {log}"));
            }
        }
    }
}

impl Disk for Failing {
    fn place(&mut self, destination: &Path) -> Result<Place, RestoreError> {
        place(destination)
    }

    fn look(&mut self, path: &Path) -> io::Result<Option<Seen>> {
        if self.dead {
            return Err(Errno::IO.into());
        }
        Kernel.look(path)
    }

    fn rename(&mut self, from: &Path, to: &Path, how: RenameFlags) -> Result<(), Errno> {
        if how == RenameFlags::EXCHANGE && !self.knows_exchange {
            return Err(Errno::INVAL);
        }
        self.count()?;
        Kernel.rename(from, to, how)?;
        self.look_for_mixtures(from);
        let (one, other) = (from.to_owned(), to.to_owned());
        self.note(
            &[from, to],
            if how == RenameFlags::EXCHANGE {
                Undo::Exchange(one, other)
            } else {
                Undo::Rename(one, other)
            },
        );
        Ok(())
    }

    fn sync(&mut self, folder: &Path) -> io::Result<()> {
        self.count()?;
        if !self.forgets_syncs {
            for change in &mut self.changes {
                change.waits_for.retain(|waits| waits != folder);
            }
        }
        Ok(())
    }

    fn write(&mut self, temporary: &Path, path: &Path, bytes: &[u8]) -> io::Result<File> {
        self.count()?;
        fs::write(temporary, bytes)?;
        self.count()?;
        let file = File::open(temporary)?;
        lock(&file)?;
        fs::rename(temporary, path)?;
        Ok(file)
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.count()?;
        if let Ok(bytes) = fs::read(path) {
            Kernel.remove(path)?;
            self.note(&[path], Undo::Remove(path.to_owned(), bytes));
        }
        Ok(())
    }

    fn remove_tree(&mut self, path: &Path, mark: Mark) -> io::Result<()> {
        self.count()?;
        Kernel.remove_tree(path, mark)
    }

    fn make_folder(&mut self, path: &Path) -> io::Result<()> {
        self.count()?;
        Kernel.make_folder(path)
    }

    fn dress(&mut self, folder: &Path, looks: &Looks) -> io::Result<()> {
        self.count()?;
        Kernel.dress(folder, looks)
    }
}

/// What is done when the disk goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Restore,
    Rollback,
    Drop,
}

/// How the disk and the program are.
#[derive(Clone, Copy)]
struct Setting {
    deed: Deed,
    journalling: Journalling,
    knows_exchange: bool,
    forgets_syncs: bool,
}

const SOUND: Setting = Setting {
    deed: Deed::Restore,
    journalling: Journalling::On,
    knows_exchange: true,
    forgets_syncs: false,
};

/// Prepares a world and does the deed on `disk`; gives the data before it and whether it came to its end.
fn deed(setting: Setting, disk: &mut Failing) -> (World, BTreeMap<PathBuf, String>, bool) {
    let world = World::new();
    if setting.deed == Deed::Restore {
        let before = world.data();
        let done = swap_by(world.staged(&run(1)), &about(1), setting.journalling, disk);
        return (world, before, done.is_ok());
    }
    swap_by(world.staged(&run(1)), &about(1), Journalling::On, &mut Failing::never()).unwrap();
    let point = point_of(&world);
    let before = world.data();
    let done = match setting.deed {
        Deed::Rollback => {
            let about = About {
                takes: Some(point.record.clone()),
                ..about(2)
            };
            swap_by(put_back(&point), &about, setting.journalling, disk).is_ok()
        }
        _ => drop_point_by(&point.record, &point.journal, disk).is_ok(),
    };
    (world, before, done)
}

fn put_back(point: &Point) -> Vec<SwapItem> {
    let items = point.record.items.iter();
    items
        .map(|item| SwapItem {
            source: item.source.clone(),
            destination: item.destination.0.clone(),
            with: With::Kept(item.kept.clone()),
        })
        .collect()
}

fn found(world: &World) -> Scan {
    found_by(world, &world.destinations(), "dev")
}

/// What is found by who knows these destinations, as if `mount` and what is in it were mounted.
fn found_by(world: &World, destinations: &[PathBuf], environment: &str) -> Scan {
    let mounts = ["mount", "mount/sub"].map(|path| world.at(path)).into();
    scan_with(destinations, &environment.parse().unwrap(), &mounts)
}

fn point_of(world: &World) -> Point {
    let mut points = found(world).points;
    assert_eq!(points.len(), 1);
    points.remove(0)
}

/// Settles what is left, on `disk`.
fn recover(world: &World, disk: &mut Failing) -> Result<(), String> {
    for unfinished in found(world).unfinished {
        settle_by(&unfinished, disk).map_err(|error| format!("not settled: {error:?}"))?;
    }
    Ok(())
}

/// What is wrong with the world after the deed was cut short and settled.
fn faults(
    world: &World,
    before: &BTreeMap<PathBuf, String>,
    after: &BTreeMap<PathBuf, String>,
    deed: Deed,
) -> Vec<String> {
    let mut faults = Vec::new();
    let data = world.data();
    let is_new = data == *after;
    if data != *before && !is_new {
        faults.push(format!("some old, some new: {data:#?}"));
        return faults;
    }
    let scan = found(world);
    if !scan.unfinished.is_empty() || !scan.strange.is_empty() {
        faults.push(format!("not settled: {:?} {:?}", scan.unfinished, scan.strange));
    }
    for stale in &scan.stale {
        super::scan::remove_stale(stale).unwrap();
    }
    let points = scan.points.len();
    let expected = match deed {
        Deed::Restore => usize::from(is_new)..=usize::from(is_new),
        Deed::Rollback => 1..=1,
        Deed::Drop => 0..=1,
    };
    if !expected.contains(&points) {
        faults.push(format!("{points} rollback points: {:?}", world.own()));
    }
    let mut named: Vec<PathBuf> = Vec::new();
    for point in &scan.points {
        if !point.is_whole() {
            faults.push(format!("a point without its data: {:?}", point.record.items));
        }
        let kept = kept(point);
        let other = if deed == Deed::Drop || !is_new {
            None
        } else {
            Some(before)
        };
        if other.is_some_and(|other| kept != *other) {
            faults.push(format!("what was replaced is not what is kept: {kept:#?}"));
        }
        named.extend(
            point
                .record
                .folders
                .iter()
                .map(|folder| folder.join(point.journal.file_name().unwrap())),
        );
        named.extend(
            point
                .record
                .items
                .iter()
                .flat_map(|item| &item.kept)
                .map(|kept| kept.at.0.clone()),
        );
    }
    named.sort();
    let left: Vec<PathBuf> = world.own().into_iter().filter(|path| !named.contains(path)).collect();
    if !left.is_empty() {
        faults.push(format!("left behind: {left:?}"));
    }
    faults
}

fn disk(setting: Setting, left: usize, lost: Lost) -> Failing {
    Failing {
        lost,
        knows_exchange: setting.knows_exchange,
        forgets_syncs: setting.forgets_syncs,
        ..Failing::after(left)
    }
}

/// The data after the deed, and the number of calls it takes.
fn whole(setting: Setting) -> (BTreeMap<PathBuf, String>, usize) {
    let mut disk = disk(setting, usize::MAX, Lost::Nothing);
    let (world, _, done) = deed(setting, &mut disk);
    assert!(done && disk.mixed.is_empty(), "{:?}", disk.mixed);
    (relative(&world, world.data()), disk.calls)
}

fn relative(world: &World, data: BTreeMap<PathBuf, String>) -> BTreeMap<PathBuf, String> {
    let root = world.at("");
    let below = |path: PathBuf| path.strip_prefix(&root).unwrap().to_owned();
    data.into_iter().map(|(path, content)| (below(path), content)).collect()
}

fn absolute(world: &World, data: &BTreeMap<PathBuf, String>) -> BTreeMap<PathBuf, String> {
    data.iter()
        .map(|(path, content)| (world.at("").join(path), content.clone()))
        .collect()
}

/// Takes the disk away after each call, in each way, and settles what is left.
fn sweep(setting: Setting) -> Vec<String> {
    let (after, calls) = whole(setting);
    let mut faults_found = Vec::new();
    let mut losses = vec![Lost::Nothing, Lost::Unsynced];
    // Every number of lost renames once, in the plain case; elsewhere some.
    let counts: &[usize] = match setting {
        Setting {
            deed: Deed::Restore,
            knows_exchange: true,
            ..
        } => &[1, 2, 4, 9],
        _ => &[2],
    };
    losses.extend((0..4).flat_map(|file_system| counts.iter().map(move |count| Lost::Last(*count, file_system))));
    for left in 0..=calls {
        for lost in &losses {
            let mut first = disk(setting, left, *lost);
            let (world, before, done) = deed(setting, &mut first);
            // A power cut comes also when the last call is through.
            if !first.dead {
                assert!(done, "{left} of {calls}");
                first.die();
            }
            let mut second = disk(setting, usize::MAX, Lost::Nothing);
            let settled = recover(&world, &mut second);
            let mut found = faults(&world, &before, &absolute(&world, &after), setting.deed);
            found.extend(first.mixed.into_iter().chain(second.mixed));
            found.extend(settled.err());
            faults_found.extend(
                found
                    .iter()
                    .map(|fault| format!("after {left} calls, lost {lost:?}: {fault}")),
            );
        }
    }
    faults_found
}

fn none(faults: &[String]) {
    assert!(faults.is_empty(), "{} faults, the first: {}", faults.len(), faults[0]);
}

#[test]
fn a_restore_cut_short_after_any_call_leaves_all_old_or_all_new() {
    none(&sweep(SOUND));
}

#[test]
fn a_rollback_cut_short_after_any_call_leaves_all_old_or_all_new() {
    none(&sweep(Setting {
        deed: Deed::Rollback,
        ..SOUND
    }));
}

#[test]
fn the_removal_of_a_point_cut_short_after_any_call_is_gone_on_with() {
    none(&sweep(Setting {
        deed: Deed::Drop,
        ..SOUND
    }));
}

#[test]
fn a_file_system_without_exchange_is_put_back_too() {
    for deed in [Deed::Restore, Deed::Rollback] {
        none(&sweep(Setting {
            deed,
            knows_exchange: false,
            ..SOUND
        }));
    }
}

#[test]
fn a_swap_without_a_journal_is_found_out() {
    let faults = sweep(Setting {
        journalling: Journalling::Off,
        ..SOUND
    });
    assert!(
        faults.iter().any(|fault| fault.contains("some old, some new")),
        "the sweep does not find the bug it is made for: {faults:#?}"
    );
}

#[test]
fn a_swap_that_does_not_wait_for_the_disk_is_found_out() {
    let faults = sweep(Setting {
        forgets_syncs: true,
        ..SOUND
    });
    assert!(
        faults.iter().any(|fault| fault.contains("some old, some new")),
        "{faults:#?}"
    );
}

/// Takes the disk away after each call of the deed, and again after each call of the recovery.
fn sweep_recovery(setting: Setting) {
    let (after, calls) = whole(setting);
    for left in 0..calls {
        for again in 0.. {
            let (world, before, _) = deed(setting, &mut disk(setting, left, Lost::Nothing));
            let mut second = disk(setting, again, Lost::Nothing);
            let settled = recover(&world, &mut second);
            let mut third = disk(setting, usize::MAX, Lost::Nothing);
            recover(&world, &mut third).unwrap();
            none(&faults(&world, &before, &absolute(&world, &after), setting.deed));
            assert!(second.mixed.is_empty() && third.mixed.is_empty());
            if settled.is_ok() && !second.dead {
                break;
            }
        }
    }
}

#[test]
fn the_recovery_of_a_restore_cut_short_after_any_call_is_gone_on_with() {
    sweep_recovery(SOUND);
}

#[test]
fn the_recovery_of_a_rollback_cut_short_after_any_call_is_gone_on_with() {
    sweep_recovery(Setting {
        deed: Deed::Rollback,
        ..SOUND
    });
}

#[test]
fn the_recovery_of_a_removal_cut_short_after_any_call_is_gone_on_with() {
    sweep_recovery(Setting {
        deed: Deed::Drop,
        ..SOUND
    });
}

#[test]
fn the_recovery_on_a_file_system_without_exchange_is_gone_on_with() {
    sweep_recovery(Setting {
        knows_exchange: false,
        ..SOUND
    });
}

// The swap itself.

/// Destinations `a` and `b` with old data and `c` absent, each with a stage that holds new data.
fn three(root: &Path) -> Vec<SwapItem> {
    let items = ["a", "b", "c"].iter().map(|name| {
        let destination = root.join(name);
        if *name != "c" {
            write(&destination.join("file"), OLD);
        }
        let stage = Stage::beside(&destination, &run(1)).unwrap();
        write(&stage.path().join("file"), NEW);
        SwapItem {
            source: "data".parse().unwrap(),
            destination,
            with: With::Stage(stage),
        }
    });
    items.collect()
}

fn names(root: &Path) -> Vec<String> {
    let names = fs::read_dir(root).unwrap();
    let mut names: Vec<String> = names.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn is_as_before(root: &Path) {
    assert_eq!(names(root), ["a", "b"]);
    for name in ["a", "b"] {
        assert_eq!(fs::read_to_string(root.join(name).join("file")).unwrap(), OLD);
    }
}

#[test]
fn the_new_comes_in_and_the_old_is_kept_beside_it() {
    let root = tempfile::tempdir().unwrap();
    let done = swap(three(root.path()), &about(1)).unwrap();
    for (name, swapped) in ["a", "b", "c"].iter().zip(&done.swapped) {
        let file = root.path().join(name).join("file");
        assert_eq!(fs::read_to_string(file).unwrap(), NEW);
        assert_eq!(swapped.replaced.len(), usize::from(*name != "c"));
        for replaced in &swapped.replaced {
            assert_eq!(fs::read_to_string(replaced.join("file")).unwrap(), OLD);
        }
    }
    assert_eq!(
        names(root.path()),
        [
            ".a.strongroom-replaced-20261121T215100Z-010101010101",
            ".b.strongroom-replaced-20261121T215100Z-010101010101",
            ".strongroom-point-00000000-0001-7101-8101-010101010101.json",
            "a",
            "b",
            "c"
        ]
    );
}

#[test]
fn whichever_call_fails_once_all_destinations_are_as_before() {
    /// Fails one call and takes all others.
    struct Once(usize, usize);
    impl Once {
        fn turn(&mut self) -> Result<(), Errno> {
            self.1 += 1;
            if self.1 == self.0 { Err(Errno::IO) } else { Ok(()) }
        }
    }
    impl Disk for Once {
        fn look(&mut self, path: &Path) -> io::Result<Option<Seen>> {
            Kernel.look(path)
        }
        fn rename(&mut self, from: &Path, to: &Path, how: RenameFlags) -> Result<(), Errno> {
            self.turn()?;
            Kernel.rename(from, to, how)
        }
        fn sync(&mut self, _: &Path) -> io::Result<()> {
            Ok(self.turn()?)
        }
        fn write(&mut self, temporary: &Path, path: &Path, bytes: &[u8]) -> io::Result<File> {
            self.turn()?;
            Kernel.write(temporary, path, bytes)
        }
        fn remove(&mut self, path: &Path) -> io::Result<()> {
            Kernel.remove(path)
        }
        fn remove_tree(&mut self, path: &Path, mark: Mark) -> io::Result<()> {
            Kernel.remove_tree(path, mark)
        }
        fn make_folder(&mut self, path: &Path) -> io::Result<()> {
            Kernel.make_folder(path)
        }
        fn dress(&mut self, folder: &Path, looks: &Looks) -> io::Result<()> {
            Kernel.dress(folder, looks)
        }
    }
    let mut committed = 0;
    for turn in 1.. {
        let root = tempfile::tempdir().unwrap();
        let mut disk = Once(turn, 0);
        let result = swap_by(three(root.path()), &about(1), Journalling::On, &mut disk);
        if disk.1 < turn {
            result.unwrap();
            break;
        }
        match result.unwrap_err() {
            // What fails after the commit does not take it back.
            RestoreError::Unsynced { swapped, .. } => {
                assert_eq!(swapped.len(), 3);
                committed += 1;
            }
            RestoreError::Swap { stuck: None, .. } | RestoreError::Io { .. } => is_as_before(root.path()),
            other => panic!("{turn}: {other:?}"),
        }
    }
    assert!(committed > 0, "no call after the commit failed");
}

#[test]
fn a_stage_that_is_gone_stops_all_before_the_first_is_moved() {
    let root = tempfile::tempdir().unwrap();
    let items = three(root.path());
    let With::Stage(stage) = &items[1].with else { panic!() };
    fs::remove_dir_all(stage.path()).unwrap();
    let error = swap(items, &about(1)).unwrap_err();
    assert!(matches!(
        error,
        RestoreError::Destination {
            unfit: Unfit::NoStage,
            ..
        }
    ));
    is_as_before(root.path());
}

#[test]
fn a_swap_that_meets_another_at_work_steps_back() {
    let root = tempfile::tempdir().unwrap();
    let mut disk = Failing::after(8);
    swap_by(three(root.path()), &about(1), Journalling::On, &mut disk).unwrap_err();
    let stage = Stage::beside(&root.path().join("b"), &run(2)).unwrap();
    let item = SwapItem {
        source: "data".parse().unwrap(),
        destination: root.path().join("b"),
        with: With::Stage(stage),
    };
    let error = swap(vec![item], &about(2)).unwrap_err();
    assert!(matches!(error, RestoreError::Busy { .. }), "{error:?}");
    let left = names(root.path());
    assert!(!left.iter().any(|name| name.contains("020202")), "{left:?}");
}

#[test]
fn what_another_put_where_something_was_moved_from_is_never_touched() {
    let world = World::new();
    // The names of the mount point are under way.
    let mut calls = 0;
    loop {
        calls += 1;
        let world = World::new();
        let mut disk = Failing::after(calls);
        assert!(
            swap_by(world.staged(&run(1)), &about(1), Journalling::On, &mut disk).is_err(),
            "the moment never came"
        );
        let log = world.at("mount/t.db-wal");
        if log.exists() || !world.at("mount/t.db").exists() {
            continue;
        }
        fs::write(&log, "a service that was started again").unwrap();
        let before = world.data();
        recover(&world, &mut Failing::never()).unwrap_err();
        assert_eq!(world.data(), before, "nothing is touched where not all can be put back");
        fs::remove_file(&log).unwrap();
        recover(&world, &mut Failing::never()).unwrap();
        assert_eq!(fs::read_to_string(&log).unwrap(), OLD);
        break;
    }
    drop(world);
}

#[test]
fn a_point_that_a_run_uses_is_not_removed() {
    let world = World::new();
    swap_by(world.staged(&run(1)), &about(1), Journalling::On, &mut Failing::never()).unwrap();
    let point = point_of(&world);
    let held = hold(&point.journal).unwrap().unwrap();
    let dropped = drop_point_by(&point.record, &point.journal, &mut Kernel);
    assert!(matches!(dropped, Err(RecoveryError::Live { .. })), "{dropped:?}");
    assert!(point_of(&world).is_whole());
    drop(held);
    assert!(drop_point_by(&point.record, &point.journal, &mut Kernel).unwrap());
    assert!(found(&world).points.is_empty());
}

#[test]
fn a_swap_whose_run_is_alive_is_left_alone() {
    let world = World::new();
    let mut disk = Failing::after(30);
    swap_by(world.staged(&run(1)), &about(1), Journalling::On, &mut disk).unwrap_err();
    let scan = found(&world);
    let held = hold(&scan.unfinished[0].journal).unwrap().unwrap();
    let settled = settle_by(&scan.unfinished[0], &mut Kernel);
    assert!(matches!(settled, Err(RecoveryError::Live { .. })), "{settled:?}");
    drop(held);
    assert!(settle_by(&scan.unfinished[0], &mut Kernel).unwrap().is_some());
    assert!(
        settle_by(&scan.unfinished[0], &mut Kernel).unwrap().is_none(),
        "it is settled already"
    );
}

#[test]
fn any_folder_leads_to_the_whole_swap() {
    for destination in ["one/b", "two/c", "mount"] {
        let world = World::new();
        let mut disk = Failing::after(30);
        swap_by(world.staged(&run(1)), &about(1), Journalling::On, &mut disk).unwrap_err();
        let scan = found_by(&world, &[world.at(destination)], "dev");
        assert_eq!(scan.unfinished.len(), 1, "{destination}");
        assert_eq!(scan.unfinished[0].record.items.len(), 4);
        let other = found_by(&world, &[world.at(destination)], "live");
        assert!(other.unfinished.is_empty() && other.strange.is_empty());
    }
}

#[test]
fn a_journal_without_the_one_that_decides_is_told_and_not_followed() {
    let world = World::new();
    let mut disk = Failing::after(30);
    swap_by(world.staged(&run(1)), &about(1), Journalling::On, &mut disk).unwrap_err();
    let home = found(&world).unfinished[0].journal.clone();
    fs::rename(&home, world.at("elsewhere")).unwrap();
    let scan = found(&world);
    assert!(scan.unfinished.is_empty());
    assert_eq!(scan.strange.len(), 1, "{:?}", scan.strange);
    assert!(scan.strange[0].why.contains("which decides"));
}

#[test]
fn a_mount_point_takes_the_looks_of_what_it_gets_and_gives_them_back() {
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let world = World::new();
    set(&world.at("mount"), 0o755);
    let items = world.staged(&run(1));
    let With::Stage(stage) = &items[3].with else { panic!() };
    set(&stage.path(), 0o2750);
    swap_by(items, &about(1), Journalling::On, &mut Failing::never()).unwrap();
    assert_eq!(mode(&world.at("mount")), 0o2750);
    let point = point_of(&world);
    swap_by(put_back(&point), &about(2), Journalling::On, &mut Failing::never()).unwrap();
    assert_eq!(mode(&world.at("mount")), 0o755);
}

#[test]
fn a_mount_point_that_no_tree_describes_keeps_its_looks() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    let sub = world.at("mount/sub");
    let mode = || fs::metadata(&sub).unwrap().permissions().mode() & 0o7777;
    fs::set_permissions(&sub, fs::Permissions::from_mode(0o1751)).unwrap();
    let items = world.staged(&run(1));
    let With::Stage(stage) = &items[3].with else { panic!() };
    fs::remove_dir(stage.path().join("sub")).unwrap();
    swap_by(items, &about(1), Journalling::On, &mut Failing::never()).unwrap();
    assert_eq!(mode(), 0o1751);
    let point = point_of(&world);
    swap_by(put_back(&point), &about(2), Journalling::On, &mut Failing::never()).unwrap();
    assert_eq!(mode(), 0o1751);
    assert_eq!(fs::read_to_string(sub.join("x")).unwrap(), OLD);
}
