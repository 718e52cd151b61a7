//! Digests of the blocks of a log, by which a rewritten log is found without reading all of it: its end and blocks drawn at
//! random before that.

use std::io;

use serde::{Deserialize, Serialize};

use super::proof::{Breach, BreachKind};
use crate::crypto::Digest;
use crate::fs::entry::TreePath;
use crate::fs::folder::{self, Folder};
use crate::limits;
use crate::source::feed;

/// Bytes of a block; the last one may have less.
const BLOCK: u64 = limits::READ_BLOCK as u64;

/// The digests of a log's blocks, in the order of its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blocks {
    length: u64,
    digests: Vec<Digest>,
}

/// What is to be looked at of a log before it is read: the blocks that a backup has, and what decides which of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The blocks of the log in its last backup.
    pub blocks: Blocks,
    /// Random.
    pub seed: [u8; 32],
}

/// The first line of the file that keeps blocks.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Header {
    format: u32,
    backup: String,
    length: u64,
    block: u64,
}

const FORMAT: u32 = 1;

impl Blocks {
    /// The file that keeps them: a line of JSON with the backup that has the log, then the digests.
    pub fn to_bytes(&self, backup: &str) -> Vec<u8> {
        let header = Header {
            format: FORMAT,
            backup: backup.to_owned(),
            length: self.length,
            block: BLOCK,
        };
        // A struct of numbers and a string always serializes.
        let mut bytes = serde_json::to_vec(&header).unwrap_or_default();
        bytes.push(b'\n');
        self.digests
            .iter()
            .for_each(|digest| bytes.extend_from_slice(digest.as_bytes()));
        bytes
    }

    /// Reads them again; nothing where the file is of another backup or not whole. They save time, so nothing is lost.
    pub fn parse(bytes: &[u8], backup: &str) -> Option<Self> {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let header: Header = serde_json::from_slice(bytes.get(..end)?).ok()?;
        let known = header.format == FORMAT && header.block == BLOCK && header.backup == backup;
        let (digests, rest) = bytes.get(end + 1..)?.as_chunks::<32>();
        let whole = digests.len() as u64 == header.length.div_ceil(BLOCK) && rest.is_empty();
        (known && whole).then(|| Self {
            length: header.length,
            digests: digests
                .iter()
                .map(|digest| Digest::from(blake3::Hash::from_bytes(*digest)))
                .collect(),
        })
    }

    /// The blocks that are looked at: the last two, which hold the last block's length of the log at least, and others drawn
    /// by `seed`.
    fn drawn(&self, seed: &[u8; 32]) -> Vec<u64> {
        let count = self.digests.len() as u64;
        let mut random = blake3::Hasher::new_keyed(seed).finalize_xof();
        let mut drawn: Vec<u64> = (count.saturating_sub(2)..count).collect();
        for _ in 0..limits::LOG_BLOCKS_DRAWN {
            let mut number = [0; 8];
            random.fill(&mut number);
            drawn.extend(u64::from_le_bytes(number).checked_rem(count));
        }
        drawn.sort_unstable();
        drawn.dedup();
        drawn
    }
}

/// Gathers the digests of a log that passes.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    blocks: Blocks,
    hasher: blake3::Hasher,
}

impl Gathering {
    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = BLOCK - self.blocks.length % BLOCK;
            let (now, later) = bytes.split_at(usize::try_from(room).unwrap_or(bytes.len()).min(bytes.len()));
            self.hasher.update(now);
            self.blocks.length += now.len() as u64;
            if self.blocks.length.is_multiple_of(BLOCK) {
                self.end_block();
            }
            bytes = later;
        }
    }

    fn end_block(&mut self) {
        self.blocks.digests.push(self.hasher.finalize().into());
        self.hasher.reset();
    }

    /// Goes on at `length` bytes, of which `blocks` has the digests; `read` reads the bytes from an offset to there. `None` where
    /// the blocks do not reach that far.
    pub(super) fn resume(
        blocks: &Blocks,
        length: u64,
        read: impl FnOnce(u64) -> io::Result<Vec<u8>>,
    ) -> io::Result<Option<Self>> {
        let whole = length / BLOCK;
        let digests = usize::try_from(whole)
            .ok()
            .and_then(|whole| blocks.digests.get(..whole));
        let Some(digests) = digests.filter(|_| blocks.length >= length) else {
            return Ok(None);
        };
        let mut gathering = Self {
            blocks: Blocks {
                length: whole * BLOCK,
                digests: digests.to_vec(),
            },
            hasher: blake3::Hasher::new(),
        };
        gathering.update(&read(whole * BLOCK)?);
        Ok(Some(gathering))
    }

    pub(super) fn finish(mut self) -> Blocks {
        if !self.blocks.length.is_multiple_of(BLOCK) {
            self.end_block();
        }
        self.blocks
    }
}

