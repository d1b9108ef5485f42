//! Who is let in, and what is said to whom: against a server of the test's own on loopback.

use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Mutex;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::names::ClusterId;
use crate::provider::sandbox::SandboxProvider;
use crate::provider::{Config, MachineState, Provider};

const TOKEN: &str = "0123456789abcdef";

/// A certificate and its key.
struct Pair {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

fn pair() -> Pair {
    let made = rcgen::generate_simple_self_signed(vec![NAME.to_owned()]).unwrap();
    Pair { certificate: made.cert.der().to_vec(), key: made.signing_key.serialize_der() }
}

fn pin(pair: &Pair) -> String {
    Sha256::digest(&pair.certificate).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Shows a certificate, whether the key belongs to it or not.
#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl ResolvesServerCert for Shows {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// A server that answers everything with one body, and what it was asked.
struct Double {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

async fn double(
    certificate: &Pair,
    key: &Pair,
    versions: &[&'static SupportedProtocolVersion],
    answers: &[&str],
) -> Double {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.key.clone()));
    let signing = provider.key_provider.load_private_key(private).unwrap();
    let shown = CertifiedKey::new(vec![CertificateDer::from(certificate.certificate.clone())], signing);
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Shows(Arc::new(shown))));
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (noted, answers) = (Arc::clone(&asked), answers.iter().map(ToString::to_string).collect::<Vec<_>>());
    tokio::spawn(async move {
        let mut answers = answers.iter();
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") && head.len() < 4096 {
                let Ok(byte) = stream.read_u8().await else { break };
                head.push(byte);
            }
            if head.is_empty() {
                // It went away without a word.
                continue;
            }
            noted.lock().unwrap().push(String::from_utf8_lossy(&head).into_owned());
            let Some(answer) = answers.next() else { continue };
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    Double { address, asked }
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

fn token_file(folder: &Path, text: &str, mode: u32) -> PathBuf {
    let path = folder.join("token");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    path
}

fn provider(address: SocketAddr, certificate: String, token_file: PathBuf) -> SandboxProvider {
    SandboxProvider::at_gateway(&Access { address, certificate, token_file }).unwrap()
}

const BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12, &rustls::version::TLS13];

#[tokio::test]
async fn the_pinned_agent_is_asked_with_the_token_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let agent = pair();
    let cloud = answer("200 OK", r#"{"version":2,"cloud":"sandbox-1"}"#);
    for version in BOTH {
        let double = double(&agent, &agent, &[*version], &[&cloud, &cloud]).await;
        let file = token_file(folder.path(), &format!("{TOKEN}\n"), 0o600);
        let provider = provider(double.address, pin(&agent), file.clone());
        assert_eq!(provider.cloud().await.unwrap().to_string(), "sandbox-1");
        // A new token counts from the next request on.
        token_file(folder.path(), "another", 0o600);
        provider.cloud().await.unwrap();
        let asked = double.asked.lock().unwrap().clone();
        assert!(asked[0].starts_with("GET /v1/cloud HTTP/1.1\r\n"), "{}", asked[0]);
        assert!(asked[0].contains(&format!("Bearer {TOKEN}\r\n")), "{}", asked[0]);
        assert!(asked[1].contains("Bearer another\r\n"), "{}", asked[1]);
    }
}

#[tokio::test]
async fn a_stranger_is_told_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (agent, stranger) = (pair(), pair());
    for version in BOTH {
        // Another certificate, and the pinned one in the hands of somebody who has not its key.
        for shown in [&stranger, &agent] {
            let double = double(shown, &stranger, &[*version], &[]).await;
            let file = token_file(folder.path(), TOKEN, 0o600);
            let error = provider(double.address, pin(&agent), file).cloud().await.unwrap_err();
            let right = format!("who answers at {} is not the sandbox agent that is pinned", double.address);
            let refused =
                matches!(&error, ProviderError::Rejected { message } if message.starts_with(&right));
            assert!(refused, "{error:?}");
            assert_eq!(*double.asked.lock().unwrap(), Vec::<String>::new());
        }
    }
}

