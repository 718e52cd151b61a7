//! Reads files that hold secrets: opened first, judged on the descriptor, so that nothing can be put in their place.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path};

use rustix::fs::{Mode, OFlags};
use zeroize::{Zeroize, Zeroizing};

use super::SecretError;
use crate::limits;
use crate::secret::Secret;

/// Where the service manager puts credentials; it decides who may read them.
const CREDENTIALS: &str = "/run/credentials";

/// Reads an environment's secret file; `None` where there is none. A symbolic link is refused.
pub(super) fn read_env_file(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, SecretError> {
    let file = match open(path, OFlags::NOFOLLOW) {
        Ok(file) => file,
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(rustix::io::Errno::LOOP) => return Err(SecretError::NotRegular { file: path.to_owned() }),
        Err(error) => return Err(unreadable(path, error.into())),
    };
    let mode = regular_mode(&file, path)?.0;
    if mode & 0o077 != 0 {
        return Err(SecretError::Mode {
            file: path.to_owned(),
            mode,
        });
    }
    read_whole(file, path, limits::SECRET_FILE_MAX).map(Some)
}

/// Reads a file that is one value, without its last line end.
///
/// Others may not read it; where it belongs to root, its group may. What lies in the folder of the service manager's
/// credentials is not judged.
pub(super) fn read_value(path: &Path) -> Result<Secret<String>, SecretError> {
    let file = match open(path, OFlags::empty()) {
        Ok(file) => file,
        Err(rustix::io::Errno::NOENT) => return Err(SecretError::MissingFile { file: path.to_owned() }),
        Err(error) => return Err(unreadable(path, error.into())),
    };
    let (mode, owner) = regular_mode(&file, path)?;
    let open_to = |bits: u32| (mode & bits) > 0;
    let closed = !open_to(0o077) || (owner == 0 && !open_to(0o027));
    let given = path.starts_with(CREDENTIALS) && !path.components().any(|part| part == Component::ParentDir);
    if !closed && !given {
        return Err(SecretError::Mode {
            file: path.to_owned(),
            mode,
        });
    }
    let limit = u64::try_from(limits::SECRET_MAX).unwrap_or(u64::MAX);
    let mut bytes = read_whole(file, path, limit + 2)?;
    text(std::mem::take(&mut *bytes), || {
        format!("in the file `{}`", path.display())
    })
}

/// Text without its last line end.
pub(super) fn text(mut bytes: Vec<u8>, name: impl Fn() -> String) -> Result<Secret<String>, SecretError> {
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Secret::new(text)),
        Err(error) => {
            error.into_bytes().zeroize();
            Err(SecretError::NotText { name: name() })
        }
    }
}

/// Opens without waiting for a pipe's other end.
fn open(path: &Path, more: OFlags) -> rustix::io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY | more;
    rustix::fs::open(path, flags, Mode::empty()).map(File::from)
}

/// Permission bits and owner of a regular file.
fn regular_mode(file: &File, path: &Path) -> Result<(u32, u32), SecretError> {
    let metadata = file.metadata().map_err(|source| unreadable(path, source))?;
    if !metadata.is_file() {
        return Err(SecretError::NotRegular { file: path.to_owned() });
    }
    Ok((metadata.mode() & 0o7777, metadata.uid()))
}

fn read_whole(file: File, path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let size = file.metadata().map_err(|source| unreadable(path, source))?.len();
    // Room for all of it at once: a buffer that grows leaves copies behind.
    let room = usize::try_from(size.min(limit)).unwrap_or_default() + 2;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| unreadable(path, source))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
        return Err(SecretError::TooLong {
            name: format!("in the file `{}`", path.display()),
            limit,
        });
    }
    Ok(bytes)
}

fn unreadable(path: &Path, source: std::io::Error) -> SecretError {
    SecretError::Unreadable {
        file: path.to_owned(),
        source,
    }
}
