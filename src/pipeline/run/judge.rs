//! `assert`: judges what was unpacked. Everything that does not hold is told at once.

use std::path::PathBuf;

use futures::future::OptionFuture;
use futures::{StreamExt, TryStreamExt};

use crate::diagnostic::{Code, Diagnostic};
use crate::fs::entry::TreePath;
use crate::limits;
use crate::process::{self, Take};
use crate::restore::judge::{self, Check, LogFacts, Prefix};
use crate::restore::stage::Stage;
use crate::source::LogHead;
use crate::steps::assert::Assert;
use crate::units::{Span, counted};

use super::command::PATIENCE;
use super::stage::{Extent, Staged, StagedSource};
use super::{Failure, Runner, UNTOUCHED, failed};

/// Faults of one database that are shown.
const FAULTS_SHOWN: usize = 3;

impl Runner<'_> {
    /// Judges the stage, and keeps what held for the report.
    pub(super) async fn judged(&mut self, staged: &Staged, settings: &Assert) -> Result<String, Failure> {
        let held = self.judge(staged, settings).await?;
        self.outcome.field("judged", "judged", held.clone(), &held);
        if let Some(drill) = &mut self.drill {
            drill.judged.clone_from(&held);
        }
        Ok(held)
    }

    /// Judges the stage; says in one line what held.
    async fn judge(&mut self, staged: &Staged, settings: &Assert) -> Result<String, Failure> {
        let (mut held, mut faults): (Vec<String>, Failure) = (Vec::new(), Vec::new());
        let mut note = |result: Result<String, Failure>| match result {
            Ok(text) => held.push(text),
            Err(failure) => faults.extend(failure),
        };
        if let Some(max_age) = settings.max_age {
            note(self.age(staged, max_age));
        }
        note_counts(staged, settings, &mut note);
        // Both read what was unpacked, and neither keeps a machine busy alone.
        let sqlite = OptionFuture::from(settings.sqlite.map(|sqlite| databases(staged, sqlite.into())));
        let append_log = OptionFuture::from(settings.append_log.map(|_| logs(staged)));
        let (sqlite, append_log) = tokio::join!(sqlite, append_log);
        for judged in [sqlite, append_log].into_iter().flatten() {
            note(judged);
        }
        // A program that judges is run on what is otherwise sound.
        if faults.is_empty() && !settings.command.is_empty() {
            match self.program(staged, settings).await {
                Ok(text) => held.push(text),
                Err(failure) => faults.extend(failure),
            }
        }
        if faults.is_empty() {
            Ok(held.join("; "))
        } else {
            Err(faults)
        }
    }

    fn age(&self, staged: &Staged, max_age: Span) -> Result<String, Failure> {
        let id = &staged.record.id;
        let started: Option<jiff::Timestamp> = staged.record.started.parse().ok();
        let Some(started) = started else {
            return Err(fault(format!("the record of backup `{id}` says no time")));
        };
        let age = self.context.clock.now().timestamp().duration_since(started);
        // A backup that is dated in the future is not old.
        let age = std::time::Duration::try_from(age).unwrap_or_default();
        let hours = age.as_secs() / 3600;
        if age > max_age.0 {
            let what = format!("backup `{id}` is {hours} h old, and `max-age` is {max_age}");
            return Err(fault(what));
        }
        Ok(format!("{hours} h old"))
    }

    /// Runs the program in a folder that has every source under its name.
    async fn program(&self, staged: &Staged, settings: &Assert) -> Result<String, Failure> {
        let view = match staged.folder() {
            Some(_) => None,
            None => self.view(staged)?,
        };
        let folder = match (&view, staged.folder()) {
            (Some(view), _) => view.path(),
            (None, Some(folder)) => folder.to_owned(),
            (None, None) => return Err(fault("there is no source that a program could look at".into())),
        };
        let command = process::Command {
            argv: settings.command.iter().map(Into::into).collect(),
            env: Vec::new(),
            folder: Some(folder),
            timeout: settings.limit(),
            patience: PATIENCE,
            stdout: Take::End,
        };
        let program = settings.command.first().cloned().unwrap_or_default();
        let ran = process::run_until(command, self.context.stop.token().cancelled()).await;
        if let Some(view) = view {
            view.discard().map_err(|error| failed(&error))?;
        }
        match ran {
            Ok(_) => Ok(format!("`{program}` is content")),
            Err(process::ProcessError::Stopped { .. }) => Err(vec![self.stopped(UNTOUCHED)]),
            Err(error) => {
                let said = error.output().map_or_else(String::new, |output| self.said(output));
                let mut problem = Diagnostic::of(&error).state(UNTOUCHED);
                problem.code = Code::AssertFailed;
                if !said.is_empty() {
                    problem.why = Some(said);
                }
                Err(vec![problem])
            }
        }
    }

    /// A folder of links to the stages, each under its source's name.
    fn view(&self, staged: &Staged) -> Result<Option<Stage>, Failure> {
        let Some(first) = staged.items.iter().find_map(|item| item.destination.as_ref()) else {
            return Ok(None);
        };
        let view = Stage::view(first, &self.context.run).map_err(|error| failed(&error))?;
        for item in &staged.items {
            let link = view.path().join(item.name.as_str());
            std::os::unix::fs::symlink(item.stage.path(), &link).map_err(|error| {
                let what = format!("cannot make the link `{}`", link.display());
                vec![
                    Diagnostic::error(Code::RestoreFailed, what)
                        .why(error.to_string())
                        .state(UNTOUCHED),
                ]
            })?;
        }
        Ok(Some(view))
    }
}

