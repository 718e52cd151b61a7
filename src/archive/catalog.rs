//! The catalog: one JSON line an entry, in segments. A segment is cut where the digest of a path says so, never by count.
//!
//! Keys stand in a fixed order. Bytes that are not UTF-8 stand in base64 under a key that ends in `-b64`.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use crate::crypto::Digest;
use crate::fs::entry::{Entry, Extent, Kind, Metadata, Moment, TreePath};
use crate::id::SourceName;
use crate::limits::CATALOG_LINE_MAX;

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
    /// A file's data: offset in the plain tar archive.
    pub data: Option<u64>,
    /// The content was changed by redaction.
    pub redacted: bool,
    /// The file changed while it was read: the content may be of no single moment.
    pub changing: bool,
}

/// One line of a catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// An entry of the backup.
    Entry(Box<Listed>),
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
}

/// Text where the bytes are UTF-8, else base64.
fn bytes_out(bytes: &[u8]) -> (Option<String>, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(BASE64.encode(bytes))),
    }
}

fn bytes_in(text: Option<String>, base64: Option<String>, what: &'static str) -> Result<Vec<u8>, &'static str> {
    match (text, base64) {
        (Some(text), None) => Ok(text.into_bytes()),
        (None, Some(base64)) => BASE64.decode(base64).map_err(|_| what),
        _ => Err(what),
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

fn split_path(bytes: &[u8]) -> Option<(SourceName, TreePath)> {
    let (source, path) = match bytes.iter().position(|b| *b == b'/') {
        Some(cut) => (bytes.get(..cut)?, bytes.get(cut + 1..).filter(|rest| !rest.is_empty())?),
        None => (bytes, &[][..]),
    };
    Some((std::str::from_utf8(source).ok()?.parse().ok()?, TreePath::parse(path)?))
}

impl Line {
    /// The line's JSON, with its newline.
    ///
    /// # Errors
    /// Never with entries that a capture makes; the serializer's own error otherwise.
    pub fn write(&self, into: &mut Vec<u8>) -> serde_json::Result<()> {
        let written = match self {
            Self::Entry(listed) => write_entry(listed),
            Self::Superseded { at, length } => Written {
                kind: WrittenKind::Superseded,
                stretch: Some((*at, *length)),
                ..Written::default()
            },
        };
        serde_json::to_writer(&mut *into, &written)?;
        into.push(b'\n');
        Ok(())
    }
}

fn write_entry(listed: &Listed) -> Written {
    let Listed {
        source,
        entry,
        blake3,
        data,
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
        data: *data,
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

/// Reads the plain text of a segment: its lines in order.
pub fn read_segment(plain: &[u8]) -> impl Iterator<Item = Result<Line, CatalogError>> + '_ {
    let lines = plain
        .split(|b| *b == b'\n')
        .enumerate()
        .filter(|(_, line)| !line.is_empty());
    lines.map(|(number, line)| {
        let number = number + 1;
        if line.len() > CATALOG_LINE_MAX {
            return Err(CatalogError::Value {
                line: number,
                what: "the line is too long",
            });
        }
        let written = serde_json::from_slice(line).map_err(|source| CatalogError::Json { line: number, source })?;
        read_line(written).map_err(|what| CatalogError::Value { line: number, what })
    })
}

fn read_line(mut written: Written) -> Result<Line, &'static str> {
    if written.kind == WrittenKind::Superseded {
        let (at, length) = written.stretch.ok_or("a superseded stretch without place")?;
        return Ok(Line::Superseded { at, length });
    }
    let path = bytes_in(
        written.path.take(),
        written.path_b64.take(),
        "the path is missing or doubled",
    )?;
    let (source, path) = split_path(&path).ok_or("the path could leave its source")?;
    let kind = read_kind(&mut written)?;
    let mode = written
        .mode
        .take()
        .and_then(|m| u32::from_str_radix(&m, 8).ok())
        .filter(|m| *m <= 0o7777);
    let (seconds, nanoseconds) = written.mtime;
    if nanoseconds > 999_999_999 {
        return Err("nanoseconds beyond a second");
    }
    let metadata = Metadata {
        mode: mode.ok_or("no mode")?,
        uid: written.uid,
        gid: written.gid,
        user: written.user.take(),
        group: written.group.take(),
        mtime: Moment { seconds, nanoseconds },
        xattrs: read_xattrs(&mut written)?,
    };
    let is_file = matches!(kind, Kind::File { .. });
    if is_file != (written.blake3.is_some() && written.data.is_some()) || !is_file && written.data.is_some() {
        return Err("content where none belongs, or none where some does");
    }
    Ok(Line::Entry(Box::new(Listed {
        source,
        entry: Entry {
            path,
            kind,
            metadata,
            stat: None,
        },
        blake3: written.blake3,
        data: written.data,
        redacted: written.redacted,
        changing: written.changing,
    })))
}

fn read_kind(written: &mut Written) -> Result<Kind, &'static str> {
    let device = || written.device.ok_or("a device without numbers");
    Ok(match written.kind {
        WrittenKind::Folder | WrittenKind::Superseded => Kind::Folder,
        WrittenKind::File => {
            let size = written.size.ok_or("a file without size")?;
            Kind::File {
                size,
                extents: written
                    .extents
                    .take()
                    .map(|list| read_extents(size, &list))
                    .transpose()?,
            }
        }
        WrittenKind::Link => Kind::Link {
            target: bytes_in(
                written.target.take(),
                written.target_b64.take(),
                "a link without target",
            )?,
        },
        WrittenKind::HardLink => {
            let first = bytes_in(
                written.first.take(),
                written.first_b64.take(),
                "a hard link without first name",
            )?;
            Kind::HardLink {
                first: TreePath::parse(&first).ok_or("a hard link that could leave its source")?,
            }
        }
        WrittenKind::Fifo => Kind::Fifo,
        WrittenKind::CharDevice => device().map(|(major, minor)| Kind::CharDevice { major, minor })?,
        WrittenKind::BlockDevice => device().map(|(major, minor)| Kind::BlockDevice { major, minor })?,
    })
}

/// Extents ascend, do not touch nothing, and end within the file.
fn read_extents(size: u64, list: &[(u64, u64)]) -> Result<Vec<Extent>, &'static str> {
    let mut end = 0;
    let mut extents = Vec::with_capacity(list.len());
    for &(offset, length) in list {
        if offset < end || length == 0 {
            return Err("extents that overlap or are empty");
        }
        end = offset
            .checked_add(length)
            .filter(|end| *end <= size)
            .ok_or("an extent beyond the file")?;
        extents.push(Extent { offset, length });
    }
    Ok(extents)
}

fn read_xattrs(written: &mut Written) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, &'static str> {
    let wrong = "an attribute that is not base64";
    let mut xattrs = BTreeMap::new();
    for (name, value) in written.xattrs.drain(..) {
        xattrs.insert(name.into_bytes(), BASE64.decode(value).map_err(|_| wrong)?);
    }
    for (name, value) in written.xattrs_b64.drain(..) {
        xattrs.insert(
            BASE64.decode(name).map_err(|_| wrong)?,
            BASE64.decode(value).map_err(|_| wrong)?,
        );
    }
    Ok(xattrs)
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
            data: is_file.then_some(512),
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
        let mut plain = Vec::new();
        for line in &lines {
            line.write(&mut plain).unwrap();
        }
        let read: Vec<Line> = read_segment(&plain).map(Result::unwrap).collect();
        assert_eq!(read, lines);
    }

    #[test]
    fn paths_that_leave_the_source_are_refused() {
        for path in [
            "../x",
            "events/../../etc",
            "/etc/passwd",
            "events//x",
            "events/",
            "",
            "Events/x",
            "events/./x",
        ] {
            let line = format!(r#"{{"path":"{path}","kind":"folder","mode":"0755"}}"#);
            assert!(read_segment(line.as_bytes()).next().unwrap().is_err(), "{path}");
        }
    }

    #[test]
    fn extents_beyond_the_file_or_overlapping_are_refused() {
        assert!(read_extents(10, &[(0, 11)]).is_err());
        assert!(read_extents(10, &[(0, 5), (4, 2)]).is_err());
        assert!(read_extents(10, &[(u64::MAX, 2)]).is_err());
        assert!(read_extents(10, &[(0, 5), (5, 5)]).is_ok());
    }
}
