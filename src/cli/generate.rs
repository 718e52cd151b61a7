//! Files that are written from tables and doc comments, never by hand.

use std::path::Path;

use clap::CommandFactory as _;

use crate::outcome::Outcome;

use super::args::Cli;
use super::request::Compare;

/// Every generated file that this floor knows of: its path below the project folder, and its text.
pub fn generated() -> Vec<(String, String)> {
    Vec::new()
}

/// The completion script of a shell.
pub(super) fn completions(shell: clap_complete::Shell) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "strongroom", &mut script);
    let mut outcome = Outcome::new("completions", "");
    outcome.text = Some(String::from_utf8_lossy(&script).into_owned());
    outcome
}

/// The man page, or all of them into `folder`.
pub(super) fn man(_folder: Option<&Path>) -> Outcome {
    Outcome::new("man", "")
}

/// Writes the generated files below `project`, or compares them.
pub(super) fn generate(_project: &Path, _compare: Compare) -> Outcome {
    Outcome::new("generate", "")
}
