//! Settings of a `sqlite` source, and its capture: each database copied as of one moment, one at a time, and checked.

mod check;
mod copy;
mod foresee;
mod live;
pub mod rest;
mod scratch;

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::FileType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::check::Check;
use self::check::Checked;
pub(super) use self::foresee::foresee;
use self::live::Made;
use self::rest::DatabaseStat;
use super::feed::{self, Feed};
use super::place::{Place, shown};
use super::{CaptureContext, SourceError, Verdict};
use crate::diagnostic::{Code, Diagnostic};
use crate::fs::entry::{Entry, Kind, TreePath};
use crate::fs::folder::{self, Folder};
use crate::fs::metadata;
use crate::fs::selection::Choice;
use crate::fs::walk::{FileSystems, Found, Note, NoteKind, SecondNames, Step};
use crate::limits;

/// SQLite databases, each copied as of one moment while the service writes.
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
    /// What is asked of each copy before it becomes part of the backup. One that is not sound stops the run.
    #[serde(default)]
    pub check: Check,
}

/// How every database begins.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// The names of what SQLite keeps beside a database end so.
const SIDE_FILES: [&[u8]; 3] = [WAL, SHARED_MEMORY, JOURNAL];
const WAL: &[u8] = b"-wal";
const SHARED_MEMORY: &[u8] = b"-shm";
const JOURNAL: &[u8] = b"-journal";
/// How long to wait for whoever holds a database.
const BUSY: Duration = Duration::from_secs(10);

// SQLite guards a database with POSIX locks, and a process loses all of them as soon as it closes any descriptor of that
// file. So whatever is to be learned of the file itself is learned, and its descriptor closed, before SQLite opens it.
pub(super) fn capture(settings: &Sqlite, place: &Place, feed: &mut Feed<'_>) -> Result<(), SourceError> {
    let mut walk = feed::walk(
        place,
        feed.context,
        feed.look(),
        FileSystems::All,
        SecondNames::Separate,
    )?;
    let mut databases = 0_u64;
    let mut unreadable = false;
    while let Some(step) = walk.next() {
        feed.check_stop()?;
        let found = match step {
            Step::Found(found) => *found,
            // A folder of databases may hold what is none.
            Step::Note(Note {
                what: NoteKind::Socket, ..
            }) => continue,
            // A backup without one of its databases would look like a good one, as one with a damaged one would.
            Step::Note(Note {
                path,
                what: NoteKind::Unreadable(cause),
            }) if is_meant_as_database(place, &path) => {
                let path = place.shown(&path);
                return Err(SourceError::Unreadable { path, cause });
            }
            Step::Note(note) => {
                unreadable = true;
                feed.note(place, note);
                continue;
            }
        };
        if found.glimpsed && is_known(feed, walk.folder(), &found)? {
            databases += u64::from(found.entry.kind != Kind::Folder);
            continue;
        }
        let Some(found) = walk.complete(found) else { continue };
        if found.entry.path.is_root() {
            feed.plain(&found.entry)?;
        } else if found.entry.kind == Kind::Folder {
            feed.hold(found.entry);
        } else if let Some(folder) = walk.folder() {
            databases += u64::from(entry(settings, place, feed, folder, found)?);
        }
    }
    if databases == 0 && (unreadable || !place.may_be_empty) {
        return Err(none_there(place, unreadable));
    }
    Ok(())
}

fn none_there(place: &Place, unreadable: bool) -> SourceError {
    SourceError::Empty {
        name: place.name.clone(),
        what: if unreadable {
            "there is no database that can be read"
        } else {
            "there is no database"
        },
        root: place.shown(&TreePath::root()),
    }
}

/// Whether the sink has what was glimpsed: the root, or a database of which no part has changed.
fn is_known(feed: &mut Feed<'_>, folder: Option<&Folder>, found: &Found) -> Result<bool, SourceError> {
    let mut glimpse = found.entry.clone();
    match (&glimpse.kind, folder) {
        (Kind::Folder, _) if glimpse.path.is_root() => {}
        (Kind::File { .. }, Some(folder)) => match DatabaseStat::of(folder, glimpse.path.name()) {
            Ok(stat) => glimpse.stat = Some(stat.as_one()),
            // Whoever copies it will say what is wrong.
            Err(_) => return Ok(false),
        },
        _ => return Ok(false),
    }
    Ok(feed.known(&glimpse, None)?.is_some())
}

/// What a file in a folder of databases is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Database,
    /// A database that nothing was ever written to.
    EmptyDatabase,
    /// A part of the database beside it.
    SideFile,
    /// Called as databases are, or with their side files beside it, and none: an encrypted one, most likely.
    Disguised,
    Other,
}

/// How the names of databases end.
const ENDS: [&str; 4] = ["db", "db3", "sqlite", "sqlite3"];

