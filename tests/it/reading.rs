//! A backup is looked into without being restored: what is in it, one file of it, what differs, where something is, and some of it as an
//! archive; of any form of backup, sealed or not, and never wrong bytes.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use strongroom::archive::catalog::Listed;
use strongroom::archive::check;
use strongroom::archive::keys::Opening;
use strongroom::archive::reading::Reading;
use strongroom::archive::reading::extract::extract;
use strongroom::archive::reading::list::{Depth, list};
use strongroom::archive::reading::path::BackupPath;
use strongroom::archive::reading::sample::{self, Part};
use strongroom::archive::reading::{ReadingError, difference};
use strongroom::archive::repository;
use strongroom::crypto::age::Identity;
use strongroom::event::{Event, Events, Listener};
use strongroom::target::recording::{Calls, Operation, Recording};
use strongroom::target::{Access, Target, TargetSettings};

use crate::chunks::Random;
use crate::projects::Project;
use crate::transcript::program;
use crate::trees;

/// What a pipeline makes of what it captures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Plain,
    Chunked,
    SealedArchive,
    SealedChunks,
}

const FORMS: [Form; 4] = [Form::Plain, Form::Chunked, Form::SealedArchive, Form::SealedChunks];

/// A project that backs up `data/tree`.
struct Looked {
    project: Project,
    form: Form,
}

impl Looked {
    fn new(form: Form) -> Self {
        let project = Project::new("");
        let chunks = "[[step]]\nid = \"change\"\ntype = \"deduplicate\"\n";
        let seal = "[[step]]\nid = \"seal\"\ntype = \"encrypt\"\n";
        let (chunks, seal) = match form {
            Form::Plain => ("", ""),
            Form::Chunked => (chunks, ""),
            Form::SealedArchive => ("", seal),
            Form::SealedChunks => (chunks, seal),
        };
        let text = format!(
            "schema-version = 1\nname = \"backup\"\ndescription = \"x\"\n\
             [[step]]\nid = \"capture\"\ntype = \"snapshot\"\n\
             [[step.source]]\nname = \"tree\"\ntype = \"files\"\npath = \"data/tree\"\n\
             {chunks}[[step]]\nid = \"pack\"\ntype = \"compress\"\n{seal}\
             [[step]]\nid = \"digest\"\ntype = \"checksum\"\n\
             [[step]]\nid = \"store\"\ntype = \"upload\"\ntargets = [\"local\"]\n"
        );
        project.write("pipelines/backup.toml", &text);
        if !seal.is_empty() {
            let keys: Vec<Identity> = (0..2).map(|_| Identity::generate().unwrap()).collect();
            let names: Vec<String> = keys.iter().map(|key| key.recipient().to_string()).collect();
            project.environment("dev", &format!("[encryption]\nrecipients = {names:?}\n"));
            project.write("identity", keys[1].text().expose());
            let other = Identity::generate().unwrap();
            project.write("other", other.text().expose());
            for name in ["identity", "other"] {
                fs::set_permissions(project.path(name), fs::Permissions::from_mode(0o600)).unwrap();
            }
        }
        fs::create_dir_all(project.path("data/tree")).unwrap();
        Self { project, form }
    }

    fn is_sealed(&self) -> bool {
        matches!(self.form, Form::SealedArchive | Form::SealedChunks)
    }

    fn tree(&self) -> PathBuf {
        self.project.path("data/tree")
    }

    fn file(&self, name: &str, content: &[u8]) {
        let path = self.tree().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Makes a backup; gives its id.
    fn backup(&self) -> String {
        let ran = self.project.backup(&[]);
        assert!(ran.code == 0 || ran.code == 3, "{}\n{:#}", ran.stderr, ran.json);
        ran.id()
    }

    /// Runs a verb that reads, with the key where that is needed.
    fn raw(&self, words: &[impl AsRef<std::ffi::OsStr>]) -> Output {
        let mut command = Command::new(program());
        command.args(words).args(["--env", "dev", "--no-progress"]);
        let reads = words.first().is_some_and(|verb| verb.as_ref() != "list");
        if self.is_sealed() && reads && !words.iter().any(|word| word.as_ref() == "--identity") {
            command.args(["--identity", "identity"]);
        }
        command
            .current_dir(self.project.path(""))
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// The same, which must end with `code`; gives the JSON document.
    fn json(&self, words: &[&str], code: i32) -> Value {
        let output = self.raw(&[words, &["--json"]].concat());
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(code), "{words:?}: {text}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The standard output of a verb that ends well.
    fn out(&self, words: &[impl AsRef<std::ffi::OsStr>]) -> Vec<u8> {
        let output = self.raw(words);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{:?}: {}",
            self.form,
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    }

    /// Stored objects in a folder of the target.
    fn objects(&self, folder: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.project.path(&format!("backups/{folder}"))];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().map(Result::unwrap) {
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path());
                } else {
                    found.push(entry.path());
                }
            }
        }
        found.sort();
        found
    }
}

