//! Logs in a restore: one is rewound openly or not at all, and what was put in its place is noted beside it, so that the
//! next backup knows where it goes on from.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::archive::record::{Record, SourceRecord};
use crate::clock;
use crate::diagnostic::{Code, Diagnose, Diagnostic};
use crate::id::SourceName;
use crate::limits;
use crate::restore::swap::SwapItem;
use crate::source::append_log::AppendLog;
use crate::source::lineage::LineageEntry;
use crate::source::{Compared, Comparison, Form, Guards, LogHead, LogReader, Source, SourceError, SourceKind};
use crate::steps::Step;
use crate::units::{ByteCount, counted};

use super::destination::{Destination, destinations, sources_here};
use super::notes::Notes;
use super::redaction::Redaction;
use super::scope::Scope;
use super::{Failure, Runner, put_back, rewound};

const UNTOUCHED: &str = "nothing present was touched";
const DIFFERENT: &str = "records of both would exist under one number";
const NAMED: &str = "in a protected environment records go only when they are named";

/// A source that is about to be put in place.
pub(super) struct Placing {
    pub(super) name: SourceName,
    /// Where it goes.
    pub(super) destination: PathBuf,
    /// Where it lies until then.
    pub(super) stage: PathBuf,
}

/// A log that would lose records.
struct Rewound {
    name: SourceName,
    compared: Result<Compared, String>,
}

/// The log of a source in a record.
fn log_in<'r>(record: &'r Record, name: &SourceName) -> Option<(&'r SourceRecord, &'r LogHead)> {
    let source = record.sources.iter().find(|source| source.name == *name)?;
    Some((source, source.log_head.as_ref()?))
}

/// The sources of a record that are logs: those that were when it was made, and those that are here now, whatever they were then.
fn logs_of<'r>(record: &'r Record, here: &[Source]) -> impl Iterator<Item = &'r SourceRecord> {
    let is_log = |source: &Source| matches!(source.kind, SourceKind::AppendLog(_));
    record.sources.iter().filter(move |source| {
        let is_here = here.iter().any(|here| here.name == source.name && is_log(here));
        is_here || source.log_head.is_some()
    })
}

