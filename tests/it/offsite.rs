//! The whole program with its backups in S3: kept, restored, let go, killed on the way, refused and left out.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use crate::proxy::{Fate, Proxy};
use crate::transcript::Scratch;
use crate::weed::{BUCKET, Weed, random};

/// The example service, with its backups in a bucket.
struct Offsite {
    scratch: Scratch,
    server: Weed,
}

fn run(scratch: &Scratch, script: &str) -> Output {
    scratch.bash(script).output().unwrap()
}

/// Everything that a run printed.
fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn expect(scratch: &Scratch, exit: i32, script: &str) -> String {
    let output = run(scratch, script);
    assert_eq!(output.status.code(), Some(exit), "{script}\n{}", said(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The table of a target in the bucket.
fn target(name: &str, prefix: &str, endpoint: &str) -> String {
    format!(
        "[target.{name}]\nurl = \"s3://{BUCKET}/{prefix}\"\nendpoint = \"{endpoint}\"\nallow-http = true\n\
         access-key-id = {{ secret = \"OFFSITE_ACCESS_KEY_ID\" }}\n\
         secret-access-key = {{ secret = \"OFFSITE_SECRET_ACCESS_KEY\" }}\ntimeout = \"30s\"\nretry-for = \"30s\"\n"
    )
}

/// The same target, given up soon: where something is to fail and nothing to succeed.
fn hasty(table: &str) -> String {
    table.replace("\"30s\"", "\"1s\"")
}

const LOCAL: &str = "[target.local]\nurl = \"file:backups/dev\"\n";

impl Offsite {
    fn new() -> Self {
        let this = Self {
            scratch: Scratch::new(),
            server: Weed::start(),
        };
        this.keys(&this.server.id, &this.server.key);
        this.environment("offsite", &target("offsite", "service/dev", &this.server.endpoint()));
        expect(&this.scratch, 0, "service init --env dev");
        this
    }

    /// Writes the file of secrets.
    fn keys(&self, id: &str, key: &str) {
        let path = self.scratch.project().join(".env.dev");
        let text = format!("OFFSITE_ACCESS_KEY_ID={id}\nOFFSITE_SECRET_ACCESS_KEY={key}\n");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Writes the environment with these targets.
    fn environment(&self, names: &str, targets: &str) {
        let names: Vec<String> = names.split(' ').map(|name| format!("{name:?}")).collect();
        let text = format!(
            "schema-version = 1\nsecrets = {{ file = \".env.dev\" }}\n[path]\ndata = \"examples/service/var/dev/data\"\n\
             config = \"examples/service/var/dev/config\"\n{targets}[pipeline.backup.step.store]\ntargets = [{}]\n",
            names.join(", ")
        );
        let file = "pipelines/environments/dev.toml".to_owned();
        self.scratch.write(&BTreeMap::from([(file, text)]));
    }

    fn expect(&self, exit: i32, script: &str) -> String {
        expect(&self.scratch, exit, script)
    }

    fn ids(&self) -> Vec<String> {
        let listed = json(&self.expect(0, "strongroom list -e dev --json"));
        let backups = listed["backups"].as_array().unwrap().iter();
        backups
            .map(|backup| backup["id"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Puts files that do not compress among the artifacts, so that an archive has several parts.
    fn grow(&self, megabytes: usize) {
        let folder = self
            .scratch
            .project()
            .join("examples/service/var/dev/data/artifacts/bulk");
        std::fs::create_dir_all(&folder).unwrap();
        for number in 0..megabytes / 4 {
            let mut bytes = vec![0; 4 << 20];
            getrandom::fill(&mut bytes).unwrap();
            std::fs::write(folder.join(format!("{number}.bin")), bytes).unwrap();
        }
    }

    /// Every object in the bucket.
    fn objects(&self) -> BTreeSet<String> {
        let keys = crate::weed::texts(&self.server.curl("GET", "?list-type=2"), "Key");
        keys.into_iter().collect()
    }
}

#[test]
fn the_service_is_backed_up_to_a_bucket_and_comes_back_equal() {
    let this = Offsite::new();
    this.grow(28);
    let made = json(&this.expect(0, "strongroom backup -e dev --json"));
    let id = made["backup"].as_str().unwrap();
    assert_eq!(made["targets"], serde_json::json!(["offsite"]));
    assert_eq!(this.ids(), [id]);
    let shown = this.expect(0, "strongroom show latest -e dev");
    assert!(shown.contains(id) && shown.contains("offsite"), "{shown}");
    this.expect(0, "strongroom verify latest -e dev && strongroom plan backup -e dev");
    this.expect(0, "strongroom restore latest -e dev --to look -q && service check look");
    let project = this.scratch.project();
    for (source, restored) in [("artifacts", "artifacts"), ("events", "events")] {
        let present = project.join("examples/service/var/dev/data").join(source);
        let differences = format!("diff -r {} look/{restored}", present.display());
        this.expect(0, &differences);
    }
    // What lies in the bucket is what lies in a folder: b3sum and tar need no program of this project.
    for object in this.objects() {
        assert!(object.starts_with("service/dev/"), "{object}");
    }
    assert_eq!(this.server.unfinished(""), Vec::<String>::new());
    this.expect(3, "strongroom restore latest -e dev -q");
    this.expect(0, "service check --env dev && strongroom journal verify -e dev");
}

#[test]
fn the_short_names_of_make_work_on_a_bucket() {
    let this = Offsite::new();
    let text = this.expect(
        0,
        "make backup ENV=dev && make list ENV=dev && make show ENV=dev BACKUP=latest && make verify ENV=dev && \
         make plan ENV=dev && make restore ENV=dev BACKUP=latest",
    );
    for part in [
        "stored in offsite and read back",
        "1 backup of `dev`",
        "is sound: every stored object and every content has its digest",
        "a repository",
    ] {
        assert!(text.contains(part), "`{part}` is missing: {text}");
    }
    // What the restore laid beside present files is left out, and told.
    let text = this.expect(3, "scripts/backup.sh dev");
    assert!(text.contains("stored in offsite and read back"), "{text}");
    assert_eq!(this.ids().len(), 2);
}

#[test]
fn retention_lets_old_backups_go_from_a_bucket_and_a_sweep_their_objects() {
    let this = Offsite::new();
    let rules = "[pipeline.backup.step.retention]\nkeep-last = 2\nkeep-within = \"0h\"\nkeep-daily = 0\n\
                 keep-weekly = 0\nkeep-monthly = 0\nmax-remove = \"60%\"\n";
    let through = |endpoint: &str| this.environment("offsite", &(target("offsite", "service/dev", endpoint) + rules));
    through(&this.server.endpoint());
    let made: Vec<String> = (0..4)
        .map(|_| {
            json(&this.expect(0, "strongroom backup -e dev --json"))["backup"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    // Of two in the same second, the name does not tell which is later.
    assert_eq!(BTreeSet::from_iter(this.ids()), BTreeSet::from_iter(made[2..].to_vec()));
    let there = |folder: &str, kind: &str| -> Vec<bool> {
        let objects = this.objects();
        let of = |id: &String| format!("service/dev/{folder}/dev/{id}.{kind}");
        made.iter().map(|id| objects.contains(&of(id))).collect()
    };
    assert_eq!(there("backups", "json"), [false, false, true, true]);
    // What they needed has its time of grace.
    this.expect(0, "strongroom sweep -e dev");
    let needed = [("backups", "sig"), ("archives", "tar.zst"), ("sums", "b3")];
    for (folder, kind) in needed {
        assert_eq!(there(folder, kind), [true; 4], "{folder}");
    }
    // The store's time stamps decide: here it says of every object that it is four years older.
    let proxy = Proxy::before(this.server.address());
    let aged = |answer: &str| {
        let mut stamps = answer.split("<LastModified>");
        let mut changed = stamps.next().unwrap().to_owned();
        for stamp in stamps {
            let year: u32 = stamp[..4].parse().unwrap();
            changed.push_str(&format!("<LastModified>{:04}{}", year - 4, &stamp[4..]));
        }
        changed
    };
    let lists = |request: &crate::proxy::Request| request.method == "GET" && request.path.contains("list-type=2");
    proxy.befall(0, usize::MAX, Fate::Change(Arc::new(aged)), lists);
    through(&proxy.endpoint());
    let swept = json(&this.expect(0, "strongroom sweep -e dev --json"));
    assert!(
        swept["targets"][0]["deleted"]["objects"].as_u64().unwrap() >= 4,
        "{swept:#}"
    );
    through(&this.server.endpoint());
    for (folder, kind) in needed {
        assert_eq!(there(folder, kind), [false, false, true, true], "{folder}");
    }
    this.expect(
        0,
        "strongroom verify latest -e dev && strongroom verify latest~1 -e dev",
    );
}

#[test]
fn a_run_killed_at_any_moment_leaves_whole_backups_and_no_parts_behind_the_next_run() {
    let kills = if std::env::var_os("STRONGROOM_TORTURE").is_some() {
        50
    } else {
        12
    };
    let this = Offsite::new();
    this.grow(40);
    let begin = std::time::Instant::now();
    this.expect(0, "strongroom backup -e dev -q");
    let whole = begin.elapsed();
    let (mut killed, mut unfinished) = (0, 0);
    let mut sound = BTreeSet::new();
    // Until a kill has met an upload, else nothing would be shown.
    while killed < kills || (unfinished == 0 && killed < kills * 10) {
        killed += 1;
        let mut child = this.scratch.bash("exec strongroom backup -e dev -q");
        let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut moment = [0; 4];
        getrandom::fill(&mut moment).unwrap();
        // Some beyond the end of a run, so that the last steps are met too.
        std::thread::sleep(whole.mul_f64(f64::from(u32::from_le_bytes(moment)) / f64::from(u32::MAX) * 1.1));
        child.kill().unwrap();
        child.wait().unwrap();
        unfinished += this.server.unfinished("service/dev/").len();
        for id in this.ids() {
            if sound.insert(id.clone()) {
                this.expect(0, &format!("strongroom verify {id} -e dev -q"));
            }
        }
    }
    this.expect(0, "strongroom backup -e dev -q");
    assert_eq!(this.server.unfinished(""), Vec::<String>::new());
    this.expect(
        0,
        "strongroom verify latest -e dev -q && strongroom restore latest -e dev --to look -q",
    );
    this.expect(0, "diff -r examples/service/var/dev/data/artifacts look/artifacts");
    assert!(unfinished > 0, "no kill met an upload: the test shows nothing");
    let notes = this.scratch.project().join(".strongroom/dev/uploads");
    assert_eq!(std::fs::read_dir(notes).unwrap().count(), 0);
}

#[test]
fn without_its_notes_a_killed_run_would_leave_parts_behind() {
    // The planted bug that the test above must find: nothing is remembered of what was begun.
    let this = Offsite::new();
    this.grow(40);
    let mut child = this.scratch.bash("exec strongroom backup -e dev -q");
    let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begin = std::time::Instant::now();
    while this.server.unfinished("").is_empty() && begin.elapsed() < Duration::from_mins(1) {
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let left = this.server.unfinished("");
    assert_eq!(left.len(), 1, "the kill came too late");
    let notes = this.scratch.project().join(".strongroom/dev/uploads");
    let kept = this.scratch.project().join("kept");
    std::fs::rename(&notes, &kept).unwrap();
    this.expect(0, "strongroom backup -e dev -q");
    assert_eq!(this.server.unfinished(""), left);
    // With the notes back, the next run clears it and says so.
    std::fs::remove_dir_all(&notes).unwrap();
    std::fs::rename(&kept, &notes).unwrap();
    let made = json(&this.expect(0, "strongroom backup -e dev --json"));
    assert_eq!(made["cleared-uploads"], 1, "{made:#}");
    assert_eq!(this.server.unfinished(""), Vec::<String>::new());
}

#[test]
fn a_target_that_fails_is_left_out_by_name_and_a_single_one_ends_the_run() {
    let this = Offsite::new();
    this.grow(20);
    let proxy = Proxy::before(this.server.address());
    let two = LOCAL.to_owned() + &target("offsite", "service/dev", &proxy.endpoint());
    this.environment("local offsite", &two);
    this.expect(0, "strongroom backup -e dev -q");
    let records = |this: &Offsite| {
        this.objects()
            .iter()
            .filter(|object| object.contains("/backups/") && !object.contains(".sig"))
            .count()
    };
    assert_eq!(records(&this), 1);
    let answer = |status: u16| Fate::Answer(status, "<Error><Code>InternalError</Code></Error>".into());
    let puts = |request: &crate::proxy::Request| request.method == "PUT" && request.path.contains("archives");
    let all = |_: &crate::proxy::Request| true;
    let fates: [(Fate, Which); 5] = [
        (Fate::Refuse, all),
        (Fate::Stall, puts),
        (answer(500), puts),
        (answer(503), all),
        (
            Fate::Answer(403, "<Error><Code>AccessDenied</Code></Error>".into()),
            puts,
        ),
    ];
    this.environment("local offsite", &hasty(&two));
    for (fate, which) in fates {
        proxy.heal();
        proxy.befall(0, usize::MAX, fate, which);
        let output = run(&this.scratch, "strongroom backup -e dev --json");
        let report = json(&String::from_utf8_lossy(&output.stdout));
        assert_eq!(output.status.code(), Some(3), "{report:#}");
        assert_eq!(report["targets"], serde_json::json!(["local"]), "{report:#}");
        let problems = report["diagnostics"].as_array().unwrap();
        let left_out = problems
            .iter()
            .find(|problem| problem["code"] == "target-left-out")
            .unwrap();
        assert_eq!(left_out["what"], "target `offsite` was left out of this backup");
        assert!(
            left_out["help"].is_string() && left_out["why"].is_string(),
            "{left_out:#}"
        );
        assert_eq!(records(&this), 1, "no record where the backup is not whole");
        let alone = run(&this.scratch, "strongroom backup -e dev --target offsite");
        let text = said(&alone);
        assert_eq!(alone.status.code(), Some(1), "{text}");
        for part in [
            "error[target-failed]: ",
            "`offsite`",
            "why:",
            "no backup was made",
            "help:",
        ] {
            assert!(text.contains(part), "`{part}` is missing: {text}");
        }
        assert_eq!(records(&this), 1);
    }
    proxy.heal();
    this.environment("local offsite", &two);
    this.expect(0, "strongroom backup -e dev -q");
    // It has its own now, and first got the five that it lacked.
    assert_eq!(records(&this), 7);
    assert_eq!(this.server.unfinished(""), Vec::<String>::new());
    // Read from what is there, and said what is not.
    this.environment("local offsite", &hasty(&two));
    proxy.befall(0, usize::MAX, Fate::Refuse, |_| true);
    let listed = json(&expect(&this.scratch, 3, "strongroom list -e dev --json"));
    assert_eq!(listed["backups"].as_array().unwrap().len(), 7, "{listed:#}");
    this.expect(3, "strongroom restore latest -e dev --to look -q");
    let text = said(&run(&this.scratch, "strongroom list -e dev --target offsite"));
    assert!(
        text.contains("cannot be listed") && text.contains("error[target-failed]"),
        "{text}"
    );
    this.expect(1, "strongroom list -e dev --target offsite");
}

#[test]
fn a_target_whose_records_cannot_be_read_is_left_out_and_a_single_one_ends_the_run() {
    let this = Offsite::new();
    let proxy = Proxy::before(this.server.address());
    let two = LOCAL.to_owned() + &target("offsite", "service/dev", &proxy.endpoint());
    this.environment("local offsite", &two);
    this.expect(0, "strongroom backup -e dev -q; strongroom backup -e dev -q");
    this.environment("local offsite", &hasty(&two));
    let denied = Fate::Answer(403, "<Error><Code>AccessDenied</Code></Error>".into());
    let reads = |request: &crate::proxy::Request| {
        request.method == "GET" && request.path.contains("/backups/dev/") && request.path.contains(".json")
    };
    // One that goes between the list and the read was removed by somebody else.
    let gone = Fate::Answer(404, "<Error><Code>NoSuchKey</Code></Error>".into());
    proxy.befall(0, 1, gone, reads);
    let report = json(&this.expect(0, "strongroom backup -e dev --json"));
    assert_eq!(report["sequence"], 3, "{report:#}");
    proxy.heal();
    // The list comes, and one of the records does not.
    proxy.befall(1, usize::MAX, denied, reads);
    let report = json(&this.expect(3, "strongroom backup -e dev --json"));
    assert_eq!(report["targets"], serde_json::json!(["local"]), "{report:#}");
    assert_eq!(report["sequence"], 4, "{report:#}");
    assert_eq!(report["diagnostics"][0]["code"], "target-left-out", "{report:#}");
    assert_eq!(report["diagnostics"].as_array().unwrap().len(), 1, "{report:#}");
    let before = this.objects();
    this.environment("offsite", &hasty(&target("offsite", "service/dev", &proxy.endpoint())));
    let output = run(&this.scratch, "strongroom backup -e dev");
    let told = said(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("no backup was made"), "{told}");
    assert_eq!(this.objects(), before);
}

#[test]
fn a_target_that_vanished_is_refused_and_nothing_is_written_anywhere() {
    let this = Offsite::new();
    let two = LOCAL.to_owned() + &target("offsite", "service/dev", &this.server.endpoint());
    this.environment("local offsite", &two);
    this.expect(0, "strongroom backup -e dev -q");
    let project = this.scratch.project();
    let (local, away) = (project.join("backups/dev"), project.join("away"));
    let records = |folder: &Path| {
        let names = std::fs::read_dir(folder.join("backups/dev")).unwrap();
        let is_record = |name: &OsStr| name.as_encoded_bytes().ends_with(b".json");
        names
            .filter(|entry| is_record(&entry.as_ref().unwrap().file_name()))
            .count()
    };
    let refused = |what: &str| {
        let before = this.objects();
        let text = said(&run(&this.scratch, "strongroom backup -e dev"));
        for part in [
            &format!("error[target-vanished]: {what}"),
            "why:",
            "nothing was written to any target",
            "help:",
        ] {
            assert!(text.contains(part), "`{part}` is missing: {text}");
        }
        this.expect(5, "strongroom backup -e dev -q");
        this.expect(5, "strongroom plan backup -e dev");
        assert_eq!(this.objects(), before);
    };
    // A volume that is not mounted, an empty one in its place, and another one.
    std::fs::rename(&local, &away).unwrap();
    refused("target `local` was seen before and is empty now");
    std::fs::create_dir(&local).unwrap();
    refused("target `local` was seen before and is empty now");
    assert_eq!(std::fs::read_dir(&local).unwrap().count(), 0);
    std::fs::write(local.join("repository.json"), "{\"format\":1,\"repository\":\"00\"}").unwrap();
    refused("target `local` holds another repository than before");
    // The others can be used meanwhile, by name.
    this.expect(0, "strongroom backup -e dev --target offsite -q");
    std::fs::remove_dir_all(&local).unwrap();
    std::fs::rename(&away, &local).unwrap();
    this.expect(0, "strongroom backup -e dev -q");
    // A bucket that was emptied.
    for object in this.objects() {
        this.server.curl("DELETE", &format!("/{object}"));
    }
    let before = records(&local);
    refused("target `offsite` was seen before and is empty now");
    assert_eq!(records(&local), before);
    // Emptied on purpose: the host is told to forget it. A lost state forgets everything, and then takes what is there.
    this.expect(
        0,
        "rm .strongroom/dev/targets/offsite.json && strongroom backup -e dev -q",
    );
    this.expect(0, "rm -r .strongroom && strongroom backup -e dev -q");
    assert_eq!(records(&local), before + 2);
}

#[test]
fn another_url_is_another_target() {
    let this = Offsite::new();
    this.expect(0, "strongroom backup -e dev -q");
    this.environment("offsite", &target("offsite", "moved", &this.server.endpoint()));
    this.expect(0, "strongroom backup -e dev -q");
    assert!(this.objects().contains("moved/repository.json"));
    assert_eq!(this.ids().len(), 1);
}

#[test]
fn a_store_that_ignores_conditions_is_told_once_and_backed_up_to() {
    let this = Offsite::new();
    let proxy = Proxy::before(this.server.address());
    let refuses = Fate::Answer(501, "<Error><Code>NotImplemented</Code></Error>".into());
    proxy.befall(0, usize::MAX, refuses, |request| request.has_header("if-none-match"));
    this.environment("offsite", &target("offsite", "plain", &proxy.endpoint()));
    let output = run(&this.scratch, "strongroom backup -e dev");
    let text = said(&output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(
        text.contains("warning[conditions-ignored]") && text.contains("one host alone"),
        "{text}"
    );
    this.expect(0, "strongroom backup -e dev -q");
    assert_eq!(this.ids().len(), 2);
}

/// Picks requests.
type Which = fn(&crate::proxy::Request) -> bool;

/// A value as it stands in a URL and in base64.
fn forms(value: &str) -> Vec<String> {
    use base64::Engine as _;
    let encoded = base64::engine::general_purpose::STANDARD.encode(value);
    let percent = percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC).to_string();
    vec![value.to_owned(), encoded, percent]
}

#[test]
fn no_key_reaches_the_output_the_journal_the_state_or_the_bucket() {
    let this = Offsite::new();
    let mut texts = String::new();
    let mut keys = vec![this.server.id.clone(), this.server.key.clone()];
    let note = |script: &str, texts: &mut String| texts.push_str(&said(&run(&this.scratch, script)));
    note("strongroom -vvv backup -e dev", &mut texts);
    note(
        "strongroom -vvv list -e dev; strongroom -vvv verify latest -e dev",
        &mut texts,
    );
    // A store that says everything it was told: keys as they are, in a URL and in base64.
    let proxy = Proxy::before(this.server.address());
    let told: Vec<String> = keys.iter().flat_map(|key| forms(key)).collect();
    let body = format!(
        "<Error><Code>InternalError</Code><Message>{}</Message></Error>",
        told.join(" ")
    );
    proxy.befall(0, usize::MAX, Fate::Answer(400, body), |_| true);
    this.environment("offsite", &target("offsite", "talks", &proxy.endpoint()));
    note(
        "strongroom -vvv backup -e dev; strongroom list -e dev --json",
        &mut texts,
    );
    assert!(texts.contains("400 InternalError"), "{texts}");
    // Wrong keys are keys too; this one needs other spellings in a URL.
    let wrong = format!("{}+/{}=", random(10), random(20));
    this.keys(&random(20), &wrong);
    keys.push(wrong);
    this.environment("offsite", &target("offsite", "service/dev", &this.server.endpoint()));
    note(
        "strongroom -vvv backup -e dev; strongroom explain backup -e dev; strongroom plan backup -e dev",
        &mut texts,
    );
    let script = "find .strongroom -type f -exec cat {} +; strongroom journal show -e dev --json";
    note(script, &mut texts);
    for object in this.objects() {
        texts.push_str(&this.server.curl("GET", &format!("/{object}")));
    }
    assert!(texts.contains("does not know the access key"), "{texts}");
    for form in keys.iter().flat_map(|key| forms(key)) {
        assert!(!texts.contains(&form), "{} … is there", &form[..4]);
    }
}

#[test]
fn a_bucket_that_was_away_has_everything_before_the_next_backup() {
    let this = Offsite::new();
    let two = LOCAL.to_owned() + &target("offsite", "service/dev", &this.server.endpoint());
    this.environment("local offsite", &two);
    this.expect(0, "strongroom backup -e dev -q");
    // More than is read whole, so that it goes in parts.
    this.grow(40);
    this.expect(
        0,
        "strongroom backup -e dev -q --target local && strongroom backup -e dev -q --target local",
    );
    let back = json(&this.expect(0, "strongroom backup -e dev --json"));
    assert_eq!(back["targets"], serde_json::json!(["local", "offsite"]), "{back:#}");
    assert_eq!(back["caught-up"].as_array().unwrap().len(), 2, "{back:#}");
    assert_eq!(this.ids().len(), 4);
    for id in this.ids() {
        this.expect(0, &format!("strongroom verify {id} -e dev -q --target offsite"));
    }
    assert_eq!(this.server.unfinished(""), Vec::<String>::new());
}

#[test]
fn what_needs_no_key_reads_none_and_a_missing_one_leaves_the_target_out() {
    let this = Offsite::new();
    let two = LOCAL.to_owned() + &target("offsite", "service/dev", &this.server.endpoint());
    this.environment("local offsite", &two);
    let secrets = this.scratch.project().join(".env.dev");
    std::fs::set_permissions(&secrets, std::fs::Permissions::from_mode(0o644)).unwrap();
    this.expect(
        0,
        "strongroom validate -e dev && strongroom explain backup -e dev && strongroom plan backup -e dev --offline",
    );
    let text = said(&run(&this.scratch, "strongroom backup -e dev"));
    assert!(text.contains("error[secret-file-mode]"), "{text}");
    std::fs::remove_file(&secrets).unwrap();
    let text = said(&run(&this.scratch, "strongroom backup -e dev"));
    assert!(
        text.contains("warning[target-left-out]") && text.contains("OFFSITE_ACCESS_KEY_ID"),
        "{text}"
    );
    let listed = run(&this.scratch, "strongroom list -e dev");
    assert_eq!(listed.status.code(), Some(3), "{}", said(&listed));
    this.expect(0, "strongroom list -e dev --target local");
    this.expect(3, "strongroom restore latest -e dev --to look -q");
    let alone = run(&this.scratch, "strongroom backup -e dev --target offsite");
    let text = said(&alone);
    assert!(
        alone.status.code() == Some(1) && text.contains("error[secret-missing]"),
        "{text}"
    );
}
