//! Which backups of one line stay: counts and windows, decided exactly as restic's `forget` decides them (0.16 and later), as a
//! function of data.
//!
//! [`plain`] is that and nothing else. [`guarded`] adds two guards that only keep more: the newest backup stays whatever the
//! rules say, and one dated in the future neither goes nor uses up what the rules keep of the others.

mod keep;
mod window;
mod words;

use jiff::fmt::temporal::Pieces;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp, Zoned};

pub use keep::{KEEP_PATTERN, Keep, KeepError};
pub use window::{WINDOW_PATTERN, Window, WindowError};
pub use words::{PolicyError, WORDS};

use crate::limits::RETAIN_AHEAD_MINUTES;

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
    /// What keeps it: a rule (`daily`, `oldest weekly`, `within 7d`, `hourly within 2d`) or a guard (`newest`, `future`).
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

/// Reads an RFC 3339 time and keeps the UTC offset that it is written with; `None` where it is none.
pub fn moment(text: &str) -> Option<Zoned> {
    let pieces = Pieces::parse(text).ok()?;
    let offset: Offset = pieces.to_numeric_offset()?;
    let moment = offset.to_timestamp(pieces.date().to_datetime(pieces.time()?)).ok()?;
    Some(moment.to_zoned(TimeZone::fixed(offset)))
}

/// Decides for each of `times`, in the order given, what the rules alone say. A policy that is empty keeps everything.
///
/// The time of a backup counts with the UTC offset it was stored with. Of backups of the very same moment the one given
/// first counts as the newer. Windows end at the newest backup that is older than `now`; where there is none every backup
/// lies within them.
pub fn plain(times: &[Zoned], now: Timestamp, policy: &Policy) -> Vec<Decision> {
    let mut decisions = Decisions::new(times.len());
    decisions.keep_all(apply(&newest_first(times), now, policy));
    decisions.0
}

/// Decides as [`plain`] does, and keeps what the guards want kept.
///
/// The rules are also applied to the backups that are not dated in the future, as if those that are were not there: a clock
/// that was wrong once must not use up the counts of the backups that are dated right.
pub fn guarded(times: &[Zoned], now: Timestamp, policy: &Policy) -> Vec<Decision> {
    let ordered = newest_first(times);
    let ahead = SignedDuration::from_mins(RETAIN_AHEAD_MINUTES);
    let ahead = now.checked_add(ahead).unwrap_or(Timestamp::MAX);
    let future = ordered.partition_point(|(_, moment)| moment.timestamp() > ahead);
    let (future, past) = ordered.split_at(future.min(ordered.len()));

    let mut decisions = Decisions::new(times.len());
    decisions.keep_all(apply(&ordered, now, policy));
    if !future.is_empty() {
        decisions.keep_all(apply(past, now, policy));
    }
    decisions.keep_all(future.iter().map(|(index, _)| (*index, vec!["future".into()])));
    let newest = [ordered.first(), past.first()].into_iter().flatten();
    decisions.keep_all(newest.map(|(index, _)| (*index, vec!["newest".into()])));
    decisions.0
}

/// Decisions in the order of the backups. The first reasons that are given stand.
struct Decisions(Vec<Decision>);

impl Decisions {
    fn new(count: usize) -> Self {
        Self(vec![Decision::default(); count])
    }

    fn keep_all(&mut self, kept: impl IntoIterator<Item = (usize, Vec<String>)>) {
        for (index, reasons) in kept {
            if let Some(decision) = self.0.get_mut(index).filter(|decision| !decision.keep) {
                *decision = Decision { keep: true, reasons };
            }
        }
    }
}

/// The times with their places, newest first; equal moments in the order given.
fn newest_first(times: &[Zoned]) -> Vec<(usize, &Zoned)> {
    let mut ordered: Vec<(usize, &Zoned)> = times.iter().enumerate().collect();
    ordered.sort_by_key(|(_, moment)| std::cmp::Reverse(moment.timestamp()));
    ordered
}

/// What the rules keep of backups that stand newest first, each with its reasons.
fn apply(ordered: &[(usize, &Zoned)], now: Timestamp, policy: &Policy) -> Vec<(usize, Vec<String>)> {
    if policy.is_empty() {
        let reasons = vec!["policy is empty".to_owned()];
        return ordered.iter().map(|(index, _)| (*index, reasons.clone())).collect();
    }
    let past = ordered.iter().find(|(_, moment)| moment.timestamp() < now);
    let limit = |window: Window| past.and_then(|(_, latest)| window.before(latest));
    let within = policy.within().map(|window| (window, limit(window)));
    let mut rules: Vec<Rule> = policy
        .counts()
        .into_iter()
        .map(|(bucket, left)| (bucket, left, None, String::new()))
        .chain(policy.windows().into_iter().map(|(bucket, window)| {
            let suffix = format!(" within {window}");
            (bucket, Keep::Unlimited, limit(window), suffix)
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

#[cfg(test)]
mod tests;
