//! Where the volumes of a pod can be used: claims that are bound, claims that wait for their pod, zones, attach limits, disks
//! that one pod holds.
//!
//! Follows the scheduler's VolumeBinding, VolumeZone, VolumeRestrictions and NodeVolumeLimits. Old in-tree volumes are looked at
//! as they are: they are not translated to the CSI drivers that took them over. Free space that drivers report is not looked at
//! on a node that does not exist yet, since nothing can be known of it.

mod binding;
mod disks;
mod limits;
mod storage;

use std::sync::Arc;

use super::reason::{Found, Reason};
use super::state::NodeState;
pub(super) use storage::Storage;

use crate::view::{BindingMode, Claim, PersistentVolume, Pod, Volume};

/// The label of a claim's binding that the volume controller has finished with.
const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";

/// What the volumes of a pod demand of a node.
#[derive(Debug, Clone, Default)]
pub(super) struct Volumes {
    /// Claims with their volumes; none where the volume is gone.
    bound: Vec<(String, Option<Arc<PersistentVolume>>)>,
    /// Claims that get a volume when their pod has a node, the smallest first.
    delayed: Vec<Arc<Claim>>,
    zones: Vec<Zone>,
    attached: Vec<limits::Attached>,
    disks: Vec<Volume>,
}

/// A label of a volume that a node must have too.
#[derive(Debug, Clone)]
struct Zone {
    claim: String,
    key: &'static str,
    values: Vec<String>,
}

const ZONE: &str = "topology.kubernetes.io/zone";
const REGION: &str = "topology.kubernetes.io/region";
/// The labels that say where a volume is, each with its name today.
const PLACES: [(&str, &str); 4] = [
    ("failure-domain.beta.kubernetes.io/zone", ZONE),
    ("failure-domain.beta.kubernetes.io/region", REGION),
    (ZONE, ZONE),
    (REGION, REGION),
];

impl Volumes {
    /// What the volumes of a pod demand, and what keeps it from every node.
    pub(super) fn of(pod: &Pod, storage: &Storage) -> (Self, Vec<Reason>) {
        let mut volumes = Self::default();
        let mut blocked = Vec::new();
        for volume in &pod.spec.volumes {
            if disks::can_conflict(volume) {
                volumes.disks.push(volume.clone());
            }
            if let Err(reason) = volumes.add(pod, volume, storage) {
                blocked.push(reason);
            }
        }
        volumes.delayed.sort_by_key(|claim| {
            let size = claim.spec.resources.requests.get("storage").copied().unwrap_or_default();
            (size, claim.metadata.path())
        });
        (volumes, blocked)
    }

    fn add(&mut self, pod: &Pod, volume: &Volume, storage: &Storage) -> Result<(), Reason> {
        let Some(name) = storage::claim_name(pod, volume) else { return Ok(()) };
        let path = format!("{}/{name}", pod.metadata.namespace);
        let no = |problem: &str| Reason::Claim { claim: path.clone(), problem: problem.to_owned() };
        let Some(claim) = storage.claim(&path) else {
            let wait = volume.ephemeral.is_some() && volume.claim.is_none();
            return Err(no(if wait { "is not made yet" } else { "does not exist" }));
        };
        if claim.status.phase == "Lost" {
            return Err(no("has lost its volume"));
        }
        if claim.metadata.deletion_timestamp.is_some() {
            return Err(no("is being deleted"));
        }
        if volume.claim.is_none() && claim.metadata.controller().is_none_or(|o| o.uid != pod.metadata.uid) {
            return Err(no("was not made for this pod"));
        }
        let alone = claim.spec.access_modes.iter().any(|mode| mode == "ReadWriteOncePod");
        if alone && volume.claim.is_some() && storage.is_held(&path) {
            return Err(no("is for one pod at a time, and one has it"));
        }
        self.bind(claim, &path, storage).map_err(|problem| no(&problem))?;
        if volume.claim.is_some() {
            self.add_zones(claim, &path, storage).map_err(|problem| no(&problem))?;
        }
        if let Some(attached) = limits::attached(claim, storage)
            && !self.attached.contains(&attached)
        {
            self.attached.push(attached);
        }
        Ok(())
    }

