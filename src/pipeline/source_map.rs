//! All manifest text of a compilation in one offset space, as in a compiler: a span alone tells file, line and layer.
//!
//! An excerpt leaves this file masked: what was registered as secret, and what stands behind a telling key.

use std::ops::Range;

use super::mask;
use super::plan::Layer;
use crate::diagnostic::{Excerpt, Place};

/// A range of bytes in the common offset space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Span {
    /// First byte.
    pub(super) start: usize,
    /// One past the last byte.
    pub(super) end: usize,
}

/// One text: a file, or an argument of the command line.
struct Source {
    name: String,
    layer: Layer,
    text: String,
    base: usize,
}

/// The texts of a compilation, and what must not be shown of them.
#[derive(Default)]
pub(super) struct SourceMap {
    sources: Vec<Source>,
    masked: Vec<Span>,
    secret_keys: Vec<String>,
}

impl SourceMap {
    /// A map whose excerpts also hide what stands behind one of `secret_keys`.
    pub(super) fn new(secret_keys: Vec<String>) -> Self {
        Self {
            secret_keys,
            ..Self::default()
        }
    }

    /// Adds a text and gives the offset at which it begins.
    pub(super) fn add(&mut self, name: impl Into<String>, layer: Layer, text: impl Into<String>) -> usize {
        let base = self
            .sources
            .last()
            .map_or(0, |last| last.base.saturating_add(last.text.len()).saturating_add(1));
        self.sources.push(Source {
            name: name.into(),
            layer,
            text: text.into(),
            base,
        });
        base
    }

    /// Hides a value in every excerpt made from now on.
    pub(super) fn hide(&mut self, span: Span) {
        self.masked.push(span);
    }

    /// The layer of a span.
    pub(super) fn layer(&self, span: Span) -> Layer {
        self.source(span).map_or(Layer::Default, |source| source.layer)
    }

    /// The text of a span, unmasked; empty where it crosses an end.
    pub(super) fn text(&self, span: Span) -> &str {
        self.source(span)
            .and_then(|source| source.text.get(source.local(span.start)..source.local(span.end)))
            .unwrap_or_default()
    }

    /// The place of a span, with its line as excerpt.
    pub(super) fn place(&self, span: Span, label: &str) -> Option<Place> {
        let source = self.source(span)?;
        let start = floor_boundary(&source.text, source.local(span.start));
        let before = source.text.get(..start)?;
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let rest = source.text.get(line_start..)?;
        let line = rest.split('\n').next().unwrap_or_default();
        let line = line.strip_suffix('\r').unwrap_or(line);
        let end = floor_boundary(&source.text, source.local(span.end))
            .clamp(start, line_start.saturating_add(line.len()).max(start));
        let hidden = self.hidden(source, line_start, line);
        Some(Place {
            file: source.name.clone(),
            line: count(before.matches('\n').count()).saturating_add(1),
            column: count(source.text.get(line_start..start)?.chars().count()).saturating_add(1),
            label: label.to_owned(),
            excerpt: Some(excerpt(line, &hidden, start - line_start..end - line_start)),
        })
    }

    /// The ranges of a line that must not be shown, in order and apart from each other.
    fn hidden(&self, source: &Source, line_start: usize, line: &str) -> Vec<Range<usize>> {
        let mut ranges = mask::telling(line, &self.secret_keys);
        let above = source.text.get(..line_start).unwrap_or_default();
        if mask::goes_on(above, line, &self.secret_keys) {
            ranges.push(0..line.len());
        }
        for span in &self.masked {
            if span.start < source.base || span.start > source.base + source.text.len() {
                continue;
            }
            let start = source.local(span.start).saturating_sub(line_start).min(line.len());
            let end = source.local(span.end).saturating_sub(line_start).min(line.len());
            if start < end {
                ranges.push(floor_boundary(line, start)..floor_boundary(line, end));
            }
        }
        ranges.sort_by_key(|range| range.start);
        let mut apart: Vec<Range<usize>> = Vec::new();
        for range in ranges {
            match apart.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => apart.push(range),
            }
        }
        apart
    }

    fn source(&self, span: Span) -> Option<&Source> {
        let after = self.sources.partition_point(|source| source.base <= span.start);
        self.sources.get(after.checked_sub(1)?)
    }
}

impl Source {
    /// An offset of the common space within this text.
    fn local(&self, offset: usize) -> usize {
        offset.saturating_sub(self.base).min(self.text.len())
    }
}

