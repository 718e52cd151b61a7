//! The table of step types: name, settings, and what each takes and gives.

pub mod assert;
pub mod checksum;
pub mod command;
pub mod compress;
pub mod confirm;
pub mod deduplicate;
pub mod encrypt;
pub mod redact;
pub mod restore;
pub mod retain;
pub mod rollback_point;
pub mod select;
pub mod snapshot;
pub mod swap;
pub mod upload;
pub mod verify;

use crate::kinds;

kinds! {
    /// A step with its settings.
    pub enum Step {
        "snapshot" => Snapshot(snapshot::Snapshot),
        "redact" => Redact(redact::Redact),
        "deduplicate" => Deduplicate(deduplicate::Deduplicate),
        "compress" => Compress(compress::Compress),
        "encrypt" => Encrypt(encrypt::Encrypt),
        "checksum" => Checksum(checksum::Checksum),
        "upload" => Upload(upload::Upload),
        "confirm" => Confirm(confirm::Confirm),
        "retain" => Retain(retain::Retain),
        "select" => Select(select::Select),
        "verify" => Verify(verify::Verify),
        "rollback-point" => RollbackPoint(rollback_point::RollbackPoint),
        "restore" => Restore(restore::Restore),
        "assert" => Assert(assert::Assert),
        "swap" => Swap(swap::Swap),
        "command" => Command(command::Command),
    }
}

/// What flows between steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flow {
    /// Nothing yet.
    Nothing,
    /// A captured tree.
    Tree,
    /// A tree in chunks of which only new ones are stored.
    Chunks,
    /// A compressed archive, or compressed packs.
    Packed,
    /// The same, sealed.
    Sealed,
    /// An archive with its digests.
    Digested,
    /// A stored backup.
    Stored,
    /// A backup that was read back.
    Confirmed,
    /// A backup to work on.
    Chosen,
    /// A chosen backup that was checked.
    Verified,
    /// A chosen backup that was checked, and what it replaces will be kept.
    Guarded,
    /// Sources that were unpacked.
    Staged,
    /// Sources unpacked beside their destinations, and what they replace will be kept.
    GuardedStage,
    /// Sources in place.
    Swapped,
}

impl Flow {
    /// What it is, for a message: "a captured tree".
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Tree => "a captured tree",
            Self::Chunks => "a tree in chunks",
            Self::Packed => "a compressed archive",
            Self::Sealed => "a sealed archive",
            Self::Digested => "an archive with digests",
            Self::Stored => "a stored backup",
            Self::Confirmed => "a confirmed backup",
            Self::Chosen => "a chosen backup",
            Self::Verified => "a verified backup",
            Self::Guarded => "a verified backup with a rollback point",
            Self::Staged => "staged sources",
            Self::GuardedStage => "staged sources with a rollback point",
            Self::Swapped => "swapped sources",
        }
    }
}

/// What a step takes and gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signature {
    /// Takes one of these, each giving what stands beside it.
    Takes(&'static [(Flow, Flow)]),
    /// Takes anything and gives the same.
    Any,
}

impl Step {
    /// What this step takes and gives.
    pub const fn signature(&self) -> Signature {
        use Flow::{
            Chosen, Chunks, Confirmed, Digested, Guarded, GuardedStage, Nothing, Packed, Sealed, Staged, Stored,
            Swapped, Tree, Verified,
        };
        use Signature::{Any, Takes};
        match self {
            Self::Snapshot(_) => Takes(&[(Nothing, Tree)]),
            Self::Redact(_) => Takes(&[(Tree, Tree), (Verified, Verified)]),
            Self::Deduplicate(_) => Takes(&[(Tree, Chunks)]),
            Self::Compress(_) => Takes(&[(Tree, Packed), (Chunks, Packed)]),
            Self::Encrypt(_) => Takes(&[(Packed, Sealed)]),
            Self::Checksum(_) => Takes(&[(Packed, Digested), (Sealed, Digested)]),
            Self::Upload(_) => Takes(&[(Digested, Stored)]),
            Self::Confirm(confirm::Confirm {
                by: confirm::By::ReadBack,
            }) => Takes(&[(Stored, Confirmed)]),
            Self::Confirm(confirm::Confirm {
                by: confirm::By::Operator,
            })
            | Self::Command(_) => Any,
            Self::Retain(_) => Takes(&[(Confirmed, Confirmed)]),
            Self::Select(_) => Takes(&[(Nothing, Chosen)]),
            Self::Verify(_) => Takes(&[(Chosen, Verified)]),
            Self::RollbackPoint(_) => Takes(&[(Verified, Guarded)]),
            // What is removed again replaces nothing.
            Self::Restore(restore::Restore {
                to: Some(restore::To::Scratch),
                ..
            }) => Takes(&[(Verified, Staged)]),
            Self::Restore(_) => Takes(&[(Verified, Staged), (Guarded, GuardedStage)]),
            Self::Assert(_) => Takes(&[(Staged, Staged), (GuardedStage, GuardedStage)]),
            Self::Swap(_) => Takes(&[(GuardedStage, Swapped)]),
        }
    }

    /// Whether the step can run after a failure, which leaves nothing that flows.
    pub const fn can_run_always(&self) -> bool {
        matches!(self, Self::Command(_))
    }

    /// Whether the step may not be switched off in a protected environment.
    pub const fn protects(&self) -> bool {
        matches!(
            self,
            Self::Redact(_) | Self::Encrypt(_) | Self::Checksum(_) | Self::Confirm(_)
        )
    }
}
