//! Shows a run as it goes: bars with rate and time left where someone watches, plain lines elsewhere.
//!
//! Both listen to events and cannot fail a run.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::event::{Event, Listener};
use crate::report::human;
use crate::secrets::Scrubber;

use super::screen::Screen;

const TICK: Duration = Duration::from_millis(120);
const COUNTING: &str = "{spinner} {prefix} {bytes} at {binary_bytes_per_sec}, {elapsed} {msg}";
const MEASURING: &str =
    "{spinner} {prefix} [{bar:24}] {bytes} of {total_bytes} at {binary_bytes_per_sec}, {eta} left {msg}";
const TARGET: &str = "  {prefix} {bytes} at {binary_bytes_per_sec}";

/// The line that tells of an event, if it is told in a line.
fn line(event: &Event) -> Option<String> {
    match event {
        Event::RunStarted {
            run,
            pipeline,
            environment,
        } => Some(format!("run {run}: pipeline `{pipeline}` in `{environment}`")),
        Event::StepStarted { step, kind } => Some(format!("{step}: started ({kind})")),
        Event::StepFinished { step, summary } if summary.is_empty() => Some(format!("{step}: finished")),
        Event::StepFinished { step, summary } => Some(format!("{step}: {summary}")),
        Event::StepFailed { step } => Some(format!("{step}: failed")),
        Event::Warned { code, what } => Some(format!("warning[{code}]: {what}")),
        Event::SourceStarted { .. }
        | Event::SourceRead { .. }
        | Event::TotalKnown { .. }
        | Event::TargetStored { .. }
        | Event::TargetRead { .. }
        | Event::Restored { .. }
        | Event::RunFinished { .. } => None,
    }
}

/// One plain line for each step that started, finished or failed, and for each warning.
pub(super) struct Lines {
    screen: Screen,
    scrubber: Scrubber,
}

impl Lines {
    /// Writes to `screen`.
    pub(super) fn new(screen: Screen, scrubber: Scrubber) -> Self {
        Self { screen, scrubber }
    }
}

impl Listener for Lines {
    fn hear(&self, event: &Event) {
        if let Some(text) = line(event) {
            let text = human::clean(&self.scrubber.scrub(&text));
            self.screen.write(&format!("{text}\n"));
        }
    }
}

/// What is done with a target's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Stored,
    Read,
}

/// A line for the data that is read or restored, and one below it for each target.
pub(super) struct Bars {
    all: MultiProgress,
    scrubber: Scrubber,
    shown: Mutex<Shown>,
}

#[derive(Default)]
struct Shown {
    data: Option<ProgressBar>,
    targets: BTreeMap<(String, Way), ProgressBar>,
}

impl Bars {
    /// Shows in `all`.
    pub(super) fn new(all: MultiProgress, scrubber: Scrubber) -> Self {
        Self {
            all,
            scrubber,
            shown: Mutex::default(),
        }
    }

    fn shown(&self) -> std::sync::MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The line for the data, made when it is first needed.
    fn data(&self, shown: &mut Shown) -> ProgressBar {
        let make = || {
            let bar = self.all.insert(0, ProgressBar::no_length().with_style(style(COUNTING)));
            bar.enable_steady_tick(TICK);
            bar
        };
        shown.data.get_or_insert_with(make).clone()
    }

    fn target(&self, shown: &mut Shown, name: &str, way: Way) -> ProgressBar {
        let make = || {
            let verb = match way {
                Way::Stored => "stored in",
                Way::Read => "read from",
            };
            let bar = ProgressBar::no_length().with_style(style(TARGET));
            self.all.add(bar.with_prefix(format!("{verb} {}", self.plain(name))))
        };
        shown.targets.entry((name.to_owned(), way)).or_insert_with(make).clone()
    }

    fn plain(&self, text: &str) -> String {
        human::clean(&self.scrubber.scrub(text))
    }

