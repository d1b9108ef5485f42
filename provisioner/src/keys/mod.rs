//! A cluster's keys: the operator's login key, and the seed from which every machine's host keys come.
//!
//! ```text
//! operator   drawn once ──────────────────────────────► authorised on every machine
//! seed       drawn once ─► HKDF(machine, birth, 1) ───► host key in user-data (the only secret there)
//!                       └► HKDF(machine, birth, 2) ───► host key from the first login on
//! ```
//!
//! Invariants: the same machine and birth give the same keys, so a create call can be repeated word for word and
//! nothing about host keys is saved but one seed; private halves are wiped from memory and never printed.

use std::fmt;

use hkdf::Hkdf;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretBox, SecretString};
use sha2::Sha256;

use crate::names::MachineName;
use crate::provider::UserData;

mod openssh;
mod rotation;
mod store;
mod takeover;

pub(crate) use openssh::fingerprint;
pub use openssh::{HostKey, HostKeyError};
pub use rotation::rotation_job;
pub use store::{KeysError, login_key};
pub use takeover::takeover_job;

/// Bytes of the seed and of an ed25519 private key.
const SEED: usize = 32;

/// An ed25519 key in OpenSSH's encodings.
#[derive(Clone)]
pub struct KeyPair {
    private: SecretString,
    public: HostKey,
}

impl KeyPair {
    /// The private half, `-----BEGIN OPENSSH PRIVATE KEY-----…`, not encrypted.
    pub fn private(&self) -> &SecretString {
        &self.private
    }
    /// The public half, `ssh-ed25519 AAAA… comment`.
    pub fn public(&self) -> &str {
        self.public.as_str()
    }
    /// `SHA256:…`, as ssh-keygen prints it.
    pub fn fingerprint(&self) -> String {
        self.public.fingerprint()
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyPair").field(&self.fingerprint()).finish()
    }
}

/// The two host keys that a machine has in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// Travels in user-data, which others may read; good for the first login only.
    First,
    /// Put in over the authenticated connection; never leaves the machine and us.
    Second,
}

/// Where host keys come from.
type Seed = SecretBox<[u8; SEED]>;

/// All keys of one cluster.
pub struct Keys {
    operator: KeyPair,
    seed: Seed,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("operator", &self.operator).finish_non_exhaustive()
    }
}

impl Keys {
    /// The key that logs in to every machine.
    pub fn operator(&self) -> &KeyPair {
        &self.operator
    }

    /// Who may log in to every machine: the operator's public key, then those of others.
    pub fn authorized(&self, others: &[String]) -> Vec<String> {
        let own = self.operator.public().to_owned();
        [own].into_iter().chain(others.iter().map(|key| key.trim().to_owned())).collect()
    }

    /// A machine's host key. `birth` is when its row was made: a machine of the same name that is made anew
    /// has another key.
    pub fn host_key(&self, machine: &MachineName, birth: Timestamp, generation: Generation) -> KeyPair {
        host_key(&self.seed, machine, birth, generation)
    }

    /// What a machine reads at its first boot. The same arguments give the same bytes. `others`: public keys that may
    /// log in beside the operator's.
    pub fn user_data(&self, machine: &MachineName, birth: Timestamp, others: &[String]) -> UserData {
        let first = self.host_key(machine, birth, Generation::First);
        UserData {
            host_key_public: first.public().to_owned(),
            host_key: first.private,
            authorized_keys: self.authorized(others),
            script: String::new(),
        }
    }
}

fn host_key(seed: &Seed, machine: &MachineName, birth: Timestamp, generation: Generation) -> KeyPair {
    let birth = birth.as_nanosecond().to_be_bytes();
    let generation = match generation {
        Generation::First => [1],
        Generation::Second => [2],
    };
    // A name has no zero byte and the other two parts are of fixed length: no two machines share an info.
    let info: [&[u8]; 4] = [machine.as_str().as_bytes(), &[0], &birth, &generation];
    let mut key = zeroize::Zeroizing::new([0; SEED]);
    Hkdf::<Sha256>::new(Some(b"continuum host key, version 1"), seed.expose_secret())
        .expand_multi_info(&info, key.as_mut())
        .expect("HKDF-SHA256 gives up to 8160 bytes");
    openssh::key_pair(&key, machine.as_str())
}

#[cfg(test)]
mod tests;
