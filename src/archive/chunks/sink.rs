//! Takes a captured tree and stores what the base does not hold. Items go to a spool in order; where new content lies is told in frames,
//! since no pack has a name before it is full.

use std::cmp::Ordering;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering as Memory};
use std::time::SystemTime;

use crate::archive::tar_sink::Counts;
use crate::chunking::Cutter;
use crate::crypto::Digest;
use crate::diagnostic::{Code, Diagnostic};
use crate::fs::atomic;
use crate::fs::entry::{Entry, Kind, Moment};
use crate::id::SourceName;
use crate::limits::{CONTENT_RUNS_MAX, LARGE_FILE, RACY_SECONDS};
use crate::source::{Known, SinkError, TreeSink, Verdict};

use super::arrived::{Arrived, Placed};
use super::base::{Base, Cursor, Lookup, chunk_id};
use super::index::{Footer, IndexError, IndexWriter, empty};
use super::item::{Content, Item, Marks, kind_number};
use super::large::{Large, Stores};
use super::pages::NewPages;
use super::shelf::{FrameOut, PROVISIONAL, Shelf};

/// What a backup in chunks is made with.
#[derive(Debug, Default)]
pub struct Settings {
    /// The backup that it builds on.
    pub base: Option<Arc<Base>>,
    /// The new backup's sequence.
    pub sequence: u64,
    /// Seed of the cuts.
    pub seed: u64,
    /// A folder for files that do not outlive the run.
    pub spool: PathBuf,
    /// The folder that keeps the digests of pages.
    pub pages: PathBuf,
    /// Packs that a killed run left.
    pub arrived: Vec<Arrived>,
    /// Where it is told what was stored.
    pub placed: Placed,
    /// Whether files are read although they look unchanged.
    pub read_all: bool,
    /// Ends the capture once it is set.
    pub stop: Arc<AtomicBool>,
}

/// A sink of a backup in chunks; several sources follow one another in it.
pub struct ChunkSink<O> {
    settings: Settings,
    stores: Stores<O>,
    spool: IndexWriter<File>,
    source: Option<SourceName>,
    /// Redaction of the source is what it was in the base.
    comparable: bool,
    cursor: Option<Cursor>,
    current: Option<Current>,
    counts: Counts,
    totals: Totals,
    /// When the capture began, in seconds since 1970.
    began: i64,
    body: Vec<u8>,
    pages: Vec<NewPages>,
}

/// Sums over all items.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Bytes of data that the backup holds in each pack of the base, by number, and behind them in each that a killed run left.
    pub live: Vec<u64>,
    /// Bytes of all items.
    pub items: u64,
    /// Bytes of the items whose lines are not in the base's catalog.
    pub patch: u64,
    /// Files that were not read since they are unchanged.
    pub unread: u64,
    /// Bytes of content that was stored.
    pub new: u64,
}

/// What the capture left for the catalog.
pub struct Spooled<O> {
    /// The way out of the frames, to be closed.
    pub out: O,
    /// The items, in a file without a name.
    pub items: File,
    /// Digests of pages, to be put in place when the backup stands.
    pub pages: Vec<NewPages>,
    /// Sums.
    pub totals: Totals,
    /// How many frames were numbered.
    pub frames: u32,
}

/// The entry under way.
struct Current {
    entry: Entry,
    left: u64,
    redacted: Option<u32>,
    data: Data,
}

enum Data {
    /// No file, or an empty one.
    Nothing,
    /// A file that is held whole.
    Small(Vec<u8>),
    /// One that goes on as it comes.
    Large(Box<Large>),
}

impl<O: FrameOut> ChunkSink<O> {
    /// Begins without a source.
    ///
    /// # Errors
    /// When no spool can be made.
    pub fn new(out: O, mut settings: Settings) -> Result<Self, IndexError> {
        let packs = settings.base.as_ref().map_or(0, |base| base.index.footer().packs.len()) + settings.arrived.len();
        Ok(Self {
            stores: Stores {
                shelf: Shelf::new(out),
                lookup: Lookup::new(std::mem::take(&mut settings.arrived), settings.placed.clone()),
                cutter: Cutter::new(settings.seed),
                base: settings.base.clone(),
                stored: 0,
                runs_max: CONTENT_RUNS_MAX,
            },
            spool: IndexWriter::new(atomic::unnamed(&settings.spool)?),
            source: None,
            comparable: false,
            cursor: None,
            current: None,
            counts: Counts::default(),
            began: SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(i64::MAX, |time| i64::try_from(time.as_secs()).unwrap_or(i64::MAX)),
            totals: Totals {
                live: vec![0; packs],
                ..Totals::default()
            },
            body: Vec::new(),
            pages: Vec::new(),
            settings,
        })
    }

