//! Looks through values in brackets: JSON as a whole, TOML's arrays and inline tables, YAML's flow style. It reads
//! tokens, not lines, so that JSON on one line and lists under a telling key are understood, and it goes on after
//! whatever it does not understand.

use std::ops::Range;

use super::scan::{Form, Inherited, Pair, Place, Scalar, Scan};
use crate::sensitive::keys::{Telling, Weight};

/// Levels of brackets that are told apart; what lies deeper is judged as if it lay on this one.
const DEPTH: usize = 512;

/// Whose brackets these are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// JSON, also with comments, single quotes and words without quotes.
    Json,
    /// TOML.
    Toml,
    /// YAML.
    Yaml,
}

/// One open bracket.
#[derive(Debug, Default)]
struct Frame {
    /// What the key above passes on.
    inherited: Option<Inherited>,
    /// The key whose value comes next.
    key: Option<Range<usize>>,
    pair: Pair,
    /// What the option in a list of arguments tells of the next one: `["--password", "x"]`.
    option: Option<Telling>,
    is_list: bool,
}

/// The walk through one bracketed value or one document.
struct Walk {
    dialect: Dialect,
    stack: Vec<Frame>,
    /// Open brackets beyond [`DEPTH`].
    deeper: usize,
}

impl Scan<'_> {
    /// Looks through a whole document of JSON, or many of them one after the other.
    pub(super) fn json(&mut self, range: Range<usize>) {
        let mut walk = Walk {
            dialect: Dialect::Json,
            stack: vec![Frame::default()],
            deeper: 0,
        };
        let mut at = range.start;
        while at < range.end {
            at = walk.step(self, at, range.end).max(at + 1);
        }
    }

    /// Looks through the value that begins with the bracket at `start`; gives the position after its closing bracket, or
    /// `None` where `limit` comes first.
    pub(super) fn brackets(
        &mut self,
        start: usize,
        limit: usize,
        dialect: Dialect,
        inherited: Option<Inherited>,
    ) -> Option<usize> {
        let ground = Frame {
            inherited,
            is_list: true,
            ..Frame::default()
        };
        let mut walk = Walk {
            dialect,
            stack: vec![ground],
            deeper: 0,
        };
        let mut at = start;
        while at < limit {
            at = walk.step(self, at, limit).max(at + 1);
            if walk.stack.len() <= 1 {
                return Some(at);
            }
        }
        None
    }

    /// The end of the quoted string at `start` with its closing quote, and whether it is closed.
    pub(super) fn string_end(&self, start: usize, limit: usize, dialect: Dialect) -> (usize, bool) {
        let quote = self.at(start);
        let literal = quote == b'\'' && dialect != Dialect::Json;
        let lines = dialect == Dialect::Yaml;
        let mut at = start + 1;
        while at < limit {
            match self.at(at) {
                b'\\' if !literal => at += 1,
                b'\n' if !lines => break,
                b if b == quote => {
                    if literal && lines && self.at(at + 1) == quote {
                        at += 1;
                    } else {
                        return (at + 1, true);
                    }
                }
                _ => {}
            }
            at += 1;
        }
        (at.min(limit), false)
    }
}

impl Walk {
    /// Takes one token; gives the position after it.
    fn step(&mut self, scan: &mut Scan<'_>, at: usize, limit: usize) -> usize {
        match scan.at(at) {
            b'{' | b'[' => {
                self.open(scan, scan.at(at) == b'[');
                at + 1
            }
            b'}' | b']' => {
                self.close();
                at + 1
            }
            b',' => {
                if let Some(top) = self.stack.last_mut() {
                    top.key = None;
                }
                at + 1
            }
            b'"' | b'\'' => self.string(scan, at, limit),
            b'#' if self.dialect != Dialect::Json || self.begins_line(scan, at) => comment(scan, at, at + 1, limit),
            b'/' if self.dialect == Dialect::Json && scan.at(at + 1) == b'/' => comment(scan, at, at + 2, limit),
            b'/' if self.dialect == Dialect::Json && scan.at(at + 1) == b'*' => {
                let rest = scan.slice(&(at + 2..limit));
                let end = rest
                    .windows(2)
                    .position(|window| window == b"*/")
                    .map_or(limit, |end| at + 2 + end);
                scan.comments(at + 2..end);
                (end + 2).min(limit)
            }
            b':' | b'=' => at + 1,
            b if b.is_ascii_whitespace() => at + 1,
            _ => self.bare(scan, at, limit),
        }
    }

    fn begins_line(&self, scan: &Scan<'_>, at: usize) -> bool {
        let before = scan.slice(&(at.saturating_sub(64)..at));
        before
            .iter()
            .rev()
            .find(|b| !matches!(b, b' ' | b'\t'))
            .is_none_or(|b| *b == b'\n')
    }

    fn open(&mut self, scan: &mut Scan<'_>, is_list: bool) {
        if self.stack.len() > DEPTH {
            self.deeper += 1;
            return;
        }
        let Some(top) = self.stack.last_mut() else {
            return;
        };
        let key = top.key.take();
        let above = top.inherited;
        let passed = match &key {
            Some(key) => scan.passes(key, above),
            None => above,
        };
        let inherited = if is_list {
            passed
        } else {
            passed.and_then(Inherited::into_table)
        };
        self.stack.push(Frame {
            inherited,
            is_list,
            ..Frame::default()
        });
    }

