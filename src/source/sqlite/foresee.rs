//! Whether the databases of a source can be read, for who asks before a run and copies nothing.
//!
//! SQLite opens a database in its place only where a capture would let it, read-only and with the shared memory beside it read-only
//! too: nothing is made or changed there, by no byte. A database at rest is opened as if nobody could change it, so without a
//! lock. One that a crash left is not opened at all, for what it holds is known only once its log or its journal is worked in.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use percent_encoding::percent_encode;
use rusqlite::{Connection, OpenFlags};

use super::check::{Check, IN_A_URI, is_corruption};
use super::copy::{Mode, exists, mode};
use super::live::is_patient;
use super::rest::ReaderLock;
use super::{JOURNAL, Role, SHARED_MEMORY, Sqlite, WAL, is_meant_as_database, none_there, role};
use crate::event::Events;
use crate::fs::entry::Kind;
use crate::fs::folder::Folder;
use crate::fs::owners::Owners;
use crate::fs::selection::Choice;
use crate::fs::walk::{FileSystems, Found, Look, Note, NoteKind, SecondNames, Step};
use crate::source::place::Place;
use crate::source::{CaptureContext, SourceError, feed};

/// What a capture of the source would end with, for each database that is not in order.
pub(in crate::source) fn foresee(
    settings: &Sqlite,
    place: &Place,
    owners: &Owners,
    stop: &AtomicBool,
) -> Vec<SourceError> {
    let context = CaptureContext {
        events: &Events::none(),
        // Nothing is kept there.
        spool: PathBuf::new(),
        owners,
        stop,
    };
    let mut faults = Vec::new();
    if let Err(error) = look(settings, place, &context, &mut faults) {
        faults.push(error);
    }
    faults
}

fn look(
    settings: &Sqlite,
    place: &Place,
    context: &CaptureContext<'_>,
    faults: &mut Vec<SourceError>,
) -> Result<(), SourceError> {
    let mut walk = feed::walk(place, context, Look::Survey, FileSystems::All, SecondNames::Separate)?;
    let (mut databases, mut unreadable) = (0_u64, false);
    while let Some(step) = walk.next() {
        context.check_stop()?;
        match step {
            Step::Found(found) => {
                let Some(folder) = walk.folder() else { continue };
                match one(settings, place, context, folder, &found) {
                    Ok(Is::Database) => databases += 1,
                    Ok(Is::None) => {}
                    Err(SourceError::Stopped) => return Err(SourceError::Stopped),
                    Err(fault) => {
                        databases += 1;
                        faults.push(fault);
                    }
                }
            }
            Step::Note(Note {
                what: NoteKind::Socket, ..
            }) => {}
            Step::Note(Note {
                path,
                what: NoteKind::Unreadable(cause),
            }) if is_meant_as_database(place, &path) => {
                databases += 1;
                faults.push(SourceError::Unreadable {
                    path: place.shown(&path),
                    cause,
                });
            }
            Step::Note(_) => unreadable = true,
        }
    }
    if databases == 0 && (unreadable || !place.may_be_empty) {
        return Err(none_there(place, unreadable));
    }
    Ok(())
}

enum Is {
    Database,
    None,
}

fn one(
    settings: &Sqlite,
    place: &Place,
    context: &CaptureContext<'_>,
    folder: &Folder,
    found: &Found,
) -> Result<Is, SourceError> {
    if !matches!(found.entry.kind, Kind::File { .. } | Kind::HardLink { .. }) {
        return Ok(Is::None);
    }
    let (name, path) = (found.entry.path.name(), place.shown(&found.entry.path));
    let named = found.choice == Choice::Named;
    let unreadable = |cause| SourceError::Unreadable {
        path: path.clone(),
        cause,
    };
    // SQLite's locks go as soon as any descriptor of the file is closed: this one is closed before it opens the file.
    let role = folder.file(name).and_then(|file| role(folder, name, &file));
    match role {
        Ok(Role::Database) => {}
        Ok(Role::EmptyDatabase) if named => return Ok(Is::Database),
        Ok(Role::Disguised) => return Err(SourceError::NotSqlite { path }),
        Ok(Role::Other) if named => return Err(SourceError::NotSqlite { path }),
        Ok(Role::SideFile | Role::Other | Role::EmptyDatabase) => return Ok(Is::None),
        Err(cause) if named || is_meant_as_database(place, &found.entry.path) => return Err(unreadable(cause)),
        Err(_) => return Ok(Is::None),
    }
    let at = folder.path().map_err(unreadable)?;
    let at = at.join(std::ffi::OsStr::from_bytes(name));
    let asking = Asking {
        at: &at,
        path: &path,
        check: settings.check,
    };
    database(context, folder, name, &asking).map(|()| Is::Database)
}

