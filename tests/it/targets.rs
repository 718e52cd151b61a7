//! Targets: one suite for each backend, what the local one leaves on the disk, and how faults come out.

mod conformance;
pub(crate) mod local;
mod s3;

use std::path::Path;

use bytes::Bytes;
use strongroom::target::{Access, Target, TargetSettings, scheme};

use crate::weed::Weed;

/// A name for tests.
fn name() -> strongroom::id::TargetName {
    "local".parse().unwrap()
}

/// A target at a URL that counts from `base`.
fn open(url: &str, base: &Path) -> Target {
    Target::open(name(), &TargetSettings::of_url(url), base, &Access::default()).unwrap()
}

/// `length` bytes that look different everywhere.
fn noise(length: usize) -> Bytes {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        bytes.extend_from_slice(&(state ^ (state >> 29)).to_le_bytes());
    }
    bytes.truncate(length);
    Bytes::from(bytes)
}

/// Every file and folder below `root` with its permission bits, by name.
fn tree(root: &Path) -> Vec<(String, u32)> {
    fn walk(root: &Path, folder: &Path, found: &mut Vec<(String, u32)>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o7777;
            let path = entry.path();
            found.push((path.strip_prefix(root).unwrap().display().to_string(), mode));
            if metadata.is_dir() {
                walk(root, &path, found);
            }
        }
    }
    let mut found = Vec::new();
    walk(root, root, &mut found);
    found.sort();
    found
}

/// Makes empty targets of a kind, each of its own.
fn fresh(scheme: &str) -> Box<dyn Fn() -> Target> {
    let count = std::cell::Cell::new(0);
    let next = move || {
        count.set(count.get() + 1);
        format!("{}", count.get())
    };
    match scheme {
        "file" => {
            let folder = tempfile::tempdir().unwrap();
            Box::new(move || open(&format!("file:{}", next()), folder.path()))
        }
        "s3" => {
            let server = Weed::start();
            Box::new(move || server.target(&format!("conformance/{}", next())))
        }
        other => panic!("the suite has no empty target for `{other}:`"),
    }
}

#[tokio::test]
async fn a_target_in_memory_keeps_the_promises_of_a_target() {
    conformance::all(&|| Target::memory(name())).await;
}

#[tokio::test]
async fn every_scheme_keeps_the_promises_of_a_target() {
    for scheme in scheme::SCHEMES {
        conformance::all(&fresh(scheme.name)).await;
    }
}
