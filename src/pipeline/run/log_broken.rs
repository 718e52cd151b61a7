//! What is said of a log that is not what its last backup has: the first record that differs, found by comparing the log
//! with the stored one, else what the digests of its files tell.

use std::sync::{Arc, Mutex, PoisonError};

use crate::archive::catalog::Listed;
use crate::archive::keys::Opening;
use crate::archive::repository::Backup;
use crate::archive::unpack::{self, BackupSink};
use crate::diagnostic::{Code, Diagnostic};
use crate::event::Events;
use crate::fs::entry::{Entry, Kind, TreePath, display_bytes};
use crate::id::SourceName;
use crate::limits;
use crate::poison;
use crate::source::log_head::Removed;
use crate::source::{
    Breach, BreachKind, Comparison, Difference, LogHead, SinkError, Source, SourceKind, TreeSink, Verdict,
};
use crate::target::Target;

use super::Runner;
use super::backup::{NO_BACKUP, Pending};
use super::logs::Logs;

impl<'p> Runner<'p> {
    /// Says which record of a log is not what it was.
    pub(super) async fn log_broken(
        &mut self,
        name: &SourceName,
        breach: &Breach,
        pending: &Pending<'p>,
        logs: &Logs,
    ) -> Diagnostic {
        let source = pending.snapshot.source.iter().find(|source| source.name == *name);
        let (Some(source), Some(log)) = (source, logs.get(name)) else {
            return Diagnostic::error(Code::Internal, "a log that nobody named");
        };
        let (Some(past), Some(backup)) = (&log.history.head, &log.backup) else {
            return Diagnostic::error(Code::Internal, "a log was held against nothing");
        };
        let stop = self.context.stop.clone();
        let found = tokio::select! {
            found = self.difference(source, &past.head, backup) => found,
            () = stop.token().cancelled() => None,
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

    /// Compares the log with what a backup has of it. A host that cannot open its own backups goes by the digests of files.
    async fn difference(&mut self, source: &Source, head: &LogHead, backup: &Backup) -> Option<Difference> {
        if backup.record.source_bytes() > limits::LOG_COMPARE_MAX {
            return None;
        }
        let opening = self.opening(&backup.targets, &backup.record).await.ok()?;
        for target in &backup.targets {
            let found = self.difference_in(source, head, (backup, &opening), target).await;
            if let Some(found) = found {
                return Some(found);
            }
        }
        None
    }

    async fn difference_in(
        &self,
        source: &Source,
        head: &LogHead,
        (backup, opening): (&Backup, &Opening),
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
        let _ = unpack::unpack(target, &backup.record, opening, &Events::none(), sink).await;
        let comparison = Arc::into_inner(comparison)?;
        let comparison = comparison.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut found = comparison.into_difference()?;
        found.record += before.records;
        Some(found)
    }
}

/// From which file of a past log the present one goes on, and what rotation removed before it.
fn begins_at(source: &Source, head: &LogHead, first: Option<&TreePath>) -> (Option<TreePath>, Removed) {
    let mut before = head.rotated;
    let rotates = matches!(&source.kind, SourceKind::AppendLog(log) if log.rotates());
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
        let mut comparison = poison::lock(&self.comparison);
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
