//! OpenSSH's encodings of ed25519 keys: the only file that names ssh-key.

use secrecy::SecretString;
use ssh_key::private::{Ed25519Keypair, Ed25519PrivateKey, KeypairData};
use ssh_key::public::Ed25519PublicKey;
use ssh_key::{Fingerprint, HashAlg, LineEnding, PrivateKey, PublicKey};

use super::{KeyPair, SEED};

/// A text that should be a public key is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no public key: {reason}: expecting `ssh-ed25519 AAAA…`")]
pub struct HostKeyError {
    reason: String,
}

/// A public key as OpenSSH writes it, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKey {
    text: String,
    blob: Vec<u8>,
}

impl HostKey {
    /// Checks `ssh-ed25519 AAAA… [comment]`.
    pub fn parse(text: &str) -> Result<Self, HostKeyError> {
        let refuse = |e: ssh_key::Error| HostKeyError { reason: e.to_string() };
        let key = PublicKey::from_openssh(text.trim()).map_err(refuse)?;
        Ok(Self { text: text.trim().to_owned(), blob: key.to_bytes().map_err(refuse)? })
    }
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
    /// The algorithm: `ssh-ed25519`.
    pub fn algorithm(&self) -> &str {
        self.text.split_whitespace().next().unwrap_or_default()
    }
    /// What travels in the key exchange.
    pub fn blob(&self) -> &[u8] {
        &self.blob
    }
    /// `SHA256:…`, as ssh-keygen prints it.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.blob)
    }
}

/// `SHA256:…` of a key as it travels in the key exchange; of bytes that are no key too.
pub(crate) fn fingerprint(blob: &[u8]) -> String {
    use sha2::Digest;
    Fingerprint::Sha256(sha2::Sha256::digest(blob).into()).to_string()
}

/// The key pair of 32 secret bytes.
pub(super) fn key_pair(secret: &[u8; SEED], comment: &str) -> KeyPair {
    // The public half comes from the library that signs, not from a stored copy.
    let signing = ed25519_dalek::SigningKey::from_bytes(secret);
    let public = Ed25519PublicKey(signing.verifying_key().to_bytes());
    let pair = Ed25519Keypair { public, private: Ed25519PrivateKey::from_bytes(secret) };
    let key =
        PrivateKey::new(KeypairData::Ed25519(pair), comment).expect("an ed25519 key that is not encrypted");
    encode(&key).expect("an ed25519 key has an encoding")
}

/// Reads an OpenSSH private key, not encrypted.
pub(super) fn parse_private(text: &str) -> Result<KeyPair, ssh_key::Error> {
    let key = PrivateKey::from_openssh(text)?;
    if key.is_encrypted() {
        return Err(ssh_key::Error::Encrypted);
    }
    encode(&key)
}

fn encode(key: &PrivateKey) -> Result<KeyPair, ssh_key::Error> {
    let private = key.to_openssh(LineEnding::LF)?;
    let text = key.public_key().to_openssh()?;
    let blob = key.public_key().to_bytes()?;
    debug_assert_eq!(key.fingerprint(HashAlg::Sha256).to_string(), fingerprint(&blob));
    Ok(KeyPair { private: SecretString::from(private.as_str()), public: HostKey { text, blob } })
}
