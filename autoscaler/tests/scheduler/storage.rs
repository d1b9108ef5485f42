//! Storage of a generated cluster: claims in every state, volumes in zones, classes of every kind, limits.

use serde_json::{Map, Value, json};

use crate::dice::Dice;
use crate::generate::{ZONE, node_selector, object};

const CLAIMS: usize = 3;
const DRIVER: &str = "csi.example.com";

/// The volumes of a pod.
pub(crate) fn volumes(dice: &mut Dice, namespace: &str, old: bool) -> Value {
    let mut n = 0;
    dice.list(3, |dice| {
        n += 1;
        let name = format!("v{n}");
        match dice.below(12) {
            0 => json!({"name": name, "emptyDir": {}}),
            1 => json!({"name": name, "gcePersistentDisk": {"pdName": "d", "readOnly": dice.chance(50)}}),
            2 => json!({"name": name, "iscsi": {"targetPortal": "p", "iqn": dice.pick(&["q", "r"]), "lun": 0,
                "readOnly": dice.chance(50)}}),
            3 => json!({"name": name, "rbd": {"monitors": [dice.pick(&["m", "n"]), "o"], "image": "i", "pool": "p",
                "readOnly": dice.chance(50)}}),
            4 => json!({"name": name, "awsElasticBlockStore": {"volumeID": dice.pick(&["e", "f"])}}),
            // A claim that is not this pod's makes the scheduler refuse the whole node of a pod that runs: no cluster has it.
            5 if !old => json!({"name": name, "ephemeral": {"volumeClaimTemplate": {"spec": {}}}}),
            _ => {
                let claim = if dice.chance(4) { "missing".to_owned() } else { format!("{namespace}-{}", dice.below(CLAIMS)) };
                json!({"name": name, "persistentVolumeClaim": {"claimName": claim}})
            }
        }
    })
}

/// Everything of storage that a cluster has.
pub(crate) fn add(dice: &mut Dice, objects: &mut Vec<Value>, nodes: usize) {
    classes(dice, objects);
    for namespace in ["default", "other"] {
        for n in 0..CLAIMS {
            let name = format!("{namespace}-{n}");
            let (claim, volume) = claim(dice, namespace, &name);
            objects.push(claim);
            objects.extend(volume);
        }
    }
    if dice.chance(50) {
        objects.push(ephemeral_claim(dice));
    }
    // Sizes differ, since the scheduler's choice among equals is chance.
    let free = dice.below(5);
    objects.extend((0..free).map(|n| free_volume(dice, n)));
    for n in 0..nodes {
        if dice.chance(75) {
            let limit =
                if dice.chance(80) { json!({"count": dice.pick(&[&0, &1, &2])}) } else { Value::Null };
            let mut node = object("storage.k8s.io/v1", "CSINode", json!({"name": format!("n{n}")}));
            node["spec"] = json!({"drivers": [{"name": DRIVER, "nodeID": "x", "allocatable": limit}]});
            objects.push(node);
        }
    }
    for n in 0..dice.below(3) {
        let mut attachment =
            object("storage.k8s.io/v1", "VolumeAttachment", json!({"name": format!("a{n}")}));
        attachment["spec"] = json!({"attacher": DRIVER, "nodeName": format!("n{}", dice.below(nodes)),
            "source": {"persistentVolumeName": format!("pv-default-{}", dice.below(CLAIMS))}});
        objects.push(attachment);
    }
    capacities(dice, objects);
}

