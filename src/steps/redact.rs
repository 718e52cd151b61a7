//! `redact`: takes secret values out of configuration before it leaves the host.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::SourceName;
use crate::secret::SecretRef;

/// Takes secret values out of text files. Keys, order and line count stay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Redact {
    /// The sources whose files are redacted; a source that is not named is untouched. Only `files` sources.
    #[schemars(length(min = 1))]
    pub sources: Vec<SourceName>,
    /// What happens to a file that is not text.
    #[serde(default)]
    pub binary: Binary,
    /// Further words that make a key telling, beside `password`, `token`, `secret` and their like.
    #[serde(default)]
    pub keys: Vec<String>,
    /// Keys whose values stay although their name is telling.
    #[serde(default)]
    pub allow_keys: Vec<String>,
    /// Secret values that are taken out wherever they stand, in every encoding this program knows.
    #[serde(default)]
    pub values: Vec<SecretRef>,
}

/// What happens to a file that is not text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Binary {
    /// The run stops before anything is stored.
    #[default]
    Refuse,
    /// The file is left out and reported.
    LeaveOut,
    /// The file is kept as it is.
    Keep,
}
