//! Backups in chunks: what an earlier backup holds is not stored again.

pub mod arrived;
pub mod base;
mod database;
pub mod fetch;
pub mod index;
pub mod item;
mod large;
pub mod packer;
pub mod pages;
pub mod publish;
pub mod shelf;
pub mod sink;
pub mod store;