fn capacities(dice: &mut Dice, objects: &mut Vec<Value>) {
    if !dice.chance(30) {
        return;
    }
    let mut driver = object("storage.k8s.io/v1", "CSIDriver", json!({"name": DRIVER}));
    driver["spec"] = json!({"storageCapacity": dice.chance(80)});
    objects.push(driver);
    for n in 0..dice.below(3) {
        let metadata = json!({"name": format!("cap{n}"), "namespace": "default"});
        let mut capacity = object("storage.k8s.io/v1", "CSIStorageCapacity", metadata);
        capacity["storageClassName"] = json!(dice.pick(&["wait", "zoned"]));
        let fields = capacity.as_object_mut().expect("it is one");
        dice.maybe(80, fields, "nodeTopology", |dice| match dice.below(3) {
            0 => json!({}),
            _ => json!({"matchLabels": {ZONE: dice.pick(&["a", "b"])}}),
        });
        dice.maybe(80, fields, "capacity", |dice| json!(dice.pick(&["1Gi", "3Gi", "100Gi"])));
        dice.maybe(30, fields, "maximumVolumeSize", |dice| json!(dice.pick(&["1Gi", "5Gi"])));
        objects.push(capacity);
    }
}

fn classes(dice: &mut Dice, objects: &mut Vec<Value>) {
    let mut class = |name: &str, provisioner: &str, mode: &str| {
        let mut class = object("storage.k8s.io/v1", "StorageClass", json!({"name": name}));
        class["provisioner"] = json!(provisioner);
        if !mode.is_empty() {
            class["volumeBindingMode"] = json!(mode);
        }
        objects.push(class);
    };
    class("wait", DRIVER, "WaitForFirstConsumer");
    class("zoned", DRIVER, "WaitForFirstConsumer");
    class("manual", "kubernetes.io/no-provisioner", "WaitForFirstConsumer");
    class("now", DRIVER, "Immediate");
    class("modeless", DRIVER, "");
    let zoned =
        objects.iter_mut().find(|object| object["metadata"]["name"] == "zoned").expect("it was pushed");
    zoned["allowedTopologies"] = dice.list(2, |dice| {
        json!({"matchLabelExpressions": dice.list(2, |dice| {
            let values = dice.list(2, |dice| json!(dice.pick(&["a", "b", "ssd"])));
            json!({"key": dice.pick(&[ZONE, ZONE, "disk"]), "values": values})
        })})
    });
}

