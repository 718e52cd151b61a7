//! Notes of uploads under way, kept in the state folder, so that what a killed run left unfinished in a store is found.
//!
//! Each run has a file of its own, locked while it lives. A line is written and synced before an upload is begun; a file
//! whose lock is free was left by a dead run, and every object in it that has no second line was under way when it died.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::limits;
use crate::poison;

const PREFIX: &str = "run-";

/// One line.
#[derive(Serialize, Deserialize)]
struct Line {
    /// The target's URL.
    url: String,
    object: String,
    what: What,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum What {
    Begun,
    Ended,
}

/// The notes of this run. Removed when dropped, where every upload came to its end.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    open: Mutex<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    under_way: UnderWay,
}

/// Uploads that were begun and did not end: the target's URL and the object of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnderWay(BTreeSet<(String, String)>);

impl UnderWay {
    /// What was begun and not ended. A line that is no line was being written when its run died: nothing had begun by then.
    pub fn parse(text: &[u8]) -> Self {
        let mut found = Self::default();
        for line in String::from_utf8_lossy(text).lines() {
            if let Ok(Line { url, object, what }) = serde_json::from_str(line) {
                found.note((url, object), what);
            }
        }
        found
    }

    /// A line for each.
    ///
    /// # Errors
    /// When one cannot be written as text.
    pub fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        for (url, object) in &self.0 {
            let line = Line {
                url: url.clone(),
                object: object.clone(),
                what: What::Begun,
            };
            text.extend(line.to_bytes()?);
        }
        Ok(text)
    }

    /// The URL of the target and the object of each, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(url, object)| (url.as_str(), object.as_str()))
    }

    fn note(&mut self, upload: (String, String), what: What) {
        match what {
            What::Begun => self.0.insert(upload),
            What::Ended => self.0.remove(&upload),
        };
    }
}

impl Line {
    fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let mut text = serde_json::to_vec(self).map_err(io::Error::other)?;
        text.push(b'\n');
        Ok(text)
    }
}

/// What one dead run left. Held so that no other run clears the same; forgotten by [`Left::forget`].
#[derive(Debug)]
pub struct Left {
    path: PathBuf,
    /// Holds the lock.
    _file: File,
    under_way: UnderWay,
}

impl Ledger {
    /// Begins a ledger in `folder` (made where missing), and gives what dead runs left there.
    ///
    /// # Errors
    /// When the folder cannot be read or written.
    pub fn begin(folder: &Path) -> io::Result<(Self, Vec<Left>)> {
        match std::fs::DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        // Held while files come and go, so that nobody takes one made a moment ago for a dead run's.
        let all = File::open(folder)?;
        rustix::io::retry_on_intr(|| rustix::fs::flock(&all, FlockOperation::LockExclusive))?;
        let left = left_by_the_dead(folder)?;
        let mut random = [0_u8; 8];
        getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
        let path = folder.join(format!("{PREFIX}{}.jsonl", hex::encode(random)));
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        all.sync_all()?;
        let open = Open {
            file,
            under_way: UnderWay::default(),
        };
        let ledger = Self {
            path,
            open: Mutex::new(open),
        };
        Ok((ledger, left))
    }

    /// Notes that an upload of `object` is about to begin. When this returns, the note outlives this process.
    pub(super) fn begun(&self, url: &str, object: &str) -> io::Result<()> {
        self.note(url, object, What::Begun)
    }

    /// Notes that nothing of an upload is left.
    pub(super) fn ended(&self, url: &str, object: &str) -> io::Result<()> {
        self.note(url, object, What::Ended)
    }

