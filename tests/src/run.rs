//! Commands: run to their end, or followed event by event.

use std::fmt;
use std::io::{BufRead, BufReader, Lines, Read};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::thread::JoinHandle;

use serde_json::Value;

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// What was run.
    pub command: String,
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it printed on stdout.
    pub out: String,
    /// What it printed on stderr.
    pub err: String,
}

impl Ended {
    pub(crate) fn of(args: &[&str], output: Output) -> Self {
        Self {
            command: format!("continuum {}", args.join(" ")),
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The events that it printed (`-o json`).
    pub fn events(&self) -> Vec<Value> {
        events(&self.out)
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { command, code, out, err } = self;
        write!(f, "`{command}` ended with {code:?}\n{out}\n{err}")
    }
}

/// Events, one a line.
pub fn events(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A command that runs, with `-o json`.
pub struct Running {
    command: String,
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    said: Vec<String>,
    errors: Option<JoinHandle<String>>,
}

impl Running {
    pub(crate) fn new(args: &[&str], mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut stderr = child.stderr.take().unwrap();
        let errors = std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stderr.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        Self {
            command: format!("continuum {}", args.join(" ")),
            child,
            lines,
            said: Vec::new(),
            errors: Some(errors),
        }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has printed so many events in all; `false` if it ended before.
    pub fn after(&mut self, events: usize) -> bool {
        while self.said.len() < events {
            match self.lines.next() {
                Some(Ok(line)) => self.said.push(line),
                _ => return false,
            }
        }
        true
    }

    /// Waits until an event is such; the command must not end before.
    pub fn until(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) {
        loop {
            let seen = self.said.len();
            assert!(self.after(seen + 1), "{} ended before {what}: {:#?}", self.command, self.said);
            if serde_json::from_str(&self.said[seen]).is_ok_and(|event| wanted(&event)) {
                return;
            }
        }
    }

    /// Kills it: it has no chance to write anything down.
    pub fn kill(mut self) -> Ended {
        self.child.kill().unwrap();
        self.end()
    }

    /// Sends what Ctrl-C sends.
    pub fn interrupt(&self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ended {
        while let Some(Ok(line)) = self.lines.next() {
            self.said.push(line);
        }
        let status = self.child.wait().unwrap();
        let err = self.errors.take().map(|thread| thread.join().unwrap()).unwrap_or_default();
        // A line that a kill has cut in half is no event.
        let whole = |line: &&String| serde_json::from_str::<Value>(line).is_ok();
        let out: Vec<&str> = self.said.iter().filter(whole).map(String::as_str).collect();
        Ended { command: std::mem::take(&mut self.command), code: status.code(), out: out.join("\n"), err }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Only its own child, and only if nobody has waited for it.
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
