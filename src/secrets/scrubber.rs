//! Takes known secret values out of everything printed, in every form in which they may appear.

use std::borrow::Cow;
use std::io::Write;
use std::sync::{Arc, PoisonError, RwLock};

use zeroize::{Zeroize, Zeroizing};

use crate::limits::{OUTPUT_KEPT, OUTPUT_SHOWN, SCRUB_LINE_MAX};
use crate::secret::Secret;
use crate::sensitive::known::{KnownValues, TooLarge, replace};

/// What a secret is replaced by in what is printed.
const MASK: &str = "***";

/// Knows secret values and replaces each by `***`. Clones share what they know, also what is added later.
#[derive(Clone, Default)]
pub struct Scrubber(Arc<RwLock<Knowledge>>);

#[derive(Default)]
struct Knowledge {
    values: Vec<Secret<String>>,
    known: Option<Arc<KnownValues>>,
}

impl std::fmt::Debug for Scrubber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Scrubber({} values)", self.values().len())
    }
}

impl Scrubber {
    /// A scrubber that knows nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Learns a value.
    ///
    /// # Errors
    /// When there are too many values to seek them together; the value is then not known.
    pub fn add(&self, value: &Secret<String>) -> Result<(), TooLarge> {
        self.add_all([value.clone()])
    }

    /// Learns several values at the price of one.
    ///
    /// # Errors
    /// When there are too many values to seek them together; the values are then not known.
    pub fn add_all(&self, values: impl IntoIterator<Item = Secret<String>>) -> Result<(), TooLarge> {
        let mut knowledge = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut all = knowledge.values.clone();
        for value in values {
            if !value.expose().is_empty() && !all.contains(&value) {
                all.push(value);
            }
        }
        if all.len() > knowledge.values.len() {
            knowledge.known = Some(Arc::new(KnownValues::new(&all)?));
            knowledge.values = all;
        }
        Ok(())
    }

    /// Every value learnt so far.
    pub fn values(&self) -> Vec<Secret<String>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).values.clone()
    }

    /// `text` without the values.
    pub fn scrub<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match self.scrub_bytes(text.as_bytes()) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            // Forms are UTF-8 and so is their replacement, but a form may be found inside a character only where
            // characters are cut, which `str` does not allow; lossy reading never has anything to lose.
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }

    /// `bytes` without the values.
    pub fn scrub_bytes<'t>(&self, bytes: &'t [u8]) -> Cow<'t, [u8]> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).known.clone();
        match known.and_then(|known| replace(&known, bytes, MASK.as_bytes())) {
            Some(mut scrubbed) => Cow::Owned(std::mem::take(&mut *scrubbed)),
            None => Cow::Borrowed(bytes),
        }
    }
}

/// Whether a text begins where it did, or was cut there, perhaps in the middle of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beginning {
    /// It is the whole text.
    Whole,
    /// Something stood before it.
    Cut,
}

impl Scrubber {
    /// What a program said, as far as it was kept and can be shown, without the values.
    pub fn said(&self, kept: &[u8]) -> String {
        let beginning = if kept.len() < OUTPUT_KEPT {
            Beginning::Whole
        } else {
            Beginning::Cut
        };
        self.scrub_end(kept, beginning, OUTPUT_SHOWN)
    }

    /// The end of a text, without the values: at most `shown` bytes, whole lines where it has any.
    fn scrub_end(&self, bytes: &[u8], beginning: Beginning, shown: usize) -> String {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).known.clone();
        let mut from = match (&known, beginning) {
            (Some(known), Beginning::Cut) => known.longest().min(bytes.len()),
            _ => 0,
        };
        let mut clean = Zeroizing::new(Vec::new());
        for found in known.map(|known| known.find(bytes)).unwrap_or_default() {
            if found.end <= from {
                continue;
            }
            clean.extend_from_slice(bytes.get(from..found.start).unwrap_or_default());
            clean.extend_from_slice(MASK.as_bytes());
            from = found.end;
        }
        clean.extend_from_slice(bytes.get(from..).unwrap_or_default());
        let text = String::from_utf8_lossy(&clean);
        let text = text.trim();
        if text.len() <= shown {
            return text.to_owned();
        }
        let end = text
            .get(text.ceil_char_boundary(text.len() - shown)..)
            .unwrap_or_default();
        let lines = end.split_once('\n').map_or(end, |(_, lines)| lines);
        format!("\u{2026} {lines}")
    }
}

/// Scrubs what is written line by line. An unfinished line is held back until it ends or the writer is dropped, so that
/// no value passes in two halves.
pub struct ScrubbingWriter<W: Write> {
    scrubber: Scrubber,
    inner: W,
    held: Vec<u8>,
}

