//! SQLite databases: copied as of one moment whatever their service does, without a trace beside them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use strongroom::diagnostic::{Code, Diagnose};
use strongroom::fs::entry::{Kind, TreePath};
use strongroom::fs::folder::Folder;
use strongroom::fs::owners::Owners;
use strongroom::source::sqlite::rest::DatabaseStat;
use strongroom::source::{Form, Source};

use crate::projects::{Project, Ran};
use crate::sources::{Scene, as_nobody, codes, needs_root, set_times, source};

fn database(path: &Path, mode: &str, rows: u32) -> rusqlite::Connection {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.pragma_update(None, "journal_mode", mode).unwrap();
    connection
        .execute_batch("CREATE TABLE t (n INTEGER PRIMARY KEY, pad BLOB)")
        .unwrap();
    connection.execute_batch("BEGIN").unwrap();
    for row in 1..=rows {
        connection
            .execute("INSERT INTO t VALUES (?1, randomblob(100))", [row])
            .unwrap();
    }
    connection.execute_batch("COMMIT").unwrap();
    connection
}

/// Opens a captured copy by itself and counts its rows, which must be 1 to n.
fn rows(copy: &[u8]) -> u32 {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("copy.db");
    fs::write(&path, copy).unwrap();
    let connection = rusqlite::Connection::open(&path).unwrap();
    let check: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(check, "ok");
    let (count, highest): (u32, Option<u32>) = connection
        .query_row("SELECT count(*), max(n) FROM t", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert_eq!(count, highest.unwrap_or(0));
    count
}

fn sqlite(path: &str) -> Source {
    source("sqlite", serde_json::json!({ "path": path }))
}

#[test]
fn databases_are_copied_whole_and_what_lies_beside_them_is_no_entry() {
    let scene = Scene::new();
    let open = database(&scene.path("open.db"), "WAL", 300);
    drop(database(&scene.path("closed.db"), "DELETE", 5));
    scene.write("notes.txt", "no database");
    scene.write("sub/none.txt", "no database");
    fs::create_dir(scene.path("deep")).unwrap();
    drop(database(&scene.path("deep/in.sqlite"), "WAL", 7));
    assert!(scene.path("open.db-wal").exists());
    fs::set_permissions(scene.path("open.db"), fs::Permissions::from_mode(0o604)).unwrap();
    set_times(&scene.path("open.db"), 1000, 1);
    let (sink, captured) = scene.capture(&sqlite("."));
    assert_eq!(sink.paths(), ["", "closed.db", "deep", "deep/in.sqlite", "open.db"]);
    assert_eq!(captured.warning_count, 0);
    assert_eq!(rows(&sink.get("open.db").data), 300);
    assert_eq!(rows(&sink.get("closed.db").data), 5);
    assert_eq!(rows(&sink.get("deep/in.sqlite").data), 7);
    let entry = &sink.get("open.db").entry;
    assert_eq!((entry.metadata.mode, entry.metadata.mtime.seconds), (0o604, 1000));
    assert_eq!(
        fs::read_dir(scene.spool.path()).unwrap().count(),
        0,
        "nothing is left in the spool"
    );

    let (sink, _) = scene.capture(&sqlite("*.db*"));
    assert_eq!(sink.paths(), ["", "closed.db", "open.db"]);
    let (sink, _) = scene.capture(&sqlite("open.db"));
    assert_eq!(sink.paths(), ["", "open.db"]);
    drop(open);

    let selects = sqlite(".")
        .selects(scene.dir.path(), scene.dir.path(), Form::Folder)
        .unwrap();
    let selects = |path: &str, is_folder| selects.selects(&TreePath::parse(path.as_bytes()).unwrap(), is_folder);
    assert!(selects("closed.db", false) && selects("deep/in.sqlite", false));
    assert!(!selects("notes.txt", false) && !selects("deep", true) && !selects("gone.db", false));
    let survey = sqlite(".").survey(scene.dir.path(), &Owners::default()).unwrap();
    assert_eq!(survey.entries, 4);
}

/// Names and contents of a folder.
fn folder_bytes(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.clone(), fs::read(&path).unwrap())).collect()
}

