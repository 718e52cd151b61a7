//! Looks through YAML line by line: what stands below what is told by indentation, so a file that is broken in one place
//! is understood in all others. Block scalars are looked into as files of their own.

use std::ops::Range;

use super::flow::{Dialect, option_of};
use super::format::{self, Format, Lines};
use super::scan::{Form, Inherited, Pair, Place, Scalar, Scan};
use crate::sensitive::keys::Telling;

/// Levels of indentation that are told apart.
const DEPTH: usize = 512;
/// Lines of a quoted string.
const QUOTED_LINES: usize = 400;
/// Levels of texts inside texts.
const NESTED: u8 = 3;

/// A mapping or a sequence that is open at a column.
#[derive(Debug)]
struct Level {
    column: usize,
    is_list: bool,
    /// What the key above passes on.
    inherited: Option<Inherited>,
    /// What the last key of this mapping passes on to what stands below it.
    below: Option<Inherited>,
    pair: Pair,
    /// What an option in a list of arguments tells of the next one.
    option: Option<Telling>,
}

/// Where in a document the walk is.
#[derive(Default)]
struct Walk {
    levels: Vec<Level>,
    limit: usize,
    /// A value in brackets did not end: from then on values are looked for on their own line only.
    is_broken: bool,
}

/// Where a value stands: its column decides which lines belong to it.
struct Owner {
    /// The column of the key or the dash.
    column: usize,
    telling: Option<Telling>,
    inherited: Option<Inherited>,
    key: Option<Range<usize>>,
}

impl Scan<'_> {
    /// Looks through a YAML document, or several.
    pub(super) fn yaml(&mut self, range: Range<usize>) {
        let mut walk = Walk {
            limit: range.end,
            ..Walk::default()
        };
        let mut at = range.start;
        while at < range.end {
            let (end, next) = self.line_end(at, range.end);
            at = walk.line(self, at, end).max(at + 1).max(next.min(range.end));
        }
    }
}

impl Walk {
    /// Looks through a line and what belongs to its value; gives the end of what was understood, at a line's end.
    fn line(&mut self, scan: &mut Scan<'_>, begin: usize, end: usize) -> usize {
        let mut start = scan.skip_blanks(begin, end);
        if start >= end {
            return end;
        }
        if scan.at(start) == b'#' {
            scan.comments(start + 1..end);
            return end;
        }
        if start == begin
            && (scan.slice(&(begin..end)).starts_with(b"---") || scan.slice(&(begin..end)).starts_with(b"..."))
        {
            self.levels.clear();
            start = scan.skip_blanks(begin + 3, end);
        } else if start == begin && scan.at(start) == b'%' {
            return end;
        }
        while start < end && is_dash(scan, start, end) {
            self.item(start - begin);
            start = scan.skip_blanks(start + 1, end);
        }
        if start >= end {
            return end;
        }
        if scan.at(start) == b'?' && matches!(scan.at(start + 1), b' ' | b'\t') {
            start = scan.skip_blanks(start + 1, end);
        }
        let column = start - begin;
        match key(scan, start, end) {
            Some((key, value)) => self.pair(scan, column, key, value, end),
            None => self.item_value(scan, column, start, end),
        }
    }

    /// A dash at a column: an item of the sequence there.
    fn item(&mut self, column: usize) {
        while self.levels.last().is_some_and(|level| level.column > column) {
            self.levels.pop();
        }
        if self
            .levels
            .last()
            .is_some_and(|level| level.is_list && level.column == column)
        {
            return;
        }
        let inherited = self.passed();
        self.push(column, true, inherited);
    }

    fn push(&mut self, column: usize, is_list: bool, inherited: Option<Inherited>) {
        if self.levels.len() < DEPTH {
            self.levels.push(Level {
                column,
                is_list,
                inherited,
                below: None,
                pair: Pair::default(),
                option: None,
            });
        }
    }

    /// What passes to what stands below the innermost level.
    fn passed(&self) -> Option<Inherited> {
        self.levels
            .last()
            .and_then(|level| if level.is_list { level.inherited } else { level.below })
    }

