//! A small project on disk, and changes to its files that mark the place where an error belongs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use strongroom::diagnostic::Diagnostic;
use strongroom::pipeline::{Plan, Purpose, Request, RunValues, compile};
use tempfile::TempDir;

/// Stands in a text where an error is expected, and is taken out of it.
pub(super) const MARK: char = '«';

pub(super) const BACKUP: &str = r#"schema-version = 1
name = "backup"
description = "A test"

[[step]]
id = "capture"
type = "snapshot"
  [[step.source]]
  name = "events"
  type = "append-log"
  path = "{{path.data}}/events"
  [[step.source]]
  name = "config"
  type = "files"
  path = "{{path.config}}"
  exclude = [".env*"]

[[step]]
id = "scrub"
type = "redact"
sources = ["config"]

[[step]]
id = "pack"
type = "compress"
codec = "zstd"
level = 3

[[step]]
id = "digest"
type = "checksum"

[[step]]
id = "store"
type = "upload"
targets = ["local"]

[[step]]
id = "proof"
type = "confirm"
by = "read-back"
"#;

pub(super) const RESTORE: &str = r#"schema-version = 1
name = "restore"

[arg.backup]
description = "Which backup"
required = true
example = "latest"

[[step]]
id = "choose"
type = "select"
backup = "{{arg.backup}}"

[[step]]
id = "integrity"
type = "verify"

[[step]]
id = "guard"
type = "rollback-point"

[[step]]
id = "stage"
type = "restore"

[[step]]
id = "replace"
type = "swap"
"#;

pub(super) const ENVIRONMENT: &str = r#"schema-version = 1
description = "A test"

[path]
data = "/srv/data"
config = "/srv/config"

[target.local]
url = "file:///var/backups/test"
"#;

/// A change to one of the project's files: the first text becomes the second. An empty first text appends.
pub(super) type Edit = (&'static str, &'static str);

/// A project in a folder of its own.
pub(super) struct Project {
    pub(super) folder: TempDir,
    /// Where an error is expected: file, line, column.
    pub(super) marked: Option<(String, u32, u32)>,
}

impl Project {
    /// Writes the three files with their changes.
    pub(super) fn new(backup: &[Edit], restore: &[Edit], environment: &[Edit]) -> Self {
        let mut project = Self {
            folder: TempDir::new().unwrap(),
            marked: None,
        };
        project.write("pipelines/backup.toml", &changed(BACKUP, backup));
        project.write("pipelines/restore.toml", &changed(RESTORE, restore));
        project.write("pipelines/environments/test.toml", &changed(ENVIRONMENT, environment));
        project
    }

    /// Writes a file; a mark in it is where an error is expected.
    pub(super) fn write(&mut self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, self.unmark(name, text)).unwrap();
    }

    /// Takes the mark out of a text and remembers its place.
    pub(super) fn unmark(&mut self, file: &str, text: &str) -> String {
        if let Some(at) = text.find(MARK) {
            let before = &text[..at];
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap().chars().count() + 1;
            assert_eq!(self.marked, None, "two marks");
            self.marked = Some((file.to_owned(), line.try_into().unwrap(), column.try_into().unwrap()));
        }
        text.replace(MARK, "")
    }

    pub(super) fn request(&self, pipeline: &str) -> Request {
        request(self.folder.path(), pipeline, "test")
    }
}

fn changed(text: &str, edits: &[Edit]) -> String {
    edits.iter().fold(text.to_owned(), |text, (from, to)| {
        if from.is_empty() {
            return text + to;
        }
        assert_eq!(text.matches(from).count(), 1, "`{from}` must be there once");
        text.replacen(from, to, 1)
    })
}

pub(super) fn request(project: &Path, pipeline: &str, environment: &str) -> Request {
    Request {
        project: project.to_owned(),
        pipeline: pipeline.to_owned(),
        environment: environment.parse().unwrap(),
        sets: Vec::new(),
        args: BTreeMap::new(),
        purpose: Purpose::Validate,
        run: RunValues {
            id: "0193-run".into(),
            timestamp: "2026-11-22T00:00:00Z".into(),
            host: "host-1".into(),
        },
    }
}

/// Compiles what must compile.
pub(super) fn plan(request: &Request) -> Plan {
    compile(request).unwrap_or_else(|diagnostics| panic!("{}", told(&diagnostics)))
}

/// Compiles what must not.
pub(super) fn refused(request: &Request) -> Vec<Diagnostic> {
    match compile(request) {
        Ok(plan) => panic!("compiled: {:?}", plan.steps()),
        Err(diagnostics) => diagnostics,
    }
}

/// Diagnostics as text, for the message of a failed assertion.
pub(super) fn told(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(one).collect::<Vec<_>>().join("\n")
}

fn one(diagnostic: &Diagnostic) -> String {
    let mut text = format!("error[{}]: {}", diagnostic.code.as_str(), diagnostic.what);
    for place in &diagnostic.places {
        text = format!("{text}\n  --> {}:{}:{}", place.file, place.line, place.column);
        if let Some(excerpt) = &place.excerpt {
            let pad = " ".repeat(excerpt.start as usize);
            let mark = "^".repeat((excerpt.end - excerpt.start) as usize);
            text = format!("{text}\n   | {}\n   | {pad}{mark} {}", excerpt.text, place.label);
        }
    }
    for (name, value) in [("why", &diagnostic.why), ("help", &diagnostic.help)] {
        text = format!("{text}\n  {name}: {}", value.as_deref().unwrap_or("-"));
    }
    text
}
