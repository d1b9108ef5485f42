//! One SSH connection: the only file that names ssh2.
//!
//! Log in with a time-out, compare the host key with the pinned ones *before* our key is used, then run commands,
//! one at a time. After the login the session does not block: every wait is a `poll` of ours, in which keep-alives
//! are sent and a machine that has fallen silent is noticed. libssh2 is one lock per session, so a session belongs to
//! one thread at a time.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use secrecy::{ExposeSecret, SecretString};
use ssh2::{BlockDirections, Channel, ErrorCode, MethodType, Session};

use crate::clock::monotonic;
use crate::keys::fingerprint;
use crate::provider::Stream;

use super::RemoteError;
use super::pin::Pin;

/// Every user of ours: recipes configure the machine as a whole.
pub(super) const USER: &str = "root";
/// Banner, key exchange, and login each: a loaded machine on a slow line needs two seconds.
const LOGIN: Duration = Duration::from_secs(15);
/// A keep-alive goes out when nothing has come for so long; after three without an answer the connection is dead.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
const KEEP_ALIVES: u32 = 3;
/// Opening a channel and closing one: the machine has to start a shell.
const COMMAND: Duration = Duration::from_secs(60);
/// How much of a command's stderr is kept: enough for the words of a shell.
const STDERR: usize = 8 * 1024;

/// libssh2's codes that a caller acts on (its C header has them all).
mod code {
    pub(super) const KEX_FAILURE: i32 = -5;
    pub(super) const KEY_EXCHANGE_FAILURE: i32 = -8;
    pub(super) const HOSTKEY_INIT: i32 = -10;
    pub(super) const HOSTKEY_SIGN: i32 = -11;
    pub(super) const FILE: i32 = -16;
    pub(super) const METHOD_NONE: i32 = -17;
    pub(super) const AUTHENTICATION_FAILED: i32 = -18;
    pub(super) const PUBLICKEY_UNVERIFIED: i32 = -19;
    pub(super) const METHOD_NOT_SUPPORTED: i32 = -33;
    pub(super) const EAGAIN: i32 = -37;
    pub(super) const KEYFILE_AUTH_FAILED: i32 = -48;
    pub(super) const ALGO_UNSUPPORTED: i32 = -51;
}

/// An open, authenticated connection.
pub(super) struct Link {
    session: Session,
    stream: Arc<Stream>,
    /// Nothing waits past this moment.
    deadline: Option<Instant>,
}

impl Drop for Link {
    fn drop(&mut self) {
        // Without this, freeing the session would wait for answers of a machine that may be gone.
        let _ = match &*self.stream {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Both),
        };
    }
}

impl Link {
    /// Logs in over a connected stream.
    pub(super) fn login(
        stream: Stream,
        key: &SecretString,
        host_keys: &[String],
    ) -> Result<Self, RemoteError> {
        let pinned = host_keys.iter().map(|key| Pin::parse(key)).collect::<Result<Vec<_>, _>>();
        let pinned = pinned.map_err(|e| RemoteError::KeyRefused(format!("pinned host key: {e}")))?;
        let stream = Arc::new(stream);
        let session = Session::new().map_err(|e| RemoteError::Here(e.to_string()))?;
        let mut link = Self { session, stream, deadline: None };
        link.handshake(&pinned)?;
        link.verify(&pinned)?;
        link.authenticate(key)?;
        link.session.set_blocking(false);
        link.session.set_keepalive(true, u32::try_from(KEEP_ALIVE.as_secs()).unwrap_or(10));
        Ok(link)
    }

    fn handshake(&mut self, pinned: &[Pin]) -> Result<(), RemoteError> {
        self.session.set_timeout(u32::try_from(LOGIN.as_millis()).unwrap_or(u32::MAX));
        self.session.set_tcp_stream(Arc::clone(&self.stream));
        // A machine with more than one kind of host key must show the kind that we know.
        let mut kinds: Vec<&str> = pinned.iter().map(Pin::algorithm).collect();
        kinds.dedup();
        let preferred = self.session.method_pref(MethodType::HostKey, &kinds.join(","));
        preferred.map_err(|e| RemoteError::KeyRefused(format!("host keys {}: {e}", kinds.join(", "))))?;
        let ours = self.algorithms();
        self.session.handshake().map_err(|e| handshake_error(number(&e), e.message(), &kinds, &ours))
    }

    fn algorithms(&self) -> String {
        let of = |kind| self.session.supported_algs(kind).map(|all| all.join(",")).unwrap_or_default();
        format!("key exchange {}; ciphers {}", of(MethodType::Kex), of(MethodType::CryptCs))
    }

    fn verify(&self, pinned: &[Pin]) -> Result<(), RemoteError> {
        let (blob, _) = self.session.host_key().ok_or_else(|| RemoteError::WrongHostKey {
            expected: fingerprints(pinned),
            got: "none".into(),
        })?;
        if pinned.iter().any(|pin| pin.is(blob)) {
            return Ok(());
        }
        Err(RemoteError::WrongHostKey { expected: fingerprints(pinned), got: fingerprint(blob) })
    }

