//! From files on disk to a plan, and from a plan to an outcome.
