//! The swap journal: everything a swap will do, written and synced before the first rename; later the entry of the
//! rollback index.
//!
//! One file of JSON, the same in every folder that a swap works in, so that whichever of them is found leads to all. The
//! one in `home` decides: its **name** says how far the swap has come, and a rename of it is the commit. The others exist
//! only while that one does.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

pub use super::entry::{HostPath, Mark};
use crate::fs::own::Own;
use crate::id::{BackupId, EnvName, Instance, RunId, SourceName};

/// The version of this format.
pub const FORMAT: u32 = 1;

/// How far a swap has come, which the name of its journal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Under way: whoever finds it puts everything back.
    Swap,
    /// Committed: whoever finds it finishes.
    Swapped,
    /// Done: it is the index entry of a rollback point.
    Point,
    /// A point that is being removed: whoever finds it goes on with that.
    Drop,
}

impl Phase {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Swap, Self::Swapped, Self::Point, Self::Drop];

    const fn word(self) -> &'static str {
        match self {
            Self::Swap => "swap",
            Self::Swapped => "swapped",
            Self::Point => "point",
            Self::Drop => "drop",
        }
    }

    /// The name of the journal of `run` in this phase.
    pub fn file_name(self, run: &RunId) -> OsString {
        format!(".strongroom-{}-{run}.json", self.word()).into()
    }

    /// The phase and the run that a journal's name says.
    pub fn of(name: &[u8]) -> Option<(Self, RunId)> {
        let name = std::str::from_utf8(name).ok()?;
        let rest = name.strip_prefix(".strongroom-")?.strip_suffix(".json")?;
        let (word, run) = rest.split_once('-')?;
        let phase = Self::ALL.into_iter().find(|phase| phase.word() == word)?;
        Some((phase, run.parse().ok()?))
    }
}

/// The name of a journal that is being written.
pub(super) fn new_name(run: &RunId) -> OsString {
    format!("{NEW}{run}.json").into()
}

/// Whether this is the name of a journal that is being written.
pub(super) fn is_new_name(name: &[u8]) -> bool {
    name.starts_with(NEW.as_bytes()) && Own::of(name) == Some(Own::Journal)
}

const NEW: &str = ".strongroom-new-";

/// One rename of a swap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Move {
    /// Two entries exchange their names.
    #[serde(rename_all = "kebab-case")]
    Exchange {
        /// Where the present one lies.
        present: HostPath,
        /// Where the one lies that takes its place.
        other: HostPath,
        /// A name for the moment between two renames, on a file system that cannot exchange.
        parked: HostPath,
        /// The present one.
        present_mark: Mark,
        /// The one that takes its place.
        other_mark: Mark,
    },
    /// An entry gets a name that is free.
    Rename {
        /// Where it lies.
        from: HostPath,
        /// Where it goes.
        to: HostPath,
        /// The entry.
        mark: Mark,
    },
}

/// What a folder that stays where it is, a mount point, looks like: what a rename would have brought along.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Looks {
    /// Mode bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last change, seconds and nanoseconds.
    pub mtime: (i64, u32),
    /// Attributes, names and values in base64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub xattrs_b64: Vec<(String, String)>,
}

/// A folder that stays and takes the looks of the one that would have replaced it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Dress {
    /// The folder that stays.
    pub folder: HostPath,
    /// The folder whose content it gets.
    pub other: HostPath,
    /// The looks it has.
    pub was: Looks,
    /// The looks that the other has.
    pub becomes: Looks,
}

/// What a swap does with one staged folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Part {
    /// Comes before everything else and is on the disk before anything follows: the staged folder takes the name under which
    /// the present data will be kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<Move>,
    /// The renames, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moves: Vec<Move>,
    /// Folders that stay.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dress: Vec<Dress>,
}

/// Where data that was replaced is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Kept {
    /// The folder whose content it was: the destination, or a mount point in it.
    pub of: HostPath,
    /// Where it lies.
    pub at: HostPath,
}

/// Whether a folder is replaced as one or name by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// By one rename of the folder itself.
    Whole,
    /// A mount point, or a folder that holds one, cannot be renamed: its names are.
    Names,
}

/// One destination of a swap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Item {
    /// The source, for people.
    pub source: SourceName,
    /// The destination, its real path.
    pub destination: HostPath,
    /// How it is replaced.
    pub way: Way,
    /// Where what was there is kept; nothing where nothing was there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<Kept>,
    /// Folders that go when the swap is undone: what was unpacked for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<Staged>,
    /// What is done, one for each staged folder.
    pub parts: Vec<Part>,
}

/// A folder that was unpacked for a swap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Staged {
    /// Where it lies before the swap.
    pub at: HostPath,
    /// The folder.
    pub mark: Mark,
}

/// A point that a rollback puts back. It goes with the commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Taken {
    /// The run whose point it is.
    pub run: RunId,
    /// Its home.
    pub home: HostPath,
    /// The folders that have its index entry.
    pub folders: Vec<HostPath>,
}

