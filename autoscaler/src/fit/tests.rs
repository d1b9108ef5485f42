//! The corner cases of autoscalers that concern fitting, each under the number of its row in the list of such cases.

use serde_json::{Value, json};

use super::*;
use crate::view::{DaemonSet, KubeView, Node, Notes};

pub(super) const ZONE: &str = "topology.kubernetes.io/zone";

fn object(kind: &str, name: &str) -> Value {
    json!({"kind": kind, "metadata": {"name": name}})
}

/// A node in zone `a` with room for 4 cores, 8Gi and 110 pods, and what is said of it beside.
pub(super) fn node(name: &str, change: impl FnOnce(&mut Value)) -> Value {
    let mut node = object("Node", name);
    node["metadata"]["labels"] = json!({"kubernetes.io/hostname": name, ZONE: "a"});
    node["status"] = json!({"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"}});
    change(&mut node);
    node
}

/// A pod in `default` that wants a core and is called like its label `app`, and what is said of it beside.
pub(super) fn pod(name: &str, on: &str, change: impl FnOnce(&mut Value)) -> Value {
    let mut pod = object("Pod", name);
    pod["metadata"]["namespace"] = json!("default");
    pod["metadata"]["labels"] = json!({"app": name});
    pod["spec"] =
        json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}], "nodeName": on});
    change(&mut pod);
    pod
}

pub(super) fn plain(_: &mut Value) {}

pub(super) fn state(objects: &[Value]) -> State {
    let view = KubeView::read(objects);
    assert_eq!(view.notes, Notes::default());
    State::of(&view)
}

pub(super) fn read(pod: &Value) -> Arc<Pod> {
    Arc::new(Pod::read(pod, &mut Notes::default()))
}

/// Why a pod does not fit on the node `n`, in words; empty if it does.
pub(super) fn why(pod: &Value, objects: &[Value]) -> String {
    why_on("n", pod, objects)
}

pub(super) fn why_on(name: &str, pod: &Value, objects: &[Value]) -> String {
    let reasons = fits(&read(pod), name, &state(objects)).err().unwrap_or_default();
    reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn row_01_what_fits_nowhere_says_which_clause_failed_with_numbers() {
    let large = pod("p", "", |p| {
        p["spec"]["containers"][0]["resources"]["requests"] =
            json!({"cpu": "5", "memory": "9Gi", "example.com/gpu": "1"});
        p["spec"]["nodeSelector"] = json!({"disk": "ssd", ZONE: "b"});
        p["spec"]["affinity"] = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": ZONE, "operator": "In", "values": ["a"]}, {"key": "cores", "operator": "Gt", "values": ["7"]}]},
            {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["m"]}]}]}}});
    });
    let text = why(&large, &[node("n", plain), pod("old", "n", plain)]);
    insta::assert_snapshot!(text, @r#"
    it wants 5 cpu, 3 of 4 is free
    it wants 9Gi memory, 8Gi of 8Gi is free
    it wants 1 example.com/gpu, 0 of 0 is free
    its node selector wants disk=ssd, the node has no such label
    its node selector wants topology.kubernetes.io/zone=b, the node has a
    its node affinity wants cores above 7, the node has nothing; or metadata.name is m
    "#);
    assert_eq!(why_on("gone", &large, &[]), "there is no node gone");
}

