//! Looks through TOML (v1.0): tables, dotted keys, the four kinds of strings, arrays and inline tables. A line that is no
//! TOML is looked at as free text.

use std::ops::Range;

use super::flow::Dialect;
use super::scan::{Form, Inherited, Pair, Place, Scalar, Scan};

/// Where in a document the walk is.
#[derive(Default)]
struct Section {
    /// What the table's name passes on.
    inherited: Option<Inherited>,
    pair: Pair,
    /// A value in brackets did not end: from then on values are looked for on their own line only.
    is_broken: bool,
}

impl Scan<'_> {
    /// Looks through a TOML document.
    pub(super) fn toml(&mut self, range: Range<usize>) {
        let mut section = Section::default();
        let mut at = range.start;
        while at < range.end {
            let (end, next) = self.line_end(at, range.end);
            let start = self.skip_blanks(at, end);
            at = match self.at(start) {
                _ if start >= end => next,
                b'#' => {
                    self.comments(start + 1..end);
                    next
                }
                b'[' => {
                    self.toml_table(start..end, &mut section);
                    next
                }
                _ => self.toml_pair(start, end, range.end, &mut section),
            };
        }
    }

    /// `[a.b]` or `[[a.b]]`.
    fn toml_table(&mut self, line: Range<usize>, section: &mut Section) {
        let open = self.slice(&line).iter().take_while(|b| **b == b'[').count();
        let (keys, end) = self.dotted(line.start + open, line.end);
        section.pair = Pair::default();
        section.inherited = keys.iter().fold(None, |above, key| {
            self.passes(key, above).and_then(Inherited::into_table)
        });
        let rest = self.skip_close(end, line.end);
        self.toml_rest(rest..line.end);
    }

    fn skip_close(&self, from: usize, limit: usize) -> usize {
        let mut at = from;
        while at < limit && matches!(self.at(at), b']' | b' ' | b'\t') {
            at += 1;
        }
        at
    }

    /// The parts of a dotted key, and where it ends.
    fn dotted(&self, start: usize, limit: usize) -> (Vec<Range<usize>>, usize) {
        let mut keys = Vec::new();
        let mut at = start;
        loop {
            at = self.skip_blanks(at, limit);
            let byte = self.at(at);
            if at < limit && matches!(byte, b'"' | b'\'') {
                let (end, closed) = self.string_end(at, limit, Dialect::Toml);
                keys.push(at + 1..end - usize::from(closed));
                at = end;
            } else {
                let own = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-') || *b >= 0x80;
                let length = self.slice(&(at..limit)).iter().take_while(|b| own(b)).count();
                if length == 0 {
                    return (keys, at);
                }
                keys.push(at..at + length);
                at += length;
            }
            let next = self.skip_blanks(at, limit);
            if next >= limit || self.at(next) != b'.' {
                return (keys, next);
            }
            at = next + 1;
        }
    }

    /// `key = value`; gives where the next line begins.
    fn toml_pair(&mut self, start: usize, end: usize, limit: usize, section: &mut Section) -> usize {
        let (keys, operator) = self.dotted(start, end);
        let next = self.line_end(start, limit).1;
        let Some((key, tables)) = keys
            .split_last()
            .filter(|_| self.at(operator) == b'=' && operator < end)
        else {
            self.line(start..end);
            return next;
        };
        for key in &keys {
            let bare = !matches!(self.at(key.start.saturating_sub(1)), b'"' | b'\'');
            if bare && self.known_in(key).is_some() {
                let mark = self.edits.mark();
                self.enclose(key.clone(), mark);
            }
        }
        let above = tables.iter().fold(section.inherited, |above, key| {
            self.passes(key, above).and_then(Inherited::into_table)
        });
        let value = self.skip_blanks(operator + 1, end);
        match self.at(value) {
            _ if value >= end => next,
            b'{' | b'[' => {
                let passed = self.passes(key, above);
                let inherited = if self.at(value) == b'{' {
                    passed.and_then(Inherited::into_table)
                } else {
                    passed
                };
                self.toml_brackets(value, end, limit, inherited, section)
            }
            b'"' | b'\'' => {
                let (content, after) = self.toml_string(value, end, limit);
                let scalar = Scalar {
                    content,
                    form: Form::Inside(Place::Escaped),
                };
                self.toml_value(key, above, &scalar, section);
                let (end, next) = self.line_end(after, limit);
                self.toml_rest(after..end);
                next
            }
            _ => {
                let comment = self
                    .slice(&(value..end))
                    .iter()
                    .position(|b| *b == b'#')
                    .map_or(end, |at| value + at);
                let scalar = Scalar {
                    content: self.trimmed(value..comment),
                    form: Form::Bare,
                };
                self.toml_value(key, above, &scalar, section);
                self.toml_rest(comment..end);
                next
            }
        }
    }

    fn toml_value(&mut self, key: &Range<usize>, above: Option<Inherited>, scalar: &Scalar, section: &mut Section) {
        if let Some(telling) = self.decide(key, above) {
            self.value(scalar, telling);
            return;
        }
        self.free(scalar);
        if let Some((value, telling)) = section.pair.hear(self, key, scalar) {
            self.value(&value, telling);
        }
    }

    /// The content of a string, and the position after its closing quotes.
    fn toml_string(&mut self, start: usize, end: usize, limit: usize) -> (Range<usize>, usize) {
        let quote = self.at(start);
        if self.at(start + 1) == quote && self.at(start + 2) == quote {
            if let Some(after) = self.long_string_end(start, limit) {
                return (start + 3..after - 3, after);
            }
            let reached = self.until_next_pair(end, limit);
            return ((start + 3).min(end)..reached, reached);
        }
        let (after, closed) = self.string_end(start, end, Dialect::Toml);
        (start + 1..after - usize::from(closed), after)
    }

    /// How far a string reaches that nothing closes: to the line before the next table or key.
    fn until_next_pair(&self, end: usize, limit: usize) -> usize {
        let mut reached = end;
        for _ in 0..1000 {
            let (_, start) = self.line_end(reached, limit);
            let (end, _) = self.line_end(start, limit);
            let first = self.skip_blanks(start, end);
            let (keys, operator) = self.dotted(first, end);
            if start >= limit || self.at(first) == b'[' || (!keys.is_empty() && self.at(operator) == b'=') {
                break;
            }
            reached = end;
        }
        reached
    }

    /// The end of a string in three quotes that begins at `start`, with its closing quotes.
    pub(super) fn long_string_end(&self, start: usize, limit: usize) -> Option<usize> {
        let quote = self.at(start);
        if self.unclosed_long_string(quote, start, limit) {
            return None;
        }
        let mut at = start + 3;
        while at + 2 < limit {
            match self.at(at) {
                b'\\' if quote == b'"' => at += 1,
                b if b == quote && self.at(at + 1) == quote && self.at(at + 2) == quote => {
                    // Up to two more quotes belong to the content.
                    let more = self
                        .slice(&(at + 3..limit.min(at + 5)))
                        .iter()
                        .take_while(|b| **b == quote)
                        .count();
                    return Some(at + 3 + more);
                }
                _ => {}
            }
            at += 1;
        }
        self.remember_unclosed(quote, start, limit);
        None
    }

    fn toml_brackets(
        &mut self,
        start: usize,
        end: usize,
        limit: usize,
        inherited: Option<Inherited>,
        section: &mut Section,
    ) -> usize {
        let reach = if section.is_broken { end } else { limit };
        let mark = self.edits.mark();
        let after = self.brackets(start, reach, Dialect::Toml, inherited).or_else(|| {
            section.is_broken = true;
            self.edits.take_back(mark);
            self.brackets(start, end, Dialect::Toml, inherited)
        });
        let after = after.unwrap_or(end);
        let (end, next) = self.line_end(after, limit);
        self.toml_rest(after..end);
        next
    }

    /// What follows a value on its line: a comment, or anything where the file is broken.
    fn toml_rest(&mut self, range: Range<usize>) {
        let start = self.skip_blanks(range.start, range.end);
        if self.at(start) == b'#' && start < range.end {
            self.comments(start + 1..range.end);
        } else if start < range.end {
            self.inline(start..range.end, Place::Text);
        }
    }
}
