//! Packs of which little is used any more: a backup stores that little anew from the disk, within a bound, and the old pack goes
//! when the last record that needs it has gone.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use serde_json::Value;
use strongroom::archive::refs::Refs;

use crate::chunks::Random;
use crate::projects::Project;

const SOURCES: &str = "[[step.source]]\nname = \"files\"\ntype = \"files\"\npath = \"data/files\"\n[[step]]\nid = \"change\"\n\
                       type = \"deduplicate\"\n";
const FILE: u64 = 100 << 10;

fn files(project: &Project, random: &mut Random, name: &str, count: u64) {
    fs::create_dir_all(project.path("data/files")).unwrap();
    for number in 0..count {
        let path = project.path(&format!("data/files/{name}{number}"));
        fs::write(path, random.bytes(FILE)).unwrap();
    }
}

fn remove(project: &Project, name: &str, numbers: std::ops::Range<u64>) {
    for number in numbers {
        fs::remove_file(project.path(&format!("data/files/{name}{number}"))).unwrap();
    }
}

/// The packs that a backup needs, each with the bytes that it uses.
fn packs(project: &Project, id: &str) -> BTreeMap<String, u64> {
    let record = fs::read(project.path(&format!("backups/backups/dev/{id}.json"))).unwrap();
    let record: Value = serde_json::from_slice(&record).unwrap();
    let refs = fs::read(project.path("backups").join(record["refs"]["name"].as_str().unwrap())).unwrap();
    let refs = Refs::from_object(&refs).unwrap();
    let packs = refs.iter().filter(|one| one.name.starts_with("packs/"));
    packs.map(|one| (one.name.clone(), one.plain_bytes)).collect()
}

/// A pack of 80 files that stay, one of `count` files, and the backup behind the removal of all but `left` of these: the name of the
/// second pack.
fn mostly_dead(count: u64, left: u64) -> (Project, String, Vec<String>) {
    let project = Project::new(SOURCES);
    let mut random = Random::new(9);
    files(&project, &mut random, "stays", 80);
    let first = project.backup(&[]).ended(0).id();
    files(&project, &mut random, "goes", count);
    let second = project.backup(&[]).ended(0).id();
    let old = packs(&project, &first);
    let new: Vec<String> = packs(&project, &second)
        .into_keys()
        .filter(|name| !old.contains_key(name))
        .collect();
    let [pack] = new.as_slice() else { panic!("{new:?}") };
    remove(&project, "goes", left..count);
    let third = project.backup(&[]).ended(0);
    assert_eq!(
        third.json["new-bytes"], 0,
        "nothing is stored anew before it is known how little is used"
    );
    assert_eq!(packs(&project, &third.id())[pack], left * FILE);
    (project, pack.clone(), vec![first, second, third.id()])
}

#[test]
fn what_is_left_of_a_pack_is_stored_anew_and_the_pack_goes_with_its_last_record() {
    let (project, pack, older) = mostly_dead(10, 2);
    let renewed = project.backup(&[]).ended(0);
    assert_eq!(renewed.json["new-bytes"], 2 * FILE);
    assert!(!packs(&project, &renewed.id()).contains_key(&pack));
    project.restore(&renewed.id(), &["--to", "look"]).ended(0);
    let mut diff = Command::new("diff");
    let diff = diff
        .arg("-r")
        .args([project.path("data/files"), project.path("look/files")]);
    assert!(diff.status().unwrap().success());
    // It is done once.
    assert_eq!(project.backup(&[]).ended(0).json["new-bytes"], 0);
    let there = || project.path("backups").join(&pack).exists();
    for id in older {
        assert!(there());
        project.run(&["forget", &id, "--env", "dev", "--purge"]).ended(0);
    }
    assert!(!there());
    project.run(&["verify", &renewed.id(), "--env", "dev"]).ended(0);
}

#[test]
fn a_pack_of_which_more_than_half_is_used_or_that_would_cost_too_much_stays() {
    for (count, left) in [(10, 6), (30, 12)] {
        let (project, pack, _) = mostly_dead(count, left);
        let next = project.backup(&[]).ended(0);
        assert_eq!(next.json["new-bytes"], 0, "{left} of {count}");
        assert_eq!(packs(&project, &next.id())[&pack], left * FILE);
    }
}
