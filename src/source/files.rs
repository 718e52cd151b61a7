//! Settings of a `files` source, and its capture: a tree as it is, every entry with all its metadata.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::Advice;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::feed::{self, Feed};
use super::place::Place;
use super::{SourceError, Verdict};
use crate::diagnostic::{Code, Diagnostic};
use crate::fs::entry::{Entry, Extent, Kind};
use crate::fs::folder;
use crate::fs::marks;
use crate::fs::metadata::{self, Held, XattrReader};
use crate::fs::selection::Choice;
use crate::fs::walk::{FileSystems, SecondNames, Step};
use crate::limits;

/// Files and folders as they are, with all their metadata.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Files {
    /// A folder, a file, or a glob such as `/srv/data/*.json`. The root is the longest leading folder without a glob
    /// character; paths in the backup are relative to it. Relative paths start at the folder above `pipelines/`.
    #[schemars(length(min = 1), extend("x-glob" = true))]
    pub path: String,
    /// Globs, relative to the root, of what is left out. A pattern without `/` matches a name at any depth; one with `/`
    /// matches the whole path; a folder that matches is left out with everything in it. A leading `/` binds a name to the
    /// root, a trailing `/` means folders only.
    #[serde(default)]
    #[schemars(extend("x-glob" = true))]
    pub exclude: Vec<String>,
    /// Stay on the file system of the root; folders on others are kept empty.
    #[serde(default)]
    pub one_file_system: bool,
}

impl Files {
    pub(super) fn file_systems(&self) -> FileSystems {
        if self.one_file_system {
            FileSystems::One
        } else {
            FileSystems::All
        }
    }
}

pub(super) fn capture(files: &Files, place: &Place, feed: &mut Feed<'_>) -> Result<(), SourceError> {
    let mut walk = feed::walk(
        place,
        feed.context,
        feed.look(),
        files.file_systems(),
        SecondNames::Linked,
    )?;
    let mut reader = Reader::new(place);
    while let Some(step) = walk.next() {
        feed.check_stop()?;
        let found = match step {
            Step::Found(found) => *found,
            Step::Note(note) => {
                feed.note(place, note);
                continue;
            }
        };
        let on_the_way = found.choice == Choice::OnTheWay && !found.entry.path.is_root();
        if found.glimpsed && !on_the_way && feed.known(&found.entry, None)?.is_some() {
            continue;
        }
        let Some(found) = walk.complete(found) else { continue };
        if walk.is_doubtful() {
            feed.doubt();
        }
        let beside = marks::beside_what(found.entry.path.name(), &found.entry.metadata.xattrs);
        if on_the_way {
            feed.hold(found.entry);
        } else if beside.is_some_and(|name| walk.folder().is_some_and(|folder| folder.stat_of(name).is_ok())) {
            // It would be restored beside the file once more, and so on each time.
            feed.warn(left_beside(&place.shown(&found.entry.path)));
            walk.forget_last();
        } else if let Some(file) = found.content {
            if reader.file(feed, &file, found.entry)? == Outcome::LeftOut {
                walk.forget_last();
            }
        } else {
            feed.plain(&found.entry)?;
        }
    }
    Ok(())
}

/// Whether a file is in the backup.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Kept,
    LeftOut,
}

/// What one pass over a file's data came to.
enum Pass {
    /// All bytes that the entry says were there.
    Whole,
    /// The file ended before; so many bytes of data were there.
    Short(usize),
    /// It could not be read on; so many bytes of data were read.
    Failed(usize, io::Error),
}

/// One try to hand a file on.
struct Try {
    /// Whether there is no further one.
    last: bool,
    /// Whether an earlier one was begun and superseded, so that the entry must follow again.
    owed: bool,
}

const _: () = assert!(
    limits::LARGE_FILE <= limits::READ_BLOCK as u64,
    "a small file fits the buffer"
);

/// Reads files through one buffer.
struct Reader<'a> {
    place: &'a Place,
    buffer: Vec<u8>,
    xattrs: XattrReader,
}

impl<'a> Reader<'a> {
    fn new(place: &'a Place) -> Self {
        Self {
            place,
            buffer: vec![0; limits::READ_BLOCK],
            xattrs: XattrReader::default(),
        }
    }

