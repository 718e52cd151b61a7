//! Behaviour, one binary.

mod architecture;
mod archive;

mod targets;
