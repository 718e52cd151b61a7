//! A target that lags behind is caught up before the next backup: whole backups, byte for byte, oldest first; nothing damaged,
//! nothing that was let go, within a bound of time.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::chunks::{Changing, SOURCES};
use crate::projects::{Project, Ran};
use crate::sealed::{Sealed, problems};

const FILES: &str = "[[step.source]]\nname = \"files\"\ntype = \"files\"\npath = \"data/files\"\n";

/// Settings of an environment with `second`, and more, beside the target `local`.
fn with(more: &[&str], settings: &str) -> String {
    let mut text = format!("{settings}\n[target.second]\nurl = \"file:second\"\n");
    for name in more {
        text.push_str(&format!("[target.{name}]\nurl = \"file:{name}\"\n"));
    }
    let names: Vec<&str> = ["local", "second"].iter().chain(more).copied().collect();
    text + &format!("[pipeline.backup.step.store]\ntargets = {names:?}\n")
}

/// A project that backs one folder up into two targets, as plain archives.
fn project(settings: &str) -> Project {
    let project = Project::new(FILES);
    project.environment("dev", &with(&[], settings));
    change(&project, "begin");
    project
}

/// Changes what is captured.
fn change(project: &Project, text: &str) {
    project.write("data/files/one", text);
    project.write(&format!("data/files/{text}"), &text.repeat(1000));
}

/// So many bytes that do not compress.
fn grow(project: &Project, megabytes: usize) {
    let mut bytes = vec![0; megabytes << 20];
    getrandom::fill(&mut bytes).unwrap();
    fs::create_dir_all(project.path("data/files")).unwrap();
    fs::write(project.path("data/files/bulk"), bytes).unwrap();
}

/// Every object of a target, with its bytes.
fn objects(project: &Project, target: &str) -> BTreeMap<String, Vec<u8>> {
    let root = project.path(target);
    let mut found = BTreeMap::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// How many files lie in a target that somebody writes into.
fn files(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    entries
        .map(|entry| {
            let path = entry.path();
            if path.is_dir() { files(&path) } else { 1 }
        })
        .sum()
}

/// The backups whose records lie in a target.
fn held(project: &Project, target: &str) -> Vec<String> {
    let names = objects(project, target).into_keys();
    let ids = names.filter_map(|name| Some(name.strip_prefix("backups/dev/")?.strip_suffix(".json")?.to_owned()));
    ids.collect()
}

fn sorted<const N: usize>(ids: [&String; N]) -> Vec<String> {
    let mut ids: Vec<String> = ids.into_iter().cloned().collect();
    ids.sort();
    ids
}

fn alone(project: &Project, target: &str) -> String {
    project.backup(&["--target", target]).ended(0).id()
}

fn sound(project: &Project, id: &str, target: &str, more: &[&str]) {
    let words = [&["verify", id, "--env", "dev", "--target", target], more].concat();
    project.run(&words).ended(0);
}

/// The first problem with this code.
fn told<'r>(ran: &'r Ran, code: &str) -> &'r Value {
    let all = ran.json["diagnostics"].as_array().unwrap();
    let found = all.iter().find(|one| one["code"] == code);
    found.unwrap_or_else(|| panic!("{:#}", ran.json))
}

