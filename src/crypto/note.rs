//! Signed notes (C2SP signed-note) with Ed25519: a short text and who signed it, in one small file that other programs read as well.
//!
//! `<name>+<key id>+<base64>` is the form of a public key, `PRIVATE+KEY+…` that of a private one, as Go's `note` package writes them. The
//! key id is the first four bytes of SHA-256(name, newline, 0x01, public key).

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::secret::Secret;

/// The algorithm byte of Ed25519.
const ED25519_BYTE: u8 = 1;
const PRIVATE: &str = "PRIVATE+KEY+";

/// A text that is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAKey {
    /// Not a public key of a signer.
    #[error("it is not a signer's public key, `<name>+<8 hex digits>+<base64>`")]
    Public,
    /// Not a private key of a signer.
    #[error("it is not a signer's private key")]
    Private,
    /// Not a name that a signer can have.
    #[error("a signer's name has no space, no `+` and is not empty")]
    Name,
}

/// Why a note proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// It is not a signed note.
    #[error("it is not a signed note")]
    Malformed,
    /// None of the keys signed it.
    #[error("nobody who is trusted signed it")]
    Unknown,
    /// A signature under the name and id of a key is not by that key.
    #[error("its signature is wrong")]
    Wrong,
}

/// Who signs.
pub struct Signer {
    name: String,
    seed: Zeroizing<[u8; 32]>,
    pair: Ed25519KeyPair,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.name)
    }
}

/// Who is known to sign: the public half.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verifier {
    name: String,
    key: [u8; 32],
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '+' || c.is_control())
}

fn key_id(name: &str, key: &[u8; 32]) -> [u8; 4] {
    let mut hasher = Sha256::new();
    hasher.update(name.as_bytes());
    hasher.update([b'\n', ED25519_BYTE]);
    hasher.update(key);
    let digest = hasher.finalize();
    let mut id = [0; 4];
    id.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    id
}

impl Signer {
    /// Makes a new key under `name`.
    ///
    /// # Errors
    /// When a signer cannot have that name, or the system has no randomness.
    pub fn generate(name: &str) -> Result<Self, NotAKey> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut()).map_err(|_| NotAKey::Private)?;
        Self::new(name, seed)
    }

    fn new(name: &str, seed: Zeroizing<[u8; 32]>) -> Result<Self, NotAKey> {
        if !is_name(name) {
            return Err(NotAKey::Name);
        }
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_ref()).map_err(|_| NotAKey::Private)?;
        Ok(Self {
            name: name.to_owned(),
            seed,
            pair,
        })
    }

    /// The public half.
    pub fn verifier(&self) -> Verifier {
        let mut key = [0; 32];
        key.iter_mut()
            .zip(self.pair.public_key().as_ref())
            .for_each(|(to, from)| *to = *from);
        Verifier {
            name: self.name.clone(),
            key,
        }
    }

    /// The key as text, for the file that keeps it.
    pub fn text(&self) -> Secret<String> {
        let mut data = Zeroizing::new(vec![ED25519_BYTE]);
        data.extend_from_slice(self.seed.as_ref());
        let id = hex::encode(key_id(&self.name, &self.verifier().key));
        Secret::new(format!("{PRIVATE}{}+{id}+{}", self.name, BASE64.encode(&*data)))
    }

    /// Reads the text of a key.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, NotAKey> {
        let rest = text.trim().strip_prefix(PRIVATE).ok_or(NotAKey::Private)?;
        let mut parts = rest.splitn(3, '+');
        let (Some(name), Some(id), Some(data)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NotAKey::Private);
        };
        let data = Zeroizing::new(BASE64.decode(data).map_err(|_| NotAKey::Private)?);
        let Some((&ED25519_BYTE, seed)) = data.split_first() else {
            return Err(NotAKey::Private);
        };
        let seed: [u8; 32] = seed.try_into().map_err(|_| NotAKey::Private)?;
        let signer = Self::new(name, Zeroizing::new(seed))?;
        let fits = hex::encode(key_id(name, &signer.verifier().key)) == id;
        fits.then_some(signer).ok_or(NotAKey::Private)
    }

    /// Signs `text`, which ends with a newline: the whole note.
    pub fn sign(&self, text: &str) -> String {
        let signature = self.pair.sign(text.as_bytes());
        let mut data = key_id(&self.name, &self.verifier().key).to_vec();
        data.extend_from_slice(signature.as_ref());
        format!("{text}\n\u{2014} {} {}\n", self.name, BASE64.encode(data))
    }
}

