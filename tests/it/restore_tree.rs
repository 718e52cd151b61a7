//! Trees from an archive that was tampered with: each ends with a named error or a safe result, and nothing outside the
//! folder that is restored into is made, changed or opened. Then: carrying over what a backup does not hold.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use strongroom::diagnostic::{Code, Diagnose, Diagnostic};
use strongroom::fs::entry::{Entry, Extent, Kind, Metadata, TreePath};
use strongroom::fs::owners::Owners;
use strongroom::id::{Instance, RunId};
use strongroom::limits;
use strongroom::restore::carry::{Carried, Carry, SideFiles, carry};
use strongroom::restore::error::{RestoreError, Unfit};
use strongroom::restore::stage::Stage;
use strongroom::restore::swap::{About, SwapItem, With, swap};
use strongroom::restore::writer::{OwnerMapping, TreeWriter, WriteOptions, Written};
use strongroom::source::{SinkError, TreeSink, Verdict};

use crate::trees;

/// A folder with a stage and, outside the stage, things that an archive would like to reach.
struct Arena {
    dir: tempfile::TempDir,
    stage: Stage,
    before: BTreeMap<Vec<u8>, trees::Facts>,
}

impl Arena {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("secret"), "nobody writes here").unwrap();
        fs::create_dir(outside.join("folder")).unwrap();
        let before = trees::facts(&outside);
        let stage = Stage::beside(&dir.path().join("data"), &run()).unwrap();
        Self { dir, stage, before }
    }

    fn outside(&self) -> PathBuf {
        self.dir.path().join("outside")
    }

    fn inside(&self, path: &str) -> PathBuf {
        self.stage.path().join(path)
    }

    fn write_as(&self, owner: OwnerMapping, steps: &[Step]) -> Result<Written, Box<Diagnostic>> {
        let options = WriteOptions {
            owner,
            owners: Owners::of_host().unwrap(),
            ..WriteOptions::default()
        };
        let mut writer = TreeWriter::new(self.stage.root().unwrap(), options).unwrap();
        let mut result = Ok(());
        for step in steps {
            result = match step {
                Step::Begin(entry) => writer.begin(entry),
                Step::Write(data) => writer.write(data),
                Step::End(verdict) => writer.end(*verdict),
            };
            if result.is_err() {
                break;
            }
        }
        let written = match result {
            Err(SinkError::Failed(diagnostic)) => {
                // Whoever goes on after an error gets nowhere.
                assert!(matches!(writer.begin(&folder("more")), Err(SinkError::Stopped)));
                assert!(writer.finish().is_err());
                Err(diagnostic)
            }
            Err(SinkError::Stopped) => panic!("stopped without an error"),
            Ok(()) => writer.finish().map_err(|error| Box::new(Diagnostic::of(&error))),
        };
        self.assert_untouched();
        written
    }

    fn write(&self, steps: &[Step]) -> Result<Written, Box<Diagnostic>> {
        self.write_as(OwnerMapping::Names, steps)
    }

    /// Nothing outside the stage has changed, and nothing has come to lie beside it.
    fn assert_untouched(&self) {
        let changes = trees::compare(self.before.clone(), trees::facts(&self.outside()));
        assert!(changes.is_empty(), "{}", changes.join("\n"));
        assert_eq!(fs::read_dir(self.dir.path()).unwrap().count(), 2);
    }
}

fn run() -> RunId {
    RunId::new(1_700_000_000_000, [3; 10])
}

/// What a sink is told.
#[derive(Clone)]
enum Step {
    Begin(Entry),
    Write(Vec<u8>),
    End(Verdict),
}

fn path(text: &str) -> TreePath {
    TreePath::parse(text.as_bytes()).unwrap()
}

fn entry(at: &str, kind: Kind) -> Entry {
    let mode = if kind == Kind::Folder { 0o755 } else { 0o644 };
    Entry {
        path: path(at),
        kind,
        metadata: Metadata {
            mode,
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            ..Metadata::default()
        },
        stat: None,
    }
}

fn folder(at: &str) -> Entry {
    entry(at, Kind::Folder)
}

fn link(at: &str, target: &str) -> Entry {
    let target = target.as_bytes().to_vec();
    entry(at, Kind::Link { target })
}

fn hard_link(at: &str, first: &str) -> Entry {
    entry(at, Kind::HardLink { first: path(first) })
}

fn sized(at: &str, size: u64) -> Entry {
    entry(at, Kind::File { size, extents: None })
}

fn sparse(at: &str, size: u64, extents: &[(u64, u64)]) -> Entry {
    let extents = extents
        .iter()
        .map(|&(offset, length)| Extent { offset, length })
        .collect();
    entry(
        at,
        Kind::File {
            size,
            extents: Some(extents),
        },
    )
}

/// An entry without content.
fn plain(entry: Entry) -> Vec<Step> {
    vec![Step::Begin(entry), Step::End(Verdict::Kept)]
}

/// An entry that is followed by `content`.
fn with(entry: Entry, content: &str) -> Vec<Step> {
    vec![
        Step::Begin(entry),
        Step::Write(content.as_bytes().to_vec()),
        Step::End(Verdict::Kept),
    ]
}

fn file(at: &str, content: &str) -> Vec<Step> {
    with(sized(at, content.len() as u64), content)
}

/// The root, then these.
fn tree(parts: &[Vec<Step>]) -> Vec<Step> {
    let mut steps = plain(folder(""));
    steps.extend(parts.iter().flatten().cloned());
    steps
}

fn changed(mut entry: Entry, change: impl FnOnce(&mut Metadata)) -> Entry {
    change(&mut entry.metadata);
    entry
}

/// Refused as hostile, and nothing outside was touched.
fn assert_hostile(parts: &[Vec<Step>]) -> Box<Diagnostic> {
    assert_hostile_steps(&tree(parts))
}

fn assert_hostile_steps(steps: &[Step]) -> Box<Diagnostic> {
    let arena = Arena::new();
    let error = arena.write(steps).expect_err("the tree was taken");
    assert_eq!(error.code, Code::ArchiveHostile, "{error:?}");
    assert!(error.state.is_some() && error.help.is_some());
    drop(arena);
    error
}

