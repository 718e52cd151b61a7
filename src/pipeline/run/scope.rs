//! What a run works on: an environment of a project, under the name of a pipeline. A rollback has no plan and works on one
//! all the same.

use std::path::{Path, PathBuf};

use crate::id::{EnvName, Instance, PipelineName};
use crate::pipeline::Plan;
use crate::pipeline::environment::Environment;

use super::stores::state_of;

/// What a run works on.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) environment: &'a Environment,
    pub(super) name: &'a EnvName,
    pub(super) project: &'a Path,
    /// The pipeline's name, or that of the verb: the lock and the journal go by it.
    pub(super) pipeline: &'a PipelineName,
}

impl<'a> Scope<'a> {
    pub(super) fn of(plan: &'a Plan) -> Self {
        Self {
            environment: plan.environment(),
            name: plan.environment_name(),
            project: plan.project(),
            pipeline: plan.pipeline(),
        }
    }

    /// The host or role whose data it is.
    pub(super) fn instance(&self, host: &str) -> Instance {
        let named = self.environment.instance.clone();
        named.unwrap_or_else(|| Instance::new(host))
    }

    /// The state folder.
    pub(super) fn state(&self) -> PathBuf {
        state_of(self.environment, self.project, self.name)
    }
}
