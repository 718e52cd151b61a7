//! Readers of what lies in the state folder of a host, and beside what it restores.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex};

use strongroom::archive::chunks::index::Index;
use strongroom::archive::chunks::item::Item;
use strongroom::archive::epoch::HostEpochs;
use strongroom::crypto::Digest;
use strongroom::crypto::age::Recipient;
use strongroom::crypto::note::Verifier;
use strongroom::journal::{self, Entry, Event, Journal, Setup, Status, Sync};
use strongroom::restore::swap::record::SwapRecord;
use strongroom::source::append_log::blocks::Blocks;
use strongroom::source::append_log::memory::LogMemory;
use strongroom::source::lineage;
use strongroom::state::StateFolder;

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