#[test]
fn a_capture_of_a_database_leaves_nothing_behind_and_changes_nothing() {
    let scene = Scene::new();
    fs::create_dir(scene.path("at-rest")).unwrap();
    drop(database(&scene.path("at-rest/wal.db"), "WAL", 9));
    drop(database(&scene.path("at-rest/delete.db"), "DELETE", 9));
    let before = folder_bytes(&scene.path("at-rest"));
    assert_eq!(before.len(), 2);
    scene.capture(&sqlite("at-rest"));
    assert!(folder_bytes(&scene.path("at-rest")) == before);

    // As a crash leaves it: the last writes are in the log alone.
    fs::create_dir(scene.path("crashed")).unwrap();
    let open = database(&scene.path("open.db"), "WAL", 9);
    for name in ["open.db", "open.db-wal"] {
        fs::copy(scene.path(name), scene.path("crashed").join(name)).unwrap();
    }
    drop(open);
    let before = folder_bytes(&scene.path("crashed"));
    let (sink, _) = scene.capture(&sqlite("crashed"));
    assert_eq!(rows(&sink.get("open.db").data), 9);
    assert!(folder_bytes(&scene.path("crashed")) == before);
}

#[test]
fn an_empty_database_is_an_empty_file_and_another_file_is_refused() {
    let scene = Scene::new();
    scene.write("new.db", "");
    let (sink, _) = scene.capture(&sqlite("*.db"));
    assert_eq!(sink.get("new.db").entry.kind, Kind::File { size: 0, extents: None });
    scene.write("other.db", "something else, and longer than a header");
    let (_, captured) = scene.capture_while(&sqlite("*.db"), |_| Ok(()));
    let error = captured.unwrap_err();
    assert_eq!(error.code(), Code::NotSqlite);
    assert!(error.to_string().contains("other.db") && error.help().unwrap().contains("exclude"));
}

#[test]
fn a_link_to_a_database_is_kept_as_a_link_and_told() {
    let scene = Scene::new();
    fs::create_dir(scene.path("real")).unwrap();
    drop(database(&scene.path("real/a.db"), "DELETE", 3));
    drop(database(&scene.path("b.db"), "DELETE", 3));
    symlink("real/a.db", scene.path("a.db")).unwrap();
    let (sink, captured) = scene.capture(&sqlite("*.db"));
    assert!(matches!(sink.get("a.db").entry.kind, Kind::Link { .. }));
    assert_eq!(codes(&captured), [Code::SourceUnsupported]);
    // Named by itself it is what it points to that is meant.
    let (sink, captured) = scene.capture(&sqlite("a.db"));
    assert_eq!((rows(&sink.get("a.db").data), captured.warning_count), (3, 0));
}

/// The writer of the test below runs in a process of its own, as a service does: within one process the capture's closing
/// of a database file would take the writer's locks away.
#[test]
fn writer_process() {
    let Some(path) = std::env::var_os("STRONGROOM_TEST_WRITER") else {
        return;
    };
    let connection = rusqlite::Connection::open(path).unwrap();
    // In WAL mode nobody may ever keep a writer waiting, so this one does not wait.
    let patience = u64::from(std::env::var("STRONGROOM_TEST_MODE").unwrap() != "WAL") * 30;
    connection
        .busy_timeout(std::time::Duration::from_secs(patience))
        .unwrap();
    let mut input = String::new();
    let start: u32 = connection
        .query_row("SELECT count(*) FROM t", [], |row| row.get(0))
        .unwrap();
    let closed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // The test that started this process closes its input when it ends, however it ends.
            let _ = std::io::stdin().read_line(&mut input);
            closed.store(true, Ordering::Relaxed);
        });
        for row in start + 1.. {
            connection
                .execute("INSERT INTO t VALUES (?1, randomblob(3000))", [row])
                .unwrap();
            if closed.load(Ordering::Relaxed) {
                break;
            }
            // Leaves a reader its turn where readers and writers exclude each other.
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    });
}

