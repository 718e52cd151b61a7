//! What each verb is asked for. The command line fills these, the commands take them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::archive::policy::Policy;
pub use crate::archive::reading::export::Form;
pub use crate::archive::reading::list::Depth;
use crate::id::{EnvName, PipelineName, RunId, SourceName, TargetName};
pub use crate::pipeline::run::rollback::{Action, Rollback};
use crate::pipeline::run::{Damaged, Options};
use crate::steps::restore::Owner;
use crate::steps::verify::Level;
use crate::units::Share;
use jiff::Timestamp;

/// Runs a pipeline, or says what a run would do.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRequest {
    /// The verb as typed, which becomes the outcome's `command`: `run`, `backup`, `restore` or `plan`.
    pub command: &'static str,
    /// A name in `pipelines/`, or the path of a manifest.
    pub pipeline: String,
    /// The environment.
    pub environment: EnvName,
    /// Whether anything is done.
    pub mode: Mode,
    /// `key=value` as typed, in order; each overrides one value of the manifest.
    pub sets: Vec<String>,
    /// Values of declared arguments.
    pub args: BTreeMap<String, String>,
    /// The environment that the operator confirmed on the command line.
    pub confirm: Option<EnvName>,
    /// Only these targets; empty for all that the manifest names.
    pub targets: Vec<TargetName>,
    /// Restore into this folder (absolute) instead of in place.
    pub to: Option<PathBuf>,
    /// What becomes of a backup that no target has whole.
    pub damaged: Damaged,
    /// Restore only what matches one of these; empty for everything.
    pub include: Vec<String>,
    /// The environment that the backup is taken from; `None` for what the manifest says.
    pub from: Option<EnvName>,
    /// Whether data of a protected environment may come into another one as it is.
    pub allow_unredacted: bool,
    /// Restore only what these paths or globs name, from the backup's root; empty for everything.
    pub paths: Vec<String>,
    /// Do not restore what matches one of these.
    pub exclude: Vec<String>,
    /// Whom restored files belong to, where the command line says so.
    pub owner: Option<Owner>,
    /// Logs that may begin a generation with this backup.
    pub accept_log_rewrites: Vec<SourceName>,
    /// Logs that a restore may rewind.
    pub rewind_logs: Vec<SourceName>,
    /// How long to wait for another run of the same pipeline; `None` not at all.
    pub wait: Option<Duration>,
    /// Whether files are replaced that other processes use.
    pub while_running: bool,
    /// A file with the identity that opens backups.
    pub identity: Option<PathBuf>,
    /// Whether a backup is used that nobody trusted signed.
    pub trust_unsigned: bool,
}

/// Whether a run does anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It does.
    Run,
    /// It says what it would do; sources and targets are read.
    Plan,
    /// It says what it would do from the manifest alone: no process, no socket, no secret, no source.
    PlanOffline,
}

/// Checks manifests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ValidateRequest {
    /// Names or paths of pipelines; empty for all of the project.
    pub pipelines: Vec<String>,
    /// Only in this environment; `None` for all of the project.
    pub environment: Option<EnvName>,
}

/// Shows where the values of a pipeline come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainRequest {
    /// A name in `pipelines/`, or the path of a manifest.
    pub pipeline: String,
    /// The environment.
    pub environment: EnvName,
    /// Only what stands at or below this path.
    pub path: Option<String>,
    /// As in [`RunRequest`].
    pub sets: Vec<String>,
    /// As in [`RunRequest`].
    pub args: BTreeMap<String, String>,
}

/// Prints a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaRequest {
    /// Of a pipeline.
    Pipeline,
    /// Of an environment.
    Environment,
}

/// Lists backups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListRequest {
    /// The environment.
    pub environment: EnvName,
    /// Only backups made by this pipeline.
    pub pipeline: Option<PipelineName>,
    /// Only in these targets; empty for all of the environment.
    pub targets: Vec<TargetName>,
}

/// Shows one backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShowRequest {
    /// The environment.
    pub environment: EnvName,
    /// Which backup: an id, a unique prefix of one, `latest`, `latest~1`; never with the environment in front.
    pub backup: String,
    /// Only backups made by this pipeline.
    pub pipeline: Option<PipelineName>,
    /// Only in these targets; empty for all of the environment.
    pub targets: Vec<TargetName>,
}

/// A backup that is read in parts, and what it takes to read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadFrom {
    /// The environment.
    pub environment: EnvName,
    /// As in [`ShowRequest`].
    pub backup: String,
    /// How it is found and opened.
    pub how: ReadBy,
}

/// How backups are found and opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadBy {
    /// Only backups made by this pipeline.
    pub pipeline: Option<PipelineName>,
    /// Only in these targets; empty for all of the environment.
    pub targets: Vec<TargetName>,
    /// A file with the identity that opens them.
    pub identity: Option<PathBuf>,
    /// Whether a backup is read that nobody trusted signed.
    pub trust_unsigned: bool,
}

/// Lists what is in a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LsRequest {
    /// The backup.
    pub from: ReadFrom,
    /// Where, as typed; `None` for the whole backup.
    pub path: Option<Vec<u8>>,
    /// How deep.
    pub depth: Depth,
}

/// Gives the content of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatRequest {
    /// The backup.
    pub from: ReadFrom,
    /// Which file, as typed.
    pub path: Vec<u8>,
}

/// Tells what differs between two backups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiffRequest {
    /// The one.
    pub one: ReadFrom,
    /// The other.
    pub other: ReadFrom,
    /// Only there and below, as typed.
    pub path: Option<Vec<u8>>,
}

