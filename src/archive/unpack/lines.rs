//! The lines of a backup's catalog in order: those of its base, with what its patch says instead.

use std::cmp::Ordering;
use std::sync::Arc;

use tokio::runtime::Handle;

use crate::archive::catalog::Line;
use crate::archive::keys::Opening;
use crate::archive::record::Record;
use crate::fs::entry::TreePath;
use crate::id::SourceName;
use crate::target::Target;

use super::UnpackError;
use super::segments::{Before, Segments, Stream};

/// Gives the lines one after the other, holding a segment of the base and one of the patch. Blocks: for a blocking thread.
pub struct Lines {
    segments: Arc<Segments>,
    sources: Vec<SourceName>,
    base: Stream,
    patch: Stream,
}

impl Lines {
    /// Begins at the first line.
    pub fn new(target: &Target, record: &Record, opening: &Opening, handle: Handle) -> Self {
        Self::over(Arc::new(Segments::new(target, opening, handle)), record)
    }

    /// Begins at the first line, with segments that others read too.
    pub fn over(segments: Arc<Segments>, record: &Record) -> Self {
        Self {
            segments,
            sources: record.sources.iter().map(|source| source.name.clone()).collect(),
            base: Stream::new(&record.segments),
            patch: Stream::new(&record.patch),
        }
    }

    /// Passes over every line before what is sought, mostly without reading it.
    pub fn advance(&mut self, before: &Before<'_>) -> Result<(), UnpackError> {
        self.base.advance(&self.segments, before)?;
        self.patch.advance(&self.segments, before)
    }

    /// The next line that counts; never one that says that an entry is gone.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator's item would hide the error that ends it"
    )]
    pub fn next(&mut self) -> Result<Option<Line>, UnpackError> {
        loop {
            self.base.fill(&self.segments)?;
            self.patch.fill(&self.segments)?;
            let order = match (self.base.front(), self.patch.front()) {
                (None, None) => return Ok(None),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(base), Some(patch)) => self.key(base).cmp(&self.key(patch)),
            };
            let line = match order {
                Ordering::Less => self.base.pop(),
                Ordering::Greater => self.patch.pop(),
                Ordering::Equal => {
                    self.base.pop();
                    self.patch.pop()
                }
            };
            match line {
                Some(Line::Gone { .. }) | None => {}
                Some(line) => return Ok(Some(line)),
            }
        }
    }

    /// What lines are ordered by: the place of their source in the record, and their path.
    fn key<'l>(&self, line: &'l Line) -> (usize, Option<&'l TreePath>) {
        let place = |source: &SourceName| self.sources.iter().position(|other| other == source);
        match line {
            Line::Entry(listed) => (place(&listed.source).unwrap_or(usize::MAX), Some(&listed.entry.path)),
            Line::Gone { source, path } => (place(source).unwrap_or(usize::MAX), Some(path)),
            Line::Superseded { .. } => (0, None),
        }
    }
}
