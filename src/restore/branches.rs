//! The parts of a stage that lie on other file systems: one for each mount point in its destination. In the stage itself an
//! empty folder stands in the place of each.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use crate::fs::create;
use crate::fs::entry::TreePath;

/// Folders that stand for those at these paths of a tree.
#[derive(Debug, Default)]
pub(super) struct Branches(Vec<(TreePath, OwnedFd)>);

impl Branches {
    pub(super) fn new(branches: Vec<(TreePath, OwnedFd)>) -> Self {
        Self(branches)
    }

    /// The folder that stands for the one at `path`.
    pub(super) fn at(&self, path: &TreePath) -> Option<&OwnedFd> {
        self.0.iter().find(|(at, _)| at == path).map(|(_, folder)| folder)
    }

    /// All of them.
    pub(super) fn folders(&self) -> impl Iterator<Item = &OwnedFd> {
        self.0.iter().map(|(_, folder)| folder)
    }

    /// Opens the folder at `path` of the tree with this root, on whichever file system it lies, as a place to name entries
    /// in.
    pub(super) fn open_beneath(&self, root: BorrowedFd<'_>, path: &TreePath) -> io::Result<OwnedFd> {
        let within = self
            .0
            .iter()
            .filter_map(|(at, folder)| Some((folder, below(path, at)?)));
        match within.min_by_key(|(_, rest)| rest.as_bytes().len()) {
            Some((folder, rest)) => create::open_beneath(folder, &rest),
            None => create::open_beneath(root, path),
        }
    }
}

/// The path below `folder`; `None` where it does not lie there.
fn below(path: &TreePath, folder: &TreePath) -> Option<TreePath> {
    let rest = path.as_bytes().strip_prefix(folder.as_bytes())?;
    match rest.split_first() {
        None => Some(TreePath::root()),
        Some((b'/', rest)) => TreePath::parse(rest),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_path_leads_into_the_nearest_branch_above_it() {
        let root = tempfile::tempdir().unwrap();
        let open = |path: &str| {
            std::fs::create_dir_all(root.path().join(path)).unwrap();
            OwnedFd::from(std::fs::File::open(root.path().join(path)).unwrap())
        };
        for (at, file) in [("tree/a/b", "tree"), ("one/b", "one"), ("two/c", "two")] {
            open(at);
            std::fs::write(root.path().join(at).join(file), "").unwrap();
        }
        let path = |text: &str| TreePath::parse(text.as_bytes()).unwrap();
        let branches = Branches::new(vec![(path("a"), open("one")), (path("a/x"), open("two"))]);
        let tree = open("tree");
        for (at, found) in [("a/b", "one"), ("a/x/c", "two")] {
            let folder = branches.open_beneath(tree.as_fd(), &path(at)).unwrap();
            assert!(create::look(&folder, found.as_bytes()).is_ok(), "{at}");
        }
        assert!(branches.open_beneath(tree.as_fd(), &path("ab")).is_err());
        assert!(branches.at(&path("a/x")).is_some() && branches.at(&path("a/xy")).is_none());
    }
}
