//! What this host remembers of a backup: all its items in order, and a table of its packs. A file in the state folder.
//!
//! It is a cache: without it a run is slower and stores what it could have reused, and nothing else. But a wrong one would
//! make wrong backups, so a file is used only where it has the digest that it ends with and belongs to a record that is still
//! there.
//!
//! ```text
//! magic, for each source: (shared length of the path, rest of the path, body)*, footer as JSON, its offset (u64, little-endian),
//! BLAKE3 of all of it
//! ```

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::item::{NotAnItem, put, put_bytes};
use crate::crypto::Digest;
use crate::fs::entry::TreePath;
use crate::id::{BackupId, SourceName};
use crate::limits::READ_BLOCK;

const MAGIC: &[u8; 8] = b"SRINDEX1";
const DIGEST: u64 = 32;
/// Offset of the footer and the digest.
const TAIL: usize = 8 + 32;

/// What the items belong to and refer to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Footer {
    /// The backup; `None` while it has none.
    pub backup: Option<BackupId>,
    /// Digest of its record's bytes.
    pub record: Option<Digest>,
    /// Its sequence.
    pub sequence: u64,
    /// The sequence of the backup whose catalog is the base: lines written later are in the patch.
    pub base: u64,
    /// The key that packs are sealed to; `None` where they are not sealed.
    pub epoch: Option<String>,
    /// The packs that pieces refer to by number.
    pub packs: Vec<PackInfo>,
    /// The sources, in the order of their items.
    pub sources: Vec<Section>,
}

/// A pack in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackInfo {
    /// Digest of the stored object, which is its name.
    pub name: Digest,
    /// Stored bytes.
    pub stored: u64,
    /// Bytes of its plain text.
    pub plain: u64,
}

/// Where the items of a source are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section {
    /// The source.
    pub name: SourceName,
    /// Digest of the rules its content was redacted by; `None` where it was not.
    pub redaction: Option<String>,
    /// Offset of the first item in the file.
    pub offset: u64,
    /// Bytes of all items.
    pub length: u64,
}

/// Why an index cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The operating system refused something.
    #[error("the index cannot be read or written")]
    Io(#[from] io::Error),
    /// The file is not what was written.
    #[error("the index is damaged")]
    Damaged,
}

impl From<NotAnItem> for IndexError {
    fn from(_: NotAnItem) -> Self {
        Self::Damaged
    }
}

/// Writes an index from front to back.
pub struct IndexWriter<W> {
    inner: W,
    hasher: blake3::Hasher,
    position: u64,
    path: Vec<u8>,
    buffer: Vec<u8>,
    sources: Vec<Section>,
}

impl<W: Write> IndexWriter<W> {
    /// Begins an index.
    pub fn new(inner: W) -> Self {
        Self {
            inner,
            hasher: blake3::Hasher::new(),
            position: 0,
            path: Vec::new(),
            buffer: MAGIC.to_vec(),
            sources: Vec::new(),
        }
    }

    fn at(&self) -> u64 {
        self.position + self.buffer.len() as u64
    }

    /// Begins the items of a source.
    pub fn source(&mut self, name: SourceName, redaction: Option<String>) {
        self.close_source();
        self.path.clear();
        let offset = self.at();
        self.sources.push(Section {
            name,
            redaction,
            offset,
            length: 0,
        });
    }

    fn close_source(&mut self) {
        let at = self.at();
        if let Some(last) = self.sources.last_mut() {
            last.length = at - last.offset;
        }
    }

    /// Adds an item by its path and its body.
    pub fn item(&mut self, path: &[u8], body: &[u8]) -> io::Result<()> {
        let shared = self.path.iter().zip(path).take_while(|(a, b)| a == b).count();
        put(&mut self.buffer, shared as u64);
        put_bytes(&mut self.buffer, path.get(shared..).unwrap_or_default());
        self.path.truncate(shared);
        self.path.extend_from_slice(path.get(shared..).unwrap_or_default());
        if body.len() >= READ_BLOCK {
            // That of a very large file is not held twice.
            put(&mut self.buffer, body.len() as u64);
            self.spill()?;
            return self.pass_on(body);
        }
        put_bytes(&mut self.buffer, body);
        if self.buffer.len() >= READ_BLOCK {
            self.spill()
        } else {
            Ok(())
        }
    }

