//! What a restore replaces and keeps, seen from the command line: volumes, files in use, rollback points, judgements, plans.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::namespace::Namespace;
use crate::transcript::{Scratch, program};

/// Ends the process it holds.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A project with a tree at `live/tree` that a `files` source captures without `.env`, and a log at `live/log`.
struct Project {
    scratch: Scratch,
}

const PIPELINE: &str = r#"
schema-version = 1
name = "backup"
[[step]]
id = "capture"
type = "snapshot"
source = [
    { name = "log", type = "append-log", path = "{{path.root}}/log" },
    { name = "tree", type = "files", path = "{{path.root}}/tree", exclude = [".env"] },
]
[[step]]
id = "pack"
type = "compress"
[[step]]
id = "digest"
type = "checksum"
[[step]]
id = "store"
type = "upload"
targets = ["local"]
"#;

impl Project {
    fn new(more: &str) -> Self {
        let scratch = Scratch::new();
        let root = scratch.project().join("live");
        fs::create_dir_all(root.join("tree")).unwrap();
        fs::create_dir_all(root.join("log")).unwrap();
        let environment =
            format!("schema-version = 1\n{more}\n[path]\nroot = {root:?}\n[target.local]\nurl = \"file:backups\"\n");
        scratch.write(&BTreeMap::from([
            ("pipelines/backup.toml".to_owned(), PIPELINE.to_owned()),
            ("pipelines/environments/dev.toml".to_owned(), environment),
        ]));
        Self { scratch }
    }

    fn overlay(&self, text: &str) {
        let path = self.scratch.project().join("pipelines/environments/dev.toml");
        let before = fs::read_to_string(&path).unwrap();
        fs::write(path, before + text).unwrap();
    }

    fn at(&self, path: &str) -> PathBuf {
        self.scratch.project().join("live").join(path)
    }

    fn write(&self, path: &str, text: &str) {
        fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        fs::write(self.at(path), text).unwrap();
    }

    fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.at(path)).ok()
    }

    fn output(&self, line: &str) -> Output {
        let mut command = Command::new(program());
        command
            .args(line.split(' '))
            .args(["--env", "dev"])
            .current_dir(self.scratch.project())
            .stdin(Stdio::null());
        command.output().unwrap()
    }

    /// Runs a command that must end so; gives what it says.
    fn run(&self, exit: i32, line: &str) -> String {
        let output = self.output(line);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(exit), "{line}\n{said}\n{told}");
        said + &told
    }

    fn json(&self, exit: i32, line: &str) -> Value {
        let output = self.output(&format!("{line} --json"));
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(exit), "{line}\n{said}");
        serde_json::from_str(&said).unwrap()
    }

    fn points(&self) -> Vec<String> {
        let listed = self.json(0, "rollback --list");
        let points = listed["points"].as_array().unwrap();
        points
            .iter()
            .map(|point| point["id"].as_str().unwrap().to_owned())
            .collect()
    }

    /// The index entry of the one point, as if its swap had been cut short before the commit.
    fn cut_short(&self) -> PathBuf {
        let entries = fs::read_dir(self.at("")).unwrap();
        let point = entries
            .map(|entry| entry.unwrap().path())
            .find(|path| name(path).contains(".strongroom-point-"));
        let point = point.unwrap();
        let swap = point.with_file_name(name(&point).replace("-point-", "-swap-"));
        fs::rename(point, &swap).unwrap();
        swap
    }

    /// The names in the folder above the destinations.
    fn beside(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.at(""))
            .unwrap()
            .map(|e| name(&e.unwrap().path()))
            .collect();
        names.sort();
        names
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

/// A project whose tree and log were changed since its one backup.
fn changed() -> Project {
    let project = Project::new("");
    project.write("tree/file", "old");
    project.write("tree/gone", "old");
    project.write("tree/.env", "secret");
    project.write("log/1", "one\ntwo\n");
    project.run(0, "backup -q");
    project.write("tree/file", "newer");
    fs::remove_file(project.at("tree/gone")).unwrap();
    project.write("tree/came", "new");
    project.write("log/1", "one\ntwo\nthree\nfour\n");
    project
}

