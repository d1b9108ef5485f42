//! One tick: look, decide, verify, save and start, tell Kubernetes.
//!
//! ```text
//! sight ─► view ─► decide ─► are the nodes that are to be deleted really empty? ─► carry out ─► orders to Kubernetes ─► learn
//! ```
//! Invariants: nothing is told to Kubernetes or the cloud before the ledger is saved; a tick that could not be saved told
//! nobody anything; without the lease nothing is decided; the clock is read once, by the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use provisioner::api::Mode;
use provisioner::ledger::{Ledger, Phase, changes};
use provisioner::names::{MachineName, PoolName};
use provisioner::plan::{NodeState, Nodes, Stop};
use provisioner::policy::Policy;
use provisioner::provider::Machine;
use provisioner::reconcile::{Parts, Reconciler};
use provisioner::spec::Spec;
use provisioner::store::StoreError;

use crate::decide::{Decision, KubeAction, Seen, Subject, Wait, Why, decide};
use crate::kube::{About, Acted, Kube, KubeError, Snapshot, Tone};
use crate::learned::Learned;
use crate::view::KubeView;

/// After a budget said no to an eviction, how long until it is asked again: budgets change when pods become ready, which takes
/// seconds.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// Orders to Kubernetes in one tick; the next tick has the rest.
const ORDERS: usize = 64;
/// More of the nodes than this share, and more than so many, not ready: something else is wrong, and none counts as lost. As
/// Cluster Autoscaler has it.
const FROZEN: (usize, usize) = (45, 3);

/// What a tick came to, for logs, the status and explanations.
#[derive(Debug, Clone)]
pub struct Tick {
    /// Its time.
    pub at: Timestamp,
    /// What it saw.
    pub snapshot: Arc<Snapshot>,
    /// Machines of others in our pools.
    pub others: BTreeMap<PoolName, u32>,
    /// The ledger afterwards.
    pub ledger: Ledger,
    /// What was decided, in words.
    pub changes: Vec<String>,
    /// What does not happen in the cluster, and why.
    pub waits: Vec<Wait>,
    /// What does not happen on machines, and why.
    pub engine_waits: Vec<provisioner::plan::Wait>,
    /// Why nothing was done at all.
    pub stop: Option<String>,
    /// What Kubernetes was told, and what it said.
    pub orders: Vec<(KubeAction, Result<Acted, KubeError>)>,
}

/// Everything that lasts from one tick to the next.
pub struct Autoscaler {
    engine: Reconciler,
    kube: Arc<dyn Kube>,
    /// What was asked for.
    pub spec: Spec,
    /// What it may do.
    pub policy: Policy,
    /// What it may do at all.
    pub mode: Mode,
    learned: Learned,
    /// Evictions that a budget refused, and when they may be asked for again.
    refused: BTreeMap<String, Timestamp>,
    said: BTreeSet<(Subject, &'static str)>,
}

impl Autoscaler {
    /// Over an engine with the daemon's own ledger.
    pub fn new(
        engine: Reconciler,
        kube: Arc<dyn Kube>,
        spec: Spec,
        policy: Policy,
        mode: Mode,
        learned: Learned,
    ) -> Self {
        let (refused, said) = (BTreeMap::new(), BTreeSet::new());
        Self { engine, kube, spec, policy, mode, learned, refused, said }
    }

    /// What was learned so far.
    pub fn learned(&self) -> &Learned {
        &self.learned
    }

    /// Another configuration, from the next tick on.
    pub fn reconfigure(&mut self, spec: Spec, policy: Policy, parts: Parts) {
        (self.spec, self.policy) = (spec, policy);
        self.engine.reconfigure(parts);
    }

    /// The public host keys of a machine that are right.
    pub fn host_keys(&self, name: &MachineName) -> Option<Vec<String>> {
        self.engine.host_keys(name)
    }

    /// The engine.
    pub fn engine(&mut self) -> &mut Reconciler {
        &mut self.engine
    }

    /// One tick. An error is of the ledger's store: nothing was done, and the next tick tries again.
    pub async fn tick(&mut self) -> Result<Tick, StoreError> {
        let snapshot = Arc::new(self.kube.view());
        let nodes = nodes(&snapshot);
        let sighted = self.engine.begin_tick(&self.spec, nodes).await;
        let now = sighted.now;
        let before = sighted.ledger.clone();
        let stale = match (&snapshot.stale, sighted.machines) {
            (Some(why), _) => Some(why.clone()),
            (None, Err(why)) => Some(format!("the cloud does not answer: {why}")),
            (None, Ok(_)) => None,
        };
        self.learned.ages = sighted.ages.clone();
        let others = others(&before, sighted.machines.unwrap_or(&[]));
        let seen = Seen { view: &snapshot.view, stale: stale.as_deref(), others: &others };
        let decision = decide(&self.spec, &self.policy, &before, &seen, &self.learned, None, now);
        let mut tick = Tick {
            at: now,
            snapshot: Arc::clone(&snapshot),
            ledger: before.clone(),
            changes: Vec::new(),
            waits: decision.waits.clone(),
            engine_waits: Vec::new(),
            stop: None,
            orders: Vec::new(),
            others,
        };
        match self.mode {
            Mode::Shadow => {
                tick.changes = words(&before, &decision.ledger);
                tick.changes.extend(decision.kube.iter().map(ToString::to_string));
            }
            Mode::Paused => self.carry_out(&before, None, now, &mut tick).await?,
            Mode::Active => {
                let edited = self.verified(&before, &decision).await;
                self.carry_out(&before, Some((&edited, &decision.kube)), now, &mut tick).await?;
            }
        }
        self.learned.pass(now, &tick.ledger, &snapshot.view, &decision);
        self.say(&tick).await;
        Ok(tick)
    }

