//! `explain-error`: what an error code means and what to do. The text is that of `docs/errors.md`, built in.

use crate::diagnostic::{Code, Diagnostic};
use crate::outcome::Outcome;

use super::Session;
use super::request::ExplainErrorRequest;

const PAGE: &str = include_str!("../../docs/errors.md");

/// Gives the page's part on the code.
pub fn run(request: ExplainErrorRequest, _: &Session) -> Outcome {
    let wanted = request
        .code
        .trim()
        .trim_start_matches("error[")
        .trim_start_matches("warning[")
        .trim_end_matches(']');
    let Some(code) = Code::ALL.iter().find(|code| code.as_str() == wanted) else {
        let near = Code::ALL
            .iter()
            .map(|c| c.as_str())
            .max_by(|a, b| strsim::jaro_winkler(a, wanted).total_cmp(&strsim::jaro_winkler(b, wanted)));
        let problem = Diagnostic::error(Code::Usage, format!("there is no error code `{wanted}`"))
            .state("nothing was started")
            .help(format!(
                "did you mean `{}`? `docs/errors.md` has all of them",
                near.unwrap_or_default()
            ));
        return Outcome::failed("explain-error", "", vec![problem]);
    };
    let mut outcome = Outcome::new("explain-error", "");
    outcome.text = Some(part(code.as_str()).unwrap_or_else(|| format!("{}: not described\n", code.as_str())));
    outcome.field("code", "code", code.as_str(), code.as_str());
    outcome.field(
        "exit-code",
        "exit code",
        code.exit().number().to_string(),
        code.exit().number(),
    );
    outcome
}

/// The heading of `code` and what stands below it.
fn part(code: &str) -> Option<String> {
    let mut lines = PAGE
        .lines()
        .skip_while(|line| line.trim_start_matches('#').trim().trim_matches('`') != code || !line.starts_with('#'));
    let heading = lines.next()?;
    let body: Vec<&str> = lines.take_while(|line| !line.starts_with('#')).collect();
    Some(format!(
        "{}\n{}\n",
        heading.trim_start_matches('#').trim(),
        body.join("\n").trim_end()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_part() {
        for code in Code::ALL {
            assert!(part(code.as_str()).is_some(), "{}", code.as_str());
        }
    }
}
