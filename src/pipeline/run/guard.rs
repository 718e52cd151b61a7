//! `Verified → Guarded`: sees, before anything is unpacked, that there is room for the restored beside the present, which is
//! kept as the rollback point.

use std::path::Path;

use crate::archive::record::Record;
use crate::diagnostic::{Code, Diagnostic};
use crate::outcome::Table;
use crate::restore::points::{self, Rules};
use crate::restore::space::{Room, rooms};
use crate::steps::Step;
use crate::steps::restore::Restore;
use crate::steps::rollback_point::RollbackPoint;
use crate::units::{ByteCount, counted};

use super::choose::Verified;
use super::destination::destinations;
use super::{Failure, Runner, UNTOUCHED};

/// A verified backup, and what becomes of what it replaces.
pub(super) struct Guarded {
    pub(super) verified: Verified,
    pub(super) rules: Rules,
}

impl RollbackPoint {
    pub(super) fn rules(&self) -> Rules {
        Rules {
            keep: self.keep,
            keep_for: self.keep_for.0,
        }
    }
}

impl Runner<'_> {
    /// Shows the room that is needed and what rollback points there are.
    pub(super) fn guard(&mut self, verified: Verified, settings: &RollbackPoint) -> Result<(Guarded, String), Failure> {
        let restore = self.plan.steps().iter().find_map(|planned| match &planned.step {
            Step::Restore(restore) if planned.enabled => Some(restore.clone()),
            _ => None,
        });
        let restore: Restore = restore.unwrap_or_default();
        let record = verified.redaction.restored(&verified.record);
        let destinations = destinations(self.plan, self.context, &record, &restore)?;
        let places: Vec<_> = destinations
            .iter()
            .map(|(name, destination)| {
                let source = record.sources.iter().find(|source| source.name == *name);
                (destination.path.clone(), source.map_or(0, |source| source.bytes))
            })
            .collect();
        let rooms = rooms(&places).map_err(|error| {
            vec![
                Diagnostic::error(Code::RestoreFailed, "the free space of a destination cannot be read")
                    .why(error.to_string())
                    .state(UNTOUCHED),
            ]
        })?;
        self.outcome.tables.push(room_table(&rooms));
        self.outcome.json.insert("room".into(), room_json(&rooms));
        if let Some(room) = rooms.iter().find(|room| !room.suffices()) {
            return Err(vec![too_small(room)]);
        }
        let points = self.known_points();
        let taken: u64 = points.iter().map(points::taken).sum();
        let summary = format!(
            "{}; {} take {}",
            rooms.iter().map(one_room).collect::<Vec<_>>().join("; "),
            counted(points.len() as u64, "rollback point"),
            ByteCount(taken)
        );
        let rules = settings.rules();
        Ok((Guarded { verified, rules }, summary))
    }
}

impl Runner<'_> {
    /// Refuses to unpack into a folder in which there is no room for it, before anything is unpacked. Holes take no room, and neither
    /// does what a file system compresses: the smaller of both sums that the record has is what is certainly needed.
    pub(super) fn refuse_without_room(&self, to: &Path, record: &Record) -> Result<(), Failure> {
        let wanted = self
            .part
            .as_ref()
            .map_or_else(|| record.source_bytes(), |part| part.bytes);
        let plain = record.packs.as_ref().map(|packs| packs.plain_bytes);
        let plain = plain.or_else(|| record.archive.as_ref().map(|archive| archive.plain_bytes));
        let needed = plain.map_or(wanted, |plain| plain.min(wanted));
        // Where a file system cannot be asked it tells of a lack of room itself.
        let rooms = rooms(&[(to.to_owned(), needed)]).unwrap_or_default();
        let Some(room) = rooms.iter().find(|room| !room.suffices()) else {
            return Ok(());
        };
        let what = format!(
            "there is no room in `{}` for what is restored: {} are needed, {} are free",
            to.display(),
            ByteCount(room.needed),
            ByteCount(room.free)
        );
        let problem = Diagnostic::error(Code::DiskFull, what).state(UNTOUCHED);
        let help =
            "free space there, name a folder on another disk, or restore a part: `restore BACKUP PATH… --to DIR`";
        Err(vec![problem.help(match self.options.to {
            Some(_) => help,
            None => "free space where the state folder lies, or name another `state` folder in the environment",
        })])
    }
}

fn one_room(room: &Room) -> String {
    format!("{} needed, {} free", ByteCount(room.needed), ByteCount(room.free))
}

pub(super) fn room_table(rooms: &[Room]) -> Table {
    Table {
        title: "room beside what is kept".into(),
        columns: ["on the file system of", "needed", "free"].map(String::from).to_vec(),
        rows: rooms
            .iter()
            .map(|room| {
                vec![
                    room.at.display().to_string(),
                    ByteCount(room.needed).to_string(),
                    ByteCount(room.free).to_string(),
                ]
            })
            .collect(),
    }
}

pub(super) fn room_json(rooms: &[Room]) -> serde_json::Value {
    let list = rooms.iter().map(|room| {
        serde_json::json!({ "at": room.at.display().to_string(), "needed-bytes": room.needed, "free-bytes": room.free })
    });
    list.collect()
}

pub(super) fn too_small(room: &Room) -> Diagnostic {
    let what = format!(
        "there is no room for the restored data beside the present: {} are needed on the file system of `{}`, {} are free",
        ByteCount(room.needed),
        room.at.display(),
        ByteCount(room.free)
    );
    Diagnostic::error(Code::DiskFull, what).state(UNTOUCHED).help(
        "free space there, remove an older rollback point with `strongroom rollback --drop`, or restore with `--to DIR` on \
         another disk",
    )
}
