//! `cluster status`, `list`, `ssh`, `logs`: what is there, without changing it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use secrecy::ExposeSecret;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::input::{self, Given};
use super::site::{self, SiteError};
use crate::api;
use crate::handover::has_elastic_pools;
use crate::keys::HostKey;
use crate::ledger::Ledger;
use crate::names::{ClusterId, ClusterName, MachineName, PoolName};
use crate::plan::{Limits, NodeState, Nodes};
use crate::provider::{Machine, MachineState, Owner, Provider, Scope};
use crate::recipe::{Host, Scripts};
use crate::reconcile::Reconciler;
use crate::remote::{RemoteError, Target};
use crate::spec::Spec;
use crate::state::{Record, StateDir};
use crate::teardown;

/// One machine of a cluster, from all sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Its name.
    pub machine: MachineName,
    /// Its pool.
    pub pool: PoolName,
    /// What we decided; `None` for a machine without a row.
    pub phase: Option<String>,
    /// What the cloud says; `None` if it lists none.
    pub state: Option<String>,
    /// Whether its node is Ready; `None` if that is not known.
    pub node: Option<bool>,
    /// Where other machines reach it.
    pub address: Option<String>,
    /// Ports that the operator reaches, and where.
    pub exposed: BTreeMap<u16, SocketAddr>,
    /// Its size.
    pub shape: String,
}

/// A cluster, from all sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Its name.
    pub cluster: ClusterName,
    /// Its id.
    pub id: ClusterId,
    /// Whether it is being taken down.
    pub closing: bool,
    /// Its machines.
    pub machines: Vec<Line>,
    /// Why the nodes are not known.
    pub nodes_unknown: Option<String>,
    /// Where its files are.
    pub folder: String,
}

/// A cluster that is looked at.
pub struct Seen {
    /// Its folder.
    pub dir: StateDir,
    /// What is remembered.
    pub record: Record,
    /// Its cloud.
    pub provider: Arc<dyn Provider>,
    engine: Reconciler,
    spec: Option<Spec>,
}

/// Looks at a cluster that this computer knows. Its file is read again for the recipes; if that fails, nodes
/// stay unknown and everything else is shown.
pub async fn look(name: &ClusterName) -> Result<Seen, SiteError> {
    let (dir, record) = site::known(name).await?;
    let given =
        Given { file: record.file.clone(), bundle: record.bundle.clone(), recipes: record.recipes.clone() };
    let (spec, scripts): (_, Arc<dyn Scripts>) = match input::read(&given) {
        Ok(input) => (Some(input.spec), Arc::new(input.scripts)),
        Err(error) => {
            tracing::debug!(%error, "the cluster file cannot be used to look at nodes");
            (None, Arc::new(super::down::NoScripts))
        }
    };
    let (parts, ledger) = site::looking(&dir, &record, scripts).await?;
    let provider = Arc::clone(&parts.provider);
    let mut engine = Reconciler::new(parts, ledger, Limits::default());
    if let Some(spec) = spec.clone().or_else(|| teardown::nothing_wanted(engine.ledger())) {
        engine.observe(&spec).await;
    }
    Ok(Seen { dir, record, provider, engine, spec })
}

/// The cloud of a cluster that this computer knows, and its machines there: no ledger, no keys, no recipes.
pub async fn look_at_cloud(name: &ClusterName) -> Result<(Arc<dyn Provider>, Vec<Machine>), SiteError> {
    let (_, record) = site::known(name).await?;
    let provider = site::connect(&record.provider).await?;
    let scope = Scope::Cluster { name: name.clone(), id: Some(record.id.clone()) };
    let mut machines = provider.list(&scope).await?;
    machines.retain(|machine| machine.tags.cluster == record.id);
    machines.sort_by(|a, b| a.tags.machine.cmp(&b.tags.machine));
    Ok((provider, machines))
}

/// The autoscaler of a cluster does not answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody can be asked.
    #[error("no front-end of {0} is Ready and runs")]
    NoFrontEnd(ClusterName),
    /// It runs nowhere.
    #[error("{0} has no pool with a range, and so no autoscaler: a pool has one with `count: 0..5`")]
    NotElastic(ClusterName),
    /// The front-end, or the autoscaler on it.
    #[error("the autoscaler does not answer: {0}")]
    Remote(RemoteError),
    /// It says no.
    #[error("{0}")]
    Refused(String),
    /// Of another version, or damaged on the way.
    #[error("the autoscaler's answer makes no sense: {0}")]
    Answer(#[from] serde_json::Error),
}

