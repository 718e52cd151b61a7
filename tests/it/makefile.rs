//! The Makefile demands what must not be guessed, and prints what it runs.

use std::process::{Command, Output};

use crate::pages::project;
use crate::transcript::Scratch;

fn make(arguments: &[&str]) -> Output {
    let mut command = Command::new("make");
    // An ENV of the surrounding shell must not count, so every test has one.
    command
        .args(arguments)
        .current_dir(project())
        .env_remove("MAKEFLAGS")
        .env_remove("MAKELEVEL")
        .env_remove("STRONGROOM")
        .env_remove("CARGO_TARGET_DIR")
        .env("ENV", "live")
        .env("ARGS", "--confirm live");
    command.output().expect("make: apt-get install -y make")
}

fn printed(arguments: &[&str]) -> String {
    let output = make(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn verbs_on_data_demand_the_environment_on_the_command_line() {
    for verb in ["backup", "restore", "drill", "plan", "list", "show", "verify"] {
        let output = make(&["-n", verb, "BACKUP=latest"]);
        assert_eq!(output.status.code(), Some(2), "{verb}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(&format!("make {verb} ENV=dev")), "{text}");
        assert!(text.contains("dev live staging"), "{text}");
        assert!(output.stdout.is_empty(), "{verb} does something first");
    }
}

#[test]
fn an_empty_environment_is_none() {
    assert_eq!(make(&["-n", "backup", "ENV="]).status.code(), Some(2));
}

#[test]
fn a_restore_demands_the_backup() {
    let output = make(&["-n", "restore", "ENV=dev"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("BACKUP=latest"));
}

#[test]
fn a_backup_of_dev_builds_makes_the_data_and_backs_it_up() {
    let text = printed(&["-n", "backup", "ENV=dev"]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines,
        [
            "cargo build --release --locked --bin strongroom --example service",
            "target/release/examples/service init --env dev",
            "target/release/strongroom backup --env 'dev'",
        ]
    );
}

#[test]
fn a_backup_of_another_environment_makes_no_data() {
    let text = printed(&["-n", "backup", "ENV=live"]);
    assert!(!text.contains("service init"), "{text}");
    assert!(
        text.ends_with("target/release/strongroom backup --env 'live'\n"),
        "{text}"
    );
}

#[test]
fn a_named_program_is_taken_and_not_built() {
    let text = printed(&["-n", "list", "ENV=staging", "STRONGROOM=/opt/strongroom"]);
    assert_eq!(text, "/opt/strongroom list --env 'staging'\n");
}

#[test]
fn arguments_are_passed_on_from_the_command_line_alone() {
    let text = printed(&[
        "-n",
        "restore",
        "ENV=dev",
        "BACKUP=latest~1",
        "ARGS=--to look",
        "STRONGROOM=s",
    ]);
    assert!(
        text.starts_with("s restore 'latest~1' --env 'dev' --to look "),
        "{text}"
    );
    let text = printed(&["-n", "backup", "ENV=staging", "STRONGROOM=s"]);
    assert!(!text.contains("--confirm"), "{text}");
}

#[test]
fn a_drill_takes_the_newest_backup_or_the_one_that_is_named() {
    let text = printed(&["-n", "drill", "ENV=staging", "STRONGROOM=s"]);
    assert_eq!(text, "s drill --env 'staging'\n");
    let text = printed(&["-n", "drill", "ENV=staging", "BACKUP=latest~1", "STRONGROOM=s"]);
    assert_eq!(text, "s drill 'latest~1' --env 'staging'\n");
}

#[test]
fn a_name_with_a_quote_stays_one_argument() {
    let text = printed(&["-n", "show", "ENV=dev", "BACKUP=x'; id; '", "STRONGROOM=s"]);
    assert_eq!(text, "s show 'x'\\''; id; '\\''' --env 'dev'\n");
}

#[test]
fn the_list_of_targets_names_each_once() {
    let text = printed(&["help"]);
    for verb in "backup restore drill validate plan list show verify test check generate bench torture help".split(' ')
    {
        let head = format!("  make {verb} ");
        assert_eq!(text.lines().filter(|line| line.starts_with(&head)).count(), 1, "{verb}");
    }
}

#[test]
fn the_scripts_demand_the_environment_and_the_backup() {
    for call in [
        vec!["scripts/backup.sh"],
        vec!["scripts/restore.sh"],
        vec!["scripts/restore.sh", "dev"],
    ] {
        let output = Command::new(project().join(call[0])).args(&call[1..]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{call:?}");
        assert!(
            String::from_utf8(output.stderr).unwrap().starts_with("usage: "),
            "{call:?}"
        );
    }
}

#[test]
fn the_scripts_pass_the_exit_code_and_the_arguments_on() {
    let call = |program: &str| {
        let mut command = Command::new(project().join("scripts/restore.sh"));
        command
            .args(["staging", "latest", "--to", "a b"])
            .env("STRONGROOM", program);
        command.output().unwrap()
    };
    assert_eq!(call("false").status.code(), Some(1));
    let text = String::from_utf8(call("echo").stdout).unwrap();
    let project = project().display();
    assert_eq!(
        text,
        format!("restore latest --env staging --project {project} --to a b\n")
    );
}

#[test]
fn the_scripts_end_with_the_exit_code_that_make_turns_into_2() {
    let scratch = Scratch::new();
    let expect = |exit: i32, script: &str| {
        let output = scratch.bash(script).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(exit), "$ {script}\n{told}");
    };
    // Data is made at first use, then backed up.
    expect(0, "scripts/backup.sh dev");
    // Redacted files are present, and a usable result is no failure of make.
    expect(3, "scripts/restore.sh dev latest");
    expect(0, "make restore ENV=dev BACKUP=latest");
    expect(10, "scripts/restore.sh dev 1999");
    expect(2, "make restore ENV=dev BACKUP=1999");
    // From anywhere. What the restores laid beside present files is left out, and told.
    expect(3, "cd / && \"$OLDPWD\"/scripts/backup.sh dev");
}