fn exact_path(item: &Value) -> Vec<u8> {
    match item["path-b64"].as_str() {
        Some(text) => BASE64.decode(text).unwrap(),
        None => item["path"].as_str().unwrap().as_bytes().to_vec(),
    }
}

fn paths(document: &Value, key: &str) -> BTreeSet<Vec<u8>> {
    let items = document[key].as_array().unwrap_or_else(|| panic!("{document:#}"));
    let found: BTreeSet<Vec<u8>> = items.iter().map(exact_path).collect();
    assert_eq!(found.len(), items.len(), "something stands twice");
    found
}

fn in_backup(path: &[u8]) -> Vec<u8> {
    if path.is_empty() {
        return b"tree".to_vec();
    }
    [b"tree/", path].concat()
}

/// Turns one byte of a file of the target into another one.
fn flip(path: &Path, at: u64) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

#[test]
fn a_tree_with_every_property_is_listed_read_and_exported_from_every_form_of_backup() {
    for form in FORMS {
        let looked = Looked::new(form);
        trees::build(&looked.tree());
        let before = trees::facts(&looked.tree());
        let id = looked.backup();

        let listed = looked.json(&["ls", &id, "--recursive"], 0);
        let expected: BTreeSet<Vec<u8>> = before.keys().map(|path| in_backup(path)).collect();
        assert_eq!(paths(&listed, "entries"), expected, "{form:?}");
        assert_eq!(listed["count"], expected.len());
        let names = looked.json(&["ls", "latest", "tree/names"], 0);
        let direct = |path: &&Vec<u8>| path.strip_prefix(b"names/").is_some_and(|rest| !rest.contains(&b'/'));
        let expected: BTreeSet<Vec<u8>> = before.keys().filter(direct).map(|path| in_backup(path)).collect();
        assert_eq!(paths(&names, "entries"), expected, "{form:?}");
        let absolute = looked.tree().join("names/a");
        let below = looked.json(&["ls", "latest", absolute.to_str().unwrap()], 0);
        assert_eq!(paths(&below, "entries"), BTreeSet::from([b"tree/names/a/z".to_vec()]));

        let files = [
            "content/large",
            "content/empty",
            "holes/middle",
            "holes/trailing",
            "links/one/two/file",
        ];
        for name in files {
            let given = looked.out(&["cat", "latest", &format!("tree/{name}")]);
            assert!(given == fs::read(looked.tree().join(name)).unwrap(), "{form:?}: {name}");
        }
        let told = looked.json(&["cat", "latest", "tree/content/large", "-o", "given"], 0);
        assert_eq!(told["bytes"], 3_500_003, "{told:#}");
        assert!(
            fs::read(looked.project.path("given")).unwrap() == fs::read(looked.tree().join("content/large")).unwrap()
        );
        let odd = trees::bytes(b"tree/names/\xff\xfe not UTF-8");
        let given = looked.out(&["cat".as_ref(), "latest".as_ref(), odd.as_os_str()]);
        assert_eq!(
            given,
            fs::read(looked.tree().join(trees::bytes(b"names/\xff\xfe not UTF-8"))).unwrap()
        );

        for (words, compressed) in [
            (&["export", "latest", "-o", "all.tar"][..], false),
            (&["export", &id, "-o", "all.tar.zst"], true),
        ] {
            looked.out(words);
            let to = looked.project.path(if compressed { "by-zstd" } else { "by-tar" });
            untar(&looked.project.path(words[3]), &to, compressed);
            assert_eq!(
                trees::differences(&looked.tree(), &to.join("tree")),
                Vec::<String>::new(),
                "{form:?}"
            );
        }
        assert_eq!(trees::facts(&looked.tree()), before, "reading changed the source");
    }
}

