//! More of the rows of `tests.rs`: those about places, neighbours, taints and nodes in transition.

use serde_json::{Value, json};

use super::tests::{ZONE, node, plain, pod, read, state, why, why_on};
use super::*;
use crate::view::{Node, Notes};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";

fn term(app: &str) -> Value {
    json!({REQUIRED: [{"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": ZONE}]})
}

fn in_zone(name: &str, zone: &str) -> Value {
    node(name, |n| n["metadata"]["labels"][ZONE] = json!(zone))
}

#[test]
fn row_21_anti_affinity_holds_in_both_directions() {
    let shy = |name: &str, on: &str| {
        pod(name, on, |p| p["spec"]["affinity"] = json!({"podAntiAffinity": term("loud")}))
    };
    let nodes = [in_zone("n", "a"), in_zone("m", "a"), in_zone("far", "b")];
    let with = |old: Value| [nodes.to_vec(), vec![old]].concat();
    let near_loud = with(pod("loud", "m", plain));
    assert_eq!(why(&shy("p", ""), &near_loud), format!("pods that it must not be near run in {ZONE}=a: 1"));
    assert_eq!(why_on("far", &shy("p", ""), &near_loud), "");
    let near_shy = with(shy("old", "m"));
    assert_eq!(
        why(&pod("loud", "", plain), &near_shy),
        format!("pods that do not want it near run in {ZONE}=a: 1")
    );
    assert_eq!(why_on("far", &pod("loud", "", plain), &near_shy), "");
    let elsewhere = pod("loud", "", |p| p["metadata"]["namespace"] = json!("other"));
    assert_eq!(why(&elsewhere, &near_shy), "", "a term without namespaces is about its own");
}

#[test]
fn row_21_affinity_needs_a_neighbour_unless_the_pod_is_the_first_of_its_kind() {
    let social =
        |name: &str, to: &str| pod(name, "", |p| p["spec"]["affinity"] = json!({"podAffinity": term(to)}));
    let nodes = [in_zone("n", "a"), in_zone("far", "b")];
    let alone = format!("no pod that it must be near runs in {ZONE}=a");
    assert_eq!(why(&social("p", "db"), &nodes), alone);
    assert_eq!(why(&social("p", "p"), &nodes), "");
    let with = [nodes.to_vec(), vec![pod("p", "far", plain)]].concat();
    assert_eq!(why(&social("p", "p"), &with), alone, "it is not the first any more");
    let bare = node("n", |n| n["metadata"]["labels"] = json!({}));
    assert_eq!(
        why(&social("p", "p"), &[bare]),
        format!("the node has no label {ZONE}, by which it must be near other pods")
    );
}

fn spread(change: fn(&mut Value)) -> Value {
    pod("web", "", |p| {
        let mut constraint = json!({"maxSkew": 1, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app": "web"}}});
        change(&mut constraint);
        p["spec"]["topologySpreadConstraints"] = json!([constraint]);
    })
}

#[test]
fn row_22_spread_counts_empty_places_and_honours_its_policies() {
    let web = pod("web", "n", |p| p["metadata"]["uid"] = json!("old"));
    let objects = [in_zone("n", "a"), in_zone("far", "b"), web];
    let uneven = format!("its spread: {ZONE}=a would have 2, the emptiest place has 0, at most 1 apart");
    assert_eq!(why(&spread(plain), &objects), uneven);
    assert_eq!(why_on("far", &spread(plain), &objects), "");
    let tainted = |on: Value| {
        let mut far = in_zone("far", "b");
        far["spec"] = json!({"taints": [{"key": "gpu", "effect": "NoSchedule"}]});
        (far, on)
    };
    let (far, web) = tainted(objects[2].clone());
    let objects = [in_zone("n", "a"), far, web];
    assert_eq!(
        why(&spread(plain), &objects),
        uneven,
        "a tainted place counts unless the policy says otherwise"
    );
    assert_eq!(why(&spread(|c| c["nodeTaintsPolicy"] = json!("Honor")), &objects), "");
    let three = format!("its spread: {ZONE}=a would have 2, the emptiest place has 0, at most 1 apart");
    let both = spread(|c| {
        c["nodeTaintsPolicy"] = json!("Honor");
        c["minDomains"] = json!(2);
    });
    assert_eq!(why(&both, &objects), three, "with too few places the emptiest counts as empty");
    let revision = spread(|c| {
        c["matchLabelKeys"] = json!(["app", "rev"]);
        c["labelSelector"] = json!({});
    });
    assert_eq!(why(&revision, &objects), uneven, "the pod's own label counts, one that it lacks does not");
}

#[test]
fn row_22_a_node_that_leaves_keeps_its_place_in_the_count() {
    let web = |on: &str| pod("web", on, |p| p["metadata"]["uid"] = json!(on));
    let mut state = state(&[in_zone("n", "a"), in_zone("far", "b"), web("n"), web("far")]);
    let pod = read(&spread(plain));
    assert_eq!(fits(&pod, "n", &state), Ok(()));
    let far = state.find("far").unwrap();
    assert_eq!(state.leave(far).len(), 1);
    // Without the ghost the zone b would vanish, and its pod would seem to fit beside the other one.
    assert_eq!(
        fits(&pod, "n", &state),
        Err(vec![Reason::Spread { key: ZONE.into(), place: "a".into(), here: 2, least: 0, max_skew: 1 }])
    );
    let reasons = fits(&pod, "far", &state).unwrap_err();
    assert!(reasons.contains(&Reason::Leaving) && reasons.contains(&Reason::Cordoned), "{reasons:?}");
}

#[test]
fn row_23_a_preference_keeps_no_pod_from_any_node() {
    let wishes = pod("p", "", |p| {
        p["spec"]["affinity"] = json!({
            "nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference":
                {"matchExpressions": [{"key": "disk", "operator": "Exists"}]}}]},
            "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm":
                {"labelSelector": {}, "topologyKey": ZONE}}]}});
        p["spec"]["topologySpreadConstraints"] = json!([{"maxSkew": 1, "topologyKey": "disk",
            "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {}}]);
    });
    let soft = node("n", |n| n["spec"] = json!({"taints": [{"key": "old", "effect": "PreferNoSchedule"}]}));
    assert_eq!(why(&wishes, &[soft, pod("old", "n", plain)]), "");
}

