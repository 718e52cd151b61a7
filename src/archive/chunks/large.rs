//! A large file on its way into chunks. Chunks that its earlier self had at the same place are recognised by their digest alone; only
//! where it differs are cuts looked for.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::chunking::{CHUNK_MAX, CHUNK_MIN, Cutter, page_of};
use crate::crypto::Digest;
use crate::fs::entry::TreePath;
use crate::id::SourceName;
use crate::source::SinkError;

use super::base::{Base, Lookup, chunk_id};
use super::database::Pages;
use super::item::{ChunkId, Content, Item, Piece};
use super::pages::{self, NewPages};
use super::shelf::{FrameOut, Part, Parts, Shelf};
use super::sink::broken;

/// What stores content and finds what is stored.
pub(super) struct Stores<O> {
    pub(super) shelf: Shelf<O>,
    pub(super) lookup: Lookup,
    pub(super) cutter: Cutter,
    pub(super) base: Option<Arc<Base>>,
    /// Bytes of content that was stored.
    pub(super) stored: u64,
    /// In so many stretches of packs may a file lie before its rest is stored anew.
    pub(super) runs_max: usize,
}

impl<O: FrameOut> Stores<O> {
    pub(super) fn find(&mut self, id: &ChunkId, length: usize) -> Result<Option<Piece>, SinkError> {
        let found = self.lookup.find(self.base.as_deref(), id, length);
        found.map_err(|error| broken(&error))
    }

    pub(super) fn part(&mut self, part: &Part<'_>) -> Result<Piece, SinkError> {
        self.stored += part.data.len() as u64;
        self.shelf.part(part).map_err(|_| SinkError::Stopped)
    }
}

/// A file under way.
pub(super) struct Large {
    name: (SourceName, TreePath),
    length: u64,
    /// Where the first byte of `buffer` stands in the file's data.
    at: u64,
    buffer: Vec<u8>,
    whole: blake3::Hasher,
    old: Option<Item>,
    way: Way,
    folders: (PathBuf, PathBuf),
}

enum Way {
    /// Not looked at yet.
    Unknown,
    Chunks(Chunks),
    Pages(Box<Pages>),
}

/// What came of a file.
pub(super) struct Done {
    pub(super) blake3: Digest,
    pub(super) content: Content,
    pub(super) pages: Option<NewPages>,
}

impl Large {
    /// Begins a file of `length` bytes whose earlier self is `old`.
    pub(super) fn new(
        name: (SourceName, TreePath),
        length: u64,
        old: Option<Item>,
        pages: &Path,
        spool: &Path,
    ) -> Self {
        Self {
            name,
            length,
            at: 0,
            buffer: Vec::new(),
            whole: blake3::Hasher::new(),
            old,
            way: Way::Unknown,
            folders: (pages.to_owned(), spool.to_owned()),
        }
    }

    pub(super) fn write<O: FrameOut>(&mut self, data: &[u8], stores: &mut Stores<O>) -> Result<(), SinkError> {
        self.whole.update(data);
        self.buffer.extend_from_slice(data);
        if self.buffer.len() >= 2 * CHUNK_MAX {
            self.drain(stores, Ending::More)?;
        }
        Ok(())
    }

    pub(super) fn finish<O: FrameOut>(mut self, stores: &mut Stores<O>) -> Result<Done, SinkError> {
        self.drain(stores, Ending::Last)?;
        let blake3 = self.whole.finalize().into();
        match self.way {
            Way::Unknown => Ok(Done {
                blake3,
                content: Content::Nothing,
                pages: None,
            }),
            Way::Chunks(chunks) => Ok(Done {
                blake3,
                content: Content::Chunks(chunks.made),
                pages: None,
            }),
            Way::Pages(pages) => pages.finish(blake3),
        }
    }

    fn drain<O: FrameOut>(&mut self, stores: &mut Stores<O>, ending: Ending) -> Result<(), SinkError> {
        if matches!(self.way, Way::Unknown) {
            self.way = self.choose(stores.runs_max)?;
        }
        let taken = match &mut self.way {
            Way::Unknown => 0,
            Way::Chunks(chunks) => chunks.drain((&self.name, self.at), &self.buffer, stores, ending)?,
            Way::Pages(pages) => pages.drain((&self.name, self.at), &self.buffer, stores, ending)?,
        };
        self.at += taken as u64;
        self.buffer.drain(..taken);
        Ok(())
    }

    fn choose(&mut self, runs_max: usize) -> Result<Way, SinkError> {
        let old = self.old.take();
        if let Some(page) = page_of(&self.buffer) {
            let (folder, spool) = &self.folders;
            let path = pages::path(folder, &self.name.0, &self.name.1);
            let pages = Pages::new((path, spool), page, (self.length, runs_max), old);
            return pages
                .map(|pages| Way::Pages(Box::new(pages)))
                .map_err(|error| broken(&error));
        }
        let guide = match old.map(|old| old.content) {
            Some(Content::Chunks(chunks)) => chunks,
            Some(Content::Nothing | Content::Whole(_) | Content::Pages { .. }) | None => Vec::new(),
        };
        Ok(Way::Chunks(Chunks::new(guide, runs_max)))
    }
}

