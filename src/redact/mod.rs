//! Takes secret values out of configuration text. Keys, order and line ends stay; JSON stays JSON, TOML stays TOML, YAML
//! stays YAML; what is redacted already is left as it is.
//!
//! Two layers: values that the run knows, in every form, wherever they stand; and the structure of the text, in which the
//! name of a key decides. A value stands between the bytes that its format gives it, so nothing around it changes.
#![allow(
    clippy::if_same_then_else,
    clippy::unused_self,
    clippy::collapsible_if,
    clippy::doc_markdown,
    clippy::single_match_else,
    clippy::nonminimal_bool,
    reason = "scanners read best as the cases of the grammar they follow, one branch a case"
)]

mod decode;
mod edits;
mod flow;
mod format;
mod inline;
mod lines;
mod pem;
mod scan;
mod toml;
mod yaml;

use std::ops::Range;

use aho_corasick::AhoCorasick;

use self::edits::Style;
use self::format::{Format, Lines};
use self::scan::{Form, Place, Scalar, Scan};
use crate::diagnostic::{Code, Diagnose};
use crate::limits::REDACT_FILE_MAX;
use crate::secret::Secret;
use crate::sensitive::keys::{KeyRules, Numbers, Telling, Weight, WordError};
use crate::sensitive::known::{KnownValues, TooLarge};

pub use crate::sensitive::Rule;

/// Raised when the same text would be redacted in another way: sources are then read again.
const RULES_VERSION: u32 = 1;

/// Words that begin a private key, or tell what kind of document this is.
const LANDMARKS: [&str; 3] = ["PRIVATE KEY", "Private-Lines:", "kind"];

/// What a place tells that has no key: a field of a file of passwords.
const PASSWORD: Telling = Telling {
    rule: Rule::Password,
    weight: Weight::Strong,
    numbers: Numbers::Tell,
};

/// What `sig=` and its like tell in a query.
const QUERY: Telling = Telling {
    rule: Rule::Token,
    weight: Weight::Soft,
    numbers: Numbers::Tell,
};

/// What an operator adds to the built-in judgement of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Further words that make a key telling.
    pub extra_keys: Vec<String>,
    /// Keys whose values stay although their name is telling.
    pub allow_keys: Vec<String>,
}

/// Takes secrets out of texts. It may be used by several threads at once.
#[derive(Debug)]
pub struct Redactor {
    keys: KeyRules,
    known: KnownValues,
    landmarks: AhoCorasick,
    fingerprint: String,
}

/// Why a redactor cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedactError {
    /// A word for a key that can match none.
    #[error("a word for keys cannot be used")]
    Word(#[source] WordError),
    /// The known values cannot be sought together.
    #[error("the known values cannot be redacted")]
    Known(#[source] TooLarge),
}

impl Diagnose for RedactError {
    fn code(&self) -> Code {
        Code::InvalidValue
    }

    fn state(&self) -> Option<String> {
        Some("nothing was started".to_owned())
    }
}

/// Why a file cannot be redacted: whether a secret is in it cannot be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotText {
    /// Its bytes are no text in UTF-8, UTF-16 with a byte order mark, or Latin-1.
    #[error("the file is not text")]
    Binary,
    /// It is larger than what is read whole.
    #[error("the file is larger than {} bytes, which is what redaction reads", REDACT_FILE_MAX)]
    TooLarge,
}

/// A secret that was taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// What it was.
    pub rule: Rule,
    /// Its line, counted from 1.
    pub line: u32,
}

/// A redacted text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redaction {
    /// The text without its secrets.
    pub bytes: Vec<u8>,
    /// What was taken out, in order.
    pub findings: Vec<Finding>,
    /// Whether `bytes` differ from the text.
    pub changed: bool,
}

