//! Destinations that are, hold or lie in one another cannot be replaced side by side: one would undo the other.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::restore::error::{RestoreError, Unfit};

/// Finds that no destination is, holds or lies in another. Worth a call before anything is unpacked; a swap looks again.
pub fn check_apart(destinations: &[PathBuf]) -> Result<(), RestoreError> {
    let real: Vec<PathBuf> = destinations.iter().map(|d| real_path(d)).collect();
    for (index, (path, destination)) in real.iter().zip(destinations).enumerate() {
        for (other_index, other) in real.iter().enumerate() {
            if index == other_index || !other.starts_with(path) {
                continue;
            }
            let unfit = if other == path {
                Unfit::Shared
            } else {
                Unfit::Holds(other.display().to_string())
            };
            return Err(RestoreError::unfit(destination, unfit));
        }
    }
    Ok(())
}

/// The path without links, as far as it exists.
pub fn real_path(path: &Path) -> PathBuf {
    let mut rest: Vec<&OsStr> = Vec::new();
    let mut at = path;
    loop {
        if let Ok(real) = std::fs::canonicalize(at) {
            return rest.iter().rev().fold(real, |path, name| path.join(name));
        }
        match (at.file_name(), at.parent()) {
            (Some(name), Some(parent)) => {
                rest.push(name);
                at = if parent.as_os_str().is_empty() {
                    Path::new(".")
                } else {
                    parent
                };
            }
            _ => return path.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_that_are_one_or_nested_are_refused() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("data/sub")).unwrap();
        std::os::unix::fs::symlink("data", root.path().join("link")).unwrap();
        let at = |path: &str| root.path().join(path);
        assert!(check_apart(&[at("data"), at("data.old"), at("other")]).is_ok());
        for pair in [
            ["data", "data"],
            ["data", "data/sub"],
            ["link/sub", "data"],
            ["data", "link/new/x"],
        ] {
            assert!(check_apart(&[at(pair[0]), at(pair[1])]).is_err(), "{pair:?}");
        }
    }
}
