//! Reads a backup: its catalog in order beside its archive, each content checked against its digest as it passes.
//!
//! The headers in the archive are made again from the catalog and compared byte by byte, so an archive in which a hand
//! restore would do something else than this program is found.

use std::collections::BTreeMap;

use crate::codec::frames;
use crate::crypto::Digest;
use crate::diagnostic::{Code, Diagnose, Diagnostic};
use crate::event::Events;
use crate::fs::entry::TreePath;
use crate::id::SourceName;
use crate::limits::SEGMENT_MAX;
use crate::source::{SinkError, TreeSink, Verdict};
use crate::target::{Target, TargetError};

use super::catalog::{CatalogError, Line, Listed, read_segment};
use super::plain::{self, PlainError, PlainReader, ReadError};
use super::record::{Record, SegmentRecord};
use super::tar_header;

/// Why a backup cannot be unpacked. What was handed on before the error must not be used.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The target failed.
    #[error("the backup cannot be read from its target")]
    Target(#[source] TargetError),
    /// A segment of the catalog is not what the record says.
    #[error("the catalog segment `{name}` is damaged: {what}")]
    Segment {
        /// Object name.
        name: String,
        /// What is wrong.
        what: String,
    },
    /// A segment of the catalog cannot be read.
    #[error("the catalog segment `{name}` is not a catalog")]
    Catalog {
        /// Object name.
        name: String,
        /// Why.
        #[source]
        source: CatalogError,
    },
    /// The archive cannot be read.
    #[error("the archive `{name}` is damaged")]
    Archive {
        /// Object name.
        name: String,
        /// Why.
        #[source]
        source: PlainError,
    },
    /// A file does not have the content that the catalog says.
    #[error("the content of `{path}` is not what the catalog says")]
    Content {
        /// Path with its source.
        path: String,
    },
    /// The archive and the catalog do not say the same.
    #[error("archive and catalog disagree at `{path}`: {what}")]
    Disagree {
        /// Path with its source.
        path: String,
        /// In what.
        what: &'static str,
    },
    /// The one who takes the entries ended.
    #[error("the entries could not be taken")]
    Sink(SinkError),
    /// A thread of the program ended early.
    #[error("a part of the program ended early")]
    Died,
}

impl Diagnose for UnpackError {
    fn code(&self) -> Code {
        match self {
            Self::Target(error) => error.code(),
            Self::Segment { .. } | Self::Catalog { .. } | Self::Content { .. } => Code::Damaged,
            Self::Archive {
                source: PlainError::Target(error),
                ..
            } => error.code(),
            Self::Archive {
                source: PlainError::Resources(_),
                ..
            }
            | Self::Died => Code::Internal,
            Self::Archive { .. } => Code::Damaged,
            Self::Disagree { .. } => Code::ArchiveHostile,
            Self::Sink(SinkError::Failed(diagnostic)) => diagnostic.code,
            Self::Sink(SinkError::Stopped) => Code::Interrupted,
        }
    }

    fn help(&self) -> Option<String> {
        let text = match self {
            Self::Target(error) => return error.help(),
            Self::Sink(SinkError::Failed(diagnostic)) => return diagnostic.help.clone(),
            Self::Sink(SinkError::Stopped) => return None,
            Self::Died => "run it again with -v and report what it prints",
            Self::Disagree { .. } => {
                "this backup was not made by this program as it is: do not restore it, look at who can write to the target"
            }
            _ => {
                "use another backup (`strongroom list`) or another target; copy the damaged one away before anything else"
            }
        };
        Some(text.into())
    }
}

/// What passed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Entries.
    pub entries: u64,
    /// Apparent bytes of files.
    pub bytes: u64,
}

/// Takes the entries of a backup, source by source in the order of the record.
pub trait BackupSink: Send {
    /// Where the entries of `source` go; `None` passes over it (its content is checked all the same).
    fn source(&mut self, source: &SourceName) -> Result<Option<&mut dyn TreeSink>, SinkError>;

    /// Hears of each entry before it is handed on.
    fn listed(&mut self, _: &Listed) -> Result<(), SinkError> {
        Ok(())
    }
}

/// Takes nothing: for a check of all content.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSink;

impl BackupSink for NoSink {
    fn source(&mut self, _: &SourceName) -> Result<Option<&mut dyn TreeSink>, SinkError> {
        Ok(None)
    }
}

