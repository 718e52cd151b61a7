//! Writes a tree below an empty folder, entry by entry: the last line of defence against an archive that was tampered
//! with. Whatever it is fed, nothing outside the folder is written, opened or changed.
//!
//! Entries come depth first. Only the folders on the way to the present entry are remembered; a folder gets its
//! properties when the first entry outside it comes, so that what is made in it does not change them.

mod owner;

use std::os::fd::OwnedFd;

use rustix::fs::FileType;
use rustix::io::Errno;

pub use owner::OwnerMapping;
use owner::properties;

use super::check;
use super::current_file::{CurrentFile, WriteError};
use super::error::{RestoreError, Trick, Unfit};
use super::shortfalls::Shortfalls;
use super::stack::FolderStack;
use crate::diagnostic::Diagnostic;
use crate::event::{Event, Events};
use crate::fs::create::{self, Made};
use crate::fs::entry::{Entry, Kind, Metadata, TreePath};
use crate::fs::owners::Owners;
use crate::limits;
use crate::source::{SinkError, TreeSink, Verdict};

/// Entries after which listeners are told, where the bytes did not come sooner.
const TELL_ENTRIES: u64 = 256;
/// Bytes after which listeners are told.
const TELL_BYTES: u64 = 4 << 20;

/// How a tree is written.
#[derive(Clone, Debug, Default)]
pub struct WriteOptions {
    /// Whom what is written belongs to.
    pub owner: OwnerMapping,
    /// The host's owners, for [`OwnerMapping::Names`].
    pub owners: Owners,
    /// Who hears of the progress.
    pub events: Events,
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Written {
    /// Entries, the root and hard links included.
    pub entries: u64,
    /// Apparent bytes of all files, holes included.
    pub bytes: u64,
    /// Entries whose owner or group could not be set; 0 where nobody asked for it.
    pub owner_skipped: u64,
    /// Attributes that could not be set.
    pub attributes_skipped: u64,
    /// Devices that could not be made, and further names of these.
    pub devices_skipped: u64,
    /// What the operator must know, each kind once with a count; at most `limits::WARNINGS_LISTED`.
    pub warnings: Vec<Diagnostic>,
    /// How many warnings there were, those listed included.
    pub warning_count: u64,
}

/// The entry that was begun and not ended.
enum Current {
    /// A file with content to come.
    File {
        path: TreePath,
        size: u64,
        metadata: Metadata,
        file: CurrentFile,
    },
    /// Anything else: it is written already.
    Other(TreePath),
}

/// Writes a tree below an empty folder.
pub struct TreeWriter {
    stack: FolderStack<Metadata>,
    root: Option<Metadata>,
    current: Option<Current>,
    /// The entry that must follow, because its first try did not count.
    again: Option<TreePath>,
    /// Bytes of attributes that wait in the stack.
    waiting: usize,
    failed: bool,
    options: WriteOptions,
    shortfalls: Shortfalls,
    written: Written,
    untold: (u64, u64),
}

impl TreeWriter {
    /// Begins a tree whose root is `root`: an empty folder that nobody else writes to, open for reading.
    ///
    /// # Errors
    /// Where the folder is not empty. What it inherited from the folder around it (default ACLs) is taken off.
    pub fn new(root: OwnedFd, options: WriteOptions) -> Result<Self, RestoreError> {
        let fail = |action, error| RestoreError::entry(action, &TreePath::root(), error);
        let mut listing = rustix::fs::Dir::read_from(&root).map_err(|e| fail("list", e.into()))?;
        while let Some(entry) = listing.read() {
            let entry = entry.map_err(|e| fail("list", e.into()))?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                return Err(RestoreError::unfit(".".as_ref(), Unfit::NotEmpty));
            }
        }
        for name in [c"system.posix_acl_default", c"system.posix_acl_access"] {
            match rustix::fs::fremovexattr(&root, name) {
                Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
                Err(error) => return Err(fail("prepare", error.into())),
            }
        }
        let accepts = options.owner == OwnerMapping::None && !rustix::process::geteuid().is_root();
        Ok(Self {
            stack: FolderStack::new(root),
            root: None,
            current: None,
            again: None,
            waiting: 0,
            failed: false,
            shortfalls: Shortfalls::new(accepts),
            options,
            written: Written::default(),
            untold: (0, 0),
        })
    }

