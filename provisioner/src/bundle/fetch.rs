//! Downloads: the only file that names ureq.
//!
//! Invariants: every wait is bounded; a download goes on where it stopped; what does not have the hash that was asked for
//! is never kept. As everywhere, proxies are taken from `https_proxy`, `http_proxy` and `no_proxy`, and `SSL_CERT_FILE`
//! names certificates to trust instead of the public ones.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use ureq::Agent;
use ureq::http::{Response, StatusCode, header};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

use super::error::BundleError;
use super::store::{BlobWriter, Store};
use crate::env;
use crate::remote::Blob;

/// Attempts in a row without one new byte. Four, with the pauses below, bridge a restart of a load balancer.
const ATTEMPTS: u32 = 4;
/// The first pause; each further one is twice as long.
const PAUSE: Duration = Duration::from_secs(1);
/// A connection takes well under a second anywhere on earth; a packet filter that drops takes for ever.
const CONNECT: Duration = Duration::from_secs(10);
/// Nothing for this long, and the other side is gone.
const SILENCE: Duration = Duration::from_secs(30);
/// Documents (image manifests, tokens) have a few kilobytes; registries cap manifests at 4 MiB.
const DOCUMENT_MAX: u64 = 4 << 20;

/// Why something could not be downloaded.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Nobody answers there, or not to the end.
    #[error("cannot reach {url}: {why}")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// The client's words.
        why: String,
    },
    /// The server said no.
    #[error("{url}: the server answered {status}")]
    Refused {
        /// What was asked for.
        url: String,
        /// The HTTP status.
        status: u16,
        /// `WWW-Authenticate`, where it asks for a token.
        challenge: Option<String>,
    },
    /// The content is not what the hash says.
    #[error("{url}: has sha256 {got}, not {expected}: upstream changed the file, or somebody else did")]
    Mismatch {
        /// What was asked for.
        url: String,
        /// As pinned.
        expected: String,
        /// As received.
        got: String,
    },
    /// More than was asked for, or than is sane.
    #[error("{url}: is larger than {limit} bytes")]
    TooLarge {
        /// What was asked for.
        url: String,
        /// The limit.
        limit: u64,
    },
    /// An answer that makes no sense.
    #[error("{url}: {why}")]
    Nonsense {
        /// What was asked for.
        url: String,
        /// What is wrong with the answer.
        why: String,
    },
}

/// What is asked for, and how.
#[derive(Debug, Clone, Copy, Default)]
pub struct Request<'a> {
    /// Where.
    pub url: &'a str,
    /// Media types for `Accept`; anything if empty.
    pub accept: &'a str,
    /// A token for `Authorization: Bearer`; sent to no other host that the server redirects to.
    pub bearer: Option<&'a str>,
}

/// A document that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its bytes.
    pub body: Vec<u8>,
    /// Its media type as the server says, without parameters.
    pub media_type: String,
}

/// A client for downloads.
pub struct Fetcher<'a> {
    agent: Agent,
    pause: Duration,
    /// Hosts that did not let us connect: not tried again by the same command, else each of forty artifacts would wait.
    dead: RefCell<BTreeSet<String>>,
    progress: &'a dyn Fn(u64),
}

