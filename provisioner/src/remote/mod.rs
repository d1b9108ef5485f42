//! Running steps on machines: what crosses the boundary, and the trait behind it.
//!
//! `ssh.rs` is the only file that names ssh2. Invariants: no trust on first use; a time-out on everything;
//! a step survives a dropped connection and is found again by its unit name; its exit status is never lost.

mod client;
mod log;
mod openssh;
mod pin;
mod ssh;
mod talk;
mod wire;

pub use client::SshRemote;
pub use log::path as log_path;
pub use openssh::{Access, AccessError, ssh_command};
pub use wire::count_events;

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretSlice;

use crate::names::MachineName;
use crate::provider::Machine;

/// How to reach one machine and how to know that it is the right one.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its name, for messages and the log file.
    pub name: MachineName,
    /// The machine as the cloud shows it: what `Provider::dial` wants.
    pub machine: Machine,
    /// Public host keys that are right, `ssh-ed25519 AAAA…`: one, or two while the first is being replaced. Where only
    /// its fingerprint is known, `SHA256:…` of an ed25519 key.
    pub host_keys: Vec<String>,
}

/// One script to run on a machine as root, with what it needs.
#[derive(Debug)]
pub struct Job {
    /// Unit name, `[a-z0-9-]`: the same job again finds the unit that runs already, or its result.
    /// A success is kept as long as the machine's disk: who wants it done afresh gives another name (the name
    /// has a hash of the script, so a changed script is another job). A failure is kept until it was reported once;
    /// after that the same name runs again.
    pub unit: String,
    /// POSIX sh, complete.
    pub script: String,
    /// Small files put beside the script (0600, in memory file system), for example a join configuration:
    /// travel through the encrypted channel only.
    pub files: Vec<JobFile>,
    /// Large files by content: what is on the machine already is not sent again.
    pub blobs: Vec<Blob>,
    /// Ends the unit when it takes longer.
    pub timeout: Duration,
}

/// A small file for a job; its content may be secret.
#[derive(Debug)]
pub struct JobFile {
    /// File name, no slash: the script finds it at `$CONTINUUM_FILES/<name>`.
    pub name: String,
    /// Content.
    pub content: SecretSlice<u8>,
}

/// A file known by its content; on the machine it is `/var/lib/continuum/blobs/<sha256>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// sha256, lower-case hex.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    /// Where it is here.
    pub path: PathBuf,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// The script's exit status.
    pub status: i32,
    /// Whether the script said that it changed something (it writes `unchanged` to `$CONTINUUM_RESULT` if not).
    pub changed: bool,
    /// The last lines of its output, at most 20.
    pub tail: Vec<String>,
}

/// Why a machine could not be used, in the kinds that the engine acts on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemoteError {
    /// Port closed, no route, no banner: wait.
    #[error("not up yet: {0}")]
    NotUp(String),
    /// The host key is not the pinned one: stop. Somebody else answers, or the machine was made anew.
    #[error("wrong host key: expected {expected}, got {got}")]
    WrongHostKey {
        /// Fingerprints, comma-separated.
        expected: String,
        /// Fingerprint.
        got: String,
    },
    /// The machine and we have no algorithm in common, or our key file is unusable: stop.
    #[error("key refused: {0}")]
    KeyRefused(String),
    /// The machine does not let us in: stop.
    #[error("authentication refused for {user}: {reason}")]
    AuthRefused {
        /// The user.
        user: String,
        /// libssh2's words.
        reason: String,
    },
    /// The connection broke while something ran: connect again; the unit goes on.
    #[error("connection dropped: {0}")]
    Dropped(String),
    /// The script took longer than its limit and was ended.
    #[error("timed out after {limit:?}")]
    TimedOut {
        /// What it was allowed.
        limit: Duration,
        /// Its last lines.
        tail: Vec<String>,
    },
    /// A question's script failed ([`Remote::ask`] only: a job's failure is an `Ok` with its status).
    #[error("script failed with status {status}: {words}")]
    ScriptFailed {
        /// Its exit status.
        status: i32,
        /// The last of what it wrote to stderr.
        words: String,
    },
    /// The machine cannot run jobs: its disk is full, it has no systemd. Stop, with these words.
    #[error("cannot run jobs: {0}")]
    Unfit(String),
    /// Something on this computer: a file that cannot be read or written, a job that is malformed.
    #[error("on this computer: {0}")]
    Here(String),
}

/// Scripts on machines. Implementations: SSH, and the in-memory world.
#[async_trait]
pub trait Remote: Send + Sync {
    /// Runs a job, or joins the one of this unit that runs already, or returns its kept result.
    /// Output goes to the machine's log file as it comes. A failed script is an `Ok` with its status.
    async fn run(&self, target: &Target, job: &Job) -> Result<Done, RemoteError>;
    /// Runs a short script and returns what it prints on stdout; nothing of it is logged or kept.
    async fn ask(&self, target: &Target, script: &str) -> Result<SecretSlice<u8>, RemoteError>;
}
