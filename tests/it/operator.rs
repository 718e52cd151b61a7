//! What an operator is told before it is too late: of a backup that lacks something, of a state that cannot be had, of a key that
//! nobody trusts, and of what would be refused in the end.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;

use serde_json::Value;

use crate::namespace::Namespace;
use crate::projects::{Project, Ran};
use crate::sealed::problems;
use crate::targets::local::leftover_prefix;

const DATA: &str = "[[step.source]]\nname = \"data\"\ntype = \"files\"\npath = \"data\"";
const EVENTS: &str = "[[step.source]]\nname = \"events\"\ntype = \"append-log\"\npath = \"events\"";

fn project() -> Project {
    let project = Project::new(DATA);
    project.write("data/file", "content");
    project
}

fn first<'r>(ran: &'r Ran, key: &str) -> &'r str {
    ran.json["diagnostics"][0][key].as_str().unwrap_or_default()
}

/// Each of these ends so, and its first problem is this one.
fn all_refused(project: &Project, lines: &[&[&str]], code: i32, problem: &str) {
    for line in lines {
        let ran = project.run(&[*line, &["--env", "dev"]].concat()).ended(code);
        assert_eq!(ran.problem().0, problem, "{line:?}: {:#}", ran.json);
    }
}

#[test]
fn a_backup_that_lacks_something_is_marked_in_lists_and_told_before_it_is_restored() {
    let project = project();
    let whole = project.backup(&[]).ended(0).id();
    let socket = UnixListener::bind(project.path("data/socket")).unwrap();
    let lacking = project.backup(&[]).ended(3).id();
    let listed = project.run(&["list", "--env", "dev"]).ended(0);
    let listed: Vec<(&Value, &Value)> = listed.json["backups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|backup| (&backup["complete"], &backup["warnings"]))
        .collect();
    assert_eq!(listed, [(&true.into(), &0.into()), (&false.into(), &1.into())]);
    project.run(&["show", "latest", "--env", "dev"]).ended(0);
    for words in [
        &["plan", "restore", "latest"][..],
        &["drill"],
        &["restore", "latest", "--to", "out"],
        &["restore", "latest"],
    ] {
        let ran = project.run(&[words, &["--env", "dev"]].concat()).ended(3);
        assert_eq!(problems(&ran)[0], "backup-incomplete", "{words:?}: {:#}", ran.json);
        assert!(
            first(&ran, "what").contains(&format!("`{lacking}` was made with 1 warning")),
            "{:#}",
            ran.json
        );
        assert!(first(&ran, "why").contains("1 of `data`"), "{:#}", ran.json);
        assert!(first(&ran, "help").contains(&whole), "{:#}", ran.json);
    }
    project.restore(&whole, &["--to", "whole"]).ended(0);
    drop(socket);
}

#[test]
fn nothing_is_replaced_without_a_state_folder_and_a_folder_beside_it_can_be_had() {
    let project = project();
    project.backup(&[]).ended(0);
    project.write("data/file", "present");
    // Whoever could write there could have changed it.
    let state = project.path(".strongroom/dev");
    let mode = |mode| fs::set_permissions(&state, fs::Permissions::from_mode(mode)).unwrap();
    for settings in ["", "protected = true"] {
        project.environment("dev", settings);
        mode(0o777);
        let refused = project.restore("latest", &["--confirm", "dev"]).ended(1);
        assert_eq!(refused.problem().0, "state-failed");
        assert_eq!(first(&refused, "state"), "nothing was started");
        let help = first(&refused, "help");
        assert!(help.contains("chmod 0700") && help.contains("--to DIR"), "{help}");
        let back = project.run(&["rollback", "--env", "dev", "--confirm", "dev"]).ended(1);
        assert_eq!(back.problem().0, "state-failed");
        assert_eq!(fs::read_to_string(project.path("data/file")).unwrap(), "present");
        let out = format!("out{}", settings.len());
        let beside = project.restore("latest", &["--to", &out, "--confirm", "dev"]).ended(3);
        assert_eq!(problems(&beside), ["state-failed"]);
        assert_eq!(
            fs::read_to_string(project.path(&out).join("data/file")).unwrap(),
            "content"
        );
        mode(0o700);
    }
    project.restore("latest", &["--confirm", "dev"]).ended(0);
}

#[test]
fn a_host_whose_key_is_none_of_the_signers_says_so_at_each_backup() {
    let project = project();
    project.backup(&[]).ended(0);
    let signer = |project: &Project| {
        let shown = project.run(&["keys", "show", "--env", "dev"]).ended(0);
        shown.json["signer"].as_str().unwrap().to_owned()
    };
    let name = |signers: &[&str]| {
        let named = signers
            .iter()
            .enumerate()
            .map(|(number, signer)| format!("h{number} = \"{signer}\"\n"));
        project.environment("dev", &format!("[signers]\n{}", named.collect::<String>()));
    };
    let before = signer(&project);
    name(&[&before]);
    project.backup(&[]).ended(0);
    fs::remove_dir_all(project.path(".strongroom")).unwrap();
    let lost = project.backup(&[]).ended(3);
    assert_eq!(problems(&lost), ["signer-unknown"]);
    let now = signer(&project);
    assert!(
        first(&lost, "why").contains("was the state folder lost?"),
        "{:#}",
        lost.json
    );
    assert!(first(&lost, "help").contains(&now), "{:#}", lost.json);
    // It is what it says.
    assert_eq!(
        project.restore(&lost.id(), &["--to", "never"]).ended(4).problem().0,
        "unsigned"
    );
    let again = project.backup(&[]).ended(3);
    assert_eq!(problems(&again), ["signer-unknown"]);
    name(&[&before, &now]);
    let last = project.backup(&[]).ended(0).id();
    project.restore(&last, &["--to", "out"]).ended(0);
}

#[test]
fn what_would_be_refused_in_the_end_is_refused_before_anything_is_read() {
    let project = project();
    project.backup(&[]).ended(0);
    // Whoever asked a target first would say that it is gone.
    fs::rename(project.path("backups"), project.path("unmounted")).unwrap();
    project.write("full/file", "x");
    all_refused(
        &project,
        &[
            &["restore", "latest", "--to", "full"],
            &["restore", "latest", "--to", "data/file"],
            &["plan", "restore", "latest", "--to", "full"],
        ],
        5,
        "destination-invalid",
    );
    project.environment("dev", "protected = true");
    all_refused(
        &project,
        &[
            &["restore", "latest"],
            &["restore", "latest", "--confirm", "live"],
            &["restore", "latest", "--to", "out"],
        ],
        5,
        "unconfirmed",
    );
    all_refused(
        &project,
        &[&["restore", "latest", "--confirm", "dev"]],
        5,
        "target-vanished",
    );
}

#[test]
fn a_log_that_may_not_go_back_is_told_before_a_service_is_stopped() {
    let project = Project::new(EVENTS);
    let stopped = project.path("stopped");
    let environment = |settings: &str| {
        let stop = format!("[pipeline.restore.step.stop]\nenabled = true\nargv = [\"/usr/bin/touch\", {stopped:?}]");
        project.environment("dev", &format!("{settings}\n{stop}"));
    };
    environment("protected = true");
    project.write("events/1", "one\ntwo\n");
    project.backup(&[]).ended(0);
    project.write("events/1", "one\ntwo\nthree\n");
    let restore = |more: &[&str]| project.restore("latest", &[more, &["--confirm", "dev"]].concat());
    let refused = restore(&[]).ended(5);
    assert_eq!(refused.problem().0, "log-rewind");
    assert!(
        refused.problem().1.contains("would lose 1 record that backup"),
        "{}",
        refused.problem().1
    );
    assert_eq!(
        first(&refused, "step"),
        "replace",
        "it is not the check of the backup that failed"
    );
    assert!(!stopped.exists());
    // Where nothing is protected one that is a beginning may go back, and no other.
    environment("");
    project.write("events/1", "one\nTWO\nthree\n");
    let refused = restore(&[]).ended(5);
    assert_eq!(refused.problem().0, "log-rewind");
    assert!(
        refused.problem().1.contains("goes on from something else"),
        "{}",
        refused.problem().1
    );
    assert!(!stopped.exists());
    restore(&["--rewind-log", "events"]).ended(0);
    assert!(stopped.exists());
    assert_eq!(fs::read_to_string(project.path("events/1")).unwrap(), "one\ntwo\n");
    fs::remove_file(&stopped).unwrap();
    project.write("events/1", "one\ntwo\nthree\n");
    restore(&[]).ended(0);
    assert!(stopped.exists());
}

#[test]
fn a_folder_without_room_is_told_before_anything_is_unpacked() {
    let project = project();
    let noise: Vec<u8> = (0..300_000_u64)
        .flat_map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
        .collect();
    fs::write(project.path("data/large"), noise).unwrap();
    project.backup(&[]).ended(0);
    let small = project.path("small");
    let namespace = Namespace::with_sized_mounts(&[(&small, "1m")]);
    let restore = |more: &[&str]| {
        let line = [&["restore", "latest", "--env", "dev", "--to", "small/out"], more].concat();
        project.run_in(&namespace, &line)
    };
    let refused = restore(&[]).ended(1);
    assert_eq!(refused.problem().0, "disk-full");
    assert!(
        refused.problem().1.contains("there is no room in"),
        "{}",
        refused.problem().1
    );
    assert!(!namespace.outside(&small.join("out")).exists());
    // What of it is wanted has room.
    restore(&["data/file"]).ended(0);
}

#[test]
fn what_a_run_that_died_left_in_a_folder_goes_with_the_next_one() {
    let project = project();
    project.backup(&[]).ended(0);
    let left = |name: &str| {
        let path = project.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "half").unwrap();
        path
    };
    let own = left(&format!("backups/packs/ab/{}0000000000000000", leftover_prefix()));
    let other = left("backups/packs/ab/.tmp-00000000-0000000000000000");
    project.backup(&[]).ended(0);
    assert!(own.exists(), "the run before it ended well");
    fs::write(
        project.path(".strongroom/dev/backup.lock"),
        "{\"pid\":1,\"run\":null}\n",
    )
    .unwrap();
    let cleared = project.backup(&[]).ended(0);
    assert_eq!(cleared.json["cleared-uploads"], 1, "{:#}", cleared.json);
    assert!(!own.exists() && other.exists());
}
