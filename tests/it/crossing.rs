//! A backup of one environment restored into another: whose targets are read, the fence between them, and what `redact` takes
//! out on the way.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;
use strongroom::crypto::age::Identity;
use strongroom::crypto::note::Signer;

use crate::projects::{Project, Ran, STORE};
use crate::trees;

const SOURCES: &str = r#"
[[step.source]]
name = "projections"
type = "sqlite"
path = "{{path.root}}/projections/*.db"
[[step.source]]
name = "events"
type = "append-log"
path = "{{path.root}}/events"
[[step.source]]
name = "artifacts"
type = "files"
path = "{{path.root}}/artifacts"
[[step.source]]
name = "config"
type = "files"
path = "{{path.root}}/config"
[[step]]
id = "scrub"
type = "redact"
sources = ["config"]
"#;

/// A restore with a `redact` step.
const RESTORE: &str = r#"
schema-version = 1
name = "restore"
[arg.backup]
description = "which"
required = true
example = "latest"
[[step]]
id = "choose"
type = "select"
backup = "{{arg.backup}}"
[[step]]
id = "integrity"
type = "verify"
[[step]]
id = "clean"
type = "redact"
sources = ["events", "artifacts"]
omit = ["projections"]
binary = "leave-out"
[[step]]
id = "guard"
type = "rollback-point"
[[step]]
id = "stage"
type = "restore"
owner = "none"
[[step]]
id = "sound"
type = "assert"
append-log = "prefix"
[[step]]
id = "replace"
type = "swap"
"#;

struct Two {
    project: Project,
    /// A secret by its key, one by its value alone, and one in the log.
    secrets: [String; 3],
}

fn random(what: &str) -> String {
    format!("{what}{}", uuid::Uuid::now_v7().simple())
}

/// A protected environment `live` with secrets in its data, and `dev`; each with a target of its own.
fn two(form: &str) -> Two {
    let project = Project::new("");
    let text = format!(
        "schema-version = 1\nname = \"backup\"\n[[step]]\nid = \"capture\"\ntype = \"snapshot\"\n{SOURCES}\n{form}\n{STORE}"
    );
    project.write("pipelines/backup.toml", &text);
    for (name, more) in [
        ("live", "protected = true\nsecrets = { file = \".env.live\" }"),
        ("dev", ""),
        ("staging", ""),
    ] {
        let text = format!(
            "schema-version = 1\n{more}\n[path]\nroot = \"{name}\"\n[target.local]\nurl = \"file:backups/{name}\"\n"
        );
        project.write(&format!("pipelines/environments/{name}.toml"), &text);
    }
    let secrets = ["key", "value", "log"].map(random);
    project.write(".env.live", &format!("SERVICE_TOKEN={}\n", secrets[1]));
    fs::set_permissions(project.path(".env.live"), fs::Permissions::from_mode(0o600)).unwrap();
    for name in ["live", "dev", "staging"] {
        fs::create_dir_all(project.path(&format!("{name}/projections"))).unwrap();
        let database = rusqlite::Connection::open(project.path(&format!("{name}/projections/tasks.db"))).unwrap();
        database
            .execute_batch(&format!("CREATE TABLE t (x); INSERT INTO t VALUES ('{name}')"))
            .unwrap();
    }
    let [key, value, log] = &secrets;
    project.write(
        "live/artifacts/app.toml",
        &format!("name = \"live\"\npassword = \"{key}\"\n"),
    );
    project.write("live/artifacts/note.txt", &format!("call with {value} please\n"));
    project.write("live/artifacts/plain.txt", "nothing secret\n");
    fs::write(project.path("live/artifacts/image.bin"), b"live\0image").unwrap();
    project.write("live/config/service.toml", &format!("password = \"{key}\"\n"));
    project.write(
        "live/events/1.jsonl",
        &format!("{{\"seq\":1}}\n{{\"seq\":2,\"api_token\":\"{log}\"}}\n{{\"seq\":3}}\n"),
    );
    project.write(
        "dev/artifacts/app.toml",
        "name = \"dev\"\npassword = \"of-dev-alone\"\n",
    );
    fs::write(project.path("dev/artifacts/image.bin"), b"dev\0image").unwrap();
    project.write("dev/config/service.toml", "password = \"of-dev-alone\"\n");
    project.write("dev/events/1.jsonl", "{\"seq\":1}\n");
    Two { project, secrets }
}

impl Two {
    fn run(&self, line: &str) -> Ran {
        self.project.run(&line.split(' ').collect::<Vec<_>>())
    }

