//! Recovery without the program: what it stored is restored by the script and the commands that it put beside the backups, with
//! the system's own tools and an empty environment.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::chunks::{Changing, SOURCES, objects, rows};
use crate::pages;
use crate::projects::{Project, Ran};
use crate::trees::{self, Facts};

/// How a repository is made. A row here is all that a new form needs.
struct Form {
    name: &'static str,
    /// The step between capture and compression.
    change: &'static str,
    /// The step behind compression.
    seal: &'static str,
}

const DEDUPLICATE: &str = "[[step]]\nid = \"change\"\ntype = \"deduplicate\"\n";

const SEAL: &str = "[[step]]\nid = \"seal\"\ntype = \"encrypt\"\n";

const FORMS: [Form; 4] = [
    Form {
        name: "chunks",
        change: DEDUPLICATE,
        seal: "",
    },
    Form {
        name: "archive",
        change: "",
        seal: "",
    },
    Form {
        name: "sealed chunks",
        change: DEDUPLICATE,
        seal: SEAL,
    },
    Form {
        name: "sealed archive",
        change: "",
        seal: SEAL,
    },
];

const COMPRESS: &str = "[[step]]\nid = \"pack\"\ntype = \"compress\"\n";
const UPLOAD: &str = "[[step]]\nid = \"digest\"\ntype = \"checksum\"\n[[step]]\nid = \"store\"\ntype = \"upload\"\ntargets = [\"local\"]\n\
                      [[step]]\nid = \"proof\"\ntype = \"confirm\"\nby = \"read-back\"\n";

/// A project whose backups are of some form, and the private key of who may open them.
struct Made {
    project: Project,
    sealed: bool,
}

impl Made {
    fn new(form: &Form) -> Self {
        let sources = SOURCES.split("[[step]]").next().unwrap();
        let project = Project::new("");
        let made = Self {
            project,
            sealed: !form.seal.is_empty(),
        };
        let Form { change, seal, .. } = form;
        let pipeline = format!(
            "schema-version = 1\nname = \"backup\"\ndescription = \"x\"\n[[step]]\nid = \"capture\"\ntype = \"snapshot\"\n\
             {sources}{change}{COMPRESS}{seal}{UPLOAD}"
        );
        made.project.write("pipelines/backup.toml", &pipeline);
        if made.sealed {
            made.seal_to(&["identity"]);
        }
        made
    }

    /// Seals to the private keys in these files, which are made where they are not there.
    fn seal_to(&self, files: &[&str]) {
        let recipients = files.iter().map(|file| {
            let key = self.project.path(file);
            if !key.exists() {
                tool("age-keygen", &["-o", key.to_str().unwrap()], &self.project.path(""));
            }
            let shown = tool("age-keygen", &["-y", key.to_str().unwrap()], &self.project.path(""));
            String::from_utf8(shown.stdout).unwrap().trim().to_owned()
        });
        let recipients: Vec<String> = recipients.collect();
        let settings = format!("[encryption]\nrecipients = {recipients:?}\n");
        self.project.environment("dev", &settings);
    }

    fn target(&self) -> PathBuf {
        self.project.path("backups")
    }

    fn backup(&self) -> Ran {
        let ran = self.project.backup(&[]);
        assert!(ran.code == 0 || ran.code == 3, "{}{:#}", ran.stderr, ran.json);
        ran
    }

    /// Restores by the program itself.
    fn restore(&self, id: &str, words: &[&str]) -> Ran {
        let identity = self.project.path("identity").display().to_string();
        let opening = if self.sealed {
            vec!["--identity", &identity]
        } else {
            Vec::new()
        };
        self.project.restore(id, &[words, &opening].concat())
    }

    /// Runs the script that lies in `target`.
    fn script(&self, target: &Path, words: &[&str]) -> Said {
        let mut words = words.to_vec();
        let identity = self.project.path("identity").display().to_string();
        if self.sealed {
            words.extend(["--identity", &identity]);
        }
        script(target, &words)
    }
}

/// A command with nothing of this process's environment.
fn command(name: &str, words: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(name);
    command
        .args(words)
        .current_dir(folder)
        .env_clear()
        .env("PATH", "/usr/bin:/bin");
    command
}

fn tool(name: &str, words: &[&str], folder: &Path) -> Output {
    let package = if name == "age-keygen" { "age" } else { name };
    let output = trees::tool(package, &mut command(name, words, folder));
    assert!(
        output.status.success(),
        "{name}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// What a script said.
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}{}", self.out, self.err);
        self
    }
}

fn script(target: &Path, words: &[&str]) -> Said {
    let script = target.join("recover-1.py").display().to_string();
    let words = [&[script.as_str()], words].concat();
    let mut command = command("python3", &words, target.parent().unwrap());
    Said::of(&trees::tool("python3", &mut command))
}

/// What two sources hold at one moment, and the rows of the database.
struct Held {
    files: BTreeMap<Vec<u8>, Facts>,
    events: BTreeMap<Vec<u8>, Facts>,
    rows: Vec<(i64, Vec<u8>)>,
}

