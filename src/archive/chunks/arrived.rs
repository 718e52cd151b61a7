//! What a run that did not come to its end has stored: a ledger in the state folder, so that the next run does not store it again.
//!
//! An entry stands there for each pack, written before the pack is sent: its name, and which chunks lie where in it. Whether the
//! pack arrived is for the next run to find out in its targets; its name says which bytes it has. A ledger that is lost costs
//! time. A wrong one would make wrong backups, so each entry has a digest, and nothing behind one that does not fit is believed.
//!
//! ```text
//! (length of the body (u32, little-endian), body, BLAKE3 of the body)*
//! body: epoch, name, stored bytes, plain bytes, (id, offset, length)*
//! ```

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::crypto::Digest;
use crate::limits::ARRIVED_MAX;
use crate::poison::lock;

use super::index::PackInfo;
use super::item::{ChunkId, NotAnItem, Piece, Taker, put, put_bytes};
use super::shelf::PROVISIONAL;

/// A chunk in a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The first bytes of its digest.
    pub id: ChunkId,
    /// Bytes before it in the plain text of the pack, or of the frame while there is no pack.
    pub offset: u32,
    /// Bytes.
    pub length: u32,
}

/// A pack that no record tells of, and what lies in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// The pack.
    pub pack: PackInfo,
    /// Its chunks; databases are in pages and have none.
    pub chunks: Vec<Chunk>,
}

/// The chunks of frames whose pack is not known yet, by the number of the frame. A clone is the same.
#[derive(Clone, Debug, Default)]
pub struct Placed(Arc<Mutex<HashMap<u32, Vec<Chunk>>>>);

impl Placed {
    /// Notes where a chunk was put.
    pub fn note(&self, id: ChunkId, piece: Piece) {
        if piece.pack & PROVISIONAL == 0 {
            return;
        }
        let chunk = Chunk {
            id,
            offset: piece.offset,
            length: piece.length,
        };
        let mut placed = lock(&self.0);
        placed.entry(piece.pack & !PROVISIONAL).or_default().push(chunk);
    }

    /// Gives the chunks of a frame that lies behind so many bytes of its pack.
    fn take(&self, frame: u32, before: u32) -> Vec<Chunk> {
        let mut placed = lock(&self.0);
        let mut chunks = placed.remove(&frame).unwrap_or_default();
        for chunk in &mut chunks {
            chunk.offset = chunk.offset.saturating_add(before);
        }
        chunks
    }
}

/// The ledger of the run under way.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    epoch: Option<String>,
    placed: Placed,
    /// Nothing once it could not be written: then nothing more is noted, and the next run stores more.
    file: Option<File>,
}

impl Ledger {
    /// Begins the ledger at `path` anew, with what earlier runs left and is still there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begin(path: &Path, epoch: Option<String>, placed: Placed, kept: &[Arrived]) -> io::Result<Self> {
        let mut file = crate::fs::atomic::AtomicFile::create(path, 0o600)?;
        for arrived in kept {
            file.write_all(&entry(epoch.as_deref(), arrived))?;
        }
        file.commit()?;
        let file = File::options().append(true).open(path)?;
        Ok(Self {
            path: path.to_owned(),
            epoch,
            placed,
            file: Some(file),
        })
    }

    /// Notes a pack that is about to be sent; `frames` are the numbers of its frames with the bytes before each.
    pub(super) fn note(&mut self, pack: PackInfo, frames: &[(u32, u32)]) {
        let chunks = frames
            .iter()
            .flat_map(|(frame, before)| self.placed.take(*frame, *before));
        let chunks = chunks.collect();
        let entry = entry(self.epoch.as_deref(), &Arrived { pack, chunks });
        // Without it nothing is wrong, and a half entry has no digest that fits.
        let written = self.file.as_mut().map(|file| file.write_all(&entry));
        if !matches!(written, Some(Ok(()))) {
            self.file = None;
        }
    }

    /// Where it stands.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn entry(epoch: Option<&str>, arrived: &Arrived) -> Vec<u8> {
    let mut body = Vec::new();
    put_bytes(&mut body, epoch.unwrap_or_default().as_bytes());
    put_bytes(&mut body, arrived.pack.name.as_bytes());
    put(&mut body, arrived.pack.stored);
    put(&mut body, arrived.pack.plain);
    for chunk in &arrived.chunks {
        put_bytes(&mut body, &chunk.id);
        put(&mut body, chunk.offset.into());
        put(&mut body, chunk.length.into());
    }
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let digest = Digest::of(&body);
    [&length.to_le_bytes(), body.as_slice(), digest.as_bytes()].concat()
}

