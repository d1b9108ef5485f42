//! What the tests put into Kubernetes.

use serde_json::{Value, json};

/// As the bundle has it.
const IMAGE: &str = "docker.io/library/busybox:1.35";

/// Runs until somebody makes `/done` in it.
const UNTIL_DONE: &str = "until [ -e /done ]; do sleep 1; done";

/// The pool with a taint, and what goes there.
pub(crate) const TAINT: &str = "kind=special:NoSchedule";

fn container(cpu: &str, command: &str) -> Value {
    json!({"name": "it", "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", command],
        "resources": {"requests": {"cpu": cpu}}})
}

fn pod_spec(cpu: &str, command: &str) -> Value {
    json!({"terminationGracePeriodSeconds": 1, "containers": [container(cpu, command)]})
}

/// A Job of so many pods at a time; they end when they are told to.
pub(crate) fn job(name: &str, pods: u32, cpu: &str) -> Value {
    let mut spec = pod_spec(cpu, UNTIL_DONE);
    spec["restartPolicy"] = json!("Never");
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {"parallelism": pods, "completions": pods, "template": {"spec": spec}}})
}

/// The same on the tainted pool: it says that it wants to be there, and that it may.
pub(crate) fn special(name: &str, pods: u32, cpu: &str) -> Value {
    let mut job = job(name, pods, cpu);
    let spec = &mut job["spec"]["template"]["spec"];
    spec["nodeSelector"] = json!({"kind": "special"});
    spec["tolerations"] =
        json!([{"key": "kind", "operator": "Equal", "value": "special", "effect": "NoSchedule"}]);
    job
}

/// A pod that nothing would make again.
pub(crate) fn bare(name: &str, cpu: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": pod_spec(cpu, UNTIL_DONE)})
}

/// Pods that may be moved, best on as many nodes as there are.
pub(crate) fn deployment(name: &str, pods: u32, cpu: &str) -> Value {
    let labels = json!({"app": name});
    let mut spec = pod_spec(cpu, "exec sleep 3600");
    spec["topologySpreadConstraints"] = json!([{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {"matchLabels": labels}}]);
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {"replicas": pods,
        "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": spec}}})
}

/// At least so many of a Deployment's pods are to run.
pub(crate) fn budget(deployment: &str, least: u32) -> Value {
    json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": deployment},
        "spec": {"minAvailable": least, "selector": {"matchLabels": {"app": deployment}}}})
}