    fn authenticate(&self, key: &SecretString) -> Result<(), RemoteError> {
        // Once only: a second attempt after a success hangs in libssh2.
        self.session
            .userauth_pubkey_memory(USER, None, key.expose_secret(), None)
            .map_err(|e| login_error(number(&e), e.message()))
    }

    /// Ends whatever waits at this moment; `None`: only when the machine has fallen silent.
    pub(super) fn until(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
    }

    /// Starts a command.
    pub(super) fn exec(&self, command: &str) -> Result<Exec<'_>, RemoteError> {
        let within = Some(monotonic() + COMMAND);
        let mut channel = self.drive(within, || self.session.channel_session())?;
        self.drive(within, || channel.exec(command))?;
        Ok(Exec { link: self, channel, stderr: Vec::new() })
    }

    /// Repeats what would block until it does not; time-outs and keep-alives are here and nowhere else.
    fn drive<T, E: Into<Failure>>(
        &self,
        within: Option<Instant>,
        mut step: impl FnMut() -> Result<T, E>,
    ) -> Result<T, RemoteError> {
        let mut silent = 0;
        loop {
            match step().map_err(Into::into) {
                Ok(value) => return Ok(value),
                Err(Failure::WouldBlock) => {}
                Err(Failure::Other(words)) => return Err(RemoteError::Dropped(words)),
            }
            let deadline = [within, self.deadline].into_iter().flatten().min();
            let left = deadline.map(|at| at.saturating_duration_since(monotonic()));
            if left == Some(Duration::ZERO) {
                return Err(RemoteError::Dropped("no answer within the time allowed".into()));
            }
            let wait = left.unwrap_or(KEEP_ALIVE).min(KEEP_ALIVE);
            if self.wait(wait)? {
                silent = 0;
            } else if wait == KEEP_ALIVE {
                silent += 1;
                if silent > KEEP_ALIVES {
                    let seconds = (KEEP_ALIVE * silent).as_secs();
                    return Err(RemoteError::Dropped(format!("nothing heard for {seconds}s")));
                }
                match self.session.keepalive_send().map_err(Failure::from) {
                    Ok(_) | Err(Failure::WouldBlock) => {}
                    Err(Failure::Other(words)) => return Err(RemoteError::Dropped(words)),
                }
            }
        }
    }

    /// Waits until the stream can go on; false if it could not in that time.
    fn wait(&self, most: Duration) -> Result<bool, RemoteError> {
        let flags = match self.session.block_directions() {
            BlockDirections::Outbound => PollFlags::POLLOUT,
            BlockDirections::Both => PollFlags::POLLIN | PollFlags::POLLOUT,
            BlockDirections::Inbound | BlockDirections::None => PollFlags::POLLIN,
        };
        let mut fds = [PollFd::new(self.stream.as_fd(), flags)];
        let most = PollTimeout::try_from(most).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, most) {
            Ok(ready) => Ok(ready > 0),
            Err(nix::errno::Errno::EINTR) => Ok(true),
            Err(e) => Err(RemoteError::Dropped(format!("poll: {e}"))),
        }
    }
}

/// A running command.
pub(super) struct Exec<'a> {
    link: &'a Link,
    channel: Channel,
    stderr: Vec<u8>,
}

impl Exec<'_> {
    /// Writes all of it to the command's stdin.
    pub(super) fn write(&mut self, mut bytes: &[u8]) -> Result<(), RemoteError> {
        while !bytes.is_empty() {
            let n = self.link.drive(None, || self.channel.write(bytes))?;
            bytes = &bytes[n..];
        }
        Ok(())
    }

    /// No more stdin.
    pub(super) fn end_of_input(&mut self) -> Result<(), RemoteError> {
        self.link.drive(Some(monotonic() + COMMAND), || self.channel.send_eof())
    }

    /// Some of its stdout; 0 at the end of it. What it says on stderr meanwhile is taken too, else it would block.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, RemoteError> {
        let (channel, stderr) = (&mut self.channel, &mut self.stderr);
        let mut words = [0; 2048];
        self.link.drive(None, || {
            match channel.stderr().read(&mut words) {
                Ok(n) => keep_last(stderr, &words[..n]),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(e),
            }
            match channel.read(buffer) {
                Ok(0) if !channel.eof() => Err(io::ErrorKind::WouldBlock.into()),
                other => other,
            }
        })
    }

    /// The last of its stderr, one line.
    pub(super) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr).split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Waits for its end, after stdout has ended: the exit status.
    pub(super) fn close(mut self) -> Result<i32, RemoteError> {
        let within = Some(monotonic() + COMMAND);
        self.link.drive(within, || self.channel.close())?;
        self.link.drive(within, || self.channel.wait_close())?;
        self.channel.exit_status().map_err(|e| RemoteError::Dropped(e.to_string()))
    }
}

fn keep_last(kept: &mut Vec<u8>, more: &[u8]) {
    kept.extend_from_slice(more);
    if kept.len() > STDERR {
        kept.drain(..kept.len() - STDERR);
    }
}

/// What came of one step of libssh2.
enum Failure {
    WouldBlock,
    Other(String),
}

