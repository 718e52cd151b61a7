//! `command`: runs a program of the operator's, journalled before it starts; what it says passes the scrubber.

use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};

use crate::diagnostic::{Code, Diagnostic};
use crate::limits;
use crate::outcome::{Outcome, Table};
use crate::pipeline::PlannedStep;
use crate::process::{self, Output, ProcessError, Take};
use crate::secret::{Secret, TextOrSecret};
use crate::secrets::Scrubber;
use crate::steps::command::Command;

use super::evidence::Ended;
use super::{Failure, Runner, with_state};

/// Characters of a program's last line that the table shows; JSON has the rest.
const LINE_SHOWN: usize = 100;

/// A program that was run, for the report.
pub(super) struct Ran {
    step: String,
    line: String,
    ended: String,
    exit: Option<i32>,
    milliseconds: u64,
    stdout: String,
    stderr: String,
}

/// How long a program that is to end has for it.
pub(super) const PATIENCE: std::time::Duration = std::time::Duration::from_secs(limits::COMMAND_PATIENCE_SECONDS);

impl Runner<'_> {
    /// Runs the program of a step; `standing` says what is true of the data where it fails. A step that always runs is not
    /// ended by a signal that stops the run: it puts right what the steps before it have begun.
    pub(super) async fn command(
        &mut self,
        planned: &PlannedStep,
        settings: &Command,
        standing: &str,
    ) -> Result<String, Failure> {
        let mut env = Vec::new();
        for (name, value) in &settings.env {
            let value = match value {
                TextOrSecret::Text(text) => Secret::new(text.clone()),
                TextOrSecret::Secret(reference) => {
                    let resolved = self.evidence.secrets().resolve(reference).await;
                    resolved.map_err(|error| vec![Diagnostic::of(&error).state(standing)])?
                }
            };
            env.push((name.to_string(), value));
        }
        let project = self.plan.project().to_owned();
        let command = process::Command {
            argv: argv(&settings.argv, &project),
            env,
            folder: Some(project),
            timeout: settings.limit(),
            patience: PATIENCE,
            stdout: Take::End,
        };
        self.evidence.command_started(&planned.id, &settings.argv)?;
        let begun = Instant::now();
        let ran = if planned.always {
            process::run(command).await
        } else {
            process::run_until(command, self.context.stop.token().cancelled()).await
        };
        let milliseconds = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let ran_as = Ran::new(planned, settings, &ran, milliseconds, &self.context.scrubber);
        let ended = Ended {
            how: &ran_as.ended,
            exit: ran_as.exit,
            milliseconds,
            said: ran_as.said(),
        };
        self.evidence.command_ended(&planned.id, ran.is_ok(), &ended)?;
        let result = match &ran {
            Ok(_) => Ok(format!("`{}` {}", ran_as.line, ran_as.ended)),
            Err(ProcessError::Stopped { .. }) => Err(vec![self.stopped(standing)]),
            Err(error) => Err(with_state(vec![failed(error, &ran_as)], standing)),
        };
        self.ran.push(ran_as);
        result
    }
}

/// The arguments as the operating system takes them: a program that is named by a relative path lies in the project.
fn argv(words: &[String], project: &Path) -> Vec<std::ffi::OsString> {
    let mut argv: Vec<std::ffi::OsString> = words.iter().map(Into::into).collect();
    if let Some(program) = argv.first_mut()
        && words.first().is_some_and(|word| word.contains('/'))
    {
        *program = project.join(&*program).into_os_string();
    }
    argv
}

fn failed(error: &ProcessError, ran: &Ran) -> Diagnostic {
    let mut problem = Diagnostic::of(error);
    problem.code = Code::ProcessFailed;
    problem.state = None;
    let said = ran.said();
    if !said.is_empty() {
        problem.why = Some(said.to_owned());
    }
    match error {
        ProcessError::Failed { .. } => {
            problem.help("see what it says; run it by hand as the same user, with the same variables and no others")
        }
        ProcessError::Timeout { .. } => problem.help("give it longer by `limit`, or find out what it waits for"),
        _ => problem,
    }
}

