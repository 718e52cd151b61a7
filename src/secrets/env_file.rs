//! Reads a file of `NAME=value` lines, as shells and container runtimes write them: `export`, single quotes (literal),
//! double quotes (`\n \r \t \" \\ \$`), comments. Nothing is expanded: `$X` in a value is these two characters.

use std::collections::BTreeMap;

use crate::secret::Secret;

/// A line that cannot be understood. The line itself is not in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// Line, counted from 1.
    pub line: usize,
    /// What is wrong.
    pub what: &'static str,
}

/// The values by name; where a name stands twice the later one counts, as in a shell.
pub(super) fn parse(text: &str) -> Result<BTreeMap<String, Secret<String>>, SyntaxError> {
    let mut entries = BTreeMap::new();
    let mut rest = text;
    let mut line = 1;
    while !rest.is_empty() {
        let here = rest.trim_start_matches([' ', '\t', '\r', '\u{c}']);
        if here.starts_with('#') || here.starts_with('\n') || here.is_empty() {
            rest = after_line(here);
            line += 1;
            continue;
        }
        let fail = |what| SyntaxError { line, what };
        let here = match here.strip_prefix("export") {
            Some(after) if after.starts_with([' ', '\t']) => after.trim_start_matches([' ', '\t']),
            _ => here,
        };
        let end = here.find(['=', '\n']).unwrap_or(here.len());
        let (name, after) = here.split_at(end);
        let name = name.trim_end_matches([' ', '\t', '\r']);
        let Some(after) = after.strip_prefix('=') else {
            return Err(fail("a line is `NAME=value`, and here is no `=`"));
        };
        if !is_name(name) {
            return Err(fail(
                "a name has letters, digits and `_` only, and begins with no digit",
            ));
        }
        let (value, left) = value(after.trim_start_matches([' ', '\t'])).map_err(fail)?;
        let consumed = rest.len() - left.len();
        line += rest.get(..consumed).unwrap_or_default().matches('\n').count();
        entries.insert(name.to_owned(), Secret::new(value));
        rest = left;
    }
    Ok(entries)
}

fn after_line(text: &str) -> &str {
    text.split_once('\n').map_or("", |(_, after)| after)
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// A value, and what follows its line.
fn value(text: &str) -> Result<(String, &str), &'static str> {
    match text.chars().next() {
        Some('\'') => {
            let inner = text.get(1..).unwrap_or_default();
            let (value, after) = inner.split_once('\'').ok_or("a `'` that is not closed")?;
            Ok((value.to_owned(), only_a_comment(after)?))
        }
        Some('"') => {
            let (value, after) = double_quoted(text.get(1..).unwrap_or_default())?;
            Ok((value, only_a_comment(after)?))
        }
        _ => {
            let line = text.split('\n').next().unwrap_or_default();
            let comment = line
                .char_indices()
                .zip(std::iter::once(' ').chain(line.chars()))
                .find(|((_, c), before)| *c == '#' && before.is_whitespace())
                .map_or(line.len(), |((at, _), _)| at);
            let value = line.get(..comment).unwrap_or_default().trim();
            Ok((value.to_owned(), after_line(text)))
        }
    }
}

fn double_quoted(text: &str) -> Result<(String, &str), &'static str> {
    let mut value = String::with_capacity(text.len().min(256));
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, text.get(at + 1..).unwrap_or_default())),
            '\\' => match chars.next().map(|(_, c)| c) {
                Some('n') => value.push('\n'),
                Some('r') => value.push('\r'),
                Some('t') => value.push('\t'),
                Some(c @ ('"' | '\\' | '$' | '`')) => value.push(c),
                Some('\n') => {}
                Some(other) => {
                    value.push('\\');
                    value.push(other);
                }
                None => break,
            },
            c => value.push(c),
        }
    }
    Err("a `\"` that is not closed")
}

/// Nothing but blanks and a comment may follow a closed quote.
fn only_a_comment(text: &str) -> Result<&str, &'static str> {
    let line = text.split('\n').next().unwrap_or_default().trim();
    if line.is_empty() || line.starts_with('#') {
        Ok(after_line(text))
    } else {
        Err("text after the closing quote")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, String)> {
        let entries = parse(text).unwrap();
        entries
            .iter()
            .map(|(name, value)| (name.clone(), value.expose().clone()))
            .collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn plain_quoted_and_exported_values_are_read() {
        assert_eq!(
            read("# c\n\nA=1\r\nexport B='x # $y'\n  C = \"q\\n\\\"$z\" # c\nD=a#b # c\nE=\nF=\"two\nlines\"\nG=x=y"),
            pairs(&[
                ("A", "1"),
                ("B", "x # $y"),
                ("C", "q\n\"$z"),
                ("D", "a#b"),
                ("E", ""),
                ("F", "two\nlines"),
                ("G", "x=y")
            ])
        );
    }

    #[test]
    fn the_later_of_two_counts() {
        assert_eq!(read("A=1\nA=2"), pairs(&[("A", "2")]));
    }

    #[test]
    fn errors_name_the_line_and_not_its_text() {
        let line = |text: &str| parse(text).unwrap_err().line;
        assert_eq!(line("A=1\nno assignment\n"), 2);
        assert_eq!(line("A=\"1\n2\"\nB='"), 3);
        assert_eq!(line("1A=2"), 1);
        assert_eq!(line("A='x'y"), 1);
    }
}
