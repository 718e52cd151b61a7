//! The capture of a backup: all sources on one thread, in their order, redacted on the way.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::archive::chunks::publish::PublishError;
use crate::archive::pack::PackError;
use crate::archive::record::{RedactionRecord, SourceRecord};
use crate::archive::repository::{Lineage, Listing};
use crate::archive::sink::SourcesSink;
use crate::archive::tar_sink::Counts;
use crate::diagnostic::{Code, Diagnostic};
use crate::event::{Event, Events};
use crate::fs::owners::Owners;
use crate::id::SourceName;
use crate::limits::WARNINGS_LISTED;
use crate::redact::Redactor;
use crate::source::{Amount, Before, CaptureContext, Captured, History, SinkError, Source, SourceError, TreeSink};
use crate::steps::redact::{Binary, Redacted, RedactingSink};

use super::backup::{NO_BACKUP, Pending};
use super::logs::{KeptLogs, Logs};
use super::{Failure, Runner};

/// What a capture of all sources gave.
pub(super) struct Captures {
    pub(super) sources: Vec<SourceRecord>,
    pub(super) warnings: Vec<Diagnostic>,
    pub(super) warning_count: u64,
    pub(super) kept_logs: KeptLogs,
    redacted: BTreeMap<SourceName, Redacted>,
    fingerprint: Option<String>,
}

/// Why a capture ended early.
pub(super) enum CaptureError {
    Source(SourceName, SourceError),
    Sink(SinkError),
}

/// What the capturing thread takes with it.
pub(super) struct Capture {
    sources: Vec<Source>,
    histories: BTreeMap<SourceName, History>,
    /// How much of each source the last backup has.
    before: BTreeMap<SourceName, Before>,
    redaction: BTreeMap<SourceName, (Arc<Redactor>, Binary)>,
    project: PathBuf,
    spool: PathBuf,
    owners: Owners,
    events: Events,
    stop: Arc<std::sync::atomic::AtomicBool>,
}

impl Capture {
    pub(super) fn run(self, sink: &mut dyn SourcesSink) -> Result<Captures, CaptureError> {
        let mut captures = Captures {
            sources: Vec::new(),
            warnings: Vec::new(),
            warning_count: 0,
            kept_logs: KeptLogs::default(),
            redacted: BTreeMap::new(),
            fingerprint: self
                .redaction
                .values()
                .next()
                .map(|(redactor, _)| redactor.fingerprint().to_owned()),
        };
        self.tell_total();
        for source in &self.sources {
            if let Some(history) = self.histories.get(&source.name) {
                source
                    .look_ahead(&self.project, history)
                    .map_err(|error| CaptureError::Source(source.name.clone(), error))?;
            }
        }
        for source in &self.sources {
            let rules = self.redaction.get(&source.name);
            let rules = rules.map(|(redactor, _)| redactor.fingerprint());
            sink.begin_source(&source.name, rules).map_err(CaptureError::Sink)?;
            let captured = self.source(source, sink, &mut captures)?;
            let Counts { entries, bytes } = sink.counts();
            source
                .check_amount(&self.project, Amount { entries, bytes }, self.before.get(&source.name))
                .map_err(|error| CaptureError::Source(source.name.clone(), error))?;
            captures.warning_count += captured.warning_count;
            let name = &source.name;
            let kept = &mut captures.kept_logs;
            kept.blocks
                .extend(captured.log_blocks.map(|blocks| (name.clone(), blocks)));
            kept.memories
                .extend(captured.log_memory.map(|memory| (name.clone(), memory)));
            captures.sources.push(SourceRecord {
                name: source.name.clone(),
                kind: source.kind.name().to_owned(),
                root: source.root(&self.project).display().to_string(),
                form: captured.form,
                entries,
                bytes,
                warnings: captured.warning_count,
                log_head: captured.log_head,
                locked_head: None,
            });
            let room = WARNINGS_LISTED.saturating_sub(captures.warnings.len());
            captures.warnings.extend(captured.warnings.into_iter().take(room));
        }
        Ok(captures)
    }

    /// Tells how much there is: what the last backup has of it is the best guess that costs nothing.
    fn tell_total(&self) {
        let known = self.sources.iter().filter_map(|source| self.before.get(&source.name));
        let bytes = known.map(|before| before.amount.bytes).fold(0, u64::saturating_add);
        if bytes > 0 {
            self.events.tell(&Event::TotalKnown { bytes });
        }
    }

    fn source(
        &self,
        source: &Source,
        sink: &mut dyn SourcesSink,
        captures: &mut Captures,
    ) -> Result<Captured, CaptureError> {
        let context = CaptureContext {
            events: &self.events,
            spool: self.spool.clone(),
            owners: &self.owners,
            stop: &self.stop,
        };
        let failed = |error| CaptureError::Source(source.name.clone(), error);
        let Some((redactor, binary)) = self.redaction.get(&source.name) else {
            let none = History::default();
            let history = self.histories.get(&source.name).unwrap_or(&none);
            return source
                .capture_after(&self.project, sink, &context, history)
                .map_err(failed);
        };
        let inner: &mut dyn TreeSink = sink;
        let mut redacting = RedactingSink::new(inner, redactor, *binary);
        let mut captured = source
            .capture(&self.project, &mut redacting, &context)
            .map_err(failed)?;
        let redacted = redacting.finish();
        captured.warnings.extend(redacted.warnings.iter().cloned());
        captured.warning_count += redacted.warning_count;
        captures.redacted.insert(source.name.clone(), redacted);
        Ok(captured)
    }
}

