//! Disks that are full, page by page: of the sources, of the state folder, of the target, of the destinations. Whatever room
//! is left, a run has done everything or nothing, and says which.
//!
//! Each test mounts one small file system in memory and leaves as many pages free as its round has, so that a run meets the
//! full disk at each of its writes in turn. Two of them are fed a writer as well that passes over what a full disk says, and must
//! find it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::namespace::Namespace;
use crate::projects::{Project, Ran};

const SOURCES: &str = r#"
[[step.source]]
name = "projections"
type = "sqlite"
path = "data/projections/*.db"
[[step.source]]
name = "events"
type = "append-log"
path = "data/events"
[[step.source]]
name = "artifacts"
type = "files"
path = "data/artifacts"
"#;

/// Bytes of a page, which is what a file system in memory gives away.
const PAGE: u64 = 4096;

/// Each a page of its own, though nobody who adds up their sizes would think so.
const FILES: usize = 12;

/// A project in which one folder is a small disk.
struct World {
    project: Project,
    namespace: Namespace,
    small: PathBuf,
}

impl World {
    fn new(small: &str, size: &str) -> Self {
        let project = Project::new(SOURCES);
        project.environment("dev", "state = \"state/dev\"");
        let folder = project.path(small);
        Self {
            namespace: Namespace::with_sized_mounts(&[(&folder, size)]),
            small: folder,
            project,
        }
    }

    fn run(&self, line: &str) -> Ran {
        let words: Vec<&str> = line.split(' ').collect();
        self.project.run_in(&self.namespace, &words)
    }

    /// Where a path of the project is reached from outside the namespace.
    fn at(&self, path: &str) -> PathBuf {
        self.namespace.outside(&self.project.path(path))
    }

    /// Leaves so many pages free on the small disk.
    fn leave(&self, pages: u64) {
        let small = self.namespace.outside(&self.small);
        let filler = small.join("filler");
        let mut file = fs::File::create(&filler).unwrap();
        let stat = rustix::fs::statvfs(&small).unwrap();
        let block = vec![1; usize::try_from(PAGE).unwrap()];
        for _ in pages..stat.f_bavail * stat.f_frsize / PAGE {
            file.write_all(&block).unwrap();
        }
        let stat = rustix::fs::statvfs(&small).unwrap();
        assert_eq!(
            stat.f_bavail * stat.f_frsize / PAGE,
            pages,
            "the disk has more room than it may have"
        );
    }

    fn free(&self) {
        fs::remove_file(self.namespace.outside(&self.small).join("filler")).unwrap();
    }

    /// Writes the data, of which everything says `word`.
    fn write(&self, word: &str) {
        for folder in ["projections", "events", "artifacts"] {
            fs::create_dir_all(self.at("data").join(folder)).unwrap();
        }
        for number in 0..FILES {
            fs::write(self.at(&format!("data/artifacts/{number}")), word).unwrap();
        }
        let log = self.at("data/events/1.jsonl");
        let before = fs::read_to_string(&log).unwrap_or_default();
        fs::write(log, format!("{before}{{\"word\":\"{word}\"}}\n")).unwrap();
        self.sqlite(&format!(
            "CREATE TABLE IF NOT EXISTS t (x); DELETE FROM t; INSERT INTO t VALUES ('{word}')"
        ))
        .unwrap();
    }

    /// What SQLite says to this; nothing where it refuses. The library would look for the file outside of the namespace.
    fn sqlite(&self, statements: &str) -> Option<String> {
        let mut shell = self.namespace.command(&self.project.path("data"), Path::new("sqlite3"));
        let output = shell.args(["projections/tasks.db", statements]).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        output.status.success().then(|| said.trim_end().to_owned())
    }

    /// What the data says everywhere; nothing where it does not say one thing.
    fn says(&self) -> Option<String> {
        let first = fs::read_to_string(self.at("data/artifacts/0")).ok()?;
        let files = (0..FILES).all(|number| {
            fs::read_to_string(self.at(&format!("data/artifacts/{number}"))).is_ok_and(|word| word == first)
        });
        let log = fs::read_to_string(self.at("data/events/1.jsonl")).ok()?;
        let log = log.lines().last()? == format!("{{\"word\":\"{first}\"}}");
        let database = self.sqlite("SELECT x FROM t")?;
        (files && log && database == first).then_some(first)
    }

    fn backups(&self) -> usize {
        let names = fs::read_dir(self.at("backups/backups/dev"))
            .into_iter()
            .flatten()
            .map(Result::unwrap);
        names
            .filter(|entry| entry.path().extension().is_some_and(|e| e == "json"))
            .count()
    }

