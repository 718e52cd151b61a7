//! Finds secrets that were written out where a reference belongs, and hides them from every excerpt.

use serde_json::Value as Json;

use super::problem::{Problem, Problems};
use super::source_map::SourceMap;
use super::tree::{Node, Table, Value};
use super::walk::{At, is_secret, visit};
use crate::diagnostic::Code;

/// Reports each literal in a secret field. Its value enters no message and no excerpt.
pub(super) fn check(root: &mut Node, schema: &Json, map: &mut SourceMap, problems: &mut Problems) {
    visit(root, schema, &At::default(), &mut |at, schema, node| {
        if !at.secret {
            return;
        }
        for old in &node.replaced {
            hide_literals(old, map);
        }
        let reference = schema.get("x-secret") == Some(&Json::Bool(true));
        let key = at.path.last().map_or("", String::as_str);
        let literal = match &node.value {
            Value::Table(table) if reference => {
                hide_strangers(table, map);
                false
            }
            Value::Array(_) => reference,
            Value::Table(_) => false,
            Value::String(text) if key == "secret" && !reference => !is_variable(text),
            _ => is_secret(schema),
        };
        if !literal {
            return;
        }
        map.hide(node.span);
        let mut problem = Problem::new(
            Code::SecretLiteral,
            "a secret is written out here",
            node.span,
            "belongs into the secret file",
        )
        .why("a manifest is read in reviews and kept in histories; a value in it is no secret any more")
        .help("refer to it by `{ secret = \"NAME\" }`, put it into the environment's secret file, and change it where it is used");
        if let Some(step) = at.step() {
            problem = problem.step(step);
        }
        problems.push(problem);
    });
}

/// Whether a text can be the name of a variable.
fn is_variable(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Hides what stands behind keys that a reference does not have.
fn hide_strangers(table: &Table, map: &mut SourceMap) {
    for entry in &table.entries {
        if !matches!(entry.key.as_str(), "secret" | "file" | "command") {
            map.hide(entry.node.span);
        }
    }
}

fn hide_literals(node: &Node, map: &mut SourceMap) {
    match &node.value {
        Value::Array(items) => items.iter().for_each(|item| hide_literals(item, map)),
        Value::Table(table) => hide_strangers(table, map),
        _ => map.hide(node.span),
    }
}
