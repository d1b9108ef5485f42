//! A node that does not exist yet, or is not ready yet: what it will be, and what will run on it before any pod of ours.
//!
//! A template is never taken as it stands from a node that boots or ails: taints that come and go with the state of a node are
//! not its nature. What a shape promises and a young node does not show yet (GPUs appear minutes after Ready) is still to come.

use std::sync::Arc;

use super::Reason;
use super::check::Check;
use super::node_affinity::NodeRule;
use super::state::{NodeId, Resident, State};
use super::taints::{UNSCHEDULABLE, untolerated};
use crate::view::{
    CsiNode, DaemonSet, Effect, Metadata, Node, Owner, Pod, PodSpec, Taint, Toleration, TolerationOperator,
};

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const DISK_PRESSURE: &str = "node.kubernetes.io/disk-pressure";
const MEMORY_PRESSURE: &str = "node.kubernetes.io/memory-pressure";
const PID_PRESSURE: &str = "node.kubernetes.io/pid-pressure";
const NETWORK: &str = "node.kubernetes.io/network-unavailable";
const HOSTNAME: &str = "kubernetes.io/hostname";

/// Taints that say in which state a node is, not what it is.
const PASSING: [&str; 8] = [
    NOT_READY,
    UNREACHABLE,
    DISK_PRESSURE,
    MEMORY_PRESSURE,
    PID_PRESSURE,
    NETWORK,
    UNSCHEDULABLE,
    "node.cloudprovider.kubernetes.io/uninitialized",
];

/// Those of them that a node is born with. They are taken away by others, and later than its kubelet says that it is ready: by
/// seconds where the control plane has much to do.
const OF_BOOT: [&str; 4] =
    [NOT_READY, UNREACHABLE, NETWORK, "node.cloudprovider.kubernetes.io/uninitialized"];

/// Whether a node still has a taint of its boot; `startup` are keys that the cluster's own agents take away.
#[must_use]
pub fn has_taint_of_boot(node: &Node, startup: &[String]) -> bool {
    let of_boot = |taint: &Taint| OF_BOOT.contains(&taint.key.as_str()) || startup.contains(&taint.key);
    node.spec.taints.iter().any(of_boot)
}

/// Whether a taint goes by itself when a node is up and well; `startup` are keys that the cluster's own agents take away.
fn is_passing(taint: &Taint, startup: &[String]) -> bool {
    PASSING.contains(&taint.key.as_str()) || startup.contains(&taint.key)
}

/// A new node like this one: its nature, without its name, its identity and its present state.
#[must_use]
pub fn template(node: &Node, name: &str, startup: &[String]) -> Node {
    let mut fresh = node.clone();
    let labels = std::mem::take(&mut fresh.metadata.labels);
    fresh.metadata = Metadata { name: name.to_owned(), labels, ..Metadata::default() };
    fresh.metadata.labels.insert(HOSTNAME.to_owned(), name.to_owned());
    fresh.spec.unschedulable = false;
    fresh.spec.provider_id.clear();
    fresh.spec.taints.retain(|taint| !is_passing(taint, startup));
    fresh.status.conditions.clear();
    fresh
}

/// What a node that is still booting will be: as it stands, without the taints of its boot, and with what its shape promises
/// where it shows nothing of it yet. A node that somebody cordoned stays cordoned.
#[must_use]
pub fn when_ready(node: &Node, promised: &Node, startup: &[String]) -> Node {
    let mut ready = node.clone();
    ready.spec.taints.retain(|taint| taint.key == UNSCHEDULABLE || !is_passing(taint, startup));
    for (name, amount) in &promised.status.allocatable {
        let shown = ready.status.allocatable.entry(name.clone()).or_default();
        if shown.value() == 0 {
            *shown = *amount;
        }
    }
    for (key, value) in promised.metadata.labels.iter().filter(|(key, _)| *key != HOSTNAME) {
        ready.metadata.labels.entry(key.clone()).or_insert_with(|| value.clone());
    }
    ready
}

