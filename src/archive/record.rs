//! The record: the JSON object that *is* the backup. It is written last; without it there is no backup.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use crate::codec::Codec;
use crate::crypto::Digest;
use crate::crypto::locked::{self, NotUnlocked};
use crate::diagnostic::Diagnostic;
use crate::id::{BackupId, EnvName, Instance, PipelineName, RunId, SourceName, TargetName};
use crate::source::{Form, LogHead};

use super::keys::ChunkKey;
use super::layout::FORMAT;

/// A backup, complete. Every field is explained in `docs/FORMAT.md`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Record {
    /// Format version.
    pub format: u32,
    /// The backup's id.
    pub id: BackupId,
    /// The run that made it.
    pub run: RunId,
    /// One more than that of any other of its line, as a rule its parent's; 1 for the first. The highest is the newest, whatever the clocks say.
    pub sequence: u64,
    /// The newest backup of the same environment, pipeline and instance when this one was made.
    pub parent: Option<BackupId>,
    /// The environment it was made in.
    pub environment: EnvName,
    /// The pipeline that made it.
    pub pipeline: PipelineName,
    /// The host or role that made it.
    pub instance: Instance,
    /// Start, RFC 3339 with the host's UTC offset.
    pub started: String,
    /// End of the capture, the same way.
    pub ended: String,
    /// What was captured, in the order of capture.
    pub sources: Vec<SourceRecord>,
    /// The archive with the content, where the backup is one archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<ArchiveRecord>,
    /// The packs with the content, where the backup is in chunks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packs: Option<PacksRecord>,
    /// The name of the key that content and catalog are sealed to; absent where they are not sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<String>,
    /// Tells the epoch's chunk key from any other, and nothing of it; absent where nothing is sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch_check: Option<String>,
    /// The catalog's segments, in order.
    pub segments: Vec<SegmentRecord>,
    /// Segments with the lines that have changed since those of `segments` were written, in the same order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patch: Vec<SegmentRecord>,
    /// The list of every object that the backup needs.
    pub refs: ObjectRecord,
    /// The page and the script to recover with that lie beside the backup, by name: digests of their bytes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub recovery: BTreeMap<String, Digest>,
    /// What redaction was done by; absent where none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redaction: Option<RedactionRecord>,
    /// How many entries were left out or are in doubt.
    pub warnings: u64,
    /// Digest of the resolved pipeline and environment.
    pub manifest: String,
    /// Program and version.
    pub tool: String,
}

/// One source of a backup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SourceRecord {
    /// Name.
    pub name: SourceName,
    /// Type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where it was on the captured host.
    pub root: String,
    /// What its path stood for there: a folder, or one file in it.
    #[serde(default)]
    pub form: Form,
    /// Entries.
    pub entries: u64,
    /// Apparent bytes of all files.
    pub bytes: u64,
    /// Entries left out or in doubt.
    pub warnings: u64,
    /// Where a log ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_head: Option<LogHead>,
    /// The same in a backup that is sealed: it has digests of what was captured, and names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked_head: Option<LockedHead>,
}

/// Where a log ended, locked for whoever has the chunk key of the epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedHead {
    /// Bytes of the log.
    pub length: u64,
    /// Whole records.
    pub records: u64,
    /// Generation.
    pub generation: u32,
    /// The whole head as JSON, locked, in base64.
    pub locked: String,
}

/// The archive of a backup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ArchiveRecord {
    /// Object name.
    pub name: String,
    /// How it is compressed.
    pub codec: Codec,
    /// Stored bytes.
    pub bytes: u64,
    /// Bytes of the plain tar archive.
    pub plain_bytes: u64,
    /// Digest of the stored object.
    pub blake3: Digest,
}

/// The packs of a backup in chunks; `refs` names each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PacksRecord {
    /// How many packs the backup needs.
    pub count: u64,
    /// Stored bytes of all of them.
    pub bytes: u64,
    /// Bytes of their plain text that the backup uses.
    pub plain_bytes: u64,
    /// How many of them this backup stored.
    pub new: u64,
    /// Stored bytes of these.
    pub new_bytes: u64,
}

