//! Where an instance of the sandbox keeps its things.
//!
//! ```text
//! /var/lib/continuum/sandbox/INSTANCE/   what must survive a reboot: agent.json, clusters/, machines/ID/, trash/
//! /run/continuum/sandbox/INSTANCE/       what ends with the host: the socket, its token, the lock, the hub
//! CACHE/trees, CACHE/layers, CACHE/blobs what can be made again
//! ```

use std::path::{Path, PathBuf};

use crate::names::MachineId;

/// The folders of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The instance's name.
    pub instance: String,
    /// State that survives a reboot of the host.
    pub state: PathBuf,
    /// Sockets, locks and the pinned network namespace.
    pub run: PathBuf,
    /// The cache folder, shared by all instances.
    pub cache: PathBuf,
}

/// What all instances share for as long as the host is up.
pub const RUN_ROOT: &str = "/run/continuum/sandbox";
/// In an instance's folder there: held by its one supervisor.
pub const LOCK: &str = "agent.lock";
const STATE_ROOT: &str = "/var/lib/continuum/sandbox";

/// The longest instance name: it is part of a cgroup's name and of socket paths (at most 107 characters).
pub const INSTANCE_MAX: usize = 40;

impl Paths {
    /// The folders of `instance`, with the given cache folder. The name is checked: it becomes part of paths.
    pub fn new(instance: &str, cache: &Path) -> Result<Self, String> {
        let fine = !instance.is_empty()
            && instance.len() <= INSTANCE_MAX
            && instance.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !instance.starts_with('-');
        if !fine {
            return Err(format!(
                "{instance:?} is no name of a sandbox instance: 1 to {INSTANCE_MAX} of a-z, 0-9 and -, not starting with -"
            ));
        }
        Ok(Self {
            instance: instance.to_owned(),
            state: Path::new(STATE_ROOT).join(instance),
            run: Path::new(RUN_ROOT).join(instance),
            cache: cache.to_owned(),
        })
    }
    /// The API's socket.
    pub fn socket(&self) -> PathBuf {
        self.run.join("agent.sock")
    }
    /// The token that every request over the socket needs; 0600.
    pub fn token(&self) -> PathBuf {
        self.run.join("token")
    }
    /// Held by the one supervisor of this instance.
    pub fn lock(&self) -> PathBuf {
        self.run.join(LOCK)
    }
    /// What the agent and its supervisor print.
    pub fn log(&self) -> PathBuf {
        self.run.join("agent.log")
    }
    /// The pinned network namespace with the clusters' bridges.
    pub fn hub(&self) -> PathBuf {
        self.run.join("hub")
    }
    /// Who the agent is: its random id.
    pub fn identity(&self) -> PathBuf {
        self.state.join("agent.json")
    }
    /// One JSON file per cluster.
    pub fn clusters(&self) -> PathBuf {
        self.state.join("clusters")
    }
    /// One folder per machine.
    pub fn machines(&self) -> PathBuf {
        self.state.join("machines")
    }
    /// The folder of one machine.
    pub fn machine(&self, id: &MachineId) -> PathBuf {
        self.machines().join(id.as_str())
    }
    /// Disks of deleted machines, on their way out.
    pub fn trash(&self) -> PathBuf {
        self.state.join("trash")
    }
    /// Debian trees, by the hash of their recipe.
    pub fn trees(&self) -> PathBuf {
        self.cache.join("trees")
    }
    /// Captured images.
    pub fn layers(&self) -> PathBuf {
        self.cache.join("layers")
    }
    /// Files by content: read-only in every machine at `/var/lib/continuum/shared`.
    pub fn blobs(&self) -> PathBuf {
        self.cache.join("blobs/sha256")
    }
    /// The instance's own folder in every cgroup hierarchy.
    pub fn cgroup(&self) -> PathBuf {
        PathBuf::from(format!("continuum.{}", self.instance))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_name_is_safe_as_a_path() {
        let long = "a".repeat(INSTANCE_MAX + 1);
        for bad in ["", "..", "a/b", "-a", "A", long.as_str()] {
            assert!(Paths::new(bad, Path::new("/c")).is_err(), "{bad}");
        }
        let paths = Paths::new("t-1", Path::new("/c")).unwrap();
        assert_eq!(paths.socket(), Path::new("/run/continuum/sandbox/t-1/agent.sock"));
        assert_eq!(paths.machine(&"x".into()), Path::new("/var/lib/continuum/sandbox/t-1/machines/x"));
    }
}
