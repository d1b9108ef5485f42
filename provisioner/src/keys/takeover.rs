//! Taking a machine over: another computer's host key is put in place of the one that is there, and its login key is
//! authorised beside those that are.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretSlice};
use sha2::{Digest, Sha256};

use super::{KeyPair, rotation_job};
use crate::remote::{Job, JobFile};

/// Before the host key is replaced: who comes back after a kill between the two must be let in by either key.
const AUTHORISE: &str = include_str!("authorise.sh");

/// The job that authorises these public keys and makes `new` the machine's only ed25519 host key. It may be repeated,
/// and the connection that runs it survives.
pub fn takeover_job(new: &KeyPair, authorized: &[String]) -> Job {
    let rotation = rotation_job(new);
    let script = format!("(\n{AUTHORISE}\n)\n{}", rotation.script);
    let keys: String = authorized.iter().map(|key| format!("{}\n", key.trim())).collect();
    let hash = Sha256::new().chain_update(&script).chain_update(new.public()).chain_update(&keys).finalize();
    let short: String = hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let authorized = JobFile { name: "authorized".into(), content: SecretSlice::from(keys.into_bytes()) };
    let copied = rotation.files.iter().map(|file| JobFile {
        name: file.name.clone(),
        content: SecretSlice::from(file.content.expose_secret().to_vec()),
    });
    Job {
        unit: format!("continuum-take-over-{short}"),
        script,
        files: copied.chain([authorized]).collect(),
        blobs: Vec::new(),
        timeout: Duration::from_secs(60),
    }
}
