//! Removes old backups: which of a line go, bounded, and one backup taken out of one target.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{Timestamp, Zoned};

use crate::id::BackupId;
use crate::target::Target;
use crate::units::Share;

use super::layout;
use super::policy::{self, Policy};
use super::record::Record;
use super::repository::{Backup, Lineage, RepositoryError};
use super::survey::unusable;

/// What decides which backups go.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// Which the policy keeps.
    pub policy: &'a Policy,
    /// The share of a line's backups that may go at once.
    pub max_remove: Share,
    /// How many of those that stay must be known to be good.
    pub min_verified: u32,
    /// The present moment.
    pub now: Timestamp,
}

/// What is known of the backups in a target beyond their records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The backup that was just read back in this target.
    pub confirmed: Option<BackupId>,
    /// Backups that are not whole there, each with what it lacks.
    pub incomplete: BTreeMap<BackupId, String>,
    /// Backups that nobody who is trusted signed; none where nobody is named.
    pub unsigned: BTreeSet<BackupId>,
    /// Backups that were read back or verified there before.
    pub verified: BTreeSet<BackupId>,
}

impl Known {
    fn is_verified(&self, id: &BackupId) -> bool {
        self.verified.contains(id) || self.confirmed.as_ref() == Some(id)
    }

    /// Whether a backup is as good as there.
    fn counts(&self, id: &BackupId) -> bool {
        !self.incomplete.contains_key(id) && !self.unsigned.contains(id)
    }
}

/// What becomes of the backups of a line.
#[derive(Clone, Debug)]
pub struct Chosen<'a> {
    /// Backups that go, in the order given.
    pub remove: Vec<&'a Backup>,
    /// Backups that stay, in the order given, each with its reasons.
    pub keep: Vec<(&'a Backup, Vec<String>)>,
}

/// None may go, although the policy keeps fewer.
#[derive(Clone, Debug)]
pub struct HeldBack<'a> {
    /// Why.
    pub because: Because,
    /// What would become of the backups.
    pub chosen: Chosen<'a>,
}

/// Why none may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Because {
    /// More would go than may go.
    #[error("retention would remove {would_remove} of {of} backups, and {allowed} may go in one run")]
    TooMany {
        /// Backups that no rule keeps.
        would_remove: usize,
        /// Backups of the line that count.
        of: usize,
        /// How many may go.
        allowed: usize,
    },
    /// Too few of those that would stay are known to be good.
    #[error("retention would leave {verified} verified backups, and {wanted} must stay")]
    TooFewVerified {
        /// Verified backups there are, whether they would stay or go.
        verified: usize,
        /// How many must stay.
        wanted: u32,
    },
}

/// Chooses which backups of `lineage` go. `backups` is the listing of one target and one environment.
///
/// Only backups of the pipeline and instance of `lineage` count and are in the answer. Beside what the policy keeps these
/// stay, and each says why: the confirmed one, the newest (the highest sequence, whatever the clocks say), the newest that was made
/// without warnings (those after it may lack what could not be read), every one that is
/// dated in the future, whose start time cannot be read, that is not whole or that nobody trusted signed, and the newest
/// verified ones where too few others are. What is not whole or not signed is as good as not there: no rule counts it. Where a confirmed one is known and not listed
/// all stay: then the listing is not that of the target in which it was confirmed.
///
/// `max_remove` is a share of the line's backups that count, rounded down. A share that comes to less than one still allows one,
/// so that a small repository can shrink at all; only `0%` allows none.
///
/// # Errors
/// When more would go than `max_remove` allows, or fewer verified ones than `min_verified` would be left. Then nothing must
/// be removed.
pub fn choose<'a>(
    backups: &'a [Backup],
    lineage: &Lineage,
    rules: &Rules<'_>,
    known: &Known,
) -> Result<Chosen<'a>, HeldBack<'a>> {
    let line: Vec<&Backup> = backups.iter().filter(|backup| backup.lineage() == *lineage).collect();
    let mut reasons = decide(&line, rules, known);
    let listed = |id: &BackupId| line.iter().any(|backup| backup.record.id == *id);
    let foreign = known.confirmed.as_ref().is_some_and(|id| !listed(id));
    let newest = line
        .iter()
        .max_by_key(|backup| backup.rank())
        .map(|backup| &backup.record.id);
    let counts = |backup: &&&Backup| known.counts(&backup.record.id);
    let newest_whole = line.iter().filter(counts).max_by_key(|backup| backup.rank());
    let newest_whole = newest_whole.map(|backup| &backup.record.id);
    let clean = |backup: &&&Backup| counts(backup) && backup.record.warnings == 0;
    let newest_clean = line.iter().filter(clean).max_by_key(|backup| backup.rank());
    let newest_clean = newest_clean.map(|backup| &backup.record.id);
    for (backup, reasons) in line.iter().zip(&mut reasons) {
        let id = &backup.record.id;
        if reasons.is_empty() && foreign {
            reasons.push("the new backup is not listed".to_owned());
        }
        if reasons.is_empty() && [known.confirmed.as_ref(), newest, newest_whole].contains(&Some(id)) {
            reasons.push("newest".to_owned());
        }
        if reasons.is_empty() && newest_clean == Some(id) {
            reasons.push("newest without warnings".to_owned());
        }
    }
    let verified = keep_verified(&line, &mut reasons, rules.min_verified, known);
    let of = line.iter().filter(counts).count();
    let mut chosen = Chosen {
        remove: Vec::new(),
        keep: Vec::new(),
    };
    for (backup, reasons) in line.into_iter().zip(reasons) {
        if reasons.is_empty() {
            chosen.remove.push(backup);
        } else {
            chosen.keep.push((backup, reasons));
        }
    }
    let (would_remove, allowed) = (chosen.remove.len(), allowed(rules.max_remove, of));
    let wanted = rules.min_verified;
    let because = if would_remove > allowed {
        Some(Because::TooMany {
            would_remove,
            of,
            allowed,
        })
    } else if would_remove > 0 && verified < wanted as usize {
        Some(Because::TooFewVerified { verified, wanted })
    } else {
        None
    };
    match because {
        Some(because) => Err(HeldBack { because, chosen }),
        None => Ok(chosen),
    }
}

