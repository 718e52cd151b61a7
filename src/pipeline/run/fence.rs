//! What a protected environment asks for before anything is done, and the operator's word.

use std::sync::Arc;

use crate::diagnostic::{Code, Diagnostic};
use crate::id::EnvName;
use crate::pipeline::Plan;
use crate::steps::Step;
use crate::steps::confirm::By;

use super::scope::Scope;
use super::{Confirmation, Context, Failure, Options, Prompt, Runner, UNTOUCHED, stopped};

/// Refuses debug logging in a protected environment.
pub(super) fn before(scope: Scope<'_>, context: &Context) -> Result<(), Failure> {
    if scope.environment.protected && context.debug_requested {
        let name = scope.name;
        return Err(vec![
            Diagnostic::error(
                Code::Fenced,
                format!("debug logging is refused in the protected environment `{name}`"),
            )
            .why("debug lines show more of the data than a protected environment may show")
            .state("nothing was started")
            .help("run it without -vv and without STRONGROOM_LOG"),
        ]);
    }
    Ok(())
}

/// What an operator is asked to confirm.
pub(super) struct Act<'a> {
    /// What it does, as the question has it: "replaces data of".
    pub(super) does: &'a str,
    /// The same as a noun: "replacing its data".
    pub(super) doing: &'static str,
    /// What is true while nobody has confirmed.
    pub(super) untouched: &'static str,
    /// What must be known before, a line each.
    pub(super) before: &'a str,
}

/// What a restore and a rollback ask for.
pub(super) const REPLACE: Act<'static> = Act {
    does: "replaces data of",
    doing: "replacing its data",
    untouched: UNTOUCHED,
    before: "",
};

/// Whether the operator had to be asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// The environment is not protected.
    NotProtected,
    /// The operator named it.
    Confirmed,
}

/// Sees that the operator has named a protected environment: on the command line, or now.
pub(super) async fn confirm(
    scope: Scope<'_>,
    given: Option<&EnvName>,
    act: &Act<'_>,
    context: &Context,
) -> Result<Asked, Failure> {
    if !scope.environment.protected {
        return Ok(Asked::NotProtected);
    }
    let name = scope.name;
    let refused = |what: String| refusal(name, act, what);
    match given_or_asked(name, given, act, context)? {
        None => {}
        Some(prompt) => {
            let question = format!("{}This {} `{name}`. Type `{name}` to go on: ", act.before, act.does);
            let answer = tokio::select! {
                answer = prompt.ask(&question) => answer,
                () = context.stop.token().cancelled() => return Err(vec![stopped(context, act.untouched)]),
            };
            match answer {
                Ok(answer) if answer == name.as_str() => {}
                Ok(_) => return Err(refused(format!("what was typed is not `{name}`"))),
                Err(error) => return Err(refused(format!("nobody could be asked: {error}"))),
            }
        }
    }
    Ok(Asked::Confirmed)
}

fn refusal(name: &EnvName, act: &Act<'_>, what: String) -> Failure {
    vec![
        Diagnostic::error(Code::Unconfirmed, what)
            .why(format!("`{name}` is protected: {} needs its name typed", act.doing))
            .state(act.untouched)
            .help(format!(
                "add `--confirm {name}`, or run it at a terminal and type `{name}`"
            )),
    ]
}

/// Who is to be asked for the environment's name; nobody where it was given on the command line.
///
/// # Errors
/// Where another name was given, or none and nobody could be asked.
fn given_or_asked<'c>(
    name: &EnvName,
    given: Option<&EnvName>,
    act: &Act<'_>,
    context: &'c Context,
) -> Result<Option<&'c Arc<dyn Prompt>>, Failure> {
    match (given, &context.prompt) {
        (Some(given), _) if given == name => Ok(None),
        (Some(given), _) => Err(refusal(
            name,
            act,
            format!("`--confirm {given}` does not confirm `{name}`"),
        )),
        (None, None) => Err(refusal(name, act, format!("nobody confirmed the environment `{name}`"))),
        (None, Some(prompt)) => Ok(Some(prompt)),
    }
}

/// Refuses at once a run that would be refused when it comes to ask for the environment's name: nothing is read for it, and no
/// service stopped.
pub(super) fn unconfirmable(plan: &Plan, options: &Options, context: &Context) -> Result<(), Failure> {
    let asks = |step: &Step| match step {
        Step::Confirm(confirm) => confirm.by == By::Operator,
        Step::Swap(_) => options.to.is_none(),
        _ => false,
    };
    let mut steps = plan.steps().iter().filter(|planned| planned.enabled);
    if !plan.environment().protected || !steps.any(|planned| asks(&planned.step)) {
        return Ok(());
    }
    given_or_asked(plan.environment_name(), options.confirm.as_ref(), &REPLACE, context).map(drop)
}

impl Runner<'_> {
    /// Asks the operator for the environment's name where it is protected. Asks once a run.
    pub(super) async fn confirm_operator(&mut self) -> Result<String, Failure> {
        if self.confirmed == Confirmation::Given {
            return Ok("confirmed before".into());
        }
        let (scope, given) = (Scope::of(self.plan), self.options.confirm.as_ref());
        let does = match &self.from {
            Some(from) => format!("replaces, with data of `{}`, what is in", from.name),
            None => REPLACE.does.to_owned(),
        };
        // What speaks against it is to be known now, and not from the report when all is done.
        let before: String = self
            .warnings
            .iter()
            .flat_map(|warning| ["warning[", warning.code.as_str(), "]: ", &warning.what, "\n"])
            .collect();
        let act = Act {
            does: &does,
            before: &self.context.scrubber.scrub(&before),
            ..REPLACE
        };
        match confirm(scope, given, &act, self.context).await? {
            Asked::NotProtected => Ok("not protected: nothing to ask".into()),
            Asked::Confirmed => {
                self.confirmed = Confirmation::Given;
                self.evidence.confirmed()?;
                Ok(format!("`{}` confirmed", scope.name))
            }
        }
    }
}
