//! What travels between us and `driver.sh`: one request there, events and output back. Pure.
//!
//! ```text
//! to the machine                     from the machine
//!   unit NAME                          (whatever a login shell prints)
//!   timeout SECONDS                    continuum 1
//!   time SECONDS       our clock's
//!   cap BYTES                          need SHA256        a blob is missing: upload, ask again
//!   have ATTEMPT OFFSET                attempt ID         which run of the unit the output is of
//!   blob SHA256 SIZE …                 out OFFSET LENGTH  + that many bytes
//!   script LENGTH      + bytes         beat               nothing new, still here
//!   file NAME LENGTH   + bytes …       tail LENGTH        + that many bytes: the last lines
//!   end                                done STATUS REASON changed|unchanged
//!   told               (after done)    refuse WORDS       this machine cannot do it
//! ```
//! A job's secrets are in the script and the files, so only in the bytes of the channel.

use std::time::Duration;

use secrecy::ExposeSecret;
use zeroize::Zeroizing;

use super::{Blob, Job};

/// Our side of every conversation; sent along with each, so that both sides are of one version.
pub(super) const DRIVER: &str = include_str!("../driver.sh");

/// Bytes of output kept of one job: enough for a package manager gone mad, little enough for a laptop's disk.
pub(super) const OUTPUT_CAP: u64 = 16 * 1024 * 1024;

/// What a login shell may print before our first line.
const NOISE_CAP: usize = 64 * 1024;
/// The longest line of ours, and the largest tail (the driver sends at most 8 KiB).
const LINE_CAP: usize = 4096;
const TAIL_CAP: u64 = 64 * 1024;

/// The command of an exec channel: takes the driver from stdin and becomes it. It holds nothing secret.
pub(super) fn command(verb: &str) -> String {
    let length = DRIVER.len();
    format!(
        "umask 077; d=/run/continuum/in.$$; rm -rf \"$d\"; mkdir -p \"$d\" && \
         head -c {length} >\"$d/driver\" && exec /bin/sh \"$d/driver\" {verb}"
    )
}

/// A job as bytes for the driver, checked. What changes from one connection to the next is left out.
pub(super) struct Request {
    pub(super) unit: String,
    pub(super) timeout: Duration,
    pub(super) blobs: Vec<Blob>,
    body: Zeroizing<Vec<u8>>,
}

impl Request {
    /// Checks a job's names, which become words and paths on the machine, and takes its content.
    pub(super) fn of(job: &Job) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if job.unit.is_empty() || job.unit.len() > 128 || !job.unit.chars().all(plain) {
            return Err(format!("unit name {:?}: expecting 1 to 128 of a-z, 0-9 and -", job.unit));
        }
        let mut body = Zeroizing::new(Vec::new());
        for blob in &job.blobs {
            if blob.sha256.len() != 64 || !blob.sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
            {
                return Err(format!("blob {:?}: expecting a sha256 in lower-case hex", blob.sha256));
            }
            body.extend_from_slice(format!("blob {} {}\n", blob.sha256, blob.size).as_bytes());
        }
        body.extend_from_slice(format!("script {}\n", job.script.len()).as_bytes());
        body.extend_from_slice(job.script.as_bytes());
        for file in &job.files {
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            let dots = file.name.starts_with('.');
            if file.name.is_empty() || file.name.len() > 200 || dots || !file.name.chars().all(fits) {
                let name = &file.name;
                return Err(format!("file name {name:?}: expecting letters, digits, \".\", \"_\" and \"-\""));
            }
            let content = file.content.expose_secret();
            body.extend_from_slice(format!("file {} {}\n", file.name, content.len()).as_bytes());
            body.extend_from_slice(content);
        }
        body.extend_from_slice(b"end\n");
        Ok(Self { unit: job.unit.clone(), timeout: job.timeout, blobs: job.blobs.clone(), body })
    }

    /// The whole of stdin up to `end`, driver included. `have`: the attempt and offset that we have output up to;
    /// `now`: what our clock says, in seconds since 1970.
    pub(super) fn bytes(&self, have: Option<&(String, u64)>, now: i64) -> Zeroizing<Vec<u8>> {
        // systemd counts whole seconds; a limit of none at all would mean "no limit" to it
        let seconds = self.timeout.as_secs() + u64::from(self.timeout.subsec_nanos() > 0);
        let mut bytes = Zeroizing::new(Vec::with_capacity(DRIVER.len() + 300 + self.body.len()));
        bytes.extend_from_slice(DRIVER.as_bytes());
        let unit = &self.unit;
        let head = format!("unit {unit}\ntimeout {}\ntime {now}\ncap {OUTPUT_CAP}\n", seconds.max(1));
        bytes.extend_from_slice(head.as_bytes());
        if let Some((attempt, offset)) = have {
            bytes.extend_from_slice(format!("have {attempt} {offset}\n").as_bytes());
        }
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// How the unit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// The script exited.
    Exit,
    /// The script's shell was ended by a signal.
    Signal,
    /// The kernel ended a process of it for want of memory.
    Oom,
    /// It took longer than its limit.
    Timeout,
    /// Somebody stopped the unit.
    Killed,
    /// The machine went down under it.
    Lost,
}

