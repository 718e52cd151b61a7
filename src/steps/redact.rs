//! `redact`: takes secret values out of configuration before it leaves the host, and out of a backup before it goes into
//! another environment.

pub mod log;

use std::collections::BTreeSet;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::diagnostic::{Code, Diagnostic};
use crate::fs::entry::{Entry, Kind, TreePath};
use crate::id::SourceName;
use crate::limits::{REDACT_FILE_MAX, WARNINGS_LISTED};
use crate::redact::{NotText, RedactError, Redactor, Rules};
use crate::secret::{Secret, SecretRef};
use crate::source::{Known, SinkError, TreeSink, Verdict};

/// Takes secret values out of text files. Keys, order and line count stay. In a restore it takes them out of what was stored,
/// on its way to the stage, and out of logs too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Redact {
    /// The sources whose files are redacted; a source that is not named is untouched. Only `files` sources; in a restore also
    /// `append-log` sources, record by record: the restored log begins a generation.
    #[schemars(length(min = 1))]
    pub sources: Vec<SourceName>,
    /// In a restore: sources that are not restored, such as databases, which cannot be redacted.
    #[serde(default)]
    pub omit: Vec<SourceName>,
    /// What happens to a file that is not text.
    #[serde(default)]
    pub binary: Binary,
    /// Further words that make a key telling, beside `password`, `token`, `secret` and their like.
    #[serde(default)]
    pub keys: Vec<String>,
    /// Keys whose values stay although their name is telling.
    #[serde(default)]
    pub allow_keys: Vec<String>,
    /// Secret values that are taken out wherever they stand, in every encoding this program knows.
    #[serde(default)]
    pub values: Vec<SecretRef>,
}

/// What happens to a file that is not text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Binary {
    /// The run stops before anything is stored or replaced. So it does with the other two where a record of a log is no text.
    #[default]
    Refuse,
    /// The file is left out and reported.
    LeaveOut,
    /// The file is kept as it is.
    Keep,
}

impl Redact {
    /// The redactor of these settings; `known` are all values the run knows, those of `values` among them.
    ///
    /// # Errors
    /// When a word in `keys` or `allow-keys` can match no key, or the values cannot be sought together.
    pub fn redactor(&self, known: &[Secret<String>]) -> Result<Redactor, RedactError> {
        let rules = Rules {
            extra_keys: self.keys.clone(),
            allow_keys: self.allow_keys.clone(),
        };
        Redactor::new(&rules, known)
    }
}

/// What redaction did to a source.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Redacted {
    /// Files whose content was changed, and the hard links to them, in order.
    pub changed: Vec<TreePath>,
    /// Files that were left out because they are no text, and the hard links to them, in order.
    pub left_out: BTreeSet<TreePath>,
    /// Files that were looked through.
    pub files: u64,
    /// Secrets that were taken out, those of files that are as they were in the last backup included.
    pub findings: u64,

    /// One for each file left out; at most `limits::WARNINGS_LISTED`.
    pub warnings: Vec<Diagnostic>,
    /// How many warnings there were, those listed included.
    pub warning_count: u64,
}

/// Redacts each file on its way to `inner`. A file is held in memory whole, at most [`REDACT_FILE_MAX`] bytes; an attempt
/// that is superseded never reaches `inner` unless the file is kept as it is for its size.
pub struct RedactingSink<S> {
    inner: S,
    redactor: Arc<Redactor>,
    binary: Binary,
    words: &'static Words,
    now: Now,
    /// Paths in `redacted.changed`, to be found again by the hard links that follow.
    changed: BTreeSet<TreePath>,
    redacted: Redacted,
}

