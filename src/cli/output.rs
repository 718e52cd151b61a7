//! Where a rendered outcome goes: the standard output or a file for the result, the standard error for problems.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::fs::atomic;
use crate::outcome::{ExitCode, Outcome};
use crate::report::{Color, Detail, Format, Rendered, View, human};
use crate::secrets::Scrubber;

use super::args::{ColorWhen, Global};
use super::results::{Handed, Out, State, Takes};

impl Global {
    /// The format asked for, by `--json` or `--format`.
    pub fn format(&self) -> Format {
        match (self.json, self.format) {
            (true, _) => Format::Json,
            (false, format) => format.unwrap_or(Format::Human),
        }
    }

    /// The file of `--output`; `None` for the standard output, as which `-` is understood too.
    pub fn file(&self) -> Option<PathBuf> {
        self.output.clone().filter(|file| file != Path::new("-"))
    }
}

/// Where and how results are written.
pub(super) struct Output {
    format: Format,
    file: Option<PathBuf>,
    result: Color,
    problems: Color,
}

impl Output {
    /// What the flags and the environment ask for.
    pub(super) fn new(global: &Global, variables: &BTreeMap<String, String>) -> Self {
        let color = |terminal: bool| match global.color {
            ColorWhen::Always => Color::Ansi,
            ColorWhen::Auto if terminal && wants_color(variables) => Color::Ansi,
            ColorWhen::Auto | ColorWhen::Never => Color::Plain,
        };
        Self {
            format: global.format(),
            file: global.file(),
            result: color(global.file().is_none() && std::io::stdout().is_terminal()),
            problems: color(std::io::stderr().is_terminal()),
        }
    }

    /// Finds out before anything is done whether the result can be left where it was asked for.
    pub(super) fn check(&self) -> Result<(), Box<Diagnostic>> {
        let Some(file) = &self.file else { return Ok(()) };
        let refuse = |what: String, help: &str| {
            let refused = Diagnostic::error(Code::Usage, what)
                .state("nothing was started")
                .help(help);
            Err(Box::new(refused))
        };
        if file.is_dir() {
            return refuse(format!("`{}` is a folder", file.display()), "name a file after `-o`");
        }
        if !folder_of(file).is_dir() {
            let what = format!("the folder of `{}` does not exist", file.display());
            return refuse(what, "make the folder first, or name another file after `-o`");
        }
        Ok(())
    }

    /// Writes the outcome behind what was handed on before, and gives the process's exit code.
    pub(super) fn write(&self, outcome: &Outcome, detail: Detail, handed: &Handed) -> ExitCode {
        let exit = outcome.exit_code();
        let view = View {
            result: self.result,
            problems: self.problems,
            detail,
        };
        let written = match handed.take() {
            State::Nothing => {
                let rendered = self.format.render(outcome, &view);
                print_problems(&rendered.problems);
                match &self.file {
                    Some(_) if handed.takes() == Takes::Bytes => print_result(&rendered.result),
                    Some(file) => write_file(file, &self.for_file(outcome, rendered, detail)),
                    None => print_result(&rendered.result),
                }
            }
            State::List { mut out, key, .. } => {
                let rendered = self.format.end_list(outcome, key, &view);
                print_problems(&rendered.problems);
                let text = match &self.file {
                    Some(_) => self.for_file(outcome, rendered, detail),
                    None => rendered.result,
                };
                let written = out.write(text.as_bytes()).and_then(|()| out.finish());
                unless_enough(written).map_err(|error| handed.unwritten(&error))
            }
            State::Bytes(out) => self.write_beside(outcome, view, out, handed),
        };
        match written {
            Ok(()) => exit,
            Err(problem) => {
                print_problems(&human::diagnostic(&problem, self.problems));
                if exit == ExitCode::Done { ExitCode::Failed } else { exit }
            }
        }
    }

    /// The outcome of bytes stands beside them: on the standard output where they went into a file, else on the standard error.
    fn write_beside(&self, outcome: &Outcome, view: View, out: Out, handed: &Handed) -> Result<(), Box<Diagnostic>> {
        let failed = outcome.diagnostics.iter().any(|one| one.severity == Severity::Error);
        let ended = if failed { out.abandon() } else { out.finish() };
        let rendered = self.format.render(outcome, &view);
        print_problems(&rendered.problems);
        match (&self.file, self.format) {
            (Some(_), _) => print_result(&rendered.result)?,
            (None, Format::Human) => {}
            (None, Format::Json) => print_problems(&rendered.result),
        }
        unless_enough(ended).map_err(|error| handed.unwritten(&error))
    }

    /// A file holds everything, problems too, and no colour unless it was asked for.
    fn for_file(&self, outcome: &Outcome, rendered: Rendered, detail: Detail) -> String {
        let view = View {
            result: self.result,
            problems: self.result,
            detail,
        };
        let problems = self.format.render(outcome, &view).problems;
        match (rendered.result.is_empty(), problems.is_empty()) {
            (_, true) => rendered.result,
            (true, false) => problems,
            (false, false) => format!("{}\n{problems}", rendered.result),
        }
    }
}

