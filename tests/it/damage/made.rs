//! A project with three backups in two targets, what each of them needs, and how an object is damaged.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use strongroom::archive::epoch::HostEpoch;
use strongroom::archive::layout::{Kind, parse_key};
use strongroom::archive::refs::Refs;

use crate::chunks::{Held, Random, SOURCES, objects};
use crate::projects::{Project, Ran};
use crate::sealed::Sealed;

/// The backups by their age.
pub(super) const OLDEST: usize = 0;
pub(super) const NEWEST: usize = 2;
const OUT: &str = "out";

/// How the backups are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// In packs, sealed.
    SealedChunks,
    /// As one archive each.
    Archive,
}

/// What becomes of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    Deleted,
    Cut,
    Flipped,
    Swapped,
    /// Something stands behind it.
    Grown,
}

impl Damage {
    pub(super) const ALL: [Self; 5] = [Self::Deleted, Self::Cut, Self::Flipped, Self::Swapped, Self::Grown];
}

pub(super) struct Made {
    project: Project,
    pub(super) form: Form,
    recipients: Vec<String>,
    pub(super) ids: Vec<String>,
    held: Vec<Held>,
    /// What the backups are sealed to.
    pub(super) epoch: String,
}

impl Made {
    pub(super) fn new(form: Form) -> Self {
        let (project, recipients) = match form {
            Form::SealedChunks => {
                let Sealed { project, recipients } = Sealed::new(SOURCES);
                (project, recipients)
            }
            Form::Archive => (Project::new(SOURCES.split("[[step]]").next().unwrap()), Vec::new()),
        };
        let path = project.path("pipelines/backup.toml");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("[\"local\"]", "[\"local\", \"second\"]")).unwrap();
        let mut made = Self {
            project,
            form,
            recipients,
            ids: Vec::new(),
            held: Vec::new(),
            epoch: String::new(),
        };
        made.environment("");
        made.backups();
        made
    }

    fn environment(&self, signers: &str) {
        let mut text = format!("[target.second]\nurl = \"file:second\"\n{signers}");
        if !self.recipients.is_empty() {
            text.push_str(&format!("\n[encryption]\nrecipients = {:?}\n", self.recipients));
        }
        self.project.environment("dev", &text);
    }

    /// Five backups, of which two are let go again with a sweep behind each: so there are lists of both.
    fn backups(&mut self) {
        let data = self.project.path("data");
        plant(&data);
        for round in 0..5 {
            change(&data, round);
            let id = self.run(&["backup"]).ended(0).id();
            if round == 0 {
                let shown = self.run(&["keys", "show"]).ended(0);
                let signer = shown.json["signer"].as_str().unwrap();
                let host = signer.split('+').next().unwrap();
                self.environment(&format!("[signers]\n\"{host}\" = \"{signer}\"\n"));
            }
            if round % 2 == 1 {
                self.ids.push(id);
                continue;
            }
            self.ids.push(id);
            self.held.push(Held::of(&data));
        }
        if let Some(key) = objects(&self.project, "keys").into_keys().next() {
            parse_key(&key).unwrap().0.clone_into(&mut self.epoch);
        }
        for gone in [3, 1] {
            let id = self.ids.remove(gone);
            self.run(&["forget", &id]).ended(0);
            self.run(&["sweep"]).ended(0);
        }
    }

    /// Runs the program without a key.
    pub(super) fn run(&self, words: &[&str]) -> Ran {
        self.project.run(&[words, &["--env", "dev"]].concat())
    }

    /// The same with what opens the backups.
    pub(super) fn open(&self, words: &[&str]) -> Ran {
        let key: &[&str] = match self.form {
            Form::SealedChunks => &["--identity", "one.key"],
            Form::Archive => &[],
        };
        self.run(&[words, key].concat())
    }

    pub(super) fn restore(&self, backup: usize, more: &[&str]) -> Ran {
        drop(fs::remove_dir_all(self.project.path(OUT)));
        self.open(&[&["restore", &self.ids[backup], "--to", OUT], more].concat())
    }

    pub(super) fn restore_latest(&self) -> Ran {
        drop(fs::remove_dir_all(self.project.path(OUT)));
        self.open(&["restore", "latest", "--to", OUT])
    }

    /// What is not as it was when the backup was made.
    pub(super) fn restored(&self, backup: usize) -> Option<String> {
        let is = Held::of(&self.project.path(OUT));
        (is != self.held[backup]).then(|| format!("backup {backup} is not what it was: {is:?}"))
    }

    /// What is missing of it; all the rest is as it was.
    pub(super) fn lost(&self, backup: usize) -> BTreeSet<String> {
        self.held[backup].lost(&Held::of(&self.project.path(OUT)))
    }

    /// Whether the path was restored.
    pub(super) fn has(&self, path: &str) -> bool {
        self.project.path(OUT).join(path).exists()
    }

    pub(super) fn left_anything(&self) -> bool {
        let left = fs::read_dir(self.project.path(OUT));
        left.is_ok_and(|mut entries| entries.next().is_some())
    }

    pub(super) fn path(&self, object: &str) -> PathBuf {
        self.project.path("backups").join(object)
    }

    pub(super) fn objects(&self) -> Vec<String> {
        objects(&self.project, "").into_keys().collect()
    }

    /// Whether a backup cannot be had without the object.
    pub(super) fn needs(&self, backup: usize, object: &str) -> bool {
        let known = match Kind::of(object) {
            Some(Kind::Repository | Kind::Key) => return true,
            Some(Kind::Recovery | Kind::SweepList | Kind::Sums) | None => return false,
            Some(Kind::Record | Kind::Signature) => return object.contains(&self.ids[backup]),
            Some(Kind::Archive | Kind::Catalog | Kind::Pack | Kind::Refs) => self.needed(backup),
        };
        known.contains(object)
    }

    /// The objects that a backup names; from the second target, which nobody damages.
    fn needed(&self, backup: usize) -> BTreeSet<String> {
        let name = format!("second/backups/dev/{}.json", self.ids[backup]);
        let record: serde_json::Value = serde_json::from_slice(&fs::read(self.project.path(&name)).unwrap()).unwrap();
        let refs = record["refs"]["name"].as_str().unwrap();
        let stored = fs::read(self.project.path("second").join(refs)).unwrap();
        let named = Refs::from_object(&stored).unwrap();
        named
            .iter()
            .map(|one| one.name.clone())
            .chain([refs.to_owned()])
            .collect()
    }

    /// One object of each kind or, where backups share such, one that only the newest needs and one that all do.
    pub(super) fn chosen(&self) -> BTreeMap<Kind, Vec<String>> {
        let mut by_kind: BTreeMap<Kind, Vec<String>> = BTreeMap::new();
        let (newest, oldest) = (self.needed(NEWEST), self.needed(OLDEST));
        let mut put = |object: &String| {
            let kind = Kind::of(object).unwrap();
            by_kind.entry(kind).or_default().push(object.clone());
        };
        for object in self.objects() {
            let id = &self.ids[NEWEST];
            match Kind::of(&object).unwrap() {
                Kind::Repository | Kind::Recovery | Kind::Key => put(&object),
                Kind::Record | Kind::Signature | Kind::Sums if object.contains(id) => put(&object),
                Kind::Archive | Kind::Catalog | Kind::Pack | Kind::Refs if newest.contains(&object) => put(&object),
                Kind::SweepList => put(&object),
                Kind::Record
                | Kind::Signature
                | Kind::Sums
                | Kind::Archive
                | Kind::Catalog
                | Kind::Pack
                | Kind::Refs => {}
            }
        }
        for objects in by_kind.values_mut() {
            let (shared, own): (Vec<String>, Vec<String>) = objects.drain(..).partition(|one| oldest.contains(one));
            objects.extend(own.into_iter().take(1).chain(shared.into_iter().take(1)));
        }
        by_kind
    }

    pub(super) fn damage(&self, object: &str, damage: Damage) {
        let path = self.path(object);
        let mut bytes = fs::read(&path).unwrap();
        match damage {
            Damage::Deleted => return fs::remove_file(path).unwrap(),
            Damage::Cut => bytes.truncate(bytes.len() / 2),
            Damage::Flipped => {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            }
            Damage::Swapped => bytes = self.other(object),
            Damage::Grown => bytes.extend_from_slice(&[0xfe; 5000]),
        }
        fs::write(path, bytes).unwrap();
    }

    /// What another object of the kind holds.
    fn other(&self, object: &str) -> Vec<u8> {
        let kind = Kind::of(object).unwrap();
        let bytes = fs::read(self.path(object)).unwrap();
        match kind {
            Kind::Repository => {
                let text = String::from_utf8(bytes).unwrap();
                let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
                json["repository"] = "0".repeat(json["repository"].as_str().unwrap().len()).into();
                serde_json::to_vec_pretty(&json).unwrap()
            }
            Kind::Key => {
                let recipients: Vec<_> = self.recipients.iter().map(|text| text.parse().unwrap()).collect();
                HostEpoch::create(&recipients, "2026-11-21T21:51:00Z").unwrap().objects[0]
                    .1
                    .to_vec()
            }
            Kind::Recovery
            | Kind::Record
            | Kind::Signature
            | Kind::Archive
            | Kind::Sums
            | Kind::Catalog
            | Kind::Pack
            | Kind::Refs
            | Kind::SweepList => {
                let mut others = self.objects().into_iter().filter(|other| Kind::of(other) == Some(kind));
                let other = others.find(|other| other != object && fs::read(self.path(other)).unwrap() != bytes);
                fs::read(self.path(&other.unwrap())).unwrap()
            }
        }
    }
}

