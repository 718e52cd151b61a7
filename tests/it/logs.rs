//! Append-only logs through backups and restores: each scenario with its verdict and its exit code.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::projects::{Project, Ran, STORE};

impl Ran {
    fn head(&self) -> &Value {
        &self.json["sources"][0]["log-head"]
    }

    fn generation(&self) -> u64 {
        self.head()["generation"].as_u64().unwrap()
    }
}

impl Project {
    fn log(&self) -> PathBuf {
        self.path("data/events")
    }

    /// Appends the records `from` to `to` to a file of the log.
    fn append(&self, file: &str, from: u32, to: u32) {
        let path = self.log().join(file);
        let mut file = fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
        for number in from..=to {
            writeln!(file, "{{\"record\":{number:06},\"text\":\"{}\"}}", "x".repeat(40)).unwrap();
        }
    }
}

/// The source `events` with further settings.
fn events(settings: &str) -> String {
    format!("[[step.source]]\nname = \"events\"\ntype = \"append-log\"\npath = \"data/events\"\n{settings}\n")
}

fn project() -> Project {
    let project = Project::new(&events(""));
    fs::create_dir_all(project.log()).unwrap();
    project
}

fn bytes(folder: &Path) -> Vec<u8> {
    let mut names: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.sort();
    names.iter().flat_map(|path| fs::read(path).unwrap()).collect()
}

#[test]
fn a_log_that_grew_or_did_not_is_backed_up_in_its_generation() {
    let project = project();
    project.append("1.jsonl", 1, 100);
    let first = project.backup(&[]).ended(0);
    assert_eq!((first.generation(), first.head()["records"].as_u64()), (1, Some(100)));
    assert_eq!(
        first.head()["blake3"],
        blake3::hash(&bytes(&project.log())).to_hex().to_string()
    );
    project.backup(&[]).ended(0);
    project.append("1.jsonl", 101, 150);
    project.append("2.jsonl", 151, 200);
    let grown = project.backup(&[]).ended(0);
    assert_eq!((grown.generation(), grown.head()["records"].as_u64()), (1, Some(200)));
    assert!(grown.head().get("fork").is_none());
    // Three files in place of two: the log is the row of its bytes, whatever they are called.
    let whole = bytes(&project.log());
    for name in ["1.jsonl", "2.jsonl"] {
        fs::remove_file(project.log().join(name)).unwrap();
    }
    for (number, piece) in whole.chunks(whole.len() / 3 + 1).enumerate() {
        fs::write(project.log().join(format!("part-{number}")), piece).unwrap();
    }
    assert_eq!(project.backup(&[]).ended(3).generation(), 1);
}

#[test]
fn a_log_that_shrank_is_refused_and_nothing_is_stored() {
    let project = project();
    project.append("1.jsonl", 1, 100);
    project.append("2.jsonl", 101, 150);
    let id = project.backup(&[]).ended(0).id();
    let whole = fs::read(project.log().join("2.jsonl")).unwrap();
    fs::write(project.log().join("2.jsonl"), &whole[..whole.len() / 2]).unwrap();
    let (code, said) = project.backup(&[]).ended(5).problem();
    assert_eq!(code, "log-shrank");
    assert!(said.contains("ends before record 126") && said.contains(&id), "{said}");
    assert!(said.contains("no backup was made"), "{said}");
    assert_eq!(project.backups(), 1);
    // A file that is not there any more is shrinkage.
    fs::remove_file(project.log().join("1.jsonl")).unwrap();
    fs::write(project.log().join("2.jsonl"), &whole).unwrap();
    let (code, said) = project.backup(&[]).ended(5).problem();
    assert_eq!(code, "log-shrank");
    assert!(
        said.contains("lacks its file `1.jsonl`") && said.contains("number 1"),
        "{said}"
    );
    fs::remove_file(project.log().join("2.jsonl")).unwrap();
    let (code, _) = project.backup(&[]).ended(5).problem();
    assert_eq!(code, "log-shrank");
    assert_eq!(project.backups(), 1);
}

