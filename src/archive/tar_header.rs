//! The tar headers of an entry: a pure function of the entry, so that a reader makes them again and compares bytes.
//!
//! POSIX ustar with pax records (IEEE Std 1003.1, `pax`) wherever ustar cannot hold a value: long or linked names, fractions
//! of a second, large numbers. Extended attributes are `SCHILY.xattr.*`, ACLs `SCHILY.acl.*` in text with numeric ids,
//! sparse files GNU's format 1.0: GNU tar, bsdtar and star read all of it.

use std::collections::BTreeMap;

use crate::fs::entry::{Entry, Extent, Kind, Metadata, Moment};

use super::acl;

/// Bytes of a tar block.
pub const BLOCK: usize = 512;
const NAME: usize = 100;
const OCTAL_7: u64 = 0o777_7777;
const OCTAL_11: u64 = 0o777_7777_7777;

/// The headers of `entry`, which stands below the folder `source`: whole blocks, everything before the data.
///
/// A sparse file's map is part of them. The data that follows is `entry.kind.data_bytes()` long, padded to whole blocks.
pub fn render(source: &str, entry: &Entry) -> Vec<u8> {
    let mut name = join(source, entry.path.as_bytes());
    let mut pax = BTreeMap::new();
    let mut sparse_map = Vec::new();
    let mut stored = entry.kind.data_bytes();
    let mut link = Vec::new();
    let typeflag = match &entry.kind {
        Kind::Folder => {
            name.push(b'/');
            b'5'
        }
        Kind::File { size, extents } => {
            if let Some(extents) = extents {
                sparse_map = sparse(*size, extents);
                stored += sparse_map.len() as u64;
                pax.insert(b"GNU.sparse.major".to_vec(), b"1".to_vec());
                pax.insert(b"GNU.sparse.minor".to_vec(), b"0".to_vec());
                pax.insert(b"GNU.sparse.name".to_vec(), name.clone());
                pax.insert(b"GNU.sparse.realsize".to_vec(), size.to_string().into_bytes());
            }
            b'0'
        }
        Kind::Link { target } => {
            link.clone_from(target);
            b'2'
        }
        Kind::HardLink { first } => {
            link = join(source, first.as_bytes());
            b'1'
        }
        Kind::Fifo => b'6',
        Kind::CharDevice { .. } => b'3',
        Kind::BlockDevice { .. } => b'4',
    };
    metadata_records(&entry.metadata, &mut pax);
    if name.len() > NAME && sparse_map.is_empty() {
        pax.insert(b"path".to_vec(), name.clone());
    }
    if link.len() > NAME {
        pax.insert(b"linkpath".to_vec(), link.clone());
    }
    if stored > OCTAL_11 {
        pax.insert(b"size".to_vec(), stored.to_string().into_bytes());
    }
    let mut blocks = Vec::with_capacity(3 * BLOCK);
    if !pax.is_empty() {
        append_pax(&mut blocks, &pax);
    }
    let (major, minor) = match entry.kind {
        Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => (major, minor),
        _ => (0, 0),
    };
    blocks.extend_from_slice(&ustar(
        &Ustar {
            name: &name,
            link: &link,
            typeflag,
            size: stored,
            major,
            minor,
        },
        &entry.metadata,
    ));
    blocks.extend_from_slice(&sparse_map);
    blocks
}

/// The header of a member of a pack: its name, and of its properties nothing, since those stand in the catalog.
///
/// Its length depends on the name alone.
pub fn member(name: &[u8], size: u64) -> Vec<u8> {
    let plain = Metadata {
        mode: 0o600,
        ..Metadata::default()
    };
    let mut blocks = Vec::with_capacity(BLOCK);
    if name.len() > NAME {
        append_pax(&mut blocks, &BTreeMap::from([(b"path".to_vec(), name.to_vec())]));
    }
    let fields = Ustar {
        name,
        link: b"",
        typeflag: b'0',
        size,
        major: 0,
        minor: 0,
    };
    blocks.extend_from_slice(&ustar(&fields, &plain));
    blocks
}

/// The two empty blocks that end an archive.
pub const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// How many zero bytes follow `length` bytes of data.
#[expect(clippy::cast_possible_truncation, reason = "a remainder of 512")]
pub const fn padding(length: u64) -> usize {
    (BLOCK - (length % BLOCK as u64) as usize) % BLOCK
}

fn join(source: &str, path: &[u8]) -> Vec<u8> {
    let mut name = source.as_bytes().to_vec();
    if !path.is_empty() {
        name.push(b'/');
        name.extend_from_slice(path);
    }
    name
}

