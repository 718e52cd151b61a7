//! A TOML document as a tree in which every value knows its place. Nothing is decided here.

use serde_json::Value as Json;

use super::source_map::Span;

/// A value with its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// The value.
    pub(super) value: Value,
    /// Where it stands: the value itself, or the header of its table.
    pub(super) span: Span,
    /// What it replaced, the nearest first.
    pub(super) replaced: Vec<Node>,
    /// The text before its templates were filled, where it had any.
    pub(super) template: Option<String>,
}

/// A TOML value. What JSON cannot say (a date, `nan`) keeps its type, so that a message can name it.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// A string.
    String(String),
    /// An integer.
    Integer(i64),
    /// A float.
    Float(f64),
    /// A boolean.
    Boolean(bool),
    /// A date, a time or both. No key here takes one.
    Datetime,
    /// An array.
    Array(Vec<Node>),
    /// A table.
    Table(Table),
}

/// A table in the order in which it was written.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    /// Keys and values.
    pub(super) entries: Vec<Entry>,
    /// Keys that an overlay took out, with the place that says so.
    pub(super) unset: Vec<(String, Span)>,
}

/// A key of a table and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The key.
    pub(super) key: String,
    /// Where the key stands.
    pub(super) key_span: Span,
    /// The value.
    pub(super) node: Node,
}

impl Table {
    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.node)
    }

    /// The text of a key's string.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        match &self.get(key)?.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// A key with its value.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// Takes a key out.
    pub(super) fn take(&mut self, key: &str) -> Option<Entry> {
        let at = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(at))
    }

    /// The keys, as written.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.key.as_str())
    }
}

/// What a JSON pointer leads to.
pub(super) struct Found<'a> {
    /// The value.
    pub(super) node: &'a Node,
    /// Its key, where it has one.
    pub(super) key: Option<(&'a str, Span)>,
}

impl Node {
    /// A value that replaced nothing.
    pub(super) fn new(value: Value, span: Span) -> Self {
        Self {
            value,
            span,
            replaced: Vec::new(),
            template: None,
        }
    }

    /// The table that this is.
    pub(super) fn table(&self) -> Option<&Table> {
        match &self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The table that this is.
    pub(super) fn table_mut(&mut self) -> Option<&mut Table> {
        match &mut self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The items of the array that this is; none where it is no array.
    pub(super) fn items(&self) -> &[Node] {
        match &self.value {
            Value::Array(items) => items,
            _ => &[],
        }
    }

    /// What it is, with its article: "a string".
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            Value::String(_) => "a string",
            Value::Integer(_) => "an integer",
            Value::Float(_) => "a float",
            Value::Boolean(_) => "a boolean",
            Value::Datetime => "a date or time",
            Value::Array(_) => "an array",
            Value::Table(_) => "a table",
        }
    }

    /// The value as JSON. What JSON cannot say becomes `null`, which no schema here allows.
    pub(super) fn to_json(&self) -> Json {
        match &self.value {
            Value::String(text) => Json::String(text.clone()),
            Value::Integer(number) => Json::from(*number),
            Value::Float(number) => serde_json::Number::from_f64(*number).map_or(Json::Null, Json::Number),
            Value::Boolean(on) => Json::Bool(*on),
            Value::Datetime => Json::Null,
            Value::Array(items) => Json::Array(items.iter().map(Self::to_json).collect()),
            Value::Table(table) => Json::Object(
                table
                    .entries
                    .iter()
                    .map(|entry| (entry.key.clone(), entry.node.to_json()))
                    .collect(),
            ),
        }
    }

    /// Follows a JSON pointer. It is read by hand: an empty key is a key, and a key of digits is no index.
    pub(super) fn at(&self, pointer: &str) -> Option<Found<'_>> {
        let mut found = Found { node: self, key: None };
        for segment in pointer.split('/').skip(1) {
            let segment = segment.replace("~1", "/").replace("~0", "~");
            found = match &found.node.value {
                Value::Table(table) => {
                    let entry = table.entry(&segment)?;
                    Found {
                        node: &entry.node,
                        key: Some((&entry.key, entry.key_span)),
                    }
                }
                Value::Array(items) => Found {
                    node: items.get(segment.parse::<usize>().ok()?)?,
                    key: None,
                },
                _ => return None,
            };
        }
        Some(found)
    }
}

/// The key that names the items of an array of tables: `id`, else `name`. `None` where it is no list of named items.
pub(super) fn naming_key(items: &[Node]) -> Option<&'static str> {
    if items.iter().any(|item| item.table().is_none()) {
        return None;
    }
    ["id", "name"].into_iter().find(|key| {
        items
            .iter()
            .filter_map(Node::table)
            .any(|table| table.get(key).is_some())
    })
}
