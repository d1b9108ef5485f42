//! Machines on this computer: a small cloud made of Linux namespaces, run by an agent.
//!
//! ```text
//! SandboxProvider ──HTTP, unix socket──► agent ──► machines: overlay root, systemd, sshd, own network
//!   (client.rs)                          (agent/)   (machine/, tree/)
//!        └──HTTP, TLS, gateway (gateway/)──┘  from inside a cluster: this cluster, and what its autoscaler needs
//! ```
//! It is a cloud, not a mock: it survives the command line, is asked through its API alone, has quotas, a console,
//! and machines that can be stopped. **Root inside a machine is no security boundary**: it guards against accidents.

pub mod agent;
pub mod client;
pub mod gateway;
pub mod machine;
pub mod paths;
pub mod start;
pub mod tree;
pub mod wire;

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use hyper::Method;
use serde::{Deserialize, Serialize};

use super::{
    Demand, Grant, Leftover, Machine, MachineRequest, Problem, Provider, ProviderError, Scaffold, Scope,
    Stream, Tags,
};
use crate::names::{CloudId, ClusterId, ClusterName, ImageName, MachineId};
use crate::spec::{Network, Shape};
use client::Client;
use paths::Paths;
use wire::{
    Access, CaptureRequest, CheckRequest, Cloud, CreateRequest, FaultsRequest, FaultsStatus, Pair,
    ScaffoldRequest, Status, StopRequest, rejected,
};

/// `provider: {type: sandbox, …}` of the cluster file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Which sandbox cloud of this computer; several live side by side. `$CONTINUUM_SANDBOX` unless it is said.
    #[serde(default = "default_instance")]
    pub instance: String,
}

fn default_instance() -> String {
    crate::env::var("CONTINUUM_SANDBOX").unwrap_or_else(|| "default".into())
}

impl Default for Config {
    fn default() -> Self {
        Self { instance: default_instance() }
    }
}

/// The sandbox behind [`Provider`].
#[derive(Debug, Clone)]
pub struct SandboxProvider {
    client: Client,
}

/// Connects to an instance's agent; starts it if there is none.
pub async fn connect(config: &Config) -> Result<SandboxProvider, ProviderError> {
    let exe =
        std::env::current_exe().map_err(|error| rejected(format!("cannot find this program: {error}")))?;
    connect_with(config, exe).await
}

/// Like [`connect`], with the `continuum` program to start an agent with: for programs that are not it.
pub async fn connect_with(config: &Config, exe: PathBuf) -> Result<SandboxProvider, ProviderError> {
    let provider = SandboxProvider::at(config, exe)?;
    provider.client.ensure().await?;
    let status = provider.status().await?;
    if status.version != wire::VERSION {
        return Err(rejected(format!(
            "the sandbox agent that runs (pid {}) is of another version of continuum: end it with continuum sandbox stop, which keeps the disks",
            status.pid
        )));
    }
    Ok(provider)
}

/// Connects from inside a cluster, through its gateway; starts nothing.
pub async fn connect_at_gateway(access: &gateway::Access) -> Result<SandboxProvider, ProviderError> {
    let provider = SandboxProvider::at_gateway(access)?;
    let Cloud { version, .. } = provider.client.get("cloud").await?;
    if version != wire::VERSION {
        return Err(rejected(format!(
            "the sandbox agent at {} is of another version of continuum ({version}, this is {}): run continuum cluster up again",
            access.address,
            wire::VERSION
        )));
    }
    Ok(provider)
}

/// The sandbox's answer to "asked and not seen": its list is never late, this only bridges an agent's restart.
const SETTLE: Duration = Duration::from_secs(2);

