//! Settings of an `append-log` source, and its capture: files in name order, the last one cut after its last whole record.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A log that only ever grows: a file, or a folder of files in name order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AppendLog {
    /// The log file, its folder, or a glob of its files. Relative paths start at the folder above `pipelines/`.
    #[schemars(length(min = 1))]
    pub path: String,
    /// Globs, relative to the root, of what is not part of the log.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// What ends a record. The last file is captured up to its last whole record.
    #[serde(default)]
    pub record: Record,
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
