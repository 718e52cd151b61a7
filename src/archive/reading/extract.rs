//! Hands on chosen entries with their content: a planner cuts what is asked for into jobs of a frame each, threads read and unpack the
//! frames, and the entries come out in their order, each content checked against its digest as it passes.
//!
//! In memory are as many frames as there are threads and a few more, whatever is asked for.

use std::ops::Range;
use std::sync::Arc;

use crate::archive::catalog::Listed;
use crate::archive::chunks::fetch::{FrameKey, FramePart};
use crate::archive::unpack::UnpackError;
use crate::codec::ordered::{self, Jobs};
use crate::fs::entry::Kind;
use crate::limits::{FETCHERS_MIN, FRAMES_QUEUED, JOB_STEPS};
use crate::source::SinkError;

use super::frames::{Frames, Plain};
use super::path::BackupPath;
use super::{Reading, ReadingError};

/// Takes entries with their content. What is not overridden takes nothing.
pub trait Taker {
    /// An entry begins; its data follows.
    fn begin(&mut self, _: &Listed) -> Result<(), SinkError> {
        Ok(())
    }

    /// The next data of the entry, `kind.data_bytes()` in all: the data of its extents, in order.
    fn data(&mut self, _: &[u8]) -> Result<(), SinkError> {
        Ok(())
    }

    /// The entry is complete, and its content has its digest.
    fn end(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    /// In place of `end`: the content of the entry under way cannot be had, or is not what the catalog says. Whoever takes that
    /// too hears of the next entry.
    ///
    /// # Errors
    /// The error itself where nothing else is to follow.
    fn damaged(&mut self, _: &Listed, error: ReadingError) -> Result<(), ReadingError> {
        Err(error)
    }
}

/// Takes nothing: for a check of content.
impl Taker for () {}

/// What passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extracted {
    /// Entries.
    pub entries: u64,
    /// Apparent bytes of the files among them.
    pub bytes: u64,
    /// Bytes of content that were read and checked.
    pub data_bytes: u64,
}

/// One frame, and what is to be done with it.
#[derive(Default)]
struct Job {
    frame: Option<FrameKey>,
    todo: Vec<Todo>,
}

enum Todo {
    Begin(Arc<Listed>),
    Data(Arc<Listed>, Range<usize>),
    /// Where the data lies cannot be found out.
    Lost(Arc<Listed>, UnpackError),
    End(Arc<Listed>),
}

type Planned = Result<Job, ReadingError>;
type Filled = Result<(Content, Vec<Todo>), ReadingError>;

/// The frame of a job.
enum Content {
    /// None is needed.
    Nothing,
    /// It was read.
    Frame(Plain),
    /// It could not be read; the first file that needs it is told why.
    Damaged(Option<UnpackError>),
}

/// Hands what `next` gives to `taker`, in that order.
///
/// # Errors
/// At the first thing that is wrong. What was handed on before it of the entry under way must not be used.
pub fn extract(
    reading: &Reading,
    next: impl FnMut() -> Result<Option<Listed>, ReadingError> + Send + 'static,
    taker: &mut dyn Taker,
) -> Result<Extracted, ReadingError> {
    let frames = Arc::new(Frames::open(reading)?);
    let workers = frames.readers(ordered::cores().max(FETCHERS_MIN));
    let (jobs, results) = ordered::ordered(workers, FRAMES_QUEUED, || {
        let frames = Arc::clone(&frames);
        Ok(move |job: Planned| job.map(|job| fill(&frames, job)))
    })
    .map_err(|_| UnpackError::Died)?;
    let planner = Planner {
        next,
        frames,
        job: Job::default(),
        jobs,
    };
    let planner = reading.handle.spawn_blocking(move || planner.run());
    let mut taking = Taking {
        taker,
        content: blake3::Hasher::new(),
        skips: false,
        extracted: Extracted::default(),
    };
    let mut taken = Ok(());
    for filled in results {
        taken = match filled {
            Ok(Ok((content, todo))) => taking.job(content, todo),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(UnpackError::Died.into()),
        };
        if taken.is_err() {
            break;
        }
    }
    // The results are gone by now, so a planner that was ahead of them ends.
    let planned = reading.handle.block_on(planner).map_err(|_| UnpackError::Died);
    taken
        .and(planned.map_err(ReadingError::from))
        .map(|()| taking.extracted)
}

fn fill(frames: &Frames, job: Job) -> (Content, Vec<Todo>) {
    let Job { frame, todo } = job;
    let needed = todo.iter().any(|todo| matches!(todo, Todo::Data(..)));
    let content = match frame.filter(|_| needed).map(|key| frames.frame(key)) {
        None => Content::Nothing,
        Some(Ok(plain)) => Content::Frame(plain),
        Some(Err(error)) => Content::Damaged(Some(error)),
    };
    (content, todo)
}

/// The error of a file whose content cannot be had; one of the target itself is no file's.
fn unreadable(listed: &Listed, source: UnpackError) -> ReadingError {
    ReadingError::File {
        path: BackupPath::of(listed).display(),
        source: Box::new(source),
    }
}

