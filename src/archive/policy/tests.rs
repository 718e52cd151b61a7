//! Vectors made by hand, and what holds for any backups and any policy.

use proptest::prelude::*;

use super::*;

const NOW: &str = "2026-11-21T12:00:00Z";

fn moment(text: &str) -> Zoned {
    super::moment(text).unwrap_or_else(|| panic!("{text}"))
}

fn at(now: &str) -> Timestamp {
    now.parse().unwrap()
}

/// What stays of `times`, each as `position reason+reason`.
fn kept_at(now: &str, times: &[&str], policy: &Policy) -> Vec<String> {
    let times: Vec<Zoned> = times.iter().map(|text| moment(text)).collect();
    let decisions = guarded(&times, at(now), policy);
    assert_eq!(decisions.len(), times.len());
    let named = decisions.iter().enumerate().filter(|(_, decision)| decision.keep);
    named
        .map(|(position, decision)| format!("{position} {}", decision.reasons.join("+")))
        .collect()
}

fn kept(times: &[&str], policy: &Policy) -> Vec<String> {
    kept_at(NOW, times, policy)
}

fn window(text: &str) -> Window {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn daily(count: u32) -> Policy {
    Policy {
        daily: Keep::Count(count),
        ..Policy::default()
    }
}

fn before(window: &str, latest: &str) -> String {
    let window: Window = window.parse().unwrap();
    let latest = moment(latest);
    let limit = window.before(&latest).unwrap().to_zoned(latest.time_zone().clone());
    limit.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

#[test]
fn the_offset_of_a_time_is_the_one_it_is_written_with() {
    assert_eq!(
        moment("2026-11-21T00:30:00+01:00").date(),
        jiff::civil::date(2026, 11, 21)
    );
    assert_eq!(moment("2026-11-21T00:30:00.123456789Z").offset(), Offset::UTC);
    for text in [
        "",
        "yesterday",
        "2026-11-03",
        "2026-11-04T09:00:00",
        "2026-11-04T09:00:00[Europe/Berlin]",
    ] {
        assert!(super::moment(text).is_none(), "{text}");
    }
}

#[test]
fn the_last_ones_stay() {
    let times = [
        "2026-11-01T00:00:00+00:00",
        "2026-11-02T00:00:00+00:00",
        "2026-11-03T00:00:00+00:00",
    ];
    let policy = Policy {
        last: Keep::Count(2),
        ..Policy::default()
    };
    assert_eq!(kept(&times, &policy), ["1 last", "2 last"]);
}

#[test]
fn last_counts_backups_of_one_moment_each() {
    let times = ["2026-11-01T00:00:00+00:00"; 4];
    let policy = Policy {
        last: Keep::Count(3),
        ..Policy::default()
    };
    assert_eq!(kept(&times, &policy), ["0 last", "1 last", "2 last"]);
}

#[test]
fn the_newest_of_each_day_stays() {
    let times = [
        "2026-11-01T08:00:00+00:00",
        "2026-11-01T20:00:00+00:00",
        "2026-11-02T08:00:00+00:00",
        "2026-11-02T20:00:00+00:00",
        "2026-11-03T08:00:00+00:00",
    ];
    assert_eq!(kept(&times, &daily(2)), ["3 daily", "4 daily"]);
}

#[test]
fn days_without_a_backup_use_up_nothing() {
    let times = [
        "2026-01-01T08:00:00+00:00",
        "2026-03-01T08:00:00+00:00",
        "2026-11-01T08:00:00+00:00",
    ];
    assert_eq!(kept(&times, &daily(2)), ["1 daily", "2 daily"]);
}

#[test]
fn the_oldest_stays_while_something_is_left() {
    let times = [
        "2026-11-01T08:00:00+00:00",
        "2026-11-01T09:00:00+00:00",
        "2026-11-02T08:00:00+00:00",
    ];
    assert_eq!(kept(&times, &daily(3)), ["0 oldest daily", "1 daily", "2 daily"]);
    assert_eq!(kept(&times, &daily(2)), ["1 daily", "2 daily"]);
}

#[test]
fn the_oldest_that_begins_a_day_of_its_own_is_no_exception() {
    let times = ["2026-11-01T08:00:00+00:00", "2026-11-02T08:00:00+00:00"];
    assert_eq!(kept(&times, &daily(5)), ["0 daily", "1 daily"]);
}

#[test]
fn a_single_backup_stays_and_none_is_no_trouble() {
    assert_eq!(kept(&["2026-11-01T08:00:00+00:00"], &daily(1)), ["0 daily"]);
    assert!(kept(&[], &daily(1)).is_empty());
    assert!(kept(&[], &Policy::default()).is_empty());
}

#[test]
fn hours_of_different_days_are_different_hours() {
    let times = [
        "2026-11-01T08:00:00+00:00",
        "2026-11-01T08:59:59+00:00",
        "2026-11-02T08:30:00+00:00",
        "2026-11-02T09:00:00+00:00",
    ];
    let policy = Policy {
        hourly: Keep::Count(3),
        ..Policy::default()
    };
    assert_eq!(kept(&times, &policy), ["1 hourly", "2 hourly", "3 hourly"]);
}

#[test]
fn a_week_runs_from_monday_to_sunday() {
    let times = [
        "2026-11-08T23:59:59+00:00",
        "2026-11-09T00:00:00+00:00",
        "2026-11-15T23:59:59+00:00",
        "2026-11-16T00:00:00+00:00",
    ];
    let policy = Policy {
        weekly: Keep::Count(3),
        ..Policy::default()
    };
    assert_eq!(kept(&times, &policy), ["0 weekly", "2 weekly", "3 weekly"]);
}

#[test]
fn the_week_of_new_year_is_one_week() {
    // 2021-01-01 is a Friday of week 53 of 2020, 2024-12-30 a Monday of week 1 of 2025.
    let policy = Policy {
        weekly: Keep::Count(2),
        ..Policy::default()
    };
    let first = [
        "2020-12-20T12:00:00+00:00",
        "2020-12-28T12:00:00+00:00",
        "2020-12-31T12:00:00+00:00",
        "2021-01-01T12:00:00+00:00",
        "2021-01-03T12:00:00+00:00",
        "2021-01-04T12:00:00+00:00",
    ];
    assert_eq!(kept(&first, &policy), ["4 weekly", "5 weekly"]);
    let second = [
        "2024-12-29T12:00:00+00:00",
        "2024-12-30T12:00:00+00:00",
        "2025-01-01T12:00:00+00:00",
        "2025-01-05T12:00:00+00:00",
    ];
    assert_eq!(kept(&second, &policy), ["0 weekly", "3 weekly"]);
}

#[test]
fn weeks_of_the_same_number_in_two_years_are_two() {
    let times = ["2025-11-18T12:00:00+00:00", "2026-11-17T12:00:00+00:00"];
    let policy = Policy {
        weekly: Keep::Unlimited,
        ..Policy::default()
    };
    assert_eq!(kept(&times, &policy), ["0 weekly", "1 weekly"]);
}

#[test]
fn months_of_the_same_number_in_two_years_are_two() {
    let times = [
        "2024-11-30T12:00:00+00:00",
        "2025-11-01T12:00:00+00:00",
        "2025-11-30T12:00:00+00:00",
    ];
    let policy = Policy {
        monthly: Keep::Count(2),
        ..Policy::default()
    };
    assert_eq!(kept(&times, &policy), ["0 monthly", "2 monthly"]);
}

#[test]
fn years_are_calendar_years() {
    let times = [
        "2023-12-31T23:59:59+00:00",
        "2024-01-01T00:00:00+00:00",
        "2024-12-31T23:59:59+00:00",
        "2025-01-01T00:00:00+00:00",
    ];
    let policy = Policy {
        yearly: Keep::Count(3),
        ..Policy::default()
    };
    assert_eq!(kept(&times, &policy), ["0 yearly", "2 yearly", "3 yearly"]);
}

#[test]
fn unlimited_keeps_one_of_each_and_the_oldest() {
    let times = [
        "2026-11-01T08:00:00+00:00",
        "2026-11-01T09:00:00+00:00",
        "2026-11-01T10:00:00+00:00",
        "2026-11-02T08:00:00+00:00",
        "2026-11-02T09:00:00+00:00",
    ];
    let policy = Policy {
        daily: Keep::Unlimited,
        ..Policy::default()
    };
    assert_eq!(kept(&times, &policy), ["0 oldest daily", "2 daily", "4 daily"]);
}

#[test]
fn rules_add_up_and_each_says_so() {
    let times = [
        "2026-10-05T08:00:00+00:00",
        "2026-10-31T08:00:00+00:00",
        "2026-11-01T08:00:00+00:00",
        "2026-11-02T08:00:00+00:00",
        "2026-11-03T08:00:00+00:00",
    ];
    let policy = Policy {
        last: Keep::Count(1),
        daily: Keep::Count(2),
        monthly: Keep::Count(2),
        ..Policy::default()
    };
    assert_eq!(kept(&times, &policy), ["1 monthly", "3 daily", "4 last+daily+monthly"]);
}

#[test]
fn a_day_is_that_of_the_offset_the_backup_was_stored_with() {
    // The same two moments: one UTC day, two days on the clock of the host.
    assert_eq!(
        kept(&["2026-07-01T21:30:00+00:00", "2026-07-01T22:30:00+00:00"], &daily(1)),
        ["1 daily"]
    );
    let local = ["2026-07-01T23:30:00+02:00", "2026-07-02T00:30:00+02:00"];
    assert_eq!(kept(&local, &daily(2)), ["0 daily", "1 daily"]);
    let third = [
        "2026-07-01T22:30:00+02:00",
        "2026-07-01T23:30:00+02:00",
        "2026-07-02T00:30:00+02:00",
    ];
    assert_eq!(kept(&third, &daily(2)), ["1 daily", "2 daily"]);
}

#[test]
fn the_hour_that_comes_twice_when_clocks_go_back_is_kept_once() {
    let times = [
        "2026-10-25T02:30:00+02:00",
        "2026-10-25T02:30:00+01:00",
        "2026-10-25T03:30:00+01:00",
    ];
    let policy = Policy {
        hourly: Keep::Count(2),
        ..Policy::default()
    };
    assert_eq!(kept(&times, &policy), ["1 hourly", "2 hourly"]);
}

#[test]
fn order_is_that_of_moments_and_not_of_clock_readings() {
    // 10:00+09:00 is 01:00 UTC, before 02:00 UTC.
    let times = ["2026-11-02T10:00:00+09:00", "2026-11-02T02:00:00+00:00"];
    assert_eq!(kept(&times, &daily(1)), ["1 daily"]);
}

#[test]
fn a_day_met_again_after_another_counts_again() {
    // A host that travelled: the spans are compared with the one before, not with all.
    let times = [
        "2026-11-02T01:00:00+00:00",
        "2026-11-01T16:30:00-09:00",
        "2026-11-02T02:00:00+00:00",
    ];
    assert_eq!(kept(&times, &daily(3)), ["0 daily", "1 daily", "2 daily"]);
}

#[test]
fn of_one_moment_the_first_given_is_the_newer() {
    let times = ["2026-11-02T01:00:00+00:00", "2026-11-02T02:00:00+01:00"];
    assert_eq!(kept(&times, &daily(1)), ["0 daily"]);
    let policy = Policy {
        last: Keep::Count(1),
        ..Policy::default()
    };
    assert_eq!(kept(&times, &policy), ["0 last"]);
}

#[test]
fn the_order_given_does_not_matter() {
    let times = [
        "2026-11-03T08:00:00+00:00",
        "2026-11-01T08:00:00+00:00",
        "2026-11-02T20:00:00+00:00",
        "2026-11-02T08:00:00+00:00",
    ];
    assert_eq!(kept(&times, &daily(2)), ["0 daily", "2 daily"]);
}

#[test]
fn within_ends_strictly_after_its_limit() {
    let times = [
        "2026-11-14T11:59:59+00:00",
        "2026-11-14T12:00:00+00:00",
        "2026-11-14T12:00:01+00:00",
        "2026-11-21T12:00:00+00:00",
    ];
    let policy = Policy {
        within: Some(window("7d")),
        ..Policy::default()
    };
    let later = "2026-11-21T12:00:01Z";
    assert_eq!(kept_at(later, &times, &policy), ["2 within 7d", "3 within 7d"]);
    // A backup of this very moment is not in the past yet.
    assert_eq!(kept(&times, &policy).len(), 4);
}

#[test]
fn within_counts_from_the_newest_backup_and_not_from_now() {
    let times = ["2020-01-01T00:00:00+00:00", "2020-01-03T00:00:00+00:00"];
    let policy = Policy {
        within: Some(window("3d")),
        ..Policy::default()
    };
    assert_eq!(kept(&times, &policy), ["0 within 3d", "1 within 3d"]);
}

#[test]
fn within_counts_from_the_newest_that_is_not_in_the_future() {
    let times = [
        "2026-11-10T12:00:00+00:00",
        "2026-11-20T12:00:00+00:00",
        "2030-01-01T00:00:00+00:00",
    ];
    let policy = Policy {
        within: Some(window("3d")),
        ..Policy::default()
    };
    assert_eq!(kept(&times, &policy), ["1 within 3d", "2 within 3d"]);
}

#[test]
fn one_an_hour_within_a_window() {
    let times = [
        "2026-11-20T10:10:00+00:00",
        "2026-11-20T10:20:00+00:00",
        "2026-11-21T10:10:00+00:00",
        "2026-11-21T10:20:00+00:00",
        "2026-11-21T11:10:00+00:00",
    ];
    let policy = Policy {
        within_hourly: Some(window("1d")),
        ..Policy::default()
    };
    assert_eq!(kept(&times, &policy), ["3 hourly within 1d", "4 hourly within 1d"]);
}

#[test]
fn the_oldest_within_a_window_stays_too() {
    let times = [
        "2026-11-21T10:10:00+00:00",
        "2026-11-21T10:20:00+00:00",
        "2026-11-21T10:30:00+00:00",
    ];
    let policy = Policy {
        within_daily: Some(window("1d")),
        ..Policy::default()
    };
    assert_eq!(kept(&times, &policy), ["0 oldest daily within 1d", "2 daily within 1d"]);
}

#[test]
fn every_window_has_its_own_bucket() {
    let times = [
        "2024-06-01T00:00:00+00:00",
        "2025-06-01T00:00:00+00:00",
        "2026-05-01T00:00:00+00:00",
        "2026-06-01T00:00:00+00:00",
        "2026-06-08T00:00:00+00:00",
        "2026-06-09T00:00:00+00:00",
    ];
    let policy = Policy {
        within_weekly: Some(window("7d1h")),
        within_monthly: Some(window("1m10d")),
        within_yearly: Some(window("2y")),
        ..Policy::default()
    };
    assert_eq!(
        kept(&times, &policy),
        [
            "1 yearly within 2y",
            "2 monthly within 1m10d",
            "5 weekly within 7d1h+monthly within 1m10d+yearly within 2y",
        ]
    );
}

#[test]
fn a_month_back_runs_over_where_the_month_is_shorter() {
    assert_eq!(before("1m", "2026-03-31T10:00:00+00:00"), "2026-03-03T10:00:00+00:00");
    assert_eq!(before("1m", "2024-03-31T10:00:00+00:00"), "2024-03-02T10:00:00+00:00");
    assert_eq!(before("1y", "2024-02-29T10:00:00+00:00"), "2023-03-01T10:00:00+00:00");
    assert_eq!(before("4y", "2024-02-29T10:00:00+00:00"), "2020-02-29T10:00:00+00:00");
    assert_eq!(before("1m", "2026-01-15T10:00:00+00:00"), "2025-12-15T10:00:00+00:00");
    assert_eq!(before("13m", "2026-01-15T10:00:00+00:00"), "2024-12-15T10:00:00+00:00");
}

#[test]
fn months_are_taken_off_before_days_and_hours_last() {
    assert_eq!(
        before("2y5m7d3h", "2026-11-21T12:00:00+01:00"),
        "2024-06-14T09:00:00+01:00"
    );
    assert_eq!(
        before("1m31d", "2026-03-31T10:00:00+00:00"),
        "2026-01-31T10:00:00+00:00"
    );
    assert_eq!(before("36h", "2026-11-21T12:00:00-05:00"), "2026-11-20T00:00:00-05:00");
}

#[test]
fn a_window_longer_than_all_time_keeps_everything() {
    let policy = Policy {
        within: Some(window("4000000000y")),
        within_daily: Some(window("4000000000d")),
        ..Policy::default()
    };
    let times = ["1970-01-02T00:00:00+00:00", "2026-11-02T00:00:00+00:00"];
    assert_eq!(kept(&times, &policy).len(), 2);
}

#[test]
fn one_dated_in_the_future_stays_and_uses_up_nothing() {
    let times = [
        "2026-11-19T12:00:00+00:00",
        "2026-11-20T12:00:00+00:00",
        "2026-11-21T11:00:00+00:00",
        "2037-01-01T00:00:00+00:00",
        "2037-01-02T00:00:00+00:00",
        "2037-01-03T00:00:00+00:00",
    ];
    assert_eq!(
        kept(&times, &daily(2)),
        ["1 daily", "2 daily", "3 future", "4 daily", "5 daily"]
    );
}

#[test]
fn ten_minutes_ahead_are_a_clock_and_more_are_the_future() {
    let policy = Policy {
        last: Keep::Count(1),
        ..Policy::default()
    };
    let ahead = ["2026-11-21T12:09:59+00:00", "2026-11-21T12:10:00+00:00"];
    assert_eq!(kept(&ahead, &policy), ["1 last"]);
    let future = ["2026-11-21T12:10:01+00:00", "2026-11-21T12:10:02+00:00"];
    assert_eq!(kept(&future, &policy), ["0 future", "1 last"]);
}

#[test]
fn the_newest_that_is_dated_right_stays_beside_one_from_the_future() {
    let times = ["2026-11-21T11:00:00+00:00", "2030-01-01T00:00:00+00:00"];
    let policy = Policy {
        last: Keep::Count(1),
        ..Policy::default()
    };
    assert_eq!(kept(&times, &policy), ["0 last", "1 last"]);
}

#[test]
fn a_policy_without_rules_is_empty_and_keeps_everything() {
    let zero = Policy {
        last: Keep::Count(0),
        daily: Keep::Nothing,
        within: Some(window("0d")),
        within_yearly: Some(window("0y0h")),
        ..Policy::default()
    };
    for policy in [Policy::default(), zero] {
        assert!(policy.is_empty());
        let times = ["2026-11-01T00:00:00+00:00", "2026-11-02T00:00:00+00:00"];
        assert_eq!(kept(&times, &policy), ["0 policy is empty", "1 policy is empty"]);
    }
    assert!(!daily(1).is_empty());
    let windows = Policy {
        within_hourly: Some(window("1h")),
        ..Policy::default()
    };
    assert!(!windows.is_empty());
    let unlimited = Policy {
        yearly: Keep::Unlimited,
        ..Policy::default()
    };
    assert!(!unlimited.is_empty());
}

#[test]
fn windows_are_read_in_any_order_and_written_in_one() {
    for (text, written) in [
        ("2y5m7d3h", "2y5m7d3h"),
        ("3h7d5m2y", "2y5m7d3h"),
        ("14d", "14d"),
        ("0m36h", "36h"),
        ("0d", "0h"),
    ] {
        let window: Window = text.parse().unwrap();
        assert_eq!(window.to_string(), written);
        assert_eq!(written.parse(), Ok(window));
    }
}

#[test]
fn what_is_no_window_is_refused_with_its_reason() {
    for text in ["", "d", "7", "7w", "7 d", "-7d", "7d3", "1.5d", "7D", " 7d"] {
        let error = text.parse::<Window>().unwrap_err();
        assert_eq!(error, WindowError::Malformed(text.into()));
    }
    let twice = "1d2d".parse::<Window>().unwrap_err();
    assert_eq!(twice.to_string(), "`1d2d` names the unit `d` twice");
    assert!(matches!(
        "99999999999d".parse::<Window>(),
        Err(WindowError::TooLarge(_))
    ));
}

/// A moment within three years, at one of a few offsets, on a coarse raster so that buckets are shared.
fn moments() -> impl Strategy<Value = Vec<Zoned>> {
    let one = (
        0_i64..26_280,
        0_i64..4,
        prop_oneof![Just(0_i8), Just(1), Just(2), Just(-9), Just(13)],
    );
    proptest::collection::vec(one, 0..40).prop_map(|moments| {
        let made = moments.into_iter().map(|(hours, quarters, offset)| {
            let second = at("2023-12-20T00:00:00Z").as_second() + hours * 3600 + quarters * 900;
            let zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(offset));
            Timestamp::from_second(second).unwrap().to_zoned(zone)
        });
        made.collect()
    })
}

fn keeps() -> impl Strategy<Value = Keep> {
    prop_oneof![
        4 => Just(Keep::Nothing),
        6 => (1_u32..9).prop_map(Keep::Count),
        1 => Just(Keep::Unlimited),
    ]
}

fn counted() -> impl Strategy<Value = Policy> {
    let policies = (keeps(), keeps(), keeps(), keeps(), keeps(), keeps());
    let made = policies.prop_map(|(last, hourly, daily, weekly, monthly, yearly)| Policy {
        last,
        hourly,
        daily,
        weekly,
        monthly,
        yearly,
        ..Policy::default()
    });
    made.prop_filter("a policy that keeps something", |policy| !policy.is_empty())
}

fn windowed() -> impl Strategy<Value = Policy> {
    let span = |unit: &'static str| {
        proptest::option::of(1_u32..20).prop_map(move |number| Some(format!("{}{unit}", number?).parse().unwrap()))
    };
    (counted(), span("d"), span("h"), span("d"), span("m"), span("y")).prop_map(
        |(policy, within, within_hourly, within_daily, within_monthly, within_yearly)| Policy {
            within,
            within_hourly,
            within_daily,
            within_monthly,
            within_yearly,
            ..policy
        },
    )
}

