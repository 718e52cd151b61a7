//! Backups that are sealed and signed: who reads them, who does not, and what a target tells of what is in it.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::chunks::{Changing, Held, SOURCES, objects, same};
use crate::projects::{Project, Ran};

const SEAL: &str = "[[step]]\nid = \"pack\"\ntype = \"compress\"\n[[step]]\nid = \"seal\"\ntype = \"encrypt\"\n";

/// A project that seals what `sources` capture, to two keys that lie beside it.
pub(crate) struct Sealed {
    pub(crate) project: Project,
    pub(crate) recipients: Vec<String>,
}

impl Sealed {
    pub(crate) fn new(sources: &str) -> Self {
        let project = Project::new(sources);
        let path = project.path("pipelines/backup.toml");
        let text = fs::read_to_string(&path).unwrap();
        let plain = "[[step]]\nid = \"pack\"\ntype = \"compress\"\n";
        assert!(text.contains(plain));
        fs::write(&path, text.replace(plain, SEAL)).unwrap();
        let mut sealed = Self {
            project,
            recipients: Vec::new(),
        };
        let both = [sealed.key("one.key"), sealed.key("two.key")];
        sealed.to(&both, "");
        sealed
    }

    /// Makes a key, and gives its recipient.
    pub(crate) fn key(&self, file: &str) -> String {
        let made = self.project.run(&["keys", "new", file]).ended(0);
        made.json["recipient"].as_str().unwrap().to_owned()
    }

    pub(crate) fn to(&mut self, recipients: &[String], settings: &str) {
        self.recipients = recipients.to_vec();
        self.project.environment(
            "dev",
            &format!("{settings}\n[encryption]\nrecipients = {recipients:?}\n"),
        );
    }

    pub(crate) fn backup(&self, code: i32) -> Ran {
        self.project.backup(&[]).ended(code)
    }

    pub(crate) fn restore(&self, id: &str, to: &str, key: &str) -> Ran {
        self.project.restore(id, &["--to", to, "--identity", key])
    }

    pub(crate) fn keys(&self, words: &[&str]) -> Ran {
        self.project.run(&[&["keys"], words, &["--env", "dev"]].concat())
    }
}

pub(crate) fn problems(ran: &Ran) -> Vec<&str> {
    let all = ran.json["diagnostics"].as_array().unwrap();
    all.iter().map(|one| one["code"].as_str().unwrap()).collect()
}

/// All stored bytes, names of objects among them.
fn stored(project: &Project) -> Vec<u8> {
    let mut all = Vec::new();
    for name in objects(project, "").into_keys() {
        all.extend_from_slice(name.as_bytes());
        all.push(b'\n');
        all.extend(fs::read(project.path("backups").join(name)).unwrap());
    }
    all
}

fn holds(all: &[u8], text: &[u8]) -> bool {
    all.windows(text.len()).any(|window| window == text)
}

#[test]
fn each_of_many_sealed_backups_is_restored_by_either_key_and_by_no_other() {
    let sealed = Sealed::new(SOURCES);
    let project = &sealed.project;
    sealed.key("other.key");
    let mut data = Changing::new(project.path("data"), 11);
    let mut made = Vec::new();
    for round in 0..8 {
        let ran = project.backup(&[]);
        assert!(ran.code == 0 || ran.code == 3, "{}", ran.stderr);
        made.push((ran.id(), Held::of(&project.path("data"))));
        (0..round).for_each(|_| data.change());
    }
    for (number, (id, was)) in made.iter().enumerate() {
        let key = if number % 2 == 0 { "one.key" } else { "two.key" };
        project.run(&["verify", id, "--env", "dev", "--identity", key]).ended(0);
        project
            .run(&["verify", id, "--env", "dev", "--level", "objects"])
            .ended(0);
        let out = format!("out/{number}");
        let restored = sealed.restore(id, &out, key);
        assert!(restored.code == 0 || restored.code == 3, "{}", restored.stderr);
        same(&format!("backup {number}, {id}"), was, &project.path(&out));
    }
    let id = &made[3].0;
    for refused in [
        sealed.restore(id, "never", "other.key"),
        project.restore(id, &["--to", "never"]),
    ] {
        assert_eq!(refused.ended(12).problem().0, "key-missing");
    }
    let verified = project.run(&["verify", id, "--env", "dev", "--identity", "other.key"]);
    assert_eq!(verified.ended(12).problem().0, "key-missing");
    assert!(!project.path("never").exists());
}

