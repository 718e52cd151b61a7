//! `select`: chooses a backup.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::{EnvName, Instance, PipelineName, TargetName};

/// Chooses a backup, of this environment unless `from` names another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Select {
    /// An id, a unique prefix of one, `latest`, or `latest~1` for the one before it.
    #[schemars(length(min = 1))]
    pub backup: String,
    /// The environment whose backup it is, and in whose targets it is looked for. Default: the one that this runs in. What comes
    /// from a protected environment passes a `redact` step, or `--allow-unredacted` says that it need not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<EnvName>,
    /// Only backups made by this pipeline. Default: any; `latest` is then refused where several pipelines have backups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<PipelineName>,
    /// Only backups of this instance. Default: any; `latest` is then refused where several instances have backups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<Instance>,
    /// Targets to look in, in order. Default: all of the environment that the backup is from, by name.
    #[serde(default)]
    pub targets: Vec<TargetName>,
}
