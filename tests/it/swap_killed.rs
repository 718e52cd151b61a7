//! A restore over four destinations, killed at any moment: one of them is a mount point with a database that a service
//! writes to. After the next command all four are old or all four are new, and the database is sound.
//!
//! A moment is a call of the kernel, counted in the folders of the destinations: strace ends the restore where the call of
//! that number begins. So it does not matter how fast the machine is, and a call that no kill met can be named.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::namespace::Namespace;
use crate::transcript::{Scratch, program};

/// Files beside the database in the volume: each is a rename of its own, so that a kill has something to hit.
const PADS: usize = 400;

/// The folders in which the swap works: those that hold three of the destinations, and the fourth itself.
const FOLDERS: [&str; 4] = ["three", "one", "two", "volume"];

/// The calls at which a restore is killed: what changes names, what makes that last, and what looks before it does.
const CALLS: [&str; 3] = ["renameat2", "fsync", "openat2"];

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
        world.pad();
        let output = world.run(&["backup", "--json"]);
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        world.base.push_str(report["backup"].as_str().unwrap());
        world
    }

    /// Puts the pads into the volume.
    fn pad(&self) {
        for pad in 0..PADS {
            fs::write(self.volume().join(format!("pad-{pad}")), "not captured").unwrap();
        }
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

    /// A command of the program under strace, which looks at what it does in the folders of the destinations.
    fn watched(&self, arguments: &[&str], options: &[&str]) -> Command {
        let mut command = self.namespace.command(&self.scratch.project(), Path::new("strace"));
        command.args(["-f", "-qq", "-s", "256", "-o"]).arg(self.log());
        for folder in FOLDERS {
            command.arg("-P").arg(self.at(folder));
        }
        command
            .args(options)
            .arg(program())
            .args(arguments)
            .args(["--env", "dev"]);
        command
    }

    /// What strace writes.
    fn log(&self) -> PathBuf {
        self.scratch.project().join("calls")
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

    /// Brings all four destinations to a state of their own. The log only grows, as a log does.
    fn set(&self, holds: Holds) {
        let text = match holds {
            Holds::Base => "base".to_owned(),
            Holds::Round(round) => round.to_string(),
        };
        fs::write(self.at("one/config/file"), &text).unwrap();
        let path = self.at("two/events/log");
        let mut log = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(log, "{text}").unwrap();
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
            of(read("two/events/log").lines().last().unwrap().to_owned()),
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

    /// Restores the backup and gives the calls that it made in the folders of the destinations.
    fn calls(&self) -> Calls {
        let trace = format!("trace={}", CALLS.join(","));
        let restore = ["restore", &self.base, "--while-running", "-q"];
        let output = self.watched(&restore, &["-e", &trace]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            output.status.code(),
            Some(0),
            "strace is needed, and leave to use it: apt-get install -y strace\n{said}"
        );
        let log = fs::read_to_string(self.log()).unwrap();
        let of_thread = |line: &str| Some((line.split_once(' ')?.0.to_owned(), line.to_owned()));
        let mut threads: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (thread, line) in log.lines().filter_map(of_thread) {
            threads.entry(thread).or_default().push(line);
        }
        // The swap has a thread of its own, and each thread counts by itself.
        Calls(threads.into_values().max_by_key(Vec::len).unwrap())
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
        let settled = [".strongroom-point-", ".strongroom-replaced-", ".strongroom-lineage."];
        let unsettled = |path: &&PathBuf| {
            let name = path.to_str().unwrap();
            !settled.iter().any(|word| name.contains(word))
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

/// The calls of the thread that swaps, as strace shows them.
struct Calls(Vec<String>);

impl Calls {
    /// The calls of this name, in order.
    fn named<'c>(&'c self, call: &'c str) -> impl Iterator<Item = &'c String> {
        self.0.iter().filter(move |line| {
            let shown = line.split_once(' ').unwrap().1.trim_start();
            shown.strip_prefix(call).is_some_and(|rest| rest.starts_with('('))
        })
    }

    fn count(&self, call: &str) -> u64 {
        self.named(call).count() as u64
    }

    /// The number of the first rename that names all of these.
    fn rename(&self, names: &[&str]) -> u64 {
        let is_it = |line: &String| names.iter().all(|name| line.contains(name));
        1 + self.named("renameat2").position(is_it).unwrap() as u64
    }

    /// The number of the rename that commits.
    fn commit(&self) -> u64 {
        self.rename(&["\".strongroom-swap-", "\".strongroom-swapped-"])
    }
}

/// When a restore is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// So many milliseconds after it was begun.
    Begun(u64),
    /// When a call of this name begins, counted from 1.
    At(&'static str, u64),
}

impl Moment {
    /// Goes through the renames from the first and from the last on, and through the other calls; every fifth is any moment of
    /// the whole run.
    fn of(round: u64, calls: &Calls) -> Self {
        let number = round / 5;
        let at = |call, step: u64| Self::At(call, 1 + number * step % calls.count(call));
        match round % 5 {
            0 => at("renameat2", 61),
            1 => Self::At("renameat2", calls.count("renameat2").saturating_sub(number % 8)),
            2 => at("fsync", 3),
            3 => at("openat2", 97),
            _ => Self::Begun(number * 137 % 1500),
        }
    }
}

/// Kills a command of the program at a moment; one that ends before it is let go.
fn kill_at(world: &World, arguments: &[&str], moment: Moment) {
    let quiet = |command: &mut Command| command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    match moment {
        Moment::Begun(milliseconds) => {
            let mut child = quiet(&mut world.command(arguments));
            std::thread::sleep(Duration::from_millis(milliseconds));
            drop(child.kill());
            child.wait().unwrap();
        }
        Moment::At(call, number) => {
            let inject = format!("inject={call}:signal=KILL:when={number}");
            let options = ["-e", &format!("trace={call}"), "-e", &inject];
            quiet(&mut world.watched(arguments, &options)).wait().unwrap();
        }
    }
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
    let service = world.service();
    world.set(Holds::Round(0));
    let calls = world.calls();
    drop(service);
    let (mut old, mut recovered) = (0, 0);
    for round in 0..rounds() {
        let moment = Moment::of(round, &calls);
        world.set(Holds::Round(round));
        let service = world.service();
        kill_at(&world, &["restore", &world.base, "--while-running", "-q"], moment);
        recovered += u32::from(world.left().iter().any(|path| {
            let name = path.to_str().unwrap();
            name.contains("-swap-") || name.contains("-swapped-") || name.contains("-drop-")
        }));
        if round % 3 == 0 {
            // The one that comes to settle it is killed too.
            let number = 1 + round * 53 % calls.count("renameat2");
            kill_at(&world, &["rollback", "--list", "-q"], Moment::At("renameat2", number));
        }
        // A backup does as well, and is one of either state.
        if round % 4 == 1 {
            world.run(&["backup", "-q"]);
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
    world.run(&["restore", &world.base, "--while-running", "-q"]);
    assert_eq!(world.holds(), [Holds::Base; 4]);
    world.run(&["rollback", "-q"]);
}

#[test]
fn a_log_that_a_killed_restore_has_put_in_place_is_known_to_the_next_backup() {
    let world = World::new();
    world.set(Holds::Round(0));
    let calls = world.calls();
    let (commit, last) = (calls.commit(), calls.count("renameat2"));
    // From the commit to the rename after which nothing is left to settle.
    for (round, at) in [(1, commit), (2, commit + 1), (3, last)] {
        world.set(Holds::Round(round));
        world.run(&["backup", "-q"]);
        let restore = ["restore", &world.base, "--while-running", "-q"];
        kill_at(&world, &restore, Moment::At("renameat2", at));
        world.run(&["backup", "-q"]);
        world.assert_whole(round, &format!("at rename {at} of {last}"));
    }
    // What was noted of a restore that was undone is taken back: the log may not shrink to what it would have put there.
    world.set(Holds::Round(4));
    world.run(&["backup", "-q"]);
    let restore = ["restore", &world.base, "--while-running", "-q"];
    kill_at(&world, &restore, Moment::At("renameat2", commit - 1));
    world.run(&["rollback", "--list", "-q"]);
    assert_eq!(world.holds(), [Holds::Round(4); 4]);
    fs::write(world.at("two/events/log"), "base\n").unwrap();
    let output = world.command(&["backup", "-q"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(5) && said.contains("log-shrank"), "{said}");
}

#[test]
fn what_kills_a_restore_would_find_a_swap_without_a_journal() {
    let world = World::new();
    world.set(Holds::Round(0));
    let calls = world.calls();
    // Anywhere between the first destination that is new and the commit.
    let first = calls.rename(&["\"artifacts\"", "RENAME_EXCHANGE"]);
    let commit = calls.commit();
    for (round, at) in [(1, first + 1), (2, u64::midpoint(first, commit)), (3, commit - 10)] {
        world.pad();
        world.set(Holds::Round(round));
        let restore = ["restore", &world.base, "--while-running", "-q"];
        kill_at(&world, &restore, Moment::At("renameat2", at));
        assert!(world.journal().is_some(), "rename {at} of {commit} was not met");
        // Without its journal a swap that was cut short is what a swap without one would have left.
        for path in world.left() {
            if path.to_str().unwrap().contains(".strongroom-swap-") {
                fs::remove_file(path).unwrap();
            }
        }
        world.run(&["rollback", "--list", "-q"]);
        let holds = world.holds();
        assert!(
            holds.iter().any(|other| *other != holds[0]),
            "killed at rename {at} of {commit} without a journal, and nobody would see it: {holds:?}"
        );
    }
}
