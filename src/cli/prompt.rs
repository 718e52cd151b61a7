//! Asks the operator at the terminal.

use std::io::{Error, ErrorKind, Result};

use async_trait::async_trait;
use tokio::sync::oneshot;

use crate::commands::Prompt;
use crate::report::human;

use super::screen::Screen;

/// The terminal: questions on the standard error, answers from the standard input.
pub(super) struct Terminal {
    screen: Screen,
}

impl Terminal {
    /// Asks on `screen`.
    pub(super) fn new(screen: Screen) -> Self {
        Self { screen }
    }
}

#[async_trait]
impl Prompt for Terminal {
    async fn ask(&self, question: &str) -> Result<String> {
        self.screen.pause();
        self.screen.write(&format!("{} ", human::clean(question)));
        let (sender, receiver) = oneshot::channel();
        // A thread of its own: it may sit in `read` for ever, and the runtime's pool would wait for it at the end.
        std::thread::Builder::new().name("prompt".into()).spawn(move || {
            // The receiver is gone when the run was stopped meanwhile; then nobody wants the answer.
            let _ = sender.send(read_line());
        })?;
        let answer = receiver.await.map_err(|_| Error::from(ErrorKind::UnexpectedEof))?;
        self.screen.resume();
        answer
    }
}

fn read_line() -> Result<String> {
    let mut line = String::new();
    match std::io::stdin().read_line(&mut line)? {
        0 => Err(Error::new(ErrorKind::UnexpectedEof, "the terminal's input ended")),
        _ => Ok(line.trim().to_owned()),
    }
}
