//! Retention on real backups, `forget`, `sweep`, and what the journal has to do with them: the whole program on the example
//! service.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;

use serde_json::Value;
use strongroom::journal::{Entry, Event, Journal, Setup, Status, Sync};
use strongroom::state::StateFolder;

use crate::transcript::Scratch;
use crate::trees;

/// Rules under which the newest three stay and nothing else counts.
const LAST_THREE: &str = "--set step.retention.keep-last=3 --set step.retention.keep-daily=0 \
    --set step.retention.keep-weekly=0 --set step.retention.keep-monthly=0 --set 'step.retention.keep-within=\"0h\"' \
    --set 'step.retention.max-remove=\"100%\"'";

fn bash(scratch: &Scratch, script: &str) -> Output {
    scratch.bash(script).output().unwrap()
}

/// Runs a script that must end with `exit`; gives what it said.
fn expect(scratch: &Scratch, exit: i32, script: &str) -> String {
    let output = bash(scratch, script);
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(exit), "{script}\n{out}\n{err}");
    out + &err
}

fn json(scratch: &Scratch, exit: i32, script: &str) -> Value {
    let output = bash(scratch, script);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(exit), "{script}\n{told}");
    serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"))
}

/// A project with the example service and so many backups, none of which retention removed.
fn with_backups(count: usize) -> (Scratch, Vec<String>) {
    let scratch = Scratch::new();
    expect(&scratch, 0, "service init --env dev");
    for _ in 0..count {
        expect(&scratch, 0, "strongroom backup -e dev -q");
    }
    let ids = ids(&scratch);
    assert_eq!(ids.len(), count);
    (scratch, ids)
}

