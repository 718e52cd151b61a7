//! A restore: `Chosen → Verified → Staged → in place`. Nothing present is touched before `swap`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::archive::catalog::Listed;
use crate::archive::record::{Record, SourceRecord};
use crate::archive::repository::{self, Backup};
use crate::archive::unpack::{self, BackupSink, NoSink, UnpackError};
use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::fs::entry::TreePath;
use crate::fs::owners::Owners;
use crate::id::SourceName;
use crate::outcome::Table;
use crate::pipeline::{self, Purpose, Request, RunValues};
use crate::restore::carry::{Carry, SideFiles, carry};
use crate::restore::error::RestoreError;
use crate::restore::stage::{Stage, prepare_to};
use crate::restore::swap::{SwapItem, check_apart, swap};
use crate::restore::writer::{OwnerMapping, TreeWriter, WriteOptions};
use crate::source::{SinkError, Source, SourceKind, TreeSink};
use crate::steps::Step;
use crate::steps::restore::{Owner, Restore};
use crate::steps::select::Select;
use crate::steps::verify::Level;
use crate::target::Target;
use crate::units::ByteCount;

use super::rewind::Placing;
use super::stores::open_targets;
use super::wanted::{Filtered, Wanted};
use super::{Failure, Runner};

const UNTOUCHED: &str = "nothing present was touched";

/// A backup to work on.
pub(super) struct Chosen {
    backup: Backup,
}

/// A chosen backup that was checked in one of its targets.
pub(super) struct Verified {
    record: Record,
    target: Target,
    level: Level,
}

/// Sources unpacked beside their destinations.
pub(super) struct Staged {
    record: Record,
    items: Vec<StagedSource>,
}

struct StagedSource {
    name: SourceName,
    destination: Option<PathBuf>,
    stage: Stage,
    entries: u64,
    bytes: u64,
}

impl Chosen {
    pub(super) fn summary(&self) -> String {
        let record = &self.backup.record;
        let names: Vec<&str> = self.backup.targets.iter().map(|t| t.name().as_str()).collect();
        format!("{} of {}, in {}", record.id, record.started, names.join(", "))
    }
}

impl Verified {
    pub(super) fn summary(&self) -> String {
        let what = match self.level {
            Level::Objects => "every object has its digest",
            Level::Content => "every object and every content has its digest",
        };
        format!("{what}, in {}", self.target.name())
    }
}

impl Staged {
    pub(super) fn summary(&self) -> String {
        let entries: u64 = self.items.iter().map(|i| i.entries).sum();
        let bytes: u64 = self.items.iter().map(|i| i.bytes).sum();
        format!("{entries} entries, {}", ByteCount(bytes))
    }

    /// Removes the stages again.
    pub(super) fn discard(self) -> Result<(), Failure> {
        let failed: Failure = self
            .items
            .into_iter()
            .filter_map(|item| item.stage.discard().err())
            .map(|e| Diagnostic::of(&e))
            .collect();
        if failed.is_empty() { Ok(()) } else { Err(failed) }
    }
}