/// Why each backup stays; nothing for one that no rule keeps.
fn decide(line: &[&Backup], rules: &Rules<'_>, known: &Known) -> Vec<Vec<String>> {
    let mut reasons: Vec<Vec<String>> = vec![Vec::new(); line.len()];
    let mut times: Vec<(usize, Zoned)> = Vec::new();
    for (index, (backup, reasons)) in line.iter().zip(&mut reasons).enumerate() {
        match (
            known.incomplete.get(&backup.record.id),
            policy::moment(&backup.record.started),
        ) {
            (Some(lacks), _) => reasons.push(format!("not whole: {lacks}")),
            (None, _) if known.unsigned.contains(&backup.record.id) => reasons.push("not signed".to_owned()),
            (None, None) => reasons.push("unreadable time".to_owned()),
            (None, Some(time)) => times.push((index, time)),
        }
    }
    // Of backups that began in the same second the one with the higher sequence is the newer, and stands first.
    times.sort_by_key(|(index, _)| std::cmp::Reverse(line.get(*index).map(|backup| backup.rank())));
    let moments: Vec<Zoned> = times.iter().map(|(_, time)| time.clone()).collect();
    let decided = policy::guarded(&moments, rules.now, rules.policy);
    for ((index, _), decision) in times.iter().zip(decided) {
        if let Some(reasons) = reasons.get_mut(*index) {
            reasons.extend(decision.reasons);
        }
    }
    reasons
}

/// Keeps the newest verified backups where fewer than `wanted` stay. Gives how many stay then.
fn keep_verified(line: &[&Backup], reasons: &mut [Vec<String>], wanted: u32, known: &Known) -> usize {
    let mut verified: Vec<(&Backup, &mut Vec<String>)> = line.iter().copied().zip(reasons).collect();
    verified.retain(|(backup, _)| known.is_verified(&backup.record.id) && known.counts(&backup.record.id));
    verified.sort_by_key(|(backup, _)| std::cmp::Reverse(backup.rank()));
    let mut stay = verified.iter().filter(|(_, reasons)| !reasons.is_empty()).count();
    for (_, reasons) in verified {
        if stay < wanted as usize && reasons.is_empty() {
            reasons.push("verified".to_owned());
            stay += 1;
        }
    }
    stay
}

/// How many of `total` backups may go.
fn allowed(share: Share, total: usize) -> usize {
    if share == Share::percent(0) {
        0
    } else {
        share.of(total).max(1)
    }
}

