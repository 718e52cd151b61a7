//! Archives as a whole: what goes in comes out, and what was changed on the way is found.

use std::sync::{Arc, Mutex};

use strongroom::archive::keys::Opening;
use strongroom::archive::layout;
use strongroom::archive::pack::{PackError, Packed, Packing, pack};
use strongroom::archive::record::Record;
use strongroom::archive::repository::{self, Listing, Stored};
use strongroom::archive::unpack::{BackupSink, NoSink, UnpackError, unpack};
use strongroom::codec::Codec;
use strongroom::crypto::note::Signer;
use strongroom::event::Events;
use strongroom::fs::entry::{Entry, Kind, Metadata, TreePath};
use strongroom::id::SourceName;
use strongroom::source::{SinkError, TreeSink, Verdict};
use strongroom::target::Target;

const ID: &str = "20261121T215100Z-9c41";

fn name(text: &str) -> SourceName {
    text.parse().unwrap()
}

fn entry(path: &str, kind: Kind) -> Entry {
    let path = TreePath::parse(path.as_bytes()).unwrap();
    Entry {
        path,
        kind,
        metadata: Metadata {
            mode: 0o640,
            ..Metadata::default()
        },
        stat: None,
    }
}

/// Content that compresses a little and differs from file to file.
fn content(number: usize, length: usize) -> Vec<u8> {
    let mut state = number as u64 + 1;
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&state.to_le_bytes()[3..]);
        bytes.extend_from_slice(b"the same");
    }
    bytes.truncate(length);
    bytes
}

fn files() -> Vec<(String, Vec<u8>)> {
    let sizes = [0, 1, 511, 512, 513, 100_000, 1 << 20, 5_000_001];
    (0..40)
        .map(|n| (format!("f{n:03}"), content(n, sizes[n % sizes.len()])))
        .collect()
}

fn put(sink: &mut dyn TreeSink, entry: &Entry, data: &[u8]) -> Result<(), SinkError> {
    sink.begin(entry)?;
    for piece in data.chunks(300_000) {
        sink.write(piece)?;
    }
    sink.end(Verdict::Kept)
}

async fn store(targets: &[Target], codec: Codec) -> Stored {
    let environment = "dev".parse().unwrap();
    let id = ID.parse().unwrap();
    let archive = layout::archive(&environment, &id, codec);
    let level = if codec == Codec::None { 0 } else { 3 };
    let packing = Packing {
        codec,
        level,
        archive,
        targets: targets.to_vec(),
        required: targets.len(),
        doomed: Arc::default(),
        epoch: None,
        stop: Arc::default(),
    };
    for target in targets {
        let repository = repository::Repository {
            format: 1,
            repository: "test".into(),
        };
        repository::create(target, &repository).await.unwrap();
    }
    let packed = pack(packing, name("one"), &Events::none(), |sink| {
        put(sink, &entry("", Kind::Folder), b"")?;
        for (path, data) in files() {
            put(
                sink,
                &entry(
                    &path,
                    Kind::File {
                        size: data.len() as u64,
                        extents: None,
                    },
                ),
                &data,
            )?;
        }
        sink.source(name("two"))?;
        put(sink, &entry("", Kind::Folder), b"")?;
        put(
            sink,
            &entry(
                "link",
                Kind::Link {
                    target: b"../x".to_vec(),
                },
            ),
            b"",
        )?;
        Ok::<_, SinkError>(())
    })
    .await
    .unwrap_or_else(|_| panic!("not packed"));
    let signer = Signer::generate("host").unwrap();
    let completed = repository::complete(packed, targets.len(), "salt", &signer, |packed: &Packed<()>, refs| {
        let bytes: u64 = files().iter().map(|(_, data)| data.len() as u64).sum();
        let source = |name: &str, entries: u64, bytes: u64| {
            serde_json::json!({ "name": name, "type": "files", "root": "/x", "entries": entries, "bytes": bytes, "warnings": 0 })
        };
        serde_json::from_value::<Record>(serde_json::json!({
            "format": 1, "id": ID, "run": "01980000-0000-7000-8000-000000000000", "sequence": 1, "parent": null,
            "environment": "dev", "pipeline": "backup", "instance": "host", "started": "x", "ended": "x",
            "sources": [source("one", 41, bytes), source("two", 2, 0)],
            "archive": packed.archive(), "segments": packed.segments, "refs": refs,
            "warnings": 0, "manifest": "", "tool": "test",
        }))
        .unwrap()
    })
    .await
    .unwrap();
    completed.stored.unwrap()
}

/// Remembers what it is handed.
#[derive(Clone, Default)]
struct Remember(Arc<Mutex<Vec<(TreePath, Vec<u8>)>>>);

struct RememberAll(Remember);

impl TreeSink for Remember {
    fn begin(&mut self, entry: &Entry) -> Result<(), SinkError> {
        self.0.lock().unwrap().push((entry.path.clone(), Vec::new()));
        Ok(())
    }

    fn write(&mut self, data: &[u8]) -> Result<(), SinkError> {
        self.0.lock().unwrap().last_mut().unwrap().1.extend_from_slice(data);
        Ok(())
    }

    fn end(&mut self, _: Verdict) -> Result<(), SinkError> {
        Ok(())
    }
}

impl BackupSink for RememberAll {
    fn source(&mut self, source: &SourceName) -> Result<Option<&mut dyn TreeSink>, SinkError> {
        Ok(if source.as_str() == "one" {
            Some(&mut self.0)
        } else {
            None
        })
    }
}

