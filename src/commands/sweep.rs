//! `sweep`: deletes what no backup needs.

use crate::outcome::Outcome;
use crate::pipeline::run::upkeep::{self, Sweep};

use super::request::{Mode, SweepRequest};
use super::{Session, keeping};

/// Sweeps the environment's targets, or says what a sweep would do.
pub async fn run(request: SweepRequest, session: &Session) -> Outcome {
    let mode = match request.mode {
        Mode::Run => Sweep::Do,
        Mode::Plan | Mode::PlanOffline => Sweep::Say,
    };
    match keeping::open(session, &request.environment, request.options()) {
        Ok(kept) => upkeep::sweep(&kept.upkeep(), mode).await,
        Err(failure) => Outcome::failed("sweep", "", failure),
    }
}