/// Whether more of the file follows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    More,
    Last,
}

/// A file in chunks.
struct Chunks {
    /// The chunks of its earlier self.
    guide: Vec<(Piece, ChunkId)>,
    /// Which of them should come next; `None` where nobody knows.
    next: Option<usize>,
    /// Where each of them stands in `guide`, once the two have differed.
    places: Option<HashMap<ChunkId, usize>>,
    made: Vec<(Piece, ChunkId)>,
    /// Stretches of packs that `made` lies in.
    runs: usize,
    stored: Again,
}

/// Whether content that is stored already is used again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    /// Wherever it is found.
    Used,
    /// Not in this file: it would lie in too many places.
    Anew,
}

impl Chunks {
    fn new(guide: Vec<(Piece, ChunkId)>, runs_max: usize) -> Self {
        let mut chunks = Self {
            guide: Vec::new(),
            next: Some(0),
            places: None,
            made: Vec::new(),
            runs: 0,
            stored: Again::Used,
        };
        let mut last = None;
        let runs = guide.iter().filter(|(piece, _)| !touches(last.replace(*piece), piece));
        if runs.count() > runs_max / 2 {
            chunks.store_anew();
        } else {
            chunks.guide = guide;
        }
        chunks
    }

    /// From here on everything is stored, whether it is there already or not: a file in too many places would have a line in the
    /// catalog that nobody reads, and reading it would take a look at every one of them.
    fn store_anew(&mut self) {
        self.stored = Again::Anew;
        self.guide = Vec::new();
        self.places = None;
        self.next = None;
    }

    fn push(&mut self, place: (Piece, ChunkId), runs_max: usize) {
        let last = self.made.last().map(|(piece, _)| *piece);
        self.runs += usize::from(!touches(last, &place.0));
        self.made.push(place);
        if self.runs >= runs_max {
            self.store_anew();
        }
    }

    /// Cuts as much of `buffer` as can be cut; gives the bytes taken.
    fn drain<O: FrameOut>(
        &mut self,
        ((source, path), at): (&(SourceName, TreePath), u64),
        buffer: &[u8],
        stores: &mut Stores<O>,
        ending: Ending,
    ) -> Result<usize, SinkError> {
        let mut taken = 0;
        loop {
            let rest = buffer.get(taken..).unwrap_or_default();
            if rest.is_empty() || ending == Ending::More && rest.len() < CHUNK_MAX {
                return Ok(taken);
            }
            if let Some(place) = self.as_before(rest, ending) {
                taken += place.0.length as usize;
                self.push(place, stores.runs_max);
                continue;
            }
            let length = stores.cutter.cut(rest);
            let data = rest.get(..length).unwrap_or_default();
            let id = chunk_id(&Digest::of(data));
            taken += length;
            if let Some(place) = self.find_old(&id, length) {
                self.push(place, stores.runs_max);
                continue;
            }
            let found = match self.stored {
                Again::Used => stores.find(&id, length)?,
                Again::Anew => None,
            };
            let piece = if let Some(piece) = found {
                piece
            } else {
                let part = Part {
                    source,
                    path,
                    offset: at + (taken - length) as u64,
                    id,
                    data,
                    parts: Parts::Touching,
                };
                let piece = stores.part(&part)?;
                stores.lookup.remember(id, piece);
                piece
            };
            self.push((piece, id), stores.runs_max);
        }
    }

    /// Takes the chunk that the earlier self had next, where `rest` begins with it.
    ///
    /// The last chunk of the earlier self may have been short for want of more; a file that grows often would come to consist of
    /// such ones, so it is cut anew.
    fn as_before(&mut self, rest: &[u8], ending: Ending) -> Option<(Piece, ChunkId)> {
        let next = self.next?;
        let (piece, id) = *self.guide.get(next)?;
        let length = piece.length as usize;
        let data = rest.get(..length)?;
        let at_end = ending == Ending::Last && rest.len() == length;
        if length < CHUNK_MIN && !at_end || chunk_id(&Digest::of(data)) != id {
            self.next = None;
            return None;
        }
        self.next = Some(next + 1);
        Some((piece, id))
    }

    /// Finds a chunk anywhere in the earlier self, and goes on from there.
    fn find_old(&mut self, id: &ChunkId, length: usize) -> Option<(Piece, ChunkId)> {
        let guide = &self.guide;
        let places = self
            .places
            .get_or_insert_with(|| guide.iter().enumerate().map(|(at, (_, id))| (*id, at)).collect());
        let at = *places.get(id)?;
        let (piece, id) = *self.guide.get(at)?;
        if piece.length as usize != length {
            return None;
        }
        self.next = Some(at + 1);
        Some((piece, id))
    }
}