    /// What went in from the source under way.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Goes on with the next source.
    pub fn source(&mut self, source: SourceName, redaction: Option<String>) -> Result<(), SinkError> {
        self.pass_rest()?;
        self.begin_source(source, redaction).map_err(|error| broken(&error))
    }

    fn begin_source(&mut self, source: SourceName, redaction: Option<String>) -> Result<(), IndexError> {
        self.cursor = None;
        if let Some(base) = &self.settings.base {
            self.comparable = base.redaction(&source) == redaction.as_deref();
            self.cursor = base.index.items(&source)?.map(Cursor::new).transpose()?;
        }
        self.source = Some(source.clone());
        self.counts = Counts::default();
        self.spool.source(source, redaction);
        Ok(())
    }

    /// Ends the capture.
    pub fn finish(mut self) -> Result<Spooled<O>, SinkError> {
        self.pass_rest()?;
        let failed = |error: std::io::Error| broken(&IndexError::Io(error));
        let items = self.spool.finish(Footer::default()).map_err(failed)?;
        self.totals.new = self.stores.stored;
        let (out, frames) = self.stores.shelf.finish().map_err(|_| SinkError::Stopped)?;
        Ok(Spooled {
            out,
            items,
            pages: self.pages,
            totals: self.totals,
            frames,
        })
    }

    /// Goes on in the base up to `path`; what is passed is not there any more.
    fn pass_to(&mut self, path: &[u8]) -> Result<(), IndexError> {
        while self.cursor.as_ref().and_then(|cursor| cursor.compare(path)) == Some(Ordering::Less) {
            self.pass()?;
        }
        Ok(())
    }

    fn pass_rest(&mut self) -> Result<(), SinkError> {
        while self.cursor.as_ref().is_some_and(|cursor| cursor.glance().is_some()) {
            self.pass().map_err(|error| broken(&error))?;
        }
        Ok(())
    }

    /// Leaves the base's item out. Where the base's own catalog has a line for it, the patch must say that it is gone.
    fn pass(&mut self) -> Result<(), IndexError> {
        let Some(cursor) = &mut self.cursor else { return Ok(()) };
        let base = self.settings.base.as_ref().map_or(0, |base| base.index.footer().base);
        if let Some(glance) = cursor.glance().copied() {
            if glance.marks.gone {
                let (path, body) = cursor.raw();
                self.spool.item(path, body)?;
                self.totals.items += body.len() as u64;
                self.totals.patch += body.len() as u64;
            } else if glance.written <= base || glance.covers {
                let (path, _) = cursor.raw();
                self.body.clear();
                gone(self.settings.sequence).write(&mut self.body);
                self.spool.item(path, &self.body)?;
                self.totals.items += self.body.len() as u64;
                self.totals.patch += self.body.len() as u64;
            }
        }
        cursor.advance()
    }

    /// The base's item for this very path, where there is one that is not gone.
    fn old(&self, path: &[u8]) -> Result<Option<Item>, IndexError> {
        matched(self.cursor.as_ref(), path).map(Cursor::item).transpose()
    }

    /// Keeps the base's item as it is, where it is that of an unchanged entry.
    fn keep(&mut self, glimpse: &Entry, size: Option<u64>) -> Result<Option<Known>, IndexError> {
        self.pass_to(glimpse.path.as_bytes())?;
        if !self.comparable || self.settings.read_all {
            return Ok(None);
        }
        let Some(cursor) = matched(self.cursor.as_ref(), glimpse.path.as_bytes()) else {
            return Ok(None);
        };
        let same = |glance: &super::item::Glance| {
            let kind = kind_number(&glimpse.kind);
            let kinds = glance.kind == kind || (glance.kind == 2 && kind == 1);
            let looks = glance.stat.zip(glimpse.stat);
            let looks_same = looks.is_some_and(|(old, new)| old.is_same_state(&new));
            kinds && !glance.marks.racy && looks_same && size.is_none_or(|size| size == glance.size)
        };
        let Some(glance) = cursor.glance().copied().filter(same) else {
            return Ok(None);
        };
        let (path, body) = cursor.raw();
        let (blake3, content) = Item::read_content(body)?;
        // A second name's first name could be another one now.
        let moved = matches!(&glimpse.kind, Kind::HardLink { .. }) && cursor.item()?.entry.kind != glimpse.kind;
        if moved
            || self
                .settings
                .base
                .as_ref()
                .is_some_and(|base| base.is_condemned(&content))
        {
            return Ok(None);
        }
        self.spool.item(path, body)?;
        let length = body.len() as u64;
        self.account(&content, length, glance.written);
        self.totals.unread += u64::from(matches!(glimpse.kind, Kind::File { .. }));
        self.count(glance.size);
        if let Some(cursor) = &mut self.cursor {
            cursor.advance()?;
        }
        Ok(Some(Known {
            blake3,
            size: glance.size,
            redacted: glance.marks.redacted,
        }))
    }

