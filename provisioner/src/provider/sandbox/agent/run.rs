//! The life of an agent's process: open, adopt, serve, end.

use std::fs::{self, Permissions};
use std::io::Write;
use std::net::SocketAddrV4;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::{TcpStream, UnixListener};
use tokio::sync::Semaphore;

use super::super::machine::process::Process;
use super::super::machine::{StepError, cgroup};
use super::super::paths::Paths;
use super::super::wire::{self, StopRequest, unavailable};
use super::faults::line::{Line, Lines};
use super::quota::Quota;
use super::record::{ClusterRecord, Record};
use super::{Agent, Cluster, Inner, api, files, inotify, strays};
use super::{gateway::Gateway, hub::Hub, no_machine};
use crate::clock;
use crate::names::{CloudId, MachineId};
use crate::provider::ProviderError;

/// How long the agent stays with nothing to do: a person's next command finds it still there, a forgotten one is no burden.
const GRACE: Duration = Duration::from_secs(3);
const TICK: Duration = Duration::from_millis(250);
/// How often it is looked whether what machines stand on is still there: a few calls of the system for each machine.
const LOOK: Duration = Duration::from_secs(2);
/// Boots at once, per core: most of a boot is waiting, but more only make each of them slower.
const BOOTS_PER_CORE: usize = 4;

/// Runs the agent of an instance until nothing is left or it is told to stop.
pub async fn run(paths: Paths) -> Result<(), StepError> {
    // Without its parent nobody holds the lock that says that there is one agent only.
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)
        .map_err(StepError::at("tie the agent to its parent"))?;
    let agent = open(paths).await?;
    let socket = agent.paths.socket();
    // A socket that is there belongs to a dead agent: the supervisor's lock says that there is one only.
    let _ = fs::remove_file(&socket);
    let at = || StepError::at(format!("listen on {}", socket.display()));
    let listener = UnixListener::bind(&socket).map_err(at())?;
    fs::set_permissions(&socket, Permissions::from_mode(0o600)).map_err(at())?;
    // What is there now is an earlier agent's; what comes through the socket from here on is not.
    let inherited = Inherited::of(&agent);
    let server = tokio::spawn({
        let routes = api::routes(Arc::clone(&agent), api::Door::Socket);
        let service = routes.into_make_service_with_connect_info::<Line>();
        async move { axum::serve(Lines(listener), service).await }
    });
    adopt(&agent, inherited).await;
    tracing::info!(instance = %agent.paths.instance, pid = std::process::id(), "the agent is up");
    until_done(&agent).await?;
    server.abort();
    end(&agent)
}

async fn open(paths: Paths) -> Result<Arc<Agent>, StepError> {
    for (dir, mode) in [
        (paths.run.clone(), 0o700),
        (paths.state.clone(), 0o700),
        (paths.machines(), 0o700),
        (paths.clusters(), 0o700),
        (paths.blobs(), 0o755),
    ] {
        let at = || StepError::at(format!("make {}", dir.display()));
        fs::create_dir_all(&dir).map_err(at())?;
        if mode == 0o700 {
            fs::set_permissions(&dir, Permissions::from_mode(mode)).map_err(at())?;
        }
    }
    let hierarchies = cgroup::of_host()
        .map_err(|why| StepError { step: "use control groups".into(), source: std::io::Error::other(why) })?;
    let memory =
        fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_memory(&text)).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let quota = Quota::of_host(memory, cores as u64);
    inotify::raise(&paths.instance, quota.machines)?;
    // Before the hub is opened: whether it is there tells whether the host was rebooted since.
    let (machines, strays) = strays::load_machines(&paths)?;
    strays::end_diskless(&paths, &hierarchies)?;
    let mut clusters = load_all::<ClusterRecord>(&paths.clusters())?
        .into_iter()
        .map(|record| (record.id.clone(), record))
        .collect();
    strays::restore_clusters(&paths, &mut clusters, &machines)?;
    let agent = Agent {
        cloud: identity(&paths)?,
        token: fresh_token(&paths.token())?,
        hub: Hub::open(&paths.hub())?,
        gateway: Gateway::open(&paths.state.join("gateway.json"))?,
        hierarchies,
        quota,
        started: clock::now(),
        networks: tokio::sync::Mutex::new(()),
        faults: Mutex::default(),
        rewiring: tokio::sync::Mutex::new(()),
        boots: Semaphore::new(cores * BOOTS_PER_CORE),
        inner: Mutex::new(Inner {
            clusters: clusters
                .into_iter()
                .map(|(id, record)| (id, Cluster { record, services: Vec::new() }))
                .collect(),
            strays,
            machines,
            last_use: clock::monotonic(),
            stopping: None,
        }),
        paths,
    };
    Ok(Arc::new(agent))
}

