//! What a sweep lists, deletes and leaves, over a store whose clock is moved by hand.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::archive::layout::{self, FORMAT};
use crate::archive::pack;
use crate::archive::record::{ArchiveRecord, Record, SegmentRecord};
use crate::archive::refs::{Ref, Refs};
use crate::archive::repository::{self, Repository};
use crate::archive::retention;
use crate::archive::survey::{Doubt, Survey};
use crate::archive::sweep::doomed::{self, Doomed};
use crate::clock::FixedClock;
use crate::codec::Codec;
use crate::crypto::Digest;
use crate::id::{BackupId, EnvName, Instance};
use crate::limits::SWEEP_BATCH;
use crate::target::Target;
use crate::target::dated::{Dated, StoreClock};
use crate::target::faulty::{Fault, Faulty, Operation};
use crate::target::recording::Recording;

const BEGIN: &str = "2026-11-01T00:00:00Z";

/// A target, the clock of its store, and that of the host.
struct World {
    target: Target,
    store: StoreClock,
    host: Arc<FixedClock>,
    runs: u8,
}

impl World {
    async fn new() -> Self {
        let begin: Timestamp = BEGIN.parse().unwrap();
        let (dated, store) = Dated::new(begin);
        let target = Target::from_store("a".parse().unwrap(), Arc::new(dated));
        let own = Repository {
            format: FORMAT,
            repository: "r".into(),
        };
        repository::create(&target, &own).await.unwrap();
        Self {
            target,
            store,
            host: Arc::new(FixedClock::at(begin)),
            runs: 0,
        }
    }

    fn pass(&self, hours: i64) {
        self.store.set(self.store.now() + SignedDuration::from_hours(hours));
    }

    fn settings(&mut self) -> Settings {
        self.runs += 1;
        Settings {
            run: RunId::new(1, [self.runs; 10]),
            grace: Duration::from_hours(72),
            max_run: Duration::from_hours(24),
            clock: Arc::<FixedClock>::clone(&self.host),
            stop: Arc::default(),
        }
    }

    async fn survey(&self) -> Survey {
        Survey::take(&self.target).await.unwrap().unwrap()
    }

    /// One whole sweep, as another run of the verb does it.
    async fn sweep(&mut self) -> Result<Swept, SweepError<&'static str>> {
        self.sweep_told(&mut Notes::default()).await
    }

    async fn sweep_told(&mut self, notes: &mut Notes) -> Result<Swept, SweepError<&'static str>> {
        let settings = self.settings();
        let mut sweeper = Sweeper::begin(&self.target, &settings).await?.unwrap();
        sweeper.sweep(notes).await?;
        Ok(sweeper.swept().clone())
    }

    async fn names(&self) -> Vec<String> {
        let listed = self.target.list("").await.unwrap();
        listed.into_iter().map(|(name, _)| name).collect()
    }

    async fn put(&self, object: &str, bytes: &[u8]) {
        let bytes = Bytes::copy_from_slice(bytes);
        self.target.create(object, bytes).await.unwrap();
    }

    /// Stores a backup as a run does it: its objects, then its record. Each text is a segment, and a pack beside it.
    async fn backup(&self, environment: &str, day: u8, segments: &[&str]) -> Record {
        let record = self.objects_of(environment, day, segments).await;
        let object = layout::record(&record.environment, &record.id);
        self.put(&object, &record.to_bytes().unwrap()).await;
        record
    }

    async fn objects_of(&self, environment: &str, day: u8, segments: &[&str]) -> Record {
        let environment: EnvName = environment.parse().unwrap();
        let id: BackupId = format!("202611{day:02}T080000Z-00{day:02}").parse().unwrap();
        let archive = layout::archive(&environment, &id, Codec::Zstd);
        let mut refs = vec![one(&archive, 7)];
        let mut records = Vec::new();
        self.put(&archive, b"archive").await;
        for text in segments {
            let digest = Digest::of(text.as_bytes());
            let (segment, pack) = (layout::catalog(&digest), pack_of(text));
            self.put(&segment, text.as_bytes()).await;
            self.put(&pack, text.as_bytes()).await;
            refs.extend([one(&segment, text.len()), one(&pack, text.len())]);
            records.push(SegmentRecord {
                name: segment,
                bytes: text.len() as u64,
                plain_bytes: 1,
                blake3: digest,
                lines: 1,
            });
        }
        let refs = Refs::new(refs).to_object().unwrap();
        let named = pack::object(layout::refs, &refs);
        self.put(&named.name, &refs).await;
        self.put(&layout::sums(&environment, &id), b"sums").await;
        Record {
            format: FORMAT,
            run: RunId::new(1, [0; 10]),
            sequence: u64::from(day),
            parent: None,
            pipeline: "backup".parse().unwrap(),
            instance: Instance::new("host"),
            started: format!("2026-11-{day:02}T09:00:00+01:00"),
            ended: String::new(),
            sources: Vec::new(),
            archive: Some(ArchiveRecord {
                name: archive,
                codec: Codec::Zstd,
                bytes: 7,
                plain_bytes: 7,
                blake3: Digest::of(b"archive"),
            }),
            packs: None,
            epoch: None,
            epoch_check: None,
            segments: records,
            patch: Vec::new(),
            refs: named,
            recovery: std::collections::BTreeMap::new(),
            redaction: None,
            warnings: 0,
            manifest: String::new(),
            tool: String::new(),
            environment,
            id,
        }
    }
}