/// Runs this very test as nobody where it runs as root; `true` where the caller is root and all is done.
fn again_as_nobody(test: &str) -> bool {
    if !rustix::process::geteuid().is_root() {
        return false;
    }
    let output = Command::new("/proc/self/exe")
        .args(["--exact", test, "--nocapture"])
        .current_dir("/")
        .env("TMPDIR", "/tmp")
        .uid(65_534)
        .gid(65_534)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "as nobody:\n{said}\n{complained}");
    assert!(said.contains("1 passed"), "no test of this name ran:\n{said}");
    true
}

// Paths.

#[test]
fn paths_that_leave_the_root_cannot_even_be_written_down() {
    for wrong in [
        "/etc/passwd",
        "..",
        "../x",
        "a/../../x",
        "a//b",
        ".",
        "a/.",
        "a\0b",
        "a/",
    ] {
        assert_eq!(TreePath::parse(wrong.as_bytes()), None, "{wrong:?}");
    }
    assert_eq!(TreePath::root().child(b".."), None);
    assert_eq!(path("a").child(b"../b"), None);
}

#[test]
fn an_entry_beneath_a_link_to_a_folder_is_refused() {
    let arena = Arena::new();
    let outside = arena.outside();
    let steps = tree(&[
        plain(link("l", outside.to_str().unwrap())),
        file("l/secret", "overwritten"),
    ]);
    assert_eq!(arena.write(&steps).unwrap_err().code, Code::ArchiveHostile);
}

#[test]
fn an_entry_beneath_a_link_made_within_the_tree_is_refused() {
    assert_hostile(&[plain(folder("d")), plain(link("l", "d")), file("l/x", "x")]);
}

#[test]
fn a_file_under_the_name_of_a_link_is_not_written_through_it() {
    for target in ["../outside/secret", "/etc/passwd", "nowhere"] {
        assert_hostile(&[plain(link("l", target)), file("l", "written through")]);
    }
}

#[test]
fn a_folder_under_the_name_of_a_link_is_refused() {
    assert_hostile(&[
        plain(link("l", "../outside/folder")),
        plain(folder("l")),
        file("l/x", "x"),
    ]);
}

#[test]
fn a_link_in_the_place_of_a_folder_is_refused() {
    assert_hostile(&[plain(folder("d")), plain(link("d", "../outside")), file("d/x", "x")]);
}

#[test]
fn a_file_is_no_folder() {
    assert_hostile(&[file("f", "f"), file("f/x", "x")]);
}

#[test]
fn an_entry_before_its_folder_is_refused() {
    assert_hostile(&[file("a/b", "x"), plain(folder("a"))]);
}

#[test]
fn an_entry_of_a_folder_that_was_left_is_refused() {
    assert_hostile(&[plain(folder("a")), plain(folder("b")), file("a/late", "x")]);
}

#[test]
fn nothing_comes_before_the_root_and_the_root_is_one_folder() {
    assert_hostile_steps(&file("f", "x"));
    assert_hostile_steps(&plain(link("", "/etc")));
    assert_hostile_steps(&file("", "x"));
    assert_hostile(&[plain(folder(""))]);
    assert_hostile(&[file("f", "x"), plain(folder(""))]);
    assert_hostile_steps(&[]);
}

#[test]
fn the_same_name_twice_is_refused_whatever_it_is() {
    let kinds = [
        plain(folder("x")),
        file("x", "first"),
        plain(link("x", "nowhere")),
        plain(entry("x", Kind::Fifo)),
    ];
    for first in &kinds {
        for second in &kinds {
            let error = assert_hostile(&[first.clone(), second.clone()]);
            assert!(error.what.contains("twice"), "{}", error.what);
        }
    }
    assert_hostile(&[file("a", "a"), file("x", "x"), plain(hard_link("x", "a"))]);
}

#[test]
fn names_and_depths_that_no_file_system_has_are_refused() {
    assert_hostile(&[file(&"n".repeat(256), "x")]);
    let deep = vec!["d"; limits::TREE_DEPTH + 1].join("/");
    assert_hostile(&[file(&deep, "x")]);
}

#[test]
fn names_of_our_own_making_are_names_like_others() {
    let arena = Arena::new();
    let names = [
        ".data.strongroom-stage-030303030303",
        ".data.strongroom-replaced-x",
        "x.restored",
    ];
    let written = arena.write(&tree(&names.map(|name| file(name, "x")))).unwrap();
    assert_eq!((written.entries, written.warning_count), (4, 0));
    for name in names {
        assert_eq!(fs::read_to_string(arena.inside(name)).unwrap(), "x");
    }
}

// Links.

#[test]
fn a_hard_link_to_something_outside_or_not_there_is_refused() {
    for first in ["outside/secret", "etc/passwd", "later", "h", "f/x", "d/none"] {
        assert_hostile(&[
            plain(folder("d")),
            file("f", "f"),
            plain(hard_link("h", first)),
            file("later", "x"),
        ]);
    }
}

#[test]
fn a_hard_link_through_a_link_is_refused() {
    assert_hostile(&[plain(link("l", "../outside")), plain(hard_link("stolen", "l/secret"))]);
    assert_hostile(&[plain(link("l", "/etc")), plain(hard_link("stolen", "l/passwd"))]);
}

#[test]
fn a_hard_link_to_a_folder_is_refused() {
    assert_hostile(&[plain(folder("d")), plain(hard_link("h", "d"))]);
    assert_hostile(&[plain(hard_link("h", ""))]);
}

#[test]
fn a_hard_link_to_a_link_is_another_name_of_the_link_and_not_of_its_target() {
    let arena = Arena::new();
    let steps = tree(&[plain(link("l", "../outside/secret")), plain(hard_link("m", "l"))]);
    arena.write(&steps).unwrap();
    let (one, other) = (arena.inside("l"), arena.inside("m"));
    let inode = |p: &Path| fs::symlink_metadata(p).unwrap().ino();
    assert_eq!(inode(&one), inode(&other));
    assert_ne!(inode(&one), fs::metadata(arena.outside().join("secret")).unwrap().ino());
}

