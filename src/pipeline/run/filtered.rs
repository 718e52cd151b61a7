//! Lets the wanted part of a source through to its writer, each entry with the folders on the way to it.
//!
//! A file that is wanted under another name than its first comes before that name in the stream: its content waits in a
//! file without a name, and is written when its turn has come.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use crate::diagnostic::{Code, Diagnostic};
use crate::fs::atomic;
use crate::fs::entry::{Entry, Kind, TreePath};
use crate::id::SourceName;
use crate::limits::READ_BLOCK;
use crate::restore::error::RestoreError;
use crate::source::{SinkError, TreeSink, Verdict};

use super::UNTOUCHED;
use super::output::{Finished, Output};
use super::part::Part;

/// Lets the wanted entries through.
pub(super) struct Filtered {
    source: SourceName,
    writer: Output,
    /// Nothing where everything is wanted.
    part: Option<Arc<Part>>,
    /// A folder where content may wait.
    spool: PathBuf,
    /// Folders on the way to the present entry that were not written yet, outermost first.
    waiting: Vec<Entry>,
    /// First names that are not wanted, and what became of their files.
    firsts: BTreeMap<TreePath, First>,
    now: Now,
}

/// What becomes of the entry under way.
enum Now {
    Passing,
    Dropped,
    /// Its content is kept for another name.
    Kept(TreePath, Box<Entry>, Option<File>),
}

/// A file whose first name is not wanted.
enum First {
    /// It waits for a name.
    Waiting(Box<Entry>, Option<File>),
    /// It was written under this name.
    At(TreePath),
}

impl Filtered {
    pub(super) fn new(source: SourceName, writer: Output, part: Option<Arc<Part>>, spool: PathBuf) -> Self {
        Self {
            source,
            writer,
            part,
            spool,
            waiting: Vec::new(),
            firsts: BTreeMap::new(),
            now: Now::Dropped,
        }
    }

    pub(super) fn finish(mut self) -> Result<Finished, RestoreError> {
        // The root is there in any case: an empty folder says that nothing of this source was wanted.
        if let Some(root) = self.waiting.iter().find(|folder| folder.path.is_root()).cloned() {
            self.writer
                .begin(&root)
                .and_then(|()| self.writer.end(Verdict::Kept))
                .map_err(|_| RestoreError::Unfinished)?;
        }
        self.writer.finish()
    }

    /// Writes the folders on the way to the present entry.
    fn open_way(&mut self) -> Result<(), SinkError> {
        for folder in std::mem::take(&mut self.waiting) {
            self.writer.begin(&folder)?;
            self.writer.end(Verdict::Kept)?;
        }
        Ok(())
    }

    /// A further name of a file whose first name is not wanted: the first such name gets the content, the others are links
    /// to it.
    fn further_name(&mut self, entry: &Entry, first: &TreePath) -> Result<Now, SinkError> {
        self.open_way()?;
        match self.firsts.remove(first) {
            Some(First::At(path)) => {
                let link = Entry {
                    kind: Kind::HardLink { first: path.clone() },
                    ..entry.clone()
                };
                self.writer.begin(&link)?;
                self.firsts.insert(first.clone(), First::At(path));
                Ok(Now::Passing)
            }
            Some(First::Waiting(kept, content)) => {
                let whole = Entry {
                    path: entry.path.clone(),
                    ..*kept
                };
                self.writer.begin(&whole)?;
                if let Some(content) = content {
                    self.copy(content)?;
                }
                self.firsts.insert(first.clone(), First::At(entry.path.clone()));
                Ok(Now::Passing)
            }
            None => {
                let what = format!(
                    "`{}/{}` is another name of something that does not come before it",
                    self.source,
                    entry.path.display()
                );
                let problem = Diagnostic::error(Code::ArchiveHostile, what).state(UNTOUCHED);
                Err(SinkError::Failed(Box::new(problem)))
            }
        }
    }

    fn copy(&mut self, mut content: File) -> Result<(), SinkError> {
        content.rewind().map_err(|error| self.cannot_wait(&error))?;
        let mut block = vec![0; READ_BLOCK];
        loop {
            let read = content.read(&mut block).map_err(|error| self.cannot_wait(&error))?;
            match block.get(..read) {
                Some(data) if !data.is_empty() => self.writer.write(data)?,
                _ => return Ok(()),
            }
        }
    }

    fn cannot_wait(&self, error: &io::Error) -> SinkError {
        let code = Code::RestoreFailed.unless_full(error);
        let what = format!(
            "the content of a file with several names cannot be kept in `{}`",
            self.spool.display()
        );
        let problem = Diagnostic::error(code, what).why(error.to_string()).state(UNTOUCHED);
        SinkError::Failed(Box::new(
            problem.help("free space there, or ask for the file by its first name too"),
        ))
    }
}

impl TreeSink for Filtered {
    fn begin(&mut self, entry: &Entry) -> Result<(), SinkError> {
        let Some(part) = self.part.clone() else {
            self.now = Now::Passing;
            return self.writer.begin(entry);
        };
        let is_folder = entry.kind == Kind::Folder;
        let holds = |folder: &Entry| {
            let (folder, path) = (folder.path.as_bytes(), entry.path.as_bytes());
            folder.is_empty()
                || path
                    .strip_prefix(folder)
                    .is_some_and(|rest| rest.first() == Some(&b'/'))
        };
        self.waiting.retain(holds);
        let is_wanted = |path: &TreePath| part.wanted.wants(&self.source, path, is_folder, |_| ());
        self.now = if is_wanted(&entry.path) {
            match &entry.kind {
                Kind::HardLink { first } if !is_wanted(first) => self.further_name(entry, first)?,
                _ => {
                    self.open_way()?;
                    self.writer.begin(entry)?;
                    Now::Passing
                }
            }
        } else if part.is_first(&self.source, &entry.path) {
            let content = match entry.kind {
                Kind::File { .. } => Some(atomic::unnamed(&self.spool).map_err(|error| self.cannot_wait(&error))?),
                _ => None,
            };
            Now::Kept(entry.path.clone(), Box::new(entry.clone()), content)
        } else {
            if is_folder {
                self.waiting.push(entry.clone());
            }
            Now::Dropped
        };
        Ok(())
    }

    fn write(&mut self, data: &[u8]) -> Result<(), SinkError> {
        match &mut self.now {
            Now::Passing => self.writer.write(data),
            Now::Dropped | Now::Kept(_, _, None) => Ok(()),
            Now::Kept(_, _, Some(content)) => {
                let written = content.write_all(data);
                written.map_err(|error| self.cannot_wait(&error))
            }
        }
    }

    fn rest(&mut self) -> Result<(), SinkError> {
        self.writer.rest()
    }

    fn end(&mut self, verdict: Verdict) -> Result<(), SinkError> {
        match std::mem::replace(&mut self.now, Now::Dropped) {
            Now::Passing => self.writer.end(verdict),
            Now::Dropped => Ok(()),
            Now::Kept(path, entry, content) => {
                self.firsts.insert(path, First::Waiting(entry, content));
                Ok(())
            }
        }
    }
}
