//! A path in a backup: the name of a source and what lies below its root.

use std::cmp::Ordering;

use crate::archive::catalog::Listed;
use crate::archive::record::Record;
use crate::fs::entry::{TreePath, display_bytes};
use crate::id::SourceName;

use super::At;

/// `<source>/<path below its root>`; the source alone is its root.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BackupPath {
    source: SourceName,
    path: TreePath,
}

impl BackupPath {
    /// The path of what stands at `path` below the root of `source`.
    pub fn new(source: &SourceName, path: &TreePath) -> Self {
        Self {
            source: source.clone(),
            path: path.clone(),
        }
    }

    /// The path of an entry.
    pub fn of(listed: &Listed) -> Self {
        Self::new(&listed.source, &listed.entry.path)
    }

    /// Takes `<source>/<path>`; a slash at the end is passed over. `None` where it is no such path.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes = trim(bytes);
        let cut = bytes.iter().position(|b| *b == b'/').unwrap_or(bytes.len());
        let (source, rest) = bytes.split_at_checked(cut)?;
        Some(Self {
            source: std::str::from_utf8(source).ok()?.parse().ok()?,
            path: TreePath::parse(rest.strip_prefix(b"/").unwrap_or(rest))?,
        })
    }

    /// The source.
    pub fn source(&self) -> &SourceName {
        &self.source
    }

    /// Below its root.
    pub fn path(&self) -> &TreePath {
        &self.path
    }

    /// The exact bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.source.as_str().as_bytes().to_vec();
        if !self.path.is_root() {
            bytes.push(b'/');
            bytes.extend_from_slice(self.path.as_bytes());
        }
        bytes
    }

    /// For people: bytes that are not UTF-8 stand as `\xNN`.
    pub fn display(&self) -> String {
        display_bytes(&self.to_bytes())
    }

    /// Whether this is the path of `listed`.
    pub fn is(&self, listed: &Listed) -> bool {
        (&self.source, &self.path) == (&listed.source, &listed.entry.path)
    }

    /// Whether what stands at `at` is this or lies below it.
    pub fn holds(&self, (source, path): At<'_>) -> bool {
        let below = |rest: &[u8]| rest.is_empty() || rest.first() == Some(&b'/');
        self.source == *source
            && (self.path.is_root() || path.as_bytes().strip_prefix(self.path.as_bytes()).is_some_and(below))
    }

    /// The folder that holds this; `None` for the root of a source.
    pub fn parent(&self) -> Option<Self> {
        Some(Self {
            source: self.source.clone(),
            path: self.path.parent()?,
        })
    }

    fn at(&self) -> At<'_> {
        (&self.source, &self.path)
    }
}

fn trim(mut bytes: &[u8]) -> &[u8] {
    while let Some(rest) = bytes.strip_prefix(b"./") {
        bytes = rest;
    }
    while let [rest @ .., b'/'] = bytes {
        bytes = rest;
    }
    bytes
}

/// What a path as typed may stand for in a backup.
///
/// Either it begins with the name of a source, or it is absolute and what it was on the captured host. Several sources may have
/// captured from there; the one with the longest root comes first.
pub fn meant(record: &Record, typed: &[u8]) -> Meant {
    let path = trim(typed);
    if typed.first() == Some(&b'/') {
        let mut found: Vec<(usize, BackupPath)> = Vec::new();
        for source in record.sources.iter().filter(|source| source.entries > 0) {
            let root = trim(source.root.as_bytes());
            let Some(rest) = path.strip_prefix(root) else { continue };
            let Some(rest) = rest.strip_prefix(b"/").or_else(|| rest.is_empty().then_some(rest)) else {
                continue;
            };
            if let Some(below) = TreePath::parse(rest) {
                found.push((root.len(), BackupPath::new(&source.name, &below)));
            }
        }
        found.sort_by_key(|(length, _)| std::cmp::Reverse(*length));
        return Meant::OneOf(found.into_iter().map(|(_, path)| path).collect());
    }
    if path.is_empty() || path == b"." {
        return Meant::Everything;
    }
    Meant::OneOf(BackupPath::parse(path).into_iter().collect())
}

/// What a typed path may stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meant {
    /// The whole backup.
    Everything,
    /// The first of these that the backup has.
    OneOf(Vec<BackupPath>),
}

