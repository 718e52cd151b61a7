//! The targets and the state folder of an environment, opened.

use std::path::{Path, PathBuf};

use crate::diagnostic::{Code, Diagnostic};
use crate::id::{EnvName, TargetName};
use crate::pipeline::environment::Environment;
use crate::target::Target;

use super::Failure;

/// The state folder of an environment: what it says, else `.strongroom/<name>` below the project folder.
pub fn state_of(environment: &Environment, project: &Path, name: &EnvName) -> PathBuf {
    match &environment.state {
        Some(path) => project.join(path),
        None => project.join(".strongroom").join(name.as_str()),
    }
}

/// Opens targets of an environment: those of `named` (all where it is empty) that are also among `only` (all where empty).
///
/// # Errors
/// When a name is not a target of the environment, or a URL cannot be used.
pub fn open_targets(
    environment: &Environment,
    project: &Path,
    named: &[TargetName],
    only: &[TargetName],
) -> Result<Vec<Target>, Failure> {
    let known = || {
        let names: Vec<&str> = environment.target.keys().map(TargetName::as_str).collect();
        if names.is_empty() {
            "the environment has no target".into()
        } else {
            format!("targets here: {}", names.join(", "))
        }
    };
    let mut failure = Vec::new();
    for name in named.iter().chain(only) {
        if !environment.target.contains_key(name) {
            let what = format!("the environment has no target `{name}`");
            failure.push(
                Diagnostic::error(Code::Usage, what)
                    .state("nothing was started")
                    .help(known()),
            );
        }
    }
    let mut targets = Vec::new();
    let mut names: Vec<&TargetName> = if named.is_empty() {
        environment.target.keys().collect()
    } else {
        named.iter().collect()
    };
    names.retain(|name| only.is_empty() || only.contains(name));
    for name in names {
        let Some(settings) = environment.target.get(name) else {
            continue;
        };
        match Target::open(name.clone(), settings, project) {
            Ok(target) => targets.push(target),
            Err(error) => failure.push(Diagnostic::of(&error)),
        }
    }
    if targets.is_empty() && failure.is_empty() {
        failure.push(
            Diagnostic::error(Code::Usage, "no target is left to work with")
                .state("nothing was started")
                .help(known()),
        );
    }
    if failure.is_empty() { Ok(targets) } else { Err(failure) }
}
