//! A cloud: the one trait that every provider implements, and the data that crosses it.
//!
//! Everything that a provider makes carries [`Tags`], written by the very call that makes it.
//! A provider never decides anything: what to make and what to delete comes from [`plan`](crate::plan).

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::names::{
    CloudId, ClusterId, ClusterName, ImageName, LedgerId, MachineId, MachineName, PoolName, Zone,
};
use crate::spec::{Network, Role, Shape};

pub mod conformance;
pub mod dice;
pub mod faults;
pub mod sandbox;

/// Which cloud, and the few keys that each type has of its own (`provider:` of the cluster file).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Config {
    /// Machines on this computer.
    Sandbox(sandbox::Config),
    /// The same cloud, asked from inside one of its clusters. Only the daemon's own configuration says so: in a cluster
    /// file this type is unknown.
    SandboxGateway(sandbox::gateway::Access),
}

impl Config {
    /// Which cloud, for people: `sandbox "default"`.
    pub fn describe(&self) -> String {
        match self {
            Self::Sandbox(config) => format!("sandbox {:?}", config.instance),
            Self::SandboxGateway(access) => format!("sandbox at {}", access.address),
        }
    }
}

/// Who decides over a machine: one ledger per owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Owner {
    /// The command line: front-ends and fixed pools.
    Cli,
    /// The autoscaler on the front-end: elastic pools.
    Autoscaler,
}

/// What everything that we make in a cloud carries. A tag's key is `continuum-<field>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tags {
    /// The cluster's id.
    pub cluster: ClusterId,
    /// The pool.
    pub pool: PoolName,
    /// Whose it is.
    pub owner: Owner,
    /// The ledger that has its row.
    pub ledger: LedgerId,
    /// The machine's name.
    pub machine: MachineName,
    /// When it may be removed by anybody.
    pub expires: Option<Timestamp>,
    /// SHA-256 fingerprints of the host keys that are right (`SHA256:…`), with spaces between: whoever adopts the
    /// machine knows it by them.
    pub host_key: String,
}

impl Tags {
    /// Whether a retag may turn these into `new`: the machine stays what it is.
    pub fn may_become(&self, new: &Self) -> bool {
        (&self.cluster, &self.pool, &self.machine) == (&new.cluster, &new.pool, &new.machine)
    }

    /// The fingerprints of the host keys that are right.
    pub fn host_keys(&self) -> impl Iterator<Item = &str> {
        self.host_key.split_whitespace()
    }
}

/// Which machines a listing is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// One cluster: everything with this id, *and* everything of this name under another id
    /// (so that a clash of names is seen).
    Cluster {
        /// The name.
        name: ClusterName,
        /// The id, where it is known.
        id: Option<ClusterId>,
    },
    /// Everything of ours in this cloud.
    All,
}

/// A machine as the cloud shows it. One that is terminated or being deleted for good is not listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The cloud's id.
    pub id: MachineId,
    /// What we wrote on it.
    pub tags: Tags,
    /// What it does.
    pub state: MachineState,
    /// Where other machines of the cluster reach it.
    pub address: Option<IpAddr>,
    /// Exposed ports: where the operator's computer reaches them.
    pub exposed: BTreeMap<u16, SocketAddr>,
    /// Its size.
    pub shape: Shape,
    /// When the cloud made it.
    pub created: Option<Timestamp>,
}

/// What a machine does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MachineState {
    /// Being made or booting.
    Building,
    /// Up, as far as the cloud knows.
    Running,
    /// Off, its disk kept.
    Stopped,
    /// Broken for good, with the cloud's own words.
    Failed(String),
}

