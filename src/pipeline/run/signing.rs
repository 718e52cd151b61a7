//! The key by which this host signs what it makes, and the check of what others signed.

use std::io::Read as _;
use std::path::Path;

use crate::archive::record::Record;
use crate::archive::signature;
use crate::crypto::note::{Signer, Verifier};
use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::fs::atomic;
use crate::limits;
use crate::pipeline::environment::Environment;
use crate::target::Target;

use super::backup::NO_BACKUP;
use super::stores::state_path;
use super::{Failure, Runner};

/// The file of the key, in the state folder.
const KEY: &str = "signing.key";

/// Reads the key of this host; `None` where it has none yet.
///
/// # Errors
/// When the file cannot be read or holds no key.
pub fn host_signer(state: &Path) -> std::io::Result<Option<Signer>> {
    let file = match std::fs::File::open(state.join(KEY)) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = zeroize::Zeroizing::new(String::new());
    file.take(limits::IDENTITY_MAX).read_to_string(&mut text)?;
    Signer::parse(&text).map(Some).map_err(std::io::Error::other)
}

/// Makes the key of this host.
fn make_signer(state: &Path, name: &str) -> std::io::Result<Signer> {
    let signer = Signer::generate(name).map_err(std::io::Error::other)?;
    let mut text = zeroize::Zeroizing::new(signer.text().expose().clone());
    text.push('\n');
    atomic::write(&state.join(KEY), 0o600, text.as_bytes())?;
    Ok(signer)
}

/// Who may have made a backup, where the environment says so.
fn signers(environment: &Environment) -> Vec<Verifier> {
    environment.signers.values().cloned().collect()
}

/// Checks who made a record; nothing where the environment does not say who may. With `trusting`, a record that none of them signed
/// is a warning, which is handed back.
///
/// # Errors
/// When none of them signed it, and that was not accepted.
pub async fn check_signed(
    environment: &Environment,
    target: &Target,
    (record, bytes): (&Record, &[u8]),
    trusting: bool,
) -> Result<Option<Diagnostic>, Diagnostic> {
    let trusted = signers(environment);
    if trusted.is_empty() {
        return Ok(None);
    }
    match signature::check(target, record, bytes, &trusted).await {
        Ok(_) => Ok(None),
        Err(error) => {
            let mut problem = Diagnostic::of(&error);
            if !trusting || problem.code != Code::Unsigned {
                return Err(problem);
            }
            problem.severity = Severity::Warning;
            Ok(Some(
                problem.state("it is used all the same, as `--trust-unsigned` says"),
            ))
        }
    }
}

impl Runner<'_> {
    /// The key that this host signs with; made when it first signs.
    pub(super) fn signer(&mut self) -> Result<Signer, Failure> {
        let state = state_path(self.plan);
        let failed = |error: std::io::Error| {
            vec![
                Diagnostic::error(
                    Code::StateFailed.unless_full(&error),
                    format!("`{KEY}` in the state folder cannot be used"),
                )
                .why(error.to_string())
                .state(NO_BACKUP)
                .help("bring it back from a copy, or remove it: a new key is made, and `[signers]` must name that one"),
            ]
        };
        if let Some(signer) = host_signer(&state).map_err(failed)? {
            return Ok(signer);
        }
        let signer = make_signer(&state, self.instance().as_str()).map_err(failed)?;
        self.evidence.signer_made(&signer.verifier().to_string())?;
        Ok(signer)
    }
}