#[test]
fn a_plan_tells_what_a_backup_would_copy_into_a_target_that_lags_behind_and_copies_nothing() {
    let project = project("");
    let plan = || project.run(&["plan", "backup", "--env", "dev"]).ended(0);
    let both = project.backup(&[]).ended(0).id();
    assert!(plan().json["would-catch-up"].is_null());
    let mut made = Vec::new();
    for word in ["two", "three", "four"] {
        change(&project, word);
        made.push(alone(&project, "local"));
    }
    // One that was let go there on purpose would not come back.
    project.run(&["forget", &made[0], "--env", "dev"]).ended(0);
    let state = |project: &Project| {
        (
            objects(project, "local"),
            objects(project, "second"),
            objects(project, ".strongroom"),
        )
    };
    let before = state(&project);
    let planned = plan();
    let behind = json!([{ "target": "second", "backups": 2, "ids": made[1..] }]);
    assert_eq!(planned.json["would-catch-up"], behind, "{:#}", planned.json);
    assert!(state(&project) == before);
    assert_eq!(held(&project, "second"), [both]);
    // Neither where it is switched off, nor of a target that does not take part.
    project.environment("dev", &with(&[], "[maintenance]\ncatch-up = \"0s\""));
    assert!(plan().json["would-catch-up"].is_null());
    project.environment("dev", &with(&[], ""));
    let one = project
        .run(&["plan", "backup", "--env", "dev", "--target", "local"])
        .ended(0);
    assert!(one.json["would-catch-up"].is_null());
    // And then it does what was told.
    let back = project.backup(&[]).ended(0);
    let copied: Vec<&Value> = back.json["caught-up"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["backup"])
        .collect();
    assert_eq!(json!(copied), json!(made[1..]));
}

#[test]
fn a_target_that_was_away_for_two_runs_has_everything_before_the_next_backup() {
    let project = Project::new(SOURCES);
    project.environment("dev", &with(&[], ""));
    let mut data = Changing::new(project.path("data"), 3);
    let both = project.backup(&[]).ended(0).id();
    let mut made = vec![both];
    for _ in 0..2 {
        data.change();
        made.push(alone(&project, "local"));
    }
    data.change();
    let back = project.backup(&[]).ended(0);
    made.push(back.id());
    let copied: Vec<Value> = made[1..3]
        .iter()
        .map(|id| json!({ "target": "second", "backup": id }))
        .collect();
    assert_eq!(back.json["caught-up"], Value::Array(copied), "{:#}", back.json);
    assert_eq!(back.json["targets"], json!(["local", "second"]));
    // The last backup lies in both, so this one builds on it in both: nothing is stored that was stored before.
    let record = &objects(&project, "second")[&format!("backups/dev/{}.json", made[3])];
    let record: Value = serde_json::from_slice(record).unwrap();
    assert_eq!(record["parent"], json!(made[2]));
    assert!(
        record["packs"]["new"].as_u64() < record["packs"]["count"].as_u64(),
        "{record:#}"
    );
    assert_eq!(objects(&project, "second"), objects(&project, "backups"));
    for id in &made {
        sound(&project, id, "second", &[]);
    }
    let journal = project.journal("dev");
    let heard = journal.iter().filter(|record| record["event"] == "backup_caught_up");
    let heard: Vec<&Value> = heard.map(|record| &record["backup"]).collect();
    assert_eq!(heard, [&json!(made[1]), &json!(made[2])]);
    let again = project.backup(&[]).ended(0);
    assert!(again.json["caught-up"].is_null());
}

#[test]
fn sealed_backups_of_two_epochs_are_copied_with_what_opens_them() {
    let mut sealed = Sealed::new(FILES);
    let recipients = sealed.recipients.clone();
    sealed.to(&recipients, &with(&[], ""));
    change(&sealed.project, "begin");
    let first = alone(&sealed.project, "local");
    sealed.keys(&["rotate"]).ended(0);
    change(&sealed.project, "second");
    let second = alone(&sealed.project, "local");
    let third = sealed.backup(0);
    assert_eq!(third.json["caught-up"].as_array().unwrap().len(), 2, "{:#}", third.json);
    let keys = |target| {
        let all = objects(&sealed.project, target);
        all.into_iter()
            .filter(|(name, _)| name.starts_with("keys/"))
            .collect::<BTreeMap<_, _>>()
    };
    assert_eq!(keys("second").len(), 2);
    assert_eq!(keys("second"), keys("backups"));
    fs::remove_dir_all(sealed.project.path("backups")).unwrap();
    for id in [&first, &second] {
        sound(&sealed.project, id, "second", &["--identity", "two.key"]);
    }
}

