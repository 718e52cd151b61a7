//! A policy as one line of text: `keep-daily=7,keep-within=2m`.

use std::str::FromStr;

use super::{Keep, KeepError, Policy, Window, WindowError};

/// The words of a policy, in the order of their rules.
pub const WORDS: [&str; 12] = [
    "keep-last",
    "keep-hourly",
    "keep-daily",
    "keep-weekly",
    "keep-monthly",
    "keep-yearly",
    "keep-within",
    "keep-within-hourly",
    "keep-within-daily",
    "keep-within-weekly",
    "keep-within-monthly",
    "keep-within-yearly",
];

/// Why a text is no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A part that is no word, `=` and value.
    #[error("`{0}` is not a word, `=` and a value, such as `keep-daily=7`")]
    Malformed(String),
    /// A word that there is not.
    #[error("`{0}` is not a word of retention")]
    Unknown(String),
    /// A word that stands twice.
    #[error("`{0}` stands twice")]
    Twice(String),
    /// A value that is no number of backups.
    #[error("`{word}`: {why}")]
    Keep {
        /// The word.
        word: String,
        /// Why.
        why: KeepError,
    },
    /// A value that is no span of time.
    #[error("`{word}`: {why}")]
    Window {
        /// The word.
        word: String,
        /// Why.
        why: WindowError,
    },
    /// Nothing in it keeps anything.
    #[error("no rule of it keeps a backup")]
    Empty,
}

/// Where the value of a word goes.
enum Slot<'a> {
    Count(&'a mut Keep),
    Within(&'a mut Option<Window>),
}

impl Policy {
    fn slot(&mut self, word: &str) -> Option<Slot<'_>> {
        Some(match word {
            "keep-last" => Slot::Count(&mut self.last),
            "keep-hourly" => Slot::Count(&mut self.hourly),
            "keep-daily" => Slot::Count(&mut self.daily),
            "keep-weekly" => Slot::Count(&mut self.weekly),
            "keep-monthly" => Slot::Count(&mut self.monthly),
            "keep-yearly" => Slot::Count(&mut self.yearly),
            "keep-within" => Slot::Within(&mut self.within),
            "keep-within-hourly" => Slot::Within(&mut self.within_hourly),
            "keep-within-daily" => Slot::Within(&mut self.within_daily),
            "keep-within-weekly" => Slot::Within(&mut self.within_weekly),
            "keep-within-monthly" => Slot::Within(&mut self.within_monthly),
            "keep-within-yearly" => Slot::Within(&mut self.within_yearly),
            _ => return None,
        })
    }
}

impl FromStr for Policy {
    type Err = PolicyError;

    /// Reads words with their values, with commas or blanks between them. A policy that keeps nothing is refused, as restic
    /// refuses to run one.
    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let mut policy = Self::default();
        let mut seen = Vec::new();
        let parts = text.split(|c: char| c == ',' || c.is_whitespace());
        for part in parts.filter(|part| !part.is_empty()) {
            let (word, value) = part
                .split_once('=')
                .ok_or_else(|| PolicyError::Malformed(part.to_owned()))?;
            let owned = word.to_owned();
            if seen.contains(&word) {
                return Err(PolicyError::Twice(owned));
            }
            seen.push(word);
            match policy.slot(word) {
                None => return Err(PolicyError::Unknown(owned)),
                Some(Slot::Count(slot)) => {
                    *slot = value.parse().map_err(|why| PolicyError::Keep { word: owned, why })?;
                }
                Some(Slot::Within(slot)) => {
                    let window = value.parse().map_err(|why| PolicyError::Window { word: owned, why })?;
                    *slot = Some(window);
                }
            }
        }
        if policy.is_empty() {
            return Err(PolicyError::Empty);
        }
        Ok(policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_has_its_rule() {
        for word in WORDS {
            let value = if word.contains("within") { "3d" } else { "3" };
            let policy: Policy = format!("{word}={value}").parse().unwrap();
            assert!(!policy.is_empty(), "{word}");
        }
        let policy: Policy = "keep-daily=7,keep-within=2m keep-weekly=unlimited, keep-last=0"
            .parse()
            .unwrap();
        let two_months = Window {
            months: 2,
            ..Window::default()
        };
        let expected = Policy {
            daily: Keep::Count(7),
            within: Some(two_months),
            weekly: Keep::Unlimited,
            ..Policy::default()
        };
        assert_eq!(policy, expected);
    }

    #[test]
    fn what_is_no_policy_says_why() {
        for (text, why) in [
            (
                "keep-daily",
                "`keep-daily` is not a word, `=` and a value, such as `keep-daily=7`",
            ),
            ("keep-dayly=7", "`keep-dayly` is not a word of retention"),
            ("keep-daily=7,keep-daily=8", "`keep-daily` stands twice"),
            (
                "keep-daily=-1",
                "`keep-daily`: `-1` is not a number from 0 to 4294967295, or `unlimited`",
            ),
            (
                "keep-daily=+1",
                "`keep-daily`: `+1` is not a number from 0 to 4294967295, or `unlimited`",
            ),
            (
                "keep-within=7",
                "`keep-within`: `7` is not a span of years, months, days and hours, such as `7d` or `1y6m`",
            ),
            ("", "no rule of it keeps a backup"),
            ("keep-daily=0,keep-within=0d", "no rule of it keeps a backup"),
        ] {
            assert_eq!(text.parse::<Policy>().unwrap_err().to_string(), why);
        }
    }
}