#[test]
fn one_byte_changed_in_the_middle_is_refused_with_the_record_it_is_in() {
    let project = project();
    project.append("1.jsonl", 1, 3000);
    project.append("2.jsonl", 3001, 4000);
    let id = project.backup(&[]).ended(0).id();
    project.append("2.jsonl", 4001, 4100);
    let path = project.log().join("1.jsonl");
    let mut changed = fs::read(&path).unwrap();
    let length = changed.len() / 3000;
    changed[length * 1233 + 30] = b'!';
    fs::write(&path, changed).unwrap();
    let (code, said) = project.backup(&[]).ended(5).problem();
    assert_eq!(code, "log-rewritten");
    assert!(said.contains("record 1234 is not what backup"), "{said}");
    assert!(
        said.contains(&id) && said.contains(&format!("`1.jsonl`, byte {}", length * 1233)),
        "{said}"
    );
    assert!(said.contains("\"record\":001234") && said.contains("xxx!xxx"), "{said}");
    assert_eq!(project.backups(), 1);
    // Without the content of the backup the digests of files tell as much as they can.
    fs::remove_dir_all(project.path("backups/archives")).unwrap();
    let (code, said) = project.backup(&[]).ended(5).problem();
    assert_eq!(code, "log-rewritten");
    assert!(said.contains("up to `1.jsonl`"), "{said}");
}

#[test]
fn a_secret_in_a_changed_record_is_not_shown_and_no_record_is_where_it_is_protected() {
    let secret = format!("{}-{}", "s3cr3t", std::process::id());
    let project = project();
    project.write(".env.dev", &format!("TOKEN={secret}\n"));
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(project.path(".env.dev"), mode).unwrap();
    project.environment("dev", "secrets = { file = \".env.dev\" }");
    let store = format!(
        "[[step]]\nid = \"scrub\"\ntype = \"redact\"\nsources = [\"config\"]\nvalues = [{{ secret = \"TOKEN\" }}]\n{STORE}"
    );
    let text = fs::read_to_string(project.path("pipelines/backup.toml")).unwrap();
    let config = "[[step.source]]\nname = \"config\"\ntype = \"files\"\npath = \"config\"\n";
    project.write(
        "pipelines/backup.toml",
        &text.replace(STORE, &format!("{config}{store}")),
    );
    project.write("config/x.toml", "a = 1\n");
    fs::write(project.log().join("1"), format!("one {secret}\ntwo\n")).unwrap();
    project.backup(&[]).ended(0);
    fs::write(project.log().join("1"), format!("One {secret}\ntwo\n")).unwrap();
    let (_, said) = project.backup(&[]).ended(5).problem();
    assert!(said.contains("One") && !said.contains(&secret), "{said}");
    project.environment("dev", "secrets = { file = \".env.dev\" }\nprotected = true");
    let (code, said) = project.backup(&[]).ended(5).problem();
    assert_eq!(code, "log-rewritten");
    assert!(said.contains("record 1 ") && !said.contains("One"), "{said}");
}

#[test]
fn rotation_is_accepted_where_it_is_declared_and_takes_whole_files_off_the_beginning() {
    let project = project();
    for file in 0..4 {
        project.append(&format!("{file}.jsonl"), file * 10 + 1, file * 10 + 10);
    }
    project.backup(&[]).ended(0);
    fs::remove_file(project.log().join("0.jsonl")).unwrap();
    project.append("3.jsonl", 41, 45);
    assert_eq!(project.backup(&[]).ended(5).problem().0, "log-shrank");
    project.pipeline("backup", &events("rotate = \"oldest-files\""));
    let rotated = project.backup(&[]).ended(0);
    assert_eq!(
        (rotated.generation(), rotated.head()["rotated"]["records"].as_u64()),
        (1, Some(10))
    );
    project.append("4.jsonl", 46, 50);
    fs::remove_file(project.log().join("1.jsonl")).unwrap();
    let rotated = project.backup(&[]).ended(0);
    assert_eq!(rotated.head()["rotated"]["files"], 2);
    assert_eq!(rotated.head()["rotated"]["records"], 20);
    // What is left must be as it was: one byte in a file that stays, counted from the log's first record.
    let path = project.log().join("3.jsonl");
    let whole = fs::read(&path).unwrap();
    let mut changed = whole.clone();
    changed[25] = b'!';
    fs::write(&path, changed).unwrap();
    let (code, said) = project.backup(&[]).ended(5).problem();
    assert_eq!(code, "log-rewritten");
    assert!(
        said.contains("record 31 ") && said.contains("`3.jsonl`, byte 0"),
        "{said}"
    );
    fs::write(&path, whole).unwrap();
    // A file out of the middle is no rotation.
    let middle = fs::read(project.log().join("3.jsonl")).unwrap();
    fs::remove_file(project.log().join("3.jsonl")).unwrap();
    assert_eq!(project.backup(&[]).ended(5).problem().0, "log-shrank");
    fs::write(project.log().join("3.jsonl"), middle).unwrap();
    project.backup(&[]).ended(0);
    // Everything gone: nobody can say what was between.
    for file in 2..5 {
        fs::remove_file(project.log().join(format!("{file}.jsonl"))).unwrap();
    }
    project.append("5.jsonl", 61, 70);
    let gap = project.backup(&[]).ended(3);
    assert_eq!((gap.problem().0, gap.generation()), ("log-gap".to_owned(), 1));
    assert_eq!(gap.head()["rotated"]["records"], 50);
}