#[test]
fn a_copy_that_was_killed_halfway_is_gone_on_with_and_no_record_stands_for_half_a_backup() {
    let project = project("");
    project.backup(&[]).ended(0);
    let mut made = Vec::new();
    for _ in 0..3 {
        grow(&project, 24);
        made.push(alone(&project, "local"));
    }
    let mut kills = 0;
    for round in 0..6_u32 {
        let before = files(&project.path("second"));
        let mut run = project.begin_backup();
        let begin = Instant::now();
        // Until something of a copy lies there, and then more and more of it.
        while files(&project.path("second")) <= before + round as usize / 2 && begin.elapsed() < Duration::from_mins(1)
        {
            if run.try_wait().unwrap().is_some() {
                break;
            }
        }
        let alive = run.try_wait().unwrap().is_none();
        run.kill().unwrap();
        run.wait().unwrap();
        kills += u32::from(alive);
        for id in held(&project, "second") {
            sound(&project, &id, "second", &["--level", "objects"]);
        }
    }
    assert!(kills > 0, "no kill met a run: the test shows nothing");
    project.backup(&[]).ended(0);
    for id in &made {
        assert!(held(&project, "second").contains(id), "{id}");
        sound(&project, id, "second", &[]);
    }
    let (here, there) = (objects(&project, "backups"), objects(&project, "second"));
    for (name, bytes) in &there {
        assert!(
            name.starts_with(".tmp-") || here.get(name).is_none_or(|other| other == bytes),
            "{name}"
        );
    }
}

