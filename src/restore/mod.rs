//! Unpacks a tree beside its destination and puts it in place: stage, writer, carry-over, swap, rollback, crash recovery.
//!
//! Nothing here reads an archive: entries arrive through [`crate::source::TreeSink`], from whoever reads them.

pub mod carry;
pub mod compare;
pub mod error;
pub mod in_use;
pub mod judge;
pub mod place;
pub mod points;
pub mod space;
pub mod stage;
pub mod swap;
pub mod writer;

mod branches;
mod check;
mod clear;
mod current_file;
mod shortfalls;
mod stack;