#[test]
fn content_for_a_hard_link_is_refused_and_does_not_reach_the_file() {
    let arena = Arena::new();
    let steps = tree(&[file("f", "original"), with(hard_link("h", "f"), "changed!")]);
    assert_eq!(arena.write(&steps).unwrap_err().code, Code::ArchiveHostile);
    assert_eq!(fs::read_to_string(arena.inside("f")).unwrap(), "original");
}

#[test]
fn properties_of_a_link_stay_with_the_link() {
    let arena = Arena::new();
    let target = arena.outside().join("secret");
    let loud = changed(link("l", target.to_str().unwrap()), |m| {
        m.mode = 0o7777;
        m.mtime.seconds = 5;
    });
    arena.write(&tree(&[plain(loud)])).unwrap();
    assert_eq!(fs::symlink_metadata(arena.inside("l")).unwrap().mtime(), 5);
}

#[test]
fn links_that_cannot_exist_are_refused() {
    assert_hostile(&[plain(link("l", ""))]);
    assert_hostile(&[plain(link("l", "a\0b"))]);
    assert_hostile(&[plain(link("l", &"x".repeat(4096)))]);
}

// Content.

#[test]
fn more_content_than_was_said_is_refused_and_not_written() {
    let arena = Arena::new();
    let steps = tree(&[with(sized("bomb", 3), "four")]);
    assert_eq!(arena.write(&steps).unwrap_err().code, Code::ArchiveHostile);
    assert!(!arena.inside("bomb").exists());
    let arena = Arena::new();
    let steps = tree(&[with(sparse("bomb", 3, &[(0, 3)]), "four")]);
    assert_eq!(arena.write(&steps).unwrap_err().code, Code::ArchiveHostile);
    assert!(fs::metadata(arena.inside("bomb")).unwrap().len() <= 3);
    for entry in [folder("d"), link("l", "x"), entry("p", Kind::Fifo), sized("empty", 0)] {
        assert_hostile(&[with(entry, "content")]);
    }
    assert_hostile(&[with(sparse("all-hole", 100, &[]), "x")]);
    assert_hostile(&[with(sparse("holes", 100, &[(0, 1), (50, 1)]), "xyz")]);
}

#[test]
fn less_content_than_was_said_is_refused() {
    assert_hostile(&[with(sized("f", 5), "four")]);
    assert_hostile(&[plain(sized("f", 1))]);
    assert_hostile(&[with(sparse("f", 100, &[(0, 1), (50, 2)]), "xy")]);
}

#[test]
fn extents_that_overlap_or_lie_beyond_the_size_are_refused() {
    for wrong in [
        &[(0, 5), (4, 2)][..],
        &[(5, 1), (0, 1)],
        &[(0, 11)],
        &[(11, 1)],
        &[(3, 0)],
        &[(u64::MAX, 2)],
        &[(1, u64::MAX)],
    ] {
        assert_hostile(&[plain(sparse("f", 10, wrong))]);
    }
}

#[test]
fn a_size_that_no_disk_has_is_a_named_error_before_anything_is_written() {
    assert_hostile(&[plain(sized("f", u64::MAX))]);
    for entry in [sized("f", 1 << 61), sparse("f", i64::MAX as u64, &[])] {
        let arena = Arena::new();
        let error = arena.write(&tree(&[plain(entry)])).unwrap_err();
        assert_eq!(error.code, Code::DiskFull, "{error:?}");
    }
}

#[test]
fn entries_and_content_out_of_step_are_refused() {
    let begin = |at: &str| Step::Begin(sized(at, 1));
    let data = || Step::Write(b"x".to_vec());
    let end = |verdict| Step::End(verdict);
    assert_hostile(&[vec![begin("a"), begin("b")]]);
    assert_hostile(&[vec![data()]]);
    assert_hostile(&[vec![end(Verdict::Kept)]]);
    assert_hostile(&[vec![begin("a"), end(Verdict::Superseded), begin("b")]]);
    assert_hostile(&[vec![Step::Begin(folder("d")), end(Verdict::Superseded)]]);
    for unfinished in [vec![begin("a"), data()], vec![begin("a"), end(Verdict::Superseded)]] {
        let arena = Arena::new();
        assert_eq!(arena.write(&tree(&[unfinished])).unwrap_err().code, Code::RestoreFailed);
    }
}

#[test]
fn a_file_that_was_superseded_is_only_its_last_version() {
    let arena = Arena::new();
    let first = vec![
        Step::Begin(sized("f", 9)),
        Step::Write(b"first".to_vec()),
        Step::End(Verdict::Superseded),
    ];
    let written = arena.write(&tree(&[first, file("f", "last"), file("g", "g")])).unwrap();
    assert_eq!((written.entries, written.bytes), (3, 5));
    assert_eq!(fs::read_to_string(arena.inside("f")).unwrap(), "last");
}

// Small files, which other threads make many at a time.

