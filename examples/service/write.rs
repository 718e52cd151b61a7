//! The writer: appends an event to the log, then applies it to both projections, always in this order, so that a
//! projection is never ahead of the log whenever the process ends.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::layout::Layout;
use crate::log::{Event, Log, Stroke, read, segments};
use crate::projections::{Projection, Subject};
use crate::text::Numbers;
use crate::{At as _, Error};

/// When to end, and how fast to go.
pub(crate) struct Limits {
    pub(crate) duration: Option<Duration>,
    pub(crate) count: Option<u64>,
    /// Whoever runs it makes this file to end it.
    pub(crate) until: Option<PathBuf>,
    /// Events a second; 0 for as many as possible.
    pub(crate) rate: u32,
}

/// What was written.
pub(crate) struct Written {
    pub(crate) events: u64,
    pub(crate) last_seq: u64,
    /// How long each write took, from its first byte in the log to its commit in the last projection.
    pub(crate) took: Vec<Duration>,
}

impl Written {
    /// The time that all but one write in `of` took at most; the longest where `of` is 0.
    pub(crate) fn slowest(&self, of: usize) -> Duration {
        let mut took = self.took.clone();
        took.sort_unstable();
        let beyond = took.len().checked_div(of).unwrap_or(0);
        took.iter().rev().nth(beyond).copied().unwrap_or_default()
    }
}

/// Writes until a limit is met. A signal ends it anywhere, which is what the next start must cope with.
pub(crate) fn write(layout: &Layout, limits: &Limits) -> Result<Written, Error> {
    let path = layout.lock();
    let mut options = OpenOptions::new();
    let lock = options.append(true).create(true).mode(0o600).open(&path).at(&path)?;
    if lock.try_lock().is_err() {
        return Err(Error::Busy(layout.root().to_owned()));
    }

    let mut log = Log::open(&layout.events())?;
    let mut projections = Vec::new();
    for subject in Subject::ALL {
        projections.push(Projection::open(&layout.projections(), subject)?);
    }
    catch_up(layout, &mut projections)?;

    let start = Instant::now();
    let mut numbers = Numbers::seeded(log.last() + 1);
    let mut events = 0;
    let mut took = Vec::new();
    let is_over = |events: u64| {
        limits.count.is_some_and(|count| events >= count)
            || limits.duration.is_some_and(|duration| start.elapsed() >= duration)
            || limits.until.as_ref().is_some_and(|file| file.exists())
    };
    while !is_over(events) {
        let left = limits.count.map_or(u64::MAX, |count| count.saturating_sub(events));
        let batch = if numbers.below(10) == 0 {
            1 + numbers.below(4)
        } else {
            1
        }
        .min(left);
        let stroke = if numbers.below(8) == 0 {
            Stroke::Torn
        } else {
            Stroke::Whole
        };
        let now = jiff::Timestamp::now();
        let new: Vec<Event> = (1..=batch)
            .map(|index| Event::invent(log.last() + index, now))
            .collect();
        let begun = Instant::now();
        log.append(&new, stroke)?;
        for projection in &mut projections {
            projection.apply(&new)?;
        }
        took.push(begun.elapsed());
        events += batch;
        pace(start, events, limits.rate);
    }
    Ok(Written {
        events,
        last_seq: log.last(),
        took,
    })
}

/// Applies what is in the log and not yet in a projection: the last writer was ended between the two.
fn catch_up(layout: &Layout, projections: &mut [Projection]) -> Result<(), Error> {
    let mut behind = u64::MAX;
    for projection in projections.iter() {
        behind = behind.min(projection.last_seq()?);
    }
    for segment in segments(&layout.events())? {
        let mut missing = Vec::new();
        read(&segment, |event| {
            if event.seq > behind {
                missing.push(event);
            }
            Ok(())
        })?;
        for projection in projections.iter_mut().filter(|_| !missing.is_empty()) {
            projection.apply(&missing)?;
        }
    }
    Ok(())
}

fn pace(start: Instant, events: u64, rate: u32) {
    if rate == 0 {
        return;
    }
    let due = Duration::from_micros(events.saturating_mul(1_000_000) / u64::from(rate));
    if let Some(early) = due.checked_sub(start.elapsed()) {
        std::thread::sleep(early);
    }
}
