//! Reads objects in blocks of 1 MiB, one thread a reader, a few blocks ahead of the one who takes them.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{Attributes, Extensions, GetOptions, GetResult, GetResultPayload, ObjectMeta, Result};
use rustix::fs::{Advice, OFlags};
use tokio::sync::mpsc;

use super::root::Root;
use super::{STORE, blocking, explain};
use crate::limits;

/// Opens an object and begins to read the range that was asked for.
pub(super) async fn get(root: Arc<Root>, location: &Path, options: GetOptions) -> Result<GetResult> {
    let path = location.clone();
    let opened = blocking(move || open(&root, &path)).await;
    let (file, meta) = opened.map_err(|error| explain(location, error))?;
    options.check_preconditions(&meta)?;
    let range = match &options.range {
        None => 0..meta.size,
        Some(range) => range
            .as_range(meta.size)
            .map_err(|source| object_store::Error::Generic {
                store: STORE,
                source: Box::new(source),
            })?,
    };
    let stream = if options.head || range.is_empty() {
        futures::stream::empty().boxed()
    } else {
        blocks(file, location.clone(), range.clone())
    };
    Ok(GetResult {
        payload: GetResultPayload::Stream(stream),
        meta,
        range,
        attributes: Attributes::default(),
        extensions: Extensions::default(),
    })
}

fn open(root: &Root, path: &Path) -> io::Result<(File, ObjectMeta)> {
    // Without blocking: a pipe that someone put there must not hold the run up.
    let file = root.open(path.as_ref(), OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
    let file = File::from(file);
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::NotFound.into());
    }
    if !metadata.is_file() {
        return Err(io::Error::other("it is no plain file"));
    }
    let meta = ObjectMeta {
        location: path.clone(),
        last_modified: metadata.modified()?.into(),
        size: metadata.len(),
        e_tag: None,
        version: None,
    };
    Ok((file, meta))
}

/// The bytes of `range`. One thread reads them and waits when the reader has [`limits::READ_AHEAD_BLOCKS`] to take; it
/// ends when the stream is dropped.
fn blocks(file: File, location: Path, range: Range<u64>) -> BoxStream<'static, Result<Bytes>> {
    let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(limits::READ_AHEAD_BLOCKS);
    tokio::task::spawn_blocking(move || {
        let length = std::num::NonZeroU64::new(range.end - range.start);
        // Advice; that it is not taken changes nothing.
        let _ = rustix::fs::fadvise(&file, range.start, length, Advice::Sequential);
        let whole = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let piece = if whole <= limits::READ_AT_ONCE {
            whole
        } else {
            limits::READ_BLOCK
        };
        let mut offset = range.start;
        while offset < range.end {
            let wanted = usize::try_from(range.end - offset).map_or(piece, |left| left.min(piece));
            let block = read_block(&file, offset, wanted);
            let failed = block.as_ref().map_or(true, Bytes::is_empty);
            offset += block.as_ref().map_or(0, |block| block.len() as u64);
            if sender.blocking_send(block).is_err() || failed {
                return;
            }
        }
    });
    futures::stream::unfold(receiver, move |mut receiver| {
        let location = location.clone();
        async move {
            let block = receiver.recv().await?;
            Some((block.map_err(|error| explain(&location, error)), receiver))
        }
    })
    .boxed()
}

/// Reads up to `wanted` bytes at `offset`; fewer only where the file ends.
fn read_block(file: &File, offset: u64, wanted: usize) -> io::Result<Bytes> {
    let mut block = Vec::with_capacity(wanted);
    while block.len() < wanted {
        let at = offset + block.len() as u64;
        let read =
            rustix::io::retry_on_intr(|| rustix::io::pread(file, rustix::buffer::spare_capacity(&mut block), at))?;
        if read == 0 {
            break;
        }
    }
    block.truncate(wanted);
    Ok(Bytes::from(block))
}
