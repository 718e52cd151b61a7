//! One past head that a log under way is held against: where its rows stand, and whether it holds.

use super::Rotate;
use super::proof::{Breach, BreachKind};
use crate::crypto::Digest;
use crate::fs::entry::TreePath;
use crate::source::log_head::{LogFile, LogHead, Removed};

/// One past head.
#[derive(Debug)]
pub(super) struct Claim<'a> {
    pub(super) head: &'a LogHead,
    pub(super) course: Course,
    /// The first row whose name was not come by.
    next_name: usize,
    gone: Option<TreePath>,
    pub(super) standing: Standing,
}

/// How the rows of a head are compared.
#[derive(Debug)]
pub(super) enum Course {
    /// No file was read yet.
    Open,
    /// The log begins as it did. `row` is the next one, and begins at `start`.
    Whole { row: usize, start: u64 },
    /// Rotation removed what stands before `first`; the file under way is `row`.
    ByFile { first: usize, row: usize },
    /// Rotation removed everything.
    Nothing,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Undecided,
    Holds,
    Broken(Breach),
}

impl<'a> Claim<'a> {
    pub(super) fn new(head: &'a LogHead) -> Self {
        Self {
            head,
            course: Course::Open,
            next_name: 0,
            gone: None,
            // Every log continues an empty one.
            standing: if head.length == 0 {
                Standing::Holds
            } else {
                Standing::Undecided
            },
        }
    }

    pub(super) fn begin(&mut self, path: &TreePath, rotate: Rotate) {
        if let Course::Open = self.course {
            self.course = self.course_of(path, rotate);
        }
        match self.course {
            Course::Whole { .. } => self.come_by(path),
            Course::ByFile { row, .. } => match self.head.files.get(row) {
                Some(expected) if expected.path == *path => {
                    if expected.length == 0 && self.is_last(row) {
                        self.standing = Standing::Holds;
                    }
                }
                Some(expected) if expected.path < *path => {
                    let gone = BreachKind::Gone(expected.path.clone());
                    self.break_at(Some(path), gone);
                }
                _ => self.break_at(Some(path), BreachKind::Differs),
            },
            Course::Nothing => self.standing = Standing::Holds,
            Course::Open => {}
        }
    }

    /// Decides by the name of the log's first file what rotation removed.
    fn course_of(&self, path: &TreePath, rotate: Rotate) -> Course {
        let whole = Course::Whole {
            row: 0,
            start: self.head.earlier.length,
        };
        if rotate == Rotate::Never {
            return whole;
        }
        match self.head.files.iter().position(|file| file.path == *path) {
            Some(0) if self.head.earlier.files == 0 => whole,
            Some(first) => Course::ByFile { first, row: first },
            None if self.head.files.last().is_some_and(|last| last.path < *path) => Course::Nothing,
            None => whole,
        }
    }

    /// Notes which files of the head are not there any more.
    fn come_by(&mut self, path: &TreePath) {
        while let Some(file) = self.head.files.get(self.next_name).filter(|file| file.path <= *path) {
            if file.path != *path && file.length > 0 {
                self.gone.get_or_insert_with(|| file.path.clone());
            }
            self.next_name += 1;
        }
    }

    /// After the last file: which file of the head was not come by.
    pub(super) fn name_rest(&mut self) {
        let from = match self.course {
            Course::ByFile { row, .. } => row,
            Course::Whole { .. } | Course::Open | Course::Nothing => self.next_name,
        };
        let mut rest = self.head.files.get(from..).unwrap_or_default().iter();
        if self.gone.is_none() {
            self.gone = rest.find(|file| file.length > 0).map(|file| file.path.clone());
        }
    }

    fn is_last(&self, row: usize) -> bool {
        row + 1 >= self.head.files.len()
    }

    /// Where a digest is to be looked at: in the log where it is whole, else in the file under way.
    pub(super) fn stop(&self) -> Option<u64> {
        if self.standing != Standing::Undecided {
            return None;
        }
        match self.course {
            Course::Whole { .. } => Some(self.head.length),
            Course::ByFile { row, .. } if self.is_last(row) => self.head.files.get(row).map(|file| file.length),
            Course::ByFile { .. } | Course::Open | Course::Nothing => None,
        }
    }

    pub(super) fn end(&mut self, path: &TreePath, file_start: u64, length: u64, digest: Digest) {
        match self.course {
            Course::Whole { mut row, start } => {
                while self.head.files.get(row).is_some_and(|file| file.length == 0) {
                    row += 1;
                }
                let Some(expected) = self.head.files.get(row).filter(|_| start == file_start) else {
                    return;
                };
                if expected.length != length {
                    return;
                }
                if expected.blake3 != digest {
                    self.break_at(Some(path), BreachKind::Differs);
                    return;
                }
                self.course = Course::Whole {
                    row: row + 1,
                    start: start + length,
                };
            }
            Course::ByFile { first, row } => {
                let same = |file: &LogFile| file.length == length && file.blake3 == digest;
                if self.is_last(row) {
                    self.break_at(Some(path), BreachKind::Shorter);
                } else if self.head.files.get(row).is_some_and(same) {
                    self.course = Course::ByFile { first, row: row + 1 };
                } else {
                    self.break_at(Some(path), BreachKind::Differs);
                }
            }
            Course::Open | Course::Nothing => {}
        }
    }

    pub(super) fn break_at(&mut self, file: Option<&TreePath>, kind: BreachKind) {
        let sound = match self.course {
            Course::Whole { row, .. } => row,
            Course::ByFile { row, .. } => row,
            Course::Open | Course::Nothing => 0,
        };
        let rows = self.head.files.get(..sound).unwrap_or_default();
        let earlier = if sound > 0 { self.head.earlier.records } else { 0 };
        // Anyone may have written a record, so these are numbers that nobody need have counted.
        let sound_records = rows
            .iter()
            .map(|file| file.records)
            .fold(self.head.rotated.records.saturating_add(earlier), u64::saturating_add);
        self.standing = Standing::Broken(Breach {
            kind: self.gone.take().map_or(kind, BreachKind::Gone),
            file: file.cloned(),
            sound_records,
        });
    }

    /// What rotation removed of this head.
    pub(super) fn removed(&self) -> Removed {
        let rows = match self.course {
            Course::ByFile { first, .. } => first,
            Course::Nothing => self.head.files.len(),
            Course::Open | Course::Whole { .. } => return Removed::default(),
        };
        let mut removed = self.head.earlier;
        for file in self.head.files.get(..rows).unwrap_or_default() {
            removed.add(file);
        }
        removed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_that_nobody_could_have_counted_are_added_without_a_panic() {
        let file = |name: &str| LogFile {
            path: TreePath::parse(name.as_bytes()).unwrap(),
            length: 1,
            records: u64::MAX,
            blake3: Digest::of(b"x"),
        };
        let head = LogHead {
            length: 3,
            records: u64::MAX,
            blake3: Digest::of(b"xxx"),
            generation: 1,
            fork: None,
            rotated: Removed::default(),
            earlier: Removed::default(),
            files: ["a", "b", "c"].map(file).into(),
        };
        let mut claim = Claim::new(&head);
        for (start, file) in (0..).zip(&head.files) {
            claim.begin(&file.path, Rotate::Never);
            claim.end(&file.path, start, 1, file.blake3);
        }
        claim.break_at(None, BreachKind::Shorter);
        assert!(matches!(
            claim.standing,
            Standing::Broken(Breach {
                sound_records: u64::MAX,
                ..
            })
        ));
    }
}
