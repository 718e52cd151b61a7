//! A target that is gone, and the newest backup with it: whoever reads is told, and an older backup is not taken for the newest.

use std::fs;

use serde_json::Value;

use crate::chunks::{SOURCES, objects};
use crate::projects::{Project, Ran};
use crate::sealed::{Sealed, planted};

const DATA: &str = "[[step.source]]\nname = \"data\"\ntype = \"files\"\npath = \"data\"";

/// A project with two targets, of which `second` alone has the newest of two backups; gives its id and that of the older.
fn project() -> (Project, String, String) {
    let project = Project::new(DATA);
    let pipeline = fs::read_to_string(project.path("pipelines/backup.toml")).unwrap();
    let both = pipeline.replace(r#"targets = ["local"]"#, r#"targets = ["local", "second"]"#);
    project.write("pipelines/backup.toml", &both);
    project.environment("dev", "instance = \"host\"\n[target.second]\nurl = \"file:second\"");
    project.write("data/file", "old");
    let older = project.backup(&[]).ended(0).id();
    project.write("data/file", "new");
    let newest = project.backup(&["--target", "second"]).ended(0).id();
    (project, newest, older)
}

fn codes(ran: &Ran) -> Vec<&str> {
    let told = ran.json["diagnostics"].as_array().unwrap();
    told.iter().map(|one| one["code"].as_str().unwrap()).collect()
}

fn said<'r>(ran: &'r Ran, code: &str) -> &'r Value {
    let mut told = ran.json["diagnostics"].as_array().unwrap().iter();
    told.find(|one| one["code"] == code).unwrap()
}

#[test]
fn every_verb_that_reads_names_a_target_that_is_gone_and_the_newer_backup_in_it() {
    let (project, newest, older) = project();
    project.run(&["list", "--env", "dev"]).ended(0);
    fs::rename(project.path("second"), project.path("unmounted")).unwrap();
    for words in [
        &["list"][..],
        &["show", "latest"],
        &["verify", "latest"],
        &["ls", "latest"],
        &["plan", "restore", "latest"],
        &["drill"],
        &["restore", "latest", "--to", "out"],
    ] {
        let ran = project.run(&[words, &["--env", "dev"]].concat()).ended(3);
        assert_eq!(
            codes(&ran),
            ["target-vanished", "newer-known"],
            "{words:?}\n{:#}",
            ran.json
        );
        let gone = said(&ran, "target-vanished");
        assert!(gone["what"].as_str().unwrap().contains("`second`"), "{gone:#}");
        assert!(gone["why"].as_str().unwrap().contains(&newest), "{gone:#}");
        assert_eq!(gone["severity"], "warning");
        let newer = said(&ran, "newer-known");
        assert!(newer["what"].as_str().unwrap().contains(&newest), "{newer:#}");
    }
    assert_eq!(fs::read_to_string(project.path("out/data/file")).unwrap(), "old");
    // Who names the older one knows what it is.
    let ran = project.run(&["show", &older, "--env", "dev"]).ended(3);
    assert_eq!(codes(&ran), ["target-vanished"]);
    // Another disk in its place is told too.
    fs::create_dir(project.path("second")).unwrap();
    let text = r#"{"format": 1, "repository": "00000000000000000000000000000000"}"#;
    fs::write(project.path("second/repository.json"), text).unwrap();
    let ran = project.run(&["list", "--env", "dev"]).ended(3);
    assert_eq!(codes(&ran), ["target-vanished", "newer-known"]);
    assert!(
        said(&ran, "target-vanished")["what"]
            .as_str()
            .unwrap()
            .contains("another repository")
    );
    // Back again, nothing is missed.
    fs::remove_dir_all(project.path("second")).unwrap();
    fs::rename(project.path("unmounted"), project.path("second")).unwrap();
    let ran = project.run(&["show", "latest", "--env", "dev"]).ended(0);
    assert_eq!(ran.json["id"], newest.as_str());
}

#[test]
fn a_target_that_is_not_asked_and_has_a_newer_backup_is_told_where_the_newest_is_taken() {
    let (project, newest, older) = project();
    project.run(&["list", "--env", "dev", "--target", "local"]).ended(0);
    let ran = project
        .restore("latest", &["--to", "out", "--target", "local"])
        .ended(3);
    assert_eq!((ran.id(), codes(&ran)), (older, vec!["newer-known"]));
    assert!(said(&ran, "newer-known")["what"].as_str().unwrap().contains(&newest));
    assert_eq!(said(&ran, "newer-known")["why"], "`second` was not read");
}

