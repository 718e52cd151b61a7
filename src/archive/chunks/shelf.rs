//! Puts new content into frames: small files whole, large ones in parts, each a member of a tar archive. What can be compressed and
//! what cannot stand in frames of their own, so that neither is in the other's way.
//!
//! A frame holds whole members, so any row of frames is a tar archive once it is closed.

use crate::archive::tar_header;
use crate::codec::ordered::Gone;
use crate::fs::entry::TreePath;
use crate::id::SourceName;
use crate::limits::FRAME;

use super::item::{ChunkId, Piece};

/// Marks a number as that of a frame whose pack is not known yet.
pub const PROVISIONAL: u32 = 1 << 31;

/// Where full frames go.
pub trait FrameOut: Send {
    /// An empty buffer.
    fn buffer(&mut self) -> Vec<u8>;

    /// Takes the frame `number`; blocks while there is no room.
    fn frame(&mut self, number: u32, plain: Vec<u8>) -> Result<(), Gone>;
}

/// Open frames.
pub struct Shelf<O> {
    out: O,
    frames: u32,
    dense: Open,
    noise: Open,
}

/// A frame being filled.
#[derive(Default)]
struct Open {
    number: u32,
    plain: Vec<u8>,
    member: Option<Member>,
}

/// A member whose length is not known yet.
struct Member {
    source: SourceName,
    path: TreePath,
    header: usize,
    name: Vec<u8>,
    data: usize,
    /// Where in the file the next byte belongs.
    next: u64,
}

/// A stretch of a large file that is to be stored.
pub struct Part<'a> {
    /// The file's source.
    pub source: &'a SourceName,
    /// The file.
    pub path: &'a TreePath,
    /// Where in the file's data it begins.
    pub offset: u64,
    /// The first bytes of its digest.
    pub id: ChunkId,
    /// The bytes.
    pub data: &'a [u8],
    /// Whether parts of one member must touch.
    pub parts: Parts,
}

/// How parts of one file follow one another in a member.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Parts {
    /// A member is one stretch of the file.
    Touching,
    /// A member holds what is new of a file, wherever it stands.
    Scattered,
}

/// Bytes that a member needs beside its data, at most, where its name is `name`.
fn overhead(name: &[u8]) -> usize {
    tar_header::member(name, 0).len() + tar_header::END.len()
}

impl<O: FrameOut> Shelf<O> {
    /// Begins with empty frames.
    pub fn new(mut out: O) -> Self {
        let mut open = |number| Open {
            number,
            plain: out.buffer(),
            member: None,
        };
        let (dense, noise) = (open(0), open(1));
        Self {
            out,
            frames: 2,
            dense,
            noise,
        }
    }

    /// Stores a whole file.
    pub fn file(&mut self, source: &SourceName, path: &TreePath, data: &[u8]) -> Result<Piece, Gone> {
        let mut name = source.as_str().as_bytes().to_vec();
        if !path.is_root() {
            name.push(b'/');
            name.extend_from_slice(path.as_bytes());
        }
        let way = Way::of(data);
        self.make_room(way, data.len() + overhead(&name))?;
        let open = self.open(way);
        open.close_member();
        open.plain
            .extend_from_slice(&tar_header::member(&name, data.len() as u64));
        let piece = open.append(data);
        open.pad(data.len());
        Ok(piece)
    }

    /// Stores a part of a file.
    pub fn part(&mut self, part: &Part<'_>) -> Result<Piece, Gone> {
        let way = match part.parts {
            Parts::Touching => Way::of(part.data),
            Parts::Scattered => Way::Dense,
        };
        let fits = |open: &Open| {
            let member = open.member.as_ref()?;
            let same = member.path == *part.path && member.source == *part.source;
            let touches = part.parts == Parts::Scattered || member.next == part.offset;
            let room = open.plain.len() + part.data.len() + tar_header::BLOCK <= FRAME;
            (same && touches && room).then_some(())
        };
        if fits(self.open(way)).is_none() {
            let name = part_name(part);
            self.make_room(way, part.data.len() + overhead(&name))?;
            self.open(way).begin_member(part, name);
        }
        let open = self.open(way);
        let piece = open.append(part.data);
        if let Some(member) = &mut open.member {
            member.next = part.offset + part.data.len() as u64;
        }
        Ok(piece)
    }

