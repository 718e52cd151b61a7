//! A database on its way into pages: it is compared with its earlier state page by page, and only pages that differ are stored.

use std::path::{Path, PathBuf};

use crate::chunking::CHUNK_MAX;
use crate::crypto::Digest;
use crate::fs::entry::TreePath;
use crate::id::SourceName;
use crate::limits::PAGES_RUN_SHARE;
use crate::source::SinkError;

use super::base::chunk_id;
use super::index::IndexError;
use super::item::{ChunkId, Content, Item, Piece};
use super::large::{Done, Ending, Stores, touches};
use super::pages::{NewPages, OldPages};
use super::shelf::{FrameOut, Part, Parts};
use super::sink::broken;

/// A database in pages.
pub(super) struct Pages {
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
    pub(super) fn new(
        (path, spool): (PathBuf, &Path),
        page: usize,
        (length, runs_max): (u64, usize),
        old: Option<Item>,
    ) -> Result<Self, IndexError> {
        let page_bytes = u32::try_from(page).map_err(|_| IndexError::Damaged)?;
        let pages = length / page as u64;
        let earlier = old.and_then(|old| match (old.blake3, old.content) {
            (Some(blake3), Content::Pages { page, runs }) if page == page_bytes => Some((blake3, runs)),
            _ => None,
        });
        // A database in too many runs is stored anew: reading it would take a look at every one of them.
        let most = (pages / PAGES_RUN_SHARE).max(1024).min(runs_max as u64 / 2);
        let earlier = earlier.filter(|(_, runs)| runs.len() as u64 <= most);
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

    pub(super) fn drain<O: FrameOut>(
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
            if self.runs.len() >= stores.runs_max {
                self.old = None;
            }
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
            Some(last) if touches(Some(*last), &piece) => match last.length.checked_add(piece.length) {
                Some(length) => last.length = length,
                None => self.runs.push(piece),
            },
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

    pub(super) fn finish(mut self: Box<Self>, blake3: Digest) -> Result<Done, SinkError> {
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
