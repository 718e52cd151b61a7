//! A restore is never poorer than what it replaces: what the source would not have captured is carried from the present
//! tree into the stage, and a present file that the backup only holds redacted stays, the restored text beside it.
//!
//! The present tree is read and never changed. A folder of the stage that something is carried into keeps its own time.

mod file;
mod way;

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, RenameFlags};

use file::Copied;
use way::{Level, level_of, settle};

use super::branches::Branches;
use super::error::RestoreError;
use super::shortfalls::Shortfalls;
use super::stack::FolderStack;
use super::stage::Stage;
use crate::diagnostic::{Code, Diagnostic};
use crate::fs::create;
use crate::fs::entry::{Entry, Kind, TreePath};
use crate::fs::folder::{self, Folder};
use crate::fs::marks;
use crate::fs::metadata::XattrReader;
use crate::fs::own::Own;
use crate::fs::owners::Owners;
use crate::fs::selection::Selection;
use crate::fs::side_files::{ENDINGS, database_of};
use crate::fs::walk::{FileSystems, Look, Note, NoteKind, SecondNames, Step, Walk, WalkOptions};
use crate::limits;

/// Names tried for a restored text beside a present file.
const BESIDE_TRIES: u32 = 1000;
const NAME_MAX: usize = 255;

/// What becomes of the side files of databases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SideFiles {
    /// They are files like others, but for those of a database that is restored: it must not meet the log of the one it
    /// replaces.
    Carry,
    /// The same, and whatever the source would have captured, or is in the stage, is taken for a database.
    LeaveBehind,
}

/// What is carried where.
pub struct Carry<'a> {
    /// The present tree.
    pub present: &'a Path,
    /// The stage that will replace it, written.
    pub stage: &'a Stage,
    /// Whether the source would have captured an entry (`true` for a folder).
    pub selects: &'a dyn Fn(&TreePath, bool) -> bool,
    /// The entries whose content in the backup is redacted.
    pub redacted: &'a BTreeSet<TreePath>,
    /// What becomes of the side files of databases.
    pub side_files: SideFiles,
}

/// What was carried.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Carried {
    /// How many entries.
    pub entries: u64,
    /// Their paths, at most `limits::WARNINGS_LISTED`, in order.
    pub listed: Vec<TreePath>,
    /// Present files that stayed because the backup holds them redacted, each with the name of the restored text.
    pub beside: Vec<(TreePath, TreePath)>,
    /// What the operator must know: texts beside present files, and what could not be carried.
    pub warnings: Vec<Diagnostic>,
    /// How many warnings there were, those listed included.
    pub warning_count: u64,
}

struct Carrier<'a> {
    request: &'a Carry<'a>,
    present: Folder,
    stack: FolderStack<Level>,
    branches: Branches,
    root: Level,
    /// Databases that were carried: their side files go with them.
    databases: BTreeSet<TreePath>,
    xattrs: XattrReader,
    shortfalls: Shortfalls,
    carried: Carried,
}

/// Carries what the source would not have captured, and is not in the stage, from the present tree into the stage.
///
/// # Errors
/// Where the stage cannot be written. A present entry that cannot be read is a warning: it stays in the tree that is
/// kept aside.
pub fn carry(request: &Carry<'_>) -> Result<Carried, RestoreError> {
    let fail = |error| RestoreError::path("read", request.present, error);
    let present = Folder::open(request.present).map_err(fail)?;
    let owners = Owners::default();
    let selection = Selection::all();
    let options = WalkOptions {
        selection: &selection,
        owners: &owners,
        look: Look::Survey,
        second_names: SecondNames::Separate,
        file_systems: FileSystems::All,
    };
    let mut walk = Walk::new(Folder::open(request.present).map_err(fail)?, options).map_err(fail)?;
    let root = request.stage.root()?;
    let at_root = |error| RestoreError::path("look at", &request.stage.path(), error);
    let level = level_of(&folder::stat(&root).map_err(at_root)?);
    let mut carrier = Carrier {
        request,
        present,
        stack: FolderStack::new(root),
        branches: Branches::new(request.stage.branches()?),
        root: level,
        databases: BTreeSet::new(),
        xattrs: XattrReader::default(),
        shortfalls: Shortfalls::new(false),
        carried: Carried::default(),
    };
    while let Some(step) = walk.next() {
        match step {
            Step::Note(note) => carrier.note(&note),
            Step::Found(found) if found.entry.path.is_root() => {}
            Step::Found(found) if Own::within(found.entry.path.name()).is_some() => {
                if found.entry.kind == Kind::Folder {
                    walk.skip_folder();
                }
            }
            Step::Found(found) => {
                if carrier.meet(&found.entry, walk.folder())? == Below::Skip {
                    walk.skip_folder();
                }
            }
        }
    }
    carrier.finish()
}

/// Whether what lies in a folder is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Below {
    Look,
    Skip,
}

