//! The JSON Schemas of the manifest language, generated from the types that serde reads.
//!
//! Draft 7 within what TOML editors understand: no references, no `null`, a one-value `enum` on `type`, a description on
//! every key. What is published is also what manifests are checked against.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::OnceLock;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

use super::environment::Environment;
use super::schema_overlay::overlay_schema;
use super::walk;
use crate::id::{ArgName, NAME_PATTERN, PipelineName};
use crate::steps::Step;

/// A pipeline's file without its steps, which are read one by one.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct PipelineFile {
    /// The version of this language: 1.
    #[schemars(range(min = 1, max = 1))]
    #[expect(dead_code, reason = "checked before anything is decoded; here for the schema")]
    schema_version: u32,
    /// The pipeline's name, kebab-case; a file in `pipelines/` is called by it.
    pub(super) name: PipelineName,
    /// What the pipeline does, for people.
    #[serde(default)]
    pub(super) description: String,
    /// Arguments that a run is given, by name; `{{arg.backup}}` stands for the value of `backup`.
    #[serde(default)]
    #[expect(
        dead_code,
        reason = "arguments are bound before anything is decoded; here for the schema"
    )]
    arg: BTreeMap<ArgName, Argument>,
    /// The steps, in the order in which they run.
    #[schemars(length(min = 1))]
    #[expect(dead_code, reason = "steps are decoded one by one; here for the schema")]
    step: Vec<StepTable>,
}

/// An argument that a pipeline declares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(inline)]
pub struct Argument {
    /// What the argument means, for people.
    pub description: String,
    /// Whether a run must be given it. One that is not required has a default.
    #[serde(default)]
    pub required: bool,
    /// Its value where a run is not given it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// A value by which `validate` checks the pipeline; a required argument has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub example: Option<String>,
}

/// A step as a table: one alternative a type, told apart by the one-value `enum` on `type`.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
struct StepTable(#[expect(dead_code, reason = "steps are decoded one by one")] Json);

impl JsonSchema for StepTable {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Step".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let alternatives: Vec<Json> = Step::NAMES
            .iter()
            .filter_map(|name| {
                let mut schema = Step::schema(name, generator)?.to_value();
                with_common_keys(schema.as_object_mut()?, name);
                Some(schema)
            })
            .collect();
        schemars::json_schema!({ "type": "object", "oneOf": alternatives })
    }
}

/// The keys that every step has. They are cut off before the step's own struct is decoded.
pub(super) const COMMON_KEYS: [&str; 4] = ["id", "type", "enabled", "always"];

fn with_common_keys(schema: &mut Map<String, Json>, name: &str) {
    let mut properties = json!({
        "id": { "type": "string", "pattern": NAME_PATTERN, "maxLength": 63,
            "description": "The step's id, kebab-case, unique in the pipeline. Overlays and messages name the step by it." },
        "type": { "type": "string", "enum": [name], "description": "The type of step." },
        "enabled": { "type": "boolean", "default": true,
            "description": "Whether the step runs. One that is switched off passes on what it is given." },
        "always": { "type": "boolean", "default": false,
            "description": "Whether the step runs also when a step before it failed." },
    });
    let own = schema.shift_remove("properties");
    if let (Some(all), Some(Json::Object(own))) = (properties.as_object_mut(), own) {
        all.extend(own);
    }
    schema.insert("properties".into(), properties);
    let mut required = vec![json!("id"), json!("type")];
    if let Some(Json::Array(own)) = schema.shift_remove("required") {
        required.extend(own);
    }
    schema.insert("required".into(), Json::Array(required));
    schema.entry("type").or_insert_with(|| json!("object"));
    schema.insert("additionalProperties".into(), json!(false));
}

/// The schema of a pipeline's file.
pub fn pipeline_schema() -> &'static Json {
    static SCHEMA: OnceLock<Json> = OnceLock::new();
    SCHEMA.get_or_init(|| published::<PipelineFile>("A pipeline of strongroom"))
}

/// The schema of an environment's file.
pub fn environment_schema() -> &'static Json {
    static SCHEMA: OnceLock<Json> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let mut schema = published::<Environment>("An environment of strongroom");
        if let Some(properties) = schema.get_mut("properties").and_then(Json::as_object_mut) {
            properties.insert("pipeline".into(), overlay_schema(pipeline_schema()));
        }
        schema
    })
}

/// The generated schema files: path below the repository's root, and content.
pub fn generated() -> Vec<(&'static str, String)> {
    let text = |schema: &Json| format!("{schema:#}\n");
    vec![
        ("schemas/environment.schema.json", text(environment_schema())),
        ("schemas/pipeline.schema.json", text(pipeline_schema())),
    ]
}

