//! Reads TOML into a tree with places, and reports every syntax error it can recover from, the first of each line.

use std::collections::BTreeSet;

use toml::de::{DeTable, DeValue};

use super::mask;
use super::plan::Layer;
use super::problem::{Problem, Problems};
use super::source_map::{SourceMap, Span};
use super::tree::{Entry, Node, Table, Value};
use crate::diagnostic::Code;
use crate::limits;

/// Reads a file's text. Its problems are added to `problems`; the tree holds what could be read all the same.
pub(super) fn parse(map: &mut SourceMap, name: &str, layer: Layer, text: &str, problems: &mut Problems) -> Node {
    let base = map.add(name, layer, text);
    let body = text.strip_prefix('\u{feff}').unwrap_or(text);
    let shift = base + (text.len() - body.len());
    let (document, errors) = DeTable::parse_recoverable(body);
    let mut seen = BTreeSet::new();
    for error in &errors {
        let range = error.span().unwrap_or(0..0);
        let line = body.get(..range.start).and_then(|before| before.rfind('\n'));
        // One bad line makes the recovering parser stumble over what follows on it.
        if !seen.insert(line) {
            continue;
        }
        let span = Span {
            start: shift + range.start,
            end: shift + range.end,
        };
        problems.push(
            Problem::new(Code::TomlSyntax, error.message(), span, "")
                .why("a manifest is TOML, and this line is not")
                .help(advice(error.message())),
        );
    }
    let mut reader = Reader { shift, map, problems };
    let root = reader.table(document.into_inner(), limits::MANIFEST_DEPTH);
    Node::new(Value::Table(root), Span { start: base, end: base })
}

/// Reads one value as it stands on the command line; `None` where it is no TOML value. `base` is its first byte's offset.
pub(super) fn parse_value(map: &mut SourceMap, text: &str, base: usize, problems: &mut Problems) -> Option<Node> {
    const KEY: &str = "v=";
    let document = format!("{KEY}{text}");
    let table = DeTable::parse(&document).ok()?.into_inner();
    if table.len() != 1 {
        return None;
    }
    let shift = base.checked_sub(KEY.len())?;
    let mut reader = Reader { shift, map, problems };
    let mut table = reader.table(table, limits::MANIFEST_DEPTH);
    let entry = table.take("v")?;
    // A dotted key or a further line would have made it something else than the one value.
    (entry.node.span.start >= base).then_some(entry.node)
}

struct Reader<'a> {
    shift: usize,
    map: &'a mut SourceMap,
    problems: &'a mut Problems,
}

impl Reader<'_> {
    fn span(&self, range: &std::ops::Range<usize>) -> Span {
        Span {
            start: self.shift + range.start,
            end: self.shift + range.end,
        }
    }

    fn table(&mut self, table: DeTable<'_>, depth: usize) -> Table {
        let mut read = Table::default();
        for (key, value) in table {
            let key_span = self.span(&key.span());
            let key = key.into_inner().into_owned();
            let value_span = self.span(&value.span());
            if mask::is_telling(&key, &[]) && spans_lines(value.get_ref()) {
                self.map.hide(value_span);
            }
            if let Some(node) = self.node(value.into_inner(), value_span, depth) {
                read.entries.push(Entry { key, key_span, node });
            }
        }
        read
    }

    fn node(&mut self, value: DeValue<'_>, span: Span, depth: usize) -> Option<Node> {
        let value = match value {
            DeValue::String(text) => Value::String(text.into_owned()),
            DeValue::Integer(number) => {
                let Ok(number) = i64::from_str_radix(number.as_str(), number.radix()) else {
                    self.refuse(span, "an integer that does not fit in 64 bits");
                    return None;
                };
                Value::Integer(number)
            }
            DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(on) => Value::Boolean(on),
            DeValue::Datetime(_) => Value::Datetime,
            DeValue::Array(_) | DeValue::Table(_) if depth == 0 => {
                self.refuse(span, "nested deeper than a manifest may be");
                return None;
            }
            DeValue::Array(items) => {
                let mut read = Vec::new();
                for item in items {
                    let span = self.span(&item.span());
                    read.extend(self.node(item.into_inner(), span, depth - 1));
                }
                Value::Array(read)
            }
            DeValue::Table(table) => Value::Table(self.table(table, depth - 1)),
        };
        Some(Node::new(value, span))
    }

    fn refuse(&mut self, span: Span, what: &str) {
        self.problems
            .push(Problem::new(Code::InvalidValue, what, span, "").help("write a smaller value"));
    }
}

/// Whether a value may stand on several lines, where its key is not seen beside it.
fn spans_lines(value: &DeValue<'_>) -> bool {
    matches!(value, DeValue::Array(_)) || matches!(value, DeValue::String(text) if text.contains('\n'))
}

/// What to do about a syntax error.
fn advice(message: &str) -> String {
    let advice = if message.contains("duplicate key") {
        "give the key once; a table that was begun can be continued below its own header only"
    } else if message.contains("must be quoted") || message.contains("opening quote") {
        "put text in quotes: `key = \"text\"`"
    } else if message.contains("unclosed") || message.contains("missing comma") {
        "close every bracket and part items by commas"
    } else if message.contains("assignment") || message.contains("no value") || message.contains("missing value") {
        "write `key = value`"
    } else {
        "write `key = value` on a line of its own, below the header of its table"
    };
    advice.to_owned()
}