#[test]
fn row_27_a_cordoned_node_takes_only_what_tolerates_it() {
    let cordoned = node("n", |n| n["spec"] = json!({"unschedulable": true}));
    assert_eq!(why(&pod("p", "", plain), std::slice::from_ref(&cordoned)), "the node is cordoned");
    let tolerant = pod("p", "", |p| p["spec"]["tolerations"] = json!([{"operator": "Exists"}]));
    assert_eq!(why(&tolerant, &[cordoned]), "");
}

#[test]
fn row_28_and_29_a_template_has_the_nature_of_a_node_and_not_its_state() {
    let real = node("lab1-workers-3", |n| {
        n["metadata"]["uid"] = json!("u");
        n["spec"] = json!({"unschedulable": true, "providerID": "continuum://sandbox/1", "taints": [
            {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"},
            {"key": "node.cloudprovider.kubernetes.io/uninitialized", "value": "true", "effect": "NoSchedule"},
            {"key": "cni.example.com/agent-not-ready", "effect": "NoExecute"},
            {"key": "gpu", "value": "yes", "effect": "NoSchedule"}]});
        n["status"]["conditions"] = json!([{"type": "Ready", "status": "False"}]);
    });
    let real = Node::read(&real, &mut Notes::default());
    let startup = ["cni.example.com/agent-not-ready".to_owned()];
    let fresh = template(&real, "new", &startup);
    let taints: Vec<String> = fresh.spec.taints.iter().map(ToString::to_string).collect();
    assert_eq!(taints, ["gpu=yes:NoSchedule"]);
    assert_eq!(fresh.metadata.labels["kubernetes.io/hostname"], "new");
    assert_eq!((fresh.metadata.uid.as_str(), fresh.spec.provider_id.as_str()), ("", ""));
    assert!(!fresh.spec.unschedulable);
    let booting = when_ready(&real, &fresh, &startup);
    assert!(booting.spec.unschedulable, "who cordons a booting node means it");
    assert_eq!(booting.spec.taints, fresh.spec.taints);
}

#[test]
fn row_43_a_node_that_lost_its_name_to_another_is_not_found_by_it() {
    let mut state = state(&[in_zone("n", "a")]);
    let old = state.find("n").unwrap();
    let again = Arc::new(Node::read(&in_zone("n", "b"), &mut Notes::default()));
    let new = state.imagine(again, None);
    assert_eq!(state.find("n"), Some(new));
    assert_ne!(old, new);
    assert!(state.node(new).is_imagined() && !state.node(old).is_imagined());
}

#[test]
fn row_50_a_plan_that_removes_two_nodes_does_not_use_the_room_of_either() {
    let mut state = state(&[node("a", plain), node("b", plain), pod("p", "a", plain)]);
    let (a, b) = (state.find("a").unwrap(), state.find("b").unwrap());
    let moved = state.leave(a).pop().unwrap();
    assert!(!Check::new(&moved.pod, &state).fits(&state, b), "as it is, it is bound to a");
    let again = Arc::new(Resident::new(Arc::new(moved.pod.anew())));
    assert!(Check::new(&again.pod, &state).fits(&state, b));
    state.place(again, b);
    assert_eq!(state.leave(b).len(), 1);
    assert!(state.ids().all(|(id, _)| !Check::new(&read(&pod("q", "", plain)), &state).fits(&state, id)));
}

#[test]
fn row_54_more_in_use_than_there_is_leaves_less_than_nothing_free() {
    let over =
        pod("old", "n", |p| p["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!("5930m"));
    let objects = [node("n", plain), over];
    assert_eq!(why(&pod("p", "", plain), &objects), "it wants 1 cpu, -1930m of 4 is free");
    let nothing = pod("p", "", |p| p["spec"]["containers"] = json!([]));
    assert_eq!(why(&nothing, &objects), "", "who wants nothing is not kept out by others' greed");
}
