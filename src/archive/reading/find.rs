//! In which backups something is: a search through many catalogs, in which what several of them share is looked through once.

use std::collections::HashMap;
use std::sync::Arc;

use crate::archive::catalog::{Line, Listed};
use crate::archive::record::SegmentRecord;
use crate::archive::unpack::segments::{Segments, at};
use crate::crypto::Digest;
use crate::fs::entry::{Kind, Moment, TreePath};
use crate::fs::glob::{Excludes, GlobError, split_root};

use super::difference::part;
use super::path::BackupPath;
use super::{Reading, ReadingError};

/// What is sought: a glob over `<source>/<path>`. Without a `/` it matches a name at any depth, with one the whole path.
#[derive(Clone, Debug)]
pub struct Pattern {
    rule: Excludes,
    /// The folder that every match lies in, where the glob says one.
    below: Option<BackupPath>,
}

impl Pattern {
    /// Reads a glob.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn new(glob: &str) -> Result<Self, GlobError> {
        let rule = Excludes::new(&[glob])?;
        let body = glob.trim_start_matches("./").trim_matches('/');
        let root = split_root(body).0;
        let below = body
            .contains('/')
            .then(|| BackupPath::parse(root.as_os_str().as_encoded_bytes()))
            .flatten();
        Ok(Self { rule, below })
    }

    fn matches(&self, path: &BackupPath, is_folder: bool) -> bool {
        TreePath::parse(&path.to_bytes()).is_some_and(|full| self.rule.match_entry(&full, is_folder))
    }
}

/// What a version of an entry is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// What it is.
    pub kind: Kind,
    /// When it was changed last.
    pub mtime: Moment,
    /// Digest of a file's data.
    pub blake3: Option<Digest>,
}

/// An entry that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it is.
    pub path: BackupPath,
    /// What it is there.
    pub version: Version,
}

/// What a segment says of a path that matches: what is there, or that nothing is.
type Said = (BackupPath, Option<Version>);

/// A search through one backup after the other.
pub struct Search {
    pattern: Pattern,
    /// What the segments of the last backup say, by name.
    known: HashMap<String, Arc<Vec<Said>>>,
}

impl Search {
    /// Begins.
    pub fn new(pattern: Pattern) -> Self {
        Self {
            pattern,
            known: HashMap::new(),
        }
    }

    /// Every match in a backup, in order.
    ///
    /// # Errors
    /// When its catalog cannot be read.
    pub fn look(&mut self, reading: &Reading) -> Result<Vec<Found>, ReadingError> {
        let order = reading.order();
        let part = |records: &[SegmentRecord]| match &self.pattern.below {
            Some(below) => part(&reading.segments, records, below, &order),
            None => Ok(records.to_vec()),
        };
        let (base, patch) = (part(&reading.record.segments)?, part(&reading.record.patch)?);
        let mut known = HashMap::new();
        let mut said_by = |records: &[SegmentRecord]| {
            let mut all: Vec<Said> = Vec::new();
            for record in records {
                let said = match self.known.get(&record.name) {
                    Some(said) => Arc::clone(said),
                    None => Arc::new(say(&self.pattern, &reading.segments, record)?),
                };
                all.extend(said.iter().cloned());
                known.insert(record.name.clone(), said);
            }
            Ok::<_, ReadingError>(all)
        };
        let (base, patch) = (said_by(&base)?, said_by(&patch)?);
        self.known = known;
        let overruled: HashMap<BackupPath, Option<Version>> = patch.iter().cloned().collect();
        let kept = base.into_iter().filter(|(path, _)| !overruled.contains_key(path));
        let mut found: Vec<Found> = kept
            .chain(patch)
            .filter_map(|(path, version)| {
                Some(Found {
                    path,
                    version: version?,
                })
            })
            // That of a folder alone may have matched.
            .filter(|found| self.pattern.matches(&found.path, found.version.kind == Kind::Folder))
            .collect();
        found.sort_by_key(|found| (order.rank(found.path.source()), found.path.path().clone()));
        Ok(found)
    }
}

/// What a segment says of paths that match, be they folders or not.
fn say(pattern: &Pattern, segments: &Segments, record: &SegmentRecord) -> Result<Vec<Said>, ReadingError> {
    let mut said = Vec::new();
    for line in segments.lines(record)? {
        let Some((source, path)) = at(&line) else { continue };
        let path = BackupPath::new(source, path);
        if !pattern.matches(&path, true) {
            continue;
        }
        let version = match line {
            Line::Entry(listed) => Some(version_of(&listed)),
            Line::Gone { .. } | Line::Superseded { .. } => None,
        };
        said.push((path, version));
    }
    Ok(said)
}

fn version_of(listed: &Listed) -> Version {
    Version {
        kind: listed.entry.kind.clone(),
        mtime: listed.entry.metadata.mtime,
        blake3: listed.blake3,
    }
}
