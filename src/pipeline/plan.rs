//! A plan: a chain of steps that fit. Its fields are private, and only [`super::compile`] makes one.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::environment::Environment;
use crate::diagnostic::Place;
use crate::id::{EnvName, PipelineName, StepId};
use crate::steps::{Flow, Step};

/// A pipeline for one environment, checked and ready to run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(super) name: PipelineName,
    pub(super) description: String,
    pub(super) environment_name: EnvName,
    pub(super) environment: Environment,
    pub(super) steps: Vec<PlannedStep>,
    pub(super) project: PathBuf,
    pub(super) provenance: Provenance,
    pub(super) explained: Vec<Explained>,
    pub(super) digest: String,
}

/// A step of a plan.
#[derive(Clone, Debug)]
pub struct PlannedStep {
    /// Its id, unique in the pipeline.
    pub id: StepId,
    /// Whether it runs. A step that is switched off passes on what it is given.
    pub enabled: bool,
    /// Whether it runs on failure too.
    pub always: bool,
    /// Its settings.
    pub step: Step,
    /// The place of its `type`.
    pub place: Place,
    /// What it takes.
    pub takes: Flow,
    /// What it gives.
    pub gives: Flow,
}

/// Where a pipeline's manifest comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Provenance {
    /// A file.
    File(PathBuf),
    /// The copy within this program, because the project has no file of that name.
    BuiltIn,
}

/// The origin of a value: a later layer wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layer {
    /// Built in, because no file sets it.
    Default,
    /// The pipeline's file.
    Pipeline,
    /// The environment's file.
    Environment,
    /// `--set` on the command line.
    Set,
}

/// A value of a plan and its origin.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Explained {
    /// Its path: `step.pack.level`, `path.data`, `target.local.url`, `environment.protected`, `pipeline.name`.
    pub path: String,
    /// The value, templates filled; a secret is its reference.
    pub value: serde_json::Value,
    /// The text before its templates were filled, where it had any.
    pub template: Option<String>,
    /// Where it stands; nowhere for a default.
    pub place: Option<Place>,
    /// The layer it comes from.
    pub layer: Layer,
    /// What it replaced, the nearest first.
    pub replaced: Vec<Replaced>,
}

/// A value that a later layer replaced.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Replaced {
    /// The value as written.
    pub value: serde_json::Value,
    /// Where it stands.
    pub place: Place,
    /// The layer it comes from.
    pub layer: Layer,
}

impl Plan {
    /// The pipeline's name.
    pub fn pipeline(&self) -> &PipelineName {
        &self.name
    }

    /// What the pipeline is, for people.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The environment's name.
    pub fn environment_name(&self) -> &EnvName {
        &self.environment_name
    }

    /// The environment.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The steps in their order, those switched off included.
    pub fn steps(&self) -> &[PlannedStep] {
        &self.steps
    }

    /// The folder above `pipelines/`, at which relative paths start.
    pub fn project(&self) -> &Path {
        &self.project
    }

    /// Where the manifest comes from.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// Hex BLAKE3 of everything that decides what the plan does.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Every value with its origin, or those at and below `path`; empty where there is none.
    pub fn explain(&self, path: Option<&str>) -> Vec<&Explained> {
        let below = |explained: &Explained, path: &str| {
            explained
                .path
                .strip_prefix(path)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.explained
            .iter()
            .filter(|explained| path.is_none_or(|path| below(explained, path)))
            .collect()
    }
}