    fn backup_live(&self) -> String {
        self.run("backup --env live").ended(0).id()
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.project.path(path)).unwrap()
    }

    /// No secret of `live` is anywhere below this folder.
    fn has_no_secret(&self, folder: &str) -> bool {
        let script = format!(
            "grep -rlF -e {} -e {} -e {} {folder}; find {folder} -name '*.zst' -exec zstd -dcq {{}} + | grep -cF -e {} -e {} -e {}",
            self.secrets[0], self.secrets[1], self.secrets[2], self.secrets[0], self.secrets[1], self.secrets[2]
        );
        let found = std::process::Command::new("bash")
            .args(["-c", &script])
            .current_dir(self.project.path(""))
            .output()
            .unwrap();
        let found = String::from_utf8(found.stdout).unwrap();
        assert_eq!(found, "0\n", "{folder}");
        true
    }

    fn database(&self, environment: &str) -> String {
        let path = self.project.path(&format!("{environment}/projections/tasks.db"));
        let database = rusqlite::Connection::open(path).unwrap();
        database.query_row("SELECT x FROM t", [], |row| row.get(0)).unwrap()
    }
}

fn events(records: &[Value], event: &str) -> Vec<Value> {
    records
        .iter()
        .filter(|record| record["event"] == event)
        .cloned()
        .collect()
}

#[test]
fn data_of_a_protected_environment_does_not_come_into_another_as_it_is() {
    let two = two("");
    let id = two.backup_live();
    for line in [
        format!("restore {id} --env dev --from live"),
        "restore latest --env dev --from live --to look".to_owned(),
        "drill --env dev --from live".to_owned(),
        format!("restore live/{id} --env dev --from live"),
    ] {
        let refused = two.run(&line).ended(5);
        let (code, said) = refused.problem();
        assert_eq!(code, "fenced", "{line}");
        for part in [
            &format!("backup `live/{id}` would come into `dev`"),
            // What the backup itself holds redacted is no matter.
            "secret in: projections, events, artifacts\n",
            "nothing present was touched",
            "--allow-unredacted",
        ] {
            assert!(said.contains(part), "{line}: {part} is missing: {said}");
        }
    }
    assert!(!two.project.path("look").exists());
    assert_eq!(two.read("dev/events/1.jsonl"), "{\"seq\":1}\n");
    let journal = two.project.journal("dev");
    let refused = events(&journal, "refused");
    assert_eq!((refused.len(), &refused[0]["made_in"]), (4, &"live".into()));
    assert!(events(&journal, "source_staged").is_empty());
    // A plan says the same and starts nothing; to look at a backup is no restore.
    assert_eq!(
        two.run("plan restore latest --env dev --from live")
            .ended(5)
            .problem()
            .0,
        "fenced"
    );
    two.run("verify latest --env live").ended(0);
}

#[test]
fn the_operators_word_lets_it_pass_and_stands_in_the_journal_first() {
    let two = two("");
    let id = two.backup_live();
    let of_live = || ["backups/live", ".strongroom/live"].map(|folder| trees::facts(&two.project.path(folder)));
    let before = of_live();
    let ran = two
        .run("restore latest --env dev --from live --allow-unredacted --rewind-log events")
        .ended(3);
    assert_eq!(
        ran.json["unredacted"],
        serde_json::json!(["projections", "events", "artifacts"])
    );
    assert!(
        ran.json["headline"]
            .as_str()
            .unwrap()
            .contains(&format!("backup {id} of `live` restored to `dev`"))
    );
    assert!(two.read("dev/artifacts/note.txt").contains(&two.secrets[1]));
    assert_eq!(two.database("dev"), "live");
    // Nothing is written where the backup comes from.
    assert!(of_live() == before);
    // What the backup holds redacted does not replace what `dev` has.
    assert!(two.read("dev/config/service.toml").contains("of-dev-alone"));
    assert!(two.read("live/artifacts/app.toml").contains("live"));
    let journal = two.project.journal("dev");
    let at = |event: &str| journal.iter().position(|record| record["event"] == event).unwrap();
    assert!(at("fence_lifted") < at("source_staged"));
    let lifted = &journal[at("fence_lifted")];
    assert_eq!(
        (&lifted["backup"], &lifted["made_in"]),
        (&id.as_str().into(), &"live".into())
    );
    assert_eq!(
        lifted["sources"],
        serde_json::json!(["projections", "events", "artifacts"])
    );
    assert_eq!(journal[at("backup_chosen")]["made_in"], "live");
    // Without a journal there is no trace, so the fence stands.
    fs::remove_dir_all(two.project.path(".strongroom/dev")).unwrap();
    two.project.write(".strongroom/dev", "no folder");
    let refused = two
        .run("restore latest --env dev --from live --allow-unredacted --to look")
        .ended(5);
    let first = refused.json["diagnostics"]
        .as_array()
        .unwrap()
        .iter()
        .find(|d| d["severity"] == "error")
        .unwrap()
        .clone();
    assert_eq!(first["code"], "fenced");
    assert!(!two.project.path("look").exists());
}

