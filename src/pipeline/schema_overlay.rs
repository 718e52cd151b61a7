//! The schema of `[pipeline.<name>.step.<id>]` in an environment: the union of all step keys, all optional, with the
//! operators. It helps an editor; the real check is after the merge.

use serde_json::{Map, Value as Json, json};

use super::walk;
use crate::id::NAME_PATTERN;

/// The schema of an environment's `pipeline` table.
pub(super) fn overlay_schema(pipeline: &Json) -> Json {
    let none = Vec::new();
    let steps = pipeline
        .pointer("/properties/step/items/oneOf")
        .and_then(Json::as_array)
        .unwrap_or(&none);
    json!({
        "type": "object",
        "description": "Values that replace those of a pipeline's steps in this environment: `[pipeline.backup.step.pack]`.",
        "additionalProperties": false,
        "patternProperties": { NAME_PATTERN: {
            "type": "object",
            "description": "The pipeline of this name.",
            "additionalProperties": false,
            "properties": { "step": {
                "type": "object",
                "description": "Steps of the pipeline by id. An overlay changes values; it cannot add, remove or reorder.",
                "additionalProperties": false,
                "patternProperties": { NAME_PATTERN: union(steps, "The step with this id.") }
            } }
        } }
    })
}

/// All keys of all alternatives, except those by which they are told apart.
fn union(alternatives: &[Json], description: &str) -> Json {
    let mut keys: Map<String, Json> = Map::new();
    for alternative in alternatives {
        let Some(properties) = alternative.get("properties").and_then(Json::as_object) else {
            continue;
        };
        for (key, schema) in properties {
            if matches!(key.as_str(), "id" | "name" | "type") {
                continue;
            }
            let value = overlaid(schema);
            match keys.get_mut(key) {
                None => {
                    keys.insert(key.clone(), value);
                }
                Some(known) => join(known, &value),
            }
        }
    }
    json!({ "type": "object", "description": description, "additionalProperties": false, "properties": keys })
}

/// What an overlay may say in place of a value.
fn overlaid(schema: &Json) -> Json {
    let description = schema.get("description").cloned().unwrap_or_default();
    let unset = json!({
        "type": "object", "additionalProperties": false, "required": ["unset"],
        "properties": { "unset": { "type": "boolean", "enum": [true],
            "description": "Takes the value out; its default holds." } }
    });
    if let Some(items) = schema.get("items") {
        if let Some(alternatives) = named_items(items) {
            return json!({
                "type": "object", "description": description, "additionalProperties": false,
                "patternProperties": { NAME_PATTERN: union(&alternatives, "The item of this name.") }
            });
        }
        let mut list = schema.clone();
        if let Some(map) = list.as_object_mut() {
            map.shift_remove("default");
            map.insert(
                "description".into(),
                json!("Values that are added behind those of the earlier layers."),
            );
        }
        let append = json!({
            "type": "object", "additionalProperties": false, "required": ["append"], "properties": { "append": list }
        });
        return json!({ "description": description, "anyOf": [bare(schema), append, unset] });
    }
    json!({ "description": description, "anyOf": [bare(schema), unset] })
}

/// The alternatives of an array's items, where the items have names.
fn named_items(items: &Json) -> Option<Vec<Json>> {
    let alternatives = walk::alternatives(items)
        .cloned()
        .unwrap_or_else(|| vec![items.clone()]);
    let named = |one: &Json| {
        one.pointer("/properties/name")
            .or_else(|| one.pointer("/properties/id"))
            .is_some()
    };
    alternatives.iter().all(named).then_some(alternatives)
}

/// A value's schema without what is said beside it.
fn bare(schema: &Json) -> Json {
    let mut schema = schema.clone();
    if let Some(map) = schema.as_object_mut() {
        map.shift_remove("description");
        map.shift_remove("default");
    }
    schema
}

/// Two steps may have a key of the same name: either value fits.
fn join(known: &mut Json, other: &Json) {
    if known == other {
        return;
    }
    let text = |schema: &Json| {
        schema
            .get("description")
            .and_then(Json::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let (mut description, further) = (text(known), text(other));
    if description != further {
        description = format!("{description}\n\n{further}");
    }
    let mut choices: Vec<Json> = Vec::new();
    for schema in [&*known, other] {
        let own = schema.get("anyOf").and_then(Json::as_array).cloned();
        for choice in own.unwrap_or_else(|| vec![bare(schema)]) {
            if !choices.contains(&choice) {
                choices.push(choice);
            }
        }
    }
    *known = json!({ "description": description, "anyOf": choices });
}
