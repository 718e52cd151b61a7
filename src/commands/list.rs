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
            "backup", "made", "pipeline", "instance", "seq", "entries", "captured", "stored", "targets",
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
        ]);
        list.push(serde_json::json!({
            "id": record.id, "started": record.started, "pipeline": record.pipeline, "instance": record.instance,
            "sequence": record.sequence, "parent": record.parent, "entries": record.entries(),
            "source-bytes": record.source_bytes(), "stored-bytes": record.stored_bytes(), "targets": targets,
            "warnings": record.warnings,
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
