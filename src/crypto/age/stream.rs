//! The payload of an age file: chunks of 64 KiB, each sealed on its own under its number (STREAM, Hoang et al., CRYPTO 2015), the
//! last one marked. Any chunk opens alone.

use std::ops::Range;

use aws_lc_rs::aead;

use super::AgeError;
use super::header::expand;

/// Plain bytes of a chunk; the last one may have fewer.
pub const CHUNK: usize = 64 << 10;
/// Bytes that sealing adds to a chunk.
pub const TAG: usize = 16;
const SEALED_CHUNK: usize = CHUNK + TAG;

/// How many chunks `plain` bytes make: at least one.
const fn chunks(plain: usize) -> usize {
    if plain == 0 { 1 } else { plain.div_ceil(CHUNK) }
}

/// Sealed bytes of `plain` bytes.
pub(super) const fn sealed_length(plain: usize) -> usize {
    plain + chunks(plain) * TAG
}

/// The key of one file's payload.
pub(super) struct Payload(aead::LessSafeKey);

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Payload([redacted])")
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Inner,
    Last,
}

/// Eleven bytes of the chunk's number, then whether it is the last.
fn nonce(number: u64, standing: Standing) -> aead::Nonce {
    let mut bytes = [0; 12];
    if let Some(counter) = bytes.get_mut(3..11) {
        counter.copy_from_slice(&number.to_be_bytes());
    }
    if let Some(last) = bytes.last_mut() {
        *last = u8::from(standing == Standing::Last);
    }
    aead::Nonce::assume_unique_for_key(bytes)
}

impl Payload {
    pub(super) fn new(file_key: &[u8; 16], nonce: &[u8]) -> Result<Self, AgeError> {
        let key = expand(file_key, nonce, b"payload")?;
        let key = aead::UnboundKey::new(&aead::CHACHA20_POLY1305, key.as_ref()).map_err(|_| AgeError::Header)?;
        Ok(Self(aead::LessSafeKey::new(key)))
    }

    /// Appends the sealed chunks of `plain` to `sealed`.
    pub(super) fn seal(&self, plain: &[u8], sealed: &mut Vec<u8>) -> Result<(), AgeError> {
        let last = chunks(plain.len()) as u64 - 1;
        let mut rest = plain;
        for number in 0..=last {
            let (now, later) = rest.split_at(CHUNK.min(rest.len()));
            let standing = if number == last {
                Standing::Last
            } else {
                Standing::Inner
            };
            self.seal_chunk(number, standing, now, sealed)?;
            rest = later;
        }
        Ok(())
    }

    fn seal_chunk(&self, number: u64, standing: Standing, plain: &[u8], sealed: &mut Vec<u8>) -> Result<(), AgeError> {
        let begin = sealed.len();
        sealed.extend_from_slice(plain);
        let chunk = sealed.get_mut(begin..).ok_or(AgeError::Payload)?;
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce(number, standing), aead::Aad::empty(), chunk)
            .map_err(|_| AgeError::Payload)?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(())
    }

    pub(super) fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, AgeError> {
        let lengths = SealedLength::of_payload(sealed.len() as u64).ok_or(AgeError::Payload)?;
        let part = lengths.part(0..lengths.plain()).ok_or(AgeError::Payload)?;
        self.open_part(&part, sealed.to_vec())
    }

    /// Opens a part where it stands: each chunk moves to the front as it is opened.
    pub(super) fn open_part(&self, part: &Part, mut bytes: Vec<u8>) -> Result<Vec<u8>, AgeError> {
        if bytes.len() as u64 != part.sealed.end - part.sealed.start {
            return Err(AgeError::Payload);
        }
        let (mut at, mut kept, mut skip) = (0, 0, part.skip);
        let mut number = part.first;
        while at < bytes.len() {
            let end = bytes.len().min(at + SEALED_CHUNK);
            let standing = if number == part.last_of_all {
                Standing::Last
            } else {
                Standing::Inner
            };
            let body = bytes.get_mut(at..end).ok_or(AgeError::Payload)?;
            let opened = self.0.open_in_place(nonce(number, standing), aead::Aad::empty(), body);
            let length = opened.map_err(|_| AgeError::Payload)?.len();
            // An empty last chunk behind others is a second way to write the same, which no writer uses.
            if length == 0 && number > 0 {
                return Err(AgeError::Payload);
            }
            let passed = skip.min(length);
            bytes.copy_within(at + passed..at + length, kept);
            kept += length - passed;
            skip -= passed;
            (at, number) = (end, number + 1);
        }
        bytes.truncate(kept.min(part.take));
        Ok(bytes)
    }
}

