//! Backups made by the first program of format 1 are restored by this one, and by the scripts, entry by entry.
//!
//! `tests/fixtures/format-1/make.py` made them once; they are never made anew.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::FileType;
use serde_json::Value;
use strongroom::archive::layout::FORMAT;

use crate::pages;
use crate::projects::Project;
use crate::trees::{self, Facts};

/// A copy of the fixture, in a project that knows its environments.
struct Fixture {
    project: Project,
    expected: Value,
}

/// Which of the two trees a backup has, and how it is opened.
struct Backup<'f> {
    environment: &'f str,
    id: &'f str,
    tree: &'f Value,
}

impl Fixture {
    fn new() -> Self {
        trees::need_root();
        let project = Project::new("");
        let expected = fs::read(folder().join("expected.json")).unwrap();
        let expected: Value = serde_json::from_slice(&expected).unwrap();
        copy(&folder().join("target"), &project.path("backups"));
        let identity = python(
            &[folder().join("identity.py").to_str().unwrap()],
            project.path("").as_path(),
        );
        fs::write(project.path("identity"), identity).unwrap();
        fs::set_permissions(project.path("identity"), fs::Permissions::from_mode(0o600)).unwrap();
        for (environment, signer) in expected["signers"].as_object().unwrap() {
            let settings = format!("instance = \"fixture\"\nsigners = {{ fixture = {signer} }}\n");
            project.environment(environment, &settings);
        }
        Self { project, expected }
    }

    fn backups(&self) -> Vec<Backup<'_>> {
        let backups = self.expected["backups"].as_object().unwrap().iter();
        let backups = backups.map(|(name, tree)| {
            let (environment, id) = name.split_once('/').unwrap();
            Backup {
                environment,
                id,
                tree: &self.expected["trees"][tree.as_u64().unwrap() as usize],
            }
        });
        backups.collect()
    }

    fn script(&self, script: &Path, backup: &Backup<'_>, out: &Path) {
        let (target, identity) = (self.project.path("backups"), self.project.path("identity"));
        let id = format!("{}/{}", backup.environment, backup.id);
        let words = [
            script.to_str().unwrap(),
            &id,
            out.to_str().unwrap(),
            "--target",
            target.to_str().unwrap(),
            "--identity",
            identity.to_str().unwrap(),
        ];
        let said = python(&words, self.project.path("").as_path());
        assert!(said.contains("restored to"), "{said}");
        backup.compare(out);
    }
}

impl Backup<'_> {
    /// The entries below `out` are those that the fixture says.
    fn compare(&self, out: &Path) {
        for source in ["files", "events"] {
            let differences = trees::compare(expected(self.tree, source), trees::facts(&out.join(source)));
            assert_eq!(differences, Vec::<String>::new(), "{}", self.environment);
        }
    }
}

fn folder() -> PathBuf {
    pages::project().join("tests/fixtures/format-1")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, to) = {
            let entry = entry.unwrap();
            (entry.path(), to.join(entry.file_name()))
        };
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).unwrap();
        }
    }
}

