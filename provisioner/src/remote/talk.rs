//! Conversations with `driver.sh` over one connection: run a job, upload a blob, ask a question.
//!
//! All of it blocks, and belongs on a thread of its own. A conversation may be cut at any point and begun again:
//! the unit goes on meanwhile, and the log knows how far its output has come.

use std::fs::File;
use std::io::Read;
use std::time::Duration;

use secrecy::SecretSlice;
use zeroize::Zeroizing;

use crate::clock::{monotonic, now};

use super::log::Log;
use super::ssh::{Exec, Link};
use super::wire::{Decoder, Event, Reason, Request, command, tail_lines};
use super::{Blob, Done, RemoteError};

/// What a unit may take beyond its own limit: starting, ending, sending 16 MiB over a slow line.
const GRACE: Duration = Duration::from_secs(180);
/// The longest time for a question; and for the login shell around it.
pub(super) const QUESTION: Duration = Duration::from_secs(60);
const QUESTION_GRACE: Duration = Duration::from_secs(20);
/// The longest answer: a kubeconfig has 6 KiB, a list of two thousand nodes 200.
const ANSWER: usize = 4 * 1024 * 1024;
/// Asking, uploading what is missing, asking again; once more if a blob was cleaned away in between.
const ROUNDS: u32 = 3;
/// Bytes read or written at once.
const PIECE: usize = 256 * 1024;

/// Whether nobody waits for the result any more.
pub(super) type Gone<'a> = &'a dyn Fn() -> bool;

enum Served {
    Done(Done),
    Needs(Vec<String>),
}

/// Runs a job, joins it, or takes its kept result.
pub(super) fn run(
    link: &mut Link,
    request: &Request,
    log: &mut Log,
    gone: Gone,
) -> Result<Done, RemoteError> {
    for _ in 0..ROUNDS {
        link.until(Some(monotonic() + request.timeout + GRACE));
        let missing = match serve(link, request, log, gone)? {
            Served::Done(done) => return Ok(done),
            Served::Needs(hashes) => hashes,
        };
        link.until(None);
        for blob in &request.blobs {
            if missing.contains(&blob.sha256) {
                upload(link, blob, log, gone)?;
            }
        }
    }
    Err(RemoteError::Unfit("files that were uploaded do not stay in /var/lib/continuum/blobs".into()))
}

fn here(what: &str) -> impl Fn(std::io::Error) -> RemoteError {
    move |e| RemoteError::Here(format!("{what}: {e}"))
}

fn serve(link: &Link, request: &Request, log: &mut Log, gone: Gone) -> Result<Served, RemoteError> {
    let mut exec = link.exec(&command("serve"))?;
    // A driver that refuses closes stdin early; what it says is worth more than that the write failed.
    let _ = exec.write(&request.bytes(log.have(), now().as_second()));
    let (mut needs, mut tail) = (Vec::new(), Vec::new());
    let mut events = Events::of(exec);
    while let Some(event) = events.next(gone)? {
        match event {
            Event::Hello | Event::Beat | Event::Taken => {}
            Event::Need(hash) => needs.push(hash),
            Event::Attempt(id) => log.attempt(&id, now()).map_err(here("machine log"))?,
            Event::Output { offset, bytes } => log.output(offset, &bytes).map_err(here("machine log"))?,
            Event::Tail(bytes) => tail = tail_lines(&bytes),
            Event::Refuse(why) => return Err(RemoteError::Unfit(why)),
            Event::Done { status, reason, changed } => {
                let how = [Some(format!("status {status}")), reason.words().map(str::to_owned)];
                let how = how.into_iter().flatten().collect::<Vec<_>>().join(", ");
                log.end(&how, now()).map_err(here("machine log"))?;
                events.told();
                return done(request, status, reason, changed, tail);
            }
        }
    }
    if needs.is_empty() { Err(events.unexpected_end()) } else { Ok(Served::Needs(needs)) }
}

fn done(
    request: &Request,
    status: i32,
    reason: Reason,
    changed: bool,
    mut tail: Vec<String>,
) -> Result<Served, RemoteError> {
    if reason == Reason::Timeout {
        return Err(RemoteError::TimedOut { limit: request.timeout, tail });
    }
    if let Some(words) = reason.words() {
        tail.push(format!("[continuum: {words}]"));
        tail.drain(..tail.len().saturating_sub(20));
    }
    Ok(Served::Done(Done { status, changed, tail }))
}

/// Puts a file on the machine under its hash. The machine checks the hash before the file gets its name.
fn upload(link: &Link, blob: &Blob, log: &mut Log, gone: Gone) -> Result<(), RemoteError> {
    let what = blob.path.display().to_string();
    let mut file = File::open(&blob.path).map_err(here(&what))?;
    let size = file.metadata().map_err(here(&what))?.len();
    if size != blob.size {
        let hash = &blob.sha256;
        return Err(RemoteError::Here(format!("{what}: has {size} bytes, {hash} has {}", blob.size)));
    }
    tracing::debug!(blob = %blob.sha256, bytes = size, path = %what, "uploading");
    let name = blob.path.file_name().unwrap_or_default().to_string_lossy();
    log.note(&format!("upload {name}, {size} bytes, sha256 {}", blob.sha256), now())
        .map_err(here("machine log"))?;
    let mut exec = link.exec(&command(&format!("take {} {size}", blob.sha256)))?;
    let mut wrote = exec.write(super::wire::DRIVER.as_bytes());
    let (mut piece, mut sent) = (vec![0; PIECE], 0);
    while wrote.is_ok() && sent < size {
        let n = file.read(&mut piece).map_err(here(&what))?;
        if n == 0 {
            return Err(RemoteError::Here(format!("{what}: became shorter while it was sent")));
        }
        wrote = exec.write(&piece[..n]);
        sent += n as u64;
        if gone() {
            return Err(nobody());
        }
    }
    let mut events = Events::of(exec);
    while let Some(event) = events.next(gone)? {
        match event {
            Event::Taken => return events.finish().map(drop),
            Event::Refuse(why) => return Err(RemoteError::Unfit(format!("{name}: {why}"))),
            _ => {}
        }
    }
    wrote.and(Err(events.unexpected_end()))
}

