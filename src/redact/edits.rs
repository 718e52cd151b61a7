//! Collects what is to be replaced and applies it at once: overlapping finds are joined, line ends stay.

use std::ops::Range;

use super::Finding;
use crate::sensitive::Rule;

/// How a marker stands in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// As it is: inside quotes, or where a bare word may stand.
    Bare,
    /// In double quotes, in the place of a word without quotes that was a number or would be read as something else.
    Quoted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// A double quote is put in.
    Quote,
    /// A marker takes the place of the text.
    Marker(Rule, Style),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Edit {
    start: usize,
    end: usize,
    what: What,
}

/// The edits of one text, in any order.
#[derive(Debug, Default)]
pub(super) struct Edits(Vec<Edit>);

impl Edits {
    /// Replaces a stretch of the text.
    pub(super) fn replace(&mut self, range: Range<usize>, rule: Rule, style: Style) {
        if range.start < range.end {
            self.0.push(Edit {
                start: range.start,
                end: range.end,
                what: What::Marker(rule, style),
            });
        }
    }

    /// Puts double quotes around a stretch in which something is replaced.
    pub(super) fn quote(&mut self, range: Range<usize>) {
        for at in [range.start, range.end] {
            self.0.push(Edit {
                start: at,
                end: at,
                what: What::Quote,
            });
        }
    }

    /// How many there are: what came after is looked at by [`Self::since`].
    pub(super) fn mark(&self) -> usize {
        self.0.len()
    }

    /// The replaced stretches that were added since `mark`.
    pub(super) fn since(&self, mark: usize) -> impl Iterator<Item = (Range<usize>, Rule)> {
        self.0.iter().skip(mark).filter_map(|edit| match edit.what {
            What::Marker(rule, _) => Some((edit.start..edit.end, rule)),
            What::Quote => None,
        })
    }

    /// Takes back all edits added since `mark`.
    pub(super) fn take_back(&mut self, mark: usize) {
        self.0.truncate(mark);
    }

    /// Applies all edits.
    pub(super) fn apply(mut self, text: &[u8]) -> (Vec<u8>, Vec<Finding>) {
        self.0
            .sort_by_key(|edit| (edit.start, edit.end, matches!(edit.what, What::Marker(..))));
        let joined = join(&self.0);
        let mut out = Vec::with_capacity(text.len() + joined.len() * 8);
        let mut findings = Vec::new();
        let (mut at, mut line) = (0, 1u32);
        for edit in joined {
            let between = text.get(at..edit.start).unwrap_or_default();
            line = line.saturating_add(lines(between));
            out.extend_from_slice(between);
            let replaced = text.get(edit.start..edit.end).unwrap_or_default();
            match edit.what {
                What::Quote => out.push(b'"'),
                What::Marker(rule, style) => {
                    findings.push(Finding { rule, line });
                    let quote: &[u8] = if style == Style::Quoted { b"\"" } else { b"" };
                    out.extend_from_slice(quote);
                    out.extend_from_slice(rule.marker().as_bytes());
                    out.extend_from_slice(quote);
                    if rule != Rule::PrivateKey {
                        keep_lines(replaced, &mut out);
                    }
                }
            }
            line = line.saturating_add(lines(replaced));
            at = edit.end;
        }
        out.extend_from_slice(text.get(at..).unwrap_or_default());
        (out, findings)
    }
}

/// Joins markers that overlap; of two rules the wider stretch's is kept, and a quote inside a marker is dropped.
fn join(sorted: &[Edit]) -> Vec<Edit> {
    let mut joined: Vec<Edit> = Vec::with_capacity(sorted.len());
    for edit in sorted {
        let quoted = |edit: &Edit| matches!(edit.what, What::Marker(_, Style::Quoted));
        let Some(last) = joined.last_mut().filter(|last| edit.start < last.end) else {
            match joined.last() {
                Some(last) if last == edit || (edit.what == What::Quote && quoted(last) && last.end == edit.start) => {}
                // A quoted marker brings its own quotes.
                Some(last) if last.what == What::Quote && quoted(edit) && last.start == edit.start => {
                    joined.pop();
                    joined.push(*edit);
                }
                _ => joined.push(*edit),
            }
            continue;
        };
        let (What::Marker(rule, style), What::Marker(last_rule, last_style)) = (edit.what, last.what) else {
            continue;
        };
        let wider = edit.end - edit.start > last.end - last.start;
        // A quoted marker takes the place of a whole word, so it decides how what covers that word is written.
        let covers_edit = edit.end <= last.end;
        let style = if (covers_edit && last_style == Style::Quoted) || (wider && style == Style::Quoted) {
            Style::Quoted
        } else if edit.start == last.start && edit.end == last.end && style == Style::Quoted {
            Style::Quoted
        } else if covers_edit {
            last_style
        } else {
            Style::Bare
        };
        last.what = What::Marker(if wider { rule } else { last_rule }, style);
        last.end = last.end.max(edit.end);
    }
    joined
}

fn lines(text: &[u8]) -> u32 {
    u32::try_from(text.iter().filter(|b| **b == b'\n').count()).unwrap_or(u32::MAX)
}

/// Adds the line ends of what was replaced, each with the blanks that begin the next line.
fn keep_lines(replaced: &[u8], out: &mut Vec<u8>) {
    let mut rest = replaced;
    while let Some(end) = rest.iter().position(|b| *b == b'\n') {
        if end > 0 && rest.get(end - 1) == Some(&b'\r') {
            out.push(b'\r');
        }
        out.push(b'\n');
        rest = rest.get(end + 1..).unwrap_or_default();
        let blanks = rest.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
        out.extend_from_slice(rest.get(..blanks).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(text: &str, edits: &[(Range<usize>, Rule, Style)]) -> String {
        let mut all = Edits::default();
        for (range, rule, style) in edits {
            all.replace(range.clone(), *rule, *style);
        }
        String::from_utf8(all.apply(text.as_bytes()).0).unwrap()
    }

    #[test]
    fn overlapping_finds_are_joined_under_the_wider_rule() {
        let edits = [
            (6..9, Rule::Known, Style::Bare),
            (2..8, Rule::Token, Style::Bare),
            (2..8, Rule::Token, Style::Bare),
        ];
        assert_eq!(applied("0123456789", &edits), "01[REDACTED:token]9");
        let edits = [(2..8, Rule::Token, Style::Quoted), (3..5, Rule::Known, Style::Bare)];
        assert_eq!(applied("0123456789", &edits), "01\"[REDACTED:token]\"89");
    }

    #[test]
    fn line_ends_in_what_is_replaced_stay_with_the_indentation() {
        let edits = [(2..12, Rule::Secret, Style::Bare)];
        assert_eq!(applied("a:abc\r\n  def\nx", &edits), "a:[REDACTED:secret]\r\n  \nx");
    }

    #[test]
    fn quotes_enclose_and_findings_know_their_line() {
        let mut edits = Edits::default();
        edits.quote(2..7);
        edits.replace(2..4, Rule::Url, Style::Bare);
        edits.replace(9..10, Rule::Key, Style::Bare);
        let (out, findings) = edits.apply(b"a\nbcdef,\nx");
        assert_eq!(out, b"a\n\"[REDACTED:url]def\",\n[REDACTED:key]");
        assert_eq!(findings.iter().map(|f| f.line).collect::<Vec<_>>(), [2, 3]);
    }
}