impl Seen {
    /// Asks the autoscaler on the front-end.
    pub async fn ask<T: DeserializeOwned>(
        &self,
        name: &ClusterName,
        method: &str,
        path: &str,
    ) -> Result<T, AskError> {
        if self.spec.as_ref().is_some_and(|spec| !has_elastic_pools(spec)) {
            return Err(AskError::NotElastic(name.clone()));
        }
        // Names of pods and nodes have no letter that a shell would read; whoever gives another one is not understood.
        let script = format!("{} {method} {path}", api::ASK);
        let answer = self.engine.ask_front_end(&script).await;
        let answer = match answer.ok_or_else(|| AskError::NoFrontEnd(name.clone()))? {
            Ok(answer) => answer,
            Err(RemoteError::ScriptFailed { words, .. }) => return Err(AskError::Refused(words)),
            Err(error) => return Err(AskError::Remote(error)),
        };
        // What only tells gets no answer.
        let answer = Some(answer.expose_secret()).filter(|answer| !answer.is_empty()).unwrap_or(b"null");
        Ok(serde_json::from_slice(answer)?)
    }

    /// How to reach a machine, or the first front-end if none is named.
    pub fn reach(&self, machine: Option<&MachineName>) -> Option<(Target, Host)> {
        match machine {
            Some(name) => self.engine.reach(name),
            None => self.engine.front_end(),
        }
    }

    /// The same, with the host keys in full: of a machine of the autoscaler's the cloud has only their fingerprints, so the
    /// autoscaler is asked, and believed only where they agree.
    pub async fn reach_with_keys(
        &self,
        name: &ClusterName,
        machine: Option<&MachineName>,
    ) -> Result<Option<Target>, AskError> {
        let Some((mut target, _)) = self.reach(machine) else { return Ok(None) };
        if target.machine.tags.owner == Owner::Autoscaler {
            let known: Vec<String> = self.ask(name, "GET", &format!("/v1/host-keys/{}", target.name)).await?;
            let pinned: Vec<&str> = target.machine.tags.host_keys().collect();
            let agrees = |key: &String| {
                HostKey::parse(key).is_ok_and(|key| pinned.contains(&key.fingerprint().as_str()))
            };
            target.host_keys = known.into_iter().filter(agrees).collect();
        }
        Ok(Some(target))
    }

    /// The ledger.
    pub fn ledger(&self) -> &Ledger {
        self.engine.ledger()
    }

    /// The machines as listed.
    pub fn machines(&self) -> &[Machine] {
        self.engine.machines()
    }

    /// What was asked for, if the cluster's file can still be read.
    pub fn spec(&self) -> Option<&Spec> {
        self.spec.as_ref()
    }

    /// Everything about it, nodes asked for.
    pub async fn status(&mut self, cluster: &ClusterName) -> Status {
        let nodes = self.engine.nodes_now().await;
        let (known, unknown) = match &nodes {
            Nodes::Known(nodes) => (Some(nodes), None),
            Nodes::Unknown(why) => (None, Some(why.clone())),
            Nodes::Unused => (None, None),
        };
        let ledger = self.engine.ledger();
        let ours = |machine: &&Machine| machine.tags.cluster == self.record.id;
        let listed: BTreeMap<&MachineName, &Machine> =
            self.machines().iter().filter(ours).map(|machine| (&machine.tags.machine, machine)).collect();
        let elastic = self.spec.as_ref().is_some_and(has_elastic_pools);
        let daemon =
            if elastic { self.ask::<api::Status>(cluster, "GET", "/v1/status").await.ok() } else { None };
        let phase_of = |name: &MachineName| {
            let rows = daemon.iter().flat_map(|daemon| &daemon.machines);
            rows.filter(|row| row.name == *name).map(|row| row.phase.clone()).next()
        };
        let mut lines: Vec<Line> = ledger
            .rows()
            .iter()
            .map(|(name, row)| {
                let machine = listed.get(name).copied();
                line(name, &row.pool, Some(row.phase().to_string()), machine, known, &row.shape.name.0)
            })
            .collect();
        let rowless = listed.iter().filter(|(name, _)| ledger.row(name).is_none());
        lines.extend(rowless.map(|(name, machine)| {
            line(name, &machine.tags.pool, phase_of(name), Some(machine), known, &machine.shape.name.0)
        }));
        Status {
            cluster: cluster.clone(),
            id: self.record.id.clone(),
            closing: ledger.closing.is_some(),
            machines: lines,
            nodes_unknown: unknown,
            folder: self.dir.path().display().to_string(),
        }
    }
}

fn line(
    name: &MachineName,
    pool: &PoolName,
    phase: Option<String>,
    machine: Option<&Machine>,
    nodes: Option<&BTreeMap<MachineName, NodeState>>,
    shape: &str,
) -> Line {
    Line {
        machine: name.clone(),
        pool: pool.clone(),
        phase,
        state: machine.map(|machine| match &machine.state {
            MachineState::Building => "building".to_owned(),
            MachineState::Running => "running".to_owned(),
            MachineState::Stopped => "stopped".to_owned(),
            MachineState::Failed(why) => format!("failed: {why}"),
        }),
        node: nodes.map(|nodes| nodes.get(name).is_some_and(|node| node.ready)),
        address: machine.and_then(|machine| machine.address).map(|address| address.to_string()),
        exposed: machine.map(|machine| machine.exposed.clone()).unwrap_or_default(),
        shape: shape.to_owned(),
    }
}
