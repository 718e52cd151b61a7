//! Fills templates: handlebars, strict, no helpers, no escaping, once, in string leaves only.

use std::collections::BTreeMap;

use handlebars::template::{Parameter, Template, TemplateElement};
use handlebars::{Handlebars, Path};
use serde_json::{Value as Json, json};

use super::problem::{Problem, Problems, suggest};
use super::source_map::Span;
use super::tree::{Node, Value};
use super::walk::{At, takes_text, visit};
use crate::diagnostic::Code;
use crate::fs::glob;

/// What template names stand for.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    values: BTreeMap<String, String>,
    /// Names that exist and must not be used here, with the reason.
    refused: BTreeMap<String, &'static str>,
}

impl Names {
    /// Adds a name such as `path.data` with its value.
    pub(super) fn insert(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.values.insert(name.into(), value.into());
    }

    /// Adds a name that was refused before.
    pub(super) fn allow(&mut self, name: &str, value: impl Into<String>) {
        self.refused.remove(name);
        self.insert(name, value);
    }

    /// Adds a name that exists elsewhere and cannot be used here.
    pub(super) fn refuse(&mut self, name: impl Into<String>, why: &'static str) {
        self.refused.insert(name.into(), why);
    }

    /// The values as handlebars reads them, each passed through `change`.
    fn tree(&self, change: impl Fn(&str) -> String) -> Json {
        let mut tree = json!({});
        for (name, value) in &self.values {
            if let Some((group, key)) = name.split_once('.')
                && let Some(groups) = tree.as_object_mut()
                && let Some(group) = groups.entry(group).or_insert_with(|| json!({})).as_object_mut()
            {
                group.insert(key.to_owned(), Json::String(change(value)));
            }
        }
        tree
    }
}

/// Fills every template of a tree. What cannot be filled stays as it is and becomes a problem.
pub(super) fn fill(root: &mut Node, schema: &Json, at: &At, names: &Names, problems: &mut Problems) {
    let filler = Filler::new(names);
    visit(root, schema, at, &mut |at, schema, node| {
        let Value::String(text) = &node.value else {
            return;
        };
        if !text.contains("{{") {
            return;
        }
        let result = match misplaced(at, schema, node.span) {
            Some(problem) => Err(vec![problem]),
            None => filler.fill(text, node.span, at.glob),
        };
        match result {
            Ok(value) => {
                node.template = Some(text.clone());
                node.value = Value::String(value);
            }
            Err(found) => {
                for problem in found {
                    problems.push(match at.step() {
                        Some(step) => problem.step(step),
                        None => problem,
                    });
                }
            }
        }
    });
}

/// A template where none can be, whatever it names.
fn misplaced(at: &At, schema: &Json, span: Span) -> Option<Problem> {
    let problem = |code, what: String| Problem::new(code, what, span, "");
    if at.secret {
        return Some(
            problem(Code::TemplateInvalid, "a secret cannot hold a template".into())
                .why("what a template names is printed, journalled and shown; a secret never is")
                .help("refer to it: `{ secret = \"NAME\" }`, with one name in each environment's secret file"),
        );
    }
    if at.identity {
        return Some(
            problem(
                Code::TemplateInTypedField,
                "a name, id or type cannot hold a template".into(),
            )
            .why("overlays and other steps refer to it before templates are filled")
            .help("write it out"),
        );
    }
    if takes_text(schema) {
        return None;
    }
    Some(
        problem(
            Code::TemplateInTypedField,
            format!("{} is wanted here, and a template gives text", wanted(schema)),
        )
        .why("templates are filled in strings only, so that types are known before values are")
        .help("write the value; where it differs between environments, set it in the environment's overlay"),
    )
}

/// What a schema wants, with its article.
fn wanted(schema: &Json) -> &'static str {
    match schema.get("type").and_then(Json::as_str) {
        Some("integer") => "an integer",
        Some("number") => "a number",
        Some("boolean") => "a boolean",
        Some("array") => "an array",
        None if schema.get("type").is_some() => "a number or a word",
        _ => "a table",
    }
}

struct Filler<'a> {
    names: &'a Names,
    engine: Handlebars<'static>,
    plain: Json,
    escaped: Json,
}

impl<'a> Filler<'a> {
    fn new(names: &'a Names) -> Self {
        let mut engine = Handlebars::new();
        engine.set_strict_mode(true);
        engine.register_escape_fn(handlebars::no_escape);
        Self {
            names,
            engine,
            plain: names.tree(str::to_owned),
            escaped: names.tree(glob::escape),
        }
    }