/// Small files of every size in folders that are left before the files are made; checks that all is as it was said.
fn make_small_files() {
    let mut parts = Vec::new();
    let mut expected = Vec::new();
    let stamped = |entry: Entry, number: i64| {
        let mode = if entry.kind == Kind::Folder { 0o500 } else { 0o440 };
        changed(entry, |m| {
            m.mode = mode;
            m.mtime.seconds = 1_000_000 + number;
            m.xattrs
                .insert(b"user.number".to_vec(), number.to_string().into_bytes());
        })
    };
    let mut number = 0;
    let mut next = || {
        number += 1;
        number
    };
    // A crowded folder, then many that hold little, each within the one before.
    let mut at = "d".to_owned();
    for level in 0..100_usize {
        let own = next();
        parts.push(plain(stamped(folder(&at), own)));
        expected.push((at.clone(), own, None));
        let files = if level == 0 {
            2 * limits::RESTORE_BATCH_FILES + 5
        } else {
            1 + level % 3
        };
        for file in 0..files {
            let path = format!("{at}/{file}");
            let size = [0, 1, 5000, LARGE - 1][(level + file) % if file < 8 { 4 } else { 3 }];
            let own = next();
            let content = noise(size, own.unsigned_abs());
            parts.push(in_pieces(stamped(sized(&path, size), own), &content, 70_001));
            expected.push((path, own, Some(content)));
        }
        at.push_str("/z");
    }
    parts.push(file("e", "after all of them"));
    let arena = Arena::new();
    let written = arena.write(&tree(&parts)).unwrap();
    assert_eq!(written.entries, expected.len() as u64 + 2);
    assert_eq!(written.warnings, []);
    for (at, own, content) in expected {
        let at = arena.inside(&at);
        let stat = fs::metadata(&at).unwrap();
        let mode = if content.is_some() { 0o440 } else { 0o500 };
        assert_eq!((stat.mode() & 0o7777, stat.mtime()), (mode, 1_000_000 + own), "{at:?}");
        let mut value = [0_u8; 8];
        let length = rustix::fs::getxattr(&at, "user.number", &mut value).unwrap();
        assert_eq!(value[..length], *own.to_string().as_bytes());
        if let Some(content) = content {
            assert!(fs::read(&at).unwrap() == content, "{at:?}");
        }
    }
}

#[test]
fn small_files_and_the_folders_that_were_left_before_have_all_they_should() {
    make_small_files();
}

#[test]
fn as_another_user_small_files_are_made_in_folders_that_are_closed_afterwards() {
    if again_as_nobody("restore_tree::as_another_user_small_files_are_made_in_folders_that_are_closed_afterwards") {
        return;
    }
    make_small_files();
}

#[test]
fn a_writer_that_rests_has_made_everything_and_holds_neither_folders_nor_threads() {
    let held = || {
        let threads = fs::read_dir("/proc/self/task").unwrap();
        let names = threads.map(|one| fs::read_to_string(one.unwrap().path().join("comm")).unwrap_or_default());
        let writers = names.filter(|name| name.starts_with("restore-")).count();
        (fs::read_dir("/proc/self/fd").unwrap().count(), writers)
    };
    let arena = Arena::new();
    let mut writer = TreeWriter::new(arena.stage.root().unwrap(), WriteOptions::default()).unwrap();
    let take = |writer: &mut TreeWriter, steps: &[Step]| {
        for step in steps {
            match step {
                Step::Begin(entry) => writer.begin(entry),
                Step::Write(data) => writer.write(data),
                Step::End(verdict) => writer.end(*verdict),
            }
            .unwrap();
        }
    };
    take(&mut writer, &tree(&[plain(folder("last"))]));
    let before = held();
    for number in 0..20 {
        let at = format!("d{number}");
        take(&mut writer, &plain(folder(&at)));
        take(&mut writer, &file(&format!("{at}/f"), &at));
    }
    assert!(held().0 > before.0 + 10 && held().1 > 0);
    writer.rest().unwrap();
    // The folder that is not left yet stays open.
    assert_eq!(held(), before);
    for number in 0..20 {
        let content = fs::read_to_string(arena.inside(&format!("d{number}/f"))).unwrap();
        assert_eq!(content, format!("d{number}"));
    }
    take(&mut writer, &file("d19/g", "more"));
    assert_eq!(writer.finish().unwrap().entries, 43);
    assert_eq!(fs::read_to_string(arena.inside("d19/g")).unwrap(), "more");
}

#[test]
fn a_hard_link_to_a_small_file_that_is_not_made_yet_is_another_name_of_it() {
    let arena = Arena::new();
    let mut parts = vec![plain(folder("d"))];
    for number in 0..40 {
        parts.push(file(&format!("d/f{number}"), &format!("content {number}")));
        parts.push(plain(hard_link(&format!("d/g{number}"), &format!("d/f{number}"))));
    }
    arena.write(&tree(&parts)).unwrap();
    for number in 0..40 {
        let (first, other) = (
            arena.inside(&format!("d/f{number}")),
            arena.inside(&format!("d/g{number}")),
        );
        assert_eq!(fs::read_to_string(&other).unwrap(), format!("content {number}"));
        assert_eq!(fs::metadata(first).unwrap().ino(), fs::metadata(other).unwrap().ino());
    }
}

#[test]
fn a_name_taken_by_a_small_file_that_is_not_made_yet_is_taken() {
    let fifo = plain(entry("x", Kind::Fifo));
    for other in [plain(folder("x")), plain(link("x", "y")), fifo, file("x", "2")] {
        assert_hostile(&[file("x", "1"), other]);
    }
    let large = in_pieces(sized("x", LARGE), &noise(LARGE, 1), 1 << 20);
    assert_hostile(&[file("x", "1"), large]);
}

// Large files, which other threads write.

const LARGE: u64 = limits::RESTORE_BEHIND;

/// `size` bytes that repeat nowhere soon.
fn noise(size: u64, seed: u64) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    plain.resize(usize::try_from(size).unwrap(), 0);
    hasher.finalize_xof().fill(&mut plain);
    plain
}

/// A file whose content comes in pieces of `piece` bytes.
fn in_pieces(entry: Entry, content: &[u8], piece: usize) -> Vec<Step> {
    let mut steps = vec![Step::Begin(entry)];
    steps.extend(content.chunks(piece).map(|data| Step::Write(data.to_vec())));
    steps.push(Step::End(Verdict::Kept));
    steps
}

