//! What a host remembers of a log that it backed up: by it the files that are as they were need not be read again, and the digest
//! of the whole log goes on from where it was.
//!
//! Only speed depends on it. Where it is lost, damaged or of another backup the log is read from its beginning.

use std::io;

use serde::{Deserialize, Serialize};

use crate::crypto::Digest;
use crate::crypto::resumable::{Aside, Resumable, UNIT};
use crate::fs::entry::{Moment, Stat, TreePath};
use crate::fs::folder::Folder;
use crate::fs::metadata;
use crate::limits;
use crate::source::feed;
use crate::source::log_head::LogFile;

/// A log as a backup has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogMemory {
    pub(super) files: Vec<Remembered>,
    pub(super) aside: Aside,
    pub(super) blake3: Option<Digest>,
}

/// A file of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remembered {
    pub(super) row: LogFile,
    pub(super) stat: Stat,
    /// It changed so late that another change need not have shown.
    pub(super) racy: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Header {
    format: u32,
    backup: String,
    blake3: Digest,
    units: u64,
    stack: Vec<Digest>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Line {
    file: LogFile,
    racy: bool,
    inode: u64,
    size: u64,
    mtime: (i64, u32),
    ctime: (i64, u32),
}

const FORMAT: u32 = 1;

impl LogMemory {
    /// The file that keeps it: a line of JSON with the backup that has the log, one for each file, and the digest of all that.
    pub fn to_bytes(&self, backup: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        // Structs of numbers and strings always serialize.
        let mut line = |json: Vec<u8>| {
            bytes.extend_from_slice(&json);
            bytes.push(b'\n');
        };
        let header = Header {
            format: FORMAT,
            backup: backup.to_owned(),
            blake3: self.blake3.unwrap_or_else(|| Digest::of(&[])),
            units: self.aside.units(),
            stack: self.aside.stack().iter().map(|digest| digest_of(*digest)).collect(),
        };
        line(serde_json::to_vec(&header).unwrap_or_default());
        for file in &self.files {
            line(serde_json::to_vec(&Line::from(file)).unwrap_or_default());
        }
        let digest = Digest::of(&bytes);
        bytes.extend_from_slice(format!("{digest}\n").as_bytes());
        bytes
    }

    /// Reads it again; nothing where the file is of another backup or not whole.
    pub fn parse(bytes: &[u8], backup: &str) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?;
        let end = text.rfind('\n')? + 1;
        let (lines, digest) = text.split_at_checked(end)?;
        if Digest::of(lines.as_bytes()).to_string() != digest {
            return None;
        }
        let mut lines = lines.lines();
        let header: Header = serde_json::from_str(lines.next()?).ok()?;
        if header.format != FORMAT || header.backup != backup {
            return None;
        }
        let stack = header.stack.iter().map(|digest| *digest.as_bytes()).collect();
        let files: Option<Vec<Line>> = lines.map(|line| serde_json::from_str(line).ok()).collect();
        let memory = Self {
            files: files?.into_iter().map(Remembered::from).collect(),
            aside: Aside::from_parts(header.units, stack)?,
            blake3: Some(header.blake3),
        };
        memory.goes_on().then_some(memory)
    }

    /// Whether what was put aside ends in the log's last unit, so that going on from there means to read no more than that.
    fn goes_on(&self) -> bool {
        let mut lengths = self.files.iter().map(|file| file.row.length);
        let length = lengths.try_fold(0_u64, u64::checked_add);
        let rest = length.and_then(|length| length.checked_sub(self.aside.length()));
        rest.is_some_and(|rest| (1..=UNIT).contains(&rest) || length == Some(0))
    }

    /// Bytes of the log.
    pub(super) fn length(&self) -> u64 {
        self.files.iter().map(|file| file.row.length).sum()
    }

    /// How many files at the log's beginning look as they did. `None` where it is not sure that reading the rest tells the same as
    /// reading everything would: where more than its last file looks otherwise.
    pub(super) fn leading(&self, root: &Folder, files: &[TreePath]) -> Option<usize> {
        let last = self.files.len().checked_sub(1)?;
        let mut leading = 0;
        for (number, (file, path)) in self.files.iter().zip(files).enumerate() {
            let stat = stat_of(root, path)?;
            if file.row.path != *path {
                return None;
            }
            // What stood behind the last whole record belongs to the log once another file follows.
            let whole = file.row.length == file.stat.size || number + 1 == files.len();
            if !file.racy && whole && file.stat.is_same_state(&stat) {
                leading += 1;
                continue;
            }
            let grown = number == last && stat.size >= file.row.length;
            return (grown && leading > 0).then_some(leading);
        }
        (leading == self.files.len()).then_some(leading)
    }

    /// The hash of the log's bytes, to go on from its end.
    pub(super) fn resume(&self, root: &Folder) -> io::Result<Resumable> {
        let next = self.bytes(root, self.aside.length(), self.length())?;
        Resumable::resume(self.aside.clone(), &next).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Bytes of the log from `from` to `to`, at most a few MiB.
    pub(super) fn bytes(&self, root: &Folder, from: u64, to: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut start = 0;
        for file in &self.files {
            let end = start + file.row.length;
            if end > from && start < to {
                let (first, last) = (from.max(start), to.min(end));
                let length = usize::try_from(last - first).map_err(|_| io::ErrorKind::OutOfMemory)?;
                let old = bytes.len();
                bytes.resize(old + length, 0);
                let path = &file.row.path;
                let open = root.beneath(&path.parent().unwrap_or_default())?.file(path.name())?;
                let into = bytes.get_mut(old..).unwrap_or_default();
                if feed::read_at(&open, into, first - start)? < length {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            start = end;
        }
        Ok(bytes)
    }
}

/// Whether a file changed so late before `began`, in seconds since 1970, or after it, that another change need not show.
pub(super) fn is_racy(stat: &Stat, began: i64) -> bool {
    let late = |moment: Moment| moment.seconds.saturating_add(limits::RACY_SECONDS) >= began;
    late(stat.mtime) || late(stat.ctime)
}

fn stat_of(root: &Folder, path: &TreePath) -> Option<Stat> {
    let folder = root.beneath(&path.parent().unwrap_or_default()).ok()?;
    Some(metadata::stat_of(&folder.stat_of(path.name()).ok()?))
}

fn digest_of(bytes: [u8; 32]) -> Digest {
    blake3::Hash::from_bytes(bytes).into()
}

impl From<&Remembered> for Line {
    fn from(file: &Remembered) -> Self {
        let time = |moment: Moment| (moment.seconds, moment.nanoseconds);
        Self {
            file: file.row.clone(),
            racy: file.racy,
            inode: file.stat.inode,
            size: file.stat.size,
            mtime: time(file.stat.mtime),
            ctime: time(file.stat.ctime),
        }
    }
}

impl From<Line> for Remembered {
    fn from(line: Line) -> Self {
        let time = |(seconds, nanoseconds)| Moment { seconds, nanoseconds };
        Self {
            row: line.file,
            racy: line.racy,
            stat: Stat {
                device: 0,
                inode: line.inode,
                size: line.size,
                mtime: time(line.mtime),
                ctime: time(line.ctime),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::resumable::Resumable;

    fn remembered(name: &str, length: u64) -> Remembered {
        Remembered {
            row: LogFile {
                path: TreePath::parse(name.as_bytes()).unwrap(),
                length,
                records: 1,
                blake3: Digest::of(name.as_bytes()),
            },
            stat: Stat::default(),
            racy: false,
        }
    }

    #[test]
    fn a_memory_that_goes_on_from_anywhere_but_the_logs_last_unit_is_none() {
        let mut hasher = Resumable::default();
        hasher.update(&vec![7; 2 << 20]);
        for (lengths, fits) in [
            (&[UNIT, UNIT][..], true),
            (&[UNIT + 1], true),
            (&[UNIT], false),
            (&[2 * UNIT + 1], false),
            (&[u64::MAX, u64::MAX], false),
            (&[], false),
        ] {
            let names = ["a", "b"].iter().zip(lengths);
            let memory = LogMemory {
                files: names.map(|(name, length)| remembered(name, *length)).collect(),
                aside: hasher.aside().clone(),
                blake3: Some(Digest::of(b"")),
            };
            let read = LogMemory::parse(&memory.to_bytes("b"), "b");
            assert_eq!(read, fits.then_some(memory), "{lengths:?}");
        }
        let nothing = LogMemory {
            blake3: Some(Digest::of(b"")),
            ..LogMemory::default()
        };
        assert_eq!(LogMemory::parse(&nothing.to_bytes("b"), "b"), Some(nothing));
    }
}
