//! What can go wrong with a target, told apart by what the operator has to do.

use std::error::Error;
use std::io;

use super::s3::said::Said;
use super::s3::trouble::Trouble;
use super::{Backend, Target};
use crate::diagnostic::{Code, Diagnose};
use crate::units::ByteCount;

/// Why something with a target failed. An empty `object` is the target's own folder.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The object is not there.
    #[error("target `{target}` has no object `{object}`")]
    NotFound {
        /// Target.
        target: String,
        /// Object.
        object: String,
    },
    /// An object of this name is there already.
    #[error("target `{target}` already has an object `{object}`")]
    Existed {
        /// Target.
        target: String,
        /// Object.
        object: String,
    },
    /// No space or no quota left.
    #[error("no space left in target `{target}` for `{object}`")]
    DiskFull {
        /// Target.
        target: String,
        /// Object.
        object: String,
        /// What the store said.
        source: io::Error,
    },
    /// The store does not allow it.
    #[error("target `{target}` refuses access to `{object}`")]
    Denied {
        /// Target.
        target: String,
        /// Object.
        object: String,
        /// What the store said.
        source: io::Error,
    },
    /// The object is larger than its reader takes.
    #[error("`{object}` in target `{target}` has {}, more than the {} that such an object may have", ByteCount(*.size), ByteCount(*.limit))]
    TooLarge {
        /// Target.
        target: String,
        /// Object.
        object: String,
        /// Its bytes.
        size: u64,
        /// The bytes that its reader takes.
        limit: u64,
    },
    /// The store gave another number of bytes than it should have.
    #[error("`{object}` in target `{target}` gave {found} bytes where {expected} were expected")]
    WrongLength {
        /// Target.
        target: String,
        /// Object.
        object: String,
        /// Bytes that came, or would have come.
        found: u64,
        /// Bytes that should have come.
        expected: u64,
    },
    /// The store cannot be reached, or reading or writing failed.
    #[error("target `{target}` failed at `{object}`")]
    Failed {
        /// Target.
        target: String,
        /// Object.
        object: String,
        /// What the store said.
        source: io::Error,
    },
    /// A store on the network refused, or could not be asked.
    #[error("{}", said.trouble().sentence(.target, .object))]
    Store {
        /// Target.
        target: String,
        /// Object.
        object: String,
        /// What the store said.
        #[source]
        said: Said,
    },
    /// The HTTP client cannot be made.
    #[error("the network client of a target cannot be made: {0}")]
    NoClient(String),
    /// A name that no object can have.
    #[error("`{object}` cannot be the name of an object in target `{target}`")]
    BadName {
        /// Target.
        target: String,
        /// What was asked for, escaped.
        object: String,
    },
    /// A URL of a kind that there is no backend for.
    #[error("no backend for target URLs that begin with `{scheme}:`")]
    UnknownScheme {
        /// What stands before the colon.
        scheme: String,
        /// The schemes that exist.
        known: Vec<&'static str>,
    },
    /// A setting that this kind of target does not have.
    #[error("a `{scheme}:` target has no `{key}`")]
    StrangeSetting {
        /// The key.
        key: &'static str,
        /// The kind of target.
        scheme: &'static str,
    },
    /// A setting that this kind of target cannot do without.
    #[error("an `s3:` target needs `{key}`")]
    MissingSetting {
        /// The key.
        key: &'static str,
    },
    /// A setting whose value does not do.
    #[error("`{key}` of the target cannot be used: {why}")]
    BadSetting {
        /// The key.
        key: &'static str,
        /// What is wrong with it.
        why: &'static str,
        /// How to write it.
        help: &'static str,
    },
    /// A URL that does not fit its scheme. The URL is not repeated where it may hold a password.
    #[error("the target's URL {shown}cannot be used: {why}")]
    BadUrl {
        /// The URL in backticks and a space behind it, or nothing.
        shown: String,
        /// What is wrong with it.
        why: &'static str,
        /// How to write it.
        help: &'static str,
    },
}

