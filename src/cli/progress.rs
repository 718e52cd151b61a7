//! Shows a run as it goes: bars with rate and time left where someone watches, plain lines elsewhere.
//!
//! Both listen to events and cannot fail a run.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::event::{Event, Listener};
use crate::poison;
use crate::report::human;
use crate::secrets::Scrubber;

use super::screen::Screen;

const TICK: Duration = Duration::from_millis(120);
/// A step that has moved no data yet.
const WAITING: &str = "{spinner} {prefix} {elapsed} {msg}";
/// Data of unknown size.
const COUNTING: &str = "{spinner} {prefix} {bytes} at {binary_bytes_per_sec}, {elapsed} {msg}";
/// Data of known size.
const MEASURING: &str =
    "{spinner} {prefix} [{bar:24}] {bytes} of {total_bytes} at {binary_bytes_per_sec}, {eta} left {msg}";
/// A target's data of unknown size.
const TARGET: &str = "  {prefix} {bytes} at {binary_bytes_per_sec}";
/// A target's data of known size.
const TARGET_MEASURING: &str = "  {prefix} [{bar:24}] {bytes} of {total_bytes} at {binary_bytes_per_sec}, {eta} left";

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
        // The report at the end lists every warning with its reason.
        Event::Warned { .. }
        | Event::SourceStarted { .. }
        | Event::SourceRead { .. }
        | Event::TotalKnown { .. }
        | Event::TargetStored { .. }
        | Event::TargetRead { .. }
        | Event::Restored { .. }
        | Event::RunFinished { .. } => None,
    }
}

/// One plain line for each step that started, finished or failed.
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

/// A line for the step that runs and its data, and one below it for each target.
pub(super) struct Bars {
    all: MultiProgress,
    scrubber: Scrubber,
    shown: Mutex<Shown>,
}

#[derive(Default)]
struct Shown {
    /// The line of the step that runs, and whether it shows bytes yet.
    step: Option<(ProgressBar, Moves)>,
    targets: BTreeMap<(String, Way), ProgressBar>,
    /// Bytes stored in each target by this run: what there is to read back.
    stored: BTreeMap<String, u64>,
}

