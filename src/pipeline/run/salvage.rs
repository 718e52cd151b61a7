//! Takes out of a damaged backup what can be had, into a folder that the operator named, and tells what is lost.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use tokio::runtime::Handle;

use crate::archive::keys::Opening;
use crate::archive::reading::damage::{Look, Lost};
use crate::archive::reading::salvage::salvage;
use crate::archive::reading::{Reading, ReadingError};
use crate::archive::record::Record;
use crate::archive::unpack::{self, BackupSink as _, UnpackError};
use crate::diagnostic::{Code, Diagnostic};
use crate::outcome::Table;
use crate::target::Target;

use super::choose::Standing;
use super::stage::StageSink;
use super::{Failure, Runner, UNTOUCHED};

impl Runner<'_> {
    /// Hands a backup to the stages; of a damaged one what can be had, and what is lost comes with it.
    pub(super) async fn unpack(
        &self,
        (target, record, opening): (&Target, &Record, &Opening),
        standing: Standing,
        sink: StageSink,
    ) -> Result<(StageSink, Option<Lost>), Failure> {
        match standing {
            Standing::Whole => {
                let unpacked = unpack::unpack(target, record, opening, &self.context.events, sink).await;
                let (_, sink) = unpacked.map_err(|error| self.not_unpacked(error))?;
                Ok((sink, None))
            }
            Standing::Damaged => {
                let (sink, lost) = self.salvage((target, record, opening), sink).await?;
                Ok((sink, Some(lost)))
            }
        }
    }

    async fn salvage(
        &self,
        (target, record, opening): (&Target, &Record, &Opening),
        sink: StageSink,
    ) -> Result<(StageSink, Lost), Failure> {
        let reading = Reading::new(target, record, opening, &self.context.events, Handle::current());
        let reading = reading.map_err(|error| self.not_salvaged(error))?;
        let look = Look {
            filter: sink.filter(),
            stop: Arc::clone(self.context.stop.flag()),
        };
        let salvaged = tokio::task::spawn_blocking(move || salvage(&reading, look, sink)).await;
        let salvaged = salvaged.unwrap_or_else(|_| Err(UnpackError::Died.into()));
        let (lost, sink) = salvaged.map_err(|error| self.not_salvaged(error))?;
        Ok((sink, lost))
    }

    fn not_salvaged(&self, error: ReadingError) -> Failure {
        match error {
            ReadingError::Unpack(error) => self.not_unpacked(error),
            error => vec![Diagnostic::of(&error).state(UNTOUCHED)],
        }
    }

    /// Tells what is lost: that is how the run ends, whatever else there is.
    pub(super) fn tell_lost(&mut self, lost: &Lost, to: &Path) {
        let count = lost.count;
        let what = match count {
            0 => "the backup is damaged, and every file could be had of it all the same".to_owned(),
            1 => "the backup is damaged, and 1 file could not be had of it".to_owned(),
            _ => format!("the backup is damaged, and {count} files could not be had of it"),
        };
        let state = format!("everything else lies in `{}`, compared with its digests", to.display());
        let problem = Diagnostic::error(Code::Damaged, what).state(state);
        self.outcome
            .diagnostics
            .push(problem.help("look for what is lost in an older backup: `strongroom find NAME`"));
        let mut table = Table {
            title: "lost".into(),
            columns: ["file", "why"].map(String::from).to_vec(),
            rows: Vec::new(),
        };
        let mut list = Vec::new();
        for (path, problem) in &lost.first {
            let why = problem.why.clone().unwrap_or_else(|| problem.what.clone());
            table.rows.push(vec![path.display(), why.clone()]);
            list.push(match String::from_utf8(path.to_bytes()) {
                Ok(path) => json!({ "path": path, "why": why }),
                Err(error) => json!({ "path-b64": BASE64.encode(error.as_bytes()), "why": why }),
            });
        }
        if !table.rows.is_empty() {
            self.outcome.tables.push(table);
        }
        self.outcome.json.insert("lost".into(), Value::Array(list));
        self.outcome.json.insert("lost-count".into(), count.into());
    }
}