    /// Takes the lines of a finished step away and leaves `text` above what remains.
    fn tell(&self, text: &str) {
        // A line that cannot be shown is told again in the report.
        let _ = self.all.println(self.plain(text));
    }

    fn end(&self) {
        let mut shown = self.shown();
        let Shown { data, targets } = std::mem::take(&mut *shown);
        data.iter()
            .chain(targets.values())
            .for_each(ProgressBar::finish_and_clear);
    }
}

impl Listener for Bars {
    fn hear(&self, event: &Event) {
        match event {
            Event::RunStarted { .. } | Event::StepFinished { .. } => {
                if let Some(text) = line(event) {
                    self.tell(&text);
                }
            }
            Event::StepStarted { step, .. } => self.data(&mut self.shown()).set_prefix(self.plain(step)),
            Event::SourceStarted { source } => self.data(&mut self.shown()).set_message(self.plain(source)),
            Event::TotalKnown { bytes } => {
                let bar = self.data(&mut self.shown());
                bar.reset();
                bar.set_length(*bytes);
                bar.set_style(style(MEASURING));
            }
            Event::SourceRead { bytes, .. } | Event::Restored { bytes, .. } => self.data(&mut self.shown()).inc(*bytes),
            Event::TargetStored { target, bytes } => self.target(&mut self.shown(), target, Way::Stored).inc(*bytes),
            Event::TargetRead { target, bytes } => self.target(&mut self.shown(), target, Way::Read).inc(*bytes),
            Event::StepFailed { .. } | Event::RunFinished { .. } => self.end(),
            // The report at the end lists every warning with its reason.
            Event::Warned { .. } => {}
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constants and a test reads each; a default style is the only other choice.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events() -> Vec<Event> {
        let text = || String::from("x");
        vec![
            Event::RunStarted {
                run: text(),
                pipeline: text(),
                environment: text(),
            },
            Event::StepStarted {
                step: "capture".into(),
                kind: "snapshot".into(),
            },
            Event::SourceStarted { source: text() },
            Event::TotalKnown { bytes: 100 },
            Event::SourceRead { entries: 1, bytes: 60 },
            Event::TargetStored {
                target: "local".into(),
                bytes: 30,
            },
            Event::TargetStored {
                target: "local".into(),
                bytes: 12,
            },
            Event::TargetRead {
                target: "local".into(),
                bytes: 42,
            },
            Event::Warned {
                code: "source-changing".into(),
                what: "`a` kept changing".into(),
            },
            Event::StepFinished {
                step: "capture".into(),
                summary: "1 entry, 60 B".into(),
            },
        ]
    }

    #[test]
    fn a_step_is_told_in_one_line_when_it_starts_and_one_when_it_ends() {
        let lines: Vec<String> = events().iter().filter_map(line).collect();
        assert_eq!(
            lines,
            [
                "run x: pipeline `x` in `x`",
                "capture: started (snapshot)",
                "warning[source-changing]: `a` kept changing",
                "capture: 1 entry, 60 B",
            ]
        );
    }

    #[test]
    fn bars_count_bytes_of_data_and_of_each_target() {
        let hidden = MultiProgress::with_draw_target(indicatif::ProgressDrawTarget::hidden());
        let bars = Bars::new(hidden, Scrubber::new());
        for event in &events() {
            bars.hear(event);
        }
        {
            let shown = bars.shown();
            let data = shown.data.as_ref().unwrap();
            assert_eq!((data.position(), data.length()), (60, Some(100)));
            let counts: Vec<u64> = shown.targets.values().map(ProgressBar::position).collect();
            assert_eq!(counts, [42, 42]);
        }
        bars.hear(&Event::RunFinished {
            exit: 0,
            headline: String::new(),
        });
        assert!(bars.shown().data.is_none());
    }

    #[test]
    fn every_template_is_sound() {
        for template in [COUNTING, MEASURING, TARGET] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