/// What is done with the entry under way.
enum Now {
    /// There is none.
    Between,
    /// It goes to `inner` as it is.
    Passing,
    /// It is collected to be redacted at its end.
    Holding { entry: Box<Entry>, data: Vec<u8> },
    /// It goes nowhere.
    LeavingOut { path: TreePath, why: &'static str },
}

/// What is said of files that cannot be redacted.
struct Words {
    left_out: &'static str,
    without: &'static str,
    refused: &'static str,
    help: &'static str,
}

const BACKUP: Words = Words {
    left_out: "is left out of the backup",
    without: "the backup is made without it",
    refused: "nothing was stored",
    help: "exclude it from the source, or set `binary = \"leave-out\"` or `binary = \"keep\"` in the step",
};

const RESTORE: Words = Words {
    left_out: "is not restored",
    without: "a present file of that name stays",
    refused: "nothing present was touched",
    help: "set `binary = \"leave-out\"` or `binary = \"keep\"` in the step, or leave its source out by `omit`",
};

impl<S: TreeSink> RedactingSink<S> {
    /// Redacts what goes to `inner`, a backup.
    pub fn new(inner: S, redactor: &Arc<Redactor>, binary: Binary) -> Self {
        Self {
            inner,
            redactor: Arc::clone(redactor),
            binary,
            words: &BACKUP,
            now: Now::Between,
            changed: BTreeSet::new(),
            redacted: Redacted::default(),
        }
    }

    /// The same on the way out of a backup.
    #[must_use]
    pub fn for_restore(self) -> Self {
        Self {
            words: &RESTORE,
            ..self
        }
    }

    /// What was done, after the last entry.
    pub fn finish(self) -> Redacted {
        self.into_parts().1
    }

    /// Where it went to, and what was done, after the last entry.
    pub fn into_parts(self) -> (S, Redacted) {
        (self.inner, self.redacted)
    }

    fn begin_file(&mut self, entry: &Entry, size: u64) -> Result<Now, SinkError> {
        if size <= REDACT_FILE_MAX {
            let room = usize::try_from(entry.kind.data_bytes().min(size)).unwrap_or_default();
            return Ok(Now::Holding {
                entry: Box::new(entry.clone()),
                data: Vec::with_capacity(room),
            });
        }
        match self.binary {
            Binary::Refuse => Err(refused(&entry.path, NotText::TooLarge, self.words)),
            Binary::LeaveOut => Ok(Now::LeavingOut {
                path: entry.path.clone(),
                why: "it is too large to be looked through",
            }),
            Binary::Keep => {
                self.inner.begin(entry)?;
                Ok(Now::Passing)
            }
        }
    }

    fn begin_link(&mut self, entry: &Entry, first: &TreePath) -> Result<Now, SinkError> {
        if self.redacted.left_out.contains(first) {
            return Ok(Now::LeavingOut {
                path: entry.path.clone(),
                why: "it is another name of a file that is left out",
            });
        }
        self.inner.begin(entry)?;
        if self.changed.contains(first) {
            self.redacted.changed.push(entry.path.clone());
            self.inner.redacted(0);
        }
        Ok(Now::Passing)
    }

    fn end_file(&mut self, mut entry: Entry, data: &[u8], verdict: Verdict) -> Result<(), SinkError> {
        // A hole reads as zero bytes, which no text has.
        let holes = matches!(&entry.kind, Kind::File { size, .. } if entry.kind.data_bytes() != *size);
        let redaction = if holes {
            Err(NotText::Binary)
        } else {
            self.redactor.redact(entry.path.as_bytes(), data)
        };
        match redaction {
            Ok(redaction) => {
                let changed = redaction.changed;
                if changed {
                    let size = u64::try_from(redaction.bytes.len()).unwrap_or(u64::MAX);
                    entry.kind = Kind::File { size, extents: None };
                    self.changed.insert(entry.path.clone());
                    self.redacted.changed.push(entry.path.clone());
                }
                self.redacted.files += 1;
                let values = u32::try_from(redaction.findings.len()).unwrap_or(u32::MAX);
                self.redacted.findings += u64::from(values);
                self.inner.begin(&entry)?;
                if changed {
                    self.inner.redacted(values);
                }
                self.pass(&redaction.bytes, verdict)
            }
            Err(why) => match self.binary {
                Binary::Refuse => Err(refused(&entry.path, why, self.words)),
                Binary::LeaveOut => {
                    self.leave_out(entry.path, "it is not text");
                    Ok(())
                }
                Binary::Keep => {
                    self.inner.begin(&entry)?;
                    self.pass(data, verdict)
                }
            },
        }
    }

