//! What the journal says of swaps: before the first rename, and when it is done.

use serde_json::json;

use crate::id::BackupId;
use crate::journal::{Entry, Event, Field, Status, Sync};
use crate::restore::swap::record::SwapRecord;

use super::super::Failure;
use super::Evidence;

impl Evidence {
    /// Comes before the first rename: no record, no effect.
    pub(in crate::pipeline::run) fn swap_intended(&mut self, swap: &Swap<'_>) -> Result<(), Failure> {
        let entry = swap.entry(Event::SwapIntended).status(Status::Started);
        self.write(&entry, Sync::Now)
    }

    pub(in crate::pipeline::run) fn swapped(&mut self, swap: &Swap<'_>, kept: &[String]) -> Result<(), Failure> {
        let event = if swap.backup.is_some() {
            Event::Swapped
        } else {
            Event::RolledBack
        };
        let entry = swap.entry(event).status(Status::Ok).with(Field::Kept, json!(kept));
        self.write(&entry, Sync::Now)
    }

    /// Comes before anything of a swap that was cut short is moved, and again after it.
    pub(in crate::pipeline::run) fn recovering(
        &mut self,
        record: &SwapRecord,
        how: &str,
        status: Status,
    ) -> Result<(), Failure> {
        let destinations: Vec<String> = destinations_of(record);
        let mut entry = Entry::new(Event::SwapRecovered)
            .status(status)
            .with(Field::Point, record.point_id())
            .with(Field::Reason, how)
            .with(Field::Destinations, json!(destinations));
        if let Some(backup) = &record.backup {
            entry = entry.with(Field::Backup, backup.as_str());
        }
        self.write(&entry, Sync::Now)
    }

    /// Comes before the first file of a rollback point is removed: no record, no effect.
    pub(in crate::pipeline::run) fn drop_intended(&mut self, record: &SwapRecord) -> Result<(), Failure> {
        let entry = Entry::new(Event::DeleteIntended)
            .status(Status::Started)
            .with(Field::Point, record.point_id())
            .with(Field::Destinations, json!(destinations_of(record)));
        self.write(&entry, Sync::Now)
    }

    pub(in crate::pipeline::run) fn dropped(&mut self, record: &SwapRecord, bytes: u64) -> Result<(), Failure> {
        let entry = Entry::new(Event::Deleted)
            .status(Status::Ok)
            .with(Field::Point, record.point_id())
            .with(Field::Bytes, bytes);
        self.write(&entry, Sync::Now)
    }
}

/// A swap, as the journal tells of it.
pub(in crate::pipeline::run) struct Swap<'a> {
    /// The backup that is restored; none for a rollback.
    pub(in crate::pipeline::run) backup: Option<&'a BackupId>,
    /// The point that is put back; none for a restore.
    pub(in crate::pipeline::run) point: Option<String>,
    pub(in crate::pipeline::run) destinations: &'a [String],
}

impl Swap<'_> {
    fn entry(&self, event: Event) -> Entry {
        let mut entry = Entry::new(event);
        if let Some(backup) = self.backup {
            entry = entry.with(Field::Backup, backup.as_str());
        }
        if let Some(point) = &self.point {
            entry = entry.with(Field::Point, point.as_str());
        }
        entry.with(Field::Destinations, json!(self.destinations))
    }
}

fn destinations_of(record: &SwapRecord) -> Vec<String> {
    let items = record.items.iter();
    items.map(|item| item.destination.display().to_string()).collect()
}
