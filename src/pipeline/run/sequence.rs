//! The number of a new backup in its line. The highest is the newest, whatever the clocks say.

use crate::archive::repository::{Lineage, Listing};
use crate::diagnostic::{Code, Diagnostic};

use super::Failure;
use super::backup::NO_BACKUP;

/// The number of the next backup of a line.
///
/// # Errors
/// When there is none above that of the newest: what counts as newest would not change any more.
pub(super) fn next_sequence(listing: &Listing, lineage: &Lineage) -> Result<u64, Failure> {
    listing.next_sequence(lineage).ok_or_else(|| {
        let newest = listing.newest(lineage).map(|backup| backup.record.id.to_string());
        let what = format!(
            "backup `{}` has the highest number there is: no backup can come after it",
            newest.unwrap_or_default()
        );
        vec![
            Diagnostic::error(Code::Damaged, what)
                .why("numbers begin at 1 and go up by one, so no program wrote this record")
                .state(NO_BACKUP)
                .help(
                    "find out who put it there; then take the record out of each target that has it, and run it again",
                ),
        ]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::repository::Backup;

    fn listing(sequences: &[u64]) -> Listing {
        let digest = crate::crypto::Digest::of(b"");
        let backup = |(n, sequence): (usize, &u64)| Backup {
            record: serde_json::from_value(serde_json::json!({
                "format": 1, "id": format!("20261121T215100Z-000{n}"), "run": "01980000-0000-7000-8000-000000000000",
                "sequence": sequence, "parent": null, "environment": "dev", "pipeline": "backup", "instance": "host",
                "started": "x", "ended": "x", "sources": [], "segments": [],
                "refs": { "name": "", "bytes": 0, "blake3": digest }, "warnings": 0, "manifest": "", "tool": "test",
            }))
            .unwrap(),
            bytes: bytes::Bytes::new(),
            targets: Vec::new(),
        };
        Listing {
            backups: sequences.iter().enumerate().map(backup).collect(),
            ..Listing::default()
        }
    }

    #[test]
    fn a_number_goes_up_by_one_and_where_there_is_none_above_it_the_backup_is_refused() {
        let lineage = Lineage {
            pipeline: "backup".parse().unwrap(),
            instance: crate::id::Instance::new("host"),
        };
        let next = |sequences: &[u64]| next_sequence(&listing(sequences), &lineage);
        assert_eq!(next(&[]).unwrap(), 1);
        assert_eq!(next(&[3, 9, 4]).unwrap(), 10);
        assert_eq!(next(&[u64::MAX - 1]).unwrap(), u64::MAX);
        let refused = next(&[3, u64::MAX, 4]).unwrap_err();
        assert_eq!(refused[0].code, Code::Damaged);
        assert!(refused[0].what.contains("20261121T215100Z-0001"));
    }
}