    /// The newest backup can be restored, and says `word`.
    fn restores(&self, word: &str) {
        fs::remove_dir_all(self.project.path("look")).ok();
        self.run("restore latest --env dev --to look").ended(0);
        let file = fs::read_to_string(self.project.path("look/artifacts/0")).unwrap();
        assert_eq!(file, word);
    }
}

/// The run met the full disk: it says so, what became of the data, and what to do.
fn met_it(ran: &Ran, states: &[&str]) {
    assert_eq!(ran.code, 1, "{}\n{:#}", ran.stderr, ran.json);
    let problems = ran.json["diagnostics"].as_array().unwrap();
    let of = |code: &str| problems.iter().find(|problem| problem["code"] == code).cloned();
    let problem = of("disk-full").unwrap_or_else(|| panic!("{}\n{:#}", ran.stderr, ran.json));
    let state = problem["state"].as_str().unwrap_or_default();
    assert!(states.iter().any(|told| state.contains(told)), "{problem:#}");
    assert!(!problem["help"].as_str().unwrap_or_default().is_empty(), "{problem:#}");
}

/// Names and contents below a folder.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).into_iter().flatten().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                found.insert(entry.path(), fs::read(entry.path()).unwrap());
            }
        }
    }
    found
}

#[test]
fn sources_on_a_full_disk_are_backed_up_and_nothing_is_written_beside_them() {
    let world = World::new("data", "1m");
    world.write("one");
    // A service has the database open: its newest row is in the write-ahead log.
    let mut service = world
        .namespace
        .command(&world.project.path("data"), Path::new("sqlite3"));
    let service = service
        .arg("projections/tasks.db")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut service = service.spawn().unwrap();
    let statements = "PRAGMA journal_mode = wal;\nUPDATE t SET x = 'two';\nSELECT x FROM t;\n";
    let mut say = service.stdin.take().unwrap();
    say.write_all(statements.as_bytes()).unwrap();
    let mut said = BufReader::new(service.stdout.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap() == "two"));
    world.leave(0);
    let before = contents(&world.at("data"));
    world.run("backup --env dev").ended(0);
    // The shared-memory file holds who reads, and is no data.
    let without = |mut found: BTreeMap<PathBuf, Vec<u8>>| {
        found.retain(|path, _| path.extension().is_none_or(|extension| extension != "db-shm"));
        found
    };
    assert_eq!(without(contents(&world.at("data"))), without(before));
    drop(say);
    service.wait().unwrap();
    world.restores("one");
    let restored = rusqlite::Connection::open(world.project.path("look/projections/tasks.db")).unwrap();
    let word: String = restored.query_row("SELECT x FROM t", [], |row| row.get(0)).unwrap();
    assert_eq!(word, "two");
}

/// Who writes while a disk is full.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Writer {
    /// The program.
    Program,
    /// One that copies the same files, passes over whatever the disk says, and ends well: a planted bug.
    Swallows,
}

impl Writer {
    fn run(self, world: &World, line: &str, (from, to): (&Path, &str)) -> Ran {
        if self == Self::Program {
            return world.run(line);
        }
        let script = "cp -r \"$0/.\" \"$1\" 2> /dev/null; exit 0";
        let mut copy = world.namespace.command(&world.project.path(""), Path::new("bash"));
        let copied = copy.args(["-c", script]).arg(from).arg(to).output().unwrap();
        Ran {
            code: copied.status.code().unwrap(),
            json: serde_json::Value::Null,
            stderr: String::new(),
        }
    }
}

#[test]
fn a_destination_that_fills_up_at_any_write_keeps_what_it_had() {
    let found = destination(Writer::Program);
    assert_eq!(found, None);
}

#[test]
fn a_writer_that_passes_over_a_full_disk_is_found_in_a_destination() {
    let found = destination(Writer::Swallows).unwrap();
    assert!(found.contains("0 pages: it says that all is done"), "{found}");
}