fn memory() -> Target {
    Target::memory("memory".parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_codec_gives_back_what_went_in_from_every_target() {
    for codec in [Codec::Zstd, Codec::Gzip, Codec::None] {
        let targets = [memory(), memory()];
        let stored = store(&targets, codec).await;
        for target in &targets {
            let seen = Remember::default();
            let sink = RememberAll(seen.clone());
            let (unpacked, _) = unpack(target, stored.record(), &Opening::Plain, &Events::none(), sink)
                .await
                .unwrap();
            assert_eq!(unpacked.entries, 43);
            let seen = seen.0.lock().unwrap();
            let found: Vec<(String, &Vec<u8>)> =
                seen.iter().skip(1).map(|(path, data)| (path.display(), data)).collect();
            let put = files();
            let expected: Vec<(String, &Vec<u8>)> = put.iter().map(|(path, data)| (path.clone(), data)).collect();
            assert!(found == expected, "{codec:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_capture_that_fails_leaves_no_archive_and_no_record() {
    for codec in [Codec::Zstd, Codec::Gzip, Codec::None] {
        let target = memory();
        let environment = "dev".parse().unwrap();
        let archive = layout::archive(&environment, &ID.parse().unwrap(), codec);
        let packing = Packing {
            codec,
            level: 3,
            archive,
            targets: vec![target.clone()],
            required: 1,
            doomed: Arc::default(),
            epoch: None,
            stop: Arc::default(),
        };
        let result = pack(packing, name("one"), &Events::none(), |sink| {
            put(sink, &entry("", Kind::Folder), b"")?;
            let data = content(1, 9_000_000);
            put(
                sink,
                &entry(
                    "a",
                    Kind::File {
                        size: data.len() as u64,
                        extents: None,
                    },
                ),
                &data,
            )?;
            Err::<(), _>(SinkError::Stopped)
        })
        .await;
        assert!(matches!(result, Err(PackError::Capture(SinkError::Stopped))));
        assert_eq!(target.list("").await.unwrap(), [], "{codec:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_object_that_is_cut_flipped_or_removed_is_found() {
    for codec in [Codec::Zstd, Codec::Gzip, Codec::None] {
        let source = memory();
        let stored = store(std::slice::from_ref(&source), codec).await;
        let objects = source.list("").await.unwrap();
        let mut found = 0;
        for (object, info) in &objects {
            // The page and the script to recover with have a check of their own.
            let is_needed = |folder| object.starts_with(folder);
            if !["archives/", "catalogs/", "refs/"].into_iter().any(is_needed) {
                continue;
            }
            let bytes = source.read(object, 1 << 30).await.unwrap();
            let cut = bytes.slice(..bytes.len() - 1);
            let flips = [0, bytes.len() / 2, bytes.len() - 5].map(|at| {
                let mut flipped = bytes.to_vec();
                flipped[at] ^= 1;
                flipped.into()
            });
            let changed: Vec<Option<bytes::Bytes>> = [Some(cut), None].into_iter().chain(flips.map(Some)).collect();
            for change in changed {
                let target = memory();
                for (other, _) in &objects {
                    let whole = source.read(other, 1 << 30).await.unwrap();
                    match (&change, other == object) {
                        (Some(changed), true) => drop(target.create(other, changed.clone()).await.unwrap()),
                        (None, true) => {}
                        (_, false) => drop(target.create(other, whole).await.unwrap()),
                    }
                }
                let checked = repository::check_objects(&target, stored.record(), &Events::none()).await;
                assert!(checked.is_err(), "{object} of {} bytes, changed, passes", info.size);
                if !object.starts_with("refs/") {
                    let unpacked = unpack(&target, stored.record(), &Opening::Plain, &Events::none(), NoSink).await;
                    assert!(
                        matches!(unpacked, Err(error) if !matches!(error, UnpackError::Died)),
                        "{object} unpacks"
                    );
                }
                found += 1;
            }
        }
        assert!(found >= 15, "{found}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_backup_is_listed_chosen_and_read_back() {
    let targets = [memory(), memory()];
    let stored = store(&targets, Codec::Zstd).await;
    let listing: Listing = repository::list(&targets, &"dev".parse().unwrap()).await;
    assert!(listing.warnings.is_empty(), "{:?}", listing.warnings);
    for wanted in [ID, "20261121T2151", "latest", "latest~0"] {
        assert_eq!(listing.choose(wanted, |_| true).unwrap().record.id.as_str(), ID);
    }
    assert!(listing.choose("latest~1", |_| true).is_err());
    assert!(listing.choose("2027", |_| true).is_err());
    let read_back = repository::read_back(stored, &Events::none()).await;
    assert_eq!(read_back.confirmed.unwrap().targets().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_made_and_found_there_is_read_back_too() {
    let sound = memory();
    store(std::slice::from_ref(&sound), Codec::Zstd).await;
    for kind in ["refs/", "catalogs/", "sums/", ".sig"] {
        let listed = sound.list("").await.unwrap();
        let (name, _) = listed
            .into_iter()
            .find(|(name, _)| name.starts_with(kind) || name.ends_with(kind))
            .unwrap();
        let mut bytes = sound.read(&name, 1 << 20).await.unwrap().to_vec();
        // As long as the right one, and under its name.
        *bytes.last_mut().unwrap() ^= 1;
        let target = memory();
        target.create(&name, bytes.into()).await.unwrap();
        let stored = store(std::slice::from_ref(&target), Codec::Zstd).await;
        let read_back = repository::read_back(stored, &Events::none()).await;
        assert!(read_back.confirmed.is_none(), "{name}");
        let (_, error) = read_back.failed.first().unwrap();
        assert!(
            matches!(error, repository::RepositoryError::Damaged { object, .. } if *object == name),
            "{error:?}"
        );
    }
}