/// Compares blocks of the log below `root`, whose files in order are `files`, with those of its last backup.
pub(super) fn compare(root: &Folder, files: &[TreePath], sample: &Sample) -> io::Result<Option<Breach>> {
    let mut places = Vec::new();
    let mut end = 0;
    for path in files {
        let file = root.beneath(&path.parent().unwrap_or_default())?.file(path.name())?;
        let start = end;
        end += folder::stat(&file)?.stx_size;
        places.push((path, start, end));
    }
    let breach = |kind, file: Option<&TreePath>| {
        Some(Breach {
            kind,
            file: file.cloned(),
            sound_records: 0,
        })
    };
    if end < sample.blocks.length {
        return Ok(breach(BreachKind::Shorter, None));
    }
    for number in sample.blocks.drawn(&sample.seed) {
        let (from, to) = (number * BLOCK, ((number + 1) * BLOCK).min(sample.blocks.length));
        let mut hasher = blake3::Hasher::new();
        let mut last = None;
        for (path, start, end) in places.iter().filter(|(_, start, end)| *start < to && *end > from) {
            let length = usize::try_from(to.min(*end) - from.max(*start)).unwrap_or_default();
            let mut block = vec![0; length];
            let file = root.beneath(&path.parent().unwrap_or_default())?.file(path.name())?;
            let read = feed::read_at(&file, &mut block, from.saturating_sub(*start))?;
            hasher.update(block.get(..read).unwrap_or_default());
            last = Some(*path);
        }
        let known = usize::try_from(number)
            .ok()
            .and_then(|number| sample.blocks.digests.get(number));
        if known != Some(&hasher.finalize().into()) {
            return Ok(breach(BreachKind::Differs, last));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gathered(bytes: &[u8], piece: usize) -> Blocks {
        let mut gathering = Gathering::default();
        bytes.chunks(piece).for_each(|piece| gathering.update(piece));
        gathering.finish()
    }

    fn log() -> Vec<u8> {
        let block = limits::READ_BLOCK;
        (0..=250).cycle().take(block * 3 + block / 2).collect()
    }

    fn compared(files: &[&[u8]], blocks: &Blocks) -> Option<Breach> {
        let dir = tempfile::tempdir().unwrap();
        let names = files.iter().enumerate().map(|(number, content)| {
            std::fs::write(dir.path().join(number.to_string()), content).unwrap();
            TreePath::parse(number.to_string().as_bytes()).unwrap()
        });
        let names: Vec<TreePath> = names.collect();
        let sample = Sample {
            blocks: blocks.clone(),
            seed: [7; 32],
        };
        compare(&Folder::open(dir.path()).unwrap(), &names, &sample).unwrap()
    }

    #[test]
    fn blocks_are_those_of_the_log_however_it_comes_and_read_back() {
        let log = log();
        let blocks = gathered(&log, 1 << 20);
        assert_eq!(gathered(&log, 77_777), blocks);
        assert_eq!(blocks.digests.len(), 4);
        assert_eq!(blocks.digests[3], Digest::of(&log[3 << 20..]));
        let bytes = blocks.to_bytes("one");
        assert_eq!(Blocks::parse(&bytes, "one"), Some(blocks));
        assert_eq!(Blocks::parse(&bytes, "two"), None);
        assert_eq!(Blocks::parse(&bytes[..bytes.len() - 1], "one"), None);
        assert_eq!(gathered(b"", 1), Blocks::default());
    }

    #[test]
    fn a_log_that_grew_has_its_blocks_in_whatever_files_and_one_that_was_changed_has_not() {
        let log = log();
        let blocks = gathered(&log, 1 << 20);
        assert_eq!(compared(&[&log, b"more"], &blocks), None);
        let (a, b) = log.split_at(1_234_567);
        assert_eq!(compared(&[a, b"", b, b"more"], &blocks), None);
        // With so few blocks all are drawn.
        for at in [0, 1 << 20, log.len() - 1] {
            let mut changed = log.clone();
            changed[at] ^= 1;
            let breach = compared(&[&changed, b"more"], &blocks).unwrap();
            assert_eq!(breach.kind, BreachKind::Differs);
            assert_eq!(breach.file.unwrap().as_bytes(), b"0");
        }
        let breach = compared(&[&log[..log.len() - 1]], &blocks).unwrap();
        assert_eq!(breach.kind, BreachKind::Shorter);
        assert_eq!(compared(&[], &Blocks::default()), None);
    }

    #[test]
    fn of_many_blocks_the_last_two_and_others_each_time_are_drawn() {
        let blocks = Blocks {
            length: 10_000 * BLOCK,
            digests: vec![Digest::of(b""); 10_000],
        };
        let (one, other) = (blocks.drawn(&[1; 32]), blocks.drawn(&[2; 32]));
        for drawn in [&one, &other] {
            assert!(
                drawn.len() > limits::LOG_BLOCKS_DRAWN && drawn.ends_with(&[9_998, 9_999]),
                "{drawn:?}"
            );
        }
        assert_ne!(one, other);
    }
}
