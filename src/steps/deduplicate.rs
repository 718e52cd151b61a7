//! `deduplicate`: stores only what no earlier backup of the same line holds.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Stores only content that the last backup of this pipeline and instance does not hold. Files that look unchanged are not
/// read; of large files and databases only the parts that changed are stored. Without this step a backup is one archive of
/// everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Deduplicate {
    /// Which files are read.
    #[serde(default)]
    pub read: Read,
}

/// Which files are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Read {
    /// Those that are new or whose size, times or inode changed since the last backup.
    #[default]
    Changed,
    /// All of them: finds changes that left no trace in size and times.
    All,
}
