//! From files on disk to a plan, and from a plan to an outcome.
//!
//! Three types, in this order: `Manifest` (trees of TOML values with their places, nothing decided), `Resolved` (layers
//! merged, templates filled, schema satisfied, every step decoded) and [`Plan`] (a chain of steps that fit). Only
//! [`compile`] makes a [`Plan`]. Everything up to it starts no process, opens no socket and reads no secret and no source.

pub mod environment;
pub mod files;
pub mod plan;
pub mod run;
pub mod schema;

mod apart;
mod arguments;
mod explain;
mod flow;
mod layers;
mod locations;
mod maintenance;
mod manifest;
mod mask;
mod overlay;
mod parse;
mod problem;
mod references;
mod resolved;
mod schema_overlay;
mod secret_fields;
mod sets;
mod source_map;
mod spelling;
mod template;
mod tree;
mod validate;
mod violation;
mod walk;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use apart::{Roots, overlapping_roots};
pub use environment::Environment;
pub use files::{FilesError, Listed, list_environments, list_pipelines};
pub use plan::{Explained, Layer, Plan, PlannedStep, Provenance, Replaced};
pub use schema::{environment_schema, generated, pipeline_schema};

use self::problem::Problems;
use crate::diagnostic::Diagnostic;
use crate::id::EnvName;

/// What is to be compiled.
#[derive(Clone, Debug)]
pub struct Request {
    /// The folder above `pipelines/`.
    pub project: PathBuf,
    /// A short name (`backup` is `pipelines/backup.toml`) or a path to a manifest.
    pub pipeline: String,
    /// The environment: `pipelines/environments/<name>.toml`.
    pub environment: EnvName,
    /// Values from the command line, `step.retention.keep-daily=30` each; a later one wins.
    pub sets: Vec<String>,
    /// Values of declared arguments.
    pub args: BTreeMap<String, String>,
    /// Whether the plan is to be run.
    pub purpose: Purpose,
    /// What `run.*` and `host.*` stand for.
    pub run: RunValues,
}

/// What a plan is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To be run or explained: required arguments must be given.
    Run,
    /// To be checked: a required argument that is not given has its example as value.
    Validate,
}

/// The values of the template names `run.id`, `run.timestamp` and `host.name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunValues {
    /// The run's id.
    pub id: String,
    /// The run's start, UTC, `2026-11-21T21:51:00Z`.
    pub timestamp: String,
    /// The host's name.
    pub host: String,
}

/// Compiles a pipeline for an environment.
///
/// # Errors
/// Everything a stage finds, sorted by place. Nothing was started.
pub fn compile(request: &Request) -> Result<Plan, Vec<Diagnostic>> {
    let manifest = manifest::load(request)?;
    let resolved = resolved::resolve(manifest, request)?;
    let mut problems = Problems::default();
    let steps = flow::chain(&resolved, &mut problems);
    references::check(&resolved, &mut problems);
    locations::check(&resolved, &mut problems);
    maintenance::check(&resolved, &mut problems);
    if !problems.is_empty() {
        return Err(problems.finish(&resolved.map, resolved.name.as_str(), &request.environment));
    }
    Ok(Plan {
        explained: explain::explain(&resolved),
        digest: digest(&resolved, request),
        name: resolved.name,
        description: resolved.description,
        environment_name: request.environment.clone(),
        environment: resolved.environment,
        steps,
        project: resolved.located.project,
        provenance: resolved.located.provenance,
    })
}

/// Compiles an environment alone, for whatever reads backups and needs no pipeline of the project.
///
/// # Errors
/// Everything that is wrong with the environment's file, sorted by place. Nothing was started.
pub fn environment(project: &Path, name: &EnvName, run: &RunValues) -> Result<Environment, Vec<Diagnostic>> {
    let request = Request {
        project: project.to_owned(),
        pipeline: String::new(),
        environment: name.clone(),
        sets: Vec::new(),
        args: BTreeMap::new(),
        purpose: Purpose::Validate,
        run: run.clone(),
    };
    let compiled = || {
        let resolved = resolved::resolve(manifest::load_environment(&request)?, &request)?;
        let mut problems = Problems::default();
        locations::check(&resolved, &mut problems);
        maintenance::check(&resolved, &mut problems);
        if problems.is_empty() {
            Ok(resolved.environment)
        } else {
            Err(problems.finish(&resolved.map, "", name))
        }
    };
    compiled().map_err(|mut found: Vec<Diagnostic>| {
        for diagnostic in &mut found {
            diagnostic.pipeline = None;
        }
        found
    })
}

/// Hex BLAKE3 of the resolved pipeline and environment as JSON with sorted keys.
fn digest(resolved: &resolved::Resolved, request: &Request) -> String {
    let document = serde_json::json!({
        "environment": sorted(resolved.environment_tree.to_json()),
        "environment-name": request.environment,
        "pipeline": sorted(resolved.pipeline_tree.to_json()),
    });
    blake3::hash(document.to_string().as_bytes()).to_hex().to_string()
}

fn sorted(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Object(map) => {
            let ordered: BTreeMap<String, Value> = map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            Value::Object(ordered.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}
