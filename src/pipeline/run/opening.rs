//! Who opens what is sealed: identities given on the command line or named by the environment, and the keys of epochs that they open.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::archive::epoch::{self, EpochError};
use crate::archive::keys::{EpochKeys, Opening};
use crate::archive::record::Record;
use crate::crypto::age::Identity;
use crate::diagnostic::{Code, Diagnostic};
use crate::limits;
use crate::pipeline::environment::Environment;
use crate::secret::{Secret, SecretRef};
use crate::target::Target;

use super::stores::Keys;

/// Opens backups, as far as the identities at hand do.
#[derive(Debug)]
pub struct Opener {
    /// A file given on the command line; it stands for what the environment says.
    file: Option<PathBuf>,
    reference: Option<SecretRef>,
    identities: Option<Vec<Identity>>,
    epochs: BTreeMap<String, Arc<EpochKeys>>,
}

impl Opener {
    /// With the file given on the command line, else with what the environment says. Nothing is read before it is needed.
    pub fn new(environment: &Environment, file: Option<&Path>) -> Self {
        Self {
            file: file.map(Path::to_owned),
            reference: environment.encryption.identity.clone(),
            identities: None,
            epochs: BTreeMap::new(),
        }
    }

    /// How the objects of the backup with this record are opened: with the very keys that it was made with, where it tells them
    /// from others.
    ///
    /// # Errors
    /// When there is no identity, or none opens the keys.
    pub async fn open_record(
        &mut self,
        targets: &[Target],
        record: &Record,
        keys: &mut Keys<'_>,
    ) -> Result<Opening, Diagnostic> {
        let Some(epoch) = record.epoch.as_deref() else {
            return Ok(Opening::Plain);
        };
        let check = record.epoch_check.as_deref();
        let opened = self.epochs.get(epoch).filter(|opened| opened.chunk_key.fits(check));
        if let Some(opened) = opened {
            return Ok(Opening::Epoch(Arc::clone(opened)));
        }
        let identities = self.identities(epoch, keys).await?;
        let mut problem = None;
        for target in targets {
            match epoch::find_keys(target, epoch, check, &identities).await {
                Ok(opened) => {
                    self.epochs.insert(epoch.to_owned(), Arc::clone(&opened));
                    return Ok(Opening::Epoch(opened));
                }
                Err(error) => problem = Some(error),
            }
        }
        Err(problem.map_or_else(|| no_identity(epoch), |error| self.not_opened(&error)))
    }

    /// The identities at hand.
    pub async fn identities(&mut self, epoch: &str, keys: &mut Keys<'_>) -> Result<Vec<Identity>, Diagnostic> {
        if let Some(identities) = &self.identities {
            return Ok(identities.clone());
        }
        let text = match (&self.file, &self.reference) {
            (Some(path), _) => read_file(path)?,
            (None, Some(reference)) => keys.resolve(reference).await.map_err(|error| Diagnostic::of(&error))?,
            (None, None) => return Err(no_identity(epoch)),
        };
        let identities = Identity::parse_all(text.expose()).map_err(|error| {
            Diagnostic::error(Code::KeyMissing, format!("{} is no age identity", self.given_by()))
                .why(error.to_string())
                .help(
                    "an identity is a line `AGE-SECRET-KEY-1…`, as `strongroom keys new` and `age-keygen` write it; one behind a \
                     passphrase is opened first: `age --decrypt FILE`",
                )
        })?;
        self.identities = Some(identities.clone());
        Ok(identities)
    }

    fn given_by(&self) -> String {
        self.file.as_ref().map_or_else(
            || "the `identity` that the environment names".to_owned(),
            |path| format!("`{}`", path.display()),
        )
    }

    fn not_opened(&self, error: &EpochError) -> Diagnostic {
        let code = match error {
            EpochError::Missing(_) | EpochError::NoMatch(_) => Code::KeyMissing,
            EpochError::Target { .. } => Code::TargetFailed,
            EpochError::Damaged(_) => Code::Damaged,
        };
        let diagnostic = Diagnostic::error(code, error.to_string());
        match error {
            EpochError::NoMatch(_) => diagnostic
                .why(format!("{} belongs to another recipient", self.given_by()))
                .help("give the identity of one of the recipients of then: `--identity FILE`"),
            EpochError::Missing(_) => diagnostic
                .why("the object `keys/…age` that holds them is gone, and no other opens these backups")
                .help("look whether another target has it, and copy it back"),
            EpochError::Damaged(_) => diagnostic
                .why("it was opened, and what it holds is not the keys that the backup was made with")
                .help("use another target, and keep this object as evidence"),
            EpochError::Target { source, .. } => diagnostic.why(source.to_string()),
        }
    }
}

fn no_identity(epoch: &str) -> Diagnostic {
    Diagnostic::error(Code::KeyMissing, "the backup is sealed, and no identity is given to open it")
        .why(format!("it is of epoch {epoch}, whose keys are sealed to the operators' recipients"))
        .help(
            "give the identity of one of them, `--identity FILE`, or name it as `identity` under `[encryption]` in the environment",
        )
}

fn read_file(path: &Path) -> Result<Secret<String>, Diagnostic> {
    let mut text = zeroize::Zeroizing::new(String::new());
    let read = std::fs::File::open(path).and_then(|file| file.take(limits::IDENTITY_MAX).read_to_string(&mut text));
    match read {
        Ok(_) => Ok(Secret::new(text.to_string())),
        Err(error) => Err(Diagnostic::error(
            Code::KeyMissing,
            format!("the identity in `{}` cannot be read", path.display()),
        )
        .why(error.to_string())
        .help("`--identity` takes the file that `strongroom keys new` or `age-keygen` wrote")),
    }
}
