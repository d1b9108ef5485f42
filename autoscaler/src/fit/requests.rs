//! What a pod needs of its node: the formula of `k8s.io/component-helpers/resource`, exactly.
//!
//! ```text
//! C: the sum over containers and sidecars        I: the most that is needed while an init container runs,
//!                                                   with the sidecars that started before it
//! max(C, I), then what the pod as a whole requests of cpu, memory and huge pages instead, then overhead on top
//! ```
//!
//! A pod that runs may be resized in place: until that is settled it holds the most of what it wants, what its node promised
//! and what its cgroups have; a wish that its node cannot fulfil does not count.

use crate::quantity::Quantity;
use crate::view::{Container, ContainerStatus, Pod, ResourceList, Resources};

/// Whether a pod is judged by what it wants or by what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judge {
    /// A pod that is still to be placed: its spec alone.
    Wanted,
    /// A pod on a node: with its status, since it may be resized in place.
    Held,
}

/// What a pod needs of its node, overhead included, the pod itself (resource `pods`) left out.
pub fn requests(pod: &Pod, judge: Judge) -> ResourceList {
    let mut needs = containers(pod, judge);
    whole_pod(pod, judge, &mut needs);
    add(&mut needs, &pod.spec.overhead);
    needs
}

fn containers(pod: &Pod, judge: Judge) -> ResourceList {
    let status = &pod.status;
    let mut sum = ResourceList::new();
    for container in &pod.spec.containers {
        add(&mut sum, &effective(pod, container, &status.container_statuses, judge));
    }
    let mut sidecars = ResourceList::new();
    let mut peak = ResourceList::new();
    for container in &pod.spec.init_containers {
        if container.is_sidecar() {
            let needs = effective(pod, container, &status.init_container_statuses, judge);
            add(&mut sum, &needs);
            add(&mut sidecars, &needs);
            raise(&mut peak, &sidecars);
        } else {
            // What an init container has can no longer be resized: its status says nothing.
            let mut needs = container.resources.requests.clone();
            add(&mut needs, &sidecars);
            raise(&mut peak, &needs);
        }
    }
    raise(&mut sum, &peak);
    sum
}

/// What one container needs, by its status where that counts.
fn effective(pod: &Pod, container: &Container, statuses: &[ContainerStatus], judge: Judge) -> ResourceList {
    let wanted = &container.resources.requests;
    // The last one of a name counts, as in a map that is filled in order.
    let status = statuses.iter().rev().find(|status| status.name == container.name);
    match status.and_then(|s| s.resources.as_ref().map(|actual| (actual, &s.allocated_resources))) {
        Some((actual, promised)) if judge == Judge::Held => held(pod, wanted, actual, promised),
        _ => wanted.clone(),
    }
}

fn held(pod: &Pod, wanted: &ResourceList, actual: &Resources, promised: &ResourceList) -> ResourceList {
    let mut most = actual.requests.clone();
    raise(&mut most, promised);
    let infeasible = pod.condition("PodResizePending").is_some_and(|c| c.reason == "Infeasible");
    if !infeasible {
        raise(&mut most, wanted);
    }
    most
}

/// Requests of the pod as a whole take the place of the sum, where Kubernetes has them: not for extended resources.
fn whole_pod(pod: &Pod, judge: Judge, needs: &mut ResourceList) {
    let wanted = &pod.spec.resources.requests;
    if !wanted.keys().any(|name| is_whole_pod(name)) {
        return;
    }
    let status = &pod.status;
    let most = match (&status.resources, judge) {
        (Some(actual), Judge::Held) => Some(held(pod, wanted, actual, &status.allocated_resources)),
        _ => None,
    };
    for (name, amount) in wanted.iter().filter(|(name, _)| is_whole_pod(name)) {
        let held = most.as_ref().map(|most| most.get(name).copied().unwrap_or(Quantity::ZERO));
        needs.insert(name.clone(), held.unwrap_or(*amount));
    }
}

fn is_whole_pod(name: &str) -> bool {
    matches!(name, "cpu" | "memory") || name.starts_with("hugepages-")
}

fn add(sum: &mut ResourceList, more: &ResourceList) {
    for (name, amount) in more {
        let slot = sum.entry(name.clone()).or_default();
        *slot = slot.plus(*amount);
    }
}

/// To the larger of both, resource by resource.
fn raise(most: &mut ResourceList, other: &ResourceList) {
    for (name, amount) in other {
        let slot = most.entry(name.clone()).or_insert(*amount);
        *slot = (*slot).max(*amount);
    }
}

#[cfg(test)]
#[path = "requests_tests.rs"]
mod tests;
