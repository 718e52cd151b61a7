//! The targets and the state folder of an environment, opened.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::diagnostic::{Code, Diagnostic};
use crate::id::{EnvName, TargetName};
use crate::limits;
use crate::pipeline::Plan;
use crate::pipeline::environment::Environment;
use crate::secret::{Secret, SecretRef};
use crate::secrets::{Origins, SecretError, Store};
use crate::target::ledger::Ledger;
use crate::target::{Access, Target, TargetSettings};

use super::{Context, Failure};

/// The state folder of a plan's environment.
pub(super) fn state_path(plan: &Plan) -> PathBuf {
    state_of(plan.environment(), plan.project(), plan.environment_name())
}

/// The state folder of an environment: what it says, else `.strongroom/<name>` below the project folder.
pub fn state_of(environment: &Environment, project: &Path, name: &EnvName) -> PathBuf {
    match &environment.state {
        Some(path) => project.join(path),
        None => project.join(".strongroom").join(name.as_str()),
    }
}

/// Where the secrets of an environment come from.
pub(super) fn origins(environment: &Environment, project: &Path, context: &Context) -> Origins {
    Origins {
        file: environment.secrets.as_ref().map(|secrets| project.join(&secrets.file)),
        folder: project.to_owned(),
        environment: context.variables.clone(),
        scrubber: context.scrubber.clone(),
    }
}

/// Where the keys of targets come from. A secret file that no target refers to is not read.
pub enum Keys<'s> {
    /// From secrets that are open.
    Known(&'s mut Store),
    /// From secrets that are opened when the first key is needed.
    Unread(Origins),
    /// From secrets that were opened for a key.
    Read(Store),
}

impl Keys<'_> {
    /// The keys of an environment, none of them read yet.
    pub fn unread(environment: &Environment, project: &Path, context: &Context) -> Self {
        Self::Unread(origins(environment, project, context))
    }

    /// Reads a secret.
    pub(super) async fn resolve(&mut self, reference: &SecretRef) -> Result<Secret<String>, SecretError> {
        if let Self::Unread(origins) = self {
            *self = Self::Read(Store::open(std::mem::take(origins))?);
        }
        match self {
            Self::Known(store) => store.resolve(reference).await,
            Self::Read(store) => store.resolve(reference).await,
            Self::Unread(origins) => Store::open(origins.clone())?.resolve(reference).await,
        }
    }
}

/// Targets that are open, and those that could not be opened.
pub struct Opened {
    /// Ready to be used; no connection was made yet.
    pub targets: Vec<Target>,
    /// Named with the reason.
    pub failed: Vec<(TargetName, Diagnostic)>,
}

impl Opened {
    /// The targets, and what is wrong with the others as warnings.
    pub fn with_warnings(self) -> (Vec<Target>, Vec<Diagnostic>) {
        let warnings = self.failed.into_iter().map(|(name, mut problem)| {
            problem.severity = crate::diagnostic::Severity::Warning;
            problem.what = format!("target `{name}` is left out: {}", problem.what);
            problem.state("the other targets are used")
        });
        (self.targets, warnings.collect())
    }
}

/// Opens targets of an environment: those of `named` (all where it is empty) that are also among `only` (all where empty).
/// Reads their keys.
///
/// # Errors
/// When a name is not a target of the environment, or none of them can be opened.
pub async fn open_targets(
    environment: &Environment,
    project: &Path,
    (named, only): (&[TargetName], &[TargetName]),
    keys: &mut Keys<'_>,
    ledger: Option<&Arc<Ledger>>,
) -> Result<Opened, Failure> {
    let chosen = choose(environment, named, only)?;
    let (mut targets, mut failed) = (Vec::new(), Vec::new());
    for (name, settings) in chosen {
        match open(name, settings, project, keys, ledger).await {
            Ok(target) => targets.push(target),
            Err(problem) => failed.push((name.clone(), *problem)),
        }
    }
    if targets.is_empty() {
        return Err(failed.into_iter().map(|(_, problem)| problem).collect());
    }
    Ok(Opened { targets, failed })
}

async fn open(
    name: &TargetName,
    settings: &TargetSettings,
    project: &Path,
    keys: &mut Keys<'_>,
    ledger: Option<&Arc<Ledger>>,
) -> Result<Target, Box<Diagnostic>> {
    let mut values = [None, None, None];
    for (value, reference) in values.iter_mut().zip(settings.references()) {
        if let Some(reference) = reference {
            let resolved = keys.resolve(reference).await;
            *value = Some(resolved.map_err(|error| Box::new(Diagnostic::of(&error)))?);
        }
    }
    let [access_key_id, secret_access_key, session_token] = values;
    let certificates = settings.ca_file.as_ref().map(|path| certificates(&project.join(path)));
    let access = Access {
        access_key_id,
        secret_access_key,
        session_token,
        certificates: certificates.transpose()?,
        ledger: ledger.cloned(),
    };
    Target::open(name.clone(), settings, project, &access).map_err(|error| Box::new(Diagnostic::of(&error)))
}

/// Reads a file of trusted certificates.
fn certificates(path: &Path) -> Result<Vec<u8>, Box<Diagnostic>> {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(limits::CERTIFICATES_MAX + 1).read_to_end(&mut bytes))
        .and_then(|_| match u64::try_from(bytes.len()) {
            Ok(length) if length <= limits::CERTIFICATES_MAX => Ok(()),
            _ => Err(std::io::Error::other("it is larger than any list of certificates")),
        });
    read.map_err(|error| {
        let what = format!("the certificates in `{}` cannot be read", path.display());
        Box::new(
            Diagnostic::error(Code::TargetFailed, what)
                .why(error.to_string())
                .state("nothing was started")
                .help("correct `ca-file`, or give this user the right to read the file"),
        )
    })?;
    Ok(bytes)
}

/// The settings of the targets that are meant.
fn choose<'e>(
    environment: &'e Environment,
    named: &[TargetName],
    only: &[TargetName],
) -> Result<Vec<(&'e TargetName, &'e TargetSettings)>, Failure> {
    let known = || {
        let names: Vec<&str> = environment.target.keys().map(TargetName::as_str).collect();
        if names.is_empty() {
            "the environment has no target".into()
        } else {
            format!("targets here: {}", names.join(", "))
        }
    };
    let usage = |what: String| {
        Diagnostic::error(Code::Usage, what)
            .state("nothing was started")
            .help(known())
    };
    let unknown: Failure = named
        .iter()
        .chain(only)
        .filter(|name| !environment.target.contains_key(*name))
        .map(|name| usage(format!("the environment has no target `{name}`")))
        .collect();
    if !unknown.is_empty() {
        return Err(unknown);
    }
    let meant =
        |name: &TargetName| (named.is_empty() || named.contains(name)) && (only.is_empty() || only.contains(name));
    let mut chosen: Vec<_> = environment.target.iter().filter(|(name, _)| meant(name)).collect();
    // In the order in which they are named.
    chosen.sort_by_key(|(name, _)| named.iter().position(|other| other == *name));
    if chosen.is_empty() {
        return Err(vec![usage("no target is left to work with".into())]);
    }
    Ok(chosen)
}
