//! Logs in a rollback: what was put back is noted beside each, so that the next backup knows from which one it goes on.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use crate::archive::repository::{self, Backup, Lineage, Listing};
use crate::crypto::Digest;
use crate::diagnostic::{Code, Diagnostic};
use crate::fs::folder::Folder;
use crate::id::SourceName;
use crate::limits;
use crate::source::LogHead;
use crate::source::lineage::{self, LineageEntry, Newest};

use super::Context;
use super::scope::Scope;
use super::stores::{Keys, open_targets};

/// The backups of an environment, as far as its targets can be read, and the newest of each lineage.
pub(super) async fn lineages(scope: Scope<'_>, context: &Context) -> (Listing, Vec<Newest>) {
    let mut keys = Keys::unread(scope.environment, scope.project, context);
    let opened = open_targets(scope.environment, scope.project, (&[], &[]), &mut keys, None).await;
    let targets = opened.map(|opened| opened.targets).unwrap_or_default();
    let listing = repository::list(&targets, scope.name).await;
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

/// Notes beside each log among `placed` the newest backup that it goes on from. Where there is none the next backup says in
/// what the log differs, as it does of any.
pub(super) async fn note(scope: Scope<'_>, context: &Context, placed: Vec<(SourceName, PathBuf)>) -> Vec<Diagnostic> {
    let (listing, newest) = lineages(scope, context).await;
    let mut warnings = Vec::new();
    for (name, destination) in placed {
        let heads = heads(&listing, &name);
        let folder = destination.clone();
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
            source: name.clone(),
            environment: scope.name.clone(),
            run: context.run,
            restored: context.clock.now().strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
            backup: Some(backup.record.id.clone()),
            made_in: backup.record.environment.clone(),
            head,
            redacted: false,
            newest: newest.clone(),
        };
        if let Err(error) = lineage::write(&destination, entry) {
            warnings.push(not_noted(&name, &error));
        }
    }
    warnings
}

/// That the next backup will not know what became of a log.
pub(super) fn not_noted(name: &SourceName, error: &lineage::LineageError) -> Diagnostic {
    Diagnostic::warning(
        Code::RestoreIncomplete,
        format!("that the log `{name}` was restored could not be noted beside it"),
    )
    .why(error.to_string())
    .state("the log is in place")
    .help(format!(
        "where the next backup says that it shrank or was rewritten, run it with `--accept-log-rewrite {name}`"
    ))
}

/// The different states of a log in backups, the newest first.
fn heads(listing: &Listing, name: &SourceName) -> Vec<(Backup, LogHead)> {
    let mut seen = BTreeSet::new();
    let newest_first = listing.backups.iter().rev();
    newest_first
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
