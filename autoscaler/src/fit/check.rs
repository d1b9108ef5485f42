//! One pod against the nodes of a cluster.
//!
//! What is the same for all nodes (its requests, its parsed selectors, the pods around that matter to it) is worked out once, in
//! [`Check::new`]; a node then costs look-ups. While a plan places pods, [`Check::placed`] keeps a check good without counting
//! the cluster again.

use std::sync::Arc;

use super::node_affinity::NodeRule;
use super::pod_affinity::Neighbours;
use super::ports::{self, HostPort};
use super::reason::{Found, Reason};
use super::requests::{Judge, requests};
use super::resources::{self, Amounts};
use super::spread::Spread;
use super::state::{NodeId, NodeState, Resident, State};
use super::taints;
use super::volumes::Volumes;
use crate::view::Pod;

const HOSTNAME: &str = "kubernetes.io/hostname";

/// One pod, made ready to be tried on many nodes of one [`State`].
#[derive(Debug, Clone)]
pub struct Check {
    pod: Arc<Pod>,
    wants: Amounts,
    ports: Vec<HostPort>,
    rule: NodeRule,
    neighbours: Option<Neighbours>,
    spread: Option<Spread>,
    volumes: Volumes,
    /// What keeps it from every node.
    blocked: Vec<Reason>,
}

impl Check {
    /// Makes a pod ready to be tried. The cost grows with the cluster only if the pod has affinity, anti-affinity or spreads.
    pub fn new(pod: &Arc<Pod>, state: &State) -> Self {
        let spec = &pod.spec;
        let rule = NodeRule::of(spec);
        let (volumes, mut blocked) = Volumes::of(pod, &state.storage);
        if !spec.scheduling_gates.is_empty() {
            let gates = spec.scheduling_gates.iter().map(|gate| gate.name.clone()).collect();
            blocked.push(Reason::Gated { gates });
        }
        let mut sound = |place: &str, problem| {
            blocked.push(Reason::BrokenSelector { place: place.to_owned(), problem });
        };
        let neighbours = Neighbours::of(pod, state).map_err(|problem| sound("pod affinity", problem)).ok();
        let spread = Spread::of(pod, &rule, state).map_err(|problem| sound("topology spread", problem)).ok();
        Self {
            wants: Amounts::of(&requests(pod, Judge::Wanted)),
            ports: ports::of(pod),
            rule,
            neighbours,
            spread,
            volumes,
            blocked,
            pod: Arc::clone(pod),
        }
    }

    /// The pod.
    pub const fn pod(&self) -> &Arc<Pod> {
        &self.pod
    }

    /// What it wants.
    pub const fn wants(&self) -> &Amounts {
        &self.wants
    }

    /// What keeps the pod from every node, whatever the node.
    pub fn blocked(&self) -> &[Reason] {
        &self.blocked
    }

    /// Whether the pod fits on a node: the fast question.
    pub fn fits(&self, state: &State, id: NodeId) -> bool {
        let mut found = Found::first();
        self.look(state, state.node(id), &mut found);
        !found.any()
    }

    /// Why the pod does not fit on a node.
    ///
    /// # Errors
    /// Every reason, in an order that depends on nothing but the pod and the node.
    pub fn reasons(&self, state: &State, id: NodeId) -> Result<(), Vec<Reason>> {
        let mut found = Found::all();
        self.look(state, state.node(id), &mut found);
        found.into_result()
    }

    /// Whether the pod might run on a node, but for room: the question of a packer that keeps its own account of room.
    pub(crate) fn may_run(&self, state: &State, id: NodeId) -> bool {
        let mut found = Found::first();
        self.look_beside_room(state, state.node(id), &mut found);
        !found.any()
    }

    /// Whether the pod suits the nature of a node, whoever else is there.
    pub(crate) fn suits(&self, state: &State, id: NodeId) -> bool {
        let (node, mut found) = (state.node(id), Found::first());
        if self.blocked.is_empty() {
            self.check_node(node, &mut found);
            if !found.any() {
                self.volumes.check(&state.storage, node, &mut found);
            }
        }
        self.blocked.is_empty() && !found.any()
    }

