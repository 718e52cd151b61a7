//! The published schemas: what editors are promised, and what the shipped manifests meet.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use strongroom::pipeline::{environment_schema, generated, pipeline_schema};

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Calls `meet` for every schema within a schema, with its path.
fn each(schema: &Value, path: &str, meet: &mut dyn FnMut(&str, &Value)) {
    meet(path, schema);
    match schema {
        Value::Object(map) => map
            .iter()
            .for_each(|(key, value)| each(value, &format!("{path}/{key}"), meet)),
        Value::Array(items) => {
            for (position, value) in items.iter().enumerate() {
                each(value, &format!("{path}/{position}"), meet);
            }
        }
        _ => {}
    }
}

#[test]
fn every_key_of_the_schemas_has_a_description() {
    let mut keys = 0;
    for schema in [pipeline_schema(), environment_schema()] {
        each(schema, "", &mut |path, value| {
            let Some(properties) = value.get("properties").and_then(Value::as_object) else {
                return;
            };
            for (key, property) in properties {
                let text = property.get("description").and_then(Value::as_str).unwrap_or_default();
                assert!(text.len() > 5, "{path}/properties/{key} has no description");
                assert!(
                    !text.contains(" \n") && !text.contains("TODO"),
                    "{path}/properties/{key}: {text}"
                );
                keys += 1;
            }
        });
    }
    assert!(keys > 80, "{keys} keys");
}

#[test]
fn the_schemas_stay_within_what_editors_understand() {
    for schema in [pipeline_schema(), environment_schema()] {
        assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
        assert!(jsonschema::meta::is_valid(schema));
        each(schema, "", &mut |path, value| {
            let Some(map) = value.as_object() else {
                assert!(!value.is_null(), "{path} is null");
                assert_ne!(value, "null", "{path}");
                return;
            };
            for key in [
                "$ref",
                "$defs",
                "definitions",
                "const",
                "unevaluatedProperties",
                "nullable",
                "prefixItems",
            ] {
                assert!(!map.contains_key(key), "{path} has `{key}`");
            }
            if path.ends_with("/properties") {
                return;
            }
            let kind = map
                .get("properties")
                .and_then(|properties| properties.pointer("/type/enum"));
            if let Some(kinds) = kind.and_then(Value::as_array) {
                assert_eq!(kinds.len(), 1, "{path}/properties/type");
            }
        });
    }
}

#[test]
fn the_schema_files_are_what_the_types_say() {
    for (path, content) in generated() {
        let written = fs::read_to_string(repository().join(path)).unwrap_or_default();
        assert!(written == content, "{path} is not up to date: run `make generate`");
    }
}

#[test]
fn an_editor_finds_no_fault_in_the_shipped_manifests() {
    let folder = repository().join("pipelines");
    let mut files = 0;
    for (folder, schema) in [
        (folder.clone(), pipeline_schema()),
        (folder.join("environments"), environment_schema()),
    ] {
        let validator = jsonschema::draft7::new(schema).unwrap();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                check_file(&path, &validator);
                files += 1;
            }
        }
    }
    assert!(files >= 5);
}

fn check_file(path: &Path, validator: &jsonschema::Validator) {
    let text = fs::read_to_string(path).unwrap();
    let document: Value = toml::from_str(&text).unwrap();
    let errors: Vec<String> = validator
        .iter_errors(&document)
        .map(|error| format!("{}: {error}", error.instance_path().as_str()))
        .collect();
    assert!(errors.is_empty(), "{}: {errors:?}", path.display());
    let name = text.lines().next().unwrap().strip_prefix("#:schema ").unwrap();
    assert!(
        path.parent().unwrap().join(name).exists(),
        "{} names {name}",
        path.display()
    );
}

#[test]
fn the_schema_of_overlays_takes_the_operators_and_no_foreign_keys() {
    let validator = jsonschema::draft7::new(environment_schema()).unwrap();
    let overlay = |text: &str| {
        let text = format!("schema-version = 1\n[pipeline.backup.step.x]\n{text}");
        validator.is_valid(&toml::from_str::<Value>(&text).unwrap())
    };
    for right in [
        "level = 3",
        "level = \"objects\"",
        "level = { unset = true }",
        "enabled = false",
        "targets = { append = [\"a\"] }",
        "source.config.exclude = { append = [\"*.pem\"] }",
        "source.config.path = \"/x\"",
        "destination.config.path = \"/x\"",
        "values = [{ secret = \"A\" }]",
    ] {
        assert!(overlay(right), "{right}");
    }
    for wrong in [
        "levl = 3",
        "level = { append = [1] }",
        "targets = { append = [1] }",
        "id = \"y\"",
        "source.c.name = \"x\"",
    ] {
        assert!(!overlay(wrong), "{wrong}");
    }
}
