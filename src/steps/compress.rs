//! `compress`: makes the stored bytes few.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Compresses what is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Compress {
    /// The codec.
    #[serde(default)]
    pub codec: Codec,
    /// 1 (fast) to 19 (small) for zstd, default 3; 1 to 9 for gzip, default 6; none for `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 19))]
    pub level: Option<u8>,
}

/// How stored bytes are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Codec {
    /// Zstandard (RFC 8878) in independent frames, on all cores; any part can be read alone.
    #[default]
    Zstd,
    /// gzip (RFC 1952), one stream.
    Gzip,
    /// A plain tar archive.
    None,
}