#[test]
fn a_plan_of_a_restore_counts_what_would_change_and_changes_nothing() {
    let project = changed();
    let plan = project.json(0, "plan restore latest");
    let by_name = |name: &str| {
        let list = plan["differences"].as_array().unwrap();
        list.iter().find(|found| found["source"] == name).unwrap().clone()
    };
    let tree = by_name("tree");
    for (what, first) in [
        ("added", "gone"),
        ("changed", "file"),
        ("deleted", "came"),
        ("carried", ".env"),
    ] {
        assert_eq!(tree[what]["count"], 1, "{what}: {tree:#}");
        assert_eq!(tree[what]["first"][0], first, "{tree:#}");
    }
    assert_eq!(by_name("log")["rewound-records"], 2);
    assert_eq!(plan["made-in"], "dev");
    assert!(plan["kept-bytes"].as_u64().unwrap() > 0);
    assert!(plan["room"][0]["free-bytes"].as_u64().unwrap() > 0);
    let text = project.run(0, "plan restore latest");
    for part in [
        "2 records would be rewound: 4 present, 2 restored",
        "kept as rollback point",
        "room beside what is kept",
    ] {
        assert!(text.contains(part), "{part} is missing: {text}");
    }
    assert_eq!(project.beside(), ["log", "tree"]);
    project.write("log/1", "another\nbeginning\nof it\n");
    assert!(
        project
            .run(0, "plan restore latest")
            .contains("no beginning of the present one")
    );
}

#[test]
fn what_was_replaced_is_put_back_and_put_back_again() {
    let project = changed();
    project.run(0, "restore latest -q");
    let restored = |project: &Project| {
        assert_eq!(project.read("tree/file").as_deref(), Some("old"));
        assert_eq!(project.read("tree/gone").as_deref(), Some("old"));
        assert_eq!(project.read("tree/came"), None);
        assert_eq!(project.read("tree/.env").as_deref(), Some("secret"));
        assert_eq!(project.read("log/1").as_deref(), Some("one\ntwo\n"));
    };
    restored(&project);
    for _ in 0..2 {
        let first = project.points();
        assert_eq!(first.len(), 1);
        project.run(0, "rollback -q");
        assert_eq!(project.read("tree/file").as_deref(), Some("newer"));
        assert_eq!(project.read("tree/gone"), None);
        assert_eq!(project.read("tree/came").as_deref(), Some("new"));
        assert_eq!(project.read("log/1").as_deref(), Some("one\ntwo\nthree\nfour\n"));
        project.run(0, "rollback -q");
        restored(&project);
        assert_ne!(project.points(), first, "each is a point of its own");
    }
    project.run(0, "journal verify");
    let journal = project.run(0, "journal show --json");
    for event in ["swap_intended", "swapped", "rolled_back"] {
        assert!(journal.contains(event), "{event}");
    }
}

#[test]
fn a_destination_that_was_not_there_is_taken_away_again_by_a_rollback() {
    let project = changed();
    fs::remove_dir_all(project.at("log")).unwrap();
    project.run(0, "restore latest -q");
    assert!(project.at("log/1").exists());
    project.run(0, "rollback -q");
    assert!(!project.at("log").exists());
    assert_eq!(project.read("tree/file").as_deref(), Some("newer"));
    project.run(0, "rollback -q");
    assert!(project.at("log/1").exists());
}

#[test]
fn points_are_listed_named_and_removed() {
    let project = changed();
    project.run(0, "restore latest -q");
    project.write("tree/file", "third");
    project.run(0, "restore latest -q");
    let points = project.points();
    assert_eq!(points.len(), 2);
    assert!(project.run(2, "rollback --drop").contains(&points[0]));
    project.run(10, "rollback --drop 1999");
    project.run(2, "rollback 2");
    let dropped = project.json(0, &format!("rollback --drop {}", points[1]));
    assert!(dropped["freed-bytes"].as_u64().unwrap() > 0);
    assert_eq!(project.points(), points[..1]);
    project.run(0, &format!("rollback {}", points[0]));
    assert_eq!(project.read("tree/file").as_deref(), Some("newer"));
    project.run(0, "rollback --drop");
    assert!(project.points().is_empty());
    project.run(10, "rollback");
    let note = ".log.strongroom-lineage.json";
    assert_eq!(
        project.beside(),
        [note, "log", "tree"],
        "nothing is left but what the next backup must know of the log"
    );
}

