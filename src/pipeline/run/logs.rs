//! What a backup holds its logs against, and what it says where one does not go on from there.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::archive::record::SourceRecord;
use crate::archive::repository::{Backup, Lineage, Listing, Stored};
use crate::diagnostic::{Code, Diagnostic};
use crate::fs::atomic;
use crate::id::SourceName;
use crate::limits;
use crate::source::append_log::PrefixCheck;
use crate::source::lineage::{self, LineageEntry};
use crate::source::log_head::{Fork, ForkReason};
use crate::source::{Blocks, History, LogHead, LogMemory, Past, Rewrite, Sample, Source, SourceKind};
use crate::steps::snapshot::Snapshot;
use crate::units::counted;

use super::stores::state_path;
use super::{Failure, Runner};

/// What is known of the logs of a backup before it is made.
#[derive(Default)]
pub(super) struct Logs(BTreeMap<SourceName, Log>);

/// What is known of one log.
pub(super) struct Log {
    pub(super) history: History,
    /// The newest backup that has it.
    pub(super) backup: Option<Backup>,
    /// Why what a restore left beside it does not count.
    pub(super) note: Option<String>,
}

impl Logs {
    /// What is known of one log.
    pub(super) fn get(&self, name: &SourceName) -> Option<&Log> {
        self.0.get(name)
    }

    /// What each log is held against.
    pub(super) fn histories(&self) -> BTreeMap<SourceName, History> {
        let histories = self.0.iter().map(|(name, log)| (name.clone(), log.history.clone()));
        histories.collect()
    }
}

/// What the state folder keeps of the logs of a backup.
#[derive(Default)]
pub(super) struct KeptLogs {
    /// For those of which only a part is compared.
    pub(super) blocks: BTreeMap<SourceName, Blocks>,
    /// For all of them.
    pub(super) memories: BTreeMap<SourceName, LogMemory>,
}

/// Ends of the names of what is kept.
const BLOCKS: &str = "blocks";
const MEMORY: &str = "memory";

fn read_kept(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path)?;
    file.take(limits::LOG_BLOCKS_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The log of a source in a backup.
fn head_in<'b>(backup: &'b Backup, name: &SourceName) -> Option<&'b LogHead> {
    let source = backup.record.sources.iter().find(|source| source.name == *name)?;
    source.log_head.as_ref()
}