impl From<ssh2::Error> for Failure {
    fn from(error: ssh2::Error) -> Self {
        if number(&error) == code::EAGAIN { Self::WouldBlock } else { Self::Other(error.message().into()) }
    }
}
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::WouldBlock {
            Self::WouldBlock
        } else {
            Self::Other(error.to_string())
        }
    }
}

fn number(error: &ssh2::Error) -> i32 {
    match error.code() {
        ErrorCode::Session(code) | ErrorCode::SFTP(code) => code,
    }
}

fn fingerprints(pins: &[Pin]) -> String {
    pins.iter().map(Pin::fingerprint).collect::<Vec<_>>().join(", ")
}

/// Before the machine has shown a key. Whatever is not a clear refusal is a machine that is still booting, or a
/// server that sheds load: waiting is right, and the engine's own limit ends it.
fn handshake_error(code: i32, words: &str, kinds: &[&str], ours: &str) -> RemoteError {
    match code {
        // libssh2 gives these codes also when the connection breaks while keys are exchanged: that is no refusal.
        code::KEX_FAILURE | code::KEY_EXCHANGE_FAILURE => {
            tracing::debug!(
                words,
                host_keys = kinds.join(","),
                ours,
                "no keys were exchanged; we offer these"
            );
            let either = "the connection broke, or there is no algorithm in common";
            RemoteError::NotUp(format!("no SSH handshake: {words} ({either})"))
        }
        code::METHOD_NONE | code::METHOD_NOT_SUPPORTED | code::ALGO_UNSUPPORTED => {
            let kinds = kinds.join(",");
            RemoteError::KeyRefused(format!(
                "no algorithm in common ({words}); we offer host key {kinds}; {ours}"
            ))
        }
        code::HOSTKEY_INIT | code::HOSTKEY_SIGN => {
            RemoteError::KeyRefused(format!("the machine cannot prove that it has its host key ({words})"))
        }
        _ => RemoteError::NotUp(format!("no SSH handshake: {words}")),
    }
}

/// Between the host key and the end of the login.
fn login_error(code: i32, words: &str) -> RemoteError {
    // libssh2 gives the code of a refused key also when the connection ended before an answer; only its words differ.
    let answered = !words.starts_with("Waiting for");
    match code {
        code::AUTHENTICATION_FAILED | code::PUBLICKEY_UNVERIFIED if answered => {
            RemoteError::AuthRefused { user: USER.into(), reason: words.into() }
        }
        code::FILE | code::KEYFILE_AUTH_FAILED | code::METHOD_NONE | code::METHOD_NOT_SUPPORTED => {
            RemoteError::KeyRefused(format!("our login key cannot be used ({words})"))
        }
        _ => RemoteError::NotUp(format!("the connection ended during the login: {words}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_of_the_handshake_are_told_apart() {
        let refused = |words: &str| {
            let text =
                format!("no algorithm in common ({words}); we offer host key ssh-ed25519; key exchange a");
            RemoteError::KeyRefused(text)
        };
        let not_up = |words: &str| RemoteError::NotUp(format!("no SSH handshake: {words}"));
        let cases = [
            (-2, "Failed to get banner", not_up("Failed to get banner")),
            (-13, "Failed getting banner", not_up("Failed getting banner")),
            (-43, "Error waiting", not_up("Error waiting")),
            (-9, "timed out", not_up("timed out")),
            (-5, "x", not_up("x (the connection broke, or there is no algorithm in common)")),
            (-8, "x", not_up("x (the connection broke, or there is no algorithm in common)")),
            (-33, "bad", refused("bad")),
            (
                -10,
                "x",
                RemoteError::KeyRefused("the machine cannot prove that it has its host key (x)".into()),
            ),
        ];
        for (code, words, expected) in cases {
            assert_eq!(handshake_error(code, words, &["ssh-ed25519"], "key exchange a"), expected, "{code}");
        }
    }

    #[test]
    fn failures_of_the_login_are_told_apart() {
        let auth = |reason: &str| RemoteError::AuthRefused { user: "root".into(), reason: reason.into() };
        let ended =
            |words: &str| RemoteError::NotUp(format!("the connection ended during the login: {words}"));
        let key = |words: &str| RemoteError::KeyRefused(format!("our login key cannot be used ({words})"));
        let cases = [
            (-18, "a", auth("a")),
            (-19, "a", auth("a")),
            (
                -19,
                "Waiting for publickey USERAUTH response",
                ended("Waiting for publickey USERAUTH response"),
            ),
            (-16, "a", key("a")),
            (-48, "a", key("a")),
            (-13, "a", ended("a")),
            (-9, "a", ended("a")),
        ];
        for (code, words, expected) in cases {
            assert_eq!(login_error(code, words), expected, "{code}");
        }
    }

    #[test]
    fn only_the_end_of_stderr_is_kept() {
        let mut kept = Vec::new();
        for n in 0..10_000 {
            keep_last(&mut kept, format!("line {n}\n").as_bytes());
        }
        assert_eq!(kept.len(), STDERR);
        assert!(kept.ends_with(b"line 9999\n"));
    }
}
