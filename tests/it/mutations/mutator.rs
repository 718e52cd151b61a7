//! Makes one wrong input out of sound ones: knows lines, numbers, quoted words and lengths, so that most of what it makes gets past
//! the first look of a reader.
//!
//! Everything follows from the seed: what was found once is found again.

/// Numbers at which arithmetic breaks, and what is no number at all where one belongs.
const NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "127",
    "255",
    "256",
    "65535",
    "2147483648",
    "4294967295",
    "4294967296",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e3",
    "1e999",
    "0.5",
    "007",
    "null",
    "true",
    "[]",
    "{}",
    "\"\"",
];
/// Lengths and offsets as they stand in binary formats.
const WORDS: &[u32] = &[
    0,
    1,
    2,
    8,
    0x7f,
    0xff,
    0xffff,
    0x1_0000,
    4 << 20,
    8 << 20,
    (8 << 20) + 1,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fff0,
    0xffff_ffff,
    0x184D_2A50,
    0xFD2F_B528,
    0x8F92_EAB1,
];
/// Text that means something to one format or another.
const PIECES: &[&str] = &[
    "\n",
    "\n\n",
    "\r\n",
    "\0",
    "\u{fffd}",
    "../",
    "//",
    "/./",
    " ",
    "  ",
    ",",
    "\"",
    "\\u0000",
    "\\ud800",
    "--- ",
    "-> X25519 AAAA\n",
    "\u{2014} ",
    "{\"packs\":[]}\n",
    "\"path\":\"a/b\",",
    "\"format\":1,",
    "\"size\":0,",
    ".age",
    "# ",
];
/// Bytes that stand for something.
const BYTES: &[u8] = b"\0\xff\x80\x7f\n\"{}[]:,/ .-+019azAZ=";
/// Bytes of a stretch that is doubled, removed or taken from elsewhere.
const STRETCH: u64 = 200;
/// Brackets around brackets.
const NESTED: usize = 300;

pub(super) struct Mutator(u64);

impl Mutator {
    pub(super) fn new(seed: u64) -> Self {
        // The same steps from neighbouring seeds would be alike at first.
        Self((seed ^ 0x9E37_79B9_7F4A_7C15).wrapping_mul(0xBF58_476D_1CE4_E5B9) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        match bound {
            0 => 0,
            _ => (self.next() % bound as u64) as usize,
        }
    }

    fn any<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// One of `samples` with one to three changes.
    pub(super) fn mutate(&mut self, samples: &[Vec<u8>], into: &mut Vec<u8>) {
        into.clear();
        let sample = self.below(samples.len());
        into.extend_from_slice(&samples[sample]);
        let other = self.below(samples.len());
        for _ in 0..=self.below(3) {
            self.change(into, &samples[other]);
        }
    }

    fn change(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        match self.below(20) {
            0 => self.touch(bytes, |random, byte| byte ^ (1 << random.below(8))),
            1 => self.touch(bytes, |random, _| random.any(BYTES)),
            2 => self.touch(bytes, |random, byte| byte.wrapping_add(random.any(&[1, 255]))),
            3 => bytes.truncate(self.below(bytes.len() + 1)),
            4 => drop(bytes.drain(self.stretch(bytes))),
            5 => {
                let again = bytes[self.stretch(bytes)].to_vec();
                self.put(bytes, &again);
            }
            6 => {
                let foreign = other[self.stretch(other)].to_vec();
                self.put(bytes, &foreign);
            }
            7 => {
                let from = self.below(other.len() + 1);
                bytes.truncate(self.below(bytes.len() + 1));
                bytes.extend_from_slice(&other[from..]);
            }
            8 => self.lines(bytes, |lines, one, two| lines.swap(one, two)),
            9 => self.lines(bytes, |lines, one, two| lines.insert(two, lines[one].clone())),
            10 => self.lines(bytes, |lines, one, _| drop(lines.remove(one))),
            11..=14 => self.number(bytes),
            15 => self.swap_words(bytes),
            16 | 17 => {
                let word = self.any(WORDS).to_le_bytes();
                let at = self.below(bytes.len().saturating_sub(3));
                bytes.iter_mut().skip(at).zip(word).for_each(|(byte, new)| *byte = new);
            }
            18 => {
                let piece = self.any(PIECES);
                self.put(bytes, piece.as_bytes());
            }
            _ => {
                let nested = self.any(&["[", "{\"a\":", "\"path\":{"]).repeat(self.below(NESTED));
                self.put(bytes, nested.as_bytes());
            }
        }
    }

    fn touch(&mut self, bytes: &mut [u8], new: impl FnOnce(&mut Self, u8) -> u8) {
        let at = self.below(bytes.len());
        if let Some(byte) = bytes.get_mut(at) {
            *byte = new(self, *byte);
        }
    }

    fn stretch(&mut self, bytes: &[u8]) -> std::ops::Range<usize> {
        let from = self.below(bytes.len() + 1);
        let most = (bytes.len() - from).min(STRETCH as usize);
        from..from + self.below(most + 1)
    }

    fn put(&mut self, bytes: &mut Vec<u8>, new: &[u8]) {
        let at = self.below(bytes.len() + 1);
        bytes.splice(at..at, new.iter().copied());
    }

    fn lines(&mut self, bytes: &mut Vec<u8>, change: impl FnOnce(&mut Vec<Vec<u8>>, usize, usize)) {
        let mut lines: Vec<Vec<u8>> = bytes
            .split_inclusive(|byte| *byte == b'\n')
            .map(<[u8]>::to_vec)
            .collect();
        if lines.is_empty() {
            return;
        }
        let (one, two) = (self.below(lines.len()), self.below(lines.len()));
        change(&mut lines, one, two);
        *bytes = lines.concat();
    }

    /// Puts an extreme in the place of a number.
    fn number(&mut self, bytes: &mut Vec<u8>) {
        let new = self.any(NUMBERS);
        let from = self.below(bytes.len());
        let begins = |at: usize| {
            let before = at.checked_sub(1).and_then(|at| bytes.get(at));
            bytes[at].is_ascii_digit() && before.is_none_or(|byte| b" :[,-".contains(byte))
        };
        let Some(start) = (from..bytes.len()).chain(0..from).find(|at| begins(*at)) else {
            return;
        };
        let digits = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        bytes.splice(start..start + digits, new.bytes());
    }

    /// Exchanges two quoted words, keys and values alike.
    fn swap_words(&mut self, bytes: &mut Vec<u8>) {
        let quotes: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] == b'"').collect();
        let words: Vec<(usize, usize)> = quotes.chunks_exact(2).map(|two| (two[0], two[1])).collect();
        if words.len() < 2 {
            return;
        }
        let (one, two) = (self.below(words.len()), self.below(words.len()));
        let ((a, b), (c, d)) = (words[one.min(two)], words[one.max(two)]);
        if b < c {
            let parts = [&bytes[..a], &bytes[c..d], &bytes[b..c], &bytes[a..b], &bytes[d..]];
            *bytes = parts.concat();
        }
    }
}
