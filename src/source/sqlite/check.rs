//! Asks SQLite whether a copy is sound, before it is handed on.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What SQLite is asked of a copy before it becomes part of the backup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Check {
    /// Every page: `PRAGMA quick_check`.
    #[default]
    Quick,
    /// Every page, and every index against its table: `PRAGMA integrity_check`, which takes several times as long.
    Integrity,
    /// Nothing.
    None,
}

/// What SQLite says of a copy.
#[derive(Debug)]
pub(super) enum Checked {
    /// It is sound, or nothing was asked.
    Sound,
    /// It is not: the first things that are wrong.
    Corrupt(String),
    /// It cannot be told, for want of an extension for one.
    Unknown(rusqlite::Error),
    /// The run was stopped.
    Stopped,
}

/// Things that are wrong with a database, beyond which the rest is not listed.
const LISTED: u32 = 3;
/// How long a check goes on without looking whether it should stop.
const DEAF: Duration = Duration::from_millis(100);
/// What a path may not hold in a URI.
pub(super) const IN_A_URI: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.');

/// Checks the database at `path`, which nobody writes to and beside which nothing is made.
pub(super) fn check(path: &Path, how: Check, stop: &AtomicBool) -> Checked {
    let pragma = match how {
        Check::Quick => "quick_check",
        Check::Integrity => "integrity_check",
        Check::None => return Checked::Sound,
    };
    match ask(path, pragma, stop) {
        Ok(said) if said == ["ok"] => Checked::Sound,
        Ok(said) => Checked::Corrupt(said.join("; ")),
        Err(_) if stop.load(Ordering::Relaxed) => Checked::Stopped,
        Err(error) if is_corruption(&error) => Checked::Corrupt(error.to_string()),
        Err(error) => Checked::Unknown(error),
    }
}

pub(super) fn is_corruption(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}

fn ask(path: &Path, pragma: &str, stop: &AtomicBool) -> rusqlite::Result<Vec<String>> {
    // Immutable: no lock, no write-ahead log, no side file.
    let path = percent_encode(path.as_os_str().as_bytes(), IN_A_URI);
    let uri = format!("file:{path}?mode=ro&immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let copy = Connection::open_with_flags(uri, flags)?;
    let interrupt = copy.get_interrupt_handle();
    let (done, wait) = channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while wait.recv_timeout(DEAF) == Err(RecvTimeoutError::Timeout) {
                if stop.load(Ordering::Relaxed) {
                    interrupt.interrupt();
                }
            }
        });
        let said = rows(&copy, pragma);
        drop(done);
        said
    })
}

fn rows(copy: &Connection, pragma: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = copy.prepare(&format!("PRAGMA {pragma}({LISTED})"))?;
    let rows = statement.query_map([], |row| row.get(0))?;
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(path: &Path) {
        let made = Connection::open(path).unwrap();
        made.execute_batch(
            "PRAGMA journal_mode = WAL; CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT); CREATE INDEX i ON t (b);
             WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 5000)
             INSERT INTO t SELECT x, hex(randomblob(20)) FROM n;",
        )
        .unwrap();
    }

    #[test]
    fn a_damaged_page_is_found_and_nothing_is_made_beside_the_copy() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a %20?#&.db");
        database(&path);
        let stop = AtomicBool::new(false);
        let before = std::fs::read(&path).unwrap();
        for how in [Check::Quick, Check::Integrity, Check::None] {
            assert!(matches!(check(&path, how, &stop), Checked::Sound), "{how:?}");
        }
        assert!(std::fs::read(&path).unwrap() == before);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        let mut damaged = before;
        let middle = damaged.len() / 2 / 4096 * 4096;
        damaged[middle..middle + 100].fill(0xff);
        std::fs::write(&path, damaged).unwrap();
        assert!(matches!(check(&path, Check::Quick, &stop), Checked::Corrupt(_)));
        assert!(matches!(check(&path, Check::None, &stop), Checked::Sound));
    }

    #[test]
    fn a_check_that_lacks_an_extension_tells_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.db");
        database(&path);
        Connection::open(&path)
            .unwrap()
            .execute_batch(
                "PRAGMA writable_schema = ON;
                 UPDATE sqlite_schema SET sql = replace(sql, 'b TEXT', 'b TEXT COLLATE nowhere') WHERE name = 't';",
            )
            .unwrap();
        let checked = check(&path, Check::Integrity, &AtomicBool::new(false));
        assert!(matches!(checked, Checked::Unknown(_)), "{checked:?}");
    }

    #[test]
    fn a_check_ends_when_the_run_is_to_stop() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.db");
        let made = Connection::open(&path).unwrap();
        made.execute_batch(
            "PRAGMA synchronous = OFF; CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT); CREATE INDEX i ON t (b);
             WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 100000)
             INSERT INTO t SELECT x, hex(randomblob(20)) FROM n;",
        )
        .unwrap();
        let checked = check(&path, Check::Integrity, &AtomicBool::new(true));
        assert!(matches!(checked, Checked::Stopped | Checked::Sound), "{checked:?}");
    }
}