#[test]
fn a_log_restored_to_an_older_state_and_grown_again_begins_a_generation() {
    let project = project();
    project.append("1.jsonl", 1, 100);
    let old = project.backup(&[]).ended(0).id();
    project.append("1.jsonl", 101, 200);
    let new = project.backup(&[]).ended(0).id();
    let restored = project.restore(&old, &[]).ended(0);
    assert_eq!(restored.json["rewound"][0]["records"], 100);
    assert!(project.path("data/.events.strongroom-lineage.json").exists());
    project.append("1.jsonl", 501, 510);
    let forked = project.backup(&[]).ended(0);
    assert_eq!((forked.generation(), forked.head()["records"].as_u64()), (2, Some(110)));
    let fork = &forked.head()["fork"];
    assert_eq!(
        (&fork["why"], &fork["backup"], &fork["replaces"]),
        (&"restored".into(), &old.into(), &new.into())
    );
    assert_eq!(
        (&fork["records"], &fork["replaced-records"]),
        (&100.into(), &200.into())
    );
    let journal = project.journal("dev");
    let events: Vec<&str> = journal.iter().map(|record| record["event"].as_str().unwrap()).collect();
    let rewound = events.iter().position(|event| *event == "log_rewound").unwrap();
    let swapped = events.iter().position(|event| *event == "swap_intended").unwrap();
    assert!(rewound < swapped, "{events:?}");
    assert_eq!(journal[rewound]["records"], 100);
    assert!(events.contains(&"log_forked"), "{events:?}");
    // It goes on from there, and what the restore noted does not count a second time.
    project.append("1.jsonl", 511, 520);
    let next = project.backup(&[]).ended(0);
    assert_eq!((next.generation(), &next.head()["fork"]), (2, fork));
    let whole = fs::read(project.log().join("1.jsonl")).unwrap();
    fs::write(project.log().join("1.jsonl"), &whole[..whole.len() / 120 * 100]).unwrap();
    assert_eq!(project.backup(&[]).ended(5).problem().0, "log-shrank");
}

#[test]
fn a_log_that_a_rollback_puts_back_goes_on_from_the_backup_that_has_it() {
    let project = project();
    project.append("1.jsonl", 1, 100);
    let old = project.backup(&[]).ended(0).id();
    project.append("1.jsonl", 101, 200);
    let new = project.backup(&[]).ended(0).id();
    project.append("1.jsonl", 201, 205);
    project.restore(&old, &[]).ended(0);
    project.append("1.jsonl", 501, 510);
    assert_eq!(project.backup(&[]).ended(0).generation(), 2);
    project.environment("dev", "protected = true");
    project.run(&["rollback", "--env", "dev", "--confirm", "dev"]).ended(0);
    let back = project.backup(&[]).ended(0);
    assert_eq!((back.generation(), &back.head()["records"]), (3, &205.into()));
    assert_eq!(back.head()["fork"]["backup"], new);
    assert_eq!(project.backup(&[]).ended(0).generation(), 3);
}

#[test]
fn a_restored_log_that_is_changed_before_the_next_backup_is_refused() {
    let project = project();
    project.append("1.jsonl", 1, 100);
    let old = project.backup(&[]).ended(0).id();
    project.append("1.jsonl", 101, 200);
    project.backup(&[]).ended(0);
    project.restore(&old, &[]).ended(0);
    let path = project.log().join("1.jsonl");
    let mut changed = fs::read(&path).unwrap();
    changed[20] = b'!';
    fs::write(&path, changed).unwrap();
    assert_eq!(project.backup(&[]).ended(5).problem().0, "log-rewritten");
    assert_eq!(project.backups(), 2);
}