    /// Hands on what is left and gives the way out and the number of frames.
    pub fn finish(mut self) -> Result<(O, u32), Gone> {
        for way in [Way::Dense, Way::Noise] {
            self.hand_on(way)?;
        }
        Ok((self.out, self.frames))
    }

    fn open(&mut self, way: Way) -> &mut Open {
        match way {
            Way::Dense => &mut self.dense,
            Way::Noise => &mut self.noise,
        }
    }

    fn make_room(&mut self, way: Way, bytes: usize) -> Result<(), Gone> {
        let open = self.open(way);
        if open.plain.is_empty() || open.plain.len() + tar_header::BLOCK + bytes <= FRAME {
            return Ok(());
        }
        self.hand_on(way)
    }

    fn hand_on(&mut self, way: Way) -> Result<(), Gone> {
        let (number, next) = (self.frames, self.out.buffer());
        let open = self.open(way);
        open.close_member();
        let full = Open {
            number,
            plain: next,
            member: None,
        };
        let full = std::mem::replace(open, full);
        self.frames += 1;
        if full.plain.is_empty() {
            return Ok(());
        }
        self.out.frame(full.number, full.plain)
    }
}

impl Open {
    fn append(&mut self, data: &[u8]) -> Piece {
        let piece = Piece {
            pack: PROVISIONAL | self.number,
            offset: u32::try_from(self.plain.len()).unwrap_or(u32::MAX),
            length: u32::try_from(data.len()).unwrap_or(u32::MAX),
        };
        if self.plain.capacity() < FRAME {
            self.plain.reserve_exact(FRAME - self.plain.len());
        }
        self.plain.extend_from_slice(data);
        piece
    }

    fn pad(&mut self, length: usize) {
        let padding = tar_header::padding(length as u64);
        self.plain.resize(self.plain.len() + padding, 0);
    }

    fn begin_member(&mut self, part: &Part<'_>, name: Vec<u8>) {
        self.close_member();
        let header = self.plain.len();
        self.plain.extend_from_slice(&tar_header::member(&name, 0));
        self.member = Some(Member {
            source: part.source.clone(),
            path: part.path.clone(),
            header,
            data: self.plain.len(),
            name,
            next: part.offset,
        });
    }

    /// Writes the member's header again, now that its length is known.
    fn close_member(&mut self) {
        let Some(member) = self.member.take() else { return };
        let length = self.plain.len() - member.data;
        let header = tar_header::member(&member.name, length as u64);
        if let Some(place) = self.plain.get_mut(member.header..member.data) {
            place.copy_from_slice(&header);
        }
        self.pad(length);
    }
}

/// `<source>/<path>.part-<offset>-<id>`.
fn part_name(part: &Part<'_>) -> Vec<u8> {
    let id = hex::encode(part.id.get(..4).unwrap_or_default());
    let mut name = part.source.as_str().as_bytes().to_vec();
    name.push(b'/');
    name.extend_from_slice(part.path.as_bytes());
    name.extend_from_slice(format!(".part-{:020}-{id}", part.offset).as_bytes());
    name
}

/// Which frame content goes into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// One whose content can be compressed.
    Dense,
    /// One whose content cannot.
    Noise,
}

/// Bytes that are looked at, in stretches from all over the content.
const SAMPLE: usize = 2048;
const STRETCHES: usize = 4;

impl Way {
    /// Content is noise where its bytes are as evenly spread as chance would have it: the number of equal pairs in a sample is at
    /// most a third more than that of random bytes. Text has ten times as many.
    fn of(data: &[u8]) -> Self {
        if data.len() < SAMPLE {
            return Self::Dense;
        }
        let mut counts = [0_u32; 256];
        let stretch = SAMPLE / STRETCHES;
        for part in data.chunks(data.len() / STRETCHES).take(STRETCHES) {
            let from = (part.len() - stretch.min(part.len())) / 2;
            for byte in part.iter().skip(from).take(stretch) {
                if let Some(count) = counts.get_mut(usize::from(*byte)) {
                    *count += 1;
                }
            }
        }
        let pairs: u32 = counts.iter().map(|count| count * count).sum();
        let sample = u32::try_from(SAMPLE).unwrap_or(0);
        let chance = sample + sample * (sample - 1) / 256;
        if pairs <= chance + chance / 3 {
            Self::Noise
        } else {
            Self::Dense
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Frames(Vec<(u32, Vec<u8>)>);

    impl FrameOut for Frames {
        fn buffer(&mut self) -> Vec<u8> {
            Vec::new()
        }

        fn frame(&mut self, number: u32, plain: Vec<u8>) -> Result<(), Gone> {
            self.0.push((number, plain));
            Ok(())
        }
    }

    fn noise(seed: u64, bytes: usize) -> Vec<u8> {
        let mut state = seed | 1;
        (0..bytes)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                state.to_be_bytes()[0]
            })
            .collect()
    }

