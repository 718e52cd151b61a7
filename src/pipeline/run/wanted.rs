//! A part of a backup: globs over `<source>/<path>`, and a sink that lets only that part through.

use crate::diagnostic::{Code, Diagnostic};
use crate::fs::entry::{Entry, Kind, TreePath};
use crate::fs::glob::{Excludes, GlobError};
use crate::id::SourceName;
use crate::restore::error::RestoreError;
use crate::restore::writer::{TreeWriter, Written};
use crate::source::{SinkError, TreeSink, Verdict};

/// Which entries are wanted. A folder that is wanted is wanted with everything in it.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    include: Option<Excludes>,
    exclude: Option<Excludes>,
}

impl Wanted {
    pub(super) fn new(include: &[String], exclude: &[String]) -> Result<Self, GlobError> {
        let rules = |globs: &[String]| {
            if globs.is_empty() {
                Ok(None)
            } else {
                Excludes::new(globs).map(Some)
            }
        };
        Ok(Self {
            include: rules(include)?,
            exclude: rules(exclude)?,
        })
    }

    pub(super) const fn is_everything(&self) -> bool {
        self.include.is_none() && self.exclude.is_none()
    }

    fn wants(&self, source: &SourceName, path: &TreePath, is_folder: bool) -> bool {
        let mut bytes = source.as_str().as_bytes().to_vec();
        if !path.is_root() {
            bytes.push(b'/');
            bytes.extend_from_slice(path.as_bytes());
        }
        let Some(full) = TreePath::parse(&bytes) else {
            return false;
        };
        self.include
            .as_ref()
            .is_none_or(|rules| rules.exclude(&full, is_folder))
            && !self
                .exclude
                .as_ref()
                .is_some_and(|rules| rules.exclude(&full, is_folder))
    }
}

/// Lets the wanted entries through, each with the folders on the way to it.
pub(super) struct Filtered {
    source: SourceName,
    writer: TreeWriter,
    wanted: Wanted,
    /// Folders on the way to the present entry that were not written yet, outermost first.
    waiting: Vec<Entry>,
    passing: bool,
    missed: Vec<Diagnostic>,
    written: std::collections::BTreeSet<TreePath>,
}

impl Filtered {
    pub(super) fn new(source: SourceName, writer: TreeWriter, wanted: Wanted) -> Self {
        let written = std::collections::BTreeSet::new();
        Self {
            source,
            writer,
            wanted,
            waiting: Vec::new(),
            passing: false,
            missed: Vec::new(),
            written,
        }
    }

    pub(super) fn finish(mut self) -> Result<Written, RestoreError> {
        // The root is there in any case: an empty folder says that nothing of this source was wanted.
        if let Some(root) = self.waiting.iter().find(|folder| folder.path.is_root()).cloned() {
            self.writer
                .begin(&root)
                .and_then(|()| self.writer.end(Verdict::Kept))
                .map_err(|_| RestoreError::Unfinished)?;
        }
        let mut written = self.writer.finish()?;
        written.warning_count += self.missed.len() as u64;
        written.warnings.append(&mut self.missed);
        Ok(written)
    }
}

impl TreeSink for Filtered {
    fn begin(&mut self, entry: &Entry) -> Result<(), SinkError> {
        if self.wanted.is_everything() {
            self.passing = true;
            return self.writer.begin(entry);
        }
        let is_folder = entry.kind == Kind::Folder;
        let holds = |folder: &Entry| {
            let (folder, path) = (folder.path.as_bytes(), entry.path.as_bytes());
            folder.is_empty()
                || path
                    .strip_prefix(folder)
                    .is_some_and(|rest| rest.first() == Some(&b'/'))
        };
        self.waiting.retain(holds);
        self.passing = self.wanted.wants(&self.source, &entry.path, is_folder);
        if !self.passing {
            if is_folder {
                self.waiting.push(entry.clone());
            }
            return Ok(());
        }
        if let Kind::HardLink { first } = &entry.kind
            && !self.written.contains(first)
        {
            self.passing = false;
            let what = format!(
                "`{}/{}` is another name of `{}`, which is not wanted",
                self.source,
                entry.path.display(),
                first.display()
            );
            self.missed
                .push(Diagnostic::warning(Code::RestoreIncomplete, what).help(format!(
                    "include `{}/{}` too",
                    self.source,
                    first.display()
                )));
            return Ok(());
        }
        for folder in std::mem::take(&mut self.waiting) {
            self.writer.begin(&folder)?;
            self.writer.end(Verdict::Kept)?;
        }
        if !is_folder {
            self.written.insert(entry.path.clone());
        }
        self.writer.begin(entry)
    }

    fn write(&mut self, data: &[u8]) -> Result<(), SinkError> {
        if self.passing { self.writer.write(data) } else { Ok(()) }
    }

    fn end(&mut self, verdict: Verdict) -> Result<(), SinkError> {
        if self.passing { self.writer.end(verdict) } else { Ok(()) }
    }
}
