//! Behaviour, one binary.

mod architecture;
