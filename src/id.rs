//! Names and identifiers. Each is parsed once and cannot hold anything else afterwards.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// What a kebab-case name looks like.
pub const NAME_PATTERN: &str = "^[a-z][a-z0-9-]*$";

/// Why a name or an identifier was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not kebab-case.
    #[error("`{0}` is not a name: lower-case letters, digits and `-`, beginning with a letter, at most 63")]
    Name(String),
    /// Not a backup's id.
    #[error("`{0}` is not a backup id such as `20261121T215100Z-9c41`")]
    Backup(String),
    /// Not a run's id.
    #[error("`{0}` is not a run id (UUIDv7)")]
    Run(String),
}

fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= 63
        && bytes.next().is_some_and(|b| b.is_ascii_lowercase())
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

macro_rules! names {
    ($($(#[$meta:meta])* $type:ident;)*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $type(String);

        impl $type {
            /// The name's text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                if is_name(text) { Ok(Self(text.to_owned())) } else { Err(IdError::Name(text.to_owned())) }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": NAME_PATTERN, "maxLength": 63 })
            }
        }
    )*};
}

names! {
    /// The name of an environment: `dev`, `staging`, `live`.
    EnvName;
    /// The name of a pipeline: `backup`.
    PipelineName;
    /// The id of a step, unique within its pipeline.
    StepId;
    /// The name of a source, unique within its pipeline; the first part of every path in a backup.
    SourceName;
    /// The name of a target of an environment.
    TargetName;
    /// The name of an argument that a pipeline declares.
    ArgName;
}

/// The host or role that makes backups; parents and retention are kept per instance. Any printable text without `/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Instance(#[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$"))] String);

impl Instance {
    /// Takes a host name or an operator's word; anything outside `[A-Za-z0-9._-]` becomes `-`.
    pub fn new(text: &str) -> Self {
        let mut name: String = text
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') {
                    c
                } else {
                    '-'
                }
            })
            .take(255)
            .collect();
        if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            name.insert(0, 'h');
        }
        Self(name)
    }

    /// The instance's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A backup's id: its UTC start time to the second and four random hex digits, `20261121T215100Z-9c41`.
///
/// The text orders as the time does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct BackupId(String);

impl BackupId {
    /// Makes the id of a backup that starts at `start` (UTC), with two random bytes.
    pub fn new(start: jiff::Timestamp, random: [u8; 2]) -> Self {
        Self(format!("{}-{}", start.strftime("%Y%m%dT%H%M%SZ"), hex::encode(random)))
    }

    /// The id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BackupId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let bytes = text.as_bytes();
        let digits = |range: std::ops::Range<usize>| bytes.get(range).is_some_and(|b| b.iter().all(u8::is_ascii_digit));
        let fits = bytes.len() == 21
            && digits(0..8)
            && bytes.get(8) == Some(&b'T')
            && digits(9..15)
            && bytes.get(15..17) == Some(b"Z-")
            && bytes
                .get(17..)
                .is_some_and(|b| b.iter().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')));
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdError::Backup(text.to_owned()))
        }
    }
}

impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for BackupId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// A run's id: a `UUIDv7`. It is the correlation id of everything the run does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(uuid::Uuid);

impl RunId {
    /// Makes the id of a run that starts at `unix_milliseconds`, with ten random bytes.
    pub fn new(unix_milliseconds: u64, random: [u8; 10]) -> Self {
        Self(uuid::Builder::from_unix_timestamp_millis(unix_milliseconds, &random).into_uuid())
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RunId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        uuid::Uuid::parse_str(text)
            .map(Self)
            .map_err(|_| IdError::Run(text.to_owned()))
    }
}

impl Serialize for RunId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RunId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kebab_case() {
        assert!("keep-daily".parse::<StepId>().is_ok());
        for wrong in ["", "Live", "1st", "a_b", "a/b", "-a"] {
            assert!(wrong.parse::<StepId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_backup_id_reads_back_and_nothing_else_does() {
        let id = BackupId::new("2026-11-21T21:51:00Z".parse().unwrap(), [0x9c, 0x41]);
        assert_eq!(id.as_str(), "20261121T215100Z-9c41");
        assert_eq!(id.as_str().parse(), Ok(id));
        for wrong in [
            "20261121T215100Z",
            "20261121T215100Z-9C41",
            "../../etc/passwd-9c41",
            "20261121T215100Z-9c41/",
        ] {
            assert!(wrong.parse::<BackupId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn run_ids_of_later_milliseconds_order_later() {
        assert!(RunId::new(1, [0xff; 10]) < RunId::new(2, [0; 10]));
    }
}