/// Text that is found again wherever it stands in clear, and its digest.
pub(crate) fn planted(project: &Project) -> Vec<Vec<u8>> {
    let content = "the same line, again and again and again\n".repeat(4000);
    fs::create_dir_all(project.path("data/files/a-telling-name")).unwrap();
    fs::create_dir_all(project.path("data/db")).unwrap();
    fs::create_dir_all(project.path("data/events")).unwrap();
    fs::write(project.path("data/files/a-telling-name/inside"), &content).unwrap();
    let log = "{\"customer\":\"somebody\"}\n".repeat(400);
    fs::write(project.path("data/events/000000.jsonl"), &log).unwrap();
    let database = rusqlite::Connection::open(project.path("data/db/main.db")).unwrap();
    database
        .execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, value BLOB); INSERT INTO t (value) VALUES (x'6162')")
        .unwrap();
    drop(database);
    let digest = |text: &str| blake3::hash(text.as_bytes());
    vec![
        b"again and again".to_vec(),
        b"a-telling-name".to_vec(),
        b"somebody".to_vec(),
        digest(&content).as_bytes().to_vec(),
        digest(&content).to_hex().as_bytes().to_vec(),
        digest(&log).as_bytes().to_vec(),
        digest(&log).to_hex().as_bytes().to_vec(),
    ]
}

#[test]
fn nothing_in_a_target_tells_what_is_stored_there() {
    for deduplicated in [true, false] {
        let sources = if deduplicated {
            SOURCES
        } else {
            SOURCES.split("[[step]]").next().unwrap()
        };
        let sealed = Sealed::new(sources);
        let telling = planted(&sealed.project);
        sealed.backup(0);
        sealed.backup(0);
        let all = stored(&sealed.project);
        for text in &telling {
            assert!(
                !holds(&all, text),
                "{deduplicated}: {:?}",
                String::from_utf8_lossy(text)
            );
        }
        // The same look finds them where nothing is sealed.
        let open = Project::new(sources);
        planted(&open);
        let words: &[&str] = if deduplicated {
            &[]
        } else {
            &["--set", "step.pack.codec=none"]
        };
        open.backup(words).ended(0);
        let all = stored(&open);
        assert!(telling.iter().any(|text| holds(&all, text)), "{deduplicated}");
    }
}

#[test]
fn the_same_content_has_other_names_in_another_repository() {
    let mut names = Vec::new();
    for _ in 0..2 {
        let sealed = Sealed::new(SOURCES);
        planted(&sealed.project);
        sealed.backup(0);
        names.push(objects(&sealed.project, ""));
    }
    let other = |name: &String| !names[1].contains_key(name) || name == "repository.json";
    let same: Vec<&String> = names[0].keys().filter(|name| !other(name)).collect();
    let recovery = |name: &&String| name.contains("recover") || name.contains("RECOVERY");
    assert!(same.iter().all(recovery), "{same:?}");
}

#[test]
fn a_recipient_is_added_by_one_who_has_a_key_and_then_opens_what_there_was() {
    let mut sealed = Sealed::new(SOURCES);
    planted(&sealed.project);
    let was = Held::of(&sealed.project.path("data"));
    let first = sealed.backup(0).id();
    let third = sealed.key("three.key");
    let all = [sealed.recipients.clone(), vec![third]].concat();
    sealed.to(&all, "");
    assert_eq!(problems(&sealed.backup(3)), ["recipients-changed"]);
    sealed.restore(&first, "never", "three.key").ended(12);
    // Who has no key cannot add one.
    let refused = sealed.keys(&["add", "--identity", "three.key"]).ended(12);
    assert_eq!(refused.problem().0, "key-missing");
    let added = sealed.keys(&["add", "--identity", "one.key"]).ended(0);
    assert_eq!(added.json["epochs"][0]["targets"], 1);
    sealed.restore(&first, "out", "three.key").ended(0);
    same("for the third key", &was, &sealed.project.path("out"));
    sealed.backup(0);
    // Once more changes nothing.
    let again = sealed.keys(&["add", "--identity", "one.key"]).ended(0);
    assert_eq!(again.json["epochs"][0]["targets"], 0);
    let journal = sealed.project.journal("dev");
    let sealings = journal.iter().filter(|record| record["event"] == "keys_sealed");
    assert_eq!(sealings.count(), 1);
    let shown = sealed.keys(&["show", "--identity", "three.key"]).ended(0);
    assert_eq!(shown.json["epochs"][0]["opens"], true);
    assert_eq!(shown.json["epochs"][0]["here"], "in use");
}

