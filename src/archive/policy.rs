//! Which backups of one line stay: counts and windows, decided as restic's `forget` decides them, as a function of data.
//!
//! Two guards stand on top and only keep more: the newest backup stays whatever the rules say, and one dated in the future
//! neither goes nor uses up what the rules keep of the others.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use jiff::{SignedDuration, Span, Timestamp, Zoned};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error as _, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits::RETAIN_AHEAD_MINUTES;

/// The form of a window as text.
pub const WINDOW_PATTERN: &str = "^([0-9]+[ymdh])+$";
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
    const fn is_nothing(self) -> bool {
        matches!(self, Self::Nothing | Self::Count(0))
    }

    const fn one_less(self) -> Self {
        match self {
            Self::Count(count) => Self::Count(count.saturating_sub(1)),
            other => other,
        }
    }
}

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
    fn before(self, latest: &Zoned) -> Option<Timestamp> {
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

/// Rules by which backups of one line stay. A backup that any of them keeps stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// The newest backups.
    pub last: Keep,
    /// The newest backup of each hour that has one, by the backup's own clock; and so on.
    pub hourly: Keep,
    /// Days.
    pub daily: Keep,
    /// ISO 8601 weeks.
    pub weekly: Keep,
    /// Months.
    pub monthly: Keep,
    /// Years.
    pub yearly: Keep,
    /// Every backup later than this long before the newest.
    pub within: Option<Window>,
    /// One an hour of those; and so on.
    pub within_hourly: Option<Window>,
    /// One a day.
    pub within_daily: Option<Window>,
    /// One a week.
    pub within_weekly: Option<Window>,
    /// One a month.
    pub within_monthly: Option<Window>,
    /// One a year.
    pub within_yearly: Option<Window>,
}

/// What becomes of a backup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Whether it stays.
    pub keep: bool,
    /// The rules that keep it: `daily`, `oldest weekly`, `within 7d`, `hourly within 2d`, `newest`, `future`.
    pub reasons: Vec<String>,
}

impl Policy {
    /// Whether no rule would keep anything: there is none, or only counts of 0 and windows of no length.
    pub fn is_empty(&self) -> bool {
        self.counts().iter().all(|(_, keep)| keep.is_nothing()) && self.within().is_none() && self.windows().is_empty()
    }

    const fn counts(&self) -> [(Bucket, Keep); 6] {
        [
            (Bucket::Last, self.last),
            (Bucket::Hour, self.hourly),
            (Bucket::Day, self.daily),
            (Bucket::Week, self.weekly),
            (Bucket::Month, self.monthly),
            (Bucket::Year, self.yearly),
        ]
    }

    fn within(&self) -> Option<Window> {
        self.within.filter(|window| *window != Window::default())
    }

    fn windows(&self) -> Vec<(Bucket, Window)> {
        let windows = [
            (Bucket::Hour, self.within_hourly),
            (Bucket::Day, self.within_daily),
            (Bucket::Week, self.within_weekly),
            (Bucket::Month, self.within_monthly),
            (Bucket::Year, self.within_yearly),
        ];
        let set = windows
            .into_iter()
            .filter_map(|(bucket, window)| Some((bucket, window?)));
        set.filter(|(_, window)| *window != Window::default()).collect()
    }
}

/// Spans of which one backup each is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bucket {
    /// Each backup is a span of its own.
    Last,
    Hour,
    Day,
    Week,
    Month,
    Year,
}

impl Bucket {
    const fn name(self) -> &'static str {
        match self {
            Self::Last => "last",
            Self::Hour => "hourly",
            Self::Day => "daily",
            Self::Week => "weekly",
            Self::Month => "monthly",
            Self::Year => "yearly",
        }
    }

    /// The span that a moment falls into, by its own UTC offset.
    fn value(self, moment: &Zoned, position: usize) -> i64 {
        let date = moment.date();
        let year = i64::from(date.year());
        let month = year * 100 + i64::from(date.month());
        let day = month * 100 + i64::from(date.day());
        match self {
            Self::Last => i64::try_from(position).unwrap_or(i64::MAX),
            Self::Hour => day * 100 + i64::from(moment.hour()),
            Self::Day => day,
            Self::Week => {
                let week = date.iso_week_date();
                i64::from(week.year()) * 100 + i64::from(week.week())
            }
            Self::Month => month,
            Self::Year => year,
        }
    }
}