#[test]
fn row_02_only_the_daemon_sets_of_the_new_node_count_against_it() {
    let set = |name: &str, change: fn(&mut Value)| {
        let mut set = object("DaemonSet", name);
        set["spec"]["template"] = pod(name, "", plain);
        change(&mut set["spec"]["template"]["spec"]);
        set
    };
    let sets = [
        set("everywhere", plain),
        set("other-zone", |s| s["nodeSelector"] = json!({ZONE: "b"})),
        set("untolerated", plain),
        set("tolerated", |s| s["tolerations"] = json!([{"key": "gpu", "operator": "Exists"}])),
    ];
    let view = KubeView::read(&sets);
    let fresh = |change: fn(&mut Value)| Arc::new(Node::read(&node("new", change), &mut Notes::default()));
    let runs = |node: &Node| -> Vec<String> {
        daemon_pods(node, &view.daemon_sets).into_iter().map(|(set, _)| set.metadata.name.clone()).collect()
    };
    assert_eq!(runs(&fresh(plain)), ["everywhere", "tolerated", "untolerated"]);
    let tainted: fn(&mut Value) = |n| n["spec"] = json!({"taints": [{"key": "gpu", "effect": "NoSchedule"}]});
    assert_eq!(runs(&fresh(tainted)), ["tolerated"]);
    // What comes and goes with a node's state keeps no DaemonSet away.
    let ailing: fn(&mut Value) = |n| {
        n["spec"] = json!({"taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"},
            {"key": "node.kubernetes.io/disk-pressure", "effect": "NoSchedule"}]});
    };
    assert_eq!(runs(&fresh(ailing)).len(), 3);

    let mut state = State::default();
    let id = imagine(&mut state, fresh(plain), None, &view.daemon_sets).unwrap();
    assert_eq!((state.node(id).used().cpu, state.node(id).pod_count()), (3000, 3));
    let two = pod("p", "", |p| p["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!("2"));
    assert_eq!(
        fits(&read(&two), "new", &state).unwrap_err(),
        [Reason::Resource { name: "cpu".into(), wants: 2000, free: 1000, of: 4000 }]
    );
}

#[test]
fn row_02_a_shape_that_cannot_hold_its_own_daemon_sets_is_refused_and_leaves_no_trace() {
    let mut set = object("DaemonSet", "agent");
    set["metadata"]["namespace"] = json!("kube-system");
    set["spec"]["template"] =
        pod("agent", "", |p| p["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!("5"));
    let sets: Vec<Arc<DaemonSet>> = KubeView::read([&set]).daemon_sets;
    let mut state = State::default();
    let fresh = Arc::new(Node::read(&node("new", plain), &mut Notes::default()));
    let refused = imagine(&mut state, fresh, None, &sets).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the DaemonSet kube-system/agent does not fit on a new node: it wants 5 cpu, 4 of 4 is free"
    );
    assert_eq!((state.nodes().count(), state.find("new")), (0, None));
}

#[test]
fn row_04_pods_per_node_and_attached_volumes_are_counted() {
    let full = node("n", |n| n["status"]["allocatable"]["pods"] = json!("1"));
    assert_eq!(
        why(&pod("p", "", plain), &[full, pod("old", "n", plain)]),
        "1 pods run here, the node takes 1"
    );

    let claim = |name: &str| {
        json!({"kind": "PersistentVolumeClaim",
        "metadata": {"namespace": "default", "name": name, "annotations": {"pv.kubernetes.io/bind-completed": "yes"}},
        "spec": {"volumeName": name}})
    };
    let volume = |name: &str| {
        json!({"kind": "PersistentVolume", "metadata": {"name": name},
        "spec": {"csi": {"driver": "csi.example.com", "volumeHandle": name}}})
    };
    let mounts = |name: &str, on: &str, claim: &str| {
        pod(name, on, |p| {
            p["spec"]["volumes"] = json!([{"name": "v", "persistentVolumeClaim": {"claimName": claim}}])
        })
    };
    let limit = json!({"kind": "CSINode", "metadata": {"name": "n"}, "spec": {"drivers": [
        {"name": "csi.example.com", "allocatable": {"count": 1}}]}});
    let objects =
        [node("n", plain), limit, claim("x"), claim("y"), volume("x"), volume("y"), mounts("old", "n", "x")];
    assert_eq!(why(&mounts("p", "", "x"), &objects), "", "the same volume is attached once");
    assert_eq!(
        why(&mounts("p", "", "y"), &objects),
        "it wants 1 more volumes of csi.example.com, 1 of 1 are attached"
    );
}

#[test]
fn row_05_a_node_whose_gpu_is_still_to_come_counts_as_having_it() {
    let read = |value: &Value| Node::read(value, &mut Notes::default());
    let shape = read(&node("shape", |n| n["status"]["allocatable"]["example.com/gpu"] = json!("2")));
    let young = read(&node("n", |n| {
        n["status"]["allocatable"]["example.com/gpu"] = json!("0");
        n["spec"] = json!({"taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]});
    }));
    assert_eq!(missing(&young, &shape), ["example.com/gpu"]);
    let ready = when_ready(&young, &shape, &[]);
    assert_eq!((missing(&ready, &shape), ready.spec.taints.len()), (vec![], 0));
    assert_eq!(ready.status.allocatable["example.com/gpu"].value(), 2);
}

#[test]
fn row_07_a_host_port_is_for_one_pod_per_protocol_and_address_sidecars_included() {
    let with = |name: &str, on: &str, port: Value| {
        pod(name, on, |p| {
            p["spec"]["initContainers"] = json!([{"name": "s", "restartPolicy": "Always", "ports": [port]}]);
        })
    };
    let http = json!({"hostPort": 80});
    let objects = [node("n", plain), with("old", "n", http.clone())];
    assert_eq!(why(&with("p", "", http), &objects), "the port 80/TCP of the node is taken by default/old");
    assert_eq!(
        why(&with("p", "", json!({"hostPort": 80, "hostIP": "10.0.0.1"})), &objects).lines().count(),
        1
    );
    assert_eq!(why(&with("p", "", json!({"hostPort": 80, "protocol": "UDP"})), &objects), "");
    assert_eq!(why(&with("p", "", json!({"hostPort": 0})), &objects), "");
}

#[test]
fn row_08_volumes_choose_the_zone_and_an_unbound_claim_only_restricts() {
    let class = |topologies: Value| {
        json!({"kind": "StorageClass", "metadata": {"name": "wait"}, "provisioner": "csi.example.com",
        "volumeBindingMode": "WaitForFirstConsumer", "allowedTopologies": topologies})
    };
    let claim = |spec: Value, bound: bool| {
        let done = if bound { json!({"pv.kubernetes.io/bind-completed": "yes"}) } else { json!({}) };
        json!({"kind": "PersistentVolumeClaim", "metadata": {"namespace": "default", "name": "x", "annotations": done},
            "spec": spec})
    };
    let mounts = pod("p", "", |p| {
        p["spec"]["volumes"] = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "x"}}])
    });
    let waiting = claim(json!({"storageClassName": "wait"}), false);
    let zones = |zone: &str| json!([{"matchLabelExpressions": [{"key": ZONE, "values": [zone]}]}]);
    assert_eq!(why(&mounts, &[node("n", plain), waiting.clone(), class(json!([]))]), "");
    assert_eq!(why(&mounts, &[node("n", plain), waiting.clone(), class(zones("a"))]), "");
    assert_eq!(
        why(&mounts, &[node("n", plain), waiting, class(zones("b"))]),
        "the claim default/x has the class wait, whose volumes cannot be made here"
    );
    let volume =
        json!({"kind": "PersistentVolume", "metadata": {"name": "pv", "labels": {ZONE: "b__c"}}, "spec": {}});
    let bound = claim(json!({"volumeName": "pv"}), true);
    assert_eq!(
        why(&mounts, &[node("n", plain), bound.clone(), volume]),
        format!("the claim default/x has a volume in {ZONE}=b or c, the node is in a")
    );
    assert_eq!(
        why(&mounts, &[node("n", plain), bound]),
        "the claim default/x has the volume pv, which does not exist\nthe claim default/x has a volume that does not exist"
    );
    assert_eq!(why(&mounts, &[node("n", plain)]), "the claim default/x does not exist");
}