/// Captures one entry that is no folder; whether it is a database.
fn entry(
    settings: &Sqlite,
    place: &Place,
    feed: &mut Feed<'_>,
    folder: &Folder,
    found: Found,
) -> Result<bool, SourceError> {
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
        Role::Database => copy(settings, feed, folder, found.entry, &path).map(|()| true),
        Role::EmptyDatabase if named => {
            feed.plain(&as_copy(found.entry, 0, None))?;
            Ok(true)
        }
        // To pass one by because it cannot be read would be to leave it out without a word.
        Role::Disguised => Err(SourceError::NotSqlite { path }),
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
    let beside = SIDE_FILES.iter().any(|end| is_file(&[name, end].concat()));
    Ok(match (read > 0, beside) {
        (true, true) => Role::Disguised,
        (true, false) if is_called_a_database(name) => Role::Disguised,
        (true, false) => Role::Other,
        // Nothing in the file yet may mean that everything is still in what lies beside it.
        (false, true) => Role::Database,
        (false, false) => Role::EmptyDatabase,
    })
}

/// Whether something that cannot be looked into should be a database: it is named by the source, or called as databases are.
fn is_meant_as_database(place: &Place, path: &TreePath) -> bool {
    !path.is_root() && (place.selection.choice(path, false) == Choice::Named || is_called_a_database(path.name()))
}

fn is_called_a_database(name: &[u8]) -> bool {
    let end = Path::new(std::ffi::OsStr::from_bytes(name)).extension();
    end.is_some_and(|end| ENDS.iter().any(|known| end.eq_ignore_ascii_case(known)))
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
                Choice::Inside | Choice::OnTheWay | Choice::Out | Choice::Refused => {
                    matches!(role, Role::Database | Role::Disguised)
                }
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

/// The entry of a database's copy: the file's own metadata, the copy's size, and how the database looked before it was copied.
fn as_copy(entry: Entry, size: u64, stat: Option<DatabaseStat>) -> Entry {
    Entry {
        kind: Kind::File { size, extents: None },
        stat: stat.map(|stat| stat.as_one()),
        ..entry
    }
}

/// Copies a database into the spool and hands the copy on.
fn copy(settings: &Sqlite, feed: &mut Feed<'_>, folder: &Folder, entry: Entry, path: &str) -> Result<(), SourceError> {
    let stat = DatabaseStat::of(folder, entry.path.name()).ok();
    let (scratch, made) = copy::copy(feed.context, folder, entry.path.name(), path)?;
    if made == Made::KeepingOut {
        feed.warn(blocks_writers(path));
    }
    match check::check(scratch.path(), settings.check, feed.context.stop) {
        Checked::Sound => {}
        Checked::Corrupt(what) => {
            let path = path.to_owned();
            return Err(SourceError::SqliteCorrupt { path, what });
        }
        Checked::Unknown(cause) => feed.warn(unchecked(path, &cause)),
        Checked::Stopped => return Err(SourceError::Stopped),
    }
    let copy = scratch.into_file().map_err(|cause| spool_failed(feed.context, cause))?;
    let size = copy
        .metadata()
        .map_err(|cause| spool_failed(feed.context, cause))?
        .len();
    let copy = OwnedFd::from(copy);
    feed.begin(&as_copy(entry, size, stat))?;
    let mut buffer = vec![0; limits::READ_BLOCK];
    let mut at = 0;
    while at < size {
        let wanted = usize::try_from(size - at).map_or(buffer.len(), |left| left.min(buffer.len()));
        let block = buffer.get_mut(..wanted).unwrap_or_default();
        let read = feed::read_at(&copy, block, at).map_err(|cause| spool_failed(feed.context, cause))?;
        if read < wanted {
            return Err(SourceError::SqliteCopy { path: path.to_owned() });
        }
        feed.write(block)?;
        at += wanted as u64;
    }
    feed.end(Verdict::Kept)
}

fn spool_failed(context: &CaptureContext<'_>, cause: io::Error) -> SourceError {
    SourceError::Spool {
        spool: shown(&context.spool),
        cause,
    }
}

fn blocks_writers(path: &str) -> Diagnostic {
    Diagnostic::warning(
        Code::SqliteBlocksWriters,
        format!("writers of the database `{path}` had to wait while it was copied"),
    )
    .why(format!(
        "it has a rollback journal, and writes came in between each of {} tries to copy it beside them",
        limits::SQLITE_RESTARTS + 1
    ))
    .state("it is in the backup as of one moment")
    .help("let the service use WAL mode (`PRAGMA journal_mode = WAL`), in which readers and writers do not wait for each other")
}

fn unchecked(path: &str, cause: &rusqlite::Error) -> Diagnostic {
    Diagnostic::warning(
        Code::SqliteUnchecked,
        format!("the copy of the database `{path}` could not be checked"),
    )
    .why(cause.to_string())
    .state("it is in the backup, unchecked")
    .help("where it needs an extension that this program does not have, write `check = \"none\"` for its source")
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
