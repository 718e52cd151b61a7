//! The file that is being written: content arrives without its holes and goes to where its extents say.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::error::Trick;
use crate::fs::entry::Extent;

/// Bytes from which room is asked for before the content comes: below, the file system's own delay does as well.
const ASK_FOR_ROOM: u64 = 1 << 20;

/// Why content was not taken.
#[derive(Debug)]
pub(super) enum WriteError {
    /// The archive is to blame.
    Trick(Trick),
    /// The operating system is.
    Io(io::Error),
}

/// A file under way.
pub(super) struct CurrentFile {
    file: File,
    extents: Vec<Extent>,
    /// The extent that the next byte belongs to, and the bytes of it that are written.
    at: usize,
    within: u64,
}

impl CurrentFile {
    /// Takes a new, empty file. `extents` were checked against `size`.
    pub(super) fn new(file: File, size: u64, extents: Option<&[Extent]>) -> io::Result<Self> {
        let extents = match extents {
            Some(extents) => {
                file.set_len(size)?;
                extents.to_vec()
            }
            None if size == 0 => Vec::new(),
            None => {
                if size > ASK_FOR_ROOM {
                    ask_for_room(&file, size)?;
                }
                vec![Extent {
                    offset: 0,
                    length: size,
                }]
            }
        };
        Ok(Self {
            file,
            extents,
            at: 0,
            within: 0,
        })
    }

    /// Writes the next bytes of content.
    pub(super) fn write(&mut self, mut data: &[u8]) -> Result<(), WriteError> {
        while !data.is_empty() {
            let extent = self.extents.get(self.at).ok_or(WriteError::Trick(Trick::TooMuch))?;
            let room = usize::try_from(extent.length - self.within).unwrap_or(usize::MAX);
            let (now, later) = data.split_at(room.min(data.len()));
            self.file
                .write_all_at(now, extent.offset + self.within)
                .map_err(WriteError::Io)?;
            self.within += now.len() as u64;
            if self.within == extent.length {
                self.at += 1;
                self.within = 0;
            }
            data = later;
        }
        Ok(())
    }

    /// Whether all content has come.
    pub(super) fn complete(&self) -> bool {
        self.at == self.extents.len()
    }

    /// The file, open.
    pub(super) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Asks the file system for room; one that cannot tell is believed to have it.
///
/// What it has is looked up first: a file system that is asked for more takes all that is left before it says no, and for
/// that moment nobody else on the disk can write.
pub(super) fn ask_for_room(file: &File, size: u64) -> io::Result<()> {
    let disk = rustix::fs::fstatvfs(file)?;
    if disk.f_blocks > 0 && size > disk.f_bfree.saturating_mul(disk.f_frsize) {
        return Err(Errno::NOSPC.into());
    }
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, size) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(size: u64, extents: Option<&[Extent]>, pieces: &[&[u8]]) -> Vec<u8> {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut current = CurrentFile::new(file.reopen().unwrap(), size, extents).unwrap();
        for piece in pieces {
            current.write(piece).unwrap();
        }
        assert!(current.complete());
        std::fs::read(file.path()).unwrap()
    }

    #[test]
    fn content_goes_where_the_extents_say_whatever_its_pieces() {
        let extents = [Extent { offset: 2, length: 3 }, Extent { offset: 7, length: 1 }];
        for pieces in [&[&b"abcd"[..]][..], &[b"a", b"bc", b"d"], &[b"abc", b"", b"d"]] {
            assert_eq!(written(10, Some(&extents), pieces), b"\0\0abc\0\0d\0\0");
        }
        assert_eq!(written(4, None, &[b"ab", b"cd"]), b"abcd");
        assert_eq!(written(3, Some(&[]), &[]), b"\0\0\0");
    }

    #[test]
    fn content_beyond_what_was_said_is_refused_and_less_is_noticed() {
        let mut current = CurrentFile::new(tempfile::tempfile().unwrap(), 2, None).unwrap();
        current.write(b"a").unwrap();
        assert!(!current.complete());
        assert!(matches!(current.write(b"bc"), Err(WriteError::Trick(Trick::TooMuch))));
    }
    #[test]
    fn a_size_that_the_disk_cannot_hold_is_refused_before_any_of_it_is_taken() {
        use std::os::unix::fs::MetadataExt;
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = CurrentFile::new(file.reopen().unwrap(), 1 << 50, None).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(file.as_file().metadata().unwrap().blocks(), 0);
    }
}
