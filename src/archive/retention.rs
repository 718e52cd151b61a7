//! Removes old backups: which of a line go, bounded, and one backup taken out of one target, its record first.

use std::collections::BTreeMap;

use jiff::{Timestamp, Zoned};
use serde::Serialize;

use crate::id::{BackupId, TargetName};
use crate::target::{Target, TargetError};
use crate::units::Share;

use super::layout;
use super::policy::{self, Policy};
use super::record::Record;
use super::repository::{Backup, Lineage, RepositoryError};

/// A backup that goes, as a report and the journal tell it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Removal {
    /// Its id.
    pub id: BackupId,
    /// When it was made, as its record says.
    pub started: String,
    /// Bytes of the objects that its record names. Catalogs and lists among them may be shared and stay.
    pub stored_bytes: u64,
}

impl Removal {
    /// Describes the backup of a record.
    pub fn of(record: &Record) -> Self {
        Self {
            id: record.id.clone(),
            started: record.started.clone(),
            stored_bytes: record.stored_bytes(),
        }
    }
}

/// What becomes of the backups of a line.
#[derive(Clone, Debug)]
pub struct Chosen<'a> {
    /// Backups that go, in the order given.
    pub remove: Vec<&'a Backup>,
    /// Backups that stay, in the order given, each with its reasons.
    pub keep: Vec<(BackupId, Vec<String>)>,
}

/// More would go than may go, so none goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("retention would remove {would_remove} of {of} backups, and {allowed} may go in one run")]
pub struct HeldBack {
    /// Backups that no rule keeps.
    pub would_remove: usize,
    /// Backups of the line.
    pub of: usize,
    /// How many may go.
    pub allowed: usize,
}

/// Chooses which backups of `lineage` go. `backups` is the listing of one target, `newest` the backup just confirmed in it.
///
/// Only backups of the environment of `newest`, and of the pipeline and instance of `lineage`, count and are in the answer.
/// Besides what the policy keeps, these stay: `newest`, the one with the highest sequence whatever the clocks say, and every
/// one whose start time cannot be read. Where `newest` is not listed or not of this line, all stay: then the listing is not
/// that of the target in which it was confirmed.
///
/// `max_remove` is a share of the line's backups, rounded down. A share that comes to less than one still allows one, so
/// that a small repository can shrink at all; only `0%` allows none.
///
/// # Errors
/// When more would go than `max_remove` allows. Then nothing must be removed.
pub fn choose<'a>(
    backups: &'a [Backup],
    lineage: &Lineage,
    newest: &BackupId,
    policy: &Policy,
    max_remove: Share,
    now: Timestamp,
) -> Result<Chosen<'a>, HeldBack> {
    let of_line = |backup: &&Backup| backup.lineage() == *lineage;
    let mut line: Vec<&Backup> = backups.iter().filter(of_line).collect();
    let confirmed = line.iter().find(|backup| backup.record.id == *newest).copied();
    if let Some(confirmed) = confirmed {
        line.retain(|backup| backup.record.environment == confirmed.record.environment);
    }
    let highest = line.iter().map(|backup| backup.record.sequence).max();

    // Of backups that began in the same second the one with the higher sequence is the newer, and stands first.
    let mut newest_first: Vec<(usize, Zoned)> = line
        .iter()
        .enumerate()
        .filter_map(|(index, backup)| Some((index, policy::moment(&backup.record.started)?)))
        .collect();
    newest_first.sort_by_key(|(index, _)| std::cmp::Reverse(line.get(*index).map(|backup| backup.record.sequence)));
    let times: Vec<Zoned> = newest_first.iter().map(|(_, time)| time.clone()).collect();
    let decided = policy::guarded(&times, now, policy);
    let mut decisions: BTreeMap<usize, policy::Decision> =
        newest_first.iter().map(|(index, _)| *index).zip(decided).collect();

    let (mut remove, mut keep) = (Vec::new(), Vec::new());
    for (index, backup) in line.iter().enumerate() {
        let record = &backup.record;
        let decided = decisions.remove(&index);
        let mut reasons = decided.map_or_else(|| vec!["unreadable time".to_owned()], |decision| decision.reasons);
        if reasons.is_empty() {
            if confirmed.is_none() {
                reasons.push("the new backup is not listed".to_owned());
            } else if record.id == *newest || Some(record.sequence) == highest {
                reasons.push("newest".to_owned());
            }
        }
        if reasons.is_empty() {
            remove.push(*backup);
        } else {
            keep.push((record.id.clone(), reasons));
        }
    }
    let allowed = allowed(max_remove, line.len());
    if remove.len() > allowed {
        return Err(HeldBack {
            would_remove: remove.len(),
            of: line.len(),
            allowed,
        });
    }
    Ok(Chosen { remove, keep })
}

