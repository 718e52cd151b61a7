//! Looks through files of lines: `NAME=value` as shells read it, `key = value` and `key: value` of ini files and their
//! many relatives, `key value` of some daemons, and anything else that is text.

use std::ops::Range;

use super::format::Lines;
use super::scan::{Form, Inherited, Place, Scalar, Scan};
use crate::sensitive::Rule;
use crate::sensitive::keys::{Telling, Weight};
use crate::sensitive::values;

/// Lines and bytes that a quoted value may have.
const VALUE_LINES: usize = 400;

/// An assignment on a line.
struct Assignment {
    key: Range<usize>,
    operator: usize,
}

impl Scan<'_> {
    /// Looks through a text line by line.
    pub(super) fn lines(&mut self, range: Range<usize>, kind: Lines) {
        let mut at = range.start;
        let mut section = None;
        while at < range.end {
            let (end, next) = self.line_end(at, range.end);
            let start = self.skip_blanks(at, end);
            at = if start >= end {
                next
            } else if let Some(comment) = self.comment_start(start, end, kind) {
                self.comments(comment..end);
                next
            } else if self.at(start) == b'[' && self.section(start..end, &mut section) {
                next
            } else {
                self.assignment_line(start, range.end, kind, section).max(next)
            };
        }
    }

    /// One line of a file whose format did not explain it.
    pub(super) fn line(&mut self, range: Range<usize>) {
        self.assignment_line(range.start, range.end, Lines::Any, None);
    }

    /// `[name]`: what an ini file's section passes on. `false` where the line is no section.
    fn section(&mut self, line: Range<usize>, section: &mut Option<Inherited>) -> bool {
        let text = self.slice(&line);
        let Some(close) = text.iter().position(|b| *b == b']') else {
            return false;
        };
        let name = self.trimmed(line.start + 1..line.start + close);
        let plain =
            |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b' ' | b'_' | b'-' | b'.' | b':' | b'/' | b'"' | b'\'');
        let rest = text.get(close + 1..).unwrap_or_default().trim_ascii_start();
        if !self.slice(&name).iter().all(plain) || !(rest.is_empty() || matches!(rest.first(), Some(b'#' | b';'))) {
            return false;
        }
        *section = self.passes(&name, None).and_then(Inherited::into_table);
        true
    }

    fn comment_start(&self, start: usize, end: usize, kind: Lines) -> Option<usize> {
        let rest = self.slice(&(start..end));
        let marks: &[&[u8]] = &[
            b"#", b";", b"//", b"--", b"!", b"REM ", b"rem ", b"*", b"<!--", b"/*", b"%",
        ];
        let mark = marks.iter().find(|mark| rest.starts_with(mark))?;
        // `--password x` is an option and `!x` a value of some files; only these marks are comments everywhere.
        let sure = matches!(mark, [b'#' | b';', ..]) || mark.len() > 2 || *mark == b"//";
        let blank = rest.get(mark.len()).is_none_or(|b| matches!(b, b' ' | b'\t'));
        (sure || (blank && kind != Lines::Env)).then_some(start + mark.len())
    }

    /// Looks through a line that begins at `start`; gives the position up to which it was understood.
    fn assignment_line(&mut self, start: usize, limit: usize, kind: Lines, section: Option<Inherited>) -> usize {
        let (end, _) = self.line_end(start, limit);
        let begin = self.skip_words(start, end);
        let Some(found) = self.assignment(begin, end, kind) else {
            return self.directive(start, end, kind);
        };
        let telling = self.decide(&found.key, section);
        let Some(telling) = telling.filter(|_| !self.is_prose(&found, end, kind)) else {
            self.inline(start..end, Place::Text);
            return end;
        };
        if found.key.start > start {
            self.inline(start..found.key.start, Place::Text);
        }
        let value = self.skip_blanks(found.operator + 1, end);
        if value >= end {
            return end;
        }
        self.line_value(value, end, limit, kind, telling)
    }

    /// Whether a line of a file of any kind is no assignment: a sentence with a colon, code that gets a value, a type.
    fn is_prose(&self, found: &Assignment, end: usize, kind: Lines) -> bool {
        const TYPES: &[&str] = &[
            "str",
            "string",
            "String",
            "&str",
            "bytes",
            "int",
            "bool",
            "Optional",
            "Option<",
            "Secret<",
            "Vec<",
            "text",
            "varchar",
            "Annotated",
            "Box<",
            "Arc<",
            "any",
            "unknown",
            "field",
        ];
        if kind != Lines::Any {
            return false;
        }
        let words = self
            .slice(&found.key)
            .split(|b| *b == b' ')
            .filter(|word| !word.is_empty())
            .count();
        let value = self.trimmed(self.skip_blanks(found.operator + 1, end)..end);
        let text = self.slice(&value);
        let typed = self.at(found.operator) == b':'
            && TYPES.iter().any(|name| {
                let after = text.strip_prefix(name.as_bytes()).and_then(|rest| rest.first());
                text == name.as_bytes()
                    || (text.starts_with(name.as_bytes()) && after.is_some_and(|b| b" ,;=[|?)<".contains(b)))
                    || (name.ends_with('<') && text.starts_with(name.as_bytes()))
            });
        words > 3 || typed || self.is_code(&value, false)
    }

    /// Skips `export`, `set`, `ENV`, `const` and their like before a name.
    fn skip_words(&self, start: usize, end: usize) -> usize {
        const WORDS: &[&str] = &[
            "export",
            "set",
            "setx",
            "setenv",
            "declare",
            "typeset",
            "readonly",
            "local",
            "env",
            "ENV",
            "ARG",
            "const",
            "let",
            "var",
            "val",
            "final",
            "static",
            "public",
            "private",
            "protected",
            "String",
            "string",
            "-e",
            "--env",
            "-x",
            "-gx",
            "-Ux",
            "-",
            "+",
            "def",
            "my",
            "our",
            "SetEnv",
            "fastcgi_param",
            "RUN",
        ];
        let mut at = start;
        for _ in 0..4 {
            let length = self
                .slice(&(at..end))
                .iter()
                .take(16)
                .take_while(|b| !matches!(b, b' ' | b'\t'))
                .count();
            let word = self.slice(&(at..at + length));
            let next = self.skip_blanks(at + length, end);
            if next == at + length || next >= end || !WORDS.iter().any(|known| known.as_bytes() == word) {
                break;
            }
            at = next;
        }
        at
    }

    /// The first `=` or `:` of a line with a key before it.
    fn assignment(&self, start: usize, end: usize, kind: Lines) -> Option<Assignment> {
        let mut at = start;
        let reach = end.min(start + 160);
        while at < reach {
            match self.at(at) {
                b'=' => {
                    let operator = at;
                    let before = self.at(at.saturating_sub(1));
                    let key_end = at - usize::from(at > start && matches!(before, b'+' | b'?' | b':'));
                    let after = operator + usize::from(self.at(operator + 1) == b'>');
                    return self.assigned(start, key_end, after);
                }
                b':' => {
                    let next = self.at(at + 1);
                    let blank = at + 1 >= end || matches!(next, b' ' | b'\t');
                    // Only files of properties set a value right behind a colon; elsewhere it may be a URL or a port.
                    if blank || (kind == Lines::Properties && next != b'/' && next != b'=') {
                        return self.assigned(start, at, at);
                    }
                }
                b if b.is_ascii_alphanumeric() => {}
                b'_' | b'-' | b'.' | b' ' | b'\t' | b'"' | b'\'' | b'[' | b']' | b'$' | b'@' | b'/' | b'+' | b'?'
                | b'%' => {}
                b if b >= 0x80 => {}
                _ => return None,
            }
            at += 1;
        }
        None
    }

    fn assigned(&self, start: usize, end: usize, operator: usize) -> Option<Assignment> {
        let mut key = self.trimmed(start..end);
        // `$config['password'] = x`, `"password": x`: the last quoted word is the key.
        let text = self.slice(&key);
        if let Some(last) = text.iter().rposition(|b| matches!(b, b'"' | b'\'')) {
            let quote = text.get(last).copied().unwrap_or(b'"');
            let open = text.get(..last).unwrap_or_default().iter().rposition(|b| *b == quote)?;
            key = key.start + open + 1..key.start + last;
        }
        (!key.is_empty()).then_some(Assignment { key, operator })
    }

    /// The value of a line behind a telling key; gives the position up to which it was understood.
    fn line_value(&mut self, start: usize, end: usize, limit: usize, kind: Lines, telling: Telling) -> usize {
        let quote = self.at(start);
        let inside = |content| Scalar {
            content,
            form: Form::Inside(Place::Text),
        };
        if matches!(quote, b'"' | b'\'' | b'`') {
            if let Some(close) = self.closing(start, end) {
                let rest = self.slice(&(close + 1..end)).trim_ascii_start();
                let over = rest
                    .first()
                    .is_none_or(|b| matches!(b, b'#' | b';' | b',' | b')' | b'}' | b']' | b'/' | b'\\'));
                if over {
                    self.value(&inside(start + 1..close), telling);
                    self.inline(close + 1..end, Place::Comment);
                    return end;
                }
            } else if kind != Lines::Properties
                && let Some((close, line_end)) = self.closing_later(start, end, limit)
            {
                // What follows the quote on its line is joined to the value by a shell.
                let after = self.slice(&(close + 1..line_end)).trim_ascii();
                let reach = if after.is_empty() { close } else { line_end };
                self.value(&inside(start + 1..reach), telling);
                return line_end;
            }
        }
        let end = self.continued(end, limit);
        let whole = self.trimmed(start..end);
        let comment = self.comment_within(&whole);
        let before = self.trimmed(whole.start..comment);
        if comment < whole.end && (before.is_empty() || values::stays(self.slice(&before), telling)) {
            self.inline(whole, Place::Text);
            return end;
        }
        self.value(&inside(whole), telling);
        end
    }

    /// The quote that closes the one at `start` on the same line.
    fn closing(&self, start: usize, end: usize) -> Option<usize> {
        let quote = self.at(start);
        let mut at = start + 1;
        while at < end {
            match self.at(at) {
                b'\\' if quote != b'\'' => at += 1,
                b if b == quote => return Some(at),
                _ => {}
            }
            at += 1;
        }
        None
    }

    /// The quote that closes a value on a later line, and the end of that line; `None` where another assignment comes
    /// first, which shows that the quote was forgotten.
    fn closing_later(&self, start: usize, end: usize, limit: usize) -> Option<(usize, usize)> {
        let quote = self.at(start);
        let mut line = self.line_end(end, limit).1;
        for _ in 0..VALUE_LINES {
            if line >= limit {
                return None;
            }
            let (end, next) = self.line_end(line, limit);
            if self.is_assignment(line, end) {
                return None;
            }
            if let Some(close) = self.closing_from(quote, line, end) {
                return Some((close, end));
            }
            line = next;
        }
        None
    }

    fn closing_from(&self, quote: u8, from: usize, end: usize) -> Option<usize> {
        let mut at = from;
        while at < end {
            match self.at(at) {
                b'\\' if quote != b'\'' => at += 1,
                b if b == quote => return Some(at),
                _ => {}
            }
            at += 1;
        }
        None
    }

    /// `NAME=x`, in capitals as environment variables are: base64 ends with `=` too, but nothing follows it.
    fn is_assignment(&self, start: usize, end: usize) -> bool {
        let start = self.skip_words(self.skip_blanks(start, end), end);
        let name = self
            .slice(&(start..end.min(start + 64)))
            .iter()
            .take_while(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || **b == b'_')
            .count();
        name > 1 && self.at(start + name) == b'=' && start + name + 1 < end && self.at(start + name + 1) != b'='
    }

    /// Follows a backslash at the end of a line onto the next ones.
    fn continued(&self, end: usize, limit: usize) -> usize {
        let mut end = end;
        for _ in 0..64 {
            let slashes = self
                .slice(&(end.saturating_sub(8)..end))
                .iter()
                .rev()
                .take_while(|b| **b == b'\\')
                .count();
            let next = self.line_end(end, limit).1;
            if slashes % 2 == 0 || next >= limit {
                break;
            }
            end = self.line_end(next, limit).0;
        }
        end
    }

    /// Where a comment begins behind a value: ` #` or ` ;`. It ends where there is none.
    fn comment_within(&self, range: &Range<usize>) -> usize {
        let text = self.slice(range);
        let mark = text
            .windows(2)
            .position(|pair| matches!(pair, [b' ' | b'\t', b'#' | b';']));
        match text.first() {
            Some(b'#' | b';') => range.start,
            _ => mark.map_or(range.end, |at| range.start + at),
        }
    }

    /// `key value`, where daemons write it so; anything else is free text.
    fn directive(&mut self, start: usize, end: usize, kind: Lines) -> usize {
        match kind {
            Lines::Conf => {
                let length = self
                    .slice(&(start..end))
                    .iter()
                    .take_while(|b| !b.is_ascii_whitespace())
                    .count();
                let value = self.skip_blanks(start + length, end);
                let key = start..start + length;
                if value < end
                    && length <= 64
                    && let Some(telling) = self.judge(&key).filter(|telling| telling.weight == Weight::Strong)
                {
                    return self
                        .line_value(value, self.before_semicolon(value, end), end, kind, telling)
                        .max(end);
                }
                self.acl(start..end);
            }
            Lines::Netrc => self.netrc(start..end),
            Lines::Pgpass => {
                self.last_field(start..end, 4);
                return end;
            }
            Lines::Htpasswd => {
                self.last_field(start..end, 1);
                return end;
            }
            Lines::Env | Lines::Properties | Lines::Any => {
                let begin = self.skip_words(start, end);
                if begin > start && self.slice(&(start..begin)).starts_with(b"ENV") {
                    // Docker's `ENV NAME value`.
                    return self.directive(begin, end, Lines::Conf);
                }
            }
        }
        self.inline(start..end, Place::Text);
        end
    }

    fn before_semicolon(&self, start: usize, end: usize) -> usize {
        if end > start + 1 && self.at(end - 1) == b';' {
            end - 1
        } else {
            end
        }
    }

    /// Redis: `user default on >password ~* +@all`.
    fn acl(&mut self, line: Range<usize>) {
        if !self.slice(&line).starts_with(b"user ") {
            return;
        }
        let mut at = line.start;
        for word in self.slice(&line).split(|b| *b == b' ') {
            if let [b'>' | b'<' | b'#' | b'!', rest @ ..] = word
                && rest.len() >= 3
                && !values::is_placeholder(rest)
                && crate::sensitive::marker_length(rest).is_none()
            {
                self.edits
                    .replace(at + 1..at + word.len(), Rule::Password, super::edits::Style::Bare);
            }
            at += word.len() + 1;
        }
    }

    /// `machine host login user password x`, on one line or several.
    fn netrc(&mut self, line: Range<usize>) {
        let mut at = line.start;
        let mut telling: Option<Telling> = None;
        for word in self.slice(&line).split(|b| matches!(b, b' ' | b'\t')) {
            let range = at..at + word.len();
            at += word.len() + 1;
            if word.is_empty() {
                continue;
            }
            if let Some(telling) = telling.take() {
                self.value(
                    &Scalar {
                        content: range,
                        form: Form::Inside(Place::Text),
                    },
                    telling,
                );
            } else if word == b"password" || word == b"passwd" || word == b"account" {
                telling = Some(super::PASSWORD);
            }
        }
    }

    /// What follows the given number of colons, each not escaped.
    fn last_field(&mut self, line: Range<usize>, colons: usize) {
        let text = self.slice(&line);
        let found = (0..text.len())
            .filter(|at| text.get(*at) == Some(&b':') && (*at == 0 || text.get(at - 1) != Some(&b'\\')))
            .nth(colons - 1);
        if let Some(at) = found {
            let content = line.start + at + 1..line.end;
            self.value(
                &Scalar {
                    content,
                    form: Form::Inside(Place::Text),
                },
                super::PASSWORD,
            );
        }
    }

    /// Looks into comments: an assignment that was commented out is one; prose is free text.
    pub(super) fn comments(&mut self, range: Range<usize>) {
        let mut at = range.start;
        while at < range.end {
            let (end, next) = self.line_end(at, range.end);
            let marks = self
                .slice(&(at..end))
                .iter()
                .take_while(|b| matches!(b, b'#' | b';' | b'/' | b'*' | b'!' | b' ' | b'\t'))
                .count();
            let start = at + marks;
            if start < end && !self.commented_out(start, end) {
                self.inline(start..end, Place::Comment);
            }
            at = next;
        }
    }

    /// `# DB_PASSWORD=x`, `# password: x`; `false` where it is prose.
    fn commented_out(&mut self, start: usize, end: usize) -> bool {
        let begin = self.skip_words(start, end);
        let Some(found) = self.assignment(begin, end, Lines::Any) else {
            return false;
        };
        let key = self.slice(&found.key);
        let blank_key = key.iter().any(u8::is_ascii_whitespace);
        let Some(telling) = self.judge(&found.key).filter(|_| !blank_key) else {
            return false;
        };
        let value = self.trimmed(self.skip_blanks(found.operator + 1, end)..end);
        let text = self.slice(&value);
        let quoted = matches!(text.first(), Some(b'"' | b'\''));
        let words = text.iter().any(|b| matches!(b, b' ' | b'\t'));
        let assigns = self.at(found.operator) == b'=' && found.operator == found.key.end;
        if value.is_empty() || matches!(text.first(), Some(b'{' | b'[')) || (words && !quoted && !assigns) {
            return false;
        }
        self.line_value(value.start, value.end, value.end, Lines::Any, telling);
        true
    }
}