/// `NO_COLOR` (any value but an empty one) and a terminal that calls itself dumb want none.
fn wants_color(variables: &BTreeMap<String, String>) -> bool {
    let set = |name: &str| variables.get(name).is_some_and(|value| !value.is_empty());
    !set("NO_COLOR") && variables.get("TERM").is_none_or(|term| term != "dumb")
}

fn folder_of(file: &Path) -> &Path {
    file.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or_else(|| Path::new("."))
}

/// A reader who has seen enough is no failure.
fn unless_enough(written: std::io::Result<()>) -> std::io::Result<()> {
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

fn print_problems(text: &str) {
    let mut stderr = std::io::stderr().lock();
    // There is nobody left to tell when the standard error itself is gone; the exit code still says it all.
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

fn print_result(text: &str) -> Result<(), Box<Diagnostic>> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // Whoever read has seen enough, as in `strongroom list | head`.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(unwritten("the standard output", &error)),
        Ok(()) => Ok(()),
    }
}

/// Replaces `file` whole. What is no regular file, such as `/dev/null` or a pipe, is written into and stays what it is; a
/// link stays a link.
fn write_file(file: &Path, text: &str) -> Result<(), Box<Diagnostic>> {
    let place = std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let written = match std::fs::metadata(&place) {
        Ok(present) if !present.is_file() => std::fs::OpenOptions::new()
            .write(true)
            .open(&place)
            .and_then(|mut file| file.write_all(text.as_bytes())),
        Ok(present) => atomic::write(&place, present.permissions().mode() & 0o7777, text.as_bytes()),
        Err(_) => atomic::write(&place, mode_of_new_files(), text.as_bytes()),
    };
    written.map_err(|error| unwritten(&format!("`{}`", file.display()), &error))
}

pub(super) fn unwritten(place: &str, error: &std::io::Error) -> Box<Diagnostic> {
    Box::new(
        Diagnostic::error(Code::Internal, format!("the result could not be written to {place}"))
            .why(error.to_string())
            .state("what the command did stands"),
    )
}

/// What the operator's umask leaves of 0666; where `/proc` does not say, for the owner alone.
pub(super) fn mode_of_new_files() -> u32 {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let mask = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
            u32::from_str_radix(mask.trim(), 8).ok()
        })
        .map_or(0o600, |mask| 0o666 & !mask)
}

/// Tells of a command line that clap does not understand, or shows the help or the version that it asks for.
pub(super) fn not_understood(words: &[OsString], error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // The reader of a help text may close the pipe; there is nothing else to lose.
        let _ = error.print();
        return ExitCode::Done;
    }
    if asks_for_json(words) {
        let text = error.render().to_string();
        let what = text.lines().next().unwrap_or_default();
        let what = what.strip_prefix("error: ").unwrap_or(what);
        let problem = Diagnostic::error(Code::Usage, what)
            .state("nothing was started")
            .help("see `strongroom --help`");
        let outcome = Outcome::failed("strongroom", "wrong command line", vec![problem]);
        let rendered = Format::Json.render(&outcome, &View::default());
        return print_result(&rendered.result).map_or(ExitCode::Failed, |()| ExitCode::Usage);
    }
    let _ = error.print();
    ExitCode::Usage
}

/// Whether the words ask for JSON, found without clap, which has just given up on them.
fn asks_for_json(words: &[OsString]) -> bool {
    let is = |word: &OsString, text: &str| word.to_str() == Some(text);
    words.iter().any(|word| is(word, "--json") || is(word, "--format=json"))
        || words
            .iter()
            .zip(words.iter().skip(1))
            .any(|(flag, value)| is(flag, "--format") && is(value, "json"))
}

/// Replaces the panic message: a fault of this program is told like any other problem, scrubbed of secret values.
pub(super) fn report_panics(scrubber: Scrubber) {
    std::panic::set_hook(Box::new(move |panic| {
        let why = panic.payload_as_str().unwrap_or("no message").to_owned();
        let at = panic
            .location()
            .map_or_else(String::new, |at| format!(" ({}:{})", at.file(), at.line()));
        let problem = Diagnostic::error(Code::Internal, "a fault of strongroom itself")
            .why(scrubber.scrub(&format!("{why}{at}")))
            .state("what was confirmed before this stands; nothing else is certain")
            .help("please report it with the command line that led here");
        print_problems(&human::diagnostic(&problem, Color::Plain));
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_seen_in_words_that_clap_refuses() {
        let asks = |words: &[&str]| asks_for_json(&words.iter().map(OsString::from).collect::<Vec<_>>());
        assert!(asks(&["strongroom", "nonsense", "--json"]));
        assert!(asks(&["strongroom", "--format", "json", "nonsense"]));
        assert!(asks(&["strongroom", "--format=json"]));
        assert!(!asks(&["strongroom", "json", "--format", "human"]));
    }

    #[test]
    fn no_color_is_heeded_unless_empty() {
        let with = |name: &str, value: &str| wants_color(&BTreeMap::from([(name.to_owned(), value.to_owned())]));
        assert!(!with("NO_COLOR", "1") && !with("TERM", "dumb"));
        assert!(with("NO_COLOR", "") && with("TERM", "xterm-256color"));
    }
}
