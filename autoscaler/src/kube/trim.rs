//! What nobody decides by is not kept: thirty thousand pods must fit into little memory.
//!
//! Invariant: a trimmed object leads to the same decisions as the whole one.

use crate::view::{Container, ContainerStatus, Metadata, Node, Pod, PodSpec, PodStatus, Volume};

/// An annotation that decisions look at is a word, a time or a name; what is longer is some tool's own data.
const ANNOTATION_MAX: usize = 256;

/// The conditions of a pod that somebody reads: the scheduler's verdict, since when it is ready or no more, and a refused resize.
const POD_CONDITIONS: &[&str] = &["PodScheduled", "Ready", "PodResizePending"];

/// Of every object.
pub(super) fn metadata(metadata: &mut Metadata) {
    metadata.annotations.retain(|_, value| value.len() <= ANNOTATION_MAX);
}

/// The words of a node's conditions say nothing that their status does not.
pub(super) fn node(node: &mut Node) {
    for condition in &mut node.status.conditions {
        condition.message = String::new();
    }
}

/// A pod.
pub(super) fn pod(pod: &mut Pod) {
    if pod.is_over() {
        return over(pod);
    }
    spec(&mut pod.spec);
    let status = &mut pod.status;
    keep(&mut status.conditions, |condition| POD_CONDITIONS.contains(&condition.kind.as_str()));
    if says_nothing(&status.container_statuses, &pod.spec.containers) {
        status.container_statuses = Vec::new();
    }
    if says_nothing(&status.init_container_statuses, &pod.spec.init_containers) {
        status.init_container_statuses = Vec::new();
    }
}

/// A pod that has ended uses nothing: when it ran, whose it was and where are all that is ever asked of it.
fn over(pod: &mut Pod) {
    let node_name = std::mem::take(&mut pod.spec.node_name);
    pod.spec = PodSpec { node_name, ..PodSpec::default() };
    let before = std::mem::take(&mut pod.status);
    let mut conditions = before.conditions;
    keep(&mut conditions, |condition| condition.kind == "Ready");
    for condition in &mut conditions {
        condition.message = String::new();
    }
    pod.status =
        PodStatus { phase: before.phase, start_time: before.start_time, conditions, ..PodStatus::default() };
    // They no longer match what is counted, nor does an annotation hold them.
    pod.metadata.labels.clear();
    pod.metadata.annotations.clear();
}

/// What a pod asks for, without ports inside the pod and volumes that are there on every node.
pub(super) fn spec(spec: &mut PodSpec) {
    for container in spec.containers.iter_mut().chain(&mut spec.init_containers) {
        keep(&mut container.ports, |port| port.host_port != 0);
    }
    keep(&mut spec.volumes, |volume| *volume != Volume { name: volume.name.clone(), ..Volume::default() });
}

/// Whether no container has, or was promised, anything but what it asks for: then the status adds nothing to the spec.
fn says_nothing(statuses: &[ContainerStatus], containers: &[Container]) -> bool {
    statuses.iter().all(|status| {
        let Some(actual) = &status.resources else { return true };
        let wanted = containers.iter().find(|container| container.name == status.name);
        wanted.is_none_or(|container| {
            let wanted = &container.resources.requests;
            let promised = &status.allocated_resources;
            actual.requests == *wanted && (promised.is_empty() || promised == wanted)
        })
    })
}

fn keep<T>(list: &mut Vec<T>, which: impl Fn(&T) -> bool) {
    list.retain(which);
    list.shrink_to_fit();
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fit::{Judge, requests};
    use crate::view::Notes;

    fn read(value: &Value) -> Pod {
        Pod::read(value, &mut Notes::default())
    }

    fn running(actual: &Value, promised: &Value) -> Value {
        json!({"metadata": {"name": "a", "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": "x".repeat(4000),
                "cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}},
            "spec": {"nodeName": "n", "containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}},
                    "ports": [{"containerPort": 80}, {"hostPort": 90}]}],
                "volumes": [{"name": "token", "projected": {}}, {"name": "d", "emptyDir": {}}]},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}, {"type": "Initialized"}],
                "containerStatuses": [{"name": "c", "resources": {"requests": actual}, "allocatedResources": promised}]}})
    }

    #[test]
    fn what_is_decided_by_stays() {
        let mut trimmed = read(&running(&json!({"cpu": "1"}), &json!({"cpu": "1"})));
        metadata(&mut trimmed.metadata);
        pod(&mut trimmed);
        let annotations: Vec<_> = trimmed.metadata.annotations.keys().map(String::as_str).collect();
        assert_eq!(annotations, ["cluster-autoscaler.kubernetes.io/safe-to-evict"]);
        assert_eq!(trimmed.spec.volumes.iter().map(|v| v.name.as_str()).collect::<Vec<_>>(), ["d"]);
        assert_eq!(trimmed.spec.containers[0].ports.iter().map(|p| p.host_port).collect::<Vec<_>>(), [90]);
        assert_eq!(trimmed.status.conditions.len(), 1);
        assert!(trimmed.status.container_statuses.is_empty());
    }

    #[test]
    fn a_pod_needs_the_same_whether_trimmed_or_not() {
        for (actual, promised) in [("1", "1"), ("2", "1"), ("1", "3"), ("500m", "500m")] {
            let whole = read(&running(&json!({"cpu": actual}), &json!({"cpu": promised})));
            let mut trimmed = whole.clone();
            pod(&mut trimmed);
            for judge in [Judge::Held, Judge::Wanted] {
                assert_eq!(requests(&trimmed, judge), requests(&whole, judge), "{actual} {promised}");
            }
        }
    }

    #[test]
    fn of_a_pod_that_has_ended_only_its_run_is_kept() {
        let mut value = running(&json!({}), &json!({}));
        value["metadata"]["uid"] = json!("u");
        value["metadata"]["ownerReferences"] = json!([{"kind": "Job", "name": "j-1", "controller": true}]);
        value["status"]["phase"] = json!("Succeeded");
        value["status"]["startTime"] = json!("2026-01-01T00:00:00Z");
        let whole = read(&value);
        let mut trimmed = whole.clone();
        pod(&mut trimmed);
        assert_eq!(
            (&trimmed.metadata.uid, &trimmed.metadata.owners),
            (&whole.metadata.uid, &whole.metadata.owners)
        );
        assert_eq!(trimmed.status.start_time, whole.status.start_time);
        assert!(
            trimmed.is_over() && trimmed.spec.containers.is_empty() && trimmed.metadata.labels.is_empty()
        );
        assert_eq!(trimmed.condition("Ready"), whole.condition("Ready"));
    }
}
