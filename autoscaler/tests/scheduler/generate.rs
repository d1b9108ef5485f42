//! Small clusters with many corners: few nodes, few values, tight room, so that both verdicts are common and every family of
//! predicates is in the way of some pod.

use serde_json::{Map, Value, json};

use crate::dice::Dice;
use crate::storage;

pub(crate) const ZONE: &str = "topology.kubernetes.io/zone";
const HOSTNAME: &str = "kubernetes.io/hostname";
const KEYS: [&str; 5] = [ZONE, HOSTNAME, "disk", "n", "none"];

/// A cluster and a pod for it, from a number.
pub(crate) fn case(seed: u64) -> Value {
    let dice = &mut Dice::new(seed);
    let focus = Focus::roll(dice);
    let mut objects: Vec<Value> = vec![
        object("v1", "Namespace", json!({"name": "default", "labels": {"team": "a"}})),
        object("v1", "Namespace", json!({"name": "other", "labels": {"team": "b"}})),
    ];
    let nodes = 1 + dice.below(4);
    objects.extend((0..nodes).map(|n| node(dice, n, &focus)));
    // Where room is the matter, many pods would leave none; elsewhere there is room for all.
    let pods = if focus.resources { dice.below(4) } else { 2 + dice.below(7) };
    objects.extend((0..pods).map(|n| {
        let mut pod = pod(dice, &format!("old{n}"), &focus, true);
        pod["spec"]["nodeName"] = json!(format!("n{}", dice.below(nodes)));
        pod
    }));
    if focus.storage {
        storage::add(dice, &mut objects, nodes);
    }
    json!({"pod": pod(dice, "new", &focus, false), "objects": objects})
}

/// Which families a case is about: with all of them at once hardly any pod would fit, and hardly any verdict would depend on one.
struct Focus {
    resources: bool,
    nodes: bool,
    taints: bool,
    ports: bool,
    affinity: bool,
    spread: bool,
    pub(crate) storage: bool,
}

impl Focus {
    /// Half of the cases are about one family alone, so that its verdict is the verdict.
    fn roll(dice: &mut Dice) -> Self {
        let alone = dice.chance(50).then(|| dice.below(7));
        let mut n = 0;
        let mut on = |percent: usize| {
            n += 1;
            alone.map_or_else(|| dice.chance(percent), |family| family + 1 == n)
        };
        Self {
            resources: on(35),
            nodes: on(25),
            taints: on(25),
            ports: on(15),
            affinity: on(35),
            spread: on(35),
            storage: on(25),
        }
    }
}

pub(crate) fn object(version: &str, kind: &str, metadata: Value) -> Value {
    json!({"apiVersion": version, "kind": kind, "metadata": metadata})
}

fn node(dice: &mut Dice, n: usize, focus: &Focus) -> Value {
    let name = format!("n{n}");
    let mut labels = Map::new();
    dice.maybe(90, &mut labels, HOSTNAME, |_| json!(name));
    dice.maybe(85, &mut labels, ZONE, |dice| json!(dice.pick(&["a", "b", "c"])));
    dice.maybe(10, &mut labels, "failure-domain.beta.kubernetes.io/zone", |dice| {
        json!(dice.pick(&["a", "b"]))
    });
    dice.maybe(50, &mut labels, "disk", |dice| json!(dice.pick(&["ssd", "hdd", ""])));
    dice.maybe(50, &mut labels, "n", |dice| json!(dice.pick(&["1", "5", "x", "007"])));
    let mut node = object("v1", "Node", json!({"name": name, "labels": labels}));
    let roomy = json!({"cpu": "64", "memory": "256Gi", "pods": "110"});
    node["status"] = json!({"allocatable": if focus.resources { allocatable(dice) } else { roomy }});
    if focus.taints {
        let mut spec = Map::new();
        dice.maybe(20, &mut spec, "unschedulable", |_| json!(true));
        dice.maybe(60, &mut spec, "taints", |dice| dice.list(2, taint));
        node["spec"] = Value::Object(spec);
    }
    node
}

