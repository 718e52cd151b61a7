//! Finds values that the run knows, in every form, by one automaton (Aho and Corasick, CACM 1975).

use std::collections::BTreeSet;
use std::ops::Range;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use zeroize::Zeroizing;

use super::forms::{FORM_MIN, add_forms};
use super::keys::is_telling;
use super::marker_length;
use super::values::{is_placeholder, is_random};
use crate::secret::Secret;

/// Bytes of a part of a long value (a line of a key, a string of a JSON document) that is sought by itself.
const PART_MIN: usize = 16;

/// An automaton over all forms of a set of values.
pub struct KnownValues {
    automaton: Option<AhoCorasick>,
    /// Bytes of the longest form.
    longest: usize,
}

impl std::fmt::Debug for KnownValues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let forms = self.automaton.as_ref().map_or(0, AhoCorasick::patterns_len);
        write!(f, "KnownValues({forms} forms)")
    }
}

impl KnownValues {
    /// Builds the automaton. Values below 6 bytes are not sought, nor placeholders, nor a value that is itself a word
    /// such as `password`: it would be found in every key.
    ///
    /// # Errors
    /// When the automaton becomes too large for memory addresses (more than 2³¹ states).
    pub fn new<'a>(values: impl IntoIterator<Item = &'a Secret<String>>) -> Result<Self, TooLarge> {
        let mut forms = BTreeSet::new();
        for value in values {
            for sought in parts(value.expose()) {
                if !is_placeholder(sought.as_bytes()) && !is_telling_word(sought) {
                    add_forms(sought.as_bytes(), &mut forms);
                }
            }
        }
        if forms.is_empty() {
            return Ok(Self {
                automaton: None,
                longest: 0,
            });
        }
        let longest = forms.iter().map(Vec::len).max().unwrap_or(0);
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(&forms)
            .map_err(|_| TooLarge)?;
        Ok(Self {
            automaton: Some(automaton),
            longest,
        })
    }

    /// Whether nothing is sought.
    pub fn is_empty(&self) -> bool {
        self.automaton.is_none()
    }

    /// Bytes of the longest form that is sought: a text that begins in the middle of one holds fewer of it.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// Where values stand in `text`: ascending and disjoint, overlapping finds joined. What lies in a redaction marker
    /// is not found.
    pub fn find(&self, text: &[u8]) -> Vec<Range<usize>> {
        let Some(automaton) = &self.automaton else {
            return Vec::new();
        };
        // Most texts hold none: the plain search stops at the first end of a find, which costs less.
        let Some(first) = automaton.find(text) else {
            return Vec::new();
        };
        let mut found: Vec<Range<usize>> = Vec::new();
        for hit in automaton.find_overlapping_iter(text) {
            debug_assert!(hit.end() >= first.end());
            let mut start = hit.start();
            // Finds come by their ends; a longer one swallows those that began after it.
            while let Some(last) = found.last() {
                if last.end <= start {
                    break;
                }
                start = start.min(last.start);
                found.pop();
            }
            found.push(start..hit.end());
        }
        found.retain(|range| !lies_in_marker(text, range));
        found
    }
}

/// There are more forms than an automaton can hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the secret values are too many or too long to be sought together")]
pub struct TooLarge;

/// The value, and what of it is a secret by itself: the password of an address, the lines of a key.
fn parts(value: &str) -> Vec<&str> {
    let mut parts = vec![value];
    let trimmed = value.trim();
    if trimmed.len() != value.len() {
        parts.push(trimmed);
    }
    if let Some(password) = url_password(trimmed) {
        parts.push(password);
    }
    if trimmed.contains('\n') || trimmed.len() > 256 {
        let tokens = trimmed
            .split(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | '\\' | '{' | '}' | '[' | ']'))
            .filter(|part| part.len() >= PART_MIN && is_random(part.as_bytes()));
        parts.extend(tokens);
    }
    parts
}

/// The password in `scheme://user:password@host`.
fn url_password(value: &str) -> Option<&str> {
    let (_, rest) = value.split_once("://")?;
    let (userinfo, _) = rest.rsplit_once('@')?;
    let (_, password) = userinfo.split_once(':')?;
    (password.len() >= FORM_MIN).then_some(password)
}

fn is_telling_word(value: &str) -> bool {
    value.len() <= 24 && value.bytes().all(|b| b.is_ascii_lowercase()) && is_telling(value)
}

