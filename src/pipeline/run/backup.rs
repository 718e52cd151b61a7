//! A backup: everything from `snapshot` to `upload` as one dataflow, then the proof.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::archive::layout::{self, FORMAT};
use crate::archive::pack::{self, PackError, PackSink, Packed, Packing};
use crate::archive::record::{ObjectRecord, Record, RedactionRecord, SourceRecord};
use crate::archive::repository::{self, Confirmed, Lineage, Listing, Stored};
use crate::codec::Codec;
use crate::diagnostic::{Code, Diagnostic};
use crate::event::Events;
use crate::fs::owners::Owners;
use crate::id::{BackupId, Instance, SourceName, StepId};
use crate::limits::WARNINGS_LISTED;
use crate::redact::Redactor;
use crate::source::{CaptureContext, Captured, SinkError, Source, SourceError};
use crate::steps::compress::{self, Compress};
use crate::steps::redact::{Binary, Redact, Redacted, RedactingSink};
use crate::steps::snapshot::Snapshot;
use crate::steps::upload::Upload;
use crate::units::ByteCount;

use super::{Failure, Runner};

const ZSTD_LEVEL: i32 = 3;
const GZIP_LEVEL: i32 = 6;
pub(super) const NO_BACKUP: &str = "no backup was made; the source and the backups made before are as they were";

/// The steps before `upload`, gathered until it runs.
pub(super) struct Pending<'p> {
    pub(super) snapshot_step: &'p StepId,
    pub(super) snapshot: &'p Snapshot,
    pub(super) redact: Vec<&'p Redact>,
    pub(super) compress: Option<&'p Compress>,
}

impl<'p> Pending<'p> {
    pub(super) const fn new(snapshot_step: &'p StepId, snapshot: &'p Snapshot) -> Self {
        Self {
            snapshot_step,
            snapshot,
            redact: Vec::new(),
            compress: None,
        }
    }
}

/// The codec and level of a `compress` step.
pub(super) fn codec(settings: &Compress) -> (Codec, i32) {
    let level = settings.level.map(i32::from);
    match settings.codec {
        compress::Codec::Zstd => (Codec::Zstd, level.unwrap_or(ZSTD_LEVEL)),
        compress::Codec::Gzip => (Codec::Gzip, level.unwrap_or(GZIP_LEVEL)),
        compress::Codec::None => (Codec::None, 0),
    }
}

pub(super) fn codec_summary(settings: &Compress) -> String {
    match codec(settings) {
        (Codec::Zstd, level) => format!("zstd, level {level}, on all cores"),
        (Codec::Gzip, level) => format!("gzip, level {level}"),
        (Codec::None, _) => "not compressed".into(),
    }
}

pub(super) fn stored_summary(stored: &Stored) -> String {
    let record = stored.record();
    let names: Vec<&str> = stored.targets().iter().map(|t| t.name().as_str()).collect();
    format!(
        "{} in {}: {}",
        record.id,
        names.join(", "),
        ByteCount(record.stored_bytes())
    )
}

/// What a capture of all sources gave.
struct Captures {
    sources: Vec<SourceRecord>,
    warnings: Vec<Diagnostic>,
    warning_count: u64,
    redacted: BTreeMap<SourceName, Redacted>,
    fingerprint: Option<String>,
}

/// Why a capture ended early.
enum CaptureError {
    Source(SourceName, SourceError),
    Sink(SinkError),
}

/// What the capturing thread takes with it.
struct Capture {
    sources: Vec<Source>,
    redaction: BTreeMap<SourceName, (Arc<Redactor>, Binary)>,
    project: PathBuf,
    spool: PathBuf,
    owners: Owners,
    events: Events,
    stop: Arc<std::sync::atomic::AtomicBool>,
}

impl Capture {
    fn run(self, sink: &mut PackSink) -> Result<Captures, CaptureError> {
        let mut captures = Captures {
            sources: Vec::new(),
            warnings: Vec::new(),
            warning_count: 0,
            redacted: BTreeMap::new(),
            fingerprint: self
                .redaction
                .values()
                .next()
                .map(|(redactor, _)| redactor.fingerprint().to_owned()),
        };
        for (number, source) in self.sources.iter().enumerate() {
            if number > 0 {
                sink.source(source.name.clone()).map_err(CaptureError::Sink)?;
            }
            let captured = self.source(source, sink, &mut captures)?;
            captures.warning_count += captured.warning_count;
            captures.sources.push(SourceRecord {
                name: source.name.clone(),
                kind: source.kind.name().to_owned(),
                root: source.root(&self.project).display().to_string(),
                form: captured.form,
                entries: sink.counts().entries,
                bytes: sink.counts().bytes,
                warnings: captured.warning_count,
                log_head: captured.log_head,
            });
            let room = WARNINGS_LISTED.saturating_sub(captures.warnings.len());
            captures.warnings.extend(captured.warnings.into_iter().take(room));
        }
        Ok(captures)
    }