/// One segment of the catalog.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SegmentRecord {
    /// Object name, which holds the digest of the stored object.
    pub name: String,
    /// Stored bytes.
    pub bytes: u64,
    /// Plain bytes.
    pub plain_bytes: u64,
    /// Digest of the plain text.
    pub blake3: Digest,
    /// Lines.
    pub lines: u64,
}

/// Another object of a backup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ObjectRecord {
    /// Object name.
    pub name: String,
    /// Stored bytes.
    pub bytes: u64,
    /// Digest of the stored object.
    pub blake3: Digest,
}

/// What redaction did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RedactionRecord {
    /// Digest of the rules.
    pub fingerprint: String,
    /// Files whose content was changed, for each source.
    pub files: BTreeMap<SourceName, u64>,
    /// Values taken out.
    pub values: u64,
}

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Not the JSON of a record.
    #[error("the record is not readable")]
    Json(#[source] serde_json::Error),
    /// Made by a newer program.
    #[error("the record has format {0}, this program reads {FORMAT}")]
    Newer(u32),
    /// The record says it is another backup than its name does.
    #[error("the record's id or environment is not that of its name")]
    OtherName,
    /// It names neither an archive nor packs, or both.
    #[error("the record does not say whether its content is an archive or packs")]
    Content,
    /// It names an object outside the folders of the format.
    #[error("the record names the object `{0}`, which no writer makes")]
    Object(String),
}

#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

impl Record {
    /// The record's exact bytes: clear JSON, indented, with a newline at the end.
    ///
    /// # Errors
    /// The serializer's own; never with a record made by this program.
    pub fn to_bytes(&self) -> serde_json::Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads a record that lies under the name of `environment` and `id`.
    pub fn parse(bytes: &[u8], environment: &EnvName, id: &BackupId) -> Result<Self, RecordError> {
        let format: FormatOnly = serde_json::from_slice(bytes).map_err(RecordError::Json)?;
        if format.format > FORMAT {
            return Err(RecordError::Newer(format.format));
        }
        let record: Self = serde_json::from_slice(bytes).map_err(RecordError::Json)?;
        if record.id != *id || record.environment != *environment {
            return Err(RecordError::OtherName);
        }
        record.check_names()?;
        Ok(record)
    }

    /// Every object lies in the folder of its kind, so that a record cannot point a reader at anything else.
    fn check_names(&self) -> Result<(), RecordError> {
        let wrong = |name: &str| RecordError::Object(name.chars().take(200).collect());
        let sealed = self.epoch.as_ref().map_or("", |_| ".age");
        match (&self.archive, &self.packs) {
            (Some(archive), None) => {
                let expected = super::layout::archive(&self.environment, &self.id, archive.codec) + sealed;
                if archive.name != expected {
                    return Err(wrong(&archive.name));
                }
            }
            (None, Some(_)) => {}
            (None, None) | (Some(_), Some(_)) => return Err(RecordError::Content),
        }
        let digest_of = |name: &str, folder: &str, suffix: &str| {
            let digest = name.strip_prefix(folder)?.strip_suffix(suffix)?;
            digest.parse::<Digest>().ok()
        };
        let suffix = format!(".jsonl.zst{sealed}");
        for segment in self.segments.iter().chain(&self.patch) {
            digest_of(&segment.name, "catalogs/", &suffix).ok_or_else(|| wrong(&segment.name))?;
        }
        if let Some(other) = self.recovery.keys().find(|name| !super::layout::is_recovery(name)) {
            return Err(wrong(other));
        }
        let refs = digest_of(&self.refs.name, "refs/", ".txt.zst").ok_or_else(|| wrong(&self.refs.name))?;
        if refs == self.refs.blake3 {
            Ok(())
        } else {
            Err(wrong(&self.refs.name))
        }
    }

