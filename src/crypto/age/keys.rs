//! The two halves of an X25519 key as age writes them: `age1…` for whom something is sealed to, `AGE-SECRET-KEY-1…` for who opens it.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use aws_lc_rs::agreement;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{AgeError, random};
use crate::crypto::bech32;
use crate::secret::Secret;

const RECIPIENT: &str = "age";
const IDENTITY: &str = "age-secret-key-";

/// A text that is not a key. The text itself is not in the error: it may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAKey {
    /// Not a recipient.
    #[error("not an age recipient (`age1…`, 62 characters, X25519)")]
    Recipient,
    /// Not an identity.
    #[error("not an age identity (`AGE-SECRET-KEY-1…`, X25519)")]
    Identity,
}

/// Whom something is sealed to: an X25519 public key, `age1…`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Recipient([u8; 32]);

impl Recipient {
    pub(super) const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bech32::encode(RECIPIENT, &self.0))
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipient({self})")
    }
}

impl FromStr for Recipient {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<Self, NotAKey> {
        let data = bech32::decode(RECIPIENT, text).ok_or(NotAKey::Recipient)?;
        data.try_into().map(Self).map_err(|_| NotAKey::Recipient)
    }
}

impl Serialize for Recipient {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Recipient {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Recipient {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Recipient".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^age1[02-9ac-hj-np-z]{58}$" })
    }
}

/// Who opens what is sealed: an X25519 private key. Wiped when dropped, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity(Zeroizing<[u8; 32]>);

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity(of {})", self.recipient())
    }
}

impl Identity {
    /// Makes a new key.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate() -> Result<Self, AgeError> {
        let mut bytes = Zeroizing::new([0; 32]);
        random(bytes.as_mut())?;
        Ok(Self(bytes))
    }

    /// The public half.
    pub fn recipient(&self) -> Recipient {
        // Any 32 bytes are a private key, so the empty one is never given.
        let public = self
            .private()
            .and_then(|key| key.compute_public_key().map_err(|_| AgeError::Header));
        let bytes = public.ok().and_then(|key| key.as_ref().try_into().ok());
        Recipient(bytes.unwrap_or([0; 32]))
    }

    /// The key as text, `AGE-SECRET-KEY-1…`.
    pub fn text(&self) -> Secret<String> {
        let text = Zeroizing::new(bech32::encode(IDENTITY, self.0.as_ref()));
        Secret::new(text.to_ascii_uppercase())
    }

    /// Reads every key of a text as `age-keygen` writes it: a key a line, beside comments and empty lines.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, NotAKey> {
        let lines = text.lines().map(str::trim);
        let keys: Result<Vec<Self>, NotAKey> = lines
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(str::parse)
            .collect();
        keys.and_then(|keys| {
            if keys.is_empty() {
                Err(NotAKey::Identity)
            } else {
                Ok(keys)
            }
        })
    }

    fn private(&self) -> Result<agreement::PrivateKey, AgeError> {
        agreement::PrivateKey::from_private_key(&agreement::X25519, self.0.as_ref()).map_err(|_| AgeError::Header)
    }

    /// The secret shared with `public`; an error where it would be all zeros.
    pub(super) fn agree(&self, public: &[u8; 32]) -> Result<Zeroizing<[u8; 32]>, AgeError> {
        let peer = agreement::UnparsedPublicKey::new(&agreement::X25519, public);
        agreement::agree(&self.private()?, peer, AgeError::Header, |shared| {
            let shared: [u8; 32] = shared.try_into().map_err(|_| AgeError::Header)?;
            Ok(Zeroizing::new(shared))
        })
    }
}

impl FromStr for Identity {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<Self, NotAKey> {
        let data = Zeroizing::new(bech32::decode(IDENTITY, text).ok_or(NotAKey::Identity)?);
        let bytes: [u8; 32] = data.as_slice().try_into().map_err(|_| NotAKey::Identity)?;
        Ok(Self(Zeroizing::new(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_back_and_a_key_is_never_printed() {
        let identity = Identity::generate().unwrap();
        let text = identity.text();
        assert_eq!(text.expose().parse(), Ok(identity.clone()));
        let recipient = identity.recipient();
        assert_eq!(recipient.to_string().parse(), Ok(recipient));
        assert_eq!(recipient.to_string().len(), 62);
        let shown = format!("{identity:?}");
        assert!(!shown.contains("SECRET") && shown.contains(&recipient.to_string()));
    }

    #[test]
    fn the_two_kinds_are_never_taken_for_one_another() {
        let identity = Identity::generate().unwrap();
        assert_eq!(identity.text().expose().parse::<Recipient>(), Err(NotAKey::Recipient));
        assert_eq!(
            identity.recipient().to_string().parse::<Identity>(),
            Err(NotAKey::Identity)
        );
    }

    #[test]
    fn a_key_file_may_hold_comments_and_several_keys() {
        let (one, two) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        let text = format!("# created: today\n\n{}\n{}\n", one.text().expose(), two.text().expose());
        assert_eq!(Identity::parse_all(&text), Ok(vec![one, two]));
        assert_eq!(Identity::parse_all("# nothing\n"), Err(NotAKey::Identity));
    }
}
