//! Plain content by frames, whatever form the backup has: packs, an archive of independent frames, or an archive that only reads from
//! front to back.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use tokio::runtime::Handle;

use crate::archive::catalog::{Listed, PackRun, Place};
use crate::archive::chunks::fetch::{Fetcher, FrameKey, FramePart};
use crate::archive::frame_table::{self, FrameTable};
use crate::archive::keys::Opening;
use crate::archive::object::Object;
use crate::archive::plain::{self, PlainError, PlainReader, ReadError};
use crate::archive::record::ArchiveRecord;
use crate::archive::refs;
use crate::archive::repository::RepositoryError;
use crate::archive::unpack::UnpackError;
use crate::codec::Codec;
pub(super) use crate::codec::plain::Plain;
use crate::codec::plain::Unpacker;
use crate::codec::seek_table::FrameLength;
use crate::event::{Event, Events};
use crate::limits::FRAME;
use crate::poison;
use crate::target::Target;

use super::Reading;

/// Bytes of an archive of which the frames are worked out at once, so that the list of a large file's stays short.
const STRETCH: u64 = 1 << 30;

/// Where content is read from.
pub(super) enum Frames {
    /// From packs.
    Packs(Fetcher),
    /// From an archive whose frames can be read alone.
    Archive(Archive),
    /// From an archive that is one stream. Its frames are but stretches of equal length.
    Stream(Box<Mutex<Forward>>),
}

/// A part of a file's data that lies in one row.
#[derive(Clone, Debug)]
pub(super) enum Stretch {
    /// In a pack.
    Pack(PackRun),
    /// In the plain archive.
    Archive(Range<u64>),
}

/// An archive with what is known of its frames.
pub(super) struct Archive {
    record: ArchiveRecord,
    object: Object,
    target: Target,
    handle: Handle,
    events: Events,
    frames: FrameTable,
    unpacker: Unpacker,
}

/// An archive that is read from front to back, and from the front again for whoever goes back.
pub(super) struct Forward {
    record: ArchiveRecord,
    target: Target,
    opening: Opening,
    handle: Handle,
    events: Events,
    reader: Option<PlainReader>,
}

impl Frames {
    /// Reads what it takes to find content in a backup.
    pub(super) fn open(reading: &Reading) -> Result<Self, UnpackError> {
        let Reading {
            target,
            record,
            opening,
            events,
            handle,
            ..
        } = reading;
        let Some(archive) = &record.archive else {
            let listed = handle.block_on(refs::read(target, &record.refs));
            let listed =
                listed.map_err(|error| UnpackError::Refs(Box::new(RepositoryError::of_refs(target, error))))?;
            return Ok(Self::Packs(Fetcher::new(
                target,
                opening,
                listed,
                events,
                handle.clone(),
            )));
        };
        if archive.codec == Codec::Gzip {
            return Ok(Self::Stream(Box::new(Mutex::new(Forward {
                record: archive.clone(),
                target: target.clone(),
                opening: opening.clone(),
                handle: handle.clone(),
                events: events.clone(),
                reader: None,
            }))));
        }
        Archive::open(archive, reading)
            .map(Self::Archive)
            .map_err(|source| damaged(archive, source))
    }

    /// How many threads may read at once.
    pub(super) fn readers(&self, many: usize) -> usize {
        match self {
            Self::Packs(_) | Self::Archive(_) => many,
            Self::Stream(_) => 1,
        }
    }

    /// Where the data of an entry lies, in order.
    pub(super) fn stretches(&self, listed: &Listed) -> Result<Vec<Stretch>, UnpackError> {
        let disagree = || UnpackError::Disagree {
            path: super::path::BackupPath::of(listed).display(),
            what: "where the content lies",
        };
        match (&listed.place, self) {
            (None, _) => Ok(Vec::new()),
            (Some(Place::Packs(packs)), Self::Packs(_)) => Ok(packs.runs.iter().copied().map(Stretch::Pack).collect()),
            (Some(Place::Archive(data)), Self::Archive(_) | Self::Stream(_)) => {
                let length = listed.entry.kind.data_bytes();
                let end = data.checked_add(length).ok_or_else(disagree)?;
                let cuts = (0..length.div_ceil(STRETCH)).map(|number| {
                    let start = data + number * STRETCH;
                    Stretch::Archive(start..end.min(start + STRETCH))
                });
                Ok(cuts.collect())
            }
            (Some(Place::Packs(_) | Place::Archive(_)), _) => Err(disagree()),
        }
    }

