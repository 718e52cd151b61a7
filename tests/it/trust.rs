//! What somebody else put into a target, or took from a state folder, and what a host makes of it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::chunks::{SOURCES, objects};
use crate::projects::{Project, Ran};
use crate::sealed::{Sealed, planted, problems};

/// A sealed project with something to back up.
fn sealed() -> Sealed {
    let sealed = Sealed::new(SOURCES);
    planted(&sealed.project);
    sealed
}

fn record(project: &Project, id: &str) -> Value {
    let path = project.path(&format!("backups/backups/dev/{id}.json"));
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Puts a record into the target that is `id`'s but for what `change` does to it, with sums, and without a signature.
fn forge(project: &Project, id: &str, forged: &str, change: impl FnOnce(&mut Value)) {
    let mut json = record(project, id);
    json["id"] = forged.into();
    change(&mut json);
    let path = format!("backups/backups/dev/{forged}.json");
    fs::write(project.path(&path), serde_json::to_vec_pretty(&json).unwrap()).unwrap();
    let sums = |id: &str| project.path(&format!("backups/sums/dev/{id}.b3"));
    fs::copy(sums(id), sums(forged)).unwrap();
}

fn copy(from: PathBuf, to: PathBuf) {
    let done = Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(done.success());
}

fn shown_epochs(sealed: &Sealed) -> Vec<String> {
    let shown = sealed.keys(&["show"]).ended(0);
    let epochs = shown.json["epochs"].as_array().unwrap();
    epochs
        .iter()
        .map(|epoch| epoch["epoch"].as_str().unwrap().to_owned())
        .collect()
}

/// The signer of this host, named in the environment with the recipients.
fn name_signer(sealed: &Sealed, more: &str) {
    let shown = sealed.keys(&["show"]).ended(0);
    let signer = shown.json["signer"].as_str().unwrap();
    let host = signer.split('+').next().unwrap();
    let recipients = &sealed.recipients;
    sealed.project.environment(
        "dev",
        &format!("{more}\n[signers]\n\"{host}\" = \"{signer}\"\n[encryption]\nrecipients = {recipients:?}\n"),
    );
}

#[test]
fn keys_add_seals_no_epoch_of_another_environment() {
    let mut sealed = sealed();
    let live = format!("protected = true\n[encryption]\nrecipients = {:?}\n", sealed.recipients);
    sealed.project.environment("live", &live);
    let first = sealed.backup(0).id();
    let of_live = sealed.project.run(&["backup", "--env", "live"]).ended(0);
    let before = objects(&sealed.project, "keys");
    assert_eq!(before.len(), 2);
    // A key that no backup knows of.
    fs::write(
        sealed.project.path("backups/keys/0123456789abcdef-01234567.age"),
        b"planted",
    )
    .unwrap();
    let all = [sealed.recipients.clone(), vec![sealed.key("three.key")]].concat();
    sealed.to(&all, "");
    let added = sealed.keys(&["add", "--identity", "one.key"]).ended(0);
    assert_eq!(added.json["epochs"].as_array().unwrap().len(), 1, "{:#}", added.json);
    assert_eq!(added.json["left-alone"], 2);
    assert_eq!(objects(&sealed.project, "keys").len(), 4);
    sealed.restore(&first, "out", "three.key").ended(0);
    let live = [
        "--to",
        "never",
        "--identity",
        "three.key",
        "--env",
        "live",
        "--confirm",
        "live",
    ];
    let refused = sealed.project.run(&[&["restore", &of_live.id()], &live[..]].concat());
    assert_eq!(refused.ended(12).problem().0, "key-missing");
    // A record of this environment that names the epoch of the other one changes nothing.
    let path = format!("backups/backups/live/{}.json", of_live.id());
    let json: Value = serde_json::from_slice(&fs::read(sealed.project.path(&path)).unwrap()).unwrap();
    forge(&sealed.project, &first, "20200101T000000Z-0000", |forged| {
        forged["epoch"] = json["epoch"].clone();
    });
    let again = sealed.keys(&["add", "--identity", "one.key"]).ended(3);
    assert_eq!(problems(&again), ["fenced"]);
    assert!(again.problem().1.contains(json["epoch"].as_str().unwrap()));
    assert_eq!(objects(&sealed.project, "keys").len(), 4);
}

#[test]
fn a_record_that_is_too_large_is_passed_over_by_name_and_the_line_goes_on() {
    let project = Project::new(SOURCES);
    planted(&project);
    let first = project.backup(&[]).ended(0).id();
    let large = "backups/dev/20200101T000000Z-0000.json";
    let file = fs::File::create(project.path("backups").join(large)).unwrap();
    file.set_len(17 << 20).unwrap();
    let second = project.backup(&[]).ended(3);
    assert_eq!(problems(&second), ["damaged"]);
    assert!(second.problem().1.contains(large), "{}", second.problem().1);
    assert_eq!(second.json["sequence"], 2);
    assert_eq!(second.json["new-bytes"], 0);
    let listed = project.run(&["list", "--env", "dev"]).ended(3);
    assert_eq!(listed.json["backups"].as_array().unwrap().len(), 2);
    project.restore(&first, &["--to", "out"]).ended(3);
}

#[test]
fn a_state_folder_set_back_does_not_undo_a_rotation() {
    let mut sealed = sealed();
    sealed.backup(0);
    let state = |name: &str| sealed.project.path(name);
    copy(state(".strongroom/dev"), state("older"));
    let one = vec![sealed.recipients[0].clone(), sealed.key("three.key")];
    sealed.to(&one, "");
    sealed.keys(&["rotate"]).ended(0);
    let rotated = sealed.backup(0).id();
    fs::remove_dir_all(sealed.project.path(".strongroom/dev")).unwrap();
    copy(sealed.project.path("older"), sealed.project.path(".strongroom/dev"));
    let new = sealed.project.backup(&[]).ended(3);
    assert!(problems(&new).contains(&"epoch-lost"), "{:#}", new.json);
    let epoch = |id: &str| record(&sealed.project, id)["epoch"].clone();
    assert_ne!(epoch(&new.id()), epoch(&rotated));
    sealed.restore(&new.id(), "never", "two.key").ended(12);
    sealed.restore(&new.id(), "out", "three.key").ended(0);
    // Once is enough.
    let next = sealed.backup(0);
    assert_eq!(epoch(&next.id()), epoch(&new.id()));
    assert_eq!(next.json["new-bytes"], 0);
    assert_eq!(shown_epochs(&sealed).len(), 3);
}

#[test]
fn a_log_is_fenced_though_the_backup_took_it_for_files() {
    let source =
        |kind: &str| format!("[[step.source]]\nname = \"events\"\ntype = \"{kind}\"\npath = \"data/events\"\n");
    let project = Project::new(&source("files"));
    let log = "data/events/1.jsonl";
    project.write(log, &"{\"record\":1}\n".repeat(100));
    let id = project.backup(&[]).ended(0).id();
    project.pipeline("backup", &source("append-log"));
    project.environment("dev", "protected = true");
    let longer = "{\"record\":1}\n".repeat(150);
    project.write(log, &longer);
    let refused = project.restore(&id, &["--confirm", "dev"]).ended(5);
    assert_eq!(refused.problem().0, "log-rewind");
    assert_eq!(fs::read_to_string(project.path(log)).unwrap(), longer);
    project
        .restore(&id, &["--confirm", "dev", "--rewind-log", "events"])
        .ended(0);
    assert_eq!(fs::read_to_string(project.path(log)).unwrap().lines().count(), 100);
    let journal = project.journal("dev");
    let rewound = journal.iter().filter(|record| record["event"] == "log_rewound");
    assert_eq!(rewound.count(), 1);
}

#[test]
fn what_a_record_locks_of_a_log_opens_with_the_right_keys_or_is_damaged() {
    let sealed = sealed();
    let id = sealed.backup(0).id();
    sealed.restore(&id, "out", "one.key").ended(0);
    let mut json = record(&sealed.project, &id);
    let mut sources = json["sources"].as_array_mut().unwrap().iter_mut();
    let locked = sources.find_map(|source| source.get_mut("locked-head")).unwrap();
    let text = locked["locked"].as_str().unwrap().to_owned();
    let middle = text.len() / 2;
    let other = if text.as_bytes()[middle] == b'A' { "B" } else { "A" };
    locked["locked"] = format!("{}{other}{}", &text[..middle], &text[middle + 1..]).into();
    let path = sealed.project.path(&format!("backups/backups/dev/{id}.json"));
    fs::write(path, serde_json::to_vec_pretty(&json).unwrap()).unwrap();
    let refused = sealed.restore(&id, "never", "one.key").ended(4);
    assert_eq!(refused.problem().0, "damaged");
    assert!(refused.problem().1.contains("events"), "{}", refused.problem().1);
    assert!(!sealed.project.path("never").exists());
}

const SECOND: &str = "[target.second]\nurl = \"file:second\"\n";

/// Adds a recipient where another host does it: this one's state does not hear of it. Gives the object that was put there.
fn added_elsewhere(sealed: &mut Sealed, targets: &[&str], more: &str) -> String {
    let all = [sealed.recipients.clone(), vec![sealed.key("three.key")]].concat();
    let before = objects(&sealed.project, "keys");
    for target in targets {
        let text = format!(
            "schema-version = 1\ndescription = \"x\"\nstate = \"elsewhere\"\n{target}[encryption]\nrecipients = {all:?}\n"
        );
        sealed.project.write("pipelines/environments/dev.toml", &text);
        let added = sealed.keys(&["add", "--identity", "one.key"]).ended(0);
        assert_eq!(added.json["epochs"][0]["targets"], 1);
    }
    sealed.to(&all, more);
    let after = objects(&sealed.project, "keys").into_keys();
    after.into_iter().find(|name| !before.contains_key(name)).unwrap()
}

const FIRST: &str = "[target.local]\nurl = \"file:backups\"\n";

#[test]
fn a_damaged_key_object_is_not_taken_over_from_a_target() {
    let mut sealed = sealed();
    sealed.backup(0);
    let added = added_elsewhere(&mut sealed, &[FIRST], "");
    let path = sealed.project.path("backups").join(&added);
    let sound = fs::read(&path).unwrap();
    let fewer = {
        // Sealed, but not to as many.
        let first = objects(&sealed.project, "keys").into_keys().find(|name| *name != added);
        fs::read(sealed.project.path("backups").join(first.unwrap())).unwrap()
    };
    for planted in [b"planted".to_vec(), fewer] {
        fs::write(&path, planted).unwrap();
        let told = sealed.backup(3);
        assert_eq!(problems(&told), ["recipients-changed"]);
        assert!(told.problem().1.contains(&added), "{}", told.problem().1);
    }
    fs::write(&path, &sound).unwrap();
    sealed.backup(0);
    // What this host once took over and a target changed since excludes no target, and is told.
    fs::write(&path, b"planted").unwrap();
    let told = sealed.backup(3);
    assert_eq!(problems(&told), ["damaged"]);
    assert!(told.problem().1.contains(&added), "{}", told.problem().1);
}

#[test]
fn keys_that_two_sealed_at_once_exclude_no_target() {
    let mut sealed = sealed();
    let pipeline = sealed.project.path("pipelines/backup.toml");
    let text = fs::read_to_string(&pipeline).unwrap();
    let both = text.replace("targets = [\"local\"]", "targets = [\"local\", \"second\"]");
    assert_ne!(both, text);
    fs::write(&pipeline, both).unwrap();
    let recipients = sealed.recipients.clone();
    sealed.to(&recipients, SECOND);
    assert_eq!(sealed.backup(0).json["targets"].as_array().unwrap().len(), 2);
    let added = added_elsewhere(&mut sealed, &[FIRST, SECOND], SECOND);
    let there = |target: &str| fs::read(sealed.project.path(target).join(&added)).unwrap();
    assert_ne!(there("backups"), there("second"));
    let told = sealed.backup(3);
    assert_eq!(problems(&told), ["recipients-changed"]);
    assert_eq!(told.json["targets"].as_array().unwrap().len(), 2);
    sealed.restore(&told.id(), "out", "three.key").ended(0);
    // One of them goes, and `keys add` puts the other one there.
    fs::remove_file(sealed.project.path("second").join(&added)).unwrap();
    sealed.keys(&["add", "--identity", "one.key"]).ended(0);
    assert_eq!(there("backups"), there("second"));
    sealed.backup(0);
}

const RETAIN: &str = r#"
[[step]]
id = "proof"
type = "confirm"
by = "read-back"
[[step]]
id = "old"
type = "retain"
keep-last = 3
max-remove = "100%"
"#;

/// Ids of forged records.
fn forgeries() -> Vec<String> {
    (0..4).map(|number| format!("20300101T00000{number}Z-0000")).collect()
}

#[test]
fn records_that_nobody_trusted_signed_stay_and_are_counted_by_no_rule() {
    let sealed = sealed();
    let pipeline = sealed.project.path("pipelines/backup.toml");
    let text = fs::read_to_string(&pipeline).unwrap();
    fs::write(&pipeline, text + RETAIN).unwrap();
    let mut made: Vec<String> = (0..3).map(|_| sealed.backup(0).id()).collect();
    name_signer(&sealed, "");
    let forged = forgeries();
    for (number, id) in forged.iter().enumerate() {
        forge(&sealed.project, &made[2], id, |json| {
            json["sequence"] = (100 + number).into();
            json["started"] = format!("2020-01-0{}T00:00:00Z", number + 1).into();
        });
    }
    let trial = ["retention", "--env", "dev"];
    let tried = sealed.project.run(&trial).ended(3);
    assert_eq!(tried.json["remove"], serde_json::json!([]), "{:#}", tried.json);
    let ran = sealed.backup(3);
    assert!(problems(&ran).contains(&"unsigned"), "{:#}", ran.json);
    made.push(ran.id());
    let removed = ran.json["removed"].as_array().unwrap();
    assert_eq!(removed.len(), 1, "{:#}", ran.json);
    assert_eq!(removed[0]["backup"], made[0]);
    for id in made[1..].iter().chain(&forged) {
        assert!(
            sealed.project.path(&format!("backups/backups/dev/{id}.json")).exists(),
            "{id}"
        );
    }
}

fn sequence(ran: &Ran) -> u64 {
    ran.json["sequence"].as_u64().unwrap()
}

#[test]
fn a_backup_goes_on_from_the_newest_that_someone_trusted_signed() {
    let sealed = sealed();
    let first = sealed.backup(0).id();
    name_signer(&sealed, "");
    for (number, id) in forgeries().iter().enumerate() {
        forge(&sealed.project, &first, id, |json| {
            json["sequence"] = (u64::MAX - number as u64).into();
            json["epoch"] = "0123456789abcdef".into();
        });
    }
    let second = sealed.backup(3);
    // Told once, however many there are.
    assert_eq!(problems(&second), ["unsigned"]);
    assert_eq!(record(&sealed.project, &second.id())["parent"], first.as_str());
    assert_eq!(sequence(&second), 2);
    assert_eq!(second.json["new-bytes"], 0);
    assert_eq!(shown_epochs(&sealed).len(), 1);
    let third = sealed.backup(3);
    assert_eq!(record(&sealed.project, &third.id())["parent"], second.id());
    // Without names everything counts, as before.
    assert_eq!(sequence(&third), 3);
}

#[test]
fn a_key_of_this_host_that_no_one_named_yet_counts_for_its_own_line() {
    let sealed = sealed();
    let first = sealed.backup(0).id();
    let other = Sealed::new(SOURCES);
    planted(&other.project);
    other.backup(0);
    let stranger = other.keys(&["show"]).ended(0).json["signer"]
        .as_str()
        .unwrap()
        .to_owned();
    sealed.project.environment(
        "dev",
        &format!(
            "[signers]\n\"x\" = \"{stranger}\"\n[encryption]\nrecipients = {:?}\n",
            sealed.recipients
        ),
    );
    let second = sealed.backup(3);
    assert_eq!(problems(&second), ["signer-unknown"]);
    assert_eq!(record(&sealed.project, &second.id())["parent"], first.as_str());
    // Backups from before signing are no parent, and still come before in the line.
    fs::remove_file(sealed.project.path(&format!("backups/backups/dev/{}.sig", second.id()))).unwrap();
    let third = sealed.backup(3);
    assert_eq!(problems(&third), ["unsigned", "signer-unknown"]);
    assert_eq!(record(&sealed.project, &third.id())["parent"], first.as_str());
    assert_eq!(sequence(&third), 3);
}
