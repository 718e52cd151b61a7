//! Takes secret values out of a log, record by record: each record stays in its place, so a log that many projections were
//! computed from keeps its count and its order. Its bytes are others, so it begins a generation.
//!
//! A record is held in memory; a file waits in one without a name until its new size is known.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Read as _, Seek as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use crate::crypto::Digest;
use crate::diagnostic::{Code, Diagnostic};
use crate::fs::atomic;
use crate::fs::entry::{Entry, Kind, TreePath};
use crate::limits::{READ_BLOCK, REDACT_FILE_MAX};
use crate::redact::{NotText, Redactor};
use crate::source::log_head::{LogFile, LogHead, Rows};
use crate::source::{SinkError, TreeSink, Verdict};

use super::{RESTORE, Redacted, refused};

/// What ends a record.
const END: u8 = b'\n';

/// Redacts each record of a log on its way to `inner`.
pub struct RedactingLog<S> {
    inner: S,
    redactor: Arc<Redactor>,
    spool: PathBuf,
    now: Now,
    /// Files that were changed, to be found again by the hard links that follow.
    changed: BTreeSet<TreePath>,
    log: Redacting,
}

/// What is done with the entry under way.
enum Now {
    Passing,
    Writing(Box<Writing>),
}

/// A file under way.
struct Writing {
    entry: Entry,
    content: BufWriter<File>,
    /// What has come of the record under way.
    record: Vec<u8>,
    size: u64,
    records: u64,
    hasher: blake3::Hasher,
    findings: u64,
}

/// The log under way, as it goes to `inner`.
#[derive(Default)]
struct Redacting {
    length: u64,
    records: u64,
    hasher: blake3::Hasher,
    rows: Rows,
    redacted: Redacted,
}

/// The end of a log from which secrets were taken out.
pub struct RedactedLog {
    length: u64,
    records: u64,
    blake3: Digest,
    rows: Rows,
    /// What was done.
    pub redacted: Redacted,
}

impl RedactedLog {
    /// What is true of the log that `head` was true of before.
    pub fn head(self, head: &LogHead) -> LogHead {
        let (earlier, files) = self.rows.finish();
        LogHead {
            length: self.length,
            records: self.records,
            blake3: self.blake3,
            earlier,
            files,
            ..head.clone()
        }
    }
}

impl<S: TreeSink> RedactingLog<S> {
    /// Redacts what goes to `inner`; files wait in the folder `spool`.
    pub fn new(inner: S, redactor: &Arc<Redactor>, spool: PathBuf) -> Self {
        Self {
            inner,
            redactor: Arc::clone(redactor),
            spool,
            now: Now::Passing,
            changed: BTreeSet::new(),
            log: Redacting::default(),
        }
    }

    /// Where it went to, and what it is, after the last entry.
    pub fn into_parts(self) -> (S, RedactedLog) {
        let log = RedactedLog {
            length: self.log.length,
            records: self.log.records,
            blake3: self.log.hasher.finalize().into(),
            rows: self.log.rows,
            redacted: self.log.redacted,
        };
        (self.inner, log)
    }

    fn begin_file(&mut self, entry: &Entry, size: u64) -> Result<Now, SinkError> {
        // A hole reads as zero bytes, which no text has.
        if entry.kind.data_bytes() != size {
            return Err(refused(&entry.path, NotText::Binary, &RESTORE));
        }
        let content = atomic::unnamed(&self.spool).map_err(|error| self.cannot_wait(&error))?;
        Ok(Now::Writing(Box::new(Writing {
            entry: entry.clone(),
            content: BufWriter::with_capacity(READ_BLOCK, content),
            record: Vec::new(),
            size: 0,
            records: 0,
            hasher: blake3::Hasher::new(),
            findings: 0,
        })))
    }

    fn take(&mut self, writing: &mut Writing, mut data: &[u8]) -> Result<(), SinkError> {
        while let Some(end) = data.iter().position(|byte| *byte == END) {
            let (record, rest) = data.split_at(end + 1);
            writing.record.extend_from_slice(record.get(..end).unwrap_or_default());
            self.record(writing)?;
            self.put(writing, &[END])?;
            writing.records += 1;
            data = rest;
        }
        writing.record.extend_from_slice(data);
        if u64::try_from(writing.record.len()).is_ok_and(|length| length > REDACT_FILE_MAX) {
            return Err(refused(&writing.entry.path, NotText::TooLarge, &RESTORE));
        }
        Ok(())
    }

