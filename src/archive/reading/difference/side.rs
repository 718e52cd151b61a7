//! One of two backups that are compared: the segments of its base that may hold what is compared, and its patch as a stream; and which
//! segments both have.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use crate::archive::catalog::{Line, Listed};
use crate::archive::record::SegmentRecord;
use crate::archive::unpack::UnpackError;
use crate::archive::unpack::segments::{Place, Segments, Stream, at};

use super::super::Reading;
use super::super::path::{BackupPath, Order};

/// One side of a comparison.
pub(super) struct Side {
    pub(super) segments: Arc<Segments>,
    pub(super) base: Vec<SegmentRecord>,
    patch: Stream,
}

impl Side {
    /// What of a backup may hold something at `scope` or below it.
    pub(super) fn new(reading: &Reading, scope: Option<&BackupPath>) -> Result<Self, UnpackError> {
        let segments = Arc::clone(&reading.segments);
        let order = reading.order();
        let part = |records: &[SegmentRecord]| match scope {
            Some(scope) => part(&segments, records, scope, &order),
            None => Ok(records.to_vec()),
        };
        let base = part(&reading.record.segments)?;
        let patch = Stream::new(&part(&reading.record.patch)?);
        Ok(Self { segments, base, patch })
    }

    /// The first place of which the patch says something.
    pub(super) fn patched(&mut self, scope: Option<&BackupPath>) -> Result<Option<Place>, UnpackError> {
        skip(&mut self.patch, &self.segments, scope)?;
        let place = self.patch.front().and_then(at);
        Ok(place.map(|(source, path)| (source.clone(), path.clone())))
    }

    /// What the patch says of a place, where that comes next in it: an entry, or that there is none.
    #[expect(clippy::option_option, reason = "that nothing is said is not that there is nothing")]
    pub(super) fn take(&mut self, place: &Place) -> Option<Option<Listed>> {
        let here = self.patch.front().and_then(at)?;
        if here != (&place.0, &place.1) {
            return None;
        }
        Some(entry(self.patch.pop()))
    }

    /// The next entry of `base` with what the patch says instead; of the patch only what comes before `bound`.
    pub(super) fn next(
        &mut self,
        base: &mut Stream,
        bound: Option<&Place>,
        scope: Option<&BackupPath>,
        order: &Order,
    ) -> Result<Option<Listed>, UnpackError> {
        loop {
            skip(base, &self.segments, scope)?;
            skip(&mut self.patch, &self.segments, scope)?;
            let within = |place: &(_, _)| bound.is_none_or(|bound| order.compare(*place, (&bound.0, &bound.1)).is_lt());
            let patched = self.patch.front().and_then(at).filter(within);
            let line = match (base.front().and_then(at), patched) {
                (None, None) => return Ok(None),
                (Some(_), None) => base.pop(),
                (None, Some(_)) => self.patch.pop(),
                (Some(there), Some(patched)) => match order.compare(there, patched) {
                    std::cmp::Ordering::Less => base.pop(),
                    std::cmp::Ordering::Greater => self.patch.pop(),
                    std::cmp::Ordering::Equal => {
                        base.pop();
                        self.patch.pop()
                    }
                },
            };
            if let Some(listed) = entry(line) {
                return Ok(Some(listed));
            }
        }
    }
}

fn entry(line: Option<Line>) -> Option<Listed> {
    match line {
        Some(Line::Entry(listed)) => Some(*listed),
        Some(Line::Gone { .. } | Line::Superseded { .. }) | None => None,
    }
}

/// Passes over lines that are out of scope or stand nowhere.
fn skip(stream: &mut Stream, segments: &Segments, scope: Option<&BackupPath>) -> Result<(), UnpackError> {
    loop {
        stream.fill(segments)?;
        let counts = |line: &Line| at(line).is_some_and(|at| scope.is_none_or(|scope| scope.holds(at)));
        match stream.front() {
            Some(line) if !counts(line) => drop(stream.pop()),
            Some(_) | None => return Ok(()),
        }
    }
}

