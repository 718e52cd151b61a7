//! Where backups are kept: one URL, an `object_store` behind it, and the few things this program does with it.
//!
//! Every put is create-only. A target never overwrites.

pub mod dated;
mod error;
pub mod faulty;
pub mod ledger;
pub mod local;
pub mod memory;
pub mod recording;
pub mod s3;
pub mod scheme;
pub mod settings;
mod writer;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use object_store::{GetOptions, GetRange, GetResult, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use serde::{Deserialize, Serialize};

pub use self::error::TargetError;
pub use self::settings::{Access, Fault, TargetSettings};
pub use self::writer::ObjectWriter;
use crate::id::TargetName;
use crate::limits;

/// What came of a create-only put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// The object is new and durable.
    New,
    /// An object of this name was there before; nothing was written.
    Existed,
}

/// What a store keeps when it is asked not to overwrite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keeps {
    /// What is there stays, whoever else writes at the same moment.
    Conditions,
    /// It overwrites. Each put is preceded by a look, so that one writer alone overwrites nothing; two at the same moment
    /// may.
    Nothing,
}

/// What a target knows of an object without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Bytes.
    pub size: u64,
    /// When it was written, by the store's own clock.
    pub modified: jiff::Timestamp,
}

/// A place where backups are kept. Cheap to clone.
///
/// Object names are parts joined by `/`; no part is empty, `.`, `..`, longer than 255 bytes, begins with `.tmp-` or holds
/// a control character or a backslash, which some stores take for `/`. Methods need a tokio runtime.
#[derive(Clone)]
pub struct Target(Arc<Inner>);

struct Inner {
    name: TargetName,
    url: String,
    store: Arc<dyn ObjectStore>,
    backend: Backend,
}

/// What is behind a target, for what only some kinds can do.
enum Backend {
    /// A folder of this host.
    Folder(Arc<local::root::Root>),
    /// A bucket.
    S3(s3::S3),
    /// A store that was handed in.
    Other,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Target({} {})", self.0.name, self.0.url)
    }
}

impl Target {
    /// Takes a target by its settings; a relative `file:` URL counts from `base`. Opens no connection and makes nothing.
    ///
    /// # Errors
    /// When the URL's scheme is not known, a setting does not fit it, or `access` lacks what the scheme needs.
    pub fn open(
        name: TargetName,
        settings: &TargetSettings,
        base: &Path,
        access: &Access,
    ) -> Result<Self, TargetError> {
        let scheme::Opened { url, store, backend } = scheme::open(settings, base, access)?;
        Ok(Self(Arc::new(Inner {
            name,
            url,
            store,
            backend,
        })))
    }

    /// A target that lives in memory, for tests.
    pub fn memory(name: TargetName) -> Self {
        Self::from_store(name, Arc::new(memory::Memory::new()))
    }

    /// A target on any store, for tests: [`faulty::Faulty`], [`recording::Recording`].
    pub fn from_store(name: TargetName, store: Arc<dyn ObjectStore>) -> Self {
        Self(Arc::new(Inner {
            name,
            url: format!("{store}"),
            store,
            backend: Backend::Other,
        }))
    }

    /// The name that the environment gives it.
    pub fn name(&self) -> &TargetName {
        &self.0.name
    }

    /// The URL, with an absolute path.
    pub fn url(&self) -> String {
        self.0.url.clone()
    }