#[test]
fn where_the_only_target_is_gone_it_is_not_said_that_there_is_no_backup() {
    let project = Project::new("[[step.source]]\nname = \"data\"\ntype = \"files\"\npath = \"data\"");
    project.write("data/file", "x");
    project.run(&["list", "--env", "dev"]).ended(0);
    project.backup(&[]).ended(0);
    fs::rename(project.path("backups"), project.path("unmounted")).unwrap();
    for words in [
        &["list"][..],
        &["show", "latest"],
        &["restore", "latest", "--to", "out"],
    ] {
        let ran = project.run(&[words, &["--env", "dev"]].concat()).ended(5);
        assert_eq!(ran.problem().0, "target-vanished", "{words:?}\n{:#}", ran.json);
    }
    // Without what the state folder remembers, a target is taken as it is.
    fs::remove_dir_all(project.path(".strongroom")).unwrap();
    project.run(&["list", "--env", "dev"]).ended(0);
    let (code, _) = project.run(&["show", "latest", "--env", "dev"]).ended(10).problem();
    assert_eq!(code, "backup-unknown");
}

#[test]
fn a_backup_that_was_let_go_is_not_missed() {
    let (project, newest, older) = project();
    let forget = ["forget", &newest, "--even-newest", "--env", "dev"];
    project.run(&forget).ended(0);
    let ran = project.run(&["show", "latest", "--env", "dev"]).ended(0);
    assert_eq!(ran.json["id"], older.as_str());
    // One that went in another way is, until there is a newer one.
    let again = project.backup(&["--target", "second"]).ended(0).id();
    fs::remove_file(project.path(&format!("second/backups/dev/{again}.json"))).unwrap();
    let ran = project.run(&["list", "--env", "dev"]).ended(3);
    assert_eq!(codes(&ran), ["newer-known"]);
    project.backup(&[]).ended(0);
    project.run(&["list", "--env", "dev"]).ended(0);
}

#[test]
fn who_keeps_targets_in_order_is_told_of_one_that_is_gone_and_goes_on_with_the_others() {
    let (project, newest, older) = project();
    fs::rename(project.path("second"), project.path("unmounted")).unwrap();
    for words in [
        &["forget", &older, "--even-newest", "--dry-run"][..],
        &["sweep", "--dry-run"],
        &["sweep"],
        &["keys", "show"],
        &["retention", "--policy", "keep-daily=7"],
        &["forget", &older, "--even-newest"],
    ] {
        let ran = project.run(&[words, &["--env", "dev"]].concat()).ended(3);
        assert!(codes(&ran).contains(&"target-vanished"), "{words:?}\n{:#}", ran.json);
        let gone = said(&ran, "target-vanished");
        assert_eq!(gone["severity"], "warning", "{words:?}");
        assert!(gone["why"].as_str().unwrap().contains(&newest), "{gone:#}");
    }
    assert!(!project.path("second").exists() || fs::read_dir(project.path("second")).unwrap().next().is_none());
    // What is not found where it was is not said to be unknown and nothing more.
    let ran = project.run(&["forget", &newest, "--env", "dev"]).ended(10);
    assert_eq!(codes(&ran), ["backup-unknown", "target-vanished"]);
    fs::remove_dir_all(project.path("second")).ok();
    fs::rename(project.path("unmounted"), project.path("second")).unwrap();
    project.run(&["sweep", "--env", "dev"]).ended(0);
}

#[test]
fn keys_are_never_put_beside_lost_backups() {
    let sealed = Sealed::new(SOURCES);
    let project = &sealed.project;
    planted(project);
    sealed.backup(0);
    let add = || project.run(&["keys", "add", "--env", "dev", "--identity", "one.key"]);
    add().ended(0);
    fs::rename(project.path("backups"), project.path("unmounted")).unwrap();
    fs::create_dir(project.path("backups")).unwrap();
    for words in [&["keys", "add", "--identity", "one.key"][..], &["keys", "rotate"]] {
        let ran = project.run(&[words, &["--env", "dev"]].concat()).ended(5);
        assert_eq!(ran.problem().0, "target-vanished", "{:#}", ran.json);
        assert!(objects(project, "").is_empty(), "{words:?}");
    }
    fs::remove_dir(project.path("backups")).unwrap();
    fs::rename(project.path("unmounted"), project.path("backups")).unwrap();
    add().ended(0);
}
