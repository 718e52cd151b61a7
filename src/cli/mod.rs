//! The command line: reads arguments and the environment, chooses a format, prints, exits.
//!
//! This is the only part of the program that does any of these. What a verb does is in `commands`.

pub mod args;
pub mod generate;
pub mod request;

mod dispatch;
mod input;
mod output;
mod progress;
mod prompt;
mod reading;
mod results;
mod screen;
mod signals;
mod trace;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Parser as _;

use crate::clock::SystemClock;
use crate::commands::results::Results;
use crate::commands::{Prompt, Session, Stop};
use crate::diagnostic::{Code, Diagnostic};
use crate::event::{Events, Listener};
use crate::outcome::{ExitCode, Outcome};
use crate::report::{self, Detail, Format};
use crate::secrets::Scrubber;

use self::args::{Cli, Global, Verb};
use self::output::Output;
use self::request::{Request, Typed};
use self::results::{Handed, Takes};
use self::screen::Screen;

/// Runs the program on the process's own arguments and environment.
pub fn main() -> std::process::ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    let variables: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let scrubber = Scrubber::new();
    output::report_panics(scrubber.clone());
    let run = || run(&words, variables, &scrubber);
    // A panic is a fault of this program; the hook has told of it, and the promised exit codes have no other for it.
    let exit = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_or(ExitCode::Failed);
    std::process::ExitCode::from(exit.number())
}

fn run(words: &[OsString], variables: BTreeMap<String, String>, scrubber: &Scrubber) -> ExitCode {
    let Cli { global, verb } = match Cli::try_parse_from(words) {
        Ok(cli) => cli,
        Err(error) => return output::not_understood(words, &error),
    };
    let output = Output::new(&global, &variables);
    let name = verb.name();
    let detail = if global.quiet && verb.does() {
        Detail::Problems
    } else {
        Detail::Full
    };
    let stop = Stop::default();
    let screen = screen(&global, &verb);
    let takes = if verb.gives_bytes() {
        Takes::Bytes
    } else {
        Takes::Anything
    };
    let handed = Arc::new(Handed::new(global.format(), (global.file(), takes), scrubber.clone()));
    let outcome = prepare(&global, variables, &handed, &stop, &screen).and_then(|(session, folder)| {
        let typed = Typed {
            environment: global.env.clone(),
            folder: &folder,
            project: &session.project,
            output: global.output.as_deref(),
        };
        let request = typed.request(verb)?;
        output.check()?;
        carry_out(request, &session, &screen)
    });
    let mut outcome = outcome.unwrap_or_else(|refused| Outcome::failed(name, "", vec![*refused]));
    screen.clear();
    report::scrub(&mut outcome, &|text| scrubber.scrub(text).into_owned());
    output.write(&outcome, detail, &handed)
}

/// Makes the session; the folder beside it is the current one.
fn prepare(
    global: &Global,
    variables: BTreeMap<String, String>,
    handed: &Arc<Handed>,
    stop: &Stop,
    screen: &Screen,
) -> Result<(Session, PathBuf), Box<Diagnostic>> {
    let folder = std::env::current_dir().map_err(|error| {
        Box::new(Diagnostic::error(Code::Usage, "the current folder cannot be found").why(error.to_string()))
    })?;
    let project = project(global.project.as_deref(), &folder)?;
    let scrubber = handed.scrubber();
    let log = variables.get("STRONGROOM_LOG").map(String::as_str);
    let debug_requested = trace::start(global.verbose, log, screen, scrubber)?;
    signals::listen(stop, screen).map_err(|error| {
        Box::new(Diagnostic::error(Code::Internal, "signals cannot be caught").why(error.to_string()))
    })?;
    let mut events = Events::none();
    if let Some(listener) = listener(global, screen, scrubber) {
        events.add(listener);
    }
    let session = Session {
        project,
        variables,
        clock: Arc::new(SystemClock),
        events,
        stop: stop.clone(),
        results: Arc::clone(handed) as Arc<dyn Results>,
        prompt: prompt(screen),
        scrubber: scrubber.clone(),
        debug_requested,
        version: env!("CARGO_PKG_VERSION"),
    };
    Ok((session, folder))
}

