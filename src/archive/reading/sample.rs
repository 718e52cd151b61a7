//! A part of a backup, one of equally many that together are all of it: for checks that are spread over several runs.
//!
//! In a backup in chunks the parts share out the packs, by their names, so that a pack belongs to the same part in every backup that
//! needs it; a file belongs to the part of the pack in which it begins. A plain archive is shared out by stretches of it.

use crate::archive::catalog::{Line, Listed, Place};
use crate::archive::record::Record;
use crate::archive::repository::{self, RepositoryError};
use crate::archive::tar_header;
use crate::archive::unpack::segments::Segments;
use crate::archive::unpack::{Lines, UnpackError};
use crate::archive::{layout, refs};
use crate::crypto::Digest;
use crate::event::Events;
use crate::limits::PACK_STORED;
use crate::target::Target;
use crate::units::Share;

use super::extract::{Extracted, extract};
use super::frames::{Frames, Plain, Stretch};
use super::path::BackupPath;
use super::{Reading, ReadingError};

/// Bytes of a plain archive that belong to one part together: as much as a pack has, so that parts are read in few pieces.
const SHARED_OUT: u64 = PACK_STORED as u64;

/// One of several parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    number: u32,
    of: u32,
}

impl Part {
    /// The part `turn` of `of`; turns go on from the last part with the first one.
    pub fn new(turn: u64, of: u32) -> Self {
        let of = of.max(1);
        let number = u32::try_from(turn % u64::from(of)).unwrap_or(0);
        Self { number, of }
    }

    /// How many parts there are, none of which is more than `share`; `None` where that is nothing.
    pub fn count(share: Share) -> Option<u32> {
        // A share counts hundredths of a percent.
        let hundredths = u32::try_from(share.of(10_000))
            .ok()
            .filter(|hundredths| *hundredths > 0)?;
        Some(10_000_u32.div_ceil(hundredths))
    }

    /// Its number, from 1.
    pub const fn number(self) -> u32 {
        self.number + 1
    }

    /// How many there are.
    pub const fn of(self) -> u32 {
        self.of
    }

    fn has(self, number: u64) -> bool {
        number % u64::from(self.of) == u64::from(self.number)
    }

    fn has_pack(self, pack: &Digest) -> bool {
        let head = pack
            .as_bytes()
            .first_chunk()
            .map_or(0, |eight| u64::from_le_bytes(*eight));
        self.has(head)
    }
}

/// Compares the digests of a part's packs, and those of all small objects of the backup.
///
/// # Errors
/// At the first object that is missing, cut or changed.
pub async fn check_objects(
    (target, record): (&Target, &Record),
    part: Part,
    events: &Events,
) -> Result<u64, RepositoryError> {
    let archive = record.archive.as_ref().map(|archive| archive.name.as_str());
    let mut objects = repository::objects(record);
    objects.retain(|(name, ..)| Some(name.as_str()) != archive);
    repository::check_each(target, objects, events).await?;
    if record.packs.is_none() {
        return Ok(0);
    }
    let refs = refs::read(target, &record.refs).await;
    let refs = refs.map_err(|error| RepositoryError::of_refs(target, error))?;
    let packs = refs.iter().filter_map(|one| {
        let digest = layout::pack_digest(&one.name).filter(|digest| part.has_pack(digest))?;
        Some((one.name.clone(), one.bytes, Some(digest)))
    });
    let packs: Vec<_> = packs.collect();
    let count = packs.len() as u64;
    repository::check_each(target, packs, events).await?;
    Ok(count)
}

/// Reads the content of a part's files and compares it with the catalog; of a plain archive everything that the part has of it, the
/// headers of its entries too.
///
/// # Errors
/// At the first thing that is wrong.
pub fn check_content(reading: &Reading, part: Part) -> Result<Extracted, ReadingError> {
    if reading.record.archive.is_some() {
        return ArchivePart::check(reading, part);
    }
    let mut entries = reading.entries();
    let begins_in = move |listed: &Listed| match &listed.place {
        Some(Place::Packs(place)) => place.runs.first().is_some_and(|run| part.has_pack(&run.pack)),
        Some(Place::Archive(_)) | None => false,
    };
    let next = move || {
        while let Some(listed) = entries.next()? {
            if begins_in(&listed) {
                return Ok(Some(listed));
            }
        }
        Ok(None)
    };
    extract(reading, next, &mut ())
}