/// Nobody takes jobs any more; who stopped knows why.
struct Over;

struct Planner<N> {
    next: N,
    frames: Arc<Frames>,
    job: Job,
    jobs: Jobs<Planned, Filled>,
}

impl<N: FnMut() -> Result<Option<Listed>, ReadingError>> Planner<N> {
    fn run(mut self) {
        loop {
            let step = match (self.next)() {
                Ok(Some(listed)) => self.entry(listed),
                Ok(None) => {
                    let _ = self.send();
                    return;
                }
                Err(error) => self.fail(error),
            };
            if step.is_err() {
                return;
            }
        }
    }

    /// Hands an error to who takes the entries, behind everything that came before it.
    fn fail(&mut self, error: ReadingError) -> Result<(), Over> {
        self.send()?;
        let _ = self.jobs.push(Err(error));
        Err(Over)
    }

    fn send(&mut self) -> Result<(), Over> {
        let job = std::mem::take(&mut self.job);
        if job.todo.is_empty() {
            return Ok(());
        }
        self.jobs.push(Ok(job)).map_err(|_| Over)
    }

    fn entry(&mut self, listed: Listed) -> Result<(), Over> {
        let listed = Arc::new(listed);
        self.add(Todo::Begin(Arc::clone(&listed)))?;
        let stretches = match self.frames.stretches(&listed) {
            Ok(stretches) => stretches,
            Err(error) => return self.lost(listed, error),
        };
        for stretch in stretches {
            let parts = match self.frames.parts(&stretch) {
                Ok(parts) => parts,
                Err(error) => return self.lost(listed, error),
            };
            for FramePart { frame, range } in parts {
                if self.job.frame.is_some_and(|other| other != frame) {
                    self.send()?;
                }
                self.job.frame = Some(frame);
                self.add(Todo::Data(Arc::clone(&listed), range))?;
            }
        }
        self.add(Todo::End(listed))
    }

    fn lost(&mut self, listed: Arc<Listed>, error: UnpackError) -> Result<(), Over> {
        self.add(Todo::Lost(Arc::clone(&listed), error))?;
        self.add(Todo::End(listed))
    }

    fn add(&mut self, todo: Todo) -> Result<(), Over> {
        self.job.todo.push(todo);
        if self.job.todo.len() < JOB_STEPS {
            return Ok(());
        }
        let frame = self.job.frame;
        self.send()?;
        // The entries that follow most likely lie in the same frame.
        self.job.frame = frame;
        Ok(())
    }
}

struct Taking<'t> {
    taker: &'t mut dyn Taker,
    content: blake3::Hasher,
    /// The entry under way was found damaged, and the taker wants what follows.
    skips: bool,
    extracted: Extracted,
}

impl Taking<'_> {
    fn job(&mut self, mut content: Content, todo: Vec<Todo>) -> Result<(), ReadingError> {
        for todo in todo {
            match todo {
                Todo::Begin(listed) => {
                    self.content.reset();
                    self.skips = false;
                    self.taker.begin(&listed).map_err(UnpackError::Sink)?;
                }
                Todo::Data(..) | Todo::Lost(..) | Todo::End(_) if self.skips => {}
                Todo::Data(listed, range) => self.data(&listed, range, &mut content)?,
                Todo::Lost(listed, error) => self.damaged(&listed, unreadable(&listed, error))?,
                Todo::End(listed) => self.end(&listed)?,
            }
        }
        Ok(())
    }

    fn data(&mut self, listed: &Listed, range: Range<usize>, content: &mut Content) -> Result<(), ReadingError> {
        match content {
            Content::Frame(plain) => {
                let data = plain.get(range).ok_or(UnpackError::Died)?;
                self.content.update(data);
                self.extracted.data_bytes += data.len() as u64;
                Ok(self.taker.data(data).map_err(UnpackError::Sink)?)
            }
            Content::Damaged(error) => {
                let error = error.take().unwrap_or_else(|| UnpackError::Content {
                    path: BackupPath::of(listed).display(),
                });
                self.damaged(listed, unreadable(listed, error))
            }
            Content::Nothing => Err(UnpackError::Died.into()),
        }
    }

    fn damaged(&mut self, listed: &Listed, error: ReadingError) -> Result<(), ReadingError> {
        self.skips = true;
        self.taker.damaged(listed, error)
    }

    fn end(&mut self, listed: &Listed) -> Result<(), ReadingError> {
        let found = self.content.finalize().into();
        if listed.blake3.is_some_and(|digest| digest != found) {
            let path = BackupPath::of(listed).display();
            return self.damaged(listed, UnpackError::Content { path }.into());
        }
        self.taker.end().map_err(UnpackError::Sink)?;
        self.extracted.entries += 1;
        if let Kind::File { size, .. } = listed.entry.kind {
            self.extracted.bytes = self.extracted.bytes.saturating_add(size);
        }
        Ok(())
    }
}
