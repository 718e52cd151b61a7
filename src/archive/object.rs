//! A stored object as it was before it was sealed: any range of it, or all of it in pieces.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};

use crate::crypto::age::{self, AgeError, CHUNK, HEADER_MAX, Opened, SealedLength, TAG};
use crate::target::{Target, TargetError};

use super::keys::Opening;
use super::proofs::Proofs;

/// Bytes at a sealed object's beginning that are read first: the header of a few recipients fits.
const HEAD: u64 = 2048;
/// Plain bytes that are opened at once in a stream: whole chunks of the sealed form.
const PIECE: u64 = 16 * CHUNK as u64;

/// Why an object cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The target failed.
    #[error("the object cannot be read")]
    Target(#[from] TargetError),
    /// It cannot be opened.
    #[error("the object cannot be opened")]
    Open(#[from] AgeError),
}

/// An object, ready to be read.
pub struct Object {
    stored: Stored,
    sealed: Option<(Opened, SealedLength)>,
}

/// The object as it is stored.
struct Stored {
    target: Target,
    name: String,
    bytes: u64,
    proofs: Option<Arc<Proofs>>,
}

impl Stored {
    async fn range(&self, range: Range<u64>) -> Result<Vec<u8>, TargetError> {
        let at = range.start;
        let bytes = self.target.read_range(&self.name, range).await?;
        self.seen(at, &bytes);
        Ok(bytes)
    }

    /// A range in pieces, in order.
    async fn stream(self, range: Range<u64>) -> Result<BoxStream<'static, Result<Bytes, TargetError>>, TargetError> {
        let mut at = range.start;
        let stream = self.target.stream(&self.name, Some(range)).await?;
        let seen = move |piece: &Bytes| {
            self.seen(at, piece);
            at += piece.len() as u64;
        };
        Ok(stream.inspect_ok(seen).boxed())
    }

    fn seen(&self, at: u64, bytes: &[u8]) {
        if let Some(proofs) = &self.proofs {
            proofs.seen(&self.name, self.bytes, at, bytes);
        }
    }
}

impl Object {
    /// Reads what it takes to open the object `name` of `stored` bytes.
    ///
    /// # Errors
    /// When it cannot be read, or none of the keys fits.
    pub async fn open(target: &Target, name: &str, stored: u64, opening: &Opening) -> Result<Self, ObjectError> {
        Self::open_seen(target, (name, stored), opening, None).await
    }

    /// The same; `proofs` hear of all that is read of it.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_seen(
        target: &Target,
        (name, bytes): (&str, u64),
        opening: &Opening,
        proofs: Option<Arc<Proofs>>,
    ) -> Result<Self, ObjectError> {
        let stored = Stored {
            target: target.clone(),
            name: name.to_owned(),
            bytes,
            proofs,
        };
        let Opening::Epoch(keys) = opening else {
            return Ok(Self { stored, sealed: None });
        };
        let keys = std::slice::from_ref(&keys.identity);
        let head = stored.range(0..bytes.min(HEAD)).await?;
        let opened = match age::open_header(keys, &head) {
            Err(AgeError::Header) if bytes > HEAD => {
                let head = stored.range(0..bytes.min(HEADER_MAX as u64)).await?;
                age::open_header(keys, &head)
            }
            opened => opened,
        }?;
        let lengths = SealedLength::of_object(bytes, opened.payload_at() as u64).ok_or(AgeError::Payload)?;
        let sealed = Some((opened, lengths));
        Ok(Self { stored, sealed })
    }

    /// Bytes before it was sealed.
    pub fn length(&self) -> u64 {
        self.sealed
            .as_ref()
            .map_or(self.stored.bytes, |(_, lengths)| lengths.plain())
    }

    /// Reads a range.
    pub async fn range(&self, range: Range<u64>) -> Result<Vec<u8>, ObjectError> {
        let Some((opened, lengths)) = &self.sealed else {
            return Ok(self.stored.range(range).await?);
        };
        let part = lengths.part(range).ok_or(AgeError::Payload)?;
        let at = opened.payload_at() as u64;
        let sealed = at + part.sealed.start..at + part.sealed.end;
        let sealed = self.stored.range(sealed).await?;
        Ok(opened.open_part(&part, sealed)?)
    }

    /// Reads a range in pieces, in order. The stream ends with an error where bytes are missing or wrong.
    pub async fn stream(
        self,
        range: Range<u64>,
    ) -> Result<BoxStream<'static, Result<Bytes, ObjectError>>, ObjectError> {
        let Some((opened, lengths)) = self.sealed else {
            let stream = self.stored.stream(range).await?;
            return Ok(stream.map_err(ObjectError::Target).boxed());
        };
        let part = lengths.part(range.clone()).ok_or(AgeError::Payload)?;
        let at = opened.payload_at() as u64;
        let sealed = at + part.sealed.start..at + part.sealed.end;
        let state = Unsealing {
            stored: self.stored.stream(sealed).await?,
            held: Vec::new(),
            opened,
            lengths,
            next: range.start,
            end: range.end,
        };
        let pieces = futures::stream::try_unfold(state, |mut state| async move {
            let piece = state.next().await?;
            Ok(piece.map(|piece| (piece, state)))
        });
        Ok(pieces.boxed())
    }
}

