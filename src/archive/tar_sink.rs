//! Turns a captured tree into a plain tar archive, cut into frames, and into the lines of its catalog.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use blake3::Hasher;

use crate::codec::frames::Buffers;
use crate::codec::ordered::Gone;
use crate::diagnostic::{Code, Diagnostic};
use crate::fs::entry::{Entry, Kind};
use crate::id::SourceName;
use crate::limits::FRAME;
use crate::source::{SinkError, TreeSink, Verdict};

use super::catalog::{Line, LineError, Listed, Place, SegmentText, ends_segment};
use super::tar_header;

/// Where the pieces go: frames of plain text in order, and finished segments of the catalog.
pub trait Pieces: Send {
    /// Takes the next frame of plain text; blocks while there is no room.
    fn frame(&mut self, plain: Vec<u8>) -> Result<(), Gone>;

    /// Takes a finished segment: its plain text and its number of lines.
    fn segment(&mut self, plain: Vec<u8>, lines: u64) -> Result<(), SinkError>;
}

/// A sink that writes one archive; several sources follow one another in it.
pub struct TarSink<P> {
    pieces: P,
    buffers: Buffers,
    frame: Vec<u8>,
    position: u64,
    source: SourceName,
    current: Option<Current>,
    segment: SegmentText,
    counts: Counts,
    stop: Arc<AtomicBool>,
}

/// What went into the archive from one source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Entries.
    pub entries: u64,
    /// Apparent bytes of all files.
    pub bytes: u64,
}

/// The entry under way.
struct Current {
    entry: Entry,
    header: u64,
    data: u64,
    left: u64,
    content: Hasher,
    redacted: bool,
}

impl<P: Pieces> TarSink<P> {
    /// Begins an archive whose first source is `source`.
    ///
    /// Once `stop` is set it takes no more.
    pub fn new(pieces: P, buffers: Buffers, source: SourceName, stop: Arc<AtomicBool>) -> Self {
        let frame = buffers.take();
        Self {
            pieces,
            buffers,
            frame,
            position: 0,
            source,
            current: None,
            segment: SegmentText::default(),
            counts: Counts::default(),
            stop,
        }
    }

    /// What went in from the source under way.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Goes on with the next source. A segment of the catalog never holds two.
    pub fn source(&mut self, source: SourceName) -> Result<(), SinkError> {
        if source == self.source && self.counts == Counts::default() {
            return Ok(());
        }
        self.close_segment()?;
        self.source = source;
        self.counts = Counts::default();
        Ok(())
    }

    /// Ends the archive and gives the number of its plain bytes.
    pub fn finish(mut self) -> Result<(P, u64), SinkError> {
        self.close_segment()?;
        self.plain(&tar_header::END)?;
        let last = std::mem::take(&mut self.frame);
        if !last.is_empty() {
            self.pieces.frame(last).map_err(|Gone| SinkError::Stopped)?;
        }
        Ok((self.pieces, self.position))
    }

    fn plain(&mut self, mut data: &[u8]) -> Result<(), SinkError> {
        self.position += data.len() as u64;
        while !data.is_empty() {
            if self.frame.len() >= FRAME {
                let next = self.buffers.take();
                let full = std::mem::replace(&mut self.frame, next);
                self.pieces.frame(full).map_err(|Gone| SinkError::Stopped)?;
            }
            if self.frame.capacity() < FRAME {
                self.frame.reserve_exact(FRAME);
            }
            let room = FRAME.saturating_sub(self.frame.len());
            let (now, later) = data.split_at(room.min(data.len()));
            self.frame.extend_from_slice(now);
            data = later;
        }
        Ok(())
    }

    fn close_segment(&mut self) -> Result<(), SinkError> {
        match self.segment.take().map_err(|error| unwritable(&error.into()))? {
            Some((plain, lines)) => self.pieces.segment(plain, lines),
            None => Ok(()),
        }
    }

    fn line(&mut self, line: &Line) -> Result<(), SinkError> {
        match self.segment.push(line).map_err(|error| unwritable(&error))? {
            Some((plain, lines)) => self.pieces.segment(plain, lines),
            None => Ok(()),
        }
    }
}

fn unwritable(error: &LineError) -> SinkError {
    SinkError::Failed(Box::new(
        Diagnostic::of(error).state("no backup was made; backups made before are untouched"),
    ))
}

fn internal(what: &str) -> SinkError {
    SinkError::Failed(Box::new(
        Diagnostic::error(Code::Internal, what).state("no backup was made; backups made before are untouched"),
    ))
}

impl<P: Pieces> TreeSink for TarSink<P> {
    fn begin(&mut self, entry: &Entry) -> Result<(), SinkError> {
        let headers = tar_header::render(self.source.as_str(), entry);
        let length = entry.kind.data_bytes();
        let header = self.position;
        self.plain(&headers)?;
        self.current = Some(Current {
            entry: entry.clone(),
            header,
            data: self.position,
            left: length,
            content: Hasher::new(),
            redacted: false,
        });
        Ok(())
    }

