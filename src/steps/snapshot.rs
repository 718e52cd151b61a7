//! `snapshot`: captures the sources, strictly in the order in which they stand.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::id::SourceName;
use crate::source::{Guards, Source, SourceKind};

/// Captures the sources, strictly in the order in which they stand.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Snapshot {
    /// The sources. Projections stand before the log they are derived from, so that none is newer than its log.
    #[schemars(length(min = 1))]
    pub source: Vec<Source>,
}

impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut table = serde_json::Map::deserialize(deserializer)?;
        let mut take = |key: &'static str| table.shift_remove(key).ok_or_else(|| D::Error::missing_field(key));
        let name: SourceName = serde_json::from_value(take("name")?).map_err(D::Error::custom)?;
        let kind: String = serde_json::from_value(take("type")?).map_err(D::Error::custom)?;
        let guards: serde_json::Map<_, _> = Guards::KEYS
            .iter()
            .filter_map(|key| Some(((*key).to_owned(), table.shift_remove(*key)?)))
            .collect();
        let guards = serde_json::from_value(guards.into()).map_err(D::Error::custom)?;
        let kind = SourceKind::decode(&kind, table.into()).map_err(D::Error::custom)?;
        Ok(Self { name, kind, guards })
    }
}

/// A source's schema: one alternative a kind, told apart by the one-value `enum` on `type`.
impl JsonSchema for Source {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Source".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let alternatives: Vec<serde_json::Value> = SourceKind::NAMES
            .iter()
            .filter_map(|name| {
                let mut schema = SourceKind::schema(name, generator)?.to_value();
                if let Some(properties) = schema.get_mut("properties").and_then(|p| p.as_object_mut()) {
                    let text = "The source's name, unique in the pipeline; the first part of its paths in a backup.";
                    let name_key = serde_json::json!({
                        "type": "string", "pattern": crate::id::NAME_PATTERN, "maxLength": 63, "description": text });
                    let kind_key =
                        serde_json::json!({ "type": "string", "enum": [name], "description": "The kind of source." });
                    properties.shift_insert(0, "type".into(), kind_key);
                    properties.shift_insert(0, "name".into(), name_key);
                    let guards = Guards::json_schema(generator).to_value();
                    let guards = guards.get("properties").and_then(|properties| properties.as_object());
                    properties.extend(
                        guards
                            .into_iter()
                            .flatten()
                            .map(|(key, value)| (key.clone(), value.clone())),
                    );
                }
                let required = schema
                    .as_object_mut()?
                    .entry("required")
                    .or_insert_with(|| serde_json::json!([]));
                let list = required.as_array_mut()?;
                list.insert(0, "type".into());
                list.insert(0, "name".into());
                Some(schema)
            })
            .collect();
        schemars::json_schema!({ "type": "object", "oneOf": alternatives })
    }
}
