//! How far a restore would take a log back: the restored one beside the present one.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::fs::entry::{Kind, TreePath};
use crate::fs::folder::Folder;
use crate::fs::owners::Owners;
use crate::fs::selection::Selection;
use crate::fs::walk::{FileSystems, Look, SecondNames, Step, Walk, WalkOptions};
use crate::restore::judge;
use crate::source::{LogHead, Selects};
use crate::units::counted;

/// A restored log beside the present one.
pub(super) struct Rewound {
    /// What would become of it, for people.
    pub(super) text: String,
    /// The records that would go; nothing where the restored log is no beginning of the present one.
    pub(super) records: Option<u64>,
    /// Whether the present log goes on from something else than the restored one.
    pub(super) differs: bool,
}

/// How far the present log would go back.
pub(super) fn rewound(root: &Path, selects: &Selects, head: &LogHead) -> Option<Rewound> {
    let files = log_files(root, selects)?;
    let said = |text: String, records| {
        let differs = false;
        Some(Rewound { text, records, differs })
    };
    let facts = match judge::log(&files, head.length) {
        Ok(facts) => facts,
        Err(error) => return said(format!("the present log cannot be read: {error}"), None),
    };
    match &facts.prefix {
        Some(prefix) if prefix.blake3 == head.blake3.to_string() => {
            match facts.records - prefix.records.min(facts.records) {
                0 => said("the same records as present".into(), Some(0)),
                more => said(
                    format!(
                        "{} would be rewound: {} present, {} restored",
                        counted(more, "record"),
                        facts.records,
                        head.records
                    ),
                    Some(more),
                ),
            }
        }
        Some(_) => Some(Rewound {
            text: format!(
                "the restored log is no beginning of the present one: {} records present, {} restored",
                facts.records, head.records
            ),
            records: None,
            differs: true,
        }),
        None => said(
            format!(
                "the present log is shorter: {} records present, {} restored",
                facts.records, head.records
            ),
            None,
        ),
    }
}

/// The files of the present log, in order; `None` where there is none.
fn log_files(root: &Path, selects: &Selects) -> Option<Vec<PathBuf>> {
    let (owners, selection) = (Owners::default(), Selection::all());
    let options = WalkOptions {
        selection: &selection,
        owners: &owners,
        look: Look::Survey,
        second_names: SecondNames::Separate,
        file_systems: FileSystems::All,
    };
    let walk = Walk::new(Folder::open(root).ok()?, options).ok()?;
    let found = walk.filter_map(|step| match step {
        Step::Found(found) => Some(found.entry),
        Step::Note(_) => None,
    });
    let meant = found.filter(|entry| matches!(entry.kind, Kind::File { .. }) && selects.selects(&entry.path, false));
    let path = |path: &TreePath| root.join(OsStr::from_bytes(path.as_bytes()));
    Some(meant.map(|entry| path(&entry.path)).collect())
}
