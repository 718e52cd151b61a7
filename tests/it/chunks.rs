//! Backups in chunks: whatever changes between two of them, each restores what was there, and what did not change is neither read nor
//! stored again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt};
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde_json::Value;

use crate::projects::{Project, Ran};
use crate::trees::{self, Facts};

/// A random number generator whose numbers are known.
pub(crate) struct Random(blake3::OutputReader);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(
            blake3::Hasher::new_derive_key("tests of backups in chunks")
                .update(&seed.to_le_bytes())
                .finalize_xof(),
        )
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_le_bytes(bytes) % bound
    }

    /// Bytes, about half of which can be compressed away.
    pub(crate) fn bytes(&mut self, length: u64) -> Vec<u8> {
        let mut bytes = vec![0; length as usize];
        self.0.fill(&mut bytes);
        bytes.chunks_mut(64).step_by(2).for_each(|half| half.fill(b'x'));
        bytes
    }
}

pub(crate) const SOURCES: &str = r#"
[[step.source]]
name = "files"
type = "files"
path = "data/files"
[[step.source]]
name = "events"
type = "append-log"
path = "data/events"
[[step.source]]
name = "db"
type = "sqlite"
path = "data/db"
[[step]]
id = "change"
type = "deduplicate"
"#;

/// What the sources hold at one moment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Held {
    files: BTreeMap<Vec<u8>, Facts>,
    events: BTreeMap<Vec<u8>, Facts>,
    rows: Vec<(i64, Vec<u8>)>,
}

impl Held {
    pub(crate) fn of(root: &Path) -> Self {
        let path = root.join("db/main.db");
        let rows = if path.exists() { rows(&path) } else { Vec::new() };
        Self {
            files: trees::facts(&root.join("files")),
            events: trees::facts(&root.join("events")),
            rows,
        }
    }
}

impl Held {
    /// What `rest` lacks of it, as paths of a backup; everything else must be as it was.
    pub(crate) fn lost(&self, rest: &Self) -> BTreeSet<String> {
        let mut lost = BTreeSet::new();
        for (source, was, is) in [
            ("files", &self.files, &rest.files),
            ("events", &self.events, &rest.events),
        ] {
            for (path, one) in was {
                // Of two names the first may be lost, or both.
                let alone = |facts: &Facts| Facts {
                    first_name: None,
                    ..facts.clone()
                };
                match is.get(path) {
                    Some(other) => assert_eq!(alone(one), alone(other), "{}", String::from_utf8_lossy(path)),
                    None => drop(lost.insert(format!("{source}/{}", String::from_utf8_lossy(path)))),
                }
            }
            assert!(is.keys().all(|path| was.contains_key(path)), "{is:?}");
        }
        if rest.rows.is_empty() && !self.rows.is_empty() {
            lost.insert("db/main.db".to_owned());
        } else {
            assert_eq!(self.rows, rest.rows);
        }
        lost
    }
}

