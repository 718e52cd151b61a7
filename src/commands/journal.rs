//! `journal`: verifies the journal of an environment, or shows its records.

use crate::outcome::Outcome;

use super::Session;
use super::request::JournalRequest;

/// Verifies or shows.
pub async fn run(_: JournalRequest, _: &Session) -> Outcome {
    Outcome::new("journal", "")
}