    /// Whether who else runs where decides about this pod.
    pub(crate) fn looks_around(&self) -> bool {
        !self.ports.is_empty()
            || self.spread.as_ref().is_some_and(|spread| !spread.is_empty())
            || self.neighbours.as_ref().is_some_and(|neighbours| !neighbours.is_empty())
            || !self.volumes.is_empty()
    }

    /// Whether its verdict may differ between nodes that differ in nothing but their names.
    pub(crate) fn tells_nodes_apart(&self) -> bool {
        !self.ports.is_empty()
            || !self.volumes.is_empty()
            || self.spread.as_ref().is_some_and(|spread| spread.has_key(HOSTNAME))
            || self.neighbours.as_ref().is_some_and(|neighbours| neighbours.has_key(HOSTNAME))
    }

    /// Whether it does not want any other of its kind on the same node.
    pub(crate) fn wants_a_node_alone(&self) -> bool {
        self.neighbours
            .as_ref()
            .is_some_and(|neighbours| neighbours.is_apart_from_itself(&self.pod, HOSTNAME))
    }

    /// Whether it does not want the other pod near.
    pub(crate) fn repels(&self, other: &Pod) -> bool {
        self.neighbours.as_ref().is_some_and(|neighbours| neighbours.repels(other))
    }

    /// Whether it must be near pods like the other one.
    pub(crate) fn seeks(&self, other: &Pod) -> bool {
        self.neighbours.as_ref().is_some_and(|neighbours| neighbours.seeks(other))
    }

    /// The cheap questions first, and those that most nodes fail.
    fn look(&self, state: &State, node: &NodeState, found: &mut Found) {
        self.check_room(node, found);
        if !found.is_enough() {
            self.look_beside_room(state, node, found);
        }
    }

    fn look_beside_room(&self, state: &State, node: &NodeState, found: &mut Found) {
        self.blocked.iter().for_each(|reason| found.add(|| reason.clone()));
        if node.is_leaving() {
            found.add(|| Reason::Leaving);
        }
        let families: [&dyn Fn(&mut Found); 5] = [
            &|found| self.check_node(node, found),
            &|found| ports::check(&self.ports, node, found),
            &|found| self.volumes.check(&state.storage, node, found),
            &|found| self.spread.iter().for_each(|spread| spread.check(node.node(), found)),
            &|found| self.neighbours.iter().for_each(|neighbours| neighbours.check(node.node(), found)),
        ];
        for family in families {
            if found.is_enough() {
                return;
            }
            family(found);
        }
    }

    fn check_room(&self, node: &NodeState, found: &mut Found) {
        let (used, limit) = (node.pod_count(), node.takes_pods());
        if i64::try_from(used).is_ok_and(|used| used >= limit) {
            found.add(|| Reason::Pods { used, limit });
        }
        resources::check(&self.wants, node.has(), node.used(), found);
    }

    fn check_node(&self, node: &NodeState, found: &mut Found) {
        let wants = &self.pod.spec.node_name;
        if !wants.is_empty() && *wants != node.node().metadata.name {
            found.add(|| Reason::OtherNode { wants: wants.clone() });
        }
        taints::check(&self.pod.spec.tolerations, node.node(), found);
        self.rule.check(node.node(), found);
    }

    /// Takes into account that a pod was placed on a node (also this very pod), so that the check stays good.
    pub fn placed(&mut self, state: &State, resident: &Resident, id: NodeId) {
        self.count(state, resident, id, 1);
    }

    /// Takes into account that a pod was taken off a node.
    pub fn taken(&mut self, state: &State, resident: &Resident, id: NodeId) {
        self.count(state, resident, id, -1);
    }

    fn count(&mut self, state: &State, resident: &Resident, id: NodeId, by: i64) {
        let node = state.node(id).node();
        if let Some(neighbours) = &mut self.neighbours {
            neighbours.count(&self.pod, resident, node, by);
        }
        if let Some(spread) = &mut self.spread {
            spread.count(&self.pod, &self.rule, resident, node, by);
        }
    }

    /// Takes into account that a node was added, with what runs on it already.
    pub fn node_added(&mut self, state: &State, id: NodeId) {
        let node = state.node(id);
        if let Some(spread) = &mut self.spread {
            spread.node_added(&self.pod, &self.rule, node);
        }
        if let Some(neighbours) = &mut self.neighbours {
            node.residents().for_each(|resident| neighbours.count(&self.pod, resident, node.node(), 1));
        }
    }
}
