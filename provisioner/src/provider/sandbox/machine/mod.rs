//! One machine: its disk, its control groups, and the way from a process to pid 1 of a system of its own.
//!
//! ```text
//! agent ──exec──► keeper: enters the cgroups, new net and pid namespace, veth into the hub, console pty
//!                   └──exec──► init: mount, uts, ipc, cgroup namespaces, all mounts, pivot_root ──exec──► systemd
//! ```
//! No process forks without exec (the agent has threads). The keeper stays as long as the machine lives: it copies
//! the console to a file. Neither it nor pid 1 needs the agent, so both survive it.

pub mod cgroup;
pub mod disk;
pub mod fence;
pub mod init;
pub mod keeper;
pub mod process;
pub mod views;

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use cgroup::Hierarchy;
use process::Process;

/// A step that the operating system refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step}: {source}")]
pub struct StepError {
    /// What was tried, after "cannot".
    pub step: String,
    /// The operating system's words.
    pub source: io::Error,
}

impl StepError {
    /// For `map_err`: names the step.
    pub fn at<E: Into<io::Error>>(step: impl Into<String>) -> impl FnOnce(E) -> Self {
        let step = step.into();
        move |error| Self { step, source: error.into() }
    }
}

/// All that a boot needs to know; written to `boot.json` in the machine's folder, read by keeper and init.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boot {
    /// Host name.
    pub name: String,
    /// The machine's folder.
    pub dir: PathBuf,
    /// Lower layers of its root, topmost first.
    pub lowers: Vec<PathBuf>,
    /// The blob store of the host.
    pub blobs: PathBuf,
    /// The hub's pinned network namespace.
    pub hub: PathBuf,
    /// The hub's end of the veth; a fresh name at each boot, since a dead one goes away only a moment later.
    pub veth: String,
    /// The cluster's bridge in the hub.
    pub bridge: String,
    /// Its own address.
    pub address: Ipv4Addr,
    /// Length of the network's prefix.
    pub prefix: u8,
    /// The hub's address on the bridge.
    pub gateway: Ipv4Addr,
    /// `cgroup.procs` files to enter by.
    pub procs: Vec<PathBuf>,
    /// What the machine mounts below `/sys/fs/cgroup`.
    pub hierarchies: Vec<Hierarchy>,
    /// Text for `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
}

impl Boot {
    /// Reads `boot.json`.
    pub fn read(path: &Path) -> Result<Self, StepError> {
        let text = fs::read(path).map_err(StepError::at(format!("read {}", path.display())))?;
        serde_json::from_slice(&text).map_err(StepError::at(format!("understand {}", path.display())))
    }
}

/// The MAC of an address: fixed, since with a fresh one after a reboot the others' ARP entries
/// lead nowhere for nine seconds. `02` marks it as locally administered.
pub fn mac(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("02:53:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

/// The name of the hub's end of a machine's veth: at most 15 characters, unique in the hub, new at each boot.
pub fn veth(address: Ipv4Addr, boots: u32) -> String {
    format!("{}{}", veth_prefix(address), boots % 1_000_000)
}

/// What the names of all links that an address ever had begin with.
fn veth_prefix(address: Ipv4Addr) -> String {
    let [_, _, c, d] = address.octets();
    format!("v{c:02x}{d:02x}-")
}

/// Starts a machine; returns its pid 1 as soon as it exists. Blocks for some 30 ms.
pub fn launch(boot: &Boot) -> Result<Process, StepError> {
    let file = boot.dir.join("boot.json");
    let text = serde_json::to_vec_pretty(boot).map_err(StepError::at("write down the boot"))?;
    fs::write(&file, text).map_err(StepError::at(format!("write {}", file.display())))?;
    let log = boot.dir.join("boot.log");
    let errors = fs::File::create(&log).map_err(StepError::at(format!("make {}", log.display())))?;
    let mut child = Command::new("/proc/self/exe")
        .args(["sandbox", "keeper"])
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(errors)
        .spawn()
        .map_err(StepError::at("start the machine's keeper"))?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout)
            .read_line(&mut line)
            .map_err(StepError::at("hear from the machine's keeper"))?;
    }
    if let Ok(process) = serde_json::from_str(&line) {
        // The keeper lives as long as the machine; somebody has to take note of its end.
        std::thread::spawn(move || child.wait());
        return Ok(process);
    }
    let _ = child.wait();
    let words = fs::read_to_string(&log).unwrap_or_default();
    let last = words.lines().last().unwrap_or("the keeper ended without a word").to_owned();
    Err(StepError { step: format!("boot {}", boot.name), source: io::Error::other(last) })
}

/// Waits on a thread of its own: the blocking half of the agent has no runtime to wait with.
#[expect(
    clippy::disallowed_methods,
    reason = "blocking threads without a runtime have no other timer; always short"
)]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_devices_fit_the_kernel() {
        let address = Ipv4Addr::new(10, 213, 255, 254);
        assert_eq!(mac(address), "02:53:0a:d5:ff:fe");
        assert_eq!(veth(address, 3), "vfffe-3");
        assert!(veth(address, u32::MAX).len() <= 15);
    }
}