/// Looks for a name in every backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FindRequest {
    /// The environment.
    pub environment: EnvName,
    /// What is sought, a glob.
    pub name: String,
    /// How the backups are found and opened.
    pub how: ReadBy,
}

/// Takes parts of a backup out as a tar archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportRequest {
    /// The backup.
    pub from: ReadFrom,
    /// What, as typed; empty for everything.
    pub paths: Vec<Vec<u8>>,
    /// How the archive is written.
    pub form: Form,
}

/// Verifies one backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyRequest {
    /// The backup.
    pub from: ReadFrom,
    /// How much is checked.
    pub level: Level,
    /// Only a part that is no more than this, another one at each run; `None` for everything.
    pub sample: Option<Share>,
}

/// Lets single backups go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForgetRequest {
    /// The environment.
    pub environment: EnvName,
    /// Which backups: ids, unique prefixes, `latest`, `latest~1`; never with the environment in front.
    pub backups: Vec<String>,
    /// Whether anything is done.
    pub mode: Mode,
    /// Only backups made by this pipeline.
    pub pipeline: Option<PipelineName>,
    /// Whether what only they needed is deleted at once.
    pub purge: bool,
    /// Whether the newest of a line may be among them.
    pub even_newest: bool,
    /// The environment that the operator confirmed on the command line.
    pub confirm: Option<EnvName>,
    /// Only in these targets; empty for all of the environment.
    pub targets: Vec<TargetName>,
    /// How long to wait for another such verb; `None` not at all.
    pub wait: Option<Duration>,
}

impl ForgetRequest {
    pub(super) fn options(&self) -> Options {
        Options {
            confirm: self.confirm.clone(),
            targets: self.targets.clone(),
            wait: self.wait,
            ..Options::default()
        }
    }
}

/// Deletes what no backup needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SweepRequest {
    /// The environment.
    pub environment: EnvName,
    /// Whether anything is done.
    pub mode: Mode,
    /// Only in these targets; empty for all of the environment.
    pub targets: Vec<TargetName>,
    /// How long to wait for another sweep; `None` not at all.
    pub wait: Option<Duration>,
}

impl SweepRequest {
    pub(super) fn options(&self) -> Options {
        Options {
            targets: self.targets.clone(),
            wait: self.wait,
            ..Options::default()
        }
    }
}

/// Says what a retention policy keeps.
#[derive(Clone, Debug, PartialEq)]
pub enum RetentionRequest {
    /// Of the backups of an environment.
    Backups(RetentionOfBackups),
    /// Of times.
    Times(RetentionOfTimes),
}

/// Says what a policy keeps of real backups.
#[derive(Clone, Debug, PartialEq)]
pub struct RetentionOfBackups {
    /// The environment.
    pub environment: EnvName,
    /// The rules; `None` for those of the pipeline's `retain` steps.
    pub policy: Option<Policy>,
    /// The present moment; `None` for what the clock says.
    pub at: Option<Timestamp>,
    /// The pipeline; `None` for `backup`, and with a policy for all.
    pub pipeline: Option<PipelineName>,
    /// As in [`RunRequest`].
    pub sets: Vec<String>,
    /// Only in these targets; empty for all.
    pub targets: Vec<TargetName>,
}

/// Says what a policy keeps of times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionOfTimes {
    /// One RFC 3339 time a line.
    pub text: String,
    /// The rules.
    pub policy: Policy,
    /// The present moment; `None` for what the clock says.
    pub at: Option<Timestamp>,
    /// Whether the guards keep more.
    pub guards: Guarding,
}

/// Whether guards stand on top of the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarding {
    /// They do.
    On,
    /// The rules alone decide.
    Off,
}

/// Puts back what a swap has replaced, lists what could be put back, or removes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RollbackRequest {
    /// The environment.
    pub environment: EnvName,
    /// What is asked for.
    pub rollback: Rollback,
}

/// Reads or verifies the journal of an environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalRequest {
    /// The environment.
    pub environment: EnvName,
    /// What to do with it.
    pub action: JournalAction,
}

/// What to do with the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalAction {
    /// Recompute every link.
    Verify,
    /// Give its records, oldest first.
    Show {
        /// Only records of this run.
        run: Option<RunId>,
        /// Only the last so many of them.
        last: Option<u32>,
    },
    /// Give its lines as they stand, oldest first.
    Export {
        /// Only records of this run.
        run: Option<RunId>,
        /// Not earlier.
        since: Option<Timestamp>,
        /// Not later.
        until: Option<Timestamp>,
    },
    /// Begin a new one where it is broken.
    Restart {
        /// The environment that the operator confirmed on the command line.
        confirm: Option<EnvName>,
    },
}

/// Makes a key, or works with the keys of an environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeysRequest {
    /// A new identity in this file, absolute.
    New(PathBuf),
    /// The keys that backups of this environment are sealed with.
    Of(EnvName, KeysAction),
}

/// What to do with the keys of an environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeysAction {
    /// Show them.
    Show {
        /// A file with an identity: say what it opens.
        identity: Option<PathBuf>,
    },
    /// Seal them to the recipients that the environment names.
    Add {
        /// A file with an identity that opens them, instead of what the environment says.
        identity: Option<PathBuf>,
        /// The environment that the operator confirmed on the command line.
        confirm: Option<EnvName>,
    },
    /// Make new ones for the backups from now on.
    Rotate {
        /// The environment that the operator confirmed on the command line.
        confirm: Option<EnvName>,
    },
}

/// Explains an error code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainErrorRequest {
    /// The code as typed.
    pub code: String,
}
