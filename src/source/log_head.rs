//! How far a log reached when it was captured, and how its present generation began: what the next capture is held against.
//!
//! The rows of single files are bounded: of a log with very many files the oldest stand together in `earlier`.

use std::collections::VecDeque;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use crate::crypto::Digest;
use crate::fs::entry::TreePath;
use crate::id::BackupId;
use crate::limits;

/// The end of a log as captured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LogHead {
    /// Bytes, all files in name order.
    pub length: u64,
    /// Whole records: line ends.
    pub records: u64,
    /// BLAKE3 of those bytes.
    pub blake3: Digest,
    /// 1 for the first; one more each time the log was rewound or rewritten with the operator's knowledge.
    pub generation: u32,
    /// How this generation began, where it is not the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fork: Option<Fork>,
    /// What rotation removed from the log's beginning since the generation began.
    #[serde(default, skip_serializing_if = "Removed::is_nothing")]
    pub rotated: Removed,
    /// Files too old to have a row of their own.
    #[serde(default, skip_serializing_if = "Removed::is_nothing")]
    pub earlier: Removed,
    /// The newest files in name order, at most `limits::LOG_FILES_LISTED`.
    pub files: Vec<LogFile>,
}

/// A stretch of a log's beginning, in whole files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Removed {
    /// Files.
    pub files: u64,
    /// Bytes.
    pub length: u64,
    /// Whole records.
    pub records: u64,
}

/// One file of a log as captured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct LogFile {
    /// Where it stands below the source's root.
    pub path: TreePath,
    /// Bytes captured of it.
    pub length: u64,
    /// Whole records in them.
    pub records: u64,
    /// BLAKE3 of them.
    pub blake3: Digest,
}

/// How a generation of a log began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Fork {
    /// Why the log before was not continued.
    pub why: ForkReason,
    /// The backup that was restored; absent where the log came from elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupId>,
    /// Bytes that a restore put there and that this generation continues.
    #[serde(default)]
    pub length: u64,
    /// Whole records in them.
    #[serde(default)]
    pub records: u64,
    /// The newest backup of the generation before, whose log is not continued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<BackupId>,
    /// Bytes of the log in that backup.
    #[serde(default)]
    pub replaced_length: u64,
    /// Whole records in them.
    #[serde(default)]
    pub replaced_records: u64,
}

/// Why a log was not continued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForkReason {
    /// A restore put an older or other log in its place.
    Restored,
    /// The operator accepted what the log has become.
    Accepted,
}

impl Removed {
    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Adds a file.
    pub fn add(&mut self, file: &LogFile) {
        self.files += 1;
        self.length = self.length.saturating_add(file.length);
        self.records = self.records.saturating_add(file.records);
    }

    /// Adds another stretch.
    pub fn join(&mut self, other: Self) {
        self.files = self.files.saturating_add(other.files);
        self.length = self.length.saturating_add(other.length);
        self.records = self.records.saturating_add(other.records);
    }
}

/// The rows of a log under way: those that find no room are summed up.
#[derive(Debug, Default)]
pub struct Rows {
    earlier: Removed,
    files: VecDeque<LogFile>,
}

impl Rows {
    /// Adds the next file.
    pub fn push(&mut self, file: LogFile) {
        self.files.push_back(file);
        if self.files.len() > limits::LOG_FILES_LISTED
            && let Some(oldest) = self.files.pop_front()
        {
            self.earlier.add(&oldest);
        }
    }

    /// What found no room, and the rows.
    pub fn finish(self) -> (Removed, Vec<LogFile>) {
        (self.earlier, self.files.into())
    }
}

/// A row as it is written: a path that is not UTF-8 stands in base64.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    length: u64,
    records: u64,
    blake3: Digest,
}

impl From<LogFile> for Written {
    fn from(file: LogFile) -> Self {
        let (path, path_b64) = match std::str::from_utf8(file.path.as_bytes()) {
            Ok(text) => (Some(text.to_owned()), None),
            Err(_) => (None, Some(BASE64.encode(file.path.as_bytes()))),
        };
        Self {
            path,
            path_b64,
            length: file.length,
            records: file.records,
            blake3: file.blake3,
        }
    }
}

impl TryFrom<Written> for LogFile {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let bytes = match (written.path, written.path_b64) {
            (Some(path), None) => path.into_bytes(),
            (None, Some(base64)) => BASE64.decode(base64).map_err(|_| "`path-b64` is not base64")?,
            _ => return Err("a file of a log has one of `path` and `path-b64`"),
        };
        let path = TreePath::parse(&bytes).filter(|path| !path.is_root());
        Ok(Self {
            path: path.ok_or("a file of a log lies below its root")?,
            length: written.length,
            records: written.records,
            blake3: written.blake3,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &[u8], length: u64) -> LogFile {
        LogFile {
            path: TreePath::parse(path).unwrap(),
            length,
            records: 1,
            blake3: Digest::of(path),
        }
    }

    #[test]
    fn a_row_reads_back_whatever_its_name_and_one_outside_of_the_root_does_not() {
        for path in [&b"a/1.jsonl"[..], b"\xff\n"] {
            let row = file(path, 7);
            let text = serde_json::to_string(&row).unwrap();
            assert_eq!(serde_json::from_str::<LogFile>(&text).unwrap(), row, "{text}");
        }
        let text = serde_json::to_string(&file(b"x", 7)).unwrap();
        for wrong in ["../x", "", "/x"] {
            let text = text.replace("\"x\"", &format!("{wrong:?}"));
            assert!(serde_json::from_str::<LogFile>(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_oldest_rows_are_summed_up_where_there_are_too_many() {
        let mut rows = Rows::default();
        for number in 0..limits::LOG_FILES_LISTED + 2 {
            rows.push(file(format!("{number:05}").as_bytes(), 10));
        }
        let (earlier, files) = rows.finish();
        assert_eq!((earlier.files, earlier.length, earlier.records), (2, 20, 2));
        assert_eq!(files.len(), limits::LOG_FILES_LISTED);
        assert_eq!(files[0].path.as_bytes(), b"00002");
    }
}
