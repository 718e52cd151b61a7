//! Merges a later layer into an earlier one, on trees: tables by key, named items by name, everything else replaced.
//!
//! An overlay changes values. It never adds, removes or reorders named items, and it has two operators,
//! `{ append = [...] }` and `{ unset = true }`.

use super::problem::{Problem, Problems, suggest};
use super::source_map::Span;
use super::tree::{Entry, Node, Table, Value, naming_key};
use crate::diagnostic::Code;

/// Merges `overlay` into `base`. What cannot be merged becomes a problem at its place in the overlay and changes nothing.
pub(super) fn merge(base: &mut Table, overlay: Table, problems: &mut Problems) {
    merge_table(base, overlay, None, problems);
}

/// What an overlay says about one key.
enum Change {
    Set(Node),
    Append(Vec<Node>, Span),
    Unset(Span),
}

fn merge_table(base: &mut Table, overlay: Table, identity: Option<&str>, problems: &mut Problems) {
    for entry in overlay.entries {
        let Entry { key, key_span, node } = entry;
        let Some(change) = change_of(&key, node, problems) else {
            continue;
        };
        if identity.is_some_and(|naming| key == naming || key == "type") && !repeats(base, &key, &change) {
            problems.push(
                Problem::new(
                    Code::InvalidValue,
                    format!("an overlay cannot change `{key}`"),
                    key_span,
                    "belongs to the pipeline",
                )
                .why(format!(
                    "`{key}` says which item this is; an overlay changes its values only"
                ))
                .help("change it in the pipeline, or remove this line"),
            );
            continue;
        }
        match base.entries.iter().position(|known| known.key == key) {
            Some(at) => {
                let remove = base
                    .entries
                    .get_mut(at)
                    .is_some_and(|known| merge_entry(known, change, key_span, problems));
                if remove {
                    base.entries.remove(at);
                    base.unset.push((key, key_span));
                }
            }
            None => add(base, key, key_span, change, problems),
        }
    }
}

/// Whether a change of an item's own name or type says what is there already.
fn repeats(base: &Table, key: &str, change: &Change) -> bool {
    match (base.text(key), change) {
        (Some(known), Change::Set(node)) => matches!(&node.value, Value::String(text) if text == known),
        _ => false,
    }
}

/// Reads the operators. A table that looks like one and is none is a problem.
fn change_of(key: &str, node: Node, problems: &mut Problems) -> Option<Change> {
    let Some(table) = node.table() else {
        return Some(Change::Set(node));
    };
    let operator = table.entry("append").or_else(|| table.entry("unset"));
    // A step or source may be called `append`: then a table stands behind it.
    let Some(operator) = operator.filter(|entry| entry.node.table().is_none()) else {
        return Some(Change::Set(node));
    };
    let refuse = |what: String, help: &str| {
        Problem::new(Code::OverlayOperator, what, operator.key_span, "").help(help.to_owned())
    };
    if table.entries.len() > 1 {
        problems.push(refuse(
            format!("`{}` stands alone in its table", operator.key),
            "write `{ append = [...] }` or `{ unset = true }` with nothing beside it",
        ));
        return None;
    }
    let span = node.span;
    match (operator.key.as_str(), &operator.node.value) {
        ("append", Value::Array(items)) => Some(Change::Append(items.clone(), span)),
        ("append", _) => {
            problems.push(refuse(
                format!("`append` takes an array, here it has {}", operator.node.kind()),
                "write `{ append = [\"…\"] }`",
            ));
            None
        }
        (_, Value::Boolean(true)) => Some(Change::Unset(span)),
        _ => {
            problems.push(refuse(
                format!("`unset` takes `true`, so that `{key}` is taken out"),
                "write `{ unset = true }`, or remove this line",
            ));
            None
        }
    }
}

/// Adds a key that the base does not have.
fn add(base: &mut Table, key: String, key_span: Span, change: Change, problems: &mut Problems) {
    let node = match change {
        Change::Unset(span) => {
            let known: Vec<&str> = base.keys().collect();
            let help = suggest(&key, known, "remove this line");
            problems.push(
                Problem::new(Code::OverlayOperator, format!("there is no `{key}` to unset"), span, "")
                    .also(key_span, "not set by an earlier layer")
                    .help(format!("{help}; otherwise remove this line")),
            );
            return;
        }
        Change::Append(items, span) => Node::new(Value::Array(items), span),
        Change::Set(mut node) => {
            // A table that is new may hold operators further down, which have nothing to work on but are not values.
            if let Value::Table(table) = &mut node.value {
                let inner = std::mem::take(table);
                merge_table(table, inner, None, problems);
            }
            node
        }
    };
    base.entries.push(Entry { key, key_span, node });
}