impl Runner<'_> {
    /// Chooses a backup.
    pub(super) async fn select(&mut self, select: &Select) -> Result<Chosen, Failure> {
        let environment = self.plan.environment();
        let targets = open_targets(environment, self.plan.project(), &select.targets, &self.options.targets)?;
        let backup = choose(&targets, self.plan.environment_name(), select).await;
        let (backup, warnings) = backup.map_err(|failure| with_state(failure, UNTOUCHED))?;
        for warning in warnings {
            self.warn(warning);
        }
        let record = &backup.record;
        self.outcome
            .field("backup", "backup", record.id.to_string(), &record.id);
        self.outcome
            .field("made", "made", record.started.clone(), &record.started);
        self.evidence.chosen(&backup.record)?;
        Ok(Chosen { backup })
    }

    /// Checks the backup in its targets, one after the other until one is whole.
    pub(super) async fn verify(&mut self, chosen: Chosen, level: Level) -> Result<Verified, Failure> {
        let Backup { record, targets, .. } = chosen.backup;
        let mut problems: Vec<Diagnostic> = Vec::new();
        for target in targets {
            let checked = tokio::select! {
                checked = check(&target, &record, level, self) => checked,
                () = self.context.stop.token().cancelled() => return Err(vec![self.stopped(UNTOUCHED)]),
            };
            match checked {
                Ok(()) => {
                    for mut problem in problems {
                        problem.severity = Severity::Warning;
                        self.warn(problem);
                    }
                    self.evidence.verified(&record, target.name())?;
                    return Ok(Verified { record, target, level });
                }
                Err(mut problem) => {
                    problem.what = format!("backup `{}` in target `{}`: {}", record.id, target.name(), problem.what);
                    problems.push(problem.state(UNTOUCHED));
                }
            }
        }
        Err(problems)
    }

    /// Unpacks beside the destinations, or into the folder of `--to`.
    pub(super) async fn restore(&mut self, verified: Verified, settings: &Restore) -> Result<Staged, Failure> {
        let Verified { mut record, target, .. } = verified;
        // A source that was not there when the backup was made replaces nothing.
        record.sources.retain(|source| source.entries > 0);
        let wanted = Wanted::new(&self.options.include, &self.options.exclude)
            .map_err(|error| vec![Diagnostic::error(Code::Usage, error.to_string()).state(UNTOUCHED)])?;
        if !wanted.is_everything() && self.options.to.is_none() {
            return Err(vec![
                Diagnostic::error(
                    Code::Usage,
                    "a part of a backup cannot replace the whole of a destination",
                )
                .state(UNTOUCHED)
                .help("add `--to DIR` and take what you need from there"),
            ]);
        }
        let destinations = self.destinations(&record, settings)?;
        let options = self.write_options(settings)?;
        let stages = self.stages(&record, &destinations)?;
        let stop = std::sync::Arc::clone(self.context.stop.flag());
        let mut sink = StageSink {
            writers: BTreeMap::new(),
            redacted: BTreeMap::new(),
            wanted,
            stop,
        };
        for (name, stage) in &stages {
            let root = stage.root().map_err(|error| failed(&error))?;
            let writer = TreeWriter::new(root, options.clone()).map_err(|error| failed(&error))?;
            sink.writers
                .insert(name.clone(), Filtered::new(name.clone(), writer, sink.wanted.clone()));
        }
        self.evidence.restore_started(&record)?;
        let unpacked = unpack::unpack(&target, &record, &self.context.events, sink).await;
        let (_, sink) = unpacked.map_err(|error| self.not_unpacked(error))?;
        let StageSink { writers, redacted, .. } = sink;
        let mut items = Vec::new();
        let mut writers = writers;
        for (name, stage) in stages {
            let Some(filtered) = writers.remove(&name) else {
                continue;
            };
            let (entries, bytes) = self.finish_writer(&name, filtered)?;
            let destination = destinations.get(&name).map(|d| d.path.clone());
            if let Some(destination) = destinations.get(&name) {
                self.carry_over(&name, destination, &stage, redacted.get(&name))?;
            }
            items.push(StagedSource {
                name,
                destination,
                stage,
                entries,
                bytes,
            });
        }
        Ok(Staged { record, items })
    }

    fn finish_writer(&mut self, name: &SourceName, filtered: Filtered) -> Result<(u64, u64), Failure> {
        let written = filtered.finish().map_err(|error| failed(&error))?;
        for mut warning in written.warnings {
            warning.what = format!("source `{name}`: {}", warning.what);
            self.warn(warning);
        }
        Ok((written.entries, written.bytes))
    }

    fn carry_over(
        &mut self,
        name: &SourceName,
        destination: &Destination,
        stage: &Stage,
        redacted: Option<&BTreeSet<TreePath>>,
    ) -> Result<(), Failure> {
        if !destination.path.is_dir() {
            return Ok(());
        }
        let none = BTreeSet::new();
        let selects = destination.source.as_ref().map(|(source, form)| {
            source
                .selects(self.plan.project(), &destination.path, *form)
                .map_err(|error| with_state(vec![Diagnostic::of(&error)], UNTOUCHED))
        });
        let selects = selects.transpose()?;
        let side_files = match destination.source.as_ref().map(|(source, _)| &source.kind) {
            Some(SourceKind::Sqlite(_)) => SideFiles::LeaveBehind,
            _ => SideFiles::Carry,
        };
        let carried = carry(&Carry {
            present: &destination.path,
            stage,
            // A destination that no source of this environment describes is replaced as a whole.
            selects: &|path, is_folder| selects.as_ref().is_none_or(|s| s.selects(path, is_folder)),
            redacted: redacted.unwrap_or(&none),
            side_files,
        })
        .map_err(|error| failed(&error))?;
        for mut warning in carried.warnings {
            warning.what = format!("source `{name}`: {}", warning.what);
            self.warn(warning);
        }
        if carried.entries > 0 {
            let listed: Vec<String> = carried.listed.iter().take(10).map(TreePath::display).collect();
            let more = if carried.entries > listed.len() as u64 {
                ", …"
            } else {
                ""
            };
            let text = format!(
                "{} entries of `{name}` that the backup does not cover: {}{more}",
                carried.entries,
                listed.join(", ")
            );
            self.outcome.field("kept", "kept", text, carried.entries);
        }
        Ok(())
    }

    /// Where each source goes; nothing where `--to` was given.
    fn destinations(&self, record: &Record, settings: &Restore) -> Result<BTreeMap<SourceName, Destination>, Failure> {
        let mut destinations = BTreeMap::new();
        if self.options.to.is_some() {
            return Ok(destinations);
        }
        let described = self.sources_here(record);
        let mut failure: Failure = Vec::new();
        for source in &record.sources {
            let written = settings.destination.iter().find(|d| d.name == source.name);
            let here = described
                .as_ref()
                .ok()
                .and_then(|sources| sources.iter().find(|s| s.name == source.name));
            let path = match (written, here) {
                (Some(written), _) => self.plan.project().join(&written.path),
                (None, Some(here)) => here.root_as(self.plan.project(), source.form),
                (None, None) => {
                    failure.push(unknown_destination(source, record, described.as_ref().err()));
                    continue;
                }
            };
            let source_here = here.map(|here| (here.clone(), source.form));
            destinations.insert(
                source.name.clone(),
                Destination {
                    path,
                    source: source_here,
                },
            );
        }
        if !failure.is_empty() {
            return Err(failure);
        }
        let paths: Vec<PathBuf> = destinations.values().map(|d| d.path.clone()).collect();
        check_apart(&paths).map_err(|error| failed(&error))?;
        Ok(destinations)
    }

    /// The sources of the pipeline that made the backup, as this environment has it now.
    pub(super) fn sources_here(&self, record: &Record) -> Result<Vec<Source>, Failure> {
        let request = Request {
            project: self.plan.project().to_owned(),
            pipeline: record.pipeline.to_string(),
            environment: self.plan.environment_name().clone(),
            sets: Vec::new(),
            args: BTreeMap::new(),
            purpose: Purpose::Validate,
            run: RunValues {
                id: self.context.run.to_string(),
                timestamp: self
                    .context
                    .started
                    .timestamp()
                    .strftime("%Y-%m-%dT%H:%M:%SZ")
                    .to_string(),
                host: self.context.host.clone(),
            },
        };
        let plan = pipeline::compile(&request)?;
        let snapshot = plan.steps().iter().find_map(|planned| match &planned.step {
            Step::Snapshot(snapshot) => Some(snapshot.source.clone()),
            _ => None,
        });
        Ok(snapshot.unwrap_or_default())
    }

    fn write_options(&self, settings: &Restore) -> Result<WriteOptions, Failure> {
        let owners = Owners::of_host().map_err(|error| {
            vec![
                Diagnostic::error(Code::RestoreFailed, "the host's users and groups cannot be read")
                    .why(error.to_string())
                    .state(UNTOUCHED),
            ]
        })?;
        let owner = match self.options.owner.unwrap_or(settings.owner) {
            Owner::Names => OwnerMapping::Names,
            Owner::Numbers => OwnerMapping::Numbers,
            Owner::None => OwnerMapping::None,
        };
        Ok(WriteOptions {
            owner,
            owners,
            events: self.context.events.clone(),
        })
    }

    fn stages(
        &mut self,
        record: &Record,
        destinations: &BTreeMap<SourceName, Destination>,
    ) -> Result<Vec<(SourceName, Stage)>, Failure> {
        if let Some(to) = &self.options.to {
            prepare_to(to).map_err(|error| failed(&error))?;
            let inside = |source: &SourceRecord| Ok((source.name.clone(), Stage::inside(to, &source.name)?));
            return record
                .sources
                .iter()
                .map(inside)
                .collect::<Result<_, RestoreError>>()
                .map_err(|e| failed(&e));
        }
        let mut stages = Vec::new();
        for (name, destination) in destinations {
            let stage = Stage::beside(&destination.path, &self.context.run).map_err(|error| failed(&error))?;
            stages.push((name.clone(), stage));
        }
        Ok(stages)
    }

    fn not_unpacked(&self, error: UnpackError) -> Failure {
        if self.context.stop.is_requested() {
            return vec![self.stopped(UNTOUCHED)];
        }
        match error {
            UnpackError::Sink(SinkError::Failed(diagnostic)) => vec![diagnostic.state(UNTOUCHED)],
            error => vec![Diagnostic::of(&error).state(UNTOUCHED)],
        }
    }

    /// Puts the stages in place, all or none.
    pub(super) async fn swap(&mut self, staged: Staged) -> Result<String, Failure> {
        self.confirm_operator().await?;
        self.check_stop()?;
        let Staged { record, items } = staged;
        let placing = items.iter().filter_map(|item| {
            Some(Placing {
                name: item.name.clone(),
                destination: item.destination.clone()?,
                stage: item.stage.path(),
            })
        });
        self.check_rewinds(&record, &placing.collect::<Vec<_>>()).await?;
        let mut table = Table {
            title: "restored".into(),
            columns: ["source", "destination", "entries", "bytes", "replaced, kept in"]
                .map(String::from)
                .to_vec(),
            rows: Vec::new(),
        };
        let facts: Vec<(SourceName, u64, u64)> = items.iter().map(|i| (i.name.clone(), i.entries, i.bytes)).collect();
        let mut swaps = Vec::new();
        for item in items {
            let destination = item.destination.ok_or_else(|| {
                vec![Diagnostic::error(Code::Internal, format!("`{}` has no destination", item.name)).state(UNTOUCHED)]
            })?;
            swaps.push(SwapItem {
                stage: item.stage,
                destination,
            });
        }
        let sources: Vec<&str> = facts.iter().map(|(name, ..)| name.as_str()).collect();
        self.evidence.swap_intended(&record, &sources)?;
        let now = self.context.clock.now().timestamp();
        let run = self.context.run;
        let swapped = tokio::task::spawn_blocking(move || swap(swaps, &run, now)).await;
        let swapped =
            swapped.map_err(|e| vec![Diagnostic::error(Code::Internal, "the swap ended early").why(e.to_string())])?;
        let swapped = swapped.map_err(|error| vec![Diagnostic::of(&error)])?;
        let placed = facts
            .iter()
            .map(|(name, ..)| name)
            .zip(swapped.iter().map(|s| s.destination.as_path()));
        self.note_lineage(&record, &placed.collect::<Vec<_>>()).await;
        let mut list = Vec::new();
        for ((name, entries, bytes), swapped) in facts.iter().zip(&swapped) {
            let replaced = swapped.replaced.as_ref().map(|p| p.display().to_string());
            table.rows.push(vec![
                name.to_string(),
                swapped.destination.display().to_string(),
                entries.to_string(),
                ByteCount(*bytes).to_string(),
                replaced.clone().unwrap_or_else(|| "nothing was there".into()),
            ]);
            list.push(serde_json::json!({
                "source": name, "destination": swapped.destination.display().to_string(), "entries": entries,
                "bytes": bytes, "replaced": replaced,
            }));
        }
        self.outcome.tables.push(table);
        self.outcome.json.insert("restored".into(), list.into());
        self.outcome.headline = format!("backup {} restored to `{}`", record.id, self.plan.environment_name());
        self.evidence.swapped(&record)?;
        Ok(format!("{} destinations", swapped.len()))
    }

    /// The end of a restore with `--to`: the stages stay where they are.
    pub(super) fn keep_staged(&mut self, staged: Staged) {
        let mut table = Table {
            title: "restored".into(),
            columns: ["source", "folder", "entries", "bytes"].map(String::from).to_vec(),
            rows: Vec::new(),
        };
        let mut list = Vec::new();
        for item in staged.items {
            let folder = item.stage.keep().display().to_string();
            list.push(serde_json::json!({
                "source": item.name, "folder": folder, "entries": item.entries, "bytes": item.bytes,
            }));
            table.rows.push(vec![
                item.name.to_string(),
                folder,
                item.entries.to_string(),
                ByteCount(item.bytes).to_string(),
            ]);
        }
        let to = self
            .options
            .to
            .as_ref()
            .map(|to| to.display().to_string())
            .unwrap_or_default();
        self.outcome.headline = format!("backup {} restored into {to}", staged.record.id);
        self.outcome.tables.push(table);
        self.outcome.json.insert("restored".into(), list.into());
    }
}

