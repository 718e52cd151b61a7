//! The whole program on real data: the example service with its writer running, a tree with everything, and what goes
//! wrong at night.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::projects::Project;
use crate::transcript::{Scratch, program, service};
use crate::trees;

/// Ends the process it holds.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn bash(scratch: &Scratch, script: &str) -> Output {
    scratch.bash(script).output().unwrap()
}

/// Runs a script that must end with `exit`; gives its standard output.
fn expect(scratch: &Scratch, exit: i32, script: &str) -> String {
    let output = bash(scratch, script);
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert_eq!(output.status.code(), Some(exit), "{script}\n{out}\n{err}");
    out.into_owned()
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Backs the environment up and gives the backup's id.
fn backup(scratch: &Scratch) -> String {
    let text = expect(scratch, 0, "strongroom backup -e dev --json");
    json(&text)["backup"].as_str().unwrap().to_owned()
}

/// A project with one `files` source, `tree`, and a target.
fn tree_project(scratch: &Scratch, tree: &Path, target: &Path) {
    let environment = format!(
        "schema-version = 1\ndescription = \"a tree\"\n[path]\ntree = {tree:?}\n[target.local]\nurl = \"file://{}\"\n",
        target.display()
    );
    let pipeline = r#"
schema-version = 1
name = "tree"
description = "one tree"
[[step]]
id = "capture"
type = "snapshot"
  [[step.source]]
  name = "tree"
  type = "files"
  path = "{{path.tree}}"
[[step]]
id = "pack"
type = "compress"
[[step]]
id = "digest"
type = "checksum"
[[step]]
id = "store"
type = "upload"
targets = ["local"]
[[step]]
id = "proof"
type = "confirm"
by = "read-back"
"#;
    scratch.write(&BTreeMap::from([
        ("pipelines/tree.toml".to_owned(), pipeline.to_owned()),
        ("pipelines/environments/dev.toml".to_owned(), environment),
    ]));
}

#[test]
fn twenty_backups_beside_a_writer_are_each_whole_and_no_projection_is_ahead_of_its_log() {
    let scratch = Scratch::new();
    expect(&scratch, 0, "service init --env dev");
    let writer = scratch
        .bash("exec service write --env dev --rate 300")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let writer = Ending(writer);
    let ids: Vec<String> = (0..20).map(|_| backup(&scratch)).collect();
    drop(writer);
    let mut last = Vec::new();
    for id in &ids {
        expect(
            &scratch,
            0,
            &format!("strongroom restore {id} -e dev --to out/{id}/data -q"),
        );
        let report = json(&expect(&scratch, 0, &format!("service check out/{id}")));
        assert_eq!(report["ok"], true, "{id}: {report}");
        last.push(report["last_seq"].as_u64().unwrap());
    }
    assert!(last.is_sorted(), "{last:?}");
    assert!(last.first() < last.last(), "the writer wrote nothing: {last:?}");
    let listed = json(&expect(&scratch, 0, "strongroom list -e dev --json"));
    let sequences: Vec<u64> = listed["backups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|b| b["sequence"].as_u64().unwrap())
        .collect();
    assert_eq!(sequences.len(), 20);
    assert_eq!(sequences.iter().max(), Some(&20));
    expect(&scratch, 0, "strongroom journal verify -e dev");
}

#[test]
fn a_tree_with_every_property_comes_back_from_the_archive_by_program_and_by_hand() {
    trees::need_root();
    let scratch = Scratch::new();
    let place = tempfile::tempdir().unwrap();
    let (tree, target) = (place.path().join("tree"), place.path().join("target"));
    std::fs::create_dir(&tree).unwrap();
    trees::build(&tree);
    tree_project(&scratch, &tree, &target);
    expect(&scratch, 0, "strongroom run tree -e dev -q");
    let by_program = place.path().join("by-program");
    expect(
        &scratch,
        0,
        &format!("strongroom restore latest -e dev --to {} -q", by_program.display()),
    );
    assert_eq!(
        trees::differences(&tree, &by_program.join("tree")),
        Vec::<String>::new()
    );
    let by_hand = place.path().join("by-hand");
    let script = format!(
        "set -e; cd {}; b3sum --check --quiet sums/dev/*.b3; mkdir {by}; \
         zstd -dc archives/dev/*.tar.zst | tar --xattrs '--xattrs-include=*' --acls -xpf - -C {by}",
        target.display(),
        by = by_hand.display()
    );
    expect(&scratch, 0, &script);
    assert_eq!(trees::differences(&tree, &by_hand.join("tree")), Vec::<String>::new());
    // rsync would read the terabyte of nothing in full; the own comparison above has looked at it.
    for tree in [&tree, &by_program.join("tree"), &by_hand.join("tree")] {
        std::fs::remove_file(tree.join("holes/huge")).unwrap();
    }
    let times = std::fs::metadata(tree.join("holes")).unwrap().modified().unwrap();
    for restored in [by_program, by_hand] {
        std::fs::File::open(restored.join("tree/holes"))
            .unwrap()
            .set_modified(times)
            .unwrap();
        let mut rsync = Command::new("rsync");
        rsync.args(["-aHAXn", "--checksum", "--delete", "--itemize-changes"]);
        rsync.arg(tree.join("")).arg(restored.join("tree/"));
        let output = trees::tool("rsync", &mut rsync);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{}", restored.display());
        assert!(output.status.success());
    }
}

#[test]
fn gzip_and_plain_archives_are_restored_by_hand_too() {
    let scratch = Scratch::new();
    expect(&scratch, 0, "service init --env dev");
    for (codec, unpack) in [("gzip", "gzip -dc"), ("none", "cat")] {
        let script = format!(
            "strongroom backup -e dev --json --set 'step.pack.codec=\"{codec}\"' --set 'step.pack.level={{unset=true}}'"
        );
        let id = json(&expect(&scratch, 0, &script))["backup"]
            .as_str()
            .unwrap()
            .to_owned();
        expect(
            &scratch,
            0,
            &format!("strongroom verify {id} -e dev && strongroom restore {id} -e dev --to p-{codec} -q"),
        );
        expect(
            &scratch,
            0,
            &format!(
                "mkdir h-{codec} && {unpack} backups/dev/archives/dev/{id}.* | tar -xpf - -C h-{codec} && diff -r p-{codec} h-{codec}"
            ),
        );
    }
}

#[test]
fn a_restore_in_place_keeps_what_it_replaces_and_what_the_backup_does_not_cover() {
    let scratch = Scratch::new();
    expect(&scratch, 0, "service init --env dev");
    let config = scratch.project().join("examples/service/var/dev/config");
    let secret = std::fs::read(config.join(".env")).unwrap();
    let users = std::fs::read(config.join("users.json")).unwrap();
    backup(&scratch);
    let text = std::fs::read(config.join("service.toml")).unwrap();
    let output = bash(&scratch, "strongroom restore latest -e dev --json");
    let report = json(&String::from_utf8_lossy(&output.stdout));
    // Texts that were redacted lie beside the present files: that is exit 3.
    assert_eq!(output.status.code(), Some(3), "{report:#}");
    assert_eq!(std::fs::read(config.join(".env")).unwrap(), secret);
    assert_eq!(std::fs::read(config.join("service.toml")).unwrap(), text);
    assert_eq!(std::fs::read(config.join("users.json")).unwrap(), users);
    assert!(config.join("service.toml.restored").exists());
    let replaced: Vec<&str> = report["restored"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["replaced"].as_str().unwrap())
        .collect();
    assert_eq!(replaced.len(), 4);
    assert!(replaced.iter().all(|path| Path::new(path).is_dir()), "{replaced:?}");
    expect(&scratch, 0, "service check --env dev");
}

#[test]
fn a_protected_environment_is_not_replaced_without_its_name() {
    let scratch = Scratch::new();
    let root = scratch.project().join("live");
    let environment = format!(
        "schema-version = 1\nprotected = true\n[path]\ndata = \"{0}/data\"\nconfig = \"{0}/config\"\n[target.local]\nurl = \"file:backups/live\"\n",
        root.display()
    );
    scratch.write(&BTreeMap::from([(
        "pipelines/environments/live.toml".to_owned(),
        environment,
    )]));
    expect(
        &scratch,
        0,
        "service init --env live --var . && strongroom backup -e live -q",
    );
    let before = trees::facts(&root.join("data"));
    for wrong in ["", "--confirm dev"] {
        let output = bash(&scratch, &format!("strongroom restore latest -e live {wrong}"));
        assert_eq!(output.status.code(), Some(5));
        let told = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        for part in [
            "error[unconfirmed]",
            "state:",
            "nothing present was touched",
            "--confirm live",
        ] {
            assert!(told.contains(part), "{part} is missing: {told}");
        }
    }
    assert_eq!(
        trees::compare(before, trees::facts(&root.join("data"))),
        Vec::<String>::new()
    );
    expect(&scratch, 3, "strongroom restore latest -e live --confirm live -q");
    expect(&scratch, 5, "STRONGROOM_LOG=debug strongroom backup -e live");
}

/// Every byte below a folder, archives and catalogs unpacked too.
fn everything_in(scratch: &Scratch, folder: &str) -> String {
    expect(
        scratch,
        0,
        &format!(
            "find {folder} -type f ! -name '*.zst' -exec cat {{}} +; find {folder} -name '*.zst' -exec zstd -dcq {{}} +"
        ),
    )
}

#[test]
fn no_secret_reaches_a_target_the_journal_or_the_output() {
    let scratch = Scratch::new();
    expect(&scratch, 0, "service init --env dev");
    let value = |tag: &str| format!("{tag}{}{}", uuid::Uuid::now_v7().simple(), std::process::id());
    let (token, password, known) = (value("tok"), value("pass"), value("known"));
    let project = scratch.project();
    let config = project.join("examples/service/var/dev/config");
    std::fs::write(
        config.join("app.toml"),
        format!("[mail]\npassword = \"{password}\"\nplain = \"x {known} y\"\n"),
    )
    .unwrap();
    std::fs::write(
        config.join("app.json"),
        format!("{{\"api-token\":\"{token}\",\"url\":\"https://u:{password}@h/\"}}"),
    )
    .unwrap();
    let secrets = project.join(".env.dev");
    std::fs::write(&secrets, format!("NOTE_VALUE={known}\n")).unwrap();
    let environment = std::fs::read_to_string(project.join("pipelines/environments/dev.toml")).unwrap();
    let overlay = "secrets = { file = \".env.dev\" }\n\n[path]";
    let values = "\n[pipeline.backup.step.scrub]\nvalues = [{ secret = \"NOTE_VALUE\" }]\n";
    let changed = environment.replacen("[path]", overlay, 1) + values;
    std::fs::write(project.join("pipelines/environments/dev.toml"), changed).unwrap();
    std::fs::set_permissions(&secrets, std::fs::Permissions::from_mode(0o644)).unwrap();
    let refused = bash(&scratch, "strongroom backup -e dev");
    assert_eq!(
        refused.status.code(),
        Some(5),
        "a secret file that others can read is refused"
    );
    std::fs::set_permissions(&secrets, std::fs::Permissions::from_mode(0o600)).unwrap();
    let run = bash(
        &scratch,
        &format!(
            "strongroom -vv backup -e dev --json; strongroom explain backup -e dev; strongroom backup -e dev --set 'step.scrub.values=[\"{known}\"]'"
        ),
    );
    let mut seen = String::from_utf8_lossy(&run.stdout).into_owned();
    seen.push_str(&String::from_utf8_lossy(&run.stderr));
    seen.push_str(&everything_in(&scratch, "backups"));
    seen.push_str(&everything_in(&scratch, ".strongroom"));
    assert!(seen.contains("[REDACTED:"), "nothing was redacted");
    assert!(seen.contains("secret-literal"), "{seen}");
    for secret in [token, password, known] {
        assert!(!seen.contains(&secret), "{} is there", &secret[..5]);
    }
}

#[test]
fn a_full_target_fails_by_name_and_leaves_no_backup() {
    trees::need_root();
    let scratch = Scratch::new();
    expect(&scratch, 0, "service init --env dev");
    let small = tempfile::tempdir().unwrap();
    let at = small.path().display();
    let mounted = bash(&scratch, &format!("mount -t tmpfs -o size=1m none {at}"));
    assert!(
        mounted.status.success(),
        "this test mounts a small tmpfs: run it as root"
    );
    let output = bash(
        &scratch,
        &format!("strongroom backup -e dev --set 'target.local.url=\"file://{at}/t\"'"),
    );
    let left = expect(
        &scratch,
        0,
        &format!("find {at} -mindepth 1 -name '*.json' -path '*backups*' -o -name '.tmp*' -o -name '*.tar*'"),
    );
    bash(&scratch, &format!("umount {at}"));
    let told = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{told}");
    for part in ["error[disk-full]", "no backup was made", "help:"] {
        assert!(told.contains(part), "{part} is missing: {told}");
    }
    assert_eq!(left, "");
}

#[test]
fn a_run_that_is_interrupted_or_terminated_says_so_and_leaves_no_backup() {
    let scratch = Scratch::new();
    expect(&scratch, 0, "service init --env dev --scale 8");
    for (signal, exit) in [("INT", 130), ("TERM", 143)] {
        let mut run = Command::new(program());
        // A level that takes long enough to be caught.
        run.args(["backup", "-e", "dev", "--set", "step.pack.level=19"])
            .current_dir(scratch.project())
            .stdin(Stdio::null());
        let mut run = run.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(run.stderr.take().unwrap()).lines().map(Result::unwrap);
        let before: Vec<String> = lines
            .by_ref()
            .take_while(|line| !line.contains("store: started"))
            .collect();
        expect(&scratch, 0, &format!("kill -{signal} {}", run.id()));
        let after: Vec<String> = lines.collect();
        let told = [before, after].concat().join("\n");
        assert_eq!(run.wait().unwrap().code(), Some(exit), "{told}");
        assert!(told.contains("no backup was made"), "{told}");
        let left = expect(
            &scratch,
            0,
            "mkdir -p backups; find backups -name '.tmp*' -o -name '*.tar.zst' -o -path '*/backups/dev/*.json'",
        );
        assert_eq!(left, "", "after SIG{signal}");
    }
    expect(&scratch, 0, "strongroom journal verify -e dev");
}

#[test]
fn a_backup_that_is_killed_at_any_moment_is_whole_or_not_there() {
    let scratch = Scratch::new();
    expect(&scratch, 0, "service init --env dev --scale 3");
    let rounds = if std::env::var_os("STRONGROOM_TORTURE").is_some() {
        200
    } else {
        12
    };
    for round in 0..rounds {
        let mut run = Command::new(program());
        run.args(["backup", "-e", "dev", "-q"])
            .current_dir(scratch.project())
            .stdin(Stdio::null());
        let mut run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(17 * (round * 7 % 60)));
        drop(run.kill());
        run.wait().unwrap();
    }
    let listed = json(&expect(&scratch, 0, "strongroom list -e dev --json"));
    for listed in listed["backups"].as_array().unwrap() {
        let id = listed["id"].as_str().unwrap();
        expect(&scratch, 0, &format!("strongroom verify {id} -e dev -q"));
    }
    // A run that was killed while it wrote to the journal is told by the next one, which goes on.
    let next = bash(&scratch, "strongroom backup -e dev");
    assert!(
        matches!(next.status.code(), Some(0 | 3)),
        "{}",
        String::from_utf8_lossy(&next.stderr)
    );
    expect(&scratch, 0, "strongroom journal verify -e dev");
    expect(&scratch, 0, "strongroom verify latest -e dev");
}

#[test]
fn damage_is_told_and_the_sound_target_is_used() {
    let scratch = Scratch::new();
    expect(&scratch, 0, "service init --env dev");
    let environment = scratch.project().join("pipelines/environments/dev.toml");
    let text = std::fs::read_to_string(&environment).unwrap();
    let second = "\n[target.second]\nurl = \"file:backups/second\"\n[pipeline.backup.step.store]\ntargets = [\"local\", \"second\"]\n";
    std::fs::write(&environment, text + second).unwrap();
    backup(&scratch);
    expect(&scratch, 0, "diff -r backups/dev backups/second");
    let archive = expect(&scratch, 0, "ls backups/dev/archives/dev/*.zst");
    expect(
        &scratch,
        0,
        &format!(
            "printf x | dd of={} bs=1 seek=5000 conv=notrunc status=none",
            archive.trim()
        ),
    );
    expect(&scratch, 4, "strongroom verify latest -e dev");
    expect(&scratch, 3, "strongroom restore latest -e dev --to out");
    expect(&scratch, 0, "service check out");
    expect(&scratch, 4, "strongroom restore latest -e dev --target local --to out2");
    assert!(!scratch.project().join("out2/events").exists());
    expect(&scratch, 10, "strongroom restore 2020 -e dev --to out3");
    assert!(service().exists());
}

#[test]
fn a_second_run_of_the_same_pipeline_is_refused_at_once() {
    let scratch = Scratch::new();
    expect(&scratch, 0, "service init --env dev && strongroom backup -e dev -q");
    let lock = expect(&scratch, 0, "ls .strongroom/dev/*.lock");
    let lock = lock.lines().find(|l| l.contains("backup")).unwrap().to_owned();
    expect(&scratch, 11, &format!("flock {lock} strongroom backup -e dev"));
    expect(&scratch, 0, "strongroom backup -e dev -q");
}

#[test]
fn a_pipeline_that_an_operator_writes_with_other_steps_and_words_validates_plans_and_runs() {
    let scratch = Scratch::new();
    expect(&scratch, 0, "service init --env staging --var data");
    let pipeline = r#"
schema-version = 1
name = "nightly"
description = "asks first, keeps three, two redactions"
[arg.reason]
description = "why"
required = false
default = "night"
[[step]]
id = "ask"
type = "confirm"
by = "operator"
[[step]]
id = "take"
type = "snapshot"
  [[step.source]]
  name = "log"
  type = "append-log"
  path = "{{path.root}}/data/events"
  [[step.source]]
  name = "settings"
  type = "files"
  path = "{{path.root}}/config"
[[step]]
id = "clean"
type = "redact"
sources = ["settings"]
binary = "leave-out"
[[step]]
id = "squeeze"
type = "compress"
codec = "gzip"
[[step]]
id = "sum"
type = "checksum"
[[step]]
id = "put"
type = "upload"
targets = ["a", "b"]
require = 2
[[step]]
id = "read"
type = "confirm"
by = "read-back"
[[step]]
id = "thin"
type = "retain"
keep-last = 2
max-remove = "50%"
"#;
    let environment = r#"
schema-version = 1
[path]
root = "data/staging"
[target.a]
url = "file:stores/a"
[target.b]
url = "file:stores/b"
[pipeline.nightly.step.thin]
keep-last = 3
[pipeline.nightly.step.take.source.settings]
exclude = { append = [".env*"] }
"#;
    scratch.write(&BTreeMap::from([
        ("pipelines/nightly.toml".to_owned(), pipeline.to_owned()),
        ("pipelines/environments/staging.toml".to_owned(), environment.to_owned()),
    ]));
    expect(&scratch, 0, "strongroom validate nightly -e staging");
    expect(
        &scratch,
        0,
        "strongroom plan nightly -e staging --offline && strongroom plan nightly -e staging",
    );
    assert!(!scratch.project().join("stores").exists(), "a plan writes nothing");
    for _ in 0..5 {
        expect(&scratch, 0, "strongroom run nightly -e staging -q");
    }
    let listed = json(&expect(&scratch, 0, "strongroom list -e staging --json"));
    let sequences: Vec<u64> = listed["backups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|b| b["sequence"].as_u64().unwrap())
        .collect();
    assert_eq!(sequences.len(), 3, "{listed:#}");
    assert!([3, 4, 5].iter().all(|n| sequences.contains(n)), "{sequences:?}");
    expect(
        &scratch,
        0,
        "strongroom verify latest -e staging && strongroom journal verify -e staging",
    );
    let held = bash(
        &scratch,
        "strongroom run nightly -e staging --set step.thin.keep-last=1 --set 'step.thin.max-remove=\"30%\"'",
    );
    let told = String::from_utf8_lossy(&held.stderr).into_owned() + &String::from_utf8_lossy(&held.stdout);
    assert_eq!(held.status.code(), Some(3), "{told}");
    assert!(told.contains("retention-held-back"), "{told}");
}

#[test]
fn a_text_that_a_restore_laid_beside_a_file_is_told_and_never_multiplies() {
    let project = Project::new("");
    let scrub = "[[step]]\nid = \"scrub\"\ntype = \"redact\"\nsources = [\"config\"]\n";
    let source = "[[step.source]]\nname = \"config\"\ntype = \"files\"\npath = \"config\"\n";
    project.pipeline("backup", &format!("{source}{scrub}"));
    let secret = blake3::hash(&std::process::id().to_le_bytes()).to_hex();
    project.write("config/a.toml", &format!("password = \"{}\"\n", &secret[..20]));
    // Ones of the operator's own: beside nothing that was redacted, and beside nothing at all.
    project.write("config/a.toml.restored-by-hand", "mine");
    project.write("config/b.restored", "mine");
    project.write("config/b", "mine");
    project.backup(&[]).ended(0);
    let names = || {
        let mut names: Vec<String> = std::fs::read_dir(project.path("config"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let expected = [
        "a.toml",
        "a.toml.restored",
        "a.toml.restored-by-hand",
        "b",
        "b.restored",
    ];
    for _ in 0..3 {
        project.restore("latest", &[]).ended(3);
        assert_eq!(names(), expected);
        let backup = project.backup(&[]).ended(3);
        let (code, said) = backup.problem();
        assert_eq!(code, "restored-beside");
        assert!(said.contains("a.toml.restored` is left out"), "{said}");
        assert_eq!(backup.json["entries"], 5, "the root and four files");
    }
    // What someone made of it is theirs.
    std::fs::rename(project.path("config/a.toml.restored"), project.path("config/a.toml")).unwrap();
    assert_eq!(project.backup(&[]).ended(0).json["entries"], 5);
}
