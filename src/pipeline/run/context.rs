//! What a run works in: everything that comes from outside and is not in the plan.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Zoned;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::diagnostic::Code;
use crate::event::Events;
use crate::id::{EnvName, RunId, SourceName, TargetName};
use crate::secrets::Scrubber;
use crate::steps::restore::Owner;

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
    flag: Arc<AtomicBool>,
    signal: Arc<OnceLock<StopSignal>>,
}

impl Stop {
    /// Asks the run to end. The first signal is the one that is remembered.
    pub fn request(&self, signal: StopSignal) {
        let _ = self.signal.set(signal);
        self.flag.store(true, Ordering::Relaxed);
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

    /// The flag that blocking code looks at between pieces of work.
    pub fn flag(&self) -> &Arc<AtomicBool> {
        &self.flag
    }
}

/// What a run works in.
#[derive(Clone)]
pub struct Context {
    /// This run.
    pub run: RunId,
    /// When it began, with the host's UTC offset.
    pub started: Zoned,
    /// The host's name.
    pub host: String,
    /// Time and randomness.
    pub clock: Arc<dyn Clock>,
    /// Those who hear of what happens.
    pub events: Events,
    /// Whether the run should end.
    pub stop: Stop,
    /// The operator at the terminal; `None` where nobody could answer.
    pub prompt: Option<Arc<dyn Prompt>>,
    /// The process environment.
    pub variables: BTreeMap<String, String>,
    /// Takes secret values out of whatever is printed or kept.
    pub scrubber: Scrubber,
    /// Whether the operator asked for debug logging.
    pub debug_requested: bool,
    /// Who runs it, for the journal.
    pub actor: String,
    /// Program and version.
    pub tool: String,
}

/// What becomes of a restore where no target has the backup whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Damaged {
    /// It is refused.
    #[default]
    Refused,
    /// What can be had is restored, and what is lost named.
    Salvaged,
}

/// What the operator asked for on the command line, beyond the manifest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// The environment that the operator confirmed.
    pub confirm: Option<EnvName>,
    /// Only these targets; empty for all that the manifest names.
    pub targets: Vec<TargetName>,
    /// Take the backup from this environment, whatever the manifest says.
    pub from: Option<EnvName>,
    /// Whether data of a protected environment may come into another one as it is.
    pub allow_unredacted: bool,
    /// Restore into this folder instead of in place.
    pub to: Option<PathBuf>,
    /// What becomes of a backup that no target has whole; anything but a refusal is for a folder alone.
    pub damaged: Damaged,
    /// Restore only what these paths or globs name, from the backup's root `<source>/<path>`; empty for everything.
    pub paths: Vec<String>,
    /// Restore only what matches one of these globs over `<source>/<path>`; empty for everything.
    pub include: Vec<String>,
    /// Do not restore what matches one of these.
    pub exclude: Vec<String>,
    /// Whom restored files belong to, instead of what the manifest says.
    pub owner: Option<Owner>,
    /// Logs that may begin a generation with this backup, whatever became of them.
    pub accept_log_rewrites: Vec<SourceName>,
    /// Logs that a restore may rewind.
    pub rewind_logs: Vec<SourceName>,
    /// How long to wait for another run of the same pipeline; `None` not at all.
    pub wait: Option<Duration>,
    /// Whether files are replaced that other processes use.
    pub while_running: bool,
    /// A file with the identity that opens backups, instead of what the environment says.
    pub identity: Option<PathBuf>,
    /// Whether a backup is used that nobody trusted signed.
    pub trust_unsigned: bool,
}

impl Options {
    /// Whether only a part of a backup is asked for.
    pub fn names_a_part(&self) -> bool {
        [&self.paths, &self.include, &self.exclude]
            .iter()
            .any(|texts| !texts.is_empty())
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
        assert!(stop.is_requested() && stop.flag().load(Ordering::Relaxed));
        assert_eq!(stop.signal().map(StopSignal::code), Some(Code::Terminated));
    }
}
