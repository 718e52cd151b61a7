//! Runs `console` blocks of a page in a copy of the project, and compares what comes with what the page shows.
//!
//! `$ ` begins a command, `> ` continues it; what follows is its output. A line `...` stands for any number of lines,
//! `...` in a line for any text. A command must succeed unless `# exit N` stands at the end of its output.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::pages::{Page, project};

/// A copy of the project without what is built or made at run time, and a PATH that has the program.
pub(crate) struct Scratch {
    folder: tempfile::TempDir,
}

const COPIED: &[&str] = &[
    "Makefile",
    "README.md",
    ".env.template",
    "pipelines",
    "schemas",
    "scripts",
    "docs",
];

impl Scratch {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Self { folder };
        for name in COPIED {
            copy(&project().join(name), &scratch.project().join(name));
        }
        let bin = scratch.folder.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        std::os::unix::fs::symlink(program(), bin.join("strongroom")).unwrap();
        std::os::unix::fs::symlink(service(), bin.join("service")).unwrap();
        std::fs::create_dir(scratch.folder.path().join("home")).unwrap();
        scratch
    }

    pub(crate) fn project(&self) -> PathBuf {
        self.folder.path().join("project")
    }

    /// Writes files that a page names.
    pub(crate) fn write(&self, files: &BTreeMap<String, String>) {
        for (name, text) in files {
            let path = self.project().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
    }

    /// A command by bash in the project, with nothing of this process's environment.
    pub(crate) fn bash(&self, script: &str) -> Command {
        let mut command = Command::new("bash");
        let bin = self.folder.path().join("bin");
        command
            .args(["-c", &format!("umask 022; {script}")])
            .current_dir(self.project())
            .env_clear()
            .env(
                "PATH",
                format!(
                    "{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                    bin.display()
                ),
            )
            .env("HOME", self.folder.path().join("home"))
            .env("LANG", "C.UTF-8")
            .env("TZ", "UTC")
            .env("STRONGROOM", program())
            .stdin(Stdio::null());
        command
    }
}

/// The program under test.
pub(crate) fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_strongroom"))
}

/// The example service, built beside the program.
pub(crate) fn service() -> PathBuf {
    let path = program().parent().unwrap().join("examples/service");
    assert!(
        path.exists(),
        "{} is missing: cargo build --example service",
        path.display()
    );
    path
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(from, to).unwrap();
        std::fs::set_permissions(to, std::fs::metadata(from).unwrap().permissions()).unwrap();
        assert!(std::fs::metadata(to).unwrap().permissions().mode() & 0o400 != 0);
    }
}

struct Call {
    place: String,
    command: String,
    output: Vec<String>,
    exit: i32,
}

fn calls(page: &Page) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    for block in page.blocks().into_iter().filter(|block| block.language == "console") {
        let first = calls.len();
        for line in &block.lines {
            if let Some(command) = line.strip_prefix("$ ") {
                calls.push(Call {
                    place: block.place.clone(),
                    command: command.to_owned(),
                    output: Vec::new(),
                    exit: 0,
                });
                continue;
            }
            assert!(calls.len() > first, "{}: output before a command", block.place);
            let call = calls.last_mut().unwrap();
            if let Some(more) = line.strip_prefix("> ") {
                call.command.push('\n');
                call.command.push_str(more);
            } else if let Some(code) = line.strip_prefix("# exit ") {
                call.exit = code.trim().parse().unwrap();
            } else {
                call.output.push(line.clone());
            }
        }
    }
    calls
}

/// Runs every `console` block of the page, in order, in one copy of the project.
pub(crate) fn run(page: &Page) {
    let scratch = Scratch::new();
    scratch.write(&crate::docs::named_files(page));
    for block in page.blocks() {
        if let Some(name) = block.value("wrong") {
            scratch.write(&[(name.to_owned(), block.text())].into());
        }
    }
    let calls = calls(page);
    assert!(!calls.is_empty(), "{} has no console block", page.path.display());
    // One shell for the whole page, as a reader has it: variables and the current folder last.
    let mut script = String::from("exec 2>&1\n");
    for call in &calls {
        script.push_str(&call.command);
        script.push_str("\nprintf '\\n%s %s\\n' '");
        script.push_str(MARK);
        script.push_str("' $?\n");
    }
    let output = scratch.bash(&script).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut rest = text.as_str();
    for call in calls {
        let Call {
            place, command, exit, ..
        } = &call;
        let Some((said, after)) = rest.split_once(&format!("\n{MARK} ")) else {
            panic!("{place}: the shell ended in $ {command}\n{rest}");
        };
        let (status, after) = after.split_once('\n').unwrap();
        rest = after;
        assert_eq!(status, exit.to_string(), "{place}: $ {command}\n{said}");
        let shown: Vec<&str> = call.output.iter().map(|line| line.trim_end()).collect();
        let lines: Vec<&str> = said.lines().map(str::trim_end).collect();
        assert!(
            fits(&shown, &lines),
            "{place}: $ {command}\n--- the page shows\n{}\n--- the program says\n{said}",
            call.output.join("\n")
        );
    }
}

/// Ends the output of each command.
const MARK: &str = "-- 8< --";

fn fits(shown: &[&str], lines: &[&str]) -> bool {
    match shown.split_first() {
        None => lines.is_empty(),
        Some((&"...", rest)) => (0..=lines.len()).any(|skip| fits(rest, &lines[skip..])),
        Some((line, rest)) => lines
            .split_first()
            .is_some_and(|(first, more)| line_fits(line, first) && fits(rest, more)),
    }
}

fn line_fits(shown: &str, line: &str) -> bool {
    let Some((head, tail)) = shown.split_once("...") else {
        return shown == line;
    };
    let Some(rest) = line.strip_prefix(head) else {
        return false;
    };
    let starts = rest.char_indices().map(|(index, _)| index).chain([rest.len()]);
    starts.into_iter().any(|index| line_fits(tail, &rest[index..]))
}

#[test]
fn dots_stand_for_any_lines_and_any_text() {
    assert!(fits(&["a", "...", "z"], &["a", "b", "c", "z"]));
    assert!(fits(&["..."], &[]));
    assert!(fits(&["id ...-... of ..."], &["id 2026-9c41 of dev"]));
    assert!(!fits(&["a", "..."], &["b"]));
    assert!(!fits(&["a"], &["a", "b"]));
}