/// How many of `total` backups may go.
fn allowed(share: Share, total: usize) -> usize {
    if share == Share::percent(0) {
        0
    } else {
        share.of(total).max(1)
    }
}

/// Removes a backup from one target and gives the bytes that this freed.
///
/// The record goes first and durably: from then on there is no backup, and nothing that is listed lacks an object. Its archive
/// and its sums follow. Catalogs and lists of objects stay: their names are digests, so other backups may need them, and a
/// sweep that knows all records takes those that none needs.
///
/// Call it for targets that hold this very record: [`Backup::targets`].
///
/// What is not there counts as removed, so a removal that failed can be done again with the same record.
///
/// # Errors
/// When the target fails. Before the record went, the backup is whole; after it, the backup is gone and its archive or sums
/// may still lie there.
pub async fn remove(target: &Target, record: &Record) -> Result<u64, RepositoryError> {
    let failed = |source: TargetError| unusable(target.name(), source);
    let (environment, id) = (&record.environment, &record.id);
    let objects = [
        layout::record(environment, id),
        layout::archive(environment, id, record.archive.codec),
        layout::sums(environment, id),
    ];
    // Sizes are asked first: a target that cannot answer has lost nothing yet.
    let mut sizes = Vec::with_capacity(objects.len());
    for object in &objects {
        sizes.push(target.head(object).await.map_err(failed)?.map_or(0, |info| info.size));
    }
    for object in &objects {
        target.delete(object).await.map_err(failed)?;
    }
    Ok(sizes.iter().sum())
}