impl Runner<'_> {
    /// Looks up what each log of `snapshot` is held against: the newest backup of the lineage that has it, and what a
    /// restore put in its place since.
    pub(super) fn logs(&self, snapshot: &Snapshot, listing: &Listing, lineage: &Lineage) -> Result<Logs, Failure> {
        let is_log = |source: &&Source| matches!(source.kind, SourceKind::AppendLog(_));
        let mut logs = Logs::default();
        for source in snapshot.source.iter().filter(is_log) {
            let backup = listing
                .line(lineage)
                .filter(|backup| head_in(backup, &source.name).is_some())
                .max_by_key(|backup| (backup.record.sequence, backup.record.id.clone()));
            let (restored, note) = self.restored(source, listing, lineage);
            let accepted = self.options.accept_log_rewrites.contains(&source.name);
            let history = History {
                head: backup.and_then(|backup| {
                    Some(Past {
                        backup: Some(backup.record.id.clone()),
                        head: head_in(backup, &source.name)?.clone(),
                    })
                }),
                memory: self.log_memory(source, backup, lineage),
                sample: None,
                restored,
                rewrite: if accepted { Rewrite::Accepted } else { Rewrite::Refused },
            };
            let sample = self.sample(source, &history, lineage)?;
            let history = History { sample, ..history };
            let backup = backup.cloned();
            logs.0.insert(source.name.clone(), Log { history, backup, note });
        }
        let unknown = self
            .options
            .accept_log_rewrites
            .iter()
            .find(|name| !logs.0.contains_key(*name));
        match unknown {
            None => Ok(logs),
            Some(name) => Err(vec![not_a_log("--accept-log-rewrite", name, logs.0.keys())]),
        }
    }

    /// Which blocks of a log are looked at before it is read: none where something else may have become of it, or where the
    /// state folder does not know the log that the last backup has.
    fn sample(&self, source: &Source, history: &History, lineage: &Lineage) -> Result<Option<Sample>, Failure> {
        let SourceKind::AppendLog(settings) = &source.kind else {
            return Ok(None);
        };
        let wanted = settings.prefix_check == PrefixCheck::Tail && !settings.rotates();
        let (Some(past), true) = (&history.head, wanted) else {
            return Ok(None);
        };
        if history.restored.is_some() || history.rewrite == Rewrite::Accepted {
            return Ok(None);
        }
        let blocks = read_kept(&self.kept_path(&source.name, lineage, BLOCKS));
        // They only let a rewritten log be found early, so where they cannot be read it is found later.
        let (Ok(bytes), Some(backup)) = (blocks, &past.backup) else {
            return Ok(None);
        };
        match Blocks::parse(&bytes, backup.as_str()) {
            Some(blocks) => Ok(Some(Sample {
                blocks,
                seed: self.random()?,
            })),
            None => Ok(None),
        }
    }

    /// What this host remembers of a log in its newest backup. It saves time, so where it cannot be read nothing is lost.
    fn log_memory(&self, source: &Source, backup: Option<&Backup>, lineage: &Lineage) -> Option<LogMemory> {
        let bytes = read_kept(&self.kept_path(&source.name, lineage, MEMORY)).ok()?;
        LogMemory::parse(&bytes, backup?.record.id.as_str())
    }

    /// Where the state folder keeps something of a log.
    fn kept_path(&self, source: &SourceName, lineage: &Lineage, what: &str) -> PathBuf {
        let line = format!("{}/{}", lineage.pipeline, lineage.instance);
        let line = blake3::hash(line.as_bytes()).to_hex();
        let name = format!("{source}.{}.{what}", line.get(..16).unwrap_or_default());
        state_path(self.plan).join("logs").join(name)
    }

    /// Keeps what the next backup needs of the logs of a stored one.
    pub(super) fn keep_logs(&mut self, stored: &Stored, lineage: &Lineage, kept: KeptLogs) {
        let id = stored.record().id.as_str();
        let blocks = kept
            .blocks
            .iter()
            .map(|(source, blocks)| (source, BLOCKS, blocks.to_bytes(id)));
        let memories = kept.memories.iter();
        let memories = memories.map(|(source, memory)| (source, MEMORY, memory.to_bytes(id)));
        for (source, what, bytes) in blocks.chain(memories) {
            let path = self.kept_path(source, lineage, what);
            let folder = path.parent().unwrap_or(&path);
            let made = std::fs::DirBuilder::new().mode(0o700).recursive(true).create(folder);
            if let Err(error) = made.and_then(|()| atomic::write(&path, 0o600, &bytes)) {
                self.warn(
                    Diagnostic::warning(
                        Code::StateFailed.unless_full(&error),
                        format!("what the next backup needs of `{source}` cannot be kept in the state folder"),
                    )
                    .why(error.to_string())
                    .state("the backup stands; the next one reads all of the log"),
                );
            }
        }
    }

    /// What a restore put in the place of a log, where that counts; else why what lies beside the log does not.
    fn restored(&self, source: &Source, listing: &Listing, lineage: &Lineage) -> (Option<Past>, Option<String>) {
        let root = source.root(self.plan.project());
        let entry = match lineage::read(&root, &source.name) {
            Ok(Some(entry)) => entry,
            Ok(None) => return (None, None),
            Err(error) => return (None, root.exists().then(|| error.to_string())),
        };
        let newest = listing.newest(lineage).map_or(0, |backup| backup.record.sequence);
        let environment = self.plan.environment_name();
        if !entry.counts(environment, &lineage.pipeline, &lineage.instance, newest) {
            return (None, None);
        }
        if !self.is_vouched_for(&entry, listing) {
            let note = "a restore is noted beside the log, and the backup that it names is not in these targets";
            return (None, Some(note.to_owned()));
        }
        let past = Past {
            backup: entry.backup,
            head: entry.head,
        };
        (Some(past), None)
    }

    /// Whether a backup bears out what an entry says. Where nothing is protected its word is enough: the backup may be one
    /// of another environment, or none.
    fn is_vouched_for(&self, entry: &LineageEntry, listing: &Listing) -> bool {
        let named = listing.backups.iter().find(|backup| {
            entry.made_in == backup.record.environment && entry.backup.as_ref() == Some(&backup.record.id)
        });
        match named.filter(|_| !entry.redacted) {
            Some(backup) => head_in(backup, &entry.source) == Some(&entry.head),
            None => !self.plan.environment().protected,
        }
    }

    /// Tells which logs begin a generation with this backup.
    pub(super) fn tell_forks(&mut self, stored: &Stored, logs: &Logs) -> Result<(), Failure> {
        for source in &stored.record().sources {
            let Some(head) = &source.log_head else { continue };
            let before = logs.0.get(&source.name).and_then(|log| log.history.head.as_ref());
            let is_new = before.map_or(0, |past| past.head.generation) < head.generation;
            let Some(fork) = head.fork.as_ref().filter(|_| is_new) else {
                continue;
            };
            self.evidence
                .log_forked(&source.name, &stored.record().id, head, fork)?;
            let text = fork_text(&source.name, head, fork);
            let json = serde_json::json!({ "source": source.name, "generation": head.generation, "fork": fork });
            self.outcome.listed_field("log-fork", "log", text, json);
        }
        Ok(())
    }
}

/// The problem of an option that names something else than a log.
pub(super) fn not_a_log<'n>(option: &str, name: &SourceName, logs: impl Iterator<Item = &'n SourceName>) -> Diagnostic {
    let logs: Vec<&str> = logs.map(SourceName::as_str).collect();
    let help = if logs.is_empty() {
        "there is no `append-log` source here: leave it out".to_owned()
    } else {
        format!("the `append-log` sources here: {}", logs.join(", "))
    };
    Diagnostic::error(Code::Usage, format!("`{option} {name}` names no `append-log` source"))
        .state("nothing was started")
        .help(help)
}

fn fork_text(name: &SourceName, head: &LogHead, fork: &Fork) -> String {
    let generation = head.generation;
    let before = match &fork.replaces {
        Some(id) => format!(
            "; backup `{id}` has the one before, {}",
            counted(fork.replaced_records, "record")
        ),
        None => String::new(),
    };
    match (fork.why, &fork.backup) {
        (ForkReason::Restored, Some(id)) => {
            format!(
                "`{name}` begins generation {generation}: it goes on from what backup `{id}` restored, {}{before}",
                counted(fork.records, "record")
            )
        }
        (ForkReason::Restored, None) => {
            format!("`{name}` begins generation {generation}: it goes on from what was put back{before}")
        }
        (ForkReason::Accepted, _) => format!("`{name}` begins generation {generation}, as accepted{before}"),
    }
}

/// The sources of a record for a report: the rows of a log's files can be thousands.
pub(super) fn without_files(sources: &[SourceRecord]) -> Value {
    let mut json = serde_json::to_value(sources).unwrap_or_default();
    for source in json.as_array_mut().into_iter().flatten() {
        if let Some(head) = source.get_mut("log-head").and_then(Value::as_object_mut) {
            head.shift_remove("files");
        }
    }
    json
}
