//! Reads from a store that may stop in the middle: what stalls is asked for again from where it stood.

use std::time::Duration;

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{Error, GetOptions, GetRange, GetResult, GetResultPayload, ObjectStore, Result};

use super::said::Said;
use super::{S3, STORE};
use crate::limits;

impl S3 {
    /// Looks at an object. An answer without a body does not say why it is a refusal, so another request asks.
    pub(super) async fn head(&self, full: &Path, options: GetOptions) -> Result<GetResult> {
        match self.0.store.get_opts(full, options).await {
            Err(error) if Said::of(&error).is_mute() => Err(self.reason().await.unwrap_or(error)),
            answer => answer,
        }
    }

    /// What a store that refuses to be looked at says to one that asks for a list; nothing where it gives one.
    async fn reason(&self) -> Option<Error> {
        self.0.store.list(Some(&self.0.address.prefix)).next().await?.err()
    }

    /// Reads an object or a range of it.
    pub(super) async fn get(&self, full: &Path, options: GetOptions) -> Result<GetResult> {
        let result = self.0.store.get_opts(full, options).await?;
        let GetResult {
            payload,
            meta,
            range,
            attributes,
            extensions,
        } = result;
        let GetResultPayload::Stream(inner) = payload;
        let reading = Reading {
            store: self.clone(),
            object: full.clone(),
            e_tag: meta.e_tag.clone(),
            inner,
            next: range.start,
            end: range.end,
            stalls: 0,
        };
        Ok(GetResult {
            payload: GetResultPayload::Stream(reading.pieces()),
            meta,
            range,
            attributes,
            extensions,
        })
    }
}

/// An object on its way here.
struct Reading {
    store: S3,
    object: Path,
    e_tag: Option<String>,
    inner: BoxStream<'static, Result<Bytes>>,
    /// Where in the object the next piece begins.
    next: u64,
    end: u64,
    stalls: u32,
}

impl Reading {
    fn pieces(self) -> BoxStream<'static, Result<Bytes>> {
        futures::stream::unfold(Some(self), |reading| async move {
            let mut reading = reading?;
            match reading.piece().await {
                Some(Ok(piece)) => Some((Ok(piece), Some(reading))),
                Some(Err(error)) => Some((Err(error), None)),
                None => None,
            }
        })
        .boxed()
    }

    async fn piece(&mut self) -> Option<Result<Bytes>> {
        let limit = self.store.0.timeout;
        loop {
            match tokio::time::timeout(limit, self.inner.next()).await {
                Ok(Some(Ok(piece))) => {
                    self.next = self.next.saturating_add(piece.len() as u64);
                    return Some(Ok(piece));
                }
                Ok(other) => return other,
                Err(_) if self.stalls < limits::S3_STALLS => {
                    self.stalls += 1;
                    match self.again().await {
                        Ok(inner) => self.inner = inner,
                        Err(error) => return Some(Err(error)),
                    }
                }
                Err(_) => return Some(Err(silent(limit))),
            }
        }
    }

    /// Asks for the rest; the object must still be the same one.
    fn again(&self) -> impl Future<Output = Result<BoxStream<'static, Result<Bytes>>>> + Send + 'static {
        let options = GetOptions {
            range: Some(GetRange::Bounded(self.next..self.end)),
            if_match: self.e_tag.clone(),
            ..GetOptions::default()
        };
        let (store, object) = (self.store.clone(), self.object.clone());
        async move { Ok(store.0.store.get_opts(&object, options).await?.into_stream()) }
    }
}

fn silent(limit: Duration) -> Error {
    let source = Box::new(Said::Silent(limit));
    Error::Generic { store: STORE, source }
}