/// What was promised of a node and is not there: while there is something, it is booting, and nothing like it need be bought.
pub fn missing(node: &Node, promised: &Node) -> Vec<String> {
    let has = |name: &String| node.status.allocatable.get(name).is_some_and(|amount| amount.value() > 0);
    let wanted = promised.status.allocatable.iter().filter(|(_, amount)| amount.value() > 0);
    wanted.map(|(name, _)| name).filter(|name| !has(name)).cloned().collect()
}

/// A DaemonSet whose pod has no room on a new node: such a node would never be whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the DaemonSet {daemon_set} does not fit on a new node: {}", listed(reasons))]
pub struct NoRoom {
    /// `namespace/name`.
    pub daemon_set: String,
    /// Why not.
    pub reasons: Vec<Reason>,
}

fn listed(reasons: &[Reason]) -> String {
    reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Adds a node that does not exist yet, with the pods of the DaemonSets that will run on it, and only of those.
///
/// # Errors
/// The first DaemonSet whose pod has no room: the state is then as it was.
pub fn imagine(
    state: &mut State,
    node: Arc<Node>,
    csi: Option<Arc<CsiNode>>,
    daemon_sets: &[Arc<DaemonSet>],
) -> Result<NodeId, NoRoom> {
    let pods = daemon_pods(&node, daemon_sets);
    let id = state.imagine(node, csi);
    for (set, pod) in pods {
        let pod = Arc::new(pod);
        if let Err(reasons) = Check::new(&pod, state).reasons(state, id) {
            state.forget_last();
            return Err(NoRoom { daemon_set: set.metadata.path(), reasons });
        }
        state.place(Arc::new(Resident::new(pod)), id);
    }
    Ok(id)
}

/// The pods that DaemonSets will run on a node, by the rules of their controller: it looks at the node's name, labels and taints.
pub fn daemon_pods<'a>(node: &Node, daemon_sets: &'a [Arc<DaemonSet>]) -> Vec<(&'a DaemonSet, Pod)> {
    let runs = |set: &&'a Arc<DaemonSet>| {
        let spec = &set.spec.template.spec;
        let named = spec.node_name.is_empty() || spec.node_name == node.metadata.name;
        let tolerations = tolerations(spec);
        named
            && NodeRule::of(spec).matches(node)
            && untolerated(&node.spec.taints, &tolerations).next().is_none()
    };
    let mut sets: Vec<&Arc<DaemonSet>> = daemon_sets.iter().filter(runs).collect();
    sets.sort_by_key(|set| (&set.metadata.namespace, &set.metadata.name));
    sets.into_iter().map(|set| (set.as_ref(), daemon_pod(set, node))).collect()
}

fn daemon_pod(set: &DaemonSet, node: &Node) -> Pod {
    let mut spec = set.spec.template.spec.clone();
    spec.tolerations = tolerations(&spec);
    let owner = Owner {
        kind: "DaemonSet".to_owned(),
        name: set.metadata.name.clone(),
        uid: set.metadata.uid.clone(),
        controller: true,
    };
    let metadata = Metadata {
        name: format!("{}-{}", set.metadata.name, node.metadata.name),
        namespace: set.metadata.namespace.clone(),
        labels: set.spec.template.metadata.labels.clone(),
        annotations: set.spec.template.metadata.annotations.clone(),
        owners: vec![owner],
        ..Metadata::default()
    };
    Pod { metadata, spec, ..Pod::default() }
}

/// The tolerations of a template, with those that the controller adds to every pod of a DaemonSet.
fn tolerations(spec: &PodSpec) -> Vec<Toleration> {
    let network = spec.host_network.then_some((NETWORK, Effect::NoSchedule));
    let added = [
        (NOT_READY, Effect::NoExecute),
        (UNREACHABLE, Effect::NoExecute),
        (DISK_PRESSURE, Effect::NoSchedule),
        (MEMORY_PRESSURE, Effect::NoSchedule),
        (PID_PRESSURE, Effect::NoSchedule),
        (UNSCHEDULABLE, Effect::NoSchedule),
    ];
    let added = added.into_iter().chain(network).map(|(key, effect)| Toleration {
        key: key.to_owned(),
        operator: TolerationOperator::Exists,
        value: String::new(),
        effect,
    });
    spec.tolerations.iter().cloned().chain(added).collect()
}
