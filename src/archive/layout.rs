//! Names of the objects in a target, and what the names of others mean.

use crate::codec::Codec;
use crate::crypto::Digest;
use crate::id::{BackupId, EnvName};

/// Format version of everything this program writes.
pub const FORMAT: u32 = 1;
/// The object that says what a target is.
pub const REPOSITORY: &str = "repository.json";

/// `backups/<env>/`: the listing of this folder is the list of backups.
pub fn records(environment: &EnvName) -> String {
    format!("backups/{environment}/")
}

/// `backups/<env>/<id>.json`.
pub fn record(environment: &EnvName, id: &BackupId) -> String {
    format!("backups/{environment}/{id}.json")
}

/// The environment and id that the name of a record says; `None` for any other object.
pub fn parse_record(object: &str) -> Option<(EnvName, BackupId)> {
    let (environment, file) = object.strip_prefix("backups/")?.split_once('/')?;
    Some((environment.parse().ok()?, file.strip_suffix(".json")?.parse().ok()?))
}

/// `archives/<env>/<id>.tar.zst`, `.tar.gz` or `.tar`.
pub fn archive(environment: &EnvName, id: &BackupId, codec: Codec) -> String {
    format!("archives/{environment}/{id}.{}", codec.suffix())
}

/// `catalogs/<blake3>.jsonl.zst`.
pub fn catalog(stored: &Digest) -> String {
    format!("catalogs/{stored}.jsonl.zst")
}

/// `refs/<blake3>.txt.zst`.
pub fn refs(stored: &Digest) -> String {
    format!("refs/{stored}.txt.zst")
}

/// `sums/<env>/<id>.b3`.
pub fn sums(environment: &EnvName, id: &BackupId) -> String {
    format!("sums/{environment}/{id}.b3")
}

/// Whether an object is one by which a store was probed.
pub fn is_probe(object: &str) -> bool {
    object.strip_prefix("probe-").is_some_and(|rest| !rest.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_name_reads_back_and_others_do_not() {
        let (environment, id) = ("dev".parse().unwrap(), "20261121T215100Z-9c41".parse().unwrap());
        assert_eq!(parse_record(&record(&environment, &id)), Some((environment, id)));
        for other in [
            "backups/dev/x.json",
            "backups/dev/20261121T215100Z-9c41.sig",
            "refs/20261121T215100Z-9c41.json",
        ] {
            assert_eq!(parse_record(other), None, "{other}");
        }
    }
}