/// The ids of the backups of `dev`, oldest first.
fn ids(scratch: &Scratch) -> Vec<String> {
    let listed = json(scratch, 0, "strongroom list -e dev --json");
    let mut backups: Vec<(u64, String)> = listed["backups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            (
                one["sequence"].as_u64().unwrap(),
                one["id"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    backups.sort();
    backups.into_iter().map(|(_, id)| id).collect()
}

/// Every file below a folder of the project, with its digest.
fn content(scratch: &Scratch, folder: &str) -> String {
    expect(
        scratch,
        0,
        &format!("find {folder} -type f -exec b3sum {{}} + | sort -k 2"),
    )
}

fn texts(value: &Value) -> Vec<String> {
    let texts = value.as_array().unwrap().iter();
    texts.map(|text| text.as_str().unwrap().to_owned()).collect()
}

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort();
    texts
}

fn path(scratch: &Scratch, name: &str) -> PathBuf {
    scratch.project().join(name)
}

/// Adds lines to the environment `dev`.
fn environment(scratch: &Scratch, first: &str, last: &str) {
    let file = path(scratch, "pipelines/environments/dev.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text.replacen("[path]", &format!("{first}\n[path]"), 1);
    std::fs::write(&file, format!("{text}\n{last}\n")).unwrap();
}

fn flip(file: &Path, at: usize) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[at] ^= 1;
    std::fs::write(file, bytes).unwrap();
}

#[test]
fn a_preview_says_what_retention_then_does_and_changes_nothing() {
    let (scratch, ids) = with_backups(6);
    let before = content(&scratch, "backups .strongroom");
    // The newest two of six: what a run with three would leave of them beside its own.
    let preview = json(
        &scratch,
        0,
        &format!(
            "strongroom retention -e dev {} --json",
            LAST_THREE.replace("last=3", "last=2")
        ),
    );
    assert_eq!(content(&scratch, "backups .strongroom"), before);
    assert_eq!(sorted(texts(&preview["keep"])), sorted(ids[4..].to_vec()));
    assert_eq!(sorted(texts(&preview["remove"])), sorted(ids[..4].to_vec()));
    assert_eq!(preview["reasons"][&ids[5]], serde_json::json!(["last"]));
    assert_eq!(preview["reasons"][&ids[0]], serde_json::json!(["no rule keeps it"]));
    let line = &preview["lines"][0];
    assert_eq!(
        (line["target"].as_str(), line["pipeline"].as_str()),
        (Some("local"), Some("backup"))
    );
    assert_eq!(line["backups"].as_array().unwrap().len(), 6);

    let run = json(&scratch, 0, &format!("strongroom backup -e dev {LAST_THREE} --json"));
    let removed: Vec<String> = run["removed"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["backup"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(sorted(removed), sorted(ids[..4].to_vec()));
    // What the preview said would be freed is what was listed to be deleted later.
    assert_eq!(run["retention"]["listed"], preview["freed"]);
    assert_eq!(run["retention"]["deleted"]["objects"], 0);
    let left = self::ids(&scratch);
    assert_eq!(left.len(), 3);
    for id in left {
        expect(&scratch, 0, &format!("strongroom verify {id} -e dev -q"));
    }
}

#[test]
fn rules_given_by_hand_are_tried_on_every_pipeline_and_guarded() {
    let (scratch, ids) = with_backups(4);
    let held = json(&scratch, 3, "strongroom retention -e dev --policy keep-last=1 --json");
    assert_eq!(
        sorted(texts(&held["keep"])),
        sorted(ids.clone()),
        "max-remove holds all of them back"
    );
    assert_eq!(held["diagnostics"][0]["code"], "retention-held-back");
    let one = json(&scratch, 0, "strongroom retention -e dev --policy keep-last=3 --json");
    assert_eq!(texts(&one["remove"]), ids[..1]);
    let none = json(
        &scratch,
        0,
        "strongroom retention -e dev --policy keep-last=1 --pipeline other --json",
    );
    assert_eq!((texts(&none["keep"]), texts(&none["remove"])), (Vec::new(), Vec::new()));
    // Backups dated ahead stay: seen from last year all of them are.
    let ahead = json(
        &scratch,
        0,
        "strongroom retention -e dev --policy keep-last=1 --at 2020-01-01T00:00:00Z --json",
    );
    assert_eq!(texts(&ahead["keep"]).len(), 4);
    let told = expect(
        &scratch,
        2,
        "strongroom retention -e dev --pipeline restore 2>&1; echo >&2; exit 2",
    );
    assert!(told.contains("error["), "{told}");
}

#[test]
fn what_retention_removed_goes_when_it_was_listed_long_enough_and_the_rest_is_whole() {
    let (scratch, _) = with_backups(5);
    expect(&scratch, 0, &format!("strongroom backup -e dev {LAST_THREE} -q"));
    let archives = "ls backups/dev/archives/dev | wc -l";
    assert_eq!(expect(&scratch, 0, archives).trim(), "6");
    let swept = json(&scratch, 0, "strongroom sweep -e dev --json");
    assert_eq!(swept["targets"][0]["deleted"]["objects"], 0);
    assert!(
        swept["targets"][0]["waiting"]["objects"].as_u64().unwrap() >= 9,
        "{swept}"
    );

    // The store's time stamps decide, not the clock of this host.
    expect(&scratch, 0, "touch -d '71 hours ago' backups/dev/sweep/*.json");
    assert_eq!(
        json(&scratch, 0, "strongroom sweep -e dev --json")["targets"][0]["deleted"]["objects"],
        0
    );
    expect(&scratch, 0, "touch -d '73 hours ago' backups/dev/sweep/*.json");
    let said = json(&scratch, 0, "strongroom sweep -e dev -n --json");
    assert_eq!(expect(&scratch, 0, archives).trim(), "6", "a dry run does nothing");
    let swept = json(&scratch, 0, "strongroom sweep -e dev --json");
    assert_eq!(said["targets"][0]["deleted"], swept["targets"][0]["deleted"]);
    assert_eq!(expect(&scratch, 0, archives).trim(), "3");
    for id in ids(&scratch) {
        expect(&scratch, 0, &format!("strongroom verify {id} -e dev -q"));
        expect(
            &scratch,
            0,
            &format!("cd backups/dev && b3sum --check --quiet sums/dev/{id}.b3"),
        );
    }
    // Each deletion stands in the journal before it happened, with its name.
    let journal = expect(&scratch, 0, "strongroom journal export -e dev");
    let intended: Vec<&str> = journal
        .lines()
        .filter(|line| line.contains("\"delete_intended\""))
        .collect();
    assert!(intended.iter().any(|line| line.contains("archives/dev/")), "{journal}");
    expect(&scratch, 0, "strongroom journal verify -e dev");
}

#[test]
fn a_retain_step_ends_with_a_sweep_of_what_is_due() {
    let (scratch, _) = with_backups(5);
    expect(&scratch, 0, &format!("strongroom backup -e dev {LAST_THREE} -q"));
    expect(&scratch, 0, "touch -d '73 hours ago' backups/dev/sweep/*.json");
    let run = json(&scratch, 0, &format!("strongroom backup -e dev {LAST_THREE} --json"));
    assert!(run["retention"]["deleted"]["objects"].as_u64().unwrap() >= 9, "{run}");
    assert_eq!(expect(&scratch, 0, "ls backups/dev/archives/dev | wc -l").trim(), "4");
}

#[test]
fn retention_and_sweeps_that_are_killed_at_any_moment_leave_whole_backups_alone() {
    let (scratch, _) = with_backups(4);
    let rounds = if std::env::var_os("STRONGROOM_TORTURE").is_some() {
        200
    } else {
        12
    };
    for round in 0..rounds {
        // What is on a list is due, so that the run deletes too.
        bash(&scratch, "touch -d '73 hours ago' backups/dev/sweep/*.json");
        let verb = if round % 4 == 3 { "sweep" } else { "backup" };
        let rules = if verb == "backup" { LAST_THREE } else { "" };
        let mut run = scratch.bash(&format!("exec strongroom {verb} -e dev -q {rules}"));
        run.stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        let mut run = run.spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20 + 13 * (round * 7 % 40)));
        drop(run.kill());
        run.wait().unwrap();
    }
    for id in ids(&scratch) {
        expect(&scratch, 0, &format!("strongroom verify {id} -e dev -q"));
    }
    // The next ones make good what was left halfway. A run killed while it wrote to the journal is told.
    let sweep =
        "touch -d '73 hours ago' backups/dev/sweep/*.json; strongroom sweep -e dev -q; [ $? -eq 0 -o $? -eq 3 ]";
    for _ in 0..4 {
        expect(&scratch, 0, sweep);
    }
    let count = |folder: &str| {
        expect(&scratch, 0, &format!("ls backups/dev/{folder}/dev | grep -vc sig$"))
            .trim()
            .to_owned()
    };
    assert_eq!(count("archives"), count("backups"), "what no backup needs is gone");
    assert_eq!(count("sums"), count("backups"));
    for id in ids(&scratch) {
        expect(&scratch, 0, &format!("strongroom verify {id} -e dev -q"));
    }
    expect(&scratch, 0, "strongroom journal verify -e dev");
}

#[test]
fn single_backups_are_let_go_but_never_the_newest_unsaid() {
    let (scratch, ids) = with_backups(4);
    for (wanted, exit, part) in [
        ("latest", 5, "newest-backup"),
        (ids[3].as_str(), 5, "--even-newest"),
        ("20200101T000000Z-0000", 10, "backup-unknown"),
        ("2", 2, "backup-ambiguous"),
    ] {
        let told = expect(&scratch, exit, &format!("strongroom forget {} {wanted} -e dev", ids[0]));
        assert!(told.contains(part), "{told}");
        assert_eq!(self::ids(&scratch), ids, "where one is refused none goes");
    }
    let said = json(
        &scratch,
        0,
        &format!("strongroom forget {} latest~1 -e dev -n --json", ids[0]),
    );
    assert!(said["freed"]["bytes"].as_u64().unwrap() > 1_000_000, "{said}");
    assert_eq!(self::ids(&scratch), ids);
    let done = json(
        &scratch,
        0,
        &format!("strongroom forget dev/{} latest~1 --json", ids[0]),
    );
    assert_eq!(self::ids(&scratch), [ids[1].clone(), ids[3].clone()]);
    assert_eq!(done["listed"], said["freed"]);
    assert_eq!(expect(&scratch, 0, "ls backups/dev/archives/dev | wc -l").trim(), "4");
    expect(&scratch, 0, "strongroom forget latest -e dev --even-newest");
    assert_eq!(self::ids(&scratch), ids[1..2]);
    expect(&scratch, 0, "strongroom verify latest -e dev -q");
    let other = expect(&scratch, 2, "strongroom forget dev/latest live/latest 2>&1; exit 2");
    assert!(other.contains("error[usage]"), "{other}");
}

#[test]
fn a_purge_deletes_at_once_and_only_what_nobody_else_needs() {
    let (scratch, ids) = with_backups(3);
    let done = json(
        &scratch,
        0,
        &format!("strongroom forget {} {} -e dev --purge --json", ids[0], ids[1]),
    );
    assert!(done["freed"]["bytes"].as_u64().unwrap() > 1_000_000, "{done}");
    assert_eq!(expect(&scratch, 0, "ls backups/dev/archives/dev | wc -l").trim(), "1");
    expect(&scratch, 0, "strongroom verify latest -e dev -q");
    let lists = expect(&scratch, 0, "cat backups/dev/sweep/*.json");
    assert!(lists.contains("\"when\": \"at-once\""), "{lists}");
    // With a run at work on this host nothing is purged.
    expect(&scratch, 0, "strongroom backup -e dev -q");
    let told = expect(
        &scratch,
        11,
        "exec 9>.strongroom/dev/backup.lock; flock 9; strongroom forget latest~1 -e dev --purge 9>&-",
    );
    assert!(told.contains("error[held]"), "{told}");
    assert_eq!(self::ids(&scratch).len(), 2);
    expect(
        &scratch,
        0,
        "exec 9>.strongroom/dev/backup.lock; flock 9; strongroom forget latest~1 -e dev 9>&-",
    );
}

#[test]
fn in_a_protected_environment_letting_go_needs_its_name() {
    let (scratch, ids) = with_backups(2);
    environment(&scratch, "protected = true", "");
    for confirm in ["", "--confirm live"] {
        let told = expect(&scratch, 5, &format!("strongroom forget {} -e dev {confirm}", ids[0]));
        assert!(
            told.contains("error[unconfirmed]") && told.contains("no backup was removed"),
            "{told}"
        );
    }
    assert_eq!(self::ids(&scratch).len(), 2);
    expect(
        &scratch,
        0,
        &format!("strongroom forget {} -e dev --confirm dev", ids[0]),
    );
    assert_eq!(self::ids(&scratch), ids[1..]);
    // A sweep takes no backup away, and asks nobody.
    expect(&scratch, 0, "strongroom sweep -e dev");
}

#[test]
fn with_a_record_that_cannot_be_read_nothing_is_deleted_and_the_backup_stands() {
    let (scratch, ids) = with_backups(5);
    expect(&scratch, 0, &format!("strongroom forget {} -e dev", ids[0]));
    expect(&scratch, 0, "touch -d '73 hours ago' backups/dev/sweep/*.json");
    let record = path(&scratch, &format!("backups/dev/backups/dev/{}.json", ids[1]));
    let good = std::fs::read(&record).unwrap();
    std::fs::remove_file(&record).unwrap();
    std::fs::write(&record, b"{").unwrap();
    let before = content(&scratch, "backups");

    let told = expect(&scratch, 4, "strongroom sweep -e dev");
    assert!(
        told.contains("error[damaged]") && told.contains("nothing was deleted"),
        "{told}"
    );
    assert_eq!(content(&scratch, "backups"), before);
    let run = json(&scratch, 3, &format!("strongroom backup -e dev {LAST_THREE} --json"));
    let codes: Vec<&str> = run["diagnostics"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|one| one["code"].as_str())
        .collect();
    assert!(codes.contains(&"sweep-held-back"), "{codes:?}");
    assert!(run["backup"].is_string());
    assert_eq!(run["removed"].as_array().unwrap().len(), 0);

    // Only its whole id names it, and only with a further word.
    let id = &ids[1];
    expect(&scratch, 10, &format!("strongroom forget {} -e dev", &id[..20]));
    let told = expect(&scratch, 5, &format!("strongroom forget {id} -e dev"));
    assert!(told.contains("may be the newest"), "{told}");
    let kept = json(
        &scratch,
        0,
        &format!("strongroom forget {id} -e dev --even-newest --json"),
    );
    assert_eq!(
        kept["diagnostics"].as_array().unwrap().len(),
        0,
        "once it is gone all is known again: {kept}"
    );
    assert!(!record.exists());
    assert!(
        json(&scratch, 0, "strongroom sweep -e dev --json")["targets"][0]["deleted"]["objects"]
            .as_u64()
            .unwrap()
            > 0
    );
    for id in self::ids(&scratch) {
        expect(&scratch, 0, &format!("strongroom verify {id} -e dev -q"));
    }
    drop(good);
}

#[test]
fn a_backup_that_is_not_whole_counts_for_nothing_and_is_told() {
    let (scratch, ids) = with_backups(4);
    std::fs::remove_file(path(&scratch, &format!("backups/dev/archives/dev/{}.tar.zst", ids[3]))).unwrap();
    let answer = json(
        &scratch,
        3,
        "strongroom retention -e dev --policy keep-last=1,keep-hourly=0 --json --target local",
    );
    assert_eq!(answer["diagnostics"][0]["code"], "damaged");
    // The newest whole one is the last; the one that is not whole stays too.
    let reasons = answer["reasons"][&ids[3]].as_array().unwrap();
    assert!(
        reasons[0].as_str().unwrap().starts_with("not whole: `archives/"),
        "{answer}"
    );
    assert_eq!(answer["reasons"][&ids[2]], serde_json::json!(["last"]));
}

#[test]
fn without_enough_verified_backups_none_goes() {
    let (scratch, ids) = with_backups(5);
    let run = |verified: u32| format!("{LAST_THREE} --set step.retention.min-verified={verified}");
    // All were read back by this host: five are verified, and of three that stay all are.
    let preview = json(&scratch, 0, &format!("strongroom retention -e dev {} --json", run(3)));
    assert_eq!(texts(&preview["remove"]).len(), 2);
    let preview = json(&scratch, 0, &format!("strongroom retention -e dev {} --json", run(4)));
    assert_eq!(texts(&preview["remove"]), ids[..1]);
    assert_eq!(preview["reasons"][&ids[1]], serde_json::json!(["verified"]));
    // A host that knows nothing of them removes none.
    expect(&scratch, 0, "mv .strongroom .strongroom-elsewhere");
    let preview = json(&scratch, 3, &format!("strongroom retention -e dev {} --json", run(1)));
    assert_eq!(texts(&preview["remove"]).len(), 0);
    let told = expect(&scratch, 3, &format!("strongroom backup -e dev {}", run(2)));
    assert!(
        told.contains("retention-held-back") && told.contains("min-verified"),
        "{told}"
    );
    assert_eq!(self::ids(&scratch).len(), 6);
    expect(&scratch, 0, &format!("strongroom backup -e dev {} -q", run(2)));
    assert_eq!(self::ids(&scratch).len(), 3);
}

#[test]
fn a_backup_relies_on_nothing_that_is_listed_to_be_deleted() {
    let (scratch, ids) = with_backups(2);
    expect(
        &scratch,
        0,
        &format!("strongroom forget {} {} -e dev --even-newest -q", ids[0], ids[1]),
    );
    let lists = expect(&scratch, 0, "cat backups/dev/sweep/*.json");
    // The same data once more: its segments would be the ones that are listed.
    expect(&scratch, 0, "strongroom backup -e dev -q");
    let id = &self::ids(&scratch)[0];
    let record = std::fs::read_to_string(path(&scratch, &format!("backups/dev/backups/dev/{id}.json"))).unwrap();
    let record: Value = serde_json::from_str(&record).unwrap();
    let segments = record["segments"].as_array().unwrap();
    assert!(lists.contains("catalogs/") && !segments.is_empty());
    for object in segments.iter().chain([&record["refs"]]) {
        let name = object["name"].as_str().unwrap();
        assert!(!lists.contains(name), "{name}");
        // What was added to it no reader sees.
        expect(&scratch, 0, &format!("zstd -dcq backups/dev/{name} > /dev/null"));
    }
    expect(
        &scratch,
        0,
        &format!("cd backups/dev && b3sum --check --quiet sums/dev/{id}.b3"),
    );
    expect(
        &scratch,
        0,
        "touch -d '73 hours ago' backups/dev/sweep/*.json; strongroom sweep -e dev -q",
    );
    expect(&scratch, 0, "strongroom verify latest -e dev -q");
    expect(
        &scratch,
        0,
        "strongroom restore latest -e dev --to out -q && service check out",
    );
}

#[test]
fn a_run_that_takes_longer_than_it_may_leaves_no_backup() {
    let (scratch, _) = with_backups(1);
    environment(&scratch, "", "[maintenance]\nmax-run = \"1ms\"");
    let told = expect(&scratch, 1, "strongroom backup -e dev");
    assert!(
        told.contains("error[run-too-long]") && told.contains("no backup was made"),
        "{told}"
    );
    assert_eq!(ids(&scratch).len(), 1);
}

#[test]
fn a_grace_that_does_not_outlast_two_runs_is_refused_at_its_place() {
    for (lines, parts) in [
        (
            "grace = \"48h\"",
            &[
                "`grace` is 2d, less than twice `max-run` and an hour",
                "grace = \"49h\"",
            ][..],
        ),
        (
            "max-run = \"36h\"",
            &["`max-run` is too long for a `grace` of 3d", "grace = \"73h\""],
        ),
        (
            "max-run = \"12h\"\ngrace = \"24h\"",
            &["less than twice", "the longest run", "grace = \"25h\""],
        ),
        ("max-run = \"0s\"", &["`max-run` is no time at all"]),
        ("grace = \"3m\"", &["`m` may be a minute or a month"]),
    ] {
        let scratch = Scratch::new();
        environment(&scratch, "", &format!("[maintenance]\n{lines}"));
        let told = expect(&scratch, 78, "strongroom validate backup -e dev");
        for part in ["dev.toml:"].iter().chain(parts) {
            assert!(told.contains(part), "{lines}: {part}: {told}");
        }
    }
    let scratch = Scratch::new();
    environment(&scratch, "", "[maintenance]\nmax-run = \"12h\"\ngrace = \"25h\"");
    expect(&scratch, 0, "strongroom validate backup -e dev");
}

#[test]
fn a_backup_takes_its_record_back_when_what_it_relies_on_is_being_deleted() {
    let scratch = Scratch::new();
    expect(&scratch, 0, "service init --env dev");
    // The database is the second source here, so that the first one's segment is stored when the capture waits.
    let pipeline = std::fs::read_to_string(path(&scratch, "pipelines/backup.toml")).unwrap();
    let reordered = pipeline
        .replace("name = \"projections\"\n  type = \"sqlite\"", "name = \"artifacts\"\n  type = \"files\"")
        .replacen("path = \"{{path.data}}/projections/*.db\"", "path = \"{{path.data}}/artifacts\"", 1)
        .replace(
            "name = \"artifacts\"\n  type = \"files\"\n  path = \"{{path.data}}/artifacts\"\n\n  [[step.source]]\n  name = \"config\"",
            "name = \"projections\"\n  type = \"sqlite\"\n  path = \"{{path.data}}/projections/*.db\"\n\n  [[step.source]]\n  name = \"config\"",
        );
    assert_ne!(reordered, pipeline);
    std::fs::write(path(&scratch, "pipelines/backup.toml"), reordered).unwrap();
    expect(&scratch, 0, "strongroom backup -e dev -q");
    let ids = ids(&scratch);
    let database = path(&scratch, "examples/service/var/dev/data/projections/locked.db");
    let connection = rusqlite::Connection::open(&database).unwrap();
    connection
        .execute_batch("CREATE TABLE t (a); BEGIN EXCLUSIVE;")
        .unwrap();
    let mut run = scratch.bash("strongroom backup -e dev 2>&1");
    let run = run.stdout(std::process::Stdio::piped()).spawn().unwrap();
    // It has read the lists when it says that it begins to store.
    let begun = "grep -q '\"backup_stored\".*\"started\"' <(tail -n 2 .strongroom/dev/journal-000001.jsonl)";
    expect(
        &scratch,
        0,
        &format!("for i in $(seq 400); do {begun} && exit 0; sleep 0.02; done; exit 1"),
    );
    let catalogs: Vec<String> = std::fs::read_dir(path(&scratch, "backups/dev/catalogs"))
        .unwrap()
        .map(|entry| format!("catalogs/{}", entry.unwrap().file_name().display()))
        // What is being written at this moment has another name.
        .filter(|name| name.ends_with(".jsonl.zst"))
        .collect();
    let objects: Vec<Value> = sorted(catalogs)
        .into_iter()
        .map(|name| serde_json::json!({ "name": name, "bytes": 1 }))
        .collect();
    let run_id = "01920f6e-2b9c-7000-8000-0242ac120002";
    let list = serde_json::json!({ "format": 1, "run": run_id, "when": "at-once", "objects": objects });
    std::fs::create_dir_all(path(&scratch, "backups/dev/sweep")).unwrap();
    std::fs::write(
        path(&scratch, &format!("backups/dev/sweep/{run_id}.json")),
        list.to_string(),
    )
    .unwrap();
    connection.execute_batch("COMMIT").unwrap();
    let output = run.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        told.contains("error[backup-withdrawn]") && told.contains("taken back"),
        "{told}"
    );
    assert_eq!(self::ids(&scratch), ids);
    let journal = expect(&scratch, 0, "strongroom journal export -e dev");
    assert!(
        journal.contains("which the backup relies on, was deleted meanwhile"),
        "{journal}"
    );
}