#[test]
fn a_rewrite_that_the_operator_names_begins_a_generation_once() {
    let project = project();
    project.append("1.jsonl", 1, 100);
    let before = project.backup(&[]).ended(0).id();
    fs::write(project.log().join("1.jsonl"), "another log\n").unwrap();
    project.backup(&[]).ended(5);
    let wrong = project.backup(&["--accept-log-rewrite", "other"]).ended(2);
    assert!(wrong.problem().1.contains("events"), "{:?}", wrong.problem());
    let accepted = project.backup(&["--accept-log-rewrite", "events"]).ended(0);
    assert_eq!(accepted.generation(), 2);
    assert_eq!(accepted.head()["fork"]["why"], "accepted");
    assert_eq!(accepted.head()["fork"]["replaces"], before);
    // Where nothing was rewritten the option changes nothing.
    assert_eq!(
        project
            .backup(&["--accept-log-rewrite", "events"])
            .ended(0)
            .generation(),
        2
    );
    fs::write(project.log().join("1.jsonl"), "a third one\n").unwrap();
    project.backup(&[]).ended(5);
    let (_, said) = project
        .restore(&before, &["--accept-log-rewrite", "events"])
        .ended(2)
        .problem();
    assert!(said.starts_with("unexpected argument"), "{said}");
}

#[test]
fn a_protected_log_is_rewound_only_when_it_is_named() {
    let project = project();
    project.append("1.jsonl", 1, 100);
    let old = project.backup(&[]).ended(0).id();
    project.append("1.jsonl", 101, 110);
    project.backup(&[]).ended(0);
    project.environment("dev", "protected = true");
    let before = bytes(&project.log());
    let (code, said) = project.restore(&old, &["--confirm", "dev"]).ended(5).problem();
    assert_eq!(code, "log-rewind");
    assert!(
        said.contains("lose 10 records") && said.contains("--rewind-log events"),
        "{said}"
    );
    assert!(said.contains("nothing present was touched"), "{said}");
    assert_eq!(bytes(&project.log()), before);
    project
        .restore(&old, &["--confirm", "dev", "--rewind-log", "events"])
        .ended(0);
    assert_eq!(project.backup(&[]).ended(0).generation(), 2);
    // The newest backup takes nothing from the log.
    project.restore("latest", &["--confirm", "dev"]).ended(0);
    let wrong = project
        .restore(&old, &["--confirm", "dev", "--rewind-log", "other"])
        .ended(2);
    assert!(wrong.problem().1.contains("events"), "{:?}", wrong.problem());
}

#[test]
fn a_log_with_other_records_than_the_backup_is_replaced_only_when_it_is_named() {
    let project = project();
    project.append("1.jsonl", 1, 100);
    let id = project.backup(&[]).ended(0).id();
    fs::write(project.log().join("1.jsonl"), "another log\n").unwrap();
    let (code, said) = project.restore(&id, &[]).ended(5).problem();
    assert_eq!(code, "log-rewind");
    assert!(
        said.contains("lose 1 record (") && said.contains("differ from record 1"),
        "{said}"
    );
    assert_eq!(fs::read(project.log().join("1.jsonl")).unwrap(), b"another log\n");
    project.restore(&id, &["--rewind-log", "events"]).ended(0);
    // Half a record that a crash left is no record, and an empty or absent log loses none.
    fs::write(project.log().join("1.jsonl"), "torn").unwrap();
    project.restore(&id, &[]).ended(0);
    fs::remove_dir_all(project.log()).unwrap();
    project.restore(&id, &[]).ended(0);
    project.backup(&[]).ended(0);
}

#[test]
fn a_log_that_rotation_shortened_since_is_rewound_by_what_came_after_the_backup() {
    let project = Project::new(&events("rotate = \"oldest-files\""));
    fs::create_dir_all(project.log()).unwrap();
    for file in 0..3 {
        project.append(&format!("{file}.jsonl"), file * 10 + 1, file * 10 + 10);
    }
    let old = project.backup(&[]).ended(0).id();
    fs::remove_file(project.log().join("0.jsonl")).unwrap();
    project.append("3.jsonl", 31, 35);
    project.backup(&[]).ended(0);
    assert_eq!(project.restore(&old, &[]).ended(0).json["rewound"][0]["records"], 5);
    assert_eq!(project.backup(&[]).ended(0).generation(), 2);
}

#[test]
fn two_instances_are_never_held_against_each_other() {
    let project = project();
    let on = |instance: &str, records: std::ops::RangeInclusive<u32>| {
        project.environment("dev", &format!("instance = \"{instance}\""));
        fs::write(project.log().join("1.jsonl"), "").unwrap();
        project.append("1.jsonl", *records.start(), *records.end());
        project.backup(&[])
    };
    on("one", 1..=100).ended(0);
    on("two", 501..=520).ended(0);
    assert_eq!(on("one", 1..=110).ended(0).generation(), 1);
    assert_eq!(on("two", 501..=530).ended(0).generation(), 1);
    assert_eq!(on("one", 1..=109).ended(5).problem().0, "log-shrank");
    assert_eq!(on("two", 501..=531).ended(0).head()["records"], 31);
}

