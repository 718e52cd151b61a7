//! `checksum`: writes the digests by which anyone can check the stored objects.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Writes the digests of the stored objects; `b3sum -c` checks them without a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Checksum {
    /// The digest.
    #[serde(default)]
    pub algorithm: Algorithm,
}

/// A digest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Algorithm {
    /// BLAKE3, 256 bits.
    #[default]
    Blake3,
}
