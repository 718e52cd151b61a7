//! What the journal says of fences: where one held, and where the operator has lifted it.

use serde_json::json;

use crate::archive::record::Record;
use crate::diagnostic::{Code, Diagnostic};
use crate::journal::{Entry, Event, Field, Status, Sync};

use super::super::{Failure, UNTOUCHED};
use super::Evidence;

impl Evidence {
    pub(in crate::pipeline::run) fn refused(&mut self, record: &Record, refusal: &Diagnostic) -> Result<(), Failure> {
        let entry = Entry::new(Event::Refused)
            .status(Status::Refused)
            .with(Field::Backup, record.id.as_str())
            .with(Field::MadeIn, record.environment.as_str())
            .with(Field::Code, refusal.code.as_str())
            .with(Field::Message, refusal.what.as_str());
        self.write(&entry, Sync::Now)
    }

    /// Comes before anything of the backup is unpacked. Unlike what else a restore records it must be on the disk: nobody
    /// may lift a fence without a trace.
    pub(in crate::pipeline::run) fn fence_lifted(
        &mut self,
        record: &Record,
        sources: &[String],
    ) -> Result<(), Failure> {
        let entry = Entry::new(Event::FenceLifted)
            .status(Status::Ok)
            .with(Field::Backup, record.id.as_str())
            .with(Field::MadeIn, record.environment.as_str())
            .with(Field::Sources, json!(sources))
            .with(Field::Reason, "--allow-unredacted");
        let refused = |problem: Diagnostic| {
            let why = problem
                .why
                .map_or(problem.what.clone(), |why| format!("{}: {why}", problem.what));
            let what = "`--allow-unredacted` cannot be written to the journal";
            let refused = Diagnostic::error(Code::Fenced, what).why(why).state(UNTOUCHED);
            vec![refused.help("see that the state folder can be written to and its journal is whole")]
        };
        match &mut self.journal {
            None => Err(refused(Diagnostic::error(Code::StateFailed, "there is no journal"))),
            Some(journal) => journal
                .append(&entry, Sync::Now)
                .map_err(|error| refused(Diagnostic::of(&error))),
        }
    }
}
