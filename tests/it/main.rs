//! Behaviour, one binary.

mod architecture;
mod manifests;
