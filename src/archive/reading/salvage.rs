//! Takes out of a damaged backup what can be had of it.
//!
//! The content of every file is read and compared first, so that no byte of a file that is lost is ever handed on; then everything
//! else is, in its order, each content compared once more as it passes.

use std::collections::HashSet;

use crate::archive::catalog::Listed;
use crate::archive::unpack::{self, BackupSink, Tally, UnpackError};
use crate::codec::Codec;
use crate::fs::entry::Kind;
use crate::id::SourceName;
use crate::source::SinkError;

use super::damage::{self, Look, Lost};
use super::extract::{Taker, extract};
use super::path::BackupPath;
use super::{Reading, ReadingError};

/// Hands everything that can be had to `sink`, which comes back at the end with what is lost.
///
/// # Errors
/// When the catalog or the list of objects cannot be read, when the backup is a stream that ends where it is damaged, or when more
/// is lost than is kept in memory; the sink is dropped then.
pub fn salvage<S: BackupSink>(reading: &Reading, look: Look, sink: S) -> Result<(Lost, S), ReadingError> {
    let archive = reading.record().archive.as_ref();
    if let Some(archive) = archive.filter(|archive| archive.codec == Codec::Gzip) {
        return Err(ReadingError::Stream(archive.name.clone()));
    }
    let filter = look.filter.clone();
    let mut lost = damage::lost(reading, look)?;
    if !lost.is_complete() {
        return Err(ReadingError::TooMuchLost(lost.count));
    }
    let names: HashSet<BackupPath> = std::mem::take(&mut lost.names);
    let (mut entries, record) = (reading.entries(), reading.record().clone());
    let mut tally = Some(Tally::new(&record));
    let next = move || {
        while let Some(listed) = entries.next()? {
            let path = BackupPath::of(&listed);
            if let Some(tally) = &mut tally {
                let checked = tally.check(&listed);
                let disagree = |what| UnpackError::Disagree {
                    path: path.display(),
                    what,
                };
                checked.map_err(disagree)?;
                tally.count(&listed);
            }
            // The folders on the way to what is wanted are told by who takes them.
            let wanted = filter.as_ref().is_none_or(|filter| filter(&listed)) || listed.entry.kind == Kind::Folder;
            if wanted && !names.contains(&path) {
                return Ok(Some(listed));
            }
        }
        if let Some(tally) = tally.take() {
            tally.finish(&record)?;
        }
        Ok(None)
    };
    let mut handing = Handing { sink, source: None };
    extract(reading, next, &mut handing)?;
    Ok((lost, handing.sink))
}

/// Hands entries on to the sink of a backup.
struct Handing<S> {
    sink: S,
    /// The source of the entry under way.
    source: Option<SourceName>,
}

impl<S: BackupSink> Taker for Handing<S> {
    fn begin(&mut self, listed: &Listed) -> Result<(), SinkError> {
        self.source = Some(listed.source.clone());
        unpack::begin(&mut self.sink, listed)
    }

    fn data(&mut self, data: &[u8]) -> Result<(), SinkError> {
        let Some(source) = &self.source else { return Ok(()) };
        unpack::content(&mut self.sink, source, data)
    }

    fn end(&mut self) -> Result<(), SinkError> {
        let Some(source) = &self.source else { return Ok(()) };
        unpack::end(&mut self.sink, source)
    }
}
