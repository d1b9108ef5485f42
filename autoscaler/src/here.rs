//! The front-end that the daemon lives on, as [`Remote`]: its scripts run here, those of all other machines over SSH.
//!
//! They run as the daemon's own user and with its own kubeconfig: what recipes ask of a front-end (a join token, "forget this
//! node") needs no root.

use std::path::PathBuf;
use std::process::{ExitStatus, Output, Stdio};
use std::time::Duration;

use async_trait::async_trait;
use provisioner::provider::Owner;
use provisioner::remote::{Done, Job, Remote, RemoteError, SshRemote, Target};
use secrecy::SecretSlice;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// A question is answered by an API server on this machine.
const QUESTION: Duration = Duration::from_secs(60);
/// Lines of a failed script that are shown.
const TAIL: usize = 20;

/// Scripts on machines, from a front-end.
pub struct FromHere {
    ssh: SshRemote,
    kubeconfig: PathBuf,
}

impl FromHere {
    /// `kubeconfig` is what scripts find as `KUBECONFIG`.
    pub fn new(ssh: SshRemote, kubeconfig: PathBuf) -> Self {
        Self { ssh, kubeconfig }
    }

    async fn script(&self, script: &str, limit: Duration) -> Result<Output, RemoteError> {
        let broken = |error: std::io::Error| RemoteError::Here(format!("run a script: {error}"));
        let mut child = Command::new("/bin/sh")
            .args(["-e", "-s"])
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LANG", "C.UTF-8")
            .env("KUBECONFIG", &self.kubeconfig)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(broken)?;
        // On stdin, so that nothing of it is in any argument list.
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(script.as_bytes()).await.map_err(broken)?;
        }
        match tokio::time::timeout(limit, child.wait_with_output()).await {
            Ok(output) => output.map_err(broken),
            Err(_) => Err(RemoteError::TimedOut { limit, tail: Vec::new() }),
        }
    }
}

/// Whether the machine is the command line's: of those a daemon only ever talks to a front-end.
fn is_front_end(target: &Target) -> bool {
    target.machine.tags.owner == Owner::Cli
}

fn status(status: ExitStatus) -> i32 {
    status.code().unwrap_or(255)
}

fn last_lines(text: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(text);
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines[lines.len().saturating_sub(TAIL)..].to_vec()
}

#[async_trait]
impl Remote for FromHere {
    async fn run(&self, target: &Target, job: &Job) -> Result<Done, RemoteError> {
        if !is_front_end(target) {
            return self.ssh.run(target, job).await;
        }
        if !(job.files.is_empty() && job.blobs.is_empty()) {
            let words = format!("{} brings files, and only questions and hooks run here", job.unit);
            return Err(RemoteError::Here(words));
        }
        let output = self.script(&job.script, job.timeout).await?;
        Ok(Done { status: status(output.status), changed: true, tail: last_lines(&output.stderr) })
    }

    async fn ask(&self, target: &Target, script: &str) -> Result<SecretSlice<u8>, RemoteError> {
        if !is_front_end(target) {
            return self.ssh.ask(target, script).await;
        }
        let output = self.script(script, QUESTION).await?;
        if output.status.success() {
            return Ok(SecretSlice::from(output.stdout));
        }
        let words = last_lines(&output.stderr).join(" | ");
        Err(RemoteError::ScriptFailed { status: status(output.status), words })
    }
}
