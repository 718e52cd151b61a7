//! Readers of what lies in the state folder of a host, and beside what it restores.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use strongroom::archive::chunks::arrived::{self, Arrived, Chunk, Ledger, Placed};
use strongroom::archive::chunks::index::{Index, PackInfo};
use strongroom::archive::chunks::item::Item;
use strongroom::archive::epoch::HostEpochs;
use strongroom::commands::sampling::Turns;
use strongroom::crypto::Digest;
use strongroom::crypto::age::Recipient;
use strongroom::crypto::note::Verifier;
use strongroom::journal::{self, Entry, Event, Journal, Setup, Status, Sync};
use strongroom::restore::swap::record::SwapRecord;
use strongroom::source::append_log::blocks::Blocks;
use strongroom::source::append_log::memory::LogMemory;
use strongroom::source::lineage;
use strongroom::state::StateFolder;
use strongroom::target::ledger::UnderWay;

use super::samples::Samples;
use super::{Reader, claim};

pub(super) fn readers(samples: &Samples) -> Vec<Reader> {
    vec![
        journal_segment(),
        epochs(samples),
        log_memory(samples),
        log_blocks(),
        index(samples),
        swap_record(samples),
        lineages(samples),
        public_keys(samples),
        uploads(),
        arrived_packs(),
        arrived_whole(),
        turns(),
    ]
}

/// A file that is written anew each time, without a rename and without a sync.
struct Slot(Mutex<File>);

impl Slot {
    fn put(&self, bytes: &[u8]) -> Result<File, String> {
        let file = self.0.lock().unwrap();
        let written = file
            .write_all_at(bytes, 0)
            .and_then(|()| file.set_len(bytes.len() as u64));
        written
            .and_then(|()| file.try_clone())
            .map_err(|error| error.to_string())
    }
}

/// The chain finds every change; what may differ is only what the journal itself calls unfinished.
fn journal_segment() -> Reader {
    let folder = tempfile::tempdir().unwrap();
    let state = StateFolder::open(&folder.path().join("dev")).unwrap();
    let setup = Setup::new(Arc::new(str::to_owned));
    let (mut journal, _) = Journal::open(&state, setup).unwrap();
    for status in [Status::Ok, Status::Failed] {
        journal
            .append(&Entry::new(Event::RunFinished).status(status), Sync::Now)
            .unwrap();
    }
    drop(journal);
    let path = state.path().join("journal-000001.jsonl");
    let sound = std::fs::read(&path).unwrap();
    let slot = Slot(Mutex::new(File::options().write(true).open(path).unwrap()));
    let segment = sound.clone();
    Reader::new("journal", vec![segment], move |bytes| {
        let _ = &folder;
        slot.put(bytes)?;
        let read = journal::read(&state, journal::Filter::default()).map_err(|error| error.to_string())?;
        let _ = read.flatten().count();
        let good = journal::verify(&state).is_ok_and(|verified| verified.is_good());
        claim(good == (bytes == sound), "a change was not found, or there was none")?;
        Ok(good)
    })
    .costly(8)
}

fn epochs(samples: &Samples) -> Reader {
    Reader::new("epochs of a host", samples.epochs(), |bytes| {
        let Some(epochs) = HostEpochs::parse(bytes, "repository") else {
            return Ok(false);
        };
        let again = HostEpochs::parse(&epochs.to_bytes("repository"), "repository");
        claim(again.as_ref() == Some(&epochs), "it reads back otherwise")?;
        claim(epochs.current().is_some(), "no epoch in use").map(|()| true)
    })
}

/// Where a digest stands at the end it is made to fit, or nothing would get behind it.
fn log_memory(samples: &Samples) -> Reader {
    let mut backup = String::new();
    let texts = samples.state(".memory").into_iter().map(|bytes| {
        let text = String::from_utf8(bytes).unwrap();
        let header: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        header["backup"].as_str().unwrap().clone_into(&mut backup);
        text.as_bytes()[..=text.trim_end().rfind('\n').unwrap()].to_vec()
    });
    let texts: Vec<Vec<u8>> = texts.collect();
    Reader::new("memory of a log", texts, move |bytes| {
        let mut whole = bytes.to_vec();
        whole.extend_from_slice(format!("{}\n", Digest::of(bytes)).as_bytes());
        let Some(memory) = LogMemory::parse(&whole, &backup) else {
            return Ok(false);
        };
        let again = LogMemory::parse(&memory.to_bytes(&backup), &backup);
        claim(again == Some(memory), "it reads back otherwise").map(|()| true)
    })
}

