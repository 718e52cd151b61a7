//! The key by which this host signs what it makes, and the check of what others signed.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;

use futures::StreamExt as _;

use crate::archive::record::Record;
use crate::archive::repository::{Backup, Lineage, Listing};
use crate::archive::signature::{self, SignatureError};
use crate::crypto::note::{Signer, Verifier};
use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::fs::atomic;
use crate::id::BackupId;
use crate::limits::{self, SURVEY_READS};
use crate::pipeline::Plan;
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

/// Whether one of `trusted` signed a backup, by what any of its targets says; else why it is not known to be so.
async fn is_signed(backup: &Backup, trusted: &[Verifier]) -> Result<(), SignatureError> {
    let mut error = SignatureError::Missing(backup.record.id.clone());
    for target in &backup.targets {
        match signature::check(target, &backup.record, &backup.bytes, trusted).await {
            Ok(_) => return Ok(()),
            // A target that does not answer leaves it open.
            Err(found) if !matches!(error, SignatureError::Target { .. }) => error = found,
            Err(_) => {}
        }
    }
    Err(error)
}

/// Which of these backups nobody of `[signers]` signed, as far as their targets say; none where the environment names nobody.
/// One read for each.
pub(super) async fn unsigned<'b>(
    environment: &Environment,
    backups: impl Iterator<Item = &'b Backup>,
) -> BTreeSet<BackupId> {
    unsigned_by(&signers(environment), backups).await
}

/// Which of these backups none of `trusted` signed, as far as their targets say; none where nobody is named. One read for each.
pub(super) async fn unsigned_by<'b>(
    trusted: &[Verifier],
    backups: impl Iterator<Item = &'b Backup>,
) -> BTreeSet<BackupId> {
    if trusted.is_empty() {
        return BTreeSet::new();
    }
    let checks = backups.map(|backup| async move {
        // Where the target does not say who made it, it is not counted, so that more stay.
        let error = is_signed(backup, trusted).await.err();
        error.map(|_| backup.record.id.clone())
    });
    let checked = futures::stream::iter(checks).buffer_unordered(SURVEY_READS);
    checked.filter_map(std::future::ready).collect().await
}

/// Whose backups a run of `plan` goes on from: `[signers]` and this host itself; nobody where the environment names nobody.
pub(super) fn trusted(plan: &Plan) -> Vec<Verifier> {
    let mut trusted = signers(plan.environment());
    if !trusted.is_empty() {
        // Without a key that can be read there will be no backup; that is told where it is needed.
        let own = host_signer(&state_path(plan)).ok().flatten();
        trusted.extend(own.map(|signer| signer.verifier()));
    }
    trusted
}

impl Runner<'_> {
    /// Takes out of a line what nobody trusted signed, from the newest down to the first that someone did: `[signers]` or this
    /// host itself. Nothing where the environment names nobody.
    ///
    /// # Errors
    /// When no target says who signed one: then it is not known which is the newest.
    pub(super) async fn distrust(&mut self, listing: &mut Listing, lineage: &Lineage) -> Result<(), Failure> {
        let trusted = trusted(self.plan);
        if trusted.is_empty() {
            return Ok(());
        }
        let mut newest_first: Vec<&Backup> = listing.line(lineage).collect();
        newest_first.sort_by(|a, b| b.rank().cmp(&a.rank()));
        let mut distrusted = Vec::new();
        for backup in newest_first {
            match is_signed(backup, &trusted).await {
                Ok(()) => break,
                Err(error @ SignatureError::Target { .. }) => {
                    return Err(vec![Diagnostic::of(&error).state(NO_BACKUP)]);
                }
                Err(_) => distrusted.push(backup.record.id.clone()),
            }
        }
        if let Some(newest) = distrusted.first() {
            self.warn(not_gone_on_from(newest, distrusted.len()));
        }
        listing.distrusted = distrusted.into_iter().collect();
        Ok(())
    }

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
        let (signer, made) = match host_signer(&state).map_err(failed)? {
            Some(signer) => (signer, Made::Before),
            None => (
                make_signer(&state, self.instance().as_str()).map_err(failed)?,
                Made::Now,
            ),
        };
        if made == Made::Now {
            self.evidence.signer_made(&signer.verifier().to_string())?;
        }
        if let Some(warning) = no_signer(self.plan.environment(), &signer.verifier(), made) {
            self.warn(warning);
        }
        Ok(signer)
    }
}

/// Since when a host has its key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    Before,
    Now,
}

/// The warning that what this host signs is trusted nowhere; nothing where the environment names nobody, or this host too.
pub(super) fn no_signer(environment: &Environment, own: &Verifier, made: Made) -> Option<Diagnostic> {
    let trusted = &environment.signers;
    if trusted.is_empty() || trusted.values().any(|one| one == own) {
        return None;
    }
    let what = "the key that this host signs with is none of `[signers]`: its backups are trusted by nobody";
    let why = match made {
        Made::Now => "the state folder had no `signing.key`, so a new one was made; was the state folder lost?",
        Made::Before => "`signing.key` in the state folder is not the key of any host that the environment names",
    };
    let state =
        "the backup is stored; a restore refuses it without `--trust-unsigned`, and no rule of retention counts it";
    Some(Diagnostic::warning(Code::SignerUnknown, what).why(why).state(state).help(format!(
        "where this is the right host, add its key to `[signers]` here and wherever backups are restored, and leave the others in: \
         `{} = \"{own}\"`",
        own.name()
    )))
}

fn not_gone_on_from(newest: &BackupId, count: usize) -> Diagnostic {
    let what = match count {
        1 => format!("backup `{newest}` is not signed by anyone who is trusted"),
        _ => format!(
            "backup `{newest}` and {} before it are not signed by anyone who is trusted",
            count - 1
        ),
    };
    Diagnostic::warning(Code::Unsigned, what)
        .why("the newest backup of this line should be one that this host or one of `[signers]` made")
        .state("this backup goes on from the newest that one of them signed, or from none")
        .help("find out who wrote them; what nobody should have put there goes with `strongroom forget`")
}