fn one(name: &str, bytes: usize) -> Ref {
    Ref {
        name: name.to_owned(),
        bytes: bytes as u64,
        plain_bytes: 1,
    }
}

fn pack_of(text: &str) -> String {
    let digest = Digest::of(text.as_bytes()).to_string();
    format!("packs/{}/{digest}.tar.zst", &digest[..2])
}

fn segment_of(text: &str) -> String {
    layout::catalog(&Digest::of(text.as_bytes()))
}

/// Remembers what it was told, and refuses what it is told to refuse.
#[derive(Default)]
struct Notes {
    listings: Vec<String>,
    deleting: Vec<Vec<String>>,
    refuse: bool,
}

impl Witness for Notes {
    type Error = &'static str;

    fn listing(&mut self, list: &str, _: Amount) -> Result<(), &'static str> {
        self.listings.push(list.to_owned());
        Ok(())
    }

    fn deleting(&mut self, objects: &[String]) -> Result<(), &'static str> {
        self.deleting.push(objects.to_vec());
        if self.refuse {
            Err("the journal is full")
        } else {
            Ok(())
        }
    }

    fn deleted(&mut self, _: Amount) -> Result<(), &'static str> {
        Ok(())
    }
}

/// Two backups of which the first was removed: of its four texts two are needed by the second.
async fn one_removed() -> (World, Record) {
    let world = World::new().await;
    let first = world.backup("live", 1, &["shared", "old"]).await;
    world.backup("live", 2, &["shared", "new"]).await;
    retention::remove(&world.target, &first).await.unwrap();
    (world, first)
}

fn lists(names: &[String]) -> Vec<&String> {
    names.iter().filter(|name| name.starts_with("sweep/")).collect()
}

/// What only the removed backup of [`one_removed`] needed.
fn of_first_alone(first: &Record) -> Vec<String> {
    let mut names = vec![
        first.archive.as_ref().unwrap().name.clone(),
        first.refs.name.clone(),
        layout::sums(&first.environment, &first.id),
        segment_of("old"),
        pack_of("old"),
    ];
    names.sort();
    names
}

#[tokio::test]
async fn what_no_backup_needs_is_listed_and_nothing_is_deleted() {
    let (mut world, first) = one_removed().await;
    let before = world.names().await;
    let swept = world.sweep().await.unwrap();
    assert_eq!(swept.listed.objects, 5);
    assert_eq!(swept.deleted, Amount::default());
    let after = world.names().await;
    let list = layout::sweep_list(RunId::new(1, [1; 10]), 1);
    assert!(after.contains(&list));
    assert_eq!(after.len(), before.len() + 1);
    let list = SweepList::read(&world.target, &list).await.unwrap();
    let named: Vec<String> = list.objects.into_iter().map(|one| one.name).collect();
    assert_eq!(named, of_first_alone(&first));
}

