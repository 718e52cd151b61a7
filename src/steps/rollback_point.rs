//! `rollback-point`: what a swap replaces is kept, so that it can be put back.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Span;

/// Points that stay where the manifest does not say.
const KEEP: u32 = 2;
/// How long points stay where the manifest does not say.
const KEEP_FOR: Span = Span(Duration::from_hours(7 * 24));

/// Sees that what will be replaced can be put back: `strongroom rollback`. Copies nothing: what `swap` replaces is the
/// point. Shows the room that the restore needs first. After the swap older points go that neither `keep` nor `keep-for`
/// keeps; the newest of a destination never does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RollbackPoint {
    /// How many of the newest points of each destination stay, the new one among them; default 2.
    #[serde(default = "keep")]
    #[schemars(range(min = 1))]
    pub keep: u32,
    /// For how long all points stay, such as `7d`, which is the default.
    #[serde(default = "keep_for")]
    pub keep_for: Span,
}

const fn keep() -> u32 {
    KEEP
}

const fn keep_for() -> Span {
    KEEP_FOR
}

impl Default for RollbackPoint {
    fn default() -> Self {
        Self {
            keep: KEEP,
            keep_for: KEEP_FOR,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_word_two_points_and_a_week_of_them_stay() {
        let read: RollbackPoint = serde_json::from_str("{}").unwrap();
        assert_eq!(read, RollbackPoint::default());
        assert_eq!((read.keep, read.keep_for.to_string().as_str()), (2, "7d"));
        let text = serde_json::to_string(&read).unwrap();
        assert_eq!(serde_json::from_str::<RollbackPoint>(&text).unwrap(), read);
    }
}
