//! Walks a tree depth-first in the order of [`TreePath`], through descriptors, in bounded memory.
//!
//! Held are the names of the folders on the way down, at most `limits::FOLDERS_HELD` descriptors, and the first name of
//! each file that has several. A tree may change meanwhile: what vanished is passed over, what cannot be read is told.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{FileType, Statx};
use rustix::io::Errno;

use super::entry::{Entry, Kind, TreePath};
use super::first_names::FirstNames;
use super::folder::{self, Folder, Names};
use super::metadata::{self, Held, XattrProblem, XattrReader};
use super::owners::Owners;
use super::selection::{Choice, Selection};
use crate::limits;

/// How much of each entry is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Everything; files come opened for reading.
    Whole,
    /// Kinds, sizes and owners; no file is opened, attributes and holes are not asked for.
    Survey,
    /// What tells whether an entry has changed; where it has, [`Walk::complete`] looks at the rest.
    Glimpse,
}

/// What a second name of one inode becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecondNames {
    /// A hard link to the first.
    Linked,
    /// A file of its own.
    Separate,
}

/// How far a walk goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystems {
    /// Wherever the tree leads.
    All,
    /// Folders on another file system than the root's are there and empty.
    One,
}

/// How a tree is walked.
#[derive(Clone, Debug)]
pub struct WalkOptions<'a> {
    /// What is meant.
    pub selection: &'a Selection,
    /// Names of owners and groups.
    pub owners: &'a Owners,
    /// How much of each entry is looked at.
    pub look: Look,
    /// What second names become.
    pub second_names: SecondNames,
    /// How far it goes.
    pub file_systems: FileSystems,
}

/// An entry that was found.
#[derive(Debug)]
pub struct Found {
    /// The entry.
    pub entry: Entry,
    /// The file, open for reading; `None` for anything else, for hard links and in a survey.
    pub content: Option<OwnedFd>,
    /// Why it is meant.
    pub choice: Choice,
    /// Whether it was only glimpsed: it has no attributes, no holes, no target of a link, and its file is not open.
    pub glimpsed: bool,
}

/// Something that is not, or not whole, among what was found.
#[derive(Debug)]
pub struct Note {
    /// Where.
    pub path: TreePath,
    /// What.
    pub what: NoteKind,
}

/// What is to be noted.
#[derive(Debug)]
pub enum NoteKind {
    /// It cannot be read and was left out with everything in it.
    Unreadable(io::Error),
    /// The entry was found but an attribute of it could not be read.
    Attribute(XattrProblem),
    /// A socket.
    Socket,
    /// A folder where only files are meant.
    Refused,
    /// A folder deeper than `limits::TREE_DEPTH`.
    TooDeep,
    /// It was another kind of thing at each look.
    Unsettled,
}

/// What a walk comes upon.
#[derive(Debug)]
pub enum Step {
    /// An entry.
    Found(Box<Found>),
    /// Something to be told.
    Note(Note),
}

/// A walk under way. The root comes first, with an empty path.
#[derive(Debug)]
pub struct Walk<'a> {
    options: WalkOptions<'a>,
    levels: Vec<Level>,
    notes: VecDeque<Note>,
    root: Option<Box<Found>>,
    device: u64,
    names: FirstNames,
    xattrs: XattrReader,
    look: Look,
    doubtful: bool,
}

/// A folder on the way down.
#[derive(Debug)]
struct Level {
    folder: Option<Folder>,
    id: (u64, u64),
    path: TreePath,
    names: Names,
    next: usize,
    choice: Choice,
}

impl<'a> Walk<'a> {
    /// Begins at `root`.
    ///
    /// # Errors
    /// When the root itself cannot be read.
    pub fn new(root: Folder, options: WalkOptions<'a>) -> io::Result<Self> {
        let stat = folder::stat(&root)?;
        let names = root.names()?;
        let choice = options.selection.root();
        let mut walk = Self {
            device: metadata::stat_of(&stat).device,
            look: options.look,
            doubtful: false,
            options,
            levels: Vec::new(),
            notes: VecDeque::new(),
            root: None,
            names: FirstNames::default(),
            xattrs: XattrReader::default(),
        };
        let entry = walk.entry(TreePath::root(), Kind::Folder, &stat, Some((&root, Held::Open)));
        walk.root = Some(walk.found(entry, None, choice));
        walk.push(root, &stat, TreePath::root(), names, choice);
        Ok(walk)
    }

