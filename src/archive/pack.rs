//! From a captured tree to stored objects in one streaming dataflow: capture → frames → compressors → digest → targets.
//!
//! What is in memory at once is bounded by the queues: a few frames a core and a few pieces a target.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use async_compression::Level;
use async_compression::tokio::bufread::GzipEncoder;
use bytes::Bytes;
use tokio::io::AsyncReadExt;
use tokio_util::io::StreamReader;

use crate::codec::Codec;
use crate::codec::frames::{self, Buffers, FrameError, StoredFrame};
use crate::codec::ordered::{Gone, Jobs, Results};
use crate::codec::seek_table::{self, FrameLength, SeekTableError};
use crate::crypto::Digest;
use crate::crypto::age::{self, AgeError, Sealer};
use crate::diagnostic::{Code, Diagnostic};
use crate::event::Events;
use crate::id::{SourceName, TargetName};
use crate::limits::{FRAMES_QUEUED, READ_BLOCK};
use crate::source::SinkError;
use crate::target::{Target, TargetError};

use super::chunks::publish::PublishError;
use super::epoch::HostEpoch;
use super::fan::{Fan, Item, Queue, fan_out};
use super::layout;
use super::naming::{Naming, Sealing};
use super::record::{ArchiveRecord, ObjectRecord, PacksRecord, SegmentRecord};
use super::refs::{Ref, Refs};
use super::sweep::doomed::Doomed;
use super::tar_sink::{Pieces, TarSink};

/// Level of the small objects, catalogs and refs.
const SMALL_OBJECT_LEVEL: i32 = 3;

/// How an archive is made and where it goes.
#[derive(Clone)]
pub struct Packing {
    /// Codec.
    pub codec: Codec,
    /// Level of the codec.
    pub level: i32,
    /// Object name of the archive.
    pub archive: String,
    /// Targets.
    pub targets: Vec<Target>,
    /// How many of them must take it.
    pub required: usize,
    /// Objects that must not be relied on where they are there already.
    pub doomed: Arc<Doomed>,
    /// What everything is sealed to.
    pub epoch: Option<Arc<HostEpoch>>,
    /// Ends the capture once it is set.
    pub stop: Arc<AtomicBool>,
}

/// Content and a catalog that lie in targets, without a record as yet.
pub struct Packed<T> {
    /// What the capture gave.
    pub captured: T,
    /// The content.
    pub content: Content,
    /// What content and catalog are sealed to.
    pub epoch: Option<Arc<HostEpoch>>,
    /// The catalog.
    pub segments: Vec<SegmentRecord>,
    /// What has changed since the segments were written.
    pub patch: Vec<SegmentRecord>,
    /// Targets that took everything.
    pub targets: Vec<Target>,
    /// By target: objects that it had before and that the backup relies on.
    pub reused: BTreeMap<TargetName, Vec<String>>,
    /// Those of them that an earlier backup stored, and this run did not make: reading back looks only whether they are there.
    pub built_on: BTreeSet<String>,
    /// Objects that must not be relied on where they are there already.
    pub doomed: Arc<Doomed>,
    /// Targets that failed, each with its error.
    pub left_out: Vec<(Target, TargetError)>,
}

/// What holds the content of a backup.
pub enum Content {
    /// One archive.
    Archive(ArchiveRecord),
    /// Packs, some of which may have been there before.
    Packs(Vec<PackObject>),
}

/// A pack of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackObject {
    /// Object name, which holds the digest of the stored object.
    pub name: String,
    /// Stored bytes.
    pub bytes: u64,
    /// Bytes of its plain text that the backup uses.
    pub live: u64,
    /// Whether this backup stored it, or a run that was killed before it.
    pub origin: Origin,
}

/// Whose an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This run stored it, or one that was killed: no record told of it before.
    New,
    /// It was there before.
    Reused,
}

impl<T> Packed<T> {
    /// Everything that the backup needs, but for its record, its sums and the list itself.
    pub fn refs(&self) -> Refs {
        let content = match &self.content {
            Content::Archive(archive) => vec![Ref {
                name: archive.name.clone(),
                bytes: archive.bytes,
                plain_bytes: archive.plain_bytes,
            }],
            Content::Packs(packs) => packs
                .iter()
                .map(|pack| Ref {
                    name: pack.name.clone(),
                    bytes: pack.bytes,
                    plain_bytes: pack.live,
                })
                .collect(),
        };
        let segments = self.segments.iter().chain(&self.patch).map(|segment| Ref {
            name: segment.name.clone(),
            bytes: segment.bytes,
            plain_bytes: segment.plain_bytes,
        });
        Refs::new(content.into_iter().chain(segments))
    }

