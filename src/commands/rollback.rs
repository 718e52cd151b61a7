//! `rollback`: puts back what a swap has replaced, lists what could be put back, or removes it.

use crate::outcome::Outcome;
use crate::pipeline::run::rollback::rollback;

use super::Session;
use super::request::RollbackRequest;

/// Does what is asked for.
pub async fn run(request: RollbackRequest, session: &Session) -> Outcome {
    match session.context() {
        Ok(context) => rollback(&session.project, &request.environment, &request.rollback, &context).await,
        Err(problem) => Outcome::failed("rollback", "", vec![*problem]),
    }
}
