//! Which rollback points go: those that no rule keeps. The newest of a destination always stays, and so does one of another
//! instance, since only its own runs know what is used of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::space;
use super::swap::scan::Point;
use crate::id::Instance;

/// How many points stay, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The newest so many of each destination.
    pub keep: u32,
    /// All that are younger.
    pub keep_for: Duration,
}

/// The points that neither rule keeps. `points` come oldest first.
pub fn superfluous<'a>(points: &'a [Point], rules: Rules, instance: &Instance, now: jiff::Timestamp) -> Vec<&'a Point> {
    let mut newer: BTreeMap<&Path, u32> = BTreeMap::new();
    let mut go = Vec::new();
    for point in points.iter().rev() {
        let destinations = || point.record.items.iter().map(|item| item.destination.0.as_path());
        let enough = destinations().all(|d| newer.get(d).copied().unwrap_or(0) >= rules.keep.max(1));
        // A clock that was set back makes no point older.
        let age = Duration::try_from(now.duration_since(point.record.moment())).unwrap_or_default();
        if enough && age > rules.keep_for && point.record.instance == *instance {
            go.push(point);
        }
        for destination in destinations() {
            *newer.entry(destination).or_default() += 1;
        }
    }
    go.reverse();
    go
}

/// Bytes that a point takes.
pub fn taken(point: &Point) -> u64 {
    let kept = point.record.items.iter().flat_map(|item| &item.kept);
    kept.map(|kept| space::taken(&kept.at)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::RunId;
    use crate::restore::swap::record::{FORMAT, Item, SwapRecord, Way};

    const HOUR: u64 = 3600;

    /// A point that was made at this hour for these destinations.
    fn point(hour: u8, destinations: &[&str], instance: &str) -> Point {
        let items = destinations.iter().map(|destination| Item {
            source: "data".parse().unwrap(),
            destination: Path::new(destination).into(),
            way: Way::Whole,
            kept: Vec::new(),
            stages: Vec::new(),
            parts: Vec::new(),
        });
        Point {
            record: SwapRecord {
                format: FORMAT,
                run: RunId::new(u64::from(hour), [hour; 10]),
                environment: "dev".parse().unwrap(),
                host: "host".into(),
                instance: Instance::new(instance),
                actor: "nobody".into(),
                made: format!("2026-11-21T{hour:02}:00:00Z"),
                backup: None,
                takes: None,
                home: Path::new("/srv").into(),
                folders: Vec::new(),
                items: items.collect(),
            },
            journal: "/srv/x".into(),
        }
    }

    fn go(points: &[Point], keep: u32, hours: u64) -> Vec<i8> {
        let rules = Rules {
            keep,
            keep_for: Duration::from_secs(hours * HOUR),
        };
        let now = "2026-11-21T12:30:00Z".parse().unwrap();
        let hour = |point: &&Point| point.record.moment().to_zoned(jiff::tz::TimeZone::UTC).hour();
        superfluous(points, rules, &Instance::new("here"), now)
            .iter()
            .map(hour)
            .collect()
    }

    #[test]
    fn a_point_stays_while_one_rule_keeps_it() {
        let points: Vec<Point> = [1, 5, 9, 12].map(|hour| point(hour, &["/srv/a"], "here")).into();
        assert_eq!(go(&points, 2, 0), [1, 5]);
        assert_eq!(go(&points, 2, 8), [1], "5 is younger than eight hours");
        assert_eq!(go(&points, 9, 0), [] as [i8; 0]);
        assert_eq!(go(&points, 1, 24), [] as [i8; 0]);
    }

    #[test]
    fn the_newest_of_a_destination_never_goes() {
        let points = [
            point(1, &["/srv/a", "/srv/b"], "here"),
            point(2, &["/srv/a"], "here"),
            point(3, &["/srv/a"], "here"),
        ];
        assert_eq!(go(&points, 0, 0), [2], "the first is the newest of /srv/b");
        assert_eq!(go(&points[..1], 0, 0), [] as [i8; 0]);
    }

    #[test]
    fn what_another_instance_made_stays_and_counts() {
        let points = [
            point(1, &["/srv/a"], "there"),
            point(2, &["/srv/a"], "here"),
            point(3, &["/srv/a"], "there"),
        ];
        assert_eq!(go(&points, 1, 0), [2]);
    }

    #[test]
    fn one_that_is_dated_in_the_future_is_young() {
        let points = [point(20, &["/srv/a"], "here"), point(21, &["/srv/a"], "here")];
        assert_eq!(go(&points, 1, 0), [] as [i8; 0]);
    }
}
