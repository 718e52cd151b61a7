//! The manifest language: wrong manifests are refused at the right place with a way out, right ones compile.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use strongroom::diagnostic::Diagnostic;
use strongroom::pipeline::{Plan, Purpose, Request, RunValues, compile};

/// The repository, whose shipped manifests are under test too.
fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn request(project: &Path, pipeline: &str, environment: &str) -> Request {
    Request {
        project: project.to_owned(),
        pipeline: pipeline.to_owned(),
        environment: environment.parse().unwrap(),
        sets: Vec::new(),
        args: BTreeMap::new(),
        purpose: Purpose::Validate,
        run: RunValues {
            id: "0193-run".into(),
            timestamp: "2026-11-22T00:00:00Z".into(),
            host: "host-1".into(),
        },
    }
}

/// A diagnostic as text, for the message of a failed assertion.
fn told(result: &Result<Plan, Vec<Diagnostic>>) -> String {
    match result {
        Ok(_) => "compiled".into(),
        Err(diagnostics) => diagnostics.iter().map(one_line).collect::<Vec<_>>().join("\n"),
    }
}

fn one_line(diagnostic: &Diagnostic) -> String {
    let place = diagnostic.places.first();
    let excerpt = place.and_then(|place| place.excerpt.as_ref());
    format!(
        "{}[{}] {}\n  why: {:?}\n  help: {:?}\n  | {}",
        place
            .map(|place| format!("{}:{}:{} ", place.file, place.line, place.column))
            .unwrap_or_default(),
        diagnostic.code.as_str(),
        diagnostic.what,
        diagnostic.why,
        diagnostic.help,
        excerpt.map(|excerpt| excerpt.text.as_str()).unwrap_or_default(),
    )
}

#[test]
fn every_shipped_pipeline_compiles_in_every_shipped_environment() {
    for pipeline in ["backup", "restore"] {
        for environment in ["dev", "staging", "live"] {
            let result = compile(&request(&repository(), pipeline, environment));
            assert!(result.is_ok(), "{pipeline} in {environment}:\n{}", told(&result));
        }
    }
}