#[tokio::test]
async fn what_was_listed_long_enough_by_the_stores_clock_goes_and_so_does_its_list() {
    let (mut world, first) = one_removed().await;
    world.sweep().await.unwrap();
    world.pass(71);
    assert_eq!(world.sweep().await.unwrap().deleted.objects, 0);
    world.pass(1);
    let swept = world.sweep().await.unwrap();
    assert_eq!((swept.deleted.objects, swept.listed.objects), (5, 0));
    let left = world.names().await;
    assert!(of_first_alone(&first).iter().all(|name| !left.contains(name)));
    // What goes stays listed for as long as a run may take: another sweep may be about to delete it once more.
    assert_eq!(lists(&left).len(), 1);
    assert!(
        Doomed::read(std::slice::from_ref(&world.target))
            .await
            .contains(&pack_of("old"))
    );
    world.pass(23);
    world.sweep().await.unwrap();
    assert_eq!(lists(&world.names().await).len(), 1);
    world.pass(1);
    world.sweep().await.unwrap();
    assert!(lists(&world.names().await).is_empty());
    for name in [
        segment_of("shared"),
        pack_of("shared"),
        segment_of("new"),
        pack_of("new"),
    ] {
        assert!(left.contains(&name), "{name}");
    }
    // Then there is nothing to do, and nothing is written.
    let before = world.names().await;
    assert_eq!(world.sweep().await.unwrap(), Swept::default());
    assert_eq!(world.names().await, before);
}

#[tokio::test]
async fn the_hosts_clock_says_nothing_of_the_age_of_a_list() {
    let (mut world, _) = one_removed().await;
    world.sweep().await.unwrap();
    world.host.set("2030-01-01T00:00:00Z".parse().unwrap());
    assert_eq!(world.sweep().await.unwrap().deleted.objects, 0);
}

#[tokio::test]
async fn what_a_backup_needs_again_stays_and_waits_anew_when_that_one_goes_too() {
    let (mut world, _) = one_removed().await;
    world.sweep().await.unwrap();
    world.pass(80);
    let third = world.backup("live", 3, &["old"]).await;
    let swept = world.sweep().await.unwrap();
    // Its list says nothing any more; what else it named is listed again.
    assert_eq!((swept.deleted.objects, swept.listed.objects), (0, 3));
    retention::remove(&world.target, &third).await.unwrap();
    assert_eq!(world.sweep().await.unwrap().deleted.objects, 0);
    world.pass(71);
    assert_eq!(world.sweep().await.unwrap().deleted.objects, 0);
    world.pass(1);
    world.sweep().await.unwrap();
    assert!(!world.names().await.contains(&pack_of("old")));
}

#[tokio::test]
async fn lists_are_voided_before_a_backup_is_removed_that_needs_what_they_name() {
    let (mut world, _) = one_removed().await;
    world.sweep().await.unwrap();
    world.pass(80);
    let third = world.backup("live", 3, &["old"]).await;
    // No sweep came between: the list is old enough for all that it names.
    let settings = world.settings();
    let mut sweeper = Sweeper::begin(&world.target, &settings).await.unwrap().unwrap();
    sweeper.void_lists(&mut Notes::default()).await.unwrap();
    retention::remove(&world.target, &third).await.unwrap();
    sweeper.record_removed(&layout::record(&third.environment, &third.id));
    sweeper.list_unneeded(&mut Notes::default()).await.unwrap();
    world.pass(71);
    assert_eq!(world.sweep().await.unwrap().deleted.objects, 0);
    world.pass(1);
    assert!(world.sweep().await.unwrap().deleted.objects > 0);
}

