//! Settings of a `sqlite` source, and its capture: each database copied by SQLite's online backup, one at a time.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use rustix::fs::FileType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::feed::{self, Feed};
use super::place::{Place, shown};
use super::{SourceError, Verdict};
use crate::diagnostic::{Code, Diagnostic};
use crate::fs::entry::{Entry, Kind, TreePath};
use crate::fs::folder::{self, Folder};
use crate::fs::metadata;
use crate::fs::selection::Choice;
use crate::fs::walk::{FileSystems, Found, NoteKind, SecondNames, Step};
use crate::limits;

/// SQLite databases, copied by SQLite's online backup while the service writes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Sqlite {
    /// A database, a folder of databases, or a glob such as `/srv/data/*.db`. The `-wal`, `-shm` and `-journal` files
    /// beside a database are part of it. Relative paths start at the folder above `pipelines/`.
    #[schemars(length(min = 1), extend("x-glob" = true))]
    pub path: String,
    /// Globs, relative to the root, of what is left out.
    #[serde(default)]
    #[schemars(extend("x-glob" = true))]
    pub exclude: Vec<String>,
}

/// How every database begins.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// The names of what SQLite keeps beside a database end so.
const SIDE_FILES: [&[u8]; 3] = [b"-wal", b"-shm", b"-journal"];
/// How long to wait for whoever holds a database.
const BUSY: Duration = Duration::from_secs(10);
/// Bytes copied between two looks at the stop flag.
const STEP: i32 = 16 << 20;

/// Distinguishes the spool files of one process.
static COUNTER: AtomicU64 = AtomicU64::new(0);

// SQLite guards a database with POSIX locks, and a process loses all of them as soon as it closes any descriptor of that
// file. So whatever is to be learned of the file itself is learned, and its descriptor closed, before SQLite opens it.
pub(super) fn capture(place: &Place, feed: &mut Feed<'_>) -> Result<(), SourceError> {
    let mut walk = feed::walk(place, feed.context, FileSystems::All, SecondNames::Separate)?;
    let mut databases = 0_u64;
    let mut unreadable = false;
    while let Some(step) = walk.next() {
        feed.check_stop()?;
        let found = match step {
            Step::Found(found) => *found,
            // A folder of databases may hold what is none.
            Step::Note(note) if matches!(note.what, NoteKind::Socket) => continue,
            Step::Note(note) => {
                unreadable = true;
                feed.note(place, note);
                continue;
            }
        };
        if found.entry.path.is_root() {
            feed.plain(&found.entry)?;
        } else if found.entry.kind == Kind::Folder {
            feed.hold(found.entry);
        } else if let Some(folder) = walk.folder() {
            databases += u64::from(entry(place, feed, folder, found)?);
        }
    }
    if databases == 0 && (unreadable || !place.may_be_empty) {
        return Err(SourceError::Empty {
            name: place.name.clone(),
            what: if unreadable {
                "there is no database that can be read"
            } else {
                "there is no database"
            },
            root: place.shown(&TreePath::root()),
        });
    }
    Ok(())
}

/// The state of a database's write-ahead log.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WriteAheadLog {
    /// It is there: the service runs, or crashed.
    Present,
    /// The database has one while it is open, and it is closed.
    Absent,
    /// The database has none.
    Unused,
}

/// What a file in a folder of databases is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Database,
    /// A database that nothing was ever written to.
    EmptyDatabase,
    /// A part of the database beside it.
    SideFile,
    Other,
}

/// Captures one entry that is no folder; whether it is a database.
fn entry(place: &Place, feed: &mut Feed<'_>, folder: &Folder, found: Found) -> Result<bool, SourceError> {
    let path = place.shown(&found.entry.path);
    let named = found.choice == Choice::Named;
    let Some(file) = found.content else {
        if named {
            feed.plain(&found.entry)?;
            feed.warn(no_file(&path));
        }
        return Ok(false);
    };
    let role = role(folder, found.entry.path.name(), &file).map_err(|cause| SourceError::Unreadable {
        path: path.clone(),
        cause,
    })?;
    drop(file);
    match role {
        Role::Database => copy(feed, folder, found.entry, &path).map(|()| true),
        Role::EmptyDatabase if named => {
            feed.plain(&as_copy(found.entry, 0))?;
            Ok(true)
        }
        Role::Other if named => Err(SourceError::NotSqlite { path }),
        Role::SideFile | Role::Other | Role::EmptyDatabase => Ok(false),
    }
}

