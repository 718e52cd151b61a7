//! Proves, while a log is read, that it is what a past head says and something more.
//!
//! Where the log begins as it did, one digest at the past length decides, whatever the files are called by now: a log is
//! the row of its bytes. Where declared rotation removed its oldest files the past digest cannot be had any more, so the
//! files that are left are compared one by one. Rows of files also say early, and where, a log differs.

use super::Rotate;
use super::blocks::Sample;
use super::claim::{Claim, Course, Standing};
use super::memory::LogMemory;
use crate::crypto::Digest;
use crate::fs::entry::TreePath;
use crate::id::BackupId;
use crate::source::log_head::{Fork, ForkReason, LogHead, Removed};

/// A head of the past, and the backup that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// The backup; absent where the log came from elsewhere.
    pub backup: Option<BackupId>,
    /// Its log.
    pub head: LogHead,
}

/// What a log is held against.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The newest backup of the log, if there is one.
    pub head: Option<Past>,
    /// What a restore put in its place since.
    pub restored: Option<Past>,
    /// What becomes of a log that continues neither.
    pub rewrite: Rewrite,
    /// What this host remembers of the log of `head`.
    pub memory: Option<LogMemory>,
    /// What is looked at before the log is read, where one is wanted and nothing else may have become of the log.
    pub sample: Option<Sample>,
}

/// What becomes of a log that does not continue its last backup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rewrite {
    /// The run stops.
    #[default]
    Refused,
    /// The operator knows: a generation begins.
    Accepted,
}

/// In what a log does not continue a past head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// In what way.
    pub kind: BreachKind,
    /// The file of the log that is known to differ.
    pub file: Option<TreePath>,
    /// Whole records, counted from the log's first, that are known to be as they were.
    pub sound_records: u64,
}

/// In what way a log does not continue a past head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BreachKind {
    /// It ends before.
    Shorter,
    /// A file is not there any more.
    Gone(TreePath),
    /// It has other bytes.
    Differs,
}

impl std::fmt::Display for BreachKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Shorter => f.write_str("it ends before"),
            Self::Gone(path) => write!(f, "its file `{}` is gone", path.display()),
            Self::Differs => f.write_str("it has other bytes"),
        }
    }
}

/// What a log is, now that it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) generation: u32,
    pub(super) fork: Option<Fork>,
    pub(super) rotated: Removed,
    pub(super) rotation: Rotation,
}

/// What rotation did since the last backup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Rotation {
    /// What it removed, if anything, is in the last backup.
    #[default]
    Seen,
    /// Every file of the last backup is gone, so records between the two may be in none.
    Gap,
}

/// The heads that a log under way is held against.
#[derive(Debug)]
pub(super) struct Proof<'a> {
    history: &'a History,
    head: Option<Claim<'a>>,
    restored: Option<Claim<'a>>,
    rotate: Rotate,
    position: u64,
    file_start: u64,
    file: TreePath,
}

impl<'a> Proof<'a> {
    pub(super) fn new(history: &'a History, rotate: Rotate) -> Self {
        let claim = |past: &'a Option<Past>| past.as_ref().map(|past| Claim::new(&past.head));
        Self {
            history,
            head: claim(&history.head),
            restored: claim(&history.restored),
            rotate,
            position: 0,
            file_start: 0,
            file: TreePath::root(),
        }
    }

