//! A streamed upload: parts, put together by a last request that is create-only.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::stream::TryStreamExt;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    Error, GetOptions, GetRange, MultipartId, MultipartUpload, PutPayload, PutResult, Result, UploadPart,
};
use tokio::sync::OnceCell;

use super::create::{already, stored};
use super::said::Said;
use super::{S3, STORE};
use crate::crypto::Digest;
use crate::poison;

/// An object on its way. Dropped before `complete`, what was begun is aborted in the background, as far as there is time;
/// a later run finds the rest by the ledger.
#[derive(Debug)]
pub(super) struct Upload {
    shared: Arc<Shared>,
    /// The first part, held until a second one shows that it is one of several.
    first: Option<PutPayload>,
    count: usize,
    ended: bool,
}

#[derive(Debug)]
struct Shared {
    store: S3,
    full: Path,
    object: String,
    id: OnceCell<MultipartId>,
    parts: Mutex<BTreeMap<usize, Part>>,
}

/// A part that arrived.
#[derive(Debug)]
struct Part {
    id: String,
    length: u64,
    blake3: Digest,
}

impl Upload {
    pub(super) fn new(store: S3, full: Path, object: String) -> Self {
        let shared = Shared {
            store,
            full,
            object,
            id: OnceCell::new(),
            parts: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
            first: None,
            count: 0,
            ended: false,
        }
    }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let index = self.count;
        self.count += 1;
        if index == 0 {
            self.first = Some(data);
            return Box::pin(std::future::ready(Ok(())));
        }
        let (shared, first) = (Arc::clone(&self.shared), self.first.take());
        Box::pin(async move {
            if let Some(first) = first {
                shared.put(0, first).await?;
            }
            shared.put(index, data).await
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        if self.count <= 1 {
            let whole = self.first.take().unwrap_or_default();
            let created = self.shared.store.create(&self.shared.full, whole).await;
            self.ended = created.is_ok();
            return created;
        }
        let completed = self.shared.complete(self.count).await;
        self.ended = completed.is_ok();
        completed
    }

    async fn abort(&mut self) -> Result<()> {
        self.first = None;
        self.ended = true;
        self.shared.abort().await
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.ended || self.shared.id.get().is_none() {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let shared = Arc::clone(&self.shared);
            runtime.spawn(async move { shared.abort().await });
        }
    }
}

impl Shared {
    /// Begins the upload where no part did, noted first.
    async fn id(&self) -> Result<&MultipartId> {
        let begin = || async {
            if let Some(ledger) = &self.store.0.ledger {
                ledger.begun(&self.store.0.url, &self.object).map_err(unnoted)?;
            }
            self.store.0.store.create_multipart(&self.full).await
        };
        self.id.get_or_try_init(begin).await
    }

    async fn put(&self, index: usize, data: PutPayload) -> Result<()> {
        let id = self.id().await?;
        let (length, copy) = (data.content_length() as u64, data.clone());
        let sent = self.store.0.store.put_part(&self.full, id, index, data);
        let digest = tokio::task::spawn_blocking(move || {
            let mut hasher = blake3::Hasher::new();
            for piece in &copy {
                hasher.update(piece);
            }
            Digest::from(hasher.finalize())
        });
        let PartId { content_id } = sent.await?;
        let blake3 = digest.await.map_err(|error| generic(std::io::Error::other(error)))?;
        let part = Part {
            id: content_id,
            length,
            blake3,
        };
        poison::lock(&self.parts).insert(index, part);
        Ok(())
    }

    async fn complete(&self, count: usize) -> Result<PutResult> {
        let ids: Vec<PartId> = {
            let parts = poison::lock(&self.parts);
            let ids = parts.values().map(|part| part.id.clone());
            ids.map(|content_id| PartId { content_id }).collect()
        };
        if ids.len() != count {
            return Err(generic(std::io::Error::other(
                "not all parts of the object were written",
            )));
        }
        // Some stores keep the condition on a whole put only; the name is unique to a run, so looking first is enough.
        if self.store.is_there(&self.full).await? {
            return Err(already(&self.full));
        }
        let id = self.id().await?;
        let conditions = &self.store.0.conditions;
        let mut completed = self.store.0.store.complete_multipart(&self.full, id, ids.clone()).await;
        if let Err(error) = &completed
            && Said::of(error).status() == Some(501)
            && conditions.are_asked_for()
        {
            conditions.give_up();
            completed = self.store.0.store.complete_multipart(&self.full, id, ids).await;
        }
        match completed {
            Ok(_) => {}
            // The answer to an earlier attempt may have been lost on its way: what is there may be ours.
            Err(error) if self.is_ours(&error).await => {}
            Err(Error::Precondition { .. } | Error::NotModified { .. }) => return Err(already(&self.full)),
            Err(error) if Said::of(&error).status() == Some(409) => return Err(already(&self.full)),
            Err(error) => return Err(error),
        }
        if let Some(ledger) = &self.store.0.ledger {
            // The object stands. A note that stays makes a later run look for something that is not there.
            let _ = ledger.ended(&self.store.0.url, &self.object);
        }
        Ok(stored())
    }

    /// Whether what stands there after an error is this very object, part by part.
    async fn is_ours(&self, error: &Error) -> bool {
        let exists = matches!(
            error,
            Error::AlreadyExists { .. } | Error::Precondition { .. } | Error::NotFound { .. }
        );
        if !exists && !Said::of(error).leaves_doubt() {
            return false;
        }
        self.compare().await.unwrap_or(false)
    }

    async fn compare(&self) -> Result<bool> {
        let parts: Vec<(u64, Digest)> = {
            let parts = poison::lock(&self.parts);
            parts.values().map(|part| (part.length, part.blake3)).collect()
        };
        let mut begin = 0;
        let total: u64 = parts.iter().map(|(length, _)| length).sum();
        for (length, digest) in parts {
            let options = GetOptions {
                range: Some(GetRange::Bounded(begin..begin + length)),
                ..GetOptions::default()
            };
            let result = self.store.get(&self.full, options).await?;
            if result.meta.size != total {
                return Ok(false);
            }
            let mut hasher = blake3::Hasher::new();
            let mut pieces = result.into_stream();
            while let Some(piece) = pieces.try_next().await? {
                hasher.update(&piece);
            }
            if Digest::from(hasher.finalize()) != digest {
                return Ok(false);
            }
            begin += length;
        }
        Ok(true)
    }

    /// Gives up what was begun. The note stays: a part still on its way may arrive behind the abort, so the next run looks.
    async fn abort(&self) -> Result<()> {
        let Some(id) = self.id.get() else {
            return Ok(());
        };
        match self.store.0.store.abort_multipart(&self.full, id).await {
            // It is gone already: completed, or aborted before.
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn generic(error: std::io::Error) -> Error {
    Error::Generic {
        store: STORE,
        source: Box::new(error),
    }
}

/// No note, no upload.
fn unnoted(error: std::io::Error) -> Error {
    generic(std::io::Error::new(
        error.kind(),
        format!("the upload cannot be noted in the state folder: {error}"),
    ))
}
