//! What a killed run has stored is not stored again by the next one, and relied on only where it is there as it was.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::chunks::Random;
use crate::projects::{Project, Ran};
use crate::sealed::Sealed;

const SOURCES: &str = "[[step.source]]\nname = \"files\"\ntype = \"files\"\npath = \"data/files\"\n[[step]]\nid = \"change\"\n\
                       type = \"deduplicate\"\n";
const PROOF: &str = "[[step]]\nid = \"proof\"\ntype = \"confirm\"\nby = \"read-back\"\n";
const FILES: u64 = 160;
const FILE: u64 = 600 << 10;

/// Small files and a large one, of about 130 MB that compress to a little more than half.
fn fill(project: &Project) {
    let mut random = Random::new(5);
    fs::create_dir_all(project.path("data/files")).unwrap();
    for number in 0..FILES {
        fs::write(project.path(&format!("data/files/{number:03}")), random.bytes(FILE)).unwrap();
    }
    fs::write(project.path("data/files/large"), random.bytes(32 << 20)).unwrap();
    let path = project.path("pipelines/backup.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text + PROOF).unwrap();
}

fn packs(project: &Project) -> Vec<String> {
    let folders = fs::read_dir(project.path("backups/packs")).into_iter().flatten();
    let files = folders.flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap());
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| !name.starts_with(".tmp-")).collect();
    names.sort();
    names
}

/// Runs a backup and kills it when two packs are there; gives what is there then.
fn kill_halfway(project: &Project) -> Vec<String> {
    let before = packs(project).len();
    let mut run = project.begin_backup();
    let begin = Instant::now();
    while packs(project).len() < before + 2 && begin.elapsed() < Duration::from_mins(1) {}
    assert!(run.try_wait().unwrap().is_none(), "the kill came too late");
    run.kill().unwrap();
    run.wait().unwrap();
    assert!(!project.path("backups/backups/dev").exists());
    packs(project)
}

fn record(project: &Project, ran: &Ran) -> Value {
    let bytes = fs::read(project.path(&format!("backups/backups/dev/{}.json", ran.id()))).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

fn stored(ran: &Ran) -> u64 {
    ran.json["new-bytes"].as_u64().unwrap()
}

fn copy(from: &Path, to: &Path) {
    drop(fs::remove_dir_all(to));
    let mut command = Command::new("cp");
    assert!(command.arg("-a").args([from, to]).status().unwrap().success());
}

/// Keeps a project's targets and state, or brings them back.
fn keep(project: &Project, from: &str, to: &str) {
    for name in ["backups", ".strongroom"] {
        copy(
            &project.path(&format!("{from}{name}")),
            &project.path(&format!("{to}{name}")),
        );
    }
}

fn whole(project: &Project, ran: &Ran, key: &[&str]) {
    let words = [&["--to", "look"], key].concat();
    project.restore(&ran.id(), &words).ended(0);
    let mut diff = Command::new("diff");
    let diff = diff
        .arg("-r")
        .args([project.path("data/files"), project.path("look/files")]);
    assert!(diff.status().unwrap().success());
    fs::remove_dir_all(project.path("look")).unwrap();
}

#[test]
fn packs_of_a_killed_run_are_used_by_the_next_one_where_they_are_there_as_they_were() {
    let project = Project::new(SOURCES);
    fill(&project);
    let left = kill_halfway(&project);
    fs::create_dir(project.path("kept")).unwrap();
    keep(&project, "", "kept/");
    let all = FILES * FILE + (32 << 20);

    let ran = project.backup(&[]).ended(0);
    assert!(stored(&ran) < all - (20 << 20), "{} of {all}", stored(&ran));
    // Nobody read them back before, so this run says that it did, and nothing is left that no backup needs.
    let record = record(&project, &ran);
    assert_eq!(record["packs"]["new"], record["packs"]["count"]);
    assert_eq!(record["packs"]["count"], packs(&project).len());
    assert!(left.iter().all(|name| packs(&project).contains(name)));
    whole(&project, &ran, &[]);
    // The next one builds on them as on others.
    assert_eq!(stored(&project.backup(&[]).ended(0)), 0);

    // Without the ledger all of it is stored: what the test above sees is the ledger's doing.
    keep(&project, "kept/", "");
    let ledger = Command::new("find")
        .arg(project.path(".strongroom"))
        .args(["-name", "arrived"])
        .output()
        .unwrap();
    let ledger = String::from_utf8(ledger.stdout).unwrap();
    fs::remove_file(ledger.trim()).unwrap();
    assert_eq!(stored(&project.backup(&[]).ended(0)), all);

    // A pack that is gone, cut, or about to be swept is not relied on.
    let path = |name: &str| format!("backups/packs/{}/{name}", &name[..2]);
    let lists = left
        .iter()
        .map(|name| json!({ "name": path(name).trim_start_matches("backups/"), "bytes": 1 }));
    let lists = json!({ "format": 1, "run": "01980000-0000-7000-8000-000000000000", "when": "later",
        "objects": lists.collect::<Vec<_>>() });
    for harm in ["gone", "cut", "listed"] {
        keep(&project, "kept/", "");
        for name in &left {
            let bytes = fs::read(project.path(&path(name))).unwrap();
            fs::remove_file(project.path(&path(name))).unwrap();
            match harm {
                "gone" => {}
                "cut" => fs::write(project.path(&path(name)), &bytes[..bytes.len() - 1]).unwrap(),
                _ => {
                    fs::write(project.path(&path(name)), &bytes).unwrap();
                    project.write(
                        "backups/sweep/01980000-0000-7000-8000-000000000000.json",
                        &lists.to_string(),
                    );
                }
            }
        }
        let ran = project.backup(&[]);
        if harm == "cut" {
            // What is stored anew has the same name, and what lies there under it is told when it is read back.
            assert_eq!(ran.problem().0, "read-back", "{:#}", ran.json);
            continue;
        }
        let ran = ran.ended(0);
        assert_eq!(stored(&ran), all, "{harm}");
        whole(&project, &ran, &[]);
    }

    // One that was changed has its size and its name, and is found out when all is read back.
    keep(&project, "kept/", "");
    let changed = project.path(&path(&left[0]));
    let mut bytes = fs::read(&changed).unwrap();
    bytes[5000] ^= 1;
    fs::write(&changed, bytes).unwrap();
    assert_eq!(project.backup(&[]).ended(4).problem().0, "read-back");
}

#[test]
fn sealed_packs_of_a_killed_run_are_used_again_in_their_epoch_and_not_in_another() {
    let sealed = Sealed::new(SOURCES);
    let project = &sealed.project;
    fill(project);
    let left = kill_halfway(project);
    fs::create_dir(project.path("kept")).unwrap();
    keep(project, "", "kept/");
    let all = FILES * FILE + (32 << 20);
    let ran = project.backup(&[]).ended(0);
    assert!(stored(&ran) < all - (20 << 20), "{} of {all}", stored(&ran));
    assert_eq!(record(project, &ran)["packs"]["count"], packs(project).len());
    whole(project, &ran, &["--identity", "one.key"]);
    keep(project, "kept/", "");
    sealed.keys(&["rotate"]).ended(0);
    let ran = project.backup(&[]).ended(0);
    assert_eq!(stored(&ran), all);
    assert_eq!(
        record(project, &ran)["packs"]["count"],
        packs(project).len() - left.len()
    );
    whole(project, &ran, &["--identity", "two.key"]);
}
