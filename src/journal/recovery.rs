//! What to do with an unfinished last line, which a crash may leave: its bytes are moved aside, never thrown away, and a
//! record says so. Anything else that is wrong stops the run.

use std::fs::File;
use std::io::{self, Write};

use rustix::fs::{OFlags, RenameFlags};
use sha2::{Digest, Sha256};

use super::cursor::Cursor;
use super::entry::{Entry, Event, Field};
use super::{JournalError, segment};
use crate::limits;
use crate::state::StateFolder;

/// An unfinished last line that was moved aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The file in the state folder that holds it now.
    pub file: String,
    /// Its bytes.
    pub length: u64,
    /// Their SHA-256 in hex.
    pub sha256: String,
}

impl Recovered {
    /// The record that says so.
    pub(super) fn entry(&self) -> Entry {
        Entry::new(Event::Recovered)
            .with(Field::File, self.file.as_str())
            .with(Field::Length, self.length)
            .with(Field::Sha256, self.sha256.as_str())
    }

    /// Describes the content of `file`.
    pub(super) fn of(file: &str, bytes: &[u8]) -> Self {
        Self {
            file: file.to_owned(),
            length: bytes.len() as u64,
            sha256: hex::encode(Sha256::digest(bytes)),
        }
    }
}

/// Moves `torn`, which stands at the end of the cursor's segment, into a file of its own. The copy is durable before the
/// segment is cut.
pub(super) fn move_aside(
    folder: &StateFolder,
    cursor: &Cursor,
    torn: &[u8],
    now: jiff::Timestamp,
) -> Result<(), JournalError> {
    let name = segment::torn_name(cursor.number, now);
    let draft = "journal.torn.new";
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
    let file: Option<File> = segment::open(folder, draft, flags)?;
    let moved = (|| {
        let mut file = file.ok_or(io::ErrorKind::NotFound)?;
        file.write_all(torn)?;
        file.sync_all()?;
        let at = folder.descriptor();
        rustix::fs::renameat_with(at, draft, at, &name, RenameFlags::NOREPLACE)?;
        rustix::fs::fsync(at)?;
        cursor.file.set_len(cursor.offset)?;
        cursor.file.sync_all()
    })();
    moved.map_err(JournalError::io(&folder.path().join(&name)))
}

/// What was moved aside from the cursor's segment and no record names yet: a crash may come between the two.
pub(super) fn unmentioned(folder: &StateFolder, cursor: &Cursor) -> Result<Vec<Recovered>, JournalError> {
    let mut found = Vec::new();
    let stem = segment::torn_stem(cursor.number);
    for name in segment::files(folder)?.torn {
        if name.starts_with(&stem) && !cursor.mentioned.contains(&name) {
            let bytes = segment::small(folder, &name, limits::JOURNAL_SEGMENT_MAX)?.unwrap_or_default();
            found.push(Recovered::of(&name, &bytes));
        }
    }
    Ok(found)
}
