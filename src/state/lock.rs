//! One run of a pipeline at a time: a lock on `<pipeline>.lock` that the operating system gives up when its holder dies.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::{StateError, StateFolder};
use crate::id::{PipelineName, RunId};

/// Time between two tries for a lock that is held.
const POLL: Duration = Duration::from_millis(100);
/// Bytes of a lock file that are read: the holder's line is shorter.
const HOLDER_MAX: u64 = 4096;

/// Who holds a lock, as far as the lock file says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Process id.
    pub pid: Option<u32>,
    /// Run id.
    pub run: Option<RunId>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.run, self.pid) {
            (Some(run), Some(pid)) => write!(f, "run {run} (process {pid})"),
            (Some(run), None) => write!(f, "run {run}"),
            (None, Some(pid)) => write!(f, "process {pid}"),
            (None, None) => f.write_str("another run"),
        }
    }
}

/// The lock of a pipeline. Given up when dropped.
#[derive(Debug)]
pub struct Lock {
    file: File,
    before: Before,
}

/// How the holder before this one ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// It gave the lock up itself, or there was none.
    Ended,
    /// It died, and the operating system gave the lock up.
    Died,
}

/// The end of a lock's file name.
const SUFFIX: &str = ".lock";
/// A lock in the same folder that is no pipeline's: the journal's own, held for one record at a time.
const JOURNAL: &str = "journal";

impl StateFolder {
    /// The pipelines whose lock was ever taken here, sorted.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn locked_once(&self) -> Result<Vec<PipelineName>, StateError> {
        let entries = rustix::fs::Dir::read_from(self.descriptor());
        let entries = entries.map_err(|error| StateError::io(self.path())(error.into()))?;
        let mut pipelines = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| StateError::io(self.path())(error.into()))?;
            let name = entry.file_name().to_str().ok();
            let stem = name
                .and_then(|name| name.strip_suffix(SUFFIX))
                .filter(|stem| *stem != JOURNAL);
            pipelines.extend(stem.and_then(|stem| stem.parse::<PipelineName>().ok()));
        }
        pipelines.sort_unstable();
        Ok(pipelines)
    }

    /// Takes the lock of `pipeline`. Where it is held: fails at once, or tries again until `wait` has passed.
    ///
    /// Blocks the thread while it waits.
    ///
    /// # Errors
    /// [`StateError::Held`] with the holder.
    pub fn lock(&self, pipeline: &PipelineName, wait: Option<Duration>) -> Result<Lock, StateError> {
        let name = format!("{pipeline}{SUFFIX}");
        let path = self.path().join(&name);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(self.descriptor(), &name, flags, Mode::from_raw_mode(0o600));
        let mut file = File::from(file.map_err(|error| StateError::io(&path)(error.into()))?);
        let begin = Instant::now();
        loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) => {
                    let left = wait.unwrap_or_default().saturating_sub(begin.elapsed());
                    if left.is_zero() {
                        return Err(StateError::Held {
                            pipeline: pipeline.to_string(),
                            holder: read_holder(&mut file),
                        });
                    }
                    std::thread::sleep(left.min(POLL));
                }
                Err(error) => return Err(StateError::io(&path)(error.into())),
            }
        }
        // Whoever gives it up himself leaves nothing in the file.
        let before = match read_holder(&mut file) {
            Holder { pid: None, run: None } => Before::Ended,
            _ => Before::Died,
        };
        let mut lock = Lock { file, before };
        // Whoever says for which run it is held is told where that cannot be written; it is held all the same.
        let _ = lock.write_holder(&Holder {
            pid: Some(std::process::id()),
            run: None,
        });
        Ok(lock)
    }
}

impl Lock {
    /// How the holder before this one ended.
    pub const fn before(&self) -> Before {
        self.before
    }

