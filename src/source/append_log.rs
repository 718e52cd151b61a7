//! Settings of an `append-log` source, and what a log is made of: records in files, read in name order.

pub mod blocks;
mod capture;
mod claim;
pub mod difference;
pub mod memory;
pub mod proof;
pub mod reader;
mod whole;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::blocks::Sample;
pub(super) use self::capture::capture;
use self::reader::LogReader;
use super::SourceError;
use super::place::Place;

/// A log that only ever grows: a file, or a folder of files in name order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AppendLog {
    /// The log file, its folder, or a glob of its files. Relative paths start at the folder above `pipelines/`.
    #[schemars(length(min = 1), extend("x-glob" = true))]
    pub path: String,
    /// Globs, relative to the root, of what is not part of the log.
    #[serde(default)]
    #[schemars(extend("x-glob" = true))]
    pub exclude: Vec<String>,
    /// What ends a record. The last file is captured up to its last whole record.
    #[serde(default)]
    pub record: Record,
    /// Which of its files may be removed. Anything else that is missing from the log stops the run.
    #[serde(default)]
    pub rotate: Rotate,
    /// How it is proven that the log is what its last backup has and something more.
    #[serde(default)]
    pub prefix_check: PrefixCheck,
}

/// What ends a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Record {
    /// A record is a line: it ends with a newline.
    #[default]
    Line,
}

/// Which files of a log may be removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Rotate {
    /// No file: the log keeps every record that it ever had.
    #[default]
    Never,
    /// The oldest ones, whole: the log is a folder or a glob, and the names of its files ascend with their age.
    OldestFiles,
}

impl AppendLog {
    /// Whether its oldest files may be removed.
    pub fn rotates(&self) -> bool {
        self.rotate == Rotate::OldestFiles
    }
}

/// How much of a log is compared with its last backup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum PrefixCheck {
    /// All of it.
    #[default]
    Full,
    /// Before anything else its last MiB and 64 blocks drawn at random, and after that whatever the backup reads: of an
    /// archive that is all of it. Refused in a protected environment.
    Tail,
}

/// What ends a record.
pub(super) const END: u8 = b'\n';

/// Looks at a few blocks of a log, so that one that was rewritten ends the run before it is read.
pub(super) fn look(place: &Place, sample: &Sample) -> Result<(), SourceError> {
    let unreadable = |cause| place.unreadable(cause);
    let log = LogReader::open(place.open()?, &place.selection).map_err(unreadable)?;
    match blocks::compare(&place.open()?, log.files(), sample).map_err(unreadable)? {
        None => Ok(()),
        Some(breach) => Err(capture::broken(place, breach)),
    }
}

/// How many records end in a block.
pub(super) fn ends(block: &[u8]) -> u64 {
    // Counted in stretches whose count fits a byte, which the compiler turns into vector code.
    block
        .chunks(255)
        .map(|stretch| u64::from(stretch.iter().map(|byte| u8::from(*byte == END)).sum::<u8>()))
        .sum()
}