/// Whether a piece goes on where the one before it ends.
pub(super) fn touches(last: Option<Piece>, piece: &Piece) -> bool {
    last.is_some_and(|last| last.pack == piece.pack && last.offset.checked_add(last.length) == Some(piece.offset))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::ordered::Gone;
    use crate::fs::entry::{Entry, Kind, Metadata};

    struct Nowhere;

    impl FrameOut for Nowhere {
        fn buffer(&mut self) -> Vec<u8> {
            Vec::new()
        }

        fn frame(&mut self, _: u32, _: Vec<u8>) -> Result<(), Gone> {
            Ok(())
        }
    }

    fn stores(runs_max: usize) -> Stores<Nowhere> {
        Stores {
            shelf: Shelf::new(Nowhere),
            lookup: Lookup::default(),
            cutter: Cutter::new(0),
            base: None,
            stored: 0,
            runs_max,
        }
    }

    fn noise(seed: u64, bytes: usize) -> Vec<u8> {
        let mut state = seed | 1;
        let next = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_be_bytes()[0]
        };
        (0..bytes).map(next).collect()
    }

    /// Stores `data` on top of `old`: what came of it, and the bytes stored.
    fn write(
        data: &[u8],
        old: Option<Item>,
        folder: &Path,
        stores: &mut Stores<Nowhere>,
    ) -> (Item, Option<NewPages>, u64) {
        let path = TreePath::parse(b"file").unwrap();
        let name = ("data".parse().unwrap(), path.clone());
        let before = stores.stored;
        let mut large = Large::new(name, data.len() as u64, old, folder, folder);
        for block in data.chunks(1 << 20) {
            large.write(block, stores).unwrap();
        }
        let done = large.finish(stores).unwrap();
        assert_eq!(done.blake3, Digest::of(data));
        let item = Item {
            entry: Entry {
                path,
                kind: Kind::File {
                    size: data.len() as u64,
                    extents: None,
                },
                metadata: Metadata::default(),
                stat: None,
            },
            blake3: Some(done.blake3),
            content: done.content,
            marks: super::super::item::Marks::default(),
            written: 1,
            covers: false,
        };
        let held: u64 = item.content.runs().iter().map(|run| u64::from(run.length)).sum();
        assert_eq!(held, data.len() as u64, "every byte lies somewhere");
        (item, done.pages, stores.stored - before)
    }

    const PAGE: usize = 4096;

    fn database(pages: usize) -> Vec<u8> {
        let mut data = noise(7, pages * PAGE);
        data[..16].copy_from_slice(b"SQLite format 3\0");
        data[16..18].copy_from_slice(&4096_u16.to_be_bytes());
        data
    }

    #[test]
    fn the_rest_of_a_database_in_too_many_runs_is_stored_anew_and_all_of_it_the_next_time() {
        let folder = tempfile::tempdir().unwrap();
        let (bound, pages) = (200, 4096);
        let mut stores = stores(bound);
        let mut data = database(pages);
        let (old, ids, _) = write(&data, None, folder.path(), &mut stores);
        ids.unwrap().commit().unwrap();
        let few = old.content.runs().len();
        assert!(few < 20, "{few} runs");
        // One page in four: two runs for each.
        for page in (1..pages).step_by(4) {
            data[page * PAGE + 100] ^= 1;
        }
        let (middle, ids, stored) = write(&data, Some(old), folder.path(), &mut stores);
        ids.unwrap().commit().unwrap();
        let runs = middle.content.runs().len();
        assert!((bound..bound + 2 * few).contains(&runs), "{runs} runs");
        assert!(stored < data.len() as u64, "what lies in few runs is used again");
        data[5 * PAGE] ^= 1;
        let (new, _, stored) = write(&data, Some(middle), folder.path(), &mut stores);
        assert!(new.content.runs().len() <= few);
        assert_eq!(stored, data.len() as u64);
    }

    #[test]
    fn the_rest_of_a_file_in_too_many_runs_is_stored_anew_and_all_of_it_the_next_time() {
        let folder = tempfile::tempdir().unwrap();
        let bound = 40;
        let mut stores = stores(bound);
        let mut data = noise(11, 64 << 20);
        let (old, _, _) = write(&data, None, folder.path(), &mut stores);
        let few = old.content.runs().len();
        assert!(few < bound / 2, "{few} runs");
        for place in data.chunks_mut(1 << 20) {
            place[0] ^= 1;
        }
        let (middle, _, stored) = write(&data, Some(old), folder.path(), &mut stores);
        let runs = middle.content.runs().len();
        assert!((bound..bound + few + 2).contains(&runs), "{runs} runs");
        assert!(stored < data.len() as u64);
        data[0] ^= 1;
        let (new, _, stored) = write(&data, Some(middle), folder.path(), &mut stores);
        assert!(new.content.runs().len() <= few + 1);
        assert_eq!(stored, data.len() as u64);
    }
}