    /// The parts of frames that make up a stretch.
    pub(super) fn parts(&self, stretch: &Stretch) -> Result<Vec<FramePart>, UnpackError> {
        match (self, stretch) {
            (Self::Packs(fetcher), Stretch::Pack(run)) => {
                let parts = fetcher.parts(&run.pack, run.offset, run.length);
                parts.map_err(|source| UnpackError::Pack {
                    name: fetcher.object(&run.pack),
                    source,
                })
            }
            (Self::Archive(archive), Stretch::Archive(range)) => archive.parts(range),
            (Self::Stream(forward), Stretch::Archive(range)) => {
                let record = &poison::lock(forward).record;
                let whole = FRAME as u64;
                let frames = (range.start / whole..range.end.div_ceil(whole)).map(|number| {
                    let at = number * whole;
                    (number, at, whole.min(record.plain_bytes.saturating_sub(at)))
                });
                parts_of(record, frame_table::parts(range, frames))
            }
            (Self::Packs(_), Stretch::Archive(_)) | (Self::Archive(_) | Self::Stream(_), Stretch::Pack(_)) => {
                Err(UnpackError::Died)
            }
        }
    }

    /// The plain text of a frame.
    pub(super) fn frame(&self, key: FrameKey) -> Result<Plain, UnpackError> {
        match self {
            Self::Packs(fetcher) => fetcher.frame(key).map_err(|source| UnpackError::Pack {
                name: fetcher.object(&key.pack),
                source,
            }),
            Self::Archive(archive) => archive.frame(key.number),
            Self::Stream(forward) => poison::lock(forward).frame(key.number),
        }
    }
}

fn damaged(record: &ArchiveRecord, source: PlainError) -> UnpackError {
    UnpackError::Archive {
        name: record.name.clone(),
        source,
    }
}

/// Parts of the frames of an archive, where all that is wanted was found.
fn parts_of(
    record: &ArchiveRecord,
    found: Result<Vec<(u32, Range<usize>)>, u64>,
) -> Result<Vec<FramePart>, UnpackError> {
    let parts = found.map_err(|at| damaged(record, PlainError::Cut(at)))?;
    Ok(FramePart::of(&record.blake3, parts))
}

impl Archive {
    fn open(record: &ArchiveRecord, reading: &Reading) -> Result<Self, PlainError> {
        let Reading { target, handle, .. } = reading;
        let object = handle.block_on(Object::open(target, &record.name, record.bytes, &reading.opening))?;
        let frames = if record.codec == Codec::Zstd {
            FrameTable::new(handle.block_on(plain::read_table(&object, record))?)
        } else {
            let (length, whole) = (object.length(), u32::try_from(FRAME).unwrap_or(u32::MAX));
            FrameTable::new((0..length.div_ceil(whole.into())).map(|number| {
                let left = length - number * u64::from(whole);
                let bytes = u32::try_from(left).map_or(whole, |left| left.min(whole));
                FrameLength {
                    stored: bytes,
                    plain: bytes,
                }
            }))
        };
        Ok(Self {
            record: record.clone(),
            object,
            target: target.clone(),
            handle: handle.clone(),
            events: reading.events.clone(),
            frames,
            unpacker: Unpacker::default(),
        })
    }

    fn parts(&self, range: &Range<u64>) -> Result<Vec<FramePart>, UnpackError> {
        parts_of(&self.record, self.frames.parts(range))
    }

    fn frame(&self, number: u32) -> Result<Plain, UnpackError> {
        let frame = self.frames.get(number).ok_or(UnpackError::Died)?;
        let stored = self.handle.block_on(self.object.range(frame.stored()));
        let stored = stored.map_err(|error| damaged(&self.record, error.into()))?;
        self.events.tell(&Event::TargetRead {
            target: self.target.name().to_string(),
            bytes: stored.len() as u64,
        });
        if self.record.codec != Codec::Zstd {
            return Ok(Arc::new(stored.into()));
        }
        self.unpacker.unpack(&stored, frame.plain as usize).map_err(|source| {
            let at = frame.plain_at;
            damaged(&self.record, PlainError::Frame { at, source })
        })
    }
}

impl Forward {
    fn frame(&mut self, number: u32) -> Result<Plain, UnpackError> {
        // Reading an archive to its end asks for the runtime, which threads of ours are not in.
        let handle = self.handle.clone();
        let _entered = handle.enter();
        let start = u64::from(number) * FRAME as u64;
        let length = (FRAME as u64).min(self.record.plain_bytes.saturating_sub(start));
        let usable = self.reader.take().filter(|reader| reader.position() <= start);
        let opened = usable.map_or_else(
            || {
                handle.block_on(plain::open(
                    &self.target,
                    &self.record,
                    &self.opening,
                    (&self.events, None),
                ))
            },
            Ok,
        );
        let mut reader = opened.map_err(|source| damaged(&self.record, source))?;
        let mut frame = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        let read = reader.read(start - reader.position(), |_| Ok(())).and_then(|()| {
            reader.read(length, |data| {
                frame.extend_from_slice(data);
                Ok::<_, std::convert::Infallible>(())
            })
        });
        match read {
            Ok(()) => {
                self.reader = Some(reader);
                Ok(Arc::new(frame.into()))
            }
            Err(ReadError::Plain(source)) => Err(damaged(&self.record, source)),
            Err(ReadError::Taker(never)) => match never {},
        }
    }
}
