//! Names of the objects in a target, and what the names of others mean.

use crate::codec::Codec;
use crate::crypto::Digest;
use crate::id::{BackupId, EnvName, RunId};

/// Format version of everything this program writes.
pub const FORMAT: u32 = 1;
/// The object that says what a target is.
pub const REPOSITORY: &str = "repository.json";

/// The folder of records of all environments.
pub const RECORDS: &str = "backups/";
/// The folder of the sealed keys of epochs.
pub const KEYS: &str = "keys/";
/// The folder of lists of objects that may be deleted later.
pub const SWEEP: &str = "sweep/";

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

/// `packs/<2 hex>/<blake3>.tar.zst`; `.age` follows where it is sealed.
pub fn pack(stored: &Digest) -> String {
    let name = stored.to_string();
    let folder = name.get(..2).unwrap_or_default();
    format!("packs/{folder}/{name}.tar.zst")
}

/// The digest in the name of a pack; `None` for any other object.
pub fn pack_digest(object: &str) -> Option<Digest> {
    if Kind::of(object) != Some(Kind::Pack) {
        return None;
    }
    let (_, file) = object.rsplit_once('/')?;
    unsealed(file).strip_suffix(".tar.zst")?.parse().ok()
}

/// `catalogs/<blake3>.jsonl.zst`.
pub fn catalog(stored: &Digest) -> String {
    format!("catalogs/{stored}.jsonl.zst")
}

/// `refs/<blake3>.txt.zst`.
pub fn refs(stored: &Digest) -> String {
    format!("refs/{stored}.txt.zst")
}

/// `backups/<env>/<id>.sig`, beside the record.
pub fn signature(environment: &EnvName, id: &BackupId) -> String {
    format!("backups/{environment}/{id}.sig")
}

/// `sweep/<run id>.json`; a run's second list in the same target is `sweep/<run id>-2.json`, and so on.
pub fn sweep_list(run: RunId, number: u32) -> String {
    match number {
        0 | 1 => format!("{SWEEP}{run}.json"),
        _ => format!("{SWEEP}{run}-{number}.json"),
    }
}

/// `sums/<env>/<id>.b3`.
pub fn sums(environment: &EnvName, id: &BackupId) -> String {
    format!("sums/{environment}/{id}.b3")
}

/// `keys/<epoch>-<8 hex>.age`.
pub fn key(epoch: &str, recipients: &str) -> String {
    format!("{KEYS}{epoch}-{recipients}.age")
}

/// The epoch in the name of a key object, and the digits that tell for whom it was sealed; `None` for any other object.
pub fn parse_key(object: &str) -> Option<(&str, &str)> {
    let stem = object.strip_prefix(KEYS)?.strip_suffix(".age")?;
    let (epoch, recipients) = stem.split_once('-')?;
    let is_hex =
        |text: &str, length| text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (is_hex(epoch, 16) && is_hex(recipients, 8)).then_some((epoch, recipients))
}

/// The kinds of objects of the format, as far as their names tell. What is of none of them is never touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// What the target is.
    Repository,
    /// A record: a backup.
    Record,
    /// A record's signature.
    Signature,
    /// A plain archive.
    Archive,
    /// The digests of a backup's objects.
    Sums,
    /// A segment of a catalog.
    Catalog,
    /// A pack.
    Pack,
    /// A list of the objects of a backup.
    Refs,
    /// A list of objects that may be deleted later.
    SweepList,
    /// The sealed keys of an epoch.
    Key,
}

impl Kind {
    /// The kind of the object of this name; `None` where it is none of the format.
    pub fn of(object: &str) -> Option<Self> {
        if object == REPOSITORY {
            return Some(Self::Repository);
        }
        let (folder, rest) = object.split_once('/')?;
        let of_backup = |suffixes: &[&str]| {
            let (environment, file) = rest.split_once('/')?;
            environment.parse::<EnvName>().ok()?;
            suffixes.iter().any(|end| is_id(file.strip_suffix(end))).then_some(())
        };
        match folder {
            "backups" => match of_backup(&[".json"]) {
                Some(()) => Some(Self::Record),
                None => of_backup(&[".sig"]).map(|()| Self::Signature),
            },
            "archives" => of_backup(ARCHIVE_ENDS).map(|()| Self::Archive),
            "sums" => of_backup(&[".b3"]).map(|()| Self::Sums),
            "catalogs" => is_digest(unsealed(rest), ".jsonl.zst").then_some(Self::Catalog),
            "refs" => is_digest(rest, ".txt.zst").then_some(Self::Refs),
            "packs" => {
                let (shelf, file) = rest.split_once('/')?;
                let fits = shelf.len() == 2 && file.starts_with(shelf) && is_digest(unsealed(file), ".tar.zst");
                fits.then_some(Self::Pack)
            }
            "keys" => parse_key(object).map(|_| Self::Key),
            "sweep" => is_sweep_list(rest).then_some(Self::SweepList),
            _ => None,
        }
    }