#[test]
fn a_database_under_a_writer_is_copied_as_of_one_moment() {
    for mode in ["WAL", "DELETE"] {
        let scene = Scene::new();
        drop(database(&scene.path("live.db"), mode, 100));
        let mut writer = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "databases::writer_process", "--nocapture"])
            .env("STRONGROOM_TEST_WRITER", scene.path("live.db"))
            .env("STRONGROOM_TEST_MODE", mode)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let counts = RefCell::new(vec![100]);
        for _ in 0..20 {
            let (sink, _) = scene.capture(&sqlite("live.db"));
            let count = rows(&sink.get("live.db").data);
            let before = *counts.borrow().last().unwrap();
            assert!(count >= before, "{count} rows after {before}");
            counts.borrow_mut().push(count);
        }
        drop(writer.stdin.take());
        assert!(
            writer.wait().unwrap().success(),
            "the writer was not disturbed in {mode} mode"
        );
        let connection = rusqlite::Connection::open(scene.path("live.db")).unwrap();
        let last: u32 = connection
            .query_row("SELECT count(*) FROM t", [], |row| row.get(0))
            .unwrap();
        assert!(last >= *counts.borrow().last().unwrap());
    }
}

/// Opens a database, does what it is told in SQL, line by line, and answers each line with `ok` or what went wrong. A process of
/// its own, as a service is.
#[test]
fn service_process() {
    let Some(path) = std::env::var_os("STRONGROOM_TEST_SERVICE") else {
        return;
    };
    let connection = rusqlite::Connection::open(path).unwrap();
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let answer = match connection.execute_batch(&line) {
            Ok(()) => "ok".to_owned(),
            Err(error) => error.to_string(),
        };
        writeln!(std::io::stdout(), "\nanswer: {answer}").unwrap();
    }
}

/// A service that has a database open.
struct Service {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<std::process::ChildStdout>,
}

impl Service {
    fn start(database: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "databases::service_process", "--nocapture"])
            .env("STRONGROOM_TEST_SERVICE", database)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self {
            input: child.stdin.take(),
            child,
            output,
        }
    }

    fn does(&mut self, sql: &str) -> String {
        writeln!(self.input.as_mut().unwrap(), "{sql}").unwrap();
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the service ended");
            if let Some(answer) = line.trim_end().strip_prefix("answer: ") {
                return answer.to_owned();
            }
        }
    }

    /// Closes the database as a service does that is stopped.
    fn stop(mut self) {
        drop(self.input.take());
        // Its last words must not find a closed door.
        std::io::copy(&mut self.output, &mut std::io::sink()).unwrap();
        assert!(self.child.wait().unwrap().success());
    }

    /// Ends as a service does that crashes.
    fn crash(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Owners and names of what lies in a folder.
fn owners(folder: &Path) -> Vec<(String, u32)> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let mut owners: Vec<_> = entries
        .map(|entry| {
            (
                entry.file_name().into_string().unwrap(),
                entry.metadata().unwrap().uid(),
            )
        })
        .collect();
    owners.sort();
    owners
}

const SERVICE: u32 = 4321;