/// Runs the request to its end. A run is told of a signal and ends by itself; what only reads is dropped.
fn carry_out(request: Request, session: &Session, screen: &Screen) -> Result<Outcome, Box<Diagnostic>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            Box::new(Diagnostic::error(Code::Internal, "the runtime cannot be started").why(error.to_string()))
        })?;
    let ends_by_itself = matches!(
        request,
        Request::Run(_) | Request::Rollback(_) | Request::Forget(_) | Request::Sweep(_)
    );
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = dispatch::dispatch(request, session) => Ok(outcome),
            () = session.stop.token().cancelled(), if !ends_by_itself => Err(stopped(&session.stop)),
        }
    });
    screen.clear();
    // What still runs on the blocking pool only reads; waiting for it would keep a stopped program alive.
    runtime.shutdown_background();
    outcome
}

fn stopped(stop: &Stop) -> Box<Diagnostic> {
    let (code, what) = match stop.signal() {
        Some(signal) => (signal.code(), "the command was stopped by a signal"),
        None => (Code::Interrupted, "the command was stopped"),
    };
    Box::new(Diagnostic::error(code, what).state("nothing was changed"))
}

/// The project folder: the one named, else the nearest at or above `folder` that has `pipelines/`, else `folder`.
fn project(named: Option<&Path>, folder: &Path) -> Result<PathBuf, Box<Diagnostic>> {
    if let Some(named) = named {
        let path = folder.join(named);
        if path.is_dir() {
            return Ok(path);
        }
        let what = format!("`{}` is not a folder", named.display());
        return Err(Box::new(
            Diagnostic::error(Code::Usage, what).help("name the folder that holds `pipelines/`"),
        ));
    }
    let found = folder.ancestors().find(|above| above.join("pipelines").is_dir());
    Ok(found.unwrap_or(folder).to_owned())
}

/// Bars where someone watches, and neither log lines nor a result that is handed on while it is made would run through them.
fn screen(global: &Global, verb: &Verb) -> Screen {
    let crossed = global.verbose > 0 || (verb.hands_on() && global.file().is_none() && std::io::stdout().is_terminal());
    let watched = std::io::stderr().is_terminal() && !global.no_progress && !crossed;
    if watched && tells_progress(global) {
        Screen::with_bars()
    } else {
        Screen::plain()
    }
}

fn tells_progress(global: &Global) -> bool {
    !global.quiet && global.format() == Format::Human
}

fn listener(global: &Global, screen: &Screen, scrubber: &Scrubber) -> Option<Arc<dyn Listener>> {
    if !tells_progress(global) {
        return None;
    }
    Some(match screen.bars() {
        Some(bars) => Arc::new(progress::Bars::new(bars, scrubber.clone())),
        None => Arc::new(progress::Lines::new(screen.clone(), scrubber.clone())),
    })
}

fn prompt(screen: &Screen) -> Option<Arc<dyn Prompt>> {
    let answers = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    answers.then(|| Arc::new(prompt::Terminal::new(screen.clone())) as Arc<dyn Prompt>)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_project_is_the_nearest_folder_above_that_has_pipelines() {
        let root = tempfile::tempdir().unwrap();
        let below = root.path().join("a/b");
        std::fs::create_dir_all(&below).unwrap();
        assert_eq!(project(None, &below).unwrap(), below);
        std::fs::create_dir(root.path().join("pipelines")).unwrap();
        assert_eq!(project(None, &below).unwrap(), root.path());
        assert_eq!(project(Some(Path::new("b")), &root.path().join("a")).unwrap(), below);
        assert_eq!(project(Some(Path::new("c")), &below).unwrap_err().code, Code::Usage);
    }
}
