//! `restore`: unpacks the backup beside its destinations.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::SourceName;

/// Unpacks the backup beside its destinations; nothing present is touched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Restore {
    /// Destinations other than the usual ones. Without an entry a source goes to where the same-named source of the
    /// pipeline in the backup's record points in this environment.
    #[serde(default)]
    pub destination: Vec<Destination>,
    /// Whom restored files belong to.
    #[serde(default)]
    pub owner: Owner,
}

/// Where one source goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(inline)]
pub struct Destination {
    /// The source's name.
    pub name: SourceName,
    /// The folder that becomes the source's root.
    #[schemars(length(min = 1))]
    pub path: String,
}

/// Whom restored files belong to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Owner {
    /// The owner and group of the same name, else of the same number.
    #[default]
    Names,
    /// The owner and group of the same number.
    Numbers,
    /// Whoever runs the restore.
    None,
}
