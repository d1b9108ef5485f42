//! Create, boot, stop, start and delete: the operations on one machine.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::sync::OwnedMutexGuard;
use tokio::task::spawn_blocking;

use super::super::machine::process::Process;
use super::super::machine::{Boot, StepError, cgroup, disk, launch, pause, veth};
use super::super::tree;
use super::super::wire::{rejected, unavailable};
use super::record::{ClusterRecord, PREFIX, Record};
use super::{Agent, Caller, Live, failed, files, no_machine, quota, rights, used};
use crate::clock;
use crate::names::MachineId;
use crate::provider::{Machine, MachineRequest, ProviderError, Tags};

/// A machine without answer after this is shown as running all the same if its pid 1 lives; people then look at its console.
const READY_TIMEOUT: Duration = Duration::from_secs(120);
/// sshd answers 0.3 s after pid 1 starts; asking costs a microsecond on one computer.
const PROBE_EVERY: Duration = Duration::from_millis(20);
/// A killed pid namespace is gone in milliseconds; with hundreds of pods it took a second.
const KILL_TIMEOUT: Duration = Duration::from_secs(15);

impl Agent {
    /// Makes a machine, or finds the one that this token made. Returns when it is recorded; it boots on its own.
    pub async fn create(
        self: &Arc<Self>,
        caller: &Caller,
        request: MachineRequest,
    ) -> Result<Machine, ProviderError> {
        self.check_image(&request.image)?;
        tree::layers::touch(self.paths(), &request.image);
        let (record, cluster, _guard) = match self.reserve(caller, &request)? {
            Reserved::Fresh { record, cluster, guard } => (record, cluster, guard),
            Reserved::Known { id, lock } => {
                // It may be on its way to disk right now: its lock is free when that is over.
                let _guard = lock.lock_owned().await;
                return self
                    .inner()
                    .machines
                    .get(&id)
                    .map(Live::machine)
                    .ok_or_else(|| unavailable("the same request failed a moment ago"));
            }
        };
        let id = record.id.clone();
        let agent = Arc::clone(self);
        let made = spawn_blocking(move || agent.write_disk(&record, &cluster, &request)).await;
        let result =
            made.map_err(|error| unavailable(error.to_string())).and_then(|made| made.map_err(failed));
        if result.is_ok() {
            self.draw_fate(&id);
        }
        let mut inner = self.inner();
        if let Err(error) = result {
            inner.machines.remove(&id);
            return Err(error);
        }
        let live = inner.machines.get_mut(&id).ok_or_else(|| no_machine(&id))?;
        live.recorded = true;
        let machine = live.machine();
        drop(inner);
        tokio::spawn(Arc::clone(self).boot(id));
        Ok(machine)
    }

    /// Takes an id and an address, or finds the machine of this token.
    fn reserve(&self, caller: &Caller, request: &MachineRequest) -> Result<Reserved, ProviderError> {
        let id = MachineId(files::random_hex(8).map_err(failed)?);
        let now = clock::now();
        let mut inner = self.inner();
        let same = |live: &&Live| live.record.token == request.token && !live.record.deleting;
        let known = inner.machines.values().find(same).filter(|_| self.faults().knows_tokens());
        if let Some(live) = known {
            if !live.record.answers(request) {
                return Err(rejected(
                    "this token made another machine: a request that differs needs a new one",
                ));
            }
            return Ok(Reserved::Known { id: live.record.id.clone(), lock: Arc::clone(&live.lock) });
        }
        if inner.stopping.is_some() {
            return Err(unavailable("this sandbox is being stopped"));
        }
        let cluster = inner.clusters.get(&request.tags.cluster).map(|cluster| cluster.record.clone());
        let cluster = cluster.ok_or_else(|| {
            rejected(format!(
                "there is no network of cluster {}: ask for its scaffold first",
                request.tags.cluster
            ))
        })?;
        // Under the lock that a revocation takes: after it no call makes a machine, however long it was on its way.
        rights::still_counts(caller, &cluster)?;
        self.faults().room()?;
        self.limits().admit(&used(&inner).plus(1, &request.shape))?;
        self.check_disk()?;
        let taken: BTreeSet<Ipv4Addr> = inner.machines.values().map(|live| live.record.address).collect();
        let address = cluster.free_address(&taken).ok_or_else(|| ProviderError::NoCapacity {
            message: format!("the network of cluster {} is full", cluster.id),
        })?;
        let record = Record::new(id.clone(), request, address, now);
        let live = Live::new(record.clone(), false);
        let lock = Arc::clone(&live.lock);
        inner.machines.insert(id, live);
        let guard = lock.try_lock_owned().map_err(|_| unavailable("a new machine is in use"))?;
        Ok(Reserved::Fresh { record: Box::new(record), cluster, guard })
    }