impl TargetError {
    /// Sorts what a store said by what is to be done about it.
    pub(super) fn of_store(target: &Target, object: &str, error: object_store::Error) -> Self {
        use object_store::Error as Store;
        let (target_name, object_name) = names(target, object);
        if matches!(target.0.backend, Backend::S3(_)) && matches!(error, Store::Generic { .. }) {
            return Self::of_said(target, object, Said::of(&error));
        }
        match error {
            Store::NotFound { .. } => Self::NotFound {
                target: target_name,
                object: object_name,
            },
            Store::AlreadyExists { .. } => Self::Existed {
                target: target_name,
                object: object_name,
            },
            Store::PermissionDenied { source, .. } | Store::Unauthenticated { source, .. } => Self::Denied {
                target: target_name,
                object: object_name,
                source: innermost(source),
            },
            Store::Generic { source, .. }
            | Store::NotSupported { source }
            | Store::Precondition { source, .. }
            | Store::NotModified { source, .. } => Self::of_io(target, object, innermost(source)),
            other => Self::of_io(target, object, innermost(Box::new(other))),
        }
    }

    /// Sorts what a store on the network said.
    fn of_said(target: &Target, object: &str, said: Said) -> Self {
        let (target, object) = names(target, object);
        if said.trouble() == Trouble::Full {
            let source = io::Error::other(said);
            return Self::DiskFull { target, object, source };
        }
        Self::Store { target, object, said }
    }

    /// Sorts what the operating system said by what is to be done about it.
    pub(super) fn of_io(target: &Target, object: &str, source: io::Error) -> Self {
        let (target, object) = names(target, object);
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { target, object, source },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::Denied { target, object, source }
            }
            _ => Self::Failed { target, object, source },
        }
    }

    pub(super) fn too_large(target: &Target, object: &str, size: u64, limit: usize) -> Self {
        let (target, object) = names(target, object);
        Self::TooLarge {
            target,
            object,
            size,
            limit: limit as u64,
        }
    }

    pub(super) fn wrong_length(target: &Target, object: &str, found: u64, expected: u64) -> Self {
        let (target, object) = names(target, object);
        Self::WrongLength {
            target,
            object,
            found,
            expected,
        }
    }

    pub(super) fn bad_name(target: &Target, object: &str) -> Self {
        let (target, object) = names(target, &object.escape_debug().to_string());
        Self::BadName { target, object }
    }

    /// Whether the same call may succeed at another time or with another target: everything but what is wrong in itself.
    pub fn is_of_the_store(&self) -> bool {
        match self {
            Self::DiskFull { .. } | Self::Denied { .. } | Self::Failed { .. } | Self::Store { .. } => true,
            Self::NotFound { .. }
            | Self::Existed { .. }
            | Self::TooLarge { .. }
            | Self::WrongLength { .. }
            | Self::BadName { .. }
            | Self::NoClient(_)
            | Self::UnknownScheme { .. }
            | Self::StrangeSetting { .. }
            | Self::MissingSetting { .. }
            | Self::BadSetting { .. }
            | Self::BadUrl { .. } => false,
        }
    }

    /// Whether the target is not there at all, though whatever holds it answers.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Store { said, .. } if said.trouble() == Trouble::NoBucket)
    }
}

fn names(target: &Target, object: &str) -> (String, String) {
    let object = if object.is_empty() { "its own folder" } else { object };
    (target.name().to_string(), object.to_owned())
}

