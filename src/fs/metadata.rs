//! What an open thing is and what is kept of it: kind, owner, times, extended attributes, holes.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::buffer::spare_capacity;
use rustix::fs::{FileType, SeekFrom, Statx, StatxFlags};
use rustix::io::Errno;

use super::entry::{Extent, Metadata, Moment, Stat};
use super::folder::proc_path;
use super::owners::Owners;
use crate::limits;

/// The kernel's bounds of a list of attribute names and of one value, in bytes.
const XATTR_MAX: usize = 64 << 10;

/// The kind of what `statx` described.
pub fn file_type(stat: &Statx) -> FileType {
    FileType::from_raw_mode(stat.stx_mode.into())
}

/// What "unchanged" is decided by.
pub fn stat_of(stat: &Statx) -> Stat {
    Stat {
        device: rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor),
        inode: stat.stx_ino,
        size: stat.stx_size,
        mtime: Moment {
            seconds: stat.stx_mtime.tv_sec,
            nanoseconds: stat.stx_mtime.tv_nsec,
        },
        ctime: Moment {
            seconds: stat.stx_ctime.tv_sec,
            nanoseconds: stat.stx_ctime.tv_nsec,
        },
    }
}

/// When the inode was made, where the file system knows.
pub fn birth(stat: &Statx) -> Option<Moment> {
    StatxFlags::from_bits_retain(stat.stx_mask)
        .contains(StatxFlags::BTIME)
        .then_some(Moment {
            seconds: stat.stx_btime.tv_sec,
            nanoseconds: stat.stx_btime.tv_nsec,
        })
}

/// What is kept of an entry, but for its attributes.
pub fn metadata_of(stat: &Statx, owners: &Owners) -> Metadata {
    Metadata {
        mode: u32::from(stat.stx_mode) & 0o7777,
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        user: owners.user(stat.stx_uid).map(str::to_owned),
        group: owners.group(stat.stx_gid).map(str::to_owned),
        mtime: Moment {
            seconds: stat.stx_mtime.tv_sec,
            nanoseconds: stat.stx_mtime.tv_nsec,
        },
        xattrs: BTreeMap::new(),
    }
}

/// How a descriptor was opened, which decides how its attributes can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// For reading.
    Open,
    /// By `O_PATH`: links, FIFOs, devices, and whatever must not be opened.
    ByPath,
}

/// Reads extended attributes through buffers that are used again.
#[derive(Debug)]
pub struct XattrReader {
    list: Vec<u8>,
    value: Vec<u8>,
}

/// An attribute that could not be read.
#[derive(Debug)]
pub struct XattrProblem {
    /// Its name; empty where the list itself could not be read.
    pub name: Vec<u8>,
    /// Why.
    pub error: io::Error,
}

impl Default for XattrReader {
    fn default() -> Self {
        Self {
            list: Vec::with_capacity(XATTR_MAX),
            value: Vec::with_capacity(XATTR_MAX),
        }
    }
}

impl XattrReader {
    /// Reads all attributes of an open thing into `into`. A file system without attributes has none. What could not be
    /// read is told; the rest is there all the same.
    pub fn read(&mut self, fd: impl AsFd, held: Held, into: &mut BTreeMap<Vec<u8>, Vec<u8>>) -> Vec<XattrProblem> {
        let fd = fd.as_fd();
        self.list.clear();
        let listed = match held {
            Held::Open => rustix::fs::flistxattr(fd, spare_capacity(&mut self.list)),
            Held::ByPath => rustix::fs::listxattr(proc_path(fd), spare_capacity(&mut self.list)),
        };
        match listed {
            Ok(0) | Err(Errno::NOTSUP) => return Vec::new(),
            Ok(_) => {}
            Err(errno) => return vec![problem(b"", errno)],
        }
        let mut problems = Vec::new();
        let mut total = 0_usize;
        for name in self.list.split(|b| *b == 0).filter(|name| !name.is_empty()) {
            self.value.clear();
            match get(fd, held, name, &mut self.value) {
                Ok(length) => {
                    total = total.saturating_add(name.len()).saturating_add(length);
                    if total > limits::XATTRS_MAX {
                        problems.push(problem(name, Errno::TOOBIG));
                        break;
                    }
                    into.insert(name.to_vec(), self.value.clone());
                }
                // Removed since it was listed, or listed by a file system that does not serve it.
                Err(Errno::NODATA | Errno::NOTSUP) => {}
                Err(errno) => problems.push(problem(name, errno)),
            }
        }
        problems
    }
}

fn problem(name: &[u8], errno: Errno) -> XattrProblem {
    XattrProblem {
        name: name.to_vec(),
        error: errno.into(),
    }
}

fn get(fd: BorrowedFd<'_>, held: Held, name: &[u8], value: &mut Vec<u8>) -> Result<usize, Errno> {
    match held {
        Held::Open => rustix::fs::fgetxattr(fd, name, spare_capacity(value)),
        Held::ByPath => rustix::fs::getxattr(proc_path(fd), name, spare_capacity(value)),
    }
}

/// Where the data of an open file lies; `None` where it has no hole or the file system does not tell.
///
/// A file with more than `limits::EXTENTS_MAX` stretches of data keeps its last holes as zeros.
pub fn extents(fd: impl AsFd, described: &Statx) -> io::Result<Option<Vec<Extent>>> {
    let size = described.stx_size;
    // A file as large as its blocks has no hole worth two calls.
    if size == 0 || described.stx_blocks.saturating_mul(512) >= size {
        return Ok(None);
    }
    let fd = fd.as_fd();
    let mut extents = Vec::new();
    let mut at = 0;
    while at < size {
        let begin = match rustix::fs::seek(fd, SeekFrom::Data(at)) {
            Ok(begin) => begin,
            // Nothing but a hole from here on.
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL | Errno::NOTSUP | Errno::SPIPE) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        if begin >= size {
            break;
        }
        let end = match rustix::fs::seek(fd, SeekFrom::Hole(begin)) {
            Ok(end) => end.min(size),
            // The file shrank below `begin` in between: whoever reads it will see that it changed.
            Err(Errno::NXIO) => size,
            Err(errno) => return Err(errno.into()),
        };
        let last = extents.len() + 1 == limits::EXTENTS_MAX;
        let end = if last || end <= begin { size } else { end };
        extents.push(Extent {
            offset: begin,
            length: end - begin,
        });
        at = end;
    }
    let whole = matches!(extents.as_slice(), [one] if one.offset == 0 && one.length == size);
    Ok((!whole).then_some(extents))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::fs::folder;

    #[test]
    fn holes_are_found_and_a_file_without_one_has_no_extents() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(8 << 20).unwrap();
        let map = |file| extents(file, &folder::stat(file).unwrap()).unwrap();
        assert_eq!(
            map(&file),
            Some(Vec::new()),
            "all hole (does the temporary folder know holes?)"
        );
        file.write_all_at(&[1; 4096], 4 << 20).unwrap();
        let found = map(&file).unwrap();
        assert_eq!(found.len(), 1);
        assert!(found[0].offset <= 4 << 20 && found[0].offset + found[0].length >= (4 << 20) + 4096);
        assert!(found[0].length < 2 << 20);
        let full = tempfile::tempfile().unwrap();
        full.write_all_at(&[1; 10_000], 0).unwrap();
        assert_eq!(map(&full), None);
    }
}
