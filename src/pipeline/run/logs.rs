//! What a backup holds its logs against, and what it says where one does not go on from there.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use crate::archive::catalog::Listed;
use crate::archive::keys::Opening;
use crate::archive::record::SourceRecord;
use crate::archive::repository::{Backup, Lineage, Listing, Stored};
use crate::archive::unpack::{self, BackupSink};
use crate::diagnostic::{Code, Diagnostic};
use crate::event::Events;
use crate::fs::atomic;
use crate::fs::entry::{Entry, Kind, TreePath, display_bytes};
use crate::id::SourceName;
use crate::limits;
use crate::source::append_log::{PrefixCheck, Rotate};
use crate::source::lineage::{self, LineageEntry};
use crate::source::log_head::{Fork, ForkReason, Removed};
use crate::source::{
    Blocks, Breach, BreachKind, Comparison, Difference, History, LogHead, Past, Rewrite, Sample, SinkError, Source,
    SourceKind, TreeSink, Verdict,
};
use crate::steps::snapshot::Snapshot;
use crate::target::Target;

use super::backup::{NO_BACKUP, Pending};
use super::stores::state_path;
use super::{Failure, Runner};

/// What is known of the logs of a backup before it is made.
#[derive(Default)]
pub(super) struct Logs(BTreeMap<SourceName, Log>);

/// What is known of one log.
struct Log {
    history: History,
    /// The newest backup that has it.
    backup: Option<Backup>,
    /// Why what a restore left beside it does not count.
    note: Option<String>,
}

impl Logs {
    /// What each log is held against.
    pub(super) fn histories(&self) -> BTreeMap<SourceName, History> {
        let histories = self.0.iter().map(|(name, log)| (name.clone(), log.history.clone()));
        histories.collect()
    }
}

/// The log of a source in a backup.
fn head_in<'b>(backup: &'b Backup, name: &SourceName) -> Option<&'b LogHead> {
    let source = backup.record.sources.iter().find(|source| source.name == *name)?;
    source.log_head.as_ref()
}

