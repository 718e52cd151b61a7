//! `schema`: prints a JSON Schema.

use crate::diagnostic::{Code, Diagnostic};
use crate::outcome::Outcome;
use crate::pipeline::{environment_schema, pipeline_schema};

use super::Session;
use super::request::SchemaRequest;

/// Gives the schema as text.
pub fn run(request: SchemaRequest, _: &Session) -> Outcome {
    let schema = match request {
        SchemaRequest::Pipeline => pipeline_schema(),
        SchemaRequest::Environment => environment_schema(),
    };
    let mut outcome = Outcome::new("schema", "");
    match serde_json::to_string_pretty(&schema) {
        Ok(text) => outcome.text = Some(text + "\n"),
        Err(error) => {
            let problem = Diagnostic::error(Code::Internal, "the schema cannot be written").why(error.to_string());
            outcome.diagnostics.push(problem);
        }
    }
    outcome
        .json
        .insert("schema".into(), serde_json::to_value(schema).unwrap_or_default());
    outcome
}
