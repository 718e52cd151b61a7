//! A store before which every operation waits for its turn.

use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use async_trait::async_trait;
use futures::stream::{BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};
use strongroom::target::dated::Dated;

/// The turns of one actor.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turns(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    granted: bool,
    wakers: Vec<Waker>,
}

impl Turns {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Lets one operation pass.
    pub(crate) fn grant(&self) {
        let mut waiting = self.0.lock().unwrap();
        waiting.granted = true;
        for waker in std::mem::take(&mut waiting.wakers) {
            waker.wake();
        }
    }

    /// A store that asks for a turn before each operation.
    pub(crate) fn before(&self, inner: Arc<Dated>) -> InTurn {
        InTurn {
            inner,
            turns: self.clone(),
        }
    }

    async fn take(&self) {
        poll_fn(|context| {
            let mut waiting = self.0.lock().unwrap();
            if std::mem::take(&mut waiting.granted) {
                return Poll::Ready(());
            }
            waiting.wakers.push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

#[derive(Debug)]
pub(crate) struct InTurn {
    inner: Arc<Dated>,
    turns: Turns,
}

impl fmt::Display for InTurn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for InTurn {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.turns.take().await;
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.turns.take().await;
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.turns.take().await;
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let turns = self.turns.clone();
        let in_turn = locations.then(move |location| {
            let turns = turns.clone();
            async move {
                turns.take().await;
                location
            }
        });
        self.inner.delete_stream(in_turn.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (turns, inner, prefix) = (self.turns.clone(), Arc::clone(&self.inner), prefix.cloned());
        let listed = async move {
            turns.take().await;
            inner.list(prefix.as_ref())
        };
        futures::stream::once(listed).flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.turns.take().await;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.turns.take().await;
        self.inner.copy_opts(from, to, options).await
    }
}
