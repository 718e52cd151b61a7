//! An environment: where backups of it go, where its data lies, how strict it is. `pipelines/environments/<name>.toml`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::crypto::age::Recipient;
use crate::crypto::note::Verifier;
use crate::id::{ArgName, Instance, TargetName};
use crate::limits::{CATCH_UP_MINUTES, GRACE_HOURS, GRACE_MARGIN_HOURS, MAX_RUN_HOURS};
use crate::secret::SecretRef;
use crate::target::TargetSettings;
use crate::units::Span;

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
    /// Whether restores ask for confirmation, and `redact`, `encrypt`, `checksum` and `confirm` cannot be switched off.
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
    /// How long runs may take, and what is deleted when.
    #[serde(default, skip_serializing_if = "Maintenance::is_default")]
    pub maintenance: Maintenance,
    /// Paths by name; `{{path.data}}` in a manifest stands for the value of `data`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<ArgName, String>")]
    pub path: BTreeMap<String, String>,
    /// Whom backups are sealed to, and who opens them.
    #[serde(default, skip_serializing_if = "Encryption::is_default")]
    pub encryption: Encryption,
    /// The hosts that make backups of this environment, each with the public key that `strongroom keys show` prints there. Where any
    /// is named, a backup that none of them signed is not restored, and no rule of retention counts it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub signers: BTreeMap<Instance, Verifier>,
    /// Where backups are kept, by name.
    #[serde(default)]
    pub target: BTreeMap<TargetName, TargetSettings>,
    /// Values that replace those of a pipeline's steps in this environment: `[pipeline.backup.step.pack]`.
    #[serde(default)]
    pub pipeline: serde_json::Map<String, serde_json::Value>,
}

/// Whom backups are sealed to, and who opens them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(inline)]
pub struct Encryption {
    /// The operators' age recipients, `age1…`: each of them opens what an `encrypt` step sealed. At least two, one of them kept
    /// away from the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<Recipient>,
    /// The age identity that opens backups, `AGE-SECRET-KEY-1…`: needed to restore and to verify content, never to back up.
    /// Best kept off the host and given with `--identity`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<SecretRef>,
}

impl Encryption {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
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

/// How long runs may take, and what is deleted when. Environments that share a repository say the same here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(inline)]
pub struct Maintenance {
    /// How long a run may take, default `24h`. A backup that takes longer fails: what it relies on may have been deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_run: Option<Span>,
    /// How long an object that no backup needs stays after it was listed, default `72h`; at least twice `max-run` and an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace: Option<Span>,
    /// For how long a backup copies, before its capture, what one of its targets lacks and others have, default `30min`; at most
    /// half of `max-run`. A target that is still behind then is left out, exit 3, and caught up further by the next run. `0s`: a
    /// target that is behind takes part, and what it lacks is not copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catch_up: Option<Span>,
}

impl Maintenance {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// How long a run may take.
    pub fn max_run(&self) -> Duration {
        self.max_run.map_or(Duration::from_hours(MAX_RUN_HOURS), |span| span.0)
    }

    /// How long an object that no backup needs stays after it was listed.
    pub fn grace(&self) -> Duration {
        self.grace.map_or(Duration::from_hours(GRACE_HOURS), |span| span.0)
    }

    /// For how long targets that lag behind are caught up before a backup.
    pub fn catch_up(&self) -> Duration {
        let default = Duration::from_mins(CATCH_UP_MINUTES).min(self.max_run() / 2);
        self.catch_up.map_or(default, |span| span.0)
    }

    /// The shortest grace that `max-run` allows.
    pub fn least_grace(&self) -> Duration {
        self.max_run()
            .saturating_mul(2)
            .saturating_add(Duration::from_hours(GRACE_MARGIN_HOURS))
    }
}
