//! What a cluster holds at one instant, as plain data: only what deciding needs.
//!
//! ```text
//!   kubectl get -o json ─┐
//!                        ├─► KubeView ──► fit::State
//!   reflectors ──────────┘
//! ```
//!
//! The types have Kubernetes' own field names. Reading them is total (`read.rs`): whatever stands there, a view comes out, and
//! what was odd is noted with its place. Objects are behind `Arc`, since thousands of pods pass from one view to the next.

mod meta;
mod node;
mod pod;
mod read;
mod storage;

use std::sync::Arc;

use serde_json::Value;

pub use self::meta::*;
pub use self::node::*;
pub use self::pod::*;
pub use self::read::{Note, Notes};
use self::read::{Read, Step};
pub use self::storage::*;

/// Everything that deciding needs of a cluster, at one instant. The order is that of reading; nothing depends on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KubeView {
    /// All pods, bound or not, ended or not.
    pub pods: Vec<Arc<Pod>>,
    /// All nodes.
    pub nodes: Vec<Arc<Node>>,
    /// All namespaces.
    pub namespaces: Vec<Arc<Namespace>>,
    /// What runs on every node.
    pub daemon_sets: Vec<Arc<DaemonSet>>,
    /// What guards pods from eviction.
    pub disruption_budgets: Vec<Arc<DisruptionBudget>>,
    /// Wishes for volumes.
    pub claims: Vec<Arc<Claim>>,
    /// Volumes.
    pub volumes: Vec<Arc<PersistentVolume>>,
    /// How volumes are made.
    pub storage_classes: Vec<Arc<StorageClass>>,
    /// The drivers of each node, with their limits.
    pub csi_nodes: Vec<Arc<CsiNode>>,
    /// Drivers.
    pub csi_drivers: Vec<Arc<CsiDriver>>,
    /// Free space for new volumes.
    pub storage_capacities: Vec<Arc<StorageCapacity>>,
    /// Volumes attached to nodes.
    pub attachments: Vec<Arc<Attachment>>,
    /// What was odd.
    pub notes: Notes,
}

impl KubeView {
    /// Reads documents as the API server or `kubectl get -o json` gives them: objects, or lists of objects.
    /// Kinds that deciding does not need are noted and left out.
    pub fn read<'a>(documents: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut view = Self::default();
        for document in documents {
            let kind = document.get("kind").and_then(Value::as_str).unwrap_or_default();
            match document.get("items") {
                // Items of a typed list do not say their kind.
                Some(Value::Array(items)) => {
                    let of = kind.strip_suffix("List").unwrap_or(kind);
                    items.iter().for_each(|item| view.add(item, of));
                }
                _ => view.add(document, ""),
            }
        }
        view
    }

    /// Reads one object; `kind` is taken where the object does not say its own.
    pub fn add(&mut self, object: &Value, kind: &str) {
        let kind = object.get("kind").and_then(Value::as_str).unwrap_or(kind);
        let name =
            |field| object.get("metadata").and_then(|m| m.get(field)).and_then(Value::as_str).unwrap_or("?");
        let place = match object.get("metadata").and_then(|m| m.get("namespace")) {
            Some(_) => format!("{kind}/{}/{}", name("namespace"), name("name")),
            None => format!("{kind}/{}", name("name")),
        };
        let at = Step::Root(&place);
        let notes = &mut self.notes;
        match kind {
            "Pod" => push(&mut self.pods, object, &at, notes),
            "Node" => push(&mut self.nodes, object, &at, notes),
            "Namespace" => push(&mut self.namespaces, object, &at, notes),
            "DaemonSet" => push(&mut self.daemon_sets, object, &at, notes),
            "PodDisruptionBudget" => push(&mut self.disruption_budgets, object, &at, notes),
            "PersistentVolumeClaim" => push(&mut self.claims, object, &at, notes),
            "PersistentVolume" => push(&mut self.volumes, object, &at, notes),
            "StorageClass" => push(&mut self.storage_classes, object, &at, notes),
            "CSINode" => push(&mut self.csi_nodes, object, &at, notes),
            "CSIDriver" => push(&mut self.csi_drivers, object, &at, notes),
            "CSIStorageCapacity" => push(&mut self.storage_capacities, object, &at, notes),
            "VolumeAttachment" => push(&mut self.attachments, object, &at, notes),
            _ => notes.add(&at, || "is of a kind that is not needed here; it is left out".to_owned()),
        }
    }
}

fn push<T: Read>(list: &mut Vec<Arc<T>>, object: &Value, at: &Step<'_>, notes: &mut Notes) {
    list.push(Arc::new(T::read(object, at, notes)));
}

impl Pod {
    /// Reads a pod from any JSON at all; what is odd becomes a note.
    pub fn read(value: &Value, notes: &mut Notes) -> Self {
        Read::read(value, &Step::Root("pod"), notes)
    }
}

impl Node {
    /// Reads a node from any JSON at all; what is odd becomes a note.
    pub fn read(value: &Value, notes: &mut Notes) -> Self {
        Read::read(value, &Step::Root("node"), notes)
    }
}

#[cfg(test)]
mod tests;
