//! The machines that the tests run on, and a provider that can cut its own connections.

use std::collections::BTreeMap;
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use provisioner::names::{
    CloudId, ClusterId, ClusterName, LedgerId, MachineId, MachineName, PoolName, ShapeName,
};
use provisioner::provider::{
    Demand, Grant, Leftover, Machine, MachineRequest, MachineState, Owner, Problem, Provider, ProviderError,
    Scaffold, Scope, Stream, Tags,
};
use provisioner::quantity::{Cpu, Memory};
use provisioner::remote::{Done, Job, Remote, RemoteError, SshRemote, Target};
use provisioner::spec::{Network, Shape};
use secrecy::{ExposeSecret, SecretString};

use crate::{harness, machines};

/// Machines that can be reached through a provider, and the key that logs in to them.
pub(crate) struct Lab {
    pub(crate) provider: Arc<Cutter>,
    pub(crate) targets: Vec<Target>,
    pub(crate) key: SecretString,
    pub(crate) logs: tempfile::TempDir,
    pub(crate) remote: Arc<SshRemote>,
    address: Option<SocketAddr>,
    runtime: tokio::runtime::Runtime,
    _alone: MutexGuard<'static, ()>,
}

/// Tests cut connections and kill servers: one at a time.
static ALONE: Mutex<()> = Mutex::new(());

impl Lab {
    /// The machines of `CONTINUUM_TEST_SSH`, else two of a sandbox of these tests' own, or `None` and a word why not.
    pub(crate) fn from_env() -> Option<Self> {
        match provisioner::env::var("CONTINUUM_TEST_SSH") {
            Some(text) => Some(Self::named(&text)),
            None => Self::sandboxed(),
        }
    }

    fn sandboxed() -> Option<Self> {
        let machines = machines::two()?;
        let target = |(n, machine): (usize, &Machine)| Target {
            name: machine.tags.machine.clone(),
            machine: machine.clone(),
            host_keys: vec![harness::key(n as u64 + 1).1],
        };
        let targets: Vec<Target> = machines.iter().enumerate().map(target).collect();
        let address = targets[0].machine.exposed.get(&22).copied();
        let lab = Self { address, ..Self::of(machines::cloud(), targets, harness::key(0).0) };
        // A sandbox shares its host's files by content, read-only: here a test shares its own.
        lab.ask("! mountpoint -q /var/lib/continuum/shared || umount /var/lib/continuum/shared");
        // The connections of the preparation are not the test's.
        lab.provider.open.lock().unwrap().clear();
        let remote = Arc::new(lab.another_process());
        Some(Self { remote, ..lab })
    }

    fn named(text: &str) -> Self {
        let mut addresses = BTreeMap::new();
        let (mut targets, mut login) = (Vec::new(), None);
        for (n, entry) in text.split(';').enumerate() {
            let parts: Vec<&str> = entry.split(':').collect();
            let [host, port, key, host_key] = parts[..] else {
                panic!("{entry}: expecting HOST:PORT:KEY:HOST_KEY_PUB")
            };
            let address = format!("{host}:{port}").to_socket_addrs().unwrap().next().unwrap();
            let target = target(n, &std::fs::read_to_string(host_key).unwrap());
            addresses.insert(target.machine.id.clone(), address);
            targets.push(target);
            login = Some(SecretString::from(std::fs::read_to_string(key).unwrap()));
        }
        let address = addresses.values().next().copied();
        Self { address, ..Self::of(Arc::new(Tcp(addresses)), targets, login.unwrap()) }
    }