#[test]
fn a_recipient_who_was_rotated_out_reads_the_old_backups_and_not_the_new() {
    let mut sealed = Sealed::new(SOURCES);
    planted(&sealed.project);
    let was = Held::of(&sealed.project.path("data"));
    let old = sealed.backup(0).id();
    let keys = [sealed.recipients[0].clone(), sealed.key("three.key")];
    sealed.to(&keys, "protected = true\nstate = \"state\"");
    let words = ["rotate", "--confirm", "dev"];
    // Another state folder has no epoch to rotate.
    assert_eq!(sealed.keys(&words).ended(2).problem().0, "usage");
    sealed.to(&keys, "protected = true");
    assert_eq!(sealed.keys(&["rotate"]).ended(5).problem().0, "unconfirmed");
    let rotated = sealed.keys(&words).ended(0);
    sealed.to(&keys, "");
    let new = sealed.backup(0);
    assert!(new.json["new-bytes"].as_u64().unwrap() > 0, "everything is stored anew");
    sealed.restore(&new.id(), "never", "two.key").ended(12);
    sealed.restore(&new.id(), "new", "three.key").ended(0);
    same("the new one", &was, &sealed.project.path("new"));
    sealed.restore(&old, "old", "two.key").ended(0);
    sealed.restore(&old, "never", "three.key").ended(12);
    same("the old one", &was, &sealed.project.path("old"));
    assert_eq!(sealed.backup(0).json["new-bytes"], 0);
    let shown = sealed.keys(&["show"]).ended(0);
    let epochs = shown.json["epochs"].as_array().unwrap();
    let in_use = epochs.iter().find(|epoch| epoch["here"] == "in use").unwrap();
    assert_eq!(in_use["epoch"], rotated.json["epoch"]);
    assert_eq!((in_use["backups"].clone(), epochs.len()), (2.into(), 2));
}

#[test]
fn a_host_that_lost_its_state_begins_an_epoch_and_says_what_it_could_not_compare() {
    let sealed = Sealed::new(SOURCES);
    planted(&sealed.project);
    let was = Held::of(&sealed.project.path("data"));
    let old = sealed.backup(0).id();
    fs::remove_dir_all(sealed.project.path(".strongroom")).unwrap();
    let new = sealed.backup(3);
    assert_eq!(problems(&new), ["epoch-lost", "epoch-lost"]);
    for (id, out) in [(old, "old"), (new.id(), "new")] {
        sealed.restore(&id, out, "one.key").ended(0);
        same(out, &was, &sealed.project.path(out));
    }
    sealed.backup(0);
}

#[test]
fn a_log_is_proven_by_what_a_sealed_record_says_of_it() {
    let sealed = Sealed::new(SOURCES);
    planted(&sealed.project);
    sealed.backup(0);
    fs::remove_dir_all(sealed.project.path(".strongroom/dev/logs")).unwrap();
    let log = sealed.project.path("data/events/000000.jsonl");
    let text = fs::read_to_string(&log).unwrap();
    fs::write(&log, text.replacen("somebody", "nobodies", 1)).unwrap();
    assert_eq!(sealed.backup(5).problem().0, "log-rewritten");
}

#[test]
fn one_recipient_and_an_identity_on_the_host_are_told() {
    let mut sealed = Sealed::new(SOURCES);
    planted(&sealed.project);
    let one = vec![sealed.recipients[0].clone()];
    sealed.to(&one, "");
    assert_eq!(problems(&sealed.backup(3)), ["one-recipient"]);
    let text = fs::read_to_string(sealed.project.path("one.key")).unwrap();
    let identity = text.lines().last().unwrap();
    sealed.project.write("secrets", &format!("OPERATOR={identity}\n"));
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(sealed.project.path("secrets"), mode).unwrap();
    let both = sealed.recipients.clone();
    let named = |sealed: &Sealed| {
        sealed.project.environment(
            "dev",
            &format!(
                "[secrets]\nfile = \"secrets\"\n[encryption]\nrecipients = {both:?}\nidentity = {{ secret = \"OPERATOR\" }}\n"
            ),
        );
    };
    named(&sealed);
    let ran = sealed.backup(3);
    assert_eq!(problems(&ran), ["one-recipient", "identity-on-host"]);
    assert!(!ran.stderr.contains(identity) && !ran.json.to_string().contains(identity));
    // It opens without `--identity`; away from the host, nothing is said.
    sealed.project.restore("latest", &["--to", "out"]).ended(0);
    fs::write(sealed.project.path("secrets"), "OTHER=x\n").unwrap();
    assert_eq!(problems(&sealed.backup(3)), ["one-recipient"]);
}

#[test]
fn keys_of_somebody_else_under_the_name_of_an_epoch_are_refused() {
    let sealed = Sealed::new(SOURCES);
    planted(&sealed.project);
    let id = sealed.backup(0).id();
    let other = Sealed::new(SOURCES);
    planted(&other.project);
    other.to_same(&sealed);
    other.backup(0);
    let key = |sealed: &Sealed| objects(&sealed.project, "keys").into_keys().next().unwrap();
    let (ours, theirs) = (key(&sealed), key(&other));
    let planted = fs::read(other.project.path("backups").join(theirs)).unwrap();
    fs::write(sealed.project.path("backups").join(ours), planted).unwrap();
    assert_eq!(sealed.restore(&id, "never", "one.key").ended(4).problem().0, "damaged");
    // The host does not go on as if its keys were there.
    assert_eq!(sealed.backup(4).problem().0, "damaged");
}