impl Runner<'_> {
    /// Compares each log with the one that it would replace, before anything is replaced.
    ///
    /// A log that is a beginning of the present one may be put back where nothing is protected; what goes is told and
    /// journalled. Any other log with fewer or other records, and any in a protected environment, must be named by the
    /// operator.
    pub(super) async fn check_rewinds(&mut self, record: &Record, placing: &[Placing]) -> Result<(), Failure> {
        let described = sources_here(self.plan, self.context, record).unwrap_or_default();
        let logs: Vec<&SourceRecord> = logs_of(record, &described).collect();
        let log = |name: &SourceName| logs.iter().find(|source| source.name == *name).copied();
        let unknown = self.options.rewind_logs.iter().find(|name| log(name).is_none());
        if let Some(name) = unknown {
            let names = logs.iter().map(|source| &source.name);
            let problem = super::logs::not_a_log("--rewind-log", name, names);
            return Err(vec![problem.state(UNTOUCHED)]);
        }
        let mut rewound = Vec::new();
        for item in placing {
            let Some(source) = log(&item.name) else {
                continue;
            };
            let here = described.iter().find(|here| here.name == item.name);
            rewound.extend(self.rewinds(item, source, here).await?);
        }
        let refused: Failure = rewound
            .iter()
            .filter_map(|rewound| self.refused(rewound, record))
            .collect();
        if !refused.is_empty() {
            return Err(refused);
        }
        for Rewound { name, compared } in &rewound {
            self.evidence.log_rewound(name, record, compared.as_ref().ok())?;
            let (text, json) = match compared {
                Ok(compared) => (
                    format!(
                        "`{name}` loses {} ({}) that the backup does not have",
                        counted(compared.other_records, "record"),
                        ByteCount(compared.other_bytes)
                    ),
                    serde_json::json!({
                        "source": name, "records": compared.other_records, "bytes": compared.other_bytes,
                        "kept-records": compared.same_records,
                    }),
                ),
                Err(why) => (
                    format!("`{name}` loses what cannot be read: {why}"),
                    serde_json::json!({ "source": name, "unreadable": why }),
                ),
            };
            self.outcome.listed_field("rewound", "rewound", text, json);
        }
        Ok(())
    }

    /// Refuses before a service is stopped and anything is unpacked what [`Self::check_rewinds`] would refuse behind it. Only what
    /// is certain counts: the comparison before the swap has the last word.
    pub(super) async fn refuse_rewinds_early(&self, record: &Record) -> Result<(), Failure> {
        let mut steps = self.plan.steps().iter().filter(|planned| planned.enabled);
        let swap = steps.find(|planned| matches!(planned.step, Step::Swap(_)));
        let Some(swap) = swap.filter(|_| self.options.to.is_none()) else {
            return Ok(());
        };
        let mut restores = self.plan.steps().iter().filter_map(|planned| match &planned.step {
            Step::Restore(restore) if planned.enabled => Some(restore.clone()),
            _ => None,
        });
        let settings = restores.next().unwrap_or_default();
        let redaction = Redaction::of(self.plan);
        let mut restored = redaction.restored(record);
        restored.sources.retain(|source| source.entries > 0);
        let destinations = destinations(self.plan, self.context, &restored, &settings)?;
        let mut refused: Failure = Vec::new();
        for source in &restored.sources {
            // A log without its secrets is another one: it is compared when it is there.
            let destination = destinations.get(&source.name);
            let Some(destination) = destination.filter(|_| !redaction.covers(&source.name)) else {
                continue;
            };
            if let Some(found) = self.rewound_at(source, destination).await? {
                refused.extend(self.certain_refusal(&found, &source.name, record));
            }
        }
        for problem in &mut refused {
            problem.step = Some(swap.id.to_string());
        }
        if refused.is_empty() { Ok(()) } else { Err(refused) }
    }

    /// How far the log of a source would go back, where that can be told from the present one alone: what rotation took from it is no
    /// loss, and is compared when the restored one is there. Nothing where the operator has named the log.
    async fn rewound_at(
        &self,
        source: &SourceRecord,
        destination: &Destination,
    ) -> Result<Option<rewound::Rewound>, Failure> {
        let Some((here, form)) = &destination.source else {
            return Ok(None);
        };
        let plain = matches!(&here.kind, SourceKind::AppendLog(log) if !log.rotates());
        let named = self.options.rewind_logs.contains(&source.name);
        let Some(head) = source.log_head.clone().filter(|_| plain && !named) else {
            return Ok(None);
        };
        let Ok(selects) = here.selects(self.plan.project(), &destination.path, *form) else {
            return Ok(None);
        };
        let path = destination.path.clone();
        let look = tokio::task::spawn_blocking(move || rewound::rewound(&path, &selects, &head));
        tokio::select! {
            found = look => Ok(found.ok().flatten()),
            () = self.context.stop.token().cancelled() => Err(vec![self.stopped(UNTOUCHED)]),
        }
    }

    fn certain_refusal(&self, found: &rewound::Rewound, name: &SourceName, record: &Record) -> Option<Diagnostic> {
        let id = &record.id;
        match found.records {
            _ if found.differs => {
                let what = format!("the log `{name}` goes on from something else than backup `{id}` has");
                Some(log_rewind(name, what, format!("{}; {DIFFERENT}", found.text)))
            }
            Some(records) if records > 0 && self.plan.environment().protected => {
                let records = counted(records, "record");
                let what = format!("the log `{name}` would lose {records} that backup `{id}` does not have");
                Some(log_rewind(name, what, NAMED.to_owned()))
            }
            _ => None,
        }
    }

    /// What the present log would lose; nothing where every whole record of it is in the restored one.
    async fn rewinds(
        &self,
        item: &Placing,
        source: &SourceRecord,
        here: Option<&Source>,
    ) -> Result<Option<Rewound>, Failure> {
        let whole = as_a_whole(&item.name);
        let (here, form) = match here.filter(|here| matches!(here.kind, SourceKind::AppendLog(_))) {
            Some(here) => (here, source.form),
            // A destination that no source of this environment describes is a log as a whole.
            None => (&whole, Form::Folder),
        };
        let is_absent = |error: std::io::Error| error.kind() == std::io::ErrorKind::NotFound;
        if std::fs::symlink_metadata(&item.destination).is_err_and(is_absent) {
            return Ok(None);
        }
        let project = self.plan.project();
        let mut restored = here
            .log_below(project, &item.stage, form)
            .map_err(|error| vec![Diagnostic::of(&error).state(UNTOUCHED)])?;
        let compared = match here.log_below(project, &item.destination, form) {
            Ok(present) => {
                // What rotation took from the present log since is no difference.
                let rotates = matches!(&here.kind, SourceKind::AppendLog(log) if log.rotates());
                if let Some(first) = present.files().first().filter(|_| rotates) {
                    restored.begin_at(first);
                }
                let stop = std::sync::Arc::clone(self.context.stop.flag());
                let work = move || compare(restored, present, &stop);
                let compared = tokio::task::spawn_blocking(work).await;
                compared
                    .map_err(|error| error.to_string())
                    .and_then(|compared| compared.map_err(|error| error.to_string()))
            }
            Err(error) => Err(why_of(&error)),
        };
        if self.context.stop.is_requested() {
            return Err(vec![self.stopped(UNTOUCHED)]);
        }
        let name = item.name.clone();
        Ok(match compared {
            Ok(compared) if compared.other_records == 0 => None,
            compared => Some(Rewound { name, compared }),
        })
    }

    fn refused(&self, rewound: &Rewound, record: &Record) -> Option<Diagnostic> {
        let Rewound { name, compared } = rewound;
        if self.options.rewind_logs.contains(name) {
            return None;
        }
        let protected = self.plan.environment().protected;
        let (what, why) = match compared {
            Ok(compared) if compared.difference.is_none() && !protected => return None,
            Ok(compared) => {
                let what = format!(
                    "the log `{name}` would lose {} ({}) that backup `{}` does not have",
                    counted(compared.other_records, "record"),
                    ByteCount(compared.other_bytes),
                    record.id
                );
                let why = match &compared.difference {
                    Some(found) => format!(
                        "the backup's log and the present one differ from record {} on; {DIFFERENT}",
                        found.record
                    ),
                    None => NAMED.to_owned(),
                };
                (what, why)
            }
            Err(why) => (
                format!(
                    "the log `{name}` cannot be compared with that of backup `{}`",
                    record.id
                ),
                why.clone(),
            ),
        };
        Some(log_rewind(name, what, why))
    }

    /// What is noted beside each log that is about to be put in place; those that are `rewritten` are not what was captured.
    pub(super) async fn notes(&self, record: &Record, swaps: &[SwapItem], rewritten: &BTreeSet<SourceName>) -> Notes {
        let logs: Vec<_> = swaps
            .iter()
            .filter_map(|item| Some((item, log_in(record, &item.source)?.1)))
            .collect();
        if logs.is_empty() {
            return Notes::default();
        }
        let (_, newest) = put_back::lineages(Scope::of(self.plan), self.context).await;
        let notes = logs.into_iter().map(|(item, head)| {
            let entry = LineageEntry {
                source: item.source.clone(),
                environment: self.plan.environment_name().clone(),
                run: self.context.run,
                restored: clock::written(&self.context.clock.now()),
                backup: Some(record.id.clone()),
                made_in: record.environment.clone(),
                head: head.clone(),
                redacted: rewritten.contains(&item.source),
                newest: newest.clone(),
            };
            (item.destination.clone(), entry)
        });
        Notes::of(notes)
    }
}

