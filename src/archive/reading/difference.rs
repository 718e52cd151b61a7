//! What differs between two backups: their catalogs side by side, in one order, so neither is held.
//!
//! Two backups of one line mostly have most segments of their catalogs in common. Where both have the same segments, only those are
//! read in which the patch of one of them says something else, and of the others nothing.

mod alike;
mod side;

use std::cmp::Ordering;

use crate::archive::catalog::{Line, Listed};
use crate::archive::record::SegmentRecord;
use crate::archive::unpack::UnpackError;
use crate::archive::unpack::segments::{Place, Segments, Stream};

pub use alike::{Changed, changed};

use super::path::{BackupPath, Order};
use super::{Reading, ReadingError};
pub(super) use side::part;
use side::{Region, Side, regions};

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Only the second backup has it.
    Added(Listed),
    /// Only the first one has it.
    Removed(Listed),
    /// Both have it, and not alike.
    Changed {
        /// What the first one has.
        before: Box<Listed>,
        /// What the second one has.
        after: Box<Listed>,
        /// In what they differ.
        what: Changed,
    },
}

/// Tells in order what differs between two backups, at `scope` and below it, everywhere where it is `None`.
///
/// # Errors
/// When a catalog cannot be read, neither backup has `scope`, or `tell` fails.
pub fn differences<E: From<ReadingError>>(
    one: &Reading,
    other: &Reading,
    scope: Option<&BackupPath>,
    tell: &mut dyn FnMut(Difference) -> Result<(), E>,
) -> Result<(), E> {
    let (first, second) = (one.order(), other.order());
    if scope.is_some() || first.sources() == second.sources() {
        return compare(one, other, scope, tell);
    }
    // The sources stand in another order, or are not the same: one after the other.
    let new = second
        .sources()
        .iter()
        .filter(|source| !first.sources().contains(source));
    for source in first.sources().iter().chain(new) {
        let root = BackupPath::new(source, &crate::fs::entry::TreePath::root());
        compare(one, other, Some(&root), tell)?;
    }
    Ok(())
}

fn compare<E: From<ReadingError>>(
    one: &Reading,
    other: &Reading,
    scope: Option<&BackupPath>,
    tell: &mut dyn FnMut(Difference) -> Result<(), E>,
) -> Result<(), E> {
    let mut comparing = Comparing {
        order: one.order(),
        one: Side::new(one, scope).map_err(ReadingError::from)?,
        other: Side::new(other, scope).map_err(ReadingError::from)?,
        readings: (one, other),
        scope,
        tell,
    };
    let regions = regions(&comparing.one.base, &comparing.other.base);
    for (number, region) in regions.iter().enumerate() {
        let bound = comparing.begin_of(regions.get(number + 1))?;
        if region.is_same {
            comparing.same(region, bound.as_ref())?;
        } else {
            comparing.unlike(region, bound.as_ref())?;
        }
    }
    // Lines of a patch where neither base has anything.
    comparing.unlike(&Region::default(), None)
}

struct Comparing<'c, E> {
    order: Order,
    one: Side,
    other: Side,
    readings: (&'c Reading, &'c Reading),
    scope: Option<&'c BackupPath>,
    tell: &'c mut dyn FnMut(Difference) -> Result<(), E>,
}

