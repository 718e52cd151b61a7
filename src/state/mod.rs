//! The state folder of an environment: created, locked, spooled into. Losing it costs speed and what it remembers, never a restore.

mod lock;
mod spool;

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rustix::fs::{CWD, Mode, OFlags};

pub use self::lock::{Before, Holder, Lock};
use self::spool::Spool;
use crate::diagnostic::{Code, Diagnose};
use crate::poison;

/// Why the state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It is a symbolic link, a file, or something else that is no folder.
    #[error("the state folder `{}` is no folder of its own", .path.display())]
    NotAFolder {
        /// The folder.
        path: PathBuf,
    },
    /// Another user owns it.
    #[error("the state folder `{}` belongs to user {owner}, and this is user {user}", .path.display())]
    NotOurs {
        /// The folder.
        path: PathBuf,
        /// Who owns it.
        owner: u32,
        /// Who runs.
        user: u32,
    },
    /// Other users can write into it.
    #[error("the state folder `{}` can be written by others (mode {mode:04o})", .path.display())]
    WritableByOthers {
        /// The folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Another run holds the lock.
    #[error("pipeline `{pipeline}` is held by {holder}")]
    Held {
        /// Pipeline.
        pipeline: String,
        /// Who holds it, as far as it says.
        holder: Holder,
    },
    /// The operating system refused something.
    #[error("`{}` in the state folder cannot be used", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl StateError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}

impl Diagnose for StateError {
    fn code(&self) -> Code {
        match self {
            Self::Held { .. } => Code::Held,
            Self::NotAFolder { .. } | Self::NotOurs { .. } | Self::WritableByOthers { .. } => Code::StateFailed,
            Self::Io { source, .. } => Code::StateFailed.unless_full(source),
        }
    }

    fn why(&self) -> Option<String> {
        match self {
            Self::NotAFolder { .. } | Self::NotOurs { .. } | Self::WritableByOthers { .. } => {
                Some("whoever can write there can change the journal and see what is spooled".into())
            }
            Self::Held { .. } => Some("two runs of one pipeline would work on the same data".into()),
            Self::Io { .. } => None,
        }
    }

    fn state(&self) -> Option<String> {
        Some("nothing was started".into())
    }

    fn help(&self) -> Option<String> {
        Some(match self {
            Self::NotAFolder { .. } => {
                "move away what stands there, or set `state` in the environment file to a folder".into()
            }
            Self::NotOurs { .. } => {
                "run as the user that owns it, or set `state` in the environment file to another folder".into()
            }
            Self::WritableByOthers { path, .. } => format!(
                "look into what others may have changed there, then `chmod 0700 {}`",
                path.display()
            ),
            Self::Held { .. } => "wait until the other run has ended, or let this one wait: `--wait 10min`".into(),
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    "free space where the state folder lies, then run again".into()
                }
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    "give this user the right to write there, or set `state` in the environment file to another folder"
                        .into()
                }
                _ => "see that the disk is mounted and answers, then run again".into(),
            },
        })
    }
}

/// The state folder of an environment, open.
#[derive(Debug)]
pub struct StateFolder {
    path: PathBuf,
    folder: OwnedFd,
    spool: Mutex<Option<Spool>>,
}

