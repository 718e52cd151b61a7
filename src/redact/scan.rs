//! What all formats share while a text is looked through: bytes by position, the judgement of keys with a memory, and
//! what becomes of a value.

use std::collections::HashMap;
use std::ops::Range;

use super::edits::{Edits, Style};
use super::pem::Block;
use crate::sensitive::keys::{Below, KeyRules, Numbers, Telling, Weight, below, is_ordinary_below};
use crate::sensitive::{Rule, values};

/// Keys whose judgement is remembered: configuration repeats few keys often.
const REMEMBERED: usize = 4096;

/// What stands below `data` of a Kubernetes `Secret`.
const KUBE_DATA: Telling = Telling {
    rule: Rule::Secret,
    weight: Weight::Strong,
    numbers: Numbers::Tell,
};

/// What a telling key passes on to the tables and lists below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Inherited {
    pub(super) telling: Telling,
    pub(super) below: Below,
}

impl Inherited {
    /// What passes into a table: only what is sure.
    pub(super) fn into_table(self) -> Option<Self> {
        (self.telling.weight == Weight::Strong).then_some(self)
    }
}

/// How a value stands in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Between quotes of this kind, or the whole of a line that needs none.
    Inside(Place),
    /// A word without quotes that must be quoted when it is replaced: numbers, YAML's plain text in brackets.
    Bare,
    /// Plain text of YAML outside brackets, where a marker may stand anywhere but at the beginning.
    Plain,
}

/// Where a stretch of free text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Between quotes, where a backslash escapes.
    Escaped,
    /// Text as it is.
    Text,
    /// A comment: prose is likely.
    Comment,
}

/// A word or quoted string of a structured format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scalar {
    /// What it says, without quotes.
    pub(super) content: Range<usize>,
    pub(super) form: Form,
}

/// A text being looked through.
pub(super) struct Scan<'t> {
    pub(super) text: &'t [u8],
    pub(super) edits: Edits,
    pub(super) keys: &'t KeyRules,
    /// Where known values stand, ascending and disjoint.
    pub(super) known: Vec<Range<usize>>,
    /// Private keys in PEM, ascending and disjoint.
    pub(super) blocks: Vec<Block>,
    /// Whether the text is a Kubernetes `Secret`, whose `data` is secret under any key.
    pub(super) is_kube_secret: bool,
    /// How deep texts inside texts are looked into.
    pub(super) nested: u8,
    pub(super) inline: super::inline::Memory,
    judged: HashMap<&'t [u8], Option<Telling>>,
    /// Where long strings begin that nothing closes, for each quote: what begins later is not closed either.
    unclosed: std::cell::Cell<[Option<(usize, usize)>; 2]>,
}

impl<'t> Scan<'t> {
    pub(super) fn new(text: &'t [u8], keys: &'t KeyRules) -> Self {
        Self {
            text,
            edits: Edits::default(),
            keys,
            known: Vec::new(),
            blocks: Vec::new(),
            is_kube_secret: false,
            nested: 0,
            inline: super::inline::Memory::default(),
            judged: HashMap::new(),
            unclosed: std::cell::Cell::default(),
        }
    }

    /// Whether it is known that nothing before `limit` closes a long string that begins at `start`.
    pub(super) fn unclosed_long_string(&self, quote: u8, start: usize, limit: usize) -> bool {
        let [double, single] = self.unclosed.get();
        let known = if quote == b'"' { double } else { single };
        known.is_some_and(|(from, to)| start >= from && limit <= to)
    }

    /// Remembers that nothing before `limit` closes a long string that begins at `start`.
    pub(super) fn remember_unclosed(&self, quote: u8, start: usize, limit: usize) {
        let [double, single] = self.unclosed.get();
        let new = Some((start, limit));
        self.unclosed
            .set(if quote == b'"' { [new, single] } else { [double, new] });
    }

    /// The byte at a position; 0, which no text has, beyond the end.
    pub(super) fn at(&self, at: usize) -> u8 {
        self.text.get(at).copied().unwrap_or(0)
    }

