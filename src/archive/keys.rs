//! What it takes to read what is sealed: the keys of an epoch.
//!
//! An epoch is an age identity made for one repository. Packs and segments are sealed to its public half, so a host that backs up
//! needs no key that reads. Its private half lies in `keys/<epoch>.age`, sealed to the operators' recipients, beside the 32 bytes
//! that key the digests of segments and the cuts of chunks.

use std::sync::Arc;

use crate::crypto::Digest;
use crate::crypto::age::{AgeError, Identity, Recipient};

/// An epoch, as the one who opens it knows it.
#[derive(Clone, Debug)]
pub struct EpochKeys {
    /// Its name.
    pub name: String,
    /// Its private half.
    pub identity: Identity,
    /// Key of digests and cuts.
    pub chunk_key: ChunkKey,
}

/// Keys the digests of segments and the cuts of chunks. Never printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ChunkKey([u8; 32]);

impl std::fmt::Debug for ChunkKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ChunkKey([redacted])")
    }
}

impl ChunkKey {
    /// Takes 32 random bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for who must keep them.
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Digest of the plain text of a segment.
    pub fn digest(&self, plain: &[u8]) -> Digest {
        blake3::keyed_hash(&self.0, plain).into()
    }

    /// What tells this key from any other, 32 hex digits. Derived, so it tells nothing else: the key is random.
    pub fn check(&self) -> String {
        let derived = blake3::derive_key("strongroom 2026 what tells one chunk key from another", &self.0);
        hex::encode(derived.get(..16).unwrap_or_default())
    }

    /// Whether it is the key that a record was made with; one without a check does not say.
    pub fn fits(&self, check: Option<&str>) -> bool {
        check.is_none_or(|check| check == self.check())
    }

    /// Seed of the cuts of chunks.
    pub fn seed(&self) -> u64 {
        let mut eight = [0; 8];
        let derived = blake3::derive_key("strongroom 2026 seed of the cuts of chunks", &self.0);
        for (to, from) in eight.iter_mut().zip(derived) {
            *to = from;
        }
        u64::from_le_bytes(eight)
    }
}

/// The name of the epoch of a public key: 16 hex digits.
pub fn epoch_name(recipient: &Recipient) -> String {
    let digest = Digest::of(recipient.to_string().as_bytes()).to_string();
    digest.chars().take(16).collect()
}

/// How the objects of a backup are opened.
#[derive(Clone, Debug, Default)]
pub enum Opening {
    /// They are not sealed.
    #[default]
    Plain,
    /// With the keys of their epoch.
    Epoch(Arc<EpochKeys>),
}

impl Opening {
    /// Opens a whole object.
    pub fn open(&self, stored: Vec<u8>) -> Result<Vec<u8>, AgeError> {
        match self {
            Self::Plain => Ok(stored),
            Self::Epoch(keys) => crate::crypto::age::open(std::slice::from_ref(&keys.identity), &stored),
        }
    }

    /// Digest of the plain text of a segment.
    pub fn segment_digest(&self, plain: &[u8]) -> Digest {
        match self {
            Self::Plain => Digest::of(plain),
            Self::Epoch(keys) => keys.chunk_key.digest(plain),
        }
    }
}