impl Carrier<'_> {
    /// Decides about one present entry. `folder` is the present folder that holds it, or itself where it is a folder.
    fn meet(&mut self, entry: &Entry, folder: Option<&Folder>) -> Result<Below, RestoreError> {
        let path = &entry.path;
        let is_folder = entry.kind == Kind::Folder;
        let redacted = !is_folder && self.request.redacted.contains(path);
        let captured = (self.request.selects)(path, is_folder) || (!is_folder && self.stays_behind(path)?);
        if captured && !redacted {
            return Ok(Below::Look);
        }
        let Some(folder) = folder else { return Ok(Below::Look) };
        if !self.go_to(&path.parent().unwrap_or_default())? {
            self.in_the_way(path);
            return Ok(if is_folder { Below::Skip } else { Below::Look });
        }
        match self.look(path)? {
            None if is_folder => {
                if !self.make_folder(path)? {
                    return Ok(Below::Skip);
                }
            }
            None => {
                self.copy(entry, folder, None)?;
            }
            Some(FileType::Directory) if is_folder => {}
            Some(_) if is_folder => {
                self.in_the_way(path);
                return Ok(Below::Skip);
            }
            Some(FileType::Directory) if redacted => self.in_the_way(path),
            Some(_) if redacted => self.put_beside(entry, folder)?,
            Some(_) => {}
        }
        Ok(Below::Look)
    }

    /// Whether this is a side file of a database that is restored.
    fn stays_behind(&mut self, path: &TreePath) -> Result<bool, RestoreError> {
        let database = database_of(path.as_bytes()).and_then(TreePath::parse);
        let Some(database) = database.filter(|database| !self.databases.contains(database)) else {
            return Ok(false);
        };
        let strict = self.request.side_files == SideFiles::LeaveBehind;
        if strict && (self.request.selects)(&database, false) {
            return Ok(true);
        }
        let above = database.parent().unwrap_or_default();
        let open = self.branches.open_beneath(self.stack.root(), &above);
        let found = open.and_then(|folder| {
            create::look(&folder, database.name())?;
            Ok(strict || file::is_database(&folder, database.name())?)
        });
        match found {
            Err(error) if create::is_nothing(&error) => Ok(false),
            other => other.map_err(|e| RestoreError::entry("look at", &database, e)),
        }
    }

    /// What stands in the stage under this path, whose folder is the top one.
    fn look(&mut self, path: &TreePath) -> Result<Option<FileType>, RestoreError> {
        let result = self.stack.top().and_then(|folder| create::look(folder, path.name()));
        match result {
            Ok(stat) => Ok(Some(create::type_of(&stat))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(RestoreError::entry("look at", path, error)),
        }
    }

    fn count(&mut self, path: &TreePath) {
        self.carried.entries += 1;
        if self.carried.listed.len() < limits::WARNINGS_LISTED {
            self.carried.listed.push(path.clone());
        }
    }

    /// Copies the present entry into the top folder of the stage. What stands there under its name goes to `aside` first,
    /// once the present one is open. `false` where the present one cannot be read.
    fn copy(&mut self, entry: &Entry, from: &Folder, aside: Option<&[u8]>) -> Result<bool, RestoreError> {
        let path = &entry.path;
        let opened = match file::open(from, entry) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => {
                self.not_carried(path, &error.to_string());
                return Ok(false);
            }
        };
        self.touch();
        let to = self.stack.top().map_err(|e| RestoreError::entry("open", path, e))?;
        if let Some(aside) = aside {
            rustix::fs::renameat_with(to, path.name(), to, aside, RenameFlags::NOREPLACE)
                .map_err(|e| RestoreError::entry("move aside", path, e.into()))?;
        }
        let is_database = opened.is_database();
        let copied =
            file::copy(opened, to, path, &mut self.xattrs).map_err(|e| RestoreError::entry("carry over", path, e))?;
        if is_database {
            self.databases.insert(path.clone());
            self.part_from_logs(path)?;
        }
        match copied {
            Copied::Whole {
                short,
                problems,
                steady,
            } => {
                self.shortfalls.note(path, short);
                self.attribute_problems(path, problems);
                if !steady {
                    let what = format!("`{}` changed while it was carried over", path.display());
                    self.warn(
                        Diagnostic::warning(Code::SourceChanging, what)
                            .help("stop the service before a restore, so that nothing writes to its data"),
                    );
                }
                self.count(path);
            }
            Copied::NoPrivilege => self.shortfalls.skip_device(path),
        }
        Ok(true)
    }

    /// Moves restored side files away from a database that was carried: they are of another one's moment.
    fn part_from_logs(&mut self, database: &TreePath) -> Result<(), RestoreError> {
        for ending in ENDINGS {
            let name = [database.name(), ending].concat();
            let Some(path) = database.parent().and_then(|parent| parent.child(&name)) else {
                continue;
            };
            if self.look(&path)?.is_none() {
                continue;
            }
            let restored = [name.as_slice(), b".restored"].concat();
            let to = self.stack.top().map_err(|e| RestoreError::entry("open", &path, e))?;
            rustix::fs::renameat_with(to, name.as_slice(), to, restored.as_slice(), RenameFlags::NOREPLACE)
                .map_err(|e| RestoreError::entry("move aside", &path, e.into()))?;
            let what = format!("the restored `{}` lies there as `….restored`", path.display());
            self.warn(
                Diagnostic::warning(Code::RestoredBeside, what)
                    .why("the database beside it is the present one, which a log of another moment would change")
                    .help("leave the side files of a database out of a source that leaves the database out"),
            );
        }
        Ok(())
    }

    /// Puts the restored text beside the present file, which keeps its name.
    fn put_beside(&mut self, entry: &Entry, folder: &Folder) -> Result<(), RestoreError> {
        let path = &entry.path;
        let Some(name) = self.free_name(path, folder)? else {
            self.in_the_way(path);
            return Ok(());
        };
        if self.copy(entry, folder, Some(&name))?
            && let Some(restored) = path.parent().and_then(|parent| parent.child(&name))
        {
            self.mark(&name);
            self.carried.beside.push((path.clone(), restored));
        }
        Ok(())
    }

    /// Marks the restored text in the top folder, so that later backups leave it out. Where that cannot be done it becomes
    /// part of them, as any file does.
    fn mark(&mut self, name: &[u8]) {
        let opened = self.stack.top().and_then(|folder| {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            Ok(rustix::fs::openat(folder, name, flags, Mode::empty())?)
        });
        let _ = opened.and_then(marks::mark_restored);
    }

    /// `<name>.restored`, or with a number, free both in the stage and in the present tree.
    fn free_name(&mut self, path: &TreePath, folder: &Folder) -> Result<Option<Vec<u8>>, RestoreError> {
        for number in 1..=BESIDE_TRIES {
            let suffix = if number == 1 {
                marks::SUFFIX.to_owned()
            } else {
                format!("{}-{number}", marks::SUFFIX)
            };
            let kept = path.name().len().min(NAME_MAX - suffix.len());
            let mut name = path.name().get(..kept).unwrap_or_default().to_vec();
            name.extend_from_slice(suffix.as_bytes());
            let Some(candidate) = path.parent().and_then(|parent| parent.child(&name)) else {
                break;
            };
            // What an earlier restore left there is replaced: it goes with the present tree.
            let in_present = folder.stat_of(&name).is_ok() && !folder.file(&name).is_ok_and(marks::is_restored);
            if !in_present && self.look(&candidate)?.is_none() {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    fn finish(mut self) -> Result<Carried, RestoreError> {
        while self.stack.depth() > 0 {
            self.leave()?;
        }
        let root = TreePath::root();
        let fail = |error| RestoreError::entry("set the properties of", &root, error);
        settle(self.stack.root(), &root, &self.root, &mut self.shortfalls).map_err(fail)?;
        for folder in self.branches.folders().map(AsFd::as_fd).chain([self.stack.root()]) {
            rustix::fs::syncfs(folder).map_err(|e| RestoreError::entry("sync", &root, e.into()))?;
        }
        let (warnings, number) = self.shortfalls.warnings();
        self.carried.warning_count += number;
        for (path, restored) in &self.carried.beside {
            self.carried.warning_count += 1;
            let what = format!("`{}` lies beside the present `{}`", restored.display(), path.display());
            self.carried.warnings.push(
                Diagnostic::warning(Code::RestoredBeside, what)
                    .why("the backup holds it redacted, and a redacted text must not replace a whole one")
                    .state("the present file stays as it is")
                    .help("compare the two, and remove the restored one"),
            );
        }
        self.carried.warnings.extend(warnings);
        self.carried.warnings.truncate(limits::WARNINGS_LISTED);
        Ok(self.carried)
    }

    fn warn(&mut self, warning: Diagnostic) {
        self.carried.warning_count += 1;
        if self.carried.warnings.len() < limits::WARNINGS_LISTED {
            self.carried.warnings.push(warning);
        }
    }

    fn note(&mut self, note: &Note) {
        match &note.what {
            NoteKind::Unreadable(error) => self.not_carried(&note.path, &error.to_string()),
            NoteKind::Socket => self.not_carried(&note.path, "a socket lives as long as its process"),
            NoteKind::TooDeep => self.not_carried(&note.path, "it is nested too deep"),
            NoteKind::Unsettled => self.not_carried(&note.path, "it was another kind of thing at each look"),
            // Nothing is refused where everything is meant, and a survey reads no attributes.
            NoteKind::Refused | NoteKind::Attribute(_) => {}
        }
    }

    fn attribute_problems(&mut self, path: &TreePath, problems: usize) {
        if problems > 0 {
            let what = format!(
                "{problems} extended attributes of `{}` were not carried over",
                path.display()
            );
            self.warn(Diagnostic::warning(Code::RestoreIncomplete, what).why("they could not be read"));
        }
    }

    fn not_carried(&mut self, path: &TreePath, why: &str) {
        let what = format!("`{}` was not carried over from the present tree", path.display());
        self.warn(
            Diagnostic::warning(Code::RestoreIncomplete, what)
                .why(why)
                .state("it stays in the folder that is kept aside"),
        );
    }

    fn in_the_way(&mut self, path: &TreePath) {
        self.not_carried(path, "the restored tree has something else in its place");
    }
}
