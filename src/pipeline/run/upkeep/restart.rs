//! `journal restart`: begins a new journal where the old one is broken, which is moved aside whole.

use std::sync::Arc;

use crate::clock::Clock;
use crate::diagnostic::{Code, Diagnostic};
use crate::id::PipelineName;
use crate::journal::{self, Entry, Event, Field, Journal, JournalError, Restarted, Setup, Status, Sync};
use crate::outcome::Outcome;
use crate::state::{StateError, StateFolder};

use super::super::fence::{self, Act};
use super::super::scope::Scope;
use super::super::stores::state_of;
use super::{Failure, Upkeep};

const RESTART: Act<'static> = Act {
    does: "begins a new journal of",
    doing: "setting its journal aside",
    untouched: "the journal is as it was",
    before: "",
};

/// Moves the journal of an environment aside and begins a new one.
pub(crate) async fn restart(upkeep: &Upkeep<'_>) -> Outcome {
    match restart_now(upkeep).await {
        Ok(restarted) => describe(upkeep, &restarted),
        Err(failure) => Outcome::failed("journal", "", failure),
    }
}

async fn restart_now(upkeep: &Upkeep<'_>) -> Result<Restarted, Failure> {
    let pipeline: PipelineName = "journal-restart".parse().map_err(|error: crate::id::IdError| {
        vec![Diagnostic::error(Code::Internal, error.to_string()).state(RESTART.untouched)]
    })?;
    let scope = Scope {
        environment: upkeep.environment,
        name: upkeep.name,
        project: upkeep.project,
        pipeline: &pipeline,
    };
    fence::before(scope, upkeep.context)?;
    let of_state = |error: StateError| vec![Diagnostic::of(&error)];
    let of_journal = |error: JournalError| vec![Diagnostic::of(&error)];
    let path = state_of(upkeep.environment, upkeep.project, upkeep.name);
    let state = StateFolder::open(&path).map_err(of_state)?;
    // No run may be writing to what is moved.
    let mut locks = vec![state.lock(&pipeline, None).map_err(of_state)?];
    for other in state.locked_once().map_err(of_state)? {
        if other != pipeline {
            locks.push(state.lock(&other, None).map_err(of_state)?);
        }
    }
    fence::confirm(scope, upkeep.options.confirm.as_ref(), &RESTART, upkeep.context).await?;
    let scrubber = upkeep.context.scrubber.clone();
    let clock: Arc<dyn Clock> = Arc::clone(&upkeep.context.clock);
    let setup = Setup {
        clock,
        ..Setup::new(Arc::new(move |text: &str| scrubber.scrub(text).into_owned()))
    };
    let restarted = journal::restart(&state, &setup).map_err(of_journal)?.ok_or_else(|| {
        let what = format!("nothing is wrong with the journal of `{}`", upkeep.name);
        vec![
            Diagnostic::error(Code::Usage, what)
                .why("a journal that is whole goes on: a new one would only hide the old")
                .state(RESTART.untouched)
                .help("`strongroom journal verify` shows what it says of itself"),
        ]
    })?;
    let (journal, _) = Journal::open(&state, setup).map_err(of_journal)?;
    let context = upkeep.context;
    let mut journal = journal.with_run(context.run, &context.actor, upkeep.name, &pipeline);
    let confirmed = Entry::new(Event::Confirmed)
        .status(Status::Ok)
        .with(Field::Kept, restarted.folder.as_str())
        .with(Field::Message, "a new journal was begun");
    journal.append(&confirmed, Sync::Now).map_err(of_journal)?;
    Ok(restarted)
}

fn describe(upkeep: &Upkeep<'_>, restarted: &Restarted) -> Outcome {
    let mut outcome = Outcome::new("journal", format!("a new journal of `{}` was begun", upkeep.name));
    let path = state_of(upkeep.environment, upkeep.project, upkeep.name).join(&restarted.folder);
    outcome.field(
        "kept",
        "the old one is in",
        path.display().to_string(),
        &restarted.folder,
    );
    outcome.field(
        "good-records",
        "good records",
        restarted.records.to_string(),
        restarted.records,
    );
    let last_good = restarted.last_good.clone().unwrap_or_else(|| "none".into());
    outcome.field("last-good", "hash of the last good", last_good, &restarted.last_good);
    outcome.field("wrong", "wrong", restarted.what.clone(), &restarted.what);
    outcome.field(
        "problems",
        "problems",
        restarted.problems.to_string(),
        restarted.problems,
    );
    outcome
}
