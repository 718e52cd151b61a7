//! Whom a restored entry belongs to on this host.

use crate::fs::create::{self, Made, Properties, Shortfall};
use crate::fs::entry::{Kind, Metadata, TreePath};
use crate::restore::error::RestoreError;
use crate::restore::writer::WriteOptions;

/// Whom what is written belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OwnerMapping {
    /// The owner and group of the same name, else of the same number.
    #[default]
    Names,
    /// The owner and group of the same number.
    Numbers,
    /// Whoever writes. Set-id bits are left out where they would serve another owner than they were meant for.
    None,
}

/// Gives what was made at `path` what it is to have; what of it could not be set is told.
pub(super) fn apply(
    options: &WriteOptions,
    made: Made<'_>,
    kind: &Kind,
    path: &TreePath,
    metadata: &Metadata,
) -> Result<Shortfall, RestoreError> {
    create::apply(made, &properties(options, metadata, kind))
        .map_err(|error| RestoreError::entry("set the properties of", path, error))
}

/// What an entry is to have, its owner translated for this host.
fn properties<'a>(options: &WriteOptions, metadata: &'a Metadata, kind: &Kind) -> Properties<'a> {
    let by_name = |name: &Option<String>, find: &dyn Fn(&str) -> Option<u32>| name.as_deref().and_then(find);
    let (uid, gid) = match options.owner {
        OwnerMapping::Names => (
            Some(by_name(&metadata.user, &|n| options.owners.uid(n)).unwrap_or(metadata.uid)),
            Some(by_name(&metadata.group, &|n| options.owners.gid(n)).unwrap_or(metadata.gid)),
        ),
        OwnerMapping::Numbers => (Some(metadata.uid), Some(metadata.gid)),
        OwnerMapping::None => (None, None),
    };
    let mut mode = metadata.mode;
    if options.owner == OwnerMapping::None && *kind != Kind::Folder {
        // A program that ran as its owner must not come to run as whoever restores it.
        if rustix::process::geteuid().as_raw() != metadata.uid {
            mode &= !0o4000;
        }
        if rustix::process::getegid().as_raw() != metadata.gid {
            mode &= !0o2000;
        }
    }
    Properties {
        uid,
        gid,
        mode,
        xattrs: &metadata.xattrs,
        mtime: metadata.mtime,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::owners::Owners;

    fn owned(uid: u32, user: &str) -> Metadata {
        Metadata {
            mode: 0o6755,
            uid,
            gid: uid,
            user: Some(user.to_owned()),
            ..Metadata::default()
        }
    }

    #[test]
    fn a_name_that_the_host_knows_goes_before_the_number() {
        let mut options = WriteOptions {
            owners: Owners::of_host().unwrap(),
            ..WriteOptions::default()
        };
        assert_eq!(properties(&options, &owned(77, "root"), &Kind::Fifo).uid, Some(0));
        assert_eq!(
            properties(&options, &owned(77, "no-such-user"), &Kind::Fifo).uid,
            Some(77)
        );
        options.owner = OwnerMapping::Numbers;
        assert_eq!(properties(&options, &owned(77, "root"), &Kind::Fifo).uid, Some(77));
    }

    #[test]
    fn set_id_bits_do_not_pass_to_whoever_restores() {
        let options = WriteOptions {
            owner: OwnerMapping::None,
            ..WriteOptions::default()
        };
        let file = Kind::File { size: 0, extents: None };
        let other = rustix::process::geteuid().as_raw() + 1;
        assert_eq!(properties(&options, &owned(other, "x"), &file).mode, 0o755);
        assert_eq!(properties(&options, &owned(other, "x"), &Kind::Folder).mode, 0o6755);
    }
}
