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
    /// Where it is unpacked to, default beside its destinations. `scratch`: into a folder below the state folder, which is
    /// always removed again; for a drill.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<To>,
}

/// Where a backup is unpacked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum To {
    /// Into a folder that is always removed again.
    Scratch,
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
