//! A large file on its way into chunks. Chunks that its earlier self had at the same place are recognised by their digest alone; only
//! where it differs are cuts looked for. A database is compared page by page.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::chunking::{CHUNK_MAX, CHUNK_MIN, Cutter, page_of};
use crate::crypto::Digest;
use crate::fs::entry::TreePath;
use crate::id::SourceName;
use crate::limits::PAGES_RUN_SHARE;
use crate::source::SinkError;

use super::base::{Base, Lookup, chunk_id};
use super::index::IndexError;
use super::item::{ChunkId, Content, Item, Piece};
use super::pages::{self, NewPages, OldPages};
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
}

impl<O: FrameOut> Stores<O> {
    pub(super) fn find(&mut self, id: &ChunkId, length: usize) -> Result<Option<Piece>, SinkError> {
        let found = self.lookup.find(self.base.as_deref(), id, length);
        found.map_err(|error| broken(&error))
    }

    fn part(&mut self, part: &Part<'_>) -> Result<Piece, SinkError> {
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
            self.way = self.choose()?;
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

    fn choose(&mut self) -> Result<Way, SinkError> {
        let old = self.old.take();
        if let Some(page) = page_of(&self.buffer) {
            let (folder, spool) = &self.folders;
            let path = pages::path(folder, &self.name.0, &self.name.1);
            let pages = Pages::new(path, spool, page, self.length, old);
            return pages
                .map(|pages| Way::Pages(Box::new(pages)))
                .map_err(|error| broken(&error));
        }
        let guide = match old.map(|old| old.content) {
            Some(Content::Chunks(chunks)) => chunks,
            Some(Content::Nothing | Content::Whole(_) | Content::Pages { .. }) | None => Vec::new(),
        };
        Ok(Way::Chunks(Chunks {
            guide,
            next: Some(0),
            places: None,
            made: Vec::new(),
        }))
    }
}

/// Whether more of the file follows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
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
}