    /// The folder that holds what was found last; for a folder that was found last, itself.
    pub fn folder(&self) -> Option<&Folder> {
        self.levels.last()?.folder.as_ref()
    }

    /// Passes over what is in the folder that was found last.
    pub fn skip_folder(&mut self) {
        if let Some(level) = self.levels.last_mut() {
            level.next = level.names.len();
        }
    }

    /// Forgets that what was found last could be the first name of a hard link: it was not kept.
    pub fn forget_last(&mut self) {
        self.names.forget_last();
    }

    /// Whether something of what was found or completed last could not be read.
    pub const fn is_doubtful(&self) -> bool {
        self.doubtful
    }

    /// Looks at the rest of what was found last and only glimpsed. `None` where it has vanished or cannot be read.
    pub fn complete(&mut self, mut found: Found) -> Option<Found> {
        if !found.glimpsed {
            return Some(found);
        }
        self.look = Look::Whole;
        let whole = if found.entry.kind == Kind::Folder {
            self.complete_folder(&mut found.entry);
            found.glimpsed = false;
            Some(found)
        } else {
            self.complete_node(found)
        };
        self.look = self.options.look;
        whole
    }

    fn complete_folder(&mut self, entry: &mut Entry) {
        let Some(folder) = self.levels.last().and_then(|level| level.folder.as_ref()) else {
            return;
        };
        let problems = self.xattrs.read(folder, Held::Open, &mut entry.metadata.xattrs);
        self.note_attributes(&entry.path, problems);
    }

    fn complete_node(&mut self, mut found: Found) -> Option<Found> {
        let path = found.entry.path.clone();
        if matches!(found.entry.kind, Kind::HardLink { .. })
            && let Some(node) = self.folder().and_then(|folder| folder.node(path.name()).ok())
            && let Ok(stat) = folder::stat(&node)
            && Some(metadata::stat_of(&stat)) == found.entry.stat
        {
            // Its first name is known already, and asking again would count it as one more name.
            let problems = self.xattrs.read(&node, Held::ByPath, &mut found.entry.metadata.xattrs);
            self.note_attributes(&path, problems);
            found.glimpsed = false;
            return Some(found);
        }
        self.names.forget_last();
        let kind = match found.entry.kind {
            Kind::File { .. } => FileType::RegularFile,
            _ => FileType::Unknown,
        };
        self.visit(path, kind).map(|found| *found)
    }

    fn push(&mut self, folder: Folder, stat: &Statx, path: TreePath, names: Names, choice: Choice) {
        let held = metadata::stat_of(stat);
        self.levels.push(Level {
            folder: Some(folder),
            id: (held.device, held.inode),
            path,
            names,
            next: 0,
            choice,
        });
        // The root's stays open, so that a folder whose descriptor was given up can always be found again.
        let given_up = self.levels.len().saturating_sub(limits::FOLDERS_HELD);
        if given_up > 0
            && let Some(level) = self.levels.get_mut(given_up)
        {
            level.folder = None;
        }
    }

    fn pop(&mut self) {
        let Some(left) = self.levels.pop() else { return };
        let Some(level) = self.levels.last() else { return };
        if level.folder.is_some() || level.next >= level.names.len() {
            return;
        }
        let same = |folder: &Folder| {
            folder::stat(folder).is_ok_and(|stat| {
                let stat = metadata::stat_of(&stat);
                (stat.device, stat.inode) == level.id
            })
        };
        let upwards = left
            .folder
            .as_ref()
            .and_then(|folder| folder.parent().ok())
            .filter(same);
        let found = match upwards {
            Some(folder) => Ok(folder),
            None => self.descend(&level.path).and_then(|folder| {
                if same(&folder) {
                    Ok(folder)
                } else {
                    Err(io::Error::other("the folder was moved while it was read"))
                }
            }),
        };
        let Some(level) = self.levels.last_mut() else { return };
        match found {
            Ok(folder) => level.folder = Some(folder),
            Err(error) => {
                level.next = level.names.len();
                if error.kind() != io::ErrorKind::NotFound {
                    let path = level.path.clone();
                    self.note(path, NoteKind::Unreadable(error));
                }
            }
        }
    }

    fn descend(&self, path: &TreePath) -> io::Result<Folder> {
        let root = self.levels.first().and_then(|level| level.folder.as_ref());
        root.ok_or(io::ErrorKind::NotFound)?.beneath(path)
    }

    fn note(&mut self, path: TreePath, what: NoteKind) {
        self.notes.push_back(Note { path, what });
    }

