//! File systems through descriptors: what an entry is, reading it, creating it, walking a tree, writing a file whole.

pub mod create;
pub mod entry;
pub mod owners;