/// Restores at each fill level of the destinations. What is found, where a run is said to have done what it has not.
fn destination(writer: Writer) -> Option<String> {
    let world = World::new("data", "1m");
    world.write("old");
    let id = world.run("backup --env dev").ended(0).id();
    let old = tempfile::tempdir().unwrap();
    for (path, bytes) in contents(&world.at("data")) {
        let path = old.path().join(path.strip_prefix(world.at("data")).unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let (mut refused, mut done) = (0, 0);
    for pages in 0.. {
        // A disk as it was: without what the last round has left.
        for entry in fs::read_dir(world.at("data")).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                fs::remove_dir_all(entry.path()).unwrap();
            } else {
                fs::remove_file(entry.path()).unwrap();
            }
        }
        world.write("old");
        world.write("new");
        world.leave(pages);
        let before = contents(&world.at("data"));
        let ran = writer.run(&world, &format!("restore {id} --env dev"), (old.path(), "data"));
        let says = world.says();
        if matches!(ran.code, 0 | 3) {
            if says.as_deref() != Some("old") {
                let json = format!("{:#}", ran.json);
                return Some(format!(
                    "{pages} pages: it says that all is done, and there is {says:?}: {json}"
                ));
            }
            done += 1;
        } else {
            met_it(
                &ran,
                &[
                    "nothing present was",
                    "nothing was moved",
                    "all destinations are as before",
                ],
            );
            assert_eq!(says.as_deref(), Some("new"), "{pages} pages: {:#}", ran.json);
            assert_eq!(contents(&world.at("data")), before, "{pages} pages: {:#}", ran.json);
            refused += 1;
        }
        if done == 3 {
            break;
        }
        assert!(pages < 100, "no restore ended well: {:#}", ran.json);
    }
    // More than the pages of the data: the journals of the swap met it too.
    assert!(refused > FILES + 3, "{refused}");
    let finished = world.run("rollback --list --env dev").ended(0);
    assert!(
        finished.json["diagnostics"].as_array().is_none_or(Vec::is_empty),
        "{:#}",
        finished.json
    );
    None
}

#[test]
fn a_folder_to_restore_into_that_fills_up_touches_nothing_else() {
    let world = World::new("elsewhere", "1m");
    world.write("old");
    world.run("backup --env dev").ended(0);
    world.write("new");
    let mut refused = 0;
    for pages in 0.. {
        fs::remove_dir_all(world.at("elsewhere/look")).ok();
        world.leave(pages);
        let ran = world.run("restore latest artifacts events --env dev --to elsewhere/look");
        assert_eq!(world.says().as_deref(), Some("new"));
        if ran.code == 0 {
            assert_eq!(
                fs::read_to_string(world.at("elsewhere/look/artifacts/0")).unwrap(),
                "old"
            );
            break;
        }
        met_it(&ran, &["nothing present was"]);
        refused += 1;
        assert!(pages < 100, "no restore ended well: {:#}", ran.json);
    }
    assert!(refused > FILES, "{refused}");
}

#[test]
fn a_target_that_fills_up_at_any_write_has_whole_backups_only() {
    let found = target(Writer::Program);
    assert_eq!(found, None);
}

#[test]
fn a_writer_that_passes_over_a_full_disk_is_found_in_a_target() {
    let found = target(Writer::Swallows).unwrap();
    assert!(found.contains("a backup is not whole"), "{found}");
}

/// Backs up at each fill level of the target. What is found, where a backup is there and not whole, or said to be there and not.
fn target(writer: Writer) -> Option<String> {
    let world = World::new("backups", "1m");
    world.write("one");
    world.run("backup --env dev").ended(0);
    world.write("two");
    // What a second backup adds, made where there is room for it.
    let more = tempfile::tempdir().unwrap();
    if writer == Writer::Swallows {
        let before = contents(&world.at("backups"));
        world.run("backup --env dev").ended(0);
        for (path, bytes) in contents(&world.at("backups")) {
            if before.contains_key(&path) {
                continue;
            }
            let copy = more.path().join(path.strip_prefix(world.at("backups")).unwrap());
            fs::create_dir_all(copy.parent().unwrap()).unwrap();
            fs::write(copy, bytes).unwrap();
            fs::remove_file(path).unwrap();
        }
    }
    let mut refused = 0;
    for pages in 0.. {
        world.leave(pages);
        let ran = writer.run(&world, "backup --env dev", (more.path(), "backups"));
        let whole = world.run("verify latest --env dev");
        if whole.code != 0 {
            return Some(format!("{pages} pages: a backup is not whole: {:#}", whole.json));
        }
        if ran.code == 0 {
            break;
        }
        met_it(&ran, &["no backup was made", "nothing was started"]);
        assert_eq!(world.backups(), 1, "{pages} pages");
        world.restores("one");
        refused += 1;
        assert!(pages < 100, "no backup ended well: {:#}", ran.json);
    }
    assert!(refused > 3, "{refused}");
    assert_eq!(world.backups(), 2);
    world.restores("two");
    None
}

#[test]
fn a_full_target_beside_another_one_is_left_out_and_named() {
    let world = World::new("backups", "1m");
    let project = &world.project;
    project.write(
        "pipelines/environments/dev.toml",
        "schema-version = 1\nstate = \"state/dev\"\n[target.local]\nurl = \"file:backups\"\n[target.second]\nurl = \
         \"file:second\"\n[pipeline.backup.step.store]\ntargets = [\"local\", \"second\"]\nrequire = 1\n",
    );
    world.write("one");
    world.run("backup --env dev").ended(0);
    world.write("two");
    world.leave(1);
    let ran = world.run("backup --env dev").ended(3);
    let said = format!("{:#}", ran.json["diagnostics"]);
    assert!(
        said.contains("target-left-out") && said.contains("no space left in target `local`"),
        "{said}"
    );
    assert_eq!(world.backups(), 1);
    world.restores("two");
}

