//! A backup in chunks from its capture to its catalog, as one dataflow: capture → frames → compressors → packs → targets, then the
//! catalog. What is in memory at once is bounded by the queues: a few frames a core and a few packs a target.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::archive::epoch::HostEpoch;
use crate::archive::fan::{Fan, Item as Sent, Queue, fan_out};
use crate::archive::layout;
use crate::archive::pack::{Content, Origin, PackError, PackObject, Packed};
use crate::archive::record::Record;
use crate::archive::sweep::doomed::Doomed;
use crate::crypto::Digest;
use crate::event::Events;
use crate::id::BackupId;
use crate::source::SinkError;
use crate::target::Target;

use super::arrived::Ledger;
use super::base::Base;
use super::index::PackInfo;
use super::packer::{self, Outlet, PackingError, Packs};
use super::pages::NewPages;
use super::publish::{self, Making, PendingIndex, PublishError, Published};
use super::sink::{ChunkSink, Settings, Totals};
use crate::archive::naming::{Naming, Sealing};

/// What the capture writes into.
pub type StoreSink = ChunkSink<Outlet>;

/// How a backup in chunks is made and where it goes.
pub struct Storing {
    /// Level of the frames.
    pub level: i32,
    /// What everything is sealed to.
    pub epoch: Option<Arc<HostEpoch>>,
    /// The backup built on, and its record.
    pub base: Option<(Arc<Base>, Record)>,
    /// What the sink is made with.
    pub settings: Settings,
    /// Where the index will stand.
    pub index: PathBuf,
    /// Where the packs of this run are noted, for the next one.
    pub ledger: Option<Ledger>,
    /// Targets.
    pub targets: Vec<Target>,
    /// How many of them must take it.
    pub required: usize,
    /// Objects that must not be relied on where they are there already.
    pub doomed: Arc<Doomed>,
    /// What makes an object this backup's own where one of the same name is doomed.
    pub salt: String,
}

impl Storing {
    fn naming(&self) -> Naming {
        Naming {
            sealing: Sealing::of(self.epoch.as_deref()),
            doomed: Arc::clone(&self.doomed),
            salt: self.salt.clone(),
        }
    }
}

/// What this host remembers of the new backup, to be put in place once that stands.
pub struct Memory {
    index: PendingIndex,
    pages: Vec<NewPages>,
    ledger: Option<PathBuf>,
    /// Sums over what was captured.
    pub totals: Totals,
}

impl Memory {
    /// Puts it in place.
    ///
    /// # Errors
    /// When the disk does not take it. The next backup then builds on less, or on nothing.
    pub fn commit(self, backup: BackupId, record: Digest) -> std::io::Result<()> {
        for pages in self.pages {
            pages.commit()?;
        }
        self.index.commit(backup, record)?;
        // From here on the index knows all packs. A ledger that stays costs the next run a look at them.
        if let Some(ledger) = self.ledger {
            std::fs::remove_file(ledger)?;
        }
        Ok(())
    }
}

/// Runs `capture` on a thread of its own and stores what it hands on and the base does not hold.
pub async fn store<T, E>(
    mut storing: Storing,
    events: &Events,
    capture: impl FnOnce(&mut StoreSink) -> Result<T, E> + Send + 'static,
) -> Result<(Packed<T>, Memory), PackError<E>>
where
    T: Send + 'static,
    E: Send + 'static,
{
    let (fan, uploads) = fan_out(&storing.targets, "", storing.required, Queue::Packs, events);
    let (outlet, inlet) = packer::start(storing.level).map_err(PackError::Stream)?;
    let (required, doomed) = (storing.required, Arc::clone(&storing.doomed));
    let complete = Arc::new(AtomicBool::new(false));
    let (mut collector_fan, mark, naming) = (fan.clone(), Arc::clone(&complete), storing.naming());
    let arrived: Vec<PackInfo> = storing.settings.arrived.iter().map(|arrived| arrived.pack).collect();
    let (noted, ledger) = (arrived.clone(), storing.ledger.take());
    let noted_at = ledger.as_ref().map(|ledger| ledger.path().to_owned());
    let collect = move || packer::collect(inlet, &mut collector_fan, &naming, &mark, ledger);
    let collector = tokio::task::spawn_blocking(collect);
    let work = move || {
        Work {
            storing,
            arrived: noted,
            ledger: noted_at,
            fan,
            collector,
            complete,
        }
        .run(outlet, capture)
    };
    let done = tokio::task::spawn_blocking(work).await.map_err(|_| PackError::Died)?;
    let uploaded = uploads.finish().await;
    if uploaded.stored.len() < required.max(1) && !uploaded.failed.is_empty() {
        return Err(PackError::Targets(uploaded.failed));
    }
    let Done {
        captured,
        published,
        memory,
        storing,
    } = done?;
    let packs: Vec<PackObject> = published
        .used
        .iter()
        .map(|used| PackObject {
            name: layout::pack(&used.pack.name) + Sealing::of(storing.epoch.as_deref()).suffix(),
            bytes: used.pack.stored,
            live: used.live,
            origin: used.origin,
        })
        .collect();
    let built_on = built_on(&packs, &published);
    // What a killed run stored was there before as well, but nobody ever read it back.
    let found = published.used.iter().zip(&packs);
    let found = found.filter(|(used, _)| arrived.contains(&used.pack));
    let found: Vec<String> = found.map(|(_, pack)| pack.name.clone()).collect();
    let of_target = |(target, had): &(Target, Vec<String>)| {
        let names = had.iter().chain(&built_on).chain(&found).cloned().collect();
        (target.name().clone(), names)
    };
    let reused = uploaded.stored.iter().map(of_target).collect();
    let packed = Packed {
        captured,
        content: Content::Packs(packs),
        epoch: storing.epoch,
        segments: published.segments,
        patch: published.patch,
        reused,
        built_on,
        targets: uploaded.stored.into_iter().map(|(target, _)| target).collect(),
        doomed,
        left_out: uploaded.failed,
    };
    Ok((packed, memory))
}

