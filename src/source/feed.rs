//! Between a source and its sink: counts, tells progress, gathers warnings, holds back folders that may turn out empty.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::place::Place;
use super::{CaptureContext, Captured, Form, Known, SourceError, Survey, TreeSink, Verdict};
use crate::diagnostic::{Code, Diagnostic};
use crate::event::Event;
use crate::fs::entry::{Entry, Kind, display_bytes};
use crate::fs::folder::Folder;
use crate::fs::metadata::XattrProblem;
use crate::fs::owners::Owners;
use crate::fs::selection::Choice;
use crate::fs::walk::{FileSystems, Found, Look, Note, NoteKind, SecondNames, Step, Walk, WalkOptions};
use crate::limits;

/// Bytes and entries after which progress is told.
const TELL_BYTES: u64 = 4 << 20;
const TELL_ENTRIES: u64 = 256;

/// What a source hands its entries to.
pub(super) struct Feed<'a> {
    sink: &'a mut dyn TreeSink,
    pub(super) context: &'a CaptureContext<'a>,
    pub(super) captured: Captured,
    held: Vec<Entry>,
    doubtful: bool,
    open: Open,
    untold: (u64, u64),
}

/// The entry between its begin and its end.
#[derive(Clone, Copy, Default)]
struct Open {
    size: u64,
}

impl<'a> Feed<'a> {
    pub(super) fn new(sink: &'a mut dyn TreeSink, context: &'a CaptureContext<'a>, form: Form) -> Self {
        Self {
            sink,
            context,
            captured: Captured {
                form,
                ..Captured::default()
            },
            held: Vec::new(),
            doubtful: false,
            open: Open::default(),
            untold: (0, 0),
        }
    }

    /// Fails where the run is to stop.
    pub(super) fn check_stop(&self) -> Result<(), SourceError> {
        self.context.check_stop()
    }

    /// Keeps a folder back until something in it is handed on.
    pub(super) fn hold(&mut self, folder: Entry) {
        self.drop_left(&folder);
        self.held.push(folder);
    }

    /// Drops folders that were left without anything being handed on.
    fn drop_left(&mut self, next: &Entry) {
        let inside = |folder: &Entry| {
            let rest = next.path.as_bytes().strip_prefix(folder.path.as_bytes());
            rest.is_some_and(|rest| rest.first() == Some(&b'/'))
        };
        while self.held.last().is_some_and(|folder| !inside(folder)) {
            self.held.pop();
        }
    }

    /// Hands on an entry without content.
    pub(super) fn plain(&mut self, entry: &Entry) -> Result<(), SourceError> {
        self.begin(entry)?;
        self.end(Verdict::Kept)
    }

    pub(super) fn begin(&mut self, entry: &Entry) -> Result<(), SourceError> {
        self.check_stop()?;
        self.drop_left(entry);
        let doubtful = self.doubtful;
        self.hand_held()?;
        self.doubtful = doubtful;
        if doubtful {
            // What could not be read of it this time is to be tried again next time, changed or not.
            let stat = None;
            let entry = entry.clone();
            self.sink.begin(&Entry { stat, ..entry })?;
        } else {
            self.sink.begin(entry)?;
        }
        self.open = Open {
            size: match entry.kind {
                Kind::File { size, .. } => size,
                _ => 0,
            },
        };
        Ok(())
    }

    fn hand_held(&mut self) -> Result<(), SourceError> {
        for folder in std::mem::take(&mut self.held) {
            self.sink.begin(&folder)?;
            self.open = Open::default();
            self.end(Verdict::Kept)?;
        }
        Ok(())
    }

    /// How a walk for this sink is to look at entries.
    pub(super) fn look(&self) -> Look {
        if self.sink.knows() { Look::Glimpse } else { Look::Whole }
    }

    /// Asks the sink for what was glimpsed; see [`TreeSink::known`].
    pub(super) fn known(&mut self, glimpse: &Entry, size: Option<u64>) -> Result<Option<Known>, SourceError> {
        if !self.sink.knows() {
            return Ok(None);
        }
        self.check_stop()?;
        self.drop_left(glimpse);
        self.hand_held()?;
        let known = self.sink.known(glimpse, size)?;
        if let Some(known) = &known {
            self.open = Open { size: known.size };
            self.count();
        }
        Ok(known)
    }

    /// Lets the entry that comes next be looked at again by the next capture, changed or not.
    pub(super) const fn doubt(&mut self) {
        self.doubtful = true;
    }

    pub(super) fn write(&mut self, data: &[u8]) -> Result<(), SourceError> {
        self.check_stop()?;
        if data.is_empty() {
            return Ok(());
        }
        self.sink.write(data)?;
        self.untold.1 += data.len() as u64;
        if self.untold.1 >= TELL_BYTES {
            self.tell();
        }
        Ok(())
    }

    /// What the sink computes of the entry under way.
    pub(super) fn digest(&self) -> Option<blake3::Hash> {
        self.sink.digest()
    }

    pub(super) fn end(&mut self, verdict: Verdict) -> Result<(), SourceError> {
        self.sink.end(verdict)?;
        if verdict != Verdict::Superseded {
            self.count();
        }
        Ok(())
    }

