//! The catalog: one JSON line an entry, in segments. A segment is cut where the digest of a path says so, never by count.
//!
//! Keys stand in a fixed order. Bytes that are not UTF-8 stand in base64 under a key that ends in `-b64`.

mod read;

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

pub use read::read_segment;

use crate::crypto::Digest;
use crate::fs::entry::{Entry, Kind, Metadata, TreePath};
use crate::id::SourceName;

/// Mean number of entries in a segment.
const SEGMENT_ENTRIES: u32 = 2048;

/// An entry, where its content lies, and what must be known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The source it belongs to.
    pub source: SourceName,
    /// The entry; `stat` is not kept.
    pub entry: Entry,
    /// A file's content: digest of its data. A hole is not data, so a file of holes costs nothing to check; where it lies
    /// stands in the extents.
    pub blake3: Option<Digest>,
    /// Where a file's data lies.
    pub place: Option<Place>,
    /// The content was changed by redaction.
    pub redacted: bool,
    /// The file changed while it was read: the content may be of no single moment.
    pub changing: bool,
}

/// Where the data of a file lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the archive: bytes before it in the plain tar archive.
    Archive(u64),
    /// In packs.
    Packs(InPacks),
}

/// Data that lies in packs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InPacks {
    /// Stretches of packs, in the order of the data.
    pub runs: Vec<PackRun>,
    /// How a large file was cut: bytes and the first 16 bytes of the BLAKE3 of each chunk.
    pub chunks: Vec<(u32, ChunkId)>,
    /// Bytes of a page, where the file is a database that was stored page by page.
    pub page: Option<u32>,
}

/// A stretch of a pack's plain text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackRun {
    /// The pack: the digest of its stored bytes.
    pub pack: Digest,
    /// Bytes before it in the pack's plain text.
    pub offset: u32,
    /// Bytes.
    pub length: u32,
}

/// The first 16 bytes of a chunk's BLAKE3.
pub type ChunkId = [u8; 16];

/// One line of a catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// An entry of the backup.
    Entry(Box<Listed>),
    /// An entry of the base that the backup does not have.
    Gone {
        /// The source it belonged to.
        source: SourceName,
        /// Its path.
        path: TreePath,
    },
    /// A stretch of the plain archive that holds a try that does not count.
    Superseded {
        /// Offset in the plain archive.
        at: u64,
        /// Bytes.
        length: u64,
    },
}

/// Why a catalog cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// Not the JSON of a line.
    #[error("line {line} is not a catalog entry")]
    Json {
        /// Line in the segment, from 1.
        line: usize,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A value that no writer makes.
    #[error("line {line}: {what}")]
    Value {
        /// Line in the segment, from 1.
        line: usize,
        /// What is wrong.
        what: &'static str,
    },
}

#[derive(Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    kind: WrittenKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    #[serde(default)]
    uid: u32,
    #[serde(default)]
    gid: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    #[serde(default)]
    mtime: (i64, u32),
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    extents: Option<Vec<(u64, u64)>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    blake3: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    runs: Vec<(u32, u32, u32)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    chunks: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    page: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target_b64: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first_b64: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    device: Option<(u32, u32)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    xattrs: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    xattrs_b64: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    redacted: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    changing: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stretch: Option<(u64, u64)>,
}

#[derive(Serialize, Deserialize, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum WrittenKind {
    #[default]
    Folder,
    File,
    Link,
    HardLink,
    Fifo,
    CharDevice,
    BlockDevice,
    Superseded,
    Gone,
}

/// Text where the bytes are UTF-8, else base64.
fn bytes_out(bytes: &[u8]) -> (Option<String>, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(BASE64.encode(bytes))),
    }
}

/// `<source>/<path below its root>`.
fn full_path(source: &SourceName, path: &TreePath) -> Vec<u8> {
    let mut bytes = source.as_str().as_bytes().to_vec();
    if !path.is_root() {
        bytes.push(b'/');
        bytes.extend_from_slice(path.as_bytes());
    }
    bytes
}

/// The first line of a segment that refers to packs.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    packs: Vec<Digest>,
}

/// How a table begins.
const TABLE: &[u8] = b"{\"packs\":";

