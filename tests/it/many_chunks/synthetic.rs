//! Files that are made while they are read: as many chunks as one likes, cut where they are meant to be, each with as many bytes that
//! cannot be compressed, so that 100 GB of them need 13 of a disk and fill packs as real ones do.
//!
//! A chunk is random bytes of its own, then zeros, then a few bytes at which the engine cuts. Those are searched for with the engine's own
//! cutter, for in a sealed backup nobody else knows where it cuts.

use strongroom::chunking::{CHUNK_AVERAGE, CHUNK_MAX, CHUNK_MIN, Cutter};

/// Bytes of a chunk that no other one has: half of the smallest.
const OWN: usize = CHUNK_MIN / 2;
/// Bytes that a cut depends on: it lies before the last of them.
const WINDOW: usize = 64;
/// Those of them that stand before it.
const BEFORE: usize = WINDOW - 1;
/// Chunks of a file where there are several files: 16 MiB of the smallest, 64 MiB of usual ones.
const OF_A_FILE: u64 = 256;
/// Lengths that usual chunks have.
const LENGTHS: usize = 64;

/// What the chunks are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Many files of chunks of the usual size.
    Usual,
    /// One file of the smallest that there are.
    Smallest,
    /// One file of the smallest that there are, each the same.
    Same,
}

impl Shape {
    pub(crate) const ALL: [Self; 3] = [Self::Usual, Self::Smallest, Self::Same];

    pub(crate) fn named(name: &str) -> Self {
        let found = Self::ALL.into_iter().find(|shape| shape.name() == name);
        found.unwrap_or_else(|| panic!("no shape `{name}`"))
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Usual => "usual",
            Self::Smallest => "smallest",
            Self::Same => "same",
        }
    }
}

/// A file by the numbers of its chunks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct File {
    pub(crate) number: u64,
    first: u64,
    end: u64,
}

/// The bytes around a cut.
type Tail = [u8; WINDOW];

/// All files, as they are at one moment.
#[derive(Clone)]
pub(crate) struct Synthetic {
    shape: Shape,
    chunks: u64,
    /// A chunk that has other bytes than at first.
    changed: Option<u64>,
    /// Lengths with the bytes around the cut at the end.
    kinds: Vec<(usize, Tail)>,
}

impl Synthetic {
    pub(crate) fn new(shape: Shape, chunks: u64, seed: u64) -> Self {
        let cutter = Cutter::new(seed);
        let lengths: Vec<usize> = match shape {
            // From the smallest on so that the mean is the usual one.
            Shape::Usual => (0..LENGTHS)
                .map(|n| CHUNK_MIN + WINDOW + n * 2 * (CHUNK_AVERAGE - CHUNK_MIN) / LENGTHS)
                .collect(),
            Shape::Smallest | Shape::Same => vec![CHUNK_MIN + WINDOW],
        };
        // A small chunk is cut by a stricter rule than a large one.
        let tails = [CHUNK_MIN + 1, CHUNK_AVERAGE].map(|before| tail(&cutter, before));
        let kind = |length: usize| {
            let tail = tails.iter().find(|tail| cuts(&cutter, length - BEFORE, tail));
            (length, *tail.unwrap_or_else(|| panic!("no cut at {length}")))
        };
        Self {
            shape,
            chunks,
            changed: None,
            kinds: lengths.into_iter().map(kind).collect(),
        }
    }

    /// With one chunk in the middle that is another one.
    pub(crate) fn changed(self) -> Self {
        Self {
            changed: Some(self.chunks / 2),
            ..self
        }
    }

    /// How many chunks there are of which none is like another.
    pub(crate) fn distinct(&self) -> u64 {
        match self.shape {
            Shape::Usual | Shape::Smallest => self.chunks,
            Shape::Same => 1 + u64::from(self.changed.is_some()),
        }
    }

    pub(crate) const fn chunks(&self) -> u64 {
        self.chunks
    }

