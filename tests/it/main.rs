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
mod hostile;
mod makefile;
mod manifests;
mod pages;

mod journal;
mod targets;
mod transcript;

mod fidelity;
mod restore_tree;
mod trees;