fn log_blocks() -> Reader {
    let block = |count: usize, length: u64| {
        let mut bytes = format!("{{\"format\":1,\"backup\":\"b\",\"length\":{length},\"block\":65536}}\n").into_bytes();
        bytes.extend(std::iter::repeat_n(7, 32 * count));
        bytes
    };
    let empty = String::from_utf8(Blocks::default().to_bytes("b")).unwrap();
    let size = empty
        .rsplit_once(':')
        .unwrap()
        .1
        .trim_end()
        .trim_end_matches('}')
        .to_owned();
    let with_size = |bytes: Vec<u8>| {
        let cut = bytes.iter().position(|byte| *byte == b'\n').unwrap();
        let head = String::from_utf8(bytes[..cut].to_vec())
            .unwrap()
            .replace("65536", &size);
        [head.as_bytes(), &bytes[cut..]].concat()
    };
    let unit: u64 = size.parse().unwrap();
    let samples = [(0, 0), (1, 5), (3, 2 * unit + 1)].map(|(count, length)| with_size(block(count, length)));
    assert!(
        samples.iter().all(|bytes| Blocks::parse(bytes, "b").is_some()),
        "{empty}"
    );
    Reader::new("blocks of a log", samples.into(), |bytes| {
        let Some(blocks) = Blocks::parse(bytes, "b") else {
            return Ok(false);
        };
        let again = Blocks::parse(&blocks.to_bytes("b"), "b");
        claim(again == Some(blocks), "it reads back otherwise").map(|()| true)
    })
}

fn index(samples: &Samples) -> Reader {
    let bodies = samples
        .state("index")
        .into_iter()
        .map(|bytes| bytes[..bytes.len() - 32].to_vec());
    let bodies: Vec<Vec<u8>> = bodies.filter(|bytes| bytes.len() < 64 << 10).collect();
    let sources = ["files", "events", "db"].map(|name| name.parse().unwrap());
    let slot = Slot(Mutex::new(tempfile::tempfile().unwrap()));
    Reader::new("index", bodies, move |bytes| {
        let mut whole = bytes.to_vec();
        whole.write_all(Digest::of(bytes).as_bytes()).unwrap();
        let Ok(index) = Index::of(slot.put(&whole)?) else {
            return Ok(false);
        };
        let mut sound = true;
        for source in &sources {
            let Ok(Some(mut items)) = index.items(source) else {
                continue;
            };
            let mut left = whole.len();
            loop {
                match items.advance() {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(_) => {
                        sound = false;
                        break;
                    }
                }
                claim(left > 0, "more items than bytes")?;
                left -= 1;
                claim(
                    items.body().len() + items.path().len() <= 2 * whole.len(),
                    "more than there is",
                )?;
                let (Ok(path), body) = (items.tree_path(), items.body()) else {
                    sound = false;
                    continue;
                };
                let _ = (Item::glance(body), Item::read_content(body));
                if let Ok(item) = Item::read(path.clone(), body) {
                    let mut again = Vec::new();
                    item.write(&mut again);
                    claim(Item::read(path, &again) == Ok(item), "an item reads back otherwise")?;
                }
            }
        }
        Ok(sound)
    })
    .costly(4)
}

fn swap_record(samples: &Samples) -> Reader {
    let records = samples
        .beside(".json")
        .into_iter()
        .filter(|bytes| SwapRecord::parse(bytes).is_ok());
    let records: Vec<Vec<u8>> = records.collect();
    assert!(!records.is_empty());
    Reader::new("journal of a swap", records, |bytes| {
        let Ok(record) = SwapRecord::parse(bytes) else {
            return Ok(false);
        };
        let _ = (record.moment(), record.point_id());
        let again = record.to_bytes().ok().and_then(|bytes| SwapRecord::parse(&bytes).ok());
        claim(again == Some(record), "it reads back otherwise").map(|()| true)
    })
}