#[test]
fn large_files_have_their_content_and_properties_whatever_pieces_they_came_in() {
    let arena = Arena::new();
    let piece = limits::RESTORE_PIECE as u64;
    let sizes = [
        LARGE,
        LARGE + 1,
        piece - 1,
        piece,
        piece + 4095,
        3 * piece,
        5 * piece + 7,
        LARGE - 1,
    ];
    let mut parts = Vec::new();
    for (number, size) in (0..).zip(sizes) {
        let entry = changed(sized(&format!("f{number}"), size), |m| {
            m.mode = 0o640 + number;
            m.mtime.seconds = 1_000_000 + i64::from(number);
            m.xattrs
                .insert(b"user.number".to_vec(), number.to_string().into_bytes());
        });
        let piece = [1 << 20, 700_001, 4096, 3 << 20][number as usize % 4];
        parts.push(in_pieces(entry, &noise(size, u64::from(number)), piece));
    }
    parts.push(plain(hard_link("g", "f5")));
    let written = arena.write(&tree(&parts)).unwrap();
    assert_eq!((written.entries, written.bytes), (10, sizes.iter().sum()));
    assert_eq!(written.warnings, []);
    for (number, size) in (0..).zip(sizes) {
        let at = arena.inside(&format!("f{number}"));
        assert!(fs::read(&at).unwrap() == noise(size, u64::from(number)), "f{number}");
        let stat = fs::metadata(&at).unwrap();
        assert_eq!(
            (stat.mode() & 0o7777, stat.mtime()),
            (0o640 + number, 1_000_000 + i64::from(number))
        );
        let mut value = [0_u8; 8];
        let length = rustix::fs::getxattr(&at, "user.number", &mut value).unwrap();
        assert_eq!(value[..length], *number.to_string().as_bytes());
    }
    let (first, other) = (arena.inside("f5"), arena.inside("g"));
    assert_eq!(fs::metadata(first).unwrap().ino(), fs::metadata(other).unwrap().ino());
}

#[test]
fn a_large_file_with_more_or_less_content_than_it_says_is_refused() {
    for size in [LARGE, 3 * limits::RESTORE_PIECE as u64] {
        let content = noise(size, 1);
        assert_hostile(&[in_pieces(sized("f", size - 1), &content, 1 << 20)]);
        assert_hostile(&[in_pieces(sized("f", size + 1), &content, 1 << 20)]);
        assert_hostile(&[plain(sized("f", size))]);
        let steps = [Step::Begin(sized("f", size)), Step::Write(content)];
        let unfinished = Arena::new().write(&tree(&[steps.to_vec()])).unwrap_err();
        assert_eq!(unfinished.code, Code::RestoreFailed);
    }
}

#[test]
fn a_large_file_that_was_superseded_is_only_its_last_version() {
    let arena = Arena::new();
    let (old, new) = (noise(3 << 20, 1), noise((2 << 20) + 5, 2));
    let mut parts = vec![];
    for tried in 0..9 {
        // Given up with a buffer half full, and on its edge.
        let some = (2 << 20) + (tried % 2) * 1000;
        parts.push(vec![
            Step::Begin(sized("f", 3 << 20)),
            Step::Write(old[..some].to_vec()),
            Step::End(Verdict::Superseded),
        ]);
    }
    parts.push(in_pieces(sized("f", new.len() as u64), &new, 1 << 20));
    let written = arena.write(&tree(&parts)).unwrap();
    assert_eq!((written.entries, written.bytes), (2, new.len() as u64));
    assert!(fs::read(arena.inside("f")).unwrap() == new);
}

// Properties.

#[test]
fn numbers_that_cannot_be_are_refused() {
    assert_hostile(&[plain(changed(folder("d"), |m| m.mode = 0o10_755))]);
    assert_hostile(&[plain(changed(folder("d"), |m| m.uid = u32::MAX))]);
    assert_hostile(&[plain(changed(folder("d"), |m| m.gid = u32::MAX))]);
    // To the kernel these two mean "now" and "leave it".
    for special in [(1 << 30) - 1, (1 << 30) - 2, u32::MAX] {
        assert_hostile(&[plain(changed(folder("d"), |m| m.mtime.nanoseconds = special))]);
    }
}

#[test]
fn attributes_that_cannot_exist_are_refused() {
    for name in [
        "x",
        "user",
        "user.",
        ".x",
        "user.a\0b",
        &format!("user.{}", "n".repeat(251)),
    ] {
        let wrong = changed(folder("d"), |m| drop(m.xattrs.insert(name.into(), vec![])));
        assert_hostile(&[plain(wrong)]);
    }
    let large = changed(folder("d"), |m| {
        drop(m.xattrs.insert(b"user.x".to_vec(), vec![0; 65_537]));
    });
    assert_hostile(&[plain(large)]);
}

#[test]
fn attributes_of_nested_folders_do_not_fill_the_memory() {
    let mut at = String::new();
    let mut parts = Vec::new();
    for _ in 0..64 {
        at.push_str(if at.is_empty() { "d" } else { "/d" });
        parts.push(plain(changed(folder(&at), |m| {
            for number in 0..15 {
                m.xattrs.insert(format!("user.{number}").into_bytes(), vec![0; 65_536]);
            }
        })));
    }
    assert_hostile(&parts);
}

#[test]
fn an_attribute_that_does_not_fit_is_a_warning_and_the_rest_is_restored() {
    let arena = Arena::new();
    let full = changed(sized("f", 4), |m| {
        m.mode = 0o640;
        m.xattrs.insert(b"nonsense.x".to_vec(), b"1".to_vec());
        m.xattrs.insert(b"user.x".to_vec(), b"2".to_vec());
    });
    let written = arena.write(&tree(&[with(full, "kept")])).unwrap();
    assert_eq!((written.attributes_skipped, written.warning_count), (1, 1));
    assert_eq!(written.warnings[0].code, Code::RestoreIncomplete);
    assert!(written.warnings[0].what.contains("nonsense.x"));
    assert_eq!(fs::read_to_string(arena.inside("f")).unwrap(), "kept");
    assert_eq!(fs::metadata(arena.inside("f")).unwrap().mode() & 0o7777, 0o640);
}

