//! What a restore did to a log, in a file beside it: the next backup takes a log that continues what was restored for what
//! it is, not for one that somebody cut.
//!
//! `.<name>.strongroom-lineage.json` stands beside the source's root and holds an entry for each log restored there. An entry
//! counts until the next backup of its lineage, and never longer: whoever could bring an old log back later, and an entry
//! with it, would bring it back unseen.
//!
//! While a swap is under way a source has two: the first is that of the swap, the other counts again where it is undone.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use serde::{Deserialize, Serialize};

use super::log_head::LogHead;
use crate::fs::atomic;
use crate::id::{BackupId, EnvName, Instance, PipelineName, RunId, SourceName};
use crate::limits;

/// The version of the file.
const FORMAT: u32 = 1;
/// Bytes of a file's name that the kernel takes.
const NAME_MAX: usize = 255;
const SUFFIX: &str = ".strongroom-lineage.json";

/// What a restore put in a log's place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LineageEntry {
    /// The source.
    pub source: SourceName,
    /// The environment that it was restored to.
    pub environment: EnvName,
    /// The run that did it.
    pub run: RunId,
    /// When, RFC 3339.
    pub restored: String,
    /// The backup; absent where what was there before came back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupId>,
    /// The environment that the backup was made in.
    pub made_in: EnvName,
    /// The log as it was put there.
    pub head: LogHead,
    /// Whether a restore took secrets out of it, so that the backup's own log has other bytes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub redacted: bool,
    /// The newest backup of each lineage of the environment at that moment.
    pub newest: Vec<Newest>,
}

/// The newest backup of a lineage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Newest {
    /// Pipeline.
    pub pipeline: PipelineName,
    /// Instance.
    pub instance: Instance,
    /// Its sequence.
    pub sequence: u64,
}

impl LineageEntry {
    /// Whether a backup of this lineage, whose newest has `sequence`, is the first one since the restore.
    pub fn counts(&self, environment: &EnvName, pipeline: &PipelineName, instance: &Instance, sequence: u64) -> bool {
        let known = self
            .newest
            .iter()
            .find(|newest| newest.pipeline == *pipeline && newest.instance == *instance);
        self.environment == *environment && known.map_or(0, |newest| newest.sequence) >= sequence
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct LineageFile {
    format: u32,
    entries: Vec<LineageEntry>,
}

/// Why the file beside a log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LineageError {
    /// Nothing can stand beside the log.
    #[error("`{}` has no folder beside which it stands", .0.display())]
    NoPlace(PathBuf),
    /// The operating system refused something.
    #[error("`{}` cannot be used: {cause}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// It is not a file that only its owner can write, or belongs to someone whose word does not count.
    #[error("`{}` is not trusted: {why}", .path.display())]
    Untrusted {
        /// The file.
        path: PathBuf,
        /// Why.
        why: &'static str,
    },
    /// It does not say what it should.
    #[error("`{}` cannot be read: {cause}", .path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: serde_json::Error,
    },
    /// A newer program wrote it.
    #[error("`{}` has format {format}, and this program reads {FORMAT}", .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u32,
    },
}

/// What a restore put in the place of the log `source` whose root is `root`; `None` where none did.
pub fn read(root: &Path, source: &SourceName) -> Result<Option<LineageEntry>, LineageError> {
    let path = beside(root)?;
    let entries = match open(&path) {
        Ok(Some(file)) => parse(file, &path)?,
        Ok(None) => Vec::new(),
        Err(error) => return Err(error),
    };
    Ok(entries.into_iter().find(|entry| entry.source == *source))
}

/// Writes an entry in the place of earlier ones of the same source; gives the file's path.
pub fn write(root: &Path, entry: LineageEntry) -> Result<PathBuf, LineageError> {
    let path = beside(root)?;
    let mut entries = present(&path);
    entries.retain(|other| other.source != entry.source);
    entries.push(entry);
    write_all(&path, entries)?;
    Ok(path)
}

/// Writes an entry ahead of the swap that it speaks of. The one that counted until now stays behind it.
pub fn write_ahead(root: &Path, entry: LineageEntry) -> Result<(), LineageError> {
    let path = beside(root)?;
    let (mut same, mut entries): (Vec<_>, Vec<_>) = present(&path)
        .into_iter()
        .partition(|other| other.source == entry.source);
    same.truncate(1);
    entries.push(entry);
    entries.append(&mut same);
    write_all(&path, entries)
}

