//! Turns one violation of a schema into words an operator can act on.
//!
//! No message holds a value of a secret field: those have their own problem before the schema is asked.

use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use serde_json::Value as Json;

use super::plan::Layer;
use super::problem::{Problem, list, suggest};
use super::source_map::{SourceMap, Span};
use super::spelling::{self, Misspelt};
use super::tree::{Found, Node, Value};
use crate::diagnostic::Code;
use crate::steps::command::VARIABLE_PATTERN;

/// The problems that a violation stands for. `schema` is the part that is violated, `pointer` leads to the value.
pub(super) fn problems(kind: &Kind, schema: &Json, root: &Node, pointer: &str, map: &SourceMap) -> Vec<Problem> {
    let Some(found) = root.at(pointer) else {
        return vec![Problem::new(Code::InvalidValue, "a value does not fit", root.span, "").help("correct it")];
    };
    let subject = subject(root, pointer, &found);
    match kind {
        Kind::AdditionalProperties { unexpected } => unexpected
            .iter()
            .map(|key| unknown_key(key, schema, &found, &subject))
            .collect(),
        Kind::Required { property } => {
            let key = property.as_str().unwrap_or_default();
            vec![missing_key(key, schema, &found, &subject, pointer)]
        }
        Kind::Type { kind } => vec![wrong_type(kind, schema, &found, &subject, map)],
        Kind::Enum { options } => vec![wrong_word(options, schema, &found, &subject)],
        Kind::Pattern { pattern } => vec![wrong_text(pattern, schema, &found, &subject)],
        other => vec![wrong_value(other, schema, &found, &subject)],
    }
}

/// The value's name in a sentence: its key, or its position in the list of that key.
fn subject(root: &Node, pointer: &str, found: &Found<'_>) -> String {
    if let Some((key, _)) = found.key {
        return format!("`{key}`");
    }
    let Some((parent, position)) = pointer.rsplit_once('/') else {
        return "the file".to_owned();
    };
    let key = root.at(parent).and_then(|list| list.key.map(|(key, _)| key.to_owned()));
    let number = position.parse::<usize>().map_or(1, |at| at + 1);
    match key {
        Some(key) if matches!(key.as_str(), "step" | "source" | "destination") => format!("this {key}"),
        Some(key) => format!("item {number} of `{key}`"),
        None => "this item".to_owned(),
    }
}

/// What a schema says about a value: its first paragraph where that is short, else its first sentence.
fn about(schema: &Json) -> Option<String> {
    const SHORT: usize = 160;
    let text = schema.get("description")?.as_str()?;
    let text = text.split("\n\n").next().filter(|text| !text.is_empty())?;
    let end = match text.find(". ") {
        Some(at) if text.len() > SHORT => at,
        _ => text.len(),
    };
    let text = text.get(..end)?.trim_end_matches('.');
    let mut letters = text.chars();
    let first = letters.next()?;
    let plain = letters
        .next()
        .is_some_and(|second| second.is_lowercase() || second == ' ');
    Some(if plain {
        first.to_lowercase().chain(text.chars().skip(1)).collect()
    } else {
        text.to_owned()
    })
}

fn with_about(problem: Problem, schema: &Json) -> Problem {
    match about(schema) {
        Some(text) => problem.why(text),
        None => problem,
    }
}