#[test]
fn a_sweep_whose_journal_is_full_deletes_nothing_that_is_not_written_down() {
    trees::need_root();
    let (scratch, _) = with_backups(1);
    let state = tempfile::tempdir().unwrap();
    let at = state.path().display();
    // Room for the reserve, and for two records with many names.
    expect(&scratch, 0, &format!("mount -t tmpfs -o size=112k,mode=700 none {at}"));
    environment(&scratch, &format!("state = \"{at}/state\""), "");
    for number in 0..1000 {
        let digest = blake3::hash(format!("orphan {number}").as_bytes()).to_hex();
        std::fs::write(
            path(&scratch, &format!("backups/dev/catalogs/{digest}.jsonl.zst")),
            b"x",
        )
        .unwrap();
    }
    expect(
        &scratch,
        0,
        "strongroom sweep -e dev; touch -d '73 hours ago' backups/dev/sweep/*.json",
    );
    let output = bash(&scratch, "strongroom sweep -e dev");
    let journal = expect(&scratch, 0, &format!("cat {at}/state/journal-000001.jsonl"));
    bash(&scratch, &format!("umount {at}"));
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        told.contains("error[disk-full]") && told.contains("not in the journal is not done"),
        "{told}"
    );
    let left = expect(&scratch, 0, "find backups/dev/catalogs -size -2c | wc -l")
        .trim()
        .parse::<usize>()
        .unwrap();
    let intended: usize = journal
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|record| record["event"] == "delete_intended")
        .filter_map(|record| record["objects"].as_array().map(Vec::len))
        .sum();
    assert!(intended > 0 && left > 0, "{intended} of 1000 went, {left} are left");
    assert_eq!(1000 - left, intended, "what went and what was written down");
    // The last record has the space that was held back for it.
    let last = journal.lines().last().unwrap();
    assert!(
        last.contains("\"run_finished\"") && last.contains("\"disk-full\""),
        "{last}"
    );
    expect(&scratch, 0, "strongroom verify latest -e dev -q");
}

