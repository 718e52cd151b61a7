//! The text of a segment under way. It never grows beyond what a reader takes: it is closed before it would, and a line that no
//! reader takes is refused, for a backup that cannot be read is none.

use std::collections::HashMap;

use base64::Engine;

use super::{
    BASE64, CHUNK_BYTES, Line, Listed, Place, TABLE, Table, Written, WrittenKind, bytes_out, full_path, write_entry,
};
use crate::crypto::Digest;
use crate::diagnostic::{Code, Diagnose};
use crate::limits::{CATALOG_LINE_MAX, CHUNKS_LISTED_MAX, SEGMENT_CLOSED, SEGMENT_MAX};
use crate::units::ByteCount;

/// Bytes of a pack in the table: its digest, quotes and comma.
const TABLE_ENTRY: usize = 64 + 3;
/// Bytes around them: how the table begins and ends, with its newline.
const TABLE_FRAME: usize = TABLE.len() + 4;

/// Why a line cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The serializer's own error.
    #[error("a line of the catalog cannot be written")]
    Json(#[from] serde_json::Error),
    /// No reader takes it.
    #[error("`{path}` lies in too many places: its line in the catalog would have {}", ByteCount(*bytes))]
    TooLong {
        /// `<source>/<path>`.
        path: String,
        /// Bytes that it would have, with its table of packs.
        bytes: u64,
    },
}

impl Diagnose for LineError {
    fn code(&self) -> Code {
        match self {
            Self::Json(_) => Code::Internal,
            Self::TooLong { .. } => Code::SourceFailed,
        }
    }

    fn why(&self) -> Option<String> {
        match self {
            Self::Json(error) => Some(error.to_string()),
            Self::TooLong { .. } => Some(format!(
                "a line has {} at most, so that whoever reads it need not hold more; a backup with a longer one could not be restored",
                ByteCount(CATALOG_LINE_MAX as u64)
            )),
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::Json(_) => None,
            Self::TooLong { .. } => {
                Some("leave the file out with `exclude`, or back it up in a pipeline without `deduplicate`".into())
            }
        }
    }
}

/// The plain text of a whole segment, and its number of lines without the table.
pub type Segment = (Vec<u8>, u64);

/// The text of a segment under way. Packs are named once, in a table on its first line.
#[derive(Debug, Default)]
pub struct SegmentText {
    packs: Vec<Digest>,
    numbers: HashMap<Digest, u32>,
    text: Vec<u8>,
    lines: u64,
}

impl SegmentText {
    /// Adds a line. Where it does not fit together with those before, these are given back as a segment, and it begins the next.
    ///
    /// # Errors
    /// When the line is longer than a reader takes; the serializer's own error otherwise, which never comes of a capture.
    pub fn push(&mut self, line: &Line) -> Result<Option<Segment>, LineError> {
        let (text, packs) = (self.text.len(), self.packs.len());
        self.write(line)?;
        let mut closed = None;
        if self.lines > 0 && self.size() > SEGMENT_CLOSED {
            self.text.truncate(text);
            for pack in self.packs.drain(packs..) {
                self.numbers.remove(&pack);
            }
            closed = self.take()?;
            self.write(line)?;
        }
        let begins = if closed.is_some() { 0 } else { text };
        // Its newline is not the line's own.
        let length = self.text.len() - begins - 1;
        if length > CATALOG_LINE_MAX || self.size() > SEGMENT_MAX {
            let size = length.max(self.size() - begins);
            return Err(LineError::TooLong {
                path: path_of(line),
                bytes: size as u64,
            });
        }
        self.lines += 1;
        Ok(closed)
    }

    /// Bytes of the segment as it is.
    fn size(&self) -> usize {
        let table = match self.packs.len() {
            0 => 0,
            packs => TABLE_FRAME + packs * TABLE_ENTRY,
        };
        table + self.text.len()
    }

    fn write(&mut self, line: &Line) -> serde_json::Result<()> {
        let written = match line {
            Line::Entry(listed) => self.write_entry(listed),
            Line::Gone { source, path } => {
                let (path, path_b64) = bytes_out(&full_path(source, path));
                Written {
                    path,
                    path_b64,
                    kind: WrittenKind::Gone,
                    ..Written::default()
                }
            }
            Line::Superseded { at, length } => Written {
                kind: WrittenKind::Superseded,
                stretch: Some((*at, *length)),
                ..Written::default()
            },
        };
        serde_json::to_writer(&mut self.text, &written)?;
        self.text.push(b'\n');
        Ok(())
    }

    fn number(&mut self, pack: Digest) -> u32 {
        let next = u32::try_from(self.packs.len()).unwrap_or(u32::MAX);
        let packs = &mut self.packs;
        *self.numbers.entry(pack).or_insert_with(|| {
            packs.push(pack);
            next
        })
    }

    fn write_entry(&mut self, listed: &Listed) -> Written {
        let mut written = write_entry(listed);
        match &listed.place {
            None => {}
            Some(Place::Archive(data)) => written.data = Some(*data),
            Some(Place::Packs(packs)) => {
                written.page = packs.page;
                for run in &packs.runs {
                    written.runs.push((self.number(run.pack), run.offset, run.length));
                }
                // They are a hint; without them the line of a very large file stays short.
                if (1..=CHUNKS_LISTED_MAX).contains(&packs.chunks.len()) {
                    let mut bytes = Vec::with_capacity(packs.chunks.len() * CHUNK_BYTES);
                    for (length, id) in &packs.chunks {
                        bytes.extend_from_slice(&length.to_le_bytes());
                        bytes.extend_from_slice(id);
                    }
                    written.chunks = Some(BASE64.encode(bytes));
                }
            }
        }
        written
    }

    /// The text and the number of its lines without the table; `None` where there is no line. Begins anew.
    ///
    /// # Errors
    /// Never in practice; the serializer's own error.
    pub fn take(&mut self) -> serde_json::Result<Option<Segment>> {
        if self.lines == 0 {
            return Ok(None);
        }
        let Self { packs, text, lines, .. } = std::mem::take(self);
        if packs.is_empty() {
            return Ok(Some((text, lines)));
        }
        let mut whole = Vec::with_capacity(TABLE_FRAME + packs.len() * TABLE_ENTRY + text.len());
        serde_json::to_writer(&mut whole, &Table { packs })?;
        whole.push(b'\n');
        whole.extend_from_slice(&text);
        Ok(Some((whole, lines)))
    }
}

fn path_of(line: &Line) -> String {
    let path = match line {
        Line::Entry(listed) => full_path(&listed.source, &listed.entry.path),
        Line::Gone { source, path } => full_path(source, path),
        Line::Superseded { .. } => Vec::new(),
    };
    String::from_utf8_lossy(&path).into_owned()
}
