//! `[maintenance]` of an environment: the grace must outlast two runs, or a sweep could take what a backup relies on.

use super::problem::{Problem, Problems};
use super::resolved::Resolved;
use crate::diagnostic::Code;
use crate::units::Span;

/// Checks the spans against each other.
pub(super) fn check(resolved: &Resolved, problems: &mut Problems) {
    let maintenance = &resolved.environment.maintenance;
    let place = |key: &str| {
        resolved
            .environment_tree
            .at(&format!("/maintenance/{key}"))
            .map(|found| found.node.span)
    };
    let (max_run, grace) = (place("max-run"), place("grace"));
    let whole = resolved.environment_tree.span;
    if maintenance.max_run().is_zero() {
        let what = "`max-run` is no time at all".to_owned();
        problems.push(
            Problem::new(Code::InvalidValue, what, max_run.unwrap_or(whole), "")
                .why("every run would take longer")
                .help("write how long the longest backup may take, such as `24h`"),
        );
        return;
    }
    if maintenance.catch_up() > maintenance.max_run() / 2 {
        let what = format!(
            "`catch-up` is more than half of a `max-run` of {}",
            Span(maintenance.max_run())
        );
        problems.push(
            Problem::new(Code::InvalidValue, what, place("catch-up").unwrap_or(whole), "")
                .why("too little time would be left for the backup itself")
                .help("write a shorter `catch-up`, or a longer `max-run` and `grace`"),
        );
    }
    let least = maintenance.least_grace();
    if maintenance.grace() >= least {
        return;
    }
    let grace_text = Span(maintenance.grace());
    let problem = match (grace, max_run) {
        (Some(span), other) => {
            let what = format!("`grace` is {grace_text}, less than twice `max-run` and an hour");
            let problem = Problem::new(Code::InvalidValue, what, span, "");
            match other {
                Some(other) => problem.also(other, "the longest run"),
                None => problem,
            }
        }
        (None, span) => {
            let what = format!("`max-run` is too long for a `grace` of {grace_text}");
            Problem::new(Code::InvalidValue, what, span.unwrap_or(whole), "")
        }
    };
    problems.push(
        problem
            .why("an object that one run relies on could be deleted by another")
            .help(format!(
                "write `grace = \"{}\"` or more, or a shorter `max-run`",
                Span(least)
            )),
    );
}