/// A sealed stream on its way.
struct Unsealing {
    stored: BoxStream<'static, Result<Bytes, TargetError>>,
    held: Vec<u8>,
    opened: Opened,
    lengths: SealedLength,
    next: u64,
    end: u64,
}

impl Unsealing {
    async fn next(&mut self) -> Result<Option<Bytes>, ObjectError> {
        if self.next >= self.end {
            return Ok(None);
        }
        // Pieces end where chunks of the sealed form do, so that none is opened twice.
        let end = ((self.next / PIECE + 1) * PIECE).min(self.end);
        let part = self.lengths.part(self.next..end).ok_or(AgeError::Payload)?;
        let wanted = usize::try_from(part.sealed.end - part.sealed.start).map_err(|_| AgeError::Payload)?;
        while self.held.len() < wanted {
            match self.stored.try_next().await? {
                Some(bytes) => self.held.extend_from_slice(&bytes),
                None => return Err(AgeError::Payload.into()),
            }
        }
        let rest = self.held.split_off(wanted);
        let sealed = std::mem::replace(&mut self.held, rest);
        self.next = end;
        Ok(Some(self.opened.open_part(&part, sealed)?.into()))
    }
}

const _: () = assert!(
    PIECE.is_multiple_of(CHUNK as u64) && TAG == 16,
    "pieces are whole chunks"
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::keys::{ChunkKey, EpochKeys};
    use crate::crypto::Digest;
    use crate::crypto::age::Identity;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap()
    }

    /// Three million bytes, sealed, and what opens them.
    fn sealed() -> (Vec<u8>, Vec<u8>, Opening) {
        let identity = Identity::generate().unwrap();
        let plain: Vec<u8> = (0..3_000_000_u32).map(|n| u8::try_from(n % 253).unwrap()).collect();
        let sealed = age::seal(&[identity.recipient()], &plain).unwrap();
        let keys = EpochKeys {
            name: "epoch".into(),
            identity,
            chunk_key: ChunkKey::new([1; 32]),
        };
        (plain, sealed, Opening::Epoch(Arc::new(keys)))
    }

    #[test]
    fn what_is_read_of_a_sealed_object_in_ranges_or_as_a_stream_proves_it_as_it_is_stored() {
        let (plain, sealed, opening) = sealed();
        let (end, stored) = (plain.len() as u64, sealed.len() as u64);
        let expected = vec![("packs/x".to_owned(), stored, Some(Digest::of(&sealed)))];
        runtime().block_on(async {
            let target = Target::memory("local".parse().unwrap());
            target.create("packs/x", sealed.into()).await.unwrap();
            let open = |proofs: &Arc<Proofs>| {
                Object::open_seen(&target, ("packs/x", stored), &opening, Some(Arc::clone(proofs)))
            };
            let (ranges, streamed) = (Arc::new(Proofs::default()), Arc::new(Proofs::default()));
            let object = open(&ranges).await.unwrap();
            for range in [end - 4096..end, 0..900_000, 1_900_000..end, 900_000..1_900_000] {
                assert_eq!(ranges.rest(expected.clone()).len(), 1);
                object.range(range).await.unwrap();
            }
            let stream = open(&streamed).await.unwrap().stream(0..end).await.unwrap();
            stream.try_collect::<Vec<_>>().await.unwrap();
            for proofs in [ranges, streamed] {
                assert_eq!(proofs.rest(expected.clone()), []);
            }
        });
    }

    #[test]
    fn a_sealed_object_reads_as_it_was_before() {
        let (plain, sealed, opening) = sealed();
        runtime().block_on(async {
            let target = Target::memory("local".parse().unwrap());
            target.create("archives/x", sealed.clone().into()).await.unwrap();
            let stored = sealed.len() as u64;
            let open = || Object::open(&target, "archives/x", stored, &opening);
            assert_eq!(open().await.unwrap().length(), plain.len() as u64);
            for range in [
                0..3_000_000_u64,
                0..1,
                1_048_575..1_048_577,
                2_999_999..3_000_000,
                70_000..2_500_000,
            ] {
                let expected = &plain[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()];
                assert_eq!(open().await.unwrap().range(range.clone()).await.unwrap(), expected);
                let pieces: Vec<Bytes> = open()
                    .await
                    .unwrap()
                    .stream(range)
                    .await
                    .unwrap()
                    .try_collect()
                    .await
                    .unwrap();
                assert_eq!(pieces.concat(), expected);
            }
            let other = Opening::Epoch(Arc::new(EpochKeys {
                name: "other".into(),
                identity: Identity::generate().unwrap(),
                chunk_key: ChunkKey::new([1; 32]),
            }));
            let refused = Object::open(&target, "archives/x", stored, &other).await;
            assert!(matches!(refused, Err(ObjectError::Open(AgeError::NoMatch))));
        });
    }
}
