//! Behaviour, one binary.

mod architecture;
mod archive;
mod cli;
mod manifests;
mod targets;
