//! BLAKE3 of something that grows: what was hashed before can be put aside in a few digests and gone on with later.
//!
//! BLAKE3 is a tree over chunks of 1 KiB; the digest of a subtree depends on nothing but its bytes and where it begins. Complete
//! units of 1 MiB become subtrees, which are merged two by two as a binary counter carries, so that 2^n units leave one digest.
//! The last unit is never put aside, however full: only the bytes after it tell that it is not the last.

use blake3::hazmat::{ChainingValue, HasherExt as _, Mode, merge_subtrees_non_root, merge_subtrees_root};

use super::Digest;

/// Bytes of a unit: a power of two, so that complete units are whole subtrees.
pub const UNIT: u64 = 1 << 20;

/// A hash under way.
#[derive(Clone, Debug)]
pub struct Resumable {
    aside: Aside,
    hasher: blake3::Hasher,
    /// Bytes in `hasher`.
    filled: u64,
}

/// What was hashed before: digests of subtrees, the largest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aside {
    units: u64,
    stack: Vec<ChainingValue>,
}

impl Aside {
    /// Takes up what was put aside; `None` where the number of digests does not go with the number of units.
    pub fn from_parts(units: u64, stack: Vec<[u8; 32]>) -> Option<Self> {
        (stack.len() == units.count_ones() as usize).then_some(Self { units, stack })
    }

    /// Bytes hashed.
    pub const fn length(&self) -> u64 {
        self.units.saturating_mul(UNIT)
    }

    /// Units hashed.
    pub const fn units(&self) -> u64 {
        self.units
    }

    /// The digests.
    pub fn stack(&self) -> &[[u8; 32]] {
        &self.stack
    }

    fn push(&mut self, mut unit: ChainingValue) {
        self.units += 1;
        for _ in 0..self.units.trailing_zeros() {
            if let Some(left) = self.stack.pop() {
                unit = merge_subtrees_non_root(&left, &unit, Mode::Hash);
            }
        }
        self.stack.push(unit);
    }
}

impl Default for Resumable {
    fn default() -> Self {
        let aside = Aside::default();
        Self {
            hasher: begin(&aside),
            aside,
            filled: 0,
        }
    }
}

impl Resumable {
    /// Goes on after what was put aside; `next` are the bytes that follow it. `None` where there are none, since the digest of
    /// what was put aside alone cannot be had.
    pub fn resume(aside: Aside, next: &[u8]) -> Option<Self> {
        if aside.units > 0 && next.is_empty() {
            return None;
        }
        let mut resumed = Self {
            hasher: begin(&aside),
            aside,
            filled: 0,
        };
        resumed.update(next);
        Some(resumed)
    }

    /// Hashes the next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.filled == UNIT {
                self.aside.push(self.hasher.finalize_non_root());
                self.hasher = begin(&self.aside);
                self.filled = 0;
            }
            let room = usize::try_from(UNIT - self.filled).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.hasher.update(now);
            self.filled += now.len() as u64;
            bytes = later;
        }
    }

    /// The digest of all bytes so far: what `b3sum` says of them.
    pub fn finalize(&self) -> Digest {
        let mut rest = self.aside.stack.iter().rev();
        let Some(mut left) = rest.next() else {
            return self.hasher.finalize().into();
        };
        let mut right = self.hasher.finalize_non_root();
        for next in rest {
            right = merge_subtrees_non_root(left, &right, Mode::Hash);
            left = next;
        }
        merge_subtrees_root(left, &right, Mode::Hash).into()
    }

    /// What may be put aside of it: all units but the last.
    pub const fn aside(&self) -> &Aside {
        &self.aside
    }
}

fn begin(aside: &Aside) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(aside.length());
    hasher
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(length: u64) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(length).unwrap()];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        bytes
    }

    #[test]
    fn the_digest_is_blake3_whatever_was_put_aside_on_the_way() {
        let edges = [0, 1, 2, 3, 4, 5, 7, 8, 9].map(|units| units * UNIT);
        let lengths = edges
            .iter()
            .flat_map(|edge| [edge.saturating_sub(1), *edge, edge + 1, edge + 1025]);
        for length in lengths {
            let all = bytes(length);
            let expected = Digest::of(&all);
            let mut whole = Resumable::default();
            all.chunks(300_007).for_each(|piece| whole.update(piece));
            assert_eq!(whole.finalize(), expected, "{length}");
            let aside = whole.aside();
            assert!(length == 0 || aside.length() < length);
            let parts = Aside::from_parts(aside.units(), aside.stack().to_vec()).unwrap();
            let rest = &all[usize::try_from(aside.length()).unwrap()..];
            let resumed = Resumable::resume(parts, rest).unwrap();
            assert_eq!(resumed.finalize(), expected, "{length}");
        }
    }

    #[test]
    fn digests_that_do_not_go_with_the_length_are_refused() {
        assert!(Aside::from_parts(3, vec![[0; 32]; 2]).is_some());
        assert!(Aside::from_parts(3, vec![[0; 32]; 3]).is_none());
        assert!(Aside::from_parts(0, Vec::new()).is_some());
    }
}