/// GNU sparse format 1.0: the number of extents, then offset and length of each, in decimal lines, padded to a block.
/// A hole at the end is an empty extent at the end.
fn sparse(size: u64, extents: &[Extent]) -> Vec<u8> {
    let ends_in_hole = extents.last().is_none_or(|last| last.offset + last.length < size);
    let count = extents.len() + usize::from(ends_in_hole);
    let mut map = format!("{count}\n").into_bytes();
    for extent in extents {
        map.extend_from_slice(format!("{}\n{}\n", extent.offset, extent.length).as_bytes());
    }
    if ends_in_hole {
        map.extend_from_slice(format!("{size}\n0\n").as_bytes());
    }
    map.resize(map.len() + padding(map.len() as u64), 0);
    map
}

fn metadata_records(metadata: &Metadata, pax: &mut BTreeMap<Vec<u8>, Vec<u8>>) {
    let Moment { seconds, nanoseconds } = metadata.mtime;
    if nanoseconds != 0 || u64::try_from(seconds).map_or(true, |s| s > OCTAL_11) {
        pax.insert(b"mtime".to_vec(), decimal(metadata.mtime).into_bytes());
    }
    for (key, number) in [("uid", metadata.uid), ("gid", metadata.gid)] {
        if u64::from(number) > OCTAL_7 {
            pax.insert(key.into(), number.to_string().into_bytes());
        }
    }
    for (key, name) in [("uname", &metadata.user), ("gname", &metadata.group)] {
        if let Some(name) = name.as_ref().filter(|n| n.len() > 31) {
            pax.insert(key.into(), name.clone().into_bytes());
        }
    }
    for (name, value) in &metadata.xattrs {
        let as_acl = match name.as_slice() {
            b"system.posix_acl_access" => acl::to_text(value).map(|text| ("SCHILY.acl.access", text)),
            b"system.posix_acl_default" => acl::to_text(value).map(|text| ("SCHILY.acl.default", text)),
            _ => None,
        };
        if let Some((key, text)) = as_acl {
            pax.insert(key.into(), text.into_bytes());
        } else {
            let mut key = b"SCHILY.xattr.".to_vec();
            for byte in name {
                // A pax keyword ends at the first `=`; GNU tar reads these two escapes.
                match byte {
                    b'%' => key.extend_from_slice(b"%25"),
                    b'=' => key.extend_from_slice(b"%3D"),
                    other => key.push(*other),
                }
            }
            pax.insert(key, value.clone());
        }
    }
}

/// A moment as pax writes it: a decimal number of seconds, whose fraction counts away from zero where it is negative.
fn decimal(moment: Moment) -> String {
    let (seconds, nanoseconds) = (i128::from(moment.seconds), i128::from(moment.nanoseconds));
    let total = seconds * 1_000_000_000 + nanoseconds;
    let (sign, total) = if total < 0 { ("-", -total) } else { ("", total) };
    let (whole, fraction) = (total / 1_000_000_000, total % 1_000_000_000);
    if fraction == 0 {
        return format!("{sign}{whole}");
    }
    let digits = format!("{fraction:09}");
    format!("{sign}{whole}.{}", digits.trim_end_matches('0'))
}

/// `length keyword=value\n`, where the length counts itself.
fn append_record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(format!("{length} ").as_bytes());
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

fn append_pax(blocks: &mut Vec<u8>, pax: &BTreeMap<Vec<u8>, Vec<u8>>) {
    let mut records = Vec::new();
    for (key, value) in pax {
        append_record(&mut records, key, value);
    }
    let plain = Metadata {
        mode: 0o600,
        ..Metadata::default()
    };
    let size = records.len() as u64;
    let header = Ustar {
        name: b"PaxHeaders/entry",
        link: b"",
        typeflag: b'x',
        size,
        major: 0,
        minor: 0,
    };
    blocks.extend_from_slice(&ustar(&header, &plain));
    blocks.extend_from_slice(&records);
    blocks.resize(blocks.len() + padding(size), 0);
}

struct Ustar<'a> {
    name: &'a [u8],
    link: &'a [u8],
    typeflag: u8,
    size: u64,
    major: u32,
    minor: u32,
}

/// One ustar header block. A value that does not fit stands in a pax record before it; here it is cut or 0.
fn ustar(fields: &Ustar<'_>, metadata: &Metadata) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    text(&mut block, 0, 100, fields.name);
    octal(&mut block, 100, 8, u64::from(metadata.mode));
    octal(&mut block, 108, 8, u64::from(metadata.uid));
    octal(&mut block, 116, 8, u64::from(metadata.gid));
    octal(&mut block, 124, 12, fields.size);
    octal(&mut block, 136, 12, u64::try_from(metadata.mtime.seconds).unwrap_or(0));
    text(&mut block, 148, 8, b"        ");
    text(&mut block, 156, 1, &[fields.typeflag]);
    text(&mut block, 157, 100, fields.link);
    text(&mut block, 257, 8, b"ustar\x0000");
    text(
        &mut block,
        265,
        31,
        metadata.user.as_deref().unwrap_or_default().as_bytes(),
    );
    text(
        &mut block,
        297,
        31,
        metadata.group.as_deref().unwrap_or_default().as_bytes(),
    );
    octal(&mut block, 329, 8, u64::from(fields.major));
    octal(&mut block, 337, 8, u64::from(fields.minor));
    let sum: u64 = block.iter().map(|b| u64::from(*b)).sum();
    octal(&mut block, 148, 7, sum);
    block
}