impl<E: From<ReadingError>> Comparing<'_, E> {
    /// Where a region begins, where that counts: what a patch says before it belongs to the region before.
    fn begin_of(&mut self, region: Option<&Region>) -> Result<Option<Place>, ReadingError> {
        let Some(region) = region else { return Ok(None) };
        if self.next_patched()?.is_none() {
            return Ok(None);
        }
        let begin = |side: &Side, number: Option<usize>| {
            let record = number.and_then(|number| side.base.get(number));
            record.map(|record| side.segments.first(record)).transpose()
        };
        let one = begin(&self.one, region.one.clone().next())?.flatten();
        let other = begin(&self.other, region.other.clone().next())?.flatten();
        Ok(match (one, other) {
            (Some(one), Some(other)) if self.order_of(&one, &other).is_gt() => Some(other),
            (one, other) => one.or(other),
        })
    }

    fn order_of(&self, one: &Place, other: &Place) -> Ordering {
        self.order.compare((&one.0, &one.1), (&other.0, &other.1))
    }

    /// The first place of which a patch says something.
    fn next_patched(&mut self) -> Result<Option<Place>, UnpackError> {
        let one = self.one.patched(self.scope)?;
        let other = self.other.patched(self.scope)?;
        Ok(match (one, other) {
            (Some(one), Some(other)) if self.order_of(&one, &other).is_gt() => Some(other),
            (one, other) => one.or(other),
        })
    }

    /// Segments that both have: only what the patches say can differ.
    fn same(&mut self, region: &Region, bound: Option<&Place>) -> Result<(), E> {
        let records: Vec<SegmentRecord> = self.one.base.get(region.one.clone()).unwrap_or_default().to_vec();
        let mut base = Lookup {
            segments: std::sync::Arc::clone(&self.one.segments),
            records,
            at: 0,
            lines: None,
        };
        while let Some(place) = self.next_patched().map_err(ReadingError::from)? {
            if bound.is_some_and(|bound| self.order_of(&place, bound).is_ge()) {
                break;
            }
            let there = base.find(&place, &self.order).map_err(ReadingError::from)?;
            let before = self.one.take(&place).unwrap_or_else(|| there.clone());
            let after = self.other.take(&place).unwrap_or(there);
            self.tell(before, after)?;
        }
        Ok(())
    }

    /// Segments that only one of them has: every line counts.
    fn unlike(&mut self, region: &Region, bound: Option<&Place>) -> Result<(), E> {
        let (one, other) = (region.one.clone(), region.other.clone());
        let mut one_base = Stream::new(self.one.base.get(one).unwrap_or_default());
        let mut other_base = Stream::new(self.other.base.get(other).unwrap_or_default());
        let (order, scope) = (self.order.clone(), self.scope);
        let next = |side: &mut Side, base: &mut Stream| side.next(base, bound, scope, &order);
        let mut before = next(&mut self.one, &mut one_base).map_err(ReadingError::from)?;
        let mut after = next(&mut self.other, &mut other_base).map_err(ReadingError::from)?;
        loop {
            let order = match (&before, &after) {
                (None, None) => return Ok(()),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(before), Some(after)) => {
                    let at = |listed: &Listed| (listed.source.clone(), listed.entry.path.clone());
                    self.order_of(&at(before), &at(after))
                }
            };
            let now = (
                if order.is_le() { before.take() } else { None },
                if order.is_ge() { after.take() } else { None },
            );
            if order.is_le() {
                before = next(&mut self.one, &mut one_base).map_err(ReadingError::from)?;
            }
            if order.is_ge() {
                after = next(&mut self.other, &mut other_base).map_err(ReadingError::from)?;
            }
            self.tell(now.0, now.1)?;
        }
    }

    fn tell(&mut self, before: Option<Listed>, after: Option<Listed>) -> Result<(), E> {
        let difference = match (before, after) {
            (None, None) => return Ok(()),
            (None, Some(after)) => Difference::Added(after),
            (Some(before), None) => Difference::Removed(before),
            (Some(before), Some(after)) => match changed(self.readings, &before, &after)? {
                None => return Ok(()),
                Some(what) => Difference::Changed {
                    before: Box::new(before),
                    after: Box::new(after),
                    what,
                },
            },
        };
        (self.tell)(difference)
    }
}

/// Finds single lines in segments, going forward.
struct Lookup {
    segments: std::sync::Arc<Segments>,
    records: Vec<SegmentRecord>,
    at: usize,
    lines: Option<(usize, Vec<Line>)>,
}

impl Lookup {
    fn find(&mut self, place: &Place, order: &Order) -> Result<Option<Listed>, UnpackError> {
        let rest = self.records.get(self.at..).unwrap_or_default();
        let before = |source: &_, path: &_| order.compare((source, path), (&place.0, &place.1)).is_lt();
        self.at += self
            .segments
            .wholly_before(rest.len(), |number| rest.get(number), &before)?;
        let Some(record) = self.records.get(self.at) else {
            return Ok(None);
        };
        let lines = match &mut self.lines {
            Some((at, lines)) if *at == self.at => lines,
            kept => &mut kept.insert((self.at, self.segments.lines(record)?)).1,
        };
        let is_it = |line: &&Line| matches!(line, Line::Entry(listed) if (&listed.source, &listed.entry.path) == (&place.0, &place.1));
        Ok(lines.iter().find(is_it).and_then(|line| match line {
            Line::Entry(listed) => Some(Listed::clone(listed)),
            Line::Gone { .. } | Line::Superseded { .. } => None,
        }))
    }
}
