//! Removes a folder with everything in it, by descriptor: never through a link, never across a mount, however deep.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::stack::{FolderStack, Held};
use crate::fs::create::{self, Identity};

/// Removes the folder `name` of `parent`, provided it is still `identity`: whatever else has taken the name stays.
pub(super) fn remove_tree(parent: BorrowedFd<'_>, name: &[u8], identity: Identity) -> io::Result<()> {
    let stat = match create::look(parent, name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    if Identity::of(&stat) != identity {
        return Err(io::Error::other("another folder has taken its name"));
    }
    let root = open_to_clear(parent, name)?;
    if Identity::of_open(&root)? != identity {
        return Err(io::Error::other("another folder has taken its name"));
    }
    let mut stack = FolderStack::new(root);
    let mut waiting = vec![clear_files(stack.top()?)?];
    while let Some(folders) = waiting.last_mut() {
        if let Some(next) = folders.pop() {
            let folder = open_to_clear(stack.top()?, &next)?;
            waiting.push(clear_files(folder.as_fd())?);
            stack.push(&next, folder, Held::WhileNear, ())?;
        } else {
            waiting.pop();
            if let Some((left, ())) = stack.pop() {
                create::remove_folder(stack.top()?, &left)?;
            }
        }
    }
    create::remove_folder(parent, name)
}

/// Opens a folder whose own mode may forbid it to its owner: a restored tree has such folders.
fn open_to_clear(parent: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    if !rustix::process::geteuid().is_root() {
        let node = rustix::fs::openat(parent, name, flags, Mode::empty())?;
        create::chmod_by_descriptor(&node, Mode::RWXU)?;
    }
    create::open_folder(parent, name)
}

/// Removes everything in `folder` that is not a folder, and gives the names of those.
fn clear_files(folder: BorrowedFd<'_>) -> io::Result<Vec<Vec<u8>>> {
    // Some file systems skip names when a folder shrinks while it is listed, so it is listed until nothing is left.
    loop {
        let mut folders = Vec::new();
        let mut removed = false;
        let mut listing = Dir::read_from(folder)?;
        while let Some(entry) = listing.read() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            if entry.file_type() == FileType::Directory {
                folders.push(name.to_vec());
                continue;
            }
            match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
                Ok(()) => removed = true,
                Err(Errno::NOENT) => {}
                Err(Errno::ISDIR) => folders.push(name.to_vec()),
                Err(error) => return Err(error.into()),
            }
        }
        if !removed {
            return Ok(folders);
        }
    }
}
