//! Whether an entry is in two backups what it was, and in what it is not.

use crate::archive::catalog::Listed;
use crate::fs::entry::{Kind, Metadata};

use super::super::{Reading, ReadingError};

/// In what an entry differs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// It is another kind of thing.
    pub kind: bool,
    /// Its content is another one: the data of a file or where its holes are, what a link points to, the numbers of a device.
    pub content: bool,
    /// Names of the properties that differ.
    pub properties: Vec<&'static str>,
}

/// In what an entry of the second backup differs from that of the first; `None` where they are alike.
///
/// A further name of a file is compared as that file. The time of a folder is not compared: it changes with what is in it, which is
/// told itself.
///
/// # Errors
/// When a catalog has to be read for it and cannot be.
pub fn changed(
    (one, other): (&Reading, &Reading),
    before: &Listed,
    after: &Listed,
) -> Result<Option<Changed>, ReadingError> {
    let mut changed = Changed::default();
    let (was, is) = (&before.entry.kind, &after.entry.kind);
    let both_names = |was: &Kind, is: &Kind| matches!((was, is), (Kind::HardLink { .. }, Kind::HardLink { .. }));
    let a_name = |kind: &Kind| matches!(kind, Kind::HardLink { .. });
    if was == is && before.blake3 == after.blake3 {
        // Where the data lies does not count.
    } else if !both_names(was, is) && !a_name(was) && !a_name(is) {
        (changed.kind, changed.content) = differ(before, after);
    } else {
        let (before, after) = (one.holder(before.clone())?, other.holder(after.clone())?);
        (changed.kind, changed.content) = differ(&before, &after);
        changed.properties.push("links");
    }
    let folder = matches!((was, is), (Kind::Folder, Kind::Folder));
    changed
        .properties
        .extend(properties(&before.entry.metadata, &after.entry.metadata, folder));
    let alike = !changed.kind && !changed.content && changed.properties.is_empty();
    Ok((!alike).then_some(changed))
}

/// Whether they are of another kind, and whether their content differs.
fn differ(before: &Listed, after: &Listed) -> (bool, bool) {
    let (was, is) = (&before.entry.kind, &after.entry.kind);
    let another = std::mem::discriminant(was) != std::mem::discriminant(is);
    (another, !another && (was != is || before.blake3 != after.blake3))
}

fn properties(was: &Metadata, is: &Metadata, folder: bool) -> Vec<&'static str> {
    let Metadata {
        mode,
        uid,
        gid,
        user,
        group,
        mtime,
        xattrs,
    } = is;
    [
        ("mode", was.mode != *mode),
        ("owner", (was.uid, &was.user) != (*uid, user)),
        ("group", (was.gid, &was.group) != (*gid, group)),
        ("time", !folder && was.mtime != *mtime),
        ("attributes", was.xattrs != *xattrs),
    ]
    .into_iter()
    .filter_map(|(name, differs)| differs.then_some(name))
    .collect()
}
