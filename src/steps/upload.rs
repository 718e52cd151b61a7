//! `upload`: stores the backup in one or more targets, its record last.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::TargetName;

/// Stores the backup in one or more targets. The record comes last: without it there is no backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Upload {
    /// Targets of the environment, by name.
    #[schemars(length(min = 1))]
    pub targets: Vec<TargetName>,
    /// How many targets must take the backup, default 1; a target beyond that which fails is left out and named, exit 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub require: Option<u32>,
}