/// A claim in one of many states, and its volume if it has one.
fn claim(dice: &mut Dice, namespace: &str, name: &str) -> (Value, Option<Value>) {
    let mut metadata = json!({"name": name, "namespace": namespace, "uid": format!("uid-{name}")});
    let mut annotations = Map::new();
    let mut spec = claim_spec(dice);
    let volume_name = format!("pv-{name}");
    let state = dice.below(10);
    let mut volume = None;
    if state < 6 {
        spec["volumeName"] = json!(volume_name);
        dice.maybe(90, &mut annotations, "pv.kubernetes.io/bind-completed", |_| json!("yes"));
        if dice.chance(92) {
            volume = Some(bound_volume(dice, &volume_name));
        }
    } else {
        dice.maybe(15, &mut annotations, "volume.kubernetes.io/selected-node", |d| {
            json!(d.pick(&["n0", "n1"]))
        });
    }
    dice.maybe(5, &mut annotations, "volume.beta.kubernetes.io/storage-class", |_| json!("wait"));
    metadata["annotations"] = Value::Object(annotations);
    if dice.chance(3) {
        metadata["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    }
    let mut claim = object("v1", "PersistentVolumeClaim", metadata);
    claim["spec"] = spec;
    claim["status"] = json!({"phase": if dice.chance(3) { "Lost" } else { "Bound" }});
    (claim, volume)
}

fn claim_spec(dice: &mut Dice) -> Value {
    let mut spec = Map::new();
    dice.maybe(95, &mut spec, "storageClassName", |d| {
        json!(d.pick(&[
            "wait", "wait", "zoned", "zoned", "manual", "manual", "manual", "now", "modeless", "gone", ""
        ]))
    });
    spec.insert(
        "accessModes".into(),
        json!([dice.pick(&["ReadWriteOnce", "ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod"])]),
    );
    let size = dice.pick(&["1Gi", "2Gi", "5Gi"]);
    dice.maybe(95, &mut spec, "resources", |_| json!({"requests": {"storage": size}}));
    dice.maybe(10, &mut spec, "selector", |d| json!({"matchLabels": {"kind": d.pick(&["fast", "slow"])}}));
    dice.maybe(10, &mut spec, "volumeMode", |d| json!(d.pick(&["Block", "Filesystem"])));
    Value::Object(spec)
}

/// The claim of the new pod's first volume, if that is ephemeral; perhaps somebody else's.
fn ephemeral_claim(dice: &mut Dice) -> Value {
    let owner = dice.pick(&["uid-new", "uid-new", "uid-old0"]);
    let metadata = json!({"name": "new-v1", "namespace": "default", "uid": "uid-e", "ownerReferences": [
        {"apiVersion": "v1", "kind": "Pod", "name": "new", "uid": owner, "controller": dice.chance(90)}]});
    let mut claim = object("v1", "PersistentVolumeClaim", metadata);
    claim["spec"] = json!({"storageClassName": dice.pick(&["wait", "zoned", "now"]),
        "resources": {"requests": {"storage": "1Gi"}}});
    claim
}

fn bound_volume(dice: &mut Dice, name: &str) -> Value {
    let mut labels = Map::new();
    dice.maybe(30, &mut labels, ZONE, |dice| json!(dice.pick(&["a", "b", "a__b", "a__", "_"])));
    dice.maybe(15, &mut labels, "failure-domain.beta.kubernetes.io/zone", |dice| {
        json!(dice.pick(&["a", "b"]))
    });
    let mut volume = object("v1", "PersistentVolume", json!({"name": name, "labels": labels}));
    let mut spec = Map::new();
    dice.maybe(85, &mut spec, "csi", |_| json!({"driver": DRIVER, "volumeHandle": name}));
    dice.maybe(30, &mut spec, "nodeAffinity", |dice| {
        let mut affinity = Map::new();
        dice.maybe(90, &mut affinity, "required", node_selector);
        Value::Object(affinity)
    });
    spec.insert("storageClassName".into(), json!("wait"));
    volume["spec"] = Value::Object(spec);
    volume["status"] = json!({"phase": "Bound"});
    volume
}

fn free_volume(dice: &mut Dice, n: usize) -> Value {
    let mut labels = Map::new();
    dice.maybe(50, &mut labels, "kind", |dice| json!(dice.pick(&["fast", "slow"])));
    let mut volume = object("v1", "PersistentVolume", json!({"name": format!("free{n}"), "labels": labels}));
    let mut spec = Map::new();
    spec.insert("capacity".into(), json!({"storage": format!("{}Gi", n * 2 + 1)}));
    spec.insert("storageClassName".into(), json!(dice.pick(&["manual", "manual", "wait"])));
    spec.insert(
        "accessModes".into(),
        json!(["ReadWriteOnce", dice.pick(&["ReadWriteMany", "ReadWriteOncePod"])]),
    );
    dice.maybe(70, &mut spec, "nodeAffinity", |dice| {
        let zone = dice.pick(&["a", "b"]);
        json!({"required": {"nodeSelectorTerms": [{"matchExpressions": [{"key": ZONE, "operator": "In", "values": [zone]}]}]}})
    });
    dice.maybe(20, &mut spec, "claimRef", |dice| {
        let claim = format!("default-{}", dice.below(CLAIMS));
        let uid = if dice.chance(50) { format!("uid-{claim}") } else { String::new() };
        json!({"namespace": "default", "name": claim, "uid": uid})
    });
    dice.maybe(10, &mut spec, "volumeMode", |d| json!(d.pick(&["Block", "Filesystem"])));
    volume["spec"] = Value::Object(spec);
    volume["status"] = json!({"phase": dice.pick(&["Available", "Available", "Available", "Released"])});
    volume
}
