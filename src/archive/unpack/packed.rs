//! Reads a backup in chunks: the catalog is planned into batches, workers read the frames that a batch needs, and the entries come out in
//! their order with their content.
//!
//! A batch is a few frames, so what is in memory is bounded whatever the backup's size; frames that the next batch needs too are
//! read once.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use tokio::runtime::Handle;

use crate::archive::catalog::{Line, Listed, Place};
use crate::archive::chunks::fetch::{FetchError, Fetcher, FrameKey, FramePart};
use crate::archive::keys::Opening;
use crate::archive::proofs::Proofs;
use crate::archive::record::Record;
use crate::archive::refs;
use crate::archive::repository::RepositoryError;
use crate::codec::ordered::{self, Jobs};
use crate::codec::plain::Plain;
use crate::event::Events;
use crate::limits::{BATCH_ENTRIES, BATCH_FRAMES, FETCHERS_MIN, JOB_STEPS};
use crate::target::Target;

use super::lines::Lines;
use super::tally::Tally;
use super::{BackupSink, Filter, UnpackError, Unpacked};

/// A stretch of an entry with the parts of frames that hold it.
struct Stretch {
    listed: Arc<Listed>,
    begins: bool,
    ends: bool,
    parts: Vec<FramePart>,
    /// Whether its content is read.
    wanted: bool,
}

/// What is read together.
#[derive(Default)]
struct Batch {
    stretches: Vec<Stretch>,
    frames: BTreeMap<FrameKey, Option<Plain>>,
}

type Read = Result<Batch, UnpackError>;

pub(super) async fn unpack<S: BackupSink + 'static>(
    target: &Target,
    record: &Record,
    opening: &Opening,
    (events, proofs): (&Events, Option<Arc<Proofs>>),
    sink: S,
) -> Result<(Unpacked, S), UnpackError> {
    let listed = refs::read(target, &record.refs).await;
    let listed = listed.map_err(|error| UnpackError::Refs(Box::new(RepositoryError::of_refs(target, error))))?;
    let handle = Handle::current();
    let fetcher = Fetcher::new(target, opening, listed, events, handle.clone()).with_proofs(proofs);
    let fetcher = Arc::new(fetcher);
    let workers = ordered::cores().max(FETCHERS_MIN);
    let (jobs, batches) = ordered::ordered(workers, 0, || {
        let fetcher = Arc::clone(&fetcher);
        Ok(move |batch: Result<Batch, UnpackError>| batch.and_then(|batch| fill(&fetcher, batch)))
    })
    .map_err(|_| UnpackError::Died)?;
    let planner = Planner {
        lines: Lines::new(target, record, opening, handle),
        filter: sink.filter(),
        fetcher,
        batch: Batch::default(),
        jobs,
    };
    let planner = tokio::task::spawn_blocking(move || planner.run());
    let record = record.clone();
    let work = move || {
        let mut taking = Taking {
            sink,
            tally: Tally::new(&record),
            content: blake3::Hasher::new(),
        };
        for batch in batches {
            taking.batch(batch.map_err(|_| UnpackError::Died)??)?;
        }
        Ok((taking.tally.finish(&record)?, taking.sink))
    };
    let taken = tokio::task::spawn_blocking(work).await.map_err(|_| UnpackError::Died)?;
    planner.await.map_err(|_| UnpackError::Died)?;
    taken
}

/// Reads the frames of a batch.
fn fill(fetcher: &Fetcher, mut batch: Batch) -> Read {
    for (key, plain) in &mut batch.frames {
        let frame = fetcher.frame(*key);
        *plain = Some(frame.map_err(|source| damaged(fetcher, key, source))?);
    }
    Ok(batch)
}

fn damaged(fetcher: &Fetcher, key: &FrameKey, source: FetchError) -> UnpackError {
    UnpackError::Pack {
        name: fetcher.object(&key.pack),
        source,
    }
}

/// Cuts the catalog into batches.
struct Planner {
    lines: Lines,
    filter: Option<Filter>,
    fetcher: Arc<Fetcher>,
    batch: Batch,
    jobs: Jobs<Result<Batch, UnpackError>, Read>,
}

/// Nobody takes batches any more; who stopped knows why.
struct Over;

impl Planner {
    fn run(mut self) {
        loop {
            let step = match self.lines.next() {
                Ok(Some(Line::Entry(listed))) => self.entry(*listed),
                Ok(Some(Line::Gone { .. })) => Ok(()),
                Ok(Some(Line::Superseded { .. })) => self.fail(UnpackError::Disagree {
                    path: "(a stretch that does not count)".into(),
                    what: "a line that belongs to an archive",
                }),
                Ok(None) => {
                    let _ = self.send();
                    return;
                }
                Err(error) => self.fail(error),
            };
            if step.is_err() {
                return;
            }
        }
    }