#[test]
fn redaction_on_the_way_takes_the_secrets_out_and_keeps_what_the_other_environment_has() {
    for form in ["", "[[step]]\nid = \"dedup\"\ntype = \"deduplicate\"\n"] {
        let two = two(form);
        two.backup_live();
        two.project.write("dev/events/1.jsonl", "{\"seq\":\"of dev\"}\n");
        two.run("backup --env dev").ended(0);
        two.project.write("pipelines/restore.toml", RESTORE);
        two.run("plan restore latest --env dev --from live").ended(0);
        let ran = two
            .run("restore latest --env dev --from live --rewind-log events")
            .ended(3);
        assert!(two.has_no_secret("dev") && two.has_no_secret(".strongroom/dev"));
        assert_eq!(
            two.read("dev/artifacts/note.txt"),
            "call with [REDACTED:known] please\n"
        );
        assert_eq!(two.read("dev/artifacts/plain.txt"), "nothing secret\n");
        let log = two.read("dev/events/1.jsonl");
        assert_eq!(log.lines().count(), 3);
        assert!(
            log.starts_with("{\"seq\":1}\n{\"seq\":2,\"api_token\":\"[REDACTED:"),
            "{log}"
        );
        // Present files stay where the backup's are redacted or left out, each with the restored text beside it.
        assert!(two.read("dev/artifacts/app.toml").contains("of-dev-alone"));
        assert!(two.read("dev/artifacts/app.toml.restored").contains("name = \"live\""));
        assert_eq!(
            fs::read(two.project.path("dev/artifacts/image.bin")).unwrap(),
            b"dev\0image"
        );
        assert!(two.read("dev/config/service.toml.restored").contains("[REDACTED:"));
        assert_eq!(two.database("dev"), "dev", "what is left out is not replaced");
        assert_eq!(ran.json["omitted"], serde_json::json!(["projections"]));
        assert_eq!(ran.json["redacted-values"], 3);
        assert!(ran.json["judged"].as_str().unwrap().contains("3 records of `events`"));
        let everything = format!("{:#}{}{:#?}", ran.json, ran.stderr, two.project.journal("dev"));
        assert!(two.secrets.iter().all(|secret| !everything.contains(secret)));
        // The log begins a generation, and the next backup knows why.
        two.project
            .write("dev/events/1.jsonl", &format!("{log}{{\"seq\":4}}\n"));
        let next = two.run("backup --env dev").ended(3);
        assert_eq!(next.json["log-fork"][0]["generation"], 2, "{:#}", next.json);
        assert!(two.has_no_secret("backups/dev"));
        two.run("rollback --env dev").ended(0);
        assert_eq!(two.read("dev/events/1.jsonl"), "{\"seq\":\"of dev\"}\n");
    }
}

#[test]
fn a_redacted_log_that_takes_records_away_is_told_like_any_other() {
    let two = two("");
    two.backup_live();
    two.project.write("pipelines/restore.toml", RESTORE);
    two.project.write("dev/events/1.jsonl", "{\"seq\":\"of dev\"}\n");
    let refused = two.run("restore latest --env dev --from live").ended(5);
    assert_eq!(refused.problem().0, "log-rewind");
    two.run("restore latest --env dev --from live --rewind-log events")
        .ended(3);
    assert!(two.has_no_secret("dev"));
}

