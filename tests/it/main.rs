//! Behaviour, one binary.

mod architecture;
mod archive;
mod cli;
mod docs;
mod makefile;
mod manifests;
mod pages;

mod journal;
mod targets;
mod transcript;
