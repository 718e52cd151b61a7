//! Strongroom: a declarative pipeline runner for backup, restore and audit of small production services.
//!
//! Modules stand on floors. A module imports only from floors below its own, and modules of one floor do not import each
//! other; `tests/it/architecture.rs` keeps this list true.
//!
//! | floor | modules |
//! | --- | --- |
//! | 9 | `cli` |
//! | 8 | `commands` |
//! | 7 | `pipeline` |
//! | 6 | `steps` |
//! | 5 | `report`, `restore` |
//! | 4 | `archive`, `journal` |
//! | 3 | `source`, `target` |
//! | 2 | `redact`, `secrets` |
//! | 1 | `fs`, `chunking`, `codec`, `crypto`, `state`, `process`, `sensitive`, `event`, `outcome` |
//! | 0 | `diagnostic`, `units`, `id`, `secret`, `clock`, `limits`, `kinds`, `poison` |

pub mod cli;

pub mod commands;

pub mod pipeline;

pub mod steps;

pub mod report;
pub mod restore;

pub mod archive;
pub mod journal;

pub mod source;
pub mod target;

pub mod redact;
pub mod secrets;

pub mod chunking;
pub mod codec;
pub mod crypto;
pub mod event;
pub mod fs;
pub mod outcome;
pub mod process;
pub mod sensitive;
pub mod state;

pub mod clock;
pub mod diagnostic;
pub mod id;
pub mod kinds;
pub mod limits;
pub mod poison;
pub mod secret;
pub mod units;