/// Reads one segment of the catalog whole and checks it: its plain text.
pub async fn segment(target: &Target, segment: &SegmentRecord) -> Result<Vec<u8>, UnpackError> {
    let damaged = |what: &str| UnpackError::Segment {
        name: segment.name.clone(),
        what: what.into(),
    };
    let expected = usize::try_from(segment.plain_bytes).unwrap_or(usize::MAX);
    if expected > SEGMENT_MAX {
        return Err(damaged("it claims to be larger than any that this program writes"));
    }
    let stored = target
        .read(&segment.name, SEGMENT_MAX)
        .await
        .map_err(UnpackError::Target)?;
    if Some(Digest::of(&stored)) != segment.stored_digest() {
        return Err(damaged("the stored object is not that of its name"));
    }
    let plain = frames::decompress_whole(&stored, expected).map_err(|error| damaged(&error.to_string()))?;
    if Digest::of(&plain) == segment.blake3 {
        Ok(plain)
    } else {
        Err(damaged("its text is not that of the record"))
    }
}

/// Hands everything in the backup to `sink`, which comes back at the end.
///
/// # Errors
/// At the first thing that is wrong; the sink is dropped then.
pub async fn unpack<S: BackupSink + 'static>(
    target: &Target,
    record: &Record,
    events: &Events,
    sink: S,
) -> Result<(Unpacked, S), UnpackError> {
    let archive = |source| UnpackError::Archive {
        name: record.archive.name.clone(),
        source,
    };
    let plain = plain::open(target, &record.archive, events).await.map_err(archive)?;
    let (target, record) = (target.clone(), record.clone());
    let handle = tokio::runtime::Handle::current();
    let work = move || {
        let mut unpacking = Unpacking::new(&record, plain, sink);
        for part in &record.segments {
            let text = handle.block_on(segment(&target, part))?;
            let mut lines = 0;
            for line in read_segment(&text) {
                let line = line.map_err(|source| UnpackError::Catalog {
                    name: part.name.clone(),
                    source,
                })?;
                unpacking.line(line)?;
                lines += 1;
            }
            if lines != part.lines {
                let what = "it does not have the lines that the record says".into();
                return Err(UnpackError::Segment {
                    name: part.name.clone(),
                    what,
                });
            }
        }
        unpacking.finish(&record)
    };
    tokio::task::spawn_blocking(work).await.map_err(|_| UnpackError::Died)?
}

struct Unpacking<S> {
    archive: String,
    plain: PlainReader,
    sink: S,
    sources: Vec<SourceName>,
    counts: BTreeMap<SourceName, Unpacked>,
    last: Option<(SourceName, TreePath)>,
    total: Unpacked,
}

impl<S: BackupSink> Unpacking<S> {
    fn new(record: &Record, plain: PlainReader, sink: S) -> Self {
        // A source that was allowed to be absent, and was, has not even a root.
        let there = record.sources.iter().filter(|source| source.entries > 0);
        let sources = there.map(|source| source.name.clone()).collect();
        let archive = record.archive.name.clone();
        Self {
            archive,
            plain,
            sink,
            sources,
            counts: BTreeMap::new(),
            last: None,
            total: Unpacked::default(),
        }
    }

    fn read(
        &mut self,
        length: u64,
        mut take: impl FnMut(&[u8], &mut S) -> Result<(), UnpackError>,
    ) -> Result<(), UnpackError> {
        let Self {
            plain, sink, archive, ..
        } = self;
        plain
            .read(length, |data| take(data, sink))
            .map_err(|error| match error {
                ReadError::Plain(source) => UnpackError::Archive {
                    name: archive.clone(),
                    source,
                },
                ReadError::Taker(error) => error,
            })
    }

    fn line(&mut self, line: Line) -> Result<(), UnpackError> {
        match line {
            Line::Entry(listed) => self.entry(&listed),
            Line::Superseded { at, length } if at == self.plain.position() => self.read(length, |_, _| Ok(())),
            Line::Superseded { .. } => Err(UnpackError::Disagree {
                path: "(a stretch that does not count)".into(),
                what: "its place",
            }),
        }
    }