/// The check of a part of a plain archive.
struct ArchivePart {
    frames: Frames,
    kept: Option<(u32, Plain)>,
    checked: Extracted,
}

impl ArchivePart {
    fn check(reading: &Reading, part: Part) -> Result<Extracted, ReadingError> {
        let mut own = Self {
            frames: Frames::open(reading)?,
            kept: None,
            checked: Extracted::default(),
        };
        let segments = Segments::new(&reading.target, &reading.opening, reading.handle.clone());
        let mut lines = Lines::over(segments.into(), &reading.record);
        let mut at = 0_u64;
        while let Some(line) = lines.next()? {
            let length = match &line {
                Line::Superseded { length, .. } => *length,
                Line::Gone { .. } => 0,
                Line::Entry(listed) => {
                    let data = listed.entry.kind.data_bytes();
                    let headers = tar_header::render(listed.source.as_str(), &listed.entry);
                    if part.has(at / SHARED_OUT) {
                        own.entry(listed, at, &headers)?;
                    }
                    (headers.len() as u64 + data).saturating_add(tar_header::padding(data) as u64)
                }
            };
            at = at.saturating_add(length);
        }
        Ok(own.checked)
    }

    fn entry(&mut self, listed: &Listed, at: u64, headers: &[u8]) -> Result<(), ReadingError> {
        let path = || BackupPath::of(listed).display();
        let disagree = |what| UnpackError::Disagree { path: path(), what };
        let (data, length) = (at + headers.len() as u64, listed.entry.kind.data_bytes());
        if matches!(listed.place, Some(Place::Archive(place)) if place != data) {
            return Err(disagree("the place of the content").into());
        }
        let mut expected = headers;
        let same = self.read(at..data, |found| match expected.split_at_checked(found.len()) {
            Some((now, later)) if now == found => {
                expected = later;
                true
            }
            _ => false,
        });
        if !same.map_err(|source| lost(listed, source))? {
            return Err(disagree("the header in the archive is not that of the catalog's entry").into());
        }
        let mut content = blake3::Hasher::new();
        let end = data.saturating_add(length);
        let read = self.read(data..end, |found| {
            content.update(found);
            true
        });
        read.map_err(|source| lost(listed, source))?;
        if listed.blake3.is_some_and(|digest| digest != content.finalize().into()) {
            return Err(UnpackError::Content { path: path() }.into());
        }
        let padded = end.saturating_add(tar_header::padding(length) as u64);
        let zeros = self.read(end..padded, |found| found.iter().all(|byte| *byte == 0));
        if !zeros.map_err(|source| lost(listed, source))? {
            return Err(disagree("bytes behind the content that are not zero").into());
        }
        self.checked.entries += 1;
        self.checked.data_bytes += length;
        Ok(())
    }

    /// Hands a stretch on in pieces for as long as `take` is content; gives whether it was.
    fn read(&mut self, range: std::ops::Range<u64>, mut take: impl FnMut(&[u8]) -> bool) -> Result<bool, UnpackError> {
        for part in self.frames.parts(&Stretch::Archive(range))? {
            let number = part.frame.number;
            let plain = match &self.kept {
                Some((kept, plain)) if *kept == number => Plain::clone(plain),
                _ => self.frames.frame(part.frame)?,
            };
            self.kept = Some((number, Plain::clone(&plain)));
            let found = plain.get(part.range).ok_or(UnpackError::Died)?;
            if !take(found) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn lost(listed: &Listed, source: UnpackError) -> ReadingError {
    ReadingError::File {
        path: BackupPath::of(listed).display(),
        source: Box::new(source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_is_larger_than_the_share_and_all_of_them_are_everything() {
        for (share, parts) in [("5%", 20), ("30%", 4), ("100%", 1), ("33.3%", 4), ("0.01%", 10_000)] {
            assert_eq!(Part::count(share.parse().unwrap()), Some(parts), "{share}");
        }
        assert_eq!(Part::count("0%".parse().unwrap()), None);
        for number in 0..1000_u64 {
            let having = (7..7 + 20).filter(|turn| Part::new(*turn, 20).has(number)).count();
            assert_eq!(having, 1);
        }
    }

    #[test]
    fn parts_are_counted_from_one_and_begin_again() {
        let shown = |turn| (Part::new(turn, 4).number(), Part::new(turn, 4).of());
        assert_eq!([shown(0), shown(3), shown(4)], [(1, 4), (4, 4), (1, 4)]);
    }
}