    /// `key: value` at a column.
    fn pair(&mut self, scan: &mut Scan<'_>, column: usize, key: Range<usize>, value: usize, end: usize) -> usize {
        while self
            .levels
            .last()
            .is_some_and(|level| level.column > column || (level.column == column && level.is_list))
        {
            self.levels.pop();
        }
        if !self.levels.last().is_some_and(|level| level.column == column) {
            let inherited = self.passed().and_then(Inherited::into_table);
            self.push(column, false, inherited);
        }
        let above = self.levels.last().and_then(|level| level.inherited);
        let below = scan.passes(&key, above);
        if let Some(level) = self.levels.last_mut() {
            level.below = below;
        }
        if scan.known_in(&key).is_some_and(|known| known.start <= key.start)
            && !matches!(scan.at(key.end), b'"' | b'\'')
        {
            let mark = scan.edits.mark();
            scan.enclose(key.clone(), mark);
        }
        let owner = Owner {
            column,
            telling: scan.decide(&key, above),
            inherited: below,
            key: Some(key),
        };
        self.value(scan, value, end, &owner)
    }

    /// A line without a key: an item of a sequence, or text that belongs to what stands above it.
    fn item_value(&mut self, scan: &mut Scan<'_>, column: usize, start: usize, end: usize) -> usize {
        while self
            .levels
            .last()
            .is_some_and(|level| level.column >= column && column > 0)
        {
            self.levels.pop();
        }
        let inherited = self.passed();
        let mut telling = inherited.map(|above| above.telling);
        let line = scan.trimmed(start..end);
        let mut owner_column = column.saturating_sub(1);
        if let Some(level) = self.levels.last_mut() {
            owner_column = level.column;
            if level.is_list {
                let option = level.option.take();
                let content = unquoted(scan, &line);
                level.option = option_of(scan, &content);
                if option.is_some() && !scan.slice(&content).starts_with(b"--") {
                    telling = option;
                } else if scan.is_name(&content) {
                    telling = None;
                }
            }
        }
        let owner = Owner {
            column: owner_column,
            telling,
            inherited,
            key: None,
        };
        self.value(scan, start, end, &owner)
    }

    /// The value that begins at `start`; gives the end of the last line that belongs to it.
    fn value(&mut self, scan: &mut Scan<'_>, start: usize, end: usize, owner: &Owner) -> usize {
        let start = properties(scan, start, end);
        match scan.at(start) {
            _ if start >= end => end,
            b'#' => {
                scan.comments(start + 1..end);
                end
            }
            b'|' | b'>' if is_block_header(scan, start, end) => self.block(scan, start, end, owner),
            b'"' | b'\'' => self.quoted(scan, start, end, owner),
            b'{' | b'[' => self.flow(scan, start, end, owner),
            b'*' => end,
            _ => self.plain(scan, start, end, owner),
        }
    }

    fn emit(&mut self, scan: &mut Scan<'_>, scalar: &Scalar, owner: &Owner) {
        if let Some(telling) = owner.telling {
            return scan.value(scalar, telling);
        }
        scan.free(scalar);
        if let (Some(key), Some(level)) = (&owner.key, self.levels.last_mut())
            && let Some((value, telling)) = level.pair.hear(scan, key, scalar)
        {
            scan.value(&value, telling);
        }
    }

    /// The lines below `end` that are indented more than `column`, and blank ones among them; `None` for none.
    fn deeper(&self, scan: &Scan<'_>, end: usize, column: usize) -> Option<Range<usize>> {
        let first = scan.line_end(end, self.limit).1;
        let (mut at, mut reached) = (first, None);
        while at < self.limit {
            let (end, next) = scan.line_end(at, self.limit);
            let begin = scan.skip_blanks(at, end);
            if begin < end {
                if begin - at <= column {
                    break;
                }
                reached = Some(end);
            }
            at = next;
        }
        reached.map(|end| first..end)
    }

