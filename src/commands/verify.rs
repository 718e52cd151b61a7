//! `verify`: checks a backup in every target that holds it.

use crate::archive::keys::Opening;
use crate::archive::repository;
use crate::archive::unpack::{self, NoSink};
use crate::diagnostic::Diagnostic;
use crate::outcome::{Outcome, Table};
use crate::steps::verify::Level;
use crate::units::ByteCount;

use super::request::VerifyRequest;
use super::{Session, backups};

/// Verifies the backup.
pub async fn run(request: VerifyRequest, session: &Session) -> Outcome {
    let found = match backups::open(session, &request.environment, &request.targets).await {
        Ok(found) => found,
        Err(failure) => return Outcome::failed("verify", "", failure),
    };
    let (backup, warnings) = match found.choose(&request.backup, None).await {
        Ok(chosen) => chosen,
        Err(failure) => return Outcome::failed("verify", "", failure),
    };
    let record = &backup.record;
    let opening = match request.level {
        Level::Objects => Ok(Opening::Plain),
        Level::Content => found.opening(&backup, request.identity.as_deref()).await,
    };
    let opening = match opening {
        Ok(opening) => opening,
        Err(problem) => {
            let state = "nothing was checked; `--level objects` needs no key";
            return Outcome::failed("verify", "", vec![problem.state(state)]);
        }
    };
    let mut outcome = Outcome::failed("verify", "", warnings);
    let mut table = Table {
        title: String::new(),
        columns: ["target", "result"].map(String::from).to_vec(),
        rows: Vec::new(),
    };
    let (mut sound, mut results) = (0, Vec::new());
    for target in &backup.targets {
        let result = match found.check_signed(target, &backup, request.trust_unsigned).await {
            Ok(accepted) => {
                outcome.diagnostics.extend(accepted);
                check(target, record, (request.level, &opening), &found.context.events).await
            }
            Err(problem) => Err(problem),
        };
        let text = match &result {
            Ok(()) => {
                sound += 1;
                "sound".to_owned()
            }
            Err(problem) => problem.what.clone(),
        };
        results.push(serde_json::json!({ "target": target.name(), "sound": result.is_ok() }));
        table.rows.push(vec![target.name().to_string(), text]);
        if let Err(problem) = result {
            let mut problem = problem.state("nothing was changed");
            problem.what = format!("backup `{}` in target `{}`: {}", record.id, target.name(), problem.what);
            outcome.diagnostics.push(problem);
        }
    }
    let what = match request.level {
        Level::Objects => "every stored object has its digest",
        Level::Content => "every stored object and every content has its digest",
    };
    outcome.headline = if sound == backup.targets.len() {
        format!("backup {} is sound: {what}", record.id)
    } else {
        format!("backup {} is damaged", record.id)
    };
    outcome.field("backup", "backup", record.id.to_string(), &record.id);
    outcome.field(
        "stored-bytes",
        "stored",
        ByteCount(record.stored_bytes()).to_string(),
        record.stored_bytes(),
    );
    outcome.tables.push(table);
    outcome.json.insert("targets".into(), results.into());
    outcome
}

async fn check(
    target: &crate::target::Target,
    record: &crate::archive::record::Record,
    (level, opening): (Level, &Opening),
    events: &crate::event::Events,
) -> Result<(), Diagnostic> {
    repository::check_objects(target, record, events)
        .await
        .map_err(|error| Diagnostic::of(&error))?;
    if level == Level::Content {
        unpack::unpack(target, record, opening, events, NoSink)
            .await
            .map_err(|error| Diagnostic::of(&error))?;
    }
    Ok(())
}