    fn write(&mut self, data: &[u8]) -> Result<(), SinkError> {
        let current = self
            .current
            .as_mut()
            .ok_or_else(|| internal("data outside of an entry"))?;
        current.left = current
            .left
            .checked_sub(data.len() as u64)
            .ok_or_else(|| internal("more data than the entry says"))?;
        current.content.update(data);
        self.plain(data)
    }

    fn end(&mut self, verdict: Verdict) -> Result<(), SinkError> {
        let current = self.current.take().ok_or_else(|| internal("the end of no entry"))?;
        if current.left != 0 {
            return Err(internal("less data than the entry says"));
        }
        let padding = tar_header::padding(self.position - current.data);
        self.plain(tar_header::END.get(..padding).unwrap_or_default())?;
        if verdict == Verdict::Superseded {
            return self.line(&Line::Superseded {
                at: current.header,
                length: self.position - current.header,
            });
        }
        let is_file = matches!(current.entry.kind, Kind::File { .. });
        let blake3 = is_file.then(|| current.content.finalize().into());
        if self.stop.load(Ordering::Relaxed) {
            return Err(SinkError::Stopped);
        }
        self.counts.entries += 1;
        if let Kind::File { size, .. } = current.entry.kind {
            self.counts.bytes = self.counts.bytes.saturating_add(size);
        }
        let ends = ends_segment(&self.source, &current.entry.path);
        let listed = Listed {
            source: self.source.clone(),
            blake3,
            place: is_file.then_some(Place::Archive(current.data)),
            redacted: current.redacted,
            changing: verdict == Verdict::KeptChanging,
            entry: Entry {
                stat: None,
                ..current.entry
            },
        };
        self.line(&Line::Entry(Box::new(listed)))?;
        if ends { self.close_segment() } else { Ok(()) }
    }

    fn redacted(&mut self, _: u32) {
        if let Some(current) = &mut self.current {
            current.redacted = true;
        }
    }

    fn digest(&self) -> Option<blake3::Hash> {
        self.current.as_ref().map(|current| current.content.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::catalog::read_segment;
    use crate::crypto::Digest;
    use crate::fs::entry::{Metadata, TreePath};

    #[derive(Default)]
    struct Memory {
        frames: Vec<Vec<u8>>,
        lines: Vec<Line>,
    }

    impl Pieces for Memory {
        fn frame(&mut self, plain: Vec<u8>) -> Result<(), Gone> {
            self.frames.push(plain);
            Ok(())
        }

        fn segment(&mut self, plain: Vec<u8>, _: u64) -> Result<(), SinkError> {
            self.lines.extend(read_segment(&plain).map(Result::unwrap));
            Ok(())
        }
    }

    fn put(sink: &mut TarSink<Memory>, path: &str, data: &[u8], verdict: Verdict) {
        let kind = Kind::File {
            size: data.len() as u64,
            extents: None,
        };
        let path = TreePath::parse(path.as_bytes()).unwrap();
        let entry = Entry {
            path,
            kind,
            metadata: Metadata {
                mode: 0o600,
                ..Metadata::default()
            },
            stat: None,
        };
        sink.begin(&entry).unwrap();
        for piece in data.chunks(100_000) {
            sink.write(piece).unwrap();
        }
        sink.end(verdict).unwrap();
    }

    #[test]
    fn a_try_that_does_not_count_is_named_and_the_next_one_stands() {
        let mut sink = TarSink::new(
            Memory::default(),
            Buffers::default(),
            "s".parse().unwrap(),
            Arc::default(),
        );
        put(&mut sink, "a", b"first", Verdict::Superseded);
        put(&mut sink, "a", b"second", Verdict::Kept);
        let (memory, _) = sink.finish().unwrap();
        assert_eq!(memory.lines.first(), Some(&Line::Superseded { at: 0, length: 1024 }));
        let Some(Line::Entry(listed)) = memory.lines.get(1) else {
            panic!("no entry")
        };
        assert_eq!(
            (listed.blake3, listed.place.clone()),
            (Some(Digest::of(b"second")), Some(Place::Archive(1024 + 512)))
        );
    }

    #[test]
    fn frames_are_full_whatever_files_they_hold() {
        let mut sink = TarSink::new(
            Memory::default(),
            Buffers::default(),
            "s".parse().unwrap(),
            Arc::default(),
        );
        for n in 0..30 {
            put(&mut sink, &format!("a{n}"), &vec![1; 500_000], Verdict::Kept);
        }
        put(&mut sink, "b", &vec![2; 9_000_000], Verdict::Kept);
        let (memory, plain) = sink.finish().unwrap();
        assert_eq!(memory.frames.iter().map(Vec::len).sum::<usize>() as u64, plain);
        let (_, full) = memory.frames.split_last().unwrap();
        assert!(full.iter().all(|f| f.len() == FRAME));
    }
}
