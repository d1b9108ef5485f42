//! The cluster's objects, and what happens to them: pods are made, bound, end and are evicted; nodes come and go.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::objects::{self, NOT_READY, UNSCHEDULABLE, set, taint};
use super::scheduler;
use super::story::{Budget, Jobs};
use crate::decide::CORDONED_BY;
use crate::fit::State;
use crate::view::{DisruptionBudget, KubeView, Metadata, Node, Phase, Pod};

/// How long a pod that has ended is still listed: as with a Job's `ttlSecondsAfterFinished`, in milliseconds.
const KEPT: i64 = 60_000;

/// A pod with the jobs that it is one of.
#[derive(Debug, Clone)]
pub(super) struct Live {
    pub(super) pod: Arc<Pod>,
    pub(super) jobs: Arc<Jobs>,
    /// When it ended.
    pub(super) over: Option<i64>,
}

/// The cluster.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    /// By the order of their making.
    pub(super) pods: BTreeMap<u64, Live>,
    pub(super) nodes: BTreeMap<String, Arc<Node>>,
    next: u64,
}

impl Cluster {
    /// What the API server would list.
    pub(super) fn view(&self, budgets: &[Budget]) -> KubeView {
        let budget = |budget: &Budget| {
            let mut object = DisruptionBudget {
                metadata: Metadata {
                    name: budget.of.clone(),
                    namespace: "default".to_owned(),
                    ..Metadata::default()
                },
                ..DisruptionBudget::default()
            };
            object.spec.selector = Some(objects::selector(&budget.of));
            object.status.disruptions_allowed = self.allowed(budget);
            Arc::new(object)
        };
        KubeView {
            pods: self.pods.values().map(|one| Arc::clone(&one.pod)).collect(),
            nodes: self.nodes.values().cloned().collect(),
            disruption_budgets: budgets.iter().map(budget).collect(),
            ..KubeView::default()
        }
    }

    /// How many pods of a budget may be evicted now.
    fn allowed(&self, budget: &Budget) -> i64 {
        let healthy = self.pods.values().filter(|one| one.jobs.name == budget.of && one.is_running()).count();
        (i64::try_from(healthy).unwrap_or(i64::MAX) - budget.min_available).max(0)
    }

    /// A new pod of some jobs.
    pub(super) fn make(&mut self, jobs: &Arc<Jobs>, now: Timestamp) {
        let pod = Arc::new(objects::pod(jobs, self.next, now));
        self.pods.insert(self.next, Live { pod, jobs: Arc::clone(jobs), over: None });
        self.next += 1;
    }

    /// Binds whoever waits and fits; gives back whom, and whether anything changed.
    pub(super) fn schedule(&mut self, now: Timestamp) -> (Vec<u64>, bool) {
        let waits = |one: &Live| one.over.is_none() && one.pod.spec.node_name.is_empty();
        if !self.pods.values().any(waits) {
            return (Vec::new(), false);
        }
        let mut state = State::of(&self.view(&[]));
        let (mut bound, mut changed) = (Vec::new(), false);
        for (number, one) in self.pods.iter_mut().filter(|(_, one)| waits(one)) {
            if let Some(id) = scheduler::choose(&one.pod, &state) {
                let name = state.node(id).node().metadata.name.clone();
                let pod = Arc::make_mut(&mut one.pod);
                pod.spec.node_name = name;
                pod.status.phase = Phase::Running;
                pod.status.start_time = Some(now);
                set(&mut pod.status.conditions, "PodScheduled", "True", "", now);
                set(&mut pod.status.conditions, "Ready", "True", "", now);
                scheduler::assume(&one.pod, &mut state, id);
                bound.push(*number);
                changed = true;
            } else if !one.pod.is_unplaced() {
                let pod = Arc::make_mut(&mut one.pod);
                set(&mut pod.status.conditions, "PodScheduled", "False", "Unschedulable", now);
                changed = true;
            }
        }
        (bound, changed)
    }

    /// A pod ends by itself; none if it is no longer there.
    pub(super) fn end(&mut self, number: u64, at: i64, now: Timestamp) -> Option<Arc<Jobs>> {
        let one = self.pods.get_mut(&number).filter(|one| one.over.is_none())?;
        one.over = Some(at);
        let pod = Arc::make_mut(&mut one.pod);
        pod.status.phase = Phase::Succeeded;
        set(&mut pod.status.conditions, "Ready", "False", "PodCompleted", now);
        Some(Arc::clone(&one.jobs))
    }

    /// Pods that ended long ago are no longer listed.
    pub(super) fn forget_old(&mut self, at: i64) {
        self.pods.retain(|_, one| one.over.is_none_or(|over| at - over < KEPT));
    }

    /// An eviction, as the API server grants or refuses it; the controller makes the pod again.
    pub(super) fn evict(&mut self, uid: &str, budgets: &[Budget], now: Timestamp) -> bool {
        let found = self.pods.iter().find(|(_, one)| one.pod.metadata.uid == uid && one.over.is_none());
        let Some((number, jobs)) = found.map(|(number, one)| (*number, Arc::clone(&one.jobs))) else {
            return false;
        };
        let guards = budgets.iter().filter(|budget| budget.of == jobs.name);
        if guards.into_iter().any(|budget| self.allowed(budget) == 0) {
            return false;
        }
        self.pods.remove(&number);
        self.make(&jobs, now);
        true
    }

    /// Somebody deletes all pods of some jobs.
    pub(super) fn delete_all(&mut self, jobs: &str) {
        self.pods.retain(|_, one| one.jobs.name != jobs);
    }

    /// A node is gone, and its pods with it: their controllers make them again.
    pub(super) fn drop_node(&mut self, name: &str, now: Timestamp) {
        self.nodes.remove(name);
        let lost = |one: &Live| one.over.is_none() && one.pod.spec.node_name == name;
        let jobs: Vec<Arc<Jobs>> =
            self.pods.values().filter(|one| lost(one)).map(|one| Arc::clone(&one.jobs)).collect();
        self.pods.retain(|_, one| !lost(one));
        jobs.iter().for_each(|jobs| self.make(jobs, now));
    }

    /// A kubelet says whether its node is ready.
    pub(super) fn set_ready(&mut self, name: &str, ready: bool, now: Timestamp) {
        let Some(node) = self.nodes.get_mut(name).map(Arc::make_mut) else { return };
        set(&mut node.status.conditions, "Ready", if ready { "True" } else { "False" }, "", now);
        node.spec.taints.retain(|taint| taint.key != NOT_READY);
        if !ready {
            node.spec.taints.push(taint(NOT_READY));
        }
    }

    /// Somebody cordons a node of ours, or takes that back.
    pub(super) fn cordon(&mut self, name: &str, cordoned: bool) {
        let Some(node) = self.nodes.get_mut(name).map(Arc::make_mut) else { return };
        node.spec.unschedulable = cordoned;
        node.spec.taints.retain(|taint| taint.key != UNSCHEDULABLE);
        node.metadata.annotations.remove(CORDONED_BY);
        if cordoned {
            node.spec.taints.push(taint(UNSCHEDULABLE));
            node.metadata.annotations.insert(CORDONED_BY.to_owned(), "continuum".to_owned());
        }
    }

    /// Whether all jobs have ended; services do not count.
    pub(super) fn jobs_are_over(&self) -> bool {
        self.pods.values().all(|one| one.over.is_some() || one.jobs.run.is_none())
    }
}

impl Live {
    /// Whether it is on a node and has not ended.
    pub(super) fn is_running(&self) -> bool {
        self.over.is_none() && !self.pod.spec.node_name.is_empty()
    }
}
