//! The manuals are true: manifests in them compile, commands in them run, links lead somewhere, each error is explained.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use strongroom::diagnostic::Code;
use strongroom::pipeline::{Purpose, Request, RunValues, compile, list_environments, list_pipelines};

use crate::pages::{Page, page, pages, project};
use crate::transcript::{self, Scratch};

/// Pages whose commands are run, each by a test of its own below.
const RUN: &[&str] = &[
    "README.md",
    "docs/DATA_MANAGEMENT.md",
    "docs/FORMAT.md",
    "docs/KEYS.md",
    "docs/MANIFEST.md",
];

/// Files that a page names: `toml title="pipelines/nightly.toml"` is one, `toml append="…"` adds to one.
pub(crate) fn named_files(page: &Page) -> BTreeMap<String, String> {
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    for block in page.blocks() {
        if let Some(name) = block.value("title") {
            let before = files.insert(name.to_owned(), block.text());
            assert!(before.is_none(), "{}: `{name}` stands twice", block.place);
        } else if let Some(name) = block.value("append") {
            let present = std::fs::read_to_string(project().join(name)).unwrap_or_default();
            let file = files.entry(name.to_owned()).or_insert(present);
            file.push('\n');
            file.push_str(&block.text());
        }
    }
    files
}

#[test]
fn every_toml_block_is_toml_and_whole_manifests_say_their_file() {
    for page in pages() {
        for block in page.blocks().iter().filter(|block| block.language == "toml") {
            let table: toml::Table = toml::from_str(&block.text()).unwrap_or_else(|e| panic!("{}: {e}", block.place));
            let whole = table.contains_key("schema-version");
            let named = block.value("title").or(block.value("wrong"));
            assert!(
                !whole || named.is_some(),
                "{}: a whole manifest needs `title=\"pipelines/….toml\"` behind the fence",
                block.place
            );
        }
    }
}

#[test]
fn every_manifest_in_the_manuals_compiles_in_every_environment() {
    for page in pages() {
        let files = named_files(&page);
        if files.is_empty() {
            continue;
        }
        let scratch = Scratch::new();
        scratch.write(&files);
        compile_all(&scratch.project(), &page.path.display().to_string());
    }
}

#[test]
fn every_shipped_manifest_compiles_in_every_environment() {
    compile_all(project(), "the project");
}

