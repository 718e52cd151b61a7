//! What makes a text secret: the name it stands behind, its look, and being equal to a value that the run knows.
//!
//! Redaction of files, the scrubber of everything printed and the masking of excerpts share this judgement.

pub mod keys;
pub mod known;
pub mod values;

mod forms;
mod words;

use serde::Serialize;

/// What a redacted text was; the name stands in the marker `[REDACTED:<rule>]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// Behind `password` and its like.
    Password,
    /// Behind `secret`.
    Secret,
    /// Behind `token` and its like.
    Token,
    /// Behind `api_key`, `access_key`, `private_key` and other named keys.
    Key,
    /// Behind `credentials`.
    Credential,
    /// Behind `auth`, `authorization`, and the header itself.
    Auth,
    /// Behind `cookie`.
    Cookie,
    /// Behind `dsn` and `connection_string`.
    Dsn,
    /// A webhook's address.
    Webhook,
    /// The password in a URL.
    Url,
    /// The body of a PEM block.
    PrivateKey,
    /// A hashed password.
    Hash,
    /// Behind a key that the operator named.
    Custom,
    /// The content of a file whose name is telling.
    File,
    /// A value that the run knows, in any of its forms.
    Known,
}

impl Rule {
    /// The rule's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Secret => "secret",
            Self::Token => "token",
            Self::Key => "key",
            Self::Credential => "credential",
            Self::Auth => "auth",
            Self::Cookie => "cookie",
            Self::Dsn => "dsn",
            Self::Webhook => "webhook",
            Self::Url => "url",
            Self::PrivateKey => "private-key",
            Self::Hash => "hash",
            Self::Custom => "custom",
            Self::File => "file",
            Self::Known => "known",
        }
    }

    /// What stands in the place of the redacted text.
    pub const fn marker(self) -> &'static str {
        match self {
            Self::Password => "[REDACTED:password]",
            Self::Secret => "[REDACTED:secret]",
            Self::Token => "[REDACTED:token]",
            Self::Key => "[REDACTED:key]",
            Self::Credential => "[REDACTED:credential]",
            Self::Auth => "[REDACTED:auth]",
            Self::Cookie => "[REDACTED:cookie]",
            Self::Dsn => "[REDACTED:dsn]",
            Self::Webhook => "[REDACTED:webhook]",
            Self::Url => "[REDACTED:url]",
            Self::PrivateKey => "[REDACTED:private-key]",
            Self::Hash => "[REDACTED:hash]",
            Self::Custom => "[REDACTED:custom]",
            Self::File => "[REDACTED:file]",
            Self::Known => "[REDACTED:known]",
        }
    }
}

/// The length of the redaction marker that `text` begins with; `None` where it begins with none.
pub fn marker_length(text: &[u8]) -> Option<usize> {
    let rest = text.strip_prefix(b"[REDACTED:")?;
    let end = rest
        .iter()
        .take(24)
        .position(|b| !b.is_ascii_lowercase() && *b != b'-')?;
    (end > 0 && rest.get(end) == Some(&b']')).then_some(b"[REDACTED:".len() + end + 1)
}

/// `text` with each redaction marker replaced by one `x`: what is left to judge.
pub fn without_markers(text: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    let mut rest = text;
    let mut out: Option<Vec<u8>> = None;
    let mut clean = 0;
    while let Some(&byte) = rest.get(clean) {
        if byte == b'['
            && let Some(length) = rest.get(clean..).and_then(marker_length)
        {
            let out = out.get_or_insert_default();
            out.extend_from_slice(rest.get(..clean).unwrap_or_default());
            out.push(b'x');
            rest = rest.get(clean + length..).unwrap_or_default();
            clean = 0;
        } else {
            clean += 1;
        }
    }
    match out {
        None => text.into(),
        Some(mut out) => {
            out.extend_from_slice(rest);
            out.into()
        }
    }
}
