//! Judges a service's data: databases whole, log whole and without gap, no projection ahead of its log.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::Error;
use crate::log::{read, segments};
use crate::projections::{Projection, Subject, expected};

/// What was found.
pub(crate) struct Report {
    segments: usize,
    last_seq: u64,
    projections: Map<String, Value>,
    pub(crate) problems: Vec<String>,
}

impl Report {
    /// The report as one JSON object.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "ok": self.problems.is_empty(),
            "segments": self.segments,
            "last_seq": self.last_seq,
            "projections": self.projections,
            "problems": self.problems,
        })
    }
}

/// Checks the data in `folder`, or in the `data` folder in it.
pub(crate) fn check(folder: &Path) -> Result<Report, Error> {
    let data = [folder.to_owned(), folder.join("data")]
        .into_iter()
        .find(|path| path.join("events").is_dir())
        .ok_or_else(|| Error::NoData(folder.to_owned()))?;
    let mut report = Report {
        segments: 0,
        last_seq: 0,
        projections: Map::new(),
        problems: Vec::new(),
    };
    let rows = log(&data.join("events"), &mut report)?;
    for subject in Subject::ALL {
        if let Err(error) = projection(&data.join("projections"), subject, &rows, &mut report) {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            let name = subject.name();
            report.problems.push(format!(
                "projection {name}: {}",
                cause.unwrap_or_else(|| error.to_string())
            ));
        }
    }
    Ok(report)
}

/// Reads the log; gives how many rows a projection must have after each event.
fn log(folder: &Path, report: &mut Report) -> Result<Vec<u64>, Error> {
    let paths = segments(folder)?;
    report.segments = paths.len();
    if paths.is_empty() {
        report.problems.push("the log has no segment".to_owned());
    }
    let mut rows = vec![0];
    for path in paths {
        let name = shown(&path);
        let outcome = read(&path, |event| {
            if event.seq != report.last_seq + 1 {
                let text = format!("{name}: event {} follows event {}", event.seq, report.last_seq);
                report.problems.push(text);
            }
            report.last_seq = event.seq;
            rows.push(rows.last().copied().unwrap_or(0) + expected(&event));
            Ok(())
        });
        match outcome {
            Ok(true) => {}
            Ok(false) => report.problems.push(format!("{name}: ends with an unfinished record")),
            Err(Error::Event { line, source, .. }) => {
                report
                    .problems
                    .push(format!("{name}: line {line} is not an event: {source}"));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(rows)
}

fn projection(folder: &Path, subject: Subject, rows: &[u64], report: &mut Report) -> Result<(), Error> {
    let projection = Projection::look(folder, subject)?;
    let name = projection.name();
    let integrity = projection.integrity()?;
    let last = projection.last_seq()?;
    let facts = json!({ "integrity": integrity, "last_seq": last, "behind": report.last_seq.saturating_sub(last) });
    report.projections.insert(name.to_owned(), facts);
    if integrity != "ok" {
        report.problems.push(format!("projection {name}: {integrity}"));
    }
    if last > report.last_seq {
        let text = format!(
            "projection {name}: is at event {last}, its log ends with {}",
            report.last_seq
        );
        report.problems.push(text);
    }
    let known = usize::try_from(last).ok().and_then(|index| rows.get(index)).copied();
    if let Some(due) = known
        && projection.rows()? != due
    {
        report
            .problems
            .push(format!("projection {name}: does not hold what its log says"));
    }
    Ok(())
}

fn shown(path: &Path) -> String {
    let name: PathBuf = path
        .components()
        .rev()
        .take(2)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .collect();
    name.display().to_string()
}
