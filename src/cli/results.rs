//! Where results go that are handed on while they are made: the standard output, or the file of `--output`, which comes to be as a whole.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, IsTerminal as _, Seek as _, SeekFrom, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use crate::commands::results::{Closed, Results};
use crate::diagnostic::Diagnostic;
use crate::fs::atomic::AtomicFile;
use crate::outcome::Item;
use crate::poison;
use crate::report::{self, Format, Rank};
use crate::secrets::Scrubber;

use super::output::{mode_of_new_files, unwritten};

/// Bytes that wait before a list goes out.
const BUFFER: usize = 64 << 10;
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// A result on its way.
pub(super) struct Handed {
    format: Format,
    file: Option<PathBuf>,
    takes: Takes,
    scrubber: Scrubber,
    state: Mutex<State>,
}

/// What the file of `--output` may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// Whatever the result is.
    Anything,
    /// Bytes that were asked for, and never an outcome in their place.
    Bytes,
}

/// What was handed on so far.
#[derive(Default)]
pub(super) enum State {
    /// Nothing: the outcome is the whole result.
    #[default]
    Nothing,
    /// Items of a list.
    List { out: Out, key: &'static str, rank: Rank },
    /// Bytes.
    Bytes(Out),
}

/// The way out.
pub(super) enum Out {
    /// The standard output, a device or a pipe: what is written is gone.
    Stream(BufWriter<File>),
    /// A file that is put in place at the end; and the bytes that it has, zeros at its end that are not written included.
    File(BufWriter<AtomicFile>, u64),
}

impl Out {
    fn open(file: Option<&Path>) -> io::Result<Self> {
        let Some(file) = file else {
            let stdout = io::stdout().as_fd().try_clone_to_owned()?;
            return Ok(Self::Stream(BufWriter::with_capacity(BUFFER, stdout.into())));
        };
        let place = std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
        let mode = match std::fs::metadata(&place) {
            Ok(present) if !present.is_file() => {
                let device = std::fs::OpenOptions::new().write(true).open(&place)?;
                return Ok(Self::Stream(BufWriter::with_capacity(BUFFER, device)));
            }
            Ok(present) => present.permissions().mode() & 0o7777,
            Err(_) => mode_of_new_files(),
        };
        let file = AtomicFile::create(&place, mode)?;
        Ok(Self::File(BufWriter::with_capacity(BUFFER, file), 0))
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Stream(out) => out.write_all(bytes),
            Self::File(out, length) => {
                *length += bytes.len() as u64;
                out.write_all(bytes)
            }
        }
    }

    /// Zeros become a hole where that is possible.
    fn zeros(&mut self, mut count: u64) -> io::Result<()> {
        match self {
            Self::File(out, length) => {
                out.flush()?;
                *length += count;
                out.get_ref().file().seek(SeekFrom::Start(*length)).map(drop)
            }
            Self::Stream(out) => {
                while count > 0 {
                    let now = usize::try_from(count).map_or(ZEROS.len(), |count| count.min(ZEROS.len()));
                    out.write_all(ZEROS.get(..now).unwrap_or_default())?;
                    count -= now as u64;
                }
                Ok(())
            }
        }
    }

    /// Writes what waits, and puts a file in place.
    pub(super) fn finish(self) -> io::Result<()> {
        match self {
            Self::Stream(mut out) => out.flush(),
            Self::File(out, length) => {
                let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
                file.file().set_len(length)?;
                file.commit()
            }
        }
    }

    /// Writes what waits to who has seen the rest; a file is not put in place.
    pub(super) fn abandon(self) -> io::Result<()> {
        match self {
            Self::Stream(mut out) => out.flush(),
            Self::File(out, _) => {
                // What waits for a file that goes needs no writing.
                drop(out.into_parts());
                Ok(())
            }
        }
    }
}

impl Handed {
    pub(super) fn new(format: Format, (file, takes): (Option<PathBuf>, Takes), scrubber: Scrubber) -> Self {
        Self {
            format,
            file,
            takes,
            scrubber,
            state: Mutex::default(),
        }
    }

    /// What the file may hold.
    pub(super) const fn takes(&self) -> Takes {
        self.takes
    }

    pub(super) fn scrubber(&self) -> &Scrubber {
        &self.scrubber
    }

    fn state(&self) -> MutexGuard<'_, State> {
        poison::lock(&self.state)
    }

    /// Takes what there is; nothing more is taken on from then on.
    pub(super) fn take(&self) -> State {
        std::mem::take(&mut *self.state())
    }

    fn begin(&self, make: impl FnOnce(Out) -> State) -> Result<(), Closed> {
        let out = Out::open(self.file.as_deref()).map_err(|error| self.closed(&error))?;
        *self.state() = make(out);
        Ok(())
    }

    fn closed(&self, error: &io::Error) -> Closed {
        if error.kind() == ErrorKind::BrokenPipe {
            Closed::Enough
        } else {
            Closed::Failed(self.unwritten(error))
        }
    }

    pub(super) fn unwritten(&self, error: &io::Error) -> Box<Diagnostic> {
        match &self.file {
            Some(file) => unwritten(&format!("`{}`", file.display()), error),
            None => unwritten("the standard output", error),
        }
    }

    fn put(&self, work: impl FnOnce(&mut Out) -> io::Result<()>) -> Result<(), Closed> {
        match &mut *self.state() {
            // It was taken: the program is about to end.
            State::Nothing => Err(Closed::Enough),
            State::List { out, .. } | State::Bytes(out) => work(out).map_err(|error| self.closed(&error)),
        }
    }
}

impl Results for Handed {
    fn begin_list(&self, command: &str, key: &'static str) -> Result<(), Closed> {
        let rank = Rank::First;
        self.begin(|out| State::List { out, key, rank })?;
        self.put(|out| out.write(self.format.begin_list(command, key).as_bytes()))
    }

    fn item(&self, mut item: Item) -> Result<(), Closed> {
        report::scrub_item(&mut item, &|text| self.scrubber.scrub(text).into_owned());
        match &mut *self.state() {
            State::List { out, rank, .. } => {
                let text = self.format.item(&item, *rank);
                *rank = Rank::Further;
                out.write(text.as_bytes()).map_err(|error| self.closed(&error))
            }
            State::Nothing | State::Bytes(_) => Err(Closed::Enough),
        }
    }

    fn begin_bytes(&self) -> Result<(), Closed> {
        self.begin(State::Bytes)
    }

    fn bytes(&self, bytes: &[u8]) -> Result<(), Closed> {
        self.put(|out| out.write(bytes))
    }

    fn zeros(&self, length: u64) -> Result<(), Closed> {
        self.put(|out| out.zeros(length))
    }

    fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    fn is_terminal(&self) -> bool {
        self.file.is_none() && io::stdout().is_terminal()
    }
}
