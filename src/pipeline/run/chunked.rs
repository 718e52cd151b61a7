//! A backup in chunks: what it builds on, and what this host remembers of it afterwards.

use std::collections::BTreeSet;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::archive::chunks::arrived::{self, Arrived, Ledger, Placed};
use crate::archive::chunks::base::Base;
use crate::archive::chunks::index::{Footer, Index};
use crate::archive::chunks::sink::Settings;
use crate::archive::chunks::store::{self, Memory, Storing};
use crate::archive::layout;
use crate::archive::naming::Sealing;
use crate::archive::pack::Packed;
use crate::archive::record::Record;
use crate::archive::refs::{self, Refs};
use crate::archive::repository::{Backup, Lineage, Listing, Stored, sizes};
use crate::crypto::Digest;
use crate::diagnostic::{Code, Diagnostic};
use crate::steps::deduplicate::Read;
use crate::target::Target;

use super::backup::{Making, NO_BACKUP, NotMade, Pending, codec};
use super::capture::{Capture, Captures};
use super::epochs::name_in_state;
use super::stores::state_path;
use super::{Failure, Runner};

/// The folder of what is remembered, in the state folder.
const MEMORY: &str = "memory";
const INDEX: &str = "index";
const PAGES: &str = "pages";
const ARRIVED: &str = "arrived";
/// A pack is stored anew when less than one part of so many of it is used.
const DEAD_SHARE: u64 = 2;
/// What is stored anew in one run for that reason: one part of so many of what the last backup holds.
const RENEWED_SHARE: u64 = 10;

impl<'p> Runner<'p> {
    /// Captures everything and stores what the last backup does not hold.
    pub(super) async fn store_chunks(
        &mut self,
        pending: &Pending<'p>,
        making: Making,
        (listing, lineage): (&Listing, &Lineage),
        capture: Capture,
    ) -> Result<(Packed<Captures>, Option<Memory>), NotMade> {
        let folder = self.memory_folder(&making.targets, lineage).await?;
        let sequence = making.sequence;
        let base = self.base(&folder, listing, lineage, &making).await;
        let (arrived, placed) = (arrived(&folder.join(ARRIVED), &making).await, Placed::default());
        let epoch = making.epoch.as_ref().map(|epoch| epoch.name.clone());
        // Without a ledger a run that is killed leaves nothing to its next one, and that is all.
        let ledger = Ledger::begin(&folder.join(ARRIVED), epoch, placed.clone(), &arrived).ok();
        let read_all = pending.deduplicate.is_some_and(|settings| settings.read == Read::All);
        let (_, level) = pending
            .compress
            .map_or_else(|| codec(&crate::steps::compress::Compress::default()), codec);
        let spool = self.evidence.spool()?;
        let storing = Storing {
            level,
            epoch: making.epoch.clone(),
            salt: making.id.to_string(),
            settings: Settings {
                base: base.as_ref().map(|(base, _)| Arc::clone(base)),
                sequence,
                seed: making.epoch.as_ref().map_or(0, |epoch| epoch.chunk_key.seed()),
                spool,
                pages: folder.join(PAGES),
                arrived,
                placed,
                read_all,
                stop: Arc::clone(self.context.stop.flag()),
            },
            base,
            index: folder.join(INDEX),
            ledger,
            targets: making.targets,
            required: making.required,
            doomed: making.doomed,
        };
        let stored = store::store(storing, &self.context.events, move |sink| capture.run(sink)).await;
        let (packed, memory) = stored.map_err(NotMade::Packing)?;
        Ok((packed, Some(memory)))
    }

    /// Where this host remembers the last backup of a lineage in a repository.
    async fn memory_folder(&mut self, targets: &[Target], lineage: &Lineage) -> Result<PathBuf, Failure> {
        let id = name_in_state(&self.repository(targets).await?);
        let line = format!("{}.{}", lineage.pipeline, lineage.instance);
        let folder = state_path(self.plan).join(MEMORY).join(id).join(line);
        let made = std::fs::DirBuilder::new()
            .mode(0o700)
            .recursive(true)
            .create(folder.join(PAGES));
        made.map_err(|error| {
            vec![
                Diagnostic::error(
                    Code::StateFailed.unless_full(&error),
                    format!("`{}` cannot be made", folder.display()),
                )
                .why(error.to_string())
                .state(NO_BACKUP)
                .help("free space where the state folder lies, or give this user the right to write there"),
            ]
        })?;
        Ok(folder)
    }

