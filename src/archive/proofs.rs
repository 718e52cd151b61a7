//! Digests of stored objects, made on the way while someone else reads them, so that a check of objects and content reads each byte
//! once.
//!
//! Nothing depends on it: an object that was read in too wild an order, or not whole, has no digest in the end and is read again.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use crate::crypto::Digest;
use crate::limits::{PROOFS_AHEAD, PROOFS_OPEN};
use crate::poison::lock;

/// An object with its name, its size in bytes and its digest, where it has one.
pub type Expected = (String, u64, Option<Digest>);

/// Digests of the objects that were read.
#[derive(Default)]
pub struct Proofs(Mutex<State>);

#[derive(Default)]
struct State {
    open: HashMap<String, Partly>,
    whole: HashMap<String, Digest>,
    /// Bytes that wait for those before them, in all objects.
    waiting: usize,
    turn: u64,
}

/// An object of which not all was read.
#[derive(Default)]
struct Partly {
    hasher: blake3::Hasher,
    /// Bytes that are in the digest.
    upto: u64,
    /// What was read before its turn, by where it begins.
    waiting: BTreeMap<u64, Vec<u8>>,
    /// When something of it was read last.
    turn: u64,
}

impl Partly {
    /// Takes bytes that begin at `at`, which is not beyond what it has.
    fn take(&mut self, at: u64, bytes: &[u8]) {
        let known = usize::try_from(self.upto - at).unwrap_or(usize::MAX);
        if let Some(new) = bytes.get(known..) {
            self.hasher.update(new);
            self.upto += new.len() as u64;
        }
    }

    /// Takes what waits and has its turn; gives how many bytes waited.
    fn catch_up(&mut self) -> usize {
        let mut caught = 0;
        while let Some(next) = self.waiting.first_entry().filter(|next| *next.key() <= self.upto) {
            let (at, bytes) = next.remove_entry();
            caught += bytes.len();
            self.take(at, &bytes);
        }
        caught
    }
}

impl Proofs {
    /// Hears that these bytes of the object `name`, which has `size` of them, stand at `at`.
    pub fn seen(&self, name: &str, size: u64, at: u64, bytes: &[u8]) {
        let mut state = lock(&self.0);
        let State {
            open,
            whole,
            waiting,
            turn,
        } = &mut *state;
        if whole.contains_key(name) {
            return;
        }
        if !open.contains_key(name) {
            if open.len() >= PROOFS_OPEN {
                let oldest = open.iter().min_by_key(|(_, partly)| partly.turn);
                if let Some(gone) = oldest.map(|(name, _)| name.clone()).and_then(|name| open.remove(&name)) {
                    *waiting -= gone.waiting.values().map(Vec::len).sum::<usize>();
                }
            }
            open.insert(name.to_owned(), Partly::default());
        }
        let Some(partly) = open.get_mut(name) else { return };
        *turn += 1;
        partly.turn = *turn;
        if at > partly.upto {
            if *waiting + bytes.len() <= PROOFS_AHEAD && !partly.waiting.contains_key(&at) {
                *waiting += bytes.len();
                partly.waiting.insert(at, bytes.to_vec());
            }
            return;
        }
        partly.take(at, bytes);
        *waiting -= partly.catch_up();
        if partly.upto >= size {
            let digest = (partly.upto == size).then(|| partly.hasher.finalize().into());
            if let (Some((name, _)), Some(digest)) = (open.remove_entry(name), digest) {
                whole.insert(name, digest);
            }
        }
    }

    /// Those of these objects that were not read whole, or are not what they should be.
    pub fn rest(&self, objects: Vec<Expected>) -> Vec<Expected> {
        let state = lock(&self.0);
        let proved = |(name, _, digest): &Expected| digest.is_some() && state.whole.get(name) == digest.as_ref();
        objects.into_iter().filter(|object| !proved(object)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(bytes: &[u8]) -> Expected {
        ("x".into(), bytes.len() as u64, Some(Digest::of(bytes)))
    }

    fn content(size: usize) -> Vec<u8> {
        (0..size).map(|n| u8::try_from(n % 251).unwrap()).collect()
    }

    #[test]
    fn pieces_in_any_near_order_that_overlap_and_repeat_make_the_digest() {
        let bytes = content(10_000);
        for order in [[0, 1, 2, 3, 4], [4, 0, 1, 2, 3], [1, 0, 3, 2, 4], [4, 3, 2, 1, 0]] {
            let proofs = Proofs::default();
            for part in order {
                assert_eq!(proofs.rest(vec![object(&bytes)]).len(), 1);
                let from = part * 2000;
                let end = (from + 2100).min(bytes.len());
                for _ in 0..2 {
                    proofs.seen("x", 10_000, from as u64, &bytes[from..end]);
                }
            }
            assert_eq!(proofs.rest(vec![object(&bytes)]), [], "{order:?}");
            assert_eq!(proofs.0.lock().unwrap().waiting, 0);
        }
    }

    #[test]
    fn a_byte_that_was_not_read_or_is_another_leaves_the_object_to_be_read() {
        let bytes = content(5000);
        let gap = Proofs::default();
        gap.seen("x", 5000, 0, &bytes[..1999]);
        gap.seen("x", 5000, 2000, &bytes[2000..]);
        let mut changed = bytes.clone();
        changed[4000] ^= 1;
        let other = Proofs::default();
        other.seen("x", 5000, 0, &changed);
        let longer = Proofs::default();
        longer.seen("x", 4999, 0, &bytes);
        for proofs in [gap, other, longer, Proofs::default()] {
            assert_eq!(proofs.rest(vec![object(&bytes)]).len(), 1);
        }
        let unknown = Proofs::default();
        unknown.seen("x", 5000, 0, &bytes);
        assert_eq!(unknown.rest(vec![("x".into(), 5000, None)]).len(), 1);
    }

    #[test]
    fn what_waits_and_what_is_open_is_bounded() {
        let piece = vec![0; PROOFS_AHEAD / 2 + 1];
        let proofs = Proofs::default();
        for number in 0..3 * PROOFS_OPEN {
            proofs.seen(&number.to_string(), u64::MAX, 1 + number as u64, &piece);
            let state = proofs.0.lock().unwrap();
            let held: usize = state.open.values().flat_map(|p| p.waiting.values()).map(Vec::len).sum();
            assert!(state.open.len() <= PROOFS_OPEN && held == state.waiting && held <= PROOFS_AHEAD);
        }
    }
}
