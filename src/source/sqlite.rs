//! Settings of a `sqlite` source, and its capture: each database copied by SQLite's online backup, one at a time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// SQLite databases, copied by SQLite's online backup while the service writes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Sqlite {
    /// A database, a folder of databases, or a glob such as `/srv/data/*.db`. The `-wal`, `-shm` and `-journal` files
    /// beside a database are part of it. Relative paths start at the folder above `pipelines/`.
    #[schemars(length(min = 1))]
    pub path: String,
    /// Globs, relative to the root, of what is left out.
    #[serde(default)]
    pub exclude: Vec<String>,
}
