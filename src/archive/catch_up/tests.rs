//! Copies from and into targets that fail, lie or lack time; each backup is whole in its target or has no record there.

use jiff::Timestamp;

use super::*;
use crate::archive::pack::object;
use crate::archive::record::Record;
use crate::archive::refs::Ref;
use crate::archive::signature::statement;
use crate::clock::FixedClock;
use crate::codec::Codec;
use crate::crypto::note::Signer;
use crate::id::{BackupId, EnvName};
use crate::limits::COPIED_WHOLE;
use crate::target::faulty::{Fault, Faulty, Operation};

const BEGIN: &str = "2026-01-01T00:00:00Z";

fn memory(name: &str) -> Target {
    Target::memory(name.parse().unwrap())
}

/// A target with faults before it, under the name of the one behind it.
fn faulty(target: &Target, with: impl FnOnce(Faulty) -> Faulty) -> Target {
    Target::from_store(target.name().clone(), Arc::new(with(Faulty::new(target.store()))))
}

fn clock() -> Arc<FixedClock> {
    Arc::new(FixedClock::at(BEGIN.parse().unwrap()))
}

fn bounds(clock: &Arc<FixedClock>) -> Bounds {
    let now = clock.uptime();
    Bounds {
        clock: Arc::<FixedClock>::clone(clock),
        until: now + Duration::from_mins(30),
        last: now + Duration::from_hours(12),
        stop: Arc::new(AtomicBool::new(false)),
    }
}

/// Stores a backup whose archive is `content` in each of `targets`.
async fn store(targets: &[Target], number: u32, content: &[u8]) -> Backup {
    let environment: EnvName = "live".parse().unwrap();
    let id: BackupId = format!("20260101T000000Z-{number:04x}").parse().unwrap();
    let archive = layout::archive(&environment, &id, Codec::None);
    let segment = object(layout::catalog, format!("segment {number}").as_bytes());
    let refs = Refs::new(
        [(&archive, content.len() as u64), (&segment.name, segment.bytes)].map(|(name, bytes)| Ref {
            name: name.clone(),
            bytes,
            plain_bytes: bytes,
        }),
    );
    let list = refs.to_object().unwrap();
    let record: Record = serde_json::from_value(serde_json::json!({
        "format": layout::FORMAT, "id": id, "run": "01980000-0000-7000-8000-000000000000", "sequence": number, "parent": null,
        "environment": environment, "pipeline": "backup", "instance": "host", "started": "", "ended": "", "sources": [],
        "archive": { "name": archive, "codec": "none", "bytes": content.len(), "plain-bytes": content.len(),
            "blake3": Digest::of(content) },
        "segments": [{ "name": segment.name, "bytes": segment.bytes, "plain-bytes": 1, "blake3": Digest::of(b""), "lines": 1 }],
        "refs": object(layout::refs, &list), "warnings": 0, "manifest": "", "tool": "test",
    }))
    .unwrap();
    let bytes: Bytes = record.to_bytes().unwrap().into();
    let signature = Signer::generate("host").unwrap().sign(&statement(&record, &bytes));
    for target in targets {
        for (name, bytes) in [
            (archive.clone(), Bytes::copy_from_slice(content)),
            (segment.name.clone(), format!("segment {number}").into()),
            (record.refs.name.clone(), list.clone().into()),
            (
                layout::sums(&environment, &id),
                sums::text(&record, &bytes, &refs).into(),
            ),
            (layout::signature(&environment, &id), signature.clone().into()),
            (layout::record(&environment, &id), bytes.clone()),
        ] {
            target.create(&name, bytes).await.unwrap();
        }
    }
    Backup {
        record,
        bytes,
        targets: targets.to_vec(),
    }
}

async fn objects(target: &Target) -> Vec<(String, Bytes)> {
    let mut found = Vec::new();
    for (name, _) in target.list("").await.unwrap() {
        let bytes = target.read(&name, usize::MAX).await.unwrap();
        found.push((name, bytes));
    }
    found
}

async fn is_held(target: &Target, backup: &Backup) -> bool {
    let object = layout::record(&backup.record.environment, &backup.record.id);
    target.head(&object).await.unwrap().is_some()
}

async fn take(target: &Target, backup: &Backup) -> Result<(), Ended> {
    let mut lagging = Lagging::look(target, bounds(&clock()), &Events::none()).await.unwrap();
    lagging.take(backup, &[]).await
}