    fn fill(&self, text: &str, span: Span, glob: bool) -> Result<String, Vec<Problem>> {
        let invalid = |what: String, why: &str| {
            vec![
                Problem::new(Code::TemplateInvalid, what, span, "")
                    .why(why.to_owned())
                    .help("write `{{name}}` with a known name, nothing else between the braces; `\\{{` for braces as text"),
            ]
        };
        if text.contains("{{~") || text.contains("~}}") {
            return Err(invalid(
                "a template holds names only".into(),
                "`~` would take away the blanks around a value",
            ));
        }
        let template = Template::compile(text).map_err(|_| {
            invalid(
                "this template cannot be read".into(),
                "its braces do not close around one name",
            )
        })?;
        let mut used = Vec::new();
        for element in &template.elements {
            match element {
                TemplateElement::RawString(_) => {}
                TemplateElement::Expression(expression) | TemplateElement::HtmlExpression(expression)
                    if expression.params.is_empty() && expression.hash.is_empty() && !expression.block =>
                {
                    used.push(written_name(&expression.name));
                }
                _ => {
                    return Err(invalid(
                        "a template holds names only".into(),
                        "there are no helpers, blocks, comments or partials here: a manifest says, it does not compute",
                    ));
                }
            }
        }
        let problems: Vec<Problem> = used.iter().filter_map(|name| self.check(name, span)).collect();
        if !problems.is_empty() {
            return Err(problems);
        }
        let values = if glob { &self.escaped } else { &self.plain };
        self.engine
            .render_template(text, values)
            .map_err(|_| invalid("this template cannot be filled".into(), "a name in it is not known"))
    }

    fn check(&self, name: &str, span: Span) -> Option<Problem> {
        if let Some(why) = self.names.refused.get(name) {
            return Some(
                Problem::new(
                    Code::TemplateUnknown,
                    format!("`{{{{{name}}}}}` cannot be used here"),
                    span,
                    "",
                )
                .why(*why)
                .help(suggest(
                    "",
                    self.names.values.keys().map(String::as_str),
                    "write it out",
                )),
            );
        }
        let Some(value) = self.names.values.get(name) else {
            let known = self.names.values.keys().map(String::as_str);
            return Some(
                Problem::new(
                    Code::TemplateUnknown,
                    format!("`{{{{{name}}}}}` is not known"),
                    span,
                    "",
                )
                .why("only the names of this environment, run and pipeline can be filled in")
                .help(suggest(name, known, "write it out")),
            );
        };
        value.contains(['\n', '\r', '\0']).then(|| {
            Problem::new(
                Code::TemplateInvalid,
                format!("the value of `{{{{{name}}}}}` holds a line end or a NUL"),
                span,
                "",
            )
            .why("such a value could turn one setting into two")
            .help(format!("give `{name}` a value of one line"))
        })
    }
}

/// The name as it was written between the braces.
fn written_name(name: &Parameter) -> String {
    match name {
        Parameter::Name(name) => name.clone(),
        Parameter::Path(Path::Relative((_, raw)) | Path::Local((_, _, raw))) => raw.clone(),
        Parameter::Literal(value) => value.to_string(),
        _ => "(…)".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let mut names = Names::default();
        names.insert("path.data", "/srv/*x");
        names.insert("path.my-data", "/d");
        names.insert("env.name", "dev");
        names.insert("arg.bad", "a\nb");
        names
    }

    fn filled(text: &str, glob: bool) -> Result<String, Vec<Problem>> {
        let names = names();
        Filler::new(&names).fill(text, Span::default(), glob)
    }

    #[test]
    fn a_name_is_filled_as_it_is_and_once() {
        assert_eq!(
            filled("{{path.data}}/a&b<{{ env.name }}>", false).unwrap(),
            "/srv/*x/a&b<dev>"
        );
        assert_eq!(filled("{{{path.my-data}}}", false).unwrap(), "/d");
        assert_eq!(filled("\\{{path.data}}", false).unwrap(), "{{path.data}}");
    }

    #[test]
    fn glob_characters_of_a_filled_value_are_literal_and_those_of_the_manifest_are_not() {
        assert_eq!(filled("{{path.data}}/*.db", true).unwrap(), "/srv/[*]x/*.db");
    }

    #[test]
    fn helpers_blocks_literals_and_other_spellings_are_refused() {
        for text in [
            "{{#if path.data}}x{{/if}}",
            "{{lookup path \"data\"}}",
            "{{! note }}",
            "{{> part}}",
            "{{path/data}}",
            "{{this.path.data}}",
            "{{@root.path.data}}",
            "{{\"text\"}}",
            "{{path}}",
            "{{path.data",
            "{{}}",
            "{{{{raw}}}}x{{{{/raw}}}}",
            "{{arg.bad}}",
            "a {{~path.data}}",
        ] {
            assert!(filled(text, false).is_err(), "{text}");
        }
    }
}