#[test]
fn a_full_state_folder_refuses_a_backup_before_anything_is_stored_and_stops_no_restore() {
    trees::need_root();
    let (scratch, ids) = with_backups(1);
    let state = tempfile::tempdir().unwrap();
    let at = state.path().display();
    // Less than what is held back for the last record.
    expect(&scratch, 0, &format!("mount -t tmpfs -o size=40k,mode=700 none {at}"));
    environment(&scratch, &format!("state = \"{at}/state\""), "");
    let before = content(&scratch, "backups");
    let refused = bash(&scratch, "strongroom backup -e dev");
    let restored = bash(&scratch, "strongroom restore latest -e dev --to out");
    bash(&scratch, &format!("umount {at}"));
    let told = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(
        told.contains("error[disk-full]") && told.contains("nothing was started"),
        "{told}"
    );
    assert_eq!(content(&scratch, "backups"), before);
    assert_eq!(self::ids(&scratch), ids);
    let told = String::from_utf8_lossy(&restored.stderr);
    assert_eq!(restored.status.code(), Some(3), "{told}");
    assert!(told.contains("leaves no record in the journal"), "{told}");
    expect(&scratch, 0, "service check out");
}

/// Makes a journal of several small segments where the environment `dev` has its state.
fn segments(scratch: &Scratch) -> PathBuf {
    let state = path(scratch, ".strongroom/dev");
    let folder = StateFolder::open(&state).unwrap();
    let setup = Setup {
        segment_bytes: 1500,
        ..Setup::new(Arc::new(str::to_owned))
    };
    let (mut journal, _) = Journal::open(&folder, setup).unwrap();
    for _ in 0..12 {
        let entry = Entry::new(Event::RunFinished).status(Status::Ok);
        journal.append(&entry, Sync::Now).unwrap();
    }
    assert!(state.join("journal-000003.jsonl").exists());
    state
}

