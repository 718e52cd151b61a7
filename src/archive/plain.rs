//! The plain tar archive of a backup as a stream: stored bytes → frames → decompressors → plain pieces in order.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use async_compression::tokio::bufread::GzipDecoder;
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use futures::stream::{BoxStream, StreamExt};
use tokio::io::AsyncReadExt;
use tokio::runtime::Handle;
use tokio_util::io::StreamReader;

use crate::codec::Codec;
use crate::codec::frames::{self, Buffers, FrameError, StoredFrame};
use crate::codec::ordered::{Jobs, Results};
use crate::codec::seek_table::{self, FrameLength, SeekTableError};
use crate::crypto::age::AgeError;
use crate::event::{Event, Events};
use crate::limits::{FRAMES_QUEUED, READ_BLOCK};
use crate::target::{Target, TargetError};

use super::keys::Opening;
use super::object::{Object, ObjectError};
use super::proofs::Proofs;
use super::record::ArchiveRecord;

/// Why the plain archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PlainError {
    /// The target failed.
    #[error("the archive cannot be read")]
    Target(#[source] TargetError),
    /// It is sealed and cannot be opened.
    #[error("the archive cannot be opened")]
    Open(#[source] AgeError),
    /// The table of frames is wrong.
    #[error("the archive's table of frames is damaged")]
    Table(#[source] SeekTableError),
    /// A frame is wrong.
    #[error("the archive is damaged at byte {at} of its plain text")]
    Frame {
        /// Offset in the plain archive.
        at: u64,
        /// Why.
        #[source]
        source: FrameError,
    },
    /// A gzip stream is wrong.
    #[error("the archive is damaged")]
    Stream(#[source] std::io::Error),
    /// The archive ends early.
    #[error("the archive ends after {0} bytes of plain text")]
    Cut(u64),
    /// The system gave no thread or memory.
    #[error("no resources to unpack the archive")]
    Resources(#[source] std::io::Error),
}

impl From<ObjectError> for PlainError {
    fn from(error: ObjectError) -> Self {
        match error {
            ObjectError::Target(error) => Self::Target(error),
            ObjectError::Open(error) => Self::Open(error),
        }
    }
}

/// Where plain pieces come from.
enum Pieces {
    Frames(Results<Result<Vec<u8>, FrameError>>, Buffers),
    Stream(Receiver<Result<Vec<u8>, PlainError>>),
}

/// Reads the plain archive from front to back. Everything blocks: for use on a blocking thread.
pub struct PlainReader {
    pieces: Pieces,
    piece: Vec<u8>,
    at: usize,
    position: u64,
    feeder: Option<tokio::task::JoinHandle<Result<(), PlainError>>>,
}

/// Opens the archive that `record` describes; `proofs` hear of all that is read of it.
///
/// # Errors
/// When the object's size or its table of frames does not fit the record.
pub async fn open(
    target: &Target,
    record: &ArchiveRecord,
    opening: &Opening,
    (events, proofs): (&Events, Option<Arc<Proofs>>),
) -> Result<PlainReader, PlainError> {
    let object = Object::open_seen(target, (&record.name, record.bytes), opening, proofs).await?;
    let (pieces, feeder) = match record.codec {
        Codec::Zstd => {
            let lengths = read_table(&object, record).await?;
            let stored: u64 = lengths.iter().map(|l| u64::from(l.stored)).sum();
            let buffers = Buffers::default();
            let (jobs, results) = frames::decompressors(&buffers).map_err(PlainError::Resources)?;
            let stream = told(object.stream(0..stored).await?, target, events.clone());
            let feeder = tokio::task::spawn_blocking(move || feed_frames(stream, &lengths, &jobs));
            (Pieces::Frames(results, buffers), feeder)
        }
        Codec::Gzip | Codec::None => {
            let (sender, receiver) = sync_channel(FRAMES_QUEUED);
            let end = object.length();
            let stream = told(object.stream(0..end).await?, target, events.clone());
            let stream = stream.map_err(std::io::Error::other);
            let codec = record.codec;
            let feeder = tokio::task::spawn_blocking(move || {
                let reader = StreamReader::new(stream);
                let mut reader: Box<dyn tokio::io::AsyncRead + Send + Unpin> = match codec {
                    Codec::Gzip => Box::new(GzipDecoder::new(reader)),
                    Codec::Zstd | Codec::None => Box::new(reader),
                };
                while let Some(piece) = Handle::current().block_on(read_piece(&mut reader)).transpose() {
                    let failed = piece.is_err();
                    if sender.send(piece.map_err(PlainError::Stream)).is_err() || failed {
                        break;
                    }
                }
                Ok(())
            });
            (Pieces::Stream(receiver), feeder)
        }
    };
    Ok(PlainReader {
        pieces,
        piece: Vec::new(),
        at: 0,
        position: 0,
        feeder: Some(feeder),
    })
}

/// Tells listeners what was read.
fn told(
    stream: BoxStream<'static, Result<Bytes, ObjectError>>,
    target: &Target,
    events: Events,
) -> BoxStream<'static, Result<Bytes, ObjectError>> {
    let name = target.name().to_string();
    stream
        .inspect_ok(move |piece| {
            events.tell(&Event::TargetRead {
                target: name.clone(),
                bytes: piece.len() as u64,
            });
        })
        .boxed()
}

async fn read_piece(reader: &mut (dyn tokio::io::AsyncRead + Send + Unpin)) -> std::io::Result<Option<Vec<u8>>> {
    let mut piece = Vec::with_capacity(READ_BLOCK);
    while piece.len() < READ_BLOCK {
        if reader.read_buf(&mut piece).await? == 0 {
            break;
        }
    }
    Ok((!piece.is_empty()).then_some(piece))
}

/// Reads the table of frames at the end of an archive and checks it against the record.
pub(super) async fn read_table(object: &Object, record: &ArchiveRecord) -> Result<Vec<FrameLength>, PlainError> {
    let end = object.length();
    let footer = object.range(end.saturating_sub(seek_table::FOOTER as u64)..end).await?;
    let length = seek_table::table_length(&footer).map_err(PlainError::Table)?;
    if length > end {
        return Err(PlainError::Table(SeekTableError::Mismatch));
    }
    let table = object.range(end - length..end).await?;
    seek_table::read(&table, end, record.plain_bytes).map_err(PlainError::Table)
}

/// Cuts the stored stream into frames and hands them to the decompressors.
fn feed_frames(
    mut stream: BoxStream<'static, Result<Bytes, ObjectError>>,
    lengths: &[FrameLength],
    jobs: &Jobs<StoredFrame, Result<Vec<u8>, FrameError>>,
) -> Result<(), PlainError> {
    let handle = Handle::current();
    let mut held = BytesMut::new();
    let mut plain = 0;
    for length in lengths {
        let wanted = length.stored as usize;
        while held.len() < wanted {
            match handle.block_on(stream.try_next())? {
                Some(piece) => held.extend_from_slice(&piece),
                None => return Err(PlainError::Cut(plain)),
            }
        }
        let frame = StoredFrame {
            length: *length,
            bytes: held.split_to(wanted).freeze(),
        };
        if jobs.push(frame).is_err() {
            // The reader has gone and knows why.
            return Ok(());
        }
        plain += u64::from(length.plain);
    }
    Ok(())
}

impl PlainReader {
    /// Bytes given so far.
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// Gives exactly the next `length` bytes to `take`, in pieces.
    ///
    /// # Errors
    /// When the archive is damaged or ends early, or `take` itself fails.
    pub fn read<E>(
        &mut self,
        mut length: u64,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), ReadError<E>> {
        while length > 0 {
            if self.at == self.piece.len() {
                self.next_piece().map_err(ReadError::Plain)?;
            }
            let rest = self.piece.get(self.at..).unwrap_or_default();
            let now = usize::try_from(length).unwrap_or(usize::MAX).min(rest.len());
            take(rest.get(..now).unwrap_or_default()).map_err(ReadError::Taker)?;
            self.at += now;
            self.position += now as u64;
            length -= now as u64;
        }
        Ok(())
    }

    /// Whether nothing follows.
    pub fn ended(&mut self) -> Result<bool, PlainError> {
        if self.at < self.piece.len() {
            return Ok(false);
        }
        match self.next_piece() {
            Ok(()) => Ok(false),
            Err(PlainError::Cut(_)) => Ok(true),
            Err(error) => Err(error),
        }
    }

    fn next_piece(&mut self) -> Result<(), PlainError> {
        let position = self.position;
        let next = match &mut self.pieces {
            Pieces::Frames(results, buffers) => {
                buffers.give(std::mem::take(&mut self.piece));
                match results.next() {
                    Some(Ok(frame)) => Some(frame.map_err(|source| PlainError::Frame { at: position, source })),
                    Some(Err(_)) | None => None,
                }
            }
            Pieces::Stream(receiver) => receiver.recv().ok(),
        };
        match next {
            Some(piece) => {
                self.piece = piece?;
                self.at = 0;
                if self.piece.is_empty() {
                    self.next_piece()
                } else {
                    Ok(())
                }
            }
            None => Err(self.why_ended()),
        }
    }

    /// What ended the stream: the feeder's error, or the end itself.
    fn why_ended(&mut self) -> PlainError {
        let feeder = self.feeder.take().map(|feeder| Handle::current().block_on(feeder));
        self.piece.clear();
        self.at = 0;
        match feeder {
            Some(Ok(Err(error))) => error,
            Some(Err(join)) => PlainError::Resources(std::io::Error::other(join.to_string())),
            Some(Ok(Ok(()))) | None => PlainError::Cut(self.position),
        }
    }
}

/// Why a read ended.
#[derive(Debug)]
pub enum ReadError<E> {
    /// The archive.
    Plain(PlainError),
    /// The one who takes the bytes.
    Taker(E),
}
