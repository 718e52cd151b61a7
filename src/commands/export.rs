//! `export`: parts of a backup, or all of it, as a tar archive that every tar reads.
//!
//! The archive ends where something is damaged, without the blocks that end an archive; a file of `--output` is then not put in place.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::archive::reading::ReadingError;
use crate::archive::reading::export::{Out, TarTaker};
use crate::archive::reading::extract::extract;
use crate::archive::reading::picks::Picks;
use crate::archive::unpack::UnpackError;
use crate::diagnostic::{Code, Diagnostic};
use crate::outcome::Outcome;
use crate::source::SinkError;
use crate::units::{ByteCount, counted};

use super::request::ExportRequest;
use super::results::Results;
use super::{Session, reading};

/// Writes the archive.
pub async fn run(request: ExportRequest, session: &Session) -> Outcome {
    if session.results.is_terminal() {
        let problem = Diagnostic::error(Code::Usage, "an archive is not written to a terminal")
            .state("nothing was read")
            .help("name a file, `-o backup.tar`, or a program behind `|`");
        return Outcome::failed("export", "", vec![problem]);
    }
    let opened = match reading::open(session, &request.from).await {
        Ok(opened) => opened,
        Err(failure) => return Outcome::failed("export", "", failure),
    };
    let (from, results) = (opened.reading, Arc::clone(&session.results));
    reading::read("export", opened.warnings, opened.instead, move |outcome| {
        let mut wanted = Vec::new();
        for path in &request.paths {
            let Some(path) = reading::find(&from, Some(path))? else {
                wanted.clear();
                break;
            };
            wanted.push(path);
        }
        let seen = Arc::new(AtomicBool::new(false));
        results.begin_bytes()?;
        let out = Archive {
            results,
            seen: Arc::clone(&seen),
        };
        let taken = |error: SinkError| ReadingError::from(UnpackError::Sink(error));
        let mut taker = TarTaker::new(request.form, Box::new(out)).map_err(taken)?;
        let mut picks = Picks::new(&from, wanted);
        let extracted = extract(&from, move || picks.next_entry(), &mut taker)
            .and_then(|extracted| taker.finish().map(|()| extracted).map_err(taken));
        if seen.load(Ordering::Relaxed) {
            return Ok(());
        }
        let extracted = extracted?;
        let bytes = ByteCount(extracted.bytes);
        outcome.headline = format!(
            "{} of backup {}, {bytes}",
            counted(extracted.entries, "entry"),
            from.record().id
        );
        outcome.json.insert("backup".into(), from.record().id.as_str().into());
        outcome.json.insert("entries".into(), extracted.entries.into());
        outcome.json.insert("bytes".into(), extracted.bytes.into());
        Ok(())
    })
    .await
}

/// Hands the archive on.
struct Archive {
    results: Arc<dyn Results>,
    seen: Arc<AtomicBool>,
}

impl Out for Archive {
    fn put(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        let put = self.results.bytes(bytes);
        put.map_err(|closed| reading::sink_error(closed, &self.seen))
    }
}