/// What an earlier backup stored and this one relies on.
fn built_on(packs: &[PackObject], published: &Published) -> BTreeSet<String> {
    let before = packs.iter().filter(|pack| pack.origin == Origin::Reused);
    let mut shared: BTreeSet<String> = before.map(|pack| pack.name.clone()).collect();
    if published.origin == Origin::Reused {
        shared.extend(published.segments.iter().map(|segment| segment.name.clone()));
    }
    shared
}

struct Done<T> {
    captured: T,
    published: Published,
    memory: Memory,
    storing: Storing,
}

/// What the working thread holds.
struct Work {
    storing: Storing,
    /// Packs that a killed run left.
    arrived: Vec<PackInfo>,
    ledger: Option<PathBuf>,
    fan: Fan,
    collector: JoinHandle<Result<Packs, PackingError>>,
    complete: Arc<AtomicBool>,
}

impl Work {
    fn run<T, E>(
        self,
        outlet: Outlet,
        capture: impl FnOnce(&mut StoreSink) -> Result<T, E>,
    ) -> Result<Done<T>, PackError<E>> {
        let Self {
            mut storing,
            arrived,
            ledger,
            mut fan,
            collector,
            complete,
        } = self;
        let settings = std::mem::take(&mut storing.settings);
        let sequence = settings.sequence;
        let sink = ChunkSink::new(outlet, settings);
        let mut sink = sink.map_err(|error| PackError::Catalog(PublishError::Index(error)))?;
        let captured = capture(&mut sink);
        // Whatever ended the capture, the collector must be over before its own error can be told.
        let spooled = match captured {
            Ok(captured) => sink.finish().map(|spooled| (captured, spooled)).map_err(Ended::Sink),
            Err(error) => {
                drop(sink);
                Err(Ended::Capture(error))
            }
        };
        let spooled = spooled.map(|(captured, spooled)| {
            complete.store(true, Ordering::Release);
            drop(spooled.out);
            (captured, spooled.items, spooled.pages, spooled.totals)
        });
        let packs = Handle::current().block_on(collector).map_err(|_| PackError::Died)?;
        let packs = match packs {
            Err(PackingError::Frame(error)) => return Err(PackError::Compress(error)),
            Err(PackingError::Table(error)) => return Err(PackError::Table(error)),
            Err(PackingError::Seal(error)) => return Err(PackError::Seal(error)),
            Err(PackingError::Gone) => None,
            Ok(packs) => Some(packs),
        };
        let (captured, items, pages, totals) = spooled.map_err(Ended::into_error)?;
        let packs = packs.ok_or(PackError::Died)?;
        let making = Making {
            base: storing.base.as_ref().map(|(base, record)| (base.as_ref(), record)),
            arrived: &arrived,
            sequence,
            naming: &storing.naming(),
            key: storing.epoch.as_ref().map(|epoch| epoch.chunk_key),
            epoch: storing.epoch.as_ref().map(|epoch| epoch.name.clone()),
            index: &storing.index,
        };
        let send = |name, bytes| fan.send(&Sent::Object(name, bytes));
        let published = publish::publish(items, &totals, &packs, &making, send).map_err(PackError::Catalog)?;
        let (published, index) = published;
        let memory = Memory {
            index,
            pages,
            ledger,
            totals,
        };
        Ok(Done {
            captured,
            published,
            memory,
            storing,
        })
    }
}

/// What ended a capture.
enum Ended<E> {
    Capture(E),
    Sink(SinkError),
}

impl<E> Ended<E> {
    fn into_error(self) -> PackError<E> {
        match self {
            Self::Capture(error) => PackError::Capture(error),
            Self::Sink(SinkError::Failed(problem)) => PackError::Sink(problem),
            Self::Sink(SinkError::Stopped) => PackError::Died,
        }
    }
}
