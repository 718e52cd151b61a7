//! Remembers the first name of each inode that has several, so that its further names become hard links to it.

use std::collections::HashMap;

use rustix::fs::Statx;

use super::entry::{Moment, TreePath};
use super::metadata;

/// First names by device and inode number. Only inodes with several names are held, and only until all were met.
#[derive(Debug, Default)]
pub(super) struct FirstNames {
    by_inode: HashMap<(u64, u64), FirstName>,
    last: Option<(u64, u64)>,
}

/// A first name, and what tells its inode from a later one of the same number.
#[derive(Debug)]
struct FirstName {
    path: TreePath,
    birth: Option<Moment>,
    size: u64,
    mtime: Moment,
    to_come: u32,
}

impl FirstNames {
    /// The first name of the inode, where `path` is not it; else `path` is from now on.
    pub(super) fn first_of(&mut self, path: &TreePath, stat: &Statx) -> Option<TreePath> {
        if stat.stx_nlink < 2 {
            return None;
        }
        let seen = metadata::stat_of(stat);
        let birth = metadata::birth(stat);
        let key = (seen.device, seen.inode);
        if let Some(first) = self.by_inode.get_mut(&key) {
            // A file deleted meanwhile may have left its number to another one.
            let same = match (first.birth, birth) {
                (Some(then), Some(now)) => then == now,
                _ => first.size == seen.size && first.mtime == seen.mtime,
            };
            if same {
                let path = first.path.clone();
                first.to_come = first.to_come.saturating_sub(1);
                if first.to_come == 0 {
                    self.by_inode.remove(&key);
                }
                return Some(path);
            }
        }
        self.last = Some(key);
        let first = FirstName {
            path: path.clone(),
            birth,
            size: seen.size,
            mtime: seen.mtime,
            to_come: stat.stx_nlink - 1,
        };
        self.by_inode.insert(key, first);
        None
    }

    /// Lets what was remembered last stand.
    pub(super) fn settle_last(&mut self) {
        self.last = None;
    }

    /// Forgets what was remembered last, unless it was settled.
    pub(super) fn forget_last(&mut self) {
        if let Some(key) = self.last.take() {
            self.by_inode.remove(&key);
        }
    }
}