    fn entry(&mut self, listed: &Listed) -> Result<(), UnpackError> {
        let path = format!("{}/{}", listed.source, listed.entry.path.display());
        let disagree = |what| UnpackError::Disagree {
            path: path.clone(),
            what,
        };
        self.check_order(listed).map_err(disagree)?;
        let headers = tar_header::render(listed.source.as_str(), &listed.entry);
        let mut expected = headers.as_slice();
        self.read(headers.len() as u64, |data, _| {
            match expected.split_at_checked(data.len()) {
                Some((now, later)) if now == data => {
                    expected = later;
                    Ok(())
                }
                _ => Err(disagree("the header in the archive is not that of the catalog's entry")),
            }
        })?;
        if listed.data.is_some_and(|data| data != self.plain.position()) {
            return Err(disagree("the place of the content"));
        }
        self.sink.listed(listed).map_err(UnpackError::Sink)?;
        if let Some(sink) = self.sink.source(&listed.source).map_err(UnpackError::Sink)? {
            sink.begin(&listed.entry).map_err(UnpackError::Sink)?;
            if listed.redacted {
                sink.redacted();
            }
        }
        self.content(listed, &path)?;
        self.count(listed);
        Ok(())
    }

    fn content(&mut self, listed: &Listed, path: &str) -> Result<(), UnpackError> {
        let length = listed.entry.kind.data_bytes();
        let mut content = blake3::Hasher::new();
        self.read(length, |data, sink| {
            content.update(data);
            match sink.source(&listed.source).map_err(UnpackError::Sink)? {
                Some(sink) => sink.write(data).map_err(UnpackError::Sink),
                None => Ok(()),
            }
        })?;
        if listed.blake3.is_some_and(|digest| digest != content.finalize().into()) {
            return Err(UnpackError::Content { path: path.to_owned() });
        }
        let disagree = || UnpackError::Disagree {
            path: path.to_owned(),
            what: "bytes behind the content that are not zero",
        };
        self.read(tar_header::padding(length) as u64, |data, _| {
            if data.iter().all(|b| *b == 0) {
                Ok(())
            } else {
                Err(disagree())
            }
        })?;
        match self.sink.source(&listed.source).map_err(UnpackError::Sink)? {
            Some(sink) => sink.end(Verdict::Kept).map_err(UnpackError::Sink),
            None => Ok(()),
        }
    }

    /// Sources come in the order of the record, each once; paths ascend within a source and begin with its root.
    fn check_order(&mut self, listed: &Listed) -> Result<(), &'static str> {
        match &self.last {
            Some((source, path)) if *source == listed.source => {
                if *path >= listed.entry.path {
                    return Err("entries that are doubled or out of order");
                }
            }
            _ => {
                let next = self.counts.len();
                if self.sources.get(next) != Some(&listed.source) {
                    return Err("a source that the record does not name here");
                }
                if !listed.entry.path.is_root() {
                    return Err("a source that does not begin with its root");
                }
                self.counts.insert(listed.source.clone(), Unpacked::default());
            }
        }
        self.last = Some((listed.source.clone(), listed.entry.path.clone()));
        Ok(())
    }

    fn count(&mut self, listed: &Listed) {
        let bytes = match listed.entry.kind {
            crate::fs::entry::Kind::File { size, .. } => size,
            _ => 0,
        };
        let count = self.counts.entry(listed.source.clone()).or_default();
        for count in [count, &mut self.total] {
            count.entries += 1;
            count.bytes = count.bytes.saturating_add(bytes);
        }
    }

    /// After the last line: the end of the archive, nothing behind it, and the counts of the record.
    fn finish(mut self, record: &Record) -> Result<(Unpacked, S), UnpackError> {
        let disagree = |what| UnpackError::Disagree {
            path: "(the end)".into(),
            what,
        };
        self.read(tar_header::END.len() as u64, |data, _| {
            if data.iter().all(|b| *b == 0) {
                Ok(())
            } else {
                Err(disagree("more entries than the catalog has"))
            }
        })?;
        let name = record.archive.name.clone();
        if !self
            .plain
            .ended()
            .map_err(|source| UnpackError::Archive { name, source })?
        {
            return Err(disagree("bytes behind the end of the archive"));
        }
        for source in &record.sources {
            let found = self.counts.get(&source.name).cloned().unwrap_or_default();
            if (found.entries, found.bytes) != (source.entries, source.bytes) {
                return Err(UnpackError::Disagree {
                    path: source.name.to_string(),
                    what: "the counts of the record",
                });
            }
        }
        Ok((self.total, self.sink))
    }
}

impl From<UnpackError> for Box<Diagnostic> {
    fn from(error: UnpackError) -> Self {
        Self::new(Diagnostic::of(&error))
    }
}
