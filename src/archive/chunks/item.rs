//! An entry of a chunked backup as this host remembers it: the entry, where its content lies, and how its file looked.
//!
//! Written in bytes of its own, since a run with nothing changed reads all of them and does nothing else. Numbers are LEB128;
//! an item never refers to the one before it, so that one which stays is copied as it is.

use std::collections::BTreeMap;

use crate::crypto::Digest;
use crate::fs::entry::{Entry, Extent, Kind, Metadata, Moment, Stat, TreePath};

/// A stretch of the plain text of a pack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// Number of the pack, in a table of packs; while a run is under way, of the frame.
    pub pack: u32,
    /// Bytes before it in the pack's plain text; while a run is under way, in the frame's.
    pub offset: u32,
    /// Bytes.
    pub length: u32,
}

pub use crate::archive::catalog::ChunkId;

/// Where the content of a file lies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Content {
    /// There is none: no file, or an empty one.
    #[default]
    Nothing,
    /// In one piece.
    Whole(Piece),
    /// In chunks, each with its id.
    Chunks(Vec<(Piece, ChunkId)>),
    /// A database: stretches of whole pages.
    Pages {
        /// Bytes of a page.
        page: u32,
        /// Stretches in order.
        runs: Vec<Piece>,
    },
}

impl Content {
    /// The stretches of packs in the order of the content; neighbours that touch are joined.
    pub fn runs(&self) -> Vec<Piece> {
        let mut runs: Vec<Piece> = Vec::new();
        let mut push = |piece: Piece| match runs.last_mut() {
            Some(last) if last.pack == piece.pack && last.offset.checked_add(last.length) == Some(piece.offset) => {
                match last.length.checked_add(piece.length) {
                    Some(length) => last.length = length,
                    None => runs.push(piece),
                }
            }
            _ => runs.push(piece),
        };
        match self {
            Self::Nothing => {}
            Self::Whole(piece) => push(*piece),
            Self::Chunks(chunks) => chunks.iter().for_each(|(piece, _)| push(*piece)),
            Self::Pages { runs, .. } => runs.iter().for_each(|piece| push(*piece)),
        }
        runs
    }

    /// Every piece, to be looked at or changed.
    pub fn pieces_mut(&mut self) -> Box<dyn Iterator<Item = &mut Piece> + '_> {
        match self {
            Self::Nothing => Box::new(std::iter::empty()),
            Self::Whole(piece) => Box::new(std::iter::once(piece)),
            Self::Chunks(chunks) => Box::new(chunks.iter_mut().map(|(piece, _)| piece)),
            Self::Pages { runs, .. } => Box::new(runs.iter_mut()),
        }
    }
}

/// An entry with everything that is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The entry; for one that is gone, nothing but its path counts.
    pub entry: Entry,
    /// Digest of a file's data.
    pub blake3: Option<Digest>,
    /// Where that lies.
    pub content: Content,
    /// What else there is to know.
    pub marks: Marks,
    /// The backup, by its sequence, whose catalog has the entry's line.
    pub written: u64,
    /// That line is in the patch and stands for another one that the base has for this path.
    pub covers: bool,
}

/// Marks of an item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// The content was changed by redaction; so many secrets were taken out.
    pub redacted: Option<u32>,
    /// The content may be of no single moment.
    pub changing: bool,
    /// The file changed so shortly before it was looked at that another change may not show.
    pub racy: bool,
    /// The entry is not there any more; the catalog that has a line for it is still in use.
    pub gone: bool,
}

/// Bytes of a chunk in a body, as a rule at most: its frame's number, its place and length there, and its id.
const CHUNK_WRITTEN: usize = 5 + 4 + 3 + 16;

/// Bytes that are no item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the index is damaged")]
pub struct NotAnItem;

/// Appends numbers and byte strings.
pub(super) fn put(into: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        into.push(u8::try_from(number & 0x7f).unwrap_or(0) | 0x80);
        number >>= 7;
    }
    into.push(u8::try_from(number).unwrap_or(0));
}

pub(super) fn put_bytes(into: &mut Vec<u8>, bytes: &[u8]) {
    put(into, bytes.len() as u64);
    into.extend_from_slice(bytes);
}