    /// Hands a file on. It is read through one descriptor however often its name is given to another file: what was
    /// opened is one file, and a whole one.
    fn file(&mut self, feed: &mut Feed<'_>, file: &OwnedFd, mut entry: Entry) -> Result<Outcome, SourceError> {
        let mut owed = false;
        for tries_left in (0..limits::READ_TRIES).rev() {
            let last = tries_left == 0;
            let small = entry.kind.data_bytes() < limits::LARGE_FILE;
            let done = if small {
                self.small(feed, file, &mut entry, &Try { last, owed })?
            } else {
                self.large(feed, file, &entry, last)?
            };
            if let Some(outcome) = done {
                return Ok(outcome);
            }
            owed |= !small;
            match self.describe(feed, file, &entry) {
                Ok(fresh) => entry = fresh,
                Err(error) => feed.warn(feed::unreadable(&self.place.shown(&entry.path), &error)),
            }
        }
        Ok(Outcome::LeftOut)
    }

    /// Reads a small file whole before anything is handed on.
    fn small(
        &mut self,
        feed: &mut Feed<'_>,
        file: &OwnedFd,
        entry: &mut Entry,
        this: &Try,
    ) -> Result<Option<Outcome>, SourceError> {
        let pass = self.gather(file, entry);
        if matches!(pass, Pass::Whole) && is_unchanged(file, entry) {
            feed.begin(entry)?;
            self.hand_on(feed, entry)?;
            feed.end(Verdict::Kept)?;
            return Ok(Some(Outcome::Kept));
        }
        if !this.last {
            return Ok(None);
        }
        let path = self.place.shown(&entry.path);
        let warning = match pass {
            Pass::Failed(_, error) if !this.owed => {
                feed.warn(feed::unreadable(&path, &error));
                return Ok(Some(Outcome::LeftOut));
            }
            Pass::Failed(read, error) => {
                self.buffer.get_mut(read..).unwrap_or_default().fill(0);
                partly_unreadable(&path, &error)
            }
            Pass::Short(read) => {
                self.cut(entry, read);
                changing(&path)
            }
            Pass::Whole => changing(&path),
        };
        feed.begin(entry)?;
        self.hand_on(feed, entry)?;
        feed.end(Verdict::KeptChanging)?;
        feed.warn(warning);
        Ok(Some(Outcome::Kept))
    }

    /// Lets a file that became shorter be as long as what was read of it; a file with holes is filled up with zeros.
    fn cut(&mut self, entry: &mut Entry, read: usize) {
        if let Kind::File { size, extents: None } = &mut entry.kind {
            *size = read as u64;
        }
        self.buffer.get_mut(read..).unwrap_or_default().fill(0);
    }

    fn hand_on(&self, feed: &mut Feed<'_>, entry: &Entry) -> Result<(), SourceError> {
        let length = usize::try_from(entry.kind.data_bytes()).unwrap_or(usize::MAX);
        match self.buffer.get(..length) {
            Some(data) if !data.is_empty() => feed.write(data),
            _ => Ok(()),
        }
    }

    /// Reads all data of a small file into the buffer.
    fn gather(&mut self, file: &OwnedFd, entry: &Entry) -> Pass {
        let mut at = 0;
        for span in spans(&entry.kind).as_ref() {
            let end = usize::try_from(span.length).map_or(usize::MAX, |length| at + length);
            let Some(into) = self.buffer.get_mut(at..end) else {
                return Pass::Short(at);
            };
            match feed::read_at(file, into, span.offset) {
                Ok(read) if at + read == end => at = end,
                Ok(read) => return Pass::Short(at + read),
                Err(error) => return Pass::Failed(at, error),
            }
        }
        Pass::Whole
    }

    /// Hands a large file on piece by piece.
    fn large(
        &mut self,
        feed: &mut Feed<'_>,
        file: &OwnedFd,
        entry: &Entry,
        last: bool,
    ) -> Result<Option<Outcome>, SourceError> {
        // A hint: where it cannot be taken, reading is slower and nothing else.
        let _ = rustix::fs::fadvise(file, 0, None, Advice::Sequential);
        feed.begin(entry)?;
        let pass = self.stream(feed, file, entry)?;
        if matches!(pass, Pass::Whole) && is_unchanged(file, entry) {
            feed.end(Verdict::Kept)?;
            return Ok(Some(Outcome::Kept));
        }
        if !last {
            feed.end(Verdict::Superseded)?;
            return Ok(None);
        }
        feed.end(Verdict::KeptChanging)?;
        let path = self.place.shown(&entry.path);
        feed.warn(match pass {
            Pass::Failed(_, error) => partly_unreadable(&path, &error),
            Pass::Whole | Pass::Short(_) => changing(&path),
        });
        Ok(Some(Outcome::Kept))
    }

