//! How many backups a rule keeps: a number, or all there are.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The only text that a count may be.
pub const KEEP_PATTERN: &str = "^unlimited$";
const UNLIMITED: &str = "unlimited";

/// How many backups a rule keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Keep {
    /// None: the rule is not there.
    #[default]
    Nothing,
    /// So many; 0 is as good as [`Keep::Nothing`].
    Count(u32),
    /// As many as there are.
    Unlimited,
}

impl Keep {
    pub(super) const fn is_nothing(self) -> bool {
        matches!(self, Self::Nothing | Self::Count(0))
    }

    pub(super) const fn one_less(self) -> Self {
        match self {
            Self::Count(count) => Self::Count(count.saturating_sub(1)),
            other => other,
        }
    }
}

impl FromStr for Keep {
    type Err = KeepError;

    fn from_str(text: &str) -> Result<Self, KeepError> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(0) if digits => Ok(Self::Nothing),
            Ok(count) if digits => Ok(Self::Count(count)),
            _ if text == UNLIMITED => Ok(Self::Unlimited),
            _ => Err(KeepError(text.to_owned())),
        }
    }
}

/// A text that says no number of backups.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a number from 0 to 4294967295, or `unlimited`")]
pub struct KeepError(String);

impl Serialize for Keep {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Nothing => serializer.serialize_u32(0),
            Self::Count(count) => serializer.serialize_u32(*count),
            Self::Unlimited => serializer.serialize_str(UNLIMITED),
        }
    }
}

struct KeepVisitor;

impl Visitor<'_> for KeepVisitor {
    type Value = Keep;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number from 0 to 4294967295, or `unlimited`")
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Keep, E> {
        match u32::try_from(number) {
            Ok(0) => Ok(Keep::Nothing),
            Ok(count) => Ok(Keep::Count(count)),
            Err(_) => Err(E::invalid_value(Unexpected::Unsigned(number), &self)),
        }
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Keep, E> {
        let positive = u64::try_from(number).map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))?;
        self.visit_u64(positive)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Keep, E> {
        if text == UNLIMITED {
            Ok(Keep::Unlimited)
        } else {
            Err(E::invalid_value(Unexpected::Str(text), &self))
        }
    }
}

impl<'de> Deserialize<'de> for Keep {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KeepVisitor)
    }
}

/// Two types and no alternatives, so that a wrong value has one message.
impl JsonSchema for Keep {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Keep".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let what = "A number from 0, or `unlimited`.";
        json_schema!({ "type": ["integer", "string"], "minimum": 0, "pattern": KEEP_PATTERN, "description": what })
    }
}
