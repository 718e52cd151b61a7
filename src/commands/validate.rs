//! `validate`: compiles pipelines for environments and tells everything that is wrong. Touches nothing else.

use crate::diagnostic::{Code, Diagnostic};
use crate::id::EnvName;
use crate::outcome::{Outcome, Table};
use crate::pipeline::{Purpose, Request, Roots, compile, list_environments, list_pipelines, overlapping_roots};

use super::request::ValidateRequest;
use super::{Session, values};

/// Checks the pipelines asked for, all of the project where none is named, in each environment.
pub fn run(request: ValidateRequest, session: &Session) -> Outcome {
    let context = match session.context() {
        Ok(context) => context,
        Err(problem) => return Outcome::failed("validate", "", vec![*problem]),
    };
    let (pipelines, environments) = match what(&request, session) {
        Ok(what) => what,
        Err(problem) => return Outcome::failed("validate", "", vec![*problem]),
    };
    let mut table = Table {
        title: String::new(),
        columns: ["pipeline", "environment", "result"].map(String::from).to_vec(),
        rows: Vec::new(),
    };
    let mut problems: Vec<Diagnostic> = Vec::new();
    let mut checked = Vec::new();
    let mut wrong = 0;
    for pipeline in &pipelines {
        for environment in &environments {
            let compiled = compile(&Request {
                project: session.project.clone(),
                pipeline: pipeline.clone(),
                environment: environment.clone(),
                sets: Vec::new(),
                args: std::collections::BTreeMap::new(),
                purpose: Purpose::Validate,
                run: values(&context),
            });
            let (result, count) = match compiled {
                Ok(plan) => {
                    for warning in overlapping_roots(&plan, &values(&context), Roots::Written) {
                        add(&mut problems, warning);
                    }
                    (format!("valid, {} steps", plan.steps().len()), 0)
                }
                Err(found) => {
                    wrong += 1;
                    let count = found.len();
                    for mut problem in found {
                        problem.pipeline.get_or_insert_with(|| pipeline.clone());
                        problem.environment.get_or_insert_with(|| environment.to_string());
                        add(&mut problems, problem);
                    }
                    (format!("{count} problems"), count)
                }
            };
            checked.push(serde_json::json!({ "pipeline": pipeline, "environment": environment, "problems": count }));
            table.rows.push(vec![pipeline.clone(), environment.to_string(), result]);
        }
    }
    problems.sort_by(|a, b| a.places.first().cmp(&b.places.first()));
    let total = checked.len();
    let headline = match wrong {
        0 => format!("{total} of {total} combinations are valid"),
        _ => format!("{wrong} of {total} combinations are invalid"),
    };
    let mut outcome = Outcome::failed("validate", headline, problems);
    outcome.tables.push(table);
    outcome.json.insert("checked".into(), checked.into());
    outcome
}

/// Adds a problem; a fault of a pipeline's own file is the same in every environment, and told once.
fn add(problems: &mut Vec<Diagnostic>, problem: Diagnostic) {
    let known = |other: &Diagnostic| other.what == problem.what && other.places == problem.places;
    if !problems.iter().any(known) {
        problems.push(problem);
    }
}

fn what(request: &ValidateRequest, session: &Session) -> Result<(Vec<String>, Vec<EnvName>), Box<Diagnostic>> {
    let failed = |error: crate::pipeline::FilesError| Box::new(Diagnostic::of(&error));
    let pipelines = if request.pipelines.is_empty() {
        let listed = list_pipelines(&session.project).map_err(failed)?;
        listed.into_iter().map(|listed| listed.name.to_string()).collect()
    } else {
        request.pipelines.clone()
    };
    let environments = match &request.environment {
        Some(environment) => vec![environment.clone()],
        None => list_environments(&session.project).map_err(failed)?,
    };
    if environments.is_empty() {
        let problem = Diagnostic::error(Code::ManifestUnreadable, "the project has no environment")
            .why("there is no file in `pipelines/environments/`")
            .state("nothing was started")
            .help("add `pipelines/environments/dev.toml`, or name another folder with `--project DIR`");
        return Err(Box::new(problem));
    }
    Ok((pipelines, environments))
}
