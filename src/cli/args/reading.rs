//! What the verbs take that read a backup.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

use crate::id::{PipelineName, TargetName};
use crate::steps::verify::Level;
use crate::units::Share;

/// How backups are found and opened.
#[derive(Clone, Debug, Default, Args)]
pub struct ReadOptions {
    /// Only backups made by this pipeline.
    #[arg(long, value_name = "PIPELINE")]
    pub pipeline: Option<PipelineName>,
    /// Look only in this target. Repeatable.
    #[arg(long = "target", value_name = "TARGET")]
    pub targets: Vec<TargetName>,
    /// The file with the age identity that opens the backup, instead of what the environment says.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub identity: Option<PathBuf>,
    /// Use a backup although none of the environment's signers made it.
    #[arg(long)]
    pub trust_unsigned: bool,
}

/// `ls`.
#[derive(Debug, Args)]
pub struct LsVerb {
    /// The backup: an id, a unique prefix of one, `latest`, `latest~1` or `<env>/<id>`.
    #[arg(value_name = "BACKUP")]
    pub backup: String,
    /// What to list: `<source>/<path>`, or the absolute path that it had on the host. Default: the roots of the sources.
    #[arg(value_name = "PATH")]
    pub path: Option<OsString>,
    /// List everything below too.
    #[arg(short = 'R', long)]
    pub recursive: bool,
    /// How the backup is found and opened.
    #[command(flatten)]
    pub options: ReadOptions,
}

/// `cat`.
#[derive(Debug, Args)]
pub struct CatVerb {
    /// The backup: an id, a unique prefix of one, `latest`, `latest~1` or `<env>/<id>`.
    #[arg(value_name = "BACKUP")]
    pub backup: String,
    /// The file: `<source>/<path>`, or the absolute path that it had on the host.
    #[arg(value_name = "PATH")]
    pub path: OsString,
    /// How the backup is found and opened.
    #[command(flatten)]
    pub options: ReadOptions,
}

/// `diff`.
#[derive(Debug, Args)]
pub struct DiffVerb {
    /// The backup before: an id, a unique prefix of one, `latest`, `latest~1` or `<env>/<id>`.
    #[arg(value_name = "A")]
    pub one: String,
    /// The backup after.
    #[arg(value_name = "B")]
    pub other: String,
    /// Compare only this and what is below: `<source>/<path>`, or the absolute path that it had on the host.
    #[arg(value_name = "PATH")]
    pub path: Option<OsString>,
    /// How the backups are found and opened.
    #[command(flatten)]
    pub options: ReadOptions,
}

/// `find`.
#[derive(Debug, Args)]
pub struct FindVerb {
    /// A glob. Without a `/` it is sought at any depth, with one it is the whole `<source>/<path>`.
    #[arg(value_name = "NAME")]
    pub name: String,
    /// How the backups are found and opened.
    #[command(flatten)]
    pub options: ReadOptions,
}

/// `export`.
#[derive(Debug, Args)]
pub struct ExportVerb {
    /// The backup: an id, a unique prefix of one, `latest`, `latest~1` or `<env>/<id>`.
    #[arg(value_name = "BACKUP")]
    pub backup: String,
    /// What to take out: `<source>/<path>`, or the absolute path that it had on the host. Default: everything.
    #[arg(value_name = "PATH")]
    pub paths: Vec<OsString>,
    /// Compress the archive; done too where the name after `-o` ends in `.zst`.
    #[arg(long)]
    pub zstd: bool,
    /// How the backup is found and opened.
    #[command(flatten)]
    pub options: ReadOptions,
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
    /// Check only a part of at most this share, `5%`: the next one at each run, until all were checked.
    #[arg(long, value_name = "SHARE")]
    pub sample: Option<Share>,
    /// How the backup is found and opened.
    #[command(flatten)]
    pub options: ReadOptions,
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