impl Redactor {
    /// Makes a redactor that also takes out the `known` values, in every form this program knows.
    ///
    /// # Errors
    /// When a rule can match nothing or the known values are too large.
    pub fn new(rules: &Rules, known: &[Secret<String>]) -> Result<Self, RedactError> {
        let keys = KeyRules::new(&rules.extra_keys, &rules.allow_keys).map_err(RedactError::Word)?;
        let known = KnownValues::new(known).map_err(RedactError::Known)?;
        let landmarks = AhoCorasick::new(LANDMARKS).map_err(|_| RedactError::Known(TooLarge))?;
        let described = format!("redaction={RULES_VERSION};{}", keys.describe());
        let fingerprint = blake3::hash(described.as_bytes()).to_hex().to_string();
        Ok(Self {
            keys,
            known,
            landmarks,
            fingerprint,
        })
    }

    /// Hex BLAKE3 over the rules, without any known value: sources are read again when it changes.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Takes the secrets out of `text`; `name` is the file's name or path, by which its format is known.
    ///
    /// # Errors
    /// When `text` is no text, so that nothing can be said about it.
    pub fn redact(&self, name: &[u8], text: &[u8]) -> Result<Redaction, NotText> {
        if u64::try_from(text.len()).unwrap_or(u64::MAX) > REDACT_FILE_MAX {
            return Err(NotText::TooLarge);
        }
        let (decoded, encoding) = decode::decode(text)?;
        let (bytes, findings) = self.redact_decoded(name, &decoded);
        let changed = bytes != *decoded;
        let bytes = if changed { encoding.encode(bytes) } else { text.to_vec() };
        Ok(Redaction {
            bytes,
            findings,
            changed,
        })
    }

    fn redact_decoded(&self, name: &[u8], text: &[u8]) -> (Vec<u8>, Vec<Finding>) {
        let mut scan = Scan::new(text, &self.keys);
        self.landmarks(&mut scan);
        scan.known = self
            .known
            .find(text)
            .into_iter()
            .map(|range| whole_escapes(text, range))
            .collect();
        for range in scan.known.clone() {
            scan.edits.replace(range, Rule::Known, Style::Bare);
        }
        for block in &scan.blocks {
            for body in &block.bodies {
                if crate::sensitive::marker_length(scan.slice(body)) != Some(body.len()) {
                    scan.edits.replace(body.clone(), Rule::PrivateKey, Style::Bare);
                }
            }
        }
        let mark = text.starts_with("\u{feff}".as_bytes());
        let range = if mark { 3 } else { 0 }..text.len();
        match format::of(name, text.get(range.clone()).unwrap_or_default()) {
            Format::Json => {
                scan.json(range.clone());
                if !is_json(scan.slice(&range)) {
                    // A quote too few or too many turns strings inside out; this net below does not count quotes.
                    scan.inline(range, Place::Text);
                }
            }
            Format::Toml => scan.toml(range),
            Format::Yaml => scan.yaml(range),
            Format::Lines(kind) => {
                if !self.is_secret_file(&mut scan, name, &range, kind) {
                    scan.lines(range, kind);
                }
            }
        }
        scan.edits.apply(text)
    }

    /// Finds private keys, and whether the text is a Kubernetes `Secret`.
    fn landmarks(&self, scan: &mut Scan<'_>) {
        let text = scan.text;
        for hit in self.landmarks.find_iter(text) {
            let from = scan.blocks.last().map_or(0, |block| block.whole.end);
            if hit.start() < from {
                continue;
            }
            let block = match hit.pattern().as_usize() {
                0 => pem::block(text, from, hit.start()),
                1 => pem::putty(text, hit.start()),
                _ => {
                    let after = text
                        .get(hit.end()..(hit.end() + 16).min(text.len()))
                        .unwrap_or_default();
                    let word: Vec<u8> = after
                        .iter()
                        .copied()
                        .filter(|b| !matches!(b, b'"' | b'\'' | b' ' | b':'))
                        .collect();
                    let ends = word.get(6).is_none_or(|b| !b.is_ascii_alphanumeric());
                    scan.is_kube_secret |= word.starts_with(b"Secret") && ends;
                    None
                }
            };
            scan.blocks.extend(block);
        }
    }

