//! A sweep within a run: its settings, and what its errors mean for the operator.

use std::sync::Arc;

use crate::archive::survey::Doubt;
use crate::archive::sweep::{Settings, SweepError};
use crate::diagnostic::{Code, Diagnostic};
use crate::id::TargetName;
use crate::pipeline::Environment;
use crate::units::Span;

use super::{Context, Failure};

/// What bounds the sweeps of a run.
pub(super) fn settings(environment: &Environment, context: &Context) -> Settings {
    Settings {
        run: context.run,
        grace: environment.maintenance.grace(),
        max_run: environment.maintenance.max_run(),
        clock: Arc::clone(&context.clock),
        stop: Arc::clone(context.stop.flag()),
    }
}

/// The warning that nothing was deleted in a target, with all that makes it unknown what is needed there.
pub(super) fn held_back(target: &TargetName, doubts: &[Doubt]) -> Diagnostic {
    let mut warning = Diagnostic::warning(
        Code::SweepHeldBack,
        format!("nothing was deleted in target `{target}`: it is not known what its backups need"),
    )
    .state("all objects there are as they were");
    let described: Vec<Diagnostic> = doubts.iter().map(Diagnostic::of).collect();
    let whys: Vec<String> = described
        .iter()
        .map(|problem| match &problem.why {
            Some(why) => format!("{}: {why}", problem.what),
            None => problem.what.clone(),
        })
        .collect();
    warning.why = Some(whys.join("; "));
    warning.help = described.into_iter().find_map(|problem| problem.help);
    warning
}

/// The problems of a sweep that ended early.
pub(super) fn failure(
    error: SweepError<Failure>,
    target: &TargetName,
    doubts: &[Doubt],
    settings: &Settings,
) -> Failure {
    let state = "what was deleted no backup needed; all backups are as they were";
    match error {
        SweepError::Witness(failure) => failure,
        SweepError::Target(error) => vec![Diagnostic::of(&error).state(state)],
        SweepError::Doubt => vec![held_back(target, doubts)],
        SweepError::Slow => vec![
            Diagnostic::error(
                Code::RunTooLong,
                format!("the sweep of target `{target}` took longer than a run may"),
            )
            .why(format!("`max-run` is {}", Span(settings.max_run)))
            .state(state)
            .help("run it again: it goes on where it stopped"),
        ],
        SweepError::Stopped => vec![Diagnostic::error(Code::Interrupted, "the sweep was stopped").state(state)],
    }
}