/// Seals what comes piece by piece.
#[derive(Debug)]
pub struct Sealer {
    payload: Payload,
    number: u64,
    /// What is not sealed yet: whether a full chunk is the last one is known when there is more, or an end.
    held: Vec<u8>,
}

impl Sealer {
    pub(super) fn new(payload: Payload) -> Self {
        Self {
            payload,
            number: 0,
            held: Vec::with_capacity(CHUNK),
        }
    }

    /// Takes the next plain bytes; gives sealed ones, which may be none.
    ///
    /// # Errors
    /// When a file is too long for the format.
    pub fn update(&mut self, plain: &[u8]) -> Result<Vec<u8>, AgeError> {
        let ready = (self.held.len() + plain.len()) / CHUNK;
        let mut sealed = Vec::with_capacity(ready * SEALED_CHUNK);
        self.update_into(plain, &mut sealed)?;
        Ok(sealed)
    }

    /// As [`Sealer::update`], appended to `sealed`.
    ///
    /// # Errors
    /// When a file is too long for the format.
    pub fn update_into(&mut self, mut plain: &[u8], sealed: &mut Vec<u8>) -> Result<(), AgeError> {
        // A chunk that may be the last is held.
        while self.held.len() + plain.len() > CHUNK {
            let (now, rest) = plain.split_at(CHUNK - self.held.len());
            plain = rest;
            let chunk = if self.held.is_empty() {
                now
            } else {
                self.held.extend_from_slice(now);
                &self.held
            };
            self.payload.seal_chunk(self.number, Standing::Inner, chunk, sealed)?;
            self.number += 1;
            self.held.clear();
        }
        self.held.extend_from_slice(plain);
        Ok(())
    }

    /// Gives the last sealed bytes.
    ///
    /// # Errors
    /// As [`Sealer::update`].
    pub fn finish(self) -> Result<Vec<u8>, AgeError> {
        let mut sealed = Vec::with_capacity(SEALED_CHUNK);
        self.finish_into(&mut sealed)?;
        Ok(sealed)
    }

    /// As [`Sealer::finish`], appended to `sealed`.
    ///
    /// # Errors
    /// As [`Sealer::update`].
    pub fn finish_into(self, sealed: &mut Vec<u8>) -> Result<(), AgeError> {
        self.payload.seal_chunk(self.number, Standing::Last, &self.held, sealed)
    }
}

/// How long a sealed payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedLength {
    sealed: u64,
    plain: u64,
}

/// A part of a payload: the sealed bytes to be read, counted from where the chunks begin, and what of them is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The sealed bytes of whole chunks that hold the part.
    pub sealed: Range<u64>,
    first: u64,
    last_of_all: u64,
    skip: usize,
    take: usize,
}

impl SealedLength {
    /// The lengths of an object of `object` bytes whose chunks begin at `payload_at`. `None` where no object has such a length.
    pub fn of_object(object: u64, payload_at: u64) -> Option<Self> {
        Self::of_payload(object.checked_sub(payload_at)?)
    }

    fn of_payload(sealed: u64) -> Option<Self> {
        let count = sealed.div_ceil(SEALED_CHUNK as u64);
        let plain = sealed.checked_sub(count * TAG as u64)?;
        let last = sealed - count.checked_sub(1)? * SEALED_CHUNK as u64;
        let fits = last > TAG as u64 || count == 1 && last == TAG as u64;
        fits.then_some(Self { sealed, plain })
    }

    /// Plain bytes.
    pub const fn plain(&self) -> u64 {
        self.plain
    }

    /// Where the plain bytes of `range` lie. `None` where they do not exist.
    pub fn part(&self, range: Range<u64>) -> Option<Part> {
        if range.start > range.end || range.end > self.plain {
            return None;
        }
        let (chunk, sealed_chunk) = (CHUNK as u64, SEALED_CHUNK as u64);
        let first = (range.start / chunk).min(self.sealed.div_ceil(sealed_chunk) - 1);
        let behind = range.end.div_ceil(chunk).max(first + 1);
        Some(Part {
            sealed: first * sealed_chunk..(behind * sealed_chunk).min(self.sealed),
            first,
            last_of_all: self.sealed.div_ceil(sealed_chunk) - 1,
            skip: usize::try_from(range.start - first * chunk).ok()?,
            take: usize::try_from(range.end - range.start).ok()?,
        })
    }
}