    /// The files in the order of their names.
    pub(crate) fn files(&self) -> impl Iterator<Item = File> + use<> {
        let (chunks, of_a_file) = match self.shape {
            Shape::Usual => (self.chunks, OF_A_FILE),
            Shape::Smallest | Shape::Same => (self.chunks, self.chunks),
        };
        (0..chunks.div_ceil(of_a_file)).map(move |number| File {
            number,
            first: number * of_a_file,
            end: chunks.min((number + 1) * of_a_file),
        })
    }

    /// Whether the file is another one than at first.
    pub(crate) fn is_changed(&self, file: File) -> bool {
        self.changed
            .is_some_and(|changed| (file.first..file.end).contains(&changed))
    }

    pub(crate) fn size(&self, file: File) -> u64 {
        (file.first..file.end).map(|chunk| self.kind(chunk).0 as u64).sum()
    }

    pub(crate) fn content(&self, file: File) -> Content<'_> {
        Content {
            of: self,
            next: file.first,
            end: file.end,
            chunk: Vec::new(),
            at: 0,
        }
    }

    fn kind(&self, chunk: u64) -> &(usize, Tail) {
        &self.kinds[usize::try_from(chunk).unwrap() % self.kinds.len()]
    }

    fn write(&self, chunk: u64, into: &mut Vec<u8>) {
        let (length, tail) = self.kind(chunk);
        let own = match self.shape {
            Shape::Usual | Shape::Smallest => chunk,
            Shape::Same => 0,
        };
        let changed = u8::from(self.changed == Some(chunk));
        into.clear();
        into.resize(*length, 0);
        let mut bytes = blake3::Hasher::new();
        bytes.update(&own.to_le_bytes()).update(&[changed]);
        bytes.finalize_xof().fill(&mut into[..OWN]);
        // The first byte decides on the cut before it.
        let (_, before) = self.kind(chunk + self.kinds.len() as u64 - 1);
        into[0] = before[BEFORE];
        into[length - BEFORE..].copy_from_slice(&tail[..BEFORE]);
    }
}

/// Bytes that make the engine cut before the last of them where they stand behind so many zeros.
fn tail(cutter: &Cutter, before: usize) -> Tail {
    let mut random = blake3::Hasher::new().finalize_xof();
    let mut data = vec![0; CHUNK_MAX];
    loop {
        random.fill(&mut data[before..]);
        let at = cutter.cut(&data);
        if (before + BEFORE..CHUNK_MAX).contains(&at) {
            let tail = data[at - BEFORE..=at].try_into().unwrap();
            if cuts(cutter, before, &tail) {
                return tail;
            }
        }
    }
}

fn cuts(cutter: &Cutter, before: usize, tail: &Tail) -> bool {
    let mut data = vec![0; before];
    data.extend_from_slice(tail);
    data.resize(CHUNK_MAX, 0);
    cutter.cut(&data) == before + BEFORE
}

/// The content of a file, made as it is asked for.
pub(crate) struct Content<'s> {
    of: &'s Synthetic,
    next: u64,
    end: u64,
    chunk: Vec<u8>,
    at: usize,
}

impl Content<'_> {
    /// The next bytes, none at the end.
    pub(crate) fn next(&mut self) -> &[u8] {
        self.fill();
        let from = std::mem::replace(&mut self.at, self.chunk.len());
        &self.chunk[from..]
    }

    /// Whether `data` is what comes next.
    pub(crate) fn goes_on_with(&mut self, mut data: &[u8]) -> bool {
        while !data.is_empty() {
            self.fill();
            let rest = &self.chunk[self.at..];
            let length = rest.len().min(data.len());
            if length == 0 || rest[..length] != data[..length] {
                return false;
            }
            self.at += length;
            data = &data[length..];
        }
        true
    }

    pub(crate) fn is_over(&self) -> bool {
        self.at == self.chunk.len() && self.next == self.end
    }

    fn fill(&mut self) {
        if self.at == self.chunk.len() && self.next < self.end {
            self.of.write(self.next, &mut self.chunk);
            self.next += 1;
            self.at = 0;
        } else if self.at == self.chunk.len() {
            self.chunk.clear();
            self.at = 0;
        }
    }
}