    /// Any provider's machines: `targets` with their pinned host keys, and the operator's private key.
    pub(crate) fn of(inner: Arc<dyn Provider>, targets: Vec<Target>, key: SecretString) -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let provider = Arc::new(Cutter { inner, open: Mutex::default() });
        let logs = tempfile::tempdir().unwrap();
        let remote = Arc::new(SshRemote::new(provider.clone(), key.clone(), logs.path().to_owned()));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { provider, targets, key, logs, remote, address: None, runtime, _alone: alone }
    }

    pub(crate) fn target(&self) -> &Target {
        &self.targets[0]
    }
    /// Where the first machine's sshd listens, if it can be reached without a provider.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.address
    }
    pub(crate) fn run(&self, job: &Job) -> Result<Done, RemoteError> {
        self.wait(self.remote.run(self.target(), job))
    }
    /// What a script prints on the first machine.
    pub(crate) fn ask(&self, script: &str) -> String {
        let answer = self.wait(self.remote.ask(self.target(), script)).unwrap();
        String::from_utf8(answer.expose_secret().to_vec()).unwrap()
    }
    pub(crate) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }
    /// The same machines through other eyes: no connection, no memory of the last ones.
    pub(crate) fn another_process(&self) -> SshRemote {
        SshRemote::new(self.provider.clone(), self.key.clone(), self.logs.path().to_owned())
    }
    pub(crate) fn log_file(&self) -> PathBuf {
        provisioner::remote::log_path(self.logs.path(), &self.target().name)
    }
    /// The first machine's log: for each line that we wrote, its words without time and attempt.
    pub(crate) fn log(&self) -> String {
        let text = std::fs::read(self.log_file()).unwrap();
        String::from_utf8_lossy(&text)
            .lines()
            .map(|line| match line.split(' ').collect::<Vec<_>>()[..] {
                ["==", _, _, "attempt", _, ref rest @ ..] => format!("== {}\n", rest.join(" ")),
                _ => format!("{line}\n"),
            })
            .collect()
    }
}

/// A job of a name that no other run of the tests has used.
pub(crate) fn job(name: &str, script: &str) -> Job {
    Job {
        unit: format!("test-{name}-{}", unique()),
        script: script.into(),
        files: Vec::new(),
        blobs: Vec::new(),
        timeout: Duration::from_secs(60),
    }
}

pub(crate) fn unique() -> String {
    let path = Path::new("/proc/sys/kernel/random/uuid");
    std::fs::read_to_string(path).unwrap()[..8].to_owned()
}

pub(crate) fn target(n: usize, host_key: &str) -> Target {
    let cluster = ClusterName::new("remote").unwrap();
    let pool = PoolName::new("test").unwrap();
    let name = MachineName::of(&cluster, &pool, n as u64).unwrap();
    let tags = Tags {
        cluster: ClusterId::of(&cluster, "00000000").unwrap(),
        pool,
        owner: Owner::Cli,
        ledger: LedgerId("l".into()),
        machine: name.clone(),
        expires: None,
        host_key: String::new(),
    };
    let machine = Machine {
        id: MachineId(format!("machine-{n}")),
        tags,
        state: MachineState::Running,
        address: None,
        exposed: BTreeMap::new(),
        shape: Shape { name: ShapeName("any".into()), cpu: Cpu::cores(1), memory: Memory::gib(1) },
        created: None,
    };
    Target { name, machine, host_keys: vec![host_key.trim().to_owned()] }
}

/// Passes on to a provider, counts its connections and can cut them.
pub(crate) struct Cutter {
    inner: Arc<dyn Provider>,
    open: Mutex<Vec<OwnedFd>>,
}

impl Cutter {
    /// Connections made so far.
    pub(crate) fn dialed(&self) -> usize {
        self.open.lock().unwrap().len()
    }
    /// Cuts every connection, as a network would.
    pub(crate) fn cut(&self) {
        for fd in self.open.lock().unwrap().iter() {
            // shutdown works on any kind of socket; one that is closed already is no matter
            let _ = TcpStream::from(fd.try_clone().unwrap()).shutdown(Shutdown::Both);
        }
    }
}

/// Plain TCP to fixed addresses.
struct Tcp(BTreeMap<MachineId, SocketAddr>);