impl<W: Write> ScrubbingWriter<W> {
    /// Scrubs what goes to `inner`.
    pub fn new(inner: W, scrubber: Scrubber) -> Self {
        Self {
            scrubber,
            inner,
            held: Vec::new(),
        }
    }

    /// Writes the unfinished line.
    ///
    /// # Errors
    /// When `inner` takes no more.
    pub fn finish(mut self) -> std::io::Result<()> {
        self.pass(self.held.len())?;
        self.inner.flush()
    }

    fn pass(&mut self, length: usize) -> std::io::Result<()> {
        let whole: Vec<u8> = self.held.drain(..length).collect();
        self.inner.write_all(&self.scrubber.scrub_bytes(&whole))
    }
}

impl<W: Write> Write for ScrubbingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.held.extend_from_slice(bytes);
        let held = self.held.len();
        if let Some(end) = self.held.iter().rposition(|b| *b == b'\n') {
            self.pass(end + 1)?;
        } else if held > SCRUB_LINE_MAX {
            // A line without end is cut where a blank is, which values rarely have.
            let half = held / 2;
            let blank = self.held.iter().rposition(|b| *b == b' ').filter(|at| *at >= half);
            self.pass(blank.unwrap_or(held))?;
        }
        Ok(bytes.len())
    }

    /// Flushes whole lines; the unfinished one stays held back.
    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

impl<W: Write> Drop for ScrubbingWriter<W> {
    fn drop(&mut self) {
        // A log that cannot be written must not fail what is logged.
        let _ = self.pass(self.held.len());
        let _ = self.inner.flush();
        self.held.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrubber(values: &[&str]) -> Scrubber {
        let scrubber = Scrubber::new();
        let values = values.iter().map(|value| Secret::new((*value).to_owned()));
        scrubber.add_all(values).unwrap();
        scrubber
    }

    #[test]
    fn clones_learn_together() {
        let scrubber = Scrubber::new();
        let clone = scrubber.clone();
        assert_eq!(clone.scrub("a hunter22 b"), "a hunter22 b");
        scrubber.add(&Secret::new("hunter22".to_owned())).unwrap();
        assert_eq!(clone.scrub("a hunter22 b"), "a *** b");
        assert!(matches!(clone.scrub("nothing"), Cow::Borrowed(_)));
    }

    #[test]
    fn the_end_of_an_output_shows_no_half_of_a_value() {
        let scrubber = scrubber(&["hunter22-and-more"]);
        let end = |text: &str, beginning, shown| scrubber.scrub_end(text.as_bytes(), beginning, shown);
        let whole = Beginning::Whole;
        assert_eq!(end("one hunter22-and-more two\n", whole, 100), "one *** two");
        // What is left of a value that was cut at the beginning is not known as one, so nothing of that length is shown.
        let cut = end(&format!("22-and-more {}", "x".repeat(40)), Beginning::Cut, 100);
        assert!(!cut.contains("more") && cut.ends_with("xxx"), "{cut}");
        assert_eq!(end("22-and-more", Beginning::Cut, 100), "");
        // A value that the end of that stretch cuts in two is masked as a whole.
        let longest = scrubber.0.read().unwrap().known.as_ref().unwrap().longest();
        let straddling = format!("{}hunter22-and-more tail", " ".repeat(longest - 5));
        assert_eq!(end(&straddling, Beginning::Cut, 100), "*** tail");
        assert_eq!(end("first\nsecond\nthird", whole, 10), "\u{2026} third");
        assert_eq!(
            end(&"\u{e4}".repeat(10), whole, 5),
            format!("\u{2026} {}", "\u{e4}".repeat(2))
        );
        assert_eq!(
            end("out \u{1b}[2J", whole, 100),
            "out \u{1b}[2J",
            "the report writes it out"
        );
    }

    #[test]
    fn a_value_written_in_halves_is_scrubbed() {
        let mut out = Vec::new();
        let mut writer = ScrubbingWriter::new(&mut out, scrubber(&["hunter22"]));
        for piece in ["one hun", "ter22", "\ntwo ", "hunter", "22"] {
            writer.write_all(piece.as_bytes()).unwrap();
            writer.flush().unwrap();
        }
        drop(writer);
        assert_eq!(out, b"one ***\ntwo ***");
    }

    #[test]
    fn a_line_without_end_is_bounded() {
        let mut out = Vec::new();
        let mut writer = ScrubbingWriter::new(&mut out, scrubber(&["hunter22"]));
        let block = vec![b'x'; 1000];
        for _ in 0..2000 {
            writer.write_all(&block).unwrap();
            assert!(writer.held.len() <= SCRUB_LINE_MAX + 1000);
        }
        writer.finish().unwrap();
        assert_eq!(out.len(), 2_000_000);
    }
}