    fn count(&mut self, size: u64) {
        self.counts.entries += 1;
        self.counts.bytes = self.counts.bytes.saturating_add(size);
    }

    fn account(&mut self, content: &Content, length: u64, written: u64) {
        let base = self.settings.base.as_ref().map_or(0, |base| base.index.footer().base);
        self.totals.items += length;
        if written > base {
            self.totals.patch += length;
        }
        for run in content.runs() {
            if run.pack & PROVISIONAL == 0
                && let Some(live) = self.totals.live.get_mut(run.pack as usize)
            {
                *live += u64::from(run.length);
            }
        }
    }

    fn begin_entry(&mut self, entry: &Entry) -> Result<Data, IndexError> {
        self.pass_to(entry.path.as_bytes())?;
        let length = entry.kind.data_bytes();
        if length == 0 {
            return Ok(Data::Nothing);
        }
        let old = self.old(entry.path.as_bytes())?;
        if length > LARGE_FILE {
            let usable = |old: &Item| {
                !self
                    .settings
                    .base
                    .as_ref()
                    .is_some_and(|base| base.is_condemned(&old.content))
            };
            let source = self.source.clone().ok_or(IndexError::Damaged)?;
            let large = Large::new(
                (source, entry.path.clone()),
                length,
                old.filter(usable),
                &self.settings.pages,
                &self.settings.spool,
            );
            return Ok(Data::Large(Box::new(large)));
        }
        Ok(Data::Small(Vec::with_capacity(usize::try_from(length).unwrap_or(0))))
    }

    /// Stores a file that was held whole, unless its content is there already.
    fn small(&mut self, entry: &Entry, data: &[u8]) -> Result<(Digest, Content), SinkError> {
        let digest = Digest::of(data);
        let old = self.old(entry.path.as_bytes()).map_err(|error| broken(&error))?;
        if let Some(old) = old.filter(|old| old.blake3 == Some(digest) && old.content != Content::Nothing) {
            let condemned = self
                .settings
                .base
                .as_ref()
                .is_some_and(|base| base.is_condemned(&old.content));
            if !condemned {
                return Ok((digest, old.content));
            }
        }
        let id = chunk_id(&digest);
        if let Some(piece) = self.stores.find(&id, data.len())? {
            return Ok((digest, Content::Whole(piece)));
        }
        let source = self
            .source
            .as_ref()
            .ok_or_else(|| internal("an entry without a source"))?;
        let piece = self
            .stores
            .shelf
            .file(source, &entry.path, data)
            .map_err(|_| SinkError::Stopped)?;
        self.stores.stored += data.len() as u64;
        self.stores.lookup.remember(id, piece);
        Ok((digest, Content::Whole(piece)))
    }

    fn end_entry(&mut self, current: Current, verdict: Verdict) -> Result<(), SinkError> {
        let Current {
            entry, redacted, data, ..
        } = current;
        let is_file = matches!(entry.kind, Kind::File { .. });
        let (blake3, content) = match data {
            Data::Nothing => (is_file.then(|| Digest::of(&[])), Content::Nothing),
            Data::Small(data) => {
                let (digest, content) = self.small(&entry, &data)?;
                (Some(digest), content)
            }
            Data::Large(large) => {
                let done = large.finish(&mut self.stores)?;
                self.pages.extend(done.pages);
                (Some(done.blake3), done.content)
            }
        };
        if verdict == Verdict::Superseded {
            return Ok(());
        }
        let changing = verdict == Verdict::KeptChanging;
        let marks = Marks {
            redacted,
            changing,
            racy: changing || self.is_racy(&entry),
            gone: false,
        };
        let item = Item {
            entry,
            blake3,
            content,
            marks,
            written: self.settings.sequence,
            covers: false,
        };
        self.push(item)
    }

    /// Whether a file changed so late that another change need not have shown in its times: file systems stamp in steps, and what
    /// is written after the file was looked at may get the stamp that was seen.
    fn is_racy(&self, entry: &Entry) -> bool {
        let late = |moment: Moment| moment.seconds.saturating_add(RACY_SECONDS) >= self.began;
        entry.stat.is_some_and(|stat| late(stat.mtime) || late(stat.ctime))
    }

