//! The command line as clap reads it: flags that every verb takes, and the verbs.
//!
//! Nothing is decided here; `cli::request` turns what was read into requests. The help texts are also the text of
//! `docs/reference/cli.md`, of the man pages and of the completions.

use std::path::PathBuf;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum, ValueHint};

use crate::id::{EnvName, PipelineName, RunId, TargetName};
use crate::report::Format;
use crate::steps::verify::Level;
use crate::units::Span;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// Backup, restore and audit pipelines for small production services.
///
/// A pipeline is a TOML file in `pipelines/`; an environment in `pipelines/environments/` says where and with which
/// values it runs.
#[derive(Debug, Parser)]
#[command(
    name = "strongroom",
    version,
    styles = STYLES,
    max_term_width = 100,
    propagate_version = true,
    disable_help_subcommand = true,
    after_help = "Examples:\n  \
        strongroom backup --env dev\n  \
        strongroom restore latest --env dev --to /tmp/look\n\n\
        Exit codes: 0 done, 1 failed, 2 usage, 3 warnings, 4 verification failed, 5 refused, 10 not found, 11 held,\n\
        12 cannot decrypt, 78 manifest invalid, 130 interrupted, 143 terminated."
)]
pub struct Cli {
    /// Flags that every verb takes.
    #[command(flatten)]
    pub global: Global,
    /// The verb.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Flags that every verb takes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The environment: a file `pipelines/environments/<ENV>.toml`.
    #[arg(short, long, value_name = "ENV", global = true)]
    pub env: Option<EnvName>,
    /// The project folder. Default: the nearest folder at or above the current one that has `pipelines/`.
    #[arg(long, value_name = "DIR", global = true, value_hint = ValueHint::DirPath)]
    pub project: Option<PathBuf>,
    /// Print one JSON document; the same as `--format json`.
    #[arg(long, global = true, conflicts_with = "format")]
    pub json: bool,
    /// How the result is written.
    #[arg(long, value_enum, value_name = "FORMAT", global = true)]
    pub format: Option<Format>,
    /// Write the result to FILE (replaced as a whole) instead of the standard output.
    #[arg(short, long, value_name = "FILE", global = true, value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    /// No progress, and no summary of a run that has nothing to report; problems are still printed.
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Log to the standard error; `-vv` for debugging. `STRONGROOM_LOG` takes finer filters.
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub verbose: u8,
    /// When to use colour. `auto` asks the terminal and `NO_COLOR`.
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = ColorWhen::Auto, global = true)]
    pub color: ColorWhen,
    /// No moving progress display; one plain line a step instead.
    #[arg(long, global = true)]
    pub no_progress: bool,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ColorWhen {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run a pipeline.
    #[command(after_help = "Examples:\n  \
        strongroom run backup --env live\n  \
        strongroom run pipelines/nightly.toml --env staging --set step.pack.level=9")]
    Run(RunVerb),
    /// Make a backup: run the pipeline `backup`.
    #[command(after_help = "Examples:\n  \
        strongroom backup --env dev\n  \
        strongroom backup --env live --target offsite --wait 10min --json")]
    Backup(BackupVerb),
    /// Restore a backup: run the pipeline `restore`.
    #[command(after_help = "Examples:\n  \
        strongroom restore latest --env dev --to /tmp/look\n  \
        strongroom restore 20261121T215100Z-9c41 --env live --confirm live")]
    Restore(RestoreVerb),
    /// Say what a run would do, and do nothing.
    #[command(after_help = "Examples:\n  \
        strongroom plan backup --env dev\n  \
        strongroom plan restore latest --env live --offline")]
    Plan(PlanVerb),
    /// Check manifests: every pipeline in every environment, unless some are named.
    #[command(after_help = "Examples:\n  \
        strongroom validate\n  \
        strongroom validate backup --env live")]
    Validate(ValidateVerb),
    /// Show every value of a pipeline, where it was written and what it replaced.
    #[command(after_help = "Examples:\n  \
        strongroom explain backup --env live\n  \
        strongroom explain backup step.pack --env dev")]
    Explain(ExplainVerb),
    /// Print the JSON Schema of a manifest.
    #[command(after_help = "Examples:\n  \
        strongroom schema\n  \
        strongroom schema environment -o environment.schema.json")]
    Schema(SchemaVerb),
    /// List the backups of an environment.
    #[command(after_help = "Examples:\n  \
        strongroom list --env dev\n  \
        strongroom list --env live --target offsite --json")]
    List(ListVerb),
    /// Show one backup: when, from what, how large, where.
    #[command(after_help = "Examples:\n  \
        strongroom show latest --env dev\n  \
        strongroom show latest~1 --env live --json")]
    Show(ShowVerb),
    /// Verify one backup.
    #[command(after_help = "Examples:\n  \
        strongroom verify latest --env dev\n  \
        strongroom verify latest --env live --level objects")]
    Verify(VerifyVerb),
    /// Read or verify the journal of an environment.
    #[command(
        subcommand_required = true,
        after_help = "Examples:\n  \
        strongroom journal verify --env live\n  \
        strongroom journal show --env dev --last 20"
    )]
    Journal(JournalVerb),
    /// Explain an error code such as `flow-order`.
    #[command(after_help = "Examples:\n  \
        strongroom explain-error flow-order\n  \
        strongroom explain-error secret-file-mode")]
    ExplainError(ExplainErrorVerb),
    /// Print a completion script.
    #[command(after_help = "Examples:\n  \
        strongroom completions bash -o /etc/bash_completion.d/strongroom\n  \
        strongroom completions fish -o ~/.config/fish/completions/strongroom.fish")]
    Completions(CompletionsVerb),
    /// Print the man page, or write one for each verb.
    #[command(after_help = "Examples:\n  \
        strongroom man | man -l -\n  \
        strongroom man --out /usr/local/share/man/man1")]
    Man(ManVerb),
    /// Write the generated files of the project's own sources, or compare them.
    #[command(hide = true)]
    Generate(GenerateVerb),
}

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
}

