//! Who made a record: `backups/<env>/<id>.sig` is a signed note over the digest of the record's exact bytes.
//!
//! Sealing to a public key proves nothing about who wrote: anyone can seal. The signature does.

use crate::crypto::Digest;
use crate::crypto::note::{self, NoteError, Verifier};
use crate::diagnostic::{Code, Diagnose};
use crate::id::TargetName;
use crate::target::{Target, TargetError};

use super::layout;
use super::record::Record;

/// Bytes of a signature that are read: many signers fit.
const NOTE_MAX: usize = 16 << 10;

/// Why a record proves nothing about who made it.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// The target failed.
    #[error("target `{target}` cannot be used")]
    Target {
        /// Which.
        target: TargetName,
        /// Why.
        #[source]
        source: TargetError,
    },
    /// There is no signature.
    #[error("backup `{0}` is not signed")]
    Missing(crate::id::BackupId),
    /// There is one that does not count.
    #[error("backup `{id}` is not signed by anyone who is trusted")]
    Untrusted {
        /// The backup.
        id: crate::id::BackupId,
        /// Why.
        #[source]
        source: NoteError,
    },
    /// It is the signature of another record.
    #[error("the signature of backup `{0}` belongs to another record")]
    Other(crate::id::BackupId),
}

impl Diagnose for SignatureError {
    fn code(&self) -> Code {
        match self {
            Self::Target { source, .. } => source.code(),
            Self::Missing(_) | Self::Untrusted { .. } | Self::Other(_) => Code::Unsigned,
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::Target { source, .. } => source.help(),
            Self::Missing(_) | Self::Untrusted { .. } | Self::Other(_) => Some(
                "find out who wrote it: one of `[signers]` in the environment should have. A backup made before signing began, or by a \
                 host that has a new key, is used with `--trust-unsigned`"
                    .into(),
            ),
        }
    }
}

/// What is signed of a record whose bytes are these.
pub fn statement(record: &Record, bytes: &[u8]) -> String {
    let name = layout::record(&record.environment, &record.id);
    format!("strongroom backup\n{name}\nblake3 {}\n", Digest::of(bytes))
}

/// Whether a note is about this very record, whoever signed it.
pub fn is_of(note: &[u8], record: &Record, bytes: &[u8]) -> bool {
    let signed = format!("{}\n\u{2014} ", statement(record, bytes));
    note.starts_with(signed.as_bytes())
}

/// Checks that one of `trusted` signed the record; gives the signer's name.
///
/// # Errors
/// When nobody of them did, or the target fails.
pub async fn check(
    target: &Target,
    record: &Record,
    bytes: &[u8],
    trusted: &[Verifier],
) -> Result<String, SignatureError> {
    let failed = |source| SignatureError::Target {
        target: target.name().clone(),
        source,
    };
    let object = layout::signature(&record.environment, &record.id);
    let untrusted = |source| SignatureError::Untrusted {
        id: record.id.clone(),
        source,
    };
    let note = match target.read(&object, NOTE_MAX).await {
        Ok(note) => note,
        Err(TargetError::NotFound { .. }) => return Err(SignatureError::Missing(record.id.clone())),
        Err(TargetError::TooLarge { .. }) => return Err(untrusted(NoteError::Malformed)),
        Err(error) => return Err(failed(error)),
    };
    let note = std::str::from_utf8(&note).map_err(|_| untrusted(NoteError::Malformed))?;
    let (text, signer) = note::open(note, trusted).map_err(untrusted)?;
    if text != statement(record, bytes) {
        return Err(SignatureError::Other(record.id.clone()));
    }
    Ok(signer.name().to_owned())
}
