//! The data of a small event-sourced service, and its writer: something real to back up and to restore.
//!
//! The service itself is not here. What is here is what it leaves on disk: an event log in segments, two SQLite
//! projections of it, artifacts, and configuration with secrets. Everything lies below `examples/service/var/<env>/`.

mod check;
mod init;
mod layout;
mod log;
mod projections;
mod text;
mod write;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use layout::{Environment, Layout};

/// The example service's data and its writer.
#[derive(Parser)]
#[command(name = "service", version)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Makes the environment's data and configuration where there are none; leaves present ones alone.
    Init {
        #[command(flatten)]
        environment: Environment,
        /// How much data: 1 is about 6 MiB.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        scale: u32,
    },
    /// Appends events and applies them to the projections until it is ended, by a limit or by a signal.
    Write {
        #[command(flatten)]
        environment: Environment,
        /// How long, such as `10s`.
        #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
        duration: Option<Duration>,
        /// How many events.
        #[arg(long)]
        count: Option<u64>,
        /// Until this file is there.
        #[arg(long, value_name = "FILE")]
        until: Option<PathBuf>,
        /// Events a second; 0 is as many as possible.
        #[arg(long, default_value_t = 200)]
        rate: u32,
    },
    /// Checks data that nothing writes at the moment: databases whole, log whole, no projection ahead of its log.
    Check {
        /// A folder that has `events` and `projections`: a data folder, or what a restore left. Default: the
        /// environment's own.
        folder: Option<PathBuf>,
        #[command(flatten)]
        environment: Environment,
    },
}

fn duration(text: &str) -> Result<Duration, String> {
    let signed: jiff::SignedDuration = text.parse().map_err(|error: jiff::Error| error.to_string())?;
    Duration::try_from(signed).map_err(|error| error.to_string())
}

/// Why a verb could not do its work.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{}", .path.display())]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{}", .path.display())]
    Sqlite {
        path: PathBuf,
        #[source]
        source: rusqlite::Error,
    },
    #[error("{} line {line} is not an event", .path.display())]
    Event {
        path: PathBuf,
        line: u64,
        #[source]
        source: serde_json::Error,
    },
    #[error("{} is not the name of an environment: lower-case letters, digits and `-`", .0)]
    Name(String),
    #[error("another writer is at work in {}", .0.display())]
    Busy(PathBuf),
    #[error("{} has no `events` folder", .0.display())]
    NoData(PathBuf),
    #[error("no randomness: {0}")]
    Random(getrandom::Error),
}

/// Adds the path to an error that does not know it.
trait At<T> {
    fn at(self, path: impl Into<PathBuf>) -> Result<T, Error>;
}

impl<T> At<T> for Result<T, std::io::Error> {
    fn at(self, path: impl Into<PathBuf>) -> Result<T, Error> {
        let path = path.into();
        self.map_err(|source| Error::File { path, source })
    }
}

impl<T> At<T> for Result<T, rusqlite::Error> {
    fn at(self, path: impl Into<PathBuf>) -> Result<T, Error> {
        let path = path.into();
        self.map_err(|source| Error::Sqlite { path, source })
    }
}

/// What a verb has to say, and whether all is well.
struct Answer {
    line: String,
    good: bool,
}

fn run(verb: Verb) -> Result<Answer, Error> {
    match verb {
        Verb::Init { environment, scale } => {
            let layout = Layout::of(&environment)?;
            let line = match init::init(&layout, scale)? {
                init::Made::New => format!("made the data of a service in {}", layout.root().display()),
                init::Made::Present => format!("left {} as it is", layout.root().display()),
            };
            Ok(Answer { line, good: true })
        }
        Verb::Write {
            environment,
            duration,
            count,
            until,
            rate,
        } => {
            let layout = Layout::of(&environment)?;
            init::init(&layout, 1)?;
            let limits = write::Limits {
                duration,
                count,
                until,
                rate,
            };
            let written = write::write(&layout, &limits)?;
            let milliseconds = |time: Duration| (time.as_secs_f64() * 1e5).round() / 1e2;
            let line = serde_json::json!({
                "written": written.events, "last_seq": written.last_seq, "writes": written.took.len(),
                "longest_ms": milliseconds(written.slowest(0)), "all_but_one_in_a_thousand_ms": milliseconds(written.slowest(1000)),
                "median_ms": milliseconds(written.slowest(2)),
            });
            Ok(Answer {
                line: line.to_string(),
                good: true,
            })
        }
        Verb::Check { folder, environment } => {
            let folder = match folder {
                Some(folder) => folder,
                None => Layout::of(&environment)?.data(),
            };
            let report = check::check(&folder)?;
            Ok(Answer {
                line: report.to_json().to_string(),
                good: report.problems.is_empty(),
            })
        }
    }
}

fn main() -> ExitCode {
    let answer = match run(Arguments::parse().verb) {
        Ok(answer) => answer,
        Err(error) => {
            let mut line = format!("service: {error}");
            let mut cause = std::error::Error::source(&error);
            while let Some(inner) = cause {
                line = format!("{line}: {inner}");
                cause = inner.source();
            }
            // Nothing can be said where standard error is closed; the exit code says it.
            let _ = writeln!(std::io::stderr(), "{line}");
            return ExitCode::from(2);
        }
    };
    if writeln!(std::io::stdout(), "{}", answer.line).is_err() || !answer.good {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