#[tokio::test]
async fn what_a_backup_of_another_environment_needs_stays() {
    let mut world = World::new().await;
    let first = world.backup("live", 1, &["text"]).await;
    world.backup("dev", 2, &["text"]).await;
    retention::remove(&world.target, &first).await.unwrap();
    world.sweep().await.unwrap();
    world.pass(100);
    world.sweep().await.unwrap();
    let left = world.names().await;
    assert!(left.contains(&pack_of("text")) && left.contains(&segment_of("text")));
    assert!(!left.contains(&first.archive.as_ref().unwrap().name));
}

#[tokio::test]
async fn what_is_not_of_the_format_is_never_touched() {
    let mut world = World::new().await;
    let digest = Digest::of(b"x");
    let foreign = [
        "RECOVERY.md".to_owned(),
        "keys/0123.age".into(),
        "journal/checkpoints/ab/00000000000000000001.note".into(),
        "backups/live/notes.txt".into(),
        "archives/live/readme".into(),
        format!("packs/00/{digest}.tar.zst.part"),
        "other/file".into(),
        "sweep/notes.txt".into(),
    ];
    for name in &foreign {
        world.put(name, b"x").await;
    }
    world.put(&segment_of("orphan"), b"orphan").await;
    world.sweep().await.unwrap();
    world.pass(100);
    assert_eq!(world.sweep().await.unwrap().deleted.objects, 1);
    let left = world.names().await;
    assert!(foreign.iter().all(|name| left.contains(name)), "{left:?}");
}

#[tokio::test]
async fn with_a_record_that_cannot_be_read_nothing_is_listed_and_nothing_deleted() {
    for (object, bytes) in [
        ("backups/live/20261109T080000Z-0009.json", &b"{"[..]),
        ("backups/other/20261109T080000Z-0009.json", b"{\"format\": 1}"),
        ("backups/live/20261109T080000Z-0009.json", b"{\"format\": 99}"),
        ("backups/live/of-a-newer-program.json", b"{}"),
    ] {
        let (mut world, _) = one_removed().await;
        world.sweep().await.unwrap();
        world.pass(100);
        world.put(&segment_of("fresh"), b"fresh").await;
        world.put(object, bytes).await;
        let before = world.names().await;
        assert!(matches!(world.sweep().await, Err(SweepError::Doubt)), "{object}");
        assert_eq!(world.names().await, before);
        let survey = world.survey().await;
        let [doubt] = survey.doubts() else {
            panic!("{:?}", survey.doubts());
        };
        assert!(doubt.to_string().contains(object), "{doubt}");
        // Once it is gone the sweep goes on.
        world.target.delete(object).await.unwrap();
        assert_eq!(world.sweep().await.unwrap().deleted.objects, 5);
    }
}

#[tokio::test]
async fn without_the_list_of_objects_of_a_backup_nothing_is_deleted() {
    let (mut world, _) = one_removed().await;
    world.sweep().await.unwrap();
    world.pass(100);
    let third = world.backup("live", 3, &["third"]).await;
    world.target.delete(&third.refs.name).await.unwrap();
    let before = world.names().await;
    assert!(matches!(world.sweep().await, Err(SweepError::Doubt)));
    assert_eq!(world.names().await, before);
    let survey = world.survey().await;
    assert!(matches!(survey.doubts(), [Doubt::Refs { .. }]), "{:?}", survey.doubts());
}

#[tokio::test]
async fn a_list_of_objects_that_reads_wrong_stops_the_sweep_and_is_read_again_later() {
    let (mut world, _) = one_removed().await;
    world.sweep().await.unwrap();
    world.pass(100);
    let plain = world.target.clone();
    for fault in [Fault::Flips(12), Fault::Cuts(10), Fault::Fails] {
        let faulty = Faulty::new(plain.store()).always(Operation::Get, "refs/", fault);
        world.target = Target::from_store(plain.name().clone(), Arc::new(faulty));
        assert!(matches!(world.sweep().await, Err(SweepError::Doubt)), "{fault:?}");
    }
    world.target = plain;
    assert_eq!(world.sweep().await.unwrap().deleted.objects, 5);
}

