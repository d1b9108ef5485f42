//! A cluster as the scheduler sees it: nodes with the pods on them, indexed for deciding, and changed by plans.
//!
//! Invariants: what a node's pods use is always the sum over its residents; nodes keep their index, also when they leave, so
//! that indices in a plan stay good; the order of nodes is that of their names, then that of adding.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::pod_affinity::Term;
use super::ports::{self, HostPort};
use super::requests::{Judge, requests};
use super::resources::Amounts;
use super::taints::cordon;
use super::volumes::Storage;
use crate::view::{CsiNode, KubeView, Labels, Node, Pod};

/// A pod on a node, with what deciding about others needs of it.
#[derive(Debug, Clone)]
pub struct Resident {
    /// The pod.
    pub pod: Arc<Pod>,
    /// What it uses.
    pub uses: Amounts,
    pub(super) ports: Vec<HostPort>,
    /// Pods that it does not want near.
    pub(super) apart: Vec<Term>,
}

impl Resident {
    /// A pod as it is on a node: what it uses is what it holds, which may differ from what it wants.
    pub fn new(pod: Arc<Pod>) -> Self {
        Self {
            uses: Amounts::of(&requests(&pod, Judge::Held)),
            ports: ports::of(&pod),
            // A term that cannot be read keeps nobody away, as in the scheduler.
            apart: Term::parse_all(&pod.spec.affinity.anti.required, &pod).unwrap_or_default(),
            pod,
        }
    }
}

impl Resident {
    /// Whether other pods matter to it, or it to them by what it asks.
    pub(crate) fn looks_around(&self) -> bool {
        let spec = &self.pod.spec;
        !spec.affinity.anti.required.is_empty()
    }

    /// The same of another pod of the same spec.
    #[must_use]
    pub(crate) fn like(&self, pod: Arc<Pod>) -> Self {
        Self { pod, uses: self.uses.clone(), ports: self.ports.clone(), apart: self.apart.clone() }
    }
}

/// The index of a node in a [`State`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(usize);

impl NodeId {
    /// For tables beside a state.
    pub(crate) const fn index(self) -> usize {
        self.0
    }
}

/// A node and what runs on it.
#[derive(Debug, Clone)]
pub struct NodeState {
    node: Arc<Node>,
    csi: Option<Arc<CsiNode>>,
    has: Amounts,
    takes_pods: i64,
    used: Amounts,
    residents: Vec<Arc<Resident>>,
    repelling: usize,
    leaving: bool,
    imagined: bool,
}

impl NodeState {
    fn new(node: Arc<Node>, csi: Option<Arc<CsiNode>>, imagined: bool) -> Self {
        let allocatable = &node.status.allocatable;
        Self {
            has: Amounts::of(allocatable),
            takes_pods: allocatable.get("pods").map_or(0, |q| q.value()),
            node,
            csi,
            used: Amounts::default(),
            residents: Vec::new(),
            repelling: 0,
            leaving: false,
            imagined,
        }
    }

    /// The node.
    pub fn node(&self) -> &Node {
        &self.node
    }

    pub(crate) fn shared(&self) -> Arc<Node> {
        Arc::clone(&self.node)
    }

    /// What it has for pods.
    pub const fn has(&self) -> &Amounts {
        &self.has
    }

    /// What its pods use.
    pub const fn used(&self) -> &Amounts {
        &self.used
    }

    /// How many pods it takes.
    pub const fn takes_pods(&self) -> i64 {
        self.takes_pods
    }

    /// The pods on it.
    pub fn residents(&self) -> impl Iterator<Item = &Resident> {
        self.residents.iter().map(Arc::as_ref)
    }

    /// How many pods are on it.
    pub const fn pod_count(&self) -> usize {
        self.residents.len()
    }

    /// Whether it is on its way out: nothing new goes there.
    pub const fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// Whether it does not exist yet.
    pub const fn is_imagined(&self) -> bool {
        self.imagined
    }

    pub(super) fn csi(&self) -> Option<&CsiNode> {
        self.csi.as_deref()
    }

    /// Whether a pod on it does not want some others near.
    pub(super) const fn repels(&self) -> bool {
        self.repelling > 0
    }
}

/// A cluster as the scheduler sees it.
#[derive(Debug, Clone, Default)]
pub struct State {
    nodes: Vec<NodeState>,
    index: BTreeMap<String, NodeId>,
    namespaces: BTreeMap<String, Labels>,
    pub(super) storage: Storage,
}

impl State {
    /// The state that a view shows. Pods that have ended are left out. A pod for which others are being pushed off counts on the
    /// node where that happens: its place is taken already.
    pub fn of(view: &KubeView) -> Self {
        let mut state = Self { storage: Storage::of(view), ..Self::default() };
        for namespace in &view.namespaces {
            let meta = &namespace.metadata;
            state.namespaces.insert(meta.name.clone(), meta.labels.clone());
        }
        let drivers: BTreeMap<&str, _> =
            view.csi_nodes.iter().map(|c| (c.metadata.name.as_str(), c)).collect();
        // By name, so that the order of a list does not show in any decision.
        let nodes: BTreeMap<&str, _> = view.nodes.iter().map(|n| (n.metadata.name.as_str(), n)).collect();
        for (name, node) in nodes {
            let csi = drivers.get(name).map(|csi| Arc::clone(csi));
            state.push(NodeState::new(Arc::clone(node), csi, false));
        }
        let mut pods: Vec<_> = view.pods.iter().filter(|pod| !pod.is_over()).collect();
        pods.sort_by_key(|pod| (&pod.metadata.namespace, &pod.metadata.name, &pod.metadata.uid));
        for pod in pods {
            let bound = &pod.spec.node_name;
            let node = if bound.is_empty() { &pod.status.nominated_node_name } else { bound };
            // On a node that is not known (any more) it counts nowhere, as in the scheduler's cache.
            if let Some(id) = state.find(node) {
                state.place(Arc::new(Resident::new(Arc::clone(pod))), id);
            }
        }
        state
    }

