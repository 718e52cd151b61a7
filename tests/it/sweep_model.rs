//! Backups, retention, sweeps, purges, restores, copies from store to store and crashes in any order, one store operation at a
//! time, over two stores in memory whose clocks are moved by hand: no backup that says it was stored ever lacks an object, and
//! what nobody needs goes.
//!
//! A schedule is decided by its seed alone, so that what one finds can be looked at again. Each actor does with the library
//! what its real counterpart does; every operation on the store waits for its turn, and between two turns of an actor anything
//! may happen to it: others act, days pass, it dies.

mod actors;
mod copying;
mod turns;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use jiff::{SignedDuration, Timestamp};
use strongroom::archive::layout::{self, FORMAT};
use strongroom::archive::record::Record;
use strongroom::archive::refs;
use strongroom::archive::repository::{self, Repository};
use strongroom::archive::survey::Survey;
use strongroom::clock::FixedClock;
use strongroom::crypto::Digest;
use strongroom::target::Target;
use strongroom::target::dated::{Dated, StoreClock};

use actors::{Act, Bug, End, Play};
use turns::Turns;

/// Schedules of the test that is always run. `SWEEP_SCHEDULES` in the environment asks for more.
const SCHEDULES: u64 = 240;
/// What happens in a schedule: an actor begins, acts, dies, or time passes.
const EVENTS: usize = 160;
/// Actors at work at once.
const ACTORS: usize = 4;

/// How a schedule begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prelude {
    /// With an empty repository.
    Nothing,
    /// With something on a list that is due, one who would delete it and one who would rely on it.
    SomethingDue,
    /// The same with two who would delete it.
    DueToTwo,
    /// With an operator who purges, and a backup under way that relies on what goes.
    SomethingPurged,
    /// With a backup under way that slept while what it relies on was listed and became due.
    SomeoneAsleep,
    /// With a store that lacks backups, and one who copies them and may die.
    SomethingLacking,
    /// The same where something that a backup needs is due in the store that lacks it.
    SomethingLackingDue,
}

/// Numbers that follow from a seed.
struct Lots(u64);

impl Lots {
    fn next(&mut self) -> u64 {
        // xorshift64*, Vigna 2016.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number of `from` to so many less than `from + bound`.
    fn span(&mut self, from: i64, bound: u32) -> i64 {
        from + i64::try_from(self.below(bound as usize)).unwrap_or_default()
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 33) as usize % bound
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }
}

/// Someone at work.
struct Actor {
    work: Pin<Box<dyn Future<Output = End>>>,
    turns: Turns,
    play: Play,
    began: Timestamp,
}

/// The names of the two stores.
const STORES: [&str; 2] = ["a", "b"];

struct World {
    lots: Lots,
    stores: [(Arc<Dated>, StoreClock); 2],
    host: Arc<FixedClock>,
    actors: Vec<Actor>,
    bug: Bug,
    number: u32,
    /// Whether operators purge in this schedule. A purge waits for nobody, so where one does a restore may lack something.
    purges: bool,
    ends: Ends,
    /// In which store each actor acts.
    places: BTreeMap<u32, usize>,
    /// Who died, and when they had begun.
    dead: BTreeMap<u32, (Play, Timestamp)>,
}

/// What became of the actors.
#[derive(Default)]
struct Ends {
    stored: u32,
    caught_up: u32,
    withdrawn: u32,
    too_long: u32,
    deleted: u64,
    restored: u32,
    purged: u32,
    crashed: u32,
    problems: Vec<String>,
}

