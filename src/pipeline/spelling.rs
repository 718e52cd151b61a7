//! Says what is wrong with a text that should be a name or a quantity, in the words of the type that reads it.

use std::fmt::Display;
use std::str::FromStr;

use schemars::{JsonSchema, SchemaGenerator};

use crate::archive::policy::{KEEP_PATTERN, Window};
use crate::id::{NAME_PATTERN, StepId};
use crate::units::{ByteCount, Share, Span};

/// What is wrong with a text, and how it is written.
pub(super) struct Misspelt {
    /// What is wrong.
    pub(super) what: String,
    /// How to write it.
    pub(super) help: String,
}

/// Explains why `text` does not match a pattern that a schema demands; `None` for a pattern that no type stands behind.
pub(super) fn explain(pattern: &str, text: &str) -> Option<Misspelt> {
    if pattern == NAME_PATTERN {
        return Some(Misspelt {
            what: name_fault(text),
            help: format!("call it `{}`", as_name(text)),
        });
    }
    if pattern == KEEP_PATTERN {
        return Some(Misspelt {
            what: format!("`{text}` is neither a number nor `unlimited`"),
            help: "write a number without quotes, or `\"unlimited\"`".to_owned(),
        });
    }
    quantity::<Span>(pattern, text, "`30s`, `10min`, `36h` or `7d`")
        .or_else(|| quantity::<ByteCount>(pattern, text, "`64 MiB`"))
        .or_else(|| quantity::<Window>(pattern, text, "`36h`, `7d` or `1y6m`"))
        .or_else(|| quantity::<Share>(pattern, text, "`30%`"))
}

/// Explains a quantity whose schema has exactly this pattern.
fn quantity<T: JsonSchema + FromStr<Err: Display>>(pattern: &str, text: &str, samples: &str) -> Option<Misspelt> {
    let schema = T::json_schema(&mut SchemaGenerator::default());
    if schema.get("pattern")?.as_str()? != pattern {
        return None;
    }
    Some(Misspelt {
        what: text.parse::<T>().err()?.to_string(),
        help: format!("write a value such as {samples}"),
    })
}

/// What is wrong with a name.
pub(super) fn name_fault(text: &str) -> String {
    match text.parse::<StepId>() {
        Err(error) => error.to_string(),
        Ok(_) => format!("`{text}` does not fit"),
    }
}

/// The kebab-case name that comes closest to a text.
pub(super) fn as_name(text: &str) -> String {
    let mut name = String::new();
    for character in text.chars() {
        let previous_lower = name.chars().last().is_some_and(|last| last.is_ascii_lowercase());
        if character.is_ascii_uppercase() && previous_lower {
            name.push('-');
        }
        match character.to_ascii_lowercase() {
            plain @ ('a'..='z' | '0'..='9') => name.push(plain),
            _ if !name.is_empty() && !name.ends_with('-') => name.push('-'),
            _ => {}
        }
    }
    let name = name.trim_matches('-').to_owned();
    if name.starts_with(|first: char| first.is_ascii_lowercase()) {
        name.chars().take(63).collect()
    } else {
        format!("n{name}").chars().take(63).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern_of<T: JsonSchema>() -> String {
        let schema = T::json_schema(&mut SchemaGenerator::default());
        schema.get("pattern").unwrap().as_str().unwrap().to_owned()
    }

    #[test]
    fn a_wrong_unit_is_explained_by_the_unit_itself() {
        let what = |pattern: String, text: &str| explain(&pattern, text).unwrap().what;
        assert!(what(pattern_of::<Span>(), "5m").contains("write `min`"));
        assert!(what(pattern_of::<Span>(), "soon").contains("duration with its unit"));
        assert!(what(pattern_of::<ByteCount>(), "64").contains("size with its unit"));
        assert!(what(pattern_of::<Share>(), "30").contains("share"));
        assert!(what(pattern_of::<Window>(), "3min").contains("3min"));
    }

    #[test]
    fn what_is_offered_can_be_read() {
        for text in ["30s", "10min", "36h", "7d"] {
            assert!(text.parse::<Span>().is_ok(), "{text}");
        }
        for text in ["36h", "7d", "1y6m"] {
            assert!(text.parse::<Window>().is_ok(), "{text}");
        }
        assert!("64 MiB".parse::<ByteCount>().is_ok() && "30%".parse::<Share>().is_ok());
    }

    #[test]
    fn a_wrong_name_gets_a_right_one() {
        for (wrong, right) in [
            ("Keep_Daily", "keep-daily"),
            ("keepDaily", "keep-daily"),
            ("1st", "n1st"),
            ("a b", "a-b"),
            ("\u{e9}", "n"),
        ] {
            assert_eq!(as_name(wrong), right);
            assert!(as_name(wrong).parse::<StepId>().is_ok());
        }
    }
}
