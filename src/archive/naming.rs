//! How the objects of a backup are sealed, and how they come to their names.

use std::sync::Arc;

use crate::crypto::Digest;
use crate::crypto::age::{self, AgeError, Recipient};

use super::epoch::HostEpoch;
use super::sweep::doomed::Doomed;

/// How objects with content are sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sealing {
    /// Not at all.
    Open,
    /// To the key of an epoch.
    To(Recipient),
}

impl Sealing {
    /// To the key of an epoch, where there is one.
    pub fn of(epoch: Option<&HostEpoch>) -> Self {
        epoch.map_or(Self::Open, |epoch| Self::To(epoch.recipient))
    }

    /// What the object's name ends with, behind the codec's own suffix.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Open => "",
            Self::To(_) => ".age",
        }
    }

    /// Seals a whole object.
    pub fn seal(self, plain: Vec<u8>) -> Result<Vec<u8>, AgeError> {
        match self {
            Self::Open => Ok(plain),
            Self::To(recipient) => age::seal(&[recipient], &plain),
        }
    }
}

/// What decides the names of a backup's objects, beside what they hold.
#[derive(Clone, Debug)]
pub struct Naming {
    /// How they are sealed.
    pub sealing: Sealing,
    /// Names that no object must have. What is sealed is another object each time, so none that is doomed can have its name.
    pub doomed: Arc<Doomed>,
    /// What makes an object this backup's own where one of the same name is doomed.
    pub salt: String,
}

impl Naming {
    /// Seals a whole object and names it.
    pub fn seal(&self, plain: Vec<u8>, name: impl Fn(&Digest) -> String) -> Result<(String, Vec<u8>), AgeError> {
        let named = |stored: &[u8]| name(&Digest::of(stored)) + self.sealing.suffix();
        match self.sealing {
            Sealing::Open => Ok(self.doomed.avoid(plain, &self.salt, named)),
            Sealing::To(_) => {
                let sealed = self.sealing.seal(plain)?;
                Ok((named(&sealed), sealed))
            }
        }
    }
}
