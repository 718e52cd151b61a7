//! What a protected environment asks for before anything is done, and the operator's word.

use crate::diagnostic::{Code, Diagnostic};
use crate::id::EnvName;
use crate::pipeline::Plan;

use super::whose::Whose;
use super::{Confirmation, Context, Failure, Runner, stopped};

/// Checks before the first step.
pub(super) fn before(plan: &Plan, context: &Context) -> Result<(), Failure> {
    debug(&Whose::of(plan), context)
}

/// Refuses debug logging in a protected environment.
pub(super) fn debug(whose: &Whose<'_>, context: &Context) -> Result<(), Failure> {
    if whose.environment.protected && context.debug_requested {
        let name = whose.name;
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
pub(super) struct Act {
    /// What it does, as the question has it: "replaces data of".
    pub(super) does: &'static str,
    /// The same as a noun: "replacing its data".
    pub(super) doing: &'static str,
    /// What is true while nobody has confirmed.
    pub(super) untouched: &'static str,
}

/// What a restore asks for.
const RESTORE: Act = Act {
    does: "replaces data of",
    doing: "replacing its data",
    untouched: "nothing present was touched",
};

/// Has the operator name a protected environment, on the command line or at the terminal.
pub(super) async fn confirm(
    name: &EnvName,
    given: Option<&EnvName>,
    act: &Act,
    context: &Context,
) -> Result<(), Failure> {
    let refused = |what: String| {
        vec![
            Diagnostic::error(Code::Unconfirmed, what)
                .why(format!("`{name}` is protected: {} needs its name typed", act.doing))
                .state(act.untouched)
                .help(format!(
                    "add `--confirm {name}`, or run it at a terminal and type `{name}`"
                )),
        ]
    };
    match (given, &context.prompt) {
        (Some(given), _) if given == name => Ok(()),
        (Some(given), _) => Err(refused(format!("`--confirm {given}` does not confirm `{name}`"))),
        (None, None) => Err(refused(format!("nobody confirmed the environment `{name}`"))),
        (None, Some(prompt)) => {
            let question = format!("This {} `{name}`. Type `{name}` to go on: ", act.does);
            let answer = tokio::select! {
                answer = prompt.ask(&question) => answer,
                () = context.stop.token().cancelled() => {
                    return Err(vec![stopped(context, act.untouched)]);
                }
            };
            match answer {
                Ok(answer) if answer == name.as_str() => Ok(()),
                Ok(_) => Err(refused(format!("what was typed is not `{name}`"))),
                Err(error) => Err(refused(format!("nobody could be asked: {error}"))),
            }
        }
    }
}

impl Runner<'_> {
    /// Asks the operator for the environment's name where it is protected. Asks once a run.
    pub(super) async fn confirm_operator(&mut self) -> Result<String, Failure> {
        if !self.plan.environment().protected {
            return Ok("not protected: nothing to ask".into());
        }
        if self.confirmed == Confirmation::Given {
            return Ok("confirmed before".into());
        }
        let name = self.plan.environment_name().clone();
        confirm(&name, self.options.confirm.as_ref(), &RESTORE, self.context).await?;
        self.confirmed = Confirmation::Given;
        self.evidence.confirmed()?;
        Ok(format!("`{name}` confirmed"))
    }
}