/// What Python prints, with nothing of this process's environment; it must succeed.
fn python(words: &[&str], folder: &Path) -> String {
    let mut command = Command::new("python3");
    command
        .args(words)
        .current_dir(folder)
        .env_clear()
        .env("PATH", "/usr/bin:/bin");
    let output = trees::tool("python3", &mut command);
    assert!(
        output.status.success(),
        "{words:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Bytes that are written as the characters of Latin-1.
fn bytes(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()
}

/// What a source holds, by the paths below it.
fn expected(tree: &Value, source: &str) -> BTreeMap<Vec<u8>, Facts> {
    let below = |path: &str| {
        let rest = path.strip_prefix(source)?;
        rest.strip_prefix('/').or(rest.is_empty().then_some("")).map(bytes)
    };
    let entries = tree.as_object().unwrap().iter();
    let entries = entries.filter_map(|(path, entry)| Some((below(path)?, facts(entry, &below))));
    entries.collect()
}

fn facts(entry: &Value, below: &dyn Fn(&str) -> Option<Vec<u8>>) -> Facts {
    let pair = |value: &Value| (value[0].as_i64().unwrap(), value[1].as_i64().unwrap());
    let text = |key: &str| entry[key].as_str();
    let owner = pair(&entry["owner"]);
    let data = entry["data"].as_array().into_iter().flatten().map(pair);
    let attributes = entry["attributes"].as_object().unwrap().iter();
    Facts {
        kind: match text("kind").unwrap() {
            "fifo" => format!("{:?} 0", FileType::Fifo),
            "device" => {
                let (major, minor) = pair(&entry["device"]);
                let number = rustix::fs::makedev(u32::try_from(major).unwrap(), u32::try_from(minor).unwrap());
                format!("{:?} {number:x}", FileType::CharacterDevice)
            }
            other => other.to_owned(),
        },
        mode: u32::from_str_radix(text("mode").unwrap(), 8).unwrap(),
        owner: (u32::try_from(owner.0).unwrap(), u32::try_from(owner.1).unwrap()),
        mtime: pair(&entry["mtime"]),
        size: entry["size"].as_i64().unwrap(),
        target: text("target").map(|target| CString::new(bytes(target)).unwrap()),
        content: text("blake3").map(str::to_owned),
        data: data
            .map(|(start, end)| (start.cast_unsigned(), end.cast_unsigned()))
            .collect(),
        attributes: attributes
            .map(|(name, value)| (bytes(name), bytes(value.as_str().unwrap())))
            .collect(),
        first_name: text("first").map(|first| below(first).unwrap()),
    }
}

#[test]
fn the_format_that_is_written_has_a_fixture() {
    let fixtures = pages::project().join("tests/fixtures");
    for format in 1..=FORMAT {
        assert!(
            fixtures.join(format!("format-{format}/expected.json")).exists(),
            "{format}"
        );
    }
}

#[test]
fn what_the_first_program_stored_is_verified_and_restored_entry_by_entry() {
    let fixture = Fixture::new();
    let backups = fixture.backups();
    assert_eq!(backups.len(), 6);
    let identity = fixture.project.path("identity").display().to_string();
    for backup in &backups {
        let Backup { environment, id, .. } = backup;
        let opening = ["--env", environment, "--identity", &identity];
        let verify = [&["verify", id, "--level", "content"][..], &opening].concat();
        fixture.project.run(&verify).ended(0);
        let out = fixture.project.path(&format!("out/{id}"));
        let restore = [&["restore", id, "--to", out.to_str().unwrap()][..], &opening].concat();
        fixture.project.run(&restore).ended(0);
        backup.compare(&out);
    }
    let patched = backups.iter().filter(|backup| {
        let name = format!("backups/backups/{}/{}.json", backup.environment, backup.id);
        let record: Value = serde_json::from_slice(&fs::read(fixture.project.path(&name)).unwrap()).unwrap();
        record["patch"].is_array()
    });
    assert_eq!(patched.count(), 2);
}

#[test]
fn the_script_of_then_and_that_of_now_restore_what_the_first_program_stored() {
    let fixture = Fixture::new();
    let now = pages::project().join("src/archive/recovery/recover.py");
    let then = fixture.project.path("backups/recover-1.py");
    for (name, script) in [("now", now), ("then", then)] {
        for backup in &fixture.backups() {
            let out = fixture.project.path(&format!("{name}-{}", backup.id));
            fixture.script(&script, backup, &out);
        }
        let target = fixture.project.path("backups").display().to_string();
        let identity = fixture.project.path("identity").display().to_string();
        let words = [
            script.to_str().unwrap(),
            "check",
            "--target",
            &target,
            "--identity",
            &identity,
        ];
        python(&words, fixture.project.path("").as_path());
    }
}

#[test]
fn what_was_signed_then_is_refused_once_it_is_changed() {
    let fixture = Fixture::new();
    let backups = fixture.backups();
    let Backup { environment, id, .. } = &backups[0];
    let name = fixture
        .project
        .path(&format!("backups/backups/{environment}/{id}.json"));
    let record = fs::read_to_string(&name).unwrap();
    fs::write(&name, record.replace("\"warnings\": 0", "\"warnings\": 1")).unwrap();
    let out = fixture.project.path("out").display().to_string();
    let refused = fixture
        .project
        .run(&["restore", id, "--to", &out, "--env", environment])
        .ended(4);
    assert_eq!(refused.problem().0, "unsigned");
    assert!(!fixture.project.path("out").exists());
}