fn allocatable(dice: &mut Dice) -> Value {
    let mut list = Map::new();
    dice.maybe(95, &mut list, "cpu", |d| {
        json!(d.pick(&["1", "2", "1500m", "0.5", "0", "1930m", "2e0", "1.0001"]))
    });
    dice.maybe(95, &mut list, "memory", |d| {
        json!(d.pick(&["1Gi", "1.5Gi", "1e9", "2G", "128974848", "129e6"]))
    });
    dice.maybe(95, &mut list, "pods", |d| json!(d.pick(&["1", "2", "3", "110", "110", "110"])));
    dice.maybe(50, &mut list, "ephemeral-storage", |d| json!(d.pick(&["1Gi", "10Gi", "100n"])));
    dice.maybe(50, &mut list, "example.com/gpu", |d| json!(d.pick(&["0", "1", "2"])));
    dice.maybe(30, &mut list, "hugepages-2Mi", |d| json!(d.pick(&["2Mi", "4Mi"])));
    dice.maybe(20, &mut list, "attachable-volumes-csi", |d| json!(d.pick(&["1", "2"])));
    Value::Object(list)
}

fn requests(dice: &mut Dice) -> Value {
    let mut list = Map::new();
    dice.maybe(60, &mut list, "cpu", |d| {
        json!(d.pick(&["0", "1m", "0.0001", "100m", "500m", "1", "1.5", "930m"]))
    });
    dice.maybe(60, &mut list, "memory", |d| {
        json!(d.pick(&["0", "1", "100m", "64Mi", "0.5Gi", "1Gi", "5e8", "1G"]))
    });
    dice.maybe(15, &mut list, "ephemeral-storage", |d| json!(d.pick(&["1Gi", "5Gi", "1n"])));
    dice.maybe(15, &mut list, "example.com/gpu", |d| json!(d.pick(&["0", "1"])));
    dice.maybe(8, &mut list, "hugepages-2Mi", |d| json!(d.pick(&["2Mi", "4Mi"])));
    dice.maybe(5, &mut list, "attachable-volumes-csi", |d| json!(d.pick(&["1"])));
    dice.maybe(5, &mut list, "unknown", |d| json!(d.pick(&["1"])));
    dice.maybe(5, &mut list, "requests.example.com/gpu", |d| json!(d.pick(&["1"])));
    dice.maybe(3, &mut list, "Example.com/gpu", |d| json!(d.pick(&["1"])));
    Value::Object(list)
}

fn taint(dice: &mut Dice) -> Value {
    let key = dice.pick(&["gpu", "team", "node.kubernetes.io/unschedulable"]);
    let effect = dice.pick(&["NoSchedule", "NoExecute", "PreferNoSchedule"]);
    json!({"key": key, "value": dice.pick(&["", "a", "5"]), "effect": effect})
}

fn toleration(dice: &mut Dice) -> Value {
    let mut toleration = Map::new();
    dice.maybe(80, &mut toleration, "key", |d| {
        json!(d.pick(&["gpu", "team", "node.kubernetes.io/unschedulable"]))
    });
    dice.maybe(80, &mut toleration, "operator", |d| {
        json!(d.pick(&["Exists", "Exists", "Equal", "Lt", "Gt"]))
    });
    dice.maybe(50, &mut toleration, "value", |d| json!(d.pick(&["", "a", "7"])));
    dice.maybe(50, &mut toleration, "effect", |d| {
        json!(d.pick(&["NoSchedule", "NoExecute", "PreferNoSchedule"]))
    });
    Value::Object(toleration)
}

fn pod(dice: &mut Dice, name: &str, focus: &Focus, old: bool) -> Value {
    let mut metadata = json!({"name": name, "namespace": dice.pick(&["default", "default", "default", "other"]),
        "uid": format!("uid-{name}"), "labels": pod_labels(dice)});
    if old && dice.chance(20) {
        metadata["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    }
    let namespace = metadata["namespace"].as_str().expect("it was put there").to_owned();
    let mut spec = Map::new();
    let containers = 1 + dice.below(2);
    spec.insert(
        "containers".into(),
        (0..containers).map(|n| container(dice, &format!("c{n}"), focus)).collect(),
    );
    dice.maybe(if focus.resources { 60 } else { 20 }, &mut spec, "initContainers", |dice| {
        (0..dice.below(3)).map(|n| init_container(dice, &format!("i{n}"), focus)).collect()
    });
    let mut status = json!({"phase": dice.pick(&["Pending", "Running"])});
    if focus.resources {
        dice.maybe(15, &mut spec, "overhead", requests);
        dice.maybe(15, &mut spec, "resources", |dice| json!({"requests": requests(dice)}));
        if old && dice.chance(30) {
            resize(dice, &mut status);
        }
    }
    if old && dice.chance(8) {
        status["phase"] = json!(dice.pick(&["Succeeded", "Failed"]));
    }
    if focus.nodes && !old {
        dice.maybe(
            30,
            &mut spec,
            "nodeSelector",
            |dice| json!({dice.pick(&KEYS): dice.pick(&["a", "ssd", "n0", "1"])}),
        );
        dice.maybe(5, &mut spec, "nodeName", |dice| json!(dice.pick(&["n0", "n1", "n9"])));
        dice.maybe(3, &mut spec, "schedulingGates", |_| json!([{"name": "wait"}]));
    }
    if focus.taints {
        dice.maybe(60, &mut spec, "tolerations", |dice| dice.list(2, toleration));
    }
    dice.maybe(100, &mut spec, "affinity", |dice| affinity(dice, focus, old));
    if focus.spread && !old {
        dice.maybe(90, &mut spec, "topologySpreadConstraints", |dice| dice.list(2, spread));
    }
    let mut pod =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status});
    if focus.storage {
        let volumes = storage::volumes(dice, &namespace, old);
        pod["spec"]["volumes"] = volumes;
    }
    pod
}