impl World {
    fn new(seed: u64, bug: Bug) -> Self {
        let begin: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let store = || {
            let (store, clock) = Dated::new(begin);
            (Arc::new(store), clock)
        };
        Self {
            lots: Lots(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
            stores: [store(), store()],
            host: Arc::new(FixedClock::at(begin)),
            actors: Vec::new(),
            bug,
            number: 0,
            purges: seed.is_multiple_of(2),
            ends: Ends::default(),
            places: BTreeMap::new(),
            dead: BTreeMap::new(),
        }
    }

    /// A store without turns, to look at.
    fn target(&self, place: usize) -> Target {
        let store: Arc<Dated> = Arc::clone(&self.stores[place].0);
        Target::from_store(STORES[place].parse().unwrap(), store)
    }

    fn now(&self) -> Timestamp {
        self.stores[0].1.now()
    }

    fn pass(&mut self, minutes: i64) {
        let now = self.now() + SignedDuration::from_mins(minutes);
        self.stores.iter().for_each(|(_, clock)| clock.set(now));
        self.host.set(now);
    }

    fn begin_actor(&mut self) {
        self.number += 1;
        let play = Play::draw(&mut self.lots, self.number, self.purges);
        self.begin_play(play);
    }

    fn begin_play(&mut self, play: Play) {
        let turns = Turns::new();
        let target = |place: usize| {
            let store = turns.before(Arc::clone(&self.stores[place].0));
            Target::from_store(STORES[place].parse().unwrap(), Arc::new(store))
        };
        let targets = (target(play.place()), target(1 - play.place()));
        let work = play.work(targets, Arc::clone(&self.host), self.bug);
        let began = self.now();
        self.places.insert(play.number(), play.place());
        self.actors.push(Actor {
            work,
            turns,
            play,
            began,
        });
    }

    /// Lets an actor do one operation on the store.
    fn turn(&mut self, index: usize) {
        let actor = &mut self.actors[index];
        actor.turns.grant();
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Ready(end) = actor.work.as_mut().poll(&mut context) {
            let actor = self.actors.remove(index);
            self.ended(&actor, end);
        }
    }

    fn ended(&mut self, actor: &Actor, end: End) {
        let hours = self.now().duration_since(actor.began).as_hours();
        match end {
            End::Stored => self.ends.stored += 1,
            End::CaughtUp(copied) => self.ends.caught_up += copied,
            End::Withdrawn => self.ends.withdrawn += 1,
            End::TooLong => self.ends.too_long += 1,
            End::Swept(objects) => self.ends.deleted += objects,
            End::Purged(objects) => {
                self.ends.purged += 1;
                self.ends.deleted += objects;
            }
            End::Restored => self.ends.restored += 1,
            // A restore may take as long as a run may.
            End::Lacking(object) if hours < 24 && !self.purges => {
                let problem = format!("a restore of {hours} h lacked `{object}`");
                self.ends.problems.push(problem);
            }
            End::Lacking(_) | End::Nothing => {}
            End::Broken(what) => self.ends.problems.push(what),
        }
    }

    fn died(&mut self, dead: Actor) {
        self.dead.insert(dead.play.number(), (dead.play, dead.began));
        self.ends.crashed += 1;
    }

    /// One event of the schedule.
    fn event(&mut self) {
        if self.actors.is_empty() || (self.actors.len() < ACTORS && self.lots.one_in(12)) {
            if self.actors.is_empty() && self.lots.one_in(2) {
                let hours = self.lots.span(1, 90);
                self.pass(hours * 60);
            }
            return self.begin_actor();
        }
        let index = self.lots.below(self.actors.len());
        if self.lots.one_in(90) {
            // It dies: nothing of it acts any more.
            let dead = self.actors.remove(index);
            return self.died(dead);
        }
        if self.lots.one_in(60) {
            let minutes = self.lots.span(1, 20 * 60);
            self.pass(minutes);
        }
        // Mostly several turns of one actor in a row, as it is where nobody waits for anybody.
        for _ in 0..=self.lots.below(6) {
            let ended = self.actors.len();
            self.turn(index);
            if self.actors.len() < ended {
                break;
            }
        }
    }

    /// Lets someone act from begin to end, alone.
    fn alone(&mut self, act: Act, place: usize, content: usize) {
        self.begin(act, place, content);
        let mine = self.actors.len();
        while self.actors.len() == mine {
            self.turn(mine - 1);
        }
    }

    fn begin(&mut self, act: Act, place: usize, content: usize) {
        self.number += 1;
        self.begin_play(Play::of(act, place, self.number, content));
    }

    /// What happened before the schedule where one store lacks something.
    fn lacking(&mut self, prelude: Prelude) {
        let content = self.lots.below(6);
        self.alone(Act::Backup, 0, content);
        self.alone(Act::Backup, 0, content + 1);
        if prelude == Prelude::SomethingLackingDue {
            self.alone(Act::CatchUp, 1, 1);
            self.alone(Act::Retain, 1, 0);
            self.alone(Act::Backup, 0, content);
            let hours = self.lots.span(72, 9);
            self.pass(hours * 60);
            self.begin(Act::Sweep, 1, content);
        }
        self.begin(Act::CatchUp, 1, 1);
        if prelude == Prelude::SomethingLackingDue {
            return;
        }
        let copier = self.actors.len() - 1;
        for _ in 0..self.lots.below(40) {
            if self.actors.len() > copier {
                let index = self.lots.below(self.actors.len());
                self.turn(index);
            }
        }
        if self.actors.len() > copier && self.lots.one_in(2) {
            let dead = self.actors.remove(copier);
            self.died(dead);
        }
        self.begin(Act::Restore, 1, content);
    }

    /// What happened before the schedule.
    fn prelude(&mut self, prelude: Prelude) {
        match prelude {
            Prelude::Nothing => return,
            Prelude::SomethingLacking | Prelude::SomethingLackingDue => return self.lacking(prelude),
            Prelude::SomethingDue | Prelude::DueToTwo | Prelude::SomethingPurged | Prelude::SomeoneAsleep => {}
        }
        let content = self.lots.below(6);
        self.alone(Act::Backup, 0, content);
        self.alone(Act::Backup, 0, content + 1);
        if matches!(prelude, Prelude::SomeoneAsleep | Prelude::SomethingPurged) {
            self.begin(Act::Backup, 0, content);
            for _ in 0..7 + self.lots.below(5) {
                if !self.actors.is_empty() {
                    self.turn(0);
                }
            }
        }
        if prelude == Prelude::SomethingPurged {
            self.purges = true;
            return self.begin(Act::Purge, 0, content);
        }
        self.alone(Act::Retain, 0, 0);
        let hours = self.lots.span(72, 9);
        self.pass(hours * 60);
        self.begin(Act::Sweep, 0, content);
        if prelude == Prelude::DueToTwo {
            self.begin(Act::Sweep, 0, content);
            for _ in 0..self.lots.below(60) {
                let index = self.lots.below(self.actors.len().max(1));
                if !self.actors.is_empty() {
                    self.turn(index);
                }
            }
        }
        self.begin(Act::Backup, 0, content);
    }

    /// Lets everyone end. Whoever is asked last has the longest breath.
    fn finish(&mut self) {
        while !self.actors.is_empty() {
            let index = self.lots.below(self.actors.len());
            self.turn(index);
        }
    }
}

/// Whether a backup was left by one who died between his record and his look back, and either slept for days before the
/// record, or wrote it while an operator purged. Nobody was told that it was stored; nothing else can leave one that is not
/// whole.
fn is_excused(world: &World, place: usize, id: &str, written: Timestamp) -> bool {
    let number = id
        .rsplit('-')
        .next()
        .and_then(|text| u32::from_str_radix(text, 16).ok());
    let made_here = number.and_then(|number| world.places.get(&number)) == Some(&place);
    let could = |(play, began): &&(Play, Timestamp)| {
        let wrote_it = if made_here {
            Some(play.number()) == number
        } else {
            play.copies()
        };
        wrote_it && play.place() == place && *began <= written
    };
    let slept = |began: Timestamp| written.duration_since(began) > SignedDuration::from_hours(24);
    let mut dead = world.dead.values().filter(could);
    dead.any(|(_, began)| world.purges || slept(*began))
}

/// Every backup that is listed has all it needs, byte for byte.
fn whole(world: &World) -> Vec<String> {
    (0..STORES.len()).flat_map(|place| whole_in(world, place)).collect()
}

fn whole_in(world: &World, place: usize) -> Vec<String> {
    let target = world.target(place);
    let mut problems = Vec::new();
    for environment in actors::ENVIRONMENTS {
        let listing = now(repository::list(
            std::slice::from_ref(&target),
            &environment.parse().unwrap(),
        ));
        for backup in &listing.backups {
            let record = &backup.record;
            let object = layout::record(&record.environment, &record.id);
            let written = now(target.head(&object)).unwrap().unwrap().modified;
            if !is_excused(world, place, record.id.as_str(), written) {
                problems.extend(lacks(&target, record));
            }
        }
    }
    problems
}

/// What a backup lacks of all that it needs.
fn lacks(target: &Target, record: &Record) -> Vec<String> {
    let (id, place) = (&record.id, target.name());
    let needed = match now(refs::read(target, &record.refs)) {
        Ok(needed) => needed,
        Err(error) => return vec![format!("{id} in {place}: {error}")],
    };
    let mut problems = Vec::new();
    for one in needed.iter() {
        let Ok(bytes) = now(target.read(&one.name, 1 << 20)) else {
            problems.push(format!("{id} in {place} lacks `{}`", one.name));
            continue;
        };
        let digest = Digest::of(&bytes).to_string();
        let named = one.name.starts_with("archives/") || one.name.contains(&digest);
        if bytes.len() as u64 != one.bytes || !named {
            problems.push(format!("{id} in {place}: `{}` has other bytes", one.name));
        }
    }
    for own in [
        layout::sums(&record.environment, id),
        layout::signature(&record.environment, id),
    ] {
        if now(target.head(&own)).unwrap().is_none() {
            problems.push(format!("{id} in {place} lacks `{own}`"));
        }
    }
    problems
}

/// What comes of a future that waits for nobody.
fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = Box::pin(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..1_000_000 {
        if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
            return done;
        }
    }
    panic!("a store in memory keeps nobody waiting")
}