#[tokio::test]
async fn a_repository_of_a_newer_format_is_not_swept() {
    let target = Target::memory("a".parse().unwrap());
    let newer = Repository {
        format: FORMAT + 1,
        repository: "r".into(),
    };
    repository::create(&target, &newer).await.unwrap();
    assert!(matches!(
        Survey::take(&target).await,
        Err(RepositoryError::Newer { .. })
    ));
    let empty = Target::memory("b".parse().unwrap());
    assert!(Survey::take(&empty).await.unwrap().is_none());
}

#[tokio::test]
async fn what_the_journal_does_not_take_is_not_done() {
    let (mut world, first) = one_removed().await;
    world.sweep().await.unwrap();
    world.pass(100);
    let mut notes = Notes {
        refuse: true,
        ..Notes::default()
    };
    let refused = world.sweep_told(&mut notes).await;
    assert!(matches!(refused, Err(SweepError::Witness("the journal is full"))));
    let left = world.names().await;
    assert!(of_first_alone(&first).iter().all(|name| left.contains(name)));
    // It was told of every object before the first of them would have gone.
    assert_eq!(notes.deleting, [of_first_alone(&first)]);
}

#[tokio::test]
async fn the_records_are_read_again_before_each_batch() {
    let mut world = World::new().await;
    for number in 0..300 {
        world.put(&segment_of(&format!("orphan {number}")), b"x").await;
    }
    world.sweep().await.unwrap();
    world.pass(100);
    let recording = Recording::new(world.target.store());
    let calls = recording.calls();
    world.target = Target::from_store(world.target.name().clone(), Arc::new(recording));
    let mut notes = Notes::default();
    world.sweep_told(&mut notes).await.unwrap();
    let sizes: Vec<usize> = notes.deleting.iter().map(Vec::len).collect();
    // Three batches of objects, the spent list, and the list that told the time.
    assert_eq!(sizes, [SWEEP_BATCH, SWEEP_BATCH, 300 - 2 * SWEEP_BATCH, 1, 1]);
    let listed = calls.objects(Operation::List);
    assert_eq!(listed.iter().filter(|folder| *folder == "backups").count(), 3);
}

