//! Where a source is: its root, what its path stands for, and what of the root is meant.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::sqlite;
use crate::fs::entry::{TreePath, display_bytes};
use crate::fs::folder::Folder;
use crate::fs::glob::{Excludes, GlobError, split_root};
use crate::fs::selection::{Choice, Depth, Selection};
use crate::id::SourceName;
use crate::source::{Source, SourceError, SourceKind};

/// What a source's path stood for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// A folder, or a glob below one.
    #[default]
    Folder,
    /// One file; its folder is the root.
    File,
}

/// A source found on this machine.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) name: SourceName,
    pub(super) root: PathBuf,
    pub(super) form: Form,
    pub(super) has_glob: bool,
    pub(super) may_be_empty: bool,
    pub(super) selection: Selection,
}

/// A source's path as looked for, without its glob; the project folder where nothing else is written.
fn absolute(path: &str, base: &Path) -> (PathBuf, Option<String>) {
    let (root, glob) = split_root(path);
    (base.join(root), glob)
}

/// Where the one file of a source is. Links on the way are followed, the last name too: the operator wrote it.
fn file_itself(path: &Path) -> PathBuf {
    let is_link = std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
    let target = if is_link {
        std::fs::canonicalize(path).ok()
    } else {
        None
    };
    target.unwrap_or_else(|| path.to_owned())
}

pub(super) fn root(path: &str, base: &Path) -> PathBuf {
    let (found, glob) = absolute(path, base);
    let is_file = glob.is_none() && std::fs::metadata(&found).is_ok_and(|metadata| !metadata.is_dir());
    root_as(path, base, if is_file { Form::File } else { Form::Folder })
}

pub(super) fn root_as(path: &str, base: &Path, form: Form) -> PathBuf {
    let (found, glob) = absolute(path, base);
    if glob.is_some() || form == Form::Folder {
        return found;
    }
    let file = file_itself(&found);
    file.parent().map_or(found, Path::to_owned)
}

/// What is meant below the root; `file` is the one name where the form is a file.
fn select(kind: &SourceKind, form: Form, file: &Path) -> Result<Selection, GlobError> {
    let (_, glob) = split_root(kind.path());
    let selection = match (glob, form) {
        (Some(glob), _) => Selection::matching(&glob)?,
        (None, Form::Folder) => Selection::all(),
        (None, Form::File) => Selection::only(file.file_name().unwrap_or_default().as_bytes()),
    };
    let depth = match kind {
        SourceKind::Files(_) | SourceKind::Sqlite(_) => Depth::Whole,
        SourceKind::AppendLog(_) => Depth::Flat,
    };
    Ok(selection.without(Excludes::new(kind.exclude())?).with_depth(depth))
}

/// What is meant below the root of a source that was captured as `form`, wherever that root is now.
pub(super) fn selection(source: &Source, base: &Path, form: Form) -> Result<Selection, SourceError> {
    let (found, _) = absolute(source.kind.path(), base);
    select(&source.kind, form, &file_itself(&found)).map_err(|cause| SourceError::Glob {
        name: source.name.clone(),
        cause,
    })
}

/// Looks for the source on this machine.
pub(super) fn find(source: &Source, base: &Path) -> Result<Place, SourceError> {
    let (found, glob) = absolute(source.kind.path(), base);
    let metadata = std::fs::metadata(&found).map_err(|error| not_there(source, &found, error))?;
    let form = match (glob.is_some(), metadata.is_dir()) {
        (true, false) => return Err(not_there(source, &found, io::ErrorKind::NotFound.into())),
        (false, false) => Form::File,
        (_, true) => Form::Folder,
    };
    Ok(Place {
        name: source.name.clone(),
        root: root_as(source.kind.path(), base, form),
        form,
        has_glob: glob.is_some(),
        may_be_empty: source.guards.allow_empty,
        selection: selection(source, base, form)?,
    })
}

fn not_there(source: &Source, path: &Path, cause: io::Error) -> SourceError {
    let path = shown(path);
    if matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
        return SourceError::Missing {
            name: source.name.clone(),
            path,
        };
    }
    SourceError::Unreadable { path, cause }
}

