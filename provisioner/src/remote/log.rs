//! The log of a machine: every job's output in full, once, with a line where each begins and ends.
//!
//! ```text
//! == 2026-01-02T03:04:05Z continuum-base-sysctl-1a2b attempt 6f… from 0
//! …output, byte for byte…
//! == 2026-01-02T03:04:09Z continuum-base-sysctl-1a2b attempt 6f… ended: status 0
//! ```
//! The file itself says how much of a job's output it has, so neither a dropped connection nor a crash of ours
//! loses or doubles a byte. One writer at a time (a cluster's lock, one job per machine).

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::{Timestamp, tz::TimeZone};

use crate::names::MachineName;

use super::wire::OUTPUT_CAP;

/// How far back the beginning of an unfinished job can be: its output, and the words around it.
const LOOK_BACK: u64 = OUTPUT_CAP + 64 * 1024;

/// Where a machine's log is.
pub fn path(dir: &Path, machine: &MachineName) -> PathBuf {
    dir.join(format!("{machine}.log"))
}

/// A machine's log, open for one job.
#[derive(Debug)]
pub(super) struct Log {
    file: File,
    unit: String,
    /// The attempt whose output is written, and how much of it is in the file.
    have: Option<(String, u64)>,
    /// Bytes of this job that may still come: what a machine of ours sends at most, and some.
    room: u64,
    ends_with_newline: bool,
}

impl Log {
    /// Opens (makes) the log and finds out what it has of `unit`.
    pub(super) fn open(dir: &Path, machine: &MachineName, unit: &str) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let path = path(dir, machine);
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        let length = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(length.saturating_sub(LOOK_BACK)))?;
        let mut recent = Vec::new();
        (&mut file).take(LOOK_BACK).read_to_end(&mut recent)?;
        let have = position(&recent, unit);
        let ends_with_newline = recent.last().is_none_or(|b| *b == b'\n');
        Ok(Self { file, unit: unit.to_owned(), have, room: LOOK_BACK, ends_with_newline })
    }

    /// The attempt and the offset up to which its output is in the file.
    pub(super) fn have(&self) -> Option<&(String, u64)> {
        self.have.as_ref()
    }

    /// The machine says which attempt the output is of: one that we do not have begins anew.
    pub(super) fn attempt(&mut self, attempt: &str, now: Timestamp) -> io::Result<()> {
        if self.have.as_ref().is_some_and(|(known, _)| known == attempt) {
            return Ok(());
        }
        self.mark(attempt, "from 0", now)?;
        self.have = Some((attempt.to_owned(), 0));
        Ok(())
    }

    /// Output of the attempt at `offset`: what is in the file already is left out.
    pub(super) fn output(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let Some((_, have)) = &mut self.have else { return Ok(()) };
        let known = have.saturating_sub(offset).min(bytes.len() as u64);
        let fresh = &bytes[usize::try_from(known).unwrap_or(bytes.len())..];
        let fresh = &fresh[..fresh.len().min(usize::try_from(self.room).unwrap_or(usize::MAX))];
        if fresh.is_empty() {
            return Ok(());
        }
        self.file.write_all(fresh)?;
        *have = offset + known + fresh.len() as u64;
        self.room -= fresh.len() as u64;
        self.ends_with_newline = fresh.last() == Some(&b'\n');
        Ok(())
    }

    /// The job has ended.
    pub(super) fn end(&mut self, how: &str, now: Timestamp) -> io::Result<()> {
        let Some((attempt, offset)) = self.have.clone() else { return Ok(()) };
        if offset == ENDED {
            return Ok(());
        }
        self.mark(&attempt, &format!("ended: {how}"), now)?;
        self.have = Some((attempt, ENDED));
        Ok(())
    }

    /// A line about the job that is neither its beginning nor its end (`uploading …`).
    pub(super) fn note(&mut self, what: &str, now: Timestamp) -> io::Result<()> {
        if self.have.as_ref().is_some_and(|(_, offset)| *offset != ENDED) {
            // between the pieces of an output it would be counted as output
            return Ok(());
        }
        self.mark("-", what, now)
    }

    fn mark(&mut self, attempt: &str, what: &str, now: Timestamp) -> io::Result<()> {
        let newline = if self.ends_with_newline { "" } else { "\n" };
        let time = now.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%SZ");
        let unit = &self.unit;
        self.file.write_all(format!("{newline}== {time} {unit} attempt {attempt} {what}\n").as_bytes())?;
        self.ends_with_newline = true;
        Ok(())
    }
}

