//! `Verified → Staged`: unpacks every source, beside its destination, into a folder that the operator named, or into one that
//! is removed again. Nothing present is touched.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::archive::catalog::Listed;
use crate::archive::reading::damage::Lost;
use crate::archive::record::{Record, SourceRecord};
use crate::archive::unpack::{BackupSink, Filter, UnpackError};
use crate::diagnostic::{Code, Diagnostic};
use crate::fs::entry::{Kind, TreePath};
use crate::fs::owners::Owners;
use crate::id::SourceName;
use crate::outcome::Table;
use crate::restore::carry::{Carry, SideFiles, carry};
use crate::restore::error::RestoreError;
use crate::restore::stage::{Stage, prepare_to};
use crate::restore::writer::{OwnerMapping, TreeWriter, WriteOptions};
use crate::source::{SinkError, TreeSink};
use crate::steps::redact::log::RedactedLog;
use crate::steps::restore::{Owner, Restore, To};
use crate::units::{ByteCount, counted};

use super::choose::Verified;
use super::destination::{Destination, destinations};
use super::filtered::Filtered;
use super::output::{Finished, Output};
use super::part::Part;
use super::{Failure, Runner, UNTOUCHED, failed, with_state};

/// What is kept of the entries of these sources is judged file by file.
const JUDGED: [&str; 2] = ["sqlite", "append-log"];

/// Sources that were unpacked.
pub(super) struct Staged {
    pub(super) record: Record,
    pub(super) items: Vec<StagedSource>,
    /// Logs that are not what was captured, because secrets were taken out of them.
    pub(super) rewritten: BTreeSet<SourceName>,
    pub(super) extent: Extent,
    /// Of a damaged backup what could not be had.
    lost: Option<Lost>,
    into: Into,
}

/// Whether all of the backup was unpacked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    Whole,
    Part,
}

/// Where sources were unpacked to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Into {
    /// Beside their destinations.
    Beside,
    /// Into a folder that the operator named.
    Folder(PathBuf),
    /// Into a folder that is removed again.
    Scratch(PathBuf),
}

/// A source that was unpacked.
pub(super) struct StagedSource {
    pub(super) name: SourceName,
    pub(super) destination: Option<PathBuf>,
    pub(super) stage: Stage,
    pub(super) entries: u64,
    pub(super) bytes: u64,
    /// The files of a source whose files are judged, in the order of the catalog.
    pub(super) files: Vec<TreePath>,
}

impl Staged {
    pub(super) fn summary(&self) -> String {
        let entries: u64 = self.items.iter().map(|i| i.entries).sum();
        let bytes: u64 = self.items.iter().map(|i| i.bytes).sum();
        format!("{}, {}", counted(entries, "entry"), ByteCount(bytes))
    }

