//! Looks at what was unpacked before it is put in place: is a database whole, is a log the one that was captured.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use crate::limits;

/// What ends a record of a log.
const END: u8 = b'\n';
/// Faults of one database that SQLite is asked for.
const FAULTS: usize = 10;

/// How a database is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// `PRAGMA quick_check`: pages and records.
    Quick,
    /// `PRAGMA integrity_check`: indexes too, several times slower.
    Integrity,
}

/// Asks SQLite whether the database at `path` is whole; gives what it finds, nothing where it is. The file is read as it
/// lies there, without a log beside it, and nothing is made or locked.
///
/// # Errors
/// Where SQLite cannot read it.
pub fn database(path: &Path, check: Check) -> Result<Vec<String>, rusqlite::Error> {
    let cannot = |error: io::Error| {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN);
        rusqlite::Error::SqliteFailure(code, Some(error.to_string()))
    };
    let file = open(path).map_err(cannot)?;
    let uri = format!("file:/proc/self/fd/{}?immutable=1", file.as_raw_fd());
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri, flags)?;
    // Negative, it counts KiB.
    let cache = -i64::try_from(limits::JUDGE_CACHE >> 10).unwrap_or_default();
    connection.pragma_update(None, "cache_size", cache)?;
    let pragma = match check {
        Check::Quick => format!("PRAGMA quick_check({FAULTS})"),
        Check::Integrity => format!("PRAGMA integrity_check({FAULTS})"),
    };
    let mut statement = connection.prepare(&pragma)?;
    let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
    let found: Vec<String> = rows.collect::<Result<_, _>>()?;
    Ok(found.into_iter().filter(|line| line != "ok").collect())
}

/// A log as it lies on the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogFacts {
    /// Bytes of all files in order.
    pub length: u64,
    /// Whole records.
    pub records: u64,
    /// Whether the last record is whole.
    pub is_whole: bool,
    /// The first bytes that were asked for; nothing where there are fewer.
    pub prefix: Option<Prefix>,
}

/// The beginning of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// Whole records in it.
    pub records: u64,
    /// Its BLAKE3 in hex.
    pub blake3: String,
}

/// Reads a log, file by file, and its first `prefix` bytes apart.
///
/// # Errors
/// Where a file cannot be read.
pub fn log(files: &[PathBuf], prefix: u64) -> io::Result<LogFacts> {
    let mut facts = LogFacts {
        is_whole: true,
        ..LogFacts::default()
    };
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; limits::READ_BLOCK];
    let mut done = prefix == 0;
    if done {
        facts.prefix = Some(Prefix {
            records: 0,
            blake3: hasher.finalize().to_hex().to_string(),
        });
    }
    for path in files {
        let mut file = open(path)?;
        loop {
            let read = file.read(&mut buffer)?;
            let Some(block) = buffer.get(..read).filter(|block| !block.is_empty()) else {
                break;
            };
            let left = usize::try_from(prefix.saturating_sub(facts.length)).unwrap_or(usize::MAX);
            let (within, beyond) = block.split_at(left.min(block.len()));
            hasher.update(within);
            facts.records += ends(within);
            facts.length += within.len() as u64;
            if !done && facts.length == prefix {
                done = true;
                facts.prefix = Some(Prefix {
                    records: facts.records,
                    blake3: hasher.finalize().to_hex().to_string(),
                });
            }
            facts.records += ends(beyond);
            facts.length += beyond.len() as u64;
            facts.is_whole = block.last() == Some(&END);
        }
    }
    Ok(facts)
}

fn ends(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == END).count() as u64
}

/// Opens a file for reading, never through a link and never waiting.
fn open(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).unwrap_or(0);
    File::options().read(true).custom_flags(flags).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn a_log_is_read_as_one_whatever_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let files = [write("1", "a\nb\n"), write("2", ""), write("3", "c\nd")];
        let hash = |text: &str| blake3::hash(text.as_bytes()).to_hex().to_string();
        for (prefix, records, text) in [(0, 0, ""), (4, 2, "a\nb\n"), (5, 2, "a\nb\nc"), (7, 3, "a\nb\nc\nd")] {
            let facts = log(&files, prefix).unwrap();
            assert_eq!((facts.length, facts.records, facts.is_whole), (7, 3, false));
            let expected = Prefix {
                records,
                blake3: hash(text),
            };
            assert_eq!(facts.prefix, Some(expected), "{prefix}");
        }
        assert_eq!(log(&files, 8).unwrap().prefix, None);
        let whole = log(&files[..2], 4).unwrap();
        assert!(whole.is_whole && whole.length == 4);
        assert!(log(&[], 0).unwrap().is_whole);
    }

    #[test]
    fn a_broken_database_is_found_and_nothing_is_made_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a b?%.db");
        let connection = Connection::open(&path).unwrap();
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; CREATE TABLE t (a TEXT); CREATE INDEX i ON t (a);
                 WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
                 INSERT INTO t SELECT printf('row %d', i) FROM n; PRAGMA wal_checkpoint(TRUNCATE);",
            )
            .unwrap();
        drop(connection);
        for check in [Check::Quick, Check::Integrity] {
            assert_eq!(database(&path, check).unwrap(), Vec::<String>::new());
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&[0xff; 4096], 3 * 4096).unwrap();
        for check in [Check::Quick, Check::Integrity] {
            assert!(
                database(&path, check).map_or(true, |found| !found.is_empty()),
                "{check:?}"
            );
        }
        std::fs::write(&path, "no database at all, but long enough to look at").unwrap();
        assert!(database(&path, Check::Quick).is_err());
        assert!(database(&folder.path().join("gone"), Check::Quick).is_err());
    }
}