/// Sleeps for a day whenever it is told of a deletion.
struct Sleeps(Arc<FixedClock>);
impl Witness for Sleeps {
    type Error = ();
    fn listing(&mut self, _: &str, _: Amount) -> Result<(), ()> {
        Ok(())
    }
    fn deleting(&mut self, _: &[String]) -> Result<(), ()> {
        self.0.set("2026-11-02T00:00:00Z".parse().unwrap());
        Ok(())
    }
    fn deleted(&mut self, _: Amount) -> Result<(), ()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_sweep_that_slept_too_long_after_it_read_the_records_deletes_nothing_more() {
    let (mut world, first) = one_removed().await;
    world.sweep().await.unwrap();
    world.pass(100);
    let settings = world.settings();
    let mut sweeper = Sweeper::begin(&world.target, &settings).await.unwrap().unwrap();
    let mut sleeps = Sleeps(Arc::clone(&world.host));
    assert!(matches!(sweeper.sweep(&mut sleeps).await, Err(SweepError::Slow)));
    let left = world.names().await;
    assert!(of_first_alone(&first).iter().all(|name| left.contains(name)));
}

#[tokio::test]
async fn a_list_that_cannot_be_read_is_taken_for_nothing_and_what_it_named_waits_anew() {
    let (mut world, _) = one_removed().await;
    let broken = layout::sweep_list(RunId::new(9, [9; 10]), 1);
    world.put(&broken, b"{").await;
    world.pass(100);
    let swept = world.sweep().await.unwrap();
    assert_eq!(swept.unreadable, std::slice::from_ref(&broken));
    assert_eq!((swept.listed.objects, swept.deleted.objects), (5, 0));
    assert!(!world.names().await.contains(&broken));
}

#[tokio::test]
async fn a_list_whose_objects_are_gone_goes_too_and_a_failed_sweep_is_finished_by_the_next() {
    let (mut world, first) = one_removed().await;
    world.sweep().await.unwrap();
    world.pass(100);
    let plain = world.target.clone();
    let faulty = Faulty::new(plain.store()).once(Operation::Delete, "packs/", 1, Fault::Fails);
    world.target = Target::from_store(plain.name().clone(), Arc::new(faulty));
    assert!(matches!(world.sweep().await, Err(SweepError::Target(_))));
    let left = world.names().await;
    assert!(
        !left.contains(&first.archive.as_ref().unwrap().name),
        "those before it went"
    );
    world.target = plain;
    // For as long as a run may take it may still be at work.
    assert_eq!(world.sweep().await.unwrap().deleted.objects, 0);
    world.pass(24);
    world.sweep().await.unwrap();
    let left = world.names().await;
    assert!(of_first_alone(&first).iter().all(|name| !left.contains(name)));
    world.pass(24);
    world.sweep().await.unwrap();
    assert!(lists(&world.names().await).is_empty());
}

#[tokio::test]
async fn the_list_of_a_purge_under_way_is_left_alone() {
    let (mut world, _) = one_removed().await;
    let list = SweepList {
        format: FORMAT,
        run: RunId::new(9, [9; 10]),
        when: Urgency::AtOnce,
        objects: vec![Listed {
            name: segment_of("shared"),
            bytes: 6,
        }],
    };
    let object = layout::sweep_list(list.run, 1);
    world.put(&object, &list.to_bytes().unwrap()).await;
    world.pass(23);
    world.sweep().await.unwrap();
    assert!(world.names().await.contains(&object));
    world.pass(1);
    world.sweep().await.unwrap();
    assert!(!world.names().await.contains(&object), "whoever wrote it is long gone");
}

#[tokio::test]
async fn a_run_that_sweeps_twice_writes_two_lists() {
    let mut world = World::new().await;
    let settings = world.settings();
    for (number, text) in (1..).zip(["first", "second", "third"]) {
        world.put(&segment_of(text), b"x").await;
        let mut sweeper = Sweeper::begin(&world.target, &settings).await.unwrap().unwrap();
        sweeper.list_unneeded(&mut Notes::default()).await.unwrap();
        let name = layout::sweep_list(settings.run, number);
        let list = SweepList::read(&world.target, &name).await.unwrap();
        assert_eq!(list.objects.len(), 1, "{text}");
    }
}

#[tokio::test]
async fn a_purge_deletes_at_once_what_no_backup_needs_and_nothing_else() {
    let (mut world, first) = one_removed().await;
    world.put(&segment_of("orphan"), b"x").await;
    let mut names: BTreeSet<String> = of_first_alone(&first).into_iter().collect();
    names.extend([
        segment_of("shared"),
        pack_of("shared"),
        "repository.json".into(),
        "other".into(),
    ]);
    let settings = world.settings();
    let mut sweeper = Sweeper::begin(&world.target, &settings).await.unwrap().unwrap();
    let mut notes = Notes::default();
    sweeper.purge(&names, &mut notes).await.unwrap();
    assert_eq!(sweeper.swept().deleted.objects, 5);
    let left = world.names().await;
    assert!(of_first_alone(&first).iter().all(|name| !left.contains(name)));
    for name in [
        segment_of("shared"),
        pack_of("shared"),
        "repository.json".into(),
        segment_of("orphan"),
    ] {
        assert!(left.contains(&name), "{name}");
    }
    assert_eq!(lists(&left).len(), 1);
    assert_eq!(notes.deleting.first().unwrap(), &of_first_alone(&first));
}

#[tokio::test]
async fn a_backup_avoids_what_is_listed_and_a_purge_makes_it_withdraw() {
    let (mut world, _) = one_removed().await;
    let targets = [world.target.clone()];
    let unlisted = Doomed::read(&targets).await;
    assert!(!unlisted.contains(&segment_of("old")));
    let (name, stored) = unlisted.avoid(b"old".to_vec(), "salt", |bytes| segment_of(str(bytes)));
    assert_eq!((name, stored), (segment_of("old"), b"old".to_vec()));

    world.sweep().await.unwrap();
    let doomed = Doomed::read(&targets).await;
    assert!(doomed.contains(&segment_of("old")) && !doomed.contains(&segment_of("shared")));
    let named = |bytes: &[u8]| layout::catalog(&Digest::of(bytes));
    let (name, stored) = doomed.avoid(b"old".to_vec(), "salt", named);
    assert_ne!(name, segment_of("old"));
    assert_eq!(name, named(&stored));
    let (other, _) = doomed.avoid(b"old".to_vec(), "another", named);
    assert_ne!(name, other);

    // Listed for later is no harm to one that relied on it before; gone, or on its way out, is.
    let reused = [segment_of("old")];
    doomed::check(&world.target, &reused, &reused).await.unwrap();
    let list = SweepList {
        format: FORMAT,
        run: RunId::new(9, [9; 10]),
        when: Urgency::AtOnce,
        objects: vec![Listed {
            name: segment_of("old"),
            bytes: 3,
        }],
    };
    world
        .put(&layout::sweep_list(list.run, 1), &list.to_bytes().unwrap())
        .await;
    let refused = doomed::check(&world.target, &reused, &reused).await;
    assert!(matches!(refused, Err(RepositoryError::Swept { .. })), "{refused:?}");
    world.target.delete(&layout::sweep_list(list.run, 1)).await.unwrap();
    doomed::check(&world.target, &reused, &reused).await.unwrap();
    world.target.delete(&segment_of("old")).await.unwrap();
    assert!(doomed::check(&world.target, &reused, &reused).await.is_err());
    let many: Vec<String> = (0..1000).map(|_| segment_of("shared")).collect();
    doomed::check(&world.target, &[], &many).await.unwrap();
}

fn str(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn a_list_that_cannot_be_read_dooms_everything() {
    let world = World::new().await;
    world.put(&layout::sweep_list(RunId::new(9, [9; 10]), 1), b"{").await;
    let doomed = Doomed::read(std::slice::from_ref(&world.target)).await;
    assert!(doomed.contains(&segment_of("anything")));
}

#[tokio::test]
async fn a_backup_is_whole_where_all_that_it_needs_is_listed_with_its_size() {
    let world = World::new().await;
    let first = world.backup("live", 1, &["text"]).await;
    let lacks = async || {
        let survey = world.survey().await;
        let held = survey.held().next().unwrap();
        survey.lacks(held)
    };
    assert_eq!(lacks().await, None);
    for object in [
        first.archive.as_ref().unwrap().name.clone(),
        segment_of("text"),
        pack_of("text"),
        layout::sums(&first.environment, &first.id),
    ] {
        let bytes = world.target.read(&object, 1000).await.unwrap();
        world.target.delete(&object).await.unwrap();
        assert_eq!(lacks().await, Some(format!("`{object}` is missing")));
        world.put(&object, &bytes).await;
    }
    world.target.delete(&pack_of("text")).await.unwrap();
    world.put(&pack_of("text"), b"longer than it was").await;
    assert_eq!(lacks().await, Some(format!("`{}` has another size", pack_of("text"))));
    world.target.delete(&first.refs.name).await.unwrap();
    assert_eq!(lacks().await, Some(format!("`{}` cannot be read", first.refs.name)));
}

#[tokio::test]
async fn a_record_that_goes_while_it_is_read_raises_no_doubt() {
    let world = World::new().await;
    let first = world.backup("live", 1, &["text"]).await;
    let second = world.backup("live", 2, &["text"]).await;
    // Listed, then gone with its list of objects, as by a purge elsewhere.
    let mut survey = world.survey().await;
    retention::remove(&world.target, &first).await.unwrap();
    world.target.delete(&first.refs.name).await.unwrap();
    survey.read_records_again().await.unwrap();
    assert!(survey.doubts().is_empty());
    assert_eq!(
        survey.held().count(),
        2,
        "what went meanwhile counts to the end of the sweep"
    );
    assert_eq!(world.survey().await.held().next().unwrap().backup.record.id, second.id);
}
