//! Tells where every value of a plan comes from: its place, its layer and what it replaced.

use serde_json::Value as Json;

use super::plan::{Explained, Layer, Replaced};
use super::resolved::Resolved;
use super::schema::{environment_schema, pipeline_schema};
use super::source_map::SourceMap;
use super::tree::{Node, Value, naming_key};
use super::walk;

/// Every value of the pipeline, then of the environment, in the order in which they were written.
pub(super) fn explain(resolved: &Resolved) -> Vec<Explained> {
    let mut teller = Teller {
        map: &resolved.map,
        told: Vec::new(),
    };
    teller.root(&resolved.pipeline_tree, pipeline_schema(), "pipeline", &["step", "arg"]);
    teller.root(
        &resolved.environment_tree,
        environment_schema(),
        "environment",
        &["path", "target"],
    );
    teller.told
}

struct Teller<'a> {
    map: &'a SourceMap,
    told: Vec<Explained>,
}

impl Teller<'_> {
    /// A file's own keys are told below `own`, its groups below their own names.
    fn root(&mut self, root: &Node, schema: &Json, own: &str, groups: &[&str]) {
        let Some(table) = root.table() else {
            return;
        };
        let path = |key: &str| {
            if groups.contains(&key) {
                key.to_owned()
            } else {
                format!("{own}.{key}")
            }
        };
        for entry in &table.entries {
            if let Some(below) = walk::child(schema, &entry.key) {
                self.value(&entry.node, below, &path(&entry.key));
            }
        }
        self.defaults(root, schema, &path);
    }

    fn value(&mut self, node: &Node, schema: &Json, path: &str) {
        let secret = walk::is_secret(schema);
        let hides = secret || walk::is_text_or_secret(schema);
        match &node.value {
            Value::Table(table) if !secret => {
                let Some(schema) = walk::resolve(schema, table) else {
                    return;
                };
                for entry in &table.entries {
                    if let Some(below) = walk::child(schema, &entry.key) {
                        self.value(&entry.node, below, &format!("{path}.{}", entry.key));
                    }
                }
                self.defaults(node, schema, &|key: &str| format!("{path}.{key}"));
            }
            Value::Array(items) if naming_key(items).is_some() => {
                let (Some(naming), Some(below)) = (naming_key(items), schema.get("items")) else {
                    return;
                };
                for item in items {
                    let name = item.table().and_then(|table| table.text(naming)).unwrap_or_default();
                    self.value(item, below, &format!("{path}.{name}"));
                }
            }
            _ => self.told.push(Explained {
                path: path.to_owned(),
                value: node.to_json(),
                template: node.template.clone(),
                place: self.map.place(node.span, ""),
                layer: self.map.layer(node.span),
                replaced: node
                    .replaced
                    .iter()
                    .filter_map(|old| self.replaced(old, hides))
                    .collect(),
            }),
        }
    }

    fn replaced(&self, old: &Node, secret: bool) -> Option<Replaced> {
        // What was replaced was never checked: in a secret field it may be a literal.
        let value = if secret {
            Json::String("***".into())
        } else {
            old.to_json()
        };
        Some(Replaced {
            value,
            place: self.map.place(old.span, "")?,
            layer: self.map.layer(old.span),
        })
    }

    /// What holds because no file says otherwise.
    fn defaults(&mut self, node: &Node, schema: &Json, path: &dyn Fn(&str) -> String) {
        let Some(properties) = schema.get("properties").and_then(Json::as_object) else {
            return;
        };
        for (key, property) in properties {
            let absent = node.table().is_some_and(|table| table.entry(key).is_none());
            let default = property.get("default").filter(|default| !default.is_object());
            if let (true, Some(default)) = (absent, default) {
                self.told.push(Explained {
                    path: path(key),
                    value: default.clone(),
                    template: None,
                    place: None,
                    layer: Layer::Default,
                    replaced: Vec::new(),
                });
            }
        }
    }
}