/// Reads the ledger that earlier runs left: the packs that were sealed in this epoch, or not at all. None where there is no ledger.
///
/// # Errors
/// When it is there and cannot be read.
pub fn read(path: &Path, epoch: Option<&str>) -> io::Result<Vec<Arrived>> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(ARRIVED_MAX).read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let (mut found, mut rest) = (Vec::new(), bytes.as_slice());
    while let Some((body, behind)) = split_entry(rest) {
        rest = behind;
        match parse(body) {
            Ok((of, arrived)) if of == epoch.unwrap_or_default().as_bytes() => found.push(arrived),
            Ok(_) => {}
            Err(NotAnItem) => break,
        }
    }
    Ok(found)
}

/// The body of the first entry, and what stands behind the entry; `None` where it is cut or is not what was written.
fn split_entry(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (body, rest) = rest.split_at_checked(length)?;
    let (digest, rest) = rest.split_first_chunk::<32>()?;
    (Digest::of(body).as_bytes() == digest).then_some((body, rest))
}

fn parse(body: &[u8]) -> Result<(&[u8], Arrived), NotAnItem> {
    let mut taker = Taker(body);
    let epoch = taker.bytes()?;
    let name: [u8; 32] = taker.bytes()?.try_into().map_err(|_| NotAnItem)?;
    let pack = PackInfo {
        name: Digest::from(blake3::Hash::from_bytes(name)),
        stored: taker.number()?,
        plain: taker.number()?,
    };
    let mut chunks = Vec::new();
    while !taker.0.is_empty() {
        chunks.push(Chunk {
            id: taker.bytes()?.try_into().map_err(|_| NotAnItem)?,
            offset: taker.small()?,
            length: taker.small()?,
        });
    }
    Ok((epoch, Arrived { pack, chunks }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrived(name: &[u8], offset: u32) -> Arrived {
        Arrived {
            pack: PackInfo {
                name: Digest::of(name),
                stored: 1000,
                plain: 3000,
            },
            chunks: vec![
                Chunk {
                    id: [7; 16],
                    offset,
                    length: 500,
                },
                Chunk {
                    id: [8; 16],
                    offset: offset + 500,
                    length: 1,
                },
            ],
        }
    }

    /// A ledger with one kept pack and one that was noted.
    fn written(path: &Path, epoch: Option<&str>) -> [Arrived; 2] {
        let placed = Placed::default();
        let kept = arrived(b"kept", 512);
        let mut ledger = Ledger::begin(
            path,
            epoch.map(str::to_owned),
            placed.clone(),
            std::slice::from_ref(&kept),
        )
        .unwrap();
        let noted = arrived(b"noted", 10_512);
        for (chunk, frame) in noted.chunks.iter().zip([3, 5]) {
            let piece = Piece {
                pack: PROVISIONAL | frame,
                offset: chunk.offset - 10_000,
                length: chunk.length,
            };
            placed.note(chunk.id, piece);
        }
        ledger.note(noted.pack, &[(3, 10_000), (4, 11_000), (5, 10_000)]);
        [kept, noted]
    }

    #[test]
    fn what_was_noted_is_read_by_the_next_run_and_by_one_of_the_same_epoch_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("arrived");
        assert_eq!(read(&path, None).unwrap(), []);
        for epoch in [None, Some("0123456789abcdef")] {
            let both = written(&path, epoch);
            assert_eq!(read(&path, epoch).unwrap(), both);
            assert_eq!(read(&path, Some("another")).unwrap(), []);
        }
        assert_eq!(read(&path, None).unwrap(), []);
    }

    #[test]
    fn a_ledger_that_was_cut_or_changed_anywhere_tells_of_nothing_that_was_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("arrived");
        let both = written(&path, None);
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x20;
            for harmed in [&whole[..at], &flipped] {
                std::fs::write(&path, harmed).unwrap();
                let found = read(&path, None).unwrap();
                assert!(found.len() < 2 && both.starts_with(&found), "{at}: {found:?}");
            }
        }
    }
}