    /// The record as it is written where the backup is sealed: what tells of content is locked.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn locked(&self, key: &ChunkKey) -> Result<Self, NotUnlocked> {
        let mut record = self.clone();
        let id = record.id.clone();
        for source in &mut record.sources {
            let Some(head) = source.log_head.take() else { continue };
            // A head is strings and numbers, which always serialize.
            let text = serde_json::to_vec(&head).unwrap_or_default();
            let locked = locked::lock(key.expose(), &head_place(&id, &source.name), &text)?;
            source.locked_head = Some(LockedHead {
                length: head.length,
                records: head.records,
                generation: head.generation,
                locked: BASE64.encode(locked),
            });
        }
        Ok(record)
    }

    /// Unlocks what is locked; where the key does not fit it stays so.
    pub fn unlock(&mut self, key: &ChunkKey) {
        let id = self.id.clone();
        for source in &mut self.sources {
            let Some(locked) = &source.locked_head else { continue };
            let place = head_place(&id, &source.name);
            let text = BASE64.decode(&locked.locked).ok();
            let text = text.and_then(|bytes| locked::unlock(key.expose(), &place, &bytes).ok());
            let head: Option<LogHead> = text.and_then(|text| serde_json::from_slice(&text).ok());
            if head.is_some() {
                source.log_head = head;
                source.locked_head = None;
            }
        }
    }

    /// A problem of the copy of this backup in one target.
    pub fn of_copy(&self, target: &TargetName, mut problem: Diagnostic) -> Diagnostic {
        problem.what = format!("backup `{}` in target `{target}`: {}", self.id, problem.what);
        problem
    }

    /// Apparent bytes of all files.
    pub fn source_bytes(&self) -> u64 {
        total(self.sources.iter().map(|s| s.bytes))
    }

    /// Entries of all sources.
    pub fn entries(&self) -> u64 {
        total(self.sources.iter().map(|s| s.entries))
    }

    /// Stored bytes of everything but the record and its sums; packs count whole, whoever else needs them.
    pub fn stored_bytes(&self) -> u64 {
        let content = self.archive.as_ref().map_or(0, |archive| archive.bytes);
        let packs = self.packs.as_ref().map_or(0, |packs| packs.bytes);
        let segments = self.segments.iter().chain(&self.patch).map(|s| s.bytes);
        total([content, packs, self.refs.bytes].into_iter().chain(segments))
    }
}

/// The sum of numbers that anyone may have written.
fn total(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(0, u64::saturating_add)
}

/// What a locked head is bound to.
fn head_place(id: &BackupId, source: &SourceName) -> String {
    format!("log head of {source} in {id}")
}

impl SegmentRecord {
    /// The digest of the stored object, which its name holds.
    pub fn stored_digest(&self) -> Option<Digest> {
        let name = self.name.strip_prefix("catalogs/")?;
        name.strip_suffix(".age")
            .unwrap_or(name)
            .strip_suffix(".jsonl.zst")?
            .parse()
            .ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_nobody_could_have_counted_are_summed_without_a_panic() {
        let digest = Digest::of(b"");
        let huge = serde_json::json!(u64::MAX);
        let source = |name: &str| serde_json::json!({ "name": name, "type": "files", "root": "/", "entries": huge, "bytes": huge, "warnings": 0 });
        let segment = serde_json::json!({ "name": "", "bytes": huge, "plain-bytes": 0, "blake3": digest, "lines": 0 });
        let record: Record = serde_json::from_value(serde_json::json!({
            "format": 1, "id": "20261121T215100Z-9c41", "run": "01980000-0000-7000-8000-000000000000", "sequence": 1,
            "parent": null, "environment": "dev", "pipeline": "backup", "instance": "host", "started": "x", "ended": "x",
            "sources": [source("one"), source("two")], "segments": [segment, segment],
            "refs": { "name": "", "bytes": huge, "blake3": digest }, "warnings": 0, "manifest": "", "tool": "test",
        }))
        .unwrap();
        assert_eq!(record.source_bytes(), u64::MAX);
        assert_eq!(record.entries(), u64::MAX);
        assert_eq!(record.stored_bytes(), u64::MAX);
    }
}
