//! From frames to stored packs: frames → compressors → packs → sealed → targets. A pack is named by the digest of its stored bytes, so its
//! name is known when it is full.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::archive::epoch::HostEpoch;
use crate::archive::fan::{Fan, Item as Sent};
use crate::archive::layout;
use crate::archive::sweep::doomed::Doomed;
use crate::archive::tar_header;
use crate::codec::frames::{self, Buffers, Compressor, FrameError, StoredFrame, compress_whole, compressors};
use crate::codec::ordered::{Gone, Jobs, Results};
use crate::codec::seek_table::{self, FrameLength, SeekTableError};
use crate::crypto::Digest;
use crate::crypto::age::{self, AgeError, Recipient};
use crate::limits::{PACK_PLAIN, PACK_STORED};

use super::index::PackInfo;
use super::shelf::FrameOut;

/// How objects with content are sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sealing {
    /// Not at all.
    Open,
    /// To the key of an epoch.
    To(Recipient),
}

impl Sealing {
    /// To the key of an epoch, where there is one.
    pub fn of(epoch: Option<&HostEpoch>) -> Self {
        epoch.map_or(Self::Open, |epoch| Self::To(epoch.recipient))
    }

    /// What the object's name ends with, behind the codec's own suffix.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Open => "",
            Self::To(_) => ".age",
        }
    }

    /// Seals a whole object.
    pub fn seal(self, plain: Vec<u8>) -> Result<Vec<u8>, AgeError> {
        match self {
            Self::Open => Ok(plain),
            Self::To(recipient) => age::seal(&[recipient], &plain),
        }
    }
}