#[test]
fn overlay_attributes_are_data_like_others() {
    trees::need_root();
    let arena = Arena::new();
    let opaque = changed(folder("d"), |m| {
        m.xattrs.insert(b"trusted.overlay.opaque".to_vec(), b"y".to_vec());
    });
    assert_eq!(arena.write(&tree(&[plain(opaque)])).unwrap().warning_count, 0);
    let facts = trees::facts(&arena.stage.path());
    assert_eq!(facts[&b"d"[..]].attributes[&b"trusted.overlay.opaque"[..]], b"y");
}

#[test]
fn devices_are_made_and_never_opened() {
    trees::need_root();
    let arena = Arena::new();
    let (major, minor) = (10, 200);
    let parts = [
        plain(entry("c", Kind::CharDevice { major, minor })),
        plain(entry("b", Kind::BlockDevice { major: 7, minor: 77 })),
        plain(entry("p", Kind::Fifo)),
        plain(hard_link("q", "p")),
    ];
    let written = arena.write(&tree(&parts)).unwrap();
    assert_eq!((written.entries, written.warning_count), (5, 0));
    assert!(
        fs::symlink_metadata(arena.inside("c"))
            .unwrap()
            .file_type()
            .is_char_device()
    );
    let mode = fs::symlink_metadata(arena.inside("p")).unwrap().mode();
    assert_eq!(mode & 0o7777, 0o644);
}

#[test]
fn device_numbers_beyond_the_kernels_are_refused() {
    assert_hostile(&[plain(entry("c", Kind::CharDevice { major: 4096, minor: 0 }))]);
    assert_hostile(&[plain(entry(
        "b",
        Kind::BlockDevice {
            major: 0,
            minor: 1 << 20,
        },
    ))]);
}

#[test]
fn a_set_id_program_does_not_come_to_serve_whoever_restores_it() {
    let arena = Arena::new();
    let foreign = |at: &str| {
        changed(sized(at, 0), |m| {
            m.mode = 0o6755;
            m.uid += 54_321;
            m.gid += 54_321;
        })
    };
    let written = arena
        .write_as(OwnerMapping::None, &tree(&[plain(foreign("f"))]))
        .unwrap();
    assert_eq!((written.owner_skipped, written.warning_count), (0, 0));
    let stat = fs::metadata(arena.inside("f")).unwrap();
    assert_eq!(stat.mode() & 0o7777, 0o755);
    assert_eq!(stat.uid(), rustix::process::geteuid().as_raw());
}

#[test]
fn a_folder_gets_its_own_mode_and_time_after_everything_in_it() {
    let arena = Arena::new();
    let closed = |at: &str| {
        changed(folder(at), |m| {
            m.mode = 0o500;
            m.mtime.seconds = 7;
        })
    };
    let steps = tree(&[
        plain(closed("a")),
        plain(closed("a/b")),
        file("a/b/f", "x"),
        file("z", "z"),
    ]);
    arena.write(&steps).unwrap();
    for at in ["a", "a/b"] {
        let stat = fs::metadata(arena.inside(at)).unwrap();
        assert_eq!((stat.mode() & 0o7777, stat.mtime()), (0o500, 7));
    }
}

// As another user than root.

#[test]
fn as_another_user_what_cannot_be_set_is_counted_once() {
    if again_as_nobody("restore_tree::as_another_user_what_cannot_be_set_is_counted_once") {
        return;
    }
    let foreign = |entry: Entry| {
        changed(entry, |m| {
            m.uid += 1;
            m.gid += 1;
            m.mode |= 0o6000;
            m.xattrs.insert(b"trusted.x".to_vec(), b"1".to_vec());
            m.xattrs.insert(b"security.strongroom".to_vec(), b"1".to_vec());
        })
    };
    let mut parts = vec![plain(foreign(entry("c", Kind::CharDevice { major: 1, minor: 3 })))];
    parts.push(plain(hard_link("c-too", "c")));
    parts.push(plain(foreign(folder("d"))));
    for number in 0..20 {
        parts.push(with(foreign(sized(&format!("d/{number:02}"), 1)), "x"));
    }
    let arena = Arena::new();
    let written = arena.write(&tree(&parts)).unwrap();
    assert_eq!(written.owner_skipped, 21);
    assert_eq!(written.devices_skipped, 2);
    assert_eq!(written.attributes_skipped, 42);
    assert_eq!(written.warning_count, 4, "{:#?}", written.warnings);
    assert!(written.warnings[0].help.as_ref().unwrap().contains("--no-owner"));
    let mode = fs::metadata(arena.inside("d/00")).unwrap().mode();
    assert_eq!(mode & 0o7777, 0o644, "set-id bits of someone else's program");
    drop(arena);

    let arena = Arena::new();
    let written = arena.write_as(OwnerMapping::None, &tree(&parts)).unwrap();
    assert_eq!(
        (written.owner_skipped, written.warning_count),
        (0, 0),
        "{:#?}",
        written.warnings
    );
}

#[test]
fn as_another_user_a_stage_with_closed_folders_is_removed_all_the_same() {
    if again_as_nobody("restore_tree::as_another_user_a_stage_with_closed_folders_is_removed_all_the_same") {
        return;
    }
    let arena = Arena::new();
    let closed = |at: &str| changed(folder(at), |m| m.mode = 0);
    let steps = tree(&[plain(closed("a")), plain(closed("a/b")), file("a/b/f", "x")]);
    arena.write(&steps).unwrap();
    let path = arena.stage.path();
    arena.stage.discard().unwrap();
    assert!(!path.exists());
}

#[test]
fn as_another_user_something_is_carried_into_a_closed_folder() {
    if again_as_nobody("restore_tree::as_another_user_something_is_carried_into_a_closed_folder") {
        return;
    }
    let present = Present::new();
    present.file("d/excluded.tmp", "here");
    let closed = changed(folder("d"), |m| {
        m.mode = 0o500;
        m.mtime.seconds = 7;
    });
    present.restored(&tree(&[plain(closed), file("d/f", "f")]));
    let carried = present.carry(|_| {});
    assert_eq!(carried.warnings, []);
    assert_eq!(present.read("d/excluded.tmp").as_deref(), Some("here"));
    let stat = fs::metadata(present.stage.path().join("d")).unwrap();
    assert_eq!((stat.mode() & 0o7777, stat.mtime()), (0o500, 7));
}