impl<'p> Runner<'p> {
    /// Gathers what the capturing thread needs.
    ///
    /// Looks at every source first, so that one that is not there ends the run before anything is read.
    pub(super) async fn capture(
        &mut self,
        pending: &Pending<'p>,
        logs: &Logs,
        before: BTreeMap<SourceName, Before>,
    ) -> Result<Capture, Failure> {
        let missing: Failure = pending
            .snapshot
            .source
            .iter()
            .filter_map(|source| source.guard(self.plan.project()).err())
            .map(|error| {
                let mut problem = Diagnostic::of(&error).state(NO_BACKUP);
                problem.step = Some(pending.snapshot_step.to_string());
                problem
            })
            .collect();
        if !missing.is_empty() {
            return Err(missing);
        }
        let mut redaction = BTreeMap::new();
        for settings in &pending.redact {
            let known = self.evidence.known_values(&settings.values).await?;
            let redactor = settings
                .redactor(&known)
                .map_err(|error| vec![Diagnostic::of(&error).state(NO_BACKUP)])?;
            let redactor = Arc::new(redactor);
            for source in &settings.sources {
                if redaction
                    .insert(source.clone(), (Arc::clone(&redactor), settings.binary))
                    .is_some()
                {
                    let what = format!("source `{source}` is redacted by two steps");
                    return Err(vec![
                        Diagnostic::error(Code::InvalidValue, what)
                            .state(NO_BACKUP)
                            .help("name it in one `redact` step"),
                    ]);
                }
            }
        }
        let owners = Owners::of_host().map_err(|error| {
            vec![
                Diagnostic::error(Code::SourceFailed, "the host's users and groups cannot be read")
                    .why(error.to_string())
                    .state(NO_BACKUP),
            ]
        })?;
        Ok(Capture {
            sources: pending.snapshot.source.clone(),
            histories: logs.histories(),
            before,
            redaction,
            project: self.plan.project().to_owned(),
            spool: self.evidence.spool()?,
            owners,
            events: self.context.events.clone(),
            stop: Arc::clone(self.context.stop.flag()),
        })
    }

    /// Why nothing was packed.
    pub(super) async fn not_packed(
        &mut self,
        error: PackError<CaptureError>,
        pending: &Pending<'p>,
        logs: &Logs,
    ) -> Failure {
        if self.context.stop.is_requested() {
            return vec![self.stopped(NO_BACKUP)];
        }
        let internal =
            |what: &str, why: String| vec![Diagnostic::error(Code::Internal, what).why(why).state(NO_BACKUP)];
        match error {
            PackError::Capture(CaptureError::Source(source, error)) => {
                let mut diagnostic = match error {
                    SourceError::Sink(diagnostic) => *diagnostic,
                    SourceError::LogBroken { breach, .. } => self.log_broken(&source, &breach, pending, logs).await,
                    error => Diagnostic::of(&error),
                };
                diagnostic.what = format!("source `{source}`: {}", diagnostic.what);
                diagnostic.step = Some(pending.snapshot_step.to_string());
                vec![diagnostic.state(NO_BACKUP)]
            }
            PackError::Capture(CaptureError::Sink(SinkError::Failed(diagnostic))) => vec![diagnostic.state(NO_BACKUP)],
            PackError::Capture(CaptureError::Sink(SinkError::Stopped)) | PackError::Died => internal(
                "the backup ended early",
                "a part of the program ended before the others".into(),
            ),
            PackError::Sink(problem) => vec![problem.state(NO_BACKUP)],
            PackError::Seal(error) => internal("sealing failed", error.to_string()),
            PackError::Catalog(PublishError::Line(error)) => vec![Diagnostic::of(&error).state(NO_BACKUP)],
            PackError::Catalog(error) => {
                let why = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
                let what = "the catalog, or what this host remembers of the last backup, could not be written";
                let help = "see that the disk of the state folder has room and answers, then run it again";
                vec![
                    Diagnostic::error(Code::StateFailed.unless_full(&error), what)
                        .why(why)
                        .state(NO_BACKUP)
                        .help(help),
                ]
            }
            PackError::Targets(failed) => failed
                .iter()
                .map(|(_, error)| Diagnostic::of(error).state(NO_BACKUP))
                .collect(),
            PackError::Compress(error) => internal("compression failed", error.to_string()),
            PackError::Stream(error) => internal("compression failed", error.to_string()),
            PackError::Table(error) => internal("the archive is too large for its table of frames", error.to_string()),
        }
    }
}

/// How much of each source the newest backup of a line that has it holds.
pub(super) fn amounts(listing: &Listing, lineage: &Lineage) -> BTreeMap<SourceName, Before> {
    let mut line: Vec<_> = listing.line(lineage).collect();
    line.sort_by_key(|backup| (backup.record.sequence, backup.record.id.clone()));
    let of_each = line.into_iter().flat_map(|backup| {
        backup.record.sources.iter().map(|source| {
            let amount = Amount {
                entries: source.entries,
                bytes: source.bytes,
            };
            let backup = backup.record.id.clone();
            (source.name.clone(), Before { backup, amount })
        })
    });
    of_each.collect()
}

/// What redaction did, for the record.
pub(super) fn redaction_record(captures: &Captures) -> Option<RedactionRecord> {
    Some(RedactionRecord {
        fingerprint: captures.fingerprint.clone()?,
        files: captures
            .redacted
            .iter()
            .map(|(source, r)| (source.clone(), r.changed.len() as u64))
            .collect(),
        values: captures.redacted.values().map(|r| r.findings).sum(),
    })
}
