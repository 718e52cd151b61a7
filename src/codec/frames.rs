//! Independent zstd frames made and opened by the bulk API, one reused context a worker.
//!
//! The bulk API knows the size of its input, picks tables that fit it and copies nothing through stream buffers: two
//! threads of it run at twice the speed of one stream with two workers, at the same ratio.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::effort::Effort;
use super::ordered::{self, Jobs, Results};
use super::seek_table::FrameLength;
use crate::limits::FRAMES_QUEUED;

/// The first bytes of the first of zstd's skippable frames (RFC 8878, 3.1.2).
const SKIPPABLE_MAGIC: [u8; 4] = 0x184D_2A50_u32.to_le_bytes();
/// Bytes of content in a skippable frame of this program.
const SKIPPABLE_MAX: usize = 1 << 10;

/// A frame as stored.
#[derive(Clone, Debug)]
pub struct StoredFrame {
    /// Its lengths.
    pub length: FrameLength,
    /// Its bytes.
    pub bytes: Bytes,
}

/// Why a frame could not be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// zstd refused.
    #[error("zstd: {0}")]
    Zstd(std::io::Error),
    /// The plain text is not as long as the table says.
    #[error("a frame unpacks to {found} bytes where {expected} belong")]
    Length {
        /// Bytes found.
        found: usize,
        /// Bytes that belong there.
        expected: usize,
    },
}

/// Plain buffers that go round between the one who fills them and the workers, so that none is allocated twice.
#[derive(Clone, Debug)]
pub struct Buffers {
    give: Sender<Vec<u8>>,
    take: Arc<Mutex<Receiver<Vec<u8>>>>,
}

impl Default for Buffers {
    fn default() -> Self {
        let (give, take) = channel();
        Self {
            give,
            take: Arc::new(Mutex::new(take)),
        }
    }
}

impl Buffers {
    /// An empty buffer, used before where one is free.
    pub fn take(&self) -> Vec<u8> {
        let used = self.take.lock().unwrap_or_else(PoisonError::into_inner).try_recv();
        used.map_or_else(
            |_| Vec::new(),
            |mut buffer| {
                buffer.clear();
                buffer
            },
        )
    }

    /// Gives a buffer back. Losing one costs an allocation, nothing else.
    pub fn give(&self, buffer: Vec<u8>) {
        let _ = self.give.send(buffer);
    }
}

/// Jobs that take plain text and results that are stored frames.
pub type Compressor = (
    Jobs<Vec<u8>, Result<StoredFrame, FrameError>>,
    Results<Result<StoredFrame, FrameError>>,
);

/// Starts compressors at `level` on all cores. Plain buffers come back through `buffers`.
///
/// # Errors
/// When zstd has no memory or the system gives no thread.
pub fn compressors(level: i32, buffers: &Buffers) -> std::io::Result<Compressor> {
    ordered::ordered(ordered::cores(), FRAMES_QUEUED, || {
        let mut effort = Effort::new(level)?;
        let (buffers, mut scratch) = (buffers.clone(), Vec::new());
        Ok(move |plain: Vec<u8>| {
            let stored = compress(&mut effort, &plain, &mut scratch);
            buffers.give(plain);
            stored
        })
    })
}

fn compress(effort: &mut Effort, plain: &[u8], scratch: &mut Vec<u8>) -> Result<StoredFrame, FrameError> {
    effort.compress(plain, scratch).map_err(FrameError::Zstd)?;
    let bytes = Bytes::copy_from_slice(scratch);
    let length = FrameLength {
        stored: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
        plain: u32::try_from(plain.len()).unwrap_or(u32::MAX),
    };
    Ok(StoredFrame { length, bytes })
}

/// Jobs that take stored frames and results that are plain text.
pub type Decompressor = (
    Jobs<StoredFrame, Result<Vec<u8>, FrameError>>,
    Results<Result<Vec<u8>, FrameError>>,
);

/// Starts decompressors on all cores. Plain buffers are taken from `buffers`; whoever used one gives it back.
///
/// # Errors
/// When zstd has no memory or the system gives no thread.
pub fn decompressors(buffers: &Buffers) -> std::io::Result<Decompressor> {
    ordered::ordered(ordered::cores(), FRAMES_QUEUED, || {
        let mut context = zstd::bulk::Decompressor::new()?;
        let buffers = buffers.clone();
        Ok(move |frame: StoredFrame| {
            let mut plain = buffers.take();
            decompress_into(&mut context, &frame.bytes, frame.length.plain as usize, &mut plain)?;
            Ok(plain)
        })
    })
}

pub(super) fn decompress_into(
    context: &mut zstd::bulk::Decompressor<'_>,
    stored: &[u8],
    expected: usize,
    plain: &mut Vec<u8>,
) -> Result<(), FrameError> {
    plain.clear();
    plain.reserve(expected.max(1));
    let found = context.decompress_to_buffer(stored, plain).map_err(FrameError::Zstd)?;
    if found == expected {
        Ok(())
    } else {
        Err(FrameError::Length { found, expected })
    }
}

/// Compresses one small object whole.
pub fn compress_whole(plain: &[u8], level: i32) -> Result<Vec<u8>, FrameError> {
    zstd::bulk::compress(plain, level).map_err(FrameError::Zstd)
}

/// A frame that every reader of zstd skips. Behind an object's own frames it changes the object's digest and nothing else.
pub fn skippable(content: &[u8]) -> Vec<u8> {
    let content = content.get(..SKIPPABLE_MAX).unwrap_or(content);
    let length = u32::try_from(content.len()).unwrap_or(0);
    [SKIPPABLE_MAGIC, length.to_le_bytes()]
        .concat()
        .into_iter()
        .chain(content.iter().copied())
        .collect()
}

/// Unpacks one small object that has exactly `expected` plain bytes.
pub fn decompress_whole(stored: &[u8], expected: usize) -> Result<Vec<u8>, FrameError> {
    let mut context = zstd::bulk::Decompressor::new().map_err(FrameError::Zstd)?;
    let mut plain = Vec::new();
    decompress_into(&mut context, stored, expected, &mut plain)?;
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_as_they_went_in_and_in_order() {
        let buffers = Buffers::default();
        let (jobs, mut results) = compressors(3, &buffers).unwrap();
        let (open, mut plain) = decompressors(&buffers).unwrap();
        let text = |n: usize| vec![u8::try_from(n % 251).unwrap(); n * 1000];
        let feeder = std::thread::spawn(move || (0..100).try_for_each(|n| jobs.push(text(n))));
        let opener = std::thread::spawn(move || {
            for frame in results.by_ref() {
                open.push(frame.unwrap().unwrap()).unwrap();
            }
        });
        for n in 0..100 {
            assert_eq!(plain.next().unwrap().unwrap().unwrap(), text(n));
        }
        assert!(plain.next().is_none());
        feeder.join().unwrap().unwrap();
        opener.join().unwrap();
    }

    #[test]
    fn a_frame_that_unpacks_to_more_than_it_says_is_refused() {
        let bomb = compress_whole(&vec![0; 10_000_000], 3).unwrap();
        assert!(decompress_whole(&bomb, 1000).is_err());
        assert!(matches!(
            decompress_whole(&bomb, 20_000_000),
            Err(FrameError::Length { found: 10_000_000, .. })
        ));
    }

    #[test]
    fn a_skippable_frame_behind_an_object_is_skipped() {
        let mut stored = compress_whole(b"content", 3).unwrap();
        stored.extend(skippable(b"20261121T215100Z-9c41"));
        assert_eq!(decompress_whole(&stored, 7).unwrap(), b"content");
    }
}
