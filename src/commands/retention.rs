//! `retention`: which backups a policy keeps, and why. Nothing is changed.

use std::collections::BTreeMap;

use jiff::Zoned;

use crate::archive::policy::{self, Decision};
use crate::diagnostic::{Code, Diagnostic};
use crate::id::PipelineName;
use crate::outcome::{Outcome, Table};
use crate::pipeline::run::Options;
use crate::pipeline::run::upkeep::{self, Rule, Trial};
use crate::pipeline::{Purpose, Request, compile};
use crate::steps::Step;
use crate::steps::retain::Retain;

use super::keeping::{self, Kept};
use super::request::{Guarding, RetentionOfBackups, RetentionOfTimes, RetentionRequest};
use super::{Session, values};

/// What is said of a backup that goes.
const NO_RULE: &str = "no rule keeps it";

/// Says what stays and what goes.
pub async fn run(request: RetentionRequest, session: &Session) -> Outcome {
    match request {
        RetentionRequest::Times(request) => times(&request, session),
        RetentionRequest::Backups(request) => match backups(request, session).await {
            Ok(outcome) => outcome,
            Err(failure) => Outcome::failed("retention", "", failure),
        },
    }
}

/// Answers for the backups of an environment, with the guards that stand before a removal.
async fn backups(request: RetentionOfBackups, session: &Session) -> Result<Outcome, Vec<Diagnostic>> {
    let options = Options {
        targets: request.targets.clone(),
        ..Options::default()
    };
    let kept = keeping::open(session, &request.environment, options)?;
    let rules = match request.policy {
        Some(policy) => {
            let unsaid = Retain::default();
            vec![Rule {
                policy,
                max_remove: unsaid.max_remove(),
                min_verified: unsaid.min_verified(),
                targets: Vec::new(),
                pipeline: request.pipeline,
            }]
        }
        None => rules_of_pipeline(&request, session, &kept)?,
    };
    let now = request.at.unwrap_or_else(|| session.clock.now().timestamp());
    Ok(upkeep::trial(&kept.upkeep(), &Trial { rules, now }).await)
}

/// The rules of a pipeline's `retain` steps.
fn rules_of_pipeline(
    request: &RetentionOfBackups,
    session: &Session,
    kept: &Kept,
) -> Result<Vec<Rule>, Vec<Diagnostic>> {
    let name = request.pipeline.as_ref().map_or("backup", PipelineName::as_str);
    let plan = compile(&Request {
        project: session.project.clone(),
        pipeline: name.to_owned(),
        environment: request.environment.clone(),
        sets: request.sets.clone(),
        args: BTreeMap::new(),
        purpose: Purpose::Validate,
        run: values(&kept.context),
    })?;
    let steps = plan.steps().iter().filter(|planned| planned.enabled);
    let rules: Vec<Rule> = steps
        .filter_map(|planned| match &planned.step {
            Step::Retain(retain) => Some(Rule::of_step(retain, plan.pipeline())),
            _ => None,
        })
        .collect();
    if rules.is_empty() {
        let what = format!("pipeline `{name}` has no `retain` step: every backup stays");
        return Err(vec![
            Diagnostic::error(Code::Usage, what).state("nothing was changed").help(
                "try rules on its backups with `--policy keep-daily=7`, or name another pipeline with `--pipeline`",
            ),
        ]);
    }
    Ok(rules)
}

/// Answers for times. Without the guards the answer is exactly restic's.
fn times(request: &RetentionOfTimes, session: &Session) -> Outcome {
    let mut lines: Vec<(&str, Zoned)> = Vec::new();
    let mut problems = Vec::new();
    for (number, line) in (1..).zip(request.text.lines()) {
        let line = line.trim();
        match policy::moment(line) {
            _ if line.is_empty() => {}
            Some(moment) => lines.push((line, moment)),
            None => problems.push(no_time(number, line)),
        }
    }
    if !problems.is_empty() {
        return Outcome::failed("retention", "", problems);
    }
    let now = request.at.unwrap_or_else(|| session.clock.now().timestamp());
    let moments: Vec<Zoned> = lines.iter().map(|(_, moment)| moment.clone()).collect();
    let decisions = match request.guards {
        Guarding::On => policy::guarded(&moments, now, &request.policy),
        Guarding::Off => policy::plain(&moments, now, &request.policy),
    };
    let texts: Vec<&str> = lines.iter().map(|(text, _)| *text).collect();
    answer(&texts, &decisions)
}

fn no_time(number: u32, line: &str) -> Diagnostic {
    let shown: String = line.chars().take(80).collect();
    Diagnostic::error(Code::Usage, format!("line {number} is no time: `{shown}`"))
        .why("a rule counts days and hours by the UTC offset that a time is written with")
        .state("nothing was started")
        .help("write RFC 3339 with its offset: `2026-11-21T23:00:00+01:00`")
}

/// `keep` and `remove` in the order given; `reasons` for every time, joined where one text stands twice.
fn answer(texts: &[&str], decisions: &[Decision]) -> Outcome {
    let (mut keep, mut remove) = (Vec::new(), Vec::new());
    let mut reasons: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut table = Table {
        title: String::new(),
        columns: ["time", "is", "because"].map(String::from).to_vec(),
        rows: Vec::new(),
    };
    for (text, decision) in texts.iter().zip(decisions) {
        let (list, is, because) = if decision.keep {
            (&mut keep, "kept", decision.reasons.clone())
        } else {
            (&mut remove, "removed", vec![NO_RULE.to_owned()])
        };
        list.push(*text);
        table.rows.push(vec![(*text).to_owned(), is.into(), because.join(", ")]);
        let said = reasons.entry(text).or_default();
        said.extend(because);
    }
    for said in reasons.values_mut() {
        let mut seen = Vec::new();
        said.retain(|reason| {
            !seen.contains(reason) && {
                seen.push(reason.clone());
                true
            }
        });
    }
    let mut outcome = Outcome::new(
        "retention",
        format!("{} kept, {} removed; nothing was changed", keep.len(), remove.len()),
    );
    outcome.json.insert("keep".into(), keep.into());
    outcome.json.insert("remove".into(), remove.into());
    outcome
        .json
        .insert("reasons".into(), serde_json::to_value(&reasons).unwrap_or_default());
    outcome.tables.push(table);
    outcome
}