impl StateFolder {
    /// Opens the folder; makes it, 0700, with its parents where it is missing.
    ///
    /// # Errors
    /// Where it is a symbolic link or no folder, belongs to another user, can be written by others, or cannot be made.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let made = std::fs::DirBuilder::new().mode(0o700).recursive(true).create(path);
        match made {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(StateError::NotAFolder { path: path.to_owned() });
            }
            made => made.map_err(StateError::io(path))?,
        }
        let state = Self::existing(path)?.ok_or_else(|| StateError::NotAFolder { path: path.to_owned() })?;
        state.check_owner()?;
        Ok(state)
    }

    /// The folder as it is, to read from; `None` where there is none. Touches nothing and asks nothing of its owner.
    ///
    /// # Errors
    /// Where it is a symbolic link or no folder, or may not be entered.
    pub fn existing(path: &Path) -> Result<Option<Self>, StateError> {
        // A slash at the end would let a link be followed.
        let path: PathBuf = path.components().collect();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(CWD, &path, flags, Mode::empty()) {
            Ok(folder) => Ok(Some(Self {
                path,
                folder,
                spool: Mutex::new(None),
            })),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR) => Err(StateError::NotAFolder { path }),
            Err(error) => Err(StateError::io(&path)(error.into())),
        }
    }

    /// The same folder once more, with a spool of its own.
    pub fn try_clone(&self) -> Result<Self, StateError> {
        Ok(Self {
            path: self.path.clone(),
            folder: self.folder.try_clone().map_err(StateError::io(&self.path))?,
            spool: Mutex::new(None),
        })
    }

    /// The folder's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The open folder, for calls that name a file within it.
    pub fn descriptor(&self) -> &OwnedFd {
        &self.folder
    }

    /// A folder of this process's own for files that do not outlive the run (0700, empty). It goes with the last use of
    /// this state folder; what dead runs left in theirs goes now.
    pub fn spool(&self) -> Result<PathBuf, StateError> {
        let mut spool = poison::lock(&self.spool);
        let path = self.path.join("spool");
        match spool.as_ref() {
            Some(spool) => Ok(spool.path().to_owned()),
            None => Ok(spool
                .insert(Spool::create(&path).map_err(StateError::io(&path))?)
                .path()
                .to_owned()),
        }
    }

    fn check_owner(&self) -> Result<(), StateError> {
        let folder = self.folder.try_clone().map_err(StateError::io(&self.path))?;
        let metadata = std::fs::File::from(folder)
            .metadata()
            .map_err(StateError::io(&self.path))?;
        let user = rustix::process::geteuid().as_raw();
        if metadata.uid() != user {
            return Err(StateError::NotOurs {
                path: self.path.clone(),
                owner: metadata.uid(),
                user,
            });
        }
        let mode = metadata.mode() & 0o7777;
        if mode & 0o022 != 0 {
            return Err(StateError::WritableByOthers {
                path: self.path.clone(),
                mode,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn the_folder_and_its_parents_are_made_for_the_owner_alone() {
        let above = tempfile::tempdir().unwrap();
        let path = above.path().join(".strongroom/dev");
        let state = StateFolder::open(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        StateFolder::open(state.path()).unwrap();
    }

    #[test]
    fn a_folder_that_others_can_write_is_refused_and_left_as_it_is() {
        let above = tempfile::tempdir().unwrap();
        for wrong in [0o770, 0o707, 0o777, 0o1777] {
            let path = above.path().join(format!("{wrong:o}"));
            std::fs::create_dir(&path).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(wrong)).unwrap();
            let opened = StateFolder::open(&path);
            assert!(matches!(opened, Err(StateError::WritableByOthers { .. })), "{wrong:o}");
            assert_eq!(mode(&path), wrong);
        }
    }

    #[test]
    fn a_link_or_a_file_in_its_place_is_refused() {
        let above = tempfile::tempdir().unwrap();
        let (link, file, dangling) = (
            above.path().join("link"),
            above.path().join("file"),
            above.path().join("none"),
        );
        std::fs::create_dir(above.path().join("real")).unwrap();
        std::os::unix::fs::symlink("real", &link).unwrap();
        std::os::unix::fs::symlink("nowhere", &dangling).unwrap();
        std::fs::write(&file, b"").unwrap();
        for path in [link, file, dangling] {
            let opened = StateFolder::open(&path);
            assert!(
                matches!(opened, Err(StateError::NotAFolder { .. })),
                "{path:?}: {opened:?}"
            );
            assert!(StateFolder::existing(&path).is_err());
            assert!(StateFolder::open(&path.join("")).is_err());
        }
        assert!(!above.path().join("nowhere").exists());
    }

    #[test]
    fn a_folder_of_another_user_is_refused() {
        let above = tempfile::tempdir().unwrap();
        let path = above.path().join("theirs");
        std::fs::create_dir(&path).unwrap();
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(12345), None).unwrap();
            assert!(matches!(
                StateFolder::open(&path),
                Err(StateError::NotOurs { owner: 12345, .. })
            ));
            assert!(StateFolder::existing(&path).unwrap().is_some());
        } else {
            // Only root can give a folder away; `/` belongs to root.
            assert!(matches!(
                StateFolder::open(Path::new("/")),
                Err(StateError::NotOurs { .. })
            ));
        }
    }

    #[test]
    fn looking_for_the_folder_makes_nothing() {
        let above = tempfile::tempdir().unwrap();
        assert!(StateFolder::existing(&above.path().join("dev")).unwrap().is_none());
        assert_eq!(std::fs::read_dir(above.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_spool_is_empty_and_its_own_for_each_run() {
        let above = tempfile::tempdir().unwrap();
        let path = above.path().join("dev");
        std::fs::create_dir_all(path.join("spool/run-dead/below")).unwrap();
        std::fs::write(path.join("spool/run-dead/below/file"), b"left").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        let (first, second) = (StateFolder::open(&path).unwrap(), StateFolder::open(&path).unwrap());
        let one = first.spool().unwrap();
        std::fs::write(one.join("database"), b"in use").unwrap();
        let other = second.spool().unwrap();
        assert_ne!(one, other);
        assert_eq!(mode(&one), 0o700);
        assert_eq!(std::fs::read(one.join("database")).unwrap(), b"in use");
        assert_eq!(std::fs::read_dir(&other).unwrap().count(), 0);
        assert!(!path.join("spool/run-dead").exists());
        assert_eq!(first.spool().unwrap(), one);
        drop(first);
        assert!(!one.exists() && other.exists());
    }
}