/// Runs a short script and returns its stdout.
pub(super) fn ask(link: &mut Link, script: &str, gone: Gone) -> Result<SecretSlice<u8>, RemoteError> {
    link.until(Some(monotonic() + QUESTION + QUESTION_GRACE));
    let mut exec = link.exec(&command(&format!("ask {} {}", script.len(), QUESTION.as_secs())))?;
    let wrote = exec
        .write(super::wire::DRIVER.as_bytes())
        .and_then(|()| exec.write(script.as_bytes()))
        .and_then(|()| exec.end_of_input());
    let mut events = Events::of(exec);
    let mut answer = Zeroizing::new(Vec::with_capacity(64 * 1024));
    if events.next(gone)? != Some(Event::Hello) {
        return Err(wrote.err().unwrap_or_else(|| events.unexpected_end()));
    }
    // what came in one piece with the hello
    let mut piece = events.decoder.rest();
    loop {
        answer = grown(answer, &piece);
        if answer.len() > ANSWER {
            return Err(RemoteError::Unfit(format!("the answer has more than {ANSWER} bytes")));
        }
        piece = events.raw(gone)?;
        if piece.is_empty() {
            break;
        }
    }
    match events.finish()? {
        (0, _) => Ok(SecretSlice::from(answer.to_vec())),
        // what timeout(1) exits with
        (124, _) => Err(RemoteError::TimedOut { limit: QUESTION, tail: Vec::new() }),
        (status, words) => Err(RemoteError::ScriptFailed { status, words }),
    }
}

/// Appends without leaving a copy behind in memory that was given back.
fn grown(mut bytes: Zeroizing<Vec<u8>>, more: &[u8]) -> Zeroizing<Vec<u8>> {
    if bytes.len() + more.len() > bytes.capacity() {
        let mut larger = Zeroizing::new(Vec::with_capacity(2 * (bytes.len() + more.len())));
        larger.extend_from_slice(&bytes);
        bytes = larger;
    }
    bytes.extend_from_slice(more);
    bytes
}

fn nobody() -> RemoteError {
    RemoteError::Dropped("nobody waits for it any more".into())
}

/// The events of one command.
struct Events<'a> {
    exec: Exec<'a>,
    decoder: Decoder,
    buffer: Zeroizing<Vec<u8>>,
}

impl<'a> Events<'a> {
    fn of(exec: Exec<'a>) -> Self {
        Self { exec, decoder: Decoder::new(), buffer: Zeroizing::new(vec![0; PIECE]) }
    }

    /// The next event; `None` when the command has nothing more to say.
    fn next(&mut self, gone: Gone) -> Result<Option<Event>, RemoteError> {
        loop {
            let event = self.decoder.next().map_err(|why| {
                RemoteError::Unfit(format!("its answer is not what our driver says: {why}"))
            })?;
            if event.is_some() {
                return Ok(event);
            }
            if gone() {
                return Err(nobody());
            }
            let n = self.exec.read(&mut self.buffer)?;
            if n == 0 {
                return Ok(None);
            }
            self.decoder.push(&self.buffer[..n]);
        }
    }

    /// Some bytes as they are; none at the end.
    fn raw(&mut self, gone: Gone) -> Result<Zeroizing<Vec<u8>>, RemoteError> {
        if gone() {
            return Err(nobody());
        }
        let n = self.exec.read(&mut self.buffer)?;
        Ok(Zeroizing::new(self.buffer[..n].to_vec()))
    }

    /// Tells the machine that the result has arrived. If that is lost, it is told once more: no harm.
    fn told(mut self) {
        let told = self.exec.write(b"told\n").and_then(|()| self.exec.end_of_input());
        if let Err(e) = told.and_then(|()| self.finish().map(drop)) {
            tracing::debug!(error = %e, "the machine was not told that its result arrived");
        }
    }

    /// Reads to the end: the exit status and the last words on stderr.
    fn finish(mut self) -> Result<(i32, String), RemoteError> {
        while self.exec.read(&mut self.buffer)? > 0 {}
        let words = self.exec.stderr();
        Ok((self.exec.close()?, words))
    }

    fn unexpected_end(self) -> RemoteError {
        let words = self.exec.stderr();
        if self.decoder.greeted() {
            RemoteError::Dropped(format!("the machine's side of the conversation ended {words}"))
        } else {
            RemoteError::Unfit(format!("the login shell does not run our driver: {words}"))
        }
    }
}
