//! Writes one object in pieces: parts of one size, a few of them on their way, nothing visible before the end.

use bytes::Bytes;
use object_store::{MultipartUpload, PutPayload};
use tokio::task::JoinSet;

use super::{Target, TargetError};
use crate::limits;

/// An object on its way into a target. Dropped before [`ObjectWriter::finish`], it leaves nothing.
///
/// Holds at most the part being filled and [`limits::UPLOAD_PARTS_QUEUED`] parts under way.
#[derive(Debug)]
pub struct ObjectWriter {
    target: Target,
    object: String,
    upload: Box<dyn MultipartUpload>,
    pending: Vec<Bytes>,
    pending_bytes: usize,
    sent_bytes: u64,
    parts: JoinSet<object_store::Result<()>>,
    /// Whether a part could not be written; then there is no object to finish, whatever the caller made of the error.
    broken: bool,
}

impl ObjectWriter {
    pub(super) fn new(target: Target, object: String, upload: Box<dyn MultipartUpload>) -> Self {
        Self {
            target,
            object,
            upload,
            pending: Vec::new(),
            pending_bytes: 0,
            sent_bytes: 0,
            parts: JoinSet::new(),
            broken: false,
        }
    }

    /// The object's name.
    pub fn object(&self) -> &str {
        &self.object
    }

    /// Takes the next bytes. Waits while enough parts are under way; an error of an earlier part comes out here or at
    /// the end.
    pub async fn put(&mut self, mut bytes: Bytes) -> Result<(), TargetError> {
        while !bytes.is_empty() {
            let part = self.target.part_size(self.sent_bytes);
            let room = part.saturating_sub(self.pending_bytes);
            let piece = bytes.split_to(bytes.len().min(room));
            self.pending_bytes += piece.len();
            self.pending.push(piece);
            if self.pending_bytes >= part {
                self.send().await?;
            }
        }
        Ok(())
    }

    /// Makes the object be: whole, durable, and only if no object of its name is there.
    ///
    /// # Errors
    /// [`TargetError::Existed`] where there is one, and whatever kept a part from being written. Nothing is left then.
    pub async fn finish(mut self) -> Result<(), TargetError> {
        match self.complete().await {
            Ok(()) => Ok(()),
            Err(error) => {
                self.parts.shutdown().await;
                // The first error is the one to tell; what could not be cleaned up goes at the next writer's start.
                let _ = self.upload.abort().await;
                Err(error)
            }
        }
    }

    /// Gives the object up and leaves nothing.
    pub async fn abort(mut self) -> Result<(), TargetError> {
        self.parts.shutdown().await;
        let aborted = self.upload.abort().await;
        aborted.map_err(|error| self.target.error(&self.object, error))
    }

    async fn complete(&mut self) -> Result<(), TargetError> {
        if self.broken {
            let source = std::io::Error::other("a part of it could not be written before");
            return Err(TargetError::of_io(&self.target, &self.object, source));
        }
        if self.pending_bytes > 0 {
            self.send().await?;
        }
        while !self.parts.is_empty() {
            self.wait_for_one().await?;
        }
        let completed = self.upload.complete().await;
        completed.map_err(|error| self.target.error(&self.object, error))?;
        Ok(())
    }

    /// Sends what is pending as one part.
    async fn send(&mut self) -> Result<(), TargetError> {
        while self.parts.len() >= limits::UPLOAD_PARTS_QUEUED {
            self.wait_for_one().await?;
        }
        let part: PutPayload = std::mem::take(&mut self.pending).into_iter().collect();
        self.sent_bytes = self.sent_bytes.saturating_add(self.pending_bytes as u64);
        self.pending_bytes = 0;
        self.parts.spawn(self.upload.put_part(part));
        Ok(())
    }

    async fn wait_for_one(&mut self) -> Result<(), TargetError> {
        let written = match self.parts.join_next().await {
            None | Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(error))) => Err(self.target.error(&self.object, error)),
            Some(Err(error)) => Err(TargetError::of_io(
                &self.target,
                &self.object,
                std::io::Error::other(error),
            )),
        };
        self.broken |= written.is_err();
        written
    }
}
