//! What the journal says of programs that a pipeline runs: before each starts, and when it has ended.

use serde_json::json;

use crate::id::StepId;
use crate::journal::{Entry, Event, Field, Status, Sync};

use super::super::Failure;
use super::Evidence;

/// How a program ended.
pub(in crate::pipeline::run) struct Ended<'a> {
    pub(in crate::pipeline::run) how: &'a str,
    pub(in crate::pipeline::run) exit: Option<i32>,
    pub(in crate::pipeline::run) milliseconds: u64,
    /// The end of what it said, scrubbed.
    pub(in crate::pipeline::run) said: &'a str,
}

impl Evidence {
    /// Comes before the program starts: no record, no effect.
    pub(in crate::pipeline::run) fn command_started(&mut self, step: &StepId, argv: &[String]) -> Result<(), Failure> {
        let entry = Entry::new(Event::CommandStarted)
            .step(step)
            .status(Status::Started)
            .with(Field::Argv, json!(argv));
        self.write(&entry, Sync::Now)
    }

    pub(in crate::pipeline::run) fn command_ended(
        &mut self,
        step: &StepId,
        is_well: bool,
        ended: &Ended<'_>,
    ) -> Result<(), Failure> {
        let mut entry = Entry::new(Event::CommandEnded)
            .step(step)
            .status(if is_well { Status::Ok } else { Status::Failed })
            .with(Field::Reason, ended.how)
            .with(Field::Milliseconds, ended.milliseconds);
        if let Some(exit) = ended.exit {
            entry = entry.with(Field::Exit, exit);
        }
        if !ended.said.is_empty() {
            entry = entry.with(Field::Message, ended.said);
        }
        self.write(&entry, Sync::Now)
    }
}
