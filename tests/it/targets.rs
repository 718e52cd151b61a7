//! Targets: one suite for each backend, what the local one leaves on the disk, and how faults come out.

mod conformance;
mod local;

use std::path::Path;

use bytes::Bytes;
use strongroom::target::{Target, TargetSettings, scheme};

/// A name for tests.
fn name() -> strongroom::id::TargetName {
    "local".parse().unwrap()
}

/// A target at a URL that counts from `base`.
fn open(url: &str, base: &Path) -> Target {
    let settings = TargetSettings { url: url.to_owned() };
    Target::open(name(), &settings, base).unwrap()
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

#[tokio::test]
async fn every_backend_keeps_the_promises_of_a_target() {
    conformance::all(|| Target::memory(name())).await;
    for scheme in scheme::SCHEMES {
        // Each claim gets an empty target of its own.
        let folder = tempfile::tempdir().unwrap();
        let count = std::cell::Cell::new(0);
        conformance::all(|| {
            count.set(count.get() + 1);
            let below = folder.path().join(format!("{}-{}", scheme.name, count.get()));
            open(&(scheme.sample)(&below), folder.path())
        })
        .await;
    }
}
