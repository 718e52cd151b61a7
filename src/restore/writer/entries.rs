//! Makes the entries of a tree, each in the folder that is open for it.

use std::io;
use std::sync::{Arc, Weak};

use rustix::fs::FileType;

use super::behind::LateFile;
use super::small::{Place, SmallFile};
use super::{Current, Open, TreeWriter, WriteOptions, owner, writing};
use crate::fs::create::{self, Made};
use crate::fs::entry::{Entry, Extent, Kind, TreePath};
use crate::limits;
use crate::restore::check;
use crate::restore::current_file::CurrentFile;
use crate::restore::error::{RestoreError, Trick};
use crate::restore::shortfalls::Shortfalls;
use crate::restore::stack::Held;

impl TreeWriter {
    pub(super) fn create(&mut self, entry: &Entry) -> Result<(), RestoreError> {
        let path = &entry.path;
        match &entry.kind {
            Kind::Folder => self.create_folder(entry)?,
            Kind::File { size, extents } => {
                self.current = Some(self.create_file(entry, *size, extents.as_deref())?);
                return Ok(());
            }
            Kind::HardLink { first } => self.create_hard_link(path, first)?,
            Kind::Link { target } => {
                let folder = self.stack.top().map_err(|e| failed(path, e))?;
                create::make_link(folder, path.name(), target).map_err(|e| failed(path, e))?;
                let made = Made::Link(folder, path.name());
                apply(&self.options, &mut self.shortfalls, made, entry)?;
            }
            Kind::Fifo | Kind::CharDevice { .. } | Kind::BlockDevice { .. } => self.create_node(entry)?,
        }
        self.current = Some(Current::Other(path.clone()));
        Ok(())
    }

    /// Begins a file. A small one is made once its content is there.
    fn create_file(&mut self, entry: &Entry, size: u64, extents: Option<&[Extent]>) -> Result<Current, RestoreError> {
        let path = &entry.path;
        if extents.is_none() && size < limits::RESTORE_BEHIND {
            let file = SmallFile {
                place: self.place(path)?,
                path: path.clone(),
                metadata: entry.metadata.clone(),
                size: usize::try_from(size).unwrap_or(usize::MAX),
            };
            writing(&mut self.behind, &self.options)?.begin_small(&file)?;
            return Ok(Current::Small(file));
        }
        let folder = self.stack.top().map_err(|e| failed(path, e))?;
        let file = create::make_file(folder, path.name()).map_err(|e| failed(path, e))?;
        let make_room = |e| RestoreError::entry("make room for", path, e);
        if extents.is_none() {
            return Ok(Current::Late(
                LateFile::new(folder, file, entry, size).map_err(make_room)?,
            ));
        }
        Ok(Current::File {
            path: path.clone(),
            size,
            metadata: entry.metadata.clone(),
            file: CurrentFile::new(file, size, extents).map_err(make_room)?,
        })
    }

    /// The top folder, as a place where files wait to be made; `path` is the next of them.
    fn place(&mut self, path: &TreePath) -> Result<Arc<Place>, RestoreError> {
        if let Some(place) = self.top().and_then(|open| open.place.upgrade()) {
            return Ok(place);
        }
        let place = Place::new(self.stack.top().map_err(|e| failed(path, e))?).map_err(|e| failed(path, e))?;
        if let Some(open) = self.top() {
            open.place = Arc::downgrade(&place);
        }
        Ok(place)
    }

    /// The folder that one works in.
    fn top(&mut self) -> Option<&mut Open> {
        match self.stack.data() {
            Some(open) => Some(open),
            None => self.root.as_mut(),
        }
    }

    fn create_folder(&mut self, entry: &Entry) -> Result<(), RestoreError> {
        let path = &entry.path;
        self.waiting += check::attribute_bytes(&entry.metadata);
        if self.waiting > limits::WAITING_XATTRS_MAX {
            return Err(RestoreError::hostile(path, Trick::Attribute));
        }
        let top = self.stack.top().map_err(|e| failed(path, e))?;
        let folder = create::make_folder(top, path.name()).map_err(|e| failed(path, e))?;
        let (folder, held) = match self.branches.at(path) {
            // What was just made stands for it in the tree.
            Some(branch) => (branch.try_clone().map_err(|e| failed(path, e))?, Held::Always),
            None => (folder, Held::WhileNear),
        };
        let open = Open {
            metadata: entry.metadata.clone(),
            place: Weak::new(),
        };
        self.stack
            .push(path.name(), folder, held, open)
            .map_err(|e| failed(path, e))
    }

    fn create_node(&mut self, entry: &Entry) -> Result<(), RestoreError> {
        let path = &entry.path;
        let folder = self.stack.top().map_err(|e| failed(path, e))?;
        let made = match entry.kind {
            Kind::CharDevice { major, minor } => {
                create::make_device(folder, path.name(), FileType::CharacterDevice, major, minor)
            }
            Kind::BlockDevice { major, minor } => {
                create::make_device(folder, path.name(), FileType::BlockDevice, major, minor)
            }
            _ => create::make_fifo(folder, path.name()),
        };
        match made {
            Ok(()) => apply(
                &self.options,
                &mut self.shortfalls,
                Made::Node(folder, path.name()),
                entry,
            ),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && entry.kind != Kind::Fifo => {
                self.shortfalls.skip_device(path);
                Ok(())
            }
            Err(error) => Err(failed(path, error)),
        }
    }

    /// Makes another name of something this writer has made: the folder was empty, so whatever is found below it was.
    fn create_hard_link(&mut self, path: &TreePath, first: &TreePath) -> Result<(), RestoreError> {
        let hostile = |trick| Err(RestoreError::hostile(path, trick));
        if self.shortfalls.is_skipped(first) {
            self.shortfalls.skip_device(path);
            return Ok(());
        }
        let above = first.parent().unwrap_or_default();
        let folder_of_first = match self.branches.open_beneath(self.stack.root(), &above) {
            Err(error) if create::is_nothing(&error) => return hostile(Trick::LinkToNothing),
            other => other.map_err(|e| failed(path, e))?,
        };
        let mut found = create::look(&folder_of_first, first.name());
        if let (Err(error), Some(behind)) = (&found, &mut self.behind)
            && create::is_nothing(error)
        {
            // It may be waiting to be made.
            behind.settle()?;
            found = create::look(&folder_of_first, first.name());
        }
        match found {
            Err(error) if create::is_nothing(&error) => return hostile(Trick::LinkToNothing),
            Err(error) => return Err(failed(path, error)),
            Ok(stat) if create::type_of(&stat) == FileType::Directory => return hostile(Trick::LinkToFolder),
            Ok(_) => {}
        }
        let folder = self.stack.top().map_err(|e| failed(path, e))?;
        create::hard_link(&folder_of_first, first.name(), folder, path.name()).map_err(|e| failed(path, e))
    }
}

/// A failed creation. A name that is there already was made by this archive: the folder was empty.
pub(super) fn failed(path: &TreePath, error: io::Error) -> RestoreError {
    if error.kind() == io::ErrorKind::AlreadyExists {
        RestoreError::hostile(path, Trick::Twice)
    } else {
        RestoreError::entry("create", path, error)
    }
}

fn apply(
    options: &WriteOptions,
    shortfalls: &mut Shortfalls,
    made: Made<'_>,
    entry: &Entry,
) -> Result<(), RestoreError> {
    let short = owner::apply(options, made, &entry.kind, &entry.path, &entry.metadata)?;
    shortfalls.note(&entry.path, short);
    Ok(())
}
