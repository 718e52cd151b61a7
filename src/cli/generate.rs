//! Files that are written from tables and doc comments, never by hand, and the verbs that give them out: `completions`,
//! `man`, and the hidden `generate` behind `make generate`.

mod command_line;
mod journal;
mod reference;

use std::path::Path;

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::diagnostic::{Code, Diagnostic};
use crate::fs::atomic;
use crate::outcome::{ExitCode, Outcome, Table};
use crate::pipeline;

use super::args::Cli;
use super::request::Compare;

const NAME: &str = "strongroom";
/// Folders in which every file is generated, so that one that is no longer generated can be told.
const WHOLE_FOLDERS: [&str; 2] = ["docs/reference/man", "docs/reference/completions"];
/// Shells whose completion scripts lie in the repository; `completions` knows more.
const SHELLS: [(Shell, &str); 3] = [
    (Shell::Bash, "strongroom.bash"),
    (Shell::Zsh, "_strongroom"),
    (Shell::Fish, "strongroom.fish"),
];

/// Every generated file that comes from the tables of this floor and below, the schemas aside: its path below the project
/// folder, and its text.
pub fn generated() -> Vec<(String, String)> {
    let pipeline = pipeline::pipeline_schema();
    let pages = [
        ("cli.md", command_line::page(&command())),
        ("exit-codes.md", command_line::exit_codes()),
        ("steps.md", reference::steps(pipeline)),
        ("sources.md", reference::sources(pipeline)),
        ("journal.md", journal::page()),
        ("environment.md", reference::environment(pipeline::environment_schema())),
    ];
    let mut files: Vec<(String, String)> = pages
        .into_iter()
        .map(|(name, text)| (format!("docs/reference/{name}"), text))
        .collect();
    for (shell, name) in SHELLS {
        files.push((format!("docs/reference/completions/{name}"), completion_script(shell)));
    }
    for (name, text) in man_pages() {
        files.push((format!("docs/reference/man/{name}"), text));
    }
    files
}

/// The command line, complete, and laid out the same whatever terminal this runs in.
fn command() -> Command {
    let mut command = Cli::command().term_width(100);
    command.build();
    command
}

/// The completion script of a shell.
pub(super) fn completions(shell: Shell) -> Outcome {
    let mut outcome = Outcome::new("completions", "");
    outcome.text = Some(completion_script(shell));
    outcome
}

fn completion_script(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), NAME, &mut script);
    lines_as_they_should_be(&script)
}

/// The first man page as the result, or one for each verb into `folder`.
pub(super) fn man(folder: Option<&Path>) -> Outcome {
    let Some(folder) = folder else {
        let mut outcome = Outcome::new("man", "");
        outcome.text = Some(man_page(&command()));
        return outcome;
    };
    let pages = man_pages();
    let written = std::fs::create_dir_all(folder)
        .map_err(|error| (folder.to_owned(), error))
        .and_then(|()| {
            pages.iter().try_for_each(|(name, text)| {
                let path = folder.join(name);
                atomic::write(&path, 0o644, text.as_bytes()).map_err(|error| (path, error))
            })
        });
    match written {
        Ok(()) => Outcome::new("man", format!("{} man pages are in {}", pages.len(), folder.display())),
        Err((path, error)) => Outcome::failed("man", "", vec![*unwritten(&path, &error)]),
    }
}

/// The man page of the program and of each verb that is not hidden: file name and text.
fn man_pages() -> Vec<(String, String)> {
    let mut pages = Vec::new();
    collect_man_pages(&command(), &mut pages);
    pages.sort();
    pages
}

fn collect_man_pages(command: &Command, pages: &mut Vec<(String, String)>) {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        collect_man_pages(below, pages);
    }
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    pages.push((format!("{name}.1"), man_page(command)));
}

fn man_page(command: &Command) -> String {
    let mut page = Vec::new();
    // Writing to memory does not fail.
    let _ = Man::new(command.clone()).manual("strongroom").render(&mut page);
    lines_as_they_should_be(&page)
}

/// No blanks before a line's end, and one line end at the end of the file.
fn lines_as_they_should_be(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let lines: Vec<&str> = text.trim_end().lines().map(str::trim_end).collect();
    format!("{}\n", lines.join("\n"))
}

/// Writes every generated file below `project`, or compares them.
pub(super) fn generate(project: &Path, compare: Compare) -> Outcome {
    let schemas = pipeline::generated()
        .into_iter()
        .map(|(path, text)| (path.to_owned(), text));
    let files: Vec<(String, String)> = schemas.chain(generated()).collect();
    let mut changes: Vec<[String; 2]> = Vec::new();
    for (path, text) in &files {
        let state = match std::fs::read(project.join(path)) {
            Ok(present) if present == text.as_bytes() => continue,
            Ok(_) => "differs",
            Err(_) => "missing",
        };
        if compare == Compare::Write
            && let Err(problem) = write(project, path, text)
        {
            return Outcome::failed("generate", "", vec![*problem]);
        }
        changes.push([path.clone(), state.to_owned()]);
    }
    changes.extend(left_over(project, &files).map(|path| [path, "no longer generated: remove it".to_owned()]));
    summary(files.len(), &changes, compare)
}

