//! The same API for the machines of a cluster: on the gateway's address, over TLS with a pinned key.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::super::gateway::NAME;
use super::super::machine::StepError;
use super::faults::line::{Line, Lines};
use super::{Agent, api, files};

/// The port on every gateway address; the hub has no other services, so it is never taken.
pub const PORT: u16 = 7443;
/// A client that has not finished its handshake by then is none.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections that wait for the API's loop; more wait in the kernel.
const BACKLOG: usize = 16;

/// The agent's key and certificate.
pub struct Gateway {
    acceptor: TlsAcceptor,
    fingerprint: String,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize)]
struct Kept {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Gateway {
    /// Reads the key, or makes one: clients have pinned it, so it lives as long as the instance's state.
    pub fn open(path: &Path) -> Result<Self, StepError> {
        let other = |error: String| StepError {
            step: "make the gateway's key".into(),
            source: std::io::Error::other(error),
        };
        let kept = match files::load::<Kept>(path)? {
            Some(kept) => kept,
            None => {
                let made = rcgen::generate_simple_self_signed(vec![NAME.to_owned()])
                    .map_err(|error| other(error.to_string()))?;
                let kept =
                    Kept { certificate: made.cert.der().to_vec(), key: made.signing_key.serialize_der() };
                files::save(path, &kept)?;
                kept
            }
        };
        let fingerprint = files::hex(&Sha256::digest(&kept.certificate));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| other(error.to_string()))?
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from(kept.certificate)],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(kept.key)),
            )
            .map_err(|error| other(error.to_string()))?;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), fingerprint })
    }

    /// sha256 of the certificate, hex.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

/// Serves the API on one gateway until it is aborted.
pub(super) async fn serve(agent: Arc<Agent>, listener: TcpListener) {
    let (done, streams) = mpsc::channel(BACKLOG);
    let acceptor = agent.gateway.acceptor.clone();
    // Handshakes run beside each other: a slow client must not keep the others out.
    let accepting = tokio::spawn(async move {
        while !done.is_closed() {
            let Ok((stream, peer)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let (acceptor, done) = (acceptor.clone(), done.clone());
            tokio::spawn(async move {
                let shaken = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await;
                if let Ok(Ok(stream)) = shaken {
                    let _ = done.send((stream, peer)).await;
                }
            });
        }
    });
    let _accepting = AbortOnDrop(accepting);
    let routes = api::routes(agent, api::Door::Gateway);
    let service = routes.into_make_service_with_connect_info::<Line>();
    if let Err(error) = axum::serve(Lines(Shaken { streams }), service).await {
        tracing::warn!(%error, "a gateway has ended");
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Connections whose handshake is done.
struct Shaken {
    streams: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
}

impl axum::serve::Listener for Shaken {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.streams.recv().await {
            Some(pair) => pair,
            // The acceptor ends only together with this task.
            None => std::future::pending().await,
        }
    }
    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        Ok(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, PORT).into())
    }
}