    /// Whether a sweep may delete such an object when no record needs it.
    pub const fn is_swept(self) -> bool {
        match self {
            Self::Signature | Self::Archive | Self::Sums | Self::Catalog | Self::Pack | Self::Refs => true,
            Self::Repository | Self::Record | Self::SweepList | Self::Key => false,
        }
    }
}

/// What the name of a plain archive may end with.
const ARCHIVE_ENDS: &[&str] = &[".tar.zst", ".tar.gz", ".tar", ".tar.zst.age", ".tar.gz.age", ".tar.age"];

/// The name of an object without what says that it is encrypted.
fn unsealed(file: &str) -> &str {
    file.strip_suffix(".age").unwrap_or(file)
}

fn is_digest(file: &str, suffix: &str) -> bool {
    file.strip_suffix(suffix)
        .is_some_and(|stem| stem.parse::<Digest>().is_ok())
}

fn is_id(text: Option<&str>) -> bool {
    text.is_some_and(|text| text.parse::<BackupId>().is_ok())
}

/// `<run id>.json` or `<run id>-<number>.json`, written as this program writes it.
fn is_sweep_list(file: &str) -> bool {
    let Some(stem) = file.strip_suffix(".json") else {
        return false;
    };
    let (run, number) = stem.split_at_checked(36).unwrap_or((stem, ""));
    let written = |run: RunId| {
        let number = match number {
            "" => Some(1),
            rest => rest.strip_prefix('-').and_then(|digits| digits.parse().ok()),
        };
        number.is_some_and(|number| sweep_list(run, number).strip_prefix(SWEEP) == Some(file))
    };
    run.parse::<RunId>().is_ok_and(written)
}

/// Whether an object is one by which a store was probed.
pub fn is_probe(object: &str) -> bool {
    object.strip_prefix("probe-").is_some_and(|rest| !rest.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";

    #[test]
    fn each_object_is_of_the_kind_that_its_name_says() {
        let (environment, id) = ("live".parse().unwrap(), "20261121T215100Z-9c41".parse().unwrap());
        let run: RunId = "01920f6e-2b9c-7000-8000-0242ac120002".parse().unwrap();
        let digest: Digest = DIGEST.parse().unwrap();
        for (name, kind) in [
            (REPOSITORY.to_owned(), Kind::Repository),
            (record(&environment, &id), Kind::Record),
            (signature(&environment, &id), Kind::Signature),
            (archive(&environment, &id, Codec::Zstd), Kind::Archive),
            (archive(&environment, &id, Codec::Gzip), Kind::Archive),
            (archive(&environment, &id, Codec::None), Kind::Archive),
            (format!("archives/live/{id}.tar.zst.age"), Kind::Archive),
            (sums(&environment, &id), Kind::Sums),
            (catalog(&digest), Kind::Catalog),
            (format!("catalogs/{DIGEST}.jsonl.zst.age"), Kind::Catalog),
            (format!("packs/af/{DIGEST}.tar.zst"), Kind::Pack),
            (format!("packs/af/{DIGEST}.tar.zst.age"), Kind::Pack),
            (refs(&digest), Kind::Refs),
            (sweep_list(run, 1), Kind::SweepList),
            (sweep_list(run, 12), Kind::SweepList),
            (key("0123456789abcdef", "89abcdef"), Kind::Key),
        ] {
            assert_eq!(Kind::of(&name), Some(kind), "{name}");
        }
    }

    #[test]
    fn what_is_nearly_a_name_of_the_format_is_none() {
        let upper = DIGEST.to_uppercase();
        for name in [
            "",
            "repository.json.bak",
            "RECOVERY.md",
            "recover-1.0.0.py",
            "keys/0123.age",
            "keys/0123456789abcdef.age",
            "keys/0123456789abcdef-89ABCDEF.age",
            "journal/checkpoints/a/1.note",
            "backups/live/notes.json",
            "backups/Live/20261121T215100Z-9c41.json",
            "backups/live/20261121T215100Z-9c41.json.age",
            "backups/live/below/20261121T215100Z-9c41.json",
            "archives/live/20261121T215100Z-9c41.zip",
            "archives/20261121T215100Z-9c41.tar",
            "sums/live/20261121T215100Z-9c41.b3.age",
            &format!("packs/ae/{DIGEST}.tar.zst"),
            &format!("packs/{DIGEST}.tar.zst"),
            &format!("catalogs/{upper}.jsonl.zst"),
            &format!("catalogs/{DIGEST}.jsonl"),
            &format!("refs/{DIGEST}.txt.zst.age"),
            &format!("other/{DIGEST}.tar.zst"),
            "sweep/notes.json",
            "sweep/01920f6e2b9c700080000242ac120002.json",
            "sweep/01920F6E-2B9C-7000-8000-0242AC120002.json",
            "sweep/01920f6e-2b9c-7000-8000-0242ac120002-1.json",
            "sweep/01920f6e-2b9c-7000-8000-0242ac120002-02.json",
            "sweep/01920f6e-2b9c-7000-8000-0242ac120002.txt",
        ] {
            assert_eq!(Kind::of(name), None, "{name}");
        }
    }

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