impl Held {
    fn of(root: &Path) -> Self {
        Self {
            files: trees::facts(&root.join("files")),
            events: trees::facts(&root.join("events")),
            rows: rows(&root.join("db/main.db")),
        }
    }

    fn differences(self, other: Self) -> Vec<String> {
        let mut lines = trees::compare(self.files, other.files);
        lines.extend(trees::compare(self.events, other.events));
        if self.rows != other.rows {
            lines.push("the rows of the database".into());
        }
        lines
    }
}

#[test]
fn every_open_backup_is_restored_by_the_script_and_system_tools_alone() {
    several_in_a_row(FORMS.iter().filter(|form| form.seal.is_empty()));
}

#[test]
fn every_sealed_backup_is_restored_by_the_script_the_identity_and_system_tools_alone() {
    several_in_a_row(FORMS.iter().filter(|form| !form.seal.is_empty()));
}

/// Makes several backups of data that changes, and compares each with the data of its moment.
fn several_in_a_row<'f>(forms: impl Iterator<Item = &'f Form>) {
    assert!(!Path::new("/usr/bin/strongroom").exists() && !Path::new("/bin/strongroom").exists());
    for form in forms {
        let made = Made::new(form);
        let mut data = Changing::new(made.project.path("data"), 11);
        trees::build_into(&made.project.path("data/files/kinds"));
        let mut backups = Vec::new();
        for _ in 0..3 {
            backups.push((made.backup().id(), Held::of(&made.project.path("data"))));
            (0..8).for_each(|_| data.change());
        }
        let target = made.target();
        if form.change == DEDUPLICATE {
            let record = record(&target, &backups.last().unwrap().0);
            assert!(!record["patch"].as_array().unwrap().is_empty(), "{record:#}");
        }
        let listed = made.script(&target, &["list"]).ended(0).out;
        let check = made.script(&target, &["check"]).ended(0);
        assert_eq!(check.out.lines().count(), 7, "{}", check.out);
        for (number, (id, was)) in backups.into_iter().enumerate() {
            assert!(listed.contains(&id), "{listed}");
            let (out, reference) = (format!("out/{number}"), format!("reference/{number}"));
            made.script(&target, &["restore", &id, &out]).ended(0);
            let (out, reference) = (made.project.path(&out), made.project.path(&reference));
            let differences = was.differences(Held::of(&out));
            assert_eq!(differences, Vec::<String>::new(), "{}, backup {number}", form.name);
            made.restore(&id, &["--to", reference.to_str().unwrap()]).ended(0);
            assert_eq!(
                trees::differences(&reference.join("db"), &out.join("db")),
                Vec::<String>::new()
            );
        }
    }
}

