//! The command line as clap reads it: flags that every verb takes, and the verbs.
//!
//! Nothing is decided here; `cli::request` turns what was read into requests. The help texts are also the text of
//! `docs/reference/cli.md`, of the man pages and of the completions.

mod reading;
mod verbs;

use std::path::PathBuf;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum, ValueHint};

use crate::id::EnvName;
use crate::report::Format;

pub use reading::{CatVerb, DiffVerb, ExportVerb, FindVerb, LsVerb, ReadOptions, VerifyLevel, VerifyVerb};
pub use verbs::{
    BackupOptions, BackupVerb, CompletionsVerb, DrillVerb, ExplainErrorVerb, ExplainVerb, ForgetVerb, FromOptions,
    GenerateVerb, JournalAction, JournalVerb, KeysAction, KeysVerb, ListVerb, ManVerb, PlanVerb, RestoreOptions,
    RestoreVerb, RetentionVerb, RollbackVerb, RunOptions, RunVerb, SchemaOf, SchemaVerb, ShowVerb, SweepVerb,
    ValidateVerb,
};

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
    /// Rehearse a restore into nowhere: run the pipeline `drill`.
    #[command(after_help = "Examples:\n  \
        strongroom drill --env dev\n  \
        strongroom drill latest~1 --env live --json")]
    Drill(DrillVerb),
    /// Put back what a restore replaced; itself undone the same way.
    #[command(after_help = "Examples:\n  \
        strongroom rollback --list --env live\n  \
        strongroom rollback --env live --confirm live")]
    Rollback(RollbackVerb),
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
    /// List what is in a backup.
    #[command(after_help = "Examples:\n  \
        strongroom ls latest --env dev\n  \
        strongroom ls latest~1 config/settings --env live --recursive --json")]
    Ls(LsVerb),
    /// Print the content of a file in a backup.
    #[command(after_help = "Examples:\n  \
        strongroom cat latest config/app.toml --env dev\n  \
        strongroom cat latest /srv/service/data/report.csv --env live -o report.csv")]
    Cat(CatVerb),
    /// Say what differs between two backups.
    #[command(after_help = "Examples:\n  \
        strongroom diff latest~1 latest --env dev\n  \
        strongroom diff staging/latest live/latest config --json")]
    Diff(DiffVerb),
    /// Look for a name in every backup.
    #[command(after_help = "Examples:\n  \
        strongroom find app.toml --env dev\n  \
        strongroom find 'config/**/*.toml' --env live --pipeline backup")]
    Find(FindVerb),
    /// Take files out of a backup as a tar archive.
    #[command(after_help = "Examples:\n  \
        strongroom export latest config --env dev -o config.tar\n  \
        strongroom export latest --env live --output - | tar -tv")]
    Export(ExportVerb),
    /// Verify one backup, whole or a part of it at each run.
    #[command(after_help = "Examples:\n  \
        strongroom verify latest --env dev\n  \
        strongroom verify latest --env live --sample 5%")]
    Verify(VerifyVerb),
    /// Say which backups a retention policy keeps, and why; change nothing.
    #[command(after_help = "Examples:\n  \
        strongroom retention --env live --set step.retention.keep-daily=30\n  \
        strongroom retention --policy keep-daily=7,keep-within=2m --times times.txt --json")]
    Retention(RetentionVerb),
    /// Let single backups go.
    #[command(after_help = "Examples:\n  \
        strongroom forget 20261121T215100Z-9c41 --env dev\n  \
        strongroom forget 20261121T215100Z-9c41 --env live --purge --confirm live")]
    Forget(ForgetVerb),
    /// Delete what no backup needs and was listed long enough; list the rest.
    #[command(after_help = "Examples:\n  \
        strongroom sweep --env live\n  \
        strongroom sweep --env live --dry-run --json")]
    Sweep(SweepVerb),
    /// Read, verify or restart the journal of an environment.
    #[command(
        subcommand_required = true,
        after_help = "Examples:\n  \
        strongroom journal verify --env live\n  \
        strongroom journal show --env dev --last 20"
    )]
    Journal(JournalVerb),
    /// Make keys, and show, extend or replace those that backups are sealed with.
    #[command(
        subcommand_required = true,
        after_help = "Examples:\n  \
        strongroom keys new operator.key\n  \
        strongroom keys show --env live"
    )]
    Keys(KeysVerb),
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

impl Verb {
    /// The verb as typed, and the `command` of its outcome.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Run(_) => "run",
            Self::Backup(_) => "backup",
            Self::Restore(_) => "restore",
            Self::Drill(_) => "drill",
            Self::Rollback(_) => "rollback",
            Self::Plan(_) => "plan",
            Self::Validate(_) => "validate",
            Self::Explain(_) => "explain",
            Self::Schema(_) => "schema",
            Self::List(_) => "list",
            Self::Show(_) => "show",
            Self::Ls(_) => "ls",
            Self::Cat(_) => "cat",
            Self::Diff(_) => "diff",
            Self::Find(_) => "find",
            Self::Export(_) => "export",
            Self::Verify(_) => "verify",
            Self::Retention(_) => "retention",
            Self::Forget(_) => "forget",
            Self::Sweep(_) => "sweep",
            Self::Journal(_) => "journal",
            Self::Keys(_) => "keys",
            Self::ExplainError(_) => "explain-error",
            Self::Completions(_) => "completions",
            Self::Man(_) => "man",
            Self::Generate(_) => "generate",
        }
    }

    /// Whether the verb hands its result on while it is made.
    pub const fn hands_on(&self) -> bool {
        matches!(
            self,
            Self::Ls(_) | Self::Cat(_) | Self::Diff(_) | Self::Find(_) | Self::Export(_)
        )
    }

    /// Whether its result is bytes, so that a file of `--output` takes nothing else, not even why there are none.
    pub const fn gives_bytes(&self) -> bool {
        matches!(self, Self::Cat(_) | Self::Export(_))
    }

    /// Whether the verb does something, so that `-q` may leave its summary out; the others are asked for their output.
    pub const fn does(&self) -> bool {
        match self {
            Self::Run(verb) => !verb.dry_run,
            Self::Backup(verb) => !verb.dry_run,
            Self::Restore(verb) => !verb.dry_run,
            Self::Drill(verb) => !verb.dry_run,
            Self::Rollback(verb) => !verb.list,
            Self::Forget(verb) => !verb.dry_run,
            Self::Sweep(verb) => !verb.dry_run,
            Self::Validate(_) | Self::Verify(_) | Self::Generate(_) => true,
            Self::Journal(verb) => matches!(verb.action, JournalAction::Verify | JournalAction::Restart { .. }),
            Self::Keys(verb) => matches!(verb.action, KeysAction::Add { .. } | KeysAction::Rotate { .. }),
            Self::Plan(_)
            | Self::Explain(_)
            | Self::Schema(_)
            | Self::List(_)
            | Self::Show(_)
            | Self::Ls(_)
            | Self::Cat(_)
            | Self::Diff(_)
            | Self::Find(_)
            | Self::Export(_)
            | Self::Retention(_)
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
