//! Layers merged, templates filled, schema satisfied, each step decoded: every value typed, every value's place known.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::environment::Environment;
use super::manifest::{Located, Manifest};
use super::problem::{Problem, Problems};
use super::schema::{COMMON_KEYS, PipelineFile, environment_schema, pipeline_schema};
use super::source_map::{SourceMap, Span};
use super::template::{Names, fill};
use super::tree::{Node, Table, Value, naming_key};
use super::walk::{At, takes_text, visit};
use super::{Layer, Request, arguments, layers, secret_fields, validate};
use crate::diagnostic::{Code, Diagnostic};
use crate::id::{PipelineName, StepId};
use crate::kinds::{self, DecodeError};
use crate::steps::Step;

/// A manifest in which every value is decided.
pub(super) struct Resolved {
    pub(super) map: SourceMap,
    pub(super) located: Located,
    pub(super) name: PipelineName,
    pub(super) description: String,
    pub(super) environment: Environment,
    /// The steps in their order.
    pub(super) steps: Vec<ResolvedStep>,
    /// The merged pipeline, for places and explanations.
    pub(super) pipeline_tree: Node,
    /// The merged environment without its overlays.
    pub(super) environment_tree: Node,
}

/// A decoded step.
pub(super) struct ResolvedStep {
    pub(super) id: StepId,
    pub(super) enabled: bool,
    pub(super) always: bool,
    pub(super) step: Step,
    /// Its table in the merged pipeline.
    pub(super) table: Table,
    /// Its header.
    pub(super) span: Span,
}

impl ResolvedStep {
    /// The place of a key's value, else of the step.
    pub(super) fn span_of(&self, key: &str) -> Span {
        self.table.get(key).map_or(self.span, |node| node.span)
    }

    /// The place of an item of a key's array, else of the array.
    pub(super) fn span_of_item(&self, key: &str, position: usize) -> Span {
        self.table
            .get(key)
            .and_then(|node| node.items().get(position))
            .map_or_else(|| self.span_of(key), |item| item.span)
    }
}

/// Resolves a manifest.
///
/// # Errors
/// Everything that is wrong with names, overlays, templates, values and types, sorted by place.
pub(super) fn resolve(manifest: Manifest, request: &Request) -> Result<Resolved, Vec<Diagnostic>> {
    let Manifest {
        mut map,
        mut pipeline,
        mut environment,
        sets,
        located,
    } = manifest;
    let mut problems = Problems::default();
    let name = pipeline_name(&pipeline, &located, request);
    for root in [&mut pipeline, &mut environment] {
        check_version(root, &mut problems);
    }
    if !problems.is_empty() {
        return Err(problems.finish(&map, &name, &request.environment));
    }
    check_file_name(&pipeline, &located, &mut problems);
    check_duplicates(&pipeline, &mut problems);
    layers::merge(&mut pipeline, &mut environment, sets, &name, &located, &mut problems);
    for (root, schema) in [
        (&mut pipeline, pipeline_schema()),
        (&mut environment, environment_schema()),
    ] {
        take_texts(root, schema, &map);
        secret_fields::check(root, schema, &mut map, &mut problems);
    }
    fill_templates(&mut pipeline, &mut environment, request, &mut map, &mut problems);
    validate::check(&pipeline, pipeline_schema(), &map, &mut problems);
    validate::check(&environment, environment_schema(), &map, &mut problems);
    let decoded = if problems.is_empty() {
        decode(&pipeline, &environment, &mut problems)
    } else {
        None
    };
    match decoded {
        Some((file, environment_settings, steps)) if problems.is_empty() => Ok(Resolved {
            map,
            located,
            name: file.name,
            description: file.description,
            environment: environment_settings,
            steps,
            pipeline_tree: pipeline,
            environment_tree: environment,
        }),
        _ => Err(problems.finish(&map, &name, &request.environment)),
    }
}

/// The name by which overlays address the pipeline, as far as it can be told from a file that may be wrong.
fn pipeline_name(pipeline: &Node, located: &Located, request: &Request) -> String {
    let written = pipeline.table().and_then(|table| table.text("name"));
    let known = located.name.as_ref().map(PipelineName::as_str);
    written.or(known).unwrap_or(&request.pipeline).to_owned()
}