/// Unpacks by GNU tar as FORMAT.md says.
fn untar(archive: &Path, to: &Path, compressed: bool) {
    fs::create_dir(to).unwrap();
    let mut tar = Command::new("tar");
    tar.args(["--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner", "-xp"]);
    if compressed {
        tar.arg("--zstd");
    }
    tar.arg("-f").arg(archive).arg("-C").arg(to);
    let output = trees::tool("tar", &mut tar);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn archives_of_every_codec_are_looked_into() {
    for codec in ["gzip", "none"] {
        let looked = Looked::new(Form::Plain);
        for number in 0..5 {
            looked.file(&format!("f{number}"), &Random::new(number).bytes(3_000_000));
        }
        let set = format!("step.pack.codec=\"{codec}\"");
        looked.project.backup(&["--set", &set]).ended(0);
        assert_eq!(looked.objects("archives").len(), 1);
        for name in ["f3", "f0"] {
            let given = looked.out(&["cat", "latest", &format!("tree/{name}")]);
            assert!(given == fs::read(looked.tree().join(name)).unwrap(), "{codec}: {name}");
        }
        looked.out(&["export", "latest", "-o", "all.tar"]);
        let to = looked.project.path("out");
        untar(&looked.project.path("all.tar"), &to, false);
        assert_eq!(
            trees::differences(&looked.tree(), &to.join("tree")),
            Vec::<String>::new()
        );
        let archive = looked.objects("archives").remove(0);
        flip(&archive, fs::metadata(&archive).unwrap().len() / 2);
        assert_eq!(
            looked.out(&["cat", "latest", "tree/f0"]),
            fs::read(looked.tree().join("f0")).unwrap()
        );
        let output = looked.raw(&["cat", "latest", "tree/f2"]);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(4), 0), "{codec}");
        let ends: Vec<Option<i32>> = (0..2)
            .map(|_| looked.raw(&["verify", "latest", "--sample", "50%"]).status.code())
            .collect();
        assert_eq!(ends.last(), Some(&Some(4)), "{codec}: {ends:?}");
    }
}

#[test]
fn a_picked_hard_link_whose_first_name_is_not_picked_becomes_the_file() {
    for form in [Form::Plain, Form::SealedChunks] {
        let looked = Looked::new(form);
        looked.file("a/first", b"the one content");
        looked.file("c/other", b"x");
        fs::create_dir(looked.tree().join("b")).unwrap();
        for name in ["b/second", "b/third"] {
            fs::hard_link(looked.tree().join("a/first"), looked.tree().join(name)).unwrap();
        }
        looked.backup();
        let archive = looked.out(&["export", "latest", "tree/b", "tree/c/other", "--output", "-"]);
        let file = looked.project.path("some.tar");
        fs::write(&file, archive).unwrap();
        let to = looked.project.path("out");
        untar(&file, &to, false);
        let found: Vec<Vec<u8>> = trees::facts(&to).into_keys().collect();
        let expected = [
            "",
            "tree",
            "tree/b",
            "tree/b/second",
            "tree/b/third",
            "tree/c",
            "tree/c/other",
        ];
        assert_eq!(found, expected.map(|path| path.as_bytes().to_vec()), "{form:?}");
        assert_eq!(fs::read(to.join("tree/b/third")).unwrap(), b"the one content");
        let facts = trees::facts(&to);
        assert_eq!(
            facts[b"tree/b/third".as_slice()].first_name,
            Some(b"tree/b/second".to_vec())
        );
    }
}

