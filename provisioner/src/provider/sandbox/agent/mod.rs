//! The agent: owns the machines of one instance and answers the API.
//!
//! ```text
//! supervise ──► run: load records ─ open hub ─ adopt what runs ─ serve ─ (nothing left for a while) ─ remove everything
//! ```
//! Invariants: a record is on disk before its effect; one operation per machine at a time; a machine never depends on
//! this process being there; nothing outside this instance's folders, cgroups and hub is touched.

pub mod api;
pub mod clusters;
pub mod dns;
pub mod faults;
pub mod files;
pub mod forward;
pub mod gateway;
pub mod hub;
pub mod inotify;
pub mod internet;
pub mod machines;
pub mod quota;
pub mod record;
mod rights;
pub mod run;
mod strays;
pub mod supervise;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::machine::StepError;
use super::machine::cgroup::Hierarchy;
use super::machine::process::Process;
use super::paths::Paths;
use super::wire::{Cloud, Status, VERSION, rejected, unavailable};
use super::{tree, wire};
use crate::names::{CloudId, ClusterId, MachineId};
use crate::provider::{Machine, ProviderError};
use faults::Faults;
use gateway::Gateway;
use hub::Hub;
use quota::Quota;
use record::{ClusterRecord, Record, Seen};

/// Everything that the agent's tasks share.
#[derive(Debug)]
pub struct Agent {
    paths: Paths,
    cloud: CloudId,
    hierarchies: Vec<Hierarchy>,
    hub: Hub,
    gateway: Gateway,
    quota: Quota,
    started: Timestamp,
    token: String,
    /// Boots at once: more only make each of them slower.
    boots: Semaphore,
    /// One change of bridges, services and rules at a time.
    networks: tokio::sync::Mutex<()>,
    /// What goes wrong on purpose. Locked after `inner`, never before it.
    faults: Mutex<Faults>,
    /// One change of the faults at a time: the hub is made as they are.
    rewiring: tokio::sync::Mutex<()>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    clusters: BTreeMap<ClusterId, Cluster>,
    machines: BTreeMap<MachineId, Live>,
    /// Folders of machines that cannot be read: named, never touched.
    strays: Vec<strays::Stray>,
    last_use: Instant,
    stopping: Option<wire::StopRequest>,
}

struct Cluster {
    record: ClusterRecord,
    /// Name server and TLS endpoint on the gateway address.
    services: Vec<JoinHandle<()>>,
}

#[expect(clippy::missing_fields_in_debug, reason = "the record holds a token, which belongs in no log")]
impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("id", &self.record.id).finish()
    }
}

/// A machine, as this process knows it.
#[derive(Debug)]
struct Live {
    record: Record,
    /// On disk? Before that it is not listed.
    recorded: bool,
    process: Option<Process>,
    booting: bool,
    ready: bool,
    /// One operation at a time.
    lock: Arc<tokio::sync::Mutex<()>>,
    forwards: Vec<JoinHandle<()>>,
}

impl Live {
    fn new(record: Record, recorded: bool) -> Self {
        Self {
            record,
            recorded,
            process: None,
            booting: false,
            ready: false,
            lock: Arc::default(),
            forwards: Vec::new(),
        }
    }
    fn seen(&self) -> Seen {
        let alive = self.process.is_some_and(Process::alive);
        Seen { alive, booting: self.booting, ready: self.ready && alive }
    }
    fn machine(&self) -> Machine {
        self.record.machine(self.seen())
    }
    fn listed(&self) -> bool {
        self.recorded && !self.record.deleting
    }
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Over the socket: everything.
    Admin,
    /// Over a gateway: this cluster.
    Cluster(ClusterId),
}

impl Caller {
    fn may_see(&self, cluster: &ClusterId) -> bool {
        match self {
            Self::Admin => true,
            Self::Cluster(own) => own == cluster,
        }
    }
}

