//! What each verb takes beside the global flags.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum, ValueHint};
use jiff::Timestamp;

use crate::archive::policy::Policy;
use crate::id::{EnvName, PipelineName, RunId, SourceName, TargetName};
use crate::units::Span;

/// `run`.
#[derive(Debug, Args)]
pub struct RunVerb {
    /// A name in `pipelines/`, or the path of a manifest.
    #[arg(value_name = "PIPELINE", value_hint = ValueHint::FilePath)]
    pub pipeline: String,
    /// Say what would be done, and do nothing.
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// What to run it with.
    #[command(flatten)]
    pub options: RunOptions,
    /// How it backs up.
    #[command(flatten)]
    pub backups: BackupOptions,
    /// How it restores.
    #[command(flatten)]
    pub restore: RestoreOptions,
}

/// `backup`.
#[derive(Debug, Args)]
pub struct BackupVerb {
    /// Say what would be done, and do nothing.
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// What to run it with.
    #[command(flatten)]
    pub options: RunOptions,
    /// How it backs up.
    #[command(flatten)]
    pub backups: BackupOptions,
}

/// `restore`.
#[derive(Debug, Args)]
pub struct RestoreVerb {
    /// The backup: an id, a unique prefix of one, `latest`, `latest~1` or `<env>/<id>`.
    #[arg(value_name = "BACKUP")]
    pub backup: String,
    /// Only these, with everything in them: paths or globs that begin with the name of a source, `config/service.toml`.
    #[arg(value_name = "PATH")]
    pub paths: Vec<String>,
    /// Say what would be done, and do nothing.
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// What to run it with.
    #[command(flatten)]
    pub options: RunOptions,
    /// How it restores.
    #[command(flatten)]
    pub restore: RestoreOptions,
}

/// `drill`.
#[derive(Debug, Args)]
pub struct DrillVerb {
    /// The backup: an id, a unique prefix of one, `latest`, `latest~1` or `<env>/<id>`. Default: the newest.
    #[arg(value_name = "BACKUP")]
    pub backup: Option<String>,
    /// Say what would be done, and do nothing.
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// What to run it with.
    #[command(flatten)]
    pub options: RunOptions,
    /// Where the backup comes from.
    #[command(flatten)]
    pub origin: FromOptions,
}

/// `plan`.
#[derive(Debug, Args)]
pub struct PlanVerb {
    /// A name in `pipelines/`, or the path of a manifest.
    #[arg(value_name = "PIPELINE", value_hint = ValueHint::FilePath)]
    pub pipeline: String,
    /// For a restore: the backup; the same as `--arg backup=BACKUP`.
    #[arg(value_name = "BACKUP")]
    pub backup: Option<String>,
    /// For a restore: only these paths or globs.
    #[arg(value_name = "PATH")]
    pub paths: Vec<String>,
    /// Start no process, open no socket, read no secret and no source.
    #[arg(long)]
    pub offline: bool,
    /// What it would be run with.
    #[command(flatten)]
    pub options: RunOptions,
    /// How it would back up.
    #[command(flatten)]
    pub backups: BackupOptions,
    /// How it restores.
    #[command(flatten)]
    pub restore: RestoreOptions,
}

/// What a pipeline is run with.
#[derive(Clone, Debug, Default, Args)]
pub struct RunOptions {
    /// Set one value of the manifest: `step.<id>.<key>`, `path.<name>` or `target.<name>.<key>`. Repeatable.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// Give an argument that the pipeline declares. Repeatable.
    #[arg(long = "arg", value_name = "KEY=VALUE")]
    pub args: Vec<String>,
    /// Confirm by naming the environment, in place of typing it when asked.
    #[arg(long, value_name = "ENV")]
    pub confirm: Option<EnvName>,
    /// Use only this target. Repeatable.
    #[arg(long = "target", value_name = "TARGET")]
    pub targets: Vec<TargetName>,
    /// Wait this long for another run of the same pipeline to end, `10min`.
    #[arg(long, value_name = "DURATION")]
    pub wait: Option<Span>,
}

/// What a pipeline is run with that backs up.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Backup options")]
pub struct BackupOptions {
    /// Back up this `append-log` source although it is not what its last backup has and something more. Repeatable.
    #[arg(long = "accept-log-rewrite", value_name = "SOURCE")]
    pub accept_log_rewrites: Vec<SourceName>,
}