pub(crate) fn rows(path: &Path) -> Vec<(i64, Vec<u8>)> {
    let database = Connection::open(path).unwrap();
    let mut query = database.prepare("SELECT id, value FROM t ORDER BY id").unwrap();
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

/// Data that changes.
pub(crate) struct Changing {
    root: PathBuf,
    random: Random,
    made: u64,
}

impl Changing {
    pub(crate) fn new(root: PathBuf, seed: u64) -> Self {
        for folder in ["files", "events", "db", "files/work/inner"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        let mut new = Self {
            root,
            random: Random::new(seed),
            made: 0,
        };
        for _ in 0..40 {
            new.create_small();
        }
        new.create_large();
        new.create_large();
        let database = new.database();
        database
            .execute_batch("PRAGMA page_size = 4096; CREATE TABLE t (id INTEGER PRIMARY KEY, value BLOB)")
            .unwrap();
        drop(database);
        for _ in 0..8 {
            new.insert();
            new.log();
        }
        new
    }

    fn database(&self) -> Connection {
        Connection::open(self.root.join("db/main.db")).unwrap()
    }

    fn insert(&mut self) {
        let database = self.database();
        for _ in 0..60 {
            let length = self.random.below(9000);
            let value = self.random.bytes(length);
            database.execute("INSERT INTO t (value) VALUES (?1)", [value]).unwrap();
        }
    }

    fn log(&mut self) {
        let segment = self.made / 10;
        let path = self.root.join(format!("events/{segment:06}.jsonl"));
        let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        for _ in 0..self.random.below(3000) {
            let number = self.random.below(1 << 40);
            writeln!(file, "{{\"event\":{number},\"of\":\"something\"}}").unwrap();
        }
    }

    fn name(&mut self) -> PathBuf {
        self.made += 1;
        let folder = ["files/work", "files/work/inner", "files"][self.random.below(3) as usize];
        let folder = self.root.join(folder);
        let folder = if folder.is_dir() {
            folder
        } else {
            self.root.join("files")
        };
        folder.join(format!("{:04}-{}", self.random.below(10_000), self.made))
    }

    fn create_small(&mut self) {
        let length = self.random.below(3000);
        let content = self.random.bytes(length);
        fs::write(self.name(), content).unwrap();
    }

    fn create_large(&mut self) {
        let length = (1 << 20) + self.random.below(3 << 20);
        let content = self.random.bytes(length);
        fs::write(self.name(), content).unwrap();
    }

    /// Regular files below `files`, in an order of their own.
    fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut folders = vec![self.root.join("files")];
        while let Some(folder) = folders.pop() {
            let mut names: Vec<_> = fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .collect();
            names.sort();
            for path in names {
                let kind = fs::symlink_metadata(&path).unwrap().file_type();
                if kind.is_dir() {
                    folders.push(path);
                } else if kind.is_file() {
                    files.push(path);
                }
            }
        }
        files
    }

    fn any(&mut self) -> PathBuf {
        let files = self.files();
        files[self.random.below(files.len() as u64) as usize].clone()
    }

    pub(crate) fn change(&mut self) {
        match self.random.below(18) {
            0 | 1 => self.create_small(),
            2 => self.create_large(),
            3 | 4 => self.overwrite(),
            5 => {
                let path = self.any();
                let more = self.random.bytes(700_000);
                OpenOptions::new()
                    .append(true)
                    .open(path)
                    .unwrap()
                    .write_all(&more)
                    .unwrap();
            }
            6 => {
                let path = self.any();
                let size = fs::metadata(&path).unwrap().len();
                let new = self.random.below(size + 1);
                OpenOptions::new().write(true).open(path).unwrap().set_len(new).unwrap();
            }
            7 => fs::remove_file(self.any()).unwrap(),
            8 => {
                let from = self.any();
                fs::rename(from, self.name()).unwrap();
            }
            9 => {
                let mode = 0o400 + self.random.below(0o300) as u32;
                fs::set_permissions(self.any(), PermissionsExt::from_mode(mode)).unwrap();
            }
            10 => {
                let path = self.any();
                let value = self.random.bytes(20);
                rustix::fs::setxattr(path, "user.test", &value, rustix::fs::XattrFlags::empty()).unwrap();
            }
            11 => {
                let from = self.any();
                fs::hard_link(from, self.name()).unwrap();
            }
            12 => {
                let from = self.any();
                fs::copy(from, self.name()).unwrap();
            }
            13 => {
                let path = self.any();
                fs::remove_file(&path).unwrap();
                match self.random.below(3) {
                    0 => fs::create_dir(path).unwrap(),
                    1 => std::os::unix::fs::symlink("elsewhere", path).unwrap(),
                    _ => drop(fs::File::create(path).unwrap()),
                }
            }
            14 => {
                let file = fs::File::create(self.name()).unwrap();
                file.set_len(3 << 20).unwrap();
                let part = self.random.bytes(200_000);
                file.write_all_at(&part, self.random.below(2 << 20)).unwrap();
            }
            15 => {
                let moved = self.root.join("files").join(format!("moved-{}", self.made));
                self.made += 1;
                fs::rename(self.root.join("files/work"), moved).unwrap();
                fs::create_dir_all(self.root.join("files/work")).unwrap();
            }
            16 => self.log(),
            _ => self.change_rows(),
        }
    }

    /// Other bytes in a file of the same size and, as far as a program can make it so, the same times.
    fn overwrite(&mut self) {
        let path = self.any();
        let before = fs::metadata(&path).unwrap();
        let length = self.random.below(before.len() + 1).min(5000);
        let offset = self.random.below(before.len() - length + 1);
        let content = self.random.bytes(length);
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&content, offset).unwrap();
        trees::set_time(&path, before.mtime(), before.mtime_nsec());
    }

    fn change_rows(&mut self) {
        match self.random.below(4) {
            0 => self.insert(),
            1 => {
                let third = self.random.below(20).cast_signed();
                let sql = "UPDATE t SET value = randomblob(length(value)) WHERE id % 20 = ?1";
                self.database().execute(sql, [third]).unwrap();
            }
            2 => {
                let third = self.random.below(20).cast_signed();
                self.database()
                    .execute("DELETE FROM t WHERE id % 20 = ?1", [third])
                    .unwrap();
            }
            _ => self.database().execute_batch("VACUUM").unwrap(),
        }
    }
}

