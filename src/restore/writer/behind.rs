//! Large files are written by threads of their own, behind whoever hands the entries on: while one unpacks, others write, past the
//! page cache where the file system knows how.
//!
//! A file gets its properties from whichever thread writes the last of it, since every write would set its time anew.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::{WriteOptions, properties};
use crate::fs::create::{self, Made, Shortfall};
use crate::fs::direct::{Block, Direct};
use crate::fs::entry::{Entry, Kind, Metadata, TreePath};
use crate::limits::{RESTORE_PIECE, RESTORE_PIECES, RESTORE_WRITERS};
use crate::restore::current_file::ask_for_room;
use crate::restore::error::{RestoreError, Trick};

/// The threads, and the buffers that go round between them and whoever fills these.
pub(super) struct Behind {
    work: Option<Sender<Piece>>,
    free: Receiver<Block>,
    /// Buffers of files that were given up.
    spare: Vec<Block>,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What the threads tell.
struct Shared {
    options: WriteOptions,
    failed: AtomicBool,
    error: Mutex<Option<RestoreError>>,
    shortfalls: Mutex<Vec<(TreePath, Shortfall)>>,
}

/// A file that is written behind.
struct Late {
    path: TreePath,
    metadata: Metadata,
    size: u64,
    file: File,
    direct: Option<Direct>,
    /// Pieces that are not written yet, and one for whoever hands them on.
    outstanding: AtomicUsize,
    /// Set when the last piece was handed on: an abandoned file gets no properties.
    whole: AtomicBool,
}

/// A part of a file.
struct Piece {
    late: Arc<Late>,
    block: Block,
    length: usize,
    offset: u64,
}

/// The file whose content is being handed on.
pub(super) struct LateFile {
    late: Arc<Late>,
    block: Option<Block>,
    filled: usize,
    handed: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LateFile {
    /// Takes a new, empty file of `size` bytes in `folder`.
    pub(super) fn new(folder: impl AsFd, file: File, entry: &Entry, size: u64) -> io::Result<Self> {
        ask_for_room(&file, size)?;
        Ok(Self {
            late: Arc::new(Late {
                path: entry.path.clone(),
                metadata: entry.metadata.clone(),
                size,
                direct: Direct::open(folder, entry.path.name()),
                file,
                outstanding: AtomicUsize::new(1),
                whole: AtomicBool::new(false),
            }),
            block: None,
            filled: 0,
            handed: 0,
        })
    }

    pub(super) fn path(&self) -> &TreePath {
        &self.late.path
    }

    pub(super) fn size(&self) -> u64 {
        self.late.size
    }
}

impl Behind {
    /// Starts the threads.
    pub(super) fn start(options: WriteOptions) -> io::Result<Self> {
        let (work, pieces) = channel();
        let (back, free) = channel();
        for _ in 0..RESTORE_PIECES {
            // Its other end is here.
            let _ = back.send(Block::new(RESTORE_PIECE));
        }
        let shared = Arc::new(Shared {
            options,
            failed: AtomicBool::new(false),
            error: Mutex::default(),
            shortfalls: Mutex::default(),
        });
        let mut behind = Self {
            work: Some(work),
            free,
            spare: Vec::new(),
            shared,
            threads: Vec::new(),
        };
        let pieces = Arc::new(Mutex::new(pieces));
        for number in 0..RESTORE_WRITERS {
            let (pieces, shared, back) = (Arc::clone(&pieces), Arc::clone(&behind.shared), back.clone());
            let name = format!("restore-{number}");
            let work = move || write_pieces(&pieces, &shared, &back);
            behind.threads.push(std::thread::Builder::new().name(name).spawn(work)?);
        }
        Ok(behind)
    }

    /// Hands the next bytes of a file on; waits while all buffers are full.
    pub(super) fn write(&mut self, to: &mut LateFile, mut data: &[u8]) -> Result<(), RestoreError> {
        while !data.is_empty() {
            let left = to.late.size - to.handed - to.filled as u64;
            if left == 0 {
                return Err(RestoreError::hostile(&to.late.path, Trick::TooMuch));
            }
            let mut block = match to.block.take().or_else(|| self.spare.pop()) {
                Some(block) => block,
                // Nobody gives any back when the threads are gone.
                None => self.free.recv().map_err(|_| self.why())?,
            };
            let room = block.bytes_mut().get_mut(to.filled..).unwrap_or_default();
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(room.len());
            let (now, later) = data.split_at(most.min(data.len()));
            if let Some(room) = room.get_mut(..now.len()) {
                room.copy_from_slice(now);
            }
            to.filled += now.len();
            data = later;
            if to.filled == RESTORE_PIECE || to.filled as u64 == to.late.size - to.handed {
                self.hand_on(to, block)?;
            } else {
                to.block = Some(block);
            }
        }
        Ok(())
    }