fn lies_in_marker(text: &[u8], range: &Range<usize>) -> bool {
    let from = range.start.saturating_sub(b"[REDACTED:".len() + 24);
    let before = text.get(from..=range.start).unwrap_or_default();
    before
        .iter()
        .rposition(|b| *b == b'[')
        .map(|at| from + at)
        .and_then(|open| Some(open + marker_length(text.get(open..)?)?))
        .is_some_and(|end| range.end <= end)
}

/// Replaces each find by `by`; `None` where there is none.
pub fn replace(known: &KnownValues, text: &[u8], by: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let found = known.find(text);
    if found.is_empty() {
        return None;
    }
    let mut out = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut at = 0;
    for range in found {
        out.extend_from_slice(text.get(at..range.start).unwrap_or_default());
        out.extend_from_slice(by);
        at = range.end;
    }
    out.extend_from_slice(text.get(at..).unwrap_or_default());
    Some(out)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;

    use super::*;

    fn known(values: &[&str]) -> KnownValues {
        let values: Vec<_> = values.iter().map(|value| Secret::new((*value).to_owned())).collect();
        KnownValues::new(&values).unwrap()
    }

    fn scrubbed(known: &KnownValues, text: &str) -> String {
        match replace(known, text.as_bytes(), b"***") {
            Some(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            None => text.to_owned(),
        }
    }

    #[test]
    fn every_form_of_a_value_is_found() {
        let value = "p\u{e4}ss/w\"o'rd $1&+x";
        let known = known(&[value]);
        let json = serde_json::to_string(value).unwrap();
        let forms = [
            value.to_owned(),
            json.clone(),
            serde_json::to_string(&json).unwrap(),
            hex::encode(value),
            hex::encode_upper(value),
            percent_encoding::utf8_percent_encode(value, NON_ALPHANUMERIC).to_string(),
            url::form_urlencoded::byte_serialize(value.as_bytes()).collect(),
            format!("'{}'", value.replace('\'', "'\\''")),
            format!("{value:?}"),
        ];
        for form in forms {
            let text = scrubbed(&known, &format!("before {form} after"));
            assert!(
                text.contains("***") && text.len() < "before *** after".len() + 9,
                "{form} gave {text}"
            );
        }
    }

    use percent_encoding::NON_ALPHANUMERIC;

    #[test]
    fn base64_is_found_at_each_alignment_and_in_both_alphabets() {
        let value = "s3cr\u{ff}t-v\u{fe}lue?>~";
        let known = known(&[value]);
        for before in ["", "u", "us", "user:"] {
            for after in ["", "x", "xy", "xyz"] {
                let whole = format!("{before}{value}{after}");
                for encoded in [STANDARD.encode(&whole), URL_SAFE_NO_PAD.encode(&whole)] {
                    let text = scrubbed(&known, &encoded);
                    assert!(text.contains("***"), "{before}|{after}");
                    assert!(
                        text.len() <= 3 + (before.len() + after.len()) * 4 / 3 + 8,
                        "{before}|{after}: {text}"
                    );
                }
            }
        }
    }

    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

    #[test]
    fn overlapping_values_leave_nothing_between() {
        let known = known(&["abcdef", "defghi", "cdefgh"]);
        assert_eq!(scrubbed(&known, "-abcdefghi-cdefgh-"), "-***-***-");
    }

    #[test]
    fn short_values_placeholders_and_telling_words_are_not_sought() {
        assert!(known(&["abc", "changeme", "password", ""]).is_empty());
    }

    #[test]
    fn lines_of_a_key_and_the_password_of_an_address_are_sought_by_themselves() {
        let known = known(&["HEAD\nZk3vP0qLw8Xy1RtB6nMd\nTAIL", "postgres://app:hunter22@db/app"]);
        assert_eq!(scrubbed(&known, "  Zk3vP0qLw8Xy1RtB6nMd"), "  ***");
        assert_eq!(scrubbed(&known, "PGPASSWORD=hunter22"), "PGPASSWORD=***");
    }

    #[test]
    fn markers_are_left_alone() {
        let known = known(&["REDACTED", "private"]);
        assert_eq!(
            scrubbed(&known, "[REDACTED:private-key] private"),
            "[REDACTED:private-key] ***"
        );
    }
}
