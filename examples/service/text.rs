//! Invented text and numbers: always the same for the same seed, except secrets, which are drawn afresh.

use crate::Error;

const WORDS: &[&str] = &[
    "ledger", "harbour", "review", "invoice", "signal", "garden", "window", "station", "draft", "river", "binding",
    "morning", "engine", "paper", "needle", "copper", "orchard", "bridge", "lantern", "archive", "voyage", "timber",
    "meadow", "anchor", "the", "and", "with", "after", "before", "under", "again", "never", "slowly", "café", "größer",
];

pub(crate) const PEOPLE: &[&str] = &["ada", "blaise", "carl", "emmy", "grace", "sofia"];

/// A small generator (xorshift64*): good enough for invented text, useless for secrets.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 11) % bound.max(1)
    }

    pub(crate) fn one_of<'a>(&mut self, list: &[&'a str]) -> &'a str {
        let index = usize::try_from(self.below(list.len() as u64)).unwrap_or(0);
        list.get(index).copied().unwrap_or_default()
    }

    pub(crate) fn sentence(&mut self, words: u64) -> String {
        let mut text = String::new();
        for index in 0..words {
            if index > 0 {
                text.push(' ');
            }
            text.push_str(self.one_of(WORDS));
        }
        text
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}

/// A fake secret: random letters and digits, drawn from the system, valid nowhere.
pub(crate) fn secret(length: usize) -> Result<String, Error> {
    const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut random = vec![0_u8; length];
    getrandom::fill(&mut random).map_err(Error::Random)?;
    let letter = |byte: u8| char::from(LETTERS.get(usize::from(byte) % LETTERS.len()).copied().unwrap_or(b'x'));
    Ok(random.into_iter().map(letter).collect())
}
