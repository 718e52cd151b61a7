//! `command`: runs a program of the operator's.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::limits::COMMAND_MINUTES;
use crate::secret::TextOrSecret;
use crate::units::Span;

/// The names that variables may have.
pub const VARIABLE_PATTERN: &str = "^[A-Za-z_][A-Za-z0-9_]*$";

/// Runs a program, and goes on when it has ended with 0. No shell reads its arguments, its standard input is empty, and of
/// this process's environment it gets nothing. With `always = true` it runs also when a step before it failed or the run was
/// stopped.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Command {
    /// The program and its arguments. It runs in the project folder, where relative paths start; a program without `/` is
    /// looked for in `PATH`.
    #[schemars(length(min = 1))]
    pub argv: Vec<String>,
    /// The whole environment of the program, by name. `PATH` has the system's folders where it is not among them.
    #[serde(default)]
    pub env: BTreeMap<VariableName, TextOrSecret>,
    /// How long the program may take, default `10min`. Then it and everything it has started is asked to end (SIGTERM), and
    /// killed five seconds later.
    #[serde(default)]
    pub limit: Option<Span>,
}

impl Command {
    /// How long the program may take.
    pub fn limit(&self) -> Duration {
        self.limit.map_or(Duration::from_mins(COMMAND_MINUTES), |limit| limit.0)
    }
}

/// The name of a variable in a program's environment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct VariableName(String);

impl VariableName {
    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for VariableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for VariableName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bytes = text.bytes();
        let begins = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        if begins && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Ok(Self(text));
        }
        let what = "a variable's name has letters, digits and `_`, and begins with no digit";
        Err(serde::de::Error::custom(what))
    }
}

impl JsonSchema for VariableName {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "VariableName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": VARIABLE_PATTERN })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::SecretRef;

    #[test]
    fn a_program_has_ten_minutes_and_no_environment_unless_it_is_said() {
        let read = |text: &str| serde_json::from_str::<Command>(text);
        let plain = read(r#"{"argv":["true"]}"#).unwrap();
        assert!(plain.env.is_empty());
        assert_eq!(plain.limit(), Duration::from_mins(10));
        let full = read(r#"{"argv":["a","b c"],"env":{"A":"x","B_2":{"secret":"KEY"}},"limit":"90s"}"#).unwrap();
        assert_eq!(full.limit(), Duration::from_secs(90));
        let values: Vec<_> = full.env.values().cloned().collect();
        let secret = TextOrSecret::Secret(SecretRef::Secret("KEY".into()));
        assert_eq!(values, [TextOrSecret::Text("x".into()), secret]);
        for wrong in [
            r"{}",
            r#"{"argv":"systemctl stop"}"#,
            r#"{"argv":["a"],"env":{"A-B":"x"}}"#,
            r#"{"argv":["a"],"env":{"A":1}}"#,
            r#"{"argv":["a"],"limit":"5m"}"#,
            r#"{"argv":["a"],"shell":true}"#,
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
