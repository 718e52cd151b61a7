//! How hard a frame is tried: zstd's parameters, chosen for frames of [`FRAME`] bytes whose size is known.
//!
//! At level 3 a frame is first looked at: a sample of it is compressed in zstd's two cheapest ways, and where the slower one
//! gains little the faster one does the whole frame. Logs and databases gain 1 to 2 % and cost a fifth more, text and
//! source gain 5 to 20 % for next to nothing (measured). The choice depends on the frame's bytes alone.

use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

use crate::limits::{FRAME, FRAME_SAMPLE};

/// The level at which frames are looked at first.
pub const BALANCED: i32 = 3;
/// Level of zstd's faster way, and its table of 2^17 positions: what stays in a core's cache.
const QUICK: (i32, u32) = (2, 17);
/// Shortest match, in bytes, of both ways. Shorter ones cost time and, in text with many random digits, space.
const MATCH_MIN: u32 = 6;
/// A window that holds a whole frame, as a power of two.
const WINDOW: u32 = FRAME.trailing_zeros();
/// What the slower way must gain, in thousandths of the faster one's bytes.
const WORTH: usize = 25;
/// Stretches that make up a sample.
const STRETCHES: usize = 4;

/// Compresses frames, one after the other, at one level.
pub struct Effort {
    dense: Compressor<'static>,
    quick: Option<Compressor<'static>>,
    sample: Vec<u8>,
}

impl Effort {
    /// Prepares for `level`, 1 to 19.
    ///
    /// # Errors
    /// When zstd has no memory.
    pub fn new(level: i32) -> std::io::Result<Self> {
        let mut dense = Compressor::new(level)?;
        dense.set_parameter(CParameter::WindowLog(WINDOW))?;
        let mut quick = None;
        if level == BALANCED {
            dense.set_parameter(CParameter::MinMatch(MATCH_MIN))?;
            let mut other = Compressor::new(QUICK.0)?;
            other.set_parameter(CParameter::HashLog(QUICK.1))?;
            other.set_parameter(CParameter::WindowLog(WINDOW))?;
            other.set_parameter(CParameter::MinMatch(MATCH_MIN))?;
            quick = Some(other);
        }
        Ok(Self {
            dense,
            quick,
            sample: Vec::new(),
        })
    }

    /// Compresses `plain` into one frame in `stored`, which is emptied first.
    ///
    /// # Errors
    /// zstd's own.
    pub fn compress(&mut self, plain: &[u8], stored: &mut Vec<u8>) -> std::io::Result<()> {
        stored.clear();
        stored.reserve(zstd::zstd_safe::compress_bound(plain.len()));
        let way = match &mut self.quick {
            Some(quick) if plain.len() >= 4 * FRAME_SAMPLE => {
                take_sample(plain, &mut self.sample);
                let fast = quick.compress_to_buffer(self.sample.as_slice(), stored)?;
                stored.clear();
                let slow = self.dense.compress_to_buffer(self.sample.as_slice(), stored)?;
                stored.clear();
                if slow * 1000 <= fast * (1000 - WORTH) {
                    &mut self.dense
                } else {
                    quick
                }
            }
            _ => &mut self.dense,
        };
        way.compress_to_buffer(plain, stored)?;
        Ok(())
    }
}

/// A few stretches from all over the frame, so that what a frame begins with does not speak for the rest.
fn take_sample(plain: &[u8], sample: &mut Vec<u8>) {
    sample.clear();
    let (stride, length) = (plain.len() / STRETCHES, FRAME_SAMPLE / STRETCHES);
    for stretch in plain.chunks(stride.max(1)).take(STRETCHES) {
        let from = stretch.len().saturating_sub(length) / 2;
        sample.extend_from_slice(
            stretch
                .get(from..)
                .unwrap_or_default()
                .get(..length)
                .unwrap_or_default(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(level: i32, plain: &[u8]) -> usize {
        let (mut effort, mut stored) = (Effort::new(level).unwrap(), Vec::new());
        effort.compress(plain, &mut stored).unwrap();
        assert_eq!(zstd::bulk::decompress(&stored, plain.len()).unwrap(), plain);
        stored.len()
    }

    /// Text whose words come again at distances beyond a sample.
    fn text(bytes: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let mut next = move |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) % below
        };
        let words: Vec<String> = (0..3000).map(|n| format!("{:x}", n * 7_919)).collect();
        let mut text = Vec::new();
        while text.len() < bytes {
            text.extend_from_slice(words[next(3000) as usize].as_bytes());
            text.push(b' ');
        }
        text
    }

    #[test]
    fn every_level_and_length_comes_back() {
        let plain = text(FRAME);
        for level in [1, 2, 3, 6, 19] {
            round_trip(level, plain.get(..300_000).unwrap());
        }
        for length in [0, 1, FRAME_SAMPLE, 4 * FRAME_SAMPLE, FRAME] {
            round_trip(BALANCED, plain.get(..length).unwrap());
        }
    }

    #[test]
    fn the_same_bytes_give_the_same_frame_whatever_came_before() {
        let (plain, other) = (text(1 << 20), vec![7; 1 << 20]);
        let (mut effort, mut first, mut again) = (Effort::new(BALANCED).unwrap(), Vec::new(), Vec::new());
        effort.compress(&plain, &mut first).unwrap();
        effort.compress(&other, &mut again).unwrap();
        effort.compress(&plain, &mut again).unwrap();
        assert_eq!(first, again);
    }

    #[test]
    fn level_3_is_never_much_larger_than_zstds_own() {
        let plain = text(FRAME);
        let own = zstd::bulk::compress(&plain, 3).unwrap().len();
        let ours = round_trip(BALANCED, &plain);
        assert!(ours * 100 <= own * 103, "{ours} against {own}");
    }
}