#[test]
fn a_difference_is_exactly_what_was_changed() {
    for form in FORMS {
        let looked = Looked::new(form);
        for number in 0..300 {
            looked.file(&format!("many/f{number:03}"), format!("content {number}").as_bytes());
        }
        looked.file("gone", b"x");
        looked.file("becomes-a-folder", b"x");
        looked.file("touched", b"x");
        looked.file("mode", b"x");
        looked.file("large", &Random::new(7).bytes(3 << 20));
        std::os::unix::fs::symlink("here", looked.tree().join("link")).unwrap();
        let one = looked.backup();
        let tree = looked.tree();
        fs::remove_file(tree.join("gone")).unwrap();
        fs::remove_file(tree.join("becomes-a-folder")).unwrap();
        looked.file("becomes-a-folder/inner", b"new");
        looked.file("many/f007", b"another content");
        looked.file("new\u{1b}", b"new");
        fs::set_permissions(tree.join("mode"), fs::Permissions::from_mode(0o600)).unwrap();
        trees::set_time(&tree.join("touched"), 1_000_000, 5);
        let large = fs::OpenOptions::new().write(true).open(tree.join("large")).unwrap();
        large.write_all_at(b"!", 1_500_000).unwrap();
        fs::remove_file(tree.join("link")).unwrap();
        std::os::unix::fs::symlink("there", tree.join("link")).unwrap();
        looked.backup();

        let now: BTreeSet<Vec<u8>> = trees::facts(&tree).keys().map(|path| in_backup(path)).collect();
        assert_eq!(
            paths(&looked.json(&["ls", "latest", "-R"], 0), "entries"),
            now,
            "{form:?}"
        );
        assert_eq!(looked.out(&["cat", "latest", "tree/many/f007"]), b"another content");
        assert_eq!(looked.out(&["cat", &one, "tree/many/f007"]), b"content 7");
        assert!(looked.out(&["cat", "latest", "tree/large"]) == fs::read(tree.join("large")).unwrap());
        looked.json(&["cat", "latest", "tree/gone"], 10);
        let told = looked.json(&["diff", &one, "latest"], 0);
        let changes: Vec<(String, String, String)> = told["differences"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| {
                let text = |key: &str| item[key].as_str().unwrap().to_owned();
                let what: Vec<&str> = item["what"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .collect();
                // Whether the clock went on between two writes is not the point.
                let what: Vec<&str> = what
                    .into_iter()
                    .filter(|what| *what != "time" || text("path") == "tree/touched")
                    .collect();
                (text("change"), text("path"), what.join(" "))
            })
            .collect();
        let expected = [
            ("changed", "tree/becomes-a-folder", "kind mode"),
            ("added", "tree/becomes-a-folder/inner", ""),
            ("removed", "tree/gone", ""),
            ("changed", "tree/large", "content"),
            ("changed", "tree/link", "content"),
            ("changed", "tree/many/f007", "content"),
            ("changed", "tree/mode", "mode"),
            ("added", "tree/new\u{1b}", ""),
            ("changed", "tree/touched", "time"),
        ];
        let expected = expected.map(|(change, path, what)| (change.to_owned(), path.to_owned(), what.to_owned()));
        assert_eq!(changes, expected, "{form:?}");
        assert_eq!([&told["added"], &told["removed"], &told["changed"]], [2, 1, 6]);

        let text = String::from_utf8(looked.out(&["diff", &one, "latest"])).unwrap();
        assert!(text.contains("+ tree/new\\u{1b}\n"), "{text}");
        assert!(text.ends_with("2 added, 1 removed, 6 changed\n"), "{text}");
        let scoped = looked.json(&["diff", &one, "latest", "tree/many"], 0);
        assert_eq!(
            paths(&scoped, "differences"),
            BTreeSet::from([b"tree/many/f007".to_vec()])
        );
        let back = looked.json(&["diff", "latest", &one], 0);
        assert_eq!([&back["added"], &back["removed"], &back["changed"]], [1, 2, 6]);
        let none = String::from_utf8(looked.out(&["diff", "latest", "latest"])).unwrap();
        assert_eq!(none, "no difference\n");
    }
}

#[test]
fn every_version_of_a_name_is_found_with_the_backups_that_have_it() {
    for form in [Form::Plain, Form::SealedChunks] {
        let looked = Looked::new(form);
        looked.file("config/app.toml", b"one");
        looked.file("config/other", b"x");
        let first = looked.backup();
        looked.file("config/other", b"xy");
        let second = looked.backup();
        looked.file("config/app.toml", b"two two");
        looked.file("deep/in/app.toml", b"deep");
        let third = looked.backup();
        let found = looked.json(&["find", "app.toml"], 0);
        let versions: Vec<(&str, u64, BTreeSet<&str>)> = found["found"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| {
                let backups = one["backups"].as_array().unwrap().iter().map(|id| id.as_str().unwrap());
                (
                    one["path"].as_str().unwrap(),
                    one["size"].as_u64().unwrap(),
                    backups.collect(),
                )
            })
            .collect();
        assert_eq!(
            versions,
            [
                ("tree/config/app.toml", 3, BTreeSet::from([first.as_str(), &second])),
                ("tree/config/app.toml", 7, BTreeSet::from([third.as_str()])),
                ("tree/deep/in/app.toml", 4, BTreeSet::from([third.as_str()])),
            ],
            "{form:?}"
        );
        assert_eq!(
            looked.json(&["find", "tree/d*/**/app.toml"], 0)["found"]
                .as_array()
                .unwrap()
                .len(),
            1
        );
        let none = looked.json(&["find", "nowhere.*"], 10);
        assert_eq!(none["diagnostics"][0]["code"], "path-unknown");
    }
}

#[test]
fn what_is_not_there_has_no_content_or_no_key_is_told_by_its_exit_code() {
    let looked = Looked::new(Form::SealedChunks);
    looked.file("folder/file", b"x");
    looked.backup();
    for (words, code, exit) in [
        (&["cat", "latest", "tree/folder/nothing"][..], "path-unknown", 10),
        (&["ls", "latest", "nothing"], "path-unknown", 10),
        (&["export", "latest", "tree/nothing", "-o", "x.tar"], "path-unknown", 10),
        (&["diff", "latest", "latest", "tree/nothing"], "path-unknown", 10),
        (&["cat", "2019", "tree/folder/file"], "backup-unknown", 10),
        (&["cat", "latest", "tree/folder"], "not-a-file", 2),
        (&["cat", "latest", "."], "not-a-file", 2),
    ] {
        let output = looked.raw(&[words, &["--json"]].concat());
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(exit), "{words:?}: {text}");
        assert!(text.contains(&format!("\"code\":\"{code}\"")), "{words:?}: {text}");
    }
    assert!(!looked.project.path("x.tar").exists());
    for words in [
        &["ls", "latest"][..],
        &["cat", "latest", "tree/folder/file"],
        &["diff", "latest", "latest"],
        &["find", "file"],
        &["export", "latest", "-o", "x.tar"],
        &["verify", "latest", "--sample", "50%"],
    ] {
        let other = looked.json(&[words, &["--identity", "other"]].concat(), 12);
        assert_eq!(other["diagnostics"][0]["code"], "key-missing", "{words:?}: {other:#}");
        let none = looked.project.run(&[words, &["--env", "dev"]].concat());
        assert_eq!(none.code, 12, "{words:?}: {:#}", none.json);
    }
}

