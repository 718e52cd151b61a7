//! The command line as people and scripts meet it: the built program, its two outputs and its exit code.

use std::io::{BufRead as _, Read as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A run of the program: what it wrote, and how it ended.
struct Ran {
    stdout: String,
    stderr: String,
    code: i32,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            code: output.status.code().expect("ended by a signal"),
        }
    }
}

/// The program in `folder`, with an environment that holds nothing but `PATH`.
fn program(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_strongroom"));
    command
        .current_dir(folder)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::null());
    command
}

fn ran(folder: &Path, words: &[&str]) -> Ran {
    program(folder).args(words).output().unwrap().into()
}

/// A project with two environments and nothing else.
fn project() -> tempfile::TempDir {
    let project = tempfile::tempdir().unwrap();
    let folder = project.path().join("pipelines/environments");
    std::fs::create_dir_all(&folder).unwrap();
    for name in ["dev", "live"] {
        std::fs::write(folder.join(format!("{name}.toml")), "schema-version = 1\n").unwrap();
    }
    project
}

fn verbs() -> Vec<String> {
    let help = ran(Path::new("/"), &["--help"]).stdout;
    let (_, below) = help.split_once("Commands:\n").unwrap();
    let lines = below.lines().take_while(|line| !line.is_empty());
    lines
        .filter_map(|line| {
            line.strip_prefix("  ")?
                .split(' ')
                .find(|word| !word.is_empty())
                .map(str::to_owned)
        })
        .collect()
}

#[test]
fn help_and_version_are_results_and_end_with_0() {
    let help = ran(Path::new("/"), &["--help"]);
    assert_eq!((help.code, help.stderr.as_str()), (0, ""));
    assert!(help.stdout.contains("strongroom backup --env dev"), "{}", help.stdout);
    assert!(!help.stdout.contains("generate"), "a hidden verb is shown");
    let version = ran(Path::new("/"), &["--version"]);
    assert_eq!(version.stdout, format!("strongroom {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn every_verb_explains_itself_with_examples() {
    let verbs = verbs();
    assert!(verbs.len() >= 10, "{verbs:?}");
    for verb in verbs {
        let help = ran(Path::new("/"), &[&verb, "--help"]);
        assert_eq!(help.code, 0, "{verb}");
        assert!(
            help.stdout.contains(&format!("\n  strongroom {verb} ")) || verb == "man",
            "{verb}: {}",
            help.stdout
        );
        assert!(
            help.stdout.lines().all(|line| line.chars().count() <= 100),
            "{verb}: {}",
            help.stdout
        );
    }
}

#[test]
fn a_wrong_command_line_ends_with_2_and_says_what_is_wrong() {
    for (words, told) in [
        (&["bakcup"][..], "a similar subcommand exists: 'backup'"),
        (&["backup", "--evn", "dev"], "unexpected argument '--evn'"),
        (
            &["backup", "--env", "dev", "--exclude", "*.log"],
            "unexpected argument '--exclude'",
        ),
        (&["backup", "--env", "Dev"], "is not a name"),
        (&["backup", "--env", "dev", "--wait", "10m"], "write `min`"),
        (&["restore", "--env", "dev"], "<BACKUP>"),
        (
            &["restore", "x", "--no-owner", "--numeric-owner"],
            "cannot be used with",
        ),
        (&[], "Usage:"),
    ] {
        let run = ran(Path::new("/"), words);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{words:?}");
        assert!(run.stderr.contains(told), "{words:?}: {}", run.stderr);
    }
}

#[test]
fn a_wrong_command_line_is_one_json_document_when_json_was_asked_for() {
    let run = ran(Path::new("/"), &["bakcup", "--json"]);
    assert_eq!((run.code, run.stderr.as_str()), (2, ""));
    let document: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(document["version"], 1);
    assert_eq!(document["exit"], 2);
    assert_eq!(document["diagnostics"][0]["code"], "usage");
}

#[test]
fn without_an_environment_nothing_starts_and_the_choices_are_named() {
    let project = project();
    for words in [
        &["backup"][..],
        &["restore", "latest"],
        &["plan", "backup"],
        &["list"],
        &["journal", "verify"],
    ] {
        let run = ran(project.path(), words);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{words:?}");
        assert_eq!(
            run.stderr,
            "error[usage]: no environment was named\n  why:   there is no default environment\n  \
             state: nothing was started\n  help:  add `--env` and one of: dev, live\n",
            "{words:?}"
        );
    }
    let entries = std::fs::read_dir(project.path()).unwrap().count();
    assert_eq!(entries, 1, "something was made");
}

#[test]
fn the_project_is_found_from_a_folder_below_it() {
    let project = project();
    let below = project.path().join("a/b");
    std::fs::create_dir_all(&below).unwrap();
    assert!(ran(&below, &["list"]).stderr.contains("dev, live"));
    assert!(
        ran(Path::new("/"), &["list", "--project", project.path().to_str().unwrap()])
            .stderr
            .contains("dev, live")
    );
    let nowhere = ran(&below, &["list", "--project", "nowhere"]);
    assert_eq!(nowhere.code, 2);
    assert!(
        nowhere.stderr.contains("`nowhere` is not a folder"),
        "{}",
        nowhere.stderr
    );
}

#[test]
fn a_result_goes_to_the_file_it_was_asked_into() {
    let folder = tempfile::tempdir().unwrap();
    let direct = ran(folder.path(), &["completions", "bash"]);
    assert!(direct.stdout.contains("strongroom"));
    let file = folder.path().join("strongroom.bash");
    std::fs::write(&file, "old").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("strongroom.bash", folder.path().join("link")).unwrap();

    let run = ran(folder.path(), &["completions", "bash", "-o", "link"]);

    assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (0, "", ""));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), direct.stdout);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    assert!(
        std::fs::symlink_metadata(folder.path().join("link"))
            .unwrap()
            .is_symlink()
    );
}

