//! The steps of a run, one after the other. The first that fails ends the run; what always runs is run all the same.

use crate::diagnostic::{Code, Diagnostic};
use crate::event::Event;
use crate::pipeline::PlannedStep;
use crate::steps::Step;
use crate::steps::command::Command;

use super::{Failure, Runner, SKIPPED_WITH_TO, State, UNTOUCHED};

/// Whether a run that failed has done what it was for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Achieved {
    Nothing,
    /// The backup is stored, or the restored data in place: a program that was to run behind it failed.
    Result,
}

/// What is true where a program that always runs fails after another failure.
const AS_TOLD: &str = "what the first error says of the data holds";

impl State<'_> {
    /// What is true of the data where a program fails that is given this.
    const fn standing(&self) -> &'static str {
        match self {
            Self::Nothing | Self::Pending(_) => "nothing more was done",
            Self::Stored(_) | Self::Confirmed(_) => "the backup stands; the steps behind this one were not run",
            Self::Chosen(_) | Self::Verified(_) | Self::Guarded(_) | Self::Staged(_) | Self::Ready(_) => UNTOUCHED,
            Self::Done => "the restored data is in place, and what it replaced is kept",
        }
    }

    const fn achieved(&self) -> Achieved {
        match self {
            Self::Stored(_) | Self::Confirmed(_) | Self::Done => Achieved::Result,
            Self::Nothing
            | Self::Pending(_)
            | Self::Chosen(_)
            | Self::Verified(_)
            | Self::Guarded(_)
            | Self::Staged(_)
            | Self::Ready(_) => Achieved::Nothing,
        }
    }
}

impl<'p> Runner<'p> {
    /// Runs the steps. After a failure, and where a signal asked for the end, those that always run follow in their order;
    /// what they say comes behind the failure.
    pub(super) async fn steps(&mut self) -> Result<(), Failure> {
        let mut state = State::Nothing;
        let mut failure: Failure = Vec::new();
        for planned in self.plan.steps().iter().filter(|planned| planned.enabled) {
            if self.skips(planned) {
                self.skipped.push(planned.id.to_string());
                continue;
            }
            if !failure.is_empty() && !planned.always {
                continue;
            }
            // Whatever was unpacked is gone before a program follows that starts a service.
            match self
                .one(planned, std::mem::replace(&mut state, State::Nothing), &failure)
                .await
            {
                Ok(next) => state = next,
                Err(found) => failure.extend(found),
            }
            if let (State::Verified(verified), Step::Verify(_)) = (&state, &planned.step) {
                failure.extend(
                    self.refuse_rewinds_early(&verified.record)
                        .await
                        .err()
                        .into_iter()
                        .flatten(),
                );
            }
        }
        if !failure.is_empty() {
            return Err(failure);
        }
        match state {
            State::Pending(_) => Err(vec![
                Diagnostic::error(Code::FlowMissing, "the pipeline captures and stores nothing")
                    .state("nothing was started")
                    .help("add `compress`, `checksum` and `upload`"),
            ]),
            State::Staged(staged) => self.end_staged(*staged),
            State::Ready(ready) => self.end_staged(ready.staged),
            _ => Ok(()),
        }
    }

    /// Runs one step, told before and after.
    async fn one(
        &mut self,
        planned: &'p PlannedStep,
        state: State<'p>,
        before: &Failure,
    ) -> Result<State<'p>, Failure> {
        if !planned.always {
            self.check_stop()?;
        }
        let step = planned.id.to_string();
        let kind = planned.step.name().to_owned();
        self.context.events.tell(&Event::StepStarted {
            step: step.clone(),
            kind,
        });
        let done = match (&planned.step, before.is_empty()) {
            (Step::Command(settings), false) => {
                let summary = self.command(planned, settings, AS_TOLD).await;
                summary.map(|summary| (state, summary))
            }
            _ => self.step(planned, state).await,
        };
        match done {
            Ok((next, summary)) => {
                self.evidence.step_finished(&planned.id, planned.step.name())?;
                self.context.events.tell(&Event::StepFinished { step, summary });
                Ok(next)
            }
            Err(mut failure) => {
                for diagnostic in &mut failure {
                    diagnostic.step.get_or_insert_with(|| step.clone());
                }
                self.context.events.tell(&Event::StepFailed { step });
                self.evidence.step_failed(&planned.id, &failure)?;
                Err(failure)
            }
        }
    }

    /// Runs a program where nothing has failed before it.
    pub(super) async fn command_step(
        &mut self,
        planned: &PlannedStep,
        settings: &Command,
        state: &State<'p>,
    ) -> Result<String, Failure> {
        let ran = self.command(planned, settings, state.standing()).await;
        if ran.is_err() {
            self.achieved = state.achieved();
        }
        ran
    }

    /// With `--to` nothing is put in place, so nothing is guarded and no service is stopped for it.
    fn skips(&self, planned: &PlannedStep) -> bool {
        self.options.to.is_some() && SKIPPED_WITH_TO.contains(&planned.step.name())
    }
}