    /// Looks at one name of the folder walked now.
    fn visit(&mut self, path: TreePath, listed: FileType) -> Option<Box<Found>> {
        let parent = self.levels.last()?.choice;
        self.names.settle_last();
        self.doubtful = false;
        let mut kind = listed;
        // Each look can find another kind of thing than the one before, and each needs a listing's word or a look.
        for _ in 0..2 * limits::READ_TRIES {
            if kind == FileType::Unknown {
                match self.folder()?.stat_of(path.name()) {
                    Ok(stat) => kind = metadata::file_type(&stat),
                    Err(error) => return self.failed(path, error),
                }
            }
            let choice = self
                .options
                .selection
                .choose(&path, kind == FileType::Directory, parent);
            match choice {
                Choice::Out => return None,
                Choice::Refused => {
                    self.note(path, NoteKind::Refused);
                    return None;
                }
                Choice::OnTheWay | Choice::Named | Choice::Inside => {}
            }
            match self.look_at(&path, kind, choice) {
                Ok(Looked::Found(found)) => return Some(found),
                Ok(Looked::Nothing(what)) => {
                    self.note(path, what);
                    return None;
                }
                Ok(Looked::Another(other)) => kind = other,
                Err(error) if is_another(&error) => kind = FileType::Unknown,
                Err(error) => return self.failed(path, error),
            }
        }
        self.note(path, NoteKind::Unsettled);
        None
    }

    /// What vanished between listing and looking is nothing; anything else is told.
    fn failed(&mut self, path: TreePath, error: io::Error) -> Option<Box<Found>> {
        self.names.forget_last();
        if error.kind() != io::ErrorKind::NotFound {
            self.note(path, NoteKind::Unreadable(error));
        }
        None
    }

    fn look_at(&mut self, path: &TreePath, kind: FileType, choice: Choice) -> io::Result<Looked> {
        let Some(folder) = self.folder() else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let name = path.name();
        match kind {
            FileType::Directory => self.look_at_folder(path, choice),
            FileType::Socket => Ok(Looked::Nothing(NoteKind::Socket)),
            _ if self.look == Look::Glimpse => {
                let stat = folder.stat_of(name)?;
                Ok(self.glimpse(path, kind, &stat, choice))
            }
            _ if self.look == Look::Survey => {
                let node = folder.node(name)?;
                self.look_at_node(path, kind, &node, choice)
            }
            FileType::RegularFile => {
                let file = folder.file(name)?;
                self.look_at_file(path, file, choice)
            }
            _ => {
                let node = folder.node(name)?;
                self.look_at_node(path, kind, &node, choice)
            }
        }
    }

    fn glimpse(&mut self, path: &TreePath, kind: FileType, stat: &Statx, choice: Choice) -> Looked {
        if metadata::file_type(stat) != kind {
            return Looked::Another(metadata::file_type(stat));
        }
        let (major, minor) = (stat.stx_rdev_major, stat.stx_rdev_minor);
        let kind = match kind {
            FileType::RegularFile => Kind::File {
                size: stat.stx_size,
                extents: None,
            },
            FileType::Symlink => Kind::Link { target: Vec::new() },
            FileType::Fifo => Kind::Fifo,
            FileType::CharacterDevice => Kind::CharDevice { major, minor },
            FileType::BlockDevice => Kind::BlockDevice { major, minor },
            FileType::Directory | FileType::Socket | FileType::Unknown => return Looked::Another(FileType::Unknown),
        };
        let kind = self
            .first_name(path, stat)
            .map_or(kind, |first| Kind::HardLink { first });
        let entry = self.entry(path.clone(), kind, stat, None::<(&Folder, Held)>);
        Looked::Found(self.found(entry, None, choice))
    }

    fn look_at_folder(&mut self, path: &TreePath, choice: Choice) -> io::Result<Looked> {
        if self.levels.len() >= limits::TREE_DEPTH {
            return Ok(Looked::Nothing(NoteKind::TooDeep));
        }
        let Some(parent) = self.folder() else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let folder = parent.folder(path.name())?;
        let stat = folder::stat(&folder)?;
        let abroad = metadata::stat_of(&stat).device != self.device && self.options.file_systems == FileSystems::One;
        let names = if abroad { Names::default() } else { folder.names()? };
        let entry = self.entry(path.clone(), Kind::Folder, &stat, Some((&folder, Held::Open)));
        self.push(folder, &stat, path.clone(), names, choice);
        Ok(Looked::Found(self.found(entry, None, choice)))
    }