impl SandboxProvider {
    /// For an instance, without asking whether its agent is there.
    pub fn at(config: &Config, exe: PathBuf) -> Result<Self, ProviderError> {
        let cache = crate::cache::folder().map_err(|error| rejected(error.to_string()))?;
        let paths = Paths::new(&config.instance, &cache).map_err(rejected)?;
        Ok(Self { client: Client::new(paths, exe) })
    }
    /// From inside a cluster, without asking whether the agent is there.
    pub fn at_gateway(access: &gateway::Access) -> Result<Self, ProviderError> {
        Ok(Self { client: Client::at(access.door()?) })
    }
    /// Whether an agent is there.
    pub async fn is_up(&self) -> bool {
        self.client.is_up().await
    }
    /// What the agent is and has.
    pub async fn status(&self) -> Result<Status, ProviderError> {
        self.client.get("status").await
    }
    /// How a cluster's machines reach the agent: for the autoscaler on a front-end. Holds a secret.
    pub async fn access(&self, cluster: &ClusterId) -> Result<Access, ProviderError> {
        self.client.get(&format!("clusters/{cluster}/access")).await
    }
    /// The same with a new token: the one before it is of no use from now on. Holds a secret.
    pub async fn renew_access(&self, cluster: &ClusterId) -> Result<Access, ProviderError> {
        self.client.call(Method::PUT, &format!("clusters/{cluster}/token"), &()).await?.value()
    }
    /// A cluster's token is of no use from now on, and makes no machine any more, not even by a call that is on its way.
    pub async fn revoke_access(&self, cluster: &ClusterId) -> Result<(), ProviderError> {
        self.client.call(Method::DELETE, &format!("clusters/{cluster}/token"), &()).await.map(|_| ())
    }
    /// Cuts a machine's power; [`Provider::start`] boots it from its disk.
    pub async fn stop(&self, id: &MachineId) -> Result<(), ProviderError> {
        self.client.call(Method::POST, &format!("machines/{id}/stop"), &()).await.map(|_| ())
    }
    /// Stops all machines and the agent; `delete` removes everything of the instance.
    pub async fn stop_all(&self, delete: bool) -> Result<(), ProviderError> {
        self.client.call(Method::POST, "stop", &StopRequest { delete }).await.map(|_| ())
    }
    /// All machines, past all faults: what is really there.
    pub async fn inventory(&self) -> Result<Vec<Machine>, ProviderError> {
        self.client.get("machines?faults=off").await
    }
    /// What goes wrong on purpose.
    pub async fn faults(&self) -> Result<FaultsStatus, ProviderError> {
        self.client.get("faults").await
    }
    /// These faults from now on, and no others.
    pub async fn set_faults(&self, request: &FaultsRequest) -> Result<FaultsStatus, ProviderError> {
        self.client.call(Method::PUT, "faults", request).await?.value()
    }
    /// No faults any more, and nothing cut.
    pub async fn clear_faults(&self) -> Result<(), ProviderError> {
        self.client.call(Method::DELETE, "faults", &()).await.map(|_| ())
    }
    /// Two machines hear nothing of each other any more.
    pub async fn cut(&self, pair: &Pair) -> Result<(), ProviderError> {
        self.client.call(Method::PUT, "faults/cuts", pair).await.map(|_| ())
    }
    /// They hear each other again; without a pair all do.
    pub async fn heal(&self, pair: Option<&Pair>) -> Result<(), ProviderError> {
        self.client.call(Method::DELETE, "faults/cuts", &pair).await.map(|_| ())
    }
    /// Makes the image `debian-12+NAME` out of a stopped machine's disk.
    pub async fn capture(&self, name: &str, machine: &MachineId) -> Result<(), ProviderError> {
        let request = CaptureRequest { name: name.to_owned(), machine: machine.clone() };
        self.client.call(Method::POST, "images", &request).await.map(|_| ())
    }
    /// Whether an image can be booted here.
    pub async fn image_exists(&self, image: &ImageName) -> Result<bool, ProviderError> {
        let found = self.client.find_status(&format!("images/{image}")).await?;
        Ok(found)
    }
}

