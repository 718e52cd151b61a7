//! What names a place outside the manifest: targets and globs of sources. Checked without looking at the place.

use super::problem::{Problem, Problems};
use super::resolved::{Resolved, ResolvedStep};
use super::source_map::Span;
use crate::diagnostic::{Code, Diagnose};
use crate::fs::glob::{Excludes, GlobError, Pattern, split_root};
use crate::id::TargetName;
use crate::source::Source;
use crate::steps::Step;
use crate::target::{Fault, TargetSettings};

/// Checks every target of the environment and every source of the pipeline.
pub(super) fn check(resolved: &Resolved, problems: &mut Problems) {
    for (name, settings) in &resolved.environment.target {
        for fault in settings.check(&resolved.located.project) {
            problems.push(faulty(resolved, name, &fault));
        }
        check_protected(resolved, name, settings, problems);
    }
    for step in &resolved.steps {
        if let Step::Snapshot(snapshot) = &step.step {
            for (position, source) in snapshot.source.iter().enumerate() {
                check_globs(step, position, source, problems);
            }
        }
    }
}

/// What is wrong with one key of a target; a missing one is told at the target.
fn faulty(resolved: &Resolved, name: &TargetName, fault: &Fault) -> Problem {
    let Fault { key, error } = fault;
    let tree = &resolved.environment_tree;
    let own = tree.at(&format!("/target/{name}/{key}")).map(|found| found.node.span);
    let span = own.unwrap_or_else(|| span_of_target(resolved, name));
    let problem = Problem::new(error.code(), error.to_string(), span, "");
    let problem = match error.why() {
        Some(why) => problem.why(why),
        None => problem.why(format!("it is the `{key}` of the target `{name}`")),
    };
    problem.help(error.help().unwrap_or_else(|| "correct it".to_owned()))
}

/// Data of a protected environment does not pass a network in clear.
fn check_protected(resolved: &Resolved, name: &TargetName, settings: &TargetSettings, problems: &mut Problems) {
    if !resolved.environment.protected || !settings.is_clear_on_the_wire() {
        return;
    }
    let span = span_at(resolved, &format!("/target/{name}/endpoint"));
    let what = format!("target `{name}` has no TLS, and this environment is protected");
    problems.push(
        Problem::new(Code::InvalidValue, what, span, "")
            .why("everything stored would pass the network in clear; `allow-http` counts here for this host alone")
            .help("write `https://`, or use an environment that is not protected"),
    );
}

fn check_globs(step: &ResolvedStep, position: usize, source: &Source, problems: &mut Problems) {
    let table = step
        .table
        .get("source")
        .and_then(|list| list.items().get(position)?.table());
    let node = |key: &str| table.and_then(|table| table.get(key));
    if !source.guards.sentinel_is_below() {
        let span = node("sentinel").map_or(step.span, |node| node.span);
        let what = "`sentinel` is not a path below the source's root";
        let problem = Problem::new(Code::InvalidValue, what, span, "")
            .why("it is looked for below the root, so it has no leading `/`, no `..` and no empty part")
            .help("write it relative to the root, such as `sentinel = \".mounted\"`");
        problems.push(problem.step(step.id.as_str()));
    }
    let (_, glob) = split_root(source.kind.path());
    if let Some(Err(error)) = glob.as_deref().map(Pattern::new) {
        let span = node("path").map_or(step.span, |node| node.span);
        problems.push(wrong_glob(&error, span, step));
    }
    for (number, exclude) in source.kind.exclude().iter().enumerate() {
        if let Err(error) = Excludes::new(std::slice::from_ref(exclude)) {
            let list = node("exclude");
            let item = list.and_then(|list| list.items().get(number)).or(list);
            problems.push(wrong_glob(&error, item.map_or(step.span, |node| node.span), step));
        }
    }
}

fn wrong_glob(error: &GlobError, span: Span, step: &ResolvedStep) -> Problem {
    Problem::new(
        Code::InvalidValue,
        format!("the glob `{}` cannot be used", error.glob),
        span,
        "",
    )
    .why(error.why.clone())
    .help("write a character that stands for itself as a class of one: `[*]`, `[[]`")
    .step(step.id.as_str())
}

/// The header of a target's table.
fn span_of_target(resolved: &Resolved, name: &TargetName) -> Span {
    let found = resolved.environment_tree.at(&format!("/target/{name}"));
    found.map_or(resolved.environment_tree.span, |found| {
        found.key.map_or(found.node.span, |(_, span)| span)
    })
}

fn span_at(resolved: &Resolved, pointer: &str) -> Span {
    resolved
        .environment_tree
        .at(pointer)
        .map_or(resolved.environment_tree.span, |found| found.node.span)
}