/// Runs the schedule of a seed with the prelude that follows from it.
fn run(seed: u64, bug: Bug) -> Ends {
    match seed % 7 {
        0 => run_from(Prelude::Nothing, EVENTS, seed, bug),
        1 => run_from(Prelude::SomethingDue, EVENTS / 4, seed, bug),
        2 => run_from(Prelude::DueToTwo, EVENTS / 8, seed, bug),
        3 => run_from(Prelude::SomethingPurged, EVENTS / 8, seed, bug),
        4 => run_from(Prelude::SomethingLacking, EVENTS / 4, seed, bug),
        5 => run_from(Prelude::SomethingLackingDue, EVENTS / 8, seed, bug),
        _ => run_from(Prelude::SomeoneAsleep, EVENTS / 4, seed, bug),
    }
}

fn run_from(prelude: Prelude, events: usize, seed: u64, bug: Bug) -> Ends {
    let mut world = World::new(seed, bug);
    let own = Repository {
        format: FORMAT,
        repository: "r".into(),
    };
    for place in 0..STORES.len() {
        now(repository::create(&world.target(place), &own)).unwrap();
    }
    world.prelude(prelude);
    for _ in 0..events {
        world.event();
    }
    world.finish();
    let lacking = whole(&world);
    world.ends.problems.extend(lacking);
    if world.ends.problems.is_empty() {
        world.ends.problems = leftovers(&mut world);
    }
    world.ends
}