    /// The whole folder under another name, then one rename: a machine is there with its record or not at all.
    fn write_disk(
        &self,
        record: &Record,
        cluster: &ClusterRecord,
        request: &MachineRequest,
    ) -> Result<(), StepError> {
        let dir = self.paths.machine(&record.id);
        let temp = dir.with_extension("new");
        let who = disk::Identity {
            name: record.tags.machine.as_str(),
            address: record.address,
            gateway: cluster.gateway(),
            machine_id: &files::random_hex(16)?,
        };
        // Without the token, which has one place.
        let known = ClusterRecord { token: String::new(), ..cluster.clone() };
        let written = disk::make(&temp, &who, &record.shape, &request.user_data)
            .and_then(|()| files::save(&temp.join("machine.json"), record))
            // If the cluster's own record is lost, its machines still know its network.
            .and_then(|()| files::save(&temp.join("cluster.json"), &known))
            .and_then(|()| fs::rename(&temp, &dir).map_err(StepError::at(format!("make {}", dir.display()))))
            .and_then(|()| files::sync_parent(&dir));
        if written.is_err() {
            let _ = fs::remove_dir_all(&temp);
        }
        written
    }

    fn check_disk(&self) -> Result<(), ProviderError> {
        let stat = nix::sys::statvfs::statvfs(&self.paths.state)
            .map_err(StepError::at(format!("see how full {} is", self.paths.state.display())))
            .map_err(failed)?;
        let free = stat.blocks_available().saturating_mul(stat.fragment_size());
        if free >= quota::DISK_FREE_MIN {
            return Ok(());
        }
        let message = format!(
            "disk full: {} MiB free below {}, a machine needs {} MiB; free some space",
            free >> 20,
            self.paths.state.display(),
            quota::DISK_FREE_MIN >> 20
        );
        Err(ProviderError::NoCapacity { message })
    }

    /// Boots a machine and waits until its sshd answers. What goes wrong is kept in its record.
    pub(super) async fn boot(self: Arc<Self>, id: MachineId) {
        let result = self.boot_once(&id).await;
        if let Err(error) = result {
            tracing::warn!(machine = %id, %error, "machine failed to boot");
            self.fail(&id, error.to_string());
        }
    }

    fn fail(&self, id: &MachineId, reason: String) {
        let mut inner = self.inner();
        let Some(live) = inner.machines.get_mut(id) else { return };
        live.booting = false;
        live.record.failed = Some(reason);
        let record = live.record.clone();
        drop(inner);
        if let Err(error) = files::save(&self.record_path(id), &record) {
            tracing::warn!(machine = %id, %error, "the failure could not be recorded");
        }
    }

    async fn boot_once(self: &Arc<Self>, id: &MachineId) -> Result<(), StepError> {
        // The first machine of all waits here for the tree, which takes minutes; it holds no lock meanwhile.
        let agent = Arc::clone(self);
        blocking(move || tree::ensure(&agent.paths)).await?;
        self.delay_boot(id).await?;
        let _permit = self.boots.acquire().await;
        let Some(guard) = self.lock(id).await else { return Ok(()) };
        let Some((record, cluster)) = self.begin_boot(id)? else { return Ok(()) };
        let agent = Arc::clone(self);
        let process = blocking(move || agent.start_machine(&record, &cluster)).await?;
        if let Some(live) = self.inner().machines.get_mut(id) {
            live.process = Some(process);
            live.booting = false;
        }
        self.forward(id).await;
        drop(guard);
        self.wire_newcomer().await;
        self.wait_ready(id, process).await
    }

    /// Counts the boot on disk; `None` if there is nothing to boot.
    fn begin_boot(&self, id: &MachineId) -> Result<Option<(Record, ClusterRecord)>, StepError> {
        let mut inner = self.inner();
        let Some(live) = inner.machines.get_mut(id) else { return Ok(None) };
        if live.record.deleting || live.seen().alive {
            live.booting = false;
            return Ok(None);
        }
        live.record.boots += 1;
        live.record.failed = None;
        (live.booting, live.ready, live.process) = (true, false, None);
        let record = live.record.clone();
        let cluster = inner.clusters.get(&record.tags.cluster).map(|cluster| cluster.record.clone());
        drop(inner);
        files::save(&self.record_path(id), &record)?;
        let cluster = cluster.ok_or_else(|| StepError {
            step: format!("boot {}", record.tags.machine),
            source: std::io::Error::other("its cluster's network is gone"),
        })?;
        Ok(Some((record, cluster)))
    }

