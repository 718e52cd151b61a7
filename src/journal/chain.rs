//! One link of the chain: reads a line, and says whether it follows the line before.

use std::fmt;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::merkle;

/// The version of the record format.
pub(super) const VERSION: u64 = 1;

/// The RFC 6962 leaf hash of a line; prints as hex.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Leaf(pub merkle::Hash);

impl Leaf {
    /// The hash of a line without its line end, or of the log's origin.
    pub fn of(bytes: &[u8]) -> Self {
        Self(merkle::leaf(bytes))
    }

    /// Reads 64 lower-case hex digits.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut hash = merkle::Hash::default();
        let lower = !text.bytes().any(|b| b.is_ascii_uppercase());
        (lower && hex::decode_to_slice(text, &mut hash).is_ok()).then_some(Self(hash))
    }
}

impl fmt::Display for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A line as read, before it is known to follow anything.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) seq: u64,
    pub(super) ts: Timestamp,
    pub(super) prev: Leaf,
    pub(super) leaf: Leaf,
    pub(super) record: Map<String, Value>,
}

impl Line {
    /// Reads a line without its line end. The error says what it lacks to be a record.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let record: Map<String, Value> = serde_json::from_slice(bytes).map_err(|_| "a line is no JSON object")?;
        if record.get("v").and_then(Value::as_u64) != Some(VERSION) {
            return Err("a record has no format version that this program reads");
        }
        let seq = record.get("seq").and_then(Value::as_u64);
        let ts = record
            .get("ts")
            .and_then(Value::as_str)
            .and_then(|text| text.parse().ok());
        let prev = match record.iter().next_back() {
            Some((key, Value::String(text))) if key == "prev" => Leaf::parse(text),
            _ => None,
        };
        Ok(Self {
            seq: seq.ok_or("a record has no sequence number")?,
            ts: ts.ok_or("a record has no time")?,
            prev: prev.ok_or("a record does not end with the hash of the one before")?,
            leaf: Leaf::of(bytes),
            record,
        })
    }

    /// A text of the record.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.record.get(key).and_then(Value::as_str)
    }

    /// What happened.
    pub(super) fn event(&self) -> &str {
        self.text("event").unwrap_or_default()
    }
}

/// Where the chain stands: what the next line must say of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tip {
    /// The next line's sequence number: how many lines there are.
    pub(super) next: u64,
    /// The next line's `prev`.
    pub(super) prev: Leaf,
}

impl Tip {
    /// Before the first line of the log `origin`.
    pub(super) fn of_origin(origin: &str) -> Self {
        Self {
            next: 0,
            prev: Leaf::of(origin.as_bytes()),
        }
    }

    /// After `line`, wherever it came from.
    pub(super) fn after(line: &Line) -> Self {
        Self {
            next: line.seq.saturating_add(1),
            prev: line.leaf,
        }
    }

    /// Whether `line` comes next. The error says what does not fit.
    pub(super) fn check(&self, line: &Line) -> Result<(), &'static str> {
        if line.prev != self.prev {
            return Err("a record does not follow the one before it");
        }
        if line.seq != self.next {
            return Err("a sequence number is left out or comes twice");
        }
        Ok(())
    }
}
