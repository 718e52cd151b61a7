//! A store in memory whose clock stands still until it is moved, for tests of what depends on the store's own time stamps.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use jiff::Timestamp;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result, UploadPart,
};

use super::memory::Memory;

use crate::poison;

/// The clock of a [`Dated`] store. A clone is the same clock.
#[derive(Clone, Debug)]
pub struct StoreClock(Arc<Mutex<Times>>);

#[derive(Debug)]
struct Times {
    now: Timestamp,
    written: BTreeMap<Path, Timestamp>,
}

impl StoreClock {
    /// Moves the clock.
    pub fn set(&self, now: Timestamp) {
        poison::lock(&self.0).now = now;
    }

    /// Where the clock stands.
    pub fn now(&self) -> Timestamp {
        poison::lock(&self.0).now
    }

    fn note(&self, object: &Path) {
        let mut times = poison::lock(&self.0);
        let now = times.now;
        times.written.insert(object.clone(), now);
    }

    fn date(&self, mut meta: ObjectMeta) -> ObjectMeta {
        let times = poison::lock(&self.0);
        if let Some(written) = times.written.get(&meta.location) {
            meta.last_modified = SystemTime::from(*written).into();
        }
        meta
    }
}

/// Objects in memory, each with the time at which this store's clock stood when it was written.
#[derive(Debug)]
pub struct Dated {
    inner: Memory,
    clock: StoreClock,
}

impl Dated {
    /// A store that holds nothing, and its clock.
    pub fn new(now: Timestamp) -> (Self, StoreClock) {
        let written = BTreeMap::new();
        let clock = StoreClock(Arc::new(Mutex::new(Times { now, written })));
        let store = Self {
            inner: Memory::new(),
            clock: clock.clone(),
        };
        (store, clock)
    }
}

impl fmt::Display for Dated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Dated {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let put = self.inner.put_opts(location, payload, opts).await?;
        self.clock.note(location);
        Ok(put)
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Ok(Box::new(Upload {
            inner: self.inner.put_multipart_opts(location, opts).await?,
            location: location.clone(),
            clock: self.clock.clone(),
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let mut result = self.inner.get_opts(location, options).await?;
        result.meta = self.clock.date(result.meta);
        Ok(result)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let clock = self.clock.clone();
        let listed = self.inner.list(prefix);
        listed.map(move |meta| Ok(clock.date(meta?))).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let mut listed = self.inner.list_with_delimiter(prefix).await?;
        listed.objects = listed.objects.into_iter().map(|meta| self.clock.date(meta)).collect();
        Ok(listed)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await?;
        self.clock.note(to);
        Ok(())
    }
}

#[derive(Debug)]
struct Upload {
    inner: Box<dyn MultipartUpload>,
    location: Path,
    clock: StoreClock,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let put = self.inner.complete().await?;
        self.clock.note(&self.location);
        Ok(put)
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Target;

    #[tokio::test]
    async fn an_object_has_the_time_at_which_the_clock_stood_when_it_was_written() {
        let begin: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let (store, clock) = Dated::new(begin);
        let target = Target::from_store("a".parse().unwrap(), Arc::new(store));
        target.create("first", Bytes::from_static(b"1")).await.unwrap();
        let later: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        clock.set(later);
        let mut writer = target.writer("second").await.unwrap();
        writer.put(Bytes::from_static(b"2")).await.unwrap();
        writer.finish().await.unwrap();
        // A put that changes nothing changes no time.
        target.create("first", Bytes::from_static(b"3")).await.unwrap();
        let times: Vec<Timestamp> = target
            .list("")
            .await
            .unwrap()
            .into_iter()
            .map(|(_, info)| info.modified)
            .collect();
        assert_eq!(times, [begin, later]);
        assert_eq!(target.head("first").await.unwrap().unwrap().modified, begin);
    }
}