#[test]
fn what_cannot_be_redacted_is_refused_before_anything_is_unpacked() {
    let two = two("");
    two.backup_live();
    let refused = |from: &str, to: &str| {
        two.project.write("pipelines/restore.toml", &RESTORE.replace(from, to));
        let ran = two.run("restore latest --env dev --from live");
        assert_eq!(two.read("dev/events/1.jsonl"), "{\"seq\":1}\n");
        (ran.code, ran.problem())
    };
    let (exit, (code, said)) = refused("omit = [\"projections\"]\n", "");
    assert_eq!((exit, code.as_str()), (5, "fenced"));
    assert!(said.contains("secret in: projections\n"), "{said}");
    let (exit, (code, said)) = refused(
        "[\"events\", \"artifacts\"]\nomit",
        "[\"events\", \"artifacts\", \"projections\"]\n# omit",
    );
    assert_eq!((exit, code.as_str()), (78, "reference-unknown"));
    assert!(
        said.contains("of type `sqlite`") && said.contains("omit = [\"projections\"]"),
        "{said}"
    );
    let (exit, (code, said)) = refused("omit = [\"projections\"]", "omit = [\"projection\"]");
    assert_eq!((exit, code.as_str()), (78, "reference-unknown"));
    assert!(said.contains("has no source `projection`"), "{said}");
    let (exit, (code, said)) = refused("binary = \"leave-out\"", "");
    assert_eq!((exit, code.as_str()), (5, "redact-binary"));
    assert!(
        said.contains("image.bin") && said.contains("nothing present was touched"),
        "{said}"
    );
    let beside = fs::read_dir(two.project.path("dev")).unwrap().count();
    assert_eq!(beside, 4, "nothing is left beside the destinations");
    for (wrong, code) in [
        (
            RESTORE.replace("omit = [\"projections\"]", "omit = [\"events\"]"),
            "duplicate-name",
        ),
        (
            RESTORE.replace("backup = \"{{arg.backup}}\"", "backup = \"latest\"\nfrom = \"liv\""),
            "reference-unknown",
        ),
    ] {
        two.project.write("pipelines/restore.toml", &wrong);
        assert_eq!(two.run("validate restore --env dev").ended(78).problem().0, code);
    }
    let text = two
        .read("pipelines/backup.toml")
        .replace("sources = [\"config\"]", "sources = [\"config\"]\nomit = [\"events\"]");
    two.project.write("pipelines/backup.toml", &text);
    assert!(
        two.run("validate backup --env dev")
            .ended(78)
            .problem()
            .1
            .contains("`omit` is for restores")
    );
}

#[test]
fn a_protected_environment_is_replaced_by_its_name_alone_whoever_the_data_is_from() {
    let two = two("");
    two.run("backup --env dev").ended(0);
    two.project.write("live/events/1.jsonl", "{\"seq\":1}\n");
    let before = two.read("live/artifacts/app.toml");
    for line in [
        "restore latest --env live --from dev",
        "restore latest --env live --from dev --confirm dev",
    ] {
        assert_eq!(two.run(line).ended(5).problem().0, "unconfirmed");
    }
    assert_eq!(two.read("live/artifacts/app.toml"), before);
    // Data of an environment that is not protected needs no redaction.
    two.run("restore latest --env live --from dev --confirm live").ended(3);
    assert!(two.read("live/artifacts/app.toml").contains("dev"));
    assert!(
        two.project
            .journal("live")
            .iter()
            .any(|record| record["event"] == "backup_chosen" && record["made_in"] == "dev")
    );
    two.run("rollback --env live --confirm live").ended(0);
    two.run("restore latest --env staging --from dev").ended(0);
    assert!(two.read("staging/artifacts/app.toml").contains("dev"));
}

#[test]
fn an_environment_that_is_not_there_and_a_name_that_contradicts_are_told() {
    let two = two("");
    let id = two.backup_live();
    let wrong = two.run("restore latest --env dev --from liv").ended(78);
    assert_eq!(wrong.json["diagnostics"][0]["environment"], "liv");
    let wrong = two.run(&format!("restore live/{id} --env dev")).ended(2);
    assert!(wrong.problem().1.contains("--from live"), "{:?}", wrong.problem());
    two.run(&format!("restore live/{id} --env dev --from staging")).ended(2);
    two.run("backup --env dev --allow-unredacted").ended(2);
    // The same environment by another word is no crossing.
    two.run("drill --env live --from live").ended(0);
}

#[test]
fn a_pipeline_may_say_where_its_backup_is_from() {
    let two = two("");
    two.backup_live();
    let text = RESTORE
        .replace("name = \"restore\"", "name = \"refresh\"")
        .replace(
            "backup = \"{{arg.backup}}\"",
            "backup = \"{{arg.backup}}\"\nfrom = \"live\"",
        )
        .replace("required = true\nexample", "default = \"latest\"\nexample");
    two.project.write("pipelines/refresh.toml", &text);
    two.run("validate refresh").ended(0);
    two.run("run refresh --env dev").ended(3);
    assert!(two.has_no_secret("dev"));
    assert_eq!(two.read("dev/events/1.jsonl").lines().count(), 3);
}

