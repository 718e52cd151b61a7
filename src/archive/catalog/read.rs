//! Reads the lines of a catalog. What no writer makes is an error: a catalog may come from anyone.

use base64::Engine;

use super::{
    BASE64, CHUNK_BYTES, CatalogError, ChunkId, InPacks, Line, Listed, PackRun, Place, TABLE, Table, Written,
    WrittenKind,
};
use crate::crypto::Digest;
use crate::fs::entry::{Entry, Extent, Kind, Metadata, Moment, TreePath};
use crate::id::SourceName;
use crate::limits::CATALOG_LINE_MAX;
use std::collections::BTreeMap;

fn bytes_in(text: Option<String>, base64: Option<String>, what: &'static str) -> Result<Vec<u8>, &'static str> {
    match (text, base64) {
        (Some(text), None) => Ok(text.into_bytes()),
        (None, Some(base64)) => BASE64.decode(base64).map_err(|_| what),
        _ => Err(what),
    }
}

fn split_path(bytes: &[u8]) -> Option<(SourceName, TreePath)> {
    let (source, path) = match bytes.iter().position(|b| *b == b'/') {
        Some(cut) => (bytes.get(..cut)?, bytes.get(cut + 1..).filter(|rest| !rest.is_empty())?),
        None => (bytes, &[][..]),
    };
    Some((std::str::from_utf8(source).ok()?.parse().ok()?, TreePath::parse(path)?))
}

/// Reads the plain text of a segment: its lines in order, without the table.
pub fn read_segment(plain: &[u8]) -> impl Iterator<Item = Result<Line, CatalogError>> + '_ {
    let lines = plain
        .split(|b| *b == b'\n')
        .enumerate()
        .filter(|(_, line)| !line.is_empty());
    let mut packs: Vec<Digest> = Vec::new();
    lines.filter_map(move |(number, line)| {
        let number = number + 1;
        if number == 1 && line.starts_with(TABLE) {
            return match serde_json::from_slice(line) {
                Ok(Table { packs: table }) => {
                    packs = table;
                    None
                }
                Err(source) => Some(Err(CatalogError::Json { line: number, source })),
            };
        }
        if line.len() > CATALOG_LINE_MAX {
            return Some(Err(CatalogError::Value {
                line: number,
                what: "the line is too long",
            }));
        }
        let written = serde_json::from_slice(line).map_err(|source| CatalogError::Json { line: number, source });
        let line = written
            .and_then(|written| read_line(written, &packs).map_err(|what| CatalogError::Value { line: number, what }));
        Some(line)
    })
}

fn read_line(mut written: Written, packs: &[Digest]) -> Result<Line, &'static str> {
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
    if written.kind == WrittenKind::Gone {
        return Ok(Line::Gone { source, path });
    }
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
    let place = read_place(&mut written, &kind, packs)?;
    Ok(Line::Entry(Box::new(Listed {
        source,
        entry: Entry {
            path,
            kind,
            metadata,
            stat: None,
        },
        blake3: written.blake3,
        place,
        redacted: written.redacted,
        changing: written.changing,
    })))
}

/// Where a file's data lies: in the archive, or in packs, where an empty file has no run.
fn read_place(written: &mut Written, kind: &Kind, packs: &[Digest]) -> Result<Option<Place>, &'static str> {
    let wrong = "content where none belongs, or none where some does";
    let runs = std::mem::take(&mut written.runs);
    let in_packs = !runs.is_empty() || written.chunks.is_some() || written.page.is_some();
    let is_file = matches!(kind, Kind::File { .. });
    if is_file != written.blake3.is_some() || !is_file && (written.data.is_some() || in_packs) {
        return Err(wrong);
    }
    match (is_file, written.data) {
        (false, _) => return Ok(None),
        (true, Some(_)) if in_packs => return Err(wrong),
        (true, Some(data)) => return Ok(Some(Place::Archive(data))),
        (true, None) => {}
    }
    let mut place = InPacks {
        chunks: read_chunks(written.chunks.take())?,
        page: written.page,
        ..InPacks::default()
    };
    let mut total = 0_u64;
    for (number, offset, length) in runs {
        let pack = packs.get(number as usize).copied();
        let pack = pack.ok_or("a pack that the table does not name")?;
        if length == 0 || offset.checked_add(length).is_none() {
            return Err("a stretch of a pack that cannot be");
        }
        total += u64::from(length);
        place.runs.push(PackRun { pack, offset, length });
    }
    if total == kind.data_bytes() {
        Ok(Some(Place::Packs(place)))
    } else {
        Err("stretches of packs that are not as long as the file's data")
    }
}

fn read_chunks(text: Option<String>) -> Result<Vec<(u32, ChunkId)>, &'static str> {
    let wrong = "a list of chunks that is none";
    let Some(text) = text else { return Ok(Vec::new()) };
    let bytes = BASE64.decode(text).map_err(|_| wrong)?;
    let chunks = bytes.chunks(CHUNK_BYTES).map(|chunk| {
        let (length, id) = chunk.split_first_chunk::<4>()?;
        Some((u32::from_le_bytes(*length), id.try_into().ok()?))
    });
    chunks.collect::<Option<_>>().ok_or(wrong)
}

fn read_kind(written: &mut Written) -> Result<Kind, &'static str> {
    let device = || written.device.ok_or("a device without numbers");
    Ok(match written.kind {
        WrittenKind::Folder | WrittenKind::Superseded | WrittenKind::Gone => Kind::Folder,
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

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn places_in_packs_that_cannot_be_are_refused() {
        let digest = Digest::of(b"pack");
        let file = |rest: &str| {
            format!(
                "{{\"packs\":[\"{digest}\"]}}\n{{\"path\":\"a/f\",\"kind\":\"file\",\"mode\":\"0644\",\"size\":10,\"blake3\":\"{digest}\"{rest}}}\n"
            )
        };
        let read = |rest: &str| read_segment(file(rest).as_bytes()).next().unwrap();
        assert!(read(",\"runs\":[[0,512,10]]").is_ok());
        for wrong in [
            "",
            ",\"runs\":[[0,512,9]]",
            ",\"runs\":[[1,512,10]]",
            ",\"runs\":[[0,4294967290,10]]",
            ",\"runs\":[[0,0,10],[0,10,0]]",
            ",\"runs\":[[0,512,10]],\"data\":512",
            ",\"runs\":[[0,512,10]],\"chunks\":\"AAAA\"",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