    fn look_at_file(&mut self, path: &TreePath, file: OwnedFd, choice: Choice) -> io::Result<Looked> {
        let stat = folder::stat(&file)?;
        let kind = metadata::file_type(&stat);
        if kind != FileType::RegularFile {
            return Ok(Looked::Another(kind));
        }
        if let Some(first) = self.first_name(path, &stat) {
            let kind = Kind::HardLink { first };
            let entry = self.entry(path.clone(), kind, &stat, Some((&file, Held::Open)));
            return Ok(Looked::Found(self.found(entry, None, choice)));
        }
        let extents = metadata::extents(&file, &stat)?;
        let size = stat.stx_size;
        let entry = self.entry(
            path.clone(),
            Kind::File { size, extents },
            &stat,
            Some((&file, Held::Open)),
        );
        Ok(Looked::Found(self.found(entry, Some(file), choice)))
    }

    fn look_at_node(&mut self, path: &TreePath, kind: FileType, node: &OwnedFd, choice: Choice) -> io::Result<Looked> {
        let stat = folder::stat(node)?;
        let found = metadata::file_type(&stat);
        if found != kind {
            return Ok(Looked::Another(found));
        }
        let (major, minor) = (stat.stx_rdev_major, stat.stx_rdev_minor);
        let kind = match kind {
            FileType::RegularFile => Kind::File {
                size: stat.stx_size,
                extents: None,
            },
            FileType::Symlink => Kind::Link {
                target: rustix::fs::readlinkat(node, "", Vec::new())?.into_bytes(),
            },
            FileType::Fifo => Kind::Fifo,
            FileType::CharacterDevice => Kind::CharDevice { major, minor },
            FileType::BlockDevice => Kind::BlockDevice { major, minor },
            FileType::Directory | FileType::Socket | FileType::Unknown => {
                return Ok(Looked::Another(FileType::Unknown));
            }
        };
        let kind = self
            .first_name(path, &stat)
            .map_or(kind, |first| Kind::HardLink { first });
        let held = (self.look == Look::Whole).then_some((node, Held::ByPath));
        let entry = self.entry(path.clone(), kind, &stat, held);
        Ok(Looked::Found(self.found(entry, None, choice)))
    }

    fn found(&self, entry: Entry, content: Option<OwnedFd>, choice: Choice) -> Box<Found> {
        Box::new(Found {
            entry,
            content,
            choice,
            glimpsed: self.look == Look::Glimpse,
        })
    }

    fn note_attributes(&mut self, path: &TreePath, problems: Vec<XattrProblem>) {
        self.doubtful |= !problems.is_empty();
        for problem in problems {
            self.note(path.clone(), NoteKind::Attribute(problem));
        }
    }

    /// The first name of the inode, where this is not it.
    fn first_name(&mut self, path: &TreePath, stat: &Statx) -> Option<TreePath> {
        match self.options.second_names {
            SecondNames::Linked => self.names.first_of(path, stat),
            SecondNames::Separate => None,
        }
    }

    fn entry(
        &mut self,
        path: TreePath,
        kind: Kind,
        stat: &Statx,
        held: Option<(&impl std::os::fd::AsFd, Held)>,
    ) -> Entry {
        let mut kept = metadata::metadata_of(stat, self.options.owners);
        if let Some((fd, held)) = held.filter(|_| self.look == Look::Whole) {
            let problems = self.xattrs.read(fd, held, &mut kept.xattrs);
            self.note_attributes(&path, problems);
        }
        Entry {
            path,
            kind,
            metadata: kept,
            stat: Some(metadata::stat_of(stat)),
        }
    }
}

/// What one look came to.
enum Looked {
    Found(Box<Found>),
    Nothing(NoteKind),
    Another(FileType),
}

/// Whether an open failed because something else stands under the name than was thought.
fn is_another(error: &io::Error) -> bool {
    let another = [Errno::LOOP, Errno::NOTDIR, Errno::NXIO, Errno::NODEV];
    Errno::from_io_error(error).is_some_and(|errno| another.contains(&errno))
}

impl Iterator for Walk<'_> {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        if let Some(root) = self.root.take() {
            return Some(Step::Found(root));
        }
        loop {
            if let Some(note) = self.notes.pop_front() {
                return Some(Step::Note(note));
            }
            let level = self.levels.last_mut()?;
            let Some((name, listed)) = level.names.get(level.next) else {
                self.pop();
                continue;
            };
            level.next += 1;
            let Some(path) = level.path.child(name) else { continue };
            if let Some(found) = self.visit(path, listed) {
                return Some(Step::Found(found));
            }
        }
    }
}
