//! Results that are handed on while they are made: lists that may be long, and bytes that no format may touch.
//!
//! Where they go and how a list is written is decided by the command line; a command that hands something on gives an `Outcome` all
//! the same, with everything that is known only at the end.

use std::path::Path;

use crate::diagnostic::Diagnostic;
use crate::outcome::Item;

/// Takes a result in pieces. Blocks where the reader is slow.
pub trait Results: Send + Sync {
    /// Begins the list `key`. A command has one list at most, and begins it once nothing can be wrong with what was asked.
    fn begin_list(&self, command: &str, key: &'static str) -> Result<(), Closed>;

    /// Hands on the next item of the list.
    fn item(&self, item: Item) -> Result<(), Closed>;

    /// Begins a result of bytes.
    fn begin_bytes(&self) -> Result<(), Closed>;

    /// Hands on the next bytes.
    fn bytes(&self, bytes: &[u8]) -> Result<(), Closed>;

    /// Hands on so many bytes that are zero.
    fn zeros(&self, length: u64) -> Result<(), Closed>;

    /// The file that the result becomes; `None` for the standard output.
    fn file(&self) -> Option<&Path>;

    /// Whether someone at a terminal would have the bytes on the screen.
    fn is_terminal(&self) -> bool;
}

/// Why no more is taken.
#[derive(Debug)]
pub enum Closed {
    /// The reader has seen enough, as in `strongroom ls latest | head`. That is no failure.
    Enough,
    /// It cannot be written.
    Failed(Box<Diagnostic>),
}