#[test]
fn a_byte_changed_long_ago_refuses_effects_on_protected_data_and_no_restore_beside_it() {
    let (scratch, ids) = with_backups(2);
    expect(&scratch, 0, "mv .strongroom elsewhere");
    let state = segments(&scratch);
    flip(&state.join("journal-000001.jsonl"), 300);
    // Not protected: what matters is how it goes on, and the newest segment is whole.
    expect(&scratch, 0, "strongroom restore latest -e dev -q; [ $? -le 3 ]");

    environment(&scratch, "protected = true", "");
    let before = content(&scratch, "backups");
    for script in [
        "strongroom backup -e dev".to_owned(),
        "strongroom sweep -e dev".to_owned(),
        format!("strongroom forget {} -e dev --confirm dev", ids[0]),
        "strongroom restore latest -e dev --confirm dev".to_owned(),
    ] {
        let told = expect(&scratch, 4, &script);
        assert!(
            told.contains("error[journal-broken]") && told.contains("nothing was started"),
            "{script}: {told}"
        );
    }
    assert_eq!(content(&scratch, "backups"), before);
    // Into an empty folder, and on a machine without a journal, the data can be had.
    let told = expect(&scratch, 3, "strongroom restore latest -e dev --to out --confirm dev");
    assert!(told.contains("leaves no record in the journal"), "{told}");
    expect(&scratch, 0, "service check out; mv .strongroom broken");
    let restored = bash(&scratch, "strongroom restore latest -e dev --confirm dev");
    assert!(
        matches!(restored.status.code(), Some(0 | 3)),
        "{}",
        String::from_utf8_lossy(&restored.stderr)
    );
}