fn fault(what: String) -> Failure {
    let problem = Diagnostic::error(Code::AssertFailed, what).state(UNTOUCHED);
    vec![problem.help("restore another backup, and find out since when this is so")]
}

fn note_counts(staged: &Staged, settings: &Assert, note: &mut dyn FnMut(Result<String, Failure>)) {
    if settings.min_entries.is_none() && settings.expect.is_empty() {
        return;
    }
    if staged.extent == Extent::Part {
        return note(Ok("a part: not counted".into()));
    }
    if let Some(least) = settings.min_entries {
        let entries = staged.entries();
        note(if entries < least {
            Err(fault(format!(
                "the backup has {}, and `min-entries` is {least}",
                counted(entries, "entry")
            )))
        } else {
            Ok(counted(entries, "entry"))
        });
    }
    for expect in &settings.expect {
        let found = staged.items.iter().find(|item| item.name == expect.name);
        note(match found.map(|item| item.entries) {
            None => Err(fault(format!("the backup has no source `{}`", expect.name))),
            Some(entries) if entries < expect.min_entries => Err(fault(format!(
                "source `{}` has {}, and {} are expected",
                expect.name,
                counted(entries, "entry"),
                expect.min_entries
            ))),
            Some(entries) => Ok(format!("{} of `{}`", counted(entries, "entry"), expect.name)),
        });
    }
}

/// The unpacked sources of a type.
fn of_kind<'a>(staged: &'a Staged, kind: &'a str) -> impl Iterator<Item = &'a StagedSource> {
    let is_kind = move |item: &&StagedSource| {
        let mut sources = staged.record.sources.iter();
        sources.any(|source| source.name == item.name && source.kind == kind)
    };
    staged.items.iter().filter(is_kind)
}

async fn databases(staged: &Staged, check: Check) -> Result<String, Failure> {
    let files: Vec<(String, PathBuf)> = of_kind(staged, "sqlite")
        .flat_map(|item| {
            item.files
                .iter()
                .map(move |path| (shown(item, path), item.stage.find(path)))
        })
        // What is not wanted was not unpacked, and an empty file is a database that nothing was ever written to.
        .filter(|(_, path)| std::fs::symlink_metadata(path).is_ok_and(|found| found.len() > 0))
        .collect();
    let count = files.len();
    let judged = files.into_iter().map(|(shown, path)| async move {
        let found = tokio::task::spawn_blocking(move || judge::database(&path, check)).await;
        let why = match found.map_err(|error| died(&error))? {
            Ok(found) if found.is_empty() => return Ok(Vec::new()),
            Ok(found) => found.iter().take(FAULTS_SHOWN).cloned().collect::<Vec<_>>().join("; "),
            Err(error) => error.to_string(),
        };
        let broken = fault(format!("the restored database `{shown}` is not whole"));
        Ok::<Failure, Failure>(broken.into_iter().map(|problem| problem.why(why.clone())).collect())
    });
    let judged = futures::stream::iter(judged).buffered(limits::JUDGED_AT_ONCE);
    let faults: Vec<Failure> = judged.try_collect().await?;
    let faults: Failure = faults.into_iter().flatten().collect();
    if faults.is_empty() {
        Ok(match count {
            0 => "no database to judge".to_owned(),
            count => format!("{} whole", counted(count as u64, "database")),
        })
    } else {
        Err(faults)
    }
}