    /// The store behind the target, to put a wrapper before it.
    pub fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.0.store)
    }

    /// Stores a small object that is not there yet. When this returns [`Created::New`] the object is durable.
    ///
    /// # Errors
    /// When it cannot be stored; then nothing of it is there.
    pub async fn create(&self, object: &str, bytes: Bytes) -> Result<Created, TargetError> {
        let path = self.path(object)?;
        let options = PutOptions::from(PutMode::Create);
        match self.0.store.put_opts(&path, bytes.into(), options).await {
            Ok(_) => Ok(Created::New),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(Created::Existed),
            Err(error) => Err(self.error(object, error)),
        }
    }

    /// Begins an object that is written in pieces and comes to be, whole and durable, by [`ObjectWriter::finish`].
    pub async fn writer(&self, object: &str) -> Result<ObjectWriter, TargetError> {
        let path = self.path(object)?;
        let upload = self.0.store.put_multipart(&path).await;
        let upload = upload.map_err(|error| self.error(object, error))?;
        Ok(ObjectWriter::new(self.clone(), object.to_owned(), upload))
    }

    /// Reads a whole object of at most `limit` bytes.
    ///
    /// # Errors
    /// When it is missing, larger than `limit`, shorter than the store says, or cannot be read.
    pub async fn read(&self, object: &str, limit: usize) -> Result<Bytes, TargetError> {
        let path = self.path(object)?;
        let result = self.0.store.get_opts(&path, GetOptions::default()).await;
        let result = result.map_err(|error| self.error(object, error))?;
        let size = result.meta.size;
        let length = match usize::try_from(size) {
            Ok(length) if length <= limit => length,
            _ => return Err(TargetError::too_large(self, object, size, limit)),
        };
        let mut pieces: Vec<Bytes> = self.pieces(object, result, size).try_collect().await?;
        if let [_] = pieces.as_slice() {
            return Ok(pieces.swap_remove(0));
        }
        let mut whole = BytesMut::with_capacity(length);
        for piece in &pieces {
            whole.extend_from_slice(piece);
        }
        Ok(whole.freeze())
    }

    /// Reads an object, or a range of it, in pieces of at most 1 MiB. The store reads a few pieces ahead and no further.
    ///
    /// The stream ends with an error where the store gives another number of bytes than was asked for.
    ///
    /// # Errors
    /// When it is missing, cannot be read, or ends before the range does.
    pub async fn stream(
        &self,
        object: &str,
        range: Option<Range<u64>>,
    ) -> Result<BoxStream<'static, Result<Bytes, TargetError>>, TargetError> {
        let path = self.path(object)?;
        if range.as_ref().is_some_and(|range| range.start >= range.end) {
            return Ok(futures::stream::empty().boxed());
        }
        let options = GetOptions {
            range: range.clone().map(GetRange::Bounded),
            ..GetOptions::default()
        };
        let result = match self.0.store.get_opts(&path, options).await {
            Ok(result) => result,
            Err(error) => return Err(self.unread(object, range, error).await),
        };
        let expected = range.map_or(result.meta.size, |range| range.end - range.start);
        let found = result.range.end.saturating_sub(result.range.start);
        if found != expected {
            return Err(TargetError::wrong_length(self, object, found, expected));
        }
        Ok(self.pieces(object, result, expected))
    }

    /// Why a range was not read: stores say in many ways that an object ends before it, which is no failure of theirs.
    async fn unread(&self, object: &str, range: Option<Range<u64>>, error: object_store::Error) -> TargetError {
        let is_missing = matches!(error, object_store::Error::NotFound { .. });
        if let Some(range) = range.filter(|_| !is_missing)
            && let Ok(Some(info)) = self.head(object).await
            && info.size <= range.start
        {
            return TargetError::wrong_length(self, object, 0, range.end - range.start);
        }
        self.error(object, error)
    }

    /// Reads a range of an object whole.
    ///
    /// # Errors
    /// When it is missing, cannot be read, or ends before the range does.
    pub async fn read_range(&self, object: &str, range: Range<u64>) -> Result<Vec<u8>, TargetError> {
        let length = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(0);
        let mut stream = self.stream(object, Some(range)).await?;
        let mut bytes = Vec::new();
        while let Some(piece) = stream.try_next().await? {
            if bytes.is_empty() && piece.len() == length {
                // All of it: nothing is copied where nobody else has it.
                bytes = piece.into();
                continue;
            }
            if bytes.capacity() == 0 {
                bytes.reserve(length.min(limits::FRAME_MAX));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    /// What is known of an object; `None` where it is not there.
    pub async fn head(&self, object: &str) -> Result<Option<ObjectInfo>, TargetError> {
        let path = self.path(object)?;
        match self.0.store.head(&path).await {
            Ok(meta) => self.info(object, &meta).map(Some),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.error(object, error)),
        }
    }

    /// All objects below the folder `prefix` (empty for all), sorted by name; names count from the target. A folder that
    /// is not there has none.
    pub async fn list(&self, prefix: &str) -> Result<Vec<(String, ObjectInfo)>, TargetError> {
        let path = match prefix.trim_end_matches('/') {
            "" => None,
            folder => Some(self.path(folder)?),
        };
        let found: Result<Vec<ObjectMeta>, _> = self.0.store.list(path.as_ref()).try_collect().await;
        let found = found.map_err(|error| self.error(prefix, error))?;
        let mut objects = Vec::with_capacity(found.len());
        for meta in found {
            let info = self.info(meta.location.as_ref(), &meta)?;
            objects.push((String::from(meta.location), info));
        }
        objects.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Ok(objects)
    }

    /// Removes an object. One that is not there is removed already.
    pub async fn delete(&self, object: &str) -> Result<(), TargetError> {
        let path = self.path(object)?;
        match self.0.store.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.error(object, error)),
        }
    }

    /// Whether the target's own folder is there. The first put makes it.
    pub async fn exists(&self) -> Result<bool, TargetError> {
        let Backend::Folder(folder) = &self.0.backend else {
            return Ok(true);
        };
        let folder = Arc::clone(folder);
        let there = local::blocking(move || folder.is_there()).await;
        there.map_err(|error| TargetError::of_io(self, "", error))
    }

    /// Whether the store keeps its word where it is asked not to overwrite. Only S3 is asked, by an object created twice.
    ///
    /// # Errors
    /// When the object cannot be created.
    pub async fn probe(&self) -> Result<Keeps, TargetError> {
        let Backend::S3(store) = &self.0.backend else {
            return Ok(Keeps::Conditions);
        };
        let mut random = [0_u8; 8];
        getrandom::fill(&mut random)
            .map_err(|error| TargetError::of_io(self, "", std::io::Error::other(error.to_string())))?;
        let object = format!("probe-{}", hex::encode(random));
        let probed = store.probe(&self.path(&object)?).await;
        probed.map_err(|error| self.error(&object, error))
    }

    /// Tells the target what an earlier probe found.
    pub fn take_for(&self, keeps: Keeps) {
        if let (Backend::S3(store), Keeps::Nothing) = (&self.0.backend, keeps) {
            store.give_up_conditions();
        }
    }

    /// Gives up uploads of these objects that a dead run left unfinished. Gives how many there were.
    ///
    /// # Errors
    /// When the store does not list or does not end them.
    pub async fn give_up(&self, objects: &[String]) -> Result<usize, TargetError> {
        let Backend::S3(store) = &self.0.backend else {
            return Ok(0);
        };
        store.give_up(objects).await.map_err(|error| self.error("", error))
    }

    /// Gives up unfinished uploads below the target that are older than a run may take. Gives how many there were.
    ///
    /// # Errors
    /// When the store does not list or does not end them.
    pub async fn give_up_stale(&self) -> Result<usize, TargetError> {
        let Backend::S3(store) = &self.0.backend else {
            return Ok(0);
        };
        store.give_up_stale().await.map_err(|error| self.error("", error))
    }

    /// Removes the files on their way that dead runs of this host left in a folder. Gives how many there were.
    ///
    /// # Errors
    /// When the folder cannot be read or written.
    pub async fn clear_leftovers(&self) -> Result<usize, TargetError> {
        let Backend::Folder(folder) = &self.0.backend else {
            return Ok(0);
        };
        let folder = Arc::clone(folder);
        let removed = local::blocking(move || local::remove_all_stale(&folder)).await;
        removed.map_err(|error| TargetError::of_io(self, "", error))
    }

    /// Bytes of the next part of a streamed upload of which so many were sent.
    fn part_size(&self, sent: u64) -> usize {
        match &self.0.backend {
            Backend::S3(_) => s3::part_size(sent),
            Backend::Folder(_) | Backend::Other => limits::UPLOAD_PART,
        }
    }

    /// Checks an object's name.
    fn path(&self, object: &str) -> Result<object_store::path::Path, TargetError> {
        let fits = object.split('/').all(|part| {
            !part.is_empty()
                && part.len() <= limits::OBJECT_PART_MAX
                && !part.starts_with(local::TEMPORARY_PREFIX)
                && !part.contains('\\')
        });
        let parsed = object_store::path::Path::parse(object);
        match parsed {
            Ok(path) if fits => Ok(path),
            _ => Err(TargetError::bad_name(self, object)),
        }
    }

    fn info(&self, object: &str, meta: &ObjectMeta) -> Result<ObjectInfo, TargetError> {
        let modified = jiff::Timestamp::try_from(SystemTime::from(meta.last_modified));
        Ok(ObjectInfo {
            size: meta.size,
            modified: modified.map_err(|error| TargetError::of_io(self, object, std::io::Error::other(error)))?,
        })
    }

    fn error(&self, object: &str, error: object_store::Error) -> TargetError {
        TargetError::of_store(self, object, error)
    }

    /// The bytes of `result` in pieces of bounded size, checked to be `expected` bytes.
    fn pieces(&self, object: &str, result: GetResult, expected: u64) -> BoxStream<'static, Result<Bytes, TargetError>> {
        let state = Pieces {
            target: self.clone(),
            object: object.to_owned(),
            inner: result.into_stream(),
            rest: Bytes::new(),
            given: 0,
            expected,
            ended: false,
        };
        futures::stream::unfold(state, |mut state| async move { Some((state.next().await?, state)) }).boxed()
    }
}

/// A stream on its way from the store to the reader.
struct Pieces {
    target: Target,
    object: String,
    inner: BoxStream<'static, object_store::Result<Bytes>>,
    rest: Bytes,
    given: u64,
    expected: u64,
    ended: bool,
}

impl Pieces {
    async fn next(&mut self) -> Option<Result<Bytes, TargetError>> {
        while self.rest.is_empty() {
            if self.ended {
                return None;
            }
            match self.inner.next().await {
                Some(Ok(bytes)) => self.rest = bytes,
                Some(Err(error)) => {
                    self.ended = true;
                    return Some(Err(self.target.error(&self.object, error)));
                }
                None => {
                    self.ended = true;
                    if self.given != self.expected {
                        return Some(Err(self.wrong_length()));
                    }
                }
            }
        }
        let piece = self.rest.split_to(self.rest.len().min(limits::READ_BLOCK));
        self.given = self.given.saturating_add(piece.len() as u64);
        if self.given > self.expected {
            self.ended = true;
            self.rest = Bytes::new();
            return Some(Err(self.wrong_length()));
        }
        Some(Ok(piece))
    }

    fn wrong_length(&self) -> TargetError {
        TargetError::wrong_length(&self.target, &self.object, self.given, self.expected)
    }
}
