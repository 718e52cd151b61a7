//! Programs that a pipeline runs: what they are given, when they run, how they end, and what is told of them.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::projects::{Project, STORE};
use crate::transcript::program;

/// A source with a file, in `data`.
const SOURCE: &str = "[[step.source]]\nname = \"data\"\ntype = \"files\"\npath = \"data\"\n";

fn step(id: &str, argv: &str, more: &str) -> String {
    format!("[[step]]\nid = \"{id}\"\ntype = \"command\"\nargv = {argv}\n{more}\n")
}

/// A project whose pipeline `backup` runs `before` first and `after` last.
fn project(before: &str, after: &str) -> Project {
    let project = Project::new(SOURCE);
    project.write("data/file", "old");
    let text = format!(
        "schema-version = 1\nname = \"backup\"\n{before}\n[[step]]\nid = \"capture\"\ntype = \"snapshot\"\n{SOURCE}\n{STORE}\n{after}"
    );
    project.write("pipelines/backup.toml", &text);
    project
}

/// A script in the project's folder.
fn script(project: &Project, name: &str, text: &str) {
    project.write(name, &format!("#!/bin/sh\n{text}\n"));
    fs::set_permissions(project.path(name), fs::Permissions::from_mode(0o755)).unwrap();
}

/// A pipeline `restore` with `stop` before the guard and `start` behind the swap.
fn restore_pipeline(project: &Project, stop: &str, judge: &str, start: &str) {
    let text = format!(
        r#"
schema-version = 1
name = "restore"
[arg.backup]
description = "which"
required = true
example = "latest"
[[step]]
id = "choose"
type = "select"
backup = "{{{{arg.backup}}}}"
[[step]]
id = "integrity"
type = "verify"
{stop}
[[step]]
id = "guard"
type = "rollback-point"
[[step]]
id = "stage"
type = "restore"
[[step]]
id = "sound"
type = "assert"
{judge}
[[step]]
id = "replace"
type = "swap"
{start}
"#
    );
    project.write("pipelines/restore.toml", &text);
}

fn events<'r>(records: &'r [Value], event: &str) -> Vec<&'r Value> {
    records.iter().filter(|record| record["event"] == event).collect()
}

#[test]
fn a_program_gets_its_arguments_and_the_named_environment_and_nothing_else() {
    let project = project(
        &step(
            "before",
            r#"["./look.sh", "a b", "$(id)", "{{env.name}}", ""]"#,
            "env = { GREETING = \"hello {{env.name}}\", DB_PASSWORD = { secret = \"DB\" } }",
        ),
        "",
    );
    let secret = format!("pw-{}", uuid::Uuid::now_v7().simple());
    project.environment("dev", "secrets = { file = \".env.dev\" }");
    project.write(".env.dev", &format!("DB={secret}\n"));
    fs::set_permissions(project.path(".env.dev"), fs::Permissions::from_mode(0o600)).unwrap();
    script(
        &project,
        "look.sh",
        "pwd; for a; do echo \"<$a>\"; done > arguments; env > environment; cat > input; echo \"it is $DB_PASSWORD\" >&2",
    );
    let ran = project.backup(&[]).ended(0);
    let read = |name: &str| fs::read_to_string(project.path(name)).unwrap();
    assert_eq!(read("arguments"), "<a b>\n<$(id)>\n<dev>\n<>\n");
    assert_eq!(read("input"), "");
    let environment = read("environment");
    let mut names: Vec<&str> = environment
        .lines()
        .filter_map(|line| line.split_once('=').map(|l| l.0))
        .collect();
    names.retain(|name| !["PWD", "SHLVL", "_", "OLDPWD"].contains(name));
    names.sort_unstable();
    assert_eq!(names, ["DB_PASSWORD", "GREETING", "PATH"]);
    assert!(environment.contains(&format!("DB_PASSWORD={secret}\n")) && environment.contains("GREETING=hello dev\n"));
    // What it said is told, without the value, here and in the journal.
    let told = &ran.json["commands"][0];
    assert_eq!(
        (&told["step"], &told["exit"], &told["stderr"]),
        (&"before".into(), &0.into(), &"it is ***".into())
    );
    assert_eq!(
        told["stdout"],
        project.path("").canonicalize().unwrap().display().to_string()
    );
    let journal = project.journal("dev");
    assert_eq!(events(&journal, "command_started")[0]["argv"][1], "a b");
    assert_eq!(events(&journal, "command_ended")[0]["message"], "it is ***");
    let everything = format!("{:#}\n{}\n{journal:#?}", ran.json, ran.stderr);
    assert!(!everything.contains(&secret), "{everything}");
}

