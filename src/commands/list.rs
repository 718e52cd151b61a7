//! `list`: the backups of an environment, oldest first.

use std::collections::BTreeMap;

use crate::archive::repository::{Backup, Lineage};
use crate::id::TargetName;
use crate::outcome::{Outcome, Table};
use crate::target::Target;
use crate::units::{ByteCount, counted};

use super::request::ListRequest;
use super::{Session, backups};

/// Lists the backups.
pub async fn run(request: ListRequest, session: &Session) -> Outcome {
    let found = match backups::open(session, &request.environment, &request.targets).await {
        Ok(found) => found,
        Err(failure) => return Outcome::failed("list", "", failure),
    };
    let listing = found.list().await;
    let mut table = Table {
        title: String::new(),
        columns: [
            "backup", "made", "pipeline", "instance", "seq", "entries", "captured", "stored", "targets", "warnings",
        ]
        .map(String::from)
        .to_vec(),
        rows: Vec::new(),
    };
    let mut list = Vec::new();
    for backup in in_order(&listing.backups) {
        let record = &backup.record;
        if request.pipeline.as_ref().is_some_and(|p| *p != record.pipeline) {
            continue;
        }
        let targets: Vec<&TargetName> = backup.targets.iter().map(Target::name).collect();
        let names: Vec<&str> = targets.iter().map(|t| t.as_str()).collect();
        table.rows.push(vec![
            record.id.to_string(),
            record.started.clone(),
            record.pipeline.to_string(),
            record.instance.to_string(),
            record.sequence.to_string(),
            record.entries().to_string(),
            ByteCount(record.source_bytes()).to_string(),
            ByteCount(record.stored_bytes()).to_string(),
            names.join(", "),
            match record.warnings {
                0 => String::new(),
                count => count.to_string(),
            },
        ]);
        list.push(serde_json::json!({
            "id": record.id, "started": record.started, "pipeline": record.pipeline, "instance": record.instance,
            "sequence": record.sequence, "parent": record.parent, "entries": record.entries(),
            "source-bytes": record.source_bytes(), "stored-bytes": record.stored_bytes(), "targets": targets,
            "warnings": record.warnings, "complete": record.warnings == 0,
        }));
    }
    let headline = match list.len() {
        0 if listing.is_unread() => format!("the backups of `{}` cannot be listed", request.environment),
        0 => format!("no backup of `{}`", request.environment),
        count => format!("{} of `{}`", counted(count as u64, "backup"), request.environment),
    };
    let mut outcome = Outcome::failed("list", headline, listing.warnings);
    if !table.rows.is_empty() {
        outcome.tables.push(table);
    }
    outcome.json.insert("backups".into(), list.into());
    outcome
}

/// The backups in the order in which they were made: within a line by their numbers, whatever its clock said, and lines beside one
/// another by time.
fn in_order(backups: &[Backup]) -> Vec<&Backup> {
    let mut ordered: Vec<&Backup> = backups.iter().collect();
    ordered.sort_by(|a, b| (a.lineage(), a.rank()).cmp(&(b.lineage(), b.rank())));
    let mut latest: BTreeMap<Lineage, &str> = BTreeMap::new();
    let mut timed: Vec<(&str, &Backup)> = Vec::new();
    for backup in ordered {
        let id = backup.record.id.as_str();
        let time = id.split_once('-').map_or(id, |(time, _)| time);
        // One that is dated before its forerunner stands behind it all the same.
        let at = latest.entry(backup.lineage()).or_default();
        *at = time.max(*at);
        timed.push((*at, backup));
    }
    timed.sort_by_key(|(at, _)| *at);
    timed.into_iter().map(|(_, backup)| backup).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Digest;

    fn backup(id: &str, pipeline: &str, sequence: u64) -> Backup {
        let refs = serde_json::json!({ "name": "", "bytes": 0, "blake3": Digest::of(b"") });
        Backup {
            record: serde_json::from_value(serde_json::json!({
                "format": 1, "id": id, "run": "01980000-0000-7000-8000-000000000000", "sequence": sequence, "parent": null,
                "environment": "dev", "pipeline": pipeline, "instance": "host", "started": "x", "ended": "x", "sources": [],
                "segments": [], "refs": refs, "warnings": 0, "manifest": "", "tool": "test",
            }))
            .unwrap(),
            bytes: bytes::Bytes::new(),
            targets: Vec::new(),
        }
    }

    #[test]
    fn a_line_stands_in_the_order_of_its_numbers_and_lines_beside_one_another_by_time() {
        let backups = [
            backup("20260101T000000Z-0004", "nightly", 4),
            backup("20260301T000000Z-bbbb", "nightly", 1),
            backup("20260301T000000Z-aaaa", "nightly", 2),
            backup("20260215T000000Z-cccc", "other", 7),
            backup("20260315T000000Z-dddd", "other", 8),
            backup("20260401T000000Z-0005", "nightly", 5),
        ];
        let ordered = in_order(&backups);
        let sequences: Vec<u64> = ordered.iter().map(|backup| backup.record.sequence).collect();
        assert_eq!(sequences, [7, 1, 2, 4, 8, 5]);
    }
}
