//! Reads frames of packs: each is fetched, opened and unpacked alone, and kept for as long as someone still needs it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock};

use tokio::runtime::Handle;

use crate::archive::frame_table::FrameTable;
use crate::archive::keys::Opening;
use crate::archive::layout;
use crate::archive::object::{Object, ObjectError};
use crate::archive::proofs::Proofs;
use crate::archive::refs::Refs;
use crate::codec::frames::FrameError;
use crate::codec::plain::{Plain, Unpacker};
use crate::codec::seek_table::{self, SeekTableError};
use crate::crypto::Digest;
use crate::crypto::age::AgeError;
use crate::event::{Event, Events};
use crate::limits::{FRAMES_KEPT, PACK_STORED};
use crate::poison::lock;
use crate::target::{Target, TargetError};
use crate::units::ByteCount;

/// Bytes at an object's end that are read first: the table of frames of most packs fits.
const TAIL: u64 = 4096;

/// Why a frame cannot be had.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FetchError {
    /// The target failed.
    #[error("the pack cannot be read")]
    Target(#[source] Arc<TargetError>),
    /// The backup's list of objects does not have the pack.
    #[error("the backup's list of objects does not name the pack")]
    Unlisted,
    /// It is larger than any that this program writes.
    #[error("the pack has {} stored, which no writer makes", ByteCount(*.0))]
    TooLarge(u64),
    /// It cannot be opened.
    #[error("the pack cannot be opened")]
    Open(#[source] AgeError),
    /// The table of frames is wrong.
    #[error("the pack's table of frames is damaged")]
    Table(#[source] SeekTableError),
    /// A frame is wrong.
    #[error("a frame of the pack is damaged")]
    Frame(#[source] Arc<FrameError>),
    /// The catalog names a place that the pack does not have.
    #[error("the pack has no byte {0}")]
    Beyond(u64),
}

/// A frame by its pack and its number in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameKey {
    /// The pack.
    pub pack: Digest,
    /// Counted from 0.
    pub number: u32,
}

/// Where a part of a run lies: in which frame, and where in its plain text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FramePart {
    /// The frame.
    pub frame: FrameKey,
    /// Bytes of its plain text.
    pub range: Range<usize>,
}

impl FramePart {
    /// Parts of the frames of one object.
    pub fn of(object: &Digest, parts: Vec<(u32, Range<usize>)>) -> Vec<Self> {
        let part = |(number, range)| Self {
            frame: FrameKey { pack: *object, number },
            range,
        };
        parts.into_iter().map(part).collect()
    }
}

/// What is known of a pack once its table was read.
struct Known {
    object: Object,
    frames: FrameTable,
}

type Slot = Arc<OnceLock<Result<Plain, FetchError>>>;

/// Reads frames of the packs of one backup. Everything blocks: for use on blocking threads.
pub struct Fetcher {
    target: Target,
    opening: Opening,
    suffix: &'static str,
    handle: Handle,
    events: Events,
    refs: Refs,
    proofs: Option<Arc<Proofs>>,
    known: Mutex<HashMap<Digest, Arc<Known>>>,
    cache: Mutex<Cache>,
    unpacker: Unpacker,
}

/// Frames that were read last, and those being read.
#[derive(Default)]
struct Cache {
    slots: BTreeMap<FrameKey, Slot>,
    order: VecDeque<FrameKey>,
}

impl From<ObjectError> for FetchError {
    fn from(error: ObjectError) -> Self {
        match error {
            ObjectError::Target(error) => Self::Target(Arc::new(error)),
            ObjectError::Open(error) => Self::Open(error),
        }
    }
}

impl Fetcher {
    /// Reads from `target`; `refs` is the backup's list of objects.
    pub fn new(target: &Target, opening: &Opening, refs: Refs, events: &Events, handle: Handle) -> Self {
        Self {
            target: target.clone(),
            suffix: match opening {
                Opening::Plain => "",
                Opening::Epoch(_) => ".age",
            },
            opening: opening.clone(),
            handle,
            events: events.clone(),
            refs,
            proofs: None,
            known: Mutex::default(),
            cache: Mutex::default(),
            unpacker: Unpacker::default(),
        }
    }

    /// Lets these hear of all that is read of packs.
    #[must_use]
    pub fn with_proofs(self, proofs: Option<Arc<Proofs>>) -> Self {
        Self { proofs, ..self }
    }

    /// The name of a pack's object.
    pub fn object(&self, pack: &Digest) -> String {
        layout::pack(pack) + self.suffix
    }

    /// The parts of frames that make up `length` bytes of a pack's plain text from `offset` on, in order.
    pub fn parts(&self, pack: &Digest, offset: u32, length: u32) -> Result<Vec<FramePart>, FetchError> {
        let wanted = u64::from(offset)..u64::from(offset) + u64::from(length);
        let parts = self.known(pack)?.frames.parts(&wanted).map_err(FetchError::Beyond)?;
        Ok(FramePart::of(pack, parts))
    }

    /// The plain text of a frame. Who asks for one that is being read waits for it.
    pub fn frame(&self, key: FrameKey) -> Result<Plain, FetchError> {
        let slot = {
            let mut cache = lock(&self.cache);
            let slot = Arc::clone(cache.slots.entry(key).or_default());
            cache.order.retain(|other| *other != key);
            cache.order.push_back(key);
            while cache.order.len() > FRAMES_KEPT {
                if let Some(oldest) = cache.order.pop_front() {
                    cache.slots.remove(&oldest);
                }
            }
            slot
        };
        slot.get_or_init(|| self.read_frame(key)).clone()
    }

    fn read_frame(&self, key: FrameKey) -> Result<Plain, FetchError> {
        let known = self.known(&key.pack)?;
        let frame = known.frames.get(key.number).ok_or(FetchError::Beyond(0))?;
        let stored = self.read(&known.object, frame.stored())?;
        let plain = self.unpacker.unpack(&stored, frame.plain as usize);
        plain.map_err(|error| FetchError::Frame(Arc::new(error)))
    }

    /// Bytes of the pack as it was before it was sealed.
    fn read(&self, object: &Object, range: Range<u64>) -> Result<Vec<u8>, FetchError> {
        let bytes = self.handle.block_on(object.range(range))?;
        self.events.tell(&Event::TargetRead {
            target: self.target.name().to_string(),
            bytes: bytes.len() as u64,
        });
        Ok(bytes)
    }

    fn known(&self, pack: &Digest) -> Result<Arc<Known>, FetchError> {
        if let Some(known) = lock(&self.known).get(pack) {
            return Ok(Arc::clone(known));
        }
        let known = Arc::new(self.look(pack)?);
        lock(&self.known).insert(*pack, Arc::clone(&known));
        Ok(known)
    }

    /// Reads a pack's header, where it is sealed, and its table of frames.
    fn look(&self, pack: &Digest) -> Result<Known, FetchError> {
        let object = self.object(pack);
        let stored = self.refs.get(&object).ok_or(FetchError::Unlisted)?.bytes;
        // Its table is held in memory, and could be all of it.
        if stored > 2 * PACK_STORED as u64 {
            return Err(FetchError::TooLarge(stored));
        }
        let object = Object::open_seen(&self.target, (&object, stored), &self.opening, self.proofs.clone());
        let object = self.handle.block_on(object)?;
        let end = object.length();
        let tail = self.read(&object, end.saturating_sub(TAIL)..end)?;
        let footer = tail
            .get(tail.len().saturating_sub(seek_table::FOOTER)..)
            .unwrap_or_default();
        let length = seek_table::table_length(footer).map_err(FetchError::Table)?;
        if length > end {
            return Err(FetchError::Table(SeekTableError::Mismatch));
        }
        let whole = if length <= tail.len() as u64 {
            tail
        } else {
            self.read(&object, end - length..end)?
        };
        let table = whole.get(whole.len().saturating_sub(usize::try_from(length).unwrap_or(0))..);
        let lengths = seek_table::read_any(table.unwrap_or_default(), end).map_err(FetchError::Table)?;
        Ok(Known {
            object,
            frames: FrameTable::new(lengths),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::refs::Ref;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_pack_larger_than_any_that_is_written_is_refused_before_its_table_is_read() {
        let target = Target::memory("local".parse().unwrap());
        let pack = Digest::of(b"pack");
        let looked = |bytes: u64| {
            let refs = Refs::new([Ref {
                name: layout::pack(&pack),
                bytes,
                plain_bytes: 1,
            }]);
            let fetcher = Fetcher::new(&target, &Opening::Plain, refs, &Events::none(), Handle::current());
            tokio::task::block_in_place(|| fetcher.parts(&pack, 0, 1))
        };
        let most = 2 * PACK_STORED as u64;
        assert!(matches!(looked(most + 1), Err(FetchError::TooLarge(_))));
        // The pack is not there, which shows that it would have been read.
        assert!(matches!(looked(most), Err(FetchError::Target(_))));
    }
}
