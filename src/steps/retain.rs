//! `retain`: lets old backups go, after the new one was read back.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::archive::policy::{Keep, Policy, Window};
use crate::id::TargetName;
use crate::units::Share;

/// The share of a line's backups that one run may remove where the manifest does not say.
const MAX_REMOVE_PERCENT: u8 = 30;

/// Removes old backups of this pipeline and instance that no rule keeps, and ends with a sweep. The newest always stays, and
/// so does one that is dated in the future, is not whole, or is signed by none of the environment's `[signers]`. Hours, days,
/// weeks and so on are those of the UTC offset that a backup was made with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Retain {
    /// How many of the newest backups stay: a number, or `unlimited`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_last: Option<Keep>,
    /// For how many hours that have a backup the newest of each stays: a number, or `unlimited`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_hourly: Option<Keep>,
    /// For how many days that have a backup the newest of each stays: a number, or `unlimited`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_daily: Option<Keep>,
    /// For how many weeks (Monday to Sunday) that have a backup the newest of each stays: a number, or `unlimited`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_weekly: Option<Keep>,
    /// For how many months that have a backup the newest of each stays: a number, or `unlimited`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_monthly: Option<Keep>,
    /// For how many years that have a backup the newest of each stays: a number, or `unlimited`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_yearly: Option<Keep>,
    /// For how long before the newest backup all stay: years, months, days and hours, such as `14d` or `1y6m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_within: Option<Window>,
    /// For how long before the newest backup one an hour stays: years, months, days and hours, such as `2d`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_within_hourly: Option<Window>,
    /// For how long before the newest backup one a day stays: years, months, days and hours, such as `14d`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_within_daily: Option<Window>,
    /// For how long before the newest backup one a week stays: years, months, days and hours, such as `2m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_within_weekly: Option<Window>,
    /// For how long before the newest backup one a month stays: years, months, days and hours, such as `1y`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_within_monthly: Option<Window>,
    /// For how long before the newest backup one a year stays: years, months, days and hours, such as `10y`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_within_yearly: Option<Window>,
    /// The share of the backups that one run may remove, default `30%`; one may always go, except with `0%`. Where more would
    /// go, none does, exit 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_remove: Option<Share>,
    /// How many of the backups that stay must have been read back or verified by a run of this host, default 0. The new one
    /// counts. Where the rules would leave fewer, the newest verified ones stay too; where there are not enough, none goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_verified: Option<u32>,
    /// Targets from which backups are removed; default all that hold the confirmed backup.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<TargetName>,
}

impl Retain {
    /// The rules, without what bounds them.
    pub fn policy(&self) -> Policy {
        Policy {
            last: self.keep_last.unwrap_or_default(),
            hourly: self.keep_hourly.unwrap_or_default(),
            daily: self.keep_daily.unwrap_or_default(),
            weekly: self.keep_weekly.unwrap_or_default(),
            monthly: self.keep_monthly.unwrap_or_default(),
            yearly: self.keep_yearly.unwrap_or_default(),
            within: self.keep_within,
            within_hourly: self.keep_within_hourly,
            within_daily: self.keep_within_daily,
            within_weekly: self.keep_within_weekly,
            within_monthly: self.keep_within_monthly,
            within_yearly: self.keep_within_yearly,
        }
    }

    /// How many of the backups that stay must be known to be good.
    pub fn min_verified(&self) -> u32 {
        self.min_verified.unwrap_or_default()
    }

    /// The share of a line's backups that one run may remove.
    pub fn max_remove(&self) -> Share {
        self.max_remove.unwrap_or(Share::percent(MAX_REMOVE_PERCENT))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(settings: serde_json::Value) -> Result<Retain, crate::kinds::DecodeError> {
        crate::kinds::decode(settings)
    }

    #[test]
    fn settings_become_the_rules_of_their_name() {
        let retain = read(json!({
            "keep-last": 1, "keep-hourly": 2, "keep-daily": 3, "keep-weekly": "unlimited", "keep-monthly": 5, "keep-yearly": 0,
            "keep-within": "1d", "keep-within-hourly": "2d", "keep-within-daily": "3d", "keep-within-weekly": "4d",
            "keep-within-monthly": "5d", "keep-within-yearly": "6d", "max-remove": "10%", "min-verified": 2, "targets": ["a"],
        }))
        .unwrap();
        let days = |days| {
            Some(Window {
                days,
                ..Window::default()
            })
        };
        let policy = Policy {
            last: Keep::Count(1),
            hourly: Keep::Count(2),
            daily: Keep::Count(3),
            weekly: Keep::Unlimited,
            monthly: Keep::Count(5),
            yearly: Keep::Nothing,
            within: days(1),
            within_hourly: days(2),
            within_daily: days(3),
            within_weekly: days(4),
            within_monthly: days(5),
            within_yearly: days(6),
        };
        assert_eq!(retain.policy(), policy);
        assert_eq!(retain.max_remove().to_string(), "10%");
        assert_eq!(retain.min_verified(), 2);
        let again: Retain = serde_json::from_value(serde_json::to_value(&retain).unwrap()).unwrap();
        assert_eq!(again.policy(), policy);
    }

    #[test]
    fn without_a_word_a_run_may_remove_thirty_percent_and_no_rule_keeps_anything() {
        let retain = read(json!({})).unwrap();
        assert_eq!(retain.max_remove().to_string(), "30%");
        assert_eq!(retain.min_verified(), 0);
        assert!(retain.policy().is_empty());
    }

    #[test]
    fn a_wrong_value_is_refused_with_its_path() {
        for (settings, path) in [
            (json!({ "keep-daily": -1 }), "/keep-daily"),
            (json!({ "keep-daily": "all" }), "/keep-daily"),
            (json!({ "keep-daily": 5_000_000_000_u64 }), "/keep-daily"),
            (json!({ "keep-within": "14" }), "/keep-within"),
            (json!({ "keep-within": "1d1d" }), "/keep-within"),
            (json!({ "max-remove": "110%" }), "/max-remove"),
        ] {
            match read(settings) {
                Err(crate::kinds::DecodeError::Value { path: found, .. }) => assert_eq!(found, path),
                other => panic!("{path}: {other:?}"),
            }
        }
        assert!(read(json!({ "keep-fortnightly": 1 })).is_err());
    }
}
