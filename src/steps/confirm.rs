//! `confirm`: proof before going on, by reading back what was stored or by asking the operator.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Goes on only with proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Confirm {
    /// Who or what confirms.
    pub by: By,
}

/// Who or what confirms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum By {
    /// Every object written in this run is read back whole and compared.
    ReadBack,
    /// In a protected environment the operator types its name, or gave `--confirm`. Elsewhere nothing is asked.
    Operator,
}
