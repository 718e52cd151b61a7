//! Makes the catalog of what was captured, and the index that the next backup builds on.
//!
//! A catalog is a base and a patch. The base is the segments of an earlier backup, as they are; the patch has the lines that were
//! added, changed or lost since. So a day's change costs what changed, not what there is. When the patch has grown to a fifth of
//! the whole, all lines are written anew and are the next base.

use std::fs::File;
use std::io;
use std::path::Path;

use bytes::Bytes;

use crate::archive::catalog::{InPacks, Line, LineError, Listed, PackRun, Place, Segment, SegmentText, ends_segment};
use crate::archive::keys::ChunkKey;
use crate::archive::layout;
use crate::archive::pack::Origin;
use crate::archive::record::{Record, SegmentRecord};
use crate::codec::frames::{self, FrameError};
use crate::codec::ordered::Gone;
use crate::crypto::Digest;
use crate::crypto::age::AgeError;
use crate::fs::atomic::AtomicFile;
use crate::id::SourceName;
use crate::limits::{CHUNKS_LISTED_MAX, SEGMENT_MAX};

use super::base::Base;
use super::index::{Footer, Index, IndexError, IndexWriter, PackInfo, empty};
use super::item::{Content, Item, Piece};
use super::packer::Packs;
use super::shelf::PROVISIONAL;
use super::sink::Totals;
use crate::archive::naming::Naming;

/// The patch may be this part of all items before a new base is written.
const PATCH_SHARE: u64 = 5;
/// Level of segments.
const SEGMENT_LEVEL: i32 = 3;

/// Why no catalog could be made.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The index or the spool.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// A line cannot be written.
    #[error(transparent)]
    Line(#[from] LineError),
    /// Compression failed.
    #[error("compression failed")]
    Frame(#[from] FrameError),
    /// Sealing failed.
    #[error("sealing failed")]
    Seal(#[from] AgeError),
    /// Too few targets are left.
    #[error("the other end has gone")]
    Gone,
}

impl From<Gone> for PublishError {
    fn from(Gone: Gone) -> Self {
        Self::Gone
    }
}

impl From<io::Error> for PublishError {
    fn from(error: io::Error) -> Self {
        Self::Index(IndexError::Io(error))
    }
}

/// What a catalog is made with.
pub struct Making<'a> {
    /// The backup built on, and its record.
    pub base: Option<(&'a Base, &'a Record)>,
    /// Packs that a killed run left, numbered behind those of the base.
    pub arrived: &'a [PackInfo],
    /// The new backup's sequence.
    pub sequence: u64,
    /// How segments are sealed and named.
    pub naming: &'a Naming,
    /// Key of the digests of segments, where those are sealed.
    pub key: Option<ChunkKey>,
    /// The key's name.
    pub epoch: Option<String>,
    /// Where the index will stand.
    pub index: &'a Path,
}

/// A pack and how much of it the backup uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// The pack.
    pub pack: PackInfo,
    /// Bytes of its plain text that the backup uses.
    pub live: u64,
    /// Whether this run stored it.
    pub origin: Origin,
}

/// A catalog, stored.
pub struct Published {
    /// The base's segments, taken over or written anew.
    pub segments: Vec<SegmentRecord>,
    /// Whether they were.
    pub origin: Origin,
    /// The patch's segments.
    pub patch: Vec<SegmentRecord>,
    /// Every pack that the backup uses.
    pub used: Vec<Used>,
}

/// An index that is written but for its end.
pub struct PendingIndex {
    writer: IndexWriter<AtomicFile>,
    footer: Footer,
}

impl PendingIndex {
    /// Puts the index in place, now that the backup stands: its id and the digest of its record.
    pub fn commit(self, backup: crate::id::BackupId, record: Digest) -> io::Result<()> {
        let footer = Footer {
            backup: Some(backup),
            record: Some(record),
            ..self.footer
        };
        self.writer.finish(footer)?.commit()
    }
}

