//! Behaviour, one binary.

mod architecture;
mod archive;
mod manifests;

mod targets;
