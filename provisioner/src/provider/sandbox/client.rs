//! The API's client: HTTP/1.1 over the instance's socket or a cluster's gateway, one connection per request.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;

use super::gateway::{self, Door};
use super::paths::Paths;
use super::start::{self, StartError};
use super::wire::{rejected, unavailable};
use crate::provider::{Machine, ProviderError, Stream};

/// A deletion with hundreds of pods takes a few seconds; capturing an image longer, and it says so itself.
const TIMEOUT: Duration = Duration::from_secs(60);
/// A killed agent listens again after 0.1 s; one that is not back after these tries is worth an error.
const TRIES: u32 = 5;
const TRY_EVERY: Duration = Duration::from_millis(100);
/// A cloud that is in trouble for longer than a client's tries is for its caller to wait for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(10);
/// A thousand machines are 700 kB.
const BODY_MAX: usize = 16 << 20;
/// The head of an answer to `dial` has four lines.
const HEAD_MAX: usize = 4096;

/// A client of one instance's agent.
#[derive(Debug, Clone)]
pub struct Client {
    way: Way,
}

/// How the agent is reached. All else, retries and time-outs too, is the same.
#[derive(Debug, Clone)]
enum Way {
    /// Over its socket; it is started with `exe` if it is not there.
    Socket { paths: Arc<Paths>, exe: PathBuf },
    /// From inside a cluster; nobody could start it from there.
    Gateway(Door),
}

/// A connection to it.
trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// An answer's status and body.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The body.
    pub body: Bytes,
    /// When to ask again, if it says so (`Retry-After`, in seconds).
    pub retry_after: Option<Duration>,
}

impl Reply {
    /// The body as a value.
    pub fn value<T: DeserializeOwned>(&self) -> Result<T, ProviderError> {
        serde_json::from_slice(&self.body)
            .map_err(|error| unavailable(format!("the sandbox agent's answer makes no sense: {error}")))
    }
    fn error(&self) -> ProviderError {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| {
            let text = String::from_utf8_lossy(&self.body);
            let message = format!("the sandbox agent answered {}: {}", self.status, text.trim());
            if self.status.is_client_error() && self.status != StatusCode::TOO_MANY_REQUESTS {
                return rejected(message);
            }
            ProviderError::Unavailable { message, retry_after: self.retry_after }
        })
    }
    /// How long to wait before the next try, if there is to be one: a refusal in passing had no effect.
    fn again(&self, tried: u32) -> Option<Duration> {
        let wait = match self.status {
            StatusCode::TOO_MANY_REQUESTS => self.retry_after.unwrap_or(TRY_EVERY * (1 << tried)),
            StatusCode::INTERNAL_SERVER_ERROR => TRY_EVERY * (1 << tried),
            _ => return None,
        };
        (wait <= RETRY_AFTER_MAX).then_some(wait)
    }
}

impl From<StartError> for ProviderError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::NotRoot | StartError::Missing(_) => rejected(error.to_string()),
            StartError::Step(_) | StartError::Silent { .. } => unavailable(error.to_string()),
        }
    }
}

impl Client {
    /// For an instance; `exe` is the program that an agent is started with.
    pub fn new(paths: Paths, exe: PathBuf) -> Self {
        Self { way: Way::Socket { paths: Arc::new(paths), exe } }
    }

    /// For the cluster that a gateway's door belongs to.
    pub fn at(door: Door) -> Self {
        Self { way: Way::Gateway(door) }
    }

    /// Starts the agent if there is none, and waits until it listens. At a gateway, only whether it is the right one.
    pub async fn ensure(&self) -> Result<(), ProviderError> {
        match &self.way {
            Way::Socket { paths, exe } => ensure(paths, exe).await,
            Way::Gateway(door) => door.open().await.map(drop),
        }
    }

    /// Whether an agent listens; starts none.
    pub async fn is_up(&self) -> bool {
        match &self.way {
            Way::Socket { paths, .. } => UnixStream::connect(paths.socket()).await.is_ok(),
            Way::Gateway(door) => door.open().await.is_ok(),
        }
    }

