//! What a capture of several sources writes into, whatever form the backup has.

use crate::id::SourceName;
use crate::source::{SinkError, TreeSink};

use super::chunks::shelf::FrameOut;
use super::chunks::sink::ChunkSink;
use super::tar_sink::{Counts, Pieces, TarSink};

/// A sink in which sources follow one another.
pub trait SourcesSink: TreeSink {
    /// Goes on with a source; the first one begins so too. `redaction` is the digest of the rules it is redacted by.
    fn begin_source(&mut self, source: &SourceName, redaction: Option<&str>) -> Result<(), SinkError>;

    /// What went in from the source under way.
    fn counts(&self) -> Counts;
}

impl<P: Pieces> SourcesSink for TarSink<P> {
    fn begin_source(&mut self, source: &SourceName, _: Option<&str>) -> Result<(), SinkError> {
        self.source(source.clone())
    }

    fn counts(&self) -> Counts {
        Self::counts(self)
    }
}

impl<O: FrameOut> SourcesSink for ChunkSink<O> {
    fn begin_source(&mut self, source: &SourceName, redaction: Option<&str>) -> Result<(), SinkError> {
        self.source(source.clone(), redaction.map(str::to_owned))
    }

    fn counts(&self) -> Counts {
        Self::counts(self)
    }
}