/// A missing version is reported and taken as the present one; a different one ends the compilation.
fn check_version(root: &mut Node, problems: &mut Problems) {
    let span = root.span;
    let Some(table) = root.table_mut() else {
        return;
    };
    let problem = match table.get("schema-version").map(|node| (&node.value, node.span)) {
        Some((Value::Integer(1), _)) => return,
        Some((Value::Integer(other), span)) => Problem::new(
            Code::SchemaVersion,
            format!("`schema-version` is {other}, and this program reads 1"),
            span,
            "",
        )
        .why("another version of the language may mean something else by the same words")
        .help("use the program that this manifest was written for, or write `schema-version = 1`"),
        Some((_, span)) => Problem::new(Code::SchemaVersion, "`schema-version` must be an integer", span, "")
            .help("write `schema-version = 1`"),
        None => Problem::new(Code::SchemaVersion, "the file has no `schema-version`", span, "")
            .why("the version says by which rules the file is read")
            .help("add `schema-version = 1` as its first line"),
    };
    problems.push(problem);
}

/// A file in `pipelines/` is called by its pipeline's name: overlays, records and commands then mean the same.
fn check_file_name(pipeline: &Node, located: &Located, problems: &mut Problems) {
    let Some(node) = pipeline.table().and_then(|table| table.get("name")) else {
        return;
    };
    if let (Some(expected), Value::String(text)) = (&located.name, &node.value)
        && text.parse::<PipelineName>().is_ok()
        && text != expected.as_str()
    {
        problems.push(
            Problem::new(
                Code::InvalidValue,
                format!("the file is called `{expected}.toml` and its pipeline `{text}`"),
                node.span,
                "",
            )
            .why("commands use the file's name, overlays and backups the pipeline's; two names would be two pipelines")
            .help(format!(
                "write `name = \"{expected}\"`, or rename the file to `{text}.toml`"
            )),
        );
    }
}

/// Two items of one name in a list whose items are addressed by name.
fn check_duplicates(node: &Node, problems: &mut Problems) {
    if let Some(naming) = naming_key(node.items()) {
        let mut seen: BTreeMap<&str, Span> = BTreeMap::new();
        for item in node.items() {
            let name = item
                .table()
                .and_then(|table| Some((table.text(naming)?, table.get(naming)?.span)));
            let Some((name, span)) = name else {
                continue;
            };
            match seen.get(name) {
                Some(first) => problems.push(
                    Problem::new(
                        Code::DuplicateName,
                        format!("the {naming} `{name}` is used twice"),
                        span,
                        "",
                    )
                    .also(*first, "first used here")
                    .why("overlays and messages address an item by it")
                    .help("choose another one"),
                ),
                None => {
                    seen.insert(name, span);
                }
            }
        }
    }
    for item in node.items() {
        check_duplicates(item, problems);
    }
    for entry in node.table().map(|table| &table.entries).into_iter().flatten() {
        check_duplicates(&entry.node, problems);
    }
}

/// A value of the command line that reads as a number or date is text where the schema wants text.
fn take_texts(root: &mut Node, schema: &Json, map: &SourceMap) {
    visit(root, schema, &At::default(), &mut |_, schema, node| {
        let scalar = matches!(
            node.value,
            Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime
        );
        if scalar && takes_text(schema) && map.layer(node.span) == Layer::Set {
            node.value = Value::String(map.text(node.span).to_owned());
        }
    });
}

