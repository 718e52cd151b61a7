//! Small files, made many at a time by the threads that write behind: making one costs the kernel more than its content.
//!
//! A folder that is left while files still have to be made in it gets its properties from whichever thread makes the last of them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex};

use super::behind::Shared;
use super::entries::failed;
use crate::fs::create::{self, Made};
use crate::fs::direct::Block;
use crate::fs::entry::{Kind, Metadata, TreePath};
use crate::limits::{RESTORE_BATCH_FILES, RESTORE_BATCH_FOLDERS};
use crate::poison::lock;
use crate::restore::check;
use crate::restore::error::{RestoreError, Trick};

/// A folder in which files wait to be made, held by each of these and by none else.
pub(super) struct Place {
    folder: OwnedFd,
    /// What it is to have once the last of them is made, where it was left before.
    left: Mutex<Option<(TreePath, Metadata)>>,
}

impl Place {
    pub(super) fn new(folder: BorrowedFd<'_>) -> std::io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            folder: folder.try_clone_to_owned()?,
            left: Mutex::default(),
        }))
    }

    pub(super) fn leave(&self, path: TreePath, metadata: Metadata) {
        *lock(&self.left) = Some((path, metadata));
    }

    /// Lets go of it. Whoever does so last gives it its properties, where it was left.
    pub(super) fn one_less(place: Arc<Self>, shared: &Shared) -> Result<(), RestoreError> {
        let Some(last) = Arc::into_inner(place) else {
            return Ok(());
        };
        let left = lock(&last.left).take();
        match left {
            Some((path, metadata)) => shared.apply(Made::Open(last.folder.as_fd()), &Kind::Folder, &path, &metadata),
            None => Ok(()),
        }
    }
}

/// A file whose content is in the buffer of its batch.
pub(super) struct SmallFile {
    pub(super) place: Arc<Place>,
    pub(super) path: TreePath,
    pub(super) metadata: Metadata,
    pub(super) size: usize,
}

/// Files with their content, one after the other, in one buffer.
pub(super) struct Batch {
    block: Block,
    /// Bytes of the files that are whole, and of the one that is begun.
    whole: usize,
    begun: usize,
    files: Vec<SmallFile>,
    folders: usize,
    /// Bytes of their paths and attributes.
    described: usize,
}

impl Batch {
    pub(super) fn new(block: Block) -> Self {
        Self {
            block,
            whole: 0,
            begun: 0,
            files: Vec::new(),
            folders: 0,
            described: 0,
        }
    }

    /// Whether another file of `size` bytes goes in, from whatever folder.
    pub(super) fn has_room(&self, size: usize) -> bool {
        let room = self.block.bytes().len();
        self.files.len() < RESTORE_BATCH_FILES
            && self.folders < RESTORE_BATCH_FOLDERS
            && self.described < room
            && size <= room - self.whole
    }

    /// Takes the next bytes of the file that is begun, which has `size`.
    pub(super) fn write(&mut self, size: usize, data: &[u8]) -> Result<(), Trick> {
        if data.len() > size - self.begun {
            return Err(Trick::TooMuch);
        }
        let from = self.whole + self.begun;
        if let Some(room) = self.block.bytes_mut().get_mut(from..from + data.len()) {
            room.copy_from_slice(data);
        }
        self.begun += data.len();
        Ok(())
    }

    /// Ends the file that is begun, all of whose content must have come.
    pub(super) fn end(&mut self, file: SmallFile) -> Result<(), RestoreError> {
        if self.begun != file.size {
            return Err(RestoreError::hostile(&file.path, Trick::TooLittle));
        }
        self.whole += std::mem::take(&mut self.begun);
        self.described += file.path.as_bytes().len() + check::attribute_bytes(&file.metadata);
        if self
            .files
            .last()
            .is_none_or(|last| !Arc::ptr_eq(&last.place, &file.place))
        {
            self.folders += 1;
        }
        self.files.push(file);
        Ok(())
    }

    /// Forgets the file that is begun.
    pub(super) fn abandon(&mut self) {
        self.begun = 0;
    }

    pub(super) fn into_block(self) -> Block {
        self.block
    }

    /// Makes the files, up to the first that cannot be made. Gives the buffer back.
    pub(super) fn make(self, shared: &Shared) -> (Result<(), RestoreError>, Block) {
        let mut rest = self.block.bytes();
        let mut done = Ok(());
        for file in self.files {
            let (content, later) = rest.split_at(file.size.min(rest.len()));
            rest = later;
            done = file.make(content, shared);
            if done.is_err() {
                break;
            }
        }
        (done, self.block)
    }
}

impl SmallFile {
    fn make(self, content: &[u8], shared: &Shared) -> Result<(), RestoreError> {
        let path = &self.path;
        let file = create::make_file(&self.place.folder, path.name()).map_err(|e| failed(path, e))?;
        file.write_all_at(content, 0)
            .map_err(|e| RestoreError::entry("write", path, e))?;
        let kind = Kind::File {
            size: content.len() as u64,
            extents: None,
        };
        shared.apply(Made::Open(file.as_fd()), &kind, path, &self.metadata)?;
        Place::one_less(self.place, shared)
    }
}