/// The keys that hold secrets anywhere in the language.
pub(super) fn secret_keys() -> Vec<String> {
    let mut keys = Vec::new();
    collect_secret_keys(pipeline_schema(), &mut keys);
    // The overlays repeat the keys of the pipeline behind operators, which are no keys of their own.
    let own = environment_schema().get("properties").and_then(Json::as_object);
    for (key, schema) in own.into_iter().flatten().filter(|(key, _)| *key != "pipeline") {
        if walk::is_secret(schema) {
            keys.push(key.clone());
        }
        collect_secret_keys(schema, &mut keys);
    }
    keys.sort();
    keys.dedup();
    keys
}

fn collect_secret_keys(schema: &Json, keys: &mut Vec<String>) {
    match schema {
        Json::Object(map) => {
            for (key, value) in map {
                if key == "properties"
                    && let Json::Object(properties) = value
                {
                    let secret = properties.iter().filter(|(_, schema)| walk::is_secret(schema));
                    keys.extend(secret.map(|(key, _)| key.clone()));
                }
                collect_secret_keys(value, keys);
            }
        }
        Json::Array(items) => items.iter().for_each(|item| collect_secret_keys(item, keys)),
        _ => {}
    }
}

fn published<T: JsonSchema>(title: &str) -> Json {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    simplify(&mut schema);
    if let Some(map) = schema.as_object_mut() {
        map.insert("title".into(), json!(title));
    }
    schema
}

/// Brings a schema into the subset that editors understand.
fn simplify(schema: &mut Json) {
    match schema {
        Json::Object(map) => {
            map.shift_remove("title");
            if map
                .get("format")
                .and_then(Json::as_str)
                .is_some_and(|format| format.starts_with("uint"))
            {
                map.shift_remove("format");
            }
            if map.get("default") == Some(&Json::Null) {
                map.shift_remove("default");
            }
            if let Some(value) = map.shift_remove("const") {
                map.insert("enum".into(), json!([value]));
            }
            drop_null(map);
            for value in map.values_mut() {
                simplify(value);
            }
            flatten_choices(map);
            if let Some(Json::String(text)) = map.get_mut("description") {
                *text = unwrap_lines(text);
            }
        }
        Json::Array(items) => items.iter_mut().for_each(simplify),
        _ => {}
    }
}

/// TOML has no null: an optional value is one that may be left out.
fn drop_null(map: &mut Map<String, Json>) {
    if let Some(Json::Array(types)) = map.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            map.insert("type".into(), only);
        }
    }
    if let Some(Json::Array(options)) = map.get_mut("enum") {
        options.retain(|option| !option.is_null());
    }
    let Some(Json::Array(mut choices)) = map.shift_remove("anyOf") else {
        return;
    };
    choices.retain(|choice| choice.get("type") != Some(&json!("null")));
    match (choices.len(), choices.pop()) {
        (1, Some(Json::Object(only))) => {
            for (key, value) in only {
                map.entry(key).or_insert(value);
            }
        }
        (_, last) => {
            choices.extend(last);
            map.insert("anyOf".into(), Json::Array(choices));
        }
    }
}

/// A choice of words, each with its own description, becomes one `enum` whose description lists them.
fn flatten_choices(map: &mut Map<String, Json>) {
    let Some(choices) = map.get("oneOf").and_then(Json::as_array) else {
        return;
    };
    let mut words = Vec::new();
    let mut texts = Vec::new();
    for choice in choices {
        let Some(options) = choice.get("enum").and_then(Json::as_array) else {
            return;
        };
        words.extend(options.iter().cloned());
        if let (Some(text), [Json::String(word)]) =
            (choice.get("description").and_then(Json::as_str), options.as_slice())
        {
            texts.push(format!("`{word}`: {text}"));
        }
    }
    map.shift_remove("oneOf");
    map.insert("type".into(), json!("string"));
    map.insert("enum".into(), Json::Array(words));
    let own = map.get("description").and_then(Json::as_str).unwrap_or_default();
    let description = std::iter::once(unwrap_lines(own))
        .chain(texts)
        .collect::<Vec<_>>()
        .join("\n\n");
    map.insert("description".into(), json!(description));
}

/// A doc comment is broken where its source line ended; an editor breaks lines itself.
fn unwrap_lines(text: &str) -> String {
    text.split("\n\n")
        .map(|paragraph| paragraph.replace('\n', " "))
        .collect::<Vec<_>>()
        .join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_keys_are_the_fields_that_hold_references() {
        assert_eq!(
            secret_keys(),
            [
                "access-key-id",
                "identity",
                "secret-access-key",
                "session-token",
                "values"
            ]
        );
    }
}