/// One machine to make. The ledger's row pins all of it but `user_data`, which is made anew from the
/// cluster's keys each time and comes out the same.
#[derive(Debug, Clone)]
pub struct MachineRequest {
    /// Makes the call repeatable: the same token gives the same machine. Ledger id, name and birth of the row.
    pub token: String,
    /// Written by this very call.
    pub tags: Tags,
    /// What it is for: front-ends get their ports exposed.
    pub role: Role,
    /// The size.
    pub shape: Shape,
    /// What it boots.
    pub image: ImageName,
    /// Where.
    pub zone: Option<Zone>,
    /// Ports to expose to the operator.
    pub expose: Vec<u16>,
    /// What it reads at its first boot.
    pub user_data: UserData,
}

/// What a machine reads at its first boot: enough to be reached over SSH without trust on first use.
#[derive(Debug, Clone)]
pub struct UserData {
    /// OpenSSH private host key (ed25519): secret, replaced at the first login.
    pub host_key: SecretString,
    /// The same key's public half, `ssh-ed25519 AAAA…`.
    pub host_key_public: String,
    /// Public keys that may log in as root: the operator's, the daemon's.
    pub authorized_keys: Vec<String>,
    /// A POSIX sh script, run once at the first boot before sshd takes logins; may be empty. Holds no secret.
    pub script: String,
}

/// What `check` is asked: everything that `up` is about to make.
#[derive(Debug, Clone, PartialEq)]
pub struct Demand {
    /// The cluster.
    pub cluster: ClusterName,
    /// Its network.
    pub network: Network,
    /// How many *more* machines of each shape and image.
    pub machines: Vec<(u32, Shape, ImageName)>,
}

/// Something that would make `up` fail, found before anything is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What was looked at: `quota: memory`, `image debian-13`.
    pub what: String,
    /// What is wrong, with numbers.
    pub why: String,
    /// What to do about it.
    pub hint: String,
}

/// What a cluster's machines stand on: network, rules, keys. Found again by its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scaffold {
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// The cloud it was found in: a ledger stops on a mismatch.
    pub cloud: CloudId,
}

/// What a daemon on a front-end asks this cloud with: the narrowest credential that the cloud has, for one cluster.
#[derive(Debug, Clone)]
pub struct Grant {
    /// How it connects; names the file that [`secret`](Self::secret) is put into.
    pub config: Config,
    /// What proves who it is.
    pub secret: SecretString,
}

/// Something of ours that a sweep could not remove.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leftover {
    /// What it is: `network lab1-7k2m9qxa`.
    pub what: String,
    /// What holds it: `port 3f… (owner compute:nova, server X)`.
    pub blocker: String,
}

/// Why a cloud did not do what was asked, in the kinds that the plan acts on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ProviderError {
    /// The cloud has no room for this shape here now: another shape or zone may do.
    #[error("no capacity: {message}")]
    NoCapacity {
        /// The cloud's own words.
        message: String,
    },
    /// We may not have more of this.
    #[error("quota: {message}")]
    Quota {
        /// The cloud's own words, with numbers.
        message: String,
    },
    /// The request is wrong and will stay so.
    #[error("{message}")]
    Rejected {
        /// The cloud's own words.
        message: String,
    },
    /// No answer, or not now: nothing is known of the effect. Try again.
    #[error("unavailable: {message}")]
    Unavailable {
        /// What was tried and what came back.
        message: String,
        /// When the cloud said to try again.
        retry_after: Option<Duration>,
    },
}

/// A connected byte stream to a port of a machine; has a file descriptor, as libssh2 wants one.
#[derive(Debug)]
pub enum Stream {
    /// Straight.
    Tcp(std::net::TcpStream),
    /// Through an agent or a local proxy.
    Unix(std::os::unix::net::UnixStream),
}

impl Stream {
    /// A second handle to the same connection.
    pub fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(stream) => stream.try_clone().map(Self::Tcp),
            Self::Unix(stream) => stream.try_clone().map(Self::Unix),
        }
    }
    /// Says that nothing more will be written.
    pub fn close_write(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(std::net::Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(std::net::Shutdown::Write),
        }
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}
impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}
impl io::Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buf),
            Self::Unix(stream) => stream.read(buf),
        }
    }
}
impl io::Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(buf),
            Self::Unix(stream) => stream.write(buf),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.flush(),
            Self::Unix(stream) => stream.flush(),
        }
    }
}

