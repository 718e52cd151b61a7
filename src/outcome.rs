//! What a command leaves behind: a small view model that every report format renders, and the exit code.
//!
//! Commands fill it, `report` renders it and nothing else.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::diagnostic::{Diagnostic, Severity};

/// How the process ends: see [`crate::diagnostic`], where each kind of problem names its own.
pub use crate::diagnostic::ExitCode;

/// One value of a view: what people read and what programs read.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Key in JSON, kebab-case.
    pub key: &'static str,
    /// Label for people.
    pub label: String,
    /// Text for people.
    pub text: String,
    /// Value for programs.
    pub json: Value,
    /// Whether the key has a list, of which the value is one item.
    pub listed: bool,
}

/// A table for people; programs read the same facts from `Outcome::json`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// What the rows are; empty for none.
    pub title: String,
    /// Column heads.
    pub columns: Vec<String>,
    /// Cells, one list a row.
    pub rows: Vec<Vec<String>>,
}

/// One item of a list that is handed on while it is made: what people read and what programs read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Item {
    /// Text for people, a line or a few.
    pub text: String,
    /// Value for programs.
    pub json: Value,
}

/// The result of a command.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// The command's name, `backup`.
    pub command: String,
    /// One sentence that says what came of it.
    pub headline: String,
    /// Facts in order.
    pub fields: Vec<Field>,
    /// Tables in order.
    pub tables: Vec<Table>,
    /// Text that is the result itself (a schema, an explained manifest), printed as it is.
    pub text: Option<String>,
    /// Problems, sorted by place.
    pub diagnostics: Vec<Diagnostic>,
    /// Everything programs read beyond `fields`.
    pub json: Map<String, Value>,
    /// Exit code asked for by the command itself; the problems may make it worse.
    pub exit: Option<ExitCode>,
}

impl Outcome {
    /// An outcome of `command` that says `headline`.
    pub fn new(command: impl Into<String>, headline: impl Into<String>) -> Self {
        Self {
            command: command.into(),
            headline: headline.into(),
            ..Self::default()
        }
    }

    /// An outcome that is nothing but problems.
    pub fn failed(command: impl Into<String>, headline: impl Into<String>, diagnostics: Vec<Diagnostic>) -> Self {
        Self {
            diagnostics,
            ..Self::new(command, headline)
        }
    }

    /// Adds a fact.
    pub fn field(
        &mut self,
        key: &'static str,
        label: impl Into<String>,
        text: impl Into<String>,
        json: impl Serialize,
    ) -> &mut Self {
        let json = serde_json::to_value(json).unwrap_or(Value::Null);
        self.fields.push(Field {
            key,
            label: label.into(),
            text: text.into(),
            json,
            listed: false,
        });
        self
    }

    /// Adds a fact of which there may be several: programs read a list of them under the key.
    pub fn listed_field(
        &mut self,
        key: &'static str,
        label: impl Into<String>,
        text: impl Into<String>,
        json: impl Serialize,
    ) -> &mut Self {
        self.field(key, label, text, json);
        if let Some(field) = self.fields.last_mut() {
            field.listed = true;
        }
        self
    }

    /// The exit code: the first error's, else what the command asked for, else 3 where there is a warning, else 0.
    pub fn exit_code(&self) -> ExitCode {
        let error = self.diagnostics.iter().find(|d| d.severity == Severity::Error);
        let warned = self.diagnostics.iter().any(|d| d.severity == Severity::Warning);
        match (error, self.exit) {
            (Some(error), _) => match error.code.exit() {
                ExitCode::Done | ExitCode::Warnings => ExitCode::Failed,
                code => code,
            },
            (None, Some(exit)) => exit,
            (None, None) if warned => ExitCode::Warnings,
            (None, None) => ExitCode::Done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Code;

    #[test]
    fn a_warning_ends_with_3_and_an_error_with_its_own_code() {
        let mut outcome = Outcome::new("backup", "done");
        assert_eq!(outcome.exit_code(), ExitCode::Done);
        outcome
            .diagnostics
            .push(Diagnostic::warning(Code::SourceUnreadable, "x"));
        assert_eq!(outcome.exit_code(), ExitCode::Warnings);
        outcome.diagnostics.push(Diagnostic::error(Code::Damaged, "x"));
        assert_eq!(outcome.exit_code().number(), 4);
    }

    #[test]
    fn exit_codes_are_the_promised_numbers() {
        let numbers: Vec<u8> = ExitCode::ALL.iter().map(|(code, _)| code.number()).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 10, 11, 12, 78, 130, 143]);
    }
}
