//! What went wrong, as a value: what, where, why, state, help. It goes to the terminal, to JSON and to the journal alike.
//!
//! A diagnostic carries its excerpt already masked, so nothing that prints one needs to know about secrets.

use std::io;

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The result is not usable, or nothing was started.
    Error,
    /// The result is usable and something about it must be known.
    Warning,
}

/// How the process ends. The numbers are promised in `docs/reference/exit-codes.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ExitCode {
    /// Done, nothing to report.
    Done = 0,
    /// Failed, no usable result.
    Failed = 1,
    /// Wrong command line or undeclared argument.
    Usage = 2,
    /// Usable result with warnings.
    Warnings = 3,
    /// Verification, signature, journal or drill failed, or an audit found something at its threshold.
    VerificationFailed = 4,
    /// Refused: confirmation missing, fence, guard.
    Refused = 5,
    /// Not found.
    NotFound = 10,
    /// Held by another run.
    Held = 11,
    /// Cannot decrypt.
    CannotDecrypt = 12,
    /// The manifest is invalid.
    ManifestInvalid = 78,
    /// Interrupted by Ctrl-C.
    Interrupted = 130,
    /// Terminated by SIGTERM.
    Terminated = 143,
}

impl ExitCode {
    /// Every exit code with its meaning, for the reference page.
    pub const ALL: &[(Self, &'static str)] = &[
        (Self::Done, "done, nothing to report"),
        (Self::Failed, "failed, no usable result"),
        (
            Self::Usage,
            "wrong command line, or an argument that the pipeline does not declare",
        ),
        (
            Self::Warnings,
            "usable result with warnings: unreadable source files, a target left out, `.restored` files beside present ones",
        ),
        (
            Self::VerificationFailed,
            "verification failed: a stored object is damaged, missing or hostile, or the journal is broken",
        ),
        (
            Self::Refused,
            "refused: confirmation missing, a fence, a guard, files in the way or in use",
        ),
        (
            Self::NotFound,
            "not found: no such backup, nothing of that name in it, no such rollback point",
        ),
        (Self::Held, "held by another run"),
        (Self::CannotDecrypt, "cannot decrypt"),
        (Self::ManifestInvalid, "the manifest is invalid"),
        (Self::Interrupted, "interrupted (Ctrl-C)"),
        (Self::Terminated, "terminated (SIGTERM)"),
    ];

    /// The number given to the operating system.
    pub const fn number(self) -> u8 {
        self as u8
    }
}

macro_rules! codes {
    ($($(#[$meta:meta])* $variant:ident = $text:literal => $exit:ident;)*) => {
        /// The name of a kind of problem. Never reused; each has a heading in `docs/errors.md`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $($(#[$meta])* $variant,)*
        }

        impl Code {
            /// Every code, in the order of this table.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The code as people read and search it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The exit code of a run that ends with this problem.
            pub const fn exit(self) -> ExitCode {
                match self { $(Self::$variant => ExitCode::$exit,)* }
            }
        }
    };
}

impl Code {
    /// This code, or that of a full disk where one is among the causes.
    #[must_use]
    pub fn unless_full(self, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut causes = std::iter::successors(Some(error), |cause| {
            // An I/O error that wraps another passes over it in `source`.
            let wrapped = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            wrapped.map_or_else(|| cause.source(), |wrapped| Some(wrapped))
        });
        let is_full = |cause: &(dyn std::error::Error + 'static)| {
            let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
            kind.is_some_and(|kind| matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
        };
        if causes.any(is_full) { Self::DiskFull } else { self }
    }
}

codes! {
    // The manifest language.
    /// A file of the manifest is missing or cannot be read.
    ManifestUnreadable = "manifest-unreadable" => ManifestInvalid;
    /// Not TOML.
    TomlSyntax = "toml-syntax" => ManifestInvalid;
    /// `schema-version` is missing or not one this program reads.
    SchemaVersion = "schema-version" => ManifestInvalid;
    /// A key that this table does not have.
    UnknownKey = "unknown-key" => ManifestInvalid;
    /// A key that must be there is missing.
    MissingKey = "missing-key" => ManifestInvalid;
    /// A value of the wrong type.
    WrongType = "wrong-type" => ManifestInvalid;
    /// A value that is not allowed here.
    InvalidValue = "invalid-value" => ManifestInvalid;
    /// A step type or source type that does not exist.
    UnknownType = "unknown-type" => ManifestInvalid;
    /// Two items of one list have the same name.
    DuplicateName = "duplicate-name" => ManifestInvalid;
    /// An overlay names a pipeline, step or item that does not exist.
    OverlayUnknown = "overlay-unknown" => ManifestInvalid;
    /// `append` or `unset` on a value that cannot take it.
    OverlayOperator = "overlay-operator" => ManifestInvalid;
    /// A template name that is not known.
    TemplateUnknown = "template-unknown" => ManifestInvalid;
    /// A template that cannot be parsed or filled.
    TemplateInvalid = "template-invalid" => ManifestInvalid;
    /// A template where the schema wants something other than a string.
    TemplateInTypedField = "template-in-typed-field" => ManifestInvalid;
    /// A secret written out, where a reference belongs.
    SecretLiteral = "secret-literal" => ManifestInvalid;
    /// The steps do not fit together.
    FlowOrder = "flow-order" => ManifestInvalid;
    /// A step that must come before another is missing.
    FlowMissing = "flow-missing" => ManifestInvalid;
    /// A name that refers to nothing: a target, a source, a step.
    ReferenceUnknown = "reference-unknown" => ManifestInvalid;
    /// Switched off in a protected environment.
    ProtectedStep = "protected-step" => ManifestInvalid;
    /// A retention policy that would keep nothing.
    RetentionKeepsNothing = "retention-keeps-nothing" => ManifestInvalid;
    /// A retention step that is not preceded by proof of the new backup.
    RetainUnconfirmed = "retain-unconfirmed" => ManifestInvalid;
    /// A wrong command line, or an argument that the pipeline does not declare.
    Usage = "usage" => Usage;

    // Secrets.
    /// A secret that is nowhere to be found.
    SecretMissing = "secret-missing" => Failed;
    /// A secret file that others can read.
    SecretFileMode = "secret-file-mode" => Refused;
    /// A secret that could not be read.
    SecretUnreadable = "secret-unreadable" => Failed;

    // Sources.
    /// A source that is not there.
    SourceMissing = "source-missing" => Refused;
    /// A source in which there is nothing.
    SourceEmpty = "source-empty" => Refused;
    /// A source without the file that tells the right disk from a wrong one.
    SentinelMissing = "sentinel-missing" => Refused;
    /// A source of which there is less than there must be.
    SourceTooSmall = "source-too-small" => Refused;
    /// A source of which there is much less than the last time.
    SourceShrank = "source-shrank" => Refused;
    /// A file or folder that could not be read and is not in the backup.
    SourceUnreadable = "source-unreadable" => Warnings;
    /// A file that kept changing while it was read.
    SourceChanging = "source-changing" => Warnings;
    /// An entry that a backup cannot hold, such as a socket.
    SourceUnsupported = "source-unsupported" => Warnings;
    /// A source that could not be captured at all.
    SourceFailed = "source-failed" => Failed;
    /// A database that SQLite cannot copy.
    SqliteFailed = "sqlite-failed" => Failed;
    /// A file that should be a database and is none, or is encrypted.
    NotSqlite = "not-sqlite" => Refused;
    /// A database that SQLite finds damaged.
    SqliteCorrupt = "sqlite-corrupt" => VerificationFailed;
    /// A database whose copy SQLite cannot check.
    SqliteUnchecked = "sqlite-unchecked" => Warnings;
    /// A database whose writers had to wait for its copy.
    SqliteBlocksWriters = "sqlite-blocks-writers" => Warnings;
    /// A log with an unfinished record that is not at its end.
    LogUnfinished = "log-unfinished" => Warnings;
    /// A log that is shorter than it was.
    LogShrank = "log-shrank" => Refused;
    /// A log that has other bytes than its last backup.
    LogRewritten = "log-rewritten" => Refused;
    /// A log of which rotation removed everything that the last backup has.
    LogGap = "log-gap" => Warnings;

    // Redaction.
    /// A file that redaction cannot read as text.
    RedactBinary = "redact-binary" => Refused;
    /// A file that redaction cannot read as text and that is not in the backup.
    RedactLeftOut = "redact-left-out" => Warnings;

    // Targets.
    /// A target that cannot be reached or written.
    TargetFailed = "target-failed" => Failed;
    /// A target that was left out of this run.
    TargetLeftOut = "target-left-out" => Warnings;
    /// A backup that a target lacks and that was not copied into it.
    NotCaughtUp = "not-caught-up" => Warnings;
    /// A target that was there before and is gone.
    TargetVanished = "target-vanished" => Refused;
    /// A backup that this host stored later than all that can be read.
    NewerKnown = "newer-known" => Warnings;
    /// A backup that was taken back because a sweep deleted what it relied on.
    BackupWithdrawn = "backup-withdrawn" => Failed;
    /// A run that took longer than it may.
    RunTooLong = "run-too-long" => Failed;
    /// A store that overwrites what it was asked to keep.
    ConditionsIgnored = "conditions-ignored" => Warnings;
    /// No space left.
    DiskFull = "disk-full" => Failed;

    // Reading backups.
    /// No such backup.
    BackupUnknown = "backup-unknown" => NotFound;
    /// Nothing in the backup has this path.
    PathUnknown = "path-unknown" => NotFound;
    /// More than one backup fits.
    BackupAmbiguous = "backup-ambiguous" => Usage;
    /// A backup that was made with warnings: it may lack entries.
    BackupIncomplete = "backup-incomplete" => Warnings;
    /// Content was asked for of something that is no file.
    NotAFile = "not-a-file" => Usage;
    /// A stored object is missing, cut or changed.
    Damaged = "damaged" => VerificationFailed;
    /// An archive that tries to do what an archive must not.
    ArchiveHostile = "archive-hostile" => VerificationFailed;
    /// No key opens what is sealed.
    KeyMissing = "key-missing" => CannotDecrypt;
    /// Nobody who is trusted signed the record.
    Unsigned = "unsigned" => VerificationFailed;
    /// A host whose key is not among those that are trusted.
    SignerUnknown = "signer-unknown" => Warnings;
    /// A record of a format that this program does not read.
    FormatNewer = "format-newer" => Failed;
    /// What was read back is not what was written.
    ReadBack = "read-back" => VerificationFailed;

    // Restore.
    /// Something could not be restored with all its properties.
    RestoreIncomplete = "restore-incomplete" => Warnings;
    /// A restored text that lies beside the present file because it was redacted.
    RestoredBeside = "restored-beside" => Warnings;
    /// A restore that failed.
    RestoreFailed = "restore-failed" => Failed;
    /// The destination is not empty, not a folder, or in the way.
    DestinationInvalid = "destination-invalid" => Refused;
    /// No destination is known for a source.
    DestinationUnknown = "destination-unknown" => Refused;
    /// A log that a restore would rewind.
    LogRewind = "log-rewind" => Refused;
    /// Two sources of one pipeline that cannot be restored in place side by side.
    RootsOverlap = "roots-overlap" => Warnings;
    /// Another process uses files that would be replaced.
    FilesInUse = "files-in-use" => Refused;
    /// What was unpacked is not what it has to be.
    AssertFailed = "assert-failed" => VerificationFailed;
    /// A swap that was cut short and could be neither finished nor undone.
    SwapUnfinished = "swap-unfinished" => Failed;
    /// A swap that was cut short and was finished or undone.
    SwapRecovered = "swap-recovered" => Warnings;
    /// No such rollback point, or none at all.
    PointUnknown = "point-unknown" => NotFound;
    /// A rollback point that could not be removed.
    PointKept = "point-kept" => Warnings;

    // Running.
    /// A confirmation that was not given.
    Unconfirmed = "unconfirmed" => Refused;
    /// A fence: live data, a protected environment.
    Fenced = "fenced" => Refused;
    /// Another run holds the lock.
    Held = "held" => Held;
    /// The state folder cannot be used.
    StateFailed = "state-failed" => Failed;
    /// What this host remembers of the last backup is lost or cannot be kept.
    MemoryLost = "memory-lost" => Warnings;
    /// This host has lost the keys that it sealed with.
    EpochLost = "epoch-lost" => Warnings;
    /// Backups are sealed to other recipients than the environment names.
    RecipientsChanged = "recipients-changed" => Warnings;
    /// Backups are sealed to one recipient only.
    OneRecipient = "one-recipient" => Warnings;
    /// An identity that opens backups lies on the host that makes them.
    IdentityOnHost = "identity-on-host" => Warnings;
    /// The journal is broken.
    JournalBroken = "journal-broken" => VerificationFailed;
    /// The run was interrupted.
    Interrupted = "interrupted" => Interrupted;
    /// The run was terminated.
    Terminated = "terminated" => Terminated;
    /// Retention that would remove more than it may.
    RetentionHeldBack = "retention-held-back" => Warnings;
    /// Nothing was deleted in a target, because it is not known what is needed there.
    SweepHeldBack = "sweep-held-back" => Warnings;
    /// The newest backup of a line was to be let go without a further word.
    NewestBackup = "newest-backup" => Refused;
    /// Another program could not be run or failed.
    ProcessFailed = "process-failed" => Failed;
    /// A fault of this program.
    Internal = "internal" => Failed;
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// One line of a file, masked where it held a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Excerpt {
    /// The line without its end.
    pub text: String,
    /// First marked character, counted from 0.
    pub start: u32,
    /// One past the last marked character.
    pub end: u32,
}

/// A place in a file, and what is to be seen there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// The file as the operator names it, or `--set` for a value given on the command line.
    pub file: String,
    /// Line, counted from 1.
    pub line: u32,
    /// Column in characters, counted from 1.
    pub column: u32,
    /// What the mark under the excerpt says; empty for none.
    pub label: String,
    /// The line itself.
    pub excerpt: Option<Excerpt>,
}

impl PartialOrd for Excerpt {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Excerpt {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.start, self.end, &self.text).cmp(&(other.start, other.end, &other.text))
    }
}

/// A problem, complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What kind of problem.
    pub code: Code,
    /// What: one lowercase sentence without period.
    pub what: String,
    /// Where in the manifest: the first place is the one that is wrong, the others explain it.
    pub places: Vec<Place>,
    /// Why it is a problem, or what caused it: the chain of sources, outermost first.
    pub why: Option<String>,
    /// What is true of the data now.
    pub state: Option<String>,
    /// What to do.
    pub help: Option<String>,
    /// Pipeline, where known.
    pub pipeline: Option<String>,
    /// Step id, where known.
    pub step: Option<String>,
    /// Environment, where known.
    pub environment: Option<String>,
}

