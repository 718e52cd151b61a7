//! What lies in a target: archives, catalogs, records, refs, sums; written, read, judged.
//!
//! The format is written down in `docs/FORMAT.md`.

pub mod acl;
pub mod catalog;
pub mod catch_up;
pub mod check;
pub mod chunks;
pub mod epoch;
pub mod fan;
pub mod frame_table;
pub mod keys;
pub mod layout;
pub mod naming;
pub mod object;
pub mod pack;
pub mod plain;
pub mod policy;
pub mod proofs;
pub mod reading;
pub mod record;
pub mod recovery;
pub mod refs;
pub mod repository;
pub mod retention;
pub mod signature;
pub mod sink;
pub mod sums;
pub mod survey;
pub mod sweep;
pub mod tar_header;
pub mod tar_sink;
pub mod unpack;