    /// How far a quoted string may reach that is not closed on its line: to the next key or item that is not indented
    /// more. Parsers do not insist on the indentation of its lines.
    fn quoted_reach(&self, scan: &Scan<'_>, end: usize, column: usize) -> usize {
        let mut reached = end;
        for _ in 0..QUOTED_LINES {
            let start = scan.line_end(reached, self.limit).1;
            let (end, _) = scan.line_end(start, self.limit);
            let begin = scan.skip_blanks(start, end);
            let outside = begin < end
                && begin - start <= column
                && (key(scan, begin, end).is_some()
                    || is_dash(scan, begin, end)
                    || scan.slice(&(begin..end)).starts_with(b"---"));
            if start >= self.limit || outside {
                break;
            }
            reached = end;
        }
        reached
    }

    /// `|` or `>` with the lines below it.
    fn block(&mut self, scan: &mut Scan<'_>, start: usize, end: usize, owner: &Owner) -> usize {
        let header = scan.slice(&(start..end));
        if let Some(mark) = header.iter().position(|b| *b == b'#') {
            scan.comments(start + mark + 1..end);
        }
        let Some(lines) = self.deeper(scan, end, owner.column) else {
            return end;
        };
        let content = scan.trimmed(lines.clone());
        let scalar = Scalar {
            content: content.clone(),
            form: Form::Inside(Place::Text),
        };
        if owner.telling.is_some() {
            self.emit(scan, &scalar, owner);
        } else if scan.nested < NESTED {
            scan.nested += 1;
            let name = owner.key.as_ref().map(|key| scan.slice(key)).unwrap_or_default();
            let nested = lines.start..lines.end;
            match format::of(name, scan.slice(&content)) {
                // Text inside a text need not be quoted for the outer one, but a line must stay a line.
                Format::Json => scan.json(nested),
                Format::Toml => scan.toml(nested),
                Format::Yaml => scan.yaml(nested),
                Format::Lines(kind) => scan.lines(nested, kind),
            }
            scan.nested -= 1;
        } else {
            scan.lines(lines.clone(), Lines::Any);
        }
        lines.end
    }

    /// A quoted string, which may go on over the lines below that are indented more.
    fn quoted(&mut self, scan: &mut Scan<'_>, start: usize, end: usize, owner: &Owner) -> usize {
        let (mut after, mut closed) = scan.string_end(start, end, Dialect::Yaml);
        if !closed {
            let reach = self.quoted_reach(scan, end, owner.column);
            (after, closed) = scan.string_end(start, reach, Dialect::Yaml);
            if !closed {
                // The quote was forgotten. Behind a telling key the lines below may belong to it all the same.
                after = if owner.telling.is_some() { reach } else { end };
            }
        }
        let content = start + 1..if closed { after - 1 } else { after };
        let scalar = Scalar {
            content,
            form: Form::Inside(Place::Escaped),
        };
        self.emit(scan, &scalar, owner);
        self.rest(scan, after)
    }

    fn flow(&mut self, scan: &mut Scan<'_>, start: usize, end: usize, owner: &Owner) -> usize {
        let inherited = match scan.at(start) {
            b'{' => owner.inherited.and_then(Inherited::into_table),
            _ => owner.inherited,
        };
        let reach = if self.is_broken { end } else { self.limit };
        let mark = scan.edits.mark();
        let after = scan.brackets(start, reach, Dialect::Yaml, inherited).or_else(|| {
            self.is_broken = true;
            scan.edits.take_back(mark);
            scan.brackets(start, end, Dialect::Yaml, inherited)
        });
        self.rest(scan, after.unwrap_or(end))
    }

    /// Plain text, which may go on over the lines below.
    fn plain(&mut self, scan: &mut Scan<'_>, start: usize, end: usize, owner: &Owner) -> usize {
        let comment = scan
            .slice(&(start..end))
            .windows(2)
            .position(|pair| matches!(pair, [b' ' | b'\t', b'#']))
            .map_or(end, |at| start + at);
        let mut content = scan.trimmed(start..comment);
        let mut reached = end;
        if owner.telling.is_some()
            && comment == end
            && let Some(lines) = self.deeper(scan, end, owner.column)
        {
            content.end = lines.end;
            reached = lines.end;
        }
        let scalar = Scalar {
            content,
            form: Form::Plain,
        };
        self.emit(scan, &scalar, owner);
        if comment < end {
            scan.comments(comment + 2..end);
        }
        reached
    }

