//! A part of a backup, restored into a folder: by paths and globs, from an archive and from chunks.

use std::fs;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::projects::{Project, Ran, STORE};

const SOURCES: &str = r#"
[[step.source]]
name = "config"
type = "files"
path = "config"
[[step.source]]
name = "data"
type = "files"
path = "data"
"#;

const DEDUPLICATE: &str = "[[step]]\nid = \"dedup\"\ntype = \"deduplicate\"\n";

/// Bytes beyond what is one chunk.
fn large() -> Vec<u8> {
    (0..3_000_000_u32).flat_map(u32::to_le_bytes).take(3 << 20).collect()
}

/// A backup of a tree with links, stored as one archive or in chunks.
fn project(form: &str) -> (Project, String) {
    let project = Project::new("");
    let text = format!(
        "schema-version = 1\nname = \"backup\"\n[[step]]\nid = \"capture\"\ntype = \"snapshot\"\n{SOURCES}\n{form}\n{STORE}"
    );
    project.write("pipelines/backup.toml", &text);
    for name in ["app.toml", "other.toml", "deep/app.toml", "[odd]", "notes.txt"] {
        project.write(&format!("config/{name}"), name);
    }
    for folder in ["a", "b/c", "d"] {
        fs::create_dir_all(project.path(&format!("data/{folder}"))).unwrap();
    }
    fs::write(project.path("data/a/first"), large()).unwrap();
    fs::set_permissions(project.path("data/a/first"), fs::Permissions::from_mode(0o640)).unwrap();
    for name in ["b/c/second", "b/third", "d/fourth"] {
        fs::hard_link(project.path("data/a/first"), project.path(&format!("data/{name}"))).unwrap();
    }
    let holes = fs::File::create(project.path("data/a/holes")).unwrap();
    holes.write_at(b"end", 5 << 20).unwrap();
    fs::hard_link(project.path("data/a/holes"), project.path("data/d/holes")).unwrap();
    let fifo = Command::new("mkfifo")
        .arg(project.path("data/a/pipe"))
        .status()
        .unwrap();
    assert!(fifo.success());
    fs::hard_link(project.path("data/a/pipe"), project.path("data/d/pipe")).unwrap();
    let id = project.backup(&[]).ended(0).id();
    (project, id)
}

/// Restores these paths into a new folder; gives what is there, sorted.
fn restored(project: &Project, paths: &[&str]) -> (PathBuf, Vec<String>) {
    let out = project.path("out");
    drop(fs::remove_dir_all(&out));
    project.restore("latest", &[paths, &["--to", "out"]].concat()).ended(0);
    let mut names = Vec::new();
    list(&out, &out, &mut names);
    names.sort();
    (out, names)
}

fn list(folder: &Path, root: &Path, names: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let metadata = fs::symlink_metadata(&path).unwrap();
        let name = path.strip_prefix(root).unwrap().display().to_string();
        if metadata.is_dir() {
            list(&path, root, names);
            names.push(name + "/");
        } else {
            names.push(name);
        }
    }
}

fn in_both_forms(test: impl Fn(&Project, &str)) {
    for form in ["", DEDUPLICATE] {
        let (project, id) = project(form);
        test(&project, &id);
    }
}

#[test]
fn paths_and_globs_bring_what_they_name_and_the_folders_on_the_way() {
    in_both_forms(|project, _| {
        for (paths, expected) in [
            (&["config/app.toml"][..], &["config/", "config/app.toml"][..]),
            (&["config/deep"], &["config/", "config/deep/", "config/deep/app.toml"]),
            (&["config/*.toml"], &["config/", "config/app.toml", "config/other.toml"]),
            (&["config/[odd]"], &["config/", "config/[odd]"]),
            (
                &["*/d/pipe", "config/notes.txt"],
                &["config/", "config/notes.txt", "data/", "data/d/", "data/d/pipe"],
            ),
            (
                &["config", "--exclude", "*.toml"],
                &["config/", "config/[odd]", "config/deep/", "config/notes.txt"],
            ),
            (
                &["--include", "app.toml"],
                &["config/", "config/app.toml", "config/deep/", "config/deep/app.toml"],
            ),
        ] {
            assert_eq!(restored(project, paths).1, expected, "{paths:?}");
        }
    });
}

