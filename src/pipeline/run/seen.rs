//! What this host remembers of a target: which repository it holds. A target that was seen and is empty now is a volume
//! that is not mounted or a bucket that was emptied, and not a place for a new repository.
//!
//! Kept in the state folder, a file a target. Losing it costs this guard alone: a target is then taken as it is.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::archive::repository::Repository;
use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::fs::atomic;
use crate::id::TargetName;
use crate::target::{Keeps, Target};

const FOLDER: &str = "targets";

/// What is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Seen {
    /// Where the target was.
    url: String,
    /// The id of the repository in it.
    repository: String,
    /// What its store does when it is asked not to overwrite.
    pub(super) keeps: Keeps,
}

impl Seen {
    pub(super) fn of(target: &Target, repository: &Repository, keeps: Keeps) -> Self {
        Self {
            url: target.url(),
            repository: repository.repository.clone(),
            keeps,
        }
    }

    /// What the state folder remembers of a target at this very URL. What cannot be read is not remembered.
    pub(super) fn read(state: &Path, target: &Target) -> Option<Self> {
        let bytes = std::fs::read(file(state, target.name())).ok()?;
        let seen: Self = serde_json::from_slice(&bytes).ok()?;
        (seen.url == target.url()).then_some(seen)
    }

    /// Remembers it.
    pub(super) fn write(&self, state: &Path, target: &TargetName) -> Result<(), Diagnostic> {
        let written = serde_json::to_vec(self)
            .map_err(io::Error::other)
            .and_then(|mut bytes| {
                bytes.push(b'\n');
                make_folder(&state.join(FOLDER))?;
                atomic::write(&file(state, target), 0o600, &bytes)
            });
        written.map_err(|error| {
            let what = format!("what target `{target}` holds cannot be noted in the state folder");
            Diagnostic::error(Code::StateFailed.unless_full(&error), what)
                .why(error.to_string())
                .state("nothing was backed up")
                .help("free space where the state folder lies, or give this user the right to write there")
        })
    }

    /// The refusal of a target that does not hold what it held; `None` where it does.
    pub(super) fn judge(&self, found: Option<&Repository>, target: &Target, state: &Path) -> Option<Diagnostic> {
        let what = match found {
            Some(repository) if repository.repository == self.repository => return None,
            Some(_) => format!("target `{}` holds another repository than before", target.name()),
            None => format!("target `{}` was seen before and is empty now", target.name()),
        };
        Some(self.vanished(what, target, state))
    }

    /// The same for whoever only reads: what the target held is not among what is read.
    pub(super) fn missed(
        &self,
        found: Option<&Repository>,
        target: &Target,
        state: &Path,
        newest: Option<&str>,
    ) -> Option<Diagnostic> {
        let mut missed = self.judge(found, target, state)?;
        missed.severity = Severity::Warning;
        let newest = newest.map_or_else(String::new, |newest| format!("; {newest}"));
        missed.why = Some(format!(
            "repository `{}` was at `{}`{newest}",
            self.repository, self.url
        ));
        missed.state = Some("what it held is not among the backups that are read here".to_owned());
        let file = file(state, target.name());
        missed.help = Some(format!(
            "mount the volume, or see where the backups went; where it was emptied on purpose, remove `{}`",
            file.display()
        ));
        Some(missed)
    }

    /// A target that is gone.
    pub(super) fn vanished(&self, what: String, target: &Target, state: &Path) -> Diagnostic {
        let file = file(state, target.name());
        Diagnostic::error(Code::TargetVanished, what)
            .why(format!(
                "repository `{}` was at `{}`; a new one beside lost backups would look as if all were well",
                self.repository, self.url
            ))
            .state("nothing was written to any target")
            .help(format!(
                "mount the volume, or see where the backups went; to go on without this target for now name the others \
                 (`--target NAME`); where it was emptied on purpose, remove `{}` and run again",
                file.display()
            ))
    }
}

fn file(state: &Path, target: &TargetName) -> PathBuf {
    state.join(FOLDER).join(format!("{target}.json"))
}

pub(super) fn make_folder(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(id: &str) -> Repository {
        Repository {
            format: 1,
            repository: id.into(),
        }
    }

    #[test]
    fn what_was_seen_is_remembered_for_its_url() {
        let state = tempfile::tempdir().unwrap();
        let target = Target::memory("local".parse().unwrap());
        assert_eq!(Seen::read(state.path(), &target), None);
        let seen = Seen::of(&target, &repository("a"), Keeps::Nothing);
        seen.write(state.path(), target.name()).unwrap();
        assert_eq!(Seen::read(state.path(), &target), Some(seen.clone()));
        let moved = Seen {
            url: "file:///elsewhere".into(),
            ..seen
        };
        moved.write(state.path(), target.name()).unwrap();
        assert_eq!(Seen::read(state.path(), &target), None);
    }

    #[test]
    fn another_repository_or_none_is_a_target_that_vanished() {
        let state = Path::new("/state");
        let target = Target::memory("local".parse().unwrap());
        let seen = Seen::of(&target, &repository("a"), Keeps::Conditions);
        assert_eq!(seen.judge(Some(&repository("a")), &target, state), None);
        for found in [None, Some(&repository("b"))] {
            let refusal = seen.judge(found, &target, state).unwrap();
            assert_eq!((refusal.code, refusal.code.exit().number()), (Code::TargetVanished, 5));
            assert!(refusal.help.unwrap().contains("/state/targets/local.json"));
        }
    }
}
