//! Puts an object that must not be there yet, once and only once, over a connection that may break at any moment.

use std::time::Duration;

use futures::stream::TryStreamExt;
use object_store::path::Path;
use object_store::{Error, Extensions, GetOptions, ObjectStore, PutMode, PutOptions, PutPayload, PutResult, Result};

use super::S3;
use super::said::Said;
use super::service::Attempts;
use crate::limits;

impl S3 {
    /// Puts an object. A store that does not keep conditions is asked first whether one is there.
    ///
    /// A put that broke off may have been done. It is tried again; found there then, the object is compared, and is ours
    /// where it has the same bytes.
    pub(super) async fn create(&self, full: &Path, payload: PutPayload) -> Result<PutResult> {
        let mut doubtful = false;
        for _ in 1..limits::S3_CREATE_TRIES {
            match self.put(full, &payload, &mut doubtful).await {
                Err(Error::AlreadyExists { .. }) if doubtful && self.holds(full, &payload).await? => {
                    return Ok(stored());
                }
                Err(error) if self.may_pass(&error) => {
                    tokio::time::sleep(Duration::from_millis(limits::S3_BACKOFF_MILLISECONDS)).await;
                }
                answer => return answer,
            }
        }
        match self.put(full, &payload, &mut doubtful).await {
            Err(Error::AlreadyExists { .. }) if doubtful && self.holds(full, &payload).await? => Ok(stored()),
            answer => answer,
        }
    }

    /// One put, with `object_store`'s own retries; `doubtful` is set where an earlier attempt may have been done.
    async fn put(&self, full: &Path, payload: &PutPayload, doubtful: &mut bool) -> Result<PutResult> {
        let attempts = Attempts::default();
        let mut extensions = Extensions::new();
        extensions.insert(attempts.clone());
        let asked = self.0.conditions.are_asked_for();
        if !asked && self.is_there(full).await? {
            return Err(already(full));
        }
        let options = PutOptions {
            mode: if asked { PutMode::Create } else { PutMode::Overwrite },
            extensions,
            ..PutOptions::default()
        };
        let answer = self.0.store.put_opts(full, payload.clone(), options).await;
        let unclear = answer
            .as_ref()
            .err()
            .is_some_and(|error| Said::of(error).leaves_doubt());
        *doubtful |= unclear || attempts.count() > 1;
        answer
    }

    /// Whether another try may end otherwise: the put is in doubt, met another one, or asked for what the store cannot do.
    fn may_pass(&self, error: &Error) -> bool {
        let said = Said::of(error);
        match said.status() {
            Some(409) => true,
            Some(501) if self.0.conditions.are_asked_for() => {
                self.0.conditions.give_up();
                true
            }
            // Tried often enough below.
            Some(_) => false,
            None => matches!(error, Error::Generic { .. }) && said.leaves_doubt(),
        }
    }

    /// Whether an object of this name is there.
    pub(super) async fn is_there(&self, full: &Path) -> Result<bool> {
        let options = GetOptions {
            head: true,
            ..GetOptions::default()
        };
        match self.head(full, options).await {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the object has just these bytes.
    async fn holds(&self, full: &Path, payload: &PutPayload) -> Result<bool> {
        let result = match self.get(full, GetOptions::default()).await {
            Err(Error::NotFound { .. }) => return Ok(false),
            answer => answer?,
        };
        if result.meta.size != payload.content_length() as u64 {
            return Ok(false);
        }
        let mut expected = payload.iter().flat_map(|piece| piece.iter());
        let mut found = result.into_stream();
        while let Some(piece) = found.try_next().await? {
            if !piece.iter().all(|byte| expected.next() == Some(byte)) {
                return Ok(false);
            }
        }
        Ok(expected.next().is_none())
    }
}

/// What is said of an object that is there already.
pub(super) fn already(full: &Path) -> Error {
    Error::AlreadyExists {
        path: full.to_string(),
        source: "an object of this name is there".into(),
    }
}

/// What is said of an object that was stored.
pub(super) fn stored() -> PutResult {
    PutResult {
        e_tag: None,
        version: None,
        extensions: Extensions::default(),
    }
}