impl Chunks {
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
            if let Some(length) = self.as_before(rest, ending) {
                taken += length;
                continue;
            }
            let length = stores.cutter.cut(rest);
            let data = rest.get(..length).unwrap_or_default();
            let id = chunk_id(&Digest::of(data));
            taken += length;
            if let Some(place) = self.find_old(&id, length) {
                self.made.push(place);
                continue;
            }
            let piece = if let Some(piece) = stores.find(&id, length)? {
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
            self.made.push((piece, id));
        }
    }

    /// Takes the chunk that the earlier self had next, where `rest` begins with it. Gives its length.
    ///
    /// The last chunk of the earlier self may have been short for want of more; a file that grows often would come to consist of
    /// such ones, so it is cut anew.
    fn as_before(&mut self, rest: &[u8], ending: Ending) -> Option<usize> {
        let next = self.next?;
        let (piece, id) = *self.guide.get(next)?;
        let length = piece.length as usize;
        let data = rest.get(..length)?;
        let at_end = ending == Ending::Last && rest.len() == length;
        if length < CHUNK_MIN && !at_end || chunk_id(&Digest::of(data)) != id {
            self.next = None;
            return None;
        }
        self.made.push((piece, id));
        self.next = Some(next + 1);
        Some(length)
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

/// A database in pages.
struct Pages {
    page: usize,
    old: Option<Old>,
    new: NewPages,
    runs: Vec<Piece>,
    /// New pages that were not stored yet, and where the first of them stands.
    pending: Vec<u8>,
    pending_at: u64,
}

/// The earlier state, page by page.
struct Old {
    ids: OldPages,
    runs: std::vec::IntoIter<Piece>,
    /// What is left of the run that the next page lies in.
    run: Piece,
}

impl Pages {
    fn new(path: PathBuf, spool: &Path, page: usize, length: u64, old: Option<Item>) -> Result<Self, IndexError> {
        let page_bytes = u32::try_from(page).map_err(|_| IndexError::Damaged)?;
        let pages = length / page as u64;
        let earlier = old.and_then(|old| match (old.blake3, old.content) {
            (Some(blake3), Content::Pages { page, runs }) if page == page_bytes => Some((blake3, runs)),
            _ => None,
        });
        // A database in too many runs is stored anew: reading it would take a look at every one of them.
        let earlier = earlier.filter(|(_, runs)| runs.len() as u64 <= (pages / PAGES_RUN_SHARE).max(1024));
        let old = match earlier {
            None => None,
            Some((blake3, runs)) => OldPages::open(&path, page_bytes, &blake3)?.map(|ids| Old {
                ids,
                runs: runs.into_iter(),
                run: Piece::default(),
            }),
        };
        Ok(Self {
            page,
            old,
            new: NewPages::new(path, spool, page_bytes)?,
            runs: Vec::new(),
            pending: Vec::new(),
            pending_at: 0,
        })
    }

    fn drain<O: FrameOut>(
        &mut self,
        (name, at): (&(SourceName, TreePath), u64),
        buffer: &[u8],
        stores: &mut Stores<O>,
        ending: Ending,
    ) -> Result<usize, SinkError> {
        let mut taken = 0;
        while let Some(rest) = buffer.get(taken..).filter(|rest| !rest.is_empty()) {
            let page = rest.get(..self.page.min(rest.len())).unwrap_or_default();
            if page.len() < self.page && ending == Ending::More {
                break;
            }
            let id = chunk_id(&Digest::of(page));
            self.new.push(id).map_err(|error| broken(&error.into()))?;
            let place = self.old_place(&id, page.len()).map_err(|error| broken(&error))?;
            if let Some(piece) = place {
                self.flush(name, stores)?;
                self.push(piece);
            } else {
                if self.pending.is_empty() {
                    self.pending_at = at + taken as u64;
                }
                self.pending.extend_from_slice(page);
                if self.pending.len() >= CHUNK_MAX {
                    self.flush(name, stores)?;
                }
            }
            taken += page.len();
        }
        if ending == Ending::Last {
            self.flush(name, stores)?;
        }
        Ok(taken)
    }

    /// Where the earlier state has this page, if it has it at the same place.
    fn old_place(&mut self, id: &ChunkId, length: usize) -> Result<Option<Piece>, IndexError> {
        let Some(old) = &mut self.old else { return Ok(None) };
        let page = u32::try_from(self.page).map_err(|_| IndexError::Damaged)?;
        let Some(old_id) = old.ids.next_id()? else {
            self.old = None;
            return Ok(None);
        };
        if old.run.length == 0 {
            old.run = old.runs.next().ok_or(IndexError::Damaged)?;
        }
        let piece = Piece {
            length: page.min(old.run.length),
            ..old.run
        };
        old.run.offset += piece.length;
        old.run.length -= piece.length;
        Ok((old_id == *id && piece.length as usize == length).then_some(piece))
    }

    fn push(&mut self, piece: Piece) {
        match self.runs.last_mut() {
            Some(last) if last.pack == piece.pack && last.offset + last.length == piece.offset => {
                match last.length.checked_add(piece.length) {
                    Some(length) => last.length = length,
                    None => self.runs.push(piece),
                }
            }
            _ => self.runs.push(piece),
        }
    }

    fn flush<O: FrameOut>(
        &mut self,
        (source, path): &(SourceName, TreePath),
        stores: &mut Stores<O>,
    ) -> Result<(), SinkError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let data = std::mem::take(&mut self.pending);
        let part = Part {
            source,
            path,
            offset: self.pending_at,
            id: chunk_id(&Digest::of(&data)),
            data: &data,
            parts: Parts::Scattered,
        };
        let piece = stores.part(&part)?;
        self.push(piece);
        self.pending = data;
        self.pending.clear();
        Ok(())
    }

    fn finish(mut self: Box<Self>, blake3: Digest) -> Result<Done, SinkError> {
        self.new.end(blake3).map_err(|error| broken(&error.into()))?;
        Ok(Done {
            blake3,
            content: Content::Pages {
                page: u32::try_from(self.page).unwrap_or(0),
                runs: self.runs,
            },
            pages: Some(self.new),
        })
    }
}