    /// Asks for something that must be there.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ProviderError> {
        self.call(Method::GET, path, &()).await?.value()
    }

    /// Sends something; a refusal is an error.
    pub async fn call<B: Serialize>(
        &self,
        method: Method,
        path: &str,
        body: &B,
    ) -> Result<Reply, ProviderError> {
        let reply = self.send(method, path, body).await?;
        if reply.status.is_success() { Ok(reply) } else { Err(reply.error()) }
    }

    /// Asks for something that may not be there.
    pub async fn find<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, ProviderError> {
        let reply = self.send(Method::GET, path, &()).await?;
        match reply.status {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => reply.value().map(Some),
            _ => Err(reply.error()),
        }
    }

    /// Whether something is there that has no body.
    pub async fn find_status(&self, path: &str) -> Result<bool, ProviderError> {
        let reply = self.send(Method::GET, path, &()).await?;
        match reply.status {
            StatusCode::NOT_FOUND => Ok(false),
            status if status.is_success() => Ok(true),
            _ => Err(reply.error()),
        }
    }

    async fn send<B: Serialize>(&self, method: Method, path: &str, body: &B) -> Result<Reply, ProviderError> {
        let body = Bytes::from(serde_json::to_vec(body).map_err(|error| rejected(error.to_string()))?);
        let asked = async {
            for tried in 1..TRIES {
                let wait = match self.exchange(method.clone(), path, body.clone()).await {
                    // It died under the question, and is being started again. Every request may be repeated.
                    Err(ProviderError::Unavailable { .. }) => TRY_EVERY,
                    Ok(reply) => match reply.again(tried) {
                        Some(wait) => wait,
                        None => return Ok(reply),
                    },
                    Err(error) => return Err(error),
                };
                tokio::time::sleep(wait).await;
            }
            self.exchange(method, path, body).await
        };
        match tokio::time::timeout(TIMEOUT, asked).await {
            Ok(reply) => reply,
            Err(_) => Err(unavailable(format!("the sandbox agent has not answered {path} for {TIMEOUT:?}"))),
        }
    }

    async fn connect(&self) -> Result<Box<dyn Wire>, ProviderError> {
        Ok(match &self.way {
            Way::Socket { paths, exe } => Box::new(connect(paths, exe).await?),
            Way::Gateway(door) => Box::new(door.open().await?),
        })
    }

    fn token(&self) -> Result<String, ProviderError> {
        match &self.way {
            Way::Socket { paths, .. } => token(&paths.token()),
            Way::Gateway(door) => door.token(),
        }
    }

    async fn exchange(&self, method: Method, path: &str, body: Bytes) -> Result<Reply, ProviderError> {
        let broken =
            |error: &dyn std::fmt::Display| unavailable(format!("the sandbox agent went away: {error}"));
        let stream = self.connect().await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| broken(&error))?;
        let driver = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(format!("/v1/{path}"))
            .header(header::HOST, "sandbox")
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token()?))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| rejected(error.to_string()))?;
        let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
        let status = response.status();
        let retry_after = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = retry_after.and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
        let body =
            Limited::new(response.into_body(), BODY_MAX).collect().await.map_err(|error| broken(&error))?;
        driver.abort();
        Ok(Reply { status, body: body.to_bytes(), retry_after })
    }

    /// A stream to a port of a machine, in blocking mode: through the agent, or straight to it from inside its cluster.
    pub async fn dial(&self, machine: &Machine, port: u16) -> Result<Stream, ProviderError> {
        match &self.way {
            Way::Socket { paths, exe } => dial(paths, exe, machine, port).await.map(Stream::Unix),
            Way::Gateway(_) => gateway::dial(machine, port).await.map(Stream::Tcp),
        }
    }
}

async fn ensure(paths: &Arc<Paths>, exe: &Path) -> Result<(), ProviderError> {
    let (paths, exe) = (Arc::clone(paths), exe.to_owned());
    let started = tokio::task::spawn_blocking(move || start::ensure_agent(&paths, &exe)).await;
    started.map_err(|error| unavailable(error.to_string()))?.map_err(ProviderError::from)
}

async fn connect(paths: &Arc<Paths>, exe: &Path) -> Result<UnixStream, ProviderError> {
    if let Ok(stream) = UnixStream::connect(paths.socket()).await {
        return Ok(stream);
    }
    // It ends by itself when nothing is left, and is started again after a crash: both are no reason to fail.
    ensure(paths, exe).await?;
    let stream = UnixStream::connect(paths.socket()).await;
    stream.map_err(|error| unavailable(format!("the sandbox agent does not listen: {error}")))
}

fn token(path: &Path) -> Result<String, ProviderError> {
    std::fs::read_to_string(path).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => StartError::NotRoot.into(),
        _ => unavailable(format!("cannot read {}: {error}", path.display())),
    })
}

/// The head of the answer is read byte by byte: the server may speak first, and what it says belongs to the caller.
async fn dial(
    paths: &Arc<Paths>,
    exe: &Path,
    machine: &Machine,
    port: u16,
) -> Result<BlockingStream, ProviderError> {
    let stream = connect(paths, exe).await?;
    let stream = stream.into_std().map_err(|error| unavailable(error.to_string()))?;
    let request = format!(
        "GET /v1/machines/{}/dial/{port} HTTP/1.1\r\nHost: sandbox\r\nAuthorization: Bearer {}\r\nConnection: Upgrade\r\nUpgrade: stream\r\n\r\n",
        machine.id,
        token(&paths.token())?
    );
    let opened = tokio::task::spawn_blocking(move || upgrade(stream, &request)).await;
    opened.map_err(|error| unavailable(error.to_string()))?
}

fn upgrade(mut stream: BlockingStream, request: &str) -> Result<BlockingStream, ProviderError> {
    let broken = |error: io::Error| unavailable(format!("the sandbox agent went away: {error}"));
    stream.set_nonblocking(false).map_err(broken)?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).map_err(broken)?;
    stream.write_all(request.as_bytes()).map_err(broken)?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD_MAX {
        let mut byte = [0];
        stream.read_exact(&mut byte).map_err(broken)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head);
    if head.starts_with("HTTP/1.1 101 ") {
        stream.set_read_timeout(None).map_err(broken)?;
        return Ok(stream);
    }
    // A refusal: the rest of this connection is its body.
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(StatusCode::BAD_GATEWAY);
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0_usize).min(HEAD_MAX)];
    stream.read_exact(&mut body).map_err(broken)?;
    Err(Reply { status, body: body.into(), retry_after: None }.error())
}
