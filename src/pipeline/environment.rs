//! An environment: where backups of it go, where its data lies, how strict it is. `pipelines/environments/<name>.toml`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::{ArgName, Instance, TargetName};
use crate::target::TargetSettings;

/// An environment: where its data lies, where its backups go, how strict it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Environment {
    /// The version of this language: 1.
    #[schemars(range(min = 1, max = 1))]
    pub schema_version: u32,
    /// What this environment is, for people.
    #[serde(default)]
    pub description: String,
    /// Whether restores ask for confirmation, and `redact`, `checksum` and `confirm` cannot be switched off.
    #[serde(default)]
    pub protected: bool,
    /// The host or role whose backups these are. Default: the host name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<Instance>,
    /// The state folder: journal, locks, spool. Default: `.strongroom/<environment>` below the folder above `pipelines/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub state: Option<PathBuf>,
    /// Where the environment's secrets lie. The file may be absent while nothing refers to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<SecretFile>,
    /// Paths by name; `{{path.data}}` in a manifest stands for the value of `data`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<ArgName, String>")]
    pub path: BTreeMap<String, String>,
    /// Where backups are kept, by name.
    #[serde(default)]
    pub target: BTreeMap<TargetName, TargetSettings>,
    /// Values that replace those of a pipeline's steps in this environment: `[pipeline.backup.step.pack]`.
    #[serde(default)]
    pub pipeline: serde_json::Map<String, serde_json::Value>,
}

/// Where an environment's secrets lie.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(inline)]
pub struct SecretFile {
    /// A file of `NAME=value` lines, mode 0600 or refused, never committed. Relative paths start at the folder above
    /// `pipelines/`.
    #[schemars(length(min = 1))]
    pub file: PathBuf,
}
