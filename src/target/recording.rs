//! A store that remembers what was asked of it and in which order, for tests.

use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::stream::{BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result, UploadPart,
};

use crate::poison;

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// A whole object was put.
    Put,
    /// A streamed object was begun.
    Begin,
    /// A part of a streamed object was put.
    Part,
    /// A streamed object was completed.
    Complete,
    /// A streamed object was aborted.
    Abort,
    /// An object or a range of it was read.
    Get,
    /// An object was looked at.
    Head,
    /// A folder was listed.
    List,
    /// An object was deleted.
    Delete,
}

/// One thing that was asked, when it was asked; whether it succeeded is not said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// What.
    pub operation: Operation,
    /// Of which object or folder.
    pub object: String,
    /// Bytes that were put.
    pub bytes: u64,
}

/// What was asked so far. A clone is the same list.
#[derive(Clone, Debug, Default)]
pub struct Calls(Arc<Mutex<Vec<Call>>>);

impl Calls {
    /// Everything, in order.
    pub fn all(&self) -> Vec<Call> {
        poison::lock(&self.0).clone()
    }

    /// How often `operation` was asked for.
    pub fn count(&self, operation: Operation) -> usize {
        self.all().iter().filter(|call| call.operation == operation).count()
    }

    /// The objects of `operation`, in order.
    pub fn objects(&self, operation: Operation) -> Vec<String> {
        let calls = self.all().into_iter();
        calls
            .filter(|call| call.operation == operation)
            .map(|call| call.object)
            .collect()
    }

    fn note(&self, operation: Operation, object: &Path, bytes: usize) {
        poison::lock(&self.0).push(Call {
            operation,
            object: object.to_string(),
            bytes: bytes as u64,
        });
    }
}

/// Passes everything on and remembers it.
#[derive(Debug)]
pub struct Recording {
    inner: Arc<dyn ObjectStore>,
    calls: Calls,
}

impl Recording {
    /// Stands before `inner`.
    pub fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self {
            inner,
            calls: Calls::default(),
        }
    }

    /// The list that this store writes to.
    pub fn calls(&self) -> Calls {
        self.calls.clone()
    }
}

impl fmt::Display for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Recording {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.calls.note(Operation::Put, location, payload.content_length());
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.calls.note(Operation::Begin, location, 0);
        Ok(Box::new(Upload {
            inner: self.inner.put_multipart_opts(location, opts).await?,
            location: location.clone(),
            calls: self.calls.clone(),
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let operation = if options.head { Operation::Head } else { Operation::Get };
        self.calls.note(operation, location, 0);
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let calls = self.calls.clone();
        let noted = locations.inspect(move |location| {
            if let Ok(location) = location {
                calls.note(Operation::Delete, location, 0);
            }
        });
        self.inner.delete_stream(noted.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.calls.note(Operation::List, prefix.unwrap_or(&Path::ROOT), 0);
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.calls.note(Operation::List, prefix.unwrap_or(&Path::ROOT), 0);
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[derive(Debug)]
struct Upload {
    inner: Box<dyn MultipartUpload>,
    location: Path,
    calls: Calls,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.calls.note(Operation::Part, &self.location, data.content_length());
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.calls.note(Operation::Complete, &self.location, 0);
        self.inner.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        self.calls.note(Operation::Abort, &self.location, 0);
        self.inner.abort().await
    }
}
