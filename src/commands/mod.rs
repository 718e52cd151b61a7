//! What the program can do: a request in, an `Outcome` out. One file a verb.
//!
//! Nothing here prints, exits or reads the process environment; the command line hands all of it in as a [`Session`].

pub mod cat;
pub mod diff;
pub mod explain;
pub mod explain_error;
pub mod export;
pub mod find;
pub mod forget;
pub mod journal;
pub mod keys;
pub mod list;
pub mod ls;
pub mod request;
pub mod results;
pub mod retention;
pub mod rollback;
pub mod run;
pub mod sampling;
pub mod schema;
pub mod show;
pub mod sweep;
pub mod validate;
pub mod verify;

mod backups;
mod entries;
mod keeping;
mod reading;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::clock::Clock;
use crate::diagnostic::{Code, Diagnostic};
use crate::event::Events;
use crate::id::RunId;
use crate::pipeline::RunValues;
use crate::pipeline::run::Context;
pub use crate::pipeline::run::{Prompt, Stop, StopSignal};
use crate::secrets::Scrubber;

/// What a command works in: everything that comes from outside and is not in its request.
#[derive(Clone)]
pub struct Session {
    /// The project folder, absolute: the one that has `pipelines/`, else the current folder.
    pub project: PathBuf,
    /// The process environment, as far as it is UTF-8.
    pub variables: BTreeMap<String, String>,
    /// Time and randomness.
    pub clock: Arc<dyn Clock>,
    /// Those who hear of what happens.
    pub events: Events,
    /// Whether the run should end.
    pub stop: Stop,
    /// Takes results that are handed on while they are made.
    pub results: Arc<dyn results::Results>,
    /// The operator at the terminal; `None` where nobody could answer.
    pub prompt: Option<Arc<dyn Prompt>>,
    /// Takes secret values out of whatever is printed.
    pub scrubber: Scrubber,
    /// Whether the operator asked for debug logging, which protected environments refuse.
    pub debug_requested: bool,
    /// The program's version.
    pub version: &'static str,
}

impl Session {
    /// What a run that begins now works in.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub(crate) fn context(&self) -> Result<Context, Box<Diagnostic>> {
        let started = self.clock.now();
        let mut random = [0; 10];
        self.clock.random(&mut random).map_err(|error| {
            Box::new(
                Diagnostic::error(Code::Internal, "the system has no randomness")
                    .why(error.to_string())
                    .state("nothing was started"),
            )
        })?;
        let milliseconds = u64::try_from(started.timestamp().as_millisecond()).unwrap_or(0);
        let system = rustix::system::uname();
        let actor = ["SUDO_USER", "USER", "LOGNAME"]
            .iter()
            .find_map(|name| self.variables.get(*name));
        Ok(Context {
            run: RunId::new(milliseconds, random),
            started,
            host: system.nodename().to_string_lossy().into_owned(),
            clock: Arc::clone(&self.clock),
            events: self.events.clone(),
            stop: self.stop.clone(),
            prompt: self.prompt.clone(),
            variables: self.variables.clone(),
            scrubber: self.scrubber.clone(),
            debug_requested: self.debug_requested,
            actor: actor
                .cloned()
                .unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw())),
            tool: format!("strongroom {}", self.version),
        })
    }
}

/// The template values of a run.
pub(crate) fn values(context: &Context) -> RunValues {
    RunValues {
        id: context.run.to_string(),
        timestamp: context.started.timestamp().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        host: context.host.clone(),
    }
}