// Places.

#[test]
fn a_folder_that_is_not_empty_is_not_written_into() {
    let arena = Arena::new();
    fs::write(arena.inside("there"), "x").unwrap();
    let result = TreeWriter::new(arena.stage.root().unwrap(), WriteOptions::default());
    assert!(matches!(
        result,
        Err(RestoreError::Destination {
            unfit: Unfit::NotEmpty,
            ..
        })
    ));
}

#[test]
fn a_destination_that_became_a_link_is_refused_before_anything_moves() {
    let dir = tempfile::tempdir().unwrap();
    let items: Vec<SwapItem> = ["a", "b"]
        .map(|name| {
            let destination = dir.path().join(name);
            fs::create_dir(&destination).unwrap();
            fs::write(destination.join("old"), name).unwrap();
            SwapItem {
                source: "data".parse().unwrap(),
                with: With::Stage(Stage::beside(&destination, &run()).unwrap()),
                destination,
            }
        })
        .into();
    fs::rename(dir.path().join("b"), dir.path().join("elsewhere")).unwrap();
    symlink("elsewhere", dir.path().join("b")).unwrap();
    let about = About {
        run: run(),
        environment: "dev".parse().unwrap(),
        host: "host".into(),
        instance: Instance::new("host"),
        actor: "nobody".into(),
        now: "2026-11-21T21:51:00Z".parse().unwrap(),
        backup: None,
        takes: None,
    };
    let error = swap(items, &about).unwrap_err();
    assert_eq!(error.code(), Code::DestinationInvalid);
    assert_eq!(fs::read_to_string(dir.path().join("a/old")).unwrap(), "a");
    assert_eq!(fs::read_to_string(dir.path().join("elsewhere/old")).unwrap(), "b");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3, "the stages are gone");
}

// Carrying over.

/// A destination with present files, and a stage beside it.
struct Present {
    dir: tempfile::TempDir,
    stage: Stage,
}

impl Present {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("data")).unwrap();
        let stage = Stage::beside(&dir.path().join("data"), &run()).unwrap();
        Self { dir, stage }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn file(&self, at: &str, content: &str) -> PathBuf {
        let path = self.data().join(at);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    fn restored(&self, steps: &[Step]) {
        let mut writer = TreeWriter::new(self.stage.root().unwrap(), WriteOptions::default()).unwrap();
        for step in steps {
            match step {
                Step::Begin(entry) => writer.begin(entry).unwrap(),
                Step::Write(data) => writer.write(data).unwrap(),
                Step::End(verdict) => writer.end(*verdict).unwrap(),
            }
        }
        writer.finish().unwrap();
    }

    /// Carries over; the source captures everything but `*.tmp` and what lies in a folder `cache`.
    fn carry(&self, change: impl FnOnce(&mut (BTreeSet<TreePath>, SideFiles))) -> Carried {
        let mut settings = (BTreeSet::new(), SideFiles::Carry);
        change(&mut settings);
        let (redacted, side_files) = settings;
        let selects = |path: &TreePath, _: bool| {
            let excluded = |name: &[u8]| name == b"cache" || name.ends_with(b".tmp") || name.ends_with(b"-wal");
            !path.components().any(excluded)
        };
        let before = trees::facts(&self.data());
        let request = Carry {
            present: &self.data(),
            stage: &self.stage,
            selects: &selects,
            redacted: &redacted,
            side_files,
        };
        let carried = carry(&request).unwrap();
        let changes = trees::compare(before, trees::facts(&self.data()));
        assert!(
            changes.is_empty(),
            "the present tree has changed: {}",
            changes.join("\n")
        );
        carried
    }

    fn read(&self, at: &str) -> Option<String> {
        fs::read_to_string(self.stage.path().join(at)).ok()
    }
}

#[test]
fn what_the_source_leaves_out_is_carried_and_what_it_captures_is_not() {
    let present = Present::new();
    present.file("a/note.tmp", "excluded");
    present.file("a/cache/x/y", "excluded with its folder");
    present.file("a/new", "captured by the next backup, not in this one");
    present.file("only-here/deep/keep.tmp", "its folders are made");
    present.file("only-here/other", "captured");
    present.restored(&tree(&[plain(folder("a")), file("a/f", "restored")]));
    let carried = present.carry(|_| {});
    assert_eq!(carried.warnings, []);
    assert_eq!(present.read("a/note.tmp").as_deref(), Some("excluded"));
    assert!(present.read("a/cache/x/y").is_some());
    assert!(present.read("only-here/deep/keep.tmp").is_some());
    assert_eq!(present.read("a/f").as_deref(), Some("restored"));
    assert_eq!((present.read("a/new"), present.read("only-here/other")), (None, None));
    let listed: Vec<String> = carried.listed.iter().map(TreePath::display).collect();
    let expected = [
        "a/cache",
        "a/cache/x",
        "a/cache/x/y",
        "a/note.tmp",
        "only-here",
        "only-here/deep",
        "only-here/deep/keep.tmp",
    ];
    assert_eq!((carried.entries, listed), (7, expected.map(str::to_owned).to_vec()));
}

#[test]
fn what_is_in_the_stage_is_not_overwritten() {
    let present = Present::new();
    present.file("x.tmp", "present");
    present.restored(&tree(&[file("x.tmp", "restored")]));
    assert_eq!(present.carry(|_| {}).entries, 0);
    assert_eq!(present.read("x.tmp").as_deref(), Some("restored"));
}

#[test]
fn everything_that_is_carried_keeps_every_property() {
    let present = Present::new();
    fs::create_dir(present.data().join("cache")).unwrap();
    trees::build(&present.data().join("cache"));
    // Second names become files of their own: that is said, and the only difference.
    fs::remove_dir_all(present.data().join("cache/links")).unwrap();
    fs::remove_file(present.data().join("cache/nodes/char-too")).unwrap();
    trees::set_time(&present.data().join("cache/nodes"), 1, 1);
    present.restored(&tree(&[file("f", "x")]));
    let carried = present.carry(|_| {});
    assert_eq!(carried.warnings, []);
    let lines = trees::differences(&present.data().join("cache"), &present.stage.path().join("cache"));
    assert!(lines.is_empty(), "{}", lines.join("\n"));
}

