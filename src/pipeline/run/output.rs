//! Where the entries of one source end up: in the writer of its stage, redacted on the way where that is asked for.

use std::path::PathBuf;

use crate::fs::entry::Entry;
use crate::restore::error::RestoreError;
use crate::restore::writer::{TreeWriter, Written};
use crate::source::{SinkError, TreeSink, Verdict};
use crate::steps::redact::log::{RedactedLog, RedactingLog};
use crate::steps::redact::{Redacted, RedactingSink};

use super::redaction::Redactors;
use crate::archive::record::SourceRecord;

/// The way of a source into its stage.
pub(super) enum Output {
    /// As it is.
    Plain(Box<TreeWriter>),
    /// File by file without its secrets.
    Files(Box<RedactingSink<TreeWriter>>),
    /// Record by record.
    Log(Box<RedactingLog<TreeWriter>>),
}

/// What came of it.
pub(super) struct Finished {
    pub(super) written: Written,
    pub(super) redacted: Redacted,
    /// The log that came of it, where one was redacted.
    pub(super) log: Option<RedactedLog>,
}

impl Output {
    /// The way of a source into `writer`; what has to wait does so in the folder `spool`.
    pub(super) fn of(source: &SourceRecord, writer: TreeWriter, redactors: &Redactors, spool: PathBuf) -> Self {
        match redactors.get(&source.name) {
            None => Self::Plain(Box::new(writer)),
            Some((redactor, _)) if source.log_head.is_some() => {
                Self::Log(Box::new(RedactingLog::new(writer, redactor, spool)))
            }
            Some((redactor, binary)) => {
                Self::Files(Box::new(RedactingSink::new(writer, redactor, *binary).for_restore()))
            }
        }
    }

    pub(super) fn finish(self) -> Result<Finished, RestoreError> {
        let (writer, redacted, log) = match self {
            Self::Plain(writer) => (*writer, Redacted::default(), None),
            Self::Files(sink) => {
                let (writer, redacted) = sink.into_parts();
                (writer, redacted, None)
            }
            Self::Log(sink) => {
                let (writer, log) = sink.into_parts();
                (writer, log.redacted.clone(), Some(log))
            }
        };
        let written = writer.finish()?;
        Ok(Finished { written, redacted, log })
    }

    fn sink(&mut self) -> &mut dyn TreeSink {
        match self {
            Self::Plain(writer) => writer.as_mut(),
            Self::Files(sink) => sink.as_mut(),
            Self::Log(sink) => sink.as_mut(),
        }
    }
}

impl TreeSink for Output {
    fn begin(&mut self, entry: &Entry) -> Result<(), SinkError> {
        self.sink().begin(entry)
    }

    fn write(&mut self, data: &[u8]) -> Result<(), SinkError> {
        self.sink().write(data)
    }

    fn end(&mut self, verdict: Verdict) -> Result<(), SinkError> {
        self.sink().end(verdict)
    }

    fn rest(&mut self) -> Result<(), SinkError> {
        self.sink().rest()
    }
}
