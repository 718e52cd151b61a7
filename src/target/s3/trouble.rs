//! What can be the matter with a store, and what the operator does about it.

/// What is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The access key id is not known there.
    UnknownKey,
    /// The signature does not fit: the secret access key is wrong.
    WrongSecret,
    /// The session token is wrong or too old.
    Token,
    /// The clocks differ too much.
    Clock,
    /// There is no such bucket.
    NoBucket,
    /// The bucket lies in another region.
    Region,
    /// The key may not do that.
    Denied,
    /// No space or no quota left.
    Full,
    /// The store has too much to do.
    Busy,
    /// The store cannot do that at all.
    NotBuilt,
    /// A safe connection cannot be made.
    Tls,
    /// No connection.
    Unreachable,
    /// No answer.
    Silent,
    /// Anything else.
    Other,
}

impl Trouble {
    /// What went wrong, in a sentence.
    pub(in crate::target) fn sentence(self, target: &str, object: &str) -> String {
        match self {
            Self::UnknownKey => format!("target `{target}` does not know the access key"),
            Self::WrongSecret => format!("target `{target}` refuses the signature: the secret access key is wrong"),
            Self::Token => format!("target `{target}` refuses the session token"),
            Self::Clock => format!("the clocks of this host and of target `{target}` differ too much"),
            Self::NoBucket => format!("the bucket of target `{target}` does not exist"),
            Self::Region => format!("the bucket of target `{target}` lies in another region"),
            Self::Denied => format!("target `{target}` refuses access to `{object}`"),
            Self::Full => format!("no space left in target `{target}` for `{object}`"),
            Self::Busy => format!("target `{target}` has too much to do"),
            Self::NotBuilt => format!("target `{target}` cannot do what `{object}` needs"),
            Self::Tls => format!("no safe connection to target `{target}` can be made"),
            Self::Unreachable => format!("target `{target}` cannot be reached"),
            Self::Silent => format!("target `{target}` does not answer"),
            Self::Other => format!("target `{target}` failed at `{object}`"),
        }
    }

    /// What to do.
    pub(in crate::target) fn remedy(self, target: &str) -> String {
        match self {
            Self::UnknownKey => format!(
                "correct the value behind `access-key-id` of target `{target}`, or see whether the key was removed or belongs \
             to another store than `endpoint` names"
            ),
            Self::WrongSecret => format!(
                "copy the value behind `secret-access-key` of target `{target}` anew; it belongs to the key that \
             `access-key-id` names"
            ),
            Self::Token => {
                "get a new temporary key with its token, or use a permanent key without `session-token`".into()
            }
            Self::Clock => "set the clock of this host (`timedatectl`, an NTP service), then run again".into(),
            Self::NoBucket => format!(
                "create the bucket that `url` of target `{target}` names, or correct the name; this program creates no bucket"
            ),
            Self::Region => format!("set `region` of target `{target}` to the bucket's own"),
            Self::Denied => format!(
                "let the key of target `{target}` list the bucket and read, write and delete below its prefix: \
             docs/DATA_MANAGEMENT.md has the policy"
            ),
            Self::Full => format!("free space in the bucket of target `{target}` or raise its quota, then run again"),
            Self::Busy => "run again later; where it lasts, back up at another hour or ask the store's operator".into(),
            Self::NotBuilt => format!("use another store for target `{target}`"),
            Self::Tls => format!(
                "where the store has a certificate of its own authority, name it by `ca-file` of target `{target}`; else see \
             that `endpoint` is the right address and its certificate is valid"
            ),
            Self::Unreachable => format!(
                "see that `endpoint` of target `{target}` is right, that the store runs and that nothing on the way blocks it"
            ),
            Self::Silent => {
                format!("see how the store of target `{target}` fares; where the line is slow, raise its `timeout`")
            }
            Self::Other => format!("see how the store of target `{target}` fares, then run again"),
        }
    }
}
