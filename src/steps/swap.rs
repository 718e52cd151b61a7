//! `swap`: puts what was unpacked in the place of what is there, and keeps what it replaces.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Puts the unpacked sources in place: what is there is moved aside and kept, then the new is moved in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Swap {}
