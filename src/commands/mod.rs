//! What the program can do: a request in, an `Outcome` out. One file a verb.
//!
//! Nothing here prints, exits or reads the process environment; the command line hands all of it in as a [`Session`].

pub mod request;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::diagnostic::Code;
use crate::event::Events;
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
    /// The operator at the terminal; `None` where nobody could answer.
    pub prompt: Option<Arc<dyn Prompt>>,
    /// Takes secret values out of whatever is printed; it learns each value that a run resolves.
    pub scrubber: Scrubber,
    /// Whether the operator asked for debug logging, which protected environments refuse.
    pub debug_requested: bool,
    /// The program's version.
    pub version: &'static str,
}

/// Someone at a terminal who can be asked.
#[async_trait]
pub trait Prompt: Send + Sync {
    /// Shows `question` and gives back the line typed in answer, trimmed. Dropping the future stops waiting.
    ///
    /// # Errors
    /// When the terminal is gone or its input ended.
    async fn ask(&self, question: &str) -> std::io::Result<String>;
}

/// Which signal asked the run to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM, or SIGHUP from a terminal that closed.
    Terminate,
}

impl StopSignal {
    /// The code of the problem with which a run ends that this signal stopped.
    pub const fn code(self) -> Code {
        match self {
            Self::Interrupt => Code::Interrupted,
            Self::Terminate => Code::Terminated,
        }
    }
}

/// Tells everyone in a run that it should end, and remembers why. Clones share one state.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    token: CancellationToken,
    signal: Arc<OnceLock<StopSignal>>,
}

impl Stop {
    /// Asks the run to end. The first signal is the one that is remembered.
    pub fn request(&self, signal: StopSignal) {
        let _ = self.signal.set(signal);
        self.token.cancel();
    }

    /// The signal that asked for the end, if one did.
    pub fn signal(&self) -> Option<StopSignal> {
        self.signal.get().copied()
    }

    /// Whether the run should end.
    pub fn is_requested(&self) -> bool {
        self.token.is_cancelled()
    }

    /// The token to wait on.
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_signal_is_the_one_that_counts() {
        let stop = Stop::default();
        assert!(!stop.is_requested() && stop.signal().is_none());
        stop.clone().request(StopSignal::Terminate);
        stop.request(StopSignal::Interrupt);
        assert!(stop.is_requested());
        assert_eq!(stop.signal().map(StopSignal::code), Some(Code::Terminated));
    }
}