    fn note(&self, url: &str, object: &str, what: What) -> io::Result<()> {
        let line = Line {
            url: url.to_owned(),
            object: object.to_owned(),
            what,
        };
        let text = line.to_bytes()?;
        let mut open = poison::lock(&self.open);
        open.file.write_all(&text)?;
        open.under_way.note((line.url, line.object), what);
        match what {
            What::Begun => open.file.sync_data(),
            What::Ended => Ok(()),
        }
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        let open = self.open.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        if open.under_way.0.is_empty() {
            // Nobody is left to be told; a file that stays says nothing that is not so.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Left {
    /// The objects of the target at `url` whose upload was under way.
    pub fn of(&self, url: &str) -> Vec<String> {
        let own = self.under_way.iter().filter(|(known, _)| *known == url);
        own.map(|(_, object)| object.to_owned()).collect()
    }

    /// Forgets what was under way in the target at `url`: nothing of it is left there. The file goes with its last note.
    ///
    /// # Errors
    /// When the file cannot be removed or written; then everything in it is looked for once more by the next run.
    pub fn forget(&mut self, url: &str) -> io::Result<()> {
        self.under_way.0.retain(|(known, _)| known != url);
        if self.under_way.0.is_empty() {
            return std::fs::remove_file(&self.path);
        }
        crate::fs::atomic::write(&self.path, 0o600, &self.under_way.to_bytes()?)
    }
}

/// The files whose lock is free. One without anything under way is removed.
fn left_by_the_dead(folder: &Path) -> io::Result<Vec<Left>> {
    let mut left = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if !name.starts_with(PREFIX) {
            continue;
        }
        let file = File::open(&path)?;
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        let mut text = Vec::new();
        (&file).take(limits::LEDGER_MAX).read_to_end(&mut text)?;
        let under_way = UnderWay::parse(&text);
        if under_way.0.is_empty() {
            std::fs::remove_file(&path)?;
        } else {
            left.push(Left {
                path,
                _file: file,
                under_way,
            });
        }
    }
    left.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "s3://bucket/live";

    fn files(folder: &Path) -> usize {
        std::fs::read_dir(folder).unwrap().count()
    }

    /// A ledger as a killed run leaves it: the lock is gone, nothing else is.
    fn killed(ledger: Ledger) {
        let copy = ledger.path.with_extension("copy");
        std::fs::copy(&ledger.path, &copy).unwrap();
        let path = ledger.path.clone();
        drop(ledger);
        std::fs::rename(copy, path).unwrap();
    }

    #[test]
    fn what_a_killed_run_had_under_way_is_found_by_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("uploads");
        let (ledger, left) = Ledger::begin(&folder).unwrap();
        assert!(left.is_empty());
        for object in ["a", "b", "c"] {
            ledger.begun(URL, object).unwrap();
        }
        ledger.begun("s3://other", "d").unwrap();
        ledger.ended(URL, "b").unwrap();
        killed(ledger);
        let (_own, mut left) = Ledger::begin(&folder).unwrap();
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].of(URL), ["a", "c"]);
        assert_eq!(left[0].of("s3://none"), Vec::<String>::new());
        left[0].forget(URL).unwrap();
        assert_eq!(left[0].of("s3://other"), ["d"]);
        left[0].forget("s3://other").unwrap();
        drop(left);
        let (_other, left) = Ledger::begin(&folder).unwrap();
        assert!(left.is_empty(), "{left:?}");
    }

    #[test]
    fn a_run_that_lives_is_left_alone_and_one_that_ended_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (first, _) = Ledger::begin(folder.path()).unwrap();
        first.begun(URL, "a").unwrap();
        let (second, left) = Ledger::begin(folder.path()).unwrap();
        assert!(left.is_empty());
        first.ended(URL, "a").unwrap();
        drop((first, second));
        assert_eq!(files(folder.path()), 0);
    }

    #[test]
    fn a_line_cut_by_a_crash_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let (ledger, _) = Ledger::begin(folder.path()).unwrap();
        ledger.begun(URL, "a").unwrap();
        ledger.open.lock().unwrap().file.write_all(b"{\"url\":\"s3").unwrap();
        killed(ledger);
        let (_own, left) = Ledger::begin(folder.path()).unwrap();
        assert_eq!(left[0].of(URL), ["a"]);
    }
}