/// Whether a step has moved data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moves {
    NotYet,
    Data,
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

    fn shown(&self) -> MutexGuard<'_, Shown> {
        poison::lock(&self.shown)
    }

    fn plain(&self, text: &str) -> String {
        human::clean(&self.scrubber.scrub(text))
    }

    /// Leaves `text` above the lines that move.
    fn tell(&self, text: &str) {
        // A line that cannot be shown is told again in the report.
        let _ = self.all.println(self.plain(text));
    }

    /// Begins the line of a step; those of the step before go.
    fn begin(&self, step: &str) {
        let mut shown = self.shown();
        std::mem::take(&mut shown.targets)
            .values()
            .for_each(ProgressBar::finish_and_clear);
        let known = match &shown.step {
            Some((_, Moves::Data)) | None => false,
            // A total told before its step is still ahead.
            Some((bar, Moves::NotYet)) => bar.length().is_some(),
        };
        let bar = self.step(&mut shown);
        bar.set_prefix(self.plain(step));
        bar.set_message("");
        bar.reset();
        if !known {
            bar.unset_length();
            bar.set_style(style(WAITING));
        }
        shown.step = Some((bar, Moves::NotYet));
    }

    /// The line of the step, made when it is first needed.
    fn step(&self, shown: &mut Shown) -> ProgressBar {
        let make = || {
            let bar = self.all.insert(0, ProgressBar::no_length().with_style(style(WAITING)));
            bar.enable_steady_tick(TICK);
            (bar, Moves::NotYet)
        };
        shown.step.get_or_insert_with(make).0.clone()
    }

    fn expect(&self, bytes: u64) {
        let bar = self.step(&mut self.shown());
        bar.reset();
        bar.set_length(bytes);
        bar.set_style(style(MEASURING));
    }

    fn moved(&self, bytes: u64) {
        let mut shown = self.shown();
        let bar = self.step(&mut shown);
        if let Some((bar, moves @ Moves::NotYet)) = &mut shown.step
            && bytes > 0
        {
            *moves = Moves::Data;
            if bar.length().is_none() {
                bar.set_style(style(COUNTING));
            }
        }
        bar.inc(bytes);
    }

    fn moved_in(&self, name: &str, way: Way, bytes: u64) {
        let mut shown = self.shown();
        if way == Way::Stored {
            *shown.stored.entry(name.to_owned()).or_default() += bytes;
        }
        let expected = shown.stored.get(name).copied().filter(|_| way == Way::Read);
        let make = || {
            let (verb, template) = match (way, expected) {
                (Way::Stored, _) => ("stored in", TARGET),
                (Way::Read, None) => ("read from", TARGET),
                (Way::Read, Some(_)) => ("read back from", TARGET_MEASURING),
            };
            let bar = ProgressBar::no_length().with_style(style(template));
            if let Some(bytes) = expected {
                bar.set_length(bytes);
            }
            self.all.add(bar.with_prefix(format!("{verb} {}", self.plain(name))))
        };
        shown
            .targets
            .entry((name.to_owned(), way))
            .or_insert_with(make)
            .inc(bytes);
    }

    fn end(&self) {
        let Shown { step, targets, .. } = std::mem::take(&mut *self.shown());
        let lines = step.iter().map(|(bar, _)| bar).chain(targets.values());
        lines.for_each(ProgressBar::finish_and_clear);
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
            Event::StepStarted { step, .. } => self.begin(step),
            Event::SourceStarted { source } => self.step(&mut self.shown()).set_message(self.plain(source)),
            Event::TotalKnown { bytes } => self.expect(*bytes),
            Event::SourceRead { bytes, .. } | Event::Restored { bytes, .. } => self.moved(*bytes),
            Event::TargetStored { target, bytes } => self.moved_in(target, Way::Stored, *bytes),
            Event::TargetRead { target, bytes } => self.moved_in(target, Way::Read, *bytes),
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
                "capture: 1 entry, 60 B",
            ]
        );
    }

    fn hidden() -> Bars {
        let hidden = MultiProgress::with_draw_target(indicatif::ProgressDrawTarget::hidden());
        Bars::new(hidden, Scrubber::new())
    }

    #[test]
    fn bars_count_bytes_of_data_and_of_each_target() {
        let bars = hidden();
        for event in &events() {
            bars.hear(event);
        }
        {
            let shown = bars.shown();
            let (step, _) = shown.step.as_ref().unwrap();
            assert_eq!((step.position(), step.length()), (60, Some(100)));
            let counts: Vec<u64> = shown.targets.values().map(ProgressBar::position).collect();
            assert_eq!(counts, [42, 42]);
            let back = &shown.targets[&("local".to_owned(), Way::Read)];
            assert_eq!(back.length(), Some(42), "what was stored is what there is to read back");
        }
        bars.hear(&Event::RunFinished {
            exit: 0,
            headline: String::new(),
        });
        assert!(bars.shown().step.is_none());
    }

    #[test]
    fn a_step_begins_at_nothing_unless_its_total_was_told_first() {
        let bars = hidden();
        let begin = |step: &str| {
            bars.hear(&Event::StepStarted {
                step: step.into(),
                kind: "x".into(),
            });
            let shown = bars.shown();
            let (step, _) = shown.step.as_ref().unwrap();
            (step.position(), step.length(), shown.targets.len())
        };
        bars.hear(&Event::TotalKnown { bytes: 9 });
        assert_eq!(begin("a"), (0, Some(9), 0));
        bars.hear(&Event::Restored { entries: 1, bytes: 9 });
        bars.hear(&Event::TargetRead {
            target: "local".into(),
            bytes: 3,
        });
        assert_eq!(begin("b"), (0, None, 0));
    }

    #[test]
    fn every_template_is_sound() {
        for template in [WAITING, COUNTING, MEASURING, TARGET, TARGET_MEASURING] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
