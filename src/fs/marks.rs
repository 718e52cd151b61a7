//! The mark by which this program knows a text that a restore laid beside a present file: an extended attribute, since a
//! name alone could be anyone's.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;

use rustix::fs::XattrFlags;

/// The attribute.
const RESTORED: &str = "user.strongroom.restored";
/// What follows the present file's name.
pub const SUFFIX: &str = ".restored";

/// Marks an open file as a restored text beside a present file.
///
/// # Errors
/// Where the file system has no such attributes or the file may not be changed.
pub fn mark_restored(file: impl AsFd) -> io::Result<()> {
    Ok(rustix::fs::fsetxattr(file, RESTORED, b"1", XattrFlags::empty())?)
}

/// Whether a file has the mark.
pub fn is_restored(file: impl AsFd) -> bool {
    rustix::fs::fgetxattr(file, RESTORED, &mut [0_u8; 8][..]).is_ok()
}

/// The name of the file that a restored text of this name would lie beside: `a` for `a.restored` and `a.restored-2`, where
/// the attributes have the mark.
pub fn beside_what<'n>(name: &'n [u8], xattrs: &BTreeMap<Vec<u8>, Vec<u8>>) -> Option<&'n [u8]> {
    if !xattrs.contains_key(RESTORED.as_bytes()) {
        return None;
    }
    let digits = name.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let numbered = name
        .get(..name.len() - digits)?
        .strip_suffix(b"-")
        .filter(|_| digits > 0);
    let stem = numbered.unwrap_or(name).strip_suffix(SUFFIX.as_bytes())?;
    (!stem.is_empty()).then_some(stem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_marked_file_of_such_a_name_lies_beside_another() {
        let marked = BTreeMap::from([(RESTORED.as_bytes().to_vec(), b"1".to_vec())]);
        for (name, stem) in [
            ("a.toml.restored", Some("a.toml")),
            ("a.restored-12", Some("a")),
            ("a.restored-", None),
            ("a.restored2", None),
            ("a", None),
            (".restored", None),
            ("a-3", None),
        ] {
            assert_eq!(beside_what(name.as_bytes(), &marked), stem.map(str::as_bytes), "{name}");
            assert_eq!(beside_what(name.as_bytes(), &BTreeMap::new()), None);
        }
    }
}
