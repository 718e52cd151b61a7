//! `run`, `backup`, `restore`, `plan`: compiles a pipeline and runs it, or says what a run would do.

use crate::outcome::Outcome;
use crate::pipeline::run::{self, Options};
use crate::pipeline::{Purpose, Request, compile};

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
    };
    match request.mode {
        Mode::Run => run::run(request.command, &plan, &options, &context).await,
        Mode::Plan => run::preview(request.command, &plan, &options, &context, run::Reach::Everything).await,
        Mode::PlanOffline => run::preview(request.command, &plan, &options, &context, run::Reach::ManifestAlone).await,
    }
}
