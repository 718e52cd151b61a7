//! The end of the journal, under the lock: reads what others wrote, mends what a crash left, adds one line.

use std::io::{self, Write};

use super::JournalError;
use super::chain::{Line, Tip};
use super::cursor::Cursor;
use super::entry::{Entry, Event};
use super::head::Head;
use super::recovery::{self, Recovered};
use super::restart;
use super::writer::{Setup, Subject};
use crate::limits;
use crate::state::StateFolder;

/// The journal's end.
pub(super) struct Tail {
    pub(super) folder: StateFolder,
    pub(super) setup: Setup,
    pub(super) cursor: Cursor,
    pub(super) subject: Option<Subject>,
    /// Writes that a test lets fail for want of space.
    #[cfg(test)]
    pub(super) full_for: usize,
}

impl Tail {
    pub(super) fn new(folder: StateFolder, setup: Setup, cursor: Cursor) -> Self {
        Self {
            folder,
            setup,
            cursor,
            subject: None,
            #[cfg(test)]
            full_for: 0,
        }
    }

    /// Where the chain stands.
    pub(super) fn tip(&self) -> Option<Tip> {
        self.cursor.tip()
    }

    /// Reads all there is, begins what is empty, and moves an unfinished last line aside. With `head`, what it says must
    /// be so, and the journal must reach as far.
    pub(super) fn read_to_the_end(&mut self, head: Option<Head>) -> Result<Option<Recovered>, JournalError> {
        let torn = loop {
            let torn = self.cursor.read_on(&self.folder, head)?;
            if !self.cursor.closed {
                break torn;
            }
            self.cursor.next_segment(&self.folder)?;
        };
        self.check_length(head, &torn)?;
        if !torn.is_empty() {
            let now = self.setup.clock.now().timestamp();
            recovery::move_aside(&self.folder, &self.cursor, &torn, now)?;
        }
        if self.cursor.is_empty() {
            self.begin_segment()?;
        }
        // Only where something may have been moved aside: at the begin, and when it just was.
        let mut recovered = None;
        if head.is_some() || !torn.is_empty() {
            for found in recovery::unmentioned(&self.folder, &self.cursor)? {
                self.put(&found.entry())?;
                recovered = Some(found);
            }
        }
        Ok(recovered)
    }

    /// A journal that ends before its head was cut, unless the line in question is the unfinished one.
    fn check_length(&self, head: Option<Head>, torn: &[u8]) -> Result<(), JournalError> {
        let lines = self.tip().map_or(0, |tip| tip.next);
        let unfinished = u64::from(!torn.is_empty());
        match head {
            Some(Head { size, .. }) if size > lines + unfinished => {
                let what = format!("{size} records were synced and {lines} are there");
                Err(JournalError::broken(self.cursor.name(), None, what))
            }
            _ => Ok(()),
        }
    }

    /// Writes the first record of a segment: of the log, its origin; of a later one, what it follows.
    fn begin_segment(&mut self) -> Result<(), JournalError> {
        if let Some(entry) = self.cursor.start_entry() {
            return self.put(&entry);
        }
        let mut random = [0_u8; 16];
        let drawn = self.setup.clock.random(&mut random);
        drawn.map_err(JournalError::io(self.folder.path()))?;
        let origin = format!("strongroom/{}", hex::encode(random));
        self.cursor.begin_log(&origin);
        let first = restart::first_entry(&self.folder, &origin)?;
        self.put(&first)
    }

    /// Closes the segment where it is large enough and opens the next one.
    pub(super) fn rotate(&mut self) -> Result<(), JournalError> {
        if self.cursor.offset < self.setup.segment_bytes {
            return Ok(());
        }
        self.put(&Entry::new(Event::SegmentEnd))?;
        self.sync()?;
        self.cursor.next_segment(&self.folder)?;
        self.begin_segment()
    }

    /// Makes all lines of the segment durable.
    pub(super) fn sync(&self) -> Result<(), JournalError> {
        let path = self.folder.path().join(self.cursor.name());
        self.cursor.file.sync_data().map_err(JournalError::io(&path))
    }

    /// Adds one line by one write, not yet synced. A line that could not be written whole is taken back.
    pub(super) fn put(&mut self, entry: &Entry) -> Result<(), JournalError> {
        let mut bytes = self.line(entry)?.into_bytes();
        let line = Line::parse(&bytes).map_err(|what| JournalError::broken(self.cursor.name(), None, what))?;
        bytes.push(b'\n');
        if let Err(error) = self.write(&bytes) {
            let path = self.folder.path().join(self.cursor.name());
            let taken_back = self.cursor.file.set_len(self.cursor.offset);
            taken_back.map_err(|source| JournalError::Io {
                path: path.clone(),
                source,
            })?;
            return Err(JournalError::io(&path)(error));
        }
        bytes.pop();
        self.cursor.take(&bytes, &line);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        #[cfg(test)]
        if self.full_for > 0 {
            self.full_for -= 1;
            // As a disk does it: a part of the line fits.
            self.cursor.file.write_all(bytes.get(..10).unwrap_or_default())?;
            return Err(rustix::io::Errno::NOSPC.into());
        }
        let written = self.cursor.file.write(bytes)?;
        match bytes.get(written..) {
            None | Some([]) => Ok(()),
            // The rest is tried so that the operating system says why; alone it would not be one write.
            Some(rest) => self.cursor.file.write_all(rest),
        }
    }

    /// The entry's line. Where it would be too long, its longest fields are left out and say so.
    fn line(&self, entry: &Entry) -> Result<String, JournalError> {
        let tip = self.tip().unwrap_or_else(|| Tip::of_origin(""));
        let ts = self.setup.clock.now().timestamp();
        let render = |entry: &Entry| entry.line(tip, ts, self.subject.as_ref(), &self.setup.scrub);
        let mut line = render(entry);
        if line.len() >= limits::JOURNAL_LINE_MAX {
            let mut lighter = entry.clone();
            for (_, value) in &mut lighter.fields {
                let bytes = value.to_string().len();
                if bytes > limits::JOURNAL_LINE_MAX / 64 {
                    *value = format!("({bytes} bytes left out)").into();
                }
            }
            line = render(&lighter);
        }
        if line.len() >= limits::JOURNAL_LINE_MAX {
            return Err(JournalError::TooLong { bytes: line.len() });
        }
        Ok(line)
    }
}
