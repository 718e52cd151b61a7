//! Renders an outcome.