/// The line with `***` for each hidden range, and the mark's range in characters of that. A mark that begins or ends
/// within a hidden range takes all of its stars.
fn excerpt(line: &str, hidden: &[Range<usize>], mark: Range<usize>) -> Excerpt {
    const STARS: &str = "***";
    let mut text = String::with_capacity(line.len());
    let (mut start, mut end) = (None, None);
    let mut length = 0;
    let mut hidden = hidden.iter().peekable();
    for (at, character) in line.char_indices() {
        while hidden.next_if(|range| range.end <= at).is_some() {}
        let within = hidden.peek().filter(|range| range.contains(&at));
        if within.is_some_and(|range| range.start < at) {
            continue;
        }
        let next = within.map_or(at + character.len_utf8(), |range| range.end);
        let width = if within.is_some() { STARS.len() } else { 1 };
        if start.is_none() && mark.start < next {
            start = Some(length);
        }
        if mark.end > at {
            end = Some(length + width);
        }
        if within.is_some() {
            text.push_str(STARS);
        } else {
            text.push(character);
        }
        length += width;
    }
    let start = start.unwrap_or(length);
    let end = end.unwrap_or(length).max(start + 1);
    Excerpt {
        text,
        start: count(start),
        end: count(end),
    }
}

fn floor_boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(text: &str) -> SourceMap {
        let mut map = SourceMap::default();
        map.add("first.toml", Layer::Pipeline, "x = 1\n");
        map.add("second.toml", Layer::Environment, text);
        map
    }

    fn span_of(map: &SourceMap, text: &str) -> Span {
        let source = &map.sources[1];
        let start = source.base + source.text.find(text).unwrap();
        Span {
            start,
            end: start + text.len(),
        }
    }

    #[test]
    fn columns_are_counted_in_characters() {
        let map = map("a = 1\nbé = \"ü\" # here\n");
        let place = map.place(span_of(&map, "# here"), "").unwrap();
        assert_eq!((place.file.as_str(), place.line, place.column), ("second.toml", 2, 10));
        let excerpt = place.excerpt.unwrap();
        assert_eq!((excerpt.start, excerpt.end), (9, 15));
        assert_eq!(map.layer(span_of(&map, "# here")), Layer::Environment);
    }

    #[test]
    fn a_mark_moves_with_what_is_hidden_before_it() {
        let mut map = map("k = { x = \"longlonglong\", y = 7 }");
        map.hide(span_of(&map, "\"longlonglong\""));
        let place = map.place(span_of(&map, "7"), "").unwrap();
        assert_eq!(place.column, 31);
        let excerpt = place.excerpt.unwrap();
        assert_eq!(excerpt.text, "k = { x = ***, y = 7 }");
        assert_eq!((excerpt.start, excerpt.end), (19, 20));
    }

    #[test]
    fn a_mark_within_what_is_hidden_takes_its_stars() {
        let map = map("password = [\"one\", \"two\"] # x");
        for (marked, from, to) in [("\"two\"", 11, 14), ("password", 0, 8), ("= [", 9, 14)] {
            let excerpt = map.place(span_of(&map, marked), "").unwrap().excerpt.unwrap();
            assert_eq!(excerpt.text, "password = ***");
            assert_eq!((excerpt.start, excerpt.end), (from, to), "{marked}");
        }
    }

    #[test]
    fn a_hidden_value_of_several_lines_is_hidden_on_each() {
        let text = "k = \"\"\"first\nsecond\nthird\"\"\" # end";
        let mut map = map(text);
        let span = span_of(&map, "\"\"\"first\nsecond\nthird\"\"\"");
        map.hide(span);
        for word in ["first", "second", "third"] {
            let place = map.place(span_of(&map, word), "").unwrap();
            assert!(!place.excerpt.unwrap().text.contains(word));
        }
    }

    #[test]
    fn a_line_of_a_telling_list_is_hidden_though_nothing_was_registered() {
        let map = map("passwords = [\n  \"planted\",\n  \"abc\n");
        for word in ["planted", "abc"] {
            let place = map.place(span_of(&map, word), "").unwrap();
            assert_eq!(place.excerpt.unwrap().text, "***");
        }
    }

    #[test]
    fn an_empty_file_has_a_first_place() {
        let map = map("");
        let base = map.sources[1].base;
        let place = map.place(Span { start: base, end: base }, "").unwrap();
        assert_eq!((place.line, place.column), (1, 1));
    }
}