/// The offset of an attempt that has its end in the file: nothing of it is wanted again.
const ENDED: u64 = u64::MAX >> 1;

/// What a log's last bytes have of a unit: the attempt, and how many bytes of its output. `None` if nothing, or if
/// another job's lines came in between, so that the bytes cannot be counted.
fn position(log: &[u8], unit: &str) -> Option<(String, u64)> {
    let mut last: Option<(&str, &str, bool, usize)> = None;
    let mut at = 0;
    for line in log.split_inclusive(|b| *b == b'\n') {
        at += line.len();
        if !line.starts_with(b"== ") {
            continue;
        }
        let Ok(text) = std::str::from_utf8(line) else { continue };
        let words: Vec<&str> = text.split_whitespace().collect();
        match words.as_slice() {
            ["==", _, name, "attempt", attempt, "from", "0"] => last = Some((name, attempt, false, at)),
            // only the end of what has begun: a script that prints such a line ends nobody else's
            ["==", _, name, "attempt", attempt, "ended:", ..]
                if last.is_none_or(|(n, a, ..)| n == *name && a == *attempt) =>
            {
                last = Some((name, attempt, true, at));
            }
            _ => {}
        }
    }
    let (name, attempt, ended, at) = last?;
    let offset = if ended { ENDED } else { (log.len() - at) as u64 };
    (name == unit).then(|| (attempt.to_owned(), offset))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn open(dir: &Path, unit: &str) -> Log {
        Log::open(dir, &MachineName::new("m1").unwrap(), unit).unwrap()
    }
    fn text(dir: &Path) -> String {
        fs::read_to_string(dir.join("m1.log")).unwrap()
    }
    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    #[test]
    fn output_is_in_the_log_once_whatever_is_sent_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path(), "u");
        assert_eq!(log.have(), None);
        log.note("uploading", NOW).unwrap();
        log.attempt("a1", NOW).unwrap();
        log.output(0, b"one\ntwo").unwrap();
        log.output(4, b"two\nthr").unwrap();
        drop(log); // we crash; the next process goes on from the file alone
        let mut log = open(dir.path(), "u");
        assert_eq!(log.have(), Some(&("a1".into(), 11)));
        log.attempt("a1", NOW).unwrap();
        log.output(0, b"one\n").unwrap();
        log.output(11, b"ee").unwrap();
        log.end("status 0", NOW).unwrap();
        log.end("status 0", NOW).unwrap();
        let mut log = open(dir.path(), "u");
        log.attempt("a1", NOW).unwrap();
        log.output(0, b"one\ntwo\nthree").unwrap();
        log.end("status 0", NOW).unwrap();
        insta::assert_snapshot!(text(dir.path()));
        let mode = fs::metadata(dir.path().join("m1.log")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn another_attempt_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path(), "u");
        log.attempt("a1", NOW).unwrap();
        log.output(0, b"lost with the machine\n").unwrap();
        let mut log = open(dir.path(), "u");
        log.attempt("a2", NOW).unwrap();
        log.output(0, b"again\n").unwrap();
        assert_eq!(open(dir.path(), "u").have(), Some(&("a2".into(), 6)));
        assert_eq!(open(dir.path(), "other").have(), None);
    }

    #[test]
    fn a_machine_that_sends_without_end_does_not_fill_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path(), "u");
        log.attempt("a1", NOW).unwrap();
        let piece = vec![b'x'; 1024 * 1024];
        for n in 0..20 {
            log.output(n * piece.len() as u64, &piece).unwrap();
        }
        assert!(fs::metadata(dir.path().join("m1.log")).unwrap().len() < LOOK_BACK + 1024);
    }

    #[test]
    fn positions_are_counted_from_the_last_beginning() {
        let begin = "== 2026-01-02T03:04:05Z u attempt a from 0\n";
        let end = "== 2026-01-02T03:04:05Z u attempt a ended: status 0\n";
        let other = "== 2026-01-02T03:04:05Z v attempt b from 0\n";
        let cases = [
            (String::new(), None),
            (format!("{begin}12345"), Some(5)),
            (format!("{begin}== no line of ours\n"), Some(19)),
            (format!("{begin}12345\n{end}"), Some(ENDED)),
            (format!("{begin}12345\n{other}"), None),
            (format!("{begin}12345\n{end}{other}"), None),
            (format!("cut off\n{end}"), Some(ENDED)),
        ];
        for (log, expected) in cases {
            let got = position(log.as_bytes(), "u");
            assert_eq!(got, expected.map(|offset| ("a".to_owned(), offset)), "{log}");
        }
    }
}