fn role(folder: &Folder, name: &[u8], file: &OwnedFd) -> io::Result<Role> {
    let mut head = [0; 16];
    let read = feed::read_at(file, &mut head, 0)?;
    if head == *MAGIC {
        return Ok(Role::Database);
    }
    let is_file = |name: &[u8]| {
        let stat = folder.stat_of(name);
        stat.is_ok_and(|stat| metadata::file_type(&stat) == FileType::RegularFile)
    };
    let owner = SIDE_FILES.iter().find_map(|end| name.strip_suffix(*end));
    if owner.is_some_and(|owner| !owner.is_empty() && is_file(owner)) {
        return Ok(Role::SideFile);
    }
    if read > 0 {
        return Ok(Role::Other);
    }
    // Nothing in the file yet may mean that everything is still in what lies beside it.
    let beside = SIDE_FILES.iter().any(|end| is_file(&[name, end].concat()));
    Ok(if beside { Role::Database } else { Role::EmptyDatabase })
}

/// Whether a survey counts what was found.
pub(super) fn is_meant(folder: &Folder, found: &Found) -> io::Result<bool> {
    match found.entry.kind {
        Kind::Folder => Ok(found.entry.path.is_root()),
        Kind::File { .. } | Kind::HardLink { .. } => {
            let name = found.entry.path.name();
            let role = role(folder, name, &folder.file(name)?)?;
            Ok(match found.choice {
                Choice::Named => role != Role::SideFile,
                Choice::Inside | Choice::OnTheWay | Choice::Out | Choice::Refused => role == Role::Database,
            })
        }
        Kind::Link { .. } | Kind::Fifo | Kind::CharDevice { .. } | Kind::BlockDevice { .. } => {
            Ok(found.choice == Choice::Named)
        }
    }
}

/// Whether the file `path` below `root` begins as a database does.
pub(super) fn is_database_at(root: &Path, path: &TreePath) -> io::Result<bool> {
    let root = Folder::open(root)?;
    let folder = root.beneath(&path.parent().unwrap_or_default())?;
    let file = folder.file(path.name())?;
    if metadata::file_type(&folder::stat(&file)?) != FileType::RegularFile {
        return Ok(false);
    }
    Ok(role(&folder, path.name(), &file)? == Role::Database)
}

/// The entry of a database's copy: the file's own metadata, the copy's size.
fn as_copy(entry: Entry, size: u64) -> Entry {
    Entry {
        kind: Kind::File { size, extents: None },
        stat: None,
        ..entry
    }
}

/// Copies a database into the spool and hands the copy on.
fn copy(feed: &mut Feed<'_>, folder: &Folder, entry: Entry, path: &str) -> Result<(), SourceError> {
    let unreadable = |cause| SourceError::Unreadable {
        path: path.to_owned(),
        cause,
    };
    let at = folder
        .path()
        .map_err(unreadable)?
        .join(std::ffi::OsStr::from_bytes(entry.path.name()));
    let log = write_ahead_log(folder, entry.path.name()).map_err(unreadable)?;
    let spool = backup(feed, &at, log, path)?;
    let size = spool.metadata().map_err(|cause| spool_failed(feed, cause))?.len();
    let spool = OwnedFd::from(spool);
    feed.begin(&as_copy(entry, size))?;
    let mut buffer = vec![0; limits::READ_BLOCK];
    let mut at = 0;
    while at < size {
        let wanted = usize::try_from(size - at).map_or(buffer.len(), |left| left.min(buffer.len()));
        let block = buffer.get_mut(..wanted).unwrap_or_default();
        let read = feed::read_at(&spool, block, at).map_err(|cause| spool_failed(feed, cause))?;
        if read < wanted {
            return Err(SourceError::SqliteCopy { path: path.to_owned() });
        }
        feed.write(block)?;
        at += wanted as u64;
    }
    feed.end(Verdict::Kept)
}

fn spool_failed(feed: &Feed<'_>, cause: io::Error) -> SourceError {
    SourceError::Spool {
        spool: shown(&feed.context.spool),
        cause,
    }
}