fn number(ran: &Ran, key: &str) -> u64 {
    ran.json[key]
        .as_u64()
        .unwrap_or_else(|| panic!("{key}: {:#}", ran.json))
}

/// Lines of a comparison, to be shown where there are any.
pub(crate) fn same(what: &str, was: &Held, restored: &Path) {
    let is = Held::of(restored);
    assert_eq!(
        trees::compare(was.files.clone(), is.files),
        Vec::<String>::new(),
        "{what}"
    );
    assert_eq!(
        trees::compare(was.events.clone(), is.events),
        Vec::<String>::new(),
        "{what}"
    );
    assert!(was.rows == is.rows, "{what}: the rows of the database differ");
}

#[test]
fn whatever_changes_between_backups_each_restores_what_was_there() {
    let project = Project::new(SOURCES);
    let mut data = Changing::new(project.path("data"), 1);
    trees::build_into(&project.path("data/files/kinds"));
    let mut made = Vec::new();
    let mut unread = 0;
    for round in 0..14 {
        let ran = project.backup(&[]);
        // Sockets are told of in each backup.
        assert!(ran.code == 0 || ran.code == 3, "{}{:#}", ran.stderr, ran.json);
        unread += number(&ran, "unread-files");
        made.push((ran.id(), Held::of(&project.path("data"))));
        for _ in 0..round {
            data.change();
        }
    }
    assert!(unread > 100, "files that have not changed are not read: {unread}");
    for (number, (id, was)) in made.iter().enumerate() {
        let verified = project.run(&["verify", id, "--env", "dev"]);
        verified.ended(0);
        let out = format!("out/{number}");
        let restored = project.restore(id, &["--to", &out]);
        assert!(restored.code == 0 || restored.code == 3, "{}", restored.stderr);
        same(&format!("backup {number}, {id}"), was, &project.path(&out));
    }
}

/// Names of objects below a folder of the target, with their sizes.
pub(crate) fn objects(project: &Project, below: &str) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    let mut folders = vec![project.path("backups").join(below)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().map(Result::unwrap) {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else {
                let path = entry.path();
                let name = path.strip_prefix(project.path("backups")).unwrap();
                found.insert(name.display().to_string(), entry.metadata().unwrap().len());
            }
        }
    }
    found
}

#[test]
fn what_has_not_changed_is_neither_read_nor_stored_and_what_moved_is_not_stored() {
    let project = Project::new(SOURCES);
    let data = Changing::new(project.path("data"), 2);
    // Two thousand seconds ago, and so long ago that nobody could have changed it since: the clock of the file system cannot be
    // set back, so the status of a change is what a test cannot have old.
    let first = project.backup(&[]).ended(0);
    let packs = objects(&project, "packs");
    assert_eq!(number(&first, "unread-files"), 0);
    let second = project.backup(&[]).ended(0);
    assert_eq!(
        objects(&project, "packs"),
        packs,
        "a backup of the same data stores no pack"
    );
    assert_eq!(number(&second, "new-bytes"), 0);
    // Everything moves, and one copy is made.
    fs::rename(project.path("data/files/work"), project.path("data/files/another")).unwrap();
    let some = data
        .files()
        .into_iter()
        .find(|path| fs::metadata(path).unwrap().len() > 1 << 20)
        .unwrap();
    fs::copy(some, project.path("data/files/copy")).unwrap();
    let third = project.backup(&[]).ended(0);
    assert_eq!(
        number(&third, "new-bytes"),
        0,
        "content that was moved or copied is found"
    );
    assert_eq!(objects(&project, "packs"), packs);
}

