//! What must be true of a source for its capture to count.

use std::fs;

use crate::projects::Project;

/// A project with one `files` source, `data`, that holds ten files of a thousand bytes.
fn project(settings: &str) -> Project {
    let project = Project::new(&data(settings));
    for number in 0..10 {
        project.write(&format!("data/f{number}"), &"x".repeat(1000));
    }
    project
}

fn data(settings: &str) -> String {
    format!("[[step.source]]\nname = \"data\"\ntype = \"files\"\npath = \"data\"\n{settings}\n")
}

/// The next backup is refused with `code`, and nothing is stored.
fn is_refused(project: &Project, code: &str) -> String {
    let before = project.backups();
    let (found, said) = project.backup(&[]).ended(5).problem();
    assert_eq!(found, code, "{said}");
    assert!(said.contains("`data`") && said.contains("no backup was made"), "{said}");
    assert_eq!(project.backups(), before);
    said
}

#[test]
fn a_source_that_is_missing_or_empty_stops_the_run_unless_it_may_be() {
    let project = project("");
    project.backup(&[]).ended(0);
    fs::remove_dir_all(project.path("data")).unwrap();
    is_refused(&project, "source-missing");
    fs::create_dir(project.path("data")).unwrap();
    let said = is_refused(&project, "source-empty");
    assert!(said.contains("not mounted") && said.contains("allow-empty"), "{said}");
    project.pipeline("backup", &data("allow-empty = true"));
    project.backup(&[]).ended(0);
    fs::remove_dir(project.path("data")).unwrap();
    let id = project.backup(&[]).ended(0).id();
    // What was not there replaces nothing when it comes back.
    project.write("data/new", "since then");
    project.run(&["verify", &id, "--env", "dev"]).ended(0);
    let restored = project.restore(&id, &[]).ended(0);
    assert_eq!(restored.json["restored"], serde_json::json!([]));
    assert_eq!(fs::read(project.path("data/new")).unwrap(), b"since then");
}

#[test]
fn logs_and_databases_that_are_not_there_are_guarded_as_files_are() {
    for (kind, path) in [
        ("append-log", "log/*.jsonl"),
        ("sqlite", "db"),
        ("append-log", "log"),
        ("sqlite", "db/*.db"),
    ] {
        let source = |settings: &str| {
            format!("[[step.source]]\nname = \"data\"\ntype = \"{kind}\"\npath = \"{path}\"\n{settings}\n")
        };
        let project = Project::new(&source(""));
        is_refused(&project, "source-missing");
        fs::create_dir(project.path(path.split('/').next().unwrap())).unwrap();
        is_refused(&project, "source-empty");
        project.pipeline("backup", &source("allow-empty = true"));
        project.backup(&[]).ended(0);
        project.restore("latest", &[]).ended(0);
    }
}

#[test]
fn too_little_or_much_less_than_before_stops_the_run() {
    let project = project("min-size = \"5 kB\"\nmax-shrink = \"25%\"");
    project.backup(&[]).ended(0);
    fs::write(project.path("data/f0"), "").unwrap();
    fs::write(project.path("data/f1"), "").unwrap();
    project.backup(&[]).ended(0);
    for number in 2..5 {
        fs::write(project.path(&format!("data/f{number}")), "").unwrap();
    }
    let said = is_refused(&project, "source-shrank");
    assert!(said.contains("4.8 KiB of 7.8 KiB") && said.contains("25%"), "{said}");
    project
        .backup(&["--set", "step.capture.source.data.max-shrink=\"50%\""])
        .ended(0);
    // It is entries that go now: the bytes are all in what stays.
    for number in 0..5 {
        fs::remove_file(project.path(&format!("data/f{number}"))).unwrap();
    }
    let said = is_refused(&project, "source-shrank");
    assert!(said.contains("6 of 11 entries"), "{said}");
    fs::write(project.path("data/f5"), "").unwrap();
    is_refused(&project, "source-too-small");
    project.environment("other", "");
    let first = project.run(&[
        "backup",
        "--env",
        "other",
        "--set",
        "step.capture.source.data.min-size=\"1 B\"",
    ]);
    first.ended(0);
}

#[test]
fn a_disk_without_its_sentinel_stops_the_run_before_anything_is_read() {
    let project = project("sentinel = \"marks/.mounted\"\nallow-empty = true");
    let said = is_refused(&project, "sentinel-missing");
    assert!(said.contains("marks/.mounted"), "{said}");
    project.write("data/marks/.mounted", "");
    project.backup(&[]).ended(0);
    fs::remove_dir_all(project.path("data")).unwrap();
    is_refused(&project, "sentinel-missing");
    let (code, said) = project.run(&["plan", "backup", "--env", "dev"]).ended(5).problem();
    assert_eq!(code, "sentinel-missing", "{said}");
    for outside in ["/etc/hosts", "../x", ""] {
        project.pipeline("backup", &data(&format!("sentinel = {outside:?}")));
        let (code, said) = project.backup(&[]).ended(78).problem();
        assert_eq!(code, "invalid-value", "{said}");
    }
}