struct Destination {
    path: PathBuf,
    source: Option<(Source, crate::source::Form)>,
}

fn with_state(mut failure: Failure, state: &str) -> Failure {
    for diagnostic in &mut failure {
        diagnostic.state.get_or_insert_with(|| state.to_owned());
    }
    failure
}

fn failed(error: &RestoreError) -> Failure {
    with_state(vec![Diagnostic::of(error)], UNTOUCHED)
}

fn unknown_destination(source: &SourceRecord, record: &Record, why: Option<&Failure>) -> Diagnostic {
    let what = format!("nothing says where the source `{}` goes", source.name);
    let why = match why.and_then(|failure| failure.first()) {
        Some(first) => format!(
            "the pipeline `{}` that made the backup cannot be read here: {}",
            record.pipeline, first.what
        ),
        None => format!(
            "the pipeline `{}` has no source of that name in this environment",
            record.pipeline
        ),
    };
    Diagnostic::error(Code::DestinationUnknown, what)
        .why(why)
        .state(UNTOUCHED)
        .help("add a `[[step.destination]]` with its name and path to the `restore` step, or restore with `--to DIR`")
}

/// Finds the backup that `select` names.
pub(super) async fn choose(
    targets: &[Target],
    environment: &crate::id::EnvName,
    select: &Select,
) -> Result<(Backup, Vec<Diagnostic>), Failure> {
    let mut wanted = select.backup.as_str();
    if let Some((prefix, rest)) = wanted.split_once('/') {
        if prefix != environment.as_str() {
            let what = format!("`{wanted}` is a backup of another environment than `{environment}`");
            return Err(vec![
                Diagnostic::error(Code::Fenced, what).help(format!("run it with `--env {prefix}`")),
            ]);
        }
        wanted = rest;
    }
    let listing = repository::list(targets, environment).await;
    let fits = |record: &Record| {
        select.pipeline.as_ref().is_none_or(|p| *p == record.pipeline)
            && select.instance.as_ref().is_none_or(|i| *i == record.instance)
    };
    match listing.choose(wanted, fits) {
        Ok(backup) => Ok((backup.clone(), listing.warnings)),
        Err(error) => {
            // What could not be read may be why the backup was not found, so it is told first.
            let mut failure = vec![Diagnostic::of(&error)];
            failure.extend(listing.warnings);
            Err(failure)
        }
    }
}