/// Where a restored backup comes from, and what opens it.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Restore options")]
pub struct FromOptions {
    /// Take the backup from this environment, and from its targets, instead of the one it goes to.
    #[arg(long, value_name = "ENV")]
    pub from: Option<EnvName>,
    /// Let data of a protected environment come into another one without redaction. The journal says so.
    #[arg(long)]
    pub allow_unredacted: bool,
    /// The file with the age identity that opens the backup, instead of what the environment says.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub identity: Option<PathBuf>,
    /// Use a backup although none of the environment's signers made it.
    #[arg(long)]
    pub trust_unsigned: bool,
}

/// What a pipeline is run with that restores.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Restore options")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct RestoreOptions {
    /// Where the backup comes from.
    #[command(flatten)]
    pub origin: FromOptions,
    /// Restore into this empty or absent folder instead of in place.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub to: Option<PathBuf>,
    /// Where no target has the whole backup, restore what can be had of it, name what is lost, and end with 4.
    #[arg(long, requires = "to")]
    pub past_damage: bool,
    /// Restore only paths that match. Repeatable.
    #[arg(long, value_name = "GLOB")]
    pub include: Vec<String>,
    /// Do not restore paths that match. Repeatable.
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<String>,
    /// Restored files belong to whoever runs the restore.
    #[arg(long, conflicts_with = "numeric_owner")]
    pub no_owner: bool,
    /// Restored files belong to the same numbers, whatever their names are here.
    #[arg(long)]
    pub numeric_owner: bool,
    /// Put this log back although records written since the backup go with what is replaced. Repeatable.
    #[arg(long = "rewind-log", value_name = "SOURCE")]
    pub rewind_logs: Vec<SourceName>,
    /// Replace files that other processes use. They go on with the old ones, and what they write then is lost.
    #[arg(long)]
    pub while_running: bool,
}

/// `rollback`.
#[derive(Debug, Args)]
pub struct RollbackVerb {
    /// A rollback point: its id or a unique prefix, as `--list` shows it. Default: the newest; with `--drop` the only one.
    #[arg(value_name = "POINT")]
    pub point: Option<String>,
    /// List the rollback points and the space they take.
    #[arg(long, conflicts_with_all = ["point", "drop"])]
    pub list: bool,
    /// Remove the point instead, and what it keeps.
    #[arg(long)]
    pub drop: bool,
    /// Confirm by naming the environment, in place of typing it when asked.
    #[arg(long, value_name = "ENV")]
    pub confirm: Option<EnvName>,
    /// Replace files that other processes use. They go on with the old ones, and what they write then is lost.
    #[arg(long)]
    pub while_running: bool,
    /// Wait this long for another rollback to end, `10min`.
    #[arg(long, value_name = "DURATION")]
    pub wait: Option<Span>,
}

/// `validate`.
#[derive(Debug, Args)]
pub struct ValidateVerb {
    /// Names in `pipelines/`, or paths of manifests. Default: all.
    #[arg(value_name = "PIPELINE", value_hint = ValueHint::FilePath)]
    pub pipelines: Vec<String>,
}

/// `explain`.
#[derive(Debug, Args)]
pub struct ExplainVerb {
    /// A name in `pipelines/`, or the path of a manifest.
    #[arg(value_name = "PIPELINE", value_hint = ValueHint::FilePath)]
    pub pipeline: String,
    /// Only what stands at or below this path, `step.pack` or `target.local.url`.
    #[arg(value_name = "PATH")]
    pub path: Option<String>,
    /// Set one value of the manifest first. Repeatable.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// Give an argument that the pipeline declares; else its example is used. Repeatable.
    #[arg(long = "arg", value_name = "KEY=VALUE")]
    pub args: Vec<String>,
}

/// `schema`.
#[derive(Debug, Args)]
pub struct SchemaVerb {
    /// Which manifest.
    #[arg(value_enum, value_name = "MANIFEST", default_value_t = SchemaOf::Pipeline)]
    pub of: SchemaOf,
}

/// Which manifest a schema describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SchemaOf {
    /// A pipeline.
    Pipeline,
    /// An environment.
    Environment,
}