    /// A file whose name is telling and that holds nothing but the secret: `db_password`, `token.txt`, `passwords.lst`.
    /// `false` where it is a file like others.
    fn is_secret_file(&self, scan: &mut Scan<'_>, name: &[u8], range: &Range<usize>, kind: Lines) -> bool {
        const ENDS: &[&[u8]] = &[
            b"txt",
            b"key",
            b"secret",
            b"token",
            b"pass",
            b"pw",
            b"lst",
            b"list",
            b"password",
        ];
        if kind != Lines::Any {
            return false;
        }
        let name = format::file_name(name);
        let dot = name.iter().rposition(|b| *b == b'.').filter(|at| *at > 0);
        let end = dot.and_then(|at| name.get(at + 1..)).unwrap_or_default();
        let known_end = ENDS.contains(&end);
        let Some(telling) = self.keys.judge(name).filter(|_| end.is_empty() || known_end) else {
            return false;
        };
        let text = scan.slice(range);
        let lines = || {
            text.split(|b| *b == b'\n')
                .map(<[u8]>::trim_ascii)
                .filter(|line| !line.is_empty())
        };
        let is_word = |line: &[u8]| {
            let assigned = line.iter().position(|b| *b == b'=').is_some_and(|at| {
                line.get(at + 1..).is_some_and(|rest| rest.iter().any(|b| *b != b'='))
                    && line
                        .iter()
                        .take(at)
                        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
            });
            !assigned && !line.iter().any(|b| matches!(b, b' ' | b'\t')) && !line.starts_with(b"-----")
        };
        let sentence = lines().count() == 1 && end.is_empty() && !text.contains(&b'=') && !text.contains(&b':');
        if !lines().all(is_word) && !sentence {
            return false;
        }
        let file = Telling {
            rule: if telling.weight == Weight::Strong {
                Rule::File
            } else {
                telling.rule
            },
            ..telling
        };
        let mut at = range.start;
        while at < range.end {
            let (end, next) = scan.line_end(at, range.end);
            let line = scan.trimmed(at..end);
            // `user:password`: the user stays.
            let text = scan.slice(&line);
            let colon = text
                .iter()
                .position(|b| *b == b':')
                .filter(|_| !text.windows(3).any(|window| window == b"://"));
            let content = line.start + colon.map_or(0, |at| at + 1)..line.end;
            scan.value(
                &Scalar {
                    content,
                    form: Form::Inside(Place::Text),
                },
                file,
            );
            at = next;
        }
        true
    }
}

fn is_json(text: &[u8]) -> bool {
    serde_json::Deserializer::from_slice(text)
        .into_iter::<serde::de::IgnoredAny>()
        .all(|value| value.is_ok())
}

/// Widens a find so that it cuts no escape of a string in two: `\n` or `\u0041` of which a half were left would make
/// the string unreadable.
fn whole_escapes(text: &[u8], range: Range<usize>) -> Range<usize> {
    let slashes = |end: usize| {
        let before = text.get(end.saturating_sub(64)..end).unwrap_or_default();
        before.iter().rev().take_while(|b| **b == b'\\').count()
    };
    let Range { mut start, mut end } = range;
    if slashes(start) % 2 == 1 {
        start -= 1;
    }
    // `\u00` before the find with the rest of its digits inside.
    for back in 2..=9usize {
        let Some(at) = start.checked_sub(back) else { break };
        let lead = text.get(at..start).unwrap_or_default();
        let digits = match lead.get(1) {
            Some(b'u') => 4,
            Some(b'x') => 2,
            Some(b'U') => 8,
            _ => continue,
        };
        let hex = lead.get(2..).unwrap_or_default();
        if lead.first() == Some(&b'\\')
            && slashes(at) % 2 == 0
            && hex.len() < digits
            && hex.iter().all(u8::is_ascii_hexdigit)
        {
            start = at;
            break;
        }
    }
    if slashes(end) % 2 == 1 && end < text.len() && text.get(end) != Some(&b'\n') {
        end += 1;
    }
    start..end
}
