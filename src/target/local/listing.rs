//! Lists the files below a folder as objects, by name. Files on their way, links and whatever cannot be an object are
//! passed over: no object has such a name or such a kind.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use object_store::path::{Path, PathPart};
use object_store::{Extensions, ListResult, ObjectMeta, Result};
use rustix::fs::{AtFlags, Dir, FileType, Stat};
use rustix::io::Errno;

use super::root::Root;
use super::{TEMPORARY_PREFIX, blocking, explain};
use crate::limits;

/// What a folder holds.
#[derive(Default)]
struct Level {
    folders: Vec<Path>,
    files: Vec<ObjectMeta>,
}

/// All objects below `prefix`, sorted by name.
pub(super) fn list(root: Arc<Root>, prefix: Path) -> BoxStream<'static, Result<ObjectMeta>> {
    let path = prefix.clone();
    let found = blocking(move || below(&root, prefix));
    futures::stream::once(async move {
        let found = found.await.map_err(|error| explain(&path, error))?;
        Ok::<_, object_store::Error>(futures::stream::iter(found.into_iter().map(Ok)))
    })
    .try_flatten()
    .boxed()
}

/// The objects in `prefix` itself and the folders in it, sorted by name.
pub(super) async fn list_level(root: Arc<Root>, prefix: Path) -> Result<ListResult> {
    let path = prefix.clone();
    let found = blocking(move || level(&root, &prefix)).await;
    let mut found = found.map_err(|error| explain(&path, error))?;
    found.folders.sort_unstable();
    found.files.sort_unstable_by(|a, b| a.location.cmp(&b.location));
    Ok(ListResult {
        common_prefixes: found.folders,
        objects: found.files,
        extensions: Extensions::default(),
    })
}

fn below(root: &Root, prefix: Path) -> io::Result<Vec<ObjectMeta>> {
    let mut objects = Vec::new();
    let mut waiting = vec![(prefix, 0)];
    while let Some((folder, depth)) = waiting.pop() {
        if depth > limits::TARGET_DEPTH {
            return Err(io::Error::other(
                "folders are nested deeper than this program makes them",
            ));
        }
        let mut found = level(root, &folder)?;
        objects.append(&mut found.files);
        waiting.extend(found.folders.into_iter().map(|folder| (folder, depth + 1)));
    }
    objects.sort_unstable_by(|a, b| a.location.cmp(&b.location));
    Ok(objects)
}

fn level(root: &Root, prefix: &Path) -> io::Result<Level> {
    let mut level = Level::default();
    let folder = match root.folder(prefix.as_ref()) {
        Ok(folder) => folder,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(level);
        }
        Err(error) => return Err(error),
    };
    for entry in Dir::read_from(&folder)? {
        let entry = entry?;
        let Some(path) = object_path(prefix, entry.file_name().to_bytes()) else {
            continue;
        };
        let stat = match rustix::fs::statat(&folder, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            // Removed since the folder was read.
            Err(Errno::NOENT) => continue,
            Err(error) => return Err(error.into()),
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => level.folders.push(path),
            FileType::RegularFile => level.files.push(meta(path, &stat)),
            _ => {}
        }
    }
    Ok(level)
}

/// The name of the object that an entry of `folder` would be. `lost+found` belongs to the file system.
fn object_path(folder: &Path, name: &[u8]) -> Option<Path> {
    let name = std::str::from_utf8(name).ok()?;
    let foreign = name.starts_with(TEMPORARY_PREFIX) || (folder.is_root() && name == "lost+found");
    if foreign || PathPart::parse(name).is_err() {
        return None;
    }
    if folder.is_root() {
        Path::parse(name).ok()
    } else {
        Path::parse(format!("{folder}/{name}")).ok()
    }
}

fn meta(location: Path, stat: &Stat) -> ObjectMeta {
    let nanoseconds = u32::try_from(stat.st_mtime_nsec).unwrap_or_default();
    let seconds = Duration::from_secs(stat.st_mtime.unsigned_abs());
    let whole = if stat.st_mtime >= 0 {
        SystemTime::UNIX_EPOCH.checked_add(seconds)
    } else {
        SystemTime::UNIX_EPOCH.checked_sub(seconds)
    };
    let modified = whole.unwrap_or(SystemTime::UNIX_EPOCH) + Duration::new(0, nanoseconds.min(999_999_999));
    ObjectMeta {
        location,
        last_modified: modified.into(),
        size: u64::try_from(stat.st_size).unwrap_or_default(),
        e_tag: None,
        version: None,
    }
}
