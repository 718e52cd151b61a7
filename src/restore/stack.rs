//! The folders from a root down to where one works, by descriptor. Only the deepest stay open, so a tree may be deeper
//! than a process may have files open, and its paths longer than the kernel takes.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::fs::create::{self, Identity};
use crate::fs::entry::TreePath;

/// Folders that stay open at once.
const OPEN: usize = 64;

/// How long a folder of the way stays open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// As long as it is one of the deepest: it is found again by its name.
    WhileNear,
    /// Always: it lies on another file system than the folder above it, and not by that name.
    Always,
}

struct Level<T> {
    name: Vec<u8>,
    identity: Identity,
    open: Option<OwnedFd>,
    held: Held,
    data: T,
}

/// A root and the folders below it, one in another.
pub(super) struct FolderStack<T> {
    root: OwnedFd,
    levels: Vec<Level<T>>,
}

impl<T> FolderStack<T> {
    /// Begins at `root`.
    pub(super) fn new(root: OwnedFd) -> Self {
        Self {
            root,
            levels: Vec::new(),
        }
    }

    /// The root itself.
    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// How many folders below the root the top one lies.
    pub(super) fn depth(&self) -> usize {
        self.levels.len()
    }

    /// The path of the top folder.
    pub(super) fn path(&self) -> TreePath {
        let mut bytes = Vec::new();
        for level in &self.levels {
            if !bytes.is_empty() {
                bytes.push(b'/');
            }
            bytes.extend_from_slice(&level.name);
        }
        TreePath::parse(&bytes).unwrap_or_default()
    }

    /// How many of these names, from the root on, are those of the folders of this stack.
    pub(super) fn shared<'a>(&self, names: impl Iterator<Item = &'a [u8]>) -> usize {
        self.levels.iter().zip(names).take_while(|(l, n)| l.name == *n).count()
    }

    /// Goes down into the folder `name` of the top folder, which is open as `folder`.
    pub(super) fn push(&mut self, name: &[u8], folder: OwnedFd, held: Held, data: T) -> io::Result<()> {
        self.levels.push(Level {
            name: name.to_vec(),
            identity: Identity::of_open(&folder)?,
            open: Some(folder),
            held,
            data,
        });
        if let Some(far) = self.levels.len().checked_sub(OPEN + 1)
            && let Some(level) = self.levels.get_mut(far)
            && level.held == Held::WhileNear
        {
            level.open = None;
        }
        Ok(())
    }

    /// Goes up. Gives the name and the data of the folder that was left; `None` at the root.
    pub(super) fn pop(&mut self) -> Option<(Vec<u8>, T)> {
        self.levels.pop().map(|level| (level.name, level.data))
    }

    /// The data of the top folder; `None` at the root.
    pub(super) fn data(&mut self) -> Option<&mut T> {
        self.levels.last_mut().map(|level| &mut level.data)
    }

    /// The top folder, opened again where it was closed.
    ///
    /// # Errors
    /// Where a folder on the way is not the one it was.
    pub(super) fn top(&mut self) -> io::Result<BorrowedFd<'_>> {
        let nearest = self.levels.iter().rposition(|level| level.open.is_some());
        let first = nearest.map_or(0, |n| n + 1);
        let keep_from = self.levels.len().saturating_sub(OPEN / 2);
        let mut passing: Option<OwnedFd> = None;
        for index in first..self.levels.len() {
            let above = match (&passing, index.checked_sub(1).and_then(|i| self.levels.get(i))) {
                (Some(folder), _) | (None, Some(Level { open: Some(folder), .. })) => folder.as_fd(),
                (None, _) => self.root.as_fd(),
            };
            let Some(level) = self.levels.get(index) else { break };
            let folder = create::open_folder(above, &level.name)?;
            if Identity::of_open(&folder)? != level.identity {
                return Err(io::Error::other("the folder was replaced while it was worked in"));
            }
            passing = None;
            if index >= keep_from
                && let Some(level) = self.levels.get_mut(index)
            {
                level.open = Some(folder);
            } else {
                passing = Some(folder);
            }
        }
        Ok(self
            .levels
            .last()
            .and_then(|l| l.open.as_ref())
            .unwrap_or(&self.root)
            .as_fd())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{Mode, OFlags};

    #[test]
    fn a_folder_far_up_is_opened_again() {
        let root = tempfile::tempdir().unwrap();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(root.path(), flags, Mode::empty()).unwrap();
        let mut stack = FolderStack::new(fd);
        let mut identities = Vec::new();
        for _ in 0..500 {
            let folder = create::make_folder(stack.top().unwrap(), b"deep").unwrap();
            identities.push(Identity::of_open(&folder).unwrap());
            stack.push(b"deep", folder, Held::WhileNear, ()).unwrap();
            assert!(stack.levels.iter().filter(|l| l.open.is_some()).count() <= OPEN);
        }
        while let Some(expected) = identities.pop() {
            assert_eq!(Identity::of_open(stack.top().unwrap()).unwrap(), expected);
            assert!(stack.levels.iter().filter(|l| l.open.is_some()).count() <= OPEN);
            stack.pop();
        }
        assert_eq!(stack.depth(), 0);
    }

    #[test]
    fn a_folder_that_was_replaced_meanwhile_is_not_taken_for_the_old_one() {
        let root = tempfile::tempdir().unwrap();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(root.path(), flags, Mode::empty()).unwrap();
        let mut stack = FolderStack::new(fd);
        let folder = create::make_folder(stack.top().unwrap(), b"a").unwrap();
        stack.push(b"a", folder, Held::WhileNear, ()).unwrap();
        std::fs::rename(root.path().join("a"), root.path().join("b")).unwrap();
        std::fs::create_dir(root.path().join("a")).unwrap();
        stack.levels.last_mut().unwrap().open = None;
        assert!(stack.top().is_err());
    }
}