/// `list`.
#[derive(Debug, Args)]
pub struct ListVerb {
    /// Only backups made by this pipeline.
    #[arg(long, value_name = "PIPELINE")]
    pub pipeline: Option<PipelineName>,
    /// Look only in this target. Repeatable.
    #[arg(long = "target", value_name = "TARGET")]
    pub targets: Vec<TargetName>,
}

/// `show`.
#[derive(Debug, Args)]
pub struct ShowVerb {
    /// The backup: an id, a unique prefix of one, `latest`, `latest~1` or `<env>/<id>`.
    #[arg(value_name = "BACKUP")]
    pub backup: String,
    /// Only backups made by this pipeline.
    #[arg(long, value_name = "PIPELINE")]
    pub pipeline: Option<PipelineName>,
    /// Look only in this target. Repeatable.
    #[arg(long = "target", value_name = "TARGET")]
    pub targets: Vec<TargetName>,
}

/// `forget`.
#[derive(Debug, Args)]
pub struct ForgetVerb {
    /// The backups: ids, unique prefixes, `latest`, `latest~1` or `<env>/<id>`.
    #[arg(value_name = "BACKUP", required = true)]
    pub backups: Vec<String>,
    /// Say what would be removed, and do nothing.
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Delete at once what only these backups needed, instead of leaving it to a later sweep. No other run may be at work.
    #[arg(long)]
    pub purge: bool,
    /// Let a backup go even if it is the newest of its pipeline and instance.
    #[arg(long)]
    pub even_newest: bool,
    /// Only backups made by this pipeline.
    #[arg(long, value_name = "PIPELINE")]
    pub pipeline: Option<PipelineName>,
    /// Confirm by naming the environment, in place of typing it when asked.
    #[arg(long, value_name = "ENV")]
    pub confirm: Option<EnvName>,
    /// Remove them from this target only. Repeatable.
    #[arg(long = "target", value_name = "TARGET")]
    pub targets: Vec<TargetName>,
    /// Wait this long for another `forget` to end, `10min`.
    #[arg(long, value_name = "DURATION")]
    pub wait: Option<Span>,
}

/// `sweep`.
#[derive(Debug, Args)]
pub struct SweepVerb {
    /// Say what would be deleted, and do nothing.
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Sweep only this target. Repeatable.
    #[arg(long = "target", value_name = "TARGET")]
    pub targets: Vec<TargetName>,
    /// Wait this long for another sweep to end, `10min`.
    #[arg(long, value_name = "DURATION")]
    pub wait: Option<Span>,
}

/// `retention`.
#[derive(Debug, Args)]
pub struct RetentionVerb {
    /// Try these rules, `keep-daily=7,keep-within=2m`. Default: those of the pipeline's `retain` steps.
    #[arg(long, value_name = "POLICY")]
    pub policy: Option<Policy>,
    /// Apply the rules to the times in FILE instead of to backups: one RFC 3339 time a line, `-` for standard input.
    #[arg(long, value_name = "FILE", requires = "policy", value_hint = ValueHint::FilePath)]
    pub times: Option<PathBuf>,
    /// Take TIME (RFC 3339) for the present moment.
    #[arg(long, value_name = "TIME")]
    pub at: Option<Timestamp>,
    /// With `--times`: let the guards keep the newest and what is dated in the future, as they do for backups.
    #[arg(long, requires = "times")]
    pub guards: bool,
    /// The pipeline whose backups and rules are looked at. Default: `backup`; with `--policy` the backups of all.
    #[arg(long, value_name = "PIPELINE", conflicts_with = "times")]
    pub pipeline: Option<PipelineName>,
    /// Set one value of the pipeline first, `step.retention.keep-daily=30`. Repeatable.
    #[arg(long = "set", value_name = "KEY=VALUE", conflicts_with_all = ["times", "policy"])]
    pub sets: Vec<String>,
    /// Look only in this target. Repeatable.
    #[arg(long = "target", value_name = "TARGET", conflicts_with = "times")]
    pub targets: Vec<TargetName>,
}

/// `journal`.
#[derive(Debug, Args)]
pub struct JournalVerb {
    /// What to do with it.
    #[command(subcommand)]
    pub action: JournalAction,
}