#[test]
fn an_unfinished_last_line_is_set_aside_told_and_stops_nothing() {
    let (scratch, ids) = with_backups(2);
    environment(&scratch, "protected = true", "");
    expect(
        &scratch,
        0,
        "printf '{\"v\":1,\"seq\":9' >> .strongroom/dev/journal-000001.jsonl",
    );
    let told = expect(
        &scratch,
        3,
        &format!("strongroom forget {} -e dev --confirm dev", ids[0]),
    );
    assert!(
        told.contains("unfinished line of 14 bytes") && told.contains(".torn-"),
        "{told}"
    );
    assert_eq!(self::ids(&scratch), ids[1..]);
    expect(
        &scratch,
        0,
        "strongroom journal verify -e dev; grep -q '\"recovered\"' .strongroom/dev/journal-000001.jsonl",
    );
}

#[test]
fn a_broken_journal_is_moved_aside_whole_and_the_new_one_says_so() {
    let (scratch, _) = with_backups(2);
    environment(&scratch, "protected = true", "");
    let told = expect(&scratch, 2, "strongroom journal restart -e dev --confirm dev");
    assert!(told.contains("nothing is wrong with the journal"), "{told}");

    let state = path(&scratch, ".strongroom/dev");
    let segment = state.join("journal-000001.jsonl");
    let good: Vec<String> = std::fs::read_to_string(&segment)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    let at = good[..5].iter().map(|line| line.len() + 1).sum::<usize>() + 20;
    flip(&segment, at);
    let old = std::fs::read(&segment).unwrap();
    expect(&scratch, 4, "strongroom backup -e dev");
    let told = expect(&scratch, 5, "strongroom journal restart -e dev");
    assert!(told.contains("the journal is as it was"), "{told}");
    assert_eq!(std::fs::read(&segment).unwrap(), old);

    let done = json(&scratch, 0, "strongroom journal restart -e dev --confirm dev --json");
    let folder = state.join(done["kept"].as_str().unwrap());
    assert_eq!(std::fs::read(folder.join("journal-000001.jsonl")).unwrap(), old);
    assert!(folder.join("journal.head").exists());
    // The sixth line is the first that is wrong: five link, and the hash of the fifth is what the sixth held.
    assert_eq!(done["good-records"], 5);
    let sixth: Value = serde_json::from_str(&good[5]).unwrap();
    assert_eq!(done["last-good"], sixth["prev"]);
    let new = std::fs::read_to_string(&segment).unwrap();
    let first: Value = serde_json::from_str(new.lines().next().unwrap()).unwrap();
    assert_eq!(first["event"], "log_started");
    assert_eq!(
        (&first["kept"], &first["sha256"], &first["count"]),
        (&done["kept"], &sixth["prev"], &done["good-records"])
    );
    assert!(
        first["reason"]
            .as_str()
            .unwrap()
            .contains("journal-000001.jsonl, line 6"),
        "{first}"
    );
    assert!(
        new.lines()
            .any(|line| line.contains("\"confirmed\"") && line.contains("\"env\":\"dev\"")),
        "{new}"
    );
    expect(
        &scratch,
        0,
        "strongroom journal verify -e dev; strongroom backup -e dev -q",
    );
    expect(&scratch, 0, "strongroom journal verify -e dev");
}

