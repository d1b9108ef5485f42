//! Claims, volumes and classes, to look up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::view::{Claim, KubeView, PersistentVolume, Pod, StorageCapacity, StorageClass, Volume};

/// Where the class of a claim or volume stood before it had a field.
const OLD_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

/// All that a cluster knows of storage.
#[derive(Debug, Clone, Default)]
pub(in crate::fit) struct Storage {
    claims: BTreeMap<String, Arc<Claim>>,
    volumes: BTreeMap<String, Arc<PersistentVolume>>,
    /// Names of volumes by their class.
    by_class: BTreeMap<String, Vec<Arc<PersistentVolume>>>,
    classes: BTreeMap<String, Arc<StorageClass>>,
    /// Drivers that report their free space.
    reporting: BTreeSet<String>,
    pub(super) capacities: Vec<Arc<StorageCapacity>>,
    /// Driver and handle of what is attached, by node.
    attached: BTreeMap<String, BTreeSet<(String, String)>>,
    /// How many pods on nodes hold a claim.
    held: BTreeMap<String, usize>,
}

impl Storage {
    pub(in crate::fit) fn of(view: &KubeView) -> Self {
        let mut storage = Self { capacities: view.storage_capacities.clone(), ..Self::default() };
        for claim in &view.claims {
            storage.claims.insert(claim.metadata.path(), Arc::clone(claim));
        }
        for volume in &view.volumes {
            storage.volumes.insert(volume.metadata.name.clone(), Arc::clone(volume));
        }
        for volume in storage.volumes.values() {
            let class = volume_class(volume).to_owned();
            storage.by_class.entry(class).or_default().push(Arc::clone(volume));
        }
        for class in &view.storage_classes {
            storage.classes.insert(class.metadata.name.clone(), Arc::clone(class));
        }
        let reporting = view.csi_drivers.iter().filter(|driver| driver.spec.storage_capacity);
        storage.reporting = reporting.map(|driver| driver.metadata.name.clone()).collect();
        for attachment in &view.attachments {
            let spec = &attachment.spec;
            let volume = spec.source.volume.as_ref().and_then(|name| storage.volumes.get(name));
            if let Some(csi) = volume.and_then(|volume| volume.spec.csi.as_ref())
                && !spec.attacher.is_empty()
            {
                let attached = (spec.attacher.clone(), csi.handle.clone());
                storage.attached.entry(spec.node.clone()).or_default().insert(attached);
            }
        }
        storage
    }

    /// A claim by `namespace/name`.
    pub(super) fn claim(&self, path: &str) -> Option<&Arc<Claim>> {
        self.claims.get(path)
    }

    pub(super) fn volume(&self, name: &str) -> Option<&Arc<PersistentVolume>> {
        self.volumes.get(name)
    }

    /// The volumes of a class, by name.
    pub(super) fn volumes_of(&self, class: &str) -> &[Arc<PersistentVolume>] {
        self.by_class.get(class).map_or(&[], Vec::as_slice)
    }

    /// A class; the empty name is no class.
    pub(super) fn class(&self, name: &str) -> Option<&StorageClass> {
        if name.is_empty() { None } else { self.classes.get(name).map(Arc::as_ref) }
    }

    pub(super) fn reports_capacity(&self, driver: &str) -> bool {
        self.reporting.contains(driver)
    }

    /// Driver and handle of what is attached to a node.
    pub(super) fn attached_to(&self, node: &str) -> impl Iterator<Item = &(String, String)> {
        self.attached.get(node).into_iter().flatten()
    }

    /// Notes that a pod with its claims came to a node (1) or left one (-1).
    pub(in crate::fit) fn hold(&mut self, pod: &Pod, by: isize) {
        for claim in pod.spec.volumes.iter().filter_map(|volume| volume.claim.as_ref()) {
            let count = self.held.entry(format!("{}/{}", pod.metadata.namespace, claim.name)).or_default();
            *count = count.saturating_add_signed(by);
        }
    }

    /// Whether a pod on a node holds a claim.
    pub(super) fn is_held(&self, path: &str) -> bool {
        self.held.get(path).is_some_and(|count| *count > 0)
    }
}

/// The claim behind a volume of a pod, if there is one.
pub(super) fn claim_name(pod: &Pod, volume: &Volume) -> Option<String> {
    match (&volume.claim, &volume.ephemeral) {
        (Some(claim), _) => Some(claim.name.clone()),
        (None, Some(_)) => Some(format!("{}-{}", pod.metadata.name, volume.name)),
        (None, None) => None,
    }
}

/// The class of a claim; empty for none.
pub(super) fn claim_class(claim: &Claim) -> &str {
    let old = claim.metadata.annotations.get(OLD_CLASS);
    old.or(claim.spec.class.as_ref()).map_or("", String::as_str)
}

/// The class of a volume; empty for none.
pub(super) fn volume_class(volume: &PersistentVolume) -> &str {
    volume.metadata.annotations.get(OLD_CLASS).unwrap_or(&volume.spec.class)
}
