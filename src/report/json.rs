//! The format for programs: one JSON document on one line.
//!
//! Keys come in a fixed order: `version`, `command`, `exit`, `headline`, the command's fields, the command's own JSON,
//! `text` where the result is a text, `diagnostics`. `version` counts changes that a reader would notice.
//!
//! A list that may be long is written while it is made: it stands behind `command`, each item on a line of its own, and what is known
//! only at the end follows it.

use serde_json::{Map, Value};

use crate::outcome::Outcome;

use super::{Rendered, View};

/// The version of the document.
pub const VERSION: u32 = 1;

/// Keys that belong to the document and that no command can take.
const RESERVED: [&str; 5] = ["version", "command", "exit", "headline", "diagnostics"];

/// Renders `outcome` as one line.
pub fn render(outcome: &Outcome, _: &View) -> Rendered {
    let mut result = Value::Object(document(outcome)).to_string();
    result.push('\n');
    Rendered {
        result,
        problems: String::new(),
    }
}

/// The beginning of a document whose list `key` is written while it is made, up to its first item.
pub(super) fn begin(command: &str, key: &str) -> String {
    let command = Value::from(command);
    let key = Value::from(key);
    format!("{{\"version\":{VERSION},\"command\":{command},{key}:[")
}

/// The end of such a document: the list is closed, and what else there is follows it.
pub(super) fn end(outcome: &Outcome, key: &str) -> String {
    let mut rest = document(outcome);
    rest.retain(|name, _| name != "version" && name != "command" && name != key);
    let rest = Value::Object(rest).to_string();
    format!("\n],{}\n", rest.strip_prefix('{').unwrap_or(&rest))
}

fn document(outcome: &Outcome) -> Map<String, Value> {
    let mut document = Map::new();
    document.insert("version".into(), VERSION.into());
    document.insert("command".into(), outcome.command.as_str().into());
    document.insert("exit".into(), outcome.exit_code().number().into());
    document.insert("headline".into(), outcome.headline.as_str().into());
    let fields = outcome
        .fields
        .iter()
        .map(|field| (field.key, &field.json, field.listed));
    let further = outcome.json.iter().map(|(key, value)| (key.as_str(), value, false));
    for (key, value, listed) in fields.chain(further) {
        if RESERVED.contains(&key) {
            continue;
        }
        if !listed {
            document.insert(key.to_owned(), value.clone());
        } else if let Some(Value::Array(items)) = document.get_mut(key) {
            items.push(value.clone());
        } else {
            document.insert(key.to_owned(), vec![value.clone()].into());
        }
    }
    if let Some(text) = &outcome.text {
        document.entry("text").or_insert_with(|| text.as_str().into());
    }
    let diagnostics = outcome.diagnostics.iter().map(|diagnostic| {
        // A diagnostic is plain data: strings, numbers and lists. Serializing it cannot fail.
        serde_json::to_value(diagnostic).unwrap_or(Value::Null)
    });
    document.insert("diagnostics".into(), diagnostics.collect());
    document
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::diagnostic::{Code, Diagnostic};

    #[test]
    fn one_line_with_its_keys_in_order() {
        let mut outcome = Outcome::new("backup", "stored");
        outcome.field("backup", "Backup", "20261121T215100Z-9c41", "20261121T215100Z-9c41");
        outcome.json.insert("bytes".into(), json!(12));
        outcome
            .diagnostics
            .push(Diagnostic::warning(Code::SourceChanging, "`a` kept changing"));
        let text = render(&outcome, &View::default()).result;
        assert_eq!(
            text,
            concat!(
                r#"{"version":1,"command":"backup","exit":3,"headline":"stored","backup":"20261121T215100Z-9c41","bytes":12,"#,
                r#""diagnostics":[{"severity":"warning","code":"source-changing","what":"`a` kept changing","places":[],"#,
                r#""why":null,"state":null,"help":null,"pipeline":null,"step":null,"environment":null}]}"#,
                "\n"
            )
        );
    }

    #[test]
    fn several_facts_under_one_key_are_all_told() {
        let mut outcome = Outcome::new("restore", "done");
        outcome.listed_field("kept", "kept", "one", json!({ "source": "one" }));
        assert_eq!(document(&outcome).get("kept"), Some(&json!([{ "source": "one" }])));
        outcome.listed_field("kept", "kept", "other", json!({ "source": "other" }));
        let both = json!([{ "source": "one" }, { "source": "other" }]);
        assert_eq!(document(&outcome).get("kept"), Some(&both));
    }

    #[test]
    fn a_command_cannot_take_a_key_of_the_document() {
        let mut outcome = Outcome::new("list", "none");
        outcome.json.insert("exit".into(), json!("x"));
        outcome.json.insert("diagnostics".into(), json!("x"));
        let document = document(&outcome);
        assert_eq!(document.get("exit"), Some(&json!(0)));
        assert_eq!(document.get("diagnostics"), Some(&json!([])));
    }
}