#[test]
fn points_that_no_rule_keeps_go_and_the_newest_stays() {
    let project = changed();
    project.overlay("[pipeline.restore.step.guard]\nkeep = 1\nkeep-for = \"0s\"\n");
    for round in 0..3 {
        project.write("tree/file", &round.to_string());
        project.run(0, "restore latest -q");
        assert_eq!(project.points().len(), 1);
    }
    project.run(0, "rollback -q");
    assert_eq!(project.read("tree/file").as_deref(), Some("2"));
    let journal = project.run(0, "journal show --json");
    assert!(journal.contains("delete_intended") && journal.contains("\"point\""));
    project.overlay("[pipeline.restore.step.guard.unused]\n");
    project.run(78, "restore latest");
}

#[test]
fn a_rollback_in_a_protected_environment_needs_its_name() {
    let project = Project::new("protected = true");
    project.write("tree/file", "old");
    project.write("log/1", "one\n");
    project.run(0, "backup -q");
    project.write("tree/file", "new");
    project.run(0, "restore latest --confirm dev -q");
    for line in ["rollback", "rollback --confirm live", "rollback --drop"] {
        let told = project.run(5, line);
        assert!(
            told.contains("error[unconfirmed]") && told.contains("nothing present was touched"),
            "{told}"
        );
    }
    assert_eq!(project.read("tree/file").as_deref(), Some("old"));
    project.run(0, "rollback --confirm dev -q");
    assert_eq!(project.read("tree/file").as_deref(), Some("new"));
}

