//! The list of every object that a backup needs: written, read, looked up. It is what a program that deletes must know.
//!
//! Text, a line an object, sorted: name, stored bytes, live plain bytes, with a space between; compressed by zstd. A list that
//! is not written exactly so is damaged, and nothing may be concluded from it.

use std::io::Read;

use bytes::Bytes;

use crate::codec::frames::{self, FrameError};
use crate::crypto::Digest;
use crate::limits::REFS_MAX;
use crate::target::{Target, TargetError};

use super::layout::Kind;
use super::record::ObjectRecord;

/// The zstd level of the list.
const LEVEL: i32 = 3;

/// One object that a backup needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ref {
    /// Object name.
    pub name: String,
    /// Stored bytes.
    pub bytes: u64,
    /// Plain bytes of it that the backup uses.
    pub plain_bytes: u64,
}

/// Every object that a backup needs, sorted by name, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refs(Vec<Ref>);

/// Why a list of objects cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RefsError {
    /// It is not there.
    #[error("the list of objects `{0}` is missing")]
    Missing(String),
    /// It is not what its record or its name says.
    #[error("the list of objects `{object}` {what}")]
    Damaged {
        /// Object name.
        object: String,
        /// In what way.
        what: &'static str,
    },
    /// The target failed.
    #[error("the list of objects `{object}` cannot be read")]
    Target {
        /// Object name.
        object: String,
        /// Why.
        #[source]
        source: TargetError,
    },
}

impl Refs {
    /// A list of `refs` in any order; one that stands twice counts once.
    pub fn new(refs: impl IntoIterator<Item = Ref>) -> Self {
        let mut refs: Vec<Ref> = refs.into_iter().collect();
        refs.sort_unstable();
        refs.dedup();
        Self(refs)
    }

    /// The objects in the order of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Ref> {
        self.0.iter()
    }

    /// The object of this name.
    pub fn get(&self, name: &str) -> Option<&Ref> {
        let at = self.0.binary_search_by(|one| one.name.as_str().cmp(name)).ok()?;
        self.0.get(at)
    }

    /// The list as it is stored.
    ///
    /// # Errors
    /// zstd's own; never in practice.
    pub fn to_object(&self) -> Result<Vec<u8>, FrameError> {
        let mut text = String::new();
        for one in &self.0 {
            text.push_str(&format!("{} {} {}\n", one.name, one.bytes, one.plain_bytes));
        }
        frames::compress_whole(text.as_bytes(), LEVEL)
    }

    /// Reads a stored list. The error says in what way it is damaged.
    ///
    /// # Errors
    /// When it is anything but what [`Refs::to_object`] writes, or unpacks to more than [`REFS_MAX`] bytes.
    pub fn from_object(stored: &[u8]) -> Result<Self, &'static str> {
        let not_zstd = "cannot be unpacked";
        let decoder = zstd::stream::read::Decoder::new(stored).map_err(|_| not_zstd)?;
        let mut text = String::new();
        let limit = u64::try_from(REFS_MAX).unwrap_or(u64::MAX).saturating_add(1);
        decoder.take(limit).read_to_string(&mut text).map_err(|_| not_zstd)?;
        if text.len() > REFS_MAX {
            return Err("is longer than any that this program writes");
        }
        let ended = text.is_empty() || text.ends_with('\n');
        let mut refs: Vec<Ref> = Vec::new();
        for line in text.lines() {
            let one = Ref::parse(line).ok_or("has a line that is no object, size and size")?;
            if refs.last().is_some_and(|last| last.name >= one.name) {
                return Err("is not sorted");
            }
            refs.push(one);
        }
        if ended {
            Ok(Self(refs))
        } else {
            Err("ends in the middle of a line")
        }
    }
}

impl Ref {
    fn parse(line: &str) -> Option<Self> {
        let number = |text: &str| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|_| digits)
        };
        let mut parts = line.split(' ');
        let (name, bytes, plain) = (parts.next()?, parts.next()?, parts.next()?);
        let whole = parts.next().is_none() && Kind::of(name).is_some_and(Kind::is_swept);
        Some(Self {
            name: name.to_owned(),
            bytes: number(bytes)?,
            plain_bytes: number(plain).filter(|_| whole)?,
        })
    }
}