    fn claims(&mut self) -> impl Iterator<Item = &mut Claim<'a>> {
        self.head
            .iter_mut()
            .chain(self.restored.iter_mut())
            .filter(|claim| claim.standing == Standing::Undecided)
    }

    /// A file begins.
    pub(super) fn begin(&mut self, path: &TreePath) {
        self.file_start = self.position;
        self.file = path.clone();
        let rotate = self.rotate;
        self.claims().for_each(|claim| claim.begin(path, rotate));
    }

    /// How many bytes may be read until a digest must be looked at; `None` where none must any more.
    pub(super) fn until_stop(&self) -> Option<u64> {
        let (position, in_file) = (self.position, self.position - self.file_start);
        let stops = self.head.iter().chain(self.restored.iter()).filter_map(|claim| {
            let stop = claim.stop()?;
            match claim.course {
                Course::Whole { .. } => stop.checked_sub(position),
                _ => stop.checked_sub(in_file),
            }
        });
        stops.filter(|left| *left > 0).min()
    }

    /// Bytes were read. `whole` is the digest of all of them so far, `file` of those of the file under way.
    pub(super) fn read(&mut self, bytes: u64, whole: impl Fn() -> Digest, file: impl Fn() -> Digest) {
        self.position += bytes;
        let (position, in_file) = (self.position, self.position - self.file_start);
        let name = self.file.clone();
        for claim in self.claims() {
            let met = match (&claim.course, claim.stop()) {
                (Course::Whole { .. }, Some(stop)) if stop == position => Some(whole() == claim.head.blake3),
                (Course::ByFile { row, .. }, Some(stop)) if stop == in_file => {
                    Some(claim.head.files.get(*row).is_some_and(|row| row.blake3 == file()))
                }
                _ => None,
            };
            match met {
                Some(true) => claim.standing = Standing::Holds,
                Some(false) => claim.break_at(Some(&name), BreachKind::Differs),
                None => {}
            }
        }
    }

    /// The file under way has ended.
    pub(super) fn end(&mut self, digest: Digest) {
        let (start, length) = (self.file_start, self.position - self.file_start);
        let name = self.file.clone();
        self.claims().for_each(|claim| claim.end(&name, start, length, digest));
    }

    /// Why this cannot become a backup, as soon as it is known.
    pub(super) fn lost(&self) -> Option<Breach> {
        let may_fork = self.history.rewrite == Rewrite::Accepted
            || self
                .restored
                .as_ref()
                .is_some_and(|claim| !matches!(claim.standing, Standing::Broken(_)));
        match self.head.as_ref().map(|claim| &claim.standing) {
            Some(Standing::Broken(breach)) if !may_fork => Some(breach.clone()),
            _ => None,
        }
    }

    /// The log was read to its end.
    pub(super) fn conclude(mut self) -> Result<Origin, Breach> {
        for claim in self.claims() {
            claim.name_rest();
            claim.break_at(None, BreachKind::Shorter);
        }
        if let Some(breach) = self.lost() {
            return Err(breach);
        }
        Ok(self.origin())
    }

    fn origin(&self) -> Origin {
        let holds = |claim: &Option<Claim<'_>>| claim.as_ref().is_some_and(|claim| claim.standing == Standing::Holds);
        let past = self.history.head.as_ref();
        if let (Some(claim), Some(past)) = (&self.head, past)
            && claim.standing == Standing::Holds
        {
            let mut rotated = past.head.rotated;
            rotated.join(claim.removed());
            let rotation = match claim.course {
                Course::Nothing => Rotation::Gap,
                _ => Rotation::Seen,
            };
            return Origin {
                generation: past.head.generation,
                fork: past.head.fork.clone(),
                rotated,
                rotation,
            };
        }
        let restored = self.history.restored.as_ref().filter(|_| holds(&self.restored));
        if past.is_none() && restored.is_none() {
            return Origin::first();
        }
        let generations = [past, restored].into_iter().flatten().map(|past| past.head.generation);
        Origin {
            generation: generations.max().unwrap_or(0).saturating_add(1),
            fork: Some(Fork {
                why: restored.map_or(ForkReason::Accepted, |_| ForkReason::Restored),
                backup: restored.and_then(|past| past.backup.clone()),
                length: restored.map_or(0, |past| past.head.length),
                records: restored.map_or(0, |past| past.head.records),
                replaces: past.and_then(|past| past.backup.clone()),
                replaced_length: past.map_or(0, |past| past.head.length),
                replaced_records: past.map_or(0, |past| past.head.records),
            }),
            rotated: Removed::default(),
            rotation: Rotation::Seen,
        }
    }
}

