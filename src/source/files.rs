//! Settings of a `files` source, and its capture: a tree as it is, every entry with all its metadata.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Files and folders as they are, with all their metadata.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Files {
    /// A folder, a file, or a glob such as `/srv/data/*.json`. The root is the longest leading folder without a glob
    /// character; paths in the backup are relative to it. Relative paths start at the folder above `pipelines/`.
    #[schemars(length(min = 1))]
    pub path: String,
    /// Globs, relative to the root, of what is left out. A pattern without `/` matches a name at any depth; one with `/`
    /// matches the whole path; a folder that matches is left out with everything in it.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Stay on the file system of the root; folders on others are kept empty.
    #[serde(default)]
    pub one_file_system: bool,
}
