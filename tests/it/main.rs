//! Behaviour, one binary.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "clippy excepts test functions alone, not what they call; all of this binary is tests"
)]

mod architecture;
mod archive;
mod cli;
mod docs;
mod fidelity;
mod generated;
mod hostile;
mod journal;
mod makefile;
mod manifests;
mod pages;
mod restore_tree;
mod service;
mod sources;
mod targets;
mod transcript;
mod trees;