/// The host's memory in bytes, from `/proc/meminfo`.
fn total_memory(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The agent's id. A ledger is pinned to it, so it outlives an agent that ended because nothing was left (in the cache).
fn identity(paths: &Paths) -> Result<CloudId, StepError> {
    let kept = paths.cache.join("sandbox").join(format!("{}.json", paths.instance));
    // What is damaged is as good as lost: there is a copy.
    let id = match files::load(&paths.identity()).ok().flatten() {
        Some(id) => id,
        None => files::load(&kept).ok().flatten().map_or_else(|| files::random_hex(8).map(CloudId), Ok)?,
    };
    files::save(&paths.identity(), &id)?;
    if let Some(parent) = kept.parent() {
        fs::create_dir_all(parent).map_err(StepError::at(format!("make {}", parent.display())))?;
    }
    files::save(&kept, &id)?;
    Ok(id)
}

fn fresh_token(path: &Path) -> Result<String, StepError> {
    if let Ok(token) = fs::read_to_string(path)
        && token.len() == 64
    {
        return Ok(token);
    }
    let token = files::random_hex(32)?;
    let at = || StepError::at(format!("write {}", path.display()));
    let temp = path.with_extension("new");
    let _ = fs::remove_file(&temp);
    let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(&temp).map_err(at())?;
    file.write_all(token.as_bytes()).map_err(at())?;
    fs::rename(&temp, path).map_err(at())?;
    Ok(token)
}

fn load_all<T: serde::de::DeserializeOwned>(dir: &Path) -> Result<Vec<T>, StepError> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).map_err(StepError::at(format!("read {}", dir.display())))?.flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "json") {
            match files::load(&entry.path()) {
                Ok(record) => all.extend(record),
                // A cluster with machines is made again from what they know; one without has nothing to lose.
                Err(error) => {
                    tracing::warn!(%error, "put aside");
                    let _ = fs::rename(entry.path(), entry.path().with_extension("damaged"));
                }
            }
        }
    }
    Ok(all)
}

/// What an earlier agent left.
struct Inherited {
    clusters: Vec<ClusterRecord>,
    machines: Vec<Record>,
}

impl Inherited {
    fn of(agent: &Agent) -> Self {
        let inner = agent.inner();
        let clusters = inner.clusters.values().map(|cluster| cluster.record.clone()).collect();
        Self { clusters, machines: inner.machines.values().map(|live| live.record.clone()).collect() }
    }
}

/// Takes over what an earlier agent left: networks are opened, living machines known again, unfinished work finished.
async fn adopt(agent: &Arc<Agent>, Inherited { clusters, machines }: Inherited) {
    agent.heal_inherited().await;
    for cluster in &clusters {
        if let Err(error) = agent.open_cluster(cluster).await {
            tracing::warn!(cluster = %cluster.id, %error, "a network could not be opened");
        }
    }
    if clusters.iter().any(|cluster| cluster.internet)
        && let Err(error) = agent.open_internet().await
    {
        tracing::warn!(%error, "machines do not reach the outside");
    }
    for record in machines {
        let id = record.id;
        agent.refresh(&id);
        let process = agent.inner().machines.get(&id).and_then(|live| live.process);
        match process.filter(|process| process.alive()) {
            _ if record.deleting => {
                if let Err(error) = agent.delete(&id).await {
                    tracing::warn!(machine = %id, %error, "a deletion could not be finished");
                }
            }
            Some(process) => {
                agent.forward(&id).await;
                tokio::spawn(watch(Arc::clone(agent), id, process));
            }
            None if record.boots == 0 && record.failed.is_none() => {
                tokio::spawn(Arc::clone(agent).boot(id));
            }
            // After a reboot of the host, or a crash of the machine: it is stopped until somebody starts it.
            None => agent.forward(&id).await,
        }
    }
}

async fn watch(agent: Arc<Agent>, id: MachineId, process: Process) {
    if let Err(error) = agent.wait_ready(&id, process).await {
        tracing::warn!(machine = %id, %error, "an adopted machine ended");
    }
}