/// Why packs could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PackingError {
    /// A compressor failed.
    #[error("compression failed")]
    Frame(#[from] FrameError),
    /// A pack has more frames than its table can hold.
    #[error("a pack has too many frames")]
    Table(#[from] SeekTableError),
    /// Sealing failed.
    #[error("sealing failed")]
    Seal(#[from] AgeError),
    /// Too few targets are left, or the capture ended early; whoever caused it tells why.
    #[error("the other end has gone")]
    Gone,
}

impl From<Gone> for PackingError {
    fn from(Gone: Gone) -> Self {
        Self::Gone
    }
}

/// The capture's way out.
pub struct Outlet {
    jobs: Jobs<Vec<u8>, Result<StoredFrame, FrameError>>,
    numbers: Sender<u32>,
    buffers: Buffers,
}

impl FrameOut for Outlet {
    fn buffer(&mut self) -> Vec<u8> {
        self.buffers.take()
    }

    fn frame(&mut self, number: u32, plain: Vec<u8>) -> Result<(), Gone> {
        self.numbers.send(number).map_err(|_| Gone)?;
        self.jobs.push(plain)
    }
}

/// The other end: frames as stored, in the order in which they were handed in.
pub struct Inlet {
    results: Results<Result<StoredFrame, FrameError>>,
    numbers: Receiver<u32>,
}

/// Starts compressors at `level` on all cores.
///
/// # Errors
/// When zstd has no memory or the system gives no thread.
pub fn start(level: i32) -> std::io::Result<(Outlet, Inlet)> {
    let buffers = Buffers::default();
    let (jobs, results): Compressor = compressors(level, &buffers)?;
    let (sender, numbers) = channel();
    let outlet = Outlet {
        jobs,
        numbers: sender,
        buffers,
    };
    Ok((outlet, Inlet { results, numbers }))
}

/// The packs that were stored, and where each frame lies in them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packs {
    /// The packs, in the order in which they were made.
    pub packs: Vec<PackInfo>,
    /// For each frame, by its number: the pack, counted from the first of these, and the bytes before it in the pack's plain text.
    pub frames: Vec<Option<(u32, u32)>>,
}

/// What decides the names of a backup's objects, beside what they hold.
#[derive(Clone, Debug)]
pub struct Naming {
    /// How they are sealed.
    pub sealing: Sealing,
    /// Names that no object must have. What is sealed is another object each time, so none that is doomed can have its name.
    pub doomed: Arc<Doomed>,
    /// What makes an object this backup's own where one of the same name is doomed.
    pub salt: String,
}

impl Naming {
    /// Seals a whole object and names it.
    pub fn seal(&self, plain: Vec<u8>, name: impl Fn(&Digest) -> String) -> Result<(String, Vec<u8>), AgeError> {
        let named = |stored: &[u8]| name(&Digest::of(stored)) + self.sealing.suffix();
        match self.sealing {
            Sealing::Open => Ok(self.doomed.avoid(plain, &self.salt, named)),
            Sealing::To(_) => {
                let sealed = self.sealing.seal(plain)?;
                Ok((named(&sealed), sealed))
            }
        }
    }
}

/// Gathers frames into packs and sends these to the targets. A queue that ends without the mark `complete` is a capture that failed: its
/// last pack is not stored.
pub fn collect(inlet: Inlet, fan: &mut Fan, naming: &Naming, complete: &AtomicBool) -> Result<Packs, PackingError> {
    let mut open = Open::default();
    let mut made = Packs::default();
    for frame in inlet.results {
        let frame = frame?.map_err(PackingError::Frame)?;
        let number = inlet.numbers.recv().map_err(|_| PackingError::Gone)?;
        if !open.has_room_for(&frame) {
            open.close(fan, naming, &mut made)?;
        }
        open.add(number, &frame, &mut made);
    }
    if !complete.load(Ordering::Acquire) {
        return Err(PackingError::Gone);
    }
    if !open.lengths.is_empty() {
        open.close(fan, naming, &mut made)?;
    }
    Ok(made)
}

/// A pack being filled.
#[derive(Default)]
struct Open {
    stored: Vec<u8>,
    lengths: Vec<FrameLength>,
    plain: u64,
}

impl Open {
    fn has_room_for(&self, frame: &StoredFrame) -> bool {
        self.lengths.is_empty()
            || self.stored.len() + frame.bytes.len() <= PACK_STORED
                && self.plain + u64::from(frame.length.plain) <= PACK_PLAIN
    }

    fn add(&mut self, number: u32, frame: &StoredFrame, made: &mut Packs) {
        let at = number as usize;
        if made.frames.len() <= at {
            made.frames.resize(at + 1, None);
        }
        let pack = u32::try_from(made.packs.len()).unwrap_or(u32::MAX);
        let offset = u32::try_from(self.plain).unwrap_or(u32::MAX);
        if let Some(place) = made.frames.get_mut(at) {
            *place = Some((pack, offset));
        }
        self.stored.extend_from_slice(&frame.bytes);
        self.lengths.push(frame.length);
        self.plain += u64::from(frame.length.plain);
    }

    /// Ends the tar archive and the table of frames, seals, names and sends the pack.
    fn close(&mut self, fan: &mut Fan, naming: &Naming, made: &mut Packs) -> Result<(), PackingError> {
        self.push(&compress_whole(&tar_header::END, 1)?, tar_header::END.len());
        let mut table = seek_table::write(&self.lengths)?;
        if naming.sealing == Sealing::Open {
            let name = Digest::of_parts(&[&self.stored, &table]);
            if naming.doomed.contains(&layout::pack(&name)) {
                self.push(&frames::skippable(naming.salt.as_bytes()), 0);
                table = seek_table::write(&self.lengths)?;
            }
        }
        self.stored.extend_from_slice(&table);
        let room = self.stored.capacity();
        let stored = std::mem::replace(&mut self.stored, Vec::with_capacity(room));
        let stored = naming.sealing.seal(stored)?;
        let name = Digest::of(&stored);
        made.packs.push(PackInfo {
            name,
            stored: stored.len() as u64,
            plain: self.plain,
        });
        self.lengths.clear();
        self.plain = 0;
        let object = layout::pack(&name) + naming.sealing.suffix();
        Ok(fan.send(&Sent::Object(object, stored.into()))?)
    }

    /// Appends a frame of so many plain bytes.
    fn push(&mut self, frame: &[u8], plain: usize) {
        self.lengths.push(FrameLength {
            stored: u32::try_from(frame.len()).unwrap_or(u32::MAX),
            plain: u32::try_from(plain).unwrap_or(u32::MAX),
        });
        self.stored.extend_from_slice(frame);
        self.plain += plain as u64;
    }
}