impl Origin {
    fn first() -> Self {
        Self {
            generation: 1,
            fork: None,
            rotated: Removed::default(),
            rotation: Rotation::Seen,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::source::log_head::{LogFile, Rows};

    type Files = Vec<(u8, Vec<u8>)>;

    fn path(name: u8) -> TreePath {
        TreePath::parse(format!("{name:03}").as_bytes()).unwrap()
    }

    /// Reads the files as a capture does, in pieces of `piece` bytes.
    fn read(files: &Files, history: &History, rotate: Rotate, piece: usize) -> Result<LogHead, Breach> {
        let mut proof = Proof::new(history, rotate);
        let (mut whole, mut rows) = (Vec::new(), Rows::default());
        for (name, content) in files {
            proof.begin(&path(*name));
            let start = whole.len();
            let mut rest = content.as_slice();
            while !rest.is_empty() {
                let stop = proof
                    .until_stop()
                    .map_or(piece, |left| piece.min(usize::try_from(left).unwrap()));
                let (now, later) = rest.split_at(stop.min(rest.len()));
                whole.extend_from_slice(now);
                proof.read(now.len() as u64, || Digest::of(&whole), || Digest::of(&whole[start..]));
                rest = later;
            }
            let blake3 = Digest::of(content);
            proof.end(blake3);
            if let Some(breach) = proof.lost() {
                return Err(breach);
            }
            rows.push(LogFile {
                path: path(*name),
                length: content.len() as u64,
                records: super::super::ends(content),
                blake3,
            });
        }
        let origin = proof.conclude()?;
        let (earlier, files) = rows.finish();
        Ok(LogHead {
            length: whole.len() as u64,
            records: super::super::ends(&whole),
            blake3: Digest::of(&whole),
            generation: origin.generation,
            fork: origin.fork,
            rotated: origin.rotated,
            earlier,
            files,
        })
    }

    fn head(files: &Files) -> LogHead {
        read(files, &History::default(), Rotate::Never, 100).unwrap()
    }

    fn after(files: &Files) -> History {
        History {
            head: Some(Past {
                backup: None,
                head: head(files),
            }),
            ..History::default()
        }
    }

    fn bytes(files: &Files) -> Vec<u8> {
        files.iter().flat_map(|(_, content)| content.clone()).collect()
    }

    /// Whether `new` is `old` after rotation took whole files off its beginning and records were appended.
    fn is_rotated(old: &Files, new: &Files) -> bool {
        let Some((first, _)) = new.first() else {
            return bytes(old).is_empty();
        };
        let Some(kept) = old.iter().position(|(name, _)| name == first) else {
            return bytes(new).starts_with(&bytes(old)) || old.last().is_none_or(|(name, _)| name < first);
        };
        if kept == 0 {
            return bytes(new).starts_with(&bytes(old));
        }
        let kept = old.get(kept..).unwrap_or_default();
        let Some(((last, content), whole)) = kept.split_last() else {
            return true;
        };
        let as_they_were = whole.iter().zip(new).all(|(old, new)| old == new) && new.len() > whole.len();
        as_they_were
            && new
                .get(whole.len())
                .is_some_and(|(name, now)| name == last && now.starts_with(content))
    }

    /// Files with few different names and contents, so that logs are alike often enough.
    fn files() -> impl Strategy<Value = Files> {
        const CONTENTS: [&str; 6] = ["", "a\n", "a\na\n", "b\n", "a\nb\n", "a"];
        let content = (0..CONTENTS.len()).prop_map(|number| CONTENTS[number].as_bytes().to_vec());
        proptest::collection::btree_map(0..6_u8, content, 0..5).prop_map(|files| files.into_iter().collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_log_is_accepted_just_when_the_past_one_is_its_beginning(old in files(), new in files(), piece in 1..4_usize) {
            let accepted = read(&new, &after(&old), Rotate::Never, piece).is_ok();
            prop_assert_eq!(accepted, bytes(&new).starts_with(&bytes(&old)));
        }

        #[test]
        fn with_rotation_just_when_it_is_the_rest_of_it_and_more(old in files(), new in files(), piece in 1..4_usize) {
            let accepted = read(&new, &after(&old), Rotate::OldestFiles, piece).is_ok();
            prop_assert_eq!(accepted, bytes(&old).is_empty() || is_rotated(&old, &new));
        }

        #[test]
        fn what_was_restored_is_accepted_too_and_begins_a_generation(old in files(), restored in files(), new in files()) {
            let history = History {
                restored: Some(Past { backup: None, head: head(&restored) }),
                ..after(&old)
            };
            let extends = |past: &Files| bytes(&new).starts_with(&bytes(past));
            let generation = read(&new, &history, Rotate::Never, 3).ok().map(|head| head.generation);
            let expected = if extends(&old) { Some(1) } else if extends(&restored) { Some(2) } else { None };
            prop_assert_eq!(generation, expected);
        }
    }

    #[test]
    fn an_accepted_rewrite_begins_a_generation_and_the_breach_is_known_without_it() {
        let (old, new) = (
            vec![(1, b"a\nb\n".to_vec()), (2, b"c\n".to_vec())],
            vec![(1, b"a\nx\n".to_vec())],
        );
        let mut history = after(&old);
        history.head.as_mut().unwrap().head.generation = 4;
        let breach = read(&new, &history, Rotate::Never, 100).unwrap_err();
        assert_eq!((breach.kind, breach.file), (BreachKind::Differs, Some(path(1))));
        history.rewrite = Rewrite::Accepted;
        let head = read(&new, &history, Rotate::Never, 100).unwrap();
        assert_eq!(head.generation, 5);
        assert_eq!(head.fork.unwrap().replaced_records, 3);
    }

    #[test]
    fn a_breach_says_which_file_is_gone_and_how_much_is_sound() {
        let old = vec![(1, b"a\n".to_vec()), (2, b"b\nc\n".to_vec()), (3, b"d\n".to_vec())];
        let gone = |new: &Files| match read(new, &after(&old), Rotate::Never, 2).unwrap_err() {
            Breach {
                kind: BreachKind::Gone(path),
                sound_records,
                ..
            } => (path, sound_records),
            other => panic!("{other:?}"),
        };
        assert_eq!(gone(&vec![old[0].clone(), old[2].clone()]), (path(2), 1));
        assert_eq!(gone(&vec![old[0].clone(), old[1].clone()]), (path(3), 3));
        assert_eq!(gone(&vec![]), (path(1), 0));
        let shorter = vec![old[0].clone(), old[1].clone(), (3, b"".to_vec())];
        assert_eq!(
            read(&shorter, &after(&old), Rotate::Never, 2).unwrap_err().kind,
            BreachKind::Shorter
        );
    }
}
