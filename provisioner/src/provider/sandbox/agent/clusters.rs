//! Scaffold and sweep: what a cluster's machines stand on, and what they ask of the gateway.

use std::collections::BTreeSet;
use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::sync::Arc;

use super::super::machine::StepError;
use super::super::wire::{Access, CheckRequest, ScaffoldRequest, rejected, unavailable};
use super::super::{start, tree};
use super::record::{ClusterRecord, VERSION, free_index};
use super::{Agent, Caller, Cluster, dns, failed, files, gateway, rights, used};
use crate::names::{ClusterId, ImageName};
use crate::provider::{Leftover, Problem, ProviderError, Scaffold};
use crate::spec::Network;

impl Agent {
    /// Makes a cluster's network, or finds it.
    pub async fn scaffold(
        self: &Arc<Self>,
        id: &ClusterId,
        network: &Network,
    ) -> Result<Scaffold, ProviderError> {
        let record = self.cluster_record(id, network)?;
        files::save(&self.cluster_path(id), &record).map_err(failed)?;
        self.open_cluster(&record).await.map_err(failed)?;
        if tree::ready(&self.paths).is_some() {
            self.open_internet().await.map_err(failed)?;
        } else {
            // The first scaffold on a computer starts the long work early, and its rules come out of the tree.
            let agent = Arc::clone(self);
            tokio::spawn(async move {
                if let Err(error) = agent.open_internet().await {
                    tracing::warn!(%error, "machines do not reach the outside");
                }
            });
        }
        Ok(self.shown(id))
    }

    /// The network of a cluster, if it is there.
    pub fn find_scaffold(&self, id: &ClusterId) -> Option<Scaffold> {
        self.inner().clusters.contains_key(id).then(|| self.shown(id))
    }

    fn shown(&self, id: &ClusterId) -> Scaffold {
        Scaffold { cluster: id.clone(), cloud: self.cloud.clone() }
    }

    fn cluster_path(&self, id: &ClusterId) -> PathBuf {
        self.paths.clusters().join(format!("{id}.json"))
    }

    fn cluster_record(&self, id: &ClusterId, network: &Network) -> Result<ClusterRecord, ProviderError> {
        let token = files::random_hex(32).map_err(failed)?;
        let mut inner = self.inner();
        if let Some(cluster) = inner.clusters.get_mut(id) {
            cluster.record.internet = network.internet;
            return Ok(cluster.record.clone());
        }
        if inner.stopping.is_some() {
            return Err(unavailable("this sandbox is being stopped"));
        }
        let taken: BTreeSet<u8> = inner.clusters.values().map(|cluster| cluster.record.index).collect();
        let index = free_index(&taken).ok_or_else(|| ProviderError::Quota {
            message: format!("{} clusters are there, the sandbox has no room for more", taken.len()),
        })?;
        let record =
            ClusterRecord { version: VERSION, id: id.clone(), index, internet: network.internet, token };
        // Taken at once, so that two clusters never get one network.
        inner.clusters.insert(id.clone(), Cluster { record: record.clone(), services: Vec::new() });
        Ok(record)
    }

    /// Bridge, name server, gateway: all of it may be there already.
    pub(super) async fn open_cluster(self: &Arc<Self>, record: &ClusterRecord) -> Result<(), StepError> {
        let _one_at_a_time = self.networks.lock().await;
        self.hub.bridge(record).await?;
        let running =
            self.inner().clusters.get(&record.id).is_some_and(|cluster| !cluster.services.is_empty());
        if running {
            return Ok(());
        }
        let gateway = record.gateway();
        let udp = self
            .hub
            .udp(SocketAddrV4::new(gateway, 53))
            .await
            .map_err(StepError::at("open the name server"))?;
        let tcp = self
            .hub
            .listen(SocketAddrV4::new(gateway, 53))
            .await
            .map_err(StepError::at("open the name server"))?;
        let tls = self.hub.listen(SocketAddrV4::new(gateway, gateway::PORT)).await;
        let tls = tls.map_err(StepError::at("listen on the gateway"))?;
        let services = vec![
            tokio::spawn(dns::serve_udp(Arc::clone(self), record.id.clone(), udp)),
            tokio::spawn(dns::serve_tcp(Arc::clone(self), record.id.clone(), tcp)),
            tokio::spawn(gateway::serve(Arc::clone(self), tls)),
        ];
        if let Some(cluster) = self.inner().clusters.get_mut(&record.id) {
            cluster.services.extend(services);
        }
        Ok(())
    }