#[test]
fn files_in_use_are_not_replaced_and_who_uses_them_is_named() {
    let project = changed();
    let mut shell = Command::new("bash");
    shell
        .args(["-c", "exec 3>>log/1; echo ready; read -r end"])
        .current_dir(project.at(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut shell = Ending(shell.spawn().unwrap());
    let mut line = String::new();
    BufReader::new(shell.0.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let told = project.run(5, "restore latest");
    for part in [
        "error[files-in-use]",
        &format!("process {} (`bash`) has it open for writing", shell.0.id()),
        "live/log/1",
        "nothing present was touched",
        "--while-running",
    ] {
        assert!(told.contains(part), "{part} is missing: {told}");
    }
    assert!(
        !told.contains("sound: started"),
        "told before hours of unpacking: {told}"
    );
    assert_eq!(project.beside(), ["log", "tree"]);
    assert!(
        project
            .run(0, "plan restore latest")
            .contains("has it open for writing")
    );
    project.run(0, "restore latest --while-running -q");
    assert_eq!(project.read("log/1").as_deref(), Some("one\ntwo\n"));
    // The shell has the file of the rollback point open now.
    project.run(0, "rollback -q");
    project.run(5, "rollback -q");
    drop(shell);
    project.run(0, "rollback -q");
}

#[test]
fn what_does_not_hold_touches_nothing_and_leaves_nothing() {
    let project = changed();
    let cases = [
        ("min-entries = 1000", "`min-entries` is 1000"),
        ("max-age = \"0s\"", "`max-age` is 0ms"),
        ("expect = [{ name = \"tree\", min-entries = 50 }]", "50 are expected"),
        ("expect = [{ name = \"other\", min-entries = 1 }]", "no source `other`"),
        (
            "command = [\"test\", \"-e\", \"tree/absent\"]",
            "`test` ended with exit code 1",
        ),
    ];
    for (setting, part) in cases {
        let (key, value) = setting.split_once(" = ").unwrap();
        let line = format!("restore\u{0}latest\u{0}--set\u{0}step.sound.{key}={value}");
        let output = Command::new(program())
            .args(line.split('\u{0}'))
            .args(["-e", "dev"])
            .current_dir(project.scratch.project())
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(4), "{setting}: {told}");
        for part in ["error[assert-failed]", part, "nothing present was touched"] {
            assert!(told.contains(part), "{setting}: {part} is missing: {told}");
        }
        assert_eq!(project.read("tree/file").as_deref(), Some("newer"));
        assert_eq!(project.beside(), ["log", "tree"], "{setting}");
    }
    let content = project.run(
        0,
        "restore latest --set step.sound.command=[\"cat\",\"tree/file\",\"log/1\"]",
    );
    assert!(content.contains("`cat` is content"), "{content}");
}

#[test]
fn a_restore_that_is_terminated_while_it_judges_leaves_nothing() {
    let project = changed();
    let mut restore = Command::new(program());
    restore
        .args([
            "restore",
            "latest",
            "-e",
            "dev",
            "--set",
            "step.sound.command=[\"sleep\",\"600\"]",
        ])
        .current_dir(project.scratch.project())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut restore = Ending(restore.spawn().unwrap());
    let mut lines = BufReader::new(restore.0.stderr.take().unwrap())
        .lines()
        .map(Result::unwrap);
    assert!(lines.any(|line| line.contains("sound: started")));
    let pid = restore.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let told: Vec<String> = lines.collect();
    assert_eq!(restore.0.wait().unwrap().code(), Some(143), "{told:#?}");
    assert!(told.join("\n").contains("nothing present was touched"), "{told:#?}");
    assert_eq!(project.read("tree/file").as_deref(), Some("newer"));
    assert_eq!(project.beside(), ["log", "tree"]);
}

#[test]
fn a_rehearsal_leaves_nothing_whatever_comes_of_it() {
    let project = changed();
    let restore = fs::read_to_string(project.scratch.project().join("pipelines/restore.toml")).unwrap();
    let rehearsal = restore
        .replace("name = \"restore\"", "name = \"rehearsal\"")
        .replace("type = \"restore\"", "type = \"restore\"\nto = \"scratch\"")
        .replace(
            "type = \"rollback-point\"\nkeep = 2\nkeep-for = \"7d\"",
            "type = \"confirm\"\nby = \"operator\"",
        );
    let (rehearsal, _) = rehearsal.split_once("# All destinations or none").unwrap();
    project.scratch.write(&BTreeMap::from([(
        "pipelines/rehearsal.toml".to_owned(),
        rehearsal.to_owned(),
    )]));
    let said = project.run(0, "run rehearsal --arg backup=latest");
    assert!(said.contains("unpacked, judged and removed again"), "{said}");
    project.run(4, "run rehearsal --arg backup=latest --set step.sound.min-entries=1000");
    assert_eq!(project.read("tree/file").as_deref(), Some("newer"));
    assert_eq!(project.beside(), ["log", "tree"]);
    let spool = project.scratch.project().join(".strongroom/dev/spool");
    assert_eq!(fs::read_dir(spool).unwrap().count(), 0);
    // Into a folder it stays.
    project.run(0, "run rehearsal --arg backup=latest --to live/look");
    assert_eq!(project.read("look/tree/file").as_deref(), Some("old"));
}

#[test]
fn a_restore_into_a_folder_names_what_it_leaves_out() {
    let project = changed();
    let report = project.json(0, "restore latest --to look");
    assert_eq!(report["skipped"], serde_json::json!(["guard", "replace"]));
    assert_eq!(project.beside(), ["log", "tree"]);
}

#[test]
fn a_swap_that_was_cut_short_is_reported_by_who_reads_and_undone_by_who_acts() {
    let project = changed();
    project.run(0, "restore latest -q");
    let journal = project.cut_short();
    for line in ["list", "show latest", "verify latest", "plan backup"] {
        let told = project.run(3, line);
        assert!(
            told.contains("warning[swap-unfinished]") && told.contains("rollback --list"),
            "{line}: {told}"
        );
        assert!(journal.exists(), "{line} only reads");
    }
    let told = project.run(3, "backup");
    assert!(
        told.contains("warning[swap-recovered]") && told.contains("has been undone"),
        "{told}"
    );
    assert_eq!(project.read("tree/file").as_deref(), Some("newer"));
    assert_eq!(project.read("log/1").as_deref(), Some("one\ntwo\nthree\nfour\n"));
    assert_eq!(project.beside(), ["log", "tree"]);
    assert!(project.run(0, "journal show --json").contains("swap_recovered"));
    project.run(0, "list");
}

#[test]
fn a_swap_whose_paths_came_from_the_command_line_is_found_again() {
    let project = changed();
    let elsewhere = project.scratch.project().join("elsewhere");
    fs::create_dir_all(elsewhere.join("tree")).unwrap();
    fs::write(elsewhere.join("tree/file"), "present").unwrap();
    let set =
        "--set step.stage.destination=[{name=\"tree\",path=\"elsewhere/tree\"},{name=\"log\",path=\"elsewhere/log\"}]";
    project.run(0, &format!("restore latest -q {set}"));
    assert_eq!(fs::read_to_string(elsewhere.join("tree/file")).unwrap(), "old");
    project.run(0, "rollback -q");
    assert_eq!(fs::read_to_string(elsewhere.join("tree/file")).unwrap(), "present");
}

#[test]
fn a_journal_of_another_user_stops_what_acts_and_moves_nothing() {
    crate::trees::need_root();
    let project = changed();
    project.run(0, "restore latest -q");
    let journal = project.cut_short();
    std::os::unix::fs::chown(&journal, Some(54_321), None).unwrap();
    let told = project.run(1, "backup");
    assert!(
        told.contains("error[swap-unfinished]") && told.contains("belongs to user 54321"),
        "{told}"
    );
    assert_eq!(project.read("tree/file").as_deref(), Some("old"));
    // What another user keeps is that user's to put back.
    let point = journal.with_file_name(name(&journal).replace("-swap-", "-point-"));
    fs::rename(&journal, point).unwrap();
    project.run(0, "backup -q");
    assert!(project.points().is_empty());
}

#[test]
fn a_point_that_cannot_be_read_is_told_and_stops_nothing_else() {
    let project = changed();
    project.run(0, "restore latest -q");
    let journal = project.cut_short();
    let point = journal.with_file_name(name(&journal).replace("-swap-", "-point-"));
    fs::write(&journal, "{").unwrap();
    let told = project.run(1, "backup");
    assert!(
        told.contains("error[swap-unfinished]") && told.contains("not a swap journal"),
        "{told}"
    );
    fs::rename(&journal, &point).unwrap();
    project.run(0, "backup -q");
    let told = project.run(3, "rollback --list");
    assert!(
        told.contains("cannot be read") && told.contains(&name(&point)),
        "{told}"
    );
    project.run(0, "restore latest -q");
}

#[test]
fn a_point_that_lost_its_data_is_told_and_not_put_back() {
    let project = changed();
    project.run(0, "restore latest -q");
    let kept = project
        .beside()
        .into_iter()
        .find(|name| name.starts_with(".tree."))
        .unwrap();
    fs::rename(project.at(&kept), project.at("moved")).unwrap();
    let told = project.run(10, "rollback");
    assert!(told.contains("is not whole") && told.contains(&kept), "{told}");
    assert_eq!(project.read("tree/file").as_deref(), Some("old"));
    assert_eq!(project.json(0, "rollback --list")["points"][0]["whole"], false);
    fs::rename(project.at("moved"), project.at(&kept)).unwrap();
    project.run(0, "rollback -q");
}

#[test]
fn what_a_dead_run_unpacked_is_removed_by_the_next() {
    let project = changed();
    for left in [
        ".tree.strongroom-stage-0123456789ab/folder/file",
        ".strongroom-new-01920f6e-2b9c-7000-8000-0242ac120002.json",
    ] {
        project.write(left, "left behind");
    }
    for others in [
        ".other.strongroom-stage-0123456789ab/file",
        ".tree.strongroom-stage-notes/file",
    ] {
        project.write(others, "not ours");
    }
    project.run(0, "backup -q");
    assert_eq!(
        project.beside(),
        [
            ".other.strongroom-stage-0123456789ab",
            ".tree.strongroom-stage-notes",
            "log",
            "tree"
        ]
    );
}

#[test]
fn sources_that_cannot_be_restored_side_by_side_are_told_long_before() {
    let project = changed();
    let pipeline = project.scratch.project().join("pipelines/backup.toml");
    let text = fs::read_to_string(&pipeline).unwrap();
    let nested = text.replace(
        "    { name = \"tree\"",
        "    { name = \"part\", type = \"files\", path = \"{{path.root}}/tree/part\" },\n    { name = \"tree\"",
    );
    fs::write(&pipeline, nested).unwrap();
    project.write("tree/part/x", "x");
    for line in ["validate backup", "plan backup", "plan backup --offline", "backup"] {
        let told = project.run(3, line);
        assert!(told.contains("warning[roots-overlap]"), "{line}: {told}");
        assert!(
            told.contains("the root of source `tree` holds that of `part`"),
            "{line}: {told}"
        );
    }
    // Nothing is lost: elsewhere it restores.
    project.run(0, "restore latest --to look -q");
    project.run(5, "restore latest");
}

/// A volume at `tree`, and another in it at `tree/sub`.
#[test]
fn a_volume_with_a_volume_in_it_is_restored_and_rolled_back_name_by_name() {
    let project = Project::new("");
    project.write("log/1", "one\n");
    let namespace = Namespace::with_mounts(&[&project.at("tree"), &project.at("tree/sub")]);
    let tree = namespace.outside(&project.at("tree"));
    let write = |path: &str, text: &str| {
        fs::create_dir_all(tree.join(path).parent().unwrap()).unwrap();
        fs::write(tree.join(path), text).unwrap();
    };
    let read = |path: &str| fs::read_to_string(tree.join(path)).ok();
    let run = |exit: i32, line: &str| {
        let mut command = namespace.command(&project.scratch.project(), program());
        let output = command.args(line.split(' ')).args(["--env", "dev"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(exit), "{line}: {said}");
        said
    };
    fs::set_permissions(&tree, fs::Permissions::from_mode(0o2775)).unwrap();
    for path in ["file", "gone", "folder/a", "sub/file", "sub/deep/b"] {
        write(path, "old");
    }
    fs::hard_link(tree.join("sub/file"), tree.join("sub/link")).unwrap();
    run(0, "backup -q");
    for path in ["file", "folder/a", "sub/file", "sub/deep/b", "came", "sub/came"] {
        write(path, "new");
    }
    for path in [".env", "sub/.env"] {
        write(path, "secret");
    }
    fs::remove_file(tree.join("gone")).unwrap();
    fs::set_permissions(&tree, fs::Permissions::from_mode(0o700)).unwrap();
    let mode = || fs::metadata(&tree).unwrap().permissions().mode() & 0o7777;

    run(0, "restore latest -q");
    for path in ["file", "gone", "folder/a", "sub/file", "sub/link", "sub/deep/b"] {
        assert_eq!(read(path).as_deref(), Some("old"), "{path}");
    }
    for path in [".env", "sub/.env"] {
        assert_eq!(read(path).as_deref(), Some("secret"), "{path}");
    }
    assert_eq!((read("came"), read("sub/came"), mode()), (None, None, 0o2775));
    let mounts = run(0, "rollback --list");
    assert!(mounts.contains("1 rollback point"), "{mounts}");

    // What lies in the volume and is ours is in no backup.
    run(0, "backup -q");
    run(0, "restore latest -q --to look");
    let found = project.scratch.bash("find look -name '*strongroom*'").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");

    run(0, "rollback -q");
    for path in ["file", "folder/a", "sub/file", "sub/deep/b", "came", "sub/came"] {
        assert_eq!(read(path).as_deref(), Some("new"), "{path}");
    }
    assert_eq!((read("gone"), mode()), (None, 0o700));
    run(0, "rollback -q");
    assert_eq!((read("gone").as_deref(), mode()), (Some("old"), 0o2775));
    run(0, "rollback --drop");
    write("sub/.strongroom-stage-0123456789ab/file", "left behind by a dead run");
    run(0, "rollback --list -q");
    assert!(!tree.join("sub/.strongroom-stage-0123456789ab").exists());
    let names: Vec<String> = fs::read_dir(&tree)
        .unwrap()
        .map(|entry| name(&entry.unwrap().path()))
        .collect();
    assert!(!names.iter().any(|name| name.contains("strongroom")), "{names:?}");
}
