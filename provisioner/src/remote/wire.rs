//! What travels between us and `driver.sh`: one request there, events and output back. Pure.
//!
//! ```text
//! to the machine                     from the machine
//!   unit NAME                          (whatever a login shell prints)
//!   timeout SECONDS                    continuum 1
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
pub(super) const DRIVER: &str = include_str!("driver.sh");

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

    /// The whole of stdin up to `end`, driver included. `have`: the attempt and offset that we have output up to.
    pub(super) fn bytes(&self, have: Option<&(String, u64)>) -> Zeroizing<Vec<u8>> {
        // systemd counts whole seconds; a limit of none at all would mean "no limit" to it
        let seconds = self.timeout.as_secs() + u64::from(self.timeout.subsec_nanos() > 0);
        let mut bytes = Zeroizing::new(Vec::with_capacity(DRIVER.len() + 300 + self.body.len()));
        bytes.extend_from_slice(DRIVER.as_bytes());
        let unit = &self.unit;
        let head = format!("unit {unit}\ntimeout {}\ncap {OUTPUT_CAP}\n", seconds.max(1));
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
                let offset = offset.parse().map_err(|_| strange())?;
                self.state = State::Output { offset, left: length.parse().map_err(|_| strange())? };
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
mod tests {
    use secrecy::SecretSlice;

    use super::super::JobFile;
    use super::*;

    fn job() -> Job {
        Job {
            unit: "continuum-base-sysctl-1a2b".into(),
            script: "echo hi\n".into(),
            files: vec![JobFile {
                name: "join.yaml".into(),
                content: SecretSlice::from(b"s3\ncret".to_vec()),
            }],
            blobs: vec![Blob { sha256: "ab".repeat(32), size: 7, path: "/here".into() }],
            timeout: Duration::from_millis(1500),
        }
    }

    #[test]
    fn a_request_has_its_parts_in_the_drivers_grammar() {
        let request = Request::of(&job()).unwrap();
        let bytes = request.bytes(Some(&("a-b".into(), 42)));
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let expected = "unit continuum-base-sysctl-1a2b\ntimeout 2\ncap 16777216\nhave a-b 42\nblob BLOB 7\n\
                        script 8\necho hi\nfile join.yaml 7\ns3\ncretend\n";
        let got = text.strip_prefix(DRIVER).unwrap().replace(&"ab".repeat(32), "BLOB");
        assert_eq!(got, expected);
    }

    #[test]
    fn names_that_could_leave_their_place_are_refused() {
        let check = |spoil: &dyn Fn(&mut Job), expected: &str| {
            let mut job = job();
            spoil(&mut job);
            let error = Request::of(&job).err().unwrap_or_default();
            assert!(error.starts_with(expected), "{error:?} is not {expected:?}");
        };
        for unit in ["", "a b", "A", "a/b", "a;b", &"a".repeat(129)] {
            check(&|job| job.unit = unit.into(), "unit name ");
        }
        for name in ["", "..", ".x", "a/b", "a b", "a\nb", "$x"] {
            check(&|job| job.files[0].name = name.into(), "file name ");
        }
        for hash in ["", "ab", &"AB".repeat(32), &"/.".repeat(32)] {
            check(&|job| job.blobs[0].sha256 = hash.into(), "blob ");
        }
    }

    fn decode(stream: &[u8], cut: usize) -> Result<Vec<Event>, String> {
        let mut decoder = Decoder::new();
        let mut events: Vec<Event> = Vec::new();
        for piece in stream.chunks(cut) {
            decoder.push(piece);
            while let Some(event) = decoder.next()? {
                match (events.last_mut(), event) {
                    (Some(Event::Output { offset, bytes }), Event::Output { offset: next, bytes: more })
                        if *offset + bytes.len() as u64 == next =>
                    {
                        bytes.extend(more)
                    }
                    (_, event) => events.push(event),
                }
            }
        }
        Ok(events)
    }

    #[test]
    fn the_driver_is_plain_sh() {
        let shellcheck = std::process::Command::new("shellcheck")
            .args(["--norc", concat!(env!("CARGO_MANIFEST_DIR"), "/src/remote/driver.sh")])
            .args(["--shell=sh", concat!(env!("CARGO_MANIFEST_DIR"), "/src/keys/rotate.sh")])
            .output();
        match shellcheck {
            Ok(said) => assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout)),
            Err(e) => eprintln!("skipped: shellcheck: {e}"),
        }
    }

    #[test]
    fn events_come_out_the_same_however_the_stream_is_cut() {
        let stream = b"Welcome!\ncontinuum 1\nneed aa\nattempt x-1\nout 5 12\ndone 0 exit beat\nout 17 1\n!\
                       tail 4\nab\ncdone 137 oom changed\n";
        let expected = [
            Event::Hello,
            Event::Need("aa".into()),
            Event::Attempt("x-1".into()),
            Event::Output { offset: 5, bytes: b"done 0 exit ".to_vec() },
            Event::Beat,
            Event::Output { offset: 17, bytes: b"!".to_vec() },
            Event::Tail(b"ab\nc".to_vec()),
            Event::Done { status: 137, reason: Reason::Oom, changed: true },
        ];
        for cut in 1..stream.len() {
            assert_eq!(decode(stream, cut).unwrap(), expected, "cut into {cut}");
        }
    }

    #[test]
    fn another_program_on_the_other_side_is_an_error() {
        for line in ["hello", "out x 1", "out 1", "done 0 strange changed", "tail 999999999", "beat now"] {
            assert!(decode(format!("continuum 1\n{line}\n").as_bytes(), 64).is_err(), "{line}");
        }
        assert!(decode(&vec![b'x'; NOISE_CAP + 2], 1000).is_err());
    }

    #[test]
    fn a_tail_is_twenty_lines_that_a_terminal_can_show() {
        let text: String = (1..=30).map(|n| format!("line {n}\n")).collect();
        let lines = tail_lines(text.as_bytes());
        assert_eq!((lines.len(), lines[0].as_str(), lines[19].as_str()), (20, "line 11", "line 30"));
        assert_eq!(tail_lines(b"10%\r20%\r30%\r\n\x1b[31mred\xff"), ["30%", "[31mred\u{fffd}"]);
        assert_eq!(tail_lines(b""), Vec::<String>::new());
    }
}
