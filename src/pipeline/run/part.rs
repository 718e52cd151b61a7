//! Looks through the catalog of a backup for the part that is wanted, before anything is unpacked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::archive::catalog::{Line, Listed};
use crate::archive::keys::Opening;
use crate::archive::record::Record;
use crate::archive::repository::Backup;
use crate::archive::unpack::{Filter, Lines, UnpackError};
use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::fs::entry::{Kind, TreePath};
use crate::id::SourceName;
use crate::target::Target;

use super::wanted::{Rule, Wanted, full};
use super::{Failure, UNTOUCHED};

/// A part of a backup, as its catalog has it.
#[derive(Clone, Debug, Default)]
pub(super) struct Part {
    pub(super) wanted: Wanted,
    /// The sources of which something is wanted.
    pub(super) sources: BTreeSet<SourceName>,
    /// Files that are not wanted under their first name but under another one.
    pub(super) firsts: BTreeMap<SourceName, BTreeSet<TreePath>>,
    /// Entries that are wanted.
    pub(super) entries: u64,
    /// Apparent bytes of the files among them.
    pub(super) bytes: u64,
}

/// What comes close to a path that is not there.
#[derive(Default)]
struct Near {
    distance: Option<(usize, String)>,
    /// The first entry elsewhere that has its name.
    elsewhere: Option<String>,
}

impl Part {
    /// Which entries have content that is read.
    pub(super) fn filter(self: &Arc<Self>) -> Filter {
        let part = Arc::clone(self);
        Arc::new(move |listed: &Listed| {
            let path = &listed.entry.path;
            let is_folder = listed.entry.kind == Kind::Folder;
            part.wanted.wants(&listed.source, path, is_folder, |_| ()) || part.is_first(&listed.source, path)
        })
    }

    /// Whether the content under this name is wanted under another one only.
    pub(super) fn is_first(&self, source: &SourceName, path: &TreePath) -> bool {
        self.firsts.get(source).is_some_and(|firsts| firsts.contains(path))
    }

    fn take(&mut self, listed: &Listed, hits: &mut [bool]) {
        let (source, entry) = (&listed.source, &listed.entry);
        let is_folder = entry.kind == Kind::Folder;
        let mut note = |rule: usize| hits.get_mut(rule).into_iter().for_each(|hit| *hit = true);
        if !self.wanted.wants(source, &entry.path, is_folder, &mut note) {
            return;
        }
        self.entries += 1;
        self.sources.insert(source.clone());
        match &entry.kind {
            Kind::File { size, .. } => self.bytes = self.bytes.saturating_add(*size),
            Kind::HardLink { first } if !self.wanted.wants(source, first, false, |_| ()) => {
                self.firsts.entry(source.clone()).or_default().insert(first.clone());
            }
            _ => {}
        }
    }
}

/// Finds the part of `backup` that is wanted, in the first of its targets whose catalog can be read. What is wrong with the
/// others comes with it.
///
/// # Errors
/// Where something that is asked for by name is not there, with what comes close to it, or no catalog can be read.
pub(super) async fn survey(
    (backup, opening): (&Backup, &Opening),
    wanted: Wanted,
) -> Result<(Part, Vec<Diagnostic>), Failure> {
    let mut unread: Vec<Diagnostic> = Vec::new();
    for target in &backup.targets {
        let (target, record, wanted) = (target.clone(), backup.record.clone(), wanted.clone());
        let opening = opening.clone();
        let handle = tokio::runtime::Handle::current();
        let name = target.name().clone();
        let looked = tokio::task::spawn_blocking(move || look((&target, &record, &opening), wanted, &handle)).await;
        let looked = looked.map_err(|error| {
            let problem = Diagnostic::error(Code::Internal, "the look through the catalog ended early");
            vec![problem.why(error.to_string()).state(UNTOUCHED)]
        })?;
        match looked {
            Ok(found) => {
                for problem in &mut unread {
                    problem.severity = Severity::Warning;
                }
                return found.map(|part| (part, unread));
            }
            Err(error) => {
                let problem = backup.record.of_copy(&name, Diagnostic::of(&error));
                unread.push(problem.state(UNTOUCHED));
            }
        }
    }
    Err(unread)
}

