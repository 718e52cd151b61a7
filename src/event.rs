//! What happened, in the past tense. Progress bars and JSON lines listen; they cannot fail a run.

use std::sync::Arc;

use serde::Serialize;

/// A fact about a run under way.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Event {
    /// A run began.
    RunStarted {
        /// Run id.
        run: String,
        /// Pipeline.
        pipeline: String,
        /// Environment.
        environment: String,
    },
    /// A step began.
    StepStarted {
        /// Step id.
        step: String,
        /// Step type.
        kind: String,
    },
    /// A step ended well.
    StepFinished {
        /// Step id.
        step: String,
        /// One line for people.
        summary: String,
    },
    /// A step failed.
    StepFailed {
        /// Step id.
        step: String,
    },
    /// A source is being captured.
    SourceStarted {
        /// Source name.
        source: String,
    },
    /// Bytes and entries were read from a source since the last such event.
    SourceRead {
        /// Entries.
        entries: u64,
        /// Plain bytes.
        bytes: u64,
    },
    /// How much there is to do, where known.
    TotalKnown {
        /// Plain bytes.
        bytes: u64,
    },
    /// Bytes were stored in a target since the last such event.
    TargetStored {
        /// Target name.
        target: String,
        /// Stored bytes.
        bytes: u64,
    },
    /// Bytes were read back from a target since the last such event.
    TargetRead {
        /// Target name.
        target: String,
        /// Stored bytes.
        bytes: u64,
    },
    /// Entries and bytes were restored since the last such event.
    Restored {
        /// Entries.
        entries: u64,
        /// Plain bytes.
        bytes: u64,
    },
    /// Something must be known.
    Warned {
        /// Code.
        code: String,
        /// One line for people.
        what: String,
    },
    /// A run ended.
    RunFinished {
        /// Exit code.
        exit: u8,
        /// One line for people.
        headline: String,
    },
}

/// One who hears of events.
pub trait Listener: Send + Sync {
    /// Hears of `event`. Must return soon and cannot fail.
    fn hear(&self, event: &Event);
}

/// Those who hear of a run.
#[derive(Clone, Default)]
pub struct Events(Vec<Arc<dyn Listener>>);

impl Events {
    /// Events that nobody hears.
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds a listener.
    pub fn add(&mut self, listener: Arc<dyn Listener>) {
        self.0.push(listener);
    }

    /// Tells every listener.
    pub fn tell(&self, event: &Event) {
        for listener in &self.0 {
            listener.hear(event);
        }
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Events({} listeners)", self.0.len())
    }
}