/// `restore`.
#[derive(Debug, Args)]
pub struct RestoreVerb {
    /// The backup: an id, a unique prefix of one, `latest`, `latest~1` or `<env>/<id>`.
    #[arg(value_name = "BACKUP")]
    pub backup: String,
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

/// `plan`.
#[derive(Debug, Args)]
pub struct PlanVerb {
    /// A name in `pipelines/`, or the path of a manifest.
    #[arg(value_name = "PIPELINE", value_hint = ValueHint::FilePath)]
    pub pipeline: String,
    /// For a restore: the backup; the same as `--arg backup=BACKUP`.
    #[arg(value_name = "BACKUP")]
    pub backup: Option<String>,
    /// Start no process, open no socket, read no secret and no source.
    #[arg(long)]
    pub offline: bool,
    /// What it would be run with.
    #[command(flatten)]
    pub options: RunOptions,
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

/// What a pipeline is run with that restores.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Restore options")]
pub struct RestoreOptions {
    /// Restore into this empty or absent folder instead of in place.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub to: Option<PathBuf>,
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

/// `verify`.
#[derive(Debug, Args)]
pub struct VerifyVerb {
    /// The backup: an id, a unique prefix of one, `latest`, `latest~1` or `<env>/<id>`.
    #[arg(value_name = "BACKUP")]
    pub backup: String,
    /// How much is checked: every stored object's digest, or every entry's content too.
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t = VerifyLevel::Content)]
    pub level: VerifyLevel,
    /// Only backups made by this pipeline.
    #[arg(long, value_name = "PIPELINE")]
    pub pipeline: Option<PipelineName>,
    /// Look only in this target. Repeatable.
    #[arg(long = "target", value_name = "TARGET")]
    pub targets: Vec<TargetName>,
}

/// How much `verify` checks, as the command line has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum VerifyLevel {
    /// Every stored object is there and has its digest.
    Objects,
    /// The same, and every entry unpacks to the content that the catalog says.
    Content,
}

impl From<VerifyLevel> for Level {
    fn from(level: VerifyLevel) -> Self {
        match level {
            VerifyLevel::Objects => Self::Objects,
            VerifyLevel::Content => Self::Content,
        }
    }
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

impl Verb {
    /// The verb as typed, and the `command` of its outcome.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Run(_) => "run",
            Self::Backup(_) => "backup",
            Self::Restore(_) => "restore",
            Self::Plan(_) => "plan",
            Self::Validate(_) => "validate",
            Self::Explain(_) => "explain",
            Self::Schema(_) => "schema",
            Self::List(_) => "list",
            Self::Show(_) => "show",
            Self::Verify(_) => "verify",
            Self::Journal(_) => "journal",
            Self::ExplainError(_) => "explain-error",
            Self::Completions(_) => "completions",
            Self::Man(_) => "man",
            Self::Generate(_) => "generate",
        }
    }

    /// Whether the verb does something, so that `-q` may leave its summary out; the others are asked for their output.
    pub const fn does(&self) -> bool {
        match self {
            Self::Run(verb) => !verb.dry_run,
            Self::Backup(verb) => !verb.dry_run,
            Self::Restore(verb) => !verb.dry_run,
            Self::Validate(_) | Self::Verify(_) | Self::Generate(_) => true,
            Self::Journal(verb) => matches!(verb.action, JournalAction::Verify),
            Self::Plan(_)
            | Self::Explain(_)
            | Self::Schema(_)
            | Self::List(_)
            | Self::Show(_)
            | Self::ExplainError(_)
            | Self::Completions(_)
            | Self::Man(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_visible_verb_shows_two_examples() {
        for verb in Cli::command().get_subcommands().filter(|verb| !verb.is_hide_set()) {
            let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert_eq!(
                help.matches("\n  strongroom ").count(),
                2,
                "{}: {help}",
                verb.get_name()
            );
        }
    }
}