fn put_signed(into: &mut Vec<u8>, number: i64) {
    put(into, ((number << 1) ^ (number >> 63)).cast_unsigned());
}

fn put_moment(into: &mut Vec<u8>, moment: Moment) {
    put_signed(into, moment.seconds);
    put(into, moment.nanoseconds.into());
}

/// Takes numbers and byte strings off the front.
pub(super) struct Taker<'a>(pub(super) &'a [u8]);

impl<'a> Taker<'a> {
    pub(super) fn number(&mut self) -> Result<u64, NotAnItem> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (first, rest) = self.0.split_first().ok_or(NotAnItem)?;
            self.0 = rest;
            number |= u64::from(first & 0x7f) << shift;
            if first & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(NotAnItem)
    }

    pub(super) fn small<T: TryFrom<u64>>(&mut self) -> Result<T, NotAnItem> {
        T::try_from(self.number()?).map_err(|_| NotAnItem)
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], NotAnItem> {
        let length = self.small()?;
        self.raw(length)
    }

    fn raw(&mut self, length: usize) -> Result<&'a [u8], NotAnItem> {
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(NotAnItem)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], NotAnItem> {
        self.raw(N)?.try_into().map_err(|_| NotAnItem)
    }

    fn signed(&mut self) -> Result<i64, NotAnItem> {
        let number = self.number()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    fn moment(&mut self) -> Result<Moment, NotAnItem> {
        Ok(Moment {
            seconds: self.signed()?,
            nanoseconds: self.small()?,
        })
    }

    fn text(&mut self) -> Result<Option<String>, NotAnItem> {
        let bytes = self.bytes()?;
        let text = std::str::from_utf8(bytes).map_err(|_| NotAnItem)?;
        Ok((!text.is_empty()).then(|| text.to_owned()))
    }

    fn piece(&mut self) -> Result<Piece, NotAnItem> {
        Ok(Piece {
            pack: self.small()?,
            offset: self.small()?,
            length: self.small()?,
        })
    }
}

const REDACTED: u8 = 1;
const CHANGING: u8 = 2;
const RACY: u8 = 4;
const GONE: u8 = 8;
const WITH_STAT: u8 = 16;
const WITH_DIGEST: u8 = 32;
const WITH_XATTRS: u8 = 64;
const COVERS: u8 = 128;

/// What of an item is needed to see whether its file is unchanged: cheap to read, without the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glance {
    /// What else there is to know.
    pub marks: Marks,
    /// The kind's number, as [`kind_number`] gives it.
    pub kind: u8,
    /// How the file looked.
    pub stat: Option<Stat>,
    /// Apparent bytes of the file that was stored; 0 for anything else.
    pub size: u64,
    /// The backup whose catalog has the entry's line.
    pub written: u64,
    /// That line stands for another one of the base.
    pub covers: bool,
}

/// A number for each kind of entry.
pub fn kind_number(kind: &Kind) -> u8 {
    match kind {
        Kind::Folder => 0,
        Kind::File { extents: None, .. } => 1,
        Kind::File { extents: Some(_), .. } => 2,
        Kind::Link { .. } => 3,
        Kind::HardLink { .. } => 4,
        Kind::Fifo => 5,
        Kind::CharDevice { .. } => 6,
        Kind::BlockDevice { .. } => 7,
    }
}

impl Item {
    /// Appends the item's body: everything but its path.
    pub fn write(&self, into: &mut Vec<u8>) {
        let Self {
            entry,
            blake3,
            content,
            marks,
            written,
            covers,
        } = self;
        let mut flags = 0;
        for (set, flag) in [
            (marks.redacted.is_some(), REDACTED),
            (marks.changing, CHANGING),
            (marks.racy, RACY),
            (marks.gone, GONE),
            (entry.stat.is_some(), WITH_STAT),
            (blake3.is_some(), WITH_DIGEST),
            (!entry.metadata.xattrs.is_empty(), WITH_XATTRS),
            (*covers, COVERS),
        ] {
            flags |= if set { flag } else { 0 };
        }
        into.push(flags);
        into.push(kind_number(&entry.kind));
        put(into, *written);
        if let Some(stat) = &entry.stat {
            put(into, stat.device);
            put(into, stat.inode);
            put(into, stat.size);
            put_moment(into, stat.mtime);
            put_moment(into, stat.ctime);
        }
        if let Some(values) = marks.redacted {
            put(into, values.into());
        }
        if let Kind::File { size, .. } = &entry.kind {
            put(into, *size);
        }
        if marks.gone {
            return;
        }
        write_metadata(&entry.metadata, into);
        write_kind(&entry.kind, into);
        if let Some(digest) = blake3 {
            into.extend_from_slice(digest.as_bytes());
        }
        write_content(content, into);
    }

