//! Where the frames of an object lie, and which of them hold a stretch of its plain text.

use std::ops::Range;

use crate::codec::seek_table::FrameLength;

/// One frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    stored_at: u64,
    stored: u32,
    /// Plain bytes before it.
    pub plain_at: u64,
    /// Its plain bytes.
    pub plain: u32,
}

impl Frame {
    /// Its bytes in the object.
    pub fn stored(&self) -> Range<u64> {
        self.stored_at..self.stored_at + u64::from(self.stored)
    }
}

/// The frames of an object, one behind the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrameTable(Vec<Frame>);

impl FrameTable {
    /// Adds up where each frame begins.
    pub fn new(lengths: impl IntoIterator<Item = FrameLength>) -> Self {
        let (mut stored_at, mut plain_at) = (0, 0);
        let frames = lengths.into_iter().map(|FrameLength { stored, plain }| {
            let frame = Frame {
                stored_at,
                stored,
                plain_at,
                plain,
            };
            stored_at += u64::from(stored);
            plain_at += u64::from(plain);
            frame
        });
        Self(frames.collect())
    }

    /// A frame by its number.
    pub fn get(&self, number: u32) -> Option<Frame> {
        self.0.get(number as usize).copied()
    }

    /// As [`parts`], of these frames.
    pub fn parts(&self, wanted: &Range<u64>) -> Result<Vec<(u32, Range<usize>)>, u64> {
        let ended = |frame: &Frame| frame.plain_at + u64::from(frame.plain) <= wanted.start;
        let first = self.0.partition_point(ended);
        let frames = self.0.iter().enumerate().skip(first);
        let frames = frames.map(|(number, frame)| (number as u64, frame.plain_at, u64::from(frame.plain)));
        parts(wanted, frames)
    }
}

/// The numbers of those of `frames` (number, plain bytes before it, its plain bytes) that hold the plain bytes `wanted`, each with
/// its part of them.
///
/// # Errors
/// The first byte that none of them holds.
pub fn parts(
    wanted: &Range<u64>,
    frames: impl Iterator<Item = (u64, u64, u64)>,
) -> Result<Vec<(u32, Range<usize>)>, u64> {
    let (mut at, mut parts) = (wanted.start, Vec::new());
    for (number, from, length) in frames {
        if at >= wanted.end {
            break;
        }
        let behind = wanted.end.min(from + length);
        let within = |at: u64| at.checked_sub(from).and_then(|at| usize::try_from(at).ok());
        let (Some(start), Some(end), Ok(number)) = (within(at), within(behind), u32::try_from(number)) else {
            return Err(at);
        };
        if start < end {
            parts.push((number, start..end));
            at = behind;
        }
    }
    if at == wanted.end { Ok(parts) } else { Err(at) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_is_found_in_the_frames_that_hold_it_and_one_beyond_them_is_not() {
        let lengths = [(10, 100), (5, 0), (20, 50)].map(|(stored, plain)| FrameLength { stored, plain });
        let table = FrameTable::new(lengths);
        assert_eq!(
            table.get(2).map(|frame| (frame.stored(), frame.plain_at)),
            Some((15..35, 100))
        );
        assert_eq!(table.get(3), None);
        assert_eq!(table.parts(&(0..100)), Ok(vec![(0, 0..100)]));
        assert_eq!(table.parts(&(90..110)), Ok(vec![(0, 90..100), (2, 0..10)]));
        assert_eq!(table.parts(&(100..150)), Ok(vec![(2, 0..50)]));
        assert_eq!(table.parts(&(7..7)), Ok(vec![]));
        assert_eq!(table.parts(&(140..151)), Err(150));
        assert_eq!(table.parts(&(200..201)), Err(200));
    }
}
