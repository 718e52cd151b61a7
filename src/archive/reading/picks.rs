//! The entries of a backup that are asked for, each with the folders on the way to it, as they could stand for themselves: a further
//! name of a file whose first name is not asked for is that file.

use std::collections::HashMap;

use crate::archive::catalog::Listed;
use crate::fs::entry::{Entry, Kind, TreePath};

use super::path::{BackupPath, Order};
use super::{Entries, Reading, ReadingError};

/// Gives what is asked for, in the order of the backup.
pub struct Picks {
    reading: Reading,
    order: Order,
    entries: Entries,
    /// What is asked for, in order; none is below another. Empty for everything.
    wanted: Vec<BackupPath>,
    /// Number of the one that is given now.
    at: usize,
    /// Folders on the way to it, outermost last.
    way: Vec<BackupPath>,
    /// How far the one at `at` has come.
    stage: Stage,
    /// By the first name of a file that is not asked for: the name that stands for it.
    moved: HashMap<BackupPath, TreePath>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Folders on the way come first.
    Way,
    /// The entry itself is sought.
    Itself,
    /// What is below it follows.
    Below,
}

impl Picks {
    /// Of `reading` what stands at `wanted` and below; everything where it is empty.
    pub fn new(reading: &Reading, mut wanted: Vec<BackupPath>) -> Self {
        let order = reading.order();
        let place = |path: &BackupPath| (order.rank(path.source()), path.path().clone());
        wanted.sort_by_key(place);
        // Whatever holds another one stands before it.
        let mut kept: Vec<BackupPath> = Vec::new();
        for path in wanted {
            if kept.last().is_none_or(|last| !last.holds((path.source(), path.path()))) {
                kept.push(path);
            }
        }
        let mut picks = Self {
            reading: reading.clone(),
            entries: reading.entries(),
            order,
            wanted: kept,
            at: 0,
            way: Vec::new(),
            stage: Stage::Way,
            moved: HashMap::new(),
        };
        picks.begin(None);
        picks
    }

    /// Lists the folders on the way to the present one that were not on the way to `before`.
    fn begin(&mut self, before: Option<&BackupPath>) {
        self.stage = Stage::Way;
        self.way.clear();
        let mut folder = self.wanted.get(self.at).and_then(BackupPath::parent);
        while let Some(path) = folder {
            if before.is_some_and(|before| path.holds((before.source(), before.path()))) {
                break;
            }
            folder = path.parent();
            self.way.push(path);
        }
    }

    /// The next entry; `None` at the end.
    ///
    /// # Errors
    /// When the catalog cannot be read, or does not have what is asked for.
    pub fn next_entry(&mut self) -> Result<Option<Listed>, ReadingError> {
        if self.wanted.is_empty() {
            return Ok(self.entries.next()?);
        }
        while let Some(wanted) = self.wanted.get(self.at).cloned() {
            match self.stage {
                Stage::Way => match self.way.pop() {
                    Some(folder) => return self.find(&folder).map(Some),
                    None => self.stage = Stage::Itself,
                },
                Stage::Itself => {
                    self.stage = Stage::Below;
                    let found = self.find(&wanted)?;
                    return self.standing_alone(found).map(Some);
                }
                Stage::Below => {
                    let inside = |listed: &Listed| wanted.holds((&listed.source, &listed.entry.path));
                    if self.entries.peek()?.is_some_and(inside) {
                        let Some(listed) = self.entries.next()? else { continue };
                        return self.standing_alone(listed).map(Some);
                    }
                    self.at += 1;
                    self.begin(Some(&wanted));
                }
            }
        }
        Ok(None)
    }

    fn find(&mut self, path: &BackupPath) -> Result<Listed, ReadingError> {
        let order = &self.order;
        self.entries
            .advance(&|source, at| order.is_before((source, at), path))?;
        let found = self.entries.next()?.filter(|listed| path.is(listed));
        found.ok_or_else(|| self.reading.unknown(path))
    }

    /// A further name of a file that is not asked for itself becomes that file, or a further name of the one that did.
    fn standing_alone(&mut self, listed: Listed) -> Result<Listed, ReadingError> {
        let Kind::HardLink { first } = &listed.entry.kind else {
            return Ok(listed);
        };
        let path = BackupPath::new(&listed.source, first);
        let is_wanted = |wanted: &BackupPath| wanted.holds((path.source(), path.path()));
        if self.wanted.iter().any(is_wanted) {
            return Ok(listed);
        }
        if let Some(first) = self.moved.get(&path).cloned() {
            let kind = Kind::HardLink { first };
            return Ok(Listed {
                entry: Entry { kind, ..listed.entry },
                ..listed
            });
        }
        self.moved.insert(path, listed.entry.path.clone());
        let own = listed.entry.path.clone();
        let holder = self.reading.holder(listed)?;
        Ok(Listed {
            entry: Entry {
                path: own,
                ..holder.entry
            },
            ..holder
        })
    }
}