    /// Reads an item's body.
    pub fn read(path: TreePath, body: &[u8]) -> Result<Self, NotAnItem> {
        let mut taker = Taker(body);
        let (flags, glance) = glance(&mut taker)?;
        let mut item = Self {
            entry: Entry {
                path,
                kind: Kind::Folder,
                metadata: Metadata::default(),
                stat: glance.stat,
            },
            blake3: None,
            content: Content::Nothing,
            marks: glance.marks,
            written: glance.written,
            covers: glance.covers,
        };
        if glance.marks.gone {
            return Ok(item);
        }
        item.entry.metadata = read_metadata(&mut taker, flags & WITH_XATTRS != 0)?;
        item.entry.kind = read_kind(&mut taker, &glance)?;
        if flags & WITH_DIGEST != 0 {
            item.blake3 = Some(Digest::from(blake3::Hash::from_bytes(taker.fixed()?)));
        }
        item.content = read_content(&mut taker)?;
        if taker.0.is_empty() { Ok(item) } else { Err(NotAnItem) }
    }

    /// Reads a file's digest and where its data lies, and passes over the rest.
    pub fn read_content(body: &[u8]) -> Result<(Option<Digest>, Content), NotAnItem> {
        let mut taker = Taker(body);
        let (flags, glance) = glance(&mut taker)?;
        if glance.marks.gone {
            return Ok((None, Content::Nothing));
        }
        skip_metadata(&mut taker, flags & WITH_XATTRS != 0)?;
        skip_kind(&mut taker, &glance)?;
        let digest = if flags & WITH_DIGEST != 0 {
            Some(Digest::from(blake3::Hash::from_bytes(taker.fixed()?)))
        } else {
            None
        };
        Ok((digest, read_content(&mut taker)?))
    }

    /// Reads the beginning of an item's body.
    pub fn glance(body: &[u8]) -> Result<Glance, NotAnItem> {
        glance(&mut Taker(body)).map(|(_, glance)| glance)
    }
}

fn glance(taker: &mut Taker<'_>) -> Result<(u8, Glance), NotAnItem> {
    let [flags, kind] = taker.fixed()?;
    let written = taker.number()?;
    let stat = if flags & WITH_STAT == 0 {
        None
    } else {
        Some(Stat {
            device: taker.number()?,
            inode: taker.number()?,
            size: taker.number()?,
            mtime: taker.moment()?,
            ctime: taker.moment()?,
        })
    };
    let redacted = if flags & REDACTED == 0 {
        None
    } else {
        Some(taker.small()?)
    };
    let marks = Marks {
        redacted,
        changing: flags & CHANGING != 0,
        racy: flags & RACY != 0,
        gone: flags & GONE != 0,
    };
    let size = if matches!(kind, 1 | 2) { taker.number()? } else { 0 };
    let glance = Glance {
        marks,
        kind,
        stat,
        size,
        written,
        covers: flags & COVERS != 0,
    };
    Ok((flags, glance))
}

fn write_metadata(metadata: &Metadata, into: &mut Vec<u8>) {
    put(into, metadata.mode.into());
    put(into, metadata.uid.into());
    put(into, metadata.gid.into());
    put_bytes(into, metadata.user.as_deref().unwrap_or_default().as_bytes());
    put_bytes(into, metadata.group.as_deref().unwrap_or_default().as_bytes());
    put_moment(into, metadata.mtime);
    if metadata.xattrs.is_empty() {
        return;
    }
    put(into, metadata.xattrs.len() as u64);
    for (name, value) in &metadata.xattrs {
        put_bytes(into, name);
        put_bytes(into, value);
    }
}