/// The text of a segment under way. Packs are named once, in a table on its first line.
#[derive(Debug, Default)]
pub struct SegmentText {
    packs: Vec<Digest>,
    numbers: HashMap<Digest, u32>,
    text: Vec<u8>,
    lines: u64,
}

impl SegmentText {
    /// Adds a line.
    ///
    /// # Errors
    /// Never with entries that a capture makes; the serializer's own error otherwise.
    pub fn push(&mut self, line: &Line) -> serde_json::Result<()> {
        let written = match line {
            Line::Entry(listed) => self.write_entry(listed),
            Line::Gone { source, path } => {
                let (path, path_b64) = bytes_out(&full_path(source, path));
                Written {
                    path,
                    path_b64,
                    kind: WrittenKind::Gone,
                    ..Written::default()
                }
            }
            Line::Superseded { at, length } => Written {
                kind: WrittenKind::Superseded,
                stretch: Some((*at, *length)),
                ..Written::default()
            },
        };
        serde_json::to_writer(&mut self.text, &written)?;
        self.text.push(b'\n');
        self.lines += 1;
        Ok(())
    }

    fn number(&mut self, pack: Digest) -> u32 {
        let next = u32::try_from(self.packs.len()).unwrap_or(u32::MAX);
        let packs = &mut self.packs;
        *self.numbers.entry(pack).or_insert_with(|| {
            packs.push(pack);
            next
        })
    }

    fn write_entry(&mut self, listed: &Listed) -> Written {
        let mut written = write_entry(listed);
        match &listed.place {
            None => {}
            Some(Place::Archive(data)) => written.data = Some(*data),
            Some(Place::Packs(packs)) => {
                written.page = packs.page;
                for run in &packs.runs {
                    written.runs.push((self.number(run.pack), run.offset, run.length));
                }
                if !packs.chunks.is_empty() {
                    let mut bytes = Vec::with_capacity(packs.chunks.len() * CHUNK_BYTES);
                    for (length, id) in &packs.chunks {
                        bytes.extend_from_slice(&length.to_le_bytes());
                        bytes.extend_from_slice(id);
                    }
                    written.chunks = Some(BASE64.encode(bytes));
                }
            }
        }
        written
    }

    /// The text and the number of its lines without the table; `None` where there is no line. Begins anew.
    ///
    /// # Errors
    /// Never in practice; the serializer's own error.
    pub fn take(&mut self) -> serde_json::Result<Option<(Vec<u8>, u64)>> {
        if self.lines == 0 {
            return Ok(None);
        }
        let Self { packs, text, lines, .. } = std::mem::take(self);
        if packs.is_empty() {
            return Ok(Some((text, lines)));
        }
        let mut whole = Vec::with_capacity(text.len() + packs.len() * 70);
        serde_json::to_writer(&mut whole, &Table { packs })?;
        whole.push(b'\n');
        whole.extend_from_slice(&text);
        Ok(Some((whole, lines)))
    }
}

/// Bytes of a chunk in the list of chunks: its length, little-endian, and its id.
const CHUNK_BYTES: usize = 4 + 16;

fn write_entry(listed: &Listed) -> Written {
    let Listed {
        source,
        entry,
        blake3,
        place: _,
        redacted,
        changing,
    } = listed;
    let (path, path_b64) = bytes_out(&full_path(source, &entry.path));
    let Metadata {
        mode,
        uid,
        gid,
        user,
        group,
        mtime,
        xattrs,
    } = &entry.metadata;
    let mut written = Written {
        path,
        path_b64,
        mode: Some(format!("{mode:04o}")),
        uid: *uid,
        gid: *gid,
        user: user.clone(),
        group: group.clone(),
        mtime: (mtime.seconds, mtime.nanoseconds),
        blake3: *blake3,
        redacted: *redacted,
        changing: *changing,
        ..Written::default()
    };
    for (name, value) in xattrs {
        match std::str::from_utf8(name) {
            Ok(name) => written.xattrs.push((name.to_owned(), BASE64.encode(value))),
            Err(_) => written.xattrs_b64.push((BASE64.encode(name), BASE64.encode(value))),
        }
    }
    written.kind = match &entry.kind {
        Kind::Folder => WrittenKind::Folder,
        Kind::File { size, extents } => {
            written.size = Some(*size);
            written.extents = extents
                .as_ref()
                .map(|list| list.iter().map(|e| (e.offset, e.length)).collect());
            WrittenKind::File
        }
        Kind::Link { target } => {
            (written.target, written.target_b64) = bytes_out(target);
            WrittenKind::Link
        }
        Kind::HardLink { first } => {
            (written.first, written.first_b64) = bytes_out(first.as_bytes());
            WrittenKind::HardLink
        }
        Kind::Fifo => WrittenKind::Fifo,
        Kind::CharDevice { major, minor } => {
            written.device = Some((*major, *minor));
            WrittenKind::CharDevice
        }
        Kind::BlockDevice { major, minor } => {
            written.device = Some((*major, *minor));
            WrittenKind::BlockDevice
        }
    };
    written
}