    fn source(&self, source: &Source, sink: &mut PackSink, captures: &mut Captures) -> Result<Captured, CaptureError> {
        let context = CaptureContext {
            events: &self.events,
            spool: self.spool.clone(),
            owners: &self.owners,
            stop: &self.stop,
        };
        let failed = |error| CaptureError::Source(source.name.clone(), error);
        let Some((redactor, binary)) = self.redaction.get(&source.name) else {
            return source.capture(&self.project, sink, &context).map_err(failed);
        };
        let mut redacting = RedactingSink::new(sink, redactor, *binary);
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
    /// Captures, packs and stores.
    pub(super) async fn backup(&mut self, pending: Pending<'p>, upload: &Upload) -> Result<Stored, Failure> {
        let required = upload.require.map_or(1, |r| r as usize);
        let targets = self.ready_targets(upload, required).await?;
        let environment = self.plan.environment_name().clone();
        let listing = repository::list(&targets, &environment).await;
        let lineage = Lineage {
            pipeline: self.plan.pipeline().clone(),
            instance: self.instance(),
        };
        let id = self.backup_id()?;
        let (codec, level) = pending.compress.map_or((Codec::None, 0), codec);
        let packing = Packing {
            codec,
            level,
            archive: layout::archive(&environment, &id, codec),
            targets,
            required,
            stop: Arc::clone(self.context.stop.flag()),
        };
        let capture = self.capture(&pending).await?;
        let first = pending.snapshot.source.first().map(|s| s.name.clone()).ok_or_else(|| {
            vec![Diagnostic::error(Code::Internal, "a snapshot without sources").state("nothing was started")]
        })?;
        self.evidence.backup_started(&id, &packing.targets)?;
        let packed = pack::pack(packing, first, &self.context.events, move |sink| capture.run(sink)).await;
        let packed = match packed {
            Ok(packed) => packed,
            Err(error) => return Err(self.not_packed(error, pending.snapshot_step)),
        };
        for warning in &packed.captured.warnings {
            self.warn(warning.clone());
        }
        self.unlisted_warnings += packed
            .captured
            .warning_count
            .saturating_sub(packed.captured.warnings.len() as u64);
        for (target, error) in &packed.left_out {
            self.left_out(target.name(), &Diagnostic::of(error));
        }
        if self.context.stop.is_requested() {
            return Err(vec![self.stopped(NO_BACKUP)]);
        }
        self.complete(packed, required, &listing, lineage, id).await
    }

    async fn complete(
        &mut self,
        packed: Packed<Captures>,
        required: usize,
        listing: &Listing,
        lineage: Lineage,
        id: BackupId,
    ) -> Result<Stored, Failure> {
        let parent = listing.newest(&lineage);
        let sequence = parent.map_or(1, |backup| backup.record.sequence.saturating_add(1));
        let redaction = redaction_record(&packed.captured);
        let completed = repository::complete(packed, required, |packed: &Packed<Captures>, refs: ObjectRecord| {
            Record {
                format: FORMAT,
                id,
                run: self.context.run,
                sequence,
                parent: parent.map(|backup| backup.record.id.clone()),
                environment: self.plan.environment_name().clone(),
                pipeline: lineage.pipeline,
                instance: lineage.instance,
                started: self.context.started.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
                ended: self.context.clock.now().strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
                sources: packed.captured.sources.clone(),
                archive: packed.archive.clone(),
                segments: packed.segments.clone(),
                refs,
                redaction,
                warnings: packed.captured.warning_count,
                manifest: self.plan.digest().to_owned(),
                tool: self.context.tool.clone(),
            }
        })
        .await
        .map_err(|error| vec![Diagnostic::of(&error).state(NO_BACKUP)])?;
        let mut problems: Vec<Diagnostic> = Vec::new();
        for (target, error) in &completed.left_out {
            let diagnostic = Diagnostic::of(error);
            if completed.stored.is_some() {
                self.left_out(target.name(), &diagnostic);
            } else {
                problems.push(diagnostic.state(NO_BACKUP));
            }
        }
        let stored = completed.stored.ok_or(problems)?;
        self.evidence.backup_stored(&stored)?;
        self.describe_stored(&stored);
        Ok(stored)
    }

    fn describe_stored(&mut self, stored: &Stored) {
        let record = stored.record();
        let (source, kept) = (record.source_bytes(), record.stored_bytes());
        let targets: Vec<String> = stored.targets().iter().map(|t| t.name().to_string()).collect();
        let outcome = &mut self.outcome;
        outcome.headline = format!("backup {} stored in {}", record.id, targets.join(", "));
        outcome.field("backup", "backup", record.id.to_string(), &record.id);
        outcome.field("sequence", "sequence", record.sequence.to_string(), record.sequence);
        outcome.field("entries", "entries", record.entries().to_string(), record.entries());
        outcome.field("source-bytes", "captured", ByteCount(source).to_string(), source);
        outcome.field("stored-bytes", "stored", ByteCount(kept).to_string(), kept);
        outcome.field("targets", "targets", targets.join(", "), &targets);
        if let Some(redaction) = &record.redaction {
            let files: u64 = redaction.files.values().sum();
            outcome.field(
                "redacted-values",
                "redacted",
                format!("{} values in {files} files", redaction.values),
                redaction.values,
            );
        }
        let mut table = crate::outcome::Table {
            title: "sources".into(),
            columns: ["source", "type", "entries", "bytes"].map(String::from).to_vec(),
            rows: Vec::new(),
        };
        for source in &record.sources {
            table.rows.push(vec![
                source.name.to_string(),
                source.kind.clone(),
                source.entries.to_string(),
                ByteCount(source.bytes).to_string(),
            ]);
        }
        outcome.tables.push(table);
        let sources = serde_json::to_value(&record.sources).unwrap_or_default();
        outcome.json.insert("sources".into(), sources);
    }

    fn instance(&self) -> Instance {
        let environment = self.plan.environment();
        environment
            .instance
            .clone()
            .unwrap_or_else(|| Instance::new(&self.context.host))
    }

    pub(super) fn random<const N: usize>(&self) -> Result<[u8; N], Failure> {
        let mut bytes = [0; N];
        self.context.clock.random(&mut bytes).map_err(|error| {
            vec![
                Diagnostic::error(Code::Internal, "the system has no randomness")
                    .why(error.to_string())
                    .state(NO_BACKUP),
            ]
        })?;
        Ok(bytes)
    }

    fn backup_id(&self) -> Result<BackupId, Failure> {
        Ok(BackupId::new(self.context.started.timestamp(), self.random::<2>()?))
    }

    async fn capture(&mut self, pending: &Pending<'p>) -> Result<Capture, Failure> {
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
            redaction,
            project: self.plan.project().to_owned(),
            spool: self.evidence.spool()?,
            owners,
            events: self.context.events.clone(),
            stop: Arc::clone(self.context.stop.flag()),
        })
    }

    fn not_packed(&self, error: PackError<CaptureError>, snapshot: &StepId) -> Failure {
        if self.context.stop.is_requested() {
            return vec![self.stopped(NO_BACKUP)];
        }
        let internal =
            |what: &str, why: String| vec![Diagnostic::error(Code::Internal, what).why(why).state(NO_BACKUP)];
        match error {
            PackError::Capture(CaptureError::Source(source, error)) => {
                let mut diagnostic = match error {
                    SourceError::Sink(diagnostic) => *diagnostic,
                    error => Diagnostic::of(&error),
                };
                diagnostic.what = format!("source `{source}`: {}", diagnostic.what);
                diagnostic.step = Some(snapshot.to_string());
                vec![diagnostic.state(NO_BACKUP)]
            }
            PackError::Capture(CaptureError::Sink(SinkError::Failed(diagnostic))) => vec![diagnostic.state(NO_BACKUP)],
            PackError::Capture(CaptureError::Sink(SinkError::Stopped)) | PackError::Died => internal(
                "the backup ended early",
                "a part of the program ended before the others".into(),
            ),
            PackError::Targets(failed) => failed
                .iter()
                .map(|(_, error)| Diagnostic::of(error).state(NO_BACKUP))
                .collect(),
            PackError::Compress(error) => internal("compression failed", error.to_string()),
            PackError::Stream(error) => internal("compression failed", error.to_string()),
            PackError::Table(error) => internal("the archive is too large for its table of frames", error.to_string()),
        }
    }

    /// Reads everything back that was stored.
    pub(super) async fn read_back(&mut self, stored: Stored) -> Result<Confirmed, Failure> {
        let id = stored.record().id.clone();
        let events = self.context.events.clone();
        let read_back = tokio::select! {
            read_back = repository::read_back(stored, &events) => read_back,
            () = self.context.stop.token().cancelled() => {
                return Err(vec![self.stopped("the backup was stored whole but not read back")]);
            }
        };
        let state = format!("`{id}` must not be relied on in this target; backups made before are as they were");
        let mut problems: Vec<Diagnostic> = Vec::new();
        for (target, error) in &read_back.failed {
            let mut problem = Diagnostic::of(error).state(state.clone());
            problem.code = Code::ReadBack;
            problem.what = format!(
                "what was read back from target `{}` is not what was stored",
                target.name()
            );
            problem.why = Some(error.to_string());
            problems.push(problem);
        }
        match read_back.confirmed {
            Some(confirmed) if problems.is_empty() => {
                self.evidence.backup_confirmed(&confirmed)?;
                self.outcome.headline = format!("{} and read back", self.outcome.headline);
                Ok(confirmed)
            }
            _ => Err(problems),
        }
    }
}

/// What redaction did, for the record.
fn redaction_record(captures: &Captures) -> Option<RedactionRecord> {
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
