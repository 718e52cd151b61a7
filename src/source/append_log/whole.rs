//! The digest of a whole log under way: hashed from its first byte, or known as far as it was backed up.

use std::io;

use super::memory::LogMemory;
use crate::crypto::Digest;
use crate::crypto::resumable::{Aside, Resumable};
use crate::fs::folder::Folder;

/// How the digest of all bytes so far is had.
#[derive(Debug)]
pub(super) enum Whole<'a> {
    /// Every byte is hashed.
    Hashing(Box<Resumable>),
    /// The bytes that the memory has are not hashed again; so many of them are still to come.
    Known { memory: &'a LogMemory, left: u64 },
}

impl<'a> Whole<'a> {
    /// Begins a log of which the memory has the beginning.
    pub(super) fn known(memory: &'a LogMemory) -> Self {
        Self::Known {
            memory,
            left: memory.length(),
        }
    }

    /// Goes on over bytes that need not be read.
    pub(super) const fn pass(&mut self, bytes: u64) {
        if let Self::Known { left, .. } = self {
            *left = left.saturating_sub(bytes);
        }
    }

    /// Goes on over bytes that were read. What is known and what is new must come apart.
    pub(super) fn update(&mut self, bytes: &[u8], root: impl FnOnce() -> io::Result<Folder>) -> io::Result<()> {
        match self {
            Self::Hashing(hasher) => hasher.update(bytes),
            Self::Known { memory, left: 0 } => {
                let mut hasher = Box::new(memory.resume(&root()?)?);
                hasher.update(bytes);
                *self = Self::Hashing(hasher);
            }
            Self::Known { .. } => self.pass(bytes.len() as u64),
        }
        Ok(())
    }

    /// The digest where the last backup's log ends, given that of the file under way. Where all files before it are as they were,
    /// the log is what it was just when this file is.
    pub(super) fn at_past_end(&self, file: Digest) -> Digest {
        match self {
            Self::Hashing(hasher) => hasher.finalize(),
            Self::Known { memory, .. } => match (memory.files.last(), memory.blake3) {
                (Some(last), Some(whole)) if last.row.blake3 == file => whole,
                _ => file,
            },
        }
    }

    /// The digest of all of it.
    pub(super) fn digest(&self) -> Digest {
        match self {
            Self::Hashing(hasher) => hasher.finalize(),
            Self::Known { memory, .. } => memory.blake3.unwrap_or_else(|| Digest::of(&[])),
        }
    }

    /// What the next backup can go on from.
    pub(super) fn aside(&self) -> Aside {
        match self {
            Self::Hashing(hasher) => hasher.aside().clone(),
            Self::Known { memory, .. } => memory.aside.clone(),
        }
    }
}