/// Writes segments of a catalog and the index from the spooled items.
///
/// `send` takes each finished segment: its object's name and its bytes.
pub fn publish(
    items: File,
    totals: &Totals,
    packs: &Packs,
    making: &Making<'_>,
    send: impl FnMut(String, Bytes) -> Result<(), Gone>,
) -> Result<(Published, PendingIndex), PublishError> {
    let spool = Index::of(items)?;
    let sources: Vec<SourceName> = spool
        .footer()
        .sources
        .iter()
        .map(|section| section.name.clone())
        .collect();
    let fits = |base: &Base| {
        base.index
            .footer()
            .sources
            .iter()
            .map(|section| &section.name)
            .eq(sources.iter())
    };
    let kept = making
        .base
        .filter(|(base, record)| fits(base) && is_readable(record) && totals.patch * PATCH_SHARE <= totals.items);
    let numbers = Numbers::new(making, kept.is_some(), totals, packs);
    let mut publishing = Publishing {
        making,
        base: kept.map(|(base, _)| base.index.footer().base),
        live: vec![0; numbers.table.len()],
        numbers,
        index: IndexWriter::new(AtomicFile::create(making.index, 0o600)?),
        segments: Segments {
            text: SegmentText::default(),
            made: Vec::new(),
            send,
        },
        body: Vec::new(),
    };
    for section in &spool.footer().sources {
        publishing.index.source(section.name.clone(), section.redaction.clone());
        let Some(mut items) = spool.items(&section.name)? else {
            continue;
        };
        while items.advance()? {
            publishing.item(&section.name, items.path(), items.body())?;
        }
        publishing.segments.close(making)?;
    }
    Ok(publishing.finish(kept.map(|(_, record)| record), totals))
}

/// Whether every segment that would be taken over is one that a reader takes.
fn is_readable(record: &Record) -> bool {
    let mut segments = record.segments.iter();
    segments.all(|segment| segment.plain_bytes <= SEGMENT_MAX as u64)
}

/// From the numbers that the spool uses to those of the new index.
struct Numbers {
    /// The new index's table.
    table: Vec<PackInfo>,
    /// For each pack of the base, and behind them each that a killed run left, its new number.
    old: Vec<Option<u32>>,
    /// The first number that no pack of the base has.
    first_unconfirmed: usize,
    /// For each frame its pack's new number and its offset in it.
    frames: Vec<Option<(u32, u32)>>,
}

impl Numbers {
    /// With the base's lines the base's numbers are kept; otherwise packs that nothing uses lose theirs.
    fn new(making: &Making<'_>, keeps: bool, totals: &Totals, packs: &Packs) -> Self {
        let (mut table, mut old) = (Vec::new(), Vec::new());
        let known = making
            .base
            .map(|(base, _)| base.index.footer().packs.as_slice())
            .unwrap_or_default();
        let all = known.iter().chain(making.arrived).enumerate();
        for ((place, pack), live) in all.zip(&totals.live) {
            let is_known = place < known.len();
            let number = u32::try_from(table.len())
                .ok()
                .filter(|_| keeps && is_known || *live > 0);
            if number.is_some() {
                table.push(*pack);
            }
            old.push(number);
        }
        let first_unconfirmed = old.iter().take(known.len()).flatten().count();
        let first = u32::try_from(table.len()).unwrap_or(u32::MAX);
        table.extend_from_slice(&packs.packs);
        let frames = packs.frames.iter();
        let frames = frames.map(|place| place.map(|(pack, offset)| (first + pack, offset)));
        Self {
            table,
            old,
            first_unconfirmed,
            frames: frames.collect(),
        }
    }

    fn place(&self, piece: &mut Piece) -> Result<(), IndexError> {
        if piece.pack & PROVISIONAL == 0 {
            let number = self.old.get(piece.pack as usize).copied().flatten();
            piece.pack = number.ok_or(IndexError::Damaged)?;
            return Ok(());
        }
        let frame = (piece.pack & !PROVISIONAL) as usize;
        let (pack, offset) = self.frames.get(frame).copied().flatten().ok_or(IndexError::Damaged)?;
        piece.pack = pack;
        piece.offset = piece.offset.checked_add(offset).ok_or(IndexError::Damaged)?;
        Ok(())
    }
}

struct Publishing<'a, F> {
    making: &'a Making<'a>,
    /// The sequence of the backup whose segments are kept; `None` where all are written anew.
    base: Option<u64>,
    live: Vec<u64>,
    numbers: Numbers,
    index: IndexWriter<AtomicFile>,
    segments: Segments<F>,
    body: Vec<u8>,
}