    /// The clusters that the caller may see.
    pub fn clusters(&self, caller: &Caller) -> Vec<ClusterId> {
        self.inner().clusters.keys().filter(|id| caller.may_see(id)).cloned().collect()
    }

    /// The network of a cluster, asked for from inside: it is there as it is, or the wish is refused.
    pub fn kept_scaffold(
        &self,
        id: &ClusterId,
        request: &ScaffoldRequest,
    ) -> Result<Option<Scaffold>, ProviderError> {
        let inner = self.inner();
        let Some(cluster) = inner.clusters.get(id) else { return Ok(None) };
        rights::may_scaffold(&cluster.record, request).map(|()| Some(self.shown(id)))
    }

    /// How the cluster's machines reach this agent.
    pub fn access(&self, id: &ClusterId) -> Result<Option<Access>, ProviderError> {
        let inner = self.inner();
        let Some(cluster) = inner.clusters.get(id) else { return Ok(None) };
        let record = &cluster.record;
        if record.token.is_empty() {
            return Err(rejected(format!("the token of cluster {id} was revoked: ask for a new one")));
        }
        Ok(Some(Access {
            address: SocketAddrV4::new(record.gateway(), gateway::PORT).into(),
            fingerprint: self.gateway.fingerprint().to_owned(),
            token: record.token.clone(),
        }))
    }

    /// From now on this is the cluster's token, and no other; none at all if it is empty. Whether there is such a cluster.
    pub fn set_token(&self, id: &ClusterId, token: String) -> Result<bool, ProviderError> {
        let record = {
            let mut inner = self.inner();
            let Some(cluster) = inner.clusters.get_mut(id) else { return Ok(false) };
            // In memory first: it counts at once, also for calls that were let in before.
            cluster.record.token = token;
            cluster.record.clone()
        };
        files::save(&self.cluster_path(id), &record).map_err(failed)?;
        Ok(true)
    }

    /// The cluster with this token. A revoked one is empty, and so is that of a request without any: it opens nothing.
    pub fn cluster_of_token(&self, token: &str) -> Option<ClusterId> {
        let inner = self.inner();
        let mut open = inner.clusters.values().filter(|cluster| !cluster.record.token.is_empty());
        let found = open.find(|cluster| super::api::same_secret(&cluster.record.token, token));
        found.map(|cluster| cluster.record.id.clone())
    }

    /// Removes a cluster's network once its machines are gone.
    pub async fn sweep(self: &Arc<Self>, id: &ClusterId) -> Result<Vec<Leftover>, ProviderError> {
        let cluster = {
            let mut inner = self.inner();
            let on_it: Vec<String> = inner
                .machines
                .values()
                .filter(|live| &live.record.tags.cluster == id)
                .map(|live| format!("machine {} ({})", live.record.tags.machine, live.record.id))
                .collect();
            if !on_it.is_empty() {
                return Ok(vec![Leftover { what: format!("network {id}"), blocker: on_it.join(", ") }]);
            }
            inner.clusters.remove(id)
        };
        let Some(cluster) = cluster else { return Ok(Vec::new()) };
        let changing = self.networks.lock().await;
        for service in cluster.services {
            service.abort();
        }
        self.hub.remove_bridge(&cluster.record).await.map_err(failed)?;
        let path = self.cluster_path(id);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed(StepError::at(format!("remove {}", path.display()))(error)));
            }
            _ => {}
        }
        drop(changing);
        self.open_internet().await.map_err(failed)?;
        Ok(Vec::new())
    }

    /// What would fail, before anything is made.
    pub fn check(&self, demand: &CheckRequest) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut wanted = used(&self.inner());
        for (count, shape, image) in &demand.machines {
            wanted = wanted.plus(u64::from(*count), shape);
            if let Err(error) = self.check_image(image) {
                problems.push(Problem {
                    what: format!("image {image}"),
                    why: error.to_string(),
                    hint: format!("use {}, or capture the image first", tree::BASE),
                });
            }
        }
        problems.extend(self.limits().exceeded(&wanted));
        problems.extend(start::missing_commands(tree::ready(&self.paths).is_none(), demand.network.internet));
        problems.dedup();
        problems
    }

    /// Whether an image can be booted.
    pub fn check_image(&self, image: &ImageName) -> Result<(), ProviderError> {
        tree::layers_of(&self.paths, image).map(|_| ()).map_err(|error| rejected(error.source.to_string()))
    }
}
