//! `keys`: makes an identity; shows, seals anew or rotates the keys of an environment.

use std::path::Path;

use crate::clock;
use crate::crypto::age::Identity;
use crate::diagnostic::{Code, Diagnostic};
use crate::fs::atomic::AtomicFile;
use crate::outcome::Outcome;
use crate::pipeline::run::Options;
use crate::pipeline::run::upkeep::{self, KeysChange};

use super::request::{KeysAction, KeysRequest};
use super::{Session, keeping};

/// Does what was asked for.
pub async fn run(request: KeysRequest, session: &Session) -> Outcome {
    let (environment, action) = match request {
        KeysRequest::New(path) => return new(&path, session),
        KeysRequest::Of(environment, action) => (environment, action),
    };
    let confirm = match &action {
        KeysAction::Show { .. } => None,
        KeysAction::Add { confirm, .. } | KeysAction::Rotate { confirm } => confirm.clone(),
    };
    let options = Options {
        confirm,
        ..Options::default()
    };
    let kept = match keeping::open(session, &environment, options) {
        Ok(kept) => kept,
        Err(failure) => return Outcome::failed("keys", "", failure),
    };
    let upkeep = kept.upkeep();
    match &action {
        KeysAction::Show { identity } => upkeep::show_keys(&upkeep, identity.as_deref()).await,
        KeysAction::Add { identity, .. } => upkeep::change_keys(&upkeep, KeysChange::Add(identity.as_deref())).await,
        KeysAction::Rotate { .. } => upkeep::change_keys(&upkeep, KeysChange::Rotate).await,
    }
}

/// Makes an identity in a file of its own.
fn new(path: &Path, session: &Session) -> Outcome {
    let identity = match Identity::generate() {
        Ok(identity) => identity,
        Err(error) => {
            let problem = Diagnostic::error(Code::Internal, "no key can be made").why(error.to_string());
            return Outcome::failed("keys", "", vec![problem.state("nothing was written")]);
        }
    };
    let recipient = identity.recipient().to_string();
    let made = clock::written(&session.clock.now());
    // The form of `age-keygen`, so that both programs read both files.
    let text = zeroize::Zeroizing::new(format!(
        "# created: {made}\n# public key: {recipient}\n{}\n",
        identity.text().expose()
    ));
    if let Err(error) = write_new(path, text.as_bytes()) {
        return Outcome::failed("keys", "", vec![unwritten(path, &error)]);
    }
    let mut outcome = Outcome::new("keys", format!("made a key in `{}`", path.display()));
    outcome.field("recipient", "recipient", recipient.clone(), &recipient);
    outcome.field(
        "file",
        "identity",
        path.display().to_string(),
        path.display().to_string(),
    );
    outcome.field(
        "next",
        "next",
        "write the recipient into `recipients` of the environment; keep the file off the host that backs up, and a second key elsewhere",
        "add-recipient",
    );
    outcome
}

fn write_new(path: &Path, text: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut file = AtomicFile::create(path, 0o600)?;
    file.write_all(text)?;
    file.commit_new()
}

fn unwritten(path: &Path, error: &std::io::Error) -> Diagnostic {
    let problem = Diagnostic::error(
        Code::Usage,
        format!("the key cannot be written to `{}`", path.display()),
    )
    .why(error.to_string())
    .state("no key was made");
    if error.kind() == std::io::ErrorKind::AlreadyExists {
        return problem.help("give another name: a key that is replaced is lost, and with it what only it opens");
    }
    problem.help("give a file in a folder that is there and may be written")
}
