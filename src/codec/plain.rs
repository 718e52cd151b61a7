//! Plain text of frames, in buffers and by contexts that are used again, so that reading a backup does not take and return the memory
//! of each frame anew.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use zstd::bulk::Decompressor;

use super::frames::{Buffers, FrameError, decompress_into};

/// Plain text; several readers may have it.
pub type Plain = Arc<PlainFrame>;

/// Plain text in a buffer that is used again once nobody reads it.
#[derive(Debug)]
pub struct PlainFrame {
    bytes: Vec<u8>,
    home: Option<Buffers>,
}

impl From<Vec<u8>> for PlainFrame {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, home: None }
    }
}

impl Deref for PlainFrame {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for PlainFrame {
    fn drop(&mut self) {
        if let Some(home) = &self.home {
            home.give(std::mem::take(&mut self.bytes));
        }
    }
}

/// Unpacks frames on any thread.
#[derive(Default)]
pub struct Unpacker {
    contexts: Mutex<Vec<Decompressor<'static>>>,
    buffers: Buffers,
}

impl fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unpacker").finish_non_exhaustive()
    }
}

impl Unpacker {
    /// Unpacks a frame that has exactly `expected` plain bytes.
    ///
    /// # Errors
    /// Where zstd refuses it, or it has another length.
    pub fn unpack(&self, stored: &[u8], expected: usize) -> Result<Plain, FrameError> {
        let contexts = || self.contexts.lock().unwrap_or_else(PoisonError::into_inner);
        let free = contexts().pop();
        let mut context = free.map_or_else(Decompressor::new, Ok).map_err(FrameError::Zstd)?;
        let mut bytes = self.buffers.take();
        let done = decompress_into(&mut context, stored, expected, &mut bytes);
        contexts().push(context);
        let frame = PlainFrame {
            bytes,
            home: Some(self.buffers.clone()),
        };
        done.map(|()| Arc::new(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::frames::compress_whole;

    #[test]
    fn a_buffer_is_used_again_once_nobody_reads_it_and_not_before() {
        let unpacker = Unpacker::default();
        let frame = |n: u8| compress_whole(&vec![n; 100_000], 3).unwrap();
        let first = unpacker.unpack(&frame(1), 100_000).unwrap();
        let second = unpacker.unpack(&frame(2), 100_000).unwrap();
        assert!(first.iter().all(|b| *b == 1) && second.iter().all(|b| *b == 2));
        let (at, other) = (first.as_ptr(), Arc::clone(&first));
        drop(first);
        assert_ne!(unpacker.unpack(&frame(3), 100_000).unwrap().as_ptr(), at);
        drop(other);
        let again = [unpacker.unpack(&frame(4), 99_999), unpacker.unpack(b"x", 1)];
        assert!(again.iter().all(Result::is_err));
        let mut places = Vec::new();
        let mut held = Vec::new();
        for number in 5..9 {
            let plain = unpacker.unpack(&frame(number), 100_000).unwrap();
            assert!(plain.len() == 100_000 && plain.iter().all(|b| *b == number));
            places.push(plain.as_ptr());
            held.push(plain);
        }
        assert!(places.contains(&at));
    }
}
