//! Compression: zstd frames by the bulk API on all cores, streamed codecs beside them.

pub mod effort;
pub mod frames;
pub mod ordered;
pub mod plain;
pub mod seek_table;

use serde::{Deserialize, Serialize};

/// How an archive is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Codec {
    /// Independent zstd frames with a table of them at the end.
    Zstd,
    /// One gzip stream.
    Gzip,
    /// Not at all.
    None,
}

impl Codec {
    /// What the archive's name ends with.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Zstd => "tar.zst",
            Self::Gzip => "tar.gz",
            Self::None => "tar",
        }
    }
}
