//! Lists that are written while they are made, in each format.

use crate::outcome::{Item, Outcome};

use super::{Format, Rendered, View, human, json};

/// Whether an item is the first of its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    /// It is.
    First,
    /// Others came before it.
    Further,
}

impl Format {
    /// What comes before the list `key` of `command`.
    pub fn begin_list(self, command: &str, key: &str) -> String {
        match self {
            Self::Human => String::new(),
            Self::Json => json::begin(command, key),
        }
    }

    /// One item, complete.
    pub fn item(self, item: &Item, rank: Rank) -> String {
        match (self, rank) {
            (Self::Human, _) => {
                let lines: Vec<String> = item.text.lines().map(human::clean).collect();
                lines.join("\n") + "\n"
            }
            (Self::Json, Rank::First) => format!("\n{}", item.json),
            (Self::Json, Rank::Further) => format!(",\n{}", item.json),
        }
    }

    /// What comes behind the list, and what is told beside it.
    pub fn end_list(self, outcome: &Outcome, key: &str, view: &View) -> Rendered {
        match self {
            Self::Human => human::render(outcome, view),
            Self::Json => Rendered {
                result: json::end(outcome, key),
                problems: String::new(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn item(name: &str) -> Item {
        Item {
            text: name.to_owned(),
            json: json!({ "name": name }),
        }
    }

    fn written(format: Format, names: &[&str]) -> String {
        let mut outcome = Outcome::new("ls", "");
        outcome.field("count", "count", "2", names.len());
        let mut text = format.begin_list("ls", "entries");
        for (number, name) in names.iter().enumerate() {
            let rank = if number == 0 { Rank::First } else { Rank::Further };
            text += &format.item(&item(name), rank);
        }
        text + &format.end_list(&outcome, "entries", &View::default()).result
    }

    #[test]
    fn a_list_is_one_document_with_an_item_on_each_line() {
        let text = written(Format::Json, &["a", "b\n"]);
        assert_eq!(text.lines().count(), 4, "{text}");
        let document: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["entries"], json!([{ "name": "a" }, { "name": "b\n" }]));
        assert_eq!((&document["exit"], &document["count"]), (&json!(0), &json!(2)));
        let empty: Value = serde_json::from_str(&written(Format::Json, &[])).unwrap();
        assert_eq!(empty["entries"], json!([]));
    }

    #[test]
    fn no_item_can_draw_on_the_terminal() {
        let text = written(Format::Human, &["a\u{1b}[2J", "b\u{202e}"]);
        assert!(text.starts_with("a\\u{1b}[2J\nb\\u{202e}\n"), "{text}");
    }
}