/// Reads the catalog once; a second time only where something is not in it.
fn look(
    (target, record, opening): (&Target, &Record, &Opening),
    wanted: Wanted,
    handle: &tokio::runtime::Handle,
) -> Result<Result<Part, Failure>, UnpackError> {
    let lines = || Lines::new(target, record, opening, handle.clone());
    let mut hits = vec![false; wanted.rules().len()];
    let mut part = Part {
        wanted,
        ..Part::default()
    };
    each(lines(), |listed| part.take(listed, &mut hits))?;
    let rules = part.wanted.rules().iter().zip(&hits);
    let missed: Vec<&Rule> = rules.filter(|(_, hit)| !**hit).map(|(rule, _)| rule).collect();
    if missed.is_empty() {
        return Ok(match part.entries {
            0 => Err(vec![nothing_left(record)]),
            _ => Ok(part),
        });
    }
    let sought: Vec<String> = missed.iter().map(|rule| rule.sought()).collect();
    let mut near: Vec<Near> = sought.iter().map(|_| Near::default()).collect();
    each(lines(), |listed| {
        let Some(full) = full(&listed.source, &listed.entry.path) else {
            return;
        };
        let text = full.display();
        for (sought, near) in sought.iter().zip(&mut near) {
            near.take(sought, &text);
        }
    })?;
    let problems = missed.iter().zip(near);
    Ok(Err(problems
        .map(|(rule, near)| not_there(&rule.text, near, record))
        .collect()))
}

fn each(mut lines: Lines, mut take: impl FnMut(&Listed)) -> Result<(), UnpackError> {
    while let Some(line) = lines.next()? {
        if let Line::Entry(listed) = line {
            take(&listed);
        }
    }
    Ok(())
}

impl Near {
    /// Compares a path with what is sought; one that differs in length by more than counts as close is not looked at.
    fn take(&mut self, sought: &str, path: &str) {
        let name = |text: &str| text.rsplit('/').next().unwrap_or_default().to_owned();
        if self.elsewhere.is_none() && !sought.is_empty() && name(sought) == name(path) {
            self.elsewhere = Some(path.to_owned());
        }
        let most = ((sought.chars().count() + 1) / 4).max(1);
        let best = self.distance.as_ref().map_or(most + 1, |(distance, _)| *distance);
        if sought.is_empty() || sought.len().abs_diff(path.len()) > 4 * best {
            return;
        }
        let distance = strsim::damerau_levenshtein(sought, path);
        if distance > 0 && distance < best {
            self.distance = Some((distance, path.to_owned()));
        }
    }
}

fn not_there(text: &str, near: Near, record: &Record) -> Diagnostic {
    let what = format!("nothing in backup `{}` is called `{text}`", record.id);
    let problem = Diagnostic::error(Code::PathUnknown, what).state(UNTOUCHED);
    if let Some(path) = near.distance.map(|(_, path)| path).or(near.elsewhere) {
        return problem.help(format!("did you mean `{path}`?"));
    }
    let sources = record.sources.iter().map(|source| format!("`{}`", source.name));
    let sources: Vec<String> = sources.collect();
    problem.help(format!("paths begin with the name of a source: {}", sources.join(", ")))
}

fn nothing_left(record: &Record) -> Diagnostic {
    let what = format!("`--exclude` leaves nothing of what is wanted of backup `{}`", record.id);
    let problem = Diagnostic::error(Code::PathUnknown, what).state(UNTOUCHED);
    problem.help("leave it out, or exclude less")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(sought: &str, paths: &[&str]) -> Option<String> {
        let mut near = Near::default();
        for path in paths {
            near.take(sought, path);
        }
        near.distance.map(|(_, path)| path).or(near.elsewhere)
    }

    #[test]
    fn the_closest_path_is_named_else_one_of_the_same_name() {
        let paths = ["config", "config/service.toml", "config/users.json", "events/1.jsonl"];
        assert_eq!(
            near("config/servce.toml", &paths).as_deref(),
            Some("config/service.toml")
        );
        assert_eq!(near("confg", &paths).as_deref(), Some("config"));
        assert_eq!(near("users.json", &paths).as_deref(), Some("config/users.json"));
        assert_eq!(near("something/else", &paths), None);
        assert_eq!(near("", &paths), None);
    }
}