fn summary(files: usize, changes: &[[String; 2]], compare: Compare) -> Outcome {
    let (headline, exit) = match (changes.is_empty(), compare) {
        (true, _) => (format!("{files} generated files are as they should be"), ExitCode::Done),
        (false, Compare::Write) => (
            format!("{} of {files} generated files changed", changes.len()),
            ExitCode::Done,
        ),
        (false, Compare::Check) => {
            let what = format!(
                "{} of {files} generated files are not as they should be: run `make generate`",
                changes.len()
            );
            (what, ExitCode::Failed)
        }
    };
    let mut outcome = Outcome::new("generate", headline);
    outcome.exit = Some(exit);
    if !changes.is_empty() {
        outcome.tables.push(Table {
            title: String::new(),
            columns: vec!["FILE".into(), "WAS".into()],
            rows: changes.iter().map(|change| change.to_vec()).collect(),
        });
    }
    let listed = changes.iter().map(|[path, _]| path.as_str().into()).collect();
    outcome.json.insert("changed".into(), serde_json::Value::Array(listed));
    outcome
}

fn write(project: &Path, path: &str, text: &str) -> Result<(), Box<Diagnostic>> {
    let path = project.join(path);
    let folder = path.parent().unwrap_or(project);
    std::fs::create_dir_all(folder).map_err(|error| unwritten(folder, &error))?;
    atomic::write(&path, 0o644, text.as_bytes()).map_err(|error| unwritten(&path, &error))
}

/// Files in the folders that hold nothing but generated files, and that are not among `files`.
fn left_over(project: &Path, files: &[(String, String)]) -> impl Iterator<Item = String> {
    let mut found: Vec<String> = WHOLE_FOLDERS
        .iter()
        .filter_map(|folder| Some((folder, std::fs::read_dir(project.join(folder)).ok()?)))
        .flat_map(|(folder, entries)| {
            let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
            names.map(move |name| format!("{folder}/{name}"))
        })
        .filter(|path| !files.iter().any(|(file, _)| file == path))
        .collect();
    found.sort();
    found.into_iter()
}

fn unwritten(path: &Path, error: &std::io::Error) -> Box<Diagnostic> {
    let what = format!("`{}` could not be written", path.display());
    Box::new(Diagnostic::error(Code::Internal, what).why(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_generated_is_found_to_be_as_it_should_be() {
        let project = tempfile::tempdir().unwrap();
        let path = project.path();
        assert_eq!(generate(path, Compare::Check).exit_code(), ExitCode::Failed);
        assert!(!path.join("docs").exists(), "comparing wrote something");
        assert_eq!(generate(path, Compare::Write).exit_code(), ExitCode::Done);
        assert_eq!(generate(path, Compare::Check).exit_code(), ExitCode::Done);

        let page = path.join("docs/reference/cli.md");
        std::fs::write(&page, "edited by hand").unwrap();
        let outcome = generate(path, Compare::Check);
        assert_eq!(outcome.tables[0].rows, [["docs/reference/cli.md", "differs"]]);
    }

    #[test]
    fn a_page_of_a_verb_that_is_gone_is_told() {
        let project = tempfile::tempdir().unwrap();
        generate(project.path(), Compare::Write);
        std::fs::write(project.path().join("docs/reference/man/strongroom-gone.1"), "").unwrap();
        let outcome = generate(project.path(), Compare::Check);
        assert_eq!(outcome.exit_code(), ExitCode::Failed);
        assert_eq!(outcome.tables[0].rows[0][0], "docs/reference/man/strongroom-gone.1");
    }

    #[test]
    fn each_visible_verb_has_a_man_page_and_a_heading() {
        let files = generated();
        let text = |path: &str| &files.iter().find(|(name, _)| name == path).unwrap().1;
        for verb in command().get_subcommands() {
            let name = verb.get_name();
            let page = format!("docs/reference/man/strongroom-{name}.1");
            assert_eq!(
                files.iter().any(|(path, _)| *path == page),
                !verb.is_hide_set(),
                "{name}"
            );
            let heading = format!("\n## `strongroom {name}`\n");
            assert_eq!(
                text("docs/reference/cli.md").contains(&heading),
                !verb.is_hide_set(),
                "{name}"
            );
        }
    }

    #[test]
    fn generating_twice_gives_the_same() {
        assert_eq!(generated(), generated());
    }
}
