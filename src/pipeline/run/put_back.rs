//! Logs in a rollback: what was put back is noted beside each, so that the next backup knows from which one it goes on.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use crate::archive::repository::{self, Backup, Lineage, Listing};
use crate::clock;
use crate::crypto::Digest;
use crate::fs::folder::Folder;
use crate::id::SourceName;
use crate::limits;
use crate::restore::swap::scan::Point;
use crate::source::LogHead;
use crate::source::lineage::{LineageEntry, Newest};

use super::Context;
use super::epochs::{Kept, repository_id};
use super::notes::Notes;
use super::scope::Scope;
use super::stores::{Keys, open_targets};

/// The backups of an environment, as far as its targets can be read, and the newest of each lineage.
pub(super) async fn lineages(scope: Scope<'_>, context: &Context) -> (Listing, Vec<Newest>) {
    let mut keys = Keys::unread(scope.environment, scope.project, context);
    let opened = open_targets(scope.environment, scope.project, (&[], &[]), &mut keys, None).await;
    let targets = opened.map(|opened| opened.targets).unwrap_or_default();
    let mut listing = repository::list(&targets, scope.name).await;
    // Without the keys of its epoch what a record says of a log stays closed, and the next backup says in what the log differs.
    if let Ok(Ok(epochs)) = repository_id(&targets).await.map(|id| Kept::look(&scope.state(), &id)) {
        listing.unlock(|epoch| epochs.chunk_key(epoch));
    }
    let lineages: BTreeSet<Lineage> = listing.backups.iter().map(Backup::lineage).collect();
    let newest = lineages.into_iter().filter_map(|lineage| {
        let sequence = listing.newest(&lineage)?.record.sequence;
        Some(Newest {
            pipeline: lineage.pipeline,
            instance: lineage.instance,
            sequence,
        })
    });
    let newest = newest.collect();
    (listing, newest)
}

/// What is noted beside each log that `point` puts back: the newest backup that it goes on from. Where there is none the next
/// backup says in what the log differs, as it does of any.
pub(super) async fn notes(scope: Scope<'_>, context: &Context, point: &Point) -> Notes {
    let (listing, newest) = lineages(scope, context).await;
    let mut notes: Vec<(PathBuf, LineageEntry)> = Vec::new();
    for item in &point.record.items {
        let heads = heads(&listing, &item.source);
        let Some(kept) = item.kept.first().filter(|_| !heads.is_empty()) else {
            continue;
        };
        let folder = kept.at.0.clone();
        let goes_on = move || {
            heads
                .into_iter()
                .find(|(_, head)| goes_on_from(&folder, head).unwrap_or(false))
        };
        // A thread that ended early found nothing.
        let Ok(Some((backup, head))) = tokio::task::spawn_blocking(goes_on).await else {
            continue;
        };
        let entry = LineageEntry {
            source: item.source.clone(),
            environment: scope.name.clone(),
            run: context.run,
            restored: clock::written(&context.clock.now()),
            backup: Some(backup.record.id.clone()),
            made_in: backup.record.environment.clone(),
            head,
            redacted: false,
            newest: newest.clone(),
        };
        notes.push((item.destination.0.clone(), entry));
    }
    Notes::of(notes.into_iter())
}

/// The different states of a log in backups, the newest first.
fn heads(listing: &Listing, name: &SourceName) -> Vec<(Backup, LogHead)> {
    let mut seen = BTreeSet::new();
    let mut newest_first: Vec<&Backup> = listing.backups.iter().collect();
    // By the time in the id; of one second by sequence, which tells within a lineage.
    let age = |backup: &&Backup| {
        let time = backup.record.id.as_str().split('-').next().map(str::to_owned);
        (time, backup.record.sequence)
    };
    newest_first.sort_by_key(|backup| std::cmp::Reverse(age(backup)));
    newest_first
        .into_iter()
        .filter_map(|backup| {
            let source = backup.record.sources.iter().find(|source| source.name == *name)?;
            let head = source.log_head.clone()?;
            seen.insert(head.blake3).then(|| (backup.clone(), head))
        })
        .take(limits::LOG_HEADS_COMPARED)
        .collect()
}

/// Whether the log in a folder begins as `head` says, file by file.
fn goes_on_from(folder: &Path, head: &LogHead) -> io::Result<bool> {
    if head.earlier.files > 0 {
        return Ok(false);
    }
    let root = Folder::open(folder)?;
    let mut buffer = vec![0; limits::READ_BLOCK];
    for file in &head.files {
        let opened = root
            .beneath(&file.path.parent().unwrap_or_default())?
            .file(file.path.name())?;
        let (mut hasher, mut at) = (blake3::Hasher::new(), 0);
        while at < file.length {
            let wanted = usize::try_from(file.length - at).map_or(buffer.len(), |left| left.min(buffer.len()));
            let read = rustix::io::pread(&opened, buffer.get_mut(..wanted).unwrap_or_default(), at)?;
            if read == 0 {
                return Ok(false);
            }
            hasher.update(buffer.get(..read).unwrap_or_default());
            at += read as u64;
        }
        if Digest::from(hasher.finalize()) != file.blake3 {
            return Ok(false);
        }
    }
    Ok(true)
}