#[tokio::test]
async fn what_fails_in_passing_is_tried_again_as_over_the_socket() {
    let folder = tempfile::tempdir().unwrap();
    let agent = pair();
    let busy = answer("500 Internal Server Error", "");
    let cloud = answer("200 OK", r#"{"version":2,"cloud":"sandbox-1"}"#);
    // An answer that is lost, one that says "not now", and the right one.
    let double = double(&agent, &agent, BOTH, &["", &busy, &cloud]).await;
    let file = token_file(folder.path(), TOKEN, 0o600);
    assert_eq!(provider(double.address, pin(&agent), file).cloud().await.unwrap().to_string(), "sandbox-1");
    assert_eq!(double.asked.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn an_agent_that_is_not_there_is_unavailable_and_none_is_started() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
    let provider = provider(nobody, pin(&pair()), token_file(folder.path(), TOKEN, 0o600));
    assert!(!provider.is_up().await);
    let error = provider.cloud().await.unwrap_err();
    let right = format!("the sandbox agent does not answer at {nobody}: ");
    assert!(
        matches!(&error, ProviderError::Unavailable { message, .. } if message.starts_with(&right)),
        "{error:?}"
    );
}

#[tokio::test]
async fn the_words_of_the_agent_come_through() {
    let folder = tempfile::tempdir().unwrap();
    let agent = pair();
    let body = r#"{"kind":"rejected","message":"this token is for one cluster only"}"#;
    let refusal = answer("403 Forbidden", body);
    let double = double(&agent, &agent, BOTH, &[&refusal]).await;
    let provider = provider(double.address, pin(&agent), token_file(folder.path(), TOKEN, 0o600));
    let error = provider.sweep(&ClusterId::new("lab1-00000000").unwrap()).await.unwrap_err();
    assert_eq!(error, rejected("this token is for one cluster only"));
}

#[tokio::test]
async fn a_token_that_others_can_read_or_that_is_none_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let agent = pair();
    let double = double(&agent, &agent, BOTH, &[]).await;
    for (text, mode, why) in [
        (TOKEN, 0o644, "is open to others (mode 644): chmod 600"),
        ("", 0o600, "holds no token"),
        ("two\r\nlines: of a header", 0o600, "holds no token"),
    ] {
        let file = token_file(folder.path(), text, mode);
        let error = provider(double.address, pin(&agent), file).cloud().await.unwrap_err();
        assert!(matches!(&error, ProviderError::Rejected { message } if message.contains(why)), "{error:?}");
        assert!(text.is_empty() || !error.to_string().contains(text), "{error}");
    }
    assert_eq!(*double.asked.lock().unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn machines_are_dialled_straight() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let tags = serde_json::json!({"cluster": "a-00000000", "pool": "w", "owner": "autoscaler", "ledger": "l",
        "machine": "a-w-1", "expires": null, "host_key": "SHA256:x"});
    let mut machine = Machine {
        id: "m".into(),
        tags: serde_json::from_value(tags).unwrap(),
        state: MachineState::Running,
        address: Some(Ipv4Addr::LOCALHOST.into()),
        exposed: Default::default(),
        shape: crate::spec::Shape::of("1".parse().unwrap(), "1Gi".parse().unwrap()),
        created: None,
    };
    let mut stream = dial(&machine, port).await.unwrap();
    let (mut served, _) = listener.accept().await.unwrap();
    served.write_all(b"SSH-2.0").await.unwrap();
    let read = tokio::task::spawn_blocking(move || {
        let mut text = [0; 7];
        std::io::Read::read_exact(&mut stream, &mut text).map(|()| text)
    });
    assert_eq!(&read.await.unwrap().unwrap(), b"SSH-2.0");
    machine.address = None;
    assert_eq!(dial(&machine, port).await.unwrap_err(), unavailable("a-w-1 has no address yet"));
}

#[test]
fn the_daemons_configuration_names_a_gateway_and_a_wrong_one_is_refused() {
    let text = serde_json::json!({"type": "sandbox-gateway", "address": "10.213.0.1:7443",
        "certificate": "ab".repeat(32), "token_file": "/etc/continuum/sandbox.token"});
    let config: Config = serde_json::from_value(text.clone()).unwrap();
    assert_eq!(serde_json::to_value(&config).unwrap(), text);
    assert_eq!(config.describe(), "sandbox at 10.213.0.1:7443");
    let mut more = text;
    more["token"] = TOKEN.into();
    assert!(serde_json::from_value::<Config>(more).is_err(), "a token has no place in a configuration");
    for wrong in ["", "ab", &"xy".repeat(32), &"é".repeat(32)] {
        let access = Access {
            address: ([10, 213, 0, 1], 7443).into(),
            certificate: wrong.to_owned(),
            token_file: "/x".into(),
        };
        let error = access.door().unwrap_err();
        assert!(error.to_string().contains("is no fingerprint"), "{error}");
    }
}