#[test]
fn a_state_folder_that_fills_up_at_any_write_makes_no_half_backup_and_stops_no_restore() {
    let world = World::new("state", "2m");
    world.write("one");
    world.run("backup --env dev").ended(0);
    let fresh = world.at("state/dev");
    let (mut refused, mut done) = (0, 0);
    for pages in 0.. {
        world.write("two");
        let before = world.backups();
        world.leave(pages);
        let ran = world.run("backup --env dev");
        if matches!(ran.code, 0 | 3) {
            done += 1;
            assert_eq!(world.backups(), before + 1, "{pages} pages");
        } else {
            met_it(
                &ran,
                &[
                    "no backup was made",
                    "nothing was started",
                    "nothing was stored",
                    "nothing more was done",
                ],
            );
            assert_eq!(world.backups(), before, "{pages} pages: {:#}", ran.json);
            refused += 1;
        }
        // Whoever must recover data can, with or without a record of it.
        let look = world.project.path("look");
        fs::remove_dir_all(&look).ok();
        let restored = world.run("restore latest --env dev --to look");
        assert!(matches!(restored.code, 0 | 3), "{pages} pages: {:#}", restored.json);
        assert!(look.join("projections/tasks.db").exists());
        let spool = fs::read_dir(fresh.join("spool")).map_or(0, Iterator::count);
        assert_eq!(spool, 0, "{pages} pages: something is left in the spool");
        world.free();
        world.run("journal verify --env dev").ended(0);
        if done == 3 {
            break;
        }
        assert!(pages < 200, "no backup ended well: {:#}", ran.json);
    }
    assert!(refused > 3, "{refused}");
    world.run("backup --env dev").ended(0);
    world.restores("two");
}

#[test]
fn a_rehearsal_without_room_fails_and_leaves_nothing() {
    let world = World::new("state", "2m");
    fs::DirBuilder::new().mode(0o700).create(world.at("state/dev")).unwrap();
    world.write("one");
    world.run("backup --env dev").ended(0);
    world.leave(8);
    let ran = world.run("drill --env dev");
    met_it(&ran, &["nothing present was"]);
    let spool = fs::read_dir(world.at("state/dev/spool")).map_or(0, Iterator::count);
    assert_eq!(spool, 0);
    world.free();
    let drilled = world.run("journal show --env dev").ended(0);
    let records = drilled.json["records"].as_array().unwrap().clone();
    let drilled = records.iter().find(|record| record["event"] == "drilled").unwrap();
    assert_eq!(
        (&drilled["status"], &drilled["code"]),
        (&"failed".into(), &"disk-full".into())
    );
    world.run("drill --env dev").ended(0);
}

#[test]
fn a_run_that_may_not_write_so_large_a_file_says_so_and_is_not_ended_by_a_signal() {
    let source = "[[step.source]]\nname = \"files\"\ntype = \"files\"\npath = \"data\"\n";
    for deduplicated in ["", "[[step]]\nid = \"change\"\ntype = \"deduplicate\"\n"] {
        let project = Project::new(&format!("{source}{deduplicated}"));
        let mut large = vec![0; 1 << 20];
        getrandom::fill(&mut large).unwrap();
        fs::create_dir(project.path("data")).unwrap();
        fs::write(project.path("data/large"), &large).unwrap();
        let refused = |ran: Ran, state: &str| {
            let ran = ran.ended(1);
            let (code, said) = ran.problem();
            assert!(
                !code.is_empty() && said.contains("File too large") && said.contains(state),
                "{code}: {said}"
            );
        };
        let backup = ["backup", "--env", "dev"];
        refused(project.run_with_small_files(64, &backup), "no backup was made");
        assert_eq!(project.backups(), 0);
        let id = project.run(&backup).ended(0).id();
        fs::write(project.path("data/large"), "present").unwrap();
        for more in [&[][..], &["--to", "out"]] {
            let restore = [&["restore", &id, "--env", "dev"][..], more].concat();
            refused(project.run_with_small_files(64, &restore), "nothing present was");
            assert_eq!(fs::read(project.path("data/large")).unwrap(), b"present");
            let out = fs::read_dir(project.path("out")).map_or(0, Iterator::count);
            assert_eq!(out, 0, "something of a refused restore is left");
        }
        project.run(&["restore", &id, "--env", "dev"]).ended(0);
        assert!(fs::read(project.path("data/large")).unwrap() == large);
    }
}