impl Sealed {
    /// Seals to the keys of another project.
    fn to_same(&self, other: &Self) {
        self.project
            .environment("dev", &format!("[encryption]\nrecipients = {:?}\n", other.recipients));
    }
}

#[test]
fn a_backup_that_nobody_trusted_signed_is_refused_unless_that_is_accepted() {
    let sealed = Sealed::new(SOURCES);
    planted(&sealed.project);
    let id = sealed.backup(0).id();
    let shown = sealed.keys(&["show"]).ended(0);
    let signer = shown.json["signer"].as_str().unwrap().to_owned();
    let host = signer.split('+').next().unwrap().to_owned();
    let trusting = |key: &str| {
        sealed.project.environment(
            "dev",
            &format!(
                "[signers]\n\"{host}\" = \"{key}\"\n[encryption]\nrecipients = {:?}\n",
                sealed.recipients
            ),
        );
    };
    trusting(&signer);
    sealed.restore(&id, "signed", "one.key").ended(0);
    let verify = ["verify", &id, "--env", "dev", "--level", "objects"];
    sealed.project.run(&verify).ended(0);
    // Another host's key.
    let other = Sealed::new(SOURCES);
    planted(&other.project);
    other.backup(0);
    let stranger = other.keys(&["show"]).ended(0).json["signer"]
        .as_str()
        .unwrap()
        .to_owned();
    trusting(&stranger);
    let refused = sealed.restore(&id, "never", "one.key").ended(4);
    assert_eq!(refused.problem().0, "unsigned");
    assert_eq!(sealed.project.run(&verify).ended(4).problem().0, "unsigned");
    let accepted = [&verify[..], &["--trust-unsigned"]].concat();
    assert_eq!(problems(&sealed.project.run(&accepted).ended(3)), ["unsigned"]);
    let accepted = ["--to", "accepted", "--identity", "one.key", "--trust-unsigned"];
    assert_eq!(problems(&sealed.project.restore(&id, &accepted).ended(3)), ["unsigned"]);
    // A record that was changed after it was signed.
    trusting(&signer);
    let record = sealed.project.path(&format!("backups/backups/dev/{id}.json"));
    let mut json: Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    json["pipeline"] = "other".into();
    fs::write(&record, serde_json::to_vec_pretty(&json).unwrap()).unwrap();
    assert_eq!(sealed.project.run(&verify).ended(4).problem().0, "unsigned");
    // One without a signature.
    let new = sealed.backup(0).id();
    fs::remove_file(sealed.project.path(&format!("backups/backups/dev/{new}.sig"))).unwrap();
    assert_eq!(
        sealed.restore(&new, "never", "one.key").ended(4).problem().0,
        "unsigned"
    );
    assert!(!sealed.project.path("never").exists());
}

#[test]
fn what_age_and_the_common_tools_make_of_it_is_the_archive() {
    let sealed = Sealed::new(SOURCES.split("[[step]]").next().unwrap());
    planted(&sealed.project);
    let id = sealed.backup(0).id();
    let script = format!(
        "set -euo pipefail; cd backups; epoch=$(ls keys/*.age); age -d -i ../one.key \"$epoch\" > ../epoch.key\n\
         mkdir ../by-hand; age -d -i ../epoch.key archives/dev/{id}.* | zstd -dcq | tar -xf - -C ../by-hand\n\
         diff -r ../data/files ../by-hand/files; diff -r ../data/events ../by-hand/events"
    );
    let done = Command::new("bash")
        .args(["-c", &script])
        .current_dir(sealed.project.path(""))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "apt-get install age zstd tar: {said}");
}

#[test]
fn a_key_is_made_once_and_is_one_that_age_takes() {
    let project = Project::new("");
    project.run(&["keys", "new", "a.key"]).ended(0);
    let text = fs::read_to_string(project.path("a.key")).unwrap();
    assert_eq!(mode(&project.path("a.key")), 0o600);
    assert_eq!(project.run(&["keys", "new", "a.key"]).ended(2).problem().0, "usage");
    assert_eq!(fs::read_to_string(project.path("a.key")).unwrap(), text);
    let told = Command::new("age-keygen")
        .arg("-y")
        .arg(project.path("a.key"))
        .output()
        .unwrap();
    let recipient = text
        .lines()
        .find_map(|line| line.strip_prefix("# public key: "))
        .unwrap();
    assert_eq!(String::from_utf8(told.stdout).unwrap().trim(), recipient);
}

fn mode(path: &Path) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path).unwrap().permissions()) & 0o777
}