/// The operating system's own error where there is one: its text is short and its kind tells a full disk.
fn innermost(error: Box<dyn Error + Send + Sync>) -> io::Error {
    match error.downcast::<io::Error>() {
        Ok(error) => *error,
        Err(error) => {
            let mut cause: Option<&(dyn Error + 'static)> = Some(error.as_ref());
            while let Some(inner) = cause {
                if let Some(found) = inner.downcast_ref::<io::Error>() {
                    return found.raw_os_error().map_or_else(
                        || io::Error::new(found.kind(), found.to_string()),
                        io::Error::from_raw_os_error,
                    );
                }
                cause = inner.source();
            }
            io::Error::other(error)
        }
    }
}

impl Diagnose for TargetError {
    fn code(&self) -> Code {
        match self {
            Self::NotFound { .. } | Self::TooLarge { .. } | Self::WrongLength { .. } => Code::Damaged,
            Self::Existed { .. }
            | Self::Denied { .. }
            | Self::Failed { .. }
            | Self::Store { .. }
            | Self::NoClient(_) => Code::TargetFailed,
            Self::DiskFull { .. } => Code::DiskFull,
            Self::BadName { .. } => Code::Internal,
            Self::UnknownScheme { .. } | Self::BadSetting { .. } | Self::BadUrl { .. } => Code::InvalidValue,
            Self::StrangeSetting { .. } => Code::UnknownKey,
            Self::MissingSetting { .. } => Code::MissingKey,
        }
    }

    fn why(&self) -> Option<String> {
        match self {
            Self::Existed { .. } => Some("a target never overwrites what it holds".into()),
            Self::StrangeSetting { .. } => {
                Some("a folder needs none, and a setting without effect would mislead".into())
            }
            Self::MissingSetting { .. } => {
                Some("each request to a store is signed; a store that takes unsigned ones is open to everyone".into())
            }
            Self::BadName { .. } => Some(
                "parts of a name are joined by `/`; none is empty, `.` or `..`, longer than 255 bytes, begins with \
                 `.tmp-` or holds a control character or a backslash"
                    .into(),
            ),
            _ => None,
        }
    }

    fn state(&self) -> Option<String> {
        match self {
            Self::Existed { .. } => Some("the object that was there is as it was".into()),
            Self::DiskFull { target, object, .. } => Some(format!(
                "nothing of `{object}` is kept; what target `{target}` held before is as it was"
            )),
            Self::BadName { .. }
            | Self::NoClient(_)
            | Self::UnknownScheme { .. }
            | Self::StrangeSetting { .. }
            | Self::MissingSetting { .. }
            | Self::BadSetting { .. }
            | Self::BadUrl { .. } => Some("nothing was started".into()),
            Self::NotFound { .. }
            | Self::Denied { .. }
            | Self::TooLarge { .. }
            | Self::WrongLength { .. }
            | Self::Store { .. }
            | Self::Failed { .. } => None,
        }
    }

    fn help(&self) -> Option<String> {
        Some(match self {
            Self::NotFound { .. } | Self::TooLarge { .. } | Self::WrongLength { .. } => {
                "the object was removed, cut or changed behind this program's back: take the backup from another \
                 target or choose another one, and look into who writes there"
                    .into()
            }
            Self::Existed { .. } => "run again: each run has names of its own".into(),
            Self::DiskFull { target, .. } => format!(
                "free space where target `{target}` lies, or let its URL point to a larger disk, then run again"
            ),
            Self::Denied { target, .. } => format!(
                "run as the user that owns the folder of target `{target}`, or give this one the right to read and \
                 write there"
            ),
            Self::Failed { target, .. } => {
                format!("see that the disk of target `{target}` is mounted and answers, then run again")
            }
            Self::Store { target, said, .. } => said.trouble().remedy(target),
            Self::NoClient(_) => "see that the system's certificates are installed (Debian: `ca-certificates`)".into(),
            Self::StrangeSetting { key, .. } => {
                format!("remove `{key}`; it is for targets whose `url` begins with `s3:`")
            }
            Self::MissingSetting { key } => {
                format!("add `{key} = {{ secret = \"NAME\" }}` and put the value into the environment's secret file")
            }
            Self::BadSetting { help, .. } => (*help).to_owned(),
            Self::BadName { .. } => "this is a fault of the program: report it with the run id".into(),
            Self::UnknownScheme { known, .. } => {
                let known: Vec<String> = known.iter().map(|scheme| format!("`{scheme}:`")).collect();
                format!("the schemes that exist: {}", known.join(", "))
            }
            Self::BadUrl { help, .. } => (*help).to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        Target::memory("local".parse().unwrap())
    }

    fn of(errno: rustix::io::Errno) -> TargetError {
        let source = Box::new(io::Error::from(errno));
        TargetError::of_store(&target(), "a/b", object_store::Error::Generic { store: "file", source })
    }

    #[test]
    fn no_space_and_no_quota_are_a_full_disk() {
        for errno in [rustix::io::Errno::NOSPC, rustix::io::Errno::DQUOT] {
            let error = of(errno);
            assert!(matches!(error, TargetError::DiskFull { .. }), "{error:?}");
            assert_eq!(error.code(), Code::DiskFull);
            assert!(
                error.to_string().contains("`local`") && error.to_string().contains("`a/b`"),
                "{error}"
            );
        }
    }

    #[test]
    fn an_error_does_not_repeat_its_source() {
        let error = of(rustix::io::Errno::IO);
        assert!(!error.to_string().contains("os error"), "{error}");
        assert!(
            error
                .source()
                .is_some_and(|source| source.to_string().contains("os error 5"))
        );
    }

    #[test]
    fn a_read_only_disk_is_access_denied() {
        assert!(matches!(of(rustix::io::Errno::ROFS), TargetError::Denied { .. }));
    }
}
