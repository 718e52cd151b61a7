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
        include: request.include,
        exclude: request.exclude,
        owner: request.owner,
        wait: request.wait,
        while_running: request.while_running,
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

/// The problem of an option that is for restores on a run that restores nothing: left unheard, a backup would hold what its
/// operator believes to be left out.
fn misplaced(options: &Options, plan: &Plan) -> Option<Diagnostic> {
    let given = [
        ("--to", options.to.is_some()),
        ("--include", !options.include.is_empty()),
        ("--exclude", !options.exclude.is_empty()),
        ("--no-owner` or `--numeric-owner", options.owner.is_some()),
        ("--while-running", options.while_running),
    ];
    let (option, _) = given.into_iter().find(|(_, given)| *given)?;
    if plan.steps().iter().any(|step| matches!(step.step, Step::Restore(_))) {
        return None;
    }
    let what = format!(
        "`{option}` is for restores, and pipeline `{}` restores nothing",
        plan.pipeline()
    );
    let problem = Diagnostic::error(Code::Usage, what).state("nothing was started");
    Some(problem.help("leave it out; what a backup leaves out stands under `exclude` of its source"))
}
