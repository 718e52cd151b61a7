//! Drills: a backup restored into nowhere, judged, removed, recorded.

use std::fs;

use serde_json::Value;

use crate::projects::Project;

const SOURCES: &str = r#"
[[step.source]]
name = "log"
type = "append-log"
path = "log"
[[step.source]]
name = "data"
type = "files"
path = "data"
"#;

fn project() -> Project {
    let project = Project::new(SOURCES);
    project.write("data/file", "old");
    project.write("log/1", "one\ntwo\n");
    project
}

fn drilled(project: &Project) -> Vec<Value> {
    let mut journal = project.journal("dev");
    journal.retain(|record| record["event"] == "drilled");
    journal
}

fn is_clean(project: &Project) -> bool {
    let spool = fs::read_dir(project.path(".strongroom/dev/spool")).map_or(0, Iterator::count);
    spool == 0 && fs::read_to_string(project.path("data/file")).unwrap() == "new"
}

#[test]
fn a_drill_needs_no_file_judges_the_newest_backup_leaves_nothing_and_is_recorded() {
    let project = project();
    let first = project.backup(&[]).ended(0).id();
    project.write("data/file", "new");
    let second = project.backup(&[]).ended(0).id();
    let ran = project.run(&["drill", "--env", "dev"]).ended(0);
    assert_eq!(
        (ran.json["command"].as_str(), ran.id()),
        (Some("drill"), second.clone())
    );
    assert!(ran.json["judged"].as_str().unwrap().contains("2 records of `log`"));
    assert!(
        ran.json["headline"]
            .as_str()
            .unwrap()
            .contains("unpacked, judged and removed again")
    );
    project.run(&["drill", &first, "--env", "dev"]).ended(0);
    assert!(is_clean(&project));
    let records = drilled(&project);
    let facts: Vec<_> = records
        .iter()
        .map(|r| (r["status"].as_str().unwrap(), r["backup"].as_str().unwrap()))
        .collect();
    assert_eq!(facts, [("ok", second.as_str()), ("ok", first.as_str())]);
    assert_eq!(records[0]["entries"], 4);
    assert!(records[0]["message"].as_str().unwrap().contains("2 records of `log`"));
    assert_eq!(records[0]["pipeline"], "drill");
}

#[test]
fn a_drill_that_fails_says_so_leaves_nothing_and_is_recorded() {
    let project = project();
    // Without a backup it fails too: nobody could restore.
    project.run(&["drill", "--env", "dev"]).ended(10);
    let id = project.backup(&[]).ended(0).id();
    project.write("data/file", "new");
    let ran = project
        .run(&["drill", "--env", "dev", "--set", "step.sound.max-age=0s"])
        .ended(4);
    assert_eq!(ran.problem().0, "assert-failed");
    assert!(is_clean(&project));
    let archive = project.path(&format!("backups/archives/dev/{id}.tar.zst"));
    let mut bytes = fs::read(&archive).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&archive, bytes).unwrap();
    assert_eq!(project.run(&["drill", "--env", "dev"]).ended(4).problem().0, "damaged");
    assert!(is_clean(&project));
    let facts: Vec<(Value, Value, Value)> = drilled(&project)
        .into_iter()
        .map(|record| {
            (
                record["status"].clone(),
                record["code"].clone(),
                record["backup"].clone(),
            )
        })
        .collect();
    let failed = |code: &str, backup: Value| (Value::from("failed"), Value::from(code), backup);
    assert_eq!(
        facts,
        [
            failed("backup-unknown", Value::Null),
            failed("assert-failed", id.as_str().into()),
            failed("damaged", id.as_str().into())
        ]
    );
}

#[test]
fn what_is_unpacked_into_a_folder_is_no_drill() {
    let project = project();
    project.backup(&[]).ended(0);
    project.run(&["run", "drill", "--env", "dev", "--to", "look"]).ended(0);
    assert!(project.path("look/data/file").exists());
    assert!(drilled(&project).is_empty());
    project.run(&["drill", "--dry-run", "--env", "dev"]).ended(0);
    assert!(drilled(&project).is_empty());
}