/// Asks as a capture would, by what lies beside the database.
fn database(
    context: &CaptureContext<'_>,
    folder: &Folder,
    name: &[u8],
    asking: &Asking<'_>,
) -> Result<(), SourceError> {
    let unreadable = |cause| SourceError::Unreadable {
        path: asking.path.to_owned(),
        cause,
    };
    let is_there = |end: &[u8]| exists(folder, name, end).map_err(unreadable);
    if mode(folder, name).map_err(unreadable)? == Mode::Journal {
        // A journal may be one that a crash left, which nobody but a writer may undo.
        if is_there(JOURNAL)? {
            return can_be_read(folder, name, JOURNAL).map_err(unreadable);
        }
        return asking.in_place();
    }
    // Held until SQLite has closed the database, so that nobody can be the last to close it: what lies beside it stays.
    let _lock = ReaderLock::take(context, folder, name, asking.path)?;
    match (is_there(WAL)?, is_there(SHARED_MEMORY)?) {
        (true, true) => asking.in_place(),
        (true, false) => can_be_read(folder, name, WAL).map_err(unreadable),
        (false, _) => asking.at_rest(),
    }
}

fn can_be_read(folder: &Folder, name: &[u8], end: &[u8]) -> io::Result<()> {
    match folder.file(&[name, end].concat()) {
        // It went meanwhile: whoever had the database open has closed it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        opened => opened.map(drop),
    }
}

/// A database that SQLite is asked about.
struct Asking<'a> {
    at: &'a Path,
    /// The same for people.
    path: &'a str,
    check: Check,
}

impl Asking<'_> {
    /// Where it lies, beside whoever uses it.
    fn in_place(&self) -> Result<(), SourceError> {
        let failed = |cause| SourceError::Sqlite {
            path: self.path.to_owned(),
            cause,
        };
        let opened = self.open("mode=ro&readonly_shm=1").and_then(|mut database| {
            database.busy_handler(Some(is_patient))?;
            database.pragma_update(None, "query_only", true)?;
            database.query_row("PRAGMA schema_version", [], |row| row.get::<_, i64>(0))?;
            Ok(database)
        });
        self.judge(&opened.map_err(failed)?)
    }

    /// While nobody uses it, as its copy would be.
    fn at_rest(&self) -> Result<(), SourceError> {
        match self.open("mode=ro&immutable=1") {
            Ok(database) => self.judge(&database),
            // A copy that cannot be opened is not checked either.
            Err(_) => Ok(()),
        }
    }

    fn open(&self, how: &str) -> rusqlite::Result<Connection> {
        let path = percent_encode(self.at.as_os_str().as_bytes(), IN_A_URI);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW
            | OpenFlags::SQLITE_OPEN_URI;
        Connection::open_with_flags(format!("file:{path}?{how}"), flags)
    }

    /// What the check of a copy finds at once: the rest it finds only by reading all of it.
    fn judge(&self, database: &Connection) -> Result<(), SourceError> {
        if self.check == Check::None {
            return Ok(());
        }
        let read = database.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0));
        match read {
            Err(error) if is_corruption(&error) => Err(SourceError::SqliteCorrupt {
                path: self.path.to_owned(),
                what: error.to_string(),
            }),
            // Want of an extension, for one, is a warning of the run.
            Ok(_) | Err(_) => Ok(()),
        }
    }
}
