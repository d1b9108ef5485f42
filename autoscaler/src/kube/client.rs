//! The client behind [`Kube`]: caches, orders, lease, events and the ledger's store over one connection pool.
//!
//! Invariants: everything that changes the cluster asks for the lease first; every request has a time-out; what runs beside ends with
//! the client.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use provisioner::clock;
use provisioner::names::{LedgerId, MachineName};
use serde_json::json;
use tokio::task::JoinHandle;

use super::cache::for_every_kind;
use super::events::Events;
use super::lease::{self, Lease};
use super::reflect::{Shared, follow};
use super::rest::{Rest, chain, namespaced};
use super::store::ConfigMapStore;
use super::{About, Acted, Kube, KubeError, Snapshot, Tone, act};
use crate::decide::KubeAction;

/// The longest that an order may take; less if the lease ends before.
const ACT_WAIT: Duration = Duration::from_secs(10);
/// A direct question so often, and how long an answer may take.
const PROBE_EVERY: Duration = Duration::from_secs(5);
const PROBE_WAIT: Duration = Duration::from_secs(3);
const CONNECT_WAIT: Duration = Duration::from_secs(5);
const STATUS: &str = "continuum-autoscaler-status";
/// As for the ledger: what a ConfigMap holds.
const STATUS_MAX: usize = 900_000;

/// How this process is called, and where its objects are.
#[derive(Debug, Clone)]
pub struct Names {
    /// The namespace of lease, ledger and status.
    pub namespace: String,
    /// Whose lease it is: a name that no other process has or had, such as host, pid and a random number.
    pub identity: String,
    /// Whether it wants the lease. Without, it only looks: every order is refused.
    pub leads: bool,
}

/// The cluster, as one process sees it and acts on it.
pub struct Client {
    rest: Rest,
    names: Names,
    shared: Arc<Shared>,
    lease: Arc<Lease>,
    events: Events,
    tasks: Vec<JoinHandle<()>>,
    keeper: Option<JoinHandle<()>>,
}

/// The API server that a kubeconfig names. Nothing is asked of it yet.
pub(super) async fn connect(kubeconfig: &Path) -> Result<Rest, KubeError> {
    // The workspace has one provider; whoever installed it before installed the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let refused = |error: &dyn std::error::Error| {
        KubeError::Refused(format!("{} cannot be used: {}", kubeconfig.display(), chain(error)))
    };
    let read = Kubeconfig::read_from(kubeconfig).map_err(|error| refused(&error))?;
    let own_proxy =
        read.clusters.iter().filter_map(|named| named.cluster.as_ref()).any(|c| c.proxy_url.is_some());
    let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await;
    let mut config = config.map_err(|error| refused(&error))?;
    if !own_proxy {
        // The environment's proxy is for downloads; the API server is this cluster's own.
        config.proxy_url = None;
    }
    config.connect_timeout = Some(CONNECT_WAIT);
    // Each request has its own time-out. A refusal by a budget must come back, not be tried again in silence.
    config.default_retry = false;
    let agent = concat!("continuum-autoscaler/", env!("CARGO_PKG_VERSION"));
    if let (Ok(name), Ok(value)) = ("user-agent".parse(), agent.parse()) {
        config.headers.push((name, value));
    }
    let client = kube::Client::try_from(config).map_err(|error| refused(&error))?;
    Ok(Rest { client })
}

impl Client {
    /// Begins to watch, and to ask for the lease if `names` says so. Whether the API server is there is seen by the views.
    ///
    /// # Errors
    /// The kubeconfig cannot be used.
    pub async fn connect(kubeconfig: &Path, names: Names) -> Result<Arc<Self>, KubeError> {
        let rest = connect(kubeconfig).await?;
        let shared = Arc::new(Shared::new());
        let lease = Arc::new(Lease::new(names.identity.clone()));
        let mut tasks = vec![tokio::spawn(probe(Arc::clone(&shared), rest.clone(), names.namespace.clone()))];
        macro_rules! watch {
            ($type:ty) => {
                tasks.push(tokio::spawn(follow::<$type>(Arc::clone(&shared), rest.clone())));
            };
        }
        for_every_kind!(watch);
        let keep = lease::keep(Arc::clone(&lease), rest.clone(), names.namespace.clone());
        let keeper = names.leads.then(|| tokio::spawn(keep));
        Ok(Arc::new(Self { rest, names, shared, lease, events: Events::default(), tasks, keeper }))
    }

