//! Writes a tree below an empty folder, entry by entry: the last line of defence against an archive that was tampered
//! with. Whatever it is fed, nothing outside the folder is written, opened or changed.
//!
//! Entries come depth first. Only the folders on the way to the present entry are remembered; a folder gets its
//! properties when the first entry outside it comes, so that what is made in it does not change them.

mod behind;
mod entries;
mod owner;
mod small;

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Weak;

use rustix::io::Errno;

use behind::{Behind, LateFile};
use entries::failed;
pub use owner::OwnerMapping;
use small::{Place, SmallFile};

use super::branches::Branches;
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
    /// A file with holes.
    File {
        path: TreePath,
        size: u64,
        metadata: Metadata,
        file: CurrentFile,
    },
    /// A large file, which others write.
    Late(LateFile),
    /// A small file, which others make.
    Small(SmallFile),
    /// Anything else: it is written already.
    Other(TreePath),
}

/// A folder that is not left yet.
#[derive(Default)]
struct Open {
    metadata: Metadata,
    /// Gone where no file has still to be made in it.
    place: Weak<Place>,
}

/// Writes a tree below an empty folder.
pub struct TreeWriter {
    stack: FolderStack<Open>,
    branches: Branches,
    root: Option<Open>,
    current: Option<Current>,
    /// Who writes files, once there was one.
    behind: Option<Behind>,
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
        forget_inherited(&root).map_err(|e| fail("prepare", e.into()))?;
        let accepts = options.owner == OwnerMapping::None && !rustix::process::geteuid().is_root();
        Ok(Self {
            stack: FolderStack::new(root),
            branches: Branches::default(),
            root: None,
            current: None,
            behind: None,
            again: None,
            waiting: 0,
            failed: false,
            shortfalls: Shortfalls::new(accepts),
            options,
            written: Written::default(),
            untold: (0, 0),
        })
    }

    /// Writes what lies at and below these paths into these folders, empty ones on other file systems; an empty folder stands
    /// for each in the tree.
    ///
    /// # Errors
    /// Where what they inherited from the folders around them cannot be taken off.
    pub fn with_branches(mut self, branches: Vec<(TreePath, OwnedFd)>) -> Result<Self, RestoreError> {
        for (path, folder) in &branches {
            forget_inherited(folder).map_err(|e| RestoreError::entry("prepare", path, e.into()))?;
        }
        self.branches = Branches::new(branches);
        Ok(self)
    }

    /// Ends the tree: gives the folders that are still open their properties, the root last, and waits for the disk.
    ///
    /// # Errors
    /// Where an entry is unfinished, writing failed before, or the disk does not take it.
    pub fn finish(mut self) -> Result<Written, RestoreError> {
        if self.failed || self.current.is_some() || self.again.is_some() {
            return Err(RestoreError::Unfinished);
        }
        let Some(Open { metadata, .. }) = self.root.take() else {
            return Err(RestoreError::hostile(&TreePath::root(), Trick::NoRoot));
        };
        while self.stack.depth() > 0 {
            self.leave()?;
        }
        self.let_go()?;
        let (root, made) = (TreePath::root(), Made::Open(self.stack.root()));
        let short = owner::apply(&self.options, made, &Kind::Folder, &root, &metadata)?;
        self.shortfalls.note(&root, short);
        let branches = self.branches.folders().map(AsFd::as_fd);
        for folder in branches.chain([self.stack.root()]) {
            rustix::fs::syncfs(folder).map_err(|e| RestoreError::entry("sync", &root, e.into()))?;
        }
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

    /// Waits until all that was begun is made, and lets go of threads, buffers and folders.
    fn let_go(&mut self) -> Result<(), RestoreError> {
        if let Some(behind) = self.behind.take() {
            behind.finish(&mut self.shortfalls)?;
        }
        Ok(())
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
            self.root = Some(Open {
                metadata: entry.metadata.clone(),
                place: Weak::new(),
            });
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

    /// Gives the top folder its properties, or leaves this to whoever makes the last file in it, and goes up.
    fn leave(&mut self) -> Result<(), RestoreError> {
        let Some(Open { metadata, place }) = self.stack.data().map(std::mem::take) else {
            return Ok(());
        };
        self.waiting -= check::attribute_bytes(&metadata).min(self.waiting);
        let path = self.stack.path();
        if let (Some(place), Some(behind)) = (place.upgrade(), &self.behind) {
            behind.leave(place, path, metadata)?;
        } else {
            let folder = self.stack.top();
            let folder = folder.map_err(|e| RestoreError::entry("set the properties of", &path, e))?;
            let short = owner::apply(&self.options, Made::Open(folder), &Kind::Folder, &path, &metadata)?;
            self.shortfalls.note(&path, short);
        }
        self.stack.pop();
        Ok(())
    }

    fn write_data(&mut self, data: &[u8]) -> Result<(), RestoreError> {
        match &mut self.current {
            Some(Current::File { path, file, .. }) => file.write(data).map_err(|error| match error {
                WriteError::Trick(trick) => RestoreError::hostile(path, trick),
                WriteError::Io(error) => RestoreError::entry("write", path, error),
            })?,
            Some(Current::Late(late)) => writing(&mut self.behind, &self.options)?.write(late, data)?,
            Some(Current::Small(file)) => writing(&mut self.behind, &self.options)?.write_small(file, data)?,
            Some(Current::Other(_)) if data.is_empty() => {}
            Some(Current::Other(path)) => return Err(RestoreError::hostile(path, Trick::TooMuch)),
            None => return Err(RestoreError::hostile(&TreePath::root(), Trick::OutOfStep)),
        }
        self.tell(0, data.len() as u64, Tell::Batched);
        Ok(())
    }

    fn end_entry(&mut self, verdict: Verdict) -> Result<(), RestoreError> {
        match (self.current.take(), verdict) {
            (Some(Current::File { path, .. }), Verdict::Superseded) => return self.take_back(path),
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
                let short = owner::apply(&self.options, Made::Open(file.file()), &kind, &path, &metadata)?;
                self.shortfalls.note(&path, short);
                self.written.bytes = self.written.bytes.saturating_add(size);
            }
            (Some(Current::Late(late)), verdict) => {
                let behind = writing(&mut self.behind, &self.options)?;
                if verdict == Verdict::Superseded {
                    let path = late.path().clone();
                    behind.abandon(late);
                    return self.take_back(path);
                }
                behind.end(&late)?;
                self.written.bytes = self.written.bytes.saturating_add(late.size());
            }
            (Some(Current::Small(file)), verdict) => {
                let behind = writing(&mut self.behind, &self.options)?;
                if verdict == Verdict::Superseded {
                    behind.abandon_small();
                    self.again = Some(file.path);
                    return Ok(());
                }
                self.written.bytes = self.written.bytes.saturating_add(file.size as u64);
                behind.end_small(file)?;
            }
            (Some(Current::Other(_)), Verdict::Kept | Verdict::KeptChanging) => {}
            (Some(Current::Other(path)), Verdict::Superseded) => {
                return Err(RestoreError::hostile(&path, Trick::OutOfStep));
            }
            (None, _) => return Err(RestoreError::hostile(&TreePath::root(), Trick::OutOfStep)),
        }
        if let Some(behind) = &self.behind {
            behind.note_shortfalls(&mut self.shortfalls);
        }
        self.written.entries += 1;
        self.tell(1, 0, Tell::Batched);
        Ok(())
    }

    /// Removes a file whose content did not count; the same entry must follow.
    fn take_back(&mut self, path: TreePath) -> Result<(), RestoreError> {
        let folder = self.stack.top().map_err(|e| failed(&path, e))?;
        create::remove(folder, path.name()).map_err(|e| RestoreError::entry("remove", &path, e))?;
        self.again = Some(path);
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

/// Who writes files, started where there was none yet.
fn writing<'b>(behind: &'b mut Option<Behind>, options: &WriteOptions) -> Result<&'b mut Behind, RestoreError> {
    if behind.is_none() {
        let started = Behind::start(options.clone());
        *behind = Some(started.map_err(|e| RestoreError::entry("start to write", &TreePath::root(), e))?);
    }
    behind.as_mut().ok_or(RestoreError::Unfinished)
}

/// Takes off the ACLs that a folder inherited from the one around it.
fn forget_inherited(folder: &OwnedFd) -> Result<(), Errno> {
    for name in [c"system.posix_acl_default", c"system.posix_acl_access"] {
        match rustix::fs::fremovexattr(folder, name) {
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
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

    fn rest(&mut self) -> Result<(), SinkError> {
        if self.failed || self.current.is_some() {
            return Ok(());
        }
        let result = self.let_go();
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