    fn pass(&mut self, data: &[u8], verdict: Verdict) -> Result<(), SinkError> {
        for block in data.chunks(crate::limits::READ_BLOCK) {
            self.inner.write(block)?;
        }
        self.inner.end(verdict)
    }

    fn leave_out(&mut self, path: TreePath, why: &str) {
        self.redacted.warning_count += 1;
        if self.redacted.warnings.len() < WARNINGS_LISTED {
            let what = format!("`{}` {}", path.display(), self.words.left_out);
            let warning = Diagnostic::warning(Code::RedactLeftOut, what)
                .why(format!("{why}, so redaction cannot know whether a secret is in it"))
                .state(self.words.without)
                .help("exclude it from the source, or keep it as it is with `binary = \"keep\"`");
            self.redacted.warnings.push(warning);
        }
        self.redacted.left_out.insert(path);
    }
}

impl<S: TreeSink> TreeSink for RedactingSink<S> {
    fn knows(&self) -> bool {
        self.inner.knows()
    }

    fn rest(&mut self) -> Result<(), SinkError> {
        self.inner.rest()
    }

    fn known(&mut self, glimpse: &Entry, size: Option<u64>) -> Result<Option<Known>, SinkError> {
        let known = self.inner.known(glimpse, size)?;
        if let Some(values) = known.and_then(|known| known.redacted) {
            self.changed.insert(glimpse.path.clone());
            self.redacted.changed.push(glimpse.path.clone());
            self.redacted.findings += u64::from(values);
        }
        Ok(known)
    }

    fn begin(&mut self, entry: &Entry) -> Result<(), SinkError> {
        self.now = match &entry.kind {
            Kind::File { size, .. } => self.begin_file(entry, *size)?,
            Kind::HardLink { first } => self.begin_link(entry, first)?,
            Kind::Folder | Kind::Link { .. } | Kind::Fifo | Kind::CharDevice { .. } | Kind::BlockDevice { .. } => {
                self.inner.begin(entry)?;
                Now::Passing
            }
        };
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        match &mut self.now {
            Now::Passing => self.inner.write(bytes),
            Now::Holding { data, .. } => {
                data.extend_from_slice(bytes);
                Ok(())
            }
            Now::Between | Now::LeavingOut { .. } => Ok(()),
        }
    }