    fn bind(&mut self, claim: &Arc<Claim>, path: &str, storage: &Storage) -> Result<(), String> {
        let volume = &claim.spec.volume_name;
        if !volume.is_empty() && claim.metadata.annotations.contains_key(BIND_COMPLETED) {
            self.bound.push((path.to_owned(), storage.volume(volume).cloned()));
            return Ok(());
        }
        let class = storage.class(storage::claim_class(claim));
        let mode = class.map(|class| class.binding_mode.as_ref());
        match mode {
            Some(None) => Err("has a storage class without a binding mode".to_owned()),
            Some(Some(BindingMode::WaitForFirstConsumer)) if volume.is_empty() => {
                self.delayed.push(Arc::clone(claim));
                Ok(())
            }
            _ => Err("is not bound to a volume yet".to_owned()),
        }
    }

    fn add_zones(&mut self, claim: &Claim, path: &str, storage: &Storage) -> Result<(), String> {
        // A claim that waits for its pod is nowhere yet; `bind` has refused all others without a volume.
        let name = &claim.spec.volume_name;
        if name.is_empty() {
            return Ok(());
        }
        let volume =
            storage.volume(name).ok_or_else(|| format!("has the volume {name}, which does not exist"))?;
        for (key, _) in PLACES {
            let Some(value) = volume.metadata.labels.get(key) else { continue };
            let values: Vec<String> = value.split("__").map(|value| value.trim().to_owned()).collect();
            // The scheduler ignores a label that it cannot read.
            if values.iter().all(|value| !value.is_empty()) {
                self.zones.push(Zone { claim: path.to_owned(), key, values });
            }
        }
        Ok(())
    }

    /// Whether there is none that matters.
    pub(super) fn is_empty(&self) -> bool {
        self.disks.is_empty()
            && self.bound.is_empty()
            && self.delayed.is_empty()
            && self.zones.is_empty()
            && self.attached.is_empty()
    }

    /// Says which volumes cannot be used on a node.
    pub(super) fn check(&self, storage: &Storage, node: &NodeState, found: &mut Found) {
        self.check_zones(node, found);
        self.check_bound(node, found);
        binding::check(&self.delayed, storage, node, found);
        limits::check(&self.attached, storage, node, found);
        disks::check(&self.disks, node, found);
    }

    fn check_zones(&self, node: &NodeState, found: &mut Found) {
        let labels = &node.node().metadata.labels;
        // A cluster whose nodes say nothing of zones has one.
        if !PLACES.iter().any(|(key, _)| labels.contains_key(*key)) {
            return;
        }
        for Zone { claim, key, values } in &self.zones {
            let today = PLACES.iter().find(|(old, _)| old == key).map_or(*key, |(_, today)| today);
            let has = labels.get(*key).or_else(|| labels.get(today));
            if !has.is_some_and(|has| values.contains(has)) {
                found.add(|| Reason::VolumePlace {
                    claim: claim.clone(),
                    problem: format!(
                        "has a volume in {key}={}, the node is in {}",
                        values.join(" or "),
                        has.map_or("none", String::as_str)
                    ),
                });
            }
        }
    }

    fn check_bound(&self, node: &NodeState, found: &mut Found) {
        for (claim, volume) in &self.bound {
            let problem = match volume {
                None => "has a volume that does not exist",
                Some(volume) if !binding::reachable(volume, node) => {
                    "has a volume that this node cannot reach"
                }
                Some(_) => continue,
            };
            found.add(|| Reason::VolumePlace { claim: claim.clone(), problem: problem.to_owned() });
        }
    }
}
