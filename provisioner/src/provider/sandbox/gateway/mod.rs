//! The agent, asked from inside a cluster: at its gateway's address, over TLS with a pinned certificate.
//!
//! The daemon on a front-end asks for machines here, as it would ask OpenStack. Invariants: nothing is said before the
//! agent has shown the pinned certificate and proved that it has its key; the token is read anew for each request, so
//! that a new one counts at once, and it is in no log and no error; no agent is ever started from here.

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::wire::{rejected, unavailable};
use crate::provider::{Machine, ProviderError};
use crate::state::{self, StateError};

/// The name in the agent's certificate. Nothing depends on it: the certificate itself is pinned.
pub const NAME: &str = "continuum-sandbox";
/// To the gateway it takes a millisecond; a first answer that is lost is sent again after one second, then after two.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How a cluster's daemon reaches the agent: `provider: {type: sandbox-gateway, …}` of the daemon's own configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Access {
    /// The gateway's address and port.
    pub address: SocketAddr,
    /// sha256 of the agent's certificate (DER), hex.
    pub certificate: String,
    /// The file with the cluster's token; readable by the daemon alone.
    pub token_file: PathBuf,
}

impl Access {
    /// The door that this leads to; not opened yet.
    pub fn door(&self) -> Result<Door, ProviderError> {
        let fingerprint = fingerprint(&self.certificate).ok_or_else(|| {
            rejected(format!(
                "{:?} is no fingerprint: 64 hex digits, sha256 of a certificate",
                self.certificate
            ))
        })?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let pinned = Pinned { fingerprint, algorithms: provider.signature_verification_algorithms };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| rejected(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(pinned))
            .with_no_client_auth();
        // A resumed session shows no certificate: each connection proves anew who is there.
        config.resumption = Resumption::disabled();
        Ok(Door { access: self.clone(), tls: TlsConnector::from(Arc::new(config)) })
    }
}

/// The way to the agent through a gateway.
#[derive(Clone)]
pub struct Door {
    access: Access,
    tls: TlsConnector,
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Door").field(&self.access).finish()
    }
}

impl Door {
    /// A connection to the pinned agent, and to nobody else.
    pub(super) async fn open(&self) -> Result<TlsStream<TcpStream>, ProviderError> {
        let address = self.access.address;
        let opened = async {
            let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            self.tls.connect(name, stream).await
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, opened).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) if is_stranger(&error) => Err(rejected(format!(
                "who answers at {address} is not the sandbox agent that is pinned (certificate {}): nothing was sent to it",
                self.access.certificate
            ))),
            Ok(Err(error)) => {
                Err(unavailable(format!("the sandbox agent does not answer at {address}: {error}")))
            }
            Err(_) => Err(unavailable(format!(
                "the sandbox agent has not answered at {address} for {CONNECT_TIMEOUT:?}"
            ))),
        }
    }

    /// The cluster's token, as it stands in its file now.
    pub(super) fn token(&self) -> Result<String, ProviderError> {
        let text = state::read_private(&self.access.token_file).map_err(|error| match error {
            // Being written, or not there yet.
            StateError::Io { path, source, .. } => {
                unavailable(format!("cannot read {}: {source}", path.display()))
            }
            other => rejected(other.to_string()),
        })?;
        let token = text.trim();
        // It becomes part of a header; what is no token is not repeated, as it may be a secret all the same.
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(rejected(format!("{} holds no token", self.access.token_file.display())));
        }
        Ok(token.to_owned())
    }
}

/// A stream to a port of a machine, in blocking mode: who is inside the cluster needs nobody between.
pub(super) async fn dial(machine: &Machine, port: u16) -> Result<std::net::TcpStream, ProviderError> {
    let name = &machine.tags.machine;
    let address = machine.address.ok_or_else(|| unavailable(format!("{name} has no address yet")))?;
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect((address, port))).await;
    let stream = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).and_then(|stream| {
        stream.set_nodelay(true)?;
        let stream = stream.into_std()?;
        stream.set_nonblocking(false)?;
        Ok(stream)
    });
    stream.map_err(|error| unavailable(format!("{address} port {port}: {error}")))
}

/// Whether a handshake failed because of who was there, not because of the line.
fn is_stranger(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::InvalidCertificate(_)))
}

fn fingerprint(hex: &str) -> Option<[u8; 32]> {
    if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&hex[at..at + 2], 16).ok()?;
    }
    Some(bytes)
}

/// Takes one certificate and no other, whatever stands in it; that its holder has the key is checked as ever.
#[derive(Debug)]
struct Pinned {
    fingerprint: [u8; 32],
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if Sha256::digest(end_entity).as_slice() == self.fingerprint {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