#[test]
fn names_are_escaped_for_people_and_exact_for_programs() {
    let looked = Looked::new(Form::Chunked);
    looked.file("new\nline\u{1b}[2J", b"x");
    fs::write(looked.tree().join(trees::bytes(b"\xff")), "y").unwrap();
    looked.backup();
    let text = String::from_utf8(looked.out(&["ls", "latest", "tree"])).unwrap();
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.contains(" tree/new\\nline\\u{1b}[2J\n"), "{text}");
    assert!(text.contains(" tree/\\xff\n"), "{text}");
    let listed = looked.json(&["ls", "latest", "tree"], 0);
    let expected = [b"tree/new\nline\x1b[2J".to_vec(), b"tree/\xff".to_vec()];
    assert_eq!(paths(&listed, "entries"), BTreeSet::from(expected));
}

#[test]
fn a_damaged_pack_takes_its_own_files_and_no_other() {
    for form in [Form::Chunked, Form::SealedChunks] {
        let looked = Looked::new(form);
        looked.file("kept", &Random::new(1).bytes(300_000));
        looked.backup();
        let known: BTreeSet<PathBuf> = looked.objects("packs").into_iter().collect();
        looked.file("struck", &Random::new(2).bytes(300_000));
        looked.backup();
        let new: Vec<PathBuf> = looked
            .objects("packs")
            .into_iter()
            .filter(|pack| !known.contains(pack))
            .collect();
        assert_eq!(new.len(), 1);
        let sound = fs::read(&new[0]).unwrap();
        flip(&new[0], 100_000);

        let output = looked.raw(&["cat", "latest", "tree/struck"]);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{told}");
        assert!(told.contains("damaged") && told.contains("tree/struck"), "{told}");
        assert_eq!(output.stdout, b"", "bytes that nobody can vouch for were given out");
        assert_eq!(
            looked.out(&["cat", "latest", "tree/kept"]),
            fs::read(looked.tree().join("kept")).unwrap()
        );
        looked.json(&["export", "latest", "-o", "all.tar"], 4);
        assert!(
            !looked.project.path("all.tar").exists(),
            "half an archive was put in place"
        );
        looked.out(&["export", "latest", "tree/kept", "-o", "some.tar"]);
        let verified = looked.json(&["verify", "latest"], 4);
        assert_eq!(paths(&verified, "lost"), BTreeSet::from([b"tree/struck".to_vec()]));
        looked.json(&["ls", "latest", "-R"], 0);

        fs::remove_file(&new[0]).unwrap();
        assert_eq!(
            looked.raw(&["cat", "latest", "tree/struck"]).status.code(),
            Some(4),
            "a lost pack is damage"
        );
        fs::write(&new[0], sound).unwrap();
        assert_eq!(
            looked.out(&["cat", "latest", "tree/struck"]),
            fs::read(looked.tree().join("struck")).unwrap()
        );
    }
}

#[test]
fn a_backup_whose_catalog_is_damaged_is_told_and_the_others_are_looked_through() {
    for form in [Form::Chunked, Form::SealedArchive] {
        let looked = Looked::new(form);
        looked.file("sought", b"one");
        let first = looked.backup();
        let known: BTreeSet<PathBuf> = looked.objects("catalogs").into_iter().collect();
        looked.file("sought", b"another");
        looked.backup();
        for segment in looked.objects("catalogs") {
            if !known.contains(&segment) {
                flip(&segment, fs::metadata(&segment).unwrap().len() / 2);
            }
        }
        for words in [
            &["ls", "latest"][..],
            &["cat", "latest", "tree/sought"],
            &["diff", &first, "latest"],
        ] {
            let told = looked.json(words, 4);
            assert_eq!(told["diagnostics"][0]["code"], "damaged", "{words:?}: {told:#}");
        }
        let found = looked.json(&["find", "sought"], 4);
        assert_eq!(found["found"][0]["backups"], serde_json::json!([first]), "{found:#}");
        assert_eq!(looked.out(&["cat", &first, "tree/sought"]), b"one");
    }
}

