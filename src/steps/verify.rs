//! `verify`: checks the chosen backup before anything is done with it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Checks the chosen backup.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Verify {
    /// How much is checked.
    #[serde(default)]
    pub level: Level,
}

/// How much is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Level {
    /// Every stored object is there and has its digest.
    Objects,
    /// The same, and every entry unpacks to the content that the catalog says.
    #[default]
    Content,
}
