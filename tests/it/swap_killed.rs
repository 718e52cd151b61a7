//! A restore over four destinations, killed at any moment: one of them is a mount point with a database that a service
//! writes to. After the next command all four are old or all four are new, and the database is sound.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::namespace::Namespace;
use crate::transcript::{Scratch, program};

/// Files beside the database in the volume: each is a rename of its own, so that a kill has something to hit.
const PADS: usize = 400;

/// A project with four sources, and the namespace in which one of them is a volume.
struct World {
    scratch: Scratch,
    namespace: Namespace,
    base: String,
}

/// What one of the four destinations holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    /// The state of the backup.
    Base,
    /// The state of this round.
    Round(u64),
}

impl World {
    fn new() -> Self {
        let scratch = Scratch::new();
        let root = scratch.project().join("live");
        fs::create_dir_all(root.join("volume")).unwrap();
        let namespace = Namespace::with_mounts(&[&root.join("volume")]);
        let pipeline = r#"
schema-version = 1
name = "backup"
[[step]]
id = "capture"
type = "snapshot"
source = [
    { name = "artifacts", type = "files", path = "{{path.root}}/three/artifacts" },
    { name = "config", type = "files", path = "{{path.root}}/one/config" },
    { name = "events", type = "append-log", path = "{{path.root}}/two/events" },
    { name = "projections", type = "sqlite", path = "{{path.root}}/volume" },
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
        let environment = format!(
            "schema-version = 1\n[path]\nroot = {root:?}\n[target.local]\nurl = \"file:backups\"\n\
             [pipeline.restore.step.guard]\nkeep = 1\nkeep-for = \"1ms\"\n"
        );
        scratch.write(&BTreeMap::from([
            ("pipelines/backup.toml".to_owned(), pipeline.to_owned()),
            ("pipelines/environments/dev.toml".to_owned(), environment),
        ]));
        let mut world = Self {
            scratch,
            namespace,
            base: String::new(),
        };
        for folder in ["one/config", "two/events", "three/artifacts"] {
            fs::create_dir_all(world.at(folder)).unwrap();
        }
        world.set(Holds::Base);
        for pad in 0..PADS {
            fs::write(world.volume().join(format!("pad-{pad}")), "not captured").unwrap();
        }
        let output = world.run(&["backup", "--json"]);
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        world.base.push_str(report["backup"].as_str().unwrap());
        world
    }

    fn at(&self, path: &str) -> PathBuf {
        self.scratch.project().join("live").join(path)
    }

    /// The volume, as it is reached from outside the namespace.
    fn volume(&self) -> PathBuf {
        self.namespace.outside(&self.at("volume"))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.namespace.command(&self.scratch.project(), program());
        command.args(arguments).args(["--env", "dev"]);
        command
    }

    /// Runs a command of the program that must be done, with warnings at most.
    fn run(&self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).output().unwrap();
        assert!(
            matches!(output.status.code(), Some(0 | 3)),
            "{arguments:?}: {:?}\n{}\n{}\n{:#?}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
            self.left()
        );
        output
    }

    /// What the program has left in and beside the destinations.
    fn left(&self) -> Vec<PathBuf> {
        let folders = [self.at("one"), self.at("two"), self.at("three"), self.volume()];
        let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
        let mut left: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        left.retain(|path| path.to_str().unwrap().contains(".strongroom-"));
        left.sort();
        left
    }

    /// Brings all four destinations to a state of their own.
    fn set(&self, holds: Holds) {
        let text = match holds {
            Holds::Base => "base".to_owned(),
            Holds::Round(round) => round.to_string(),
        };
        fs::write(self.at("one/config/file"), &text).unwrap();
        fs::write(self.at("two/events/log"), format!("{text}\n")).unwrap();
        fs::write(self.at("three/artifacts/file"), &text).unwrap();
        self.sql(&format!(
            "PRAGMA journal_mode = WAL; CREATE TABLE IF NOT EXISTS t (a TEXT); DELETE FROM t; INSERT INTO t VALUES ('{text}');"
        ));
    }

    fn sql(&self, statements: &str) -> String {
        let sqlite = Path::new("sqlite3");
        let output = self
            .namespace
            .command(&self.at("volume"), sqlite)
            .args(["-cmd", ".timeout 10000", "t.db", statements])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{statements}: {said}{complained}");
        said
    }

