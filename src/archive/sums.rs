//! The list of digests beside a record, as `b3sum --check` reads it: what it says of the record itself.

use crate::crypto::Digest;
use crate::limits::RECORD_MAX;
use crate::target::{Target, TargetError};

use super::layout;
use super::record::Record;
use super::refs::Refs;
use super::repository::{self, RepositoryError};

/// The list of a backup whose record is stored as `bytes`: everything it needs and the record itself, a line each.
pub fn text(record: &Record, bytes: &[u8], refs: &Refs) -> String {
    let name = layout::record(&record.environment, &record.id);
    let own = (name, bytes.len() as u64, Some(Digest::of(bytes)));
    let mut text = String::new();
    for (name, _, digest) in repository::all_objects(record, refs).into_iter().chain([own]) {
        if let Some(digest) = digest {
            text.push_str(&format!("{digest}  {name}\n"));
        }
    }
    text
}

/// Checks that a record is the one that its list of digests was made for; `bytes` are the record as it is stored.
///
/// # Errors
/// When the list is missing, does not name the record, or names another one.
pub async fn check_record(target: &Target, record: &Record, bytes: &[u8]) -> Result<(), RepositoryError> {
    let damaged = |object: String, what| RepositoryError::Damaged {
        target: target.name().clone(),
        object,
        what,
    };
    let sums = layout::sums(&record.environment, &record.id);
    let text = match target.read(&sums, RECORD_MAX).await {
        Ok(text) => text,
        Err(TargetError::NotFound { .. }) => return Err(damaged(sums, "is missing")),
        Err(source) => {
            return Err(RepositoryError::Target {
                target: target.name().clone(),
                source,
            });
        }
    };
    let object = layout::record(&record.environment, &record.id);
    let line = format!("{}  {object}", Digest::of(bytes));
    let listed = |line: &str| text.split(|byte| *byte == b'\n').any(|found| found == line.as_bytes());
    if listed(&line) {
        return Ok(());
    }
    Err(damaged(
        object,
        "is not the record that its list of digests was made for",
    ))
}