/// A folder that belongs to the service, with a database of its own in WAL mode, closed.
fn service_folder(scene: &Scene) -> PathBuf {
    needs_root();
    let folder = scene.path("service");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(scene.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    drop(database(&folder.join("a.db"), "WAL", 50));
    for path in [folder.join("a.db"), folder.clone()] {
        std::os::unix::fs::chown(&path, Some(SERVICE), Some(SERVICE)).unwrap();
    }
    folder
}

#[test]
fn nothing_of_another_owner_is_left_beside_a_database_of_the_service() {
    let scene = Scene::new();
    let folder = service_folder(&scene);
    let (sink, _) = scene.capture(&sqlite("service"));
    assert_eq!(rows(&sink.get("a.db").data), 50);
    assert_eq!(owners(&folder), [("a.db".to_owned(), SERVICE)]);
    // As a user who is neither root nor the service, in a folder where that user may make files.
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(folder.join("a.db"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(scene.spool.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let count = as_nobody(|| rows(&scene.capture(&sqlite("service")).0.get("a.db").data));
    assert_eq!((count, owners(&folder).len()), (50, 1));
    // Closed by a crash: what was written last is in the log alone.
    let mut service = Service::start(&folder.join("a.db"));
    assert_eq!(
        service.does("PRAGMA wal_autocheckpoint = 0; INSERT INTO t VALUES (51, x'00')"),
        "ok"
    );
    service.crash();
    fs::remove_file(folder.join("a.db-shm")).unwrap();
    std::os::unix::fs::chown(folder.join("a.db-wal"), Some(SERVICE), Some(SERVICE)).unwrap();
    let before = folder_bytes(&folder);
    for _ in 0..2 {
        let count = as_nobody(|| rows(&scene.capture(&sqlite("service")).0.get("a.db").data));
        assert_eq!(count, 51);
        assert_eq!(rows(&scene.capture(&sqlite("service")).0.get("a.db").data), 51);
    }
    assert!(folder_bytes(&folder) == before);
    assert_eq!(fs::read_dir(scene.spool.path()).unwrap().count(), 0);
}

#[test]
fn a_database_in_use_is_copied_by_one_who_may_only_read_it() {
    let scene = Scene::new();
    let folder = service_folder(&scene);
    fs::set_permissions(scene.spool.path(), fs::Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(folder.join("a.db"), fs::Permissions::from_mode(0o644)).unwrap();
    let mut service = Service::start(&folder.join("a.db"));
    for row in 51..=60 {
        assert_eq!(service.does(&format!("INSERT INTO t VALUES ({row}, x'00')")), "ok");
        let before = owners(&folder);
        let count = as_nobody(|| rows(&scene.capture(&sqlite("service")).0.get("a.db").data));
        assert_eq!(count, row);
        assert_eq!(owners(&folder), before);
    }
    service.stop();
    assert_eq!(owners(&folder), [("a.db".to_owned(), SERVICE)]);
}

#[test]
fn a_service_that_stops_while_a_reader_has_its_lock_leaves_its_files_as_they_are() {
    let scene = Scene::new();
    drop(database(&scene.path("a.db"), "WAL", 50));
    let mut service = Service::start(&scene.path("a.db"));
    assert_eq!(service.does("INSERT INTO t VALUES (51, x'00')"), "ok");
    // What a capture holds before it looks whether `-wal` and `-shm` are there.
    let file = fs::File::open(scene.path("a.db")).unwrap();
    rustix::fs::fcntl_lock(&file, rustix::fs::FlockOperation::NonBlockingLockShared).unwrap();
    service.stop();
    assert!(scene.path("a.db-wal").exists() && scene.path("a.db-shm").exists());
    let (sink, _) = scene.capture(&sqlite("a.db"));
    assert_eq!(rows(&sink.get("a.db").data), 51);
    drop(file);
    // Nothing is in the way of the next start.
    let mut service = Service::start(&scene.path("a.db"));
    assert_eq!(service.does("INSERT INTO t VALUES (52, x'00')"), "ok");
    service.stop();
    assert!(!scene.path("a.db-wal").exists());
}

#[test]
fn a_journal_that_a_crash_left_is_undone_in_the_copy_and_stays_beside_the_database() {
    let scene = Scene::new();
    drop(database(&scene.path("a.db"), "DELETE", 2000));
    let mut service = Service::start(&scene.path("a.db"));
    // Pages go to the disk before the transaction ends, as they do when it is larger than the cache.
    let sql = "PRAGMA cache_size = 1; PRAGMA cache_spill = 1; BEGIN; UPDATE t SET n = -n; DELETE FROM t WHERE n < -10";
    assert_eq!(service.does(sql), "ok");
    service.crash();
    assert!(fs::metadata(scene.path("a.db-journal")).unwrap().len() > 512);
    let before = folder_bytes(scene.dir.path());
    let (sink, captured) = scene.capture(&sqlite("a.db"));
    assert_eq!((rows(&sink.get("a.db").data), captured.warning_count), (2000, 0));
    assert!(folder_bytes(scene.dir.path()) == before);
    assert_eq!(fs::read_dir(scene.spool.path()).unwrap().count(), 0);
}

#[test]
fn a_damaged_database_ends_the_run_with_4_unless_it_is_not_to_be_checked() {
    let source =
        |check: &str| format!("[[step.source]]\nname = \"db\"\ntype = \"sqlite\"\npath = \"data/*.db\"\n{check}\n");
    let project = Project::new(&source(""));
    fs::create_dir(project.path("data")).unwrap();
    drop(database(&project.path("data/a.db"), "DELETE", 500));
    project.backup(&[]).ended(0);
    let path = project.path("data/a.db");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 64].fill(0xff);
    fs::write(&path, bytes).unwrap();
    for check in ["", "check = \"integrity\""] {
        project.pipeline("backup", &source(check));
        let (code, said) = project.backup(&[]).ended(4).problem();
        assert_eq!(code, "sqlite-corrupt", "{said}");
        assert!(said.contains("a.db") && said.contains("no backup was made"), "{said}");
        assert_eq!(project.backups(), 1);
    }
    project.pipeline("backup", &source("check = \"none\""));
    project.backup(&[]).ended(0);
}

#[test]
fn a_database_that_is_encrypted_is_refused_and_never_passed_by() {
    // No two bytes are alike for long, as in an encrypted file.
    let noise: Vec<u8> = (0..64)
        .flat_map(|n: u32| *blake3::hash(&n.to_le_bytes()).as_bytes())
        .collect();
    for (name, path) in [
        ("a.db", "."),
        ("a.SQLite3", "."),
        ("a.data", "a.data"),
        ("a.db", "*.db"),
    ] {
        let scene = Scene::new();
        drop(database(&scene.path("other.sqlite"), "DELETE", 3));
        scene.write(name, &noise);
        let (_, captured) = scene.capture_while(&sqlite(path), |_| Ok(()));
        let error = captured.unwrap_err();
        assert_eq!((error.code(), error.code().exit().number()), (Code::NotSqlite, 5));
        let help = error.help().unwrap();
        assert!(
            help.contains("SQLCipher") && help.contains("`command`") && help.contains("exclude"),
            "{help}"
        );
    }
    // One that is called something else gives itself away by what lies beside it.
    let scene = Scene::new();
    drop(database(&scene.path("other.sqlite"), "DELETE", 3));
    scene.write("a.data", &noise);
    scene.capture(&sqlite("."));
    scene.write("a.data-wal", &noise);
    assert_eq!(
        scene.capture_while(&sqlite("."), |_| Ok(())).1.unwrap_err().code(),
        Code::NotSqlite
    );
}

#[test]
fn a_database_is_unchanged_when_nothing_that_holds_its_data_was_touched() {
    let scene = Scene::new();
    drop(database(&scene.path("a.db"), "WAL", 50));
    let folder = Folder::open(scene.dir.path()).unwrap();
    let look = || DatabaseStat::of(&folder, b"a.db").unwrap();
    let at_rest = look();
    scene.capture(&sqlite("a.db"));
    assert_eq!(look(), at_rest);
    let mut service = Service::start(&scene.path("a.db"));
    assert_eq!(service.does("INSERT INTO t VALUES (51, x'00')"), "ok");
    let written = look();
    assert!(written.wal.is_some() && written != at_rest);
    // Those who only read leave it as it is.
    assert_eq!(service.does("BEGIN; SELECT count(*) FROM t; END"), "ok");
    scene.capture(&sqlite("a.db"));
    assert_eq!(look(), written);
    service.stop();
    assert_ne!(look(), written);
}

#[test]
fn a_database_that_cannot_be_read_stops_the_run_be_it_the_only_one_or_one_of_many() {
    needs_root();
    let scene = Scene::new();
    for name in ["a.db", "b.db", "data"] {
        fs::create_dir_all(scene.path("dbs")).unwrap();
        drop(database(&scene.path("dbs").join(name), "DELETE", 3));
    }
    scene.write("dbs/secret.txt", "no database");
    let closed = |names: &[&str]| {
        for name in ["a.db", "b.db", "data", "secret.txt"] {
            let mode = if names.contains(&name) { 0o000 } else { 0o644 };
            fs::set_permissions(scene.path("dbs").join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    for folder in ["", "dbs"] {
        fs::set_permissions(scene.path(folder), fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::set_permissions(scene.spool.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let failed = |path: &str| {
        let captured = as_nobody(|| scene.capture_while(&sqlite(path), |_| Ok(())).1);
        let error = captured.unwrap_err();
        (error.code(), error.to_string())
    };
    closed(&["b.db", "data", "secret.txt"]);
    for path in ["dbs/b.db", "dbs/*.db", "dbs"] {
        let (code, said) = failed(path);
        assert_eq!(code, Code::SourceFailed, "{path}");
        assert!(said.contains("/b.db` cannot be read"), "{said}");
    }
    // What is named is meant, whatever it is called.
    assert_eq!(failed("dbs/data").0, Code::SourceFailed);
    // What may be no database is told and left out, as anywhere.
    closed(&["secret.txt"]);
    let (paths, captured) = as_nobody(|| {
        let (sink, captured) = scene.capture(&sqlite("dbs"));
        (sink.paths(), captured)
    });
    assert_eq!(
        (paths, codes(&captured)),
        (
            vec!["", "a.db", "b.db", "data"].into_iter().map(String::from).collect(),
            vec![Code::SourceUnreadable]
        )
    );
}

/// Everything in a folder, with what would tell of a write.
fn folder_state(path: &Path) -> BTreeMap<PathBuf, (Vec<u8>, u64, [i64; 4])> {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let facts = |path: PathBuf| {
        let stat = fs::metadata(&path).unwrap();
        // To the side files that root opens SQLite gives the owner that they have, which only this time tells.
        let is_side = path.to_str().unwrap().ends_with("-wal") || path.to_str().unwrap().ends_with("-shm");
        let ctime = if is_side {
            (0, 0)
        } else {
            (stat.ctime(), stat.ctime_nsec())
        };
        let times = [stat.mtime(), stat.mtime_nsec(), ctime.0, ctime.1];
        let bytes = fs::read(&path).unwrap();
        (path, (bytes, stat.ino(), times))
    };
    entries.map(facts).collect()
}

#[test]
fn a_plan_opens_each_database_and_writes_nothing_beside_it() {
    let source = "[[step.source]]\nname = \"db\"\ntype = \"sqlite\"\npath = \"data/*.db\"\n";
    let project = Project::new(source);
    fs::create_dir(project.path("data")).unwrap();
    drop(database(&project.path("data/rests.db"), "WAL", 20));
    drop(database(&project.path("data/journal.db"), "DELETE", 20));
    drop(database(&project.path("data/crashed.db"), "WAL", 20));
    drop(database(&project.path("data/hot.db"), "DELETE", 2000));
    drop(database(&project.path("data/used.db"), "WAL", 20));
    let mut crashing = Service::start(&project.path("data/crashed.db"));
    assert_eq!(crashing.does("INSERT INTO t VALUES (21, x'00')"), "ok");
    crashing.crash();
    fs::remove_file(project.path("data/crashed.db-shm")).unwrap();
    let mut crashing = Service::start(&project.path("data/hot.db"));
    let sql = "PRAGMA cache_size = 1; PRAGMA cache_spill = 1; BEGIN; UPDATE t SET n = -n; DELETE FROM t WHERE n < -10";
    assert_eq!(crashing.does(sql), "ok");
    crashing.crash();
    let mut service = Service::start(&project.path("data/used.db"));
    assert_eq!(service.does("INSERT INTO t VALUES (21, x'00')"), "ok");
    let before = folder_state(&project.path("data"));
    assert!(
        before.keys().any(|path| path.ends_with("used.db-shm")) && before.len() == 9,
        "{:?}",
        before.keys()
    );
    let planned = project.run(&["plan", "backup", "--env", "dev"]).ended(0);
    assert_eq!(planned.json["diagnostics"], serde_json::json!([]), "{:#}", planned.json);
    assert!(folder_state(&project.path("data")) == before);
    // Whoever uses one has not lost its hold of it.
    assert_eq!(service.does("INSERT INTO t VALUES (22, x'00')"), "ok");
    service.stop();
    assert!(!project.path(".strongroom").exists() && !project.path("backups").exists());
}

#[test]
fn a_plan_foresees_each_database_that_a_backup_cannot_read_with_the_code_of_the_backup() {
    let source = |check: &str| format!("[[step.source]]\nname = \"db\"\ntype = \"sqlite\"\npath = \"data\"\n{check}\n");
    let project = Project::new(&source(""));
    // After the words that make it a database, nothing is as it should be.
    let spoilt = |name: &str, mode: &str| {
        drop(database(&project.path("data").join(name), mode, 20));
        let mut bytes = fs::read(project.path("data").join(name)).unwrap();
        bytes[100..4096].fill(0xff);
        fs::write(project.path("data").join(name), bytes).unwrap();
    };
    let noise = |name: &str| {
        let bytes: Vec<u8> = (0..64_u32)
            .flat_map(|n| *blake3::hash(&n.to_le_bytes()).as_bytes())
            .collect();
        fs::write(project.path("data").join(name), bytes).unwrap();
    };
    let page_size = |name: &str| {
        drop(database(&project.path("data").join(name), "DELETE", 20));
        let mut bytes = fs::read(project.path("data").join(name)).unwrap();
        bytes[16..18].copy_from_slice(&[0x12, 0x34]);
        fs::write(project.path("data").join(name), bytes).unwrap();
    };
    let plants: [(&str, &dyn Fn()); 5] = [
        ("not-sqlite", &|| noise("b.db")),
        ("sqlite-corrupt", &|| spoilt("b.db", "WAL")),
        ("sqlite-corrupt", &|| spoilt("b.db", "DELETE")),
        ("sqlite-failed", &|| page_size("b.db")),
        ("source-empty", &|| fs::remove_file(project.path("data/a.db")).unwrap()),
    ];
    for (code, plant) in plants {
        fs::remove_dir_all(project.path("data")).ok();
        fs::create_dir(project.path("data")).unwrap();
        drop(database(&project.path("data/a.db"), "DELETE", 3));
        plant();
        let planned = project.run(&["plan", "backup", "--env", "dev"]);
        let ran = project.backup(&[]);
        assert_eq!(planned.code, ran.code, "{code}\n{:#}\n{:#}", planned.json, ran.json);
        assert_eq!(
            (planned.problem().0, ran.problem().0),
            (code.into(), code.into()),
            "{:#}",
            planned.json
        );
        let what = |ran: &Ran| ran.json["diagnostics"][0]["what"].as_str().unwrap().to_owned();
        assert!(
            what(&ran).contains(&what(&planned)),
            "{}\n{}",
            what(&ran),
            what(&planned)
        );
        assert_eq!(planned.json["diagnostics"][0]["state"], "nothing was started");
    }
    // What is not checked is not foreseen either, and two that are wrong are both told.
    fs::write(project.path("data/a.db"), b"SQLite format 3\0").unwrap();
    spoilt("b.db", "WAL");
    noise("c.db");
    let planned = project.run(&["plan", "backup", "--env", "dev"]);
    let told = planned.json["diagnostics"].to_string();
    assert!(told.contains("/b.db") && told.contains("/c.db"), "{told}");
    fs::remove_file(project.path("data/c.db")).unwrap();
    fs::remove_file(project.path("data/a.db")).unwrap();
    project.pipeline("backup", &source("check = \"none\""));
    project.run(&["plan", "backup", "--env", "dev"]).ended(0);
    project.backup(&[]).ended(0);
}