fn lineages(samples: &Samples) -> Reader {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("events");
    let name = samples
        .plain
        .path("data")
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .find(|name| name.to_str().is_some_and(|name| name.contains("lineage")));
    let slot = Slot(Mutex::new(File::create(folder.path().join(name.unwrap())).unwrap()));
    let source = "events".parse().unwrap();
    let files = samples.beside("lineage.json");
    slot.put(&files[0]).unwrap();
    assert!(matches!(lineage::read(&root, &source), Ok(Some(_))));
    Reader::new("lineage", files, move |bytes| {
        let _ = &folder;
        slot.put(bytes)?;
        match lineage::read(&root, &source) {
            Ok(Some(entry)) => claim(entry.source == source, "another source's").map(|()| true),
            Ok(None) | Err(_) => Ok(false),
        }
    })
    .costly(2)
}

/// A line of the uploads under way. One with a key twice is none.
#[derive(serde::Deserialize)]
struct Said {
    url: String,
    object: String,
    what: String,
}

/// What is under way was begun by some line and ended by none behind it.
fn uploads() -> Reader {
    let line = |url: &str, object: &str, what: &str| {
        format!("{{\"url\":\"{url}\",\"object\":\"{object}\",\"what\":\"{what}\"}}\n")
    };
    let pack = |byte: &str| format!("packs/{byte}/{}.tar.zst", byte.repeat(32));
    let (one, two) = ("s3://bucket/live", "s3://other");
    let whole = [
        line(one, &pack("0a"), "begun"),
        line(two, &pack("0a"), "begun"),
        line(one, &pack("0b"), "begun"),
        line(one, &pack("0a"), "ended"),
        line(two, "keys/a \\\"name\\\".age", "begun"),
    ];
    let samples = [whole.concat(), line(two, &pack("0c"), "begun")].map(String::into_bytes);
    Reader::new("uploads under way", samples.into(), |bytes| {
        let under_way = UnderWay::parse(bytes);
        let text = String::from_utf8_lossy(bytes);
        let last = |url: &str, object: &str| {
            let lines = text.lines().filter_map(|line| serde_json::from_str::<Said>(line).ok());
            let own = lines.filter(|line| line.url == url && line.object == object);
            let mut known = own.filter(|line| line.what == "begun" || line.what == "ended");
            known.next_back().map(|line| line.what == "begun")
        };
        for (url, object) in under_way.iter() {
            claim(last(url, object) == Some(true), "an upload that no line began")?;
        }
        let again = under_way.to_bytes().map_err(|error| error.to_string())?;
        claim(UnderWay::parse(&again) == under_way, "it reads back otherwise")?;
        Ok(under_way.iter().next().is_some())
    })
    .costly(2)
}

/// A place for files that are synced each time they are written: in memory, where there is one.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

fn arrived(name: &[u8], chunks: u32) -> Arrived {
    let chunk = |n: u32| Chunk {
        id: *blake3::hash(&n.to_le_bytes()).as_bytes().first_chunk().unwrap(),
        offset: 512 + n * 100_000,
        length: 90_000 + n,
    };
    let pack = PackInfo {
        name: Digest::of(name),
        stored: 70_000,
        plain: 3_000_000,
    };
    Arrived {
        pack,
        chunks: (0..chunks).map(chunk).collect(),
    }
}

/// The ledger of packs that arrived, as the program writes it.
fn arrived_ledger(folder: &Path, epoch: Option<&str>, packs: &[Arrived]) -> Vec<u8> {
    let path = folder.join("written");
    drop(Ledger::begin(&path, epoch.map(str::to_owned), Placed::default(), packs).unwrap());
    std::fs::read(path).unwrap()
}

