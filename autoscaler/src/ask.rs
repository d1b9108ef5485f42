//! Asks the daemon that runs on this front-end, for people who come over SSH.

use std::io::Write as _;

use anyhow::{Context, bail};
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

/// Where the daemon listens.
pub const SOCKET: &str = "/run/continuum-autoscaler/api.sock";

/// Asks, and prints the answer's body.
///
/// # Errors
/// It does not run, or it says no, with its words.
pub async fn ask(method: &str, path: &str) -> anyhow::Result<()> {
    let stream = UnixStream::connect(SOCKET)
        .await
        .context("the autoscaler does not run here: systemctl status continuum-autoscaler")?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "autoscaler")
        .body(Empty::<Bytes>::new())?;
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    if !status.is_success() {
        bail!("{}", String::from_utf8_lossy(&body).trim());
    }
    std::io::stdout().write_all(&body)?;
    Ok(())
}
