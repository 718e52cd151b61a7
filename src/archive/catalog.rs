//! The catalog: one JSON line an entry, in segments. A segment is cut where the digest of a path says so, never by count.
//!
//! Keys stand in a fixed order. Bytes that are not UTF-8 stand in base64 under a key that ends in `-b64`.

mod read;
mod text;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

pub use read::read_segment;
pub use text::{LineError, Segment, SegmentText};

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

    /// A file whose data lies in `runs` stretches, each of the packs that `pack` says.
    fn scattered(path: &str, runs: u32, pack: impl Fn(u32) -> Digest) -> Line {
        let size = u64::from(runs) * 4096;
        let mut listed = listed(path.as_bytes(), Kind::File { size, extents: None });
        let run = |n| PackRun {
            pack: pack(n),
            offset: 100_000_000 + n * 7,
            length: 4096,
        };
        listed.place = Some(Place::Packs(InPacks {
            runs: (0..runs).map(run).collect(),
            chunks: Vec::new(),
            page: Some(4096),
        }));
        Line::Entry(Box::new(listed))
    }

    #[test]
    fn whatever_is_written_is_taken_by_the_reader() {
        use crate::limits::{CATALOG_LINE_MAX, CONTENT_RUNS_MAX, SEGMENT_CLOSED, SEGMENT_MAX};
        let (one, two, three) = (Digest::of(b"one"), Digest::of(b"two"), Digest::of(b"three"));
        let few = u32::try_from(CONTENT_RUNS_MAX).unwrap() / 3;
        let lines = [
            scattered("a", few, |_| one),
            scattered("b", few, |n| if n % 2 == 0 { one } else { two }),
            scattered("c", few, |_| one),
            scattered("d", few, |_| three),
            scattered("e", 3 * few, |_| one),
            scattered("f", 5, |n| Digest::of(&n.to_le_bytes())),
        ];
        let (mut text, mut segments) = (SegmentText::default(), Vec::new());
        for line in &lines {
            segments.extend(text.push(line).unwrap());
        }
        segments.extend(text.take().unwrap());
        let mut read = Vec::new();
        for (plain, count) in &segments {
            assert!(plain.len() <= SEGMENT_MAX);
            let these: Vec<Line> = read_segment(plain).map(Result::unwrap).collect();
            assert!(plain.len() <= SEGMENT_CLOSED || these.len() == 1);
            assert_eq!(these.len() as u64, *count);
            read.extend(these);
        }
        assert!(segments.len() > 1, "too little to close a segment early");
        assert!(read == lines);
        // The longest line there is.
        let longest = |length: usize| {
            let mut line = listed(b"x", Kind::Link { target: Vec::new() });
            line.entry.metadata.user = Some("u".repeat(length));
            Line::Entry(Box::new(line))
        };
        let mut text = SegmentText::default();
        text.push(&longest(1)).unwrap();
        let (plain, _) = text.take().unwrap().unwrap();
        let fits = CATALOG_LINE_MAX - plain.len() + 2;
        text.push(&longest(fits)).unwrap();
        let (plain, _) = text.take().unwrap().unwrap();
        assert_eq!(plain.len(), CATALOG_LINE_MAX + 1);
        assert!(read_segment(&plain).all(|line| line.is_ok()));
        let refused = text.push(&longest(fits + 1));
        assert!(matches!(refused, Err(LineError::TooLong { .. })));
    }

    #[test]
    fn a_line_whose_packs_no_reader_takes_is_refused() {
        let pack = |n: u32| {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&n.to_le_bytes());
            blake3::Hash::from_bytes(bytes).into()
        };
        let line = scattered("wide", 800_000, pack);
        let refused = SegmentText::default().push(&line);
        assert!(matches!(&refused, Err(LineError::TooLong { path, .. }) if path == "events/wide"));
    }

    #[test]
    fn the_chunks_of_a_very_large_file_are_left_out() {
        use crate::limits::CHUNKS_LISTED_MAX;
        for (count, listed_chunks) in [(CHUNKS_LISTED_MAX, CHUNKS_LISTED_MAX), (CHUNKS_LISTED_MAX + 1, 0)] {
            let size = count as u64;
            let mut file = listed(b"large", Kind::File { size, extents: None });
            file.place = Some(Place::Packs(InPacks {
                runs: vec![PackRun {
                    pack: Digest::of(b"pack"),
                    offset: 0,
                    length: u32::try_from(count).unwrap(),
                }],
                chunks: vec![(1, [7; 16]); count],
                page: None,
            }));
            let mut text = SegmentText::default();
            text.push(&Line::Entry(Box::new(file))).unwrap();
            let (plain, _) = text.take().unwrap().unwrap();
            let Some(Ok(Line::Entry(read))) = read_segment(&plain).next() else {
                panic!()
            };
            let Some(Place::Packs(packs)) = read.place else {
                panic!()
            };
            assert_eq!(packs.chunks.len(), listed_chunks);
        }
    }
}
