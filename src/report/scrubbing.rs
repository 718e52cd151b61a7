//! Takes secret values out of everything an outcome says, as data, so that every format gets clean text.

use serde_json::Value;

use crate::diagnostic::{Diagnostic, Excerpt};
use crate::outcome::{Item, Outcome};

/// Passes every text of `outcome` through `clean`; keys and numbers stay.
pub fn scrub(outcome: &mut Outcome, clean: &dyn Fn(&str) -> String) {
    pass(&mut outcome.headline, clean);
    for field in &mut outcome.fields {
        pass(&mut field.label, clean);
        pass(&mut field.text, clean);
        pass_value(&mut field.json, clean);
    }
    for table in &mut outcome.tables {
        pass(&mut table.title, clean);
        for cell in table.columns.iter_mut().chain(table.rows.iter_mut().flatten()) {
            pass(cell, clean);
        }
    }
    pass_optional(&mut outcome.text, clean);
    for diagnostic in &mut outcome.diagnostics {
        pass_diagnostic(diagnostic, clean);
    }
    for (_, value) in &mut outcome.json {
        pass_value(value, clean);
    }
}

/// Passes the texts of an item through `clean`.
pub fn scrub_item(item: &mut Item, clean: &dyn Fn(&str) -> String) {
    pass(&mut item.text, clean);
    pass_value(&mut item.json, clean);
}

fn pass_diagnostic(diagnostic: &mut Diagnostic, clean: &dyn Fn(&str) -> String) {
    pass(&mut diagnostic.what, clean);
    for place in &mut diagnostic.places {
        pass(&mut place.file, clean);
        pass(&mut place.label, clean);
        if let Some(excerpt) = &mut place.excerpt {
            pass_excerpt(excerpt, clean);
        }
    }
    for text in [
        &mut diagnostic.why,
        &mut diagnostic.state,
        &mut diagnostic.help,
        &mut diagnostic.pipeline,
        &mut diagnostic.step,
        &mut diagnostic.environment,
    ] {
        pass_optional(text, clean);
    }
}

/// Cleans the line and moves the mark to where the same characters stand now.
fn pass_excerpt(excerpt: &mut Excerpt, clean: &dyn Fn(&str) -> String) {
    let cleaned = clean(&excerpt.text);
    if cleaned == excerpt.text {
        return;
    }
    let moved = |mark: u32| {
        let before: String = excerpt.text.chars().take(to_usize(mark)).collect();
        to_u32(clean(&before).chars().count())
    };
    let length = to_u32(cleaned.chars().count());
    let (start, end) = (moved(excerpt.start), moved(excerpt.end));
    excerpt.start = start.min(length);
    excerpt.end = end.clamp(excerpt.start, length);
    excerpt.text = cleaned;
}

fn pass_value(value: &mut Value, clean: &dyn Fn(&str) -> String) {
    match value {
        Value::String(text) => pass(text, clean),
        Value::Array(items) => items.iter_mut().for_each(|item| pass_value(item, clean)),
        Value::Object(items) => items.iter_mut().for_each(|(_, item)| pass_value(item, clean)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn pass_optional(text: &mut Option<String>, clean: &dyn Fn(&str) -> String) {
    if let Some(text) = text {
        pass(text, clean);
    }
}

fn pass(text: &mut String, clean: &dyn Fn(&str) -> String) {
    *text = clean(text);
}

fn to_usize(mark: u32) -> usize {
    usize::try_from(mark).unwrap_or(usize::MAX)
}

fn to_u32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::diagnostic::{Code, Place};
    use crate::outcome::Table;
    use crate::report::{Format, View};

    #[test]
    fn no_text_of_an_outcome_keeps_a_known_value() {
        let known = format!("k{}", "x9".repeat(8));
        let clean = |text: &str| text.replace(&known, "***");
        let mut outcome = Outcome::new("backup", format!("a {known}"));
        outcome.field("target", &known, format!("b {known}"), json!({ "c": [known.clone()] }));
        outcome.tables.push(Table {
            title: known.clone(),
            columns: vec![known.clone()],
            rows: vec![vec![known.clone()]],
        });
        outcome.text = Some(known.clone());
        outcome.json.insert("d".into(), json!({ "e": known.clone() }));
        let mut diagnostic = Diagnostic::error(Code::TargetFailed, &known)
            .why(&known)
            .state(&known)
            .help(&known)
            .at(Place {
                file: known.clone(),
                line: 1,
                column: 1,
                label: known.clone(),
                excerpt: Some(Excerpt {
                    text: format!("url = \"{known}\" # x"),
                    start: 6,
                    end: 25,
                }),
            });
        diagnostic.step = Some(known.clone());
        outcome.diagnostics.push(diagnostic);

        scrub(&mut outcome, &clean);

        for format in Format::ALL {
            let rendered = format.render(&outcome, &View::default());
            assert!(!rendered.result.contains(&known), "{}", rendered.result);
            assert!(!rendered.problems.contains(&known), "{}", rendered.problems);
        }
        let excerpt = outcome.diagnostics[0].places[0].excerpt.clone().unwrap();
        assert_eq!(
            (excerpt.text.as_str(), excerpt.start, excerpt.end),
            ("url = \"***\" # x", 6, 11)
        );
    }
}
