//! The standard error as one thing: lines that pass above the progress display instead of through it.

use std::io::Write as _;

use indicatif::{MultiProgress, ProgressDrawTarget};

/// The standard error, with or without a progress display. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Screen {
    bars: Option<MultiProgress>,
}

impl Screen {
    /// A screen of plain lines.
    pub(super) fn plain() -> Self {
        Self::default()
    }

    /// A screen with a progress display.
    pub(super) fn with_bars() -> Self {
        Self {
            bars: Some(MultiProgress::with_draw_target(ProgressDrawTarget::stderr())),
        }
    }

    /// The progress display.
    pub(super) fn bars(&self) -> Option<MultiProgress> {
        self.bars.clone()
    }

    /// Writes `text` as it is.
    pub(super) fn write(&self, text: &str) {
        let write = || {
            let mut stderr = std::io::stderr().lock();
            // There is nobody left to tell when the standard error itself is gone; the exit code still says it all.
            let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
        };
        match &self.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }

    /// Takes the progress display away until [`Screen::resume`]; lines and questions then stand alone.
    pub(super) fn pause(&self) {
        if let Some(bars) = &self.bars {
            // A display that cannot be cleared is a flaw of looks alone.
            let _ = bars.clear();
            bars.set_draw_target(ProgressDrawTarget::hidden());
        }
    }

    /// Shows the progress display again.
    pub(super) fn resume(&self) {
        if let Some(bars) = &self.bars {
            bars.set_draw_target(ProgressDrawTarget::stderr());
        }
    }

    /// Ends the progress display.
    pub(super) fn clear(&self) {
        self.pause();
    }
}
