//! What lies in a target: archives, catalogs, records, refs, sums; written, read, judged.
//!
//! The format is written down in `docs/FORMAT.md`.

pub mod acl;
pub mod catalog;
pub mod layout;
pub mod record;
pub mod tar_header;
pub mod tar_sink;
