//! What the autoscaler says of itself, and what it can be told: JSON over HTTP on a socket of the front-end, which the command line
//! reaches through SSH.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /v1/status` | [`Status`] |
//! | `GET /v1/explain/pod/NAMESPACE/NAME`, `GET /v1/explain/node/NAME` | an explanation |
//! | `GET /v1/host-keys/NAME` | the machine's public host keys that are right, `ssh-ed25519 AAAA…` |
//! | `POST /v1/mode/MODE` | nothing |
//! | `GET /metrics`, `/healthz`, `/readyz` | text |

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::names::{ClusterId, MachineName, PoolName};

/// The program on the front-end that asks the socket: `continuum-autoscaler ask METHOD PATH`.
pub const ASK: &str = "continuum-autoscaler ask";

/// What the daemon may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Everything.
    #[default]
    Active,
    /// What was begun is finished; nothing new is decided.
    Paused,
    /// It decides and says so, and touches nothing.
    Shadow,
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Shadow => "shadow",
        })
    }
}

/// What the autoscaler sees and does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The program's version.
    pub version: String,
    /// The cluster.
    pub cluster: ClusterId,
    /// When it looked last.
    pub at: Option<Timestamp>,
    /// What it may do.
    pub mode: Mode,
    /// Whether it holds the lease: if not, another one acts.
    pub leads: bool,
    /// Why the view may be old, if it may be.
    pub stale: Option<String>,
    /// Why nothing is done at all.
    pub stop: Option<String>,
    /// Its pools.
    pub pools: Vec<Pool>,
    /// Its machines.
    pub machines: Vec<Machine>,
    /// What does not happen now, and why.
    pub waits: Vec<Wait>,
    /// What was decided last, newest last.
    pub decisions: Vec<Decision>,
}

/// A pool of the daemon's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// Its name.
    pub name: PoolName,
    /// The least that it has.
    pub min: u32,
    /// The most.
    pub max: u32,
    /// Machines that are Ready.
    pub ready: u32,
    /// Machines on their way.
    pub booting: u32,
    /// Machines that are being emptied or deleted.
    pub leaving: u32,
}

/// A machine of the daemon's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Its name.
    pub name: MachineName,
    /// Its pool.
    pub pool: PoolName,
    /// Its size.
    pub shape: String,
    /// What is done with it.
    pub phase: String,
    /// Since when there is a row for it.
    pub born: Timestamp,
    /// Why it goes.
    pub leaving: Option<String>,
}

/// Something that does not happen now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// Who waits, in words.
    pub subject: String,
    /// One word for machines.
    pub word: String,
    /// The reason.
    pub text: String,
}

/// Something that was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// When.
    pub at: Timestamp,
    /// What.
    pub text: String,
}