    /// Ends the tree: gives the folders that are still open their properties, the root last, and waits for the disk.
    ///
    /// # Errors
    /// Where an entry is unfinished, writing failed before, or the disk does not take it.
    pub fn finish(mut self) -> Result<Written, RestoreError> {
        if self.failed || self.current.is_some() || self.again.is_some() {
            return Err(RestoreError::Unfinished);
        }
        let Some(metadata) = self.root.take() else {
            return Err(RestoreError::hostile(&TreePath::root(), Trick::NoRoot));
        };
        while self.stack.depth() > 0 {
            self.leave()?;
        }
        let wanted = properties(&self.options, &metadata, &Kind::Folder);
        let root = TreePath::root();
        let short = create::apply(Made::Open(self.stack.root()), &wanted)
            .map_err(|e| RestoreError::entry("set the properties of", &root, e))?;
        self.shortfalls.note(&root, short);
        rustix::fs::syncfs(self.stack.root()).map_err(|e| RestoreError::entry("sync", &root, e.into()))?;
        self.tell(0, 0, Tell::Now);
        let (owner_skipped, attributes_skipped, devices_skipped) = self.shortfalls.counts();
        let (warnings, warning_count) = self.shortfalls.warnings();
        Ok(Written {
            owner_skipped,
            attributes_skipped,
            devices_skipped,
            warnings,
            warning_count,
            ..self.written
        })
    }

    fn begin_entry(&mut self, entry: &Entry) -> Result<(), RestoreError> {
        let path = &entry.path;
        let hostile = |trick| RestoreError::hostile(path, trick);
        if self.current.is_some() || self.again.take().is_some_and(|again| again != *path) {
            return Err(hostile(Trick::OutOfStep));
        }
        check::entry(entry).map_err(hostile)?;
        if path.is_root() {
            if self.root.is_some() || entry.kind != Kind::Folder {
                return Err(hostile(Trick::Root));
            }
            self.root = Some(entry.metadata.clone());
            self.current = Some(Current::Other(path.clone()));
            return Ok(());
        }
        if self.root.is_none() {
            return Err(hostile(Trick::NoRoot));
        }
        self.go_to_folder_of(path)?;
        self.create(entry)
    }

    /// Leaves every folder that `path` does not lie in, so that the top one is the folder it lies in.
    fn go_to_folder_of(&mut self, path: &TreePath) -> Result<(), RestoreError> {
        let above = path.components().count().saturating_sub(1);
        if self.stack.shared(path.components().take(above)) < above {
            return Err(RestoreError::hostile(path, Trick::NoFolder));
        }
        while self.stack.depth() > above {
            self.leave()?;
        }
        Ok(())
    }

    /// Gives the top folder its properties and goes up.
    fn leave(&mut self) -> Result<(), RestoreError> {
        let Some(metadata) = self.stack.data().map(std::mem::take) else {
            return Ok(());
        };
        self.waiting -= check::attribute_bytes(&metadata).min(self.waiting);
        let wanted = properties(&self.options, &metadata, &Kind::Folder);
        let result = self
            .stack
            .top()
            .and_then(|folder| create::apply(Made::Open(folder), &wanted));
        match result {
            Ok(short) => {
                if !short.is_none() {
                    self.shortfalls.note(&self.stack.path(), short);
                }
            }
            Err(error) => {
                return Err(RestoreError::entry("set the properties of", &self.stack.path(), error));
            }
        }
        self.stack.pop();
        Ok(())
    }

