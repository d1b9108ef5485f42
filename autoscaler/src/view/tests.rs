//! Readers: complete, total, and back again.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

#[test]
fn lists_and_objects_are_read_alike() {
    let node = json!({"metadata": {"name": "a", "labels": {"zone": "x"}}, "status": {"allocatable": {"cpu": "1930m"}}});
    let mut alone = node.clone();
    alone["kind"] = json!("Node");
    let list = json!({"kind": "NodeList", "items": [node]});
    let kubectl = json!({"kind": "List", "items": [alone]});
    let views = [KubeView::read([&list]), KubeView::read([&kubectl]), KubeView::read([&alone])];
    assert_eq!(views[0].nodes[0].status.allocatable["cpu"].milli(), 1930);
    assert!(views.iter().all(|view| *view == views[0] && view.notes.count == 0), "{views:#?}");
}

#[test]
fn what_is_odd_is_left_out_and_noted_with_its_place() {
    let pod = json!({"kind": "Pod", "metadata": {"namespace": "default", "name": "web", "labels": {"app": 7},
            "creationTimestamp": "soon"},
        "spec": {"containers": [{"name": "a", "resources": {"requests": {"cpu": "lots", "memory": 1000}}}, 5],
            "hostNetwork": "yes", "priority": 1.5, "unknownField": [[]]}});
    let secret = json!({"kind": "Secret", "metadata": {"name": "s"}});
    let view = KubeView::read([&pod, &secret, &json!(null)]);
    let notes: Vec<String> = view.notes.kept.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(notes.join("\n"), @r#"
    Pod/default/web.metadata.labels.app: expected a text, found a number; taken as empty
    Pod/default/web.metadata.creationTimestamp: "soon" is no time; taken as 1970
    Pod/default/web.spec.containers[0].resources.requests.cpu: "lots" is no quantity: a number, then one of n u m k M G T P E Ki Mi Gi Ti Pi Ei or an exponent ("e3"); taken as 0
    Pod/default/web.spec.containers[1]: expected an object, found a number; taken as empty
    Pod/default/web.spec.priority: expected a whole number, found a number; taken as empty
    Pod/default/web.spec.hostNetwork: expected true or false, found a text; taken as empty
    Secret/s: is of a kind that is not needed here; it is left out
    /?: is of a kind that is not needed here; it is left out
    "#);
    assert_eq!(view.pods[0].spec.containers[0].resources.requests["memory"].value(), 1000);
}

#[test]
fn there_is_an_end_to_notes() {
    let pods: Vec<Value> = (0..1000).map(|_| json!({"kind": "Pod", "spec": 1})).collect();
    let view = KubeView::read(&pods);
    assert_eq!((view.pods.len(), view.notes.kept.len(), view.notes.count), (1000, 200, 1000));
}

#[test]
fn only_a_pod_that_the_scheduler_refused_is_a_reason_to_buy() {
    let pending = json!({"metadata": {"name": "p"}, "status": {"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]}});
    let with = |change: fn(&mut Value)| {
        let mut pod = pending.clone();
        change(&mut pod);
        Pod::read(&pod, &mut Notes::default()).is_unplaced()
    };
    assert!(with(|_| {}));
    for (change, why) in [
        ((|p| p["status"]["conditions"] = json!([])) as fn(&mut Value), "row 19: not looked at yet"),
        (|p| p["status"]["conditions"][0]["reason"] = json!("SchedulingGated"), "row 16: gated"),
        (|p| p["spec"] = json!({"schedulingGates": [{"name": "g"}]}), "row 16: gated"),
        (|p| p["status"]["nominatedNodeName"] = json!("a"), "row 15: its place is being made"),
        (|p| p["spec"] = json!({"nodeName": "a"}), "bound"),
        (|p| p["status"]["phase"] = json!("Failed"), "row 13: over"),
        (|p| p["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z"), "row 61: on its way out"),
        (|p| p["metadata"]["deletionTimestamp"] = json!("never"), "on its way out, at an odd time"),
    ] {
        assert!(!with(change), "{why}");
    }
}

/// Any JSON, with the names of fields in the likely places, so that readers get far.
fn any_json() -> impl Strategy<Value = Value> {
    let words = prop::sample::select(vec![
        "kind",
        "items",
        "metadata",
        "spec",
        "status",
        "name",
        "labels",
        "containers",
        "resources",
        "requests",
        "cpu",
        "affinity",
        "nodeAffinity",
        "tolerations",
        "taints",
        "allocatable",
        "conditions",
        "volumes",
        "values",
        "Pod",
        "Node",
        "List",
        "In",
        "500m",
        "-1",
        "",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        words.clone().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((words.clone(), inner), 0..6)
                .prop_map(|fields| fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()),
        ]
    })
}

proptest! {
    #[test]
    fn anything_is_read(value in any_json()) {
        let mut view = KubeView::read([&value]);
        for kind in ["Pod", "Node", "PersistentVolume", "StorageClass", "DaemonSet", "CSINode", "PodDisruptionBudget"] {
            view.add(&value, kind);
        }
    }

    #[test]
    fn what_is_written_reads_back(value in any_json()) {
        for kind in ["Pod", "Node", "DaemonSet"] {
            let mut first = KubeView::default();
            first.add(&value, kind);
            let mut second = KubeView::default();
            first.pods.iter().for_each(|pod| second.add(&serde_json::to_value(pod.as_ref()).unwrap(), "Pod"));
            first.nodes.iter().for_each(|node| second.add(&serde_json::to_value(node.as_ref()).unwrap(), "Node"));
            first.daemon_sets.iter().for_each(|set| second.add(&serde_json::to_value(set.as_ref()).unwrap(), "DaemonSet"));
            prop_assert_eq!(second.notes.count, 0);
            prop_assert_eq!((&first.pods, &first.nodes, &first.daemon_sets), (&second.pods, &second.nodes, &second.daemon_sets));
        }
    }
}