fn record(target: &Path, id: &str) -> Value {
    let bytes = fs::read(target.join(format!("backups/dev/{id}.json"))).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

/// Files that can be told apart, enough for several frames, and everything else that the script sees.
fn small_project(form: &Form) -> (Made, String) {
    let made = Made::new(form);
    drop(Changing::new(made.project.path("data"), 12));
    let files = made.project.path("data/files");
    for number in 0..60_u64 {
        // Noise, so that each frame has its place in a pack.
        let content = noise(number, 400_000);
        fs::write(files.join(format!("file-{number:02}")), content).unwrap();
    }
    fs::create_dir(files.join("sub")).unwrap();
    fs::hard_link(files.join("file-07"), files.join("sub/second")).unwrap();
    std::os::unix::fs::symlink("file-07", files.join("sub/link")).unwrap();
    let id = made.backup().id();
    (made, id)
}

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new_derive_key("tests of recovery")
        .update(&seed.to_le_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

/// Paths of `was` that are missing in `is`, where everything else is the same but for the times of folders.
fn lost(was: &Path, is: &Path) -> BTreeSet<String> {
    let (was, mut is) = (trees::facts(was), trees::facts(is));
    let mut lost = BTreeSet::new();
    for (path, mut one) in was {
        let shown = String::from_utf8_lossy(&path).into_owned();
        match is.remove(&path) {
            None => drop(lost.insert(shown)),
            Some(mut other) => {
                // Of two names one may be lost.
                (one.first_name, other.first_name) = (None, None);
                assert_eq!(one, other, "{shown}");
            }
        }
    }
    assert!(is.is_empty(), "{is:?}");
    lost
}

/// A damage of one object.
type Damage = fn(&Path);

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    // Not the middle: there a frame may begin, whose tar header no content depends on.
    let inside = bytes.len() / 7 * 3;
    bytes[inside] ^= 0x40;
    fs::write(path, bytes).unwrap();
}

fn cut(path: &Path) {
    let length = fs::metadata(path).unwrap().len();
    fs::File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(length / 2)
        .unwrap();
}

fn remove(path: &Path) {
    fs::remove_file(path).unwrap();
}

#[test]
fn a_damaged_object_is_named_and_everything_else_is_restored() {
    for form in &FORMS {
        let (made, id) = small_project(form);
        let folder = if form.change == DEDUPLICATE {
            "packs"
        } else {
            "archives"
        };
        let (object, _) = objects(&made.project, folder)
            .into_iter()
            .max_by_key(|(_, size)| *size)
            .unwrap();
        let (data, target) = (made.project.path("data/files"), made.target());
        let damages: [(&str, Damage); 3] = [("flipped", flip), ("cut", cut), ("removed", remove)];
        for (what, damage) in damages {
            let copy = made.project.path(&format!("copy-{what}"));
            tool("cp", &["-a", target.to_str().unwrap(), copy.to_str().unwrap()], &target);
            damage(&copy.join(&object));
            let out = made.project.path(&format!("out-{what}"));
            let said = made.script(&copy, &["restore", &id, out.to_str().unwrap()]).ended(1);
            assert!(said.err.contains(&object), "{what}: {}", said.err);
            let lost = lost(&data, &out.join("files"));
            for path in &lost {
                assert!(said.err.contains(&format!("files/{path}: ")), "{path}: {}", said.err);
            }
            assert!(!lost.is_empty(), "{what}");
            if what == "flipped" && form.seal.is_empty() {
                // One frame of 4 MiB, in which ten such files lie, and two more that reach into it.
                assert!(lost.len() <= 13, "{lost:?}");
            }
            if what != "removed" || form.change == DEDUPLICATE {
                let large = lost.iter().filter(|path| path.starts_with("file-"));
                assert!(large.count() < 45, "{what}: {lost:?}");
            }
            let checked = made.script(&copy, &["check", &id]).ended(1);
            assert!(checked.err.contains(&object), "{what}: {}", checked.err);
            let objects = made.script(&copy, &["check", &id, "--objects"]).ended(1);
            assert!(
                objects.err.contains(&object) && !objects.err.contains("files/"),
                "{}",
                objects.err
            );
        }
    }
}

#[test]
fn a_sealed_backup_says_which_key_it_needs_and_another_one_does_not_open_it() {
    let form = FORMS.iter().find(|form| form.name == "sealed chunks").unwrap();
    let (made, id) = small_project(form);
    let target = made.target();
    let without = script(&target, &["restore", &id, "out"]).ended(1);
    assert!(without.err.contains("give --identity FILE"), "{}", without.err);
    let other = made.project.path("other");
    tool("age-keygen", &["-o", other.to_str().unwrap()], &target);
    let words = ["restore", &id, "out", "--identity", other.to_str().unwrap()];
    let wrong = script(&target, &words).ended(1);
    assert!(wrong.err.contains("opens with that identity"), "{}", wrong.err);
    let nowhere = script(&target, &["restore", &id, "out", "--identity", "nothing"]).ended(2);
    assert!(nowhere.err.contains("cannot be read: nothing"), "{}", nowhere.err);
    assert!(!made.project.path("out/files").exists());
    // Digests of what is stored need no key.
    script(&target, &["check", &id, "--objects"]).ended(0);
}

#[test]
fn a_key_that_was_added_opens_what_was_sealed_before_and_after_a_rotation() {
    let form = FORMS.iter().find(|form| form.name == "sealed chunks").unwrap();
    let (made, before) = small_project(form);
    made.seal_to(&["identity", "added"]);
    let identity = made.project.path("identity").display().to_string();
    let add = ["keys", "add", "--env", "dev", "--identity", &identity];
    made.project.run(&add).ended(0);
    made.project
        .run(&["keys", "rotate", "--env", "dev", "--confirm", "dev"])
        .ended(0);
    let after = made.backup().id();
    let target = made.target();
    assert_ne!(record(&target, &before)["epoch"], record(&target, &after)["epoch"]);
    let added = made.project.path("added").display().to_string();
    for id in [&before, &after] {
        script(&target, &[id, id, "--identity", &added]).ended(0);
        assert_eq!(
            trees::differences(&made.project.path("data/files"), &made.project.path(id).join("files")),
            Vec::<String>::new()
        );
    }
}

#[test]
fn a_wrong_key_of_digests_beside_the_sound_keys_is_told_and_passed_over() {
    let form = FORMS.iter().find(|form| form.name == "sealed chunks").unwrap();
    let (made, id) = small_project(form);
    let target = made.target();
    let identity = made.project.path("identity").display().to_string();
    let epoch = record(&target, &id)["epoch"].as_str().unwrap().to_owned();
    let keys = target.join("keys");
    let sound = fs::read_dir(&keys).unwrap().next().unwrap().unwrap().path();
    let open = ["-d", "-i", &identity, sound.to_str().unwrap()];
    let text = String::from_utf8(tool("age", &open, &target).stdout).unwrap();
    // 32 other bytes in base64.
    let other = format!("# chunk-key: {}=", "A".repeat(43));
    let lines = text.lines().map(|line| match line.strip_prefix("# chunk-key: ") {
        Some(_) => other.as_str(),
        None => line,
    });
    let forged = made.project.path("forged");
    fs::write(&forged, lines.collect::<Vec<_>>().join("\n") + "\n").unwrap();
    // It comes before the sound one, whoever lists them.
    let first = keys.join(format!("{epoch}-00000000.age"));
    let recipient = tool("age-keygen", &["-y", &identity], &target).stdout;
    let recipient = String::from_utf8(recipient).unwrap();
    let seal = [
        "-r",
        recipient.trim(),
        "-o",
        first.to_str().unwrap(),
        forged.to_str().unwrap(),
    ];
    tool("age", &seal, &target);
    let said = script(&target, &["restore", &id, "out", "--identity", &identity]).ended(1);
    assert!(said.err.contains("00000000.age opens, but"), "{}", said.err);
    assert_eq!(
        trees::differences(&made.project.path("data/files"), &made.project.path("out/files")),
        Vec::<String>::new()
    );
    made.project
        .run(&["ls", &id, "--env", "dev", "--identity", &identity])
        .ended(0);
}

#[test]
fn the_newest_is_found_by_its_number_and_only_where_there_is_one() {
    let (made, first) = small_project(&FORMS[1]);
    let target = made.target();
    fs::write(made.project.path("data/files/added"), "later").unwrap();
    let second = made.backup().id();
    let said = script(&target, &["latest", "out"]).ended(0);
    assert!(said.out.contains("restored to"), "{}", said.out);
    assert_eq!(fs::read(made.project.path("out/files/added")).unwrap(), b"later");
    // The one of another environment has an order of its own.
    made.project.environment("other", "");
    let ran = made.project.run(&["backup", "--env", "other"]);
    assert!(ran.code == 0 || ran.code == 3, "{}", ran.stderr);
    let unclear = script(&target, &["restore", "latest", "again"]).ended(1);
    assert!(
        unclear.err.contains(&second) && unclear.err.contains(&ran.id()) && !unclear.err.contains(&first),
        "{}",
        unclear.err
    );
    script(&target, &["restore", "dev/latest", "again"]).ended(0);
    assert!(made.project.path("again/files/added").exists());
}

#[test]
fn without_b3sum_it_restores_says_that_nothing_was_proven_and_still_sees_what_is_missing() {
    let (made, id) = small_project(&FORMS[0]);
    let bin = made.project.path("bin");
    fs::create_dir(&bin).unwrap();
    for name in ["python3", "zstd"] {
        std::os::unix::fs::symlink(format!("/usr/bin/{name}"), bin.join(name)).unwrap();
    }
    let run = |out: &str| {
        let words = ["python3", "backups/recover-1.py", "restore", &id, out];
        let mut command = command("env", &words, &made.project.path(""));
        Said::of(&trees::tool("coreutils", command.env("PATH", &bin)))
    };
    std::os::unix::fs::symlink("/usr/bin/env", bin.join("env")).unwrap();
    let said = run("out").ended(3);
    assert!(said.err.contains("`b3sum` is not installed"), "{}", said.err);
    assert_eq!(
        trees::differences(&made.project.path("data/files"), &made.project.path("out/files")),
        Vec::<String>::new()
    );
    let (object, _) = objects(&made.project, "packs")
        .into_iter()
        .max_by_key(|(_, size)| *size)
        .unwrap();
    remove(&made.target().join(&object));
    let said = run("again").ended(1);
    assert!(
        said.err.contains(&object) && said.err.contains("files/file-"),
        "{}",
        said.err
    );
    fs::remove_file(bin.join("zstd")).unwrap();
    let said = run("third").ended(2);
    assert!(said.err.contains("apt-get install zstd"), "{}", said.err);
}

#[test]
fn what_is_left_of_a_damaged_file_is_kept_where_that_is_wanted() {
    let form = &FORMS[0];
    let (made, id) = small_project(form);
    let (object, _) = objects(&made.project, "packs")
        .into_iter()
        .max_by_key(|(_, size)| *size)
        .unwrap();
    flip(&made.target().join(object));
    let out = made.project.path("out");
    let said = made
        .script(
            &made.target(),
            &["restore", &id, out.to_str().unwrap(), "--keep-damaged"],
        )
        .ended(1);
    assert!(said.err.contains("its content is lost or damaged"), "{}", said.err);
    let was: Vec<Vec<u8>> = trees::facts(&made.project.path("data/files")).into_keys().collect();
    let is: Vec<Vec<u8>> = trees::facts(&out.join("files")).into_keys().collect();
    assert_eq!(was, is);
}

#[test]
fn a_catalog_that_is_damaged_is_named_and_what_others_list_is_restored() {
    let (made, id) = small_project(&FORMS[0]);
    // The log's segment: each source has its own.
    let record = record(&made.target(), &id);
    let names: Vec<&str> = record["segments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["name"].as_str().unwrap())
        .collect();
    assert!(names.len() >= 3);
    let of_events = names.into_iter().find(|name| {
        let shown = tool("zstd", &["-dcq", name], &made.target());
        String::from_utf8_lossy(&shown.stdout).contains("\"events/")
    });
    flip(&made.target().join(of_events.unwrap()));
    let out = made.project.path("out");
    let said = made
        .script(&made.target(), &["restore", &id, out.to_str().unwrap()])
        .ended(1);
    assert!(
        said.err.contains(of_events.unwrap()) && said.err.contains("source `events`"),
        "{}",
        said.err
    );
    assert_eq!(
        lost(&made.project.path("data/files"), &out.join("files")),
        BTreeSet::new()
    );
    assert!(!out.join("events").exists() && out.join("db/main.db").exists());
}

#[test]
fn single_paths_come_with_the_folders_above_and_the_first_name_of_a_second() {
    for form in &FORMS {
        let (made, id) = small_project(form);
        let out = made.project.path("out");
        let to = out.to_str().unwrap();
        made.script(&made.target(), &["restore", &id, to, "files/sub/second", "events"])
            .ended(0);
        let names: Vec<String> = trees::facts(&out)
            .into_keys()
            .map(|path| String::from_utf8(path).unwrap())
            .collect();
        let files: Vec<&str> = names
            .iter()
            .map(String::as_str)
            .filter(|name| name.starts_with("files"))
            .collect();
        assert_eq!(files, ["files", "files/file-07", "files/sub", "files/sub/second"]);
        assert!(
            names.iter().any(|name| name.starts_with("events/")) && !names.iter().any(|name| name.starts_with("db"))
        );
        assert_eq!(fs::read(out.join("files/sub/second")).unwrap(), noise(7, 400_000));
        // The folder is not empty any more.
        let again = made.script(&made.target(), &["restore", &id, to]).ended(1);
        assert!(again.err.contains("not empty"), "{}", again.err);
        let none = made
            .script(&made.target(), &["restore", &id, "other", "files/nothing"])
            .ended(1);
        assert!(
            none.err.contains("files/nothing: the backup has no such path"),
            "{}",
            none.err
        );
        let listed = made.script(&made.target(), &["list", &id]).ended(0).out;
        assert_eq!(
            listed.lines().count() as u64,
            entries(&record(&made.target(), &id)),
            "{listed}"
        );
    }
}

fn entries(record: &Value) -> u64 {
    record["sources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|source| source["entries"].as_u64().unwrap())
        .sum()
}

#[test]
fn who_is_not_root_gets_everything_but_owners_and_devices_and_hears_of_it() {
    let made = Made::new(&FORMS[0]);
    drop(Changing::new(made.project.path("data"), 13));
    trees::build_into(&made.project.path("data/files/kinds"));
    let id = made.backup().id();
    let open = made.project.path("open");
    tool(
        "cp",
        &["-a", made.target().to_str().unwrap(), open.to_str().unwrap()],
        Path::new("/"),
    );
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o777)).unwrap();
    tool("chmod", &["-R", "a+rX", open.to_str().unwrap()], Path::new("/"));
    fs::set_permissions(made.project.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let (script, out) = (open.join("recover-1.py"), place.path().join("out"));
    let words = ["--reuid=54321", "--regid=54321", "--clear-groups", "python3"];
    let words = [
        &words[..],
        &[script.to_str().unwrap(), "restore", &id, out.to_str().unwrap()],
    ]
    .concat();
    let said = Said::of(&trees::tool(
        "util-linux",
        &mut command("setpriv", &words, place.path()),
    ))
    .ended(3);
    assert!(
        said.err.contains("device: ") && said.err.contains("owner: "),
        "{}",
        said.err
    );
    let was = trees::facts(&made.project.path("data/files"));
    let is = trees::facts(&out.join("files"));
    for (path, one) in &was {
        let shown = String::from_utf8_lossy(path);
        let Some(other) = is.get(path) else {
            assert!(one.kind.contains("Device"), "{shown} is missing");
            continue;
        };
        assert_eq!(
            (&one.content, &one.data, &one.target, one.mtime),
            (&other.content, &other.data, &other.target, other.mtime),
            "{shown}"
        );
        assert_eq!(one.mode & 0o777, other.mode & 0o777, "{shown}");
        // A program that ran as its owner must not come to run as another user.
        let is_folder = one.kind == "folder";
        assert!(
            is_folder || other.mode & 0o4000 == 0 || one.owner.0 == 54_321,
            "{shown}: {:o}",
            other.mode
        );
    }
    assert!(is.len() > 100);
}

/// The commands of the page, by their order in it.
fn commands_of_the_page() -> Vec<String> {
    let page = pages::page("src/archive/recovery/RECOVERY.md");
    let blocks = page.blocks().into_iter().filter(|block| block.language == "sh");
    blocks.map(|block| block.text()).collect()
}

/// Runs commands of the page in a copy of a target; gives what they print.
fn by_hand(target: &Path, variables: &[(&str, &str)], commands: &str) -> String {
    let script = format!("set -eu\n{commands}");
    let mut command = command("sh", &["-c", &script], target);
    command.envs(variables.iter().copied());
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{commands}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_commands_of_the_page_do_what_it_says() {
    let [with_script, digests, archive, search, fetch, ..] = <[String; 6]>::try_from(commands_of_the_page()).unwrap();
    for form in FORMS.iter().filter(|form| form.seal.is_empty()) {
        let (made, id) = small_project(form);
        let target = made.target();
        let said = by_hand(&target, &[("id", &id)], &with_script);
        assert!(said.contains(&id) && said.contains("restored to"), "{said}");
        let out = made.project.path("out");
        assert_eq!(
            trees::differences(&made.project.path("data/files"), &out.join("files")),
            Vec::<String>::new()
        );
        assert_eq!(by_hand(&target, &[("env", "dev"), ("id", &id)], &digests), "");
        if form.change == DEDUPLICATE {
            let path = "files/sub/second";
            // A second name has no content of its own: its line says which is the first.
            let said = by_hand(&target, &[("env", "dev"), ("id", &id), ("path", path)], &search);
            assert_eq!(table_and_line(&said).1["first"], "file-07", "{said}");
            let large = made.project.path("data/files");
            let large = trees::facts(&large)
                .into_iter()
                .find(|(_, facts)| facts.size > 1 << 20)
                .unwrap();
            let path = format!("files/{}", String::from_utf8(large.0).unwrap());
            let said = by_hand(&target, &[("env", "dev"), ("id", &id), ("path", &path)], &search);
            let (packs, line) = table_and_line(&said);
            for run in line["runs"].as_array().unwrap() {
                let number = |place: usize| run[place].as_u64().unwrap();
                let (offset, length) = (number(1).to_string(), number(2).to_string());
                let pack = packs["packs"][number(0) as usize].as_str().unwrap();
                by_hand(
                    &target,
                    &[("pack", pack), ("offset", &offset), ("length", &length)],
                    &fetch,
                );
            }
            let found = fs::read(made.project.path("found")).unwrap();
            assert_eq!(blake3::hash(&found).to_hex().as_str(), line["blake3"].as_str().unwrap());
            assert_eq!(found, fs::read(made.project.path("data").join(&path)).unwrap());
        } else {
            by_hand(&target, &[("env", "dev"), ("id", &id)], &archive);
            let out = made.project.path("by-hand");
            assert_eq!(
                trees::differences(&made.project.path("data/files"), &out.join("files")),
                Vec::<String>::new()
            );
        }
    }
}

#[test]
fn a_sealed_archive_opens_by_the_commands_of_the_page() {
    let [_, digests, _, _, _, sealed] = <[String; 6]>::try_from(commands_of_the_page()).unwrap();
    let form = FORMS.iter().find(|form| form.name == "sealed archive").unwrap();
    let (made, id) = small_project(form);
    let target = made.target();
    let record = record(&target, &id);
    let identity = made.project.path("identity");
    let variables = [
        ("env", "dev"),
        ("id", &id),
        ("epoch", record["epoch"].as_str().unwrap()),
        ("identity", identity.to_str().unwrap()),
    ];
    assert_eq!(by_hand(&target, &variables[..2], &digests), "");
    let listed = by_hand(&target, &variables, &sealed);
    assert!(listed.lines().any(|name| name == "files/sub/second"), "{listed}");
    let unpack = sealed.lines().last().unwrap().replace("tar -t", "tar -xpC ../by-hand");
    by_hand(&target, &variables, &format!("mkdir ../by-hand\n{unpack}"));
    assert_eq!(
        trees::differences(&made.project.path("data/files"), &made.project.path("by-hand/files")),
        Vec::<String>::new()
    );
}

/// The line that was found, and the table of packs before it.
fn table_and_line(said: &str) -> (Value, Value) {
    let mut table = Value::Null;
    let mut found = None;
    for line in said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        if line["packs"].is_array() {
            table = line;
        } else {
            found = Some((table.clone(), line));
        }
    }
    found.unwrap()
}

const ID: &str = "20261121T215100Z-9c41";

/// A backup made to do harm, whose digests all fit: catalog lines, and the content of files, in one archive.
struct Forgery {
    lines: Vec<Value>,
    content: Vec<u8>,
    /// Lines in a segment.
    segment: usize,
}

impl Forgery {
    fn new() -> Self {
        let mut new = Self {
            lines: Vec::new(),
            content: Vec::new(),
            segment: 1000,
        };
        new.line(json!({ "path": "one", "kind": "folder", "mode": "0755" }));
        new
    }

    fn line(&mut self, line: Value) {
        self.lines.push(line);
    }

    fn file(&mut self, path: &str, data: &[u8]) {
        let digest = blake3::hash(data).to_hex().to_string();
        self.lines.push(
            json!({ "path": path, "kind": "file", "mode": "0644", "size": data.len(), "blake3": digest,
            "data": self.content.len() }),
        );
        self.content.extend_from_slice(data);
    }

    fn link(&mut self, path: &str, to: &str) {
        self.line(json!({ "path": path, "kind": "link", "mode": "0777", "target": to }));
    }

    fn hard_link(&mut self, path: &str, first: &str) {
        self.line(json!({ "path": path, "kind": "hard-link", "mode": "0644", "first": first }));
    }

    fn store(self, target: &Path, change: impl FnOnce(&mut Value)) {
        let put = |name: &str, bytes: &[u8]| {
            let path = target.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        };
        let hex = |bytes: &[u8]| blake3::hash(bytes).to_hex().to_string();
        let segments = self.lines.chunks(self.segment).map(|lines| {
            let text = lines.iter().map(Value::to_string).collect::<Vec<_>>().join("\n") + "\n";
            let segment = strongroom::codec::frames::compress_whole(text.as_bytes(), 3).unwrap();
            let name = format!("catalogs/{}.jsonl.zst", hex(&segment));
            put(&name, &segment);
            json!({ "name": name, "bytes": segment.len(), "plain-bytes": text.len(), "blake3": hex(text.as_bytes()),
                "lines": lines.len() })
        });
        let segments: Vec<Value> = segments.collect();
        let refs = strongroom::codec::frames::compress_whole(b"", 3).unwrap();
        let refs_name = format!("refs/{}.txt.zst", hex(&refs));
        let archive = format!("archives/dev/{ID}.tar");
        let mut record = json!({
            "format": 1, "id": ID, "run": "01980000-0000-7000-8000-000000000000", "sequence": 1, "parent": null,
            "environment": "dev", "pipeline": "backup", "instance": "host", "started": "x", "ended": "x",
            "sources": [{ "name": "one", "type": "files", "root": "/x", "entries": self.lines.len(), "bytes": 0, "warnings": 0 }],
            "archive": { "name": archive, "codec": "none", "bytes": 0, "plain-bytes": 0, "blake3": hex(&self.content) },
            "segments": segments,
            "refs": { "name": refs_name, "bytes": refs.len(), "blake3": hex(&refs) },
            "warnings": 0, "manifest": "", "tool": "test",
        });
        change(&mut record);
        put(&refs_name, &refs);
        put(&archive, &self.content);
        put(&format!("backups/dev/{ID}.json"), record.to_string().as_bytes());
        let script = pages::project().join("src/archive/recovery/recover.py");
        fs::copy(script, target.join("recover-1.py")).unwrap();
    }
}

/// What may not happen, by name; each among honest entries.
fn hostile() -> Vec<(&'static str, Vec<fn(&mut Forgery)>)> {
    vec![
        ("an absolute path", vec![|f| f.file("/outside/evil", b"x")]),
        ("a path that climbs", vec![|f| f.file("one/../../outside/evil", b"x")]),
        (
            "a path that climbs at its end",
            vec![|f| f.line(json!({ "path": "one/b/..", "kind": "folder", "mode": "0755" }))],
        ),
        ("an empty part", vec![|f| f.file("one//b", b"x")]),
        ("a NUL in a path", vec![|f| f.file("one/b\0c", b"x")]),
        (
            "a source that the record does not name",
            vec![|f| f.file("two/b", b"x")],
        ),
        ("the same entry twice", vec![|f| f.file("one/a", b"other")]),
        ("an entry out of order", vec![|f| f.file("one/0", b"x")]),
        (
            "a file below a link to the outside",
            vec![|f| f.link("one/b", "../../outside"), |f| f.file("one/b/evil", b"x")],
        ),
        (
            "a folder below a link",
            vec![|f| f.link("one/b", "../../outside"), |f| {
                f.line(json!({ "path": "one/b/evil", "kind": "folder", "mode": "0755" }))
            }],
        ),
        ("a file below a file", vec![|f| f.file("one/a/evil", b"x")]),
        (
            "a hard link to an absolute path",
            vec![|f| f.hard_link("one/b", "/etc/passwd")],
        ),
        (
            "a hard link that climbs",
            vec![|f| f.hard_link("one/b", "../../outside/present")],
        ),
        (
            "a hard link through a link",
            vec![|f| f.link("one/b", "../../outside"), |f| {
                f.hard_link("one/c", "b/present")
            }],
        ),
        (
            "a hard link to what is not there",
            vec![|f| f.hard_link("one/b", "nothing")],
        ),
        (
            "an unknown kind",
            vec![|f| f.line(json!({ "path": "one/b", "kind": "door", "mode": "0600" }))],
        ),
        (
            "a device without numbers",
            vec![|f| f.line(json!({ "path": "one/b", "kind": "char-device", "mode": "0600" }))],
        ),
        (
            "numbers beyond all bounds",
            vec![|f| {
                let device = json!([u64::MAX, u64::MAX]);
                f.line(json!({ "path": "one/b", "kind": "char-device", "mode": "0600", "device": device }));
            }],
        ),
        ("a line that is a list", vec![|f| f.line(json!([1, 2, 3]))]),
        (
            "content beyond the archive",
            vec![|f| {
                let digest = blake3::hash(b"x").to_hex().to_string();
                f.line(json!({ "path": "one/b", "kind": "file", "mode": "0644", "size": 1_u64 << 40, "blake3": digest, "data": 3 }));
            }],
        ),
        (
            "extents that overlap",
            vec![|f| {
                f.file("one/b", &[1; 20]);
                f.lines.last_mut().unwrap()["size"] = json!(100);
                f.lines.last_mut().unwrap()["extents"] = json!([[0, 10], [5, 10]]);
            }],
        ),
    ]
}

#[test]
fn hostile_lines_are_refused_by_name_and_honest_ones_are_restored() {
    for (what, lines) in hostile() {
        let dir = tempfile::tempdir().unwrap();
        let (target, outside) = (dir.path().join("target"), dir.path().join("outside"));
        fs::create_dir_all(&outside).unwrap();
        fs::write(outside.join("present"), "as it was").unwrap();
        let before = trees::facts(&outside);
        let mut forgery = Forgery::new();
        forgery.file("one/a", b"content");
        for line in lines {
            line(&mut forgery);
        }
        forgery.file("one/z", b"more");
        forgery.store(&target, |_| {});
        let said = script(&target, &["restore", ID, "out"]).ended(1);
        assert!(
            said.err.lines().any(|line| line.starts_with("WRONG")),
            "{what}: {}",
            said.err
        );
        assert!(!said.err.contains("Traceback"), "{what}: {}", said.err);
        assert_eq!(
            trees::compare(before, trees::facts(&outside)),
            Vec::<String>::new(),
            "{what}"
        );
        assert_eq!(fs::read(dir.path().join("out/one/a")).unwrap(), b"content", "{what}");
        assert_eq!(
            fs::read(dir.path().join("out/one/z")).unwrap(),
            b"more",
            "{what}: {}",
            said.err
        );
        for entry in trees::facts(&dir.path().join("out")).into_keys() {
            assert!(!String::from_utf8_lossy(&entry).contains("evil"), "{what}");
        }
        let checked = script(&target, &["check", ID]).ended(1);
        assert!(!checked.err.contains("Traceback"), "{what}: {}", checked.err);
    }
}

#[test]
fn a_record_that_names_objects_elsewhere_or_is_of_a_newer_format_is_refused() {
    let changes: [(&str, fn(&mut Value)); 6] = [
        ("a newer format", |record| record["format"] = json!(2)),
        ("a segment elsewhere", |record| {
            record["segments"][0]["name"] = json!("catalogs/../../outside/present")
        }),
        ("refs elsewhere", |record| {
            record["refs"]["blake3"] = json!("../../outside/present")
        }),
        ("another id", |record| record["id"] = json!("20261121T215100Z-0000")),
        ("a source that climbs", |record| {
            record["sources"][0]["name"] = json!("..")
        }),
        ("no segments", |record| record["segments"] = json!(7)),
    ];
    for (what, change) in changes {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("target");
        Forgery::new().store(&target, change);
        for words in [&["restore", ID, "out"][..], &["check", ID], &["list"], &["check"]] {
            let said = script(&target, words).ended(1);
            assert!(
                said.err.starts_with("WRONG") && !said.err.contains("Traceback"),
                "{what}: {}",
                said.err
            );
        }
        assert!(!dir.path().join("out").exists(), "{what}");
    }
}

#[test]
fn a_script_that_was_changed_in_the_target_is_found_and_stops_no_restore() {
    let (made, id) = small_project(&FORMS[1]);
    let script = made.target().join("recover-1.py");
    fs::write(&script, fs::read_to_string(&script).unwrap() + "import os\n").unwrap();
    let verified = made.project.run(&["verify", &id, "--env", "dev"]).ended(4);
    assert!(verified.problem().1.contains("recover-1.py"), "{:#}", verified.json);
    let checked = made.script(&made.target(), &["check", &id, "--objects"]).ended(1);
    assert!(checked.err.contains("recover-1.py is not the one"), "{}", checked.err);
    made.restore(&id, &["--to", made.project.path("out").to_str().unwrap()])
        .ended(0);
    // The next backup lays its own beside it.
    made.backup();
    made.project.run(&["verify", &id, "--env", "dev"]).ended(0);
}

#[test]
fn the_script_reads_as_python_3_9() {
    let path = pages::project().join("src/archive/recovery/recover.py");
    let program = "import ast, sys; ast.parse(open(sys.argv[1], encoding='utf-8').read(), feature_version=(3, 9))";
    tool("python3", &["-c", program, path.to_str().unwrap()], Path::new("/"));
}

#[test]
fn memory_does_not_grow_with_the_catalog() {
    let dir = tempfile::tempdir().unwrap();
    let mut forgery = Forgery::new();
    forgery.segment = 2000;
    for number in 0..400_000 {
        forgery.line(json!({ "path": format!("one/{number:06}"), "kind": "folder", "mode": "0755", "mtime": [1, 2] }));
    }
    let lines = forgery.lines.len();
    forgery.store(&dir.path().join("target"), |_| {});
    // KiB of address space: half of what all of these lines take at once.
    let limited = "ulimit -v 200000; exec python3 target/recover-1.py list 2026 > listed";
    let said = Said::of(&command("sh", &["-c", limited], dir.path()).output().unwrap());
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert_eq!(
        fs::read_to_string(dir.path().join("listed")).unwrap().lines().count(),
        lines
    );
}