/// Reads the list of objects that a record names from a target, and checks it against the record.
///
/// # Errors
/// When it is missing, is not what the record says, or is damaged; then nothing can be said of what the backup needs.
pub async fn read(target: &Target, named: &ObjectRecord) -> Result<Refs, RefsError> {
    let object = || named.name.clone();
    let damaged = |what| RefsError::Damaged { object: object(), what };
    let stored: Bytes = match target.read(&named.name, REFS_MAX).await {
        Ok(stored) => stored,
        Err(TargetError::NotFound { .. }) => return Err(RefsError::Missing(object())),
        Err(source) => {
            let object = object();
            return Err(RefsError::Target { object, source });
        }
    };
    if stored.len() as u64 != named.bytes || Digest::of(&stored) != named.blake3 {
        return Err(damaged("is not the one that the record names"));
    }
    Refs::from_object(&stored).map_err(damaged)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::archive::layout;
    use crate::archive::pack;
    use crate::target::faulty::{Fault, Faulty, Operation};
    use std::sync::Arc;

    fn one(name: &str, bytes: u64) -> Ref {
        Ref {
            name: name.to_owned(),
            bytes,
            plain_bytes: bytes * 3,
        }
    }

    /// One object of each kind that a backup may need.
    fn every_kind() -> Refs {
        let digest = |text: &str| Digest::of(text.as_bytes()).to_string();
        let pack = digest("pack");
        Refs::new([
            one("sums/live/20261121T215100Z-9c41.b3", 1),
            one("backups/live/20261121T215100Z-9c41.sig", 2),
            one("archives/live/20261121T215100Z-9c41.tar.zst", 3),
            one(&format!("packs/{}/{pack}.tar.zst", &pack[..2]), 4),
            one(&format!("packs/{}/{pack}.tar.zst.age", &pack[..2]), 5),
            one(&layout::catalog(&Digest::of(b"segment")), 6),
            one(&format!("catalogs/{}.jsonl.zst.age", digest("sealed")), 7),
            one(&layout::refs(&Digest::of(b"refs")), 8),
        ])
    }

    fn stored(text: &str) -> Vec<u8> {
        frames::compress_whole(text.as_bytes(), LEVEL).unwrap()
    }

    #[test]
    fn a_list_with_every_kind_of_object_reads_back() {
        let refs = every_kind();
        assert_eq!(Refs::from_object(&refs.to_object().unwrap()).unwrap(), refs);
        assert_eq!(refs.iter().len(), 8);
        for one in refs.iter() {
            assert_eq!(refs.get(&one.name), Some(one));
        }
        assert_eq!(refs.get("archives/live/other"), None);
        assert_eq!(
            Refs::from_object(&Refs::default().to_object().unwrap()).unwrap(),
            Refs::default()
        );
    }

    #[test]
    fn a_skippable_frame_behind_the_list_changes_nothing_of_it() {
        let mut salted = every_kind().to_object().unwrap();
        salted.extend(frames::skippable(b"20261121T215100Z-9c41"));
        assert_eq!(Refs::from_object(&salted).unwrap(), every_kind());
    }

    #[test]
    fn what_is_not_written_like_a_list_is_damaged() {
        let (first, second) = (
            format!("{} 1 2", layout::catalog(&Digest::of(b"a"))),
            format!("{} 1 2", layout::refs(&Digest::of(b"b"))),
        );
        for text in [
            format!("{second}\n{first}\n"),
            format!("{first}\n{first}\n"),
            first.clone(),
            format!("{first}\n\n"),
            format!("{first} 3\n"),
            format!("{}\n", first.trim_end_matches(" 2")),
            first.replace(" 1 ", " +1 ") + "\n",
            first.replace(" 1 ", "  1 ") + "\n",
            first.replace(" 1 ", " 99999999999999999999 ") + "\n",
            "repository.json 1 2\n".into(),
            "../outside 1 2\n".into(),
            "backups/live/20261121T215100Z-9c41.json 1 2\n".into(),
        ] {
            assert!(Refs::from_object(&stored(&text)).is_err(), "{text:?}");
        }
        assert!(Refs::from_object(b"no zstd at all").is_err());
        assert!(Refs::from_object(&frames::compress_whole(b"\xff\xfe 1 2\n", LEVEL).unwrap()).is_err());
    }

    async fn in_target(bytes: &[u8]) -> (Target, ObjectRecord) {
        let target = Target::memory("a".parse().unwrap());
        let named = pack::object(layout::refs, bytes);
        target.create(&named.name, bytes.to_vec().into()).await.unwrap();
        (target, named)
    }

    #[tokio::test]
    async fn a_list_is_read_as_its_record_names_it_and_not_otherwise() {
        let object = every_kind().to_object().unwrap();
        let (target, named) = in_target(&object).await;
        assert_eq!(read(&target, &named).await.unwrap(), every_kind());

        let longer = ObjectRecord {
            bytes: named.bytes + 1,
            ..named.clone()
        };
        assert!(matches!(read(&target, &longer).await, Err(RefsError::Damaged { .. })));
        for fault in [Fault::Flips(9), Fault::Fails] {
            let faulty = Faulty::new(target.store()).always(Operation::Get, "refs/", fault);
            let faulty = Target::from_store(target.name().clone(), Arc::new(faulty));
            assert!(read(&faulty, &named).await.is_err(), "{fault:?}");
        }
        target.delete(&named.name).await.unwrap();
        assert!(matches!(read(&target, &named).await, Err(RefsError::Missing(_))));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn bytes_of_any_kind_are_a_list_or_an_error(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), flip in any::<usize>()) {
            let _ = Refs::from_object(&bytes);
            bytes = every_kind().to_object().unwrap();
            let at = flip % bytes.len();
            bytes[at] ^= 0x10;
            let _ = Refs::from_object(&bytes);
        }
    }
}