#[test]
fn programs_run_where_they_stand_and_one_that_fails_ends_the_run_before_anything_is_captured() {
    let after = step("after", r#"["./note.sh", "after"]"#, "");
    let project = project(&step("before", r#"["./note.sh", "before"]"#, ""), &after);
    // What is captured is what the first has made, and the backup is stored when the second runs.
    script(
        &project,
        "note.sh",
        "echo $1 >> data/notes; ls backups/backups/dev >> stored-$1 2>&1; exit ${FAIL:-0}",
    );
    project.backup(&[]).ended(0);
    project.restore("latest", &["--to", "out"]).ended(0);
    assert_eq!(fs::read_to_string(project.path("out/data/notes")).unwrap(), "before\n");
    assert!(
        fs::read_to_string(project.path("stored-after"))
            .unwrap()
            .contains(".json")
    );
    let ran = project.backup(&["--set", "step.before.env={FAIL=\"7\"}"]).ended(1);
    let (code, said) = ran.problem();
    assert_eq!(code, "process-failed");
    assert!(
        said.contains("ended with exit code 7") && said.contains("nothing more was done"),
        "{said}"
    );
    assert_eq!(ran.json["diagnostics"][0]["step"], "before");
    assert_eq!(project.backups(), 1);
    // Behind the upload the backup stands, whatever a program says.
    let ran = project.backup(&["--set", "step.after.env={FAIL=\"7\"}"]).ended(1);
    let (_, said) = ran.problem();
    assert!(said.contains("the backup stands"), "{said}");
    assert!(
        ran.json["headline"]
            .as_str()
            .unwrap()
            .contains("stored in local; a program behind it failed")
    );
    assert_eq!(project.backups(), 2);
    let journal = project.journal("dev");
    let ends = events(&journal, "command_ended");
    let codes: Vec<i64> = ends.iter().map(|end| end["exit"].as_i64().unwrap()).collect();
    assert_eq!(codes, [0, 0, 7, 0, 7]);
}

#[test]
fn what_always_runs_runs_after_a_failure_in_order_and_each_is_told() {
    let always = |id: &str, code: u8| step(id, &format!(r#"["./note.sh", "{id}", "{code}"]"#), "always = true");
    let after = [
        step("skipped", r#"["./note.sh", "skipped", "0"]"#, ""),
        always("first", 9),
        always("second", 0),
    ];
    let project = project(&step("before", r#"["./note.sh", "before", "3"]"#, ""), &after.concat());
    script(&project, "note.sh", "echo $1 >> notes; echo \"$1 says\" >&2; exit $2");
    let ran = project.backup(&[]).ended(1);
    assert_eq!(
        fs::read_to_string(project.path("notes")).unwrap(),
        "before\nfirst\nsecond\n"
    );
    let told: Vec<String> = ran.json["diagnostics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| {
            format!(
                "{} {} {}",
                d["step"].as_str().unwrap(),
                d["what"].as_str().unwrap(),
                d["why"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(
        told[0].starts_with("before") && told[0].ends_with("exit code 3 before says"),
        "{told:#?}"
    );
    assert!(
        told[1].starts_with("first") && told[1].ends_with("exit code 9 first says"),
        "{told:#?}"
    );
    let steps: Vec<&str> = ran.json["commands"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["step"].as_str().unwrap())
        .collect();
    assert_eq!(steps, ["before", "first", "second"]);
    let journal = project.journal("dev");
    assert_eq!(events(&journal, "command_ended").len(), 3);
    assert_eq!(events(&journal, "run_finished")[0]["exit"], 1);
    // The code of the run is that of what failed first.
    project.write(
        "pipelines/backup.toml",
        &fs::read_to_string(project.path("pipelines/backup.toml"))
            .unwrap()
            .replace("\"3\"", "\"0\""),
    );
    fs::remove_dir_all(project.path("data")).unwrap();
    let ran = project.backup(&[]).ended(5);
    assert_eq!(ran.problem().0, "source-missing");
    assert_eq!(ran.json["diagnostics"][1]["step"], "first");
}

/// Runs a backup until a step is under way, sends it a signal, and gives the exit code and what it said.
fn stopped_in(project: &Project, step: &str, signal: &str) -> (Option<i32>, String) {
    let mut run = Command::new(program());
    run.args(["backup", "-e", "dev", "--no-progress"])
        .current_dir(project.path(""))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut run = run.spawn().unwrap();
    let mut lines = BufReader::new(run.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains(&format!("{step}: started"))));
    let begun = project.path("begun");
    while !begun.exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let pid = run.id().to_string();
    assert!(
        Command::new("kill")
            .args([&format!("-{signal}"), &pid])
            .status()
            .unwrap()
            .success()
    );
    let rest: Vec<String> = lines.collect();
    (run.wait().unwrap().code(), rest.join("\n"))
}

#[test]
fn a_signal_ends_the_program_under_way_and_what_always_runs_is_run() {
    let always = step("start", r#"["./note.sh", "start"]"#, "always = true");
    let project = project(&step("stop", r#"["./wait.sh"]"#, ""), &always);
    script(
        &project,
        "wait.sh",
        "trap 'echo tidy >> notes; exit 1' TERM; sleep 1000 & echo $! > child; touch begun; wait",
    );
    script(&project, "note.sh", "echo $1 >> notes");
    let (code, told) = stopped_in(&project, "stop", "TERM");
    assert_eq!(code, Some(143), "{told}");
    assert_eq!(fs::read_to_string(project.path("notes")).unwrap(), "tidy\nstart\n");
    assert_eq!(project.backups(), 0);
    assert!(is_gone(&project.path("child")), "{told}");
}

#[test]
fn a_signal_does_not_end_what_always_runs() {
    let always = step("start", r#"["./wait.sh"]"#, "always = true");
    let project = project("", &always);
    // It ends when the run has heard of the signal: the file of the signal is made by the test's own kill.
    script(
        &project,
        "wait.sh",
        "touch begun; while ! grep -q 'SigCgt' /proc/self/status || [ ! -e go ]; do sleep 0.01; done; echo start >> notes",
    );
    let mut run = Command::new(program());
    run.args(["backup", "-e", "dev", "--no-progress"])
        .current_dir(project.path(""))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut run = run.spawn().unwrap();
    let mut lines = BufReader::new(run.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("start: started")));
    let pid = run.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert!(lines.any(|line| line.contains("stopping; the run ends")));
    fs::write(project.path("go"), "").unwrap();
    let rest: Vec<String> = lines.collect();
    // Nothing was left to do behind it.
    assert_eq!(run.wait().unwrap().code(), Some(0), "{rest:#?}");
    assert_eq!(fs::read_to_string(project.path("notes")).unwrap(), "start\n");
    assert_eq!(project.backups(), 1);
}

/// Whether the process in the file has ended, or soon does.
fn is_gone(file: &Path) -> bool {
    let pid = fs::read_to_string(file).unwrap().trim().to_owned();
    (0..2000).any(|_| {
        let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let gone = state.is_empty() || state.contains(") Z ");
        if !gone {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        gone
    })
}

#[test]
fn a_program_that_is_late_is_ended_with_what_it_started() {
    let project = project(&step("slow", r#"["./slow.sh"]"#, "limit = \"200ms\""), "");
    script(
        &project,
        "slow.sh",
        "echo 'waiting for it'; sleep 1000 & echo $! > child; sleep 1000",
    );
    let ran = project.backup(&[]).ended(1);
    let (code, said) = ran.problem();
    assert_eq!(code, "process-failed");
    for part in ["took longer than 200ms and was stopped", "waiting for it", "`limit`"] {
        assert!(said.contains(part), "{part} is missing: {said}");
    }
    assert_eq!(ran.json["commands"][0]["exit"], Value::Null);
    assert!(is_gone(&project.path("child")));
    assert_eq!(project.backups(), 0);
}

#[test]
fn much_output_is_told_by_its_end_and_no_secret_is_cut_in_half() {
    let project = project(
        &step(
            "loud",
            r#"["./loud.sh"]"#,
            "env = { API_TOKEN = { secret = \"TOKEN\" } }",
        ),
        "",
    );
    let secret = uuid::Uuid::now_v7().simple().to_string();
    project.environment("dev", "secrets = { file = \".env.dev\" }");
    project.write(".env.dev", &format!("TOKEN={secret}\n"));
    fs::set_permissions(project.path(".env.dev"), fs::Permissions::from_mode(0o600)).unwrap();
    script(
        &project,
        "loud.sh",
        "i=0; while [ $i -lt 20000 ]; do echo \"line $i $API_TOKEN\"; i=$((i+1)); done",
    );
    let ran = project.backup(&[]).ended(0);
    let told = ran.json["commands"][0]["stdout"].as_str().unwrap();
    assert!(told.len() < 3000 && told.ends_with("line 19999 ***"), "{told}");
    for size in [8, 16] {
        let half = &secret[secret.len() - size..];
        assert!(!format!("{:#}", ran.json).contains(half));
    }
}

#[test]
fn a_service_is_stopped_before_the_swap_and_started_whatever_comes_of_it() {
    let project = project("", "");
    project.backup(&[]).ended(0);
    project.write("data/file", "new");
    script(
        &project,
        "service.sh",
        "echo \"$1 $(cat data/file) $(ls -A | grep -c stage-)\" >> notes; [ \"$1\" != \"$FAIL\" ]",
    );
    let command = |id: &str, more: &str| step(id, &format!(r#"["./service.sh", "{id}"]"#), more);
    let start = command("start", "always = true");
    restore_pipeline(&project, &command("stop", ""), "min-entries = 1000", &start);
    let notes = || {
        let text = fs::read_to_string(project.path("notes")).unwrap_or_default();
        drop(fs::remove_file(project.path("notes")));
        text
    };
    let ran = project.restore("latest", &[]).ended(4);
    assert_eq!(ran.problem().0, "assert-failed");
    // What was unpacked is gone before the service starts.
    assert_eq!(notes(), "stop new 0\nstart new 0\n");
    restore_pipeline(
        &project,
        &command("stop", "env = { FAIL = \"stop\" }"),
        "min-entries = 1",
        &start,
    );
    let ran = project.restore("latest", &[]).ended(1);
    assert!(ran.problem().1.contains("nothing present was touched"));
    assert_eq!(notes(), "stop new 0\nstart new 0\n");
    restore_pipeline(&project, &command("stop", ""), "min-entries = 1", &start);
    project.restore("latest", &[]).ended(0);
    assert_eq!(notes(), "stop new 0\nstart old 0\n");
    // Where it cannot be started the restore stands, and can be undone.
    project.run(&["rollback", "--env", "dev"]).ended(0);
    let start = command("start", "always = true\nenv = { FAIL = \"start\" }");
    restore_pipeline(&project, &command("stop", ""), "min-entries = 1", &start);
    let ran = project.restore("latest", &[]).ended(1);
    let (_, said) = ran.problem();
    assert!(
        said.contains("the restored data is in place, and what it replaced is kept"),
        "{said}"
    );
    assert!(
        ran.json["headline"]
            .as_str()
            .unwrap()
            .contains("restored to `dev`; a program behind it failed")
    );
    assert_eq!(fs::read_to_string(project.path("data/file")).unwrap(), "old");
    project.run(&["rollback", "--env", "dev"]).ended(0);
    assert_eq!(fs::read_to_string(project.path("data/file")).unwrap(), "new");
}

#[test]
fn a_restore_into_a_folder_runs_no_program_and_names_them() {
    let project = project("", "");
    project.backup(&[]).ended(0);
    let command = |id: &str, more: &str| step(id, r#"["touch", "ran"]"#, &format!("{more}\n# {id}"));
    restore_pipeline(
        &project,
        &command("stop", ""),
        "min-entries = 1",
        &command("start", "always = true"),
    );
    let ran = project.restore("latest", &["--to", "out"]).ended(0);
    assert_eq!(
        ran.json["skipped"],
        serde_json::json!(["stop", "guard", "replace", "start"])
    );
    project.write("full/file", "");
    project.restore("latest", &["--to", "full"]).ended(5);
    assert!(!project.path("ran").exists());
}

#[test]
fn a_plan_shows_programs_and_runs_none() {
    let more = "always = true\nenv = { DB_PASSWORD = { secret = \"NOWHERE\" } }";
    let project = project(&step("before", r#"["touch", "a b"]"#, more), "");
    for line in [
        &["plan", "backup", "--env", "dev"][..],
        &["plan", "backup", "--env", "dev", "--offline"],
        &["backup", "--dry-run", "--env", "dev"],
    ] {
        let plan = project.run(line).ended(0);
        assert_eq!(plan.json["steps"][0]["argv"], serde_json::json!(["touch", "a b"]));
        assert_eq!(plan.json["steps"][0]["always"], true);
        assert!(!project.path("a b").exists());
    }
    let text = Command::new(program())
        .args(["plan", "backup", "--env", "dev", "--offline"])
        .current_dir(project.path(""))
        .output()
        .unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("not run now: touch 'a b', after a failure too"), "{text}");
    let explained = project
        .run(&["explain", "backup", "step.before", "--env", "dev"])
        .ended(0);
    let explained = format!("{:#}", explained.json);
    assert!(
        explained.contains("step.before.env.DB_PASSWORD.secret") && explained.contains("NOWHERE"),
        "{explained}"
    );
    let ran = project.backup(&[]).ended(1);
    assert_eq!(ran.problem().0, "secret-missing");
    assert!(!project.path("a b").exists() && project.backups() == 0);
}

#[test]
fn a_manifest_that_would_run_a_program_wrongly_is_refused_with_the_place() {
    let literal = uuid::Uuid::now_v7().simple().to_string();
    let cases = [
        (step("x", "[]", ""), "invalid-value", "`argv`"),
        (step("x", r#"["", "a"]"#, ""), "invalid-value", "names no program"),
        (step("x", r#""systemctl stop service""#, ""), "wrong-type", "`argv`"),
        (step("x", r#"["a"]"#, "limit = \"5m\""), "invalid-value", "`5m`"),
        (
            step("x", r#"["a"]"#, "env = { A-B = \"x\" }"),
            "invalid-value",
            "name of a variable",
        ),
        (step("x", r#"["a"]"#, "env = { PORT = 80 }"), "wrong-type", "PORT"),
        (step("x", r#"["a"]"#, "shell = true"), "unknown-key", "shell"),
        (
            step("x", r#"["a"]"#, &format!("env = {{ API_TOKEN = \"{literal}\" }}")),
            "secret-literal",
            "written out",
        ),
        (
            step(
                "x",
                r#"["a"]"#,
                &format!("env = {{ A = {{ secret = \"{literal}-x\" }} }}"),
            ),
            "secret-literal",
            "written out",
        ),
    ];
    for (step, code, part) in cases {
        let project = project(&step, "");
        let refused = project.run(&["validate", "backup", "--env", "dev"]).ended(78);
        let first = &refused.json["diagnostics"][0];
        assert_eq!(first["code"], code, "{step}\n{:#}", refused.json);
        let said = format!("{} {}", first["what"], first["why"]);
        assert!(said.contains(part), "{step}: {said}");
        assert_eq!(first["step"], "x");
        assert!(first["places"][0]["line"].as_u64().unwrap() > 3);
        assert!(!format!("{}{}", refused.json, refused.stderr).contains(&literal));
    }
    let harmless = "env = { TOKEN_FILE = \"/run/token\", API_TOKEN = \"\", PORT = \"80\", LANG = \"C\" }";
    project(&step("x", r#"["a"]"#, harmless), "")
        .run(&["validate", "backup", "--env", "dev"])
        .ended(0);
    // Everything from the snapshot to the upload is one pass, in which a program would run too early.
    let early = project("", "");
    let text = fs::read_to_string(early.path("pipelines/backup.toml")).unwrap();
    let inside = step("x", r#"["a"]"#, "");
    let text = text.replacen(
        "[[step]]\nid = \"pack\"",
        &format!("{inside}[[step]]\nid = \"pack\""),
        1,
    );
    early.write("pipelines/backup.toml", &text);
    let refused = early.run(&["validate", "backup", "--env", "dev"]).ended(78);
    let (code, said) = refused.problem();
    assert_eq!(code, "flow-order");
    assert!(said.contains("`x` stands between `capture` and `store`"), "{said}");
    // Only a program can run after a failure.
    let asks = "[[step]]\nid = \"ask\"\ntype = \"confirm\"\nby = \"operator\"\nalways = true\n";
    let refused = project("", asks).run(&["validate", "backup", "--env", "dev"]).ended(78);
    assert!(refused.problem().1.contains("`ask` cannot run after a failure"));
}