#[test]
fn a_reader_who_has_seen_enough_is_no_failure() {
    let looked = Looked::new(Form::Chunked);
    for number in 0..3000 {
        looked.file(&format!("f{number:04}"), b"x");
    }
    looked.file("large", &Random::new(5).bytes(2 << 20));
    looked.backup();
    for verb in [
        "ls latest -R",
        "ls latest -R --json",
        "cat latest tree/large",
        "export latest",
    ] {
        let script = format!(
            "{} {verb} --env dev | head -c 100 > some; exit ${{PIPESTATUS[0]}}",
            program().display()
        );
        let output = Command::new("bash")
            .args(["-c", &script])
            .current_dir(looked.project.path(""))
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), told.as_ref()), (Some(0), ""), "{verb}");
        assert_eq!(fs::metadata(looked.project.path("some")).unwrap().len(), 100);
    }
}

#[test]
fn of_a_damaged_archive_no_wrong_byte_is_given_out() {
    for form in [Form::Plain, Form::SealedArchive] {
        let looked = Looked::new(form);
        // More than is held, so it must have been proven by another way before its beginning is given out.
        looked.file("big", &Random::new(3).bytes(20 << 20));
        looked.file("z-small", b"small");
        looked.backup();
        let archive = looked.objects("archives").remove(0);
        let length = fs::metadata(&archive).unwrap().len();
        flip(&archive, length / 2);
        let output = looked.raw(&["cat", "latest", "tree/big"]);
        assert_eq!(
            output.status.code(),
            Some(4),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert_eq!(output.stdout.len(), 0, "bytes that nobody can vouch for were given out");
        let into = looked.raw(&["cat", "latest", "tree/big", "-o", "big"]);
        assert_eq!(into.status.code(), Some(4));
        assert!(!looked.project.path("big").exists());
        assert_eq!(looked.out(&["cat", "latest", "tree/z-small"]), b"small");
        let verified = looked.json(&["verify", "latest"], 4);
        assert_eq!(paths(&verified, "lost"), BTreeSet::from([b"tree/big".to_vec()]));
    }
}

#[test]
fn samples_that_follow_one_another_cover_everything_and_find_a_flipped_byte() {
    for (form, level) in [
        (Form::Chunked, "objects"),
        (Form::SealedChunks, "content"),
        (Form::Plain, "content"),
    ] {
        let looked = Looked::new(form);
        for number in 0..4 {
            looked.file(&format!("f{number}"), &Random::new(number).bytes(17 << 20));
        }
        looked.backup();
        let verify = ["verify", "latest", "--level", level, "--sample", "25%"];
        let mut parts = BTreeSet::new();
        for _ in 0..4 {
            let told = looked.json(&verify, 0);
            assert_eq!(told["targets"][0]["parts"], 4);
            parts.insert(told["targets"][0]["part"].as_u64().unwrap());
        }
        assert_eq!(parts, BTreeSet::from([1, 2, 3, 4]), "{form:?}");

        let folder = if form == Form::Plain { "archives" } else { "packs" };
        for object in looked.objects(folder) {
            let sound = fs::read(&object).unwrap();
            flip(&object, sound.len() as u64 / 3);
            let ends: Vec<Option<i32>> = (0..4).map(|_| looked.raw(&verify).status.code()).collect();
            assert_eq!(
                ends.last(),
                Some(&Some(4)),
                "{form:?}: {} was not found damaged",
                object.display()
            );
            assert!(ends.iter().all(|end| matches!(end, Some(0 | 4))), "{ends:?}");
            fs::write(&object, sound).unwrap();
            looked.json(&verify, 0);
        }
    }
    let looked = Looked::new(Form::Plain);
    looked.file("a", b"x");
    looked.backup();
    looked.json(&["verify", "latest", "--sample", "5%", "--level", "objects"], 2);
    looked.json(&["verify", "latest", "--sample", "0%"], 2);
}

#[test]
fn verify_heeds_the_pipeline_that_it_is_given() {
    let looked = Looked::new(Form::Plain);
    let other = fs::read_to_string(looked.project.path("pipelines/backup.toml")).unwrap();
    looked.project.write(
        "pipelines/other.toml",
        &other.replace("name = \"backup\"", "name = \"other\""),
    );
    looked.file("a", b"x");
    let of_other = looked.project.run(&["run", "other", "--env", "dev"]).ended(0).id();
    let of_backup = looked.backup();
    for verb in ["verify", "show"] {
        let key = if verb == "show" { "id" } else { "backup" };
        assert_eq!(
            looked.json(&[verb, "latest", "--pipeline", "other"], 0)[key],
            of_other.as_str()
        );
        assert_eq!(
            looked.json(&[verb, "latest", "--pipeline", "backup"], 0)[key],
            of_backup.as_str()
        );
    }
    looked.json(&["verify", &of_backup, "--pipeline", "other"], 10);
}

/// Sums up what was read of content.
#[derive(Default)]
struct Read(Mutex<u64>);

impl Listener for Read {
    fn hear(&self, event: &Event) {
        if let Event::TargetRead { bytes, .. } = event {
            *self.0.lock().unwrap() += bytes;
        }
    }
}

/// The newest backup of a project, in a target that remembers what was asked of it.
struct Watched {
    runtime: tokio::runtime::Runtime,
    target: Target,
    calls: Calls,
    read: Arc<Read>,
    records: Vec<strongroom::archive::record::Record>,
}

impl Watched {
    fn new(looked: &Looked) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let place = looked.project.path("backups");
        let settings = TargetSettings::of_url(format!("file:{}", place.display()));
        let below = Target::open("local".parse().unwrap(), &settings, &place, &Access::default()).unwrap();
        let recording = Recording::new(below.store());
        let calls = recording.calls();
        let target = Target::from_store("local".parse().unwrap(), Arc::new(recording));
        let environment = "dev".parse().unwrap();
        let listing = runtime.block_on(repository::list(std::slice::from_ref(&target), &environment));
        assert_eq!(listing.warnings, []);
        Self {
            records: listing.backups.into_iter().map(|backup| backup.record).collect(),
            runtime,
            target,
            calls,
            read: Arc::default(),
        }
    }

    fn events(&self) -> Events {
        let mut events = Events::none();
        events.add(Arc::clone(&self.read) as Arc<dyn Listener>);
        events
    }

    fn reading(&self, number: usize) -> Reading {
        let handle = self.runtime.handle().clone();
        let (record, events) = (&self.records[number], self.events());
        Reading::new(&self.target, record, &Opening::Plain, &events, handle).unwrap()
    }

    /// The objects of a folder that `work` reads, and how much of content.
    fn objects(&self, folder: &str, work: impl FnOnce()) -> (Vec<String>, u64) {
        let before = self.calls.objects(Operation::Get).len();
        let bytes = *self.read.0.lock().unwrap();
        work();
        let calls = self.calls.objects(Operation::Get);
        let read: BTreeSet<String> = calls
            .into_iter()
            .skip(before)
            .filter(|name| name.starts_with(folder))
            .collect();
        (read.into_iter().collect(), *self.read.0.lock().unwrap() - bytes)
    }
}