async fn logs(staged: &Staged) -> Result<String, Failure> {
    if staged.extent == Extent::Part {
        return Ok("a part: logs not judged".into());
    }
    let mut logs: Vec<(String, LogHead, Vec<PathBuf>)> = Vec::new();
    let mut faults: Failure = Vec::new();
    for item in of_kind(staged, "append-log") {
        let recorded = staged.record.sources.iter().find(|source| source.name == item.name);
        match recorded.and_then(|source| source.log_head.clone()) {
            Some(head) => {
                let files = item.files.iter().map(|path| item.stage.find(path)).collect();
                logs.push((item.name.to_string(), head, files));
            }
            None => faults.extend(fault(format!(
                "the record does not say where the log `{}` ended",
                item.name
            ))),
        }
    }
    let work = move || {
        let mut held: Vec<String> = Vec::new();
        for (name, head, files) in logs {
            match judge::log(&files, head.length) {
                Err(error) => faults.extend(fault(format!("the restored log `{name}` cannot be read: {error}"))),
                Ok(facts) => match misfit(&facts, &head) {
                    Some(why) => {
                        let broken = fault(format!("the restored log `{name}` is not the one that was captured"));
                        faults.extend(broken.into_iter().map(|problem| problem.why(why.clone())));
                    }
                    None => held.push(format!("{} of `{name}`", counted(facts.records, "record"))),
                },
            }
        }
        if faults.is_empty() && held.is_empty() {
            Ok("no log to judge".into())
        } else if faults.is_empty() {
            Ok(held.join(", "))
        } else {
            Err(faults)
        }
    };
    tokio::task::spawn_blocking(work).await.map_err(|error| died(&error))?
}

/// In what a restored log is not what its record says.
fn misfit(facts: &LogFacts, head: &LogHead) -> Option<String> {
    if (facts.length, facts.records) != (head.length, head.records) {
        return Some(format!(
            "it has {} bytes and {} records, and {} bytes and {} records were captured",
            facts.length, facts.records, head.length, head.records
        ));
    }
    let expected = Prefix {
        records: head.records,
        blake3: head.blake3.to_string(),
    };
    if facts.prefix.as_ref() != Some(&expected) {
        return Some("its content has another digest than what was captured".into());
    }
    (!facts.is_whole).then(|| "it does not end with a whole record".into())
}

fn shown(item: &StagedSource, path: &TreePath) -> String {
    format!("{}/{}", item.name, path.display())
}

fn died(error: &tokio::task::JoinError) -> Failure {
    let problem = Diagnostic::error(Code::Internal, "the judgement ended early").why(error.to_string());
    vec![problem.state(UNTOUCHED)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head_of(length: u64, records: u64, text: &[u8]) -> LogHead {
        LogHead {
            length,
            records,
            blake3: crate::crypto::Digest::of(text),
            generation: 1,
            fork: None,
            rotated: crate::source::log_head::Removed::default(),
            earlier: crate::source::log_head::Removed::default(),
            files: Vec::new(),
        }
    }

    #[test]
    fn a_log_is_what_its_record_says_or_it_is_told_in_what_not() {
        let text = b"one\ntwo\n";
        let head = head_of(8, 2, text);
        let facts = |bytes: &[u8]| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), bytes).unwrap();
            judge::log(&[file.path().to_owned()], bytes.len().min(8) as u64).unwrap()
        };
        assert_eq!(misfit(&facts(text), &head), None);
        for (other, why) in [
            (&b"one\ntwo\nthree\n"[..], "14 bytes and 3 records"),
            (b"one\n", "4 bytes and 1 records"),
            (b"one\ntwx\n", "another digest"),
            (b"on\ne\ntwo", "another digest"),
        ] {
            let found = misfit(&facts(other), &head).unwrap();
            assert!(found.contains(why), "{found}");
        }
        let torn = b"one\ntwo";
        let head = head_of(7, 1, torn);
        assert!(misfit(&facts(torn), &head).unwrap().contains("whole record"));
    }
}