    /// Hands an error to who takes the batches, behind everything that came before it.
    fn fail(&mut self, error: UnpackError) -> Result<(), Over> {
        self.send()?;
        let _ = self.jobs.push(Err(error));
        Err(Over)
    }

    fn send(&mut self) -> Result<(), Over> {
        let batch = std::mem::take(&mut self.batch);
        if batch.stretches.is_empty() {
            return Ok(());
        }
        self.jobs.push(Ok(batch)).map_err(|_| Over)
    }

    fn entry(&mut self, listed: Listed) -> Result<(), Over> {
        let wanted = self.filter.as_ref().is_none_or(|filter| filter(&listed));
        let listed = Arc::new(listed);
        let runs = match &listed.place {
            Some(Place::Packs(packs)) if wanted => packs.runs.clone(),
            Some(Place::Packs(_)) | None => Vec::new(),
            Some(Place::Archive(_)) => {
                return self.fail(UnpackError::Disagree {
                    path: path_of(&listed),
                    what: "a place in an archive that the backup does not have",
                });
            }
        };
        let mut stretch = Stretch {
            listed: Arc::clone(&listed),
            begins: true,
            ends: false,
            parts: Vec::new(),
            wanted,
        };
        for run in runs {
            let parts = match self.fetcher.parts(&run.pack, run.offset, run.length) {
                Ok(parts) => parts,
                Err(source) => {
                    let name = self.fetcher.object(&run.pack);
                    return self.fail(UnpackError::Pack { name, source });
                }
            };
            for part in parts {
                let full = !self.batch.frames.contains_key(&part.frame) && self.batch.frames.len() >= BATCH_FRAMES;
                if full || stretch.parts.len() >= JOB_STEPS {
                    let next = Stretch {
                        listed: Arc::clone(&listed),
                        begins: stretch.begins && stretch.parts.is_empty(),
                        ends: false,
                        parts: Vec::new(),
                        wanted,
                    };
                    let before = std::mem::replace(&mut stretch, next);
                    if !before.parts.is_empty() {
                        self.batch.stretches.push(before);
                    }
                    self.send()?;
                }
                self.batch.frames.entry(part.frame).or_default();
                stretch.parts.push(part);
            }
        }
        stretch.ends = true;
        self.batch.stretches.push(stretch);
        if self.batch.stretches.len() >= BATCH_ENTRIES {
            self.send()?;
        }
        Ok(())
    }
}

fn path_of(listed: &Listed) -> String {
    format!("{}/{}", listed.source, listed.entry.path.display())
}

/// Takes batches in order.
struct Taking<S> {
    sink: S,
    tally: Tally,
    content: blake3::Hasher,
}

impl<S: BackupSink> Taking<S> {
    fn batch(&mut self, batch: Batch) -> Result<(), UnpackError> {
        let Batch { stretches, frames } = batch;
        for stretch in stretches {
            if stretch.begins {
                self.begin(&stretch.listed)?;
            }
            for part in &stretch.parts {
                let plain = frames.get(&part.frame).and_then(Option::as_ref);
                let data = plain.and_then(|plain| plain.get(Range::clone(&part.range)));
                self.data(&stretch.listed, data.ok_or(UnpackError::Died)?)?;
            }
            if stretch.ends {
                self.end(&stretch)?;
            }
        }
        Ok(())
    }

    fn begin(&mut self, listed: &Listed) -> Result<(), UnpackError> {
        self.tally.check(listed).map_err(|what| UnpackError::Disagree {
            path: path_of(listed),
            what,
        })?;
        self.content.reset();
        super::begin(&mut self.sink, listed).map_err(UnpackError::Sink)
    }

    fn data(&mut self, listed: &Listed, data: &[u8]) -> Result<(), UnpackError> {
        self.content.update(data);
        super::content(&mut self.sink, &listed.source, data).map_err(UnpackError::Sink)
    }

    fn end(&mut self, stretch: &Stretch) -> Result<(), UnpackError> {
        let listed = &stretch.listed;
        if stretch.wanted
            && listed
                .blake3
                .is_some_and(|digest| digest != self.content.finalize().into())
        {
            return Err(UnpackError::Content { path: path_of(listed) });
        }
        super::end(&mut self.sink, &listed.source).map_err(UnpackError::Sink)?;
        self.tally.count(listed);
        Ok(())
    }
}