    /// The lease, as this process knows it.
    pub fn lease(&self) -> &Arc<Lease> {
        &self.lease
    }

    /// The place of a ledger, written only with the lease.
    pub fn store(&self, ledger: &LedgerId) -> ConfigMapStore {
        ConfigMapStore::new(self.rest.clone(), Some(Arc::clone(&self.lease)), &self.names.namespace, ledger)
    }

    /// A good end: nothing is done any more, and the lease is given back, so that the next one need not wait.
    pub async fn close(&self) {
        self.tasks.iter().chain(&self.keeper).for_each(JoinHandle::abort);
        // A renewal under way must not come after the lease was given back.
        while self.keeper.as_ref().is_some_and(|keeper| !keeper.is_finished()) {
            tokio::task::yield_now().await;
        }
        if let Err(fault) = lease::release(&self.lease, &self.rest, &self.names.namespace).await {
            tracing::debug!(error = %fault, "the lease was not given back: it runs out by itself");
        }
    }

    /// How long what is begun now may take, if we may begin anything.
    fn fence(&self) -> Result<Duration, KubeError> {
        Ok(ACT_WAIT.min(self.lease.check()?))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.tasks.iter().chain(&self.keeper).for_each(JoinHandle::abort);
    }
}

/// Asks a cheap direct question now and then: whether there is anybody behind the watches.
async fn probe(shared: Arc<Shared>, rest: Rest, namespace: String) {
    let path = lease::path(&namespace);
    loop {
        let answer = rest.get(&path, lease::NAME, PROBE_WAIT).await;
        shared.health(|health, now| match &answer {
            Ok(_) => health.answered(now),
            // There is no lease yet; the answer comes from the same place.
            Err(fault) if fault.code() == Some(404) => health.answered(now),
            Err(fault) => health.unanswered(fault.to_string()),
        });
        tokio::time::sleep(PROBE_EVERY).await;
    }
}

#[async_trait]
impl Kube for Client {
    fn leads(&self) -> bool {
        self.lease.holds().is_some()
    }
    fn view(&self) -> Snapshot {
        self.shared.view()
    }

    async fn changed(&self) {
        self.shared.changed().await;
    }

    async fn act(&self, action: &KubeAction) -> Result<Acted, KubeError> {
        let wait = self.fence()?;
        match action {
            KubeAction::Cordon { node } => act::cordon(&self.rest, node, wait).await,
            KubeAction::Uncordon { node } => act::uncordon(&self.rest, node, wait).await,
            KubeAction::Evict { namespace, name, uid } => {
                act::evict(&self.rest, (namespace, name, uid), wait).await
            }
        }
    }

    async fn is_empty(&self, node: &MachineName) -> Result<bool, KubeError> {
        act::is_empty(&self.rest, node, clock::now(), ACT_WAIT).await
    }

    async fn forget(&self, node: &MachineName) -> Result<Acted, KubeError> {
        act::forget(&self.rest, node, self.fence()?).await
    }

    async fn event(&self, about: &About, tone: Tone, reason: &str, message: &str) {
        // Who only looks, or has lost the lease, has nothing to say in the cluster.
        if self.lease.holds().is_some() {
            self.events.say(&self.rest, &self.names.identity, about, tone, (reason, message)).await;
        }
    }

    async fn publish(&self, status: &str) -> Result<(), KubeError> {
        let wait = self.fence()?;
        if status.len() > STATUS_MAX {
            return Err(KubeError::Refused(format!(
                "a status of {} bytes fits into no ConfigMap",
                status.len()
            )));
        }
        let path = namespaced("/api/v1", &self.names.namespace, "configmaps");
        let data = json!({"data": {"status": status}});
        match self.rest.merge(&path, STATUS, &data, wait).await {
            Err(fault) if fault.code() == Some(404) => {}
            done => return Ok(done.map(drop)?),
        }
        let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": STATUS}});
        object["data"] = data["data"].clone();
        Ok(self.rest.create(&path, &object, wait).await.map(drop)?)
    }
}