/// What to do with the journal.
#[derive(Debug, Subcommand)]
pub enum JournalAction {
    /// Recompute every link of the chain and say whether it holds.
    #[command(after_help = "Examples:\n  \
        strongroom journal verify --env live\n  \
        strongroom journal verify --env live --json")]
    Verify,
    /// Print records, oldest first.
    #[command(after_help = "Examples:\n  \
        strongroom journal show --env dev --last 20\n  \
        strongroom journal show --env live --run 01920f6e-2b9c-7000-8000-0242ac120002")]
    Show {
        /// Only records of this run.
        #[arg(long, value_name = "RUN")]
        run: Option<RunId>,
        /// Only the last COUNT records.
        #[arg(long, value_name = "COUNT")]
        last: Option<u32>,
    },
    /// Print records as they stand in the journal, a line a record, so that their hashes can be computed again.
    #[command(after_help = "Examples:\n  \
        strongroom journal export --env live -o journal.jsonl\n  \
        strongroom journal export --env live --since 2026-11-21T00:00:00Z --until 2026-11-22T00:00:00Z")]
    Export {
        /// Only records of this run.
        #[arg(long, value_name = "RUN")]
        run: Option<RunId>,
        /// Only records of TIME (RFC 3339) or later.
        #[arg(long, value_name = "TIME")]
        since: Option<Timestamp>,
        /// Only records of TIME (RFC 3339) or earlier.
        #[arg(long, value_name = "TIME")]
        until: Option<Timestamp>,
    },
    /// Begin a new journal where the old one is broken; the old one is moved aside whole.
    #[command(after_help = "Examples:\n  \
        strongroom journal restart --env dev\n  \
        strongroom journal restart --env live --confirm live")]
    Restart {
        /// Confirm by naming the environment, in place of typing it when asked.
        #[arg(long, value_name = "ENV")]
        confirm: Option<EnvName>,
    },
}

/// `keys`.
#[derive(Debug, Args)]
pub struct KeysVerb {
    /// What to do with them.
    #[command(subcommand)]
    pub action: KeysAction,
}

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub enum KeysAction {
    /// Make an identity that opens backups; its recipient is printed.
    #[command(after_help = "Examples:\n  \
        strongroom keys new operator.key\n  \
        strongroom keys new /media/stick/second.key --json")]
    New {
        /// The new file; nothing may be there yet. Only its owner can read it.
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
    /// Show the key that this host signs with and the epochs that backups are sealed in.
    #[command(after_help = "Examples:\n  \
        strongroom keys show --env live\n  \
        strongroom keys show --env live --identity operator.key")]
    Show {
        /// Say which of them this identity opens.
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        identity: Option<PathBuf>,
    },
    /// Let every recipient that the environment names open the backups there are.
    #[command(after_help = "Examples:\n  \
        strongroom keys add --env dev --identity operator.key\n  \
        strongroom keys add --env live --identity operator.key --confirm live")]
    Add {
        /// A file with an identity that opens them, instead of what the environment says.
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        identity: Option<PathBuf>,
        /// Confirm by naming the environment, in place of typing it when asked.
        #[arg(long, value_name = "ENV")]
        confirm: Option<EnvName>,
    },
    /// Begin a new epoch: the next backup stores everything anew, for the recipients of now alone.
    #[command(after_help = "Examples:\n  \
        strongroom keys rotate --env dev\n  \
        strongroom keys rotate --env live --confirm live")]
    Rotate {
        /// Confirm by naming the environment, in place of typing it when asked.
        #[arg(long, value_name = "ENV")]
        confirm: Option<EnvName>,
    },
}

/// `explain-error`.
#[derive(Debug, Args)]
pub struct ExplainErrorVerb {
    /// The code, as it stands in brackets after `error`.
    #[arg(value_name = "CODE")]
    pub code: String,
}

/// `completions`.
#[derive(Debug, Args)]
pub struct CompletionsVerb {
    /// The shell.
    #[arg(value_enum, value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}

/// `man`.
#[derive(Debug, Args)]
pub struct ManVerb {
    /// Write one page for each verb into this folder.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub out: Option<PathBuf>,
}

/// `generate`.
#[derive(Debug, Args)]
pub struct GenerateVerb {
    /// Write nothing; fail when a file differs from what would be written.
    #[arg(long)]
    pub check: bool,
}
