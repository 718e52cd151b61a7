//! Quantities as people write them: sizes carry a unit, spans of time carry a unit, shares carry a percent sign.
//!
//! A bare number is refused everywhere, and a bare `m` is refused in durations because it reads as minute or month.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ByteCount(pub u64);

/// Why a quantity could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// The text is not a number followed by a known unit.
    #[error("`{text}` is not {expected}")]
    Malformed {
        /// What was written.
        text: String,
        /// What is understood here, with an example.
        expected: &'static str,
    },
    /// A bare `m`, which two people would read differently.
    #[error("`{0}` is ambiguous: `m` may be a minute or a month, write `min`")]
    BareMinute(String),
    /// The number does not fit.
    #[error("`{0}` is too large")]
    TooLarge(String),
}

const SIZE_EXPECTED: &str = "a size with its unit, such as `64 MiB`";
const SIZE_PATTERN: &str = r"^\s*[0-9]+(\.[0-9]+)?\s*(B|kB|KB|KiB|MB|MiB|GB|GiB|TB|TiB)\s*$";
const SPAN_EXPECTED: &str = "a duration with its unit (ms, s, min, h, d), such as `36h`";
const SPAN_PATTERN: &str = r"^\s*[0-9]+\s*(ms|s|min|h|d)\s*$";
const SHARE_EXPECTED: &str = "a share between `0%` and `100%`";
const SHARE_PATTERN: &str = r"^\s*[0-9]+(\.[0-9]+)?\s*%\s*$";

/// Splits `64 MiB` into the number's text and the unit's text.
fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim())
}

impl FromStr for ByteCount {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let malformed = || UnitError::Malformed {
            text: text.to_owned(),
            expected: SIZE_EXPECTED,
        };
        let (number, unit) = split(text);
        let factor: u64 = match unit {
            "B" => 1,
            "kB" | "KB" => 1000,
            "KiB" => 1 << 10,
            "MB" => 1_000_000,
            "MiB" => 1 << 20,
            "GB" => 1_000_000_000,
            "GiB" => 1 << 30,
            "TB" => 1_000_000_000_000,
            "TiB" => 1 << 40,
            _ => return Err(malformed()),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() || number.ends_with('.') || fraction.len() > 9 {
            return Err(malformed());
        }
        let too_large = || UnitError::TooLarge(text.to_owned());
        let whole: u64 = whole.parse().map_err(|_| too_large())?;
        let mut bytes = whole.checked_mul(factor).ok_or_else(too_large)?;
        if !fraction.is_empty() {
            let digits: u128 = fraction.parse().map_err(|_| malformed())?;
            let part = digits * u128::from(factor) / 10u128.pow(u32::try_from(fraction.len()).unwrap_or(9));
            bytes = bytes
                .checked_add(u64::try_from(part).map_err(|_| too_large())?)
                .ok_or_else(too_large)?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for ByteCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        let mut value = self.0 / 1024 * 10 + self.0 % 1024 * 10 / 1024;
        let mut unit = 0;
        while value >= 10_240 && unit + 1 < UNITS.len() {
            value /= 1024;
            unit += 1;
        }
        let name = UNITS.get(unit).unwrap_or(&"PiB");
        if value >= 100 {
            write!(f, "{} {name}", value / 10)
        } else {
            write!(f, "{}.{} {name}", value / 10, value % 10)
        }
    }
}

/// A span of time as written in a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let (number, unit) = split(text);
        let milliseconds: u64 = match unit {
            "ms" => 1,
            "s" => 1000,
            "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "m" => return Err(UnitError::BareMinute(text.trim().to_owned())),
            _ => {
                return Err(UnitError::Malformed {
                    text: text.to_owned(),
                    expected: SPAN_EXPECTED,
                });
            }
        };
        let count: u64 = number.parse().map_err(|_| UnitError::Malformed {
            text: text.to_owned(),
            expected: SPAN_EXPECTED,
        })?;
        let total = count
            .checked_mul(milliseconds)
            .ok_or_else(|| UnitError::TooLarge(text.to_owned()))?;
        Ok(Self(Duration::from_millis(total)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = self.0.as_millis();
        for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000)] {
            if milliseconds >= size && milliseconds.is_multiple_of(size) {
                return write!(f, "{}{unit}", milliseconds / size);
            }
        }
        write!(f, "{milliseconds}ms")
    }
}

/// A share in hundredths of a percent: `30%` is 3000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share(u16);

impl Share {
    /// So many percent; more than 100 is 100.
    pub const fn percent(percent: u8) -> Self {
        Self(if percent > 100 { 10_000 } else { percent as u16 * 100 })
    }

