//! What a protected environment asks for before anything is done, and the operator's word.

use crate::diagnostic::{Code, Diagnostic};
use crate::pipeline::Plan;

use super::{Confirmation, Context, Failure, Runner};

/// Checks before the first step.
pub(super) fn before(plan: &Plan, context: &Context) -> Result<(), Failure> {
    if plan.environment().protected && context.debug_requested {
        let name = plan.environment_name();
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
        let refused = |what: String| {
            vec![
                Diagnostic::error(Code::Unconfirmed, what)
                    .why(format!(
                        "`{name}` is protected: replacing its data needs its name typed"
                    ))
                    .state("nothing present was touched")
                    .help(format!(
                        "add `--confirm {name}`, or run it at a terminal and type `{name}`"
                    )),
            ]
        };
        match (&self.options.confirm, &self.context.prompt) {
            (Some(given), _) if *given == name => {}
            (Some(given), _) => return Err(refused(format!("`--confirm {given}` does not confirm `{name}`"))),
            (None, None) => return Err(refused(format!("nobody confirmed the environment `{name}`"))),
            (None, Some(prompt)) => {
                let question = format!("This replaces data of `{name}`. Type `{name}` to go on: ");
                let answer = tokio::select! {
                    answer = prompt.ask(&question) => answer,
                    () = self.context.stop.token().cancelled() => {
                        return Err(vec![self.stopped("nothing present was touched")]);
                    }
                };
                match answer {
                    Ok(answer) if answer == name.as_str() => {}
                    Ok(_) => return Err(refused(format!("what was typed is not `{name}`"))),
                    Err(error) => return Err(refused(format!("nobody could be asked: {error}"))),
                }
            }
        }
        self.confirmed = Confirmation::Given;
        self.evidence.confirmed()?;
        Ok(format!("`{name}` confirmed"))
    }
}
