//! What is in a folder of a backup.

use crate::archive::catalog::Listed;
use crate::fs::entry::Kind;

use super::path::BackupPath;
use super::{Entries, Reading, ReadingError};

/// How deep a list goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// What lies directly in a folder.
    Children,
    /// Everything below it.
    Everything,
}

/// Tells the entries below `at` in order, those of the whole backup where it is `None`; of what is no folder the entry itself.
///
/// Below the whole backup lie the roots of its sources. Of a folder whose content is not asked for only as much of the catalog is
/// read as it takes to find its end. Ends where `tell` says so.
///
/// # Errors
/// When the catalog cannot be read, the backup does not have `at`, or `tell` fails.
pub fn list<E: From<ReadingError>>(
    reading: &Reading,
    at: Option<&BackupPath>,
    depth: Depth,
    mut tell: impl FnMut(&Listed) -> Result<(), E>,
) -> Result<(), E> {
    let order = reading.order();
    let mut entries = reading.entries();
    let Some(at) = at else {
        return below(reading, &mut entries, None, depth, &mut tell);
    };
    let sought = |source: &_, path: &_| order.is_before((source, path), at);
    entries.advance(&sought).map_err(ReadingError::from)?;
    let found = entries.next().map_err(ReadingError::from)?;
    let Some(found) = found.filter(|listed| at.is(listed)) else {
        return Err(reading.unknown(at).into());
    };
    if found.entry.kind != Kind::Folder {
        return tell(&found);
    }
    below(reading, &mut entries, Some(at), depth, &mut tell)
}

fn below<E: From<ReadingError>>(
    reading: &Reading,
    entries: &mut Entries,
    folder: Option<&BackupPath>,
    depth: Depth,
    tell: &mut dyn FnMut(&Listed) -> Result<(), E>,
) -> Result<(), E> {
    let order = reading.order();
    let inside = |listed: &Listed| folder.is_none_or(|folder| folder.holds((&listed.source, &listed.entry.path)));
    while let Some(listed) = entries.next().map_err(ReadingError::from)?.filter(inside) {
        tell(&listed)?;
        if depth == Depth::Children && listed.entry.kind == Kind::Folder {
            let child = BackupPath::of(&listed);
            let passed = |source: &_, path: &_| order.is_before_behind((source, path), &child);
            entries.advance(&passed).map_err(ReadingError::from)?;
        }
    }
    Ok(())
}