/// A swap, complete.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SwapRecord {
    /// Version of this format.
    pub format: u32,
    /// The run that swaps.
    pub run: RunId,
    /// The environment.
    pub environment: EnvName,
    /// The host.
    pub host: String,
    /// The host or role whose data it is, as backups have it.
    pub instance: Instance,
    /// Who ran it.
    pub actor: String,
    /// When, RFC 3339 in UTC.
    pub made: String,
    /// The backup that was put in place; absent for a rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupId>,
    /// The point that was put back; absent for a restore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub takes: Option<Taken>,
    /// The folder whose copy of this file decides.
    pub home: HostPath,
    /// Every folder that has a copy, `home` first.
    pub folders: Vec<HostPath>,
    /// What is replaced.
    pub items: Vec<Item>,
}

/// Why a swap journal is not followed.
#[derive(Debug, thiserror::Error)]
pub enum SwapRecordError {
    /// Not JSON, or not this JSON.
    #[error("it is not a swap journal")]
    Json(#[source] serde_json::Error),
    /// Made by a newer program.
    #[error("it has format {0}, this program reads {FORMAT}")]
    Newer(u32),
    /// It would move what no swap of this program moves.
    #[error("it names `{0}`, which lies outside its destinations")]
    Outside(String),
}

#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

impl SwapRecord {
    /// The file's bytes.
    ///
    /// # Errors
    /// The serializer's own; never with a record made by this program.
    pub fn to_bytes(&self) -> serde_json::Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads a journal. Whoever may write in the folder above a destination could have put it there, so it is only taken
    /// where all it does is to move the destination's own data.
    pub fn parse(bytes: &[u8]) -> Result<Self, SwapRecordError> {
        let format: FormatOnly = serde_json::from_slice(bytes).map_err(SwapRecordError::Json)?;
        if format.format > FORMAT {
            return Err(SwapRecordError::Newer(format.format));
        }
        let record: Self = serde_json::from_slice(bytes).map_err(SwapRecordError::Json)?;
        record.check()?;
        Ok(record)
    }

    fn check(&self) -> Result<(), SwapRecordError> {
        let outside = |path: &Path| SwapRecordError::Outside(path.display().to_string());
        let mut anchors: Vec<&Path> = Vec::new();
        for item in &self.items {
            item.check()?;
            anchors.push(item.anchor());
        }
        let taken = self.takes.iter().flat_map(|taken| &taken.folders);
        for folder in self.folders.iter().chain([&self.home]) {
            if !anchors.contains(&folder.0.as_path()) {
                return Err(outside(folder));
            }
        }
        match taken.chain(self.takes.iter().map(|t| &t.home)).find(|f| !is_plain(f)) {
            Some(folder) => Err(outside(folder)),
            None => Ok(()),
        }
    }

    /// The moment of the swap.
    pub fn moment(&self) -> jiff::Timestamp {
        self.made.parse().unwrap_or_default()
    }

    /// The short name of its point: its time and the random part of its run's id.
    pub fn point_id(&self) -> String {
        format!("{}-{}", compact_time(self.moment()), short(&self.run))
    }
}

impl Item {
    /// The folder that has stage, kept data and journal of this destination.
    pub fn anchor(&self) -> &Path {
        match self.way {
            Way::Whole => self.destination.parent().unwrap_or(&self.destination),
            Way::Names => &self.destination,
        }
    }

    fn check(&self) -> Result<(), SwapRecordError> {
        let mut named: Vec<&HostPath> = Vec::new();
        for part in &self.parts {
            for step in part.ready.iter().chain(&part.moves) {
                named.extend(step.paths());
            }
            named.extend(
                part.dress
                    .iter()
                    .flat_map(|d| [&d.folder, &d.other])
                    .filter(|path| **path != self.destination),
            );
        }
        let kept = self.kept.iter().map(|kept| (&kept.at, Own::Replaced));
        let removable: Vec<_> = kept
            .chain(self.stages.iter().map(|stage| (&stage.at, Own::Stage)))
            .collect();
        let misnamed = removable.iter().find(|(path, own)| own_name(path) != Some(*own));
        named.extend(removable.iter().map(|(path, _)| *path));
        let wrong = named.into_iter().find(|path| !self.may_move(path));
        match misnamed.map(|(path, _)| *path).or(wrong) {
            Some(path) => Err(SwapRecordError::Outside(path.display().to_string())),
            None => Ok(()),
        }
    }

