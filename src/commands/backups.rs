//! The backups of an environment, as the verbs that only read find them.

use std::path::{Path, PathBuf};

use crate::archive::keys::Opening;
use crate::archive::record::Record;
use crate::archive::repository::{self, Backup, Listing};
use crate::diagnostic::Diagnostic;
use crate::id::{EnvName, Instance, PipelineName, TargetName};
use crate::pipeline::run::{Context, Keys, Memory, Opener, check_signed, open_targets, report_unfinished, state_of};
use crate::pipeline::{Environment, environment};
use crate::target::Target;

use super::{Session, values};

/// An environment with its targets opened.
pub(super) struct Found {
    pub(super) name: EnvName,
    pub(super) context: Context,
    pub(super) targets: Vec<Target>,
    environment: Environment,
    project: PathBuf,
    /// The targets that are asked for; empty for all.
    only: Vec<TargetName>,
    /// Targets that could not be opened, and what must be known of the environment's data, whatever is asked for.
    warnings: Vec<Diagnostic>,
}

/// Reads the environment and opens its targets.
pub(super) async fn open(session: &Session, name: &EnvName, only: &[TargetName]) -> Result<Found, Vec<Diagnostic>> {
    let context = session.context().map_err(|problem| vec![*problem])?;
    let environment: Environment = environment(&session.project, name, &values(&context))?;
    let mut keys = Keys::unread(&environment, &session.project, &context);
    let opened = open_targets(&environment, &session.project, (&[], only), &mut keys, None).await?;
    let (targets, mut warnings) = opened.with_warnings();
    let state = state_of(&environment, &session.project, name);
    warnings.extend(report_unfinished(&session.project, name, &values(&context), &state));
    Ok(Found {
        name: name.clone(),
        context,
        targets,
        environment,
        project: session.project.clone(),
        only: only.to_vec(),
        warnings,
    })
}

impl Found {
    /// The folder that holds the environment's state.
    pub(super) fn state(&self) -> PathBuf {
        state_of(&self.environment, &self.project, &self.name)
    }

    /// The backups in the targets that are asked for.
    pub(super) async fn list(&self) -> Listing {
        let (mut listing, memory) = self.look().await;
        let asked = (!self.only.is_empty()).then_some(self.only.as_slice());
        let newer = memory.newer(&listing, &self.targets, asked, |_, _| true);
        listing.warnings.extend(newer);
        listing
    }

    async fn look(&self) -> (Listing, Memory) {
        let mut listing = repository::list(&self.targets, &self.name).await;
        let memory = Memory::open(&self.environment, &self.project, &self.name);
        memory.compare(&mut listing, &self.targets);
        listing.warnings.extend(self.warnings.iter().cloned());
        (listing, memory)
    }

    /// Checks who made a backup, where the environment says who may; with `trusting` that is a warning.
    pub(super) async fn check_signed(
        &self,
        target: &Target,
        backup: &Backup,
        trusting: bool,
    ) -> Result<Option<Diagnostic>, Diagnostic> {
        check_signed(&self.environment, target, (&backup.record, &backup.bytes), trusting).await
    }

    /// How the objects of a backup are opened; `identity` is a file that stands for what the environment says.
    pub(super) async fn opening(&self, backup: &Backup, identity: Option<&Path>) -> Result<Opening, Diagnostic> {
        let mut keys = Keys::unread(&self.environment, &self.project, &self.context);
        let mut opener = Opener::new(&self.environment, identity);
        opener.open_record(&backup.targets, &backup.record, &mut keys).await
    }

    /// The backup that `wanted` names, and what was wrong on the way.
    pub(super) async fn choose(
        &self,
        wanted: &str,
        pipeline: Option<&PipelineName>,
    ) -> Result<(Backup, Vec<Diagnostic>), Vec<Diagnostic>> {
        let (mut listing, memory) = self.look().await;
        if repository::is_latest(wanted) {
            let fits = |other: &PipelineName, _: &Instance| pipeline.is_none_or(|p| p == other);
            let newer = memory.newer(&listing, &self.targets, None, fits);
            listing.warnings.extend(newer);
        }
        let fits = |record: &Record| pipeline.is_none_or(|p| *p == record.pipeline);
        match listing.choose(wanted, fits) {
            Ok(backup) => Ok((backup.clone(), listing.warnings)),
            Err(error) => Err(listing.why_none(&error)),
        }
    }
}
