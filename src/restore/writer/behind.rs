//! Files are written by threads of their own, behind whoever hands the entries on: while one unpacks, others write. Large files go
//! past the page cache where the file system knows how; small ones are made many at a time.
//!
//! A file gets its properties from whichever thread writes the last of it, since every write would set its time anew.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::small::{Batch, Place, SmallFile};
use super::{WriteOptions, owner};
use crate::fs::create::{Made, Shortfall};
use crate::fs::direct::{Block, Direct};
use crate::fs::entry::{Entry, Kind, Metadata, TreePath};
use crate::limits::{RESTORE_PIECE, RESTORE_PIECES, RESTORE_WRITERS};
use crate::poison::lock;
use crate::restore::current_file::ask_for_room;
use crate::restore::error::{RestoreError, Trick};
use crate::restore::shortfalls::Shortfalls;

/// The threads, and the buffers that go round between them and whoever fills these.
pub(super) struct Behind {
    work: Option<Sender<Work>>,
    free: Receiver<Block>,
    /// Buffers that came back, and those of files that were given up.
    spare: Vec<Block>,
    /// Small files that are not handed on yet.
    batch: Option<Batch>,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What the threads know, and what they tell.
pub(super) struct Shared {
    pub(super) options: WriteOptions,
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

/// A part of a large file.
struct Piece {
    late: Arc<Late>,
    block: Block,
    length: usize,
    offset: u64,
}

/// What a thread does at a time.
enum Work {
    Piece(Piece),
    Batch(Batch),
}

/// The file whose content is being handed on.
pub(super) struct LateFile {
    late: Arc<Late>,
    block: Option<Block>,
    filled: usize,
    handed: u64,
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
        let (work, waiting) = channel();
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
            batch: None,
            shared,
            threads: Vec::new(),
        };
        let waiting = Arc::new(Mutex::new(waiting));
        for number in 0..RESTORE_WRITERS {
            let (waiting, shared, back) = (Arc::clone(&waiting), Arc::clone(&behind.shared), back.clone());
            let name = format!("restore-{number}");
            let work = move || do_work(&waiting, &shared, &back);
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
            let mut block = match to.block.take() {
                Some(block) => block,
                None => self.block()?,
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
        self.send(Work::Piece(piece))
    }

    fn send(&self, what: Work) -> Result<(), RestoreError> {
        match &self.work {
            Some(work) if !self.shared.failed.load(Ordering::Acquire) => work.send(what).map_err(|_| self.why()),
            _ => Err(self.why()),
        }
    }

    /// A buffer; waits while all are in use.
    fn block(&mut self) -> Result<Block, RestoreError> {
        match self.spare.pop() {
            Some(block) => Ok(block),
            // Nobody gives any back when the threads are gone.
            None => self.free.recv().map_err(|_| self.why()),
        }
    }

    /// Begins a small file, which fits into a buffer: it is made together with others.
    pub(super) fn begin_small(&mut self, file: &SmallFile) -> Result<(), RestoreError> {
        if self.batch.as_ref().is_some_and(|batch| !batch.has_room(file.size)) {
            self.hand_on_batch()?;
        }
        if self.batch.is_none() {
            self.batch = Some(Batch::new(self.block()?));
        }
        Ok(())
    }

    /// Takes the next bytes of the small file that was begun.
    pub(super) fn write_small(&mut self, file: &SmallFile, data: &[u8]) -> Result<(), RestoreError> {
        let batch = self.batch.as_mut().ok_or(RestoreError::Unfinished)?;
        batch
            .write(file.size, data)
            .map_err(|trick| RestoreError::hostile(&file.path, trick))
    }

    /// Ends the small file that was begun, all of whose content must have come.
    pub(super) fn end_small(&mut self, file: SmallFile) -> Result<(), RestoreError> {
        let batch = self.batch.as_mut().ok_or(RestoreError::Unfinished)?;
        batch.end(file)
    }

    /// Gives up the small file that was begun: it is not made.
    pub(super) fn abandon_small(&mut self) {
        if let Some(batch) = &mut self.batch {
            batch.abandon();
        }
    }

    fn hand_on_batch(&mut self) -> Result<(), RestoreError> {
        match self.batch.take() {
            Some(batch) => self.send(Work::Batch(batch)),
            None => Ok(()),
        }
    }

    /// Waits until all that was begun and ended is made.
    pub(super) fn settle(&mut self) -> Result<(), RestoreError> {
        self.hand_on_batch()?;
        while self.spare.len() < RESTORE_PIECES {
            let block = self.free.recv().map_err(|_| self.why())?;
            self.spare.push(block);
        }
        if self.shared.failed.load(Ordering::Acquire) {
            return Err(self.why());
        }
        Ok(())
    }

    /// Leaves a folder in which files may still have to be made: it gets its properties once they are.
    pub(super) fn leave(&self, place: Arc<Place>, path: TreePath, metadata: Metadata) -> Result<(), RestoreError> {
        place.leave(path, metadata);
        Place::one_less(place, &self.shared)
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

    /// Notes what could not be set until now.
    pub(super) fn note_shortfalls(&self, shortfalls: &mut Shortfalls) {
        let told = std::mem::take(&mut *lock(&self.shared.shortfalls));
        for (path, short) in told {
            shortfalls.note(&path, short);
        }
    }

    /// Waits until everything is written, and notes what could not be set.
    pub(super) fn finish(mut self, shortfalls: &mut Shortfalls) -> Result<(), RestoreError> {
        self.hand_on_batch()?;
        self.join();
        if let Some(error) = lock(&self.shared.error).take() {
            return Err(error);
        }
        self.note_shortfalls(shortfalls);
        Ok(())
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

    /// Gives what was made its properties.
    pub(super) fn apply(
        &self,
        made: Made<'_>,
        kind: &Kind,
        path: &TreePath,
        metadata: &Metadata,
    ) -> Result<(), RestoreError> {
        let short = owner::apply(&self.options, made, kind, path, metadata)?;
        if !short.is_none() {
            lock(&self.shortfalls).push((path.clone(), short));
        }
        Ok(())
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
        shared.apply(Made::Open(self.file.as_fd()), &kind, &self.path, &self.metadata)
    }
}

impl Piece {
    fn write(&self, shared: &Shared) -> Result<(), RestoreError> {
        self.late.write(&self.block, self.length, self.offset)?;
        self.late.one_less(shared)
    }
}

/// Does what comes, until nothing comes any more; after a failure nothing more is written.
fn do_work(waiting: &Mutex<Receiver<Work>>, shared: &Shared, back: &Sender<Block>) {
    loop {
        // The guard is let go before the work begins.
        let next = lock(waiting).recv();
        let Ok(work) = next else { return };
        let work = || match work {
            _ if shared.failed.load(Ordering::Acquire) => (Ok(()), work.into_block()),
            Work::Piece(piece) => (piece.write(shared), piece.block),
            Work::Batch(batch) => batch.make(shared),
        };
        // A buffer comes back whatever happens: someone may wait for it.
        let (done, block) = catch_unwind(AssertUnwindSafe(work))
            .unwrap_or_else(|_| (Err(RestoreError::Unfinished), Block::new(RESTORE_PIECE)));
        if let Err(error) = done {
            shared.fail(error);
        }
        // Nobody fills a buffer once the other end has gone.
        let _ = back.send(block);
    }
}

impl Work {
    fn into_block(self) -> Block {
        match self {
            Self::Piece(piece) => piece.block,
            Self::Batch(batch) => batch.into_block(),
        }
    }
}
