//! What a restore would change: the catalog of a source beside the present tree, both in one order, so neither is held.
//!
//! Entries are compared by kind, by size and by the time of their last change; contents are not read.

use std::io;
use std::path::Path;

use crate::fs::entry::{Entry, Kind, TreePath};
use crate::fs::folder::Folder;
use crate::fs::own::Own;
use crate::fs::owners::Owners;
use crate::fs::selection::Selection;
use crate::fs::side_files::database_of;
use crate::fs::walk::{FileSystems, Look, SecondNames, Step, Walk, WalkOptions};
use crate::limits;

/// A number of entries, and the first of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many.
    pub count: u64,
    /// Apparent bytes of the files among them.
    pub bytes: u64,
    /// The first of them, at most `limits::WARNINGS_LISTED`.
    pub first: Vec<TreePath>,
}

impl Tally {
    fn add(&mut self, path: &TreePath, kind: &Kind) {
        self.count += 1;
        if let Kind::File { size, .. } = kind {
            self.bytes = self.bytes.saturating_add(*size);
        }
        if self.first.len() < limits::WARNINGS_LISTED {
            self.first.push(path.clone());
        }
    }
}

/// What would become of the entries of a destination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// In the backup and not present.
    pub added: Tally,
    /// In both, and not the same.
    pub changed: Tally,
    /// Present and not in the backup, though the source would have captured it.
    pub deleted: Tally,
    /// Present and not captured by the source: it goes with the restored tree.
    pub carried: Tally,
    /// Present and redacted in the backup: it stays, and the restored text lies beside it.
    pub beside: Tally,
    /// In both, and the same as far as was compared.
    pub same: u64,
}

/// A present tree and how it is looked at.
pub struct Present<'a> {
    /// Where it lies; it need not be there.
    pub root: &'a Path,
    /// Whether the source would have captured an entry (`true` for a folder).
    pub selects: &'a dyn Fn(&TreePath, bool) -> bool,
    /// Whether the source is one of databases, whose side files stay behind.
    pub databases: bool,
}

/// Why a comparison ended early.
#[derive(Debug)]
pub enum CompareError<E> {
    /// The present tree cannot be read.
    Present(io::Error),
    /// The catalog cannot be read.
    Catalog(E),
}

/// Compares the entries that `next` gives, in the order of their paths, with the present tree. With each comes whether its
/// content was redacted.
///
/// # Errors
/// Where the present root cannot be read, or `next` fails.
pub fn compare<E>(
    present: &Present<'_>,
    mut next: impl FnMut() -> Result<Option<(Entry, bool)>, E>,
) -> Result<Differences, CompareError<E>> {
    let owners = Owners::default();
    let selection = Selection::all();
    let options = WalkOptions {
        selection: &selection,
        owners: &owners,
        look: Look::Survey,
        second_names: SecondNames::Linked,
        file_systems: FileSystems::All,
    };
    let walk = match Folder::open(present.root).and_then(|folder| Walk::new(folder, options)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        other => Some(other.map_err(CompareError::Present)?),
    };
    let mut found = Differences::default();
    let mut walked = walk.into_iter().flatten().filter_map(|step| match step {
        Step::Found(entry) if Own::within(entry.entry.path.name()).is_none() => Some(entry.entry),
        // What cannot be read is told by the restore itself.
        Step::Found(_) | Step::Note(_) => None,
    });
    let mut here = walked.next();
    let mut stored = next().map_err(CompareError::Catalog)?;
    loop {
        match (here.take(), stored.take()) {
            (None, None) => return Ok(found),
            (Some(entry), Some((kept, redacted))) if entry.path == kept.path => {
                found.both(&entry, &kept, redacted);
                here = walked.next();
                stored = next().map_err(CompareError::Catalog)?;
            }
            (Some(entry), kept) if kept.as_ref().is_none_or(|(kept, _)| entry.path < kept.path) => {
                found.present_only(&entry, present);
                here = walked.next();
                stored = kept;
            }
            (entry, Some((kept, _))) => {
                found.added.add(&kept.path, &kept.kind);
                here = entry;
                stored = next().map_err(CompareError::Catalog)?;
            }
            // Covered by the arm that has no entry of the catalog.
            (Some(_), None) => return Ok(found),
        }
    }
}

