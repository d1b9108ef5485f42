//! Whoever has lost the lease touches no machine any more: asked before every call that changes something.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use provisioner::names::{CloudId, ClusterId, ClusterName, MachineId};
use provisioner::provider::{
    Demand, Grant, Leftover, Machine, MachineRequest, Problem, Provider, ProviderError, Scaffold, Scope,
    Stream, Tags,
};
use provisioner::spec::{Network, Shape};

/// Says whether this process holds the lease now.
pub type Holds = Arc<dyn Fn() -> bool + Send + Sync>;

/// A cloud behind the lease.
pub struct Fenced {
    inner: Arc<dyn Provider>,
    holds: Holds,
}

impl Fenced {
    /// Asks `holds` before every call that changes something.
    pub fn new(inner: Arc<dyn Provider>, holds: Holds) -> Self {
        Self { inner, holds }
    }

    fn check(&self) -> Result<(), ProviderError> {
        if (self.holds)() {
            return Ok(());
        }
        let message = "another autoscaler may have taken over: this one holds no lease".to_owned();
        Err(ProviderError::Unavailable { message, retry_after: None })
    }
}

#[async_trait]
impl Provider for Fenced {
    fn settle(&self) -> Duration {
        self.inner.settle()
    }
    async fn cloud(&self) -> Result<CloudId, ProviderError> {
        self.inner.cloud().await
    }
    async fn check(&self, demand: &Demand) -> Result<Vec<Problem>, ProviderError> {
        self.inner.check(demand).await
    }
    async fn scaffold(&self, cluster: &ClusterId, network: &Network) -> Result<Scaffold, ProviderError> {
        self.check()?;
        self.inner.scaffold(cluster, network).await
    }
    async fn find_scaffold(&self, cluster: &ClusterId) -> Result<Option<Scaffold>, ProviderError> {
        self.inner.find_scaffold(cluster).await
    }
    async fn clusters(&self, name: &ClusterName) -> Result<Vec<ClusterId>, ProviderError> {
        self.inner.clusters(name).await
    }
    async fn list(&self, scope: &Scope) -> Result<Vec<Machine>, ProviderError> {
        self.inner.list(scope).await
    }
    async fn exists(&self, id: &MachineId) -> Result<bool, ProviderError> {
        self.inner.exists(id).await
    }
    async fn create(&self, request: &MachineRequest) -> Result<(), ProviderError> {
        self.check()?;
        self.inner.create(request).await
    }
    async fn start(&self, id: &MachineId) -> Result<(), ProviderError> {
        self.check()?;
        self.inner.start(id).await
    }
    async fn retag(&self, id: &MachineId, tags: &Tags) -> Result<(), ProviderError> {
        self.check()?;
        self.inner.retag(id, tags).await
    }
    async fn delete(&self, id: &MachineId) -> Result<(), ProviderError> {
        self.check()?;
        self.inner.delete(id).await
    }
    async fn shapes(&self) -> Result<Vec<Shape>, ProviderError> {
        self.inner.shapes().await
    }
    async fn sweep(&self, cluster: &ClusterId) -> Result<Vec<Leftover>, ProviderError> {
        self.check()?;
        self.inner.sweep(cluster).await
    }
    async fn grant(&self, cluster: &ClusterId, file: &Path) -> Result<Grant, ProviderError> {
        self.check()?;
        self.inner.grant(cluster, file).await
    }
    async fn revoke(&self, cluster: &ClusterId) -> Result<(), ProviderError> {
        self.check()?;
        self.inner.revoke(cluster).await
    }
    async fn dial(&self, machine: &Machine, port: u16) -> Result<Stream, ProviderError> {
        self.inner.dial(machine, port).await
    }
    async fn console(&self, id: &MachineId) -> Result<String, ProviderError> {
        self.inner.console(id).await
    }
}
