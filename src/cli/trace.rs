//! Log lines on the standard error, each scrubbed of every secret value that the run knows.

use std::io;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::diagnostic::{Code, Diagnostic};
use crate::secrets::Scrubber;

use super::screen::Screen;

/// What is logged for no `-v`, `-v`, `-vv`, `-vvv`.
const LEVELS: [&str; 4] = [
    "error",
    "warn,strongroom=info",
    "info,strongroom=debug",
    "debug,strongroom=trace",
];

/// Starts logging and says whether debug logging was asked for, which protected environments refuse.
///
/// `variable` is the value of `STRONGROOM_LOG` and goes before `-v`.
pub(super) fn start(
    verbosity: u8,
    variable: Option<&str>,
    screen: &Screen,
    scrubber: &Scrubber,
) -> Result<bool, Box<Diagnostic>> {
    let filter = filter(verbosity, variable)?;
    let debug_requested = shows_debug(&filter);
    let lines = Lines {
        screen: screen.clone(),
        scrubber: scrubber.clone(),
    };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(lines)
        .finish();
    tracing::subscriber::set_global_default(subscriber).map_err(|error| {
        Box::new(Diagnostic::error(Code::Internal, "logging was started twice").why(error.to_string()))
    })?;
    Ok(debug_requested)
}

fn filter(verbosity: u8, variable: Option<&str>) -> Result<EnvFilter, Box<Diagnostic>> {
    let directives = match variable {
        Some(text) if !text.trim().is_empty() => text,
        _ => LEVELS
            .get(usize::from(verbosity))
            .copied()
            .unwrap_or("debug,strongroom=trace"),
    };
    EnvFilter::try_new(directives).map_err(|error| {
        Box::new(
            Diagnostic::error(Code::Usage, "`STRONGROOM_LOG` is not a filter")
                .why(error.to_string())
                .help("write a level, or levels by module: `strongroom=info,object_store=warn`"),
        )
    })
}

fn shows_debug(filter: &EnvFilter) -> bool {
    // A filter that cannot say how much it lets through may let everything through.
    filter.max_level_hint().is_none_or(|level| level >= LevelFilter::DEBUG)
}

/// Makes one writer an event.
struct Lines {
    screen: Screen,
    scrubber: Scrubber,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line {
            lines: self,
            text: Vec::new(),
        }
    }
}

/// Collects an event and lets it out as a whole, so that no secret value is cut in two on its way through the scrubber.
struct Line<'a> {
    lines: &'a Lines,
    text: Vec<u8>,
}

impl io::Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let text = String::from_utf8_lossy(&self.text);
        self.lines.screen.write(&self.lines.scrubber.scrub(&text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debugging_is_seen_however_it_is_asked_for() {
        let shows = |verbosity, variable| shows_debug(&filter(verbosity, variable).unwrap());
        assert!(!shows(0, None));
        assert!(!shows(1, None));
        assert!(shows(2, None) && shows(9, None));
        assert!(shows(0, Some("strongroom::pipeline=trace")));
        assert!(!shows(2, Some("strongroom=info")));
    }

    #[test]
    fn a_wrong_filter_is_a_usage_problem() {
        let refused = filter(0, Some("strongroom=loud")).unwrap_err();
        assert_eq!(refused.code, Code::Usage);
        assert!(refused.help.is_some());
    }
}