    /// The one folder that has every source under its name; none where they lie beside their destinations.
    pub(super) fn folder(&self) -> Option<&Path> {
        match &self.into {
            Into::Beside => None,
            Into::Folder(path) | Into::Scratch(path) => Some(path),
        }
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
    /// Unpacks beside the destinations, into the folder of `--to`, or into a scratch folder.
    pub(super) async fn restore(&mut self, verified: Verified, settings: &Restore) -> Result<Staged, Failure> {
        let Verified {
            record: whole,
            target,
            opening,
            redaction,
            standing,
            ..
        } = verified;
        let mut record = redaction.restored(&whole);
        // A source that was not there when the backup was made replaces nothing.
        record.sources.retain(|source| source.entries > 0);
        let part = self.wanted()?;
        let into = self.unpack_into(settings)?;
        if let Into::Folder(to) | Into::Scratch(to) = &into {
            self.refuse_without_room(to, &record)?;
        }
        let destinations = match into {
            Into::Beside => destinations(self.plan, self.context, &record, settings)?,
            Into::Folder(_) | Into::Scratch(_) => BTreeMap::new(),
        };
        self.refuse_early(&destinations).await?;
        let options = self.write_options(settings)?;
        let redactors = self.redactors(&redaction).await?;
        let stages = self.stages(&record, &destinations, &into)?;
        let mut sink = StageSink::new(&record, part.clone(), self.context.stop.flag());
        for (name, stage) in &stages {
            let writer = writer(stage, options.clone()).map_err(|error| failed(&error))?;
            let Some(source) = record.sources.iter().find(|source| source.name == *name) else {
                continue;
            };
            let output = Output::of(source, writer, &redactors, stage.path());
            let filtered = Filtered::new(name.clone(), output, part.clone(), stage.path());
            sink.writers.insert(name.clone(), filtered);
        }
        self.evidence.restore_started(&record)?;
        let (mut sink, lost) = self.unpack((&target, &whole, &opening), standing, sink).await?;
        let is_whole = part.is_none() && lost.as_ref().is_none_or(|lost| lost.count == 0);
        let extent = if is_whole { Extent::Whole } else { Extent::Part };
        let (mut items, mut rewritten) = (Vec::new(), BTreeSet::new());
        let (mut values, mut files) = (0, 0);
        for (name, stage) in stages {
            let Some(filtered) = sink.writers.remove(&name) else {
                continue;
            };
            let Finished { written, redacted, log } = self.finish_writer(&name, filtered)?;
            values += redacted.findings;
            files += redacted.changed.len() as u64;
            if let Some(log) = log {
                rewrite_head(&mut record, &name, log);
                rewritten.insert(name.clone());
            } else {
                // What was taken out here stays in a present file too, as does one that is not restored.
                let stay = redacted.changed.into_iter().chain(redacted.left_out);
                sink.redacted.entry(name.clone()).or_default().extend(stay);
            }
            let (entries, bytes) = (written.entries, written.bytes);
            let destination = destinations.get(&name).map(|d| d.path.clone());
            if let Some(destination) = destinations.get(&name) {
                self.carry_over(&name, destination, &stage, sink.redacted.get(&name))?;
            }
            items.push(StagedSource {
                files: sink.files.remove(&name).unwrap_or_default(),
                name,
                destination,
                stage,
                entries,
                bytes,
            });
        }
        self.tell_redaction(values, files, &redaction);
        Ok(Staged {
            record,
            items,
            rewritten,
            extent,
            lost,
            into,
        })
    }

    /// Which part of the backup is wanted; a part has no place of its own.
    fn wanted(&self) -> Result<Option<Arc<Part>>, Failure> {
        match &self.part {
            Some(_) if self.options.to.is_none() => Err(vec![part_in_place()]),
            part => Ok(part.clone()),
        }
    }

    fn unpack_into(&self, settings: &Restore) -> Result<Into, Failure> {
        match (&self.options.to, settings.to) {
            (Some(to), _) => Ok(Into::Folder(to.clone())),
            (None, Some(To::Scratch)) => Ok(Into::Scratch(self.evidence.spool()?.join("scratch"))),
            (None, None) => Ok(Into::Beside),
        }
    }

    fn finish_writer(&mut self, name: &SourceName, filtered: Filtered) -> Result<Finished, Failure> {
        let mut finished = filtered.finish().map_err(|error| failed(&error))?;
        let warnings = std::mem::take(&mut finished.written.warnings);
        for mut warning in warnings.into_iter().chain(finished.redacted.warnings.drain(..)) {
            warning.what = format!("source `{name}`: {}", warning.what);
            self.warn(warning);
        }
        Ok(finished)
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
        let side_files = if destination.is_databases() {
            SideFiles::LeaveBehind
        } else {
            SideFiles::Carry
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
                "{} of `{name}` that the backup does not cover: {}{more}",
                counted(carried.entries, "entry"),
                listed.join(", ")
            );
            let json = serde_json::json!({ "source": name, "entries": carried.entries });
            self.outcome.listed_field("kept", "kept", text, json);
        }
        Ok(())
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
        &self,
        record: &Record,
        destinations: &BTreeMap<SourceName, Destination>,
        into: &Into,
    ) -> Result<Vec<(SourceName, Stage)>, Failure> {
        let made: Result<Vec<(SourceName, Stage)>, RestoreError> = match into {
            Into::Folder(to) | Into::Scratch(to) => {
                prepare_to(to).map_err(|error| failed(&error))?;
                let inside = |source: &SourceRecord| Ok((source.name.clone(), Stage::inside(to, &source.name)?));
                let is_wanted = |source: &&SourceRecord| {
                    let part = self.part.as_ref();
                    part.is_none_or(|part| part.sources.contains(&source.name))
                };
                record.sources.iter().filter(is_wanted).map(inside).collect()
            }
            Into::Beside => {
                let run = &self.context.run;
                let beside = |(name, destination): (&SourceName, &Destination)| {
                    Ok((name.clone(), Stage::beside(&destination.path, run)?))
                };
                destinations.iter().map(beside).collect()
            }
        };
        made.map_err(|error| failed(&error))
    }

    pub(super) fn not_unpacked(&self, error: UnpackError) -> Failure {
        if self.context.stop.is_requested() {
            return vec![self.stopped(UNTOUCHED)];
        }
        match error {
            UnpackError::Sink(SinkError::Failed(diagnostic)) => vec![diagnostic.state(UNTOUCHED)],
            error => vec![Diagnostic::of(&error).state(UNTOUCHED)],
        }
    }