    /// Hands an item to the spool. Where its line would be the one that the base has, it needs none of its own.
    fn push(&mut self, mut item: Item) -> Result<(), SinkError> {
        if self.settings.stop.load(Memory::Relaxed) {
            return Err(SinkError::Stopped);
        }
        let path = item.entry.path.clone();
        let base = self.settings.base.as_ref().map_or(0, |base| base.index.footer().base);
        let old = self.old(path.as_bytes()).map_err(|error| broken(&error))?;
        if let Some(old) = old {
            if old.has_line_of(&item) {
                item.written = old.written;
                item.covers = old.covers;
            } else {
                item.covers = old.written <= base || old.covers;
            }
            if let Some(cursor) = &mut self.cursor {
                cursor.advance().map_err(|error| broken(&error))?;
            }
        } else if self.cursor.as_ref().and_then(|c| c.compare(path.as_bytes())) == Some(Ordering::Equal) {
            // It was gone and has come back.
            item.covers = true;
            if let Some(cursor) = &mut self.cursor {
                cursor.advance().map_err(|error| broken(&error))?;
            }
        }
        self.body.clear();
        item.write(&mut self.body);
        self.spool
            .item(path.as_bytes(), &self.body)
            .map_err(|error| broken(&IndexError::Io(error)))?;
        let length = self.body.len() as u64;
        empty(&mut self.body);
        self.account(&item.content, length, item.written);
        let size = match item.entry.kind {
            Kind::File { size, .. } => size,
            _ => 0,
        };
        self.count(size);
        Ok(())
    }
}

impl Item {
    /// Whether the line of `other` in a catalog says the same.
    pub fn has_line_of(&self, other: &Self) -> bool {
        let alike = |one: &Entry, other: &Entry| one.kind == other.kind && one.metadata == other.metadata;
        let marks = |marks: Marks| (marks.redacted.is_some(), marks.changing, marks.gone);
        alike(&self.entry, &other.entry)
            && self.blake3 == other.blake3
            && marks(self.marks) == marks(other.marks)
            && self.content == other.content
    }
}

/// The cursor, where it stands at an item of this very path that is not gone.
fn matched<'a>(cursor: Option<&'a Cursor>, path: &[u8]) -> Option<&'a Cursor> {
    let cursor = cursor?;
    let same = cursor.compare(path) == Some(Ordering::Equal) && !cursor.glance()?.marks.gone;
    same.then_some(cursor)
}

/// An item that says that an entry is gone.
fn gone(sequence: u64) -> Item {
    Item {
        entry: Entry {
            path: crate::fs::entry::TreePath::root(),
            kind: Kind::Folder,
            metadata: crate::fs::entry::Metadata::default(),
            stat: None,
        },
        blake3: None,
        content: Content::Nothing,
        marks: Marks {
            gone: true,
            ..Marks::default()
        },
        written: sequence,
        covers: true,
    }
}

/// The index or the spool failed: a fault of the state folder's disk.
pub(super) fn broken(error: &IndexError) -> SinkError {
    let cause = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
    SinkError::Failed(Box::new(
        Diagnostic::error(
            Code::StateFailed.unless_full(error),
            "what this host remembers of the last backup cannot be used",
        )
        .why(cause)
        .state("no backup was made; backups made before are as they were")
        .help("see that the disk of the state folder has room and answers, then run it again"),
    ))
}

fn internal(what: &str) -> SinkError {
    SinkError::Failed(Box::new(
        Diagnostic::error(Code::Internal, what).state("no backup was made; backups made before are untouched"),
    ))
}

impl<O: FrameOut> TreeSink for ChunkSink<O> {
    fn knows(&self) -> bool {
        self.settings.base.is_some() && !self.settings.read_all
    }

    fn known(&mut self, glimpse: &Entry, size: Option<u64>) -> Result<Option<Known>, SinkError> {
        self.keep(glimpse, size).map_err(|error| broken(&error))
    }

    fn begin(&mut self, entry: &Entry) -> Result<(), SinkError> {
        let data = self.begin_entry(entry).map_err(|error| broken(&error))?;
        self.current = Some(Current {
            left: entry.kind.data_bytes(),
            entry: entry.clone(),
            redacted: None,
            data,
        });
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        let current = self
            .current
            .as_mut()
            .ok_or_else(|| internal("data outside of an entry"))?;
        current.left = current
            .left
            .checked_sub(bytes.len() as u64)
            .ok_or_else(|| internal("more data than the entry says"))?;
        match &mut current.data {
            Data::Nothing => Ok(()),
            Data::Small(data) => {
                data.extend_from_slice(bytes);
                Ok(())
            }
            Data::Large(large) => large.write(bytes, &mut self.stores),
        }
    }

    fn end(&mut self, verdict: Verdict) -> Result<(), SinkError> {
        let current = self.current.take().ok_or_else(|| internal("the end of no entry"))?;
        if current.left != 0 {
            return Err(internal("less data than the entry says"));
        }
        self.end_entry(current, verdict)
    }

    fn redacted(&mut self, values: u32) {
        if let Some(current) = &mut self.current {
            current.redacted = Some(values);
        }
    }
}
