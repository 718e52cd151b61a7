//! Declared arguments: what a run was given, what it must be given, and what they stand for in templates.

use super::plan::Layer;
use super::problem::{Problem, Problems, suggest};
use super::source_map::{SourceMap, Span};
use super::template::Names;
use super::tree::{Entry, Node, Table, Value};
use super::{Purpose, Request};
use crate::diagnostic::Code;

/// Adds `arg.*` to the names that templates know.
pub(super) fn bind(
    pipeline: &Table,
    request: &Request,
    map: &mut SourceMap,
    names: &mut Names,
    problems: &mut Problems,
) {
    let none = Table::default();
    let declared = pipeline.get("arg").and_then(Node::table).unwrap_or(&none);
    for (name, value) in &request.args {
        if declared.entry(name).is_none() {
            undeclared(name, value, declared, map, problems);
        }
    }
    for argument in &declared.entries {
        let Some(table) = argument.node.table() else {
            continue;
        };
        check_declaration(argument, table, problems);
        let value = match request.args.get(&argument.key) {
            Some(given) => given.as_str(),
            None => absent(argument, table, request.purpose, problems),
        };
        names.insert(format!("arg.{}", argument.key), value);
    }
}

/// The value of an argument that was not given.
fn absent<'a>(argument: &'a Entry, table: &'a Table, purpose: Purpose, problems: &mut Problems) -> &'a str {
    let example = table.text("example");
    if is_required(table) && purpose == Purpose::Run {
        let name = &argument.key;
        problems.push(
            Problem::new(
                Code::Usage,
                format!("the argument `{name}` was not given"),
                argument.key_span,
                "required",
            )
            .why(
                table
                    .text("description")
                    .unwrap_or("the pipeline requires it")
                    .to_owned(),
            )
            .help(format!("add `--arg {name}={}`", example.unwrap_or("…"))),
        );
    }
    // Whatever is still missing was reported; its own name stands for it, so that nothing else seems wrong.
    table.text("default").or(example).unwrap_or(&argument.key)
}

fn is_required(table: &Table) -> bool {
    matches!(
        table.get("required").map(|node| &node.value),
        Some(Value::Boolean(true))
    )
}

/// A required argument has an example and no default; any other has a default.
fn check_declaration(argument: &Entry, table: &Table, problems: &mut Problems) {
    let name = &argument.key;
    let missing = |key: &str, why: &str| {
        Problem::new(
            Code::MissingKey,
            format!("the argument `{name}` has no `{key}`"),
            argument.key_span,
            "",
        )
        .why(why.to_owned())
        .help(format!("add `{key} = \"…\"`"))
    };
    match (is_required(table), table.get("default"), table.get("example")) {
        (true, Some(default), _) => problems.push(
            Problem::new(
                Code::InvalidValue,
                format!("the argument `{name}` is required and has a default"),
                default.span,
                "never used",
            )
            .why("a required argument is always given, so its default would never hold")
            .help("remove `default`, or remove `required = true`"),
        ),
        (true, None, None) => problems.push(missing(
            "example",
            "`validate` checks the pipeline with the example of each required argument",
        )),
        (false, None, _) => problems.push(missing(
            "default",
            "an argument that is not required needs a value without it",
        )),
        _ => {}
    }
    for key in ["default", "example"] {
        if let Some(node) = table.get(key)
            && matches!(&node.value, Value::String(text) if text.contains("{{"))
        {
            problems.push(
                Problem::new(
                    Code::TemplateInvalid,
                    format!("the `{key}` of an argument cannot hold a template"),
                    node.span,
                    "",
                )
                .why("templates are filled once, and this value is what they are filled with")
                .help("write it out"),
            );
        }
    }
}

fn undeclared(name: &str, value: &str, declared: &Table, map: &mut SourceMap, problems: &mut Problems) {
    let base = map.add("--arg", Layer::Set, format!("{name}={value}"));
    let span = Span {
        start: base,
        end: base + name.len(),
    };
    problems.push(
        Problem::new(
            Code::Usage,
            format!("the pipeline declares no argument `{name}`"),
            span,
            "",
        )
        .why("an argument that nothing reads would be a mistake without a message")
        .help(suggest(
            name,
            declared.keys(),
            "this pipeline takes no arguments; leave it out",
        )),
    );
}
