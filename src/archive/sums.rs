//! The list of digests beside a record, as `b3sum --check` reads it: of everything that the backup needs, and of the record itself.

use bytes::Bytes;

use crate::crypto::Digest;
use crate::limits::RECORD_MAX;
use crate::target::{Target, TargetError};

use super::layout;
use super::record::Record;
use super::refs::{self, Refs};
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
    let text = read(target, record).await?;
    let object = layout::record(&record.environment, &record.id);
    let line = format!("{}  {object}", Digest::of(bytes));
    let listed = |line: &str| text.split(|byte| *byte == b'\n').any(|found| found == line.as_bytes());
    if listed(&line) {
        return Ok(());
    }
    let what = "does not have the record as it is: one of the two was changed";
    Err(damaged(target, record, what))
}

/// Checks the whole list of a backup whose objects were found sound.
///
/// # Errors
/// When it is missing, or is not what belongs there.
pub async fn check(target: &Target, record: &Record, bytes: &[u8]) -> Result<(), RepositoryError> {
    let refs = refs::read(target, &record.refs).await;
    let refs = refs.map_err(|error| RepositoryError::of_refs(target, error))?;
    if read(target, record).await? == text(record, bytes, &refs).as_bytes() {
        return Ok(());
    }
    Err(damaged(target, record, "is not the list of what the backup needs"))
}

async fn read(target: &Target, record: &Record) -> Result<Bytes, RepositoryError> {
    let sums = layout::sums(&record.environment, &record.id);
    match target.read(&sums, RECORD_MAX).await {
        Ok(text) => Ok(text),
        Err(TargetError::NotFound { .. }) => Err(damaged(target, record, "is missing")),
        Err(source) => Err(RepositoryError::Target {
            target: target.name().clone(),
            source,
        }),
    }
}

fn damaged(target: &Target, record: &Record, what: &'static str) -> RepositoryError {
    RepositoryError::Damaged {
        target: target.name().clone(),
        object: layout::sums(&record.environment, &record.id),
        what,
    }
}