fn read_metadata(taker: &mut Taker<'_>, with_xattrs: bool) -> Result<Metadata, NotAnItem> {
    let mut metadata = Metadata {
        mode: taker.small()?,
        uid: taker.small()?,
        gid: taker.small()?,
        user: taker.text()?,
        group: taker.text()?,
        mtime: taker.moment()?,
        xattrs: BTreeMap::new(),
    };
    if with_xattrs {
        for _ in 0..taker.number()? {
            let name = taker.bytes()?.to_vec();
            metadata.xattrs.insert(name, taker.bytes()?.to_vec());
        }
    }
    Ok(metadata)
}

fn skip_metadata(taker: &mut Taker<'_>, with_xattrs: bool) -> Result<(), NotAnItem> {
    for _ in 0..3 {
        taker.number()?;
    }
    taker.bytes()?;
    taker.bytes()?;
    taker.moment()?;
    if with_xattrs {
        for _ in 0..taker.number()? {
            taker.bytes()?;
            taker.bytes()?;
        }
    }
    Ok(())
}

fn skip_kind(taker: &mut Taker<'_>, glance: &Glance) -> Result<(), NotAnItem> {
    read_kind(taker, glance).map(drop)
}

fn write_kind(kind: &Kind, into: &mut Vec<u8>) {
    match kind {
        Kind::Folder | Kind::Fifo => {}
        // Its size stands among what is seen at a glance.
        Kind::File { extents, .. } => {
            if let Some(extents) = extents {
                put(into, extents.len() as u64);
                for extent in extents {
                    put(into, extent.offset);
                    put(into, extent.length);
                }
            }
        }
        Kind::Link { target } => put_bytes(into, target),
        Kind::HardLink { first } => put_bytes(into, first.as_bytes()),
        Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
            put(into, (*major).into());
            put(into, (*minor).into());
        }
    }
}

fn read_kind(taker: &mut Taker<'_>, glance: &Glance) -> Result<Kind, NotAnItem> {
    let size = glance.size;
    Ok(match glance.kind {
        0 => Kind::Folder,
        1 => Kind::File { size, extents: None },
        2 => {
            let mut extents = Vec::new();
            for _ in 0..taker.number()? {
                extents.push(Extent {
                    offset: taker.number()?,
                    length: taker.number()?,
                });
            }
            Kind::File {
                size,
                extents: Some(extents),
            }
        }
        3 => Kind::Link {
            target: taker.bytes()?.to_vec(),
        },
        4 => Kind::HardLink {
            first: TreePath::parse(taker.bytes()?).ok_or(NotAnItem)?,
        },
        5 => Kind::Fifo,
        6 => Kind::CharDevice {
            major: taker.small()?,
            minor: taker.small()?,
        },
        7 => Kind::BlockDevice {
            major: taker.small()?,
            minor: taker.small()?,
        },
        _ => return Err(NotAnItem),
    })
}

fn put_piece(piece: Piece, into: &mut Vec<u8>) {
    put(into, piece.pack.into());
    put(into, piece.offset.into());
    put(into, piece.length.into());
}

fn write_content(content: &Content, into: &mut Vec<u8>) {
    match content {
        Content::Nothing => into.push(0),
        Content::Whole(piece) => {
            into.push(1);
            put_piece(*piece, into);
        }
        Content::Chunks(chunks) => {
            into.push(2);
            put(into, chunks.len() as u64);
            // Of a very large file they are megabytes: what grows to them holds them twice on its way.
            into.reserve_exact(chunks.len().saturating_mul(CHUNK_WRITTEN));
            for (piece, id) in chunks {
                put_piece(*piece, into);
                into.extend_from_slice(id);
            }
        }
        Content::Pages { page, runs } => {
            into.push(3);
            put(into, (*page).into());
            put(into, runs.len() as u64);
            for run in runs {
                put_piece(*run, into);
            }
        }
    }
}

