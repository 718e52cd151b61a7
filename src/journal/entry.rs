//! What a record says: the events, the fields each may have, and the line that comes of them. The names are closed sets,
//! so nothing gets into the journal that nobody thought of.

use serde::Serialize;
use serde_json::{Map, Value};

use super::chain::{Tip, VERSION};
use super::writer::{Scrub, Subject};
use crate::id::StepId;
use crate::limits;

macro_rules! words {
    ($(#[$meta:meta])* pub enum $enum:ident { $($(#[doc = $doc:literal])+ $variant:ident = $word:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $enum {
            $($(#[doc = $doc])+ $variant,)*
        }

        impl $enum {
            /// Every one, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The word that stands in the record.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// What it means, in a sentence or a few.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+),)* }.trim()
            }
        }

        impl Serialize for $enum {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}

words! {
    /// What happened.
    pub enum Event {
        /// The log begins; the only record without one before it.
        LogStarted = "log_started",
        /// An unfinished last line was moved aside.
        Recovered = "recovered",
        /// A segment is closed.
        SegmentEnd = "segment_end",
        /// A segment is opened.
        SegmentStart = "segment_start",
        /// A run begins.
        RunStarted = "run_started",
        /// A run ends. The one record that may use the reserve of a full disk.
        RunFinished = "run_finished",
        /// A step begins.
        StepStarted = "step_started",
        /// A step ends.
        StepFinished = "step_finished",
        /// A program is about to be run.
        CommandStarted = "command_started",
        /// A program that was run has ended.
        CommandEnded = "command_ended",
        /// Something that must be known.
        Warned = "warned",
        /// Something was refused: a fence, a guard, a missing confirmation.
        Refused = "refused",
        /// The operator let data of a protected environment pass as it is.
        FenceLifted = "fence_lifted",
        /// An operator said yes.
        Confirmed = "confirmed",
        /// A secret was read, by name.
        SecretUsed = "secret_used",
        /// A source was captured.
        SourceCaptured = "source_captured",
        /// Keys were made that backups are sealed to from now on.
        EpochBegun = "epoch_begun",
        /// This host made the key that it signs with.
        SignerMade = "signer_made",
        /// The keys of an epoch were sealed to other recipients.
        KeysSealed = "keys_sealed",
        /// A log began a generation: it does not go on from the last backup of it.
        LogForked = "log_forked",
        /// A log is about to be replaced by one with fewer or other records.
        LogRewound = "log_rewound",
        /// A target is new to this host, and a repository was made in it.
        RepositoryCreated = "repository_created",
        /// A backup is whole in a target.
        BackupStored = "backup_stored",
        /// A backup that other targets have was copied into one that lacked it.
        BackupCaughtUp = "backup_caught_up",
        /// A backup was read back from a target and matches.
        BackupConfirmed = "backup_confirmed",
        /// A stored backup was checked.
        BackupVerified = "backup_verified",
        /// A backup was chosen to be worked on.
        BackupChosen = "backup_chosen",
        /// A target was left out of the run.
        TargetLeftOut = "target_left_out",
        /// A source was unpacked beside its destination.
        SourceStaged = "source_staged",
        /// Destinations are about to be replaced.
        SwapIntended = "swap_intended",
        /// Destinations were replaced.
        Swapped = "swapped",
        /// A backup was restored into nowhere and judged.
        Drilled = "drilled",
        /// Destinations were put back as they were.
        RolledBack = "rolled_back",
        /// Objects that no backup needs are about to be listed for a later deletion.
        SweepListed = "sweep_listed",
        /// A swap that was cut short was finished or undone.
        SwapRecovered = "swap_recovered",
        /// Objects are about to be deleted.
        DeleteIntended = "delete_intended",
        /// Objects were deleted.
        Deleted = "deleted",
    }
}

words! {
    /// How it went.
    pub enum Status {
        /// Under way.
        Started = "started",
        /// Well.
        Ok = "ok",
        /// Well, with warnings.
        Warned = "warned",
        /// Not.
        Failed = "failed",
        /// It was not allowed to begin.
        Refused = "refused",
        /// Someone ended it.
        Interrupted = "interrupted",
    }
}

words! {
    /// What a record may say beyond who, what, when and how.
    pub enum Field {
        /// The log's origin.
        Origin = "origin",
        /// A file's name.
        File = "file",
        /// A file's bytes.
        Size = "size",
        /// Bytes that were moved aside.
        Length = "length",
        /// A SHA-256 in hex.
        Sha256 = "sha256",
        /// A BLAKE3 in hex.
        Blake3 = "blake3",
        /// The program's version.
        Version = "version",
        /// Options of the run, by name.
        Options = "options",
        /// Arguments of the run, by name.
        Arguments = "arguments",
        /// A digest of the plan.
        Plan = "plan",
        /// A step's type.
        Kind = "kind",
        /// A program and its arguments.
        Argv = "argv",
        /// A backup's id.
        Backup = "backup",
        /// The backup before it.
        Parent = "parent",
        /// The environment that a backup was made in, where it is another one.
        MadeIn = "made_in",
        /// A target's name.
        Target = "target",
        /// Targets' names.
        Targets = "targets",
        /// A source's name.
        Source = "source",
        /// Sources' names.
        Sources = "sources",
        /// A destination.
        Destination = "destination",
        /// Destinations.
        Destinations = "destinations",
        /// Where what was there before is kept.
        Kept = "kept",
        /// A rollback point's id.
        Point = "point",
        /// Objects' names.
        Objects = "objects",
        /// A count of things.
        Count = "count",
        /// A count of entries.
        Entries = "entries",
        /// Plain bytes.
        Bytes = "bytes",
        /// Stored bytes.
        StoredBytes = "stored_bytes",
        /// A count of warnings.
        Warnings = "warnings",
        /// How long it took, in milliseconds.
        Milliseconds = "milliseconds",
        /// A secret's name, never its value.
        Secret = "secret",
        /// The kind of a problem.
        Code = "code",
        /// The name of keys that backups are sealed to.
        Epoch = "epoch",
        /// A signer's public key.
        Signer = "signer",
        /// A log's generation.
        Generation = "generation",
        /// Records of a log.
        Records = "records",
        /// The backup that was restored before.
        Restored = "restored",
        /// The backup that is not continued.
        Replaces = "replaces",
        /// One line for people.
        Message = "message",
        /// Why.
        Reason = "reason",
        /// The exit code.
        Exit = "exit",
    }
}

/// A record to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// What happened.
    pub event: Event,
    /// In which step.
    pub step: Option<StepId>,
    /// How it went.
    pub status: Option<Status>,
    /// What else there is to say, in order.
    pub fields: Vec<(Field, Value)>,
}

impl Entry {
    /// Nothing but what happened.
    pub fn new(event: Event) -> Self {
        Self {
            event,
            step: None,
            status: None,
            fields: Vec::new(),
        }
    }

    /// Says in which step.
    #[must_use]
    pub fn step(mut self, step: &StepId) -> Self {
        self.step = Some(step.clone());
        self
    }

    /// Says how it went.
    #[must_use]
    pub fn status(mut self, status: Status) -> Self {
        self.status = Some(status);
        self
    }

    /// Says something else.
    #[must_use]
    pub fn with(mut self, field: Field, value: impl Into<Value>) -> Self {
        self.fields.push((field, value.into()));
        self
    }

    /// The line, without its line end. Every text of the caller's has passed `scrub`.
    pub(super) fn line(&self, tip: Tip, ts: jiff::Timestamp, subject: Option<&Subject>, scrub: &Scrub) -> String {
        let text = |value: Option<String>| value.map_or(Value::Null, Value::String);
        let run = subject.map(|subject| subject.run.to_string());
        let mut record = Map::new();
        let mut say = |key: &str, value: Value| record.insert(key.to_owned(), value);
        say("v", VERSION.into());
        say("seq", tip.next.into());
        say("ts", format!("{ts:.6}").into());
        say("event", self.event.as_str().into());
        say("run", text(run.clone()));
        say("correlation_id", text(run));
        say("actor", text(subject.map(|subject| short(&scrub(&subject.actor)))));
        say("env", text(subject.map(|subject| subject.env.to_string())));
        say("pipeline", text(subject.map(|subject| subject.pipeline.to_string())));
        say("step", text(self.step.as_ref().map(ToString::to_string)));
        say("status", text(self.status.map(|status| status.as_str().to_owned())));
        for (field, value) in &self.fields {
            say(field.as_str(), scrubbed(value, scrub));
        }
        say("prev", tip.prev.to_string().into());
        Value::Object(record).to_string()
    }
}

/// The value with every text in it scrubbed and of bounded length.
fn scrubbed(value: &Value, scrub: &Scrub) -> Value {
    match value {
        Value::String(text) => short(&scrub(text)).into(),
        Value::Array(items) => {
            let listed = items
                .iter()
                .take(limits::JOURNAL_LIST_MAX)
                .map(|item| scrubbed(item, scrub));
            let more = items.len().saturating_sub(limits::JOURNAL_LIST_MAX);
            let rest = (more > 0).then(|| format!("and {more} more").into());
            listed.chain(rest).collect()
        }
        Value::Object(table) => {
            let listed = table.iter().take(limits::JOURNAL_LIST_MAX);
            listed
                .map(|(key, value)| (short(&scrub(key)), scrubbed(value, scrub)))
                .collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// The text, cut where it is too long and marked so.
fn short(text: &str) -> String {
    if text.len() <= limits::JOURNAL_TEXT_MAX {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(limits::JOURNAL_TEXT_MAX);
    format!("{}\u{2026} ({} bytes)", text.get(..end).unwrap_or_default(), text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_unique_and_no_field_hides_a_fixed_one() {
        let fixed = [
            "v",
            "seq",
            "ts",
            "event",
            "run",
            "correlation_id",
            "actor",
            "env",
            "pipeline",
            "step",
            "status",
            "prev",
        ];
        let mut seen: std::collections::BTreeSet<&str> = fixed.into();
        for field in Field::ALL {
            assert!(seen.insert(field.as_str()), "{field:?}");
        }
        let events: std::collections::BTreeSet<_> = Event::ALL.iter().map(|event| event.as_str()).collect();
        assert_eq!(events.len(), Event::ALL.len());
    }

    #[test]
    fn a_long_text_is_cut_between_characters_and_says_so() {
        let text = "\u{e4}".repeat(limits::JOURNAL_TEXT_MAX);
        let cut = short(&text);
        assert!(cut.len() < limits::JOURNAL_TEXT_MAX + 40);
        assert!(cut.ends_with("(8192 bytes)"), "{cut}");
    }
}
