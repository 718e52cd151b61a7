//! Writing past the page cache, `O_DIRECT`: a backup that goes through it costs the kernel more than sealing it does, and throws out of
//! memory what the service next door needs. What is read back comes from the disk then, as it should.
//!
//! Only whole blocks can go this way; the rest, and everything where a file system knows no such thing, is written as usual.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// What addresses, lengths and places in the file are multiples of: the block of every common disk, or a multiple of it.
const BLOCK: usize = 4096;
/// Bytes of one write: at 1 MiB a disk gives all it has (measured).
const PIECE: usize = 2 << 20;
/// Bytes from which it is worth while.
const LEAST: usize = 1 << 20;

/// A file that is open a second time, past the page cache.
#[derive(Debug)]
pub struct Direct {
    file: File,
}

impl Direct {
    /// Opens `name` in `folder`, which is there already. `None` where that cannot be, for whatever reason.
    pub fn open(folder: impl AsFd, name: impl rustix::path::Arg) -> Option<Self> {
        let flags = OFlags::WRONLY | OFlags::DIRECT | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(folder, name, flags, Mode::empty()).ok()?;
        Some(Self { file: file.into() })
    }

    /// Writes as many leading whole blocks of `pieces` at `offset` as can be written this way, and gives their bytes.
    ///
    /// # Errors
    /// When the disk does not take them.
    pub fn write(&self, pieces: &[impl AsRef<[u8]>], mut offset: u64) -> io::Result<u64> {
        let total: usize = pieces.iter().map(|piece| piece.as_ref().len()).sum();
        if total < LEAST || !offset.is_multiple_of(BLOCK as u64) {
            return Ok(0);
        }
        let mut left = total - total % BLOCK;
        let mut bounce = Block::new(PIECE.min(left));
        let mut written = 0;
        let mut rest = pieces.iter().map(AsRef::as_ref);
        let mut piece: &[u8] = &[];
        while left > 0 {
            let length = PIECE.min(left);
            let buffer = bounce.bytes_mut().get_mut(..length).unwrap_or_default();
            let mut filled = 0;
            while filled < length {
                if piece.is_empty() {
                    match rest.next() {
                        Some(next) => piece = next,
                        None => return Err(io::ErrorKind::UnexpectedEof.into()),
                    }
                    continue;
                }
                let (now, later) = piece.split_at(piece.len().min(length - filled));
                if let Some(to) = buffer.get_mut(filled..filled + now.len()) {
                    to.copy_from_slice(now);
                }
                filled += now.len();
                piece = later;
            }
            if self.put(buffer, offset)? < length {
                return Ok(written);
            }
            offset += length as u64;
            written += length as u64;
            left -= length;
        }
        Ok(written)
    }

    /// Writes as many leading whole blocks of a [`Block`]'s bytes at `offset` as can be written this way, and gives how many bytes
    /// that were: none where `offset` is within a block.
    ///
    /// # Errors
    /// When the disk does not take them.
    pub fn put(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        if !offset.is_multiple_of(BLOCK as u64) {
            return Ok(0);
        }
        let whole = bytes.len() - bytes.len() % BLOCK;
        match write_all(&self.file, bytes.get(..whole).unwrap_or_default(), offset) {
            // Blocks larger than ours, or no such writes after all: the caller writes it as usual.
            Err(error) if error == Errno::INVAL => Ok(0),
            done => done.map(|()| whole).map_err(io::Error::from),
        }
    }
}

fn write_all(file: &File, mut bytes: &[u8], mut offset: u64) -> Result<(), Errno> {
    while !bytes.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::pwrite(file, bytes, offset))?;
        match bytes.get(written..).filter(|_| written > 0) {
            Some(rest) => bytes = rest,
            None => return Err(Errno::IO),
        }
        offset += written as u64;
    }
    Ok(())
}

/// A buffer that begins where such a write may.
#[derive(Debug)]
pub struct Block {
    bytes: Vec<u8>,
    begin: usize,
    length: usize,
}

impl Block {
    /// Room for `length` bytes, rounded up to what can be written.
    pub fn new(length: usize) -> Self {
        let length = length.next_multiple_of(BLOCK);
        let bytes = vec![0; length + BLOCK];
        let begin = bytes.as_ptr().align_offset(BLOCK);
        Self { bytes, begin, length }
    }

    /// All of it.
    pub fn bytes(&self) -> &[u8] {
        let (begin, end) = (self.begin, self.begin + self.length);
        self.bytes.get(begin..end).unwrap_or_default()
    }

    /// All of it, to be filled.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let (begin, end) = (self.begin, self.begin + self.length);
        self.bytes.get_mut(begin..end).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;

    #[test]
    fn whole_blocks_go_past_the_cache_and_the_rest_is_left_to_the_caller() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        for (lengths, offset) in [
            (vec![3 << 20, 5, 1 << 20], 0),
            (vec![(1 << 20) + 1; 7], 8 << 20),
            (vec![2 << 20], 4096),
            (vec![4096; 600], 0),
        ] {
            File::create(&path).unwrap();
            let handle = File::open(folder.path()).unwrap();
            let Some(direct) = Direct::open(&handle, "x") else {
                return;
            };
            let pieces: Vec<Vec<u8>> = lengths
                .iter()
                .enumerate()
                .map(|(number, length)| {
                    (0..*length)
                        .map(|at| u8::try_from((at + number) % 251).unwrap())
                        .collect()
                })
                .collect();
            let whole = pieces.concat();
            let written = direct.write(&pieces, offset).unwrap();
            assert_eq!(written, (whole.len() - whole.len() % BLOCK) as u64);
            let whole = &whole[..usize::try_from(written).unwrap()];
            let mut found = vec![0; whole.len()];
            File::open(&path).unwrap().read_exact_at(&mut found, offset).unwrap();
            assert!(found == whole);
        }
    }

    #[test]
    fn what_is_small_or_begins_within_a_block_is_left_to_the_caller() {
        let folder = tempfile::tempdir().unwrap();
        File::create(folder.path().join("x")).unwrap();
        let handle = File::open(folder.path()).unwrap();
        let Some(direct) = Direct::open(&handle, "x") else {
            return;
        };
        assert_eq!(direct.write(&[vec![1; LEAST - 1]], 0).unwrap(), 0);
        assert_eq!(direct.write(&[vec![1; 2 * LEAST]], 100).unwrap(), 0);
    }
}