    fn pass_on(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.inner.write_all(bytes)?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    fn spill(&mut self) -> io::Result<()> {
        let buffer = std::mem::take(&mut self.buffer);
        self.pass_on(&buffer)?;
        self.buffer = buffer;
        self.buffer.clear();
        Ok(())
    }

    /// Ends the index; the sources of `footer` are those that were begun.
    pub fn finish(mut self, footer: Footer) -> io::Result<W> {
        self.close_source();
        let at = self.at();
        let sources = std::mem::take(&mut self.sources);
        serde_json::to_writer(&mut self.buffer, &Footer { sources, ..footer })?;
        self.buffer.extend_from_slice(&at.to_le_bytes());
        self.spill()?;
        self.inner.write_all(self.hasher.finalize().as_bytes())?;
        self.inner.flush()?;
        Ok(self.inner)
    }
}

/// An index that was read through once and found to be what was written.
#[derive(Debug)]
pub struct Index {
    file: File,
    footer: Footer,
}

impl Index {
    /// Opens the index at `path`; `None` where there is none.
    ///
    /// # Errors
    /// When it cannot be read or is damaged.
    pub fn open(path: &Path) -> Result<Option<Self>, IndexError> {
        match File::open(path) {
            Ok(file) => Self::of(file).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes an open file.
    pub fn of(file: File) -> Result<Self, IndexError> {
        let length = file.metadata()?.len();
        let hashed = length.checked_sub(DIGEST).ok_or(IndexError::Damaged)?;
        let at = check(&file, hashed)?;
        let footer_length = hashed.checked_sub(at + 8).ok_or(IndexError::Damaged)?;
        let mut reader = &file;
        reader.seek(SeekFrom::Start(at))?;
        let mut text = Vec::new();
        reader.take(footer_length).read_to_end(&mut text)?;
        let footer: Footer = serde_json::from_slice(&text).map_err(|_| IndexError::Damaged)?;
        let is_within = |section: &Section| section.offset.checked_add(section.length).is_some_and(|end| end <= at);
        if !footer.sources.iter().all(is_within) {
            return Err(IndexError::Damaged);
        }
        Ok(Self { file, footer })
    }

    /// What the items belong to and refer to.
    pub const fn footer(&self) -> &Footer {
        &self.footer
    }

    /// The items of a source, in order; `None` where it has none.
    pub fn items(&self, source: &SourceName) -> Result<Option<Items>, IndexError> {
        let Some(section) = self.footer.sources.iter().find(|section| section.name == *source) else {
            return Ok(None);
        };
        let stretch = Stretch::new(self.file.try_clone()?, section).ok_or(IndexError::Damaged)?;
        Ok(Some(Items {
            reader: BufReader::with_capacity(READ_BLOCK / 4, stretch),
            path: Vec::new(),
            body: Vec::new(),
        }))
    }
}

/// Compares the file with its digest; gives the offset of the footer.
fn check(file: &File, hashed: u64) -> Result<u64, IndexError> {
    let (mut hasher, mut block, mut at) = (blake3::Hasher::new(), vec![0; READ_BLOCK], 0);
    let mut tail = [0; TAIL];
    while at < hashed {
        let wanted = usize::try_from(hashed - at).map_or(READ_BLOCK, |left| left.min(READ_BLOCK));
        let now = block.get_mut(..wanted).unwrap_or_default();
        std::os::unix::fs::FileExt::read_exact_at(file, now, at)?;
        hasher.update(now);
        at += wanted as u64;
    }
    let from = (hashed + DIGEST).checked_sub(TAIL as u64).ok_or(IndexError::Damaged)?;
    std::os::unix::fs::FileExt::read_exact_at(file, &mut tail, from)?;
    let (offset, digest) = tail.split_at(8);
    if hasher.finalize().as_bytes() != digest {
        return Err(IndexError::Damaged);
    }
    let offset: [u8; 8] = offset.try_into().map_err(|_| IndexError::Damaged)?;
    Ok(u64::from_le_bytes(offset))
}

/// A stretch of a file, read without moving anyone else's position.
#[derive(Debug)]
struct Stretch {
    file: File,
    at: u64,
    end: u64,
}

impl Stretch {
    /// `None` where nothing could lie there.
    fn new(file: File, section: &Section) -> Option<Self> {
        Some(Self {
            file,
            at: section.offset,
            end: section.offset.checked_add(section.length)?,
        })
    }

    fn left(&self) -> usize {
        usize::try_from(self.end - self.at).unwrap_or(usize::MAX)
    }
}

impl Read for Stretch {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = self.left().min(buffer.len());
        let into = buffer.get_mut(..room).unwrap_or_default();
        let read = std::os::unix::fs::FileExt::read_at(&self.file, into, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// The items of one source, one after the other.
#[derive(Debug)]
pub struct Items {
    reader: BufReader<Stretch>,
    path: Vec<u8>,
    body: Vec<u8>,
}

impl Items {
    /// Goes to the next item; `false` at the end.
    pub fn advance(&mut self) -> Result<bool, IndexError> {
        if self.reader.fill_buf()?.is_empty() {
            return Ok(false);
        }
        let shared = self.number()?;
        if shared > self.path.len() {
            return Err(IndexError::Damaged);
        }
        self.path.truncate(shared);
        let rest = self.number()?;
        take(&mut self.reader, rest, &mut self.path)?;
        let body = self.number()?;
        empty(&mut self.body);
        take(&mut self.reader, body, &mut self.body)?;
        Ok(true)
    }

    fn number(&mut self) -> Result<usize, IndexError> {
        let mut number = 0_usize;
        for shift in (0..63).step_by(7) {
            let mut byte = [0];
            self.reader.read_exact(&mut byte)?;
            let [byte] = byte;
            number |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(IndexError::Damaged)
    }

    /// The item's path.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// The item's body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The item's path as one.
    pub fn tree_path(&self) -> Result<TreePath, IndexError> {
        TreePath::parse(&self.path).ok_or(IndexError::Damaged)
    }
}

/// Empties what has held an item, and gives its memory back where that was a very large file's.
pub(super) fn empty(body: &mut Vec<u8>) {
    body.clear();
    body.shrink_to(READ_BLOCK);
}

fn take(reader: &mut BufReader<Stretch>, length: usize, into: &mut Vec<u8>) -> Result<(), IndexError> {
    let left = reader.get_ref().left().saturating_add(reader.buffer().len());
    into.reserve_exact(length.min(left));
    let read = reader.by_ref().take(length as u64).read_to_end(into)?;
    if read == length {
        Ok(())
    } else {
        Err(IndexError::Damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> Vec<u8> {
        let mut writer = IndexWriter::new(Vec::new());
        for source in ["events", "config"] {
            writer.source(source.parse().unwrap(), None);
            for n in 0..1000 {
                writer
                    .item(format!("{}/{n:04}", n / 100).as_bytes(), &vec![b'x'; n % 200])
                    .unwrap();
            }
        }
        let footer = Footer {
            sequence: 7,
            base: 3,
            packs: vec![PackInfo {
                name: Digest::of(b"pack"),
                stored: 10,
                plain: 20,
            }],
            ..Footer::default()
        };
        writer.finish(footer).unwrap()
    }

    fn open(bytes: &[u8]) -> Result<Index, IndexError> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Index::of(file)
    }

    #[test]
    fn items_come_back_source_by_source() {
        let index = open(&written()).unwrap();
        assert_eq!((index.footer().sequence, index.footer().packs.len()), (7, 1));
        for source in ["config", "events"] {
            let mut items = index.items(&source.parse().unwrap()).unwrap().unwrap();
            for n in 0..1000 {
                assert!(items.advance().unwrap());
                assert_eq!(items.path(), format!("{}/{n:04}", n / 100).as_bytes());
                assert_eq!(items.body().len(), n % 200);
            }
            assert!(!items.advance().unwrap());
        }
        assert!(index.items(&"other".parse().unwrap()).unwrap().is_none());
    }

    #[test]
    fn a_section_that_no_file_has_is_damage() {
        let mut writer = IndexWriter::new(Vec::new());
        writer.source("events".parse().unwrap(), None);
        let bytes = writer.finish(Footer::default()).unwrap();
        let text = bytes.strip_suffix(&bytes[bytes.len() - 40..]).unwrap();
        let text = String::from_utf8(text.to_vec()).unwrap();
        let claimed = |offset: u64, length: u64| {
            let said = format!("\"offset\":{offset},\"length\":{length}");
            let mut wrong = text.replace("\"offset\":8,\"length\":0", &said).into_bytes();
            wrong.extend_from_slice(&bytes[bytes.len() - 40..bytes.len() - 32]);
            wrong.extend_from_slice(Digest::of(&wrong.clone()).as_bytes());
            open(&wrong)
        };
        assert_eq!(claimed(8, 0).unwrap().footer().sources[0].offset, 8);
        for (offset, length) in [(u64::MAX, u64::MAX), (8, 1), (8, 1 << 40), (9, 0)] {
            assert!(matches!(claimed(offset, length), Err(IndexError::Damaged)));
        }
    }

    #[test]
    fn items_larger_than_what_is_written_at_once_come_back_between_small_ones() {
        let lengths = [3, READ_BLOCK - 1, 2 * READ_BLOCK + 5, 0, READ_BLOCK, READ_BLOCK, 7];
        let bodies = (b'a'..).zip(lengths).map(|(byte, length)| vec![byte; length]);
        let bodies: Vec<Vec<u8>> = bodies.collect();
        let mut writer = IndexWriter::new(Vec::new());
        writer.source("events".parse().unwrap(), None);
        for (number, body) in bodies.iter().enumerate() {
            writer.item(format!("events/{number}").as_bytes(), body).unwrap();
        }
        let index = open(&writer.finish(Footer::default()).unwrap()).unwrap();
        let mut items = index.items(&"events".parse().unwrap()).unwrap().unwrap();
        for (number, body) in bodies.iter().enumerate() {
            assert!(items.advance().unwrap());
            assert_eq!(items.path(), format!("events/{number}").as_bytes());
            assert!(items.body() == body);
        }
        assert!(!items.advance().unwrap());
    }

    #[test]
    fn no_byte_may_be_changed_or_missing() {
        let bytes = written();
        for at in (0..bytes.len()).step_by(997) {
            let mut wrong = bytes.clone();
            wrong[at] ^= 1;
            assert!(matches!(open(&wrong), Err(IndexError::Damaged)));
            assert!(open(&bytes[..at]).is_err());
        }
    }
}