fn read_content(taker: &mut Taker<'_>) -> Result<Content, NotAnItem> {
    let [tag] = taker.fixed()?;
    Ok(match tag {
        0 => Content::Nothing,
        1 => Content::Whole(taker.piece()?),
        2 => {
            let mut chunks = Vec::new();
            let count = taker.small()?;
            // Each takes 19 bytes or more, so no count makes room for what is not there.
            chunks.reserve_exact(usize::min(count, taker.0.len() / 19));
            for _ in 0..count {
                chunks.push((taker.piece()?, taker.fixed()?));
            }
            Content::Chunks(chunks)
        }
        3 => {
            let page = taker.small()?;
            let mut runs = Vec::new();
            for _ in 0..taker.number()? {
                runs.push(taker.piece()?);
            }
            Content::Pages { page, runs }
        }
        _ => return Err(NotAnItem),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::archive::chunks) fn item(path: &str, kind: Kind, content: Content) -> Item {
        let is_file = matches!(kind, Kind::File { .. });
        Item {
            entry: Entry {
                path: TreePath::parse(path.as_bytes()).unwrap(),
                kind,
                metadata: Metadata {
                    mode: 0o4755,
                    uid: 7,
                    gid: u32::MAX,
                    user: Some("svc".into()),
                    group: None,
                    mtime: Moment {
                        seconds: -3,
                        nanoseconds: 999_999_999,
                    },
                    xattrs: [(b"user.\xff".to_vec(), vec![0, 255])].into(),
                },
                stat: Some(Stat {
                    device: 1 << 40,
                    inode: 77,
                    size: 3,
                    mtime: Moment::default(),
                    ctime: Moment {
                        seconds: i64::MIN,
                        nanoseconds: 1,
                    },
                }),
            },
            blake3: is_file.then(|| Digest::of(path.as_bytes())),
            content,
            marks: Marks {
                redacted: is_file.then_some(300),
                ..Marks::default()
            },
            written: 300,
            covers: is_file,
        }
    }

    fn piece(n: u32) -> Piece {
        Piece {
            pack: n,
            offset: n * 1000,
            length: 1000,
        }
    }

    #[test]
    fn every_kind_of_item_reads_back_and_no_cut_of_it_does() {
        let extents = Some(vec![Extent { offset: 4, length: 6 }]);
        let items = [
            item("", Kind::Folder, Content::Nothing),
            item("a", Kind::File { size: 3, extents: None }, Content::Whole(piece(9))),
            item(
                "b",
                Kind::File { size: 10, extents },
                Content::Chunks(vec![(piece(1), [7; 16]), (piece(2), [8; 16])]),
            ),
            item(
                "c",
                Kind::File {
                    size: 9000,
                    extents: None,
                },
                Content::Pages {
                    page: 4096,
                    runs: vec![piece(1), piece(4_000_000)],
                },
            ),
            item(
                "d",
                Kind::Link {
                    target: b"\xff".to_vec(),
                },
                Content::Nothing,
            ),
            item(
                "e",
                Kind::HardLink {
                    first: TreePath::parse(b"a").unwrap(),
                },
                Content::Nothing,
            ),
            item("f", Kind::CharDevice { major: 1, minor: 300 }, Content::Nothing),
        ];
        for item in items {
            let mut body = Vec::new();
            item.write(&mut body);
            assert_eq!(Item::read(item.entry.path.clone(), &body), Ok(item.clone()));
            assert_eq!(Item::glance(&body).unwrap().stat, item.entry.stat);
            assert_eq!(Item::read_content(&body), Ok((item.blake3, item.content.clone())));
            for length in 0..body.len() {
                assert!(Item::read(item.entry.path.clone(), &body[..length]).is_err());
            }
        }
    }

    #[test]
    fn pieces_that_touch_are_one_run() {
        let at = |pack, offset, length| Piece { pack, offset, length };
        let content = Content::Pages {
            page: 10,
            runs: vec![at(1, 0, 10), at(1, 10, 20), at(2, 30, 10), at(1, 30, 10)],
        };
        assert_eq!(content.runs(), [at(1, 0, 30), at(2, 30, 10), at(1, 30, 10)]);
    }
}
