//! From frames to stored packs: frames → compressors → packs → sealed → targets. A pack is named by the digest of its stored bytes, so its
//! name is known when it is full.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::archive::fan::{Fan, Item as Sent};
use crate::archive::layout;
use crate::archive::naming::{Naming, Sealing};
use crate::archive::tar_header;
use crate::codec::frames::{self, Buffers, Compressor, FrameError, StoredFrame, compress_whole, compressors};
use crate::codec::ordered::{Gone, Jobs, Results};
use crate::codec::seek_table::{self, FrameLength, SeekTableError};
use crate::crypto::Digest;
use crate::crypto::age::{self, AgeError, Sealer};
use crate::limits::{PACK_PLAIN, PACK_STORED};

use super::arrived::Ledger;
use super::index::PackInfo;
use super::shelf::FrameOut;

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

/// Gathers frames into packs and sends these to the targets. A queue that ends without the mark `complete` is a capture that failed: its
/// last pack is not stored.
///
/// Each pack is noted in `ledger` before it is sent.
pub fn collect(
    inlet: Inlet,
    fan: &mut Fan,
    naming: &Naming,
    complete: &AtomicBool,
    ledger: Option<Ledger>,
) -> Result<Packs, PackingError> {
    let mut open = Open {
        ledger,
        ..Open::default()
    };
    let mut made = Packs::default();
    for frame in inlet.results {
        let frame = frame?.map_err(PackingError::Frame)?;
        let number = inlet.numbers.recv().map_err(|_| PackingError::Gone)?;
        if !open.has_room_for(&frame) {
            open.close(fan, naming, &mut made)?;
        }
        open.add(number, &frame, naming, &mut made)?;
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
    /// The object as it will be stored: sealed as it grows, so that it is in memory once.
    stored: Vec<u8>,
    sealer: Option<Sealer>,
    /// Bytes of its frames.
    framed: usize,
    lengths: Vec<FrameLength>,
    plain: u64,
    /// Numbers of its frames, each with the bytes before it.
    frames: Vec<(u32, u32)>,
    ledger: Option<Ledger>,
}

impl Open {
    fn has_room_for(&self, frame: &StoredFrame) -> bool {
        self.lengths.is_empty()
            || self.framed + frame.bytes.len() <= PACK_STORED
                && self.plain + u64::from(frame.length.plain) <= PACK_PLAIN
    }

    fn add(&mut self, number: u32, frame: &StoredFrame, naming: &Naming, made: &mut Packs) -> Result<(), AgeError> {
        if self.lengths.is_empty() {
            self.begin(naming.sealing)?;
        }
        let at = number as usize;
        if made.frames.len() <= at {
            made.frames.resize(at + 1, None);
        }
        let pack = u32::try_from(made.packs.len()).unwrap_or(u32::MAX);
        let offset = u32::try_from(self.plain).unwrap_or(u32::MAX);
        if let Some(place) = made.frames.get_mut(at) {
            *place = Some((pack, offset));
        }
        self.frames.push((number, offset));
        self.lengths.push(frame.length);
        self.plain += u64::from(frame.length.plain);
        self.put(&frame.bytes)
    }

    fn begin(&mut self, sealing: Sealing) -> Result<(), AgeError> {
        self.stored = Vec::with_capacity(PACK_STORED + PACK_STORED / 32);
        if let Sealing::To(recipient) = sealing {
            let (head, sealer) = age::sealer(&[recipient])?;
            self.stored.extend_from_slice(&head);
            self.sealer = Some(sealer);
        }
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), AgeError> {
        self.framed += bytes.len();
        if let Some(sealer) = &mut self.sealer {
            return sealer.update_into(bytes, &mut self.stored);
        }
        self.stored.extend_from_slice(bytes);
        Ok(())
    }

    /// Ends the tar archive and the table of frames, seals, names and sends the pack.
    fn close(&mut self, fan: &mut Fan, naming: &Naming, made: &mut Packs) -> Result<(), PackingError> {
        self.push(&compress_whole(&tar_header::END, 1)?, tar_header::END.len())?;
        let mut table = seek_table::write(&self.lengths)?;
        if naming.sealing == Sealing::Open {
            let name = Digest::of_parts(&[&self.stored, &table]);
            if naming.doomed.contains(&layout::pack(&name)) {
                self.push(&frames::skippable(naming.salt.as_bytes()), 0)?;
                table = seek_table::write(&self.lengths)?;
            }
        }
        self.put(&table)?;
        if let Some(sealer) = self.sealer.take() {
            sealer.finish_into(&mut self.stored)?;
        }
        let stored = std::mem::take(&mut self.stored);
        let name = Digest::of(&stored);
        let pack = PackInfo {
            name,
            stored: stored.len() as u64,
            plain: self.plain,
        };
        made.packs.push(pack);
        if let Some(ledger) = &mut self.ledger {
            ledger.note(pack, &self.frames);
        }
        self.lengths.clear();
        self.frames.clear();
        (self.plain, self.framed) = (0, 0);
        let object = layout::pack(&name) + naming.sealing.suffix();
        Ok(fan.send(&Sent::Object(object, stored.into()))?)
    }

    /// Appends a frame of so many plain bytes.
    fn push(&mut self, frame: &[u8], plain: usize) -> Result<(), AgeError> {
        self.lengths.push(FrameLength {
            stored: u32::try_from(frame.len()).unwrap_or(u32::MAX),
            plain: u32::try_from(plain).unwrap_or(u32::MAX),
        });
        self.plain += plain as u64;
        self.put(frame)
    }
}
