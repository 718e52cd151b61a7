//! Behaviour, one binary.
