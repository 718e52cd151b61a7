//! The backup that a new one builds on, as this host remembers it: walked beside the tree in the same order, and searched for content
//! that has moved.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use super::arrived::{Arrived, Placed};
use super::index::{Index, IndexError, Items};
use super::item::{ChunkId, Content, Glance, Item, NotAnItem, Piece};
use crate::crypto::Digest;
use crate::fs::entry::cmp_paths;
use crate::id::SourceName;

/// An earlier backup whose packs may be used again.
#[derive(Debug)]
pub struct Base {
    /// Its items.
    pub index: Index,
    /// Numbers of packs that must not be used again: on a list of a sweep, or mostly dead.
    pub condemned: BTreeSet<u32>,
    /// The folder with the digests of the pages of its databases.
    pub pages: PathBuf,
}

impl Base {
    /// Whether any of these pieces lies in a pack that must not be used again.
    pub fn is_condemned(&self, content: &Content) -> bool {
        !self.condemned.is_empty() && content.runs().iter().any(|run| self.condemned.contains(&run.pack))
    }

    /// The digest of the rules by which the source was redacted then; `None` also where the source was not there.
    pub fn redaction(&self, source: &SourceName) -> Option<&str> {
        let mut sections = self.index.footer().sources.iter();
        sections.find(|section| section.name == *source)?.redaction.as_deref()
    }
}

/// The items of one source of the base, at the one that is compared next.
#[derive(Debug)]
pub struct Cursor {
    items: Items,
    at: Option<Glance>,
}

impl Cursor {
    /// Begins at the first item.
    pub fn new(items: Items) -> Result<Self, IndexError> {
        let mut cursor = Self { items, at: None };
        cursor.advance()?;
        Ok(cursor)
    }

    /// Goes to the next item.
    pub fn advance(&mut self) -> Result<(), IndexError> {
        self.at = if self.items.advance()? {
            Some(Item::glance(self.items.body())?)
        } else {
            None
        };
        Ok(())
    }

    /// How the item compares with `path`; `None` at the end.
    pub fn compare(&self, path: &[u8]) -> Option<Ordering> {
        self.at.map(|_| cmp_paths(self.items.path(), path))
    }

    /// What the item is at a glance; `None` at the end.
    pub const fn glance(&self) -> Option<&Glance> {
        self.at.as_ref()
    }

    /// The item's path and body.
    pub fn raw(&self) -> (&[u8], &[u8]) {
        (self.items.path(), self.items.body())
    }

    /// The whole item.
    pub fn item(&self) -> Result<Item, IndexError> {
        Ok(Item::read(self.items.tree_path()?, self.items.body())?)
    }
}

/// Finds content by its digest, wherever it stood before: files that were moved or copied are not stored again.
///
/// Filled when it is asked for the first time, from the base and from what a killed run left; 32 bytes a chunk, about 50 MB for a
/// million.
#[derive(Debug, Default)]
pub struct Lookup {
    places: HashMap<ChunkId, Piece>,
    filled: bool,
    arrived: Vec<Arrived>,
    placed: Placed,
}

impl Lookup {
    /// Knows packs that a killed run left, beside the base; tells `placed` what is stored.
    pub fn new(arrived: Vec<Arrived>, placed: Placed) -> Self {
        Self {
            arrived,
            placed,
            ..Self::default()
        }
    }

    /// Where content with this digest and length lies.
    pub fn find(&mut self, base: Option<&Base>, id: &ChunkId, length: usize) -> Result<Option<Piece>, IndexError> {
        if !self.filled {
            self.filled = true;
            if let Some(base) = base {
                self.fill(base)?;
            }
            self.fill_arrived(base.map_or(0, |base| base.index.footer().packs.len()));
        }
        Ok(self
            .places
            .get(id)
            .copied()
            .filter(|piece| piece.length as usize == length))
    }

    /// Remembers content that was stored in this run.
    pub fn remember(&mut self, id: ChunkId, piece: Piece) {
        self.places.insert(id, piece);
        self.placed.note(id, piece);
    }

    /// Packs of a killed run are numbered behind those of the base.
    fn fill_arrived(&mut self, before: usize) {
        for (number, arrived) in (before..).zip(std::mem::take(&mut self.arrived)) {
            let Ok(pack) = u32::try_from(number) else { return };
            for chunk in arrived.chunks {
                self.places.entry(chunk.id).or_insert(Piece {
                    pack,
                    offset: chunk.offset,
                    length: chunk.length,
                });
            }
        }
    }

    fn fill(&mut self, base: &Base) -> Result<(), IndexError> {
        for section in &base.index.footer().sources {
            let Some(mut items) = base.index.items(&section.name)? else {
                continue;
            };
            while items.advance()? {
                Item::chunks(items.body(), |id, piece| {
                    if !base.condemned.contains(&piece.pack) {
                        self.places.entry(id).or_insert(piece);
                    }
                })?;
            }
        }
        Ok(())
    }
}

/// The first bytes of a digest.
pub fn chunk_id(digest: &Digest) -> ChunkId {
    let mut id = ChunkId::default();
    for (to, from) in id.iter_mut().zip(digest.as_bytes()) {
        *to = *from;
    }
    id
}

impl Item {
    /// Tells the chunks in a body: digest and place. Reads nothing else.
    pub fn chunks(body: &[u8], mut tell: impl FnMut(ChunkId, Piece)) -> Result<(), NotAnItem> {
        let (digest, content) = Self::read_content(body)?;
        match (content, digest) {
            (Content::Whole(piece), Some(digest)) => tell(chunk_id(&digest), piece),
            (Content::Chunks(chunks), _) => chunks.into_iter().for_each(|(piece, id)| tell(id, piece)),
            (Content::Nothing | Content::Pages { .. } | Content::Whole(_), _) => {}
        }
        Ok(())
    }
}
