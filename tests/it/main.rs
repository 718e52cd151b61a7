//! Behaviour, one binary.

mod architecture;
mod archive;
mod cli;
mod docs;
mod makefile;
mod manifests;
mod pages;
mod targets;
mod transcript;
