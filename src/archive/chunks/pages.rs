//! Digests of the pages of a database, so that the next backup stores only pages that changed. Files in the state folder.
//!
//! ```text
//! magic, page length (u32), number of pages (u64), digest of the database, an id of 16 bytes for each page, BLAKE3 of all before
//! ```
//! Numbers are little-endian. A file that is missing, damaged or of another state of the database counts for nothing: then all pages
//! are new.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use super::item::ChunkId;
use crate::crypto::Digest;
use crate::fs::atomic::AtomicFile;
use crate::fs::entry::TreePath;
use crate::id::SourceName;
use crate::limits::READ_BLOCK;

const MAGIC: &[u8; 8] = b"SRPAGES1";
const HEAD: u64 = 8 + 4 + 8 + 32;
const DIGEST: u64 = 32;

/// Where the digests of a database's pages are kept.
pub fn path(folder: &Path, source: &SourceName, database: &TreePath) -> PathBuf {
    let name = [source.as_str().as_bytes(), b"/", database.as_bytes()].concat();
    let digest = Digest::of(&name).to_string();
    folder.join(format!("{}.pages", digest.get(..32).unwrap_or_default()))
}

/// Reads the ids of the pages of one state of a database, in order.
#[derive(Debug)]
pub struct OldPages {
    reader: BufReader<io::Take<File>>,
}

impl OldPages {
    /// Opens the ids of the state whose digest is `database`; `None` where they are not to be had.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn open(path: &Path, page: u32, database: &Digest) -> io::Result<Option<Self>> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let length = file.metadata()?.len();
        let Some(ids) = length.checked_sub(HEAD + DIGEST) else {
            return Ok(None);
        };
        let mut hasher = blake3::Hasher::new();
        let mut block = vec![0; READ_BLOCK];
        let mut head = Vec::new();
        let mut reader = (&file).take(length - DIGEST);
        loop {
            let read = reader.read(&mut block)?;
            let seen = block.get(..read).unwrap_or_default();
            if seen.is_empty() {
                break;
            }
            if head.is_empty() {
                head = seen.get(..seen.len().min(64)).unwrap_or_default().to_vec();
            }
            hasher.update(seen);
        }
        let mut digest = [0; 32];
        file.read_exact(&mut digest)?;
        let expected = header(page, ids / 16, database);
        if hasher.finalize().as_bytes() != &digest || !head.starts_with(&expected) {
            return Ok(None);
        }
        io::Seek::seek(&mut file, io::SeekFrom::Start(HEAD))?;
        let reader = BufReader::with_capacity(READ_BLOCK / 4, file.take(ids));
        Ok(Some(Self { reader }))
    }

    /// The id of the next page; `None` behind the last.
    pub fn next_id(&mut self) -> io::Result<Option<ChunkId>> {
        let mut id = ChunkId::default();
        match self.reader.read_exact(&mut id) {
            Ok(()) => Ok(Some(id)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn header(page: u32, pages: u64, database: &Digest) -> Vec<u8> {
    let mut head = MAGIC.to_vec();
    head.extend_from_slice(&page.to_le_bytes());
    head.extend_from_slice(&pages.to_le_bytes());
    head.extend_from_slice(database.as_bytes());
    head
}

/// Gathers the ids of a database's pages in a file without a name, and puts them in place when the backup stands.
#[derive(Debug)]
pub struct NewPages {
    path: PathBuf,
    page: u32,
    pages: u64,
    ids: File,
    buffer: Vec<u8>,
    database: Option<Digest>,
}

impl NewPages {
    /// Begins; `path` is where they will stand, `spool` a folder for files that do not outlive the run.
    pub fn new(path: PathBuf, spool: &Path, page: u32) -> io::Result<Self> {
        Ok(Self {
            path,
            page,
            pages: 0,
            ids: crate::fs::atomic::unnamed(spool)?,
            buffer: Vec::new(),
            database: None,
        })
    }

    /// Adds the next page's id.
    pub fn push(&mut self, id: ChunkId) -> io::Result<()> {
        self.pages += 1;
        self.buffer.extend_from_slice(&id);
        if self.buffer.len() >= READ_BLOCK {
            self.ids.write_all(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Ends with the digest of the whole database.
    pub fn end(&mut self, database: Digest) -> io::Result<()> {
        self.ids.write_all(&self.buffer)?;
        self.buffer = Vec::new();
        self.database = Some(database);
        Ok(())
    }

    /// Puts the ids in place of those of the earlier state.
    pub fn commit(mut self) -> io::Result<()> {
        let Some(database) = self.database else {
            return Ok(());
        };
        let mut file = AtomicFile::create(&self.path, 0o600)?;
        let mut hasher = blake3::Hasher::new();
        let head = header(self.page, self.pages, &database);
        hasher.update(&head);
        file.write_all(&head)?;
        io::Seek::rewind(&mut self.ids)?;
        let mut block = vec![0; READ_BLOCK];
        loop {
            let read = self.ids.read(&mut block)?;
            let ids = block.get(..read).unwrap_or_default();
            if ids.is_empty() {
                break;
            }
            hasher.update(ids);
            file.write_all(ids)?;
        }
        file.write_all(hasher.finalize().as_bytes())?;
        file.commit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_back_for_the_state_they_belong_to_and_for_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(
            folder.path(),
            &"db".parse().unwrap(),
            &TreePath::parse(b"main.db").unwrap(),
        );
        let database = Digest::of(b"state 1");
        assert!(OldPages::open(&path, 4096, &database).unwrap().is_none());
        let mut new = NewPages::new(path.clone(), folder.path(), 4096).unwrap();
        for n in 0..100_000_u32 {
            let mut id = [0; 16];
            id[..4].copy_from_slice(&n.to_le_bytes());
            new.push(id).unwrap();
        }
        new.end(database).unwrap();
        new.commit().unwrap();
        let mut old = OldPages::open(&path, 4096, &database).unwrap().unwrap();
        for n in 0..100_000_u32 {
            assert_eq!(old.next_id().unwrap().unwrap()[..4], n.to_le_bytes());
        }
        assert!(old.next_id().unwrap().is_none());
        assert!(OldPages::open(&path, 8192, &database).unwrap().is_none());
        assert!(OldPages::open(&path, 4096, &Digest::of(b"state 2")).unwrap().is_none());
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[700_000] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(OldPages::open(&path, 4096, &database).unwrap().is_none());
    }
}
