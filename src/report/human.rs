//! The format for people: one sentence, aligned facts, tables; problems as rustc shows them, with why, state and help.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use crate::diagnostic::{Diagnostic, Place, Severity};
use crate::outcome::{Field, Outcome, Table};

use super::excerpt::{self, Rank};
use super::{Color, Detail, Rendered, View};

const BOLD: Style = Style::new().bold();
const ERROR: Style = AnsiColor::BrightRed.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const GUTTER: Style = AnsiColor::BrightBlue.on_default().bold();
const HELP: Style = AnsiColor::BrightCyan.on_default().bold();
const DIM: Style = Style::new().dimmed();

/// Renders `outcome`. What went well goes into `result`; problems go into `problems`. Where one of them is an error, the
/// headline and the facts follow there too, so that nothing on the standard output could pass for a success; tables and
/// text are data that was asked for and stay.
pub fn render(outcome: &Outcome, view: &View) -> Rendered {
    let told: Vec<String> = outcome
        .diagnostics
        .iter()
        .map(|d| diagnostic(d, view.problems))
        .collect();
    let mut rendered = Rendered {
        result: String::new(),
        problems: told.join("\n"),
    };
    let failed = outcome.diagnostics.iter().any(|d| d.severity == Severity::Error);
    if failed {
        if !(outcome.headline.is_empty() && outcome.fields.is_empty()) {
            rendered.problems.push('\n');
        }
        summary(&mut rendered.problems, outcome, view.problems);
    }
    if view.detail == Detail::Problems {
        return rendered;
    }
    let result = &mut rendered.result;
    if !failed {
        summary(result, outcome, view.result);
    }
    for one in &outcome.tables {
        table(result, one, view.result);
    }
    if let Some(text) = &outcome.text {
        result.push_str(text);
        if !text.is_empty() && !text.ends_with('\n') {
            result.push('\n');
        }
    }
    rendered
}

fn summary(out: &mut String, outcome: &Outcome, color: Color) {
    if !outcome.headline.is_empty() {
        let _ = writeln!(out, "{}", paint(color, BOLD, &clean(&outcome.headline)));
    }
    fields(out, &outcome.fields, color);
}

fn fields(out: &mut String, fields: &[Field], color: Color) {
    let widest = fields.iter().map(|field| width(&field.label)).max().unwrap_or(0);
    for field in fields {
        let label = pad(&clean(&field.label), widest, Side::Left);
        let text = clean(&field.text);
        let _ = writeln!(out, "  {}  {text}", paint(color, DIM, &label));
    }
}

fn table(out: &mut String, table: &Table, color: Color) {
    if !out.is_empty() {
        out.push('\n');
    }
    if !table.title.is_empty() {
        let _ = writeln!(out, "{}", paint(color, BOLD, &clean(&table.title)));
    }
    let columns = table
        .rows
        .iter()
        .map(Vec::len)
        .chain([table.columns.len()])
        .max()
        .unwrap_or(0);
    let layout: Vec<(usize, Side)> = (0..columns).map(|index| column(table, index)).collect();
    if table.columns.iter().any(|head| !head.is_empty()) {
        let line = row(&table.columns, &layout);
        let _ = writeln!(out, "{}", paint(color, DIM, &line));
    }
    for cells in &table.rows {
        let _ = writeln!(out, "{}", row(cells, &layout));
    }
}

/// The width of a column, and the side on which its cells stand.
fn column(table: &Table, index: usize) -> (usize, Side) {
    let cells = || table.rows.iter().filter_map(move |row| row.get(index));
    let widest = cells().chain(table.columns.get(index)).map(|cell| width(cell)).max();
    let numbers = cells().all(|cell| cell.is_empty() || is_quantity(cell)) && cells().any(|cell| !cell.is_empty());
    (widest.unwrap_or(0), if numbers { Side::Right } else { Side::Left })
}

/// A number, alone or with a short unit: `12`, `3.4 MiB`, `30%`.
fn is_quantity(cell: &str) -> bool {
    let unit = cell.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.' || c == ',');
    let digits = cell.len() - unit.len();
    let unit = unit.trim_start_matches(' ');
    digits > 0 && unit.len() <= 3 && unit.chars().all(|c| c.is_ascii_alphabetic() || c == '%')
}