    /// The ledger as it was decided, but for machines that are to be deleted and are not empty by the API server's own word of
    /// this moment: a pod may have come between the view and now.
    async fn verified(&self, before: &Ledger, decision: &Decision) -> Ledger {
        let mut edited = decision.ledger.clone();
        for (name, row) in decision.ledger.rows().iter().filter(|(_, row)| row.phase() == Phase::Deleting) {
            let leaves = before.row(name).is_some_and(|before| before.phase() != Phase::Deleting);
            // What never was Ready has never had a pod.
            if !leaves || !row.was_ready() {
                continue;
            }
            match self.kube.is_empty(name).await {
                Ok(true) => continue,
                Ok(false) => tracing::info!(machine = %name, "not deleted: a pod came in the last moment"),
                Err(error) => {
                    tracing::warn!(machine = %name, %error, "not deleted: whether it is empty is not known");
                }
            }
            edited.take_back(before, name);
        }
        edited
    }

    /// Saves and starts; then tells Kubernetes. Without a decision only what was begun goes on.
    async fn carry_out(
        &mut self,
        before: &Ledger,
        decided: Option<(&Ledger, &Vec<KubeAction>)>,
        now: Timestamp,
        tick: &mut Tick,
    ) -> Result<(), StoreError> {
        let edited = decided.map_or(before, |(edited, _)| edited);
        let ticked = self.engine.carry_out(&self.spec, edited, now).await?;
        tick.engine_waits = ticked.waits;
        tick.stop = ticked.stop.as_ref().map(Stop::to_string);
        if tick.stop.is_some() {
            return Ok(());
        }
        tick.ledger = self.engine.ledger().clone();
        tick.changes = words(before, &tick.ledger);
        let Some((_, orders)) = decided else { return Ok(()) };
        self.refused.retain(|_, until| *until > now);
        let allowed: Vec<_> = orders
            .iter()
            .filter(
                |action| !matches!(action, KubeAction::Evict { uid, .. } if self.refused.contains_key(uid)),
            )
            .take(ORDERS)
            .cloned()
            .collect();
        for action in allowed {
            let told = self.kube.act(&action).await;
            if let (KubeAction::Evict { uid, .. }, Err(KubeError::Budget(_))) = (&action, &told) {
                let again = now.checked_add(ASK_AGAIN).unwrap_or(now);
                self.refused.insert(uid.clone(), again);
            }
            tick.orders.push((action, told));
        }
        Ok(())
    }

    /// Events, once for each reason: on pods that cannot be helped, and on nodes that leave.
    async fn say(&mut self, tick: &Tick) {
        let mut now = BTreeSet::new();
        for wait in &tick.waits {
            let key = (wait.subject.clone(), wait.why.word());
            let new = !self.said.contains(&key);
            now.insert(key);
            let Some((about, tone)) = new.then(|| about(wait, &tick.snapshot.view)).flatten() else {
                continue;
            };
            self.kube.event(&about, tone, wait.why.word(), &wait.why.to_string()).await;
        }
        self.said = now;
    }
}

/// What an event about a wait is on; none where people look elsewhere.
fn about(wait: &Wait, view: &KubeView) -> Option<(About, Tone)> {
    match &wait.subject {
        Subject::Pods(path, _) => {
            let (namespace, name) = path.split_once('/')?;
            let found = view
                .pods
                .iter()
                .find(|pod| pod.metadata.namespace == namespace && pod.metadata.name == name)?;
            let tone = match wait.why {
                Why::FitsNowhere | Why::Limit { .. } | Why::Backoff { .. } => Tone::Warning,
                _ => Tone::Normal,
            };
            let (namespace, name) = (namespace.to_owned(), name.to_owned());
            Some((About::Pod { namespace, name, uid: found.metadata.uid.clone() }, tone))
        }
        Subject::Machine(name) => Some((About::Node(name.clone()), Tone::Normal)),
        Subject::Pool(_) | Subject::Cluster => None,
    }
}

/// What the cluster says of its nodes, in the engine's words. Too many that are not ready are unknown, not lost.
pub fn nodes(snapshot: &Snapshot) -> Nodes {
    if let Some(why) = &snapshot.stale {
        return Nodes::Unknown(why.clone());
    }
    let nodes = &snapshot.view.nodes;
    let not_ready = nodes.iter().filter(|node| !node.is_ready()).count();
    if not_ready > FROZEN.1 && not_ready * 100 > nodes.len() * FROZEN.0 {
        return Nodes::Unknown(format!("{not_ready} of {} nodes are not ready", nodes.len()));
    }
    let of = |node: &crate::view::Node| {
        let ready = node.status.conditions.iter().find(|condition| condition.kind == "Ready");
        let boot = Some(node.status.node_info.boot_id.clone()).filter(|boot| !boot.is_empty());
        let reason = ready.map_or("it has not reported", |ready| ready.message.as_str()).to_owned();
        NodeState { ready: node.is_ready(), reason, boot }
    };
    let named = nodes.iter().filter_map(|node| {
        // A node that is not ours by name is nobody's row.
        Some((MachineName::new(node.metadata.name.as_str()).ok()?, of(node)))
    });
    Nodes::Known(named.collect())
}

/// Machines of others in this ledger's cluster, by pool.
fn others(ledger: &Ledger, machines: &[Machine]) -> BTreeMap<PoolName, u32> {
    let mut others = BTreeMap::new();
    for machine in machines.iter().filter(|m| m.tags.cluster == ledger.cluster && m.tags.ledger != ledger.id)
    {
        *others.entry(machine.tags.pool.clone()).or_default() += 1;
    }
    others
}

fn words(before: &Ledger, after: &Ledger) -> Vec<String> {
    changes(before, after).iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests;