fn compile_all(folder: &Path, whose: &str) {
    let pipelines = list_pipelines(folder).unwrap();
    let environments = list_environments(folder).unwrap();
    assert!(!pipelines.is_empty() && !environments.is_empty());
    for pipeline in &pipelines {
        for environment in &environments {
            let request = Request {
                project: folder.to_owned(),
                pipeline: pipeline.name.to_string(),
                environment: environment.clone(),
                sets: Vec::new(),
                args: BTreeMap::new(),
                purpose: Purpose::Validate,
                run: RunValues {
                    id: "01920f6e-2b9c-7000-8000-0242ac120002".to_owned(),
                    timestamp: "2026-11-21T21:51:00Z".to_owned(),
                    host: "example".to_owned(),
                },
            };
            if let Err(problems) = compile(&request) {
                panic!("{whose}: {} in {}: {problems:#?}", pipeline.name, environment);
            }
        }
    }
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut broken = Vec::new();
    for page in pages() {
        for (line, link) in page.links() {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = link
                .split_once('#')
                .map_or((link.as_str(), None), |(f, a)| (f, Some(a)));
            let path = project().join(page.path.parent().unwrap()).join(file);
            let found = file.is_empty() || path.exists();
            let anchored = anchor.is_none_or(|anchor| {
                let anchors = if file.is_empty() {
                    page.anchors()
                } else {
                    let text = std::fs::read_to_string(&path).unwrap_or_default();
                    Page {
                        path: file.into(),
                        text,
                    }
                    .anchors()
                };
                anchors.iter().any(|known| known == anchor)
            });
            if !found || !anchored {
                broken.push(format!("{}:{line}: {link}", page.path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_error_has_a_heading_and_every_heading_is_an_error() {
    let headings = page("docs/errors.md").headings();
    let explained: Vec<&str> = headings
        .iter()
        .filter(|(level, _)| *level == 3)
        .map(|(_, text)| text.as_str())
        .collect();
    let unique: BTreeSet<&str> = explained.iter().copied().collect();
    let known: BTreeSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(unique, known);
    assert_eq!(explained.len(), unique.len(), "a heading stands twice");
}

#[test]
fn every_error_is_explained_with_its_exit_code() {
    let text = page("docs/errors.md").text;
    for code in Code::ALL {
        let heading = format!("### {}\n\n({}) ", code.as_str(), code.exit().number());
        assert!(text.contains(&heading), "docs/errors.md does not have:\n{heading}");
    }
}

/// Keys that a source file puts into a result, beyond those that every result has.
fn keys_of_results(source: &str) -> BTreeSet<String> {
    let code = source.split("#[cfg(test)]\nmod tests").next().unwrap();
    let code: String = code.split_whitespace().collect::<Vec<_>>().join(" ");
    let code = code.replace("( ", "(").replace(" .", ".");
    let mut keys = BTreeSet::new();
    for call in [".field(\"", ".listed_field(\"", "json.insert(\""] {
        for found in code.split(call).skip(1) {
            keys.insert(found.split('"').next().unwrap().to_owned());
        }
    }
    for found in code.split("begin_list(\"").skip(1) {
        keys.extend(found.split('"').nth(2).map(str::to_owned));
    }
    keys
}

fn sources_below(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(std::fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn every_key_of_a_result_is_explained_and_every_explained_key_is_one() {
    let mut sources = Vec::new();
    for folder in ["src/commands", "src/pipeline/run", "src/cli"] {
        sources_below(&project().join(folder), &mut sources);
    }
    let known: BTreeSet<String> = sources.iter().flat_map(|source| keys_of_results(source)).collect();
    let page = page("docs/RESULTS.md").text;
    let table = page.split("\n## Keys\n").nth(1).unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    let rows: Vec<&str> = rows.map(|row| row.split('`').next().unwrap()).collect();
    let explained: BTreeSet<String> = rows.iter().map(|row| (*row).to_owned()).collect();
    assert!(known.len() > 80, "{known:?}");
    assert_eq!(known, explained);
    assert!(rows.is_sorted(), "{rows:?}");
}

#[test]
fn a_key_of_a_result_is_found_however_it_is_written() {
    let source = "outcome.field(\"one\", 1);\n self\n  .outcome\n .field(\n  \"two\",\n 2);\n outcome\n .json\n \
                  .insert(\"three\".into(), x);\n results.begin_list(\"ls\", \"four\")?;\n#[cfg(test)]\nmod tests { \
                  outcome.field(\"none\", 1); }";
    let keys: Vec<String> = keys_of_results(source).into_iter().collect();
    assert_eq!(keys, ["four", "one", "three", "two"]);
}

#[test]
fn every_page_with_commands_is_run() {
    for page in pages() {
        let has = page.blocks().iter().any(|block| block.language == "console");
        let run = RUN.iter().any(|path| Path::new(path) == page.path);
        assert!(
            !has || run,
            "{} has console blocks and no test runs them",
            page.path.display()
        );
    }
}

#[test]
fn the_readme_runs_word_for_word() {
    transcript::run(&page("README.md"));
}

#[test]
fn the_page_on_data_management_runs_word_for_word() {
    transcript::run(&page("docs/DATA_MANAGEMENT.md"));
}

#[test]
fn the_page_on_keys_runs_word_for_word() {
    transcript::run(&page("docs/KEYS.md"));
}

#[test]
fn the_page_on_the_format_runs_word_for_word() {
    transcript::run(&page("docs/FORMAT.md"));
}

#[test]
fn the_page_on_manifests_runs_word_for_word() {
    transcript::run(&page("docs/MANIFEST.md"));
}
