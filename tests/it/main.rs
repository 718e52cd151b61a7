//! Behaviour, one binary.

mod architecture;

mod targets;
