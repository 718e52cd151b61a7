//! What a protected environment asks for before anything is done, and the operator's word.

use crate::diagnostic::{Code, Diagnostic};
use crate::id::EnvName;
use crate::pipeline::Plan;
use crate::steps::Step;
use crate::steps::confirm::By;

use super::scope::Scope;
use super::{Confirmation, Context, Failure, Runner, UNTOUCHED, stopped};

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
        (Some(given), _) if given == name => {}
        (Some(given), _) => return Err(refused(format!("`--confirm {given}` does not confirm `{name}`"))),
        (None, None) => return Err(refused(format!("nobody confirmed the environment `{name}`"))),
        (None, Some(prompt)) => {
            let question = format!("This {} `{name}`. Type `{name}` to go on: ", act.does);
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
            .map(|warning| format!("warning[{}]: {}\n", warning.code.as_str(), warning.what))
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
