//! One row a verb: hands each request to its command.

use crate::commands::Session;
use crate::diagnostic::{Code, Diagnostic};
use crate::outcome::Outcome;

use super::request::Request;

/// Does what was asked for.
pub(super) async fn dispatch(request: Request, session: &Session) -> Outcome {
    let _ = session;
    match request {
        // commands::run::run(request, session).await
        Request::Run(request) => absent(request.command),
        // commands::validate::run(request, session).await
        Request::Validate(_) => absent("validate"),
        // commands::explain::run(request, session).await
        Request::Explain(_) => absent("explain"),
        // commands::schema::run(request, session).await
        Request::Schema(_) => absent("schema"),
        // commands::list::run(request, session).await
        Request::List(_) => absent("list"),
        // commands::show::run(request, session).await
        Request::Show(_) => absent("show"),
        // commands::verify::run(request, session).await
        Request::Verify(_) => absent("verify"),
        // commands::journal::run(request, session).await
        Request::Journal(_) => absent("journal"),
        // commands::explain_error::run(request, session).await
        Request::ExplainError(_) => absent("explain-error"),
        Request::Completions(shell) => super::generate::completions(shell),
        Request::Man(folder) => super::generate::man(folder.as_deref()),
        Request::Generate(compare) => super::generate::generate(&session.project, compare),
    }
}

fn absent(command: &str) -> Outcome {
    let problem = Diagnostic::error(Code::Internal, format!("`{command}` is not wired yet"));
    Outcome::failed(command, "", vec![problem])
}
