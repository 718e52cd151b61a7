//! Time and randomness, taken from the context so that a test can fix them.

use std::sync::Mutex;
use std::time::Duration;

use jiff::{Timestamp, Zoned, tz::TimeZone};

/// Where a run gets its time and its randomness from.
pub trait Clock: Send + Sync {
    /// The present moment with the host's UTC offset.
    fn now(&self) -> Zoned;

    /// How long the host has been up, the time it slept included. Only differences count; it never runs back.
    fn uptime(&self) -> Duration;

    /// Fills `bytes` with randomness fit for identifiers.
    ///
    /// # Errors
    /// When the operating system has none to give.
    fn random(&self, bytes: &mut [u8]) -> std::io::Result<()>;
}

/// A moment as records, keys and notes have it: RFC 3339 to the second, with the UTC offset.
pub fn written(moment: &Zoned) -> String {
    moment.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

/// The operating system's clock and randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Zoned {
        Zoned::now()
    }

    fn uptime(&self) -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
        Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
    }

    fn random(&self, bytes: &mut [u8]) -> std::io::Result<()> {
        getrandom::fill(bytes).map_err(|error| std::io::Error::other(error.to_string()))
    }
}

/// A clock that stands still until moved and counts instead of drawing lots.
#[derive(Debug)]
pub struct FixedClock(Mutex<(Timestamp, u8)>);

impl FixedClock {
    /// A clock that stands at `now`, UTC.
    pub fn at(now: Timestamp) -> Self {
        Self(Mutex::new((now, 0)))
    }

    /// Moves the clock to `now`.
    pub fn set(&self, now: Timestamp) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).0 = now;
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Zoned {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .0
            .to_zoned(TimeZone::UTC)
    }

    fn uptime(&self) -> Duration {
        // From the earliest time there is, so that it is never negative.
        let since = self.now().timestamp().duration_since(Timestamp::MIN);
        Duration::try_from(since).unwrap_or_default()
    }

    fn random(&self, bytes: &mut [u8]) -> std::io::Result<()> {
        let mut state = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for byte in bytes {
            state.1 = state.1.wrapping_add(1);
            *byte = state.1;
        }
        Ok(())
    }
}
