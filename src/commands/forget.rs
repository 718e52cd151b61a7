//! `forget`: lets single backups go.

use crate::outcome::Outcome;
use crate::pipeline::run::upkeep::{self, Forget, Newest, Objects};

use super::request::{ForgetRequest, Mode};
use super::{Session, keeping};

/// Removes the backups, or says what would be removed.
pub async fn run(request: ForgetRequest, session: &Session) -> Outcome {
    let objects = match (request.mode, request.purge) {
        (Mode::Plan | Mode::PlanOffline, _) => Objects::Told,
        (Mode::Run, true) => Objects::Purged,
        (Mode::Run, false) => Objects::Listed,
    };
    let newest = if request.even_newest {
        Newest::MayGo
    } else {
        Newest::Stays
    };
    let forget = Forget {
        backups: request.backups.clone(),
        pipeline: request.pipeline.clone(),
        newest,
        objects,
    };
    match keeping::open(session, &request.environment, request.options()) {
        Ok(kept) => upkeep::forget(&kept.upkeep(), &forget).await,
        Err(failure) => Outcome::failed("forget", "", failure),
    }
}