fn unknown_key(key: &str, schema: &Json, found: &Found<'_>, subject: &str) -> Problem {
    let entry = found.node.table().and_then(|table| table.entry(key));
    let span = entry.map_or(found.node.span, |entry| entry.key_span);
    let patterns = schema.get("patternProperties").and_then(Json::as_object);
    if patterns.is_some_and(|patterns| patterns.contains_key(VARIABLE_PATTERN)) {
        return Problem::new(
            Code::InvalidValue,
            format!("`{key}` is not the name of a variable"),
            span,
            "",
        )
        .why("a variable's name has letters, digits and `_`, and begins with no digit")
        .help("correct the name");
    }
    if patterns.is_some() {
        return Problem::new(Code::InvalidValue, spelling::name_fault(key), span, "")
            .why(format!("the names below {subject} are written in kebab-case"))
            .help(format!("call it `{}`", spelling::as_name(key)));
    }
    let known: Vec<&str> = schema
        .get("properties")
        .and_then(Json::as_object)
        .map(|properties| properties.keys().map(String::as_str).collect())
        .unwrap_or_default();
    let kind = found.node.table().and_then(|table| table.text("type"));
    let owner = match kind {
        Some(kind) => format!("a `{kind}`"),
        None => subject.to_owned(),
    };
    let problem = Problem::new(Code::UnknownKey, format!("unknown key `{key}`"), span, "");
    let problem = problem.why(if known.is_empty() {
        format!("{owner} has no keys")
    } else {
        format!("{owner} has the keys {}", list(&known))
    });
    problem.help(match super::problem::closest(key, known.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => "remove it, or use one of these keys".to_owned(),
    })
}

fn missing_key(key: &str, schema: &Json, found: &Found<'_>, subject: &str, pointer: &str) -> Problem {
    let property = schema.get("properties").and_then(|properties| properties.get(key));
    let table = found.node.table();
    let unset = table.and_then(|table| table.unset.iter().find(|(name, _)| name == key));
    let (span, label) = match unset {
        Some((_, span)) => (*span, "taken out here"),
        None => (found.key.map_or(found.node.span, |(_, span)| span), ""),
    };
    let problem = Problem::new(Code::MissingKey, format!("{subject} has no `{key}`"), span, label);
    let sample = property.map_or("\"…\"", sample);
    let problem = match property.and_then(about) {
        Some(text) => problem.why(text),
        None => problem.why(format!("`{key}` has no default")),
    };
    problem.help(match unset {
        Some(_) => format!("set it to another value, `{key} = {sample}`, or remove this line"),
        None if property.is_some_and(is_table_list) => format!("add a table `[[{}]]`", header(pointer, key)),
        None => format!("add `{key} = {sample}`"),
    })
}

/// The header of a table in a list, `step.source`: the keys that lead to it.
fn header(pointer: &str, key: &str) -> String {
    pointer
        .split('/')
        .filter(|segment| !segment.is_empty() && segment.parse::<usize>().is_err())
        .chain([key])
        .collect::<Vec<_>>()
        .join(".")
}

fn is_table_list(schema: &Json) -> bool {
    schema.pointer("/items/type").and_then(Json::as_str) == Some("object") || schema.pointer("/items/x-kinds").is_some()
}

/// What a value of this schema looks like.
fn sample(schema: &Json) -> &'static str {
    match schema.get("type").and_then(Json::as_str) {
        Some("integer" | "number") => "1",
        Some("boolean") => "true",
        Some("array") => "[\"…\"]",
        Some("object") => "{ … }",
        _ => "\"…\"",
    }
}

fn wrong_type(kind: &TypeKind, schema: &Json, found: &Found<'_>, subject: &str, map: &SourceMap) -> Problem {
    let wanted = match kind {
        TypeKind::Single(one) => one.to_string(),
        TypeKind::Multiple(_) => String::new(),
    };
    let span = found.node.span;
    if wanted == "array" && found.node.table().is_some() && map.layer(span) != Layer::Pipeline {
        let key = found.key.map_or(span, |(_, span)| span);
        return Problem::new(
            Code::OverlayUnknown,
            format!("the pipeline has no items in {subject} that could be changed"),
            key,
            "",
        )
        .why("an overlay changes values of existing items; it cannot add one")
        .help("add the item in the pipeline");
    }
    let article = match wanted.as_str() {
        "integer" => "an integer",
        "number" => "a number",
        "boolean" => "`true` or `false`",
        "array" => "an array",
        "object" => "a table",
        // The one value of two types.
        "" => "a number or a word",
        _ => "a string",
    };
    let what = format!("{subject} must be {article}, found {}", found.node.kind());
    let problem = with_about(Problem::new(Code::WrongType, what, span, ""), schema);
    problem.help(match (wanted.as_str(), &found.node.value) {
        ("integer" | "number", Value::String(text)) if text.parse::<f64>().is_ok() => {
            "write it without quotes".to_owned()
        }
        ("boolean", Value::String(text)) if text.parse::<bool>().is_ok() => "write it without quotes".to_owned(),
        ("string", Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime) => {
            "put it in quotes".to_owned()
        }
        ("array", Value::String(_) | Value::Integer(_)) => "put it in brackets: `[\"…\"]`".to_owned(),
        ("array", Value::Table(_)) => "write the header with two brackets: `[[…]]`".to_owned(),
        _ => format!("write {article}"),
    })
}