fn pod_labels(dice: &mut Dice) -> Value {
    let mut labels = Map::new();
    dice.maybe(90, &mut labels, "app", |d| json!(d.pick(&["web", "web", "db"])));
    dice.maybe(50, &mut labels, "rev", |d| json!(d.pick(&["1", "2", ""])));
    Value::Object(labels)
}

fn container(dice: &mut Dice, name: &str, focus: &Focus) -> Value {
    let mut container = json!({"name": name});
    if focus.resources {
        container["resources"] = json!({"requests": requests(dice)});
    }
    if focus.ports && dice.chance(60) {
        container["ports"] = dice.list(2, |dice| {
            let mut port = json!({"containerPort": 80, "hostPort": dice.pick(&[&0, &80, &443])});
            let fields = port.as_object_mut().expect("it is one");
            dice.maybe(40, fields, "protocol", |d| json!(d.pick(&["TCP", "UDP"])));
            dice.maybe(40, fields, "hostIP", |d| json!(d.pick(&["0.0.0.0", "127.0.0.1", "10.0.0.1"])));
            port
        });
    }
    container
}

fn init_container(dice: &mut Dice, name: &str, focus: &Focus) -> Value {
    let mut container = container(dice, name, focus);
    if dice.chance(50) {
        container["restartPolicy"] = json!(dice.pick(&["Always", "Always", "OnFailure"]));
    }
    container
}

fn resize(dice: &mut Dice, status: &mut Value) {
    let statuses = |dice: &mut Dice, names: [&str; 2]| -> Value {
        let one = |dice: &mut Dice, name: &str| {
            let mut status = json!({"name": name});
            let fields = status.as_object_mut().expect("it is one");
            dice.maybe(70, fields, "resources", |dice| json!({"requests": requests(dice)}));
            dice.maybe(70, fields, "allocatedResources", requests);
            status
        };
        names.into_iter().map(|name| one(dice, name)).collect()
    };
    status["containerStatuses"] = statuses(dice, ["c0", "c1"]);
    status["initContainerStatuses"] = statuses(dice, ["i0", "i1"]);
    if dice.chance(50) {
        let reason = dice.pick(&["Infeasible", "Deferred"]);
        status["conditions"] = json!([{"type": "PodResizePending", "status": "True", "reason": reason}]);
    }
    if dice.chance(40) {
        status["resources"] = json!({"requests": requests(dice)});
        status["allocatedResources"] = requests(dice);
    }
}

fn affinity(dice: &mut Dice, focus: &Focus, old: bool) -> Value {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    let mut affinity = Map::new();
    if focus.nodes && !old {
        dice.maybe(60, &mut affinity, "nodeAffinity", |dice| json!({REQUIRED: node_selector(dice)}));
    }
    if focus.affinity {
        let percent = if old { 15 } else { 50 };
        dice.maybe(
            percent,
            &mut affinity,
            "podAffinity",
            |dice| json!({REQUIRED: dice.list(2, |dice| affinity_term(dice, old))}),
        );
        dice.maybe(
            50,
            &mut affinity,
            "podAntiAffinity",
            |dice| json!({REQUIRED: dice.list(2, |dice| affinity_term(dice, old))}),
        );
    }
    Value::Object(affinity)
}