#[test]
fn what_a_restore_noted_counts_for_every_pipeline_that_backs_the_log_up_once() {
    let project = project();
    project.pipeline("nightly", &events(""));
    let nightly = || project.run(&["run", "nightly", "--env", "dev"]);
    project.append("1.jsonl", 1, 100);
    let old = project.backup(&[]).ended(0).id();
    project.append("1.jsonl", 101, 200);
    nightly().ended(0);
    project.restore(&old, &[]).ended(0);
    project.append("1.jsonl", 501, 510);
    // For `backup` the log goes on from its newest; for `nightly` it does not.
    assert_eq!(project.backup(&[]).ended(0).generation(), 1);
    assert_eq!(nightly().ended(0).generation(), 2);
    assert_eq!(nightly().ended(0).generation(), 2);
}

#[test]
fn a_note_beside_a_protected_log_counts_only_where_a_backup_bears_it_out() {
    let project = project();
    project.append("1.jsonl", 1, 100);
    let old = project.backup(&[]).ended(0).id();
    project.append("1.jsonl", 101, 200);
    project.backup(&[]).ended(0);
    project.restore(&old, &[]).ended(0);
    project.environment("dev", "protected = true");
    // As someone would write it who cut the log further than any backup did.
    let note = project.path("data/.events.strongroom-lineage.json");
    let text = fs::read_to_string(&note).unwrap();
    let cut = fs::read(project.log().join("1.jsonl")).unwrap();
    let cut = &cut[..cut.len() / 2];
    fs::write(project.log().join("1.jsonl"), cut).unwrap();
    let mut forged: Value = serde_json::from_str(&text).unwrap();
    let head = &mut forged["entries"][0]["head"];
    head["length"] = cut.len().into();
    head["records"] = 50.into();
    head["blake3"] = blake3::hash(cut).to_hex().to_string().into();
    head["files"] = serde_json::json!([]);
    fs::write(&note, forged.to_string()).unwrap();
    let (code, said) = project.backup(&[]).ended(5).problem();
    assert_eq!(code, "log-shrank");
    assert!(said.contains("noted beside the log"), "{said}");
}

#[test]
fn a_log_that_is_proven_by_its_tail_is_looked_at_before_anything_is_read() {
    let databases = "[[step.source]]\nname = \"a\"\ntype = \"sqlite\"\npath = \"db/a.db\"\n";
    let project = Project::new(&format!("{databases}{}", events("prefix-check = \"tail\"")));
    fs::create_dir(project.path("db")).unwrap();
    let database = rusqlite::Connection::open(project.path("db/a.db")).unwrap();
    database
        .execute_batch("CREATE TABLE t (a); CREATE TABLE u (a)")
        .unwrap();
    drop(database);
    fs::create_dir_all(project.log()).unwrap();
    project.append("1.jsonl", 1, 40_000);
    project.backup(&[]).ended(0);
    let kept = || {
        let names = fs::read_dir(project.path(".strongroom/dev/logs")).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".blocks")).count()
    };
    assert_eq!(kept(), 1);
    project.append("1.jsonl", 40_001, 40_100);
    project.backup(&[]).ended(0);
    assert_eq!(kept(), 1, "of the newest backup alone");
    let path = project.log().join("1.jsonl");
    let whole = fs::read(&path).unwrap();
    let mut changed = whole.clone();
    changed[100] = b'!';
    fs::write(&path, &changed).unwrap();
    // What stands before the log would end the run too, but nobody gets as far as that.
    let sound = fs::read(project.path("db/a.db")).unwrap();
    let mut damaged = sound.clone();
    damaged[4096..4200].fill(0xff);
    fs::write(project.path("db/a.db"), &damaged).unwrap();
    let refused = project.backup(&[]).ended(5);
    assert_eq!(refused.problem().0, "log-rewritten");
    assert!(refused.problem().1.contains("record 2 "), "{:?}", refused.problem());
    fs::write(&path, &whole).unwrap();
    assert_eq!(project.backup(&[]).ended(4).problem().0, "sqlite-corrupt");
    fs::write(&path, &changed).unwrap();
    fs::write(project.path("db/a.db"), &sound).unwrap();
    // Without the state the same is found while the log is read.
    fs::remove_dir_all(project.path(".strongroom")).unwrap();
    assert_eq!(project.backup(&[]).ended(5).problem().0, "log-rewritten");
    assert_eq!(project.backups(), 2);
    project.environment("dev", "protected = true");
    let (code, said) = project.backup(&[]).ended(78).problem();
    assert_eq!(code, "protected-step");
    assert!(said.contains("events"), "{said}");
}
