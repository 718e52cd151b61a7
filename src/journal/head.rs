//! `journal.head`: how many lines are synced, and the hash of the last of them. The newest line has no successor that
//! would hold its hash, and a cut tail leaves a chain that is whole; this file tells both.
//!
//! It is written after the lines it speaks of are on the disk, so it may lag behind them after a crash but never run
//! ahead.

use std::fs::File;

use rustix::fs::OFlags;

use super::chain::{Leaf, Tip};
use super::{JournalError, segment};
use crate::state::StateFolder;

/// The file's name.
pub(super) const FILE: &str = "journal.head";

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Number of lines.
    pub(super) size: u64,
    /// Hash of the last one.
    pub(super) leaf: Leaf,
}

impl Head {
    /// Of a journal that has no head yet: says nothing about any line.
    pub(super) const NONE: Self = Self {
        size: 0,
        leaf: Leaf([0; 32]),
    };

    pub(super) fn at(tip: Tip) -> Self {
        Self {
            size: tip.next,
            leaf: tip.prev,
        }
    }

    /// Always of one length, so that it is overwritten in place.
    fn line(self) -> String {
        format!("{:020} {}\n", self.size, self.leaf)
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (size, leaf) = text.strip_suffix('\n')?.split_once(' ')?;
        let digits = size.len() == 20 && size.bytes().all(|b| b.is_ascii_digit());
        Some(Self {
            size: size.parse().ok().filter(|_| digits)?,
            leaf: Leaf::parse(leaf)?,
        })
    }
}

/// Reads the head; `None` where there is none.
///
/// # Errors
/// When the file is there and says nothing that can be read.
pub(super) fn read(folder: &StateFolder) -> Result<Option<Head>, JournalError> {
    match segment::small(folder, FILE, 4096)? {
        None => Ok(None),
        Some(text) => match Head::parse(&text) {
            Some(head) => Ok(Some(head)),
            None => Err(JournalError::broken(
                FILE,
                None,
                "it does not say how long the journal is",
            )),
        },
    }
}

/// The head's file, open for writing.
#[derive(Debug)]
pub(super) struct HeadFile {
    file: File,
}

impl HeadFile {
    /// Opens the file; where it is missing, makes it and says `head` in it, durably.
    pub(super) fn open(folder: &StateFolder, head: Head) -> Result<Self, JournalError> {
        let failed = JournalError::io(folder.path());
        if let Some(file) = segment::open(folder, FILE, OFlags::RDWR)? {
            return Ok(Self { file });
        }
        // Made under another name first: an empty head would be a broken one.
        let name = "journal.head.new";
        let file = segment::open(folder, name, OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC)?;
        let made = Self {
            file: file.ok_or_else(|| failed(std::io::ErrorKind::NotFound.into()))?,
        };
        made.write(folder, head)?;
        let named = (|| {
            made.file.sync_all()?;
            rustix::fs::renameat(folder.descriptor(), name, folder.descriptor(), FILE)?;
            rustix::fs::fsync(folder.descriptor())?;
            Ok(())
        })();
        named.map_err(failed)?;
        Ok(made)
    }

    /// Says `head`. Not synced: the lines are, and a head that lags is no lie.
    pub(super) fn write(&self, folder: &StateFolder, head: Head) -> Result<(), JournalError> {
        let line = head.line();
        std::os::unix::fs::FileExt::write_all_at(&self.file, line.as_bytes(), 0)
            .map_err(JournalError::io(&folder.path().join(FILE)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_reads_back_and_a_changed_one_does_not() {
        let head = Head {
            size: 42,
            leaf: Leaf::of(b"line"),
        };
        let line = head.line();
        assert_eq!(Head::parse(line.as_bytes()), Some(head));
        for index in 0..line.len() {
            let mut bent = line.clone().into_bytes();
            bent[index] ^= 1;
            assert_ne!(Head::parse(&bent), Some(head), "{index}");
        }
    }
}