    fn create(&mut self, entry: &Entry) -> Result<(), RestoreError> {
        let path = &entry.path;
        match &entry.kind {
            Kind::Folder => self.create_folder(entry)?,
            Kind::File { size, extents } => {
                let folder = self.stack.top().map_err(|e| failed(path, e))?;
                let file = create::make_file(folder, path.name()).map_err(|e| failed(path, e))?;
                self.current = Some(Current::File {
                    path: path.clone(),
                    size: *size,
                    metadata: entry.metadata.clone(),
                    file: CurrentFile::new(file, *size, extents.as_deref())
                        .map_err(|e| RestoreError::entry("make room for", path, e))?,
                });
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

    fn create_folder(&mut self, entry: &Entry) -> Result<(), RestoreError> {
        let path = &entry.path;
        self.waiting += check::attribute_bytes(&entry.metadata);
        if self.waiting > limits::WAITING_XATTRS_MAX {
            return Err(RestoreError::hostile(path, Trick::Attribute));
        }
        let top = self.stack.top().map_err(|e| failed(path, e))?;
        let folder = create::make_folder(top, path.name()).map_err(|e| failed(path, e))?;
        self.stack
            .push(path.name(), folder, entry.metadata.clone())
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
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied && entry.kind != Kind::Fifo => {
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
        let folder_of_first = match create::open_beneath(self.stack.root(), &above) {
            Err(error) if create::is_nothing(&error) => return hostile(Trick::LinkToNothing),
            other => other.map_err(|e| failed(path, e))?,
        };
        match create::look(&folder_of_first, first.name()) {
            Err(error) if create::is_nothing(&error) => return hostile(Trick::LinkToNothing),
            Err(error) => return Err(failed(path, error)),
            Ok(stat) if create::type_of(&stat) == FileType::Directory => return hostile(Trick::LinkToFolder),
            Ok(_) => {}
        }
        let folder = self.stack.top().map_err(|e| failed(path, e))?;
        create::hard_link(&folder_of_first, first.name(), folder, path.name()).map_err(|e| failed(path, e))
    }

    fn write_data(&mut self, data: &[u8]) -> Result<(), RestoreError> {
        match &mut self.current {
            Some(Current::File { path, file, .. }) => file.write(data).map_err(|error| match error {
                WriteError::Trick(trick) => RestoreError::hostile(path, trick),
                WriteError::Io(error) => RestoreError::entry("write", path, error),
            })?,
            Some(Current::Other(_)) if data.is_empty() => {}
            Some(Current::Other(path)) => return Err(RestoreError::hostile(path, Trick::TooMuch)),
            None => return Err(RestoreError::hostile(&TreePath::root(), Trick::OutOfStep)),
        }
        self.tell(0, data.len() as u64, Tell::Batched);
        Ok(())
    }

    fn end_entry(&mut self, verdict: Verdict) -> Result<(), RestoreError> {
        match (self.current.take(), verdict) {
            (Some(Current::File { path, .. }), Verdict::Superseded) => {
                let folder = self.stack.top().map_err(|e| failed(&path, e))?;
                create::remove(folder, path.name()).map_err(|e| RestoreError::entry("remove", &path, e))?;
                self.again = Some(path);
                return Ok(());
            }
            (
                Some(Current::File {
                    path,
                    size,
                    metadata,
                    file,
                }),
                Verdict::Kept | Verdict::KeptChanging,
            ) => {
                if !file.complete() {
                    return Err(RestoreError::hostile(&path, Trick::TooLittle));
                }
                let kind = Kind::File { size, extents: None };
                let wanted = properties(&self.options, &metadata, &kind);
                let short = create::apply(Made::Open(file.file()), &wanted)
                    .map_err(|e| RestoreError::entry("set the properties of", &path, e))?;
                self.shortfalls.note(&path, short);
                self.written.bytes = self.written.bytes.saturating_add(size);
            }
            (Some(Current::Other(_)), Verdict::Kept | Verdict::KeptChanging) => {}
            (Some(Current::Other(path)), Verdict::Superseded) => {
                return Err(RestoreError::hostile(&path, Trick::OutOfStep));
            }
            (None, _) => return Err(RestoreError::hostile(&TreePath::root(), Trick::OutOfStep)),
        }
        self.written.entries += 1;
        self.tell(1, 0, Tell::Batched);
        Ok(())
    }

    fn tell(&mut self, entries: u64, bytes: u64, when: Tell) {
        self.untold.0 += entries;
        self.untold.1 += bytes;
        let (entries, bytes) = self.untold;
        let due = when == Tell::Now || entries >= TELL_ENTRIES || bytes >= TELL_BYTES;
        if due && (entries, bytes) != (0, 0) {
            self.untold = (0, 0);
            self.options.events.tell(&Event::Restored { entries, bytes });
        }
    }

    /// Remembers a failure, so that a tree that was cut short is never taken for a whole one.
    fn keep_failure(&mut self, result: Result<(), RestoreError>) -> Result<(), SinkError> {
        result.map_err(|error| {
            self.failed = true;
            SinkError::Failed(Box::new(Diagnostic::of(&error)))
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tell {
    Now,
    Batched,
}

impl TreeSink for TreeWriter {
    fn begin(&mut self, entry: &Entry) -> Result<(), SinkError> {
        if self.failed {
            return Err(SinkError::Stopped);
        }
        let result = self.begin_entry(entry);
        self.keep_failure(result)
    }

    fn write(&mut self, data: &[u8]) -> Result<(), SinkError> {
        if self.failed {
            return Err(SinkError::Stopped);
        }
        let result = self.write_data(data);
        self.keep_failure(result)
    }

    fn end(&mut self, verdict: Verdict) -> Result<(), SinkError> {
        if self.failed {
            return Err(SinkError::Stopped);
        }
        let result = self.end_entry(verdict);
        self.keep_failure(result)
    }
}

/// A failed creation. A name that is there already was made by this archive: the folder was empty.
fn failed(path: &TreePath, error: std::io::Error) -> RestoreError {
    if error.kind() == std::io::ErrorKind::AlreadyExists {
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
    let wanted = properties(options, &entry.metadata, &entry.kind);
    let short =
        create::apply(made, &wanted).map_err(|e| RestoreError::entry("set the properties of", &entry.path, e))?;
    shortfalls.note(&entry.path, short);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_without_its_root_or_with_an_open_entry_is_not_finished() {
        let folder = tempfile::tempdir().unwrap();
        let open = || {
            let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY;
            rustix::fs::open(folder.path(), flags, rustix::fs::Mode::empty()).unwrap()
        };
        let writer = TreeWriter::new(open(), WriteOptions::default()).unwrap();
        assert!(writer.finish().is_err());
        let mut writer = TreeWriter::new(open(), WriteOptions::default()).unwrap();
        let root = Entry {
            path: TreePath::root(),
            kind: Kind::Folder,
            metadata: Metadata::default(),
            stat: None,
        };
        writer.begin(&root).unwrap();
        assert!(matches!(writer.finish(), Err(RestoreError::Unfinished)));
    }
}
