//! A target in a folder of this host: `object_store`'s interface on plain system calls. Files 0600, folders 0700; each
//! object is durable before it is visible; no symbolic link below the root is followed.

mod listing;
mod reading;
pub mod root;
mod temporary;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use futures::stream::{BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use rustix::fs::AtFlags;

use self::root::Root;
pub use self::temporary::TEMPORARY_PREFIX;
pub(super) use self::temporary::remove_all_stale;
use self::temporary::{Publish, Temporary, write_at};
use crate::limits;

const STORE: &str = "file";

/// Objects as files below one folder.
#[derive(Clone, Debug)]
pub struct Local(Arc<Root>);

impl Local {
    /// Names the folder. Nothing is opened or made before the first use.
    pub fn new(path: PathBuf) -> Self {
        Self(Arc::new(Root::new(path)))
    }

    /// The folder below which everything lies.
    pub fn root(&self) -> Arc<Root> {
        Arc::clone(&self.0)
    }
}

impl fmt::Display for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "file:{}", self.0.path().display())
    }
}

/// Runs `work`, which waits for the disk, where waiting holds up nobody.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// Says of an operating system's error what kind of thing happened to the object at `path`.
fn explain(path: &Path, error: io::Error) -> Error {
    let kind = error.kind();
    let source = Box::new(error);
    let path = path.to_string();
    match kind {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Error::NotFound { path, source },
        io::ErrorKind::AlreadyExists => Error::AlreadyExists { path, source },
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Error::PermissionDenied { path, source },
        _ => Error::Generic { store: STORE, source },
    }
}

fn stored() -> PutResult {
    PutResult {
        e_tag: None,
        version: None,
        extensions: object_store::Extensions::default(),
    }
}

#[async_trait]
impl ObjectStore for Local {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let how = match opts.mode {
            PutMode::Create => Publish::CreateOnly,
            PutMode::Overwrite => Publish::Replace,
            PutMode::Update(_) => return Err(not_implemented("put with PutMode::Update")),
        };
        let (root, path) = (self.root(), location.clone());
        let written = blocking(move || {
            let temporary = Temporary::create(&root, &path)?;
            write_at(&temporary.file(), payload.as_ref(), 0)?;
            temporary.publish(payload.content_length() as u64, how)
        });
        written.await.map_err(|error| explain(location, error))?;
        Ok(stored())
    }

    /// Parts are written one behind the other into one file. `complete` is create-only.
    async fn put_multipart_opts(&self, location: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let (root, path) = (self.root(), location.clone());
        let temporary = blocking(move || Temporary::create(&root, &path)).await;
        let temporary = temporary.map_err(|error| explain(location, error))?;
        Ok(Box::new(Upload {
            location: location.clone(),
            progress: Arc::default(),
            temporary: Some(temporary),
            size: 0,
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        reading::get(self.root(), location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let root = self.root();
        locations
            .then(move |location| {
                let root = Arc::clone(&root);
                async move {
                    let location = location?;
                    let path = location.clone();
                    let removed = blocking(move || remove(&root, &path)).await;
                    removed.map_err(|error| explain(&location, error))?;
                    Ok(location)
                }
            })
            .boxed()
    }

    /// Sorted by name.
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        listing::list(self.root(), prefix.cloned().unwrap_or_default())
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        listing::list_level(self.root(), prefix.cloned().unwrap_or_default()).await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(not_implemented("copy"))
    }
}

fn not_implemented(operation: &str) -> Error {
    Error::NotImplemented {
        operation: operation.to_owned(),
        implementer: STORE.to_owned(),
    }
}

/// Removes an object durably: what is deleted after it must not be gone while it is back.
fn remove(root: &Root, path: &Path) -> io::Result<()> {
    let parent = path.parent().unwrap_or_default();
    let folder = root.folder(parent.as_ref())?;
    rustix::fs::unlinkat(&folder, path.filename().unwrap_or_default(), AtFlags::empty())?;
    root.sync_folder(&folder)
}

/// An object on its way. Dropped before `complete`, it leaves nothing.
#[derive(Debug)]
struct Upload {
    location: Path,
    progress: Arc<Progress>,
    temporary: Option<Temporary>,
    /// Bytes of all parts handed in.
    size: u64,
}

/// What the writing threads know of one object.
#[derive(Debug, Default)]
struct Progress {
    /// Bytes that stand in the file.
    written: AtomicU64,
    /// Bytes of these that went into the page cache.
    waiting: AtomicU64,
    /// Bytes of these that were sent to the disk.
    sent: AtomicU64,
    /// Whether a thread sends just now.
    sending: AtomicBool,
}

impl Upload {
    fn gone(&self) -> Error {
        let source = "the upload was completed or aborted before".into();
        let path = self.location.to_string();
        Error::Precondition { path, source }
    }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let Some(temporary) = &self.temporary else {
            return Box::pin(std::future::ready(Err(self.gone())));
        };
        let (file, offset, length) = (temporary.file(), self.size, data.content_length() as u64);
        self.size += length;
        let (progress, location) = (Arc::clone(&self.progress), self.location.clone());
        Box::pin(async move {
            let work = blocking(move || {
                let waiting = write_at(&file, data.as_ref(), offset)?;
                drop(data);
                progress.written.fetch_add(length, Ordering::SeqCst);
                let waiting = progress.waiting.fetch_add(waiting, Ordering::SeqCst) + waiting;
                write_behind(&progress, file.file(), waiting)
            });
            work.await.map_err(|error| explain(&location, error))
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let size = self.size;
        if self.progress.written.load(Ordering::SeqCst) != size {
            let source = "not all parts of the object were written".into();
            return Err(Error::Generic { store: STORE, source });
        }
        let Some(temporary) = self.temporary.take() else {
            return Err(self.gone());
        };
        let published = blocking(move || temporary.publish(size, Publish::CreateOnly));
        published.await.map_err(|error| explain(&self.location, error))?;
        Ok(stored())
    }

    async fn abort(&mut self) -> Result<()> {
        self.temporary = None;
        Ok(())
    }
}

/// Sends what was written so far to the disk while later parts are still being made, so that the last sync is short and
/// a large backup does not fill the memory with pages to be written.
fn write_behind(progress: &Progress, file: &std::fs::File, waiting: u64) -> io::Result<()> {
    let due = waiting.saturating_sub(progress.sent.load(Ordering::SeqCst)) >= limits::WRITE_BEHIND;
    if !due || progress.sending.swap(true, Ordering::SeqCst) {
        return Ok(());
    }
    progress.sent.store(waiting, Ordering::SeqCst);
    // Not counted as a sync: it only shortens the one that counts.
    let sent = rustix::io::retry_on_intr(|| rustix::fs::fdatasync(file)).map_err(io::Error::from);
    progress.sending.store(false, Ordering::SeqCst);
    sent
}
