//! The targets of a backup, made ready: opened, compared with what this host remembers of them, cleared of what dead runs
//! left, and made repositories where they are new.

use std::sync::Arc;

use crate::archive::layout::FORMAT;
use crate::archive::repository::{self, Repository, RepositoryError};
use crate::diagnostic::{Code, Diagnostic};
use crate::id::TargetName;
use crate::state::Before;
use crate::steps::upload::Upload;
use crate::target::ledger::{Ledger, Left};
use crate::target::{Keeps, Target, TargetSettings};
use crate::units::counted;

use super::backup::NO_BACKUP;
use super::seen::Seen;
use super::stores::{Keys, open_targets, state_path};
use super::{Failure, Runner};

/// The folder of the ledgers, in the state folder.
const UPLOADS: &str = "uploads";

/// Targets on their way to being ready.
#[derive(Default)]
struct Sorted {
    /// Each with its repository and what this host remembers of it.
    ready: Vec<(Target, Repository, Option<Seen>)>,
    empty: Vec<Target>,
    vanished: Failure,
    failed: Vec<(TargetName, Diagnostic)>,
}

impl Runner<'_> {
    /// Targets that are, or now become, repositories of one id; those that cannot be are left out and named.
    ///
    /// # Errors
    /// When one was seen before and does not hold what it held, or fewer are left than required. Nothing was written then.
    pub(super) async fn ready_targets(&mut self, upload: &Upload, required: usize) -> Result<Vec<Target>, Failure> {
        let environment = self.plan.environment();
        let notes = environment.target.values().any(TargetSettings::keeps_notes);
        let (ledger, left) = if notes { self.ledger()? } else { (None, Vec::new()) };
        let meant = (upload.targets.as_slice(), self.options.targets.as_slice());
        let mut keys = Keys::Known(self.evidence.secrets());
        let opened = open_targets(environment, self.plan.project(), meant, &mut keys, ledger.as_ref()).await?;
        let mut sorted = tokio::select! {
            sorted = self.sort(opened.targets) => sorted,
            () = self.context.stop.token().cancelled() => return Err(vec![self.stopped(NO_BACKUP)]),
        };
        sorted.failed.extend(opened.failed);
        if !sorted.vanished.is_empty() {
            return Err(sorted.vanished);
        }
        let mut ready = self.know(&mut sorted).await?;
        ready.extend(self.found(&mut sorted, required).await?);
        if ready.len() < required.max(1) {
            return Err(sorted.failed.into_iter().map(|(_, d)| d.state(NO_BACKUP)).collect());
        }
        for (name, problem) in sorted.failed {
            self.left_out(&name, &problem);
        }
        ready.sort_by(|a, b| a.name().cmp(b.name()));
        self.clear(&ready, left).await;
        Ok(ready)
    }

    fn ledger(&self) -> Result<(Option<Arc<Ledger>>, Vec<Left>), Failure> {
        let begun = Ledger::begin(&state_path(self.plan).join(UPLOADS));
        let (ledger, left) = begun.map_err(|error| {
            let what = "uploads under way cannot be noted in the state folder";
            vec![
                Diagnostic::error(Code::StateFailed.unless_full(&error), what)
                    .why(error.to_string())
                    .state(NO_BACKUP)
                    .help("free space where the state folder lies, or give this user the right to write there"),
            ]
        })?;
        Ok((Some(Arc::new(ledger)), left))
    }

    async fn sort(&self, targets: Vec<Target>) -> Sorted {
        let state = state_path(self.plan);
        let mut sorted = Sorted::default();
        for target in targets {
            let seen = Seen::read(&state, &target);
            let found = match repository::open(&target).await {
                Ok(found) => found,
                Err(error) => {
                    match (&error, seen) {
                        (RepositoryError::Target { source, .. }, Some(seen)) if source.is_gone() => {
                            sorted.vanished.push(seen.vanished(source.to_string(), &target, &state));
                        }
                        _ => sorted.failed.push((target.name().clone(), Diagnostic::of(&error))),
                    }
                    continue;
                }
            };
            let refusal = seen
                .as_ref()
                .and_then(|seen| seen.judge(found.as_ref(), &target, &state));
            match (refusal, found) {
                (Some(refusal), _) => sorted.vanished.push(refusal),
                (None, Some(found)) => sorted.ready.push((target, found, seen)),
                (None, None) => sorted.empty.push(target),
            }
        }
        sorted
    }

    /// Repositories that are there: each store is probed where this host uses it for the first time.
    async fn know(&mut self, sorted: &mut Sorted) -> Result<Vec<Target>, Failure> {
        let mut ready = Vec::new();
        for (target, repository, seen) in &sorted.ready {
            match seen {
                Some(seen) => target.take_for(seen.keeps),
                None => match target.probe().await {
                    Ok(keeps) => self.remember(target, repository, keeps)?,
                    Err(error) => {
                        sorted.failed.push((target.name().clone(), Diagnostic::of(&error)));
                        continue;
                    }
                },
            }
            ready.push(target.clone());
        }
        Ok(ready)
    }

    /// Makes the empty ones repositories, of the id that the others have.
    async fn found(&mut self, sorted: &mut Sorted, required: usize) -> Result<Vec<Target>, Failure> {
        let mut made = Vec::new();
        if sorted.ready.len() + sorted.empty.len() < required.max(1) || sorted.empty.is_empty() {
            return Ok(made);
        }
        let repository = match sorted.ready.first() {
            Some((_, repository, _)) => repository.clone(),
            None => Repository {
                format: FORMAT,
                repository: hex::encode(self.random::<16>()?),
            },
        };
        for target in std::mem::take(&mut sorted.empty) {
            let keeps = match target.probe().await {
                Ok(keeps) => keeps,
                Err(error) => {
                    sorted.failed.push((target.name().clone(), Diagnostic::of(&error)));
                    continue;
                }
            };
            // Another run may have made it one meanwhile, so what counts is what stands there.
            let found = match repository::create(&target, &repository).await {
                Ok(()) => repository::open(&target).await,
                Err(error) => Err(error),
            };
            match found {
                Ok(found) => {
                    self.remember(&target, found.as_ref().unwrap_or(&repository), keeps)?;
                    made.push(target);
                }
                Err(error) => sorted.failed.push((target.name().clone(), Diagnostic::of(&error))),
            }
        }
        Ok(made)
    }

    fn remember(&mut self, target: &Target, repository: &Repository, keeps: Keeps) -> Result<(), Failure> {
        let seen = Seen::of(target, repository, keeps);
        seen.write(&state_path(self.plan), target.name())
            .map_err(|problem| vec![problem])?;
        if keeps == Keeps::Nothing {
            let what = format!(
                "the store of target `{}` overwrites what it was asked to keep",
                target.name()
            );
            self.warn(
                Diagnostic::warning(Code::ConditionsIgnored, what)
                    .why("an object was created twice under one name, and the second one replaced the first")
                    .state("from now on each object is looked for before it is put; this is told once")
                    .help("let one host alone back up into it: two at the same moment could overwrite each other"),
            );
        }
        Ok(())
    }

    /// Ends what dead runs left unfinished: at once what this host noted, and whatever is older than a run may take.
    async fn clear(&mut self, targets: &[Target], mut left: Vec<Left>) {
        let mut count = 0;
        for target in targets {
            for left in &mut left {
                let objects = left.of(&target.url());
                if objects.is_empty() {
                    continue;
                }
                match target.give_up(&objects).await {
                    // What cannot be forgotten is looked for once more by the next run.
                    Ok(ended) => {
                        count += ended;
                        let _ = left.forget(&target.url());
                    }
                    Err(error) => self.not_cleared(target, &Diagnostic::of(&error)),
                }
            }
            // A store that does not list uploads, or not to this key, has a rule of its own for them: the manual asks for it.
            count += target.give_up_stale().await.unwrap_or_default();
            // In a folder the next writer looks into the folders that it writes to; after a run that died all are looked into.
            if self.evidence.before() == Before::Died {
                match target.clear_leftovers().await {
                    Ok(removed) => count += removed,
                    Err(error) => self.not_cleared(target, &Diagnostic::of(&error)),
                }
            }
        }
        if count > 0 {
            let text = format!("{} that runs left when they died", counted(count as u64, "upload"));
            self.outcome.field("cleared-uploads", "cleared", text, count);
        }
    }

    fn not_cleared(&mut self, target: &Target, problem: &Diagnostic) {
        let what = format!(
            "what a dead run left unfinished in target `{}` cannot be removed",
            target.name()
        );
        let mut warning = Diagnostic::warning(Code::TargetFailed, what)
            .why(match &problem.why {
                Some(why) => format!("{}: {why}", problem.what),
                None => problem.what.clone(),
            })
            .state("parts of an upload take space there; the next run tries again");
        warning.help.clone_from(&problem.help);
        self.warn(warning);
    }

    pub(super) fn left_out(&mut self, target: &TargetName, problem: &Diagnostic) {
        let why = match &problem.why {
            Some(why) => format!("{}: {why}", problem.what),
            None => problem.what.clone(),
        };
        let mut warning = Diagnostic::warning(
            Code::TargetLeftOut,
            format!("target `{target}` was left out of this backup"),
        )
        .why(why)
        .state("the backup is whole in the other targets");
        warning.help.clone_from(&problem.help);
        self.warn(warning);
    }
}

/// The refusal that a run would meet at this target, for a preview.
pub(super) fn refusal(plan: &crate::pipeline::Plan, target: &Target, found: Option<&Repository>) -> Option<Diagnostic> {
    let state = state_path(plan);
    Seen::read(&state, target)?.judge(found, target, &state)
}