async fn check(target: &Target, record: &Record, level: Level, runner: &Runner<'_>) -> Result<(), Diagnostic> {
    let events = &runner.context.events;
    repository::check_objects(target, record, events)
        .await
        .map_err(|error| Diagnostic::of(&error))?;
    if level == Level::Content {
        unpack::unpack(target, record, events, NoSink)
            .await
            .map_err(|error| Diagnostic::of(&error))?;
    }
    Ok(())
}

/// Hands each source to the writer of its stage.
struct StageSink {
    writers: BTreeMap<SourceName, Filtered>,
    redacted: BTreeMap<SourceName, BTreeSet<TreePath>>,
    wanted: Wanted,
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl BackupSink for StageSink {
    fn source(&mut self, source: &SourceName) -> Result<Option<&mut dyn TreeSink>, SinkError> {
        if self.stop.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(SinkError::Stopped);
        }
        Ok(self.writers.get_mut(source).map(|writer| writer as &mut dyn TreeSink))
    }

    fn listed(&mut self, listed: &Listed) -> Result<(), SinkError> {
        if self.stop.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(SinkError::Stopped);
        }
        if listed.redacted {
            self.redacted
                .entry(listed.source.clone())
                .or_default()
                .insert(listed.entry.path.clone());
        }
        Ok(())
    }
}