/// Merges a change into a key that is there; tells whether the key is to be taken out.
fn merge_entry(base: &mut Entry, change: Change, key_span: Span, problems: &mut Problems) -> bool {
    let naming = naming_key(base.node.items());
    match change {
        Change::Unset(span) if naming.is_some() => {
            problems.push(fixed_list(&base.key, span));
            false
        }
        Change::Unset(_) => true,
        Change::Append(_, span) if naming.is_some() => {
            problems.push(fixed_list(&base.key, span));
            false
        }
        Change::Append(items, span) => {
            if !matches!(base.node.value, Value::Array(_)) {
                problems.push(
                    Problem::new(
                        Code::OverlayOperator,
                        format!("`append` needs an array, and `{}` is {}", base.key, base.node.kind()),
                        span,
                        "",
                    )
                    .also(base.node.span, "the value it would append to")
                    .help(format!("write the new value itself: `{} = …`", base.key)),
                );
                return false;
            }
            let mut all = base.node.items().to_vec();
            all.extend(items);
            replace(&mut base.node, Node::new(Value::Array(all), span));
            false
        }
        Change::Set(node) => {
            set(base, node, naming, key_span, problems);
            false
        }
    }
}

fn set(base: &mut Entry, node: Node, naming: Option<&'static str>, key_span: Span, problems: &mut Problems) {
    let key = base.key.clone();
    match (&mut base.node.value, node.value, naming) {
        (Value::Array(items), Value::Table(overlay), Some(naming)) => {
            merge_items(&key, items, overlay, naming, problems);
        }
        (Value::Array(_), Value::Array(_), Some(_)) => problems.push(fixed_list(&key, key_span)),
        (Value::Table(table), Value::Table(overlay), _) if !(is_reference(table) && is_reference(&overlay)) => {
            merge_table(table, overlay, None, problems);
        }
        (_, value, _) => replace(
            &mut base.node,
            Node {
                value,
                span: node.span,
                replaced: Vec::new(),
                template: None,
            },
        ),
    }
}

/// Merges a table of named items into the list of them.
fn merge_items(list: &str, items: &mut [Node], overlay: Table, naming: &'static str, problems: &mut Problems) {
    for entry in overlay.entries {
        let names: Vec<String> = items
            .iter()
            .filter_map(|item| item.table()?.text(naming).map(str::to_owned))
            .collect();
        let item = items
            .iter_mut()
            .filter_map(Node::table_mut)
            .find(|item| item.text(naming) == Some(&entry.key));
        let Some(item) = item else {
            let noun = noun(list);
            problems.push(
                Problem::new(
                    Code::OverlayUnknown,
                    format!("there is no {noun} `{}`", entry.key),
                    entry.key_span,
                    format!("not a {noun} of the pipeline"),
                )
                .why(format!(
                    "an overlay changes values of an existing {noun}; it cannot add one"
                ))
                .help(suggest(
                    &entry.key,
                    names.iter().map(String::as_str),
                    "remove this table",
                )),
            );
            continue;
        };
        let operator = entry.node.table().and_then(|table| table.get("unset"));
        if operator.is_some_and(|value| value.table().is_none()) {
            problems.push(fixed_list(list, entry.node.span));
            continue;
        }
        let kind = entry.node.kind();
        match entry.node.value {
            Value::Table(values) => merge_table(item, values, Some(naming), problems),
            _ => problems.push(
                Problem::new(
                    Code::WrongType,
                    format!("`{}` must be a table of values, found {kind}", entry.key),
                    entry.node.span,
                    "",
                )
                .help(format!("name the value: `{}.enabled = false`", entry.key)),
            ),
        }
    }
}

fn replace(base: &mut Node, mut node: Node) {
    let mut old = std::mem::replace(base, Node::new(Value::Boolean(false), node.span));
    let older = std::mem::take(&mut old.replaced);
    node.replaced = std::iter::once(old).chain(older).collect();
    *base = node;
}

/// Whether a table is a reference to a secret: it is replaced whole, its keys exclude each other.
fn is_reference(table: &Table) -> bool {
    matches!(table.entries.as_slice(), [only] if matches!(only.key.as_str(), "secret" | "file" | "command"))
}

fn fixed_list(key: &str, span: Span) -> Problem {
    let noun = noun(key);
    Problem::new(
        Code::OverlayOperator,
        format!("an overlay cannot add, remove or reorder a {noun}"),
        span,
        "",
    )
    .why("what a pipeline consists of stands in the pipeline alone, so that it is the same everywhere")
    .help(format!(
        "change the pipeline, or address one {noun} by its name: `{key}.<name>.<key> = …`{}",
        if key == "step" {
            "; `enabled = false` switches it off"
        } else {
            ""
        }
    ))
}

/// What one item of a list is called.
fn noun(list: &str) -> &str {
    if list.is_empty() { "item" } else { list }
}
