//! Finds the files of a project: its pipelines and environments, and the built-in copies of the shipped pipelines.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::plan::Provenance;
use crate::diagnostic::{Code, Diagnose};
use crate::id::{EnvName, PipelineName};
use crate::limits;

/// The folder of the flows, below the project folder.
pub(super) const PIPELINES: &str = "pipelines";
/// The folder of the environments, below the folder of the flows.
pub(super) const ENVIRONMENTS: &str = "environments";

/// The shipped pipelines, so that the short forms work in a project that has no copy of them.
const BUILT_IN: [(&str, &str); 3] = [
    ("backup", include_str!("../../pipelines/backup.toml")),
    ("drill", include_str!("../../pipelines/drill.toml")),
    ("restore", include_str!("../../pipelines/restore.toml")),
];

/// Why a project's files could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// A folder or file cannot be read.
    #[error("`{}` cannot be read", .path.display())]
    Unreadable {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Larger than a manifest may be.
    #[error("`{}` is larger than {} bytes", .0.display(), limits::MANIFEST_MAX)]
    TooLarge(PathBuf),
    /// Not UTF-8.
    #[error("`{}` is not UTF-8 text", .0.display())]
    NotText(PathBuf),
}

impl Diagnose for FilesError {
    fn code(&self) -> Code {
        Code::ManifestUnreadable
    }

    fn state(&self) -> Option<String> {
        Some("nothing was started".into())
    }

    fn help(&self) -> Option<String> {
        Some(match self {
            Self::Unreadable { path, .. } => format!("check that `{}` exists and is readable", path.display()),
            Self::TooLarge(_) => "a manifest holds settings, not data: check that the path is right".into(),
            Self::NotText(_) => "save the file as UTF-8".into(),
        })
    }
}

/// A pipeline that can be named by its short name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its short name.
    pub name: PipelineName,
    /// Its file, or the built-in copy.
    pub provenance: Provenance,
}

/// The pipelines of a project by name, with the built-in ones that it has no file for.
///
/// # Errors
/// When the folder `pipelines` is there and cannot be read.
pub fn list_pipelines(project: &Path) -> Result<Vec<Listed>, FilesError> {
    let folder = project.join(PIPELINES);
    let mut listed: Vec<Listed> = names::<PipelineName>(&folder)?
        .into_iter()
        .map(|name| Listed {
            provenance: Provenance::File(folder.join(format!("{name}.toml"))),
            name,
        })
        .collect();
    for (name, _) in BUILT_IN {
        if !listed.iter().any(|known| known.name.as_str() == name)
            && let Ok(name) = name.parse()
        {
            listed.push(Listed {
                name,
                provenance: Provenance::BuiltIn,
            });
        }
    }
    listed.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(listed)
}

/// The environments of a project, by name.
///
/// # Errors
/// When the folder `pipelines/environments` is there and cannot be read.
pub fn list_environments(project: &Path) -> Result<Vec<EnvName>, FilesError> {
    names(&project.join(PIPELINES).join(ENVIRONMENTS))
}

/// The built-in copy of a shipped pipeline.
pub(super) fn built_in(name: &str) -> Option<&'static str> {
    BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// Reads a manifest whole, within its limit.
pub(super) fn read(path: &Path) -> Result<String, FilesError> {
    let unreadable = |source| FilesError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(limits::MANIFEST_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > limits::MANIFEST_MAX {
        return Err(FilesError::TooLarge(path.to_owned()));
    }
    String::from_utf8(bytes).map_err(|_| FilesError::NotText(path.to_owned()))
}

/// The names of the `.toml` files of a folder, sorted; none where the folder is not there. A file whose name is not
/// kebab-case has no short name and is reached by its path.
fn names<T: FromStr + Ord>(folder: &Path) -> Result<Vec<T>, FilesError> {
    let unreadable = |source| FilesError::Unreadable {
        path: folder.to_owned(),
        source,
    };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry.map_err(unreadable)?.file_name();
        if let Some(stem) = name.to_str().and_then(|name| name.strip_suffix(".toml"))
            && let Ok(name) = stem.parse()
        {
            found.push(name);
        }
    }
    found.sort();
    Ok(found)
}
