//! What names a place outside the manifest: URLs of targets and globs of sources. Checked without looking at the place.

use super::problem::{Problem, Problems};
use super::resolved::{Resolved, ResolvedStep};
use super::source_map::Span;
use crate::diagnostic::{Code, Diagnose};
use crate::fs::glob::{Excludes, GlobError, Pattern, split_root};
use crate::source::Source;
use crate::steps::Step;
use crate::target::check_url;

/// Checks every target of the environment and every source of the pipeline.
pub(super) fn check(resolved: &Resolved, problems: &mut Problems) {
    for (name, settings) in &resolved.environment.target {
        if let Err(error) = check_url(&settings.url, &resolved.located.project) {
            let span = span_at(resolved, &format!("/target/{name}/url"));
            let problem = Problem::new(Code::InvalidValue, error.to_string(), span, "");
            let problem = match error.why() {
                Some(why) => problem.why(why),
                None => problem.why(format!("it is the URL of the target `{name}`")),
            };
            problems.push(problem.help(error.help().unwrap_or_else(|| "correct the URL".to_owned())));
        }
    }
    for step in &resolved.steps {
        if let Step::Snapshot(snapshot) = &step.step {
            for (position, source) in snapshot.source.iter().enumerate() {
                check_globs(step, position, source, problems);
            }
        }
    }
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

fn span_at(resolved: &Resolved, pointer: &str) -> Span {
    resolved
        .environment_tree
        .at(pointer)
        .map_or(resolved.environment_tree.span, |found| found.node.span)
}
