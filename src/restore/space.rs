//! How much room there is on the file systems of destinations, and how much what lies somewhere takes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::fs::entry::Kind;
use crate::fs::folder::Folder;
use crate::fs::owners::Owners;
use crate::fs::selection::Selection;
use crate::fs::walk::{FileSystems, Look, SecondNames, Step, Walk, WalkOptions};

/// Bytes of a block that `stat` counts in.
const BLOCK: u64 = 512;

/// What is to be written on one file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// A folder on it: that of the first destination.
    pub at: PathBuf,
    /// Bytes that are needed.
    pub needed: u64,
    /// Bytes that are free for this user.
    pub free: u64,
}

impl Room {
    /// Whether it fits.
    pub const fn suffices(&self) -> bool {
        self.needed <= self.free
    }
}

/// Sums up for each file system what is needed in these places; one that is not there yet counts for the folder above it.
///
/// # Errors
/// Where a file system cannot be asked.
pub fn rooms(places: &[(PathBuf, u64)]) -> io::Result<Vec<Room>> {
    let mut by_device: BTreeMap<u64, Room> = BTreeMap::new();
    let mut order = Vec::new();
    for (place, bytes) in places {
        let at = nearest(place);
        let device = std::fs::metadata(at)?.dev();
        if let Some(room) = by_device.get_mut(&device) {
            room.needed = room.needed.saturating_add(*bytes);
            continue;
        }
        let stat = rustix::fs::statvfs(at)?;
        order.push(device);
        by_device.insert(
            device,
            Room {
                at: at.to_owned(),
                needed: *bytes,
                free: stat.f_bavail.saturating_mul(stat.f_frsize),
            },
        );
    }
    Ok(order.iter().filter_map(|device| by_device.remove(device)).collect())
}

/// The nearest folder at or above `path` that is there.
fn nearest(path: &Path) -> &Path {
    path.ancestors()
        .find(|above| !above.as_os_str().is_empty() && above.exists())
        .unwrap_or(Path::new("."))
}

/// Bytes that everything at `path` takes on its disk, each inode once. What cannot be read counts for nothing.
pub fn taken(path: &Path) -> u64 {
    let owners = Owners::default();
    let selection = Selection::all();
    let options = WalkOptions {
        selection: &selection,
        owners: &owners,
        look: Look::Survey,
        second_names: SecondNames::Separate,
        file_systems: FileSystems::One,
    };
    let Ok(mut walk) = Folder::open(path).and_then(|folder| Walk::new(folder, options)) else {
        return 0;
    };
    let (mut bytes, mut known) = (0_u64, BTreeSet::new());
    while let Some(step) = walk.next() {
        let Step::Found(found) = step else { continue };
        let stat = match (&found.entry.kind, walk.folder()) {
            (Kind::Folder, Some(folder)) => crate::fs::folder::stat(folder),
            (_, Some(folder)) => folder.stat_of(found.entry.path.name()),
            (_, None) => continue,
        };
        let Ok(stat) = stat else { continue };
        if stat.stx_nlink < 2 || found.entry.kind == Kind::Folder || known.insert(stat.stx_ino) {
            bytes = bytes.saturating_add(stat.stx_blocks.saturating_mul(BLOCK));
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_on_one_file_system_are_summed_up() {
        let folder = tempfile::tempdir().unwrap();
        let places = [
            (folder.path().to_owned(), 10),
            (folder.path().join("not/there"), 5),
            (PathBuf::from("/proc"), 1),
        ];
        let rooms = rooms(&places).unwrap();
        assert_eq!(rooms.len(), 2);
        assert_eq!((rooms[0].at.as_path(), rooms[0].needed), (folder.path(), 15));
        assert!(rooms[0].suffices() && rooms[0].free > 15);
        assert!(!rooms[1].suffices(), "nothing can be written there");
    }

    #[test]
    fn a_hard_link_takes_no_room_of_its_own_and_neither_does_a_hole() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        std::fs::write(&file, vec![1; 1 << 20]).unwrap();
        let one = taken(folder.path());
        assert!(one >= 1 << 20);
        std::fs::hard_link(&file, folder.path().join("b")).unwrap();
        std::fs::File::create(folder.path().join("hole"))
            .unwrap()
            .set_len(1 << 30)
            .unwrap();
        assert!(taken(folder.path()) < one + (1 << 19));
        assert_eq!(taken(Path::new("/no-such-folder")), 0);
    }
}