#[test]
fn folders_of_the_stage_keep_their_time_when_something_is_carried_into_them() {
    let present = Present::new();
    present.file("x.tmp", "x");
    present.file("a/b/x.tmp", "x");
    let old = |at: &str| plain(changed(folder(at), |m| m.mtime.seconds = -5));
    let mut steps = old("");
    steps.extend(old("a"));
    steps.extend(old("a/b"));
    present.restored(&steps);
    present.carry(|_| {});
    for at in ["", "a", "a/b"] {
        assert_eq!(fs::metadata(present.stage.path().join(at)).unwrap().mtime(), -5, "{at}");
    }
}

#[test]
fn a_present_file_stays_where_the_backup_holds_it_redacted() {
    let present = Present::new();
    present.file("conf/app.env", "KEY=whole");
    fs::set_permissions(present.data().join("conf/app.env"), fs::Permissions::from_mode(0o600)).unwrap();
    present.file("conf/app.env.restored", "from an earlier restore");
    present.restored(&tree(&[
        plain(folder("conf")),
        file("conf/app.env", "KEY=***"),
        file("conf/gone.env", "KEY=***"),
    ]));
    let carried = present.carry(|(redacted, _)| {
        redacted.insert(path("conf/app.env"));
        redacted.insert(path("conf/gone.env"));
    });
    assert_eq!(present.read("conf/app.env").as_deref(), Some("KEY=whole"));
    assert_eq!(present.read("conf/app.env.restored-2").as_deref(), Some("KEY=***"));
    assert_eq!(present.read("conf/gone.env").as_deref(), Some("KEY=***"));
    let mode = fs::metadata(present.stage.path().join("conf/app.env")).unwrap().mode();
    assert_eq!(mode & 0o7777, 0o600);
    assert_eq!(
        carried.beside,
        [(path("conf/app.env"), path("conf/app.env.restored-2"))]
    );
    assert_eq!(carried.warnings.len(), 1);
    assert_eq!(carried.warnings[0].code, Code::RestoredBeside);
}

#[test]
fn a_restored_database_does_not_meet_the_log_of_the_one_it_replaces() {
    for (side_files, carried) in [(SideFiles::LeaveBehind, false), (SideFiles::Carry, true)] {
        let present = Present::new();
        present.file("in-stage.db-wal", "old");
        present.file("captured.db-wal", "old");
        present.file("cache/in-stage.tmp-wal", "old");
        present.file("cache/alone-wal", "no database beside it");
        let steps = tree(&[
            plain(folder("cache")),
            file("cache/in-stage.tmp", "db"),
            file("in-stage.db", "db"),
        ]);
        present.restored(&steps);
        present.carry(|(_, side)| *side = side_files);
        assert!(present.read("cache/alone-wal").is_some());
        for name in ["in-stage.db-wal", "captured.db-wal", "cache/in-stage.tmp-wal"] {
            assert_eq!(present.read(name).is_some(), carried, "{name}");
        }
    }
}

#[test]
fn among_files_too_a_log_goes_only_with_its_own_database() {
    let magic = "SQLite format 3\0";
    let present = Present::new();
    present.file("restored.db", magic);
    present.file("restored.db-wal", "of the present one");
    present.file("no-database", "text");
    present.file("no-database-wal", "a file like others");
    present.file("cache/carried.db", magic);
    present.file("cache/carried.db-wal", "of the carried one");
    present.restored(&tree(&[
        plain(folder("cache")),
        file("cache/carried.db-shm", "of another moment"),
        file("no-database", "text"),
        file("restored.db", magic),
    ]));
    let carried = present.carry(|_| {});
    assert_eq!(present.read("restored.db-wal"), None);
    assert!(present.read("no-database-wal").is_some());
    assert!(present.read("cache/carried.db").is_some());
    assert!(present.read("cache/carried.db-wal").is_some());
    assert_eq!(present.read("cache/carried.db-shm"), None);
    assert!(present.read("cache/carried.db-shm.restored").is_some());
    assert_eq!(carried.warnings.len(), 1, "{:#?}", carried.warnings);
    assert_eq!(carried.warnings[0].code, Code::RestoredBeside);
}

#[test]
fn what_this_program_left_behind_is_not_carried() {
    let present = Present::new();
    present.file(".strongroom-replaced-20261121T215100Z-0242ac120002/big", "old");
    present.file("cache/.strongroom-stage-0242ac120002/x", "old");
    present.file("cache/y", "y");
    present.restored(&tree(&[]));
    assert_eq!(present.carry(|_| {}).entries, 2);
}

#[test]
fn what_has_no_place_in_the_restored_tree_is_told_and_no_link_is_followed() {
    let present = Present::new();
    let outside = present.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    present.file("was-a-folder/x.tmp", "x");
    present.file("a-link-now/x.tmp", "x");
    present.file("cache/y", "y");
    present.restored(&tree(&[
        plain(link("a-link-now", outside.to_str().unwrap())),
        file("cache", "a file now"),
        file("was-a-folder", "a file now"),
    ]));
    let carried = present.carry(|_| {});
    assert_eq!(
        (carried.entries, carried.warning_count),
        (0, 3),
        "{:#?}",
        carried.warnings
    );
    for warning in &carried.warnings {
        assert_eq!(warning.code, Code::RestoreIncomplete);
        assert!(warning.state.as_ref().unwrap().contains("kept aside"));
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn a_socket_is_not_carried_and_that_is_told() {
    let present = Present::new();
    let path = present.file("cache/x", "x").with_file_name("s");
    let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    present.restored(&tree(&[]));
    let carried = present.carry(|_| {});
    assert_eq!((carried.entries, carried.warning_count), (2, 1));
}
