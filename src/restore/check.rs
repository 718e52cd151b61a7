//! Whether an entry can be a real one, judged by itself: nothing here looks at the disk.

use super::error::Trick;
use crate::fs::entry::{Entry, Extent, Kind, Metadata, TreePath};
use crate::limits;

/// Bytes of one name in a folder.
const NAME_MAX: usize = 255;
/// Bytes of what a symbolic link holds.
const LINK_MAX: usize = 4095;
/// Bytes of one attribute's value.
const VALUE_MAX: usize = 64 << 10;
/// The kernel's device numbers: 12 bits and 20 bits.
const MAJOR_MAX: u32 = (1 << 12) - 1;
const MINOR_MAX: u32 = (1 << 20) - 1;

/// Refuses an entry that no captured tree can have.
pub(super) fn entry(entry: &Entry) -> Result<(), Trick> {
    path(&entry.path)?;
    metadata(&entry.metadata)?;
    match &entry.kind {
        Kind::Folder | Kind::Fifo => Ok(()),
        Kind::File { size, extents } => content(*size, extents.as_deref()),
        Kind::Link { target } => {
            let fits = !target.is_empty() && target.len() <= LINK_MAX && !target.contains(&0);
            fits.then_some(()).ok_or(Trick::LinkTarget)
        }
        Kind::HardLink { first } => {
            path(first)?;
            if first.is_root() {
                Err(Trick::LinkToFolder)
            } else {
                Ok(())
            }
        }
        Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
            let fits = *major <= MAJOR_MAX && *minor <= MINOR_MAX;
            fits.then_some(()).ok_or(Trick::Device)
        }
    }
}

fn path(path: &TreePath) -> Result<(), Trick> {
    let mut depth = 0;
    for name in path.components() {
        depth += 1;
        if name.len() > NAME_MAX {
            return Err(Trick::LongName);
        }
    }
    if depth > limits::TREE_DEPTH {
        Err(Trick::TooDeep)
    } else {
        Ok(())
    }
}

fn metadata(metadata: &Metadata) -> Result<(), Trick> {
    // The number -1 is "no owner" to the kernel.
    let numbers = metadata.mode <= 0o7777
        && metadata.uid != u32::MAX
        && metadata.gid != u32::MAX
        && metadata.mtime.nanoseconds < 1_000_000_000;
    if !numbers {
        return Err(Trick::Numbers);
    }
    for (name, value) in &metadata.xattrs {
        let dot = name.iter().position(|b| *b == b'.');
        let named = dot.is_some_and(|dot| dot > 0 && dot + 1 < name.len());
        if !named || name.contains(&0) || name.len() > NAME_MAX || value.len() > VALUE_MAX {
            return Err(Trick::Attribute);
        }
    }
    if attribute_bytes(metadata) > limits::XATTRS_MAX {
        return Err(Trick::Attribute);
    }
    Ok(())
}

/// Bytes of all names and values.
pub(super) fn attribute_bytes(metadata: &Metadata) -> usize {
    metadata
        .xattrs
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum()
}

fn content(size: u64, extents: Option<&[Extent]>) -> Result<(), Trick> {
    if i64::try_from(size).is_err() {
        return Err(Trick::Size);
    }
    let mut from = 0;
    for extent in extents.unwrap_or_default() {
        let end = extent.offset.checked_add(extent.length);
        match end {
            Some(end) if extent.length > 0 && extent.offset >= from && end <= size => from = end,
            _ => return Err(Trick::Extents),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl FnOnce(&mut Metadata)) -> Result<(), Trick> {
        let mut metadata = Metadata {
            mode: 0o644,
            ..Metadata::default()
        };
        change(&mut metadata);
        super::metadata(&metadata)
    }

    #[test]
    fn numbers_that_cannot_be_are_refused() {
        assert_eq!(with(|_| {}), Ok(()));
        assert_eq!(with(|m| m.mode = 0o10000), Err(Trick::Numbers));
        assert_eq!(with(|m| m.uid = u32::MAX), Err(Trick::Numbers));
        assert_eq!(with(|m| m.gid = u32::MAX), Err(Trick::Numbers));
        assert_eq!(with(|m| m.mtime.nanoseconds = 1_000_000_000), Err(Trick::Numbers));
    }

    #[test]
    fn attributes_need_a_namespace_and_a_name() {
        for (name, expected) in [
            (&b"user.x"[..], Ok(())),
            (b"trusted.overlay.opaque", Ok(())),
            (b"x", Err(Trick::Attribute)),
            (b".x", Err(Trick::Attribute)),
            (b"user.", Err(Trick::Attribute)),
            (b"user.a\0b", Err(Trick::Attribute)),
        ] {
            assert_eq!(with(|m| drop(m.xattrs.insert(name.to_vec(), Vec::new()))), expected);
        }
    }

    #[test]
    fn extents_ascend_within_the_size() {
        let extents = |list: &[(u64, u64)]| {
            let list: Vec<_> = list.iter().map(|&(offset, length)| Extent { offset, length }).collect();
            content(10, Some(&list))
        };
        assert_eq!(extents(&[(0, 5), (5, 5)]), Ok(()));
        for wrong in [
            &[(0, 5), (4, 1)][..],
            &[(5, 1), (0, 1)],
            &[(0, 11)],
            &[(3, 0)],
            &[(u64::MAX, 2)],
        ] {
            assert_eq!(extents(wrong), Err(Trick::Extents));
        }
        assert_eq!(content(u64::MAX, None), Err(Trick::Size));
    }

    #[test]
    fn a_path_deeper_than_a_tree_is_refused() {
        let deep = |levels: usize| TreePath::parse(vec!["d"; levels].join("/").as_bytes()).unwrap();
        assert_eq!(path(&deep(limits::TREE_DEPTH)), Ok(()));
        assert_eq!(path(&deep(limits::TREE_DEPTH + 1)), Err(Trick::TooDeep));
    }
}
