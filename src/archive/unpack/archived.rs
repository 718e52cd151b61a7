//! Reads a backup that is one archive, from front to back beside its catalog.
//!
//! The headers in the archive are made again from the catalog and compared byte by byte, so an archive in which a hand
//! restore would do something else than this program is found.

use std::sync::Arc;

use tokio::runtime::Handle;

use crate::archive::catalog::{Line, Listed, Place};
use crate::archive::keys::Opening;
use crate::archive::plain::{self, PlainReader, ReadError};
use crate::archive::proofs::Proofs;
use crate::archive::record::{ArchiveRecord, Record};
use crate::archive::tar_header;
use crate::event::Events;
use crate::target::Target;

use super::lines::Lines;
use super::tally::Tally;
use super::{BackupSink, UnpackError, Unpacked};

pub(super) async fn unpack<S: BackupSink + 'static>(
    target: &Target,
    record: &Record,
    archive: &ArchiveRecord,
    opening: &Opening,
    (events, proofs): (&Events, Option<Arc<Proofs>>),
    sink: S,
) -> Result<(Unpacked, S), UnpackError> {
    let failed = |source| UnpackError::Archive {
        name: archive.name.clone(),
        source,
    };
    let plain = plain::open(target, archive, opening, (events, proofs)).await;
    let plain = plain.map_err(failed)?;
    let mut lines = Lines::new(target, record, opening, Handle::current());
    let mut unpacking = Unpacking::new(record, archive, plain, sink);
    let record = record.clone();
    let work = move || {
        while let Some(line) = lines.next()? {
            unpacking.line(line)?;
        }
        unpacking.finish(&record)
    };
    tokio::task::spawn_blocking(work).await.map_err(|_| UnpackError::Died)?
}

struct Unpacking<S> {
    archive: String,
    plain: PlainReader,
    sink: S,
    tally: Tally,
}

impl<S: BackupSink> Unpacking<S> {
    fn new(record: &Record, archive: &ArchiveRecord, plain: PlainReader, sink: S) -> Self {
        Self {
            archive: archive.name.clone(),
            plain,
            sink,
            tally: Tally::new(record),
        }
    }

    fn read(
        &mut self,
        length: u64,
        mut take: impl FnMut(&[u8], &mut S) -> Result<(), UnpackError>,
    ) -> Result<(), UnpackError> {
        let Self {
            plain, sink, archive, ..
        } = self;
        plain
            .read(length, |data| take(data, sink))
            .map_err(|error| match error {
                ReadError::Plain(source) => UnpackError::Archive {
                    name: archive.clone(),
                    source,
                },
                ReadError::Taker(error) => error,
            })
    }

    fn line(&mut self, line: Line) -> Result<(), UnpackError> {
        match line {
            Line::Entry(listed) => self.entry(&listed),
            Line::Superseded { at, length } if at == self.plain.position() => self.read(length, |_, _| Ok(())),
            Line::Gone { path, .. } => Err(UnpackError::Disagree {
                path: path.display(),
                what: "an entry that the archive's own catalog takes back",
            }),
            Line::Superseded { .. } => Err(UnpackError::Disagree {
                path: "(a stretch that does not count)".into(),
                what: "its place",
            }),
        }
    }

    fn entry(&mut self, listed: &Listed) -> Result<(), UnpackError> {
        let path = format!("{}/{}", listed.source, listed.entry.path.display());
        let disagree = |what| UnpackError::Disagree {
            path: path.clone(),
            what,
        };
        self.tally.check(listed).map_err(disagree)?;
        let headers = tar_header::render(listed.source.as_str(), &listed.entry);
        let mut expected = headers.as_slice();
        self.read(headers.len() as u64, |data, _| {
            match expected.split_at_checked(data.len()) {
                Some((now, later)) if now == data => {
                    expected = later;
                    Ok(())
                }
                _ => Err(disagree("the header in the archive is not that of the catalog's entry")),
            }
        })?;
        match &listed.place {
            None => {}
            Some(Place::Archive(data)) if *data == self.plain.position() => {}
            Some(Place::Archive(_) | Place::Packs(_)) => return Err(disagree("the place of the content")),
        }
        super::begin(&mut self.sink, listed).map_err(UnpackError::Sink)?;
        self.content(listed, &path)?;
        self.tally.count(listed);
        Ok(())
    }

    fn content(&mut self, listed: &Listed, path: &str) -> Result<(), UnpackError> {
        let length = listed.entry.kind.data_bytes();
        let mut content = blake3::Hasher::new();
        self.read(length, |data, sink| {
            content.update(data);
            super::content(sink, &listed.source, data).map_err(UnpackError::Sink)
        })?;
        if listed.blake3.is_some_and(|digest| digest != content.finalize().into()) {
            return Err(UnpackError::Content { path: path.to_owned() });
        }
        let disagree = || UnpackError::Disagree {
            path: path.to_owned(),
            what: "bytes behind the content that are not zero",
        };
        self.read(tar_header::padding(length) as u64, |data, _| {
            if data.iter().all(|b| *b == 0) {
                Ok(())
            } else {
                Err(disagree())
            }
        })?;
        super::end(&mut self.sink, &listed.source).map_err(UnpackError::Sink)
    }

    /// After the last line: the end of the archive, nothing behind it, and the counts of the record.
    fn finish(mut self, record: &Record) -> Result<(Unpacked, S), UnpackError> {
        let disagree = |what| UnpackError::Disagree {
            path: "(the end)".into(),
            what,
        };
        self.read(tar_header::END.len() as u64, |data, _| {
            if data.iter().all(|b| *b == 0) {
                Ok(())
            } else {
                Err(disagree("more entries than the catalog has"))
            }
        })?;
        let name = self.archive.clone();
        if !self
            .plain
            .ended()
            .map_err(|source| UnpackError::Archive { name, source })?
        {
            return Err(disagree("bytes behind the end of the archive"));
        }
        Ok((self.tally.finish(record)?, self.sink))
    }
}
