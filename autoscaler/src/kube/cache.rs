//! What is kept of each object, by its name, and how a view is made of it.
//!
//! ```text
//!   JSON ─► read (view/read.rs) ─► trimmed (trim.rs) ─► Arc in a Cache ─► cloned into every KubeView
//! ```
//!
//! Invariants: an object is read once, when it arrives; what was odd about it stays with it and goes with it; a kind's list is
//! replaced as a whole or not at all.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::trim;
use crate::view::{
    Attachment, Claim, CsiDriver, CsiNode, DaemonSet, DisruptionBudget, KubeView, Metadata, Namespace, Node,
    Notes, PersistentVolume, Pod, StorageCapacity, StorageClass,
};

/// No more notes than this are shown, whatever is odd: as in a view that is read from documents.
const NOTES_SHOWN: usize = 200;

/// A kind that is watched.
pub(super) trait Kept: PartialEq + Send + Sync + Sized + 'static {
    /// As objects say it.
    const KIND: &'static str;
    /// Where the API server has them all.
    const PATH: &'static str;
    /// Whether a cluster may do without this API. The others are always there: if one is not found, somebody else answers.
    const OPTIONAL: bool;
    /// Where they are in a view.
    fn of(view: &mut KubeView) -> &mut Vec<Arc<Self>>;
    /// Where they are kept.
    fn kept(world: &mut World) -> &mut Cache<Self>;
    /// Name and namespace.
    fn metadata(&self) -> &Metadata;
    /// Without what nobody decides by.
    fn trim(&mut self);
}

/// An object, and what was odd about it.
#[derive(Debug)]
pub(super) struct Entry<T> {
    object: Arc<T>,
    notes: Option<Box<Notes>>,
}

/// The objects of a list, by namespace and name.
pub(super) type Objects<T> = BTreeMap<String, Entry<T>>;

/// An object's place and what is kept of it; nothing if it has no name.
pub(super) fn read<T: Kept>(value: &Value) -> Option<(String, Entry<T>)> {
    let mut view = KubeView::default();
    view.add(value, T::KIND);
    let mut object = T::of(&mut view).pop()?;
    // Nobody else has it yet.
    Arc::get_mut(&mut object)?.trim();
    let metadata = object.metadata();
    if metadata.name.is_empty() {
        return None;
    }
    let path = metadata.path();
    let notes = (view.notes.count > 0).then(|| Box::new(view.notes));
    Some((path, Entry { object, notes }))
}

/// The objects of one kind.
#[derive(Debug)]
pub(super) struct Cache<T> {
    objects: Objects<T>,
}

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self { objects: BTreeMap::new() }
    }
}

impl<T: Kept> Cache<T> {
    /// An object is new or has changed. Whether that makes a difference to anybody who decides.
    pub(super) fn put(&mut self, (path, entry): (String, Entry<T>)) -> bool {
        match self.objects.get_mut(&path) {
            Some(old) if old.object == entry.object => {
                old.notes = entry.notes;
                false
            }
            Some(old) => {
                *old = entry;
                true
            }
            None => self.objects.insert(path, entry).is_none(),
        }
    }

    /// An object is gone.
    pub(super) fn remove(&mut self, path: &str) -> bool {
        self.objects.remove(path).is_some()
    }

    /// A list was read from its beginning to its end.
    pub(super) fn replace(&mut self, objects: Objects<T>) {
        self.objects = objects;
    }

    fn show(&mut self, list: &mut Vec<Arc<T>>, notes: &mut Notes) {
        list.reserve_exact(self.objects.len());
        for entry in self.objects.values() {
            list.push(Arc::clone(&entry.object));
            let Some(odd) = &entry.notes else { continue };
            notes.count += odd.count;
            let room = NOTES_SHOWN.saturating_sub(notes.kept.len());
            notes.kept.extend(odd.kept.iter().take(room).cloned());
        }
    }
}

macro_rules! kinds {
    ($($type:ident, $field:ident, $kind:literal, $path:literal, $optional:literal, $trim:expr;)*) => {
        /// All that is kept.
        #[derive(Debug, Default)]
        pub(super) struct World {
            $($field: Cache<$type>,)*
        }

        /// The kinds, in the order of [`KubeView`].
        pub(super) const KINDS: &[&str] = &[$($kind,)*];

        impl World {
            /// What there is now.
            pub(super) fn view(&mut self) -> KubeView {
                let mut view = KubeView::default();
                $(self.$field.show(&mut view.$field, &mut view.notes);)*
                view
            }
        }

        $(impl Kept for $type {
            const KIND: &'static str = $kind;
            const PATH: &'static str = $path;
            const OPTIONAL: bool = $optional;
            fn of(view: &mut KubeView) -> &mut Vec<Arc<Self>> {
                &mut view.$field
            }
            fn kept(world: &mut World) -> &mut Cache<Self> {
                &mut world.$field
            }
            fn metadata(&self) -> &Metadata {
                &self.metadata
            }
            fn trim(&mut self) {
                let trim: fn(&mut Self) = $trim;
                trim::metadata(&mut self.metadata);
                trim(self);
            }
        })*

        /// Calls a macro for every kind.
        macro_rules! for_every_kind {
            ($run:ident) => {
                $($run!(crate::view::$type);)*
            };
        }
        pub(super) use for_every_kind;
    };
}

