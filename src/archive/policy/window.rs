//! A span of calendar time as restic writes it, and the moment that lies so long before another.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use jiff::{SignedDuration, Span, Timestamp, Zoned};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The form of a window as text.
pub const WINDOW_PATTERN: &str = "^([0-9]+[ymdh])+$";

/// A span of calendar time, `2y5m7d3h`; here `m` is a month.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Window {
    /// Calendar years.
    pub years: u32,
    /// Calendar months.
    pub months: u32,
    /// Calendar days.
    pub days: u32,
    /// Hours of 3600 seconds.
    pub hours: u32,
}

/// Why a window could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// Not numbers with units.
    #[error("`{0}` is not a span of years, months, days and hours, such as `7d` or `1y6m`")]
    Malformed(String),
    /// A unit stands twice.
    #[error("`{text}` names the unit `{unit}` twice")]
    Twice {
        /// What was written.
        text: String,
        /// The unit.
        unit: char,
    },
    /// A number does not fit.
    #[error("`{0}` is too large")]
    TooLarge(String),
}

impl FromStr for Window {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, WindowError> {
        let malformed = || WindowError::Malformed(text.to_owned());
        let (mut years, mut months, mut days, mut hours) = (None, None, None, None);
        let mut rest = text;
        while !rest.is_empty() {
            let end = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(malformed)?;
            let (number, tail) = rest.split_at(end);
            let mut tail = tail.chars();
            let unit = tail.next().ok_or_else(malformed)?;
            let slot = match unit {
                'y' => &mut years,
                'm' => &mut months,
                'd' => &mut days,
                'h' => &mut hours,
                _ => return Err(malformed()),
            };
            if number.is_empty() {
                return Err(malformed());
            }
            let number: u32 = number.parse().map_err(|_| WindowError::TooLarge(text.to_owned()))?;
            if slot.replace(number).is_some() {
                let text = text.to_owned();
                return Err(WindowError::Twice { text, unit });
            }
            rest = tail.as_str();
        }
        if text.is_empty() {
            return Err(malformed());
        }
        Ok(Self {
            years: years.unwrap_or(0),
            months: months.unwrap_or(0),
            days: days.unwrap_or(0),
            hours: hours.unwrap_or(0),
        })
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::default() {
            return f.write_str("0h");
        }
        for (number, unit) in [
            (self.years, 'y'),
            (self.months, 'm'),
            (self.days, 'd'),
            (self.hours, 'h'),
        ] {
            if number > 0 {
                write!(f, "{number}{unit}")?;
            }
        }
        Ok(())
    }
}

impl Window {
    /// The moment this long before `latest`, by the calendar of its own offset; `None` is before all time.
    ///
    /// Months and years are taken off first and a day that the month does not have runs over into the next: one month before
    /// 31 March is 3 March, in a leap year 2 March.
    pub(super) fn before(self, latest: &Zoned) -> Option<Timestamp> {
        let date = latest.date();
        let back = i64::from(self.years) * 12 + i64::from(self.months);
        let months = i64::from(date.year()) * 12 + i64::from(date.month()) - 1 - back;
        let year = i16::try_from(months.div_euclid(12)).ok()?;
        let month = i8::try_from(months.rem_euclid(12) + 1).ok()?;
        let days = i64::from(date.day()) - 1 - i64::from(self.days);
        let first = Date::new(year, month, 1).ok()?;
        let date = first.checked_add(Span::new().try_days(days).ok()?).ok()?;
        let moment = latest.offset().to_timestamp(date.to_datetime(latest.time())).ok()?;
        moment
            .checked_sub(SignedDuration::from_hours(i64::from(self.hours)))
            .ok()
    }
}

impl Serialize for Window {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for Window {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Window".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let what = "Years, months, days and hours, such as `7d` or `1y6m`.";
        json_schema!({ "type": "string", "pattern": WINDOW_PATTERN, "description": what })
    }
}
