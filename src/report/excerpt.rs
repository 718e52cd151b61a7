//! The lines of a manifest under a diagnostic, with the mark below: annotate-snippets draws them as rustc does.
//!
//! The line above (`--> file:line:col`) and the lines below (`why:`, `state:`, `help:`) are ours: annotate-snippets has no
//! room for the environment in the one and puts `= note:` in the others.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::diagnostic::{Excerpt, Place, Severity};

use super::Color;

/// Which place of a diagnostic an excerpt belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rank {
    /// The one that is wrong, marked `^^^`.
    First,
    /// One that explains it, marked `---`.
    Further,
}

/// Draws `excerpt` of `place`: an empty gutter line, the line itself, the mark with the place's label. Ends with a newline.
pub(super) fn draw(place: &Place, excerpt: &Excerpt, severity: Severity, rank: Rank, color: Color) -> String {
    let line = excerpt.text.lines().next().unwrap_or_default();
    let start = byte_offset(line, excerpt.start);
    let end = byte_offset(line, excerpt.end).max(start);
    let kind = match rank {
        Rank::First => AnnotationKind::Primary,
        Rank::Further => AnnotationKind::Context,
    };
    let label = (!place.label.is_empty()).then(|| super::human::clean(&place.label));
    let level = match severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let snippet = Snippet::source(line)
        .line_start(usize::try_from(place.line).unwrap_or(usize::MAX))
        .annotation(kind.span(start..end).label(label));
    let renderer = match color {
        Color::Plain => Renderer::plain(),
        Color::Ansi => Renderer::styled(),
    };
    let mut text = renderer.render(&[Group::with_level(level).element(snippet)]);
    text.push('\n');
    text
}

/// The byte at which character `index` begins, or the end of the line.
fn byte_offset(line: &str, index: u32) -> usize {
    let index = usize::try_from(index).unwrap_or(usize::MAX);
    line.char_indices().nth(index).map_or(line.len(), |(offset, _)| offset)
}