/// The segments that may hold something at `scope` or below it.
pub(in crate::archive::reading) fn part(
    segments: &Segments,
    records: &[SegmentRecord],
    scope: &BackupPath,
    order: &Order,
) -> Result<Vec<SegmentRecord>, UnpackError> {
    if !order.sources().contains(scope.source()) {
        return Ok(Vec::new());
    }
    let before = |source: &_, path: &_| order.is_before((source, path), scope);
    let start = segments.wholly_before(records.len(), |number| records.get(number), &before)?;
    let rest = records.get(start..).unwrap_or_default();
    let before = |source: &_, path: &_| order.is_before_behind((source, path), scope);
    let wholly = segments.wholly_before(rest.len(), |number| rest.get(number), &before)?;
    // The one behind those that lie wholly in it may begin in it.
    Ok(rest.iter().take(wholly + 1).cloned().collect())
}

/// A part of two lists of segments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Region {
    /// Numbers in the first list.
    pub(super) one: Range<usize>,
    /// Numbers in the second one.
    pub(super) other: Range<usize>,
    /// Whether both have the same segments there.
    pub(super) is_same: bool,
}

/// Cuts two lists of segments where they begin or cease to have the same ones.
pub(super) fn regions(one: &[SegmentRecord], other: &[SegmentRecord]) -> Vec<Region> {
    let numbers: HashMap<&str, usize> = other.iter().enumerate().map(|(n, r)| (r.name.as_str(), n)).collect();
    let mut regions: Vec<Region> = Vec::new();
    let (mut one_at, mut other_at) = (0, 0);
    for (number, record) in one.iter().enumerate() {
        let there = numbers.get(record.name.as_str()).copied();
        let there = there.filter(|there| *there >= other_at && other.get(*there) == Some(record));
        let Some(there) = there else { continue };
        if number > one_at || there > other_at {
            regions.push(Region {
                one: one_at..number,
                other: other_at..there,
                is_same: false,
            });
        }
        match regions.last_mut().filter(|last| last.is_same) {
            Some(last) => (last.one.end, last.other.end) = (number + 1, there + 1),
            None => regions.push(Region {
                one: number..number + 1,
                other: there..there + 1,
                is_same: true,
            }),
        }
        (one_at, other_at) = (number + 1, there + 1);
    }
    if one_at < one.len() || other_at < other.len() {
        regions.push(Region {
            one: one_at..one.len(),
            other: other_at..other.len(),
            is_same: false,
        });
    }
    regions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Digest;

    fn records(names: &str) -> Vec<SegmentRecord> {
        let record = |name: char| SegmentRecord {
            name: name.to_string(),
            bytes: 1,
            plain_bytes: 1,
            blake3: Digest::of(name.to_string().as_bytes()),
            lines: 1,
        };
        names.chars().map(record).collect()
    }

    fn shown(one: &str, other: &str) -> Vec<String> {
        let regions = regions(&records(one), &records(other));
        let show = |region: &Region| {
            let sign = if region.is_same { '=' } else { '/' };
            format!("{}{sign}{}", &one[region.one.clone()], &other[region.other.clone()])
        };
        regions.iter().map(show).collect()
    }

    #[test]
    fn lists_are_cut_where_they_begin_or_cease_to_be_the_same() {
        assert_eq!(shown("abc", "abc"), ["abc=abc"]);
        assert_eq!(shown("abc", ""), ["abc/"]);
        assert_eq!(shown("abcd", "axcd"), ["a=a", "b/x", "cd=cd"]);
        assert_eq!(shown("abcd", "acd"), ["a=a", "b/", "cd=cd"]);
        assert_eq!(shown("ab", "xaby"), ["/x", "ab=ab", "/y"]);
    }

    #[test]
    fn lists_in_another_order_are_cut_so_that_every_segment_stands_once() {
        for (one, other) in [("ab", "ba"), ("abcabc", "cbacba"), ("aab", "ab")] {
            let regions = regions(&records(one), &records(other));
            let (mut one_at, mut other_at) = (0, 0);
            for region in &regions {
                assert_eq!((region.one.start, region.other.start), (one_at, other_at));
                (one_at, other_at) = (region.one.end, region.other.end);
            }
            assert_eq!((one_at, other_at), (one.len(), other.len()));
        }
    }
}
