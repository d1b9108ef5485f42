//! Nodes, and the selectors that look at them.

use jiff::Timestamp;

use super::meta::{Metadata, Requirement, ResourceList};
use super::pod::{Condition, Effect};
use super::read::object;

object! {
    /// A node.
    pub struct Node {
        /// Identity and labels.
        metadata: Metadata = "metadata",
        /// What people and controllers say of it.
        spec: NodeSpec = "spec",
        /// What its kubelet says of it.
        status: NodeStatus = "status",
    }
}

object! {
    /// What people and controllers say of a node.
    pub struct NodeSpec {
        /// Cordoned.
        unschedulable: bool = "unschedulable",
        /// What keeps pods away.
        taints: Vec<Taint> = "taints",
        /// The machine behind it.
        provider_id: String = "providerID",
    }
}

object! {
    /// Something that keeps pods away that do not tolerate it.
    pub struct Taint {
        /// Its name.
        key: String = "key",
        /// More of it.
        value: String = "value",
        /// What it does.
        effect: Effect = "effect",
        /// Since when.
        time_added: Option<Timestamp> = "timeAdded",
    }
}

impl std::fmt::Display for Taint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let equals = if self.value.is_empty() { "" } else { "=" };
        write!(f, "{}{equals}{}:{}", self.key, self.value, self.effect)
    }
}

object! {
    /// What a kubelet says of its node.
    pub struct NodeStatus {
        /// All that there is.
        capacity: ResourceList = "capacity",
        /// What pods may have of it.
        allocatable: ResourceList = "allocatable",
        /// What is true of it.
        conditions: Vec<Condition> = "conditions",
        /// What it runs.
        node_info: NodeInfo = "nodeInfo",
    }
}

object! {
    /// What a node runs.
    pub struct NodeInfo {
        /// Another one after every start of its machine.
        boot_id: String = "bootID",
    }
}

impl Node {
    /// Whether its kubelet says that it is ready.
    pub fn is_ready(&self) -> bool {
        self.status.conditions.iter().any(|c| c.kind == "Ready" && c.status == "True")
    }
}

object! {
    /// Which nodes: those that match one of the terms.
    pub struct NodeSelector {
        /// One must match; none matches nothing.
        terms: Vec<NodeSelectorTerm> = "nodeSelectorTerms",
    }
}

object! {
    /// Conditions that must all hold; an empty term matches nothing.
    pub struct NodeSelectorTerm {
        /// On labels.
        expressions: Vec<Requirement> = "matchExpressions",
        /// On fields; there is one, `metadata.name`.
        fields: Vec<Requirement> = "matchFields",
    }
}