#[test]
fn a_damaged_copy_is_not_spread_and_the_backup_is_passed_over_by_name() {
    let project = project("");
    project.backup(&[]).ended(0);
    change(&project, "two");
    let damaged = alone(&project, "local");
    change(&project, "three");
    let whole = alone(&project, "local");
    let archive = format!("archives/dev/{damaged}.tar.zst");
    flip(&project.path(&format!("backups/{archive}")));
    let back = project.backup(&[]).ended(3);
    let warning = told(&back, "not-caught-up");
    let said = warning.to_string();
    for part in [damaged.as_str(), "`second`", "`local`", archive.as_str(), "other bytes"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(back.json["caught-up"], json!([{ "target": "second", "backup": whole }]));
    assert_eq!(back.json["targets"], json!(["local", "second"]));
    assert!(!objects(&project, "second").contains_key(&archive));
    assert!(!held(&project, "second").contains(&damaged));
    sound(&project, &whole, "second", &[]);
    // It is told once: what is made since is newer.
    project.backup(&[]).ended(0);
}

/// Every kind of object of a backup, damaged in turn: none is spread.
#[test]
fn no_object_of_any_kind_is_copied_where_it_is_not_what_the_record_says() {
    let project = Project::new(SOURCES);
    project.environment("dev", &with(&[], ""));
    let mut data = Changing::new(project.path("data"), 8);
    project.backup(&[]).ended(0);
    data.change();
    let id = alone(&project, "local");
    let (good, there) = (objects(&project, "backups"), objects(&project, "second"));
    let kind = |name: &str| {
        let end = name.rsplit_once('.').map_or("", |(_, end)| end);
        (name.split('/').next().unwrap().to_owned(), end.to_owned())
    };
    let mut kinds = BTreeMap::new();
    for name in good.keys().filter(|name| !there.contains_key(*name)) {
        kinds.insert(kind(name), name.clone());
    }
    assert_eq!(kinds.len(), 6, "{kinds:?}");
    for name in kinds.into_values().filter(|name| kind(name).1 != "json") {
        for harm in ["flipped", "cut", "missing"] {
            let path = project.path(&format!("backups/{name}"));
            match harm {
                "flipped" => flip(&path),
                "cut" => fs::write(&path, &good[&name][..good[&name].len() / 2]).unwrap(),
                _ => fs::remove_file(&path).unwrap(),
            }
            let ran = project.backup(&["--set", "step.store.require=2"]);
            assert!(
                problems(&ran).contains(&"not-caught-up"),
                "{name} {harm}: {:#}",
                ran.json
            );
            assert!(!held(&project, "second").contains(&id), "{name} {harm}");
            assert!(!objects(&project, "second").contains_key(&name), "{name} {harm}");
            reset(&project, "backups", &good);
            reset(&project, "second", &there);
        }
    }
}

#[test]
fn an_object_that_is_damaged_in_one_target_comes_from_another() {
    let project = project("");
    project.environment("dev", &with(&["third"], ""));
    project.backup(&[]).ended(0);
    change(&project, "two");
    let id = project
        .backup(&["--target", "local", "--target", "third"])
        .ended(0)
        .id();
    flip(&project.path(&format!("backups/archives/dev/{id}.tar.zst")));
    fs::remove_file(project.path(&format!("third/sums/dev/{id}.b3"))).unwrap();
    let back = project.backup(&[]).ended(0);
    assert_eq!(back.json["caught-up"], json!([{ "target": "second", "backup": id }]));
    sound(&project, &id, "second", &[]);
}

#[test]
fn what_was_let_go_in_a_target_does_not_come_back_from_another() {
    let project = project("");
    let first = project.backup(&[]).ended(0).id();
    change(&project, "two");
    let second = project.backup(&[]).ended(0).id();
    change(&project, "three");
    let third = project.backup(&[]).ended(0).id();
    let forget = |id: &str, more: &[&str]| {
        let words = [&["forget", id, "--env", "dev", "--target", "second"], more].concat();
        project.run(&words).ended(0);
    };
    forget(&first, &[]);
    let fourth = project.backup(&[]).ended(0);
    assert!(fourth.json["caught-up"].is_null(), "{:#}", fourth.json);
    assert_eq!(held(&project, "second"), sorted([&second, &third, &fourth.id()]));
    // Of the newest it is the journal that knows.
    forget(&fourth.id(), &["--even-newest"]);
    let fifth = project.backup(&[]).ended(0);
    assert!(fifth.json["caught-up"].is_null(), "{:#}", fifth.json);
    assert_eq!(held(&project, "second"), sorted([&second, &third, &fifth.id()]));
    assert_eq!(held(&project, "backups").len(), 5);
}

#[test]
fn what_retention_would_remove_at_once_is_not_copied_first() {
    let project = project("");
    let retain = "[[step]]\nid = \"proof\"\ntype = \"confirm\"\nby = \"read-back\"\n[[step]]\nid = \"keep\"\ntype = \"retain\"\n\
                  targets = [\"second\"]\nkeep-last = 2\nmax-remove = \"100%\"\n";
    let path = project.path("pipelines/backup.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text + retain).unwrap();
    let mut made = Vec::new();
    for number in 0..4 {
        change(&project, &format!("n{number}"));
        made.push(alone(&project, "local"));
    }
    let back = project.backup(&[]).ended(0);
    let copied: Vec<Value> = made[2..]
        .iter()
        .map(|id| json!({ "target": "second", "backup": id }))
        .collect();
    assert_eq!(back.json["caught-up"], Value::Array(copied));
    assert_eq!(held(&project, "second"), sorted([&made[3], &back.id()]));
}

#[test]
fn a_target_that_is_still_behind_when_the_time_is_up_is_left_out_and_gets_the_rest_next_time() {
    let project = project("[maintenance]\ncatch-up = \"1ms\"");
    project.backup(&[]).ended(0);
    for _ in 0..2 {
        grow(&project, 20);
        alone(&project, "local");
    }
    grow(&project, 1);
    // Each run gets on by a large object, however short the time is.
    let first = project.backup(&[]).ended(3);
    let warning = told(&first, "target-left-out");
    assert_eq!(warning["what"], "target `second` was left out of this backup");
    let said = warning.to_string();
    for part in ["lacks 1 backup ", "`catch-up` is 1ms", "the next one goes on"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(first.json["targets"], json!(["local"]));
    assert_eq!(held(&project, "second").len(), 2);
    project.environment("dev", &with(&[], ""));
    let second = project.backup(&[]).ended(0);
    assert_eq!(
        second.json["caught-up"].as_array().unwrap().len(),
        2,
        "{:#}",
        second.json
    );
    assert_eq!(held(&project, "second"), held(&project, "backups"));
    assert_eq!(objects(&project, "second"), objects(&project, "backups"));
}

#[test]
fn a_target_without_which_too_few_would_be_left_takes_part_as_it_is() {
    let project = project("[maintenance]\ncatch-up = \"1ms\"");
    project.backup(&[]).ended(0);
    for _ in 0..2 {
        grow(&project, 20);
        alone(&project, "local");
    }
    let back = project.backup(&["--set", "step.store.require=2"]).ended(3);
    let said = told(&back, "not-caught-up").to_string();
    assert!(said.contains("takes part") && said.contains("`second`"), "{said}");
    assert_eq!(back.json["targets"], json!(["local", "second"]));
    sound(&project, &back.id(), "second", &[]);
}

#[test]
fn with_no_time_at_all_nothing_is_copied_and_every_target_takes_part() {
    let project = project("[maintenance]\ncatch-up = \"0s\"");
    project.backup(&[]).ended(0);
    change(&project, "two");
    let lacking = alone(&project, "local");
    let back = project.backup(&[]).ended(0);
    assert!(back.json["caught-up"].is_null());
    assert!(held(&project, "second").contains(&back.id()) && !held(&project, "second").contains(&lacking));
}

#[test]
fn what_stands_on_a_list_of_a_sweep_is_neither_relied_on_nor_stored_again() {
    let project = project("");
    project.backup(&[]).ended(0);
    change(&project, "two");
    let id = alone(&project, "local");
    let archive = format!("archives/dev/{id}.tar.zst");
    let bytes = fs::metadata(project.path(&format!("backups/{archive}"))).unwrap().len();
    let list = json!({ "format": 1, "run": "01980000-0000-7000-8000-000000000000", "when": "later",
        "objects": [{ "name": archive, "bytes": bytes }] });
    for there in [false, true] {
        project.write(
            "second/sweep/01980000-0000-7000-8000-000000000000.json",
            &list.to_string(),
        );
        if there {
            fs::create_dir_all(project.path("second/archives/dev")).unwrap();
            fs::copy(
                project.path(&format!("backups/{archive}")),
                project.path(&format!("second/{archive}")),
            )
            .unwrap();
        }
        let before = objects(&project, "second");
        let back = project.backup(&[]).ended(3);
        let said = told(&back, "not-caught-up").to_string();
        assert!(said.contains("a sweep of target") && said.contains(&archive), "{said}");
        assert!(!held(&project, "second").contains(&id));
        reset(&project, "second", &before);
        let local = project.path(&format!("backups/backups/dev/{}.json", back.id()));
        fs::remove_file(local).unwrap();
    }
}

#[test]
fn a_time_that_leaves_too_little_for_the_backup_is_refused() {
    for (settings, code) in [
        ("[maintenance]\ncatch-up = \"13h\"", 78),
        ("[maintenance]\ncatch-up = \"12h\"", 0),
        ("[maintenance]\nmax-run = \"10min\"", 0),
    ] {
        let project = project(settings);
        let ran = project.run(&["validate", "--env", "dev"]).ended(code);
        if code == 78 {
            assert!(ran.problem().1.contains("`catch-up`"), "{:?}", ran.problem());
        }
    }
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// Puts a target back as it was.
fn reset(project: &Project, target: &str, objects: &BTreeMap<String, Vec<u8>>) {
    for name in self::objects(project, target).into_keys() {
        if !objects.contains_key(&name) {
            fs::remove_file(project.path(target).join(name)).unwrap();
        }
    }
    for (name, bytes) in objects {
        let path = project.path(target).join(name);
        if fs::read(&path).ok().as_ref() != Some(bytes) {
            fs::write(path, bytes).unwrap();
        }
    }
}