#[test]
fn a_file_that_is_wanted_under_another_name_than_its_first_comes_whole() {
    in_both_forms(|project, _| {
        let (out, names) = restored(project, &["data/b/third"]);
        assert_eq!(names, ["data/", "data/b/", "data/b/third"]);
        assert_eq!(fs::read(out.join("data/b/third")).unwrap(), large());
        let (there, here) = (project.path("data/a/first"), out.join("data/b/third"));
        let (there, here) = (fs::metadata(there).unwrap(), fs::metadata(here).unwrap());
        assert_eq!(
            (here.mode(), here.mtime(), here.mtime_nsec()),
            (there.mode(), there.mtime(), there.mtime_nsec())
        );
        assert_eq!(here.nlink(), 1);
        // Several such names stay one file.
        let (out, _) = restored(project, &["data/b", "data/d"]);
        let inodes: Vec<u64> = ["b/c/second", "b/third", "d/fourth"]
            .map(|name| fs::metadata(out.join("data").join(name)).unwrap().ino())
            .to_vec();
        assert_eq!(inodes[0], inodes[1]);
        assert_eq!(inodes[0], inodes[2]);
        assert_eq!(fs::read(out.join("data/d/fourth")).unwrap(), large());
        // Holes stay holes, and what is no file comes too.
        let holes = fs::metadata(out.join("data/d/holes")).unwrap();
        assert_eq!((holes.len(), holes.blocks() < 64), ((5 << 20) + 3, true));
        assert!(fs::symlink_metadata(out.join("data/d/pipe")).unwrap().mode() & 0o170_000 == 0o010_000);
        // With the first name it is the link that it was.
        let (out, _) = restored(project, &["data/a/first", "data/d/fourth"]);
        let inode = |name: &str| fs::metadata(out.join("data").join(name)).unwrap().ino();
        assert_eq!(inode("a/first"), inode("d/fourth"));
    });
}

#[test]
fn what_is_not_in_the_backup_is_told_with_what_comes_close_before_anything_is_written() {
    in_both_forms(|project, id| {
        let refused = |paths: &[&str]| -> Vec<Value> {
            let ran: Ran = project.restore(id, &[paths, &["--to", "nothing"]].concat()).ended(10);
            assert!(!project.path("nothing").exists());
            ran.json["diagnostics"].as_array().unwrap().clone()
        };
        let told = refused(&["config/ap.toml", "data/a/first", "confg/*.toml", "app.toml", "zzz"]);
        let said: Vec<(&str, &str)> = told
            .iter()
            .map(|problem| (problem["code"].as_str().unwrap(), problem["help"].as_str().unwrap()))
            .collect();
        assert_eq!(
            said,
            [
                ("path-unknown", "did you mean `config/app.toml`?"),
                ("path-unknown", "did you mean `config`?"),
                ("path-unknown", "did you mean `config/app.toml`?"),
                (
                    "path-unknown",
                    "paths begin with the name of a source: `config`, `data`"
                ),
            ]
        );
        assert!(
            told[0]["what"]
                .as_str()
                .unwrap()
                .contains(&format!("nothing in backup `{id}` is called `config/ap.toml`"))
        );
        assert_eq!(told[0]["state"], "nothing present was touched");
        refused(&["config", "--exclude", "config"]);
        refused(&["--include", "*.yaml"]);
    });
}

#[test]
fn a_part_goes_into_a_folder_and_nowhere_else() {
    let (project, _) = project("");
    fs::write(project.path("config/app.toml"), "present").unwrap();
    let ran = project.restore("latest", &["config/app.toml"]).ended(2);
    assert!(ran.problem().1.contains("a part of a backup cannot replace"));
    let ran = project.restore("latest", &["../etc", "--to", "out"]).ended(2);
    assert!(ran.problem().1.contains("names nothing in a backup"));
    let ran = project
        .run(&["plan", "backup", "latest", "config", "--env", "dev"])
        .ended(2);
    drop(ran);
    assert_eq!(fs::read_to_string(project.path("config/app.toml")).unwrap(), "present");
    assert!(!project.path("out").exists());
}

#[test]
fn a_plan_of_a_part_says_how_much_it_is() {
    in_both_forms(|project, _| {
        let plan = |more: &[&str]| {
            project.run(&[&["plan", "restore", "latest"], more, &["--env", "dev", "--to", "x"]].concat())
        };
        let planned = plan(&["config/*.toml", "data/a"]).ended(0);
        assert_eq!(planned.json["part"]["entries"], 6);
        assert_eq!(planned.json["part"]["sources"], serde_json::json!(["config", "data"]));
        assert_eq!(plan(&["confg"]).ended(10).problem().0, "path-unknown");
        assert!(!project.path("x").exists());
    });
}
