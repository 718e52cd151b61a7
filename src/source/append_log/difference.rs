//! Compares what a log was with what it is: the first record that differs, and what is there beyond.

use std::io;

use super::reader::{LogReader, Spot};
use super::{END, ends};
use crate::fs::entry::TreePath;
use crate::limits;

/// The first record in which two logs differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which, counted from 1.
    pub record: u64,
    /// The file of the present log in which it begins, or would.
    pub file: Option<TreePath>,
    /// Where in that file it begins.
    pub offset: u64,
    /// Bytes of the record before those below, the same in both.
    pub skipped: u64,
    /// The record as it was, from a little before the first byte that differs.
    pub was: Vec<u8>,
    /// The same stretch as it is; `None` where the present log ends before.
    pub is: Option<Vec<u8>>,
}

/// Bytes kept of a record before the first one that differs: a secret in it must be whole to be known for one.
const BEFORE: usize = limits::LOG_RECORD_KEPT / 2;

/// What a comparison came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// Whole records that are the same in both.
    pub same_records: u64,
    /// Whole records of the present log behind those.
    pub other_records: u64,
    /// Bytes of the present log behind the last of those.
    pub other_bytes: u64,
    /// Where they differ; `None` where the present log is the past one and perhaps something more.
    pub difference: Option<Difference>,
}

/// A comparison under way: takes the past log's bytes in order, reads the present one's.
#[derive(Debug)]
pub struct Comparison {
    present: LogReader,
    buffer: Vec<u8>,
    /// Whole records so far, and the last bytes of the one under way.
    records: u64,
    begun: Vec<u8>,
    /// Bytes of the record under way, and where it begins in the present log.
    begun_bytes: u64,
    begun_at: Spot,
    found: Option<Difference>,
    /// What was read of the present log and is not in `records`, from the record under way on.
    beyond: (u64, u64),
}

impl Comparison {
    /// Begins at the beginning of both.
    pub fn new(present: LogReader) -> Self {
        Self {
            begun_at: present.spot(),
            present,
            buffer: vec![0; limits::READ_BLOCK],
            records: 0,
            begun: Vec::new(),
            begun_bytes: 0,
            found: None,
            beyond: (0, 0),
        }
    }

    /// Whether a difference was found and its record is known as far as it is shown: nothing more need be taken.
    pub fn is_decided(&self) -> bool {
        self.found
            .as_ref()
            .is_some_and(|found| is_whole(&found.was) || found.was.len() >= limits::LOG_RECORD_KEPT)
    }

    /// Takes the past log's next bytes.
    pub fn take(&mut self, mut past: &[u8]) -> io::Result<()> {
        while !past.is_empty() {
            if let Some(found) = &mut self.found {
                append(&mut found.was, past);
                return Ok(());
            }
            let wanted = past.len().min(self.buffer.len());
            let mut buffer = std::mem::take(&mut self.buffer);
            let read = self.present.read(buffer.get_mut(..wanted).unwrap_or_default());
            self.buffer = buffer;
            let read = read?;
            let present = self.buffer.get(..read).unwrap_or_default();
            let same = past.iter().zip(present).take_while(|(was, is)| was == is).count();
            let start = self.present.spot().back(read);
            self.pass(start, same);
            if read == 0 || same < read {
                self.differ(same, read, past);
                return Ok(());
            }
            past = past.get(read..).unwrap_or_default();
        }
        Ok(())
    }

    /// The first `same` bytes of the buffer, which stand at `start`, are the same in both.
    fn pass(&mut self, start: Spot, same: usize) {
        let block = self.buffer.get(..same).unwrap_or_default();
        if self.begun_bytes == 0 {
            self.begun_at = start;
        }
        let rest = match block.iter().rposition(|byte| *byte == END) {
            Some(end) => {
                self.begun.clear();
                self.begun_bytes = 0;
                self.begun_at = start.forward(end + 1);
                block.get(end + 1..).unwrap_or_default()
            }
            None => block,
        };
        self.records += ends(block);
        self.begun_bytes += rest.len() as u64;
        self.begun
            .extend_from_slice(rest.get(rest.len().saturating_sub(BEFORE)..).unwrap_or_default());
        let surplus = self.begun.len().saturating_sub(BEFORE);
        self.begun.drain(..surplus);
    }

    /// Of `read` bytes of the present log the first `same` are those of the past one.
    fn differ(&mut self, same: usize, read: usize, past: &[u8]) {
        let other = self.buffer.get(same..read).unwrap_or_default();
        let mut was = self.begun.clone();
        append(&mut was, past.get(same..).unwrap_or_default());
        let is = (read > 0).then(|| {
            let mut is = self.begun.clone();
            append(&mut is, other);
            is
        });
        self.beyond = (ends(other), self.begun_bytes + other.len() as u64);
        self.found = Some(Difference {
            record: self.records + 1,
            file: self.present.file_at(self.begun_at).cloned(),
            offset: self.begun_at.offset,
            skipped: self.begun_bytes - self.begun.len() as u64,
            was,
            is,
        });
    }

    /// The first record that differs, as far as was compared.
    pub fn into_difference(self) -> Option<Difference> {
        self.found
    }

