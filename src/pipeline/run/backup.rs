//! A backup: everything from `snapshot` to `upload` as one dataflow, then the proof.

use std::sync::Arc;

use crate::archive::epoch::HostEpoch;
use crate::archive::layout::{self, FORMAT};
use crate::archive::naming::Sealing;
use crate::archive::pack::{self, PackError, Packed, Packing};
use crate::archive::record::{ObjectRecord, Record};
use crate::archive::recovery;
use crate::archive::repository::{self, Confirmed, Lineage, Listing, Stored};
use crate::archive::sweep::doomed::Doomed;
use crate::clock;
use crate::codec::Codec;
use crate::diagnostic::{Code, Diagnostic};
use crate::id::{BackupId, Instance, StepId};
use crate::steps::compress::{self, Compress};
use crate::steps::deduplicate::Deduplicate;
use crate::steps::redact::Redact;
use crate::steps::snapshot::Snapshot;
use crate::steps::upload::Upload;
use crate::target::Target;
use crate::units::{ByteCount, counted};

use super::capture::{self, CaptureError, Captures, redaction_record};
use super::epochs::{log_unproven, other_key, unproven};
use super::logs;
use super::sequence::next_sequence;
use super::{Failure, Runner};

const ZSTD_LEVEL: i32 = 3;
const GZIP_LEVEL: i32 = 6;
pub(super) const NO_BACKUP: &str = "no backup was made; the source and the backups made before are as they were";

/// The steps before `upload`, gathered until it runs.
pub(super) struct Pending<'p> {
    pub(super) snapshot_step: &'p StepId,
    pub(super) snapshot: &'p Snapshot,
    pub(super) redact: Vec<&'p Redact>,
    pub(super) deduplicate: Option<&'p Deduplicate>,
    pub(super) compress: Option<&'p Compress>,
    /// Whether an `encrypt` step came.
    pub(super) sealed: bool,
}