/// A moment within the span of [`moments`], so that some are dated in the future.
const WITHIN: &str = "2026-06-01T00:00:00Z";

fn one_more(keep: Keep) -> Keep {
    match keep {
        Keep::Nothing => Keep::Count(1),
        Keep::Count(count) => Keep::Count(count + 1),
        Keep::Unlimited => Keep::Unlimited,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn counts_applied_to_what_they_kept_keep_all_of_it(times in moments(), policy in counted()) {
        let decisions = guarded(&times, at(WITHIN), &policy);
        let stayed: Vec<Zoned> = times.iter().zip(&decisions).filter(|(_, d)| d.keep).map(|(t, _)| t.clone()).collect();
        let again = guarded(&stayed, at(WITHIN), &policy);
        prop_assert!(again.iter().all(|decision| decision.keep), "{stayed:?} {again:?}");
    }

    #[test]
    fn a_shuffled_list_meets_the_same_decisions(
        mut times in moments(), policy in windowed(), seed in proptest::collection::vec(any::<u32>(), 40)
    ) {
        times.sort();
        times.dedup();
        let mut shuffled: Vec<(u32, usize)> = seed.into_iter().zip(0..times.len()).collect();
        shuffled.sort_unstable();
        let moved: Vec<Zoned> = shuffled.iter().map(|(_, index)| times[*index].clone()).collect();
        let straight = guarded(&times, at(WITHIN), &policy);
        let crossed = guarded(&moved, at(WITHIN), &policy);
        for ((_, index), decision) in shuffled.iter().zip(&crossed) {
            prop_assert_eq!(&straight[*index], decision);
        }
    }

    #[test]
    fn a_larger_count_never_keeps_less(times in moments(), policy in windowed(), rule in 0_usize..6) {
        let mut more = policy;
        let slots = [
            &mut more.last, &mut more.hourly, &mut more.daily, &mut more.weekly, &mut more.monthly, &mut more.yearly,
        ];
        for (position, slot) in slots.into_iter().enumerate() {
            if position == rule {
                *slot = one_more(*slot);
            }
        }
        let fewer = guarded(&times, at(WITHIN), &policy);
        let larger = guarded(&times, at(WITHIN), &more);
        for (before, after) in fewer.iter().zip(&larger) {
            prop_assert!(!before.keep || after.keep);
        }
    }

    #[test]
    fn the_newest_and_the_future_always_stay_and_every_one_that_stays_says_why(
        times in moments(), policy in windowed()
    ) {
        let now = at(WITHIN);
        let decisions = guarded(&times, now, &policy);
        for (moment, decision) in times.iter().zip(&decisions) {
            prop_assert_eq!(decision.keep, !decision.reasons.is_empty());
            if moment.timestamp() > now + SignedDuration::from_mins(10) {
                prop_assert!(decision.keep);
            }
        }
        let newest = times.iter().map(Zoned::timestamp).max();
        if let Some(newest) = newest {
            let mut of_newest = times.iter().zip(&decisions).filter(|(t, _)| t.timestamp() == newest);
            prop_assert!(of_newest.any(|(_, d)| d.keep));
        }
    }

    #[test]
    fn the_rules_applied_to_what_they_kept_keep_all_of_it(times in moments(), policy in windowed()) {
        // Nothing is dated ahead: else a window may end at a backup that only uses up what the rules keep.
        let now = at("2030-01-01T00:00:00Z");
        let decisions = plain(&times, now, &policy);
        let stayed: Vec<Zoned> = times.iter().zip(&decisions).filter(|(_, d)| d.keep).map(|(t, _)| t.clone()).collect();
        let again = plain(&stayed, now, &policy);
        prop_assert!(again.iter().all(|decision| decision.keep), "{stayed:?} {again:?}");
    }

    #[test]
    fn a_larger_policy_keeps_all_that_the_smaller_one_keeps(
        times in moments(), policy in windowed(), other in windowed(), longer in 0_u32..40
    ) {
        // Each word at least as large as before: its number, or its span.
        let more = |a: Keep, b: Keep| match (a, b) {
            (Keep::Unlimited, _) | (_, Keep::Unlimited) => Keep::Unlimited,
            (Keep::Count(a), Keep::Count(b)) => Keep::Count(a.max(b)),
            (Keep::Count(one), Keep::Nothing) | (Keep::Nothing, Keep::Count(one)) => Keep::Count(one),
            (Keep::Nothing, Keep::Nothing) => Keep::Nothing,
        };
        let spans = |a: Option<Window>| a.map(|window| Window { days: window.days + longer, ..window });
        let larger = Policy {
            last: more(policy.last, other.last),
            hourly: more(policy.hourly, other.hourly),
            daily: more(policy.daily, other.daily),
            weekly: more(policy.weekly, other.weekly),
            monthly: more(policy.monthly, other.monthly),
            yearly: more(policy.yearly, other.yearly),
            within: spans(policy.within),
            within_hourly: spans(policy.within_hourly),
            within_daily: spans(policy.within_daily),
            within_weekly: policy.within_weekly.or(other.within_weekly),
            within_monthly: spans(policy.within_monthly),
            within_yearly: spans(policy.within_yearly),
        };
        for decide in [plain, guarded] {
            let before = decide(&times, at(WITHIN), &policy);
            let after = decide(&times, at(WITHIN), &larger);
            for (before, after) in before.iter().zip(&after) {
                prop_assert!(!before.keep || after.keep);
            }
        }
    }

    #[test]
    fn the_guards_only_keep_more(times in moments(), policy in windowed()) {
        let rules = plain(&times, at(WITHIN), &policy);
        let with = guarded(&times, at(WITHIN), &policy);
        for (rule, guarded) in rules.iter().zip(&with) {
            prop_assert!(!rule.keep || guarded.keep);
        }
    }

    #[test]
    fn the_order_given_means_nothing_to_the_rules(
        mut times in moments(), policy in windowed(), seed in proptest::collection::vec(any::<u32>(), 40)
    ) {
        times.sort();
        times.dedup();
        let mut shuffled: Vec<(u32, usize)> = seed.into_iter().zip(0..times.len()).collect();
        shuffled.sort_unstable();
        let moved: Vec<Zoned> = shuffled.iter().map(|(_, index)| times[*index].clone()).collect();
        let straight = plain(&times, at(WITHIN), &policy);
        for ((_, index), decision) in shuffled.iter().zip(plain(&moved, at(WITHIN), &policy)) {
            prop_assert_eq!(&straight[*index], &decision);
        }
    }
}
