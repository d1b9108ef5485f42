//! The way to the outside: user-mode networking (slirp4netns) in the hub, and who may use it.
//!
//! slirp4netns makes ordinary sockets of the host out of packets, so the host's network gets no address, route or rule.
//! Filter and masquerading are nftables rules inside the hub, loaded with the tree's own `nft`: the host needs none.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::super::machine::process::Process;
use super::super::machine::{StepError, pause};
use super::super::tree;
use super::machines::blocking;
use super::record::ClusterRecord;
use super::{Agent, files};
use crate::clock;

const DEVICE: &str = "tap0";
/// slirp4netns is ready in 20 ms on an idle host.
const READY_TIMEOUT: Duration = Duration::from_secs(10);

/// The hub's rules: clusters do not see each other; those with internet leave through the tap device.
fn rules(clusters: &[ClusterRecord]) -> String {
    let open: Vec<String> =
        clusters.iter().filter(|c| c.internet).map(|c| format!("\"{}\"", c.bridge())).collect();
    let leave = if open.is_empty() {
        String::new()
    } else {
        format!("    iifname {{ {} }} oifname \"{DEVICE}\" accept\n", open.join(", "))
    };
    format!(
        "table ip continuum\ndelete table ip continuum\ntable ip continuum {{\n  chain forward {{\n    type filter hook forward priority 0; policy drop;\n    ct state established,related accept\n{leave}  }}\n  chain postrouting {{\n    type nat hook postrouting priority 100;\n    oifname \"{DEVICE}\" masquerade\n  }}\n}}\n"
    )
}

impl Agent {
    /// Makes rules and process fit the clusters that are there. Without a cluster that wants it nothing runs.
    pub(super) async fn open_internet(self: &Arc<Self>) -> Result<(), StepError> {
        let agent = Arc::clone(self);
        blocking(move || tree::ensure(&agent.paths)).await?;
        let _one_at_a_time = self.networks.lock().await;
        let clusters: Vec<ClusterRecord> = self.inner().clusters.values().map(|c| c.record.clone()).collect();
        if !clusters.iter().any(|cluster| cluster.internet) {
            self.close_internet();
            return self.let_forward("0").await;
        }
        let agent = Arc::clone(self);
        blocking(move || {
            agent.run_slirp()?;
            let tree = tree::ensure(&agent.paths)?;
            let pin = fs::File::open(agent.paths.hub()).map_err(StepError::at("open the hub"))?;
            // An own thread: it stays in the hub, and threads of the pool must not.
            let job = std::thread::spawn(move || {
                nix::sched::setns(&pin, nix::sched::CloneFlags::CLONE_NEWNET)
                    .map_err(StepError::at("enter the hub"))?;
                load_rules(&tree, &rules(&clusters))
            });
            job.join().unwrap_or_else(|_| Err(step("load the hub's rules", "the thread panicked".into())))
        })
        .await?;
        self.let_forward("1").await
    }

    /// The hub is no router without rules: it would connect the clusters.
    async fn let_forward(&self, value: &'static str) -> Result<(), StepError> {
        let write = move || fs::write("/proc/sys/net/ipv4/ip_forward", value);
        let at = || StepError::at("let the hub forward");
        self.hub.run(write).await.map_err(at())?.map_err(at())
    }

    /// Ends slirp4netns.
    pub(super) fn close_internet(&self) {
        let path = self.paths.run.join("slirp.json");
        if let Ok(Some(process)) = files::load::<Process>(&path) {
            process.signal(Signal::SIGTERM);
        }
        let _ = fs::remove_file(&path);
    }

    fn run_slirp(&self) -> Result<(), StepError> {
        let path = self.paths.run.join("slirp.json");
        if files::load::<Process>(&path)?.is_some_and(Process::alive) {
            return Ok(());
        }
        let log = self.paths.run.join("slirp.log");
        let errors = fs::File::create(&log).map_err(StepError::at(format!("make {}", log.display())))?;
        let out = errors.try_clone().map_err(StepError::at("open a log"))?;
        let mut child = Command::new("slirp4netns")
            .args(["--configure", "--mtu=65520", "--disable-host-loopback", "--netns-type=path"])
            .arg(self.paths.hub())
            .arg(DEVICE)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(errors)
            .spawn()
            .map_err(StepError::at("run slirp4netns (package slirp4netns)"))?;
        let process = Process::of(i32::try_from(child.id()).unwrap_or_default())
            .map_err(StepError::at("see slirp4netns"))?;
        files::save(&path, &process)?;
        let since = clock::monotonic();
        loop {
            let said = fs::read_to_string(&log).unwrap_or_default();
            if said.contains("received tapfd") {
                break;
            }
            if let Ok(Some(status)) = child.try_wait() {
                let last = said.lines().last().unwrap_or_default();
                return Err(step("start slirp4netns", format!("it ended with {status}: {last}")));
            }
            if since.elapsed() > READY_TIMEOUT {
                return Err(step("start slirp4netns", "it is not ready after 10 s".into()));
            }
            pause(Duration::from_millis(5));
        }
        std::thread::spawn(move || child.wait());
        Ok(())
    }
}

/// Loads rules with the tree's `nft`, in this thread's network namespace.
pub(super) fn load_rules(tree: &Path, rules: &str) -> Result<(), StepError> {
    let fail = || StepError::at("load the hub's rules");
    let mut child = Command::new("chroot")
        .arg(tree)
        .args(["/usr/sbin/nft", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(fail())?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(rules.as_bytes()).map_err(fail())?;
    }
    let output = child.wait_with_output().map_err(fail())?;
    if output.status.success() {
        return Ok(());
    }
    Err(step("load the hub's rules", String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

fn step(what: &str, why: String) -> StepError {
    StepError { step: what.into(), source: std::io::Error::other(why) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::ClusterId;

    #[test]
    fn only_clusters_with_internet_leave_and_none_sees_another() {
        let cluster = |index, internet| ClusterRecord {
            version: 1,
            id: ClusterId::new("a-00000000").unwrap(),
            index,
            internet,
            token: String::new(),
        };
        let text = rules(&[cluster(0, true), cluster(1, false), cluster(2, true)]);
        assert!(text.contains("iifname { \"br0\", \"br2\" } oifname \"tap0\" accept"), "{text}");
        assert!(text.contains("policy drop"), "{text}");
        assert!(!rules(&[cluster(0, false)]).contains("iifname"));
    }
}
