//! `show`: everything a backup's record says.

use crate::archive::record::Record;
use crate::outcome::{Outcome, Table};
use crate::units::ByteCount;

use super::request::ShowRequest;
use super::{Session, backups};

/// Shows the backup.
pub async fn run(request: ShowRequest, session: &Session) -> Outcome {
    let found = match backups::open(session, &request.environment, &request.targets).await {
        Ok(found) => found,
        Err(failure) => return Outcome::failed("show", "", failure),
    };
    let (backup, warnings) = match found.choose(&request.backup, request.pipeline.as_ref()).await {
        Ok(chosen) => chosen,
        Err(failure) => return Outcome::failed("show", "", failure),
    };
    let record = &backup.record;
    let mut outcome = Outcome::failed(
        "show",
        format!("backup {} of `{}`", record.id, record.environment),
        warnings,
    );
    let targets: Vec<&str> = backup.targets.iter().map(|t| t.name().as_str()).collect();
    let parent = record
        .parent
        .as_ref()
        .map_or_else(|| "none".to_owned(), ToString::to_string);
    outcome.field("id", "id", record.id.to_string(), &record.id);
    outcome.field(
        "made",
        "made",
        format!("{} to {}", record.started, record.ended),
        &record.started,
    );
    outcome.field("pipeline", "pipeline", record.pipeline.to_string(), &record.pipeline);
    outcome.field("instance", "instance", record.instance.to_string(), &record.instance);
    outcome.field("sequence", "sequence", record.sequence.to_string(), record.sequence);
    outcome.field("parent", "parent", parent, &record.parent);
    if let Some(archive) = &record.archive {
        let text = format!("{}, {}", archive.name, ByteCount(archive.bytes));
        outcome.field("archive", "archive", text, &archive.name);
    }
    if let Some(packs) = &record.packs {
        let text = format!(
            "{}, {}; {} of them new, {}",
            packs.count,
            ByteCount(packs.bytes),
            packs.new,
            ByteCount(packs.new_bytes)
        );
        outcome.field("packs", "packs", text, packs);
    }
    if let Some(epoch) = &record.epoch {
        outcome.field("epoch", "sealed to", format!("the key of epoch {epoch}"), epoch);
    }
    outcome.field("targets", "targets", targets.join(", "), &targets);
    outcome.field("tool", "made by", record.tool.clone(), &record.tool);
    let warnings = match record.warnings {
        0 => "none".to_owned(),
        count => format!("{count}: entries that could not be read and are not in it, or are in doubt"),
    };
    outcome.field("warnings", "warnings", warnings, record.warnings);
    outcome.tables.push(sources(record));
    outcome
        .json
        .insert("record".into(), serde_json::to_value(record).unwrap_or_default());
    outcome
}

fn sources(record: &Record) -> Table {
    let mut table = Table {
        title: "sources".into(),
        columns: ["source", "type", "from", "entries", "bytes", "log records", "warnings"]
            .map(String::from)
            .to_vec(),
        rows: Vec::new(),
    };
    for source in &record.sources {
        table.rows.push(vec![
            source.name.to_string(),
            source.kind.clone(),
            source.root.clone(),
            source.entries.to_string(),
            ByteCount(source.bytes).to_string(),
            source
                .log_head
                .as_ref()
                .map(|head| head.records.to_string())
                .unwrap_or_default(),
            match source.warnings {
                0 => String::new(),
                count => count.to_string(),
            },
        ]);
    }
    table
}
