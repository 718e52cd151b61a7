//! A tree with every kind of entry and property, captured and written again, is the same tree.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicBool;

use strongroom::event::Events;
use strongroom::fs::owners::Owners;
use strongroom::restore::stage::Stage;
use strongroom::restore::writer::{OwnerMapping, TreeWriter, WriteOptions, Written};
use strongroom::source::files::Files;
use strongroom::source::{CaptureContext, Captured, Guards, Source, SourceKind};

use crate::trees;

/// Captures `from` straight into a stage and keeps it as `to`.
fn copy(from: &Path, to: &Path, owner: OwnerMapping) -> (Captured, Written) {
    let source = Source {
        name: "tree".parse().unwrap(),
        kind: SourceKind::Files(Files {
            path: from.to_str().unwrap().to_owned(),
            exclude: vec![],
            one_file_system: false,
        }),
        guards: Guards::default(),
    };
    let owners = Owners::of_host().unwrap();
    let stage = Stage::inside(
        to.parent().unwrap(),
        &to.file_name().unwrap().to_str().unwrap().parse().unwrap(),
    )
    .unwrap();
    let options = WriteOptions {
        owner,
        owners: owners.clone(),
        events: Events::none(),
    };
    let mut writer = TreeWriter::new(stage.root().unwrap(), options).unwrap();
    let spool = tempfile::tempdir().unwrap();
    let context = CaptureContext {
        events: &Events::none(),
        spool: spool.path().to_owned(),
        owners: &owners,
        stop: &AtomicBool::new(false),
    };
    let captured = source.capture(Path::new("/"), &mut writer, &context).unwrap();
    let written = writer.finish().unwrap();
    assert_eq!(stage.keep(), to);
    (captured, written)
}

fn assert_same(one: &Path, other: &Path) {
    let lines = trees::differences(one, other);
    assert!(lines.is_empty(), "{} differences:\n{}", lines.len(), lines.join("\n"));
}

#[test]
fn a_tree_with_every_property_is_the_same_after_it_was_captured_and_written() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    fs::create_dir(&from).unwrap();
    trees::build(&from);
    let (captured, written) = copy(&from, &to, OwnerMapping::Names);
    assert_eq!(captured.warnings, []);
    assert_eq!(written.warnings, []);
    assert_eq!(captured.entries, written.entries);
    assert_eq!(captured.entries, trees::facts(&from).len() as u64);
    assert_eq!(captured.bytes, written.bytes);
    assert_same(&from, &to);
}

#[test]
fn rsync_finds_no_difference_either() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    fs::create_dir(&from).unwrap();
    trees::build(&from);
    // A terabyte of nothing is fine, and `--checksum` would read all of it.
    fs::remove_file(from.join("holes/huge")).unwrap();
    copy(&from, &to, OwnerMapping::Numbers);
    let mut rsync = Command::new("rsync");
    rsync.args(["-aHAXn", "--checksum", "--delete", "--itemize-changes"]);
    rsync.arg(from.join("")).arg(to.join(""));
    let output = trees::tool("rsync", &mut rsync);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
}

#[test]
fn a_tree_with_paths_longer_than_the_kernel_takes_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    fs::create_dir(&from).unwrap();
    trees::deep(&from.join("deep"), 300, &[b'n'; 200]);
    let (captured, written) = copy(&from, &to, OwnerMapping::Names);
    assert_eq!((captured.warning_count, written.warning_count), (0, 0));
    assert_same(&from, &to);
}

#[test]
fn what_the_folder_around_hands_down_does_not_reach_the_tree() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("from");
    fs::create_dir_all(from.join("folder")).unwrap();
    fs::write(from.join("folder/file"), "f").unwrap();
    symlink("x", from.join("link")).unwrap();
    let around = dir.path().join("around");
    fs::create_dir(&around).unwrap();
    fs::set_permissions(&around, fs::Permissions::from_mode(0o2775)).unwrap();
    let mut setfacl = Command::new("setfacl");
    setfacl.args(["-d", "-m", "u:54321:rwx,g:54322:rwx"]).arg(&around);
    assert!(trees::tool("acl", &mut setfacl).status.success());
    copy(&from, &around.join("to"), OwnerMapping::Names);
    assert_same(&from, &around.join("to"));
}

#[test]
fn a_second_copy_of_a_copy_is_still_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::create_dir(path("a")).unwrap();
    trees::build(&path("a"));
    copy(&path("a"), &path("b"), OwnerMapping::Names);
    copy(&path("b"), &path("c"), OwnerMapping::Names);
    assert_same(&path("a"), &path("c"));
}
