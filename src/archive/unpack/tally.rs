//! What passed of a backup: that it comes in order, and that it is as much as the record says.

use std::collections::BTreeMap;

use crate::archive::catalog::Listed;
use crate::archive::record::Record;
use crate::fs::entry::{Kind, TreePath};
use crate::id::SourceName;

use super::{UnpackError, Unpacked};

/// Counts entries as they pass.
pub(in crate::archive) struct Tally {
    /// The sources with the bytes that the record says they hold.
    sources: Vec<(SourceName, u64)>,
    counts: BTreeMap<SourceName, Unpacked>,
    last: Option<(SourceName, TreePath)>,
    total: Unpacked,
}

impl Tally {
    pub(in crate::archive) fn new(record: &Record) -> Self {
        // A source that was allowed to be absent, and was, has not even a root.
        let there = record.sources.iter().filter(|source| source.entries > 0);
        Self {
            sources: there.map(|source| (source.name.clone(), source.bytes)).collect(),
            counts: BTreeMap::new(),
            last: None,
            total: Unpacked::default(),
        }
    }

    /// Sources come in the order of the record, each once; paths ascend within a source and begin with its root. No file is
    /// larger than what its source still lacks, so that nobody makes room for a size that is only claimed.
    pub(in crate::archive) fn check(&mut self, listed: &Listed) -> Result<(), &'static str> {
        match &self.last {
            Some((source, path)) if *source == listed.source => {
                if *path >= listed.entry.path {
                    return Err("entries that are doubled or out of order");
                }
            }
            _ => {
                let next = self.counts.len();
                if self.sources.get(next).map(|(name, _)| name) != Some(&listed.source) {
                    return Err("a source that the record does not name here");
                }
                if !listed.entry.path.is_root() {
                    return Err("a source that does not begin with its root");
                }
                self.counts.insert(listed.source.clone(), Unpacked::default());
            }
        }
        self.last = Some((listed.source.clone(), listed.entry.path.clone()));
        let holds = self
            .sources
            .get(self.counts.len().wrapping_sub(1))
            .map_or(0, |(_, bytes)| *bytes);
        let passed = self.counts.get(&listed.source).map_or(0, |count| count.bytes);
        if passed.saturating_add(bytes_of(listed)) > holds {
            return Err("a file larger than what the record says its source holds");
        }
        Ok(())
    }

    pub(in crate::archive) fn count(&mut self, listed: &Listed) {
        let bytes = bytes_of(listed);
        let count = self.counts.entry(listed.source.clone()).or_default();
        for count in [count, &mut self.total] {
            count.entries += 1;
            count.bytes = count.bytes.saturating_add(bytes);
        }
    }

    /// Compares with the counts of the record.
    pub(in crate::archive) fn finish(self, record: &Record) -> Result<Unpacked, UnpackError> {
        for source in &record.sources {
            let found = self.counts.get(&source.name).cloned().unwrap_or_default();
            if (found.entries, found.bytes) != (source.entries, source.bytes) {
                return Err(UnpackError::Disagree {
                    path: source.name.to_string(),
                    what: "the counts of the record",
                });
            }
        }
        Ok(self.total)
    }
}

/// Apparent bytes of an entry.
fn bytes_of(listed: &Listed) -> u64 {
    match listed.entry.kind {
        Kind::File { size, .. } => size,
        _ => 0,
    }
}
