//! Kubernetes' objects as the cluster in memory makes them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use provisioner::names::MachineName;
use provisioner::spec::Shape;

use super::story::{Jobs, Pool};
use crate::pack::POOL;
use crate::quantity::Quantity;
use crate::view::{
    Condition, Container, Effect, LabelSelector, Metadata, Node, NodeSpec, NodeStatus, Owner, Phase, Pod,
    PodSpec, PodStatus, ResourceList, Resources, Taint, Toleration, TolerationOperator,
};

/// The taint of a node that is not ready.
pub(super) const NOT_READY: &str = "node.kubernetes.io/not-ready";
/// The taint of a node that is cordoned.
pub(super) const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
const NAMESPACE: &str = "default";

fn amounts(cpu: u64, memory: u64) -> ResourceList {
    let units = |n: u64| Quantity::units(i64::try_from(n).unwrap_or(i64::MAX));
    let cpu = Quantity::millis(i64::try_from(cpu).unwrap_or(i64::MAX));
    BTreeMap::from([("cpu".to_owned(), cpu), ("memory".to_owned(), units(memory))])
}

/// A pod that its controller just made.
pub(super) fn pod(jobs: &Jobs, number: u64, now: Timestamp) -> Pod {
    let kind = if jobs.run.is_some() { "Job" } else { "ReplicaSet" };
    let name = format!("{}-{number:05}", jobs.name);
    let owner = Owner { kind: kind.to_owned(), name: name.clone(), uid: name.clone(), controller: true };
    let metadata = Metadata {
        name: name.clone(),
        namespace: NAMESPACE.to_owned(),
        uid: name,
        labels: BTreeMap::from([("app".to_owned(), jobs.name.clone())]),
        annotations: jobs.annotations.clone(),
        creation_timestamp: Some(now),
        owners: vec![owner],
        ..Metadata::default()
    };
    let requests = amounts(jobs.cpu.millis, jobs.memory.bytes);
    let container = Container { resources: Resources { requests }, ..Container::default() };
    let tolerations = jobs.tolerates.iter().map(|key| Toleration {
        key: key.clone(),
        operator: TolerationOperator::Exists,
        ..Toleration::default()
    });
    let spec = PodSpec {
        node_selector: jobs.selector.clone(),
        containers: vec![container],
        tolerations: tolerations.collect(),
        ..PodSpec::default()
    };
    Pod { metadata, spec, status: PodStatus { phase: Phase::Pending, ..PodStatus::default() } }
}

/// Pods of some jobs, for a budget.
pub(super) fn selector(jobs: &str) -> LabelSelector {
    let match_labels = BTreeMap::from([("app".to_owned(), jobs.to_owned())]);
    LabelSelector { match_labels, ..LabelSelector::default() }
}

/// Sets one condition.
pub(super) fn set(conditions: &mut Vec<Condition>, kind: &str, status: &str, reason: &str, now: Timestamp) {
    conditions.retain(|one| one.kind != kind);
    conditions.push(Condition {
        kind: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        last_transition_time: Some(now),
        ..Condition::default()
    });
}

/// A taint of the node's state.
pub(super) fn taint(key: &str) -> Taint {
    Taint { key: key.to_owned(), effect: Effect::NoSchedule, ..Taint::default() }
}

/// A node that has just registered: its kubelet has not said yet that it is ready.
pub(super) fn node(name: &MachineName, called: &str, pool: &Pool, shape: &Shape, now: Timestamp) -> Node {
    let own = [
        ("kubernetes.io/hostname", name.as_str()),
        (POOL, called),
        ("node.kubernetes.io/instance-type", shape.name.as_str()),
        ("kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/os", "linux"),
    ];
    let own = own.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let labels = own.into_iter().chain(pool.labels.clone()).collect();
    let metadata =
        Metadata { name: name.to_string(), labels, creation_timestamp: Some(now), ..Metadata::default() };
    let mut taints: Vec<Taint> = pool.taints.iter().filter_map(|text| read_taint(text)).collect();
    taints.push(taint(NOT_READY));
    let mut allocatable = amounts(
        pool.cpu.millis.saturating_sub(pool.reserved_cpu.millis),
        pool.memory.bytes.saturating_sub(pool.reserved_memory.bytes),
    );
    allocatable.insert("pods".to_owned(), Quantity::units(110));
    allocatable.insert("ephemeral-storage".to_owned(), Quantity::units(10 << 30));
    let mut status = NodeStatus { capacity: allocatable.clone(), allocatable, ..NodeStatus::default() };
    set(&mut status.conditions, "Ready", "False", "KubeletNotReady", now);
    Node { metadata, spec: NodeSpec { taints, ..NodeSpec::default() }, status }
}

fn read_taint(text: &str) -> Option<Taint> {
    let (key, effect) = text.rsplit_once(':')?;
    let (key, value) = key.split_once('=').unwrap_or((key, ""));
    Some(Taint { key: key.to_owned(), value: value.to_owned(), effect: effect.into(), time_added: None })
}
