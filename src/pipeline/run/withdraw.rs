//! What a backup owes the sweeps of its targets: it writes no record too late, and takes its record back where something it
//! relied on was deleted meanwhile.

use crate::archive::layout;
use crate::archive::repository::{Completed, RepositoryError, Stored};
use crate::archive::sweep::doomed;
use crate::diagnostic::{Code, Diagnostic};
use crate::target::Target;
use crate::units::Span;

use super::{Failure, Runner};

impl Runner<'_> {
    /// Ends a run that took longer than it may, before it writes its record: what it relies on may be deleted by now.
    pub(super) fn check_duration(&self, state: &str) -> Result<(), Failure> {
        let max_run = self.plan.environment().maintenance.max_run();
        let taken = self.context.clock.uptime().saturating_sub(self.began);
        if taken <= max_run {
            return Ok(());
        }
        Err(vec![
            Diagnostic::error(Code::RunTooLong, "the run took longer than a run may")
                .why(format!(
                    "`max-run` is {}, the time in which the host slept counted; what the backup relies on may be gone",
                    Span(max_run)
                ))
                .state(state)
                .help("run it again; where backups take so long, raise `max-run` and `grace` in the environment"),
        ])
    }

    /// Looks in each target whether what the backup relied on is still there, and takes its record back where it is not.
    pub(super) async fn withdraw_where_swept(
        &mut self,
        completed: &Completed,
        mut stored: Stored,
        required: usize,
    ) -> Result<Stored, Failure> {
        let mut problems = Vec::new();
        for target in stored.targets().to_vec() {
            let reused = completed.reused.get(target.name()).map_or(&[][..], Vec::as_slice);
            let Err(error) = doomed::check(&target, &completed.needed, reused).await else {
                continue;
            };
            self.withdraw(&target, &stored, &error).await?;
            let problem = Diagnostic::of(&error);
            let Some(left) = stored.clone().without(target.name()) else {
                problems.push(problem.state("the backup was taken back; the backups made before are as they were"));
                return Err(problems);
            };
            stored = left;
            problems.push(problem);
        }
        if stored.targets().len() < required && !problems.is_empty() {
            let names: Vec<&str> = stored.targets().iter().map(|target| target.name().as_str()).collect();
            let state = format!("the backup is whole in {}, and in too few targets", names.join(", "));
            return Err(problems
                .into_iter()
                .map(|problem| problem.state(state.clone()))
                .collect());
        }
        for problem in problems {
            let mut warning = Diagnostic::warning(Code::TargetLeftOut, problem.what)
                .state("the backup is whole in the other targets");
            warning.help = problem.help;
            self.warn(warning);
        }
        Ok(stored)
    }

    async fn withdraw(&mut self, target: &Target, stored: &Stored, error: &RepositoryError) -> Result<(), Failure> {
        let record = stored.record();
        self.evidence
            .delete_intended(target.name(), &record.id, &error.to_string())?;
        let object = layout::record(&record.environment, &record.id);
        target.delete(&object).await.map_err(|failed| {
            let state = format!(
                "the backup `{}` is listed in target `{}` and is not whole: do not rely on it",
                record.id,
                target.name()
            );
            vec![
                Diagnostic::of(error).state(state.clone()),
                Diagnostic::of(&failed).state(state),
            ]
        })?;
        self.evidence.deleted(target.name(), &record.id)
    }
}
