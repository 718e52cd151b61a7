//! Finds secrets that were written out where a reference belongs, and hides them from every excerpt.

use serde_json::Value as Json;

use super::problem::{Problem, Problems};
use super::source_map::{SourceMap, Span};
use super::tree::{Node, Table, Value};
use super::walk::{At, is_secret, is_text_or_secret, visit};
use crate::diagnostic::Code;
use crate::sensitive::keys::is_telling;
use crate::sensitive::values::is_placeholder;

/// Reports each literal in a secret field. Its value enters no message and no excerpt.
pub(super) fn check(root: &mut Node, schema: &Json, map: &mut SourceMap, problems: &mut Problems) {
    visit(root, schema, &At::default(), &mut |at, schema, node| {
        if is_text_or_secret(schema) {
            if let Some(span) = misplaced_value(at, node, map) {
                problems.push(written_out(at, span, map));
            }
            return;
        }
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
        problems.push(written_out(at, node.span, map));
    });
}

fn written_out(at: &At, span: Span, map: &mut SourceMap) -> Problem {
    map.hide(span);
    let problem = Problem::new(
        Code::SecretLiteral,
        "a secret is written out here",
        span,
        "belongs into the secret file",
    )
    .why("a manifest is read in reviews and kept in histories; a value in it is no secret any more")
    .help("refer to it by `{ secret = \"NAME\" }`, put it into the environment's secret file, and change it where it is used");
    match at.step() {
        Some(step) => problem.step(step),
        None => problem,
    }
}

/// The place of a value where a text is taken as it is, and this one cannot be: its name tells of a secret, or it stands
/// where a reference has a name.
fn misplaced_value(at: &At, node: &Node, map: &mut SourceMap) -> Option<Span> {
    let tells = at.path.last().is_some_and(|key| is_telling(key));
    for old in node.replaced.iter().filter(|_| tells) {
        hide_literals(old, map);
    }
    match &node.value {
        Value::String(text) => (tells && !is_harmless(text)).then_some(node.span),
        Value::Table(table) => {
            hide_strangers(table, map);
            let name = table.entry("secret")?;
            let fits = matches!(&name.node.value, Value::String(text) if is_variable(text));
            (!fits).then_some(name.node.span)
        }
        _ => None,
    }
}

/// Whether a text under a telling name is no secret: nothing, a placeholder, the path of a file.
fn is_harmless(text: &str) -> bool {
    text.starts_with('/') || text.starts_with("{{path.") || is_placeholder(text.as_bytes())
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