    pub(super) fn slice(&self, range: &Range<usize>) -> &'t [u8] {
        self.text.get(range.clone()).unwrap_or_default()
    }

    /// The range without blanks and line ends around it.
    pub(super) fn trimmed(&self, range: Range<usize>) -> Range<usize> {
        let text = self.slice(&range);
        let before = text.iter().take_while(|b| b.is_ascii_whitespace()).count();
        if before == text.len() {
            return range.start..range.start;
        }
        let after = text.iter().rev().take_while(|b| b.is_ascii_whitespace()).count();
        range.start + before..range.end - after
    }

    /// The first position from `from` on, before `limit`, that is no blank of a line.
    pub(super) fn skip_blanks(&self, from: usize, limit: usize) -> usize {
        let mut at = from;
        while at < limit && matches!(self.at(at), b' ' | b'\t') {
            at += 1;
        }
        at
    }

    /// The end of the line at `from`, without its line end; and where the next line begins.
    pub(super) fn line_end(&self, from: usize, limit: usize) -> (usize, usize) {
        let rest = self.slice(&(from..limit));
        match rest.iter().position(|b| *b == b'\n') {
            Some(length) => {
                let end = from + length;
                let carriage = length > 0 && self.at(end - 1) == b'\r';
                (end - usize::from(carriage), end + 1)
            }
            None => (limit.max(from), limit.max(from)),
        }
    }

    /// What a key tells.
    pub(super) fn judge(&mut self, key: &Range<usize>) -> Option<Telling> {
        let key = self.slice(key);
        if let Some(telling) = self.judged.get(key) {
            return *telling;
        }
        let telling = self.keys.judge(key);
        if self.judged.len() < REMEMBERED {
            self.judged.insert(key, telling);
        }
        telling
    }

    /// What a key tells of its value where a key above it tells something too.
    pub(super) fn decide(&mut self, key: &Range<usize>, inherited: Option<Inherited>) -> Option<Telling> {
        let own = self.judge(key);
        let Some(above) = inherited else {
            return own;
        };
        let name = self.slice(key);
        if self.keys.allows(name) {
            return None;
        }
        match own {
            Some(own) if own.weight == Weight::Strong => Some(own),
            Some(_) => Some(above.telling),
            None if is_ordinary_below(above.below, name) => None,
            None => Some(above.telling),
        }
    }

    /// What passes from a key to what stands below it.
    pub(super) fn passes(&mut self, key: &Range<usize>, inherited: Option<Inherited>) -> Option<Inherited> {
        if self.is_kube_secret && matches!(self.slice(key), b"data" | b"stringData") {
            return Some(Inherited {
                telling: KUBE_DATA,
                below: Below::Map,
            });
        }
        let telling = self.decide(key, inherited)?;
        let own = self.judge(key).is_some_and(|own| own.weight == Weight::Strong);
        let below = match inherited {
            Some(above) if !own => above.below,
            _ => below(self.slice(key)),
        };
        Some(Inherited { telling, below })
    }

    /// Replaces the value behind a telling key unless it is none; then looks into it as into any text.
    pub(super) fn value(&mut self, scalar: &Scalar, telling: Telling) {
        let range = self.trimmed(scalar.content.clone());
        let mark = self.edits.mark();
        if !range.is_empty() && !self.is_block(&range) && !values::stays(self.slice(&range), telling) {
            if telling.weight == Weight::Locator && self.address(&range, telling.rule) {
                return self.settle(scalar, mark);
            }
            let style = match scalar.form {
                Form::Inside(_) => Style::Bare,
                Form::Bare | Form::Plain => Style::Quoted,
            };
            return self.edits.replace(range, telling.rule, style);
        }
        self.free(scalar);
    }

    /// Takes the secret out of an address and leaves the rest; `false` where it is not seen which part that is.
    fn address(&mut self, range: &Range<usize>, rule: Rule) -> bool {
        let value = self.slice(range);
        let Some(scheme) = value.windows(3).take(40).position(|window| window == b"://") else {
            return false;
        };
        let mark = self.edits.mark();
        if rule == Rule::Webhook {
            let host = range.start + scheme + 3;
            let path = self.slice(&(host..range.end)).iter().position(|b| *b == b'/');
            if let Some(path) = path {
                self.edits.replace(host + path + 1..range.end, rule, Style::Bare);
            }
        }
        self.inline(range.clone(), Place::Text);
        self.edits.since(mark).next().is_some()
    }

    /// Looks into a text that stands behind no telling key.
    pub(super) fn free(&mut self, scalar: &Scalar) {
        let mark = self.edits.mark();
        let place = match scalar.form {
            Form::Inside(place) => place,
            Form::Bare | Form::Plain => Place::Text,
        };
        self.inline(scalar.content.clone(), place);
        self.settle(scalar, mark);
    }

    /// Sees to it that a word in which something was replaced since `mark` is still one word.
    fn settle(&mut self, scalar: &Scalar, mark: usize) {
        match scalar.form {
            Form::Inside(_) => {}
            Form::Bare => self.enclose(scalar.content.clone(), mark),
            Form::Plain => {
                let start = scalar.content.start;
                let known = self.known_in(&scalar.content).is_some_and(|range| range.start <= start);
                if known || self.edits.since(mark).any(|(range, _)| range.start <= start) {
                    self.enclose(scalar.content.clone(), mark);
                }
            }
        }
    }

    /// Puts quotes around a bare word in which something is replaced, so that it stays one word.
    pub(super) fn enclose(&mut self, word: Range<usize>, mark: usize) {
        let known = self.known_in(&word).map(|range| (range, Rule::Known));
        let Some((first, rule)) = self.edits.since(mark).next().or(known) else {
            return;
        };
        let simple = !self
            .slice(&word)
            .iter()
            .any(|b| matches!(b, b'"' | b'\\' | b'\n' | b'\r'));
        let whole = first.start <= word.start && first.end >= word.end;
        if simple && !whole {
            self.edits.quote(word);
        } else {
            self.edits.replace(word, rule, Style::Quoted);
        }
    }

    /// The first known value that touches a stretch.
    pub(super) fn known_in(&self, range: &Range<usize>) -> Option<Range<usize>> {
        let at = self.known.partition_point(|known| known.end <= range.start);
        self.known.get(at).filter(|known| known.start < range.end).cloned()
    }

    /// Whether a value is a private key in PEM and nothing else: its body is replaced by itself.
    fn is_block(&self, range: &Range<usize>) -> bool {
        let at = self.blocks.partition_point(|block| block.whole.end <= range.start);
        let Some(block) = self.blocks.get(at) else {
            return false;
        };
        let around = |range: Range<usize>| {
            self.slice(&range)
                .iter()
                .all(|b| b.is_ascii_whitespace() || matches!(b, b'\\' | b'n' | b'r'))
        };
        block.whole.start >= range.start
            && block.whole.end <= range.end
            && around(range.start..block.whole.start)
            && around(block.whole.end..range.end)
    }
}