/// A path for people.
pub(super) fn shown(path: &Path) -> String {
    display_bytes(path.as_os_str().as_bytes())
}

impl Place {
    pub(super) fn open(&self) -> Result<Folder, SourceError> {
        Folder::open(&self.root).map_err(|cause| self.unreadable(cause))
    }

    /// Whether the operator chose files by a glob or by name, so that finding none is a mistake.
    pub(super) fn is_chosen(&self) -> bool {
        !self.may_be_empty && (self.has_glob || self.form == Form::File)
    }

    pub(super) fn unreadable(&self, cause: io::Error) -> SourceError {
        SourceError::Unreadable {
            path: shown(&self.root),
            cause,
        }
    }

    /// An entry's path for people.
    pub(super) fn shown(&self, path: &TreePath) -> String {
        if path.is_root() {
            return shown(&self.root);
        }
        format!("{}/{}", shown(&self.root).trim_end_matches('/'), path.display())
    }
}

/// Which entries below a root a source would capture.
#[derive(Clone, Debug)]
pub struct Selects {
    selection: Selection,
    databases_in: Option<PathBuf>,
}

impl Selects {
    pub(super) fn by_name(selection: Selection) -> Self {
        Self {
            selection,
            databases_in: None,
        }
    }

    pub(super) fn databases(selection: Selection, root: &Path) -> Self {
        Self {
            selection,
            databases_in: Some(root.to_owned()),
        }
    }

    /// Whether the entry would be captured for its own sake. A folder that is only on the way to what would be captured
    /// is not; in a folder of databases a file is judged by its first bytes.
    pub fn selects(&self, path: &TreePath, is_folder: bool) -> bool {
        let choice = self.selection.choice(path, is_folder);
        match &self.databases_in {
            None => matches!(choice, Choice::Named | Choice::Inside),
            Some(_) if is_folder => false,
            Some(root) => match choice {
                Choice::Named => true,
                // What cannot be read is not taken for a database, so it is carried over: never the poorer choice.
                Choice::Inside => sqlite::is_database_at(root, path).unwrap_or(false),
                Choice::Out | Choice::Refused | Choice::OnTheWay => false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::files::Files;

    fn source(path: &str) -> Source {
        Source {
            name: "x".parse().unwrap(),
            kind: SourceKind::Files(Files {
                path: path.to_owned(),
                exclude: vec![],
                one_file_system: false,
            }),
            guards: crate::source::Guards::default(),
        }
    }

    #[test]
    fn one_file_has_its_folder_as_root() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("d")).unwrap();
        std::fs::write(dir.path().join("d/f*"), "").unwrap();
        let base = dir.path();
        assert_eq!(source("d").root(base), base.join("d"));
        assert_eq!(source("d/f[*]").root(base), base.join("d"));
        assert_eq!(source("d/f*").root(base), base.join("d"));
        let place = find(&source("d/f[*]"), base).unwrap();
        assert_eq!((place.form, place.has_glob), (Form::File, false));
        assert!(place.selection.selects(&TreePath::parse(b"f*").unwrap(), false));
        assert_eq!(source("gone/f").root_as(base, Form::File), base.join("gone"));
        assert_eq!(source("gone/f").root_as(base, Form::Folder), base.join("gone/f"));
    }

    #[test]
    fn a_link_that_the_operator_names_is_followed_to_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(base.join("real")).unwrap();
        std::fs::write(base.join("real/f"), "").unwrap();
        std::os::unix::fs::symlink("real/f", base.join("link")).unwrap();
        assert_eq!(source("link").root(&base), base.join("real"));
    }

    #[test]
    fn a_missing_root_is_source_missing() {
        use crate::diagnostic::{Code, Diagnose};
        let dir = tempfile::tempdir().unwrap();
        for path in ["gone", "gone/*", "/nowhere-at-all/x"] {
            let error = find(&source(path), dir.path()).unwrap_err();
            assert_eq!(error.code(), Code::SourceMissing, "{path}");
        }
    }
}