impl Ran {
    fn new(
        planned: &PlannedStep,
        settings: &Command,
        ran: &Result<Output, ProcessError>,
        milliseconds: u64,
        scrubber: &Scrubber,
    ) -> Self {
        let (ended, exit, output) = match ran {
            Ok(output) => ("ended with exit code 0".to_owned(), Some(0), Some(output)),
            Err(error) => {
                let exit = match error {
                    ProcessError::Failed { status, .. } => status.code(),
                    _ => None,
                };
                // What comes first is the program's name, which stands beside it.
                let text = error.to_string();
                let ended = text
                    .rsplit_once("` ")
                    .map_or(text.as_str(), |(_, ended)| ended)
                    .to_owned();
                (ended, exit, error.output())
            }
        };
        let said = |bytes: fn(&Output) -> &[u8]| output.map_or_else(String::new, |output| scrubber.said(bytes(output)));
        Self {
            step: planned.id.to_string(),
            line: line(&settings.argv),
            ended,
            exit,
            milliseconds,
            stdout: said(|output| &output.stdout),
            stderr: said(|output| &output.stderr),
        }
    }

    /// What it said, where programs say what matters.
    fn said(&self) -> &str {
        if self.stderr.is_empty() {
            &self.stdout
        } else {
            &self.stderr
        }
    }
}

impl Runner<'_> {
    /// What a program said, where programs say why they failed.
    pub(super) fn said(&self, output: &Output) -> String {
        let scrubber = &self.context.scrubber;
        let said = scrubber.said(&output.stderr);
        if said.is_empty() {
            scrubber.said(&output.stdout)
        } else {
            said
        }
    }
}

/// Adds what was run to a report.
pub(super) fn tell(ran: &[Ran], outcome: &mut Outcome) {
    if ran.is_empty() {
        return;
    }
    let mut table = Table {
        title: "programs that were run".into(),
        columns: ["step", "program", "ended", "time", "said last"]
            .map(String::from)
            .to_vec(),
        rows: Vec::new(),
    };
    let mut list: Vec<Value> = Vec::new();
    for ran in ran {
        let last = ran.said().lines().next_back().unwrap_or_default();
        table.rows.push(vec![
            ran.step.clone(),
            ran.line.clone(),
            ran.ended.clone(),
            format!("{}.{:03} s", ran.milliseconds / 1000, ran.milliseconds % 1000),
            last.chars().take(LINE_SHOWN).collect(),
        ]);
        list.push(json!({
            "step": ran.step, "program": ran.line, "ended": ran.ended, "exit": ran.exit,
            "milliseconds": ran.milliseconds, "stdout": ran.stdout, "stderr": ran.stderr,
        }));
    }
    outcome.tables.push(table);
    outcome.json.insert("commands".into(), list.into());
}

/// The arguments as one line that a shell would read the same way.
pub(super) fn line(words: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@=%".contains(c);
    let quoted = words.iter().map(|word| {
        if !word.is_empty() && word.chars().all(plain) {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', "'\\''"))
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_where_each_argument_ends() {
        let words = ["systemctl", "stop", "a b", "", "it's", "--x=1"].map(String::from);
        assert_eq!(line(&words), "systemctl stop 'a b' '' 'it'\\''s' --x=1");
    }

    #[test]
    fn a_program_named_by_a_relative_path_lies_in_the_project() {
        let project = Path::new("/srv/project");
        let first = |word: &str| argv(&[word.to_owned(), "scripts/x".to_owned()], project);
        assert_eq!(first("scripts/stop.sh"), ["/srv/project/scripts/stop.sh", "scripts/x"]);
        assert_eq!(first("systemctl"), ["systemctl", "scripts/x"]);
        assert_eq!(first("/bin/true"), ["/bin/true", "scripts/x"]);
    }
}
