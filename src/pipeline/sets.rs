//! Reads `--set step.pack.level=9` into an overlay with places: the layer above all files.

use super::mask;
use super::parse::parse_value;
use super::plan::Layer;
use super::problem::{Problem, Problems, suggest};
use super::source_map::{SourceMap, Span};
use super::tree::{Entry, Node, Table, Value};
use crate::diagnostic::Code;

/// What a value of the command line belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A step of the pipeline.
    Pipeline,
    /// A path or target of the environment.
    Environment,
}

const HELP: &str =
    "write `--set step.<id>.<key>=<value>`, `--set path.<name>=<value>` or `--set target.<name>.<key>=<value>`";

/// Reads one argument. A value that is not TOML is a string.
pub(super) fn read(map: &mut SourceMap, argument: &str, problems: &mut Problems) -> Option<(Part, Table)> {
    let base = map.add("--set", Layer::Set, argument);
    let whole = Span {
        start: base,
        end: base + argument.len(),
    };
    let Some((path, value)) = split(argument) else {
        problems.push(Problem::new(Code::Usage, "`--set` takes a path, `=` and a value", whole, "").help(HELP));
        return None;
    };
    let value_base = base + argument.len() - value.len();
    let segments = segments(path, base);
    let part = match segments.first().map(|(key, _)| key.as_str()) {
        Some("step") if segments.len() >= 3 => Part::Pipeline,
        Some("path") if segments.len() == 2 => Part::Environment,
        Some("target") if segments.len() >= 3 => Part::Environment,
        first => {
            let help = match first {
                Some("step" | "path" | "target") | None => HELP.to_owned(),
                Some(other) => {
                    format!("{}; {HELP}", suggest(other, ["step", "path", "target"], ""))
                }
            };
            let span = Span {
                start: base,
                end: base + path.len(),
            };
            problems.push(
                Problem::new(Code::Usage, format!("`--set` cannot reach `{path}`"), span, "")
                    .why("the command line changes values of steps, paths and targets only")
                    .help(help),
            );
            return None;
        }
    };
    if let Some((_, span)) = segments.iter().find(|(key, _)| key.is_empty()) {
        problems.push(Problem::new(Code::Usage, "a name in the path of `--set` is empty", *span, "").help(HELP));
        return None;
    }
    let value_span = Span {
        start: value_base,
        end: base + argument.len(),
    };
    let node = parse_value(map, value, value_base, problems)
        .unwrap_or_else(|| Node::new(Value::String(value.to_owned()), value_span));
    if segments.iter().any(|(key, _)| mask::is_telling(key, &[])) && !matches!(node.value, Value::Table(_)) {
        map.hide(value_span);
    }
    Some((part, nest(segments, node)?))
}

/// Splits at the first `=` outside quotes.
fn split(argument: &str) -> Option<(&str, &str)> {
    let mut quoted = None;
    for (at, character) in argument.char_indices() {
        match (quoted, character) {
            (None, '"' | '\'') => quoted = Some(character),
            (Some(open), close) if open == close => quoted = None,
            (None, '=') => return Some((argument.get(..at)?, argument.get(at + 1..)?)),
            _ => {}
        }
    }
    None
}

/// The keys of a dotted path with their places. Keys may be quoted.
fn segments(path: &str, base: usize) -> Vec<(String, Span)> {
    let mut found = Vec::new();
    let mut start = 0;
    let mut quoted = None;
    let mut push = |from: usize, to: usize| {
        let text = path.get(from..to).unwrap_or_default();
        let lead = text.len() - text.trim_start().len();
        let span = Span {
            start: base + from + lead,
            end: base + from + lead + text.trim().len(),
        };
        found.push((text.trim().trim_matches(['"', '\'']).to_owned(), span));
    };
    for (at, character) in path.char_indices() {
        match (quoted, character) {
            (None, '"' | '\'') => quoted = Some(character),
            (Some(open), close) if open == close => quoted = None,
            (None, '.') => {
                push(start, at);
                start = at + 1;
            }
            _ => {}
        }
    }
    push(start, path.len());
    found
}

/// The table that has `node` at the end of the path.
fn nest(segments: Vec<(String, Span)>, node: Node) -> Option<Table> {
    let mut node = node;
    for (key, key_span) in segments.into_iter().rev() {
        let table = Table {
            entries: vec![Entry { key, key_span, node }],
            unset: Vec::new(),
        };
        node = Node::new(Value::Table(table), key_span);
    }
    match node.value {
        Value::Table(table) => Some(table),
        _ => None,
    }
}