    fn start_machine(&self, record: &Record, cluster: &ClusterRecord) -> Result<Process, StepError> {
        let id = record.id.as_str();
        let group = self.paths.cgroup().join(id);
        // What a dead boot left in its groups: a kubelet that finds its old pods' groups stalls for 40 s.
        cgroup::kill(&self.hierarchies, &group);
        cgroup::remove(&self.hierarchies, &group)?;
        let procs = cgroup::make(&self.hierarchies, &self.paths.cgroup(), id, &record.shape)?;
        let mut lowers: Vec<PathBuf> = tree::layers_of(&self.paths, &record.image)?;
        for layer in &lowers {
            tree::capture::populate(layer, &self.paths.machine(&record.id).join("disk"))?;
        }
        lowers.push(tree::ensure(&self.paths)?);
        let boot = Boot {
            name: record.tags.machine.to_string(),
            dir: self.paths.machine(&record.id),
            lowers,
            blobs: self.paths.blobs(),
            hub: self.paths.hub(),
            veth: veth(record.address, record.boots),
            bridge: cluster.bridge(),
            address: record.address,
            prefix: PREFIX,
            gateway: cluster.gateway(),
            procs,
            hierarchies: self.hierarchies.clone(),
            boot_id: uuid(&files::random_hex(16)?),
        };
        launch(&boot)
    }

    /// Asks the machine's sshd until it answers; an early end is a failure of the boot.
    pub(super) async fn wait_ready(&self, id: &MachineId, process: Process) -> Result<(), StepError> {
        let since = clock::monotonic();
        loop {
            let address = match self.inner().machines.get(id) {
                Some(live) if !live.record.deleting && live.process == Some(process) => live.record.address,
                _ => return Ok(()),
            };
            let up = self.hub.connect(SocketAddrV4::new(address, 22)).await.is_ok();
            let late = since.elapsed() > READY_TIMEOUT;
            if up || late {
                if let Some(live) = self.inner().machines.get_mut(id) {
                    live.ready = true;
                }
                return Ok(());
            }
            if !process.alive() {
                return self.early_end(id);
            }
            tokio::time::sleep(PROBE_EVERY).await;
        }
    }

    fn early_end(&self, id: &MachineId) -> Result<(), StepError> {
        let console = self.console(id);
        let last =
            console.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("its console is empty");
        match self.inner().machines.get(id) {
            // Somebody stopped it, or boots it anew already: then this is no failure.
            Some(live) if live.process.is_some() && !live.record.deleting => Err(StepError {
                step: format!("boot {}", live.record.tags.machine),
                source: std::io::Error::other(format!("it ended before sshd answered: {last}")),
            }),
            _ => Ok(()),
        }
    }

    /// Starts a stopped machine from its disk; one that runs is fine.
    pub async fn start(self: &Arc<Self>, id: &MachineId) -> Result<(), ProviderError> {
        if !self.inner().machines.get(id).is_some_and(Live::listed) {
            return Err(no_machine(id));
        }
        // While it is being stopped it still looks alive, and this start would change nothing.
        let Some(_guard) = self.lock(id).await else { return Err(no_machine(id)) };
        self.refresh(id);
        {
            let mut inner = self.inner();
            let live = inner.machines.get_mut(id).ok_or_else(|| no_machine(id))?;
            let seen = live.seen();
            if seen.alive || seen.booting {
                return Ok(());
            }
            live.booting = true;
        }
        tokio::spawn(Arc::clone(self).boot(id.clone()));
        Ok(())
    }

    /// Cuts a machine's power: it is there, its disk kept, until somebody starts it.
    pub async fn stop(self: &Arc<Self>, id: &MachineId) -> Result<(), ProviderError> {
        let Some(_guard) = self.lock(id).await else { return Err(no_machine(id)) };
        self.refresh(id);
        let process = self.inner().machines.get_mut(id).and_then(|live| live.process.take());
        let agent = Arc::clone(self);
        let name = id.clone();
        blocking(move || agent.kill(&name, process)).await.map_err(failed)
    }

    /// Writes other tags on a machine.
    pub async fn retag(self: &Arc<Self>, id: &MachineId, tags: Tags) -> Result<(), ProviderError> {
        let Some(_guard) = self.lock(id).await else { return Err(no_machine(id)) };
        let record = {
            let mut inner = self.inner();
            let live =
                inner.machines.get_mut(id).filter(|live| live.listed()).ok_or_else(|| no_machine(id))?;
            if !live.record.tags.may_become(&tags) {
                return Err(rejected(format!("{id} is {} and stays it", live.record.tags.machine)));
            }
            // In memory first, so that no other save of the record writes the old ones again.
            live.record.tags = tags;
            live.record.clone()
        };
        files::save(&self.record_path(id), &record).map_err(failed)
    }