    /// The archive, for the record.
    pub fn archive(&self) -> Option<ArchiveRecord> {
        match &self.content {
            Content::Archive(archive) => Some(archive.clone()),
            Content::Packs(_) => None,
        }
    }

    /// The packs, for the record.
    pub fn packs(&self) -> Option<PacksRecord> {
        let Content::Packs(packs) = &self.content else {
            return None;
        };
        let new = || packs.iter().filter(|pack| pack.origin == Origin::New);
        Some(PacksRecord {
            count: packs.len() as u64,
            bytes: packs.iter().map(|pack| pack.bytes).sum(),
            plain_bytes: packs.iter().map(|pack| pack.live).sum(),
            new: new().count() as u64,
            new_bytes: new().map(|pack| pack.bytes).sum(),
        })
    }
}

/// Why nothing was packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError<E> {
    /// The capture failed.
    #[error("the capture failed")]
    Capture(E),
    /// Too few targets took the archive; these are the errors of those that did not.
    #[error("too few targets took the archive")]
    Targets(Vec<(Target, TargetError)>),
    /// A compressor failed.
    #[error("compression failed")]
    Compress(#[source] FrameError),
    /// A stream codec failed.
    #[error("compression failed")]
    Stream(#[source] std::io::Error),
    /// The archive has more frames than its table can hold.
    #[error("the archive is too large for its table of frames")]
    Table(#[source] SeekTableError),
    /// The sink could not go on.
    #[error("{}", .0.what)]
    Sink(Box<Diagnostic>),
    /// Sealing failed.
    #[error("sealing failed")]
    Seal(#[source] AgeError),
    /// The catalog could not be made, or what this host remembers could not be read or written.
    #[error("the catalog could not be made")]
    Catalog(#[source] PublishError),
    /// A thread of the program ended early.
    #[error("a part of the program ended early")]
    Died,
}

/// What the capture writes into.
pub type PackSink = TarSink<Outlet>;

/// Runs `capture` on a thread of its own and stores what it hands on.
pub async fn pack<T, E>(
    packing: Packing,
    first: SourceName,
    events: &Events,
    capture: impl FnOnce(&mut PackSink) -> Result<T, E> + Send + 'static,
) -> Result<Packed<T>, PackError<E>>
where
    T: Send + 'static,
    E: Send + 'static,
{
    let (fan, uploads) = fan_out(
        &packing.targets,
        &packing.archive,
        packing.required,
        Queue::Pieces,
        events,
    );
    let buffers = Buffers::default();
    let (plain, stored) = encoder(packing.codec, packing.level, &buffers).map_err(PackError::Stream)?;
    let complete = Arc::new(AtomicBool::new(false));
    let (collector_fan, collector_complete) = (fan.clone(), Arc::clone(&complete));
    let sealing = Sealing::of(packing.epoch.as_deref());
    let collector = tokio::task::spawn_blocking(move || collect(stored, collector_fan, sealing, &collector_complete));
    let stop = Arc::clone(&packing.stop);
    let naming = Naming {
        sealing,
        doomed: Arc::clone(&packing.doomed),
        salt: packing.archive.clone(),
    };
    let epoch = packing.epoch.clone();
    let capturer = tokio::task::spawn_blocking(move || {
        let outlet = Outlet {
            plain,
            fan,
            segments: Vec::new(),
            naming,
            epoch,
        };
        let mut sink = TarSink::new(outlet, buffers, first, stop);
        let captured = capture(&mut sink)?;
        // Only a whole capture sets the mark, and it does so before the collector can see the end of the queue.
        let finished = sink.finish().map(|(outlet, plain_bytes)| {
            complete.store(true, Ordering::Release);
            (outlet.segments, plain_bytes)
        });
        Ok((captured, finished))
    });
    let captured = capturer.await.map_err(|_| PackError::Died)?;
    let collected = collector.await.map_err(|_| PackError::Died)?;
    let uploaded = uploads.finish().await;
    if uploaded.stored.len() < packing.required.max(1) && !uploaded.failed.is_empty() {
        return Err(PackError::Targets(uploaded.failed));
    }
    // A compressor that failed also stops the capture, so its error comes first.
    let collected = match collected {
        Err(CollectError::Frame(error)) => return Err(PackError::Compress(error)),
        Err(CollectError::Stream(error)) => return Err(PackError::Stream(error)),
        Err(CollectError::Table(error)) => return Err(PackError::Table(error)),
        Err(CollectError::Seal(error)) => return Err(PackError::Seal(error)),
        Err(CollectError::Gone) => None,
        Ok(collected) => Some(collected),
    };
    let (captured, finished) = captured.map_err(PackError::Capture)?;
    let (bytes, blake3) = collected.ok_or(PackError::Died)?;
    let (segments, plain_bytes) = finished.map_err(|_| PackError::Died)?;
    Ok(Packed {
        captured,
        content: Content::Archive(ArchiveRecord {
            name: packing.archive,
            codec: packing.codec,
            bytes,
            plain_bytes,
            blake3,
        }),
        epoch: packing.epoch,
        patch: Vec::new(),
        segments,
        reused: uploaded
            .stored
            .iter()
            .map(|(target, had)| (target.name().clone(), had.clone()))
            .collect(),
        targets: uploaded.stored.into_iter().map(|(target, _)| target).collect(),
        built_on: BTreeSet::new(),
        doomed: packing.doomed,
        left_out: uploaded.failed,
    })
}

/// Where plain frames go in.
enum PlainIn {
    Frames(Jobs<Vec<u8>, Result<StoredFrame, FrameError>>),
    Stream(SyncSender<Bytes>),
    Gzip(tokio::sync::mpsc::Sender<std::io::Result<Bytes>>),
}

/// Where stored bytes come out.
enum StoredOut {
    Frames(Results<Result<StoredFrame, FrameError>>),
    Stream(Receiver<Bytes>),
    Gzip(tokio::sync::mpsc::Receiver<std::io::Result<Bytes>>),
}

fn encoder(codec: Codec, level: i32, buffers: &Buffers) -> std::io::Result<(PlainIn, StoredOut)> {
    Ok(match codec {
        Codec::Zstd => {
            let (jobs, results) = frames::compressors(level, buffers)?;
            (PlainIn::Frames(jobs), StoredOut::Frames(results))
        }
        Codec::None => {
            let (sender, receiver) = sync_channel(FRAMES_QUEUED);
            (PlainIn::Stream(sender), StoredOut::Stream(receiver))
        }
        Codec::Gzip => {
            let (sender, plain) = tokio::sync::mpsc::channel(FRAMES_QUEUED);
            let (out, receiver) = tokio::sync::mpsc::channel(FRAMES_QUEUED);
            tokio::spawn(gzip(plain, out, level));
            (PlainIn::Gzip(sender), StoredOut::Gzip(receiver))
        }
    })
}

/// Compresses a stream of plain pieces; an error in the stream is passed on, so that a cut capture makes no archive.
async fn gzip(
    plain: tokio::sync::mpsc::Receiver<std::io::Result<Bytes>>,
    out: tokio::sync::mpsc::Sender<std::io::Result<Bytes>>,
    level: i32,
) {
    let pieces = futures::stream::unfold(plain, |mut plain| async move { Some((plain.recv().await?, plain)) });
    let mut encoder = GzipEncoder::with_quality(StreamReader::new(Box::pin(pieces)), Level::Precise(level));
    loop {
        let mut piece = bytes::BytesMut::with_capacity(READ_BLOCK);
        let read = loop {
            match encoder.read_buf(&mut piece).await {
                Ok(0) => break Ok(()),
                Ok(_) if piece.len() < READ_BLOCK => {}
                Ok(_) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        let ended = piece.is_empty() || read.is_err();
        let item = read.map(|()| piece.freeze());
        // A closed channel means that the collector has ended and knows why.
        if out.send(item).await.is_err() || ended {
            return;
        }
    }
}

/// The capture's way out: frames to the encoder, segments straight to the targets.
pub struct Outlet {
    plain: PlainIn,
    fan: Fan,
    segments: Vec<SegmentRecord>,
    naming: Naming,
    epoch: Option<Arc<HostEpoch>>,
}

/// Sealing failed, which only a system without randomness can cause.
fn unsealed(error: AgeError) -> SinkError {
    let what = Diagnostic::error(Code::Internal, "the catalog cannot be sealed").why(error.to_string());
    SinkError::Failed(Box::new(what))
}

impl Outlet {
    fn put(&mut self, plain: Vec<u8>) -> Result<(), Gone> {
        match &self.plain {
            PlainIn::Frames(jobs) => jobs.push(plain),
            PlainIn::Stream(sender) => sender.send(plain.into()).map_err(|_| Gone),
            PlainIn::Gzip(sender) => sender.blocking_send(Ok(plain.into())).map_err(|_| Gone),
        }
    }
}

impl Pieces for Outlet {
    fn frame(&mut self, plain: Vec<u8>) -> Result<(), Gone> {
        self.put(plain)
    }

    fn segment(&mut self, plain: Vec<u8>, lines: u64) -> Result<(), SinkError> {
        let failed = |_| SinkError::Stopped;
        let stored = frames::compress_whole(&plain, SMALL_OBJECT_LEVEL).map_err(failed)?;
        let named = self.naming.seal(stored, layout::catalog);
        let (name, stored) = named.map_err(unsealed)?;
        let epoch = self.epoch.as_deref();
        self.segments.push(SegmentRecord {
            name: name.clone(),
            bytes: stored.len() as u64,
            plain_bytes: plain.len() as u64,
            blake3: epoch.map_or_else(|| Digest::of(&plain), |epoch| epoch.chunk_key.digest(&plain)),
            lines,
        });
        self.fan
            .send(&Item::Object(name, stored.into()))
            .map_err(|Gone| SinkError::Stopped)
    }
}

enum CollectError {
    Frame(FrameError),
    Stream(std::io::Error),
    Table(SeekTableError),
    Seal(AgeError),
    Gone,
}

impl From<AgeError> for CollectError {
    fn from(error: AgeError) -> Self {
        Self::Seal(error)
    }
}

impl From<Gone> for CollectError {
    fn from(Gone: Gone) -> Self {
        Self::Gone
    }
}

/// Digests the stored bytes in order and gives them to the targets; the mark of the end comes only after everything.
///
/// A queue that ends without the mark `complete` is a capture that failed: nothing of it becomes an archive.
fn collect(
    stored: StoredOut,
    fan: Fan,
    sealing: Sealing,
    complete: &AtomicBool,
) -> Result<(u64, Digest), CollectError> {
    let mut out = ArchiveOut::new(fan, sealing)?;
    match stored {
        StoredOut::Frames(mut results) => {
            let mut lengths: Vec<FrameLength> = Vec::new();
            for frame in results.by_ref() {
                let frame = frame?.map_err(CollectError::Frame)?;
                lengths.push(frame.length);
                out.give(frame.bytes)?;
            }
            whole(complete)?;
            out.give(seek_table::write(&lengths).map_err(CollectError::Table)?.into())?;
        }
        StoredOut::Stream(pieces) => {
            while let Ok(piece) = pieces.recv() {
                out.give(piece)?;
            }
        }
        StoredOut::Gzip(mut pieces) => {
            while let Some(piece) = pieces.blocking_recv() {
                out.give(piece.map_err(CollectError::Stream)?)?;
            }
        }
    }
    whole(complete)?;
    out.finish()
}

/// The way of an archive to the targets: sealed where it is to be, and digested as it is stored.
struct ArchiveOut {
    fan: Fan,
    sealer: Option<Sealer>,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl ArchiveOut {
    fn new(fan: Fan, sealing: Sealing) -> Result<Self, CollectError> {
        let mut out = Self {
            fan,
            sealer: None,
            hasher: blake3::Hasher::new(),
            bytes: 0,
        };
        if let Sealing::To(recipient) = sealing {
            let (head, sealer) = age::sealer(&[recipient])?;
            out.store(head.into())?;
            out.sealer = Some(sealer);
        }
        Ok(out)
    }

    fn give(&mut self, piece: Bytes) -> Result<(), CollectError> {
        let sealed = match &mut self.sealer {
            Some(sealer) => sealer.update(&piece)?.into(),
            None => piece,
        };
        Ok(self.store(sealed)?)
    }

    fn store(&mut self, piece: Bytes) -> Result<(), Gone> {
        if piece.is_empty() {
            return Ok(());
        }
        self.hasher.update(&piece);
        self.bytes += piece.len() as u64;
        self.fan.send(&Item::Archive(piece))
    }

    /// The mark of the end comes only after everything.
    fn finish(mut self) -> Result<(u64, Digest), CollectError> {
        if let Some(sealer) = self.sealer.take() {
            let last = sealer.finish()?;
            self.store(last.into())?;
        }
        self.fan.send(&Item::ArchiveEnd)?;
        Ok((self.bytes, self.hasher.finalize().into()))
    }
}

fn whole(complete: &AtomicBool) -> Result<(), Gone> {
    if complete.load(Ordering::Acquire) {
        Ok(())
    } else {
        Err(Gone)
    }
}

/// A small object and its place in a record.
pub fn object(name: impl FnOnce(&Digest) -> String, bytes: &[u8]) -> ObjectRecord {
    let blake3 = Digest::of(bytes);
    ObjectRecord {
        name: name(&blake3),
        bytes: bytes.len() as u64,
        blake3,
    }
}