impl<'a> Fetcher<'a> {
    /// A client that tells `progress` the bytes that a download has so far.
    pub fn new(progress: &'a dyn Fn(u64)) -> Result<Self, BundleError> {
        let roots = match env::os("SSL_CERT_FILE") {
            Some(path) => certificates(Path::new(&path))?,
            None => RootCerts::WebPki,
        };
        let config = Agent::config_builder()
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .http_status_as_error(false)
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(SILENCE))
            .timeout_per_read(Some(SILENCE))
            // A server that compresses on the fly would change what the hash is about.
            .accept_encoding("identity")
            .user_agent(concat!("continuum/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self { agent: config.into(), pause: PAUSE, dead: RefCell::default(), progress })
    }

    #[cfg(test)]
    pub(super) fn impatient(mut self) -> Self {
        self.pause = Duration::from_millis(1);
        self
    }

    /// A small document.
    pub fn document(&self, request: Request<'_>) -> Result<Document, FetchError> {
        let mut body = Vec::new();
        let mut media_type = String::new();
        self.persist(request.url, &mut |had| {
            if had > 0 {
                body.clear();
            }
            let answer = self.ask(request, 0)?;
            media_type = media_type_of(&answer);
            let limit = DOCUMENT_MAX + 1;
            let read = answer.into_body().into_reader().take(limit).read_to_end(&mut body);
            read.map(|n| n as u64).map_err(|error| unreachable(request.url, &error))
        })?;
        if body.len() as u64 > DOCUMENT_MAX {
            return Err(FetchError::TooLarge { url: request.url.into(), limit: DOCUMENT_MAX });
        }
        Ok(Document { body, media_type })
    }

    /// A file of at most `limit` bytes into the store. Nothing is kept unless its sha256 is `expected`.
    pub fn blob(
        &self,
        request: Request<'_>,
        expected: &str,
        limit: u64,
        store: &Store,
    ) -> Result<Blob, BundleError> {
        let mut writer = store.writer()?;
        self.persist(request.url, &mut |_| self.go_on(request, &mut writer, limit))?;
        let got = writer.sha256();
        if got != expected {
            let (url, expected) = (request.url.into(), expected.into());
            return Err(FetchError::Mismatch { url, expected, got }.into());
        }
        writer.finish()
    }

    /// One attempt, from where the last one stopped; the bytes there are then.
    fn go_on(&self, request: Request<'_>, writer: &mut BlobWriter, limit: u64) -> Result<u64, FetchError> {
        let answer = self.ask(request, writer.size())?;
        let local = |error: io::Error| FetchError::Nonsense {
            url: request.url.into(),
            why: format!("cannot be written to the cache: {error}"),
        };
        if answer.status() != StatusCode::PARTIAL_CONTENT {
            writer.restart().map_err(local)?;
        }
        let mut body = answer.into_body().into_reader();
        let mut chunk = vec![0; 128 << 10];
        loop {
            let n = body.read(&mut chunk).map_err(|error| unreachable(request.url, &error))?;
            if n == 0 {
                return Ok(writer.size());
            }
            writer.write_all(&chunk[..n]).map_err(local)?;
            if writer.size() > limit {
                return Err(FetchError::TooLarge { url: request.url.into(), limit });
            }
            (self.progress)(writer.size());
        }
    }

    /// Sends one request; `from` is the byte to begin at.
    fn ask(&self, request: Request<'_>, from: u64) -> Result<Response<ureq::Body>, FetchError> {
        let mut call = self.agent.get(request.url);
        if !request.accept.is_empty() {
            call = call.header(header::ACCEPT, request.accept);
        }
        if let Some(token) = request.bearer {
            call = call.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if from > 0 {
            call = call.header(header::RANGE, format!("bytes={from}-"));
        }
        let answer = call.call().map_err(|error| self.not_reached(request.url, &error))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let challenge = answer.headers().get(header::WWW_AUTHENTICATE);
        let challenge = challenge.and_then(|text| text.to_str().ok()).map(str::to_owned);
        Err(FetchError::Refused { url: request.url.into(), status: answer.status().as_u16(), challenge })
    }

    fn not_reached(&self, url: &str, error: &ureq::Error) -> FetchError {
        use ureq::{Error, Timeout};
        let dead = matches!(
            error,
            Error::HostNotFound
                | Error::ConnectionFailed
                | Error::Timeout(Timeout::Connect | Timeout::Resolve)
        ) || matches!(error, Error::Io(io) if io.kind() == io::ErrorKind::ConnectionRefused);
        if dead {
            self.dead.borrow_mut().insert(host(url).to_owned());
        }
        unreachable(url, error)
    }

    /// Tries until it works, is refused, or nothing new came for [`ATTEMPTS`] attempts. `once` gets and returns the bytes there are.
    fn persist(
        &self,
        url: &str,
        once: &mut dyn FnMut(u32) -> Result<u64, FetchError>,
    ) -> Result<(), FetchError> {
        let mut pause = self.pause;
        for attempt in 0.. {
            if self.dead.borrow().contains(host(url)) {
                let why = format!("{} does not let us connect", host(url));
                return Err(FetchError::Unreachable { url: url.into(), why });
            }
            match once(attempt) {
                Ok(_) => return Ok(()),
                Err(error) if attempt + 1 >= ATTEMPTS || !passing(&error) => return Err(error),
                Err(error) => tracing::debug!(url, %error, "trying again"),
            }
            // Interruptible by nobody, but a thread of its own: downloads run outside of the runtime.
            std::thread::park_timeout(pause);
            pause *= 2;
        }
        Ok(())
    }
}

/// The certificates of a PEM file.
fn certificates(path: &Path) -> Result<RootCerts, BundleError> {
    let pem = std::fs::read(path).map_err(BundleError::io("read SSL_CERT_FILE", path))?;
    let items: Vec<_> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if items.is_empty() {
        let none = io::Error::new(io::ErrorKind::InvalidData, "there is no certificate in it");
        return Err(BundleError::io("use SSL_CERT_FILE", path)(none));
    }
    Ok(RootCerts::new_with_certs(&items))
}

/// Whether the same request may succeed later.
fn passing(error: &FetchError) -> bool {
    match error {
        FetchError::Unreachable { .. } => true,
        FetchError::Refused { status, .. } => matches!(status, 408 | 429 | 500..=599),
        _ => false,
    }
}

fn unreachable(url: &str, error: &dyn std::fmt::Display) -> FetchError {
    FetchError::Unreachable { url: url.into(), why: error.to_string() }
}

fn media_type_of(answer: &Response<ureq::Body>) -> String {
    let value = answer.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_owned()
}

/// `dl.k8s.io` of `https://dl.k8s.io/release/…`.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or(rest)
}

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;
