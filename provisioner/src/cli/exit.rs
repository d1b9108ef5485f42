//! How a command ends: documented exit codes, and failures that say what to do next.

use std::fmt;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::{Output, code, out};

/// What a command's end means to a script (`docs/reference/cli.md` has the table).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All that was asked for is so.
    Done = 0,
    /// Something failed; the message says what.
    Failed = 1,
    /// The arguments are wrong. clap uses this one too.
    Usage = 2,
    /// A file that was given has problems; nothing was changed.
    Refused = 3,
    /// It went as far as it could: some machine is not Ready, or something is left.
    Incomplete = 4,
    /// Somebody else works on this cluster.
    Locked = 5,
    /// This computer lacks something: rights, a program, a kernel feature, room.
    Environment = 6,
    /// Ctrl-C. What exists is written down; the same command goes on.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do what was asked.
#[derive(Debug)]
pub struct Failure {
    /// How it ends.
    pub exit: Exit,
    /// The error with its causes; or a block of text that stands for itself.
    pub error: anyhow::Error,
    /// What to do about it: whole lines.
    pub hints: Vec<String>,
    /// Its code, where its type does not say it.
    pub code: Option<&'static str>,
    /// The single problems of a file, for programs.
    pub problems: Vec<Value>,
}

impl Failure {
    /// A failure of this kind.
    pub fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: error.into(), hints: Vec::new(), code: None, problems: Vec::new() }
    }

    /// A failure of this kind in one sentence.
    pub fn say(exit: Exit, message: impl fmt::Display) -> Self {
        Self::new(exit, anyhow::anyhow!("{message}"))
    }

    /// The same with one more thing to do about it.
    #[must_use]
    pub fn hint(mut self, line: impl Into<String>) -> Self {
        self.hints.push(line.into());
        self
    }

    /// The same with a code of [`code::CODES`].
    #[must_use]
    pub fn code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    /// What programs know it by.
    pub fn known_as(&self) -> &'static str {
        self.code.unwrap_or_else(|| code::of(&self.error, self.exit))
    }

    /// Prints the chain of causes once, then the hints, on stderr; for programs also as a last line on stdout.
    pub fn print(&self, output: Output) {
        if output == Output::Json {
            let line = json!({
                "v": 1, "event": "error", "code": self.known_as(), "exit": self.exit as u8,
                "message": chain(&self.error), "hints": self.hints, "problems": self.problems,
            });
            out::line(&line.to_string());
        }
        out::note(&format!("error: {}", chain(&self.error)));
        for hint in &self.hints {
            out::note(&format!("  {hint}"));
        }
    }
}

/// `outer: cause: its cause`, a cause left out where the outer text ends with it already.
fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(Exit::Failed, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn the_chain_is_printed_once_and_without_echo() {
        let inner: anyhow::Error = anyhow::anyhow!("no such file");
        let error = Err::<(), _>(inner).context("read keys/seed").context("open cluster lab1").unwrap_err();
        assert_eq!(chain(&error), "open cluster lab1: read keys/seed: no such file");
        let echo = Err::<(), _>(anyhow::anyhow!("full")).context("disk: full").unwrap_err();
        assert_eq!(chain(&echo), "disk: full");
    }
}