    fn end(&mut self, verdict: Verdict) -> Result<(), SinkError> {
        match (std::mem::replace(&mut self.now, Now::Between), verdict) {
            (Now::Passing, verdict) => self.inner.end(verdict),
            (Now::Holding { .. } | Now::LeavingOut { .. }, Verdict::Superseded) | (Now::Between, _) => Ok(()),
            (Now::Holding { entry, data }, verdict) => self.end_file(*entry, &data, verdict),
            (Now::LeavingOut { path, why }, _) => {
                self.leave_out(path, why);
                Ok(())
            }
        }
    }
}

fn refused(path: &TreePath, why: NotText, words: &Words) -> SinkError {
    SinkError::Failed(Box::new(
        Diagnostic::error(Code::RedactBinary, format!("`{}` cannot be redacted", path.display()))
            .why(format!("{why}: whether a secret is in it cannot be known"))
            .state(words.refused)
            .help(words.help),
    ))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::fs::entry::{Extent, Metadata};

    /// Remembers what came.
    #[derive(Default)]
    struct Taken(Vec<(Entry, Vec<u8>, Verdict)>, Option<(Entry, Vec<u8>)>, Vec<TreePath>);

    impl TreeSink for Taken {
        fn begin(&mut self, entry: &Entry) -> Result<(), SinkError> {
            assert!(self.1.is_none(), "begun twice");
            self.1 = Some((entry.clone(), Vec::new()));
            Ok(())
        }

        fn write(&mut self, data: &[u8]) -> Result<(), SinkError> {
            self.1.as_mut().unwrap().1.extend_from_slice(data);
            Ok(())
        }

        fn end(&mut self, verdict: Verdict) -> Result<(), SinkError> {
            let (entry, data) = self.1.take().unwrap();
            assert_eq!(
                entry.kind.data_bytes(),
                data.len() as u64,
                "as many bytes as the entry says"
            );
            self.0.push((entry, data, verdict));
            Ok(())
        }

        fn redacted(&mut self, _: u32) {
            let (entry, _) = self.1.as_ref().expect("told between begin and end");
            self.2.push(entry.path.clone());
        }
    }

    fn redactor() -> Arc<Redactor> {
        Arc::new(Redactor::new(&Rules::default(), &[]).unwrap())
    }

    fn path(text: &str) -> TreePath {
        TreePath::parse(text.as_bytes()).unwrap()
    }

    fn entry(name: &str, kind: Kind) -> Entry {
        Entry {
            path: path(name),
            kind,
            metadata: Metadata::default(),
            stat: None,
        }
    }

    fn file(name: &str, size: usize) -> Entry {
        entry(
            name,
            Kind::File {
                size: size as u64,
                extents: None,
            },
        )
    }

    fn feed(
        sink: &mut RedactingSink<impl TreeSink>,
        entry: &Entry,
        data: &[u8],
        verdict: Verdict,
    ) -> Result<(), SinkError> {
        sink.begin(entry)?;
        for piece in data.chunks(3) {
            sink.write(piece)?;
        }
        sink.end(verdict)
    }

    #[test]
    fn a_file_arrives_redacted_with_its_new_size_and_is_listed_with_its_links() {
        let (mut taken, redactor) = (Taken::default(), redactor());
        let mut sink = RedactingSink::new(&mut taken, &redactor, Binary::Refuse);
        let text = b"DB_PASSWORD=hunter2\nPORT=80\n";
        feed(&mut sink, &entry("", Kind::Folder), b"", Verdict::Kept).unwrap();
        feed(&mut sink, &file("a.env", text.len()), text, Verdict::Kept).unwrap();
        feed(
            &mut sink,
            &entry("b", Kind::HardLink { first: path("a.env") }),
            b"",
            Verdict::Kept,
        )
        .unwrap();
        feed(&mut sink, &file("c.env", 8), b"PORT=80\n", Verdict::KeptChanging).unwrap();
        let redacted = sink.finish();
        assert_eq!(redacted.changed, [path("a.env"), path("b")]);
        assert_eq!(
            taken.2, redacted.changed,
            "what takes the entries must know which were changed"
        );
        assert_eq!((redacted.files, redacted.findings), (2, 1));
        assert_eq!(taken.0[1].1, b"DB_PASSWORD=[REDACTED:password]\nPORT=80\n");
        assert_eq!(taken.0[3].1, b"PORT=80\n");
        assert_eq!(taken.0[3].2, Verdict::KeptChanging);
    }

    #[test]
    fn an_attempt_that_is_superseded_does_not_pass() {
        let (mut taken, redactor) = (Taken::default(), redactor());
        let mut sink = RedactingSink::new(&mut taken, &redactor, Binary::Refuse);
        feed(&mut sink, &file("a", 2), b"a\0", Verdict::Superseded).unwrap();
        feed(&mut sink, &file("a", 2), b"ab", Verdict::Kept).unwrap();
        assert_eq!(sink.finish().files, 1);
        assert_eq!(taken.0.len(), 1);
    }

    #[test]
    fn a_binary_file_stops_the_run_by_default() {
        let (mut taken, redactor) = (Taken::default(), redactor());
        let mut sink = RedactingSink::new(&mut taken, &redactor, Binary::Refuse);
        let error = feed(&mut sink, &file("logo.png", 3), b"a\0b", Verdict::Kept).unwrap_err();
        let SinkError::Failed(diagnostic) = error else {
            panic!("{error}")
        };
        assert_eq!(diagnostic.code, Code::RedactBinary);
        assert!(diagnostic.what.contains("logo.png"));
        assert!(taken.0.is_empty());
    }

    #[test]
    fn a_binary_file_is_left_out_with_its_links_when_asked_to() {
        let (mut taken, redactor) = (Taken::default(), redactor());
        let mut sink = RedactingSink::new(&mut taken, &redactor, Binary::LeaveOut);
        feed(&mut sink, &file("a", 3), b"a\0b", Verdict::Kept).unwrap();
        feed(
            &mut sink,
            &entry("b", Kind::HardLink { first: path("a") }),
            b"",
            Verdict::Kept,
        )
        .unwrap();
        feed(&mut sink, &file("c", 1), b"c", Verdict::Kept).unwrap();
        let redacted = sink.finish();
        assert_eq!(redacted.left_out, [path("a"), path("b")].into());
        assert_eq!((redacted.warning_count, redacted.warnings.len()), (2, 2));
        assert_eq!(taken.0.len(), 1);
    }

    #[test]
    fn a_binary_file_is_kept_as_it_is_when_asked_to() {
        let (mut taken, redactor) = (Taken::default(), redactor());
        let mut sink = RedactingSink::new(&mut taken, &redactor, Binary::Keep);
        feed(&mut sink, &file("a", 3), b"a\0b", Verdict::Kept).unwrap();
        let extents = Some(vec![Extent { offset: 0, length: 2 }, Extent { offset: 8, length: 1 }]);
        let sparse = entry("s", Kind::File { size: 12, extents });
        feed(&mut sink, &sparse, b"xyz", Verdict::Kept).unwrap();
        assert!(sink.finish().changed.is_empty());
        assert_eq!(taken.0[0].1, b"a\0b");
        assert_eq!((&taken.0[1].0, &taken.0[1].1[..]), (&sparse, &b"xyz"[..]));
    }

    #[test]
    fn a_file_beyond_the_limit_counts_as_binary() {
        let redactor = redactor();
        let large = entry(
            "large",
            Kind::File {
                size: REDACT_FILE_MAX + 1,
                extents: Some(vec![Extent { offset: 0, length: 4 }]),
            },
        );
        for (binary, passed) in [
            (Binary::Refuse, None),
            (Binary::LeaveOut, Some(0)),
            (Binary::Keep, Some(1)),
        ] {
            let mut taken = Taken::default();
            let mut sink = RedactingSink::new(&mut taken, &redactor, binary);
            let result = feed(&mut sink, &large, b"text", Verdict::Kept);
            assert_eq!(result.ok().map(|()| taken.0.len()), passed, "{binary:?}");
        }
    }

    #[test]
    fn entries_that_are_no_files_pass_unchanged() {
        let (mut taken, redactor) = (Taken::default(), redactor());
        let mut sink = RedactingSink::new(&mut taken, &redactor, Binary::Refuse);
        let mut link = entry(
            "l",
            Kind::Link {
                target: b"password=hunter2".to_vec(),
            },
        );
        link.metadata.xattrs.insert(b"user.x".to_vec(), b"\0".to_vec());
        for entry in [
            &link,
            &entry("p", Kind::Fifo),
            &entry("d", Kind::CharDevice { major: 1, minor: 3 }),
        ] {
            feed(&mut sink, entry, b"", Verdict::Kept).unwrap();
        }
        assert_eq!(taken.0.len(), 3);
        assert_eq!(taken.0[0].0, link);
    }
}