#[test]
fn a_restart_that_died_halfway_is_finished_by_the_next_and_nothing_runs_between() {
    let (scratch, _) = with_backups(1);
    expect(&scratch, 0, "rm -r .strongroom");
    let state = segments(&scratch);
    flip(&state.join("journal-000002.jsonl"), 200);
    let done = json(&scratch, 0, "strongroom journal restart -e dev --json");
    let folder = state.join(done["kept"].as_str().unwrap());
    let moved: Vec<PathBuf> = ["journal-000002.jsonl", "journal-000003.jsonl", "journal.head"]
        .map(PathBuf::from)
        .into();
    // As if it had died after the first file: the rest is still in its place, and the note a draft.
    for name in std::fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().path()) {
        let text = name.file_name().unwrap().to_str().unwrap().to_owned();
        if text.starts_with("journal-0") || text == "journal.head" {
            std::fs::remove_file(&name).unwrap();
        }
    }
    for name in &moved {
        std::fs::rename(folder.join(name), state.join(name)).unwrap();
    }
    std::fs::rename(folder.join("restart.json"), folder.join("restart.json.unfinished")).unwrap();
    let told = expect(&scratch, 4, "strongroom backup -e dev");
    assert!(told.contains("begun and not finished"), "{told}");
    let again = json(&scratch, 0, "strongroom journal restart -e dev --json");
    assert_eq!(
        (&again["kept"], &again["last-good"]),
        (&done["kept"], &done["last-good"])
    );
    assert!(moved.iter().all(|name| folder.join(name).exists()));
    expect(
        &scratch,
        0,
        "strongroom backup -e dev -q; strongroom journal verify -e dev",
    );
}

#[test]
fn the_journal_is_exported_as_it_stands() {
    let (scratch, _) = with_backups(2);
    let whole = std::fs::read_to_string(path(&scratch, ".strongroom/dev/journal-000001.jsonl")).unwrap();
    assert_eq!(expect(&scratch, 0, "strongroom journal export -e dev"), whole);
    let run: Value = serde_json::from_str(whole.lines().last().unwrap()).unwrap();
    let run = run["run"].as_str().unwrap();
    let of_run = expect(&scratch, 0, &format!("strongroom journal export -e dev --run {run}"));
    assert!(!of_run.is_empty() && of_run.lines().all(|line| line.contains(run)));
    let none = expect(
        &scratch,
        0,
        "strongroom journal export -e dev --until 2020-01-01T00:00:00Z",
    );
    assert_eq!(none, "");
    let all = expect(
        &scratch,
        0,
        "strongroom journal export -e dev --since 2020-01-01T00:00:00Z",
    );
    assert_eq!(all, whole);
}