    /// The backup to build on: the one that this host remembers, where its record is still there as it was, in every target. Without
    /// one, everything is stored.
    async fn base(
        &mut self,
        folder: &std::path::Path,
        listing: &Listing,
        lineage: &Lineage,
        making: &Making,
    ) -> Option<(Arc<Base>, Record)> {
        let index = match Index::open(&folder.join(INDEX)) {
            Ok(index) => index?,
            Err(error) => {
                self.forgotten(&error.to_string());
                return None;
            }
        };
        let footer = index.footer();
        let remembered = |backup: &&Backup| {
            Some(&backup.record.id) == footer.backup.as_ref()
                && footer.record == Some(Digest::of(&backup.bytes))
                && footer.sequence == backup.record.sequence
                && is_before(footer, making.sequence)
                && backup.lineage() == *lineage
                // What is sealed to other keys cannot be shared with.
                && backup.record.epoch.as_ref() == making.epoch.as_ref().map(|epoch| &epoch.name)
        };
        let backup = listing.backups.iter().find(remembered)?;
        let everywhere = making
            .targets
            .iter()
            .all(|target| backup.targets.iter().any(|other| other.name() == target.name()));
        if !everywhere {
            return None;
        }
        let refs = match backup.targets.first() {
            Some(target) => refs::read(target, &backup.record.refs).await.ok()?,
            None => return None,
        };
        let condemned = condemned(&index, &refs, making);
        let base = Base {
            index,
            condemned,
            pages: folder.join(PAGES),
        };
        Some((Arc::new(base), backup.record.clone()))
    }

    fn forgotten(&mut self, why: &str) {
        self.warn(
            Diagnostic::warning(
                Code::MemoryLost,
                "what this host remembers of the last backup cannot be used",
            )
            .why(why)
            .state("this backup stores everything, as the first one did"),
        );
    }

    /// Puts what is remembered in place. Where that fails the backup stands, and the next one stores more.
    pub(super) fn keep_memory(&mut self, memory: Memory, stored: &Stored) {
        let totals = memory.totals.clone();
        let outcome = &mut self.outcome;
        outcome.json.insert("unread-files".into(), totals.unread.into());
        outcome.json.insert("new-bytes".into(), totals.new.into());
        if let Err(error) = memory.commit(stored.record().id.clone(), Digest::of(stored.bytes())) {
            self.warn(
                Diagnostic::warning(Code::MemoryLost, "this backup cannot be remembered in the state folder")
                    .why(error.to_string())
                    .state("the backup stands; the next one stores what it could have built on")
                    .help("free space where the state folder lies"),
            );
        }
    }
}

/// What a run that was killed has stored, as far as it lies in all targets and no sweep lists it. What cannot be found out is not
/// relied on.
async fn arrived(ledger: &Path, making: &Making) -> Vec<Arrived> {
    let epoch = making.epoch.as_ref().map(|epoch| epoch.name.as_str());
    let mut found = arrived::read(ledger, epoch).unwrap_or_default();
    let suffix = Sealing::of(making.epoch.as_deref()).suffix();
    let object = |arrived: &Arrived| layout::pack(&arrived.pack.name) + suffix;
    found.retain(|arrived| !making.doomed.contains(&object(arrived)));
    for target in &making.targets {
        if found.is_empty() {
            break;
        }
        let names: Vec<String> = found.iter().map(object).collect();
        let there = sizes(target, &names).await.unwrap_or_default();
        found.retain(|arrived| there.get(&object(arrived)) == Some(&arrived.pack.stored));
    }
    found
}

/// Whether what is remembered can be the base of the backup with this number: all its lines must count as older than any new one,
/// or changes would be taken for what the base has.
const fn is_before(footer: &Footer, sequence: u64) -> bool {
    footer.base <= footer.sequence && footer.sequence < sequence
}

/// Numbers of the packs that must not be built on: those on a list of a sweep, and those of which so little is used that storing that
/// anew frees them.
fn condemned(index: &Index, refs: &Refs, making: &Making) -> BTreeSet<u32> {
    let mut condemned = BTreeSet::new();
    let mut dead: Vec<(u64, u64, u32)> = Vec::new();
    let mut live_bytes = 0_u64;
    for (number, pack) in index.footer().packs.iter().enumerate() {
        let Ok(number) = u32::try_from(number) else { continue };
        let plain = layout::pack(&pack.name);
        let sealed = format!("{plain}.age");
        if making.doomed.contains(&plain) || making.doomed.contains(&sealed) {
            condemned.insert(number);
            continue;
        }
        let Some(one) = refs.get(&plain).or_else(|| refs.get(&sealed)) else {
            // Not in use any more: nothing refers to it, so nothing is lost by not building on it.
            condemned.insert(number);
            continue;
        };
        live_bytes = one.plain_bytes.saturating_add(live_bytes);
        if one.plain_bytes.saturating_mul(DEAD_SHARE) < pack.plain {
            let share = one.plain_bytes.saturating_mul(1000) / pack.plain.max(1);
            dead.push((share, one.plain_bytes, number));
        }
    }
    // The emptiest first: they free most for what storing them anew costs.
    dead.sort_unstable();
    let mut room = live_bytes / RENEWED_SHARE;
    for (_, live, number) in dead {
        if live <= room {
            room -= live;
            condemned.insert(number);
        }
    }
    condemned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memory_that_is_not_older_than_the_new_backup_is_no_base() {
        let footer = |base, sequence| Footer {
            sequence,
            base,
            ..Footer::default()
        };
        assert!(is_before(&footer(3, 7), 8));
        assert!(is_before(&footer(7, 7), 9));
        for (base, sequence, new) in [(3, 7, 7), (3, 8, 7), (8, 7, 9), (u64::MAX, u64::MAX, u64::MAX)] {
            assert!(!is_before(&footer(base, sequence), new), "{base} {sequence} {new}");
        }
    }
}