fn unusable(target: &TargetName, source: TargetError) -> RepositoryError {
    RepositoryError::Target {
        target: target.clone(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::archive::policy::Keep;
    use crate::archive::record::{ArchiveRecord, ObjectRecord};
    use crate::archive::repository::{self, Repository};
    use crate::codec::Codec;
    use crate::crypto::Digest;
    use crate::id::{EnvName, Instance, RunId};
    use crate::target::faulty::{Fault, Faulty, Operation};
    use crate::target::recording::{Calls, Recording};

    const NOW: &str = "2026-11-21T12:00:00Z";

    /// The record of the backup of a day of November, with that day as its sequence.
    fn record(day: u8) -> Record {
        let id: BackupId = format!("202611{day:02}T080000Z-00{day:02}").parse().unwrap();
        let environment: EnvName = "live".parse().unwrap();
        let digest = Digest::of(b"refs");
        Record {
            format: layout::FORMAT,
            run: RunId::new(1, [0; 10]),
            sequence: u64::from(day),
            parent: None,
            pipeline: "backup".parse().unwrap(),
            instance: Instance::new("host"),
            started: format!("2026-11-{day:02}T09:00:00+01:00"),
            ended: String::new(),
            sources: Vec::new(),
            archive: ArchiveRecord {
                name: layout::archive(&environment, &id, Codec::Zstd),
                codec: Codec::Zstd,
                bytes: 7,
                plain_bytes: 7,
                blake3: Digest::of(b"archive"),
            },
            segments: Vec::new(),
            refs: ObjectRecord {
                name: layout::refs(&digest),
                bytes: 4,
                blake3: digest,
            },
            redaction: None,
            warnings: 0,
            manifest: String::new(),
            tool: String::new(),
            environment,
            id,
        }
    }

    fn backups(records: Vec<Record>) -> Vec<Backup> {
        let made = records.into_iter().map(|record| Backup {
            record,
            bytes: Bytes::new(),
            targets: Vec::new(),
        });
        made.collect()
    }

    fn last(count: u32) -> Policy {
        Policy {
            last: Keep::Count(count),
            ..Policy::default()
        }
    }

    fn ids(backups: &[&Backup]) -> Vec<String> {
        backups.iter().map(|backup| backup.record.id.to_string()).collect()
    }

    fn choose_last<'a>(
        backups: &'a [Backup],
        newest: &Record,
        count: u32,
        share: &str,
    ) -> Result<Chosen<'a>, HeldBack> {
        let line = backups.last().unwrap().lineage();
        let share = share.parse().unwrap();
        choose(backups, &line, &newest.id, &last(count), share, NOW.parse().unwrap())
    }

    #[test]
    fn what_no_rule_keeps_goes_oldest_first() {
        let backups = backups((1..=5).map(record).collect());
        let chosen = choose_last(&backups, &record(5), 3, "50%").unwrap();
        assert_eq!(
            ids(&chosen.remove),
            [record(1).id.to_string(), record(2).id.to_string()]
        );
        assert_eq!(chosen.keep.len(), 3);
        assert!(chosen.keep.iter().all(|(_, reasons)| reasons == &["last"]));
    }

    #[test]
    fn of_backups_of_one_second_the_higher_sequences_stay() {
        let mut records: Vec<Record> = (1..=5).map(record).collect();
        for (record, random) in records.iter_mut().zip(["d001", "f002", "b003", "a004", "c005"]) {
            record.started = "2026-11-05T09:00:00+01:00".into();
            record.id = format!("20261105T080000Z-{random}").parse().unwrap();
        }
        let newest = records[4].clone();
        records.sort_by(|a, b| a.id.cmp(&b.id));
        let backups = backups(records);
        let chosen = choose_last(&backups, &newest, 3, "50%").unwrap();
        let mut gone: Vec<u64> = chosen.remove.iter().map(|backup| backup.record.sequence).collect();
        gone.sort_unstable();
        assert_eq!(gone, [1, 2]);
    }

    #[test]
    fn other_lines_neither_go_nor_count() {
        let mut records: Vec<Record> = (1..=6).map(record).collect();
        records[0].environment = "dev".parse().unwrap();
        records[1].pipeline = "other".parse().unwrap();
        records[2].instance = Instance::new("elsewhere");
        let backups = backups(records);
        let chosen = choose_last(&backups, &record(6), 2, "100%").unwrap();
        assert_eq!(ids(&chosen.remove), [record(4).id.to_string()]);
        assert_eq!(chosen.keep.len(), 2);
    }

    #[test]
    fn more_than_may_go_is_held_back_whole() {
        let backups = backups((1..=10).map(record).collect());
        assert_eq!(
            choose_last(&backups, &record(10), 6, "30%").unwrap_err(),
            HeldBack {
                would_remove: 4,
                of: 10,
                allowed: 3
            }
        );
        assert_eq!(choose_last(&backups, &record(10), 7, "30%").unwrap().remove.len(), 3);
    }

    #[test]
    fn one_may_always_go_but_with_nothing_allowed() {
        let backups = backups((1..=3).map(record).collect());
        assert_eq!(choose_last(&backups, &record(3), 2, "30%").unwrap().remove.len(), 1);
        assert_eq!(choose_last(&backups, &record(3), 2, "0.01%").unwrap().remove.len(), 1);
        assert_eq!(choose_last(&backups, &record(3), 2, "0%").unwrap_err().allowed, 0);
        assert_eq!(choose_last(&backups, &record(3), 3, "0%").unwrap().remove.len(), 0);
    }

    #[test]
    fn an_unreadable_time_stays() {
        let mut records: Vec<Record> = (1..=6).map(record).collect();
        for (place, text) in ["", "yesterday", "2026-11-03", "2026-11-04T09:00:00"]
            .iter()
            .enumerate()
        {
            records[place].started = (*text).to_owned();
        }
        let backups = backups(records);
        let chosen = choose_last(&backups, &record(6), 1, "100%").unwrap();
        assert_eq!(ids(&chosen.remove), [record(5).id.to_string()]);
        let unreadable = chosen
            .keep
            .iter()
            .filter(|(_, reasons)| reasons == &["unreadable time"]);
        assert_eq!(unreadable.count(), 4);
    }

    #[test]
    fn the_confirmed_and_the_highest_stay_where_clocks_say_otherwise() {
        let mut records: Vec<Record> = (1..=4).map(record).collect();
        records[3].started = "2020-01-01T00:00:00+00:00".into();
        records[2].started = "2020-01-02T00:00:00+00:00".into();
        let backups = backups(records);
        // Day 3 was confirmed, day 4 has the highest sequence, day 2 has the latest date.
        let chosen = choose_last(&backups, &record(3), 1, "100%").unwrap();
        assert_eq!(ids(&chosen.remove), [record(1).id.to_string()]);
        let kept: Vec<&str> = chosen.keep.iter().map(|(_, reasons)| reasons[0].as_str()).collect();
        assert_eq!(kept, ["last", "newest", "newest"]);
    }

    #[test]
    fn nothing_goes_where_the_new_backup_is_not_listed() {
        let backups = backups((1..=4).map(record).collect());
        let chosen = choose_last(&backups, &record(9), 1, "100%").unwrap();
        assert!(chosen.remove.is_empty());
        assert_eq!(chosen.keep.len(), 4);
    }

    async fn filled(days: std::ops::RangeInclusive<u8>) -> Target {
        let target = Target::memory("a".parse().unwrap());
        let own = Repository {
            format: layout::FORMAT,
            repository: "r".into(),
        };
        repository::create(&target, &own).await.unwrap();
        for day in days {
            let record = record(day);
            let (environment, id) = (&record.environment, &record.id);
            for (name, bytes) in [
                (record.archive.name.clone(), b"archive".to_vec()),
                (record.refs.name.clone(), b"refs".to_vec()),
                (layout::sums(environment, id), b"sums".to_vec()),
                (layout::record(environment, id), record.to_bytes().unwrap()),
            ] {
                target.create(&name, bytes.into()).await.unwrap();
            }
        }
        target
    }

    async fn names(target: &Target) -> Vec<String> {
        let listed = target.list("").await.unwrap();
        listed.into_iter().map(|(name, _)| name).collect()
    }

    fn recorded(target: &Target) -> (Target, Calls) {
        let recording = Recording::new(target.store());
        let calls = recording.calls();
        (Target::from_store(target.name().clone(), Arc::new(recording)), calls)
    }

    async fn listed(target: &Target) -> Vec<Backup> {
        let listing = repository::list(std::slice::from_ref(target), &record(1).environment).await;
        assert!(listing.warnings.is_empty(), "{:?}", listing.warnings);
        listing.backups
    }

    #[tokio::test]
    async fn exactly_what_was_decided_goes_and_each_record_first() {
        let plain = filled(1..=5).await;
        let before = names(&plain).await;
        let (target, calls) = recorded(&plain);
        let backups = listed(&target).await;
        let chosen = choose_last(&backups, &record(5), 3, "50%").unwrap();
        let mut expected = Vec::new();
        for backup in &chosen.remove {
            let freed = remove(&target, &backup.record).await.unwrap();
            assert_eq!(freed, 7 + 4 + backup.bytes.len() as u64);
            let (environment, id) = (&backup.record.environment, &backup.record.id);
            expected.push(layout::record(environment, id));
            expected.push(backup.record.archive.name.clone());
            expected.push(layout::sums(environment, id));
        }
        assert_eq!(calls.objects(Operation::Delete), expected);
        assert_eq!(calls.count(Operation::Put), 0);
        let left: Vec<String> = before.into_iter().filter(|name| !expected.contains(name)).collect();
        assert_eq!(names(&plain).await, left);
        assert!(left.contains(&record(1).refs.name), "a shared list of objects stays");
        assert_eq!(listed(&plain).await.len(), 3);
    }

    #[tokio::test]
    async fn a_failure_after_the_record_leaves_no_listed_backup_and_the_others_whole() {
        for struck in ["archives/", "sums/"] {
            let plain = filled(1..=3).await;
            let faulty = Faulty::new(plain.store()).once(Operation::Delete, struck, 1, Fault::Fails);
            let target = Target::from_store(plain.name().clone(), Arc::new(faulty));
            remove(&target, &record(1)).await.unwrap_err();
            let found: Vec<BackupId> = listed(&plain).await.into_iter().map(|b| b.record.id).collect();
            assert_eq!(found, [record(2).id, record(3).id]);
            let left = names(&plain).await;
            for day in 2..=3 {
                let record = record(day);
                for object in [
                    record.archive.name.clone(),
                    record.refs.name.clone(),
                    layout::sums(&record.environment, &record.id),
                ] {
                    assert!(left.contains(&object), "{object}");
                }
            }
            // Done again, it ends.
            remove(&target, &record(1)).await.unwrap();
            assert!(
                !names(&plain)
                    .await
                    .iter()
                    .any(|name| name.contains(record(1).id.as_str()))
            );
        }
    }

    #[tokio::test]
    async fn a_failure_at_the_record_or_before_leaves_the_backup_whole() {
        for (operation, struck) in [
            (Operation::Delete, "backups/"),
            (Operation::Head, "backups/"),
            (Operation::Head, "archives/"),
            (Operation::Head, "sums/"),
        ] {
            let plain = filled(1..=2).await;
            let before = names(&plain).await;
            let faulty = Faulty::new(plain.store()).always(operation, struck, Fault::Fails);
            let target = Target::from_store(plain.name().clone(), Arc::new(faulty));
            remove(&target, &record(1)).await.unwrap_err();
            assert_eq!(names(&plain).await, before);
        }
    }

    #[tokio::test]
    async fn a_backup_that_is_gone_frees_nothing() {
        let target = filled(1..=1).await;
        remove(&target, &record(1)).await.unwrap();
        assert_eq!(remove(&target, &record(1)).await.unwrap(), 0);
    }

    #[test]
    fn a_removal_says_what_its_record_says() {
        let removal = Removal::of(&record(3));
        assert_eq!((removal.id, removal.stored_bytes), (record(3).id, 11));
        assert_eq!(removal.started, "2026-11-03T09:00:00+01:00");
    }
}
