//! A backup that is read in parts: which one, from which target, opened how; and how such a reading ends.

use crate::archive::reading::path::{BackupPath, Meant, meant};
use crate::archive::reading::{Reading, ReadingError};
use crate::archive::repository::Backup;
use crate::archive::unpack::UnpackError;
use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::fs::entry::display_bytes;
use crate::outcome::Outcome;
use crate::source::SinkError;
use crate::target::Target;

use super::Session;
use super::backups::{self, Found};
use super::request::{ReadBy, ReadFrom};
use super::results::Closed;

/// What was true of the data while something was only read.
pub(super) const STATE: &str = "nothing was changed";

/// A backup that can be read in parts.
pub(super) struct Opened {
    pub(super) reading: Reading,
    /// What was wrong on the way.
    pub(super) warnings: Vec<Diagnostic>,
    /// What else to do where this copy of the backup is damaged.
    pub(super) instead: Option<String>,
}

/// Finds a backup and opens it in the first target whose copy is signed as the environment asks.
pub(super) async fn open(session: &Session, from: &ReadFrom) -> Result<Opened, Vec<Diagnostic>> {
    let found = backups::open(session, &from.environment, &from.how.targets).await?;
    let (backup, mut warnings) = found.choose(&from.backup, from.how.pipeline.as_ref()).await?;
    let (target, accepted) = accepted(&found, &backup, &from.how).await?;
    warnings.extend(accepted);
    let opening = found.opening(&backup, from.how.identity.as_deref()).await;
    let opening = opening.map_err(|problem| vec![problem.state(STATE)])?;
    let handle = tokio::runtime::Handle::current();
    let reading = Reading::new(&target, &backup.record, &opening, &found.context.events, handle);
    let reading = reading.map_err(|error| vec![Diagnostic::of(&error).state(STATE)])?;
    let other = backup.targets.iter().find(|other| other.name() != target.name());
    Ok(Opened {
        reading,
        warnings,
        instead: other.map(|other| format!("target `{0}` has the backup too: add `--target {0}`", other.name())),
    })
}

/// The first target whose copy of a backup may be read, and what was wrong with those before it.
pub(super) async fn accepted(
    found: &Found,
    backup: &Backup,
    how: &ReadBy,
) -> Result<(Target, Vec<Diagnostic>), Vec<Diagnostic>> {
    let mut problems = Vec::new();
    for target in &backup.targets {
        match found.check_signed(target, backup, how.trust_unsigned).await {
            Ok(accepted) => {
                for problem in &mut problems {
                    let problem: &mut Diagnostic = problem;
                    problem.severity = Severity::Warning;
                }
                problems.extend(accepted);
                return Ok((target.clone(), problems));
            }
            Err(problem) => problems.push(backup.record.of_copy(target.name(), problem).state(STATE)),
        }
    }
    Err(problems)
}

/// Finds what was typed in a backup; `None` for all of it.
pub(super) fn find(reading: &Reading, typed: Option<&[u8]>) -> Result<Option<BackupPath>, ReadingError> {
    let Some(typed) = typed else { return Ok(None) };
    let paths = match meant(reading.record(), typed) {
        Meant::Everything => return Ok(None),
        Meant::OneOf(paths) => paths,
    };
    for path in paths {
        if reading.entry(&path)?.is_some() {
            return Ok(Some(path));
        }
    }
    Err(ReadingError::Unknown {
        backup: reading.record().id.to_string(),
        path: display_bytes(typed),
    })
}

/// Why a reading ended before its end.
#[derive(Debug)]
pub(super) enum Ended {
    /// The backup cannot be read.
    Reading(ReadingError),
    /// Nobody takes more.
    Closed(Closed),
    /// Something else is wrong.
    Problem(Box<Diagnostic>),
}

impl From<ReadingError> for Ended {
    fn from(error: ReadingError) -> Self {
        Self::Reading(error)
    }
}

impl From<Closed> for Ended {
    fn from(closed: Closed) -> Self {
        Self::Closed(closed)
    }
}

impl Ended {
    /// What is told of it; nothing of a reader who has seen enough.
    fn told(self, instead: Option<&str>) -> Option<Diagnostic> {
        let mut problem = match self {
            Self::Closed(Closed::Enough) => return None,
            Self::Closed(Closed::Failed(problem)) | Self::Problem(problem) => *problem,
            Self::Reading(ReadingError::Unpack(UnpackError::Sink(SinkError::Failed(problem)))) => *problem,
            Self::Reading(error) => Diagnostic::of(&error),
        };
        if let (Code::Damaged | Code::TargetFailed, Some(instead)) = (problem.code, instead) {
            problem = problem.help(instead);
        }
        if problem.state.is_none() {
            problem = problem.state(STATE);
        }
        Some(problem)
    }
}

/// How the one who takes a result ended, as a sink tells it; `seen` is set where it was of its own will.
pub(super) fn sink_error(closed: Closed, seen: &std::sync::atomic::AtomicBool) -> SinkError {
    match closed {
        Closed::Enough => {
            seen.store(true, std::sync::atomic::Ordering::Relaxed);
            SinkError::Stopped
        }
        Closed::Failed(problem) => SinkError::Failed(problem),
    }
}

/// Reads on a blocking thread. What `work` fills in of the outcome stays, however it ends.
pub(super) async fn read(
    command: &'static str,
    warnings: Vec<Diagnostic>,
    instead: Option<String>,
    work: impl FnOnce(&mut Outcome) -> Result<(), Ended> + Send + 'static,
) -> Outcome {
    let work = move || {
        let mut outcome = Outcome::failed(command, "", warnings);
        if let Err(ended) = work(&mut outcome) {
            outcome.diagnostics.extend(ended.told(instead.as_deref()));
        }
        outcome
    };
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| {
        let problem = Diagnostic::of(&UnpackError::Died).state(STATE);
        Outcome::failed(command, "", vec![problem])
    })
}