impl Reason {
    fn of(word: &str) -> Option<Self> {
        Some(match word {
            "exit" => Self::Exit,
            "signal" => Self::Signal,
            "oom" => Self::Oom,
            "timeout" => Self::Timeout,
            "killed" => Self::Killed,
            "lost" => Self::Lost,
            _ => return None,
        })
    }
    /// For people, where the status alone does not say it.
    pub(super) fn words(self) -> Option<&'static str> {
        match self {
            Self::Exit => None,
            Self::Signal => Some("ended by a signal"),
            Self::Oom => Some("ended by the kernel: out of memory"),
            Self::Timeout => Some("ended: it took longer than its limit"),
            Self::Killed => Some("ended: its unit was stopped"),
            Self::Lost => Some("ended: the machine went down, or its unit vanished"),
        }
    }
}

/// One thing that the driver said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    Hello,
    Need(String),
    Attempt(String),
    Output { offset: u64, bytes: Vec<u8> },
    Beat,
    Tail(Vec<u8>),
    Done { status: i32, reason: Reason, changed: bool },
    Taken,
    Refuse(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Noise,
    Line,
    Output { offset: u64, left: u64 },
    Tail { left: u64 },
}

/// Makes events of bytes, however the bytes are cut. Memory is bounded by the caps above.
#[derive(Debug)]
pub(super) struct Decoder {
    state: State,
    buffer: Zeroizing<Vec<u8>>,
    at: usize,
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self { state: State::Noise, buffer: Zeroizing::new(Vec::new()), at: 0 }
    }

    /// Whether the driver has said hello: before that, whatever comes is the login shell's.
    pub(super) fn greeted(&self) -> bool {
        self.state != State::Noise
    }

    /// Takes more bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.at);
        self.at = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes that came after the last event: the raw answer that follows a hello.
    pub(super) fn rest(&mut self) -> Zeroizing<Vec<u8>> {
        let rest = Zeroizing::new(self.buffer[self.at..].to_vec());
        self.buffer.clear();
        self.at = 0;
        rest
    }

    /// The next event, if enough bytes have come. An error means that the other side is not our driver.
    pub(super) fn next(&mut self) -> Result<Option<Event>, String> {
        loop {
            match self.state {
                State::Noise | State::Line => {
                    let Some(line) = self.line()? else { return Ok(None) };
                    if let Some(event) = self.on_line(&line)? {
                        return Ok(Some(event));
                    }
                }
                State::Output { left: 0, .. } => self.state = State::Line,
                State::Output { offset, left } => {
                    let bytes = self.take(left);
                    if bytes.is_empty() {
                        return Ok(None);
                    }
                    let n = bytes.len() as u64;
                    self.state = State::Output { offset: offset + n, left: left - n };
                    return Ok(Some(Event::Output { offset, bytes }));
                }
                State::Tail { left } => {
                    if ((self.buffer.len() - self.at) as u64) < left {
                        return Ok(None);
                    }
                    self.state = State::Line;
                    return Ok(Some(Event::Tail(self.take(left))));
                }
            }
        }
    }

    fn take(&mut self, most: u64) -> Vec<u8> {
        let there = self.buffer.len() - self.at;
        let n = usize::try_from(most).unwrap_or(usize::MAX).min(there);
        self.at += n;
        self.buffer[self.at - n..self.at].to_vec()
    }

    fn line(&mut self) -> Result<Option<String>, String> {
        let bytes = &self.buffer[self.at..];
        let Some(end) = bytes.iter().position(|b| *b == b'\n') else {
            let cap = if self.state == State::Noise { NOISE_CAP } else { LINE_CAP };
            return if bytes.len() > cap {
                Err(format!("a line of more than {cap} bytes"))
            } else {
                Ok(None)
            };
        };
        let line = String::from_utf8_lossy(&bytes[..end]).into_owned();
        self.at += end + 1;
        Ok(Some(line))
    }

    fn on_line(&mut self, line: &str) -> Result<Option<Event>, String> {
        if self.state == State::Noise {
            if line != "continuum 1" {
                return Ok(None);
            }
            self.state = State::Line;
            return Ok(Some(Event::Hello));
        }
        let strange = || format!("cannot understand {:?}", line.chars().take(200).collect::<String>());
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let words: Vec<&str> = rest.split(' ').collect();
        Ok(Some(match (word, words.as_slice()) {
            ("beat", [""]) => Event::Beat,
            ("taken", [""]) => Event::Taken,
            ("need", [hash]) => Event::Need((*hash).to_owned()),
            ("attempt", [id]) => Event::Attempt((*id).to_owned()),
            ("refuse", _) => Event::Refuse(rest.to_owned()),
            ("out", [offset, length]) => {
                let offset: u64 = offset.parse().map_err(|_| strange())?;
                let left: u64 = length.parse().map_err(|_| strange())?;
                // What follows is counted from there; a sum that wraps would put it before what is known.
                offset.checked_add(left).ok_or_else(strange)?;
                self.state = State::Output { offset, left };
                return Ok(None);
            }
            ("tail", [length]) => {
                let left = length.parse().ok().filter(|n| *n <= TAIL_CAP).ok_or_else(strange)?;
                self.state = State::Tail { left };
                return Ok(None);
            }
            ("done", [status, reason, changed]) => Event::Done {
                status: status.parse().map_err(|_| strange())?,
                reason: Reason::of(reason).ok_or_else(strange)?,
                changed: *changed != "unchanged",
            },
            _ => return Err(strange()),
        }))
    }
}

/// How many events a machine's answer holds, and the error if the other side is not our driver. For tests of the
/// decoder with hostile bytes: it takes them in two pieces, as a connection may cut them anywhere.
pub fn count_events(answer: &[u8]) -> Result<usize, String> {
    let mut decoder = Decoder::new();
    let mut count = 0;
    let (first, second) = answer.split_at(answer.len() / 2);
    for piece in [first, second] {
        decoder.push(piece);
        while decoder.next()?.is_some() {
            count += 1;
        }
    }
    Ok(count)
}

/// The last lines for people: at most 20, without control characters, none longer than a screen is wide many times.
pub(super) fn tail_lines(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..]
        .iter()
        // what a terminal would show of a progress line is its last state
        .map(|line| line.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default())
        .map(|line| line.chars().filter(|c| !c.is_control() || *c == '\t').take(500).collect())
        .collect()
}

#[cfg(test)]
mod tests;