/// A cloud. Every method may be repeated; none retries by itself for longer than one request's time-out.
#[async_trait]
pub trait Provider: Send + Sync {
    /// How long "asked and not seen" may last before it means "not made", in observed time
    /// (sandbox 2 s, clouds 60 s).
    fn settle(&self) -> Duration;
    /// Which cloud this is. Never changes for a cloud; differs for another project, region or agent.
    async fn cloud(&self) -> Result<CloudId, ProviderError>;
    /// Credentials, image, shapes, network, quota: what would fail, before the first write.
    async fn check(&self, demand: &Demand) -> Result<Vec<Problem>, ProviderError>;
    /// Makes what the machines stand on, or finds it by id: idempotent.
    async fn scaffold(&self, cluster: &ClusterId, network: &Network) -> Result<Scaffold, ProviderError>;
    /// The scaffold of a cluster, if it is there; makes nothing.
    async fn find_scaffold(&self, cluster: &ClusterId) -> Result<Option<Scaffold>, ProviderError>;
    /// The clusters of this name that have a scaffold here, whether they have machines or not: what a teardown
    /// without a ledger goes by where no machine is left, or none was made yet.
    async fn clusters(&self, name: &ClusterName) -> Result<Vec<ClusterId>, ProviderError>;
    /// All machines in scope, in one call. A list that may be short is an error, not a shorter list.
    async fn list(&self, scope: &Scope) -> Result<Vec<Machine>, ProviderError>;
    /// Whether this machine is there, by a direct question: the only evidence that one is gone.
    async fn exists(&self, id: &MachineId) -> Result<bool, ProviderError>;
    /// Makes a machine. The token makes it repeatable; identity is written by this very call.
    /// Returns once the cloud has taken the request, not when the machine is up.
    async fn create(&self, request: &MachineRequest) -> Result<(), ProviderError>;
    /// Starts a stopped machine from its disk; running already is Ok.
    async fn start(&self, id: &MachineId) -> Result<(), ProviderError>;
    /// Writes other tags on a machine that is there: only its owner, ledger, expiry and host keys may differ from what
    /// it carries, never what it is. Idempotent; a machine that is gone is [`ProviderError::Rejected`].
    async fn retag(&self, id: &MachineId, tags: &Tags) -> Result<(), ProviderError>;
    /// Deletes a machine and its parts; gone already is Ok.
    async fn delete(&self, id: &MachineId) -> Result<(), ProviderError>;
    /// The sizes on offer; empty where any size can be made.
    async fn shapes(&self) -> Result<Vec<Shape>, ProviderError>;
    /// Deletes whatever else is left of a cluster, in dependency order; returns what stayed, with its blocker.
    /// Machines are not swept: the plan deletes them first.
    async fn sweep(&self, cluster: &ClusterId) -> Result<Vec<Leftover>, ProviderError>;
    /// Lets a daemon ask for workers of this cluster, and for nothing else. `file` is where it will find the secret. Asked
    /// again it is the same grant, or a new one in place of it.
    async fn grant(&self, cluster: &ClusterId, file: &Path) -> Result<Grant, ProviderError>;
    /// Ends every grant of a cluster: from now on nothing is made for it. No grant is Ok.
    async fn revoke(&self, cluster: &ClusterId) -> Result<(), ProviderError>;
    /// A stream to a port of a machine: direct, through a bastion, or into a namespace.
    async fn dial(&self, machine: &Machine, port: u16) -> Result<Stream, ProviderError>;
    /// The last lines that the machine wrote to its console.
    async fn console(&self, id: &MachineId) -> Result<String, ProviderError>;
}