/// More sweeps leave nothing that no backup needs, and take nothing that one does.
fn leftovers(world: &mut World) -> Vec<String> {
    for _ in 0..3 {
        for place in 0..STORES.len() {
            let play = Play::of(Act::Sweep, place, u32::MAX - world.number, 0);
            world.number += 1;
            let targets = (world.target(place), world.target(1 - place));
            match now(play.work(targets, Arc::clone(&world.host), Bug::None)) {
                End::Swept(_) | End::Nothing => {}
                _ => return vec!["the last sweep did not end well".into()],
            }
        }
        world.pass(72 * 60);
    }
    let mut problems = Vec::new();
    for (place, store) in STORES.iter().enumerate() {
        let survey = now(Survey::take(&world.target(place))).unwrap().unwrap();
        let Some(needed) = survey.needed() else {
            // One of the excused ones keeps everything from being swept.
            continue;
        };
        let left: BTreeSet<&String> = survey.objects().keys().collect();
        let unneeded = left.into_iter().filter(|name| {
            let swept = layout::Kind::of(name).is_some_and(layout::Kind::is_swept);
            swept && !needed.contains(name)
        });
        problems.extend(unneeded.map(|name| format!("`{name}` is left over in {store}")));
    }
    problems.extend(whole(world));
    problems
}