    /// Writes the record under way without its secrets.
    fn record(&mut self, writing: &mut Writing) -> Result<(), SinkError> {
        let record = std::mem::take(&mut writing.record);
        let path = &writing.entry.path;
        let redaction = self.redactor.redact(path.as_bytes(), &record);
        let redaction = redaction.map_err(|why| refused(path, why, &RESTORE))?;
        if redaction.bytes.contains(&END) {
            let what = format!("a record of `{}` would become two by redaction", path.display());
            let problem = Diagnostic::error(Code::Internal, what).state(RESTORE.refused);
            return Err(SinkError::Failed(Box::new(problem)));
        }
        writing.findings += redaction.findings.len() as u64;
        if redaction.changed {
            self.changed.insert(path.clone());
        }
        self.put(writing, &redaction.bytes)
    }

    fn put(&self, writing: &mut Writing, data: &[u8]) -> Result<(), SinkError> {
        writing.hasher.update(data);
        writing.size += data.len() as u64;
        let written = writing.content.write_all(data);
        written.map_err(|error| self.cannot_wait(&error))
    }

    /// Hands a whole file on.
    fn finish_file(&mut self, mut writing: Writing, verdict: Verdict) -> Result<(), SinkError> {
        if !writing.record.is_empty() {
            self.record(&mut writing)?;
        }
        let Writing {
            mut entry,
            content,
            size,
            records,
            hasher,
            findings,
            ..
        } = writing;
        entry.kind = Kind::File { size, extents: None };
        self.inner.begin(&entry)?;
        self.log.redacted.files += 1;
        self.log.redacted.findings += findings;
        if self.changed.contains(&entry.path) {
            self.log.redacted.changed.push(entry.path.clone());
            self.inner.redacted(u32::try_from(findings).unwrap_or(u32::MAX));
        }
        let content = content.into_inner().map_err(io::IntoInnerError::into_error);
        let mut content = content.map_err(|error| self.cannot_wait(&error))?;
        content.rewind().map_err(|error| self.cannot_wait(&error))?;
        let mut block = vec![0; READ_BLOCK];
        loop {
            let read = content.read(&mut block).map_err(|error| self.cannot_wait(&error))?;
            let Some(data) = block.get(..read).filter(|data| !data.is_empty()) else {
                break;
            };
            self.log.hasher.update(data);
            self.inner.write(data)?;
        }
        self.log.length += size;
        self.log.records += records;
        self.log.rows.push(LogFile {
            path: entry.path,
            length: size,
            records,
            blake3: hasher.finalize().into(),
        });
        self.inner.end(verdict)
    }

    fn cannot_wait(&self, error: &io::Error) -> SinkError {
        let code = Code::RestoreFailed.unless_full(error);
        let what = format!("a log that is redacted cannot be kept in `{}`", self.spool.display());
        let problem = Diagnostic::error(code, what)
            .why(error.to_string())
            .state(RESTORE.refused);
        SinkError::Failed(Box::new(
            problem.help("free space there: a log takes twice its room for a moment"),
        ))
    }
}

impl<S: TreeSink> TreeSink for RedactingLog<S> {
    fn rest(&mut self) -> Result<(), SinkError> {
        self.inner.rest()
    }

    fn begin(&mut self, entry: &Entry) -> Result<(), SinkError> {
        self.now = match &entry.kind {
            Kind::File { size, .. } => self.begin_file(entry, *size)?,
            Kind::HardLink { first } => {
                self.inner.begin(entry)?;
                if self.changed.contains(first) {
                    self.log.redacted.changed.push(entry.path.clone());
                    self.inner.redacted(0);
                }
                Now::Passing
            }
            Kind::Folder | Kind::Link { .. } | Kind::Fifo | Kind::CharDevice { .. } | Kind::BlockDevice { .. } => {
                self.inner.begin(entry)?;
                Now::Passing
            }
        };
        Ok(())
    }

    fn write(&mut self, data: &[u8]) -> Result<(), SinkError> {
        match std::mem::replace(&mut self.now, Now::Passing) {
            Now::Passing => self.inner.write(data),
            Now::Writing(mut writing) => {
                let taken = self.take(&mut writing, data);
                self.now = Now::Writing(writing);
                taken
            }
        }
    }