fn no<T>() -> Result<T, ProviderError> {
    Err(ProviderError::Rejected { message: "these tests make no machines".into() })
}

macro_rules! dial_only {
    ($type:ty, $dial:path) => {
        #[async_trait]
        impl Provider for $type {
            fn settle(&self) -> Duration {
                Duration::ZERO
            }
            async fn cloud(&self) -> Result<CloudId, ProviderError> {
                no()
            }
            async fn check(&self, _: &Demand) -> Result<Vec<Problem>, ProviderError> {
                no()
            }
            async fn scaffold(&self, _: &ClusterId, _: &Network) -> Result<Scaffold, ProviderError> {
                no()
            }
            async fn find_scaffold(&self, _: &ClusterId) -> Result<Option<Scaffold>, ProviderError> {
                no()
            }
            async fn clusters(&self, _: &ClusterName) -> Result<Vec<ClusterId>, ProviderError> {
                no()
            }
            async fn retag(&self, _: &MachineId, _: &Tags) -> Result<(), ProviderError> {
                no()
            }
            async fn list(&self, _: &Scope) -> Result<Vec<Machine>, ProviderError> {
                no()
            }
            async fn exists(&self, _: &MachineId) -> Result<bool, ProviderError> {
                no()
            }
            async fn create(&self, _: &MachineRequest) -> Result<(), ProviderError> {
                no()
            }
            async fn start(&self, _: &MachineId) -> Result<(), ProviderError> {
                no()
            }
            async fn delete(&self, _: &MachineId) -> Result<(), ProviderError> {
                no()
            }
            async fn shapes(&self) -> Result<Vec<Shape>, ProviderError> {
                no()
            }
            async fn sweep(&self, _: &ClusterId) -> Result<Vec<Leftover>, ProviderError> {
                no()
            }
            async fn grant(&self, _: &ClusterId, _: &Path) -> Result<Grant, ProviderError> {
                no()
            }
            async fn revoke(&self, _: &ClusterId) -> Result<(), ProviderError> {
                no()
            }
            async fn dial(&self, machine: &Machine, port: u16) -> Result<Stream, ProviderError> {
                $dial(self, machine, port).await
            }
            async fn console(&self, _: &MachineId) -> Result<String, ProviderError> {
                no()
            }
        }
    };
}

async fn connect(tcp: &Tcp, machine: &Machine, _port: u16) -> Result<Stream, ProviderError> {
    let address = tcp.0[&machine.id];
    TcpStream::connect_timeout(&address, Duration::from_secs(5))
        .map(Stream::Tcp)
        .map_err(|e| ProviderError::Unavailable { message: format!("{address}: {e}"), retry_after: None })
}

async fn connect_and_remember(
    cutter: &Cutter,
    machine: &Machine,
    port: u16,
) -> Result<Stream, ProviderError> {
    let stream = cutter.inner.dial(machine, port).await?;
    cutter.open.lock().unwrap().push(stream.as_fd().try_clone_to_owned().unwrap());
    Ok(stream)
}

/// Connections arrive as Unix sockets, as from an agent that passes them on.
pub(crate) struct Piped(pub(crate) Arc<dyn Provider>);

async fn connect_through_a_pipe(
    piped: &Piped,
    machine: &Machine,
    port: u16,
) -> Result<Stream, ProviderError> {
    let far = piped.0.dial(machine, port).await?;
    let (near, ours) = UnixStream::pair().unwrap();
    let (mut from_far, mut to_far) = (far.try_clone().unwrap(), far);
    let (mut from_near, mut to_near) = (near.try_clone().unwrap(), near);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from_far, &mut to_near);
        to_near.shutdown(Shutdown::Both)
    });
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from_near, &mut to_far);
        to_far.close_write()
    });
    Ok(Stream::Unix(ours))
}

dial_only!(Tcp, connect);
dial_only!(Piped, connect_through_a_pipe);
dial_only!(Cutter, connect_and_remember);