/// Takes back what `run` wrote ahead of a swap that was undone. A file that says nothing any more goes.
pub fn withdraw(root: &Path, run: &RunId) -> Result<(), LineageError> {
    let path = beside(root)?;
    let mut entries = present(&path);
    let before = entries.len();
    entries.retain(|entry| entry.run != *run);
    match entries.len() {
        left if left == before => Ok(()),
        0 => std::fs::remove_file(&path).map_err(|cause| LineageError::Io { path, cause }),
        _ => write_all(&path, entries),
    }
}

/// The entries that are there. What cannot be read now could not be read by a backup either, so nothing is lost with it.
fn present(path: &Path) -> Vec<LineageEntry> {
    let file = open(path).ok().flatten();
    file.and_then(|file| parse(file, path).ok()).unwrap_or_default()
}

fn write_all(path: &Path, entries: Vec<LineageEntry>) -> Result<(), LineageError> {
    let failed = |cause| LineageError::Io {
        path: path.to_owned(),
        cause,
    };
    let file = LineageFile {
        format: FORMAT,
        entries,
    };
    let mut bytes = serde_json::to_vec_pretty(&file).map_err(|error| failed(error.into()))?;
    bytes.push(b'\n');
    atomic::write(path, 0o644, &bytes).map_err(failed)
}

/// `.<name>.strongroom-lineage.json` beside the real path of `root`, which may not be there yet.
fn beside(root: &Path) -> Result<PathBuf, LineageError> {
    let failed = |cause| LineageError::Io {
        path: root.to_owned(),
        cause,
    };
    let real = match std::fs::canonicalize(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let (Some(above), Some(name)) = (root.parent(), root.file_name()) else {
                return Err(failed(error));
            };
            std::fs::canonicalize(above).map_err(failed)?.join(name)
        }
        other => other.map_err(failed)?,
    };
    let (Some(above), Some(name)) = (real.parent(), real.file_name()) else {
        return Err(LineageError::NoPlace(real));
    };
    Ok(above.join(name_of(name)))
}

fn name_of(name: &OsStr) -> OsString {
    let room = NAME_MAX.saturating_sub(SUFFIX.len() + 1);
    let kept = name.as_bytes().get(..room).unwrap_or(name.as_bytes());
    OsString::from_vec([b".", kept, SUFFIX.as_bytes()].concat())
}

fn open(path: &Path) -> Result<Option<std::fs::File>, LineageError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(CWD, path, flags, Mode::empty());
    let io = |cause| LineageError::Io {
        path: path.to_owned(),
        cause,
    };
    let file = match opened {
        Ok(file) => std::fs::File::from(file),
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(io(errno.into())),
    };
    let metadata = file.metadata().map_err(io)?;
    let untrusted = |why| {
        let path = path.to_owned();
        Err(LineageError::Untrusted { path, why })
    };
    let user = rustix::process::geteuid().as_raw();
    if !metadata.is_file() {
        return untrusted("it is not a file");
    }
    if metadata.uid() != 0 && metadata.uid() != user {
        return untrusted("it belongs neither to root nor to whoever runs this");
    }
    if metadata.mode() & 0o022 != 0 {
        return untrusted("others can write to it");
    }
    Ok(Some(file))
}

#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