impl Agent {
    /// The instance's folders.
    pub(in crate::provider::sandbox) fn paths(&self) -> &Paths {
        &self.paths
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere leaves plain maps behind, which are as good as before.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that somebody is interested: the agent does not end for a while.
    pub fn touch(&self) {
        self.inner().last_use = crate::clock::monotonic();
    }

    /// What there is.
    pub fn status(&self) -> Status {
        let strays = self.strays();
        let inner = self.inner();
        Status {
            version: VERSION,
            cloud: self.cloud.clone(),
            instance: self.paths.instance.clone(),
            pid: std::process::id(),
            started: self.started,
            clusters: inner.clusters.keys().cloned().collect(),
            machines: inner.machines.values().filter(|live| live.listed()).count(),
            quota: self.limits(),
            used: used(&inner),
            tree_ready: tree::ready(&self.paths).is_some(),
            strays,
            faults: self.faults().words().to_vec(),
        }
    }

    /// What may be used: what this computer has, or less of it by a fault.
    fn limits(&self) -> Quota {
        let machines = self.faults().quota().unwrap_or(self.quota.machines);
        Quota { machines: machines.min(self.quota.machines), ..self.quota }
    }

    /// Which cloud this is.
    pub fn cloud(&self) -> Cloud {
        Cloud { version: VERSION, cloud: self.cloud.clone() }
    }

    /// The machines that the caller may see.
    pub fn list(&self, caller: &Caller) -> Vec<Machine> {
        let inner = self.inner();
        let visible = inner.machines.values().filter(|live| live.listed());
        visible.filter(|live| caller.may_see(&live.record.tags.cluster)).map(Live::machine).collect()
    }

    /// One machine; `None` if there is none that the caller may see.
    pub fn find(&self, caller: &Caller, id: &MachineId) -> Option<Machine> {
        let inner = self.inner();
        let live = inner.machines.get(id).filter(|live| live.listed())?;
        caller.may_see(&live.record.tags.cluster).then(|| live.machine())
    }

    /// Whether there is such a machine for the caller, if only until its deletion has ended; an error if it is not the
    /// caller's to delete.
    pub fn may_delete(&self, caller: &Caller, id: &MachineId) -> Result<bool, ProviderError> {
        let inner = self.inner();
        let seen = |live: &&Live| caller.may_see(&live.record.tags.cluster);
        let Some(live) = inner.machines.get(id).filter(seen) else { return Ok(false) };
        rights::may_delete(caller, &live.record).map(|()| true)
    }

    /// The last part of a machine's console.
    pub fn console(&self, id: &MachineId) -> String {
        let dir = self.paths.machine(id);
        let read = |name: &str| std::fs::read(dir.join(name)).unwrap_or_default();
        let mut text = read("console.log");
        if text.len() < CONSOLE_SHOWN {
            text = [read("console.log.1"), text].concat();
        }
        let from = text.len().saturating_sub(CONSOLE_SHOWN);
        let text = String::from_utf8_lossy(&text[from..]).replace('\r', "");
        if text.is_empty() { String::from_utf8_lossy(&read("boot.log")).into_owned() } else { text }
    }

    fn record_path(&self, id: &MachineId) -> PathBuf {
        self.paths.machine(id).join("machine.json")
    }
}

/// About a thousand lines: what a person reads to find out why a machine does not come up.
const CONSOLE_SHOWN: usize = 128 << 10;

fn used(inner: &Inner) -> Quota {
    Quota::used(inner.machines.values().filter(|live| !live.record.deleting).map(|live| &live.record.shape))
}

/// A step of ours that failed, as the cloud's answer. A full disk is a lack of room, all else may be better later.
pub fn failed(error: StepError) -> ProviderError {
    if error.source.kind() == std::io::ErrorKind::StorageFull {
        return ProviderError::NoCapacity { message: format!("{error}; free some space on this disk") };
    }
    unavailable(error.to_string())
}

fn no_machine(id: &MachineId) -> ProviderError {
    rejected(format!("there is no machine {id}"))
}