    fn push(&mut self, node: NodeState) -> NodeId {
        let id = NodeId(self.nodes.len());
        self.index.insert(node.node.metadata.name.clone(), id);
        self.nodes.push(node);
        id
    }

    /// All nodes, those on their way out too.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeState> {
        self.nodes.iter()
    }

    /// All nodes with their indices.
    pub fn ids(&self) -> impl Iterator<Item = (NodeId, &NodeState)> {
        self.nodes.iter().enumerate().map(|(n, node)| (NodeId(n), node))
    }

    /// A node by its name.
    pub fn find(&self, name: &str) -> Option<NodeId> {
        self.index.get(name).copied()
    }

    /// A node.
    ///
    /// # Panics
    /// If the index comes from another state that has more nodes.
    pub fn node(&self, id: NodeId) -> &NodeState {
        &self.nodes[id.0]
    }

    /// Adds a node that does not exist yet; one of the same name is no longer found by it.
    pub fn imagine(&mut self, node: Arc<Node>, csi: Option<Arc<CsiNode>>) -> NodeId {
        self.push(NodeState::new(node, csi, true))
    }

    /// Takes back the node that was added last, with whatever was put on it.
    pub(super) fn forget_last(&mut self) {
        let Some(node) = self.nodes.pop() else { return };
        node.residents.iter().for_each(|resident| self.storage.hold(&resident.pod, -1));
        if self.index.get(&node.node.metadata.name) == Some(&NodeId(self.nodes.len())) {
            self.index.remove(&node.node.metadata.name);
        }
    }

    /// Puts a pod on a node.
    pub fn place(&mut self, resident: Arc<Resident>, id: NodeId) {
        self.storage.hold(&resident.pod, 1);
        let node = &mut self.nodes[id.0];
        node.used.add(&resident.uses);
        node.repelling += usize::from(!resident.apart.is_empty());
        node.residents.push(resident);
    }

    /// Takes a pod off a node; false if it is not there.
    pub fn take(&mut self, pod: &Pod, id: NodeId) -> bool {
        let node = &mut self.nodes[id.0];
        let same = |resident: &Arc<Resident>| {
            let (there, meta) = (&resident.pod.metadata, &pod.metadata);
            (&there.namespace, &there.name, &there.uid) == (&meta.namespace, &meta.name, &meta.uid)
        };
        let Some(at) = node.residents.iter().position(same) else { return false };
        let resident = node.residents.remove(at);
        node.used.take(&resident.uses);
        node.repelling -= usize::from(!resident.apart.is_empty());
        self.storage.hold(&resident.pod, -1);
        true
    }

    /// Takes back that a node left: it is again as it was, with these pods.
    pub(crate) fn come_back(&mut self, id: NodeId, node: Arc<Node>, residents: Vec<Arc<Resident>>) {
        let state = &mut self.nodes[id.0];
        state.node = node;
        state.leaving = false;
        residents.into_iter().for_each(|resident| self.place(resident, id));
    }

    /// Replaces what is known of a node by what it will be.
    pub(crate) fn foresee(&mut self, id: NodeId, node: Arc<Node>) {
        let state = &mut self.nodes[id.0];
        state.has = Amounts::of(&node.status.allocatable);
        state.takes_pods = node.status.allocatable.get("pods").map_or(0, |q| q.value());
        state.node = node;
    }

    /// Sends a node on its way out and gives back the pods that it had. It stays as a cordoned ghost: the scheduler sees it so
    /// while its pods look for new places, and the place that it stands for keeps counting in spreads.
    pub fn leave(&mut self, id: NodeId) -> Vec<Arc<Resident>> {
        let node = &mut self.nodes[id.0];
        let mut ghost = (*node.node).clone();
        ghost.spec.unschedulable = true;
        ghost.spec.taints.push(cordon());
        node.node = Arc::new(ghost);
        node.leaving = true;
        node.used = Amounts::default();
        node.repelling = 0;
        let residents = std::mem::take(&mut node.residents);
        residents.iter().for_each(|resident| self.storage.hold(&resident.pod, -1));
        residents
    }

    pub(super) fn namespaces(&self) -> impl Iterator<Item = (&str, &Labels)> {
        self.namespaces.iter().map(|(name, labels)| (name.as_str(), labels))
    }

    pub(super) fn namespace_labels(&self, name: &str) -> &Labels {
        static NONE: Labels = Labels::new();
        self.namespaces.get(name).unwrap_or(&NONE)
    }
}
