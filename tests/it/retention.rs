//! `retention` on times: vectors made by hand, the shape of the answer, and what is refused.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use jiff::{Timestamp, Zoned};
use serde_json::{Value, json};
use strongroom::archive::policy::{self, Policy};

use crate::pages::project;
use crate::transcript::program;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Vectors {
    vector: Vec<Vector>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    name: String,
    why: String,
    policy: String,
    at: String,
    #[serde(default)]
    guards: bool,
    keep: Vec<String>,
    remove: Vec<String>,
}

fn vectors() -> Vec<Vector> {
    let text = std::fs::read_to_string(project().join("tests/vectors/retention.toml")).unwrap();
    toml::from_str::<Vectors>(&text).unwrap().vector
}

fn moment(text: &str) -> Zoned {
    policy::moment(text).unwrap_or_else(|| panic!("{text}"))
}

/// The answer of the library, as the vector has it.
fn decided(vector: &Vector, times: &[String]) -> (Vec<String>, Vec<String>) {
    let moments: Vec<Zoned> = times.iter().map(|text| moment(text)).collect();
    let policy: Policy = vector.policy.parse().unwrap();
    let now: Timestamp = vector.at.parse().unwrap();
    let decisions = if vector.guards {
        policy::guarded(&moments, now, &policy)
    } else {
        policy::plain(&moments, now, &policy)
    };
    let of = |keep: bool| {
        let chosen = times
            .iter()
            .zip(&decisions)
            .filter(|(_, decision)| decision.keep == keep);
        let mut chosen: Vec<String> = chosen.map(|(text, _)| text.clone()).collect();
        chosen.sort();
        chosen
    };
    (of(true), of(false))
}

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort();
    texts
}

#[test]
fn every_vector_is_decided_as_it_says_in_whatever_order_its_times_come() {
    let vectors = vectors();
    assert!(vectors.len() >= 40, "{}", vectors.len());
    let mut wrong = Vec::new();
    for vector in &vectors {
        let expected = (sorted(vector.keep.clone()), sorted(vector.remove.clone()));
        let mut times: Vec<String> = vector.keep.iter().chain(&vector.remove).cloned().collect();
        for _ in 0..times.len() {
            times.rotate_left(1);
            let found = decided(vector, &times);
            if found != expected {
                wrong.push(format!("{} ({}): {found:#?}", vector.name, vector.why));
                break;
            }
        }
        times.reverse();
        assert_eq!(
            decided(vector, &times),
            decided(vector, &sorted(times.clone())),
            "{}",
            vector.name
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let names: std::collections::BTreeSet<&str> = vectors.iter().map(|vector| vector.name.as_str()).collect();
    assert_eq!(names.len(), vectors.len(), "a name stands twice");
}

fn retention(arguments: &[&str], times: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(program());
    command.arg("retention").args(arguments).current_dir(folder.path());
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(times.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn answer(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn the_verb_answers_every_vector_with_the_times_as_given_and_a_reason_for_each() {
    for vector in vectors() {
        let times: Vec<String> = vector.remove.iter().chain(&vector.keep).cloned().collect();
        let mut arguments = vec!["--policy", &vector.policy, "--times", "-", "--at", &vector.at, "--json"];
        if vector.guards {
            arguments.push("--guards");
        }
        let output = retention(&arguments, &(times.join("\n") + "\n"));
        assert_eq!(output.status.code(), Some(0), "{}", vector.name);
        let answer = answer(&output);
        let list = |key: &str| -> Vec<String> { serde_json::from_value(answer[key].clone()).unwrap() };
        assert_eq!(sorted(list("keep")), sorted(vector.keep.clone()), "{}", vector.name);
        assert_eq!(sorted(list("remove")), sorted(vector.remove.clone()), "{}", vector.name);
        for time in &times {
            let reasons = answer["reasons"][time].as_array().unwrap();
            assert!(!reasons.is_empty(), "{}: {time}", vector.name);
        }
    }
}

#[test]
fn the_answer_keeps_the_order_and_the_text_of_its_times() {
    let times =
        "  2026-11-01T10:00:00Z\n\n2026-11-03T10:00:00.500+00:00\r\n2026-11-02T10:00:00-00:30\n2026-11-01T10:00:00Z\n";
    let output = retention(
        &[
            "--policy",
            "keep-last=1,keep-daily=2",
            "--times",
            "-",
            "--at",
            "2027-01-01T00:00:00Z",
            "--json",
        ],
        times,
    );
    let answer = answer(&output);
    assert_eq!(
        answer["keep"],
        json!(["2026-11-03T10:00:00.500+00:00", "2026-11-02T10:00:00-00:30"])
    );
    assert_eq!(
        answer["remove"],
        json!(["2026-11-01T10:00:00Z", "2026-11-01T10:00:00Z"])
    );
    assert_eq!(
        answer["reasons"],
        json!({
            "2026-11-01T10:00:00Z": ["no rule keeps it"],
            "2026-11-02T10:00:00-00:30": ["daily"],
            "2026-11-03T10:00:00.500+00:00": ["last", "daily"],
        })
    );
    assert_eq!(answer["command"], "retention");
}

#[test]
fn an_answer_for_no_times_is_empty() {
    let output = retention(&["--policy", "keep-last=1", "--times", "-", "--json"], "");
    assert_eq!(output.status.code(), Some(0));
    let answer = answer(&output);
    assert_eq!((&answer["keep"], &answer["remove"]), (&json!([]), &json!([])));
}

#[test]
fn what_is_no_policy_or_no_time_is_refused_with_the_word_or_the_line() {
    let many = "2026-11-01T10:00:00Z\nyesterday\n2026-11-01\n";
    for (arguments, times, parts) in [
        (
            &["--policy", "keep-last=1", "--times", "-"][..],
            many,
            &["line 2 is no time: `yesterday`", "line 3"][..],
        ),
        (
            &["--policy", "keep-last", "--times", "-"],
            "",
            &["`keep-last` is not a word"],
        ),
        (
            &["--policy", "keep-dayly=1", "--times", "-"],
            "",
            &["`keep-dayly` is not a word of retention"],
        ),
        (
            &["--policy", "keep-daily=0", "--times", "-"],
            "",
            &["no rule of it keeps a backup"],
        ),
        (
            &["--policy", "keep-daily=1", "--times", "none"],
            "",
            &["`none` cannot be read"],
        ),
        (
            &["--policy", "keep-daily=1", "--times", "-", "-e", "dev"],
            "",
            &["leave `--times` or `--env` out"],
        ),
        (&["--times", "-"], "", &["--policy"]),
        (&["--policy", "keep-daily=1"], "", &["no environment was named"]),
    ] {
        let output = retention(arguments, times);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {told}");
        for part in parts {
            assert!(told.contains(part), "{part}: {told}");
        }
    }
}
