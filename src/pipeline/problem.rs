//! Problems with their spans, before they become diagnostics: excerpts are made last, when all secrets are known.

use super::source_map::{SourceMap, Span};
use crate::diagnostic::{Code, Diagnostic};
use crate::id::EnvName;
use crate::limits;

/// What is true of the data after any problem of a manifest.
pub(super) const STATE: &str = "nothing was started";

/// A problem of a manifest.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    code: Code,
    what: String,
    marks: Vec<(Span, String)>,
    why: Option<String>,
    help: Option<String>,
    step: Option<String>,
}

impl Problem {
    /// A problem at a place; `label` is what the mark under the excerpt says.
    pub(super) fn new(code: Code, what: impl Into<String>, span: Span, label: impl Into<String>) -> Self {
        Self {
            code,
            what: what.into(),
            marks: vec![(span, label.into())],
            why: None,
            help: None,
            step: None,
        }
    }

    /// Adds a place that explains it.
    pub(super) fn also(mut self, span: Span, label: impl Into<String>) -> Self {
        self.marks.push((span, label.into()));
        self
    }

    /// Says why.
    pub(super) fn why(mut self, text: impl Into<String>) -> Self {
        self.why = Some(text.into());
        self
    }

    /// Says what to do.
    pub(super) fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(text.into());
        self
    }

    /// Names the step.
    pub(super) fn step(mut self, id: impl Into<String>) -> Self {
        self.step = Some(id.into());
        self
    }

    /// What kind of problem.
    pub(super) fn code(&self) -> Code {
        self.code
    }

    /// The place that is wrong.
    pub(super) fn span(&self) -> Span {
        self.marks.first().map(|(span, _)| *span).unwrap_or_default()
    }
}

/// All problems that a stage finds.
#[derive(Debug, Default)]
pub(super) struct Problems {
    list: Vec<Problem>,
}

impl Problems {
    /// Adds a problem.
    pub(super) fn push(&mut self, problem: Problem) {
        self.list.push(problem);
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether a problem was found at exactly this span.
    pub(super) fn has(&self, span: Span) -> bool {
        self.list.iter().any(|problem| problem.span() == span)
    }

    /// The places at which problems were found.
    pub(super) fn spans(&self) -> Vec<Span> {
        self.list.iter().map(Problem::span).collect()
    }

    /// Makes diagnostics of them, sorted by place.
    pub(super) fn finish(mut self, map: &SourceMap, pipeline: &str, environment: &EnvName) -> Vec<Diagnostic> {
        self.list.sort_by_key(|problem| (problem.span(), problem.code));
        if self.list.len() > limits::PROBLEMS_LISTED {
            let further = self.list.len() - limits::PROBLEMS_LISTED;
            let first = self.list.drain(limits::PROBLEMS_LISTED..).next();
            self.list.extend(first.map(|first| Problem {
                what: format!("there are {further} further problems, the first of them here"),
                why: None,
                help: Some("mend those above first".to_owned()),
                ..first
            }));
        }
        self.list
            .into_iter()
            .map(|problem| {
                let mut diagnostic = Diagnostic::error(problem.code, problem.what).state(STATE);
                diagnostic.places = problem
                    .marks
                    .iter()
                    .filter_map(|(span, label)| map.place(*span, label))
                    .collect();
                diagnostic.why = problem.why;
                diagnostic.help = problem.help;
                diagnostic.step = problem.step;
                diagnostic.pipeline = Some(pipeline.to_owned());
                diagnostic.environment = Some(environment.to_string());
                diagnostic
            })
            .collect()
    }
}

/// The known name that comes closest to a wrong one, where one comes close.
pub(super) fn closest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = ((wrong.chars().count() + 1) / 4).max(1);
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(wrong, name), name))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// "did you mean `x`?" where a known name comes close, else the list of known names, else `none`.
pub(super) fn suggest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>, none: &str) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match closest(wrong, known.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None if known.is_empty() => none.to_owned(),
        None => format!("known here: {}", list(&known)),
    }
}

/// Names in a row: `a`, `b`, `c`.
pub(super) fn list<T: AsRef<str>>(names: &[T]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{}`", name.as_ref())).collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_gets_its_neighbour_and_a_strange_one_the_list() {
        assert_eq!(suggest("exlude", ["path", "exclude"], ""), "did you mean `exclude`?");
        assert_eq!(
            suggest("colour", ["path", "exclude"], ""),
            "known here: `path`, `exclude`"
        );
        assert_eq!(suggest("x", [], "there is none"), "there is none");
    }
}