    /// Writes into the lock file which run holds it, for those who find it held.
    ///
    /// # Errors
    /// When the file cannot be written. The lock is held all the same.
    pub fn hold_as(&mut self, run: RunId) -> Result<(), StateError> {
        let holder = Holder {
            pid: Some(std::process::id()),
            run: Some(run),
        };
        self.write_holder(&holder)
            .map_err(StateError::io(std::path::Path::new("lock")))
    }

    fn write_holder(&mut self, holder: &Holder) -> io::Result<()> {
        let mut line = serde_json::to_vec(holder)?;
        line.push(b'\n');
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(&line)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The lock itself goes with the descriptor; the text is a courtesy.
        let _ = self.file.set_len(0);
    }
}

/// Who holds the lock; a file that does not say is no error, for the lock is what counts.
fn read_holder(file: &mut File) -> Holder {
    let mut text = Vec::new();
    let read = file
        .rewind()
        .and_then(|()| file.take(HOLDER_MAX).read_to_end(&mut text));
    read.ok()
        .and_then(|_| serde_json::from_slice(&text).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Diagnose;
    use crate::diagnostic::ExitCode;

    fn pipeline(name: &str) -> PipelineName {
        name.parse().unwrap()
    }

    #[test]
    fn a_held_lock_names_its_holder_and_ends_with_11() {
        let above = tempfile::tempdir().unwrap();
        let state = StateFolder::open(&above.path().join("dev")).unwrap();
        let run = RunId::new(1, [7; 10]);
        let mut lock = state.lock(&pipeline("backup"), None).unwrap();
        lock.hold_as(run).unwrap();
        let error = state.lock(&pipeline("backup"), None).unwrap_err();
        let expected = Holder {
            pid: Some(std::process::id()),
            run: Some(run),
        };
        assert!(
            matches!(&error, StateError::Held { holder, .. } if *holder == expected),
            "{error:?}"
        );
        assert_eq!(error.code().exit(), ExitCode::Held);
        assert!(error.to_string().contains(&run.to_string()), "{error}");
    }

    #[test]
    fn pipelines_do_not_hold_each_other_and_a_dropped_lock_is_free() {
        let above = tempfile::tempdir().unwrap();
        let state = StateFolder::open(&above.path().join("dev")).unwrap();
        let lock = state.lock(&pipeline("backup"), None).unwrap();
        state.lock(&pipeline("restore"), None).unwrap();
        drop(lock);
        state.lock(&pipeline("backup"), None).unwrap();
    }

    #[test]
    fn a_holder_that_died_is_told_from_one_that_ended() {
        let above = tempfile::tempdir().unwrap();
        let state = StateFolder::open(&above.path().join("dev")).unwrap();
        let before = || state.lock(&pipeline("backup"), None).unwrap().before();
        assert_eq!((before(), before()), (Before::Ended, Before::Ended));
        std::fs::write(state.path().join("backup.lock"), b"{\"pid\":7,\"run\":null}\n").unwrap();
        assert_eq!((before(), before()), (Before::Died, Before::Ended));
    }

    #[test]
    fn waiting_takes_the_lock_as_soon_as_it_is_free() {
        let above = tempfile::tempdir().unwrap();
        let state = StateFolder::open(&above.path().join("dev")).unwrap();
        let lock = state.lock(&pipeline("backup"), None).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                state
                    .lock(&pipeline("backup"), Some(Duration::from_mins(10)))
                    .map(|_| ())
            });
            std::thread::sleep(Duration::from_millis(50));
            drop(lock);
            waiting.join().unwrap().unwrap();
        });
    }

    #[test]
    fn a_lock_whose_file_says_nothing_is_held_all_the_same() {
        let above = tempfile::tempdir().unwrap();
        let state = StateFolder::open(&above.path().join("dev")).unwrap();
        let _lock = state.lock(&pipeline("backup"), None).unwrap();
        std::fs::write(state.path().join("backup.lock"), b"\xff garbage").unwrap();
        let error = state
            .lock(&pipeline("backup"), Some(Duration::from_millis(1)))
            .unwrap_err();
        assert!(matches!(error, StateError::Held { holder, .. } if holder == Holder::default()));
    }
}
