//! Behaviour, one binary.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::too_many_lines,
    clippy::type_complexity,
    clippy::large_stack_arrays,
    clippy::cast_possible_truncation,
    clippy::collapsible_if,
    clippy::unnecessary_debug_formatting,
    clippy::manual_assert,
    clippy::semicolon_if_nothing_returned,
    reason = "clippy excepts test functions alone, not what they call; all of this binary is tests"
)]

mod age;
mod architecture;
mod archive;
mod catch_up;
mod chunks;
mod cli;
mod commands;
mod compaction;
mod crossing;
mod damage;
mod databases;
mod disk_full;
mod docs;
mod drill;
mod fidelity;
mod format_1;
mod generated;
mod guards;
mod hostile;
mod journal;
mod killed_packs;
mod known;
mod logs;
mod makefile;
mod manifests;
mod many_chunks;
mod mutations;
mod namespace;
mod offsite;
mod operator;
mod pages;
mod partial;
mod projects;
mod proxy;
mod reading;
mod recovery;
mod restore_tree;
mod retention;
mod sealed;
mod service;
mod sources;
mod swap;
mod swap_killed;
mod sweep_model;
mod targets;
mod transcript;
mod trees;
mod trust;
mod upkeep;
mod weed;