fn fill_templates(
    pipeline: &mut Node,
    environment: &mut Node,
    request: &Request,
    map: &mut SourceMap,
    problems: &mut Problems,
) {
    const EVERY_RUN: &str = "an environment is the same for every run";
    let mut names = Names::default();
    names.insert("env.name", request.environment.as_str());
    names.insert("host.name", request.run.host.as_str());
    names.refuse("run.id", EVERY_RUN);
    names.refuse("run.timestamp", EVERY_RUN);
    let mut path_names = names.clone();
    let paths = environment
        .table()
        .and_then(|table| table.get("path"))
        .and_then(Node::table);
    for path in paths.map(|table| &table.entries).into_iter().flatten() {
        path_names.refuse(
            format!("path.{}", path.key),
            "paths do not refer to each other, so that each can be read alone",
        );
    }
    let schema = environment_schema();
    if let Some(table) = environment.table_mut()
        && let Some(entry) = table.entries.iter_mut().find(|entry| entry.key == "path")
        && let Some(below) = super::walk::child(schema, "path")
    {
        fill(&mut entry.node, below, &At::default(), &path_names, problems);
        for path in entry.node.table().map(|table| &table.entries).into_iter().flatten() {
            if let Value::String(text) = &path.node.value {
                names.insert(format!("path.{}", path.key), text.as_str());
            }
        }
    }
    // What is left of templates below `path` has its problem already.
    let at = At::default();
    if let Some(table) = environment.table_mut() {
        for entry in table.entries.iter_mut().filter(|entry| entry.key != "path") {
            if let Some(below) = super::walk::child(schema, &entry.key) {
                fill(&mut entry.node, below, &at, &names, problems);
            }
        }
    }
    names.allow("run.id", request.run.id.as_str());
    names.allow("run.timestamp", request.run.timestamp.as_str());
    if let Some(table) = pipeline.table() {
        arguments::bind(table, request, map, &mut names, problems);
    }
    let Some(table) = pipeline.table_mut() else {
        return;
    };
    let arguments = table.entries.iter().position(|entry| entry.key == "arg");
    let declared = arguments.map(|position| (position, table.entries.remove(position)));
    let at = At {
        identity: true,
        ..At::default()
    };
    fill(pipeline, pipeline_schema(), &at, &names, problems);
    if let (Some((position, entry)), Some(table)) = (declared, pipeline.table_mut()) {
        table.entries.insert(position.min(table.entries.len()), entry);
    }
}

type Decoded = (PipelineFile, Environment, Vec<ResolvedStep>);

fn decode(pipeline: &Node, environment: &Node, problems: &mut Problems) -> Option<Decoded> {
    let file = kinds::decode::<PipelineFile>(pipeline.to_json());
    let settings = kinds::decode::<Environment>(environment.to_json());
    let steps: Vec<Option<ResolvedStep>> = pipeline
        .table()
        .and_then(|table| table.get("step"))
        .map(Node::items)
        .unwrap_or_default()
        .iter()
        .map(|item| decode_step(item, problems))
        .collect();
    let file = file.map_err(|error| problems.push(misfit(&error, pipeline))).ok()?;
    let settings = settings
        .map_err(|error| problems.push(misfit(&error, environment)))
        .ok()?;
    let steps: Option<Vec<ResolvedStep>> = steps.into_iter().collect();
    Some((file, settings, steps?))
}

fn decode_step(item: &Node, problems: &mut Problems) -> Option<ResolvedStep> {
    let table = item.table()?;
    let mut json = item.to_json();
    let values = json.as_object_mut()?;
    let common: Vec<Option<Json>> = COMMON_KEYS.iter().map(|key| values.shift_remove(*key)).collect();
    let flag = |position: usize, default: bool| {
        common
            .get(position)
            .and_then(|value| value.as_ref()?.as_bool())
            .unwrap_or(default)
    };
    let id = table.text("id")?.parse::<StepId>();
    let step = Step::decode(table.text("type")?, json);
    match (id, step) {
        (Ok(id), Ok(step)) => Some(ResolvedStep {
            id,
            enabled: flag(2, true),
            always: flag(3, false),
            step,
            table: table.clone(),
            span: item.span,
        }),
        (id, step) => {
            let id_name = table.text("id").unwrap_or_default();
            if let Err(error) = id {
                let span = table.get("id").map_or(item.span, |node| node.span);
                let problem = Problem::new(Code::InvalidValue, error.to_string(), span, "");
                problems.push(problem.help("choose another id").step(id_name));
            }
            if let Err(error) = step {
                problems.push(misfit(&error, item).step(id_name));
            }
            None
        }
    }
}

/// A value that met its schema and still cannot be read.
fn misfit(error: &DecodeError, root: &Node) -> Problem {
    let (path, message) = match error {
        DecodeError::UnknownType(kind) => ("/type", format!("there is no type `{kind}`")),
        DecodeError::Value { path, message } => (path.as_str(), message.clone()),
    };
    let span = nearest(root, path);
    Problem::new(Code::InvalidValue, message, span, "").help("correct the value")
}

/// The place of the innermost value on a path that exists.
fn nearest(root: &Node, path: &str) -> Span {
    let mut path = path;
    loop {
        if let Some(found) = root.at(path) {
            return found.node.span;
        }
        match path.rsplit_once('/') {
            Some((parent, _)) => path = parent,
            None => return root.span,
        }
    }
}