    /// The whole number of items that `total` items may lose under this share, rounded down.
    pub fn of(self, total: usize) -> usize {
        total.saturating_mul(usize::from(self.0)) / 10_000
    }

    /// Whether `part` is more than this share of `total`.
    pub fn is_exceeded(self, part: u64, total: u64) -> bool {
        u128::from(part) * 10_000 > u128::from(total) * u128::from(self.0)
    }
}

impl FromStr for Share {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let malformed = || UnitError::Malformed {
            text: text.to_owned(),
            expected: SHARE_EXPECTED,
        };
        let number = text.trim().strip_suffix('%').ok_or_else(malformed)?.trim_end();
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        if fraction.is_empty() || fraction.len() > 2 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
            return Err(malformed());
        }
        let whole: u16 = whole.parse().map_err(|_| malformed())?;
        let digits: u16 = fraction.parse().map_err(|_| malformed())?;
        let hundredths = if fraction.len() == 1 { digits * 10 } else { digits };
        match whole.checked_mul(100).and_then(|w| w.checked_add(hundredths)) {
            Some(value) if value <= 10_000 => Ok(Self(value)),
            _ => Err(malformed()),
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0 / 100)?;
        match self.0 % 100 {
            0 => {}
            rest if rest % 10 == 0 => write!(f, ".{}", rest / 10)?,
            rest => write!(f, ".{rest:02}")?,
        }
        f.write_str("%")
    }
}

/// Reads a quantity from its text and describes it in the schema by its pattern.
macro_rules! written_as_text {
    ($type:ident, $pattern:expr, $what:expr) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
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
                json_schema!({ "type": "string", "pattern": $pattern, "description": $what })
            }
        }
    };
}

written_as_text!(ByteCount, SIZE_PATTERN, "A size with its unit, such as `64 MiB`.");
written_as_text!(
    Span,
    SPAN_PATTERN,
    "A duration with its unit (ms, s, min, h, d), such as `36h`."
);
written_as_text!(Share, SHARE_PATTERN, "A share between `0%` and `100%`.");

impl Serialize for Span {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Share {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// So many of something, for people: `1 backup`, `2 backups`, `0 entries`.
pub fn counted(count: u64, one: &str) -> String {
    match (count, one.strip_suffix('y')) {
        (1, _) => format!("1 {one}"),
        (count, Some(stem)) => format!("{count} {stem}ies"),
        (count, None) => format!("{count} {one}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_something_is_not_spoken_of_as_of_many() {
        let said = [0, 1, 2].map(|count| counted(count, "backup"));
        assert_eq!(said, ["0 backups", "1 backup", "2 backups"]);
        assert_eq!([counted(1, "entry"), counted(7, "entry")], ["1 entry", "7 entries"]);
    }

    #[test]
    fn sizes_are_read_with_their_unit() {
        assert_eq!("64 MiB".parse(), Ok(ByteCount(64 << 20)));
        assert_eq!("1.5GB".parse(), Ok(ByteCount(1_500_000_000)));
        assert_eq!("0B".parse(), Ok(ByteCount(0)));
    }

    #[test]
    fn a_size_without_unit_or_beyond_64_bits_is_refused() {
        assert!("64".parse::<ByteCount>().is_err());
        assert!("64 M".parse::<ByteCount>().is_err());
        assert!(".5 MiB".parse::<ByteCount>().is_err());
        assert!("99999999999 TiB".parse::<ByteCount>().is_err());
    }

    #[test]
    fn a_bare_m_is_refused_with_a_hint() {
        assert_eq!("5m".parse::<Span>(), Err(UnitError::BareMinute("5m".into())));
        assert_eq!("5min".parse(), Ok(Span(Duration::from_mins(5))));
        assert_eq!("36h".parse::<Span>().unwrap().to_string(), "36h");
    }

    #[test]
    fn shares_stay_between_nothing_and_all() {
        assert_eq!("30%".parse::<Share>().unwrap().of(10), 3);
        assert_eq!("12.5%".parse::<Share>().unwrap().to_string(), "12.5%");
        assert!("101%".parse::<Share>().is_err());
        assert!("30".parse::<Share>().is_err());
    }

    #[test]
    fn sizes_print_in_three_digits() {
        assert_eq!(ByteCount(1023).to_string(), "1023 B");
        assert_eq!(ByteCount(1 << 20).to_string(), "1.0 MiB");
        assert_eq!(ByteCount(2_817_000_000).to_string(), "2.6 GiB");
    }
}
