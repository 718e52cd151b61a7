//! `cat`: the content of one file of a backup.
//!
//! Nothing is given out that was not compared with the file's digest: a small file is held until then, a large one that does not go
//! into a file of `--output`, which is put in place at the end, is read twice. What is damaged ends the process with 4.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::archive::catalog::Listed;
use crate::archive::reading::ReadingError;
use crate::archive::reading::extract::{Taker, extract};
use crate::archive::reading::path::BackupPath;
use crate::fs::entry::{Extent, Kind, display_bytes};
use crate::limits::CAT_HELD;
use crate::outcome::Outcome;
use crate::source::SinkError;

use super::request::CatRequest;
use super::results::{Closed, Results};
use super::{Session, reading};

/// Gives the content.
pub async fn run(request: CatRequest, session: &Session) -> Outcome {
    let opened = match reading::open(session, &request.from).await {
        Ok(opened) => opened,
        Err(failure) => return Outcome::failed("cat", "", failure),
    };
    let (from, results) = (opened.reading, Arc::clone(&session.results));
    reading::read("cat", opened.warnings, opened.instead, move |outcome| {
        let path = reading::find(&from, Some(&request.path))?;
        let found = path.as_ref().map(|path| from.entry(path)).transpose()?.flatten();
        let (Some(path), Some(listed)) = (path, found) else {
            return Err(no_content("the whole backup", &display_bytes(&request.path), None).into());
        };
        let holder = from.holder(listed)?;
        let size = size_of(&holder, &path)?;
        let seen = Arc::new(AtomicBool::new(false));
        if holder.entry.kind.data_bytes() > CAT_HELD as u64 && !is_put_in_place(&*results) {
            let mut once = Some(holder.clone());
            extract(&from, move || Ok(once.take()), &mut ())?;
        }
        let mut giving = Giving::new(results, Arc::clone(&seen));
        let mut once = Some(holder);
        let extracted = extract(&from, move || Ok(once.take()), &mut giving);
        if seen.load(Ordering::Relaxed) {
            return Ok(());
        }
        extracted?;
        outcome.headline = format!("{} of backup {}", path.display(), from.record().id);
        outcome.field("bytes", "bytes", size.to_string(), size);
        Ok(())
    })
    .await
}

/// Whether what is given out counts only once it is all there.
fn is_put_in_place(results: &dyn Results) -> bool {
    let is_device = |file: &Path| std::fs::metadata(file).is_ok_and(|found| !found.is_file());
    results.file().is_some_and(|file| !is_device(file))
}

fn no_content(what: &'static str, path: &str, target: Option<String>) -> ReadingError {
    ReadingError::NoContent {
        path: path.to_owned(),
        what,
        target,
    }
}

/// The size of a file.
fn size_of(listed: &Listed, path: &BackupPath) -> Result<u64, ReadingError> {
    let (what, target) = match &listed.entry.kind {
        Kind::File { size, .. } => return Ok(*size),
        Kind::Folder => ("a folder", None),
        Kind::Link { target } => ("a symbolic link", Some(display_bytes(target))),
        Kind::HardLink { .. } => ("a further name", None),
        Kind::Fifo => ("a named pipe", None),
        Kind::CharDevice { .. } | Kind::BlockDevice { .. } => ("a device", None),
    };
    Err(no_content(what, &path.display(), target))
}

enum Piece {
    Data(Vec<u8>),
    Zeros(u64),
}

/// Takes the data of a file and gives it with its holes.
struct Giving {
    results: Arc<dyn Results>,
    seen: Arc<AtomicBool>,
    begun: bool,
    /// A terminal gets no character that draws on it.
    shown: bool,
    held: VecDeque<Piece>,
    held_bytes: usize,
    /// What is still to come of the file.
    extents: VecDeque<Extent>,
    at: u64,
    size: u64,
}

impl Giving {
    fn new(results: Arc<dyn Results>, seen: Arc<AtomicBool>) -> Self {
        Self {
            shown: results.is_terminal(),
            results,
            seen,
            begun: false,
            held: VecDeque::new(),
            held_bytes: 0,
            extents: VecDeque::new(),
            at: 0,
            size: 0,
        }
    }

    /// Holds the hole before the next data, where there is one.
    fn hole(&mut self, until: u64) {
        if let Some(length) = until.checked_sub(self.at).filter(|length| *length > 0) {
            self.held.push_back(Piece::Zeros(length));
            self.at = until;
        }
    }

    fn give(&mut self, keep: usize) -> Result<(), Closed> {
        if self.held_bytes <= keep && keep > 0 {
            return Ok(());
        }
        if !self.begun {
            self.results.begin_bytes()?;
            self.begun = true;
        }
        while self.held_bytes > keep || keep == 0 {
            match self.held.pop_front() {
                Some(Piece::Data(data)) => {
                    self.held_bytes -= data.len();
                    if self.shown {
                        self.results.bytes(shown(&data).as_bytes())?;
                    } else {
                        self.results.bytes(&data)?;
                    }
                }
                Some(Piece::Zeros(length)) if self.shown => {
                    self.results.bytes(format!("[{length} bytes of a hole]").as_bytes())?;
                }
                Some(Piece::Zeros(length)) => self.results.zeros(length)?,
                None => break,
            }
        }
        Ok(())
    }
}

/// Text for a terminal; lines and tabs stay.
fn shown(data: &[u8]) -> String {
    let lines = data.split(|byte| *byte == b'\n').map(|line| {
        let cells = line.split(|byte| *byte == b'\t').map(display_bytes);
        cells.collect::<Vec<_>>().join("\t")
    });
    lines.collect::<Vec<_>>().join("\n")
}

impl Taker for Giving {
    fn begin(&mut self, listed: &Listed) -> Result<(), SinkError> {
        if let Kind::File { size, extents } = &listed.entry.kind {
            self.size = *size;
            let whole = || {
                vec![Extent {
                    offset: 0,
                    length: *size,
                }]
            };
            self.extents = extents.clone().unwrap_or_else(whole).into();
        }
        Ok(())
    }

    fn data(&mut self, mut data: &[u8]) -> Result<(), SinkError> {
        while let Some(extent) = self.extents.front().copied().filter(|_| !data.is_empty()) {
            self.hole(extent.offset);
            let left = (extent.offset + extent.length).saturating_sub(self.at);
            let count = usize::try_from(left).map_or(data.len(), |left| left.min(data.len()));
            let (now, later) = data.split_at(count);
            self.held.push_back(Piece::Data(now.to_vec()));
            self.held_bytes += count;
            self.at += count as u64;
            data = later;
            if count as u64 == left {
                self.extents.pop_front();
            }
        }
        self.give(CAT_HELD)
            .map_err(|closed| reading::sink_error(closed, &self.seen))
    }

    fn end(&mut self) -> Result<(), SinkError> {
        self.hole(self.size);
        self.give(0).map_err(|closed| reading::sink_error(closed, &self.seen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_lines_and_nothing_that_draws() {
        assert_eq!(shown(b"a\tb\n\x1b[2J\xff\n"), "a\tb\n\\u{1b}[2J\\xff\n");
    }
}