fn row(cells: &[String], layout: &[(usize, Side)]) -> String {
    let padded: Vec<String> = layout
        .iter()
        .enumerate()
        .map(|(index, (width, side))| {
            let cell = cells.get(index).map(|cell| clean(cell)).unwrap_or_default();
            pad(&cell, *width, *side)
        })
        .collect();
    padded.join("  ").trim_end().to_owned()
}

/// Renders one problem; ends with a newline.
pub fn diagnostic(diagnostic: &Diagnostic, color: Color) -> String {
    let mut out = String::new();
    let (word, style) = match diagnostic.severity {
        Severity::Error => ("error", ERROR),
        Severity::Warning => ("warning", WARNING),
    };
    let head = paint(color, style, &format!("{word}[{}]", diagnostic.code.as_str()));
    let what = paint(color, BOLD, &format!(": {}", clean(&diagnostic.what)));
    let _ = writeln!(out, "{head}{what}");
    places(&mut out, diagnostic, color);
    for (label, style, text) in [
        ("why:", GUTTER, &diagnostic.why),
        ("state:", GUTTER, &diagnostic.state),
        ("help:", HELP, &diagnostic.help),
    ] {
        if let Some(text) = text {
            let label = paint(color, style, &pad(label, 6, Side::Left));
            let lines: Vec<String> = text.trim_end().lines().map(clean).collect();
            let _ = writeln!(out, "  {label} {}", lines.join("\n         "));
        }
    }
    out
}

fn places(out: &mut String, diagnostic: &Diagnostic, color: Color) {
    let gutter = diagnostic
        .places
        .iter()
        .map(|place| place.line.to_string().len())
        .max()
        .unwrap_or(2);
    for (index, place) in diagnostic.places.iter().enumerate() {
        let (arrow, rank) = if index == 0 {
            ("-->", Rank::First)
        } else {
            (":::", Rank::Further)
        };
        let arrow = paint(color, GUTTER, &format!("{}{arrow}", " ".repeat(gutter)));
        let environment = if index == 0 {
            environment_suffix(diagnostic)
        } else {
            String::new()
        };
        let _ = writeln!(out, "{arrow} {}{environment}", at(place));
        if let Some(excerpt) = &place.excerpt {
            let drawn = excerpt::draw(place, excerpt, diagnostic.severity, rank, color);
            let indent = " ".repeat(gutter - place.line.to_string().len());
            drawn.lines().for_each(|line| {
                let _ = writeln!(out, "{indent}{line}");
            });
        }
    }
    if diagnostic.places.is_empty()
        && let Some(whereabouts) = whereabouts(diagnostic)
    {
        let _ = writeln!(out, "{} {whereabouts}", paint(color, GUTTER, "  -->"));
    }
}

fn at(place: &Place) -> String {
    format!("{}:{}:{}", clean(&place.file), place.line, place.column)
}

fn environment_suffix(diagnostic: &Diagnostic) -> String {
    let environment = diagnostic.environment.as_ref();
    environment.map_or_else(String::new, |name| format!(" (environment `{}`)", clean(name)))
}

/// Where a problem is that has no place in a manifest: step, pipeline, environment, as far as they are known.
fn whereabouts(diagnostic: &Diagnostic) -> Option<String> {
    let step = diagnostic.step.as_ref().map(|step| format!("step `{}`", clean(step)));
    let pipeline = diagnostic
        .pipeline
        .as_ref()
        .map(|name| format!("pipeline `{}`", clean(name)));
    let known: Vec<String> = [step, pipeline].into_iter().flatten().collect();
    match (known.is_empty(), &diagnostic.environment) {
        (false, _) => Some(format!("{}{}", known.join(" of "), environment_suffix(diagnostic))),
        (true, Some(environment)) => Some(format!("environment `{}`", clean(environment))),
        (true, None) => None,
    }
}

/// Writes out characters that would move the cursor, change colours or turn the writing direction: file names and other
/// foreign text must not be able to draw on the operator's terminal.
pub fn clean(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(hidden) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if hidden(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

fn paint(color: Color, style: Style, text: &str) -> String {
    match color {
        Color::Plain => text.to_owned(),
        Color::Ansi => format!("{style}{text}{style:#}"),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

fn width(text: &str) -> usize {
    clean(text).chars().count()
}

fn pad(text: &str, width: usize, side: Side) -> String {
    match side {
        Side::Left => format!("{text:<width$}"),
        Side::Right => format!("{text:>width$}"),
    }
}

#[cfg(test)]
mod tests;