fn text(block: &mut [u8; BLOCK], at: usize, room: usize, value: &[u8]) {
    for (slot, byte) in block.iter_mut().skip(at).take(room).zip(value) {
        *slot = *byte;
    }
}

/// Octal digits with leading zeros and a closing NUL; 0 where the number does not fit.
fn octal(block: &mut [u8; BLOCK], at: usize, room: usize, value: u64) {
    let digits = format!("{value:0width$o}", width = room - 1);
    let digits = if digits.len() < room {
        digits
    } else {
        "0".repeat(room - 1)
    };
    text(block, at, room, digits.as_bytes());
    text(block, at + room - 1, 1, &[0]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::entry::TreePath;

    fn entry(path: &[u8], kind: Kind) -> Entry {
        let metadata = Metadata {
            mode: 0o640,
            uid: 1000,
            gid: 1000,
            ..Metadata::default()
        };
        Entry {
            path: TreePath::parse(path).unwrap(),
            kind,
            metadata,
            stat: None,
        }
    }

    fn file(size: u64) -> Kind {
        Kind::File { size, extents: None }
    }

    /// Path, link name, size, pax records.
    type Read = (Vec<u8>, Vec<u8>, u64, Vec<(String, Vec<u8>)>);

    /// Reads the headers with the `tar` crate.
    fn read(blocks: &[u8]) -> Read {
        let mut whole = blocks.to_vec();
        whole.extend_from_slice(&END);
        let mut archive = tar::Archive::new(whole.as_slice());
        let mut first = archive.entries().unwrap().next().unwrap().unwrap();
        let path = first.path_bytes().to_vec();
        let link = first.link_name_bytes().map(|l| l.to_vec()).unwrap_or_default();
        let size = first.size();
        let mut records = Vec::new();
        if let Some(pax) = first.pax_extensions().unwrap() {
            for record in pax {
                let record = record.unwrap();
                records.push((
                    String::from_utf8_lossy(record.key_bytes()).into_owned(),
                    record.value_bytes().to_vec(),
                ));
            }
        }
        (path, link, size, records)
    }

    #[test]
    fn a_short_plain_entry_is_one_block() {
        let blocks = render("events", &entry(b"000001.jsonl", file(0)));
        assert_eq!(blocks.len(), BLOCK);
        assert_eq!(read(&blocks).0, b"events/000001.jsonl");
    }

    #[test]
    fn long_names_and_bytes_that_are_not_text_survive() {
        let long = [vec![b'x'; 255], b"/\xff\xfe".to_vec()].concat();
        let blocks = render("s", &entry(&long, file(0)));
        assert_eq!(read(&blocks).0, [b"s/".to_vec(), long].concat());
    }

    #[test]
    fn moments_before_1970_count_away_from_zero() {
        assert_eq!(
            decimal(Moment {
                seconds: -1,
                nanoseconds: 500_000_000
            }),
            "-0.5"
        );
        assert_eq!(
            decimal(Moment {
                seconds: -2,
                nanoseconds: 1
            }),
            "-1.999999999"
        );
        assert_eq!(
            decimal(Moment {
                seconds: 12_345_678_901,
                nanoseconds: 0
            }),
            "12345678901"
        );
    }

    #[test]
    fn a_record_counts_its_own_length() {
        for size in 0..1200 {
            let mut record = Vec::new();
            append_record(&mut record, b"path", &vec![b'a'; size]);
            let length: usize = String::from_utf8_lossy(&record)
                .split(' ')
                .next()
                .unwrap()
                .parse()
                .unwrap();
            assert_eq!(length, record.len());
        }
    }

    #[test]
    fn sparse_maps_end_with_the_size() {
        let extents = vec![Extent {
            offset: 4096,
            length: 10,
        }];
        let map = sparse(1 << 20, &extents);
        assert_eq!(map.len(), BLOCK);
        assert!(map.starts_with(b"2\n4096\n10\n1048576\n0\n"));
        assert!(sparse(4106, &extents).starts_with(b"1\n4096\n10\n\0"));
        assert!(sparse(10, &[]).starts_with(b"1\n10\n0\n"));
    }

    #[test]
    fn attributes_stand_in_pax_records() {
        let mut entry = entry(b"f", file(3));
        entry.metadata.xattrs.insert(b"user.a=b".to_vec(), b"\0\xff".to_vec());
        entry.metadata.mtime = Moment {
            seconds: 5,
            nanoseconds: 1,
        };
        let (_, _, size, records) = read(&render("s", &entry));
        assert_eq!(size, 3);
        assert!(records.contains(&("SCHILY.xattr.user.a%3Db".into(), b"\0\xff".to_vec())));
        assert!(records.contains(&("mtime".into(), b"5.000000001".to_vec())));
    }
}