/// Until nothing is left or it is told to stop. An error if its state was deleted under it: a new agent, which the
/// supervisor starts, has nothing in memory that is not so any more.
async fn until_done(agent: &Arc<Agent>) -> Result<(), StepError> {
    let mut looked = clock::monotonic();
    loop {
        tokio::time::sleep(TICK).await;
        let stop = agent.inner().stopping.clone();
        if let Some(request) = stop {
            agent.empty(request.delete).await;
            return Ok(());
        }
        if !agent.paths.identity().exists() {
            let what = format!("keep {}", agent.paths.state.display());
            return Err(StepError::at(what)(std::io::Error::other("it was deleted while the agent ran")));
        }
        if looked.elapsed() > LOOK {
            agent.switch_off_rootless().await;
            looked = clock::monotonic();
        }
        let inner = agent.inner();
        // Faults end with the agent: who sets some before there is a cluster wants them to be there still.
        let idle = inner.machines.is_empty()
            && inner.clusters.is_empty()
            && inner.strays.is_empty()
            && agent.faults().is_none();
        if idle && inner.last_use.elapsed() > GRACE {
            return Ok(());
        }
    }
}

/// Removes everything that is the agent's own; with machines left on disk, their state stays.
fn end(agent: &Arc<Agent>) -> Result<(), StepError> {
    let paths = &agent.paths;
    agent.close_internet();
    agent.end_strays()?;
    agent.hub.remove()?;
    cgroup::remove(&agent.hierarchies, &paths.cgroup())?;
    inotify::restore(&paths.instance)?;
    for name in ["agent.sock", "token", "slirp.log"] {
        let _ = fs::remove_file(paths.run.join(name));
    }
    let left = {
        let inner = agent.inner();
        let deleted = inner.stopping.as_ref().is_some_and(|request| request.delete);
        // What is in no book may be somebody's data: only who says "delete" loses it.
        !inner.machines.is_empty() || !inner.clusters.is_empty() || !inner.strays.is_empty() && !deleted
    };
    if !left {
        match fs::remove_dir_all(&paths.state) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(StepError::at(format!("remove {}", paths.state.display()))(error));
            }
            _ => {}
        }
        remove_empty_parents(&paths.state);
    }
    tracing::info!(instance = %paths.instance, "the agent has ended");
    Ok(())
}

/// Removes the folders above as far as they are empty and ours.
pub fn remove_empty_parents(path: &Path) {
    for parent in path
        .ancestors()
        .skip(1)
        .take_while(|parent| parent.ends_with("sandbox") || parent.ends_with("continuum"))
    {
        if fs::remove_dir(parent).is_err() {
            return;
        }
    }
}

impl Agent {
    /// Connects to a port of a machine.
    pub async fn dial(&self, id: &MachineId, port: u16) -> Result<TcpStream, ProviderError> {
        let address =
            self.inner().machines.get(id).map(|live| live.record.address).ok_or_else(|| no_machine(id))?;
        let stream = self.hub.connect(SocketAddrV4::new(address, port)).await;
        stream.map_err(|error| unavailable(format!("{address} port {port}: {error}")))
    }

    /// Asks the main loop to end; answers before it does.
    pub fn stop_all(&self, request: StopRequest) {
        self.inner().stopping = Some(request);
    }

    async fn empty(self: &Arc<Self>, delete: bool) {
        let (machines, clusters) = {
            let inner = self.inner();
            (
                inner.machines.keys().cloned().collect::<Vec<_>>(),
                inner.clusters.keys().cloned().collect::<Vec<_>>(),
            )
        };
        let jobs = machines.into_iter().map(|id| {
            let agent = Arc::clone(self);
            tokio::spawn(async move {
                let result = if delete { agent.delete(&id).await } else { agent.stop(&id).await };
                if let Err(error) = result {
                    tracing::warn!(machine = %id, %error, "could not stop");
                }
            })
        });
        futures::future::join_all(jobs.collect::<Vec<_>>()).await;
        for id in clusters.into_iter().filter(|_| delete) {
            match self.sweep(&id).await {
                Ok(left) if left.is_empty() => {}
                other => tracing::warn!(cluster = %id, ?other, "a network is left"),
            }
        }
    }

    /// Makes an image out of a stopped machine's disk.
    pub async fn capture(self: &Arc<Self>, request: &wire::CaptureRequest) -> Result<(), ProviderError> {
        self.capture_layer(request).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_memory_is_read() {
        assert_eq!(total_memory("MemTotal:       16 kB\nMemFree: 1 kB\n"), Some(16 << 10));
        assert_eq!(total_memory("MemFree: 1 kB\n"), None);
    }
}