#[tokio::test]
async fn a_target_that_fails_at_any_put_has_no_record_and_the_next_try_goes_on() {
    let source = memory("source");
    let backup = store(std::slice::from_ref(&source), 1, b"content").await;
    let mut nth = 0;
    loop {
        nth += 1;
        let target = memory("target");
        let failing = faulty(&target, |faulty| faulty.once(Operation::Put, "", nth, Fault::Fails));
        match take(&failing, &backup).await {
            Err(Ended::Target(_)) => {}
            // No put was left to fail.
            Ok(()) => break,
            Err(other) => panic!("{nth}: {other:?}"),
        }
        assert!(!is_held(&target, &backup).await, "{nth}");
        assert_eq!(objects(&target).await.len(), nth - 1);
        take(&target, &backup).await.unwrap();
        assert_eq!(objects(&target).await, objects(&source).await);
    }
    assert_eq!(nth, 7, "six objects");
}

#[tokio::test]
async fn a_source_that_fails_or_lies_is_passed_over_for_another_and_nothing_wrong_is_stored() {
    let (one, two) = (memory("one"), memory("two"));
    let large: Vec<u8> = (0..COPIED_WHOLE + 5).map(|at| at.to_le_bytes()[1]).collect();
    for (number, content) in [(1, &b"content"[..]), (2, &large)] {
        let backup = store(&[one.clone(), two.clone()], number, content).await;
        for folder in ["archives/", "catalogs/", "refs/", "sums/", "backups/"] {
            for fault in [Fault::Fails, Fault::Flips(5), Fault::Cuts(5)] {
                let bad = faulty(&one, |faulty| faulty.always(Operation::Get, folder, fault));
                let alone = Backup {
                    targets: vec![bad.clone()],
                    ..backup.clone()
                };
                let target = memory("target");
                match take(&target, &alone).await {
                    Err(Ended::PassedOver(NotCopied::Damaged(_))) => {}
                    other => panic!("{folder} {fault:?}: {other:?}"),
                }
                assert!(!is_held(&target, &backup).await);
                let there = objects(&target).await;
                assert!(
                    there.iter().all(|(name, _)| !name.starts_with(folder)),
                    "{folder} {fault:?}"
                );
                let both = Backup {
                    targets: vec![bad, two.clone()],
                    ..backup.clone()
                };
                take(&target, &both).await.unwrap();
                let held = objects(&two).await;
                assert!(objects(&target).await.iter().all(|one| held.contains(one)));
            }
        }
    }
}

#[tokio::test]
async fn when_the_time_is_up_the_first_object_is_copied_to_its_end_and_no_more() {
    let source = memory("source");
    let large = vec![7; COPIED_WHOLE + 5];
    let (first, second) = (
        store(std::slice::from_ref(&source), 1, &large).await,
        store(std::slice::from_ref(&source), 2, b"content").await,
    );
    let (clock, target) = (clock(), memory("target"));
    let late = Bounds {
        until: clock.uptime(),
        ..bounds(&clock)
    };
    let mut lagging = Lagging::look(&target, late.clone(), &Events::none()).await.unwrap();
    lagging.take(&first, &[]).await.unwrap();
    assert!(matches!(lagging.take(&second, &[]).await, Err(Ended::Late)));
    assert!(is_held(&target, &first).await && !is_held(&target, &second).await);
    // The next run begins with time for one more.
    let mut lagging = Lagging::look(&target, late, &Events::none()).await.unwrap();
    lagging.take(&second, &[]).await.unwrap();
    assert_eq!(objects(&target).await, objects(&source).await);
}

#[tokio::test]
async fn a_run_that_took_too_long_or_was_told_to_stop_writes_no_record() {
    let source = memory("source");
    let backup = store(std::slice::from_ref(&source), 1, b"content").await;
    let (clock, target) = (clock(), memory("target"));
    let bounds = bounds(&clock);
    let mut lagging = Lagging::look(&target, bounds.clone(), &Events::none()).await.unwrap();
    bounds.stop.store(true, Ordering::Relaxed);
    assert!(matches!(lagging.take(&backup, &[]).await, Err(Ended::Stopped)));
    bounds.stop.store(false, Ordering::Relaxed);
    let later: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
    clock.set(later);
    assert!(matches!(lagging.take(&backup, &[]).await, Err(Ended::Late)));
    assert_eq!(objects(&target).await, []);
}

#[tokio::test]
async fn what_lies_in_the_way_is_left_as_it_is() {
    let source = memory("source");
    let backup = store(std::slice::from_ref(&source), 1, b"content").await;
    for (name, bytes) in objects(&source).await {
        let target = memory("target");
        let other = Bytes::from([&bytes, &b"more"[..]].concat());
        target.create(&name, other.clone()).await.unwrap();
        match take(&target, &backup).await {
            Err(Ended::PassedOver(NotCopied::InTheWay { object, .. })) => assert_eq!(object, name),
            other => panic!("{name}: {other:?}"),
        }
        assert_eq!(target.read(&name, usize::MAX).await.unwrap(), other);
    }
}