/// Files of both sizes, further names of them, holes, a log and a database.
fn plant(data: &std::path::Path) {
    for folder in ["files/deep", "events", "db"] {
        fs::create_dir_all(data.join(folder)).unwrap();
    }
    let mut random = Random::new(8);
    for number in 0..6 {
        fs::write(data.join(format!("files/deep/{number}")), random.bytes(20_000)).unwrap();
    }
    fs::write(data.join("files/large"), random.bytes(1_500_000)).unwrap();
    fs::hard_link(data.join("files/large"), data.join("files/second")).unwrap();
    std::os::unix::fs::symlink("deep/1", data.join("files/link")).unwrap();
    let holes = fs::File::create(data.join("files/holes")).unwrap();
    holes.write_all_at(&random.bytes(70_000), 3 << 20).unwrap();
    let database = rusqlite::Connection::open(data.join("db/main.db")).unwrap();
    database
        .execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, value BLOB)")
        .unwrap();
}

/// Something new of each source.
fn change(data: &std::path::Path, round: u64) {
    let mut random = Random::new(100 + round);
    fs::write(data.join(format!("files/new-{round}")), random.bytes(30_000)).unwrap();
    fs::write(data.join("files/deep/1"), random.bytes(20_000)).unwrap();
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(data.join("events/000000.jsonl"));
    writeln!(log.unwrap(), "{{\"event\":{round}}}").unwrap();
    let database = rusqlite::Connection::open(data.join("db/main.db")).unwrap();
    database
        .execute("INSERT INTO t (value) VALUES (?1)", [random.bytes(3000)])
        .unwrap();
}