fn wrong_word(options: &Json, schema: &Json, found: &Found<'_>, subject: &str) -> Problem {
    let words: Vec<&str> = options
        .as_array()
        .map(|options| options.iter().filter_map(Json::as_str).collect())
        .unwrap_or_default();
    match &found.node.value {
        Value::String(text) => {
            let problem = Problem::new(
                Code::InvalidValue,
                format!("{subject} cannot be `{text}`"),
                found.node.span,
                "",
            );
            problem.why(format!("it is one of {}", list(&words))).help(
                match super::problem::closest(text, words.iter().copied()) {
                    Some(word) => format!("did you mean `{word}`?"),
                    None => format!("write one of {}", list(&words)),
                },
            )
        }
        _ => with_about(
            Problem::new(
                Code::WrongType,
                format!("{subject} must be a string, found {}", found.node.kind()),
                found.node.span,
                "",
            ),
            schema,
        )
        .help(suggest("", words, "write a string")),
    }
}

/// A text that does not have the form it must have: the unit's or name's own reader says what is wrong.
fn wrong_text(pattern: &str, schema: &Json, found: &Found<'_>, subject: &str) -> Problem {
    let Value::String(text) = &found.node.value else {
        return Problem::new(
            Code::InvalidValue,
            format!("{subject} does not fit"),
            found.node.span,
            "",
        )
        .help("correct the value");
    };
    let Some(Misspelt { what, help }) = spelling::explain(pattern, text) else {
        let what = format!("{subject} cannot be `{text}`");
        let help = about(schema).unwrap_or_else(|| format!("write a value that matches `{pattern}`"));
        return Problem::new(Code::InvalidValue, what, found.node.span, "").help(help);
    };
    with_about(Problem::new(Code::InvalidValue, what, found.node.span, ""), schema).help(help)
}

fn wrong_value(kind: &Kind, schema: &Json, found: &Found<'_>, subject: &str) -> Problem {
    let span: Span = found.node.span;
    let number = |node: &Node| node.to_json().to_string();
    let (what, help) = match kind {
        Kind::Minimum { limit } => (
            format!("{subject} is {}, less than {limit}", number(found.node)),
            format!("write {limit} or more"),
        ),
        Kind::Maximum { limit } => (
            format!("{subject} is {}, more than {limit}", number(found.node)),
            format!("write {limit} or less"),
        ),
        Kind::MinLength { .. } => (format!("{subject} is empty"), "write a value".to_owned()),
        Kind::MaxLength { limit } => (
            format!("{subject} is longer than {limit} characters"),
            "shorten it".to_owned(),
        ),
        Kind::MinItems { limit } => (
            format!("{subject} has fewer than {limit} item"),
            "add one, or remove what needs it".to_owned(),
        ),
        Kind::MaxItems { limit } => (
            format!("{subject} has more than {limit} items"),
            "remove some".to_owned(),
        ),
        Kind::MinProperties { limit } | Kind::MaxProperties { limit } => (
            format!("{subject} must have exactly {limit} key"),
            "keep the one that applies".to_owned(),
        ),
        other => (
            format!("{subject} does not fit ({})", other.keyword()),
            "correct the value".to_owned(),
        ),
    };
    with_about(Problem::new(Code::InvalidValue, what, span, ""), schema).help(help)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_key_is_is_said_in_one_paragraph() {
        let says = |text: &str| about(&json!({ "description": text })).unwrap();
        assert_eq!(says("One thing. More."), "one thing. More");
        assert_eq!(says("TOML it is.\n\nMore."), "TOML it is");
        assert_eq!(says(&format!("A thing. {}", "x".repeat(200))), "a thing");
    }
}
