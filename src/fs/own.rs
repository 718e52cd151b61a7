//! The names of what this program leaves beside a destination, or in one that is a mount point: stages, what was replaced,
//! swap journals. Those that lie in a destination are no data of anyone's, so no source captures them and no restore
//! carries them over.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// What stands in each of these names.
const MARK: &[u8] = b".strongroom-";
/// Bytes of a file's name that the kernel takes.
const NAME_MAX: usize = 255;
/// Digits of the part of a run's id that is random.
const SHORT: usize = 12;
/// Bytes of a time such as `20261121T215100Z`.
const TIME: usize = 16;
/// Bytes of a run's id.
const RUN: usize = 36;

/// A thing of our own making.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Own {
    /// A folder that something is unpacked into: `.<name>.strongroom-stage-<run>`.
    Stage,
    /// What a swap replaced: `.<name>.strongroom-replaced-<time>-<run>`.
    Replaced,
    /// An entry between two renames, on a file system that cannot exchange: `.<name>.strongroom-parked-<run>`.
    Parked,
    /// A swap journal or an entry of the rollback index: `.strongroom-<phase>-<run>.json`.
    Journal,
}

impl Own {
    /// What `name` is, where it is of our own making and may lie in a destination: such a name says nothing of another.
    pub fn within(name: &[u8]) -> Option<Self> {
        if name.starts_with(MARK) { Self::of(name) } else { None }
    }

    /// What `name` is, where it is of our own making.
    pub fn of(name: &[u8]) -> Option<Self> {
        if name.first() != Some(&b'.') {
            return None;
        }
        // The last one counts: a destination may itself be called so.
        let at = name.windows(MARK.len()).rposition(|window| window == MARK)?;
        let (_, rest) = name.split_at_checked(at + MARK.len())?;
        let (kind, tail) = rest.split_at_checked(rest.iter().position(|b| *b == b'-')? + 1)?;
        match kind {
            b"stage-" if is_short(tail) => Some(Self::Stage),
            b"parked-" if is_short(tail) => Some(Self::Parked),
            b"replaced-" => {
                let (time, run) = tail.split_at_checked(TIME + 1)?;
                (is_time(time) && is_short(run)).then_some(Self::Replaced)
            }
            b"new-" | b"swap-" | b"swapped-" | b"point-" | b"drop-" if at == 0 => {
                let run = tail.strip_suffix(b".json")?;
                (run.len() == RUN && run.iter().all(|b| is_hex(*b) || *b == b'-')).then_some(Self::Journal)
            }
            _ => None,
        }
    }
}

/// `.<name>.strongroom-<what>`, the name cut where it would be too long for a file system; `.strongroom-<what>` where the
/// name is empty.
pub fn beside(name: &OsStr, what: &str) -> OsString {
    let suffix = format!(".strongroom-{what}");
    let bytes = name.as_bytes();
    let room = NAME_MAX.saturating_sub(suffix.len() + 1);
    // Cut between characters, so that a readable name stays readable.
    let mut cut = room.min(bytes.len());
    while cut > 0 && bytes.get(cut).is_some_and(|b| b & 0xc0 == 0x80) {
        cut -= 1;
    }
    let mut own = Vec::new();
    if cut > 0 {
        own.push(b'.');
        own.extend_from_slice(bytes.get(..cut).unwrap_or_default());
    }
    own.extend_from_slice(suffix.as_bytes());
    OsString::from_vec(own)
}

const fn is_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

fn is_short(text: &[u8]) -> bool {
    text.len() == SHORT && text.iter().all(|b| is_hex(*b))
}

/// `20261121T215100Z-`.
fn is_time(text: &[u8]) -> bool {
    let fits = |(at, byte): (usize, &u8)| match at {
        8 => *byte == b'T',
        15 => *byte == b'Z',
        16 => *byte == b'-',
        _ => byte.is_ascii_digit(),
    };
    text.len() == TIME + 1 && text.iter().enumerate().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_program_leaves_is_known_by_its_whole_name() {
        let run = "01920f6e-2b9c-7000-8000-0242ac120002";
        for (name, expected) in [
            (".data.strongroom-stage-0242ac120002", Some(Own::Stage)),
            (".strongroom-stage-0242ac120002", Some(Own::Stage)),
            (
                ".a.strongroom-replaced-20261121T215100Z-0242ac120002",
                Some(Own::Replaced),
            ),
            (
                "..strongroom-x.strongroom-replaced-20261121T215100Z-0242ac120002",
                Some(Own::Replaced),
            ),
            (".a.strongroom-parked-0242ac120002", Some(Own::Parked)),
            (&format!(".strongroom-swap-{run}.json"), Some(Own::Journal)),
            (&format!(".strongroom-point-{run}.json"), Some(Own::Journal)),
            (&format!(".a.strongroom-swap-{run}.json"), None),
            (&format!(".strongroom-other-{run}.json"), None),
            ("data.strongroom-stage-0242ac120002", None),
            (".data.strongroom-stage-0242ac12000", None),
            (".data.strongroom-stage-0242ac12000G", None),
            (".data.strongroom-replaced-20261121215100Z-0242ac120002", None),
            (".strongroom", None),
            (".strongroom-stage", None),
            (".env", None),
            ("", None),
        ] {
            assert_eq!(Own::of(name.as_bytes()), expected, "{name}");
            let within = expected.filter(|_| name.starts_with(".strongroom-"));
            assert_eq!(Own::within(name.as_bytes()), within, "{name}");
        }
    }

    #[test]
    fn the_name_is_never_too_long_and_cut_between_characters() {
        let long = "\u{e4}".repeat(127);
        let name = beside(long.as_ref(), "replaced-20261121T215100Z-0123456789ab");
        assert!(name.len() <= 255);
        assert!(name.to_str().unwrap().starts_with(".\u{e4}\u{e4}"));
        assert_eq!(Own::of(name.as_bytes()), Some(Own::Replaced));
        assert_eq!(
            beside("".as_ref(), "stage-0123456789ab"),
            ".strongroom-stage-0123456789ab"
        );
    }
}