    /// Hands on exactly as many bytes as the entry says, zeros where the file has none any more.
    fn stream(&mut self, feed: &mut Feed<'_>, file: &OwnedFd, entry: &Entry) -> Result<Pass, SourceError> {
        let mut left = entry.kind.data_bytes();
        let mut pass = Pass::Whole;
        'spans: for span in spans(&entry.kind).as_ref() {
            let mut done = 0;
            while done < span.length {
                let block = self.block(span.length - done);
                let wanted = block.len();
                let read = match feed::read_at(file, block, span.offset + done) {
                    Ok(read) => read,
                    Err(error) => {
                        pass = Pass::Failed(0, error);
                        break 'spans;
                    }
                };
                feed.write(self.buffer.get(..read).unwrap_or_default())?;
                done += read as u64;
                left -= read as u64;
                if read < wanted {
                    pass = Pass::Short(0);
                    break 'spans;
                }
            }
        }
        if left > 0 {
            self.buffer.fill(0);
        }
        while left > 0 {
            let zeros = self.block(left).len();
            feed.write(self.buffer.get(..zeros).unwrap_or_default())?;
            left -= zeros as u64;
        }
        Ok(pass)
    }

    fn block(&mut self, left: u64) -> &mut [u8] {
        let length = usize::try_from(left).map_or(self.buffer.len(), |left| left.min(self.buffer.len()));
        self.buffer.get_mut(..length).unwrap_or_default()
    }

    /// Looks at an open file again.
    fn describe(&mut self, feed: &mut Feed<'_>, file: &OwnedFd, old: &Entry) -> io::Result<Entry> {
        let stat = folder::stat(file)?;
        let mut metadata = metadata::metadata_of(&stat, feed.context.owners);
        for problem in self.xattrs.read(file, Held::Open, &mut metadata.xattrs) {
            feed.doubt();
            feed.warn(feed::attribute(&self.place.shown(&old.path), &problem));
        }
        Ok(Entry {
            path: old.path.clone(),
            kind: Kind::File {
                size: stat.stx_size,
                extents: metadata::extents(file, &stat)?,
            },
            metadata,
            stat: Some(metadata::stat_of(&stat)),
        })
    }
}

/// Where the data of a file is to be read.
enum Spans<'a> {
    Whole([Extent; 1]),
    Extents(&'a [Extent]),
}

impl AsRef<[Extent]> for Spans<'_> {
    fn as_ref(&self) -> &[Extent] {
        match self {
            Self::Whole(one) => one,
            Self::Extents(extents) => extents,
        }
    }
}

fn spans(kind: &Kind) -> Spans<'_> {
    match kind {
        Kind::File {
            extents: Some(extents), ..
        } => Spans::Extents(extents),
        kind => Spans::Whole([Extent {
            offset: 0,
            length: kind.data_bytes(),
        }]),
    }
}

/// Whether an open file is as the entry says.
fn is_unchanged(file: &OwnedFd, entry: &Entry) -> bool {
    folder::stat(file).is_ok_and(|stat| Some(metadata::stat_of(&stat)) == entry.stat)
}

fn changing(path: &str) -> Diagnostic {
    Diagnostic::warning(
        Code::SourceChanging,
        format!("`{path}` changed each time it was read"),
    )
    .why("something writes to it without a pause")
    .state("it is in the backup as it was read last, which may mix two of its states")
    .help("capture it with a source that knows how it is written (`sqlite`, `append-log`), or leave it out with `exclude`")
}

fn left_beside(path: &str) -> Diagnostic {
    Diagnostic::warning(
        Code::RestoredBeside,
        format!("`{path}` is left out: a restore laid it beside the present file"),
    )
    .why("the backup held it redacted, and a redacted text must not replace a whole one")
    .state("it is not in the backup")
    .help("compare the two, and remove the restored one")
}

fn partly_unreadable(path: &str, error: &io::Error) -> Diagnostic {
    Diagnostic::warning(Code::SourceUnreadable, format!("`{path}` cannot be read to its end"))
        .why(error.to_string())
        .state("it is in the backup with zeros in place of what could not be read")
        .help("check the disk, or leave it out with `exclude`")
}