/// One rule on its way through the backups.
struct Rule {
    bucket: Bucket,
    left: Keep,
    /// Only what is later counts; `None` for all.
    after: Option<Timestamp>,
    last: Option<i64>,
    /// What follows the bucket's name in the reason.
    suffix: String,
}

impl Rule {
    /// Why the rule keeps a moment; `None` where it does not.
    fn meet(&mut self, moment: &Zoned, position: usize, oldest: bool) -> Option<String> {
        if self.left.is_nothing() || self.after.is_some_and(|limit| moment.timestamp() <= limit) {
            return None;
        }
        let value = self.bucket.value(moment, position);
        let same = self.last == Some(value);
        // With something left the oldest stays too, so that the history reaches back as far as it can.
        if same && !oldest {
            return None;
        }
        self.last = Some(value);
        self.left = self.left.one_less();
        let prefix = if same { "oldest " } else { "" };
        Some(format!("{prefix}{}{}", self.bucket.name(), self.suffix))
    }
}

/// Decides for each of `times`, in the order given. A policy that is empty keeps everything.
///
/// The time of a backup counts with the UTC offset it was stored with. Of backups of the very same moment the one given
/// first counts as the newer.
pub fn decide(times: &[Zoned], now: Timestamp, policy: &Policy) -> Vec<Decision> {
    let mut ordered: Vec<(usize, &Zoned)> = times.iter().enumerate().collect();
    ordered.sort_by_key(|(_, moment)| std::cmp::Reverse(moment.timestamp()));
    let ahead = SignedDuration::from_mins(RETAIN_AHEAD_MINUTES);
    let ahead = now.checked_add(ahead).unwrap_or(Timestamp::MAX);
    let future = ordered.partition_point(|(_, moment)| moment.timestamp() > ahead);
    let (_, past) = ordered.split_at(future.min(ordered.len()));

    let mut decisions = vec![Decision::default(); times.len()];
    let mut keep = |index: usize, reasons: Vec<String>| {
        if let Some(decision) = decisions.get_mut(index).filter(|decision| !decision.keep) {
            *decision = Decision { keep: true, reasons };
        }
    };
    for (index, reasons) in apply(&ordered, now, policy) {
        keep(index, reasons);
    }
    if future > 0 {
        // A clock that was wrong once must not use up the counts of the backups that are dated right.
        for (index, reasons) in apply(past, now, policy) {
            keep(index, reasons);
        }
    }
    for (index, moment) in &ordered {
        if moment.timestamp() > ahead {
            keep(*index, vec!["future".into()]);
        }
    }
    for newest in [ordered.first(), past.first()].into_iter().flatten() {
        keep(newest.0, vec!["newest".into()]);
    }
    decisions
}

/// What the rules keep of backups that stand newest first, each with its reasons.
fn apply(ordered: &[(usize, &Zoned)], now: Timestamp, policy: &Policy) -> Vec<(usize, Vec<String>)> {
    if policy.is_empty() {
        let reasons = vec!["policy is empty".to_owned()];
        return ordered.iter().map(|(index, _)| (*index, reasons.clone())).collect();
    }
    let present = ordered.iter().find(|(_, moment)| moment.timestamp() <= now);
    let Some((_, latest)) = present.or(ordered.first()) else {
        return Vec::new();
    };
    let within = policy.within().map(|window| (window, window.before(latest)));
    let mut rules: Vec<Rule> = policy
        .counts()
        .into_iter()
        .map(|(bucket, left)| (bucket, left, None, String::new()))
        .chain(policy.windows().into_iter().map(|(bucket, window)| {
            let suffix = format!(" within {window}");
            (bucket, Keep::Unlimited, window.before(latest), suffix)
        }))
        .map(|(bucket, left, after, suffix)| Rule {
            bucket,
            left,
            after,
            last: None,
            suffix,
        })
        .collect();
    let mut kept = Vec::new();
    for (position, (index, moment)) in ordered.iter().enumerate() {
        let oldest = position + 1 == ordered.len();
        let mut reasons = Vec::new();
        if let Some((window, limit)) = &within
            && limit.is_none_or(|limit| moment.timestamp() > limit)
        {
            reasons.push(format!("within {window}"));
        }
        reasons.extend(rules.iter_mut().filter_map(|rule| rule.meet(moment, position, oldest)));
        if !reasons.is_empty() {
            kept.push((*index, reasons));
        }
    }
    kept
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

#[cfg(test)]
mod tests;