/// Applies the name of one key of a table to the value of another: `name: DB_PASSWORD`, `value: x`.
#[derive(Clone, Debug, Default)]
pub(super) struct Pair {
    named: Option<Telling>,
    waiting: Option<Scalar>,
}

impl Pair {
    /// Hears of a key with its scalar value; gives the value that is now known to be behind a telling name.
    pub(super) fn hear(
        &mut self,
        scan: &mut Scan<'_>,
        key: &Range<usize>,
        value: &Scalar,
    ) -> Option<(Scalar, Telling)> {
        const NAMES: &[&str] = &[
            "name",
            "key",
            "field",
            "header",
            "variable",
            "env",
            "parameter",
            "option",
            "property",
        ];
        const VALUES: &[&str] = &[
            "value",
            "val",
            "default",
            "secretvalue",
            "current",
            "content",
            "stringvalue",
        ];
        let key = scan.slice(key);
        let is = |words: &[&str]| words.iter().any(|word| key.eq_ignore_ascii_case(word.as_bytes()));
        if is(NAMES) {
            let name = scan.slice(&value.content);
            let plain = !name.iter().any(u8::is_ascii_whitespace);
            let named = if plain { scan.judge(&value.content) } else { None };
            self.named = named.filter(|named| named.weight != Weight::Random);
            let waiting = self.waiting.take()?;
            return self.named.map(|named| (waiting, named));
        }
        if is(VALUES) {
            match self.named {
                Some(named) => return Some((value.clone(), named)),
                None => self.waiting = Some(value.clone()),
            }
        }
        None
    }
}