    /// Deletes a machine with all that is its own; gone already is fine.
    pub async fn delete(self: &Arc<Self>, id: &MachineId) -> Result<(), ProviderError> {
        // In a task of its own: a client that goes away drops what it waits for, and with it the lock, but not the deletion.
        let (agent, id) = (Arc::clone(self), id.clone());
        let task = tokio::spawn(async move { agent.delete_wholly(&id).await });
        let broken = |error: tokio::task::JoinError| ProviderError::Unavailable {
            message: error.to_string(),
            retry_after: None,
        };
        task.await.map_err(broken)?
    }

    async fn delete_wholly(self: &Arc<Self>, id: &MachineId) -> Result<(), ProviderError> {
        let Some(_guard) = self.lock(id).await else { return Ok(()) };
        self.refresh(id);
        let (record, process, forwards) = {
            let mut inner = self.inner();
            let Some(live) = inner.machines.get_mut(id) else { return Ok(()) };
            live.record.deleting = true;
            (live.record.clone(), live.process, std::mem::take(&mut live.forwards))
        };
        for task in forwards {
            task.abort();
        }
        let agent = Arc::clone(self);
        blocking(move || agent.remove(&record, process)).await.map_err(failed)?;
        self.inner().machines.remove(id);
        self.unwire(id).await;
        Ok(())
    }

    fn kill(&self, id: &MachineId, process: Option<Process>) -> Result<(), StepError> {
        let group = self.paths.cgroup().join(id.as_str());
        let since = clock::monotonic();
        if let Some(process) = process {
            process.signal(Signal::SIGKILL);
            while process.alive() {
                if since.elapsed() > KILL_TIMEOUT {
                    let source = std::io::Error::from(std::io::ErrorKind::TimedOut);
                    return Err(StepError { step: format!("end the machine {id}"), source });
                }
                pause(Duration::from_millis(2));
            }
        }
        cgroup::kill(&self.hierarchies, &group);
        cgroup::remove(&self.hierarchies, &group)
    }

    fn remove(&self, record: &Record, process: Option<Process>) -> Result<(), StepError> {
        let dir = self.paths.machine(&record.id);
        if !dir.exists() {
            // Somebody deleted its disk: what is left of it is what runs.
            return self.kill(&record.id, process);
        }
        files::save(&dir.join("machine.json"), record)?;
        self.kill(&record.id, process)?;
        let trash = self.paths.trash();
        fs::create_dir_all(&trash).map_err(StepError::at(format!("make {}", trash.display())))?;
        let away = trash.join(record.id.as_str());
        fs::rename(&dir, &away).map_err(StepError::at(format!("move {} away", dir.display())))?;
        // The disk of a node has 100,000 files: nobody has to wait for that.
        std::thread::spawn(move || {
            if let Err(error) = fs::remove_dir_all(&away) {
                tracing::warn!(dir = %away.display(), %error, "a deleted machine's disk is still there");
            }
        });
        Ok(())
    }

    /// Reads which process the keeper started, if we do not know of a living one.
    pub(super) fn refresh(&self, id: &MachineId) {
        let path = self.paths.machine(id).join("process.json");
        let process = files::load::<Process>(&path).ok().flatten().filter(|process| process.alive());
        if let (Some(live), Some(process)) = (self.inner().machines.get_mut(id), process) {
            live.process = Some(process);
        }
    }

    /// Keeps a stopped machine as it is until the guard is dropped.
    pub(in crate::provider::sandbox) async fn lock_stopped(
        &self,
        id: &MachineId,
    ) -> Result<OwnedMutexGuard<()>, ProviderError> {
        let guard = self.lock(id).await.ok_or_else(|| no_machine(id))?;
        self.refresh(id);
        let seen = self.inner().machines.get(id).map(Live::seen);
        match seen {
            Some(seen) if !seen.alive && !seen.booting => Ok(guard),
            Some(_) => Err(rejected(format!("the machine {id} runs: stop it first"))),
            None => Err(no_machine(id)),
        }
    }

    async fn lock(&self, id: &MachineId) -> Option<OwnedMutexGuard<()>> {
        let lock = self.inner().machines.get(id).map(|live| Arc::clone(&live.lock))?;
        Some(lock.lock_owned().await)
    }
}

enum Reserved {
    Fresh { record: Box<Record>, cluster: ClusterRecord, guard: OwnedMutexGuard<()> },
    Known { id: MachineId, lock: Arc<tokio::sync::Mutex<()>> },
}

/// Runs blocking steps off the async threads.
pub(super) async fn blocking<T: Send + 'static>(
    job: impl FnOnce() -> Result<T, StepError> + Send + 'static,
) -> Result<T, StepError> {
    match spawn_blocking(job).await {
        Ok(result) => result,
        Err(error) => Err(StepError { step: "finish a step".into(), source: std::io::Error::other(error) }),
    }
}

/// 32 hex digits in the form of `/proc/sys/kernel/random/boot_id`.
fn uuid(hex: &str) -> String {
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..32])
}
