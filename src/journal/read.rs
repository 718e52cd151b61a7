//! Reads records as they stand, for people and programs that look. Whether they are whole is `verify`'s to say.

use std::collections::VecDeque;

use jiff::Timestamp;
use rustix::fs::OFlags;
use serde_json::{Map, Value};

use super::JournalError;
use super::chain::Line;
use super::segment;
use crate::state::StateFolder;

/// Which records to give. What is not asked for does not count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this run; a unique prefix of its id is enough.
    pub run: Option<String>,
    /// Of this pipeline.
    pub pipeline: Option<String>,
    /// With this event.
    pub event: Option<String>,
    /// With this status.
    pub status: Option<String>,
    /// Not earlier.
    pub since: Option<Timestamp>,
    /// Not later.
    pub until: Option<Timestamp>,
}

impl Filter {
    fn lets_through(&self, line: &Line) -> bool {
        let fits = |wanted: &Option<String>, key: &str| wanted.is_none() || line.text(key) == wanted.as_deref();
        let run = self.run.as_deref().unwrap_or_default();
        line.text("run").unwrap_or_default().starts_with(run)
            && fits(&self.pipeline, "pipeline")
            && fits(&self.event, "event")
            && fits(&self.status, "status")
            && self.since.is_none_or(|since| line.ts >= since)
            && self.until.is_none_or(|until| line.ts <= until)
    }
}

/// One record as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Sequence number.
    pub seq: u64,
    /// When.
    pub ts: Timestamp,
    /// All of it, in the order of the line.
    pub fields: Map<String, Value>,
    /// The line itself, without its line end.
    pub line: String,
}

impl Record {
    /// A text of the record; `None` where it has none of this name.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.fields.get(key).and_then(Value::as_str)
    }
}

/// Records of a journal, oldest first. Holds one segment at a time.
pub struct Records<'a> {
    folder: &'a StateFolder,
    filter: Filter,
    segments: VecDeque<u32>,
    waiting: VecDeque<Result<Record, JournalError>>,
}

/// Reads the records of `folder` that `filter` lets through. A last line that is still being written is not given.
pub fn read(folder: &StateFolder, filter: Filter) -> Result<Records<'_>, JournalError> {
    Ok(Records {
        folder,
        filter,
        segments: segment::files(folder)?.segments.into(),
        waiting: VecDeque::new(),
    })
}

impl Records<'_> {
    fn read_segment(&mut self, number: u32) -> Result<(), JournalError> {
        let name = segment::file_name(number);
        let Some(file) = segment::open(self.folder, &name, OFlags::RDONLY)? else {
            return Err(JournalError::broken(name, None, "the segment is missing"));
        };
        let bytes = segment::bytes_from(self.folder, &name, &file, 0)?;
        let waiting = &mut self.waiting;
        let filter = &self.filter;
        let _ = segment::each_line(&bytes, |raw| {
            match Line::parse(raw.bytes) {
                Ok(line) if !filter.lets_through(&line) => {}
                Ok(line) => waiting.push_back(Ok(Record {
                    seq: line.seq,
                    ts: line.ts,
                    fields: line.record,
                    line: String::from_utf8_lossy(raw.bytes).into_owned(),
                })),
                Err(_) if raw.last => {}
                Err(what) => waiting.push_back(Err(JournalError::broken(name.as_str(), Some(raw.number), what))),
            }
            std::ops::ControlFlow::<()>::Continue(())
        });
        Ok(())
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(record) = self.waiting.pop_front() {
                return Some(record);
            }
            let number = self.segments.pop_front()?;
            if let Err(error) = self.read_segment(number) {
                return Some(Err(error));
            }
        }
    }
}