impl Diagnostic {
    /// An error with nothing but its code and what it is.
    pub fn error(code: Code, what: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code,
            what: what.into(),
            places: Vec::new(),
            why: None,
            state: None,
            help: None,
            pipeline: None,
            step: None,
            environment: None,
        }
    }

    /// A warning with nothing but its code and what it is.
    pub fn warning(code: Code, what: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(code, what)
        }
    }

    /// Adds a place; the first one added is the one that is wrong.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.places.push(place);
        self
    }

    /// Says why.
    #[must_use]
    pub fn why(mut self, text: impl Into<String>) -> Self {
        self.why = Some(text.into());
        self
    }

    /// Says what is true of the data now.
    #[must_use]
    pub fn state(mut self, text: impl Into<String>) -> Self {
        self.state = Some(text.into());
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(text.into());
        self
    }

    /// Describes any error that knows its code, state and help; `why` is its chain of sources.
    pub fn of(error: &(impl Diagnose + ?Sized)) -> Self {
        let mut causes = Vec::new();
        let mut cause = std::error::Error::source(error);
        while let Some(inner) = cause {
            causes.push(inner.to_string());
            cause = inner.source();
        }
        let mut diagnostic = Self::error(error.code(), error.to_string());
        diagnostic.why = if causes.is_empty() {
            error.why()
        } else {
            Some(causes.join(": "))
        };
        diagnostic.state = error.state();
        diagnostic.help = error.help();
        diagnostic
    }
}