    /// The end of a restore without a swap: the stages stay in the folder that was named, and go everywhere else.
    pub(super) fn end_staged(&mut self, staged: Staged) -> Result<(), Failure> {
        let Into::Folder(to) = &staged.into else {
            self.outcome.headline = match staged.into {
                Into::Scratch(_) => format!("backup {} unpacked, judged and removed again", staged.record.id),
                _ => "unpacked beside the destinations and removed again: no `swap` step".into(),
            };
            self.outcome
                .field("entries", "entries", staged.summary(), staged.entries());
            if let Some(drill) = &mut self.drill {
                (drill.entries, drill.bytes) = (staged.entries(), staged.items.iter().map(|item| item.bytes).sum());
            }
            return staged.discard();
        };
        self.outcome.headline = format!("backup {} restored into {}", staged.record.id, to.display());
        if let Some(lost) = &staged.lost {
            self.outcome.headline = format!(
                "what can be had of backup {} restored into {}",
                staged.record.id,
                to.display()
            );
            self.tell_lost(lost, to);
        }
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
        self.outcome.tables.push(table);
        self.outcome.json.insert("restored".into(), list.into());
        Ok(())
    }
}

impl Staged {
    pub(super) fn entries(&self) -> u64 {
        self.items.iter().map(|item| item.entries).sum()
    }
}

/// The problem of a part that is to be put in place.
pub fn part_in_place() -> Diagnostic {
    let what = "a part of a backup cannot replace the whole of a destination";
    let problem = Diagnostic::error(Code::Usage, what).state(UNTOUCHED);
    problem.help("add `--to DIR` and take what you need from there")
}

/// Says of a log what is true of it without its secrets: that is what is judged, and what the next backup goes on from.
fn rewrite_head(record: &mut Record, name: &SourceName, log: RedactedLog) {
    let source = record.sources.iter_mut().find(|source| source.name == *name);
    if let Some(head) = source.and_then(|source| source.log_head.as_mut()) {
        *head = log.head(head);
    }
}

fn writer(stage: &Stage, options: WriteOptions) -> Result<TreeWriter, RestoreError> {
    TreeWriter::new(stage.root()?, options)?.with_branches(stage.branches()?)
}

/// The sources whose files are judged.
fn judged(record: &Record) -> BTreeSet<SourceName> {
    let sources = record.sources.iter();
    sources
        .filter(|source| JUDGED.contains(&source.kind.as_str()))
        .map(|source| source.name.clone())
        .collect()
}

/// Hands each source to the writer of its stage.
pub(super) struct StageSink {
    writers: BTreeMap<SourceName, Filtered>,
    redacted: BTreeMap<SourceName, BTreeSet<TreePath>>,
    judged: BTreeSet<SourceName>,
    files: BTreeMap<SourceName, Vec<TreePath>>,
    /// The source whose entries come at present.
    present: Option<SourceName>,
    part: Option<Arc<Part>>,
    stop: Arc<AtomicBool>,
}

impl StageSink {
    fn new(record: &Record, part: Option<Arc<Part>>, stop: &Arc<AtomicBool>) -> Self {
        Self {
            writers: BTreeMap::new(),
            redacted: BTreeMap::new(),
            judged: judged(record),
            files: BTreeMap::new(),
            present: None,
            part,
            stop: Arc::clone(stop),
        }
    }
}

impl BackupSink for StageSink {
    fn source(&mut self, source: &SourceName) -> Result<Option<&mut dyn TreeSink>, SinkError> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(SinkError::Stopped);
        }
        if self.present.as_ref() != Some(source)
            && let Some(before) = self.present.replace(source.clone())
            && let Some(writer) = self.writers.get_mut(&before)
        {
            writer.rest()?;
        }
        Ok(self.writers.get_mut(source).map(|writer| writer as &mut dyn TreeSink))
    }

    fn filter(&self) -> Option<Filter> {
        self.part.as_ref().map(Part::filter)
    }

    fn listed(&mut self, listed: &Listed) -> Result<(), SinkError> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(SinkError::Stopped);
        }
        if listed.redacted {
            self.redacted
                .entry(listed.source.clone())
                .or_default()
                .insert(listed.entry.path.clone());
        }
        let is_file = matches!(listed.entry.kind, Kind::File { .. });
        if is_file && self.judged.contains(&listed.source) {
            self.files
                .entry(listed.source.clone())
                .or_default()
                .push(listed.entry.path.clone());
        }
        Ok(())
    }
}