    /// Reads the present log to its end.
    pub fn finish(mut self) -> io::Result<Compared> {
        let (mut records, mut bytes) = match &self.found {
            Some(_) => self.beyond,
            // A past log that ends within a record had no line end there.
            None => (0, self.begun_bytes),
        };
        loop {
            let read = self.present.read(&mut self.buffer)?;
            let block = self.buffer.get(..read).unwrap_or_default();
            if read == 0 {
                break;
            }
            if let Some(is) = self.found.as_mut().and_then(|found| found.is.as_mut()) {
                append(is, block);
            }
            records += ends(block);
            bytes += read as u64;
        }
        Ok(Compared {
            same_records: self.records,
            other_records: records,
            other_bytes: bytes,
            difference: self.found,
        })
    }
}

fn is_whole(record: &[u8]) -> bool {
    record.last() == Some(&END)
}

/// Appends up to a record's end, and no more than is shown.
fn append(record: &mut Vec<u8>, bytes: &[u8]) {
    if is_whole(record) {
        return;
    }
    let room = limits::LOG_RECORD_KEPT.saturating_sub(record.len());
    let length = bytes
        .iter()
        .position(|byte| *byte == END)
        .map_or(bytes.len(), |end| end + 1);
    record.extend_from_slice(bytes.get(..length.min(room)).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::folder::Folder;
    use crate::fs::selection::Selection;

    /// A log of these files, compared with `past` taken in pieces of `piece` bytes.
    fn compare(files: &[&str], past: &str, piece: usize) -> Compared {
        let dir = tempfile::tempdir().unwrap();
        for (number, content) in files.iter().enumerate() {
            std::fs::write(dir.path().join(number.to_string()), content).unwrap();
        }
        let reader = LogReader::open(Folder::open(dir.path()).unwrap(), &Selection::all()).unwrap();
        let mut comparison = Comparison::new(reader);
        for piece in past.as_bytes().chunks(piece) {
            comparison.take(piece).unwrap();
        }
        comparison.finish().unwrap()
    }

    fn first(compared: &Compared) -> (u64, Option<String>, u64, String, Option<String>) {
        let text = |bytes: &Vec<u8>| String::from_utf8(bytes.clone()).unwrap();
        let found = compared.difference.as_ref().unwrap();
        let file = found.file.as_ref().map(TreePath::display);
        (
            found.record,
            file,
            found.offset,
            text(&found.was),
            found.is.as_ref().map(text),
        )
    }

    #[test]
    fn what_was_added_is_counted_whatever_the_files_are() {
        for piece in 1..12 {
            for files in [
                &["a\nb\nc\nd"][..],
                &["a\n", "", "b", "\nc\nd", ""],
                &["a\nb\n", "c\n", "d"],
            ] {
                let compared = compare(files, "a\nb\n", piece);
                let expected = Compared {
                    same_records: 2,
                    other_records: 1,
                    other_bytes: 3,
                    difference: None,
                };
                assert_eq!(compared, expected, "{files:?} by {piece}");
                assert_eq!(compare(files, "a\nb\nc\nd", piece).other_records, 0);
            }
        }
    }

    #[test]
    fn the_first_record_that_differs_is_named_with_its_file_and_its_place_there() {
        for piece in 1..20 {
            let compared = compare(
                &["one\ntwo\n", "three\nfour\nfive\n"],
                "one\ntwo\nthree\nfoul\nfive\n",
                piece,
            );
            let expected = (
                4,
                Some("1".to_owned()),
                6,
                "foul\n".to_owned(),
                Some("four\n".to_owned()),
            );
            assert_eq!(first(&compared), expected, "by {piece}");
            assert_eq!(
                (compared.same_records, compared.other_records, compared.other_bytes),
                (3, 2, 10)
            );
            // The first byte of a file.
            let compared = compare(&["one\n", "xwo\n"], "one\ntwo\n", piece);
            let expected = (2, Some("1".to_owned()), 0, "two\n".to_owned(), Some("xwo\n".to_owned()));
            assert_eq!(first(&compared), expected, "by {piece}");
        }
    }

    #[test]
    fn a_log_that_ends_before_lacks_the_record_that_it_does_not_have_whole() {
        for piece in 1..12 {
            let compared = compare(&["one\n", "tw"], "one\ntwo\nthree\n", piece);
            let expected = (2, Some("1".to_owned()), 0, "two\n".to_owned(), None);
            assert_eq!(first(&compared), expected, "by {piece}");
            assert_eq!((compared.other_records, compared.other_bytes), (0, 2));
            let compared = compare(&["one\n"], "one\ntwo\n", piece);
            assert_eq!(first(&compared), (2, Some("0".to_owned()), 4, "two\n".to_owned(), None));
        }
        assert_eq!(first(&compare(&[], "one\n", 3)), (1, None, 0, "one\n".to_owned(), None));
    }

    #[test]
    fn of_a_long_record_the_stretch_about_the_difference_is_kept() {
        let long = "x".repeat(limits::LOG_RECORD_KEPT * 3);
        for piece in [1, 7, 100, 1000] {
            let compared = compare(&[&format!("{long}y{long}\n")], &format!("{long}z{long}\n"), piece);
            let found = compared.difference.unwrap();
            assert_eq!((found.record, found.offset), (1, 0));
            assert_eq!(found.skipped, (long.len() - BEFORE) as u64);
            assert_eq!(found.was.len(), limits::LOG_RECORD_KEPT);
            let is = found.is.unwrap();
            assert_eq!(is.len(), limits::LOG_RECORD_KEPT);
            assert_eq!((found.was[BEFORE], is[BEFORE]), (b'z', b'y'));
        }
    }
}
