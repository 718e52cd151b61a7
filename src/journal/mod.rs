//! The tamper-evident record of every run: JSON lines chained by their RFC 6962 leaf hashes.
//!
//! A line's bytes are what is hashed, so no canonical JSON is needed and `sha256sum` can follow the chain by hand: the
//! `prev` of a line is the SHA-256 of a NUL and the line before, without its line end. Lines lie in segments
//! (`journal-000001.jsonl`, …); sequence numbers and chain run on through them. `journal.head` holds the number of
//! synced lines and the last one's hash, so that a change of the newest line and a cut tail are found too.
//!
//! Several processes may append to one journal: the lock is held for one record at a time, and whatever others wrote
//! meanwhile is read and checked first.

mod chain;
mod cursor;
mod entry;
mod error;
mod head;
pub mod merkle;
mod read;
mod recovery;
mod restart;
mod segment;
mod tail;
mod verify;
mod writer;

pub use self::chain::Leaf;
pub use self::entry::{Entry, Event, Field, Status};
pub use self::error::JournalError;
pub use self::read::{Filter, Record, Records, read};
pub use self::recovery::Recovered;
pub use self::restart::{Restarted, restart};
pub use self::verify::{Problem, ProblemKind, Verification, verify};
pub use self::writer::{Journal, Scrub, Setup, Sync};