impl Differences {
    fn both(&mut self, here: &Entry, kept: &Entry, redacted: bool) {
        if redacted && here.kind != Kind::Folder {
            self.beside.add(&here.path, &here.kind);
        } else if is_same(here, kept) {
            self.same += 1;
        } else {
            self.changed.add(&kept.path, &kept.kind);
        }
    }

    fn present_only(&mut self, here: &Entry, present: &Present<'_>) {
        let is_folder = here.kind == Kind::Folder;
        let left_behind = present.databases && !is_folder && database_of(here.path.as_bytes()).is_some();
        if left_behind || (present.selects)(&here.path, is_folder) {
            self.deleted.add(&here.path, &here.kind);
        } else {
            self.carried.add(&here.path, &here.kind);
        }
    }
}

fn is_same(here: &Entry, kept: &Entry) -> bool {
    match (&here.kind, &kept.kind) {
        (Kind::File { size: one, .. }, Kind::File { size: other, .. }) => {
            one == other && here.metadata.mtime == kept.metadata.mtime
        }
        (one, other) => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::entry::{Metadata, Moment};
    use std::os::unix::fs::MetadataExt;

    fn path(text: &str) -> TreePath {
        TreePath::parse(text.as_bytes()).unwrap()
    }

    fn entry(at: &str, kind: Kind) -> (Entry, bool) {
        let entry = Entry {
            path: path(at),
            kind,
            metadata: Metadata::default(),
            stat: None,
        };
        (entry, false)
    }

    /// A file of the catalog that is the same as the present one.
    fn file(root: &Path, at: &str) -> (Entry, bool) {
        let stat = std::fs::metadata(root.join(at)).unwrap();
        let (mut entry, _) = entry(
            at,
            Kind::File {
                size: stat.len(),
                extents: None,
            },
        );
        entry.metadata.mtime = Moment {
            seconds: stat.mtime(),
            nanoseconds: u32::try_from(stat.mtime_nsec()).unwrap(),
        };
        (entry, false)
    }

    fn compared(root: &Path, databases: bool, catalog: Vec<(Entry, bool)>) -> Differences {
        let mut catalog = catalog.into_iter();
        let present = Present {
            root,
            selects: &|path, _| path.name() != b".env",
            databases,
        };
        compare(&present, || Ok::<_, ()>(catalog.next())).unwrap()
    }

    fn names(tally: &Tally) -> Vec<String> {
        tally.first.iter().map(TreePath::display).collect()
    }

    #[test]
    fn each_entry_is_counted_once_and_in_its_kind() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        std::fs::create_dir_all(root.join("d")).unwrap();
        for name in [".env", "d/same", "d/size", "d/time", "gone", "secret", "u.db-wal"] {
            std::fs::write(root.join(name), "content").unwrap();
        }
        let own = root.join(".strongroom-replaced-20261121T215100Z-0242ac120002");
        std::fs::create_dir(own).unwrap();
        let (mut size, mut time) = (file(root, "d/size"), file(root, "d/time"));
        size.0.kind = Kind::File { size: 1, extents: None };
        time.0.metadata.mtime.nanoseconds ^= 1;
        let mut secret = file(root, "secret");
        secret.1 = true;
        let catalog = vec![
            entry("", Kind::Folder),
            entry("added", Kind::Fifo),
            entry("d", Kind::Folder),
            entry("d/a", Kind::File { size: 5, extents: None }),
            file(root, "d/same"),
            size,
            time,
            secret,
            entry("z", Kind::Folder),
        ];
        let found = compared(root, true, catalog);
        assert_eq!(names(&found.added), ["added", "d/a", "z"]);
        assert_eq!(found.added.bytes, 5);
        assert_eq!(names(&found.changed), ["d/size", "d/time"]);
        assert_eq!(names(&found.deleted), ["gone", "u.db-wal"]);
        assert_eq!(names(&found.carried), [".env"]);
        assert_eq!(names(&found.beside), ["secret"]);
        assert_eq!(found.same, 3);
    }

    #[test]
    fn of_a_destination_that_is_not_there_everything_is_added() {
        let catalog = vec![entry("", Kind::Folder), entry("a", Kind::Fifo)];
        let found = compared(Path::new("/no-such-folder"), false, catalog);
        assert_eq!((found.added.count, found.same), (2, 0));
        let nothing = compared(Path::new("/no-such-folder"), false, Vec::new());
        assert_eq!(nothing, Differences::default());
    }
}
