//! File systems through descriptors: what an entry is, reading it, creating it, walking a tree, writing a file whole.

pub mod atomic;
pub mod create;
pub mod direct;
pub mod entry;
mod first_names;
pub mod folder;
pub mod glob;
pub mod marks;
pub mod metadata;
pub mod own;
pub mod owners;
pub mod selection;
pub mod side_files;
pub mod walk;
