//! An environment as the verbs find it that keep its targets in order.

use std::path::PathBuf;

use crate::diagnostic::Diagnostic;
use crate::id::EnvName;
use crate::pipeline::run::upkeep::Upkeep;
use crate::pipeline::run::{Context, Options};
use crate::pipeline::{Environment, environment};

use super::{Session, values};

/// An environment, compiled.
pub(super) struct Kept {
    pub(super) name: EnvName,
    pub(super) environment: Environment,
    pub(super) project: PathBuf,
    pub(super) context: Context,
    pub(super) options: Options,
}

/// Reads the environment.
pub(super) fn open(session: &Session, name: &EnvName, options: Options) -> Result<Kept, Vec<Diagnostic>> {
    let context = session.context().map_err(|problem| vec![*problem])?;
    let environment = environment(&session.project, name, &values(&context))?;
    Ok(Kept {
        name: name.clone(),
        environment,
        project: session.project.clone(),
        context,
        options,
    })
}

impl Kept {
    pub(super) fn upkeep(&self) -> Upkeep<'_> {
        Upkeep {
            environment: &self.environment,
            name: &self.name,
            project: &self.project,
            context: &self.context,
            options: &self.options,
        }
    }
}
