//! Follows a tree along its schema, so that each value is met together with what the schema says about it.
//!
//! A table that is one of several kinds is told apart by its `type`, never by trying the alternatives.

use serde_json::Value as Json;

use super::tree::{Node, Table, Value, naming_key};

/// Where a value stands, and what holds for it from above.
#[derive(Clone, Debug, Default)]
pub(super) struct At {
    /// The path as people write it: named items by their name, `step.capture.source.config.path`.
    pub(super) path: Vec<String>,
    /// The key or the position as a JSON pointer.
    pub(super) pointer: String,
    /// Within a reference to a secret, or in the place of one.
    pub(super) secret: bool,
    /// In a value that is read as a glob.
    pub(super) glob: bool,
    /// A name, id or type, by which items are told apart before anything is filled.
    pub(super) identity: bool,
}

impl At {
    /// The id of the step that this is in.
    pub(super) fn step(&self) -> Option<&str> {
        match self.path.first().map(String::as_str) {
            Some("step") => self.path.get(1).map(String::as_str),
            _ => None,
        }
    }

    fn below(&self, schema: &Json, path: Option<&str>, pointer: &str) -> Self {
        let mut at = self.clone();
        at.path.extend(path.map(str::to_owned));
        at.pointer = format!("{}/{}", self.pointer, pointer.replace('~', "~0").replace('/', "~1"));
        at.secret |= is_secret(schema);
        at.glob |= schema.get("x-glob") == Some(&Json::Bool(true));
        at
    }
}

/// Whether a value of this schema refers to a secret, or is a list of such references.
pub(super) fn is_secret(schema: &Json) -> bool {
    let marked = |schema: &Json| schema.get("x-secret") == Some(&Json::Bool(true));
    marked(schema) || schema.get("items").is_some_and(marked)
}

/// Whether a value of this schema is a text, or a reference to a secret.
pub(super) fn is_text_or_secret(schema: &Json) -> bool {
    schema.get("x-text-or-secret") == Some(&Json::Bool(true))
}

/// Whether a value of this schema may be any text.
pub(super) fn takes_text(schema: &Json) -> bool {
    schema.get("type").and_then(Json::as_str) == Some("string") || is_text_or_secret(schema)
}

/// The alternatives of a schema whose tables are told apart by their `type`.
pub(super) fn alternatives(schema: &Json) -> Option<&Vec<Json>> {
    let alternatives = schema.get("oneOf")?.as_array()?;
    alternatives
        .iter()
        .all(|one| type_of(one).is_some())
        .then_some(alternatives)
}

/// The one value that `type` may have in an alternative.
pub(super) fn type_of(alternative: &Json) -> Option<&str> {
    alternative.pointer("/properties/type/enum/0")?.as_str()
}

/// The schema that a table must meet: the alternative of its `type` where there are several. `None` for an unknown type.
pub(super) fn resolve<'a>(schema: &'a Json, table: &Table) -> Option<&'a Json> {
    match alternatives(schema) {
        Some(alternatives) => {
            let kind = table.text("type")?;
            alternatives.iter().find(|one| type_of(one) == Some(kind))
        }
        None => Some(schema),
    }
}

/// The schema of a key of a table; `None` where the key is not known.
pub(super) fn child<'a>(schema: &'a Json, key: &str) -> Option<&'a Json> {
    if let Some(known) = schema.get("properties").and_then(|properties| properties.get(key)) {
        return Some(known);
    }
    let patterns = schema.get("patternProperties").and_then(Json::as_object);
    if let Some(any) = patterns.and_then(|patterns| patterns.values().next()) {
        return Some(any);
    }
    schema.get("additionalProperties").filter(|any| any.is_object())
}

/// Calls `meet` for every value that the schema knows, outer values first.
pub(super) fn visit(node: &mut Node, schema: &Json, at: &At, meet: &mut impl FnMut(&At, &Json, &mut Node)) {
    meet(at, schema, node);
    match &mut node.value {
        Value::Table(table) => {
            let Some(schema) = resolve(schema, table) else {
                return;
            };
            let named = at.identity;
            for entry in &mut table.entries {
                let Some(below) = child(schema, &entry.key) else {
                    continue;
                };
                let mut inner = at.below(below, Some(&entry.key), &entry.key);
                inner.identity = named && matches!(entry.key.as_str(), "id" | "name" | "type");
                visit(&mut entry.node, below, &inner, meet);
            }
        }
        Value::Array(items) => {
            let Some(below) = schema.get("items") else {
                return;
            };
            let naming = naming_key(items);
            for (position, item) in items.iter_mut().enumerate() {
                let name = match naming {
                    Some(key) => item.table().and_then(|table| table.text(key)).map(str::to_owned),
                    None => Some(position.to_string()),
                };
                let mut inner = at.below(below, name.as_deref(), &position.to_string());
                inner.identity = naming.is_some();
                visit(item, below, &inner, meet);
            }
        }
        _ => {}
    }
}
