//! `assert`: judges what was unpacked before it is put in place, or instead of putting it in place.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::SourceName;
use crate::limits::COMMAND_MINUTES;
use crate::restore::judge::Check;
use crate::units::Span;

/// Judges what was unpacked. What does not hold ends the run with 4; nothing present was touched then.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Assert {
    /// Asks SQLite whether each database of a `sqlite` source is whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sqlite: Option<Sqlite>,
    /// Compares each log of an `append-log` source with what the backup's record says of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub append_log: Option<AppendLog>,
    /// How many entries all sources must have together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_entries: Option<u64>,
    /// How old the backup may be, such as `36h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Span>,
    /// What single sources must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expect: Vec<Expect>,
    /// A program and its arguments, run without a shell and with nothing in its environment but `PATH`, in a folder that has
    /// each source under its name, as `restore --to` lays it out. It must end with 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(length(min = 1)))]
    pub command: Vec<String>,
    /// How long the program may take, default `10min`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Span>,
}

/// How a database is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Sqlite {
    /// `PRAGMA quick_check`: every page and record.
    Quick,
    /// `PRAGMA integrity_check`: indexes too; several times slower.
    Integrity,
}

impl From<Sqlite> for Check {
    fn from(sqlite: Sqlite) -> Self {
        match sqlite {
            Sqlite::Quick => Self::Quick,
            Sqlite::Integrity => Self::Integrity,
        }
    }
}

/// How a log is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum AppendLog {
    /// It has the length, the records and the digest that were recorded when it was captured, and ends with a whole record.
    Prefix,
}

/// What a source must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(inline)]
pub struct Expect {
    /// The source's name.
    pub name: SourceName,
    /// How many entries it must have.
    pub min_entries: u64,
}

impl Assert {
    /// Whether nothing is judged.
    pub fn is_empty(&self) -> bool {
        *self
            == Self {
                limit: self.limit,
                ..Self::default()
            }
    }

    /// How long the program may take.
    pub fn limit(&self) -> Duration {
        self.limit.map_or(Duration::from_mins(COMMAND_MINUTES), |limit| limit.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_judges_nothing_is_known() {
        let read = |text: &str| serde_json::from_str::<Assert>(text).unwrap();
        assert!(read("{}").is_empty());
        assert!(read(r#"{"limit":"5s"}"#).is_empty());
        for text in [
            r#"{"sqlite":"quick"}"#,
            r#"{"append-log":"prefix"}"#,
            r#"{"min-entries":1}"#,
            r#"{"max-age":"36h"}"#,
            r#"{"expect":[{"name":"events","min-entries":3}]}"#,
            r#"{"command":["true"]}"#,
        ] {
            assert!(!read(text).is_empty(), "{text}");
            let again = serde_json::to_string(&read(text)).unwrap();
            assert_eq!(read(&again), read(text));
        }
    }

    #[test]
    fn a_word_that_it_does_not_know_is_refused() {
        for text in [
            r#"{"sqlite":"fast"}"#,
            r#"{"append-log":true}"#,
            r#"{"expect":[{"min-entries":1}]}"#,
            r#"{"max-age":"1m"}"#,
        ] {
            assert!(serde_json::from_str::<Assert>(text).is_err(), "{text}");
        }
    }
}
