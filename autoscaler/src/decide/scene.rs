//! The cluster as a decision sees it: the nodes that are there, and those that will be.
//!
//! What boots counts as what it will be. A node of ours that is not ready for a moment keeps its room: whether it is lost is
//! the engine's to judge, which then takes its row away. The pods of a node on its way out look for new places, and so that node
//! may be called back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use provisioner::ledger::{Phase, Row};
use provisioner::names::MachineName;

use super::CORDONED_BY;
use super::rules::{Verdict, verdict};
use crate::fit::{
    Amounts, NodeId, NodeState, Resident, State, has_taint_of_boot, imagine, missing, when_ready,
};
use crate::pack::offer::Source;
use crate::pack::{Tier, Urgency, is_everywhere};
use crate::view::{KubeView, Node, Pod};

/// The cluster as a decision sees it.
pub(crate) struct Scene {
    /// The nodes, with what they will be.
    pub(crate) state: State,
    /// Those that may take pods.
    pub(crate) sites: Vec<(NodeId, Tier)>,
    /// The nodes of our rows.
    pub(crate) nodes: BTreeMap<MachineName, NodeId>,
    /// Rows whose node is in the view.
    pub(crate) registered: BTreeMap<MachineName, Arc<Node>>,
    /// Pods that have to move off nodes on their way out.
    pub(crate) moving: Vec<Arc<Pod>>,
    /// Nodes that pods were placed on.
    pub(crate) wanted: BTreeSet<NodeId>,
}

impl Scene {
    pub(crate) fn of(source: &Source<'_>, view: &KubeView) -> Self {
        let mut scene = Self {
            state: State::of(view),
            sites: Vec::new(),
            nodes: BTreeMap::new(),
            registered: BTreeMap::new(),
            moving: Vec::new(),
            wanted: BTreeSet::new(),
        };
        let strangers: Vec<NodeId> = scene.state.ids().map(|(id, _)| id).collect();
        for (name, row) in source.ledger.rows() {
            scene.add_row(source, name, row);
        }
        let ours: BTreeSet<NodeId> = scene.nodes.values().copied().collect();
        scene.sites.extend(strangers.into_iter().filter(|id| !ours.contains(id)).map(|id| (id, Tier::Ready)));
        scene
    }

    fn add_row(&mut self, source: &Source<'_>, name: &MachineName, row: &Row) {
        let found = self.state.find(name.as_str());
        if let Some(id) = found {
            self.registered.insert(name.clone(), self.state.node(id).shared());
            self.nodes.insert(name.clone(), id);
        }
        match (found, row.phase()) {
            (Some(id), Phase::Creating | Phase::Configuring | Phase::Ready) => {
                let tier = self.foresee(source, name, row, id);
                self.sites.push((id, tier));
            }
            (None, Phase::Creating | Phase::Configuring | Phase::Ready) => self.expect(source, name, row),
            (Some(id), Phase::Draining) => self.call_back(source, row, id),
            (Some(id), Phase::Deleting) => {
                self.state.leave(id);
            }
            (None, _) => {}
        }
    }

    /// A node that is not all it will be counts as what it will be.
    fn foresee(&mut self, source: &Source<'_>, name: &MachineName, row: &Row, id: NodeId) -> Tier {
        let node = self.state.node(id).shared();
        let promised = promised(source, name, row);
        // What a kubelet always says is there with its first word; devices come later.
        let lacks = promised
            .as_ref()
            .is_some_and(|promised| missing(&node, promised).iter().any(|name| name.contains('/')));
        let startup = &source.policy.startup_taints;
        if node.is_ready() && !lacks && !has_taint_of_boot(&node, startup) {
            return Tier::Ready;
        }
        let promised = promised.unwrap_or_else(|| (*node).clone());
        let ready = when_ready(&node, &promised, startup);
        self.state.foresee(id, Arc::new(ready));
        Tier::Booting
    }

    /// A machine without a node counts as the node that it will be.
    fn expect(&mut self, source: &Source<'_>, name: &MachineName, row: &Row) {
        let Some(node) = promised(source, name, row) else { return };
        let key = (row.pool.clone(), row.shape.name.clone());
        let csi = source.learned.examples.get(&key).and_then(|example| example.csi.clone());
        // One that cannot even hold what runs everywhere is no room for anybody.
        if let Ok(id) = imagine(&mut self.state, Arc::new(node), csi, &source.view.daemon_sets) {
            self.nodes.insert(name.clone(), id);
            self.sites.push((id, Tier::Booting));
        }
    }