kinds! {
    Pod, pods, "Pod", "/api/v1/pods", false, trim::pod;
    Node, nodes, "Node", "/api/v1/nodes", false, trim::node;
    Namespace, namespaces, "Namespace", "/api/v1/namespaces", false, |_| ();
    DaemonSet, daemon_sets, "DaemonSet", "/apis/apps/v1/daemonsets", false, |set| trim::spec(&mut set.spec.template.spec);
    DisruptionBudget, disruption_budgets, "PodDisruptionBudget", "/apis/policy/v1/poddisruptionbudgets", false, |_| ();
    Claim, claims, "PersistentVolumeClaim", "/api/v1/persistentvolumeclaims", false, |_| ();
    PersistentVolume, volumes, "PersistentVolume", "/api/v1/persistentvolumes", false, |_| ();
    StorageClass, storage_classes, "StorageClass", "/apis/storage.k8s.io/v1/storageclasses", true, |_| ();
    CsiNode, csi_nodes, "CSINode", "/apis/storage.k8s.io/v1/csinodes", true, |_| ();
    CsiDriver, csi_drivers, "CSIDriver", "/apis/storage.k8s.io/v1/csidrivers", true, |_| ();
    StorageCapacity, storage_capacities, "CSIStorageCapacity", "/apis/storage.k8s.io/v1/csistoragecapacities", true, |_| ();
    Attachment, attachments, "VolumeAttachment", "/apis/storage.k8s.io/v1/volumeattachments", true, |_| ();
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, cpu: &str) -> Value {
        json!({"metadata": {"namespace": "default", "name": name, "uid": name},
            "spec": {"containers": [{"name": "a", "resources": {"requests": {"cpu": cpu}}}]}})
    }

    #[test]
    fn a_view_shares_what_is_kept_and_is_equal_to_one_that_is_read_from_documents() {
        let mut world = World::default();
        for name in ["b", "a"] {
            assert!(Pod::kept(&mut world).put(read(&pod(name, "1")).unwrap()));
        }
        let (view, again) = (world.view(), world.view());
        assert!(Arc::ptr_eq(&view.pods[0], &again.pods[0]));
        let documents = [json!({"kind": "PodList", "items": [pod("a", "1"), pod("b", "1")]})];
        assert_eq!(view, KubeView::read(&documents));
    }

    #[test]
    fn only_what_is_different_to_those_who_decide_is_a_change() {
        let mut world = World::default();
        let pods = Pod::kept(&mut world);
        assert!(pods.put(read(&pod("a", "1")).unwrap()));
        let mut beats = pod("a", "1000m");
        beats["metadata"]["resourceVersion"] = json!("77");
        beats["metadata"]["managedFields"] = json!([{"manager": "kubelet"}]);
        assert!(!pods.put(read(&beats).unwrap()), "the same amount, and fields that nobody reads");
        assert!(pods.put(read(&pod("a", "2")).unwrap()));
        assert!(pods.remove("default/a") && !pods.remove("default/a"));
    }

    #[test]
    fn what_was_odd_goes_with_its_object() {
        let mut world = World::default();
        Pod::kept(&mut world).put(read(&pod("a", "lots")).unwrap());
        let notes = world.view().notes;
        assert_eq!(notes.count, 1);
        assert!(notes.kept[0].to_string().starts_with("Pod/default/a.spec.containers[0]"), "{notes:?}");
        Pod::kept(&mut world).put(read(&pod("a", "1")).unwrap());
        assert_eq!(world.view().notes.count, 0);
    }

    fn resident_kib() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// A pod that runs, as a kubelet and a scheduler leave it.
    fn running(n: usize) -> Value {
        let told = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let conditions =
            ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"]
                .map(told);
        let requests = json!({"cpu": "100m", "memory": "64Mi"});
        json!({"metadata": {"namespace": "default", "name": format!("worker-{n}"), "uid": format!("{n:036}"),
                "labels": {"app": "web", "job-name": format!("job-{}", n / 100)},
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "x".repeat(1500)},
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "ownerReferences": [{"kind": "Job", "name": format!("job-{}", n / 100), "uid": "u", "controller": true}]},
            "spec": {"nodeName": format!("lab1-workers-{}", n % 1000), "schedulerName": "default-scheduler",
                "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"},
                    {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute"}],
                "volumes": [{"name": "kube-api-access-x", "projected": {"sources": []}}, {"name": "scratch", "emptyDir": {}}],
                "containers": [{"name": "a", "image": "registry.example/a:1", "ports": [{"containerPort": 80}],
                    "resources": {"requests": requests}}]},
            "status": {"phase": "Running", "startTime": "2026-01-01T00:00:00Z",
                "conditions": conditions,
                "containerStatuses": [{"name": "a", "allocatedResources": requests, "resources": {"requests": requests}}]}})
    }

    #[test]
    #[ignore = "a measurement: run it alone"]
    fn thirty_thousand_pods_take_little_memory() {
        let mut world = World::default();
        let before = resident_kib();
        for n in 0..30_000 {
            Pod::kept(&mut world).put(read(&running(n)).unwrap());
        }
        let view = world.view();
        let taken = resident_kib().saturating_sub(before);
        // Half of what the whole daemon may have at this size.
        assert!(view.pods.len() == 30_000 && taken < 110 * 1024, "{taken} KiB");
        println!("30,000 pods take {taken} KiB");
    }

    #[test]
    fn an_object_without_a_name_is_none() {
        assert!(read::<Pod>(&json!({"metadata": {"namespace": "default"}})).is_none());
        assert!(read::<Node>(&json!(7)).is_none());
        assert!(read::<Node>(&json!({"kind": "Pod", "metadata": {"name": "a"}})).is_none());
    }
}