    fn close(&mut self) {
        if self.deeper > 0 {
            self.deeper -= 1;
        } else if self.stack.len() > 1 {
            self.stack.pop();
        }
        if let Some(top) = self.stack.last_mut() {
            top.key = None;
        }
    }

    fn string(&mut self, scan: &mut Scan<'_>, at: usize, limit: usize) -> usize {
        if self.dialect == Dialect::Toml {
            let quote = scan.at(at);
            if scan.at(at + 1) == quote && scan.at(at + 2) == quote {
                if let Some(end) = scan.long_string_end(at, limit) {
                    self.scalar(scan, at + 3..end - 3, Form::Inside(Place::Escaped), end, limit);
                    return end;
                }
            }
        }
        let (end, closed) = scan.string_end(at, limit, self.dialect);
        let content = at + 1..if closed { end - 1 } else { end };
        self.scalar(scan, content, Form::Inside(Place::Escaped), end, limit);
        end
    }

    fn bare(&mut self, scan: &mut Scan<'_>, at: usize, limit: usize) -> usize {
        let mut end = at;
        while end < limit {
            let byte = scan.at(end);
            let ends = match self.dialect {
                Dialect::Json => {
                    byte.is_ascii_whitespace() || matches!(byte, b',' | b':' | b'{' | b'}' | b'[' | b']' | b'"')
                }
                Dialect::Toml => {
                    byte.is_ascii_whitespace() || matches!(byte, b',' | b'=' | b'{' | b'}' | b'[' | b']' | b'#')
                }
                Dialect::Yaml => match byte {
                    b'\n' | b',' | b'{' | b'}' | b'[' | b']' => true,
                    b':' => matches!(
                        scan.at(end + 1),
                        0 | b' ' | b'\t' | b'\r' | b'\n' | b',' | b'}' | b']' | b'{' | b'['
                    ),
                    b'#' => matches!(scan.at(end - 1), b' ' | b'\t'),
                    _ => false,
                },
            };
            if ends && end > at {
                break;
            }
            end += 1;
        }
        let content = scan.trimmed(at..end);
        self.scalar(scan, content, Form::Bare, end, limit);
        end
    }

    /// A key, where an operator follows; else a value.
    fn scalar(&mut self, scan: &mut Scan<'_>, content: Range<usize>, form: Form, end: usize, limit: usize) {
        let mut next = end;
        while next < limit && scan.at(next).is_ascii_whitespace() {
            next += 1;
        }
        let operator = match self.dialect {
            Dialect::Json | Dialect::Yaml => b':',
            Dialect::Toml => b'=',
        };
        let scalar = Scalar { content, form };
        let Some(top) = self.stack.last_mut() else {
            return;
        };
        if next < limit && scan.at(next) == operator {
            if form == Form::Bare && scan.known_in(&scalar.content).is_some() {
                let mark = scan.edits.mark();
                scan.enclose(scalar.content.clone(), mark);
            }
            top.key = Some(scalar.content);
            return;
        }
        let telling = match &top.key {
            Some(key) => scan.decide(key, top.inherited),
            None => top.element(scan, &scalar),
        };
        match telling {
            Some(telling) => scan.value(&scalar, telling),
            None => scan.free(&scalar),
        }
        if let Some(key) = top.key.take()
            && telling.is_none()
            && let Some((value, telling)) = top.pair.hear(scan, &key, &scalar)
        {
            scan.value(&value, telling);
        }
    }
}

impl Frame {
    /// What is told of an element of a list.
    fn element(&mut self, scan: &mut Scan<'_>, scalar: &Scalar) -> Option<Telling> {
        let option = self.option.take();
        if !self.is_list {
            return self.inherited.map(|above| above.telling);
        }
        let text = scan.slice(&scalar.content);
        self.option = option_of(scan, &scalar.content);
        if option.is_some() && !text.starts_with(b"--") {
            return option;
        }
        let above = self.inherited?.telling;
        (!scan.is_name(&scalar.content)).then_some(above)
    }
}

impl Scan<'_> {
    /// Whether an element of a list is the name of a secret, not one: `secrets: [db_password]`.
    pub(super) fn is_name(&mut self, content: &Range<usize>) -> bool {
        let text = self.slice(content);
        text.iter().all(|b| b.is_ascii_lowercase() || matches!(b, b'_' | b'-'))
            && text.iter().any(|b| matches!(b, b'_' | b'-'))
            && self
                .judge(content)
                .is_some_and(|telling| telling.weight == Weight::Strong)
    }
}

/// What an argument such as `--password` tells of the one after it.
pub(super) fn option_of(scan: &mut Scan<'_>, content: &Range<usize>) -> Option<Telling> {
    let text = scan.slice(content);
    let dashes = text.iter().take_while(|b| **b == b'-').count();
    if dashes == 0 || dashes > 2 || text.len() < 4 || text.contains(&b'=') {
        return None;
    }
    scan.judge(&(content.start + dashes..content.end))
        .filter(|telling| telling.weight == Weight::Strong)
}

/// Looks into a comment that ends with its line.
fn comment(scan: &mut Scan<'_>, at: usize, text: usize, limit: usize) -> usize {
    let (end, _) = scan.line_end(at, limit);
    scan.comments(text.min(end)..end);
    end
}
