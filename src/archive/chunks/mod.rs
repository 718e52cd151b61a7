//! Backups in chunks: what an earlier backup holds is not stored again.

pub mod index;
pub mod item;