    fn hand_on(&self, to: &mut LateFile, block: Block) -> Result<(), RestoreError> {
        to.late.outstanding.fetch_add(1, Ordering::AcqRel);
        let piece = Piece {
            late: Arc::clone(&to.late),
            block,
            length: std::mem::take(&mut to.filled),
            offset: to.handed,
        };
        to.handed += piece.length as u64;
        match &self.work {
            Some(work) if !self.shared.failed.load(Ordering::Acquire) => work.send(piece).map_err(|_| self.why()),
            _ => Err(self.why()),
        }
    }

    /// Ends a file, all of whose content must have come.
    pub(super) fn end(&self, file: &LateFile) -> Result<(), RestoreError> {
        if file.handed != file.late.size {
            return Err(RestoreError::hostile(&file.late.path, Trick::TooLittle));
        }
        file.late.whole.store(true, Ordering::Release);
        file.late.one_less(&self.shared)
    }

    /// Gives a file up, which someone is about to remove.
    pub(super) fn abandon(&mut self, file: LateFile) {
        self.spare.extend(file.block);
    }

    /// Waits until everything is written, and gives what could not be set.
    pub(super) fn finish(mut self) -> Result<Vec<(TreePath, Shortfall)>, RestoreError> {
        self.join();
        match lock(&self.shared.error).take() {
            Some(error) => Err(error),
            None => Ok(std::mem::take(&mut lock(&self.shared.shortfalls))),
        }
    }

    fn join(&mut self) {
        self.work = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                self.shared.fail(RestoreError::Unfinished);
            }
        }
    }

    /// Why writing does not go on.
    fn why(&self) -> RestoreError {
        lock(&self.shared.error).take().unwrap_or(RestoreError::Unfinished)
    }
}

/// Nothing is written any more once this is gone.
impl Drop for Behind {
    fn drop(&mut self) {
        self.shared.failed.store(true, Ordering::Release);
        self.join();
    }
}

impl Shared {
    /// Keeps the first error.
    fn fail(&self, error: RestoreError) {
        lock(&self.error).get_or_insert(error);
        self.failed.store(true, Ordering::Release);
    }
}

impl Late {
    fn write(&self, bytes: &Block, length: usize, offset: u64) -> Result<(), RestoreError> {
        let bytes_of_it = bytes.bytes().get(..length).unwrap_or_default();
        let past = match &self.direct {
            Some(direct) => direct.put(bytes_of_it, offset),
            None => Ok(0),
        };
        past.and_then(|past| {
            let rest = bytes_of_it.get(past..).unwrap_or_default();
            self.file.write_all_at(rest, offset + past as u64)
        })
        .map_err(|error| RestoreError::entry("write", &self.path, error))
    }

    /// Counts one piece, or whoever hands them on, as done; after the last the file gets its properties.
    fn one_less(&self, shared: &Shared) -> Result<(), RestoreError> {
        if self.outstanding.fetch_sub(1, Ordering::AcqRel) > 1 || !self.whole.load(Ordering::Acquire) {
            return Ok(());
        }
        let kind = Kind::File {
            size: self.size,
            extents: None,
        };
        let wanted = properties(&shared.options, &self.metadata, &kind);
        let short = create::apply(Made::Open(self.file.as_fd()), &wanted)
            .map_err(|error| RestoreError::entry("set the properties of", &self.path, error))?;
        if !short.is_none() {
            lock(&shared.shortfalls).push((self.path.clone(), short));
        }
        Ok(())
    }
}

/// Writes what comes, until nothing comes any more; after a failure nothing more is written.
fn write_pieces(pieces: &Mutex<Receiver<Piece>>, shared: &Shared, back: &Sender<Block>) {
    loop {
        // The guard is let go before the work begins.
        let next = lock(pieces).recv();
        let Ok(piece) = next else { return };
        let Piece {
            late,
            block,
            length,
            offset,
        } = piece;
        if !shared.failed.load(Ordering::Acquire) {
            let done = late.write(&block, length, offset).and_then(|()| late.one_less(shared));
            if let Err(error) = done {
                shared.fail(error);
            }
        }
        // Nobody fills a buffer once the other end has gone.
        let _ = back.send(block);
    }
}