    fn count(&mut self) {
        self.doubtful = false;
        self.captured.entries += 1;
        self.captured.bytes += self.open.size;
        self.untold.0 += 1;
        if self.untold.0 >= TELL_ENTRIES {
            self.tell();
        }
    }

    fn tell(&mut self) {
        let (entries, bytes) = std::mem::take(&mut self.untold);
        self.context.events.tell(&Event::SourceRead { entries, bytes });
    }

    pub(super) fn warn(&mut self, warning: Diagnostic) {
        self.captured.warning_count += 1;
        if self.captured.warnings.len() < limits::WARNINGS_LISTED {
            self.captured.warnings.push(warning);
        }
    }

    /// Tells what a walk noted.
    pub(super) fn note(&mut self, place: &Place, note: Note) {
        let path = place.shown(&note.path);
        let warning = match note.what {
            NoteKind::Unreadable(error) => unreadable(&path, &error),
            NoteKind::Attribute(problem) => attribute(&path, &problem),
            NoteKind::Socket => Diagnostic::warning(Code::SourceUnsupported, format!("`{path}` is a socket"))
                .why("a socket lives as long as its process; there is nothing to keep")
                .state("it is not in the backup")
                .help("leave it out with `exclude`"),
            NoteKind::Refused => Diagnostic::warning(
                Code::SourceUnsupported,
                format!("`{path}` is a folder in a log's folder"),
            )
            .why("a log is made of the files directly in its folder")
            .state("it is not in the backup")
            .help("leave it out with `exclude`, or name deeper files with a glob such as `**/*.jsonl`"),
            NoteKind::TooDeep => Diagnostic::warning(Code::SourceUnsupported, format!("`{path}` is too deep"))
                .why(format!("folders are kept down to {} levels", limits::TREE_DEPTH))
                .state("it and everything in it are not in the backup")
                .help("leave it out with `exclude`"),
            NoteKind::Unsettled => Diagnostic::warning(
                Code::SourceUnreadable,
                format!("`{path}` was another kind of thing at each look"),
            )
            .state("it is not in the backup"),
        };
        self.warn(warning);
    }

    /// Tells the last progress and gives what came of it. A folder held back until now holds nothing.
    pub(super) fn finish(mut self) -> Captured {
        if self.untold != (0, 0) {
            self.tell();
        }
        self.captured
    }
}

/// An entry that is not in the backup because it cannot be read.
pub(super) fn unreadable(path: &str, error: &io::Error) -> Diagnostic {
    Diagnostic::warning(Code::SourceUnreadable, format!("`{path}` cannot be read"))
        .why(error.to_string())
        .state("it is not in the backup, nor is anything in it")
        .help("let the user who runs the backup read it, or leave it out with `exclude`")
}

/// An attribute that is not in the backup because it cannot be read.
pub(super) fn attribute(path: &str, problem: &XattrProblem) -> Diagnostic {
    let what = if problem.name.is_empty() {
        format!("the extended attributes of `{path}` cannot be read")
    } else {
        let name = display_bytes(&problem.name);
        format!("the extended attribute `{name}` of `{path}` cannot be read")
    };
    Diagnostic::warning(Code::SourceUnreadable, what)
        .why(problem.error.to_string())
        .state("the entry is in the backup without it")
}

/// Begins a capture's walk.
pub(super) fn walk<'a>(
    place: &'a Place,
    context: &'a CaptureContext<'_>,
    look: Look,
    file_systems: FileSystems,
    second_names: SecondNames,
) -> Result<Walk<'a>, SourceError> {
    let options = WalkOptions {
        selection: &place.selection,
        owners: context.owners,
        look,
        second_names,
        file_systems,
    };
    Walk::new(place.open()?, options).map_err(|cause| place.unreadable(cause))
}

/// Reads from `offset` until `buffer` is full or the file ends; the number of bytes read.
pub(super) fn read_at(file: &OwnedFd, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match rustix::io::pread(file.as_fd(), rest, offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(filled)
}

/// Counts what a capture would read; `is_meant` decides about what lies in a folder.
pub(super) fn survey(
    place: &Place,
    owners: &Owners,
    file_systems: FileSystems,
    is_meant: impl Fn(&Folder, &Found) -> io::Result<bool>,
) -> Result<Survey, SourceError> {
    let options = WalkOptions {
        selection: &place.selection,
        owners,
        look: Look::Survey,
        second_names: SecondNames::Linked,
        file_systems,
    };
    let mut walk = Walk::new(place.open()?, options).map_err(|cause| place.unreadable(cause))?;
    let mut survey = Survey::default();
    while let Some(step) = walk.next() {
        let found = match step {
            Step::Found(found) => found,
            Step::Note(_) => {
                survey.left_out += 1;
                continue;
            }
        };
        let on_the_way = found.choice == Choice::OnTheWay && !found.entry.path.is_root();
        let Some(folder) = walk.folder().filter(|_| !on_the_way) else {
            continue;
        };
        match is_meant(folder, &found) {
            Ok(true) => {
                survey.entries += 1;
                if let Kind::File { size, .. } = found.entry.kind {
                    survey.bytes += size;
                }
            }
            Ok(false) => {}
            Err(_) => survey.left_out += 1,
        }
    }
    Ok(survey)
}