/// Makes SQLite's own copy of the database at `at`: the state of one moment, however much is written meanwhile. The copy
/// has no name any more when it is filled, so a crash leaves nothing.
fn backup(feed: &Feed<'_>, at: &Path, log: WriteAheadLog, path: &str) -> Result<File, SourceError> {
    let failed = |cause| SourceError::Sqlite {
        path: path.to_owned(),
        cause,
    };
    let (spool, name) = create_spool(&feed.context.spool).map_err(|cause| spool_failed(feed, cause))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(&name, flags);
    std::fs::remove_file(&name).map_err(|cause| spool_failed(feed, cause))?;
    let not_spooled = |cause| spool_failed(feed, io::Error::other(cause));
    let mut target = opened.map_err(not_spooled)?;
    // A copy that a crash makes worthless needs neither a journal nor the disk.
    target
        .execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE;")
        .map_err(not_spooled)?;

    let source = open_source(at, log).map_err(failed)?;
    // One read transaction around all steps holds one moment: without it each write would start the copy again.
    source.execute_batch("BEGIN").map_err(failed)?;
    source
        .query_row("PRAGMA schema_version", [], |row| row.get::<_, i64>(0))
        .map_err(failed)?;
    let page: i32 = source
        .query_row("PRAGMA page_size", [], |row| row.get(0))
        .map_err(failed)?;
    let pages = copy_pages(feed, &source, &mut target, (STEP / page.max(512)).max(1), path)?;
    drop(source);
    target.close().map_err(|(_, cause)| failed(cause))?;

    let length = spool.metadata().map_err(|cause| spool_failed(feed, cause))?.len();
    if length != u64::from(page.unsigned_abs()) * pages {
        return Err(SourceError::SqliteCopy { path: path.to_owned() });
    }
    Ok(spool)
}

/// Opens a database that may only be read.
///
/// A reader of a database in WAL mode makes `-wal` and `-shm` beside it where there are none, and one that was opened
/// for reading alone cannot remove them again. So where there is no log the database is opened as its service opens it:
/// whoever closes it last removes both, by SQLite's own rules. Where there is one it stays as it is, a crash's left-over
/// included.
fn open_source(at: &Path, log: WriteAheadLog) -> rusqlite::Result<Connection> {
    let access = match log {
        WriteAheadLog::Absent => OpenFlags::SQLITE_OPEN_READ_WRITE,
        WriteAheadLog::Present | WriteAheadLog::Unused => OpenFlags::SQLITE_OPEN_READ_ONLY,
    };
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let source = Connection::open_with_flags(at, flags)?;
    source.busy_timeout(BUSY)?;
    source.pragma_update(None, "query_only", true)?;
    Ok(source)
}

fn write_ahead_log(folder: &Folder, name: &[u8]) -> io::Result<WriteAheadLog> {
    match folder.stat_of(&[name, b"-wal"].concat()) {
        Ok(_) => return Ok(WriteAheadLog::Present),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut head = [0; 20];
    feed::read_at(&folder.file(name)?, &mut head, 0)?;
    let in_wal_mode = head.get(18..) == Some(&[2, 2]);
    Ok(if in_wal_mode {
        WriteAheadLog::Absent
    } else {
        WriteAheadLog::Unused
    })
}

/// Copies all pages; gives their number.
fn copy_pages(
    feed: &Feed<'_>,
    source: &Connection,
    target: &mut Connection,
    step: i32,
    path: &str,
) -> Result<u64, SourceError> {
    let failed = |cause: rusqlite::Error| {
        // The source is only read, so it is the spool that is full.
        if cause.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull) {
            return spool_failed(feed, io::ErrorKind::StorageFull.into());
        }
        let path = path.to_owned();
        SourceError::Sqlite { path, cause }
    };
    let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
    let backup = Backup::new(source, target).map_err(failed)?;
    loop {
        feed.check_stop()?;
        match backup.step(step).map_err(failed)? {
            StepResult::More => {}
            StepResult::Done => return Ok(u64::from(backup.progress().pagecount.unsigned_abs())),
            // The read transaction stands and nobody else knows the target, so there is nothing to wait for.
            _ => return Err(failed(rusqlite::Error::SqliteFailure(busy, None))),
        }
    }
}

/// A new file in the spool that only its owner can read, and its name.
fn create_spool(spool: &Path) -> io::Result<(File, PathBuf)> {
    loop {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = spool.join(format!("sqlite-{}-{number}", std::process::id()));
        match OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&name)
        {
            // A name left over from a killed process is passed by.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            opened => return Ok((opened?, name)),
        }
    }
}

fn no_file(path: &str) -> Diagnostic {
    Diagnostic::warning(
        Code::SourceUnsupported,
        format!("`{path}` is not a file but a link or something else"),
    )
    .why("links below the root of a source are never followed")
    .state("the link is in the backup, what it points to is not")
    .help("name the database itself in a source of its own")
}
