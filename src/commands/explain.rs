//! `explain`: every value of a compiled pipeline, where it comes from and what it replaced.

use crate::diagnostic::{Code, Diagnostic, Place};
use crate::outcome::{Outcome, Table};
use crate::pipeline::{Layer, Provenance, Purpose, Request, compile};

use super::request::ExplainRequest;
use super::{Session, values};

/// Explains the pipeline, or what stands at and below a path.
pub fn run(request: ExplainRequest, session: &Session) -> Outcome {
    let context = match session.context() {
        Ok(context) => context,
        Err(problem) => return Outcome::failed("explain", "", vec![*problem]),
    };
    let compiled = compile(&Request {
        project: session.project.clone(),
        pipeline: request.pipeline.clone(),
        environment: request.environment.clone(),
        sets: request.sets,
        args: request.args,
        purpose: Purpose::Validate,
        run: values(&context),
    });
    let plan = match compiled {
        Ok(plan) => plan,
        Err(problems) => return Outcome::failed("explain", "the manifest is invalid", problems),
    };
    let explained = plan.explain(request.path.as_deref());
    if explained.is_empty() {
        let path = request.path.unwrap_or_default();
        let problem = Diagnostic::error(Code::Usage, format!("nothing stands at `{path}`"))
            .state("nothing was started")
            .help("leave the path away to see every value with its path");
        return Outcome::failed("explain", "", vec![problem]);
    }
    let from = match plan.provenance() {
        Provenance::File(path) => path.display().to_string(),
        Provenance::BuiltIn => "the copy built into this program, because the project has no file of that name".into(),
    };
    let mut outcome = Outcome::new(
        "explain",
        format!("pipeline `{}` in `{}`", plan.pipeline(), plan.environment_name()),
    );
    outcome.field("from", "from", from, plan.provenance());
    let mut table = Table {
        title: String::new(),
        columns: ["value", "is", "layer", "place", "replaced"].map(String::from).to_vec(),
        rows: Vec::new(),
    };
    for value in &explained {
        let replaced: Vec<String> = value
            .replaced
            .iter()
            .map(|r| format!("{} ({} {})", r.value, layer(r.layer), place(&r.place)))
            .collect();
        table.rows.push(vec![
            value.path.clone(),
            value.value.to_string(),
            layer(value.layer).into(),
            value.place.as_ref().map(place).unwrap_or_default(),
            replaced.join("; "),
        ]);
    }
    outcome.tables.push(table);
    outcome
        .json
        .insert("values".into(), serde_json::to_value(&explained).unwrap_or_default());
    outcome
}

fn place(place: &Place) -> String {
    format!("{}:{}:{}", place.file, place.line, place.column)
}

const fn layer(layer: Layer) -> &'static str {
    match layer {
        Layer::Default => "default",
        Layer::Pipeline => "pipeline",
        Layer::Environment => "environment",
        Layer::Set => "--set",
    }
}
