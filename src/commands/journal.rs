//! `journal`: verifies the journal of an environment, shows or exports its records, begins a new one.

use crate::diagnostic::{Code, Diagnostic};
use crate::journal::{self, Filter, Record};
use crate::outcome::{Outcome, Table};
use crate::pipeline::run::{Options, state_of, upkeep};
use crate::state::StateFolder;
use crate::units::counted;

use super::request::{JournalAction, JournalRequest};
use super::{Session, keeping, values};

/// Verifies, shows, exports or restarts.
pub async fn run(request: JournalRequest, session: &Session) -> Outcome {
    if let JournalAction::Restart { confirm } = request.action {
        let options = Options {
            confirm,
            ..Options::default()
        };
        return match keeping::open(session, &request.environment, options) {
            Ok(kept) => upkeep::restart(&kept.upkeep()).await,
            Err(failure) => Outcome::failed("journal", "", failure),
        };
    }
    let folder = match folder(&request, session) {
        Ok(folder) => folder,
        Err(failure) => return Outcome::failed("journal", "", failure),
    };
    let environment = request.environment.as_str();
    let Some(folder) = folder else {
        let problem = Diagnostic::error(
            Code::BackupUnknown,
            format!("there is no journal of `{environment}` on this host"),
        )
        .why("no run of this environment has left a state folder here")
        .help("a journal lies in the state folder of the host that made the runs");
        return Outcome::failed("journal", "", vec![problem]);
    };
    match request.action {
        JournalAction::Verify => verify(&folder, environment),
        JournalAction::Show { run, last } => show(&folder, environment, run.map(|run| run.to_string()), last),
        JournalAction::Export { run, since, until } => {
            let filter = Filter {
                run: run.map(|run| run.to_string()),
                since,
                until,
                ..Filter::default()
            };
            export(&folder, filter)
        }
        // Done above: it needs no journal that can be read.
        JournalAction::Restart { .. } => Outcome::new("journal", ""),
    }
}

fn folder(request: &JournalRequest, session: &Session) -> Result<Option<StateFolder>, Vec<Diagnostic>> {
    let context = session.context().map_err(|problem| vec![*problem])?;
    let environment = crate::pipeline::environment(&session.project, &request.environment, &values(&context))?;
    let path = state_of(&environment, &session.project, &request.environment);
    StateFolder::existing(&path).map_err(|error| vec![Diagnostic::of(&error)])
}

fn verify(folder: &StateFolder, environment: &str) -> Outcome {
    let found = match journal::verify(folder) {
        Ok(found) => found,
        Err(error) => return Outcome::failed("journal", "", vec![Diagnostic::of(&error)]),
    };
    let headline = if found.is_good() {
        format!(
            "the journal of `{environment}` is whole: {}",
            counted(found.records, "record")
        )
    } else {
        format!(
            "the journal of `{environment}` is broken: {} problems",
            found.problem_count
        )
    };
    let mut outcome = Outcome::new("journal", headline);
    outcome.field("records", "records", found.records.to_string(), found.records);
    outcome.field("segments", "segments", found.segments.to_string(), found.segments);
    outcome.field("root", "Merkle root", found.root.clone(), &found.root);
    outcome.field(
        "head",
        "last record",
        found.head.clone().unwrap_or_else(|| "none".into()),
        &found.head,
    );
    let unsealed = "not signed: checkpoints in the targets come with a later version";
    outcome.field("signed", "signed", unsealed, false);
    for problem in &found.problems {
        let line = problem.line.map(|line| format!(" line {line}")).unwrap_or_default();
        outcome.diagnostics.push(
            Diagnostic::error(
                Code::JournalBroken,
                format!("`{}`{line}: {}", problem.file, problem.what),
            )
            .why("a record does not link to the one before it, so something was changed, removed or added")
            .state("nothing was changed")
            .help("copy the state folder away as it is before anything else; compare it with other copies"),
        );
    }
    outcome
        .json
        .insert("verification".into(), serde_json::to_value(&found).unwrap_or_default());
    outcome
}

fn show(folder: &StateFolder, environment: &str, run: Option<String>, last: Option<u32>) -> Outcome {
    let filter = Filter {
        run,
        ..Filter::default()
    };
    let records = journal::read(folder, filter).and_then(Iterator::collect::<Result<Vec<Record>, _>>);
    let mut records = match records {
        Ok(records) => records,
        Err(error) => return Outcome::failed("journal", "", vec![Diagnostic::of(&error)]),
    };
    if let Some(last) = last {
        records.drain(..records.len().saturating_sub(last as usize));
    }
    let mut outcome = Outcome::new(
        "journal",
        format!("{} of `{environment}`", counted(records.len() as u64, "record")),
    );
    let mut table = Table {
        title: String::new(),
        columns: ["seq", "time", "event", "status", "pipeline", "step", "run"]
            .map(String::from)
            .to_vec(),
        rows: Vec::new(),
    };
    let text = |record: &Record, key: &str| record.text(key).unwrap_or_default().to_owned();
    for record in &records {
        table.rows.push(vec![
            record.seq.to_string(),
            text(record, "ts"),
            text(record, "event"),
            text(record, "status"),
            text(record, "pipeline"),
            text(record, "step"),
            text(record, "run"),
        ]);
    }
    let list: Vec<_> = records
        .into_iter()
        .map(|record| serde_json::Value::Object(record.fields))
        .collect();
    outcome.tables.push(table);
    outcome.json.insert("records".into(), list.into());
    outcome
}

/// The lines as they stand. What cannot be read is told, and the rest is given all the same: it may be evidence.
fn export(folder: &StateFolder, filter: Filter) -> Outcome {
    let records = match journal::read(folder, filter) {
        Ok(records) => records,
        Err(error) => return Outcome::failed("journal", "", vec![Diagnostic::of(&error)]),
    };
    let (mut text, mut count, mut problems) = (String::new(), 0_u64, Vec::new());
    for record in records {
        match record {
            Ok(record) => {
                text.push_str(&record.line);
                text.push('\n');
                count += 1;
            }
            Err(error) => problems.push(Diagnostic::of(&error)),
        }
    }
    // No headline: the text alone is what the journal holds.
    let mut outcome = Outcome::failed("journal", "", problems);
    outcome.text = Some(text);
    outcome.json.insert("count".into(), count.into());
    outcome
}
