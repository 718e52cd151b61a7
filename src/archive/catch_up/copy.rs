//! Copies one object from a target into another, compared with its digest before it becomes an object there.

use bytes::Bytes;
use futures::TryStreamExt;

use crate::archive::repository::RepositoryError;
use crate::archive::survey::unusable;
use crate::crypto::Digest;
use crate::event::{Event, Events};
use crate::limits::{COPIED_WHOLE, READ_BLOCK};
use crate::target::{Created, Target, TargetError};

use super::{Ended, wrong};

/// An object, and what it must be.
pub(super) struct Needed {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) digest: Digest,
}

/// Why an object was not copied.
pub(super) enum NotCopied {
    /// It is not there as it should be, or cannot be read; another target may have it.
    Source(RepositoryError),
    /// The target that it goes into failed.
    Target(RepositoryError),
    /// Something else lies there under its name.
    InTheWay,
    /// There is no more time.
    Ended(Ended),
}

/// Copies `needed`. `going_on` is asked before each piece. Nothing is left where it fails.
pub(super) async fn copy(
    source: &Target,
    target: &Target,
    needed: &Needed,
    events: &Events,
    going_on: impl Fn() -> Result<(), Ended>,
) -> Result<Created, NotCopied> {
    match usize::try_from(needed.bytes) {
        Ok(length) if length <= COPIED_WHOLE => copy_whole(source, target, needed, length, events).await,
        _ => copy_in_pieces(source, target, needed, events, going_on).await,
    }
}

async fn copy_whole(
    source: &Target,
    target: &Target,
    needed: &Needed,
    length: usize,
    events: &Events,
) -> Result<Created, NotCopied> {
    let bytes = read_whole(source, &needed.name, length).await;
    let bytes = bytes.map_err(NotCopied::Source)?;
    let digest = digest_of(bytes.clone()).await?;
    if bytes.len() != length || digest != needed.digest {
        return Err(other_bytes(source, needed));
    }
    let created = target.create(&needed.name, bytes).await;
    let created = created.map_err(|error| NotCopied::Target(unusable(target, error)))?;
    if created == Created::Existed {
        check_size(target, needed).await?;
    }
    tell(events, target, needed.bytes);
    Ok(created)
}

async fn copy_in_pieces(
    source: &Target,
    target: &Target,
    needed: &Needed,
    events: &Events,
    going_on: impl Fn() -> Result<(), Ended>,
) -> Result<Created, NotCopied> {
    let at_source = |error| NotCopied::Source(read_error(source, &needed.name, error));
    let at_target = |error| NotCopied::Target(unusable(target, error));
    let mut stream = source.stream(&needed.name, None).await.map_err(at_source)?;
    let mut writer = target.writer(&needed.name).await.map_err(at_target)?;
    let (mut hasher, mut length) = (blake3::Hasher::new(), 0_u64);
    let read: Result<(), NotCopied> = async {
        while let Some(piece) = stream.try_next().await.map_err(at_source)? {
            going_on().map_err(NotCopied::Ended)?;
            length = length.saturating_add(piece.len() as u64);
            let hashed = piece.clone();
            let update = move || {
                hasher.update(&hashed);
                hasher
            };
            hasher = blocking(update).await?;
            tell(events, target, piece.len() as u64);
            writer.put(piece).await.map_err(at_target)?;
        }
        if length == needed.bytes && needed.digest == hasher.finalize().into() {
            Ok(())
        } else {
            Err(other_bytes(source, needed))
        }
    }
    .await;
    if let Err(error) = read {
        // The first error is the one to tell; what cannot be given up now is by the next run.
        let _ = writer.abort().await;
        return Err(error);
    }
    match writer.finish().await {
        Ok(()) => Ok(Created::New),
        Err(TargetError::Existed { .. }) => {
            check_size(target, needed).await?;
            Ok(Created::Existed)
        }
        Err(error) => Err(at_target(error)),
    }
}

/// Reads an object of at most `limit` bytes.
pub(super) async fn read_whole(source: &Target, name: &str, limit: usize) -> Result<Bytes, RepositoryError> {
    let read = source.read(name, limit).await;
    read.map_err(|error| read_error(source, name, error))
}

fn read_error(source: &Target, name: &str, error: TargetError) -> RepositoryError {
    let what = match error {
        TargetError::NotFound { .. } => "is missing",
        TargetError::TooLarge { .. } => "is longer than the record says",
        error => return unusable(source, error),
    };
    wrong(source, name, what)
}

fn other_bytes(source: &Target, needed: &Needed) -> NotCopied {
    NotCopied::Source(wrong(source, &needed.name, "has other bytes than the record says"))
}

/// Another run put it there at the same moment: its name says which bytes it has, its size whether it has all of them.
async fn check_size(target: &Target, needed: &Needed) -> Result<(), NotCopied> {
    let found = target.head(&needed.name).await;
    match found.map_err(|error| NotCopied::Target(unusable(target, error)))? {
        Some(info) if info.size == needed.bytes => Ok(()),
        Some(_) | None => Err(NotCopied::InTheWay),
    }
}

async fn digest_of(bytes: Bytes) -> Result<Digest, NotCopied> {
    if bytes.len() <= READ_BLOCK {
        return Ok(Digest::of(&bytes));
    }
    blocking(move || Digest::of(&bytes)).await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, NotCopied> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| NotCopied::Target(RepositoryError::Write(error.into())))
}

fn tell(events: &Events, target: &Target, bytes: u64) {
    events.tell(&Event::TargetStored {
        target: target.name().to_string(),
        bytes,
    });
}