    /// Whether a swap of this destination has to do with `path`.
    fn may_move(&self, path: &Path) -> bool {
        if !is_plain(path) || !is_plain(&self.destination) {
            return false;
        }
        match self.way {
            Way::Names => path != self.destination.as_ref() as &Path && path.starts_with(&*self.destination),
            Way::Whole => {
                let own = own_name(path);
                path == self.destination.as_ref() as &Path
                    || path.parent() == self.destination.parent()
                        && matches!(own, Some(Own::Stage | Own::Replaced | Own::Parked))
            }
        }
    }
}

impl Move {
    /// Every path that it names.
    pub(super) fn paths(&self) -> Vec<&HostPath> {
        match self {
            Self::Exchange {
                present, other, parked, ..
            } => vec![present, other, parked],
            Self::Rename { from, to, .. } => vec![from, to],
        }
    }
}

fn own_name(path: &Path) -> Option<Own> {
    path.file_name().and_then(|name| Own::of(name.as_bytes()))
}

/// An absolute path with a name of its own, without `.` and `..`.
fn is_plain(path: &Path) -> bool {
    path.is_absolute()
        && path
            .components()
            .all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
}

/// `20261121T215100Z`.
pub fn compact_time(moment: jiff::Timestamp) -> String {
    moment.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// The last twelve digits of a run's id: the random ones.
pub fn short(run: &RunId) -> String {
    let text = run.to_string();
    text.rsplit('-').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(way: Way, paths: &[&str]) -> SwapRecord {
        let run = RunId::new(1, [7; 10]);
        let mark = Mark { inode: 1, born: None };
        let moves = paths
            .windows(2)
            .map(|pair| Move::Rename {
                from: Path::new(pair[0]).into(),
                to: Path::new(pair[1]).into(),
                mark,
            })
            .collect();
        let anchor = match way {
            Way::Whole => "/srv",
            Way::Names => "/srv/data",
        };
        SwapRecord {
            format: FORMAT,
            run,
            environment: "dev".parse().unwrap(),
            host: "host".into(),
            instance: Instance::new("host"),
            actor: "uid 0".into(),
            made: "2026-11-21T21:51:00Z".into(),
            backup: None,
            takes: None,
            home: Path::new(anchor).into(),
            folders: vec![Path::new(anchor).into()],
            items: vec![Item {
                source: "data".parse().unwrap(),
                destination: Path::new("/srv/data").into(),
                way,
                kept: Vec::new(),
                stages: Vec::new(),
                parts: vec![Part {
                    moves,
                    ..Part::default()
                }],
            }],
        }
    }

    fn read(record: &SwapRecord) -> Result<SwapRecord, SwapRecordError> {
        SwapRecord::parse(&record.to_bytes().unwrap())
    }

    const STAGE: &str = "/srv/.data.strongroom-stage-070707070707";

    #[test]
    fn a_journal_reads_back_and_its_name_says_its_phase() {
        let written = record(Way::Whole, &[STAGE, "/srv/data"]);
        assert_eq!(read(&written).unwrap(), written);
        for phase in Phase::ALL {
            let name = phase.file_name(&written.run);
            assert_eq!(Own::of(name.as_bytes()), Some(Own::Journal));
            assert_eq!(Phase::of(name.as_bytes()), Some((phase, written.run)));
        }
        assert_eq!(Own::of(new_name(&written.run).as_bytes()), Some(Own::Journal));
        assert_eq!(Phase::of(new_name(&written.run).as_bytes()), None);
    }

    #[test]
    fn a_journal_that_would_move_anything_but_its_destinations_is_refused() {
        for (way, path) in [
            (Way::Whole, "/etc/shadow"),
            (Way::Whole, "/srv/other"),
            (Way::Whole, "/srv/data/inside"),
            (Way::Whole, "/srv/.data.strongroom-stage-07070707070"),
            (Way::Whole, "/srv/../etc/x"),
            (Way::Whole, "srv/data"),
            (Way::Names, "/srv/data"),
            (Way::Names, "/srv/data/../x"),
            (Way::Names, "/srv/database/x"),
        ] {
            let fine = match way {
                Way::Whole => STAGE,
                Way::Names => "/srv/data/x",
            };
            for paths in [[fine, path], [path, fine]] {
                assert!(
                    matches!(read(&record(way, &paths)), Err(SwapRecordError::Outside(_))),
                    "{paths:?}"
                );
            }
        }
        let mut data = record(Way::Names, &[]);
        data.items[0].kept.push(Kept {
            of: Path::new("/srv/data").into(),
            at: Path::new("/srv/data/precious").into(),
        });
        assert!(matches!(read(&data), Err(SwapRecordError::Outside(_))));
        let mut elsewhere = record(Way::Whole, &[STAGE, "/srv/data"]);
        elsewhere.home = Path::new("/etc").into();
        assert!(matches!(read(&elsewhere), Err(SwapRecordError::Outside(_))));
    }

    #[test]
    fn a_newer_format_is_told_as_such() {
        let mut newer = record(Way::Whole, &[STAGE, "/srv/data"]);
        newer.format = FORMAT + 1;
        assert!(matches!(read(&newer), Err(SwapRecordError::Newer(2))));
    }
}