fn parse(file: std::fs::File, path: &Path) -> Result<Vec<LineageEntry>, LineageError> {
    let mut bytes = Vec::new();
    file.take(limits::RECORD_MAX as u64)
        .read_to_end(&mut bytes)
        .map_err(|cause| LineageError::Io {
            path: path.to_owned(),
            cause,
        })?;
    let json = |cause| LineageError::Json {
        path: path.to_owned(),
        cause,
    };
    let FormatOnly { format } = serde_json::from_slice(&bytes).map_err(json)?;
    if format > FORMAT {
        let path = path.to_owned();
        return Err(LineageError::Newer { path, format });
    }
    let file: LineageFile = serde_json::from_slice(&bytes).map_err(json)?;
    Ok(file.entries)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::crypto::Digest;
    use crate::source::log_head::Removed;

    fn entry(source: &str, length: u64) -> LineageEntry {
        LineageEntry {
            source: source.parse().unwrap(),
            environment: "dev".parse().unwrap(),
            run: RunId::new(1, [1; 10]),
            restored: "2026-11-21T21:51:00Z".to_owned(),
            backup: Some("20261121T215100Z-9c41".parse().unwrap()),
            made_in: "dev".parse().unwrap(),
            head: LogHead {
                length,
                records: 1,
                blake3: Digest::of(b"x"),
                generation: 1,
                fork: None,
                rotated: Removed::default(),
                earlier: Removed::default(),
                files: Vec::new(),
            },
            redacted: false,
            newest: vec![Newest {
                pipeline: "backup".parse().unwrap(),
                instance: Instance::new("one"),
                sequence: 7,
            }],
        }
    }

    #[test]
    fn a_later_restore_replaces_the_entry_of_its_source_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("events");
        std::fs::create_dir(&root).unwrap();
        assert_eq!(read(&root, &"events".parse().unwrap()).unwrap(), None);
        write(&root, entry("events", 1)).unwrap();
        write(&root, entry("other", 2)).unwrap();
        let path = write(&root, entry("events", 3)).unwrap();
        assert!(path.ends_with(".events.strongroom-lineage.json"));
        let length = |name: &str| read(&root, &name.parse().unwrap()).unwrap().unwrap().head.length;
        assert_eq!((length("events"), length("other")), (3, 2));
        // Found through a link as well: the file stands beside the real folder.
        std::os::unix::fs::symlink("events", dir.path().join("link")).unwrap();
        assert!(
            read(&dir.path().join("link"), &"events".parse().unwrap())
                .unwrap()
                .is_some()
        );
    }

    #[test]
    fn what_was_written_ahead_of_a_swap_goes_with_it_and_the_earlier_entry_counts_again() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("events");
        let name = "events".parse().unwrap();
        let of = |run: u64, length| LineageEntry {
            run: RunId::new(run, [1; 10]),
            ..entry("events", length)
        };
        let counts = || read(&root, &name).unwrap().map(|entry| entry.head.length);
        // The log may not be there yet.
        write_ahead(&root, of(1, 1)).unwrap();
        assert_eq!(counts(), Some(1));
        std::fs::create_dir(&root).unwrap();
        withdraw(&root, &of(1, 1).run).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        write(&root, of(2, 2)).unwrap();
        write_ahead(&root, of(3, 3)).unwrap();
        write_ahead(&root, of(4, 4)).unwrap();
        assert_eq!(counts(), Some(4));
        withdraw(&root, &of(4, 4).run).unwrap();
        assert_eq!(counts(), Some(3));
        write(&root, of(5, 5)).unwrap();
        withdraw(&root, &of(3, 3).run).unwrap();
        assert_eq!(counts(), Some(5));
    }

    #[test]
    fn an_entry_counts_for_the_first_backup_of_each_lineage_and_of_its_own_environment_alone() {
        let entry = entry("events", 1);
        let counts = |environment: &str, pipeline: &str, instance: &str, sequence| {
            entry.counts(
                &environment.parse().unwrap(),
                &pipeline.parse().unwrap(),
                &Instance::new(instance),
                sequence,
            )
        };
        assert!(counts("dev", "backup", "one", 7) && counts("dev", "backup", "one", 3));
        assert!(!counts("dev", "backup", "one", 8) && !counts("live", "backup", "one", 7));
        // A lineage that the restore saw no backup of has had one since, unless it has none now.
        assert!(!counts("dev", "backup", "two", 1) && counts("dev", "nightly", "one", 0));
    }

    #[test]
    fn a_file_that_anyone_could_have_written_is_not_trusted() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("events");
        std::fs::create_dir(&root).unwrap();
        let name = "events".parse().unwrap();
        let path = write(&root, entry("events", 1)).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        assert!(matches!(read(&root, &name), Err(LineageError::Untrusted { .. })));
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("elsewhere", &path).unwrap();
        assert!(read(&root, &name).is_err());
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, r#"{"format": 2, "what": "is new"}"#).unwrap();
        assert!(matches!(read(&root, &name), Err(LineageError::Newer { format: 2, .. })));
    }

    #[test]
    fn a_name_of_any_length_has_a_file_beside_it() {
        let name = name_of(OsStr::new(&"n".repeat(255)));
        assert_eq!(name.len(), NAME_MAX);
    }
}