#[test]
fn row_10_a_static_pod_counts_what_it_uses() {
    let mirror = pod("mirror", "n", |p| {
        p["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
        p["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!("3500m");
    });
    assert!(read(&mirror).is_mirror());
    assert_eq!(why(&pod("p", "", plain), &[node("n", plain), mirror]), "it wants 1 cpu, 500m of 4 is free");
}

#[test]
fn row_13_what_has_ended_uses_nothing_and_what_is_ending_still_does() {
    let full = |change: fn(&mut Value)| {
        pod("old", "n", |p| {
            p["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!("4");
            change(p);
        })
    };
    let new = pod("p", "", plain);
    for phase in ["Succeeded", "Failed"] {
        let mut over = full(plain);
        over["status"] = json!({"phase": phase});
        assert_eq!(why(&new, &[node("n", plain), over]), "");
    }
    let ending = full(|p| p["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z"));
    assert_eq!(why(&new, &[node("n", plain), ending]), "it wants 1 cpu, 0 of 4 is free");
}

#[test]
fn row_15_the_place_of_a_nominated_pod_is_taken() {
    let nominated = pod("next", "", |p| {
        p["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!("4");
        p["status"] = json!({"nominatedNodeName": "n"});
    });
    assert_eq!(why(&pod("p", "", plain), &[node("n", plain), nominated]), "it wants 1 cpu, 0 of 4 is free");
}

#[test]
fn row_16_a_gated_pod_fits_nowhere_until_the_gate_opens() {
    let gated = pod("p", "", |p| p["spec"]["schedulingGates"] = json!([{"name": "quota"}, {"name": "data"}]));
    assert_eq!(why(&gated, &[node("n", plain)]), "it waits for the scheduling gate quota, data");
}

#[test]
fn row_20_a_plan_packs_on_what_is_there_and_booting_until_it_is_full() {
    let mut state = state(&[node("n", plain)]);
    let id = state.find("n").unwrap();
    let pods: Vec<_> = (0..5).map(|n| read(&pod(&format!("p{n}"), "", plain))).collect();
    let placed = pods
        .iter()
        .filter(|pod| {
            let fits = Check::new(pod, &state).fits(&state, id);
            if fits {
                state.place(Arc::new(Resident::new(Arc::clone(pod))), id);
            }
            fits
        })
        .count();
    assert_eq!((placed, state.node(id).used().cpu), (4, 4000));
    assert!(state.take(&pods[0], id) && !state.take(&pods[0], id));
    assert!(Check::new(&pods[4], &state).fits(&state, id));
}
