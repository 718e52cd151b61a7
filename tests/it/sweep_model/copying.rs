//! The actor that catches a store up from the one beside it, and the one who leaves rubbish where lists lie.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use futures::stream::{BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};
use strongroom::archive::catch_up::{Bounds, Ended, Lagging};
use strongroom::archive::layout;
use strongroom::archive::repository::{self, Backup, RepositoryError};
use strongroom::archive::retention;
use strongroom::clock::{Clock as _, FixedClock};
use strongroom::event::Events;
use strongroom::id::{EnvName, RunId};
use strongroom::target::Target;

use super::actors::{Bug, End, MAX_RUN, Play, put};

impl Play {
    /// What a run does before its capture: the backups of a line that `other` has and that are newer than the newest in `target`.
    pub(super) async fn catch_up(
        &self,
        target: &Target,
        other: &Target,
        host: &Arc<FixedClock>,
        bug: Bug,
    ) -> std::result::Result<End, RepositoryError> {
        let began = host.uptime();
        let environment: EnvName = self.environment().parse().unwrap();
        let listing = repository::list(&[target.clone(), other.clone()], &environment).await;
        let is_in = |backup: &Backup, target: &Target| backup.targets.iter().any(|one| one.name() == target.name());
        let line = || {
            listing
                .backups
                .iter()
                .filter(|backup| backup.lineage() == self.lineage())
        };
        let newest = line().filter(|backup| is_in(backup, target)).map(Backup::rank).max();
        let mut lacks: Vec<&Backup> = line()
            .filter(|backup| is_in(backup, other) && newest.as_ref().is_none_or(|newest| backup.rank() > *newest))
            .collect();
        lacks.sort_by(|a, b| a.rank().cmp(&b.rank()));
        let bounds = Bounds {
            clock: Arc::<FixedClock>::clone(host),
            // Now and then the time is up at once: one object is copied, and no more.
            until: if self.lots[2].is_multiple_of(5) {
                began
            } else {
                began + MAX_RUN
            },
            last: began + MAX_RUN / 2,
            stop: Arc::new(AtomicBool::new(false)),
        };
        let into = match bug {
            Bug::CopiesBlindly => Target::from_store(target.name().clone(), Arc::new(Blind(target.store()))),
            _ => target.clone(),
        };
        let mut lagging = Lagging::look(&into, bounds, &Events::none()).await?;
        let mut copied = 0;
        for backup in lacks {
            let record = &backup.record;
            if bug == Bug::CopiesRecordFirst {
                put(&into, &layout::record(&record.environment, &record.id), &backup.bytes).await?;
            }
            match lagging.take(backup, &[]).await {
                Ok(()) => copied += 1,
                Err(Ended::PassedOver(_)) => {}
                Err(Ended::Swept(_)) => retention::remove(target, record).await?,
                Err(Ended::Target(error)) => return Err(error),
                Err(Ended::Late | Ended::Stopped) => break,
            }
        }
        Ok(End::CaughtUp(copied))
    }

    pub(super) async fn spoil(&self, target: &Target) -> std::result::Result<End, RepositoryError> {
        let [a, b, c, d] = self.number().to_be_bytes();
        let run = RunId::new(2, [a, b, c, d, 0, 0, 0, 0, 0, 0]);
        put(target, &layout::sweep_list(run, 1), b"{ \"format\": 1, \"ru").await?;
        Ok(End::Nothing)
    }
}

/// A store that shows no lists of sweeps.
#[derive(Debug)]
struct Blind(Arc<dyn ObjectStore>);

impl fmt::Display for Blind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Blind {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.0.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.0.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let is_shown = |found: &Result<ObjectMeta>| {
            let is_list = |meta: &ObjectMeta| meta.location.as_ref().starts_with(layout::SWEEP);
            !found.as_ref().is_ok_and(is_list)
        };
        self.0
            .list(prefix)
            .filter(move |found| std::future::ready(is_shown(found)))
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}
