//! `encrypt`: seals everything that holds content or names, so that a target tells nothing.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Seals content and catalogs in the age format. Whom to stands in the environment, under `[encryption]`; this host needs no key
/// that reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Encrypt {}