#[test]
fn a_host_that_lost_its_memory_stores_anew_what_it_cannot_know_and_says_so_where_it_is_damaged() {
    let project = Project::new(SOURCES);
    let _data = Changing::new(project.path("data"), 3);
    project.backup(&[]).ended(0);
    let second = project.backup(&[]).ended(0);
    assert_eq!(number(&second, "new-bytes"), 0);
    let index = find(&project.path(".strongroom"), "index");
    let mut bytes = fs::read(&index).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&index, bytes).unwrap();
    let third = project.backup(&[]).ended(3);
    assert_eq!(third.problem().0, "memory-lost");
    assert!(number(&third, "new-bytes") > 0);
    project.run(&["verify", "latest", "--env", "dev"]).ended(0);
    fs::remove_dir_all(project.path(".strongroom/dev/memory")).unwrap();
    let fourth = project.backup(&[]).ended(0);
    assert!(number(&fourth, "new-bytes") > 0);
    let fifth = project.backup(&[]).ended(0);
    assert_eq!(number(&fifth, "new-bytes"), 0);
}

fn find(folder: &Path, name: &str) -> PathBuf {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.file_name().is_some_and(|found| found == name) {
                return entry;
            }
        }
    }
    panic!("no `{name}`");
}

#[test]
fn a_changed_database_stores_the_pages_that_changed() {
    let project = Project::new(SOURCES);
    let mut data = Changing::new(project.path("data"), 4);
    for _ in 0..20 {
        data.insert();
    }
    project.backup(&[]).ended(0);
    data.database()
        .execute("UPDATE t SET value = randomblob(10) WHERE id IN (7, 500, 901)", [])
        .unwrap();
    let second = project.backup(&[]).ended(0);
    let new = number(&second, "new-bytes");
    assert!(new > 0 && new < 100_000, "a few pages of 4 KiB: {new}");
    let was = Held::of(&project.path("data"));
    project.restore("latest", &["--to", "out"]).ended(0);
    same("after an update", &was, &project.path("out"));
}

#[test]
fn a_log_that_was_rewritten_in_a_file_that_looks_the_same_is_not_looked_for_there() {
    // What is not read cannot be compared; the promise is that of size, times and inode. `read = "all"` compares all the same.
    let project = Project::new(&SOURCES.replace("\"deduplicate\"", "\"deduplicate\"\nread = \"all\""));
    let _data = Changing::new(project.path("data"), 5);
    project.backup(&[]).ended(0);
    let second = project.backup(&[]).ended(0);
    assert_eq!(number(&second, "unread-files"), 0);
    assert_eq!(number(&second, "new-bytes"), 0);
    let log = find(&project.path("data/events"), "000004.jsonl");
    let file = OpenOptions::new().write(true).open(log).unwrap();
    file.write_all_at(b"!", 2).unwrap();
    let third = project.backup(&[]).ended(5);
    assert_eq!(third.problem().0, "log-rewritten");
}

#[test]
fn a_record_names_packs_and_no_object_is_needed_that_is_not_there() {
    let project = Project::new(SOURCES);
    let mut data = Changing::new(project.path("data"), 6);
    for _ in 0..3 {
        project.backup(&[]).ended(0);
        (0..5).for_each(|_| data.change());
    }
    let last = project.backup(&[]).ended(0);
    let record = fs::read(project.path(&format!("backups/backups/dev/{}.json", last.id()))).unwrap();
    let record: Value = serde_json::from_slice(&record).unwrap();
    assert!(record["archive"].is_null());
    assert!(record["packs"]["count"].as_u64().unwrap() > 0);
    let sums = fs::read_to_string(project.path(&format!("backups/sums/dev/{}.b3", last.id()))).unwrap();
    let mut named = 0;
    for line in sums.lines() {
        let (digest, name) = line.split_once("  ").unwrap();
        let stored = fs::read(project.path("backups").join(name)).unwrap();
        assert_eq!(blake3::hash(&stored).to_hex().as_str(), digest, "{name}");
        named += u64::from(name.starts_with("packs/"));
    }
    assert_eq!(Some(named), record["packs"]["count"].as_u64());
}
