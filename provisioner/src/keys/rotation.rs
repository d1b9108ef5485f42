//! Replacing a machine's first host key, which travelled in user-data, by its second.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretSlice};
use sha2::{Digest, Sha256};

use crate::remote::{Job, JobFile};

use super::KeyPair;

const SCRIPT: &str = include_str!("rotate.sh");

/// The job that makes `new` a machine's only ed25519 host key. While it is not known to have ended, both keys are
/// right ([`Target::host_keys`](crate::remote::Target)); afterwards only the new one. The connection that runs it
/// survives, and it may be repeated.
pub fn rotation_job(new: &KeyPair) -> Job {
    let hash = Sha256::new().chain_update(SCRIPT).chain_update(new.public()).finalize();
    let short: String = hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let public = format!("{}\n", new.public());
    Job {
        unit: format!("continuum-host-key-{short}"),
        script: SCRIPT.to_owned(),
        files: vec![
            JobFile {
                name: "host_key".into(),
                content: SecretSlice::from(new.private().expose_secret().as_bytes().to_vec()),
            },
            JobFile { name: "host_key.pub".into(), content: SecretSlice::from(public.into_bytes()) },
        ],
        blobs: Vec::new(),
        timeout: Duration::from_secs(60),
    }
}
