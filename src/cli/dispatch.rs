//! One row a verb: hands each request to its command.

use crate::commands::{self, Session};
use crate::outcome::Outcome;

use super::request::Request;

/// Does what was asked for.
pub(super) async fn dispatch(request: Request, session: &Session) -> Outcome {
    match request {
        Request::Run(request) => commands::run::run(request, session).await,
        Request::Rollback(request) => commands::rollback::run(request, session).await,
        Request::Validate(request) => commands::validate::run(request, session),
        Request::Explain(request) => commands::explain::run(request, session),
        Request::Schema(request) => commands::schema::run(request, session),
        Request::List(request) => commands::list::run(request, session).await,
        Request::Show(request) => commands::show::run(request, session).await,
        Request::Verify(request) => commands::verify::run(request, session).await,
        Request::Retention(request) => commands::retention::run(request, session).await,
        Request::Forget(request) => commands::forget::run(request, session).await,
        Request::Sweep(request) => commands::sweep::run(request, session).await,
        Request::Journal(request) => commands::journal::run(request, session).await,
        Request::Keys(request) => commands::keys::run(request, session).await,
        Request::ExplainError(request) => commands::explain_error::run(request, session),
        Request::Completions(shell) => super::generate::completions(shell),
        Request::Man(folder) => super::generate::man(folder.as_deref()),
        Request::Generate(compare) => super::generate::generate(&session.project, compare),
    }
}