    /// What follows a value on its line; gives the line's end.
    fn rest(&mut self, scan: &mut Scan<'_>, after: usize) -> usize {
        let (end, _) = scan.line_end(after, self.limit);
        let start = scan.skip_blanks(after, end);
        if start < end {
            if scan.at(start) == b'#' {
                scan.comments(start + 1..end);
            } else {
                scan.inline(start..end, Place::Text);
            }
        }
        end
    }
}

/// Whether a line has a dash here that begins an item.
fn is_dash(scan: &Scan<'_>, at: usize, end: usize) -> bool {
    scan.at(at) == b'-' && (at + 1 >= end || matches!(scan.at(at + 1), b' ' | b'\t'))
}

/// The key of a line, and where its value begins.
fn key(scan: &Scan<'_>, start: usize, end: usize) -> Option<(Range<usize>, usize)> {
    let start = properties(scan, start, end);
    let colon = |at: usize| scan.at(at) == b':' && (at + 1 >= end || matches!(scan.at(at + 1), b' ' | b'\t'));
    if matches!(scan.at(start), b'"' | b'\'') {
        let (after, closed) = scan.string_end(start, end, Dialect::Yaml);
        let operator = scan.skip_blanks(after, end);
        let is_key = closed && operator < end && (colon(operator) || scan.at(operator) == b':');
        return is_key.then_some((start + 1..after - 1, operator + 1));
    }
    if matches!(scan.at(start), b'{' | b'[' | b'|' | b'>' | b'*' | b'@' | b'`') {
        return None;
    }
    let mut at = start;
    while at < end {
        match scan.at(at) {
            b':' if colon(at) => {
                let key = scan.trimmed(start..at);
                return (!key.is_empty()).then_some((key, at + 1));
            }
            b'#' if at > start && matches!(scan.at(at - 1), b' ' | b'\t') => return None,
            _ => {}
        }
        at += 1;
    }
    None
}

/// Skips tags and anchors: `!vault`, `&name`.
fn properties(scan: &Scan<'_>, start: usize, end: usize) -> usize {
    let mut at = scan.skip_blanks(start, end);
    while at < end && matches!(scan.at(at), b'!' | b'&') {
        let word = scan
            .slice(&(at..end))
            .iter()
            .take_while(|b| !matches!(b, b' ' | b'\t'))
            .count();
        let next = scan.skip_blanks(at + word, end);
        if next >= end
            && scan.at(at) == b'!'
            && word > 1
            && !scan
                .slice(&(at..at + word))
                .iter()
                .skip(1)
                .all(u8::is_ascii_alphanumeric)
        {
            // `!secret-looking` at the end of a line is judged as a value.
            return at;
        }
        at = next;
    }
    at
}

/// `|`, `>-`, `|2+`, with a comment or nothing after it.
fn is_block_header(scan: &Scan<'_>, start: usize, end: usize) -> bool {
    let text = scan.slice(&(start + 1..end));
    let signs = text
        .iter()
        .take_while(|b| matches!(b, b'+' | b'-' | b'0'..=b'9'))
        .count();
    let rest = text.get(signs..).unwrap_or_default().trim_ascii();
    signs <= 2 && (rest.is_empty() || rest.starts_with(b"#"))
}

/// The content of an item without its quotes.
fn unquoted(scan: &Scan<'_>, line: &Range<usize>) -> Range<usize> {
    let quote = scan.at(line.start);
    if matches!(quote, b'"' | b'\'') && line.len() >= 2 && scan.at(line.end - 1) == quote {
        line.start + 1..line.end - 1
    } else {
        line.clone()
    }
}
