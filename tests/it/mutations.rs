//! Structured mutations: every reader of every format is fed sound inputs that were changed so that most of them get past its first
//! look. It refuses them or takes them for what they are; it never panics, and never takes more memory than it may.
//!
//! What is taken is held against a claim of its own: it reads back as itself, nobody else signed it, it points to nothing that is
//! not there. What is found is told with the input: the samples are of real runs, so no two of them are alike.

mod kept;
mod mutator;
mod samples;
mod stored;

use std::fmt::Write as _;
use std::future::Future;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Instant;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use mutator::Mutator;
use samples::Samples;

/// Inputs for each reader in the test that is always run; a costly one gets fewer. `MUTATIONS` in the environment asks for another
/// number of each, and `MUTATIONS_OF` for one reader.
const MUTATIONS: u64 = 16_000;
/// At full size.
const MUTATIONS_TORTURE: u64 = 10_000_000;
/// Bytes of memory that the process may have: many times what any reader needs, and nothing beside what an input may claim.
const MEMORY: u64 = 3 << 30;

/// Whether the input was taken; an error where what was taken is not what it should be.
type Took = Result<bool, String>;

struct Reader {
    name: &'static str,
    samples: Vec<Vec<u8>>,
    /// By how much fewer inputs it gets in the test that is always run.
    cost: u64,
    read: Box<dyn Fn(&[u8]) -> Took + Send + Sync>,
}

impl Reader {
    fn new(name: &'static str, samples: Vec<Vec<u8>>, read: impl Fn(&[u8]) -> Took + Send + Sync + 'static) -> Self {
        Self {
            name,
            samples,
            cost: 1,
            read: Box::new(read),
        }
    }

    fn costly(self, cost: u64) -> Self {
        Self { cost, ..self }
    }

    /// Feeds it `count` inputs; gives how many it took.
    fn feed(&self, count: u64) -> Result<u64, String> {
        for (number, sample) in self.samples.iter().enumerate() {
            let took = (self.read)(sample);
            if took != Ok(true) {
                return Err(format!("`{}` does not take sample {number}: {took:?}", self.name));
            }
        }
        let name = blake3::hash(self.name.as_bytes());
        let seed = u64::from_le_bytes(*name.as_bytes().first_chunk().unwrap());
        let (mut taken, mut input) = (0, Vec::new());
        for number in 0..count {
            Mutator::new(seed ^ number).mutate(&self.samples, &mut input);
            let read = catch_unwind(AssertUnwindSafe(|| (self.read)(&input)));
            match read {
                Ok(Ok(took)) => taken += u64::from(took),
                Ok(Err(broken)) => return Err(self.found(number, &input, &broken)),
                Err(_) => return Err(self.found(number, &input, "it panics")),
            }
        }
        Ok(taken)
    }

    fn found(&self, number: u64, input: &[u8], what: &str) -> String {
        let name = self.name;
        format!("`{name}`, input {number}: {what}\n{}", input.escape_ascii())
    }
}

fn claim(holds: bool, else_what: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(else_what.to_owned()) }
}

/// Waits for what never waits: a target in memory.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    }
    RUNTIME.with(|runtime| runtime.block_on(future))
}

/// Whoever asks for more than that gets none, and the process ends.
fn bound_memory() {
    let maximum = getrlimit(Resource::As).maximum;
    let current = Some(maximum.map_or(MEMORY, |maximum| maximum.min(MEMORY)));
    setrlimit(Resource::As, Rlimit { current, maximum }).unwrap();
    let too_much = usize::try_from(MEMORY).unwrap();
    assert!(
        Vec::<u8>::new().try_reserve_exact(too_much).is_err(),
        "memory is not bounded"
    );
}

fn count(reader: &Reader) -> u64 {
    let asked = std::env::var("MUTATIONS").ok().and_then(|text| text.parse().ok());
    let torture = std::env::var_os("STRONGROOM_TORTURE").map(|_| MUTATIONS_TORTURE);
    asked.or(torture).unwrap_or(MUTATIONS / reader.cost)
}