impl<'p> Pending<'p> {
    pub(super) const fn new(snapshot_step: &'p StepId, snapshot: &'p Snapshot) -> Self {
        Self {
            snapshot_step,
            snapshot,
            redact: Vec::new(),
            deduplicate: None,
            compress: None,
            sealed: false,
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

/// What a backup is made with, whatever its form.
pub(super) struct Making {
    pub(super) id: BackupId,
    pub(super) targets: Vec<Target>,
    pub(super) required: usize,
    pub(super) doomed: Arc<Doomed>,
    /// The new backup's number in its line.
    pub(super) sequence: u64,
    /// What everything is sealed to.
    pub(super) epoch: Option<Arc<HostEpoch>>,
}

/// Why nothing was packed.
pub(super) enum NotMade {
    /// Something was not in order before the capture.
    Before(Failure),
    /// The capture or what follows it failed.
    Packing(PackError<CaptureError>),
}

impl From<Failure> for NotMade {
    fn from(failure: Failure) -> Self {
        Self::Before(failure)
    }
}

impl<'p> Runner<'p> {
    /// Captures, packs and stores.
    pub(super) async fn backup(&mut self, pending: Pending<'p>, upload: &Upload) -> Result<Stored, Failure> {
        let required = upload.require.map_or(1, |r| r as usize);
        let targets = self.ready_targets(upload, required).await?;
        let environment = self.plan.environment_name().clone();
        let mut listing = repository::list(&targets, &environment).await;
        let targets = self.listed(targets, &mut listing, required)?;
        for warning in &listing.warnings {
            self.warn(warning.clone());
        }
        let lineage = Lineage {
            pipeline: self.plan.pipeline().clone(),
            instance: self.instance(),
        };
        self.distrust(&mut listing, &lineage).await?;
        let sequence = next_sequence(&listing, &lineage)?;
        let epochs = if pending.sealed {
            self.epochs(&targets, &listing, &lineage).await?
        } else {
            self.past_epochs(&targets, &listing).await?
        };
        let targets = self
            .catch_up(targets, &mut listing, (&lineage, &epochs), required)
            .await?;
        listing.unlock(|epoch| epochs.chunk_key(epoch));
        for source in &pending.snapshot.source {
            if let Some(backup) = unproven(&source.name, &listing, &lineage) {
                self.warn(log_unproven(&source.name, &backup.record.id));
            }
        }
        let logs = self.logs(pending.snapshot, &listing, &lineage)?;
        let id = self.backup_id()?;
        let doomed = Arc::new(Doomed::read(&targets).await);
        let before = capture::amounts(&listing, &lineage);
        let capture = self.capture(&pending, &logs, before).await?;
        self.evidence.backup_started(&id, &targets)?;
        let making = Making {
            id: id.clone(),
            targets,
            required,
            doomed,
            sequence,
            epoch: epochs.current().filter(|_| pending.sealed).cloned().map(Arc::new),
        };
        let packed = if pending.deduplicate.is_some() {
            self.store_chunks(&pending, making, (&listing, &lineage), capture).await
        } else {
            let packed = self.pack_archive(&pending, making, capture).await;
            packed.map(|packed| (packed, None))
        };
        let (mut packed, memory) = match packed {
            Ok(made) => made,
            Err(NotMade::Before(failure)) => return Err(failure),
            Err(NotMade::Packing(error)) => return Err(self.not_packed(error, &pending, &logs).await),
        };
        self.tell_packed(&packed);
        if self.context.stop.is_requested() {
            return Err(vec![self.stopped(NO_BACKUP)]);
        }
        let kept = std::mem::take(&mut packed.captured.kept_logs);
        let stored = self
            .complete(packed, required, (&listing, lineage.clone()), (id, sequence))
            .await?;
        if let Some(memory) = memory {
            self.keep_memory(memory, &stored);
        }
        self.note_newest(&stored);
        self.tell_forks(&stored, &logs)?;
        self.keep_logs(&stored, &lineage, kept);
        Ok(stored)
    }

    /// The targets whose backups are all known. Another one is left out, as one that fails is: what its newest backup is, and so
    /// what this one goes on from, cannot be told there.
    fn listed(
        &mut self,
        mut targets: Vec<Target>,
        listing: &mut Listing,
        required: usize,
    ) -> Result<Vec<Target>, Failure> {
        let unlisted = listing.leave_out_unlisted();
        targets.retain(|target| unlisted.iter().all(|(name, _)| name != target.name()));
        if targets.len() < required.max(1) {
            return Err(unlisted.into_iter().map(|(_, d)| d.state(NO_BACKUP)).collect());
        }
        for (name, problem) in unlisted {
            self.left_out(&name, &problem);
        }
        Ok(targets)
    }

    /// Tells what was left out of an archive, entries and targets.
    fn tell_packed(&mut self, packed: &Packed<Captures>) {
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
    }

    /// Captures everything into one archive.
    async fn pack_archive(
        &mut self,
        pending: &Pending<'p>,
        making: Making,
        capture: capture::Capture,
    ) -> Result<Packed<Captures>, NotMade> {
        let first = pending.snapshot.source.first().map(|s| s.name.clone()).ok_or_else(|| {
            vec![Diagnostic::error(Code::Internal, "a snapshot without sources").state("nothing was started")]
        })?;
        let (codec, level) = pending.compress.map_or((Codec::None, 0), codec);
        let packing = Packing {
            codec,
            level,
            archive: layout::archive(self.plan.environment_name(), &making.id, codec)
                + Sealing::of(making.epoch.as_deref()).suffix(),
            targets: making.targets,
            required: making.required,
            doomed: making.doomed,
            epoch: making.epoch,
            stop: Arc::clone(self.context.stop.flag()),
        };
        let packed = pack::pack(packing, first, &self.context.events, move |sink| capture.run(sink)).await;
        packed.map_err(NotMade::Packing)
    }

    async fn complete(
        &mut self,
        packed: Packed<Captures>,
        required: usize,
        (listing, lineage): (&Listing, Lineage),
        (id, sequence): (BackupId, u64),
    ) -> Result<Stored, Failure> {
        let parent = listing.newest(&lineage);
        let redaction = redaction_record(&packed.captured);
        self.check_duration(NO_BACKUP)?;
        let salt = id.to_string();
        let signer = self.signer()?;
        let mut completed = repository::complete(
            packed,
            required,
            &salt,
            &signer,
            |packed: &Packed<Captures>, refs: ObjectRecord| Record {
                format: FORMAT,
                id,
                run: self.context.run,
                sequence,
                parent: parent.map(|backup| backup.record.id.clone()),
                environment: self.plan.environment_name().clone(),
                pipeline: lineage.pipeline,
                instance: lineage.instance,
                started: clock::written(&self.context.started),
                ended: clock::written(&self.context.clock.now()),
                sources: packed.captured.sources.clone(),
                archive: packed.archive(),
                packs: packed.packs(),
                epoch: packed.epoch.as_ref().map(|epoch| epoch.name.clone()),
                epoch_check: packed.epoch.as_ref().map(|epoch| epoch.chunk_key.check()),
                segments: packed.segments.clone(),
                patch: packed.patch.clone(),
                refs,
                recovery: recovery::digests(),
                redaction,
                warnings: packed.captured.warning_count,
                manifest: self.plan.digest().to_owned(),
                tool: self.context.tool.clone(),
            },
        )
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
        for (target, object) in &completed.other_keys {
            self.warn(other_key(target, object));
        }
        let stored = completed.stored.take().ok_or(problems)?;
        let stored = self.withdraw_where_swept(&completed, stored, required).await?;
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
                format!("{} in {}", counted(redaction.values, "value"), counted(files, "file")),
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
        outcome
            .json
            .insert("sources".into(), logs::without_files(&record.sources));
    }

    pub(super) fn instance(&self) -> Instance {
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
