//! A store that fails, is slow or lies when it is told to, for tests.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::stream::{BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, Extensions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use rustix::io::Errno;

use crate::poison;

pub use super::recording::Operation;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The operation fails with an input/output error and does nothing.
    Fails,
    /// The operation fails because the disk is full.
    DiskFull,
    /// The operation waits before it is done.
    Slow(Duration),
    /// A read gives this byte (counted from the object's begin) with one bit turned over.
    Flips(u64),
    /// A read gives only so many bytes of what it should.
    Cuts(u64),
    /// A put, a part or a completion says that it is done and stores nothing.
    Drops,
}

/// When a fault strikes.
#[derive(Clone, Debug)]
struct Rule {
    operation: Operation,
    prefix: String,
    /// Operations that pass before the fault, then operations that it strikes.
    pass: usize,
    strike: usize,
    fault: Fault,
}

/// Passes everything on but what a rule strikes.
#[derive(Debug)]
pub struct Faulty {
    inner: Arc<dyn ObjectStore>,
    rules: Rules,
}

#[derive(Clone, Debug, Default)]
struct Rules(Arc<Mutex<Vec<Rule>>>);

impl Rules {
    /// The fault that strikes this operation; counts it.
    fn strike(&self, operation: Operation, object: &Path) -> Option<Fault> {
        let mut rules = poison::lock(&self.0);
        let mut struck = None;
        for rule in rules.iter_mut() {
            if rule.operation != operation || !object.as_ref().starts_with(&rule.prefix) {
                continue;
            }
            if rule.pass > 0 {
                rule.pass -= 1;
            } else if rule.strike > 0 && struck.is_none() {
                rule.strike -= 1;
                struck = Some(rule.fault);
            }
        }
        struck
    }

    /// Waits or fails where that is the fault; gives back a lie for the caller to tell.
    async fn meet(&self, operation: Operation, object: &Path) -> Result<Option<Fault>> {
        match self.strike(operation, object) {
            None => Ok(None),
            Some(Fault::Fails) => Err(failed(Errno::IO)),
            Some(Fault::DiskFull) => Err(failed(Errno::NOSPC)),
            Some(Fault::Slow(span)) => {
                tokio::time::sleep(span).await;
                Ok(None)
            }
            Some(lie @ (Fault::Flips(_) | Fault::Cuts(_) | Fault::Drops)) => Ok(Some(lie)),
        }
    }
}

fn failed(errno: Errno) -> Error {
    let source = Box::new(io::Error::from(errno));
    Error::Generic {
        store: "faulty",
        source,
    }
}

