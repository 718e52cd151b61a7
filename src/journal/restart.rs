//! A new journal in the place of one that is broken. The old one is moved aside whole, and the first record of the new one says
//! where it is, how far it was good, and what was wrong.
//!
//! A restart that was begun is finished by the next one: until then the journal cannot be opened, so that no half of the old
//! one is ever taken for a whole.

use std::fs::File;
use std::io::Write;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::chain::{Leaf, Line, Tip};
use super::entry::{Entry, Event, Field};
use super::writer::{self, Setup};
use super::{JournalError, head, segment, verify};
use crate::state::StateFolder;

/// How the names of folders with a broken journal begin.
const ASIDE: &str = "journal-broken-";
/// What is said of the broken journal, beside it.
const NOTE: &str = "restart.json";
/// The same while the journal is being moved.
const DRAFT: &str = "restart.json.unfinished";
/// Bytes of a note.
const NOTE_MAX: u64 = 64 << 10;

/// A journal that was moved aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Restarted {
    /// The folder in the state folder that holds it now.
    pub folder: String,
    /// Records from its begin that link to one another.
    pub records: u64,
    /// Hex hash of the last of them; `None` where not even the first is one.
    pub last_good: Option<String>,
    /// What was wrong first: file, line and what.
    pub what: String,
    /// How much was wrong.
    pub problems: u64,
}

impl Restarted {
    /// Says so in the first record of the new journal.
    pub(super) fn tell(&self, entry: Entry) -> Entry {
        entry
            .with(Field::Kept, self.folder.as_str())
            .with(Field::Count, self.records)
            .with(Field::Sha256, self.last_good.as_deref().unwrap_or("none"))
            .with(Field::Reason, self.what.as_str())
    }
}

/// Moves a broken journal aside, so that the next one to open the journal begins a new one. `None` where nothing is wrong; then
/// nothing was changed.
///
/// # Errors
/// When the journal cannot be read or moved. What was begun is finished by the next restart.
pub fn restart(folder: &StateFolder, setup: &Setup) -> Result<Option<Restarted>, JournalError> {
    let path = folder.path().join(writer::LOCK);
    let lock = segment::open(folder, writer::LOCK, OFlags::RDWR | OFlags::CREATE)?;
    let lock = lock.ok_or_else(|| JournalError::io(&path)(std::io::ErrorKind::NotFound.into()))?;
    let aside = if let Some(name) = begun(folder)? {
        Aside::open(folder, &name)?
    } else {
        let found = verify(folder)?;
        let Some(first) = found.broken else {
            return Ok(None);
        };
        let at = first.line.map(|line| format!(", line {line}")).unwrap_or_default();
        let (records, last_good) = good(folder)?;
        let now = setup.clock.now().timestamp();
        let restarted = Restarted {
            folder: format!("{ASIDE}{}", now.strftime("%Y%m%dT%H%M%S.%6fZ")),
            records,
            last_good: last_good.map(|leaf| leaf.to_string()),
            what: format!("{} ({}{at})", first.what, first.file),
            problems: found.problem_count,
        };
        Aside::create(folder, &restarted)?
    };
    writer::hold(&lock, folder, FlockOperation::NonBlockingLockExclusive)?;
    let moved = aside.take_all(folder);
    writer::release(&lock, folder)?;
    moved.map(Some)
}

/// The folder of a restart that was begun and not finished.
pub(super) fn begun(folder: &StateFolder) -> Result<Option<String>, JournalError> {
    let mut begun = None;
    for name in asides(folder)? {
        let draft = format!("{name}/{DRAFT}");
        match rustix::fs::statat(folder.descriptor(), &draft, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => begun = Some(name),
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(error) => return Err(JournalError::io(&folder.path().join(draft))(error.into())),
        }
    }
    Ok(begun)
}

/// The journal that was moved aside last, where the next journal has to tell of one.
pub(super) fn newest(folder: &StateFolder) -> Result<Option<Restarted>, JournalError> {
    for name in asides(folder)?.into_iter().rev() {
        let note = segment::small(folder, &format!("{name}/{NOTE}"), NOTE_MAX)?;
        if let Some(note) = note.and_then(|text| serde_json::from_slice(&text).ok()) {
            return Ok(Some(note));
        }
    }
    Ok(None)
}