    fn found(frames: &Frames, piece: Piece) -> &[u8] {
        let number = piece.pack & !PROVISIONAL;
        let (_, plain) = frames.0.iter().find(|(n, _)| *n == number).unwrap();
        &plain[piece.offset as usize..][..piece.length as usize]
    }

    #[test]
    fn every_frame_is_a_tar_archive_and_every_piece_is_where_it_says() {
        let source: SourceName = "data".parse().unwrap();
        let mut shelf = Shelf::new(Frames::default());
        let mut placed = Vec::new();
        for n in 0..400_u64 {
            let number = usize::try_from(n).unwrap();
            let path = format!("{}/{n}", "long".repeat((number % 40) * 2));
            let path = TreePath::parse(path.trim_start_matches('/').as_bytes()).unwrap();
            let length = (number * 7919) % 60_000;
            let data = if n % 3 == 0 {
                noise(n, length)
            } else {
                vec![b'a' + (n % 20) as u8; length]
            };
            let piece = if n % 5 == 0 {
                let part = Part {
                    source: &source,
                    path: &path,
                    offset: n * 100,
                    id: [n.to_le_bytes()[0]; 16],
                    data: &data,
                    parts: Parts::Touching,
                };
                shelf.part(&part).unwrap()
            } else {
                shelf.file(&source, &path, &data).unwrap()
            };
            placed.push((piece, data));
        }
        let (frames, _) = shelf.finish().unwrap();
        assert!(frames.0.len() > 2);
        for (piece, data) in placed {
            assert_eq!(found(&frames, piece), data);
        }
        let mut members = 0;
        for (_, plain) in &frames.0 {
            assert!(plain.len() <= FRAME && plain.len() % tar_header::BLOCK == 0);
            let mut whole = plain.clone();
            whole.extend_from_slice(&tar_header::END);
            members += tar::Archive::new(whole.as_slice())
                .entries()
                .unwrap()
                .map(Result::unwrap)
                .count();
        }
        assert_eq!(members, 400);
    }

    #[test]
    fn parts_that_touch_share_a_member() {
        let source: SourceName = "data".parse().unwrap();
        let path = TreePath::parse(b"big").unwrap();
        let mut shelf = Shelf::new(Frames::default());
        for n in 0..20_u64 {
            let data = vec![b'x'; 300_000];
            let part = Part {
                source: &source,
                path: &path,
                offset: n * 300_000,
                id: [0; 16],
                data: &data,
                parts: Parts::Touching,
            };
            shelf.part(&part).unwrap();
        }
        let (frames, _) = shelf.finish().unwrap();
        let names: Vec<String> = frames
            .0
            .iter()
            .flat_map(|(_, plain)| {
                let mut whole = plain.clone();
                whole.extend_from_slice(&tar_header::END);
                let mut archive = tar::Archive::new(std::io::Cursor::new(whole));
                let entries = archive.entries().unwrap();
                entries
                    .map(|e| e.unwrap().path().unwrap().display().to_string())
                    .collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(
            names,
            [
                "data/big.part-00000000000000000000-00000000",
                "data/big.part-00000000000003900000-00000000"
            ]
        );
    }

    #[test]
    fn noise_and_text_are_told_apart() {
        assert_eq!(Way::of(&noise(3, 100_000)), Way::Noise);
        assert_eq!(
            Way::of(&b"some words of a log, again and again\n".repeat(100)),
            Way::Dense
        );
        let base64: Vec<u8> = noise(5, 100_000).iter().map(|b| b'0' + b % 64).collect();
        assert_eq!(Way::of(&base64), Way::Dense);
    }
}