fn schedules() -> u64 {
    let asked = std::env::var("SWEEP_SCHEDULES").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(SCHEDULES)
}

#[test]
fn no_schedule_loses_what_a_backup_needs_or_leaves_what_none_does() {
    let mut all = Ends::default();
    for seed in 1..=schedules() {
        let ends = run(seed, Bug::None);
        assert!(ends.problems.is_empty(), "seed {seed}: {:#?}", ends.problems);
        all.stored += ends.stored;
        all.caught_up += ends.caught_up;
        all.withdrawn += ends.withdrawn;
        all.too_long += ends.too_long;
        all.deleted += ends.deleted;
        all.restored += ends.restored;
        all.purged += ends.purged;
        all.crashed += ends.crashed;
    }
    // A model in which nothing happens proves nothing.
    for (what, count) in [
        ("stored", u64::from(all.stored)),
        ("caught up", u64::from(all.caught_up)),
        ("deleted", all.deleted),
        ("restored", u64::from(all.restored)),
        ("purged", u64::from(all.purged)),
        ("crashed", u64::from(all.crashed)),
        ("too long", u64::from(all.too_long)),
    ] {
        assert!(count > 0, "nothing was ever {what}");
    }
}

/// The first seed whose schedule loses something.
fn found_out(prelude: Prelude, bug: Bug) -> Option<u64> {
    let loses = |seed: &u64| !run_from(prelude, 0, *seed, bug).problems.is_empty();
    (1..=2000).find(loses)
}

#[test]
fn a_backup_that_does_not_look_at_the_lists_is_found_out() {
    let seed = found_out(Prelude::SomethingDue, Bug::IgnoresLists).expect("a schedule finds the planted bug");
    assert!(sound(Prelude::SomethingDue, seed));
}

#[test]
fn a_backup_that_writes_its_record_however_late_is_found_out() {
    let seed = found_out(Prelude::SomeoneAsleep, Bug::IsNeverTooLong).expect("a schedule finds the planted bug");
    assert!(sound(Prelude::SomeoneAsleep, seed));
}

#[test]
fn a_backup_that_does_not_look_back_is_found_out() {
    let seed = found_out(Prelude::SomethingPurged, Bug::NeverLooksBack).expect("a schedule finds the planted bug");
    assert!(sound(Prelude::SomethingPurged, seed));
}

#[test]
fn a_copy_that_begins_with_the_record_is_found_out() {
    let seed = found_out(Prelude::SomethingLacking, Bug::CopiesRecordFirst).expect("a schedule finds the planted bug");
    assert!(sound(Prelude::SomethingLacking, seed));
}

#[test]
fn a_copy_that_relies_on_what_a_sweep_listed_is_found_out() {
    let seed = found_out(Prelude::SomethingLackingDue, Bug::CopiesBlindly).expect("a schedule finds the planted bug");
    assert!(sound(Prelude::SomethingLackingDue, seed));
}

/// Whether the schedules up to a seed lose nothing where nothing is planted.
fn sound(prelude: Prelude, up_to: u64) -> bool {
    (1..=up_to).all(|seed| run_from(prelude, 0, seed, Bug::None).problems.is_empty())
}

#[test]
fn the_same_seed_runs_the_same_schedule() {
    let (once, again) = (run(7, Bug::None), run(7, Bug::None));
    assert_eq!(
        (once.stored, once.deleted, once.crashed),
        (again.stored, again.deleted, again.crashed)
    );
}