    /// What each destination holds.
    fn holds(&self) -> [Holds; 4] {
        let of = |text: String| match text.trim() {
            "base" => Holds::Base,
            number => Holds::Round(number.parse().unwrap()),
        };
        let read = |path: &str| fs::read_to_string(self.at(path)).unwrap();
        [
            of(read("one/config/file")),
            of(read("two/events/log")),
            of(read("three/artifacts/file")),
            // The service adds rows of its own, which say nothing.
            of(self.sql("SELECT a FROM t WHERE a NOT LIKE 'row%'")),
        ]
    }

    /// A service that has the database open and writes to it.
    fn service(&self) -> Service {
        let mut shell = self
            .namespace
            .command(&self.at("volume"), Path::new("sqlite3"))
            .arg("t.db")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut input = shell.stdin.take().unwrap();
        input
            .write_all(b"INSERT INTO t VALUES ('row');\nSELECT 'ready';\n")
            .unwrap();
        let mut lines = BufReader::new(shell.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "ready");
        let stop = Arc::new(AtomicBool::new(false));
        let writing = Arc::clone(&stop);
        let writer = std::thread::spawn(move || write(input, &writing));
        Service {
            shell,
            stop,
            writer: Some(writer),
        }
    }

    /// Begins a restore and gives its process.
    fn restore(&self) -> Child {
        // Each state has a log of its own, which a restore takes away.
        self.command(&["restore", &self.base, "--while-running", "--rewind-log", "events"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// The swap journal of a restore under way, in the folder that decides.
    fn journal(&self) -> Option<PathBuf> {
        let entries = fs::read_dir(self.at("three")).unwrap();
        let mut paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
        paths.find(|path| path.to_str().unwrap().contains(".strongroom-swap-"))
    }

    /// All are as before the restore, or all are as in the backup.
    fn assert_whole(&self, round: u64, moment: &str) -> Holds {
        let holds = self.holds();
        let first = holds[0];
        assert!(
            holds.iter().all(|other| *other == first) && (first == Holds::Base || first == Holds::Round(round)),
            "round {round}, killed {moment}: {holds:?}\n{:#?}",
            self.left()
        );
        assert_eq!(
            self.sql("PRAGMA integrity_check").trim(),
            "ok",
            "round {round}, killed {moment}"
        );
        let pads = fs::read_dir(self.volume()).unwrap();
        let pads = pads.filter(|entry| {
            entry
                .as_ref()
                .unwrap()
                .file_name()
                .to_str()
                .unwrap()
                .starts_with("pad-")
        });
        assert_eq!(pads.count(), PADS, "round {round}, killed {moment}");
        let unsettled = |path: &&PathBuf| {
            let name = path.to_str().unwrap();
            // What is noted beside a log is for the next backup.
            let is_note = name.ends_with(".strongroom-lineage.json");
            !name.contains(".strongroom-point-") && !name.contains(".strongroom-replaced-") && !is_note
        };
        let left = self.left();
        assert_eq!(
            left.iter().find(unsettled),
            None,
            "round {round}, killed {moment}: {left:#?}"
        );
        first
    }
}

/// A shell of SQLite that is fed rows until it ends.
struct Service {
    shell: Child,
    stop: Arc<AtomicBool>,
    writer: Option<JoinHandle<()>>,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.shell.kill());
        drop(self.shell.wait());
        drop(self.writer.take().map(JoinHandle::join));
    }
}

fn write(mut input: ChildStdin, stop: &AtomicBool) {
    let mut row = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        row += 1;
        // The shell was killed.
        if writeln!(input, "INSERT INTO t VALUES ('row {row}');").is_err() {
            break;
        }
        // As fast as a small service, not as fast as memory takes it.
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// When a restore is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// So many milliseconds after it was begun.
    Begun(u64),
    /// So many milliseconds after it said that it replaces.
    Replacing(u64),
    /// So many microseconds after its journal was there.
    Journalled(u64),
    /// When the first destination was new.
    FirstIsNew,
    /// So many microseconds after its journal was committed.
    Committed(u64),
}

impl Moment {
    fn of(round: u64) -> Self {
        let number = round / 5;
        match round % 5 {
            0 => Self::Begun(number * 137 % 1500),
            1 => Self::Replacing(number * 29 % 150),
            2 => Self::Journalled(number * 311 % 6000),
            3 => Self::FirstIsNew,
            _ => Self::Committed(number * 173 % 9000),
        }
    }
}

/// Kills the restore at a moment; a restore that ends before it is let go.
fn kill_at(world: &World, mut restore: Child, moment: Moment) {
    let stderr = restore.stderr.take().unwrap();
    let (sender, lines) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            // Nobody listens any more once the moment has come.
            let _ = sender.send(line);
        }
    });
    let mut over = || restore.try_wait().unwrap().is_some();
    match moment {
        Moment::Begun(milliseconds) => std::thread::sleep(Duration::from_millis(milliseconds)),
        Moment::Replacing(milliseconds) => {
            if lines.iter().any(|line| line.contains("replace: started")) {
                std::thread::sleep(Duration::from_millis(milliseconds));
            }
        }
        Moment::Journalled(microseconds) => {
            while world.journal().is_none() && !over() {}
            wait(microseconds);
        }
        Moment::Committed(microseconds) => {
            while world.journal().is_none() && !over() {}
            while world.journal().is_some() && !over() {}
            wait(microseconds);
        }
        Moment::FirstIsNew => {
            let first = world.at("three/artifacts/file");
            while world.journal().is_none() && !over() {}
            while fs::read_to_string(&first).map_or(true, |text| text != "base") && !over() {}
        }
    }
    drop(restore.kill());
    restore.wait().unwrap();
    reader.join().unwrap();
}

