//! Writes entries as a tar archive, plain or as a row of zstd frames with their table, as the archives of backups are.
//!
//! Nothing is held but the frames under way.

use std::thread::JoinHandle;

use crate::archive::catalog::Listed;
use crate::archive::tar_header;
use crate::codec::frames::{self, Buffers, FrameError, StoredFrame};
use crate::codec::ordered::{Gone, Jobs, Results};
use crate::codec::seek_table;
use crate::diagnostic::{Code, Diagnostic};
use crate::limits::FRAME;
use crate::source::SinkError;

use super::extract::Taker;

/// Level of a compressed archive.
const LEVEL: i32 = 3;

/// How an archive is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A plain tar archive.
    Tar,
    /// The same, compressed by zstd.
    TarZstd,
}

/// Takes the bytes of the archive in order.
pub trait Out: Send {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// When it takes no more.
    fn put(&mut self, bytes: &[u8]) -> Result<(), SinkError>;
}

/// An archive under way.
pub struct TarTaker {
    frame: Vec<u8>,
    buffers: Buffers,
    way: Way,
    /// Data of the entry under way.
    data: u64,
}

enum Way {
    Plain(Box<dyn Out>),
    Zstd {
        jobs: Jobs<Vec<u8>, Result<StoredFrame, FrameError>>,
        writer: JoinHandle<Result<(), SinkError>>,
    },
    Ended,
}

impl TarTaker {
    /// Begins an archive that goes to `out`.
    ///
    /// # Errors
    /// When the system gives no thread or memory.
    pub fn new(form: Form, out: Box<dyn Out>) -> Result<Self, SinkError> {
        let buffers = Buffers::default();
        let way = match form {
            Form::Tar => Way::Plain(out),
            Form::TarZstd => {
                let (jobs, stored) = frames::compressors(LEVEL, &buffers).map_err(|error| internal(&error))?;
                let writer = std::thread::Builder::new().name("export".into());
                let writer = writer.spawn(move || write_frames(stored, out));
                let writer = writer.map_err(|error| internal(&error))?;
                Way::Zstd { jobs, writer }
            }
        };
        Ok(Self {
            frame: Vec::new(),
            buffers,
            way,
            data: 0,
        })
    }

    fn plain(&mut self, mut data: &[u8]) -> Result<(), SinkError> {
        while !data.is_empty() {
            if self.frame.capacity() < FRAME {
                self.frame.reserve_exact(FRAME - self.frame.len());
            }
            let room = FRAME.saturating_sub(self.frame.len());
            let (now, later) = data.split_at(room.min(data.len()));
            self.frame.extend_from_slice(now);
            data = later;
            if self.frame.len() >= FRAME {
                self.send()?;
            }
        }
        Ok(())
    }

    fn send(&mut self) -> Result<(), SinkError> {
        if self.frame.is_empty() {
            return Ok(());
        }
        match &mut self.way {
            Way::Plain(out) => {
                out.put(&self.frame)?;
                self.frame.clear();
                Ok(())
            }
            Way::Zstd { jobs, .. } => {
                let full = std::mem::replace(&mut self.frame, self.buffers.take());
                match jobs.push(full) {
                    Ok(()) => Ok(()),
                    // The writer has ended and knows why.
                    Err(Gone) => Err(self.ended().err().unwrap_or(SinkError::Stopped)),
                }
            }
            Way::Ended => Err(SinkError::Stopped),
        }
    }

    /// Waits for what is under way.
    fn ended(&mut self) -> Result<(), SinkError> {
        match std::mem::replace(&mut self.way, Way::Ended) {
            Way::Plain(_) | Way::Ended => Ok(()),
            Way::Zstd { jobs, writer } => {
                drop(jobs);
                writer.join().map_err(|_| SinkError::Stopped)?
            }
        }
    }

    /// Ends the archive.
    ///
    /// # Errors
    /// When what is under way cannot be written.
    pub fn finish(mut self) -> Result<(), SinkError> {
        self.plain(&tar_header::END)?;
        self.send()?;
        self.ended()
    }
}

impl Taker for TarTaker {
    fn begin(&mut self, listed: &Listed) -> Result<(), SinkError> {
        self.data = 0;
        self.plain(&tar_header::render(listed.source.as_str(), &listed.entry))
    }

    fn data(&mut self, data: &[u8]) -> Result<(), SinkError> {
        self.data += data.len() as u64;
        self.plain(data)
    }

    fn end(&mut self) -> Result<(), SinkError> {
        let padding = tar_header::padding(self.data);
        self.plain(tar_header::END.get(..padding).unwrap_or_default())
    }
}

fn write_frames(mut stored: Results<Result<StoredFrame, FrameError>>, mut out: Box<dyn Out>) -> Result<(), SinkError> {
    let mut lengths = Vec::new();
    for frame in stored.by_ref() {
        let frame = frame
            .map_err(|_| SinkError::Stopped)?
            .map_err(|error| internal(&error))?;
        lengths.push(frame.length);
        out.put(&frame.bytes)?;
    }
    out.put(&seek_table::write(&lengths).map_err(|error| internal(&error))?)
}

fn internal(error: &dyn std::error::Error) -> SinkError {
    let problem = Diagnostic::error(Code::Internal, "the archive cannot be compressed").why(error.to_string());
    SinkError::Failed(Box::new(problem))
}