    /// The pods of a node on its way out look for places, and find one there only if nowhere else.
    fn call_back(&mut self, source: &Source<'_>, row: &Row, id: NodeId) {
        let moves = |one: &&Resident| verdict(&one.pod, source.now) == Verdict::Moves;
        let moving: Vec<Arc<Pod>> =
            self.state.node(id).residents().filter(moves).map(|one| Arc::clone(&one.pod)).collect();
        for pod in &moving {
            self.state.take(pod, id);
        }
        self.moving.extend(moving);
        let node = self.state.node(id).shared();
        let most = source.spec.pools.get(&row.pool).map_or(0, |pool| *pool.size.end() as usize);
        let live = source.ledger.rows().values().filter(|one| one.pool == row.pool && one.phase().is_live());
        if live.count() < most && (is_ours_to_uncordon(&node) || !node.spec.unschedulable) {
            self.state.foresee(id, Arc::new(uncordoned(&node)));
            self.sites.push((id, Tier::Leaving));
        }
    }

    /// Who is to be placed: what waits, what has to move, and what is to find room if it comes.
    pub(crate) fn demand(&self, source: &Source<'_>, spare: Vec<Arc<Pod>>) -> Vec<(Arc<Pod>, Urgency)> {
        let waiting = source.view.pods.iter().filter(|pod| counts(pod, source)).chain(&self.moving);
        let waiting = waiting.map(|pod| (Arc::clone(pod), Urgency::Waiting));
        waiting.chain(spare.into_iter().map(|pod| (pod, Urgency::Spare))).collect()
    }
}

/// What a row's node is to be; none for a pool that is no longer in the file.
fn promised(source: &Source<'_>, name: &MachineName, row: &Row) -> Option<Node> {
    let pool = source.spec.pools.get(&row.pool)?;
    Some(source.node(name.as_str(), (&row.pool, pool), &row.shape, row.zone.as_ref()))
}

/// Whether a pod is a reason to buy a node.
fn counts(pod: &Pod, source: &Source<'_>) -> bool {
    let bypassed = || {
        source.policy.bypassed_schedulers.contains(&pod.spec.scheduler_name)
            && pod.spec.node_name.is_empty()
            && !pod.is_over()
            && pod.metadata.deletion_timestamp.is_none()
            && pod.spec.scheduling_gates.is_empty()
            && pod.status.nominated_node_name.is_empty()
    };
    pod.spec.priority >= source.policy.expendable_below
        && !is_everywhere(pod)
        && (pod.is_unplaced() || bypassed())
}

/// Whether it was this program that cordoned a node.
pub(super) fn is_ours_to_uncordon(node: &Node) -> bool {
    node.spec.unschedulable && node.metadata.annotations.contains_key(CORDONED_BY)
}

fn uncordoned(node: &Node) -> Node {
    let mut open = node.clone();
    open.spec.unschedulable = false;
    open.spec.taints.retain(|taint| taint.key != "node.kubernetes.io/unschedulable");
    open
}

/// The largest part of a node's cpu or memory that pods use which do not run everywhere, in percent, rounded up.
pub(crate) fn utilisation(node: &NodeState) -> i64 {
    let mut used = Amounts::default();
    node.residents().filter(|one| !is_everywhere(&one.pod)).for_each(|one| used.add(&one.uses));
    let part = |used: i64, of: i64| match (used, of) {
        (used, _) if used <= 0 => 0,
        (_, of) if of <= 0 => 100,
        (used, of) => {
            i64::try_from((i128::from(used) * 100 + i128::from(of) - 1) / i128::from(of)).unwrap_or(i64::MAX)
        }
    };
    part(used.cpu, node.has().cpu).max(part(used.memory, node.has().memory))
}

/// Whether nothing runs on a node but what runs everywhere.
pub(crate) fn is_empty(node: &NodeState) -> bool {
    node.residents().all(|one| is_everywhere(&one.pod))
}