#[async_trait]
impl Provider for SandboxProvider {
    fn settle(&self) -> Duration {
        SETTLE
    }
    async fn cloud(&self) -> Result<CloudId, ProviderError> {
        Ok(self.client.get::<Cloud>("cloud").await?.cloud)
    }
    async fn check(&self, demand: &Demand) -> Result<Vec<Problem>, ProviderError> {
        self.client.call(Method::POST, "check", &CheckRequest::from(demand)).await?.value()
    }
    async fn scaffold(&self, cluster: &ClusterId, network: &Network) -> Result<Scaffold, ProviderError> {
        let request = ScaffoldRequest { network: network.clone() };
        self.client.call(Method::PUT, &format!("clusters/{cluster}"), &request).await?.value()
    }
    async fn find_scaffold(&self, cluster: &ClusterId) -> Result<Option<Scaffold>, ProviderError> {
        self.client.find(&format!("clusters/{cluster}")).await
    }
    async fn clusters(&self, name: &ClusterName) -> Result<Vec<ClusterId>, ProviderError> {
        let mut all: Vec<ClusterId> = self.client.get("clusters").await?;
        all.retain(|id| id.name().as_ref() == Some(name));
        Ok(all)
    }
    async fn list(&self, scope: &Scope) -> Result<Vec<Machine>, ProviderError> {
        let mut all: Vec<Machine> = self.client.get("machines").await?;
        if let Scope::Cluster { name, id } = scope {
            all.retain(|machine| {
                let cluster = &machine.tags.cluster;
                id.as_ref() == Some(cluster) || cluster.name().as_ref() == Some(name)
            });
        }
        Ok(all)
    }
    async fn exists(&self, id: &MachineId) -> Result<bool, ProviderError> {
        Ok(self.client.find::<Machine>(&format!("machines/{id}")).await?.is_some())
    }
    async fn create(&self, request: &MachineRequest) -> Result<(), ProviderError> {
        self.client.call(Method::POST, "machines", &CreateRequest::from(request)).await.map(|_| ())
    }
    async fn start(&self, id: &MachineId) -> Result<(), ProviderError> {
        self.client.call(Method::POST, &format!("machines/{id}/start"), &()).await.map(|_| ())
    }
    async fn retag(&self, id: &MachineId, tags: &Tags) -> Result<(), ProviderError> {
        self.client.call(Method::PUT, &format!("machines/{id}/tags"), tags).await.map(|_| ())
    }
    async fn delete(&self, id: &MachineId) -> Result<(), ProviderError> {
        self.client.call(Method::DELETE, &format!("machines/{id}"), &()).await.map(|_| ())
    }
    async fn shapes(&self) -> Result<Vec<Shape>, ProviderError> {
        // Any size can be made.
        Ok(Vec::new())
    }
    async fn sweep(&self, cluster: &ClusterId) -> Result<Vec<Leftover>, ProviderError> {
        self.client.call(Method::DELETE, &format!("clusters/{cluster}"), &()).await?.value()
    }
    async fn grant(&self, cluster: &ClusterId, file: &Path) -> Result<Grant, ProviderError> {
        let access = match self.access(cluster).await {
            // It was revoked once, as a `cluster down` does that did not come to its end.
            Err(ProviderError::Rejected { .. }) => self.renew_access(cluster).await?,
            other => other?,
        };
        let Access { address, fingerprint, token } = access;
        let config = gateway::Access { address, certificate: fingerprint, token_file: file.to_owned() };
        Ok(Grant { config: super::Config::SandboxGateway(config), secret: token.into() })
    }
    async fn revoke(&self, cluster: &ClusterId) -> Result<(), ProviderError> {
        self.revoke_access(cluster).await
    }
    async fn dial(&self, machine: &Machine, port: u16) -> Result<Stream, ProviderError> {
        self.client.dial(machine, port).await
    }
    async fn console(&self, id: &MachineId) -> Result<String, ProviderError> {
        let reply = self.client.call(Method::GET, &format!("machines/{id}/console"), &()).await?;
        Ok(String::from_utf8_lossy(&reply.body).into_owned())
    }
}
