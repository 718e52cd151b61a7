//! Reads the bytes of a log in order, as far as its files reach now.

use std::io;
use std::os::fd::OwnedFd;

use crate::fs::entry::{Kind, TreePath};
use crate::fs::folder::Folder;
use crate::fs::owners::Owners;
use crate::fs::selection::Selection;
use crate::fs::walk::{FileSystems, Look, SecondNames, Step, Walk, WalkOptions};
use crate::source::feed;

/// A log below a folder, read from its beginning.
#[derive(Debug)]
pub struct LogReader {
    root: Folder,
    files: Vec<TreePath>,
    /// The file that is read, or will be next.
    file: usize,
    open: Option<OwnedFd>,
    offset: u64,
}

/// Where a byte of a log stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Spot {
    file: usize,
    pub(super) offset: u64,
}

impl Spot {
    pub(super) fn forward(self, bytes: usize) -> Self {
        Self {
            offset: self.offset + bytes as u64,
            ..self
        }
    }

    /// So many bytes before, in the same file.
    pub(super) fn back(self, bytes: usize) -> Self {
        Self {
            offset: self.offset.saturating_sub(bytes as u64),
            ..self
        }
    }
}

impl LogReader {
    /// Finds the log's files below `root`.
    pub(in crate::source) fn open(root: Folder, selection: &Selection) -> io::Result<Self> {
        let owners = Owners::default();
        let options = WalkOptions {
            selection,
            owners: &owners,
            look: Look::Survey,
            second_names: SecondNames::Linked,
            file_systems: FileSystems::All,
        };
        let mut files = Vec::new();
        let again = root.beneath(&TreePath::root())?;
        for step in Walk::new(again, options)? {
            match step {
                Step::Found(found) if matches!(found.entry.kind, Kind::File { .. }) => files.push(found.entry.path),
                Step::Found(_) | Step::Note(_) => {}
            }
        }
        Ok(Self {
            root,
            files,
            file: 0,
            open: None,
            offset: 0,
        })
    }

    /// The log's files in order.
    pub fn files(&self) -> &[TreePath] {
        &self.files
    }

    /// Begins with the file `path`, where it is one of the log's; nothing of the log may have been read.
    pub fn begin_at(&mut self, path: &TreePath) {
        if let Some(file) = self.files.iter().position(|file| file == path) {
            self.file = file;
        }
    }

    /// Reads on: at most to the end of the file under way. 0 at the log's end.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(path) = self.files.get(self.file) {
            let file = match self.open.take() {
                Some(file) => file,
                None => self
                    .root
                    .beneath(&path.parent().unwrap_or_default())?
                    .file(path.name())?,
            };
            let read = feed::read_at(&file, buffer, self.offset)?;
            if read > 0 || buffer.is_empty() {
                self.offset += read as u64;
                self.open = Some(file);
                return Ok(read);
            }
            if self.file + 1 >= self.files.len() {
                self.open = Some(file);
                break;
            }
            self.file += 1;
            self.offset = 0;
        }
        Ok(0)
    }

    /// Where what was read last ends.
    pub(super) fn spot(&self) -> Spot {
        Spot {
            file: self.file,
            offset: self.offset,
        }
    }

    /// The file of a spot.
    pub(super) fn file_at(&self, spot: Spot) -> Option<&TreePath> {
        self.files.get(spot.file)
    }
}
