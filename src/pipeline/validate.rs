//! Checks a merged document against its schema, and maps each violation to the place its value came from.
//!
//! Tables of several kinds are checked against the schema of their own `type`, one by one, never through `oneOf`.

use serde_json::{Value as Json, json};

use super::problem::{Problem, Problems, list, suggest};
use super::source_map::{SourceMap, Span};
use super::tree::Node;
use super::violation;
use super::walk;
use crate::diagnostic::Code;

/// Checks a tree. A value that already has a problem gets no second one.
pub(super) fn check(root: &Node, schema: &Json, map: &SourceMap, problems: &mut Problems) {
    let document = root.to_json();
    let known = problems.spans();
    let mut checker = Checker {
        root,
        map,
        known,
        problems,
    };
    checker.check(schema, &document, "");
}

struct Checker<'a> {
    root: &'a Node,
    map: &'a SourceMap,
    /// Where problems were found before the schema was asked.
    known: Vec<Span>,
    problems: &'a mut Problems,
}

impl Checker<'_> {
    fn check(&mut self, schema: &Json, value: &Json, pointer: &str) {
        if let Some(alternatives) = walk::alternatives(schema) {
            if let Some(own) = self.choose(alternatives, value, pointer) {
                self.check(own, value, pointer);
            }
            return;
        }
        let plain = without_alternatives(schema);
        match jsonschema::draft7::new(&plain) {
            Ok(validator) => {
                for error in validator.iter_errors(value) {
                    let parent = error
                        .schema_path()
                        .as_str()
                        .rsplit_once('/')
                        .map_or("", |(parent, _)| parent);
                    let violated = plain.pointer(parent).unwrap_or(&plain);
                    let place = format!("{pointer}{}", error.instance_path().as_str());
                    for problem in violation::problems(error.kind(), violated, self.root, &place, self.map) {
                        self.add(problem, &place);
                    }
                }
            }
            Err(error) => self.problems.push(Problem::new(
                Code::Internal,
                format!("a generated schema is not valid: {error}"),
                self.root.span,
                "",
            )),
        }
        let mut inner = Vec::new();
        collect_alternatives(schema, value, pointer, &mut inner);
        for (schema, value, pointer) in inner {
            self.check(schema, value, &pointer);
        }
    }

    /// Chooses the alternative by `type`; a wrong or missing one is a problem.
    fn choose<'s>(&mut self, alternatives: &'s [Json], value: &Json, pointer: &str) -> Option<&'s Json> {
        let kinds: Vec<&str> = alternatives.iter().filter_map(walk::type_of).collect();
        let found = self.root.at(pointer)?;
        let noun = pointer.rsplit('/').nth(1).unwrap_or("item");
        let Some(table) = found.node.table() else {
            let what = format!("each `{noun}` must be a table, found {}", found.node.kind());
            let problem = Problem::new(Code::WrongType, what, found.node.span, "")
                .help(format!("write each one below a header of its own: `[[{noun}]]`"));
            self.add(problem, pointer);
            return None;
        };
        let Some(kind) = value.get("type").and_then(Json::as_str) else {
            // A `type` that is no string is reported at its value, a missing one at the table.
            let problem = match table.get("type") {
                Some(node) => Problem::new(
                    Code::WrongType,
                    format!("`type` must be a string, found {}", node.kind()),
                    node.span,
                    "",
                ),
                None => Problem::new(
                    Code::MissingKey,
                    format!("this {noun} has no `type`"),
                    found.key.map_or(found.node.span, |(_, span)| span),
                    "",
                )
                .why("its type decides what it does and which keys it has"),
            };
            self.add(
                problem.help(format!("add `type = \"…\"`, one of {}", list(&kinds))),
                pointer,
            );
            return None;
        };
        let own = alternatives.iter().find(|one| walk::type_of(one) == Some(kind));
        if own.is_none() {
            let span = table.get("type").map_or(found.node.span, |node| node.span);
            let problem = Problem::new(Code::UnknownType, format!("there is no {noun} type `{kind}`"), span, "")
                .why(format!("this program knows {}", list(&kinds)))
                .help(suggest(kind, kinds, "use one of the known types"));
            self.add(problem, pointer);
        }
        own
    }

    fn add(&mut self, problem: Problem, pointer: &str) {
        // A value that breaks several rules at once is told once; a table may miss several keys.
        let told = problem.code() != Code::MissingKey && self.problems.has(problem.span());
        if told || self.known.contains(&problem.span()) {
            return;
        }
        self.problems.push(match step_of(self.root, pointer) {
            Some(step) => problem.step(step),
            None => problem,
        });
    }
}

/// The id of the step that a pointer leads into.
fn step_of(root: &Node, pointer: &str) -> Option<String> {
    let mut segments = pointer.split('/').skip(1);
    if segments.next() != Some("step") {
        return None;
    }
    let item = root.at(&format!("/step/{}", segments.next()?))?;
    item.node.table()?.text("id").map(str::to_owned)
}

/// The schema with every list of alternatives replaced by "a table": those are checked one by one.
fn without_alternatives(schema: &Json) -> Json {
    if walk::alternatives(schema).is_some() {
        return json!({ "x-kinds": true });
    }
    match schema {
        Json::Object(map) => Json::Object(
            map.iter()
                .map(|(key, value)| (key.clone(), without_alternatives(value)))
                .collect(),
        ),
        Json::Array(items) => Json::Array(items.iter().map(without_alternatives).collect()),
        other => other.clone(),
    }
}

/// The values below that have one of several kinds, with their schemas.
fn collect_alternatives<'a>(
    schema: &'a Json,
    value: &'a Json,
    pointer: &str,
    found: &mut Vec<(&'a Json, &'a Json, String)>,
) {
    let mut meet = |schema: &'a Json, value: &'a Json, pointer: String| {
        if walk::alternatives(schema).is_some() {
            found.push((schema, value, pointer));
        } else {
            collect_alternatives(schema, value, &pointer, found);
        }
    };
    match value {
        Json::Object(map) => {
            for (key, value) in map {
                if let Some(schema) = walk::child(schema, key) {
                    let key = key.replace('~', "~0").replace('/', "~1");
                    meet(schema, value, format!("{pointer}/{key}"));
                }
            }
        }
        Json::Array(items) => {
            if let Some(schema) = schema.get("items") {
                for (position, value) in items.iter().enumerate() {
                    meet(schema, value, format!("{pointer}/{position}"));
                }
            }
        }
        _ => {}
    }
}
