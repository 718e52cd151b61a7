//! What lies in a target: archives, catalogs, records, refs, sums; written, read, judged.
//!
//! The format is written down in `docs/FORMAT.md`.

pub mod acl;
pub mod tar_header;
