//! What a manifest says of a target, and what opening one needs beyond it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ledger::Ledger;
use super::{TargetError, scheme};
use crate::limits;
use crate::secret::{Secret, SecretRef};
use crate::units::Span;

/// Where backups are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TargetSettings {
    /// `file:///var/backups/service`, `file:backups/dev` below the folder above `pipelines/`, or `s3://bucket/prefix`.
    #[schemars(length(min = 1))]
    pub url: String,
    /// S3: where the store answers, such as `https://objects.example.com`. Default: Amazon's own address in `region`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub endpoint: Option<String>,
    /// S3: the region that requests are signed for. Default `us-east-1`, which most other stores take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[A-Za-z0-9-]{1,64}$"))]
    pub region: Option<String>,
    /// S3: whether the bucket stands in the path (`https://host/bucket`) or in the host (`https://bucket.host`). Default:
    /// in the path where an `endpoint` is given, else in the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_style: Option<bool>,
    /// S3: the access key id, as a reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<SecretRef>,
    /// S3: the secret access key, as a reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_access_key: Option<SecretRef>,
    /// S3: the session token that belongs to a temporary key, as a reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_token: Option<SecretRef>,
    /// S3: whether an `endpoint` without TLS is taken. What is stored then passes the network in clear, so a protected
    /// environment takes it for this host alone (loopback).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_http: Option<bool>,
    /// S3: a PEM file of certificates that are trusted beside those of the system. Relative paths start at the folder
    /// above `pipelines/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub ca_file: Option<PathBuf>,
    /// S3: how long a request may take, and as long again for each 8 MiB that it carries; so long may the store pause
    /// while it is read, too. Default `1min`, at least `100ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// S3: how long a failed request is tried again, with growing pauses, before the target counts as failed. Default
    /// `1min`; `0s` for not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_for: Option<Span>,
}

/// Something wrong with one key of a target.
#[derive(Debug)]
pub struct Fault {
    /// The key, as written in the manifest; the target's table lacks it where [`TargetError::MissingSetting`] says so.
    pub key: &'static str,
    /// What is wrong.
    pub error: TargetError,
}

/// What opening a target needs beyond its settings: values that only a run reads, and where it keeps notes.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// The value behind `access-key-id`.
    pub access_key_id: Option<Secret<String>>,
    /// The value behind `secret-access-key`.
    pub secret_access_key: Option<Secret<String>>,
    /// The value behind `session-token`.
    pub session_token: Option<Secret<String>>,
    /// The content of `ca-file`.
    pub certificates: Option<Vec<u8>>,
    /// Where uploads are noted before they are begun, so that a later run can clear what this one leaves when it dies.
    pub ledger: Option<Arc<Ledger>>,
}

impl TargetSettings {
    /// Settings that are nothing but a URL.
    pub fn of_url(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            ..Self::default()
        }
    }

    /// Everything that is wrong with the settings, without any input or output; a relative `file:` URL counts from `base`.
    pub fn check(&self, base: &Path) -> Vec<Fault> {
        scheme::check(self, base)
    }

    /// The references to secrets, in the order of [`Access`].
    pub fn references(&self) -> [Option<&SecretRef>; 3] {
        [
            self.access_key_id.as_ref(),
            self.secret_access_key.as_ref(),
            self.session_token.as_ref(),
        ]
    }

    /// Whether uploads into it are noted, since they leave something behind when they are cut off.
    pub fn keeps_notes(&self) -> bool {
        self.access_key_id.is_some()
    }

    /// Whether what is stored would pass a network in clear.
    pub fn is_clear_on_the_wire(&self) -> bool {
        super::s3::address::is_clear_on_the_wire(self)
    }

    /// The keys that only S3 has and that are set.
    pub(super) fn s3_keys(&self) -> Vec<&'static str> {
        let keys = [
            ("endpoint", self.endpoint.is_some()),
            ("region", self.region.is_some()),
            ("path-style", self.path_style.is_some()),
            ("access-key-id", self.access_key_id.is_some()),
            ("secret-access-key", self.secret_access_key.is_some()),
            ("session-token", self.session_token.is_some()),
            ("allow-http", self.allow_http.is_some()),
            ("ca-file", self.ca_file.is_some()),
            ("timeout", self.timeout.is_some()),
            ("retry-for", self.retry_for.is_some()),
        ];
        keys.into_iter().filter(|(_, set)| *set).map(|(key, _)| key).collect()
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
            .map_or(Duration::from_secs(limits::S3_TIMEOUT_SECONDS), |span| span.0)
    }

    pub(super) fn retry_for(&self) -> Duration {
        self.retry_for
            .map_or(Duration::from_secs(limits::S3_RETRY_SECONDS), |span| span.0)
    }
}
