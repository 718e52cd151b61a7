//! Cuts content into chunks (`FastCDC`, Xia et al., USENIX ATC 2016 and 2020): a cut depends on the content since the cut before
//! it, so an insertion moves only the cuts beside it. Databases are cut at their own pages.
//!
//! Where a cut falls is part of the format: it decides what a later backup has in common with an earlier one. The vectors
//! in the tests hold it still.

use std::borrow::Cow;

use fastcdc::v2020::{Normalization, cut_gear, get_gear_with_seed, select_masks};

/// Smallest chunk, in bytes, but for the last one of a file.
pub const CHUNK_MIN: usize = 64 << 10;
/// Mean chunk, in bytes.
pub const CHUNK_AVERAGE: usize = 256 << 10;
/// Largest chunk, in bytes.
pub const CHUNK_MAX: usize = 1 << 20;

/// Finds cuts.
pub struct Cutter {
    gear: Cow<'static, [u64]>,
    gear_shifted: Cow<'static, [u64]>,
    masks: (u64, u64),
}

impl Cutter {
    /// Cuts as `seed` says. Where chunks are sealed the seed is secret, so that the sizes of chunks tell nothing to someone who
    /// knows the content.
    pub fn new(seed: u64) -> Self {
        let (gear, gear_shifted) = get_gear_with_seed(seed);
        Self {
            gear,
            gear_shifted,
            masks: select_masks(CHUNK_AVERAGE, Normalization::Level1),
        }
    }

    /// The length of the first chunk of `data`, which holds at least [`CHUNK_MAX`] bytes or all that is left. 0 only where `data` is
    /// empty.
    pub fn cut(&self, data: &[u8]) -> usize {
        if data.len() <= CHUNK_MIN {
            return data.len();
        }
        let (small, large) = self.masks;
        let window = data.get(..CHUNK_MAX.min(data.len())).unwrap_or(data);
        let (_, at) = cut_gear(
            window,
            CHUNK_MIN,
            CHUNK_AVERAGE,
            CHUNK_MAX,
            small,
            large,
            small << 1,
            large << 1,
            &self.gear,
            &self.gear_shifted,
        );
        at
    }
}

/// How every SQLite database begins.
const SQLITE: &[u8; 16] = b"SQLite format 3\0";
/// Smallest unit of a database: smaller pages are taken several at once.
const PAGE_MIN: usize = 4096;

/// The unit in which a file is compared with its earlier self where it is a database, from its first bytes: its page, at least
/// 4 KiB. `None` for any other file.
pub fn page_of(head: &[u8]) -> Option<usize> {
    if !head.starts_with(SQLITE) {
        return None;
    }
    let size = u16::from_be_bytes(head.get(16..18)?.try_into().ok()?);
    // 65536 does not fit two bytes and is written as 1.
    let size = if size == 1 { 65536 } else { usize::from(size) };
    (size.is_power_of_two() && size >= 512).then_some(size.max(PAGE_MIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(bytes: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut data = Vec::with_capacity(bytes + 8);
        while data.len() < bytes {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            data.extend_from_slice(&state.to_le_bytes());
        }
        data.truncate(bytes);
        data
    }

    fn cuts(seed: u64, data: &[u8]) -> Vec<usize> {
        let (cutter, mut rest, mut cuts) = (Cutter::new(seed), data, Vec::new());
        while !rest.is_empty() {
            let length = cutter.cut(rest);
            cuts.push(length);
            rest = rest.get(length..).unwrap();
        }
        cuts
    }

    #[test]
    fn cuts_are_where_they_always_were() {
        let data = noise(4 << 20);
        let found = cuts(0, &data);
        assert_eq!(found.iter().sum::<usize>(), data.len());
        let (_, inner) = found.split_last().unwrap();
        assert!(inner.iter().all(|length| (CHUNK_MIN..=CHUNK_MAX).contains(length)));
        assert_eq!(found.get(..4).unwrap(), VECTOR);
        assert_ne!(found, cuts(1, &data));
    }

    const VECTOR: [usize; 4] = [364_837, 167_313, 342_136, 276_446];

    #[test]
    fn an_insertion_moves_only_the_cuts_beside_it() {
        let data = noise(8 << 20);
        let mut changed = data.clone();
        changed.splice(1_000_000..1_000_000, *b"inserted");
        let ends = |lengths: &[usize], total: usize| -> Vec<usize> {
            let mut at = 0;
            lengths
                .iter()
                .map(|length| {
                    at += length;
                    total - at
                })
                .collect()
        };
        let (before, after) = (
            ends(&cuts(0, &data), data.len()),
            ends(&cuts(0, &changed), changed.len()),
        );
        let common = before.iter().filter(|end| after.contains(end)).count();
        assert!(common + 6 >= before.len(), "{common} of {}", before.len());
    }

    #[test]
    fn pages_are_told_by_the_header() {
        let mut head = SQLITE.to_vec();
        head.extend_from_slice(&[0x10, 0]);
        assert_eq!(page_of(&head), Some(4096));
        head[16..].copy_from_slice(&[0, 1]);
        assert_eq!(page_of(&head), Some(65536));
        head[16..].copy_from_slice(&[2, 0]);
        assert_eq!(page_of(&head), Some(4096));
        head[16..].copy_from_slice(&[0, 3]);
        assert_eq!(page_of(&head), None);
        assert_eq!(page_of(b"something else that is long"), None);
    }
}
