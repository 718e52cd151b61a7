//! A backup: everything from `snapshot` to `upload` as one dataflow, then the proof.

use std::sync::Arc;

use crate::archive::layout::{self, FORMAT};
use crate::archive::pack::{self, Packed, Packing};
use crate::archive::record::{ObjectRecord, Record};
use crate::archive::repository::{self, Confirmed, Lineage, Listing, Repository, Stored};
use crate::codec::Codec;
use crate::diagnostic::{Code, Diagnostic};
use crate::id::{BackupId, Instance, StepId};
use crate::steps::compress::{self, Compress};
use crate::steps::redact::Redact;
use crate::steps::snapshot::Snapshot;
use crate::steps::upload::Upload;
use crate::target::Target;
use crate::units::ByteCount;

use super::capture::{self, Captures, redaction_record};
use super::logs;
use super::stores::open_targets;
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

impl<'p> Runner<'p> {
    /// Captures, packs and stores.
    pub(super) async fn backup(&mut self, pending: Pending<'p>, upload: &Upload) -> Result<Stored, Failure> {
        let required = upload.require.map_or(1, |r| r as usize);
        let targets = open_targets(
            self.plan.environment(),
            self.plan.project(),
            &upload.targets,
            &self.options.targets,
        )?;
        let targets = self.repositories(targets, required).await?;
        let environment = self.plan.environment_name().clone();
        let listing = repository::list(&targets, &environment).await;
        for warning in &listing.warnings {
            self.warn(warning.clone());
        }
        let lineage = Lineage {
            pipeline: self.plan.pipeline().clone(),
            instance: self.instance(),
        };
        let logs = self.logs(pending.snapshot, &listing, &lineage)?;
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
        let capture = self
            .capture(&pending, &logs, capture::amounts(&listing, &lineage))
            .await?;
        let first = pending.snapshot.source.first().map(|s| s.name.clone()).ok_or_else(|| {
            vec![Diagnostic::error(Code::Internal, "a snapshot without sources").state("nothing was started")]
        })?;
        self.evidence.backup_started(&id, &packing.targets)?;
        let packed = pack::pack(packing, first, &self.context.events, move |sink| capture.run(sink)).await;
        let mut packed = match packed {
            Ok(packed) => packed,
            Err(error) => return Err(self.not_packed(error, &pending, &logs).await),
        };
        self.tell_packed(&packed);
        if self.context.stop.is_requested() {
            return Err(vec![self.stopped(NO_BACKUP)]);
        }
        let blocks = std::mem::take(&mut packed.captured.log_blocks);
        let stored = self.complete(packed, required, &listing, lineage.clone(), id).await?;
        self.tell_forks(&stored, &logs)?;
        self.keep_blocks(&stored, &lineage, blocks);
        Ok(stored)
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
            self.left_out(target, &Diagnostic::of(error));
        }
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
                self.left_out(target, &diagnostic);
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
        outcome
            .json
            .insert("sources".into(), logs::without_files(&record.sources));
    }

    /// Targets that are, or now become, repositories of one id.
    async fn repositories(&mut self, targets: Vec<Target>, required: usize) -> Result<Vec<Target>, Failure> {
        let (mut ready, mut empty, mut problems) = (Vec::new(), Vec::new(), Vec::new());
        let mut known: Option<Repository> = None;
        for target in targets {
            match repository::open(&target).await {
                Ok(Some(found)) => {
                    known.get_or_insert(found);
                    ready.push(target);
                }
                Ok(None) => empty.push(target),
                Err(error) => problems.push((target, Diagnostic::of(&error))),
            }
        }
        if !empty.is_empty() {
            let repository = match known {
                Some(repository) => repository,
                None => Repository {
                    format: FORMAT,
                    repository: hex::encode(self.random::<16>()?),
                },
            };
            for target in empty {
                match repository::create(&target, &repository).await {
                    Ok(()) => ready.push(target),
                    Err(error) => problems.push((target, Diagnostic::of(&error))),
                }
            }
        }
        if ready.len() < required.max(1) {
            return Err(problems.into_iter().map(|(_, d)| d.state(NO_BACKUP)).collect());
        }
        for (target, problem) in problems {
            self.left_out(&target, &problem);
        }
        ready.sort_by(|a, b| a.name().cmp(b.name()));
        Ok(ready)
    }

    fn left_out(&mut self, target: &Target, problem: &Diagnostic) {
        let why = match &problem.why {
            Some(why) => format!("{}: {why}", problem.what),
            None => problem.what.clone(),
        };
        let mut warning = Diagnostic::warning(
            Code::TargetLeftOut,
            format!("target `{}` was left out of this backup", target.name()),
        )
        .why(why)
        .state("the backup is whole in the other targets");
        warning.help.clone_from(&problem.help);
        self.warn(warning);
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
