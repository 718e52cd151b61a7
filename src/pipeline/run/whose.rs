//! Whose state, journal and targets something works with: an environment and what is done in it.

use std::path::Path;

use crate::id::{EnvName, PipelineName};
use crate::pipeline::{Environment, Plan};

/// An environment, and the pipeline or verb that works in it.
#[derive(Clone, Copy)]
pub(super) struct Whose<'a> {
    pub(super) environment: &'a Environment,
    pub(super) name: &'a EnvName,
    pub(super) project: &'a Path,
    /// Of which only one works at a time.
    pub(super) pipeline: &'a PipelineName,
}

impl<'a> Whose<'a> {
    pub(super) fn of(plan: &'a Plan) -> Self {
        Self {
            environment: plan.environment(),
            name: plan.environment_name(),
            project: plan.project(),
            pipeline: plan.pipeline(),
        }
    }
}
