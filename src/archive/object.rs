//! A stored object as it was before it was sealed: any range of it, or all of it in pieces.

use std::ops::Range;

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};

use crate::crypto::age::{self, AgeError, CHUNK, HEADER_MAX, Opened, SealedLength, TAG};
use crate::target::{Target, TargetError};

use super::keys::Opening;

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
#[derive(Debug)]
pub struct Object {
    target: Target,
    name: String,
    stored: u64,
    sealed: Option<(Opened, SealedLength)>,
}

impl Object {
    /// Reads what it takes to open the object `name` of `stored` bytes.
    ///
    /// # Errors
    /// When it cannot be read, or none of the keys fits.
    pub async fn open(target: &Target, name: &str, stored: u64, opening: &Opening) -> Result<Self, ObjectError> {
        let mut object = Self {
            target: target.clone(),
            name: name.to_owned(),
            stored,
            sealed: None,
        };
        let Opening::Epoch(keys) = opening else {
            return Ok(object);
        };
        let keys = std::slice::from_ref(&keys.identity);
        let head = target.read_range(name, 0..stored.min(HEAD)).await?;
        let opened = match age::open_header(keys, &head) {
            Err(AgeError::Header) if stored > HEAD => {
                let head = target.read_range(name, 0..stored.min(HEADER_MAX as u64)).await?;
                age::open_header(keys, &head)
            }
            opened => opened,
        }?;
        let lengths = SealedLength::of_object(stored, opened.payload_at() as u64).ok_or(AgeError::Payload)?;
        object.sealed = Some((opened, lengths));
        Ok(object)
    }

    /// Bytes before it was sealed.
    pub fn length(&self) -> u64 {
        self.sealed.as_ref().map_or(self.stored, |(_, lengths)| lengths.plain())
    }

    /// Reads a range.
    pub async fn range(&self, range: Range<u64>) -> Result<Vec<u8>, ObjectError> {
        let Some((opened, lengths)) = &self.sealed else {
            return Ok(self.target.read_range(&self.name, range).await?);
        };
        let part = lengths.part(range).ok_or(AgeError::Payload)?;
        let at = opened.payload_at() as u64;
        let sealed = at + part.sealed.start..at + part.sealed.end;
        let sealed = self.target.read_range(&self.name, sealed).await?;
        Ok(opened.open_part(&part, sealed)?)
    }

    /// Reads a range in pieces, in order. The stream ends with an error where bytes are missing or wrong.
    pub async fn stream(
        self,
        range: Range<u64>,
    ) -> Result<BoxStream<'static, Result<Bytes, ObjectError>>, ObjectError> {
        let Some((opened, lengths)) = self.sealed else {
            let stream = self.target.stream(&self.name, Some(range)).await?;
            return Ok(stream.map_err(ObjectError::Target).boxed());
        };
        let part = lengths.part(range.clone()).ok_or(AgeError::Payload)?;
        let at = opened.payload_at() as u64;
        let sealed = at + part.sealed.start..at + part.sealed.end;
        let state = Unsealing {
            stored: self.target.stream(&self.name, Some(sealed)).await?,
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
    use std::sync::Arc;

    use super::*;
    use crate::archive::keys::{ChunkKey, EpochKeys};
    use crate::crypto::age::Identity;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap()
    }

    #[test]
    fn a_sealed_object_reads_as_it_was_before() {
        let identity = Identity::generate().unwrap();
        let plain: Vec<u8> = (0..3_000_000_u32).map(|n| u8::try_from(n % 253).unwrap()).collect();
        let sealed = age::seal(&[identity.recipient()], &plain).unwrap();
        let keys = EpochKeys {
            name: "epoch".into(),
            identity,
            chunk_key: ChunkKey::new([1; 32]),
        };
        let opening = Opening::Epoch(Arc::new(keys));
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