/// The order of a backup: sources as the record has them, paths component by component.
#[derive(Clone, Debug)]
pub struct Order(Vec<SourceName>);

impl Order {
    /// That of a backup.
    pub fn of(record: &Record) -> Self {
        Self(record.sources.iter().map(|source| source.name.clone()).collect())
    }

    /// The sources.
    pub fn sources(&self) -> &[SourceName] {
        &self.0
    }

    /// The place of a source among the others.
    pub fn rank(&self, source: &SourceName) -> usize {
        self.0.iter().position(|other| other == source).unwrap_or(usize::MAX)
    }

    /// Which of two places comes first.
    pub fn compare(&self, one: At<'_>, other: At<'_>) -> Ordering {
        let sources = self.rank(one.0).cmp(&self.rank(other.0));
        sources.then_with(|| one.1.cmp(other.1))
    }

    /// Whether a place comes before a path.
    pub fn is_before(&self, at: At<'_>, path: &BackupPath) -> bool {
        self.compare(at, path.at()).is_lt()
    }

    /// Whether a place comes before everything that lies behind a path and what is below it.
    pub fn is_before_behind(&self, at: At<'_>, path: &BackupPath) -> bool {
        path.holds(at) || self.is_before(at, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> BackupPath {
        BackupPath::parse(text.as_bytes()).unwrap()
    }

    fn record(sources: &[(&str, &str)]) -> Record {
        let sources: Vec<_> = sources
            .iter()
            .map(|(name, root)| {
                serde_json::json!({ "name": name, "type": "files", "root": root, "entries": 1, "bytes": 0, "warnings": 0 })
            })
            .collect();
        let digest = crate::crypto::Digest::of(b"");
        serde_json::from_value(serde_json::json!({
            "format": 1, "id": "20261121T215100Z-9c41", "run": "01980000-0000-7000-8000-000000000000", "sequence": 1,
            "parent": null, "environment": "dev", "pipeline": "backup", "instance": "host", "started": "x", "ended": "x",
            "sources": sources, "segments": [], "refs": { "name": "", "bytes": 0, "blake3": digest },
            "warnings": 0, "manifest": "", "tool": "test",
        }))
        .unwrap()
    }

    #[test]
    fn a_folder_holds_what_is_below_it_and_nothing_that_only_begins_alike() {
        let folder = path("config/a/b");
        for (other, held) in [
            ("config/a/b", true),
            ("config/a/b/c", true),
            ("config/a/bc", false),
            ("config/a", false),
            ("other/a/b", false),
        ] {
            let other = path(other);
            assert_eq!(folder.holds(other.at()), held, "{}", other.display());
        }
        assert!(path("config").holds(path("config/x").at()));
    }

    #[test]
    fn what_was_typed_is_found_by_its_source_or_by_where_it_was() {
        let record = record(&[("data", "/srv/data"), ("inner", "/srv/data/inner"), ("root", "/")]);
        let found = |typed: &str| match meant(&record, typed.as_bytes()) {
            Meant::Everything => vec!["everything".to_owned()],
            Meant::OneOf(paths) => paths.iter().map(BackupPath::display).collect(),
        };
        assert_eq!(found("data/x/"), ["data/x"]);
        assert_eq!(found("./data"), ["data"]);
        assert_eq!(found("."), ["everything"]);
        assert_eq!(
            found("/srv/data/inner/y"),
            ["inner/y", "data/inner/y", "root/srv/data/inner/y"]
        );
        assert_eq!(found("/srv/data"), ["data", "root/srv/data"]);
        assert_eq!(found("/srv/database"), ["root/srv/database"]);
        assert_eq!(found("data/../x"), Vec::<String>::new());
        assert_eq!(found("/"), ["root"]);
    }

    #[test]
    fn everything_below_a_folder_comes_before_what_is_behind_it() {
        let order = Order(vec!["b".parse().unwrap(), "a".parse().unwrap()]);
        let folder = path("b/x");
        for (other, before) in [
            ("b", true),
            ("b/x", true),
            ("b/x/z", true),
            ("b/x.y", false),
            ("a", false),
        ] {
            let other = path(other);
            assert_eq!(
                order.is_before_behind(other.at(), &folder),
                before,
                "{}",
                other.display()
            );
        }
    }
}