impl<F: FnMut(String, Bytes) -> Result<(), Gone>> Publishing<'_, F> {
    fn item(&mut self, source: &SourceName, path: &[u8], body: &[u8]) -> Result<(), PublishError> {
        let glance = Item::glance(body).map_err(IndexError::from)?;
        if self.base.is_some_and(|base| glance.written <= base) {
            return Ok(self.index.item(path, body)?);
        }
        if glance.marks.gone && self.base.is_none() {
            return Ok(());
        }
        let path = crate::fs::entry::TreePath::parse(path).ok_or(IndexError::Damaged)?;
        let mut item = Item::read(path, body).map_err(IndexError::from)?;
        for piece in item.content.pieces_mut() {
            let new = piece.pack & PROVISIONAL != 0;
            self.numbers.place(piece)?;
            if let Some(live) = self.live.get_mut(piece.pack as usize).filter(|_| new) {
                *live += u64::from(piece.length);
            }
        }
        // A base that begins with this backup covers nothing.
        item.covers &= self.base.is_some();
        self.body.clear();
        item.write(&mut self.body);
        self.index.item(item.entry.path.as_bytes(), &self.body)?;
        empty(&mut self.body);
        self.line(source, item)
    }

    fn line(&mut self, source: &SourceName, item: Item) -> Result<(), PublishError> {
        let ends = ends_segment(source, &item.entry.path);
        let line = if item.marks.gone {
            Line::Gone {
                source: source.clone(),
                path: item.entry.path,
            }
        } else {
            Line::Entry(Box::new(self.listed(source, item)?))
        };
        if let Some(full) = self.segments.text.push(&line)? {
            self.segments.store(&full, self.making)?;
        }
        if ends { self.segments.close(self.making) } else { Ok(()) }
    }

    fn listed(&mut self, source: &SourceName, item: Item) -> Result<Listed, PublishError> {
        let mut runs = Vec::new();
        for run in item.content.runs() {
            let pack = self.numbers.table.get(run.pack as usize).ok_or(IndexError::Damaged)?;
            runs.push(PackRun {
                pack: pack.name,
                offset: run.offset,
                length: run.length,
            });
        }
        let (mut chunks, mut page) = (Vec::new(), None);
        match &item.content {
            Content::Nothing | Content::Whole(_) => {}
            // No line lists more.
            Content::Chunks(list) if list.len() > CHUNKS_LISTED_MAX => {}
            Content::Chunks(list) => chunks.extend(list.iter().map(|(piece, id)| (piece.length, *id))),
            Content::Pages { page: bytes, .. } => page = Some(*bytes),
        }
        let place = item
            .blake3
            .is_some()
            .then_some(Place::Packs(InPacks { runs, chunks, page }));
        Ok(Listed {
            source: source.clone(),
            entry: crate::fs::entry::Entry {
                stat: None,
                ..item.entry
            },
            blake3: item.blake3,
            place,
            redacted: item.marks.redacted.is_some(),
            changing: item.marks.changing,
        })
    }

    fn finish(mut self, kept: Option<&Record>, totals: &Totals) -> (Published, PendingIndex) {
        let (segments, patch, origin) = match kept {
            Some(record) => (record.segments.clone(), self.segments.made, Origin::Reused),
            None => (self.segments.made, Vec::new(), Origin::New),
        };
        // What is used of the packs that were there before was counted when the items went by.
        for (live, number) in totals.live.iter().zip(&self.numbers.old) {
            if let Some(sum) = number.and_then(|number| self.live.get_mut(number as usize)) {
                *sum += live;
            }
        }
        let new = self.numbers.table.len() - self.numbers.old.iter().flatten().count();
        let first_new = self.numbers.table.len() - new;
        let used = self.numbers.table.iter().zip(&self.live).enumerate();
        // A pack of this run is there whether anything of it counts or not: a sweep must know whose it is.
        let used = used.filter(|(number, (_, live))| **live > 0 || *number >= first_new);
        let used = used.map(|(number, (pack, live))| Used {
            pack: *pack,
            live: *live,
            origin: if number >= self.numbers.first_unconfirmed {
                Origin::New
            } else {
                Origin::Reused
            },
        });
        let footer = Footer {
            sequence: self.making.sequence,
            base: self.base.unwrap_or(self.making.sequence),
            epoch: self.making.epoch.clone(),
            packs: self.numbers.table.clone(),
            ..Footer::default()
        };
        let published = Published {
            segments,
            origin,
            patch,
            used: used.collect(),
        };
        let index = PendingIndex {
            writer: self.index,
            footer,
        };
        (published, index)
    }
}

/// Segments under way.
struct Segments<F> {
    text: SegmentText,
    made: Vec<SegmentRecord>,
    send: F,
}

impl<F: FnMut(String, Bytes) -> Result<(), Gone>> Segments<F> {
    fn close(&mut self, making: &Making<'_>) -> Result<(), PublishError> {
        match self.text.take().map_err(LineError::from)? {
            Some(segment) => self.store(&segment, making),
            None => Ok(()),
        }
    }

    fn store(&mut self, (plain, lines): &Segment, making: &Making<'_>) -> Result<(), PublishError> {
        let blake3 = match making.key {
            Some(key) => key.digest(plain),
            None => Digest::of(plain),
        };
        let stored = frames::compress_whole(plain, SEGMENT_LEVEL)?;
        let (name, stored) = making.naming.seal(stored, layout::catalog)?;
        self.made.push(SegmentRecord {
            name: name.clone(),
            bytes: stored.len() as u64,
            plain_bytes: plain.len() as u64,
            blake3,
            lines: *lines,
        });
        (self.send)(name, stored.into())?;
        Ok(())
    }
}
