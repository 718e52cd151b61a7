//! Which part of a backup `verify --sample` checks next. Parts follow one another, and a part that was not found sound stays the next
//! one, so that as many runs as there are parts have checked everything.
//!
//! What was checked is remembered in the state folder, for each target, line, level and number of parts by itself, so that no two
//! schedules step over each other's parts. Without it the first part is the next one: that costs time and nothing else.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::archive::reading::sample::Part;
use crate::archive::record::Record;
use crate::diagnostic::{Code, Diagnostic};
use crate::fs::atomic;
use crate::id::TargetName;
use crate::limits::SAMPLES_MAX;
use crate::steps::verify::Level;

/// The file, in the state folder.
const FILE: &str = "samples.json";

/// Which part's turn it is, of each thing that is sampled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Turns(BTreeMap<String, u64>);

impl Turns {
    /// Reads what [`Self::to_bytes`] wrote; `None` for anything else.
    pub fn parse(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok().map(Self)
    }

    /// As the file holds it.
    pub fn to_bytes(&self) -> Vec<u8> {
        // A map of texts to numbers. Writing it to memory cannot fail.
        serde_json::to_vec(&self.0).unwrap_or_default()
    }

    /// The things that are sampled, in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The part whose turn it is.
    pub fn next(&self, key: &str, parts: u32) -> Part {
        Part::new(self.0.get(key).copied().unwrap_or(0), parts)
    }

    /// The part that was the next one is sound: it is the turn of the one behind it.
    pub fn passed(&mut self, key: &str, parts: u32) {
        // A part counts from 1, so that its number is the turn behind its own.
        let turn = self.next(key, parts).number() % parts.max(1);
        self.0.insert(key.to_owned(), turn.into());
    }
}

/// What was verified of each thing that is sampled, and the file that holds it.
pub(super) struct Samples {
    path: PathBuf,
    turns: Turns,
}

impl Samples {
    /// Reads what the state folder has; nothing where it has none, or not what this program writes.
    pub(super) fn open(state: &Path) -> Self {
        let path = state.join(FILE);
        let turns = read(&path).ok().and_then(|text| Turns::parse(&text));
        Self {
            path,
            turns: turns.unwrap_or_default(),
        }
    }

    /// The part whose turn it is.
    pub(super) fn next(&self, key: &str, parts: u32) -> Part {
        self.turns.next(key, parts)
    }

    /// The part that was the next one is sound.
    ///
    /// # Errors
    /// When that cannot be kept: the next run then checks the same part.
    pub(super) fn passed(&mut self, key: &str, parts: u32) -> Result<(), Diagnostic> {
        self.turns.passed(key, parts);
        atomic::write(&self.path, 0o600, &self.turns.to_bytes()).map_err(|error| {
            Diagnostic::warning(
                Code::StateFailed.unless_full(&error),
                format!("`{FILE}` in the state folder cannot be written"),
            )
            .why(error.to_string())
            .state("the part is sound; the next run checks the same one again")
        })
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(SAMPLES_MAX).read_to_end(&mut text)?;
    Ok(text)
}

/// What the parts of a backup are counted under.
pub(super) fn key(target: &TargetName, record: &Record, level: Level, parts: u32) -> String {
    let level = match level {
        Level::Objects => "objects",
        Level::Content => "content",
    };
    format!("{target} {} {} {level} {parts}", record.pipeline, record.instance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_follow_one_another_over_runs_and_a_lost_file_begins_again() {
        let folder = tempfile::tempdir().unwrap();
        for number in [1, 2, 3, 1, 2] {
            let mut samples = Samples::open(folder.path());
            assert_eq!(samples.next("a", 3).number(), number);
            samples.passed("a", 3).unwrap();
        }
        assert_eq!(
            Samples::open(folder.path()).next("b", 3).number(),
            1,
            "another has its own"
        );
        std::fs::write(folder.path().join(FILE), "{").unwrap();
        assert_eq!(Samples::open(folder.path()).next("a", 3).number(), 1);
    }

    #[test]
    fn a_part_that_did_not_pass_is_the_next_one_again() {
        let folder = tempfile::tempdir().unwrap();
        let samples = Samples::open(folder.path());
        assert_eq!(samples.next("a", 20), samples.next("a", 20));
        let mut samples = Samples::open(&folder.path().join("gone"));
        assert_eq!(samples.passed("a", 20).unwrap_err().code, Code::StateFailed);
    }
}