/// The refusal to put back a log that is not named.
fn log_rewind(name: &SourceName, what: String, why: String) -> Diagnostic {
    let problem = Diagnostic::error(Code::LogRewind, what).why(why).state(UNTOUCHED);
    problem.help(format!(
        "take a newer backup, or restore with `--to DIR` and look; where the log is meant to go back, add `--rewind-log {name}`: \
         what is replaced is kept beside it"
    ))
}

/// A log that is everything in a folder.
fn as_a_whole(name: &SourceName) -> Source {
    Source {
        name: name.clone(),
        kind: SourceKind::AppendLog(AppendLog {
            path: ".".to_owned(),
            ..AppendLog::default()
        }),
        guards: Guards::default(),
    }
}

fn why_of(error: &SourceError) -> String {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    match cause.or_else(|| error.why()) {
        Some(why) => format!("{error}: {why}"),
        None => error.to_string(),
    }
}

fn compare(mut restored: LogReader, present: LogReader, stop: &AtomicBool) -> std::io::Result<Compared> {
    let mut comparison = Comparison::new(present);
    let mut buffer = vec![0; limits::READ_BLOCK];
    loop {
        let read = restored.read(&mut buffer)?;
        if read == 0 {
            return comparison.finish();
        }
        if stop.load(Ordering::Relaxed) {
            return Err(std::io::ErrorKind::Interrupted.into());
        }
        comparison.take(buffer.get(..read).unwrap_or_default())?;
    }
}