#[test]
fn a_part_of_it_is_redacted_too() {
    let two = two("");
    two.backup_live();
    two.project.write("pipelines/restore.toml", RESTORE);
    two.run("restore latest artifacts/note.txt events --env dev --from live --to look")
        .ended(0);
    assert_eq!(
        two.read("look/artifacts/note.txt"),
        "call with [REDACTED:known] please\n"
    );
    assert_eq!(two.read("look/events/1.jsonl").lines().count(), 3);
    assert!(two.has_no_secret("look"));
}

/// Has `live` seal its backups; gives the file that opens them.
fn seal(two: &Two) -> String {
    let identity = Identity::generate().unwrap();
    let file = two.project.path("live.key");
    fs::write(&file, format!("{}\n", identity.text().expose())).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let text = two.read("pipelines/backup.toml").replace(
        "[[step]]\nid = \"digest\"",
        "[[step]]\nid = \"seal\"\ntype = \"encrypt\"\n[[step]]\nid = \"digest\"",
    );
    two.project.write("pipelines/backup.toml", &text);
    let offline = Identity::generate().unwrap();
    let sealed = format!(
        "[encryption]\nrecipients = [\"{}\", \"{}\"]\n",
        identity.recipient(),
        offline.recipient()
    );
    two.project.write(
        "pipelines/environments/live.toml",
        &format!("{}{sealed}", two.read("pipelines/environments/live.toml")),
    );
    // `dev` has nobody to seal to, and says so.
    let open = format!(
        "{}[pipeline.backup.step.seal]\nenabled = false\n",
        two.read("pipelines/environments/dev.toml")
    );
    two.project.write("pipelines/environments/dev.toml", &open);
    file.display().to_string()
}

#[test]
fn what_is_sealed_in_another_environment_is_opened_as_that_environment_says() {
    for form in ["", "[[step]]\nid = \"dedup\"\ntype = \"deduplicate\"\n"] {
        let two = two(form);
        let key = seal(&two);
        two.backup_live();
        two.project.write("pipelines/restore.toml", RESTORE);
        for line in [
            "restore latest --env dev --from live --rewind-log events",
            "restore latest artifacts/note.txt --env dev --from live --to look",
            "plan restore latest --env dev --from live",
        ] {
            let refused = two.run(line).ended(12);
            assert_eq!(refused.problem().0, "key-missing", "{line}");
        }
        assert!(!two.project.path("look").exists());
        let part = format!("restore latest artifacts/note.txt --env dev --from live --to look --identity {key}");
        two.run(&part).ended(0);
        assert_eq!(
            two.read("look/artifacts/note.txt"),
            "call with [REDACTED:known] please\n"
        );
        let environment = two.read("pipelines/environments/live.toml");
        let named = format!("{environment}identity = {{ file = \"{key}\" }}\n");
        two.project.write("pipelines/environments/live.toml", &named);
        two.run("plan restore latest --env dev --from live").ended(0);
        let ran = two
            .run("restore latest --env dev --from live --rewind-log events")
            .ended(3);
        assert_eq!(ran.json["redacted-values"], 3);
        assert_eq!(two.read("dev/events/1.jsonl").lines().count(), 3);
        assert!(two.has_no_secret("dev"));
        two.run("drill --env live").ended(0);
    }
}

#[test]
fn who_may_have_made_a_backup_stands_where_it_was_made() {
    let two = two("");
    two.backup_live();
    let stranger = Signer::generate("stranger").unwrap().verifier();
    for name in ["dev", "live"] {
        let path = format!("pipelines/environments/{name}.toml");
        let before = two.read(&path);
        two.project
            .write(&path, &format!("{before}[signers]\nstranger = \"{stranger}\"\n"));
        let ran = two.run("restore latest artifacts/plain.txt --env staging --from live --to look --allow-unredacted");
        fs::remove_dir_all(two.project.path("look")).ok();
        let of_dev = two.run("restore latest artifacts/plain.txt --env dev --from live --to look --allow-unredacted");
        fs::remove_dir_all(two.project.path("look")).ok();
        // Whom `dev` trusts is no matter; whom `live` trusts is.
        let expected = if name == "dev" { 0 } else { 4 };
        assert_eq!((ran.code, of_dev.code), (expected, expected), "{:#}", ran.json);
        if expected == 4 {
            assert_eq!(ran.problem().0, "unsigned");
        }
    }
}
