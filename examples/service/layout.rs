//! Where an environment's files lie.

use std::path::{Path, PathBuf};

use crate::Error;

/// Which environment.
#[derive(clap::Args)]
pub(crate) struct Environment {
    /// The environment.
    #[arg(short, long = "env", default_value = "dev")]
    name: String,
    /// The folder with one folder an environment.
    #[arg(long, value_name = "DIR", default_value = "examples/service/var")]
    var: PathBuf,
}

/// The folders of one environment.
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The layout of an environment; creates nothing.
    pub(crate) fn of(environment: &Environment) -> Result<Self, Error> {
        let name = &environment.name;
        let good = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        if !good {
            return Err(Error::Name(name.clone()));
        }
        Ok(Self {
            root: environment.var.join(name),
        })
    }

    /// A layout anywhere; the folder's own name is the environment's.
    pub(crate) fn at(root: PathBuf) -> Self {
        Self { root }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    pub(crate) fn events(&self) -> PathBuf {
        self.data().join("events")
    }

    pub(crate) fn artifacts(&self) -> PathBuf {
        self.data().join("artifacts")
    }

    pub(crate) fn projections(&self) -> PathBuf {
        self.data().join("projections")
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.root.join("config")
    }

    /// Held by the one writer.
    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("writer.lock")
    }
}