    fn end(&mut self, verdict: Verdict) -> Result<(), SinkError> {
        match (std::mem::replace(&mut self.now, Now::Passing), verdict) {
            (Now::Passing, verdict) => self.inner.end(verdict),
            (Now::Writing(_), Verdict::Superseded) => Ok(()),
            (Now::Writing(writing), verdict) => self.finish_file(*writing, verdict),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::entry::{Extent, Metadata};
    use crate::redact::Rules;
    use crate::source::log_head::Removed;

    /// Remembers what came.
    #[derive(Default)]
    struct Taken(Vec<(Entry, Vec<u8>)>, Vec<TreePath>);

    impl TreeSink for Taken {
        fn begin(&mut self, entry: &Entry) -> Result<(), SinkError> {
            self.0.push((entry.clone(), Vec::new()));
            Ok(())
        }

        fn write(&mut self, data: &[u8]) -> Result<(), SinkError> {
            self.0.last_mut().unwrap().1.extend_from_slice(data);
            Ok(())
        }

        fn end(&mut self, _: Verdict) -> Result<(), SinkError> {
            let (entry, data) = self.0.last().unwrap();
            assert_eq!(
                entry.kind.data_bytes(),
                data.len() as u64,
                "as many bytes as the entry says"
            );
            Ok(())
        }

        fn redacted(&mut self, _: u32) {
            self.1.push(self.0.last().unwrap().0.path.clone());
        }
    }

    fn entry(name: &str, kind: Kind) -> Entry {
        Entry {
            path: TreePath::parse(name.as_bytes()).unwrap(),
            kind,
            metadata: Metadata::default(),
            stat: None,
        }
    }

    fn file(name: &str, text: &[u8]) -> Entry {
        let size = text.len() as u64;
        entry(name, Kind::File { size, extents: None })
    }

    /// Feeds files in blocks of three bytes; gives what came out and what is said of it.
    fn redact(files: &[(&str, &[u8])]) -> Result<(Taken, RedactedLog), SinkError> {
        let folder = tempfile::tempdir().unwrap();
        let redactor = Arc::new(Redactor::new(&Rules::default(), &[]).unwrap());
        let mut log = RedactingLog::new(Taken::default(), &redactor, folder.path().to_owned());
        log.begin(&entry("", Kind::Folder))?;
        log.end(Verdict::Kept)?;
        for (name, text) in files {
            log.begin(&file(name, text))?;
            for block in text.chunks(3) {
                log.write(block)?;
            }
            log.end(Verdict::Kept)?;
        }
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            0,
            "nothing is left in the spool"
        );
        Ok(log.into_parts())
    }

    #[test]
    fn each_record_stays_in_its_place_without_its_secrets() {
        let first = b"{\"seq\":1,\"password\":\"hunter2hunter2\"}\n{\"seq\":2}\n";
        let second = b"{\"seq\":3}\n\ntorn";
        let (taken, log) = redact(&[("1.jsonl", first), ("2.jsonl", second)])
            .map_err(|e| e.to_string())
            .unwrap();
        let texts: Vec<String> = taken.0[1..]
            .iter()
            .map(|(_, data)| String::from_utf8(data.clone()).unwrap())
            .collect();
        assert!(
            !texts[0].contains("hunter2") && texts[0].ends_with("\n{\"seq\":2}\n"),
            "{}",
            texts[0]
        );
        assert_eq!(texts[0].lines().count(), 2);
        assert_eq!(texts[1].as_bytes(), second);
        assert_eq!(taken.1, [TreePath::parse(b"1.jsonl").unwrap()]);
        assert_eq!(
            (log.redacted.findings, log.redacted.files, log.redacted.changed.len()),
            (1, 2, 1)
        );
        let whole = texts.concat();
        let before = LogHead {
            length: 1,
            records: 1,
            blake3: Digest::of(b""),
            generation: 7,
            fork: None,
            rotated: Removed::default(),
            earlier: Removed::default(),
            files: Vec::new(),
        };
        let head = log.head(&before);
        assert_eq!((head.length, head.records, head.generation), (whole.len() as u64, 4, 7));
        assert_eq!(head.blake3, Digest::of(whole.as_bytes()));
        assert_eq!(head.files[1].blake3, Digest::of(second));
        assert_eq!((head.files[0].records, head.files[1].records), (2, 2));
    }

    #[test]
    fn a_record_that_is_no_text_and_a_hole_are_refused() {
        for text in [&b"one\n\0\n"[..], b"\0"] {
            let Err(SinkError::Failed(problem)) = redact(&[("1", text)]) else {
                panic!("{text:?}");
            };
            assert_eq!(problem.code, Code::RedactBinary);
        }
        let folder = tempfile::tempdir().unwrap();
        let redactor = Arc::new(Redactor::new(&Rules::default(), &[]).unwrap());
        let mut log = RedactingLog::new(Taken::default(), &redactor, folder.path().to_owned());
        let extents = Some(vec![Extent { offset: 0, length: 2 }]);
        assert!(log.begin(&entry("1", Kind::File { size: 8, extents })).is_err());
    }
}