/// The body of an entry. Its length and its digest are made to fit, or nothing would get behind them.
fn arrived_packs() -> Reader {
    const EPOCH: &str = "0123456789abcdef";
    let folder = scratch();
    let bodies = [0, 1, 5].map(|chunks| {
        let entry = arrived_ledger(folder.path(), Some(EPOCH), &[arrived(b"one", chunks)]);
        entry[4..entry.len() - 32].to_vec()
    });
    let path = folder.path().join("read");
    let slot = Slot(Mutex::new(File::create(&path).unwrap()));
    Reader::new("packs that arrived", bodies.into(), move |bytes| {
        let length = u32::try_from(bytes.len()).unwrap();
        slot.put(&[&length.to_le_bytes(), bytes, Digest::of(bytes).as_bytes()].concat())?;
        let found = arrived::read(&path, Some(EPOCH)).map_err(|error| error.to_string())?;
        let [one] = found.as_slice() else {
            return claim(found.is_empty(), "more than one of one entry").map(|()| false);
        };
        claim(one.chunks.len() * 16 <= bytes.len(), "more chunks than bytes for them")?;
        arrived_ledger(folder.path(), Some(EPOCH), &found);
        let again = arrived::read(&folder.path().join("written"), Some(EPOCH)).map_err(|error| error.to_string())?;
        claim(again == found, "it reads back otherwise").map(|()| true)
    })
    .costly(4)
}

/// The ledger as it lies there: it tells of nothing that was not written.
fn arrived_whole() -> Reader {
    let folder = scratch();
    let packs = [arrived(b"one", 3), arrived(b"two", 1), arrived(b"three", 0)];
    let samples = vec![
        arrived_ledger(folder.path(), None, &packs),
        arrived_ledger(folder.path(), None, &packs[1..]),
    ];
    let path = folder.path().join("read");
    let slot = Slot(Mutex::new(File::create(&path).unwrap()));
    Reader::new("ledger of packs", samples, move |bytes| {
        let _ = &folder;
        slot.put(bytes)?;
        let found = arrived::read(&path, None).map_err(|error| error.to_string())?;
        claim(found.iter().all(|one| packs.contains(one)), "a pack that nobody noted")?;
        Ok(!found.is_empty())
    })
    .costly(2)
}

/// Parts follow one another, whatever the file says.
fn turns() -> Reader {
    let texts = [
        r#"{"local backup service-1 content 20":7,"offsite backup service-1 objects 3":2}"#,
        r#"{"local backup service-1 content 3":18446744073709551614}"#,
        r#"{"local backup service-1 content 3":0}"#,
    ];
    let samples = texts.map(|text| text.as_bytes().to_vec());
    Reader::new("turns of samples", samples.into(), |bytes| {
        let Some(mut turns) = Turns::parse(bytes) else {
            return Ok(false);
        };
        claim(
            Turns::parse(&turns.to_bytes()).as_ref() == Some(&turns),
            "it reads back otherwise",
        )?;
        let keys: Vec<String> = turns.keys().map(str::to_owned).collect();
        for key in &keys {
            let parts = key.rsplit(' ').next().and_then(|parts| parts.parse().ok()).unwrap_or(1);
            let mut seen = BTreeSet::new();
            for _ in 0..parts.min(20) {
                let part = turns.next(key, parts);
                claim((1..=parts.max(1)).contains(&part.number()), "a part that there is not")?;
                claim(seen.insert(part.number()), "a part twice before all others")?;
                turns.passed(key, parts);
            }
        }
        Ok(!keys.is_empty())
    })
}

fn public_keys(samples: &Samples) -> Reader {
    let mut keys: Vec<Vec<u8>> = samples
        .identities
        .iter()
        .map(|key| key.recipient().to_string().into_bytes())
        .collect();
    keys.push(samples.signer.to_string().into_bytes());
    Reader::new("public key", keys, |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Ok(false);
        };
        let recipient = text.parse::<Recipient>().ok().map(|key| key.to_string());
        let verifier = text.parse::<Verifier>().ok().map(|key| key.to_string());
        let same = |key: &Option<String>| key.as_deref().is_none_or(|key| key.eq_ignore_ascii_case(text));
        claim(same(&recipient) && same(&verifier), "a key of two texts")?;
        Ok(recipient.or(verifier).is_some())
    })
}
