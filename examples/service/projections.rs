//! The projections: SQLite databases in WAL mode that are computed from the event log and remember how far they are.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, Transaction, params};

use crate::log::{Event, Kind};
use crate::{At as _, Error};

/// What a projection is about.
#[derive(Clone, Copy)]
pub(crate) enum Subject {
    /// The tasks and where they stand.
    Tasks,
    /// Full-text search in titles and comments.
    Search,
}

impl Subject {
    pub(crate) const ALL: [Self; 2] = [Self::Tasks, Self::Search];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tasks => "tasks",
            Self::Search => "search",
        }
    }

    const fn schema(self) -> &'static str {
        match self {
            Self::Tasks => {
                "CREATE TABLE IF NOT EXISTS tasks (id INTEGER PRIMARY KEY, title TEXT NOT NULL, status TEXT NOT NULL,
                     comments INTEGER NOT NULL, seq INTEGER NOT NULL);
                 CREATE INDEX IF NOT EXISTS tasks_by_status ON tasks (status, id);"
            }
            Self::Search => "CREATE VIRTUAL TABLE IF NOT EXISTS notes USING fts5(task UNINDEXED, text);",
        }
    }
}

/// One projection, open.
pub(crate) struct Projection {
    subject: Subject,
    path: PathBuf,
    connection: Connection,
}

impl Projection {
    /// Opens the projection for writing, and makes it where there is none.
    pub(crate) fn open(folder: &Path, subject: Subject) -> Result<Self, Error> {
        let path = folder.join(format!("{}.db", subject.name()));
        let connection = Connection::open(&path).at(&path)?;
        connection
            .busy_timeout(std::time::Duration::from_secs(10))
            .and_then(|()| connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"))
            .and_then(|()| {
                connection.execute_batch(
                    "CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
                     INSERT OR IGNORE INTO meta VALUES ('last_seq', 0);",
                )
            })
            .and_then(|()| connection.execute_batch(subject.schema()))
            .at(&path)?;
        Ok(Self {
            subject,
            path,
            connection,
        })
    }

    /// Opens the projection for looking, and leaves no file beside it: a database without `-wal` is read as it is.
    pub(crate) fn look(folder: &Path, subject: Subject) -> Result<Self, Error> {
        let path = folder.join(format!("{}.db", subject.name()));
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        let mut wal = path.clone().into_os_string();
        wal.push("-wal");
        let connection = if Path::new(&wal).exists() {
            Connection::open_with_flags(&path, flags).at(&path)?
        } else {
            let escaped = path
                .to_string_lossy()
                .replace('%', "%25")
                .replace('?', "%3f")
                .replace('#', "%23");
            Connection::open_with_flags(format!("file:{escaped}?immutable=1"), flags).at(&path)?
        };
        Ok(Self {
            subject,
            path,
            connection,
        })
    }

    pub(crate) fn name(&self) -> &'static str {
        self.subject.name()
    }

    /// The number of the last event that is in the projection.
    pub(crate) fn last_seq(&self) -> Result<u64, Error> {
        let query = "SELECT value FROM meta WHERE key = 'last_seq'";
        let value: i64 = self.connection.query_row(query, [], |row| row.get(0)).at(&self.path)?;
        Ok(value.unsigned_abs())
    }

    /// What SQLite says of the database: `ok`, or the first thing that is wrong.
    pub(crate) fn integrity(&self) -> Result<String, Error> {
        self.connection
            .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
            .at(&self.path)
    }

    /// A number that both the projection and the log up to `last_seq` must agree on: see [`expected`].
    pub(crate) fn rows(&self) -> Result<u64, Error> {
        let query = match self.subject {
            Subject::Tasks => "SELECT count(*) + coalesce(sum(comments), 0) FROM tasks",
            Subject::Search => "SELECT count(*) FROM notes",
        };
        let value: i64 = self.connection.query_row(query, [], |row| row.get(0)).at(&self.path)?;
        Ok(value.unsigned_abs())
    }

    /// Applies events in one transaction. Those that are in the projection already are passed over.
    pub(crate) fn apply(&mut self, events: &[Event]) -> Result<(), Error> {
        let last = self.last_seq()?;
        let transaction = self.connection.transaction().at(&self.path)?;
        for event in events.iter().filter(|event| event.seq > last) {
            apply(self.subject, &transaction, event).at(&self.path)?;
        }
        transaction.commit().at(&self.path)
    }
}

/// How much an event adds to [`Projection::rows`], the same for both: a created task is one, a comment is one.
pub(crate) const fn expected(event: &Event) -> u64 {
    match event.kind {
        Kind::Created | Kind::Commented => 1,
        Kind::Moved => 0,
    }
}

fn apply(subject: Subject, transaction: &Transaction<'_>, event: &Event) -> Result<(), rusqlite::Error> {
    let (seq, task) = (event.seq.cast_signed(), event.task.cast_signed());
    match (subject, event.kind) {
        (Subject::Tasks, Kind::Created) => transaction
            .prepare_cached("INSERT INTO tasks VALUES (?1, ?2, 'todo', 0, ?3)")?
            .execute(params![task, event.text, seq])?,
        (Subject::Tasks, Kind::Moved) => transaction
            .prepare_cached("UPDATE tasks SET status = ?2, seq = ?3 WHERE id = ?1")?
            .execute(params![task, event.text, seq])?,
        (Subject::Tasks, Kind::Commented) => transaction
            .prepare_cached("UPDATE tasks SET comments = comments + 1, seq = ?2 WHERE id = ?1")?
            .execute(params![task, seq])?,
        (Subject::Search, Kind::Created | Kind::Commented) => transaction
            .prepare_cached("INSERT INTO notes (rowid, task, text) VALUES (?1, ?2, ?3)")?
            .execute(params![seq, task, event.text])?,
        (Subject::Search, Kind::Moved) => 0,
    };
    transaction
        .prepare_cached("UPDATE meta SET value = ?1 WHERE key = 'last_seq'")?
        .execute(params![seq])?;
    Ok(())
}