/// Removes a backup from one target: its record goes, durably, and from then on there is no backup.
///
/// Everything else stays for the sweep. Somebody may be restoring this very backup, and other backups may need its catalogs
/// and packs; a sweep that knows all records takes what none needs, when nobody can be reading it any more.
///
/// Call it for targets that hold this very record: [`Backup::targets`]. One that is not there is removed already.
///
/// # Errors
/// When the target fails. Then the backup is whole or gone.
pub async fn remove(target: &Target, record: &Record) -> Result<(), RepositoryError> {
    let object = layout::record(&record.environment, &record.id);
    target.delete(&object).await.map_err(|error| unusable(target, error))
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
    use crate::target::Target;
    use crate::target::faulty::{Fault, Faulty, Operation};

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
            archive: Some(ArchiveRecord {
                name: layout::archive(&environment, &id, Codec::Zstd),
                codec: Codec::Zstd,
                bytes: 7,
                plain_bytes: 7,
                blake3: Digest::of(b"archive"),
            }),
            packs: None,
            epoch: None,
            epoch_check: None,
            segments: Vec::new(),
            patch: Vec::new(),
            refs: ObjectRecord {
                name: layout::refs(&digest),
                bytes: 4,
                blake3: digest,
            },
            recovery: std::collections::BTreeMap::new(),
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
    ) -> Result<Chosen<'a>, HeldBack<'a>> {
        let known = Known {
            confirmed: Some(newest.id.clone()),
            ..Known::default()
        };
        choose_knowing(backups, count, share, 0, &known)
    }

    fn choose_knowing<'a>(
        backups: &'a [Backup],
        count: u32,
        share: &str,
        min_verified: u32,
        known: &Known,
    ) -> Result<Chosen<'a>, HeldBack<'a>> {
        let line = backups.last().unwrap().lineage();
        let rules = Rules {
            policy: &last(count),
            max_remove: share.parse().unwrap(),
            min_verified,
            now: NOW.parse().unwrap(),
        };
        choose(backups, &line, &rules, known)
    }

    fn because<'a>(chosen: &'a Chosen<'_>) -> Vec<&'a str> {
        chosen.keep.iter().map(|(_, reasons)| reasons[0].as_str()).collect()
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
        records[0].pipeline = "third".parse().unwrap();
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
            choose_last(&backups, &record(10), 6, "30%").unwrap_err().because,
            Because::TooMany {
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
        let held = choose_last(&backups, &record(3), 2, "0%").unwrap_err();
        assert!(matches!(held.because, Because::TooMany { allowed: 0, .. }));
        assert_eq!(ids(&held.chosen.remove), [record(1).id.to_string()]);
        assert_eq!(choose_last(&backups, &record(3), 3, "0%").unwrap().remove.len(), 0);
    }

    #[test]
    fn what_nobody_trusted_signed_stays_and_no_rule_counts_it() {
        let backups = backups((1..=8).map(record).collect());
        let policy = Policy {
            last: Keep::Count(2),
            ..Policy::default()
        };
        let known = Known {
            confirmed: Some(record(5).id),
            unsigned: (6..=8).map(|day| record(day).id).collect(),
            verified: [record(7).id].into(),
            ..Known::default()
        };
        let rules = Rules {
            policy: &policy,
            max_remove: Share::percent(100),
            min_verified: 1,
            now: NOW.parse().unwrap(),
        };
        let chosen = choose(&backups, &backups[0].lineage(), &rules, &known).unwrap();
        assert_eq!(ids(&chosen.remove), [1, 2, 3].map(|day| record(day).id.to_string()));
        let unsigned = chosen.keep.iter().filter(|(_, reasons)| reasons == &["not signed"]);
        assert_eq!(unsigned.count(), 3);
        // They do not make room for more to go either.
        let tight = Rules {
            max_remove: Share::percent(50),
            ..rules
        };
        let held = choose(&backups, &backups[0].lineage(), &tight, &known).unwrap_err();
        assert!(matches!(held.because, Because::TooMany { of: 5, .. }));
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
        assert_eq!(because(&chosen), ["last", "newest", "newest"]);
    }

    #[test]
    fn what_is_not_whole_neither_counts_nor_goes() {
        let backups = backups((1..=5).map(record).collect());
        let known = Known {
            confirmed: Some(record(5).id),
            incomplete: [
                (record(4).id, "`x` is missing".to_owned()),
                (record(1).id, "`y` is missing".into()),
            ]
            .into(),
            ..Known::default()
        };
        let chosen = choose_knowing(&backups, 2, "100%", 0, &known).unwrap();
        assert_eq!(ids(&chosen.remove), [record(2).id.to_string()]);
        assert_eq!(
            because(&chosen),
            ["not whole: `y` is missing", "last", "not whole: `x` is missing", "last"]
        );
    }

    #[test]
    fn where_the_newest_is_not_whole_the_newest_whole_one_stays_too() {
        let mut records: Vec<Record> = (1..=3).map(record).collect();
        // By its clock the second is the oldest.
        records[1].started = "2020-01-01T00:00:00+00:00".into();
        let backups = backups(records);
        let known = Known {
            incomplete: [(record(3).id, "`x` is missing".to_owned())].into(),
            ..Known::default()
        };
        let chosen = choose_knowing(&backups, 1, "100%", 0, &known).unwrap();
        assert_eq!(because(&chosen), ["last", "newest", "not whole: `x` is missing"]);
    }

    #[test]
    fn backups_that_lack_something_count_and_never_push_out_the_newest_that_lacks_nothing() {
        let mut records: Vec<Record> = (1..=5).map(record).collect();
        for lacking in &mut records[3..] {
            lacking.warnings = 2;
        }
        let all = backups(records.clone());
        let chosen = choose_last(&all, &record(5), 2, "100%").unwrap();
        assert_eq!(because(&chosen), ["newest without warnings", "last", "last"]);
        assert_eq!(
            ids(&chosen.remove),
            [record(1).id.to_string(), record(2).id.to_string()]
        );
        // A rule that keeps it says so, and nothing more stays for it.
        records[4].warnings = 0;
        let all = backups(records);
        let chosen = choose_last(&all, &record(5), 2, "100%").unwrap();
        assert_eq!(because(&chosen), ["last", "last"]);
    }

    #[test]
    fn without_a_confirmed_one_the_newest_stays_all_the_same() {
        let backups = backups((1..=4).map(record).collect());
        let chosen = choose_knowing(&backups, 1, "100%", 0, &Known::default()).unwrap();
        assert_eq!(chosen.remove.len(), 3);
        assert_eq!(because(&chosen), ["last"]);
    }

    #[test]
    fn the_newest_verified_ones_stay_until_there_are_enough() {
        let backups = backups((1..=6).map(record).collect());
        let known = Known {
            confirmed: Some(record(6).id),
            verified: [record(1).id, record(2).id, record(3).id].into(),
            ..Known::default()
        };
        let kept = |wanted| {
            let chosen = choose_knowing(&backups, 2, "100%", wanted, &known).unwrap();
            chosen.keep.iter().map(|(b, _)| b.record.sequence).collect::<Vec<_>>()
        };
        assert_eq!(kept(0), [5, 6]);
        assert_eq!(kept(1), [5, 6]);
        assert_eq!(kept(2), [3, 5, 6]);
        assert_eq!(kept(3), [2, 3, 5, 6]);
        let chosen = choose_knowing(&backups, 2, "100%", 3, &known).unwrap();
        assert_eq!(because(&chosen), ["verified", "verified", "last", "last"]);
    }

    #[test]
    fn with_too_few_verified_ones_none_goes() {
        let backups = backups((1..=6).map(record).collect());
        let mut known = Known {
            confirmed: Some(record(6).id),
            verified: [record(1).id].into(),
            ..Known::default()
        };
        let held = choose_knowing(&backups, 2, "100%", 3, &known).unwrap_err();
        let expected = Because::TooFewVerified { verified: 2, wanted: 3 };
        assert_eq!(held.because, expected);
        // One that is not whole proves nothing, whatever was known of it.
        known.verified.insert(record(2).id);
        assert!(choose_knowing(&backups, 2, "100%", 3, &known).is_ok());
        known.incomplete.insert(record(2).id, "`x` is missing".into());
        assert!(choose_knowing(&backups, 2, "100%", 3, &known).is_err());
        // Where nothing would go there is nothing to hold back.
        assert!(choose_knowing(&backups, 6, "100%", 9, &known).is_ok());
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
                (record.archive.as_ref().unwrap().name.clone(), b"archive".to_vec()),
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

    #[tokio::test]
    async fn a_removal_takes_the_record_and_leaves_what_others_may_be_reading() {
        let target = filled(1..=2).await;
        let mut expected = names(&target).await;
        remove(&target, &record(1)).await.unwrap();
        let own = layout::record(&record(1).environment, &record(1).id);
        expected.retain(|name| *name != own);
        assert_eq!(names(&target).await, expected);
        assert!(expected.contains(&record(1).archive.unwrap().name));
        // Done again, it is done.
        remove(&target, &record(1)).await.unwrap();
    }

    #[tokio::test]
    async fn a_removal_that_fails_leaves_the_backup_as_it_was() {
        let plain = filled(1..=2).await;
        let before = names(&plain).await;
        let faulty = Faulty::new(plain.store()).always(Operation::Delete, "backups/", Fault::Fails);
        let target = Target::from_store(plain.name().clone(), Arc::new(faulty));
        remove(&target, &record(1)).await.unwrap_err();
        assert_eq!(names(&plain).await, before);
    }
}