impl Verifier {
    /// The signer's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = hex::encode(key_id(&self.name, &self.key));
        let mut data = vec![ED25519_BYTE];
        data.extend_from_slice(&self.key);
        write!(f, "{}+{id}+{}", self.name, BASE64.encode(data))
    }
}

impl FromStr for Verifier {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<Self, NotAKey> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(data)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NotAKey::Public);
        };
        let data = BASE64.decode(data).map_err(|_| NotAKey::Public)?;
        let Some((&ED25519_BYTE, key)) = data.split_first() else {
            return Err(NotAKey::Public);
        };
        let key: [u8; 32] = key.try_into().map_err(|_| NotAKey::Public)?;
        let fits = is_name(name) && hex::encode(key_id(name, &key)) == id;
        let verifier = Self {
            name: name.to_owned(),
            key,
        };
        fits.then_some(verifier).ok_or(NotAKey::Public)
    }
}

impl Serialize for Verifier {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Verifier {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Verifier {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Verifier".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[^+\\s]+\\+[0-9a-f]{8}\\+[A-Za-z0-9+/]{44}$" })
    }
}

/// The text of a note that one of `trusted` signed, and whose signature it is.
///
/// # Errors
/// When it is no note, when none of them signed it, or when a signature that claims to be theirs is not.
pub fn open<'n, 'v>(note: &'n str, trusted: &'v [Verifier]) -> Result<(&'n str, &'v Verifier), NoteError> {
    let at = note.rfind("\n\n").ok_or(NoteError::Malformed)?;
    let (text, signatures) = note.split_at_checked(at + 1).ok_or(NoteError::Malformed)?;
    let signatures = signatures.strip_prefix('\n').unwrap_or_default();
    if !signatures.ends_with('\n') {
        return Err(NoteError::Malformed);
    }
    let mut found = Err(NoteError::Unknown);
    for line in signatures.lines() {
        let rest = line.strip_prefix("\u{2014} ").ok_or(NoteError::Malformed)?;
        let (name, data) = rest.split_once(' ').ok_or(NoteError::Malformed)?;
        let data = BASE64.decode(data).map_err(|_| NoteError::Malformed)?;
        let (id, signature) = data.split_first_chunk::<4>().ok_or(NoteError::Malformed)?;
        let claimed = |v: &&Verifier| v.name == name && key_id(&v.name, &v.key) == *id;
        let Some(verifier) = trusted.iter().find(claimed) else {
            continue;
        };
        let key = UnparsedPublicKey::new(&ED25519, verifier.key);
        if key.verify(text.as_bytes(), signature).is_err() {
            return Err(NoteError::Wrong);
        }
        found = Ok((text, verifier));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_opens_for_who_trusts_its_signer_and_for_nobody_else() {
        let signer = Signer::generate("web1").unwrap();
        let other = Signer::generate("web1").unwrap();
        let note = signer.sign("one\ntwo\n");
        let trusted = [other.verifier(), signer.verifier()];
        let (text, by) = open(&note, &trusted).unwrap();
        assert_eq!((text, by.name()), ("one\ntwo\n", "web1"));
        assert_eq!(open(&note, &[other.verifier()]), Err(NoteError::Unknown));
        assert_eq!(open(&note.replace("two", "tWo"), &trusted), Err(NoteError::Wrong));
        for cut in 0..note.len() {
            if note.is_char_boundary(cut) {
                assert!(open(&note[..cut], &trusted).is_err(), "{cut}");
            }
        }
    }

    #[test]
    fn keys_read_back_and_the_private_one_is_never_printed() {
        let signer = Signer::generate("web1").unwrap();
        let again = Signer::parse(signer.text().expose()).unwrap();
        assert_eq!(again.verifier(), signer.verifier());
        let public = signer.verifier().to_string();
        assert_eq!(public.parse(), Ok(signer.verifier()));
        assert!(!format!("{signer:?}").contains("PRIVATE"));
        assert_eq!(public.replace("web1", "web2").parse::<Verifier>(), Err(NotAKey::Public));
        assert!(Signer::generate("a b").is_err() && Signer::generate("").is_err());
    }

    /// The example of the Go documentation of `golang.org/x/mod/sumdb/note`.
    #[test]
    fn a_key_of_another_program_is_read_and_its_note_opens() {
        let key: Verifier = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
            .parse()
            .unwrap();
        let note = "If you think cryptography is the answer to your problem,\n\
                    then you don't know what your problem is.\n\
                    \n\
                    \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
        let trusted = [key];
        assert!(open(note, &trusted).is_ok());
    }
}