impl<'p> Runner<'p> {
    /// Looks up what each log of `snapshot` is held against: the newest backup of the lineage that has it, and what a
    /// restore put in its place since.
    pub(super) fn logs(&self, snapshot: &Snapshot, listing: &Listing, lineage: &Lineage) -> Result<Logs, Failure> {
        let is_log = |source: &&Source| matches!(source.kind, SourceKind::AppendLog(_));
        let mut logs = Logs::default();
        for source in snapshot.source.iter().filter(is_log) {
            let of_line = listing.backups.iter().filter(|backup| backup.lineage() == *lineage);
            let backup = of_line
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
        let wanted = settings.prefix_check == PrefixCheck::Tail && settings.rotate == Rotate::Never;
        let (Some(past), true) = (&history.head, wanted) else {
            return Ok(None);
        };
        if history.restored.is_some() || history.rewrite == Rewrite::Accepted {
            return Ok(None);
        }
        let blocks = std::fs::File::open(self.blocks_path(&source.name, lineage)).and_then(|file| {
            let mut bytes = Vec::new();
            file.take(limits::LOG_BLOCKS_MAX).read_to_end(&mut bytes)?;
            Ok(bytes)
        });
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

    /// Where the state folder keeps the blocks of a log.
    fn blocks_path(&self, source: &SourceName, lineage: &Lineage) -> PathBuf {
        let line = format!("{}/{}", lineage.pipeline, lineage.instance);
        let line = blake3::hash(line.as_bytes()).to_hex();
        let name = format!("{source}.{}.blocks", line.get(..16).unwrap_or_default());
        state_path(self.plan).join("logs").join(name)
    }

    /// Keeps the blocks of the logs of a stored backup.
    pub(super) fn keep_blocks(&mut self, stored: &Stored, lineage: &Lineage, blocks: BTreeMap<SourceName, Blocks>) {
        for (source, blocks) in blocks {
            let path = self.blocks_path(&source, lineage);
            let bytes = blocks.to_bytes(stored.record().id.as_str());
            let folder = path.parent().unwrap_or(&path);
            let made = std::fs::DirBuilder::new().mode(0o700).recursive(true).create(folder);
            if let Err(error) = made.and_then(|()| atomic::write(&path, 0o600, &bytes)) {
                self.warn(
                    Diagnostic::warning(
                        Code::StateFailed,
                        format!(
                            "what `prefix-check = \"tail\"` needs of `{source}` cannot be kept in the state folder"
                        ),
                    )
                    .why(error.to_string())
                    .state("the backup stands; the next one looks at the log only while it reads it"),
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
        match named {
            Some(backup) => head_in(backup, &entry.source) == Some(&entry.head),
            None => !self.plan.environment().protected,
        }
    }

    /// Says which record of a log is not what it was.
    pub(super) async fn log_broken(
        &self,
        name: &SourceName,
        breach: &Breach,
        pending: &Pending<'p>,
        logs: &Logs,
    ) -> Diagnostic {
        let source = pending.snapshot.source.iter().find(|source| source.name == *name);
        let (Some(source), Some(log)) = (source, logs.0.get(name)) else {
            return Diagnostic::error(Code::Internal, "a log that nobody named");
        };
        let (Some(past), Some(backup)) = (&log.history.head, &log.backup) else {
            return Diagnostic::error(Code::Internal, "a log was held against nothing");
        };
        let found = tokio::select! {
            found = self.difference(source, &past.head, backup) => found,
            () = self.context.stop.token().cancelled() => None,
        };
        let id = &backup.record.id;
        let changed = found.as_ref().is_some_and(|found| found.is.is_some());
        let code = match breach.kind {
            BreachKind::Gone(_) => Code::LogShrank,
            BreachKind::Shorter if !changed => Code::LogShrank,
            BreachKind::Shorter | BreachKind::Differs => Code::LogRewritten,
        };
        let what = match &found {
            Some(found) => describe(found, &breach.kind, id.as_str()),
            None => describe_rows(breach, id.as_str()),
        };
        let mut why = "an append-log only ever grows".to_owned();
        // What is in a log of a protected environment goes into no message, journal or mail.
        if let Some(found) = found.as_ref().filter(|_| !self.plan.environment().protected) {
            why.push_str(&self.texts(found));
        }
        if let Some(note) = &log.note {
            why.push_str(&format!("; {note}"));
        }
        let help = format!(
            "find out what changed it before anything else is done to it: `strongroom restore {id} --to DIR` shows the log \
             as it was; where the change is meant, `--accept-log-rewrite {name}` lets this one run begin a new generation"
        );
        Diagnostic::error(code, what).why(why).state(NO_BACKUP).help(help)
    }

    /// The record as it was and as it is, without secrets, cut short.
    fn texts(&self, found: &Difference) -> String {
        let clean = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes).into_owned();
            self.context.scrubber.scrub(text.trim_end_matches('\n')).into_owned()
        };
        let was = clean(&found.was);
        let Some(is) = found.is.as_deref().map(clean) else {
            return format!(": the record was `{}`", window(&was, 0, found.skipped));
        };
        let same = was.chars().zip(is.chars()).take_while(|(was, is)| was == is).count();
        format!(
            ": the record was `{}` and is `{}`",
            window(&was, same, found.skipped),
            window(&is, same, found.skipped)
        )
    }

    /// Compares the log with what a backup has of it.
    async fn difference(&self, source: &Source, head: &LogHead, backup: &Backup) -> Option<Difference> {
        if backup.record.source_bytes() > limits::LOG_COMPARE_MAX {
            return None;
        }
        for target in &backup.targets {
            if let Some(found) = self.difference_in(source, head, backup, target).await {
                return Some(found);
            }
        }
        None
    }

    async fn difference_in(
        &self,
        source: &Source,
        head: &LogHead,
        backup: &Backup,
        target: &Target,
    ) -> Option<Difference> {
        let present = source.log(self.plan.project()).ok()?;
        let (from, before) = begins_at(source, head, present.files().first());
        let comparison = Arc::new(Mutex::new(Comparison::new(present)));
        let sink = PastLog {
            source: source.name.clone(),
            from,
            state: Passing::Before,
            comparison: Arc::clone(&comparison),
        };
        // Whatever ends it: what was compared until then may say where the logs differ, else the rows of files do.
        let _ = unpack::unpack(target, &backup.record, &Opening::Plain, &Events::none(), sink).await;
        let comparison = Arc::into_inner(comparison)?;
        let comparison = comparison.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut found = comparison.into_difference()?;
        found.record += before.records;
        Some(found)
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
            self.outcome.field("log-fork", "log", text, json);
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

/// From which file of a past log the present one goes on, and what rotation removed before it.
fn begins_at(source: &Source, head: &LogHead, first: Option<&TreePath>) -> (Option<TreePath>, Removed) {
    let mut before = head.rotated;
    let rotates = matches!(&source.kind, SourceKind::AppendLog(log) if log.rotate == Rotate::OldestFiles);
    let Some(first) = first.filter(|_| rotates) else {
        return (None, before);
    };
    let Some(row) = head.files.iter().position(|file| file.path == *first) else {
        return (None, before);
    };
    before.join(head.earlier);
    head.files.iter().take(row).for_each(|file| before.add(file));
    (Some(first.clone()), before)
}

fn describe(found: &Difference, kind: &BreachKind, id: &str) -> String {
    let place = match &found.file {
        Some(file) => format!("`{}`, byte {}", file.display(), found.offset),
        None => "a log without files".to_owned(),
    };
    match (kind, &found.is) {
        (BreachKind::Gone(gone), _) => format!(
            "the log lacks its file `{}`, which backup `{id}` has; the first record that is missing is number {}",
            gone.display(),
            found.record
        ),
        (_, None) => format!(
            "the log became shorter: it ends before record {}, which backup `{id}` has ({place})",
            found.record
        ),
        (_, Some(_)) => format!(
            "the log was rewritten: record {} is not what backup `{id}` has ({place})",
            found.record
        ),
    }
}

/// Where the backup cannot be unpacked: as far as the digests of files tell.
fn describe_rows(breach: &Breach, id: &str) -> String {
    let sound = match breach.sound_records {
        0 => String::new(),
        records => format!("; its first {records} records are as they were"),
    };
    match (&breach.kind, &breach.file) {
        (BreachKind::Gone(gone), _) => {
            format!(
                "the log lacks its file `{}`, which backup `{id}` has{sound}",
                gone.display()
            )
        }
        (BreachKind::Shorter, _) => format!("the log became shorter than backup `{id}` has it{sound}"),
        (BreachKind::Differs, Some(file)) => format!(
            "the log was rewritten: up to `{}` it is not what backup `{id}` has{sound}",
            file.display()
        ),
        (BreachKind::Differs, None) => format!("the log was rewritten: it is not what backup `{id}` has{sound}"),
    }
}

fn fork_text(name: &SourceName, head: &LogHead, fork: &Fork) -> String {
    let generation = head.generation;
    let before = match &fork.replaces {
        Some(id) => format!("; backup `{id}` has the one before, {} records", fork.replaced_records),
        None => String::new(),
    };
    match (fork.why, &fork.backup) {
        (ForkReason::Restored, Some(id)) => {
            format!(
                "`{name}` begins generation {generation}: it goes on from what backup `{id}` restored, {} records{before}",
                fork.records
            )
        }
        (ForkReason::Restored, None) => {
            format!("`{name}` begins generation {generation}: it goes on from what was put back{before}")
        }
        (ForkReason::Accepted, _) => format!("`{name}` begins generation {generation}, as accepted{before}"),
    }
}

/// A stretch of a record about the character `at`.
fn window(text: &str, at: usize, skipped: u64) -> String {
    const BEFORE: usize = 40;
    let begin = at.saturating_sub(BEFORE);
    let shown: String = text.chars().skip(begin).take(limits::LOG_RECORD_SHOWN).collect();
    let front = if begin > 0 || skipped > 0 { "…" } else { "" };
    let back = if text.chars().count() > begin + limits::LOG_RECORD_SHOWN {
        "…"
    } else {
        ""
    };
    format!("{front}{}{back}", display_bytes(shown.as_bytes()))
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

/// Takes one source of a stored backup and hands its files to a comparison.
struct PastLog {
    source: SourceName,
    /// The first file that is compared; all where there is none.
    from: Option<TreePath>,
    state: Passing,
    comparison: Arc<Mutex<Comparison>>,
}

/// What becomes of what passes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Passing {
    /// The source was not reached yet.
    Before,
    /// The entry under way is part of the log.
    Compared,
    /// It is not.
    PassedOver,
}

impl BackupSink for PastLog {
    fn source(&mut self, source: &SourceName) -> Result<Option<&mut dyn TreeSink>, SinkError> {
        if *source == self.source {
            return Ok(Some(self));
        }
        match self.state {
            Passing::Before => Ok(None),
            Passing::Compared | Passing::PassedOver => Err(SinkError::Stopped),
        }
    }

    fn listed(&mut self, _: &Listed) -> Result<(), SinkError> {
        Ok(())
    }
}

impl TreeSink for PastLog {
    fn begin(&mut self, entry: &Entry) -> Result<(), SinkError> {
        let is_file = matches!(entry.kind, Kind::File { .. });
        let meant = is_file && self.from.as_ref().is_none_or(|from| *from <= entry.path);
        self.state = if meant { Passing::Compared } else { Passing::PassedOver };
        Ok(())
    }

    fn write(&mut self, data: &[u8]) -> Result<(), SinkError> {
        if self.state != Passing::Compared {
            return Ok(());
        }
        let mut comparison = self.comparison.lock().unwrap_or_else(PoisonError::into_inner);
        // A present log that cannot be read has no record to be shown.
        comparison.take(data).map_err(|_| SinkError::Stopped)?;
        if comparison.is_decided() {
            Err(SinkError::Stopped)
        } else {
            Ok(())
        }
    }

    fn end(&mut self, _: Verdict) -> Result<(), SinkError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_record_what_is_shown_is_about_the_difference() {
        let text = format!("{}X{}", "a".repeat(100), "b".repeat(500));
        let shown = window(&text, 100, 0);
        assert!(shown.starts_with('…') && shown.ends_with('…'), "{shown}");
        assert_eq!(shown.chars().count(), limits::LOG_RECORD_SHOWN + 2);
        assert_eq!(shown.chars().position(|c| c == 'X'), Some(41));
        assert_eq!(window("short", 2, 0), "short");
        assert_eq!(window("\u{1b}[31m", 0, 9), "…\\u{1b}[31m");
    }
}