/// The folders with broken journals, oldest first.
fn asides(folder: &StateFolder) -> Result<Vec<String>, JournalError> {
    let failed = JournalError::io(folder.path());
    let entries = rustix::fs::Dir::read_from(folder.descriptor()).map_err(|error| failed(error.into()))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| failed(error.into()))?;
        let name = entry.file_name().to_str().ok();
        names.extend(name.filter(|name| name.starts_with(ASIDE)).map(ToOwned::to_owned));
    }
    names.sort_unstable();
    Ok(names)
}

/// How many records from the begin link to one another, and the hash of the last of them.
fn good(folder: &StateFolder) -> Result<(u64, Option<Leaf>), JournalError> {
    let mut tip: Option<Tip> = None;
    for (number, expected) in segment::files(folder)?.segments.into_iter().zip(1..) {
        let name = segment::file_name(number);
        let file = segment::open(folder, &name, OFlags::RDONLY)?;
        let Some(file) = file.filter(|_| number == expected) else {
            break;
        };
        let bytes = segment::bytes_from(folder, &name, &file, 0)?;
        let read = segment::each_line(&bytes, |raw| {
            let Ok(line) = Line::parse(raw.bytes) else {
                return ControlFlow::Break(());
            };
            let before = tip.or_else(|| line.text(Field::Origin.as_str()).map(Tip::of_origin));
            match before {
                Some(before) if before.check(&line).is_ok() => tip = Some(Tip::after(&line)),
                _ => return ControlFlow::Break(()),
            }
            ControlFlow::Continue(())
        });
        if read.is_break() {
            break;
        }
    }
    Ok(tip.map_or((0, None), |tip| (tip.next, Some(tip.prev))))
}

/// A folder that takes a broken journal.
struct Aside {
    name: String,
    folder: OwnedFd,
}

impl Aside {
    fn create(folder: &StateFolder, restarted: &Restarted) -> Result<Self, JournalError> {
        let name = &restarted.folder;
        let failed = JournalError::io(folder.path());
        let made = rustix::fs::mkdirat(folder.descriptor(), name, Mode::from_raw_mode(0o700));
        made.map_err(|error| failed(error.into()))?;
        let aside = Self::open(folder, name)?;
        let note = serde_json::to_vec_pretty(restarted).map_err(|error| failed(error.into()))?;
        let written = (|| {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let draft = rustix::fs::openat(&aside.folder, DRAFT, flags, Mode::from_raw_mode(0o600))?;
            let mut draft = File::from(draft);
            draft.write_all(&note)?;
            draft.sync_all()?;
            rustix::fs::fsync(&aside.folder)?;
            rustix::fs::fsync(folder.descriptor())?;
            Ok(())
        })();
        written.map_err(failed)?;
        Ok(aside)
    }

    fn open(folder: &StateFolder, name: &str) -> Result<Self, JournalError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(folder.descriptor(), name, flags, Mode::empty());
        Ok(Self {
            name: name.to_owned(),
            folder: opened.map_err(|error| JournalError::io(&folder.path().join(name))(error.into()))?,
        })
    }

    /// Moves every file of the journal here, and says last that it is done.
    fn take_all(&self, folder: &StateFolder) -> Result<Restarted, JournalError> {
        let failed = JournalError::io(folder.path());
        let files = segment::files(folder)?;
        let segments = files.segments.into_iter().map(segment::file_name);
        let names = segments.chain(files.torn).chain([head::FILE.to_owned()]);
        for name in names {
            match rustix::fs::renameat_with(folder.descriptor(), &name, &self.folder, &name, RenameFlags::NOREPLACE) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(failed(error.into())),
            }
        }
        let finished = (|| {
            rustix::fs::fsync(&self.folder)?;
            rustix::fs::fsync(folder.descriptor())?;
            rustix::fs::renameat(&self.folder, DRAFT, &self.folder, NOTE)?;
            rustix::fs::fsync(&self.folder)
        })();
        finished.map_err(|error| failed(error.into()))?;
        let path = format!("{}/{NOTE}", self.name);
        let note = segment::small(folder, &path, NOTE_MAX)?.unwrap_or_default();
        serde_json::from_slice(&note).map_err(|error| failed(error.into()))
    }
}

/// The first record of a log: its origin, and what came before it.
pub(super) fn first_entry(folder: &StateFolder, origin: &str) -> Result<Entry, JournalError> {
    let entry = Entry::new(Event::LogStarted).with(Field::Origin, origin);
    Ok(match newest(folder)? {
        Some(restarted) => restarted.tell(entry),
        None => entry,
    })
}
