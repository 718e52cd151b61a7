//! The journal's files: their names, and their lines.

use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::JournalError;
use crate::limits;
use crate::state::StateFolder;

const PREFIX: &str = "journal-";
const SUFFIX: &str = ".jsonl";
const TORN: &str = ".torn-";

/// The file name of a segment.
pub(super) fn file_name(number: u32) -> String {
    format!("{PREFIX}{number:06}{SUFFIX}")
}

/// How the names of files with what was moved aside from a segment begin.
pub(super) fn torn_stem(number: u32) -> String {
    format!("{PREFIX}{number:06}{TORN}")
}

/// The file name of what was moved aside from a segment at `ts`.
pub(super) fn torn_name(number: u32, ts: jiff::Timestamp) -> String {
    format!("{}{}", torn_stem(number), ts.strftime("%Y%m%dT%H%M%S.%6fZ"))
}

/// What lies in the state folder of the journal's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Files {
    /// Numbers of segments, ascending.
    pub(super) segments: Vec<u32>,
    /// Names of files with what was moved aside, sorted.
    pub(super) torn: Vec<String>,
}

/// Looks which files of the journal there are.
pub(super) fn files(folder: &StateFolder) -> Result<Files, JournalError> {
    let mut files = Files::default();
    let refused = JournalError::io(folder.path());
    let entries = rustix::fs::Dir::read_from(folder.descriptor()).map_err(|error| refused(error.into()))?;
    for entry in entries {
        let entry = entry.map_err(|error| refused(error.into()))?;
        let Ok(name) = entry.file_name().to_str() else { continue };
        let Some(rest) = name.strip_prefix(PREFIX) else {
            continue;
        };
        if rest.contains(TORN) {
            files.torn.push(name.to_owned());
        } else if let Some(number) = rest.strip_suffix(SUFFIX).and_then(|digits| digits.parse().ok())
            && file_name(number) == name
        {
            files.segments.push(number);
        }
    }
    files.segments.sort_unstable();
    files.torn.sort_unstable();
    Ok(files)
}

/// Opens a file of the journal without following a link; `None` where there is none.
pub(super) fn open(folder: &StateFolder, name: &str, flags: OFlags) -> Result<Option<File>, JournalError> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match rustix::fs::openat(folder.descriptor(), name, flags, Mode::from_raw_mode(0o600)) {
        Ok(file) => Ok(Some(File::from(file))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(JournalError::io(&folder.path().join(name))(error.into())),
    }
}

/// The bytes of a file from `offset` on.
pub(super) fn bytes_from(folder: &StateFolder, name: &str, file: &File, offset: u64) -> Result<Vec<u8>, JournalError> {
    let size = file
        .metadata()
        .map_err(JournalError::io(&folder.path().join(name)))?
        .len();
    if size > limits::JOURNAL_SEGMENT_MAX {
        return Err(JournalError::broken(
            name,
            None,
            "a segment is larger than any this program writes",
        ));
    }
    let mut bytes = Vec::new();
    let read = (|| {
        let mut at = offset;
        while at < size {
            let start = bytes.len();
            let wanted = usize::try_from(size - at)
                .unwrap_or(limits::READ_BLOCK)
                .min(limits::READ_BLOCK);
            bytes.resize(start + wanted, 0);
            let room = bytes.get_mut(start..).unwrap_or_default();
            let count = std::os::unix::fs::FileExt::read_at(file, room, at)?;
            bytes.truncate(start + count);
            if count == 0 {
                break;
            }
            at += count as u64;
        }
        Ok(())
    })();
    read.map_err(JournalError::io(&folder.path().join(name)))?;
    Ok(bytes)
}

/// One line of a segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Raw<'a> {
    /// Number within the segment, counted from 1.
    pub(super) number: u64,
    /// Offset of its first byte.
    pub(super) offset: usize,
    /// Its bytes, without the line end.
    pub(super) bytes: &'a [u8],
    /// Whether a line end follows.
    pub(super) ended: bool,
    /// Whether nothing follows it.
    pub(super) last: bool,
}

/// Gives each line of `bytes` in turn until told to stop.
pub(super) fn each_line<B>(bytes: &[u8], mut each: impl FnMut(Raw<'_>) -> ControlFlow<B>) -> ControlFlow<B> {
    let mut offset = 0;
    for (number, line) in (1..).zip(bytes.split_inclusive(|byte| *byte == b'\n')) {
        let content = line.strip_suffix(b"\n");
        each(Raw {
            number,
            offset,
            bytes: content.unwrap_or(line),
            ended: content.is_some(),
            last: offset + line.len() == bytes.len(),
        })?;
        offset += line.len();
    }
    ControlFlow::Continue(())
}

/// Reads a small file whole, `None` where there is none.
pub(super) fn small(folder: &StateFolder, name: &str, limit: u64) -> Result<Option<Vec<u8>>, JournalError> {
    let Some(file) = open(folder, name, OFlags::RDONLY)? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    let read = |file: File, bytes: &mut Vec<u8>| -> io::Result<usize> { file.take(limit).read_to_end(bytes) };
    read(file, &mut bytes).map_err(JournalError::io(&folder.path().join(name)))?;
    Ok(Some(bytes))
}