/// An error that knows what to tell the operator beside its own message.
pub trait Diagnose: std::error::Error {
    /// Which kind of problem this is.
    fn code(&self) -> Code;

    /// Why, where the chain of sources does not say it.
    fn why(&self) -> Option<String> {
        None
    }

    /// What is true of the data now.
    fn state(&self) -> Option<String> {
        None
    }

    /// What to do.
    fn help(&self) -> Option<String> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_by_its_code_however_deep_it_lies() {
        let full = |kind: io::ErrorKind| io::Error::other(io::Error::from(kind));
        let code = |error: &io::Error| Code::StateFailed.unless_full(error);
        assert_eq!(code(&full(io::ErrorKind::StorageFull)), Code::DiskFull);
        assert_eq!(code(&io::ErrorKind::QuotaExceeded.into()), Code::DiskFull);
        assert_eq!(code(&full(io::ErrorKind::PermissionDenied)), Code::StateFailed);
    }

    #[test]
    fn codes_are_unique_and_kebab_case() {
        let mut seen = std::collections::BTreeSet::new();
        for code in Code::ALL {
            assert!(seen.insert(code.as_str()), "{} twice", code.as_str());
            assert!(code.as_str().bytes().all(|b| b.is_ascii_lowercase() || b == b'-'));
        }
    }
}