fn wait(microseconds: u64) {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_micros(microseconds) {}
}

fn rounds() -> u64 {
    if std::env::var_os("STRONGROOM_TORTURE").is_some() {
        200
    } else {
        15
    }
}

#[test]
fn a_restore_that_is_killed_at_any_moment_leaves_all_destinations_old_or_all_new() {
    let world = World::new();
    let (mut old, mut recovered) = (0, 0);
    for round in 0..rounds() {
        let moment = Moment::of(round);
        world.set(Holds::Round(round));
        let service = world.service();
        kill_at(&world, world.restore(), moment);
        recovered += u32::from(world.left().iter().any(|path| {
            let name = path.to_str().unwrap();
            name.contains("-swap-") || name.contains("-swapped-") || name.contains("-drop-")
        }));
        if round % 3 == 0 {
            // The one that comes to settle it is killed too.
            let mut settling = world.command(&["rollback", "--list"]);
            let mut settling = settling.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(round * 53 % 200));
            drop(settling.kill());
            settling.wait().unwrap();
        }
        // A backup does as well, and is one of either state.
        if round % 4 == 1 {
            world.run(&["backup", "--accept-log-rewrite", "events", "-q"]);
        } else {
            world.run(&["rollback", "--list", "-q"]);
        }
        drop(service);
        let holds = world.assert_whole(round, &format!("{moment:?}"));
        old += u32::from(holds != Holds::Base);
    }
    assert!(
        recovered > 0,
        "no kill has left anything to settle: this test hits nothing"
    );
    assert!(
        old > 0,
        "every restore was through before it was killed: this test hits nothing"
    );
    world.run(&["journal", "verify"]);
    world.run(&[
        "restore",
        &world.base,
        "--while-running",
        "--rewind-log",
        "events",
        "-q",
    ]);
    assert_eq!(world.holds(), [Holds::Base; 4]);
    world.run(&["rollback", "-q"]);
}

#[test]
fn what_kills_a_restore_would_find_a_swap_without_a_journal() {
    let world = World::new();
    // Without its journal a swap that was cut short is what a swap without one would have left.
    for round in 0..100 {
        world.set(Holds::Round(round));
        kill_at(&world, world.restore(), Moment::FirstIsNew);
        let unfinished = world.journal().is_some();
        for path in world.left() {
            if path.to_str().unwrap().contains(".strongroom-swap-") {
                fs::remove_file(path).unwrap();
            }
        }
        world.run(&["rollback", "--list", "-q"]);
        let holds = world.holds();
        if holds.iter().any(|other| *other != holds[0]) {
            assert!(unfinished, "a swap that was committed is mixed: {holds:?}");
            return;
        }
    }
    panic!("in a hundred rounds no kill has left some destinations old and some new");
}
