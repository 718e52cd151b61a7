//! `run`, `backup`, `restore`, `plan`: compiles a pipeline and runs it, or says what a run would do.

use crate::diagnostic::{Code, Diagnostic};
use crate::outcome::Outcome;
use crate::pipeline::run::{self, Options};
use crate::pipeline::{Plan, Purpose, Request, compile};
use crate::steps::Step;

use super::request::{Mode, RunRequest};
use super::{Session, values};

/// Runs the pipeline, or previews it.
pub async fn run(request: RunRequest, session: &Session) -> Outcome {
    let context = match session.context() {
        Ok(context) => context,
        Err(problem) => return Outcome::failed(request.command, "", vec![*problem]),
    };
    let plan = compile(&Request {
        project: session.project.clone(),
        pipeline: request.pipeline.clone(),
        environment: request.environment.clone(),
        sets: request.sets,
        args: request.args,
        purpose: Purpose::Run,
        run: values(&context),
    });
    let plan = match plan {
        Ok(plan) => plan,
        Err(problems) => {
            let headline = format!(
                "`{}` cannot run in `{}`: the manifest is invalid",
                request.pipeline, request.environment
            );
            return Outcome::failed(request.command, headline, problems);
        }
    };
    let options = Options {
        confirm: request.confirm,
        targets: request.targets,
        to: request.to,
        damaged: request.damaged,
        paths: request.paths,
        from: request.from,
        allow_unredacted: request.allow_unredacted,
        include: request.include,
        exclude: request.exclude,
        owner: request.owner,
        accept_log_rewrites: request.accept_log_rewrites,
        rewind_logs: request.rewind_logs,
        wait: request.wait,
        while_running: request.while_running,
        identity: request.identity,
        trust_unsigned: request.trust_unsigned,
    };
    if let Some(problem) = misplaced(&options, &plan) {
        return Outcome::failed(request.command, "", vec![problem]);
    }
    match request.mode {
        Mode::Run => run::run(request.command, &plan, &options, &context).await,
        Mode::Plan => run::preview(request.command, &plan, &options, &context, run::Reach::Everything).await,
        Mode::PlanOffline => run::preview(request.command, &plan, &options, &context, run::Reach::ManifestAlone).await,
    }
}

/// The problem of an option on a run that it is not for: left unheard, a backup would hold what its operator believes to be
/// left out.
fn misplaced(options: &Options, plan: &Plan) -> Option<Diagnostic> {
    let has = |wanted: fn(&Step) -> bool| plan.steps().iter().any(|planned| wanted(&planned.step));
    let for_restores = [
        ("--to", options.to.is_some()),
        ("--allow-unredacted", options.allow_unredacted),
        ("PATH", !options.paths.is_empty()),
        ("--include", !options.include.is_empty()),
        ("--exclude", !options.exclude.is_empty()),
        ("--no-owner` or `--numeric-owner", options.owner.is_some()),
        ("--rewind-log", !options.rewind_logs.is_empty()),
        ("--while-running", options.while_running),
        ("--trust-unsigned", options.trust_unsigned),
        ("--identity", options.identity.is_some()),
    ];
    let for_backups = [("--accept-log-rewrite", !options.accept_log_rewrites.is_empty())];
    let given = |options: &[(&'static str, bool)]| options.iter().find(|(_, given)| *given).map(|(option, _)| *option);
    let misplaced = |option: &str, whose: &str, what: &str, help: &str| {
        let what = format!(
            "`{option}` is for {whose}, and pipeline `{}` {what} nothing",
            plan.pipeline()
        );
        Diagnostic::error(Code::Usage, what)
            .state("nothing was started")
            .help(help)
    };
    match (given(&for_restores), given(&for_backups)) {
        (Some(option), _) if !has(|step| matches!(step, Step::Restore(_))) => Some(misplaced(
            option,
            "restores",
            "restores",
            "leave it out; what a backup leaves out stands under `exclude` of its source",
        )),
        (_, Some(option)) if !has(|step| matches!(step, Step::Snapshot(_))) => {
            Some(misplaced(option, "backups", "captures", "leave it out"))
        }
        _ if options.from.is_some() && !has(|step| matches!(step, Step::Select(_))) => {
            Some(misplaced("--from", "restores", "chooses", "leave it out"))
        }
        _ if options.to.is_none() && options.names_a_part() => Some(run::part_in_place()),
        _ => None,
    }
}