impl Faulty {
    /// Stands before `inner`; nothing goes wrong yet.
    pub fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self {
            inner,
            rules: Rules::default(),
        }
    }

    /// Lets `fault` strike the `nth` operation (counted from 1) on an object whose name begins with `prefix`, once.
    #[must_use]
    pub fn once(self, operation: Operation, prefix: &str, nth: usize, fault: Fault) -> Self {
        self.rule(operation, prefix, nth, 1, fault)
    }

    /// Lets `fault` strike every operation on an object whose name begins with `prefix`.
    #[must_use]
    pub fn always(self, operation: Operation, prefix: &str, fault: Fault) -> Self {
        self.rule(operation, prefix, 1, usize::MAX, fault)
    }

    fn rule(self, operation: Operation, prefix: &str, nth: usize, strike: usize, fault: Fault) -> Self {
        poison::lock(&self.rules.0).push(Rule {
            operation,
            prefix: prefix.to_owned(),
            pass: nth.saturating_sub(1),
            strike,
            fault,
        });
        self
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        match self.rules.meet(Operation::Put, location).await? {
            Some(Fault::Drops) => Ok(unstored()),
            _ => self.inner.put_opts(location, payload, opts).await,
        }
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.rules.meet(Operation::Begin, location).await?;
        Ok(Box::new(Upload {
            inner: self.inner.put_multipart_opts(location, opts).await?,
            location: location.clone(),
            rules: self.rules.clone(),
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let operation = if options.head { Operation::Head } else { Operation::Get };
        let lie = self.rules.meet(operation, location).await?;
        let result = self.inner.get_opts(location, options).await?;
        Ok(match lie {
            Some(Fault::Flips(at)) => bent(result, move |offset, piece| flip(offset, piece, at)),
            Some(Fault::Cuts(keep)) => {
                let end = result.range.start.saturating_add(keep);
                bent(result, move |offset, piece| cut(offset, piece, end))
            }
            _ => result,
        })
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let rules = self.rules.clone();
        let met = locations.then(move |location| {
            let rules = rules.clone();
            async move {
                let location = location?;
                rules.meet(Operation::Delete, &location).await?;
                Ok(location)
            }
        });
        self.inner.delete_stream(met.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (rules, path) = (self.rules.clone(), prefix.cloned().unwrap_or_default());
        let listed = self.inner.list(prefix);
        let met = futures::stream::once(async move { rules.meet(Operation::List, &path).await });
        met.filter_map(|met| std::future::ready(met.err().map(Err)))
            .chain(listed)
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.rules.meet(Operation::List, prefix.unwrap_or(&Path::ROOT)).await?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

fn unstored() -> PutResult {
    PutResult {
        e_tag: None,
        version: None,
        extensions: Extensions::default(),
    }
}

/// The same answer with every piece of its content passed through `bend`, which is told where the piece begins.
fn bent(result: GetResult, bend: impl Fn(u64, Bytes) -> Bytes + Send + 'static) -> GetResult {
    let GetResult {
        payload,
        meta,
        range,
        attributes,
        extensions,
    } = result;
    let GetResultPayload::Stream(stream) = payload;
    let mut offset = range.start;
    let stream = stream.map(move |piece| {
        let piece = piece?;
        let begin = offset;
        offset += piece.len() as u64;
        Ok(bend(begin, piece))
    });
    GetResult {
        payload: GetResultPayload::Stream(stream.boxed()),
        meta,
        range,
        attributes,
        extensions,
    }
}

fn flip(offset: u64, piece: Bytes, at: u64) -> Bytes {
    let Some(index) = at.checked_sub(offset).and_then(|index| usize::try_from(index).ok()) else {
        return piece;
    };
    let mut bytes = BytesMut::from(piece.as_ref());
    match bytes.get_mut(index) {
        Some(byte) => *byte ^= 1,
        None => return piece,
    }
    bytes.freeze()
}

fn cut(offset: u64, mut piece: Bytes, end: u64) -> Bytes {
    let keep = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX);
    piece.truncate(keep);
    piece
}

#[derive(Debug)]
struct Upload {
    inner: Box<dyn MultipartUpload>,
    location: Path,
    rules: Rules,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (rules, location) = (self.rules.clone(), self.location.clone());
        // The part's place in the object is decided here, so the fault strikes when the part is waited for.
        match rules.strike(Operation::Part, &location) {
            None => self.inner.put_part(data),
            Some(Fault::Drops | Fault::Flips(_) | Fault::Cuts(_)) => Box::pin(std::future::ready(Ok(()))),
            Some(Fault::Fails) => Box::pin(std::future::ready(Err(failed(Errno::IO)))),
            Some(Fault::DiskFull) => Box::pin(std::future::ready(Err(failed(Errno::NOSPC)))),
            Some(Fault::Slow(span)) => {
                let part = self.inner.put_part(data);
                Box::pin(async move {
                    tokio::time::sleep(span).await;
                    part.await
                })
            }
        }
    }

    async fn complete(&mut self) -> Result<PutResult> {
        match self.rules.meet(Operation::Complete, &self.location).await? {
            Some(Fault::Drops) => {
                self.inner.abort().await?;
                Ok(unstored())
            }
            _ => self.inner.complete().await,
        }
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}