/// Whether a segment ends behind the entry of this path.
pub fn ends_segment(source: &SourceName, path: &TreePath) -> bool {
    let digest = blake3::hash(&full_path(source, path));
    digest
        .as_bytes()
        .first_chunk()
        .is_some_and(|four| u32::from_le_bytes(*four) % SEGMENT_ENTRIES == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::entry::{Extent, Moment};

    fn listed(path: &[u8], kind: Kind) -> Listed {
        let is_file = matches!(kind, Kind::File { .. });
        let xattrs = [(b"user.\xff".to_vec(), vec![0, 255]), (b"user.x".to_vec(), vec![])].into();
        let metadata = Metadata {
            mode: 0o4755,
            uid: 7,
            gid: u32::MAX,
            user: Some("svc".into()),
            group: None,
            mtime: Moment {
                seconds: -3,
                nanoseconds: 999_999_999,
            },
            xattrs,
        };
        Listed {
            source: "events".parse().unwrap(),
            entry: Entry {
                path: TreePath::parse(path).unwrap(),
                kind,
                metadata,
                stat: None,
            },
            blake3: is_file.then(|| Digest::of(b"x")),
            place: is_file.then_some(Place::Archive(512)),
            redacted: is_file,
            changing: false,
        }
    }

    #[test]
    fn every_kind_of_line_reads_back() {
        let lines = [
            listed(b"", Kind::Folder),
            listed(
                b"a\xff",
                Kind::File {
                    size: 10,
                    extents: Some(vec![Extent { offset: 4, length: 6 }]),
                },
            ),
            listed(
                b"a/b",
                Kind::File {
                    size: 10,
                    extents: None,
                },
            ),
            listed(
                b"l",
                Kind::Link {
                    target: b"/\xfe".to_vec(),
                },
            ),
            listed(
                b"h",
                Kind::HardLink {
                    first: TreePath::parse(b"a/b").unwrap(),
                },
            ),
            listed(b"p", Kind::Fifo),
            listed(b"c", Kind::CharDevice { major: 1, minor: 3 }),
            listed(
                b"d",
                Kind::BlockDevice {
                    major: 8,
                    minor: u32::MAX,
                },
            ),
        ];
        let mut lines: Vec<Line> = lines.into_iter().map(|l| Line::Entry(Box::new(l))).collect();
        lines.push(Line::Superseded { at: 1024, length: 2048 });
        lines.push(Line::Gone {
            source: "events".parse().unwrap(),
            path: TreePath::parse(b"was/here").unwrap(),
        });
        for n in 0..3 {
            let run = |pack: &[u8], offset| PackRun {
                pack: Digest::of(pack),
                offset,
                length: 5,
            };
            let mut listed = listed(
                format!("x{n}").as_bytes(),
                Kind::File {
                    size: 10,
                    extents: None,
                },
            );
            listed.place = Some(Place::Packs(InPacks {
                runs: vec![run(b"p1", 512 * n), run(b"p2", 0)],
                chunks: if n == 1 {
                    vec![(6, [7; 16]), (4, [8; 16])]
                } else {
                    Vec::new()
                },
                page: (n == 2).then_some(4096),
            }));
            lines.push(Line::Entry(Box::new(listed)));
        }
        let mut text = SegmentText::default();
        for line in &lines {
            text.push(line).unwrap();
        }
        let (plain, count) = text.take().unwrap().unwrap();
        let read: Vec<Line> = read_segment(&plain).map(Result::unwrap).collect();
        assert_eq!((read.as_slice(), count), (lines.as_slice(), lines.len() as u64));
        assert!(text.take().unwrap().is_none());
    }
}