fn many(looked: &Looked) {
    for number in 0..9000 {
        looked.file(
            &format!("d{:02}/f{number:05}", number % 30),
            number.to_string().as_bytes(),
        );
    }
    looked.file("big/one", &Random::new(11).bytes(34 << 20));
    looked.file("big/two", &Random::new(12).bytes(34 << 20));
}

#[test]
fn one_path_is_read_without_the_rest_of_the_backup() {
    for form in [Form::Chunked, Form::Plain] {
        let looked = Looked::new(form);
        many(&looked);
        looked.backup();
        let watched = Watched::new(&looked);
        let segments = watched.records[0].segments.len();
        assert!(segments >= 4, "{segments}");
        let path = BackupPath::parse(b"tree/d17/f00017").unwrap();
        let mut found = None;
        let look = |found: &mut Option<Listed>| *found = watched.reading(0).entry(&path).unwrap();
        let (read, _) = watched.objects("catalogs/", || look(&mut found));
        assert!(read.len() < segments, "{read:?} of {segments}");
        let (read, content) = watched.objects("packs/", || {
            list(
                &watched.reading(0),
                Some(&BackupPath::parse(b"tree/big").unwrap()),
                Depth::Everything,
                |_| Ok::<_, ReadingError>(()),
            )
            .unwrap();
        });
        assert_eq!((read.len(), content), (0, 0), "a list needs no content");

        let stored: u64 = watched.records[0].stored_bytes();
        let (packs, content) = watched.objects("packs/", || {
            let mut once = found;
            extract(&watched.reading(0), move || Ok(once.take()), &mut ()).unwrap();
        });
        assert!(packs.len() <= 1, "{packs:?}");
        assert!(
            content * 8 < stored,
            "{content} of {stored} bytes were read for a file of 2"
        );
    }
}

