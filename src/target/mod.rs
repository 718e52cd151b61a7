//! Where backups are kept: one URL, an `object_store` behind it, and the few things this program does with it.
//!
//! Every put is create-only. A target never overwrites.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where backups are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TargetSettings {
    /// `file:///var/backups/service`, or `file:backups/dev` below the folder above `pipelines/`.
    #[schemars(length(min = 1))]
    pub url: String,
}