pub(crate) fn node_selector(dice: &mut Dice) -> Value {
    let terms = dice.list(3, |dice| {
        let mut term = Map::new();
        dice.maybe(80, &mut term, "matchExpressions", |dice| dice.list(2, node_requirement));
        dice.maybe(25, &mut term, "matchFields", |dice| {
            dice.list(2, |dice| {
                let values = dice.list(2, |dice| json!(dice.pick(&["n0", "n1"])));
                let operator = dice.pick(&["In", "In", "NotIn", "Exists"]);
                json!({"key": dice.pick(&["metadata.name", "metadata.name", "metadata.uid"]),
                    "operator": operator, "values": values})
            })
        });
        Value::Object(term)
    });
    json!({"nodeSelectorTerms": terms})
}

fn node_requirement(dice: &mut Dice) -> Value {
    let operator = dice.pick(&["In", "In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt", "Like"]);
    let values = match operator {
        "Exists" | "DoesNotExist" if dice.chance(90) => json!([]),
        "Gt" | "Lt" => json!([dice.pick(&["0", "3", "5", "7", "x", "-1", "+3"])]),
        _ => dice.list(2, |dice| json!(dice.pick(&["a", "b", "n0", "ssd", "", "1", "a b"]))),
    };
    let key = if dice.chance(3) { "-bad-" } else { dice.pick(&KEYS) };
    json!({"key": key, "operator": operator, "values": values})
}

/// A selector of pods; broken ones only where the API server's check is not what keeps them out of a scheduler's cache.
fn selector(dice: &mut Dice, old: bool) -> Value {
    let mut selector = Map::new();
    dice.maybe(60, &mut selector, "matchLabels", |dice| json!({"app": dice.pick(&["web", "db"])}));
    dice.maybe(40, &mut selector, "matchExpressions", |dice| {
        dice.list(2, |dice| {
            let operator = dice.pick(&["In", "NotIn", "Exists", "DoesNotExist"]);
            let operator = if !old && dice.chance(3) { "Gt" } else { operator };
            let key = dice.pick(&["app", "rev", "none"]);
            let values = match operator {
                "Exists" | "DoesNotExist" => json!([]),
                _ if !old && dice.chance(5) => json!([]),
                _ => json!([dice.pick(&["web", "1", ""])]),
            };
            json!({"key": key, "operator": operator, "values": values})
        })
    });
    Value::Object(selector)
}

fn affinity_term(dice: &mut Dice, old: bool) -> Value {
    let mut term = Map::new();
    term.insert("topologyKey".into(), json!(dice.pick(&[ZONE, HOSTNAME, "disk"])));
    dice.maybe(90, &mut term, "labelSelector", |dice| selector(dice, old));
    dice.maybe(25, &mut term, "namespaces", |dice| {
        dice.list(2, |dice| json!(dice.pick(&["default", "other", "unknown"])))
    });
    dice.maybe(25, &mut term, "namespaceSelector", |dice| {
        json!({dice.pick(&["matchLabels", "matchLabels"]): {dice.pick(&["team"]): dice.pick(&["a", "b"])}})
    });
    dice.maybe(10, &mut term, "namespaceSelector", |dice| match dice.below(2) {
        0 => json!({}),
        _ => json!({"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["a"]}]}),
    });
    Value::Object(term)
}

fn spread(dice: &mut Dice) -> Value {
    let mut constraint = Map::new();
    constraint.insert("maxSkew".into(), json!(dice.pick(&[&1, &1, &1, &2])));
    constraint.insert("topologyKey".into(), json!(dice.pick(&[ZONE, ZONE, HOSTNAME, "disk"])));
    let when = dice.pick(&["DoNotSchedule", "DoNotSchedule", "DoNotSchedule", "ScheduleAnyway"]);
    constraint.insert("whenUnsatisfiable".into(), json!(when));
    dice.maybe(90, &mut constraint, "labelSelector", |dice| match dice.below(2) {
        0 => json!({"matchLabels": {"app": "web"}}),
        _ => selector(dice, false),
    });
    dice.maybe(50, &mut constraint, "minDomains", |dice| json!(dice.pick(&[&1, &2, &3, &4])));
    dice.maybe(30, &mut constraint, "nodeAffinityPolicy", |dice| json!(dice.pick(&["Honor", "Ignore"])));
    dice.maybe(30, &mut constraint, "nodeTaintsPolicy", |dice| json!(dice.pick(&["Honor", "Ignore"])));
    dice.maybe(25, &mut constraint, "matchLabelKeys", |dice| {
        dice.list(2, |d| json!(d.pick(&["rev", "none"])))
    });
    Value::Object(constraint)
}