#[test]
fn every_reader_refuses_a_changed_input_or_takes_it_for_what_it_is() {
    let samples = Samples::new();
    bound_memory();
    let mut readers = stored::readers(&samples);
    readers.extend(kept::readers(&samples));
    if let Ok(one) = std::env::var("MUTATIONS_OF") {
        readers.retain(|reader| reader.name == one);
    }
    assert!(!readers.is_empty());
    let (waiting, told) = (Mutex::new(readers.iter()), Mutex::new(String::new()));
    let work = || {
        loop {
            let Some(reader) = waiting.lock().unwrap().next() else {
                return;
            };
            let (began, count) = (Instant::now(), count(reader));
            let fed = reader.feed(count);
            let line = match &fed {
                Ok(taken) => format!(
                    "{}: {count} inputs, {taken} taken, {:.0?}",
                    reader.name,
                    began.elapsed()
                ),
                Err(found) => found.clone(),
            };
            writeln!(std::io::stderr(), "{line}").unwrap();
            // A reader that takes nothing is not fed what is close to sound.
            if !fed.is_ok_and(|taken| taken > 0 && taken < count) {
                writeln!(told.lock().unwrap(), "{line}").unwrap();
            }
        }
    };
    std::thread::scope(|scope| {
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        (0..workers).for_each(|_| drop(scope.spawn(work)));
    });
    let told = told.into_inner().unwrap();
    assert!(told.is_empty(), "{told}");
}

/// A reader with a fault of its own.
fn faulty(name: &'static str, read: impl Fn(&[u8]) -> Took + Send + Sync + 'static) -> Reader {
    let sample = b"{\n  \"format\": 1,\n  \"bytes\": 70,\n  \"name\": \"one\"\n}\n";
    Reader::new(name, vec![sample.to_vec()], read)
}

fn parsed(bytes: &[u8]) -> Option<serde_json::Map<String, serde_json::Value>> {
    serde_json::from_slice(bytes).ok()
}

#[test]
fn a_reader_that_panics_on_one_number_is_found() {
    let reader = faulty("panics", |bytes| {
        let bytes = parsed(bytes).and_then(|map| map.get("bytes")?.as_u64());
        assert_ne!(bytes, Some(u64::MAX));
        Ok(bytes.is_some())
    });
    let found = reader.feed(MUTATIONS).unwrap_err();
    assert!(
        found.contains("panics") && found.contains("18446744073709551615"),
        "{found}"
    );
}

#[test]
fn a_reader_that_takes_what_it_does_not_give_back_is_found() {
    let reader = faulty("forgets", |bytes| match parsed(bytes) {
        // Two keys of one name: the first one is lost.
        Some(map) => claim(
            bytes.iter().filter(|byte| **byte == b':').count() == map.len(),
            "a key is lost",
        )
        .map(|()| true),
        None => Ok(false),
    });
    let found = reader.feed(MUTATIONS).unwrap_err();
    assert!(found.contains("a key is lost"), "{found}");
}

#[test]
fn a_reader_that_makes_room_for_what_is_only_claimed_is_found() {
    let reader = faulty("greedy", |bytes| {
        let Some(claimed) = parsed(bytes).and_then(|map| map.get("bytes")?.as_u64()) else {
            return Ok(false);
        };
        // A reader that does not ask whether there is room for that ends the process.
        let room = Vec::<u8>::new().try_reserve_exact(usize::try_from(claimed).unwrap());
        claim(room.is_ok(), "more than it may have").map(|()| true)
    });
    bound_memory();
    let found = reader.feed(MUTATIONS).unwrap_err();
    assert!(found.contains("more than it may have"), "{found}");
}

#[test]
fn a_mutation_follows_from_its_seed_and_is_seldom_the_sample() {
    let samples = vec![b"{\"a\": 1, \"b\": \"c\"}\nline\n".to_vec(), b"other\n".to_vec()];
    let make = |seed| {
        let mut made = Vec::new();
        Mutator::new(seed).mutate(&samples, &mut made);
        made
    };
    let same = (0..1000).filter(|seed| samples.contains(&make(*seed))).count();
    assert!(same < 300, "{same}");
    assert!((0..1000).all(|seed| make(seed) == make(seed)));
    let different: std::collections::BTreeSet<Vec<u8>> = (0..1000).map(make).collect();
    assert!(different.len() > 500, "{}", different.len());
}