#[test]
fn a_device_named_as_the_result_file_stays_a_device() {
    let run = ran(Path::new("/"), &["completions", "bash", "-o", "/dev/null"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(std::fs::metadata("/dev/null").unwrap().file_type().is_char_device());
}

#[test]
fn a_file_that_cannot_be_written_is_told_before_anything_is_done() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["missing/report.json", "."] {
        let run = ran(folder.path(), &["man", "--out", "pages", "-o", file]);
        assert_eq!(run.code, 2, "{file}: {}", run.stderr);
        assert!(!folder.path().join("pages").exists(), "{file}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let mut child = program(Path::new("/"))
        .args(["completions", "zsh"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_result_that_cannot_be_written_is_a_failure() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let run: Ran = program(Path::new("/"))
        .args(["completions", "zsh"])
        .stdout(full)
        .output()
        .unwrap()
        .into();
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("could not be written"), "{}", run.stderr);
}

#[test]
fn man_pages_are_written_for_every_verb() {
    let folder = tempfile::tempdir().unwrap();
    assert!(ran(folder.path(), &["man"]).stdout.contains(".TH strongroom 1"));
    let run = ran(folder.path(), &["man", "--out", "pages"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    for verb in verbs() {
        assert!(
            folder.path().join(format!("pages/strongroom-{verb}.1")).is_file(),
            "{verb}"
        );
    }
}

#[test]
fn colour_is_used_only_when_it_is_asked_for() {
    let colour = |words: &[&str]| ran(Path::new("/"), words).stderr.contains('\u{1b}');
    assert!(!colour(&["list"]));
    assert!(colour(&["list", "--color", "always"]));
    assert!(!colour(&["list", "--color", "never"]));
}

#[test]
fn a_wrong_log_filter_is_told() {
    let run: Ran = program(Path::new("/"))
        .args(["man"])
        .env("STRONGROOM_LOG", "strongroom=loud")
        .output()
        .unwrap()
        .into();
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("STRONGROOM_LOG"), "{}", run.stderr);
}

#[test]
fn json_holds_problems_and_nothing_else_is_written() {
    let project = project();
    let run = ran(project.path(), &["list", "--json"]);
    assert_eq!((run.code, run.stderr.as_str()), (2, ""));
    assert_eq!(run.stdout.lines().count(), 1);
    let document: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(document["command"], "list");
    assert_eq!(document["diagnostics"][0]["help"], "add `--env` and one of: dev, live");
}

/// Waits until the program has caught its signals, then sends it one.
fn signal(child: &std::process::Child, name: &str) {
    let status = format!("/proc/{}/status", child.id());
    let caught = || -> Option<u64> {
        let status = std::fs::read_to_string(&status).ok()?;
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
        u64::from_str_radix(mask.trim(), 16).ok()
    };
    while caught().expect("the program is gone") & (1 << 14) == 0 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let sent = Command::new("kill")
        .args(["-s", name, &child.id().to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
}

#[test]
fn a_second_signal_ends_the_program_at_once_with_the_code_of_the_first() {
    for (first, code) in [("TERM", 143), ("INT", 130), ("HUP", 143)] {
        let folder = tempfile::tempdir().unwrap();
        let made = Command::new("mkfifo").arg(folder.path().join("pipe")).status().unwrap();
        assert!(made.success());
        // Nobody reads the pipe, so the program waits for ever to write its result.
        let mut child = program(folder.path())
            .args(["completions", "bash", "-o", "pipe"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = std::io::BufReader::new(child.stderr.take().unwrap());
        signal(&child, first);
        let mut told = String::new();
        while !told.contains("again to stop at once") {
            assert_ne!(stderr.read_line(&mut told).unwrap(), 0, "{told}");
        }
        signal(&child, "TERM");
        stderr.read_to_string(&mut told).unwrap();
        assert!(told.ends_with("stopped at once\n"), "{told}");
        assert_eq!(child.wait().unwrap().code(), Some(code), "{first}");
    }
}

#[test]
fn a_signal_that_was_ignored_at_the_start_stays_ignored() {
    let folder = tempfile::tempdir().unwrap();
    assert!(
        Command::new("mkfifo")
            .arg(folder.path().join("pipe"))
            .status()
            .unwrap()
            .success()
    );
    let mut child = Command::new("sh")
        .args(["-c", "trap '' HUP; exec \"$0\" completions bash -o pipe"])
        .arg(env!("CARGO_BIN_EXE_strongroom"))
        .current_dir(folder.path())
        .spawn()
        .unwrap();
    signal(&child, "HUP");
    let result = std::fs::read_to_string(folder.path().join("pipe")).unwrap();
    assert!(result.contains("strongroom"));
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// A project that backs up one file into a folder of its own.
fn working() -> tempfile::TempDir {
    let project = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = project.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("data/note", "kept\n");
    write(
        "pipelines/environments/dev.toml",
        "schema-version = 1\n[target.local]\nurl = \"file:kept\"\n",
    );
    write(
        "pipelines/backup.toml",
        r#"schema-version = 1
name = "backup"
[[step]]
id = "capture"
type = "snapshot"
[[step.source]]
name = "notes"
type = "files"
path = "data"
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
"#,
    );
    project
}

#[test]
fn a_backup_tells_each_step_on_the_standard_error_and_its_result_on_the_standard_output() {
    let project = working();
    let run = ran(project.path(), &["backup", "--env", "dev"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    for step in ["capture", "pack", "digest", "store"] {
        let told = |line: &&str| line.starts_with(&format!("{step}: "));
        assert_eq!(run.stderr.lines().filter(told).count(), 2, "{step}: {}", run.stderr);
    }
    assert!(run.stdout.starts_with("backup 2"), "{}", run.stdout);
}

#[test]
fn a_quiet_backup_that_went_well_says_nothing_and_a_failed_one_says_why() {
    let project = working();
    let run = ran(project.path(), &["backup", "--env", "dev", "-q"]);
    assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (0, "", ""));
    std::fs::remove_dir_all(project.path().join("data")).unwrap();
    let failed = ran(project.path(), &["backup", "--env", "dev", "-q"]);
    assert_eq!((failed.code, failed.stdout.as_str()), (5, ""));
    assert!(
        failed.stderr.starts_with("error[source-missing]: "),
        "{}",
        failed.stderr
    );
}

#[test]
fn a_backup_in_json_is_one_document_and_nothing_else() {
    let project = working();
    let run = ran(
        project.path(),
        &["backup", "--env", "dev", "--json", "-o", "report.json"],
    );
    assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (0, "", ""));
    let text = std::fs::read_to_string(project.path().join("report.json")).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&document["command"], &document["exit"]), (&"backup".into(), &0.into()));
}

#[test]
fn schemas_and_errors_are_explained_without_a_project() {
    let folder = tempfile::tempdir().unwrap();
    for of in ["pipeline", "environment"] {
        let run = ran(folder.path(), &["schema", of]);
        let schema: Value = serde_json::from_str(&run.stdout).unwrap();
        assert_eq!((run.code, &schema["type"]), (0, &"object".into()), "{of}");
    }
    let explained = ran(folder.path(), &["explain-error", "flow-order"]);
    assert_eq!(explained.code, 0);
    assert!(explained.stdout.contains("flow-order"), "{}", explained.stdout);
    let unknown = ran(folder.path(), &["explain-error", "flow-odrer"]);
    assert_eq!(unknown.code, 2);
    assert!(
        unknown.stderr.contains("did you mean `flow-order`?"),
        "{}",
        unknown.stderr
    );
}

#[test]
fn what_was_shipped_is_valid() {
    let run = ran(Path::new(env!("CARGO_MANIFEST_DIR")), &["validate"]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{}", run.stdout);
}

#[test]
fn a_signal_ends_a_run_that_waits_for_another() {
    let project = working();
    assert_eq!(ran(project.path(), &["backup", "--env", "dev"]).code, 0);
    let lock = project.path().join(".strongroom/dev/backup.lock");
    let lock = std::fs::OpenOptions::new().read(true).write(true).open(lock).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();

    let held = ran(project.path(), &["backup", "--env", "dev"]);
    assert_eq!(held.code, 11, "{}", held.stderr);

    for (name, code) in [("TERM", 143), ("INT", 130)] {
        let mut child = program(project.path())
            .args(["backup", "--env", "dev", "--wait", "10min"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        signal(&child, name);
        let mut told = String::new();
        child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code), "{told}");
        assert!(told.contains("state: "), "{told}");
    }
}

#[test]
fn an_option_for_restores_is_refused_by_a_pipeline_that_restores_nothing() {
    let project = working();
    for option in [&["--exclude", "note"][..], &["--to", "there"], &["--no-owner"]] {
        let words = [&["run", "backup", "--env", "dev"], option].concat();
        let run = ran(project.path(), &words);
        assert_eq!(run.code, 2, "{option:?}: {}", run.stderr);
        assert!(run.stderr.contains("is for restores"), "{option:?}: {}", run.stderr);
    }
    assert!(!project.path().join("kept").exists(), "a backup was made");
}
