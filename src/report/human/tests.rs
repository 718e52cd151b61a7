//! The look of a rendered outcome, line by line.

use super::*;
use crate::diagnostic::{Code, Excerpt};

fn place(file: &str, line: u32, text: &str, marked: &str, label: &str) -> Place {
    let offset = text.find(marked).unwrap();
    let start = u32::try_from(text[..offset].chars().count()).unwrap();
    let end = start + u32::try_from(marked.chars().count()).unwrap();
    Place {
        file: file.into(),
        line,
        column: start + 1,
        label: label.into(),
        excerpt: Some(Excerpt {
            text: text.into(),
            start,
            end,
        }),
    }
}

fn unconfirmed() -> Diagnostic {
    let mut diagnostic = Diagnostic::error(
        Code::RetainUnconfirmed,
        "step `retention` would delete old backups without proof of the new one",
    )
    .at(place(
        "pipelines/backup.toml",
        31,
        "type = \"retain\"",
        "\"retain\"",
        "needs a `confirm` step before it",
    ))
    .why("a backup that was never read back must not replace one that was")
    .state("nothing was started")
    .help("add a step with `type = \"confirm\"` before `retention`");
    diagnostic.environment = Some("live".into());
    diagnostic
}

#[test]
fn a_problem_looks_as_the_style_guide_says() {
    assert_eq!(
        diagnostic(&unconfirmed(), Color::Plain),
        r#"error[retain-unconfirmed]: step `retention` would delete old backups without proof of the new one
  --> pipelines/backup.toml:31:8 (environment `live`)
   |
31 | type = "retain"
   |        ^^^^^^^^ needs a `confirm` step before it
  why:   a backup that was never read back must not replace one that was
  state: nothing was started
  help:  add a step with `type = "confirm"` before `retention`
"#
    );
}

#[test]
fn further_places_follow_and_share_one_gutter() {
    let told = Diagnostic::error(Code::DuplicateName, "two steps are called `pack`")
        .at(place(
            "pipelines/backup.toml",
            104,
            "id = \"pack\"",
            "\"pack\"",
            "again here",
        ))
        .at(place(
            "pipelines/backup.toml",
            9,
            "  id = \"pack\"",
            "\"pack\"",
            "first here",
        ));
    assert_eq!(
        diagnostic(&told, Color::Plain),
        r#"error[duplicate-name]: two steps are called `pack`
   --> pipelines/backup.toml:104:6
    |
104 | id = "pack"
    |      ^^^^^^ again here
   ::: pipelines/backup.toml:9:8
    |
  9 |   id = "pack"
    |        ------ first here
"#
    );
}

#[test]
fn a_mark_under_wide_characters_and_tabs_stays_aligned() {
    let told = Diagnostic::error(Code::UnknownKey, "unknown key `x`").at(place(
        "a.toml",
        7,
        "\tk = { 名 = 1, x = 2 }",
        "x",
        "",
    ));
    assert_eq!(
        diagnostic(&told, Color::Plain),
        "error[unknown-key]: unknown key `x`\n --> a.toml:7:15\n  |\n7 |     k = { 名 = 1, x = 2 }\n  |                   ^\n"
    );
}

#[test]
fn a_problem_without_a_place_names_step_pipeline_and_environment() {
    let mut told =
        Diagnostic::warning(Code::TargetLeftOut, "target `offsite` was left out").why("it\ncannot be reached");
    told.step = Some("store".into());
    told.pipeline = Some("backup".into());
    told.environment = Some("live".into());
    assert_eq!(
        diagnostic(&told, Color::Plain),
        "warning[target-left-out]: target `offsite` was left out\n  \
         --> step `store` of pipeline `backup` (environment `live`)\n  \
         why:   it\n         cannot be reached\n"
    );
}

#[test]
fn foreign_text_cannot_draw_on_the_terminal() {
    let told = Diagnostic::warning(Code::SourceUnreadable, "`a\u{1b}[2J\r\u{202e}b` cannot be read");
    assert_eq!(
        diagnostic(&told, Color::Plain),
        "warning[source-unreadable]: `a\\u{1b}[2J\\r\\u{202e}b` cannot be read\n"
    );
}

#[test]
fn an_outcome_is_a_sentence_aligned_facts_and_tables() {
    let mut outcome = Outcome::new("list", "2 backups in `dev`");
    outcome.field("newest", "Newest", "20261121T215100Z-9c41", "x");
    outcome.field("stored-bytes", "Stored", "3.4 MiB", 1);
    outcome.tables.push(Table {
        title: String::new(),
        columns: vec!["BACKUP".into(), "SIZE".into(), "TARGETS".into()],
        rows: vec![
            vec!["20261121T215100Z-9c41".into(), "3.4 MiB".into(), "local".into()],
            vec!["20261120T215100Z-0001".into(), "12 B".into(), String::new()],
        ],
    });
    let rendered = render(&outcome, &View::default());
    assert_eq!(
        rendered.result,
        "2 backups in `dev`\n  Newest  20261121T215100Z-9c41\n  Stored  3.4 MiB\n\n\
         BACKUP                    SIZE  TARGETS\n\
         20261121T215100Z-9c41  3.4 MiB  local\n\
         20261120T215100Z-0001     12 B\n"
    );
    assert_eq!(rendered.problems, "");
}

#[test]
fn a_failed_command_leaves_its_headline_and_facts_beside_the_problems() {
    let mut outcome = Outcome::failed("validate", "1 problem", vec![Diagnostic::error(Code::UnknownKey, "x")]);
    outcome.field("run", "run", "7", 7);
    outcome.text = Some("text".into());
    let rendered = render(&outcome, &View::default());
    assert_eq!(rendered.result, "text\n");
    assert_eq!(rendered.problems, "error[unknown-key]: x\n\n1 problem\n  run  7\n");
}

#[test]
fn quiet_leaves_problems_alone() {
    let mut outcome = Outcome::new("backup", "stored");
    outcome.diagnostics.push(Diagnostic::warning(Code::SourceChanging, "x"));
    let view = View {
        detail: Detail::Problems,
        ..View::default()
    };
    let rendered = render(&outcome, &view);
    assert_eq!(
        (rendered.result.as_str(), rendered.problems.as_str()),
        ("", "warning[source-changing]: x\n")
    );
}

#[test]
fn colour_is_there_only_when_asked_for() {
    let coloured = diagnostic(&unconfirmed(), Color::Ansi);
    assert!(coloured.contains("\u{1b}["));
    assert!(!diagnostic(&unconfirmed(), Color::Plain).contains('\u{1b}'));
}