#[test]
fn a_check_of_all_content_reads_what_is_stored_once() {
    for form in [Form::Chunked, Form::Plain] {
        let looked = Looked::new(form);
        many(&looked);
        looked.backup();
        let watched = Watched::new(&looked);
        let (record, events) = (&watched.records[0], watched.events());
        let (_, read) = watched.objects("", || {
            let sound = check::stored(&watched.target, record, Some(&Opening::Plain), &events);
            watched.runtime.block_on(sound).unwrap();
        });
        let stored = record.stored_bytes();
        assert!(
            stored > 32 << 20 && read.abs_diff(stored) < stored / 16,
            "{read} of {stored}"
        );
    }
}

#[test]
fn a_difference_reads_only_segments_that_the_backups_do_not_share() {
    let looked = Looked::new(Form::Chunked);
    many(&looked);
    looked.backup();
    looked.file("d17/f00017", b"changed");
    looked.backup();
    let watched = Watched::new(&looked);
    let segments = watched.records[1].segments.len();
    let mut told = 0;
    let (read, content) = watched.objects("catalogs/", || {
        let one = watched.reading(0);
        let other = one.sharing(watched.reading(1));
        difference::differences(&one, &other, None, &mut |_| {
            told += 1;
            Ok::<_, ReadingError>(())
        })
        .unwrap();
    });
    assert_eq!(told, 1);
    assert!(read.len() < segments, "{} of {segments}", read.len());
    assert_eq!(content, 0);
}

#[test]
fn each_pack_belongs_to_exactly_one_part_and_a_part_reads_no_other() {
    let looked = Looked::new(Form::Chunked);
    for number in 0..5 {
        looked.file(&format!("f{number}"), &Random::new(number).bytes(17 << 20));
    }
    looked.backup();
    let watched = Watched::new(&looked);
    let (mut all, events) = (Vec::new(), Events::none());
    for turn in 0..4 {
        let (packs, _) = watched.objects("packs/", || {
            let work = sample::check_objects((&watched.target, &watched.records[0]), Part::new(turn, 4), &events);
            assert!(watched.runtime.block_on(work).is_ok());
        });
        all.extend(packs);
    }
    all.sort();
    let root = looked.project.path("backups");
    let name = |path: PathBuf| path.strip_prefix(&root).unwrap().as_os_str().as_bytes().to_vec();
    let stored: Vec<Vec<u8>> = looked.objects("packs").into_iter().map(name).collect();
    assert!(stored.len() >= 3, "{stored:?}");
    assert_eq!(all.into_iter().map(String::into_bytes).collect::<Vec<_>>(), stored);
}

#[test]
fn a_record_that_is_not_the_one_of_its_list_of_digests_is_not_sound() {
    let project =
        crate::projects::Project::new("[[step.source]]\nname = \"files\"\ntype = \"files\"\npath = \"data\"\n");
    project.write("data/a", "x");
    let id = project.backup(&[]).ended(0).id();
    let verify = ["verify", &id, "--env", "dev", "--level", "objects"];
    project.run(&verify).ended(0);
    let record = project.path(&format!("backups/backups/dev/{id}.json"));
    let text = std::fs::read_to_string(&record).unwrap();
    let changed = text.replacen("\"sequence\": 1", "\"sequence\": 9", 1);
    assert_ne!(text, changed);
    std::fs::write(&record, changed).unwrap();
    assert_eq!(project.run(&verify).ended(4).problem().0, "damaged");
    std::fs::write(&record, text).unwrap();
    std::fs::remove_file(project.path(&format!("backups/sums/dev/{id}.b3"))).unwrap();
    assert_eq!(project.run(&verify).ended(4).problem().0, "damaged");
}

#[test]
fn a_backup_and_a_restore_in_place_keep_each_other_out() {
    let project =
        crate::projects::Project::new("[[step.source]]\nname = \"files\"\ntype = \"files\"\npath = \"data\"\n");
    project.write("data/a", "x");
    let id = project.backup(&[]).ended(0).id();
    project.run(&["restore", &id, "--env", "dev"]).ended(0);
    for (held, words) in [
        ("backup", &["restore", &id, "--env", "dev"][..]),
        ("restore", &["backup", "--env", "dev"]),
        ("backup", &["rollback", "--env", "dev"]),
    ] {
        let lock = std::fs::File::open(project.path(&format!(".strongroom/dev/{held}.lock"))).unwrap();
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
        let refused = project.run(words);
        if held == "restore" {
            // A backup beside a restore that holds no lock of its own: the restore takes the backup's too.
            refused.ended(0);
        } else {
            assert_eq!(refused.ended(11).problem().0, "held", "{words:?}");
        }
    }
    // Into another folder nothing is replaced.
    let lock = std::fs::File::open(project.path(".strongroom/dev/backup.lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    project.restore(&id, &["--to", "out"]).ended(0);
}
